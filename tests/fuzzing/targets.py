"""Every parser of outside data as a function from bytes, with what must hold of whatever comes out.

A target raises nothing but what its parser documents (`Refused`), and what it returns is of the types that it
declares, can be worked with, and is read back the same after it was written. All else is a finding.
"""

from __future__ import annotations

import asyncio
import atexit
import codecs
import csv
import gzip
import io
import json
import re
import shutil
import sys
import tempfile
from collections.abc import Callable, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, fields, is_dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from pathlib import Path
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Any, Final, Literal, Union, cast, get_args, get_origin, get_type_hints

import registry
from viplake import config, strictjson
from viplake.aws import glue_arguments
from viplake.clock import SystemClock
from viplake.config import secrets as secrets_of
from viplake.content.examine import ContentSettings, look_into
from viplake.content.profiling import ColumnProfile, ContentFinding, HourContent, TableContent
from viplake.content.records import from_bytes, to_bytes
from viplake.errors import CredentialsError, LakeError, SettingsError, ViplakeError
from viplake.extract import ledger
from viplake.extract.job import Event, ExportJob, Limits, apply, next_step
from viplake.history import build as history, chain, months
from viplake.history.datasets import DATASETS, RUNS, Frame, HourDataset, names_json, own_frame, parse, render, upsert
from viplake.history.facts import HourFacts, RunFacts, Schema, SchemaFacts, promise_facts, run_facts
from viplake.judge import incident_records, incidents, notices
from viplake.judge.evaluate import CheckSettings
from viplake.judge.rules import content_verdicts
from viplake.lake import Lake
from viplake.lake.layout import Layout, schema_tables
from viplake.lake.prune import parse_age
from viplake.lake.reconcile import judge, to_read_again
from viplake.lake.records import (
    EventKind,
    Worker,
    encode,
    identity_bytes,
    parse_event,
    parse_identity,
    parse_promise,
    parse_receipt,
    promise_bytes,
    receipt_bytes,
)
from viplake.lake.table_index import TableFacts, TableIndex
from viplake.lake.versions import Version, Versions
from viplake.model import PROD, Finding, Hour, Promise, PromisedFile, ProvenFile, Receipt, Severity, StoredFile
from viplake.redact import Secret
from viplake.tables import duck
from viplake.tables.files import TableFiles
from viplake.tables.gunzip import MAGIC, GzipWitness
from viplake.tables.json_repair import bad_byte
from viplake.tables.schema import TableSchema, changes, read_schema
from viplake.tables.staged import Staged, Unreadable
from viplake.tables.staging import stage
from viplake.tables.types import ValueKind
from viplake.vendor.links import Origins, check_link, read_opening, read_refusal, seconds_early
from viplake.vendor.port import TooEarly, Triggered
from viplake.vendor.veson.answers import quoted, read_list, read_status, read_token, read_trigger
from viplake.vendor.veson.too_early import next_allowed
from viplake.vendor.wire import HttpAnswer, retry_after

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Coroutine, Iterator

    from duckdb import DuckDBPyConnection

NOW: Final = datetime(2022, 5, 10, 13, 5, tzinfo=UTC)
HOUR: Final = Hour.parse("2022-05-10T13")
GUID: Final = "7470724f-e195-416b-a2da-94e63e94f341"
LAYOUT: Final = Layout.below(PROD.prefix)
LIMITS: Final = Limits(timedelta(minutes=50), timedelta(minutes=30))
LONGEST_MESSAGE: Final = 4096
"""Characters of an error; a log line that is longer is cut by what collects it."""


class Refused(Exception):
    """The parser refused the input, as it documents."""


@dataclass(frozen=True)
class Target:
    """A parser.

    Attributes:
        name: as the module and the function are called.
        run: reads the bytes, checks what comes out.
        seeds: good input.
    """

    name: str
    run: Callable[[bytes], object]
    seeds: tuple[bytes, ...]


@contextmanager
def only(*documented: type[Exception]) -> Iterator[None]:
    """What the parser within documents as its errors; a message of ours is one short line of text."""
    try:
        yield
    except documented as error:
        if isinstance(error, ViplakeError):
            for text in (error.message, error.hint):
                text.encode()
                assert len(text) <= LONGEST_MESSAGE, f"a message of {len(text)} characters"
                assert not {"\n", "\r", "\0", "\x1b"} & set(text), f"a message of many lines: {text[:200]!r}"
        raise Refused from error


def drive(work: Coroutine[Any, Any, Any]) -> Any:
    """The result of a coroutine that never has to wait."""
    try:
        work.send(None)
    except StopIteration as ended:
        return ended.value
    raise AssertionError("it waits")


# -- types ------------------------------------------------------------------------------------------------

_NAMES: Final[Mapping[str, Any]] = {
    cast("type", kind).__name__: kind
    for kind in (
        *(datetime, timedelta, Mapping, Callable, Hour, Event, Worker, EventKind, Secret, Finding),
        *(Promise, PromisedFile),
        *(ProvenFile, Receipt, StoredFile, SchemaFacts, TableFacts, RunFacts, HourFacts, Path),
        *(ColumnProfile, ContentFinding, TableContent),
    )
} | {"Severity": Severity, "ValueKind": ValueKind, "Any": Any}


@lru_cache
def _hints(kind: type) -> dict[str, Any]:
    there = vars(sys.modules[kind.__module__])
    return get_type_hints(kind, localns={name: found for name, found in _NAMES.items() if name not in there})


def check(value: Any, declared: Any, where: str = "value") -> None:
    """Assert that the value is of the declared type, all the way down, and that its text can be encoded."""
    origin, inner = get_origin(declared), get_args(declared)
    if declared is Any:
        return
    if origin is Literal:
        assert value in inner, f"{where} is {value!r}"
    elif origin in {Union, UnionType}:
        assert any(_fits(value, one, where) for one in inner), f"{where} is {value!r}, not {declared}"
    elif declared in {None, NoneType}:
        assert value is None, f"{where} is {value!r}, not None"
    elif origin in {tuple, list, frozenset}:
        assert type(value) is origin, f"{where} is {value!r}"
        kinds = inner if len(inner) > 1 and inner[-1] is not ... else [inner[0]] * len(value)
        for item, kind in zip(value, kinds, strict=True):
            check(item, kind, where)
    elif origin is not None and issubclass(origin, Mapping):
        assert isinstance(value, Mapping), f"{where} is {value!r}"
        for key, item in value.items():
            check(key, inner[0], where)
            check(item, inner[1], where)
    else:
        _check_plain(value, declared, where)
    if is_dataclass(declared):
        for one in fields(declared):
            check(getattr(value, one.name), _hints(cast("type", declared))[one.name], f"{where}.{one.name}")


def _check_plain(value: Any, declared: type, where: str) -> None:
    kinds = (int, float) if declared is float else declared
    assert isinstance(value, kinds), f"{where} is {value!r}, not {declared}"
    assert declared is bool or not isinstance(value, bool), f"{where} is {value!r}"
    if isinstance(value, str):
        value.encode()
    if isinstance(value, datetime):
        assert value.tzinfo is not None, f"{where} has no zone"
        assert value - timedelta(days=1) < value + timedelta(days=1), "there is room around it"


def _fits(value: Any, declared: Any, where: str) -> bool:
    try:
        check(value, declared, where)
    except (AssertionError, ValueError, OverflowError):
        return False
    return True


# -- the vendor's answers ------------------------------------------------------------------------------------


def _answer(data: bytes) -> HttpAnswer:
    """Bytes as an answer: a line with the status, lines of headers, an empty line, the body."""
    head, _, body = data.partition(b"\n\n")
    first, *others = head.decode("latin-1").split("\n")
    status = int(first) if len(first) == 3 and first.isascii() and first.isdecimal() else 200
    pairs = (line.partition(":") for line in others)
    return HttpAnswer(status, {name.strip().lower(): value.strip() for name, _, value in pairs}, body)


def _wait(answer: HttpAnswer) -> None:
    seconds = retry_after(answer, NOW)
    assert seconds is None or 0 <= seconds <= 3600


def _token(data: bytes) -> None:
    with registry.restored(), only(ViplakeError):
        token = read_token(_answer(data), NOW)
    assert 60 <= token.lifetime <= 86_400
    assert token.value.reveal().isascii()


def _trigger(data: bytes) -> None:
    answer = _answer(data)
    _wait(answer)
    with only(ViplakeError):
        told = read_trigger(answer, NOW)
    check(told, Triggered if isinstance(told, Triggered) else TooEarly)
    if isinstance(told, TooEarly) and told.not_before is not None:
        assert told.not_before >= NOW


def _status(data: bytes) -> None:
    with only(ViplakeError):
        standing = read_status(_answer(data), GUID, NOW)
    assert len(standing.word) <= 8 * 200


def _list(data: bytes) -> None:
    origins = Origins()
    with only(ViplakeError):
        files = read_list(_answer(data), GUID, lambda url: check_link(url, origins), NOW)
    promised = [file.promised() for file in files]
    promise = Promise(tuple(file for file in promised if not file.is_marker))
    check(promise, Promise)
    assert parse_promise(promise_bytes(promise)) == promise


def _file_source(data: bytes) -> None:
    answer = _answer(data)
    read_refusal(answer, "bucket.s3.amazonaws.com", NOW)
    with only(ViplakeError):
        opening = read_opening(answer.status, answer.headers, start=10, etag='"a"')
    assert opening.size is None or opening.size >= 0


def _gzipped(data: bytes) -> None:
    whole, parts = GzipWitness(), GzipWitness()
    whole.update(data)
    for start in range(0, len(data), 7):
        parts.update(data[start : start + 7])
    flaw = whole.end()
    assert (parts.end() is None) == (flaw is None)
    if flaw is not None:
        raise Refused
    if data.startswith(MAGIC) and whole.looks:
        gzip.decompress(data)


def _link(data: bytes) -> None:
    url = data.decode(errors="surrogateescape")
    with only(ViplakeError):
        check_link(url, Origins())
        seconds = seconds_early(url, NOW)
    assert 0 <= seconds <= 15 * 60
    url.encode()


def _moment(data: bytes) -> None:
    text = data.decode(errors="replace")
    _wait(HttpAnswer(429, {"retry-after": text}))
    quoted(text).encode("ascii")
    moment = next_allowed(text, NOW)
    if moment is not None:
        check(moment, datetime)
        assert moment >= NOW


# -- records of the lake ---------------------------------------------------------------------------------------


def _json(data: bytes) -> None:
    with only(ValueError):
        value = strictjson.loads(data)
    assert strictjson.loads(strictjson.dumps(value)) == value


def _promise(data: bytes) -> None:
    with only(LakeError):
        promise = parse_promise(data)
    check(promise, Promise)
    assert parse_promise(promise_bytes(promise)) == promise
    judge(promise, {}, None, {})
    promise_facts(promise, ["x"], [1], Schema.of(SchemaFacts(None, ("a",)), frozenset()))


def _receipt(data: bytes) -> None:
    with only(LakeError):
        receipt = parse_receipt(data)
    check(receipt, Receipt)
    assert parse_receipt(receipt_bytes(receipt)) == receipt
    stored = {file.name: StoredFile(f"x/{file.name}", file.size, file.etag) for file in receipt.files}
    to_read_again(stored, receipt, etags_prove=True)
    judge(Promise((PromisedFile("a/x.json", 1),)), stored, receipt, {})


def _identity(data: bytes) -> None:
    with only(LakeError):
        owner = parse_identity(data)
    check(owner, tuple[str, str])
    assert parse_identity(identity_bytes(*owner)) == owner


def _event(data: bytes) -> None:
    key = LAYOUT.event(HOUR, 3)
    with only(LakeError):
        event = ledger._parse_event(data, key, None)
    check(event, Event)
    assert ledger._parse_event(ledger._event_bytes(event), key, None) == event
    ledger.is_dead(event.worker, Worker(event.worker.host, 1))
    with only(LakeError):
        if event.kind in {EventKind.DELIVERED, EventKind.FAILED}:
            job = ledger._from_last(HOUR, 3, event)
        else:
            job = ledger.Ledger(cast("Any", None), cast("Any", None))._replay(HOUR, [event])
    check(job, ExportJob)
    next_step(job, NOW, LIMITS, holder_is_dead=False)
    encode(ledger.summary_of(job))
    apply(job, Event(EventKind.REOPENED, NOW, event.worker, "n", {})) if job.state != "delivered" else None


def _run(data: bytes) -> None:
    with only(LakeError):
        run = run_facts(parse_event(data, LAYOUT.event(HOUR, 3)))
    check(run, RunFacts)
    frame = upsert(RUNS, Frame(), {HOUR: HourFacts(HOUR, run=run)})
    _round(RUNS, frame)


def _incidents(data: bytes) -> None:
    with only(LakeError):
        kept = incident_records.unpack(data)
    check(kept.judged, Hour | None)
    for one in kept.incidents.values():
        check(one, incidents.Incident)
    assert incident_records.unpack(incident_records.pack(kept)) == kept
    strictjson.dumps([one.to_json(NOW) for one in kept.incidents.values()])
    marked = notices.claim(kept.incidents, "me", NOW)
    notices.notified(marked, "me", {key: ["sns"] for key in marked}, {})
    incidents.fold(kept.incidents, [], [HOUR.shift(-1), HOUR], NOW)


def _history(data: bytes) -> None:
    with only(LakeError):
        known = chain.unpack(data)
    for dataset in DATASETS:
        check(known.frames[dataset.name].rows, dict[Hour, tuple[str, ...]])


def _schema_marks(data: bytes) -> None:
    check(history._parse_schemas(data), dict[tuple[str, int], SchemaFacts])
    for hour, known in history._parse_hours(data).items():
        check(hour, Hour)
        check((known.schema, known.records), tuple[tuple[str, int] | None, dict[str, str]])


def _settled(data: bytes) -> None:
    known = ledger.Ledger(Lake(cast("Any", _OneObject(data)), LAYOUT), SystemClock())
    drive(known._read_settled())
    check((known._copied, known.owner), tuple[dict[str, str], tuple[str, str] | None])


class _OneObject:
    """A store that holds the same bytes under every key."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    async def get(self, key: str, *, limit: int = 0) -> bytes:
        del key, limit
        return self._data


def _version(data: bytes) -> None:
    versions = Versions(cast("Any", _OneObject(data)), "p/")
    assert drive(versions.published()) >= 0
    with only(LakeError):
        content = drive(versions.content(1))
    check(Version(1, content), Version)


def _months(data: bytes) -> None:
    with only(LakeError):
        rows = months._parse(data)
    columns = next(csv.reader(io.StringIO(data.decode(), newline="")), [])[2:]
    assert months._parse(months._upsert(None, rows, tuple(columns))) == rows


def _key(data: bytes) -> None:
    key = data.decode(errors="replace")
    event, file = LAYOUT.parse_event(key), LAYOUT.parse_file(key)
    if event is not None:
        assert LAYOUT.event(*event) == key
    if file is not None:
        assert LAYOUT.file(*file) == key
    if event is None and file is None:
        raise Refused


# -- the schema and the datasets ---------------------------------------------------------------------------------


def _schema(data: bytes) -> None:
    tables = schema_tables(data)
    check(tables, tuple[str, ...] | None)
    columns = read_schema(data)
    if columns is not None:
        check(columns, dict[str, TableSchema])
        assert changes(columns, columns) == []
        changes(columns, {})
    if tables is None:
        raise Refused
    assert columns is not None
    assert tuple(sorted(columns)) == tables
    names_json(TableIndex(tables).missing(["x_1.json.gz"])).encode()


def _round(dataset: HourDataset, frame: Frame) -> None:
    """A frame is read back the same, by who trusts it and by who does not."""
    written = render(dataset, frame)
    again = parse(dataset, written)
    assert again.frame == frame
    assert again.unreadable == ()
    assert own_frame(dataset, written.decode()) == frame


def _csv(dataset: HourDataset) -> Callable[[bytes], None]:
    def run(data: bytes) -> None:
        with only(SettingsError):
            parsed = parse(dataset, data)
        check(parsed.frame.rows, dict[Hour, tuple[str, ...]])
        "".join((*parsed.unreadable, *parsed.warnings)).encode()
        assert all(len(warning) <= LONGEST_MESSAGE for warning in parsed.warnings)
        _round(dataset, parsed.frame)
        facts = {hour: HourFacts(hour, files=1) for hour in parsed.frame.rows}
        upsert(dataset, parsed.frame, facts)

    return run


# -- table files, and what was found in them ---------------------------------------------------------------------


_LONG_NUMBER: Final = re.compile(rb"[0-9.]{15,}|[0-9][eE]")
"""Digits or an exponent with which a number may be more than a double holds."""


def _stage(data: bytes) -> Staged:
    """Stage a file of these bytes; what is staged is what gzip makes of it.

    Raises:
        Refused: it is one that cannot be read.
    """

    async def read(_: str) -> AsyncIterator[bytes]:
        for start in range(0, len(data), 4096):
            yield data[start : start + 4096]

    place = _FOLDER / "staged"
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir()
    [found] = asyncio.run(stage(["T_1.json.gz"], read, place))
    check(found, Staged if isinstance(found, Staged) else Unreadable)
    if isinstance(found, Unreadable):
        assert found.byte is None or 0 <= found.byte <= len(data)
        raise Refused
    plain = gzip.decompress(data) if data.startswith(MAGIC) else data
    kept = found.path.read_bytes()
    staged = gzip.decompress(kept) if found.path.suffix == ".gz" else kept
    plain = plain.removeprefix(codecs.BOM_UTF8)
    # A number that a double cannot hold is put into quotes while it is staged; nothing else may differ.
    assert staged == plain or (_LONG_NUMBER.search(plain) and staged.replace(b'"', b"") == plain.replace(b'"', b""))
    assert (found.size, found.unfolded) == (len(data), len(plain))
    return found


def _table_file(data: bytes) -> None:
    at = bad_byte(staged := _stage(data))
    assert at is None or 0 <= at <= staged.unfolded


@lru_cache
def _connection() -> DuckDBPyConnection:
    return duck.connect(_FOLDER)


atexit.register(_connection.cache_clear)


def _table(data: bytes) -> None:
    columns = {"a": "integer", "b": "string", "c": "decimal(9, 2)", "d": "datetime", "e": "bit", "f": "date"}
    known = TableFiles("T", {"T_1.json.gz": len(data)}, columns, ("a",))
    found = look_into(_connection(), known, [_stage(data)], ContentSettings(record_times=("d",)))
    check(found, TableContent)
    _again(HourContent(HOUR, (found,)))


def _content_record(data: bytes) -> None:
    with only(LakeError):
        content = from_bytes(data if data.startswith(MAGIC) else gzip.compress(data, compresslevel=1))
    check(content, HourContent)
    _again(content)


def _again(content: HourContent) -> None:
    """What was found is read back the same, and can be judged."""
    assert from_bytes(to_bytes(content)) == content
    nulls = content_verdicts.Nulls.of([content] * 4)
    checked = content_verdicts.CheckedContent(HOUR, content, [content] * 3, {}, {}, nulls)
    for verdict in (
        content_verdicts.nonconforming(checked),
        content_verdicts.row_counts(checked),
        content_verdicts.null_ratios(checked, 10),
        content_verdicts.stale(checked, 6),
        content_verdicts.look_back_changes(checked, 20),
    ):
        json.dumps(verdict if isinstance(verdict, str) else [odd.summary for odd in verdict]).encode()


# -- settings ----------------------------------------------------------------------------------------------------

_FOLDER: Final = Path(tempfile.mkdtemp(prefix="viplake-fuzz-"))
atexit.register(shutil.rmtree, _FOLDER, ignore_errors=True)
_EMPTY: Final = _FOLDER / "empty"
_EMPTY.mkdir()


def _toml(data: bytes) -> None:
    (_FOLDER / "viplake.toml").write_bytes(data)
    with registry.restored(), only(SettingsError):
        settings = config.load(environ={"VIPLAKE_ENVIRONMENT": "Prod"}, cwd=_FOLDER)
        CheckSettings.parse(settings.sections)
    _use(settings)


def _variables(data: bytes) -> None:
    lines = (line.partition("=") for line in data.decode(errors="surrogateescape").split("\n"))
    environ = {name: value.replace("\0", "") for name, equals, value in lines if equals and name}
    with registry.restored(), only(SettingsError):
        settings = config.load(environ=environ, cwd=_EMPTY)
    _use(settings)


def _use(settings: config.Settings) -> None:
    """What comes next with settings: the secret, where it is a file, and the keys of a lake."""
    settings.layout.file(HOUR, "x").encode()
    assert Layout.below(settings.layout.prefix) == settings.layout
    json.dumps([settings.company, sorted(settings.out_of_scope), settings.lake, settings.history]).encode()
    with suppress(Refused):
        if settings.secrets.startswith("file:"):
            with registry.restored(), only(CredentialsError, SettingsError):
                config.Secrets.of(settings).read()
    with suppress(Refused), only(CredentialsError, SettingsError):
        config.store_settings(settings, config.Secrets("env:", settings.surroundings))


def _secret(data: bytes) -> None:
    with registry.restored():
        with only(CredentialsError, SettingsError):
            values = secrets_of._checked(secrets_of._parse(data, "file:x"), "file:x")
        for value in values.values():
            value.reveal().encode()


def _hour(data: bytes) -> None:
    text = data.decode(errors="replace")
    with only(SettingsError):
        hour = Hour.parse(text)
    assert Hour.parse(str(hour)) == Hour.parse(hour.label) == Hour.parse(hour.folder) == hour
    assert hour.shift(-1) < hour < hour.shift(1)
    assert hour.end == hour.shift(1).start


def _age(data: bytes) -> None:
    with only(SettingsError):
        age = parse_age(data.decode(errors="replace"))
    NOW - age


def _glue(data: bytes) -> None:
    with only(SettingsError):
        glue_arguments(data.decode(errors="replace").split("\n"))


# -- good input ----------------------------------------------------------------------------------------------------

_URL: Final = (
    "https://vip-lake.s3.eu-west-1.amazonaws.com/a/Voyage_1.json.gz?X-Amz-Date=20220510T130000Z&X-Amz-Expires=3600"
    "&X-Amz-Signature=00"
)
_EVENT: Final[dict[str, Any]] = {
    "format": 1,
    "event": "claimed",
    "at": "2022-05-10T13:00:05.000Z",
    "nonce": "n-1",
    "worker": {"host": "host", "pid": 11, "started": "7"},
}
_TABLES_ROW: Final = '20220510-12,1,3,2,"[""A"", ""B""]",0.3333'
_TOML: Final = """
environment = "Prod"
company = "ACME"
lake = "s3://bucket/prefix"
secrets = "file:/nowhere/x.json"
prefix = "IMOSDL/Hourly/"
poll_seconds = 30
out_of_scope = ["A", "B"]
default_profile = "prod"
[profiles.prod]
grace_minutes = 20
[rules]
look_back_hours = 24
[rules.late_job]
minutes = 50.5
severity = "page"
[rules.volume_job]
min_mb = 1
max_mb = 100
weeks = 5
[[calendar]]
kind = "hole"
from = "2022-05-10T13"
to = "2022-05-11T10"
reason = "diverted"
[objectives.delivered]
target = 0.99
window = "28d"
[notify]
webhook = "https://example.com/hook"
apprise = ["secret:APPRISE"]
severity = "ticket"
"""
_ENV: Final = """VIPLAKE_ENVIRONMENT=Prod
VIPLAKE_LAKE=file:///tmp/lake
VIPLAKE_SECRETS=file:~nobody-here/x.json
VIPLAKE_PREFIX=IMOSDL/Hourly/
VIPLAKE_COMPANY=ACME
VIPLAKE_POLL_SECONDS=1e1
VIPLAKE_DOWNLOAD_HOSTS=a.example,b.example
VIPLAKE_OUT_OF_SCOPE=A,B
VIPLAKE_TOKEN_URL=https://auth.example/connect
VIPLAKE_ALLOW_INSECURE_HTTP=true
VIPLAKE_SNS_TOPIC=arn:aws:sns:eu-west-1:123456789012:topic
HTTPS_PROXY=http://user:pass@proxy:8080
VIPLAKE_CONFIG=
AWS_ENDPOINT_URL=http://127.0.0.1:1"""


def _seeds(*values: Any, head: str = "") -> tuple[bytes, ...]:
    return tuple(
        head.encode() + (value if isinstance(value, bytes) else json.dumps(value).encode()) for value in values
    )


def _known_incident() -> bytes:
    breach = [["missing_job", None, "2022-05-10T12", None], ["missing_table", "A", "2022-05-10T11", "2022-05-10T12"]]
    telling = {
        "kind": "opened", "at": "2022-05-10T12:00:00.000Z", "by": "me", "severity": "page", "tries": 1, "done": True,
        "sent": ["sns"], "failed": {"webhook": "no answer"},
    }  # fmt: skip
    one = {
        "group": "outage", "hour": "2022-05-10T10", "severity": "page", "cause": "missed", "owner": "us",
        "summary": "nothing came", "spans": [["2022-05-10T10", "2022-05-10T12"]], "opened_at": telling["at"],
        "resolved_at": None, "healed": False, "members": breach, "tellings": [telling],
    }  # fmt: skip
    other = one | {"group": "volume", "resolved_at": "2022-05-10T13:00:00.000Z", "members": [breach[1]], "tellings": []}
    return json.dumps({"format": 1, "judged": "2022-05-10T12", "incidents": [one, other]}).encode()


def _targets() -> Iterator[Target]:
    ok, listed = "200\nretry-after: 7\n\n", {"key": "a/Voyage_1.json.gz", "presignedDownloadURL": _URL, "size": 12}
    early = {"Message": "Too soon. Next allowed at 5/10/2022 2:00:00 PM", "JobGuid": GUID}
    yield Target("answers.read_token", _token, (
        *_seeds({"access_token": "t", "expires_in": 3600}, {"access_token": "t", "expires_in": "1e3"}, head=ok),
        *_seeds({"error": "invalid_client", "error_description": "no"}, b"<html>no</html>", head="400\n\n"),
    ))  # fmt: skip
    yield Target("answers.read_trigger", _trigger, (
        *_seeds({"JobGuid": GUID}, early, head=ok),
        *_seeds(early, head="400\n\n"),
        *_seeds({"Message": "busy until 14:00"}, head="429\nretry-after: Tue, 10 May 2022 14:00:00 GMT\n\n"),
        *_seeds({"Message": "try again after 10 May 2022 14:00 +0100"}, head="503\n\n"),
    ))  # fmt: skip
    yield Target("answers.read_status", _status, (
        *_seeds({"JobStatus": "Complete", "JobGuid": GUID}, {"JobStatus": "Failed", "Message": "x"}, head=ok),
        *_seeds({"Message": "no such job"}, head="404\n\n"),
    ))  # fmt: skip
    yield Target("answers.read_list", _list, (
        *_seeds([listed, listed | {"key": "b/Port_1.json", "size": "3"}, listed | {"key": "x"}], [], head=ok),
        *_seeds({"Message": "no"}, head="403\n\n"),
    ))  # fmt: skip
    yield Target("links.read_opening", _file_source, (
        b'206\ncontent-range: bytes 10-99/100\netag: "a"\n\nx',
        b'200\ncontent-length: 12\netag: "00000000000000000000000000000000"\ncontent-type: text/html\n\n',
        b"403\nretry-after: 3\n\n<Error><Code>AccessDenied</Code><Message>Request has expired</Message></Error>",
    ))  # fmt: skip
    yield Target(
        "links.check_link",
        _link,
        (_URL.encode(), b"https://s3.amazonaws.com/b/k?X-Amz-Date=20220510T131000Z&X-Amz-Expires=1"),
    )
    yield Target("wire.next_allowed", _moment, (
        b"Tue, 10 May 2022 14:00:00 +0100", b"2022-05-10T14:00:00.123Z", b"at 5/10/2022 2:05:09 PM (UTC+01:00)", b"120",
        b"10 May 2022 at 14:00", b"May 10, 2022 2:00 pm GMT, then 2022-05-10 15:00",
    ))  # fmt: skip
    members = [gzip.compress(text, mtime=0) for text in (b"[1, 2, 3]" * 9, b"", b'{"a": 1}')]
    yield Target("gunzip.GzipWitness", _gzipped, (members[0], members[2] + members[1] + bytes(9), b"".join(members)))
    yield Target("strictjson.loads", _json, _seeds({"a": [1, 2.5, "x", None, True, {"b": []}]}, "x", [[[]]]))
    yield from _records_of_the_lake()
    yield from _of_table_files()
    yield from _of_the_schema_and_the_datasets()
    yield from _of_the_settings()


def _records_of_the_lake() -> Iterator[Target]:
    proven = {"name": "x.json", "key": "a/x.json", "size": 1, "md5": "0" * 32, "etag": "e"}
    receipt = {
        "format": 1, "environment": "Prod", "company": "ACME", "hour": str(HOUR), "job_guid": GUID, "bytes": 3,
        "delivered_at": "2022-05-10T13:30:00.000Z", "late": False,
        "files": [proven, proven | {"name": "y", "etag": None}],
    }  # fmt: skip
    delivered = _EVENT | {
        "event": "delivered", "files": 3, "bytes": 9, "posts": 1, "late": False, "claimed_at": _EVENT["at"],
        "triggered_at": _EVENT["at"], "replicated_at": None, "job_guid": GUID, "requests": 9,
        "seconds": {"init": 1.5, "replication": 900, "transfer": None},
    }  # fmt: skip
    failed = delivered | {"event": "failed", "cause": "vendor_timeout", "detail": "no"}
    deferred = _EVENT | {"event": "deferred", "not_before": "2022-05-10T13:40:00.000Z", "cause": "trigger_limited"}
    yield Target("layout.parse_promise", _promise, _seeds(
        [{"key": "a/x.json", "presignedDownloadURL": "https://h/x?s=1", "size": 3}, {"key": "a/y", "size": "4"}], []
    ))  # fmt: skip
    yield Target("layout.parse_receipt", _receipt, _seeds(receipt))
    yield Target("layout.parse_identity", _identity, _seeds({"format": 1, "environment": "Prod", "company": "ACME"}))
    yield Target(
        "layout.parse_event", _key, (LAYOUT.event(HOUR, 7).encode(), LAYOUT.file(HOUR, "Voyage_1.json").encode())
    )
    yield Target("ledger._parse_event", _event, _seeds(_EVENT, deferred, delivered, failed))
    yield Target("facts.run_facts", _run, _seeds(delivered, failed, _EVENT))
    yield Target("incident_records.unpack", _incidents, (_known_incident(),))
    yield Target("history._unpack", _history, _seeds(
        {"format": 1, "built": True, "datasets": {"historical_job_size": "date,size,files,note\n20220510-12,1,2,x\n"}}
    ))  # fmt: skip
    yield Target("ledger._read_settled", _settled, _seeds(
        {"format": 1, "environment": "Prod", "company": "ACME", "events": {"ledger/20220510/07/0005.json 9": "{}"}}
    ))  # fmt: skip
    yield Target("history._parse_schemas", _schema_marks, _seeds(
        {"format": 1, "kept": True, "tables": {"0a": ["Port", "Voyage"]}, "seen": [["etag", 12, "0a"]],
         "hours": {"2022-05-10T12": {"schema": ["etag", 12], "records": {"ledger/20220510/12/0005.json etag": "{}"}}}}
    ))  # fmt: skip
    yield Target("versions.content", _version, (gzip.compress(b"date,size\n" * 9, mtime=0), b"12\n"))
    yield Target(
        "months._parse", _months, (b"hour,table,partitions,bytes\n20220510-12,Voyage,2,99\n20220510-12,Port,1,1\n",)
    )


def _of_table_files() -> Iterator[Target]:
    rows = [
        {"a": 1, "b": "x", "c": 1.5, "d": "2022-05-10T12:00:00", "e": True, "f": "2022-05-10"},
        {"a": 2, "b": None, "c": "1,5", "d": "2022-05-10T11:30:00.5", "e": 0, "f": "31.12.2022", "new": {"x": [1]}},
        {"a": 1, "b": "Sète", "c": -0.0, "d": None, "e": "no"},
    ]
    array, lines = json.dumps(rows).encode(), b"\n".join(json.dumps(row).encode() for row in rows)
    files = (array, lines, codecs.BOM_UTF8 + array, gzip.compress(array, mtime=0), gzip.compress(lines, mtime=0) * 2)
    yield Target("staging.stage", _table_file, files)
    yield Target("content.look_into", _table, files)
    column = {
        "column": "a", "declared": "integer", "kind": "integer", "nulls": 1, "distinct": 30, "low": "1", "high": "30",
        "nonconforming": 1,
    }  # fmt: skip
    finding = {
        "kind": "wrong_type", "table": "T", "file": "T_1.json", "byte": 7, "column": "a", "count": 1,
        "examples": ["x"], "detail": "a: 1 of 31 values are not of type integer: 'x'",
    }  # fmt: skip
    table = {
        "table": "T", "files": 1, "rows": 31, "reason": None, "oldest": "2022-05-09T13:00:00.000Z",
        "newest": "2022-05-10T12:59:00.000Z", "dated": 31, "duplicates": 2, "columns": [column], "findings": [finding],
    }  # fmt: skip
    other = table | {"table": "U", "rows": None, "reason": "no columns", "oldest": None, "newest": None, "columns": []}
    record = {"format": 1, "hour": str(HOUR), "schema_problem": None, "tables": [table, other]}
    [plain] = _seeds(record)
    yield Target("contents.from_bytes", _content_record, (plain, gzip.compress(plain, mtime=0)))


def _of_the_schema_and_the_datasets() -> Iterator[Target]:
    columns = [{"ColumnName": "Id", "DataType": "int"}, {"ColumnName": "Name"}]
    yield Target("layout.schema_tables", _schema, _seeds(
        [{"DataObjectName": "Voyage", "Columns": columns}, {"DataObjectName": "Port", "x": []}], []
    ))  # fmt: skip
    for dataset in DATASETS:
        header = ",".join(dataset.columns)
        rows = {
            "historical_job_metrics": "20220510-12,1,1\n20220510-13,0,1\n",
            "historical_table_metrics": f'{_TABLES_ROW}\n20220510-13,3,3,0,"[\'A\', ""B""]",nan\n',
            "historical_job_size": "20220510-12,345,12\n20220510-13,1.0,2\n",
            "historical_run_metrics": "20220510-12,delivered,,,1.5,900,30,1,3,9,2\n20220510-13,failed,x,us,,,,0,,,\n",
            "historical_schema_versions": f"20220510-12,{'0a' * 32},12\n20220510-13,{'B' * 64},\n",
        }[dataset.name]
        extra = "\n".join(f'{line},"a ""b"", c"' for line in rows.splitlines())
        yield Target(f"datasets.parse {dataset.file}", _csv(dataset), (
            f"{header}\n{rows}".encode(),
            f"\ufeff{header},note\r\n{extra}".encode(),
            f"{header},note\n{extra}".encode("utf-16"),
            f"{header}\n{rows}".replace(",", ";").encode("cp1252"),
        ))  # fmt: skip


def _of_the_settings() -> Iterator[Target]:
    yield Target("config.load viplake.toml", _toml, (_TOML.encode(),))
    yield Target("config.load environment", _variables, (_ENV.encode(),))
    yield Target("config.secrets", _secret, _seeds({
        "Veson_client_id": "id", "Veson_client_secret": "canary", "AWS_bucket": "b", "AWS_access_key_id": "k",
        "AWS_secret_key_id": "s", "proxy": "http://u:p@proxy:1",
    }))  # fmt: skip
    yield Target("model.Hour.parse", _hour, (b"2022-05-10T13", b"20220510/13", b"20220510-13", b"2022-05-10T13:00Z"))
    yield Target("retention.parse_age", _age, (b"90d", b"12w"))
    yield Target("aws.glue_arguments", _glue, (b"--JOB_NAME\nx\n--viplake-command\nrun\n--viplake_environment=Prod",))


TARGETS: Final = {target.name: target for target in _targets()}
