"""Whether attribution ranks groups as interventions do."""

import pytest
import torch

import ken
from ken.errors import EffectsError
from ken.evaluation.effects.tasks import Task


def test_a_loss_without_interaction_is_mapped_exactly():
    """A loss that is linear in the weights: what each does together with the others it does alone."""
    ends = [torch.nn.ModuleList([torch.nn.Linear(2, 1, bias=False) for _ in range(6)]) for _ in "ab"]
    task = Task([None], lambda model, _: sum((layer.weight.sum() for layer in model), torch.zeros(())))
    pair = ken.Pair(*ends)
    shares = ken.attribute(pair, task, progress=False)
    table = ken.ablate(pair, evaluate=task.evaluate, by="tensor", progress=False)
    for way in ("without", "only"):
        answer = ken.agreement(shares, table, "tensor", way)
        assert answer.rho == pytest.approx(1.0)
        assert "attribution" in str(answer)
    with pytest.raises(EffectsError, match="give by= as for the ablation"):
        ken.agreement(shares, table, "layer")


def test_a_language_model_goes_through_everything(causal):
    pair, task = causal
    shares = ken.attribute(pair, task, progress=False)
    for by in ("place", "head"):
        table = ken.ablate(pair, evaluate=task.evaluate, by=by, progress=False)
        for way in ("without", "only"):
            answer = ken.agreement(shares, table, by, way)
            assert -1 <= answer.low <= answer.rho <= answer.high <= 1
            assert answer.groups == (table["way"] == way).sum()
