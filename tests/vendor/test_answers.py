"""What the vendor's answers mean, case by case, without any socket."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, strategies as st

from viplake.errors import CredentialsError, NetworkError, VendorError, ViplakeError
from viplake.redact import Secret
from viplake.vendor.port import (
    AnswerUnreadable,
    TooEarly,
    Triggered,
)
from viplake.vendor.veson.answers import (
    NotJson,
    lifetime,
    quoted,
    read_list,
    read_status,
    read_token,
    read_trigger,
)
from viplake.vendor.veson.too_early import next_allowed
from viplake.vendor.wire import HttpAnswer, retry_after

NOW = datetime(2022, 5, 10, 13, 5, tzinfo=UTC)
GUID = "7470724f-e195-416b-a2da-94e63e94f341"
OTHER = "00000000-e195-416b-a2da-94e63e94f341"


def answer(body: Any = b"", status: int = 200, flaw: str | None = None, **headers: str) -> HttpAnswer:
    """An answer; anything but bytes is sent as JSON."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return HttpAnswer(status, {name.replace("_", "-"): value for name, value in headers.items()}, data, flaw)


def message(text: str, status: int = 400, **more: Any) -> HttpAnswer:
    return answer({"Message": text, **more}, status)


HTML = answer(b"<html><body>Access denied by your company</body></html>", content_type="text/html")
HOSTILE = {
    "A1 deep": b"[" * 100_000 + b"]" * 100_000,
    "A1 deep object": b'{"a":' * 100_000,
    "A2 digits": b'{"access_token": "t", "JobGuid": "x", "JobStatus": "Complete", "n": ' + b"9" * 5_000 + b"}",
    "A4 twice": b'{"access_token": "a", "access_token": "b", "JobStatus": "Complete", "JobStatus": "Failed"}',
    "A5 NaN": b'{"access_token": "a", "expires_in": NaN, "JobStatus": "Complete"}',
    "A5 Infinity": b'{"access_token": "a", "expires_in": -Infinity, "JobStatus": "Complete"}',
    "U6 1e400": b'{"access_token": "a", "expires_in": 1e400, "JobStatus": "Complete"}',
    "U4 cut": b'{"access_token": "abc',
    "empty": b"",
    "null": b"null",
    "binary": bytes(range(256)),
    "A11 half UTF-16": b"\xff\xfe{",
}


# -- the token --------------------------------------------------------------------------------------------


def test_a_token_is_read_as_a_secret() -> None:
    token = read_token(answer({"access_token": "canary-token-1", "expires_in": 3600}), NOW)
    assert token.value == Secret("canary-token-1")
    assert token.lifetime == 3600
    assert "canary-token-1" not in repr(token)


@pytest.mark.parametrize(
    ("expires_in", "seconds"),
    [
        (None, 3600),
        ("3600", 3600),
        ("1800", 1800),
        (0, 60),
        (-5, 60),
        (1e9, 86_400),
        (10**400, 3600),
        ("error", 3600),
        ("nan", 3600),
        ("inf", 86_400),
        (True, 3600),
        ([], 3600),
        (1200.5, 1200.5),
    ],
)
def test_T7_lifetime_for_each_form_of_expires_in(expires_in: Any, seconds: float) -> None:
    assert lifetime(expires_in) == seconds


@pytest.mark.parametrize("token", [None, 12, True, "", [], {}, "a\r\nX-Evil: 1", "a b", "é", "x" * 20_000])
def test_T6_T11_an_odd_token_is_refused(token: Any) -> None:
    with pytest.raises(VendorError) as caught:
        read_token(answer({"access_token": token}), NOW)
    assert caught.value.cause.word == "auth_contract"
    assert not isinstance(caught.value, NotJson), "it is not worth a second try"


def test_T6_an_absent_token_is_refused() -> None:
    with pytest.raises(VendorError) as caught:
        read_token(answer({"token": "x"}), NOW)
    assert caught.value.cause.word == "auth_contract"


@pytest.mark.parametrize(
    ("given_answer", "kind", "cause"),
    [
        (answer({"error": "invalid_client"}, 400), CredentialsError, "auth_rejected"),
        (answer({"error": "invalid_scope"}, 400), CredentialsError, "auth_rejected"),
        (answer(b"", 401), CredentialsError, "auth_rejected"),
        (answer({"error": "whatever"}, 403), CredentialsError, "auth_rejected"),
        (answer({"error": "invalid_request"}, 400), VendorError, "auth_contract"),
        (answer(b"<html>", 400), VendorError, "auth_contract"),
        (answer(b"", 404), VendorError, "auth_contract"),
        (answer(b"", 302, location="http://169.254.169.254/"), VendorError, "auth_contract"),
        (answer(b"", 0, flaw="is no valid HTTP"), VendorError, "auth_contract"),
        (answer(b"", 500), VendorError, "auth_unavailable"),
        (answer(b"", 502), VendorError, "auth_unavailable"),
        (answer(b"", 503, retry_after="7"), VendorError, "auth_unavailable"),
        (answer(b"", 504), VendorError, "auth_unavailable"),
        (answer(b"", 429, retry_after="7"), VendorError, "auth_unavailable"),
    ],
)
def test_T1_T2_T3_T4_T9_refusals_of_the_token_call(
    given_answer: HttpAnswer, kind: type[ViplakeError], cause: str
) -> None:
    with pytest.raises(kind) as caught:
        read_token(given_answer, NOW)
    assert caught.value.cause.word == cause
    if "retry-after" in given_answer.headers:
        assert isinstance(caught.value, VendorError)
        assert caught.value.retry_after == 7


@pytest.mark.parametrize("body", HOSTILE.values(), ids=HOSTILE.keys())
def test_A1_A2_A4_A5_hostile_bodies_break_the_contract_and_nothing_else(body: bytes) -> None:
    hostile = answer(body)
    with pytest.raises(VendorError) as token:
        read_token(hostile, NOW)
    assert token.value.cause.word == "auth_contract"
    with pytest.raises(AnswerUnreadable):
        read_trigger(hostile, NOW)
    with pytest.raises(VendorError) as status:
        read_status(hostile, GUID, NOW)
    assert status.value.cause.word == "vendor_contract"
    with pytest.raises(VendorError) as listed:
        read_list(hostile, GUID, no_check, NOW)
    assert listed.value.cause.word == "vendor_contract"
    with pytest.raises(ViplakeError):
        read_trigger(answer(body, 400), NOW)


def test_T5_P7_a_web_page_is_no_answer() -> None:
    with pytest.raises(NotJson, match="web page"):
        read_token(HTML, NOW)
    with pytest.raises(NotJson, match="web page"):
        read_status(HTML, GUID, NOW)
    with pytest.raises(AnswerUnreadable, match="web page"):
        read_trigger(HTML, NOW)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-32"])
def test_A11_other_encodings_of_json_are_read(encoding: str) -> None:
    body = json.dumps({"JobGuid": GUID}).encode(encoding)
    assert read_trigger(answer(body), NOW) == Triggered(GUID)


def test_A9_words_of_the_vendor_are_escaped_cut_and_redacted() -> None:
    canary = Secret("canary-a9-secret")
    shown = quoted("\x1b[31mred\r\nforged line " + canary.reveal() + "é" + "x" * 1000)
    assert "\x1b" not in shown
    assert "\n" not in shown
    assert canary.reveal() not in shown
    assert shown.isascii()
    assert len(shown) < 300
    link = "https://b.example/k?X-Amz-Signature=" + "a" * 4040  # shrinks to a few letters
    assert "canary" not in quoted(f"{link} {canary.reveal() * 2}" + " end" * 1_000_000), "half a secret"
    assert quoted("x" * 5000) == '"..."', "without a blank nobody knows where a secret ends"
    with pytest.raises(VendorError) as caught:
        read_trigger(message("stop\r\n\x1b[2Jnow", 418), NOW)
    assert "\n" not in str(caught.value)
    assert "\x1b" not in str(caught.value)


@given(st.binary(max_size=200), st.integers(0, 599))
def test_any_answer_is_a_value_or_a_typed_error(body: bytes, status: int) -> None:
    any_answer = HttpAnswer(status, {}, body, "is no valid HTTP" if status == 0 else None)
    for read in (
        lambda: read_token(any_answer, NOW),
        lambda: read_trigger(any_answer, NOW),
        lambda: read_status(any_answer, GUID, NOW),
        lambda: read_list(any_answer, GUID, no_check, NOW),
    ):
        try:
            read()
        except ViplakeError as error:
            assert "\n" not in error.message  # noqa: PT017 - either way is right, and both are checked


# -- the trigger ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["JobGuid", "jobGuid", "JOBGUID"])
def test_G1_a_guid_is_taken_as_it_is_written(name: str) -> None:
    assert read_trigger(answer({name: GUID}), NOW) == Triggered(GUID)
    assert read_trigger(answer({name: GUID.upper()}, 202), NOW) == Triggered(GUID.upper())
    assert read_trigger(answer({name: "export20220510"}), NOW) == Triggered("export20220510")


@pytest.mark.parametrize(
    "guid", ["", " ", None, 12, True, [], "a/../../b", "7470724f\r\n", "abc", "x" * 65, "guid with blanks", "é" * 12]
)
def test_G11_an_odd_guid_counts_as_lost_not_as_refused(guid: Any) -> None:
    with pytest.raises(AnswerUnreadable) as caught:
        read_trigger(answer({"JobGuid": guid}), NOW)
    assert caught.value.cause.word == "vendor_contract"


def test_G6_an_accepted_trigger_with_a_cut_body_counts_as_lost() -> None:
    with pytest.raises(AnswerUnreadable):
        read_trigger(answer(b"", 200, flaw="is longer than 1048576 bytes"), NOW)
    with pytest.raises(AnswerUnreadable):
        read_trigger(answer(b"", 0, flaw="is no valid HTTP"), NOW)


AT = datetime(2022, 5, 10, 14, 2, 11, tzinfo=UTC)


@pytest.mark.parametrize("status", [400, 403, 409, 422, 423, 429])
@pytest.mark.parametrize(
    "text",
    [
        "This configuration may run once per hour. The next run is allowed after 2022-05-10T14:02:11Z.",
        "Too early. Try again at 5/10/2022 2:02:11 PM",
        "NOT NOW: 2022-05-10 14:02:11",
        "Forbidden until Tue, 10 May 2022 14:02:11 GMT",
    ],
)
def test_G2_too_soon_with_a_time_for_any_status(text: str, status: int) -> None:
    assert read_trigger(message(text, status), NOW) == TooEarly(AT)


def test_G2_too_soon_even_from_a_server_error_with_a_clear_message() -> None:
    said = "An export is allowed once per hour. Next allowed: 2022-05-10T14:02:11Z"
    assert read_trigger(message(said, 500), NOW) == TooEarly(AT)
    assert read_trigger(answer({"Message": "Too soon: 2022-05-10T14:02:11Z"}), NOW) == TooEarly(AT)


@pytest.mark.parametrize(
    "text", ["Only once per hour.", "Too soon", "An export is already running", "Next allowed trigger is later"]
)
def test_G4_too_soon_in_words_alone(text: str) -> None:
    assert read_trigger(message(text), NOW) == TooEarly(None)


def test_G5_too_soon_with_the_guid_of_the_blocking_export() -> None:
    assert read_trigger(message("Too soon", JobGuid=GUID), NOW) == TooEarly(None, GUID)
    assert read_trigger(message(f"Export {GUID} is already running"), NOW) == TooEarly(None, GUID)


def test_G14_429_is_too_early_by_its_retry_after() -> None:
    assert read_trigger(answer(b"", 429, retry_after="90"), NOW) == TooEarly(NOW + timedelta(seconds=90))
    assert read_trigger(answer(b"", 429), NOW) == TooEarly(None)


@pytest.mark.parametrize(
    ("given_answer", "kind", "cause"),
    [
        (message("Access to the Data Lake is not enabled", 403), CredentialsError, "auth_forbidden"),  # G8
        (answer(b"", 403), CredentialsError, "auth_forbidden"),  # G8
        (answer(b"", 401), CredentialsError, "auth_rejected"),  # G8
        (message("No HTTP resource at 2022-05-10T14:02:11Z", 404), VendorError, "vendor_contract"),  # G9
        (message("Too soon", 405), VendorError, "vendor_contract"),  # G9
        (answer(b"", 410), VendorError, "vendor_contract"),  # G9
        (message("configName is unknown"), VendorError, "vendor_contract"),
        (answer(b"", 302, location="https://evil.example/"), VendorError, "vendor_contract"),  # A10
        (answer(b"", 500), VendorError, "vendor_unavailable"),  # G10
        (message("An error has occurred at 2022-05-10T13:05:30Z", 500), VendorError, "vendor_unavailable"),  # G10
        (answer(b"", 503, retry_after="30"), VendorError, "vendor_unavailable"),  # G10
        (answer(b"", 408), VendorError, "vendor_unavailable"),
    ],
)
def test_G8_G9_G10_other_refusals_of_the_trigger(
    given_answer: HttpAnswer, kind: type[ViplakeError], cause: str
) -> None:
    with pytest.raises(kind) as caught:
        read_trigger(given_answer, NOW)
    assert caught.value.cause.word == cause
    assert not isinstance(caught.value, AnswerUnreadable)


# -- the time in a "too early" ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("after 2022-05-10T14:02:11Z.", AT),
        ("after 2022-05-10T14:02:11.1234567Z", AT),
        ("after 2022-05-10T16:02:11+02:00", AT),
        ("after 2022-05-10T16:02:11 +0200", AT),
        ("after 2022-05-10T09:02:11-05:00", AT),
        ("after 2022-05-10T14:02:11", AT),
        ("after 2022-05-10 14:02:11", AT),
        ("after 2022-05-10 14:02:11 UTC", AT),
        ("after 2022-05-10 14:02:11 (UTC)", AT),
        ("after 2022-05-10 14:02", AT.replace(second=0)),
        ("after 2022/05/10 14:02:11", AT),
        ("after 5/10/2022 2:02:11 PM", AT),
        ("after 5/10/2022 2:02:11 PM.", AT),
        ("after 05/10/2022 02:02:11 pm", AT),
        ("after 10/05/2022 14:02:11", AT),
        ("after 10.05.2022 14:02:11", AT),
        ("after 10/05/2022 14:02:11 GMT", AT),
        ("Tue, 10 May 2022 14:02:11 GMT", AT),
        ("Tuesday, 10-May-2022 14:02:11", AT),
        ("on May 10, 2022 at 2:02:11 PM", AT),
        ("on May 10, 2022, 2:02 p.m. (UTC)", AT.replace(second=0)),
        # of several, the latest that can be meant
        ("Last run 2022-05-10 13:02:11, next 2022-05-10 14:02:11", AT),
        ("It is 2022-05-10T13:05:00Z; wait until 2022-05-10T14:02:11Z", AT),
        ("Job of 2022-05-09T14:02:11Z blocks", None),
        # without a zone only from now to 65 minutes ahead
        ("after 2022-05-10 14:10:00", datetime(2022, 5, 10, 14, 10, tzinfo=UTC)),
        ("after 2022-05-10 14:10:01", None),
        ("after 2022-05-10 16:02:11", None),
        ("after 2022-05-10 13:04:00", None),
        # with a zone also further ahead; the driver decides
        ("after 2022-05-10T16:02:11Z", datetime(2022, 5, 10, 16, 2, 11, tzinfo=UTC)),
        ("after 10 May 2022 16:02:11 GMT", datetime(2022, 5, 10, 16, 2, 11, tzinfo=UTC)),
        ("after 5/13/2022 16:02:11 GMT", datetime(2022, 5, 13, 16, 2, 11, tzinfo=UTC)),
        ("last 5/9/2022 14:02:11 GMT", None),
        # G3: just past counts as now
        ("after 2022-05-10T13:04:55Z", NOW),
        ("after 2022-05-10 13:04:55", NOW),
        # no such moment
        ("after 2022-13-45 14:02:11", None),
        ("after 2022-05-10 25:61:00", None),
        ("after 5/10/2022 14:02:11 PM", None),
        ("after 2022-05-10", None),
        ("in a while", None),
        ("", None),
        ("99999999999999-05-10 14:02:11", None),
        ("9999-12-31T23:59:59-12:00", None),
        ("0001-01-01T00:00:00+12:00", None),
    ],
)
def test_G3_G4_G15_the_next_allowed_time_in_free_text(text: str, expected: datetime | None) -> None:
    assert next_allowed(text, NOW) == expected


def test_G4_day_and_month_are_distinguished_by_the_nearer_future() -> None:
    in_march = datetime(2022, 3, 4, 13, 30, tzinfo=UTC)
    assert next_allowed("3/4/2022 2:00 PM", in_march) == next_allowed("4/3/2022 14:00", in_march)
    assert next_allowed("3/4/2022 14:00", in_march) == datetime(2022, 3, 4, 14, tzinfo=UTC)


def test_G4_midnight_of_new_year() -> None:
    late = datetime(2022, 12, 31, 23, 30, tzinfo=UTC)
    assert next_allowed("1/1/2023 12:10:00 AM", late) == datetime(2023, 1, 1, 0, 10, tzinfo=UTC)


@given(st.text(max_size=80) | st.from_regex(r"[0-9]{1,4}[-/][0-9]{1,2}[-/][0-9]{1,4}[T ][0-9:]{1,8} ?[APMZ+0-9:]*"))
def test_a_time_without_a_zone_is_near_and_never_past(text: str) -> None:
    found = next_allowed(text, NOW)
    assert found is None or found >= NOW
    if found and not any(mark in text.upper() for mark in ("Z", "+", "-", "UTC", "GMT")):
        assert found <= NOW + timedelta(minutes=65)


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("7", 7),
        (" 120 ", 120),
        ("999999", 3600),
        ("Tue, 10 May 2022 13:05:30 GMT", 30),
        ("Tue, 10 May 2022 13:04:30 GMT", 0),
        ("soon", None),
        ("-1", None),
        ("1.5", None),
        ("٣", None),
        ("", None),
    ],
)
def test_T3_retry_after(header: str, seconds: float | None) -> None:
    assert retry_after(answer(b"", 429, retry_after=header), NOW) == seconds


# -- the status -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("word", ["Complete", "Completed", "complete", " COMPLETE ", "completed\n"])
def test_P1_complete_in_any_spelling(word: str) -> None:
    assert read_status(answer({"JobStatus": word}), GUID, NOW).complete
    assert read_status(answer({"JobStatus": word, "JobGuid": GUID.upper()}), GUID, NOW).complete


@pytest.mark.parametrize("word", ["Failed", "Error", "Cancelled", "Canceled", "TimedOut", "timed out", " failed "])
def test_P2_words_of_failure(word: str) -> None:
    with pytest.raises(VendorError, match="disk is full") as caught:
        read_status(answer({"JobStatus": word, "Message": "disk is full\r\n"}), GUID, NOW)
    assert caught.value.cause.word == "vendor_job_failed"


@pytest.mark.parametrize(
    ("word", "known"), [("Running", True), ("In Progress", True), ("Replicating tables", False), ("Incomplete", False)]
)
def test_P3_any_other_word_is_still_running(word: str, known: bool) -> None:
    standing = read_status(answer({"JobStatus": word}), GUID, NOW)
    assert (standing.complete, standing.known) == (False, known)


@pytest.mark.parametrize("status", [None, "", "  ", 3, True, [], {}])
def test_P7_a_missing_status_breaks_the_contract(status: Any) -> None:
    with pytest.raises(VendorError) as caught:
        read_status(answer({"JobStatus": status}), GUID, NOW)
    assert caught.value.cause.word == "vendor_contract"


def test_P8_an_unknown_guid_is_gone() -> None:
    with pytest.raises(VendorError) as caught:
        read_status(answer({"Message": "no"}, 404), GUID, NOW)
    assert caught.value.cause.word == "job_gone"


def test_P9_an_answer_about_another_guid_is_rejected() -> None:
    with pytest.raises(VendorError, match="another job") as caught:
        read_status(answer({"JobStatus": "Complete", "JobGuid": OTHER}), GUID, NOW)
    assert caught.value.cause.word == "vendor_contract"


def test_P10_a_busy_vendor_gives_a_time_to_wait() -> None:
    with pytest.raises(VendorError) as caught:
        read_status(answer(b"", 429, retry_after="30"), GUID, NOW)
    assert (caught.value.cause.word, caught.value.retry_after) == ("vendor_unavailable", 30)


# -- the list ---------------------------------------------------------------------------------------------


def no_check(_: str) -> None:
    """Any link is good."""


def entry(key: Any = "a/b.json.gz", size: Any = 3, url: Any = "https://b.s3.amazonaws.com/k?s") -> dict[str, Any]:
    return {"key": key, "size": size, "presignedDownloadURL": url}


def listing(*entries: Any) -> Any:
    return read_list(answer(list(entries)), GUID, no_check, NOW)


def cause_of(*entries: Any) -> str:
    with pytest.raises(VendorError) as caught:
        listing(*entries)
    return caught.value.cause.word


def test_a_list_is_read_in_the_vendors_order() -> None:
    files = listing(entry("z/1.gz"), {**entry("a/0.gz", 0), "extra": [1]})  # U5: extra fields are ignored
    assert [(file.key, file.name, file.size) for file in files] == [("z/1.gz", "1.gz", 3), ("a/0.gz", "0.gz", 0)]
    assert files[0].url == Secret("https://b.s3.amazonaws.com/k?s")
    assert files[0].promised().location == "https://b.s3.amazonaws.com/k"


def test_U1_an_empty_list_is_never_a_success() -> None:
    assert cause_of() == "url_list_empty"


@pytest.mark.parametrize("body", [{}, {"Message": "no"}, "x", 1, None])
def test_U2_no_list(body: Any) -> None:
    with pytest.raises(NotJson):
        read_list(answer(body), GUID, no_check, NOW)


@pytest.mark.parametrize("status", [401, 403])
def test_U3_a_refused_list_is_about_the_secret(status: int) -> None:
    with pytest.raises(CredentialsError) as caught:
        read_list(answer(b"", status), GUID, no_check, NOW)
    assert caught.value.cause.word == "auth_rejected"


def test_U4_a_cut_list() -> None:
    with pytest.raises(NotJson):
        read_list(answer(json.dumps([entry()]).encode()[:-5]), GUID, no_check, NOW)


@pytest.mark.parametrize("name", ["key", "size", "presignedDownloadURL"])
def test_U5_a_missing_field(name: str) -> None:
    assert cause_of({field: value for field, value in entry().items() if field != name}) == "vendor_contract"


@pytest.mark.parametrize("odd", [None, 1, "", [], {}])
def test_U5_a_field_of_another_type(odd: Any) -> None:
    assert cause_of(entry(key=odd)) == "vendor_contract"
    assert cause_of(entry(url=odd)) == "vendor_contract"
    assert cause_of(odd) == "vendor_contract"


def test_U6_digits_are_a_size() -> None:
    assert listing(entry(size="12"))[0].size == 12


@pytest.mark.parametrize("size", [-1, 1.5, 1.0, True, None, "", "1.5", "-1", " 1", "1e3", "١٢", "9" * 30, 2**63, []])
def test_U6_anything_else_is_not(size: Any) -> None:
    assert cause_of(entry(size=size)) == "vendor_contract"


def test_U6_a_size_without_end() -> None:
    with pytest.raises(VendorError) as caught:
        read_list(answer(b'[{"key": "a", "presignedDownloadURL": "u", "size": 1e400}]'), GUID, no_check, NOW)
    assert caught.value.cause.word == "vendor_contract"


def test_U7_exact_duplicates_are_one_file() -> None:
    assert len(listing(entry(), entry(url="https://b.s3.amazonaws.com/k?another"), entry("c"))) == 2


def test_U7_one_key_with_two_sizes() -> None:
    assert cause_of(entry(), entry(size=4)) == "vendor_contract"


def test_U8_two_keys_of_one_name() -> None:
    assert cause_of(entry("a/x.gz"), entry("b/x.gz")) == "name_collision"


@pytest.mark.parametrize(
    "key",
    ["../x", "a/../x", "a/..\\x", "a/%2e%2e/x", "/x", "a/\x00", "a/\x1b[1m", "k" * 1025, "a/CON", "a/x.", "a/\ud800x"],
)
def test_U9_A3_names_that_cannot_be_stored(key: str) -> None:
    assert cause_of(entry(), entry(key)) == "key_rejected"


def test_U9_case_twins() -> None:
    assert cause_of(entry("a/x.gz"), entry("a/X.gz")) == "key_rejected"


@pytest.mark.parametrize("key", ["a/_Receipt.json", "a/_PresignedUrls.json", "_receipt.JSON"])
def test_U10_our_own_names(key: str) -> None:
    assert cause_of(entry(key)) == "key_rejected"


def test_U9_one_odd_letter_does_not_cost_an_hour() -> None:
    assert len(listing(entry("a/Voyage (é)_1.json.gz"), entry("a/b c+d.gz"))) == 2


def test_U11_every_link_is_checked() -> None:
    seen: list[str] = []
    read_list(answer([entry("a", url="https://1"), entry("b", url="https://2")]), GUID, seen.append, NOW)
    assert seen == ["https://1", "https://2"]


def test_U13_too_many_entries() -> None:
    many = b"[" + b",".join([b"{}"] * 100_001) + b"]"
    with pytest.raises(VendorError, match="100,000") as caught:
        read_list(answer(many), GUID, no_check, NOW)
    assert caught.value.cause.word == "vendor_contract"


def test_U17_a_secret_that_is_echoed_is_redacted() -> None:
    secret = Secret("canary-echoed+secret/=")
    for said in (secret.reveal(), "https://x/?apiToken=canary-echoed%2Bsecret%2F%3D&jobGuid=1"):
        with pytest.raises(VendorError) as caught:
            read_list(message(f"cannot serve {said}", 500), GUID, no_check, NOW)
        assert "canary-echoed" not in str(caught.value)


def test_a_list_that_is_not_there() -> None:
    with pytest.raises(VendorError) as caught:
        read_list(message("no such company", 404), GUID, no_check, NOW)
    assert caught.value.cause.word == "job_gone"
    assert "VIPLAKE_COMPANY" in caught.value.hint


# -- a GUID in any wrapping -------------------------------------------------------------------------------

WRAPPED = {
    "a bare string": json.dumps(GUID).encode(),
    "text": GUID.encode() + b"\n",
    "braces": b'{"JobGuid": "{' + GUID.encode() + b'}"}',
    "32 digits": json.dumps(GUID.replace("-", "")).encode(),
    "a list": json.dumps([{"JobGuid": GUID}]).encode(),
    "nested": json.dumps({"data": {"job": {"jobGuid": GUID}}}).encode(),
    "JSON within JSON": json.dumps(json.dumps({"JobGuid": GUID})).encode(),
    "XML": f'<?xml version="1.0"?><r><JobGuid>{GUID}</JobGuid></r>'.encode(),
    "another name": json.dumps({"id": GUID, "traceId": OTHER}).encode(),
    "cut": b'{"JobGuid": "' + GUID.encode() + b'", "Mess',
    "in both cases": json.dumps({"JobGuid": GUID.upper(), "job": {"jobGuid": GUID.lower()}}).encode(),
    "UTF-16": json.dumps({"JobGuid": GUID}).encode("utf-16-le"),
    "twice": f'{{"JobGuid": "{GUID}", "JobGuid": "{GUID}"}}'.encode(),
}


@pytest.mark.parametrize("body", WRAPPED.values(), ids=WRAPPED.keys())
def test_E22_a_guid_is_adopted_in_any_wrapping(body: bytes) -> None:
    triggered = read_trigger(answer(body), NOW)
    assert isinstance(triggered, Triggered)
    assert triggered.job_guid.replace("-", "").casefold() == GUID.replace("-", "").casefold()


@pytest.mark.parametrize(
    "text",
    [
        '{"data": {"JobGuid": "%s"}}',
        '{"JobGuid": " (%s)\\n"}',
        "<JobGuid>%s</JobGuid>",
        "JobGuid: %s",
        '{"d": "{\\"JobGuid\\": \\"%s\\"}"}',
    ],
)
def test_E22_a_named_guid_needs_no_hyphens(text: str) -> None:
    for guid in (GUID, GUID.replace("-", "")):
        assert read_trigger(answer((text % guid).encode()), NOW) == Triggered(guid)
    bare = GUID.replace("-", "")
    assert read_trigger(answer(b"", 202, location=f"/export/{bare}?a=1"), NOW) == Triggered(bare)


def test_E22_a_guid_in_xml_without_a_declaration_or_beside_an_empty_list_of_errors_is_adopted() -> None:
    xml = f'<string xmlns="http://schemas.microsoft.com/2003/10/Serialization/">{GUID}</string>'
    assert read_trigger(answer(xml.encode()), NOW) == Triggered(GUID)
    assert read_trigger(answer({"errors": [], "result": GUID}), NOW) == Triggered(GUID)
    for other in ({"request": {"sent": 1, "id": GUID}}, {"result": f"see trace {GUID}"}):
        with pytest.raises(AnswerUnreadable):
            read_trigger(answer(other), NOW)


@pytest.mark.parametrize("spelled", [GUID.upper(), f"{{{GUID}}}", GUID.replace("-", ""), f" {GUID}"])
def test_E22_a_status_that_spells_the_guid_in_another_way_is_of_this_job(spelled: str) -> None:
    assert read_status(answer({"JobGuid": spelled, "JobStatus": "Complete"}), GUID, NOW).complete
    with pytest.raises(VendorError, match="another job"):
        read_status(answer({"JobGuid": OTHER, "JobStatus": "Complete"}), GUID, NOW)


@pytest.mark.parametrize("header", ["location", "operation_location", "content_location"])
def test_E22_a_guid_in_the_address_of_the_job_is_adopted(header: str) -> None:
    assert read_trigger(answer(b"", 202, **{header: f"/CheckJobStatus?jobGuid={GUID}"}), NOW) == Triggered(GUID)


@pytest.mark.parametrize("header", ["x_job_guid", "job_id", "jobguid"])
def test_E22_a_guid_in_a_header_of_the_jobs_name_is_adopted(header: str) -> None:
    assert read_trigger(answer(b"", 202, **{header: GUID}), NOW) == Triggered(GUID)


def test_E22_a_server_error_that_names_the_job_is_adopted() -> None:
    assert read_trigger(message("it took too long", 504, JobGuid=GUID), NOW) == Triggered(GUID)
    with pytest.raises(VendorError, match="500"):
        read_trigger(message("it took too long", 500, traceId=GUID), NOW)


@pytest.mark.parametrize("body", [{"a": GUID, "b": OTHER}, {"JobGuid": GUID, "x": {"JobGuid": OTHER}}])
def test_E22_of_two_guids_none_is_adopted_and_both_are_quoted(body: Any) -> None:
    with pytest.raises(AnswerUnreadable) as caught:
        read_trigger(answer(body), NOW)
    assert caught.value.guids == (GUID, OTHER)
    assert GUID in caught.value.message


def test_E22_a_guid_on_a_web_page_is_not_the_jobs() -> None:
    page = answer(f"<html><body>Blocked. Support ID: {GUID}</body></html>".encode(), content_type="text/html")
    with pytest.raises(AnswerUnreadable) as caught:
        read_trigger(page, NOW)
    assert caught.value.guids == ()


# -- what stands in between -------------------------------------------------------------------------------


@pytest.mark.parametrize("read", [read_token, read_trigger, lambda a, now: read_list(a, GUID, no_check, now)])
def test_E23_a_block_page_with_403_belongs_to_the_network_and_nothing_was_sent(read: Any) -> None:
    page = answer(b"<!DOCTYPE html><html>blocked by policy</html>", 403, content_type="text/html")
    with pytest.raises(NetworkError) as caught:
        read(page, NOW)
    assert (caught.value.cause.word, caught.value.owner, caught.value.sent) == ("intercepted", "network", False)


def test_E25_folder_entries_are_left_out() -> None:
    folder = {"key": "CARG/exports/", "presignedDownloadURL": "https://b.s3.amazonaws.com/CARG/exports/", "size": 0}
    file = {"key": "CARG/exports/a.gz", "presignedDownloadURL": "https://b.s3.amazonaws.com/a.gz", "size": 5}
    assert [one.name for one in read_list(answer([folder, file]), GUID, no_check, NOW)] == ["a.gz"]
    with pytest.raises(VendorError) as caught:
        read_list(answer([folder]), GUID, no_check, NOW)
    assert caught.value.cause.word == "url_list_empty"
    with pytest.raises(VendorError) as caught:
        read_list(answer([folder | {"size": 5}]), GUID, no_check, NOW)
    assert caught.value.cause.word == "key_rejected"


@pytest.mark.parametrize("size", [{}, {"size": None}, {"size": ""}, {"size": "00"}, {"size": 0.0}])
def test_E25_a_folder_entry_needs_neither_a_size_nor_a_link(size: dict[str, Any]) -> None:
    file = {"key": "CARG/exports/a.gz", "presignedDownloadURL": "https://b.s3.amazonaws.com/a.gz", "size": 5}
    entries = [{"key": "CARG/exports/"} | size, file]
    assert [one.name for one in read_list(answer(entries), GUID, no_check, NOW)] == ["a.gz"]


@pytest.mark.parametrize("word", [5, True, ["Failed"], {"code": 5}])
def test_E26_a_status_that_is_no_word_is_quoted(word: object) -> None:
    with pytest.raises(VendorError) as caught:
        read_status(answer({"JobStatus": word}), GUID, NOW)
    assert caught.value.cause.word == "vendor_contract"
    assert str(word) in caught.value.message
