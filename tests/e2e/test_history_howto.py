"""The way from an old lake to the report, through the command, on S3: docs/history.md in its order."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import obstore
import pytest

from e2e.command import Command
from history.oracle import the_three_csvs
from viplake.lake import Lake
from viplake.lake.layout import Layout
from viplake.lake.store import open_store
from viplake.model import PROD, Hour
from viplake.simulator.history import Past, Spell, generate

if TYPE_CHECKING:
    from servers.seaweed import Seaweed

pytestmark = pytest.mark.system

DOCUMENT = Path(__file__).parents[2] / "docs" / "history.md"
FIRST, LAST = Hour.parse("2022-05-09T00"), Hour.parse("2022-05-12T23")
DIVERTED = (Hour.parse("2022-05-10T13"), Hour.parse("2022-05-11T10"))


def commands() -> list[list[str]]:
    """Every command of the page, in its order."""
    blocks = re.findall(r"```sh\n(.*?)```", DOCUMENT.read_text(), re.DOTALL)
    lines = "".join(blocks).replace("\\\n", " ").splitlines()
    return [shlex.split(line.removesuffix(" || true"))[1:] for line in lines if line.startswith("viplake ")]


async def fill(seaweed: Seaweed, bucket: str, prefix: str, last: Hour = LAST) -> None:
    """The old script's lake: no ledger, no Receipts, signatures in its promises."""
    store = open_store(seaweed.settings(bucket))
    past = Past((Spell(*DIVERTED, "planned"),), tables=6, scale=0.02, ledger=False, receipts=False)
    await generate(Lake(store, Layout.of_source(prefix)), FIRST.to(last), past, environment=PROD)


@pytest.mark.long
async def test_the_how_to_leads_from_an_old_lake_to_a_report(seaweed: Seaweed, tmp_path: Path) -> None:
    old, new = seaweed.bucket(), seaweed.bucket()
    await fill(seaweed, old, "IMOS/Hourly/")
    held = tmp_path / "old-csvs"
    held.mkdir()
    (held / "historical_job_metrics.csv").write_bytes(
        b"\xef\xbb\xbfdate,jobDelivered,JobExpected\r\n20220508-22,1,1\r\n20220508-23,0,1\r\n"
    )
    environ = {
        "VIPLAKE_ENVIRONMENT": "Prod",
        "VIPLAKE_LAKE": f"s3://{new}",
        "VIPLAKE_ALLOW_INSECURE_HTTP": "true",
        **seaweed.environment(),
    }
    command = Command(environ, tmp_path)
    for arguments in commands():
        finished = command.run(*(argument.replace("old-bucket", old) for argument in arguments))
        assert finished.code == 0 or (arguments[0] == "check" and finished.code == 1), (arguments, finished)
    objects = {
        meta["path"]: bytes(obstore.get(seaweed.store(new), meta["path"]).bytes())
        for page in obstore.list(seaweed.store(new))
        for meta in page
    }
    delivered = {key.split("/")[2] + key.split("/")[3] for key in objects if key.startswith("IMOSDL/Hourly/")}
    assert len(delivered) == 96 - 22
    assert not any(b"Signature" in data for key, data in objects.items() if key.endswith("_PresignedUrls.json"))
    expected = the_three_csvs(objects, "IMOSDL/Hourly/", FIRST.start, LAST.start)
    for name, text in expected.items():
        rows = objects[f"IMOSDL/Observability/{name}"].decode().splitlines()
        wanted = text.splitlines()
        assert rows[0] == wanted[0]
        assert [row for row in rows if "20220509" <= row[:8] <= "20220512"] == wanted[1:], name
    jobs = objects["IMOSDL/Observability/historical_job_metrics.csv"].decode()
    assert "20220508-22,1,1\n20220508-23,0,1\n20220509-00,1,1\n" in jobs
    assert (tmp_path / "report.html").read_text().startswith("<!")


async def test_hours_at_the_top_of_a_bucket_are_copied_adopted_and_observed(seaweed: Seaweed, tmp_path: Path) -> None:
    flat, new = seaweed.bucket(), seaweed.bucket()
    await fill(seaweed, flat, "/", FIRST.shift(3))
    environ = {"VIPLAKE_ENVIRONMENT": "Prod", "VIPLAKE_LAKE": f"s3://{new}", "VIPLAKE_ALLOW_INSECURE_HTTP": "true"}
    command = Command(environ | seaweed.environment(), tmp_path)
    source = ("consolidate", f"s3://{flat}", "--source-prefix", "/")
    refused = command.run(*source)
    assert refused.code == 2
    assert f"nothing shows whether s3://{flat} belongs to Prod or Test" in refused.err
    copied = command.run(*source, "--source-environment", "Prod")
    assert copied.code == 0, copied.err
    assert copied.out.startswith("4 Hours copied (")
    assert "0 B through this machine" in copied.out
    assert command.run("adopt").out == "4 Hours got a Receipt (proof: size), 0 had one already\n"
    verified = command.run("verify", "--json")
    assert (verified.code, json.loads(verified.out)["hours"][0]["proof"]) == (0, "size"), verified.out
    jobs = bytes(obstore.get(seaweed.store(new), "IMOSDL/Observability/historical_job_metrics.csv").bytes()).decode()
    assert "".join(f"{FIRST.shift(n).label},1,1\n" for n in range(4)) in jobs
