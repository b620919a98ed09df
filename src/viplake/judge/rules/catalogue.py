"""PURE. The table of rules: everything about a rule is in its row. To add one, write its function and its row.

`viplake.toml` may change thresholds and severity, and turn a rule off. The order is that of gravity: of several rules
in one incident names it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

import msgspec

from viplake.judge.detector.usual import GRAIN_OF_COUNTS, AnomalySettings
from viplake.judge.rules import content, delivery, tables, volume
from viplake.judge.rules.rule import Limit, NoData, Results, Rule, RuleConfig, TableConfig, unmet
from viplake.model import Severity
from viplake.toml_tables import decode, limited, refuse

if TYPE_CHECKING:
    from collections.abc import Mapping

    from viplake.judge.rules.rule import Case, Need, NoDataKind, RuleResult


def _minutes(key: str, default: float) -> Limit:
    return Limit(key, default, 1, 1440, "a number of minutes")


_WAIT: Final = Limit("hours", 3, 1, 720, "a number of Hours")
"""From so many Hours on there is a notification."""

_SETTLED: Final[tuple[Need, ...]] = ("record", "begun", "settled")
_EXPORT: Final[tuple[Need, ...]] = ("record", "export", "settled")
_SCHEMA: Final[tuple[Need, ...]] = (*_EXPORT, "files", "schema")
_CONTENT: Final[tuple[Need, ...]] = (*_EXPORT, "content")

_RESTORED: Final = "The records of these files are missing in the lake until the files are restored."
_RESTORE: Final = "Restore files from the bucket's versions or a backup; this command names them: {verify}."
_VERIFY: Final = "Files that were not restored are still missing. Check: {verify}."
_UNUSUAL: Final = "Whether records are missing or double is not known: only the data shows it."
_DELAY: Final = "A delay alone loses no records."
_TIMES: Final = "See how long init, replication (Veson prepares the files) and transfer take: viplake report."

RULES: Final[Mapping[str, Rule]] = MappingProxyType(
    {
        rule.name: rule
        for rule in (
            Rule(
                "missing_job",
                "an Hour delivered no export",
                delivery.missing_job,
                limits=(_WAIT,),
                waits=True,
                headline="no export",
                well="exports come again",
                advice="Check the schedule, then: viplake status.",
                needs=_SETTLED,
                group="outage",
                decides=True,
                outage=True,
                counted_down=True,
            ),
            Rule(
                "vendor_failure",
                "the vendor's export failed, or an answer broke the contract",
                delivery.vendor_failure,
                headline="Veson's export failed",
                well="Veson's exports work again",
                needs=_SETTLED,
                group="outage",
                outage=True,
            ),
            Rule(
                "incomplete_job",
                "promised files are not stored as promised",
                delivery.incomplete_job,
                well="exports are stored whole again",
                advice=_RESTORE,
                risk=_RESTORED,
                outcome=_VERIFY,
                needs=_EXPORT,
                group="outage",
                outage=True,
            ),
            Rule(
                "never_started",
                "no run claimed the Hour in time",
                delivery.never_started,
                limits=(_minutes("minutes", 15),),
                headline="no run was started",
                well="runs are started again",
                needs=("record",),
                group="outage",
                outage=True,
            ),
            Rule(
                "late_job",
                "the export is not delivered in time",
                delivery.late_job,
                limits=(_minutes("minutes", 60),),
                headline="exports came late",
                well="exports come in time again",
                advice=_TIMES,
                risk=_DELAY,
                needs=("record", "run"),
                group="outage",
            ),
            Rule(
                "lookback_change",
                "an export carries less record time than configured",
                content.lookback_change,
                limits=(Limit("percent", 25, 1, 100, "a number of percent"),),
                well="exports carry as much record time as is configured again",
                advice="Compare: viplake content --at {last}. {ask} whether this is to stay; "
                "if so, set look_back_hours of [rules].",
                risk="Nothing is lost by this as long as no two exports are further apart than they reach back.",
                needs=_CONTENT,
            ),
            Rule(
                "schema_missing",
                "an export has no schema that can be read, and exports before had one",
                tables.schema_missing,
                headline="no schema that can be read",
                well="exports have a schema again",
                advice="{ask} for the schema. The last one: viplake schema.",
                outcome="What came in these Hours is stored.",
                risk="The files of the tables are stored. Without a schema, missing tables may go unnoticed.",
                needs=_EXPORT,
            ),
            Rule(
                "missing_table",
                "an expected table has no file",
                tables.missing_table,
                limits=(_WAIT, Limit("share", 0.5, 0.01, 1, "a share of the expected tables")),
                waits=True,
                headline="no file of {tables}",
                well="exports have all of their tables again",
                advice="{evidence} If the table was retired, add it to VIPLAKE_OUT_OF_SCOPE.",
                needs=_EXPORT,
                group="missing_table",
                decides=True,
            ),
            Rule(
                "lookback_gap",
                "records are lost, or about to be",
                delivery.lookback_gap,
                "page",
                timed=True,
                well="each export carries all records since the one before again",
                needs=_SETTLED,
                excused=True,
                counted_down=True,
            ),
            Rule(
                "missing_partition",
                "a promised partition of a table is not stored",
                tables.missing_partition,
                well="all promised partitions of {tables} are stored again",
                advice=_RESTORE,
                risk=_RESTORED,
                outcome=_VERIFY,
                needs=(*_EXPORT, "manifest"),
                group="outage",
            ),
            Rule(
                "empty_file",
                "the files of a table hold nothing",
                tables.empty_file,
                well="the files of {tables} hold records again",
                advice="{ask} whether these files are to be empty. Earlier Hours: viplake report.",
                risk="Whether records are missing is not known: a table without changes may be empty.",
                needs=_SCHEMA,
            ),
            Rule(
                "nonconforming_content",
                "files of a table do not agree with the schema, or cannot be read",
                content.nonconforming_content,
                well="the files of {tables} agree with the schema again",
                advice="See all findings: viplake content --at {last}.",
                risk="The files are stored as they came; loading them may fail or give wrong values.",
                outcome="The files of these Hours stay as they came.",
                needs=_CONTENT,
            ),
            Rule(
                "schema_change",
                "tables, columns or types changed",
                tables.schema_change,
                advice="Adapt what reads the tables. All changes: viplake schema.",
                risk="Nothing is lost in the lake; what reads a removed or changed column may fail.",
                needs=_EXPORT,
                point=True,
                excused=True,
            ),
            Rule(
                "unexpected_table",
                "files belong to no table of the schema in scope",
                tables.unexpected_table,
                "info",
                well="no unexpected files come any more",
                advice="If they are expected from now on, change VIPLAKE_OUT_OF_SCOPE; then: viplake doctor.",
                risk="Nothing is lost: these files are stored, too.",
                outcome="Nothing lost.",
                needs=_SCHEMA,
            ),
            Rule(
                "volume_job",
                "an export is far too small or too large",
                volume.volume_job,
                limits=(
                    Limit("min_mb", 0, 0, 1e9, "a number of megabytes"),
                    Limit("max_mb", 0, 0, 1e9, "a number of megabytes, 0 for none"),
                ),
                well="the size of {tables} is as usual again, or has become the usual one,",
                advice="See which tables it is: viplake report.",
                risk=_UNUSUAL,
                needs=_EXPORT,
                group="volume",
                counts="bytes",
            ),
            Rule(
                "volume_table",
                "a table is far too small or too large",
                volume.volume_table,
                limits=(_WAIT,),
                waits=True,
                well="the size of {tables} is as usual again, or has become the usual one,",
                advice="Look at its volumes: viplake report. {ask} why, unless your business explains it.",
                risk=_UNUSUAL,
                needs=_EXPORT,
                group="volume",
                counts="bytes",
            ),
            Rule(
                "row_count",
                "a table has far too few or too many records",
                content.row_count,
                limits=(_WAIT,),
                waits=True,
                well="the number of records of {tables} is as usual again, or has become the usual one,",
                advice="Look at the data: viplake content --at {last}.",
                risk=_UNUSUAL,
                needs=_CONTENT,
                group="volume",
                counts="records",
            ),
            Rule(
                "null_ratio",
                "a column is empty in far more records than is usual",
                content.null_ratio,
                limits=(Limit("points", 30, 1, 100, "a number of percentage points"),),
                well="the columns of {tables} are filled as usual again",
                advice="Look at the data: viplake content --at {last}.",
                risk="The records came, but without these values.",
                needs=_CONTENT,
            ),
            Rule(
                "stale_table",
                "the newest record of a table is as old as Hours before",
                content.stale_table,
                limits=(Limit("hours", 6, 1, 720, "a number of Hours"),),
                well="{tables} has new records again",
                timed=True,
                advice="See its newest record: viplake content --at {last}. {ask} whether the table is still updated.",
                risk="Newer records may be missing, or there are none.",
                needs=_CONTENT,
            ),
            Rule(
                "tables_behind",
                "the current tables lack Hours, or a table of them is held back",
                tables.tables_behind,
                limits=(Limit("hours", 3, 1, 720, "a number of Hours"),),
                headline="the current tables lack Hours",
                well="the current tables have every proven Hour again",
                advice="Update them: viplake tables. See what is held back, and why: viplake tables show.",
                risk="Nothing is lost: until they are updated, queries and loads of the current tables miss records.",
                needs=(*_EXPORT, "files", "merged"),
            ),
            Rule(
                "volume_drift",
                "a table has grown or shrunk slowly",
                volume.volume_drift,
                "info",
                limits=(Limit("percent", 18, 5, 900, "a number of percent"),),
                advice="Look at its volumes: viplake report. {ask} why, unless your business explains it.",
                risk=_UNUSUAL,
                needs=_EXPORT,
                point=True,
            ),
            Rule(
                "slow_phase",
                "a phase of the run took far too long",
                delivery.slow_phase,
                "info",
                # Half as long again as the upper end of what is typical: < 2, 15 to 25 and 2 to 3 minutes.
                limits=(
                    _minutes("init_minutes", 3),
                    _minutes("replication_minutes", 40),
                    _minutes("transfer_minutes", 10),
                ),
                well="the phases of the run take as long as usual again",
                advice=_TIMES,
                risk=_DELAY,
                outcome="Nothing lost.",
                needs=("record", "run"),
            ),
        )
    }
)
"""Every rule, the gravest first."""

ORDER: Final[Mapping[str, int]] = {name: place for place, name in enumerate(RULES)}


DECIDES: Final[Mapping[str, str]] = {rule.group: rule.name for rule in RULES.values() if rule.decides}
"""The rule whose pass ends the incidents of its group, by group."""


def group_of(rule: str) -> str:
    """Return the group that a rule belongs to."""
    known = RULES.get(rule)
    return known.group or rule if known is not None else rule


@dataclass(frozen=True, slots=True)
class RuleSettings:
    """The configuration in `[rules]` of `viplake.toml`.

    Attributes:
        look_back: what an export carries.
        end_after: good Hours in a row after which an incident is over.
        configs: by rule.
    """

    look_back: timedelta = timedelta(hours=24)
    end_after: int = 6
    configs: Mapping[str, RuleConfig] = field(default_factory=lambda: {name: _config_of(name, {}) for name in RULES})

    @classmethod
    def parse(cls, value: Any) -> RuleSettings:
        """Read `[rules]`.

        Raises:
            SettingsError: an unknown rule or key, with a suggestion, or a threshold out of range.
        """
        given: Any = decode("rules", value, _RULES)
        configs = {name: _config_of(name, getattr(given, name)) for name in RULES}
        return cls(timedelta(hours=given.look_back_hours), int(given.end_after), configs)

    def watches(self, rule: str, table: str | None) -> bool:
        """Return whether a rule is evaluated for a table."""
        config = self.configs.get(rule)
        own = config.tables.get(table) if config is not None and table is not None else None
        return config is not None and config.enabled and not (own is not None and own.ignore)


def _config_of(name: str, value: Any) -> RuleConfig:
    given: Any = decode(f"rules.{name}", value, _SHAPES[name])
    limits = {limit.key: getattr(given, limit.key) for limit in RULES[name].limits}
    least = limits.get("min_mb", 0)
    if limits.get("max_mb") and limits["max_mb"] <= least:
        hint = f"It is more than min_mb, from {least + 1:g} to {1e9:g}."
        raise refuse(f"max_mb of [rules.{name}]", f"is {value['max_mb']!r}", hint)
    tables = {table: TableConfig(key=True) for table in getattr(given, "key", ())}
    for table, one in getattr(given, "tables", {}).items():
        own = decode(f"rules.{name}.tables.{table}", one, _OfTable)
        tables[table] = TableConfig(own.ignore, own.severity, table in tables if own.key is None else own.key)
    return RuleConfig(given.enabled, given.severity, limits, _anomaly(name, given), tables)


def _anomaly(name: str, given: Any) -> AnomalySettings:
    """How far off is abnormal, for a rule that judges amounts."""
    counts = RULES[name].counts
    if counts is None:
        return AnomalySettings()
    twice = min(AnomalySettings().twice, given.threshold) if given.twice is None else given.twice
    if twice > given.threshold:
        hint = f"It is a number of scales, from 2 to {given.threshold:g}."
        raise refuse(f"twice of [rules.{name}]", f"is {twice:g}", hint)
    if given.quiet_weeks > given.weeks:
        hint = f"It is a number of weeks, from 2 to {given.weeks:g}."
        raise refuse(f"quiet_weeks of [rules.{name}]", f"is {given.quiet_weeks:g}", hint)
    grain = GRAIN_OF_COUNTS if counts == "records" else given.grain_bytes
    return AnomalySettings(given.threshold, twice, int(given.weeks), int(given.quiet_weeks), given.floor, grain)


class _OfTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the file says of one table."""

    ignore: bool = False
    severity: Severity | None = None
    key: bool | None = None


def _shape(name: str, *fields: tuple[str, Any, Any]) -> type[msgspec.Struct]:
    return msgspec.defstruct(name, fields, frozen=True, forbid_unknown_fields=True)


def _shape_of(rule: Rule) -> type[msgspec.Struct]:
    """The keys that the file may have for a rule."""
    own = AnomalySettings()
    amounts = (
        ("threshold", limited(3, 100, "a number of scales"), own.threshold),
        ("twice", limited(2, 100, "a number of scales") | None, None),
        ("weeks", limited(3, 26, "a number of weeks"), float(own.weeks)),
        ("quiet_weeks", limited(2, 26, "a number of weeks"), float(own.quiet_weeks)),
        ("floor", limited(0.001, 1, "a share"), own.floor),
    )
    grain = ("grain_bytes", limited(0, 1e9, "a number of bytes"), own.grain)
    return _shape(
        rule.name,
        ("enabled", bool, True),
        ("severity", Severity | None, None),
        *((limit.key, limited(limit.low, limit.high, limit.what), float(limit.default)) for limit in rule.limits),
        *(amounts if rule.counts else ()),
        *((grain,) if rule.counts == "bytes" else ()),
        *(_KEY_TABLES if rule.name == "missing_table" else ()),
    )


_KEY_TABLES: Final[tuple[tuple[str, Any, Any], ...]] = (("key", tuple[str, ...], ()), ("tables", dict[str, Any], {}))

_SHAPES: Final = {name: _shape_of(rule) for name, rule in RULES.items()}

_RULES: Final = _shape(
    "rules",
    ("look_back_hours", limited(1, 24 * 90, "a number of hours"), 24.0),
    ("end_after", limited(1, 168, "a number of good Hours"), 6.0),
    *((name, Any, msgspec.field(default_factory=dict)) for name in RULES),
)


@dataclass(slots=True)
class Judge:
    """Evaluates the rules, Hour after Hour.

    A first check evaluates every rule in every Hour of the past, most of them without data for one of a few reasons:
    which rules these are is found once for Hours that lack the same facts.
    """

    settings: RuleSettings
    _plans: dict[Any, tuple[list[tuple[str, str, NoDataKind]], list[str]]] = field(default_factory=dict)

    def results(self, case: Case) -> list[RuleResult]:
        """Return the results of all rules for an Hour. In a planned Hour only rules marked `excused` have breaches."""
        lacking = unmet(case)
        planned = None if case.planned is None else str(case.planned)
        key = (planned, *lacking.items())
        plan = self._plans.get(key)
        if plan is None:
            plan = self._plans[key] = self._plan(lacking, planned)
        hour, configs = case.hour, self.settings.configs
        # `tuple.__new__` halves the cost of the most frequent result.
        found: list[RuleResult] = [tuple.__new__(NoData, (name, hour, reason, kind)) for name, reason, kind in plan[0]]
        of_outage = case.severity if plan[1] else "ticket"
        for name in plan[1]:
            rule, config = RULES[name], configs[name]
            hollow = case.whole.hollow and "export" in rule.needs
            severity = config.severity or (of_outage if rule.outage or hollow else rule.severity)
            group = "outage" if hollow else rule.group or name
            waiting = DECIDES.get(group, name)
            after = int(configs[waiting].limits["hours"]) if RULES[waiting].waits else 1
            found += rule.judge(case, config, Results(name, case, severity, group, after))
        return found

    def _plan(
        self, lacking: Mapping[Need, tuple[str, NoDataKind]], planned: str | None
    ) -> tuple[list[tuple[str, str, NoDataKind]], list[str]]:
        """Return the rules without data, with reason and kind, and those to evaluate."""
        without: list[tuple[str, str, NoDataKind]] = []
        judged = []
        for name, rule in RULES.items():
            missing = next((lacking[need] for need in rule.needs if need in lacking), None)
            if not self.settings.configs[name].enabled:
                without.append((name, "the rule is turned off in viplake.toml", "excused"))
            elif planned is not None and not rule.excused:
                without.append((name, f"planned: {planned}", "excused"))
            elif missing is not None:
                without.append((name, *missing))
            else:
                judged.append(name)
        return without, judged
