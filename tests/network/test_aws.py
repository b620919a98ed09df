"""Where a bucket is, and who we are: as boto3 itself resolves them, which serves as the oracle."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from botocore import UNSIGNED
from botocore.config import Config

from viplake.errors import LakeError, SettingsError
from viplake.network.aws import AwsAccess, bucket_address, checked, session
from viplake.network.settings import Network

if TYPE_CHECKING:
    from pathlib import Path


class Sent(Exception):
    """The request that boto3 would have sent."""


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


def of_boto3(bucket: str, region: str | None, endpoint: str | None) -> str:
    """The URL of a request of boto3 for the key `k`, without its query."""
    client = boto3.Session(profile_name="p", region_name=region).client(
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
