"""I/O (but only that a token is remembered as a secret). What the answers to the four calls mean.

Bytes in, a value or a typed error out; nothing else is touched. Nothing here trusts the other end: an answer
may be an error page of a proxy with status 200, JSON with two members of one name, a bomb, or about somebody
else's export. The driver needs only a few meanings, and one distinction above all: a trigger that was
*refused* may be sent again, one with an *unknown* result may not.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

import structlog

from viplake import strictjson
from viplake.errors import CredentialsError, NetworkError, VendorError, ViplakeError
from viplake.lake.layout import check_names
from viplake.model import PromisedFile
from viplake.redact import Secret, redact
from viplake.vendor.port import AnswerUnreadable, ListedFile, TooEarly, Triggered
from viplake.vendor.veson.guids import GUID_IN_TEXT, guid_of, guids_in, same_guid
from viplake.vendor.veson.too_early import next_allowed
from viplake.vendor.wire import SERVER_ERROR, is_page, retry_after

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    from viplake.vendor.wire import HttpAnswer

log = structlog.get_logger(__name__)

MOST_FILES: Final = 100_000
"""Entries of a list; an export has a few hundred, so this is only a stop for an endless one."""

TOKEN_LIFETIME: Final = 3600.0
"""Seconds that a token lives where the answer does not say (the vendor documents 60 minutes)."""

_SHORTEST_LIFETIME: Final = 60.0
_LONGEST_LIFETIME: Final = 86_400.0

_LONGEST_QUOTE: Final = 200
_LONGEST_READ: Final = 4096


@dataclass(frozen=True, slots=True)
class Token:
    """An access token.

    Attributes:
        value: to send as `Bearer`.
        lifetime: seconds, from 60 to 86,400.
    """

    value: Secret
    lifetime: float


@dataclass(frozen=True, slots=True)
class Standing:
    """The status of an ExportJob at Veson.

    Attributes:
        complete: its files can be listed.
        word: the vendor's own, for people, cut and escaped.
        known: False for an unknown status word (it counts as still running).
    """

    complete: bool
    word: str
    known: bool = True


class NotJson(VendorError):
    """An answer that is not even JSON: more often a page of something in between than the vendor's own."""


# -- what all answers share -------------------------------------------------------------------------------


def quoted(value: object) -> str:
    """Return words of the vendor for a message or a log: redacted, escaped, at most 200 characters."""
    text = value if isinstance(value, str) else repr(value)
    if len(text) > _LONGEST_READ:
        # Redacting megabytes takes seconds. The cut falls on a blank: half a secret would not be known as one.
        text = text[:_LONGEST_READ].rpartition(" ")[0] + "..."
    text = redact(text)
    return json.dumps(text if len(text) <= _LONGEST_QUOTE else text[:_LONGEST_QUOTE] + "...")


def message_of(answer: HttpAnswer) -> str | None:
    """The free text of an error answer; None where it has none (an HTML page is no text)."""
    try:
        value = _json(answer, "", "vendor_contract")
    except VendorError:
        text = answer.body.decode(errors="replace").strip()
        return text if text and not text.startswith("<") else None
    if isinstance(value, dict):
        value = next((value[name] for name in _MESSAGE_NAMES if isinstance(value.get(name), str)), None)
    return value if isinstance(value, str) else None


_MESSAGE_NAMES: Final = ("Message", "message", "ErrorMessage", "error_description", "error", "Error", "detail", "title")


def _said(message: str | None) -> str:
    return f": {quoted(message)}" if message else ""


def _flawed(answer: HttpAnswer, step: str) -> str:
    return f"the answer to the {step} call {answer.flaw}"


def _json(answer: HttpAnswer, step: str, cause: str) -> Any:
    if answer.flaw:
        raise (VendorError if answer.excessive else NotJson)(_flawed(answer, step), cause=cause)
    try:
        return strictjson.loads(answer.body, halves=True)  # a key is refused by name, a message is escaped
    except ValueError as error:
        what = "is a web page" if answer.body.lstrip()[:1] == b"<" else f"is no JSON: {quoted(str(error))}"
    raise NotJson(f"the answer to the {step} call {what}", cause=cause)


def _object(answer: HttpAnswer, step: str, cause: str = "vendor_contract") -> dict[str, Any]:
    value = _json(answer, step, cause)
    if not isinstance(value, dict):
        raise VendorError(f"the answer to the {step} call is no JSON object", cause=cause)
    return value


def _member(record: Mapping[str, Any], name: str) -> Any:
    """The member of this name, whatever its case."""
    if name in record:
        return record[name]
    return next((value for key, value in record.items() if key.casefold() == name.casefold()), None)


def refusal(answer: HttpAnswer, step: str, now: datetime) -> ViplakeError:
    """Return the error for a status other than 2xx, where the call has no more specific one."""
    message = message_of(answer)
    said = f"the {step} call was answered with {answer.status}" if answer.status else _flawed(answer, step)
    said += _said(message)
    if answer.busy:
        return VendorError(said, cause="vendor_unavailable", retry_after=retry_after(answer, now))
    if answer.status == 401:  # noqa: PLR2004 - HTTP
        return CredentialsError(said, cause="auth_rejected")
    if answer.status == 403 and is_page(answer):  # noqa: PLR2004 - HTTP
        return NetworkError(f"{said} and a web page, not by the vendor's interface", cause="intercepted", sent=False)
    if answer.status == 403:  # noqa: PLR2004 - HTTP
        return CredentialsError(said, cause="auth_forbidden")
    if 300 <= answer.status < 400:  # noqa: PLR2004 - HTTP
        said += " (redirects are never followed)"
    return VendorError(said)


# -- call 1: the token ------------------------------------------------------------------------------------

_TOKEN: Final = re.compile(r"[\x21-\x7e]{1,16384}")
_CLIENT_REFUSED: Final = frozenset(
    {"invalid_client", "invalid_grant", "invalid_scope", "unauthorized_client", "access_denied"}
)
"""Error codes of RFC 6749 5.2 that new credentials can fix."""


def read_token(answer: HttpAnswer, now: datetime) -> Token:
    """The token of call 1.

    Raises:
        NotJson: something else came (`auth_contract`): perhaps only for the moment.
        VendorError: `auth_contract`, `auth_unavailable`.
        CredentialsError: `auth_rejected`.
    """
    if not answer.accepted:
        raise _token_refusal(answer, now)
    record = _object(answer, "token", "auth_contract")
    value = record.get("access_token")
    if not isinstance(value, str) or not _TOKEN.fullmatch(value):
        raise VendorError("the answer to the token call holds no usable access_token", cause="auth_contract")
    return Token(Secret(value, passing=True), lifetime(record.get("expires_in")))


def lifetime(expires_in: Any) -> float:
    """Seconds that a token lives, from whatever `expires_in` says: 60 to 86,400, and 3,600 where it says nothing."""
    if isinstance(expires_in, bool) or not isinstance(expires_in, int | float | str):
        return TOKEN_LIFETIME
    try:
        seconds = float(expires_in)
    except (ValueError, OverflowError):
        return TOKEN_LIFETIME
    if seconds != seconds:  # noqa: PLR0124 - NaN, which a string can spell
        return TOKEN_LIFETIME
    return min(max(seconds, _SHORTEST_LIFETIME), _LONGEST_LIFETIME)


def _token_refusal(answer: HttpAnswer, now: datetime) -> ViplakeError:
    error = refusal(answer, "token", now)
    if isinstance(error, NetworkError):
        return error
    if answer.busy:
        return VendorError(error.message, cause="auth_unavailable", retry_after=retry_after(answer, now))
    try:
        code = _object(answer, "token").get("error")
    except VendorError:
        code = None
    refused = isinstance(code, str) and code in _CLIENT_REFUSED
    if answer.status in {401, 403} or (answer.status == 400 and refused):  # noqa: PLR2004 - HTTP
        return CredentialsError(error.message, cause="auth_rejected")
    return VendorError(error.message, cause="auth_contract")


# -- call 2: the trigger ----------------------------------------------------------------------------------

_TOO_EARLY_WORDS: Final = re.compile(
    r"(?i)too (?:soon|early|many|frequent)|(?:once|one \w+|1 \w+|one|1) (?:per|an|every|each|a) hour"
    r"|\balready\b|next (?:allowed|trigger|export|run|request|possible|available)|not allowed (?:before|until)"
    r"|try again (?:at|after|in|later)|allowed (?:again )?(?:at|after|from)|rate limit|wait until"
)
_NO_SUCH_CALL: Final = frozenset({404, 405, 410})


def read_trigger(answer: HttpAnswer, now: datetime) -> Triggered | TooEarly:
    """Return the result of the trigger.

    Raises:
        AnswerUnreadable: it was answered as if accepted, but the GUID is lost (`vendor_contract`).
        VendorError: `vendor_unavailable` (it is unknown whether it was accepted), `vendor_contract` (refused).
        CredentialsError: `auth_rejected`, `auth_forbidden` (refused).
    """
    if answer.accepted:
        return _accepted(answer, now)
    if answer.status == 0:
        raise AnswerUnreadable(_flawed(answer, "trigger"))
    if answer.status >= SERVER_ERROR and (guid := guid_of(answer)):
        return Triggered(guid)  # the job exists, whatever went wrong: the next poll shows its status
    early = None if answer.status in _NO_SUCH_CALL or answer.status == 401 else _too_early(answer, now)  # noqa: PLR2004 - HTTP
    if early:
        return early
    raise refusal(answer, "trigger", now)


def _accepted(answer: HttpAnswer, now: datetime) -> Triggered | TooEarly:
    if (message := message_of(answer)) and _TOO_EARLY_WORDS.search(message):
        return TooEarly(next_allowed(message, now), guid_of(answer))
    if guid := guid_of(answer):
        return Triggered(guid)
    try:
        _object(answer, "trigger")
        why = "the answer to the trigger call holds no usable JobGuid"
    except VendorError as error:
        why = error.message
    raise AnswerUnreadable(why, () if is_page(answer) else guids_in(answer))


def _too_early(answer: HttpAnswer, now: datetime) -> TooEarly | None:
    """The answer as a "too early", where it is one.

    The vendor's wording is unknown. In most refusals, either a telling word or a date-time in the near future
    will do. A server error may be about anything and name the time of day, so there it must be both.
    """
    message = message_of(answer) or ""
    moment = next_allowed(message, now)
    worded = _TOO_EARLY_WORDS.search(message) is not None
    if answer.status == 429:  # noqa: PLR2004 - HTTP: too many requests
        wait = retry_after(answer, now)
        moment = moment or (None if wait is None else now + timedelta(seconds=wait))
    elif answer.status >= SERVER_ERROR or answer.status < 400:  # noqa: PLR2004 - HTTP
        if not (worded and moment):
            return None
    elif not (worded or moment):
        return None
    found = GUID_IN_TEXT.search(message)
    return TooEarly(moment, guid_of(answer) or (found[0] if found else None))


# -- call 3: the status -----------------------------------------------------------------------------------

_COMPLETE_WORDS: Final = frozenset({"complete", "completed"})
_FAILURE_WORDS: Final = frozenset({"failed", "failure", "error", "cancelled", "canceled", "timedout"})
_RUNNING_WORDS: Final = frozenset(
    {"running", "inprogress", "processing", "pending", "queued", "started", "starting", "created", "submitted"}
)
"""Ordinary words for "not yet", so that each of them does not warn; the vendor's own are not documented."""


def read_status(answer: HttpAnswer, job_guid: str, now: datetime) -> Standing:
    """Return the status of the ExportJob at Veson.

    Raises:
        VendorError: `vendor_job_failed`; `job_gone` (404, which may pass); `vendor_contract`, `vendor_unavailable`.
        CredentialsError: `auth_rejected`, `auth_forbidden`.
    """
    if answer.status == 404:  # noqa: PLR2004 - HTTP
        raise VendorError(f"the vendor does not know the job {quoted(job_guid)}", cause="job_gone")
    if not answer.accepted:
        raise refusal(answer, "status", now)
    record = _object(answer, "status")
    other = _member(record, "JobGuid")
    if isinstance(other, str) and other and not same_guid(other, job_guid):
        raise VendorError(f"the answer to the status call is about another job: {quoted(other)}")
    word = _member(record, "JobStatus")
    if not isinstance(word, str) or not word.strip():
        instead = "no JobStatus" if word is None else f"a JobStatus that is no word: {quoted(word)}"
        raise VendorError(f"the answer to the status call holds {instead}")
    return _standing(word, message_of(answer))


def _standing(word: str, message: str | None) -> Standing:
    plain = re.sub(r"[\s_-]", "", word).casefold()
    if plain in _FAILURE_WORDS:
        raise VendorError(f"the vendor's export ended as {quoted(word)}{_said(message)}", cause="vendor_job_failed")
    complete = plain in _COMPLETE_WORDS
    return Standing(complete, quoted(word), complete or plain in _RUNNING_WORDS)


# -- call 4: the list -------------------------------------------------------------------------------------


def read_list(
    answer: HttpAnswer, job_guid: str, check_link: Callable[[str], object], now: datetime
) -> tuple[ListedFile, ...]:
    """The files of call 4 in the vendor's order, exact duplicates removed; every key, size and URL checked.

    Args:
        answer: of call 4.
        job_guid: of the job that was listed.
        check_link: raises `url_rejected` for a URL that files may not come from.
        now: UTC.

    Raises:
        VendorError: `url_list_empty`, `job_gone`, `key_rejected`, `name_collision`, `url_rejected`,
            `vendor_contract`, `vendor_unavailable`.
        CredentialsError: `auth_rejected` (401 and 403: this call carries the client secret itself).
    """
    if not answer.accepted:
        raise _list_refusal(answer, job_guid, now)
    entries = _json(answer, "list", "vendor_contract")
    if not isinstance(entries, list):
        raise NotJson(f"the answer to the list call is no list{_said(message_of(answer))}")
    if len(entries) > MOST_FILES:
        raise VendorError(f"the answer to the list call holds more than {MOST_FILES:,} files")
    if not entries:
        raise VendorError(f"the vendor lists no file of the job {quoted(job_guid)}", cause="url_list_empty")
    numbered = [(number, entry) for number, entry in enumerate(entries, 1) if not _is_placeholder(entry)]
    if not numbered:
        raise VendorError(f"the vendor lists folders and no file of the job {quoted(job_guid)}", cause="url_list_empty")
    if len(numbered) < len(entries):
        log.warning("folder_entries_left_out", job_guid=job_guid, entries=len(entries) - len(numbered))
    files = _distinct([_listed(entry, number) for number, entry in numbered])
    check_names(PromisedFile(file.key, file.size) for file in files)
    for file in files:
        check_link(file.url.reveal())
    return files


def _list_refusal(answer: HttpAnswer, job_guid: str, now: datetime) -> ViplakeError:
    error = refusal(answer, "list", now)
    if isinstance(error, NetworkError):
        return error
    if answer.status in {401, 403}:
        return CredentialsError(error.message, cause="auth_rejected")
    if answer.status == 404:  # noqa: PLR2004 - HTTP
        return VendorError(
            f"the vendor has no list for the job {quoted(job_guid)}{_said(message_of(answer))}",
            cause="job_gone",
            hint="Check VIPLAKE_COMPANY and VIPLAKE_FILES_URL, then the GUID; then open a ticket at Veson.",
        )
    return error


def _is_placeholder(entry: Any) -> bool:
    """Return whether an entry is a folder placeholder of an S3 console: a key that ends in `/`, with no bytes.

    A size that is missing, empty or written in another way says no more than 0 does: no file has such a key.
    """
    key = entry.get("key") if isinstance(entry, dict) else None
    if not isinstance(key, str) or not key.endswith("/"):
        return False
    return re.fullmatch(r"|None|False|[0\s]+(?:\.0*)?", str(entry.get("size"))) is not None


def _listed(entry: Any, number: int) -> ListedFile:
    if not isinstance(entry, dict):
        raise VendorError(f"entry {number} of the vendor's list is no object")
    key, url = entry.get("key"), entry.get("presignedDownloadURL")
    if not isinstance(key, str) or not key:
        raise VendorError(f"entry {number} of the vendor's list has no key")
    if not isinstance(url, str) or not url:
        raise VendorError(f"the vendor's list has no link for {quoted(key)}")
    return ListedFile(key, _size(entry.get("size"), key), Secret(url, remember=False))


def _size(value: Any, key: str) -> int:
    """The size, an integer or its digits."""
    try:
        return strictjson.count_of(value)
    except (TypeError, ValueError):
        raise VendorError(f"the vendor's list has no usable size for {quoted(key)}: {quoted(value)}") from None


def _distinct(files: list[ListedFile]) -> tuple[ListedFile, ...]:
    """The files without exact duplicates (of two links to one file, the first)."""
    first: dict[str, ListedFile] = {}
    for file in files:
        if first.setdefault(file.key, file).size != file.size:
            raise VendorError(f"the vendor lists {quoted(file.key)} twice, with different sizes")
    return tuple(first.values())
