"""A body without prefix against a model with one is paired by the names themselves."""

import pytest
import torch
from checkpoints import bert_config, shifted, weights, without_settings
from transformers import BertForMaskedLM, BertForSequenceClassification, BertModel

import ken
from ken.errors import PairingError
from ken.models.pairing.pairing import prefix_between

OLD = ("architectures", "model_type")


@pytest.fixture
def folders(tmp_path):
    """A body, and a model with a head and a prefix, both with a configuration as of 2020."""
    torch.manual_seed(0)
    model = BertForSequenceClassification(bert_config())
    model.save_pretrained(tmp_path / "head")
    body = BertModel(bert_config())
    body.load_state_dict(model.bert.state_dict())
    shifted(body).save_pretrained(tmp_path / "body")
    for place in ("head", "body"):
        without_settings(tmp_path / place, *OLD)
    return tmp_path / "body", tmp_path / "head"


# A task head on the pretrained side alone also looks like models that were mixed up.
@pytest.mark.filterwarnings("ignore:the two models may be the wrong way round:ken.errors.KenWarning")
def test_a_body_is_paired_with_a_model_with_a_head_and_the_other_way_round(folders, tmp_path):
    body, head = folders
    for fine_tuned, pretrained in (folders, folders[::-1]):
        net = ken.prune(fine_tuned, pretrained, 0.5, out=tmp_path / "net")
        assert len(net.pruned()) == len(weights(body))
        assert any("the prefix 'bert'" in note for note in net.notes)
        assert (
            weights(ken.export(net, pretrained, tmp_path / f"of-{fine_tuned.name}")).keys()
            == weights(fine_tuned).keys()
        )
        ken.verify(net, pretrained)
    assert net.table().loc["classifier.weight", "status"] == "carried"
    net = ken.prune(body, head, 0.5)
    assert set(net.only_pretrained) == {"classifier.weight", "classifier.bias"}
    assert not net.lacking


def test_prefixes_that_training_frameworks_put_in_front_are_found(folders):
    body = weights(folders[0])
    for prefix in ("model.", "backbone.encoder.", "model.bert."):
        state = {prefix + name: tensor for name, tensor in body.items()} | {"loss.weight": torch.ones(3)}
        net = ken.prune(state, body, 0.5)
        assert len(net.pruned()) == len(body)
        assert net.table().loc["loss.weight", "status"] == "carried"
        assert ken.inject(net, body).keys() == state.keys()


def test_two_parts_that_fit_equally_are_not_guessed():
    part = {"a.w": torch.ones(2), "b.w": torch.ones(2)}
    both = {f"{name}.{key}": tensor for name in ("left", "right") for key, tensor in part.items()}
    with pytest.raises(PairingError, match="fit with the prefix 'left' as well as with 'right'"):
        ken.prune(part, both, 1)


def test_names_that_fit_as_they_are_need_no_prefix():
    assert prefix_between(["a", "b"], ["a", "x.b"], fitting=1) == ""
    torch.manual_seed(0)
    masked, body = BertForMaskedLM(bert_config()), BertModel(bert_config())
    net = ken.prune(masked.state_dict(), body.state_dict(), 0.5)
    assert net.prefix == "bert"
