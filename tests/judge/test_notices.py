"""The words of notifications, to the letter: what happened, who has to act, what is lost, what to do now."""

from __future__ import annotations

from datetime import timedelta

import pytest

from viplake.judge.incidents import FoldSettings, fold
from viplake.judge.notices import notice_words
from viplake.judge.rules.catalogue import RULES
from viplake.judge.rules.rule import Breach, RulePassed
from viplake.model import Hour

START = Hour.parse("2022-05-05T04")
NOW = START.shift(3).start + timedelta(minutes=20)


def outage(hours: int = 3, good: int = 0) -> str:
    """The words of an outage of Veson's."""
    breaches = [
        Breach(
            "missing_job", START.shift(n), None, "page", "vendor_job_failed", "vendor", "it delivered no export",
            evidence='"Failed", GUID 1b2c', until=START.shift(23).start, after=3,
        )
        for n in range(hours)
    ]  # fmt: skip
    passed = [RulePassed("missing_job", START.shift(n)) for n in range(hours, hours + good)]
    last = START.shift(hours + good - 1)
    [one] = fold({}, [*breaches, *passed], list(START.to(last)), NOW, FoldSettings()).values()
    return notice_words("Prod", one, "resolved" if good else "opened", NOW)


def test_an_outage_names_event_owner_duration_and_next_step() -> None:
    assert outage() == (
        "Prod: No export since 2022-05-05 04:00 UTC (3 Hours). Responsible: Veson. The vendor reports that its export "
        'failed ("Failed", GUID 1b2c). Nothing is lost if an export comes by 2022-05-06 03:00 UTC (19 h 40 min left). '
        "Nothing to do before 2022-05-05 21:00 UTC; then send Veson the page that this writes: viplake evidence "
        "--from 2022-05-05T04 --to 2022-05-05T06. (page, outage:2022-05-05T04)"
    )


def test_its_end_names_what_recovered_and_the_duration() -> None:
    assert outage(good=6) == (
        "Over: exports come again since 2022-05-05 07:00 UTC, 6 Hours in a row; it lasted 3 Hours; cause: "
        "vendor_job_failed (Veson). Nothing lost. (Prod, outage:2022-05-05T04)"
    )


def test_a_returning_table_is_named() -> None:
    breaches = [
        Breach("missing_table", START.shift(n), "VoyageRemark", "ticket", "not_promised", "vendor", "?")
        for n in range(9)
    ]
    passed = [RulePassed("missing_table", START.shift(n)) for n in range(9, 15)]
    [one] = fold({}, [*breaches, *passed], list(START.to(START.shift(14))), NOW, FoldSettings()).values()
    assert notice_words("Prod", one, "resolved", NOW).startswith(
        "Over: VoyageRemark is complete again since 2022-05-05 13:00 UTC, 6 Hours in a row; it was missing for 9 "
        "Hours; cause: not_promised (Veson). Nothing lost. "
    )


@pytest.mark.parametrize("rule", RULES)
def test_every_rule_names_the_owner_and_the_next_step(rule: str) -> None:
    breach = Breach(rule, START, "Voyage", "ticket", "as_sent", "vendor", f"Voyage broke {rule}")
    [one] = fold({}, [breach], [START], NOW, FoldSettings()).values()
    words = notice_words("Prod", one, "opened", NOW)
    assert words.startswith(
        f"Prod: Voyage broke {rule}. Responsible: Veson. What is stored is exactly what Veson sent. "
    )
    assert "viplake" in words.casefold(), "a command"
