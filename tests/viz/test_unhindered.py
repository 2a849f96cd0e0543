"""What is done without the cyclic garbage collector, and how it is found afterwards."""

import gc

import pytest

import ken
import kenviz
from kenviz.views.unhindered import uncollected


@pytest.fixture(autouse=True)
def switched_back():
    yield
    gc.enable()


def test_the_collector_is_on_again_also_after_an_error():
    def fail():
        with uncollected():
            raise ValueError(f"collecting: {gc.isenabled()}")

    with pytest.raises(ValueError, match="collecting: False"):
        fail()
    assert gc.isenabled()


def test_one_that_was_off_stays_off():
    gc.disable()
    with uncollected():
        with uncollected():
            pass
        assert not gc.isenabled()
    assert not gc.isenabled()


def test_an_explorer_is_opened_and_displayed_without_a_collection(net, pair):
    collections = []

    def note(phase, info):
        collections.append(info["generation"])

    gc.collect()
    gc.callbacks.append(note)
    try:
        explorer = kenviz.explore(pair, k=2)
        opened = len(collections)
        explorer._repr_mimebundle_()
    finally:
        gc.callbacks.remove(note)
    assert opened <= 2  # one when it is switched on again: what was made since is young
    assert 2 not in collections
    assert gc.isenabled()


def test_a_refused_opening_leaves_the_collector_on(pair):
    with pytest.raises(ken.KenError):
        kenviz.explore(pair, k=0)
    assert gc.isenabled()
