"""A pair that is not the subnetwork's is refused by statistics, explanations, views and the report alike."""

import command_line
import pytest
import torch
from safetensors.torch import save_file
from transformers import BertConfig, BertForSequenceClassification, BertModel

import ken
import kenviz
from ken.errors import SubnetworkError
from ken.subnetwork import belonging
from ken.subnetwork.belonging import open_for
from kenviz.study.study import Study

QUERY = "layer.1.query.weight"
READERS = {
    "measure": ken.retention.measure,
    "table": ken.retention.table,
    "heads": ken.retention.heads,
    "rows": lambda net, pair: ken.retention.rows(net, pair, QUERY),
    "columns": lambda net, pair: ken.retention.columns(net, pair, QUERY),
    "compare": lambda net, pair: ken.retention.compare(net, net, pair),
    "explain": lambda net, pair: ken.explain(net, pair, QUERY),
    "explain a row": lambda net, pair: ken.explain(net, pair, QUERY, 0),
    "MatrixView": kenviz.MatrixView,
    "MatrixView of the update": lambda net, pair: kenviz.MatrixView(net, pair, QUERY, show="update"),
    "RowView": lambda net, pair: kenviz.RowView(net, pair, QUERY),
    "NeighbourView": kenviz.NeighbourView,
    "LayersView": kenviz.LayersView,
    "RetentionView": kenviz.RetentionView,
    "CompareView": lambda net, pair: kenviz.CompareView(net, net, pair),
    "Explorer": kenviz.Explorer,
    "explore": kenviz.explore,
    "show": kenviz.show,
    "show a tuple": lambda net, pair: kenviz.show((net, pair)),
}


def turned(net, pair):
    return ken.Pair(pair.pretrained, pair.fine_tuned)


def other_fine_tuned(net, pair):
    return ken.Pair({name: tensor + 0.125 for name, tensor in pair.fine_tuned.items()}, pair.pretrained)


def other_pretrained(net, pair):
    return ken.Pair(pair.fine_tuned, {name: tensor + 0.125 for name, tensor in pair.pretrained.items()})


def injected(net, pair):
    return ken.Pair(ken.inject(net, pair.pretrained), pair.pretrained)


def another_dtype(net, pair):
    return ken.Pair({name: tensor.to(torch.bfloat16) for name, tensor in pair.fine_tuned.items()}, pair.pretrained)


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (turned, "the wrong way round: give the fine-tuned one first"),
        (other_fine_tuned, "the fine-tuned model is not the one that the subnetwork was made of"),
        (other_pretrained, "the pretrained model is not the one that the subnetwork was made of"),
        (injected, "it holds the subnetwork already: give the model as it was before pruning"),
        (another_dtype, "it is bfloat16, it was float32"),
    ],
)
def test_another_pair_is_refused_by_whatever_reads_one(reader, wrong, says, net, pair):
    with pytest.raises(ValueError, match="the subnetwork was made of") as caught:
        READERS[reader](net, wrong(net, pair))
    assert isinstance(caught.value, ken.KenError)
    assert says in str(caught.value)


@pytest.mark.parametrize("reader", READERS)
def test_the_right_pair_is_not(reader, net, pair):
    READERS[reader](net, pair)


# What reads one matrix, and so may know of no other; the matrix in question is too large for a quick look.
OF_ONE = ["explain", "MatrixView of the update", "RowView"]


@pytest.mark.parametrize(
    "reader", [name for name in READERS if "View" not in name and "xpl" not in name and "show" not in name] + OF_ONE
)
def test_a_single_matrix_that_is_another_is_seen_when_it_is_read(reader, net, pair, monkeypatch):
    monkeypatch.setattr(belonging, "QUICK_TENSORS", 2)
    other = ken.Pair(pair.fine_tuned | {QUERY: -pair.fine_tuned[QUERY]}, pair.pretrained)
    open_for(net, other)
    with pytest.raises(SubnetworkError, match=f"{QUERY}: the fine-tuned model is not the one"):
        READERS[reader](net, other)


def test_a_tensor_is_recognised_once(net, pair, monkeypatch):
    study = Study(net, pair)
    seen = []
    monkeypatch.setattr("kenviz.study.study.check_tensor", lambda name, *_: seen.append(name))
    for start in range(4):
        study.rows(QUERY, slice(start, start + 1))
    assert seen == [QUERY]


def test_a_quick_look_reads_little(net, pair, monkeypatch):
    names = belonging._smallest(net)
    assert names[:2] == ["layer.0.query.bias", "layer.1.query.bias"]
    monkeypatch.setattr(belonging, "QUICK_BYTES", 2 * 2 * 24 * 4)
    assert belonging._smallest(net) == names[:2]
    monkeypatch.setattr(belonging, "QUICK_BYTES", 1)
    assert belonging._smallest(net) == []


def test_models_with_and_without_a_head_the_wrong_way_round_are_told_so():
    torch.manual_seed(0)
    config = BertConfig(
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=64,
        vocab_size=50,
        max_position_embeddings=16,
    )
    fine_tuned, pretrained = BertForSequenceClassification(config), BertModel(config)
    net = ken.prune(fine_tuned, pretrained, 0.5)
    with pytest.raises(SubnetworkError, match="the fine-tuned model none of that name") as caught:
        ken.retention.table(net, ken.Pair(pretrained, fine_tuned))
    assert "the two models are the wrong way round" in caught.value.__notes__[0]


def test_models_that_do_not_even_pair_the_wrong_way_round_are_told_so(pair):
    longer = ken.Pair(pair.fine_tuned | {"embed.weight": torch.ones(310, 24)}, pair.pretrained)
    net = ken.prune(*longer, 0.5)
    with pytest.raises(ken.KenError) as caught:
        Study(net, ken.Pair(*longer[::-1]))
    assert "the wrong way round" in "\n".join([str(caught.value), *getattr(caught.value, "__notes__", [])])


def test_two_fine_tunings_are_compared_on_either_pair_and_on_no_third(pair):
    second = ken.Pair(
        {name: tensor + 0.01 * torch.ones_like(tensor) for name, tensor in pair.fine_tuned.items()}, pair.pretrained
    )
    third = ken.Pair(
        {name: tensor + 0.02 * torch.ones_like(tensor) for name, tensor in pair.fine_tuned.items()}, pair.pretrained
    )
    a, b = ken.prune(*pair, 0.5), ken.prune(*second, 0.5)
    ken.retention.compare(a, b, pair)
    ken.retention.compare(a, b, second)
    with pytest.raises(SubnetworkError, match="the fine-tuned model is not the one"):
        ken.retention.compare(a, b, third)
    with pytest.raises(ValueError, match="the fine-tuned model is not the one"):
        kenviz.CompareView(a, b, pair, pair_b=third)
    elsewhere = ken.prune(*other_pretrained(None, pair), 0.5)
    with pytest.raises(SubnetworkError, match="the pretrained tensor of one is another than that of the other"):
        ken.retention.compare(a, elsewhere, pair)


def test_the_report_refuses_by_python_and_by_the_command_line(net, pair, tmp_path):
    other = other_fine_tuned(net, pair)
    for wrong in (other, turned(net, pair)):
        with pytest.raises(ValueError, match="the fine-tuned model is not the one"):
            kenviz.report(net, wrong, tmp_path / "report.html", sections=["tensors"], progress=False)
    for name, state in zip(("fine_tuned", "pretrained"), other, strict=True):
        save_file(state, tmp_path / f"{name}.safetensors")
    models = [str(tmp_path / f"{name}.safetensors") for name in ("fine_tuned", "pretrained")]
    words = ["report", str(net.save(tmp_path / "net")), *models, "-o", str(tmp_path / "report.html")]
    ran = command_line.ken(*words)
    assert ran.status == 1
    assert "the fine-tuned model is not the one" in ran.err
    assert "Traceback" not in ran.err
    assert not (tmp_path / "report.html").exists()
