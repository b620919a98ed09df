"""PURE. What the name of a host says: whether it is this machine, and whether NO_PROXY excepts it."""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit

from viplake.errors import SettingsError


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
    """Return whether an entry of NO_PROXY names this host."""
    if entry == "*":
        return True
    try:
        return ipaddress.ip_address(host) in ipaddress.ip_network(entry.strip("[]"), strict=False)
    except ValueError:
        pass
    name, colon, only = entry.rpartition(":")
    if colon and only.isdigit() and "]" not in only:
        if int(only) != port:
            return False
        entry = name
    wanted = entry.strip("[]").lstrip("*").lstrip(".").casefold()
    return bool(wanted) and (host.casefold() == wanted or host.casefold().endswith(f".{wanted}"))
