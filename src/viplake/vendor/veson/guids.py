"""PURE. The job GUID in the answer to a trigger, in whatever wrapping it comes.

The answer to a trigger is precious: without the GUID an export is lost, and a second trigger may not be sent. So
everything that came back is looked at before the answer counts as lost.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from viplake import strictjson

if TYPE_CHECKING:
    from collections.abc import Iterator

    from viplake.vendor.wire import HttpAnswer

_GUID: Final = r"[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}"
GUID_IN_TEXT: Final = re.compile(rf"(?<![0-9A-Za-z-]){_GUID}(?![0-9A-Za-z-])")
_ALONE: Final = re.compile(rf"[\s\"'{{}}\[\]()]*({_GUID}|[0-9A-Fa-f]{{32}})[\s\"'{{}}\[\]()]*")
_NAMED: Final = re.compile(rf"(?i)job[_-]?guid[\"'\\\\]*\s*[:=>]\s*[\"'\\\\{{]*({_GUID})")
_OF_OTHERS: Final = re.compile(r"(?i)trace|request|correlat|activity|session|tenant|client|company|error|span|ray")
"""Names of GUIDs that are not the job's."""

_NAMES: Final = frozenset({"jobguid", "jobid"})
_PLAIN: Final = re.compile(r"[A-Za-z0-9-]{8,64}")
_LOOKED_AT: Final = 64 * 1024
_DEEPEST: Final = 8


def guid_of(answer: HttpAnswer) -> str | None:
    """Return the GUID where it is surely the job's: named so, or the only one of an answer that is no web page."""
    text = _text(answer)
    headers = [value for name, value in answer.headers.items() if _NAMES & {re.sub(r"x-|[_-]", "", name)}]
    named = _apart([*_named(answer)] or [*_NAMED.findall(text)] or [one for one in headers if _ALONE.fullmatch(one)])
    if len(named) == 1:
        return named[0]
    if named or not answer.accepted:
        return None
    if alone := _ALONE.fullmatch(text):
        return alone[1]
    if re.match(r"\s*<(?!\?xml)", text):
        return None
    found = [match[0] for match in GUID_IN_TEXT.finditer(text) if not _OF_OTHERS.search(text[: match.start()][-40:])]
    for name, value in answer.headers.items():  # Location, Content-Location, Operation-Location of Azure
        found += GUID_IN_TEXT.findall(value) if name.endswith("location") else []
    found = _apart(found)
    return found[0] if len(found) == 1 else None


def _apart(guids: list[str]) -> list[str]:
    """The GUIDs that differ in more than the case of their letters."""
    return list({guid.casefold(): guid for guid in reversed(guids)}.values())


def guids_in(answer: HttpAnswer) -> tuple[str, ...]:
    """Return all GUIDs of an answer, for its message."""
    return tuple(dict.fromkeys(GUID_IN_TEXT.findall(_text(answer))))[:5]


def _text(answer: HttpAnswer) -> str:
    return answer.body[:_LOOKED_AT].replace(b"\0", b"").decode(errors="replace")


def _named(answer: HttpAnswer) -> Iterator[str]:
    """Yield the GUIDs under the job's name, at any depth of an answer that is JSON."""
    try:
        value = strictjson.loads(answer.body, halves=True)
    except ValueError:
        return
    yield from _members(value, 0)


def _members(value: Any, depth: int) -> Iterator[str]:
    if depth > _DEEPEST or not isinstance(value, dict | list):
        return
    for name, member in value.items() if isinstance(value, dict) else enumerate(value):
        if re.sub(r"[_-]", "", str(name)).casefold() in _NAMES and isinstance(member, str):
            bare = member.strip("{} ")
            if GUID_IN_TEXT.fullmatch(bare) or (depth == 0 and _PLAIN.fullmatch(bare)):
                yield bare
        else:
            yield from _members(member, depth + 1)
