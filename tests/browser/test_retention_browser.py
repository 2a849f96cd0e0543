"""The RetentionView in JupyterLab and Voilà: controls and taps, against sums made from the models themselves."""

import pytest
from lab import Notebook
from test_views_browser import SETUP

pytestmark = pytest.mark.browser

VIEW = (
    SETUP
    + """
view = kenviz.RetentionView(net, pair, measure="share")
names = [name for name in net.pruned() if pair.fine_tuned[name].ndim > 1]
def masks(name): return net[name].mask()
def update(name): return (pair.fine_tuned[name].double() - pair.pretrained[name].double()).numpy()
def rms(name): return float(np.sqrt((update(name) ** 2).mean()))
def energy(name, axis): return ((update(name) ** 2) * masks(name)).sum(axis=axis).tolist()
"""
)
SOME, OTHER = "layer.1.query.weight", "layer.0.out.weight"


def test_the_lists_and_a_tap_change_what_the_page_shows(front):
    one = front([VIEW, "view"])
    one.run()
    names = one.value("names")
    assert one.column("cells", "tensor") == names
    assert one.column("cells", "value") == one.value("[float(masks(name).mean()) for name in names]")
    assert one.value("'retention' in vars(view._study)") is False

    one.page.get_by_label("shown").select_option("root mean square of the update")
    one.wait_in_kernel("view.measure == 'update_rms'")
    one.wait_for_property("title", "text", "root mean square of the update")
    assert one.column("cells", "value") == pytest.approx(one.value("[rms(name) for name in names]"))
    assert one.model_property("colours", "low") == pytest.approx(one.value("min(map(rms, names))"))

    tap(one, SOME)
    one.wait_for_property("picked", "indices", [names.index(SOME)])
    assert not one.model_property("strip_figure", "visible")

    one.page.get_by_label("strip by").select_option("columns")
    one.wait("lab.model('strip_figure', 0).visible")
    one.page.get_by_label("shown").select_option("energy of the update at retained entries")
    one.wait_for_property("strip_title", "text", "energy of the update at retained entries by column")
    one.wait_until_idle()
    assert one.column("strip", "mean") == pytest.approx(one.value(f"energy({SOME!r}, 0)"))
    assert one.figure_box("strip_figure")["height"] > 50

    one.page.get_by_label("strip by").select_option("rows")
    one.wait_for_property("strip_title", "text", "energy of the update at retained entries by row")
    tap(one, OTHER)
    one.wait("count => lab.model('strip', 0, 'data').data.mean.length === count", 24)
    one.wait_for_property("picked", "indices", [names.index(OTHER)])
    one.wait_in_kernel(f"view.tensor == {OTHER!r}")
    assert one.column("strip", "mean") == pytest.approx(one.value(f"energy({OTHER!r}, 1)"))

    if isinstance(one, Notebook):  # Voilà gives a page that is loaded again a kernel of its own
        one.reload()
        assert one.model_property("picked", "indices") == [names.index(OTHER)]
        assert one.model_property("strip_figure", "visible")

    # Back to a tensor that was tapped before, after Python has chosen another.
    one.execute("view.tensor = 'embed.weight'")
    one.wait_for_property("picked", "indices", [0])
    tap(one, OTHER)
    # A tap where there is no tensor takes nothing away: outside of layers there is only the embedding. It must come
    # late enough to be no second half of a double tap, which is none.
    one.execute("heard = []; view.pane.on_event(heard.append)")
    one.page.wait_for_timeout(500)
    one.click("map", "–", "query")
    one.wait_in_kernel("any(event.get('indices') == [] for event in heard)", timeout=20)
    one.wait_for_property("picked", "indices", [names.index(OTHER)])


def tap(one, name):
    one.page.wait_for_timeout(500)  # or it is the second half of a double tap, which is reported otherwise
    at = one.column("cells", "tensor").index(name)
    one.click("map", one.column("cells", "layer")[at], one.column("cells", "kind")[at])
    one.wait_in_kernel(f"view.tensor == {name!r}")
