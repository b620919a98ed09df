"""Each rule: a breach, a pass, and no data with its reason."""

from __future__ import annotations

import math
import re
import tomllib
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from viplake.content.profiling import ColumnProfile, ContentFinding, HourContent, TableContent
from viplake.errors import SettingsError
from viplake.history.facts import HourFacts, PromisedTable, PromiseFacts, RunFacts, SchemaFacts
from viplake.judge.calendar import Planned
from viplake.judge.coverage import gaps
from viplake.judge.detector.anomaly import InsufficientHistory, VolumeVerdict
from viplake.judge.detector.drift import Drift
from viplake.judge.detector.usual import GRAIN_OF_COUNTS, AnomalySettings
from viplake.judge.evaluate import CheckSettings
from viplake.judge.record import Record, Wholeness, updated
from viplake.judge.rules.catalogue import RULES, Judge, RuleSettings, _minutes
from viplake.judge.rules.content import by_verdict
from viplake.judge.rules.content_verdicts import NOT_LOOKED, CheckedContent, Nulls, Odd
from viplake.judge.rules.rule import Breach, Case, Limit, MergedHours, NoData, Results, RuleConfig, RulePassed
from viplake.lake.table_index import TableFacts
from viplake.model import SEVERITIES, Hour
from viplake.tables.schema import Change, TableSchema, changes, read_schema

if TYPE_CHECKING:
    from collections.abc import Mapping

    from viplake.judge.coverage import Gap
    from viplake.judge.rules.rule import RuleResult

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
INSIDE = CheckedContent(
    HOUR,
    CONTENT,
    [replace(CONTENT, hour=HOUR.shift(n)) for n in (-3, -2, -1)],
    {"Voyage": VolumeVerdict("usual", 5, 5, 4, 6, 0.0, (1,))},
    {"Voyage": (0, 1)},
    Nulls.of(replace(CONTENT, hour=HOUR.shift(n)) for n in (-3, -2, -1)),
)


def inside(**changed: Any) -> Case:
    """An Hour with something odd in the content of its table."""
    table = replace(CONTENT.tables[0], **changed)
    return replace(GOOD, checked_content=replace(INSIDE, content=replace(CONTENT, tables=(table,))))


WAITING = record(None, outcome="waiting", seconds=(None, None, None))
GOOD = Case(
    record(),
    HOUR,
    AFTER,
    unmatched=1,
    changes=(),
    volumes={
        None: VolumeVerdict("usual", 900, 900, 800, 1000, 0.0, (1, 2, 3)),
        "Voyage": VolumeVerdict("usual", 5, 5, 4, 6, 0.0, (1,)),
    },
    checked_content=INSIDE,
    merged=MergedHours(frozenset([HOUR])),
)


def case(known: Record | None, **changed: Any) -> Case:
    return replace(GOOD, record=known, **changed)


def judge(case_: Case, settings: RuleSettings) -> list[RuleResult]:
    return Judge(settings).results(case_)


def of(rule: str, case_: Case, settings: RuleSettings | None = None) -> list[RuleResult]:
    return [finding for finding in judge(case_, settings or RuleSettings()) if finding.rule == rule]


LOW = VolumeVerdict("low", 450, 900, 800, 1000, -20.0, (1, 2, 3))
GROWN = Drift(1250, 1000, math.log(1.25), clear=True)
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
    (
        "missing_partition",
        case(record(replace(FACTS, promise=BAD_PROMISE))),
        "Voyage",
        "changed_in_lake",
        "us",
        "0 of 1",
    ),
    (
        "schema_missing",
        case(record(None, expected=None, missing=None), whole=Wholeness(schema_from=HOUR.shift(-2), schema_lost=True)),
        None,
        "as_sent",
        "vendor",
        "has no schema; the last one is that of 2022-05-10T11",
    ),
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
        "no records",
    ),
    ("volume_job", case(record(), volumes={None: LOW}), None, "as_sent", "vendor", "smaller than usual"),
    (
        "volume_table",
        case(record(), volumes={"Voyage": LOW}),
        "Voyage",
        "as_sent",
        "vendor",
        "in 3 weeks since 2022-04-19",
    ),
    (
        "nonconforming_content",
        inside(
            findings=(ContentFinding("wrong_type", "Voyage", "Port: 3 values are not of type Integer", column="Port"),)
        ),
        "Voyage",
        "as_sent",
        "vendor",
        "3 values are not of type Integer",
    ),
    (
        "row_count",
        case(record(), checked_content=replace(INSIDE, counts={"Voyage": LOW})),
        "Voyage",
        "as_sent",
        "vendor",
        "450 records in 2022-05-10T13; usually 800 to 1,000 records",
    ),
    ("null_ratio", inside(columns=(replace(COLUMN, nulls=90),)), "Voyage", "as_sent", "vendor", "90 % of its 100"),
    (
        "stale_table",
        case(
            record(),
            checked_content=replace(
                INSIDE,
                content=replace(CONTENT, tables=(replace(CONTENT.tables[0], newest=HOUR.shift(-7).start),)),
                stuck={"Voyage": (7, 1)},
            ),
        ),
        "Voyage",
        "as_sent",
        "vendor",
        "newer than 2022-05-10 06:00 UTC for 7 Hours",
    ),
    (
        "lookback_change",
        inside(oldest=EARLIER + timedelta(hours=18)),
        None,
        "as_sent",
        "vendor",
        "carries 6.0 h of records; 24 h are configured",
    ),
    ("volume_drift", case(record(), drifts={"Voyage": GROWN}), "Voyage", "as_sent", "vendor", "has grown by 25 %"),
    ("slow_phase", case(record(None, seconds=(600.0, 1200.0, 60.0))), None, "slow_init", "vendor", "3 are the limit"),
    ("slow_phase", case(record(None, seconds=(1.0, 1200.0, 6000.0))), None, "slow_transfer", "network", "100 minutes"),
    (
        "lookback_gap",
        case(NOTHING, gaps=gaps(LOST, {})),
        None,
        "missed",
        "us",
        "from about 2022-05-08 21:00 UTC to 2022-05-09 16:00 UTC",
    ),
    (
        "lookback_gap",
        case(NOTHING, gaps=gaps(SOON, {}), now=HOUR.end),
        None,
        "missed",
        "us",
        "records are lost unless an export comes by 2022-05-10 17:00 UTC",
    ),
    (
        "tables_behind",
        case(record(), merged=MergedHours(frozenset([HOUR.shift(-3), HOUR.shift(1)]))),
        None,
        "tables_behind",
        "us",
        "3 Hours behind; the newest Hour that they have is 2022-05-10T10",
    ),
    (
        "tables_behind",
        case(record(), merged=MergedHours(frozenset([HOUR]), {"Voyage": (HOUR.shift(-9), "its key changed")})),
        "Voyage",
        "tables_behind",
        "us",
        "the current table of Voyage lacks 2022-05-10T04: its key changed",
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
    assert of(rule, GOOD) == [RulePassed(rule, HOUR)]


@pytest.mark.parametrize("rule", RULES)
def test_an_hour_that_is_not_on_record_passes_no_rule(rule: str) -> None:
    [finding] = of(rule, case(None))
    assert isinstance(finding, NoData)
    assert "viplake observe" in finding.reason


NO_DATA: list[tuple[str, Case, str]] = [
    ("never_started", case(NOTHING, now=EARLY), "minute 15 is not over"),
    ("never_started", case(OLD, ours=False), "another program ran"),
    ("missing_job", case(WAITING), "in progress"),
    ("missing_job", case(NOTHING, now=EARLY), "not over"),
    ("vendor_failure", case(OLD, ours=False), "another program ran"),
    ("incomplete_job", case(OLD_DELIVERED), "not compared"),
    ("incomplete_job", case(NOTHING), "nothing was delivered"),
    ("late_job", case(OLD_DELIVERED), "no run record"),
    ("late_job", case(WAITING, now=EARLY), "not over"),
    ("missing_table", case(WAITING), "in progress"),
    ("missing_table", case(record(None, missing=None)), "no schema"),
    ("missing_table", case(record(replace(FACTS, schema=SchemaFacts(None, None, "torn")), missing=None)), "torn"),
    ("missing_partition", case(OLD_DELIVERED), "not compared"),
    ("unexpected_table", case(OLD_DELIVERED), "folder was not read"),
    ("unexpected_table", case(record(), unmatched=None), "no Hour before"),
    ("schema_change", case(record(), changes="no schema before"), "no schema before"),
    ("empty_file", case(OLD_DELIVERED), "folder was not read"),
    ("volume_job", case(record(), volumes={None: InsufficientHistory("3 days")}), "3 days"),
    ("volume_job", case(NOTHING), "nothing was delivered"),
    ("volume_table", case(record(), volumes="none are on record"), "none are on record"),
    ("volume_table", case(record(), volumes={}), "no volume"),
    ("volume_drift", case(record(), drifts={"Voyage": InsufficientHistory("six weeks")}), "six weeks"),
    ("volume_drift", case(record(), drifts={}), "no volume"),
    ("slow_phase", case(OLD_DELIVERED), "no run record"),
    ("lookback_gap", case(NOTHING, gaps=gaps({HOUR: False}, {})), "nothing was delivered before"),
    ("tables_behind", case(record(), merged=None), "the lake has no current tables"),
    ("tables_behind", case(record(replace(FACTS, has_receipt=False)), merged=MergedHours()), "has no receipt"),
]


@pytest.mark.parametrize(("rule", "given", "reason"), NO_DATA)
def test_no_data_has_a_reason(rule: str, given: Case, reason: str) -> None:
    [finding] = of(rule, given)
    assert isinstance(finding, NoData), finding
    assert reason in finding.reason


def test_a_hole_shorter_than_the_look_back_is_over_with_nothing_lost() -> None:
    hole = [HOUR.shift(n) for n in range(22)]
    around: dict[Hour, bool | None] = {HOUR.shift(n): HOUR.shift(n) not in hole for n in range(-5, 27)}
    given = case(OLD, gaps=gaps(around, {}), now=HOUR.shift(40).start)
    assert of("lookback_gap", given) == [RulePassed("lookback_gap", HOUR)]
    [breach] = of("missing_job", given)
    assert isinstance(breach, Breach)
    assert breach.summary.endswith("nothing is lost: 2022-05-11T11 carries it, with a margin of about 1 h")


def test_a_planned_hour_breaks_no_rule_and_a_planned_change_is_only_reported() -> None:
    planned = Planned("maintenance", HOUR, HOUR, "upgrade")
    findings = judge(
        case(NOTHING, planned=planned, gaps=gaps({HOUR.shift(n): n == -1 for n in (-1, 0)}, {})), RuleSettings()
    )
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


@pytest.mark.parametrize(("rule", "given"), [breach[:2] for breach in BREACHES])
def test_severity_of_a_breach_is_that_of_the_configuration(rule: str, given: Case) -> None:
    for severity in SEVERITIES:
        told = RuleSettings.parse({rule: {"severity": severity}})
        found = [finding for finding in of(rule, given, told) if isinstance(finding, Breach)]
        assert {breach.severity for breach in found} == {severity}


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


def test_current_facts_replace_the_history_and_give_the_owner_of_a_missed_hour() -> None:
    missed = HourFacts(HOUR.shift(1))
    found = updated({}, [missed, FACTS])
    assert list(found) == [HOUR, HOUR.shift(1)]
    assert (found[HOUR].outcome, found[HOUR].took) == ("delivered", 1350)
    assert (found[HOUR.shift(1)].cause, found[HOUR.shift(1)].owner) == ("missed", "us")
    assert updated({}, [missed])[missed.hour].owner == "unknown"


def test_schemas_differ_in_tables_columns_and_types() -> None:
    before = read_schema(
        b'[{"DataObjectName":"A","Columns":[{"Name":"x","DataType":"int"},{"Name":"y","DataType":"int"}]},{"DataObjectName":"B"}]'
    )
    after = read_schema(
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
    assert read_schema(b"{") is None
    assert read_schema(b'[{"DataObjectName":"A","Columns":[]}]') == {"A": TableSchema(None)}


def test_a_clock_that_jumped_back_finds_no_fault_in_hours_to_come() -> None:
    back = case(NOTHING, now=datetime.fromisoformat("2022-05-10T02:00:00+00:00"))
    assert not [finding for finding in judge(back, RuleSettings()) if isinstance(finding, Breach)]


def test_the_documented_configuration_is_accepted() -> None:
    text = (Path(__file__).parents[2] / "docs" / "rules.md").read_text(encoding="utf-8")
    [example] = re.findall(r"```toml\n(.*?)```", text, re.DOTALL)
    told = CheckSettings.parse(tomllib.loads(example))
    own = CheckSettings()
    changed = {"unexpected_table", "schema_change"}
    assert {name for name in RULES if told.rules.configs[name] != own.rules.configs[name]} == changed
    assert told.objectives == own.objectives
    assert all(f"`{name}`" in text for name in RULES)


# -- to the letter --------------------------------------------------------------------------------------------

DRAWN = HOUR.start + timedelta(minutes=15)
BOTH = replace(
    PROMISE, files=9, absent=("A_1.gz", "B_1.gz"), other_size=("C_1.gz", "D_1.gz"), tables=(PromisedTable("A", 1, 0),)
)
LATE = replace(FACTS, run=replace(RUN, late=True))
BIG = VolumeVerdict("high", 12_345_678, 9_000_000, 999_999, 1_500_000_000, 9.0, (1,))

WORDS: list[tuple[str, Case, str]] = [
    ("never_started", case(NOTHING, now=DRAWN), "no run had started for 2022-05-10T13 by minute 15"),
    ("missing_job", case(NOTHING, now=HOUR.end), "2022-05-10T13 delivered no export"),
    ("missing_job", case(FAILED, now=HOUR.start), "2022-05-10T13 delivered no export"),
    ("vendor_failure", case(FAILED), "the vendor failed 2022-05-10T13: it says Failed"),
    (
        "vendor_failure",
        case(replace(FAILED, facts=None)),
        "the vendor failed 2022-05-10T13: vendor_job_failed",
    ),
    (
        "incomplete_job",
        case(record(replace(FACTS, promise=BOTH))),
        "4 of 9 promised files of 2022-05-10T13 are not stored as promised: A_1.gz, B_1.gz, C_1.gz",
    ),
    (
        "incomplete_job",
        case(record(None, outcome="failed", cause="integrity", owner="vendor")),
        "2022-05-10T13 failed with a part of its files stored",
    ),
    ("late_job", case(WAITING, now=HOUR.end), "2022-05-10T13 is not delivered by minute 60"),
    (
        "late_job",
        case(record(None, seconds=(1.0, 3599.5, 0.0))),
        "2022-05-10T13 took 60 minutes; longest phase: replication (60 minutes in 2022-05-10T13)",
    ),
    (
        "late_job",
        case(record(None, seconds=(4000.0, 3000.0, 2000.0))),
        "2022-05-10T13 took 150 minutes; longest phase: init (67 minutes in 2022-05-10T13)",
    ),
    (
        "late_job",
        case(record(None, seconds=(3000.0, 3000.0, 600.0))),
        "2022-05-10T13 took 110 minutes; longest phase: init (50 minutes in 2022-05-10T13)",
    ),
    (
        "late_job",
        case(record(LATE)),
        "2022-05-10T13 took 22 minutes; longest phase: replication (20 minutes in 2022-05-10T13)",
    ),
    (
        "late_job",
        case(record(LATE, seconds=(0.0, 0.5, 0.2))),
        "2022-05-10T13 took 0 minutes; longest phase: replication (0 minutes in 2022-05-10T13)",
    ),
    ("missing_table", case(record(None, missing=("Voyage",))), "Voyage has no file in 2022-05-10T13"),
    (
        "missing_partition",
        case(record(replace(FACTS, promise=BAD_PROMISE))),
        "Voyage: 0 of 1 promised partitions are stored in 2022-05-10T13",
    ),
    (
        "unexpected_table",
        case(record(replace(FACTS, expected=("Vessel",)))),
        "Voyage is out of scope, but came with 1 file in 2022-05-10T13",
    ),
    (
        "unexpected_table",
        case(record(replace(FACTS, unmatched=2))),
        "2 files of 2022-05-10T13 belong to no table of the schema, 1 more than the Hour before",
    ),
    (
        "schema_change",
        case(record(), changes=(Change("Voyage", "column A added"),)),
        "Voyage: column A added in 2022-05-10T13",
    ),
    (
        "schema_change",
        case(record(), planned=Planned("hole", HOUR, HOUR), changes=(Change("Voyage", "column A added"),)),
        "Voyage: column A added in 2022-05-10T13",
    ),
    (
        "schema_change",
        case(record(), planned=Planned("maintenance", HOUR, HOUR, "new"), changes=(Change("Voyage", "table added"),)),
        "Voyage: table added in 2022-05-10T13 (planned: maintenance from 2022-05-10T13 to 2022-05-10T13: new)",
    ),
    (
        "empty_file",
        case(record(replace(FACTS, tables=(TableFacts("Voyage", 2, 40),)))),
        "Voyage: 2 files of 2022-05-10T13 hold no records (40 bytes in all)",
    ),
    (
        "volume_job",
        case(record(), volumes={None: LOW}),
        (
            "the export is 50 % smaller than usual for Tuesdays at 13:00 UTC (450 B in 2022-05-10T13; usually 800 B to"
            " 1 kB, in 3 weeks since 2022-04-19)"
        ),
    ),
    (
        "volume_table",
        case(record(), volumes={"Voyage": BIG}),
        (
            "Voyage is 37 % larger than usual for Tuesdays at 13:00 UTC (12.3 MB in 2022-05-10T13; usually 1 MB to"
            " 1.5 GB, in 1 week since 2022-05-03)"
        ),
    ),
    (
        "volume_table",
        case(record(), volumes={"Voyage": replace(LOW, kind="stuck")}),
        "Voyage has 450 B in 2022-05-10T13, to the byte what it had in the Hours before",
    ),
    (
        "volume_drift",
        case(record(), drifts={"Voyage": Drift(3_000_000, 5_000_000, math.log(0.6), clear=True)}),
        "Voyage has shrunk by 40 % in the week before 2022-05-10T13: from 5 MB to 3 MB in a typical Hour",
    ),
    (
        "slow_phase",
        case(record(None, seconds=(180.5, None, None))),
        "the init of 2022-05-10T13 took 3 minutes; 3 are the limit",
    ),
    (
        "lookback_gap",
        case(NOTHING, gaps=gaps(LOST, {})),
        (
            "records from about 2022-05-08 21:00 UTC to 2022-05-09 16:00 UTC are in no delivered Hour: lost, "
            "unless Veson exports them again (the export of 2022-05-10T16 reaches back to 2022-05-09 16:00 UTC only)"
        ),
    ),
    (
        "lookback_gap",
        case(NOTHING, gaps=gaps(SOON, {}), now=HOUR.end),
        "records are lost unless an export comes by 2022-05-10 17:00 UTC",
    ),
    (
        "lookback_gap",
        case(NOTHING, gaps=gaps({HOUR.shift(n): n == -30 for n in range(-30, 1)}, {}), now=HOUR.end),
        (
            "records from about 2022-05-09 07:00 UTC to the next delivery are in no delivered Hour: lost, "
            "unless Veson exports them again"
        ),
    ),
]


@pytest.mark.parametrize(("rule", "given", "words"), WORDS)
def test_a_breach_has_this_summary(rule: str, given: Case, words: str) -> None:
    [breach] = of(rule, given)
    assert isinstance(breach, Breach), breach
    assert breach.summary == words
    assert (breach.rule, breach.hour) == (rule, HOUR)


REASONS: list[tuple[str, Case, str]] = [
    ("missing_job", case(WAITING), "the run is in progress"),
    ("missing_job", case(NOTHING, now=EARLY), "the Hour is not over"),
    ("vendor_failure", case(NOTHING), "no run took place"),
    ("vendor_failure", case(OLD, ours=False), "another program ran this Hour; no run record exists"),
    ("incomplete_job", case(NOTHING), "nothing was delivered"),
    ("incomplete_job", case(replace(WAITING, facts=FACTS)), "the run is in progress"),
    ("incomplete_job", case(OLD_DELIVERED), "its manifest was not compared with what is stored"),
    ("late_job", case(OLD_DELIVERED), "no run record exists, so its times are unknown"),
    ("late_job", case(FAILED), "the Hour was not delivered"),
    ("late_job", case(record(None, seconds=(None, 1200.0, 1.0))), "its times are not known"),
    ("late_job", case(WAITING, now=EARLY), "the run is in progress, and minute 60 is not over"),
    ("slow_phase", case(OLD_DELIVERED), "no run record exists, so its times are unknown"),
    ("slow_phase", case(record(None, seconds=(None, None, None))), "its times are not known"),
    ("missing_table", case(WAITING), "the run is in progress"),
    ("missing_table", case(NOTHING), "nothing was delivered"),
    ("missing_table", case(record(None, missing=None)), "it has no schema"),
    ("missing_partition", case(OLD_DELIVERED), "its manifest was not compared with what is stored"),
    ("unexpected_table", case(OLD_DELIVERED), "its folder was not read in this check"),
    ("unexpected_table", case(record(replace(FACTS, schema=None, expected=None))), "it has no schema"),
    ("unexpected_table", case(record(), unmatched=None), "there is no Hour before to compare with"),
    ("empty_file", case(OLD_DELIVERED), "its folder was not read in this check"),
    ("empty_file", case(record(replace(FACTS, schema=None, expected=None))), "it has no schema"),
    ("volume_table", case(record(), volumes={}), "no volume is on record"),
    ("lookback_gap", case(NOTHING, gaps=gaps({HOUR: False}, {})), "nothing was delivered before"),
    ("lookback_gap", case(NOTHING, gaps=gaps({HOUR: None, HOUR.shift(-1): None}, {})), "2 Hours are not on record"),
]


@pytest.mark.parametrize(("rule", "given", "reason"), REASONS)
def test_no_data_gives_its_reason_in_these_words(rule: str, given: Case, reason: str) -> None:
    [result] = of(rule, given)
    assert isinstance(result, NoData), result
    assert (result.rule, result.hour, result.reason) == (rule, HOUR, reason)


@pytest.mark.parametrize(
    ("given", "kind"),
    [
        (case(None), "absent"),
        (case(WAITING), "unsettled"),
        (case(NOTHING, now=EARLY), "unsettled"),
        (
            case(record(replace(FACTS, schema=SchemaFacts(None, None, "torn"), expected=None), missing=None)),
            "unreadable",
        ),
        (case(record(), planned=Planned("hole", HOUR, HOUR)), "excused"),
    ],
)
def test_absent_unsettled_unreadable_and_excused_are_four_kinds_of_no_data(given: Case, kind: str) -> None:
    kinds = {result.kind for result in judge(given, RuleSettings()) if isinstance(result, NoData)}
    assert kind in kinds
    assert "excused" not in kinds or kind == "excused"


def test_no_rule_is_broken_at_its_limit_but_right_behind_it() -> None:
    at_limit: list[tuple[str, Case]] = [
        ("late_job", case(record(None, seconds=(0.0, 3600.0, 0.0)))),
        ("slow_phase", case(record(None, seconds=(180.0, 2400.0, 600.0)))),
        ("empty_file", case(record(replace(FACTS, tables=(TableFacts("Voyage", 2, 41),))))),
        ("volume_drift", case(record(), drifts=None)),
        ("volume_drift", case(record(), drifts={"Voyage": GROWN._replace(moved=math.log(1.179))})),
        ("volume_drift", case(record(), drifts={"Voyage": GROWN._replace(clear=False)})),
        ("never_started", case(replace(NOTHING, ledger=True))),
        ("never_started", case(OLD_DELIVERED)),
        ("vendor_failure", case(record(outcome="failed", cause="network", owner="network"))),
        ("vendor_failure", case(record(cause="vendor_timeout", owner="vendor"))),
        ("unexpected_table", case(record(replace(FACTS, unmatched=0)))),
        ("tables_behind", case(record(), merged=MergedHours(frozenset([HOUR.shift(-2)])))),
        ("tables_behind", case(record(), merged=MergedHours(frozenset([HOUR]), {"Port": (HOUR.shift(1), "later")}))),
    ]
    for rule, given in at_limit:
        assert of(rule, given) == [RulePassed(rule, HOUR)]
    for seconds, broken in (((0.0, 3600.5, 0.0), "late_job"), ((0.0, 0.0, 600.5), "slow_phase")):
        assert isinstance(of(broken, case(record(None, seconds=seconds)))[0], Breach)


def test_the_size_of_an_export_has_configured_limits() -> None:
    settings = RuleSettings.parse({"volume_job": {"min_mb": 2, "max_mb": 3.5}})

    def judged(kilobytes: int | None) -> RuleResult:
        [finding] = of("volume_job", case(record(kilobytes=kilobytes)), settings)
        return finding

    for inside in (2000, 3500):
        assert judged(inside) == RulePassed("volume_job", HOUR)
    for outside, words in ((1999, "2 MB"), (3501, "3.5 MB"), (None, "0 B"), (1, "1 kB")):
        breach = judged(outside)
        assert isinstance(breach, Breach)
        assert breach.summary == f"2022-05-10T13 has {words}; configured are at least 2 MB and at most 3.5 MB"
        assert (breach.cause, breach.owner) == ("as_sent", "vendor")
    least = RuleSettings.parse({"volume_job": {"min_mb": 2}})
    [breach] = of("volume_job", GOOD, least)
    assert isinstance(breach, Breach)
    assert breach.summary == "2022-05-10T13 has 1 kB; configured are at least 2 MB"
    assert isinstance(of("volume_job", case(record(kilobytes=9_000_000)), least)[0], RulePassed)


@pytest.mark.parametrize(
    ("size", "words"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1 kB"),
        (1500, "1.5 kB"),
        (999_499, "999 kB"),
        (999_500, "1 MB"),
        (10**6, "1 MB"),
        (1_005_000, "1 MB"),
        (10**9, "1 GB"),
        (10**12, "1 TB"),
    ],
)
def test_bytes_are_shown_in_units_of_a_thousand(size: int, words: str) -> None:
    [breach] = of("volume_job", case(record(), volumes={None: replace(LOW, kind="stuck", value=size)}))
    assert isinstance(breach, Breach)
    assert breach.summary.startswith(f"the export has {words} in ")


def test_a_missing_table_is_the_run_s_where_it_was_promised_and_the_vendor_s_where_not() -> None:
    def blame(known: Record) -> tuple[str, str]:
        [breach] = of("missing_table", case(known))
        assert isinstance(breach, Breach)
        return breach.cause, breach.owner

    failed = record(outcome="failed", cause="integrity", owner="network", missing=("Voyage",))
    assert blame(failed) == ("integrity", "network")
    without = replace(PROMISE, tables=(PromisedTable("Vessel", 1, 1),))
    assert blame(replace(failed, facts=replace(FACTS, promise=without))) == ("not_promised", "vendor")
    assert blame(replace(failed, facts=replace(FACTS, promise=without, run=None))) == ("integrity", "network")
    assert blame(replace(failed, facts=replace(FACTS, promise=None))) == ("integrity", "network")
    assert blame(record(replace(FACTS, promise=None), missing=("Voyage",))) == ("not_promised", "vendor")


def test_a_file_not_stored_as_listed_is_due_to_the_run_or_to_a_later_change() -> None:
    bad = replace(FACTS, promise=BAD_PROMISE)
    for known, blame in (
        (record(bad, cause="integrity", owner="network", outcome="failed"), ("integrity", "network")),
        (record(bad), ("changed_in_lake", "us")),
        (record(bad, ledger=False), ("unknown", "unknown")),
    ):
        [breach] = of("incomplete_job", case(known))
        assert isinstance(breach, Breach)
        assert (breach.cause, breach.owner) == blame
    assert of("incomplete_job", case(record(replace(FACTS, promise=None)))) == [RulePassed("incomplete_job", HOUR)]
    [unread] = of("incomplete_job", case(record(None)))
    assert isinstance(unread, NoData)
    assert unread.kind == "unread", "what was found in it before holds"


def test_a_change_of_the_schema_is_grave_unless_it_is_planned_maintenance() -> None:
    for planned, severity in ((None, "ticket"), (Planned("hole", HOUR, HOUR), "ticket"), (
        Planned("maintenance", HOUR, HOUR), "info"
    )):  # fmt: skip
        [breach] = of("schema_change", case(record(), planned=planned, changes=(Change("A", "table added"),)))
        assert isinstance(breach, Breach)
        assert breach.severity == severity


def test_only_an_outage_is_as_grave_as_the_time_that_is_left() -> None:
    short = {"burning": True, "now": HOUR.end}
    for rule, given, severity in (
        ("vendor_failure", case(FAILED, **short), "page"),
        ("never_started", case(NOTHING, **short), "page"),
        ("missing_job", case(NOTHING, **short), "page"),
        ("incomplete_job", case(record(replace(FACTS, promise=BAD_PROMISE)), **short), "page"),
        ("missing_table", case(record(None, missing=("Voyage",)), **short), "ticket"),
        ("slow_phase", case(record(None, seconds=(600.0, 0.0, 0.0)), **short), "info"),
        ("lookback_gap", case(NOTHING, gaps=gaps(LOST, {})), "page"),
    ):
        [breach] = of(rule, given)
        assert isinstance(breach, Breach)
        assert breach.severity == severity, rule


def test_severity_of_an_outage_depends_on_the_time_left() -> None:
    [gap] = gaps(SOON, {})

    def severity(after: int, now: datetime, table: str | None = None) -> str:
        return case(NOTHING, now=now, gaps=[replace(gap, after=HOUR.shift(after), table=table)]).severity

    for now in (HOUR.end, HOUR.end + timedelta(hours=5)):
        assert severity(-17, now) == "ticket", "six hours are left at its end, however late it is judged"
        assert severity(-18, now) == "page"
    assert severity(-18, HOUR.start) == "ticket", "six hours are left now"
    assert severity(-18, HOUR.start + timedelta(minutes=1)) == "page"
    assert severity(-18, HOUR.end, "Voyage") == "ticket", "a table alone is no outage"


def test_abnormal_data_is_as_sent_only_in_a_proven_hour() -> None:
    empty = replace(FACTS, tables=(TableFacts("Voyage", 1, 20),))
    for known, blame in (
        (record(empty), ("as_sent", "vendor")),
        (record(empty, cause="integrity", owner="us"), ("integrity", "us")),
        (record(empty, cause="integrity"), ("integrity", "unknown")),
        (record(empty, outcome="failed"), ("unknown", "unknown")),
        (record(empty, ledger=False), ("unknown", "unknown")),
    ):
        [breach] = of("empty_file", case(known))
        assert isinstance(breach, Breach)
        assert (breach.cause, breach.owner) == blame


@pytest.mark.parametrize(("rule", "key", "found"), [
    ("lookback_change", "percent", 75), ("null_ratio", "points", 90), ("stale_table", "hours", 7)
])  # fmt: skip
def test_a_content_rule_uses_the_configured_limit(rule: str, key: str, found: int) -> None:
    [given] = [breach[1] for breach in BREACHES if breach[0] == rule]
    for limit, kind in ((found - 1, Breach), (found + 1, RulePassed)):
        [finding] = of(rule, given, RuleSettings.parse({rule: {key: limit}}))
        assert isinstance(finding, kind)


def test_a_gap_is_reported_in_its_hours_from_six_hours_before_the_loss() -> None:
    def told(gap_: Gap, *, now: datetime = HOUR.end, **changed: Any) -> list[RuleResult]:
        return of("lookback_gap", case(NOTHING, gaps=[replace(gap_, **changed)], now=now))

    [gap] = gaps(SOON, {})
    assert isinstance(told(gap)[0], Breach)
    for hour in (gap.first, gap.last):  # its own first and last Hour are in it
        assert isinstance(told(gap, first=min(gap.first, hour), last=max(HOUR, hour))[0], Breach)
    assert isinstance(told(gap, first=HOUR)[0], Breach)
    assert isinstance(told(gap, last=HOUR)[0], Breach)
    assert told(gap, last=HOUR.shift(-1)) == told(gap, first=HOUR.shift(1)) == [RulePassed("lookback_gap", HOUR)]
    [planned] = told(gap, planned=True)
    assert isinstance(planned, Breach)
    assert planned.severity == "ticket", "a planned hole that loses records is reported"
    assert told(gap, unknown=2) == [NoData("lookback_gap", HOUR, "2 Hours are not on record")]
    after = HOUR.shift(-17)  # whose records are lost six hours after the end of this Hour, to the minute
    assert told(gap, after=after.shift(0)) == [RulePassed("lookback_gap", HOUR)]
    [close] = told(gap, after=after.shift(-1))
    assert isinstance(close, Breach)
    assert close.summary == "records are lost unless an export comes by 2022-05-10 19:00 UTC"
    [now_or_never] = told(gap, after=HOUR.shift(-23))
    assert isinstance(now_or_never, Breach)
    assert now_or_never.summary == "records are lost unless an export comes by 2022-05-10 14:00 UTC"
    assert told(gap, before=HOUR.shift(1)) == [RulePassed("lookback_gap", HOUR)], "it is over, and nothing was lost"
    [table] = told(gap, table="Voyage")
    assert isinstance(table, Breach)
    assert (table.table, table.severity, table.group) == ("Voyage", "ticket", "missing_table")
    assert table.summary == "Voyage: records are lost unless an export comes by 2022-05-10 17:00 UTC, if it had any"


def test_an_ended_gap_has_its_margin_only_where_known() -> None:
    around: dict[Hour, bool | None] = {HOUR.shift(n): n != 0 for n in range(-3, 4)}
    [hole] = gaps(around, {})

    def told(*known: Gap) -> str:
        [breach] = of("missing_job", case(OLD, gaps=known, now=HOUR.shift(40).start))
        assert isinstance(breach, Breach)
        return breach.summary

    assert told(hole).endswith("2022-05-10T14 carries it, with a margin of about 22 h")
    for other in (
        replace(hole, margin=None),
        replace(hole, unknown=1),
        replace(hole, lost=(HOUR.start, HOUR.end)),
        replace(hole, table="Voyage"),
        replace(hole, first=HOUR.shift(1), last=HOUR.shift(1)),
        replace(hole, first=HOUR.shift(-1), last=HOUR.shift(-1)),
    ):
        assert told(other) == "2022-05-10T13 delivered no export"
    assert told(replace(hole, table="Voyage"), hole).endswith("22 h")


def test_a_disabled_or_planned_rule_has_that_reason() -> None:
    off = RuleSettings.parse({"missing_job": {"enabled": False}})
    assert of("missing_job", case(NOTHING), off) == [
        NoData("missing_job", HOUR, "the rule is turned off in viplake.toml", "excused")
    ]
    planned = case(NOTHING, planned=Planned("hole", HOUR, HOUR))
    assert of("missing_job", planned) == [
        NoData("missing_job", HOUR, "planned: hole from 2022-05-10T13 to 2022-05-10T13", "excused")
    ]


def test_missing_configuration_gives_the_defaults_of_the_rules() -> None:
    own = RuleSettings.parse({})
    assert own == RuleSettings()
    assert own.look_back == timedelta(hours=24)
    assert own.configs["never_started"].limits == {"minutes": 15}
    assert own.configs["late_job"].limits == {"minutes": 60}
    assert own.configs["slow_phase"].limits == {"init_minutes": 3, "replication_minutes": 40, "transfer_minutes": 10}
    assert own.configs["volume_job"].limits == {"min_mb": 0, "max_mb": 0}
    assert own.configs["volume_table"].anomaly.threshold == RuleSettings().configs["volume_table"].anomaly.threshold
    other = RuleSettings.parse({"look_back_hours": 48, "volume_table": {"threshold": 7, "twice": 6}})
    assert other.look_back == timedelta(hours=48)
    assert (other.configs["volume_table"].anomaly.threshold, other.configs["volume_table"].anomaly.twice) == (7, 6)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ([], "[rules] in viplake.toml is not a table"),
        ({"late": {}}, "[rules] in viplake.toml has the unknown key 'late'"),
        ({"late_job": 3}, "[rules.late_job] in viplake.toml is not a table"),
        ({"look_back_hours": 0.9}, "look_back_hours of [rules] in viplake.toml is 0.9"),
        ({"look_back_hours": 2160.5}, "look_back_hours of [rules] in viplake.toml is 2160.5"),
        ({"late_job": {"minutes": 0.9}}, "minutes of [rules.late_job] in viplake.toml is 0.9"),
        ({"late_job": {"minutes": 1440.5}}, "minutes of [rules.late_job] in viplake.toml is 1440.5"),
        ({"volume_job": {"min_mb": 5, "max_mb": 5}}, "max_mb of [rules.volume_job] in viplake.toml is 5"),
        ({"late_job": {"severity": "pager"}}, "severity of [rules.late_job] in viplake.toml is 'pager'"),
    ],
)
def test_the_value_that_cannot_be_is_named(value: Any, said: str) -> None:
    with pytest.raises(SettingsError) as refused:
        RuleSettings.parse(value)
    assert refused.value.message == said


def test_a_limit_in_minutes_is_one_of_a_day() -> None:
    assert _minutes("late", 60) == Limit("late", 60, 1, 1440, "a number of minutes")


def test_a_value_at_its_end_can_be() -> None:
    ends = {"look_back_hours": 1, "late_job": {"minutes": 1}, "never_started": {"minutes": 1440}}
    told = RuleSettings.parse(ends | {"volume_job": {"min_mb": 5, "max_mb": 5.5}})
    assert told.look_back == timedelta(hours=1)
    assert told.configs["never_started"].limits == {"minutes": 1440}
    assert RuleSettings.parse({"look_back_hours": 2160}).look_back == timedelta(days=90)


@pytest.mark.parametrize(
    ("value", "hint"),
    [
        ({"look_back_hours": 0}, "It is a number of hours, from 1 to 2160."),
        ({"late_job": {"minutes": 0}}, "It is a number of minutes, from 1 to 1440."),
        ({"volume_job": {"min_mb": 5, "max_mb": 4}}, "It is more than min_mb, from 6 to 1e+09."),
    ],
)
def test_the_hint_of_a_wrong_value_names_the_allowed_ones(value: Any, hint: str) -> None:
    with pytest.raises(SettingsError) as refused:
        RuleSettings.parse(value)
    assert refused.value.hint == hint


def test_a_content_rule_reports_its_verdict() -> None:
    content = CheckedContent(HOUR, None)
    verdicts: list[list[Odd] | str] = []

    def judged(known: Record | None = None, looked: CheckedContent | None = content) -> list[RuleResult]:
        def verdict(inside_: CheckedContent, limits: Mapping[str, float]) -> list[Odd] | str:
            assert (inside_, limits) == (content, {"points": 7})
            return verdicts[-1]

        given = case(known or record(), checked_content=looked)
        return list(
            by_verdict(verdict)(given, RuleConfig(limits={"points": 7}), Results("null_ratio", given, "ticket"))
        )

    assert of("null_ratio", case(WAITING)) == [NoData("null_ratio", HOUR, "the run is in progress", "unsettled")]
    unlooked = case(record(), checked_content=None)
    assert of("null_ratio", unlooked) == [NoData("null_ratio", HOUR, NOT_LOOKED)]
    verdicts.append("too few Hours")
    assert judged() == [NoData("null_ratio", HOUR, "too few Hours")]
    verdicts.append([])
    assert judged() == [RulePassed("null_ratio", HOUR)]
    verdicts.append([Odd("Voyage", "half of it is empty"), Odd(None, "so is the rest")])
    assert judged() == [
        Breach("null_ratio", HOUR, "Voyage", "ticket", "as_sent", "vendor", "half of it is empty"),
        Breach("null_ratio", HOUR, None, "ticket", "as_sent", "vendor", "so is the rest"),
    ]


def test_amounts_of_bytes_and_of_records_are_judged_by_keys_of_their_own() -> None:
    told = RuleSettings.parse({"row_count": {"threshold": 9, "twice": 8}}).configs
    assert (told["row_count"].anomaly.threshold, told["volume_table"].anomaly.threshold) == (
        9, AnomalySettings().threshold
    )  # fmt: skip
    assert told["row_count"].anomaly.grain == GRAIN_OF_COUNTS
    assert told["volume_table"].anomaly.grain == AnomalySettings().grain
    assert told["late_job"].anomaly == AnomalySettings()
    for rule in ("row_count", "late_job"):
        with pytest.raises(SettingsError, match="unknown key"):
            RuleSettings.parse({rule: {"grain_bytes": 9}})
