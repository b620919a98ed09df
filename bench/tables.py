"""I/O. Measures the current and history tables beside the merge of delta-rs and dlt, and writes docs/bench/tables.md.

    make bench-tables
    make bench-tables ARGS='--hours 24 --home /tmp/tables --only ours'      # one piece, and its lake stays there

Every run is a process of its own; its memory is `VmHWM`. The tools take turns, some Hours each. The figures are kept
beside the page, as JSON: a piece that is measured again replaces its own figures alone.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from bench.measuring import ROOT, machine, plain_environment, run, say, scratch
from bench.tables_runs import active, land, wrong

if TYPE_CHECKING:
    from collections.abc import Sequence

PAGE: Final = ROOT / "docs" / "bench" / "tables.md"
FIGURES: Final = PAGE.with_suffix(".json")
TABLES: Final = 40
BASE: Final = 3_000_000
"""Records of the largest table, in the first Hour."""

LARGEST: Final = 30_000
"""Active records of the largest table, in every later Hour."""

USER_TABLES: Final = 247
_PROBE: Final = 100_000
"""Records of the largest table from which the size of an Hour is estimated; of fewer, headers would be much of it."""

TOOLS: Final = ("ours", "deltalake", "dlt")
TURN: Final = 10
"""Hours that a tool has before the next one takes its turn."""


class Bench:
    """A lake, and runs over it.

    Args:
        home: a folder for all of it.
    """

    def __init__(self, home: Path) -> None:
        self.home, self.number = home, 0

    def once(self, name: str, folder: Path, target: Path, first: int, last: int) -> dict[str, Any]:
        """Run one measurement of `bench.tables_runs`."""
        out = self.home / "out.json"
        places = [str(out), str(folder), str(target), str(first), str(last)]
        command = [sys.executable, "-m", "bench.tables_runs", name, *places]
        done = run(command, {**plain_environment(self.home), "TMPDIR": str(self.home)}, ROOT)
        found = json.loads(out.read_text())
        say(f"{name} {first}..{last}: {done.seconds:.1f} s, {done.cpu:.1f} s of CPU, {done.peak_mb:.0f} MB")
        return {**found, "seconds": done.seconds, "cpu": done.cpu, "peak_mb": done.peak_mb}


def count_files(folder: Path) -> int:
    """Files below a folder."""
    return sum(1 for path in folder.rglob("*") if path.is_file())


def the_lake(bench: Bench, hours: int) -> tuple[Path, dict[str, Any]]:
    """Return a lake of these Hours and one more that repeats the last, and what is in it; it is landed once."""
    lake, sizes, known = bench.home / f"lake-{hours}", active(TABLES, LARGEST), bench.home / f"lake-{hours}.json"
    if not known.exists():
        shutil.rmtree(lake, ignore_errors=True)
        land(lake, 0, {**sizes, "Table000": BASE})
        stored = sum(land(lake, hour, sizes) for hour in range(1, hours + 1))
        land(lake, hours + 1, sizes, frozenset(sizes))
        found = {"hours": hours, "tables": TABLES, "rows": sum(sizes.values()), "bytes": stored / hours}
        known.write_text(json.dumps(found))
    return lake, json.loads(known.read_text())


def measure_hours(bench: Bench, hours: int, names: Sequence[str]) -> dict[str, Any]:
    """Hour after Hour, 40 tables, one of 3 M rows: the first Hour and each later one, for each of these tools."""
    lake, found = the_lake(bench, hours)
    sizes = active(TABLES, LARGEST)
    targets = {name: bench.home / name for name in names} | {"ours": lake}
    for folder in ("Tables", "_viplake"):
        shutil.rmtree(lake / "IMOSDL" / folder, ignore_errors=True)
    for name in names:
        if name != "ours":
            shutil.rmtree(targets[name], ignore_errors=True)
            targets[name].mkdir()
    runs: dict[str, dict[str, Any]] = {
        name: {"first": bench.once(name, lake, targets[name], 0, 0), "each": []} for name in names
    }
    for begin in range(1, hours + 1, TURN):
        for name in names:
            runs[name]["each"].append(bench.once(name, lake, targets[name], begin, min(begin + TURN - 1, hours)))
    places = {"ours": lake / "IMOSDL" / "Tables" / "current", "dlt": bench.home / "dlt" / "tables"}
    for name, one in runs.items():
        one["wrong"] = wrong(places.get(name, targets[name]), sizes, BASE, range(hours + 1))
        one.update(about())
    if "ours" in runs:
        found["live"] = live_files(lake / "IMOSDL" / "Tables")
        before = count_files(lake / "IMOSDL" / "Tables")
        found["unchanged"] = bench.once("ours", lake, lake, hours + 1, hours + 1)
        found["unchanged"]["written"] = count_files(lake / "IMOSDL" / "Tables") - before
        found["query"] = {name: bench.once(f"query {name}", lake, lake, 0, hours + 1) for name in ("current", "raw")}
    return found | {"runs": runs}


def about() -> dict[str, Any]:
    """When and where a piece was measured."""
    return {"at": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC", "machine": machine(), "load": os.getloadavg()[0]}


def live_files(tables: Path) -> dict[str, float]:
    """The most live files of a table against the least that its size needs."""
    import deltalake  # noqa: PLC0415 - 100 MB

    most = {}
    for kind in ("current", "history"):
        for folder in (tables / kind).iterdir():
            files = deltalake.DeltaTable(str(folder)).file_uris()
            size = sum(Path(path).stat().st_size for path in files)
            most[f"{kind}/{folder.name}"] = len(files) / max(1, -(-size // (64 << 20)))
    return {"most": max(most.values()), "tables": len(most)}


def measure_catch_up(bench: Bench) -> dict[str, Any]:
    """24 Hours at once, against decoding them."""
    lake, sizes = bench.home / "caught", active(TABLES, LARGEST)
    for hour in range(24):
        land(lake, hour, sizes)
    found = {"decode": bench.once("decode", lake, lake, 0, 23), "ours": bench.once("ours at once", lake, lake, 0, 23)}
    shutil.rmtree(lake)
    return found


def measure_user(bench: Bench, gigabytes: float) -> dict[str, Any]:
    """One Hour of the user's number of tables, half of it unchanged since the Hour before."""
    lake = bench.home / "user"
    probe = land(lake, 0, active(USER_TABLES, _PROBE))
    shutil.rmtree(lake)
    sizes = active(USER_TABLES, int(_PROBE * gigabytes * 1e9 / probe))
    half, total = set(), 0
    for name, records in sorted(sizes.items(), key=lambda one: one[1]):
        if total + records <= sum(sizes.values()) / 2:
            half.add(name)
            total += records
    land(lake, 0, sizes)
    stored = land(lake, 1, sizes, frozenset(half))
    bench.once("ours", lake, lake, 0, 0)
    decoded = bench.home / "changed"
    shutil.rmtree(decoded, ignore_errors=True)
    for path in (lake / "IMOSDL" / "Hourly" / "20220510" / "01").glob("Table*"):
        if path.name.partition("_")[0] not in half:
            place = decoded / "IMOSDL" / "Hourly" / "20220510" / "01"
            place.mkdir(parents=True, exist_ok=True)
            os.link(path, place / path.name)
    found = {
        "bytes": stored,
        "tables": USER_TABLES,
        "decode": bench.once("decode", decoded, lake, 1, 1),
        "ours": bench.once("ours", lake, lake, 1, 1),
        "rewrite": bench.once("rewrite", decoded, lake, 1, 1),
    }
    shutil.rmtree(lake)
    shutil.rmtree(decoded)
    return found


# -- the page ---------------------------------------------------------------------------------------------------------

_INTRODUCTION: Final = """
# What the current and history tables cost

Written by `make bench-tables`; every run is in `tables.json` beside this page. Each run is a process of its own. CPU is
that of all its threads, with decoding; memory is the resident peak (`VmHWM`) in 10^6 bytes. viplake writes the current
and the history table of each table, the peers the current table alone. "Load" is the load average when the part ended.
Above 1.5 the machine was busy: compare CPU, memory and counts only.
"""

_BOUNDS: Final = """
## What bounds an update

- Each table of each Hour has a fixed cost, whatever its size: two logs are read and committed, and some fifteen SQL
  statements read a file, compare its rows and write two Parquet files. On a table of a few thousand rows most of that
  is the planning of the SQL. The peers read one log, and neither compare a file with its receipt nor keep a history.
- Records are looked at twice: once for members that the schema does not name, once for their values.
- A table of millions of rows that is made at once needs the most memory. DuckDB begins with 128 MB, and spills to disk
  what does not fit.
- The current table cannot be had without the history, so there is no figure for it alone.

## Measure it again

Each piece can be measured by itself. The times are those of 2 idle cores, the first two estimated.

| | |
|---|---|
| `make bench-tables ARGS='--home DIR --hours 200'` | all of it: an hour and a half |
| `make bench-tables ARGS='--home DIR --hours 200 --only ours deltalake dlt'` | the Hours: 50 minutes |
| `make bench-tables ARGS='--home DIR --hours 12 --only ours deltalake dlt'` | the same, shorter: 5 minutes |
| `make bench-tables ARGS='--home DIR --only catch_up'` | half a minute |
| `make bench-tables ARGS='--home DIR --only user'` | an Hour of 1.8 GB: 16 minutes, and 8 GB in DIR |

DIR keeps the lakes, so that a piece that is measured again does not write them again. The load into PostgreSQL beside
dlt is not part of this.
"""


def page(known: dict[str, Any]) -> str:
    """Return the whole page; parts that were not measured are left out."""
    hours = sorted((part for name, part in known.items() if name.startswith("hours_")), key=lambda part: part["hours"])
    others = {"catch_up": _catch_up_text, "user": _user_text}
    parts = [_INTRODUCTION.lstrip(), *map(_hours_text, hours)]
    parts += [text(known[name]) for name, text in others.items() if name in known]
    parts.append(_BOUNDS.lstrip())
    return "\n".join(parts)


def _when(part: dict[str, Any]) -> str:
    busy = " (busy machine)" if part["load"] > 1.5 else ""
    return f"{part['at']}; {part['machine']}. Load {part['load']:.1f}{busy}."


def _verdict(value: float, goal: float, unit: str = " times") -> str:
    return f"at most {goal:g}{unit}: {'reached' if value <= goal else '**missed**'}"


def _hours_text(part: dict[str, Any]) -> str:
    names = {"ours": "viplake, current and history", "deltalake": "merge of delta-rs", "dlt": "dlt, upsert to Delta"}
    goals = {"deltalake": 1.0, "dlt": 0.45}
    runs = {name: part["runs"][name] for name in TOOLS if name in part["runs"]}
    medians = {
        name: statistics.median(step for turn in one["each"] for step in turn["steps"]) for name, one in runs.items()
    }
    lines = [
        f"## {part['hours']} Hours, {part['tables']} tables, one of {BASE:,} rows",
        "",
        f"Each Hour has {part['rows']:,} records ({part['bytes'] / 1e6:.1f} MB stored), of which one in 24 changed.",
        "",
        "| | CPU an Hour, median | viplake against it | goal | peak MB | first Hour, CPU | its peak MB | wrong rows |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, one in runs.items():
        ratio = medians["ours"] / medians[name] if "ours" in runs else 0.0
        against = f"{ratio:.2f} | {_verdict(ratio, goals[name])}" if name in goals and ratio else " | "
        peak = max(turn["peak_mb"] for turn in one["each"])
        lines.append(
            f"| {names[name]} | {medians[name]:.2f} s | {against} | {peak:.0f} | {one['first']['cpu']:.1f} s | "
            f"{one['first']['peak_mb']:.0f} | {one['wrong']} |"
        )
    lines += ["", *(f"- {names[name]}: {_when(one)}" for name, one in runs.items())]
    return "\n".join([*lines, "", *(_settled_lines(part, runs["ours"]) if "ours" in runs else [])])


def _settled_lines(part: dict[str, Any], ours: dict[str, Any]) -> list[str]:
    unchanged, asked = part["unchanged"], part["query"]
    least = asked["raw"]["steps"][0] / asked["current"]["steps"][0]
    peak = max(turn["peak_mb"] for turn in (ours["first"], *ours["each"]))
    return [
        "| | | goal |",
        "|---|---|---|",
        f"| peak memory with {BASE:,} rows | {peak:.0f} MB | {_verdict(peak, 300, ' MB')} |",
        (
            f"| an Hour in which nothing changed | {unchanged['seconds']:.1f} s, {unchanged['cpu']:.1f} s of CPU, "
            f"{unchanged['written']} files written | {_verdict(unchanged['seconds'], 3, ' s')} |"
        ),
        (
            f"| a question of the largest table: all Hours against its current table | {least:.0f} times the CPU | "
            f"at least 25 times: {'reached' if least >= 25 else '**missed**'} |"
        ),
        (
            f"| live files of a table, the most against the least for its size | {part['live']['most']:.1f} times | "
            f"{_verdict(part['live']['most'], 2)} |"
        ),
        "",
    ]


def _catch_up_text(part: dict[str, Any]) -> str:
    ratio = part["ours"]["cpu"] / part["decode"]["cpu"]
    return "\n".join(
        [
            "## Catch-up of 24 Hours at once",
            "",
            f"The same tables, without the {BASE:,} rows. {_when(part)}",
            "",
            "| | CPU | peak MB |",
            "|---|---|---|",
            f"| DuckDB decodes them | {part['decode']['cpu']:.1f} s | {part['decode']['peak_mb']:.0f} |",
            f"| `viplake tables`, current and history | {part['ours']['cpu']:.1f} s | {part['ours']['peak_mb']:.0f} |",
            "",
            f"{ratio:.2f} times; goal: {_verdict(ratio, 1.3)}.",
            "",
        ]
    )


def _user_text(part: dict[str, Any]) -> str:
    peak, rewriting, again_mb = part["ours"]["peak_mb"], part["rewrite"]["cpu"], part["rewrite"]["peak_mb"]
    size = part["rewrite"]["bytes"] / 1e9
    ratio = (part["ours"]["cpu"] - rewriting) / part["decode"]["cpu"]
    return "\n".join(
        [
            f"## One Hour of {part['tables']} tables and {part['bytes'] / 1e9:.2f} GB, half of it unchanged",
            "",
            _when(part),
            "",
            "| | CPU | peak MB |",
            "|---|---|---|",
            f"| DuckDB decodes what changed | {part['decode']['cpu']:.1f} s | {part['decode']['peak_mb']:.0f} |",
            f"| `viplake tables`, current and history | {part['ours']['cpu']:.1f} s | {peak:.0f} |",
            f"| of these, the writing: {size:.2f} GB of Parquet, by DuckDB | {rewriting:.1f} s | {again_mb:.0f} |",
            "",
            f"Without the writing {ratio:.2f} times; goals: {_verdict(ratio, 3)}, {_verdict(peak, 800, ' MB')}.",
            "",
        ]
    )


def main() -> None:
    """Measure the pieces that are wanted, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=(*TOOLS, "catch_up", "user"), help="pieces; all by default")
    parser.add_argument("--hours", type=int, default=200)
    parser.add_argument("--user-gb", type=float, default=1.8)
    parser.add_argument("--home", type=Path, help="a folder for the lakes, which stay there for the next piece")
    parser.add_argument("--page", action="store_true", help="only write the page anew")
    given = parser.parse_args()
    wanted = () if given.page else given.only or (*TOOLS, "catch_up", "user")
    if given.home:
        given.home.mkdir(parents=True, exist_ok=True)
        measure(Bench(given.home), wanted, given.hours, given.user_gb)
    else:
        with scratch() as (home, _):
            measure(Bench(home), wanted, given.hours, given.user_gb)
    PAGE.write_text(page(figures()))
    say(f"{PAGE.relative_to(ROOT)} is written")


def measure(bench: Bench, wanted: Sequence[str], hours: int, gigabytes: float) -> None:
    """Measure these pieces, and keep their figures."""
    if tools := [name for name in TOOLS if name in wanted]:
        found = measure_hours(bench, hours, tools)
        before = figures().get(f"hours_{hours}", {"runs": {}})
        keep(f"hours_{hours}", {**before, **found, "runs": before["runs"] | found["runs"]})
    if "catch_up" in wanted:
        keep("catch_up", measure_catch_up(bench) | about())
    if "user" in wanted:
        keep("user", measure_user(bench, gigabytes) | about())


def figures() -> dict[str, Any]:
    """Those that are kept."""
    found: dict[str, Any] = json.loads(FIGURES.read_text()) if FIGURES.exists() else {}
    return found


def keep(part: str, found: dict[str, Any]) -> None:
    """Keep the figures of a part."""
    FIGURES.write_text(json.dumps(figures() | {part: found}, indent=1) + "\n")


if __name__ == "__main__":
    main()
