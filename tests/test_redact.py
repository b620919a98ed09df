"""No secret survives `redact`, however it is written; innocent text does."""

from __future__ import annotations

import base64
import copy
import html
import json
import pickle
import re
from typing import TYPE_CHECKING
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import example, given, settings, strategies as st

from registry import registry
from viplake import redact as redaction
from viplake.network.settings import PROXY_HINT
from viplake.redact import MASK, Secret, redact, register

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SECRETS = st.text(min_size=6, max_size=60).filter(lambda text: len(set(text)) > 3)
AROUND = st.text("·•\\", max_size=20)  # too few characters to hold a secret


@pytest.fixture(autouse=True, scope="module")
def nothing_registered() -> Iterator[None]:
    """What other tests registered is not removed from the texts of these."""
    with registry():
        yield


WAYS: list[Callable[[str], str]] = [
    str,
    quote,
    quote_plus,
    html.escape,
    ascii,
    repr,
    lambda text: re.sub("%..", lambda hexed: hexed[0].lower(), quote(text, safe="")),
    lambda text: quote(quote(text, safe="")),
    lambda text: quote(text, safe="!$'()*,;:@/?"),
    json.dumps,
    lambda text: json.dumps(json.dumps(text)),
    lambda text: json.dumps(text, ensure_ascii=False),
    lambda text: json.dumps(text).replace("/", "\\/"),
    lambda text: repr(text.encode()),
]


@settings(max_examples=200, deadline=None)
@given(secret=SECRETS, before=AROUND, after=AROUND, way=st.sampled_from(WAYS))
@example(secret='a"b\\c/d e', before="", after="", way=json.dumps)
@example(secret="ab\\\\\\cd", before="\\", after="\\", way=repr)
@example(secret="päss-wörd-\U0001f511", before="é", after="é", way=ascii)
def test_I7_a_registered_value_never_survives(secret: str, before: str, after: str, way: Callable[[str], str]) -> None:
    with registry(secret):
        result = redact(f"{before}{way(secret)}{after}")
    assert MASK in result
    left = result.replace(MASK, "")
    assert set(left) <= set("·•é\\\"'b"), "only what stood around, and the quotes, may be left"


@settings(max_examples=200, deadline=None)
@given(secret=SECRETS, before=st.binary(max_size=20), after=st.binary(max_size=20), urlsafe=st.booleans())
def test_I7_a_registered_value_never_survives_within_base64(
    secret: str, before: bytes, after: bytes, urlsafe: bool
) -> None:
    encode = base64.urlsafe_b64encode if urlsafe else base64.b64encode
    text = encode(before + secret.encode() + after).decode()
    with registry(secret):
        result = redact(f"Proxy-Authorization: {text}")
    assert MASK in result
    assert text not in result


@pytest.mark.parametrize(
    "text",
    [
        "landed 600 files of 2022-05-10T13 in s3://bucket/IMOSDL/Hourly/20220510/13/ in 12.5 s",
        "basic configuration and bearer instruments are kept; basic checks pass",
        "GET https://api.example.com/v1/datalake/presignedUrls/ACME?environmentType=Prod&jobGuid=1-2",
        "see https://example.com/a?b=c and mail ops@example.com",
        "the signature of a token; tokens: 5; the design is significant",
        '{"files": 600, "token_url": "https://auth.example.com/connect/token"}',
        "key 'a/b/Voyages_1.json.gz' (12 bytes) \x1b[31m é \u2028",
        "",
    ],
)
def test_innocent_text_stays(text: str) -> None:
    assert redact(text) == text


SIGNATURE = "0f1e2d3c4b5a69788796a5b4c3d2e1f00f1e2d3c4b5a69788796a5b4c3d2e1f0"


@pytest.mark.parametrize(
    ("text", "gone"),
    [
        (f"https://b.s3.amazonaws.com/k?X-Amz-Date=1&X-Amz-Signature={SIGNATURE}&x=1", SIGNATURE),
        (f"https%3A%2F%2Fb%2Fk%3FX-Amz-Date%3D1%26X-Amz-Signature%3D{SIGNATURE}", SIGNATURE),
        (f"https://storage.googleapis.com/k?X-Goog-Signature={SIGNATURE}", SIGNATURE),
        (f"/k?AWSAccessKeyId=AKIDNEVER&Signature={SIGNATURE}&Expires=1", "AKIDNEVER"),
        ("GET /presignedUrls/ACME?apiToken=never-never&jobGuid=1", "never-never"),
        ("body=b'grant_type=x&client_secret=never%2Bnever'", "never%2Bnever"),
        ('{"access_token":"never.never", "expires_in": 1}', "never.never"),
        ("{'access_token': 'never.never'}", "never.never"),
        (r"{\"access_token\":\"never.never\"}", "never.never"),
        ("Authorization: Bearer never.n3ver", "never.n3ver"),
        ("Authorization: Bearer abcdefghijklmnopqrstuvwxyzabc", "abcdefghij"),
        ("Proxy-Authorization: Basic bmV2ZXI6bmV2ZXI=", "bmV2ZXI6"),
        ("proxy http://user:never@never@proxy:3128/ refused", "never"),
        ("proxy http://user:n%40ver@proxy:3128 refused", "n%40ver"),
        ("s3://AKIDNEVER:never@bucket/x", "never"),
    ],
)
def test_U17_an_unregistered_secret_is_redacted_by_its_form(text: str, gone: str) -> None:
    assert gone not in redact(text)
    assert MASK in redact(text)


def test_of_a_presigned_url_the_place_stays() -> None:
    url = f"https://b.s3.amazonaws.com/a/Voyages_1.json.gz?X-Amz-Signature={SIGNATURE}"
    assert redact(f"cannot read {url}: gone") == (
        f"cannot read https://b.s3.amazonaws.com/a/Voyages_1.json.gz?{MASK} gone"
    )


def test_a_value_that_holds_another_goes_whole() -> None:
    register("inner-value-1")
    register("outer[inner-value-1]outer")
    assert redact("x outer[inner-value-1]outer y") == f"x {MASK} y"
    assert redact("x inner-value-1 y") == f"x {MASK} y"


def test_short_values_do_not_blank_out_words() -> None:
    register("run")
    register("")
    assert redact("the run ran") == "the run ran"


def test_a_secret_is_shown_only_by_reveal() -> None:
    secret = Secret("never-shown-1")
    assert secret.reveal() == "never-shown-1"
    assert f"{secret}" == str(secret) == repr(secret) == "%s" % secret == MASK  # noqa: UP031 - that is tested
    assert "never" not in repr([secret, {"a": secret}])
    assert secret == Secret("never-shown-1") != Secret("never-shown-2")
    assert len({secret, Secret("never-shown-1")}) == 1
    assert copy.deepcopy({"a": secret})["a"] is secret
    with pytest.raises(TypeError):
        pickle.dumps(secret)
    with pytest.raises((TypeError, AttributeError)):
        json.dumps(secret)


def test_an_unregistered_value_is_not_remembered() -> None:
    Secret("some-bucket-name", remember=False)
    assert redact("s3://some-bucket-name/") == "s3://some-bucket-name/"


@pytest.mark.parametrize(
    "text",
    [
        "http://" * 20_000,
        "\\" * 100_000,
        "?X-Amz-" * 20_000,
        "https://a?" * 20_000,
        "https://a?X-Amz-" * 9_000,
        "basic " * 20_000,
    ],
)
def test_hostile_text_is_read_in_one_go(text: str) -> None:
    register('back\\slash"quote')
    assert isinstance(redact(text), str)  # the suite's time limit is the test


def test_of_passing_values_the_newest_are_known_and_lasting_ones_always() -> None:
    """A process that stays warm for days gets a token in each tick."""
    lasting = Secret("a-lasting-value-4711")
    before = len(redaction._registered)
    tokens = [f"passing-token-{number:04d}-0123456789" for number in range(200)]
    for token in tokens:
        Secret(token, passing=True)
        assert redact(f"Token {token}!") == "Token [redacted]!"
    Secret(lasting.reveal(), passing=True)
    for token in tokens[-10:]:
        Secret(token, passing=True)
    assert tokens[-1] not in redact(f"x {tokens[-1]} y")
    assert len(redaction._registered) <= before + 16
    assert lasting.reveal() not in redact(f"x {lasting.reveal()} y")


def test_a_temporary_value_registered_as_lasting_is_kept() -> None:
    Secret("first-passing-then-lasting", passing=True)
    Secret("first-passing-then-lasting")
    for number in range(100):
        Secret(f"another-passing-token-{number:04d}", passing=True)
    assert redact("first-passing-then-lasting") == "[redacted]"


def test_the_example_of_a_proxys_url_is_shown_and_a_real_one_is_not() -> None:
    assert redact(PROXY_HINT) == PROXY_HINT
    assert "never" not in redact("http://user:never@host:port")
    assert "password" not in redact("http://user:password@proxy.example:8080")
