"""Fine-tuning and evaluation, on a model small enough to train in a moment."""

import logging
import math
import os
import random
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    BertForTokenClassification,
    PreTrainedTokenizerFast,
)
from transformers.utils import logging as transformers_logging

from ken import KenError
from ken.training import Evaluation, FineTuned, TrainingError, evaluate, fine_tune, split

ROOT = Path(__file__).parent.parent
WORDS = ["[PAD]", "[UNK]", "red", "green", "blue", "one", "two", "three", "four", "five"]
TEXTS = [
    f"{filler} {colour} {more}".strip()
    for colour in ("red", "green", "blue")
    for filler in ("one", "two", "three two", "four five one")
    for more in ("", "one two", "five")
]
LABELS = [label for label in range(3) for _ in range(12)]


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """On a busy machine, threads that wait for each other take longer than the little there is to compute."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerFast:
    words = Tokenizer(WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="[UNK]"))
    words.pre_tokenizer = Whitespace()
    return PreTrainedTokenizerFast(tokenizer_object=words, pad_token="[PAD]", unk_token="[UNK]")


@pytest.fixture
def model() -> BertForSequenceClassification:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return BertForSequenceClassification(
            BertConfig(
                vocab_size=len(WORDS),
                hidden_size=16,
                num_hidden_layers=1,
                num_attention_heads=2,
                intermediate_size=32,
                max_position_embeddings=16,
                num_labels=3,
                initializer_range=0.3,
            )
        )


def bits(model: torch.nn.Module) -> dict[str, bytes]:
    return {name: tensor.detach().cpu().numpy().tobytes() for name, tensor in model.state_dict().items()}


def tuned(model: Any, tokenizer: Any, texts: Any = TEXTS, labels: Any = LABELS, **settings: Any) -> FineTuned:
    settings = {"epochs": 1, "batch_size": 8, "learning_rate": 1e-2, "progress": False, **settings}
    return fine_tune(model, tokenizer, texts, labels=labels, **settings)


def quickly(*arguments: Any, **settings: Any) -> Any:
    return tuned(*arguments, **settings).model


# --- fine_tune ---------------------------------------------------------------------------------------------------


def test_fine_tuning_learns_and_trains_every_parameter_of_a_copy(model: Any, tokenizer: Any) -> None:
    model.bert.embeddings.requires_grad_(False)
    before = bits(model)
    fine_tuned = quickly(model, tokenizer, epochs=20)
    assert evaluate(model, tokenizer, TEXTS, labels=LABELS).accuracy < 0.9
    assert evaluate(fine_tuned, tokenizer, TEXTS, labels=LABELS).accuracy > 0.9
    assert bits(model) == before
    assert not model.bert.embeddings.word_embeddings.weight.requires_grad
    after = bits(fine_tuned)
    assert after.keys() == before.keys()
    assert [name for name, _ in fine_tuned.named_parameters() if after[name] == before[name]] == []


def test_the_copy_is_ready_for_use_and_for_saving(model: Any, tokenizer: Any) -> None:
    use_cache = model.config.use_cache
    fine_tuned = quickly(model, tokenizer)
    assert not any(module.training for module in fine_tuned.modules())
    assert all(parameter.grad is None for parameter in fine_tuned.parameters())
    assert fine_tuned.config.use_cache == model.config.use_cache == use_cache
    assert next(fine_tuned.parameters()).device == next(model.parameters()).device


def test_the_seed_decides(model: Any, tokenizer: Any) -> None:
    first, again, other = (bits(quickly(model, tokenizer, seed=seed)) for seed in (3, 3, 4))
    assert first == again
    assert first != other


def test_labels_may_be_any_integers(model: Any, tokenizer: Any) -> None:
    expected = bits(quickly(model, tokenizer))
    assert bits(quickly(model, tokenizer, labels=np.array(LABELS, np.int8))) == expected
    assert bits(quickly(model, tokenizer, tuple(TEXTS), torch.tensor(LABELS))) == expected


@pytest.fixture
def untouched_world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Whatever happens in the test, no file, random state or log level may change."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tmp").mkdir()

    def world() -> list[Any]:
        return [
            sorted(tmp_path.rglob("*")),
            random.getstate(),
            np.random.get_state()[1].tolist(),  # noqa: NPY002
            torch.get_rng_state().tolist(),
            transformers_logging.get_verbosity(),
            transformers_logging.is_progress_bar_enabled(),
            logging.getLogger("transformers").level,
        ]

    before = world()
    yield
    assert world() == before


@pytest.mark.usefixtures("untouched_world")
def test_nothing_but_the_result_is_left(model: Any, tokenizer: Any, capfd: pytest.CaptureFixture[str]) -> None:
    quickly(model, tokenizer)
    assert capfd.readouterr() == ("", "")


@pytest.mark.usefixtures("untouched_world")
@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError])
@pytest.mark.parametrize("step", [3, 5])  # of four, the fifth is in the validation
def test_an_interruption_leaves_nothing(
    error: type[BaseException], step: int, model: Any, tokenizer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    model.eval()
    before, calls = bits(model), []

    def forward(self: Any, *args: Any, **kwargs: Any) -> Any:
        calls.append(1)
        if len(calls) == step:
            assert self.training is (step == 3)
            raise error
        return original(self, *args, **kwargs)

    original = BertForSequenceClassification.forward
    monkeypatch.setattr(BertForSequenceClassification, "forward", forward)
    with pytest.raises(error):
        quickly(model, tokenizer, validation=0.25)
    assert bits(model) == before
    assert not model.training
    assert all(parameter.grad is None for parameter in model.parameters())


def test_a_loss_that_is_no_number_is_an_error_with_its_step(model: Any, tokenizer: Any) -> None:
    with torch.no_grad():
        model.classifier.weight[0, 0] = math.nan
    with pytest.raises(TrainingError, match=r"is nan at step 1 of 5 \(learning_rate 0\.01\)"):
        quickly(model, tokenizer)


def test_progress_is_one_bar(model: Any, tokenizer: Any, capfd: pytest.CaptureFixture[str]) -> None:
    quickly(model, tokenizer, progress=True)
    out, err = capfd.readouterr()
    assert out == ""
    assert {line.partition(":")[0] for line in err.split("\r") if line.strip()} == {"fine-tuning"}
    assert "5/5" in err


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"epochs": 0}, "epochs must be at least 1, got 0"),
        ({"batch_size": -1}, "batch_size must be at least 1, got -1"),
        ({"max_length": 0}, "max_length must be at least 1, got 0"),
        ({"learning_rate": 0.0}, r"learning_rate must be above 0 and finite, got 0\.0"),
        ({"learning_rate": math.nan}, "learning_rate must be above 0 and finite, got nan"),
    ],
)
def test_settings_out_of_range_are_errors(settings: Any, message: str, model: Any, tokenizer: Any) -> None:
    with pytest.raises(TrainingError, match=message):
        quickly(model, tokenizer, **settings)


# --- validation --------------------------------------------------------------------------------------------------


def test_a_share_is_held_out_by_class_measured_each_epoch_and_handed_back(model: Any, tokenizer: Any) -> None:
    result = tuned(model, tokenizer, validation=0.25, epochs=3, seed=5)
    _, held_out = split(TEXTS, LABELS, 0.25, seed=5)
    assert result.validation == held_out
    assert held_out[1] == [0] * 3 + [1] * 3 + [2] * 3
    history = result.history
    assert history.columns.tolist() == ["epoch", "loss", "validation_loss", "accuracy", "standard_error", "macro_f1"]
    assert history["epoch"].tolist() == [1, 2, 3]
    last = evaluate(result.model, tokenizer, *held_out)
    assert history.iloc[-1, 3:].tolist() == [last.accuracy, last.standard_error, last.macro_f1]
    assert f"{last.accuracy:.1%}" in repr(result)
    with torch.no_grad():
        encoded = tokenizer(held_out[0], padding=True, return_tensors="pt")
        expected = result.model(**encoded, labels=torch.tensor(held_out[1])).loss
    assert history["validation_loss"].iloc[-1] == pytest.approx(expected.item(), rel=1e-5)


def test_measuring_changes_nothing_about_the_training(model: Any, tokenizer: Any) -> None:
    train, held_out = split(TEXTS, LABELS, 0.25, seed=5)
    alone = tuned(model, tokenizer, *train, epochs=2, seed=5)
    assert alone.validation is None
    assert alone.history[["validation_loss", "accuracy", "standard_error", "macro_f1"]].isna().all(axis=None)
    frame = pd.DataFrame({"text": held_out[0], "label": held_out[1]})
    for texts, validation in ((train, held_out), (train, list(held_out)), (train, frame), ((TEXTS, LABELS), 0.25)):
        measured = tuned(model, tokenizer, *texts, epochs=2, seed=5, validation=validation)
        assert bits(measured.model) == bits(alone.model)
        assert measured.history["loss"].tolist() == alone.history["loss"].tolist()
        assert measured.validation == held_out


def test_the_loss_of_an_epoch_is_the_mean_over_its_texts(model: Any, tokenizer: Any) -> None:
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    # so slow that the model stays, all but, what it was; 36 texts in batches of 8 leave a smaller batch
    result = tuned(model, tokenizer, learning_rate=1e-9)
    with torch.no_grad():
        expected = model(**tokenizer(TEXTS, padding=True, return_tensors="pt"), labels=torch.tensor(LABELS)).loss
    assert result.history["loss"].tolist() == [pytest.approx(expected.item(), rel=1e-5)]
    assert repr(result) == f"FineTuned(BertForSequenceClassification, 1 epochs, loss {expected.item():.3g})"


def test_frames_and_names_are_taken_as_lists_and_numbers_are(model: Any, tokenizer: Any) -> None:
    names = ["red", "green", "blue"]
    model.config.label2id = {name: number for number, name in enumerate(names)}
    index = np.arange(len(TEXTS))[::-1] + 100
    frame = pd.DataFrame({"said": TEXTS, "colour": [names[number] for number in LABELS]}, index=index)
    of_lists = tuned(model, tokenizer, validation=0.25)
    of_frame = tuned(model, tokenizer, frame, None, text="said", label="colour", validation=0.25)
    of_series = tuned(model, tokenizer, frame["said"], frame["colour"], validation=0.25)
    assert bits(of_lists.model) == bits(of_frame.model) == bits(of_series.model)
    assert of_lists.validation == of_frame.validation == of_series.validation
    train, held_out = split(frame, share=0.25, text="said", label="colour")
    parts = tuned(model, tokenizer, train, None, text="said", label="colour", validation=held_out)
    assert parts.history.equals(of_frame.history)
    expected = evaluate(model, tokenizer, TEXTS, labels=LABELS)
    assert evaluate(model, tokenizer, frame, text="said", label="colour") == expected
    assert evaluate(model, tokenizer, frame["said"], labels=frame["colour"]) == expected


def test_progress_tells_the_validation(model: Any, tokenizer: Any, capfd: pytest.CaptureFixture[str]) -> None:
    result = tuned(model, tokenizer, progress=True, validation=0.25)
    out, err = capfd.readouterr()
    assert out == ""
    assert f"validation {100 * result.history['accuracy'].iloc[-1]:.1f} %" in err
    assert "0/9" in err


@pytest.mark.parametrize(
    ("validation", "message"),
    [
        (0.0, r"share must be between 0 and 1, got 0\.0"),
        (1, r"share must be between 0 and 1, got 1\.0"),
        (0.001, "hold out one text"),
        ("some", "validation must be a share, a pair .* got 'some'"),
        ((["red"], [0], [0]), "validation must be a share, a pair"),
    ],
)
def test_a_validation_that_cannot_be_is_an_error(validation: Any, message: str, model: Any, tokenizer: Any) -> None:
    with pytest.raises(TrainingError, match=message):
        tuned(model, tokenizer, validation=validation)


def test_an_error_in_the_validation_texts_says_that_it_is_there(model: Any, tokenizer: Any) -> None:
    with pytest.raises(TrainingError, match="label 0 is 3") as caught:
        tuned(model, tokenizer, validation=(["red"], [3]))
    assert caught.value.__notes__ == ["in the validation texts"]
    # the words of the training texts are learned from, "[UNK]" is not: it stays as broken as it is
    with torch.no_grad():
        model.bert.embeddings.word_embeddings.weight[WORDS.index("[UNK]")] = math.nan
    with pytest.raises(TrainingError, match="output for text 1 is nan") as caught:
        tuned(model, tokenizer, validation=(["red", "unheard"], [0, 0]))
    assert caught.value.__notes__ == ["in the validation texts, after epoch 1"]


# --- offline -----------------------------------------------------------------------------------------------------

WITHOUT_A_NETWORK = """
import os, sys, warnings
warnings.simplefilter("error")
# urllib3 looks for IPv6 when it is imported; that sends nothing.
quiet = {"socket.gethostname", "socket.__new__", "socket.bind"}
def refuse(event, arguments):
    if event.startswith("socket.") and event not in quiet:
        print("tried", event, arguments, flush=True)
        os._exit(3)
sys.addaudithook(refuse)
sys.path.insert(0, "tests")
import torch
torch.set_num_threads(1)
import test_training as here
model, tokenizer = here.model.__wrapped__(), here.tokenizer.__wrapped__()
found = here.tuned(model, tokenizer, validation=0.25)
print(found.history["accuracy"].iloc[-1] == here.evaluate(found.model, tokenizer, *found.validation).accuracy)
"""


@pytest.mark.parametrize("offline", ["1", None])
def test_neither_needs_a_network_nor_tries_one(offline: str | None) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "HF_HUB_OFFLINE"}
    if offline:
        environment["HF_HUB_OFFLINE"] = offline
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_A_NETWORK], cwd=ROOT, env=environment, capture_output=True, text=True
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "True\n", "")


# --- evaluate ----------------------------------------------------------------------------------------------------


def test_evaluation_counts_what_the_model_says_text_by_text(model: Any, tokenizer: Any) -> None:
    model.eval()
    answers = []
    for text in TEXTS:
        with torch.no_grad():
            answers.append(int(model(**tokenizer(text, return_tensors="pt")).logits.argmax()))
    correct = sum(answer == label for answer, label in zip(answers, LABELS, strict=True))
    for batch_size in (1, 7, 100):
        result = evaluate(model, tokenizer, TEXTS, labels=LABELS, batch_size=batch_size)
        assert result == Evaluation.of(LABELS, answers, 3)
        assert result.correct == correct
    assert evaluate(model, tokenizer, TEXTS, labels=answers).accuracy == 1


def test_texts_are_cut_to_max_length(model: Any, tokenizer: Any) -> None:
    cut = [" ".join(text.split()[:2]) for text in TEXTS]
    assert evaluate(model, tokenizer, TEXTS, labels=LABELS, max_length=2) == evaluate(
        model, tokenizer, cut, labels=LABELS
    )


@pytest.mark.usefixtures("untouched_world")
def test_evaluation_leaves_the_model_as_it_was(model: Any, tokenizer: Any, capfd: pytest.CaptureFixture[str]) -> None:
    model.train()
    model.bert.encoder.eval()
    modes, before = [module.training for module in model.modules()], bits(model)
    names = {name: sorted(vars(module)) for name, module in model.named_modules()}
    evaluate(model, tokenizer, TEXTS, labels=LABELS)
    assert [module.training for module in model.modules()] == modes
    assert bits(model) == before
    assert {name: sorted(vars(module)) for name, module in model.named_modules()} == names
    assert all(p.grad is None and p.requires_grad and not p.is_inference() for p in model.parameters())
    assert capfd.readouterr() == ("", "")


def test_a_failing_evaluation_restores_the_mode_too(model: Any, tokenizer: Any) -> None:
    model.train()
    with torch.no_grad():
        model.bert.embeddings.word_embeddings.weight[WORDS.index("blue")] = math.nan
    first = next(i for i, text in enumerate(TEXTS) if "blue" in text)
    with pytest.raises(TrainingError, match=rf"output for text {first} is nan"):
        evaluate(model, tokenizer, TEXTS, labels=LABELS)
    assert model.training


def test_evaluation_shows_progress_when_asked(model: Any, tokenizer: Any, capfd: pytest.CaptureFixture[str]) -> None:
    evaluate(model, tokenizer, TEXTS, labels=LABELS, progress=True)
    assert "36/36" in capfd.readouterr().err


def test_a_model_that_classifies_something_else_than_texts_is_an_error(model: Any, tokenizer: Any) -> None:
    with torch.random.fork_rng(devices=[]):
        words = BertForTokenClassification(model.config)
    with pytest.raises(TrainingError, match=r"output for 36 texts must be \(36, 3\), got \(36, 6, 3\)"):
        evaluate(words, tokenizer, TEXTS, labels=LABELS)


# --- what both check ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["batch_size", "max_length"])
def test_settings_of_an_evaluation_out_of_range_are_errors(name: str, model: Any, tokenizer: Any) -> None:
    with pytest.raises(TrainingError, match=f"{name} must be at least 1, got 0"):
        evaluate(model, tokenizer, TEXTS, labels=LABELS, **{name: 0})


@pytest.mark.parametrize("work", [quickly, evaluate])
@pytest.mark.parametrize(
    ("texts", "labels", "message"),
    [
        ([], [], r"at least one text, got \[\]"),
        ("a text", [0], "a list of at least one text, got 'a text'"),
        (["red", "blue"], [0], "got 2 texts and 1 labels"),
        (["red", "blue"], [0, 3], r"labels must be in 0 … 2, but label 1 is 3"),
        (["red", "blue"], [-1, 0], r"labels must be in 0 … 2, but label 0 is -1"),
        (["red", "blue"], [0, 1.5], r"labels must be integers in 0 … 2, .* 'LABEL_2'; but label 1 is 1\.5"),
        (["red", "blue"], [0, "LABEL_3"], "'LABEL_0', 'LABEL_1', 'LABEL_2'; but label 1 is 'LABEL_3'"),
        (["red", None], [0, 1], r"text 1 is missing \(None\)"),
        (["red", "blue"], [0, math.nan], r"label 1 is missing \(nan\)"),
        (["red", ""], [0, 1], "each text must have at least one token, but text 1 is ''"),
    ],
)
def test_texts_and_labels_that_do_not_fit_are_errors(
    work: Any, texts: Any, labels: Any, message: str, model: Any, tokenizer: Any
) -> None:
    with pytest.raises(TrainingError, match=message) as caught:
        work(model, tokenizer, texts, labels=labels)
    assert isinstance(caught.value, KenError | ValueError)


@pytest.mark.parametrize("work", [quickly, evaluate])
def test_models_and_tokenizers_that_cannot_work_are_errors(work: Any, model: Any, tokenizer: Any) -> None:
    with pytest.raises(TrainingError, match="got num_labels = None"):
        work(torch.nn.Linear(2, 2), tokenizer, TEXTS, labels=LABELS)
    one = SimpleNamespace(config=SimpleNamespace(num_labels=1))
    with pytest.raises(TrainingError, match="got num_labels = 1"):
        work(one, tokenizer, TEXTS, labels=LABELS)
    several = SimpleNamespace(config=SimpleNamespace(num_labels=3, problem_type="multi_label_classification"))
    with pytest.raises(TrainingError, match="one label, got problem_type = 'multi_label_classification'"):
        work(several, tokenizer, TEXTS, labels=LABELS)
