"""I/O. What a person sees: outcomes, tables and the simulator's greeting. Data goes to stdout, the rest to stderr."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from viplake.errors import CAUSES
from viplake.redact import redact
from viplake.wording import count_words, seconds_words, size_words

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from viplake.commands.examination import Examination
    from viplake.content.profiling import HourContent
    from viplake.extract.outcome import Outcome
    from viplake.history.build import Observed
    from viplake.history.daily import Daily
    from viplake.judge.check import Checked
    from viplake.lake.consolidate import Consolidated, CopiedHour
    from viplake.lake.proof import Verified
    from viplake.lake.prune import Pruned
    from viplake.model import Hour
    from viplake.query.answer import Answer
    from viplake.simulator.server import Simulator

_STYLES = {"delivered": "green", "failed": "bold red", "waiting": "yellow", "none": "dim"}
_SHOWN_FINDINGS = 20


def print_outcome(outcome: Outcome, *, data: bool) -> None:
    """Say what a run came to: on stdout where it is the data, and on stderr what to do about a failure."""
    one_screen = sys.stdout.isatty() and sys.stderr.isatty()
    if data:
        for one in (*outcome.also, outcome):
            if not (one_screen and one.outcome == "failed"):  # the lines below say the same, and more
                _out(summary(one))
    for one in (*outcome.also, outcome):
        if one.outcome == "failed" and one.cause is not None:
            cause = CAUSES[one.cause]
            _err(f"viplake: {one.hour} failed: {one.detail or cause.meaning}")
            _err(f"  cause  {cause.word} ({cause.owner or 'nobody'}): {cause.meaning}")
            _err(f"  next   {(one.hint or cause.remedy).replace('HOUR', str(one.hour))}")


def summary(outcome: Outcome) -> str:
    """One line about an Hour."""
    parts = [f"{outcome.hour}  {outcome.outcome}"]
    if outcome.outcome == "delivered":
        parts.append(
            ", ".join([count_words(outcome.files, "file"), size_words(outcome.bytes)] + ["late"] * outcome.late)
        )
        spans = [
            f"{phase} {seconds_words(seconds)}" for phase, seconds in outcome.seconds.items() if seconds is not None
        ]
        parts.append(", ".join(spans))
        parts.append(outcome.folder)
    elif outcome.cause not in {None, "waiting"}:
        parts.append(f"{outcome.cause}" + (f" ({outcome.owner})" if outcome.owner else ""))
    if outcome.outcome == "waiting" and outcome.job_guid:
        parts.append(f"for the vendor's export {outcome.job_guid}")
    elif outcome.outcome == "waiting" and outcome.until:
        parts.append(f"until {outcome.until:%H:%M:%S} UTC")
    if outcome.missing_tables:
        parts.append(f"without {len(outcome.missing_tables)} tables: {', '.join(outcome.missing_tables)}")
    return "  ".join(parts)


def print_status(outcomes: Sequence[Outcome], *, color: bool = True) -> None:
    """A table of Hours, newest first."""
    rows = [
        (
            str(one.hour),
            f"[{_STYLES[one.outcome]}]{one.outcome}[/]" + (" late" if one.late else ""),
            _why(one),
            f"{one.files:,}" if one.files else "",
            size_words(one.bytes) if one.bytes else "",
            *(seconds_words(one.seconds.get(phase)) for phase in ("init", "replication", "transfer")),
            "" if not one.missing_tables else str(len(one.missing_tables)),
        )
        for one in outcomes
    ]
    headings = ("Hour (UTC)", "outcome", "cause", "files", "size", "init", "replication", "transfer", "tables missing")
    _table(headings, rows, right=(3, 4, 5, 6, 7, 8), color=color)


def _why(outcome: Outcome) -> str:
    """The cause and its owner, where there is something to say."""
    if outcome.outcome == "none":
        return outcome.detail or ""
    if outcome.cause in {None, "waiting"}:
        return ""
    return f"{outcome.cause}" + (f" ({outcome.owner})" if outcome.owner else "")


def print_verified(verified: Iterable[Verified]) -> None:
    """One line an Hour, and its findings."""
    for one in verified:
        verdict = one.verdict
        words = {True: "yes", False: "NO", None: "unknown"}
        _out(f"{one.hour}  complete: {words[verdict.complete]}  valid: {words[verdict.valid]}")
        for finding in verdict.findings[:_SHOWN_FINDINGS]:
            _out(f"  {finding.kind}  {printable(finding.file or '')}  {printable(finding.detail)}".rstrip())
        if len(verdict.findings) > _SHOWN_FINDINGS:
            _out(f"  and {len(verdict.findings) - _SHOWN_FINDINGS} findings more (see --json)")


def print_observed(observed: Observed) -> None:
    """What a pass did."""
    if observed.first is None:
        _out("nothing to observe: there is no hourly folder yet")
        return
    asked = sum(observed.requests.values())
    added, repaired = count_words(len(observed.added), "Hour"), count_words(len(observed.healed), "row")
    _out(f"{observed.first} to {observed.last}  {added} added, {repaired} healed,")
    _out(f"  {count_words(observed.unchanged, 'Hour')} unchanged, {count_words(asked, 'request')}")
    for healed in observed.healed[:_SHOWN_FINDINGS]:
        changed = [f"{name} {healed.old[name]} -> {new}" for name, new in healed.new.items() if healed.old[name] != new]
        _out(f"  {healed.hour}  {healed.dataset}: {', '.join(changed)}")
    for warning in observed.warnings:
        _err(f"viplake: {warning}")


def print_checked(checked: Checked) -> None:
    """What a check found: open incidents first, then objectives, then what could not be judged."""
    if checked.reason:
        _out(f"nothing could be judged: {checked.reason}")
        return
    _out(f"{checked.environment}, {checked.hours} Hours up to {checked.at}: {len(checked.open)} incidents are open")
    for one in sorted(checked.incidents, key=lambda incident: not incident.open):
        _out(f"  {one.state(checked.now):8}  {one.severity:6}  {one.rule}  {one.cause} ({one.owner})  {one.summary}")
    for state in checked.objectives:
        if state.sli is None:
            _out(f"  objective {state.objective.name}: no data, {state.reason}")
            continue
        word = "met" if state.met else "MISSED"
        budget = f"{state.left:.1f} of {state.budget:.1f} Hours of the error budget are left"
        owners = ", ".join(f"{owner} {hours}" for owner, hours in state.spent)
        spent = f" (spent by {owners})" if owners else ""
        share = f"{state.sli:.2%} of {state.objective.target:.2%}"
        _out(f"  objective {state.objective.name}: {share}, {word}; {budget}{spent}")
    for rule, why in checked.no_data.items():
        reason, hours = max(why.items(), key=lambda item: item[1])
        _out(f"  no data for {rule} in {sum(why.values())} Hours, mostly: {reason} ({hours})")
    for channel, failure in checked.told.items():
        if failure is not None:
            _err(f"viplake: {channel} was not told: {failure}")


def print_lines(lines: Iterable[str]) -> None:
    """What is told in lines already."""
    for line in lines:
        _out(line)


def print_looked_into(hour: Hour) -> None:
    """An Hour that was looked into: progress, so on stderr."""
    _err(f"{hour}  looked into")


def print_content(found: Sequence[HourContent]) -> None:
    """A line a table, with what speaks against it; of many Hours only the tables that something does."""
    for content in found:
        counts = {word: sum(t.conformance == word for t in content.tables) for word in ("passed", "failed", "unknown")}
        words = ", ".join(f"{count} {word}" for word, count in counts.items() if count) or "no table has a file"
        carried = content.look_back_hours
        look_back = "" if carried is None else f"; it carries {carried:.1f} h of records"
        _out(f"{content.hour}  {len(content.tables)} tables: {words}{look_back}")
        if content.schema_problem:
            _out(f"  columns are unknown: {content.schema_problem}")
        for table in content.tables:
            if len(found) > 1 and not table.findings:
                continue
            rows = "unreadable" if table.rows is None else f"{table.rows:,} records"
            newest = "" if table.newest is None else f"  newest {table.newest:%Y-%m-%d %H:%M}"
            why = f"  ({table.unknown})" if table.unknown and not content.schema_problem else ""
            _out(f"  {table.table:32}{table.conformance:8}{rows:>16}  {table.files:>3} files{newest}{why}")
            for finding in table.findings[:_SHOWN_FINDINGS]:
                place = "" if finding.byte is None else f" (byte {finding.byte:,})"
                _out(f"    {finding.kind}  {finding.detail}{place}")


def print_daily(daily: Daily) -> None:
    """The daily views, one row a day."""
    tables = {row.day: row for row in daily.tables}
    sizes = {row.day: row for row in daily.sizes}
    rows = []
    for jobs in daily.jobs:
        table, volume = tables.get(jobs.day), sizes.get(jobs.day)
        ratio = None if table is None else table.completeness_ratio
        rows.append(
            (
                jobs.day,
                f"{jobs.delivered} of {jobs.expected}",
                "" if jobs.success_ratio is None else f"{jobs.success_ratio:.4f}",
                "" if table is None else f"{table.delivered:.2f} of {table.expected:.2f}",
                "" if ratio is None else f"{ratio:.4f}",
                "" if volume is None else f"{volume.files:,}",
                "" if volume is None else size_words(volume.size * 1000),
            )
        )
    _table(("day", "Hours", "ratio", "tables (mean)", "ratio", "files", "size"), rows, right=(2, 4, 5, 6))


SHOWN_ROWS: Final = 40
"""Rows of an answer that a person is shown."""

_SHOWN_LETTERS: Final = 200
_SHOWN_LINES: Final = 40
_NUMBERS: Final = ("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT", "DOUBLE", "FLOAT", "DECIMAL")


def print_answer(answer: Answer, *, color: bool = True) -> None:
    """The first rows of an answer, cut to be read; how many there are, and of which Hours, goes to stderr."""
    from rich.markup import escape  # noqa: PLC0415 - only tables need it

    headings = [escape(printable(column.name)) for column in answer.columns]
    rows = [[escape(_shown(cell)) for cell in row] for row in answer.rows(SHOWN_ROWS)]
    right = [place for place, column in enumerate(answer.columns) if column.type.removeprefix("U").startswith(_NUMBERS)]
    _table(headings, rows, right=right, color=color, width=None if sys.stdout.isatty() else _ON_A_PIPE)
    left = answer.count - len(rows)
    what = count_words(answer.count, "row")
    if answer.hours:
        first, last, many = answer.hours[0], answer.hours[-1], count_words(len(answer.hours), "Hour")
        what += f" of {first}" if first == last else f" of {many} from {first} to {last}"
    _err(f"{what}{f'; {left:,} more: --csv gives all' if left else ''}")


def _shown(cell: str | None) -> str:
    """A cell as a table has it: its lines, each cut; nothing that moves a cursor."""
    lines = (cell or "").split("\n")[:_SHOWN_LINES]
    return "\n".join(
        printable(line if len(line) <= _SHOWN_LETTERS else f"{line[:_SHOWN_LETTERS]}...") for line in lines
    )


def print_warning(text: str) -> None:
    """What was left out, and why: on stderr."""
    _err(f"viplake: {text}")


def print_copied(copied: CopiedHour) -> None:
    """An Hour that was copied, as it is done: progress, so on stderr."""
    _err(f"{copied.hour}  {count_words(copied.files, 'file')}, {size_words(copied.size)} from {copied.source}")


def print_consolidated(done: Consolidated) -> None:
    """What a consolidation did, what it left alone, and what the lake still lacks."""
    verb = "would be copied" if done.dry_run else "copied"
    hours, files = count_words(len(done.copied), "Hour"), count_words(done.files, "file")
    _out(f"{hours} {verb} ({files}, {size_words(done.size)}), {done.present} were there already")
    for remark in done.remarks[:_SHOWN_FINDINGS]:
        _out(f"  {remark.hour}  {remark.kind}: {remark.detail}")
    for hole in done.holes:
        _out(f"  still missing: {hole} ({count_words(len(list(hole.first.to(hole.last))), 'Hour')})")


def print_pruned(pruned: Pruned, *, dry_run: bool) -> None:
    """What went, or would go, and what stays though it is old."""
    for one in pruned.removed:
        _out(f"{one.hour}  {count_words(one.files, 'file')}, {size_words(one.size)}")
    for one, tables in pruned.kept:
        _out(f"{one.hour}  stays: the newest proof of {', '.join(sorted(tables))}")
    verb = "would be removed" if dry_run else "removed"
    _out(f"{count_words(len(pruned.removed), 'Hour')} {verb}, {size_words(sum(one.size for one in pruned.removed))}")


def print_examination(found: Examination) -> None:
    """The settings that somebody decided, then a line a check, with its fix where one is needed."""
    for setting in found.settings:
        if setting.origin != "default":
            _out(f"{setting.name:28}{setting.value}  ({setting.origin})")
    if found.settings:
        _out("all others                  as by default")
        _out("")
    for check in found.checks:
        _out(f"{check.status:8}  {check.name:17} {check.detail}")
        if check.cause is not None:
            _out(f"{'':27} cause  {check.cause} ({check.owner or 'nobody'})")
            _out(f"{'':27} next   {check.fix}")
    counts = {status: sum(check.status == status for check in found.checks) for status in ("failed", "warning")}
    _out("")
    verdict = ", ".join(f"{count} {status}" for status, count in counts.items() if count)
    _out(f"{verdict}: mend the first one first" if counts["failed"] else verdict or "all well: viplake run")


def print_next_steps(file: Path) -> None:
    """What to do after `viplake init`."""
    named = "" if file == Path("viplake.toml") else f" --config {file}"
    _out(
        f"Wrote {file}: a Test and a Prod profile, every setting with its meaning; Test is used unless told otherwise."
    )
    _out("")
    _out("Next:")
    for number, step in enumerate(
        (
            f"Set company and lake in {file}.",
            "Say where the secret is: export VIPLAKE_CLIENT_ID and VIPLAKE_CLIENT_SECRET, or set `secrets` there.",
            f"viplake doctor{named}      checks every leg, and says what to mend; it triggers nothing",
            f"viplake run{named}         this Hour, from trigger to proof",
        ),
        start=1,
    ):
        _out(f"  {number}. {step}")


def print_simulator(simulator: Simulator) -> None:
    """How to reach it: the lines to paste into a shell. The demo's secrets are no secrets."""
    settings = simulator.settings
    for name, value in (
        ("VIPLAKE_TOKEN_URL", simulator.token_url),
        ("VIPLAKE_EXPORT_URL", simulator.export_url),
        ("VIPLAKE_FILES_URL", simulator.files_url),
        ("VIPLAKE_COMPANY", settings.company),
        ("VIPLAKE_CLIENT_ID", settings.client_id),
        ("VIPLAKE_CLIENT_SECRET", settings.client_secret),
        ("VIPLAKE_ALLOW_INSECURE_HTTP", "true"),
    ):
        print(f"export {name}={value}")  # noqa: T201 - the data; these are the simulator's own
    print(f"# the simulated vendor listens at {simulator.base_url}; Ctrl-C ends it", flush=True)  # noqa: T201


def printable(text: str) -> str:
    """The text without anything that moves a terminal's cursor."""
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)


_ON_A_PIPE: Final = 100_000
"""Columns of a table that nobody's terminal folds."""


def _table(
    headings: Sequence[str],
    rows: Iterable[Sequence[str]],
    *,
    right: Sequence[int] = (),
    color: bool = True,
    width: int | None = None,
) -> None:
    from rich import box  # noqa: PLC0415 - only tables need it
    from rich.console import Console  # noqa: PLC0415 - as above
    from rich.table import Table  # noqa: PLC0415 - as above

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for number, heading in enumerate(headings):
        table.add_column(heading, justify="right" if number in right else "left", overflow="fold")
    for row in rows:
        table.add_row(*(redact(cell) for cell in row))
    console = Console(
        no_color=not color or None, highlight=False, width=width or (None if sys.stdout.isatty() else 160)
    )
    console.print(table)


def _out(line: str) -> None:
    print(redact(printable(line)))  # noqa: T201 - stdout carries the data


def _err(line: str) -> None:
    print(redact(printable(line)), file=sys.stderr)  # noqa: T201 - what to do about it
