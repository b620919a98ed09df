"""What a refusal of the store means: a table of texts of the library, as it gave them."""

from __future__ import annotations

import pytest
from botocore.exceptions import ProxyConnectionError

from viplake.lake.refusals import lake_error
from viplake.network.aws import unreachable


def refused(status: str, code: str, message: str = "", body: str = "") -> str:
    body = body or f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>{message}</Message></Error>"
    return (
        f"Generic S3 error: Error performing PUT https://b.example/k in 1ms - Server returned non-2xx status code:"
        f' {status}: {body}\n\nDebug source:\nGeneric {{ store: "S3" }}'
    )


@pytest.mark.parametrize(
    ("text", "cause", "owner", "transient"),
    [
        (refused("501 Not Implemented", "NotImplemented", "A header you sent"), "dest_feature", "us", False),
        (refused("501 Not Implemented", "", body="no"), "dest_feature", "us", False),
        (refused("400 Bad Request", "InvalidArgument", "x-amz-checksum-x unknown"), "dest_feature", "us", False),
        (refused("400 Bad Request", "SomethingNew", "odd"), "dest_refused", "aws", False),
        (refused("418 I'm a teapot", "", body="short and stout"), "dest_refused", "aws", False),
        (refused("409 Conflict", "OperationAborted"), "dest_unavailable", "aws", True),
        (refused("429 Too Many Requests", "TooManyRequests"), "dest_unavailable", "aws", True),
        (refused("503 Slow Down", "SlowDown"), "dest_unavailable", "aws", True),
        (refused("403 Forbidden", "InvalidObjectState", "archived"), "dest_archived", "us", False),
        (refused("403 Forbidden", "AccessDenied", "explicit deny"), "dest_denied", "aws", False),
        (refused("403 Forbidden", "AccessDenied", "not authorized to perform: kms:Decrypt"), "dest_kms", "aws", False),
        (refused("400 Bad Request", "KMS.ThrottlingException"), "dest_unavailable", "aws", True),
        (refused("507 Insufficient Storage", "XMinioStorageFull"), "disk_full", "us", False),
        (refused("507 Insufficient Storage", ""), "disk_full", "us", False),
        (refused("403 Forbidden", "QuotaExceeded"), "disk_full", "us", False),
        (refused("403 Forbidden", "ExpiredTokenException"), "dest_auth", "aws", False),
        (refused("403 Forbidden", "NotSignedUp"), "dest_auth", "aws", False),
        (refused("503 Service Unavailable", "XMinioServerNotInitialized"), "dest_unavailable", "aws", True),
        (refused("403 Forbidden", "RequestTimeTooSkewed"), "clock", "us", False),
        (refused("403 Forbidden", "", body="<html>blocked</html>"), "intercepted", "network", False),
        ("HTTP error: error sending request\n\nDebug source: dns error, failed", "network", "network", True),
        ("HTTP error: error sending request\n\nDebug source: ConnectionRefused", "network", "network", True),
        ("HTTP error: error sending request\n\nDebug source: invalid peer certificate", "tls", "network", False),
        ("HTTP error\n\nDebug source: Proxy Authentication Required", "proxy_auth", "network", False),
        ("HTTP error: error sending request\n\nDebug source: TunnelUnsuccessful", "proxy", "network", True),
    ],
)  # fmt: skip
def test_E13_E16_a_refusal_has_cause_owner_and_whether_it_passes(
    text: str, cause: str, owner: str, transient: bool
) -> None:
    error = lake_error(text, "write k")
    assert (error.cause.word, error.owner, error.transient) == (cause, owner, transient)


def test_E16_the_words_of_s3_are_quoted_to_their_end() -> None:
    words = "User: arn:aws:sts::1:assumed-role/r is not authorized" + " to s3:PutObject" * 30 + " with an explicit deny"
    error = lake_error(refused("403 Forbidden", "AccessDenied", words), "write k")
    assert error.message.endswith("S3 answered 403 AccessDenied: " + words)


def test_E9_a_host_that_is_made_from_the_region_names_it() -> None:
    error = lake_error("error sending request\n\nDebug source: dns error", "read k", region="eu-west1")
    assert "its name cannot be resolved" in error.message
    assert "eu-west1" in error.hint
    assert "AWS_REGION" in error.hint


@pytest.mark.parametrize("number", [1, 13, 18, 22, 31, 38, 95, 524])
def test_E17_a_mount_without_hard_links_is_named(number: int) -> None:
    text = f"Generic LocalFileSystem error: Unable to rename file: not possible (os error {number})"
    error = lake_error(text, "create _viplake/x", local=True)
    assert (error.cause.word, error.owner) == ("dest_io", "us")
    assert "hard links" in error.hint
    assert "hard links" not in lake_error(text, "write x", local=True).hint


@pytest.mark.parametrize("number", [1, 13])
def test_E17_a_folder_that_may_not_be_written_is_no_mount_without_hard_links(number: int) -> None:
    text = f"Generic LocalFileSystem error: Unable to open file /lake/x#1: not permitted (os error {number})"
    assert "hard links" not in lake_error(text, "create _viplake/x", local=True).hint


def test_E18_a_mount_with_shorter_names_is_named_behind_a_path_of_any_length() -> None:
    text = f"Generic LocalFileSystem error: Unable to open file /lake/{'a' * 400}#1: File name too long (os error 36)"
    error = lake_error(text, "write x", local=True)
    assert (error.cause.word, error.owner) == ("dest_io", "us")
    assert error.message.endswith("File name too long (os error 36)")
    assert "shorter names" in error.hint


def test_E28_a_leg_that_sees_no_schemes_names_the_one_that_is_spoken() -> None:
    error = lake_error("HTTP error\n\nDebug source: Proxy Authentication Required", "read k")
    assert "Basic" in error.message
    refused = ProxyConnectionError(proxy_url="http://proxy.example", error="Tunnel connection failed: 407 NTLM")
    other = unreachable(refused, "sts")
    assert other is not None
    assert (other.cause.word, error.cause.word) == ("proxy_auth", "proxy_auth")
    assert "Basic" in other.message
