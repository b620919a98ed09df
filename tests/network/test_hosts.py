"""What the name of a host says: one answer for every part that asks."""

from __future__ import annotations

import pytest

from viplake.errors import SettingsError
from viplake.network.hosts import excepts, is_loopback, refuse_plain_http
from viplake.network.settings import Network, Proxy
from viplake.redact import Secret


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


@pytest.mark.parametrize(
    ("entry", "host", "port", "excepted"),
    [
        ("example.com", "a.example.com", 443, True),
        ("example.com", "badexample.com", 443, False),
        ("*example.com", "goodexample.com", 443, True),
        ("EXAMPLE.com", "example.COM", 443, True),
        ("example.com.", "example.com", 443, True),
        ("example.com", "example.com.", 443, True),
        ("https://example.com/", "example.com", 443, True),
        ("example.com:443", "example.com", 443, True),
        ("example.com:8443", "example.com", 443, False),
        ("s3.*.amazonaws.com", "s3.eu-west-1.amazonaws.com", 443, True),
        ("s3.*.amazonaws.com", "sns.eu-west-1.amazonaws.com", 443, False),
        ("192.168.*", "192.168.1.1", 443, True),
        ("10.0.0.0/8", "10.1.2.3", 443, True),
        ("10.0.0.0/8", "::ffff:10.1.2.3", 443, True),
        ("10.0.0.0/8", "11.1.2.3", 443, False),
        ("10.0.0.0/8", "fe80::1", 443, False),
        ("10.0.0.0/8", "10.example.com", 443, False),
        ("10.1.2.3:443", "10.1.2.3", 443, True),
        ("[fe80::1]:443", "fe80::1", 443, True),
        ("fe80::/10", "fe80::1", 443, True),
        ("*", "anything.example", 443, True),
    ],
)
def test_E5_an_entry_of_no_proxy_excepts_hosts_in_each_common_spelling(
    entry: str, host: str, port: int, excepted: bool
) -> None:
    assert excepts(entry, host, port) is excepted


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]"])
def test_E5_loopback_is_direct_by_any_scheme_unless_the_proxy_is_on_this_machine_too(host: str) -> None:
    elsewhere = Network(Proxy.parse(Secret("http://proxy.example:3128", remember=False)))
    here = Network(Proxy.parse(Secret("http://127.0.0.1:3128", remember=False)))
    assert elsewhere.proxy_for(f"https://{host}:8333/x") is None
    assert here.proxy_for(f"https://{host}:8333/x") is here.proxy
    for network in (elsewhere, here):
        assert network.proxy_for(f"http://{host}:8333/x") is None
        assert network.proxy_for("https://s3.eu-west-1.amazonaws.com") is network.proxy


@pytest.mark.parametrize("no_proxy", ["a.example,b.example", "a.example b.example", "a.example; b.example ,"])
def test_E5_entries_of_no_proxy_are_separated_by_commas_blanks_or_semicolons(no_proxy: str) -> None:
    network = Network(Proxy.parse(Secret("http://proxy.example:3128", remember=False)), no_proxy)
    assert [network.proxy_for(f"https://{name}.example") is None for name in "abc"] == [True, True, False]


def test_https_and_allowed_loopback_pass() -> None:
    refuse_plain_http("https://example.com", "X", allowed=False)
    refuse_plain_http("http://[::1]:8080/x", "X")
