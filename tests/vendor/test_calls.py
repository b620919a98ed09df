"""The four calls over real sockets, against the simulated vendor and its faults."""

from __future__ import annotations

import asyncio
import gzip
import json
import zlib
from datetime import timedelta
from typing import Any

import pytest
from structlog.testing import capture_logs

from fakes import FakeClock
from servers.sockets import http, playing
from vendor.rig import GUID, HASTY, Keys, client, failure, rig
from viplake.errors import CredentialsError, NetworkError, SettingsError, VendorError
from viplake.model import PROD
from viplake.vendor.port import AnswerUnreadable, TooEarly, Triggered
from viplake.vendor.veson.client import VendorSettings

pytestmark = pytest.mark.system


async def test_the_four_calls_and_a_file() -> None:
    async with rig() as r:
        await r.vendor.authorize()
        triggered = await r.vendor.trigger()
        assert isinstance(triggered, Triggered)
        assert await r.vendor.is_complete(triggered.job_guid) is False
        r.clock.advance(1300)
        assert await r.vendor.is_complete(triggered.job_guid) is True
        for file in await r.vendor.list_files(triggered.job_guid):
            data = await r.fetch(file)
            assert data == b"".join(r.sim.source(triggered.job_guid, file.key))
            assert len(data) == file.size
        assert r.sim.requests.count("trigger") == 1
        assert r.sim.requests.count("token") == 1


# -- the token --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "fault", ["token:invalid_client", "token:invalid_scope", "token:status:value=401", "token:forbidden"]
)
async def test_T1_T2_refused_credentials_are_read_anew_once(fault: str) -> None:
    async with rig(fault) as r:
        error = await failure(r.vendor.authorize())
        assert isinstance(error, CredentialsError)
        assert error.cause.word == "auth_rejected"
        assert r.keys.reads == [False, True]
        assert r.sim.requests.count("token") == 2
        assert r.sim.requests.count("trigger") == 0


async def test_S6_a_rotated_secret_is_found() -> None:
    keys = Keys(secret="the-old-secret-of-yesterday")
    keys.rotated = Keys().secret
    async with rig(keys=keys) as r:
        await r.vendor.authorize()
        assert keys.reads == [False, True]


async def test_T3_retry_after_is_honoured() -> None:
    async with rig("token:retry_after:times=1,value=7") as r:
        await r.vendor.authorize()
        assert r.clock.slept[0] >= 7


async def test_T3_a_retry_after_beyond_our_patience_is_handed_on() -> None:
    async with rig("token:retry_after:value=120") as r:
        error = await failure(r.vendor.authorize())
        assert isinstance(error, VendorError)
        assert (error.cause.word, error.retry_after) == ("auth_unavailable", 120)
        assert r.clock.slept == []


@pytest.mark.parametrize("status", [500, 502, 503, 504])
async def test_T4_server_errors_are_borne_for_a_while(status: int) -> None:
    async with rig(f"token:status:times=3,value={status}") as r:
        await r.vendor.authorize()
        assert len(r.clock.slept) == 3


async def test_T4_but_not_for_ever() -> None:
    async with rig("token:status:value=503") as r:
        error = await failure(r.vendor.authorize())
        assert error.cause.word == "auth_unavailable"
        assert sum(r.clock.slept) <= 60
        assert len(r.clock.slept) >= 4


async def test_T5_a_web_page_is_tried_again_a_few_times() -> None:
    async with rig("token:html:times=3") as r:
        await r.vendor.authorize()
    async with rig("token:html") as r:
        error = await failure(r.vendor.authorize())
        assert error.cause.word == "auth_contract"
        assert r.sim.requests.count("token") == 4


@pytest.mark.parametrize("fault", ["access_token", "access_token:value=null", "access_token:value=12", "crlf", "nan"])
async def test_T6_T11_an_odd_token_is_an_error_at_once(fault: str) -> None:
    async with rig(f"token:{fault}") as r:
        assert (await failure(r.vendor.authorize())).cause.word == "auth_contract"


async def test_T7_a_token_is_renewed_two_minutes_early() -> None:
    async with rig() as r:
        await r.vendor.authorize()
        r.clock.advance(3600 - 121)
        await r.vendor.authorize()
        assert r.sim.requests.count("token") == 1
        r.clock.advance(2)
        await r.vendor.authorize()
        assert r.sim.requests.count("token") == 2


@pytest.mark.parametrize("lifetime", ["absent", '"3600"', '"error"', "true", "null"])
async def test_T7_an_odd_lifetime_is_an_hour(lifetime: str) -> None:
    async with rig(f"token:expires_in:value={lifetime}") as r:
        await r.vendor.authorize()
        r.clock.advance(3000)
        await r.vendor.authorize()
        assert r.sim.requests.count("token") == 1


async def test_T7_a_short_lifetime_is_used_for_half_of_it() -> None:
    async with rig("token:expires_in:value=-5") as r:
        await r.vendor.authorize()
        await r.vendor.authorize()
        assert r.sim.requests.count("token") == 1
        r.clock.advance(31)
        await r.vendor.authorize()
        assert r.sim.requests.count("token") == 2


@pytest.mark.parametrize("call", ["trigger", "status"])
async def test_T8_P11_a_refused_token_is_renewed_once(call: str) -> None:
    async with rig() as r:
        guid = await r.complete() if call == "status" else ""
        asked = r.sim.requests.count("trigger")
        r.sim.faults.add("token:revoke:times=1", f"{call}:unauthorized:times=1")
        if call == "trigger":
            assert isinstance(await r.vendor.trigger(), Triggered)
        else:
            assert await r.vendor.is_complete(guid)
        assert r.sim.requests.count("token") == 2
        assert r.sim.requests.count("trigger") == asked + (2 if call == "trigger" else 0)


async def test_T8_G8_a_token_that_is_refused_again_is_not_requested_for_ever() -> None:
    async with rig("token:stillborn") as r:
        assert (await failure(r.vendor.trigger())).cause.word == "auth_rejected"
        assert (r.sim.requests.count("token"), r.sim.requests.count("trigger")) == (2, 2)
        assert len(r.sim.jobs) == 0


async def test_T9_a_redirect_is_not_followed() -> None:
    async with playing(b"") as elsewhere, rig(f"token:redirect:value={elsewhere.url}/token") as r:
        error = await failure(r.vendor.authorize())
        assert error.cause.word == "auth_contract"
        assert "redirect" in error.message
        assert elsewhere.connections == 0


async def test_T10_eight_waiters_share_one_renewal() -> None:
    async with rig() as r:
        await asyncio.gather(*(r.vendor.authorize() for _ in range(8)))
        assert r.sim.requests.count("token") == 1
        r.clock.advance(3600)
        await asyncio.gather(*(r.vendor.authorize() for _ in range(8)))
        assert r.sim.requests.count("token") == 2


async def test_T10_they_share_a_failure_too_and_then_try_again() -> None:
    async with rig("token:access_token:times=1") as r:
        errors = await asyncio.gather(*(r.vendor.authorize() for _ in range(8)), return_exceptions=True)
        assert all(isinstance(error, VendorError) for error in errors)
        assert r.sim.requests.count("token") == 1
        await r.vendor.authorize()


async def test_T10_a_waiter_that_gives_up_does_not_take_the_token_from_the_others() -> None:
    async with rig() as r:
        first = asyncio.create_task(r.vendor.authorize())
        second = asyncio.create_task(r.vendor.authorize())
        await asyncio.sleep(0)
        first.cancel()
        await second
        assert r.sim.requests.count("token") == 1


# -- the trigger ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("wording", ["iso", "iso_offset", "iso_naive", "us", "eu", "rfc"])
async def test_G2_too_soon_is_a_value_with_the_time(wording: str) -> None:
    async with rig(f"trigger:wording:value={wording}") as r:
        await r.vendor.trigger()
        first = r.clock.now()
        r.clock.advance(600)
        early = await r.vendor.trigger()
        assert early == TooEarly((first + timedelta(hours=1)).replace(microsecond=0))


async def test_G3_G4_G5_G15_other_wordings_of_too_soon() -> None:
    async with rig() as r:
        guid = await r.complete()
        now = r.clock.now()
        for wording, expected in {
            "past": TooEarly(now),
            "none": TooEarly(None),
            "far": TooEarly(now + timedelta(hours=3)),
        }.items():
            r.sim.faults.clear()
            r.sim.faults.add(f"trigger:wording:value={wording}")
            assert await r.vendor.trigger() == expected
        r.sim.faults.clear()
        r.sim.faults.add("trigger:wording:value=guid")
        early = await r.vendor.trigger()
        assert isinstance(early, TooEarly)
        assert early.job_guid == guid


@pytest.mark.parametrize("fault", ["answer_lost", "answer_late:value=5", "cut_body", "reset", "hang:value=5"])
async def test_G6_a_lost_answer_is_one_post_that_may_have_arrived(fault: str) -> None:
    async with rig(f"trigger:{fault}", network=HASTY) as r:
        await r.vendor.authorize()
        error = await failure(r.vendor.trigger())
        assert isinstance(error, NetworkError)
        assert error.sent is True
        assert r.sim.requests.count("trigger") == 1


async def test_G6_an_unsent_trigger_is_marked_as_such() -> None:
    async with playing(b"") as gone:
        pass
    async with playing(http(b'{"access_token": "canary-token"}')) as login:
        vendor = client(login.url, FakeClock(), Keys(), export_url=f"http://127.0.0.1:{gone.port}/api")
        async with vendor:
            await vendor.authorize()
            error = await failure(vendor.trigger())
    assert isinstance(error, NetworkError)
    assert (error.sent, error.cause.word) == (False, "network")


async def test_G6_a_token_that_cannot_be_had_is_no_lost_trigger() -> None:
    async with rig("token:answer_lost") as r:
        error = await failure(r.vendor.trigger())
        assert isinstance(error, NetworkError)
        assert error.sent is False
        assert r.sim.requests.count("trigger") == 0


async def test_G6_a_trigger_never_rides_on_an_idle_connection() -> None:
    answers = (
        http(b'{"access_token": "canary-token"}'),
        http(b'{"JobStatus": "Running"}'),
        http(b'{"JobGuid": "export-1"}'),
    )
    async with playing(*answers, a_connection=2) as wire:
        vendor = client(wire.url, FakeClock(), Keys())
        async with vendor:
            await vendor.is_complete(GUID)  # two answers on one connection: the server hangs up at the third
            assert await vendor.trigger() == Triggered("export-1")


@pytest.mark.parametrize(
    "fault",
    [
        "bad_guid",
        "bad_guid:value=null",
        "bad_guid:value=../x",
        "json:value={}",
        "html",
        "empty_body",
        "endless",
        "gzip_bomb",
        "huge_header",
    ],
)
async def test_G11_an_accepted_trigger_without_a_guid_is_lost(fault: str) -> None:
    async with rig(f"trigger:{fault}") as r:
        error = await failure(r.vendor.trigger())
        assert isinstance(error, AnswerUnreadable)
        assert r.sim.requests.count("trigger") == 1


@pytest.mark.parametrize(
    ("fault", "cause"),
    [
        pytest.param("forbidden", "auth_forbidden", id="G8 forbidden"),
        pytest.param("not_found", "vendor_contract", id="G9 not_found"),
        pytest.param("status:value=405", "vendor_contract", id="G9 status:value=405"),
        pytest.param("status:value=410", "vendor_contract", id="G9 status:value=410"),
        pytest.param("redirect", "vendor_contract", id="A10 redirect"),
        pytest.param("status:value=500", "vendor_unavailable", id="G10 status:value=500"),
        pytest.param("accepted_status:value=503", "vendor_unavailable", id="G10 accepted_status:value=503"),
        pytest.param("control_characters", "vendor_contract", id="A9 control_characters"),
    ],
)
async def test_a_refused_trigger_is_one_post(fault: str, cause: str) -> None:
    async with rig(f"trigger:{fault}") as r:
        error = await failure(r.vendor.trigger())
        assert error.cause.word == cause
        assert r.sim.requests.count("trigger") == 1


async def test_G14_429_is_too_early() -> None:
    async with rig("trigger:retry_after:value=90") as r:
        assert await r.vendor.trigger() == TooEarly(r.clock.now() + timedelta(seconds=90))
        assert r.sim.requests.count("trigger") == 1


# -- the status -------------------------------------------------------------------------------------------


async def test_P3_an_unknown_word_warns_once() -> None:
    async with rig("status:word:value=Marinating") as r:
        guid = await r.complete()
        with capture_logs() as logs:
            for _ in range(3):
                assert await r.vendor.is_complete(guid) is False
        assert [entry["status"] for entry in logs if entry["log_level"] == "warning"] == ['"Marinating"']


@pytest.mark.parametrize(
    "fault",
    [
        "html",
        "no_status",
        "empty_body",
        "deep_json",
        "big_int",
        "duplicate_members",
        "nan",
        "other_guid",
        "json:value=[]",
    ],
)
async def test_P7_P9_odd_answers_are_borne_four_times(fault: str) -> None:
    async with rig() as r:
        guid = await r.complete()
        r.sim.faults.add(f"status:{fault}")
        causes = [(await failure(r.vendor.is_complete(guid))).cause.word for _ in range(5)]
        assert causes == ["vendor_unavailable"] * 4 + ["vendor_contract"]
        r.sim.faults.clear()
        assert await r.vendor.is_complete(guid)
        r.sim.faults.add(f"status:{fault}")
        assert (await failure(r.vendor.is_complete(guid))).transient, "an answer in between starts the count anew"


async def test_P8_an_unknown_guid_is_gone_after_three_tries_and_two_minutes() -> None:
    async with rig() as r:
        causes = []
        for _ in range(3):
            causes.append((await failure(r.vendor.is_complete(GUID))).cause.word)
            r.clock.advance(60)
        assert causes == ["vendor_unavailable", "vendor_unavailable", "job_gone"]
    async with rig() as r:
        for number in range(6):  # two jobs in turn are counted apart
            other = GUID.replace("7", "8") if number % 2 else GUID
            error = await failure(r.vendor.is_complete(other))
            assert error.transient is (number < 4)
            r.clock.advance(60)
    async with rig() as r:
        for _ in range(6):  # in quick succession it proves nothing
            assert (await failure(r.vendor.is_complete(GUID))).transient


@pytest.mark.parametrize(
    "fault",
    [
        "status:times=1,value=500",
        "retry_after:times=1,value=30",
        "reset:times=1",
        "hang:times=1,value=5",
        "answer_late:times=1,value=5",
    ],
)
async def test_P5_P10_a_transient_error_is_marked_as_such(fault: str) -> None:
    async with rig(network=HASTY) as r:
        guid = await r.complete()
        r.sim.faults.add(f"status:{fault}")
        error = await failure(r.vendor.is_complete(guid))
        assert error.transient
        assert await r.vendor.is_complete(guid)


# -- the list ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", ["object", "cut_json", "html", "empty_body"])
async def test_U2_U4_a_broken_list_is_requested_again(fault: str) -> None:
    async with rig(f"files:{fault}:times=2") as r:
        assert await r.vendor.list_files(await r.complete())
        assert r.sim.requests.count("files") == 3
    async with rig(f"files:{fault}") as r:
        assert (await failure(r.vendor.list_files(await r.complete()))).cause.word == "vendor_contract"
        assert r.sim.requests.count("files") == 3


async def test_U3_a_refused_list_has_the_secret_read_anew_once() -> None:
    async with rig("files:forbidden") as r:
        error = await failure(r.vendor.list_files(await r.complete()))
        assert error.cause.word == "auth_rejected"
        assert r.keys.reads == [False, False, True]
        assert r.sim.requests.count("files") == 2
        assert f"the company code {r.sim.settings.company} is the likely reason" in error.message
        assert "VIPLAKE_COMPANY" in error.hint
        assert "secret" in error.hint


async def test_U3_wrong_company_is_named_when_the_list_is_refused() -> None:
    async with rig(company="ACNE") as r:
        error = await failure(r.vendor.list_files(await r.complete()))
        assert (type(error), error.cause.word) == (CredentialsError, "auth_rejected")
        assert "the company code ACNE is the likely reason" in error.message


async def test_U3_without_a_token_for_the_secret_the_company_is_not_blamed() -> None:
    async with rig("files:forbidden") as r:
        guid = await r.complete()
        r.keys.rotated = "a-secret-that-no-token-call-has-sent"
        error = await failure(r.vendor.list_files(guid))
        assert error.cause.word == "auth_rejected"
        assert "company" not in error.message


async def test_U3_S6_a_secret_rotated_since_the_token_is_found() -> None:
    async with rig() as r:
        guid = await r.complete()
        r.keys.secret, r.keys.rotated = "the-old-secret-of-yesterday", r.keys.secret
        assert await r.vendor.list_files(guid)
        assert r.sim.requests.count("files") == 2


@pytest.mark.parametrize(
    ("fault", "cause"),
    [
        pytest.param("empty", "url_list_empty", id="U1 empty"),
        pytest.param("missing_field:value=size", "vendor_contract", id="U5 missing_field:value=size"),
        pytest.param("missing_field:value=key", "vendor_contract", id="U5 missing_field:value=key"),
        pytest.param(
            "missing_field:value=presignedDownloadURL",
            "vendor_contract",
            id="U5 missing_field:value=presignedDownloadURL",
        ),
        pytest.param("size:value=-1", "vendor_contract", id="U6 size:value=-1"),
        pytest.param("size:value=1.5", "vendor_contract", id="U6 size:value=1.5"),
        pytest.param("size:value=true", "vendor_contract", id="U6 size:value=true"),
        pytest.param("size:value=1e400", "vendor_contract", id="U6 size:value=1e400"),
        pytest.param("duplicate_size", "vendor_contract", id="U7 duplicate_size"),
        pytest.param("collision", "name_collision", id="U8 collision"),
        pytest.param("case_twin", "key_rejected", id="U9 case_twin"),
        pytest.param("key", "key_rejected", id="U9 key"),
        pytest.param(
            "key:file=_MasterTableSchema.json,value=_Receipt.json",
            "key_rejected",
            id="U10 key:file=_MasterTableSchema.json,value=_Receipt.json",
        ),
        pytest.param("url:value=host", "url_rejected", id="U11 url:value=host"),
        pytest.param("url:value=ip", "url_rejected", id="U11 url:value=ip"),
        pytest.param("url:value=userinfo", "url_rejected", id="U11 url:value=userinfo"),
        pytest.param("many:value=100001", "vendor_contract", id="U13 many:value=100001"),
        pytest.param("endless", "vendor_contract", id="U13 endless"),
        pytest.param("gzip_bomb", "vendor_contract", id="A13 gzip_bomb"),
        pytest.param("huge_header", "vendor_contract", id="A7 huge_header"),
        pytest.param("deep_json", "vendor_contract", id="A1 deep_json"),
        pytest.param("redirect", "vendor_contract", id="A10 redirect"),
        ("status:value=503", "vendor_unavailable"),
        ("not_found", "job_gone"),
    ],
)
async def test_a_list_that_cannot_be_trusted_lands_nothing(fault: str, cause: str) -> None:
    async with rig(f"files:{fault}") as r:
        error = await failure(r.vendor.list_files(await r.complete()))
        assert error.cause.word == cause
        assert r.sim.requests.count("download") == 0


@pytest.mark.parametrize("fault", ["duplicate", 'size:value="12"', "extra_members", "utf16", "bom", "text_plain"])
async def test_U5_U6_U7_A11_a_list_that_is_only_odd(fault: str) -> None:
    async with rig(f"files:{fault}") as r:
        assert await r.vendor.list_files(await r.complete())


async def test_U17_an_echoed_secret_is_redacted() -> None:
    async with rig("files:echo_token") as r:
        error = await failure(r.vendor.list_files(await r.complete()))
        assert error.cause.word == "vendor_unavailable"
        assert "canary" not in error.message


async def test_A12_headers_that_drip_meet_the_deadline() -> None:
    async with rig(network=HASTY) as r:
        guid = await r.complete()
        r.sim.faults.add("status:slow_headers:value=0.2")
        error = await failure(r.vendor.is_complete(guid))
        assert error.cause.word == "network"


async def test_A13_an_answer_may_be_gzipped() -> None:
    packed = http(gzip.compress(b'{"JobStatus": "Complete"}'), "200 OK", "Content-Encoding: gzip")
    login = http(b'{"access_token": "canary-token"}')
    for answer, complete in ((packed, True), (packed[:-9], None), (packed.replace(b": gzip", b": zstd"), None)):
        async with playing(login, answer) as wire, client(wire.url, FakeClock(), Keys()) as vendor:
            if complete:
                assert await vendor.is_complete(GUID)
            else:
                assert (await failure(vendor.is_complete(GUID))).transient


# -- settings ---------------------------------------------------------------------------------------------


def test_settings_that_cannot_be_right_are_refused_before_anything_is_sent() -> None:
    wrongs: tuple[dict[str, Any], ...] = (
        {"token_url": "http://auth.veslink.com/connect/token"},
        {"export_url": "ftp://emea.veslink.com"},
        {"files_url": "http://127.0.0.1/"},
    )
    for wrong in wrongs:
        with pytest.raises(SettingsError, match="VIPLAKE_"):
            client("https://x.example", FakeClock(), Keys(), allow_insecure_http=False, **wrong)


def test_the_settings_of_the_vendor_are_those_it_documents() -> None:
    settings = VendorSettings(PROD, "DEMO")
    assert settings.token_url == "https://auth.veslink.com/connect/token"
    assert settings.export_url == "https://emea.veslink.com/api/datalake/v1"
    assert settings.files_url == "https://api.veslink.com/v1/datalake"


# -- odd answers of things in between ---------------------------------------------------------------------

TOKEN = json.dumps({"access_token": "t-0123456789", "expires_in": 3600}).encode()


async def test_E19_a_header_of_kilobytes_is_read() -> None:
    async with (
        playing(http(TOKEN, "200 OK", f"X-Policy: {'p' * 60_000}")) as wire,
        client(wire.url, FakeClock(), Keys()) as vendor,
    ):
        await vendor.authorize()


def deflated(body: bytes, wbits: int) -> bytes:
    packer = zlib.compressobj(wbits=wbits)
    return packer.compress(body) + packer.flush()


@pytest.mark.parametrize("wbits", [-15, 15, 31], ids=["raw deflate", "deflate", "gzip"])
async def test_E20_each_form_of_deflate_is_read_though_only_gzip_is_requested(wbits: int) -> None:
    coding = "gzip" if wbits == 31 else "deflate"
    async with (
        playing(http(deflated(TOKEN, wbits), "200 OK", f"Content-Encoding: {coding}")) as wire,
        client(wire.url, FakeClock(), Keys()) as vendor,
    ):
        await vendor.authorize()
    assert b"Accept-Encoding: gzip\r\n" in wire.requests[0]


@pytest.mark.parametrize("header", ["", "identity, gzip", "GZIP , identity", "x-gzip", "utf-8"])
async def test_E20_gzip_is_read_with_any_header(header: str) -> None:
    lines = ["200 OK", f"Content-Encoding: {header}"] if header else ["200 OK"]
    async with (
        playing(http(deflated(TOKEN, 31), *lines)) as wire,
        client(wire.url, FakeClock(), Keys()) as vendor,
    ):
        await vendor.authorize()


@pytest.mark.parametrize("coding", ["utf-8", "UTF-8", "none", "identity", "gzip", "binary"])
async def test_E21_a_coding_that_was_not_applied_is_ignored(coding: str) -> None:
    async with (
        playing(http(TOKEN, "200 OK", f"Content-Encoding: {coding}")) as wire,
        client(wire.url, FakeClock(), Keys()) as vendor,
    ):
        await vendor.authorize()


async def test_E21_a_coding_that_nothing_here_undoes_is_named() -> None:
    async with (
        playing(http(b"\x0b\x02\x80", "200 OK", "Content-Encoding: br")) as wire,
        client(wire.url, FakeClock(), Keys()) as vendor,
    ):
        error = await failure(vendor.authorize())
    assert "the encoding br" in error.message


async def test_E22_the_guid_of_an_answer_that_broke_off_is_adopted() -> None:
    body = json.dumps({"JobGuid": GUID, "Message": "x" * 50}).encode()
    cut = http(body).replace(b"Content-Length: " + str(len(body)).encode(), b"Content-Length: 500")
    async with playing(http(TOKEN), cut) as wire, client(wire.url, FakeClock(), Keys()) as vendor:
        assert await vendor.trigger() == Triggered(GUID)
    assert len(wire.requests) == 2


async def test_E26_the_last_unknown_status_word_is_kept() -> None:
    async with (
        playing(http(TOKEN), http(b'{"JobStatus": "CompletedWithErrors"}')) as wire,
        client(wire.url, FakeClock(), Keys()) as vendor,
    ):
        assert not await vendor.is_complete(GUID)
        assert vendor.last_word(GUID) == '"CompletedWithErrors"'
        assert vendor.last_word("another") == ""
