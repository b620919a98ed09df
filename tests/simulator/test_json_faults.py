"""What goes wrong with the four calls goes wrong as it says."""

# ruff: noqa: E501 - a case a line

from __future__ import annotations

import asyncio
import json
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest

from simulator.client import SECRET, Client, Got, vendor
from viplake.simulator import parse
from viplake.simulator.faults import WORDINGS, Fault
from viplake.simulator.spoil import gzip_bomb

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.system

BROKEN = (aiohttp.ClientError, ConnectionError)


@dataclass
class Scene:
    """A call under a fault: what came back, or what was raised."""

    client: Client
    guid: str
    got: Got | None
    raised: Exception | None

    @property
    def answer(self) -> Got:
        assert self.got is not None, self.raised
        return self.got

    @property
    def json(self) -> Any:
        return self.answer.json()

    @property
    def names(self) -> list[str]:
        return [entry["key"].rpartition("/")[2] for entry in self.json]

    def entry(self, word: str) -> dict[str, Any]:
        (found,) = [entry for entry in self.json if word in json.dumps(entry)]
        assert isinstance(found, dict)
        return found


@dataclass(frozen=True)
class Case:
    """A fault, and what holds then."""

    fault: str
    holds: Callable[[Scene], object]


async def _call(client: Client, call: str, guid: str) -> Got:
    match call:
        case "token":
            return await client.log_in()
        case "trigger":
            return await client.trigger()
        case "status":
            return await client.status(guid)
        case _:
            return await client.files(guid)


async def play(client: Client, fault: Fault) -> Scene:
    """Bring a vendor to where the call is due, switch the fault on, and call."""
    guid = await client.complete() if fault.call in {"status", "files"} else ""
    if fault.call == "trigger":
        await client.log_in()
    client.vendor.faults.add(fault)
    try:
        return Scene(client, guid, await _call(client, fault.call, guid), None)
    except (*BROKEN, TimeoutError, ValueError) as error:
        return Scene(client, guid, None, error)


def _message(scene: Scene) -> str:
    assert scene.answer.status == 400
    assert scene.client.vendor.jobs == {}
    return str(scene.json["Message"])


def _is_broken(scene: Scene) -> bool:
    return isinstance(scene.raised, BROKEN)


def _triggered(scene: Scene) -> bool:
    return len(scene.client.vendor.jobs) == 1


FILE = "file=Voyage_2*"
CASES = (
    # -- any call: before anything is done
    Case("trigger:status", lambda s: s.answer.status == 503 and not _triggered(s)),
    Case("trigger:status:value=404", lambda s: s.answer.status == 404 and not _triggered(s)),
    Case("token:retry_after", lambda s: (s.answer.status, s.answer.headers["Retry-After"]) == (429, "7")),
    Case("trigger:retry_after:value=9", lambda s: s.answer.headers["Retry-After"] == "9" and not _triggered(s)),
    Case("trigger:forbidden", lambda s: s.answer.status == 403 and not _triggered(s)),
    Case("status:not_found", lambda s: s.answer.status == 404),
    Case("token:redirect", lambda s: s.answer.status == 302 and s.answer.headers["Location"] == "/_simulator/followed"),
    Case("files:redirect:value=https://x/", lambda s: s.answer.headers["Location"] == "https://x/"),
    Case("trigger:reset", lambda s: _is_broken(s) and not _triggered(s)),
    Case("trigger:hang:value=0.05", lambda s: _is_broken(s) and not _triggered(s)),
    Case("token:html", lambda s: s.answer.status == 200 and s.answer.body.startswith(b"<!DOCTYPE html>")),
    Case("token:slow_headers", lambda s: isinstance(s.raised, TimeoutError)),
    Case("status:huge_header", lambda s: isinstance(s.raised, aiohttp.ClientError)),
    Case("trigger:unauthorized", lambda s: s.answer.status == 401 and not _triggered(s)),
    # -- the answer is spoiled
    Case("trigger:answer_lost", lambda s: _is_broken(s) and _triggered(s)),
    Case("trigger:answer_late:value=0.05", lambda s: _is_broken(s) and _triggered(s)),
    Case("trigger:accepted_status", lambda s: s.answer.status == 500 and _triggered(s)),
    Case("trigger:accepted_status:value=502", lambda s: s.answer.status == 502 and _triggered(s)),
    Case("trigger:json", lambda s: s.answer.body == b"[]"),
    Case('status:json:value={"JobStatus": 1e400}', lambda s: s.answer.body == b'{"JobStatus": 1e400}'),
    Case("token:empty_body", lambda s: (s.answer.status, s.answer.body) == (200, b"")),
    Case("files:cut_json", lambda s: s.answer.body.startswith(b'[{"key"') and not s.answer.body.endswith(b"]")),
    Case("files:cut_json:value=5", lambda s: s.answer.body == b'[{"ke'),
    Case("trigger:cut_body", lambda s: _is_broken(s) and _triggered(s)),
    Case("files:deep_json:value=20000", lambda s: s.answer.body == b"[" * 20000 + b"]" * 20000),
    Case("status:big_int", lambda s: b": " + b"9" * 5000 + b"}" in s.answer.body),
    Case("status:duplicate_members", lambda s: s.answer.body.count(b'"JobGuid"') == 2),
    Case("files:duplicate_members", lambda s: s.answer.body.startswith(b'[{"key": "another", "key": "DEMO/')),
    Case("files:nan", lambda s: b'"Total": NaN' in s.answer.body),
    Case("status:utf16", lambda s: json.loads(s.answer.body.decode("utf-16"))["JobStatus"] == "Complete"),
    Case("status:bom", lambda s: json.loads(s.answer.body.decode("utf-8-sig"))["JobStatus"] == "Complete"),
    Case(
        "status:gzip_bomb:value=3000000",
        lambda s: len(s.answer.body) < 10_000 and len(zlib.decompress(s.answer.body, 31)) > 3_000_000,
    ),
    Case("status:text_plain", lambda s: s.answer.headers["Content-Type"].startswith("text/plain") and s.json),
    Case("status:extra_members", lambda s: s.json["SchemaVersion"] and s.json["JobStatus"] == "Complete"),
    Case("trigger:control_characters", lambda s: {"\r", "\n", "\x1b"} < set(_message(s))),
    # -- token
    Case("token:invalid_client", lambda s: (s.answer.status, s.json) == (400, {"error": "invalid_client"})),
    Case("token:invalid_scope", lambda s: (s.answer.status, s.json) == (400, {"error": "invalid_scope"})),
    Case("token:access_token", lambda s: "access_token" not in s.json and s.json["expires_in"] == 3600),
    Case("token:access_token:value=null", lambda s: s.json["access_token"] is None),
    Case("token:access_token:value=12", lambda s: s.json["access_token"] == 12),
    Case("token:expires_in", lambda s: "expires_in" not in s.json and s.json["access_token"]),
    Case('token:expires_in:value="3600"', lambda s: s.json["expires_in"] == "3600"),
    Case("token:expires_in:value=-5", lambda s: s.json["expires_in"] == -5),
    Case("token:crlf", lambda s: "\r\n" in s.json["access_token"]),
    Case("token:revoke", lambda s: s.answer.status == 200),
    Case("token:stillborn", lambda s: s.answer.status == 200),
    # -- trigger
    Case("trigger:too_soon", lambda s: "2022-05-10T13:04:11Z" in _message(s)),
    Case("trigger:too_soon:value=iso:300", lambda s: "2022-05-10T13:07:11Z" in _message(s)),
    Case("trigger:too_soon:value=iso_offset", lambda s: "2022-05-10T15:04:11+02:00" in _message(s)),
    Case("trigger:too_soon:value=iso_naive", lambda s: "2022-05-10 13:04:11." in _message(s)),
    Case("trigger:too_soon:value=us", lambda s: "5/10/2022 1:04:11 PM" in _message(s)),
    Case("trigger:too_soon:value=eu", lambda s: "10/05/2022 13:04:11" in _message(s)),
    Case("trigger:too_soon:value=rfc", lambda s: "Tue, 10 May 2022 13:04:11 GMT" in _message(s)),
    Case("trigger:too_soon:value=none", lambda s: not set("0123456789") & set(_message(s))),
    Case("trigger:too_soon:value=past", lambda s: "2022-05-10T13:02:06Z" in _message(s)),
    Case("trigger:too_soon:value=far", lambda s: "2022-05-10T16:02:11Z" in _message(s)),
    Case("trigger:too_soon:value=guid", lambda s: "JobGuid" not in s.json and _message(s)),
    Case("trigger:wording:value=us", lambda s: s.answer.status == 200 and _triggered(s)),
    Case("trigger:same_guid", lambda s: s.json["JobGuid"] in s.client.vendor.jobs),
    Case("trigger:bad_guid", lambda s: s.json == {"JobGuid": ""} and _triggered(s)),
    Case("trigger:bad_guid:value=../x", lambda s: s.json == {"JobGuid": "../x"}),
    Case("trigger:bad_guid:value=7", lambda s: s.json == {"JobGuid": 7}),
    # -- status
    Case("status:word", lambda s: s.json["JobStatus"] == "Failed"),
    Case("status:word:value= complete ", lambda s: s.json["JobStatus"] == " complete "),
    Case("status:no_status", lambda s: s.json == {"JobGuid": s.guid}),
    Case("status:other_guid", lambda s: s.json["JobGuid"] != s.guid and s.json["JobStatus"] == "Complete"),
    # -- files
    Case("files:empty", lambda s: s.json == []),
    Case("files:object", lambda s: isinstance(s.json, dict) and s.answer.status == 200),
    Case(f"files:missing_field:{FILE}", lambda s: [set(e) for e in s.json if len(e) < 3] == [{"key", "presignedDownloadURL"}]),
    Case(f"files:missing_field:{FILE},value=key", lambda s: sum("key" not in entry for entry in s.json) == 1),
    Case(f"files:size:{FILE}", lambda s: s.entry("/Voyage_2")["size"] == "12"),
    Case(f"files:size:{FILE},value=1e400", lambda s: b'"size": 1e400}' in s.answer.body),
    Case(f"files:duplicate:{FILE}", lambda s: s.json[-1] in s.json[:-1]),
    Case(f"files:duplicate_size:{FILE}", lambda s: [e["size"] for e in s.json if e["key"] == s.json[-1]["key"]] == [s.json[-1]["size"] - 1, s.json[-1]["size"]]),
    Case(f"files:collision:{FILE}", lambda s: s.names.count(s.names[-1]) == 2 and s.json[-1]["key"].startswith("other/")),
    Case(f"files:case_twin:{FILE}", lambda s: s.names[-1] == s.names[-1].upper() and s.names[-1] not in s.names[:-1]),
    Case(f"files:key:{FILE}", lambda s: s.entry("/Voyage_2")["key"].startswith("../Voyage_2")),
    Case(f"files:key:{FILE},value=_Receipt.json", lambda s: s.entry('"_Receipt.json"')["size"]),
    Case(f"files:url:{FILE}", lambda s: "//files.example.net/" in s.entry("/Voyage_2")["presignedDownloadURL"]),
    Case(f"files:url:{FILE},value=ip", lambda s: "//10.0.0.1/" in s.entry("/Voyage_2")["presignedDownloadURL"]),
    Case(f"files:url:{FILE},value=https", lambda s: s.entry("/Voyage_2")["presignedDownloadURL"].startswith("https://127")),
    Case(f"files:url:{FILE},value=userinfo", lambda s: "//user:word@127" in s.entry("/Voyage_2")["presignedDownloadURL"]),
    Case(f"files:url:{FILE},value=port", lambda s: s.client.vendor.base_url not in s.entry("/Voyage_2")["presignedDownloadURL"]),
    Case(f"files:url:{FILE},value=ftp://x/y", lambda s: s.entry("/Voyage_2")["presignedDownloadURL"] == "ftp://x/y"),
    Case("files:grow", lambda s: len(s.json) == len(s.client.vendor.jobs[s.guid].files) - 3),
    Case(f"files:shrink:{FILE}", lambda s: not [name for name in s.names if name.startswith("Voyage_2")]),
    Case("files:many:value=2500", lambda s: len({e["key"] for e in s.json}) == len(s.client.vendor.jobs[s.guid].files) + 2500),
    Case("files:stale_urls", lambda s: len(s.json) > 50),
    Case("files:future_urls", lambda s: len(s.json) > 50),
    Case("files:echo_token", lambda s: s.answer.status == 500 and f"apiToken={SECRET}" in s.json["Message"]),
    Case("files:endless", lambda s: isinstance(s.raised, TimeoutError)),
)  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.fault)
async def test_a_fault_does_what_it_documents(case: Case) -> None:
    fault = parse(case.fault)
    async with vendor() as client:
        if fault.kind in {"slow_headers", "endless"}:  # these never end: the client has to
            client.http._timeout = aiohttp.ClientTimeout(total=0.3)
        scene = await play(client, fault)
        assert case.holds(scene), scene


@pytest.mark.parametrize(
    "case", [case for case in CASES if not case.fault.startswith("token:revoke")], ids=lambda c: c.fault
)
async def test_a_fault_that_is_over_leaves_nothing_behind(case: Case) -> None:
    fault = parse(case.fault)
    async with vendor() as client:
        if fault.kind in {"slow_headers", "endless"}:
            client.http._timeout = aiohttp.ClientTimeout(total=0.3)
        scene = await play(client, fault)
        client.vendor.faults.clear()
        if fault.call == "token":
            assert (await client.log_in()).status == 200
        if fault.call == "trigger":
            client.clock.forward(3600)
            await client.log_in()
        again = await _call(client, fault.call, scene.guid)
        assert again.status == 200
        assert again.json()


# -- what shows only in the call behind it ------------------------------------------------------------


async def test_T8_revoked_tokens_open_nothing() -> None:
    async with vendor() as client:
        await client.log_in()
        old = client.token
        client.vendor.faults.add("token:revoke")
        await client.log_in()
        assert (await client.trigger()).status == 200
        client.token = old
        assert (await client.status("x")).status == 401


async def test_T8_a_stillborn_token_opens_nothing() -> None:
    async with vendor("token:stillborn:times=1") as client:
        await client.log_in()
        assert (await client.trigger()).status == 401
        await client.log_in()
        assert (await client.trigger()).status == 200


async def test_G5_the_rules_own_refusal_can_carry_the_guid() -> None:
    async with vendor("trigger:answer_lost:times=1", "trigger:wording:value=guid") as client:
        await client.log_in()
        with pytest.raises(BROKEN):
            await client.trigger()
        refused = await client.trigger()
        assert refused.status == 400
        assert refused.json()["JobGuid"] == next(iter(client.vendor.jobs))
        assert "2022-05-10T14:02:11Z" in refused.json()["Message"]


async def test_G4_a_wording_alone_does_not_refuse() -> None:
    async with vendor("trigger:wording:value=us,times=1") as client:
        await client.log_in()
        assert (await client.trigger()).status == 200
        assert "5/10/2022 2:02:11 PM" in (await client.trigger()).json()["Message"]
        assert "2022-05-10T14:02:11Z" in (await client.trigger()).json()["Message"]


async def test_G12_the_guid_of_the_previous_export_is_returned_again() -> None:
    async with vendor("trigger:same_guid:after=1") as client:
        first = await client.complete()
        client.clock.forward(3600)
        await client.log_in()
        assert (await client.trigger()).json()["JobGuid"] == first
        assert len(client.vendor.jobs) == 2


async def test_P6_the_status_can_go_back() -> None:
    async with vendor("status:word:value=Running,after=1") as client:
        guid = await client.complete()
        words = [(await client.status(guid)).json()["JobStatus"] for _ in range(2)]
        assert words == ["Complete", "Running"]


@pytest.mark.parametrize(("fault", "sizes"), [("grow:times=1", [-1, 0]), ("shrink:after=1", [0, -1])])
async def test_U12_a_second_list_is_another(fault: str, sizes: list[int]) -> None:
    name, _, options = fault.partition(":")
    async with vendor(f"files:{name}:file=Voyage_2*,{options}") as client:
        guid = await client.complete()
        whole = len(client.vendor.jobs[guid].files)
        assert [len((await client.files(guid)).json()) - whole for _ in range(2)] == sizes


async def test_U14_stale_urls_have_expired_and_U15_future_ones_become_valid() -> None:
    async with vendor("files:stale_urls:times=1", "files:future_urls:after=1,times=1") as client:
        guid = await client.complete()
        stale, future = [(await client.files(guid)).json()[5] for _ in range(2)]
        assert (await client.get(stale)).status == 403
        assert (await client.get(future)).status == 403
        client.clock.forward(30)
        assert (await client.get(future)).status == 200


async def test_faults_of_one_list_add_up() -> None:
    async with vendor("files:size:file=Voyage_2*,value=null", "files:shrink:file=Port_2*") as client:
        entries = (await client.files(await client.complete())).json()
        assert len([entry for entry in entries if entry["size"] is None]) == 1
        assert not [entry for entry in entries if "/Port_2" in entry["key"]]


def test_every_wording_is_played() -> None:
    played = {parse(case.fault).text("iso").partition(":")[0] for case in CASES if ":too_soon" in case.fault}
    assert played == set(WORDINGS)


def test_A13_a_bomb_is_small_and_true() -> None:
    bomb = gzip_bomb(50_000_000, b"{}")
    assert len(bomb) < 100_000
    opened = zlib.decompress(bomb, 31)
    assert len(opened) > 50_000_000
    assert opened.strip() == b"{}"


async def test_U13_a_client_can_leave_an_endless_answer() -> None:
    async with vendor("files:endless") as client:
        guid = await client.complete()
        url = f"{client.vendor.files_url}/presignedUrls/DEMO?apiToken={SECRET}&environmentType=Prod&jobGuid={guid}"
        async with client.http.get(url) as response:
            assert (await response.content.readexactly(3_000_000)).startswith(b'[{"key": "a"}, {')
        client.vendor.faults.clear()
        while client.vendor.requests.count("files") > len(client.vendor.requests.of("files")):  # noqa: ASYNC110
            await asyncio.sleep(0.001)  # the server notices by its socket that the client has gone
        assert (await client.files(guid)).json()


async def test_T9_a_followed_redirect_is_counted() -> None:
    async with vendor("token:redirect") as client:
        await client.log_in()
        assert client.vendor.requests.counts["followed"] == 0
        async with client.http.post(client.vendor.token_url) as response:
            assert response.status == 200
        assert client.vendor.requests.counts["followed"] == 1


async def test_A3_a_key_can_hold_half_a_character() -> None:
    async with vendor() as client:
        client.vendor.faults.add(Fault("files", "key", file="Voyage_2*", value="\ud800{name}"))
        entries = (await client.files(await client.complete())).json()
        assert [entry["key"][0] for entry in entries].count("\ud800") == 1
