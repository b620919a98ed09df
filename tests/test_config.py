"""What a setting may be, which source wins, and that every mistake is one clear line."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest

from servers.sockets import authority
from viplake import config
from viplake.errors import USAGE, SettingsError
from viplake.model import PROD, TEST

if TYPE_CHECKING:
    from collections.abc import Mapping


NOWHERE: Final = Path("/nonexistent")


def load(cwd: Path | None = None, /, **environ: str) -> config.Settings:
    """Settings from an environment with Prod by default."""
    return config.load(environ={"VIPLAKE_ENVIRONMENT": "Prod", **environ}, cwd=cwd or NOWHERE)


def refused(cwd: Path | None = None, /, **environ: str) -> SettingsError:
    """The error that such an environment meets: always one line, always exit code 2."""
    with pytest.raises(SettingsError) as caught:
        load(cwd, **environ)
    assert "\n" not in caught.value.message
    assert "\n" not in caught.value.hint
    assert caught.value.exit_code == USAGE
    return caught.value


def toml(folder: Path, text: str) -> Path:
    """A folder with this `viplake.toml`."""
    (folder / "viplake.toml").write_text(text, encoding="utf-8")
    return folder


def test_the_environment_alone_is_enough() -> None:
    settings = load()
    assert settings.environment is PROD
    assert settings.layout.prefix == "IMOSDL/Hourly/"
    assert settings.secrets == "env:"
    assert (settings.poll_seconds, settings.replication_timeout_seconds, settings.transfer_timeout_seconds) == (
        60.0,
        3000.0,
        1800.0,
    )
    assert (settings.grace_minutes, settings.log_level, settings.log_format) == (30, "INFO", "auto")
    assert not settings.allow_insecure_http
    assert settings.token_url == "https://auth.veslink.com/connect/token"
    assert settings.lake is settings.company is settings.history is None
    assert settings.out_of_scope == settings.download_hosts == frozenset()


def test_the_prefix_follows_the_environment_unless_given() -> None:
    assert load(VIPLAKE_ENVIRONMENT="Test").layout.prefix == "DEV/IMOSDL/Hourly/"
    assert load(VIPLAKE_PREFIX="mine/Hourly").layout.prefix == "mine/Hourly/"


def test_without_an_environment_nothing_starts() -> None:
    with pytest.raises(SettingsError, match="environment is not given") as caught:
        config.load(environ={}, cwd=NOWHERE)
    assert "VIPLAKE_ENVIRONMENT" in caught.value.hint


def test_F8_a_flag_wins_over_the_environment_and_that_over_the_file(tmp_path: Path) -> None:
    text = """
        default_profile = "prod"
        company = "shared"
        poll_seconds = 5
        grace_minutes = 7
        [profiles.prod]
        company = "file"
        log_level = "ERROR"
    """
    toml(tmp_path, text)
    environ = {"VIPLAKE_ENVIRONMENT": "Prod", "VIPLAKE_LOG_LEVEL": "WARNING", "VIPLAKE_POLL_SECONDS": "6"}
    settings = config.load(flags={"poll_seconds": 7, "company": None}, environ=environ, cwd=tmp_path)
    assert settings.poll_seconds == 7.0
    assert settings.log_level == "WARNING"
    assert settings.company == "file"
    assert settings.grace_minutes == 7
    assert settings.transfer_timeout_seconds == 1800.0
    assert settings.profile == "prod"
    assert settings.config_file == tmp_path / "viplake.toml"
    origins = settings.origins
    assert origins["poll_seconds"] == "flag"
    assert origins["log_level"] == "environment"
    assert origins["company"] == "viplake.toml [profile prod]"
    assert origins["grace_minutes"] == "viplake.toml"
    assert origins["transfer_timeout_seconds"] == "default"
    assert set(origins) == {setting.name for setting in config.SETTINGS}


def test_a_profile_is_picked_by_flag_then_environment_then_the_file(tmp_path: Path) -> None:
    text = (
        'default_profile = "a"\n[profiles.a]\ncompany = "A"\n[profiles.b]\ncompany = "B"\n[profiles.c]\ncompany = "C"\n'
    )
    toml(tmp_path, text)
    environ = {"VIPLAKE_ENVIRONMENT": "Test"}
    assert config.load(environ=environ, cwd=tmp_path).company == "A"
    assert config.load(environ=environ | {"VIPLAKE_PROFILE": "b"}, cwd=tmp_path).company == "B"
    assert config.load(environ=environ | {"VIPLAKE_PROFILE": "b"}, profile="c", cwd=tmp_path).company == "C"


def test_a_file_that_is_named_is_read_from_there(tmp_path: Path) -> None:
    other = tmp_path / "other.toml"
    other.write_text('environment = "Test"\nout_of_scope = ["Voyages", "Vessels"]\nallow_insecure_http = true\n')
    for settings in (
        config.load(environ={}, config_file=other, cwd=tmp_path),
        config.load(environ={"VIPLAKE_CONFIG": str(other)}, cwd=NOWHERE),
        config.load(environ={"VIPLAKE_CONFIG": "other.toml"}, cwd=tmp_path),
    ):
        assert settings.environment is TEST
        assert settings.out_of_scope == {"Voyages", "Vessels"}
        assert settings.allow_insecure_http
        assert settings.origins["environment"] == "other.toml"


def test_F1_a_misspelt_variable_is_an_error_with_a_suggestion() -> None:
    error = refused(VIPLAKE_POL_SECONDS="5")
    assert "VIPLAKE_POL_SECONDS" in error.message
    assert error.hint == "Did you mean VIPLAKE_POLL_SECONDS?"
    assert "Known are" in refused(VIPLAKE_QQQQQQQQ="1").hint


@pytest.mark.parametrize(
    ("text", "named", "suggested"),
    [
        ("enviroment = 'Prod'", "'enviroment' in viplake.toml", "environment"),
        ("[profiles.prod]\nlkae = 's3://b'", "'lkae' in viplake.toml [profile prod]", "lake"),
        ("[profile.prod]\nlake = 's3://b'", "'profile' in viplake.toml", None),
        ("[rulez]\nx = 1", "'rulez'", "rules"),
        ("VIPLAKE_LAKE = 's3://bucket'", "'VIPLAKE_LAKE'", "lake"),
    ],
)
def test_F1_a_misspelt_key_of_the_file_is_an_error_with_a_suggestion(
    tmp_path: Path, text: str, named: str, suggested: str | None
) -> None:
    error = refused(toml(tmp_path, text))
    assert named in error.message
    assert suggested is None or suggested in error.hint


def test_F1_an_unknown_flag_or_profile_is_an_error_with_a_suggestion(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="--lakes") as caught:
        config.load(flags={"lakes": "s3://b"}, environ={}, cwd=tmp_path)
    assert caught.value.hint == "Did you mean lake?"
    toml(tmp_path, "[profiles.prod]\nenvironment = 'Prod'")
    error = refused(tmp_path, VIPLAKE_PROFILE="prd")
    assert "'prd' (VIPLAKE_PROFILE)" in error.message
    assert error.hint == "Did you mean prod?"
    assert "no viplake.toml" in refused(VIPLAKE_PROFILE="prod").message


def test_tables_of_other_parts_are_left_alone(tmp_path: Path) -> None:
    text = "[rules]\nnever_started = {minute = 20}\n[calendar]\n[objectives]\n[notify]\n[profiles.prod.rules]\nx = 1\n"
    assert load(toml(tmp_path, text)).environment is PROD


@pytest.mark.parametrize("prefix", ["", "/IMOSDL/Hourly", "IMOSDL/../Hourly", "a//b", ".", "a\\b"])
def test_F2_a_prefix_that_is_empty_absolute_or_climbs_is_refused(prefix: str) -> None:
    assert "VIPLAKE_PREFIX" in refused(VIPLAKE_PREFIX=prefix).message


@pytest.mark.parametrize("variable", ["POLL_SECONDS", "REPLICATION_TIMEOUT_SECONDS", "TRANSFER_TIMEOUT_SECONDS"])
@pytest.mark.parametrize("value", ["0", "-1", "nan", "inf", "1e999", "86401", "soon", "", "1_0", "0x10", "--"])
def test_F3_a_timeout_is_a_finite_number_of_seconds_above_zero(variable: str, value: str) -> None:
    assert f"VIPLAKE_{variable}" in refused(None, **{f"VIPLAKE_{variable}": value}).message


def test_F3_zero_and_nan_are_refused_in_the_file_too(tmp_path: Path) -> None:
    assert "poll_seconds in viplake.toml" in refused(toml(tmp_path, "poll_seconds = 0")).message
    assert "poll_seconds in viplake.toml" in refused(toml(tmp_path, "poll_seconds = nan")).message
    assert load(toml(tmp_path, "poll_seconds = 0.5")).poll_seconds == 0.5


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("GRACE_MINUTES", "60"),
        ("GRACE_MINUTES", "-1"),
        ("GRACE_MINUTES", "1.5"),
        ("COMPANY", "a b"),
        ("COMPANY", "../x"),
        ("COMPANY", "x" * 65),
        ("ALLOW_INSECURE_HTTP", "True"),
        ("ALLOW_INSECURE_HTTP", "1"),
        ("ALLOW_INSECURE_HTTP", "yes"),
        ("LOG_LEVEL", "LOUD"),
        ("LOG_FORMAT", "xml"),
        ("DOWNLOAD_HOSTS", "https://files.example.com"),
        ("DOWNLOAD_HOSTS", "files.example.com:443"),
        ("DOWNLOAD_HOSTS", "ok.example.com,files.example.com/x"),
        ("DOWNLOAD_HOSTS", "-x.example.com"),
        ("DOWNLOAD_HOSTS", "*.example.com"),
        ("SECRETS", "env"),
        ("SECRETS", "env:x"),
        ("SECRETS", "file:"),
        ("SECRETS", "vault:x"),
        ("LAKE", "bucket"),
        ("LAKE", "data/lake"),
        ("LAKE", "s3://"),
        ("LAKE", "s3://b"),
        ("LAKE", "s3://bucket/../x"),
        ("LAKE", "s3://bucket//x"),
        ("LAKE", "s3://bucket?x=1"),
        ("LAKE", "gs://bucket"),
        ("LAKE", "memory://"),
        ("LAKE", "file://relative/folder"),
        ("LAKE", "file:///a/%2e%2e/b"),
        ("HISTORY", "Observability/"),
        ("TOKEN_URL", "auth.veslink.com"),
        ("TOKEN_URL", "ftp://auth.veslink.com/"),
        ("TOKEN_URL", "https://auth.veslink.com/connect/token?x=1"),
        ("TOKEN_URL", "https:///connect"),
        ("TOKEN_URL", "https://host:port/"),
        ("TOKEN_URL", "https://host/\r\nX-Evil: 1"),
        ("EXPORT_URL", "http://emea.veslink.com/api"),
        ("FILES_URL", "http://127.0.0.1.example.com/"),
        ("FILES_URL", "http://127.0.0.1:8080/"),
    ],
)
def test_a_value_that_cannot_be_is_refused_by_name(variable: str, value: str) -> None:
    assert f"VIPLAKE_{variable}" in refused(None, **{f"VIPLAKE_{variable}": value}).message


@pytest.mark.parametrize(
    ("variable", "value", "name", "expected"),
    [
        ("SNS_TOPIC", "arn:aws:sns:eu-west-1:123456789012:vip", "sns_topic", "arn:aws:sns:eu-west-1:123456789012:vip"),
        ("SNS_TOPIC", "", "sns_topic", ""),
        ("REPORT", "s3://bucket/prod.html", "report", "s3://bucket/prod.html"),
        ("REPORT_EVERY", "delivery", "report_every", "delivery"),
        ("GRACE_MINUTES", "0", "grace_minutes", 0),
        ("GRACE_MINUTES", "59", "grace_minutes", 59),
        ("COMPANY", "ACME_1-x", "company", "ACME_1-x"),
        ("DOWNLOAD_HOSTS", "Files.Example.com, 10.0.0.1", "download_hosts", {"files.example.com", "10.0.0.1"}),
        ("OUT_OF_SCOPE", " A, B ,", "out_of_scope", {"A", "B"}),
        ("SECRETS", "aws-sm:arn:aws:secretsmanager:eu-west-1:1:secret:x", "secrets", None),
        ("LAKE", "s3://bucket/some/prefix/", "lake", "s3://bucket/some/prefix"),
        ("LAKE", "s3://my.bucket", "lake", "s3://my.bucket"),
        ("LAKE", "file:///data/lake/", "lake", "file:///data/lake"),
        ("LAKE", "file:///", "lake", "file:///"),
        ("EXPORT_URL", "https://host:8443/api/v1/", "export_url", "https://host:8443/api/v1"),
        ("LOG_LEVEL", "DEBUG", "log_level", "DEBUG"),
    ],
)
def test_a_good_value_is_taken(variable: str, value: str, name: str, expected: object) -> None:
    found: Any = getattr(load(None, **{f"VIPLAKE_{variable}": value}), name)
    assert found == (value if expected is None else expected)


@pytest.mark.parametrize("url", ["http://127.0.0.1:8080/t", "http://localhost/t", "http://[::1]:8080/t"])
def test_http_needs_loopback_and_a_word(url: str) -> None:
    assert "VIPLAKE_ALLOW_INSECURE_HTTP=true" in refused(VIPLAKE_TOKEN_URL=url).hint
    assert load(VIPLAKE_TOKEN_URL=url, VIPLAKE_ALLOW_INSECURE_HTTP="true").token_url == url
    error = refused(VIPLAKE_TOKEN_URL="http://10.0.0.1/t", VIPLAKE_ALLOW_INSECURE_HTTP="true")
    assert "not https" in error.message


@pytest.mark.parametrize(
    ("lake", "written"),
    [("file:///srv/my lake", "' ' is written as %20"), ("file:///srv/josé", "'é' is written as %C3%A9")],
)
def test_an_unquoted_folder_url_is_refused_with_the_right_spelling(lake: str, written: str) -> None:
    assert written in refused(VIPLAKE_LAKE=lake).message


@pytest.mark.parametrize(
    "lake", ["file:///srv/a\nb", "file:///srv/\x1b[31m", "file:///srv\\lake", "file:///srv/\udce9"]
)
def test_an_invisible_character_gives_no_suggestion(lake: str) -> None:
    assert refused(VIPLAKE_LAKE=lake).message.startswith("VIPLAKE_LAKE is not a URL: 'file")


def test_a_password_in_a_url_is_refused_and_not_repeated() -> None:
    error = refused(VIPLAKE_TOKEN_URL="https://user:hunter2hunter2@host/")
    assert "hunter2" not in error.message + error.hint


def test_F7_a_byte_order_mark_is_no_obstacle(tmp_path: Path) -> None:
    (tmp_path / "viplake.toml").write_bytes(b"\xef\xbb\xbfcompany = 'X'\r\n")
    assert load(tmp_path).company == "X"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("company = 'X'".encode("utf-16"), "not UTF-8"),
        (b"company = ", "not TOML"),
        (b"company = 1\ncompany = 2", "not TOML"),
        (b"x = " + b"[" * 100_000, "not TOML"),
        (b"profiles = 1", "not made of tables"),
        (b"[profiles]\nprod = 1", "not made of tables"),
        (b"default_profile = 1", "default_profile"),
        (b"company = {a = 1}", "neither text nor a number"),
        (b"company = 1979-05-27", "neither text nor a number"),
        (b"out_of_scope = [1]", "neither text nor a number"),
    ],
)
def test_F7_an_invalid_configuration_file_is_refused_with_the_reason(tmp_path: Path, content: bytes, said: str) -> None:
    (tmp_path / "viplake.toml").write_bytes(content)
    assert said in refused(tmp_path).message


def test_F7_an_unreadable_configuration_file_is_refused_with_the_reason(tmp_path: Path) -> None:
    assert "there is no" in refused(VIPLAKE_CONFIG=str(tmp_path / "absent.toml")).message
    assert "cannot read" in refused(VIPLAKE_CONFIG=str(tmp_path)).message


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("VIPLAKE_PORT", "tcp://10.0.171.239:80"),
        ("VIPLAKE_SERVICE_HOST", "10.0.171.239"),
        ("VIPLAKE_SERVICE_PORT", "80"),
        ("VIPLAKE_SERVICE_PORT_HTTP", "80"),
        ("VIPLAKE_PORT_80_TCP", "tcp://10.0.171.239:80"),
        ("VIPLAKE_PORT_80_TCP_ADDR", "10.0.171.239"),
        ("VIPLAKE_REPORT_PORT", "tcp://10.0.171.239:80"),
        ("VIPLAKE_REPORT_SERVICE_HOST", "10.0.171.239"),
    ],
)
def test_E27_variables_of_a_kubernetes_service_are_ignored(variable: str, value: str) -> None:
    assert load(**{variable: value}) == load()


def test_E27_other_unknown_names_stay_an_error() -> None:
    assert "VIPLAKE_PORTS" in refused(VIPLAKE_PORTS="80").message
    assert "VIPLAKE_SERVICE" in refused(VIPLAKE_SERVICE="x").message


def test_E27_an_environment_full_of_other_programs_variables_changes_nothing() -> None:
    others = {
        "AWS_ENDPOINT": "https://elsewhere",
        "AWS_SKIP_SIGNATURE": "true",
        "AWS_S3_EXPRESS": "true",
        "KUBERNETES_PORT": "tcp://10.0.0.1:443",
        "ALL_PROXY": "socks5://127.0.0.1:9",
        "REQUESTS_CA_BUNDLE": "/nonexistent",
        "PYTHONWARNINGS": "error",
    }
    found = load(**others)
    assert found == load()
    assert found.surroundings == load().surroundings


@pytest.mark.parametrize("variable", ["AWS_SERVER_SIDE_ENCRYPTION", "AWS_CHECKSUM_ALGORITHM"])
def test_E4_variables_that_only_the_s3_library_knows_are_named_and_refused(variable: str) -> None:
    settings = load(VIPLAKE_LAKE="s3://bucket", **{variable: "x"})
    with pytest.raises(SettingsError, match=variable):
        config.store_settings(settings, config.Secrets.of(settings))
    folder = load(VIPLAKE_LAKE="file:///data", **{variable: "x"})
    assert config.store_settings(folder, config.Secrets.of(folder)).url == "file:///data"


@pytest.mark.parametrize("checksum", ["crc32c", "CRC32C", "sha1"])
def test_a_checksum_that_the_s3_library_cannot_compute_is_refused_with_those_that_it_can(checksum: str) -> None:
    message = refused(VIPLAKE_CHECKSUM=checksum).message
    assert "uploads cannot carry (the S3 library knows crc64nvme and sha256)" in message


def test_F9_the_environment_is_named_exactly() -> None:
    assert "'prod'" in refused(VIPLAKE_ENVIRONMENT="prod").message
    assert "Prod" in refused(VIPLAKE_ENVIRONMENT="prod").hint
    assert "'staging'" in refused(VIPLAKE_ENVIRONMENT="staging").message


@pytest.mark.parametrize(
    "text",
    [
        "client_secret = 'CANARY-0123456789'",
        "[profiles.prod]\nVeson_client_secret = 'CANARY-0123456789'",
        "[profiles.prod]\naws_secret_access_key = 'CANARY-0123456789'",
        "[notify]\npassword = 'CANARY-0123456789'",
        "token = 'CANARY-0123456789'",
        "lake = 's3://CANARY-0123456789:CANARY-0123456789@bucket'",
    ],
)
def test_F10_a_secret_in_the_file_is_refused_and_never_repeated(tmp_path: Path, text: str) -> None:
    error = refused(toml(tmp_path, text))
    assert "CANARY" not in error.message + error.hint
    assert "secret" in error.message


def test_N8_a_ca_bundle_that_is_not_there_is_a_wrong_setting(tmp_path: Path) -> None:
    assert "SSL_CERT_FILE" in refused(SSL_CERT_FILE=str(tmp_path / "absent.pem")).message
    (tmp_path / "empty.pem").touch()
    assert "no certificate" in refused(SSL_CERT_FILE=str(tmp_path / "empty.pem")).message
    bundle = tmp_path / "ca.pem"
    bundle.write_text("-----BEGIN CERTIFICATE-----\n")
    assert "no certificate" in refused(SSL_CERT_FILE=str(bundle)).message
    bundle.write_text("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
    assert "certificate 1 of 1" in refused(SSL_CERT_FILE=str(bundle)).message


@pytest.mark.parametrize("variable", ["SSL_CERT_FILE", "AWS_CA_BUNDLE"])
@pytest.mark.parametrize("form", ["plain", "byte order mark", "line ends of Windows", "words around it"])
def test_E8_a_bundle_of_any_form_gives_the_same_certificates(tmp_path: Path, variable: str, form: str) -> None:
    plain = authority(tmp_path).file.read_bytes()
    bundle = tmp_path / "bundle.pem"
    bundle.write_bytes(
        {
            "plain": plain,
            "byte order mark": b"\xef\xbb\xbf" + plain,
            "line ends of Windows": plain.replace(b"\n", b"\r\n"),
            "words around it": b"# Prox\xe4 CA\n" + plain + b"\n# end\n",
        }[form]
    )
    found = load(**{variable: str(bundle)}).surroundings
    assert (found.ca, found.ca_file) == (plain.decode(), bundle)


def test_E8_folders_of_certificates_are_trusted_on_every_leg(tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    plain = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        plain.append(authority(tmp_path / name).file.read_text())
    for folder, certificates in ((one, plain), (other, plain[:1])):
        folder.mkdir()
        for number, text in enumerate(certificates):
            (folder / f"{number:08x}.0").write_text(text)
    (one / "README").write_text("no certificate")
    found = load(SSL_CERT_DIR=f"{one}{os.pathsep}{other}").surroundings
    assert (found.ca, found.ca_file) == ("".join(plain), one)
    assert load(SSL_CERT_DIR="").surroundings.ca == ""
    assert "SSL_CERT_DIR cannot be read" in refused(SSL_CERT_DIR=str(tmp_path / "absent")).message
    (tmp_path / "empty").mkdir()
    assert "SSL_CERT_DIR holds no certificate" in refused(SSL_CERT_DIR=str(tmp_path / "empty")).message


@pytest.mark.parametrize("variable", ["AWS_SESSION_TOKEN", "AWS_ACCESS_KEY_ID", "AWS_REGION", "AWS_PROFILE"])
def test_E7_a_line_end_behind_a_value_of_aws_is_stripped_and_one_within_is_refused(variable: str) -> None:
    found = load(**{variable: "value-4711\n"}).surroundings
    assert "value-4711" in {getattr(value, "reveal", lambda value=value: value)() for value in vars_of(found)}
    error = refused(**{variable: "value\n4711"})
    assert variable in error.message
    assert "4711" not in error.message + error.hint


def vars_of(found: Any) -> list[Any]:
    return [getattr(found, name) for name in found.__slots__]


def test_only_calls_to_the_vendor_need_the_company() -> None:
    with pytest.raises(SettingsError, match="company"):
        load().require_company()
    assert load(VIPLAKE_COMPANY="ACME").require_company() == "ACME"


def test_no_color_is_honoured_when_it_is_not_empty() -> None:
    assert load().surroundings.color
    assert load(NO_COLOR="").surroundings.color
    assert not load(NO_COLOR="1").surroundings.color


def test_every_setting_has_a_field_or_makes_the_layout() -> None:
    fields: Mapping[str, Any] = vars(load())
    assert {setting.name for setting in config.SETTINGS} - {"prefix"} <= set(fields)


def test_printed_settings_have_no_secret() -> None:
    settings = load(
        VIPLAKE_CLIENT_SECRET="CANARY-0123456789",
        AWS_SECRET_ACCESS_KEY="CANARY-0123456789",
        HTTPS_PROXY="http://u:CANARY-0123456789@proxy:3128",
    )
    assert "CANARY" not in repr(settings)


@pytest.mark.parametrize(
    ("given", "url"),
    [
        ("./lake", "file://{cwd}/lake"),
        ("../lake", "file://{parent}/lake"),
        ("~/lake", "file://{home}/lake"),
        ("/data/my lake", "file:///data/my%20lake"),
        ("arn:aws:s3:::bucket", "s3://bucket"),
        ("arn:aws:s3:::bucket/prefix/", "s3://bucket/prefix"),
    ],
)
def test_lake_is_understood_as_people_write_it(
    given: str, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/someone")
    loaded = config.load(environ={"VIPLAKE_ENVIRONMENT": "Prod", "VIPLAKE_LAKE": given}, cwd=tmp_path)
    assert loaded.lake == url.format(cwd=tmp_path, parent=tmp_path.parent, home="/home/someone")
