"""Which schemes are read, and a folder of codes as one of plain tensors."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING, Any

from ken.models.checkpoints import quantised
from ken.models.checkpoints.architecture import unweighted
from ken.models.checkpoints.checkpoint_files import Folder, OnDisk
from ken.models.checkpoints.dequantised import bnb, compressed, fp8, mxfp4, packed
from ken.models.checkpoints.dequantised.layer import Coded, Layer
from ken.models.checkpoints.dequantised.store import DequantisedStore

if TYPE_CHECKING:
    import torch

    #: Gives the plain tensor that a sign belongs to; None if it cannot be read.
    Reader = Callable[[Coded, str], Layer | None]

#: By the names in `quantised.SCHEMES`.
READERS: Mapping[str, Reader] = {
    **dict.fromkeys((f"fp8 with a scale per {extent}" for extent in ("tensor", "row", "block")), fp8.read),
    "MXFP4": mxfp4.read,
    "GPTQ": packed.read,
    "GPTQ or AWQ": packed.read,
    "bitsandbytes 4-bit": bnb.read_4bit,
    "bitsandbytes 8-bit": bnb.read_8bit,
}
#: Where the configuration says compressed-tensors.
_COMPRESSED = ("compressed-tensors", "integers with scales", *(name for name in READERS if name.startswith("fp8")))
#: Scales of what attention keeps.
_CACHE = ("k_scale", "v_scale", "q_scale", "k_zero_point", "v_zero_point")


def opened(folder: Folder, where: str = "") -> Folder:
    """A folder with plain tensors in the place of the codes that can be read; the same one if there are none of these.

    Of weights nothing is read. The configuration says nothing of quantisation any more; a note says what was done.

    Raises:
        PairingError: Codes lack what they need, or the library that reads them is not installed.

    Example:
        >>> import torch
        >>> folder = opened(Folder({"w": torch.ones(2).to(torch.float8_e4m3fn), "w_scale": torch.tensor(3.0)}))
        >>> folder.tensors["w"].dtype, list(folder.tensors), folder.tensors.entries("w").read(0, 2)
        (torch.float32, ['w'], tensor([3., 3.]))
    """
    import torch

    config = folder.config or {}
    if not all(isinstance(tensor, torch.Tensor) for tensor in folder.tensors.values()):
        return folder  # what a .bin file may hold besides
    said = quantised.method(config)
    signs = quantised.signs(folder.tensors, said)
    if not signs:
        return folder
    settings = quantised.settings_of_codes(config)
    coded = Coded(folder.tensors, settings, _stated(config), turned=_turned(config), where=where)
    layers: dict[str, Layer] = {}
    used: dict[str, str] = {}  # codes by name, and the plain tensor that each has become
    for sign in signs:
        reader = READERS.get(sign.scheme)
        if said == "compressed-tensors" and sign.scheme in _COMPRESSED:
            reader = compressed.read
        layer = None if reader is None or sign.tensor in used else reader(coded, sign.tensor)
        if layer is not None:
            layers[layer.name] = layer
            used |= dict.fromkeys(layer.used, layer.name)
    if not layers:
        return folder
    # What is left may be codes as well: the configuration still says that some are expected.
    quantised.check({name: tensor for name, tensor in folder.tensors.items() if name not in used}, config, where)
    cached = [name for name in folder.tensors if name.rpartition(".")[2] in _CACHE]
    places: dict[str, tuple[Any, str]] = {}
    shards: dict[str, str] = {}
    store = DequantisedStore(layers.values())
    for name in folder.tensors:
        plain = used.get(name, name)
        if name in cached:
            continue
        places.setdefault(plain, (store, plain) if plain in layers else (folder.tensors, name))
        if name in folder.shards:
            shards.setdefault(plain, folder.shards[name])
    notes = (*folder.notes, *_notes(layers, cached, where))
    return replace(
        folder,
        tensors=OnDisk(places),
        shards=shards,
        config=None if folder.config is None else quantised.without(config),
        notes=notes,
    )


def _notes(layers: Mapping[str, Layer], cached: list[str], where: str) -> list[str]:
    begin = f"{where}: " if where else ""
    counts = Counter((layer.scheme, str(layer.dtype).removeprefix("torch.")) for layer in layers.values())
    notes = [
        f"{begin}{count:,} tensor{'s' if count > 1 else ''} of a quantised model ({scheme}) "
        f"{'were' if count > 1 else 'was'} read dequantised, as {dtype}; what is written is plain values, without a "
        "quantization_config"
        for (scheme, dtype), count in counts.items()
    ]
    if cached:
        notes.append(f"{begin}{len(cached):,} scales of cached keys and values were left out ({cached[0]}, …)")
    return notes


def _stated(config: Mapping[str, Any]) -> torch.dtype | None:
    """The dtype that a configuration states, or that of its text model."""
    import torch

    for settings in (config, config.get("text_config")):
        if isinstance(settings, Mapping):
            name = settings.get("dtype") or settings.get("torch_dtype")
            dtype = getattr(torch, str(name).removeprefix("torch."), None)
            if isinstance(dtype, torch.dtype) and dtype.is_floating_point and dtype.itemsize > 1:
                return dtype
    return None


def _turned(config: Mapping[str, Any]) -> Callable[[str], bool]:
    """Whether a module keeps its weight with inputs first, by its name in files. The class is not looked at before."""

    @cache
    def names() -> frozenset[str]:
        from transformers.pytorch_utils import Conv1D

        classes = config.get("architectures") or ()
        plain = json.dumps(quantised.without(config))
        module = unweighted(classes[0], plain) if classes and isinstance(classes[0], str) else None
        modules = [] if module is None else module.named_modules()
        return frozenset(name for name, part in modules if isinstance(part, Conv1D))

    def turned(stem: str) -> bool:
        return any(f".{name}".endswith(f".{stem}") or f".{stem}".endswith(f".{name}") for name in names())

    return turned
