"""I/O. `Vendor` over the API of Veson: which call is made, and when it is repeated.

The client decides nothing that a table could decide: `answers` and `links` say what an answer means, `http` moves the
bytes, `token` keeps the access token.
"""

from __future__ import annotations

import json
import random
from collections import Counter
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Self
from urllib.parse import quote

import structlog

from viplake.errors import CredentialsError, NetworkError, VendorError
from viplake.network.retry import pause
from viplake.network.settings import Network
from viplake.redact import Secret
from viplake.vendor.http import ERROR_BODY, Body, Http
from viplake.vendor.links import (
    LONGEST_WAIT,
    Opening,
    Origins,
    check_endpoint,
    check_link,
    read_opening,
    read_refusal,
    seconds_early,
)
from viplake.vendor.port import Doubted, LinkExpired, Triggered
from viplake.vendor.veson.answers import NotJson, read_list, read_status, read_trigger
from viplake.vendor.veson.guids import guid_of
from viplake.vendor.veson.token import Authorization, VendorCredentials

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from viplake.clock import Clock
    from viplake.model import Environment
    from viplake.vendor.port import Download, ListedFile, TooEarly
    from viplake.vendor.wire import HttpAnswer

_ANSWER_CAP: Final = 1024 * 1024
_LIST_CAP: Final = 64 * 1024 * 1024

_LIST_TRIES: Final = 3
"""For a list that is cut or is none."""

_CONTRACT_TRIES: Final = 5
"""Polls in a row that may bring something else than a status, before the driver hears that they do."""

_GONE_TRIES: Final = 3
_GONE_SECONDS: Final = 120.0
"""A GUID that is seconds old may not be known everywhere yet: three refusals, two minutes from first to last."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class VendorSettings:
    """URLs, credentials and time limits of the vendor; `config` fills them.

    Attributes:
        environment: its configuration is triggered and listed.
        company: code in the files call.
        token_url: of call 1.
        export_url: base of `/export` and `/CheckJobStatus`.
        files_url: base of `/presignedUrls/{company}`.
        allow_insecure_http: http to loopback is allowed, and loopback then counts as a download host.
        download_hosts: that files may come from, besides Amazon S3.
        network: how hosts are reached, for API and downloads alike.
    """

    environment: Environment
    company: str
    token_url: str = "https://auth.veslink.com/connect/token"  # noqa: S105 - an address, no password
    export_url: str = "https://emea.veslink.com/api/datalake/v1"
    files_url: str = "https://api.veslink.com/v1/datalake"
    allow_insecure_http: bool = False
    download_hosts: frozenset[str] = frozenset()
    network: Network = field(default_factory=Network)


class _Arriving:
    """A `Download` over HTTP."""

    def __init__(self, opening: Opening, body: Body, host: str) -> None:
        self.start = opening.start
        self.size = opening.size
        self.etag = opening.etag
        self.md5 = opening.md5
        self._body = body
        self._host = host

    async def chunks(self) -> AsyncIterator[bytes]:
        """The body as it comes; it ends only where the declared size is reached, or none was declared."""
        position = self.start
        async for chunk in self._body.chunks():
            position += len(chunk)
            yield chunk
        if self.size is not None and position < self.size:
            raise NetworkError(f"the file from {self._host} broke off after {position} of {self.size} bytes")


class VesonVendor:
    """The vendor over HTTP; a context manager, for one event loop.

    Args:
        settings: where it is.
        credentials: gives ours; with `fresh=True` it reads the secret anew.
        clock: all waits and expiries go by it (the deadlines of sockets go by the machine's).
        rng: spreads retries.

    Raises:
        SettingsError: a URL is wrong.
    """

    def __init__(
        self,
        settings: VendorSettings,
        credentials: Callable[..., Awaitable[VendorCredentials]],
        *,
        clock: Clock,
        rng: random.Random | None = None,
    ) -> None:
        insecure = settings.allow_insecure_http
        token_url = check_endpoint("VIPLAKE_TOKEN_URL", settings.token_url, allow_insecure_http=insecure)
        self._export_url = check_endpoint("VIPLAKE_EXPORT_URL", settings.export_url, allow_insecure_http=insecure)
        self._files_url = check_endpoint("VIPLAKE_FILES_URL", settings.files_url, allow_insecure_http=insecure)
        self._settings = settings
        self._credentials = credentials
        self._clock = clock
        self._rng = rng or random.Random()  # noqa: S311 - spreads retries, guards nothing
        self._origins = Origins(settings.download_hosts, loopback=insecure)
        self._http = Http(settings.network)
        self._authorization = Authorization(self._http, token_url, credentials, clock=clock, rng=self._rng)
        self._words_seen: set[str] = set()
        self._words: dict[str, str] = {}
        self._lists = 0
        self._distrusted: int | None = None
        # Of each job by itself: two Hours may be open at once.
        self._odd: Counter[str] = Counter()
        self._gone: dict[str, list[float]] = {}

    async def __aenter__(self) -> Self:
        """Open the session."""
        await self._http.__aenter__()
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close it."""
        await self._authorization.close()
        await self._http.__aexit__()

    @property
    def requests_sent(self) -> int:
        """HTTP requests so far, of all kinds."""
        return self._http.requests_sent

    async def authorize(self) -> None:
        """Make sure of a token that is good for the next minutes."""
        await self._authorization.token()

    async def trigger(self) -> Triggered | TooEarly:
        """Ask once for an export."""
        body = {"configName": self._settings.environment.config_name}
        try:
            answer = await self._post("trigger", "/export", body)
        except NetworkError as error:
            guid = guid_of(error.came) if error.came is not None else None
            if guid is None:
                raise
            return Triggered(guid)
        return read_trigger(answer, self._clock.now())

    async def is_complete(self, job_guid: str) -> bool:
        """Whether the ExportJob is complete."""
        answer = await self._post("status", "/CheckJobStatus", {"jobGuid": job_guid})
        try:
            standing = read_status(answer, job_guid, self._clock.now())
        except VendorError as error:
            failure = self._borne(error, job_guid)
        else:
            self._odd.pop(job_guid, None)
            self._gone.pop(job_guid, None)
            self._words[job_guid] = standing.word
            if not standing.known and standing.word not in self._words_seen:
                self._words_seen.add(standing.word)
                log.warning("an unknown job status counts as still running", status=standing.word)
            return standing.complete
        raise failure

    def last_word(self, job_guid: str) -> str:
        """The vendor's last word for the status of a job."""
        return self._words.get(job_guid, "")

    async def list_files(self, job_guid: str) -> tuple[ListedFile, ...]:
        """The files of a complete ExportJob."""
        try:
            return await self._list(job_guid, await self._credentials())
        except CredentialsError as error:
            if error.cause.word != "auth_rejected":
                raise
        # This call takes the client secret itself, which may have been rotated since we read it.
        credentials = await self._credentials(fresh=True)
        try:
            return await self._list(job_guid, credentials)
        except CredentialsError as error:
            if not self._authorization.has_accepted(credentials.client_secret):
                raise
            failure = self._company_doubted(error)
        raise failure

    def _company_doubted(self, error: CredentialsError) -> CredentialsError:
        """The refusal of a files call with a secret that the token call accepted: the company may be the wrong part."""
        return CredentialsError(
            f"{error.message}; the token call accepted the same secret, so the company code"
            f" {self._settings.company} is the likely reason",
            cause=error.cause.word,
            hint="Check VIPLAKE_COMPANY against the code that Veson gave you; then whether the secret was rotated.",
        )

    async def _list(self, job_guid: str, credentials: VendorCredentials) -> tuple[ListedFile, ...]:
        """Return the list; request it again if the answer is broken."""
        attempt = 0
        while True:
            attempt += 1
            url = self._list_url(job_guid, credentials)
            answer = await self._http.call(
                "list", "GET", url, seconds=self._http.network.timeouts.listing, cap=_LIST_CAP
            )
            try:
                listed = read_list(answer, job_guid, self._check_link, self._clock.now())
            except NotJson as error:
                if attempt >= _LIST_TRIES:
                    raise
                log.warning("no list yet", reason=error.message)
            else:
                self._lists += 1
                return listed
            await self._clock.sleep(pause(attempt, self._rng))

    @asynccontextmanager
    async def download(self, url: Secret, *, start: int = 0, etag: str | None = None) -> AsyncIterator[Download]:
        """Open a file, from byte `start` on and only if its ETag still is `etag`."""
        host = self._check_link(url.reveal())
        await self._until_good(url)
        headers = {"Range": f"bytes={start}-"} if start else {}
        if etag:
            headers["If-Match"] = etag
        async with self._http.open("file", url, headers) as got:
            yield await self._arriving(got, host, start=start, etag=etag)

    async def _until_good(self, url: Secret) -> None:
        """Wait for a link that is good in a moment; refuse one that is bad by its own dates, but not twice.

        Where a second list gives no better one, it is our clock that is wrong: then the storage decides.
        """
        try:
            early = seconds_early(url.reveal(), self._clock.now())
        except LinkExpired:
            if self._distrusted is None or self._lists == self._distrusted:
                self._distrusted = self._lists
                raise
            return
        self._distrusted = None
        if early:
            await self._clock.sleep(min(early, LONGEST_WAIT))

    async def _arriving(self, got: Body | HttpAnswer, host: str, *, start: int, etag: str | None) -> _Arriving:
        if isinstance(got, Body) and got.status in ({200, 206} if start else {200}):
            return _Arriving(read_opening(got.status, got.headers, start=start, etag=etag), got, host)
        answer = await got.read(ERROR_BODY) if isinstance(got, Body) else got
        raise read_refusal(answer, host, self._clock.now())

    # -- one request ---------------------------------------------------------------------------------------

    async def _post(self, step: str, path: str, record: dict[str, str]) -> HttpAnswer:
        """POST JSON with our token; once more with another token where the first is refused."""
        token = await self._token_for(step)
        answer = await self._send(step, path, record, token)
        if answer.status != 401:  # noqa: PLR2004 - HTTP
            return answer
        return await self._send(step, path, record, await self._token_for(step, refused=token))

    async def _token_for(self, step: str, *, refused: Secret | None = None) -> Secret:
        try:
            return await self._authorization.token(refused=refused)
        except NetworkError as error:
            # This is about the token call. The caller needs to know about its own request: that was not sent.
            unsent = NetworkError(error.message, cause=error.cause.word, hint=error.hint, sent=False)
        log.debug("no token, so nothing was sent", step=step)
        raise unsent

    async def _send(self, step: str, path: str, record: dict[str, str], token: Secret) -> HttpAnswer:
        return await self._http.call(
            step,
            "POST",
            self._export_url + path,
            seconds=self._http.network.timeouts.call,
            cap=_ANSWER_CAP,
            headers={
                "Authorization": Secret(f"Bearer {token.reveal()}", remember=False),
                "Content-Type": "application/json",
            },
            body=json.dumps(record).encode(),
            alone=step == "trigger",
        )

    def _list_url(self, job_guid: str, credentials: VendorCredentials) -> Secret:
        company, guid = quote(self._settings.company, safe=""), quote(job_guid, safe="")
        token = quote(credentials.client_secret.reveal(), safe="")
        return Secret(
            f"{self._files_url}/presignedUrls/{company}?apiToken={token}"
            f"&environmentType={quote(self._settings.environment.vendor_type, safe='')}&jobGuid={guid}"
            "&fileFilter=*&hideMetaData=False&expirationInMinutes=60",
            remember=False,
        )

    def _check_link(self, url: str) -> str:
        return check_link(url, self._origins)

    def _borne(self, error: VendorError, job_guid: str) -> VendorError:
        """The error of a poll; doubted while it is too early to believe it."""
        if error.cause.word == "job_gone":
            times = self._gone.setdefault(job_guid, [])
            times.append(self._clock.monotonic())
            believed = len(times) >= _GONE_TRIES and times[-1] - times[0] >= _GONE_SECONDS
        elif error.cause.word == "vendor_contract":
            self._odd[job_guid] += 1
            believed = self._odd[job_guid] >= _CONTRACT_TRIES
        else:
            return error
        return error if believed else Doubted(error)
