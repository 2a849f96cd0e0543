"""marimo in Chromium, for tests: a server of its own for one notebook, and its cells as one page."""

import contextlib
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from page import TIMEOUT, Page

REPOSITORY = Path(__file__).parents[2]

# The last cell has a box whose text is executed: marimo, too, lets no page run code otherwise.
PROBE = """
import contextlib, io, traceback
import anywidget as _anywidget

class Probe(_anywidget.AnyWidget):
    _esm = '''
    export default { render({ model }) {
      globalThis.probe = (code) => new Promise((done) => {
        const hear = (answer) => { model.off("msg:custom", hear); done(answer); };
        model.on("msg:custom", hear);
        model.send({ code });
      });
    } };
    '''

def answer(widget, content, buffers):
    error = ""
    with contextlib.redirect_stdout(io.StringIO()) as text:
        try:
            exec(content["code"], names)
        except Exception:
            error = traceback.format_exc()
    widget.send({"text": text.getvalue(), "error": error})

probe = Probe()
probe.on_msg(answer)
probe
"""

# What page.py's helpers do through JupyterLab. Everything of marimo's is in shadow roots, which `within` looks into.
HELPERS = r"""
Object.assign(window.lab, {
  within: (selector, root = document) => [...root.querySelectorAll("*")].flatMap((one) => [
    ...(one.matches(selector) ? [one] : []), ...(one.shadowRoot ? lab.within(selector, one.shadowRoot) : [])]),
  idle: () => {
    const hosts = lab.within("[role=figure]").filter((host) => host.clientWidth > 0);
    return globalThis.probe !== undefined && hosts.length > 0
      && hosts.every((host) => host.firstElementChild?.shadowRoot) && Bokeh.documents.every((doc) => doc.is_idle);
  },
  execute: async (code) => {
    const {text, error} = await probe(code);
    if (error) throw new Error(error);
    return text;
  },
});
"""


def notebook(cells: list[str]) -> str:
    """A marimo notebook of these cells. Names of the first are known to all; the last expression of each is shown."""
    first, *others = cells
    imports = f"with app.setup:\n{_indented(first)}"
    shown = [f"@app.cell\ndef _():\n{_indented(code)}\n    return" for code in others]
    return "\n\n".join(["import marimo", "app = marimo.App(width='full')", imports, *shown, ""])


def _indented(code: str) -> str:
    return "\n".join("    " + line for line in code.strip().splitlines())


class Marimo(Page):
    """The cells of a notebook as marimo shows them, with a kernel of their own."""

    @classmethod
    @contextlib.contextmanager
    def running(cls, page: Any, folder: Path, cells: list[str]) -> Iterator["Marimo"]:
        """Serve these cells as an app, and open it; `names` in the first is the dictionary that tests ask in."""
        path = folder / "cells.py"
        path.write_text(notebook([*cells, PROBE]), encoding="utf-8")
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        command = [sys.executable, "-m", "marimo", "run", "--headless", "--no-token", "--host=127.0.0.1"]
        env = {name: value for name, value in os.environ.items() if not name.startswith("MARIMO")}
        env |= {
            "XDG_CONFIG_HOME": str(folder / "config"),  # none of the user's settings
            "XDG_STATE_HOME": str(folder / "state"),
            "XDG_CACHE_HOME": str(folder / "cache"),
            "PYTHONPATH": os.pathsep.join(filter(None, [str(REPOSITORY), env.get("PYTHONPATH")])),
        }
        log = folder / "server.log"
        with log.open("wb") as sink:
            server = subprocess.Popen([*command, f"--port={port}", str(path)], env=env, stdout=sink, stderr=sink)
        try:
            deadline = time.monotonic() + TIMEOUT
            while not _answers(f"http://127.0.0.1:{port}/health"):
                if server.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(f"marimo did not start:\n{log.read_text()[-3000:]}")
                time.sleep(0.1)
            one = cls(page)
            page.add_init_script(HELPERS)
            page.goto(f"http://127.0.0.1:{port}/")
            one.wait_until_idle()
            yield one
        finally:
            page.close()
            server.terminate()
            try:
                server.wait(TIMEOUT)
            except subprocess.TimeoutExpired:
                server.kill()
                server.wait()


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return answer.status == 200
    except (urllib.error.URLError, OSError):
        return False
