"""Folder lakes with proven Hours for the tests of tables, and what the tables hold, read from the Delta log's JSON."""

from __future__ import annotations

import gzip
import hashlib
import json
import shutil
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from typing import TYPE_CHECKING, Any

import duckdb

from current.oracle import Record, current, history, snapshot
from viplake.clock import SystemClock
from viplake.current.delta import DeltaTables, storage_options
from viplake.current.settings import TablesSettings
from viplake.current.update import TablesUpdate, update
from viplake.lake import Lake
from viplake.lake.layout import RECEIPT_NAME, SCHEMA_NAME, Layout
from viplake.lake.records import receipt_bytes
from viplake.lake.store import StoreSettings, open_store
from viplake.model import Hour, ProvenFile, Receipt

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from viplake.lake.store import Store


@cache
def _reader() -> duckdb.DuckDBPyConnection:
    """One for all tests: to open one takes longer than to read a table."""
    connection = duckdb.connect(config={"threads": 1})
    connection.execute("set timezone = 'UTC'")
    return connection


DAY = "2022-05-10"
COLUMNS = {"Id": "int", "Name": "nvarchar(50)", "Amount": "decimal(10,2)", "LastUpdateGMT": "datetime"}


def hour(number: int) -> Hour:
    """An Hour by its number from 2022-05-10T00 on."""
    return Hour.parse(f"{DAY}T00").shift(number)


def schema(tables: Mapping[str, Mapping[str, str]], keys: Mapping[str, Sequence[str]]) -> bytes:
    """A `_MasterTableSchema.json` with columns and keys."""
    return json.dumps(
        [
            {
                "DataObjectName": table,
                "Elements": [
                    {"Name": name, "Type": of, "IsKey": name in keys.get(table, ())} for name, of in columns.items()
                ],
            }
            for table, columns in tables.items()
        ]
    ).encode()


@dataclass
class TableLake:
    """A lake, and what was landed in it.

    Attributes:
        folder: of a folder lake; of another, where `mirror` puts its objects.
        reached: another lake than the folder.
        prefix: of the hourly folders.
        landed: records by table and Hour, for the oracle.
    """

    folder: Path
    reached: StoreSettings | None = None
    prefix: str = "IMOSDL/Hourly/"
    store: Store = field(init=False)
    landed: dict[str, dict[str, list[Record]]] = field(default_factory=dict)
    settings: TablesSettings = field(default_factory=TablesSettings)

    def __post_init__(self) -> None:
        self.reached = self.reached or StoreSettings(self.folder.as_uri(), create=True)
        self.store = open_store(self.reached)

    @property
    def lake(self) -> Lake:
        assert self.reached is not None
        return Lake(self.store, Layout(self.prefix), self.reached.url)

    def copied(self, folder: Path) -> TableLake:
        """The same lake in another folder: what is there already is not made once more."""
        shutil.copytree(self.folder, folder)
        landed = {table: dict(hours) for table, hours in self.landed.items()}
        return TableLake(folder, prefix=self.prefix, landed=landed, settings=self.settings)

    async def land(
        self,
        number: int,
        tables: Mapping[str, Sequence[Record]],
        *,
        columns: Mapping[str, Mapping[str, str]] | None = None,
        keys: Mapping[str, Sequence[str]] | None = None,
        proven: bool = True,
        label: str = "",
        files_of: int = 1,
    ) -> None:
        """Land an Hour: some files a table, each with every n-th record, with its schema and Receipt."""
        at = hour(number)
        known = columns or dict.fromkeys(tables, COLUMNS)
        files = {SCHEMA_NAME: schema(known, keys if keys is not None else dict.fromkeys(known, ("Id",)))}
        for table, records in tables.items():
            for part in range(files_of):
                name = f"{table}_{label or at.label}{f'_{part}' if files_of > 1 else ''}.json.gz"
                files[name] = gzip.compress(json.dumps(list(records)[part::files_of]).encode(), mtime=0)
            self.landed.setdefault(table, {})[str(at)] = list(records)
        for name, data in files.items():
            await self.store.put(self.lake.layout.file(at, name), data)
        if proven:
            await self.prove(number, files)

    async def prove(self, number: int, files: Mapping[str, bytes]) -> None:
        """Write the Receipt of an Hour."""
        proof = tuple(
            ProvenFile(name, f"a/{name}", len(data), hashlib.md5(data).hexdigest(), None)
            for name, data in sorted(files.items())
        )
        at = hour(number)
        receipt = Receipt("Test", "ACME", at, "guid", proof, datetime(2022, 5, 10, tzinfo=UTC))
        await self.store.put(self.lake.layout.file(at, RECEIPT_NAME), receipt_bytes(receipt))

    def delta(self) -> DeltaTables:
        assert self.reached is not None
        return DeltaTables(self.lake, storage_options(self.reached), SystemClock())

    async def mirror(self) -> None:
        """Copy the objects of another lake into the folder, where the methods below read them."""
        for file in await self.store.files("IMOSDL/Tables/"):
            path = self.folder / file.key
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(await self.store.get(file.key) or b"")

    async def update(self, **options: Any) -> TablesUpdate:
        """As `viplake tables`."""
        return await update(self.lake, self.delta(), self.settings, **options)

    def table(self, kind: str, table: str) -> Path:
        """The folder of a table."""
        return self.folder / "IMOSDL" / "Tables" / kind / table

    def complete(self, kind: str) -> list[str]:
        """The tables of which every version is in the log's JSON."""
        folder = self.folder / "IMOSDL" / "Tables" / kind
        if not folder.is_dir():
            return []
        first = f"_delta_log/{0:020}.json"
        return sorted(path.name for path in folder.iterdir() if (path / first).exists())

    def log(self, kind: str, table: str) -> list[dict[str, Any]]:
        """All actions of a table's log, in order."""
        folder = self.table(kind, table) / "_delta_log"
        return [json.loads(line) for path in sorted(folder.glob("*.json")) for line in path.read_text().splitlines()]

    def live(self, kind: str, table: str) -> list[str]:
        """Paths of the live files, by the log's JSON alone."""
        found: dict[str, None] = {}
        for action in self.log(kind, table):
            if "add" in action:
                found[action["add"]["path"]] = None
            if "remove" in action:
                del found[action["remove"]["path"]]
        return [str(self.table(kind, table) / path) for path in found]

    def rows(self, kind: str, table: str) -> list[dict[str, Any]]:
        """All rows of a table, without nulls; times and decimals as text."""
        files = self.live(kind, table)
        if not files:
            return []
        result = _reader().execute("select columns(*)::varchar from read_parquet($1, union_by_name=true)", [files])
        names = [name for name, *_ in result.description or ()]
        return [
            {name: value for name, value in zip(names, row, strict=True) if value is not None}
            for row in result.fetchall()
        ]

    def digest(self, kind: str, table: str) -> Counter[tuple[tuple[str, Any], ...]]:
        """The rows as something to compare."""
        return Counter(tuple(sorted(row.items())) for row in self.rows(kind, table))

    def expected(self, kind: str, table: str, key: Sequence[str] = ("Id",)) -> Counter[tuple[tuple[str, Any], ...]]:
        """The same by the oracle, over all that was landed."""
        hours = {at: [stored(record) for record in records] for at, records in self.landed[table].items()}
        snapshots = self.settings.of(table).mode == "snapshot"
        key = () if snapshots else key
        if kind == "current" and snapshots:
            pairs = snapshot(hours)
        elif kind == "history":
            pairs = [(version, seen[0]) for version, seen in history(hours, key).items()]
        else:
            pairs = list(current(hours, key, "LastUpdateGMT").values())
        return Counter(tuple(sorted([*version, *own(version, first)])) for version, first in pairs)


def stored(record: Record) -> Record:
    """A record with values as `rows` shows them."""
    shown: Record = {}
    for name, value in record.items():
        if value is None:
            continue
        shown[name] = f"{value:.2f}" if name == "Amount" else str(value)
        if name == "LastUpdateGMT":
            shown[name] = str(value).replace("T", " ").removesuffix("Z") + "+00"
    return shown


def own(version: Sequence[tuple[str, Any]], first: str) -> list[tuple[str, Any]]:
    """Our own columns."""
    changed = dict(version).get("LastUpdateGMT")
    return [("_hour", f"{first.replace('T', ' ')}:00:00+00"), *([("_changed", changed)] if changed else [])]


def cut(file: Path) -> None:
    """Cut the end of a Parquet file off."""
    file.write_bytes(file.read_bytes()[:-30])


def spoil_pages(file: Path) -> None:
    """Spoil the values of a Parquet file; its footer stays whole."""
    data = bytearray(file.read_bytes())
    data[20:120] = bytes(byte ^ 0x55 for byte in data[20:120])
    file.write_bytes(data)
