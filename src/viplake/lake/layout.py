"""PURE. Where everything is in a lake: keys, and names of files and tables.

::

    <root>/Hourly/YYYYMMDD/HH/<file>                  one folder an Hour, as the original script made them
    <root>/Hourly/YYYYMMDD/HH/_PresignedUrls.json     the Promise, without signatures
    <root>/Hourly/YYYYMMDD/HH/_Receipt.json           the proof; downstream jobs wait for it
    <root>/_viplake/lake.json                         environment and company of the lake
    <root>/_viplake/lake.N.json                       a corrected company; the highest N holds
    <root>/_viplake/ledger/YYYYMMDD/HH/NNNN.json      the Hour's events
    <root>/_viplake/settled.json                      a copy of the last events of the newest final Hours
    <root>/_viplake/rules/vNNNNNNNNNN.json            the rules that judge this lake
    <root>/_viplake/begun/YYYYMMDD/HH.json            a writer of tables has looked at the Hour, or will
    <root>/_viplake/tables/YYYYMMDD/HH.json           the mark: all tables have the Hour (but what it says is held back)
    <root>/_viplake/tables/YYYYMMDD/HH.held.json      tables of it are held back
    <root>/_viplake/tables/YYYYMMDD/HH.healed.json    and these too have the Hour now
    <root>/Tables/current/, <root>/Tables/history/    a Delta table for each table of VIP
    <root>/Observability/                             the datasets

`<root>` is the parent of the hourly prefix (`IMOSDL/` for Prod, `DEV/IMOSDL/` for Test), so that the two
environments share nothing. Reading is lenient where old lakes differ and strict where trust depends on it.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from viplake import strictjson
from viplake.errors import SettingsError, VendorError
from viplake.model import Hour

if TYPE_CHECKING:
    from collections.abc import Iterable

    from viplake.model import PromisedFile

PROMISE_NAME: Final = "_PresignedUrls.json"
RECEIPT_NAME: Final = "_Receipt.json"
SCHEMA_NAME: Final = "_MasterTableSchema.json"
OWN_NAMES: Final = frozenset({PROMISE_NAME.lower(), RECEIPT_NAME.lower()})

LONGEST_KEY: Final = 1024
"""Bytes of a key, S3's limit (Amazon S3 User Guide, "Naming Amazon S3 objects")."""

LONGEST_NAME: Final = 253
"""Bytes of a file name, so that every Hour also fits a folder lake: common file systems take 255 (NAME_MAX), and a file
on its way there has two more, `#1`."""

_RELATIVE: Final = re.compile(r"(?P<day>[0-9]{8})/(?P<hour>[0-9]{2})/(?P<name>[^/]+)")
_EVENT_NAME: Final = re.compile(r"([0-9]{4,9})\.json")
_WINDOWS_DEVICES: Final = re.compile(r"(?i)(con|prn|aux|nul|com\d|lpt\d)(\..*)?")
_ESCAPED_TRAVERSAL: Final = re.compile(r"(?i)%2e|%2f|%5c|%00")


@dataclass(frozen=True, slots=True)
class Layout:
    """Keys of one environment's part of a lake, below the lake's URL.

    Attributes:
        prefix: of the hourly folders, with its closing slash (`IMOSDL/Hourly/`); empty where they are at the top.
    """

    prefix: str

    @classmethod
    def below(cls, prefix: str) -> Layout:
        """The layout for a prefix as a user writes it.

        Raises:
            SettingsError: it is empty, absolute, or climbs.
        """
        parts = prefix.strip().removesuffix("/").split("/")
        if any(part in {"", ".", ".."} or re.search(r"[\\\x00-\x1f\x7f\ud800-\udfff]", part) for part in parts):
            raise SettingsError(f"not a prefix for hourly folders: {prefix!r}", hint="Write it as IMOSDL/Hourly/.")
        return cls("/".join(parts) + "/")

    @classmethod
    def of_source(cls, prefix: str) -> Layout:
        """The layout of a lake that is only read: `/` means hourly folders at its top, without a prefix.

        Raises:
            SettingsError: it climbs, or is absolute.
        """
        return cls("") if prefix.strip() in {"", "/", "."} else cls.below(prefix)

    @property
    def root(self) -> str:
        """Return the root of the environment: the parent of the hourly prefix; empty at the top of the lake."""
        return self.prefix[:-1].rpartition("/")[0].removesuffix("/") + "/" if "/" in self.prefix[:-1] else ""

    @property
    def identity_key(self) -> str:
        """Of `lake.json`."""
        return self.identity(1)

    def identity(self, number: int) -> str:
        """The key of the N-th record of the lake's owner, from 1 on."""
        return f"{self.root}_viplake/lake{'' if number == 1 else f'.{number}'}.json"

    @property
    def observability(self) -> str:
        """The folder of the datasets, with its closing slash."""
        return f"{self.root}Observability/"

    @property
    def rules(self) -> str:
        """The prefix of the rules that judge this lake."""
        return f"{self.root}_viplake/rules/"

    @property
    def tables(self) -> str:
        """The folder of the current and the history tables, with its closing slash."""
        return f"{self.root}Tables/"

    @property
    def marks(self) -> str:
        """The prefix of the marks of Hours that are in the tables."""
        return f"{self.root}_viplake/tables/"

    @property
    def begun(self) -> str:
        """The prefix of the records of Hours that writers of tables have begun."""
        return f"{self.root}_viplake/begun/"

    def folder(self, hour: Hour) -> str:
        """The Hour's folder, with its closing slash."""
        return f"{self.prefix}{hour.folder}/"

    def day(self, day: str) -> str:
        """The folder of a day (`20220510`), with its closing slash."""
        return f"{self.prefix}{day}/"

    def file(self, hour: Hour, name: str) -> str:
        """The key of a file of an Hour."""
        return self.folder(hour) + name

    def promise(self, hour: Hour) -> str:
        """The key of the Hour's Promise."""
        return self.file(hour, PROMISE_NAME)

    def receipt(self, hour: Hour) -> str:
        """The key of the Hour's Receipt."""
        return self.file(hour, RECEIPT_NAME)

    @property
    def ledgers(self) -> str:
        """The prefix of all events."""
        return f"{self.root}_viplake/ledger/"

    def ledger_day(self, day: str) -> str:
        """The prefix of all events of a day."""
        return f"{self.ledgers}{day}/"

    def ledger(self, hour: Hour) -> str:
        """The prefix of the Hour's events."""
        return f"{self.ledgers}{hour.folder}/"

    @property
    def settled(self) -> str:
        """The key of the copy of the last events of the newest final Hours."""
        return f"{self.root}_viplake/settled.json"

    def event(self, hour: Hour, number: int) -> str:
        """The key of the Hour's event of this number, from 1 on."""
        return f"{self.ledger(hour)}{number:04d}.json"

    def parse_event(self, key: str) -> tuple[Hour, int] | None:
        """The Hour and number of an event's key; None for any other key."""
        match = _RELATIVE.fullmatch(key.removeprefix(self.ledgers))
        number = _EVENT_NAME.fullmatch(match["name"]) if match else None
        hour = _hour(match) if match else None
        if hour is None or number is None:
            return None
        found = hour, int(number[1])
        return found if key == self.event(*found) else None  # "1.json" is not a key that we write

    def parse_file(self, key: str) -> tuple[Hour, str] | None:
        """The Hour and name of a file right in an hourly folder; None for any other key."""
        match = _RELATIVE.fullmatch(key.removeprefix(self.prefix)) if key.startswith(self.prefix) else None
        hour = _hour(match) if match else None
        return (hour, match["name"]) if match and hour else None


def _hour(match: re.Match[str]) -> Hour | None:
    try:
        return Hour.parse(f"{match['day']}/{match['hour']}")
    except SettingsError:
        return None


def is_delivered_file(name: str) -> bool:
    """Whether a name in an hourly folder is something that the vendor delivered, not a record of ours."""
    return name.lower() not in OWN_NAMES


# -- names ------------------------------------------------------------------------------------------------


def check_names(files: Iterable[PromisedFile]) -> None:
    """Refuse a list with a file that cannot be stored safely under its name, before anything is stored.

    A deny-list, not an allow-list: one `(` or `é` must not cost an Hour.

    Raises:
        VendorError: `key_rejected` or `name_collision`, naming the key.
    """
    seen: dict[str, str] = {}
    for file in files:
        if reason := _refusal(file.key):
            raise VendorError(
                f"the vendor lists a file that cannot be stored: {file.key!r} {reason}", cause="key_rejected"
            )
        twin = seen.setdefault(file.name.lower(), file.key)  # as file systems do: Straße and Strasse are two
        if twin != file.key:
            same = twin.rpartition("/")[2] == file.name
            raise VendorError(
                f"the vendor lists two files of one name: {twin!r} and {file.key!r}",
                cause="name_collision" if same else "key_rejected",
            )


def _refusal(key: str) -> str | None:
    """Why this key cannot be stored, or None."""
    segments = key.split("/")
    name = segments[-1]
    encoded = key.encode(errors="surrogatepass")
    plain = key.isprintable()
    checks = (
        (not name, "has no name"),
        (
            len(encoded) > LONGEST_KEY or len(name.encode(errors="surrogatepass")) > LONGEST_NAME,
            "is too long",
        ),
        (not plain and any("\ud800" <= char <= "\udfff" for char in key), "holds half a character"),
        (
            not plain and any(unicodedata.category(char) in {"Cc", "Zl", "Zp"} for char in key),
            "holds control characters",
        ),
        (
            key.startswith("/") or "\\" in key or re.match(r"[A-Za-z]:", key) is not None,
            "is an absolute or Windows path",
        ),
        (any(segment in {".", ".."} for segment in segments), "climbs out of its folder"),
        (_ESCAPED_TRAVERSAL.search(key) is not None, "hides a path in an escape"),
        (name.lower() in OWN_NAMES, "is a name that viplake keeps for its own records"),
        (name != name.strip() or name.endswith("."), "begins or ends in a way that some systems drop"),
        (_WINDOWS_DEVICES.fullmatch(name) is not None, "is a device name on Windows"),
        (re.search(r"#\d+$", name) is not None, "looks like an unfinished upload"),
    )
    return next((reason for refused, reason in checks if refused), None)


# -- tables -----------------------------------------------------------------------------------------------


def schema_entries(data: bytes) -> dict[str, Any] | None:
    """The entry of each table of a `_MasterTableSchema.json`, by `DataObjectName`; None where it cannot be read."""
    try:
        entries = strictjson.loads(data, halves=True)  # one in a description must not cost the whole schema
        if not isinstance(entries, list):
            return None
        found = {strictjson.text_of(entry["DataObjectName"]): entry for entry in entries}
        "".join(found).encode()
    except (ValueError, TypeError, KeyError):
        return None
    return found if "" not in found else None


def schema_tables(data: bytes) -> tuple[str, ...] | None:
    """The tables of a `_MasterTableSchema.json`, sorted; None where it cannot be read."""
    entries = schema_entries(data)
    return None if entries is None else tuple(sorted(entries))
