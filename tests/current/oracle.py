"""What the tables must hold, in a few lines of plain Python over all proven Hours, without `viplake.current`.

A record is a dict of texts, numbers or nulls. A version is its key and its content; members that are null say nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

Record = dict[str, Any]
Version = tuple[tuple[str, Any], ...]


def text_of(version: Version) -> str:
    """The content as text: `name=value`, by name, without nulls."""
    return "\n".join(f"{name}={value}" for name, value in version)


def history(hours: Mapping[str, Sequence[Record]], key: Sequence[str]) -> dict[Version, list[str]]:
    """Every version, with the Hours that carried it, ascending; `hours` are records by Hour, as `2022-05-10T13`."""
    found: dict[Version, list[str]] = {}
    for hour in sorted(hours):
        for record in hours[hour]:
            if all(record.get(name) is not None for name in key):
                version = tuple(sorted((name, value) for name, value in record.items() if value is not None))
                seen = found.setdefault(version, [])
                if not seen or seen[-1] != hour:
                    seen.append(hour)
    return found


def snapshot(hours: Mapping[str, Sequence[Record]]) -> list[tuple[Version, str]]:
    """The records of the newest Hour, each as often as it is there, with the first Hour that carried it."""
    known = history(hours, ())
    newest = ({name: value for name, value in record.items() if value is not None} for record in hours[max(hours)])
    versions = [tuple(sorted(record.items())) for record in newest]
    return [(version, known[version][0]) for version in versions]


def current(
    hours: Mapping[str, Sequence[Record]], key: Sequence[str], changed: str | None
) -> dict[tuple[Any, ...], tuple[Version, str]]:
    """The winner of each key, and its `_hour`."""
    best: dict[tuple[Any, ...], tuple[Any, Version, str]] = {}
    for version, seen in history(hours, key).items():
        record = dict(version)
        when = record.get(changed) if changed else None
        rank = ((when is not None, when or ""), seen[-1], text_of(version))
        where = tuple(record[name] for name in key)
        if where not in best or rank > best[where][0]:
            best[where] = (rank, version, seen[0])
    return {where: (version, first) for where, (_, version, first) in best.items()}
