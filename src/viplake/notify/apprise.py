"""I/O. An address as apprise spells them (Teams, Slack, mail and about a hundred more) as a channel; extra `notify`."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from viplake.network.settings import Network
from viplake.notify.message import NotSent, shorten
from viplake.redact import redact

if TYPE_CHECKING:
    from viplake.notify.message import Audience, Message
    from viplake.redact import Secret

_LONGEST: Final = 3900
"""Characters: chats take 4,000, and a longer text helps nobody at 3 a.m."""


@dataclass(frozen=True, slots=True)
class Apprise:
    """One address: what it does with a message touches no other.

    Attributes:
        url: of the address, which holds a token.
        key: of the secret, by which it is named.
        network: how hosts are reached.
    """

    url: Secret
    key: str = ""
    network: Network = field(default_factory=Network)
    audience: Audience = "people"

    @property
    def name(self) -> str:
        """See `Notifier`."""
        return f"apprise:{self.key}" if self.key else "apprise"

    async def send(self, message: Message) -> None:
        """See `Notifier`. The text for people, shortened to what the address takes."""
        await asyncio.to_thread(self._notify, message)

    def _notify(self, message: Message) -> None:
        try:
            import apprise  # noqa: PLC0415 - an extra
            import requests  # noqa: PLC0415 - apprise's own
        except ImportError:
            raise NotSent("apprise is not installed: pip install 'viplake[notify]'", final=True) from None
        made = apprise.Apprise.instantiate(self.url.reveal(), suppress_exceptions=True)
        if made is None:
            raise NotSent("the address is none that apprise knows", final=True)
        # Nothing else in this process uses this library, which would read the environment by itself.
        requests.Session.merge_environment_settings = _merge(self.network)  # type: ignore[method-assign]
        title = redact(message.subject)
        most = min(getattr(made, "body_maxlen", _LONGEST) - len(title) - 2, _LONGEST)
        kind = {"delivered": apprise.NotifyType.SUCCESS, "test": apprise.NotifyType.INFO}
        taken = made.notify(
            title=title,
            body=shorten(redact(message.text), max(most, 100)),
            notify_type=kind.get(message.kind, apprise.NotifyType.WARNING),
        )
        if not taken:
            raise NotSent("it did not take the message")


def _merge(network: Network) -> Any:
    """Return the rules of a request, in place of those that the library finds in the environment."""
    from viplake.network.aws import bundle  # noqa: PLC0415 - only this channel needs it

    def merge(_self: Any, url: str, _proxies: Any, stream: Any, _verify: Any, cert: Any) -> dict[str, Any]:
        proxy = network.proxy_for(url)
        proxies = {} if proxy is None else {"https": proxy.url}
        return {"proxies": proxies, "stream": bool(stream), "verify": bundle(network.ca) or True, "cert": cert}

    return merge
