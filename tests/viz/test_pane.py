"""BokehPane without a browser: what it keeps, what it sends, and what it takes from a view."""

import copy
import json
import threading
from contextlib import contextmanager

import numpy as np
import pytest
from bokeh.layouts import column, row
from bokeh.models import ColumnDataSource, LinearColorMapper, Range1d, Title
from bokeh.plotting import curdoc, figure

from kenviz.pane.bokeh_pane import BokehPane
from kenviz.pane.named_models import UnknownNameError

VALUES = {"x": [0.0, 1.0, 2.0], "top": [3.0, 4.0, 5.0], "label": ["a", "b", "c"]}


def make_figure():
    source = ColumnDataSource(copy.deepcopy(VALUES), name="entries")
    plot = figure(
        name="plot",
        width=300,
        x_range=Range1d(0, 10, name="x_range"),
        y_range=Range1d(0, 6, name="y_range"),
        title=Title(text="before", name="title"),
    )
    plot.vbar(x="x", top="top", source=source, name="bars")
    plot.xaxis.name = "x_axis"
    tiles = ColumnDataSource({"image": [np.zeros((2, 2), np.uint8)], "x": [0], "y": [0]}, name="tiles")
    mapper = LinearColorMapper(palette=["#000000", "#ffffff"], low=0, high=1, name="mapper")
    plot.image("image", x="x", y="y", dw=1, dh=1, color_mapper=mapper, source=tiles)
    return plot


class Wire:
    """Stands in for the browsers at the other end of a pane."""

    def __init__(self, pane):
        self.pane = pane
        self.sent = []
        pane.send = lambda content, buffers=None: self.sent.append((content, list(buffers or [])))

    def ask(self, view="v1"):
        """What a view of that name is answered."""
        self.say({"need": "figure", "view": view})
        answer, _ = self.sent.pop()
        return answer

    def say(self, content):
        self.pane._handle_custom_msg(content, [])

    def report(self, *events, view="v1", seen=None):
        self.say({"events": list(events), "view": view, "seen": self.generation if seen is None else seen})

    @property
    def generation(self):
        return self.pane._generation

    def applied(self):
        """The changes sent since the last call, as {model name: {column or property: value}}, one per message."""
        sent, self.sent = self.sent, []
        return [
            {
                self.pane.root.document.get_model_by_id(op["id"]).name or op["id"]: {
                    **decode(op["columns"], buffers),
                    **decode(op["properties"], buffers),
                }
                for op in content["apply"]
            }
            for content, buffers in sent
        ]

    def only(self, name):
        """The one change sent since the last call, which must be of that model alone."""
        (message,) = self.applied()
        assert list(message) == [name]
        return message[name]


def decode(value, buffers):
    """What pane.js makes of an encoded value."""
    if isinstance(value, list):
        return [decode(item, buffers) for item in value]
    if not isinstance(value, dict):
        return value
    if value["kind"] == "number":
        return float(value["text"])
    if value["kind"] == "array":
        return np.frombuffer(buffers[value["buffer"]], value["dtype"]).reshape(value["shape"])
    return {key: decode(item, buffers) for key, item in value["entries"]}


@pytest.fixture
def pane():
    pane = BokehPane(make_figure(), text="Three entries.")
    yield pane
    pane.close()


@pytest.fixture
def wire(pane):
    """A pane that one view has asked for its figure, and whose messages are caught."""
    wire = Wire(pane)
    wire.ask()
    return wire


def id_of(pane, name):
    return pane.root.document.get_model_by_name(name).id


def moved(pane, start, end, name="x_range"):
    return {"id": id_of(pane, name), "start": start, "end": end}


def state(pane):
    """All that a view would be shown, comparable."""
    return json.dumps(pane.json(), sort_keys=True)


@contextmanager
def unchanged(pane):
    before = state(pane)
    yield
    assert state(pane) == before


# ---- construction and text


def test_the_root_is_alone_in_a_document_of_its_own():
    pane = BokehPane(make_figure())
    assert pane.root.document.roots == [pane.root]
    assert pane.root.document is not curdoc()


def test_a_root_is_in_one_pane_only(pane):
    with pytest.raises(ValueError, match="'plot' is in a document already"):
        BokehPane(pane.root)


def test_a_source_is_in_one_pane_only_and_the_refused_figure_stays_free(pane):
    plot = figure()
    plot.scatter("x", "top", source=pane.root.select_one({"name": "entries"}))
    with pytest.raises(ValueError, match="ColumnDataSource 'entries' is in a document already"):
        BokehPane(plot)
    assert plot.document is None


def test_a_root_is_a_figure_or_a_layout():
    with pytest.raises(TypeError, match="root must be a Bokeh figure or layout, got Range1d"):
        BokehPane(Range1d(0, 1))
    pane = BokehPane(column(row(figure(name="a"), figure(name="b")), figure(name="c")))
    pane.set("b", width=200)
    assert pane.root.select_one({"name": "b"}).width == 200


def test_the_text_form_is_one_line_without_ids(pane):
    assert repr(pane) == "BokehPane('Three entries.')"
    bundle, _ = pane._repr_mimebundle_()
    assert bundle["text/plain"] == "BokehPane('Three entries.')"
    pane.text = "two\nlines"
    assert repr(pane) == r"BokehPane('two\nlines')"


def test_the_figure_is_not_part_of_the_state_that_notebooks_save(pane):
    pane.patch("entries", x=np.arange(3), top=np.arange(3))
    saved = json.dumps({name: repr(value) for name, value in pane.get_state().items() if name not in ("_esm", "_css")})
    assert len(saved) < 2000
    assert "entries" not in saved.replace("Three entries", "")


# ---- patch


def test_a_patch_replaces_the_columns_given_and_sends_only_those(pane, wire):
    pane.patch("entries", top=[7, 8, 9])
    assert pane.column("entries", "top").tolist() == [7, 8, 9]
    assert pane.column("entries", "label").tolist() == ["a", "b", "c"]
    sent = wire.only("entries")
    assert list(sent) == ["top"]
    assert sent["top"].tolist() == [7, 8, 9]


def test_a_patch_of_all_columns_may_change_the_length(pane, wire):
    pane.patch("entries", x=[1.0], top=np.array([2.0]), label=["z"])
    assert [len(pane.column("entries", name)) for name in VALUES] == [1, 1, 1]
    pane.patch("entries", x=[], top=[], label=[])
    assert [len(pane.column("entries", name)) for name in VALUES] == [0, 0, 0]


@pytest.mark.parametrize(
    ("columns", "lengths"),
    [
        ({"x": [1.0], "top": [1.0, 2.0], "label": ["a"]}, "x: 1, top: 2, label: 1"),
        ({"x": [1.0], "top": [2.0]}, r"x: 1, top: 1, label: 3 \(not given\)"),
    ],
)
def test_columns_must_have_equal_length(pane, wire, columns, lengths):
    with (
        unchanged(pane),
        pytest.raises(ValueError, match=f"source 'entries': columns must have equal length, got {lengths}"),
    ):
        pane.patch("entries", **columns)
    assert wire.sent == []


def test_unknown_names_are_told_with_the_known_ones(pane):
    with pytest.raises(KeyError) as caught:
        pane.patch("nowhere", x=[1])
    assert str(caught.value) == "no source is named 'nowhere'; known names: 'entries', 'tiles'"
    with pytest.raises(UnknownNameError, match="no column 'y'; its columns: 'x', 'top', 'label'"):
        pane.patch("entries", y=[1, 2, 3])
    with pytest.raises(UnknownNameError, match="no column 'y'"):
        pane.column("entries", "y")
    with pytest.raises(UnknownNameError, match="no model is named 'nowhere'; known names: 'bars', 'entries'"):
        pane.set("nowhere", start=1)
    with pytest.raises(UnknownNameError, match="no source is named 'x_range'"):
        pane.patch("x_range", start=[1])


def test_a_source_and_a_renderer_may_share_a_name_until_it_is_ambiguous(pane):
    pane.root.renderers[0].name = "entries"
    pane.patch("entries", top=[1, 1, 1])
    with pytest.raises(UnknownNameError, match="several models are named 'entries': Colu"):
        pane.set("entries", visible=False)


@pytest.mark.parametrize(
    "dtype", [bool, "u1", "i1", "u2", "i2", "u4", "i4", "f4", "f8", ">f8", ">i2", "f2", "i8", "u8"]
)
def test_arrays_arrive_with_their_values_in_a_type_that_browsers_have(pane, wire, dtype):
    values = np.array([0, 1, 7], dtype)
    values.flags.writeable = False
    pane.patch("entries", x=values)
    sent = wire.only("entries")
    assert sent["x"].tolist() == values.tolist()
    assert sent["x"].dtype == pane.column("entries", "x").dtype
    assert sent["x"].dtype.itemsize <= 8
    assert sent["x"].dtype.isnative
    if np.dtype(dtype).isnative and dtype not in ("f2", "i8", "u8"):
        assert sent["x"].dtype == values.dtype


def test_integers_beyond_32_bits_become_floats(pane):
    pane.patch("entries", x=np.array([0, 1, 2**40]))
    assert pane.column("entries", "x").dtype == np.float64
    assert pane.column("entries", "x").tolist() == [0, 1, 2**40]


def test_nan_and_infinity_survive_in_arrays_and_properties(pane, wire):
    pane.patch("entries", top=[1.0, np.nan, -np.inf], label=["a", float("nan"), None])
    pane.set("mapper", low=-np.inf)
    entries, mapper = wire.applied()
    np.testing.assert_array_equal(entries["entries"]["top"], [1.0, np.nan, -np.inf])
    assert np.isnan(entries["entries"]["label"][1])
    assert entries["entries"]["label"][::2] == ["a", None]
    assert mapper["mapper"]["low"] == -np.inf
    json.dumps([pane.json(), wire.ask()], allow_nan=False)


@pytest.mark.parametrize("wrap", [lambda image: image, lambda image: [image]])
@pytest.mark.parametrize("dtype", ["u1", "u4", "f4", bool])
def test_an_image_is_a_column_of_one_array(pane, wire, wrap, dtype):
    image = np.arange(12).reshape(3, 4).astype(dtype)
    pane.patch("tiles", image=wrap(np.asfortranarray(image)))
    np.testing.assert_array_equal(pane.column("tiles", "image"), image)
    sent = wire.only("tiles")
    assert sent["image"][0].dtype == image.dtype
    np.testing.assert_array_equal(sent["image"][0], image)


def test_several_images_and_lines_of_unequal_length(pane, wire):
    images = [np.zeros((2, 3), np.uint8), np.ones((4, 1), np.uint8)]
    pane.patch("tiles", image=images, x=[0, 1], y=[0, 1])
    assert [image.shape for image in pane.column("tiles", "image")] == [(2, 3), (4, 1)]
    lines = [np.arange(2.0), np.arange(5.0)]
    pane.patch("tiles", image=lines)
    assert [len(line) for line in pane.column("tiles", "image")] == [2, 5]
    pane.patch("tiles", image=[np.zeros((2, 2)), np.ones((2, 2))])
    assert pane.column("tiles", "image").shape == (2,)


@pytest.mark.parametrize(
    ("values", "error", "message"),
    [
        (np.array([1j, 0, 0]), TypeError, "entries.x: cannot show values of type complex128"),
        (np.array(["2020-01-01"] * 3, "M8[D]"), TypeError, "entries.x: cannot show values of type datetime64"),
        ([1, "a", object()], TypeError, "entries.x: cannot send a object"),
        ([1, 2, Range1d(0, 1)], TypeError, "entries.x: a Bokeh model"),
        ([np.zeros(2), 1, 2], TypeError, "entries.x: in a list of arrays, all must be"),
        ("abc", TypeError, "entries.x: a column must be a sequence of values, got str"),
        (np.zeros((3, 2, 2)), ValueError, r"entries.x: a column must be 1-D, .* got shape \(3, 2, 2\)"),
        (np.float64(1), ValueError, r"got shape \(\)"),
    ],
)
def test_what_a_browser_cannot_show_is_refused(pane, wire, values, error, message):
    with unchanged(pane), pytest.raises(error, match=message):
        pane.patch("entries", x=values)
    assert wire.sent == []


def test_arrays_are_copied(pane):
    mine = np.array([1.0, 2.0, 3.0])
    pane.patch("entries", x=mine)
    mine[:] = 0
    assert pane.column("entries", "x").tolist() == [1, 2, 3]
    with pytest.raises(ValueError, match="read-only"):
        pane.column("entries", "x")[0] = 9


# ---- set


def test_properties_of_any_named_model(pane, wire):
    pane.set("x_range", start=1, end=np.float32(2.5))
    pane.set("title", text="after")
    pane.set("mapper", palette=("red", "#00ff00"), high=9.0)
    pane.set("x_axis", visible=False)
    pane.set("x_axis", major_label_overrides={0: "zero", 5.5: "five and a half"})
    pane.set("bars", visible=False)
    assert wire.applied() == [
        {"x_range": {"start": 1, "end": 2.5}},
        {"title": {"text": "after"}},
        {"mapper": {"palette": ["red", "#00ff00"], "high": 9.0}},
        {"x_axis": {"visible": False}},
        {"x_axis": {"major_label_overrides": {0: "zero", 5.5: "five and a half"}}},
        {"bars": {"visible": False}},
    ]
    assert pane.root.title.text == "after"


def test_glyph_properties_are_sent_as_specifications(pane, wire):
    pane.root.renderers[0].glyph.name = "bar"
    pane.set("bar", fill_color="red", top={"field": "x"}, width={"value": 0.5}, line_alpha=0.25)
    sent = wire.only("bar")
    assert sent["top"] in ("x", {"field": "x"})
    assert sent["width"] in (0.5, {"value": 0.5})
    assert sent["fill_color"] in ("red", {"value": "red"})


@pytest.mark.parametrize(
    ("name", "properties", "error"),
    [
        ("x_range", {"end": 3.0, "start": "far left"}, ValueError),
        ("x_range", {"end": 3.0, "begin": 1}, AttributeError),
        ("x_range", {"end": 3.0, "document": None}, AttributeError),
        ("plot", {"width": 9, "title": "a model in disguise"}, TypeError),
        ("entries", {"data": {"x": [1]}}, TypeError),
    ],
)
def test_a_refused_property_changes_nothing(pane, wire, name, properties, error):
    with unchanged(pane), pytest.raises(error):
        pane.set(name, **properties)
    assert wire.sent == []


# ---- messages: hold, and the current figure


def test_a_hold_is_one_message_with_the_latest_values(pane, wire):
    with pane.hold():
        pane.patch("entries", top=[1, 1, 1])
        with pane.hold():
            pane.set("x_range", start=1.0)
        pane.patch("entries", x=[2, 2, 2], top=[2, 2, 2])
        pane.set("x_range", end=2.0)
        assert wire.sent == []
        assert pane.column("entries", "top").tolist() == [2, 2, 2]
    [sent] = wire.applied()
    assert list(sent) == ["entries", "x_range"]
    assert {name: values.tolist() for name, values in sent["entries"].items()} == {"top": [2] * 3, "x": [2] * 3}
    assert sent["x_range"] == {"start": 1.0, "end": 2.0}


def test_what_a_hold_did_before_an_error_is_sent(pane, wire):
    def fail_halfway():
        with pane.hold():
            pane.set("x_range", start=1.0)
            pane.set("x_range", begin=2.0)

    with pytest.raises(AttributeError, match="Range1d 'x_range' has no property 'begin'"):
        fail_halfway()
    assert wire.applied() == [{"x_range": {"start": 1.0}}]


def test_an_empty_hold_patch_or_set_sends_nothing(pane, wire):
    with pane.hold():
        pane.patch("entries")
        pane.set("x_range")
    assert wire.sent == []


def test_every_message_has_the_next_generation(pane, wire):
    for start in (1.0, 2.0, 3.0):
        pane.set("x_range", start=start)
    generations = [content["generation"] for content, _ in wire.sent]
    assert generations == [1, 2, 3]


def test_nothing_is_sent_before_a_view_has_asked(pane):
    wire = Wire(pane)
    pane.set("x_range", start=3.0)
    assert wire.sent == []
    assert wire.ask()["generation"] == 1
    pane.set("x_range", start=4.0)
    assert wire.applied() == [{"x_range": {"start": 4.0}}]


def test_a_view_gets_the_figure_as_it_is_now(pane, wire):
    pane.patch("entries", top=["p", "q", "r"])
    pane.set("title", text="now")
    answer = wire.ask("v2")
    assert answer["view"] == "v2"
    assert answer["generation"] == 2
    assert answer["figure"] == pane.json()
    text = json.dumps(answer, allow_nan=False)
    assert '"now"' in text
    assert '"r"' in text
    assert '"before"' not in text
    assert set(answer["watch"].values()) == {"tap", "range", "select"}


def test_bokehjs_is_sent_on_request_as_one_buffer(pane, wire):
    wire.say({"need": "bokehjs"})
    [(content, [library])] = wire.sent
    assert content == {"bokehjs": pane.json()["version"]}
    assert 1_000_000 < len(library) < 2_000_000


# ---- what a view reports


def test_a_zoom_reaches_the_model_the_callbacks_and_the_other_views(pane, wire):
    events = []
    pane.on_event(events.append)
    wire.report(moved(pane, 2, 3.5), moved(pane, 0, 1, "y_range"))
    assert (pane.root.x_range.start, pane.root.x_range.end) == (2, 3.5)
    assert events == [
        {"kind": "range", "name": "x_range", "start": 2, "end": 3.5},
        {"kind": "range", "name": "y_range", "start": 0, "end": 1},
    ]
    [(content, _)] = wire.sent
    assert content["origin"] == "v1"  # that view will not apply it
    assert wire.applied() == [{"x_range": {"start": 2, "end": 3.5}, "y_range": {"start": 0, "end": 1}}]


def test_callbacks_see_the_state_after_all_events_of_a_message(pane, wire):
    seen = []
    pane.on_event(lambda event: seen.append((pane.root.x_range.end, pane.root.y_range.end)))
    wire.report(moved(pane, 0, 7), moved(pane, 0, 2, "y_range"))
    assert seen == [(7, 2), (7, 2)]


def test_what_callbacks_change_is_one_message_to_all_views(pane, wire):
    pane.on_event(lambda event: pane.patch("entries", top=[event["end"]] * 3))
    wire.report(moved(pane, 0, 7), moved(pane, 0, 2, "y_range"))
    (echo, _), (reply, buffers) = wire.sent
    assert (echo["origin"], reply["origin"]) == ("v1", "")
    assert decode(reply["apply"][0]["columns"], buffers)["top"].tolist() == [2, 2, 2]


def test_a_report_without_news_is_no_event(pane, wire):
    events = []
    pane.on_event(events.append)
    wire.report(moved(pane, 0, 10))
    wire.report({"id": pane.root.select_one({"name": "entries"}).selected.id, "indices": []})
    assert events == wire.sent == []


def test_a_tap_names_the_figure(pane, wire):
    events = []
    pane.on_event(events.append)
    wire.report({"id": pane.root.id, "x": 1.5, "y": 2})
    assert events == [{"kind": "tap", "figure": "plot", "x": 1.5, "y": 2}]
    assert wire.sent == []


def test_a_selection_names_the_source(pane, wire):
    events = []
    pane.on_event(events.append)
    selected = pane.root.select_one({"name": "entries"}).selected
    wire.report({"id": selected.id, "indices": [2, 0]})
    assert events == [{"kind": "select", "name": "entries", "indices": [2, 0]}]
    assert selected.indices == [2, 0]
    assert wire.applied() == [{selected.id: {"indices": [2, 0]}}]


def test_a_callback_can_be_removed(pane, wire):
    events = []
    pane.on_event(events.append)
    pane.on_event(events.append, remove=True)
    wire.report(moved(pane, 0, 1))
    assert events == []


def test_a_failing_callback_is_logged_and_stops_nothing(pane, wire, caplog):
    events = []

    def fail(event):
        pane.set("title", text="half done")
        raise ZeroDivisionError

    pane.on_event(fail)
    pane.on_event(events.append)
    pane._callbacks.log.propagate = True
    wire.report(moved(pane, 0, 1))
    assert "ZeroDivisionError" in caplog.text
    assert len(events) == 1
    assert wire.applied()[1] == {"title": {"text": "half done"}}
    pane.set("x_range", start=0.5)
    assert wire.applied() == [{"x_range": {"start": 0.5}}]


# ---- generations


def test_a_report_that_python_has_overtaken_is_dropped(pane, wire):
    events = []
    pane.on_event(events.append)
    pane.set("x_range", start=4.0, end=5.0)
    sent = wire.generation
    wire.sent.clear()
    wire.report(moved(pane, 0, 1), moved(pane, 0, 1, "y_range"), seen=sent - 1)
    assert (pane.root.x_range.start, pane.root.x_range.end) == (4, 5)
    assert [event["name"] for event in events] == ["y_range"]  # which Python has not touched
    wire.report(moved(pane, 0, 1), seen=sent)
    assert (pane.root.x_range.start, pane.root.x_range.end) == (0, 1)


def test_a_report_is_stale_while_a_newer_change_waits_in_a_hold(pane, wire):
    with pane.hold():
        pane.set("x_range", start=4.0)
        wire.report(moved(pane, 0, 1))
    assert pane.root.x_range.start == 4
    assert wire.applied() == [{"x_range": {"start": 4}}]


def test_a_selection_in_replaced_data_is_dropped(pane, wire):
    seen = wire.generation
    selected = pane.root.select_one({"name": "entries"}).selected
    pane.patch("entries", top=[9, 9, 9])
    wire.report({"id": selected.id, "indices": [1]}, seen=seen)
    assert selected.indices == []


def test_a_view_is_not_overtaken_by_its_own_reports(pane, wire):
    wire.report(moved(pane, 1, 9), seen=0)
    wire.report(moved(pane, 2, 8), seen=0)  # sent before the answer to the first had arrived
    assert pane.root.x_range.start == 2


def test_of_two_views_that_move_at_once_the_first_wins(pane, wire):
    wire.report(moved(pane, 1, 9), view="v1", seen=0)
    wire.report(moved(pane, 2, 8), view="v2", seen=0)
    assert pane.root.x_range.start == 1
    wire.report(moved(pane, 2, 8), view="v2", seen=1)
    wire.report(moved(pane, 3, 7), view="v1", seen=1)
    assert pane.root.x_range.start == 2


class Screen:
    """What pane.js does with messages, for one range: enough to see whether views end up in step."""

    def __init__(self, wire, view):
        self.wire, self.view = wire, view
        answer = wire.ask(view)
        self.seen, self.inbox = answer["generation"], []
        self.start = wire.pane.root.x_range.start

    def move(self, start):
        self.start = start
        return {"events": [moved(self.wire.pane, start, 10)], "view": self.view, "seen": self.seen}

    def read(self):
        for content, _ in self.inbox:
            self.seen = content["generation"]
            for op in content["apply"] if content["origin"] != self.view else ():
                self.start = dict(op["properties"]["entries"]).get("start", self.start)
        self.inbox.clear()


@pytest.mark.parametrize("seed", range(20))
def test_views_and_python_agree_in_the_end_whatever_the_order_of_messages(pane, seed):
    rng = np.random.default_rng(seed)
    wire = Wire(pane)
    screens = [Screen(wire, "a"), Screen(wire, "b")]
    outboxes = [[], []]
    for step in range(200):
        wire.sent.clear()
        which = int(rng.integers(2))
        match rng.integers(4):
            case 0:
                outboxes[which].append(screens[which].move(float(step)))
            case 1 if outboxes[which]:
                wire.say(outboxes[which].pop(0))
            case 2:
                screens[which].read()
            case 3 if rng.random() < 0.3:
                pane.set("x_range", start=float(step))
        for screen in screens:
            screen.inbox += wire.sent
    for screen, outbox in zip(screens, outboxes, strict=True):
        for message in outbox:
            wire.sent.clear()
            wire.say(message)
            for other in screens:
                other.inbox += wire.sent
        screen.read()
    for screen in screens:
        screen.read()
    assert [screen.start for screen in screens] == [pane.root.x_range.start] * 2


# ---- malformed messages


def malformed(pane):
    entries = pane.root.select_one({"name": "entries"})
    x = pane.root.x_range.id
    events = [
        None, 3, "x", [], {}, {"id": x}, {"id": 3, "start": 0, "end": 1},
        {"id": "p-1", "start": 0, "end": 1}, {"id": x, "start": 0}, {"id": x, "start": "0", "end": 1},
        {"id": x, "start": None, "end": 1}, {"id": x, "start": True, "end": 2},
        {"id": x, "start": float("nan"), "end": 1}, {"id": x, "start": 0, "end": float("inf")},
        {"id": x, "start": 0, "end": 10**400}, {"id": x, "start": [0], "end": {}},
        {"id": pane.root.id, "start": 0, "end": 1}, {"id": x, "x": 1, "y": 1},
        {"id": pane.root.id, "x": None, "y": 1}, {"id": pane.root.id, "x": "a", "y": 1}, {"id": x, "indices": [0]},
        {"id": entries.id, "indices": [0]}, {"id": entries.selected.id, "indices": [3]},
        {"id": entries.selected.id, "indices": [-1]}, {"id": entries.selected.id, "indices": ["0"]},
        {"id": entries.selected.id, "indices": [True]}, {"id": entries.selected.id, "indices": [0.0]},
        {"id": entries.selected.id, "indices": "0"}, {"id": entries.selected.id, "indices": None},
    ]  # fmt: skip
    good = {"id": x, "start": 1, "end": 2}
    return [
        None, [], "need", 7, {}, {"need": "everything"}, {"need": None}, {"need": "figure"},
        {"need": "figure", "view": 1}, {"need": "figure", "view": ""},
        {"events": [good]}, {"events": [good], "view": "v1"}, {"events": [good], "seen": 9},
        {"events": good, "view": "v1", "seen": 9}, {"events": [good], "view": None, "seen": 9},
        {"events": [good], "view": "", "seen": 0}, {"events": [good], "view": "v1", "seen": "9"},
        *({"events": [event], "view": "v1", "seen": 9} for event in events),
    ]  # fmt: skip


def test_malformed_messages_are_ignored(pane, wire, caplog):
    events = []
    pane.on_event(events.append)
    with unchanged(pane):
        for content in malformed(pane):
            wire.say(content)
    assert events == wire.sent == []
    assert caplog.text == ""


def test_a_view_that_asks_hears_when_all_that_follows_from_its_report_is_done(pane, wire):
    wire.ask()
    pane.on_event(lambda event: pane.set("title", text=f"from {event['start']}"))
    for events in ([moved(pane, 1, 2)], [{"id": "?"}]):
        wire.say({"events": events, "view": "v1", "seen": 9, "answer": True})
    kinds = ["heard" if "heard" in content else content["origin"] for content, _ in wire.sent]
    assert kinds == ["v1", "", "heard", "heard"]
    assert wire.sent[-1][0] == {"heard": "v1"}
    wire.sent.clear()
    wire.report(moved(pane, 3, 4))
    assert all("heard" not in content for content, _ in wire.sent)


def test_a_malformed_event_does_not_spoil_its_neighbours(pane, wire):
    wire.report(None, moved(pane, 1, 2), {"id": "?"})
    assert pane.root.x_range.end == 2


def test_an_unnamed_range_is_not_watched():
    plot = figure(x_range=(0, 1))
    pane = BokehPane(plot)
    wire = Wire(pane)
    assert wire.ask()["watch"] == {plot.id: "tap"}
    wire.report({"id": plot.x_range.id, "start": 0, "end": 5})
    assert plot.x_range.end == 1


def test_reset_goes_back_to_the_first_range_after_a_reload(pane):
    assert (pane.root.x_range.reset_start, pane.root.x_range.reset_end) == (0, 10)


# ---- threads


def test_a_patch_from_another_thread_does_not_wait_for_a_hold(pane, wire):
    with pane.hold():
        pane.set("title", text="held")
        other = threading.Thread(target=pane.set, args=("x_range",), kwargs={"start": 1.0})
        other.start()
        other.join(30)
        assert not other.is_alive()
        assert wire.applied() == [{"x_range": {"start": 1.0}}]
    assert wire.applied() == [{"title": {"text": "held"}}]


def test_threads_never_send_columns_of_unequal_length_or_an_older_state_last(pane, wire):
    errors = []

    def work(seed):
        rng = np.random.default_rng(seed)
        try:
            for _ in range(100):
                values = np.full(rng.integers(1, 50), rng.integers(1000))
                with pane.hold():
                    pane.patch("entries", x=values, top=values, label=["a"] * len(values))
                    pane.set("x_range", start=float(values[0]))
                    wire.report(moved(pane, rng.integers(100), 500), view=f"v{seed}")
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert errors == []
    generations = [content["generation"] for content, _ in wire.sent]
    assert generations == sorted(set(generations))
    browser = {}
    for content, buffers in wire.sent:
        for op in content["apply"]:
            browser.setdefault(op["id"], {}).update(decode(op["columns"], buffers))
            browser[op["id"]].update(decode(op["properties"], buffers))
        entries = browser.get(id_of(pane, "entries"))
        assert entries is None or len({len(values) for values in entries.values()}) == 1
    assert browser[id_of(pane, "entries")]["x"].tolist() == pane.column("entries", "x").tolist()
    assert browser[id_of(pane, "x_range")]["start"] == pane.root.x_range.start


def test_a_callback_may_wait_for_a_thread_that_uses_the_pane(pane, wire):
    def callback(event):
        other = threading.Thread(target=pane.set, args=("title",), kwargs={"text": "from afar"})
        other.start()
        other.join(30)
        assert not other.is_alive()

    pane.on_event(callback)
    wire.report(moved(pane, 1, 2))
    assert pane.root.title.text == "from afar"


def test_a_closed_pane_still_keeps_its_figure():
    pane = BokehPane(make_figure())
    pane.close()
    pane.patch("entries", top=[1, 2, 3])
    assert pane.column("entries", "top").tolist() == [1, 2, 3]
