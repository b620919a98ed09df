"""I/O. AWS as boto3 resolves it: credentials, region, endpoint and addressing style, over the rules of `Network`.

Every client of an AWS service and the address of a bucket come from here. botocore reads `AWS_*` and `~/.aws`. What it
finds is checked before a library gets it, and nothing waits for a person: an MFA code cannot be typed in an
unattended run.
"""

from __future__ import annotations

import os
import re
import signal
import ssl
import subprocess
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from viplake.errors import LakeError, NetworkError, SettingsError
from viplake.network.hosts import refuse_plain_http
from viplake.network.settings import read_certificates
from viplake.redact import Secret, redact

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from viplake.network.settings import Network

_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")
_PLAIN_BUCKET: Final = re.compile(r"[a-z0-9][a-z0-9-]{1,61}[a-z0-9]")
"""A bucket name that can be part of a host name. With a dot in it, no certificate of the store covers the host."""

_OF_A_SOURCE: Final = (OSError, ValueError, AttributeError)
"""What botocore lets through from a `credential_process` that is absent or prints no credentials, or a missing file."""

PROCESS_SECONDS: Final = 60.0
"""That a `credential_process` may take: more than a login over a slow network, less than a scheduler waits."""


@dataclass(frozen=True, slots=True)
class AwsAccess:
    """The AWS credentials and region from the settings; boto3 finds the rest.

    Attributes:
        access_key_id, secret_access_key, session_token: static credentials; None: boto3's chain.
        region, profile: as AWS means them.
    """

    access_key_id: str | None = None
    secret_access_key: Secret | None = None
    session_token: Secret | None = None
    region: str | None = None
    profile: str | None = None


@dataclass(frozen=True, slots=True)
class BucketAddress:
    """Where a bucket is.

    Attributes:
        endpoint: scheme and host; with the bucket in front where `virtual`.
        virtual: the bucket is part of the host, not of the path.
        region: for signatures.
    """

    endpoint: str
    virtual: bool
    region: str


def trusting_profile(network: Network, access: AwsAccess) -> Network:
    """Return the network with the certificates that `ca_bundle` of the AWS profile names, as boto3 trusts them.

    Raises:
        SettingsError: the AWS configuration is wrong, or the bundle holds no certificate.
    """
    if not _has_configuration():
        return network
    import botocore.session  # noqa: PLC0415 - as in `session`
    from botocore.exceptions import BotoCoreError  # noqa: PLC0415 - as in `session`

    try:
        file = botocore.session.Session(profile=access.profile).get_scoped_config().get("ca_bundle")
    except BotoCoreError as error:
        raise _wrong(error) from None
    if not file:
        return network
    path = Path(file).expanduser()
    found = read_certificates("ca_bundle of the AWS profile", path)
    return replace(network, ca=network.ca + found, ca_file=network.ca_file or path)


def session(access: AwsAccess, network: Network) -> Any:
    """Return a boto3 session with this identity, over this network.

    Raises:
        SettingsError: the AWS configuration is wrong, or needs an MFA code.
    """
    import boto3  # noqa: PLC0415 - heavy, and many commands do without
    import botocore.session  # noqa: PLC0415 - as above
    from botocore.config import Config  # noqa: PLC0415 - as above
    from botocore.exceptions import BotoCoreError  # noqa: PLC0415 - as above

    static = access.access_key_id is not None and access.secret_access_key is not None
    try:
        core = botocore.session.get_session()
        made = boto3.Session(
            aws_access_key_id=access.access_key_id if static else None,
            aws_secret_access_key=_revealed(access.secret_access_key) if static else None,
            aws_session_token=_revealed(access.session_token) if static else None,
            profile_name=None if static else access.profile,
            region_name=access.region,
            botocore_session=core,
        )
        if not static:
            _refuse_mfa(core)
            _bound_processes(core)
        core.set_config_variable("ca_bundle", bundle(trusting_profile(network, access).ca))
        # For the clients that boto3 makes by itself, to exchange credentials.
        core.set_default_client_config(Config(proxies=proxies(network, "https://sts.amazonaws.com")))
    except (BotoCoreError, ValueError) as error:
        raise _wrong(error) from None
    return made


def client(
    service: str,
    access: AwsAccess,
    network: Network,
    *,
    endpoint: str | None = None,
    region: str | None = None,
    allow_http: bool = True,
    connections: int = 10,
) -> Any:
    """Return a client of an AWS service that sends each request once.

    Args:
        service: as boto3 names it.
        access: who we are.
        network: how hosts are reached.
        endpoint: where the service is, in place of what boto3 resolves.
        region: of the resource, where it names one.
        allow_http: http to a loopback endpoint is allowed.
        connections: at most this many stay open.

    Raises:
        SettingsError: no region, a wrong AWS configuration, or an endpoint that is not https.
    """
    from botocore.config import Config  # noqa: PLC0415 - as in `session`
    from botocore.exceptions import BotoCoreError  # noqa: PLC0415 - as in `session`

    made = session(access, network)
    try:
        url = endpoint or _configured(made._session, service)  # noqa: SLF001 - boto3 has no other way to it
        if url is not None:
            refuse_plain_http(url, f"the endpoint of {service}", allowed=allow_http)
        limits = Config(
            connect_timeout=min(network.timeouts.connect, 2.0),  # a laptop without a route must fail within 5 s
            read_timeout=network.timeouts.aws,
            retries={"total_max_attempts": 1},
            max_pool_connections=connections,
            proxies=proxies(network, url or f"https://{service}.{region or made.region_name}.amazonaws.com"),
        )
        return made.client(service, region_name=region, endpoint_url=url, config=limits)
    except (BotoCoreError, *_OF_A_SOURCE) as error:
        raise _wrong(error) from None


def bucket_address(bucket: str, access: AwsAccess, *, endpoint: str | None = None) -> BucketAddress:
    """Return where boto3 would find a bucket.

    Args:
        bucket: its name.
        access: region and profile.
        endpoint: of AWS_ENDPOINT_URL_S3 or AWS_ENDPOINT_URL; None: what `~/.aws/config` says, else Amazon's.

    Raises:
        SettingsError: the AWS configuration is wrong.
    """
    if endpoint is not None and access.region and access.profile is None and not _has_configuration():
        return BucketAddress(
            _clean("the S3 endpoint", endpoint.rstrip("/")), False, _clean("the AWS region", access.region)
        )
    import botocore.session  # noqa: PLC0415 - as in `session`
    from botocore.exceptions import BotoCoreError  # noqa: PLC0415 - as in `session`

    try:
        core = botocore.session.Session(profile=access.profile)
        endpoint = endpoint or _configured(core, "s3")
        region = access.region or core.get_config_variable("region") or "us-east-1"
        s3: Mapping[str, str] = core.get_config_variable("s3") or {}
        wants = {name: _truth(s3.get(name), core, name) for name in ("use_dualstack_endpoint", "use_fips_endpoint")}
    except (BotoCoreError, ValueError) as error:
        raise _wrong(error) from None
    _clean("the AWS region", region)
    _clean("the S3 endpoint", endpoint or "")
    style = s3.get("addressing_style", "auto")
    plain = _PLAIN_BUCKET.fullmatch(bucket) is not None
    if endpoint is not None:
        virtual = style == "virtual" and plain
        return BucketAddress(
            _in_front(bucket, endpoint.rstrip("/")) if virtual else endpoint.rstrip("/"), virtual, region
        )
    virtual = style != "path" and plain
    if virtual and _truth(s3.get("use_accelerate_endpoint"), None, ""):
        host = "s3-accelerate" + (".dualstack" if wants["use_dualstack_endpoint"] else "") + ".amazonaws.com"
    else:
        fips = "-fips" if wants["use_fips_endpoint"] else ""
        dual = ".dualstack" if wants["use_dualstack_endpoint"] else ""
        legacy = region == "us-east-1" and s3.get("us_east_1_regional_endpoint") == "legacy" and not fips + dual
        host = "s3.amazonaws.com" if legacy else f"s3{fips}{dual}.{region}.{_suffix(core, region)}"
    return BucketAddress(f"https://{bucket}.{host}" if virtual else f"https://{host}", virtual, region)


def _has_configuration() -> bool:
    """Whether `~/.aws/config` is there: without it, an endpoint and a region are all that there is to know.

    botocore takes 22 MB and 0.3 s to find the same.
    """
    named = os.environ.get("AWS_CONFIG_FILE")  # noqa: TID251 - botocore itself reads it, not a setting of ours
    return Path(named or "~/.aws/config").expanduser().exists()


def _clean(label: str, value: str) -> str:
    """Return the value; `SettingsError` where it cannot travel in a URL or a header."""
    if re.search(r"[\x00-\x20\x7f]", value):
        raise SettingsError(f"{label} holds a blank or a control character: {value!r}", hint="Correct it.")
    return value


def credentials(access: AwsAccess, network: Network) -> Callable[[], dict[str, Any]]:
    """Return what gives the credentials of boto3's chain, whenever the store asks for them.

    Raises:
        LakeError: there are none (`dest_auth`).
        SettingsError: the AWS configuration is wrong, or needs an MFA code.
    """
    from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415 - as in `session`

    def failure(error: Exception) -> LakeError:
        words = redact(str(error))
        if not isinstance(error, (BotoCoreError, ClientError)):
            words = f"a file or the credential_process of the AWS profile cannot be used: {words}"
        return LakeError(f"no AWS credentials: {words}", cause="dest_auth")

    made = session(access, network)
    try:
        found = made.get_credentials()
    except (BotoCoreError, ClientError, *_OF_A_SOURCE) as error:
        raise failure(error) from None
    if found is None:
        raise LakeError("no AWS credentials: none are set, and no role gives any", cause="dest_auth")

    def give() -> dict[str, Any]:
        try:
            frozen = found.get_frozen_credentials()
        except (BotoCoreError, ClientError, *_OF_A_SOURCE) as error:  # a role or a login that gave some before
            raise failure(error) from None
        return checked(frozen.access_key, frozen.secret_key, frozen.token)

    return give


def checked(access_key_id: str, secret_access_key: str, token: str | None) -> dict[str, Any]:
    """Return the credentials as the store's library takes them.

    Raises:
        LakeError: one holds a character that cannot travel in a header (`dest_auth`).
    """
    given = {"access_key_id": access_key_id, "secret_access_key": secret_access_key, "token": token or None}
    for name, value in given.items():
        if value is not None and _CONTROL.search(value):
            raise LakeError(
                f"{name} of the AWS credentials holds a line end or a control character",
                cause="dest_auth",
                hint="Enter the credential again, without a line end.",
            )
    return given


def unreachable(error: Exception, target: str) -> NetworkError | None:
    """Return why boto3 or requests got no answer, in the words of the other legs; None for any other error."""
    kind = type(error).__name__
    inner = f"{getattr(error, 'kwargs', {}).get('error', '')} {error}"
    cause, reason = "network", ""
    if kind in {"ProxyConnectionError", "ProxyError"}:
        lets = "does not let us through" if "unnel" in inner else "cannot be reached"
        cause, reason = "proxy", f"the proxy {lets}"
        if " 407" in inner:
            cause, reason = "proxy_auth", "the proxy wants other credentials, or a login other than Basic (407)"
    elif kind == "SSLError":
        cause, reason = "tls", "its certificate cannot be trusted"
    elif kind in {"EndpointConnectionError", "HTTPClientError", "ConnectionError"}:
        lost = re.search(r"(?i)resolve|getaddrinfo|Name or service|No address", inner)
        reason = (
            "its name cannot be resolved" if lost else "Connection refused" if "refused" in inner else "no connection"
        )
    elif kind in {"ConnectTimeoutError", "ReadTimeoutError", "ConnectTimeout", "ReadTimeout"}:
        reason = "no connection in time" if kind.startswith("Connect") else "no answer in time"
    elif kind in {"ConnectionClosedError", "ResponseStreamingError", "IncompleteReadError"}:
        reason = "it hung up without an answer"
    if not reason:
        return None
    hint = None
    if cause == "network":
        hint = "Check AWS_REGION, AWS_ENDPOINT_URL, HTTPS_PROXY, and the route (or VPC endpoint) to the service."
    return NetworkError(f"{target}: {reason}", cause=cause, hint=hint)


def _revealed(secret: Secret | None) -> str | None:
    return secret.reveal() if secret else None


def _refuse_mfa(core: Any) -> None:
    """Refuse a profile with a role that needs an MFA code, of the roles that botocore would assume."""
    profiles = core.full_config.get("profiles", {})
    profile, seen = core.get_scoped_config(), set[int]()
    while _assumes_a_role(profile) and id(profile) not in seen:
        seen.add(id(profile))
        if profile.get("mfa_serial"):
            raise SettingsError(
                f"the AWS profile needs an MFA code ({profile['mfa_serial']}), which an unattended run cannot give",
                hint="Use a role or a profile without mfa_serial, or put temporary credentials into the environment.",
            )
        profile = profiles.get(profile.get("source_profile"), {})
        if "aws_access_key_id" in profile or "aws_secret_access_key" in profile:
            return  # botocore prefers the keys of a source profile to its role


def _bound_processes(core: Any) -> None:
    """Start each `credential_process` of this session without a terminal, and end it after `PROCESS_SECONDS`.

    botocore waits for it without end, and one that finds a terminal may wait for a person.
    """
    from botocore.credentials import ProcessProvider  # noqa: PLC0415 - as in `session`

    def provider(profile: str) -> ProcessProvider:
        return ProcessProvider(profile, lambda: core.full_config, popen=_UnattendedProcess)

    for each in core.get_component("credential_provider").providers:
        if isinstance(each, ProcessProvider):
            each._popen = _UnattendedProcess  # noqa: SLF001 - botocore has no other way to it, here and below
        elif (builder := getattr(each, "_profile_provider_builder", None)) is not None:
            builder._create_process_provider = provider  # noqa: SLF001 - of a role's source profile


class _UnattendedProcess(subprocess.Popen[bytes]):
    """A process that has neither a terminal nor input, and a limited time to answer."""

    def __init__(self, command: list[str], **streams: Any) -> None:
        super().__init__(command, stdin=subprocess.DEVNULL, start_new_session=True, **streams)

    def communicate(self, input: bytes | None = None, timeout: float | None = None) -> tuple[bytes, bytes]:  # noqa: A002 - as Popen names it
        """Return what the process wrote to stdout and stderr.

        Raises:
            TimeoutError: it took too long, and was killed with all that it started.
        """
        try:
            return super().communicate(input, timeout or PROCESS_SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(self.pid, signal.SIGKILL)
            self.wait()
            for stream in filter(None, (self.stdout, self.stderr)):
                stream.close()
            raise TimeoutError(f"it gave no credentials within {PROCESS_SECONDS:g} s") from None


def _assumes_a_role(profile: Mapping[str, Any]) -> bool:
    return "role_arn" in profile and "web_identity_token_file" not in profile


def _configured(core: Any, service: str) -> str | None:
    """Return the endpoint that the environment or `~/.aws/config` gives for a service."""
    from botocore.configprovider import ConfiguredEndpointProvider  # noqa: PLC0415 - as in `session`

    if core.get_config_variable("ignore_configured_endpoint_urls"):
        return None
    found: str | None = ConfiguredEndpointProvider(core.full_config, core.get_scoped_config(), service).provide()
    return found


def _truth(text: object, core: Any, name: str) -> bool:
    """Return a switch of the section `s3`, else of the profile or the environment."""
    value = core.get_config_variable(name) if text is None and core is not None else text
    return str(value).casefold() == "true"


def _in_front(bucket: str, endpoint: str) -> str:
    scheme, _, rest = endpoint.partition("://")
    return f"{scheme}://{bucket}.{rest}"


def _suffix(core: Any, region: str) -> str:
    """Return the domain of the partition that a region belongs to."""
    partitions = core.get_component("data_loader").load_data("partitions")["partitions"]
    found = next((one for one in partitions if re.match(one["regionRegex"], region)), partitions[0])
    return str(found["outputs"]["dnsSuffix"])


def proxies(network: Network, url: str) -> dict[str, str]:
    """Return the proxies for a client; never None, for which boto3 reads the environment by itself."""
    proxy = network.proxy_for(url)
    return {} if proxy is None else {"https": proxy.url}


@cache
def bundle(ca: str) -> str | None:
    """Return a file with the system's certificates and these; boto3 takes nothing but a file.

    Without it, boto3 would trust a list of its own in place of the system's.
    """
    system = ssl.get_default_verify_paths().cafile
    if not ca:
        return system
    import atexit  # noqa: PLC0415 - these three cost a megabyte
    import shutil  # noqa: PLC0415 - as above
    import tempfile  # noqa: PLC0415 - as above

    folder = Path(tempfile.mkdtemp(prefix="viplake-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    file = folder / "ca.pem"
    known = Path(system).read_text(encoding="utf-8", errors="replace") if system else ""
    file.write_text(f"{known}\n{ca}", encoding="utf-8")
    return str(file)


def _wrong(error: Exception) -> SettingsError:
    """Return what is wrong with the AWS configuration."""
    if type(error).__name__ == "NoRegionError":
        return SettingsError("no AWS region is set", hint="Set AWS_REGION.")
    text = redact(str(error).partition("\n")[0])[:200]
    return SettingsError(f"the AWS configuration is wrong: {text}", hint="Correct AWS_PROFILE or ~/.aws/config.")
