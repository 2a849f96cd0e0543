"""JupyterLab in Chromium, for tests: a server of its own, and one notebook in one page (page.py has what is in it)."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import nbformat
from forked_kernel import forked_kernels
from page import CHROMIUM as CHROMIUM
from page import INSTALL as INSTALL
from page import TIMEOUT, Page
from page import VIEWPORT as VIEWPORT
from page import chromium as chromium

REPOSITORY = Path(__file__).parents[2]


class Lab:
    """A JupyterLab server on a free port, with this Python as its kernel and none of the user's settings."""

    def __init__(self, url: str, token: str, root: Path) -> None:
        self.url, self.token, self.root = url, token, root

    @classmethod
    @contextlib.contextmanager
    def running(cls, folder: Path, app: str = "jupyterlab") -> Iterator["Lab"]:
        """Start a server whose files are all under `folder`, an empty folder; stop it, and its kernels, after.

        The app may be "notebook", too. One server can have both, but then finds the files of one where the other's are.
        """
        for name in ("config/labconfig", "data", "runtime", "ipython", "notebooks"):
            (folder / name).mkdir(parents=True)
        labconfig = folder / "config/labconfig"
        news = "@jupyterlab/apputils-extension:announcements"  # a popup, and a request to the outside
        labconfig.joinpath("page_config.json").write_text(json.dumps({"disabledExtensions": {news: True}}))
        settings = {
            # Cells out of sight are there too, so that run() can wait for all figures.
            "@jupyterlab/notebook-extension:tracker": {"windowingMode": "none"},
            "@jupyterlab/docmanager-extension:plugin": {"autosave": False},
        }
        labconfig.joinpath("default_setting_overrides.json").write_text(json.dumps(settings))
        env = {name: value for name, value in os.environ.items() if not name.startswith("JUPYTER")}
        env |= {
            "JUPYTER_CONFIG_DIR": str(folder / "config"),
            "JUPYTER_DATA_DIR": str(folder / "data"),
            "JUPYTER_PATH": str(folder / "path"),
            "JUPYTER_RUNTIME_DIR": str(folder / "runtime"),
            "IPYTHONDIR": str(folder / "ipython"),
            "PYTHONPATH": os.pathsep.join(filter(None, [str(REPOSITORY), env.get("PYTHONPATH")])),
        }
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        lab = cls(f"http://127.0.0.1:{port}", os.urandom(16).hex(), folder / "notebooks")
        command = [sys.executable, "-m", app, "--no-browser", "--allow-root", "--expose-app-in-browser"]
        command += ["--ServerApp.ip=127.0.0.1", f"--ServerApp.port={port}", "--ServerApp.port_retries=0"]
        command += [f"--IdentityProvider.token={lab.token}", f"--ServerApp.root_dir={lab.root}"]
        log = folder / "server.log"
        with log.open("wb") as sink:
            server = subprocess.Popen(command, env=env, stdout=sink, stderr=sink, start_new_session=True)
        try:
            deadline = time.monotonic() + TIMEOUT
            while not lab._answers():
                if server.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(f"JupyterLab did not start:\n{log.read_text()[-3000:]}")
                time.sleep(0.1)
            with forked_kernels(folder / "path"):
                yield lab
        finally:
            server.terminate()  # on this, the server shuts its kernels down
            try:
                server.wait(TIMEOUT)
            except subprocess.TimeoutExpired:
                os.killpg(server.pid, signal.SIGKILL)
                server.wait()

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/api/status?token={self.token}", timeout=5) as answer:
                return answer.status == 200
        except (urllib.error.URLError, OSError):
            return False

    def add(self, source: Path | list[str]) -> str:
        """Put a notebook, or one of these code cells, where the server finds it. Returns its path there."""
        if isinstance(source, list):
            name = "cells.ipynb"
            notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(code) for code in source])
        else:
            name, notebook = source.name, nbformat.read(source, as_version=4)
        # Else JupyterLab asks which kernel to use.
        notebook.metadata["kernelspec"] = {
            "name": "python3",
            "display_name": "Python 3 (ipykernel)",
            "language": "python",
        }
        folder = self.root / str(sum(1 for _ in self.root.iterdir()))
        folder.mkdir()
        nbformat.write(notebook, folder / name)
        return f"{folder.name}/{name}"


class Notebook(Page):
    """One notebook, open in one page, with a kernel that is ready; after `leave`, another one may be opened there.

    Attributes
    ----------
    file
        The notebook on disk.
    spoilt
        Whether the page is not to be used for another notebook: a test has changed what all of it shares.
    """

    def __init__(self, page: Any, lab: Lab, path: str) -> None:
        super().__init__(page)
        self.lab, self.path = lab, path
        self.file = lab.root / path
        self.spoilt = False
        self._load()

    def open(self, path: str) -> None:
        """Open another notebook in the page, which was left: JupyterLab alone takes seconds to begin."""
        self.path, self.file = path, self.lab.root / path
        # JupyterLab puts its launcher where the last notebook was closed, and that may come to the front after ours.
        self.page.evaluate(
            """async (path) => {
                const deadline = Date.now() + 60000;
                do {
                    await jupyterapp.commands.execute("docmanager:open", {path});
                    await new Promise((done) => setTimeout(done, 100));
                } while (lab.panel()?.context?.path !== path && Date.now() < deadline);
            }""",
            path,
        )
        self._wait_for_kernel()

    def leave(self) -> None:
        """Shut the kernel down and close the notebook, of which nothing may be left; the page is as it was at first."""
        # First the notebook: what is in it may still have something to say to the kernel.
        self.page.evaluate(
            """async () => {
                const {id} = lab.panel().sessionContext.session;
                lab.panel().dispose();
                await jupyterapp.serviceManager.sessions.shutdown(id);
            }"""
        )
        self.wait("(window.Bokeh?.documents ?? []).length === 0")
        if self.page.evaluate("document.body.dataset.jpThemeLight") != "true":
            self.use_theme("Light")
        self.page.evaluate("jupyterapp.shell.expandLeft()")
        self.page.set_viewport_size(VIEWPORT)
        self.page.mouse.move(0, 0)

    def _load(self) -> None:
        # A workspace of its own: what was open in this page before, or is open in another, is not restored here.
        workspace = f"{self.lab.url}/lab/workspaces/{os.urandom(8).hex()}"
        self.page.goto(f"{workspace}/tree/{quote(self.path)}?token={self.lab.token}&reset")
        self._wait_for_kernel()

    def _wait_for_kernel(self) -> None:
        self.wait("window.jupyterapp !== undefined")
        self.page.evaluate("path => lab.ready(path)", self.path)

    # ---- cells and kernel

    def run(self) -> None:
        """Run all cells and wait until all figures are drawn. An error in a cell is an AssertionError."""
        self.page.evaluate("jupyterapp.commands.execute('notebook:run-all-cells').then(() => null)")
        errors = self.page.evaluate("lab.errors()")
        assert not errors, "\n".join(errors)
        self.wait_until_idle()

    def run_cell(self, index: int, wait: bool = True) -> None:
        """Run one cell, and wait as `run` does; without `wait`, only for the kernel."""
        self.page.evaluate(
            """async (index) => {
                lab.panel().content.activeCellIndex = index;
                lab.panel().content.deselectAll();
                await jupyterapp.commands.execute('notebook:run-cell');
            }""",
            index,
        )
        errors = self.page.evaluate("lab.errors()")
        assert not errors, "\n".join(errors)
        if wait:
            self.wait_until_idle()

    def save(self) -> Path:
        """Save the notebook; returns where it is on disk."""
        self.page.evaluate("lab.panel().context.save()")
        return self.file

    def reload(self) -> None:
        """Save, load the page again, and wait for the same kernel and the figures."""
        self.save()  # or the browser would ask whether to leave
        self._load()
        self.wait_until_idle()

    def use_theme(self, name: str) -> None:
        """Change JupyterLab's theme to "Light" or "Dark". Its splash screen must be gone before the next change."""
        self.page.evaluate(
            "name => jupyterapp.commands.execute('apputils:change-theme', {theme: `JupyterLab ${name}`})", name
        )
        self.wait("document.getElementById('jupyterlab-splash') === null")

    def close(self) -> None:
        """Shut the kernel down and close the page."""
        try:
            self.page.evaluate("lab.panel().sessionContext.shutdown()")
        finally:
            self.page.close()
