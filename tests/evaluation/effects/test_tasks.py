"""Tasks: what models are asked, and what their answers are."""

import pytest
import torch
from effects_models import TEXTS, moved

import ken
from ken.errors import TrainingError
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
