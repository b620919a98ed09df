"""PURE. The rules of tables: missing, empty and unexpected tables, and schema changes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from viplake.judge.rules.rule import CHANGED, MergedHours, TableConfig
from viplake.wording import count_words

if TYPE_CHECKING:
    from collections.abc import Iterator

    from viplake.history.facts import HourFacts
    from viplake.judge.rules.rule import Case, Results, RuleConfig, RuleResult

EMPTY_GZIP: Final = 20
"""Bytes of an empty gzip file: header 10, an empty block 2, trailer 8 (RFC 1952, RFC 1951)."""


def schema_missing(case: Case, _: RuleConfig, results: Results) -> Iterator[RuleResult]:
    """Evaluate `schema_missing`: the export has a readable schema, as earlier exports had."""
    record, whole = case.known, case.whole
    if record.expected is not None:
        yield results.passed()
    elif not whole.schema_lost:
        yield results.no_data("no export before has a schema that can be read")
    else:
        schema = record.facts.schema if record.facts else None
        why = "has no schema" if schema is None else f"has a schema that cannot be read ({schema.problem})"
        what = f"the export of {case.hour} {why}; the last one is that of {whole.schema_from}"
        yield results.breach(what, case.sender, urgent=not whole.hollow)


def missing_table(case: Case, config: RuleConfig, results: Results) -> Iterator[RuleResult]:
    """Evaluate `missing_table`: every table of the Hour's schema, or else of the last known one, has a file."""
    record, missing = case.known, case.whole.missing if case.known.missing is None else case.known.missing
    if missing is None:
        schema = record.facts.schema if record.facts else None
        if schema is not None:
            yield results.no_data(f"its schema cannot be read: {schema.problem}", "unreadable")
        else:
            yield results.no_data("it has no schema")
        return
    by = "" if record.missing is not None else f" (by the schema of {case.whole.schema_from})"
    lacking = [table for table in missing if not (table in config.tables and config.tables[table].ignore)]
    for table in lacking:
        own = config.tables.get(table, TableConfig())
        severity = own.severity or ("page" if own.key else None)
        what = f"{table} has no file in {case.hour}{by}"
        more: dict[str, Any] = {"urgent": True} if own.key else {}
        if not case.whole.hollow:  # else it is an outage, which has a time of its own
            more["until"] = case.until(table)
            more["unsure"] = case.is_unsure(table)
        cause = _why_missing(case, table)
        if cause == CHANGED:
            more["group"] = "outage"  # that of its other files that are not stored
        more["presumed"] = case.known.facts is None
        yield results.breach(what, cause, table=table, severity=severity, **more)
    if not lacking:
        yield results.passed()


def _why_missing(case: Case, table: str) -> tuple[str, str]:
    """Return the cause: the manifest lacks it, or the run did not store it."""
    facts = case.known.facts
    promise = facts.promise if facts else None
    if promise is not None and facts is not None and facts.run is not None:
        promised = any(known.table == table for known in promise.tables)
        return case.not_stored if promised else ("not_promised", "vendor")
    return ("not_promised", "vendor") if case.sender[0] == "as_sent" else case.attribution


def missing_partition(case: Case, _: RuleConfig, results: Results) -> Iterator[RuleResult]:
    """Evaluate `missing_partition`: every partition of a table in the manifest is stored."""
    promise = case.files.promise
    lacking = [known for known in promise.tables if known.stored < known.promised] if promise else []
    for known in lacking:
        what = f"{known.table}: {known.stored} of {known.promised} promised partitions are stored in {case.hour}"
        yield results.breach(what, case.not_stored, table=known.table)
    if not lacking:
        yield results.passed()


def unexpected_table(case: Case, _: RuleConfig, results: Results) -> Iterator[RuleResult]:
    """Evaluate `unexpected_table`: every file belongs to a table of the schema in scope."""
    facts: HourFacts = case.files
    odd = [known for known in facts.tables if known.table not in (facts.expected or ())]
    for known in odd:
        what = f"{known.table} is out of scope, but came with {count_words(known.partitions, 'file')} in {case.hour}"
        yield results.breach(what, case.sender, table=known.table)
    more = facts.unmatched - case.unmatched if case.unmatched is not None else 0
    if more > 0:
        what = (
            f"{facts.unmatched} files of {case.hour} belong to no table of the schema, {more} more than the Hour before"
        )
        yield results.breach(what, case.sender)
    if not odd and more <= 0:
        known_before = case.unmatched is not None
        yield results.passed() if known_before else results.no_data("there is no Hour before to compare with")


def schema_change(case: Case, _: RuleConfig, results: Results) -> Iterator[RuleResult]:
    """Evaluate `schema_change`: the schema is that of the delivered Hour before; removals are listed first."""
    if isinstance(case.changes, str):
        yield results.no_data(case.changes)
        return
    planned = case.planned is not None and case.planned.kind == "maintenance"
    by = f" (planned: {case.planned})" if planned else ""
    for change in sorted(case.changes, key=lambda change: "removed" not in change.what):
        what = f"{change.table}: {change.what} in {case.hour}{by}"
        yield results.breach(what, case.sender, table=change.table, severity="info" if planned else None)
    if not case.changes:
        yield results.passed()


def empty_file(case: Case, _: RuleConfig, results: Results) -> Iterator[RuleResult]:
    """Evaluate `empty_file`: the files of every table have content."""
    empty = [known for known in case.files.tables if known.size <= EMPTY_GZIP * known.partitions]
    for known in empty:
        files = count_words(known.partitions, "file")
        holds = "holds" if known.partitions == 1 else "hold"
        what = f"{known.table}: {files} of {case.hour} {holds} no records ({known.size} bytes in all)"
        yield results.breach(what, case.sender, table=known.table)
    if not empty:
        yield results.passed()


def tables_behind(case: Case, config: RuleConfig, results: Results) -> Iterator[RuleResult]:
    """Evaluate `tables_behind`: the current and history tables have the proven Hours up to this one."""
    merged, us = case.merged or MergedHours(), ("tables_behind", "us")
    if not case.files.has_receipt:
        yield results.no_data("the Hour has no receipt")
        return
    newest = max((hour for hour in merged.done if hour <= case.hour), default=None)
    lag = None if newest is None else case.hour.hours_since(newest)
    behind = lag is None or lag >= config.limits["hours"]
    if behind:
        what = "lack the Hours of the last days"
        if lag is not None:
            what = f"are {count_words(lag, 'Hour')} behind; the newest Hour that they have is {newest}"
        yield results.breach(f"the current tables {what}", us)
    held = {table: one for table, one in merged.held.items() if one[0] <= case.hour}
    for table, (hour, why) in sorted(held.items()):
        yield results.breach(f"the current table of {table} lacks {hour}: {why}", us, table=table)
    if not behind and not held:
        yield results.passed()
