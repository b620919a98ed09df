"""What the name of a host says: one answer for every part that asks."""

from __future__ import annotations

import pytest

from viplake.errors import SettingsError
from viplake.network.hosts import is_loopback, refuse_plain_http


@pytest.mark.parametrize(
    ("host", "local"),
    [
        ("127.0.0.1", True),
        ("127.0.0.2", True),
        ("localhost", True),
        ("LOCALHOST", True),
        ("::1", True),
        ("[::1]", True),
        ("0:0:0:0:0:0:0:1", True),
        ("::ffff:127.0.0.1", True),
        ("127.0.0.999", False),
        ("127.1", False),
        ("10.0.0.1", False),
        ("localhost.example.com", False),
        ("", False),
        (None, False),
    ],
)
def test_loopback_has_one_answer_for_each_spelling(host: str | None, local: bool) -> None:
    assert is_loopback(host) is local


@pytest.mark.parametrize(
    ("url", "allowed", "words"),
    [
        ("http://127.0.0.1:1", False, "VIPLAKE_ALLOW_INSECURE_HTTP"),
        ("http://user:pw-4711@10.0.0.1", True, "not https"),
        ("ftp://127.0.0.1", True, "http"),
        ("//127.0.0.1", True, "http"),
    ],
)
def test_plain_http_is_refused_in_words_without_a_password(url: str, allowed: bool, words: str) -> None:
    with pytest.raises(SettingsError) as caught:
        refuse_plain_http(url, "X", allowed=allowed)
    assert words in caught.value.message + caught.value.hint
    assert "4711" not in caught.value.message


def test_https_and_allowed_loopback_pass() -> None:
    refuse_plain_http("https://example.com", "X", allowed=False)
    refuse_plain_http("http://[::1]:8080/x", "X")
