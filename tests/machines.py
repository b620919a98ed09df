"""How long state machines go on: as long as a test may take, or, in the profile `soak`, twenty times as long.

HYPOTHESIS_PROFILE=soak python -m pytest tests/test_everything.py
"""

from __future__ import annotations

from hypothesis import settings

USUAL = 100
"""Examples of Hypothesis where nobody says otherwise: the profile's own number is measured by it."""


def at_length(examples: int, steps: int) -> settings:
    """So many examples of so many steps, times what the profile asks for."""
    asked = USUAL if settings.default is None else settings.default.max_examples
    return settings(
        max_examples=max(1, examples * asked // USUAL),
        stateful_step_count=steps,
        deadline=None,
    )
