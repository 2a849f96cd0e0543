"""Files of torch.save: a state dict, alone or under a key beside what training needs. No code in them is run."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ken.errors import FormatError, PairingError
from ken.models.checkpoints import mistaken_files

#: Where training programs put the state dict; Lightning, DeepSpeed, fairseq and many scripts.
KEYS = ("state_dict", "model_state_dict", "model", "module")
_LIGHTNING = "pytorch-lightning_version"
_ATTRIBUTE = "model."
_SHOWN = 8
_DEEPEST = 3
# The pieces of a model that was cut for several GPUs: Llama's own files, and Megatron's as DeepSpeed writes them.
_PIECES = re.compile(r"(?P<begin>consolidated\.|mp_rank_)(?P<number>\d\d)(?P<rest>(_model_states)?\.(pth|pt))")


def read_torch(path: Path) -> tuple[Mapping[str, Any], tuple[str, ...]]:
    """The state dict in a file of torch.save, mapped into memory if it is of the newer kind, and what there is to note.

    It is the file itself, or lies under one of `KEYS`; numbers and texts beside tensors are passed over.

    Raises `FormatError` if the file cannot be read as weights alone, and `PairingError` if it has no state dict, or
    several, or is a piece of a model.
    """
    import torch

    check_alone(path)
    try:
        whole = torch.load(path, map_location="cpu", weights_only=True, mmap=_is_zip(path))
    except Exception as error:  # torch has no class for what is wrong with a file
        word = mistaken_files.weights(path)
        reason = f"it {word}" if word else _reason(str(error))
        raise FormatError(f"{path} cannot be read as weights alone: {reason}") from None
    if not isinstance(whole, Mapping):
        raise PairingError(f"{path} must hold tensors by name, got {type(whole).__name__}")
    return _state_dict(whole, path)


def pieces(names: list[str]) -> list[str]:
    """Of the names in a folder, those of the pieces that a model was cut into, or of the only one.

    >>> pieces(["consolidated.00.pth", "consolidated.01.pth", "params.json"])
    ['consolidated.00.pth', 'consolidated.01.pth']
    """
    return sorted(name for name in names if (match := _PIECES.fullmatch(name)) and match["begin"] == "consolidated.")


def check_alone(path: Path) -> None:
    """Raise `PairingError` if a file is a piece of a model that was cut for several GPUs."""
    match = _PIECES.fullmatch(path.name)
    if match is None:
        return
    others = [
        entry.name
        for entry in path.parent.iterdir()
        if (other := _PIECES.fullmatch(entry.name)) and other.group("begin", "rest") == match.group("begin", "rest")
    ]
    if len(others) > 1:
        raise PairingError(
            f"{path} is one of {len(others)} pieces of a model that was cut for as many GPUs: of most of its matrices "
            "it has some rows or columns alone; give the model as transformers has it (Llama's own files are put "
            "together by transformers' convert_llama_weights_to_hf.py, those of DeepSpeed by its checkpoint tools)"
        )


def _state_dict(whole: Mapping[str, Any], path: Path) -> tuple[Mapping[str, Any], tuple[str, ...]]:
    """The state dict in what a file holds, and sentences about where it was, and what is beside it."""
    keys: list[str] = []
    notes: list[str] = []
    inner: Mapping[str, Any] = whole
    lightning = False
    while (key := _key(inner, path, keys)) is not None:
        lightning = lightning or _LIGHTNING in inner
        beside = [str(name) for name in inner if name != key]
        keys.append(key)
        also = f"; passed over beside it: {_listed(beside)}" if beside else ""
        notes.append(f"{path.name}: the weights were read from {'.'.join(map(repr, keys))}{also}")
        inner = inner[key]
    left = [name for name, value in inner.items() if isinstance(value, bool | int | float | str | None)]
    tensors = {name: value for name, value in inner.items() if name not in set(left)}
    if not tensors and left:
        raise PairingError(f"{path} holds no tensors, only {_listed(map(str, left))}")
    if left:
        notes.append(f"{path.name}: passed over beside the tensors: {_listed(map(str, left))}")
    if lightning and tensors and all(isinstance(name, str) and name.startswith(_ATTRIBUTE) for name in tensors):
        tensors = {name.removeprefix(_ATTRIBUTE): value for name, value in tensors.items()}
        notes.append(f"{path.name}: names were read without {_ATTRIBUTE!r}, the attribute of Lightning's module")
    return tensors, tuple(notes)


def _key(whole: Mapping[str, Any], path: Path, above: list[str]) -> str | None:
    """The key under which the state dict lies; None if it is whole itself."""
    import torch

    where = f"{path}" + (f", under {'.'.join(map(repr, above))}," if above else "")
    inner = {key: value for key, value in whole.items() if isinstance(value, Mapping) and _has_tensors(value)}
    own = [name for name, value in whole.items() if isinstance(value, torch.Tensor) and value.ndim]
    candidates = [key for key in KEYS if key in inner]
    if own and candidates:
        raise PairingError(
            f"{where} has tensors at the top ({own[0]}, …) and under {', '.join(map(repr, candidates))}; load it in "
            "Python and give the state dict that is meant"
        )
    if len(candidates) > 1:
        raise PairingError(
            f"{where} has tensors under {' and '.join(map(repr, candidates))}; load it in Python and give the one that "
            "is meant, or save that alone"
        )
    if candidates and len(above) < _DEEPEST:
        return candidates[0]
    if inner and not own:
        raise PairingError(
            f"{where} has no state dict under one of {', '.join(map(repr, KEYS))}; there are tensors under "
            f"{_listed(map(repr, inner))}; load it in Python (torch.load with weights_only=True) and give the one that "
            "is meant"
        )
    return None


def _has_tensors(value: Mapping[Any, Any], depth: int = _DEEPEST) -> bool:
    """Whether there is a tensor in it, or in the mappings that it holds."""
    import torch

    return any(
        isinstance(part, torch.Tensor) or (depth and isinstance(part, Mapping) and _has_tensors(part, depth - 1))
        for part in value.values()
    )


def _listed(names: Any) -> str:
    names = list(names)
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(name[:80] for name in names[:_SHOWN]) + more


def _reason(reason: str) -> str:
    """Why torch cannot read a file as weights, without its advice to read the file in another way, which runs code."""
    unknown = re.search(r"GLOBAL ([\w.]+)", reason)
    if unknown or re.search(r"[Uu]nsupported (global|class)|persistent id", reason):
        what = f" ({unknown[1][:100]})" if unknown else ""
        return (
            f"there is more in it than tensors{what}, which only code could read, and none is run; get the model as "
            "safetensors, or have its state dict saved alone"
        )
    if re.search(r"weights.only", reason, re.IGNORECASE):
        return "it is damaged, or torch.save has not written it"
    return (reason.splitlines() or ["it is damaged"])[0][:300]


def _is_zip(path: Path) -> bool:
    """Whether a file is of the newer kind, which can be mapped into memory."""
    with path.open("rb") as file:
        return file.read(2) == b"PK"
