"""Notebook 7 in Chromium, for tests: one notebook in one page, from a server of lab.py."""

from urllib.parse import quote

from lab import Notebook


class Notebook7(Notebook):
    """One notebook, open in Notebook 7, with a kernel that is ready. What `Notebook` does works here, too."""

    def _load(self) -> None:
        self.page.goto(f"{self.lab.url}/notebooks/{quote(self.path)}?token={self.lab.token}")
        self._wait_for_kernel()
