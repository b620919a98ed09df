"""PURE. `[notify]` of `viplake.toml`: the notification channels and what is sent to them.

The file is committed and mailed, so addresses with a token are not allowed in it: `secret:KEY` names a key of the
secret instead.
"""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import urlsplit

import msgspec
from msgspec.structs import replace

from viplake.model import Severity
from viplake.network.hosts import is_loopback
from viplake.toml_tables import decode, refuse


class NotifySettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The settings in `[notify]` of `viplake.toml`.

    Attributes:
        sns_topic: an ARN; empty: none.
        webhook: a URL, or `secret:KEY`: that key of the secret; empty: none.
        apprise: each `secret:KEY`, because apprise's addresses hold tokens.
        delivered: also send each delivered Hour to SNS and the webhook, so that downstream loads can start.
        severity: lowest severity of incidents that are sent.
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
            SettingsError: an unknown key, or an invalid address.
        """
        given = decode("notify", value, cls)
        apprise = tuple(url.strip() for url in given.apprise)
        settings = replace(given, sns_topic=given.sns_topic.strip(), webhook=given.webhook.strip(), apprise=apprise)
        if settings.sns_topic and not is_topic(settings.sns_topic):
            hint = "Write it as arn:aws:sns:eu-west-1:123456789012:topic."
            raise refuse("sns_topic of [notify]", f"is no ARN of a topic: {settings.sns_topic!r}", hint)
        _check_webhook(settings.webhook)
        if any(not url.startswith("secret:") for url in settings.apprise):
            hint = 'Put each address into the secret, and write apprise = ["secret:KEY"].'
            raise refuse("apprise of [notify]", "has an address, and addresses contain tokens", hint)
        return settings

    @property
    def channels(self) -> tuple[str, ...]:
        """The kinds of channels that it names, as people call them."""
        given = {"SNS": self.sns_topic, "a webhook": self.webhook, "apprise": self.apprise}
        return tuple(name for name, address in given.items() if address)

    @property
    def needs_secret(self) -> bool:
        """Whether any of its values refers to a key of the secret: that of a new channel, too."""
        values = (getattr(self, name) for name in self.__struct_fields__)
        texts = (text for value in values for text in (value if isinstance(value, tuple) else (value,)))
        return any(isinstance(text, str) and text.startswith("secret:") for text in texts)


def is_topic(text: str) -> bool:
    """Return whether a text is the ARN of an SNS topic: for `[notify]` and for VIPLAKE_SNS_TOPIC."""
    return re.fullmatch(r"arn:[a-z-]+:sns:[a-z0-9-]+:[0-9]{12}:[A-Za-z0-9_.-]{1,256}", text) is not None


def _check_webhook(text: str) -> None:
    if not text or text.startswith("secret:"):
        return
    try:
        parts = urlsplit(text)
    except ValueError:  # the brackets of an IPv6 address
        raise refuse("webhook of [notify]", "is no URL", "Write it as https://host/path.") from None
    local = parts.scheme == "http" and is_loopback(parts.hostname)
    if not parts.hostname or not (local or parts.scheme == "https"):
        raise refuse("webhook of [notify]", "is no https:// URL", "Only loopback may be reached by http.")
    if parts.query or parts.username:
        hint = 'Put the URL into the secret, and write webhook = "secret:KEY".'
        raise refuse("webhook of [notify]", "contains a credential", hint)
