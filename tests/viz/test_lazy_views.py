"""Views of a subnetwork that is decided as it is looked at: those of the pruned one, and little is read for them."""

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import save_file

import ken
import kenviz
from ken.models.tensors.tensor_reader import Entries
from kenviz.study import study as studies
from kenviz.study.study import Study
from kenviz.tiles import pyramid
from kenviz.tiles.sampled import SampledPyramid

QUERY = "layer.0.query.weight"


def models(rows=24, columns=20):
    generator = torch.Generator().manual_seed(0)
    names = [f"layer.{layer}.{kind}" for layer in (0, 1) for kind in ("query.weight", "value.weight")]
    pretrained = {name: torch.randn(rows, columns, generator=generator) for name in names}
    fine_tuned = {name: old + torch.randn(rows, columns, generator=generator) / 9 for name, old in pretrained.items()}
    return ken.Pair(fine_tuned, pretrained)


@pytest.fixture
def reads(monkeypatch):
    """What is read of tensors, as (start, stop)."""
    seen = []
    plain = Entries.from_tensor.__func__

    def spied(cls, tensor):
        entries = plain(cls, tensor)

        def read(start, stop):
            seen.append((start, stop))
            return entries.read(start, stop)

        return cls(entries.shape, entries.dtype, read)

    monkeypatch.setattr(Entries, "from_tensor", classmethod(spied))
    return seen


ASKED = [
    {"k": 5},
    {"k": 0.25, "rule": "dare", "seed": 3},
    {"k": 5, "rule": "update", "scope": "model"},
    {"k": 5, "scope": "tensor", "on": "update"},
    {"rule": "changed"},
    {"k": {"*query*": 5, "*": 0.5}, "include": ["layer.*"], "raw": True, "bandwidth": 0.3},
]


@pytest.mark.parametrize("asked", ASKED, ids=str)
def test_an_explorer_of_two_models_shows_what_one_of_the_pruned_subnetwork_does(asked):
    pair = models()
    net = ken.prune(*pair, **{"rule": "ken", "k": None} | asked)
    lazily, pruned = kenviz.explore(pair, **asked), kenviz.explore(net, pair)
    for explorer in (lazily, pruned):
        explorer.tensor, explorer.row, explorer.column = "layer.1.value.weight", 7, 3
        explorer.matrix.show = "retained"
        explorer.stage = "neighbours"
    numbers = lazily.numbers()
    for name, expected in pruned.numbers().items():
        pd.testing.assert_frame_equal(numbers[name], expected)
    assert lazily.net.lazy
    for view, other in zip(lazily.views, pruned.views, strict=True):
        assert view.caption == other.caption
    pd.testing.assert_frame_equal(kenviz.LayersView(lazily.net, pair).numbers(), kenviz.LayersView(net, pair).numbers())


@pytest.mark.parametrize("asked", ASKED, ids=str)
def test_its_code_opens_the_same(asked):
    pair = models()
    explorer = kenviz.explore(pair, **asked)
    explorer.row = 2
    names = {"kenviz": kenviz, "pair": pair}
    exec(explorer.code(), names)
    again = names["explorer"]
    assert again.code() == explorer.code()
    assert again.net == explorer.net == ken.prune(*pair, **{"rule": "ken", "k": None} | asked)


def test_of_paths_its_code_has_the_paths(tmp_path):
    pair = models()
    paths = [tmp_path / "new.safetensors", tmp_path / "old.safetensors"]
    for state, path in zip(pair, paths, strict=True):
        save_file(state, path)
    explorer = kenviz.explore(*paths, k=5)
    assert explorer.code() == f"explorer = kenviz.explore({str(paths[0])!r}, {str(paths[1])!r}, k=5)"
    with pytest.raises(ken.KenError, match="it is the pretrained model"):
        explorer.prune(paths[1], overwrite=True)
    written = explorer.prune(tmp_path / "net")
    assert written == ken.prune(*paths, k=5)
    assert explorer.net == written


def test_a_row_is_read_alone(reads):
    pair = models()
    net = ken.prune(*pair, k=5, lazy=True)
    view = kenviz.RowView(net, net.pair, QUERY, row=7)
    assert set(reads) == {(140, 160)}
    view.row = 9
    assert set(reads) == {(140, 160), (180, 200)}
    assert net[QUERY].undecided() == 22


def test_nothing_but_the_first_matrix_is_read_to_open(reads):
    explorer = kenviz.explore(models(), k=5)
    undecided = {name: tensor.undecided() for name, tensor in explorer.net.pruned().items()}
    assert undecided.pop(explorer.tensor) == 0
    assert set(undecided.values()) == {24}


@pytest.fixture
def large(monkeypatch):
    """A pair whose matrix is large: a look at all of it reads levels, and is of some rows at first."""
    monkeypatch.setattr(studies, "FIRST_LOOK", 100_000)
    monkeypatch.setattr(pyramid, "MOST_READ", 20_000)
    generator = torch.Generator().manual_seed(0)
    old = torch.randn(1000, 300, generator=generator)
    return ken.Pair({QUERY: old + torch.randn(1000, 300, generator=generator) / 9}, {QUERY: old})


def test_of_a_large_matrix_evenly_spaced_rows_are_decided_first_and_said_to_be(large):
    explorer = kenviz.explore(large, k=0.3)
    view, whole = explorer.matrix, kenviz.MatrixView(ken.prune(*large, k=0.3), large)
    assert (view.every, explorer.net[QUERY].undecided()) == (4, 750)
    assert "Every 4th row has been decided so far" in view.caption
    assert "every 4th row decided so far" in view._lines()
    assert view._rest.layout.display is None
    assert np.abs(view.numbers().to_numpy() - whole.numbers().to_numpy()).max() > 0
    assert abs(view.numbers().to_numpy().mean() - 30) < 2

    view.rows, view.columns = (100, 150), (0, 80)
    whole.rows, whole.columns = (100, 150), (0, 80)
    pd.testing.assert_frame_equal(view.numbers(), whole.numbers())

    view._rest.click()
    view.show_all()
    whole.show_all()
    assert view.every == 1
    assert view.caption == whole.caption
    assert view._rest.layout.display == "none"
    pd.testing.assert_frame_equal(view.numbers(), whole.numbers())
    assert view.page()[1] == whole.page()[1]


def test_an_explorer_goes_on_with_what_it_has_pruned(large):
    explorer = kenviz.explore(large, k=0.3)
    net = explorer.prune()
    assert net == ken.prune(*large, k=0.3)
    assert not net.lazy
    assert explorer.matrix.every == 1
    assert explorer.net[QUERY].decoded() is net[QUERY]


def test_measures_and_layers_are_never_estimated_in_silence(large):
    net = ken.prune(*large, k=0.3, lazy=True)
    study = Study(net, net.pair)
    assert isinstance(study.look(QUERY), SampledPyramid)
    assert study.sampled(QUERY) == 4
    layers = kenviz.LayersView(net, study)
    assert "Every 4th row has been decided so far" in layers.caption
    exact = study.pyramid(QUERY)
    assert not isinstance(exact, SampledPyramid)
    assert study.look(QUERY) is exact
    assert np.array_equal(exact.row_counts, net[QUERY].row_mask().sum(axis=1))


def test_a_sample_of_all_rows_alike_is_exact():
    mask = np.repeat(np.random.default_rng(0).random((334, 700)) < 0.4, 3, axis=0)[:1000]
    sampled, whole = SampledPyramid(mask.shape, mask.__getitem__, 3), pyramid_of(mask)
    assert np.array_equal(sampled.row_counts, whole.row_counts)
    assert np.array_equal(sampled.column_counts, whole.column_counts)
    for part in ((0, 1000), (100, 900)):
        place = pyramid.lattice(mask.shape, part, (0, 700), height=40, width=30)
        assert np.array_equal(sampled.over(place).values, whole.over(place).values)


def pyramid_of(mask):
    from kenviz.tiles.mask_tiles import Pyramid

    return Pyramid.from_mask(mask)


def test_what_cannot_be_explored_is_refused(tmp_path):
    pair = models()
    net = ken.prune(*pair, k=5)
    with pytest.raises(ValueError, match="say how to prune them"):
        kenviz.explore(pair)
    with pytest.raises(ValueError, match="a subnetwork has been decided"):
        kenviz.explore(net, pair, k=5)
    with pytest.raises(ValueError, match="not with three arguments"):
        kenviz.explore("a", "b", "c", k=5)
    with pytest.raises(ValueError, match="it goes alone"):
        kenviz.explore(pair, "b", k=5)
    with pytest.raises(TypeError, match=r"explorer\.prune\(out=…\) writes it"):
        kenviz.explore(pair, k=5, out=tmp_path / "net")
    with pytest.raises(TypeError, match="goes with k= or rule="):
        kenviz.explore(net, pair, seed=3)
    with pytest.raises(ken.KenError, match="k must be"):
        kenviz.explore(pair, k=0)
    assert kenviz.explore(net, pair).prune() is net
