"""A view as one anywidget: what the page is told, what it may set, which widgets are known."""

import re
from pathlib import Path

import ipywidgets
import pytest
from kenviz_models import small_pair

import ken
import kenviz
from kenviz import hosts
from kenviz.hosts.portable import Portable
from kenviz.hosts.tree import ANY, SETTABLE, settable, whole

ROOT = Path(__file__).parents[2]


@pytest.fixture
def said(monkeypatch):
    """What portables send, as (content, buffers)."""
    messages = []

    def send(_self, message, buffers=None):
        if message["method"] == "custom":
            messages.append((message["content"], buffers))

    monkeypatch.setattr(Portable, "_send", send)
    return messages


def hear(portable, content, buffers=()):
    data = {"method": "custom", "content": content}
    portable.comm.handle_msg({"content": {"data": data}, "buffers": [*buffers]})


def drawn():
    """The views that portable.js has a function for."""
    text = (Path(hosts.__file__).parent / "controls.js").read_text(encoding="utf-8")
    return set(re.findall(r"^  (\w+View): ", text, re.M))


def test_both_halves_know_the_same_controls():
    assert drawn() == SETTABLE.keys()


def test_every_widget_that_the_package_makes_can_be_drawn():
    """Of all its text: what a view makes only now and then counts, too."""
    base = {"Widget", "CallbackDispatcher", "Layout", "DOMWidget"}
    made = set()
    for path in (ROOT / "kenviz").rglob("*.py"):
        made |= set(re.findall(r"\bipywidgets\.([A-Z]\w+)", path.read_text(encoding="utf-8")))
    assert {"VBox", "IntSlider", "Play"} <= made
    for name in made - base:
        assert getattr(ipywidgets, name)._view_name.default_value in SETTABLE, name


def test_every_widget_of_the_explorer_and_its_stages_can_be_drawn():
    pair = small_pair()
    explorer = kenviz.explore(ken.prune(*pair, 0.5, progress=False), pair)
    for stage in explorer.stages:
        explorer.stage = stage
        names = {one._view_name for one in whole(explorer).values() if isinstance(one, ipywidgets.DOMWidget)}
        assert {ANY, "VBoxView"} <= names <= {*SETTABLE, ANY}
    explorer.close()


def test_a_page_that_asks_has_the_tree_and_then_what_changes(said):
    slider = ipywidgets.IntSlider(max=9)
    box = ipywidgets.VBox([slider])
    portable = Portable(box)
    hear(portable, {"need": "tree", "view": "a"})
    ((content, _),) = said
    assert content["view"] == "a"
    assert content["tree"]["root"] == box.model_id
    assert content["tree"]["models"][slider.model_id]["state"]["max"] == 9
    said.clear()
    slider.value = 3
    assert [one["update"] for one, _ in said] == [{"id": slider.model_id, "state": {"value": 3}}]
    said.clear()
    words = ipywidgets.HTML("new")
    box.children = [words]
    ((content, _),) = said
    assert words.model_id in content["models"]
    assert slider.model_id in content["gone"]
    said.clear()
    slider.value = 4  # it is no part of the tree any longer
    assert said == []
    box.close()
    assert said[-1][0]["closed"] is True
    assert portable.comm is None


def test_what_a_page_sets_is_news_to_other_views_alone(said):
    slider = ipywidgets.IntSlider(max=9)
    portable = Portable(slider)
    hear(portable, {"sets": {slider.model_id: {"value": 5, "max": 3, "nothing": 1}}, "view": "a"})
    assert (slider.value, slider.max) == (5, 9)
    update, heard = (content for content, _ in said)
    assert (update["update"]["state"], update["origin"]) == ({"value": 5}, "a")
    assert heard["heard"] == "a"
    said.clear()
    hear(portable, {"sets": {slider.model_id: {"value": 99}}, "view": "a"})  # more than there is
    assert slider.value == 9
    assert {"value": 9} in [content["update"]["state"] for content, _ in said if content.get("origin") == ""]


@pytest.mark.parametrize(
    "content",
    [None, {}, {"need": "tree"}, {"sets": [], "view": "a"}, {"sets": {"x": {"value": 1}}, "view": "a"}, {"custom": 1}],
)
def test_what_is_no_message_changes_nothing(said, content):
    slider = ipywidgets.IntSlider()
    hear(Portable(slider), content)
    assert slider.value == 0
    assert [one for one, _ in said if "heard" not in one] == []


def test_a_value_of_a_wrong_kind_is_refused_and_corrected(said):
    slider = ipywidgets.IntSlider()
    hear(Portable(slider), {"sets": {slider.model_id: {"value": "many"}}, "view": "a"})
    assert slider.value == 0
    assert {"id": slider.model_id, "state": {"value": 0}} in [one.get("update") for one, _ in said]


def test_messages_of_widgets_in_the_tree_go_both_ways(said):
    button = ipywidgets.Button()
    pressed = []
    button.on_click(pressed.append)
    portable = Portable(ipywidgets.HBox([button]))
    hear(portable, {"custom": {"event": "click"}, "id": button.model_id})
    assert pressed == [button]
    button.send({"some": "news"}, [b"bytes"])
    assert said == [({"custom": {"some": "news"}, "id": button.model_id}, [b"bytes"])]
    portable.close()
    button.send({"more": "news"})
    assert len(said) == 1


def test_bytes_in_a_state_travel_beside_it(said):
    image = ipywidgets.Image(value=b"png")
    hear(Portable(image), {"need": "tree", "view": "a"})
    ((content, buffers),) = said
    assert [bytes(one) for one in buffers] == [b"png"]
    assert content["paths"] == [["tree", "models", image.model_id, "state", "value"]]


def test_what_may_be_set_of_an_anywidget_is_its_own_state():
    pair = small_pair()
    view = kenviz.RowView(ken.prune(*pair, 0.5, progress=False), pair)
    assert settable(view.pane) == {"text", "theme"} | settable(view.pane) - {"layout", "_esm", "_css"}
    assert not {"layout", "_esm", "_css"} & settable(view.pane)


def test_only_a_widget_is_portable():
    with pytest.raises(TypeError, match="tree must be an ipywidget, got str"):
        Portable("view")


def test_nothing_asks_for_what_bokeh_4_has_no_longer():
    """`output_notebook` and `push_notebook` are named in prose, and called nowhere."""
    for folder in ("ken", "kenviz", "notebooks", "docs", "benchmarks"):
        for path in (ROOT / folder).rglob("*"):
            if path.suffix in {".py", ".ipynb", ".md"}:
                text = path.read_text(encoding="utf-8")
                assert not re.search(r"(import|\.) *(output|push)_notebook|(output|push)_notebook\(", text), path
