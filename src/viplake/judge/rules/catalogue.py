"""PURE. The table of rules: everything about a rule is in its row. To add one, write its function and its row.

`viplake.toml` may change thresholds and severity, and turn a rule off. The order is that of gravity: of several rules
in one incident the first one names it.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import timedelta
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from viplake.judge.anomaly import GRAIN_OF_COUNTS, KEYS, KEYS_OF_COUNTS, AnomalySettings
from viplake.judge.rules import content, delivery, tables, volume
from viplake.judge.rules.rule import Limit, NoData, Results, Rule, RuleConfig, unmet
from viplake.model import SEVERITIES
from viplake.toml_tables import Table

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from viplake.judge.rules.rule import Case, Need, RuleResult


def _minutes(key: str, default: float) -> Limit:
    return Limit(key, default, 1, 1440, "a number of minutes")


_SETTLED: Final[tuple[Need, ...]] = ("record", "settled")
_EXPORT: Final[tuple[Need, ...]] = ("record", "export", "settled")
_SCHEMA: Final[tuple[Need, ...]] = (*_EXPORT, "files", "schema")
_CONTENT: Final[tuple[Need, ...]] = (*_EXPORT, "content")

RULES: Final[Mapping[str, Rule]] = MappingProxyType(
    {
        rule.name: rule
        for rule in (
            Rule(
                "missing_job",
                "an Hour delivered no export",
                delivery.missing_job,
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
                needs=("record",),
                group="outage",
                outage=True,
            ),
            Rule(
                "incomplete_job",
                "promised files are not stored as promised",
                delivery.incomplete_job,
                needs=_EXPORT,
                group="outage",
                outage=True,
            ),
            Rule(
                "never_started",
                "no run claimed the Hour in time",
                delivery.never_started,
                limits=(_minutes("minutes", 15),),
                needs=("record",),
                group="outage",
                outage=True,
            ),
            Rule(
                "late_job",
                "the export is not delivered in time",
                delivery.late_job,
                limits=(_minutes("minutes", 60),),
                needs=("record", "run"),
                group="outage",
            ),
            Rule(
                "lookback_gap",
                "records are lost, or about to be",
                delivery.lookback_gap,
                "page",
                needs=("record",),
                counted_down=True,
            ),
            Rule(
                "lookback_change",
                "an export carries less record time than configured",
                content.lookback_change,
                limits=(Limit("percent", 25, 1, 100, "a number of percent"),),
                needs=_CONTENT,
            ),
            Rule(
                "missing_table",
                "an expected table has no file",
                tables.missing_table,
                needs=_EXPORT,
                counted_down=True,
            ),
            Rule(
                "missing_partition",
                "a promised partition of a table is not stored",
                tables.missing_partition,
                needs=(*_EXPORT, "manifest"),
            ),
            Rule("empty_file", "the files of a table hold nothing", tables.empty_file, needs=_SCHEMA),
            Rule(
                "nonconforming_content",
                "files of a table do not agree with the schema, or cannot be read",
                content.nonconforming_content,
                needs=_CONTENT,
            ),
            Rule(
                "schema_change", "tables, columns or types changed", tables.schema_change, needs=_EXPORT, excused=True
            ),
            Rule(
                "unexpected_table",
                "files came that no table of the schema in scope explains",
                tables.unexpected_table,
                "info",
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
                needs=_EXPORT,
                group="volume",
                counts="bytes",
            ),
            Rule(
                "volume_table",
                "a table is far too small or too large",
                volume.volume_table,
                needs=_EXPORT,
                group="volume",
                counts="bytes",
            ),
            Rule(
                "row_count",
                "a table has far too few or too many records",
                content.row_count,
                needs=_CONTENT,
                counts="records",
            ),
            Rule(
                "null_ratio",
                "a column is empty in far more records than is usual",
                content.null_ratio,
                limits=(Limit("points", 30, 1, 100, "a number of percentage points"),),
                needs=_CONTENT,
            ),
            Rule(
                "stale_table",
                "the newest record of a table is as old as Hours before",
                content.stale_table,
                limits=(Limit("hours", 6, 1, 720, "a number of Hours"),),
                needs=_CONTENT,
            ),
            Rule(
                "slow_phase",
                "a phase of the run took far too long",
                delivery.slow_phase,
                "info",
                # Half as long again as the upper end of what is typical: < 2, 15 to 25 and 2 to 3 minutes.
                (_minutes("init_minutes", 3), _minutes("replication_minutes", 40), _minutes("transfer_minutes", 10)),
                needs=("record", "run"),
            ),
        )
    }
)
"""Every rule, the gravest first."""

ORDER: Final[Mapping[str, int]] = {name: place for place, name in enumerate(RULES)}


def group_of(rule: str) -> str:
    """The trouble that a rule belongs to."""
    known = RULES.get(rule)
    return known.group or rule if known is not None else rule


@dataclass(frozen=True, slots=True)
class RuleSettings:
    """What `[rules]` of `viplake.toml` says.

    Attributes:
        look_back: what an export carries.
        configs: by rule.
    """

    look_back: timedelta = timedelta(hours=24)
    configs: Mapping[str, RuleConfig] = field(default_factory=lambda: {name: _config_of(name, {}) for name in RULES})

    @classmethod
    def parse(cls, value: Any) -> RuleSettings:
        """Read `[rules]`.

        Raises:
            SettingsError: an unknown rule or key, with a suggestion, or a threshold that cannot be.
        """
        table = Table.of("rules", value)
        table.only(("look_back_hours", *RULES))
        hours = table.number("look_back_hours", 24, low=1, high=24 * 90, what="a number of hours")
        return cls(timedelta(hours=hours), {name: _config_of(name, table.values.get(name, {})) for name in RULES})


def _config_of(name: str, value: Any) -> RuleConfig:
    rule = RULES[name]
    table = Table.of(f"rules.{name}", value)
    more = {"bytes": KEYS, "records": KEYS_OF_COUNTS, None: ()}[rule.counts]
    table.only(("enabled", "severity", *(limit.key for limit in rule.limits), *more))
    limits = {
        limit.key: table.number(limit.key, limit.default, low=limit.low, high=limit.high, what=limit.what)
        for limit in rule.limits
    }
    if limits.get("max_mb") and limits["max_mb"] <= limits["min_mb"]:
        table.number("max_mb", 0, low=limits["min_mb"] + 1, high=1e9, what="more than min_mb")
    given = table.word("severity", rule.severity, SEVERITIES) if "severity" in table.values else None
    severity = next((known for known in SEVERITIES if known == given), None)
    judged = AnomalySettings.parse(table) if rule.counts else AnomalySettings()
    if rule.counts == "records":
        judged = replace(judged, grain=GRAIN_OF_COUNTS)
    return RuleConfig(table.flag("enabled", default=True), severity, limits, judged)


def judge(case: Case, settings: RuleSettings) -> Iterable[RuleResult]:
    """The results of all rules for an Hour. A planned Hour has no breaches, but of rules that are `excused`."""
    lacking = unmet(case)
    for name, rule in RULES.items():
        config = settings.configs[name]
        missing = next((lacking[need] for need in rule.needs if need in lacking), None)
        if not config.enabled:
            yield NoData(name, case.hour, "the rule is turned off in viplake.toml", "excused")
        elif case.planned is not None and not rule.excused:
            yield NoData(name, case.hour, f"planned: {case.planned}", "excused")
        elif missing is not None:
            yield NoData(name, case.hour, *missing)
        else:
            severity = config.severity or (case.severity if rule.outage else rule.severity)
            yield from rule.judge(case, config, Results(name, case, severity))
