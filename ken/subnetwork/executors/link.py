"""The link to the page where work can be looked on at: in a notebook, once."""

from __future__ import annotations

import html
import sys

_SAID: set[str] = set()


def say_link(link: str) -> None:
    """Display a link under the cell, if this is a notebook and it was not displayed before."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    if not link or link in _SAID or getattr(shell, "kernel", None) is None:
        return
    from IPython.display import HTML, display

    _SAID.add(link)
    text = html.escape(link)
    display(HTML(f'<a href="{text}" target="_blank" rel="noopener">{text}</a>: the workers, and what each is at'))
