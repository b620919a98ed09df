"""I/O. Delta tables in the lake: `deltalake` reads and writes their logs; Parquet files pass through our own store.

A commit names the version that it was computed from, and `deltalake` does not retry it: another writer in between is a
`ConflictError`, never a silent merge.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, Literal
from urllib.parse import quote, unquote, urlsplit

from viplake.current.shape import CHANGED, HOUR, PROBLEMS, Column, Shape, Snapshot, parse_type
from viplake.errors import LakeError, SettingsError
from viplake.lake.refusals import answer_in, lake_error
from viplake.lake.store import RETRIES
from viplake.model import Hour

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from deltalake import DeltaTable, Schema

    from viplake.clock import Clock
    from viplake.lake import Lake
    from viplake.lake.store import StoreSettings

TableKind = Literal["current", "history"]
KINDS: Final[tuple[TableKind, ...]] = ("current", "history")

READER_VERSION: Final = 1
"""Of the Delta protocol. A table that others raised may have deletion vectors, which are in no Parquet file."""

KEPT_HOURS: Final = 7 * 24
"""Hours for which files of older versions stay for readers (the default of Delta Lake)."""

_APP: Final = "viplake"
_SNAPSHOT: Final = "viplake.snapshot"
"""The transaction of a snapshot: its number is the Hour, in hours since 1970, in one commit with the rows."""

_CHECKPOINT_EVERY: Final = "50"


class ConflictError(Exception):
    """Another writer committed first: compute again."""


class DamagedTableError(LakeError):
    """A table cannot be used, although the lake answers: its log, or a file. Other tables are not concerned."""

    default_cause = "table_damaged"


@dataclass(frozen=True, slots=True)
class DataFile:
    """A live Parquet file of a table.

    Attributes:
        path: in the table's folder.
        size: bytes.
        rows: records; None: the log does not say.
        low, high: of the columns that the log has them for, by name.
        whole: columns without a null.
    """

    path: str
    size: int
    rows: int | None
    low: Mapping[str, Any] = field(default_factory=dict)
    high: Mapping[str, Any] = field(default_factory=dict)
    whole: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Live:
    """A version of a table.

    Attributes:
        version: of the log.
        shape: columns and key.
        files: by path.
        odd: why viplake cannot write it; None: it can.
        snapshot: of a current table in that mode; None: another mode, or an empty table.
    """

    version: int
    shape: Shape
    files: Mapping[str, DataFile]
    odd: str | None
    table: DeltaTable
    snapshot: Snapshot | None = None


@dataclass(frozen=True, slots=True)
class NewFile:
    """A Parquet file that a commit adds: its path, its size, and its statistics as JSON."""

    path: str
    size: int
    stats: str


class DeltaTables:
    """The tables of a lake.

    Args:
        lake: a folder or S3.
        options: of `deltalake`, to reach S3; empty for a folder.
        clock: for the time of a file in the log.

    Raises:
        SettingsError: the extra `tables` is not installed, or the lake is in memory.
    """

    def __init__(self, lake: Lake, options: Mapping[str, str], clock: Clock) -> None:
        try:
            import deltalake  # noqa: F401, PLC0415 - 100 MB that other commands do without
        except ImportError:
            hint = "pip install 'viplake[tables]'"
            raise SettingsError("tables need a package that is not installed: deltalake", hint=hint) from None
        parts = urlsplit(lake.url)
        if parts.scheme not in {"file", "s3"}:
            raise SettingsError("tables need a lake in a folder or on S3")
        self._root = unquote(parts.path) if parts.scheme == "file" else lake.url
        self._lake, self._options, self._clock = lake, dict(options), clock

    def key(self, kind: TableKind, folder: str, path: str = "") -> str:
        """The key in the lake of a file of a table."""
        return f"{self._lake.layout.tables}{kind}/{folder}/{path}"

    def uri(self, kind: TableKind, folder: str) -> str:
        """Where a table is, for readers."""
        return f"{self._root.rstrip('/')}/{self.key(kind, folder)}".removesuffix("/")

    async def folders(self, kind: TableKind) -> list[str]:
        """The folders of the tables that there are."""
        return await self._lake.store.folders(f"{self._lake.layout.tables}{kind}/")

    async def open(self, kind: TableKind, folder: str, version: int | None = None) -> Live | None:
        """A table; None where it does not exist.

        Raises:
            DamagedTableError: its log cannot be used.
            LakeError: the lake does not answer.
        """
        return await asyncio.to_thread(self._open, kind, folder, version)

    def _open(self, kind: TableKind, folder: str, version: int | None) -> Live | None:
        from deltalake import DeltaTable  # noqa: PLC0415 - as above
        from deltalake.exceptions import TableNotFoundError  # noqa: PLC0415 - as above

        uri = self.uri(kind, folder)
        try:
            table = DeltaTable(uri, version=version, storage_options=self._options or None)
        except TableNotFoundError:
            return None
        except Exception as error:  # noqa: BLE001 - its errors share no class
            raise self._unusable(error, f"read the log of {kind}/{folder}", kind, folder) from None
        shape, unknown = _shape_of(table)
        reader = table.protocol().min_reader_version
        odd = None
        if reader > READER_VERSION:
            odd = f"another program raised its reader version to {reader}"
        elif unknown:
            odd = f"another program gave it the column {unknown}, of a type that viplake does not write"
        elif table.metadata().partition_columns:
            odd = "another program partitioned it"
        files = _files_of(table)
        number = table.transaction_version(_SNAPSHOT)
        snapshot = None
        if number is not None and files and not shape.key:
            hour = Hour.of(datetime.fromtimestamp(number * 3600, UTC))
            snapshot = Snapshot(hour, sum(file.rows or 0 for file in files.values()))
        return Live(table.version(), shape, files, odd, table, snapshot)

    async def vacuum(self, kind: TableKind, folder: str) -> int:
        """Remove files that no version of the last days has; how many.

        Raises:
            LakeError: they cannot be removed.
        """

        def work() -> int:
            from deltalake import DeltaTable  # noqa: PLC0415 - as above

            try:
                table = DeltaTable(self.uri(kind, folder), storage_options=self._options or None)
                return len(table.vacuum(retention_hours=KEPT_HOURS, dry_run=False, full=True))
            except Exception as error:  # noqa: BLE001 - its errors share no class
                raise _failed(error, f"vacuum {kind}/{folder}", self._options) from None

        return await asyncio.to_thread(work)

    async def commit(
        self,
        kind: TableKind,
        folder: str,
        base: Live | None,
        shape: Shape,
        adds: Sequence[NewFile],
        removes: Sequence[str],
        *,
        rewrites: bool,
        snapshot: Hour | None = None,
    ) -> int:
        """Commit files to a table; return the version that has them.

        Args:
            kind: of table.
            folder: of the table.
            base: the version that the commit was computed from; None: there is no table, and it is created.
            shape: of the table afterwards.
            adds: files that are in the lake.
            removes: paths.
            rewrites: all live files are replaced, and columns may have other types.
            snapshot: the Hour that has these records, where they are a snapshot.

        Raises:
            ConflictError: another writer was first, or may have been.
            DamagedTableError: its log cannot be used.
            LakeError: the log cannot be written.
        """
        return await asyncio.to_thread(
            self._create if base is None else self._rewrite if rewrites else self._append,
            _Commit(kind, folder, base, shape, [self._add(one) for one in adds], removes, snapshot),
        )

    def _create(self, one: _Commit) -> int:
        from deltalake.transaction import create_table_with_add_actions  # noqa: PLC0415 - as above

        configuration = {"delta.checkpointInterval": _CHECKPOINT_EVERY}
        self._attempt(
            one,
            lambda: create_table_with_add_actions(
                self.uri(one.kind, one.folder),
                _schema(one.shape),
                one.adds,
                configuration=configuration,
                storage_options=self._options or None,
                commit_properties=_properties(1, one.snapshot),
            ),
        )
        return 0

    def _rewrite(self, one: _Commit) -> int:
        assert one.base is not None  # noqa: S101 - `commit` sees to it
        self._transact(one, "overwrite", one.adds, _schema(one.shape))
        return one.base.version + 1

    def _append(self, one: _Commit) -> int:
        assert one.base is not None  # noqa: S101 - `commit` sees to it
        base, table, version = one.base, one.base.table, one.base.version
        fresh = [_field(column, one.shape) for column in one.shape.columns if column.name not in base.shape.names]
        if fresh:
            self._attempt(one, lambda: table.alter.add_columns(fresh))
            version += 1
            if table.version() != version:
                raise ConflictError
        if one.adds or one.removes:
            removes = [self._remove(path, base.files[path].size) for path in one.removes]
            self._transact(one, "append", [*one.adds, *removes], table.schema())
            version += 1
        return version

    def _transact(self, one: _Commit, mode: str, actions: list[Any], schema: Schema) -> None:
        assert one.base is not None  # noqa: S101 - `commit` sees to it
        table = one.base.table
        properties = _properties((table.transaction_version(_APP) or 0) + 1, one.snapshot)
        self._attempt(one, lambda: table.create_write_transaction(actions, mode, schema, commit_properties=properties))

    def _attempt(self, one: _Commit, call: Callable[[], object]) -> None:
        from deltalake.exceptions import CommitFailedError  # noqa: PLC0415 - as above

        try:
            call()
        except CommitFailedError as error:
            if "unsupported" in str(error).lower():  # another program raised the writer version
                raise self._unusable(error, f"commit to {one.kind}/{one.folder}", one.kind, one.folder) from None
            raise ConflictError from None
        except Exception as error:  # noqa: BLE001 - its errors share no class
            if "already exist" in str(error).lower():
                raise ConflictError from None
            raise self._unusable(error, f"commit to {one.kind}/{one.folder}", one.kind, one.folder) from None

    def _unusable(self, error: Exception, what: str, kind: TableKind, folder: str) -> LakeError:
        """The error for a log that cannot be used: of the lake, or of the log itself."""
        found = _failed(error, what, self._options)
        if _OF_THE_LAKE.search(str(error)) or answer_in(str(error)).status:
            return found
        return self.damaged(kind, folder, found.message)

    def damaged(self, kind: TableKind, folder: str, what: str) -> DamagedTableError:
        """Return the error for a table of which something cannot be read."""
        hint = f"Move {self.key(kind, folder)} out of the lake: viplake tables then computes the table anew."
        return DamagedTableError(what.rstrip("."), hint=hint)

    async def gone(self, kind: TableKind, folder: str, path: str) -> ConflictError | DamagedTableError:
        """Return why a file of a table is not there: a writer replaced it and a vacuum removed it, or it was lost."""
        live = await self.open(kind, folder)
        if live is None or path not in live.files:
            return ConflictError()
        return self.damaged(kind, folder, f"{kind}/{folder}/{path} is gone, and the table needs it")

    def _now(self) -> int:
        return int(self._clock.now().timestamp() * 1000)

    def _add(self, file: NewFile) -> Any:
        from deltalake.transaction import AddAction  # noqa: PLC0415 - as above

        return AddAction(file.path, file.size, {}, self._now(), data_change=True, stats=file.stats)

    def _remove(self, path: str, size: int) -> Any:
        from deltalake.transaction import RemoveAction  # noqa: PLC0415 - as above

        return RemoveAction(quote(path, safe="/=-_.~%"), True, self._now(), size)


@dataclass(frozen=True, slots=True)
class _Commit:
    """What `DeltaTables.commit` is given."""

    kind: TableKind
    folder: str
    base: Live | None
    shape: Shape
    adds: list[Any]
    removes: Sequence[str]
    snapshot: Hour | None


def _properties(number: int, snapshot: Hour | None) -> Any:
    """A commit that is not retried, since another one in between may have changed what it was computed from."""
    from deltalake.transaction import CommitProperties, Transaction  # noqa: PLC0415 - as above

    transactions = [Transaction(_APP, number)]
    if snapshot is not None:
        transactions.append(Transaction(_SNAPSHOT, int(snapshot.start.timestamp()) // 3600))
    return CommitProperties(max_commit_retries=0, app_transactions=transactions)


_COLOR: Final = re.compile(r"\x1b\[[0-9;]*m")
"""Its library colors the chain of reasons, in files too."""


_OF_THE_LAKE: Final = re.compile(r"(?i)os error|S3 error|object.?store|http|request|timed out|credential")
"""What its library says where the lake fails; of a damaged log it says something else."""


def _failed(error: Exception, what: str, options: Mapping[str, str]) -> LakeError:
    return lake_error(_COLOR.sub("", str(error)), what, local=not options)


def storage_options(settings: StoreSettings) -> dict[str, str]:
    """What `deltalake` is given to reach a lake, so that it takes nothing from the environment; empty for a folder.

    Raises:
        SettingsError, LakeError: as `open_store`.
    """
    if urlsplit(settings.url).scheme != "s3":
        return {}
    from viplake.network.aws import (  # noqa: PLC0415 - not for folders
        AwsAccess,
        bucket_address,
        bundle,
        checked,
        credentials,
        trusting_profile,
    )

    key, secret, token = settings.access_key_id, settings.secret_access_key, settings.session_token
    access = AwsAccess(key, secret, token, settings.region, settings.profile)
    where = bucket_address(urlsplit(settings.url).netloc, access, endpoint=settings.endpoint)
    if key and secret:
        given = checked(key, secret.reveal(), token.reveal() if token else None)
    else:
        given = credentials(access, settings.network)()
    proxy, limits, features = settings.network.proxy_for(where.endpoint), settings.network.timeouts, settings.features
    trusted = trusting_profile(settings.network, access).ca
    if trusted:  # its library has no option for certificates, and reads this variable when it opens a table
        os.environ["SSL_CERT_FILE"] = str(bundle(trusted))  # noqa: TID251 - for this library, see above
    options = {
        "aws_endpoint": where.endpoint,
        "aws_virtual_hosted_style_request": str(where.virtual).lower(),
        "aws_region": where.region,
        "aws_access_key_id": given["access_key_id"],
        "aws_secret_access_key": given["secret_access_key"],
        "aws_session_token": given["token"],
        "conditional_put": "etag",
        "allow_http": str(settings.allow_http).lower(),
        "connect_timeout": f"{limits.connect:g}s",
        "timeout": f"{limits.upload:g}s",
        "max_retries": str(RETRIES),
        # Without a proxy of ours the library would take one from the environment: this one excepts every host.
        "proxy_url": proxy.url if proxy else "http://127.0.0.1:9",
        "proxy_excludes": "" if proxy else "*,0.0.0.0/0,::/0",
        "aws_server_side_encryption": features.sse,
        "aws_sse_kms_key_id": features.kms_key,
        "aws_request_payer": "true" if features.requester_pays else None,
    }
    return {name: value for name, value in options.items() if value}


# -- schema and files -----------------------------------------------------------------------------------------------


def _field(column: Column, shape: Shape) -> Any:
    from deltalake import Field  # noqa: PLC0415 - as above
    from deltalake.schema import PrimitiveType  # noqa: PLC0415 - as above

    metadata = {"viplake.since": column.since, "viplake.source": column.source}
    if column.name in shape.key:
        metadata["viplake.key"] = str(shape.key.index(column.name))
    return Field(column.name, PrimitiveType(column.delta), nullable=True, metadata=metadata)


def _schema(shape: Shape) -> Schema:
    from deltalake import Field, Schema  # noqa: PLC0415 - as above
    from deltalake.schema import PrimitiveType  # noqa: PLC0415 - as above

    own = {HOUR: "timestamp", CHANGED: "timestamp", PROBLEMS: "string"}
    return Schema(
        [
            *(_field(column, shape) for column in shape.columns),
            *(Field(name, PrimitiveType(of), nullable=True) for name, of in own.items()),
        ]
    )


def _shape_of(table: DeltaTable) -> tuple[Shape, str | None]:
    """The columns of a table; the name of one that viplake cannot write, where there is one."""
    columns, key = [], {}
    for item in json.loads(table.schema().to_json())["fields"]:
        name, metadata = item["name"], item["metadata"]
        if name in {HOUR, CHANGED, PROBLEMS}:
            continue
        of = parse_type(item["type"]) if isinstance(item["type"], str) else None
        if of is None:
            return Shape(), name
        columns.append(Column(name, metadata.get("viplake.source", name), of, metadata.get("viplake.since", "")))
        if "viplake.key" in metadata:
            key[int(metadata["viplake.key"])] = name
    return Shape(tuple(columns), tuple(key[number] for number in sorted(key))), None


def _files_of(table: DeltaTable) -> dict[str, DataFile]:
    import arro3.core  # noqa: PLC0415 - as above

    found = {}
    for row in arro3.core.Table(table.get_add_actions(flatten=False)).to_struct_array().to_pylist():
        path = unquote(row["path"])
        nulls = row.get("null_count") or {}
        found[path] = DataFile(
            path,
            int(row["size_bytes"]),
            row["num_records"],
            {name: value for name, value in (row.get("min") or {}).items() if value is not None},
            {name: value for name, value in (row.get("max") or {}).items() if value is not None},
            frozenset(name for name, count in nulls.items() if count == 0),
        )
    return found


def stats_text(rows: int, columns: Mapping[str, tuple[Any, Any, int]]) -> str:
    """The statistics of a file for the log.

    Args:
        rows: records.
        columns: least and greatest value, and number of nulls, by column.
    """
    low, high = {}, {}
    for name, (least, greatest, _) in columns.items():
        plain = isinstance(least, int | str | date) and not (isinstance(greatest, str) and len(greatest) > _LONGEST)
        if plain:  # a decimal would be rounded
            low[name], high[name] = _stat(least), _stat(greatest, up=True)
    nulls = {name: count for name, (_, _, count) in columns.items()}
    return json.dumps({"numRecords": rows, "minValues": low, "maxValues": high, "nullCount": nulls})


_LONGEST: Final = 200
"""Characters of a text in the statistics."""


def _stat(value: Any, *, up: bool = False) -> Any:
    if isinstance(value, datetime):  # to the millisecond, by the protocol
        least = value.replace(microsecond=value.microsecond // 1000 * 1000)
        return f"{least + timedelta(milliseconds=up and least != value):%Y-%m-%dT%H:%M:%S.%f}"[:-3] + "Z"
    return value if isinstance(value, int | str) else str(value)
