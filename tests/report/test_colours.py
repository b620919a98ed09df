"""Outcomes, states and owners in the report differ for colour-blind eyes too, on a light and on a dark ground.

Colour blindness is simulated with the matrices of Machado, Oliveira and Fernandes (2009), severity 1, in linear RGB.
The distance is that of CIELAB (CIE 1976), where about 2 is just visible side by side.
"""

from __future__ import annotations

import itertools
import math

import pytest

from viplake.report import figures, quality_figures, tables

_EYES = {
    "usual": ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)),
    "protanopia": (
        (0.152286, 1.052583, -0.204868),
        (0.114503, 0.786281, 0.099216),
        (-0.003882, -0.048116, 1.051998),
    ),
    "deuteranopia": (
        (0.367322, 0.860646, -0.227968),
        (0.280085, 0.672501, 0.047413),
        (-0.011820, 0.042940, 0.968881),
    ),
    "tritanopia": (
        (1.255528, -0.076749, -0.178779),
        (-0.078411, 0.930809, 0.147602),
        (0.004733, 0.691367, 0.303900),
    ),
}
_XYZ = ((0.4124564, 0.3575761, 0.1804375), (0.2126729, 0.7151522, 0.0721750), (0.0193339, 0.1191920, 0.9503041))
_WHITE = (0.95047, 1.0, 1.08883)

LEAST = {"usual": 20, "protanopia": 20, "deuteranopia": 20, "tritanopia": 15}
"""Least distance of two colours: ten times what is just visible, seven times for tritanopia, which is very rare."""

GROUPS = {
    "outcomes": dict(zip(tables.OUTCOMES, figures.OUTCOME_COLOURS, strict=True)),
    "states of a table": dict(zip(tables.TABLE_STATES, figures.STATE_COLOURS, strict=True)),
    "owners": quality_figures.OWNERS,
}


def _numbers(colour: str) -> tuple[float, ...]:
    if colour.startswith("rgb("):
        return tuple(int(part) / 255 for part in colour[4:-1].split(","))
    return tuple(int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5))


def _times(matrix: tuple[tuple[float, ...], ...], vector: tuple[float, ...]) -> tuple[float, ...]:
    return tuple(sum(a * b for a, b in zip(row, vector, strict=True)) for row in matrix)


def seen(colour: str, eye: str) -> tuple[float, float, float]:
    """The CIELAB coordinates of a colour as such an eye sees it."""
    linear = tuple(x / 12.92 if x <= 0.04045 else ((x + 0.055) / 1.055) ** 2.4 for x in _numbers(colour))
    shown = tuple(min(max(x, 0.0), 1.0) for x in _times(_EYES[eye], linear))
    x, y, z = (
        t ** (1 / 3) if t > 216 / 24389 else (24389 / 27 * t + 16) / 116
        for t in (part / white for part, white in zip(_times(_XYZ, shown), _WHITE, strict=True))
    )
    return 116 * y - 16, 500 * (x - y), 200 * (y - z)


def test_simulated_eyes_confuse_what_they_are_known_to_confuse() -> None:
    assert math.dist(seen("#ff0000", "usual"), seen("#00ff00", "usual")) == pytest.approx(170.6, abs=0.5)
    red, green = "#b4513c", "#6f7a2f"
    assert math.dist(seen(red, "usual"), seen(green, "usual")) > 50
    assert math.dist(seen(red, "deuteranopia"), seen(green, "deuteranopia")) < 20
    assert seen("#808080", "protanopia") == pytest.approx(seen("#808080", "usual"), abs=0.5)


@pytest.mark.parametrize("eye", _EYES)
@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("group", GROUPS)
def test_colours_of_a_figure_are_far_apart_for_every_eye(group: str, theme: str, eye: str) -> None:
    colours = {
        name: figures.DARK.get(colour, colour) if theme == "dark" else colour for name, colour in GROUPS[group].items()
    }
    close = {
        (one, other): round(distance, 1)
        for one, other in itertools.combinations(colours, 2)
        if (distance := math.dist(seen(colours[one], eye), seen(colours[other], eye))) < LEAST[eye]
    }
    assert not close
