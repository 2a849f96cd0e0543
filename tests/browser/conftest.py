"""Fixtures for tests in a real browser: `notebook` is in JupyterLab (lab.py), `front` there or in Voilà (voila.py)."""

from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from lab import CHROMIUM, VIEWPORT, Lab, Notebook, chromium
from voila import App, Voila

Open = Callable[..., Notebook]

#: Files of few tests that take minutes; of the others, those with the most tests take the longest.
LONG = ("test_quickstart.py", "test_all_views.py", "test_explorer_browser.py", "test_app_browser.py")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Long files first, so that no process is left alone with one at the end (see BY_NAME in the Makefile)."""
    tests = Counter(item.path for item in items)
    items.sort(key=lambda item: (item.path.name not in LONG, -tests[item.path], item.path))


@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """A JupyterLab server, for all tests of the session."""
    with Lab.running(tmp_path_factory.mktemp("lab")) as server:
        yield server


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Chromium with a fresh profile, as a Playwright context."""
    try:
        executable = chromium()
    except FileNotFoundError as error:
        pytest.fail(str(error))
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        context = playwright.chromium.launch_persistent_context(
            tmp_path_factory.mktemp("profile"),
            executable_path=executable,
            args=list(CHROMIUM),
            viewport=VIEWPORT,
        )
        yield context
        context.close()


@pytest.fixture(scope="session")
def left_pages() -> Iterator[list[Notebook]]:
    """Pages with JupyterLab in them that tests have left as they found them, for others to use."""
    pages: list[Notebook] = []
    yield pages
    for one in pages:
        one.page.close()


@pytest.fixture
def notebook(request: pytest.FixtureRequest, lab: Lab, browser: Any, left_pages: list[Notebook]) -> Iterator[Open]:
    """Open a notebook: `notebook(path)`, or `notebook([code, code])` for one of these cells.

    With fresh, in a page of its own, in which no BokehJS has been loaded yet.
    """
    opened, failed = [], request.session.testsfailed

    def open_notebook(source: Path | list[str], *, fresh: bool = False) -> Notebook:
        path = lab.add(source)
        if left_pages and not fresh:
            one = left_pages.pop()
            one.open(path)
        else:
            one = Notebook(browser.new_page(), lab, path)
        opened.append(one)
        return one

    yield open_notebook
    for one in opened:
        if one.spoilt or one.errors or one.outside or one.dialogs or request.session.testsfailed > failed:
            one.close()
        else:
            one.leave()
            left_pages.append(one)


@pytest.fixture
def quiet_notebook(notebook: Open) -> Iterator[Open]:
    """`notebook`, and at the end: no request has left this machine, and no error was reported. None is excepted."""
    opened = []

    def open_notebook(source: Path | list[str], *, fresh: bool = False) -> Notebook:
        opened.append(notebook(source, fresh=fresh))
        return opened[-1]

    yield open_notebook
    for one in opened:
        assert one.outside == []
        assert one.errors == []


@pytest.fixture(scope="session")
def voila() -> Iterator[Voila]:
    """A Voilà server, for all tests of the session."""
    with Voila.running() as server:
        yield server


@pytest.fixture(params=["lab", "voila"])
def front(request: pytest.FixtureRequest, browser: Any) -> Iterator[Callable[[list[str]], Notebook | App]]:
    """Open cells in either front end; at the end: nothing was asked for from outside, no error was reported."""
    if request.param == "lab":
        yield request.getfixturevalue("quiet_notebook")
        return
    server = request.getfixturevalue("voila")
    opened = []

    def open_app(cells: list[str]) -> App:
        opened.append(App(browser.new_page(), server, cells))
        return opened[-1]

    yield open_app
    for one in opened:
        assert one.outside == []
        assert one.errors == []
        one.close()
