"""The secret from the environment and from a file, and what the builders make of it and of the surroundings."""

from __future__ import annotations

import json
import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest

from canary import CANARIES
from viplake import config
from viplake.errors import CREDENTIALS, CredentialsError, SettingsError
from viplake.redact import redact

if TYPE_CHECKING:
    from collections.abc import Mapping

NOWHERE: Final = Path("/nonexistent")
CLIENT: Final = {"Veson_client_id": CANARIES.client_id, "Veson_client_secret": CANARIES.client_secret}
AWS: Final = {
    "AWS_bucket": "their-bucket",
    "AWS_access_key_id": CANARIES.aws_access_key_id,
    "AWS_secret_key_id": CANARIES.aws_secret_access_key,
}


def load(**environ: str) -> config.Settings:
    return config.load(environ={"VIPLAKE_ENVIRONMENT": "Prod", **environ}, cwd=NOWHERE)


def write(folder: Path, content: Any, *, mode: int = 0o600) -> str:
    """A secret file, as VIPLAKE_SECRETS names it."""
    file = folder / "secret.json"
    file.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
    file.chmod(mode)
    return f"file:{file}"


def read(place: str, **environ: str) -> dict[str, str]:
    return config.get_secrets(load(VIPLAKE_SECRETS=place, **environ))


def refused(place: str, **environ: str) -> CredentialsError:
    with pytest.raises(CredentialsError) as caught:
        read(place, **environ)
    said = caught.value.message + caught.value.hint
    assert "canary" not in said.casefold()
    assert "\n" not in said
    assert caught.value.exit_code == CREDENTIALS
    return caught.value


def test_the_environment_holds_the_client_and_nothing_else() -> None:
    found = read("env:", VIPLAKE_CLIENT_ID=CANARIES.client_id, VIPLAKE_CLIENT_SECRET=CANARIES.client_secret)
    assert found == CLIENT


@pytest.mark.parametrize("absent", ["VIPLAKE_CLIENT_ID", "VIPLAKE_CLIENT_SECRET"])
@pytest.mark.parametrize("how", ["unset", "empty"])
def test_S4_a_variable_that_is_missing_is_named(absent: str, how: str) -> None:
    environ = {"VIPLAKE_CLIENT_ID": CANARIES.client_id, "VIPLAKE_CLIENT_SECRET": CANARIES.client_secret}
    environ[absent] = ""
    if how == "unset":
        del environ[absent]
    error = refused("env:", **environ)
    assert error.message.startswith(f"{absent} not set")
    assert error.cause.word == "secrets_missing"


def test_S4_E7_a_line_break_behind_a_secret_of_the_environment_is_never_sent() -> None:
    found = read("env:", VIPLAKE_CLIENT_ID="x-canary-id", VIPLAKE_CLIENT_SECRET="canary-with-newline\n")
    assert found["Veson_client_secret"] == "canary-with-newline"


def test_S4_a_line_break_inside_a_secret_is_named_and_never_sent() -> None:
    with pytest.raises(SettingsError, match="VIPLAKE_CLIENT_SECRET holds a line end") as caught:
        read("env:", VIPLAKE_CLIENT_ID="x-canary-id", VIPLAKE_CLIENT_SECRET="canary-with\nnewline")
    assert "canary" not in caught.value.message + caught.value.hint


@pytest.mark.parametrize("head", [b"", b"\xef\xbb\xbf"])
def test_a_file_gives_the_keys_of_the_old_script(tmp_path: Path, head: bytes) -> None:
    content = CLIENT | AWS | {"proxy": "http://proxy:3128", "something_else": "kept", "port": 3306}
    place = write(tmp_path, head + json.dumps(content).encode())
    expected = {key: value for key, value in content.items() if key != "port"}
    assert read(place) == expected
    assert read(f"file://{place.removeprefix('file:')}") == expected


def test_a_file_as_a_windows_shell_writes_it_is_read(tmp_path: Path) -> None:
    assert read(write(tmp_path, json.dumps(CLIENT).encode("utf-16"))) == CLIENT


def test_get_secrets_needs_no_other_setting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("VIPLAKE_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("VIPLAKE_SECRETS", write(tmp_path, CLIENT))
    monkeypatch.chdir(tmp_path)
    assert config.get_secrets() == CLIENT


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"canary-0123456789",
        b"\xff\xfe\xff canary",
        b'{"Veson_client_id": "canary-0123456789"',
        b'["canary-0123456789"]',
        b'{"Veson_client_id": "a", "Veson_client_id": "canary-0123456789"}',
        b"[" * 100_000,
        b'{"x": 1e999}',
    ],
)
def test_S4_a_secret_that_is_no_json_object_is_refused_unquoted(tmp_path: Path, content: bytes) -> None:
    error = refused(write(tmp_path, content))
    assert error.cause.word == "secrets_malformed"
    assert "JSON object" in error.message


@pytest.mark.parametrize("key", ["Veson_client_id", "Veson_client_secret"])
@pytest.mark.parametrize("value", [None, "", 12345678, ["canary"], " canary-0123456789", "canary-\r\n0123456789"])
def test_S4_a_key_that_is_missing_empty_or_no_text_is_named(tmp_path: Path, key: str, value: object) -> None:
    content: Mapping[str, object] = CLIENT | {key: value}
    error = refused(write(tmp_path, {k: v for k, v in content.items() if v is not None}))
    assert error.cause.word == "secrets_malformed"
    assert f"the key {key} " in error.message


@pytest.mark.parametrize(
    ("more", "named"),
    [
        ({"AWS_access_key_id": "CANARYAKID"}, "AWS_secret_key_id is missing"),
        ({"AWS_secret_key_id": "canary-0123456789"}, "AWS_access_key_id is missing"),
    ],
)
def test_S4_half_a_pair_of_aws_keys_is_refused(tmp_path: Path, more: dict[str, str], named: str) -> None:
    assert named in refused(write(tmp_path, CLIENT | more)).message.replace("of the secret", "").replace(
        f" file:{tmp_path}/secret.json ", ""
    ).replace("  ", " ")


def test_an_optional_key_may_be_left_empty(tmp_path: Path) -> None:
    assert read(write(tmp_path, CLIENT | {"AWS_access_key_id": "", "AWS_secret_key_id": "", "proxy": ""})) == CLIENT


def test_S2_a_missing_secret_file_is_reported(tmp_path: Path) -> None:
    assert refused(f"file:{tmp_path}/absent.json").cause.word == "secrets_missing"
    assert refused(f"file:{tmp_path}").cause.word == "secrets_missing"


def test_S1_an_unreadable_secret_file_is_reported(tmp_path: Path) -> None:
    error = refused(f"file:{tmp_path}/{'x' * 300}")
    assert error.cause.word == "secrets_denied"
    assert "cannot read" in error.message


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_S1_a_forbidden_secret_file_is_reported(tmp_path: Path) -> None:
    assert refused(write(tmp_path, CLIENT, mode=0)).cause.word == "secrets_denied"


@pytest.mark.parametrize(("mode", "warned"), [(0o600, False), (0o640, False), (0o644, True), (0o602, True)])
def test_a_secret_file_open_to_all_is_warned_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, mode: int, warned: bool
) -> None:
    with caplog.at_level(logging.WARNING):
        read(write(tmp_path, CLIENT, mode=mode))
    assert ("chmod 600" in caplog.text) == warned
    assert "canary" not in caplog.text


def test_S9_all_keys_of_a_run_come_from_one_version(tmp_path: Path) -> None:
    secrets = config.Secrets.of(load(VIPLAKE_SECRETS=write(tmp_path, CLIENT)))
    first = secrets.read()
    write(tmp_path, CLIENT | {"Veson_client_secret": "canary-rotated-1"})
    assert secrets.read() is first
    assert secrets.read(fresh=True)["Veson_client_secret"].reveal() == "canary-rotated-1"
    assert secrets.read()["Veson_client_secret"].reveal() == "canary-rotated-1"


async def test_S6_the_vendors_client_gets_the_rotated_secret_when_it_asks_anew(tmp_path: Path) -> None:
    ask = config._credentials(config.Secrets.of(load(VIPLAKE_SECRETS=write(tmp_path, CLIENT))))
    assert (await ask()).client_secret.reveal() == CANARIES.client_secret
    write(tmp_path, CLIENT | {"Veson_client_secret": "canary-rotated-2"})
    assert (await ask()).client_secret.reveal() == CANARIES.client_secret
    assert (await ask(fresh=True)).client_secret.reveal() == "canary-rotated-2"


def test_I7_all_secret_values_are_redacted_but_bucket_and_proxy_host(tmp_path: Path) -> None:
    proxy = "http://canary-proxy-user:p%40ss-canary@proxy.example.com:3128"
    secrets = config.Secrets.of(load(VIPLAKE_SECRETS=write(tmp_path, CLIENT | AWS | {"proxy": proxy})))
    values = secrets.read()
    assert "canary" not in repr(values).casefold()
    for key in (*CLIENT, "AWS_access_key_id", "AWS_secret_key_id"):
        assert values[key].reveal() not in redact(f"x {values[key].reveal()} y")
    assert redact("s3://their-bucket/") == "s3://their-bucket/"
    assert redact("proxy.example.com:3128 refused p@ss-canary") == "proxy.example.com:3128 refused [redacted]"


# -- what the builders make of it ---------------------------------------------------------------------------


def store(place: str = "env:", **environ: str) -> Any:
    settings = load(VIPLAKE_SECRETS=place, **environ)
    return config.store_settings(settings, config.Secrets.of(settings))


def test_the_lake_is_the_setting_else_the_bucket_of_the_secret(tmp_path: Path) -> None:
    place = write(tmp_path, CLIENT | AWS)
    assert store(place).url == "s3://their-bucket"
    assert store(place, VIPLAKE_LAKE="file:///data").url == "file:///data"
    with pytest.raises(SettingsError, match="lake is not given"):
        store()
    with pytest.raises(SettingsError, match="lake is not given"):
        store(write(tmp_path, CLIENT))
    with pytest.raises(SettingsError, match="AWS_bucket of the secret"):
        store(write(tmp_path, CLIENT | {"AWS_bucket": "../x"}))


def test_a_folder_or_static_keys_need_no_secret() -> None:
    keys = {"AWS_ACCESS_KEY_ID": "AKID", "AWS_SECRET_ACCESS_KEY": "canary-0123456789", "AWS_SESSION_TOKEN": "canary-t"}
    assert store("file:/nonexistent.json", VIPLAKE_LAKE="file:///data").url == "file:///data"
    found = store(VIPLAKE_LAKE="s3://bucket", AWS_REGION="eu-west-1", AWS_DEFAULT_REGION="no", **keys)
    assert (found.access_key_id, found.region) == ("AKID", "eu-west-1")
    assert found.secret_access_key.reveal() == "canary-0123456789"
    assert found.session_token.reveal() == "canary-t"


def test_the_keys_of_the_secret_win_over_those_of_the_environment(tmp_path: Path) -> None:
    keys = {"AWS_ACCESS_KEY_ID": "AKID", "AWS_SECRET_ACCESS_KEY": "canary-0123456789", "AWS_SESSION_TOKEN": "canary-t"}
    found = store(write(tmp_path, CLIENT | AWS), **keys)
    assert found.access_key_id == CANARIES.aws_access_key_id
    assert found.secret_access_key.reveal() == CANARIES.aws_secret_access_key
    assert found.session_token is None, "a token belongs to its own keys"


def test_without_keys_the_chain_of_aws_is_left_to_find_them() -> None:
    for environ in ({}, {"AWS_ACCESS_KEY_ID": "AKID"}, {"AWS_SECRET_ACCESS_KEY": "canary-0123456789"}):
        found = store(VIPLAKE_LAKE="s3://bucket", AWS_PROFILE="work", **environ)
        assert found.access_key_id is found.secret_access_key is None
        assert found.profile == "work"


@pytest.mark.parametrize("variable", ["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"])
def test_http_to_the_store_needs_loopback_and_a_word(variable: str) -> None:
    lake, allow = {"VIPLAKE_LAKE": "s3://bucket"}, {"VIPLAKE_ALLOW_INSECURE_HTTP": "true"}
    found = store(**lake, **allow, **{variable: "http://127.0.0.1:8333"})
    assert (found.endpoint, found.allow_http) == ("http://127.0.0.1:8333", True)
    with pytest.raises(SettingsError, match="AWS_ENDPOINT_URL_S3"):
        store(**lake, **{variable: "http://127.0.0.1:8333"})
    with pytest.raises(SettingsError, match="not https"):
        store(**lake, **allow, **{variable: "http://10.0.0.1:8333"})


def test_the_endpoint_of_s3_wins_over_that_of_all_services() -> None:
    found = store(VIPLAKE_LAKE="s3://bucket", AWS_ENDPOINT_URL="https://all", AWS_ENDPOINT_URL_S3="https://s3.only")
    assert found.endpoint == "https://s3.only"


def test_N5_the_proxy_of_the_secret_wins_and_exceptions_go_with_it(tmp_path: Path) -> None:
    place = write(tmp_path, CLIENT | {"proxy": "http://secret-proxy:1"})
    environ = {
        "VIPLAKE_LAKE": "s3://bucket",
        "VIPLAKE_COMPANY": "ACME",
        "HTTPS_PROXY": "http://env-proxy:1",
        "NO_PROXY": "internal",
    }
    settings = load(VIPLAKE_SECRETS=place, **environ)
    secrets = config.Secrets.of(settings)
    vendor, lake = config.vendor_settings(settings, secrets), config.store_settings(settings, secrets)
    assert vendor.network == lake.network == config.network(settings, secrets)
    assert vendor.network.proxy is not None
    assert (vendor.network.proxy.address, vendor.network.no_proxy) == ("http://secret-proxy:1", "internal")


def test_without_a_secrets_proxy_the_environments_is_used(tmp_path: Path) -> None:
    place = write(tmp_path, CLIENT)
    for name in ("HTTPS_PROXY", "https_proxy"):
        settings = load(VIPLAKE_SECRETS=place, VIPLAKE_COMPANY="ACME", **{name: "http://env-proxy:1"})
        vendor = config.vendor_settings(settings, config.Secrets.of(settings))
        assert vendor.network.proxy is not None
        assert vendor.network.proxy.address == "http://env-proxy:1"


def test_vendor_and_run_get_their_settings(tmp_path: Path) -> None:
    settings = load(
        VIPLAKE_SECRETS=write(tmp_path, CLIENT),
        VIPLAKE_COMPANY="ACME",
        VIPLAKE_FILES_URL="https://files.example.com/v1/",
        VIPLAKE_DOWNLOAD_HOSTS="a.example.com",
        VIPLAKE_POLL_SECONDS="2",
        VIPLAKE_REPLICATION_TIMEOUT_SECONDS="3",
        VIPLAKE_TRANSFER_TIMEOUT_SECONDS="4",
        VIPLAKE_OUT_OF_SCOPE="Voyages",
    )
    vendor = config.vendor_settings(settings, config.Secrets.of(settings))
    assert (vendor.company, vendor.files_url) == ("ACME", "https://files.example.com/v1")
    assert vendor.download_hosts == {"a.example.com"}
    run = config.run_settings(settings)
    assert (run.poll_seconds, run.replication_timeout, run.transfer_timeout) == (2.0, 3.0, 4.0)
    assert run.out_of_scope == {"Voyages"}
    assert settings.layout.prefix == "IMOSDL/Hourly/"
    with pytest.raises(SettingsError, match="company"):
        config.run_settings(load())
