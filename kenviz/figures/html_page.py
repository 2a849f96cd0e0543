"""Figures in one HTML file that opens without a network or a kernel: each with its caption, in a theme's colours."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from bokeh.embed import file_html
from bokeh.models import LayoutDOM
from bokeh.resources import INLINE

from ken.storage.atomic_files import write_text
from kenviz.theme import THEMES

# What is put into Bokeh's own template. Captions are escaped: names in them come from files of strangers.
_PAGE = """{% block postamble %}<style>
  body { background: {{ colours.Plot.background_fill_color }}; color: {{ colours.Axis.axis_label_text_color }};
         font: 15px/1.5 system-ui, sans-serif; overflow-wrap: anywhere; }
  p { padding: 0 1rem; }
</style>{% endblock %}
{% block contents %}{% for root in docs[0].roots %}<div role="figure" aria-label="{{ captions[loop.index0] | e }}">
{{ embed(root) }}</div><p>{{ captions[loop.index0] | e }}</p>{% endfor %}{% endblock %}"""


def write(path: str | Path, title: str, figures: Sequence[tuple[LayoutDOM, str]], theme: str = "light") -> Path:
    """Write figures, each with its caption, as one page; returns its path. The figures must be in no document yet.

    What the path may be has been checked (`ken.storage.outputs`).

    >>> import tempfile
    >>> from bokeh.plotting import figure
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     "<p>a &lt; b</p>" in write(f"{folder}/page.html", "Letters", [(figure(), "a < b")]).read_text()
    True
    """
    variables = {"captions": [caption for _, caption in figures], "colours": THEMES[theme]}
    roots = [figure for figure, _ in figures]
    return write_text(Path(path), file_html(roots, INLINE, title=title, template=_PAGE, template_variables=variables))
