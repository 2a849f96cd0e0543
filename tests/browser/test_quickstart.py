"""The quickstart notebook in a real JupyterLab, as a reader works with it."""

from pathlib import Path

import nbformat
import pytest
from lab import Notebook

pytestmark = pytest.mark.browser

NOTEBOOK = Path(__file__).parents[2] / "notebooks" / "01_quickstart.ipynb"


@pytest.fixture(scope="module")
def quickstart(lab, browser, tmp_path_factory):
    """The notebook, run once for all tests here; without the cells that label thousands of texts, which nbval runs."""
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    measuring = [cell for cell in notebook.cells if ".evaluate(" in cell.source]
    assert len(measuring) == 2
    notebook.cells = [cell for cell in notebook.cells if cell not in measuring]
    path = tmp_path_factory.mktemp("quickstart") / NOTEBOOK.name
    nbformat.write(notebook, path)
    opened = Notebook(browser.new_page(), lab, lab.add(path))
    opened.run()
    yield opened
    opened.close()


@pytest.fixture(autouse=True)
def quiet(quickstart):
    """No request has left this machine, and no error was reported. None is excepted."""
    yield
    assert quickstart.outside == []
    assert quickstart.errors == []


def test_sliders_change_the_curve_and_the_retained_set(quickstart):
    nb = quickstart
    before = nb.column("curve", "y")
    assert len(nb.column("retained", "column")) == 192

    nb.slide("row", 3)
    nb.wait_in_kernel("row.row == 10")
    nb.wait_for_column("curve", "y", nb.value("row.pane.column('curve', 'y').tolist()"))
    assert nb.column("curve", "y") != before
    assert nb.column("retained", "column") == nb.value(
        "np.flatnonzero(net['bert.encoder.layer.2.attention.self.query.weight'].mask()[10]).tolist()"
    )

    curve = nb.column("curve", "y")
    nb.slide("k", 40)
    nb.wait_in_kernel("row.k == 232")
    values = "pair.fine_tuned.bert.encoder.layer[2].attention.self.query.weight[10].detach().numpy()"
    want = nb.value(f"np.flatnonzero(ken.rules.retain({values}, 232)).tolist()")
    nb.wait_for_column("retained", "column", want)
    assert len(want) == 232
    assert nb.column("curve", "y") == curve
    assert "k = 232 of 384" in nb.model_property("title", "text")


def test_zooming_into_the_embedding_shows_exact_entries(quickstart):
    nb = quickstart
    assert nb.model_property("note", "text").startswith("mask; each tile: share of 128 × 1 entries\n30,522 × 384;")
    for _ in range(80):
        if nb.value("matrix.exact"):
            break
        start, end = nb.model_property("rows", "start"), nb.model_property("rows", "end")
        middle = (nb.model_property("columns", "start") + nb.model_property("columns", "end")) / 2
        nb.wheel("matrix", middle, (start + end) / 2, -400)
        # The kernel has heard of it, and its answer has come back.
        nb.wait("before => Bokeh.documents.some(d => d.get_model_by_name('rows')?.start !== before)", start)
        nb.wait_in_kernel(f"matrix.rows[1] != {start}")
    exact = "mask; exact: one tile is one entry"
    nb.wait("text => Bokeh.documents.some(d => d.get_model_by_name('note')?.text.startsWith(text))", exact)
    nb.wait_in_kernel("matrix.exact")
    tiles = nb.value("[matrix.tiles.place.first_row, matrix.tiles.place.first_column, *matrix.tiles.values.shape]")
    row, column, rows, columns = tiles
    name = "bert.embeddings.word_embeddings.weight"
    want = nb.value(f"(100 * net['{name}'].mask()[{row}:{row + rows}, {column}:{column + columns}]).tolist()")
    assert nb.column("tiles", "x") == [column]
    assert nb.column("tiles", "y") == [row]
    assert nb.column("tiles", "image") == [want]
    assert {value for line in want for value in line} == {0, 100}


def test_a_tap_on_the_map_chooses_its_tensor_and_the_list_another_measure(quickstart):
    nb = quickstart
    names = nb.column("cells", "tensor")
    assert names == nb.value("layers.numbers().index.tolist()")
    assert nb.column("cells", "value") == nb.value("layers.numbers()['update_share'].tolist()")
    kinds, places = nb.column("cells", "kind"), nb.column("cells", "layer")
    wanted = names.index("bert.encoder.layer.4.output.dense.weight")
    nb.click("map", places[wanted], kinds[wanted])
    nb.wait_in_kernel("layers.tensor == 'bert.encoder.layer.4.output.dense.weight'")
    nb.execute("layers.measure = 'update_rms'")
    nb.wait_for_column("cells", "value", nb.value("layers.numbers()['update_rms'].tolist()"))
