"""Mutation testing of the parts where a wrong sign costs an Hour: would the tests notice?

::

    python tools/mutants.py                 # what was not tried since the source changed; five minutes from nothing
    python tools/mutants.py --survivors     # those that survived once more, after tests were written
    python tools/mutants.py --show          # what survives, as diffs; nothing is run
    python tools/mutants.py --write         # and put the figures into docs/dev/proof/mutants.json

`[tool.mutmut]` in pyproject.toml says which code is mutated and which tests run; mutmut works in `mutants/`.
A mutant that runs into its time limit counts as noticed if it does so again, alone; one that no test reaches does not.
docs/dev/mutants.md says what may survive, and why.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests"))

from proof import Figure, write  # noqa: E402 - the tests are no package

MUTMUT: Final = (sys.executable, "-m", "mutmut")
SURROUNDINGS: Final = {"HYPOTHESIS_PROFILE": "mutants", "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
"""The same examples each time, and of pytest's plugins those alone that `[tool.mutmut]` names."""

LEAST: Final = 90.0
"""Percent of a module's mutants that the tests are to notice."""

KILLED: Final = frozenset({1, 3})
"""What the tests end with when one of them fails (pytest: 1 a test, 3 its own error)."""

STOPPED: Final = frozenset({36, 24, -24, 152})
"""mutmut's words for a mutant that did not come to an end. 255 is also its word for a trial that failed by itself."""

SPENT: Final = ROOT / "mutants" / "seconds"
"""How long all trials took that are on record; mutmut itself does not time those of a fork server."""


@dataclass(frozen=True)
class Score:
    """What became of a module's mutants.

    Attributes:
        module: its path below src/viplake.
        killed: noticed.
        stopped: noticed by its time limit, by name.
        survived: not noticed, by name: no test failed, or none reached it.
        untried: not tried yet.
    """

    module: str
    killed: int
    stopped: tuple[str, ...]
    survived: tuple[str, ...]
    untried: int

    @property
    def total(self) -> int:
        """All mutants that were tried."""
        return self.killed + len(self.stopped) + len(self.survived)

    @property
    def percent(self) -> float:
        """Of those that were tried, how many were noticed, rounded down."""
        return (self.killed + len(self.stopped)) * 1000 // max(self.total, 1) / 10


def read_scores() -> list[Score]:
    """What is on record in `mutants/`."""
    modules = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["mutmut"]["only_mutate"]
    return [_score(module) for module in modules]


def _score(module: str) -> Score:
    codes = json.loads((ROOT / "mutants" / f"{module}.meta").read_text())["exit_code_by_key"]
    return Score(
        module.removeprefix("src/viplake/"),
        sum(code in KILLED for code in codes.values()),
        tuple(name for name, code in codes.items() if code in STOPPED),
        tuple(name for name, code in codes.items() if code is not None and code not in KILLED | STOPPED),
        sum(code is None for code in codes.values()),
    )


def _try(*names: str, children: int) -> None:
    """Try these mutants, or all that were not tried, and count what it takes."""
    words = (*MUTMUT, "run", "--max-children", str(children), *names)
    environ = os.environ | SURROUNDINGS  # noqa: TID251 - a tool hands its environment on
    started = time.monotonic()
    subprocess.run(words, cwd=ROOT, env=environ, check=True)  # noqa: S603 - our own words
    before = float(SPENT.read_text()) if SPENT.exists() else 0.0
    SPENT.write_text(f"{before + time.monotonic() - started:.0f}\n")


def main() -> int:
    """Try mutants; 1 where too many of a module survive."""
    options = argparse.ArgumentParser(description="Would the tests notice?")
    options.add_argument("--survivors", action="store_true", help="try those that survived once more")
    options.add_argument("--show", action="store_true", help="show what survives, run nothing")
    options.add_argument("--write", action="store_true", help="put the figures into docs/dev/proof/mutants.json")
    options.add_argument("--children", type=int, default=2, help="how many at once")
    given = options.parse_args()
    if given.show:
        for score in read_scores():
            for name in score.survived:
                subprocess.run([*MUTMUT, "show", name], cwd=ROOT, check=True)  # noqa: S603 - our own words
        return 0
    _try(children=given.children)
    if given.survivors and (names := [name for score in read_scores() for name in score.survived]):
        _try(*names, children=given.children)
    # On a busy machine a limit may be met by what merely waited.
    if names := [name for score in read_scores() for name in score.stopped]:
        _try(*names, children=1)
    scores = read_scores()
    for score in scores:
        print(
            f"{score.module:25} {score.percent:5} % of {score.total:4} noticed: {score.killed} killed,"
            f" {len(score.stopped)} stopped, {len(score.survived)} survived, {score.untried} not tried"
        )
    if given.write:
        _write(scores)
    return 1 if any(score.percent < LEAST or score.untried for score in scores) else 0


def _write(scores: list[Score]) -> None:
    """The figures, for docs/dev/proof.md."""
    figures = [Figure(f"percent noticed in {score.module}", score.percent, least=LEAST) for score in scores]
    figures += [
        Figure("mutants", sum(score.total for score in scores)),
        Figure("of them killed", sum(score.killed for score in scores)),
        Figure("of them stopped at their time limit", sum(len(score.stopped) for score in scores)),
        Figure("of them survived", sum(len(score.survived) for score in scores)),
        Figure("seconds that the trials took", float(SPENT.read_text())),
    ]
    write("mutants", "make mutants ARGS=--write", figures)


if __name__ == "__main__":
    sys.exit(main())
