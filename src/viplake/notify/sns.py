"""I/O. A topic of Amazon SNS as a channel, with the credentials of boto3's chain (a role, usually)."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from viplake.errors import SettingsError
from viplake.network.aws import AwsAccess, client, unreachable
from viplake.network.settings import Network
from viplake.notify.message import LARGEST, NotSent

if TYPE_CHECKING:
    from viplake.notify.message import Audience, Message

_LONGEST_SUBJECT: Final = 100
"""Characters (Amazon SNS API Reference, Publish: less than 100, ASCII, no line breaks)."""

_ROOM: Final = 8 << 10
"""Bytes that SNS counts besides the text: the attributes and the subject."""


@dataclass(frozen=True, slots=True)
class Sns:
    """A topic.

    Attributes:
        topic: its ARN.
        network: how hosts are reached.
        access: AWS credentials settings.
        endpoint: instead of the one that boto3 resolves.
    """

    topic: str
    network: Network = field(default_factory=Network)
    access: AwsAccess = field(default_factory=AwsAccess)
    endpoint: str | None = None
    name: str = "sns"
    audience: Audience = "programs"

    async def send(self, message: Message) -> None:
        """See `Notifier`. The kind is an attribute, so that subscribers can filter."""
        await asyncio.to_thread(self._publish, message)

    def _publish(self, message: Message) -> None:
        from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415 - 35 MB that other channels do without

        try:
            region = self.topic.split(":")[3] or None
            made = client("sns", self.access, self.network, endpoint=self.endpoint, region=region)
            made.publish(
                TopicArn=self.topic,
                Subject=_subject(message.subject),
                Message=message.json(LARGEST - _ROOM),
                MessageAttributes={"kind": {"DataType": "String", "StringValue": message.kind}},
            )
        except SettingsError as error:
            raise NotSent(error.message, final=True) from None
        except ClientError as error:
            status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 500)
            passes = status >= 500 or status == 429 or "Throttl" in str(error)  # noqa: PLR2004 - HTTP
            raise NotSent(str(error)[:300], final=not passes) from None
        except (BotoCoreError, ValueError) as error:
            found = unreachable(error, "SNS")
            if found is None:
                raise NotSent(str(error)[:300], final=True) from None
            raise NotSent(found.message, cause=found.cause.word, final=not found.transient) from None


def _subject(text: str) -> str:
    plain = "".join(char if " " <= char <= "~" else "?" for char in text)
    return plain[: _LONGEST_SUBJECT - 1] or "viplake"
