"""Every view on paper, in every state that it offers: all of it is printed, or it is an error; text stays apart."""

import base64
import io
import itertools
import re
from xml.etree import ElementTree

import numpy as np
import pytest
from effect_tables import made_up as effects
from kenviz_models import HOSTILE, small_pair
from matplotlib.backends.backend_agg import FigureCanvasAgg
from PIL import Image
from sweep_tables import made_up

import ken
import kenviz
from kenviz.figures.compare import MEASURES as OVERLAPS
from kenviz.printing import files
from kenviz.printing.paper import Ink, paper
from kenviz.printing.sheet import drawn
from kenviz.study.quantities import QUANTITIES
from kenviz.text.measures import MEASURES

PAIR = small_pair(extra=[HOSTILE])
NET = ken.prune(*PAIR, 0.5, progress=False)
OTHER = ken.prune(*PAIR, 0.3, "magnitude", progress=False)
QUERY = "layer.1.query.weight"


def stepped():
    view = kenviz.RowView(NET, PAIR, QUERY, row=5)
    view.step, view.entry = 4, 3
    return view


VIEWS = {
    "row": lambda: kenviz.RowView(NET, PAIR, QUERY, row=5),
    "row, a step": stepped,
    "row of a stranger": lambda: kenviz.RowView(NET, PAIR, HOSTILE),
    **{
        f"matrix, {show}": lambda show=show: kenviz.MatrixView(NET, PAIR, "embed.weight", show=show, entry=(20, 3))
        for show in QUANTITIES
    },
    "retention, chosen": lambda: kenviz.RetentionView(NET, PAIR, tensor=QUERY),
    "neighbours": lambda: kenviz.NeighbourView(NET, PAIR, QUERY),
    **{f"layers, {show}": lambda show=show: kenviz.LayersView(NET, PAIR, show=show) for show in QUANTITIES},
    "sweep": lambda: kenviz.SweepView(made_up()),
    "effects": lambda: kenviz.EffectView(effects()),
    "lesson": lambda: kenviz.Lesson(NET, PAIR, QUERY),
    "explorer": lambda: kenviz.explore(NET, PAIR),
}


def overlapping(figure):
    """Pairs of texts whose boxes lie on one another by more than a pixel."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    texts = [text for axes in figure.axes for text in [*axes.texts, *axes.artists] if text.get_text().strip()]
    boxes = [(text.get_text(), text.get_window_extent().padded(-1)) for text in texts]
    return [(a, b) for (a, one), (b, other) in itertools.combinations(boxes, 2) if one.overlaps(other)]


def outside(figure):
    """Texts that reach beyond the sheet."""
    width, height = figure.canvas.get_width_height()
    return [
        text.get_text()
        for axes in figure.axes
        for text in axes.texts
        if (box := text.get_window_extent()).x0 < -1 or box.x1 > width + 1 or box.y0 < -1 or box.y1 > height + 1
    ]


def printed(view, width="page", theme="light"):
    with files.settings():
        pages, chosen = view._printed(True, theme)
        figure = drawn(pages, paper(width).pixels, Ink("screen"), theme=chosen)
        return overlapping(figure), outside(figure)


@pytest.mark.parametrize("width", ["column", "page"])
@pytest.mark.parametrize("name", VIEWS)
def test_all_of_a_view_is_printed_and_no_text_lies_on_another_or_beyond_the_sheet(name, width):
    assert printed(VIEWS[name](), width) == ([], [])


def test_a_map_is_printed_by_any_measure():
    view = kenviz.RetentionView(NET, PAIR)
    for measure in MEASURES:
        if measure in [value for _, value in view._picker.options]:
            view.measure = measure
            assert printed(view) == ([], []), measure


def test_a_comparison_is_printed_by_any_measure():
    view = kenviz.CompareView(NET, OTHER, PAIR)
    for measure in OVERLAPS:
        if measure in [value for _, value in view._measures.options]:
            view.measure = measure
            assert printed(view) == ([], []), measure


def test_a_png_is_as_wide_as_it_is_asked_to_be_and_says_so(tmp_path):
    view = VIEWS["row"]()
    with Image.open(view.to_png(tmp_path / "a.png", "column", 200)) as image:
        assert image.width == round(85 / 25.4 * 200)
        assert image.info["dpi"] == pytest.approx((200, 200), abs=0.1)
    with Image.open(view.to_png(tmp_path / "b.png", 100, 200, caption=False)) as image:
        assert image.width == round(100 / 25.4 * 200)
        assert np.asarray(image)[0, 0].tolist() == [255, 255, 255]
    with Image.open(view.to_png(tmp_path / "b.png", 100, 200, theme="dark")) as image:
        assert np.asarray(image)[0, 0].tolist() == [0x18, 0x1A, 0x1B]


def test_an_svg_has_its_size_in_millimetres_and_its_words_as_text(tmp_path):
    view = VIEWS["row of a stranger"]()
    root = ElementTree.parse(view.to_svg(tmp_path / "a.svg")).getroot()
    assert root.get("width") == "175mm"
    words = " ".join("".join(root.itertext()).split())
    assert "density (1 / unit of weight)" in words
    assert "<script>alert(1)</script>" in words
    assert root.findall(".//{http://www.w3.org/2000/svg}script") == []


@pytest.mark.parametrize("kind", ["png", "svg"])
def test_the_same_figure_gives_the_same_bytes(kind, tmp_path):
    first, second = (
        getattr(VIEWS["row, a step"](), f"to_{kind}")(tmp_path / f"{i}.{kind}").read_bytes() for i in range(2)
    )
    assert first == second
    assert re.search(rb"20\d\d-\d\d-\d\d", first) is None


def test_grey_is_grey_and_refuses_a_scale_of_two_sides(tmp_path):
    with Image.open(VIEWS["row"]().to_png(tmp_path / "a.png", palette="grey")) as image:
        assert image.mode == "L"
    svg = VIEWS["row"]().to_svg(tmp_path / "a.svg", palette="grey").read_text("utf-8")
    assert all(len({colour[i : i + 2] for i in (1, 3, 5)}) == 1 for colour in re.findall(r"#[0-9a-f]{6}", svg))
    with pytest.raises(ValueError, match='palette "grey" cannot tell negative values from positive ones'):
        VIEWS["matrix, update"]().to_png(tmp_path / "b.png", palette="grey")
    assert not (tmp_path / "b.png").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"width_mm": "poster"}, "width_mm must be a number or one of column, page; got 'poster'"),
        ({"width_mm": 5}, "width_mm must be from 30 to 1000, got 5"),
        ({"width_mm": float("nan")}, "width_mm must be from 30 to 1000, got nan"),
        ({"dpi": 9000}, "dpi must be from 30 to 1200, got 9000"),
        ({"dpi": True}, "dpi must be from 30 to 1200, got True"),
        ({"palette": "jet"}, "palette must be one of screen, grey; got 'jet'"),
        ({"theme": "auto"}, "theme must be one of light, dark; got 'auto'"),
    ],
)
def test_what_cannot_be_asked_for_is_told_with_its_limits_and_writes_nothing(options, message, tmp_path):
    with pytest.raises(ValueError, match=re.escape(message)):
        VIEWS["row"]().to_png(tmp_path / "a.png", **options)
    assert list(tmp_path.iterdir()) == []


def test_a_picture_takes_the_place_of_a_picture_and_of_nothing_else(tmp_path):
    view = VIEWS["row"]()
    for kind in ("png", "svg"):
        write = getattr(view, f"to_{kind}")
        assert write(write(tmp_path / f"a.{kind}")) == tmp_path / f"a.{kind}"
    with pytest.raises(ValueError, match=r"a\.svg is there already and holds a picture as SVG, not a picture as PNG"):
        view.to_png(tmp_path / "a.svg")
    with pytest.raises(OSError, match="nowhere"):
        view.to_png(tmp_path / "nowhere" / "a.png")


@pytest.mark.parametrize("name", VIEWS)
def test_a_notebook_keeps_a_small_picture_with_words_of_what_is_displayed(name):
    view = VIEWS[name]()
    data, metadata = view._repr_mimebundle_()
    image = base64.b64decode(data["image/png"])
    assert len(image) < 100_000
    with Image.open(io.BytesIO(image)) as image:
        assert image.width >= 300
    assert metadata["image/png"]["alt"] == " ".join(one.caption for one in view.in_sight)
    assert list(data)[:2] == ["text/plain", "application/vnd.jupyter.widget-view+json"]


def test_a_picture_that_cannot_be_drawn_leaves_the_widget_and_says_so_in_a_line(monkeypatch, caplog):
    def fail(*_, **__):
        raise RuntimeError("no\nfonts")

    monkeypatch.setattr(files, "png", fail)
    data, _ = VIEWS["row"]()._repr_mimebundle_()
    assert list(data) == ["text/plain", "application/vnd.jupyter.widget-view+json"]
    assert caplog.messages == ["kenviz: no picture of the figure is kept in the notebook: no fonts"]
