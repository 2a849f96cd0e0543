"""Figures in one HTML file that opens without a network or a kernel: each with its caption, in a theme's colours."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

from bokeh.embed import file_html
from bokeh.models import LayoutDOM
from bokeh.resources import INLINE

from ken.storage import target, write_text
from kenviz.theme import THEMES


def write(path: str | Path, title: str, figures: Sequence[tuple[LayoutDOM, str]], theme: str = "light") -> Path | str:
    """Write figures, each with its caption, as one page; returns its path. The figures must be in no document yet.

    What the path may be has been checked (`ken.storage.outputs`).

    >>> import tempfile
    >>> from bokeh.plotting import figure
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     "<p>a &lt; b</p>" in write(f"{folder}/page.html", "Letters", [(figure(), "a < b")]).read_text()
    True
    """
    page = (files("kenviz.figures") / "templates" / "page.html").read_text(encoding="utf-8")
    variables = {"captions": [caption for _, caption in figures], "colours": THEMES[theme]}
    roots = [figure for figure, _ in figures]
    return write_text(target(path), file_html(roots, INLINE, title=title, template=page, template_variables=variables))
