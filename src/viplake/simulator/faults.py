"""PURE. The faults of the simulated vendor: their kinds, their notation, and which one is played next.

A fault is one line: `download:cut:file=Voyage*,times=2,value=1000` cuts the first two downloads of files
named Voyage... after 1,000 bytes. `KINDS` is the only list of kinds: the server plays what is
there, `describe()` prints it, and a test sees to it that every kind does what it says.
"""

# ruff: noqa: E501 - a table of kinds reads best a row a line

from __future__ import annotations

import difflib
import json
import re
from dataclasses import dataclass, field, fields
from fnmatch import fnmatchcase
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, get_args

from viplake.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

Call = Literal["token", "trigger", "status", "files", "download"]
CALLS: tuple[Call, ...] = get_args(Call)
JSON_CALLS: tuple[Call, ...] = ("token", "trigger", "status", "files")


@dataclass(frozen=True, slots=True)
class FaultKind:
    """A kind of fault.

    Attributes:
        calls: the calls that it can befall.
        word: its name.
        does: what the vendor does then.
        value: what `value` means, and what it is when not given.
        ids: the faults of the project's catalogue that it plays (see the tests of the same names).
        takes: what kind of value: a number, a place in a body (a count, negative from the end, or `mid`), text.
    """

    calls: tuple[Call, ...]
    word: str
    does: str
    value: str = ""
    ids: str = ""
    takes: Literal["number", "place", "text"] = "text"


_TOKEN: tuple[Call, ...] = ("token",)
_TRIGGER: tuple[Call, ...] = ("trigger",)
_STATUS: tuple[Call, ...] = ("status",)
_FILES: tuple[Call, ...] = ("files",)
_DOWNLOAD: tuple[Call, ...] = ("download",)
_BEARER: tuple[Call, ...] = ("trigger", "status", "files")

_KINDS: tuple[FaultKind, ...] = (
    # -- any call: before anything is done ------------------------------------------------------------
    FaultKind(CALLS, "status", "answers with this HTTP status, and does nothing", "status (503)", "T4 G9 G10 P5 D5", takes="number"),
    FaultKind(CALLS, "retry_after", "answers 429 with Retry-After", "seconds (7)", "T3 G14 P10"),
    FaultKind(CALLS, "forbidden", "answers 403", "", "T2 G8 U3 D3"),
    FaultKind(CALLS, "not_found", "answers 404", "", "G9 P8 D4"),
    FaultKind(CALLS, "redirect", "answers 302", "location (a page here that counts as `followed`)", "T9 D18 A10"),
    FaultKind(CALLS, "reset", "drops the connection before it does anything", "", "D19 N7 P5"),
    FaultKind(CALLS, "hang", "does nothing and never answers", "seconds of the wall until it drops (3600)", "P5 D10", takes="number"),
    FaultKind(CALLS, "html", "answers 200 with an HTML page", "", "T5 P7 D15 N6"),
    FaultKind(CALLS, "slow_headers", "sends a header byte a second, for ever", "seconds between bytes (1)", "A12", takes="number"),
    FaultKind(CALLS, "huge_header", "answers 200 with an enormous header", "bytes (1000000)", "A7", takes="number"),
    FaultKind(_BEARER, "unauthorized", "answers 401", "", "T2 T8 G8 P11"),
    # -- the four calls: the answer is spoiled --------------------------------------------------------
    FaultKind(JSON_CALLS, "answer_lost", "accepts the request, then drops the connection", "", "G6"),
    FaultKind(JSON_CALLS, "answer_late", "accepts the request, then never answers", "seconds (3600)", "G6", takes="number"),
    FaultKind(JSON_CALLS, "accepted_status", "accepts the request, but answers this HTTP status", "status (500)", "G10", takes="number"),
    FaultKind(JSON_CALLS, "json", "answers 200 with this JSON instead", "JSON text ([])", "T6 G11 P7 U2"),
    FaultKind(JSON_CALLS, "empty_body", "answers 200 without a body", "", "T5 P7 U4"),
    FaultKind(JSON_CALLS, "cut_json", "sends only the first part of its JSON, as if it were whole", "bytes (half)", "U4", takes="place"),
    FaultKind(JSON_CALLS, "cut_body", "announces the whole answer, drops the connection in it", "bytes (half)", "U4 G6", takes="place"),
    FaultKind(JSON_CALLS, "endless", "sends a JSON answer that never ends", "", "U13"),
    FaultKind(JSON_CALLS, "deep_json", "answers lists within lists", "depth (100000)", "A1", takes="number"),
    FaultKind(JSON_CALLS, "big_int", "adds a member with an endless number", "digits (5000)", "A2", takes="number"),
    FaultKind(JSON_CALLS, "duplicate_members", "repeats the first member of its object with another value", "", "A4"),
    FaultKind(JSON_CALLS, "nan", "adds a member that is NaN", "", "A5"),
    FaultKind(JSON_CALLS, "utf16", "sends its JSON as UTF-16 with a byte order mark", "", "A11"),
    FaultKind(JSON_CALLS, "bom", "sends its JSON with a UTF-8 byte order mark", "", "A11"),
    FaultKind(JSON_CALLS, "gzip_bomb", "sends blanks before its JSON, pressed by gzip", "blanks (300000000)", "A13", takes="number"),
    FaultKind(JSON_CALLS, "text_plain", "labels its JSON as text/plain", "", ""),
    FaultKind(JSON_CALLS, "extra_members", "adds unknown members", "", "U5"),
    FaultKind(JSON_CALLS, "control_characters", "does nothing, answers 400 with CR, LF and ANSI codes in its Message", "", "A9"),
    # -- token ----------------------------------------------------------------------------------------
    FaultKind(_TOKEN, "invalid_client", "refuses the client", "", "T1 S6"),
    FaultKind(_TOKEN, "invalid_scope", "refuses the scope", "", "T1"),
    FaultKind(_TOKEN, "access_token", "puts this where the token belongs", "JSON, or absent (absent)", "T6"),
    FaultKind(_TOKEN, "expires_in", "puts this where the lifetime belongs", "JSON, or absent (absent)", "T7"),
    FaultKind(_TOKEN, "crlf", "gives a token with a line break in it", "", "T11"),
    FaultKind(_TOKEN, "revoke", "voids all tokens that it gave before, then answers well", "", "T8 T10"),
    FaultKind(_TOKEN, "stillborn", "gives a token that no later call accepts", "", "T8"),
    # -- trigger --------------------------------------------------------------------------------------
    FaultKind(_TRIGGER, "too_soon", "refuses, regardless of the once-an-hour rule", "wording:seconds ahead (iso:120)", "G2 G3 G4 G5 G15"),
    FaultKind(_TRIGGER, "wording", "where the rule refuses, words it so", "a wording (iso)", "G3 G4 G5 G15 A9"),
    FaultKind(_TRIGGER, "same_guid", "accepts, but gives the GUID of the export before", "", "G12"),
    FaultKind(_TRIGGER, "bad_guid", "accepts, but gives this as GUID", "JSON or text (empty)", "G11"),
    # -- status ---------------------------------------------------------------------------------------
    FaultKind(_STATUS, "word", "gives this status word", "a word (Failed)", "P1 P2 P3 P4 P6"),
    FaultKind(_STATUS, "no_status", "leaves the status out", "", "P7"),
    FaultKind(_STATUS, "other_guid", "answers about another GUID", "", "P9"),
    # -- files ----------------------------------------------------------------------------------------
    FaultKind(_FILES, "empty", "lists nothing", "", "U1"),
    FaultKind(_FILES, "object", "answers an object instead of a list", "", "U2"),
    FaultKind(_FILES, "missing_field", "leaves this member out of matching entries", "member (size)", "U5"),
    FaultKind(_FILES, "size", "gives this as size of matching entries", 'JSON ("12")', "U6 D14 A2"),
    FaultKind(_FILES, "duplicate", "lists matching entries twice", "", "U7"),
    FaultKind(_FILES, "duplicate_size", "lists matching entries twice, with another size", "", "U7"),
    FaultKind(_FILES, "collision", "lists matching files once more in another folder", "", "U8"),
    FaultKind(_FILES, "case_twin", "lists matching files once more in capitals", "", "U9"),
    FaultKind(_FILES, "key", "gives this as key of matching entries; {name} is replaced by the name", "(../{name})", "U9 U10 A3"),
    FaultKind(_FILES, "url", "changes the URL of matching entries", "http, https, host, ip, port, userinfo or a URL (host)", "U11"),
    FaultKind(_FILES, "grow", "leaves matching files (else the last 3) out, until `times` is used up", "", "U12"),
    FaultKind(_FILES, "shrink", "leaves matching files (else the last 3) out; with `after=1` it takes them back", "", "U12 U16"),
    FaultKind(_FILES, "many", "lists so many more entries", "entries (1000000)", "U13", takes="number"),
    FaultKind(_FILES, "stale_urls", "gives URLs of matching files that have expired already", "", "U14"),
    FaultKind(_FILES, "future_urls", "gives URLs of matching files that become valid later", "seconds (30)", "U15", takes="number"),
    FaultKind(_FILES, "echo_token", "answers with an error that repeats the request's URL, apiToken and all", "status (500)", "U17", takes="number"),
    # -- download -------------------------------------------------------------------------------------
    FaultKind(_DOWNLOAD, "expired", "answers 403 AccessDenied `Request has expired`", "", "D1"),
    FaultKind(_DOWNLOAD, "expired_token", "answers 400 ExpiredToken", "", "D2"),
    FaultKind(_DOWNLOAD, "signature", "answers 403 SignatureDoesNotMatch", "", "D3"),
    FaultKind(_DOWNLOAD, "denied", "answers 403 AccessDenied", "", "D3"),
    FaultKind(_DOWNLOAD, "missing", "answers 404 NoSuchKey", "", "D4"),
    FaultKind(_DOWNLOAD, "slow_down", "answers 503 SlowDown", "", "D5"),
    FaultKind(_DOWNLOAD, "cut", "drops the connection after so many bytes of the body", "bytes, negative from the end, or mid (mid)", "D6", takes="place"),
    FaultKind(_DOWNLOAD, "ignore_range", "answers 200 with the whole file to a Range", "", "D7"),
    FaultKind(_DOWNLOAD, "range_error", "answers 416 to a Range", "", "D8"),
    FaultKind(_DOWNLOAD, "bad_range", "answers 206 with another Content-Range than requested", "", "D6"),
    FaultKind(_DOWNLOAD, "etag_change", "has another ETag than before (so If-Match fails)", "ETag (of zeros)", "D9"),
    FaultKind(_DOWNLOAD, "stall", "stops after so many bytes and stays silent", "bytes (mid)", "D10", takes="place"),
    FaultKind(_DOWNLOAD, "slow", "sends so few bytes a second", "bytes a second (1)", "D11", takes="number"),
    FaultKind(_DOWNLOAD, "short", "ends cleanly after so many bytes, with a matching Content-Length", "bytes (-1)", "D12", takes="place"),
    FaultKind(_DOWNLOAD, "long", "sends so many bytes more", "bytes (1)", "D13", takes="number"),
    FaultKind(_DOWNLOAD, "endless", "never stops sending", "", "D13"),
    FaultKind(_DOWNLOAD, "chunked", "sends the file without a length", "", "D14"),
    FaultKind(_DOWNLOAD, "content_length", "announces so many bytes more than it sends", "bytes (1)", "D14", takes="number"),
    FaultKind(_DOWNLOAD, "xml", "answers 200 with an XML error", "", "D15"),
    FaultKind(_DOWNLOAD, "gzip_encoding", "adds Content-Encoding: gzip", "", "D16"),
    FaultKind(_DOWNLOAD, "bit_flip", "flips a bit of this byte of the file", "offset (mid)", "D22", takes="place"),
    FaultKind(_DOWNLOAD, "kms", "is encrypted with a key of KMS, so that its ETag is no MD5", "", "D22"),
)  # fmt: skip

KINDS: Mapping[tuple[Call, str], FaultKind] = MappingProxyType(
    {(call, kind.word): kind for kind in _KINDS for call in kind.calls}
)

# How a refusal of the trigger may word the date-time of the next allowed one.
WORDINGS: Mapping[str, str] = MappingProxyType(
    {
        "iso": "2022-05-10T14:02:11Z",
        "iso_offset": "2022-05-10T16:02:11+02:00",
        "iso_naive": "2022-05-10 14:02:11",
        "us": "5/10/2022 2:02:11 PM",
        "eu": "10/05/2022 14:02:11",
        "rfc": "Tue, 10 May 2022 14:02:11 GMT",
        "none": "no date-time at all",
        "past": "ISO, 5 seconds ago",
        "far": "ISO, 3 hours ahead",
        "guid": "ISO, and the GUID of the earlier export as JobGuid",
    }
)


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault.

    Attributes:
        call: the call that it befalls.
        kind: what happens, a word of `KINDS`.
        file: only files with a key or name that matches this glob; downloads and entries of the list only.
        times: so often, then no more; None for ever.
        after: not before so many requests have matched. Both count the requests that it could befall, whether or
            not another fault befell them first.
        value: as the kind defines it.
        each: count `times` and `after` for each file by itself.
    """

    call: Call
    kind: str
    file: str | None = None
    times: int | None = None
    after: int = 0
    value: str | float | None = None
    each: bool = False

    def __post_init__(self) -> None:
        """Check the words and the counts."""
        if self.call not in CALLS:
            raise SettingsError(f"There is no call {self.call!r}; there are {', '.join(CALLS)}.")
        if (self.call, self.kind) not in KINDS:
            known = [word for call, word in KINDS if call == self.call]
            close = difflib.get_close_matches(str(self.kind), known, 1)
            guess = f"; did you mean {close[0]}?" if close else f"; there are {', '.join(sorted(known))}."
            raise SettingsError(f"The call {self.call} has no fault {self.kind!r}{guess}")
        if self.after < 0 or (self.times is not None and self.times < 1):
            raise SettingsError(f"A fault's `times` is at least 1 and its `after` at least 0: {self}")
        self._check_value()

    def _check_value(self) -> None:
        kind = KINDS[self.call, self.kind]
        if self.value is None:
            return
        if not kind.value:
            raise SettingsError(f"The fault {self.call}:{self.kind} takes no value.")
        pattern = {"number": r"-?\d+(\.\d+)?", "place": r"-?\d+|mid", "text": ".*"}[kind.takes]
        if self.kind in {"too_soon", "wording"}:
            pattern = rf"({'|'.join(WORDINGS)})(:-?\d+)?"
        if not re.fullmatch(pattern, str(self.value), re.DOTALL):
            raise SettingsError(f"The fault {self.call}:{self.kind} cannot take {self.value!r}: {kind.value}")

    def matches(self, key: str | None) -> bool:
        """Whether it may befall this file; a fault without a glob befalls any, and calls without a file."""
        if self.file is None or key is None:
            return True
        return fnmatchcase(key, self.file) or fnmatchcase(key.rpartition("/")[2], self.file)

    def number(self, default: float) -> float:
        """Its value as a number."""
        return float(default if self.value is None else self.value)

    def offset(self, size: int, default: str | int = "mid") -> int:
        """Its value as a place within `size` bytes: a count, negative from the end, or `mid`."""
        value = default if self.value is None else self.value
        at = size // 2 if value == "mid" else int(value)
        return max(0, min(size, at + size if at < 0 else at))

    def text(self, default: str) -> str:
        """Its value as text."""
        return default if self.value is None else str(self.value)

    def __str__(self) -> str:
        """As `parse` reads it."""
        parts = [f"{item.name}={getattr(self, item.name)}" for item in fields(self)[2:-2]]
        given = [part for part in parts if not part.endswith("=None") and part != "after=0"]
        given += ["each=true"] if self.each else []
        given += [f"value={self.value}"] if self.value is not None else []
        return ":".join([self.call, self.kind, *([",".join(given)] if given else [])])


def parse(text: str) -> Fault:
    """Read `call:kind[:file=GLOB,times=N,after=N,each=true,value=ANYTHING]`.

    Raises:
        SettingsError: where it is not written so, or there is no such call or kind.
    """
    call, kind, options = (*text.split(":", 2), "", "")[:3]
    given: dict[str, Any] = {}
    try:
        for option in _OPTION.split(options) if options else ():
            name, _, content = option.partition("=")
            match name.strip():
                case "file" | "value" as word:
                    given[word] = content
                case "times" | "after" as count:
                    given[count] = int(content)
                case "each":
                    given["each"] = {"true": True, "false": False}[content.lower()]
                case other:
                    raise SettingsError(f"A fault has no {other!r}: it has file, times, after, each, value.")
    except (ValueError, KeyError):
        raise SettingsError(f"This is not how a fault is written: {text!r}", hint=HOW) from None
    return Fault(call.strip(), kind.strip(), **given)  # type: ignore[arg-type]  # Fault itself checks the words


# A comma parts two options only where one begins behind it: values may hold commas.
_OPTION = re.compile(",(?=(?:file|times|after|each|value)=)")
HOW = "Write call:kind:file=GLOB,times=N,after=N,each=true,value=V, for example download:cut:file=Voyage*,times=2"


_FIELD_TYPES: Mapping[str, Any] = {
    "call": str, "kind": str, "file": str | None, "times": int | None, "after": int,
    "value": str | int | float | None, "each": bool,
}  # fmt: skip


def from_json(data: Any) -> list[Fault]:
    """Faults of a JSON value: one or a list of them, as text for `parse` or as an object of a Fault's fields.

    Raises:
        SettingsError: where they are not written so.
    """
    if isinstance(data, list):
        return [fault for item in data for fault in from_json(item)]
    if isinstance(data, str):
        return [parse(data)]
    names = {item.name for item in fields(Fault)}
    if not isinstance(data, dict) or not {"call", "kind"} <= data.keys() <= names:
        raise SettingsError(f"A fault is an object with call, kind and some of {', '.join(sorted(names))}.")
    if not all(isinstance(value, _FIELD_TYPES[name]) for name, value in data.items()):
        raise SettingsError(f"This is not how a fault is written: {json.dumps(data)}", hint=HOW)
    return [Fault(**data)]


@dataclass(slots=True)
class _Armed:
    fault: Fault
    seen: dict[str, int] = field(default_factory=dict)

    def strikes(self, key: str | None) -> bool:
        counter = (key or "") if self.fault.each else ""
        seen = self.seen.get(counter, 0)
        self.seen[counter] = seen + 1
        times = self.fault.times
        return seen >= self.fault.after and (times is None or seen < self.fault.after + times)


class Faults:
    """The faults that are switched on. May be changed from any thread while the server runs."""

    def __init__(self, faults: Iterable[Fault] = ()) -> None:
        # Replaced as a whole and never changed in place: that is what makes it safe to change while it is read.
        self._armed: tuple[_Armed, ...] = tuple(_Armed(fault) for fault in faults)

    def __iter__(self) -> Iterator[Fault]:
        """The faults, in the order in which they were added."""
        return iter([armed.fault for armed in self._armed])

    def add(self, *faults: Fault | str) -> None:
        """Switch faults on, each a Fault or a text for `parse`."""
        found = [parse(fault) if isinstance(fault, str) else fault for fault in faults]
        self._armed = (*self._armed, *map(_Armed, found))

    def clear(self) -> None:
        """Switch all faults off."""
        self._armed = ()

    def strike(self, call: Call, key: str | None = None, *, only: str = "", but: str = "") -> list[Fault]:
        """The faults that befall this request, and count it.

        Args:
            call: the call.
            key: the file that it is about; None for calls that are about none.
            only: faults of this kind alone.
            but: no faults of this kind.
        """
        if not self._armed:  # the fast path of a healthy vendor
            return []
        return [
            armed.fault
            for armed in self._armed
            if armed.fault.call == call
            and armed.fault.kind != but
            and only in {"", armed.fault.kind}
            and armed.fault.matches(key)
            and armed.strikes(key)
        ]


def describe() -> str:
    """All kinds, and all wordings of a refused trigger, as two Markdown tables."""
    rows = ["| calls | kind | the vendor ... | value (default) | plays |", "|---|---|---|---|---|"]
    for kind in _KINDS:
        calls = "any" if kind.calls == CALLS else "the four" if kind.calls == JSON_CALLS else ", ".join(kind.calls)
        rows.append(f"| {calls} | `{kind.word}` | {kind.does} | {kind.value} | {kind.ids} |")
    rows += ["", "| wording | the date-time in a refused trigger's Message |", "|---|---|"]
    return "\n".join(rows + [f"| `{word}` | {shown} |" for word, shown in WORDINGS.items()])
