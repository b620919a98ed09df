"""The simulated vendor keeps the contract of the four calls, and validates what a real vendor would."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import ipaddress
import json
import ssl
import tracemalloc
import urllib.error
import urllib.request
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from simulator.client import PROD, SECRET, START, TEST, SetClock, vendor
from viplake.simulator import ExportShape, Fault, Simulator, SimulatorSettings, running, serve
from viplake.simulator.server import REMEMBERED, Request, RequestLog, _url
from viplake.simulator.vendor import VendorState

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.system


async def test_the_four_calls_end_with_true_bytes() -> None:
    async with vendor() as client:
        login = await client.log_in()
        assert login.json()["expires_in"] == 3600
        guid = (await client.trigger()).json()["JobGuid"]
        assert (await client.status(guid)).json()["JobStatus"] == "Running"
        assert (await client.files(guid)).json() == []
        client.clock.forward(1200)
        assert (await client.status(guid)).json()["JobStatus"] == "Complete"
        entries = (await client.files(guid)).json()
        assert len({entry["key"] for entry in entries}) == len(entries) > 50
        for entry in entries:
            got = await client.get(entry)
            assert got.status == 200
            assert len(got.body) == entry["size"]
            assert got.body == b"".join(client.vendor.source(guid, entry["key"]))
            assert got.headers["ETag"] == f'"{hashlib.md5(got.body).hexdigest()}"'
            if entry["key"].endswith(".json.gz"):
                text = gzip.decompress(got.body).decode()
                rows = json.loads(text) if text.startswith("[") else [json.loads(line) for line in text.splitlines()]
                assert all(isinstance(row, dict) for row in rows)


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"client_secret": "wrong"}, "invalid_client"),
        ({"client_id": "wrong"}, "invalid_client"),
        ({"scope": "everything"}, "invalid_scope"),
        ({"grant_type": "password"}, "unsupported_grant_type"),
    ],
)
async def test_a_wrong_field_of_the_login_is_refused(changes: dict[str, str], error: str) -> None:
    async with vendor() as client:
        got = await client.log_in(**changes)
        assert (got.status, got.json()) == (400, {"error": error})


async def test_a_login_that_is_no_form_is_refused() -> None:
    async with vendor() as client:
        got = await client.send("POST", client.vendor.token_url, json={"client_id": "demo-client"})
        assert (got.status, got.json()) == (400, {"error": "invalid_request"})


async def test_a_token_is_valid_for_its_stated_lifetime() -> None:
    async with vendor(token_lifetime_seconds=100) as client:
        assert (await client.log_in()).json()["expires_in"] == 100
        guid = (await client.trigger()).json()["JobGuid"]
        client.clock.forward(99)
        assert (await client.status(guid)).status == 200
        client.clock.forward(1)
        assert (await client.status(guid)).status == 401
        await client.log_in()
        assert (await client.status(guid)).status == 200


def test_tokens_that_are_over_are_forgotten() -> None:
    vendor = VendorState(SimulatorSettings())
    tracemalloc.start()
    try:
        for hour in range(1000):
            token = vendor.issue_token(START + timedelta(hours=hour))
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert vendor.knows_token(token, START + timedelta(hours=999.5))
    assert held < 50_000  # all thousand would hold five times that


async def test_calls_without_a_token_are_refused() -> None:
    async with vendor() as client:
        assert (await client.trigger()).status == 401
        assert (await client.status("x")).status == 401
        client.token = "invented"
        assert (await client.trigger()).status == 401
        assert client.vendor.jobs == {}


@pytest.mark.parametrize("body", [{}, {"configName": "other"}, {"configName": 7}, [], "text"])
async def test_a_trigger_of_nothing_known_is_refused(body: object) -> None:
    async with vendor() as client:
        await client.log_in()
        assert (await client.post("export", body)).status == 400
        assert client.vendor.jobs == {}


async def test_a_body_that_is_not_json_is_refused() -> None:
    async with vendor() as client:
        await client.log_in()
        headers = {"Authorization": f"Bearer {client.token}"}
        url = f"{client.vendor.export_url}/export"
        assert (await client.send("POST", url, data={"configName": PROD}, headers=headers)).status == 415
        headers["Content-Type"] = "application/json"
        assert (await client.send("POST", url, data=b"{", headers=headers)).status == 400


async def test_an_unknown_guid_is_not_found() -> None:
    async with vendor() as client:
        await client.log_in()
        assert (await client.status("00000000-0000-4000-8000-000000000000")).status == 404
        assert (await client.post("CheckJobStatus", {"jobGuid": ["x"]})).status == 404


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"apiToken": "wrong"}, 403),
        ({"company": "OTHER"}, 403),
        ({"environmentType": "Test"}, 404),
        ({"environmentType": "prod"}, 404),
        ({"jobGuid": "unknown"}, 404),
        ({"expirationInMinutes": "0"}, 400),
        ({"expirationInMinutes": "soon"}, 400),
    ],
)
async def test_a_wrong_parameter_of_the_list_is_refused(changes: dict[str, str], status: int) -> None:
    async with vendor() as client:
        guid = await client.complete()
        got = await client.files(**{"guid": guid, **changes})
        assert got.status == status
        assert SECRET.encode() not in got.body


async def test_the_list_can_be_filtered() -> None:
    async with vendor() as client:
        guid = await client.complete()
        names = [entry["key"].rpartition("/")[2] for entry in (await client.files(guid)).json()]
        some = (await client.files(guid, fileFilter="Voyage*")).json()
        assert 0 < len(some) == sum(name.startswith("Voyage") for name in names) < len(names)
        bare = (await client.files(guid, hideMetaData="True")).json()
        assert {"_MasterTableSchema.json"} < set(names) - {entry["key"].rpartition("/")[2] for entry in bare}


async def test_the_list_grows_after_complete() -> None:
    async with vendor(list_grows_seconds=60) as client:
        guid = await client.complete()
        first = (await client.files(guid)).json()
        client.clock.forward(60)
        later = (await client.files(guid)).json()
        assert len(later) == len(first) + 3
        assert {entry["key"] for entry in first} < {entry["key"] for entry in later}


# -- the once-an-hour rule ---------------------------------------------------------------------------


async def test_rolling_the_next_trigger_is_allowed_60_minutes_later() -> None:
    async with vendor(rule="rolling") as client:
        await client.complete()
        refused = await client.trigger()
        assert refused.status == 400
        assert "2022-05-10T14:02:11Z" in refused.json()["Message"]
        client.clock.forward(2399)
        assert (await client.trigger()).status == 400
        client.clock.forward(1)
        await client.log_in()
        assert (await client.trigger()).status == 200


async def test_by_the_calendar_the_next_trigger_is_allowed_in_the_next_hour() -> None:
    async with vendor(rule="calendar") as client:
        await client.log_in()
        client.clock.forward(57 * 60)
        assert (await client.trigger()).status == 200
        refused = await client.trigger()
        assert refused.status == 400
        assert "2022-05-10T14:00:00Z" in refused.json()["Message"]
        client.clock.forward(49)
        assert client.clock.now().hour == 14
        assert (await client.trigger()).status == 200


async def test_the_two_configurations_do_not_block_each_other() -> None:
    async with vendor() as client:
        await client.log_in()
        one, two = (await client.trigger(PROD)).json()["JobGuid"], (await client.trigger(TEST)).json()["JobGuid"]
        assert one != two
        assert [job.config_name for job in client.vendor.jobs.values()] == [PROD, TEST]
        assert (await client.trigger(PROD)).status == (await client.trigger(TEST)).status == 400
        assert len(client.vendor.jobs) == 2


async def test_the_second_that_a_refusal_names_is_allowed() -> None:
    async with vendor() as client:
        client.clock.forward(0.9)
        await client.complete()
        named = (await client.trigger()).json()["Message"].split()[-1].rstrip(".")
        assert named == "2022-05-10T14:02:11Z"
        client.clock.forward((START - client.clock.now()).total_seconds() + 3600)
        await client.log_in()
        assert (await client.trigger()).status == 200


# -- what it tells of itself -------------------------------------------------------------------------


async def test_answers_carry_the_vendors_time() -> None:
    async with vendor() as client:
        assert parsedate_to_datetime((await client.log_in()).headers["Date"]) == START
        client.clock.forward(3600)
        assert parsedate_to_datetime((await client.log_in()).headers["Date"]).hour == 14


async def test_the_log_of_requests_counts_and_holds_no_secret() -> None:
    async with vendor("download:cut:times=1") as client:
        entries = await client.listing()
        with pytest.raises(Exception, match="payload"):
            await client.get(entries[0])
        await client.get(entries[0], Range="bytes=5-")
        log = client.vendor.requests
        assert log.counts == {"token": 1, "trigger": 1, "files": 1, "download": 2}
        assert [entry.status for entry in log.of("download")] == [200, 206]
        assert log.of("download")[1].detail == f"{entries[0]['key']} bytes=5-"
        assert log.peak["download"] == 1
        text = repr(log) + repr(client.vendor.settings) + repr(client.vendor.signer) + repr(client.vendor.jobs)
        assert not [word for word in (SECRET, client.token, "X-Amz", "Signature=") if word in text]


def test_the_log_of_requests_keeps_the_newest_and_counts_all() -> None:
    log = RequestLog()
    for number in range(3 * REMEMBERED):
        log.begin("files")
        log.end(Request(START, "files", 200, str(number)))
        assert min(number + 1, REMEMBERED) <= len(log.entries) < 2 * REMEMBERED
    newest = [int(entry.detail) for entry in log.of("files")]
    assert newest == list(range(3 * REMEMBERED))[-len(newest) :]
    assert log.count("files") == 3 * REMEMBERED


async def test_a_dropped_answer_is_noted_as_dropped() -> None:
    async with vendor("trigger:answer_lost:times=1") as client:
        await client.log_in()
        with pytest.raises(Exception, match=r".+"):
            await client.trigger()
        assert [entry.status for entry in client.vendor.requests.of("trigger")] == [0]


async def test_the_control_door_shows_and_switches() -> None:
    async with vendor() as client:
        base = client.vendor.base_url
        added = await client.send("POST", f"{base}/_simulator/faults", json=["token:html:times=1"])
        assert added.status == 201
        assert list(client.vendor.faults) == [Fault("token", "html", times=1)]
        await client.send("POST", f"{base}/_simulator/faults", json={"call": "status", "kind": "word", "value": "X"})
        assert (await client.send("POST", f"{base}/_simulator/faults", json={"call": "no"})).status == 400
        assert (await client.send("POST", f"{base}/_simulator/faults", json="token:nothing")).status == 400
        assert (await client.send("POST", f"{base}/_simulator/faults", data=b"{")).status == 400
        state = await client.send("GET", f"{base}/_simulator")
        assert [fault["kind"] for fault in state.json()["faults"]] == ["html", "word"]
        assert (await client.send("DELETE", f"{base}/_simulator/faults")).status == 204
        assert list(client.vendor.faults) == []
        guid = await client.complete()
        state = await client.send("GET", f"{base}/_simulator")
        assert [job["guid"] for job in state.json()["jobs"]] == [guid]
        assert state.json()["requests"] == {"token": 1, "trigger": 1}
        assert SECRET.encode() not in state.body


def test_it_runs_for_code_without_a_loop() -> None:
    with running(SimulatorSettings(), clock=SetClock()) as simulator:
        with urllib.request.urlopen(f"{simulator.base_url}/_simulator") as answer:
            assert json.load(answer)["company"] == "DEMO"
        port = int(simulator.base_url.rpartition(":")[2])
        with pytest.raises(OSError, match=r"in use|bind"), running(SimulatorSettings(port=port)):
            pass
    with pytest.raises(OSError, match="refused"):
        urllib.request.urlopen(f"http://127.0.0.1:{port}/_simulator")


async def test_serving_goes_on_until_it_is_cancelled() -> None:
    found: asyncio.Queue[Simulator] = asyncio.Queue()
    task = asyncio.create_task(serve(SimulatorSettings(), announce=found.put_nowait))
    simulator = await found.get()
    assert simulator.base_url.startswith("http://127.0.0.1:")
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    with pytest.raises(RuntimeError):
        _ = simulator.base_url


async def test_a_stop_releases_waiting_requests() -> None:
    async with vendor("token:hang") as client:
        waiting = asyncio.create_task(client.log_in())
        while not client.vendor.requests.count("token"):  # noqa: ASYNC110 - it arrives by a socket
            await asyncio.sleep(0.001)
        await client.vendor.stop()
        with pytest.raises(Exception, match=r".+"):
            await waiting


async def test_equal_settings_and_hours_give_equal_exports() -> None:
    async with vendor() as one, vendor() as two:
        first, second = await one.listing(), await two.listing()
        assert [(entry["key"], entry["size"]) for entry in first] == [(e["key"], e["size"]) for e in second]
        assert (await one.get(first[9])).body == (await two.get(second[9])).body


async def test_a_missing_table_is_in_the_schema_and_not_in_the_list() -> None:
    async with vendor(export=ExportShape(absent=("Voyage_Itinerary",))) as client:
        entries = await client.listing()
        assert not [entry for entry in entries if "/Voyage_Itinerary_2" in entry["key"]]
        schema = next(entry for entry in entries if entry["key"].endswith("/_MasterTableSchema.json"))
        names = [table["DataObjectName"] for table in (await client.get(schema)).json()]
        assert "Voyage_Itinerary" in names


async def test_S6_a_rotated_secret_is_the_only_good_one() -> None:
    async with vendor() as client:
        guid = await client.complete()
        client.vendor.rotate_secret("canary-other-secret")
        assert (await client.log_in()).json() == {"error": "invalid_client"}
        assert (await client.files(guid)).status == 403
        assert (await client.status(guid)).status == 200
        assert (await client.log_in(client_secret="canary-other-secret")).status == 200
        assert (await client.files(guid, apiToken="canary-other-secret")).status == 200


async def test_answers_that_take_their_time_overlap() -> None:
    async with vendor(latency_ms=50) as client:
        entries = (await client.listing())[:8]
        await asyncio.gather(*(client.get(entry) for entry in entries))
        assert client.vendor.requests.peak["download"] == 8


async def test_the_urls_have_the_host_that_the_client_used() -> None:
    async with vendor() as client:
        guid = await client.complete()
        other = client.vendor.files_url.replace("127.0.0.1", "localhost")
        query = f"apiToken={SECRET}&environmentType=Prod&jobGuid={guid}"
        entry = (await client.send("GET", f"{other}/presignedUrls/DEMO?{query}")).json()[5]
        assert entry["presignedDownloadURL"].startswith("http://localhost:")
        assert (await client.get(entry)).status == 200


async def test_it_can_listen_by_name() -> None:
    async with vendor(host="localhost") as client:
        assert client.vendor.base_url.startswith("http://localhost:")
        assert (await client.log_in()).status == 200


@pytest.mark.parametrize(
    ("host", "shown"),
    [("0.0.0.0", "http://127.0.0.1:1"), ("::", "http://[::1]:1"), ("::1", "http://[::1]:1"), ("h", "http://h:1")],
)
def test_where_it_listens_everywhere_it_names_an_address_of_this_machine(host: str, shown: str) -> None:
    assert _url("http", host, 1) == shown


def _self_signed(folder: Path) -> Path:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "simulated vendor")])
    made = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    made = made.not_valid_before(datetime(2020, 1, 1, tzinfo=UTC)).not_valid_after(datetime(2120, 1, 1, tzinfo=UTC))
    for extension in (
        x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]),
        x509.SubjectKeyIdentifier.from_public_key(key.public_key()),
        x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key()),
    ):
        made = made.add_extension(extension, critical=False)
    made = made.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    certificate = made.sign(key, hashes.SHA256())
    secret = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    path = folder / "vendor.pem"
    path.write_bytes(certificate.public_bytes(Encoding.PEM) + secret)
    return path


def test_N3_it_speaks_https_with_a_certificate_of_ones_own(tmp_path: Path) -> None:
    pem = _self_signed(tmp_path)
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(pem)
    with running(SimulatorSettings(), tls=tls) as simulator:
        url = f"{simulator.base_url}/_simulator"
        assert url.startswith("https://")
        trusting = ssl.create_default_context(cafile=str(pem))
        trusting.verify_flags |= ssl.VERIFY_X509_STRICT  # as newer Pythons do by themselves
        with urllib.request.urlopen(url, context=trusting) as answer:
            assert answer.status == 200
        with pytest.raises(urllib.error.URLError, match="CERTIFICATE_VERIFY_FAILED"):
            urllib.request.urlopen(url)
