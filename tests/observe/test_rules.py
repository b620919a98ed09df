"""Each rule: a breach, a pass, and no data with its reason."""

from __future__ import annotations

import re
import tomllib
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from viplake.errors import SettingsError
from viplake.model import Hour
from viplake.observe.anomaly import Judged, Silent
from viplake.observe.coverage import gaps
from viplake.observe.facts import HourFacts, PromisedTable, PromiseFacts, RunFacts, SchemaFacts, TableFacts
from viplake.observe.inside import Inside, Nulls
from viplake.observe.judgement import CheckSettings
from viplake.observe.planned import Planned
from viplake.observe.profiling import ColumnProfile, ContentFinding, HourContent, TableContent
from viplake.observe.record import Record, records
from viplake.observe.rules import RULES, Breach, Case, NoData, Passed, RuleSettings, judge, span
from viplake.observe.schemas import Change, changes, columns_of

if TYPE_CHECKING:
    from viplake.observe.rules import Finding

HOUR = Hour.parse("2022-05-10T13")
AFTER = HOUR.start + timedelta(hours=3)
EARLIER = HOUR.start - timedelta(hours=24)
RUN = RunFacts(
    "delivered", None, HOUR.start + timedelta(minutes=24), init=30, replication=1200, transfer=120, attempts=1
)
PROMISE = PromiseFacts(2, 900, (), (), (PromisedTable("Vessel", 1, 1), PromisedTable("Voyage", 1, 1)))
FACTS = HourFacts(
    HOUR,
    files=4,
    size=1000,
    delivered_size=900,
    has_promise=True,
    has_receipt=True,
    schema=SchemaFacts("0" * 64, ("Vessel", "Voyage")),
    expected=("Vessel", "Voyage"),
    missing=(),
    tables=(TableFacts("Vessel", 1, 400), TableFacts("Voyage", 1, 500)),
    unmatched=1,
    run=RUN,
    promise=PROMISE,
)


def record(facts: HourFacts | None = FACTS, **changed: Any) -> Record:
    well = Record(
        HOUR, True, "delivered", ledger=True, seconds=(30, 1200, 120), expected=2, missing=(), kilobytes=1, facts=facts
    )
    return replace(well, **changed)


NOTHING = record(None, delivered=False, outcome="missed", cause="missed", owner="us", ledger=False, missing=None)
OLD = record(None, delivered=False, outcome="missed", cause="unknown", owner="unknown", ledger=False, missing=None)
OLD_DELIVERED = record(None, ledger=False, seconds=(None, None, None))
FAILED = record(
    replace(FACTS, files=0, run=replace(RUN, outcome="failed", cause="vendor_job_failed", detail="it says Failed")),
    delivered=False, outcome="failed", cause="vendor_job_failed", owner="vendor", missing=None,
)  # fmt: skip
COLUMN = ColumnProfile("Port", "string", "text", 100, 0, 9, "a", "z", 0)
CONTENT = HourContent(
    HOUR, (TableContent("Voyage", 1, 100, (COLUMN,), oldest=EARLIER, newest=EARLIER + timedelta(hours=24), dated=100),)
)
INSIDE = Inside(
    HOUR,
    CONTENT,
    [replace(CONTENT, hour=HOUR.shift(n)) for n in (-3, -2, -1)],
    {"Voyage": Judged("usual", 5, 5, 4, 6, 0.0, (1,))},
    {"Voyage": (0, 1)},
    Nulls.of(replace(CONTENT, hour=HOUR.shift(n)) for n in (-3, -2, -1)),
)


def inside(**changed: Any) -> Case:
    """An Hour with something odd in the content of its table."""
    table = replace(CONTENT.tables[0], **changed)
    return replace(GOOD, inside=replace(INSIDE, content=replace(CONTENT, tables=(table,))))


WAITING = record(None, outcome="waiting", seconds=(None, None, None))
GOOD = Case(
    record(),
    HOUR,
    AFTER,
    unmatched=1,
    changes=(),
    volumes={
        None: Judged("usual", 900, 900, 800, 1000, 0.0, (1, 2, 3)),
        "Voyage": Judged("usual", 5, 5, 4, 6, 0.0, (1,)),
    },
    inside=INSIDE,
)


def case(known: Record | None, **changed: Any) -> Case:
    return replace(GOOD, record=known, **changed)


def of(rule: str, case_: Case, settings: RuleSettings | None = None) -> list[Finding]:
    return [finding for finding in judge(case_, settings or RuleSettings()) if finding.rule == rule]


LOW = Judged("low", 450, 900, 800, 1000, -20.0, (1, 2, 3))
LOST = {HOUR.shift(n): n in {-40, 3} for n in range(-40, 4)}
SOON = {HOUR.shift(n): n == -20 for n in range(-20, 1)}
EARLY = HOUR.start + timedelta(minutes=10)
BAD_PROMISE = replace(
    PROMISE, absent=("Voyage_1.gz",), tables=(PromisedTable("Vessel", 1, 1), PromisedTable("Voyage", 1, 0))
)

BREACHES: list[tuple[str, Case, str | None, str, str, str]] = [
    ("never_started", case(NOTHING), None, "missed", "us", "by minute 15"),
    ("missing_job", case(NOTHING), None, "missed", "us", "delivered no export"),
    ("missing_job", case(OLD, ours=False), None, "unknown", "unknown", "delivered no export"),
    ("missing_job", case(FAILED, now=HOUR.start), None, "vendor_job_failed", "vendor", "delivered no export"),
    ("vendor_failure", case(FAILED), None, "vendor_job_failed", "vendor", "it says Failed"),
    ("incomplete_job", case(record(replace(FACTS, promise=BAD_PROMISE))), None, "changed_in_lake", "us", "Voyage_1.gz"),
    (
        "incomplete_job",
        case(record(None, outcome="failed", cause="integrity", owner="vendor")),
        None,
        "integrity",
        "vendor",
        "part",
    ),
    ("late_job", case(WAITING), None, "unknown", "unknown", "not delivered by minute 60"),
    ("late_job", case(record(None, seconds=(1.0, 6000.0, 60.0))), None, "slow_phase", "vendor", "replication"),
    ("late_job", case(record(replace(FACTS, run=replace(RUN, late=True)))), None, "slow_phase", "vendor", "22 minutes"),
    ("missing_table", case(record(None, missing=("Voyage",))), "Voyage", "not_promised", "vendor", "no file"),
    ("missing_table", case(replace(OLD_DELIVERED, missing=("Voyage",))), "Voyage", "unknown", "unknown", "no file"),
    ("missing_partition", case(record(replace(FACTS, promise=BAD_PROMISE))), "Voyage", "unknown", "unknown", "0 of 1"),
    (
        "unexpected_table",
        case(record(replace(FACTS, expected=("Vessel",)))),
        "Voyage",
        "as_sent",
        "vendor",
        "out of scope",
    ),
    ("unexpected_table", case(record(replace(FACTS, unmatched=4))), None, "as_sent", "vendor", "3 more"),
    (
        "schema_change",
        case(record(), changes=(Change("Voyage", "column A added"),)),
        "Voyage",
        "as_sent",
        "vendor",
        "column A",
    ),
    (
        "empty_file",
        case(record(replace(FACTS, tables=(TableFacts("Voyage", 2, 40),)))),
        "Voyage",
        "as_sent",
        "vendor",
        "nothing",
    ),
    ("volume_job", case(record(), volumes={None: LOW}), None, "as_sent", "vendor", "too low"),
    (
        "volume_table",
        case(record(), volumes={"Voyage": LOW}),
        "Voyage",
        "as_sent",
        "vendor",
        "2022-05-03T13, 2022-04-26T13",
    ),
    (
        "nonconforming_content",
        inside(findings=(ContentFinding("wrong_type", "Voyage", "Port: 3 values are no Integer", column="Port"),)),
        "Voyage",
        "as_sent",
        "vendor",
        "3 values are no Integer",
    ),
    (
        "row_count",
        case(record(), inside=replace(INSIDE, counts={"Voyage": LOW})),
        "Voyage",
        "as_sent",
        "vendor",
        "450 records in 2022-05-10T13, too low",
    ),
    ("null_ratio", inside(columns=(replace(COLUMN, nulls=90),)), "Voyage", "as_sent", "vendor", "90% of its 100"),
    (
        "stale_table",
        case(record(), inside=replace(INSIDE, stuck={"Voyage": (7, 1)})),
        "Voyage",
        "as_sent",
        "vendor",
        "of 2022-05-10 13:00 for 7 Hours",
    ),
    (
        "lookback_change",
        inside(oldest=EARLIER + timedelta(hours=18)),
        None,
        "as_sent",
        "vendor",
        "carries 6.0 h of records; before it were 24.0 h",
    ),
    ("slow_phase", case(record(None, seconds=(600.0, 1200.0, 60.0))), None, "slow_init", "vendor", "3 are the limit"),
    ("slow_phase", case(record(None, seconds=(1.0, 1200.0, 6000.0))), None, "slow_transfer", "network", "100 minutes"),
    (
        "lookback_gap",
        case(NOTHING, gaps=gaps(LOST, {})),
        None,
        "missed",
        "us",
        "from about 2022-05-08 21:00 to 2022-05-09 16:00",
    ),
    (
        "lookback_gap",
        case(NOTHING, gaps=gaps(SOON, {}), now=HOUR.end),
        None,
        "missed",
        "us",
        "in 3 h something is lost",
    ),
]


@pytest.mark.parametrize(("rule", "given", "table", "cause", "owner", "words"), BREACHES)
def test_a_breach_names_its_cause_and_owner(
    rule: str, given: Case, table: str | None, cause: str, owner: str, words: str
) -> None:
    [breach] = of(rule, given)
    assert isinstance(breach, Breach), breach
    assert (breach.table, breach.cause, breach.owner) == (table, cause, owner)
    assert words in breach.summary


def test_every_rule_has_a_case_that_breaks_it() -> None:
    assert {breach[0] for breach in BREACHES} == set(RULES)


@pytest.mark.parametrize("rule", RULES)
def test_an_hour_that_is_well_passes_every_rule(rule: str) -> None:
    assert of(rule, GOOD) == [Passed(rule, HOUR)]


@pytest.mark.parametrize("rule", RULES)
def test_an_hour_that_is_not_on_record_passes_no_rule(rule: str) -> None:
    [finding] = of(rule, case(None))
    assert isinstance(finding, NoData)
    assert "viplake observe" in finding.reason


NO_DATA: list[tuple[str, Case, str]] = [
    ("never_started", case(NOTHING, now=EARLY), "minute 15 is not over"),
    ("never_started", case(OLD, ours=False), "another program ran"),
    ("missing_job", case(WAITING), "on its way"),
    ("missing_job", case(NOTHING, now=EARLY), "not over"),
    ("vendor_failure", case(OLD, ours=False), "another program ran"),
    ("incomplete_job", case(OLD_DELIVERED), "not compared"),
    ("incomplete_job", case(NOTHING), "nothing was delivered"),
    ("late_job", case(OLD_DELIVERED), "left word"),
    ("late_job", case(WAITING, now=EARLY), "not over"),
    ("missing_table", case(WAITING), "on its way"),
    ("missing_table", case(record(None, missing=None)), "no schema"),
    ("missing_table", case(record(replace(FACTS, schema=SchemaFacts(None, None, "torn")), missing=None)), "torn"),
    ("missing_partition", case(OLD_DELIVERED), "not compared"),
    ("unexpected_table", case(OLD_DELIVERED), "nobody looked"),
    ("unexpected_table", case(record(), unmatched=None), "no Hour before"),
    ("schema_change", case(record(), changes="no schema before"), "no schema before"),
    ("empty_file", case(OLD_DELIVERED), "nobody looked"),
    ("volume_job", case(record(), volumes={None: Silent("3 days")}), "3 days"),
    ("volume_job", case(NOTHING), "nothing was delivered"),
    ("volume_table", case(record(), volumes="none are on record"), "none are on record"),
    ("volume_table", case(record(), volumes={}), "no volume"),
    ("slow_phase", case(OLD_DELIVERED), "left word"),
    ("lookback_gap", case(NOTHING, gaps=gaps({HOUR: False}, {})), "nothing was delivered before"),
]


@pytest.mark.parametrize(("rule", "given", "reason"), NO_DATA)
def test_what_cannot_be_judged_says_why(rule: str, given: Case, reason: str) -> None:
    [finding] = of(rule, given)
    assert isinstance(finding, NoData), finding
    assert reason in finding.reason


def test_a_hole_shorter_than_the_look_back_is_over_with_nothing_lost() -> None:
    hole = [HOUR.shift(n) for n in range(22)]
    around: dict[Hour, bool | None] = {HOUR.shift(n): HOUR.shift(n) not in hole for n in range(-5, 27)}
    given = case(OLD, gaps=gaps(around, {}), now=HOUR.shift(40).start)
    assert of("lookback_gap", given) == [Passed("lookback_gap", HOUR)]
    [breach] = of("missing_job", given)
    assert isinstance(breach, Breach)
    assert breach.summary.endswith("nothing is lost: 2022-05-11T11 carries it, with a margin of about 1 h")


def test_a_planned_hour_breaks_no_rule_and_a_planned_change_is_only_told() -> None:
    planned = Planned("maintenance", HOUR, HOUR, "upgrade")
    findings = judge(case(NOTHING, planned=planned, gaps=gaps(LOST, {})), RuleSettings())
    assert not [finding for finding in findings if isinstance(finding, Breach)]
    [change] = of("schema_change", case(record(), planned=planned, changes=(Change("Voyage", "table added"),)))
    assert isinstance(change, Breach)
    assert change.severity == "info"
    assert "upgrade" in change.summary


def test_an_outage_pages_when_time_is_short_or_too_many_hours_are_bad() -> None:
    first = {HOUR.shift(n): n == -1 for n in (-1, 0)}
    severities = []
    for given in (
        case(NOTHING, now=HOUR.end, gaps=gaps(first, {})),
        case(NOTHING, now=HOUR.end, gaps=gaps(SOON, {})),
        case(NOTHING, now=HOUR.end, burning=True),
    ):
        [breach] = of("missing_job", given)
        assert isinstance(breach, Breach)
        severities.append(breach.severity)
    assert severities == ["ticket", "page", "page"]


def test_rules_are_data_that_the_file_may_change() -> None:
    told = {"missing_job": {"enabled": False}, "never_started": {"minutes": 200, "severity": "info"}}
    settings = RuleSettings.parse(told)
    assert isinstance(of("missing_job", case(NOTHING), settings)[0], NoData)
    assert isinstance(of("never_started", case(NOTHING), settings)[0], NoData)
    later = case(NOTHING, now=HOUR.start + timedelta(minutes=201))
    [breach] = of("never_started", later, settings)
    assert isinstance(breach, Breach)
    assert breach.severity == "info"
    absolute = RuleSettings.parse({"volume_job": {"min_mb": 10}})
    assert isinstance(of("volume_job", GOOD, absolute)[0], Breach)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ([], "not a table"),
        ({"missing_jobs": {}}, "Did you mean missing_job"),
        ({"late_job": {"minuts": 3}}, "Did you mean minutes"),
        ({"late_job": {"minutes": 0}}, "from 1 to 1440"),
        ({"late_job": {"minutes": "60"}}, "from 1 to 1440"),
        ({"late_job": {"threshold": 8}}, "unknown key"),
        ({"late_job": {"severity": "pager"}}, "Did you mean page"),
        ({"late_job": {"enabled": 1}}, "true or false"),
        ({"volume_job": {"min_mb": 5, "max_mb": 4}}, "more than min_mb"),
        ({"volume_table": {"threshold": 5, "twice": 7}}, "number of scales"),
        ({"look_back_hours": 0}, "number of hours"),
    ],
)
def test_rules_that_cannot_be_are_refused_in_words(value: Any, words: str) -> None:
    with pytest.raises(SettingsError) as refused:
        RuleSettings.parse(value)
    assert words in f"{refused.value.message} {refused.value.hint}"


def test_facts_of_now_go_before_the_history_and_tell_whose_a_missed_hour_is() -> None:
    missed = HourFacts(HOUR.shift(1))
    found = records({}, [missed, FACTS])
    assert list(found) == [HOUR, HOUR.shift(1)]
    assert (found[HOUR].outcome, found[HOUR].took) == ("delivered", 1350)
    assert (found[HOUR.shift(1)].cause, found[HOUR.shift(1)].owner) == ("missed", "us")
    assert records({}, [missed])[missed.hour].owner == "unknown"


def test_schemas_differ_in_tables_columns_and_types() -> None:
    before = columns_of(
        b'[{"DataObjectName":"A","Columns":[{"Name":"x","DataType":"int"},{"Name":"y","DataType":"int"}]},{"DataObjectName":"B"}]'
    )
    after = columns_of(
        b'[{"DataObjectName":"A","Columns":[{"Name":"x","DataType":"bigint"},{"Name":"z","DataType":"int"}]},{"DataObjectName":"C"}]'
    )
    assert before is not None
    assert after is not None
    assert [f"{change.table}: {change.what}" for change in changes(before, after)] == [
        "A: column z added (int)",
        "A: column y removed (int)",
        "A: column x changed from int to bigint",
        "B: table removed",
        "C: table added",
    ]
    assert changes(before, before) == []
    assert columns_of(b"{") is None
    assert columns_of(b'[{"DataObjectName":"A","Columns":[]}]') == {"A": None}


@pytest.mark.parametrize(
    ("minutes", "words"), [(0, "0 min"), (59, "59 min"), (60, "1 h"), (310, "5 h 10 min"), (-60, "1 h")]
)
def test_times_are_told_as_people_read_them(minutes: int, words: str) -> None:
    assert span(timedelta(minutes=minutes)) == words


def test_a_clock_that_jumped_back_finds_no_fault_in_hours_to_come() -> None:
    back = case(NOTHING, now=datetime.fromisoformat("2022-05-10T02:00:00+00:00"))
    assert not [finding for finding in judge(back, RuleSettings()) if isinstance(finding, Breach)]


def test_what_the_documents_show_is_what_the_file_may_say() -> None:
    text = (Path(__file__).parents[2] / "docs" / "rules.md").read_text(encoding="utf-8")
    [example] = re.findall(r"```toml\n(.*?)```", text, re.DOTALL)
    told = CheckSettings.parse(tomllib.loads(example))
    own = CheckSettings()
    changed = {"unexpected_table", "schema_change"}
    assert {name for name in RULES if told.rules.told[name] != own.rules.told[name]} == changed
    assert told.objectives == own.objectives
    assert all(f"`{name}`" in text for name in RULES)
