import numpy as np
import pytest
import torch

import ken
from ken.retention import Place


@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("bert.encoder.layer.11.output.dense.bias", Place(11, "bert.encoder.layer.*.output.dense.bias")),
        ("transformer.h.0.ln_1.weight", Place(0, "transformer.h.*.ln_1.weight")),
        ("model.layers.3.experts.5.w1.weight", Place(3, "model.layers.*.experts.5.w1.weight")),
        ("classifier.weight", Place(None, "classifier.weight")),
        ("layer1.conv2.weight", Place(None, "layer1.conv2.weight")),
        ("block.².weight", Place(None, "block.².weight")),
    ],
)
def test_layer_and_kind_come_from_the_name(name, place):
    assert ken.retention.place(name) == place


def test_retention_agrees_with_numpy_on_whole_arrays():
    generator = torch.Generator().manual_seed(0)
    pretrained = {f"l.{i}.w": torch.randn(3000, 400, generator=generator) for i in range(2)}
    fine_tuned = {
        name: tensor + torch.randn(tensor.shape, generator=generator) * 0.1 for name, tensor in pretrained.items()
    }
    fine_tuned["l.1.w"][:, :7] = pretrained["l.1.w"][:, :7]
    pair = ken.Pair(fine_tuned, pretrained)
    net = ken.prune(*pair, 0.25)
    table = ken.retention.table(net, pair)
    assert table["layer"].tolist() == [0, 1]
    for name, line in table.iterrows():
        update = fine_tuned[name].double().numpy() - pretrained[name].double().numpy()
        mask = net[name].mask()
        assert line["changed"] == np.count_nonzero(update)
        np.testing.assert_allclose(line["update_rms"], np.sqrt(np.mean(update**2)), rtol=1e-12)
        np.testing.assert_allclose(line["update_share"], (update[mask] ** 2).sum() / (update**2).sum(), rtol=1e-12)
        assert line["share"] == mask.mean() == 0.25


def test_grown_and_unchanged_tensors():
    pair = ken.Pair({"w": torch.ones(3, 4), "v": torch.ones(2, 2)}, {"w": torch.zeros(2, 4), "v": torch.ones(2, 2)})
    table = ken.retention.table(ken.prune(*pair, 2), pair)
    assert table.loc["w", ["changed", "update_rms", "update_share"]].tolist() == [8, 1.0, 0.5]
    assert table.loc["v", "changed"] == 0
    assert np.isnan(table.loc["v", "update_share"])
    assert table["layer"].isna().all()


def test_no_pruned_tensor_gives_an_empty_table_with_all_columns():
    pair = ken.Pair({"w": torch.ones(2, 2)}, {"w": torch.ones(2, 2)})
    table = ken.retention.table(ken.prune(*pair, 1, exclude=["*"]), pair)
    assert table.empty
    assert "update_share" in table.columns
