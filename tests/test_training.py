"""Fine-tuning and evaluation, on a model small enough to train in a moment."""

import copy
import logging
import math
import random
import tempfile
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from transformers import BertConfig, BertForSequenceClassification, PreTrainedTokenizerFast
from transformers.utils import logging as transformers_logging

from ken import KenError
from ken.training import Evaluation, TrainingError, _batches, evaluate, fine_tune, quiet_transformers

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


def quickly(model: Any, tokenizer: Any, texts: Any = TEXTS, labels: Any = LABELS, **settings: Any) -> Any:
    settings = {"epochs": 1, "batch_size": 8, "learning_rate": 1e-2, "progress": False, **settings}
    return fine_tune(model, tokenizer, texts, labels, **settings)


# --- Evaluation --------------------------------------------------------------------------------------------------


def test_an_evaluation_reads_as_percent_with_its_standard_error() -> None:
    assert str(Evaluation(1424, 2000)) == "71.2 % ± 1.0 (2000 texts)"
    assert str(Evaluation(7, 7)) == "100.0 % ± 0.0 (7 texts)"
    assert float(Evaluation(1, 4)) == Evaluation(1, 4).accuracy == 0.25


@given(n=st.integers(1, 10**6), data=st.data())
def test_the_standard_error_is_that_of_a_share(n: int, data: st.DataObject) -> None:
    correct = data.draw(st.integers(0, n))
    answers = np.repeat([1.0, 0.0], [correct, n - correct])
    assert math.isclose(Evaluation(correct, n).standard_error, answers.std() / math.sqrt(n), abs_tol=1e-12)


@pytest.mark.parametrize(("correct", "n"), [(0, 0), (3, 2), (-1, 2)])
def test_an_impossible_evaluation_is_an_error(correct: int, n: int) -> None:
    with pytest.raises(TrainingError, match=f"got {correct} of {n}"):
        Evaluation(correct, n)


# --- fine_tune ---------------------------------------------------------------------------------------------------


def test_fine_tuning_learns_and_trains_every_parameter_of_a_copy(model: Any, tokenizer: Any) -> None:
    model.bert.embeddings.requires_grad_(False)
    before = bits(model)
    fine_tuned = quickly(model, tokenizer, epochs=20)
    assert evaluate(model, tokenizer, TEXTS, LABELS).accuracy < 0.9
    assert evaluate(fine_tuned, tokenizer, TEXTS, LABELS).accuracy > 0.9
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
def test_an_interruption_leaves_nothing(
    error: type[BaseException], model: Any, tokenizer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    model.eval()
    before, calls = bits(model), []

    def forward(self: Any, *args: Any, **kwargs: Any) -> Any:
        calls.append(1)
        if len(calls) == 3:
            raise error
        return original(self, *args, **kwargs)

    original = BertForSequenceClassification.forward
    monkeypatch.setattr(BertForSequenceClassification, "forward", forward)
    with pytest.raises(error):
        quickly(model, tokenizer)
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


# --- evaluate ----------------------------------------------------------------------------------------------------


def test_evaluation_counts_what_the_model_says_text_by_text(model: Any, tokenizer: Any) -> None:
    model.eval()
    answers = []
    for text in TEXTS:
        with torch.no_grad():
            answers.append(int(model(**tokenizer(text, return_tensors="pt")).logits.argmax()))
    correct = sum(answer == label for answer, label in zip(answers, LABELS, strict=True))
    for batch_size in (1, 7, 100):
        assert evaluate(model, tokenizer, TEXTS, LABELS, batch_size=batch_size) == Evaluation(correct, len(TEXTS))
    assert evaluate(model, tokenizer, TEXTS, answers).accuracy == 1


def test_texts_are_cut_to_max_length(model: Any, tokenizer: Any) -> None:
    cut = [" ".join(text.split()[:2]) for text in TEXTS]
    assert evaluate(model, tokenizer, TEXTS, LABELS, max_length=2) == evaluate(model, tokenizer, cut, LABELS)


@pytest.mark.usefixtures("untouched_world")
def test_evaluation_leaves_the_model_as_it_was(model: Any, tokenizer: Any, capfd: pytest.CaptureFixture[str]) -> None:
    model.train()
    model.bert.encoder.eval()
    modes, before = [module.training for module in model.modules()], bits(model)
    names = {name: sorted(vars(module)) for name, module in model.named_modules()}
    evaluate(model, tokenizer, TEXTS, LABELS)
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
        evaluate(model, tokenizer, TEXTS, LABELS)
    assert model.training


def test_evaluation_shows_progress_when_asked(model: Any, tokenizer: Any, capfd: pytest.CaptureFixture[str]) -> None:
    evaluate(model, tokenizer, TEXTS, LABELS, progress=True)
    assert "36/36" in capfd.readouterr().err


# --- what both check ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["batch_size", "max_length"])
def test_settings_of_an_evaluation_out_of_range_are_errors(name: str, model: Any, tokenizer: Any) -> None:
    with pytest.raises(TrainingError, match=f"{name} must be at least 1, got 0"):
        evaluate(model, tokenizer, TEXTS, LABELS, **{name: 0})


@pytest.mark.parametrize("work", [quickly, evaluate])
@pytest.mark.parametrize(
    ("texts", "labels", "message"),
    [
        ([], [], r"at least one text, got \[\]"),
        ("a text", [0], "a list of at least one text, got 'a text'"),
        (["red", "blue"], [0], "got 2 texts and 1 labels"),
        (["red", "blue"], [0, 3], r"labels must be in 0 … 2, but label 1 is 3"),
        (["red", "blue"], [-1, 0], r"labels must be in 0 … 2, but label 0 is -1"),
        (["red", "blue"], [0, 1.5], r"labels must be integers, but label 1 is 1\.5"),
    ],
)
def test_texts_and_labels_that_do_not_fit_are_errors(
    work: Any, texts: Any, labels: Any, message: str, model: Any, tokenizer: Any
) -> None:
    with pytest.raises(TrainingError, match=message) as caught:
        work(model, tokenizer, texts, labels)
    assert isinstance(caught.value, KenError | ValueError)


@pytest.mark.parametrize("work", [quickly, evaluate])
def test_models_and_tokenizers_that_cannot_work_are_errors(work: Any, model: Any, tokenizer: Any) -> None:
    bare = copy.deepcopy(tokenizer)
    bare.pad_token = None
    with pytest.raises(TrainingError, match="no padding token"):
        work(model, bare, TEXTS, LABELS)
    with pytest.raises(TrainingError, match="got num_labels = None"):
        work(torch.nn.Linear(2, 2), tokenizer, TEXTS, LABELS)
    one = SimpleNamespace(config=SimpleNamespace(num_labels=1))
    with pytest.raises(TrainingError, match="got num_labels = 1"):
        work(one, tokenizer, TEXTS, LABELS)


# --- the parts ---------------------------------------------------------------------------------------------------


@given(lengths=st.lists(st.integers(1, 9), min_size=1, max_size=60), size=st.integers(1, 20), seed=st.integers(0, 99))
def test_batches_hold_every_index_once_and_similar_lengths(lengths: list[int], size: int, seed: int) -> None:
    batches = _batches(lengths, size, torch.Generator().manual_seed(seed))
    assert sorted(i for batch in batches for i in batch) == list(range(len(lengths)))
    assert all(len(batch) <= size for batch in batches)
    assert len(batches) == -(-len(lengths) // size)
    spans = sorted((min(lengths[i] for i in batch), max(lengths[i] for i in batch)) for batch in batches)
    assert all(left[1] <= right[0] for left, right in pairwise(spans))


def test_batches_differ_from_epoch_to_epoch() -> None:
    generator = torch.Generator().manual_seed(0)
    assert _batches([1] * 20, 4, generator) != _batches([1] * 20, 4, generator)


@pytest.mark.parametrize("bars", [True, False])
def test_quiet_transformers_puts_the_settings_back(bars: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    before = transformers_logging.get_verbosity(), transformers_logging.is_progress_bar_enabled()
    try:
        transformers_logging.set_verbosity_info()
        (transformers_logging.enable_progress_bar if bars else transformers_logging.disable_progress_bar)()
        with quiet_transformers():
            assert transformers_logging.get_verbosity() == logging.ERROR
            assert not transformers_logging.is_progress_bar_enabled()
        assert transformers_logging.get_verbosity() == logging.INFO
        assert transformers_logging.is_progress_bar_enabled() is bars
    finally:
        transformers_logging.set_verbosity(before[0])
        (transformers_logging.enable_progress_bar if before[1] else transformers_logging.disable_progress_bar)()
