"""What a person sees of a run, and what a machine reads of it: at a real terminal, and without one."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from canary import CANARIES
from commands import Commands, environ_for, simulated
from viplake.model import Hour
from viplake.simulator import ExportShape

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.system

COLOR = re.compile(r"\x1b\[[0-9;]*(3[0-9]|9[0-7])(;[0-9;]*)?m")
CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


@pytest.fixture
def viplake(tmp_path: Path) -> Iterator[Commands]:
    """A vendor slow enough that its files can be watched."""
    shape = ExportShape(files=200, total_bytes=4_000_000)
    with simulated(export=shape, latency_ms=150, replication_seconds=2) as vendor:
        yield Commands(environ_for(vendor, f"file://{tmp_path / 'lake'}"), tmp_path)


@pytest.fixture
def brisk(tmp_path: Path) -> Iterator[Commands]:
    """A vendor that responds at once."""
    with simulated(export=ExportShape(files=20, total_bytes=40_000), replication_seconds=0) as vendor:
        yield Commands(environ_for(vendor, f"file://{tmp_path / 'lake'}"), tmp_path)


def lines(sent: str) -> list[str]:
    """What stood in each line at some time, without colours and movements."""
    return [line.rstrip() for line in re.split(r"[\r\n]+", CONTROL.sub("", sent)) if line.strip()]


def test_at_a_terminal_a_run_shows_phases_files_and_waiting_times(viplake: Commands) -> None:
    code, sent = viplake.at_a_terminal("run")
    seen = lines(sent)
    assert code == 0, seen
    text = "\n".join(seen)
    steps = [
        r"- \d\d:\d\d:\d\d  claimed",
        r"triggered: Veson's export is [0-9a-f-]{36}",
        "replicated: Veson reports Complete",
        r"promised: 200 files, \d\.\d+ MB",
        r"delivered: 200 files, \d\.\d+ MB, the Receipt is written",
        r"observed: the history has 1 more",
    ]
    places = [re.search(step, text) for step in steps]
    assert all(places), text
    starts = [place.start() for place in places if place]
    assert starts == sorted(starts)
    assert re.search(r"Veson 0:00:0\d, usually 15 to 25 min; next poll (\d\d:){2}\d\d, deadline \d\d:\d\d UTC", text)
    bars = re.findall(r"(\d+)/200 files  \S+ [kM]B of \S+ MB  (\S+ [kM]?B/s)?", text)
    assert len({files for files, _ in bars}) > 1, text
    assert any(rate for _, rate in bars)
    assert re.match(r"\d{4}-\d\d-\d\dT\d\d  delivered  200 files", seen[-1])
    assert COLOR.search(sent)
    assert sent.rstrip().endswith("/") or "\x1b[?25h" in sent  # the cursor is there again
    for secret in CANARIES.secret_values():
        assert secret not in sent


def test_NO_COLOR_is_honoured_at_a_terminal(brisk: Commands) -> None:
    code, sent = brisk.at_a_terminal("run", NO_COLOR="1")
    assert code == 0
    assert not COLOR.search(sent)
    assert "claimed" in sent


def test_quiet_leaves_the_result_alone(brisk: Commands) -> None:
    code, sent = brisk.at_a_terminal("run", "--quiet")
    assert code == 0
    assert len(lines(sent)) == 1
    assert "delivered  20 files" in sent
    again = brisk.run("tick", "--quiet")
    assert (again.code, again.err) == (0, "")
    assert len(again.out.splitlines()) == 1


def test_a_terminal_that_cannot_move_its_cursor_gets_plain_lines(brisk: Commands) -> None:
    code, sent = brisk.at_a_terminal("run", TERM="dumb", NO_COLOR="1")
    assert code == 0
    assert "\x1b" not in sent
    assert "delivered" in sent


def test_elsewhere_each_event_is_one_line_of_json(brisk: Commands) -> None:
    finished = brisk.run("run", "--json")
    assert finished.code == 0, finished
    events = [json.loads(line) for line in finished.err.splitlines()]
    names = [event["event"] for event in events if "hour" in event]
    assert [name for name in names if name != "working"] == [
        "claimed",
        "triggered",
        "replicated",
        "promised",
        "delivered",
    ]
    assert all({"level", "timestamp"} <= set(event) for event in events)
    assert json.loads(finished.out)["outcome"] == "delivered"
    assert "\x1b" not in finished.out + finished.err


def test_a_run_that_fails_ends_with_cause_owner_and_next_step(tmp_path: Path) -> None:
    with simulated() as vendor:
        vendor.faults.add("status:word:value=Failed")
        command = Commands(environ_for(vendor, f"file://{tmp_path / 'lake'}"), tmp_path)
        code, sent = command.at_a_terminal("run")
        again = command.run("tick", "--quiet")
    assert code == 69
    assert "not_observed" not in sent  # the first Hour of a lake that fails leaves no folder, and is a row all the same
    seen = lines(sent)
    assert seen[-3].startswith("viplake: 2")
    assert not re.match(r"\d{4}-\d\d-\d\dT\d\d  failed", seen[-4])  # it would say the same twice
    assert seen[-2].startswith("  cause  vendor_job_failed (vendor): ")
    assert seen[-1].startswith("  next   Open a ticket at Veson")
    assert again.code == 69
    assert len(again.err.splitlines()) == 3


@pytest.mark.parametrize("columns", ["80", "100"])
def test_status_prints_one_line_an_hour_newest_last_within_the_terminal(brisk: Commands, columns: str) -> None:
    assert brisk.run("run", "--only-deliver").code == 0
    code, sent = brisk.at_a_terminal("status", "--last", "30", COLUMNS=columns)
    assert code == 0
    seen = lines(sent)
    assert max(map(len, seen)) <= int(columns)
    hours = [found[0] for line in seen if (found := re.search(r"\d{4}-\d\d-\d\dT\d\d", line))]
    assert len(hours) == 30
    assert hours == sorted(hours)
    assert "columns left out: the terminal is too narrow. --json has all." in seen[-1]


def test_query_takes_sql_from_a_file_and_from_stdin_and_prints_wide_rows_vertically(brisk: Commands) -> None:
    assert brisk.run("run", "--only-deliver").code == 0
    wide = "select " + ", ".join(f"{number} as column_number_{number}" for number in range(20))
    (brisk.cwd / "wide.sql").write_text(wide)
    code, sent = brisk.at_a_terminal("query", "-f", "wide.sql", COLUMNS="80")
    assert code == 0
    assert max(len(line) for line in lines(sent)[:-1]) <= 80
    assert re.search(r"1 row of \S+; 1\d columns left out: --vertical shows all", lines(sent)[-1])
    tall = brisk.run("query", wide, "--vertical")
    assert tall.out.splitlines()[:2] == ["-- row 1", "column_number_0   0"]
    assert len(tall.out.splitlines()) == 21
    piped = brisk.run_as("sh", "-c", f'echo "select 7 as seven" | {sys.executable} -m viplake query --csv')
    assert (piped.code, piped.out) == (0, "seven\n7\n")
    both = brisk.run("query", "select 1", "-f", "wide.sql")
    assert (both.code, "exclude each other" in both.err) == (2, True)
    code, sent = brisk.at_a_terminal("query")
    assert (code, "there is no SQL" in sent) == (2, True)


def test_run_on_a_delivered_hour_reports_the_earlier_delivery(brisk: Commands) -> None:
    first, again = brisk.run("run", "--quiet"), brisk.run("run", "--quiet")
    assert (first.code, again.code) == (0, 0)
    assert re.match(r"\S+  delivered  20 files", first.out)
    assert re.match(r"\S+  already delivered  20 files", again.out)


def test_evidence_writes_the_file_that_out_names(brisk: Commands) -> None:
    assert brisk.run("run", "--only-deliver").code == 0
    done = brisk.run("evidence", "--last", "3", "--out", "e.html")
    assert done.code == 0, done.err
    assert [line.rpartition("/")[2] for line in done.out.splitlines()] == ["e.html", "e.csv"]
    assert {path.name for path in brisk.cwd.glob("e.*")} == {"e.html", "e.csv"}


def test_collect_takes_the_company_from_the_lake_and_asks_for_a_token_before_it_reopens(brisk: Commands) -> None:
    assert brisk.run("run", "--only-deliver").code == 0
    [folder] = (brisk.cwd / "lake/IMOSDL/_viplake/ledger").glob("*/*")
    day, hour = folder.parent.name, folder.name
    for name in ("VIPLAKE_COMPANY", "VIPLAKE_CLIENT_SECRET"):
        del brisk.environ[name]
    [receipt] = (brisk.cwd / "lake/IMOSDL/Hourly").glob("*/*/_Receipt.json")
    for path in receipt.parent.iterdir():
        path.unlink()
    events = sorted(path.name for path in folder.iterdir())
    done = brisk.run("collect", f"{day}-{hour}")
    assert (done.code, "secrets_missing" in done.err) == (77, True), done.err
    assert sorted(path.name for path in folder.iterdir()) == events


def test_a_mistyped_company_fails_soon_with_the_setting_to_check_and_is_corrected_by_the_next_run(
    brisk: Commands,
) -> None:
    done = brisk.run("run", VIPLAKE_COMPANY="ACNE")
    assert done.code == 77, done.err
    assert re.search(r"the company code ACNE is the likely reason\n.*\n +next +Check VIPLAKE_COMPANY", done.err)
    hour = re.match(r"\S+", done.out)
    assert hour is not None
    assert brisk.run("collect", hour[0]).code == 0


@pytest.mark.parametrize("with_times", [True, False])
def test_collect_in_a_restored_folder_asks_veson_only_where_the_times_were_lost(
    brisk: Commands, *, with_times: bool
) -> None:
    assert brisk.run("run", "--only-deliver").code == 0
    shutil.copytree(
        brisk.cwd / "lake", brisk.cwd / "restored", copy_function=shutil.copy2 if with_times else shutil.copy
    )
    [receipt] = (brisk.cwd / "restored/IMOSDL/Hourly").glob("*/*/_Receipt.json")
    receipt.unlink()
    for file in () if with_times else receipt.parent.iterdir():
        os.utime(file)
    hour = f"{receipt.parts[-3]}-{receipt.parts[-2]}"
    for name in ("VIPLAKE_COMPANY", "VIPLAKE_CLIENT_ID", "VIPLAKE_CLIENT_SECRET"):
        brisk.environ.pop(name, None)
    lake = {"VIPLAKE_LAKE": (brisk.cwd / "restored").as_uri()}
    done = brisk.run("collect", hour, **lake)
    if with_times:
        assert (done.code, receipt.exists()) == (0, True), done.err
    else:
        assert (done.code, receipt.exists()) == (77, False), done.err
        assert re.search(r"^  note +Every file was in the folder .* cp -p$", done.err, re.MULTILINE)


def test_collect_of_a_copy_without_times_recommends_cp_p_although_veson_delivers_again(brisk: Commands) -> None:
    assert brisk.run("run", "--only-deliver").code == 0
    [receipt] = (brisk.cwd / "lake/IMOSDL/Hourly").glob("*/*/_Receipt.json")

    def lose_receipt_and_times() -> None:
        receipt.unlink()
        for file in receipt.parent.iterdir():
            os.utime(file)

    hour = f"{receipt.parts[-3]}-{receipt.parts[-2]}"
    for _ in range(2):
        lose_receipt_and_times()
        done = brisk.run("collect", hour, "--json")
        assert (done.code, receipt.exists()) == (0, True), done.err
        assert "cp -p" in json.loads(done.out)["note"]
        assert re.search(r"^viplake: \S+: Every file .* cp -p$", done.err, re.MULTILINE)
    again = brisk.run("collect", hour, "--json")
    assert (json.loads(again.out)["note"], "cp -p" in again.err) == (None, False)
    lose_receipt_and_times()
    code, sent = brisk.at_a_terminal("collect", hour)
    assert code == 0
    shown = "\n".join(lines(sent))
    assert "the files are newer than the delivery" in shown
    assert re.search(r"If you restore the copy with its\s+times, it needs no Veson: cp -p", shown)


def test_daily_views_are_those_of_the_range(brisk: Commands) -> None:
    assert brisk.run("run", "--only-deliver").code == 0
    yesterday = Hour.of(datetime.now(UTC)).shift(-24)
    assert brisk.run("observe", "--from", str(yesterday)).code == 0
    whole = json.loads(brisk.run("observe", "--daily", "--json").out)["daily"]["jobs"]
    part = json.loads(brisk.run("observe", "--daily", "--json", "--since", str(yesterday.shift(24))).out)
    assert len(whole) == 2
    assert [row["date"] for row in part["daily"]["jobs"]] == [yesterday.shift(24).day]


def test_drop_prints_what_it_removed_and_needs_a_range(brisk: Commands) -> None:
    assert brisk.run("run", "--only-deliver").code == 0
    now = Hour.of(datetime.now(UTC))
    assert brisk.run("observe", "--from", str(now.shift(-50))).code == 0
    window = ("--from", str(now.shift(-50)), "--to", str(now.shift(-1)))
    done = brisk.run("observe", "--drop", *window)
    assert done.code == 0, done.err
    assert re.search(r"historical_job_metrics  50 rows", done.out)
    again = brisk.run("observe", "--drop", *window)
    assert (again.code, "nothing removed" in again.out) == (0, True)
    for wrong in (("--drop",), ("--drop", "--from", str(now)), ("--drop", *window, "--rebuild")):
        assert brisk.run("observe", *wrong).code == 2, wrong


def test_simulate_on_a_port_in_use_names_the_option(brisk: Commands) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = brisk.run("simulate", "--port", str(port))
    assert (done.code, f"--port {port + 1}" in done.err) == (2, True), done.err


def test_observe_refuses_a_range_of_which_the_lake_knows_nothing(brisk: Commands) -> None:
    assert brisk.run("run", "--only-deliver").code == 0
    done = brisk.run("observe", "--from", "2019-01-01T00", "--to", "2019-03-01T00")
    assert (done.code, "nothing is known of any Hour from 2019-01-01T00" in done.err) == (2, True)
    assert not (brisk.cwd / "lake/IMOSDL/Observability/historical_run_metrics.csv").exists()


def test_rebuild_shows_at_a_terminal_how_far_it_is_and_nothing_elsewhere(brisk: Commands) -> None:
    assert brisk.run("run", "--only-deliver").code == 0
    code, sent = brisk.at_a_terminal("observe", "--rebuild", COLUMNS="80")
    assert code == 0
    assert re.search(r"\d{4}-\d\d-\d\dT\d\d of \d{4}-\d\d-\d\dT\d\d", CONTROL.sub("", sent).replace("\r", "\n"))
    assert brisk.run("observe", "--rebuild").err == ""
