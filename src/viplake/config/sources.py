"""I/O. Reads each setting from a flag, else the environment, else the profile in `viplake.toml`, else its default.

An unknown name is an error with a suggestion, because a misspelt setting that is ignored can cost an Hour. All settings
are checked before anything is sent or written.
"""

from __future__ import annotations

import difflib
import os
import re
import tomllib
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from viplake.config.environments import declared_environments
from viplake.config.settings import (
    BY_NAME,
    FURTHER_VARIABLES,
    LOOKS_SECRET,
    SETTINGS,
    TABLES,
    Settings,
    Surroundings,
)
from viplake.errors import SettingsError
from viplake.lake.layout import Layout
from viplake.model import Environment
from viplake.network.hosts import refuse_plain_http
from viplake.network.settings import read_certificate_folders, read_certificates
from viplake.redact import Secret, redact, register

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from viplake.config.settings import Setting


_MOST_DOTS = 300
"""Most dots in a line of viplake.toml: tomllib needs 7 seconds for a key of 12,000 parts."""

_DEEPEST = 20


@dataclass(frozen=True, slots=True)
class Given:
    """A given value: its text, its origin, and the flag, variable or key as the user wrote it."""

    text: str
    origin: str
    label: str


def load(
    *,
    flags: Mapping[str, object] = MappingProxyType({}),
    config_file: Path | None = None,
    profile: str | None = None,
    environ: Mapping[str, str] | None = None,
    cwd: Path | None = None,
) -> Settings:
    """Read and check all settings of a command.

    Args:
        flags: setting -> value, from the command line; None: not given.
        config_file: `--config`; else VIPLAKE_CONFIG, else `viplake.toml` in `cwd` if it is there.
        profile: `--profile`; else VIPLAKE_PROFILE, else `default_profile` of the file, else none.
        environ: the environment; None: this process's.
        cwd: the working directory; None: this process's.

    Raises:
        SettingsError: a value or a name is wrong; the message names it and its place in one line.
    """
    environ = environment() if environ is None else environ
    given, file, picked, tables = gather(flags, config_file, profile, environ, cwd)
    declared = declared_environments(tables.get("environments", {}))
    known = replace(BY_NAME["environment"], parse=lambda text: Environment.named(text, declared))
    wanted = {**BY_NAME, "environment": known}
    values = {name: value_of(setting, given.get(name)) for name, setting in wanted.items()}
    if values["environment"] is None:
        raise SettingsError(
            "the environment is not given",
            hint="Set VIPLAKE_ENVIRONMENT to Prod or Test.",
        )
    layout: Layout | None = values.pop("prefix")
    for name in ("token_url", "export_url", "files_url"):
        refuse_plain_http(values[name], _label(name, given), allowed=values["allow_insecure_http"])
    return Settings(
        **values,
        layout=layout or Layout.below(values["environment"].prefix),
        origins=MappingProxyType({s.name: given[s.name].origin if s.name in given else "default" for s in SETTINGS}),
        surroundings=read_surroundings(environ),
        config_file=file,
        profile=picked,
        sections=tables,
    )


def environment() -> Mapping[str, str]:
    """Return the environment of this process."""
    return os.environ  # noqa: TID251 - here is where the environment is read


def set_environment(variables: Mapping[str, str]) -> None:
    """Set environment variables of this process, for commands that read them later."""
    os.environ.update(variables)  # noqa: TID251 - as above


def gather(
    flags: Mapping[str, object],
    config_file: Path | None,
    profile: str | None,
    environ: Mapping[str, str],
    cwd: Path | None,
) -> tuple[dict[str, Given], Path | None, str | None, Mapping[str, Any]]:
    """Return the value of each setting by its strongest source, the file, the profile, and the tables of other
    parts.
    """
    file, explicit = _find_file(config_file, environ, cwd or Path.cwd())
    document = _read_toml(file, explicit=explicit)
    picked, why = _pick_profile(profile, environ, document)
    given = dict(_from_file(document, file.name, picked, why))
    given.update(_from_environment(environ))
    given.update(_from_flags(flags))
    return given, file if document is not None else None, picked, _tables(document or {}, picked)


def _tables(document: Mapping[str, Any], profile: str | None) -> Mapping[str, Any]:
    """Return the tables for other parts: each from the profile, else from the top of the file, never merged."""
    own = document.get("profiles", {}).get(profile, {})
    found = [(name, value) for some in (document, own) for name, value in some.items() if _is_section(name, value)]
    return MappingProxyType(dict(found))


def _is_section(name: str, value: object) -> bool:
    """Whether other parts read it: `tables = true` is a setting, `[tables]` is not."""
    return name in TABLES and (name not in BY_NAME or isinstance(value, dict))


def _from_flags(flags: Mapping[str, object]) -> Iterator[tuple[str, Given]]:
    for name, value in flags.items():
        option = f"--{name.replace('_', '-')}"
        if name not in BY_NAME:
            raise SettingsError(f"unknown option {option}", hint=_suggest(name, BY_NAME))
        if value is not None:
            yield name, Given(_text(value, option), "flag", option)


def _from_environment(environ: Mapping[str, str]) -> Iterator[tuple[str, Given]]:
    known = {setting.variable: setting.name for setting in SETTINGS}
    for variable in sorted(environ):
        if variable in known:
            yield known[variable], Given(environ[variable].strip(), "environment", variable)
        elif variable.startswith("VIPLAKE_") and variable not in FURTHER_VARIABLES and not _SERVICE.fullmatch(variable):
            raise SettingsError(
                f"unknown setting {variable} in the environment", hint=_suggest(variable, {*known, *FURTHER_VARIABLES})
            )


def _from_file(
    document: Mapping[str, Any] | None, file: str, profile: str | None, why: str
) -> Iterator[tuple[str, Given]]:
    if document is None:
        return
    _refuse_secrets(document, file)
    top = {key: value for key, value in document.items() if key not in {"profiles", "default_profile"}}
    profiles = document.get("profiles", {})
    if not isinstance(profiles, dict) or not all(isinstance(table, dict) for table in profiles.values()):
        raise SettingsError(f"profiles in {file} is not made of tables", hint="Write them as [profiles.prod].")
    if profile is not None and profile not in profiles:
        raise SettingsError(f"there is no profile {profile!r} ({why}) in {file}", hint=_suggest(profile, profiles))
    sections = {"": top} | {f" [profile {name}]": table for name, table in profiles.items()}
    for suffix, table in sections.items():
        found = list(_from_table(table, f"{file}{suffix}"))  # profiles that are not selected are checked too
        if suffix in {"", f" [profile {profile}]"}:
            yield from found


def _from_table(table: Mapping[str, Any], where: str) -> Iterator[tuple[str, Given]]:
    for name, value in table.items():
        if _is_section(name, value):
            continue
        if name not in BY_NAME:
            raise SettingsError(f"unknown setting {name!r} in {where}", hint=_suggest(name, {*BY_NAME, *TABLES}))
        label = f"{name} in {where}"
        yield name, Given(_text(value, label), where, label)


def _text(value: object, label: str) -> str:
    """Return a value of a flag or of TOML as the text that the environment would have."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list | tuple | set | frozenset) and all(isinstance(item, str) for item in value):
        return ",".join(value)
    if isinstance(value, str | int | float | Path):
        return str(value).strip()
    if isinstance(value, Environment):
        return value.name
    raise SettingsError(f"{label} is neither text nor a number", hint="Write it as docs/settings.md shows.")


def absolute(text: str) -> str:
    """Return the absolute path where the text is a path as people write it: `./lake`, `~/lake`, `file:./lake`."""
    found = re.fullmatch(r"(?:file:(?://)?)?((?:\.{1,2}|~)(?:/.*)?)", text, re.DOTALL)
    return str(Path(found[1]).expanduser().resolve()) if found else text


def value_of(setting: Setting, given: Given | None) -> Any:
    """Return the checked value of a setting, or its default; raise `SettingsError` where it is wrong."""
    if given is None:
        return None if setting.default is None else setting.parse(setting.default)
    if not given.text and setting.default != "":
        raise SettingsError(f"{given.label} is empty", hint="Give it a value, or leave it out.")
    try:
        return setting.parse(absolute(given.text) if setting.name in {"lake", "history"} else given.text)
    except ValueError as error:
        shown = redact(given.text)[:100]
        raise SettingsError(
            f"{given.label} is {error}: {shown!r}",
            hint=getattr(error, "hint", "") or f"{setting.variable}: {setting.meaning}.",
        ) from None
    except SettingsError as error:
        raise SettingsError(f"{given.label}: {error.message}", hint=error.hint) from None


def _label(name: str, given: Mapping[str, Given]) -> str:
    return given[name].label if name in given else BY_NAME[name].variable


def _suggest(name: str, known: Any) -> str:
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    if close:
        return f"Did you mean {close[0]}?"
    return f"Known are: {', '.join(sorted(known))}." if known else "None is known."


def _find_file(config_file: Path | None, environ: Mapping[str, str], cwd: Path) -> tuple[Path, bool]:
    """Return the path of `viplake.toml`, and whether it was given explicitly."""
    named = config_file or environ.get("VIPLAKE_CONFIG")
    return cwd / home_path(str(named or "viplake.toml")), named is not None and named != ""


def home_path(name: str) -> Path:
    """Return the path, with `~` resolved if there is such a home folder.

    Raises:
        SettingsError: it cannot be the name of a file.
    """
    if re.search(r"[\x00-\x1f\x7f]", name):
        raise SettingsError(f"the name of a file holds control characters: {name!r}", hint="Correct it.")
    try:
        return Path(name).expanduser()
    except RuntimeError:  # no user of that name
        return Path(name)


def _read_toml(file: Path, *, explicit: bool) -> dict[str, Any] | None:
    try:
        text = file.read_bytes().decode("utf-8-sig")  # Windows editors begin a file with a BOM
        if any(line.count(".") > _MOST_DOTS for line in text.splitlines()):
            raise SettingsError(f"a line of {file} has more than {_MOST_DOTS} dots", hint="Break it up.")
        document = tomllib.loads(text)
    except FileNotFoundError:
        if explicit:
            raise SettingsError(f"there is no {file}", hint="Correct --config or VIPLAKE_CONFIG.") from None
        return None
    except OSError as error:
        raise SettingsError(f"cannot read {file}: {error.strerror}", hint="Check its rights.") from None
    except UnicodeDecodeError:
        raise SettingsError(f"{file} is not UTF-8", hint="Save it as UTF-8.") from None
    except (ValueError, RecursionError) as error:  # a number of thousands of digits is a plain ValueError
        raise SettingsError(f"{file} is not TOML: {error}", hint="Correct the line that it names.") from None
    if _is_deep(document):
        raise SettingsError(f"{file} is nested too deep", hint="No setting is below three tables.")
    return document


def _is_deep(document: Mapping[str, Any]) -> bool:
    """Return whether tables are nested too deep; one dotted key can make thousands of levels."""
    level: list[Any] = [document]
    for _ in range(_DEEPEST):
        level = [
            item
            for one in level
            if isinstance(one, dict | list)
            for item in (one.values() if isinstance(one, dict) else one)
        ]
    return bool(level)


def _pick_profile(
    profile: str | None, environ: Mapping[str, str], document: Mapping[str, Any] | None
) -> tuple[str | None, str]:
    if named := profile or environ.get("VIPLAKE_PROFILE"):
        why = "--profile" if profile else "VIPLAKE_PROFILE"
        if document is None:
            raise SettingsError(
                f"profile {profile!r} was requested ({why}), but there is no viplake.toml", hint="Give --config."
            )
        return named, why
    default = (document or {}).get("default_profile")
    if default is not None and not isinstance(default, str):
        raise SettingsError("default_profile in viplake.toml is not text", hint='Write default_profile = "prod".')
    return default, "default_profile"


def _refuse_secrets(table: Mapping[str, Any], where: str) -> None:
    """Refuse a `viplake.toml` with a secret in it, because people commit and mail this file."""
    for key, value in table.items():
        if isinstance(value, dict):
            _refuse_secrets(value, where)
        elif LOOKS_SECRET.search(key):
            if isinstance(value, str):
                register(value)
            raise SettingsError(
                f"{where} has {key!r}: secrets are not allowed in the configuration file",
                hint="Move it to the secret that VIPLAKE_SECRETS names (env:, file:, aws-sm:), then rotate it.",
            )


def read_surroundings(environ: Mapping[str, str]) -> Surroundings:
    """Return the standard variables; raise `SettingsError` where a bundle or folder has no certificates."""

    def first(*names: str) -> str | None:
        found = next(((name, value) for name in names if (value := environ.get(name, "").strip())), None)
        if found is None:
            return None
        if _CONTROL.search(found[1]):
            register(found[1])
            raise SettingsError(
                f"{found[0]} holds a line end or a control character", hint="Set it again, on one line."
            )
        return found[1]

    def secret(name: str) -> Secret | None:
        return Secret(value) if (value := first(name)) else None

    def endpoint(service: str) -> str | None:
        ignored = (first("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS") or "").casefold() == "true"
        return None if ignored else first(f"AWS_ENDPOINT_URL_{service}", "AWS_ENDPOINT_URL")

    proxy = first("HTTPS_PROXY", "https_proxy")
    bundles: dict[Path, str] = {}
    for name in ("SSL_CERT_FILE", "AWS_CA_BUNDLE"):
        if file := first(name):
            bundles.setdefault(Path(file), name)  # often both name one file of 150 certificates: 30 ms each time
    folders = first("SSL_CERT_DIR")
    trusted = [read_certificates(name, file) for file, name in bundles.items()]
    trusted += [read_certificate_folders("SSL_CERT_DIR", folders)] if folders else []
    return Surroundings(
        client_id=secret("VIPLAKE_CLIENT_ID"),
        client_secret=secret("VIPLAKE_CLIENT_SECRET"),
        endpoint_s3=endpoint("S3"),
        endpoint_secrets=endpoint("SECRETS_MANAGER"),
        endpoint_sns=endpoint("SNS"),
        region=first("AWS_REGION", "AWS_DEFAULT_REGION"),
        profile=first("AWS_PROFILE"),
        access_key_id=first("AWS_ACCESS_KEY_ID"),
        secret_access_key=secret("AWS_SECRET_ACCESS_KEY"),
        session_token=secret("AWS_SESSION_TOKEN"),
        proxy=None if proxy is None else proxy_url(proxy),
        no_proxy=first("NO_PROXY", "no_proxy") or "",
        ca="".join(trusted),
        ca_file=next(iter(bundles), Path(folders.partition(os.pathsep)[0]) if folders else None),
        foreign=tuple(sorted(_FOREIGN & environ.keys())),
        color=not environ.get("NO_COLOR"),
    )


_SERVICE = re.compile(
    r"VIPLAKE_(?:[A-Z0-9_]+_)?"
    r"(?:SERVICE_HOST|SERVICE_PORT(?:_[A-Z0-9_]+)?|PORT(?:_\d+_(?:TCP|UDP|SCTP)(?:_(?:PROTO|PORT|ADDR))?)?)"
)
"""Variables of Kubernetes and Docker for a Service named `viplake...` (Kubernetes, "Accessing the Service")."""

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")

_FOREIGN = frozenset(
    {"AWS_SERVER_SIDE_ENCRYPTION", "AWS_SSE_KMS_KEY_ID", "AWS_SSE_CUSTOMER_KEY_BASE64", "AWS_CHECKSUM_ALGORITHM"}
)
"""Variables of the S3 library alone, which no value turns off."""


def proxy_url(url: str) -> Secret:
    """A proxy's URL; messages may show its host, but not user and password."""
    try:
        parts = urlsplit(url if "://" in url else f"http://{url}")
        userinfo, password = parts.netloc.rpartition("@")[0], parts.password
    except ValueError:
        return Secret(url)
    for part in (userinfo, password, unquote(password or "")):
        register(part or "")
    return Secret(url, remember=False)
