"""A figure that is displayed in a cell which goes on computing is drawn at once, and follows what that cell changes."""

import pytest
from test_views_browser import SETUP

pytestmark = pytest.mark.browser

# The cell ends when it is told so by a file; until then no message of the page is answered.
BUSY = """
import pathlib, time
from IPython.display import display
display(view)
while not pathlib.Path("end").exists():
    if pathlib.Path("move").exists():
        pathlib.Path("move").unlink()
        {move}
    time.sleep(0.02)
"""
RUN = "void jupyterapp.commands.execute('notebook:run-all-cells')"


def busy(quiet_notebook, make, move):
    """A notebook whose last cell displays a view and does not end."""
    one = quiet_notebook([SETUP, f"view = {make}", BUSY.format(move=move)], fresh=True)
    one.page.evaluate(RUN)
    return one


def end(one):
    assert one.page.evaluate("lab.kernel().status") == "busy"
    (one.file.parent / "end").touch()
    one.wait("lab.kernel().status === 'idle'")


def test_the_first_figure_of_a_page_is_drawn_while_the_kernel_is_busy_and_follows_it(quiet_notebook):
    one = busy(quiet_notebook, "kenviz.RowView(net, pair)", move="view.row = 7")
    one.wait("lab.models('bins').length > 0")
    one.wait_until_idle()
    (one.file.parent / "move").touch()
    one.wait("lab.model('name', 0).text.startsWith('row 7')")
    text = one.model_property("title", "text")
    end(one)
    # What the page has asked for is answered now: nothing is new, so the figure is not drawn again.
    one.wait_in_kernel("view.pane._asked_for")
    assert one.documents() == 1
    assert one.model_property("title", "text") == text
    one.execute("view.row = 3")
    one.wait("lab.model('name', 0).text.startsWith('row 3')")


def test_an_explorer_shows_all_its_views_while_the_kernel_is_busy(quiet_notebook):
    one = busy(quiet_notebook, "kenviz.explore(net, pair)", move="view.stage = 'row'")
    one.wait("lab.models('cells').length > 0 && lab.models('tiles').length > 0")
    one.wait_until_idle()
    end(one)
    one.execute("view.stage = 'row'")
    one.wait("lab.models('bins').length > 0")


def test_what_was_zoomed_meanwhile_is_heard_when_the_kernel_is_free(quiet_notebook):
    one = busy(quiet_notebook, "kenviz.MatrixView(net, pair)", move="pass")
    one.wait("lab.models('tiles').length > 0")
    one.wait_until_idle()
    for _ in range(5):
        one.wheel("matrix", 12, 150, -100)
    one.wait("lab.model('rows', 0).start < 290")
    start = one.model_property("rows", "start")
    end(one)
    one.wait_in_kernel(f"abs(view.rows[1] - {start}) < 1e-6")
    assert one.model_property("rows", "start") == start


def test_a_figure_in_a_box_that_was_not_announced_says_that_it_waits(quiet_notebook):
    one = busy(quiet_notebook, "__import__('ipywidgets').VBox([kenviz.RowView(net, pair)])", move="pass")
    one.page.get_by_text("[The figure is drawn once the kernel answers.]").wait_for()
    end(one)
    one.wait("lab.models('bins').length > 0")
