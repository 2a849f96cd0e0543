import pytest
import torch
from test_pruning import fingerprint
from transformers import BertConfig, BertForMaskedLM, BertForSequenceClassification, BertModel

import ken
from ken.errors import SubnetworkError

CONFIG = {
    "vocab_size": 40,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "max_position_embeddings": 12,
}


def bert(cls, seed, **extra):
    torch.manual_seed(seed)
    return cls(BertConfig(**CONFIG, **extra)).eval()


@pytest.fixture
def classifier():
    return bert(BertForSequenceClassification, 1, num_labels=3)


def test_the_new_head_of_a_base_model_is_tied_to_its_embedding():
    base, tuned = bert(BertModel, 0), bert(BertForMaskedLM, 1)
    net = ken.prune(tuned, base, 1.0)
    assert net.tied
    model = ken.inject(net, base)
    assert fingerprint(model.state_dict()) == fingerprint(tuned.state_dict())
    assert model.cls.predictions.decoder.weight is model.bert.embeddings.word_embeddings.weight


def test_a_base_model_becomes_a_classifier_with_the_carried_head(classifier):
    base = bert(BertModel, 0)
    before = fingerprint(base.state_dict()), fingerprint(classifier.state_dict())
    net = ken.prune(classifier, base, 5)
    random_state = torch.get_rng_state()
    model = ken.inject(net, base)
    assert torch.equal(torch.get_rng_state(), random_state)
    assert type(model) is BertForSequenceClassification
    assert model.config.num_labels == 3
    assert not model.training
    assert torch.equal(model.classifier.weight, classifier.classifier.weight)
    name = "encoder.layer.1.attention.self.query.weight"
    mask = torch.from_numpy(net[f"bert.{name}"].mask())
    want = torch.where(mask, classifier.bert.get_parameter(name), base.get_parameter(name))
    assert torch.equal(model.bert.get_parameter(name), want)
    assert (fingerprint(base.state_dict()), fingerprint(classifier.state_dict())) == before
    assert model(torch.tensor([[1, 2, 3]])).logits.shape == (1, 3)


def test_everything_retained_gives_the_fine_tuned_model_bit_for_bit(classifier):
    base = bert(BertModel, 0)
    model = ken.inject(ken.prune(classifier, base, 1.0), base)
    assert fingerprint(model.state_dict()) == fingerprint(classifier.state_dict())
    ids = torch.tensor([[5, 6, 7, 8]])
    assert torch.equal(model(ids).logits, classifier(ids).logits)


def test_a_module_with_a_place_for_everything_is_copied_and_keeps_its_other_tensors(classifier):
    torch.manual_seed(0)
    base = BertModel(BertConfig(**CONFIG), add_pooling_layer=False)
    pretrained = bert(BertForMaskedLM, 2)
    model = ken.inject(ken.prune(base, pretrained, 1.0), pretrained)
    assert torch.equal(model.bert.embeddings.word_embeddings.weight, base.embeddings.word_embeddings.weight)
    assert type(model) is BertForMaskedLM
    assert torch.equal(model.cls.predictions.transform.dense.weight, pretrained.cls.predictions.transform.dense.weight)


def test_tied_parameters_stay_tied():
    fine_tuned, pretrained = bert(BertForMaskedLM, 1), bert(BertForMaskedLM, 0)
    net = ken.prune(fine_tuned, pretrained, 4)
    assert "cls.predictions.decoder.weight" not in net.tensors
    assert net["cls.predictions.decoder.weight"] is net["bert.embeddings.word_embeddings.weight"]
    assert net.table().loc["cls.predictions.decoder.weight", "status"] == "tied"
    model = ken.inject(net, pretrained)
    assert model.cls.predictions.decoder.weight is model.bert.embeddings.word_embeddings.weight
    merged = ken.inject(net, pretrained.state_dict())
    assert merged["cls.predictions.decoder.weight"] is merged["bert.embeddings.word_embeddings.weight"]
    assert fingerprint(merged) == fingerprint(model.state_dict())


def test_the_mode_of_the_pretrained_model_is_kept(classifier):
    base = bert(BertModel, 0)
    net = ken.prune(classifier, base, 2)
    assert ken.inject(net, base.train()).training
    assert base.training


def test_a_narrower_pretrained_dtype_is_widened():
    fine_tuned = {"w": torch.randn(3, 8, generator=torch.Generator().manual_seed(0))}
    pretrained = {"w": fine_tuned["w"].to(torch.bfloat16)}
    merged = ken.inject(ken.prune(fine_tuned, pretrained, 4), pretrained)["w"]
    assert merged.dtype == torch.float32


def test_what_does_not_fit_is_refused_by_name():
    net = ken.prune({"w": torch.ones(2, 3), "v": torch.ones(4)}, {"w": torch.ones(2, 3), "v": torch.zeros(4)}, 2)
    with pytest.raises(SubnetworkError, match="the pretrained model has no tensor v"):
        ken.inject(net, {"w": torch.ones(2, 3)})
    with pytest.raises(
        SubnetworkError, match=r"the subnetwork has shape \(2, 3\), the pretrained tensor \(2, 4\)\nin tensor 'w'"
    ):
        ken.inject(net, {"w": torch.ones(2, 4), "v": torch.ones(4)})


def test_a_custom_module_without_room_for_the_head_is_told_what_to_do():
    class Body(torch.nn.Module):
        def __init__(self, head):
            super().__init__()
            self.body = torch.nn.Linear(4, 4)
            if head:
                self.head = torch.nn.Linear(4, 2)

    net = ken.prune(Body(True), Body(False), 2)
    with pytest.raises(SubnetworkError, match=r"no place for head\.weight \(2 such tensors\)"):
        ken.inject(net, Body(False))


def test_an_unknown_class_is_refused(classifier):
    from dataclasses import replace

    from ken.models.checkpoints.architecture import Architecture

    base = bert(BertModel, 0)
    net = ken.prune(classifier, base, 2)
    for name in ("NoSuchModel", "BertConfig", "os"):
        with pytest.raises(SubnetworkError, match=f"has no model class '{name}'"):
            ken.inject(replace(net, architecture=Architecture(name, {})), base)


def test_a_class_that_needs_more_than_was_stored_is_refused(classifier):
    from dataclasses import replace

    base = bert(BertModel, 0)
    net = ken.prune(classifier, base, 2)
    config = {**net.architecture.config, "num_hidden_layers": 3}
    larger = replace(net, architecture=replace(net.architecture, config=config))
    with pytest.raises(
        SubnetworkError, match=r"has no tensor bert\.encoder\.layer\.2\..* BertForSequenceClassification"
    ):
        ken.inject(larger, base)
