"""Incidents: one an episode, opened, ongoing, resolved; notified once."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, strategies as st

from viplake.errors import LakeError
from viplake.judge.incident_records import IncidentStore, pack, unpack
from viplake.judge.incidents import Acknowledgement, FoldSettings, Incidents, fold
from viplake.judge.notices import ATTEMPTS, LEASE, claim, claimed, due, notice_words, notified, pass_over
from viplake.judge.rules.rule import Breach, NoData, RulePassed
from viplake.model import Hour, Severity

if TYPE_CHECKING:
    from collections.abc import Iterable

    from viplake.judge.rules.rule import RuleResult

START = Hour.parse("2022-05-10T00")
NOW = START.shift(100).start
ONE = FoldSettings(end_after=1)
"""An incident is over with the first good Hour: most of these tests are about what begins and what holds."""


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
    return fold(known or {}, findings, list(hour(first).to(hour(last))), NOW, ONE)


def test_fold_keeps_the_incident_and_its_identity_after_its_first_hour_healed() -> None:
    """Of Hour 5 nothing can be said any more; Hour 4, with which it began, came late."""
    known = after([breach(4), breach(5), passed(6)])
    [rest] = after([passed(4), NoData("missing_job", hour(5), "not on record"), passed(6)], known=known).values()
    [was] = known.values()
    assert (rest.key, rest.hour, rest.spans, rest.open, rest.healed) == (
        f"outage:{hour(4)}",
        hour(5),
        ((hour(5), hour(5)),),
        False,
        False,
    )
    assert (rest.severity, rest.cause, rest.owner, rest.summary) == (was.severity, was.cause, was.owner, was.summary)


def test_the_summary_counts_only_hours_of_which_it_is_true() -> None:
    found = after([passed(0), *(breach(n, "late_job") for n in (1, 2, 3)), breach(2, "never_started"), passed(4)])
    [one] = found.values()
    assert one.rule == "never_started"
    assert one.summary == "exports came late from 2022-05-10 01:00 UTC to 2022-05-10 04:00 UTC (3 Hours)"


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
    assert one.summary == "no export from 2022-05-10 01:00 UTC to 2022-05-10 04:00 UTC (3 Hours)"


def test_O3_forty_missing_tables_are_one_incident() -> None:
    tables = [f"T{n:02d}" for n in range(40)]
    [one] = after([breach(5, "missing_table", table) for table in tables], last=5).values()
    assert one.tables == tuple(tables)
    assert "40 tables (T00, T01, T02, T03, T04 and 35 more)" in one.summary
    assert one.to_json(NOW)["table"] is None


def test_tables_that_lack_in_overlapping_hours_for_the_same_cause_are_one_incident() -> None:
    both = [breach(1, "missing_table", "A"), breach(2, "missing_table", "A"), breach(2, "missing_table", "B")]
    [one] = after(both, last=2).values()
    assert (one.key, one.tables, one.hours) == ("missing_table:2022-05-10T01", ("A", "B"), 2)
    other = breach(2, "missing_table", "B", cause="not_promised")
    found = after([*both[:2], other], last=2)
    assert [(key, one.tables) for key, one in found.items()] == [
        ("missing_table:2022-05-10T01", ("A",)),
        ("missing_table:2022-05-10T02", ("B",)),
    ]
    together = after([both[0], breach(1, "missing_table", "B", cause="not_promised")], last=1)
    assert sorted(together) == ["missing_table:2022-05-10T01", "missing_table:2022-05-10T01:not_promised"]


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


def test_results_of_hours_that_are_not_checked_again_stay() -> None:
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


def test_a_late_hour_resolves_its_incident() -> None:
    opened = after([breach(1)], last=1)
    [one] = after([passed(n) for n in range(3)], known=opened, last=2).values()
    assert (one.open, one.healed) == (False, True)
    assert "its Hours are good" in one.summary
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


def test_O2_O8_opened_and_resolved_are_sent_once() -> None:
    found, kinds = tell(after([breach(1)], last=1), "a", 0)
    assert kinds == ["opened"]
    found, kinds = tell(found, "a", 60)
    assert kinds == []
    found, kinds = tell(after([passed(2)], known=found, first=2, last=2), "b", 70)
    assert kinds == ["resolved"]
    assert tell(found, "c", 5000)[1] == []


def test_an_open_incident_is_reminded_after_a_day() -> None:
    found, _ = tell(after([breach(1)], last=1), "a", 0)
    assert tell(found, "a", 24 * 60 - 1)[1] == []
    found, kinds = tell(found, "a", 24 * 60)
    assert kinds == ["reminder"]
    assert tell(found, "a", 25 * 60)[1] == []
    assert tell(found, "a", (1 + 14) * 24 * 60 - 1)[1] == []
    assert tell(found, "a", (1 + 14) * 24 * 60)[1] == ["reminder"], "a ticket; a page is repeated after three days"


def test_an_incident_that_becomes_a_page_is_sent_at_once_and_once() -> None:
    found, _ = tell(after([breach(1)], last=1), "a", 0)
    found = after([breach(2, severity="page")], known=found, first=2, last=2)
    found, kinds = tell(found, "a", 60)
    assert kinds == ["escalated"]
    assert tell(found, "a", 120)[1] == []
    paged, _ = tell(after([breach(1, severity="page")], last=1), "a", 0)
    assert tell(paged, "a", 60)[1] == []


def test_an_incident_between_two_checks_is_sent_once() -> None:
    found, kinds = tell(after([breach(1), passed(2)], last=2), "a", 0)
    assert kinds == ["resolved"]
    assert tell(found, "a", 60)[1] == []


def test_notifications_of_a_killed_process_are_taken_over_after_its_lease() -> None:
    marked = claim(after([breach(1)], last=1), "dead", NOW)
    [one] = marked.values()
    assert due(one, NOW + LEASE - timedelta(seconds=1)) is None
    assert due(one, NOW + LEASE) == "opened"
    assert due(one, NOW - LEASE) == "opened", "a clock that jumped back holds nothing up"
    assert claimed(claim(marked, "heir", NOW + LEASE), "dead") == []


def test_O1_a_failed_channel_is_retried_and_the_others_get_no_repetition() -> None:
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


def test_O2_two_processes_that_check_at_once_notify_once() -> None:
    found = after([breach(1)], last=1)
    first = claim(found, "a", NOW)
    second = claim(fold(first, [breach(1)], [hour(1)], NOW), "b", NOW + timedelta(seconds=1))
    assert [notification.kind for _, notification in claimed(second, "a")] == ["opened"]
    assert claimed(second, "b") == []
    assert replace(second["outage:2022-05-10T01"], notifications=()) == found["outage:2022-05-10T01"]


# -- end_after, reopened, changed, closed, acknowledged -----------------------------------------------------------


def six(
    results: Iterable[RuleResult], *, known: Incidents | None = None, first: int = 0, last: int = 9, **more: Any
) -> Incidents:
    return fold(known or {}, results, list(hour(first).to(hour(last))), NOW, FoldSettings(**more))


def test_an_incident_is_over_after_six_good_hours_and_is_as_long_as_to_the_first_of_them() -> None:
    outage = [breach(n) for n in (1, 2, 3)]
    [one] = six([*outage, *(passed(n) for n in range(4, 9))], last=8).values()
    assert (one.open, one.ended, one.hours) == (True, hour(4), 3)
    [one] = six([*outage, *(passed(n) for n in range(4, 10))], last=9).values()
    assert (one.open, one.ended, one.last, one.hours) == (False, hour(4), hour(3), 3)


def test_a_day_of_flapping_is_one_incident_with_one_opening_and_one_end() -> None:
    found: Incidents = {}
    kinds: list[str] = []
    for n in range(31):
        result = breach(n) if n % 2 == 0 and n < 24 else passed(n)
        found = six([result], known=found, first=n, last=n)
        found, sent = tell(found, "a", n * 60)
        kinds += sent
    [one] = found.values()
    assert (kinds, one.hours) == (["opened", "resolved"], 12)
    assert one.summary == "no export in 12 of 23 Hours since 2022-05-10 00:00 UTC"


def test_good_hours_that_are_not_judged_again_still_count() -> None:
    found = six([breach(1, "empty_file", "Voyage")], last=1)
    for n in range(2, 8):
        silent = [NoData("empty_file", hour(m), "its folder was not read") for m in range(n)]
        found = six([*silent, passed(n, "empty_file")], known=found, last=n)
    [one] = found.values()
    assert (one.open, one.healed, one.ended) == (False, False, hour(2))


def test_hours_without_data_between_good_ones_neither_count_nor_reset() -> None:
    results: list[RuleResult] = [breach(1), *(passed(n) for n in (2, 3, 5, 6, 7))]
    results.append(NoData("missing_job", hour(4), "?", "unsettled"))
    assert [one.open for one in six(results, last=7).values()] == [True]
    assert [one.open for one in six([*results, passed(8)], last=8).values()] == [False]


def test_an_incident_that_was_announced_as_resolved_and_opens_again_is_reopened() -> None:
    found, _ = tell(after([breach(1)], last=1), "a", 0)
    found, kinds = tell(after([passed(2)], known=found, first=2, last=2), "a", 60)
    assert kinds == ["resolved"]
    found, kinds = tell(after([breach(1), breach(2)], known=found, first=1, last=2), "a", 120)
    assert kinds == ["reopened"]
    assert [one.key for one in found.values()] == ["outage:2022-05-10T01"]
    assert tell(found, "a", 180)[1] == []


def test_a_cause_that_changes_is_notified_once_and_both_are_named_at_the_end() -> None:
    found, _ = tell(after([breach(1)], last=1), "a", 0)
    found = after([breach(2)._replace(cause="missed", owner="us")], known=found, first=2, last=2)
    found, kinds = tell(found, "a", 60)
    assert kinds == ["changed"]
    found, kinds = tell(after([breach(3)], known=found, first=3, last=3), "a", 120)
    assert kinds == [], "that cause was named before"
    [one] = after([passed(4)], known=found, first=4, last=4).values()
    assert "network (the network), missed (us)" in notice_words("Prod", one, "resolved", NOW)


def test_H3_an_incident_of_a_rule_or_table_that_is_turned_off_is_closed_and_notified_once() -> None:
    found, _ = tell(six([breach(n, "missing_table", "Voyage") for n in range(4)], last=3), "a", 0)
    off = [NoData("missing_table", hour(n), "the rule is turned off", "excused") for n in range(5)]
    closed = six(off, known=found, last=4, watches=lambda rule, _: rule != "missing_table")
    [one] = closed.values()
    assert (one.open, one.closed, one.healed, one.hours) == (False, True, False, 4)
    closed, kinds = tell(closed, "a", 60)
    assert kinds == ["resolved"]
    again = six(off, known=closed, last=4, watches=lambda rule, _: rule != "missing_table")
    assert tell(again, "a", 120)[1] == []
    table = six([passed(4, "missing_table")], known=found, first=0, last=4, watches=lambda _, table: table != "Voyage")
    assert [(one.open, one.closed) for one in table.values()] == [(False, True)]


def test_an_acknowledged_incident_is_neither_reminded_nor_changed_but_escalated() -> None:
    found, _ = tell(after([breach(1)], last=1), "a", 0)
    [one] = found.values()
    found = {one.key: replace(one, acknowledged=Acknowledgement(hour(200), "known"))}
    assert tell(found, "a", 24 * 60)[1] == []
    changed = after([breach(2)._replace(cause="missed", owner="us")], known=found, first=2, last=2)
    assert tell(changed, "a", 60)[1] == []
    page = after([breach(2, severity="page")], known=found, first=2, last=2)
    assert tell(page, "a", 60)[1] == ["escalated"]
    [kept] = page.values()
    assert (kept.to_json(NOW)["acknowledged_until"], kept.to_json(NOW)["note"]) == (str(hour(200)), "known")


def test_a_point_in_time_is_never_resolved() -> None:
    found, kinds = tell(six([breach(1, "schema_change", "Voyage"), passed(2, "schema_change")], last=2), "a", 0)
    assert kinds == ["opened"]
    assert [one.open for one in found.values()] == [False]
    assert tell(found, "a", 60)[1] == []


def test_a_missed_hour_is_notified_from_the_third_on_unless_it_cannot_wait() -> None:
    def kinds(*breaches: Breach) -> list[str]:
        return tell(six(breaches, last=5), "a", 0)[1]

    three = [breach(n)._replace(after=3) for n in (1, 2, 3)]
    assert kinds(three[0]) == kinds(*three[:2]) == []
    assert kinds(*three) == ["opened"]
    assert kinds(three[0]._replace(urgent=True)) == ["opened"]
    assert kinds(three[0]._replace(loss="soon")) == ["opened"]
    tables = [breach(n, "missing_table", "AB"[n % 2])._replace(after=3) for n in range(4)]
    assert kinds(*tables) == [], "each table lacked for single Hours"


def test_a_recovering_incident_is_sent_once_when_it_ends_or_opened_when_it_continues() -> None:
    three = [breach(n)._replace(after=3) for n in (1, 2, 3)]
    held, kinds = tell(six([*three, passed(4)], last=4), "a", 0)
    assert kinds == []
    good = [passed(n) for n in range(5, 10)]
    assert tell(six(good, known=held, first=5, last=9), "a", 300)[1] == ["resolved"]
    assert tell(six([breach(5)._replace(after=3)], known=held, first=5, last=5), "a", 60)[1] == ["opened"]


def test_the_first_check_notifies_what_is_open_and_nothing_of_what_is_over() -> None:
    found = pass_over(after([breach(1), passed(2), breach(5)], last=5), "a", NOW)
    marked = claim(found, "a", NOW)
    assert [(one.key, mark.kind) for one, mark in claimed(marked, "a")] == [("outage:2022-05-10T05", "opened")]
    assert due(marked["outage:2022-05-10T01"], NOW + timedelta(days=1)) is None


def test_a_message_has_pages_first_then_what_was_opened_then_what_is_over() -> None:
    found = after(
        [
            *(breach(n, "row_count", "A") for n in (1,)),
            passed(2, "row_count"),
            breach(3, "missing_table", "B"),
            breach(4, severity="page"),
        ],
        last=4,
    )
    marked = claim(found, "a", NOW)
    kinds = [(one.severity, mark.kind) for one, mark in claimed(marked, "a")]
    assert kinds == [("page", "opened"), ("ticket", "opened"), ("ticket", "resolved")]


def test_a_new_notification_does_not_wait_for_a_channel_that_has_not_taken_the_one_before() -> None:
    found, _ = tell(after([breach(1)], last=1), "a", 0, failing=True)
    graver = after([breach(2, severity="page")], known=found, first=2, last=2)
    assert tell(graver, "a", 60, failing=True)[1] == ["escalated"]
