"""I/O (bundles; a login becomes a secret). The rules for every way out: proxy, certificates, time limits.

`config` makes one `Network`. The vendor's client, the store, boto3 and the notification channels all use it. So no leg
has rules of its own, and no library reads the environment by itself.
"""

from __future__ import annotations

import base64
import os
import re
import ssl
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final
from urllib.parse import quote, unquote, urlsplit

from viplake.errors import SettingsError
from viplake.network.hosts import excepts, is_loopback
from viplake.redact import Secret

_PROXY: Final = re.compile(
    r"(?:(?P<scheme>https?)://)?(?:(?P<login>.*)@)?(?P<host>[A-Za-z0-9_.-]+|\[[0-9A-Fa-f:.]+\])(?::(?P<port>\d{1,5}))?/?",
    re.IGNORECASE,
)
"""The login ends at the last `@`: a password may hold that sign, and any other, as it is."""

PROXY_HINT: Final = "Write HTTPS_PROXY as http://user:password@host:port."


_CERTIFICATE: Final = re.compile(r"-----BEGIN CERTIFICATE-----\r?\n[A-Za-z0-9+/=\r\n]+-----END CERTIFICATE-----")


def read_certificates(label: str, path: Path) -> str:
    """Return the certificates of a bundle and nothing else of it, so that all libraries read the same.

    Raises:
        SettingsError: it cannot be read, holds none, or holds one that is broken.
    """
    try:
        text = path.read_bytes().decode("utf-8-sig", errors="replace")  # Windows editors begin a file with a BOM
    except OSError as error:
        raise SettingsError(
            f"{label} cannot be read: {path}: {error.strerror}", hint="Point it at a PEM bundle, or unset it."
        ) from None
    found = _blocks(text)
    if not found:
        raise SettingsError(f"{label} holds no certificate: {path}", hint="Point it at a PEM bundle.")
    for number, block in enumerate(found, 1):
        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=block)
        except (ssl.SSLError, ValueError):
            raise SettingsError(
                f"{label}: certificate {number} of {len(found)} in {path} is broken", hint="Export the bundle again."
            ) from None
    return "\n".join(found) + "\n"


def read_certificate_folders(label: str, folders: str) -> str:
    """Return the certificates of all PEM files in some folders, separated as in `PATH`; each of them once.

    Raises:
        SettingsError: as `read_certificates`, or a folder cannot be read.
    """
    found: list[str] = []
    for folder in filter(None, folders.split(os.pathsep)):
        try:
            files = sorted(path for path in Path(folder).iterdir() if path.is_file())
            texts = [path.read_bytes().decode("utf-8-sig", errors="replace") for path in files]
        except OSError as error:
            what = f"{label} cannot be read: {error.filename}: {error.strerror}"
            raise SettingsError(what, hint="Point it at a folder of PEM files, or unset it.") from None
        found += [read_certificates(label, file) for file, text in zip(files, texts, strict=True) if _blocks(text)]
    if not found:
        raise SettingsError(f"{label} holds no certificate: {folders}", hint="Point it at a folder of PEM files.")
    return "".join(dict.fromkeys(found))


def _blocks(text: str) -> list[str]:
    return [block.replace("\r", "") for block in _CERTIFICATE.findall(text)]


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Time limits in seconds, of the machine's clock, for sockets know no other.

    Attributes:
        connect: one connection with its TLS handshake. An address that swallows packets must not cost a minute; of
            several addresses the next one is tried after a quarter of a second anyway (RFC 8305).
        stall: a download without a single byte. S3 answers within seconds; what is silent so long is dead.
        queue: a download until it has its connection, proxy included.
        token: call 1, in total.
        call: a trigger or a poll, in total. An answer that comes later counts as lost.
        listing: call 4, in total; a list may be megabytes.
        read: a request that reads from the lake, in total for one answer.
        upload: a request that writes to the lake. It counts from the first byte sent: all 32 MiB in flight together
            need 224 s at 150 kB/s.
        aws: one request to an AWS service other than S3.
        database: one statement of a database, in total: a lock that another load holds, the upsert of a large table.
    """

    connect: float = 5.0
    stall: float = 30.0
    queue: float = 60.0
    token: float = 30.0
    call: float = 60.0
    listing: float = 120.0
    read: float = 120.0
    upload: float = 600.0
    aws: float = 10.0
    database: float = 3600.0


@dataclass(frozen=True, slots=True)
class Proxy:
    """A forward proxy.

    Attributes:
        address: `http://host:port`, for messages too.
        login: `user:password`, decoded; None where it has none.
    """

    address: str
    login: Secret | None = None

    @classmethod
    def parse(cls, text: Secret) -> Proxy:
        """Read `http://user:password@host:port`; the password may hold any sign, encoded or as it is.

        Raises:
            SettingsError: it is no such URL; the text is not shown.
        """
        plain = text.reveal().strip()
        match = None if re.match(r"(?!https?://)\w+://", plain, re.IGNORECASE) else _PROXY.fullmatch(plain)
        port = int(match["port"] or (443 if (match["scheme"] or "").lower() == "https" else 80)) if match else 0
        if not match or port > 65_535 or re.search(r"[\x00-\x1f\x7f]", match["login"] or ""):  # noqa: PLR2004 - TCP
            raise SettingsError("the proxy is no URL of http:// or https://", hint=PROXY_HINT)
        login = match["login"]
        secret = None if not login else Secret(unquote(login), remember=False)
        return cls(f"{(match['scheme'] or 'http').lower()}://{match['host']}:{port}", secret)

    @property
    def authorization(self) -> str | None:
        """The value of `Proxy-Authorization`: a secret."""
        if self.login is None:
            return None
        user, _, password = self.login.reveal().partition(":")
        return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()

    @property
    def url(self) -> str:
        """Its URL with user and password, encoded so that every library reads the same: a secret."""
        if self.login is None:
            return self.address
        user, _, password = self.login.reveal().partition(":")
        scheme, _, host = self.address.partition("://")
        return f"{scheme}://{quote(user, safe='')}:{quote(password, safe='')}@{host}"


@dataclass(frozen=True, slots=True)
class Network:
    """The rules of every connection: proxy, certificates, time limits.

    Attributes:
        proxy: for every https URL that is not excepted.
        no_proxy: hosts that are reached directly: names (with all below them), `*`, addresses, networks (CIDR).
        ca: PEM certificates that are trusted besides the system's; nothing but certificates.
        ca_file: where they come from, for messages.
        timeouts: time limits.
    """

    proxy: Proxy | None = None
    no_proxy: str = ""
    ca: str = ""
    ca_file: Path | None = None
    timeouts: Timeouts = Timeouts()

    def proxy_for(self, url: str) -> Proxy | None:
        """Return the proxy for this URL; None where the host is reached directly.

        Plain http goes to loopback alone (`refuse_plain_http`). Loopback is reached directly: a proxy on another
        machine would look for it there. Only a proxy on this machine can reach it too, and is used for https.
        """
        if self.proxy is None:
            return None
        parts = urlsplit(url)
        host = parts.hostname or ""
        if parts.scheme != "https":
            return None
        if is_loopback(host) and not is_loopback(urlsplit(self.proxy.address).hostname):
            return None
        port = parts.port or 443
        entries = re.split(r"[,;\s]+", self.no_proxy)
        return None if any(excepts(entry, host, port) for entry in entries if entry) else self.proxy

    def way_to(self, url: str) -> str:
        """Return how this URL is reached, in words."""
        proxy = self.proxy_for(url)
        through = f"through the proxy {proxy.address}" if proxy else "directly"
        return through + (f", trusting {self.ca_file} besides the system" if self.ca_file else "")

    def without_secrets(self) -> Network:
        """Return the rules as they may travel: without a proxy that has a password."""
        return self if self.proxy is None or self.proxy.login is None else replace(self, proxy=None)
