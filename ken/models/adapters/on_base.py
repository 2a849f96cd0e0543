"""The adapters of some folders on a base: PEFT's own layers on a skeleton, which are filled as they are read."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ken.errors import FormatError, PairingError, in_brief
from ken.models.adapters import merging, skeleton
from ken.models.adapters.sources import folders_of, origin_of_adapters, settings_of
from ken.models.checkpoints.adapter_names import Adapters
from ken.models.checkpoints.architecture import Architecture, ModelClass
from ken.models.checkpoints.checkpoint import Checkpoint, Source
from ken.models.checkpoints.checkpoint_files import OnDisk
from ken.models.checkpoints.location import Named
from ken.models.checkpoints.other_files import gather
from ken.models.checkpoints.wrappers import unwrapped

if TYPE_CHECKING:
    import torch

_FRONT = "base_model.model."
_LABELS = ("classifier", "score", "out_proj")  # modules that have a row for every label


class InPiecesError(PairingError):
    """An adapter changes a tensor that the files of its base have in pieces."""


def on_base(source: Named | Adapters, base_source: Source, base: Checkpoint) -> Checkpoint:
    """The adapters of some folders on a base."""
    folders = folders_of(source)
    settings = [settings_of(folder) for folder in folders.values()]
    tensors = {name: _weights(folder) for name, folder in folders.items()}
    brought = _brought(tensors)
    inner, architecture = _empty(base_source, base, settings=settings[0], brought=brought)
    stored, converted = _counterparts(inner, base)
    skeleton.furnish(
        inner,
        # What the base lacks, a head, has the dtype that it was saved in.
        {name: tensor.dtype for name, tensor in brought.items()}
        | {name: base.tensors[other].dtype for name, other in stored.items()},
        {name: tuple(tensor.shape) for name, tensor in brought.items()},
    )
    empty = dict(inner.named_parameters(remove_duplicate=False))
    names = {id(parameter): name for name, parameter in reversed([*empty.items()])}

    def weight(parameter: torch.Tensor) -> torch.Tensor | None:
        name = names.get(id(parameter))
        if name is None:  # the adapter's own
            return None
        if name in brought:
            return brought[name]
        if name not in stored:
            raise PairingError(f"{name} is neither in the base nor in the adapter; give the base it was trained on")
        entries = base.entries(stored[name])
        return entries.read(0, entries.count).reshape(entries.shape)

    model = _with_adapters(inner, folders, source)
    inner = model.get_base_model()
    slots = merging.slots(inner)
    changed = {slot.name for slot in slots if slot.layer}
    if apart := changed & converted:
        raise InPiecesError(
            f"{min(apart)} is in several pieces in the files of the base; open the base with from_pretrained, and give "
            "the module"
        )
    lazy = merging.Merging(inner, slots, weight)
    filling = _Filling(base, stored, converted, brought=brought, empty=empty)
    places, missing = filling.places(slots, lazy)
    tied = filling.tied(slots)
    return replace(
        base,
        tensors=OnDisk({name: places[name] for name in base.tensors if name in places} | places),
        tied={alias: name for alias, name in tied.items() if alias in places and name in places},
        buffers=base.buffers & places.keys(),
        prefix=str(getattr(inner, "base_model_prefix", "") or ""),
        architecture=architecture,
        source=f"adapter {', '.join(folder.resolve().name for folder in folders.values())} on {base.source}",
        files={**base.files, **_files(folders)},
        module=None,
        live=False,
        config=architecture.config if architecture else base.config,
        origin=origin_of_adapters(source, folders),
        notes=(
            *base.notes,
            *filter(None, [note_on(folders, changed), _missing(missing), _homeless(model, tensors, empty)]),
        ),
    )


@dataclass(frozen=True, slots=True)
class _Filling:
    """Where the tensors of a base with adapters come from.

    stored has the name in the base of each tensor of the module, converted the names, here and there, of what is in
    pieces in the base. brought are tensors that the adapters bring along whole, empty the parameters of the module.
    """

    base: Checkpoint
    stored: Mapping[str, str]
    converted: frozenset[str]
    brought: Mapping[str, torch.Tensor]
    empty: Mapping[str, torch.Tensor]

    def places(
        self, slots: Sequence[merging.Slot], lazy: merging.Merging
    ) -> tuple[dict[str, tuple[Any, str]], list[str]]:
        """What gives each tensor, and its name there; and tensors of the module that nothing gives.

        What the base has keeps the name that it has there.
        """
        tensors = self.base.tensors
        places: dict[str, tuple[Any, str]] = {name: (tensors, name) for name in tensors if name in self.converted}
        missing: list[str] = []
        for slot in slots:
            name = self.stored.get(slot.name, slot.name)
            if slot.layer or slot.name in self.brought:
                places[name] = lazy if slot.layer else self.brought, slot.name
            elif slot.name in self.stored:
                places[name] = tensors, name
            elif slot.name in self.empty and slot.name not in self.converted:
                missing.append(slot.name)
        return places, missing

    def tied(self, slots: Sequence[merging.Slot]) -> dict[str, str]:
        """Aliases of tied tensors, and the names that these have in the base."""
        memory = {slot.name: id(self.empty.get(slot.name, slot.tensor)) for slot in slots}
        return {
            self.stored.get(alias, alias): self.stored.get(name, name)
            for alias, name in merging.tied(slots, memory).items()
        }


def _brought(tensors: Mapping[str, Mapping[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
    """What adapters bring along in whole, by its name in the model: heads, biases, embeddings."""
    return {
        _in_model(key): tensor
        for own in tensors.values()
        for key, tensor in own.items()
        if not any(part.startswith(("lora_", "shira_", "trainable_tokens_")) for part in key.split("."))
    }


def _in_model(key: str) -> str:
    return key.removeprefix(_FRONT).replace(".base_layer.", ".")


def _weights(folder: Path) -> dict[str, torch.Tensor]:
    """The tensors of an adapter. Raises `FormatError` if they cannot be read."""
    from peft.utils.save_and_load import load_peft_weights

    try:
        tensors: dict[str, torch.Tensor] = load_peft_weights(str(folder), device="cpu")
    except Exception as error:  # those of safetensors, of torch, and of the disk
        raise FormatError(f"the adapter in {folder} cannot be read: {in_brief(error)}") from None
    for name in tensors:
        places = name.removesuffix("weight") + "indices"
        if name.endswith(".shira_weight") and places not in tensors:  # PEFT would draw other places at random
            raise FormatError(f"the adapter in {folder} has {name}, and not the places of its values, {places}")
    return tensors


def _empty(
    source: Source, base: Checkpoint, *, settings: Mapping[str, Any], brought: Mapping[str, torch.Tensor]
) -> tuple[torch.nn.Module, Architecture | None]:
    """A module for the adapter without weights, and what it is."""
    import torch

    if isinstance(source, torch.nn.Module):
        return skeleton.like(unwrapped(source)), base.architecture
    own = base.architecture.class_name if base.architecture else ""
    class_name, config = skeleton.class_of(settings, base.config, own), dict(base.config)
    labels = [
        len(tensor)
        for name, tensor in brought.items()
        if tensor.ndim == 2 and name.split(".")[-2:-1] and name.split(".")[-2] in _LABELS
    ]
    if (
        labels
        and settings.get("task_type") in ("SEQ_CLS", "TOKEN_CLS")
        and len(config.get("id2label") or ()) != labels[-1]
    ):
        config["id2label"] = {str(label): f"LABEL_{label}" for label in range(labels[-1])}
        config["label2id"] = {name: int(label) for label, name in config["id2label"].items()}
    config["architectures"] = [class_name]
    return skeleton.skeleton(class_name, config), Architecture(class_name, config)


def _counterparts(inner: torch.nn.Module, base: Checkpoint) -> tuple[dict[str, str], frozenset[str]]:
    """The name in the base of every tensor of a module; and names, here and there, of what is in pieces in the base."""
    import transformers

    if not isinstance(inner, transformers.PreTrainedModel):
        return {name: name for name in inner.state_dict() if name in base.tensors}, frozenset()
    known = set(inner.state_dict())
    stored: dict[str, str] = {}
    converted: set[str] = set()
    for name, place in ModelClass.from_module(inner).places(base.tensors).items():
        if place.converted and name not in known:
            converted |= {name, place.target}
        elif place.target in known:
            stored.setdefault(place.target, name)
    return stored, frozenset(converted)


def _with_adapters(inner: torch.nn.Module, folders: Mapping[str, Path], source: Any) -> Any:
    """The module with the layers of its adapters, as PEFT makes them."""
    import torch
    from peft import PeftModel
    from peft.tuners.lora import LoraLayer
    from peft.tuners.shira import ShiraLayer

    model: Any = None
    try:
        # Not with low_cpu_mem_usage: that rounds an adapter to the dtype of its base. It begins with random values.
        with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
            warnings.filterwarnings("error", message="Found missing adapter keys")
            # A matter between PEFT and transformers, about which nobody here can do anything.
            warnings.filterwarnings("ignore", message=".*is_gradient_checkpointing", category=FutureWarning)
            for name, folder in folders.items():
                if model is None:
                    model = PeftModel.from_pretrained(inner, str(folder), adapter_name=name, torch_device="cpu")
                else:
                    model.load_adapter(str(folder), adapter_name=name, torch_device="cpu")
        if len(folders) > 1:
            model.base_model.set_adapter([*folders])
    except (ValueError, RuntimeError, TypeError, KeyError, UserWarning) as error:
        raise PairingError(f"PEFT cannot put the adapter on its base: {in_brief(error)}") from error
    weights = source.weights if isinstance(source, Adapters) else {}
    for module in model.modules():
        if isinstance(module, LoraLayer | ShiraLayer):
            for name, scale in weights.items():
                module.set_scale(name, scale)
    return model


def _files(folders: Mapping[str, Path]) -> dict[str, Path]:
    """What comes along with adapters: tokenizers and cards, as far as PEFT has written them there."""
    files: dict[str, Path] = {}
    for folder in folders.values():
        around = gather(folder, {file.name for file in folder.glob("adapter_*")})
        files |= {name: path for name, path in around.files.items() if not name.startswith("adapter_")}
    return files


def note_on(adapters: Sequence[str] | Mapping[str, Any], changed: set[str]) -> str:
    """A sentence about adapters that were merged, and how many tensors they change."""
    return (
        f"the fine-tuned model is its base with {len(adapters)} adapter{'s' if len(adapters) > 1 else ''} "
        f"({', '.join(adapters)}), merged as it was read: {len(changed):,} tensors are changed"
    )


def _missing(missing: Sequence[str]) -> str:
    if not missing:
        return ""
    return (
        f"{len(missing):,} tensors of the adapter's model are neither in the base nor in the adapter, and were "
        f"left out ({missing[0]}, …)"
    )


def _homeless(model: Any, tensors: Mapping[str, Mapping[str, Any]], names: Mapping[str, Any]) -> str:
    """A sentence about tensors of adapters that nothing in the model is called after."""
    from peft import get_peft_model_state_dict

    homeless: list[str] = []
    for adapter, own in tensors.items():
        taken = get_peft_model_state_dict(model, adapter_name=adapter, save_embedding_layers=False)
        homeless += [key for key in own if key not in taken and _in_model(key) not in names]
    if not homeless:
        return ""
    return f"{len(homeless):,} tensors of the adapter have no place of that name in the model ({homeless[0]}, …)"
