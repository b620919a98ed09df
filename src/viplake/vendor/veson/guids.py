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
_BARE: Final = rf"(?:{_GUID}|[0-9A-Fa-f]{{32}})(?![0-9A-Za-z-])"
"""A GUID with or without hyphens."""
_ALONE: Final = re.compile(rf"[\s\"'{{}}\[\]()]*({_BARE})[\s\"'{{}}\[\]()]*")
_NAMED: Final = re.compile(rf"(?i)job[_-]?guid[\"'\\\\]*\s*[:=>/]\s*[\"'\\\\{{(]*({_BARE})")
_PAGE: Final = re.compile(r"(?i)\s*<(?:!doctype html|!--|html|head|body|script|style|meta|title|center|div|p|h\d)\b")
_OF_OTHERS: Final = re.compile(r"(?i)trace|request|correlat|activity|session|tenant|client|company|error|span|ray")
"""Names of GUIDs that are not the job's."""

_NAMES: Final = frozenset({"jobguid", "jobid"})
_LAST_PART: Final = re.compile(rf"[/=]({_BARE})/?(?:[?#].*)?$")
"""Of the address of a job."""
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
    if _PAGE.match(text):
        return None
    found = list(_unnamed(answer, text))
    for name, value in answer.headers.items():  # Location, Content-Location, Operation-Location of Azure
        found += GUID_IN_TEXT.findall(value) or _LAST_PART.findall(value) if name.endswith("location") else []
    found = _apart(found)
    return found[0] if len(found) == 1 else None


def same_guid(one: str, other: str) -> bool:
    """Return whether two spellings are one GUID: with or without hyphens and braces, in either case."""
    first, second = (re.sub(r"[\s{}()-]", "", guid).lower() for guid in (one, other))
    return first == second


def _unnamed(answer: HttpAnswer, text: str) -> Iterator[str]:
    """Yield the GUIDs of an answer that no name ahead of them gives to something else."""
    try:
        places = list(_strings(strictjson.loads(answer.body, halves=True), "", 0))
    except ValueError:
        places = [("", text)]
    for names, value in places:
        for match in GUID_IN_TEXT.finditer(value):
            if not _OF_OTHERS.search(f"{names} {value[: match.start()][-40:]}"):
                yield match[0]


def _strings(value: Any, names: str, depth: int) -> Iterator[tuple[str, str]]:
    """Yield each text of JSON with the names of the members that it is in."""
    if isinstance(value, str):
        yield names, value
    elif isinstance(value, dict | list) and depth <= _DEEPEST:
        for name, member in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _strings(member, f"{names} {name}", depth + 1)


def _apart(guids: list[str]) -> list[str]:
    """The GUIDs that differ in more than case and hyphens."""
    return list({guid.lower().replace("-", ""): guid for guid in reversed(guids)}.values())


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
        if re.sub(r"[_-]", "", str(name)).lower() in _NAMES and isinstance(member, str):
            if alone := _ALONE.fullmatch(member):
                yield alone[1]
            elif depth == 0 and _PLAIN.fullmatch(bare := member.strip("{} ")):
                yield bare
        else:
            yield from _members(member, depth + 1)
