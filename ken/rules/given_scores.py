"""by_score: a rule from scores of one's own, read a stretch at a time.

mapping, function or file ──► scores of some rows ──► highest first ──► mask
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from threading import Lock
from typing import Any, NamedTuple, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ken.errors import RuleError
from ken.rules.registered import Registered, by_highest, checked_score
from ken.rules.registry import enter, forget, get, names
from ken.rules.row_block import RowBlock

#: What `by_score` takes.
Scores: TypeAlias = "Mapping[str, Any] | Callable[[str, int, int], Any] | str | Path"


class _Source(Protocol):
    """Where scores come from."""

    def shape(self, tensor: str) -> tuple[int, ...] | None:
        """The shape of what is given for a tensor; None if only its length can be known. Raises `KeyError`."""

    def part(self, tensor: str, start: int, stop: int) -> Any:
        """The scores of some entries, flat. Raises `KeyError`."""


class _Given(NamedTuple):
    """What was registered: the scores as they were given, whether absolute ones count, and the rule made of them."""

    scores: Scores
    source: _Source
    absolute: bool
    rule: Registered


_GIVEN: dict[str, _Given] = {}


def by_score(scores: Scores, name: str, *, absolute: bool = False, replace: bool = False) -> str:
    """Make a rule of scores: of every row the k entries that score highest, of equal ones those that come first.

    For attributions, Fisher information, or whatever else there is a number of for every entry. Names and shapes are
    those of the fine-tuned model's tensors. Scores are read as rows are decided about, some at a time.

    Args:
        scores: A mapping from tensor name to an array of the tensor's shape, numpy or torch, such as a
            `ken.Attribution`; or the path of a safetensors file of such arrays, such as `ken.Attribution.save` writes;
            or a function (tensor name, start, stop) of the place of a stretch among all entries of the tensor, in C
            order, to its scores, (stop - start,). Infinity is a score, NaN is none. Of a file that has changed since
            nothing is read until it is registered again.
        name: The name, as `ken.prune` and the others then take it as their rule. It is the name alone that a
            subnetwork remembers: let it say what the scores are.
        absolute: Whether the absolute values count. An attribution is negative where an entry lowers the loss.
        replace: Let these scores take the place of any that were registered by this name, which are then read anew.

    Returns:
        The name.

    Raises:
        RuleError: The name is that of another rule, or of other scores; or scores is none of these. Later, when a
            tensor is to be pruned: there are no scores of it, their shape is not the tensor's, or their file changed.
        FormatError: The file is none of safetensors.
        OSError: The file cannot be read.
        ValuesError: Later: a score is NaN.

    Example:
        >>> import torch, ken
        >>> by_score({"w": np.array([[0.1, -3.0, 2.0]])}, name="mine")
        'mine'
        >>> net = ken.prune({"w": torch.ones(1, 3)}, {"w": torch.zeros(1, 3)}, 1, rule="mine")
        >>> net["w"].mask().tolist()
        [[False, False, True]]
        >>> by_score({"w": np.array([[0.1, -3.0, 2.0]])}, name="mine", absolute=True, replace=True)
        'mine'
        >>> forget("mine")
    """
    given = _given(name)
    if given is not None and not replace:
        if _same(given, scores) and given.absolute == absolute:
            return name
        raise RuleError(f"rule {name!r} has other scores already; give another name, or replace=True")
    if given is None and name in names():
        raise RuleError(f"a rule named {name!r} is registered already, and not by scores; give another name")
    source = _source(scores)

    def check(tensor: str, shape: tuple[int, ...]) -> None:
        own = _known(name, tensor, lambda: source.shape(tensor))
        if own is not None and own != shape:
            raise RuleError(f"{tensor}: the scores of rule {name!r} have shape {own}, the tensor has {shape}")

    def score(block: RowBlock) -> NDArray[np.float64]:
        rows, n = block.fine_tuned.shape
        start = block.first_row * n
        part = _known(name, block.tensor, lambda: source.part(block.tensor, start, start + rows * n))
        values = _float64(part)
        if values.shape != (rows * n,):
            raise RuleError(
                f"rule {name!r} must be given a score for each of the entries {start} to {start + rows * n} of "
                f"{block.tensor!r}, was given shape {values.shape}"
            )
        values = values.reshape(rows, n)
        return np.abs(values) if absolute else values

    checked = checked_score(name, score)
    if given is not None:
        forget(name)
    rule = by_highest(checked, words=f"highest score by {name}", fixed=True, own=True, check=check)
    _GIVEN[name] = _Given(scores, source, absolute, rule=rule)
    enter(name, rule)
    return name


def _given(name: str) -> _Given | None:
    """What goes by a name now, if it was made here: it may have been forgotten since, and the name taken again."""
    given = _GIVEN.get(name)
    return given if given is not None and name in names() and get(name) is given.rule else None


def _same(given: _Given, scores: Scores) -> bool:
    """Whether scores are those that were given; of a file, as it was then."""
    if isinstance(given.source, _File) and isinstance(scores, str | Path):
        return given.source.is_at(Path(scores))
    return given.scores is scores


def _known(name: str, tensor: str, ask: Callable[[], Any]) -> Any:
    try:
        return ask()
    except KeyError:
        raise RuleError(f"{tensor}: rule {name!r} has no scores of it; give them, or exclude the tensor") from None


def _source(scores: Scores) -> _Source:
    if isinstance(scores, str | Path):
        return _File(scores)
    if isinstance(scores, Mapping):
        return _Arrays(scores)
    if callable(scores):
        return _Function(scores)
    raise RuleError(f"scores must be a mapping, a function or the path of a safetensors file, got {scores!r:.80}")


def _float64(part: Any) -> NDArray[np.float64]:
    """As numpy has it; a tensor of torch may be of a dtype that numpy lacks, or on another device."""
    if callable(getattr(part, "detach", None)):
        part = part.detach().cpu().double().numpy()
    return np.asarray(part, dtype=np.float64)


class _Arrays:
    """Arrays by name.

    The last one is kept until a reading begins anew, as a mapping may make it each time that it is asked. A dictionary
    does not, and is asked whether it has the same one still.
    """

    def __init__(self, arrays: Mapping[str, Any]) -> None:
        self._arrays, self._lock = arrays, Lock()
        self._last: tuple[str, Any, Any] | None = None

    def shape(self, tensor: str) -> tuple[int, ...]:
        return tuple(self._array(tensor, anew=True).shape)

    def part(self, tensor: str, start: int, stop: int) -> Any:
        return self._array(tensor, anew=start == 0).reshape(-1)[start:stop]

    def _array(self, tensor: str, *, anew: bool) -> Any:
        with self._lock:
            last = None if anew or self._last is None or self._last[0] != tensor else self._last
            if last is not None and isinstance(self._arrays, dict) and self._arrays[tensor] is not last[1]:
                last = None
            if last is None:
                array = self._arrays[tensor]
                last = tensor, array, array if hasattr(array, "reshape") else np.asarray(array)
                self._last = last
            return last[2]


class _Function:
    """A function of a tensor's name, and of where a stretch of its entries begins and ends."""

    def __init__(self, function: Callable[[str, int, int], Any]) -> None:
        self.part = function

    def shape(self, tensor: str) -> None:
        return None


class _File:
    """A safetensors file, of which no more is in memory than is asked for."""

    def __init__(self, path: str | Path) -> None:
        from ken.models.checkpoints.safetensors_file import Reader

        self._path = Path(path).absolute()
        self._stamp = _stamp(self._path)  # before it is opened: what changes in between is noticed
        self._reader = Reader(path)

    def is_at(self, path: Path) -> bool:
        """Whether this is the file of that path, as it is now."""
        return self._path == path.absolute() and self._stamp == _stamp(path)

    def shape(self, tensor: str) -> tuple[int, ...]:
        self._must_have(tensor)
        return self._reader.layout(tensor)[1]

    def part(self, tensor: str, start: int, stop: int) -> Any:
        entries = self._entries(tensor)
        return entries.read(start, min(stop, math.prod(entries.shape)))

    def _entries(self, tensor: str) -> Any:
        self._must_have(tensor)
        return self._reader.entries(tensor)

    def _must_have(self, tensor: str) -> None:
        if _stamp(self._path) != self._stamp:
            raise RuleError(
                f"{tensor}: the file of scores {self._path} has changed since a rule was made of it; call "
                "ken.rules.by_score again, with replace=True"
            )
        if tensor not in self._reader.names:
            raise KeyError(tensor)


def _stamp(path: Path) -> tuple[int, int, int] | None:
    """What tells a file from another that took its place; None if there is none."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_size, status.st_mtime_ns, status.st_ino
