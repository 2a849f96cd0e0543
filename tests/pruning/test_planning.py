import sys
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from strategies import budgets, models
from transformers import BertConfig, BertForMaskedLM, BertForSequenceClassification
from typer.testing import CliRunner

import ken
from ken.cli import commands as cli
from ken.errors import BudgetError, PairingError, SubnetworkError

ROOT = Path(__file__).parents[2]
SMALL = {"vocab_size": 90, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24}


@pytest.fixture(scope="module")
def plans():
    """The script that prints the table of the documentation."""
    sys.path.insert(0, str(ROOT / "docs"))
    try:
        import plans
    finally:
        sys.path.remove(str(ROOT / "docs"))
    return plans


def test_the_table_of_the_documentation_is_what_is_computed(plans):
    page = (ROOT / "docs" / "plan.md").read_text(encoding="utf-8")
    assert plans.table() in page
    assert len(plans.MODELS) == 10


def test_bert_base_has_the_published_sizes(plans):
    for k, published in ((697, 80), (549, 63)):
        planned = plans.plan("BERT base", k=k)
        but_the_last = planned.retained - planned.tensors[-1].retained
        assert planned.tensors[-1].name == "classifier.bias"
        assert but_the_last // 10**6 == published
        assert f"{but_the_last:,}" in (ROOT / "docs" / "plan.md").read_text(encoding="utf-8")
    near = plans.plan("BERT base", total=80e6)
    assert near.k in (696, 697)
    assert abs(near.retained - 80e6) <= min(
        abs(plans.plan("BERT base", k=k).retained - 80e6) for k in (695, 696, 697, 698)
    )
    assert plans.plan("BERT base", k=near.k).retained == near.retained


@given(models(), budgets())
def test_a_plan_is_what_pruning_retains(models, k):
    fine_tuned, pretrained, exclude = models
    net = ken.prune(fine_tuned, pretrained, k, rule="random", exclude=exclude, progress=False)
    # What has no counterpart, or has grown, is not known from one model's shapes.
    common = {name: tensor for name, tensor in fine_tuned.items() if name not in ("head", "grown")}
    planned = ken.plan(common, k, exclude=exclude)
    assert {tensor.name: tensor.retained for tensor in planned.tensors} == {name: net[name].retained for name in common}
    assert {t.name: t.reason for t in planned.tensors} == {name: net.outlines[name].reason or "" for name in common}


@given(
    st.lists(st.tuples(st.integers(1, 30), st.integers(1, 50)), min_size=1, max_size=4), st.floats(0, 1), st.booleans()
)
def test_the_k_for_a_total_is_the_closest_there_is(shapes, share, carried):
    state = {f"w{i}": torch.empty(shape, device="meta") for i, shape in enumerate(shapes)}
    if carried:
        state["n"] = torch.empty(7, dtype=torch.int64, device="meta")
    longest = max(n for _, n in shapes)
    totals = [ken.plan(state, k).retained for k in range(1, longest + 1)]
    total = totals[0] + share * (totals[-1] - totals[0])
    planned = ken.plan(state, total=total)
    assert abs(planned.retained - total) == min(abs(retained - total) for retained in totals)
    for wrong in (totals[0] - 1, totals[-1] + 1):
        with pytest.raises(BudgetError, match=f"total must be between {totals[0]:,} .* and {totals[-1]:,}"):
            ken.plan(state, total=wrong)


def test_every_source_gives_the_same_plan(tmp_path):
    config = BertConfig(**SMALL, num_labels=3)
    model = BertForSequenceClassification(config)
    model.save_pretrained(tmp_path / "folder")
    want = ken.plan(model, 5).table().drop(columns="reason")
    with torch.device("meta"):
        meta = BertForSequenceClassification(config)
    for source in (
        meta,
        model.state_dict(),
        model.config,
        tmp_path / "folder" / "config.json",
        str(tmp_path / "folder"),
    ):
        named = "BertForSequenceClassification" if source is model.config else None
        planned = ken.plan(source, 5, model_class=named)
        assert planned.table().drop(columns="reason").sort_index().equals(want.sort_index())
    (tmp_path / "folder" / "model.safetensors").unlink()
    assert ken.plan(tmp_path / "folder", 5).retained == ken.plan(model, 5).retained


def test_tied_tensors_count_once_and_nothing_is_drawn_from_the_callers_random_numbers():
    state = torch.get_rng_state()
    planned = ken.plan(BertConfig(**SMALL), 1.0, model_class="BertForMaskedLM")
    assert torch.equal(torch.get_rng_state(), state)
    parameters = BertForMaskedLM(BertConfig(**SMALL)).parameters()
    assert planned.entries == planned.retained == sum(parameter.numel() for parameter in parameters)
    assert "cls.predictions.decoder.weight" not in {tensor.name for tensor in planned.tensors}


def test_a_bare_configuration_is_planned_as_the_bare_model():
    assert {tensor.name.split(".")[0] for tensor in ken.plan(BertConfig(**SMALL), 3).tensors} == {
        "embeddings",
        "encoder",
        "pooler",
    }


def test_layers_only_carries_what_has_no_layer_number(tmp_path):
    fine_tuned, pretrained = (BertForSequenceClassification(BertConfig(**SMALL)) for _ in range(2))
    net = ken.prune(fine_tuned, pretrained, 4, layers_only=True)
    assert set(net.pruned()) == {name for name in net if ".layer." in name}
    assert net["bert.pooler.dense.weight"].reason == "not in a layer"
    assert ken.plan(fine_tuned, 4, layers_only=True).retained == net.retained
    assert ken.load(net.save(tmp_path / "net")).recipe.layers_only
    merged = ken.inject(net, pretrained)
    assert torch.equal(merged.classifier.weight, fine_tuned.classifier.weight)


def test_what_cannot_be_planned_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    layer = torch.nn.Linear(4, 4)
    with pytest.raises(BudgetError, match="needs either k or total"):
        ken.plan(layer)
    with pytest.raises(BudgetError, match="needs either k or total"):
        ken.plan(layer, 3, total=5)
    with pytest.raises(BudgetError, match="k must be at least 1, got 0"):
        ken.plan(layer, 0)
    with pytest.raises(PairingError, match="needs a configuration, a model or a path, got int"):
        ken.plan(42, 3)
    with pytest.raises(PairingError, match="has neither weights nor config.json"):
        ken.plan(tmp_path, 3)
    with pytest.raises(PairingError, match="the hub's cache has no config.json of no/such-model"):
        ken.plan("no/such-model", 3)
    with pytest.raises(SubnetworkError, match="has no model class 'BertConfig'"):
        ken.plan(BertConfig(**SMALL), 3, model_class="BertConfig")


def test_the_command_line_says_what_python_says(tmp_path):
    BertForSequenceClassification(BertConfig(**SMALL)).save_pretrained(tmp_path)
    done = CliRunner().invoke(cli.app, ["plan", str(tmp_path), "-k", "0.5"])
    assert done.output.strip() == str(ken.plan(tmp_path, 0.5))
    done = CliRunner().invoke(cli.app, ["plan", str(tmp_path), "--total", "3e3", "--tensors", "--exclude", "*bias"])
    lines = done.output.splitlines()
    assert lines[-1] == str(ken.plan(tmp_path, total=3e3, exclude=["*bias"]))
    assert len(lines) == 1 + len(ken.plan(tmp_path, 1).tensors)
    assert "'classifier.bias' [2] (excluded by '*bias')" in done.output
