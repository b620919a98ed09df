"""Measures content checks: so many Hours of the simulated history, by DuckDB and by Spark on this machine.

    python bench/spark.py --hours 24

Each engine runs `viplake content` in a process of its own, the start of its interpreter and of Spark included. The
two must come to the same counts, or nothing is printed.
"""

# ruff: noqa: T201, S603 - a script, which prints its figures and runs our own command

from __future__ import annotations

import argparse
import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from viplake.lake import Lake
from viplake.lake.layout import Layout
from viplake.lake.store import StoreSettings, open_store
from viplake.model import PROD, Hour
from viplake.simulator.history import Past, generate

FIRST = Hour.parse("2022-05-10T00")
CONTENT = "import sys; from viplake import cli; sys.exit(cli.execute(sys.argv[1:]))"


def main() -> None:
    """Make the Hours, look inside them twice, print a line for each engine."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hours", type=int, default=24)
    parser.add_argument("--scale", type=float, default=1.0, help="1: an Hour has about 600 KB")
    parser.add_argument("--cores", type=int, default=2, help="of Spark: local[CORES]")
    told = parser.parse_args()
    hours = [FIRST.shift(number) for number in range(told.hours)]
    with tempfile.TemporaryDirectory() as folder:
        store = open_store(StoreSettings(Path(folder).as_uri(), create=True))
        past = Past(scale=told.scale)
        asyncio.run(generate(Lake(store, Layout(PROD.prefix)), hours, past, environment=PROD))
        files = list(Path(folder, PROD.prefix).rglob("*.json.gz"))
        size = sum(path.stat().st_size for path in files)
        print(f"{told.hours} Hours, {len(files):,} files, {size / 1e6:.1f} MB as stored, {os.cpu_count()} cores")
        counts = {}
        for engine in ("duckdb", "spark"):
            seconds, counts[engine] = _looked_into(folder, hours, engine, told.cores)
            print(f"{engine:<8} {seconds:6.1f} s   {counts[engine][0]:,} rows, {counts[engine][1]:,} findings")
        if len(set(counts.values())) > 1:
            raise SystemExit("the engines do not agree")


def _looked_into(folder: str, hours: list[Hour], engine: str, cores: int) -> tuple[float, tuple[int, int]]:
    """Seconds; rows and findings."""
    environ = os.environ | {
        "VIPLAKE_ENVIRONMENT": "Prod",
        "VIPLAKE_LAKE": Path(folder).as_uri(),
        "PYSPARK_SUBMIT_ARGS": f"--master local[{cores}] --conf spark.ui.enabled=false"
        " --conf spark.driver.host=127.0.0.1 --conf spark.driver.bindAddress=127.0.0.1 pyspark-shell",
    }
    asked = ["content", "--from", str(hours[0]), "--to", str(hours[-1]), "--json", "--no-keep", "--engine", engine]
    began = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", CONTENT, *asked], env=environ, capture_output=True, check=False)
    seconds = time.perf_counter() - began
    if done.returncode not in {0, 1}:
        raise SystemExit(done.stderr.decode()[-2000:])
    tables = [table for hour in json.loads(done.stdout)["hours"] for table in hour["tables"]]
    return seconds, (sum(table["rows"] or 0 for table in tables), sum(len(table["findings"]) for table in tables))


if __name__ == "__main__":
    main()
