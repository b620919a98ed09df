"""`viplake doctor`: green where all is well, and each planted fault by its name, with owner, fix and exit code."""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import obstore
import pytest

from canary import CANARIES
from commands import environ_for
from fakes import DictStore, FakeClock
from servers.sockets import authority, forward_proxy, http, playing
from viplake import cli, config
from viplake.clock import SystemClock
from viplake.commands import examination
from viplake.errors import LakeError, SettingsError
from viplake.lake.records import identity_bytes
from viplake.simulator import Simulator, SimulatorSettings

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator
    from datetime import datetime
    from pathlib import Path

    from servers.seaweed import Seaweed
    from servers.sockets import Authority

pytestmark = pytest.mark.system

PLENTY = 10**12


@dataclass(frozen=True)
class Skewed(SystemClock):
    """The machine's clock, so many seconds ahead."""

    ahead: float

    def now(self) -> datetime:
        return super().now() + timedelta(seconds=self.ahead)


@asynccontextmanager
async def vendor(tls: ssl.SSLContext | None = None) -> AsyncIterator[Simulator]:
    settings = SimulatorSettings(
        company="ACME", client_id=CANARIES.client_id, client_secret=CANARIES.client_secret, port=0
    )
    async with Simulator(settings, tls=tls) as simulator:
        yield simulator


async def examined(given: dict[str, str], cwd: Path, **more: Any) -> examination.Examination:
    """What the doctor finds; it never says a secret."""
    more = {"free_bytes": lambda _: PLENTY, **more}
    found = await examination.examine(config.load(environ=given, cwd=cwd), **more)
    said = json.dumps(found.to_json())
    for secret in CANARIES.secret_values():
        assert secret not in said
    return found


def failures(found: examination.Examination) -> dict[str, tuple[str | None, str | None]]:
    """Cause and owner of the failed checks, each of which says what to do."""
    failed = [check for check in found.checks if check.status == "failed"]
    assert all(check.fix and "\n" not in check.detail for check in failed)
    return {check.name: (check.cause, check.owner) for check in failed}


def names(found: examination.Examination, status: str) -> set[str]:
    return {check.name for check in found.checks if check.status == status}


# -- where all is well ----------------------------------------------------------------------------------------


async def test_all_is_well_on_s3_and_nothing_stays_behind(seaweed: Seaweed, tmp_path: Path) -> None:
    bucket = seaweed.bucket()
    async with vendor() as simulator:
        found = await examined(environ_for(simulator, f"s3://{bucket}/below", **seaweed.environment()), tmp_path)
        assert simulator.requests.count("trigger") == 0
    assert found.exit_code == 0
    assert failures(found) == {}
    assert names(found, "warning") == set()
    assert names(found, "skipped") == {"route downloads", "disk"}
    assert obstore.list(seaweed.store(bucket)).collect() == []


async def test_all_is_well_in_a_folder_and_nothing_stays_behind(tmp_path: Path) -> None:
    lake = tmp_path / "lake"
    lake.mkdir()
    async with vendor() as simulator:
        found = await examined(environ_for(simulator, f"file://{lake}"), tmp_path)
    assert found.exit_code == 0
    assert names(found, "skipped") == {"route downloads"}
    assert [path for path in lake.rglob("*") if path.is_file()] == []


async def test_E18_a_mount_with_shorter_names_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lake = tmp_path / "lake"
    lake.mkdir()
    monkeypatch.setattr("os.pathconf", lambda path, name: {(lake, "PC_NAME_MAX"): 143}[path, name])
    async with vendor() as simulator:
        found = await examined(environ_for(simulator, f"file://{lake}"), tmp_path)
    [check] = [check for check in found.checks if check.status == "warning"]
    assert (check.name, check.cause, check.owner) == ("lake", "dest_io", "us")
    assert "names of 141 bytes" in check.detail
    assert found.exit_code == 0, "shorter names land"


async def test_the_list_of_checks_does_not_depend_on_failures(tmp_path: Path) -> None:
    (tmp_path / "lake").mkdir()
    async with vendor() as simulator:
        good = await examined(environ_for(simulator, f"file://{tmp_path / 'lake'}"), tmp_path)
        bad = await examined(environ_for(simulator, "file:///nonexistent/lake", VIPLAKE_SECRETS="file:/no"), tmp_path)
    everything = [check.name for check in good.checks]
    assert len(everything) == len(set(everything))
    assert {check.name for check in bad.checks} == set(everything)
    unreadable = examination.unreadable(SettingsError("no"))
    assert {check.name for check in unreadable.checks} == set(everything)


async def test_each_setting_is_shown_with_its_origin(tmp_path: Path) -> None:
    (tmp_path / "viplake.toml").write_text("default_profile = 'mine'\n[profiles.mine]\ngrace_minutes = 7\n")
    (tmp_path / "lake").mkdir()
    async with vendor() as simulator:
        found = await examined(environ_for(simulator, f"file://{tmp_path / 'lake'}"), tmp_path)
    shown = {setting.name: (setting.value, setting.origin) for setting in found.settings}
    assert set(shown) == {setting.name for setting in config.SETTINGS}
    assert shown["company"] == ("ACME", "environment")
    assert shown["grace_minutes"] == ("7", "viplake.toml [profile mine]")
    assert shown["poll_seconds"] == ("1", "environment")
    assert shown["transfer_timeout_seconds"] == ("1800", "default")
    assert shown["prefix"] == ("IMOSDL/Hourly/", "default")


async def test_a_folder_that_a_run_will_make_is_a_warning(tmp_path: Path) -> None:
    async with vendor() as simulator:
        found = await examined(environ_for(simulator, f"file://{tmp_path}/not/yet"), tmp_path)
    assert names(found, "warning") == {"lake"}
    assert found.exit_code == 0
    assert not (tmp_path / "not").exists()


@pytest.mark.parametrize("exists", [True, False])
async def test_before_the_first_delivery_the_company_is_reported_as_not_proven(tmp_path: Path, *, exists: bool) -> None:
    async with vendor() as simulator:
        if exists:
            (tmp_path / "lake").mkdir()
        given = environ_for(simulator, f"file://{tmp_path / 'lake'}", VIPLAKE_COMPANY="ACNE")
        found = await examined(given, tmp_path)
    [owner] = [check for check in found.checks if check.name == "lake owner"]
    assert "it is not proven that Veson knows the company 'ACNE'" in owner.detail


# -- the way to the vendor ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture
def lake(tmp_path: Path) -> str:
    (tmp_path / "lake").mkdir()
    return f"file://{tmp_path / 'lake'}"


ROUTES = ("route token", "route export", "route files")


async def test_through_a_proxy_with_a_known_authority_all_is_well(
    certificates: Authority, lake: str, tmp_path: Path
) -> None:
    async with (
        vendor(certificates.server) as simulator,
        forward_proxy(user=CANARIES.proxy_user, password="p-4711-xyz") as proxy,
    ):
        through = {
            "HTTPS_PROXY": f"http://{CANARIES.proxy_user}:p-4711-xyz@{proxy.address}",
            "SSL_CERT_FILE": str(certificates.file),
        }
        found = await examined(environ_for(simulator, lake, **through), tmp_path)
    assert failures(found) == {}
    details = {check.name: check.detail for check in found.checks}
    for route in ROUTES:
        assert f"through the proxy http://{proxy.address}" in details[route]
        assert str(certificates.file) in details[route]


async def test_N1_a_proxy_that_asks_for_a_password(certificates: Authority, lake: str, tmp_path: Path) -> None:
    async with vendor(certificates.server) as simulator, forward_proxy(user="u", password="p") as proxy:
        through = {"HTTPS_PROXY": f"http://{proxy.address}", "SSL_CERT_FILE": str(certificates.file)}
        found = await examined(environ_for(simulator, lake, **through), tmp_path)
    assert failures(found) == dict.fromkeys(ROUTES, ("proxy_auth", "network"))
    assert {"token"} <= names(found, "skipped")
    assert found.exit_code == 69


async def test_N2_a_proxy_that_refuses(certificates: Authority, lake: str, tmp_path: Path) -> None:
    refusal = http(b"denied by policy", "403 Forbidden")
    async with vendor(certificates.server) as simulator, forward_proxy(refusal=refusal) as proxy:
        through = {"HTTPS_PROXY": f"http://{proxy.address}", "SSL_CERT_FILE": str(certificates.file)}
        found = await examined(environ_for(simulator, lake, **through), tmp_path)
    assert failures(found) == dict.fromkeys(ROUTES, ("proxy", "network"))


async def test_N6_a_block_page_in_place_of_the_vendor(lake: str, tmp_path: Path) -> None:
    page = http(b"<html>This site is blocked</html>", "200 OK", "Content-Type: text/html")
    async with vendor() as simulator, playing(page) as blocked:
        found = await examined(environ_for(simulator, lake, VIPLAKE_EXPORT_URL=f"{blocked.url}/api"), tmp_path)
    assert failures(found) == {"route export": ("vendor_contract", "vendor")}


async def test_N3_an_authority_that_is_not_known(certificates: Authority, lake: str, tmp_path: Path) -> None:
    async with vendor(certificates.server) as simulator:
        found = await examined(environ_for(simulator, lake), tmp_path)
    assert failures(found) == dict.fromkeys(ROUTES, ("tls", "network"))
    assert "SSL_CERT_FILE" in (found.checks[2].fix or "")


async def test_an_endpoint_that_refuses_connections(lake: str, tmp_path: Path) -> None:
    async with vendor() as simulator:
        gone = environ_for(simulator, lake)
    found = await examined(gone, tmp_path)
    assert failures(found) == dict.fromkeys(ROUTES, ("network", "network"))


# -- the secret -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "cause", "told"),
    [
        (None, "secrets_missing", "secret.json"),
        ("not { json", "secrets_malformed", "JSON object"),
        ('{"Veson_client_id": "id-of-nobody"}', "secrets_malformed", "Veson_client_secret"),
    ],
)
async def test_S4_a_secret_that_is_missing_or_malformed(
    content: str | None, cause: str, told: str, lake: str, tmp_path: Path
) -> None:
    file = tmp_path / "secret.json"
    if content is not None:
        file.write_text(content)
        file.chmod(0o600)
    async with vendor() as simulator:
        found = await examined(environ_for(simulator, lake, VIPLAKE_SECRETS=f"file:{file}"), tmp_path)
    assert failures(found) == {"secret": (cause, "us")}
    assert told in found.checks[1].detail
    assert found.exit_code == 77


async def test_S6_a_secret_that_was_rotated(lake: str, tmp_path: Path) -> None:
    async with vendor() as simulator:
        simulator.rotate_secret("the-new-secret-0815")
        found = await examined(environ_for(simulator, lake), tmp_path)
    assert failures(found) == {"token": ("auth_rejected", "us")}
    assert found.exit_code == 77


async def test_without_a_company_the_settings_fail_and_the_rest_is_looked_at(lake: str, tmp_path: Path) -> None:
    async with vendor() as simulator:
        given = environ_for(simulator, lake)
        del given["VIPLAKE_COMPANY"]
        found = await examined(given, tmp_path)
    assert failures(found) == {"settings": ("config", "us")}
    assert found.exit_code == 2
    assert "token" in names(found, "ok")


# -- the lake -------------------------------------------------------------------------------------------------


async def test_W5_a_bucket_that_does_not_exist(seaweed: Seaweed, tmp_path: Path) -> None:
    async with vendor() as simulator:
        found = await examined(environ_for(simulator, "s3://nobody-made-this", **seaweed.environment()), tmp_path)
    assert failures(found) == {"lake": ("dest_missing", "aws")}
    assert found.exit_code == 73


async def test_W5_F4_a_bucket_in_another_region(tmp_path: Path) -> None:
    """SeaweedFS has no regions: this plays S3's own answer."""
    body = b"<Error><Code>PermanentRedirect</Code><Message>use the specified endpoint</Message></Error>"
    aws = {"AWS_ACCESS_KEY_ID": "AKIDEXAMPLE", "AWS_SECRET_ACCESS_KEY": "not-a-secret", "AWS_REGION": "eu-west-1"}
    async with vendor() as simulator, playing(http(body, "301 Moved Permanently")) as s3:
        found = await examined(environ_for(simulator, "s3://bucket", AWS_ENDPOINT_URL_S3=s3.url, **aws), tmp_path)
    assert failures(found) == {"lake": ("dest_region", "aws")}
    assert "AWS_REGION" in next(check.fix or "" for check in found.checks if check.name == "lake")


async def test_W3_a_user_without_write_permission(seaweed: Seaweed, tmp_path: Path) -> None:
    given = seaweed.environment(seaweed.reader)
    bucket = seaweed.bucket()
    async with vendor() as simulator:
        found = await examined(environ_for(simulator, f"s3://{bucket}/below", **given), tmp_path)
    assert failures(found) == {"lake create": ("dest_denied", "aws")}
    [fix] = [check.fix for check in found.checks if check.name == "lake create"]
    assert fix is not None
    assert f"s3:AbortMultipartUpload on arn:aws:s3:::{bucket}/below/IMOSDL/*" in fix
    assert f"s3:ListBucket on arn:aws:s3:::{bucket}," in fix
    assert "lake list" in names(found, "ok")


async def test_S7_a_key_that_is_not_good(seaweed: Seaweed, tmp_path: Path) -> None:
    wrong = {**seaweed.environment(), "AWS_SECRET_ACCESS_KEY": "canary-not-the-secret"}
    async with vendor() as simulator:
        found = await examined(environ_for(simulator, f"s3://{seaweed.bucket()}", **wrong), tmp_path)
    assert failures(found) == {"lake": ("dest_auth", "aws")}


async def test_K7_a_lake_of_the_test_environment_used_as_prod(seaweed: Seaweed, tmp_path: Path) -> None:
    bucket = seaweed.bucket()
    given = seaweed.environment()
    obstore.put(seaweed.store(bucket), "IMOSDL/_viplake/lake.json", identity_bytes("Test", "ACME"))
    async with vendor() as simulator:
        found = await examined(environ_for(simulator, f"s3://{bucket}", **given), tmp_path)
    assert failures(found) == {"lake owner": ("lake_mismatch", "us")}
    assert found.exit_code == 2
    assert [meta["path"] for meta in obstore.list(seaweed.store(bucket)).collect()] == ["IMOSDL/_viplake/lake.json"]


async def test_W17_a_folder_without_write_permission(tmp_path: Path) -> None:
    """/proc: not even root makes a file there."""
    async with vendor() as simulator:
        found = await examined(environ_for(simulator, "file:///proc"), tmp_path)
    assert failures(found) == {"lake create": ("dest_io", "us")}


async def test_W16_a_disk_that_is_full(lake: str, tmp_path: Path) -> None:
    async with vendor() as simulator:
        full = await examined(environ_for(simulator, lake), tmp_path, free_bytes=lambda _: 1_000_000)
        low = await examined(environ_for(simulator, lake), tmp_path, free_bytes=lambda _: 1_000_000_000)
    assert failures(full) == {"disk": ("disk_full", "us")}
    assert full.exit_code == 73
    assert names(low, "warning") == {"disk"}
    assert low.exit_code == 0


@pytest.mark.parametrize(("ahead", "status"), [(20 * 60, "failed"), (-20 * 60, "failed"), (120, "warning"), (5, "ok")])
async def test_C4_a_clock_that_is_off(ahead: float, status: str, lake: str, tmp_path: Path) -> None:
    async with vendor() as simulator:
        found = await examined(environ_for(simulator, lake), tmp_path, clock=Skewed(ahead))
    [clock] = [check for check in found.checks if check.name == "clock"]
    assert clock.status == status
    assert status == "ok" or clock.cause == "clock"
    if status == "failed":
        assert "1200 s" in clock.detail or "1199 s" in clock.detail or "1201 s" in clock.detail
        assert found.exit_code == 73


class Undeletable(DictStore):
    async def delete(self, key: str) -> None:
        raise LakeError(f"cannot delete {key}", cause="dest_denied")


class Careless(DictStore):
    """A store without conditional writes."""

    async def put_if_absent(self, key: str, data: bytes) -> bool:
        await self.put(key, data)
        return True


async def test_rights_that_a_run_does_not_need_are_no_failure() -> None:
    found = await examination.probe(Undeletable(FakeClock()), "IMOSDL/")
    assert {check.status for check in found} == {"ok"}
    assert "a run does not need it" in found[-1].detail


async def test_R6_a_store_that_lets_two_writers_create_the_same_object() -> None:
    found = await examination.probe(Careless(FakeClock()), "IMOSDL/")
    [check] = [check for check in found if check.name == "lake create-only"]
    assert (check.status, check.cause) == ("failed", "config")
    assert "If-None-Match" in (check.fix or "")


# -- the command ----------------------------------------------------------------------------------------------


def test_the_command_fails_with_the_settings(
    capsys: pytest.CaptureFixture[str], monkeypatch: Any, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.execute(["doctor", "--json", "--environment", "prod"]) == 2
    printed = json.loads(capsys.readouterr().out)
    assert printed["schema_version"] == 1
    first = printed["checks"][0]
    assert set(first) == {"name", "status", "cause", "owner", "detail", "fix"}
    assert (first["name"], first["status"], first["cause"], first["owner"]) == ("settings", "failed", "config", "us")
    assert "Did you mean 'Prod'" in first["fix"]
    assert cli.execute(["doctor", "--environment", "prod"]) == 2
    assert "cause  config (us)" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("table", "status", "words"),
    [
        ("", "ok", "0 planned periods; incidents are recorded, but sent to no channel"),
        ("[notify]\nsns_topic = 'arn:aws:sns:eu-west-1:123456789012:t'\n", "ok", "notifications go to SNS"),
        ("[[calendar]]\nkind='hole'\nfrom='2022-05-10T13'\nto='2022-05-10T14'\n", "ok", "with 1 planned period;"),
        ("[rules.late_jb]\nminutes = 60\n", "skipped", "unknown key 'late_jb'"),
    ],
)
async def test_doctor_names_what_rules_calendar_and_notify_come_to(
    table: str, status: str, words: str, tmp_path: Path
) -> None:
    (tmp_path / "lake").mkdir()
    (tmp_path / "viplake.toml").write_text(table)
    async with vendor() as simulator:
        found = await examined(environ_for(simulator, (tmp_path / "lake").as_uri()), tmp_path)
    [check] = [one for one in found.checks if one.name == "rules"]
    assert check.status == status
    assert words in check.detail
