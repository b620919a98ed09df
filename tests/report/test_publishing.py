"""The report reaches people: as a file, on S3 with the right headers, after deliveries, and as a link."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import obstore
import pytest

from fakes import FakeClock
from history.lakes import LAYOUT, memory
from viplake import config
from viplake.commands.assembly import lake_to_read
from viplake.commands.publishing import is_due, make_report, publish
from viplake.errors import SettingsError
from viplake.history.build import HistoryLocation, ObserveSettings, observe
from viplake.judge.check import CheckTarget, incidents_message
from viplake.judge.incidents import Incident, Member, Notification
from viplake.lake import Lake
from viplake.lake.layout import Layout
from viplake.lake.store import StoreSettings, open_store
from viplake.model import PROD, Hour
from viplake.simulator.history import Past, generate

if TYPE_CHECKING:
    from pathlib import Path

    from servers.seaweed import Seaweed

FIRST = Hour.parse("2022-05-10T00")


def settings_for(tmp_path: Path, **more: str) -> config.Settings:
    environ = {"VIPLAKE_ENVIRONMENT": "Prod", "VIPLAKE_LAKE": f"file://{tmp_path}/lake", "VIPLAKE_COMPANY": "ACME"}
    return config.load(environ=environ | {f"VIPLAKE_{name}": value for name, value in more.items()}, cwd=tmp_path)


async def filled(tmp_path: Path, hours: int = 60) -> FakeClock:
    store = open_store(StoreSettings(f"file://{tmp_path}/lake", create=True, durable=False))
    lake = Lake(store, Layout.below("IMOSDL/Hourly"))
    await generate(lake, FIRST.to(FIRST.shift(hours - 1)), Past(tables=3), environment=PROD)
    clock = FakeClock(FIRST.shift(hours - 1).start + timedelta(minutes=50))
    await observe(lake, HistoryLocation.within(lake), clock, ObserveSettings())
    return clock


@pytest.mark.system
async def test_the_page_shows_the_given_range_of_hours(tmp_path: Path) -> None:
    clock = await filled(tmp_path)
    settings = settings_for(tmp_path)
    lake = await lake_to_read(settings)
    page = await make_report(settings, lake, clock, first=FIRST.shift(10), last=FIRST.shift(30))
    assert "2022-05-10T10 to 2022-05-11T06. Written 2022-05-12 11:50" in page
    assert "<h1>VIP Data Lake, Prod ACME</h1>" in page
    whole = await make_report(settings, lake, clock)
    assert "2022-05-10T00 to 2022-05-12T11. Written" in whole
    assert await publish(settings, page, str(tmp_path / "r.html")) == str(tmp_path / "r.html")
    assert (tmp_path / "r.html").read_text(encoding="utf-8") == page


@pytest.mark.system
async def test_on_s3_the_page_has_its_content_type_and_is_not_cached(seaweed: Seaweed, tmp_path: Path) -> None:
    bucket = seaweed.bucket()
    environ = {"VIPLAKE_ENVIRONMENT": "Prod", "VIPLAKE_LAKE": f"s3://{bucket}"}
    environ |= {"VIPLAKE_ALLOW_INSECURE_HTTP": "true", **seaweed.environment()}
    settings = config.load(environ=environ, cwd=tmp_path)
    assert await publish(settings, "<!doctype html>", f"s3://{bucket}/reports/prod.html")
    found = obstore.get(seaweed.store(bucket), "reports/prod.html")
    assert bytes(found.bytes()) == b"<!doctype html>"
    assert found.attributes["Content-Type"] == "text/html; charset=utf-8"
    assert found.attributes["Cache-Control"] == "no-store"


@pytest.mark.parametrize("out", ["s3://bucket", "s3://bucket/", "s3://bucket/folder/"])
async def test_a_url_without_a_file_is_refused(tmp_path: Path, out: str) -> None:
    with pytest.raises(SettingsError, match="not the URL of a file"):
        await publish(settings_for(tmp_path), "", out)


@pytest.mark.system
async def test_once_a_day_is_after_the_first_delivery_of_the_day(tmp_path: Path) -> None:
    await filled(tmp_path, hours=30)
    lake = Lake(open_store(StoreSettings(f"file://{tmp_path}/lake")), Layout.below("IMOSDL/Hourly"))
    daily, each = (settings_for(tmp_path, REPORT="r.html", REPORT_EVERY=every) for every in ("day", "delivery"))
    assert not await is_due(settings_for(tmp_path), lake, [FIRST])
    assert await is_due(daily, lake, [FIRST])
    assert not await is_due(daily, lake, [FIRST.shift(3)])
    assert await is_due(each, lake, [FIRST.shift(3)])


def test_a_notification_links_to_the_report() -> None:
    lake = Lake(memory(), LAYOUT)
    one = Incident(
        "missing_table",
        FIRST,
        (Member("missing_table", "Voyage", FIRST),),
        "ticket",
        "not_promised",
        "vendor",
        "Voyage has no file",
        ((FIRST, FIRST),),
        FIRST.start,
        None,
    )
    sent = [(one, Notification("opened", FIRST.start, "me", "ticket"))]
    linked = CheckTarget(lake, HistoryLocation.within(lake), "Prod", "https://reports.example/prod.html")
    message = incidents_message(linked, sent, FIRST.start)
    assert message.text.endswith("\nReport: https://reports.example/prod.html")
    assert message.body["report"] == "https://reports.example/prod.html"
    bare = incidents_message(CheckTarget(lake, HistoryLocation.within(lake), "Prod"), sent, FIRST.start)
    assert "Report:" not in bare.text
