"""I/O. What others do with the files of an Hour: python -m bench.content_peers WHICH FOLDER.

WHICH is duckdb, duckdb-no-keys, pandas or pyarrow. Each answers, for every table and column: records, values, distinct,
least, greatest; and how many different keys a table has. None of them checks anything.
"""

from __future__ import annotations

import gzip
import json
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable

TYPES: Final = {
    "Integer": "BIGINT",
    "Decimal": "DOUBLE",
    "Boolean": "BOOLEAN",
    "DateTime": "TIMESTAMP",
    "String": "VARCHAR",
}


def tables(folder: Path) -> dict[str, tuple[list[Path], dict[str, str]]]:
    """Files and columns with their types, by table."""
    entries = json.loads((folder / "_MasterTableSchema.json").read_bytes())
    columns = {e["DataObjectName"]: {c["ElementName"]: c["DataType"] for c in e["DataElements"]} for e in entries}
    found: dict[str, tuple[list[Path], dict[str, str]]] = {}
    for path in sorted(folder.glob("*.json.gz")):
        table = max((name for name in columns if path.name.startswith(f"{name}_")), key=len)
        found.setdefault(table, ([], columns[table]))[0].append(path)
    return found


def is_array(path: Path) -> bool:
    """Whether a file holds an array."""
    with gzip.open(path) as file:
        return file.read(1) == b"["


def with_duckdb(files: list[Path], columns: dict[str, str], *, keys: bool = True) -> Any:
    """One query a table, typed columns; with keys also how many different ones there are."""
    import duckdb  # noqa: PLC0415 - one of three

    types = ", ".join(f"'{name}': '{TYPES[kind]}'" for name, kind in columns.items())
    answers = ", ".join(
        f'count("{name}"), approx_count_distinct("{name}"), min("{name}"), max("{name}")' for name in columns
    )
    if keys:
        answers += f', count(distinct "{next(iter(columns))}")'
    form = "array" if is_array(files[0]) else "newline_delimited"
    paths = ", ".join(f"'{path}'" for path in files)
    sql = f"select count(*), {answers} from read_json([{paths}], format = '{form}', columns = {{{types}}})"  # noqa: S608 - ours
    return duckdb.execute("set preserve_insertion_order = false").execute(sql).fetchone()


def with_pandas(files: list[Path], columns: dict[str, str]) -> Any:
    """In memory, as pandas does it."""
    import pandas as pd  # noqa: PLC0415 - one of three

    whole = pd.concat(pd.read_json(path, lines=not is_array(path), dtype=False, convert_dates=False) for path in files)
    found = []
    for name, kind in columns.items():
        values = pd.to_datetime(whole[name]) if kind == "DateTime" else whole[name]
        found.append((values.count(), values.nunique(), values.min(), values.max()))
    return len(whole), found, whole[next(iter(columns))].nunique()


def with_pyarrow(files: list[Path], columns: dict[str, str]) -> Any:
    """In memory, lines alone; an array is made lines first, which is not what it is for."""
    import io  # noqa: PLC0415 - as below

    import pyarrow as pa  # noqa: PLC0415 - one of three
    import pyarrow.compute as pc  # noqa: PLC0415 - as above
    from pyarrow import json as reader  # noqa: PLC0415 - as above

    types = {"Integer": pa.int64(), "Decimal": pa.float64(), "Boolean": pa.bool_(), "String": pa.string()}
    told = pa.schema([(name, types.get(kind, pa.timestamp("s"))) for name, kind in columns.items()])
    options = reader.ParseOptions(explicit_schema=told)
    found = []
    for path in files:
        with gzip.open(path) as file:
            data = file.read()
        if data[:1] == b"[":
            data = b"\n".join(json.dumps(row).encode() for row in json.loads(data))
        if data:
            found.append(reader.read_json(io.BytesIO(data), parse_options=options))
    whole = pa.concat_tables(found)
    return whole.num_rows, [
        (len(values) - values.null_count, pc.count_distinct(values), pc.min_max(values)) for values in whole.columns
    ]


def main(which: str, folder: str) -> None:
    """Ask of every table."""
    known: dict[str, Callable[[list[Path], dict[str, str]], Any]] = {
        "duckdb": with_duckdb,
        "duckdb-no-keys": partial(with_duckdb, keys=False),
        "pandas": with_pandas,
        "pyarrow": with_pyarrow,
    }
    ask = known[which]
    for files, columns in tables(Path(folder)).values():
        ask(files, columns)


if __name__ == "__main__":
    main(*sys.argv[1:])
