"""Tasks: what models are asked, and what their answers are."""

import math

import numpy as np
import pytest
import torch
from effects_models import TEXTS, asked, moved

import ken
from ken.errors import EffectsError, TrainingError
from ken.evaluation.effects.tasks import Task


def test_a_classification_answers_as_the_evaluation_of_training_does(pair, tokenizer):
    model, labels = pair.fine_tuned, [0, 1, 2, 0, 1]
    model.train()
    task = Task.classification(model, tokenizer, TEXTS, labels, batch_size=2)
    answers = task.evaluate(model)
    assert model.training
    evaluation = ken.training.evaluate(model, tokenizer, TEXTS, labels)
    assert answers.outcomes.tolist() == evaluation.outcomes.tolist()
    assert float(answers) == float(evaluation)
    single = Task.classification(model, tokenizer, TEXTS, labels, batch_size=1)
    assert single.evaluate(model).losses == pytest.approx(answers.losses, abs=1e-6)
    for text, label, loss in zip(TEXTS, labels, answers.losses, strict=True):
        alone = Task.classification(model, tokenizer, [text], [label]).evaluate(model)
        assert alone.losses[0] == pytest.approx(loss, abs=1e-6)
    lines = ken.attribute_items(pair, single, by="layer", progress=False)
    assert lines.index.tolist() == TEXTS
    assert lines["fine_tuned_loss"].to_numpy() == pytest.approx(answers.losses, abs=1e-6)
    with pytest.raises(TrainingError, match="batch_size must be at least 1"):
        Task.classification(model, tokenizer, TEXTS, labels, batch_size=0)


def test_a_classification_tells_the_probability_of_each_class_by_name(pair, tokenizer):
    model, labels = pair.fine_tuned, [0, 1, 2, 0, 1]
    task = Task.classification(model, tokenizer, TEXTS, labels, batch_size=2)
    answers = task.evaluate(model)
    for text, shares, label, loss in zip(TEXTS, answers.probabilities, labels, answers.losses, strict=True):
        with torch.no_grad():
            logits = model.eval()(torch.tensor([tokenizer(text)["input_ids"]])).logits[0]
        np.testing.assert_allclose(shares, logits.double().softmax(dim=0), atol=1e-6)
        assert shares[label] == pytest.approx(math.exp(-loss), abs=1e-6)
    table = ken.answers(pair, task, net=ken.prune(*pair, 0.5, progress=False), progress=False)
    assert table["label"].tolist() == [f"LABEL_{label}" for label in labels]
    for name in ("pretrained", "fine_tuned", "pruned"):
        parts = table[[f"{name}_probability_LABEL_{label}" for label in range(3)]].to_numpy()
        np.testing.assert_allclose(parts.sum(axis=1), 1, atol=1e-6)
        right = parts.argmax(axis=1) == labels
        assert table[f"{name}_correct"].tolist() == right.tolist()


def test_a_task_of_ones_own_may_tell_probabilities_and_is_held_to_their_shape(pair, task):
    def ask(model, batch):
        losses, right = asked(model, batch)
        return losses, right, torch.full((len(losses), 2), 0.5)

    table = ken.answers(pair, Task(task.batches, ask), progress=False)
    assert "label" not in table
    assert (table[["fine_tuned_probability_0", "pretrained_probability_1"]] == 0.5).all(axis=None)
    alike = ken.answers(pair, Task(task.batches, ask, classes=["same", "same"]), progress=False)
    assert "fine_tuned_probability_1" in alike
    plain = ken.answers(pair, task, progress=False)
    assert not [name for name in plain if "probability" in name]
    with pytest.raises(TrainingError, match=r"probabilities must be of 8 items and 3 classes, got \(8, 2\)"):
        ken.answers(pair, Task(task.batches, ask, classes=["a", "b", "c"]), progress=False)
    with pytest.raises(EffectsError, match="3 labels for 24 items"):
        ken.answers(pair, Task(task.batches, ask, labels=np.arange(3)), progress=False)


def test_a_causal_task_counts_each_next_token_of_a_text_and_no_padding(causal, tokenizer):
    model = causal[0].fine_tuned
    texts = [text for text in TEXTS if " " in text]
    answers = Task.causal(model, tokenizer, texts, batch_size=4).evaluate(model)
    assert answers.outcomes is None
    for text, loss, score in zip(texts, answers.losses, answers.scores, strict=True):
        ids = torch.tensor([tokenizer(text)["input_ids"]])
        with torch.no_grad():
            logits = model(ids).logits[0, :-1]
        assert loss == pytest.approx(torch.nn.functional.cross_entropy(logits, ids[0, 1:]).item(), abs=1e-5)
        assert score == pytest.approx((logits.argmax(dim=1) == ids[0, 1:]).float().mean().item())
    with pytest.raises(TrainingError, match="text 1 is 'w4'"):
        Task.causal(model, tokenizer, TEXTS)


def test_fidelity_is_the_divergence_from_the_unpruned_model(pair, causal, tokenizer):
    texts = [text for text in TEXTS if " " in text]
    for models in (pair, causal[0]):
        reference = models.fine_tuned
        task = Task.fidelity(reference, tokenizer, texts, batch_size=3)
        answers = task.evaluate(reference)
        assert float(answers) == 1.0
        assert answers.losses == pytest.approx(0, abs=1e-6)
        other = moved(reference, 0.3, seed=7).eval()
        answers = task.evaluate(other)
        for text, loss in zip(texts, answers.losses, strict=True):
            ids = torch.tensor([tokenizer(text)["input_ids"]])
            with torch.no_grad():
                mine, theirs = (model.eval()(ids).logits.softmax(dim=-1) for model in (other, reference))
            assert loss == pytest.approx((theirs * (theirs / mine).log()).sum(dim=-1).mean().item(), abs=1e-5)
        assert (answers.outcomes is None) == (reference is causal[0].fine_tuned)
