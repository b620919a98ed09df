"""I/O. What landing an export takes, beside rclone and the old way; writes `docs/bench/transfer.md`.

    make bench                                    all of it: about 15 minutes on a quiet machine
    make bench ARGS='--only small --rounds 3'     one part of it; the others stand as they were
    make bench ARGS=--page                        only write the page anew

The figures themselves are kept beside the page, as JSON, every run of them.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import random
import statistics
import sys
import time
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from importlib import metadata
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import obstore
from obstore.store import S3Store
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from bench import page
from bench.measuring import (
    BIN,
    ROOT,
    CommandFailed,
    Contender,
    Run,
    cpu_of,
    fetch,
    interleave,
    machine,
    plain_environment,
    run,
    say,
    scratch,
    stub,
    version_of,
)

sys.path.insert(0, str(ROOT / "tests"))
from servers.seaweed import Seaweed, serve  # the same S3 server that the tests use

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

FIGURES: Final = ROOT / "docs" / "bench" / "transfer.json"
PAGE: Final = FIGURES.with_suffix(".md")

DELAY: Final = 0.025
AT_ONCE: Final = 64
"""viplake's default; what rclone is given to be equal."""

_NUMBERS = count(1)


def small_sizes() -> list[int]:
    """2,000 files of 4 to 64 KB."""
    draw = random.Random(1)  # noqa: S311 - the same sizes each time
    return [draw.randint(4_000, 64_000) for _ in range(2000)]


def mixed_sizes() -> list[int]:
    """1 GB: 470 files of 1 to 500 KB, 25 of 1 to 10 MB, 5 of 60 to 200 MB, in no order."""
    draw = random.Random(2)  # noqa: S311 - as above
    sizes = [draw.randint(1_000, 500_000) for _ in range(470)] + [
        draw.randint(1_000_000, 10_000_000) for _ in range(25)
    ]
    left = 1_000_000_000 - sum(sizes)
    sizes += [int(left * share) for share in (0.13, 0.17, 0.20, 0.24)]
    sizes.append(1_000_000_000 - sum(sizes))
    assert all(60_000_000 <= size <= 200_000_000 for size in sizes[-5:])
    draw.shuffle(sizes)
    return sizes


@dataclass(frozen=True, slots=True)
class Stage:
    """Where a transfer is measured: a vendor, an S3, and a folder for what belongs to neither.

    Attributes:
        vendor: address of the source.
        lake: how to reach the S3, without the bucket.
        home: of the measured processes.
        new_bucket: makes one, empty.
        sizes: bytes of the files that the vendor lists.
        after: clears a bucket away.
        server: CPU seconds that the S3 has taken so far, where that is of interest.
    """

    vendor: str
    lake: dict[str, Any]
    home: Path
    new_bucket: Callable[[], str]
    sizes: list[int]
    after: Callable[[str], None] = field(default=lambda _bucket: None)
    server: Callable[[], float | None] = field(default=lambda: None)

    # -- the contenders --------------------------------------------------------------------------------

    def ours(self, client: str = "aiohttp") -> Run:
        """`land` alone."""
        return self._check(
            lambda bucket: [
                sys.executable,
                "-m",
                "bench.ours",
                json.dumps({"vendor": self.vendor, "lake": {"url": f"s3://{bucket}", **self.lake}, "client": client}),
            ],
        )

    def whole_run(self) -> Run:
        """The command, from its start to its Receipt and its last event."""
        return self._check(lambda _: [str(BIN / "viplake"), "run", "--only-deliver", "--json"])

    def rclone(self, *options: str) -> Run:
        """`rclone copyurl`, which needs the list as a file."""
        listed = json.loads(fetch(f"{self.vendor}/v1/presignedUrls/BENCH"))
        urls = self.home / "urls.csv"
        with urls.open("w", newline="") as out:
            csv.writer(out).writerows((f["presignedDownloadURL"], f["key"].rpartition("/")[2]) for f in listed)
        return self._check(
            lambda bucket: [str(BIN / "rclone"), "copyurl", "--urls", str(urls), f"bench:{bucket}/f", *options]
        )

    def old_way(self, threads: int) -> Run:
        """Threads with requests and boto3."""
        told = {"files_url": f"{self.vendor}/v1/presignedUrls/BENCH", "folder": "f/", "threads": threads, **self.lake}
        return self._check(
            lambda bucket: [sys.executable, "-m", "bench.old_way", json.dumps({**told, "bucket": bucket})]
        )

    def bare(self) -> Run:
        """Sockets alone; only where the S3 is the stub, for it signs nothing."""
        told = {"files_url": f"{self.vendor}/v1/presignedUrls/BENCH", "s3": self.lake["endpoint"], "at_once": AT_ONCE}
        found = run([sys.executable, "-m", "bench.load", json.dumps(told)], self._environment("load"), self.home)
        fetch(f"{self.lake['endpoint']}/load", "DELETE")
        return found

    # -- one run ---------------------------------------------------------------------------------------

    def _check(self, command: Callable[[str], list[str]]) -> Run:
        bucket = self.new_bucket()
        before = self.server()
        found = run(command(bucket), self._environment(bucket), self.home)
        if before is not None and (after := self.server()) is not None:
            found = replace(found, server=after - before)
        landed = self._landed(bucket)
        if sorted(landed) != sorted(self.sizes):
            raise CommandFailed(f"{len(landed)} files landed, and not those that were listed")
        self.after(bucket)
        return found

    def _landed(self, bucket: str) -> list[int]:
        """The sizes of all files in a bucket that came from the vendor."""
        own = {name: self.lake[name] for name in ("endpoint", "access_key_id", "secret_access_key", "region")}
        store = S3Store(bucket, **own, client_options={"allow_http": True})
        return [meta["size"] for some in obstore.list(store) for meta in some if meta["path"].endswith(".json.gz")]

    def _environment(self, bucket: str) -> dict[str, str]:
        return {
            **plain_environment(self.home),
            **rclone_environment(self.lake, self.home),
            **viplake_environment(self.vendor, f"s3://{bucket}"),
            "AWS_ENDPOINT_URL_S3": self.lake["endpoint"],
            "AWS_ACCESS_KEY_ID": self.lake["access_key_id"],
            "AWS_SECRET_ACCESS_KEY": self.lake["secret_access_key"],
            "AWS_REGION": self.lake["region"],
        }


def viplake_environment(vendor: str, lake: str) -> dict[str, str]:
    """The settings of a run at the stub, all of them defaults but one.

    Polls come each second, not each minute: the run waits as long as one poll for the vendor's list to settle, and a
    wait is nothing to measure.
    """
    return {
        "VIPLAKE_ENVIRONMENT": "Prod",
        "VIPLAKE_COMPANY": "BENCH",
        "VIPLAKE_LAKE": lake,
        "VIPLAKE_TOKEN_URL": f"{vendor}/token",
        "VIPLAKE_EXPORT_URL": vendor,
        "VIPLAKE_FILES_URL": vendor,
        "VIPLAKE_CLIENT_ID": "bench",
        "VIPLAKE_CLIENT_SECRET": "bench-secret",
        "VIPLAKE_ALLOW_INSECURE_HTTP": "true",
        "VIPLAKE_POLL_SECONDS": "1",
    }


def rclone_environment(lake: dict[str, Any], home: Path) -> dict[str, str]:
    """A remote named `bench`; what is not named is rclone's default."""
    told = {
        "TYPE": "s3",
        "PROVIDER": "Other",
        "ENDPOINT": lake["endpoint"],
        "ACCESS_KEY_ID": lake["access_key_id"],
        "SECRET_ACCESS_KEY": lake["secret_access_key"],
        "REGION": lake["region"],
    }
    own = {f"RCLONE_CONFIG_BENCH_{name}": value for name, value in told.items()}
    return {**own, "RCLONE_CONFIG": str(home / "rclone.conf")}


# -- the parts ----------------------------------------------------------------------------------------------


def measure_small(rounds: int) -> dict[str, Any]:
    """2,000 small files between two stubs that answer after 25 ms."""
    with ExitStack() as held:
        home, _ = held.enter_context(scratch())
        vendor = held.enter_context(stub("source", sizes=small_sizes(), delay=DELAY))
        s3 = held.enter_context(stub("s3", delay=DELAY))
        stage = _stub_stage(vendor, s3, home, small_sizes())
        quick_vendor = held.enter_context(stub("source", sizes=small_sizes()))
        quick = _stub_stage(quick_vendor, held.enter_context(stub("s3")), home, small_sizes())
        runs = interleave(
            [
                Contender("bare sockets", stage.bare),
                Contender("bare sockets, no delay", quick.bare),
                Contender("viplake", stage.ours),
                Contender("viplake, pyreqwest", lambda: stage.ours("pyreqwest")),
                Contender("viplake run", stage.whole_run),
                Contender("rclone", lambda: stage.rclone("--transfers", str(AT_ONCE))),
                Contender("rclone, no HEAD", lambda: stage.rclone("--transfers", str(AT_ONCE), "--s3-no-head")),
                Contender("old way, 16 threads", lambda: stage.old_way(16), rounds=3),
                Contender("old way, 3 threads", lambda: stage.old_way(3), rounds=1),
            ],
            rounds,
        )
    return {"runs": runs, "floor": 2 * len(small_sizes()) * DELAY / AT_ONCE, "at_once": AT_ONCE}


def _stub_stage(vendor: str, s3: str, home: Path, sizes: list[int]) -> Stage:
    lake = {
        "endpoint": s3,
        "access_key_id": "BENCHBENCHBENCHBENCH",
        "secret_access_key": "b" * 40,
        "region": "us-east-1",
        "allow_http": True,
    }
    return Stage(
        vendor, lake, home, lambda: f"bucket-{next(_NUMBERS)}", sizes, lambda bucket: _discard(f"{s3}/{bucket}")
    )


def _discard(url: str) -> None:
    fetch(url, "DELETE")


def _warm_bucket(server: Seaweed) -> str:
    """A bucket whose first volume is there: making one is no part of any transfer."""
    bucket = server.bucket()
    store = server.store(bucket)
    obstore.put(store, "warm", b"?")
    obstore.delete(store, "warm")
    return bucket


def _empty(server: Seaweed, bucket: str) -> None:
    store = server.store(bucket)
    obstore.delete(store, [meta["path"] for some in obstore.list(store) for meta in some])


def measure_mix(rounds: int) -> dict[str, Any]:
    """1 GB of all sizes into SeaweedFS; a fresh server each round, so that none grows old."""
    sizes = mixed_sizes()
    runs: dict[str, list[dict[str, Any]]] = {}
    in_memory = False
    with stub("source", sizes=sizes) as vendor:
        for number in range(rounds):
            found, in_memory = _mix_round(vendor, sizes)
            say(f"round {number + 1}/{rounds} done")
            for name, some in found.items():
                runs.setdefault(name, []).extend(some)
    return {"runs": runs, "in_memory": in_memory, "bytes": sum(sizes)}


def _mix_round(vendor: str, sizes: list[int]) -> tuple[dict[str, list[dict[str, Any]]], bool]:
    with scratch() as (home, in_memory), serve(home / "seaweed") as server:
        stage = _seaweed_stage(vendor, server, home, sizes)
        contenders = [
            Contender("viplake", stage.ours),
            Contender("rclone", stage.rclone),
            Contender("rclone, tuned", lambda: stage.rclone("--s3-no-head", "--transfers", "16")),
            Contender("viplake, pyreqwest", lambda: stage.ours("pyreqwest")),
            Contender("viplake run", stage.whole_run),
            Contender("old way, 3 threads", lambda: stage.old_way(3)),
            Contender("old way, 16 threads", lambda: stage.old_way(16)),
        ]
        return interleave(contenders, 1), in_memory


def _seaweed_stage(vendor: str, server: Seaweed, home: Path, sizes: list[int]) -> Stage:
    lake = {
        "endpoint": server.endpoint,
        "access_key_id": server.access_key,
        "secret_access_key": server.secret_key,
        "region": server.region,
        "allow_http": True,
    }
    return Stage(
        vendor,
        lake,
        home,
        lambda: _warm_bucket(server),
        sizes,
        lambda bucket: _empty(server, bucket),
        lambda: cpu_of(home / "seaweed"),
    )


def measure_large(rounds: int) -> dict[str, Any]:
    """One file of 6 GB into SeaweedFS, for its memory."""
    size = 6_000_000_000
    with (
        stub("source", sizes=[size]) as vendor,
        scratch() as (home, in_memory),
        serve(home / "seaweed") as server,
    ):
        stage = _seaweed_stage(vendor, server, home, [size])
        runs = interleave([Contender("viplake run", stage.whole_run)], rounds)
    return {"runs": runs, "in_memory": in_memory}


def measure_commands(rounds: int) -> dict[str, Any]:
    """What a scheduler pays for a tick that has nothing to do, and a person for a look at the help."""
    with (
        stub("source", sizes=[10_000] * 20) as vendor,
        scratch() as (home, _),
        serve(home / "seaweed") as server,
    ):
        bucket = _warm_bucket(server)
        (home / "lake").mkdir()
        common = {**plain_environment(home), **server.environment()}
        places = {
            name: {**common, **viplake_environment(vendor, url)}
            for name, url in (("folder", f"file://{home}/lake"), ("S3", f"s3://{bucket}"))
        }
        viplake = str(BIN / "viplake")
        _wait_for_a_fresh_hour()
        for environment in places.values():
            run([viplake, "run", "--only-deliver"], environment, home)
        fetch(f"{vendor}/_stub")
        runs = interleave(
            [
                Contender("python -c pass", lambda: run([sys.executable, "-c", "pass"], common, home)),
                Contender("viplake --help", lambda: run([viplake, "--help"], common, home)),
                Contender("idle tick, folder", lambda: run([viplake, "tick"], places["folder"], home)),
                Contender("idle tick, S3", lambda: run([viplake, "tick"], places["S3"], home)),
            ],
            rounds,
        )
        if asked := json.loads(fetch(f"{vendor}/_stub")).get("POST"):
            raise CommandFailed(f"the ticks were not idle: they sent {asked} requests to the vendor")
    return {"runs": runs}


def _wait_for_a_fresh_hour() -> None:
    """The Hour must stay final while it is measured."""
    left = 3600 - datetime.now(UTC).timestamp() % 3600
    if left < 180:
        say(f"waiting {left:.0f} s for the next Hour")
        time.sleep(left + 1)


def measure_install(_rounds: int) -> dict[str, Any]:
    """Bytes on disk of viplake and all that it needs, as pip leaves them: bytecode included, extras not."""
    sizes: dict[str, int] = {}
    _weigh("viplake", sizes)
    package = ROOT / "src" / "viplake"
    sizes["viplake"] = sum(path.stat().st_size for path in package.rglob("*") if path.is_file())
    return {"sizes": sizes, "versions": {name: metadata.version(name) for name in sizes}}


def _weigh(name: str, sizes: dict[str, int]) -> None:
    name = canonicalize_name(name)
    if name in sizes:
        return
    found = metadata.distribution(name)
    files: Iterable[Path] = (Path(str(found.locate_file(file))) for file in found.files or [])
    sizes[name] = sum(path.stat().st_size for path in files if path.is_file())
    for line in found.requires or []:
        requirement = Requirement(line)
        if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
            _weigh(requirement.name, sizes)


PARTS: Final[dict[str, tuple[Callable[[int], dict[str, Any]], int]]] = {
    "small": (measure_small, 5),
    "mix": (measure_mix, 5),
    "large": (measure_large, 1),
    "commands": (measure_commands, 15),
    "install": (measure_install, 1),
}


def measure(name: str, rounds: int | None) -> dict[str, Any]:
    """One part, with when and on what it was measured."""
    work, usual = PARTS[name]
    say(f"-- {name}")
    load = os.getloadavg()[0]
    found = work(rounds or usual)
    probes = [one["probe"] for runs in found.get("runs", {}).values() for one in runs]
    quiet = {"least": min(probes), "median": statistics.median(probes), "most": max(probes)} if probes else None
    return {
        "measured": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        "machine": machine(),
        "versions": {name: metadata.version(name) for name in page.VERSIONS} | {"rclone": version_of("rclone")},
        "probe": quiet,
        "load": load,
        **found,
    }


def main() -> None:
    """Measure what is asked for, keep it, write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=list(PARTS), action="append", help="this part; may be given again")
    parser.add_argument("--rounds", type=int, help="instead of each part's own number")
    parser.add_argument("--page", action="store_true", help="measure nothing")
    options = parser.parse_args()
    FIGURES.parent.mkdir(exist_ok=True)
    figures = json.loads(FIGURES.read_text()) if FIGURES.exists() else {}
    for name in [] if options.page else options.only or list(PARTS):
        figures[name] = measure(name, options.rounds)
        FIGURES.write_text(json.dumps(figures, indent=1) + "\n")
    PAGE.write_text(page.write(figures))
    say(f"written: {PAGE.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
