"""I/O. How long a lake of months takes to observe, how much memory, and how that grows.

    python bench/observe.py                      2,700 Hours of 400 files, 50 ms a listing page: 1.08 million keys;
                                                 20 s on a quiet machine, with --peers --old-way 5 minutes
    python bench/observe.py --files 4000         ten times the keys
    python bench/observe.py --hours 27000        ten times the Hours
    python bench/observe.py --peers              also `s5cmd ls` and `rclone lsf`, which only list (make peers)
    python bench/observe.py --old-way            also boto3's resource, ten threads, one listing a question (sampled)

The store is a stub of S3's ListObjectsV2 in a process of its own, which answers each page after the latency and
otherwise costs as little as it can; what is measured runs in a fresh process each time, so that its peak memory is
its own. The history goes to memory. Prints one JSON object a measurement, and writes `docs/bench/observe.md` from all
that were ever made, which are in `observe.json` beside it.
"""

# ruff: noqa: T201 - a script, which prints its figures

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import multiprocessing
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit
from xml.sax.saxutils import escape

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

PREFIX = "IMOSDL/Hourly/"
FIRST = datetime(2022, 2, 8, 8, tzinfo=UTC)
TABLES = 50
PAGE = 1000
SAMPLE = 50
QUESTIONS = 3
FIGURES = Path(__file__).resolve().parents[1] / "docs" / "bench" / "observe.json"
SIZE = (2700, 400)
GOAL_SECONDS = 4
GOAL_MB = 150
BUSY_LOAD = 1.5


@dataclass(frozen=True)
class StubLake:
    """A lake that exists only as pages: every Hour has the same files, under names of its own."""

    hours: int
    files: int
    latency: float

    @property
    def last(self) -> datetime:
        """Its last Hour."""
        return FIRST + timedelta(hours=self.hours - 1)

    def tables(self) -> list[str]:
        """Of its schema; some hold `_`, some begin like others."""
        return [f"Table{number // 2:02d}_Part" if number % 2 else f"Table{number // 2:02d}" for number in range(TABLES)]

    def names(self) -> list[str]:
        """Of the files of an Hour, ascending."""
        tables = self.tables()
        names = [f"{tables[number % TABLES]}_HOUR_{number:06d}.json.gz" for number in range(self.files - 2)]
        return sorted([*names, "_MasterTableSchema.json", "_PresignedUrls.json"])

    def days(self) -> list[str]:
        """The days that have a folder."""
        count = (self.last.date() - FIRST.date()).days + 1
        return [f"{FIRST + timedelta(days=number):%Y%m%d}" for number in range(count)]


class Stub:
    """ListObjectsV2 and GetObject over a `StubLake`, by pages that are made once and then only relabelled."""

    def __init__(self, lake: StubLake) -> None:
        self.lake = lake
        self.names = lake.names()
        self.schema = json.dumps([{"DataObjectName": table} for table in lake.tables()]).encode()
        self.hour_pages = self._pages([("", name) for name in self.names])
        self.day_pages = self._pages([(f"{hour:02d}/", name) for hour in range(24) for name in self.names])

    def _pages(self, entries: list[tuple[str, str]]) -> list[bytes]:
        starts = range(0, len(entries), PAGE)
        return [self._page(entries[start : start + PAGE], start // PAGE + 1, len(starts)) for start in starts]

    def _page(self, entries: list[tuple[str, str]], number: int, count: int) -> bytes:
        contents = "".join(
            f"<Contents><Key>@PREFIX@{folder}{escape(name)}</Key><LastModified>2022-05-10T13:25:01.000Z</LastModified>"
            f"<ETag>&quot;0123456789abcdef0123456789abcdef&quot;</ETag><Size>{self._size(name)}</Size>"
            "<StorageClass>STANDARD</StorageClass></Contents>"
            for folder, name in entries
        )
        more = f"<NextContinuationToken>{number}</NextContinuationToken>" if number < count else ""
        return _answer(f"<IsTruncated>{str(number < count).lower()}</IsTruncated>{more}{contents}")

    def _size(self, name: str) -> int:
        return len(self.schema) if name == "_MasterTableSchema.json" else 1000 + sum(name.encode()) * 37

    def answer(self, target: str) -> bytes:
        """The body for a request's target."""
        parts = urlsplit(target)
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        if "list-type" not in query and "prefix" not in query:
            return self.schema if "Schema" in target else b"[]"
        prefix = query.get("prefix", "")
        inside = prefix.removeprefix(PREFIX).strip("/").split("/")
        day = inside[0]
        if "delimiter" in query and (prefix == PREFIX or len(inside) == 1):
            folders = self.lake.days() if prefix == PREFIX else [f"{hour:02d}" for hour in range(24)]
            return _answer(
                "".join(f"<CommonPrefixes><Prefix>{prefix}{one}/</Prefix></CommonPrefixes>" for one in folders)
            )
        if prefix == PREFIX:
            return self._everything(query.get("continuation-token", "0:0"))
        if not prefix.startswith(PREFIX) or day not in self.lake.days():
            return _answer("")
        pages = self.hour_pages if len(inside) > 1 else self.day_pages
        page = pages[int(query.get("continuation-token", "0"))]
        return page.replace(b"@PREFIX@", prefix.encode()).replace(b"HOUR", day.encode())

    def _everything(self, token: str) -> bytes:
        """A page of the whole lake, one day after the other, as who does not know its layout asks for it."""
        days = self.lake.days()
        day, number = (int(part) for part in token.split(":"))
        after = f"{day}:{number + 1}" if number + 1 < len(self.day_pages) else f"{day + 1}:0"
        page = self.day_pages[number].replace(b"@PREFIX@", f"{PREFIX}{days[day]}/".encode())
        head, _, rest = page.replace(b"HOUR", days[day].encode()).partition(b"<IsTruncated>")
        contents = rest[rest.index(b"<Contents>") :]
        more = not after.startswith(f"{len(days)}:")
        marks = f"<IsTruncated>true</IsTruncated><NextContinuationToken>{after}</NextContinuationToken>"
        return head + (marks if more else "<IsTruncated>false</IsTruncated>").encode() + contents

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer the requests of a connection."""
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                await asyncio.sleep(self.lake.latency)
                if head.startswith(b"HEAD"):  # rclone asks whether its folder is a file
                    writer.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
                    continue
                body = self.answer(head.split(b" ", 2)[1].decode())
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/xml\r\nLast-Modified: ")
                writer.write(b'Tue, 10 May 2022 13:25:01 GMT\r\nETag: "0123456789abcdef0123456789abcdef"\r\n')
                writer.write(b"Content-Length: %d\r\n\r\n" % len(body) + body)
                await writer.drain()
        writer.close()


def _answer(inside: str) -> bytes:
    head = '<?xml version="1.0" encoding="UTF-8"?><ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
    return f"{head}<Name>lake</Name><MaxKeys>1000</MaxKeys>{inside}</ListBucketResult>".encode()


def serve(lake: StubLake, ready: Connection) -> None:
    """Serve the lake on a free port until the process is ended."""

    async def run() -> None:
        server = await asyncio.start_server(Stub(lake).serve, "127.0.0.1", 0)
        ready.send(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    asyncio.run(run())


async def observe(endpoint: str, lake: StubLake) -> dict[str, Any]:
    """Build the history of the lake, then update it, as `viplake observe` does."""
    from viplake.history.build import HistoryLocation, ObserveSettings, observe  # noqa: PLC0415
    from viplake.lake import Lake  # noqa: PLC0415
    from viplake.lake.layout import Layout  # noqa: PLC0415 - the import is part of what is measured
    from viplake.lake.store import StoreSettings, open_store  # noqa: PLC0415
    from viplake.redact import Secret  # noqa: PLC0415

    class Clock:
        def now(self) -> datetime:
            return lake.last + timedelta(minutes=45)

        def monotonic(self) -> float:
            return time.monotonic()

        async def sleep(self, seconds: float) -> None:
            await asyncio.sleep(seconds)

        def from_store(self, stamped: datetime) -> datetime:
            return stamped

    secret = Secret("not-a-secret")
    store = open_store(
        StoreSettings(
            "s3://lake", access_key_id="bench", secret_access_key=secret, region="us-east-1", endpoint=endpoint,
            allow_http=True,
        )
    )  # fmt: skip
    place = HistoryLocation.elsewhere(open_store(StoreSettings("memory://")))
    opened = Lake(store, Layout(PREFIX))
    begin = time.perf_counter()
    built = await observe(opened, place, Clock(), ObserveSettings())
    build_seconds = time.perf_counter() - begin
    begin = time.perf_counter()
    updated = await observe(opened, place, Clock(), ObserveSettings())
    return {
        "rows": built.rows["historical_job_metrics"],
        "build_seconds": round(build_seconds, 2),
        "build_requests": built.requests,
        "update_seconds": round(time.perf_counter() - begin, 2),
        "update_requests": updated.requests,
    }


def old_way(endpoint: str, lake: StubLake) -> dict[str, Any]:
    """The first script's way for a sample of Hours: a listing for each question, ten threads."""
    import boto3  # noqa: PLC0415 - only here

    os.environ["AWS_EC2_METADATA_DISABLED"] = "true"
    bucket = boto3.resource(
        "s3", endpoint_url=endpoint, region_name="us-east-1", aws_access_key_id="bench", aws_secret_access_key="bench"  # noqa: S106
    ).Bucket("lake")  # fmt: skip

    def ask(number: int) -> int:
        hour = lake.last - timedelta(hours=number // QUESTIONS)
        return sum(1 for _ in bucket.objects.filter(Prefix=f"{PREFIX}{hour:%Y%m%d/%H}/"))

    begin = time.perf_counter()
    with ThreadPoolExecutor(10) as threads:
        keys = sum(threads.map(ask, range(SAMPLE * QUESTIONS)))
    seconds = time.perf_counter() - begin
    return {
        "sampled_hours": SAMPLE,
        "keys": keys,
        "sample_seconds": round(seconds, 2),
        "all_hours_seconds": round(seconds * lake.hours / SAMPLE),
    }


def peers(endpoint: str, lake: StubLake) -> list[dict[str, Any]]:
    """The listing alone, by tools made for it; they print every key, to nowhere."""
    found = []
    scripts = Path(sys.executable).parent
    remote = {"TYPE": "s3", "PROVIDER": "Other", "ENDPOINT": endpoint, "LIST_VERSION": "2"}
    remote |= {"ACCESS_KEY_ID": "b", "SECRET_ACCESS_KEY": "b"}
    environment = {
        "PATH": os.defpath,
        "AWS_ACCESS_KEY_ID": "b",
        "AWS_SECRET_ACCESS_KEY": "b",
        "AWS_REGION": "us-east-1",
        "RCLONE_CONFIG": os.devnull,
        **{f"RCLONE_CONFIG_LAKE_{name}": value for name, value in remote.items()},
    }
    commands: dict[str, list[str | Path]] = {
        "s5cmd ls": [scripts / "s5cmd", "--endpoint-url", endpoint, "ls", f"s3://lake/{PREFIX}*"],
        "rclone lsf": [scripts / "rclone", "lsf", "-R", "--files-only", f"LAKE:lake/{PREFIX}"],
        "rclone lsf, 64 checkers": [
            scripts / "rclone", "lsf", "-R", "--files-only", "--checkers", "64", f"LAKE:lake/{PREFIX}"
        ],
    }  # fmt: skip
    for name, command in commands.items():
        begin = time.perf_counter()
        process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE)  # noqa: S603 - a peer
        assert process.stdout is not None
        keys = 0
        while block := process.stdout.read(1 << 20):
            keys += block.count(b"\n")
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        seconds = round(time.perf_counter() - begin, 2)
        figures = {"seconds": seconds, "cpu_seconds": round(used.ru_utime + used.ru_stime, 2)}
        figures |= {"peak_rss_mb": used.ru_maxrss // 1024, "exit": process.returncode}
        found.append({"measured": name, "listed": keys, "latency": lake.latency} | figures)
        print(json.dumps(found[-1]))
    return found


def measure(name: str, endpoint: str, lake: StubLake) -> None:
    """Run one measurement in this process, and print it with what the process took."""
    figures = old_way(endpoint, lake) if name == "old_way" else asyncio.run(observe(endpoint, lake))
    usage = resource.getrusage(resource.RUSAGE_SELF)
    figures |= {"cpu_seconds": round(usage.ru_utime + usage.ru_stime, 2), "peak_rss_mb": usage.ru_maxrss // 1024}
    print(json.dumps({"measured": name, "keys": lake.hours * lake.files, "latency": lake.latency} | figures))
    sys.stdout.flush()
    os._exit(0)  # a thread of the store may abort an interpreter that ends under it


def main() -> None:
    """Start the store, and measure against it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hours", type=int, default=2700)
    parser.add_argument("--files", type=int, default=400)
    parser.add_argument("--latency", type=float, default=0.05, help="seconds a request")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--old-way", action="store_true")
    parser.add_argument("--peers", action="store_true", help="also s5cmd and rclone, once each")
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    parser.add_argument("--endpoint", help=argparse.SUPPRESS)
    options = parser.parse_args()
    lake = StubLake(options.hours, options.files, options.latency)
    if options.measure:
        measure(options.measure, options.endpoint, lake)
    load, runs = os.getloadavg()[0], []
    ours, theirs = multiprocessing.Pipe()
    server = multiprocessing.get_context("spawn").Process(target=serve, args=(lake, theirs), daemon=True)
    server.start()
    endpoint = f"http://127.0.0.1:{ours.recv()}"
    arguments = ["--hours", str(lake.hours), "--files", str(lake.files), "--latency", str(lake.latency)]
    for name in ["observe"] * options.repeat + ["old_way"] * options.old_way:
        command = [sys.executable, __file__, *arguments, "--measure", name, "--endpoint", endpoint]
        said = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout  # noqa: S603 - this file
        print(said, end="", flush=True)
        runs.append(json.loads(said))
    if options.peers:
        runs += peers(endpoint, lake)
    server.terminate()
    server.join()
    publish(lake, load, runs)


def publish(lake: StubLake, load: float, runs: list[dict[str, Any]]) -> None:
    """Keep the figures of a lake of this size, and write the page from those of all sizes."""
    figures = json.loads(FIGURES.read_text()) if FIGURES.exists() else {}
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    known = figures.get(f"{lake.hours} x {lake.files}", {}).get("runs", [])
    names = {run["measured"] for run in runs}
    figures[f"{lake.hours} x {lake.files}"] = {
        "measured": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        "machine": f"{os.cpu_count()} cores, {memory:.0f} GiB, Python {platform.python_version()}",
        "load": round(load, 1),
        "hours": lake.hours,
        "files": lake.files,
        "runs": [run for run in known if run["measured"] not in names] + runs,
    }
    FIGURES.write_text(json.dumps(figures, indent=1) + "\n")
    FIGURES.with_suffix(".md").write_text(page(figures))


def page(figures: dict[str, Any]) -> str:
    """The page, in Markdown."""
    parts = [_INTRODUCTION.strip(), *(_size(part) for part in figures.values()), _NOTES.strip()]
    return "\n\n".join(parts) + "\n"


_INTRODUCTION = """
# What an observation costs

Written by `make bench-observe`; every run is in `observe.json` beside this page. The store is a stub of S3's listing in
a process of its own, 50 ms a page of 1,000 keys, on the same machine. Each measurement runs in a fresh process: seconds
are those of the build or the update, CPU and memory those of the whole process with interpreter and imports. A figure
is the median of its runs, with the least and the most in parentheses.
"""

_NOTES = """
## How to read it

- The other tools list one day after the other. viplake lists the days in parallel, because it knows the layout.
- A build runs on one core while the stub uses the other, so other work on the machine shows in its seconds at once.
- What bounds it, and what was tried: [decision 16](../adr/0016-buckets-are-listed-by-raw-keys.md).
"""


def _size(part: dict[str, Any]) -> str:
    keys = part["hours"] * part["files"]
    runs: dict[str, list[dict[str, Any]]] = {}
    for run in part["runs"]:
        runs.setdefault(run["measured"], []).append(run)
    ours = runs.pop("observe")
    busy = part["load"] > BUSY_LOAD
    build, peak = (statistics.median(run[name] for run in ours) for name in ("build_seconds", "peak_rss_mb"))
    goals = [_goal("peak memory, MB", peak, GOAL_MB)] if (part["hours"], part["files"]) == SIZE else []
    if goals and not busy:
        goals.insert(0, _goal("seconds of the build", build, GOAL_SECONDS))
    built, updated = ours[0]["build_requests"], ours[0]["update_requests"]
    asked = f"{built['listings']:,} listings, {built['schemas']} schema"
    rows = [_row("`viplake observe`, everything", ours, "build_seconds", asked)]
    asked = f"{updated['listings']} listings, {updated['records']} records"
    rows.append(f"| the hourly update after it | {_spread(ours, 'update_seconds')} | | | {asked} |")
    for name, some in runs.items():
        if name == "old_way":
            what = f"boto3's resource, ten threads, a listing for each question; all Hours, from {SAMPLE}"
            rows.append(_row(what, some, "all_hours_seconds", f"{QUESTIONS} listings an Hour", cpu=False))
        else:
            rows.append(_row(f"{name}: the listing alone", some, "seconds", ""))
    mark = " **Busy machine**: compare CPU, memory and requests only." if busy else ""
    return "\n".join(
        [
            f"## {part['hours']:,} Hours of {part['files']:,} files: {keys:,} keys",
            "",
            f"{part['measured']}; {part['machine']}; load {part['load']} before it.{mark}",
            "",
            "| | seconds | CPU | peak MB | requests |",
            "|---|---|---|---|---|",
            *rows,
            *(["", "| goal | figure | | |", "|---|---|---|---|", *goals] if goals else []),
        ]
    )


def _row(what: str, runs: list[dict[str, Any]], seconds: str, requests: str, *, cpu: bool = True) -> str:
    used = _spread(runs, "cpu_seconds") if cpu else ""
    return f"| {what} | {_spread(runs, seconds)} | {used} | {_spread(runs, 'peak_rss_mb', '.0f')} | {requests} |"


def _goal(name: str, figure: float, most: float) -> str:
    return f"| {name} | {figure:g} | at most {most} | {'reached' if figure <= most else '**missed**'} |"


def _spread(runs: list[dict[str, Any]], what: str, form: str = ".2f") -> str:
    found = [run[what] for run in runs]
    return f"{statistics.median(found):{form}} ({min(found):{form}}-{max(found):{form}})"


if __name__ == "__main__":
    main()
