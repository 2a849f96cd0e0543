"""The outlines of Bokeh's markers, one unit wide, and how its dashes and hatches are called in matplotlib."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.path import Path

from kenviz.printing.known import UnprintableError


def _polygon(points: Sequence[tuple[float, float]]) -> Path:
    return Path([*points, points[0]], closed=True)


def _strokes(lines: Sequence[tuple[float, float, float, float]]) -> Path:
    points = [point for x0, y0, x1, y1 in lines for point in ((x0, y0), (x1, y1))]
    return Path(points, [Path.MOVETO, Path.LINETO] * len(lines))


def _around(corners: int, turn: float, radii: Sequence[float]) -> Path:
    """A polygon around the middle, whose corners lie at the radii in turn."""
    angles = turn + 2 * math.pi * np.arange(corners) / corners
    far = np.resize(np.asarray(radii), corners)
    return _polygon(list(zip((far * np.cos(angles)).tolist(), (far * np.sin(angles)).tolist(), strict=True)))


_TALL = math.sqrt(3) / 2
_ARM = 0.2
#: The outline of each marker; those without a surface are strokes.
MARKERS = {
    "circle": Path.circle(radius=0.5),
    "square": _polygon([(-0.5, -0.5), (0.5, -0.5), (0.5, 0.5), (-0.5, 0.5)]),
    "triangle": _polygon([(-0.5, -_TALL / 3), (0.5, -_TALL / 3), (0, _TALL * 2 / 3)]),
    "inverted_triangle": _polygon([(-0.5, _TALL / 3), (0.5, _TALL / 3), (0, -_TALL * 2 / 3)]),
    "diamond": _polygon([(0, 0.5), (1 / 3, 0), (0, -0.5), (-1 / 3, 0)]),
    "hex": _around(6, math.pi / 2, [0.5]),
    "star": _around(10, math.pi / 2, [0.5, 0.22]),
    "plus": _polygon(
        [
            *((-_ARM, 0.5), (_ARM, 0.5), (_ARM, _ARM), (0.5, _ARM), (0.5, -_ARM), (_ARM, -_ARM)),
            *((_ARM, -0.5), (-_ARM, -0.5), (-_ARM, -_ARM), (-0.5, -_ARM), (-0.5, _ARM), (-_ARM, _ARM)),
        ]
    ),
    "x": _strokes([(-0.35, -0.35, 0.35, 0.35), (-0.35, 0.35, 0.35, -0.35)]),
    "dash": _strokes([(-0.5, 0, 0.5, 0)]),
}
_OPEN = {"x", "dash"}


def marker(name: str, angle: float) -> tuple[Path, bool]:
    """The outline of a marker, turned, and whether it has a surface."""
    if name not in MARKERS:
        raise UnprintableError(f"the marker {name!r} cannot be printed")
    path, turn = MARKERS[name], np.array([[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]])
    return (path if angle == 0 else Path(np.asarray(path.vertices) @ turn, path.codes)), name not in _OPEN


_DASHES: dict[str, tuple[float, ...]] = {
    "solid": (),
    "dashed": (6,),
    "dotted": (2, 4),
    "dotdash": (2, 4, 6, 4),
    "dashdot": (6, 4, 2, 4),
}


def dashes(pattern: Any, width: float) -> tuple[float, tuple[float, ...] | None]:
    """A pattern of Bokeh as matplotlib takes it, whose dashes are in widths of the line.

    >>> dashes("dotted", 2), dashes([6], 1), dashes("12 5", 1), dashes("solid", 1)
    ((0, (1.0, 2.0)), (0, (6.0, 6.0)), (0, (12.0, 5.0)), (0, None))
    """
    if isinstance(pattern, str):
        steps = _DASHES[pattern] if pattern in _DASHES else tuple(float(part) for part in pattern.split())
    else:
        steps = tuple(pattern or ())
    steps = steps * 2 if len(steps) % 2 else steps
    return 0, tuple(step / max(width, 0.1) for step in steps) or None


#: The hatch of matplotlib by that of Bokeh; None is none.
_HATCHES = {"/": "//", "right_diagonal_line": "//", " ": None, None: None, "blank": None}


def hatch(pattern: str | None, scale: float) -> str | None:
    """A pattern of lines, the denser the smaller its scale."""
    if pattern not in _HATCHES:
        raise UnprintableError(f"the hatch {pattern!r} cannot be printed")
    lines = _HATCHES[pattern]
    return lines and lines[0] * max(2, round(48 / scale))
