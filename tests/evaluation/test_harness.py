"""lm-evaluation-harness on live models: numbers beside plain torch, and nothing of the model changed."""

import copy
import math
import random
import socket
import sys

import numpy as np
import pytest
import torch
from effects_models import bert, llama, moved
from harness_tasks import ITEMS, beginning_tokenizer, write_tasks

import ken
from ken.errors import KenWarning, ResultsError, TrainingError


@pytest.fixture(scope="module", autouse=True)
def offline():
    """Nothing is looked up anywhere."""

    def refuse(*address):
        raise OSError(f"a test is offline, and {address} was asked for")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", refuse)
        yield


@pytest.fixture(autouse=True)
def own_tasks_alone(monkeypatch):
    """The library's thousands of tasks take a while to list."""
    import lm_eval.tasks

    manager = lm_eval.tasks.TaskManager
    monkeypatch.setattr(lm_eval.tasks, "TaskManager", lambda **asked: manager(**{**asked, "include_defaults": False}))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_tasks(tmp_path_factory.mktemp("tasks"))


@pytest.fixture(scope="module")
def tokenizer():
    return beginning_tokenizer()


@pytest.fixture(scope="module")
def pair():
    base = llama()
    return ken.Pair(moved(base, 0.3), base)


@pytest.fixture(scope="module")
def colours(folder, tokenizer):
    return ken.Harness(tokenizer, "colours", include_path=folder, batch_size=5)


def drawn_by_numpy():
    """The state of the generator that libraries share."""
    return np.random.get_state()[1].tolist()  # noqa: NPY002


def likelihood(model, tokenizer, context, continuation):
    """ln p of a continuation, by plain torch."""
    ids = [tokenizer(text)["input_ids"] for text in (context, continuation)]
    with torch.no_grad():
        logits = model(torch.tensor([ids[0] + ids[1]])).logits[0].double().log_softmax(dim=1)
    places = range(len(ids[0]) - 1, len(ids[0]) + len(ids[1]) - 1)
    return sum(float(logits[place, token]) for place, token in zip(places, ids[1], strict=True))


def test_choices_are_weighed_as_plain_torch_weighs_them(pair, colours, tokenizer):
    answers = colours.evaluate(pair.fine_tuned)
    right, losses = [], []
    for item in ITEMS:
        weighed = [likelihood(pair.fine_tuned, tokenizer, item["question"], choice) for choice in item["choices"]]
        right.append(int(np.argmax(weighed)) == item["answer"])
        losses.append(np.log(np.exp(weighed).sum()) - weighed[item["answer"]])
    assert answers.outcomes.tolist() == right
    assert float(answers) == np.mean(right) == answers.scores.mean()
    assert answers.losses == pytest.approx(losses, abs=1e-4)
    assert answers.standard_error == pytest.approx(np.std(right) / math.sqrt(len(ITEMS)))
    assert answers.metrics.keys() == {"loss", "colours acc_norm"}
    assert 0 < np.mean(right) < 1
    assert colours.items == len(ITEMS)
    assert colours.higher_is_better


def test_model_tokenizer_and_seeds_are_as_they_were(pair, folder, capfd):
    tokenizer = beginning_tokenizer()
    tokenizer.pad_token = None
    harness = ken.Harness(tokenizer, "written", include_path=folder, limit=3)
    model = copy.deepcopy(pair.fine_tuned).train()
    model.model.layers[0].eval()
    model.config.tie_word_embeddings = True  # and yet they are two: tied, they would become one
    embedding, head = model.get_input_embeddings().weight, model.lm_head.weight
    configs = [copy.deepcopy(config.to_dict()) for config in (model.config, model.generation_config)]
    modes = [module.training for module in model.modules()]
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    seeds = random.getstate(), drawn_by_numpy(), torch.random.get_rng_state()
    capfd.readouterr()

    first, second = harness.evaluate(model), harness.evaluate(model)

    assert capfd.readouterr() == ("", "")
    assert first.scores.tolist() == second.scores.tolist()
    assert [module.training for module in model.modules()] == modes
    assert [config.to_dict() for config in (model.config, model.generation_config)] == configs
    assert model.get_input_embeddings().weight is embedding
    assert model.lm_head.weight is head
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert "tie_weights" not in vars(model)
    assert tokenizer.pad_token is None
    assert random.getstate() == seeds[0]
    assert drawn_by_numpy() == seeds[1]
    assert torch.equal(torch.random.get_rng_state(), seeds[2])


def test_a_sweep_compares_item_by_item_and_goes_on_with_its_file(pair, colours, folder, tokenizer, tmp_path):
    settings = {"results": tmp_path / "r.jsonl", "progress": False}
    table = ken.sweep(pair, [0.5], ["ken"], evaluate=colours.evaluate, evaluation=colours.name, **settings)
    assert table["paired"].all()
    by_model = table.set_index("model")
    for model in ("fine-tuned", "pretrained"):
        answers = colours.evaluate(getattr(pair, model.replace("-", "_")))
        assert by_model.loc[model, "metric"] == float(answers)
        assert by_model.loc[model, "loss"] == pytest.approx(answers.metrics["loss"], abs=1e-6)
    pruned = ken.inject(ken.prune(*pair, 0.5), pair.pretrained)
    assert by_model.loc["pruned", "loss"] == pytest.approx(colours.evaluate(pruned).metrics["loss"], abs=1e-6)

    again = ken.Harness(tokenizer, "colours", include_path=folder, batch_size=2)
    assert again.name == colours.name
    same = ken.sweep(pair, [0.5], ["ken"], evaluate=lambda _: 1 / 0, evaluation=again.name, **settings)
    assert same.equals(table)
    fewer = ken.Harness(tokenizer, "colours", include_path=folder, limit=4)
    with pytest.raises(ResultsError, match="another evaluation"):
        ken.sweep(pair, [0.5], ["ken"], evaluate=fewer.evaluate, evaluation=fewer.name, **settings)


def test_an_ablation_has_intervals_of_the_loss(pair, colours):
    table = ken.ablate(pair, evaluate=colours.evaluate, by={"everything": "*"}, progress=False).set_index("way")
    assert table.loc["without", "loss"] == table.loc["pretrained", "loss"]
    change = colours.evaluate(pair.pretrained).losses - colours.evaluate(pair.fine_tuned).losses
    assert table.loc["without", "loss_difference"] == pytest.approx(change.mean(), abs=1e-6)
    assert table.loc["without", "loss_error"] == pytest.approx(change.std(ddof=1) / math.sqrt(8), abs=1e-6)
    assert not math.isnan(table.loc["only", "metric_p"])


def test_of_several_tasks_each_item_counts_once(pair, folder, tokenizer):
    both = ken.Harness(tokenizer, ["colours", "words"], include_path=folder, limit=4)
    answers = both.evaluate(pair.fine_tuned)
    single = [
        ken.Harness(tokenizer, name, include_path=folder, limit=4).evaluate(pair.fine_tuned) for name in both.tasks
    ]
    assert answers.outcomes.tolist() == [*single[0].outcomes, *single[1].outcomes]
    assert answers.losses == pytest.approx(np.concatenate([one.losses for one in single]), abs=1e-5)
    assert answers.metrics["words acc"] == float(single[1])


def test_a_perplexity_is_no_mean_over_items(pair, folder, tokenizer):
    with pytest.warns(KenWarning, match="less of word_perplexity is better"):
        harness = ken.Harness(tokenizer, "prose", include_path=folder)
    assert harness.higher_is_better is False
    answers = harness.evaluate(pair.fine_tuned)
    begin = tokenizer.bos_token
    losses = [-likelihood(pair.fine_tuned, tokenizer, begin, item["text"]) for item in ITEMS]
    assert answers.losses == pytest.approx(losses, abs=1e-4)
    words = sum(len(item["text"].split()) for item in ITEMS)
    assert float(answers) == pytest.approx(math.exp(sum(losses) / words), rel=1e-5)
    assert answers.scores is None
    assert answers.outcomes is None
    assert math.isnan(answers.standard_error)
    assert "prose word_perplexity" not in answers.metrics


def test_one_continuation_is_weighed_alone(pair, folder, tokenizer):
    answers = ken.Harness(tokenizer, "last", include_path=folder).evaluate(pair.fine_tuned)
    losses = [-likelihood(pair.fine_tuned, tokenizer, item["question"], "w3") for item in ITEMS]
    assert answers.losses == pytest.approx(losses, abs=1e-4)
    assert answers.metrics["last perplexity"] == pytest.approx(math.exp(np.mean(losses)), rel=1e-5)


def test_what_is_written_is_right_or_wrong_and_has_no_loss(pair, folder, tokenizer):
    answers = ken.Harness(tokenizer, "written", include_path=folder).evaluate(pair.fine_tuned)
    assert answers.losses is None
    assert answers.outcomes.shape == (len(ITEMS),)
    assert "loss" not in answers.metrics


def test_worked_examples_are_drawn_alike_each_time(pair, folder, tokenizer):
    one, same, other, none = (
        ken.Harness(tokenizer, "examples", include_path=folder, **options)
        for options in ({}, {}, {"seed": 1}, {"num_fewshot": 0})
    )
    assert one.name == same.name
    assert len({one.name, other.name, none.name}) == 3
    losses = [one.evaluate(pair.fine_tuned).losses.tolist() for _ in range(2)]
    assert losses[0] == losses[1] == same.evaluate(pair.fine_tuned).losses.tolist()
    assert losses[0] != none.evaluate(pair.fine_tuned).losses.tolist()


@pytest.mark.parametrize(
    ("tasks", "options", "message"),
    [
        ([], {}, "at least one task, got none"),
        ("colour", {}, "knows no task 'colour'; there is 'colours'"),
        ("colours", {"metric": "f1"}, "the task colours has no metric 'f1'; it has acc, acc_norm"),
        (["colours", "written"], {}, "the task written has no metric 'acc'; it has exact_match"),
        ("colours", {"metric": "acc,strict"}, "has no filter 'strict'; it has none"),
        ("colours", {"limit": 0}, "limit must be above 0, got 0"),
        ("colours", {"batch_size": 0}, "batch_size must be at least 1, got 0"),
        ("colours", {"include_path": "no/such"}, "include_path must be a folder, got 'no/such'"),
        ("broken", {}, "the tasks broken cannot be opened"),
    ],
)
def test_what_cannot_be_asked_is_said_at_once(folder, tokenizer, tasks, options, message):
    text = (folder / "colours.yaml").read_text()
    (folder / "broken.yaml").write_text(
        text.replace("task: colours", "task: broken").replace("items.jsonl", "no.jsonl")
    )
    with pytest.raises(TrainingError, match=message):
        ken.Harness(tokenizer, tasks, **{"include_path": folder, **options})


def test_the_tokenizer_needs_a_token_to_begin_texts_with(folder):
    tokenizer = beginning_tokenizer()
    tokenizer.bos_token = tokenizer.eos_token = None
    with pytest.raises(TrainingError, match=r"the tokenizer names none: set tokenizer.bos_token"):
        ken.Harness(tokenizer, "colours", include_path=folder)


def test_what_is_no_live_language_model_is_refused(pair, colours):
    with pytest.raises(TrainingError, match="asks language models of transformers, and BertForSequence"):
        colours.evaluate(bert())
    with pytest.raises(TrainingError, match="put to a live model, got OrderedDict"):
        colours.evaluate(pair.fine_tuned.state_dict())


def test_warnings_of_the_harness_are_ours(pair, folder, tokenizer):
    harness = ken.Harness(tokenizer, "colours", include_path=folder, max_length=2)
    with pytest.warns(KenWarning, match="lm-evaluation-harness says: Combined length of context"):
        harness.evaluate(pair.fine_tuned)


def test_without_the_library_it_says_what_to_install(folder, tokenizer, monkeypatch):
    monkeypatch.setitem(sys.modules, "lm_eval", None)
    with pytest.raises(TrainingError, match=r"pip install 'kenviz\[lmeval\]'"):
        ken.Harness(tokenizer, "colours", include_path=folder)
