"""A GGUF file as a checkpoint: gguf gives the values, transformers the names, the layout and the configuration.

blocks ──► gguf.quants.dequantize, float32 ──► transformers' processor of the architecture ──► a tensor of its class
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ken.errors import FormatError, PairingError, in_brief
from ken.models.checkpoints import mistaken_files
from ken.models.checkpoints.architecture import unweighted
from ken.models.checkpoints.checkpoint_files import Folder, OnDisk
from ken.models.checkpoints.dequantised.layer import Layer, library
from ken.models.checkpoints.dequantised.store import DequantisedStore

if TYPE_CHECKING:
    import torch

_MAGIC = b"GGUF"
_INSTEAD = "give the checkpoint that it was made from"
# transformers takes these apart in ways of its own, tensor for tensor (gpt-oss), or with other code (the rest).
_REFUSED = ("gpt-oss", "gpt_oss", "qwen35", "qwen35moe")


def is_gguf(path: Path) -> bool:
    """Whether a path is that of a GGUF file.

    >>> is_gguf(Path("model.gguf")), is_gguf(Path("model.safetensors"))
    (False, False)
    """
    return path.suffix == ".gguf" and path.is_file()


def opened(path: Path) -> Folder:
    """Open a GGUF file. Its tensors are mapped into memory, and dequantised one at a time when they are read.

    Args:
        path: The file.

    Returns:
        The tensors by transformers' names, in float32, with a configuration.

    Raises:
        PairingError: gguf is not installed; transformers does not know the architecture.
        FormatError: The file is damaged.
    """
    gguf = library("gguf", "gguf")
    with path.open("rb") as file:
        start = file.read(len(_MAGIC))
    if start != _MAGIC:
        raise FormatError(f"{path} is not a GGUF file: it {mistaken_files.weights(path) or 'begins otherwise'}")
    try:
        reader = gguf.GGUFReader(str(path))
        stored = reader.tensors
        field = reader.fields.get("general.architecture")
        parts = reader.fields.get("split.count")
        kind = "" if field is None else str(field.contents())
        split = 1 if parts is None else int(parts.contents())
    except Exception as error:  # those of numpy, and of gguf, for what lies beyond the end
        raise FormatError(f"{path} is not a whole GGUF file: {in_brief(error)}") from None
    if split > 1:
        raise PairingError(
            f"{path} is one of {split} parts of a model; put them together with llama-gguf-split --merge"
        )
    if kind in _REFUSED:
        raise PairingError(f"{path}: GGUF files of the architecture {kind} are not read; {_INSTEAD}")
    settings = _settings(path)
    module = _module(path, settings)
    names = _names(path, module, kind=kind, settings=settings)
    outlines = module.state_dict()
    groups: dict[str, list[Any]] = {}
    left: list[str] = []
    for tensor in stored:
        name = names.mapping.get(tensor.name) or names.mapping.get(tensor.name.removesuffix(".weight"))
        if name is None or name not in outlines:
            left.append(tensor.name)
        else:
            groups.setdefault(name, []).append(tensor)
    layers = {
        name: _layer(path, name, outlines[name], group=groups[name], names=names) for name in outlines if name in groups
    }
    if not layers:
        raise PairingError(f"{path}: none of its tensors is known by name to transformers; {_INSTEAD}")
    store = DequantisedStore(layers.values())
    config = {
        **json.loads(module.config.to_json_string()),
        "architectures": [type(module).__name__],
        "dtype": "float32",
    }
    return Folder(
        OnDisk({name: (store, name) for name in layers}),
        config=config,
        notes=tuple(_notes(path, stored, left=left, count=len(layers))),
    )


class _Names:
    """transformers' names for the tensors of a file, and what it does to their values."""

    def __init__(self, mapping: Mapping[str, str], processor: Any) -> None:
        self.mapping = mapping
        self.processor = processor


def _settings(path: Path) -> dict[str, Any]:
    """The configuration that transformers makes of what the file says."""
    from transformers.modeling_gguf_pytorch_utils import load_gguf_checkpoint

    try:
        settings: dict[str, Any] = load_gguf_checkpoint(str(path), return_tensors=False)["config"]
    except Exception as error:  # of fields that lack, of an architecture that is not known
        raise PairingError(
            f"{path}: transformers makes no configuration of it: {in_brief(error)}; {_INSTEAD}"
        ) from None
    return settings


def _module(path: Path, settings: Mapping[str, Any]) -> Any:
    """The model without weights."""
    from transformers import CONFIG_MAPPING
    from transformers.models.auto import modeling_auto

    kind = str(settings.get("model_type"))
    classes = [*(settings.get("architectures") or ())]
    for table in (
        modeling_auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
        modeling_auto.MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES,
    ):
        if kind in table:
            classes.append(table[kind])
    module = None
    if classes and kind in CONFIG_MAPPING:
        config = CONFIG_MAPPING[kind].from_dict(dict(settings))
        module = unweighted(str(classes[0]), config.to_json_string(use_diff=False))
    if module is None:
        raise PairingError(f"{path}: transformers cannot make a model of the kind {kind} from it; {_INSTEAD}")
    return module


def _names(path: Path, module: Any, *, kind: str, settings: Mapping[str, Any]) -> _Names:
    from transformers import modeling_gguf_pytorch_utils as utils

    processor = utils.TENSOR_PROCESSORS.get(kind, utils.TensorProcessor)(config=dict(settings))
    try:
        return _Names(utils.get_gguf_hf_weights_map(module, processor), processor)
    except (NotImplementedError, AttributeError) as error:
        raise PairingError(f"{path}: transformers has no names for it: {in_brief(error)}; {_INSTEAD}") from None


def _layer(path: Path, name: str, outline: torch.Tensor, *, group: Sequence[Any], names: _Names) -> Layer:
    """A tensor of the model, made of one of the file or of several."""
    import torch

    shape = tuple(outline.shape)
    entries = sum(int(tensor.n_elements) for tensor in group)
    if entries != math.prod(shape):
        raise FormatError(
            f"{path}: {group[0].name} has {entries:,} entries, and {name} of its configuration {math.prod(shape):,}; "
            f"get the file again, or {_INSTEAD}"
        )

    def compute() -> torch.Tensor:
        import numpy as np
        from gguf.quants import dequantize

        # Some processors put together there what lies in several tensors, such as the experts of Qwen.
        parsed: dict[str, dict[str, torch.Tensor]] = {"tensors": {}}
        for tensor in group:
            values = dequantize(tensor.data, tensor.tensor_type)
            done = names.processor.process(
                weights=values, name=tensor.name, tensor_key_mapping=names.mapping, parsed_parameters=parsed
            )
            if done.name in names.mapping:
                parsed["tensors"][names.mapping[done.name]] = torch.from_numpy(np.copy(done.weights))
        return parsed["tensors"][name]

    used = frozenset(tensor.name for tensor in group)
    how = f"GGUF {', '.join(sorted({_type(part) for part in group}))}"
    return Layer(name, shape, torch.float32, compute=compute, used=used, scheme=how)


def _type(tensor: Any) -> str:
    return str(tensor.tensor_type.name)


def _notes(path: Path, stored: Sequence[Any], *, left: Sequence[str], count: int) -> list[str]:
    kinds = Counter(map(_type, stored))
    listed = ", ".join(f"{number:,} of {kind}" for kind, number in kinds.most_common())
    where = f"file {path.resolve().name}"
    notes = [
        f"{where}: {count:,} tensors of GGUF ({listed}) were read dequantised, as float32; what is written is plain "
        "values, and no tokenizer is taken from the file"
    ]
    if left:
        more = f" and {len(left) - 1:,} more" if left[1:] else ""
        notes.append(f"{where}: what transformers has no place for was left out: {left[0]}{more}")
    return notes
