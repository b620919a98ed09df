"""What is logged: one line an event from any logger, and no secret in any of it."""

from __future__ import annotations

import io
import json
import logging
from typing import TYPE_CHECKING, Any

import pytest
import structlog

from canary import CANARIES
from viplake import log
from viplake.redact import Secret

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

URL = "https://b.s3.amazonaws.com/k?X-Amz-Signature=0123456789abcdef"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    """Logging is the process's: leave it as it was."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


@pytest.fixture(params=["json", "text"])
def form(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def ours(event: str, **fields: Any) -> None:
    structlog.get_logger("viplake.somewhere").warning(event, **fields)


def theirs(event: str, **fields: Any) -> None:
    logging.getLogger("aiohttp.client").warning("%s %s", event, fields)


def logged(form: str, speak: Callable[[], None], *, level: str = "INFO", tracebacks: bool = False) -> str:
    stream = io.StringIO()
    log.configure(level, form, tracebacks=tracebacks, stream=stream)
    speak()
    return stream.getvalue()


def fail(secret: str) -> None:
    raise ValueError(f"no {secret} at {URL}")


def raised() -> None:
    try:
        fail(CANARIES.client_secret)
    except ValueError:
        structlog.get_logger("viplake").exception("failed")


def test_an_event_is_one_json_object_a_line() -> None:
    def speak() -> None:
        ours("stored", file="a", bytes=12, late=False, extra=None)
        theirs("hm")

    text = logged("json", speak)
    first, second = (json.loads(line) for line in text.splitlines())
    assert (first["event"], first["file"], first["bytes"], first["late"], first["extra"]) == (
        "stored",
        "a",
        12,
        False,
        None,
    )
    assert first["level"] == "warning"
    assert first["timestamp"].endswith("Z")
    assert "logger" not in first
    assert second["logger"] == "aiohttp.client"


def test_auto_is_text_on_a_terminal_and_json_elsewhere() -> None:
    assert json.loads(logged("auto", lambda: ours("x")))["event"] == "x"
    terminal = Terminal()
    log.configure("INFO", "auto", stream=terminal)
    ours("seen", file="a")
    assert "\x1b[" in terminal.getvalue()
    assert not terminal.getvalue().startswith("{")


def test_no_color_gives_no_color() -> None:
    terminal = Terminal()
    log.configure("INFO", "auto", color=False, stream=terminal)
    ours("seen", file="a")
    assert "seen" in terminal.getvalue()
    assert "\x1b" not in terminal.getvalue()


@pytest.mark.parametrize("speak", [ours, theirs])
@pytest.mark.parametrize(
    "value",
    [
        CANARIES.client_secret,
        f"https://user:{CANARIES.proxy_password}@proxy/",
        f'said "{CANARIES.aws_secret_access_key}"\n',
        {"nested": [CANARIES.client_secret, {CANARIES.client_secret: 1}]},
        ValueError(CANARIES.client_secret),
        Secret(CANARIES.client_secret),
        URL,
        "x" * 1990 + CANARIES.client_secret,  # the cut goes through it
    ],
)
def test_I7_no_logger_prints_a_secret(form: str, speak: Callable[..., None], value: object) -> None:
    for secret in CANARIES.secret_values():
        Secret(secret)
    text = logged(form, lambda: speak(f"event {value}", field=value))
    assert "[red" in text
    for canary in ("canary-client", "canary-aws", "canary-proxy", "0123456789abcdef"):
        assert canary not in text
    if form == "json":
        json.loads(text)


@pytest.mark.parametrize("tracebacks", [False, True])
def test_I7_no_secret_is_in_a_traceback_nor_any_local(form: str, tracebacks: bool) -> None:
    Secret(CANARIES.client_secret)
    text = logged(form, raised, tracebacks=tracebacks)
    assert "ValueError" in text
    assert ("Traceback" in text) == tracebacks
    assert "canary" not in text
    assert "0123456789abcdef" not in text


@pytest.mark.parametrize("speak", [ours, theirs])
@pytest.mark.parametrize("hostile", ["a\r\nb", "\x1b[2J", "\x9b31m", "\u2028", "\x00", "\u202etxt", "\ud800", "\x7f"])
def test_A9_a_logged_value_cannot_forge_a_line_or_move_the_cursor(
    form: str, speak: Callable[..., None], hostile: str
) -> None:
    text = logged(form, lambda: speak(f"vendor says {hostile}", message=hostile, more={"k": [hostile]}))
    assert text.count("\n") == 1
    assert text.endswith("\n")
    assert all(character.isprintable() for character in text[:-1])


def test_a_page_of_text_is_cut() -> None:
    assert len(logged("json", lambda: ours("x", body="y" * 100_000))) < 2500


def test_the_level_holds_for_us_and_libraries_are_quieter(form: str) -> None:
    def speak() -> None:
        structlog.get_logger("viplake").debug("ours-debug")
        structlog.get_logger("viplake").info("ours-info")
        logging.getLogger("botocore.auth").debug("theirs-debug")
        logging.getLogger("aiohttp.access").info("theirs-info")

    assert "ours-debug" not in logged(form, speak)
    assert "ours-info" in logged(form, speak)
    assert "ours-debug" in logged(form, speak, level="DEBUG")
    assert "theirs" not in logged(form, speak, level="DEBUG")
    assert logged(form, speak, level="ERROR") == ""


def test_a_call_that_cannot_be_formatted_shows_neither_arguments_nor_stack(capsys: pytest.CaptureFixture[str]) -> None:
    Secret(CANARIES.client_secret)
    text = logged("json", lambda: logging.getLogger("lib").warning("%d", CANARIES.client_secret))
    assert text == "a log line of lib could not be written\n"
    assert capsys.readouterr().err == ""


def test_Z5_a_closed_stream_ends_nothing() -> None:
    stream = io.StringIO()
    log.configure("INFO", "json", stream=stream)
    stream.close()
    ours("x")


def test_setting_up_twice_still_writes_each_line_once() -> None:
    stream = io.StringIO()
    log.configure("INFO", "json", stream=stream)
    log.configure("INFO", "json", stream=stream)
    ours("x")
    assert len(stream.getvalue().splitlines()) == 1
