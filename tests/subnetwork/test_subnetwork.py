import numpy as np
import pytest
import torch

import ken


def test_subnetwork_is_a_mapping_that_describes_itself():
    pair = {"w": torch.ones(2, 4), "n": torch.ones(3, dtype=torch.int32)}
    net = ken.prune(pair, {"w": torch.zeros(2, 4), "n": torch.zeros(3, dtype=torch.int32)}, 1)
    assert list(net) == ["w", "n"]
    assert len(net) == 2
    assert isinstance(net["n"], ken.CarriedTensor)
    assert net["n"].reason == "int32, not floating-point"
    assert list(net.pruned()) == ["w"]
    assert (net.retained, net.entries, net.share) == (5, 11, 5 / 11)
    assert repr(net) == (
        "Subnetwork(rule='ken', k=1: 5 of 11 entries retained; 1 tensors pruned, 1 carried; 27 % of the entries are "
        "carried, most of them: int32, not floating-point)"
    )
    with pytest.raises(KeyError):
        net["missing"]


def test_a_model_without_tensors_gives_an_empty_subnetwork():
    net = ken.prune({}, {}, 1)
    assert len(net) == 0
    assert np.isnan(net.share)
    assert net.table().empty
    assert ken.inject(net, {}) == {}


def test_two_models_that_do_not_differ_are_told(tmp_path):
    model = {"w": torch.randn(3, 8), "v": torch.ones(8)}
    net = ken.prune(model, model, 2)
    assert set(net.table()["status"]) == {"unchanged"}
    assert repr(net).endswith("2 tensors pruned, 0 carried; the models do not differ in what was pruned)")
    assert repr(ken.load(net.save(tmp_path / "net"))) == repr(net)
    other = ken.prune(model | {"v": torch.zeros(8)}, model, 2)
    assert list(other.table()["status"]) == ["unchanged", "pruned"]
    assert not other.unchanged
