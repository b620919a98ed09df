"""PURE. Reads a table of `viplake.toml` that a part declares for itself: known keys only, each of its kind.

A rule that is misspelt and silently ignored is a rule that never fires: an unknown key is an error with a suggestion.
"""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from viplake.errors import SettingsError
from viplake.model import Hour

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


T = TypeVar("T")


def refuse(where: str, what: str, hint: str) -> SettingsError:
    """The error for a value that cannot be."""
    return SettingsError(f"{where} in viplake.toml {what}", hint=hint)


def suggest(name: str, known: Iterable[str]) -> str:
    """The nearest known name, or all of them."""
    names = sorted(known)
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    return f"Did you mean {close[0]}?" if close else f"Known are: {', '.join(names)}."


def decode(name: str, value: Any, kind: type[T]) -> T:
    """A table of the file, as a msgspec Struct that forbids unknown fields.

    Raises:
        SettingsError: a key is unknown or missing, or a value cannot be; it names both.
    """
    if not isinstance(value, dict):
        raise refuse(f"[{name}]", "is not a table", f"Write it as [{name}] with one key a line.")
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        text = str(error)
    if unknown := re.fullmatch(r"Object contains unknown field `(.*)`", text, re.DOTALL):
        known = [field.name for field in msgspec.structs.fields(kind)]  # type: ignore[arg-type]
        raise refuse(f"[{name}]", f"has the unknown key {unknown[1]!r}", suggest(unknown[1], known))
    if missing := re.fullmatch(r"Object missing required field `(.*)`", text):
        raise refuse(f"[{name}]", f"has no {missing[1]}", f"Write {missing[1]} = ... below [{name}].")
    what, _, key = text.partition(" - at `$.")
    key = key.rstrip("`")
    raise refuse(f"{key} of [{name}]", f"is {value.get(key)!r}", f"{what}.")


@dataclass(frozen=True, slots=True)
class Table:
    """A table of the file, being read.

    Attributes:
        name: as messages call it: `[rules.late_job]`.
        values: what it holds.
    """

    name: str
    values: Mapping[str, Any]

    @classmethod
    def of(cls, name: str, value: Any) -> Table:
        """The value as a table.

        Raises:
            SettingsError: it is none.
        """
        if not isinstance(value, dict):
            raise refuse(f"[{name}]", "is not a table", f"Write it as [{name}] with one key a line.")
        return cls(f"[{name}]", value)

    def only(self, known: Iterable[str]) -> None:
        """Refuse keys that mean nothing.

        Raises:
            SettingsError: there is one.
        """
        names = tuple(known)
        for key in self.values:
            if key not in names:
                raise refuse(self.name, f"has the unknown key {key!r}", suggest(key, names))

    def number(self, key: str, default: float, *, low: float, high: float, what: str) -> float:
        """A number from `low` to `high`, both included; `what` says of what, for the message.

        Raises:
            SettingsError: it is something else.
        """
        value = self.values.get(key, default)
        plain = isinstance(value, int | float) and not isinstance(value, bool)
        if not plain or not low <= value <= high:  # NaN is neither
            raise refuse(f"{key} of {self.name}", f"is {value!r}", f"It is {what}, from {low:g} to {high:g}.")
        return float(value)

    def flag(self, key: str, *, default: bool) -> bool:
        """True or false.

        Raises:
            SettingsError: it is something else.
        """
        value = self.values.get(key, default)
        if not isinstance(value, bool):
            raise refuse(f"{key} of {self.name}", f"is {value!r}", "It is true or false.")
        return value

    def word(self, key: str, default: str, words: Iterable[str]) -> str:
        """One of these words.

        Raises:
            SettingsError: it is something else.
        """
        value, known = self.values.get(key, default), tuple(words)
        if value not in known:
            hint = suggest(value, known) if isinstance(value, str) else f"It is one of {', '.join(known)}."
            raise refuse(f"{key} of {self.name}", f"is {value!r}", hint)
        return str(value)

    def text(self, key: str, default: str = "") -> str:
        """Text.

        Raises:
            SettingsError: it is something else.
        """
        value = self.values.get(key, default)
        if not isinstance(value, str):
            raise refuse(f"{key} of {self.name}", "is not text", "Put it in quotes.")
        return value.strip()

    def texts(self, key: str) -> tuple[str, ...]:
        """A list of texts; none given: empty.

        Raises:
            SettingsError: it is something else.
        """
        value = self.values.get(key, [])
        if not isinstance(value, list) or not all(isinstance(item, str) and item.strip() for item in value):
            raise refuse(f"{key} of {self.name}", "is not a list of texts", f'Write it as {key} = ["...", "..."].')
        return tuple(item.strip() for item in value)

    def hour(self, key: str) -> Hour:
        """An Hour.

        Raises:
            SettingsError: it is missing, or none.
        """
        try:
            return Hour.parse(self.text(key))
        except SettingsError:
            hint = "Write it as 2022-05-10T13, in quotes and in UTC."
            raise refuse(f"{key} of {self.name}", f"is no Hour: {self.values.get(key)!r}", hint) from None
