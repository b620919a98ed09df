"""Golden texts: each rule in each kind of notification, as a person reads it. `notices.txt` holds them to the letter.

After a wanted change: `VIPLAKE_GOLDEN=write pytest tests/judge/test_notice_texts.py`, then read the difference.
"""

from __future__ import annotations

import os
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from judge.test_rules import BREACHES, HOUR, of
from viplake.judge.coverage import gaps
from viplake.judge.incidents import FoldSettings, Incident, fold
from viplake.judge.notices import notice_words
from viplake.judge.rules.catalogue import DECIDES, RULES, group_of
from viplake.judge.rules.rule import Breach, RulePassed

if TYPE_CHECKING:
    from viplake.content.profiling import HourContent
    from viplake.judge.incidents import NotificationKind
    from viplake.judge.rules.rule import Case

GOLDEN = Path(__file__).parents[1] / "golden" / "notices.txt"
KINDS: tuple[NotificationKind, ...] = ("opened", "escalated", "changed", "reopened", "reminder", "resolved")


def later(content: HourContent, number: int) -> HourContent:
    """The content of so many Hours later: its records begin later, too."""
    tables = [
        replace(table, oldest=table.oldest and table.oldest + timedelta(hours=number)) for table in content.tables
    ]
    return replace(content, hour=content.hour.shift(number), tables=tuple(tables))


def at(given: Case, number: int) -> Case:
    """The case so many Hours later, where it goes on; without an export, nothing has come since the Hour before it."""
    hour, known, content = given.hour.shift(number), given.record, given.checked_content
    facts = None if known is None or known.facts is None else replace(known.facts, hour=hour)
    came = known is None or known.outcome in {"delivered", "waiting"}
    lacking = {name: [HOUR.shift(n) for n in range(number + 1)] for name in (known and known.missing) or ()}
    around = gaps({HOUR.shift(n): came or n < 0 for n in range(-1, number + 1)}, lacking)
    if content is not None and content.content is not None:
        content = replace(
            content,
            hour=hour,
            content=later(content.content, number),
            before=[later(before, number) for before in content.before],
            stuck={name: (still + number, longest) for name, (still, longest) in (content.stuck or {}).items()},
        )
    return replace(
        given,
        hour=hour,
        now=given.now + timedelta(hours=number),
        record=None if known is None else replace(known, hour=hour, facts=facts),
        gaps=given.gaps or around,
        checked_content=content,
    )


def incident(rule: str, given: Case, hours: int, good: int, *, grave: bool) -> Incident:
    """An incident of so many Hours, of which so many good ones came after; `grave`: few hours are left."""
    breaches = []
    for n in range(hours):
        breaches += [found for found in of(rule, at(given, n)) if isinstance(found, Breach)]
    if grave:
        breaches = [breach._replace(severity="page") for breach in breaches]
    decides = DECIDES.get(breaches[0].group or group_of(rule), rule)
    passed = [RulePassed(decides, HOUR.shift(hours + n)) for n in range(good)]
    last = HOUR.shift(hours + good - 1)
    [one] = fold({}, [*breaches, *passed], list(HOUR.to(last)), last.end, FoldSettings()).values()
    return one


def text_of(rule: str, given: Case, kind: NotificationKind) -> str:
    hours = 1 if kind == "opened" else 3
    one = incident(rule, given, hours, 6 if kind == "resolved" else 0, grave=kind == "escalated")
    if kind == "changed":
        one = replace(one, causes=(("network", "network", HOUR), (one.cause, one.owner, HOUR.shift(2))))
    return notice_words("Prod", one, kind, HOUR.shift(hours - 1).start + timedelta(minutes=50))


def kinds_of(rule: str) -> list[NotificationKind]:
    """The kinds that a rule's incidents have: only an outage becomes a page, and a point in time has no end."""
    if RULES[rule].point:
        return ["opened"]
    return [kind for kind in KINDS if kind != "escalated" or RULES[rule].outage or RULES[rule].severity == "page"]


def texts() -> str:
    """All of them, by rule and cause."""
    lines: list[str] = []
    seen = set()
    for rule, given, *_ in BREACHES:
        breach = next(found for found in of(rule, given) if isinstance(found, Breach))
        if (rule, breach.cause, breach.loss) in seen:
            continue
        seen.add((rule, breach.cause, breach.loss))
        lines += ["", f"{rule}, {breach.cause}{f', {breach.loss}' if breach.loss else ''}"]
        lines += [f"  {kind}: {text_of(rule, given, kind)}" for kind in kinds_of(rule)]
    return "\n".join(lines[1:]) + "\n"


def test_notifications_of_every_rule_match_the_golden_file() -> None:
    found = texts()
    if os.environ.get("VIPLAKE_GOLDEN") == "write":
        GOLDEN.write_text(found, encoding="utf-8")
    assert found == GOLDEN.read_text(encoding="utf-8")
    assert {line.partition(",")[0] for line in found.splitlines() if line and not line.startswith(" ")} == set(RULES)


def test_every_notification_but_an_end_names_a_command_and_no_sentence_is_empty() -> None:
    for line in texts().splitlines():
        kind, _, text = line.strip().partition(": ")
        if kind in KINDS:
            assert "  " not in text
            assert ".." not in text
            assert kind == "resolved" or "viplake " in text, line
            assert kind == "resolved" or "Responsible" in text, line
