"""The Explorer in JupyterLab and Voilà: what is done in the page moves all of its parts."""

import pytest
from test_views_browser import SETUP, in_step

pytestmark = pytest.mark.browser

EXPLORE = SETUP + "\nview = kenviz.explore(net, pair)"
PLACE = "(view.tensor, view.row, view.column)"


def test_map_matrix_row_and_card_are_linked_in_the_page(front):
    one = front([EXPLORE, "view"])
    one.run()
    kinds = one.column("cells", "tensor")
    at = kinds.index("layer.1.query.weight")
    layer, kind = one.column("cells", "layer")[at], one.column("cells", "kind")[at]
    one.click("map", layer, kind)
    one.wait_in_kernel("view.tensor == 'layer.1.query.weight'")
    in_step(one, 1)
    assert one.column("tiles", "dw")[0] == 24

    one.click("matrix", 7.5, 5.5)
    one.wait_in_kernel(f"{PLACE} == ('layer.1.query.weight', 5, 7)")
    in_step(one, 1)
    card = one.value("ken.explain(net, pair, view.tensor, 5).entry(7).text").splitlines()[0]
    one.wait("text => lab.panel().node.innerText.includes(text)", card)

    one.page.get_by_role("tab", name="row", exact=True).click()
    one.wait_in_kernel("view.stage == 'row'")
    in_step(one, 1)
    one.slide("row", 1)
    one.wait_in_kernel(f"{PLACE} == ('layer.1.query.weight', 6, 7)")
    one.wait_in_kernel("view.matrix.entry == (6, 7)")
    in_step(one, 1)

    one.page.get_by_role("button", name="undo").click()
    one.wait_in_kernel(f"{PLACE} == ('layer.1.query.weight', 5, 7)")
    one.page.get_by_role("button", name="undo").click()
    one.page.get_by_role("button", name="undo").click()
    one.wait_in_kernel("view.tensor == 'embed.weight'")
    one.page.get_by_role("button", name="redo").click()
    one.wait_in_kernel("view.tensor == 'layer.1.query.weight'")
    in_step(one, 1)

    one.page.get_by_placeholder("part of a name").fill("*out*")
    one.wait_in_kernel("view.search.names == ['layer.0.out.weight', 'layer.1.out.weight']")
    one.page.get_by_label("sort").select_option("root mean square of the update, in units of the weights")
    one.wait_in_kernel("view.search.sort == 'update_rms'")
    chosen = one.value("view.search.names[0]")
    one.page.locator(".kenviz-line").first.click()
    one.wait_in_kernel(f"view.tensor == {chosen!r}")
    in_step(one, 1)

    one.page.get_by_role("tab", name="all layers", exact=True).click()
    one.wait_in_kernel("view.stage == 'layers'")
    in_step(one, 1)
    one.click("layer_0", 3.5, 2.5)
    one.wait_in_kernel(f"{PLACE} == ('layer.0.out.weight', 2, 3)")
    in_step(one, 1)


PLAIN = """
import ipywidgets
def controls(widget):
    return 1 + sum(controls(child) for child in getattr(widget, "children", ()))
plain = ipywidgets.VBox([ipywidgets.HTML("x") for _ in range(controls(view))])
"""


def test_displays_leave_nothing_behind(quiet_notebook):
    one = quiet_notebook([EXPLORE + PLAIN, "view", "plain"])
    one.run()
    session = one.page.context.new_cdp_session(one.page)

    def displayed(cell, times):
        """Run a cell so often. How much memory that leaves, in bytes."""
        before = heap()
        for _ in range(times):
            one.run_cell(cell)  # one after the other, or most figures would be gone before they are drawn
        return heap() - before

    def heap():
        session.send("HeapProfiler.collectGarbage")
        return session.send("Runtime.getHeapUsage")["usedSize"]

    def there():
        return one.documents(), one.value("len(ipywidgets.widgets.widget._instances)")

    displayed(1, 3)
    before = there()
    ours = displayed(1, 8) / 8
    assert there() == before
    # ipywidgets keeps some 7 kB for each child of a box that was displayed. Ours adds nothing of that order.
    theirs = displayed(2, 8) / 8
    assert ours < 2 * theirs, f"{ours:,.0f} bytes a display, beside {theirs:,.0f} of as many plain widgets"
