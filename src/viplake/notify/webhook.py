"""I/O. A webhook as a channel: an address that accepts a JSON POST."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from viplake.errors import NetworkError
from viplake.network.settings import Network
from viplake.notify.message import NotSent

if TYPE_CHECKING:
    from viplake.notify.message import Audience, Message
    from viplake.redact import Secret

_ANSWER_CAP: Final = 64 << 10


@dataclass(frozen=True, slots=True)
class Webhook:
    """An address.

    Attributes:
        url: often a secret itself.
        network: how hosts are reached.
    """

    url: Secret
    network: Network = field(default_factory=Network)
    name: str = "webhook"
    audience: Audience = "programs"

    async def send(self, message: Message) -> None:
        """See `Notifier`. Anything but 2xx is a refusal; redirects are not followed."""
        from viplake.vendor.http import Http  # noqa: PLC0415 - aiohttp: only this channel needs it
        from viplake.vendor.wire import retry_after  # noqa: PLC0415 - as above

        headers = {"Content-Type": "application/json", "Idempotency-Key": message.key}
        try:
            async with Http(self.network) as http:
                answer = await http.call(
                    "webhook",
                    "POST",
                    self.url,
                    seconds=self.network.timeouts.call,
                    cap=_ANSWER_CAP,
                    headers=headers,
                    body=message.json().encode(),
                )
        except NetworkError as error:
            raise NotSent(error.message, cause=error.cause.word, final=not error.transient) from None
        if not answer.accepted:
            why = f"it answered {answer.status}" if answer.status else f"what it answered {answer.flaw}"
            now = datetime.now(UTC)  # noqa: TID251 - a date of Retry-After is of this very moment
            raise NotSent(why, final=not answer.busy, wait=retry_after(answer, now))
