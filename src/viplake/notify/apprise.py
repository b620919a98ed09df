"""I/O. An address as apprise spells them (Teams, Slack, mail and about a hundred more) as a channel; extra `notify`."""

from __future__ import annotations

import asyncio
import functools
import threading
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from viplake.errors import NetworkError
from viplake.network.settings import Network
from viplake.notify.message import NotSent, shorten
from viplake.wording import install_hint

if TYPE_CHECKING:
    from viplake.notify.message import Audience, Message
    from viplake.redact import Secret

_LONGEST: Final = 3900
"""Characters: chats accept 4,000, and a longer text is not read at night."""


@dataclass(frozen=True, slots=True)
class Apprise:
    """One address of apprise. Each is a channel: the failure of one does not affect the others.

    Attributes:
        url: the address; it holds a token, so no message shows it.
        key: the name of the secret's key that holds the address; messages show this.
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
        """See `Notifier`. Sends the text for people, shortened to the limit of the address."""
        await asyncio.to_thread(self._notify, message)

    def _notify(self, message: Message) -> None:
        try:
            import apprise  # noqa: PLC0415 - an extra
            import requests  # noqa: PLC0415 - apprise's own
        except ImportError:
            raise NotSent(f"apprise is not installed: {install_hint('notify')}", final=True) from None
        made = apprise.Apprise.instantiate(self.url.reveal(), suppress_exceptions=True)
        if made is None:
            raise NotSent("apprise does not know this kind of address", final=True)
        requests.Session.request = _by_our_rules(requests.Session.request, self.network)  # type: ignore[method-assign]
        title = message.subject
        most = min(getattr(made, "body_maxlen", _LONGEST) - len(title) - 2, _LONGEST)
        kind = {"delivered": apprise.NotifyType.SUCCESS, "test": apprise.NotifyType.INFO}
        _LAST.outcome = None
        taken = made.notify(
            title=title,
            body=shorten(message.text, max(most, 100)),
            notify_type=kind.get(message.kind, apprise.NotifyType.WARNING),
        )
        if not taken:
            raise _why(_LAST.outcome)


_LAST: Final = threading.local()
"""`outcome`: what the last request of this thread came to, which apprise itself only writes to its log."""


def _by_our_rules(request: Any, network: Network) -> Any:
    """Return `requests.Session.request` with our network, in place of what it reads from the environment and ~/.netrc.

    Nothing else in this process uses this library.
    """
    from viplake.network.aws import bundle  # noqa: PLC0415 - only this channel needs it

    plain = getattr(request, "__wrapped__", request)

    @functools.wraps(plain)
    def governed(session: Any, method: str, url: str, *more: Any, **given: Any) -> Any:
        session.trust_env = False
        proxy = network.proxy_for(url)
        given["proxies"] = {} if proxy is None else {"https": proxy.url}
        given["verify"] = bundle(network.ca) or True
        try:
            _LAST.outcome = plain(session, method, url, *more, **given)
        except Exception as error:
            _LAST.outcome = error
            raise
        return _LAST.outcome

    return governed


def _why(outcome: Any) -> NotSent:
    """Return why a message was not taken, from what the last request came to."""
    from viplake.network.aws import unreachable  # noqa: PLC0415 - as in `_by_our_rules`
    from viplake.vendor.wire import HttpAnswer, retry_after  # noqa: PLC0415 - as above

    if isinstance(outcome, Exception):
        error = unreachable(outcome, "it cannot be reached") or NetworkError("it cannot be reached")
        return NotSent(error.message, cause=error.cause.word, final=not error.transient)
    if outcome is None or outcome.ok:
        return NotSent("it did not accept the message")
    answer = HttpAnswer(outcome.status_code, {name.lower(): value for name, value in outcome.headers.items()}, b"")
    now = datetime.now(UTC)  # noqa: TID251 - a date of Retry-After is of this very moment
    return NotSent(f"it answered {answer.status}", final=not answer.busy, wait=retry_after(answer, now))
