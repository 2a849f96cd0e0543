import numpy as np
import pytest
import torch
from transformers import BertConfig, BertForMaskedLM

import ken
from ken.errors import PairingError
from ken.models.checkpoints.checkpoint import read
from ken.models.pairing.pairing import match, open_pair


def test_reads_a_module_in_model_order_and_tells_buffers():
    module = torch.nn.Sequential(torch.nn.Conv1d(2, 3, 5), torch.nn.BatchNorm1d(3))
    checkpoint = read(module)
    assert list(checkpoint.tensors) == list(module.state_dict())
    assert checkpoint.buffers == {"1.running_mean", "1.running_var", "1.num_batches_tracked"}


def test_a_state_dict_gives_the_same_buffers_as_its_module():
    module = torch.nn.BatchNorm2d(3)
    floating = {n for n in read(module).buffers if module.state_dict()[n].is_floating_point()}
    assert read(module.state_dict()).buffers == floating


def test_tied_tensors_count_once_under_the_first_name():
    torch.manual_seed(0)
    config = BertConfig(vocab_size=20, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16)
    model = BertForMaskedLM(config)
    checkpoint = read(model)
    assert checkpoint.tied == {
        "cls.predictions.decoder.weight": "bert.embeddings.word_embeddings.weight",
        "cls.predictions.decoder.bias": "cls.predictions.bias",
    }
    assert read(model.state_dict()).tied == checkpoint.tied
    assert checkpoint.prefix == "bert"
    assert checkpoint.architecture.class_name == "BertForMaskedLM"


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (42, "must be a torch module, a state dict or a path, got int"),
        ({3: torch.zeros(1)}, "tensor names must be strings, got 3"),
        ({"a": [1.0]}, "a: a state dict must hold tensors, got list"),
        ({"a": torch.zeros(2, device="meta")}, "a: the tensor has no values"),
        ({"a": torch.eye(3).to_sparse()}, "a: tensors must be dense, got torch.sparse_coo torch.float32"),
    ],
)
def test_what_is_no_checkpoint_is_refused(source, message):
    with pytest.raises(PairingError, match=message):
        read(source)


def test_names_match_exactly_before_a_prefix_is_tried():
    assert match(["bert.a", "b"], ["a", "bert.a", "bert.b"], ["bert"]) == {"bert.a": "bert.a", "b": "bert.b"}


def test_two_names_with_one_counterpart_are_refused():
    with pytest.raises(PairingError, match=r"a and bert\.a would both be paired with a"):
        match(["a", "bert.a"], ["a"], ["bert"])


def test_shapes_that_do_not_fit_are_refused_with_name_and_both_shapes():
    rows = r"w: fine-tuned is \(2, 3\), pretrained is \(2, 4\).*exclude=\['w'\] carries it whole"
    with pytest.raises(PairingError, match=rows):
        ken.prune({"w": torch.ones(2, 3)}, {"w": torch.ones(2, 4)}, 1)
    with pytest.raises(PairingError, match=r"w: fine-tuned is \(2, 3\), pretrained is \(3,\)"):
        ken.prune({"w": torch.ones(2, 3)}, {"w": torch.ones(3)}, 1)
    with pytest.raises(PairingError, match=r"w: fine-tuned is torch\.float32, pretrained is torch\.int64"):
        ken.prune({"w": torch.ones(2)}, {"w": torch.ones(2, dtype=torch.int64)}, 1)


def test_what_does_not_fit_can_be_carried():
    for other in (torch.ones(2, 4), torch.ones(3), torch.ones(2, 3, dtype=torch.int64)):
        net = ken.prune(
            {"w": torch.ones(2, 3), "v": torch.ones(3)}, {"w": other, "v": torch.zeros(3)}, 1, exclude=["w"]
        )
        assert net["w"].reason == "excluded by 'w'"
        assert net["w"].pretrained is None
        assert torch.equal(ken.inject(net, {"w": other, "v": torch.zeros(3)})["w"], torch.ones(2, 3))


def test_models_without_a_tensor_in_common_are_refused():
    with pytest.raises(PairingError, match=r"no tensor .* begin with 'a' and 'b'"):
        open_pair({"a": torch.ones(1)}, {"b": torch.ones(1)})


def test_rows_of_a_grown_tensor_have_nan_where_there_is_no_pretrained_value():
    fine_tuned, pretrained = {"w": torch.ones(3, 2), "b": torch.ones(3)}, {"w": torch.zeros(2, 2), "b": torch.zeros(2)}
    pairing = open_pair(fine_tuned, pretrained, {"*": "grown"})
    np.testing.assert_array_equal(pairing.rows("w")[1], [[0, 0], [0, 0], [np.nan, np.nan]])
    np.testing.assert_array_equal(pairing.rows("w", slice(1, 3))[1], [[0, 0], [np.nan, np.nan]])
    np.testing.assert_array_equal(pairing.rows("b")[1], [[0, 0, np.nan]])


def test_a_tensor_without_counterpart_has_rows_too():
    pairing = open_pair({"w": torch.ones(1, 2), "head": torch.ones(2, 2)}, {"w": torch.zeros(1, 2)})
    assert np.isnan(pairing.rows("head", slice(0, 1))[1]).all()


def test_an_empty_tensor_has_no_rows():
    opened = open_pair({"e": torch.empty(0, 4), "w": torch.ones(1)}, {"e": torch.empty(0, 4), "w": torch.ones(1)})
    assert [values.size for values in opened.rows("e")] == [0, 0]
