"""The RowView in JupyterLab and Voilà: each control changes the page to what the rule, by its definition, says."""

import numpy as np
import pytest
from test_views_browser import SETUP, in_step

pytestmark = pytest.mark.browser

# What the row is, and what the rule decides of it, by definition; and the density, by another library.
BY_HAND = """
from oracles import published_rule
from sklearn.neighbors import KernelDensity
QUERY = "layer.1.query.weight"
fine_tuned, pretrained = (model[QUERY].double().numpy() for model in pair)

def density(at, row, kernel="gaussian", factor=1.0):
    h = factor * 1.06 * row.std() * len(row) ** -0.2
    found = KernelDensity(kernel=kernel, bandwidth=h).fit(row[:, None])
    return np.exp(found.score_samples(np.array(at)[:, None])).tolist()

def retained(row, k):
    return np.flatnonzero(published_rule(row, k)).tolist()

def claims(row, k, factor=1.0, backwards=False):
    points, free, found = np.linspace(row.min(), row.max(), k), np.ones(len(row), bool), []
    order = np.argsort(-np.round(density(points, row, factor=factor)), kind="stable")
    for at in points[order[::-1] if backwards else order]:
        far = np.abs(row - at)
        entry = int(np.where(free, far, np.inf).argmin())
        found.append((float(at), entry, np.flatnonzero(~free & (far < far[entry])).tolist()))
        free[entry] = False
    return found

def flips(row, k, **how):
    taken = [{entry for _, entry, _ in found} for found in (claims(row, k), claims(row, k, **how))]
    return f"{len(taken[0] ^ taken[1]) / len(row):.2%}"

view = kenviz.RowView(net, pair, QUERY)
"""


def curve_is(one, expression):
    """The curve of the page is that density, at the places where the page has it."""
    at = one.column("curve", "x")
    np.testing.assert_allclose(one.column("curve", "y"), one.value(f"density({at}, {expression})"), rtol=1e-6)


def choose(one, label, option):
    one.page.get_by_label(label, exact=True).first.select_option(label=option)


def test_each_control_changes_the_page_to_what_the_rule_says(front):
    one = front([SETUP + BY_HAND, "view"])
    one.run()
    assert one.column("retained", "column") == one.value("retained(fine_tuned[0], 12)")
    np.testing.assert_allclose(
        sorted(one.column("retained", "x") + one.column("reset", "x")), one.value("sorted(fine_tuned[0].tolist())")
    )
    curve_is(one, "fine_tuned[0]")

    one.slide("row", 5)
    one.wait_in_kernel("view.row == 5")
    in_step(one, 1)
    assert one.column("retained", "column") == one.value("retained(fine_tuned[5], 12)")
    assert one.model_property("name", "text") == "row 5 of layer.1.query.weight"
    curve_is(one, "fine_tuned[5]")

    one.slide("k", -4)
    one.wait_in_kernel("view.k == 8")
    in_step(one, 1)
    assert one.column("retained", "column") == one.value("retained(fine_tuned[5], 8)")
    np.testing.assert_allclose(
        one.column("grid", "x"), one.value("np.linspace(*np.sort(fine_tuned[5])[[0, -1]], 8).tolist()")
    )

    one.slide("bandwidth ×", 4)
    one.wait_in_kernel("view.bandwidth == 2")
    in_step(one, 1)
    curve_is(one, "fine_tuned[5], factor=2")

    choose(one, "kernel", "epanechnikov")
    one.wait_in_kernel("view.kernel == 'epanechnikov'")
    in_step(one, 1)
    curve_is(one, "fine_tuned[5], 'epanechnikov', 2")

    choose(one, "kernel", "gaussian")
    one.slide("bandwidth ×", -4)
    one.wait_in_kernel("(view.kernel, view.bandwidth) == ('gaussian', 1)")
    choose(one, "on", "update")
    one.wait_in_kernel("view.on == 'update'")
    in_step(one, 1)
    assert one.column("retained", "column") == one.value("retained(fine_tuned[5] - pretrained[5], 8)")
    assert one.model_property("axis", "axis_label").startswith("update")
    curve_is(one, "fine_tuned[5] - pretrained[5]")

    choose(one, "rule", "magnitude")
    one.wait_in_kernel("(view.rule, view.on) == ('magnitude', 'weights')")
    in_step(one, 1)
    assert one.column("retained", "column") == one.value("np.sort(np.argsort(-np.abs(fine_tuned[5]))[:8]).tolist()")
    assert one.column("grid", "x") == []
    one.wait("document.body.innerText.includes('No claims to play')")

    choose(one, "tensor", "layer.0.out.weight")
    one.wait_in_kernel("view.tensor == 'layer.0.out.weight'")
    in_step(one, 1)
    assert len(one.column("retained", "column")) == 24
    assert len(one.column("reset", "column")) == 24


def test_claims_are_played_one_by_one(quiet_notebook):
    one = quiet_notebook([SETUP + BY_HAND, "view"])
    one.run()
    say = one.value("claims(fine_tuned[0], 12)")

    def shows(step):
        at, entry, taken = say[step - 1]
        assert one.column("claim", "at") == pytest.approx([at])
        assert one.column("claim", "column") == [entry]
        assert sorted(one.column("nearer", "column")) == taken
        assert one.column("retained", "column") == sorted(entry for _, entry, _ in say[:step])
        one.wait("text => document.body.innerText.includes(text)", f"claims entry {entry}, ")

    assert not one.model_property("close", "visible")
    for step in (1, 2):
        one.page.get_by_role("button", name="next").click()
        one.wait_in_kernel(f"view.step == {step}")
        in_step(one, 1)
        shows(step)
    assert one.model_property("close", "visible")
    crowded = 1 + max(range(12), key=lambda step: len(say[step][2]))
    assert len(say[crowded - 1][2]) > 0
    one.slide("step", crowded - 2)
    one.wait_in_kernel(f"view.step == {crowded}")
    in_step(one, 1)
    shows(crowded)

    one.slide("step", 1 - crowded)
    one.wait_in_kernel("view.step == 1")
    one.page.locator(".widget-play button").first.click()
    one.wait_in_kernel("view.step == 12 and not view._steps.play.playing")  # by itself, claim after claim
    in_step(one, 1)
    shows(12)
    one.page.get_by_role("button", name="previous").click()
    one.wait_in_kernel("view.step == 11")
    in_step(one, 1)
    shows(11)


def test_the_stability_of_the_mask_is_told_on_request(quiet_notebook):
    one = quiet_notebook([SETUP + BY_HAND + "view.row = 3", "view"])
    one.run()
    cases = ("halving the bandwidth", "factor=0.5"), ("doubling it", "factor=2"), ("in reverse", "backwards=True")
    for words, how in cases:
        one.wait(
            "text => document.body.innerText.includes(text)", f"{words} {one.value(f'flips(fine_tuned[3], 12, {how})')}"
        )
    box = one.page.get_by_label("mask stability", exact=True)
    box.click()
    one.wait("!document.body.innerText.includes('Mask stability, by')")
    assert one.value("view.stability") is False
    box.click()
    one.wait("document.body.innerText.includes('Mask stability, by')")


def test_an_entry_is_chosen_by_a_tap_or_by_its_column(quiet_notebook):
    one = quiet_notebook([SETUP + BY_HAND, "view"])
    one.run()
    at = one.column("retained", "column")[3]
    one.click("strip", one.value(f"float(fine_tuned[0, {at}])"), 1)
    one.wait_in_kernel(f"view.entry == {at}")
    in_step(one, 1)
    assert one.column("chosen", "column") == [at]
    one.wait(
        "text => document.body.innerText.includes(text)", f"Entry {at} in row 0 of layer.1.query.weight is retained."
    )

    box = one.page.get_by_label("column", exact=True)
    reset = one.column("reset", "column")[0]
    box.fill(str(reset))
    box.press("Enter")
    one.wait_in_kernel(f"view.entry == {reset}")
    in_step(one, 1)
    assert (one.column("chosen", "column"), one.column("chosen", "lane")) == ([reset], [0])
    one.wait(
        "text => document.body.innerText.includes(text)", f"Entry {reset} in row 0 of layer.1.query.weight is reset."
    )
