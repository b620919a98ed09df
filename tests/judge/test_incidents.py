"""Incidents: one an episode, opened, ongoing, resolved; told once."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, strategies as st

from viplake.errors import LakeError
from viplake.judge.incidents import (
    ATTEMPTS,
    LEASE,
    Incidents,
    IncidentStore,
    claim,
    claimed,
    due,
    fold,
    notified,
    pack,
    unpack,
)
from viplake.judge.rules.rule import Breach, NoData, RulePassed
from viplake.model import Hour, Severity

if TYPE_CHECKING:
    from collections.abc import Iterable

    from viplake.judge.rules.rule import RuleResult

START = Hour.parse("2022-05-10T00")
NOW = START.shift(100).start


def hour(n: int) -> Hour:
    return START.shift(n)


def breach(
    n: int,
    rule: str = "missing_job",
    table: str | None = None,
    *,
    severity: Severity = "ticket",
    cause: str = "network",
) -> Breach:
    return Breach(rule, hour(n), table, severity, cause, "network", f"{table or rule} in {hour(n)}")


def passed(n: int, rule: str = "missing_job") -> RulePassed:
    return RulePassed(rule, hour(n))


def after(
    findings: Iterable[RuleResult], *, known: Incidents | None = None, first: int = 0, last: int = 9
) -> Incidents:
    return fold(known or {}, findings, list(hour(first).to(hour(last))), NOW)


def test_of_what_began_with_an_hour_that_is_well_by_now_the_rest_stands_as_it_was_told() -> None:
    """Of Hour 5 nothing can be said any more; Hour 4, with which it began, came late."""
    known = after([breach(4), breach(5), passed(6)])
    now = after([passed(4), NoData("missing_job", hour(5), "not on record"), passed(6)], known=known)
    first, rest = (now[f"outage:{hour(n)}"] for n in (4, 5))
    assert first.healed
    assert (rest.hour, rest.spans, rest.open) == (hour(5), ((hour(5), hour(5)),), False)
    was = known[f"outage:{hour(4)}"]
    assert (rest.severity, rest.cause, rest.owner, rest.summary) == (was.severity, was.cause, was.owner, was.summary)


def test_O3_an_outage_of_three_hours_is_one_incident_with_its_start_and_end() -> None:
    found = after([passed(0), *(breach(n) for n in (1, 2, 3)), *(passed(n) for n in range(4, 10))])
    [one] = found.values()
    assert (one.key, one.rule, one.hour, one.last, one.hours) == (
        "outage:2022-05-10T01",
        "missing_job",
        hour(1),
        hour(3),
        3,
    )
    assert (one.cause, one.owner, one.open) == ("network", "network", False)
    assert one.summary == "missing_job in 2022-05-10T03 (3 Hours since 2022-05-10T01)"


def test_O3_forty_missing_tables_are_one_incident() -> None:
    tables = [f"T{n:02d}" for n in range(40)]
    [one] = after([breach(5, "missing_table", table) for table in tables], last=5).values()
    assert one.tables == tuple(tables)
    assert "40 tables, T00, T01, T02, T03, T04 and 35 more" in one.summary
    assert one.to_json(NOW)["table"] is None


def test_a_table_that_begins_to_lack_later_is_an_incident_of_its_own() -> None:
    found = after(
        [breach(1, "missing_table", "A"), breach(2, "missing_table", "A"), breach(2, "missing_table", "B")], last=2
    )
    assert [(one.key, one.tables) for one in found.values()] == [
        ("missing_table:2022-05-10T01", ("A",)),
        ("missing_table:2022-05-10T02", ("B",)),
    ]
    assert found["missing_table:2022-05-10T02"].to_json(NOW)["table"] == "B"


def test_the_incident_ends_with_its_last_table() -> None:
    both = [breach(1, "missing_table", "A"), breach(1, "missing_table", "B")]
    half = after([*both, breach(2, "missing_table", "B")], last=2)
    [one] = half.values()
    assert one.open
    [one] = after([passed(3, "missing_table")], known=half, first=3, last=3).values()
    assert not one.open
    assert one.last == hour(2)


def test_many_rules_broken_by_one_trouble_are_one_incident_and_the_gravest_names_it() -> None:
    [one] = after([breach(1, "never_started"), breach(1, "vendor_failure"), breach(1), passed(2)], last=2).values()
    assert one.rule == "missing_job"
    assert not one.open


def test_hours_without_data_neither_open_nor_resolve() -> None:
    opened = after([breach(1)], last=1)
    [one] = after(
        [NoData("missing_job", hour(2), "no"), RulePassed("never_started", hour(2))], known=opened, first=2, last=2
    ).values()
    assert one.open
    assert after([NoData("missing_job", hour(n), "no") for n in range(10)]) == {}


def test_what_was_found_in_hours_that_nobody_looks_at_again_stands() -> None:
    # Rules that look at folders judge the newest Hours alone; of the others they have no data from the next check on.
    known = after([passed(2, "empty_file"), *(breach(n, "empty_file", "Voyage") for n in (3, 4, 5))], last=5)
    silent = [NoData("empty_file", hour(n), "nobody looked") for n in range(6)]
    found = after([*silent, breach(6, "empty_file", "Voyage")], known=known, last=6)
    [one] = found.values()
    assert (one.key, one.open, one.healed, one.hours) == ("empty_file:2022-05-10T03", True, False, 4)
    assert after(silent, known=known, last=5) == known

    over = after(
        [*silent, NoData("empty_file", hour(6), "nobody looked"), passed(7, "empty_file")], known=found, last=7
    )
    [one] = over.values()
    assert (one.open, one.healed, one.last, one.hours) == (False, False, hour(6), 4)


def test_an_hour_that_came_late_after_all_resolves_its_incident() -> None:
    opened = after([breach(1)], last=1)
    [one] = after([passed(n) for n in range(3)], known=opened, last=2).values()
    assert (one.open, one.healed) == (False, True)
    assert "its Hours are well" in one.summary
    [again] = after([passed(n) for n in range(3)], known={one.key: one}, last=2).values()
    assert again == one


def test_a_clock_that_jumped_back_leaves_later_incidents_alone() -> None:
    later = after([breach(8)], first=8, last=8)
    assert after([passed(n) for n in range(4)], known=later, last=3) == later
    assert fold(later, [], [], NOW) == later


def test_severity_only_rises_and_the_cause_is_the_most_frequent() -> None:
    one = after([breach(1, severity="page"), breach(2, cause="tls"), breach(3, cause="tls")], last=3)[
        "outage:2022-05-10T01"
    ]
    assert (one.severity, one.cause) == ("page", "tls")
    [later] = after([breach(4)], known={one.key: one}, first=4, last=4).values()
    assert (later.severity, later.hours) == ("page", 4)


EPISODES = st.lists(st.sampled_from("bpn"), min_size=1, max_size=12)


def findings_of(word: list[str], first: int = 0) -> list[RuleResult]:
    made: list[RuleResult] = []
    for n, letter in enumerate(word, start=first):
        choices: dict[str, RuleResult] = {"b": breach(n), "p": passed(n), "n": NoData("missing_job", hour(n), "no")}
        made.append(choices[letter])
    return made


@given(EPISODES, st.integers(0, 11), st.integers(0, 11))
def test_judging_in_steps_and_judging_again_come_to_the_same_as_judging_at_once(
    word: list[str], cut: int, back: int
) -> None:
    last = len(word) - 1
    at_once = after(findings_of(word), last=last)
    cut, back = min(cut, last), min(back, cut)
    steps = after(findings_of(word[: cut + 1]), last=cut)
    steps = after(findings_of(word[back:], back), known=steps, first=back, last=last)
    assert [(o.key, o.last, o.open, o.hours, o.members) for o in steps.values()] == [
        (o.key, o.last, o.open, o.hours, o.members) for o in at_once.values()
    ]


@given(EPISODES)
def test_incidents_are_the_stretches_of_breaches_between_passes(word: list[str]) -> None:
    found = after(findings_of(word), last=len(word) - 1)
    stretches = [part for part in "".join(word).replace("n", "").split("p") if part]
    assert [one.hours for one in found.values()] == [len(part) for part in stretches]
    assert unpack(pack(IncidentStore(found, hour(3)))) == IncidentStore(found, hour(3))


# -- telling --------------------------------------------------------------------------------------------------


def tell(incidents: Incidents, by: str, at: int, *, failing: bool = False) -> tuple[Incidents, list[str]]:
    now, by = NOW + timedelta(minutes=at), f"{by}-{at}"
    marked = claim(incidents, by, now)
    mine = claimed(marked, by)
    sent = {one.key: ["sns"] for one, _ in mine}
    failed = {one.key: {"webhook": "500"} for one, _ in mine} if failing else {}
    return notified(marked, by, sent, failed), [notification.kind for _, notification in mine]


def test_O2_O8_opened_and_resolved_are_told_once() -> None:
    found, kinds = tell(after([breach(1)], last=1), "a", 0)
    assert kinds == ["opened"]
    found, kinds = tell(found, "a", 60)
    assert kinds == []
    found, kinds = tell(after([passed(2)], known=found, first=2, last=2), "b", 70)
    assert kinds == ["resolved"]
    assert tell(found, "c", 5000)[1] == []


def test_what_is_still_open_is_told_again_after_a_day() -> None:
    found, _ = tell(after([breach(1)], last=1), "a", 0)
    assert tell(found, "a", 24 * 60 - 1)[1] == []
    found, kinds = tell(found, "a", 24 * 60)
    assert kinds == ["reminder"]
    assert tell(found, "a", 25 * 60)[1] == []
    assert tell(found, "a", 48 * 60)[1] == ["reminder"]


def test_what_becomes_a_page_is_told_at_once_and_once() -> None:
    found, _ = tell(after([breach(1)], last=1), "a", 0)
    found = after([breach(2, severity="page")], known=found, first=2, last=2)
    found, kinds = tell(found, "a", 60)
    assert kinds == ["escalated"]
    assert tell(found, "a", 120)[1] == []
    paged, _ = tell(after([breach(1, severity="page")], last=1), "a", 0)
    assert tell(paged, "a", 60)[1] == []


def test_what_came_and_went_between_two_checks_is_told_once() -> None:
    found, kinds = tell(after([breach(1), passed(2)], last=2), "a", 0)
    assert kinds == ["resolved"]
    assert tell(found, "a", 60)[1] == []


def test_a_process_that_died_while_telling_is_succeeded_after_its_lease() -> None:
    marked = claim(after([breach(1)], last=1), "dead", NOW)
    [one] = marked.values()
    assert due(one, NOW + LEASE - timedelta(seconds=1)) is None
    assert due(one, NOW + LEASE) == "opened"
    assert due(one, NOW - LEASE) == "opened", "a clock that jumped back holds nothing up"
    assert claimed(claim(marked, "heir", NOW + LEASE), "dead") == []


def test_O1_a_channel_that_fails_is_tried_again_and_the_others_are_not_told_twice() -> None:
    found, _ = tell(after([breach(1)], last=1), "a", 0, failing=True)
    [one] = found.values()
    assert one.notifications[-1].failed == {"webhook": "500"}
    for n in range(1, ATTEMPTS):
        found, kinds = tell(found, "a", n * 10, failing=True)
        assert kinds == ["opened"]
    [one] = found.values()
    assert (one.notifications[-1].sent, one.notifications[-1].tries) == (("sns",), ATTEMPTS)
    assert tell(found, "a", 600)[1] == [], "given up, until the reminder"
    assert tell(found, "a", 60 + 24 * 60)[1] == ["reminder"]


@pytest.mark.parametrize("data", [b"{", b"[]", b'{"format": 1}', b'{"format": 99}'])
def test_records_that_cannot_be_read_are_an_error_and_not_an_empty_list(data: bytes) -> None:
    with pytest.raises(LakeError):
        unpack(data)
    assert unpack(None) == IncidentStore()


def test_O2_two_processes_that_judge_the_same_tell_it_once() -> None:
    found = after([breach(1)], last=1)
    first = claim(found, "a", NOW)
    second = claim(fold(first, [breach(1)], [hour(1)], NOW), "b", NOW + timedelta(seconds=1))
    assert [notification.kind for _, notification in claimed(second, "a")] == ["opened"]
    assert claimed(second, "b") == []
    assert replace(second["outage:2022-05-10T01"], notifications=()) == found["outage:2022-05-10T01"]
