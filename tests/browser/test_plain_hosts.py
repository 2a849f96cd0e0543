"""Views as one anywidget, in a plain page: in a frame a cell as Colab has them, and under the policy of VS Code."""

import ipywidgets
import numpy as np
import pytest
from host import DRAWN, VSCODE, Host
from kenviz_models import small_pair

import ken
import kenviz

pytestmark = pytest.mark.browser


@pytest.fixture
def host(browser):
    opened = []

    def open_host(**kwargs):
        opened.append(Host(browser.new_page(), **kwargs))
        return opened[-1]

    yield open_host
    for one in opened:
        assert one.outside == []
        assert one.errors == []
        one.page.close()


@pytest.fixture(scope="module")
def made():
    pair = small_pair()
    return ken.prune(*pair, 0.5, progress=False), pair


def becomes(where, condition):
    """Wait for what Python holds; meanwhile the page is served."""
    for _ in range(600):
        if condition():
            return
        where.wait_for_timeout(50)
    raise AssertionError("not true after 30 s")


def column(where, source, name):
    return where.evaluate("([source, name]) => lab.plain(lab.model(source, -1, 'data').data[name])", [source, name])


def shows(where, source, name, values):
    where.wait_for_function(
        "([source, name, values]) => JSON.stringify(lab.plain(lab.model(source, -1, 'data').data[name])) === values",
        arg=[source, name, str(values).replace(" ", "")],
    )


def test_every_control_says_what_it_is_and_does_what_it_should(host):
    """One of each kind: the name that it has, and what Python hears when it is used."""
    made = {
        "slider": ipywidgets.IntSlider(description="slider", max=9),
        "power": ipywidgets.FloatLogSlider(description="power", base=2, min=-3, max=3, step=0.25, readout_format=".3g"),
        "between": ipywidgets.IntRangeSlider(description="between", value=(1, 5), max=9),
        "number": ipywidgets.BoundedIntText(description="number", max=9),
        "factor": ipywidgets.BoundedFloatText(description="factor", max=9),
        "words": ipywidgets.Text(description="words", continuous_update=False),
        "lines": ipywidgets.Textarea(description="lines"),
        "one": ipywidgets.Dropdown(description="one", options=[("a", 1), ("b", 2)]),
        "list": ipywidgets.Select(description="list", options=["p", "q"]),
        "several": ipywidgets.SelectMultiple(description="several", options=["x", "y", "z"]),
        "tick": ipywidgets.Checkbox(description="tick", indent=False),
        "toggle": ipywidgets.ToggleButton(description="toggle"),
        "any of": ipywidgets.Combobox(description="any of", options=["u", "v"]),
    }
    pressed = []
    go = ipywidgets.Button(description="go")
    go.on_click(pressed.append)
    play = ipywidgets.Play(max=2, interval=10)
    bare = ipywidgets.Text(tooltip="A name from the tooltip")
    hidden = ipywidgets.Label("hidden", layout={"display": "none"})
    strange = ipywidgets.ColorPicker()
    bar = ipywidgets.IntProgress(description="bar", value=4, max=8)
    box = ipywidgets.VBox([*made.values(), go, play, bare, hidden, strange, bar, ipywidgets.HTML("<b>bold</b>")])
    from kenviz.hosts.portable import Portable

    page = host().show(Portable(box))
    for name in ("slider", "power", "words", "one", "tick", "several", "bar"):
        page.get_by_label(name, exact=True).wait_for()
    page.get_by_label("slider", exact=True).press("ArrowRight")
    page.get_by_label("slider", exact=True).press("End")
    page.get_by_label("power", exact=True).press("ArrowRight")
    page.get_by_label("between to", exact=True).press("ArrowRight")
    page.get_by_label("number", exact=True).fill("7")
    page.get_by_label("factor", exact=True).fill("2.5")
    page.get_by_label("words", exact=True).fill("some")
    page.get_by_label("lines", exact=True).fill("two\nlines")
    page.get_by_label("one", exact=True).select_option("b")
    page.get_by_label("list", exact=True).select_option("q")
    page.get_by_label("several", exact=True).select_option(["x", "z"])
    page.get_by_label("tick", exact=True).check()
    page.get_by_role("button", name="toggle").click()
    page.get_by_label("any of", exact=True).fill("v")
    page.get_by_role("button", name="go").click()
    page.get_by_role("button", name="play the steps").click()
    wanted = {
        "slider": 9,
        "between": (1, 6),
        "number": 7,
        "factor": 2.5,
        "words": "some",
        "lines": "two\nlines",
        "power": 2**0.25,
        "one": 2,
        "list": "q",
        "several": ("x", "z"),
        "tick": True,
        "toggle": True,
        "any of": "v",
    }
    becomes(page, lambda: {name: widget.value for name, widget in made.items()} == wanted and play.value == 2)
    assert pressed == [go]
    assert page.get_by_role("button", name="toggle").get_attribute("aria-pressed") == "true"
    assert page.get_by_label("A name from the tooltip").count() == 1
    assert page.get_by_text("kenviz cannot draw a ColorPicker (ColorPickerView) here.").is_visible()
    assert page.get_by_text("bold").is_visible()
    assert not page.get_by_text("hidden", exact=True).is_visible()

    made["slider"].value, made["one"].options, hidden.layout.display = 4, ["new", "newer"], None
    made["number"].max, go.disabled, box.children = 5, True, box.children[:16]
    page.wait_for_function("document.querySelector('input[type=range]').value === '4'")
    page.wait_for_function("document.querySelectorAll('progress').length === 0")
    assert page.get_by_label("one", exact=True).locator("option").all_inner_texts() == ["new", "newer"]
    assert page.get_by_label("number", exact=True).input_value() == "5"
    assert page.get_by_role("button", name="go").is_disabled()
    made["number"].value = 3
    page.wait_for_function("[...document.querySelectorAll('input[type=number]')][0].value === '3'")
    page.get_by_label("number", exact=True).fill("99")
    page.get_by_label("number", exact=True).press("Enter")  # more than there is: Python says what it made of it
    page.wait_for_function("[...document.querySelectorAll('input[type=number]')][0].value === '5'")
    box.close()
    page.wait_for_function("document.querySelectorAll('input').length === 0")


def test_two_views_of_one_tree_stay_in_step(host):
    from kenviz.hosts.portable import Portable

    one = host()
    slider = ipywidgets.IntSlider(description="slider", max=9)
    portable = Portable(ipywidgets.VBox([slider]))
    page = one.show(portable)
    page.get_by_label("slider").press("ArrowRight")
    becomes(page, lambda: slider.value == 1)
    page.evaluate("unshow()")
    page.wait_for_function("document.querySelectorAll('input').length === 0")


def test_colab_has_a_frame_for_each_cell(host, made):
    """Neither BokehJS nor a style is shared, and the page has none of JupyterLab's colours."""
    net, pair = made
    one = host()
    row, matrix = kenviz.RowView(net, pair), kenviz.MatrixView(net, pair, tensor="layer.1.query.weight")
    frames = [one.show(row.portable(), "cell-1"), one.show(matrix.portable(), "cell-2")]
    for frame in frames:
        frame.wait_for_function(DRAWN, arg=1)
    assert one.page.evaluate("window.Bokeh === undefined")
    before = column(frames[0], "curve", "y")
    frames[0].get_by_label("row", exact=True).press("ArrowRight")
    becomes(one.page, lambda: row.row == 1)
    shows(frames[0], "retained", "column", np.flatnonzero(net[row.tensor].mask()[1]).tolist())
    assert column(frames[0], "curve", "y") != before
    at = frames[1].evaluate("lab.point('matrix', -1, 7.5, 5.5)")
    corner = frames[1].frame_element().bounding_box()
    one.page.mouse.click(corner["x"] + at["x"], corner["y"] + at["y"])
    becomes(one.page, lambda: matrix.entry == (5, 7))
    frames[1].get_by_text(f"Entry 7 in row 5 of {matrix.tensor} is").first.wait_for()
    row.close()
    frames[0].wait_for_function("document.querySelectorAll('[role=figure]').length === 0")
    matrix.close()


@pytest.mark.parametrize("policy", ["", VSCODE], ids=["as it is", "with enableCsp"])
def test_vscode_lets_all_of_it_run(host, made, policy):
    net, pair = made
    one = host(policy=policy)
    explorer = kenviz.explore(net, pair)
    page = one.show(explorer.portable())
    page.wait_for_function(DRAWN, arg=2)
    page.get_by_role("tab", name="row", exact=True).click()
    becomes(page, lambda: explorer.stage == "row")
    page.wait_for_function("lab.models('retained').length > 0")
    page.get_by_label("row", exact=True).press("ArrowRight")
    becomes(page, lambda: explorer.row == 1)
    page.get_by_role("button", name="undo").click()
    becomes(page, lambda: explorer.row == 0)
    # What the policy refused, and was then run as text, is said by the browser.
    one.errors[:] = [error for error in one.errors if not (policy and "blob:" in error)]
    explorer.close()
