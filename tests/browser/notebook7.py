"""Notebook 7 in Chromium, for tests: one notebook in one page, from a server of lab.py."""

from typing import Any
from urllib.parse import quote

from lab import Lab, Notebook
from page import Page


class Notebook7(Notebook):
    """One notebook, open in Notebook 7, with a kernel that is ready. What `Notebook` does works here, too."""

    def __init__(self, page: Any, lab: Lab, path: str) -> None:
        Page.__init__(self, page)
        self.lab, self.path = lab, path
        self.file = lab.root / path
        page.goto(f"{lab.url}/notebooks/{quote(path)}?token={lab.token}")
        self._wait_for_kernel()
