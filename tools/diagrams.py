"""I/O. Draws the life of an ExportJob from the table that decides it: docs/dev/states.md.

python tools/diagrams.py            writes the page
python tools/diagrams.py --check    says whether it is current
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

from viplake.extract.job import FINAL, TRANSITIONS, State
from viplake.lake.records import EventKind

PAGE: Final = Path(__file__).parents[1] / "docs" / "dev" / "states.md"

_HEAD: Final = """\
# The life of an ExportJob

Each arrow is an event of the Hour's ledger. What is not drawn cannot happen: it raises, and nothing is written.
This page is generated from the table in `src/viplake/extract/job.py` by `tools/diagrams.py`.

"""


def states_page() -> str:
    """The page as it should be."""
    arrows: dict[tuple[State, State], list[EventKind]] = {}
    for (before, kind), after in TRANSITIONS.items():
        arrows.setdefault((before, after), []).append(kind)
    order = {state: number for number, state in enumerate(State)}
    lines = ["stateDiagram-v2", f"    [*] --> {State.IDLE}"]
    for (before, after), kinds in sorted(arrows.items(), key=lambda item: (order[item[0][0]], order[item[0][1]])):
        lines.append(f"    {before} --> {after}: {', '.join(sorted(kinds))}")
    lines += [f"    {state} --> [*]" for state in State if state in FINAL]
    rows = [
        f"| {state} | " + " | ".join(str(TRANSITIONS.get((state, kind), "")) for kind in EventKind) + " |"
        for state in State
    ]
    table = [f"| state | {' | '.join(EventKind)} |", "|" + " --- |" * (len(EventKind) + 1), *rows]
    drawing = "\n".join(["```mermaid", *lines, "```"])
    return _HEAD + drawing + "\n\n## The same as a table\n\n" + "\n".join(table) + "\n"


def main(arguments: list[str]) -> int:
    """Write the page, or check it."""
    if arguments == ["--check"]:
        current = PAGE.exists() and PAGE.read_text() == states_page()
        sys.stderr.write("" if current else f"{PAGE.name} is not current: run python tools/diagrams.py\n")
        return 0 if current else 1
    PAGE.parent.mkdir(parents=True, exist_ok=True)
    PAGE.write_text(states_page())
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
