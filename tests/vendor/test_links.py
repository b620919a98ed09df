"""Which links are followed, until when, and what a file storage's answers to them mean; without any socket."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from viplake.errors import SettingsError, VendorError
from viplake.vendor.links import (
    Origins,
    check_endpoint,
    check_link,
    host_of,
    md5_of,
    read_opening,
    read_refusal,
    seconds_early,
)
from viplake.vendor.port import (
    LinkExpired,
    SourceChanged,
)
from viplake.vendor.wire import HttpAnswer

if TYPE_CHECKING:
    from collections.abc import Mapping

NOW = datetime(2022, 5, 10, 13, 5, tzinfo=UTC)
MD5 = "d41d8cd98f00b204e9800998ecf8427e"
S3 = Origins()
LOOPBACK = Origins(loopback=True)


@pytest.mark.parametrize(
    "url",
    [
        "https://bucket.s3.amazonaws.com/a/b.json.gz?X-Amz-Signature=1",
        "https://bucket.s3.eu-west-1.amazonaws.com/a",
        "https://bucket.s3-eu-west-1.amazonaws.com/a",
        "https://s3.eu-west-1.amazonaws.com/bucket/a",
        "https://my.dotted.bucket.s3.dualstack.us-east-1.amazonaws.com/a",
        "https://bucket.s3.cn-north-1.amazonaws.com.cn/a",
        "https://BUCKET.S3.amazonaws.com:443/%C3%A9%20(1)?a=%2F&b=c;d",
        "https://bucket.s3.amazonaws.com/é",
    ],
)
def test_U11_links_to_s3_are_followed(url: str) -> None:
    check_link(url, S3)


@pytest.mark.parametrize(
    "url",
    [
        "http://bucket.s3.amazonaws.com/a",
        "ftp://bucket.s3.amazonaws.com/a",
        "file:///etc/passwd",
        "//bucket.s3.amazonaws.com/a",
        "https://evil.example/a",
        "https://s3.amazonaws.com.evil.example/a",
        "https://evil.example/s3.amazonaws.com",
        "https://evil.example?x=.s3.amazonaws.com/",
        "https://evil.example#.s3.amazonaws.com/",
        "https://evil.example\\.s3.amazonaws.com/",
        "https://evils3.amazonaws.com/a",
        "https://ec2.amazonaws.com/a",
        "https://user:word@bucket.s3.amazonaws.com/a",
        "https://bucket.s3.amazonaws.com@evil.example/a",
        "https://bucket.s3.amazonaws.com:8443/a",
        "https://bucket.s3.amazonaws.com:/a",
        "https://169.254.169.254/latest/meta-data",
        "https://2852039166/",
        "https://0xa9fea9fe/",
        "https://[::1]/a",
        "https://127.0.0.1/a",
        "https://localhost/a",
        "https://bucket.s3.amazonaws.com/a b",
        "https://bucket.s3.amazonaws.com/a\r\nX: y",
        "https://bucket.s3.amazonaws.com/a\x00",
        " https://bucket.s3.amazonaws.com/a",
        "https://bucket.s3.amazonaws.com/" + "a" * 20_000,
        "https://bücket.s3.amazonaws.com/a",
        "",
    ],
)
def test_U11_A10_other_links_are_rejected_and_only_their_host_is_named(url: str) -> None:
    secret = "?X-Amz-Signature=5ecre7canary" if url and "\n" not in url else ""
    with pytest.raises(VendorError) as caught:
        check_link(url + secret, S3)
    assert caught.value.cause.word == "url_rejected"
    assert "5ecre7canary" not in str(caught.value)
    assert "word" not in str(caught.value)


def test_U11_further_hosts_are_exact_and_never_addresses() -> None:
    origins = Origins(frozenset({"Files.Veslink.com", "10.0.0.1", "2852039166", "[::1]"}))
    check_link("https://files.veslink.com/a?sig=1", origins)
    for url in (
        "https://files.veslink.com.evil.example/a",
        "https://x.files.veslink.com/a",
        "https://10.0.0.1/a",
        "https://2852039166/a",
        "https://[::1]/a",
        "http://files.veslink.com/a",
    ):
        with pytest.raises(VendorError, match=r"https|address|come from"):
            check_link(url, origins)


def test_U11_loopback_only_where_it_is_allowed() -> None:
    for url in ("http://127.0.0.1:9000/a?b", "http://localhost:1/a", "https://127.9.9.9:8443/a", "http://[::1]:80/a"):
        check_link(url, LOOPBACK)
        with pytest.raises(VendorError):
            check_link(url, S3)
    with pytest.raises(VendorError):
        check_link("http://bucket.s3.amazonaws.com/a", LOOPBACK)
    with pytest.raises(VendorError):
        check_link("http://localhost.evil.example/a", LOOPBACK)


@pytest.mark.parametrize(
    ("url", "insecure", "good"),
    [
        ("https://auth.veslink.com/connect/token", False, True),
        ("https://proxy.example:8443/a/", False, True),
        ("http://auth.veslink.com/connect/token", True, False),
        ("http://127.0.0.1:8000/token", True, True),
        ("http://127.0.0.1:8000/token", False, False),
        ("https://user:word@auth.veslink.com/", False, False),
        ("https://auth.veslink.com/?a=b", False, False),
        ("auth.veslink.com", False, False),
        ("", False, False),
    ],
)
def test_an_endpoint_is_https_or_loopback(url: str, insecure: bool, good: bool) -> None:
    if good:
        assert check_endpoint("VIPLAKE_TOKEN_URL", url, allow_insecure_http=insecure) == url.rstrip("/")
        return
    with pytest.raises(SettingsError, match="VIPLAKE_TOKEN_URL") as caught:
        check_endpoint("VIPLAKE_TOKEN_URL", url, allow_insecure_http=insecure)
    assert "word" not in str(caught.value)


def test_a_host_is_all_that_a_message_shows() -> None:
    assert host_of("https://Bucket.s3.amazonaws.com/a?X-Amz-Signature=1") == "bucket.s3.amazonaws.com"
    assert host_of("https://user:word@host/") == "an unreadable host"


# -- how long a link is good ------------------------------------------------------------------------------


def link(signed: str, seconds: str = "3600") -> str:
    return f"https://b.s3.amazonaws.com/k?X-Amz-Date={signed}&X-Amz-Expires={seconds}&X-Amz-Signature=5ecre7"


def test_U14_an_expired_link_is_known_before_anything_is_sent() -> None:
    assert seconds_early(link("20220510T130000Z"), NOW) == 0
    for expired in (link("20220510T120500Z"), link("20220510T130000Z", "300"), link("19990101T000000Z")):
        with pytest.raises(LinkExpired, match="expired") as caught:
            seconds_early(expired, NOW)
        assert "5ecre7" not in str(caught.value)


def test_U15_a_link_from_the_future_is_waited_for_or_refused() -> None:
    assert seconds_early(link("20220510T130530Z"), NOW) == 30
    assert seconds_early(link("20220510T132000Z"), NOW) == 900
    with pytest.raises(LinkExpired, match="not good yet"):
        seconds_early(link("20220510T132001Z"), NOW)


@pytest.mark.parametrize(
    "url",
    [
        "https://b.s3.amazonaws.com/k",
        link("yesterday"),
        link("20220510T130000Z", "for ever"),
        link("20220510T130000Z", "9" * 40),
        "https://b.s3.amazonaws.com/k?AWSAccessKeyId=1&Expires=1652187900&Signature=2",
    ],
)
def test_a_link_without_an_expiry_is_tried(url: str) -> None:
    assert seconds_early(url, NOW) == 0


# -- what the storage answers -----------------------------------------------------------------------------


def head(**headers: str) -> dict[str, str]:
    return {name.replace("_", "-"): value for name, value in headers.items()}


def test_a_whole_file() -> None:
    opening = read_opening(200, head(etag=f'"{MD5}"', content_length="10"), start=0, etag=None)
    assert (opening.start, opening.size, opening.etag, opening.md5) == (0, 10, f'"{MD5}"', MD5)


def test_D6_the_rest_of_a_file() -> None:
    headers = head(etag='"x-2"', content_range="bytes 4-9/10", content_length="6")
    opening = read_opening(206, headers, start=4, etag='"x-2"')
    assert (opening.start, opening.size, opening.md5) == (4, 10, None)


@pytest.mark.parametrize(
    "headers",
    [
        head(etag='"x"', content_range="bytes 3-9/10"),
        head(etag='"x"', content_range="bytes 4-8/10"),
        head(etag='"x"', content_range="bytes 4-9/*"),
        head(etag='"x"', content_range="bytes */10"),
        head(etag='"x"', content_range="4-9/10"),
        head(etag='"x"'),
        head(etag='"y"', content_range="bytes 4-9/10"),  # D9
    ],
)
def test_D6_D9_another_part_or_another_file_begins_anew(headers: Mapping[str, str]) -> None:
    with pytest.raises(SourceChanged):
        read_opening(206, headers, start=4, etag='"x"')


def test_D7_a_range_that_is_ignored_starts_at_0() -> None:
    assert read_opening(200, head(etag='"x"', content_length="10"), start=4, etag='"x"').start == 0


def test_D15_N6_a_page_in_place_of_a_file() -> None:
    for kind in ("text/html; charset=utf-8", "application/xml"):
        with pytest.raises(VendorError) as caught:
            read_opening(200, head(content_type=kind), start=0, etag=None)
        assert caught.value.cause.word == "integrity"
    # A script that is a web page is a file like any other: the storage gives it an ETag.
    assert read_opening(200, head(content_type="text/html", etag='"x"'), start=0, etag=None).start == 0


def test_D14_without_a_declared_size() -> None:
    for length in ({}, {"content-length": "-1"}, {"content-length": "ten"}):
        assert read_opening(200, length, start=0, etag=None).size is None


@pytest.mark.parametrize(
    ("headers", "md5"),
    [
        (head(etag=f'"{MD5}"'), MD5),
        (head(etag=f'"{MD5.upper()}"'), MD5),
        (head(etag=f'"{MD5}"', x_amz_server_side_encryption="AES256"), MD5),
        (head(etag=f'"{MD5}"', x_amz_server_side_encryption="aws:kms"), None),
        (head(etag=f'"{MD5}"', x_amz_server_side_encryption="aws:kms:dsse"), None),
        (head(etag=f'"{MD5}"', x_amz_server_side_encryption_customer_algorithm="AES256"), None),
        (head(etag=f'"{MD5}-2"'), None),
        (head(etag=f'W/"{MD5}"'), None),
        (head(etag=MD5), None),
        (head(etag='"abc"'), None),
        ({}, None),
    ],
)
def test_D22_only_some_etags_are_an_md5(headers: Mapping[str, str], md5: str | None) -> None:
    assert md5_of(headers) == md5


def xml(code: str, message: str = "") -> bytes:
    return f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>{message}</Message></Error>".encode()


@pytest.mark.parametrize(
    ("status", "body", "kind", "cause"),
    [
        (403, xml("AccessDenied", "Request has expired"), LinkExpired, "source_denied"),  # D1
        (403, xml("AccessDenied", "Request is not yet valid"), LinkExpired, "source_denied"),  # U15
        (400, xml("ExpiredToken", "The provided token has expired."), LinkExpired, "source_denied"),  # D2
        (403, xml("SignatureDoesNotMatch"), VendorError, "source_denied"),  # D3
        (403, xml("AccessDenied"), VendorError, "source_denied"),  # D3
        (403, b"", VendorError, "source_denied"),  # D3
        (400, xml("InvalidArgument"), VendorError, "source_denied"),
        (404, xml("NoSuchKey"), VendorError, "source_missing"),  # D4
        (500, xml("InternalError"), VendorError, "vendor_unavailable"),  # D5
        (503, xml("SlowDown"), VendorError, "vendor_unavailable"),  # D5
        (429, b"", VendorError, "vendor_unavailable"),
        (400, xml("RequestTimeout"), VendorError, "vendor_unavailable"),
        (416, xml("InvalidRange"), SourceChanged, "integrity"),  # D8
        (412, xml("PreconditionFailed"), SourceChanged, "integrity"),  # D9
        (302, b"", VendorError, "vendor_contract"),  # D18
        (307, xml("TemporaryRedirect"), VendorError, "vendor_contract"),  # D18
        (204, b"", VendorError, "vendor_contract"),
        (206, b"", VendorError, "vendor_contract"),
    ],
)
def test_D1_to_D18_refusals_of_the_storage(status: int, body: bytes, kind: type[VendorError], cause: str) -> None:
    error = read_refusal(HttpAnswer(status, {"retry-after": "7"}, body), "b.s3.amazonaws.com", NOW)
    assert type(error) is kind
    assert error.cause.word == cause
    if cause == "vendor_unavailable":
        assert isinstance(error, VendorError)
        assert error.retry_after == 7


def test_a_refusal_quotes_the_error_code_and_nothing_else() -> None:
    body = xml("AccessDenied", "https://b/k?X-Amz-Signature=5ecre7canary") + b"\x1b[2J"
    assert str(read_refusal(HttpAnswer(403, {}, body), "b", NOW)) == "the file storage b answered 403 AccessDenied"
