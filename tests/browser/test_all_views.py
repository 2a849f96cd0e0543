"""All views in one notebook in JupyterLab: in both themes, for axe, in a saved file, after a reload."""

import json
import time

import nbformat
import pytest
from page import TIMEOUT
from saying import said_by_axe
from test_views_browser import SETUP, VIEWS

pytestmark = pytest.mark.browser

#: Every legend that is seen has the room beside the plot that it takes.
ROOM = """() => Bokeh.documents.flatMap((doc) => [...doc.all_models])
    .filter((model) => model.type === "Legend" && model.visible)
    .map((model) => Bokeh.index.find_one(model)).filter((view) => view?.layout && view.bbox.height > 0)
    .every((view) => view.layout.bbox.height >= view.bbox.height)"""

#: Which sources of all views the page does not hold as Python does, and which it has beyond these.
OUT_OF_STEP = """(held) => {
    const names = new Set(held.map(([source]) => source));
    const left = Bokeh.documents.flatMap((doc) => [...doc.all_models])
        .filter((model) => names.has(model.name) && "data" in model);
    const missing = held.filter(([source, columns]) => {
        const at = left.findIndex((model) => model.name === source && Object.entries(columns).every(
            ([name, values]) => JSON.stringify(lab.plain(model.data[name])) === JSON.stringify(values)));
        if (at >= 0) left.splice(at, 1);
        return at < 0;
    });
    return [missing.map(([source]) => source), left.map(({name}) => name)];
}"""


def wait_until_in_step(one):
    """Wait until the page holds, in all views, what Python holds."""
    said = "print(json.dumps([source for view in views for source in held(view).items()]))"
    deadline = time.monotonic() + TIMEOUT
    while (out := one.page.evaluate(OUT_OF_STEP, json.loads(one.execute(said)))) != [[], []]:
        assert time.monotonic() < deadline, out
        one.page.wait_for_timeout(100)


def test_all_views_in_both_themes_in_a_file_and_after_a_reload(quiet_notebook):
    cells = [f"view = {make}\n{change}\nviews.append(view)\nview" for make, change in VIEWS.values()]
    one = quiet_notebook([f"{SETUP}\nviews = []", *cells])
    one.run()
    looks = one.page.evaluate("[...document.querySelectorAll('.kenviz-view')].length")
    assert looks >= len(VIEWS)
    wait_until_in_step(one)
    for theme, dark in (("Light", "false"), ("Dark", "true")):
        one.use_theme(theme)
        one.wait(f"lab.papers({dark})")
        one.wait(ROOM)
        one.wait_until_idle()
        assert said_by_axe(one, "kenviz-view") == [], theme
        assert said_by_axe(one, "kenviz-explorer") == [], theme
    one.use_theme("Light")
    one.wait("lab.papers(false)")

    one.reload()
    wait_until_in_step(one)
    outputs = [output for cell in nbformat.read(one.file, as_version=4).cells for output in cell.outputs]
    assert len(outputs) == len(VIEWS)
    assert max(len(json.dumps(output)) for output in outputs) < 100_000  # of a view, with its static picture


def test_a_figure_has_the_paper_and_ink_of_whatever_theme_the_page_has(quiet_notebook):
    one = quiet_notebook([SETUP, "view = kenviz.MatrixView(net, pair)\nview"])
    one.run()
    one.spoilt = True
    one.page.evaluate(
        """() => {
            const {style} = document.body;
            style.setProperty("--jp-layout-color1", "rgb(253, 246, 227)");
            style.setProperty("--jp-content-font-color1", "rgb(7, 54, 66)");
            document.body.setAttribute("data-theme", "sepia");  // what a theme changes is heard of by attributes
        }"""
    )
    one.wait_for_property("matrix", "border_fill_color", "rgb(253, 246, 227)")
    assert one.page.evaluate("lab.model('matrix', 0, 'x_range').below[0].axis_label_text_color") == "rgb(7, 54, 66)"
    one.execute("view.theme = 'light'")
    one.wait_for_property("matrix", "border_fill_color", "#ffffff")
