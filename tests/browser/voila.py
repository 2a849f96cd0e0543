"""Voilà in Chromium, for tests: one server for all of them, and the cells of a notebook as one page."""

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock
from urllib.parse import quote, urlsplit

import nbformat
from forked_kernel import forked_kernels
from page import Page
from test_app import served

# Voilà lets no page execute code, so the last cell has a box whose text is executed. Tests ask there what Python has.
PROBE = """
import contextlib, html, io, json, traceback
import ipywidgets

def _probe(change):
    number, code = change["new"].split("\\n", 1)
    error = ""
    with contextlib.redirect_stdout(io.StringIO()) as text:
        try:
            exec(code, globals())
        except Exception:
            error = traceback.format_exc()
    _answer.value = html.escape(json.dumps([number, text.getvalue(), error]))

_ask, _answer = ipywidgets.Textarea(), ipywidgets.HTML(layout={"display": "none"})
_ask.add_class("probe-ask")
_answer.add_class("probe-answer")
_ask.observe(_probe, "value")
ipywidgets.VBox([_ask, _answer])
"""

# What page.py's helpers do through JupyterLab, done through the page itself.
HELPERS = r"""
Object.assign(window.lab, {
  panel: () => ({node: document.body}),
  idle: () => {
    const hosts = [...document.querySelectorAll("[role=figure]")];
    return document.querySelector(".probe-ask textarea") !== null
      && hosts.every((host) => host.clientWidth === 0 || host.firstElementChild?.shadowRoot)
      && (window.Bokeh?.documents ?? []).length > 0 && Bokeh.documents.every((doc) => doc.is_idle);
  },
  asked: 0,
  execute: async (code) => {
    const number = String(lab.asked++);
    const box = document.querySelector(".probe-ask textarea");
    box.value = `${number}\n${code}`;
    box.dispatchEvent(new Event("input", {bubbles: true}));
    for (;;) {
      const said = document.querySelector(".probe-answer .widget-html-content")?.textContent;
      const [answered, text, error] = said ? JSON.parse(said) : [];
      if (answered === number && error) throw new Error(error);
      if (answered === number) return text;
      await new Promise((done) => setTimeout(done, 20));
    }
  },
});
"""


class Voila:
    """A running Voilà, which serves what is put into its folder."""

    def __init__(self, url: str, root: Path) -> None:
        self.url, self.root = url, root

    @classmethod
    @contextlib.contextmanager
    def running(cls) -> Iterator["Voila"]:
        """Start Voilà as `ken view` does, on a free port; stop it, and its kernels, after."""
        with (
            tempfile.TemporaryDirectory() as folder,
            tempfile.TemporaryDirectory() as path,
            forked_kernels(Path(path)),
            mock.patch.dict(os.environ, JUPYTER_PATH=path),
            served(notebook=folder) as (_, url),
        ):
            yield cls(url, Path(folder))

    def add(self, cells: list[str]) -> str:
        """Put a notebook of these code cells where the server finds it. Returns its address."""
        notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(code) for code in [*cells, PROBE]])
        notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
        path = self.root / f"cells{sum(1 for _ in self.root.iterdir())}.ipynb"
        nbformat.write(notebook, path)
        parts = urlsplit(self.url)
        return parts._replace(path=f"/voila/render/{quote(path.name)}").geturl()


class App(Page):
    """The cells of a notebook as Voilà shows them, with a kernel of their own. What `Notebook` does works here, too."""

    def __init__(self, page: Any, voila: Voila, cells: list[str]) -> None:
        super().__init__(page)
        page.add_init_script(HELPERS)
        page.goto(voila.add(cells))

    def run(self) -> None:
        """Wait until all figures are drawn: Voilà has run the cells. An error in a cell is an AssertionError."""
        self.wait("lab.idle() || document.body.innerText.includes('Traceback (most recent call last)')")
        said = self.page.evaluate("document.body.innerText")
        assert "Traceback (most recent call last)" not in said, said

    def close(self) -> None:
        """Close the page; its kernel ends with it."""
        self.page.close()
