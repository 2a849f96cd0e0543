"""A longer first axis is added rows for a vocabulary alone; else the tensor is new."""

import pytest
import torch
from checkpoints import bert_config, llama, shifted, weights
from transformers import BertForMaskedLM, BertForSequenceClassification, BertModel, LlamaForCausalLM

import ken


def classifier(labels, **more):
    torch.manual_seed(labels)
    return BertForSequenceClassification(bert_config(num_labels=labels, **more)).eval()


@pytest.fixture(params=["module", "state", "folder"])
def kind(request):
    return request.param


def given_as(kind, model, place):
    if kind == "module":
        return model
    if kind == "state":
        return model.state_dict()
    model.save_pretrained(place)
    return place


@pytest.mark.parametrize(("new", "old"), [(5, 3), (2, 3), (1, 50), (50, 3)])
def test_a_head_for_other_labels_is_new_and_carried_whole(kind, new, old, tmp_path):
    fine_tuned, pretrained = (
        given_as(kind, classifier(labels), tmp_path / str(i)) for i, labels in enumerate((new, old))
    )
    net = ken.prune(fine_tuned, pretrained, 0.5)
    table = net.table()
    assert set(table.loc[["classifier.weight", "classifier.bias"], "status"]) == {"carried"}
    assert "that of the pretrained model" in table.loc["classifier.weight", "reason"]
    model = ken.inject(net, pretrained)
    state = model.state_dict() if kind == "module" else model
    head = classifier(new).state_dict()["classifier.weight"]
    assert torch.equal(state["classifier.weight"], head)


def test_what_is_excluded_may_have_any_shape(kind, tmp_path):
    fine_tuned, pretrained = classifier(3), classifier(3, intermediate_size=32)
    sources = given_as(kind, fine_tuned, tmp_path / "a"), given_as(kind, pretrained, tmp_path / "b")
    message = (
        r"intermediate\.dense\.(weight|bias): fine-tuned is \(24(, 16|,)\), pretrained is \(32(, 16|,)\).*exclude="
    )
    with pytest.raises(ken.KenError, match=message):
        ken.prune(*sources, 0.5)
    net = ken.prune(*sources, 0.5, exclude=["*intermediate*", "*.output.dense.weight"])
    name = "bert.encoder.layer.0.output.dense.weight"
    assert net.table().loc[name, "reason"] == "excluded by '*.output.dense.weight'"
    only = ken.prune(*sources, 0.5, include=["*attention*"])
    assert only.table().loc[name, "reason"] == "not included"


def test_a_grown_vocabulary_is_pruned_as_far_as_it_goes(kind, tmp_path):
    base = llama()
    grown = shifted(LlamaForCausalLM(llama().config))
    grown.load_state_dict(base.state_dict())
    grown.resize_token_embeddings(64, mean_resizing=False)
    shifted(grown)
    fine_tuned, pretrained = given_as(kind, grown, tmp_path / "a"), given_as(kind, base, tmp_path / "b")
    names = ["model.embed_tokens.weight", "lm_head.weight"]
    if kind == "state":  # nothing says what the rows are
        assert set(ken.prune(fine_tuned, pretrained, 4).table().loc[names, "status"]) == {"carried"}
    rows = dict.fromkeys(names, "grown") if kind == "state" else None
    net = ken.prune(fine_tuned, pretrained, 4, rows=rows, out=tmp_path / "net")
    for name in names:
        assert net[name].row_mask().sum(1).tolist() == [4] * 60 + [32] * 4
    assert ken.inject(net, pretrained) is not None


def test_a_live_model_with_a_grown_vocabulary_saves_and_loads(tmp_path):
    base = llama()
    grown = llama()
    grown.resize_token_embeddings(64, mean_resizing=False)
    net = ken.prune(shifted(grown), base, 0.5)
    model = ken.inject(net, base)
    assert model.config.vocab_size == 64
    assert model.get_input_embeddings().num_embeddings == 64
    assert model.lm_head.out_features == 64
    model.save_pretrained(tmp_path / "out")
    again, info = LlamaForCausalLM.from_pretrained(tmp_path / "out", output_loading_info=True)
    assert not any(info.values())
    assert torch.equal(again.lm_head.weight, model.lm_head.weight)
    model(torch.tensor([[63, 1]]))
    # A body into which the words of a model with a head are put.
    torch.manual_seed(0)
    body = BertModel(bert_config())
    masked = BertForMaskedLM(bert_config(vocab_size=53))
    net = ken.prune(masked.bert, body, 0.5)
    model = ken.inject(net, body)
    assert model.config.vocab_size == model.get_input_embeddings().num_embeddings == 53
    assert body.config.vocab_size == 50
    model.save_pretrained(tmp_path / "body")
    assert BertModel.from_pretrained(tmp_path / "body").config.vocab_size == 53


def test_an_embedding_of_a_plain_module_is_a_vocabulary_and_a_linear_layer_is_none():
    def model(words, labels):
        torch.manual_seed(words)
        return torch.nn.Sequential(torch.nn.Embedding(words, 8), torch.nn.Linear(8, labels))

    net = ken.prune(model(9, 5), model(6, 3), 2)
    assert net.table()["status"].tolist() == ["pruned", "carried", "carried"]
    injected = ken.inject(net, model(6, 3))
    assert injected[0].num_embeddings == 9
    assert injected[1].out_features == 5
    injected(torch.tensor([8]))


def test_the_command_line_says_that_rows_were_added(tmp_path, capsys):
    from safetensors.torch import save_file
    from typer.testing import CliRunner

    from ken.cli import app

    save_file({"w": torch.ones(5, 4), "v": torch.ones(4)}, tmp_path / "a.safetensors")
    save_file({"w": torch.zeros(3, 4), "v": torch.zeros(4)}, tmp_path / "b.safetensors")
    arguments = ["prune", str(tmp_path / "a.safetensors"), str(tmp_path / "b.safetensors"), "-k", "1"]
    done = CliRunner().invoke(app, [*arguments, "-o", str(tmp_path / "net"), "--rows", "w=grown"])
    assert done.exit_code == 0, done.output
    assert ken.load(tmp_path / "net")["w"].row_mask().sum(1).tolist() == [1, 1, 1, 4, 4]
    done = CliRunner().invoke(app, [*arguments, "-o", str(tmp_path / "net")])
    assert "most of them: new: its shape is (5, 4)" in done.output


def test_weights_of_a_folder_are_what_was_saved(tmp_path):
    llama().save_pretrained(tmp_path)
    assert "lm_head.weight" in weights(tmp_path)
