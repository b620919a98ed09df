"""Faults as wrappers around a store: each keeps the port's promises but for the one it breaks.

A `Tripwire` counts the calls of everything that shares it (stores and a `FakeVendor` alike) and breaks chosen
ones, before or after they took effect: so that a crash enumerator can walk through every boundary of a run.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal

from viplake.errors import LakeError
from viplake.lake.refusals import lake_error
from viplake.lake.store import LARGEST_RECORD

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable
    from datetime import datetime

    from viplake.clock import Clock
    from viplake.lake.store import Page, Store
    from viplake.model import StoredFile

When = Literal["before", "during", "after"]


class Crash(BaseException):
    """The process died here: no `except Exception` may survive it."""


def lake_down() -> LakeError:
    """What a store says when it is out for a moment."""
    return LakeError("the store does not answer (injected)", cause="dest_unavailable")


def archived() -> LakeError:
    """What S3 says of an object that has to be restored before it can be read."""
    answer = "status code: 403: <Code>InvalidObjectState</Code><Message>not valid for its storage class</Message>"
    return lake_error(answer, "read a file")


def denied() -> LakeError:
    """What S3 says of an object of another account, in a bucket of which the others may be read."""
    return lake_error("status code: 403: <Code>AccessDenied</Code><Message>Access Denied</Message>", "read a file")


def kms() -> LakeError:
    """What S3 says of an object that is encrypted with a key that we may not use."""
    answer = "status code: 403: <Code>AccessDenied</Code><Message>not authorized to perform: kms:Decrypt</Message>"
    return lake_error(answer, "read a file")


Fault = Callable[[], LakeError]
WITHHOLDING: Sequence[Fault] = (archived, denied, kms)
"""What a store says of one object that it does not give, although it gives the others."""


@dataclass
class Tripwire:
    """Counts calls and breaks those from number `at` on.

    Attributes:
        at: the number (from 1) of the first matching call that breaks; None: only count.
        when: before or after the call took effect; `during`: inside the stream of a `put_stream`.
        error: what is raised instead of the answer.
        verbs: only calls of these verbs match; empty: all.
        about: only calls whose key (or file) holds this text match.
        times: how many matching calls break; None: all from there on, as for a process that is dead.
        calls: every matching call so far, `verb subject`.
    """

    at: int | None = None
    when: When = "before"
    error: Callable[[], BaseException] = Crash
    verbs: Iterable[str] = ()
    about: str = ""
    times: int | None = 1
    calls: list[str] = field(default_factory=list)

    def enter(self, verb: str, subject: str) -> Callable[[When], None]:
        """Count a call; the answer raises the error where this call is to break at that moment."""
        if (self.verbs and verb not in self.verbs) or self.about not in subject:
            return _pass
        self.calls.append(f"{verb} {subject}")
        number = len(self.calls)
        if self.at is None or number < self.at or (self.times is not None and number >= self.at + self.times):
            return _pass
        # A process that died after its call does not live to begin another one.
        moment = "before" if self.times is None and number > self.at else self.when

        def check(when: When) -> None:
            if when == moment:
                raise self.error()

        return check


def _pass(_when: When) -> None:
    """Nothing breaks."""


class Flaky:
    """A store whose calls break where its tripwires say."""

    def __init__(self, store: Store, *wires: Tripwire) -> None:
        self._store = store
        self._wires = wires

    def _enter(self, verb: str, subject: str) -> Callable[[When], None]:
        checks = [wire.enter(verb, subject) for wire in self._wires]

        def check(when: When) -> None:
            for one in checks:
                one(when)

        check("before")
        return check

    async def get(self, key: str, *, limit: int = LARGEST_RECORD) -> bytes | None:
        check = self._enter("get", key)
        answer = await self._store.get(key, limit=limit)
        check("after")
        return answer

    async def read(self, key: str) -> AsyncIterator[bytes]:
        check = self._enter("read", key)
        async for chunk in self._store.read(key):
            yield chunk
            check("during")
        check("after")

    async def put(self, key: str, data: bytes) -> StoredFile:
        check = self._enter("put", key)
        answer = await self._store.put(key, data)
        check("after")
        return answer

    async def put_if_absent(self, key: str, data: bytes) -> bool:
        check = self._enter("put_if_absent", key)
        answer = await self._store.put_if_absent(key, data)
        check("after")
        return answer

    async def put_stream(self, key: str, chunks: AsyncIterator[bytes]) -> StoredFile:
        check = self._enter("put_stream", key)

        async def checked() -> AsyncIterator[bytes]:
            async for chunk in chunks:
                yield chunk
                check("during")

        answer = await self._store.put_stream(key, checked())
        check("after")
        return answer

    async def files(self, prefix: str) -> list[StoredFile]:
        check = self._enter("files", prefix)
        answer = await self._store.files(prefix)
        check("after")
        return answer

    def left_out(self, prefix: str) -> list[str]:
        """See `Store`."""
        return self._store.left_out(prefix)

    async def pages(self, prefix: str) -> AsyncIterator[Page]:
        check = self._enter("pages", prefix)
        async for page in self._store.pages(prefix):
            yield page
            check("during")
        check("after")

    async def folders(self, prefix: str) -> list[str]:
        check = self._enter("folders", prefix)
        answer = await self._store.folders(prefix)
        check("after")
        return answer

    async def delete(self, key: str) -> None:
        check = self._enter("delete", key)
        await self._store.delete(key)
        check("after")

    async def sweep(self, prefix: str) -> list[str]:
        check = self._enter("sweep", prefix)
        answer = await self._store.sweep(prefix)
        check("after")
        return answer


class Counting(Flaky):
    """A store that only counts: `calls` lists them (`verb key`), `verbs` sums them up."""

    def __init__(self, store: Store) -> None:
        self._wire = Tripwire()
        super().__init__(store, self._wire)

    @property
    def calls(self) -> list[str]:
        return self._wire.calls

    @property
    def verbs(self) -> Counter[str]:
        return Counter(call.partition(" ")[0] for call in self.calls)


class Stamped(Flaky):
    """A store whose listings show when an object was written by an injected clock.

    What was written around it keeps the store's own stamp: two workers share one `Stamped`, each with its own
    `Flaky` around it.
    """

    def __init__(self, store: Store, clock: Clock) -> None:
        super().__init__(store)
        self._clock = clock
        self._stamps: dict[str, datetime] = {}

    async def put(self, key: str, data: bytes) -> StoredFile:
        answer = await super().put(key, data)
        self._stamps[key] = self._clock.now()
        return answer

    async def put_if_absent(self, key: str, data: bytes) -> bool:
        won = await super().put_if_absent(key, data)
        if won:
            self._stamps[key] = self._clock.now()
        return won

    async def put_stream(self, key: str, chunks: AsyncIterator[bytes]) -> StoredFile:
        answer = await super().put_stream(key, chunks)
        self._stamps[key] = self._clock.now()
        return answer

    async def files(self, prefix: str) -> list[StoredFile]:
        return [
            replace(file, modified=self._stamps.get(file.key, file.modified)) for file in await super().files(prefix)
        ]
