"""I/O (only a random id and redaction). A message to a channel, and how it is shortened to fit."""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal, Protocol

from viplake.redact import redact

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

LARGEST: Final = 256 << 10
"""Bytes of a message: the limit of Amazon SNS (Amazon SNS API Reference, Publish); webhooks get no larger one."""

Audience = Literal["people", "programs"]


@dataclass(frozen=True, slots=True)
class Message:
    """A notification, or a test message.

    No channel gets a secret: subject and text are redacted as they are given, the body in `json`.

    Attributes:
        kind: for filters: `incidents`, `delivered` or `test`.
        subject: one line.
        text: for people, one line for each thing.
        body: for programs; JSON.
        key: its id, the same in all tries, so that a receiver can know a repeated message.
    """

    kind: Literal["incidents", "delivered", "test"]
    subject: str
    text: str
    body: Mapping[str, Any]
    key: str = field(default_factory=lambda: uuid.uuid4().hex)

    def __post_init__(self) -> None:
        """Redact what people read."""
        object.__setattr__(self, "subject", redact(self.subject))
        object.__setattr__(self, "text", redact(self.text))

    def json(self, limit: int = LARGEST) -> str:
        """Return the body as text, redacted, within so many bytes: `notices` are left out from the end, and counted."""
        body = {"schema_version": 1, "kind": self.kind, "id": self.key, "text": self.text, **self.body}
        notices = list(body.get("notices", ()))
        text = _dump(body)
        if len(text.encode()) <= limit:
            return text
        body["text"] = shorten(self.text, limit // 4, lambda part: len(part.encode()))
        kept: list[Any] = []
        room = limit - len(_dump(body | {"notices": [], "left_out": len(notices)}).encode())
        for notice in notices:
            room -= len(_dump(notice).encode()) + 2
            if room < 0:
                break
            kept.append(notice)
        return _dump(body | {"notices": kept, "left_out": len(notices) - len(kept)})


def _dump(value: Any) -> str:
    return redact(json.dumps(value, ensure_ascii=False))


def shorten(text: str, limit: int, size: Callable[[str], int] = len) -> str:
    """Return the first lines of a text that fit, and how many are left out; the text where it fits.

    Args:
        text: one line for each thing.
        limit: of the whole.
        size: measures a text: characters, or bytes.
    """
    if size(text) <= limit:
        return text
    lines = text.split("\n")
    for kept in range(len(lines) - 1, 0, -1):
        left = len(lines) - kept
        short = "\n".join([*lines[:kept], f"... {left} more {'lines are' if left > 1 else 'line is'} left out"])
        if size(short) <= limit:
            return short
    end = f" ... (cut); {len(lines) - 1} more lines are left out" if len(lines) > 1 else " ... (cut)"
    first = lines[0]
    while first and size(first + end) > limit:
        first = first[: len(first) - max(1, (size(first + end) - limit) // 4)]
    return first + end


class NotSent(Exception):
    """A channel did not accept a message; the text gives the reason, without secrets.

    Args:
        why: in words.
        cause: a word of `errors.CAUSES`, where the network is the reason.
        final: a retry would not help.
        wait: seconds to wait, as the channel requested.
    """

    def __init__(self, why: str, *, cause: str | None = None, final: bool = False, wait: float | None = None) -> None:
        super().__init__(why)
        self.cause = cause
        self.final = final
        self.wait = wait


class Notifier(Protocol):
    """A channel: one address, with limits and a record of its own."""

    @property
    def name(self) -> str:
        """Its name in records: `sns`, `webhook`, `apprise:KEY`."""
        ...

    @property
    def audience(self) -> Audience:
        """Whether people or programs receive it: people do not want a message every hour."""
        ...

    async def send(self, message: Message) -> None:
        """Send the message; raise `NotSent` if it was not accepted."""
        ...
