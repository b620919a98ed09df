"""The secret in Secrets Manager: read from a real server, and each of its refusals has its own cause."""

from __future__ import annotations

import asyncio
import json
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest

from canary import CANARIES
from servers.sockets import authority, http, playing
from viplake import config
from viplake.errors import CredentialsError, NetworkError, SettingsError, ViplakeError

if TYPE_CHECKING:
    from servers.ministack import Ministack

pytestmark = pytest.mark.system

NOWHERE: Final = Path("/nonexistent")
CLIENT: Final = {"Veson_client_id": CANARIES.client_id, "Veson_client_secret": CANARIES.client_secret}
KEYS: Final = {
    "AWS_ACCESS_KEY_ID": CANARIES.aws_access_key_id,
    "AWS_SECRET_ACCESS_KEY": CANARIES.aws_secret_access_key,
    "AWS_REGION": "us-east-1",
}


def secrets(name: str, **environ: str) -> config.Secrets:
    settings = config.load(
        environ={"VIPLAKE_ENVIRONMENT": "Prod", "VIPLAKE_SECRETS": f"aws-sm:{name}", **environ}, cwd=NOWHERE
    )
    return config.Secrets.of(settings)


async def read(name: str, **environ: str) -> dict[str, str]:
    found = await asyncio.to_thread(secrets(name, **environ).read)
    return {key: value.reveal() for key, value in found.items()}


async def refused(name: str = "vip/prod", **environ: str) -> ViplakeError:
    with pytest.raises(ViplakeError) as caught:
        await read(name, **environ)
    said = caught.value.message + caught.value.hint
    assert "canary" not in said.casefold()
    assert "\n" not in said
    return caught.value


# -- against a server that keeps secrets --------------------------------------------------------------------


@pytest.fixture
def stored(ministack: Ministack) -> tuple[Any, str, dict[str, str]]:
    """A client, the name of a fresh secret, and the environment that leads there."""
    client, name = ministack.client("secretsmanager"), f"vip/{uuid.uuid4()}"
    client.create_secret(Name=name, SecretString=json.dumps(CLIENT | {"AWS_bucket": "their-bucket"}))
    return client, name, ministack.environment()


async def test_a_secret_is_read_by_name_and_by_arn(stored: tuple[Any, str, dict[str, str]]) -> None:
    client, name, environ = stored
    expected = CLIENT | {"AWS_bucket": "their-bucket"}
    assert await read(name, **environ) == expected
    arn = client.describe_secret(SecretId=name)["ARN"]
    del environ["AWS_REGION"]
    assert await read(arn, **environ) == expected, "the ARN knows its region"


async def test_S9_a_rotated_secret_is_seen_only_when_it_is_read_anew(stored: tuple[Any, str, dict[str, str]]) -> None:
    client, name, environ = stored
    kept = secrets(name, **environ)
    ask = config._credentials(kept)
    assert (await ask()).client_secret.reveal() == CANARIES.client_secret
    client.put_secret_value(SecretId=name, SecretString=json.dumps(CLIENT | {"Veson_client_secret": "canary-new-1"}))
    assert (await ask()).client_secret.reveal() == CANARIES.client_secret
    assert (await ask(fresh=True)).client_secret.reveal() == "canary-new-1"
    assert (await ask()).client_secret.reveal() == "canary-new-1"


async def test_get_secrets_gives_the_keys_of_the_seed(stored: tuple[Any, str, dict[str, str]]) -> None:
    _, name, environ = stored
    settings = config.load(
        environ={"VIPLAKE_ENVIRONMENT": "Test", "VIPLAKE_SECRETS": f"aws-sm:{name}", **environ}, cwd=NOWHERE
    )
    assert await asyncio.to_thread(config.get_secrets, settings) == CLIENT | {"AWS_bucket": "their-bucket"}


@pytest.mark.parametrize(
    ("content", "cause", "said"),
    [
        ({"SecretString": "canary, no JSON"}, "secrets_malformed", "JSON object"),
        ({"SecretString": '["canary"]'}, "secrets_malformed", "JSON object"),
        ({"SecretString": json.dumps({"Veson_client_id": "canary-id"})}, "secrets_malformed", "Veson_client_secret"),
        ({"SecretBinary": b"canary-\x00\xff"}, "secrets_malformed", "binary"),
    ],
)
async def test_S4_a_secret_of_the_wrong_form_is_refused(
    ministack: Ministack, content: dict[str, Any], cause: str, said: str
) -> None:
    name = f"vip/{uuid.uuid4()}"
    ministack.client("secretsmanager").create_secret(Name=name, **content)
    error = await refused(name, **ministack.environment())
    assert error.cause.word == cause
    assert said in error.message


async def test_S2_a_missing_secret_is_reported(ministack: Ministack) -> None:
    error = await refused(f"vip/{uuid.uuid4()}", **ministack.environment())
    assert error.cause.word == "secrets_missing"
    assert "AWS_REGION" in error.hint


async def test_S2_a_secret_scheduled_for_deletion_is_reported(stored: tuple[Any, str, dict[str, str]]) -> None:
    client, name, environ = stored
    client.delete_secret(SecretId=name, RecoveryWindowInDays=7)
    error = await refused(name, **environ)
    assert error.cause.word == "secrets_missing"
    assert "deleted" in error.hint


# -- against answers that a real account gives --------------------------------------------------------------


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three tries instead of a minute of them."""
    monkeypatch.setattr("viplake.config.secrets.MOST_TRIES", 3)


# Each answer ends its connection, as the server does, and says so: else the next request may meet a closed door.
CLOSES: Final = "Connection: close"


def says(code: str, message: str = "", status: str = "400 Bad Request") -> bytes:
    body = json.dumps({"__type": code, "message": message}).encode()
    return http(body, status, "Content-Type: application/x-amz-json-1.1", CLOSES)


FOUND: Final = http(json.dumps({"Name": "vip/prod", "SecretString": json.dumps(CLIENT)}).encode(), "200 OK", CLOSES)


@pytest.mark.parametrize(
    ("code", "message", "cause"),
    [
        (
            "AccessDeniedException",
            "User: x is not authorized to perform: secretsmanager:GetSecretValue",
            "secrets_denied",
        ),
        ("AccessDeniedException", "Access to KMS is not allowed", "secrets_kms"),
        ("DecryptionFailure", "", "secrets_kms"),
        ("ResourceNotFoundException", "Secrets Manager can't find it", "secrets_missing"),
        ("InvalidRequestException", "marked for deletion", "secrets_missing"),
        ("UnrecognizedClientException", "The security token is invalid", "secrets_denied"),
        ("ExpiredTokenException", "", "secrets_denied"),
        ("InvalidSignatureException", "Signature expired", "secrets_denied"),
        ("SomethingNewException", "canary", "secrets_denied"),
    ],
)
async def test_S1_S5_each_refusal_has_its_own_cause_and_is_not_retried(code: str, message: str, cause: str) -> None:
    async with playing(says(code, message)) as server:
        error = await refused(AWS_ENDPOINT_URL=server.url, **KEYS)
    assert isinstance(error, CredentialsError)
    assert error.cause.word == cause
    assert code in error.message
    assert server.connections == 1


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize(
    "busy",
    [
        says("ThrottlingException", "Rate exceeded"),
        says("InternalServiceError", status="500 Internal Server Error"),
        http(b"<html>", "503 Service Unavailable", CLOSES),
    ],
)
async def test_S3_throttling_and_server_errors_are_borne(busy: bytes) -> None:
    async with playing(busy, busy, FOUND) as server:
        assert await read("vip/prod", AWS_ENDPOINT_URL=server.url, **KEYS) == CLIENT
    assert server.connections == 3
    async with playing(busy) as server:
        error = await refused(AWS_ENDPOINT_URL=server.url, **KEYS)
    assert error.cause.word == "secrets_unavailable"
    assert server.connections == 3


@pytest.mark.usefixtures("impatient")
async def test_N7_a_dropped_connection_is_retried() -> None:
    hangs_up = b""
    async with playing(hangs_up, FOUND) as server:
        assert await read("vip/prod", AWS_ENDPOINT_URL=server.url, **KEYS) == CLIENT
    assert server.connections == 2
    async with playing(hangs_up) as server:
        error = await refused(AWS_ENDPOINT_URL=server.url, **KEYS)
    assert error.cause.word == "secrets_unavailable"


async def test_S8_an_unknown_host_is_reported_at_once() -> None:
    async with playing(b"") as server:
        gone = server.url
    error = await refused(AWS_ENDPOINT_URL=gone, **KEYS)
    assert (error.cause.word, error.owner) == ("network", "network")
    assert "Connection refused" in error.message
    assert "AWS_ENDPOINT_URL" in error.hint


async def test_S8_missing_credentials_are_reported_with_ways_to_get_them(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    async with playing(FOUND) as server:
        error = await refused(AWS_ENDPOINT_URL=server.url, AWS_REGION="us-east-1")
        assert error.cause.word == "secrets_denied"
        assert "AWS_PROFILE" in error.hint
        error = await refused(AWS_ENDPOINT_URL=server.url, AWS_REGION="us-east-1", AWS_PROFILE="absent")
        assert isinstance(error, SettingsError)
        assert "absent" in error.message
    assert server.connections == 0


async def test_a_secret_crosses_no_network_in_clear() -> None:
    error = await refused(AWS_ENDPOINT_URL_SECRETS_MANAGER="http://10.0.0.1:4566", **KEYS)
    assert isinstance(error, SettingsError)
    assert "not https" in error.message


async def test_N3_an_unknown_authority_is_reported_and_a_known_one_trusted(tmp_path: Path) -> None:
    known = authority(tmp_path)
    (tmp_path / "other").mkdir()
    other = authority(tmp_path / "other")
    async with playing(FOUND, tls=known.server) as server:
        endpoint = f"https://127.0.0.1:{server.port}"
        assert await read("vip/prod", AWS_ENDPOINT_URL=endpoint, SSL_CERT_FILE=str(known.file), **KEYS) == CLIENT
        error = await refused(AWS_ENDPOINT_URL=endpoint, SSL_CERT_FILE=str(other.file), **KEYS)
    assert isinstance(error, NetworkError)
    assert error.cause.word == "tls"
    assert "SSL_CERT_FILE" in error.hint
