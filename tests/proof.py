"""I/O. The counts that docs/dev/proof.md shows: each command that counts something leaves them as one JSON file.

`docs/dev/proof/NAME.json` holds what was counted, when, on what machine and by which command; `tools/docs.py` makes the
page of all of them. A test says what it counted to the fixture `proof`, a program calls `write`:

    python -m pytest tests/crashes --proof crashes         # docs/dev/proof/crashes.json, where all passed
    write("soak", "make soak", [Figure("Hours", 1000, least=1000)])
"""

from __future__ import annotations

import json
import os
import platform
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

FOLDER: Final = Path(__file__).parents[1] / "docs" / "dev" / "proof"


@dataclass(frozen=True, slots=True)
class Figure:
    """One count.

    Attributes:
        what: is counted, in a few words.
        figure: how many.
        least, most: what it is to be; None: no matter.
    """

    what: str
    figure: float
    least: float | None = None
    most: float | None = None

    @property
    def reached(self) -> bool:
        """Whether it is what it is to be."""
        return (self.least is None or self.figure >= self.least) and (self.most is None or self.figure <= self.most)


def added(figures: Iterable[Figure]) -> list[Figure]:
    """The same with those of one name made one: several tests count towards it."""
    sums: dict[str, Figure] = {}
    for one in figures:
        known = sums.get(one.what)
        total = one.figure + (known.figure if known else 0)
        sums[one.what] = Figure(one.what, total, one.least, one.most)
    return list(sums.values())


def write(name: str, command: str, figures: Iterable[Figure], folder: Path = FOLDER) -> Path:
    """Leave the counts of one command.

    Args:
        name: of the file.
        command: what gives them again.
        figures: in the order in which they are shown.
        folder: where they lie.

    Returns:
        Where they lie now.
    """
    record = {
        "command": command,
        "measured": f"{datetime.now(UTC):%Y-%m-%d}",
        "machine": f"{os.cpu_count()} cores, Python {platform.python_version()}",
        "figures": [{key: value for key, value in asdict(one).items() if value is not None} for one in added(figures)],
    }
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.json"
    path.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    return path


def read(folder: Path = FOLDER) -> dict[str, list[Figure]]:
    """All figures on record, by the name of their file."""
    return {
        path.stem: [Figure(**one) for one in json.loads(path.read_text(encoding="utf-8"))["figures"]]
        for path in sorted(folder.glob("*.json"))
    }
