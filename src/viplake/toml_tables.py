"""PURE. Reads a table of `viplake.toml` that a part declares: known keys only, each of its type.

An unknown key is an error with a suggestion, because a misspelt rule that is ignored never fires.
"""

from __future__ import annotations

import difflib
import re
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar, get_args, get_origin, get_type_hints

import msgspec

from viplake.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Iterable

T = TypeVar("T")


def refuse(where: str, what: str, hint: str) -> SettingsError:
    """Return the error for an invalid value."""
    return SettingsError(f"{where} in viplake.toml {what}", hint=hint)


def suggest(name: str, known: Iterable[str]) -> str:
    """Return the most similar known name, or all of them."""
    names = sorted(known)
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    return f"Did you mean {close[0]}?" if close else f"Known are: {', '.join(names)}."


def limited(low: float, high: float, what: str) -> Any:
    """Return a type for numbers from `low` to `high`, both included; `what` names the number in error messages."""
    return Annotated[float, msgspec.Meta(ge=low, le=high, description=what)]


def decode(name: str, value: Any, kind: type[T]) -> T:
    """Return a table of the file as a msgspec Struct that forbids unknown fields.

    Raises:
        SettingsError: a key is unknown or missing, or a value is invalid; the message names it.
    """
    if not isinstance(value, dict):
        raise refuse(f"[{name}]", "is not a table", f"Write it as [{name}] with one key a line.")
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        text = str(error)
    if unknown := re.fullmatch(r"Object contains unknown field `(.*)`", text, re.DOTALL):
        known = [field.encode_name for field in msgspec.structs.fields(kind)]  # type: ignore[arg-type]
        raise refuse(f"[{name}]", f"has the unknown key {unknown[1]!r}", suggest(unknown[1], known))
    if missing := re.fullmatch(r"Object missing required field `(.*)`", text):
        raise refuse(f"[{name}]", f"has no {missing[1]}", f"Write {missing[1]} = ... below [{name}].")
    what, _, path = text.partition(" - at `$.")
    key = re.split(r"[.\[`]", path)[0]
    raise refuse(f"{key} of [{name}]", f"is {value[key]!r}", _hint(kind, key, value[key]) or f"{what}.")


def _hint(kind: type, key: str, value: Any) -> str:
    """What the value may be, in words; empty where its type says nothing more than msgspec does."""
    hints = get_type_hints(kind, include_extras=True)
    [field] = [field.name for field in msgspec.structs.fields(kind) if field.encode_name == key]
    parts = get_args(hints[field])
    for part in (hints[field], *parts):
        meta = next((m for m in getattr(part, "__metadata__", ()) if isinstance(m, msgspec.Meta)), None)
        if meta is not None and meta.description:
            return f"It is {meta.description}, from {meta.ge:g} to {meta.le:g}."
        if get_origin(part) is Literal and isinstance(value, str):
            return suggest(value, get_args(part))
        if get_origin(part) is Literal:
            return f"It is one of {', '.join(get_args(part))}."
    if hints[field] is bool:
        return "It is true or false."
    if get_origin(hints[field]) is tuple:
        return f'It is a list of texts: {key} = ["...", "..."].'
    return "It is a text: put it in quotes." if hints[field] is str else ""
