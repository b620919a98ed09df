"""Telling: over a real socket to a webhook and to SNS; what fails changes nothing."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web

from history.lakes import At, at
from servers.sockets import http, playing
from viplake.errors import SettingsError
from viplake.notify.apprise import Apprise
from viplake.notify.message import LARGEST, Audience, Message, Notifier, NotSent, shorten
from viplake.notify.sending import RetryPolicy, channels, for_programs, send_to_all, trial_message
from viplake.notify.settings import NotifySettings
from viplake.notify.sns import Sns
from viplake.notify.webhook import Webhook
from viplake.redact import Secret

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from servers.ministack import Ministack

pytestmark = pytest.mark.system


def still() -> At:
    return at("2022-05-10T14:00")


QUICK = RetryPolicy(seconds=1.5)
HELLO = Message("incidents", "one is open", "since noon", {"notices": [{"rule": "missing_job"}]}, key="k1")


@dataclass
class Hook:
    """A webhook that sends the given responses, the last one for ever."""

    answers: list[int]
    url: str = ""
    got: list[dict[str, Any]] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)

    async def take(self, request: web.Request) -> web.Response:
        status = self.answers[min(len(self.keys), len(self.answers) - 1)]
        self.keys.append(request.headers["Idempotency-Key"])
        self.got.append(await request.json())
        if status == 0:
            await asyncio.sleep(30)
        return web.Response(status=status, headers={"Location": f"{self.url}/elsewhere"})


@asynccontextmanager
async def hooked(*answers: int) -> AsyncIterator[Hook]:
    hook = Hook(list(answers))
    application = web.Application()
    application.router.add_post("/in", hook.take)
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    hook.url = f"http://127.0.0.1:{runner.addresses[0][1]}/in"
    try:
        yield hook
    finally:
        await runner.cleanup()


async def test_a_webhook_receives_the_message_once_as_json() -> None:
    async with hooked(204) as hook:
        assert await send_to_all([Webhook(Secret(hook.url, remember=False))], HELLO, still()) == {"webhook": None}
    [body] = hook.got
    assert body == {
        "schema_version": 1,
        "kind": "incidents",
        "id": "k1",
        "text": "since noon",
        "notices": [{"rule": "missing_job"}],
    }


@pytest.mark.parametrize(
    ("answers", "calls", "why"),
    [((500, 503, 200), 3, None), ((429, 200), 2, None), ((500,), 3, "500"), ((404,), 1, "404"), ((302,), 1, "302")],
)
async def test_O1_a_transient_failure_is_tried_three_times_with_one_id_and_a_refusal_once(
    answers: tuple[int, ...], calls: int, why: str | None
) -> None:
    async with hooked(*answers) as hook:
        [answer] = (await send_to_all([Webhook(Secret(hook.url, remember=False))], HELLO, still())).values()
    assert hook.keys == ["k1"] * calls
    assert answer is None if why is None else answer is not None and why in answer


async def test_O6_a_webhook_that_hangs_has_its_own_deadline_and_holds_up_no_other() -> None:
    async with hooked(0) as slow, hooked(200) as quick:
        notifiers = [Webhook(Secret(slow.url, remember=False), name="slow"), Webhook(Secret(quick.url, remember=False))]
        told = await send_to_all(notifiers, HELLO, still(), QUICK)
    assert told["webhook"] is None
    assert told["slow"] == "it did not answer within 1.5 s (3 tries)"


async def test_O1_an_unreachable_address_is_not_revealed() -> None:
    url = "http://127.0.0.1:9/hooks/T0KEN-of-the-webhook"
    [answer] = (await send_to_all([Webhook(Secret(url))], HELLO, still())).values()
    assert answer is not None
    assert "T0KEN" not in answer


async def test_O4_a_secret_in_a_text_is_redacted(canaries: Any) -> None:
    Secret(canaries.client_secret)
    spoilt = Message(
        "incidents", "s", f"it said {canaries.client_secret}", {"url": "https://x/y?X-Amz-Signature=abc123"}
    )
    async with hooked(200) as hook:
        await send_to_all([Webhook(Secret(hook.url, remember=False))], spoilt, still())
    assert canaries.client_secret not in json.dumps(hook.got)
    assert "abc123" not in json.dumps(hook.got)
    in_words = Message("incidents", f"it is {canaries.client_secret}", f"it said {canaries.client_secret}", {})
    assert canaries.client_secret not in in_words.subject + in_words.text, "so no channel can forget to redact them"


@pytest.mark.parametrize("limit", [LARGEST, LARGEST - 8192, 4000])
def test_O5_a_long_message_is_cut_and_marked(limit: int) -> None:
    notices = [{"summary": "é" * 500, "n": n} for n in range(2000)]
    long = Message("incidents", "s", "ü" * 400_000, {"environment": "Prod", "notices": notices})
    data = long.json(limit)
    assert len(data.encode()) <= limit
    body = json.loads(data)
    assert body["left_out"] + len(body["notices"]) == 2000
    assert body["notices"] == notices[: len(body["notices"])]
    assert body["environment"] == "Prod"
    assert json.loads(HELLO.json())["notices"] == [{"rule": "missing_job"}]


class Broken:
    """A channel with a defect."""

    name = "broken"
    audience: Audience = "programs"

    async def send(self, message: Message) -> None:
        raise KeyError(message.key)


async def test_a_defect_of_a_channel_is_an_answer_and_no_exception() -> None:
    assert await send_to_all([Broken()], HELLO, still()) == {"broken": "KeyError: 'k1' (3 tries)"}
    assert await send_to_all([], HELLO, still()) == {}


# -- SNS ------------------------------------------------------------------------------------------------------


@pytest.fixture
def topic(ministack: Ministack, monkeypatch: pytest.MonkeyPatch) -> tuple[str, Any]:
    """A topic, and a queue that it delivers to."""
    for name, value in ministack.environment().items():
        monkeypatch.setenv(name, value)  # boto3's own chain is what is tested
    sns, sqs = ministack.client("sns"), ministack.client("sqs")
    arn = sns.create_topic(Name="viplake")["TopicArn"]
    queue = sqs.create_queue(QueueName="viplake")["QueueUrl"]
    queue_arn = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    sns.subscribe(TopicArn=arn, Protocol="sqs", Endpoint=queue_arn)

    def received() -> list[dict[str, Any]]:
        messages = sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10, WaitTimeSeconds=2).get("Messages", [])
        for message in messages:
            sqs.delete_message(QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"])
        return [json.loads(message["Body"]) for message in messages]

    return arn, received


async def test_sns_takes_the_message_with_its_kind_as_an_attribute(topic: tuple[str, Any]) -> None:
    arn, received = topic
    accents = Message("delivered", "Hour 13 délivered\nnow", "t", {"hour": "2022-05-10T13"}, key="k2")
    assert await send_to_all([Sns(arn)], accents, still()) == {"sns": None}
    [envelope] = received()
    assert envelope["Subject"] == "Hour 13 d?livered?now"
    assert envelope["MessageAttributes"]["kind"]["Value"] == "delivered"
    assert json.loads(envelope["Message"])["hour"] == "2022-05-10T13"


async def test_O1_sns_that_refuses_is_an_answer(topic: tuple[str, Any]) -> None:
    arn, received = topic
    [answer] = (await send_to_all([Sns(f"{arn}-that-is-not-there")], HELLO, still())).values()
    assert answer is not None
    assert "NotFound" in answer
    assert received() == []


# -- apprise --------------------------------------------------------------------------------------------------


SOUND = pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning")  # apprise's own, of Python 3.11


def address(hook: Hook) -> Secret:
    return Secret(f"{hook.url.replace('http://', 'json://')}?+Idempotency-Key=a", remember=False)


@SOUND
async def test_apprise_reaches_an_address_that_it_knows() -> None:
    pytest.importorskip("apprise")
    async with hooked(200) as hook:
        assert await send_to_all([Apprise(address(hook), "TEAMS")], HELLO, still()) == {"apprise:TEAMS": None}
    [body] = hook.got
    assert (body["title"], body["message"]) == ("one is open", "since noon")


@SOUND
async def test_H4_an_address_that_fails_repeats_nothing_to_the_others() -> None:
    pytest.importorskip("apprise")
    async with hooked(200) as good, hooked(500) as bad:
        both = [Apprise(address(bad), "BAD"), Apprise(address(good), "GOOD")]
        told = await send_to_all(both, HELLO, still())
    assert told["apprise:GOOD"] is None
    assert told["apprise:BAD"] == "it answered 500 (3 tries)"
    assert (len(good.got), len(bad.got)) == (1, 3)


@SOUND
@pytest.mark.parametrize("status", [401, 404, 410])
async def test_H4_an_address_that_refuses_for_good_is_tried_once_and_its_status_is_named(status: int) -> None:
    pytest.importorskip("apprise")
    async with hooked(status) as hook:
        told = await send_to_all([Apprise(address(hook), "GONE")], HELLO, still())
    assert told == {"apprise:GONE": f"it answered {status} (1 try)"}
    assert len(hook.got) == 1


@SOUND
async def test_H4_apprise_sends_no_password_of_netrc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("apprise")
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login someone password of-another-program\n")
    monkeypatch.setenv("NETRC", str(netrc))
    async with playing(http(b"", "200 OK")) as wire:
        url = Secret(wire.url.replace("http://", "json://"), remember=False)
        assert await send_to_all([Apprise(url, "CHAT")], HELLO, still()) == {"apprise:CHAT": None}
    assert b"authorization" not in wire.requests[0].lower()


@SOUND
async def test_H5_an_address_that_apprise_does_not_know_is_named_and_silences_no_other() -> None:
    pytest.importorskip("apprise")
    async with hooked(200) as good:
        both = [Apprise(Secret("nonsense://x-0123456789"), "OLD"), Apprise(address(good), "GOOD")]
        told = await send_to_all(both, HELLO, still())
    assert told == {"apprise:OLD": "apprise does not know this kind of address (1 try)", "apprise:GOOD": None}


@SOUND
async def test_H6_a_text_too_long_for_a_chat_is_shortened_with_a_count_of_omissions() -> None:
    pytest.importorskip("apprise")
    lines = [f"OPENED incident {number}: {'x' * 100}" for number in range(40)]
    long = Message("incidents", "40 incidents", "\n".join(lines), {})
    async with hooked(200) as chat, hooked(200) as hook:
        both: list[Notifier] = [Apprise(address(chat), "CHAT"), Webhook(Secret(hook.url, remember=False))]
        assert set((await send_to_all(both, long, still())).values()) == {None}
    [body] = chat.got
    assert len(body["message"]) <= 3900
    kept = body["message"].count("OPENED")
    assert body["message"].endswith(f"... {40 - kept} more lines are left out")
    assert hook.got[0]["text"].count("OPENED") == 40, "each channel has its own limit"


@pytest.mark.parametrize("limit", [60, 100, 300])
def test_H6_a_shortened_text_fits_for_any_lines(limit: int) -> None:
    for text in ("x" * 500, "short\n" * 100, "ü" * 400 + "\nend", "\n" * 500):
        assert len(shorten(text, limit)) <= limit
        assert len(shorten(text, limit, lambda part: len(part.encode())).encode()) <= limit
    assert shorten("as it is", limit) == "as it is"


class Asking:
    """A channel that asks to wait."""

    name = "asking"
    audience: Audience = "programs"

    def __init__(self, wait: float) -> None:
        self.wait, self.calls = wait, 0

    async def send(self, message: Message) -> None:
        self.calls += 1
        raise NotSent(f"it answered 429 to {message.kind}", wait=self.wait)


async def test_H4_retry_after_is_honoured_and_left_to_the_next_check_where_it_is_long() -> None:
    clock, patient, long = still(), Asking(7), Asking(900)
    await send_to_all([patient], HELLO, clock)
    assert patient.calls == 3
    assert (clock.now() - still().now()).total_seconds() >= 14
    answer = await send_to_all([long], HELLO, still())
    assert long.calls == 1
    assert "asks to wait 900 s" in (answer["asking"] or "")


# -- settings -------------------------------------------------------------------------------------------------


def test_channels_come_from_the_file_and_their_secrets_from_the_secret() -> None:
    told = NotifySettings.parse(
        {"sns_topic": "arn:aws:sns:eu-west-1:123456789012:t", "webhook": "secret:HOOK", "apprise": ["secret:TEAMS"]}
    )
    made = channels(told, {"HOOK": Secret("https://hooks/x1x2x3"), "TEAMS": Secret("msteams://x4x5x6")})
    assert [channel.name for channel in made] == ["sns", "webhook", "apprise:TEAMS"]
    assert [channel.name for channel in for_programs(made)] == ["sns", "webhook"]
    assert "x1x2x3" not in repr(made)
    with pytest.raises(SettingsError, match="refers to HOOK"):
        channels(told, {})
    assert channels(NotifySettings.parse({}), {}) == []


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ({"web_hook": "x"}, "Did you mean webhook"),
        ({"sns_topic": "viplake"}, "no ARN"),
        ({"sns_topic": "arn:a:b:c:d:e"}, "no ARN"),
        ({"webhook": "http://example.com/x"}, "no https"),
        ({"webhook": "https://example.com/x?token=1"}, "secret:KEY"),
        ({"apprise": ["slack://token"]}, "has an address"),
        ({"apprise": "secret:A"}, "a list of texts"),
        ({"severity": "all"}, "one of"),
        ({"delivered": "yes"}, "true or false"),
    ],
)
def test_addresses_that_cannot_be_are_refused_in_words(value: Any, words: str) -> None:
    with pytest.raises(SettingsError) as refused:
        NotifySettings.parse(value)
    told = f"{refused.value.message} {refused.value.hint}"
    assert words in told or "Known are" in told


def test_the_test_message_states_that_nothing_is_wrong() -> None:
    assert "Nothing is wrong" in json.loads(trial_message("Prod").json())["text"]
