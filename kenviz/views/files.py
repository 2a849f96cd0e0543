"""Ways out of the notebook: what is shown as a page, as pictures for paper, as the picture that a notebook keeps."""

from __future__ import annotations

import base64
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bokeh.models import LayoutDOM

from ken.errors import OutputError
from ken.storage import PAGE, PNG, SVG, check_outputs, replacing, target, write_text
from kenviz import theme as themes
from kenviz.figures import html_page

if TYPE_CHECKING:
    import threading

    from kenviz.pane.bokeh_pane import BokehPane

log = logging.getLogger("kenviz")
Pages = Sequence[tuple[LayoutDOM, str]]

#: Dots an inch of the picture that a notebook keeps: fewer, until it is no larger than so many bytes.
_STILL_DPI = (120.0, 96.0, 72.0, 48.0)
MOST_BYTES = 100_000
_STILL_COLOURS = 128
_UNKNOWN_THEME = "theme must be one of light, dark; got {!r}"


class Filed:
    """Figures in one theme, which can be written into files; a part of `kenviz.views.base.Exported`."""

    if TYPE_CHECKING:
        _lock: threading.RLock

        @property
        def in_sight(self) -> list[Any]: ...  # noqa: D102

    @property
    def colours(self) -> str:
        """The theme for what is drawn away from any page."""
        raise NotImplementedError

    def to_html(self, path: str | Path, *, overwrite: bool = False) -> Path | str:
        """Write what is shown, as it is now, into one HTML file that opens without a network or a kernel.

        Args:
            path: Where to. Another page is replaced, what is looked at never.
            overwrite: Replace a file that holds something else, too; by default that is refused.

        Returns:
            The path.

        Raises:
            OutputError: That file is looked at, or there is one that holds something else.
            OSError: The file cannot be written.
        """
        check_outputs([(path, PAGE)], self._reads(), overwrite=overwrite)
        with self._lock:
            title, pages = self._pages()
            return html_page.write(path, title, figures=pages, theme=self.colours)

    def to_png(
        self,
        path: str | Path,
        width_mm: str | float = "page",
        dpi: float = 300,
        *,
        caption: bool = True,
        palette: str = "screen",
        theme: str | None = None,
        overwrite: bool = False,
    ) -> Path | str:
        """Print what is shown, as it is now, as a PNG. No browser is needed; the same figure gives the same bytes.

        Args:
            path: Where to. Another PNG is replaced, what is looked at never.
            width_mm: How wide it is on paper, in millimetres: a number from 30 to 1000, or a width of journals,
                "column" (85) or "page" (175). A narrower figure is laid out anew; below 111 mm letters become smaller.
            dpi: Dots an inch, from 30 to 1200.
            caption: Whether the caption stands below.
            palette: "screen", the colours of the screen, or "grey", greys of the same lightness.
            theme: "light" or "dark"; by default that of the view, which is light if it is "auto".
            overwrite: Replace a file that holds something else, too; by default that is refused.

        Returns:
            The path.

        Raises:
            OutputError: That file is looked at, or there is one that holds something else; a size, palette or theme
                that there is not; grey for what has two sides of a scale.
            OSError: The file cannot be written.

        Example:
            ```python
            view.to_png("figure-2.png", "column", dpi=600)
            ```
        """
        from kenviz.printing import files
        from kenviz.printing.paper import paper, resolution

        sheet, dots = paper(width_mm), resolution(dpi)
        check_outputs([(path, PNG)], self._reads(), overwrite=overwrite)
        pages, chosen = self._printed(caption, theme)
        image = files.png(pages, sheet, dpi=dots, palette=palette, theme=chosen)
        place = target(path)
        with replacing(place) as file:
            file.write(image)
        return place

    def to_svg(
        self,
        path: str | Path,
        width_mm: str | float = "page",
        *,
        caption: bool = True,
        palette: str = "screen",
        theme: str | None = None,
        overwrite: bool = False,
    ) -> Path | str:
        """Print what is shown, as it is now, as an SVG, whose text can be searched and edited.

        Args:
            path: Where to. Another SVG is replaced, what is looked at never.
            width_mm: How wide it is on paper, as in `to_png`.
            caption: Whether the caption stands below.
            palette: "screen" or "grey", as in `to_png`.
            theme: "light" or "dark"; by default that of the view, which is light if it is "auto".
            overwrite: Replace a file that holds something else, too; by default that is refused.

        Returns:
            The path.

        Raises:
            OutputError: As from `to_png`.
            OSError: The file cannot be written.
        """
        from kenviz.printing import files
        from kenviz.printing.paper import paper

        sheet = paper(width_mm)
        check_outputs([(path, SVG)], self._reads(), overwrite=overwrite)
        pages, chosen = self._printed(caption, theme)
        return write_text(target(path), files.svg(pages, sheet, palette=palette, theme=chosen))

    def _printed(self, caption: bool, theme: str | None) -> tuple[Pages, str]:
        """The figures to print, each with its caption if there is to be one, and their theme."""
        chosen = self.colours if theme is None else theme
        if chosen not in themes.THEMES:
            raise OutputError(_UNKNOWN_THEME.format(theme))
        with self._lock:
            pages = [view.page() for view in self.in_sight]
        for root, _ in pages:
            themes.apply(root, chosen)
        return [(root, words if caption else "") for root, words in pages], chosen

    def _reads(self) -> Mapping[str, Any]:
        """What the view looks at, by what it is called."""
        return {}

    def _pages(self) -> tuple[str, list[tuple[LayoutDOM, str]]]:
        """A title, and each figure with its caption, as `View.page` gives it."""
        raise NotImplementedError


def with_still(bundle: Any, panes: Sequence[BokehPane]) -> Any:
    """What is displayed, with a picture of the figures as they are now: for a notebook that is opened without a kernel.

    The live widget goes before it wherever there is one. If it cannot be drawn, the widget is displayed without, and a
    line says so.
    """
    data, metadata = bundle if isinstance(bundle, tuple) else (bundle, {})
    try:
        image = _still([(pane.root, pane.text) for pane in panes])
    except Exception as error:  # the widget matters more than its picture, whatever is wrong with that
        log.warning("kenviz: no picture of the figure is kept in the notebook: %s", " ".join(str(error).split()))
        return data, metadata
    words = " ".join(pane.text for pane in panes)
    encoded = base64.b64encode(image).decode("ascii")  # as notebooks have it
    return {**data, "image/png": encoded}, {**metadata, "image/png": {"alt": words}}


def _still(pages: Pages) -> bytes:
    from kenviz.printing import files
    from kenviz.printing.paper import paper

    for dpi in _STILL_DPI:
        image = files.png(pages, paper("page"), dpi=dpi, palette="screen", theme="light", colours=_STILL_COLOURS)
        if len(image) <= MOST_BYTES:
            return image
    raise ValueError(f"it is larger than {MOST_BYTES:,} bytes at {_STILL_DPI[-1]:g} dots an inch")
