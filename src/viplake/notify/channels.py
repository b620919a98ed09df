"""I/O. Tells people and programs: SNS, a plain JSON webhook, and whatever apprise reaches (Teams, Slack, mail).

Telling never changes what is told of: each channel has its own deadline and three tries, what fails is an answer
and not an exception, and no text leaves without passing through `redact`. A message has an id, so that who gets it
twice after a lost answer can know.
"""

from __future__ import annotations

import asyncio
import json
import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal, Protocol

import structlog

from viplake.errors import NetworkError
from viplake.network.aws import AwsAccess, client
from viplake.network.settings import Network
from viplake.redact import Secret, redact
from viplake.toml_tables import refuse

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from viplake.clock import Clock
    from viplake.notify.settings import NotifySettings

log = structlog.get_logger(__name__)

LARGEST: Final = 256 << 10
"""Bytes of a message: the limit of Amazon SNS (Amazon SNS API Reference, Publish); webhooks get no larger one."""

_LONGEST_SUBJECT: Final = 100
"""Characters (as above: less than 100, ASCII, no line breaks)."""

_ANSWER_CAP: Final = 64 << 10

_ROOM: Final = 8 << 10
"""Bytes that SNS counts besides the text: the attributes and the subject."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a channel is tried.

    Attributes:
        tries: how often.
        seconds: each time.
        pause: seconds before the second try; twice that before the third.
    """

    tries: int = 3
    seconds: float = 10.0
    pause: float = 1.0


@dataclass(frozen=True, slots=True)
class Message:
    """What is told.

    Attributes:
        kind: for filters: `incidents`, `delivered` or `test`.
        subject: one line.
        text: for people.
        body: for programs; JSON.
        key: its id, the same in all tries.
    """

    kind: Literal["incidents", "delivered", "test"]
    subject: str
    text: str
    body: Mapping[str, Any]
    key: str = field(default_factory=lambda: uuid.uuid4().hex)

    def json(self, limit: int = LARGEST) -> str:
        """The body as text, redacted, within so many bytes: `notices` are left out from the end, and counted."""
        body = {"schema_version": 1, "kind": self.kind, "id": self.key, "text": self.text, **self.body}
        notices = list(body.get("notices", ()))
        text = _dump(body)
        if len(text.encode()) <= limit:
            return text
        body["text"] = _cut(self.text, limit // 4)
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


def _cut(text: str, limit: int) -> str:
    """The text within so many bytes."""
    data = text.encode()
    return text if len(data) <= limit else data[: limit - 20].decode(errors="ignore") + " ... (cut)"


class NotTold(Exception):
    """A channel did not take a message; the text says why, free of secrets."""


class Notifier(Protocol):
    """A channel."""

    @property
    def name(self) -> str:
        """What it is called in records: `sns`, `webhook`, `apprise`."""
        ...

    async def send(self, message: Message) -> None:
        """Hand the message over; `NotTold` where it was not taken."""
        ...


async def tell(
    notifiers: Sequence[Notifier], message: Message, clock: Clock, patience: Patience = Patience()
) -> dict[str, str | None]:
    """Tell all channels, side by side; None for each that took it, else why it did not. Never raises."""
    answers = await asyncio.gather(*(_tell_one(notifier, message, clock, patience) for notifier in notifiers))
    for notifier, why in zip(notifiers, answers, strict=True):
        if why is None:
            log.info("told", channel=notifier.name, kind=message.kind, subject=redact(message.subject))
        else:
            log.warning("not_told", channel=notifier.name, kind=message.kind, detail=why)
    return {notifier.name: why for notifier, why in zip(notifiers, answers, strict=True)}


async def _tell_one(notifier: Notifier, message: Message, clock: Clock, patience: Patience) -> str | None:
    why = ""
    for attempt in range(patience.tries):
        if attempt:
            await clock.sleep(patience.pause * 2 ** (attempt - 1))
        try:
            async with asyncio.timeout(patience.seconds):
                await notifier.send(message)
        except TimeoutError:
            why = f"it did not answer within {patience.seconds:g} s"
        except NotTold as error:
            why = redact(str(error))
        except Exception as error:  # noqa: BLE001 - a channel's own defect must not undo a delivery
            why = redact(f"{type(error).__name__}: {error}")[:200]
        else:
            return None
    return f"{why} ({patience.tries} tries)"


# -- channels -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Sns:
    """A topic of Amazon SNS, with the credentials of boto3's chain (a role, usually).

    Attributes:
        topic: its ARN.
        network: how hosts are reached.
        access: who we are at AWS.
    """

    topic: str
    network: Network = field(default_factory=Network)
    access: AwsAccess = field(default_factory=AwsAccess)
    name: str = "sns"

    async def send(self, message: Message) -> None:
        """See `Notifier`. The kind is an attribute, so that subscribers can filter."""
        await asyncio.to_thread(self._publish, message)

    def _publish(self, message: Message) -> None:
        from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415 - 35 MB that other channels do without

        try:
            made = client("sns", self.access, self.network, region=self.topic.split(":")[3] or None)
            made.publish(
                TopicArn=self.topic,
                Subject=_subject(message.subject),
                Message=message.json(LARGEST - _ROOM),
                MessageAttributes={"kind": {"DataType": "String", "StringValue": message.kind}},
            )
        except (BotoCoreError, ClientError, ValueError) as error:
            raise NotTold(str(error)[:300]) from None


def _subject(text: str) -> str:
    plain = "".join(char if " " <= char <= "~" else "?" for char in redact(text))
    return plain[: _LONGEST_SUBJECT - 1] or "viplake"


@dataclass(frozen=True, slots=True)
class Webhook:
    """An address that takes a JSON POST.

    Attributes:
        url: often a secret itself.
        network: how hosts are reached.
    """

    url: Secret
    network: Network = field(default_factory=Network)
    name: str = "webhook"

    async def send(self, message: Message) -> None:
        """See `Notifier`. Anything but 2xx is a refusal; redirects are not followed."""
        from viplake.vendor.http import Http  # noqa: PLC0415 - aiohttp: only this channel needs it

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
            raise NotTold(error.message) from None
        if not answer.accepted:
            raise NotTold(f"it answered {answer.status}" if answer.status else f"what it answered {answer.flaw}")


@dataclass(frozen=True, slots=True)
class Apprise:
    """Addresses as apprise spells them, for Teams, Slack, mail and about a hundred more (extra `notify`)."""

    urls: tuple[Secret, ...]
    name: str = "apprise"

    async def send(self, message: Message) -> None:
        """See `Notifier`. The text for people; all addresses must take it."""
        await asyncio.to_thread(self._notify, message)

    def _notify(self, message: Message) -> None:
        try:
            import apprise  # noqa: PLC0415 - an extra
        except ImportError:
            raise NotTold("apprise is not installed: pip install 'viplake[notify]'") from None
        channels = apprise.Apprise()
        for url in self.urls:
            if not channels.add(url.reveal()):
                raise NotTold("one of its addresses is none that apprise knows")
        kind = {"delivered": apprise.NotifyType.SUCCESS, "test": apprise.NotifyType.INFO}
        told = channels.notify(
            title=redact(message.subject),
            body=_cut(redact(message.text), LARGEST - _ROOM),
            notify_type=kind.get(message.kind, apprise.NotifyType.WARNING),
        )
        if not told:
            raise NotTold("one of its addresses did not take the message")


# -- from settings, and ready messages -------------------------------------------------------------------


def channels(
    settings: NotifySettings,
    secret: Mapping[str, Secret],
    network: Network | None = None,
    access: AwsAccess | None = None,
) -> list[Notifier]:
    """The channels, ready to use.

    Args:
        settings: whom to tell.
        secret: keys of the secret, for `secret:KEY`.
        network: how hosts are reached.
        access: who we are at AWS.

    Raises:
        SettingsError: the secret has no such key.
    """
    network = network or Network()
    found: list[Notifier] = [Sns(settings.sns_topic, network, access or AwsAccess())] if settings.sns_topic else []
    if settings.webhook:
        found.append(Webhook(_resolved("webhook", settings.webhook, secret), network))
    if settings.apprise:
        found.append(Apprise(tuple(_resolved("apprise", url, secret) for url in settings.apprise)))
    return found


def _resolved(key: str, text: str, secret: Mapping[str, Secret]) -> Secret:
    if not text.startswith("secret:"):
        return Secret(text, remember=False)
    name = text.removeprefix("secret:")
    if name not in secret:
        hint = f"Add {name} to the JSON that VIPLAKE_SECRETS points to (file: or aws-sm:)."
        raise refuse(f"{key} of [notify]", f"asks for {name}, which the secret does not have", hint)
    return secret[name]


def trial_message(environment: str) -> Message:
    """What `viplake doctor --notify` sends."""
    text = f"This is a test message of viplake ({environment}). Nothing is wrong."
    return Message("test", f"[viplake {environment}] test message", text, {"environment": environment})


def delivered_only(notifiers: Sequence[Notifier]) -> list[Notifier]:
    """The channels that programs listen to: people do not want a message an hour."""
    return [notifier for notifier in notifiers if notifier.name != "apprise"]
