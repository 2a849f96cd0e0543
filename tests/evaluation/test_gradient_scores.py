"""|gradient × update|, and the rule that is made of it."""

import numpy as np
import pytest
import torch
from effects_models import bert, moved

import ken
from ken.errors import EffectsError


@pytest.fixture(scope="module")
def pair():
    base = bert()
    return ken.Pair(moved(base), base.bert)


@pytest.fixture(scope="module")
def batches():
    torch.manual_seed(2)
    ids, labels = torch.randint(1, 50, (10, 7)), torch.randint(0, 3, (10,))
    return [(ids[:6], labels[:6]), (ids[6:], labels[6:])]


def losses(model, batch):
    ids, labels = batch
    return torch.nn.functional.cross_entropy(model(input_ids=ids).logits, labels, reduction="none")


@pytest.mark.parametrize("at", ["fine-tuned", "pretrained"])
def test_they_are_what_plain_torch_gives(pair, batches, at):
    scores = ken.gradient_scores(pair, ken.Task(batches, losses), at=at, progress=False)
    assert (scores.at, scores.item_count) == (at, 10)
    base = {f"bert.{name}": value for name, value in pair.pretrained.state_dict().items()}
    model = moved(pair.fine_tuned, by=0.0).eval()
    if at == "pretrained":
        model.load_state_dict({**model.state_dict(), **base})
    total = sum(losses(model, batch).sum() for batch in batches) / 10
    total.backward()
    tuned, compared = dict(pair.fine_tuned.named_parameters()), 0
    for name, parameter in model.named_parameters():
        if name in base:
            gradient = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
            want = (gradient * (tuned[name].detach() - base[name])).abs().numpy()
            np.testing.assert_allclose(scores[name], want, rtol=1e-4, atol=1e-8)
            compared += 1
    assert compared == len(scores) > 30
    assert "classifier.weight" not in scores  # it has no pretrained counterpart


def test_of_a_linear_loss_the_best_rule_is_first_order():
    torch.manual_seed(0)
    tuned, base = torch.nn.Linear(8, 1, bias=False), torch.nn.Linear(8, 1, bias=False)
    pair, inputs = ken.Pair(tuned, base), torch.randn(5, 8)
    task = ken.Task([inputs], lambda model, batch: model(batch)[:, 0])
    rule = ken.rules.by_score(ken.gradient_scores(pair, task, progress=False), name="linear", replace=True)
    try:
        mask = ken.prune(tuned, base, 3, rule=rule, progress=False)["weight"].mask()[0]
    finally:
        ken.rules.forget(rule)
    effect = ((tuned.weight - base.weight)[0] * inputs.mean(0)).abs().detach().numpy()
    assert set(np.flatnonzero(mask)) == set(np.argsort(-effect)[:3])


def test_what_makes_no_sense_is_refused(pair, batches):
    task = ken.Task(batches, losses)
    with pytest.raises(EffectsError, match="at must be one of fine-tuned, pretrained, got 'between'"):
        ken.gradient_scores(pair, task, at="between")
    broken = ken.Task(batches, lambda model, batch: losses(model, batch) * torch.nan)
    with pytest.raises(EffectsError, match="the gradient of the loss is NaN or infinite at the fine-tuned weights"):
        ken.gradient_scores(pair, broken, progress=False)
