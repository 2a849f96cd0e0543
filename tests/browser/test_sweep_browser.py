"""SweepView in JupyterLab and Voilà: each control changes the right column, and what the page holds is true."""

import math

import numpy as np
import pytest
from test_views_browser import SETUP

pytestmark = pytest.mark.browser

SWEEP = (
    SETUP
    + """
table = made_up()
pruned = table[table["model"] == "pruned"].assign(text=table["k"].map(repr))

def means(column, *rules):
    found = pruned[pruned["rule"].isin(rules)].groupby(["rule", "on", "text"])[column].mean()
    return sorted(found)

view = kenviz.SweepView(table)
"""
)


def test_controls_and_taps_change_what_the_page_holds(front):
    one = front([SWEEP, "view"])
    one.run()

    def holds(column, *rules):
        np.testing.assert_allclose(sorted(one.column("means", "y")), one.value(f"means({column!r}, *{rules})"))

    holds("metric", "ken", "random")
    assert one.model_property("fine_tuned", "location") == 0.7
    assert len(one.column("seeds", "y")) == 12

    one.page.get_by_label("metric", exact=True).select_option("macro_f1")
    one.wait_for_property("value_axis", "axis_label", "macro_f1")
    holds("macro_f1", "ken", "random")
    one.page.get_by_label("metric", exact=True).select_option("metric")
    one.page.get_by_label("value", exact=True).select_option("less that of the unpruned")
    one.wait_for_property("fine_tuned", "location", 0)
    holds("difference", "ken", "random")

    one.page.get_by_label("scale", exact=True).select_option("log")
    one.wait_for_property("share_ticks", "ticks", one.value("view.figure.select_one({'name': 'share_ticks'}).ticks"))
    one.wait("() => lab.model('shares', 0, 'start').end < 1")
    np.testing.assert_allclose(one.column("means", "x"), [math.log10(x) for x in one.column("means", "share")])

    one.page.get_by_label("rules", exact=True).select_option(["random"])
    one.wait_for_property("series_0", "visible", False)
    assert one.model_property("series_2", "visible") is True
    holds("difference", "random")

    at = one.column("seeds", "seed").index(2)
    x, y = one.column("seeds", "x")[at], one.column("seeds", "y")[at]
    one.click("sweep", x, y)
    one.wait_in_kernel("view.point[:2] == ('random', '') and view.point[3] == 2")
    one.wait_for_column("ring", "y", [y])
    assert "seed=2)" in one.page.evaluate("lab.panel().node.querySelector('.kenviz-card-box').innerText")

    one.page.get_by_label("evaluation", exact=True).select_option("random, k = 0.5, seed 1")
    one.wait_in_kernel("view.point == ('random', '', 0.5, 1)")
    one.wait("() => lab.panel().node.querySelector('.kenviz-card-box').innerText.includes(\"0.5, 'random', seed=1)\")")
    one.page.get_by_label("evaluation", exact=True).select_option("none")
    one.wait_for_column("ring", "x", [])


def test_a_subnetwork_at_the_end_of_a_cell_is_a_table(quiet_notebook):
    one = quiet_notebook([SETUP, "net"])
    one.run()
    one.wait("lab.panel().node.querySelector('.jp-OutputArea-output table') !== null")
    cells = one.page.evaluate(
        "[...lab.panel().node.querySelectorAll('.jp-OutputArea-output table tr')].map((row) => "
        "[...row.children].map((cell) => cell.innerText.trim()))"
    )
    assert [row[0] for row in cells] == ["kind", "embed", "query", "out"]
    assert [row[1] for row in cells[1:]] == ["50.0 %"] * 3
    drawn = one.page.evaluate("lab.panel().node.querySelectorAll('.jp-OutputArea-output table svg path').length")
    assert drawn == 3
