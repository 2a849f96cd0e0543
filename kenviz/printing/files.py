"""A printed figure as the bytes of a PNG or SVG: the same bytes whenever and wherever it is the same figure."""

from __future__ import annotations

import io
import re
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import matplotlib
import numpy as np
from bokeh.models import LayoutDOM
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from PIL import Image

from kenviz.printing.paper import Ink, Paper
from kenviz.printing.sheet import drawn

#: matplotlib's settings are of the whole process: one figure at a time.
_lock = threading.Lock()
_SETTINGS: Any = {
    "svg.fonttype": "none",  # text stays text: it can be searched, read aloud and edited
    "svg.hashsalt": "kenviz",
    "hatch.linewidth": 0.8,
    "path.simplify": True,
    "agg.path.chunksize": 0,
    "text.usetex": False,
    "text.hinting": "none",  # letters stand where they are measured, at any resolution
    "axes.unicode_minus": True,
}
# Verdana has the same widths, for whoever opens an SVG where the font is not installed.
_FONTS = "'DejaVu Sans', Verdana, sans-serif"


@contextmanager
def settings() -> Iterator[None]:
    """matplotlib's settings for a figure, whatever they are elsewhere."""
    with _lock, matplotlib.rc_context(_SETTINGS):
        yield


Figures = Sequence[tuple[LayoutDOM, str]]


def png(figures: Figures, paper: Paper, *, dpi: float, palette: str, theme: str, colours: int | None = None) -> bytes:
    """Figures with their captions as a PNG; with at most so many colours, if that is given, which takes less room."""
    with settings():
        figure = drawn(figures, paper.pixels, Ink(palette), theme=theme)
        canvas = FigureCanvasAgg(figure)
        figure.set_dpi(72 * paper.dots(dpi) / paper.pixels)
        canvas.draw()
        image = Image.fromarray(_opaque(canvas))
    if colours is not None:
        # A tenth of the time of the usual method, and no larger; but its white is not quite.
        paper_colour: Any = image.getpixel((0, 0))
        image = image.quantize(colours, Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)
        entry: Any = image.getpixel((0, 0))
        known = image.getpalette() or []
        image.putpalette([*known[: 3 * entry], *paper_colour, *known[3 * entry + 3 :]])
    elif palette == "grey":
        image = image.convert("L")
    file = io.BytesIO()
    image.save(file, "PNG", dpi=(dpi, dpi))
    return file.getvalue()


def _opaque(canvas: FigureCanvasAgg) -> Any:
    return np.ascontiguousarray(np.asarray(canvas.buffer_rgba())[..., :3])


def svg(figures: Figures, paper: Paper, *, palette: str, theme: str) -> str:
    """Figures with their captions as an SVG of the width of the paper."""
    file = io.StringIO()
    with settings():
        figure = drawn(figures, paper.pixels, Ink(palette), theme=theme)
        FigureCanvasSVG(figure).print_svg(file, metadata={"Date": None, "Creator": None})
    high = paper.millimetres(figure.get_size_inches()[1] * 72)
    size = f'width="{paper.width_mm:g}mm" height="{high:.2f}mm"'
    text = file.getvalue().replace("'DejaVu Sans'", _FONTS)
    return re.sub(r'(<svg\b[^>]*?) ?width="[^"]*pt" height="[^"]*pt"', rf"\1 {size}", text, count=1)
