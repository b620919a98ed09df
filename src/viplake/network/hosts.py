"""PURE. What the name of a host says: whether it is this machine, and whether NO_PROXY excepts it."""

from __future__ import annotations

import ipaddress
from fnmatch import fnmatchcase
from functools import lru_cache
from urllib.parse import urlsplit

from viplake.errors import SettingsError


@lru_cache(maxsize=64)  # each request asks it of the same few hosts
def is_loopback(host: str | None) -> bool:
    """Return whether a host of a URL is this machine by its name alone: `localhost`, 127.0.0.0/8 or ::1."""
    try:
        address = ipaddress.ip_address((host or "").strip("[]"))
    except ValueError:
        return (host or "").casefold() == "localhost"
    return (getattr(address, "ipv4_mapped", None) or address).is_loopback


def refuse_plain_http(url: str, label: str, *, allowed: bool = True) -> None:
    """Refuse a URL that is not https, but for http to loopback where it is allowed: requests carry credentials.

    Raises:
        SettingsError: it is refused.
    """
    parts = urlsplit(url)
    if parts.scheme == "https" or (parts.scheme == "http" and allowed and is_loopback(parts.hostname)):
        return
    where = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
    if is_loopback(parts.hostname):
        raise SettingsError(f"{label} is http: {where}", hint="For a simulator: VIPLAKE_ALLOW_INSECURE_HTTP=true.")
    raise SettingsError(f"{label} is not https: {where}", hint="Only loopback may be reached by http.")


def excepts(entry: str, host: str, port: int) -> bool:
    """Return whether an entry of NO_PROXY names this host.

    Args:
        entry: a name (with all below it), an address, a network (CIDR), or one of them with `*` or a port.
        host: as in a URL, without brackets.
        port: of the request.
    """
    entry, host = entry.rpartition("://")[2].rstrip("/"), host.rstrip(".").casefold()
    try:
        address = ipaddress.ip_address(host)
        network = ipaddress.ip_network(entry.strip("[]"), strict=False)
        return (getattr(address, "ipv4_mapped", None) or address) in network or address in network
    except ValueError:
        pass
    name, colon, only = entry.rpartition(":")
    if colon and only.isdigit() and "]" not in only:
        if int(only) != port:
            return False
        entry = name
    pattern = entry.strip("[]").rstrip(".").casefold()
    wanted = pattern.lstrip("*").lstrip(".")
    return fnmatchcase(host, pattern) or (bool(wanted) and (host == wanted or host.endswith(f".{wanted}")))
