"""I/O. What `make bench-tables` measures, each in a process of its own.

    python -m bench.tables_runs NAME OUT LAKE TARGET FIRST LAST

OUT gets the seconds of CPU of each step, as JSON.
"""

# ruff: noqa: S608 - the SQL holds paths and names of our own

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import random
import resource
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import duckdb

if TYPE_CHECKING:
    from collections.abc import Iterator

FIRST: Final = datetime(2022, 5, 10, tzinfo=UTC)
PERIOD: Final = 24
"""Hours after which a record changes again: an export with a look-back of a day has each active record."""

COLUMNS: Final = {
    "Id": "int", "Version": "int", "Amount": "decimal(18,4)", "Rate": "decimal(10,6)", "OpenDate": "datetime",
    "PortName": "nvarchar(60)", "Remark": "nvarchar(200)", "IsOpen": "bit", "LastUpdateGMT": "datetime",
}  # fmt: skip
TYPES: Final = {
    "Id": "bigint", "Version": "bigint", "Amount": "decimal(18,4)", "Rate": "decimal(10,6)", "OpenDate": "timestamp",
    "PortName": "varchar", "Remark": "varchar", "IsOpen": "boolean", "LastUpdateGMT": "timestamp",
}  # fmt: skip


def cpu() -> float:
    """Seconds of CPU of this process and its children so far."""
    used = (resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN))
    return sum(one.ru_utime + one.ru_stime for one in used)


# -- the lake -------------------------------------------------------------------------------------------------------


def active(tables: int, largest: int) -> dict[str, int]:
    """Active records by table, skewed; the first table has `largest`."""
    chance = random.Random(5)  # noqa: S311 - no secret
    weights = sorted((chance.lognormvariate(0, 1.5) for _ in range(tables)), reverse=True)
    return {f"Table{number:03}": max(int(largest * weight / weights[0]), 5) for number, weight in enumerate(weights)}


def rows_sql(records: int, hour: int) -> str:
    """The records of a table in an Hour: each with its newest version."""
    version = f"(({hour} + {PERIOD} - id % {PERIOD}) // {PERIOD})"
    changed = f"(timestamp '2022-05-10' + to_hours({version} * {PERIOD} - {PERIOD} + id % {PERIOD}))"
    return (
        f"select id as Id, {version} as Version, ((id * 7919 + {version} * 31) % 100000007 / 10000)::decimal(18,4) "
        f"as Amount, ((id % 9973) / 1000)::decimal(10,6) as Rate, strftime(timestamp '2015-01-01' + to_hours(id % "
        f"50000), '%Y-%m-%dT%H:%M:%S') as OpenDate, 'Port of ' || (id % 4001) as PortName, "
        f"'Laycan ' || (id * {version} % 997) || ', at berth ' || (id % 61) || ' of the north basin' as Remark, "
        f"id % 3 = 0 as IsOpen, "
        f"strftime({changed}, '%Y-%m-%dT%H:%M:%SZ') as LastUpdateGMT from range({records}) t(id)"
    )


def land(folder: Path, hour: int, sizes: dict[str, int], unchanged: frozenset[str] = frozenset()) -> int:
    """Write a proven Hour; the bytes stored. Tables that are `unchanged` have the files of the Hour before."""
    from viplake.lake.records import receipt_bytes  # noqa: PLC0415 - the peers do without viplake
    from viplake.model import Hour, ProvenFile, Receipt  # noqa: PLC0415 - as above

    at = Hour.of(FIRST + timedelta(hours=hour))
    place = folder / "IMOSDL" / "Hourly" / at.folder
    before = folder / "IMOSDL" / "Hourly" / at.shift(-1).folder
    place.mkdir(parents=True)
    schema = [
        {"DataObjectName": name, "Elements": [{"Name": n, "Type": t, "IsKey": n == "Id"} for n, t in COLUMNS.items()]}
        for name in sizes
    ]
    (place / "_MasterTableSchema.json").write_text(json.dumps(schema))
    with duckdb.connect() as connection:
        for name, records in sizes.items():
            target = place / f"{name}_{at.label}.json.gz"
            if name in unchanged:
                [source] = before.glob(f"{name}_*")
                target.write_bytes(source.read_bytes())
                continue
            connection.execute(f"copy ({rows_sql(records, hour)}) to '{target}' (format json, array true)")
    files = []
    for path in sorted(place.iterdir()):
        data = path.read_bytes()
        files.append(ProvenFile(path.name, path.name, len(data), hashlib.md5(data).hexdigest(), None))  # noqa: S324
    receipt = Receipt("Test", "ACME", at, "guid", tuple(files), FIRST)
    (place / "_Receipt.json").write_bytes(receipt_bytes(receipt))
    return sum(file.size for file in files)


def files_of(folder: Path, hours: range) -> Iterator[tuple[int, str, Path]]:
    """Hour, table and path of each file, Hour after Hour."""
    for hour in hours:
        at = FIRST + timedelta(hours=hour)
        for path in sorted((folder / "IMOSDL" / "Hourly" / f"{at:%Y%m%d}" / f"{at:%H}").glob("Table*.json.gz")):
            yield hour, path.name.partition("_")[0], path


def typed(paths: list[Path]) -> str:
    """The records of files, typed, as SQL."""
    names = ", ".join(f"'{path}'" for path in paths)
    columns = ", ".join(f"{name}: '{of}'" for name, of in TYPES.items())
    return f"(select * from read_json([{names}], columns = {{{columns}}}))"


# -- runs -----------------------------------------------------------------------------------------------------------


async def ours(folder: Path, hours: range, *, at_once: bool) -> dict[str, Any]:
    """`viplake tables` for each Hour, or for all at once."""
    from viplake.clock import SystemClock  # noqa: PLC0415 - as above
    from viplake.current.delta import DeltaTables  # noqa: PLC0415 - as above
    from viplake.current.settings import TablesSettings  # noqa: PLC0415 - as above
    from viplake.current.update import update  # noqa: PLC0415 - as above
    from viplake.lake import Lake  # noqa: PLC0415 - as above
    from viplake.lake.layout import Layout  # noqa: PLC0415 - as above
    from viplake.lake.store import StoreSettings, open_store  # noqa: PLC0415 - as above
    from viplake.model import Hour  # noqa: PLC0415 - as above

    lake = Lake(open_store(StoreSettings(folder.as_uri())), Layout("IMOSDL/Hourly/"), folder.as_uri())
    delta, steps = DeltaTables(lake, {}, SystemClock()), []
    for last in [hours[-1]] if at_once else hours:
        begun = cpu()
        found = await update(lake, delta, TablesSettings(), last=Hour.of(FIRST + timedelta(hours=last)))
        assert not found.held, found.held
        steps.append(cpu() - begun)
    return {"steps": steps}


def by_deltalake(folder: Path, target: Path, hours: range) -> dict[str, Any]:
    """The merge of delta-rs, current tables only: DuckDB decodes, the newer record time wins."""
    import deltalake  # noqa: PLC0415 - a peer

    steps = dict.fromkeys(hours, 0.0)
    with duckdb.connect() as connection:
        connection.execute("set threads = 2")
        for hour, name, path in files_of(folder, hours):
            begun = cpu()
            rows: Any = connection.execute(f"from {typed([path])}").to_arrow_table()
            place = str(target / name)
            if not deltalake.DeltaTable.is_deltatable(place):
                deltalake.write_deltalake(place, rows)
            else:
                merge = deltalake.DeltaTable(place).merge(rows, "t.Id = s.Id", source_alias="s", target_alias="t")
                merge = merge.when_matched_update_all(predicate="s.LastUpdateGMT > t.LastUpdateGMT")
                merge.when_not_matched_insert_all().execute()
            steps[hour] += cpu() - begun
    return {"steps": list(steps.values())}


def by_dlt(folder: Path, target: Path, hours: range) -> dict[str, Any]:
    """Dlt to Delta tables in a folder, current tables only: Arrow tables in, strategy upsert, no normalization."""
    import dlt  # noqa: PLC0415 - a peer

    os.environ |= {"DLT_DATA_DIR": str(target / "dlt"), "RUNTIME__DLTHUB_TELEMETRY": "false"}
    os.environ |= {"NORMALIZE__PARQUET_NORMALIZER__ADD_DLT_LOAD_ID": "false", "LOAD__WORKERS": "2"}
    place = dlt.destinations.filesystem(bucket_url=target.as_uri())
    pipeline = dlt.pipeline("bench", destination=place, dataset_name="tables", pipelines_dir=str(target / "state"))
    steps = []
    with duckdb.connect() as connection:
        connection.execute("set threads = 2")
        for hour in hours:
            begun = cpu()
            resources = [
                dlt.resource(
                    connection.execute(f"from {typed([path])}").to_arrow_table(),
                    name=name, primary_key="Id", table_format="delta",
                    write_disposition={"disposition": "merge", "strategy": "upsert"},
                )
                for _, name, path in files_of(folder, range(hour, hour + 1))
            ]  # fmt: skip
            pipeline.run(resources)
            steps.append(cpu() - begun)
    return {"steps": steps}


def decode(folder: Path, hours: range) -> dict[str, Any]:
    """Decode the files of these Hours with DuckDB, typed, and use every value."""
    begun = cpu()
    with duckdb.connect() as connection:
        connection.execute("set threads = 2")
        for _, _, path in files_of(folder, hours):
            connection.execute(f"select sum(hash(t)::hugeint) from {typed([path])} t").fetchall()
    return {"steps": [cpu() - begun]}


def rewrite(folder: Path, lake: Path, hours: range) -> dict[str, Any]:
    """Write again, from Parquet to Parquet, what the newest commits of these tables wrote: it has to be written anyhow.

    Args:
        folder: with the files of the tables.
        lake: with the tables themselves.
        hours: of the files.
    """
    begun, written = cpu(), 0
    tables = lake / "IMOSDL" / "Tables"
    form = "format parquet, compression zstd, compression_level 3, row_group_size 50000"
    with duckdb.connect() as connection:
        connection.execute("set threads = 2")
        for _, name, _ in files_of(folder, hours):
            for place in (tables / "current" / name, tables / "history" / name):
                log = max((place / "_delta_log").glob("*.json")).read_text().splitlines()
                for path in [json.loads(line)["add"]["path"] for line in log if line.startswith('{"add"')]:
                    target = lake / "again.parquet"
                    connection.execute(f"copy (from '{place / path}' order by Id) to '{target}' ({form})")
                    written += target.stat().st_size
                    target.unlink()
    return {"steps": [cpu() - begun], "bytes": written}


def query(folder: Path, hours: range, *, raw: bool) -> dict[str, Any]:
    """A question about the largest table: of its current table, or of all Hours."""
    sql = "select PortName, count(*), sum(Amount) from {} t group by all order by 2 desc limit 9"
    begun = cpu()
    with duckdb.connect() as connection:
        connection.execute("set threads = 2")
        if raw:
            paths = [path for _, name, path in files_of(folder, hours) if name == "Table000"]
            newest = "qualify row_number() over (partition by Id order by LastUpdateGMT desc) = 1"
            connection.execute(sql.format(f"(select * from {typed(paths)} {newest})")).fetchall()
        else:
            import deltalake  # noqa: PLC0415 - 100 MB that the others do without

            files = deltalake.DeltaTable(str(folder / "IMOSDL" / "Tables" / "current" / "Table000")).file_uris()
            connection.execute(sql.format(f"read_parquet({files})")).fetchall()
    return {"steps": [cpu() - begun]}


def wrong(tables: Path, sizes: dict[str, int], base: int, hours: range) -> int:
    """Rows of Delta tables that are not the newest version of their key; `base` records are in the first Hour alone."""
    import deltalake  # noqa: PLC0415 - as above

    bad = 0
    with duckdb.connect() as connection:
        for name, records in sizes.items():
            place = next((one for one in (tables / name, tables / name.lower()) if one.exists()), tables / name)
            files = deltalake.DeltaTable(str(place)).file_uris()
            newest = f"(select Id, Version from ({rows_sql(records, hours[-1])}))"
            if name == "Table000" and base > records:
                newest = (
                    f"({newest[1:-1]} union all select Id, Version from ({rows_sql(base, 0)}) where Id >= {records})"
                )
            have = f"(select id as Id, version as Version from read_parquet({files}, union_by_name = true))"
            for one, other in ((newest, have), (have, newest)):
                sql = f"select count(*) from (from {one} except all from {other})"
                bad += connection.execute(sql).fetchall()[0][0]
    return bad


def main() -> None:
    """Run one."""
    name, out, folder, target = sys.argv[1], *map(Path, sys.argv[2:5])
    hours = range(int(sys.argv[5]), int(sys.argv[6]) + 1)
    runs = {
        "ours": lambda: asyncio.run(ours(folder, hours, at_once=False)),
        "ours at once": lambda: asyncio.run(ours(folder, hours, at_once=True)),
        "deltalake": lambda: by_deltalake(folder, target, hours),
        "dlt": lambda: by_dlt(folder, target, hours),
        "decode": lambda: decode(folder, hours),
        "rewrite": lambda: rewrite(folder, target, hours),
        "query current": lambda: query(folder, hours, raw=False),
        "query raw": lambda: query(folder, hours, raw=True),
    }
    out.write_text(json.dumps(runs[name]()))


if __name__ == "__main__":
    main()
