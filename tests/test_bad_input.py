"""Bad input, through the real command: one clear end each, with cause, owner and next step, and nothing half landed."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
import sys
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import obstore
import pytest

from canary import CANARIES
from commands import Commands, environ_for, simulated
from servers.sockets import authority, forward_proxy, http, playing, pump
from viplake.errors import CAUSES
from viplake.simulator import ExportShape, Simulator, SimulatorSettings

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator
    from pathlib import Path

    from commands import Finished
    from servers.ministack import Ministack
    from servers.seaweed import Seaweed
    from servers.sockets import Authority

pytestmark = pytest.mark.system


@dataclass
class Rig:
    """A vendor, a folder lake, and the command between them."""

    vendor: Simulator
    lake: Path
    command: Commands
    more: dict[str, str] = field(default_factory=dict)

    async def run(self, *arguments: str, **more: str) -> Finished:
        return await asyncio.to_thread(self.command.run, *(arguments or ("run", "--json")), **{**self.more, **more})

    def landed(self) -> list[str]:
        """Files of the lake that are neither records of ours nor datasets."""
        return sorted(
            str(path.relative_to(self.lake))
            for path in self.lake.rglob("*")
            if path.is_file() and not {"_viplake", "Observability"} & {*path.parts}
        )


@asynccontextmanager
async def rig(tmp_path: Path, *faults: str, tls: ssl.SSLContext | None = None, **more: str) -> AsyncIterator[Rig]:
    settings = SimulatorSettings(
        company="ACME",
        client_id=CANARIES.client_id,
        client_secret=CANARIES.client_secret,
        replication_seconds=0,
        port=0,
        export=ExportShape(files=8, total_bytes=40_000),
    )
    lake = tmp_path / "lake"
    async with Simulator(settings, tls=tls) as vendor:
        vendor.faults.add(*faults)
        yield Rig(vendor, lake, Commands(environ_for(vendor, f"file://{lake}"), tmp_path), more)


def ended(finished: Finished, cause: str, *, told: str = "") -> dict[str, Any]:
    """The one object on stdout, and the three lines at the end of stderr, both with this cause."""
    known = CAUSES[cause]
    assert finished.code == known.exit_code, finished
    outcome: dict[str, Any] = json.loads(finished.out)
    assert (outcome["outcome"], outcome["cause"], outcome["owner"]) == ("failed", cause, known.owner), finished
    first, second, third = finished.err.splitlines()[-3:]
    assert first.startswith("viplake: "), finished.err
    assert second == f"  cause  {cause} ({known.owner}): {known.meaning}"
    assert third.startswith("  next   ")
    assert len(third) > len("  next   ")
    assert told in first + third, finished.err
    assert sum(line.startswith("viplake: ") for line in finished.err.splitlines()) == 1
    assert "Traceback" not in finished.err
    for secret in CANARIES.secret_values():
        assert secret not in finished.out + finished.err
    return outcome


# -- settings -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "more", "told"),
    [
        ((), {"VIPLAKE_ENVIRONMENT": "prod"}, "Did you mean 'Prod'"),
        ((), {"VIPLAKE_ENVIRONMENT": "Production"}, "Prod or Test, exactly"),
        ((), {"VIPLAKE_POL_SECONDS": "5"}, "Did you mean VIPLAKE_POLL_SECONDS?"),
        ((), {"VIPLAKE_LAKE": "s4://bucket"}, "neither s3://bucket[/prefix] nor file:///absolute/folder"),
        ((), {"VIPLAKE_TOKEN_URL": "http://auth.example.com/token"}, "is not https"),
        ((), {"SSL_CERT_FILE": "/nonexistent.pem"}, "SSL_CERT_FILE cannot be read"),
        ((), {"VIPLAKE_PREFIX": "../elsewhere"}, "VIPLAKE_PREFIX"),
        (("--profile", "nope"), {}, "no viplake.toml"),
    ],
)
async def test_F_settings_that_are_wrong_end_before_anything_is_sent(
    arguments: tuple[str, ...], more: dict[str, str], told: str, tmp_path: Path
) -> None:
    async with rig(tmp_path) as given:
        outcome = ended(await given.run("tick", "--json", *arguments, **more), "config", told=told)
        assert sum(given.vendor.requests.counts.values()) == 0
    assert not given.lake.exists()
    assert (outcome["schema_version"], outcome["environment"], outcome["files"]) == (1, None, 0)


async def test_an_option_that_does_not_exist_is_a_usage_error(tmp_path: Path) -> None:
    async with rig(tmp_path) as given:
        finished = await given.run("run", "--lkae", "s3://bucket")
    assert finished.code == 2
    assert "--lkae" in finished.err
    assert "Traceback" not in finished.err


async def test_collect_of_an_hour_without_a_guid_explains_how_to_get_one(tmp_path: Path) -> None:
    async with rig(tmp_path) as given:
        outcome = ended(
            await given.run("collect", "2022-05-10T13", "--json"),
            "config",
            told="viplake collect 2022-05-10T13 --job-guid",
        )
    assert (outcome["hour"], outcome["environment"]) == ("2022-05-10T13", "Prod")


# -- the secret -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "cause", "told"),
    [
        (None, "secrets_missing", "there is no secret file"),
        ("[]", "secrets_malformed", "JSON object"),
        ("{", "secrets_malformed", "JSON object"),
        ('{"Veson_client_id": "id-of-nobody"}', "secrets_malformed", "Veson_client_secret"),
        ('{"Veson_client_id": "", "Veson_client_secret": "x"}', "secrets_malformed", "Veson_client_id"),
    ],
)
async def test_S4_a_secret_that_cannot_be_used(content: str | None, cause: str, told: str, tmp_path: Path) -> None:
    file = tmp_path / "secret.json"
    if content is not None:
        file.write_text(content)
        file.chmod(0o600)
    async with rig(tmp_path) as given:
        ended(await given.run(VIPLAKE_SECRETS=f"file:{file}"), cause, told=told)
        assert given.vendor.requests.count("token") == 0
    assert given.landed() == []


async def test_a_client_secret_that_is_not_in_the_environment(tmp_path: Path) -> None:
    async with rig(tmp_path) as given:
        del given.command.environ["VIPLAKE_CLIENT_SECRET"]
        ended(await given.run(), "secrets_missing", told="VIPLAKE_CLIENT_SECRET not set")
    assert given.landed() == []


async def test_S6_a_secret_that_was_rotated(tmp_path: Path) -> None:
    async with rig(tmp_path) as given:
        given.vendor.rotate_secret("the-new-secret-0815")
        ended(await given.run(), "auth_rejected", told="rotated")
        assert given.vendor.requests.count("trigger") == 0
    assert given.landed() == []


# -- the network ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return authority(tmp_path_factory.mktemp("authority"))


async def test_D19_a_host_that_refuses_connections(tmp_path: Path) -> None:
    async with rig(tmp_path) as given:
        pass
    ended(await given.run(), "network", told="127.0.0.1")
    assert given.landed() == []


async def test_N3_a_certificate_of_an_unknown_authority(certificates: Authority, tmp_path: Path) -> None:
    async with rig(tmp_path, tls=certificates.server) as given:
        ended(await given.run(), "tls", told="SSL_CERT_FILE")
    assert given.landed() == []


async def test_N4_a_certificate_of_another_host(certificates: Authority, tmp_path: Path) -> None:
    async with rig(tmp_path, tls=certificates.elsewhere, SSL_CERT_FILE=str(certificates.file)) as given:
        ended(await given.run(), "tls")
    assert given.landed() == []


async def test_N1_a_proxy_that_asks_for_a_password(certificates: Authority, tmp_path: Path) -> None:
    async with (
        rig(tmp_path, tls=certificates.server, SSL_CERT_FILE=str(certificates.file)) as given,
        forward_proxy(user="u", password="p") as proxy,
    ):
        ended(await given.run(HTTPS_PROXY=f"http://{proxy.address}"), "proxy_auth", told="HTTPS_PROXY")
    assert given.landed() == []


async def test_N2_a_proxy_that_refuses(certificates: Authority, tmp_path: Path) -> None:
    refusal = http(b"denied by policy", "403 Forbidden")
    async with (
        rig(tmp_path, tls=certificates.server, SSL_CERT_FILE=str(certificates.file)) as given,
        forward_proxy(refusal=refusal) as proxy,
    ):
        ended(await given.run(HTTPS_PROXY=f"http://{proxy.address}"), "proxy", told="403")
    assert given.landed() == []


async def test_N6_a_block_page_in_place_of_the_vendor(tmp_path: Path) -> None:
    page = http(b"<html>This site is blocked</html>", "200 OK", "Content-Type: text/html")
    async with rig(tmp_path) as given, playing(page) as blocked:
        ended(await given.run(VIPLAKE_TOKEN_URL=f"{blocked.url}/token"), "auth_contract", told="proxy")
    assert given.landed() == []


# -- what the vendor lists ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "cause"),
    [
        ("files:key:each=true", "key_rejected"),
        ("files:key:value=_Receipt.json,file=Voyage*", "key_rejected"),
        ("files:collision", "name_collision"),
        ("files:case_twin", "key_rejected"),
        ("files:url:value=host", "url_rejected"),
        ("files:url:value=http://files.example.com/x", "url_rejected"),
        ("files:endless", "vendor_contract"),
        ("files:html", "vendor_contract"),
        ("files:deep_json", "vendor_contract"),
        ("files:object", "vendor_contract"),
    ],
)
async def test_U_a_hostile_list_lands_nothing(fault: str, cause: str, tmp_path: Path) -> None:
    async with rig(tmp_path, fault) as given:
        outcome = ended(await given.run(), cause)
        assert given.vendor.requests.count("download") == 0
        assert given.vendor.requests.count("trigger") == 1
    assert outcome["job_guid"]
    assert given.landed() == []


@pytest.mark.parametrize(
    ("fault", "cause"),
    [
        ("download:html:file=Voyage_*,each=true,times=1000", "integrity"),
        ("download:endless:file=Voyage_*,each=true,times=1000", "integrity"),
        ("download:missing:file=Voyage_*,each=true,times=1000", "source_missing"),
    ],
)
async def test_D_a_hostile_file_is_never_stored_and_the_others_stay(fault: str, cause: str, tmp_path: Path) -> None:
    async with rig(tmp_path, fault) as given:
        outcome = ended(await given.run(), cause)
        landed = given.landed()
        [job] = given.vendor.jobs.values()
        sizes = {file.name: file.size for file in job.files}
    assert outcome["files"] == 0
    assert not [name for name in landed if name.endswith("_Receipt.json")]
    kept = [name.rpartition("/")[2] for name in landed if not name.endswith("_PresignedUrls.json")]
    assert not [name for name in kept if name.startswith("Voyage_")]
    folder = given.lake / outcome["folder"]
    assert {name: (folder / name).stat().st_size for name in kept} == {name: sizes[name] for name in kept}


# -- the lake -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("case", "cause"),
    [("missing", "dest_missing"), ("reader", "dest_denied"), ("wrong key", "dest_auth")],
)
async def test_W_a_bucket_that_cannot_be_used(case: str, cause: str, seaweed: Seaweed, tmp_path: Path) -> None:
    bucket = seaweed.bucket()
    aws = {
        "missing": seaweed.environment(),
        "reader": seaweed.environment(seaweed.reader),
        "wrong key": seaweed.environment() | {"AWS_SECRET_ACCESS_KEY": "canary-not-the-secret"},
    }[case]
    url = "s3://nobody-made-this" if case == "missing" else f"s3://{bucket}"
    async with rig(tmp_path) as given:
        ended(await given.run(VIPLAKE_LAKE=url, **aws), cause)
        assert given.vendor.requests.count("trigger") == 0
    assert obstore.list(seaweed.store(bucket)).collect() == []


@pytest.mark.parametrize(
    ("answer", "cause"),
    [
        (http(b"<Error><Code>PermanentRedirect</Code></Error>", "301 Moved Permanently"), "dest_region"),
        (
            http(
                b"<Error><Code>AccessDenied</Code><Message>not authorized to perform: kms:Decrypt</Message></Error>",
                "403 Forbidden",
            ),
            "dest_kms",
        ),
    ],
)
async def test_W4_W5_F4_another_region_and_a_key_that_may_not_be_used(
    answer: bytes, cause: str, tmp_path: Path
) -> None:
    """SeaweedFS knows neither: these are S3's own answers."""
    aws = {"AWS_ACCESS_KEY_ID": "AKIDEXAMPLE", "AWS_SECRET_ACCESS_KEY": "not-a-secret", "AWS_REGION": "eu-west-1"}
    async with rig(tmp_path) as given, playing(answer) as s3:
        ended(await given.run(VIPLAKE_LAKE="s3://bucket", AWS_ENDPOINT_URL_S3=s3.url, **aws), cause)
        assert given.vendor.requests.count("trigger") == 0


async def test_K7_a_lake_of_another_environment(tmp_path: Path) -> None:
    async with rig(tmp_path) as given:
        root = {"VIPLAKE_PREFIX": "shared/Hourly/"}
        first = await given.run("tick", "--json", VIPLAKE_ENVIRONMENT="Test", **root)
        assert json.loads(first.out)["environment"] == "Test"
        before = given.landed()
        outcome = ended(await given.run(**root), "lake_mismatch", told="VIPLAKE_PREFIX")
        assert given.vendor.requests.count("trigger") == 1
    assert outcome["environment"] == "Prod"
    assert given.landed() == before


async def test_W17_a_folder_without_write_permission(tmp_path: Path) -> None:
    """/proc: not even root makes a file there."""
    async with rig(tmp_path) as given:
        ended(await given.run(VIPLAKE_LAKE="file:///proc"), "dest_io")
        assert given.vendor.requests.count("trigger") == 0


IN_A_SMALL_DISK = """
mount -t tmpfs -o size=1m none "$1" || exit 99
"$2" -m viplake run --json
code=$?
find "$1" -path '*/Hourly/*' -type f -printf '%f %s\\n' >files
exit $code
"""


def test_W16_a_full_disk_keeps_stored_files_and_shows_no_partial_one(tmp_path: Path) -> None:
    if not shutil.which("unshare") or subprocess.run(["unshare", "-rm", "true"], check=False).returncode:
        pytest.skip("this machine lets nobody mount a disk of his own")
    (tmp_path / "disk").mkdir()
    shape = ExportShape(sizes=(100_000,) * 20)
    with simulated(export=shape, replication_seconds=0) as vendor:
        command = Commands(environ_for(vendor, f"file://{tmp_path / 'disk'}"), tmp_path)
        finished = command.run_as(
            "unshare", "-rm", "sh", "-c", IN_A_SMALL_DISK, "sh", str(tmp_path / "disk"), sys.executable
        )
        ended(finished, "disk_full", told="Free disk space")
        [job] = vendor.jobs.values()
        sizes = {file.name: file.size for file in job.files}
    landed = dict(line.split() for line in (tmp_path / "files").read_text().splitlines())
    promise = landed.pop("_PresignedUrls.json")
    assert int(promise) > 0
    assert "_Receipt.json" not in landed
    assert landed
    assert {name: int(size) for name, size in landed.items()} == {name: sizes[name] for name in landed}


# -- the way to S3, which is another library's than the way to the vendor ----------------------------------------


@asynccontextmanager
async def behind_tls(seaweed: Seaweed, context: ssl.SSLContext) -> AsyncIterator[str]:
    """SeaweedFS, spoken to in TLS; its endpoint."""
    port = int(seaweed.endpoint.rpartition(":")[2])

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there_reader, there_writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            await asyncio.gather(pump(reader, there_writer), pump(there_reader, writer))
        finally:  # also where the test has ended and its loop cancels what is left
            writer.close()
            there_writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", ssl=context)
    async with server:
        yield f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}"


@pytest.mark.parametrize(
    ("case", "cause"),
    [
        ("known", None),
        ("no proxy needed", None),
        ("no password", "proxy_auth"),
        ("refused", "proxy"),
        ("unknown authority", "tls"),
    ],
)
async def test_N1_N3_N5_the_way_to_s3(
    case: str, cause: str | None, certificates: Authority, seaweed: Seaweed, tmp_path: Path
) -> None:
    bucket = seaweed.bucket()
    login = "" if case == "no password" else f"{CANARIES.proxy_user}:{quote(CANARIES.proxy_password, safe='')}@"
    async with (
        rig(tmp_path) as given,
        behind_tls(seaweed, certificates.server) as endpoint,
        forward_proxy(user=CANARIES.proxy_user, password=CANARIES.proxy_password) as proxy,
    ):
        given.more |= seaweed.environment() | {
            "AWS_ENDPOINT_URL_S3": endpoint,
            "VIPLAKE_LAKE": f"s3://{bucket}",
            "HTTPS_PROXY": f"http://{login}{proxy.address}",
        }
        if case != "unknown authority":
            given.more["SSL_CERT_FILE"] = str(certificates.file)
        if case == "refused":
            proxy.refusal = http(b"denied by policy", "403 Forbidden")
        if case == "no proxy needed":
            given.more["NO_PROXY"] = "127.0.0.1"
        examined = await given.run("doctor", "--json")
        checks = {check["name"]: check for check in json.loads(examined.out)["checks"]}
        finished = await given.run()
        assert bool(proxy.targets) == (case != "no proxy needed")
    for secret in CANARIES.secret_values():
        assert secret not in examined.out + examined.err + finished.out + finished.err
    lake = checks["lake"]
    if cause is None:
        assert (examined.code, lake["status"]) == (0, "ok"), examined
        assert (f"through the proxy http://{proxy.address}" in lake["detail"]) == (case == "known")
        assert str(certificates.file) in lake["detail"]
        assert json.loads(finished.out)["outcome"] == "delivered"
        return
    assert (lake["status"], lake["cause"], lake["owner"]) == ("failed", cause, "network"), examined
    assert examined.code == 69
    ended(finished, cause)
    assert obstore.list(seaweed.store(bucket)).collect() == []


# -- all of it, with the secret where it belongs --------------------------------------------------------------


async def test_with_secrets_manager_and_s3_the_doctor_is_green_and_a_run_delivers(
    ministack: Ministack, seaweed: Seaweed, tmp_path: Path
) -> None:
    secret = {"Veson_client_id": CANARIES.client_id, "Veson_client_secret": CANARIES.client_secret}
    ministack.client("secretsmanager").create_secret(Name="vip/doctor", SecretString=json.dumps(secret))
    aws = {**seaweed.environment(), "AWS_ENDPOINT_URL_SECRETS_MANAGER": ministack.endpoint}
    where = {"VIPLAKE_SECRETS": "aws-sm:vip/doctor", "VIPLAKE_LAKE": f"s3://{seaweed.bucket()}"}
    async with rig(tmp_path) as given:
        given.more.update(aws | where)
        del given.command.environ["VIPLAKE_CLIENT_ID"], given.command.environ["VIPLAKE_CLIENT_SECRET"]
        examined = await given.run("doctor", "--json")
        assert examined.code == 0, examined
        checks = json.loads(examined.out)["checks"]
        assert {check["name"] for check in checks if check["status"] != "ok"} == {"route downloads", "disk"}
        [found] = [check for check in checks if check["name"] == "secret"]
        assert "aws-sm:vip/doctor has Veson_client_id" in found["detail"]
        assert given.vendor.requests.count("trigger") == 0
        delivered = await given.run()
        assert (delivered.code, json.loads(delivered.out)["outcome"]) == (0, "delivered")
