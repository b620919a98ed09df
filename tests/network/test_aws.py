"""Where a bucket is, and who we are: as boto3 itself resolves them, which serves as the oracle."""

from __future__ import annotations

import contextlib
import functools
import os
import pty
import subprocess
import sys
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import boto3
import botocore.loaders
import botocore.session
import pytest
from botocore import UNSIGNED
from botocore.config import Config

from servers.sockets import authority
from viplake.config.sources import read_surroundings
from viplake.errors import LakeError, SettingsError
from viplake.network.aws import AwsAccess, bucket_address, checked, client, credentials, session, trusting_profile
from viplake.network.settings import Network
from viplake.redact import Secret


class Sent(Exception):
    """The request that boto3 would have sent."""


@pytest.fixture(autouse=True)
def read_botocore_data_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each session reads megabytes of JSON that ship with botocore: here they share one reader."""
    monkeypatch.setattr(botocore.session, "create_loader", _data)


_data = functools.cache(botocore.loaders.create_loader)


@pytest.fixture
def profile(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The only configuration of AWS that is read."""
    for name in ("AWS_PROFILE", "AWS_REGION", "AWS_DEFAULT_REGION", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"):
        monkeypatch.delenv(name, raising=False)
    file = tmp_path / "config"
    file.write_text("")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(file))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    return file


def of_boto3(bucket: str, region: str | None, endpoint: str | None, *, profile_name: str | None = "p") -> str:
    """The URL of a request of boto3 for the key `k`, without its query."""
    client = boto3.Session(profile_name=profile_name, region_name=region).client(
        "s3", endpoint_url=endpoint, config=Config(signature_version=UNSIGNED)
    )
    urls: list[str] = []

    def catch(request: Any, **_: Any) -> None:
        urls.append(request.url)
        raise Sent

    client.meta.events.register("before-send.s3", catch)
    with contextlib.suppress(Sent):
        client.get_object(Bucket=bucket, Key="k")
    return urls[0].partition("?")[0]


CONFIGURATIONS = {
    "nothing": "region = eu-west-1",
    "endpoint": "region = eu-west-1\nendpoint_url = https://s3.onprem.example:8443",
    "services": "region = eu-west-1\nservices = mine\n[services mine]\ns3 =\n  endpoint_url = https://minio.example",
    "services over endpoint": "endpoint_url = https://all.example\nregion = eu-west-1\nservices = mine\n"
    "[services mine]\ns3 =\n  endpoint_url = https://minio.example",
    "ignored": "region = eu-west-1\nendpoint_url = https://s3.onprem.example\nignore_configured_endpoint_urls = true",
    "path": "region = eu-west-1\ns3 =\n  addressing_style = path",
    "virtual": "region = eu-west-1\ns3 =\n  addressing_style = virtual",
    "virtual on premises": "region = eu-west-1\nendpoint_url = https://s3.onprem.example\n"
    "s3 =\n  addressing_style = virtual",
    "dual stack": "region = eu-west-1\ns3 =\n  use_dualstack_endpoint = true",
    "dual stack for all": "region = eu-west-1\nuse_dualstack_endpoint = true",
    "FIPS": "region = us-west-2\nuse_fips_endpoint = true",
    "China": "region = cn-north-1",
    "GovCloud": "region = us-gov-west-1",
}


@pytest.mark.parametrize("bucket", ["lake", "vip.data.example"])
@pytest.mark.parametrize("configuration", CONFIGURATIONS.values(), ids=CONFIGURATIONS.keys())
def test_E3_E6_a_bucket_is_where_boto3_finds_it(profile: Path, configuration: str, bucket: str) -> None:
    profile.write_text(f"[profile p]\n{configuration}\n")
    found = bucket_address(bucket, AwsAccess(profile="p"))
    ours = f"{found.endpoint}/k" if found.virtual else f"{found.endpoint}/{bucket}/k"
    assert ours == of_boto3(bucket, None, None)


@pytest.mark.parametrize("endpoint", ["https://minio.example", "https://minio.example:9000/"])
def test_E3_the_endpoint_of_the_environment_wins_as_in_boto3(profile: Path, endpoint: str) -> None:
    profile.write_text("[profile p]\nendpoint_url = https://s3.onprem.example\nregion = eu-west-1\n")
    found = bucket_address("lake", AwsAccess(profile="p", region="eu-west-2"), endpoint=endpoint)
    assert f"{found.endpoint}/lake/k" == of_boto3("lake", "eu-west-2", endpoint)
    assert found.region == "eu-west-2"


ENVIRONMENTS = {
    "FIPS": {"AWS_USE_FIPS_ENDPOINT": "TRUE"},
    "dual stack": {"AWS_USE_DUALSTACK_ENDPOINT": "true"},
    "both": {"AWS_USE_DUALSTACK_ENDPOINT": "true", "AWS_USE_FIPS_ENDPOINT": "true"},
    "for all services": {"AWS_ENDPOINT_URL": "https://all.example"},
    "for S3": {"AWS_ENDPOINT_URL": "https://all.example", "AWS_ENDPOINT_URL_S3": "https://s3.example:9000/"},
    "for another service": {"AWS_ENDPOINT_URL_DYNAMODB": "https://other.example"},
    "ignored": {"AWS_ENDPOINT_URL_S3": "https://s3.example", "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": "true"},
    "legacy": {"AWS_S3_US_EAST_1_REGIONAL_ENDPOINT": "legacy", "AWS_DEFAULT_REGION": "us-east-1"},
}


@pytest.mark.parametrize("bucket", ["lake", "vip.data.example"])
@pytest.mark.parametrize(
    "configured", ["", "[default]\nendpoint_url = https://s3.onprem.example\n"], ids=["", "a profile"]
)
@pytest.mark.parametrize("environment", ENVIRONMENTS)
@pytest.mark.system
def test_E3_E4_the_environment_leads_where_boto3_goes(
    profile: Path, environment: str, configured: str, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    profile.write_text(configured)
    for name, value in {"AWS_DEFAULT_REGION": "eu-west-1", **ENVIRONMENTS[environment]}.items():
        monkeypatch.setenv(name, value)
    said = read_surroundings(os.environ)
    found = bucket_address(bucket, AwsAccess(region=said.region), endpoint=said.endpoint_s3)
    ours = f"{found.endpoint}/k" if found.virtual else f"{found.endpoint}/{bucket}/k"
    assert ours == of_boto3(bucket, None, None, profile_name=None)


@pytest.mark.parametrize("kind", ["the store", "boto3"])
def test_E3_E8_the_ca_bundle_of_the_profile_is_trusted_as_in_boto3(profile: Path, kind: str, tmp_path: Path) -> None:
    ours = authority(tmp_path)
    profile.write_text(f"[profile p]\nregion = eu-west-1\nca_bundle = {ours.file}\n")
    access = AwsAccess("AKIA4711", Secret("secret-4711"), profile="p")
    if kind == "the store":
        trusted = trusting_profile(Network(), AwsAccess(profile="p")).ca
    else:
        made = session(replace(access, access_key_id=None), Network())
        trusted = Path(made._session.get_config_variable("ca_bundle")).read_text()
    assert ours.file.read_text().split()[2] in trusted
    profile.write_text(f"[profile p]\nca_bundle = {tmp_path}/none.pem\n")
    with pytest.raises(SettingsError, match="ca_bundle of the AWS profile"):
        trusting_profile(Network(), AwsAccess(profile="p"))


@pytest.mark.parametrize("configured", [True, False], ids=["a configuration", "none"])
def test_E3_an_endpoint_needs_no_configuration_to_be_found(profile: Path, configured: bool) -> None:
    if not configured:
        profile.unlink()
    found = bucket_address("lake", AwsAccess(region="eu-west-2"), endpoint="https://minio.example/")
    assert (found.endpoint, found.virtual, found.region) == ("https://minio.example", False, "eu-west-2")
    with pytest.raises(SettingsError, match="region"):
        bucket_address("lake", AwsAccess(region="eu west"), endpoint="https://minio.example/")


def test_E12_a_profile_that_needs_an_mfa_code_is_refused(profile: Path) -> None:
    role = "role_arn = arn:aws:iam::123456789012:role/r\nsource_profile = q\n"
    profile.write_text(f"[profile p]\n{role}mfa_serial = arn:aws:iam::123456789012:mfa/me\n[profile q]\n")
    with pytest.raises(SettingsError, match="MFA"):
        session(AwsAccess(profile="p"), Network())
    profile.write_text(f"[profile p]\n{role}[profile q]\n{role}mfa_serial = arn:aws:iam::1:mfa/me\n")
    with pytest.raises(SettingsError, match="MFA"):
        session(AwsAccess(profile="p"), Network())


ROLE = "role_arn = arn:aws:iam::123456789012:role/r\nmfa_serial = arn:aws:iam::1:mfa/me\n"
KEYS = "aws_access_key_id = AKIA4711\naws_secret_access_key = canary-of-a-profile\n"


@pytest.mark.parametrize(
    "configured",
    [
        f"[default]\nmfa_serial = arn:aws:iam::1:mfa/me\n{KEYS}",
        f"[default]\n{ROLE}web_identity_token_file = /none\n",
        (
            "[default]\nrole_arn = arn:aws:iam::1:role/s\nsource_profile = q\n"
            f"[profile q]\n{ROLE}{KEYS}source_profile = z\n"
        ),
    ],
    ids=["no role", "a web identity", "a source profile with keys"],
)
def test_E12_an_mfa_code_that_botocore_does_not_want_refuses_nothing(profile: Path, configured: str) -> None:
    profile.write_text(configured)
    session(AwsAccess(), Network())
    profile.write_text(f"[default]\n{ROLE}source_profile = default\n{KEYS}")
    with pytest.raises(SettingsError, match="MFA"):
        session(AwsAccess(), Network())


@pytest.mark.system
@pytest.mark.parametrize("program", ["/none/tool", "true", "echo []", 'printf "\\\\377"', 'sh -c "'])
def test_E12_a_credential_process_that_gives_no_credentials_is_named(profile: Path, program: str) -> None:
    profile.write_text(f"[profile p]\nregion = eu-west-1\ncredential_process = {program}\n")
    with pytest.raises(LakeError, match="credential_process") as caught:
        credentials(AwsAccess(profile="p"), Network())
    assert caught.value.cause.word == "dest_auth"
    with pytest.raises(SettingsError, match="AWS configuration"):
        client("sns", AwsAccess(profile="p"), Network())


@pytest.mark.system
def test_E12_a_credential_process_that_wants_to_read_a_code_finds_no_input(profile: Path) -> None:
    profile.write_text("[profile p]\nregion = eu-west-1\ncredential_process = sh -c 'read code; echo []'\n")
    given = {"VIPLAKE_ENVIRONMENT": "Test", "VIPLAKE_COMPANY": "ACME", "VIPLAKE_LAKE": "s3://lake", "AWS_PROFILE": "p"}
    command = [sys.executable, "-m", "viplake", "status"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, **given}
    ) as running:
        assert running.wait(timeout=60) == 73, "although its own input stays open"
        assert running.stderr is not None
        assert "credential_process" in running.stderr.read()


@pytest.mark.system
@pytest.mark.parametrize("name", ["p", "role"])
def test_E12_a_credential_process_finds_no_terminal(profile: Path, name: str) -> None:
    program = "sh -c 'read code < /dev/tty && sleep 600'"
    role = "region = eu-west-1\nrole_arn = arn:aws:iam::123456789012:role/r\nsource_profile = p"
    profile.write_text(f"[profile p]\nregion = eu-west-1\ncredential_process = {program}\n[profile role]\n{role}\n")
    code = f"""
import viplake.network.aws as aws
from viplake.network.settings import Network
try:
    aws.credentials(aws.AwsAccess(profile={name!r}), Network())()
except Exception as error:
    print(type(error).__name__, error)
"""
    child, terminal = pty.fork()
    if child == 0:
        os.execve(sys.executable, [sys.executable, "-c", code], dict(os.environ))
    said = b""
    with suppress(OSError):  # the end, as Linux reports it on a terminal
        while piece := os.read(terminal, 4096):
            said += piece
    os.close(terminal)
    os.waitpid(child, 0)
    assert b"LakeError" in said
    assert b"/dev/tty" in said


@pytest.mark.system
def test_E12_a_credential_process_that_hangs_is_ended_and_named(profile: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("viplake.network.aws.PROCESS_SECONDS", 0.5)
    profile.write_text("[profile p]\nregion = eu-west-1\ncredential_process = sh -c 'sleep 600; echo {}'\n")
    with pytest.raises(LakeError, match=r"credential_process .*: it gave no credentials within 0\.5 s") as caught:
        credentials(AwsAccess(profile="p"), Network())
    assert caught.value.cause.word == "dest_auth"


def test_E7_credentials_with_a_line_end_reach_no_library() -> None:
    with pytest.raises(LakeError) as caught:
        checked("AKIA4711", "secret\n4711", None)
    assert caught.value.cause.word == "dest_auth"
    assert "4711" not in caught.value.message + caught.value.hint
    assert checked("AKIA4711", "a b+/=", "") == {
        "access_key_id": "AKIA4711",
        "secret_access_key": "a b+/=",
        "token": None,
    }


def test_a_profile_that_is_not_there_is_a_wrong_setting(profile: Path) -> None:
    profile.write_text("")
    with pytest.raises(SettingsError, match="absent"):
        bucket_address("lake", AwsAccess(profile="absent"))
