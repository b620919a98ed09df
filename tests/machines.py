"""How long state machines go on: as long as a test may take, or, in the profile `soak`, twenty times as long.

HYPOTHESIS_PROFILE=soak python -m pytest tests/test_everything.py
"""

from __future__ import annotations

from hypothesis import Phase, settings

USUAL = 100
"""Examples of Hypothesis where nobody says otherwise: the profile's own number is measured by it."""


def at_length(examples: int, steps: int, *, heavy: bool = False) -> settings:
    """So many examples of so many steps, times what the profile asks for.

    Where one example is `heavy`, making a failing one smaller takes longer than a test may: the usual profile prints
    it as it was found, with all its steps; `soak` shrinks it.
    """
    asked = USUAL if settings.default is None else settings.default.max_examples
    as_found = (Phase.explicit, Phase.reuse, Phase.generate, Phase.target)
    return settings(
        max_examples=max(1, examples * asked // USUAL),
        stateful_step_count=steps,
        deadline=None,
        phases=as_found if heavy and asked <= USUAL else tuple(Phase),
    )
