"""Voilà in Chromium: the Explorer as `ken view` serves it, and all views in one page."""

import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from page import Page
from test_app import served
from test_views_browser import SETUP, VIEWS

pytestmark = pytest.mark.browser


@pytest.fixture
def visit(browser):
    """Open an address: no request may leave this machine, and no error may be reported."""
    opened = []

    def go(url):
        opened.append(Page(browser.new_page()))
        opened[-1].page.goto(url)
        return opened[-1]

    yield go
    for one in opened:
        assert one.outside == []
        assert one.errors == []
        one.page.close()


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A subnetwork and its models, as files."""
    from kenviz_models import small_pair
    from safetensors.torch import save_file

    import ken

    folder = tmp_path_factory.mktemp("files")
    pair = small_pair()
    save_file(pair.pretrained, folder / "pt.safetensors")
    save_file(pair.fine_tuned, folder / "ft.safetensors")
    net = ken.prune(*pair, 0.5, progress=False)
    return net, net.save(folder / "net.ken.safetensors"), folder / "ft.safetensors", folder / "pt.safetensors"


def test_the_explorer_is_served_and_answers(visit, files):
    net, *paths = files
    with served(*paths) as (_, url):
        one = visit(url)
        one.wait("window.Bokeh?.documents.length === 2 && Bokeh.documents.every((doc) => doc.is_idle)")
        query = "layer.1.query.weight"
        at = one.column("cells", "tensor").index(query)
        one.click("map", one.column("cells", "layer")[at], one.column("cells", "kind")[at])
        one.wait_for_column("tiles", "image", [(net[query].mask() * 100).tolist()])

        one.click("matrix", 7.5, 5.5)
        mask = net[query].mask()
        word = "retained" if mask[5, 7] else "reset"
        one.wait("text => document.body.innerText.includes(text)", f"Entry 7 in row 5 of {query} is {word}.")

        one.wheel("matrix", 7.5, 5.5, -500)
        one.wait("lab.model('rows', 0, 'start').start < 23")
        one.page.get_by_role("tab", name="row", exact=True).click()
        one.wait("window.Bokeh.documents.some((doc) => [...doc.all_models].some(({name}) => name === 'retained'))")
        one.wait_for_column("retained", "column", [i for i in range(24) if mask[5, i]])
        one.slide("row", 2)
        one.wait_for_column("retained", "column", [i for i in range(24) if mask[7, i]])


def test_all_views_are_drawn_as_python_has_them(visit, tmp_path):
    makes = [make for make, _ in VIEWS.values()]
    cells = [SETUP, *(f"view_{i} = {make}\nview_{i}" for i, make in enumerate(makes))]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(code) for code in cells])
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    path = tmp_path / "views.ipynb"
    nbformat.write(notebook, path)
    captions = subprocess.run(
        [sys.executable, "-c", _captions(makes)], capture_output=True, text=True, check=True
    ).stdout.splitlines()
    with served(notebook=path) as (_, url):
        one = visit(url)
        one.wait(
            "count => document.querySelectorAll('[role=figure]').length === count "
            "&& window.Bokeh?.documents.length === count && Bokeh.documents.every((doc) => doc.is_idle)",
            len(captions),
        )
        shown = one.page.evaluate("[...document.querySelectorAll('[role=figure]')].map((figure) => figure.ariaLabel)")
        assert sorted(shown) == sorted(captions)


def _captions(makes):
    shows = [f"view = {make}\nfor pane in panes(view): print(pane.text)" for make in makes]
    return "\n".join([SETUP, *shows])


def test_wide_and_narrow_no_page_scrolls_sideways(visit, files):
    with served(*files[1:]) as (_, url):
        one = visit(url)
        for width in (1200, 420):
            one.page.set_viewport_size({"width": width, "height": 1400})
            one.wait("window.Bokeh?.documents.length === 2 && Bokeh.documents.every((doc) => doc.is_idle)")
            one.wait("document.documentElement.scrollWidth <= window.innerWidth + 1")


def test_the_template_is_part_of_the_package():
    import kenviz

    folder = Path(kenviz.__file__).parent / "app" / "share" / "voila" / "templates" / "kenviz"
    assert {path.name for path in folder.iterdir()} == {"conf.json", "index.html.j2"}
