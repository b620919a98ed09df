"""I/O. The vendor as an HTTP server: four calls, signed downloads, a control door for tests of any language.

    with running(SimulatorSettings(company="ACME"), clock=clock) as vendor:
        vendor.faults.add("download:cut:file=Voyage*,each=true,times=1")
        ...  # VIPLAKE_TOKEN_URL = vendor.token_url, VIPLAKE_EXPORT_URL = vendor.export_url, ...

It validates what a real vendor would, and reads the time of its Clock alone, so that an Hour may pass in a
second. Its only secrets are its own; none of them is in its log of requests.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import threading
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager, contextmanager
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from fnmatch import fnmatchcase
from functools import reduce
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple, Self
from urllib.parse import quote

from aiohttp import web

from viplake.clock import Clock, SystemClock
from viplake.errors import ViplakeError
from viplake.simulator import answers, spoil, storage
from viplake.simulator.faults import Call, Fault, Faults, from_json
from viplake.simulator.signing import Signer
from viplake.simulator.spoil import PlannedAnswer
from viplake.simulator.vendor import CONFIGURATIONS, SimulatedJob, SimulatorSettings, TooSoon, VendorState

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator, Iterable, Iterator, Mapping

    from viplake.simulator.tables import SimulatedFile

# How long a stop waits for answers on their way, in seconds.
_STOP_SECONDS = 1.0
# Where a simulator that listens everywhere can be reached from this machine.
_ANY_HOST = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - not bound to, only looked up


# A simulator may run for weeks; a day of full exports is some 15,000 requests.
REMEMBERED = 20_000
"""So many of the newest requests are remembered at least, and never twice as many."""

_Work = Callable[[web.Request, list[Fault]], Awaitable[tuple[PlannedAnswer, str]]]


class Request(NamedTuple):
    """A request that was answered, without anything secret.

    Attributes:
        at: when its answer ended, by the vendor's clock.
        call: token, trigger, status, files or download.
        status: the HTTP status; 0 where the connection was dropped instead.
        detail: the configuration, the GUID, or the key and its range.
    """

    at: datetime
    call: Call
    status: int
    detail: str


@dataclass
class RequestLog:
    """A request that the simulator got.

    Attributes:
        entries: the requests in the order in which their answers ended; `REMEMBERED` says how many.
        counts: how often each call was received, and as `followed` how often a redirect was followed.
        peak: how many of each call were under way at once, at most.
        bytes_sent: the bytes of download bodies.
    """

    entries: list[Request] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    peak: Counter[str] = field(default_factory=Counter)
    bytes_sent: int = 0
    _under_way: Counter[str] = field(default_factory=Counter, repr=False)

    def count(self, call: Call) -> int:
        """How often this call was received."""
        return self.counts[call]

    def of(self, call: Call) -> list[Request]:
        """The answered requests of one call."""
        return [entry for entry in list(self.entries) if entry.call == call]

    def clear(self) -> None:
        """Forget the requests so far."""
        self.entries.clear()
        self.counts.clear()
        self.peak.clear()
        self.bytes_sent = 0

    def begin(self, call: Call) -> None:
        """A request has come in."""
        self.counts[call] += 1
        self._under_way[call] += 1
        self.peak[call] = max(self.peak[call], self._under_way[call])

    def end(self, request: Request) -> None:
        """Its answer has ended."""
        self._under_way[request.call] -= 1
        self.entries.append(request)
        if len(self.entries) >= 2 * REMEMBERED:
            del self.entries[:-REMEMBERED]


class Simulator:
    """The vendor as an HTTP server: `async with`, or `start` and `stop`, or `running` where there is no loop.

    Args:
        settings: what the vendor is like.
        clock: its time; the machine's if not given.
        faults: what goes wrong from the start.
        tls: serve https with this context.
    """

    def __init__(
        self,
        settings: SimulatorSettings | None = None,
        *,
        clock: Clock | None = None,
        faults: Iterable[Fault] = (),
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.settings = settings or SimulatorSettings()
        self.faults = Faults(faults)
        self.requests = RequestLog()
        self.clock = clock or SystemClock()
        self.vendor = VendorState(self.settings)
        # Made from the client secret: equal settings give equal keys, and there is no randomness here.
        seed = hashlib.sha512(f"storage/{self.settings.client_secret}".encode()).digest()
        self.signer = Signer(
            access_key="ASIA" + base64.b32encode(seed[:10]).decode(),
            secret_key=base64.b64encode(seed[10:40]).decode(),
            session_token=base64.b64encode(hashlib.sha512(seed).digest()).decode(),
        )
        self._tls = tls
        self._runner: web.AppRunner | None = None
        self._stopping = asyncio.Event()
        self._date = (0.0, "")

    # -- its life -------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Listen."""
        app = web.Application()
        app.router.add_post("/connect/token", self._token)
        app.router.add_post("/api/datalake/v1/export", self._export)
        app.router.add_post("/api/datalake/v1/CheckJobStatus", self._check_job_status)
        app.router.add_get("/v1/datalake/presignedUrls/{company}", self._presigned_urls)
        app.router.add_get("/files/{key:.+}", self._download, allow_head=False)
        app.router.add_get("/_simulator", self._state)
        app.router.add_route("*", answers.FOLLOWED, self._followed)
        app.router.add_post("/_simulator/faults", self._add_faults)
        app.router.add_delete("/_simulator/faults", self._clear_faults)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=_STOP_SECONDS)
        await runner.setup()
        await web.TCPSite(runner, self.settings.host, self.settings.port, ssl_context=self._tls, backlog=1024).start()
        self._stopping.clear()
        self._runner = runner

    async def stop(self) -> None:
        """Stop listening; waiting requests are released."""
        self._stopping.set()
        if self._runner is not None:
            runner, self._runner = self._runner, None
            await runner.cleanup()

    async def __aenter__(self) -> Self:
        """Listen."""
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        """Stop."""
        await self.stop()

    # -- where it is ----------------------------------------------------------------------------------

    @property
    def base_url(self) -> str:
        """Where it listens; without a slash at its end."""
        if self._runner is None:
            raise RuntimeError("the simulator is not running")
        port = self._runner.addresses[0][1]
        return _url("https" if self._tls else "http", self.settings.host, port)

    @property
    def token_url(self) -> str:
        """For VIPLAKE_TOKEN_URL."""
        return f"{self.base_url}/connect/token"

    @property
    def export_url(self) -> str:
        """For VIPLAKE_EXPORT_URL."""
        return f"{self.base_url}/api/datalake/v1"

    @property
    def files_url(self) -> str:
        """For VIPLAKE_FILES_URL."""
        return f"{self.base_url}/v1/datalake"

    # -- what it holds --------------------------------------------------------------------------------

    @property
    def jobs(self) -> Mapping[str, SimulatedJob]:
        """The exports that were triggered, by GUID, oldest first."""
        return MappingProxyType(self.vendor.jobs)

    def rotate_secret(self, client_secret: str) -> None:
        """From now on only this client secret is good; tokens and URLs that were given live on."""
        self.settings = replace(self.settings, client_secret=client_secret)

    def file(self, guid: str, key: str) -> SimulatedFile:
        """A file of an export, by its key or its name.

        Raises:
            KeyError: there is no such file.
        """
        file = self.vendor.jobs[guid].file(key)
        if file is None:
            raise KeyError(key)
        return file

    def source(self, guid: str, key: str) -> Iterator[bytes]:
        """The true bytes of a file, in pieces, by its key or its name.

        Raises:
            KeyError: there is no such file.
        """
        return self.file(guid, key).read()

    # -- what every answer has ------------------------------------------------------------------------

    def _headers(self) -> dict[str, str]:
        now = self.clock.now()
        second = now.timestamp() // 1
        if self._date[0] != second:
            self._date = (second, format_datetime(now.astimezone(UTC), usegmt=True))
        return {"Date": self._date[1], "Server": "viplake-simulator"}

    @asynccontextmanager
    async def _received(self, call: Call) -> AsyncIterator[_Note]:
        """Count a request, wait its latency, and note its end."""
        note = _Note()
        self.requests.begin(call)
        try:
            if self.settings.latency_ms:
                await asyncio.sleep(self.settings.latency_ms / 1000)
            yield note
        finally:
            self.requests.end(Request(self.clock.now(), call, note.status, note.detail))

    async def _answer(self, request: web.Request, call: Call, work: _Work, *, bearer: bool) -> web.StreamResponse:
        """One of the four calls, counted and noted."""
        async with self._received(call) as note:
            try:
                faults = self.faults.strike(call, but="wording")
                return note.of(request, await self._play(request, note, work, faults, bearer=bearer))
            except ConnectionError:  # the client left
                return answers.drop(request)

    async def _play(
        self, request: web.Request, note: _Note, work: _Work, faults: list[Fault], *, bearer: bool
    ) -> web.StreamResponse:
        """Faults that come instead, the work, faults that spoil its answer."""
        for fault in faults:
            if (played := await answers.instead(request, fault, self._stopping)) is not None:
                return played
        if bearer and not self._knows(request):
            headers = {**self._headers(), "WWW-Authenticate": 'Bearer error="invalid_token"'}
            return web.Response(status=401, headers=headers)
        answer, note.detail = await work(request, faults)
        return await answers.send(request, answer, faults, self._stopping, self._headers())

    def _knows(self, request: web.Request) -> bool:
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        return scheme == "Bearer" and self.vendor.knows_token(token, self.clock.now())

    # -- call 1 ---------------------------------------------------------------------------------------

    async def _token(self, request: web.Request) -> web.StreamResponse:
        return await self._answer(request, "token", self._issue, bearer=False)

    async def _issue(self, request: web.Request, faults: list[Fault]) -> tuple[PlannedAnswer, str]:
        kinds = {fault.kind: fault for fault in faults}
        if error := await self._token_error(request, kinds):
            return PlannedAnswer(400, {"error": error}), error
        if "revoke" in kinds:
            self.vendor.revoke_tokens()
        token = self.vendor.issue_token(self.clock.now())
        body: dict[str, Any] = {
            "access_token": token,
            "expires_in": self.settings.token_lifetime_seconds,
            "token_type": "Bearer",
            "scope": "datalake",
        }
        if "stillborn" in kinds:
            body["access_token"] = "sim.stillborn"  # noqa: S105 - a word that opens nothing
        if "crlf" in kinds:
            body["access_token"] = f"{token}\r\nX-Injected: 1"
        for member in kinds.keys() & {"access_token", "expires_in"}:
            spoil.put_raw(body, member, kinds[member].text("absent"))
        return PlannedAnswer(200, body), ""

    async def _token_error(self, request: web.Request, kinds: Mapping[str, Fault]) -> str:
        if request.content_type != "application/x-www-form-urlencoded":
            return "invalid_request"
        form = await request.post()
        known = (self.settings.client_id, self.settings.client_secret)
        if (form.get("client_id"), form.get("client_secret")) != known or "invalid_client" in kinds:
            return "invalid_client"
        if form.get("grant_type") != "client_credentials":
            return "unsupported_grant_type"
        return "invalid_scope" if form.get("scope") != "datalake" or "invalid_scope" in kinds else ""

    # -- call 2 ---------------------------------------------------------------------------------------

    async def _export(self, request: web.Request) -> web.StreamResponse:
        return await self._answer(request, "trigger", self._trigger, bearer=True)

    async def _trigger(self, request: web.Request, faults: list[Fault]) -> tuple[PlannedAnswer, str]:
        body = await _json_object(request)
        if isinstance(body, PlannedAnswer):
            return body, ""
        config_name = body.get("configName")
        if not isinstance(config_name, str) or config_name not in CONFIGURATIONS:
            return PlannedAnswer(400, {"Message": "The configuration does not exist."}), "unknown configuration"
        kinds = {fault.kind: fault for fault in faults}
        now = self.clock.now()
        refused = self.vendor.refusal(config_name, now)
        if refused is None and "too_soon" in kinds:
            _, _, ahead = kinds["too_soon"].text("iso:120").partition(":")
            last = self.vendor.last(config_name)
            until = now.replace(microsecond=0) + timedelta(seconds=float(ahead or 120))
            refused = TooSoon(until, last.guid if last else "")
        if refused is not None:
            wordings = [kinds[kind].text("iso") for kind in ("too_soon",) if kind in kinds]
            wordings += [fault.text("iso") for fault in self.faults.strike("trigger", only="wording")]
            return spoil.too_soon(refused, now, (wordings or ["iso"])[-1].partition(":")[0]), config_name
        job = self.vendor.trigger(config_name, now)
        answer = {"JobGuid": job.guid}
        if "same_guid" in kinds:
            answer["JobGuid"] = self.vendor.previous(job).guid
        if "bad_guid" in kinds:
            answer["JobGuid"] = spoil.json_or_text(kinds["bad_guid"].text(""))
        return PlannedAnswer(200, answer), config_name

    # -- call 3 ---------------------------------------------------------------------------------------

    async def _check_job_status(self, request: web.Request) -> web.StreamResponse:
        return await self._answer(request, "status", self._status, bearer=True)

    async def _status(self, request: web.Request, faults: list[Fault]) -> tuple[PlannedAnswer, str]:
        body = await _json_object(request)
        if isinstance(body, PlannedAnswer):
            return body, ""
        guid = body.get("jobGuid")
        job = self.vendor.jobs.get(guid) if isinstance(guid, str) else None
        if job is None:
            return PlannedAnswer(404, {"Message": "The job does not exist."}), "unknown job"
        done = self.clock.now() >= self.vendor.completes_at(job)
        answer = {"JobGuid": job.guid, "JobStatus": "Complete" if done else "Running"}
        for fault in faults:
            match fault.kind:
                case "word":
                    answer["JobStatus"] = fault.text("Failed")
                case "no_status":
                    answer.pop("JobStatus", None)
                case "other_guid":
                    answer["JobGuid"] = "00000000-0000-4000-8000-000000000000"
        return PlannedAnswer(200, answer), job.guid

    # -- call 4 ---------------------------------------------------------------------------------------

    async def _presigned_urls(self, request: web.Request) -> web.StreamResponse:
        # The apiToken in the query is this call's key; whether Bearer is required too is not known.
        return await self._answer(request, "files", self._list, bearer=False)

    async def _list(self, request: web.Request, faults: list[Fault]) -> tuple[PlannedAnswer, str]:
        query = request.query
        if request.match_info["company"] != self.settings.company:
            return PlannedAnswer(403, {"Message": "Forbidden"}), "unknown company"
        if query.get("apiToken") != self.settings.client_secret:
            return PlannedAnswer(403, {"Message": "Forbidden"}), "wrong apiToken"
        job = self.vendor.jobs.get(query.get("jobGuid", ""))
        if job is None or CONFIGURATIONS[job.config_name] != query.get("environmentType"):
            return PlannedAnswer(404, {"Message": "The job does not exist in this environment."}), "unknown job"
        minutes = query.get("expirationInMinutes", "60")
        if not minutes.isascii() or not minutes.isdigit() or int(minutes) < 1:
            return PlannedAnswer(400, {"Message": "expirationInMinutes is not valid."}), job.guid
        kinds = {fault.kind: fault for fault in faults}
        if "echo_token" in kinds:
            text = f"Cannot serve {self.base_url}{request.path_qs}"
            return PlannedAnswer(int(kinds["echo_token"].number(500)), {"Message": text}), job.guid
        lifetime = min(self.settings.url_lifetime_seconds, 60 * int(minutes))
        bare = query.get("hideMetaData", "False").lower() == "true"
        files = [
            file
            for file in self.vendor.listed(job, self.clock.now())
            if fnmatchcase(file.name, query.get("fileFilter") or "*") and not (bare and file.table is None)
        ]
        # On the host by which the client came here, which is not ours behind a container's mapped port.
        storage_url = f"{request.scheme}://{request.host}/files/"
        entries = [self._entry(storage_url, job, file, lifetime, faults) for file in files]
        return PlannedAnswer(200, reduce(spoil.bend_list, faults, entries)), job.guid

    def _entry(
        self, storage_url: str, job: SimulatedJob, file: SimulatedFile, lifetime: float, faults: list[Fault]
    ) -> dict[str, Any]:
        key, start = job.key(file), self.clock.now()
        for fault in faults:
            if fault.kind == "stale_urls" and fault.matches(key):
                start -= timedelta(seconds=int(lifetime) + 60)
            elif fault.kind == "future_urls" and fault.matches(key):
                start += timedelta(seconds=fault.number(30))
        url = self.signer.sign(storage_url + quote(key, safe="/~"), start, lifetime)
        return {"key": key, "presignedDownloadURL": url, "size": file.size}

    # -- the storage ----------------------------------------------------------------------------------

    async def _download(self, request: web.Request) -> web.StreamResponse:
        async with self._received("download") as note:
            key = request.match_info["key"]
            wanted = request.headers.get("Range")
            note.detail = f"{key} {wanted}" if wanted else key
            headers = {**self._headers(), "Server": "AmazonS3", "x-amz-request-id": "SIMULATED"}
            refusal = self.signer.refusal(request.headers.get("Host", ""), request.raw_path, self.clock.now())
            if refusal is not None:
                return note.of(request, storage.refuse(refusal, headers))
            stored = self.vendor.stored(key)
            if stored is None:
                return note.of(request, storage.refuse(storage.MISSING, headers))
            job, file = stored
            faults = self.faults.strike("download", key)
            try:
                response, sent = await storage.download(
                    request,
                    file,
                    modified=self.vendor.completes_at(job),
                    faults=faults,
                    stopping=self._stopping,
                    headers=headers,
                )
            except ConnectionError:  # the client left
                return answers.drop(request)
            self.requests.bytes_sent += sent
            return note.of(request, response)

    # -- the control door -----------------------------------------------------------------------------

    async def _state(self, _: web.Request) -> web.Response:
        now = self.clock.now()
        jobs = [
            {
                "guid": job.guid,
                "config_name": job.config_name,
                "triggered_at": job.triggered_at.isoformat(),
                "completes_at": self.vendor.completes_at(job).isoformat(),
                "files": len(job.files),
                "bytes": sum(file.size for file in job.files),
            }
            for job in self.vendor.jobs.values()
        ]
        state = {
            "now": now.isoformat(),
            "company": self.settings.company,
            "rule": self.settings.rule,
            "jobs": jobs,
            "requests": dict(self.requests.counts),
            "bytes_sent": self.requests.bytes_sent,
            "faults": [asdict(fault) for fault in self.faults],
        }
        return web.json_response(state)

    async def _add_faults(self, request: web.Request) -> web.Response:
        try:
            faults = from_json(await request.json())
        except (ValueError, ViplakeError) as error:
            return web.json_response({"Message": str(error)}, status=400)
        self.faults.add(*faults)
        return web.json_response({"faults": [asdict(fault) for fault in self.faults]}, status=201)

    async def _followed(self, _: web.Request) -> web.Response:
        self.requests.counts["followed"] += 1
        return web.json_response({"Message": "A redirect was followed to here."})

    async def _clear_faults(self, _: web.Request) -> web.Response:
        self.faults.clear()
        return web.Response(status=204)


@dataclass(slots=True)
class _Note:
    """The log entry of a request; by default it was dropped."""

    status: int = 0
    detail: str = ""

    def of(self, request: web.Request, response: web.StreamResponse) -> web.StreamResponse:
        """Note the status of a response, unless the connection is broken."""
        self.status = 0 if answers.gone(request) and not response.prepared else response.status
        return response


def _url(scheme: str, host: str, port: int) -> str:
    name = _ANY_HOST.get(host, host)
    return f"{scheme}://{f'[{name}]' if ':' in name else name}:{port}"


async def _json_object(request: web.Request) -> dict[str, Any] | PlannedAnswer:
    """The JSON object of a request, or how its lack is answered."""
    if request.content_type != "application/json":
        return PlannedAnswer(415, {"Message": "The request's media type is not supported."})
    try:
        body = await request.json()
    except ValueError:
        body = None
    return body if isinstance(body, dict) else PlannedAnswer(400, {"Message": "The request is invalid."})


async def serve(
    settings: SimulatorSettings,
    faults: Iterable[Fault] = (),
    *,
    announce: Callable[[Simulator], None],
    clock: Clock | None = None,
) -> None:
    """Run a simulator until cancelled; `announce` is called once it listens."""
    async with Simulator(settings, clock=clock, faults=faults) as simulator:
        announce(simulator)
        await asyncio.Event().wait()


@contextmanager
def running(
    settings: SimulatorSettings | None = None,
    *,
    clock: Clock | None = None,
    faults: Iterable[Fault] = (),
    tls: ssl.SSLContext | None = None,
) -> Iterator[Simulator]:
    """A simulator in a daemon thread with a loop of its own, for code that has none, and for tests.

    Raises:
        OSError: it cannot listen where the settings say.
    """
    ready = threading.Event()
    failure: list[BaseException] = []
    found: list[tuple[Simulator, asyncio.AbstractEventLoop, asyncio.Event]] = []

    async def live() -> None:
        simulator, over = Simulator(settings, clock=clock, faults=faults, tls=tls), asyncio.Event()
        async with simulator:
            found.append((simulator, asyncio.get_running_loop(), over))
            ready.set()
            await over.wait()

    def work() -> None:
        try:
            with asyncio.Runner(loop_factory=_loop_factory()) as runner:
                runner.run(live())
        except BaseException as error:  # noqa: BLE001 - the thread's boundary: raised again in the caller's
            failure.append(error)
        finally:
            ready.set()

    thread = threading.Thread(target=work, name="viplake-simulator", daemon=True)
    thread.start()
    ready.wait()
    if failure:
        raise failure[0]
    simulator, loop, over = found[0]
    try:
        yield simulator
    finally:
        loop.call_soon_threadsafe(over.set)
        thread.join()
        if failure:
            raise failure[0]


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """uvloop's, where it is installed: twice the requests a second."""
    try:
        import uvloop  # noqa: PLC0415 - not on Windows
    except ImportError:
        return None
    return uvloop.new_event_loop
