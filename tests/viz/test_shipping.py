"""What is sent ahead when a view is displayed: its figure as it is then, and BokehJS once for all."""

import gzip
import json

import pandas as pd
import pytest
from kenviz_models import HOSTILE, small_pair

import ken
import kenviz
from ken.errors import OutputError
from kenviz.pane import shipping

QUERY = "layer.1.query.weight"


@pytest.fixture
def models():
    pair = small_pair(extra=[HOSTILE])
    return ken.prune(*pair, 0.5, progress=False), pair


def opening(pane):
    """The figure that a page gets with the state of a pane."""
    return json.loads(gzip.decompress(pane.get_state("opening")["opening"]))


def test_nothing_is_sent_ahead_before_a_view_is_displayed(models):
    view = kenviz.RowView(*models, QUERY)
    assert view.pane.get_state("opening") == {"opening": None}
    assert view.pane.library == ""


def test_a_displayed_view_sends_its_figure_as_it_is_then_and_again_as_it_is_when_a_page_is_loaded(models):
    view = kenviz.RowView(*models, QUERY)
    view.row = 3
    sent = []
    view.pane._send = lambda message, buffers=None: sent.append((message, buffers))
    view._repr_mimebundle_()
    [names] = [message["buffer_paths"] for message, _ in sent if message.get("buffer_paths")]
    assert names == [["opening"]]
    first = opening(view.pane)
    assert first["figure"] == json.loads(json.dumps(view.pane.json())) | {"target_id": None}
    assert '"row 3 of' in json.dumps(first["figure"])
    view.row = 5
    later = opening(view.pane)
    assert later["generation"] > first["generation"]
    assert '"row 5 of' in json.dumps(later["figure"])


def test_what_changes_after_a_view_was_displayed_is_sent_though_no_page_has_asked(models):
    view = kenviz.RowView(*models, QUERY)
    sent = []
    view.pane.send = lambda content, buffers=None: sent.append(content)
    view.row = 3
    assert sent == []
    view._repr_mimebundle_()
    view.row = 5
    assert sent[0]["generation"] == opening(view.pane)["generation"]


def test_a_page_that_has_the_figure_is_not_sent_it_again_until_it_has_changed(models):
    view = kenviz.RowView(*models, QUERY)
    sent = []

    def answer(**more):
        view.pane._handle_custom_msg({"need": "figure", "view": "v1", **more}, [])
        return sent.pop()

    view.pane.send = lambda content, buffers=None: sent.append(content)
    assert "figure" in answer(has=0)  # it was not sent ahead: whatever the page has is of another kernel
    view._repr_mimebundle_()
    has = opening(view.pane)["generation"]
    assert answer(has=has) == {"current": "v1"}
    for other in (None, -1, has + 1, str(has), [has], {}):
        assert answer(has=other)["generation"] == has
    view.row = 5
    sent.clear()
    changed = answer(has=has)
    assert changed["generation"] > has
    assert '"row 5 of' in json.dumps(changed["figure"])


def test_an_explorer_sends_what_is_in_sight(models):
    explorer = kenviz.explore(*models)
    explorer._repr_mimebundle_()
    assert opening(explorer.map.pane)["figure"]["doc"]
    assert opening(explorer.matrix.pane)["figure"]["doc"]
    assert explorer.row_view.pane.get_state("opening") == {"opening": None}


def test_all_panes_share_one_library_which_is_made_again_after_it_was_closed(models):
    views = [kenviz.RowView(*models, QUERY), kenviz.MatrixView(*models)]
    for view in views:
        view._repr_mimebundle_()
    first = shipping.library()
    known = first.model_id
    assert views[0].pane.library == views[1].pane.library == known
    views[0].close()
    assert first.comm is not None
    first.close()
    views[1]._repr_mimebundle_()
    assert views[1].pane.library == shipping.library().model_id != known


def test_the_state_of_a_displayed_view_stays_small(models):
    """What a notebook stores of it, if it stores the state of widgets at all."""
    view = kenviz.MatrixView(*models, QUERY)
    view._repr_mimebundle_()
    assert len(view.pane.get_state("opening")["opening"]) < 20_000
    assert len(shipping.library().get_state("script")["script"]) < 400_000


def test_files_are_called_after_the_view_and_its_tensor_in_plain_letters(models):
    view = kenviz.MatrixView(*models, QUERY)
    assert view.stem == view.pane.stem == "MatrixView-layer-1-query-weight"
    view.tensor = HOSTILE
    assert set(view.pane.stem) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_")
    assert len(view.pane.stem) <= 100
    assert kenviz.RetentionView(*models).stem == "RetentionView"


def test_a_page_is_given_the_table_that_it_asks_for(models):
    view = kenviz.RetentionView(*models)
    sent = []
    view.pane.send = lambda content, buffers=None: sent.append(content)
    for content in ({"need": "table"}, {"need": "table", "view": 1}, {"need": "table", "view": ""}):
        view.pane._handle_custom_msg(content, [])
    assert sent == []
    view.pane._handle_custom_msg({"need": "table", "view": "v1"}, [])
    assert sent == [{"table": view.numbers().to_csv(), "view": "v1"}]


def test_a_table_is_written_as_csv_and_over_nothing_else(models, tmp_path):
    view = kenviz.RetentionView(*models)
    path = view.to_csv(tmp_path / "table.csv")
    assert pd.read_csv(path, index_col="tensor").index.tolist() == view.numbers().index.tolist()
    with pytest.raises(OutputError, match=r"is there already and holds text, not a table"):
        view.to_csv(path)
    assert view.to_csv(path, overwrite=True) == path
    assert len(list(tmp_path.iterdir())) == 1
