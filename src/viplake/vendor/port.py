"""PURE. The port to a vendor of exports: the verbs that the run needs, what they return and how they fail.

The run knows this module alone. It imports no HTTP library, so that a second vendor, a fake or a replay needs none.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from viplake.errors import VendorError
from viplake.model import PromisedFile

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from contextlib import AbstractAsyncContextManager
    from datetime import datetime

    from viplake.redact import Secret


@dataclass(frozen=True, slots=True)
class Triggered:
    """The vendor accepted the trigger.

    Attributes:
        job_guid: of the ExportJob, as the vendor wrote it.
    """

    job_guid: str


@dataclass(frozen=True, slots=True)
class TooEarly:
    """The vendor did not accept the trigger: it allows one an hour.

    Attributes:
        not_before: the next allowed time by the answer, UTC; None if it gives none.
        job_guid: of the export that blocks this one, if the answer names it.
    """

    not_before: datetime | None
    job_guid: str | None = None


@dataclass(frozen=True, slots=True)
class ListedFile:
    """One file of the vendor's list, with the link that fetches it.

    Attributes:
        key: the vendor's.
        size: bytes.
        url: presigned, byte for byte as it came: a credential.
    """

    key: str
    size: int
    url: Secret

    @property
    def name(self) -> str:
        """Its name in the hourly folder."""
        return self.key.rpartition("/")[2]

    def promised(self) -> PromisedFile:
        """Return the part that may be stored: key and size, without the signature."""
        return PromisedFile(self.key, self.size, self.url.reveal().partition("?")[0])


class AnswerUnreadable(VendorError):
    """The trigger was answered, and perhaps accepted, but no job GUID can be read from the answer: it is lost.

    Args:
        guids: that the answer names; one of them may be the job's, so that no second trigger may be sent.
    """

    def __init__(self, message: str, guids: tuple[str, ...] = ()) -> None:
        named = f"; it names {' and '.join(guids)}" if guids else ""
        super().__init__(message + named)
        self.guids = guids


class LinkExpired(VendorError):
    """A presigned URL is no longer (or not yet) good: ask for the list again."""

    default_cause = "source_denied"


class SourceChanged(VendorError):
    """The file at the source has changed since its first part was downloaded: start again."""

    default_cause = "integrity"


class Doubted(VendorError):
    """An answer to a poll that is too odd to believe yet; for now it counts as none (`vendor_unavailable`).

    How often it came is counted in this process alone. Ticks in separate processes hear it once each, and nothing is
    written for a poll; so a caller without time for another poll uses this answer.

    Args:
        said: what it means where it is believed: `job_gone` or `vendor_contract`.
    """

    default_cause = "vendor_unavailable"

    def __init__(self, said: VendorError) -> None:
        super().__init__(said.message, retry_after=said.retry_after)
        self.said = said


class Download(Protocol):
    """A file on its way.

    Attributes:
        start: the offset of the first byte that comes; 0 if the source ignored the requested Range.
        size: bytes of the whole file as the source declares it; None where it does not.
        etag: the source's mark of the content, as sent (with quotes), for `If-Match`.
        md5: 32 hex digits, where the ETag is known to be the MD5 of the content.
    """

    start: int
    size: int | None
    etag: str | None
    md5: str | None

    def chunks(self) -> AsyncIterator[bytes]:
        """The body as it comes, undecoded; `NetworkError` where it breaks, stalls or ends early."""
        ...


class Vendor(Protocol):
    """The four calls and the files. Bound to one environment and company."""

    @property
    def requests_sent(self) -> int:
        """HTTP requests so far, of all kinds."""
        ...

    async def authorize(self) -> None:
        """Make sure of a token that is good for the next minutes.

        Raises:
            CredentialsError, VendorError, NetworkError: why there is none.
        """
        ...

    async def trigger(self) -> Triggered | TooEarly:
        """Ask once for an export; never repeated in here, but for a 401, which is a refusal.

        Raises:
            NetworkError: with `sent=False` if the vendor certainly received nothing; else it is unknown.
            AnswerUnreadable: the answer says accepted, but its GUID is lost: the outcome is unknown.
            VendorError: `vendor_unavailable`: it is unknown whether it was accepted; any other: it was refused.
            CredentialsError: it was refused.
        """
        ...

    async def is_complete(self, job_guid: str) -> bool:
        """Whether the ExportJob is complete; False while it runs.

        Raises:
            VendorError: `vendor_job_failed`, `job_gone`, `vendor_contract`; `vendor_unavailable`: poll again (it is
                `Doubted` where the vendor did answer).
            CredentialsError, NetworkError: why there is no answer.
        """
        ...

    def last_word(self, job_guid: str) -> str:
        """The vendor's last word for the status of a job, quoted; empty where none came in this process."""
        ...

    async def list_files(self, job_guid: str) -> tuple[ListedFile, ...]:
        """The files of a complete ExportJob, exact duplicates removed; all keys, sizes and URLs checked.

        Raises:
            VendorError: `url_list_empty`, `key_rejected`, `name_collision`, `url_rejected`, `vendor_contract`, ...
            CredentialsError, NetworkError: why there is no answer.
        """
        ...

    def download(
        self, url: Secret, *, start: int = 0, etag: str | None = None
    ) -> AbstractAsyncContextManager[Download]:
        """Open a file, from byte `start` on and only if its ETag still is `etag`. One request, no retries.

        Raises (on entering):
            LinkExpired, SourceChanged: as they say.
            VendorError: `source_missing`, `source_denied`, `vendor_unavailable`, `vendor_contract`, `url_rejected`,
                `integrity` (an error page in place of a file).
            NetworkError: no connection.
        """
        ...
