"""The pair that a base and its adapters make, from folders or of a live model of PEFT."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ken.errors import PairingError
from ken.models.adapters import merging
from ken.models.adapters.on_base import InPiecesError, note_on, on_base
from ken.models.adapters.sources import (
    WITHOUT_BASE,
    base_by_card,
    base_of,
    check_kind,
    is_adapter,
    live,
)
from ken.models.checkpoints import quantised
from ken.models.checkpoints.checkpoint import Checkpoint, Source, TunedSource, architecture_of, read
from ken.models.checkpoints.checkpoint_files import OnDisk
from ken.models.checkpoints.hub import locate_whole
from ken.models.checkpoints.location import Location, place_of
from ken.models.checkpoints.origins import origin_of_module

if TYPE_CHECKING:
    import torch


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
        return on_base(fine_tuned, base, theirs), theirs  # type: ignore[arg-type]
    except InPiecesError:
        module = _loaded(base, theirs)
    theirs = read(module)
    merged = on_base(fine_tuned, module, theirs)  # type: ignore[arg-type]
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
        notes=(*plain.notes, note_on(model.active_adapters, changed)),
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
