"""The quickstart's views and the Explorer in Notebook 7, which has JupyterLab's parts in a page of its own."""

import pytest
from lab import Lab
from notebook7 import Notebook7
from test_views_browser import SETUP

pytestmark = pytest.mark.browser


# Notebook 7.6 says so itself, with any notebook: its shortcuts are asked for before they are there.
OWN_ERROR = "Cannot read properties of undefined (reading 'schema')"


@pytest.fixture(scope="module")
def nb(browser, tmp_path_factory):
    """A notebook, from a server that has nothing but Notebook 7."""
    cells = [SETUP, "row = kenviz.RowView(net, pair)\nrow", "view = kenviz.explore(net, pair)\nview"]
    with Lab.running(tmp_path_factory.mktemp("notebook7"), "notebook") as server:
        one = Notebook7(browser.new_page(), server, server.add(cells))
        one.run()
        yield one
        assert one.outside == []
        assert [error for error in one.errors if not error.startswith(OWN_ERROR)] == []
        one.close()


def test_it_is_notebook_7(nb):
    import notebook

    assert nb.page.evaluate("jupyterapp.name") == "Jupyter Notebook"
    assert nb.page.evaluate("jupyterapp.version") == notebook.__version__


def test_a_slider_moves_the_curve_of_the_row(nb):
    before = nb.column("curve", "y")
    nb.slide("row", 1)
    nb.wait_in_kernel("row.row == 1")
    nb.wait_for_column("curve", "y", nb.value("row.pane.column('curve', 'y').tolist()"))
    assert nb.column("curve", "y") != before


def test_the_explorer_has_tabs_and_cards_and_undoes(nb):
    query = "layer.1.query.weight"
    at = nb.column("cells", "tensor").index(query)
    nb.click("map", nb.column("cells", "layer")[at], nb.column("cells", "kind")[at])
    nb.wait_in_kernel(f"view.tensor == {query!r}")
    nb.wait_for_column("tiles", "image", [nb.value(f"(net[{query!r}].mask() * 100).tolist()")])
    nb.click("matrix", 7.5, 5.5)
    nb.wait("text => document.body.innerText.includes(text)", f"Entry 7 in row 5 of {query} is")
    nb.page.get_by_role("tab", name="matrix", exact=True).press("ArrowRight")
    nb.wait_in_kernel("view.stage == 'row'")
    nb.page.get_by_role("button", name="undo").click()
    nb.wait_in_kernel("(view.row, view.column) != (5, 7)")
