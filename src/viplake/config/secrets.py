"""I/O. The secret: read on first use, never from `viplake.toml`, and never printed.

All keys of a run come from one version of the secret. Its keys are those of the original Glue script, so that the same
secret works here.
"""

from __future__ import annotations

import logging
import os
import random
import re
import stat
import threading
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote, urlsplit

from viplake import strictjson
from viplake.clock import SystemClock
from viplake.config.sources import home_path, proxy_url
from viplake.errors import CredentialsError, SettingsError, ViplakeError
from viplake.network.aws import unreachable
from viplake.network.retry import pause
from viplake.network.settings import Network, Proxy
from viplake.redact import Secret, redact

if TYPE_CHECKING:
    from collections.abc import Mapping

    from viplake.config.settings import Settings, Surroundings
    from viplake.network.aws import AwsAccess

_log = logging.getLogger(__name__)

CLIENT_ID: Final = "Veson_client_id"
CLIENT_SECRET: Final = "Veson_client_secret"  # noqa: S105 - the name of a key
BUCKET: Final = "AWS_bucket"
ACCESS_KEY_ID: Final = "AWS_access_key_id"
SECRET_ACCESS_KEY: Final = "AWS_secret_key_id"  # noqa: S105 - the name of a key, as the old script has it
PROXY: Final = "proxy"


class Secrets:
    """The secret, read on first use and then cached: one version for all keys and all calls.

    Safe to share between threads; a coroutine reads it in a thread (`asyncio.to_thread`).

    Args:
        place: `env:`, `file:/path.json` or `aws-sm:name`.
        surroundings: standard variables of the environment.
    """

    def __init__(self, place: str, surroundings: Surroundings) -> None:
        self._place = place
        self._surroundings = surroundings
        self._lock = threading.Lock()
        self._read: Mapping[str, Secret] | None = None

    @classmethod
    def of(cls, settings: Settings) -> Secrets:
        """Return the secret of the settings, without reading it."""
        return cls(settings.secrets, settings.surroundings)

    @property
    def in_environment(self) -> bool:
        """Whether the secret is in environment variables (`env:`): then it has only client id and client secret."""
        return self._place == "env:"

    def read(self, *, fresh: bool = False) -> Mapping[str, Secret]:
        """Return all keys of the secret; `fresh` reads it again, after the vendor refused the known values.

        Raises:
            CredentialsError: it is missing, malformed, or may not be read.
            SettingsError: VIPLAKE_SECRETS is invalid.
            NetworkError: a certificate on the way to it is not trusted.
        """
        with self._lock:
            if self._read is None or fresh:
                self._read = _checked(self._fetch(), self._place)
            return self._read

    def optional(self, key: str) -> Secret | None:
        """Return an optional key of the secret; None for `env:`, which is not read for it."""
        return None if self.in_environment else self.read().get(key)

    def _fetch(self) -> Mapping[str, Any]:
        scheme, _, rest = self._place.partition(":")
        if scheme == "env":
            return _from_variables(self._surroundings)
        if scheme == "file":
            return _parse(_read_secret_file(rest), self._place)
        return _parse(_read_secrets_manager(rest, self._surroundings), self._place)


def _from_variables(surroundings: Surroundings) -> dict[str, str]:
    found = {"VIPLAKE_CLIENT_ID": surroundings.client_id, "VIPLAKE_CLIENT_SECRET": surroundings.client_secret}
    missing = [name for name, value in found.items() if value is None]
    if missing:
        raise CredentialsError(
            f"{' and '.join(missing)} not set, and VIPLAKE_SECRETS is env:",
            cause="secrets_missing",
            hint="Set them, or point VIPLAKE_SECRETS at file:/path.json or aws-sm:name.",
        )
    values = [value.reveal() for value in found.values() if value is not None]
    return {CLIENT_ID: values[0], CLIENT_SECRET: values[1]}


def _read_secret_file(name: str) -> bytes:
    path = home_path(_path_of_url(name) if name.startswith("//") else name)
    try:
        data = path.read_bytes()
        mode = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        raise CredentialsError(f"there is no secret file {path}", cause="secrets_missing") from None
    except OSError as error:
        raise CredentialsError(
            f"cannot read the secret file {path}: {error.strerror}", cause="secrets_denied"
        ) from None
    if os.name == "posix" and mode & stat.S_IRWXO:
        _log.warning("the secret file %s is open to every user of this machine: chmod 600 it", path)
    return data


def _path_of_url(rest: str) -> str:
    try:
        return unquote(urlsplit(f"file:{rest}").path)
    except ValueError:
        raise SettingsError(f"VIPLAKE_SECRETS is not a URL: {rest!r}", hint="Write it as file:/path.json.") from None


def _parse(data: bytes, place: str) -> Mapping[str, Any]:
    try:
        value = strictjson.loads(data)
    except ValueError:  # the parser's message may quote the secret
        value = None
    if not isinstance(value, dict):
        raise CredentialsError(
            f"the secret {place} is not one JSON object with each key once", cause="secrets_malformed"
        )
    return value


def _checked(content: Mapping[str, Any], place: str) -> Mapping[str, Secret]:
    """Return the checked keys of the secret; messages name the key, never the value."""

    def malformed(key: str, what: str) -> CredentialsError:
        hint = f"Correct the value of {key} where VIPLAKE_SECRETS points: plain text, on one line."
        return CredentialsError(f"the key {key} of the secret {place} {what}", cause="secrets_malformed", hint=hint)

    required, optional = (CLIENT_ID, CLIENT_SECRET), (BUCKET, ACCESS_KEY_ID, SECRET_ACCESS_KEY, PROXY)
    for key in required:
        if content.get(key) in (None, ""):
            raise malformed(key, "is empty" if key in content else "is missing")
    for key in (*required, *optional):
        if not isinstance(value := content.get(key) or "", str):
            raise malformed(key, "is not text")
        if value != value.strip() or re.search(r"[\x00-\x1f\x7f]", value):
            raise malformed(key, "has spaces or line breaks around or control characters in it")
    for one, other in ((ACCESS_KEY_ID, SECRET_ACCESS_KEY), (SECRET_ACCESS_KEY, ACCESS_KEY_ID)):
        if content.get(one) and not content.get(other):
            raise malformed(other, f"is missing, but {one} is given")
    return MappingProxyType(
        {key: _secret(key, value) for key, value in content.items() if isinstance(value, str) and value}
    )


def _secret(key: str, value: str) -> Secret:
    if key == BUCKET:  # messages need this name; it is not secret
        return Secret(value, remember=False)
    return proxy_url(value) if key == PROXY else Secret(value)


# -- Secrets Manager --------------------------------------------------------------------------------------

_PATIENCE_SECONDS: Final = 60.0
"""Time limit in seconds for retries after throttling and server errors of Secrets Manager."""

MOST_TRIES = 12

_ANSWERS: Final = (
    # Codes of GetSecretValue (AWS Secrets Manager API Reference, "GetSecretValue" and "Common Error Types") and what
    # they mean here. The first match decides: KMS comes first, because its refusal may wear AccessDenied.
    (r"DecryptionFailure|KMS", "secrets_kms", None),
    (r"ResourceNotFound", "secrets_missing", "Check the name in VIPLAKE_SECRETS, the account and AWS_REGION."),
    (
        r"InvalidRequest|InvalidParameter|ValidationE",
        "secrets_missing",
        "Is the secret being deleted, or its name odd?",
    ),
    (
        r"UnrecognizedClient|InvalidClientTokenId|InvalidAccessKeyId|Expired|Signature|MissingAuth|NotAuth|OptIn",
        "secrets_denied",
        "Renew the AWS credentials (environment, profile or role) and check this machine's clock.",
    ),
    (r"AccessDenied", "secrets_denied", None),
)


class _Busy(CredentialsError):
    """Secrets Manager is reachable, but throttles or fails."""

    default_cause = "secrets_unavailable"


def _read_secrets_manager(name: str, surroundings: Surroundings) -> bytes:
    """Return the current version of a secret; retry throttling and dropped connections, but not an unknown host."""
    client, clock, rng = _client(name, surroundings), SystemClock(), random.Random()  # noqa: S311 - spreads retries
    give_up = clock.monotonic() + _PATIENCE_SECONDS
    for attempt in range(1, MOST_TRIES):
        seconds = pause(attempt, rng, first=0.5, longest=15)
        try:
            return _get_value(client, name)
        except _Busy:
            if clock.monotonic() + seconds > give_up:
                raise
        threading.Event().wait(seconds)
    return _get_value(client, name)


def _client(name: str, around: Surroundings) -> Any:
    from viplake.network.aws import client  # noqa: PLC0415 - boto3: 35 MB and 0.2 s that other secrets do without

    arn = name.split(":") if name.startswith("arn:") else []
    region = arn[3] if len(arn) > 3 else around.region  # noqa: PLR2004 - arn:partition:service:region:...
    return client(
        "secretsmanager", aws_access(around), network_of(around), endpoint=around.endpoint_secrets, region=region
    )


def aws_access(around: Surroundings) -> AwsAccess:
    """Return the AWS credentials settings of the environment."""
    from viplake.network.aws import AwsAccess  # noqa: PLC0415 - as in `_client`

    if around.access_key_id is None or around.secret_access_key is None:
        return AwsAccess(region=around.region, profile=around.profile)
    token = around.session_token
    return AwsAccess(around.access_key_id, around.secret_access_key, token, around.region, around.profile)


def network_of(around: Surroundings, proxy: Secret | None = None) -> Network:
    """Return how hosts are reached.

    Raises:
        SettingsError: the proxy is no URL.
    """
    text = proxy or around.proxy
    return Network(Proxy.parse(text) if text else None, around.no_proxy, around.ca, around.ca_file)


def _get_value(client: Any, name: str) -> bytes:
    from botocore.exceptions import BotoCoreError, ClientError, ConnectionClosedError  # noqa: PLC0415 - as in _client

    try:
        answer = client.get_secret_value(SecretId=name)
    except ClientError as error:
        raise _refused(error.response, name) from None
    except ConnectionClosedError as error:  # on a connection that was kept open too long, for example
        raise _Busy(f"Secrets Manager dropped the connection: {redact(str(error))[:200]}") from None
    except BotoCoreError as error:
        raise _unreachable(error) from None
    if not isinstance(text := answer.get("SecretString"), str):
        raise CredentialsError(f"the secret aws-sm:{name} is binary, not JSON text", cause="secrets_malformed")
    return text.encode(errors="replace")


def _refused(response: Mapping[str, Any], name: str) -> CredentialsError:
    """Return the error for an error response. Only its code is shown, because its text may reveal policies."""
    code = str(response.get("Error", {}).get("Code", "unknown"))
    status = response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    text = f"{code} {response.get('Error', {}).get('Message', '')}" if code.startswith("AccessDenied") else code
    message = f"Secrets Manager does not give the secret {name}: {redact(code)}"
    for pattern, cause, hint in _ANSWERS:
        if re.search(pattern, text, re.IGNORECASE if cause == "secrets_kms" else 0):
            return CredentialsError(message, cause=cause, hint=hint)
    if status >= 500 or status == 429 or re.search(r"Throttl|TooMany|LimitExceeded|InternalService|Unavailable", code):  # noqa: PLR2004 - HTTP
        return _Busy(message)
    return CredentialsError(message, cause="secrets_denied")


def _unreachable(error: Exception) -> ViplakeError:
    """Return the error for a call of boto3 that got no response."""
    if found := unreachable(error, "Secrets Manager"):
        return found
    text = redact(str(error).partition("\n")[0])[:200]
    if type(error).__name__ in _WITHOUT_CREDENTIALS:
        return CredentialsError(
            f"no AWS credentials to read the secret with: {text}",
            cause="secrets_denied",
            hint="Run `aws sso login`, set AWS_PROFILE, give this machine a role, or use file: in VIPLAKE_SECRETS.",
        )
    return CredentialsError(f"Secrets Manager did not respond: {text}", cause="secrets_unavailable")


_WITHOUT_CREDENTIALS: Final = frozenset(
    {
        "NoCredentialsError",
        "PartialCredentialsError",
        "CredentialRetrievalError",
        "MetadataRetrievalError",
        "TokenRetrievalError",
        "SSOTokenLoadError",
        "UnauthorizedSSOTokenError",
        "SSOError",
        "NoAuthTokenError",
        "LoginRefreshRequired",
        "LoginTokenLoadError",
    }
)
"""Names of botocore's exceptions; by name, so that older and newer versions both work."""
