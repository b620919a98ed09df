"""I/O. Sends a message to all channels at once, with three tries each; a failure is a result, not an exception.

Sending never changes a delivery or an incident. Each channel has its own time limit, and every text passes through
`redact`: a message where it is made, a reason here.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog

from viplake.network.aws import AwsAccess
from viplake.network.settings import Network
from viplake.notify.apprise import Apprise
from viplake.notify.message import Message, NotSent
from viplake.notify.sns import Sns
from viplake.notify.webhook import Webhook
from viplake.redact import Secret, redact
from viplake.toml_tables import refuse

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from viplake.clock import Clock
    from viplake.notify.message import Notifier
    from viplake.notify.settings import NotifySettings

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often and how long a channel is tried.

    Attributes:
        tries: how often.
        seconds: each time.
        pause: seconds before the second try; twice that before the third.
        longest: most seconds to wait if the channel requests it; after that, the next check tries again.
    """

    tries: int = 3
    seconds: float = 10.0
    pause: float = 1.0
    longest: float = 60.0


async def send_to_all(
    notifiers: Sequence[Notifier], message: Message, clock: Clock, policy: RetryPolicy = RetryPolicy()
) -> dict[str, str | None]:
    """Return by channel None if it accepted the message, else the reason. Never raises."""
    answers = await asyncio.gather(*(_send(notifier, message, clock, policy) for notifier in notifiers))
    for notifier, why in zip(notifiers, answers, strict=True):
        if why is None:
            log.info("notified", channel=notifier.name, kind=message.kind, subject=message.subject)
        else:
            log.warning("not_notified", channel=notifier.name, kind=message.kind, detail=why)
    return {notifier.name: why for notifier, why in zip(notifiers, answers, strict=True)}


async def _send(notifier: Notifier, message: Message, clock: Clock, policy: RetryPolicy) -> str | None:
    why, tried, wait = "", 0, 0.0
    while tried < policy.tries:
        if tried:
            await clock.sleep(max(policy.pause * 2 ** (tried - 1), wait))
        tried += 1
        wait = 0.0
        try:
            async with asyncio.timeout(policy.seconds):
                await notifier.send(message)
        except TimeoutError:
            why = f"it did not answer within {policy.seconds:g} s"
        except NotSent as error:
            why, wait = redact(str(error)), error.wait or 0.0
            if error.final or wait > policy.longest:
                why += f"; it asks to wait {wait:.0f} s" if wait > policy.longest else ""
                break
        except Exception as error:  # noqa: BLE001 - a channel's own defect must not undo a delivery
            why = redact(f"{type(error).__name__}: {error}")[:200]
        else:
            return None
    return f"{why} ({tried} {'tries' if tried > 1 else 'try'})"


# -- from settings, and ready messages -------------------------------------------------------------------


def channels(
    settings: NotifySettings,
    secret: Mapping[str, Secret],
    network: Network | None = None,
    access: AwsAccess | None = None,
    endpoint_sns: str | None = None,
) -> list[Notifier]:
    """Return the channels, each address its own.

    Args:
        settings: which channels.
        secret: keys of the secret, for `secret:KEY`.
        network: how hosts are reached.
        access: AWS credentials settings.
        endpoint_sns: of SNS, instead of the one that boto3 resolves.

    Raises:
        SettingsError: the secret has no such key.
    """
    network = network or Network()
    found: list[Notifier] = []
    if settings.sns_topic:
        found.append(Sns(settings.sns_topic, network, access or AwsAccess(), endpoint_sns))
    if settings.webhook:
        found.append(Webhook(_resolved("webhook", settings.webhook, secret), network))
    keys = [text.removeprefix("secret:") for text in dict.fromkeys(settings.apprise)]
    return found + [Apprise(_resolved("apprise", f"secret:{key}", secret), key, network) for key in keys]


def _resolved(key: str, text: str, secret: Mapping[str, Secret]) -> Secret:
    if not text.startswith("secret:"):
        return Secret(text, remember=False)
    name = text.removeprefix("secret:")
    if name not in secret:
        hint = f"Add {name} to the JSON that VIPLAKE_SECRETS points to (file: or aws-sm:)."
        raise refuse(f"{key} of [notify]", f"refers to {name}, which the secret does not have", hint)
    return secret[name]


def trial_message(environment: str) -> Message:
    """Return the test message of `viplake doctor --notify`."""
    text = f"This is a test message of viplake ({environment}). Nothing is wrong."
    return Message("test", f"[viplake {environment}] test message", text, {"environment": environment})


def for_programs(notifiers: Sequence[Notifier]) -> list[Notifier]:
    """Return the channels for programs, without those for people, who do not want a message every hour."""
    return [notifier for notifier in notifiers if notifier.audience == "programs"]
