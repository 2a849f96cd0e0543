"""The NeighbourView in JupyterLab and Voilà: the page holds what a look at the mask counts, after each action."""

import numpy as np
import pytest
from test_views_browser import SETUP

pytestmark = pytest.mark.browser

VIEW = SETUP + "\nview = kenviz.NeighbourView(net, pair, 'embed.weight')"
QUERY = "layer.1.query.weight"


def counted(one, tensor):
    """50 times the retained neighbours of each retained entry, 255 where an entry is reset."""
    mask = np.array(one.value(f"net[{tensor!r}].mask().astype(int).tolist()"))
    framed = np.pad(mask, 1)
    counts = framed[:-2, 1:-1] + framed[2:, 1:-1] + framed[1:-1, :-2] + framed[1:-1, 2:]
    return np.where(mask, 50 * counts, 255)


def shares(counts):
    return [float(100 * (counts == 50 * value).sum() / (counts != 255).sum()) for value in range(5)]


def test_the_wheel_the_list_and_python_show_the_counts_of_what_is_in_view(front):
    one = front([VIEW, "view"])
    one.run()
    counts = counted(one, "embed.weight")
    assert one.column("tiles", "image") == [counts.tolist()]
    assert one.column("bars", "found") == pytest.approx(shares(counts))
    assert one.column("digits", "text") == []

    start = one.model_property("rows", "start")
    one.wheel("neighbours", 12, 150, -600)
    one.wait("before => lab.model('rows', 0).start !== before", start)
    one.wait_in_kernel(f"view.rows[1] != {start}")
    one.wait_in_kernel(
        "view.rows == tuple(sorted((view.figure.select_one({'name': 'rows'}).start,"
        " view.figure.select_one({'name': 'rows'}).end)))"
    )
    row, column = one.value("[view.tiles.place.first_row, view.tiles.place.first_column]")
    rows, columns = one.value("view.tiles.codes.shape")
    assert rows < 300
    one.wait_for_column("tiles", "image", [counts[row : row + rows, column : column + columns].tolist()])
    assert (one.column("tiles", "y"), one.column("tiles", "dh")) == ([row], [rows])
    assert one.column("bars", "found") == pytest.approx(shares(counts))  # those of the whole matrix, at any zoom

    one.execute("view.rows, view.columns = (20, 30), (4, 14)")
    one.wait_for_column("tiles", "image", [counts[20:30, 4:14].tolist()])
    some = counts[20:30, 4:14]
    one.wait_for_column("digits", "text", [str(value // 50) for value in some[some != 255].tolist()])

    one.page.get_by_label("tensor").select_option(QUERY)
    one.wait_in_kernel(f"view.tensor == {QUERY!r}")
    counts = counted(one, QUERY)
    one.wait_for_column("tiles", "image", [counts.tolist()])
    assert one.column("bars", "found") == pytest.approx(shares(counts))
    assert one.column("bars", "expected") == pytest.approx(
        one.value("(100 * view.numbers()['expected_share']).tolist()")
    )
    assert [one.model_property("rows", end) for end in ("start", "end")] == [24, 0]
    assert f"z = {one.value('view.z'):+.1f}" in one.model_property("reading", "text")
