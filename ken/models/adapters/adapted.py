"""A base and its adapters as one checkpoint, tensor by tensor; and the pair that both make."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ken.errors import FormatError, PairingError, in_brief
from ken.models.adapters import merging, skeleton
from ken.models.adapters.sources import (
    WITHOUT_BASE,
    base_by_card,
    base_of,
    check_kind,
    folders_of,
    is_adapter,
    live,
    origin_of_adapters,
    settings_of,
)
from ken.models.checkpoints import quantised
from ken.models.checkpoints.adapter_names import Adapters
from ken.models.checkpoints.architecture import Architecture, ModelClass
from ken.models.checkpoints.checkpoint import Checkpoint, Source, TunedSource, architecture_of, read
from ken.models.checkpoints.checkpoint_files import OnDisk
from ken.models.checkpoints.hub import locate_whole
from ken.models.checkpoints.location import Location, Named, place_of
from ken.models.checkpoints.origins import origin_of_module
from ken.models.checkpoints.other_files import gather
from ken.models.checkpoints.wrappers import unwrapped

if TYPE_CHECKING:
    import torch

_FRONT = "base_model.model."
_LABELS = ("classifier", "score", "out_proj")  # modules that have a row for every label


def read_pair(fine_tuned: TunedSource, pretrained: Source | None) -> tuple[Checkpoint, Checkpoint]:
    """Open two models; the fine-tuned one may be an adapter of the other, which may then be left out.

    Args:
        fine_tuned: As `ken.prune` takes it.
        pretrained: Likewise. None: the base that the adapter names, or that a live model of PEFT holds.

    Returns:
        Both checkpoints. Of an adapter the weights are merged as they are read.

    Raises:
        PairingError: No base is given or named; the adapter is of a kind that is not merged here; peft is not there.

    Example:
        >>> import torch
        >>> [list(model.tensors) for model in read_pair({"w": torch.ones(2)}, {"w": torch.zeros(2)})]
        [['w'], ['w']]
    """
    if not is_adapter(fine_tuned):
        if pretrained is None:
            return _with_carded_base(fine_tuned)
        return read(fine_tuned), read(pretrained)  # type: ignore[arg-type]
    try:
        import peft  # noqa: F401
    except ImportError:
        raise PairingError(
            "to read an adapter takes peft, which is not installed: pip install 'kenviz[peft]'"
        ) from None
    if (model := live(fine_tuned)) is not None:
        return _of_live(model), _base_of_live(model) if pretrained is None else read(pretrained)
    base = base_of(fine_tuned) if pretrained is None else pretrained  # type: ignore[arg-type]
    theirs = read(base)
    try:
        return _on_base(fine_tuned, base, theirs), theirs  # type: ignore[arg-type]
    except _InPiecesError:
        module = _loaded(base, theirs)
    theirs = read(module)
    merged = _on_base(fine_tuned, module, theirs)  # type: ignore[arg-type]
    note = "the adapter changes what is in pieces in the files of the base, which was loaded whole"
    return replace(merged, notes=(*merged.notes, note)), theirs


def _with_carded_base(fine_tuned: TunedSource) -> tuple[Checkpoint, Checkpoint]:
    """A model and the base that its card names, with a note that says so."""
    if not isinstance(fine_tuned, str | Path | Location):
        raise PairingError(WITHOUT_BASE)
    base = base_by_card(fine_tuned)
    theirs = read(base)
    note = f"the pretrained model is the base_model that the model card names: {place_of(base).text}"
    return read(fine_tuned), replace(theirs, notes=(*theirs.notes, note))


class _InPiecesError(PairingError):
    """An adapter changes a tensor that the files of its base have in pieces."""


def _loaded(base: Source, checkpoint: Checkpoint) -> torch.nn.Module:
    """The base as a module of transformers, in the dtypes of its files."""
    import transformers

    if checkpoint.architecture is None or not isinstance(base, str | Path | Location):
        raise PairingError("the adapter changes what the base has in pieces; give the base as a module")
    cls = getattr(transformers, checkpoint.architecture.class_name)
    return cls.from_pretrained(str(locate_whole(base)), dtype="auto", variant=place_of(base).variant or None)


def _of_live(model: Any) -> Checkpoint:
    """A live model of PEFT as a checkpoint."""
    for name in model.active_adapters:
        check_kind(model.peft_config[name].to_dict(), f"adapter {name}")
    inner = model.get_base_model()
    slots = merging.slots(inner)
    values = {slot.name: slot.tensor.detach() for slot in slots}
    plain = read(values)
    lazy = merging.Merging(inner, slots, lambda _: None)
    changed = {slot.name for slot in slots if slot.layer}
    return replace(
        _named(plain, inner),
        tensors=OnDisk({name: (lazy if name in changed else values, name) for name in values}),
        tied=merging.tied(slots, {slot.name: id(slot.tensor) for slot in slots}),
        buffers=frozenset(name for name, _ in inner.named_buffers()) & values.keys(),
        source=f"{type(model).__name__} of {type(inner).__name__}",
        notes=(*plain.notes, _note(model.active_adapters, changed)),
        live=True,
    )


def _base_of_live(model: Any) -> Checkpoint:
    """What a live model of PEFT was before its adapters."""
    inner = model.get_base_model()
    source = f"the base of the live {type(model).__name__}"
    return replace(_named(read(merging.unadapted(inner)), inner), source=source, origin=origin_of_module(inner))


def _named(checkpoint: Checkpoint, inner: torch.nn.Module) -> Checkpoint:
    """The checkpoint with what is known of its module."""
    return replace(
        checkpoint,
        prefix=str(getattr(inner, "base_model_prefix", "") or ""),
        architecture=architecture_of(inner),
        config=dict(quantised.settings(getattr(inner, "config", None))),
    )


def _on_base(source: Named | Adapters, base_source: Source, base: Checkpoint) -> Checkpoint:
    """The adapters of some folders on a base."""
    folders = folders_of(source)
    settings = [settings_of(folder) for folder in folders.values()]
    tensors = {name: _weights(folder) for name, folder in folders.items()}
    brought = _brought(tensors)
    inner, architecture = _empty(base_source, base, settings=settings[0], brought=brought)
    stored, converted = _counterparts(inner, base)
    skeleton.furnish(
        inner,
        {name: base.tensors[other].dtype for name, other in stored.items()},
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
        raise _InPiecesError(
            f"{min(apart)} is in several pieces in the files of the base; open the base with from_pretrained, and give "
            "the module"
        )
    lazy = merging.Merging(inner, slots, weight)
    # What the base has keeps the name that it has there.
    places: dict[str, tuple[Any, str]] = {name: (base.tensors, name) for name in base.tensors if name in converted}
    missing: list[str] = []
    for slot in slots:
        name = stored.get(slot.name, slot.name)
        if slot.layer or slot.name in brought:
            places[name] = lazy if slot.layer else brought, slot.name
        elif slot.name in stored:
            places[name] = base.tensors, name
        elif slot.name in empty and slot.name not in converted:
            missing.append(slot.name)
    tied = {
        stored.get(alias, alias): stored.get(name, name)
        for alias, name in merging.tied(
            slots, {slot.name: id(empty.get(slot.name, slot.tensor)) for slot in slots}
        ).items()
    }
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
            *filter(None, [_note(folders, changed), _missing(missing), _homeless(model, tensors, empty)]),
        ),
    )


def _brought(tensors: Mapping[str, Mapping[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
    """What adapters bring along in whole, by its name in the model: heads, biases, embeddings."""
    return {
        _in_model(key): tensor
        for own in tensors.values()
        for key, tensor in own.items()
        if not any(part.startswith(("lora_", "trainable_tokens_")) for part in key.split("."))
    }


def _in_model(key: str) -> str:
    return key.removeprefix(_FRONT).replace(".base_layer.", ".")


def _weights(folder: Path) -> dict[str, torch.Tensor]:
    """The tensors of an adapter. Raises `FormatError` if they cannot be read."""
    from peft.utils.save_and_load import load_peft_weights

    try:
        return load_peft_weights(str(folder), device="cpu")
    except Exception as error:  # those of safetensors, of torch, and of the disk
        raise FormatError(f"the adapter in {folder} cannot be read: {in_brief(error)}") from None


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

    model: Any = None
    try:
        # Not with low_cpu_mem_usage: that rounds an adapter to the dtype of its base. It begins with random values.
        with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
            warnings.filterwarnings("error", message="Found missing adapter keys")
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
        if isinstance(module, LoraLayer):
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


def _note(adapters: Sequence[str] | Mapping[str, Any], changed: set[str]) -> str:
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
