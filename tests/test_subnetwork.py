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
    assert repr(net) == "Subnetwork(rule='ken', k=1: 5 of 11 entries retained; 1 tensors pruned, 1 carried)"
    with pytest.raises(KeyError):
        net["missing"]


def test_a_model_without_tensors_gives_an_empty_subnetwork():
    net = ken.prune({}, {}, 1)
    assert len(net) == 0
    assert np.isnan(net.share)
    assert net.table().empty
    assert ken.inject(net, {}) == {}
