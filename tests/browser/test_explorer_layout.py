"""The Explorer's boxes, measured in the page; axe; and all of it by the keyboard alone."""

import contextlib

import pytest
from boxes import WRONG_BOXES
from playwright.sync_api import TimeoutError as PlaywrightTimeout
from saying import said_by_axe
from test_views_browser import SETUP

pytestmark = pytest.mark.browser

PLACE = "view.tensor = 'layer.1.query.weight'; view.row, view.column = 5, 7"
EXPLORE = f"{SETUP}\nview = kenviz.explore(net, pair)\n{PLACE}"
SIZES = [(1400, 900), (1100, 800), (600, 900)]
STAGES = ["matrix", "row", "layers", "neighbours", "comparison"]

WRONG = f"({WRONG_BOXES})(lab.panel().node.querySelector('.kenviz-explorer'))"
PARTS = """() => Object.fromEntries(["side", "map-panel", "stage", "aside"].map((name) => {
    const {left, top, right, bottom} = lab.panel().node.querySelector(`.kenviz-${name}`).getBoundingClientRect();
    return [name, {left, top, right, bottom}];
}))"""


def opened(quiet_notebook):
    """The Explorer in JupyterLab, whose own bar of files is folded."""
    one = quiet_notebook([EXPLORE, "view"])
    one.page.evaluate("jupyterapp.shell.collapseLeft()")
    one.run()
    return one


def settled(one, where):
    """Wait until nothing is wrong: the list and the figures follow the size of the page after a moment."""
    with contextlib.suppress(PlaywrightTimeout):  # what is wrong is told below
        one.wait(f"{WRONG}.length === 0", timeout=20)
    assert one.page.evaluate(WRONG) == [], where


@pytest.mark.parametrize("theme", ["Light", "Dark"])
def test_no_text_is_cut_and_no_control_lies_on_another(quiet_notebook, theme):
    one = opened(quiet_notebook)
    one.use_theme(theme)
    for stage in STAGES:
        one.execute(f"view.stage = {stage!r}")
        for width, height in SIZES:
            one.page.set_viewport_size({"width": width, "height": height})
            one.wait_until_idle()
            settled(one, f"{stage} at {width} × {height}")
    one.page.set_viewport_size({"width": 1400, "height": 1600})


def test_what_belongs_to_one_question_is_seen_at_once_and_folds_where_it_is_narrow(quiet_notebook):
    one = opened(quiet_notebook)
    one.page.set_viewport_size({"width": 1400, "height": 900})
    one.page.evaluate("lab.panel().node.querySelector('.kenviz-explorer').scrollIntoView({block: 'start'})")
    one.wait_until_idle()
    parts = one.page.evaluate(PARTS)
    room = one.page.evaluate("lab.panel().content.node.getBoundingClientRect().bottom")
    assert all(part["bottom"] <= room + 1 for part in parts.values())
    assert parts["side"]["right"] < parts["map-panel"]["left"]
    assert parts["map-panel"]["bottom"] < parts["stage"]["top"]
    assert parts["stage"]["right"] < parts["aside"]["left"]
    # The matrix, its controls, the verdict and the line of Python are all in sight.
    stage = parts["stage"]
    frame = one.figure_box("matrix")
    assert stage["top"] < frame["y"]
    assert frame["y"] + frame["height"] < stage["bottom"]
    for look in ("kenviz-verdict", "kenviz-copy"):
        box = one.page.locator(f".kenviz-aside .{look}").bounding_box()
        assert box["y"] + box["height"] < parts["aside"]["bottom"]

    one.page.set_viewport_size({"width": 600, "height": 900})
    one.page.wait_for_timeout(300)
    parts = one.page.evaluate(PARTS)
    assert len({round(part["left"]) for part in parts.values()}) == 1
    tops = [parts[name]["top"] for name in ("side", "map-panel", "stage", "aside")]
    assert tops == sorted(tops)
    one.page.set_viewport_size({"width": 1400, "height": 1600})


@pytest.mark.parametrize("stage", STAGES)
def test_axe_has_nothing_to_say(quiet_notebook, stage):
    one = opened(quiet_notebook)
    one.execute(f"view.stage = {stage!r}; view.pin('One.'); view.pin('', 'map')")
    one.wait_until_idle()
    for theme in ("Light", "Dark"):
        one.use_theme(theme)
        assert said_by_axe(one, "kenviz-explorer") == [], theme


def test_every_step_can_be_done_by_keyboard(quiet_notebook):
    one = opened(quiet_notebook)
    press = one.page.keyboard.press

    one.page.get_by_placeholder("part of a name").focus()
    one.page.keyboard.type("out")
    one.wait_in_kernel("view.search.names == ['layer.0.out.weight', 'layer.1.out.weight']")
    for _ in range(20):
        press("Tab")
        if one.page.evaluate("document.activeElement.getAttribute('role')") == "tree":
            break
    press("Home")
    press("ArrowDown")
    press("Enter")
    one.wait_in_kernel("view.tensor == 'layer.1.out.weight'")

    one.page.get_by_role("tab", name="matrix", exact=True).focus()
    press("ArrowRight")
    one.wait_in_kernel("view.stage == 'row'")
    one.wait("document.activeElement.textContent === 'row'")  # the tabs keep the focus
    one.wait_until_idle()
    column = one.page.get_by_label("column", exact=True)
    column.focus()
    column.fill("3")
    press("Enter")
    one.wait_in_kernel("view.column == 3")
    one.wait("lab.panel().node.querySelector('.kenviz-aside .kenviz-verdict').innerText.startsWith('Entry 3 in row ')")
    column.fill("")
    press("Enter")
    one.wait_in_kernel("view.column == -1")
    assert column.input_value() == ""
    column.fill("4")
    press("Enter")
    one.wait_in_kernel("view.column == 4")

    one.page.locator(".kenviz-aside .kenviz-copy").focus()
    press("Enter")
    one.wait("['copied', 'selected'].includes(lab.panel().node.querySelector('.kenviz-aside .kenviz-copy').innerText)")

    one.wait_until_idle()
    one.page.get_by_placeholder("What do you say of it? (optional)").press_sequentially("The tails stay.")
    press("Tab")  # to the button; what was typed is told as the field is left
    one.wait("document.activeElement.innerText === 'pin'")
    press("Enter")
    one.wait_in_kernel("len(view.pins) == 1")
    assert one.value("view.pins[0].sentence") == "The tails stay."

    full = one.page.get_by_role("button", name="full screen")
    full.focus()
    press("Enter")
    one.wait("lab.panel().node.querySelector('.kenviz-explorer').getBoundingClientRect().height >= innerHeight - 1")
    one.page.get_by_role("button", name="leave full screen").focus()
    press("Enter")
    one.wait("document.fullscreenElement === null")


MANY = """
names = [f"model.layers.{i}.mlp.experts.{e}.{part}_proj.weight" for i in range(25) for e in range(40)
         for part in ("gate", "up", "down")]
weights = {name: torch.arange(8.0).reshape(2, 4) for name in names}
zeros = {name: torch.zeros(2, 4) for name in names}
view = kenviz.explore(ken.prune(weights, zeros, 2, progress=False))
"""


def test_of_three_thousand_tensors_only_those_in_sight_are_in_the_page(quiet_notebook):
    one = quiet_notebook([SETUP + MANY, "view"])
    one.run()
    lines = "lab.panel().node.querySelectorAll('.kenviz-line').length"
    assert one.value("len(view.search._list.lines)") < 200  # folded
    one.execute("view.search.sort = 'entries'")
    one.wait("lab.panel().node.querySelector('.kenviz-line').getAttribute('aria-setsize') === '3000'")
    assert 5 < one.page.evaluate(lines) < 60
    one.page.locator(".kenviz-list").focus()
    one.page.keyboard.press("End")
    one.wait("[...lab.panel().node.querySelectorAll('.kenviz-line')].some((line) => line.ariaPosInSet === '3000')")
    assert one.page.evaluate(lines) < 60
    one.page.keyboard.press("Enter")
    one.wait_in_kernel("view.tensor == view.search.names[-1]")
    assert one.page.evaluate("lab.panel().node.querySelector('.kenviz-map-panel').innerText.includes('Shown is sheet')")
