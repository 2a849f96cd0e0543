"""Widgets that are open are kept, with all that they hold: what is shown no longer is closed."""

import gc
import weakref

import pytest
from effect_tables import made_up as effects_made_up
from ipywidgets.widgets import widget as open_widgets
from kenviz_models import small_pair
from sweep_tables import made_up

import ken
import kenviz
from ken.evaluation import members
from kenviz.study.study import Study

PAIR = small_pair()
NET = ken.prune(*PAIR, 0.5, progress=False)
PLACES = tuple(members({name: tensor.shape for name, tensor in PAIR.pretrained.items()}, "place"))


def open_now():
    return set(open_widgets._instances)


def used_explorer():
    """One whose tabs were all opened, with pins."""
    explorer = kenviz.explore(NET, PAIR, ablation=effects_made_up(PLACES))
    explorer.column = 3
    for stage in explorer.stages:
        explorer.stage = stage
        explorer.pin(subject=stage)
    return explorer


@pytest.mark.parametrize(
    "make",
    [
        used_explorer,
        lambda: kenviz.explore(NET),
        lambda: kenviz.CompareView(NET, NET, PAIR),
        lambda: kenviz.EffectView(effects_made_up()),
        lambda: kenviz.LayersView(NET, PAIR),
        lambda: kenviz.Lesson(NET, PAIR),
        lambda: kenviz.MatrixView(NET, PAIR),
        lambda: kenviz.NeighbourView(NET, PAIR),
        lambda: kenviz.RetentionView(NET, PAIR),
        lambda: kenviz.RowView(NET, PAIR),
        lambda: kenviz.SweepView(made_up()),
    ],
)
def test_a_view_closes_all_that_it_opened(make):
    before = open_now()
    view = make()
    assert len(open_now() - before) > 10
    view.close()
    assert open_now() - before == set()
    view.close()


def test_what_is_closed_is_forgotten_and_what_it_shared_is_not():
    study = Study(NET, PAIR)
    closed, stays = kenviz.Explorer(NET, study), kenviz.Explorer(NET, study)
    closed.row = 1
    closed.close()
    known = weakref.ref(closed)
    del closed
    gc.collect()
    assert known() is None
    stays.row = 2
    assert stays.matrix.comm is not None
    assert stays.row_view.row == 2
    stays.close()


def test_pins_open_as_many_widgets_as_there_are_pins():
    explorer = kenviz.explore(NET, PAIR)
    explorer.column = 3
    before = open_now()
    explorer.pin()
    first = len(open_now() - before)
    for _ in range(5):
        explorer.pin()
    assert len(open_now() - before) == 6 * first
    for left in reversed(range(6)):
        explorer._drop(0)
        assert len(open_now() - before) == left * first
    explorer.close()
