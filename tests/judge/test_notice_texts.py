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
from viplake.judge.incidents import FoldSettings, Incident, fold
from viplake.judge.notices import notice_words
from viplake.judge.rules.catalogue import DECIDES, RULES, group_of
from viplake.judge.rules.rule import Breach, RulePassed

if TYPE_CHECKING:
    from viplake.judge.incidents import NotificationKind

GOLDEN = Path(__file__).parents[1] / "golden" / "notices.txt"
KINDS: tuple[NotificationKind, ...] = ("opened", "escalated", "changed", "reopened", "reminder", "resolved")


def incident(breach: Breach, hours: int, good: int = 0) -> Incident:
    """An incident of so many Hours, of which so many good ones came after."""
    breaches = [replace(breach, hour=HOUR.shift(n)) for n in range(hours)]
    decides = DECIDES.get(breach.group or group_of(breach.rule), breach.rule)
    passed = [RulePassed(decides, HOUR.shift(hours + n)) for n in range(good)]
    last = HOUR.shift(hours + good - 1)
    [one] = fold({}, [*breaches, *passed], list(HOUR.to(last)), last.end, FoldSettings()).values()
    return one


def text_of(breach: Breach, kind: NotificationKind) -> str:
    hours = 1 if kind == "opened" else 3
    one = incident(breach, hours, good=6 if kind == "resolved" else 0)
    if kind == "changed":
        one = replace(one, causes=(("network", "network", HOUR), (one.cause, one.owner, HOUR.shift(2))))
    return notice_words("Prod", one, kind, HOUR.shift(hours - 1).start + timedelta(minutes=50))


def texts() -> str:
    """All of them, by rule and cause."""
    lines: list[str] = []
    seen = set()
    for rule, case, *_ in BREACHES:
        breach = next(found for found in of(rule, case) if isinstance(found, Breach))
        if (rule, breach.cause, breach.loss) in seen:
            continue
        seen.add((rule, breach.cause, breach.loss))
        lines += ["", f"{rule}, {breach.cause}{f', {breach.loss}' if breach.loss else ''}"]
        lines += [
            f"  {kind}: {text_of(breach, kind)}" for kind in KINDS if not (RULES[rule].point and kind != "opened")
        ]
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
            assert kind == "resolved" or "Responsible: " in text, line
