"""Every read command on a young or odd lake: a sentence and a documented exit code, never a traceback."""

from __future__ import annotations

import json
import re
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from commands import Commands, environ_for, simulated
from samples import sampled
from viplake.model import PROD, Hour
from viplake.simulator import ExportShape

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from viplake.simulator import Simulator

pytestmark = pytest.mark.system

NOW = Hour.of(datetime.now(UTC))
READS = {
    "status": ["status"],
    "verify": ["verify"],
    "observe": ["observe"],
    "observe --rebuild": ["observe", "--rebuild"],
    "observe --daily": ["observe", "--daily"],
    "check": ["check", "--no-notify"],
    "schema": ["schema"],
    "schema --at": ["schema", "--at", str(NOW)],
    "content": ["content"],
    "query": ["query", "show tables"],
    "query history": ["query", "select * from historical_run_metrics"],
    "report": ["report", "--out", "r.html"],
    "slo": ["slo"],
    "slo --openslo": ["slo", "--openslo"],
    "rules show": ["rules", "show"],
    "ack": ["ack", "missing_job:2022-05-10T04", "--note", "known"],
    "serve": ["serve", "--textfile", "metrics.prom"],
    "report of a range": ["report", "--from", str(NOW.shift(-30)), "--to", str(NOW), "--out", "range.html"],
    "schema --diff": ["schema", "--diff", str(NOW.shift(-3)), "--at", str(NOW)],
    "status of a range": ["status", "--from", str(NOW.shift(-3)), "--to", str(NOW)],
    "collect": ["collect", str(NOW.shift(-3))],
    "consolidate from it": ["consolidate", "LAKE", "--lake", "OTHER", "--source-environment", "Prod", "--dry-run"],
    "observe --drop": ["observe", "--drop", "--from", str(NOW.shift(-9_000)), "--to", str(NOW.shift(-8_900))],
    "adopt": ["adopt", "--dry-run"],
    "evidence": ["evidence", "--from", str(NOW.shift(-30)), "--to", str(NOW)],
    "prune": ["prune", "--older-than", "90d", "--dry-run"],
    "tables": ["tables"],
    "tables show": ["tables", "show"],
    "tables --check": ["tables", "--check"],
    "tables ddl": ["tables", "ddl", "--for", "athena"],
    "load": ["load", "imos.duckdb"],
    "query of a table": ["query", "select count(*) from Voyage"],
    "query without receipts": ["query", "select count(*) from Voyage", "--unproven"],
    "query of the history table": ["query", "select * from history.Voyage"],
    "verify of a range": ["verify", "--from", str(NOW.shift(-30)), "--to", str(NOW)],
    "content of a range": ["content", "--from", str(NOW.shift(-5)), "--to", str(NOW)],
    "observe far away": ["observe", "--from", "2001-01-01T00", "--to", "2001-01-02T00"],
    "doctor": ["doctor"],
}


IN_ONE_PROCESS = """
import contextlib, io, json, sys
from viplake.cli import execute
found = []
for name, arguments in json.loads(sys.argv[1]).items():
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        code = execute(arguments)
    found.append((name, code, said.getvalue()))
print(json.dumps(found))
"""


@pytest.fixture
def vendor() -> Iterator[Simulator]:
    with simulated(export=ExportShape(files=4, total_bytes=4_000), replication_seconds=0) as running:
        yield running


def _folder(lake: Path, hour: Hour) -> None:
    """An Hour as another program lands it."""
    folder = lake / PROD.prefix / f"{hour.start:%Y%m%d}" / f"{hour.start:%H}"
    folder.mkdir(parents=True)
    columns = [{"Name": "VoyageNo", "Type": "int"}]
    schema = [{"DataObjectName": "Voyage", "Columns": columns}]
    (folder / "_MasterTableSchema.json").write_text(json.dumps(schema))
    (folder / "Voyage_0001.json").write_text('[{"VoyageNo": 1}]')


def missing(_lake: Path, _viplake: Commands, _vendor: Simulator) -> None:
    """No folder at all."""


def empty(lake: Path, _viplake: Commands, _vendor: Simulator) -> None:
    lake.mkdir()


def failed(_lake: Path, viplake: Commands, vendor: Simulator) -> None:
    vendor.faults.add("status:word:value=Failed")
    assert viplake.run("run").code == 69
    vendor.faults.clear()


def claimed(_lake: Path, viplake: Commands, vendor: Simulator) -> None:
    vendor.faults.add("trigger:forbidden")
    assert viplake.run("tick").code == 77
    vendor.faults.clear()


def delivered(_lake: Path, viplake: Commands, _vendor: Simulator) -> None:
    assert viplake.run("run", "--only-deliver").code == 0


def imported(lake: Path, viplake: Commands, _vendor: Simulator) -> None:
    other = lake.with_name("other")
    for number in range(30):
        _folder(other, NOW.shift(-number))
    assert viplake.run("observe", VIPLAKE_LAKE=other.as_uri()).code == 0
    lake.mkdir()
    assert viplake.run("observe", "--import", str(other / PROD.prefix / ".." / "Observability")).code == 0


def foreign(lake: Path, _viplake: Commands, _vendor: Simulator) -> None:
    for number in range(1, 30):
        _folder(lake, NOW.shift(-number))


def one_foreign(lake: Path, _viplake: Commands, _vendor: Simulator) -> None:
    _folder(lake, NOW.shift(-3))


def hole_at_the_end(lake: Path, _viplake: Commands, _vendor: Simulator) -> None:
    for number in range(40, 60):
        _folder(lake, NOW.shift(-number))


def hole_at_the_start(lake: Path, _viplake: Commands, _vendor: Simulator) -> None:
    for number in (*range(1, 5), 200):
        _folder(lake, NOW.shift(-number))


LAKES = [
    missing,
    empty,
    failed,
    claimed,
    delivered,
    imported,
    foreign,
    one_foreign,
    hole_at_the_end,
    hole_at_the_start,
]


@pytest.mark.parametrize("lake", sampled(LAKES, every=3), ids=lambda lake: lake.__name__)
def test_every_read_command_ends_with_a_sentence_on_a_lake_that_is(
    lake: Callable[[Path, Commands, Simulator], None], vendor: Simulator, tmp_path: Path
) -> None:
    folder = tmp_path / "lake"
    viplake = Commands(environ_for(vendor, folder.as_uri(), VIPLAKE_LOG_FORMAT="text"), tmp_path)
    (tmp_path / "another").mkdir()
    lake(folder, viplake, vendor)
    urls = {"LAKE": folder.as_uri(), "OTHER": (tmp_path / "another").as_uri()}
    reads = {name: [urls.get(word, word) for word in words] for name, words in READS.items()}
    done = viplake.run_as(sys.executable, "-c", IN_ONE_PROCESS, json.dumps(reads))
    assert done.code == 0, done.err
    for name, code, said in json.loads(done.out.splitlines()[-1]):
        told = f"{name}: exit {code}\n{said}"
        assert code in {0, 1, 2, 69, 73}, told
        assert said.strip() or name == "serve", told  # it writes a file
        assert not re.search(r"Traceback|\w+Error\b|\bNone\b", said), told
