"""PURE. What `[notify]` of `viplake.toml` says: whom to tell, and of what.

The file is committed and mailed around, so addresses that hold a token never stand in it: `secret:KEY` names a key of
the secret instead.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from viplake.model import SEVERITIES
from viplake.toml_tables import Table, refuse

if TYPE_CHECKING:
    from viplake.model import Severity


@dataclass(frozen=True, slots=True)
class NotifySettings:
    """What `[notify]` of `viplake.toml` says.

    Attributes:
        sns_topic: an ARN; empty: none.
        webhook: a URL, or `secret:KEY`: that key of the secret; empty: none.
        apprise: each `secret:KEY`, because apprise's addresses hold tokens.
        delivered: also tell SNS and the webhook of each delivered Hour, so that loads downstream can start on proof.
        severity: the mildest incident that is told.
    """

    sns_topic: str = ""
    webhook: str = ""
    apprise: tuple[str, ...] = ()
    delivered: bool = True
    severity: Severity = "ticket"

    @classmethod
    def parse(cls, value: Any) -> NotifySettings:
        """Read `[notify]`.

        Raises:
            SettingsError: an unknown key, or an address that cannot be.
        """
        table = Table.of("notify", value)
        table.only(("sns_topic", "webhook", "apprise", "delivered", "severity"))
        word = table.word("severity", "ticket", SEVERITIES)
        told = cls(
            table.text("sns_topic"),
            table.text("webhook"),
            table.texts("apprise"),
            table.flag("delivered", default=True),
            next(known for known in SEVERITIES if known == word),
        )
        if told.sns_topic and not (told.sns_topic.startswith("arn:") and told.sns_topic.count(":") == 5):  # noqa: PLR2004 - arn:partition:sns:region:account:topic
            hint = "Write it as arn:aws:sns:eu-west-1:123456789012:topic."
            raise refuse("sns_topic of [notify]", f"is no ARN of a topic: {told.sns_topic!r}", hint)
        _check_webhook(told.webhook)
        if any(not url.startswith("secret:") for url in told.apprise):
            hint = 'Put each address into the secret, and write apprise = ["secret:KEY"].'
            raise refuse("apprise of [notify]", "holds an address: these hold tokens", hint)
        return told

    @property
    def needs_secret(self) -> bool:
        """Whether a key of the secret is asked for."""
        return any(value.startswith("secret:") for value in (self.webhook, *self.apprise))


def _check_webhook(text: str) -> None:
    if not text or text.startswith("secret:"):
        return
    try:
        parts = urlsplit(text)
    except ValueError:  # the brackets of an IPv6 address
        raise refuse("webhook of [notify]", "is no URL", "Write it as https://host/path.") from None
    loopback = parts.hostname in {"127.0.0.1", "localhost", "::1"}
    if parts.scheme not in {"https", "http"} or not parts.hostname or (parts.scheme == "http" and not loopback):
        raise refuse("webhook of [notify]", "is no https:// URL", "Only loopback may be reached by http.")
    if parts.query or parts.username:
        hint = 'Put the URL into the secret, and write webhook = "secret:KEY".'
        raise refuse("webhook of [notify]", "holds a credential", hint)
