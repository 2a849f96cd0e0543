"""The buttons below a figure: it as SVG and PNG, its table as CSV, from the page itself."""

import io
import json
from pathlib import Path
from xml.etree import ElementTree

import pandas as pd
import pytest
from PIL import Image
from test_views_browser import SETUP

pytestmark = pytest.mark.browser

VIEWS = {
    "RowView": "kenviz.RowView(net, pair, 'layer.1.query.weight')",
    "MatrixView": "kenviz.MatrixView(net, pair, 'layer.1.query.weight')",
    "RetentionView": "kenviz.RetentionView(net, pair)",
}


def saved(one, name) -> Path:
    with one.page.expect_download() as download:
        one.page.get_by_role("button", name=name).click()
    return download.value


@pytest.mark.parametrize("view", VIEWS)
def test_a_figure_is_saved_as_svg_and_png_under_its_own_name(quiet_notebook, view, tmp_path):
    one = quiet_notebook([SETUP, f"view = {VIEWS[view]}\nview"])
    one.run()
    for kind in ("svg", "png"):
        download = saved(one, f"save the figure as {kind.upper()}")
        assert download.suggested_filename.startswith(view)
        assert download.suggested_filename.endswith(f".{kind}")
        assert set(Path(download.suggested_filename).stem) <= set("abcdefghijklmnopqrstuvwxyzRVMQ0123456789-_")
        download.save_as(tmp_path / kind)
    root = ElementTree.parse(tmp_path / "svg").getroot()
    box = one.figure_box({"RowView": "row", "MatrixView": "matrix", "RetentionView": "map"}[view])
    assert float(root.get("width")) >= box["width"]
    texts = "".join(root.itertext())
    assert view == "RetentionView" or "layer.1.query.weight" in texts
    with Image.open(tmp_path / "png") as picture:
        assert picture.width >= box["width"]
        assert len(picture.convert("RGB").getcolors(1 << 24)) > 10


def test_a_table_is_copied_as_csv_by_keyboard(quiet_notebook, browser):
    browser.grant_permissions(["clipboard-read", "clipboard-write"])
    one = quiet_notebook([SETUP, f"view = {VIEWS['RetentionView']}\nview"])
    one.run()
    button = one.page.get_by_role("button", name="copy the table of the figure as CSV")
    button.focus()
    one.page.keyboard.press("Enter")
    one.wait("document.querySelector('.kenviz-saves').textContent.includes('copied')")
    text = one.page.evaluate("navigator.clipboard.readText()")
    rows = json.loads(one.execute("import json; print(json.dumps(list(view.numbers().index)))"))
    assert pd.read_csv(io.StringIO(text), index_col=0).index.tolist() == rows


def test_a_pane_without_a_name_for_files_offers_nothing(quiet_notebook):
    one = quiet_notebook(
        [
            SETUP + "\nfrom bokeh.plotting import figure\nfrom kenviz.pane.bokeh_pane import BokehPane",
            "BokehPane(figure())",
        ]
    )
    one.run()
    assert one.page.get_by_role("button", name="save the figure as SVG").count() == 0
