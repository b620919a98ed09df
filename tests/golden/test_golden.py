"""Records as viplake wrote them before their decoders were replaced read the same, and are written with the same bytes.

The JSON files beside this one hold records of every kind (also damaged and newer ones) and what they were read as on
the day they were made. They are never made anew: only the two tables of functions here follow the code.
"""

from __future__ import annotations

import dataclasses
import gzip
import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime
from enum import Enum
from pathlib import Path
from typing import Any

import pytest

from viplake.content import records as content_records
from viplake.errors import LakeError
from viplake.extract import ledger
from viplake.history import build, chain, months
from viplake.history.facts import run_facts
from viplake.judge import incident_records
from viplake.lake import records
from viplake.model import Hour

GOLDEN = Path(__file__).parent

EVENT_MEMBERS = (
    "job_guid", "cause", "detail", "not_before", "unsent", "unproven", "files", "bytes", "missing_tables", "requests",
    "seconds", "posts", "late", "claimed_at", "triggered_at", "replicated_at",
)  # fmt: skip


LATER = ("method", "examined", "beyond", "spelled")
"""Attributes that came after the golden files: a record without them reads as it did, and they are empty."""


def plain(value: Any) -> Any:
    """A value as JSON has it, without the names of classes."""
    match value:
        case Enum():
            value = value.value
        case Hour():
            value = str(value)
        case datetime():
            value = records.utc(value)
        case Mapping():
            value = {str(plain(key)): plain(item) for key, item in value.items()}
        case list() | tuple():
            value = [plain(item) for item in value]
        case set() | frozenset():
            value = sorted(plain(item) for item in value)
        case _ if dataclasses.is_dataclass(value):
            fields = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
            value = {name: plain(one) for name, one in fields.items() if one or name not in LATER}
    return value


def _event(data: bytes) -> Any:
    event = ledger._parse_event(data, "_viplake/ledger/20220510/13/0001.json", None)
    known = {name: plain(event.data.get(name)) for name in EVENT_MEMBERS}
    return {
        "kind": plain(event.kind), "at": plain(event.at), "worker": plain(event.worker), "nonce": event.nonce,
        **{name: value for name, value in known.items() if value not in (None, False)},
    }  # fmt: skip


def _event_again(data: bytes) -> bytes:
    event = ledger._parse_event(data, "", None)
    given = [name for name in json.loads(data) if name not in {"format", "event", "at", "nonce", "worker"}]
    record = records.parse_event(data, "").members()
    return ledger._event_bytes(replace(event, data={name: record[name] for name in given}))


def _run(data: bytes) -> Any:
    record = records.parse_event(data, "")
    found: dict[str, Any] = plain(run_facts(record))
    if record.posts is None and not record.job_guid:
        found["attempts"] = 0  # the files are older than the count of triggers by the kind of event
    return found


def _history(data: bytes) -> Any:
    history = chain.unpack(data)
    return {"built": history.built, "frames": plain(history.frames)}


def _schemas(data: bytes) -> Any:
    return [[*mark, plain(facts)] for mark, facts in sorted(build._parse_schemas(data).items())]


def _incidents(data: bytes) -> Any:
    found = plain(incident_records.unpack(data))
    for one in found["incidents"].values():
        one["tellings"] = [pick(told, TELLING) for told in one.pop("notifications")]
        for member in one["members"]:
            member["ended"] = next(iter(member.pop("good")), None)
            del member["over"]
        for later in incident_records._LATER:
            one.pop(later, None)
    return found


TELLING = ("kind", "at", "by", "severity", "tries", "done", "sent", "failed")


def pick(value: Any, names: tuple[str, ...]) -> Any:
    return {name: value[name] for name in names}


READ: dict[str, Callable[[bytes], Any]] = {
    "event": _event,
    "run": _run,
    "promise": lambda data: plain(records.parse_promise(data)),
    "receipt": lambda data: plain(records.parse_receipt(data)),
    "identity": lambda data: list(records.parse_identity(data)),
    "history": _history,
    "schemas": _schemas,
    "month": lambda data: plain(months._parse(data)),
    "content": lambda data: plain(content_records.from_bytes(gzip.compress(data))),
    "incidents": _incidents,
}
"""Reads the bytes of a record; raises `LakeError` for what is damaged or newer."""

WRITE: dict[str, Callable[[bytes], bytes]] = {
    "event": _event_again,
    "promise": lambda data: records.promise_bytes(records.parse_promise(data)),
    "receipt": lambda data: records.receipt_bytes(records.parse_receipt(data)),
    "identity": lambda data: records.identity_bytes(*records.parse_identity(data)),
    "history": lambda data: chain.pack(chain.unpack(data)),
    "schemas": lambda data: build._schemas_bytes(build._parse_schemas(data)),
    "month": lambda data: months._upsert(data, {}, tuple(data.split(b"\n")[0].decode().split(",")[2:])),
    "content": lambda data: gzip.decompress(content_records.to_bytes(content_records.from_bytes(gzip.compress(data)))),
    "incidents": lambda data: incident_records.pack(incident_records.unpack(data)),
}
"""Writes again what was read."""


def _cases(*, written: bool) -> list[Any]:
    found = []
    for kind in READ:
        for case in json.loads((GOLDEN / f"{kind}.json").read_text(encoding="utf-8")):
            data = case["data"].encode() if "data" in case else bytes.fromhex(case["hex"])
            if case.get("written") or not written:
                found.append(pytest.param(kind, data, case, id=f"{kind}: {case['case']}"))
    return found


@pytest.mark.parametrize(("kind", "data", "case"), _cases(written=False))
def test_stored_record_reads_the_same(kind: str, data: bytes, case: dict[str, Any]) -> None:
    if "error" in case:
        with pytest.raises(LakeError) as failure:
            READ[kind](data)
        assert failure.value.cause.word == case["error"]
    else:
        assert READ[kind](data) == case["value"]


@pytest.mark.parametrize(("kind", "data", "case"), _cases(written=True))
def test_stored_record_is_written_with_the_same_bytes(kind: str, data: bytes, case: dict[str, Any]) -> None:
    assert WRITE[kind](data) == data, case["case"]
