"""Views and the Explorer in marimo, which takes anywidgets and no ipywidgets: each displays itself as one anywidget."""

import pytest
from boxes import WRONG_BOXES
from marimo_server import Marimo
from page import VIEWPORT
from test_views_browser import SETUP

pytestmark = pytest.mark.browser

CELLS = [
    f"{SETUP}\nrow = kenviz.RowView(net, pair)\nview = kenviz.explore(net, pair)\nnames = globals()",
    "row",
    "view",
]
QUERY = "layer.1.query.weight"


@pytest.fixture(scope="module")
def app(browser, tmp_path_factory):
    with Marimo.running(browser.new_page(), tmp_path_factory.mktemp("marimo"), CELLS) as one:
        yield one
        assert one.outside == []
        assert one.errors == []


def mask(app, row):
    return app.value(f"np.flatnonzero(net[row.tensor].mask()[{row}]).tolist()")


def test_a_slider_moves_the_curve_of_the_row(app):
    before = app.column("curve", "y")
    slider = app.page.locator("marimo-anywidget").first.get_by_label("row", exact=True)
    slider.press("ArrowRight")
    app.wait_in_kernel("row.row == 1")
    app.wait_for_column("curve", "y", app.value("row.pane.column('curve', 'y').tolist()"))
    assert app.column("curve", "y") != before
    app.wait_for_column("retained", "column", mask(app, 1))
    app.execute("row.row = 3")
    app.page.wait_for_function("slider => slider.value === '3'", arg=slider.element_handle())
    app.wait_for_column("retained", "column", mask(app, 3))


def test_a_tap_gives_the_card_and_undo_goes_back(app):
    at = app.column("cells", "tensor").index(QUERY)
    app.click("map", app.column("cells", "layer")[at], app.column("cells", "kind")[at])
    app.wait_in_kernel(f"view.tensor == {QUERY!r}")
    app.wait_for_column("tiles", "image", [app.value(f"(net[{QUERY!r}].mask() * 100).tolist()")])
    app.click("matrix", 7.5, 5.5)
    app.wait_in_kernel("(view.row, view.column) == (5, 7)")
    word = "retained" if app.value(f"bool(net[{QUERY!r}].mask()[5, 7])") else "reset"
    card = app.page.get_by_text(f"Entry 7 in row 5 of {QUERY} is {word}.")  # once beside the stage, once in a tab
    card.locator("visible=true").wait_for()
    app.page.get_by_role("tab", name="row", exact=True).click()
    app.wait_in_kernel("view.stage == 'row'")
    app.page.get_by_role("button", name="undo").click()
    app.wait_in_kernel("(view.row, view.column) != (5, 7)")


def test_no_text_is_cut_and_no_control_lies_on_another(app):
    for width in (1400, 1100, 600):
        app.page.set_viewport_size({"width": width, "height": 900})
        app.wait_until_idle()
        explorer = app.page.locator(".kenviz-explorer")
        for _ in range(100):  # the list and the figures follow the size of the page after a moment
            wrong = explorer.evaluate(WRONG_BOXES)
            if not wrong:
                break
            app.page.wait_for_timeout(100)
        assert wrong == [], width
    app.page.set_viewport_size(VIEWPORT)


def test_figures_are_as_light_as_the_page(app):
    papers = (
        "[...new Set(Bokeh.documents.flatMap((doc) => [...doc.all_models]).map((one) => one.background_fill_color))]"
    )
    assert "#181a1b" not in app.page.evaluate(papers)


def test_what_was_shown_is_there_after_a_reload(app):
    assert app.value("row.row") == 3
    app.page.reload()
    app.wait_until_idle()
    app.wait_for_column("retained", "column", app.value("row.pane.column('retained', 'column').tolist()"))
