"""BokehPane in a real JupyterLab."""

import json

import pytest

pytestmark = pytest.mark.browser

MAKE = """
import numpy as np
from bokeh.models import ColumnDataSource, LinearColorMapper, Range1d, TapTool, Title
from bokeh.plotting import figure
from kenviz.pane.bokeh_pane import BokehPane

def make(**options):
    plot = figure(
        name="plot",
        height=300,
        sizing_mode="stretch_width",
        tools="wheel_zoom,tap,reset",
        active_scroll="wheel_zoom",
        x_range=Range1d(0, 10, name="x_range"),
        y_range=Range1d(0, 6, name="y_range"),
        title=Title(text="first", name="title"),
    )
    tiles = ColumnDataSource({"image": [np.zeros((2, 3), np.uint8)], "x": [0], "y": [0]}, name="tiles")
    mapper = LinearColorMapper(palette=["#ffffff", "#56b4e9"], low=0, high=1, name="mapper")
    image = plot.image("image", x="x", y="y", dw=10, dh=6, color_mapper=mapper, source=tiles)
    plot.select_one(TapTool).renderers = [
        plot.vbar(
            x="x",
            top="top",
            width=0.8,
            fill_color="#e69f00",
            source=ColumnDataSource({"x": [1.0, 2.0, 3.0], "top": [3.0, 4.0, 5.0]}, name="entries"),
        )
    ]
    plot.xaxis.name = "x_axis"
    return BokehPane(plot, text="Three bars.", **options)

pane = make()
events = []
pane.on_event(events.append)
"""


@pytest.fixture
def shown(quiet_notebook):
    """A notebook that displays one pane."""
    one = quiet_notebook([MAKE, "pane"])
    one.run()
    return one


@pytest.fixture
def shown_twice(quiet_notebook):
    """A notebook that displays one pane in two places."""
    one = quiet_notebook([MAKE, "pane", "pane"])
    one.run()
    return one


def test_a_figure_is_drawn_as_wide_as_the_cell_and_described_in_words(shown):
    assert shown.documents() == 1
    assert shown.column("entries", "top") == [3, 4, 5]
    assert shown.figure_box("plot")["width"] > 500
    host = shown.page.get_by_role("figure", name="Three bars.")
    assert host.evaluate("element => getComputedStyle(element).backgroundColor") == "rgba(0, 0, 0, 0)"


def test_a_patch_shows_in_the_page(shown):
    shown.execute("""
with pane.hold():
    pane.patch("entries", x=np.arange(4), top=np.array([1.5, np.nan, -np.inf, 2], np.float32))
    pane.patch("tiles", image=np.array([[1, 0], [0, 1], [1, 1]], np.uint8))
""")
    shown.wait_for_column("entries", "x", [0, 1, 2, 3])
    shown.wait("JSON.stringify(Array.from(lab.model('entries', 0, 'data').data.top, String)) === "
               "'[\"1.5\",\"NaN\",\"-Infinity\",\"2\"]'")  # fmt: skip
    assert shown.column("tiles", "image") == [[[1, 0], [0, 1], [1, 1]]]
    assert shown.page.evaluate("lab.model('tiles', 0, 'data').data.image[0].dtype") == "uint8"
    shown.execute("pane.patch('entries', x=[], top=[])")
    shown.wait_for_column("entries", "top", [])
    shown.execute("pane.patch('entries', x=['a', 'b'], top=[0, None])")
    shown.wait_for_column("entries", "x", ["a", "b"])
    shown.execute("pane.patch('entries', x=[1], top=[1])")  # and it goes on from there
    shown.wait_for_column("entries", "x", [1])
    shown.wait_until_idle()


def test_properties_show_in_the_page(shown):
    shown.execute("""
pane.set("x_range", start=-1.0, end=5.0)
pane.set("mapper", palette=["red", "#00ff00"], low=float("-inf"))
pane.set("x_axis", major_label_overrides={0: "none", 2.5: "some"})
pane.set("title", text="<second>")
""")
    shown.wait_for_property("title", "text", "<second>")
    assert shown.model_property("x_range", "end") == 5
    assert shown.page.evaluate("lab.model('mapper', 0).low") == float("-inf")
    assert shown.page.evaluate("lab.model('x_axis', 0).major_label_overrides.get(2.5)") == "some"


def test_a_zoom_reaches_python_once_and_a_second_display_follows(shown_twice):
    nb = shown_twice
    assert nb.documents() == 2
    for _ in range(10):
        nb.wheel("plot", 5, 3, -100, index=0)
    nb.wait("lab.model('x_range', 0).start > 3.5")  # 10 notches of 9 % about the middle
    start = nb.model_property("x_range", "start", index=0)
    nb.wait_in_kernel(f"abs(pane.root.x_range.start - {start}) < 1e-9")
    nb.wait_for_property("x_range", "start", start, index=1)
    nb.wait_for_property("y_range", "end", nb.model_property("y_range", "end", index=0), index=1)
    # A tap is reported behind all else that its view had to report: nothing came back from the second view.
    before = nb.value("events")
    middle = (start + nb.model_property("x_range", "end")) / 2
    nb.click("plot", middle, 3, index=1)
    nb.wait_in_kernel("events[-1]['kind'] == 'tap'")
    assert [event["kind"] for event in nb.value("events")[len(before) :]] == ["tap"]
    assert {event["name"] for event in before} == {"x_range", "y_range"}
    assert len(before) <= 20  # of some hundred changes in the browser
    # And the other way about.
    nb.wheel("plot", middle, 3, 100, index=1)
    nb.wait("start => lab.model('x_range', 1).start < start", start)
    nb.wait_for_property("x_range", "start", nb.model_property("x_range", "start", index=1), index=0)


def test_python_wins_over_a_zoom_it_has_not_heard_of(shown):
    shown.execute("import time; pane.on_event(lambda event: pane.set('x_range', start=2.0, end=4.0))")
    shown.wheel("plot", 5, 3, -100)
    shown.wait_in_kernel("events")
    shown.wait_for_property("x_range", "end", 4)
    assert shown.value("(pane.root.x_range.start, pane.root.x_range.end)") == (2, 4)


def test_a_tap_and_the_selection_it_makes_reach_python(shown_twice):
    nb = shown_twice
    nb.click("plot", 2, 1.5)
    nb.wait_in_kernel("{event['kind'] for event in events} == {'tap', 'select'}")
    select, tap = nb.value("events")
    assert select == {"kind": "select", "name": "entries", "indices": [1]}
    assert tap["figure"] == "plot"
    assert tap["x"] == pytest.approx(2, abs=0.05)
    assert tap["y"] == pytest.approx(1.5, abs=0.05)
    nb.wait("JSON.stringify(lab.model('entries', 1, 'data').selected.indices) === '[1]'")


def test_a_page_reload_shows_the_current_state(shown):
    shown.execute("pane.patch('entries', top=[1, 1, 6]); pane.set('title', text='now')")
    shown.wheel("plot", 5, 3, -100)
    shown.wait_in_kernel("pane.root.x_range.start > 0 and pane.root.y_range.start > 0")
    start = shown.value("pane.root.x_range.start")
    shown.reload()
    assert shown.column("entries", "top") == [1, 1, 6]
    assert shown.model_property("title", "text") == "now"
    assert shown.model_property("x_range", "start") == start
    assert shown.model_property("x_range", "reset_start") == 0
    shown.execute("pane.patch('entries', top=[2, 2, 2])")
    shown.wait_for_column("entries", "top", [2, 2, 2])


def test_displaying_again_and_again_leaves_one_document_and_nobody_listening(shown):
    for _ in range(20):
        shown.run_cell(1)
    shown.wait("Bokeh.documents.length === 1 && Bokeh.index.roots.length <= 2")  # the figure, and its notifications
    shown.execute("pane.close()")
    shown.wait("Bokeh.documents.length === 0 && Bokeh.index.roots.length === 0")


def test_a_saved_notebook_stays_small(shown_twice):
    size = shown_twice.save().stat().st_size
    assert size < 20_000
    (output,) = json.loads(shown_twice.file.read_text())["cells"][1]["outputs"]
    assert output["data"]["text/plain"] == ["BokehPane('Three bars.')"]


def test_panes_side_by_side_share_the_width(quiet_notebook):
    nb = quiet_notebook(
        [MAKE, "import ipywidgets as w\nw.VBox([w.HBox([make(), make(), w.IntSlider(description='k')]), make()])"]
    )
    nb.run()
    widths = [nb.figure_box("plot", index)["width"] for index in range(3)]
    assert sorted(widths)[0] > 150
    assert sorted(widths)[2] > 500
    nb.slide("k", 2)  # the keyboard is not lost to a figure
    nb.wait("document.querySelector('.widget-readout').textContent === '2'")


def test_a_pane_in_a_closed_tab_is_drawn_when_it_is_opened_as_it_is_then(quiet_notebook):
    nb = quiet_notebook(
        [MAKE, "import ipywidgets as w\ntabs = w.Tab([w.Label('empty'), pane], titles=['a', 'b'])\ntabs"]
    )
    nb.run()
    nb.execute("pane.patch('entries', top=[1, 1, 1])")
    assert nb.documents() == 0
    nb.execute("tabs.selected_index = 1")
    nb.wait("lab.models('entries').length > 0")
    nb.wait_until_idle()
    assert nb.column("entries", "top") == [1, 1, 1]
    assert nb.figure_box("plot")["width"] > 500


# In a box, of which a pane is not told that it is displayed: nothing is sent ahead.
BOX = "__import__('ipywidgets').VBox"

COUNT = """
sent = []
class Counting(BokehPane):
    def send(self, content, buffers=None):
        sent.append(next(iter(content)))
        super().send(content, buffers)
"""


def test_panes_that_appear_at_once_load_bokehjs_once(quiet_notebook):
    nb = quiet_notebook([MAKE, COUNT, f"{BOX}([Counting(figure()) for _ in 'abc'])"], fresh=True)
    nb.run()
    nb.wait("Bokeh.documents.length === 3")
    assert sorted(nb.value("sent")) == ["bokehjs", "figure", "figure", "figure"]


def test_panes_that_python_displays_have_bokehjs_without_asking(quiet_notebook):
    nb = quiet_notebook(
        [MAKE, COUNT, "from IPython.display import display\ndisplay(*(Counting(figure()) for _ in 'abc'))"],
        fresh=True,
    )
    nb.run()
    nb.wait("Bokeh.documents.length === 3")
    assert nb.value("sent") == ["current"] * 3  # and the figures have come with them


def test_another_bokehjs_in_the_page_is_left_alone(quiet_notebook):
    nb = quiet_notebook([MAKE, "pane"], fresh=True)
    nb.spoilt = True
    nb.page.evaluate("window.Bokeh = {version: '1.0.0', __bokeh__: true, documents: []}")
    nb.run()
    # A pre-release calls itself 3.10.0-dev.5 there, and 3.10.0.dev5 in Python.
    version = nb.value("__import__('re').match('[0-9]+.[0-9]+.[0-9]+', __import__('bokeh').__version__)[0]")
    nb.wait(
        "version => Object.keys(Bokeh).some((key) => key.startsWith(version) && Bokeh[key].documents.length === 1)",
        version,
    )
    assert nb.page.evaluate("window.Bokeh.version") == "1.0.0"


def test_without_an_answer_the_words_are_shown_as_text_until_the_figure_can_be(quiet_notebook):
    nb = quiet_notebook([MAKE + "pane.text = 'Names like <img src=x onerror=alert(1)>.'", f"{BOX}([pane])"], fresh=True)
    nb.run_cell(0)
    nb.execute("receive = pane._receive; pane.on_msg(receive, remove=True)")
    nb.execute("unanswered = []; pane.on_msg(lambda *message: unanswered.append(message))")
    nb.run_cell(1, wait=False)
    words = nb.page.get_by_role("figure").get_by_text("Names like <img src=x onerror=alert(1)>. [The figure")
    words.wait_for()
    nb.execute("pane.text = 'Other words.'")
    nb.page.get_by_role("figure").get_by_text("Other words. [The figure").wait_for()
    nb.execute("pane.on_msg(receive)\nfor message in unanswered: receive(*message)")
    nb.wait("lab.models('entries').length > 0")
    nb.wait_until_idle()
    assert nb.page.get_by_text("Other words.").count() == 0


def test_a_figure_whose_place_is_taken_out_of_the_page_is_drawn_when_it_is_back(quiet_notebook):
    nb = quiet_notebook([MAKE, f"{BOX}([pane])"], fresh=True)
    nb.run_cell(0)
    nb.execute("receive = pane._receive; pane.on_msg(receive, remove=True)")
    nb.execute("unanswered = []; pane.on_msg(lambda *message: unanswered.append(message))")
    nb.run_cell(1, wait=False)
    nb.wait_in_kernel("unanswered")
    # As JupyterLab does with cells that are scrolled out of sight: the figure arrives while its place is nowhere.
    nb.page.evaluate("""() => {
        window.place = document.querySelector("[role=figure]").parentElement;
        window.around = place.parentElement;
        place.remove();
    }""")
    nb.execute("pane.on_msg(receive)\nfor message in unanswered: receive(*message)")
    nb.execute("pane.patch('entries', top=[2, 2, 2])")
    nb.wait("window.Bokeh !== undefined")
    assert nb.documents() == 0
    nb.page.evaluate("around.append(place)")
    nb.wait("lab.models('entries').length > 0")
    nb.wait_until_idle()
    assert nb.column("entries", "top") == [2, 2, 2]
    assert nb.documents() == 1
    nb.execute("pane.close()")
    nb.wait("Bokeh.documents.length === 0 && Bokeh.index.roots.length === 0")


def test_colours_follow_the_page_if_told_so(quiet_notebook):
    one = quiet_notebook([MAKE, "auto = make(theme='auto')\nauto", "own = make()\nown"])
    one.run()
    papers = "lab.models('plot').map((plot) => plot.background_fill_color)"
    assert one.page.evaluate(papers) == ["#ffffff", "#ffffff"]
    one.use_theme("Dark")
    one.wait(f'JSON.stringify({papers}) === \'["#181a1b","#ffffff"]\'')
    # Python was told nothing: the theme is the page's.
    assert one.value("auto.root.background_fill_color") == "#ffffff"
    one.execute("auto.theme = 'light'")
    one.wait(f'JSON.stringify({papers}) === \'["#ffffff","#ffffff"]\'')
    one.execute("auto.theme = own.theme = 'dark'")
    one.wait(f'JSON.stringify({papers}) === \'["#181a1b","#181a1b"]\'')
    one.use_theme("Light")
    one.wait("document.body.dataset.jpThemeLight === 'true'")
    assert one.page.evaluate(papers) == ["#181a1b", "#181a1b"]
