"""Evaluations without labels, swept and ablated on a tiny language model and a tiny classifier."""

import copy

import pytest
import torch
from effects_models import TEXTS, bert, llama, moved, word_tokenizer

import ken
from ken.errors import TrainingError
from ken.evaluation.effects.tasks import Task

LONG = [text for text in TEXTS if " " in text]


@pytest.fixture(scope="module", params=["language model", "classifier"])
def pair(request):
    base = llama() if request.param == "language model" else bert()
    return ken.Pair(moved(base, 0.3), base)


@pytest.fixture
def task(pair):
    return Task.fidelity(pair.fine_tuned, word_tokenizer(), LONG)


def divergence(pair, model):
    """The mean Kullback-Leibler divergence, by plain torch, a text at a time."""
    total = 0.0
    for text in LONG:
        ids = torch.tensor([word_tokenizer()(text)["input_ids"]])
        with torch.no_grad():
            wanted, given = (one.eval()(ids).logits.log_softmax(dim=-1) for one in (pair.fine_tuned, model))
        total += (wanted.exp() * (wanted - given)).sum(dim=-1).mean().item()
    return total / len(LONG)


def test_a_sweep_measures_how_far_each_subnetwork_is_from_the_unpruned_model(pair, task):
    table = ken.sweep(pair, [0.5], ["ken"], evaluate=task.evaluate, progress=False).set_index("model")
    assert table.loc["fine-tuned", "metric"] == 1
    assert table.loc["fine-tuned", "loss"] == pytest.approx(0, abs=1e-7)
    models = {"pretrained": pair.pretrained, "pruned": ken.inject(ken.prune(*pair, 0.5), pair.pretrained)}
    for name, model in models.items():
        assert table.loc[name, "loss"] == pytest.approx(divergence(pair, model), rel=1e-4)


def test_an_ablation_measures_it_of_each_group(pair, task):
    table = ken.ablate(pair, evaluate=task.evaluate, by="layer", ways="without", progress=False).set_index("group")
    assert (table.loc[["layer 0", "layer 1"], "loss_low"] <= table.loc[["layer 0", "layer 1"], "loss_difference"]).all()
    mixed = copy.deepcopy(pair.fine_tuned)
    with torch.no_grad():
        for name, parameter in mixed.named_parameters():
            if ".0." in name:
                parameter.copy_(pair.pretrained.get_parameter(name))
    assert table.loc["layer 0", "loss"] == pytest.approx(divergence(pair, mixed), rel=1e-4)


def test_the_model_that_is_swapped_cannot_be_its_own_reference(pair):
    live = copy.deepcopy(pair.pretrained)
    net = ken.prune(*pair, 0.5)
    task = Task.fidelity(live, word_tokenizer(), LONG)
    assert float(task.evaluate(live)) == 1  # as long as it is what it was
    with (
        net.injected(live),
        pytest.raises(TrainingError, match=r"other weights than when .*: it is the model that is asked; give"),
    ):
        task.evaluate(live)
    assert float(task.evaluate(live)) == 1


def test_a_reference_that_has_changed_is_refused(pair, task):
    other = copy.deepcopy(pair.fine_tuned)
    task = Task.fidelity(other, word_tokenizer(), LONG)
    with torch.no_grad():
        next(other.parameters()).add_(1)
    with pytest.raises(TrainingError, match=r"other weights than when the task was made; give Task.fidelity"):
        task.evaluate(pair.fine_tuned)


def test_models_that_answer_otherwise_are_not_compared():
    task = Task.fidelity(bert(labels=3), word_tokenizer(), LONG)
    with pytest.raises(TrainingError, match="answers with 3 numbers, the model that is asked with 2"):
        task.evaluate(bert(labels=2))


def test_a_state_dict_has_no_answers(pair, task):
    with pytest.raises(TrainingError, match="put to a live model, got dict"):
        ken.sweep(
            ken.Pair(pair.fine_tuned.state_dict(), dict(pair.pretrained.state_dict())),
            *([0.5], "ken"),
            evaluate=task.evaluate,
            progress=False,
        )
