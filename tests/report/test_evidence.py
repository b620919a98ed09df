"""The evidence pack: what the vendor answers for, with his own words, and no secret."""

from __future__ import annotations

import csv
import io
import re
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from history.lakes import LAYOUT, At, export, fill, memory
from viplake import strictjson
from viplake.history.build import HistoryLocation, ObserveSettings, observe
from viplake.judge.evaluate import CheckSettings
from viplake.lake import Lake
from viplake.model import PROD, Hour
from viplake.report.evidence import COLUMNS, Pack, gather, summary, to_csv, to_html
from viplake.simulator.history import Past, Spell, generate

if TYPE_CHECKING:
    from viplake.lake.store import Store

FIRST = Hour.parse("2022-05-09T00")
LAST = FIRST.shift(30)
PAST = Past(
    (
        Spell(FIRST.shift(5), FIRST.shift(6), "failed"),
        Spell(FIRST.shift(8), FIRST.shift(9), "missed"),
        Spell(FIRST.shift(12), FIRST.shift(12), "late"),
        Spell(FIRST.shift(15), FIRST.shift(15), "lacking", ("Voyage",)),
        Spell(FIRST.shift(20), FIRST.shift(20), "failed", cause="dest_denied"),
    ),
    tables=6,
)
CALENDAR = [{"kind": "maintenance", "from": str(FIRST.shift(6)), "to": str(FIRST.shift(6))}]


async def packed(store: Store, settings: CheckSettings | None = None, **of: Any) -> Pack:
    clock = At(LAST.start + timedelta(minutes=50))
    place = HistoryLocation.within(Lake(store, LAYOUT))
    await observe(Lake(store, LAYOUT), place, clock, ObserveSettings())
    given: dict[str, Any] = {
        "first": FIRST,
        "last": LAST,
        "now": clock.now(),
        "environment": "Prod",
        "company": "ACME",
    } | of
    return await gather(Lake(store, LAYOUT), place, settings or CheckSettings(), ObserveSettings(), **given)


@pytest.fixture
async def troubled() -> Store:
    store = memory()
    await generate(Lake(store, LAYOUT), FIRST.to(LAST), PAST, environment=PROD)
    return store


async def test_every_hour_below_the_agreement_is_there_with_guid_times_and_tables(troubled: Store) -> None:
    pack = await packed(troubled, CheckSettings.parse({"calendar": CALENDAR}))
    assert [(str(one.hour), one.findings, one.cause, one.owner) for one in pack.exhibits] == [
        ("2022-05-09T05", ("no export was delivered",), "vendor_job_failed", "vendor"),
        ("2022-05-09T12", ("it took 67 minutes; 60 are agreed",), "as_sent", "vendor"),
        ("2022-05-09T15", ("1 of 6 tables are missing",), "as_sent", "vendor"),
    ]
    assert (pack.ours, pack.planned, pack.on_record) == ((("aws", 1), ("us", 2)), 1, 31)
    failed, late, lacking = pack.exhibits
    assert failed.job_guid
    assert [answer.event for answer in failed.answers] == ["claimed", "triggered", "failed"]
    assert set(late.times or {}) == {"claimed", "triggered", "replicated", "ended"}
    assert lacking.missing_tables == ("Voyage",)


async def test_the_csv_has_one_row_an_hour_and_the_page_all_of_them(troubled: Store) -> None:
    pack = await packed(troubled)
    rows = list(csv.DictReader(io.StringIO(to_csv(pack))))
    assert tuple(rows[0]) == COLUMNS
    assert [row["hour"] for row in rows] == [str(one.hour) for one in pack.exhibits]
    page = to_html(pack)
    assert all(row["job_guid"] in page and row["hour"] in page for row in rows)
    assert "3 more" not in page
    assert "1 more are left out, because Veson was not the owner of their cause (aws)" in page
    assert "<script" not in page


async def test_the_page_begins_with_a_summary_and_shows_each_time_once(troubled: Store) -> None:
    pack = await packed(troubled, CheckSettings.parse({"calendar": CALENDAR}))
    assert dict(summary(pack)) == {
        "no export was delivered": 1,
        "it took longer than agreed": 1,
        "tables are missing": 1,
    }
    page = to_html(pack)
    assert page.index("<h2>Summary</h2>") < page.index('<h2 id="')
    for one in pack.exhibits:
        section = page.split(f'<h2 id="{one.hour.label}">')[1].split("<h2")[0]
        times = re.findall(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", section)
        moments = {answer.at for answer in one.answers}
        assert len(times) == len(one.answers) + sum(at not in moments for at in (one.times or {}).values())


async def test_text_of_a_response_is_no_markup_no_formula_and_no_secret(troubled: Store) -> None:
    key = LAYOUT.event(FIRST.shift(5), 3)
    event = strictjson.loads(await troubled.get(key) or b"")
    event["detail"] = "=cmd()</code><script>alert(1)</script> https://x/y?X-Amz-Signature=abcdef&apiToken=hidden123"
    event["job_guid"] = "=HYPERLINK(1)"
    await troubled.put(key, strictjson.dumps(event))
    pack = await packed(troubled)
    page, table = to_html(pack), to_csv(pack)
    assert "<script" not in page
    assert "&lt;script&gt;" in page
    assert all("abcdef" not in text and "hidden123" not in text for text in (page, table))
    [row] = [row for row in csv.DictReader(io.StringIO(table)) if row["hour"] == "2022-05-09T05"]
    assert row["job_guid"] == "'=HYPERLINK(1)"


async def test_hours_of_another_program_are_unknown_and_never_blamed() -> None:
    store = memory()
    for n in (0, 1, 3):
        await fill(store, export(FIRST.shift(n), size=99))
    pack = await packed(store, last=FIRST.shift(3))
    [one] = pack.exhibits
    assert (one.hour, one.cause, one.owner, one.job_guid) == (FIRST.shift(2), "unknown", "unknown", "")
    assert "none was given" in to_html(pack)


async def test_a_range_without_records_is_reported_as_such() -> None:
    store = memory()
    await fill(store, export(FIRST, size=99))
    pack = await packed(store, first=FIRST.shift(-50), last=FIRST.shift(-40))
    assert (pack.on_record, pack.exhibits) == (0, ())
    assert "No Hour of this range is on record" in to_html(pack)
    assert to_csv(pack).count("\n") == 1
