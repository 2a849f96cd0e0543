"""What is drawn of data: each glyph of Bokeh that our figures have, as artists in the axes of its plot."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from bokeh.models import FactorRange, glyphs
from bokeh.models.renderers import GlyphRenderer
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection, PathCollection, PolyCollection
from matplotlib.text import Text
from matplotlib.transforms import IdentityTransform, ScaledTranslation
from numpy.typing import NDArray

from kenviz.printing.known import UnprintableError, require
from kenviz.printing.lettering import Font, pixels
from kenviz.printing.paper import Ink
from kenviz.printing.shapes import dashes, hatch, marker
from kenviz.printing.values import Data, mapped

_LINE = {"line_color", "line_alpha", "line_width", "line_dash"}
_FILL = {"fill_color", "fill_alpha"}
_HATCH = {"hatch_color", "hatch_alpha", "hatch_scale", "hatch_pattern"}
_WORDS = {"text_color", "text_alpha", "text_font_size", "text_font_style", "text_align", "text_baseline"}
#: A pixel of the layout is a point of the drawing.
_DPI = 72.0


def draw(axes: Axes, renderer: GlyphRenderer, ink: Ink, *, spans: tuple[Any, Any]) -> None:
    """Draw what a renderer shows, with what is selected as it is shown; spans are the ranges of x and y."""
    require(renderer, {"data_source", "view", "glyph", "visible", *_OTHERS})
    if not renderer.visible:
        return
    source: Any = renderer.data_source
    glyph: Any = renderer.glyph
    everything = Data(glyph, source, ink)
    _drawer(glyph)(axes, everything, spans)
    picked, special = list(source.selected.indices), renderer.selection_glyph
    if picked and not isinstance(special, str | None):
        _drawer(special)(axes, Data(special, source, ink, some=np.array(picked)), spans)


#: How glyphs look when they are pointed at, muted, or not among what is selected. Figures that select anything have
#: set what is not selected to be as it is.
_OTHERS = {"nonselection_glyph", "selection_glyph", "muted_glyph", "hover_glyph"}


def _drawer(glyph: Any) -> Callable[[Axes, Data, tuple[Any, Any]], None]:
    for kind, (known, drawer) in _DRAWERS.items():
        if type(glyph) is kind:
            require(glyph, known)  # type: ignore[arg-type]
            return drawer
    raise UnprintableError(f"a {type(glyph).__name__} cannot be printed")


# ---- surfaces


def _quads(axes: Axes, data: Data, spans: tuple[Any, Any]) -> None:
    _boxes(axes, data, [data.numbers(name) for name in ("left", "right", "bottom", "top")])


def _bars(axes: Axes, data: Data, spans: tuple[Any, Any]) -> None:
    x, half = data.places("x", spans[0]), data.numbers("width") / 2
    _boxes(axes, data, [x - half, x + half, data.numbers("bottom"), data.numbers("top")])


def _rects(axes: Axes, data: Data, spans: tuple[Any, Any]) -> None:
    x, y = data.places("x", spans[0]), data.places("y", spans[1])
    across, down = data.numbers("width") / 2, data.numbers("height") / 2
    _boxes(axes, data, [x - across, x + across, y - down, y + down])


def _boxes(axes: Axes, data: Data, edges: list[NDArray[np.float64]]) -> None:
    left, right, bottom, top = edges
    corners = [(left, bottom), (right, bottom), (right, top), (left, top)]
    shapes = np.stack([np.stack(corner, axis=-1) for corner in corners], axis=1).reshape(-1, 4, 2)
    _surfaces(axes, data, list(shapes))


def _patches(axes: Axes, data: Data, spans: tuple[Any, Any]) -> None:
    shapes = [np.stack(pair, axis=-1) for pair in zip(data.raw("xs"), data.raw("ys"), strict=True)]
    _surfaces(axes, data, [np.asarray(shape, dtype=float) for shape in shapes])


def _surfaces(axes: Axes, data: Data, shapes: list[Any]) -> None:
    if not shapes:
        return
    fill, line = data.colours("fill"), data.colours("line")
    # Where nothing is drawn around a surface, its neighbour begins at the same pixel: no seam shows through.
    seamless = not line[:, 3].any() and bool((fill[:, 3] == 1).all())
    edges, width = (fill, np.full(len(fill), 0.2)) if seamless else (line, data.numbers("line_width"))
    drawn = PolyCollection(shapes, facecolors=fill, edgecolors=edges, linewidths=width)
    drawn.set_linestyle(dashes(data.one("line_dash"), 1.0))  # type: ignore[arg-type]
    axes.add_collection(drawn, autolim=False)
    patterns = [None if not p or p in (" ", "blank") else p for p in data.raw("hatch_pattern")]
    for pattern in sorted({p for p in patterns if p}):
        those = [i for i, p in enumerate(patterns) if p == pattern]
        hatched = PolyCollection([shapes[i] for i in those], facecolors="none", linewidths=0)
        hatched.set_edgecolor(data.colours("hatch")[those[0]])
        hatched.set_hatch(hatch(pattern, float(data.one("hatch_scale") or 12)) or "")
        axes.add_collection(hatched, autolim=False)


# ---- lines


def _segments(axes: Axes, data: Data, spans: tuple[Any, Any]) -> None:
    start = np.stack([data.places("x0", spans[0]), data.places("y0", spans[1])], axis=-1)
    end = np.stack([data.places("x1", spans[0]), data.places("y1", spans[1])], axis=-1)
    lines = np.stack([start, end], axis=1)
    known = np.asarray(np.isfinite(lines).all(axis=(1, 2)), dtype=bool)
    _strokes(axes, data, list(lines[known]), which=known)


def _line(axes: Axes, data: Data, spans: tuple[Any, Any]) -> None:
    points = np.stack([data.places("x", spans[0]), data.places("y", spans[1])], axis=-1)
    if len(points):
        first = np.zeros(len(points), dtype=bool)
        first[0] = True
        _strokes(axes, data, [points], which=first)


def _lines(axes: Axes, data: Data, spans: tuple[Any, Any]) -> None:
    pairs = zip(data.raw("xs"), data.raw("ys"), strict=True)
    _strokes(axes, data, [np.stack(pair, axis=-1).astype(float) for pair in pairs], which=np.ones(data.count, bool))


def _strokes(axes: Axes, data: Data, lines: list[Any], *, which: NDArray[np.bool_]) -> None:
    if not lines:
        return
    colours, widths = data.colours("line")[which], data.numbers("line_width")[which]
    patterns = [pattern for pattern, shown in zip(data.raw("line_dash"), which, strict=True) if shown]
    styles: Any = [dashes(pattern, width) for pattern, width in zip(patterns, widths, strict=True)]
    drawn = LineCollection(lines, colors=colours, linewidths=widths, linestyles=styles, capstyle="butt")
    axes.add_collection(drawn, autolim=False)


# ---- marks and words


def _marks(axes: Axes, data: Data, spans: tuple[Any, Any]) -> None:
    x, y = data.places("x", spans[0]), data.places("y", spans[1])
    names, known = np.array(data.raw("marker"), dtype=object), np.isfinite(x) & np.isfinite(y)
    angle, sizes = float(data.one("angle") or 0), data.numbers("size")
    fill, line, width = data.colours("fill"), data.colours("line"), data.numbers("line_width")
    for name in dict.fromkeys(names.tolist()):
        those = known & (names == name)
        if those.any():
            outline, full = marker(name, angle)
            marks = PathCollection(
                [outline],
                sizes=sizes[those] ** 2,
                facecolors=fill[those] if full else "none",
                edgecolors=line[those],
                linewidths=width[those],
                offsets=np.stack([x[those], y[those]], axis=-1),
                offset_transform=axes.transData,
            )
            marks.set_transform(IdentityTransform())
            axes.add_collection(marks, autolim=False)


def _texts(axes: Axes, data: Data, spans: tuple[Any, Any]) -> None:
    x, y, colours = data.places("x", spans[0]), data.places("y", spans[1]), data.colours("text")
    size, style = data.one("text_font_size"), data.one("text_font_style")
    across, upright = (
        data.one("text_align"),
        {"middle": "center"}.get(data.one("text_baseline"), data.one("text_baseline")),
    )
    if not data.count:
        return
    down = float(data.one("y_offset") or 0)
    moved = axes.transData + ScaledTranslation(0, -down / _DPI, axes.figure.dpi_scale_trans)
    font = Font(pixels(size), style).properties()
    for at_x, at_y, words, colour in zip(x, y, data.raw("text"), colours, strict=True):
        label = Text(at_x, at_y, str(words), color=tuple(colour), parse_math=False, fontproperties=font)
        label.set(horizontalalignment=across, verticalalignment=upright, clip_on=True, transform=moved)
        axes.add_artist(label)


# ---- images


def _image(axes: Axes, data: Data, spans: tuple[Any, Any]) -> None:
    for at, values in enumerate(data.raw("image")):
        _picture(axes, data, at, colours=mapped(np.asarray(values), data.glyph.color_mapper, data.ink))


def _image_rgba(axes: Axes, data: Data, spans: tuple[Any, Any]) -> None:
    for at, values in enumerate(data.raw("image")):
        packed = np.ascontiguousarray(values, dtype="<u4")
        shares = packed.view(np.uint8).reshape(*packed.shape, 4) / 255
        colours = {tuple(c): data.ink.rgba(tuple(c[:3]), c[3]) for c in np.unique(shares.reshape(-1, 4), axis=0)}
        flat = [colours[tuple(c)] for c in shares.reshape(-1, 4)]
        _picture(axes, data, at, colours=np.array(flat).reshape(shares.shape))


def _picture(axes: Axes, data: Data, at: int, *, colours: NDArray[np.float64]) -> None:
    x, y, across, down = (float(data.numbers(name)[at]) for name in ("x", "y", "dw", "dh"))
    limits = axes.get_xlim(), axes.get_ylim()
    image = (colours * 255).round().astype(np.uint8)
    axes.imshow(image, extent=(x, x + across, y, y + down), origin="lower", interpolation="none", aspect="auto")
    axes.set(xlim=limits[0], ylim=limits[1])


_PLACE = {"x", "y"}
_DRAWERS: dict[type, tuple[set[str], Callable[[Axes, Data, tuple[Any, Any]], None]]] = {
    glyphs.Quad: ({"left", "right", "bottom", "top", *_LINE, *_FILL, *_HATCH}, _quads),
    glyphs.VBar: ({"x", "width", "bottom", "top", *_LINE, *_FILL, *_HATCH}, _bars),
    glyphs.Rect: ({*_PLACE, "width", "height", *_LINE, *_FILL, *_HATCH}, _rects),
    glyphs.Patches: ({"xs", "ys", *_LINE, *_FILL, *_HATCH}, _patches),
    glyphs.Segment: ({"x0", "y0", "x1", "y1", *_LINE}, _segments),
    glyphs.Line: ({*_PLACE, *_LINE}, _line),
    glyphs.MultiLine: ({"xs", "ys", *_LINE}, _lines),
    # Bokeh sets the hatch of a mark to its colour, and no pattern.
    glyphs.Scatter: ({*_PLACE, "size", "angle", "marker", "hatch_color", "hatch_alpha", *_LINE, *_FILL}, _marks),
    glyphs.Text: ({*_PLACE, "text", "y_offset", *_WORDS}, _texts),
    glyphs.Image: ({*_PLACE, "dw", "dh", "image", "color_mapper"}, _image),
    glyphs.ImageRGBA: ({*_PLACE, "dw", "dh", "image"}, _image_rgba),
}


def sample(axes: Axes, renderer: GlyphRenderer, ink: Ink, *, box: tuple[float, float, float, float]) -> None:
    """Draw what stands in a legend for a renderer into a box (left, bottom, width, height) of axes in pixels."""
    left, bottom, width, height = box
    glyph, middle = renderer.glyph, bottom + height / 2
    place = {"x": [left + width / 2], "y": [middle]}
    if isinstance(glyph, glyphs.Scatter):
        _as_sample(axes, renderer, ink, places=place)
    elif isinstance(glyph, glyphs.Line):
        _as_sample(axes, renderer, ink, places={"x": [left, left + width], "y": [middle] * 2})
    elif isinstance(glyph, glyphs.Segment):
        ends = {"x0": [left], "x1": [left + width], "y0": [middle], "y1": [middle]}
        _as_sample(axes, renderer, ink, places=ends)
    elif isinstance(glyph, glyphs.Quad):
        edges = {"left": [left + 2], "right": [left + width - 2], "bottom": [bottom + 2], "top": [bottom + height - 2]}
        _as_sample(axes, renderer, ink, places=edges)
    elif isinstance(glyph, glyphs.VBar):
        edges = {"x": place["x"], "width": [width - 4], "bottom": [bottom + 2], "top": [bottom + height - 2]}
        _as_sample(axes, renderer, ink, places=edges)
    else:
        raise UnprintableError(f"a {type(glyph).__name__} in a legend cannot be printed")


def _as_sample(axes: Axes, renderer: GlyphRenderer, ink: Ink, *, places: dict[str, list[float]]) -> None:
    """Draw a copy of the glyph whose places are those of the sample, and whose looks are those of its first entry."""
    source: Any = renderer.data_source
    count = len(next(iter(places.values())))
    first = {name: [column[0]] * count for name, column in source.data.items() if len(column)}
    moved = {f"sample_{name}": values for name, values in places.items()}
    copy = renderer.glyph.clone(**{name: f"sample_{name}" for name in places})
    _drawer(copy)(axes, Data(copy, type(source)({**first, **moved}), ink), (None, None))


def factor_ends(span: Any) -> tuple[float, float]:
    """The ends of a range on an axis of numbers."""
    if isinstance(span, FactorRange):
        return 0.0, float(len(span.factors))
    return float(span.start), float(span.end)
