"""Fuzzing of every parser of outside data, guided by the lines of viplake that an input reaches.

::

    python tools/fuzz.py --seconds 600                   # all parsers in turn
    python tools/fuzz.py --seconds 60 --only incidents   # those whose name holds this
    python tools/fuzz.py --write                         # and put the figures into docs/dev/proof/fuzz.json

An input that reaches a line that none before it reached is kept, and spoiled further. A finding is an error that the
parser does not document, a value that is not what it declares or is not read back the same after it was written, or
`SLOW` seconds of CPU for at most 64 KiB. It is printed with its input, which is also left in `.fuzz/`.
"""

from __future__ import annotations

import argparse
import faulthandler
import hashlib
import os
import random
import sys
import time
import traceback
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

ROOT: Final = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests"))

from fuzzing.mutations import variant  # noqa: E402 - the tests are no package
from fuzzing.targets import TARGETS, Refused  # noqa: E402 - as above
from proof import Figure, write  # noqa: E402 - as above

if TYPE_CHECKING:
    from types import CodeType, FrameType

    from fuzzing.targets import Target

SLOW: Final = 2.0
"""Seconds of CPU; the slowest that is known to be right takes a tenth of it."""

HUNG: Final = 120
"""Seconds after which an input that does not come back ends the program, with the place where it hangs."""

TURN: Final = 2.0
"""Seconds that a parser has before the next one's turn."""

TRACED: Final = 4
"""Of so many inputs one is followed line by line, which takes five times as long."""

OURS: Final = f"{os.sep}viplake{os.sep}"


@dataclass
class Campaign:
    """The fuzzing of one parser.

    Attributes:
        target: the parser.
        corpus: its good input, and every input that reached something new.
        lines: that were reached.
        executions, refused: how many inputs were read, and how many of them refused.
        findings: the first input of each kind.
        slowest: seconds of CPU.
        late: executions since something new was reached.
    """

    target: Target
    corpus: list[bytes]
    lines: set[tuple[CodeType, int]] = field(default_factory=set)
    executions: int = 0
    refused: int = 0
    findings: dict[str, bytes] = field(default_factory=dict)
    slowest: float = 0.0

    def turn(self, rng: random.Random, seconds: float, last: int) -> None:
        """Read inputs for so long; each is left in the file `last` first, for the case that it never ends."""
        until = time.monotonic() + seconds
        faulthandler.dump_traceback_later(HUNG, exit=True)
        while time.monotonic() < until:
            data = variant(rng, self.corpus)
            os.ftruncate(last, os.pwrite(last, data, 0))
            self.read(data)
        faulthandler.cancel_dump_traceback_later()

    def read(self, data: bytes) -> None:
        """Read one input."""
        self.executions += 1
        before = len(self.lines)
        start = time.process_time()
        if self.executions % TRACED == 1:
            sys.settrace(self._called)
        try:
            self.target.run(data)
        except Refused:
            self.refused += 1
        except Exception as error:  # noqa: BLE001 - whatever it is, it is a finding
            sys.settrace(None)
            self._found(_kind(error), data, "".join(traceback.format_exception(error)[-4:]))
        finally:
            sys.settrace(None)
        took = time.process_time() - start
        self.slowest = max(self.slowest, took)
        if took > SLOW:
            self._found("slow", data, f"it took {took:.1f} s of CPU")
        if len(self.lines) > before:
            self.corpus.append(data)

    def _called(self, frame: FrameType, _event: str, _arg: Any) -> Any:
        return self._reached if OURS in frame.f_code.co_filename else None

    def _reached(self, frame: FrameType, event: str, _arg: Any) -> Any:
        if event == "line":
            self.lines.add((frame.f_code, frame.f_lineno))
        return self._reached

    def _found(self, kind: str, data: bytes, detail: str) -> None:
        if kind in self.findings:
            return
        self.findings[kind] = data
        place = ROOT / ".fuzz" / f"{self.target.name.replace(' ', '-')}-{hashlib.sha256(data).hexdigest()[:12]}"
        place.write_bytes(data)
        print(f"\nFINDING {self.target.name}: {kind}\n{detail}{place.relative_to(ROOT)}: {data[:400]!r}\n", flush=True)


def _kind(error: Exception) -> str:
    """What makes two findings the same: the error and where it was raised."""
    places = [frame for frame in traceback.extract_tb(error.__traceback__) if "fuzz.py" not in frame.filename]
    return f"{type(error).__name__} in {places[-1].name}:{places[-1].lineno}"


def main() -> int:
    """Fuzz; 1 where something was found."""
    options = argparse.ArgumentParser(description="Fuzz every parser of outside data.")
    options.add_argument("--seconds", type=float, default=60, help="how long, all parsers together")
    options.add_argument("--only", default="", help="parsers whose name holds this")
    options.add_argument("--seed", type=int, default=None, help="of chance; none: another each time")
    options.add_argument("--write", action="store_true", help="put the figures into docs/dev/proof/fuzz.json")
    given = options.parse_args()
    (ROOT / ".fuzz").mkdir(exist_ok=True)
    seed = random.SystemRandom().randrange(2**32) if given.seed is None else given.seed
    rng = random.Random(seed)  # noqa: S311 - nothing is secret here
    campaigns = [Campaign(t, list(t.seeds)) for name, t in TARGETS.items() if given.only in name]
    last = os.open(ROOT / ".fuzz" / "last", os.O_RDWR | os.O_CREAT, 0o600)
    start = time.monotonic()
    with suppress(KeyboardInterrupt):
        while (left := given.seconds - (time.monotonic() - start)) > 0:
            for campaign in campaigns:
                campaign.turn(rng, min(TURN, left / len(campaigns)), last)
    seconds = round(time.monotonic() - start)
    for campaign in campaigns:
        print(
            f"{campaign.target.name:45} {campaign.executions:9,} inputs {campaign.refused:9,} refused"
            f" {len(campaign.lines):6,} lines {len(campaign.findings):3} findings"
        )
    executions, findings = (sum(c.executions for c in campaigns), sum(len(c.findings) for c in campaigns))
    print(f"{executions:,} inputs in {seconds} s, seed {seed}: {findings} findings")
    if given.write:
        _write(campaigns, seconds, findings)
    return 1 if findings else 0


def _write(campaigns: list[Campaign], seconds: int, findings: int) -> None:
    """The figures, for docs/dev/proof.md."""
    figures = [
        Figure("parsers of outside data", len(campaigns), least=len(TARGETS)),
        Figure("inputs that they were given", sum(campaign.executions for campaign in campaigns), least=100_000),
        Figure("seconds that took", seconds, least=600),
        Figure("errors that no parser documents, values that cannot be, hangs", findings, most=0),
    ]
    write("fuzz", f"make fuzz ARGS='--seconds {seconds} --write'", figures)


if __name__ == "__main__":
    sys.exit(main())
