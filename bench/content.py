"""I/O. What looking inside costs: `viplake content` beside DuckDB alone, pandas and PyArrow on the same files.

    python -m bench.content                      all three lakes, writes docs/bench/content.md
    python -m bench.content --only small         one of them: array, lines, small; writes nothing
    python -m bench.content --rounds 5 --mb 200

A lake is a folder with one Hour: a table of a gigabyte of JSON (an array, or lines), or 500 small files of 50 tables.
Every contender is a process of its own, in turn. DuckDB alone reads the files as typed columns and computes the same
answers (records, values, distinct, least, greatest): no gzip checksum, no member that is not in the schema, no value
that does not fit counted. pandas and PyArrow do what DuckDB does.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import random
import sys
from datetime import UTC, datetime
from statistics import median
from typing import TYPE_CHECKING, Any, Final

from bench.measuring import ROOT, CommandFailed, Contender, interleave, machine, plain_environment, run, say, scratch
from viplake.simulator.tables import ExportShape, SimulatedTable, make_export, schema

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

HOUR: Final = "2022-05-10T13"
FOLDER: Final = "IMOSDL/Hourly/20220510/13"
PAGE: Final = ROOT / "docs" / "bench" / "content.md"
TABLE: Final = SimulatedTable(
    "Voyage",
    1,
    (
        ("VoyageId", "id"), ("VesselCode", "code"), ("VoyageNo", "int"), ("VoyageStatus", "status"),
        ("OpsCoordinator", "user"), ("CommenceDateGMT", "when"), ("CompleteDateGMT", "when"), ("TradeArea", "area"),
        ("Laycan", "when"), ("Amount", "money"), ("ConsecutiveVoyage", "flag"), ("LastUserId", "user"),
        ("LastUpdateGMT", "changed"),
    ),
)  # fmt: skip
BUSY: Final = 1.5
"""Load from which on seconds say little."""

BLOCK: Final = 20_000
NAMES: Final = {
    "array": "one table, a JSON array",
    "lines": "one table, an object a line",
    "small": "500 small files of 50 tables",
}


def main(arguments: list[str]) -> int:
    """Measure, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=NAMES)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--mb", type=int, default=1000, help="of JSON in the large tables")
    given = parser.parse_args(arguments)
    begun = datetime.now(UTC)
    results = {}
    for name in [given.only] if given.only else NAMES:
        with scratch() as (folder, _):
            size = make_lake(folder, name, given.mb * 1_000_000)
            results[name] = (size, interleave(contenders(folder, name), given.rounds))
    page = written(results, begun, given.rounds)
    if given.only:
        print(page)  # noqa: T201 - what was asked for
    else:
        PAGE.write_text(page, encoding="utf-8")
        say(str(PAGE))
    return 0


# -- the lakes ------------------------------------------------------------------------------------------------


def make_lake(folder: Path, name: str, size: int) -> int:
    """Fill it; the bytes of JSON in it."""
    hour = folder / "lake" / FOLDER
    hour.mkdir(parents=True)
    if name == "small":
        return _small(hour)
    (hour / "_MasterTableSchema.json").write_bytes(schema((TABLE,)))
    total = 0
    with gzip.open(hour / "Voyage_0000.json.gz", "wb", compresslevel=6) as out:
        for block in _blocks(size, array=name == "array"):
            total += out.write(block)
    return total


def _small(hour: Path) -> int:
    total = 0
    start = datetime(2022, 5, 10, 13, tzinfo=UTC)
    for file in make_export(ExportShape(files=503, rows=20), "onDemandExtract1DayProd", start):
        data = b"".join(file.read())
        (hour / file.name).write_bytes(data)
        total += len(gzip.decompress(data)) if file.table is not None else 0
    return total


def _blocks(size: int, *, array: bool) -> Iterator[bytes]:
    rng = random.Random(1)  # noqa: S311 - records, no secrets
    rest = [_rest(rng) for _ in range(BLOCK)]
    between = "," if array else "\n"
    made = number = 0
    if array:
        yield b"["
    while made < size:
        lead = between if number else ""
        records = between.join(f'{{"VoyageId": {number + at}, {one}' for at, one in enumerate(rest))
        block = (lead + records).encode()
        number, made = number + BLOCK, made + len(block)
        yield block
    yield b"]" if array else b"\n"


def _rest(rng: random.Random) -> str:
    def when() -> str:
        return f"2022-05-{rng.randrange(1, 10):02}T{rng.randrange(24):02}:{rng.randrange(60):02}:00"

    return json.dumps(
        {
            "VesselCode": "".join(rng.choices("ABCDEFGHJKLMN", k=5)),
            "VoyageNo": rng.randrange(90_000),
            "VoyageStatus": rng.choice(["Scheduled", "Commenced", "Completed"]),
            "OpsCoordinator": rng.choice(["mlopez", "a.tan"]),
            "CommenceDateGMT": when(),
            "CompleteDateGMT": None if rng.random() < 0.1 else when(),
            "TradeArea": rng.choice(["Atlantic", "Pacific"]),
            "Laycan": when(),
            "Amount": round(rng.random() * 1e6, 2),
            "ConsecutiveVoyage": rng.random() < 0.3,
            "LastUserId": "svc_import",
            "LastUpdateGMT": f"2022-05-09T{rng.randrange(14, 24):02}:{rng.randrange(60):02}:00",
        }
    )[1:]


# -- the contenders -------------------------------------------------------------------------------------------


def contenders(folder: Path, name: str) -> list[Contender]:
    """Who takes part on a lake."""
    environment = plain_environment(folder) | {
        "VIPLAKE_ENVIRONMENT": "Prod",
        "VIPLAKE_LAKE": f"file://{folder / 'lake'}",
    }

    def once(*command: str, ok: tuple[int, ...] = (0,)) -> Any:
        return run([sys.executable, "-m", *command], environment, folder, ok=ok)

    def peer(which: str) -> Any:
        return once("bench.content_peers", which, str(folder / "lake" / FOLDER))

    found = [
        Contender("viplake content", lambda: once("viplake", "content", "--at", HOUR, "--no-keep", "--json")),
        Contender("DuckDB alone", lambda: peer("duckdb")),
        Contender("DuckDB alone, without keys", lambda: peer("duckdb-no-keys")),
        Contender("pandas", lambda: peer("pandas"), rounds=1 if name == "array" else 2),
    ]
    if name != "array":  # PyArrow reads no arrays
        found.append(Contender("PyArrow", lambda: peer("pyarrow"), rounds=2))
    return found


# -- the page -------------------------------------------------------------------------------------------------


def written(results: dict[str, tuple[int, dict[str, list[dict[str, Any]]]]], begun: datetime, rounds: int) -> str:
    """The page of figures."""
    how = (
        "`make bench-content`: `python -m bench.content`. Each program runs in a process of its own, in turn; seconds "
        f"are those of the whole process, start included. {machine()}; {begun:%Y-%m-%d %H:%M} UTC; medians of {rounds} "
        "rounds (least and most in parentheses), the probe is the MD5 of a fixed block right before each run.\n"
    )
    alone_does = (
        "DuckDB alone reads typed columns. It gives the same results without checks: it verifies no gzip checksum and "
        "counts neither members that are not in the schema nor values that do not fit their type. One of the results "
        "is the number of distinct keys of a table. A line of its own shows DuckDB without it, which is faster.\n"
    )
    bound = (
        "The goals are 0.8 times the speed of DuckDB alone, and at most 400 MB. What takes the time: each file is "
        "decompressed once and stored, to check that this works and which form it has. Its JSON is searched for "
        "numbers that a double cannot hold. Its members are counted in a pass of their own (above 128 MB, in the first "
        "200,000 records). Times are read as text and converted. Numbers are read as JSON and converted once, because "
        "a typed column of DuckDB reads `true` as 1 and would hide the wrong type. A search for `true` and `false` "
        "takes longer than typed columns save. In small tables most of the time is DuckDB's planning, and viplake "
        "takes longer to start than DuckDB alone.\n"
    )
    load = f"{os.getloadavg()[0]:.1f}"
    busy = float(load) > BUSY
    mark = (
        f"The load at the end was {load}: a busy machine. Compare CPU, not seconds.\n" if busy else f"Load: {load}.\n"
    )
    lines = ["# What content checks cost\n", how, mark, alone_does, bound]
    for name, (size, runs) in results.items():
        alone = median(one["cpu" if busy else "seconds"] for one in runs["DuckDB alone"])
        lines += [
            f"\n## {NAMES[name]}, {size / 1e6:,.0f} MB of JSON\n",
            f"| | seconds | MB/s | against DuckDB alone{', by CPU' if busy else ''} | CPU | peak memory | probe |",
            "|---|---|---|---|---|---|---|",
        ]
        for contender, taken in runs.items():
            seconds = sorted(one["seconds"] for one in taken)
            middle = median(seconds)
            lines.append(
                f"| {contender} | {middle:.2f} ({seconds[0]:.2f}-{seconds[-1]:.2f}) | {size / 1e6 / middle:,.0f} | "
                f"{alone / median(one['cpu' if busy else 'seconds'] for one in taken):.2f}x | "
                f"{median(one['cpu'] for one in taken):.1f} | "
                f"{max(one['peak_mb'] for one in taken):,.0f} MB | {median(one['probe'] for one in taken):.2f} |"
            )
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except CommandFailed as error:
        sys.exit(str(error))
