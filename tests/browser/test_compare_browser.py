"""CompareView in JupyterLab and Voilà: each control changes the right column, and what the page holds is true."""

import numpy as np
import pytest
from test_views_browser import SETUP

pytestmark = pytest.mark.browser

COMPARE = (
    SETUP
    + """
other = ken.prune(*pair, 0.25, "random", seed=3, progress=False)
names = ["embed.weight", *(f"layer.{i}.{kind}.weight" for i in range(2) for kind in ("query", "out"))]

def masks(name):
    return net[name].mask(), other[name].mask()

def jaccard(a, b):
    return float((a & b).sum() / (a | b).sum())

def retained(mask, name):
    energy = (pair.fine_tuned[name].double() - pair.pretrained[name].double()).numpy() ** 2
    return float(energy[mask].sum() / energy.sum())

view = kenviz.CompareView(net, other, pair)
"""
)
QUERY = "layer.1.query.weight"


def test_controls_and_taps_change_what_the_page_holds(front):
    one = front([COMPARE, "view"])
    one.run()
    np.testing.assert_allclose(one.column("dots", "value"), one.value("[jaccard(*masks(name)) for name in names]"))
    assert one.model_property("unit", "args") == {"percent": True}

    one.page.get_by_label("shown", exact=True).select_option(label="share of the update's energy that b retains")
    one.wait_for_property("title", "text", "share of the update's energy\nthat b retains")
    np.testing.assert_allclose(
        one.column("dots", "value"), one.value("[retained(masks(name)[1], name) for name in names]")
    )
    one.page.get_by_label("shown", exact=True).select_option(
        label="entries in both masks, in standard deviations from chance"
    )
    one.wait_for_property("unit", "args", {"percent": False})
    assert one.column("dots", "chance") == [0] * 5

    at = one.column("dots", "tensor").index(QUERY)
    one.click("dots", one.column("dots", "value")[at], one.column("dots", "y")[at])
    one.wait_in_kernel(f"view.tensor == {QUERY!r}")
    for name, which in (("a", 0), ("b", 1)):
        one.wait_for_column("tiles", name, one.value(f"[(100 * masks({QUERY!r})[{which}]).tolist()]"))
    assert one.column("ring", "y") == [one.column("dots", "y")[at]]

    one.page.get_by_label("tensor", exact=True).select_option(label="embed.weight")
    one.wait_for_column("tiles", "dh", [300])
    one.wait_for_property("rows", "start", 300)
    one.wheel("states", 12, 150, -800)
    one.wait_in_kernel("view.rows[1] - view.rows[0] < 200 and view.tiles.exact")
    one.wait("() => lab.model('tiles', 0, 'data').data.dh[0] < 210")
    shown = np.array(one.column("tiles", "both")[0])
    top, left = one.column("tiles", "y")[0], one.column("tiles", "x")[0]
    a, b = (np.array(mask) for mask in one.value("[mask.tolist() for mask in masks('embed.weight')]"))
    part = (slice(top, top + shown.shape[0]), slice(left, left + shown.shape[1]))
    np.testing.assert_array_equal(shown, 100 * (a & b)[part])

    one.page.get_by_label("tensor", exact=True).select_option(label=QUERY)
    one.wait_for_column("tiles", "dh", [24])
    one.slide("rows", 3)
    one.wait_in_kernel("view.rows == (3, 24)")
    one.wait_for_column("tiles", "y", [3])
    assert one.model_property("rows", "end") == 3
