"""PEFT's own layers, merged one at a time when their weights are read: what `merge_and_unload` gives, bit for bit.

base weight ──► copy of the layer that wraps it ──► merge(safe_merge=True) ──► read, forgotten
"""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from ken.errors import PairingError
from ken.models.tensors.tensor_reader import Entries, Store

if TYPE_CHECKING:
    import torch

    #: Gives the base weight that stands for a parameter of the skeleton; None if the parameter has its own values.
    Base = Callable[[torch.nn.Parameter], torch.Tensor | None]


def wrapped(inner: torch.nn.Module) -> dict[str, Any]:
    """The layers of a model that PEFT has put something around, by name; none that lies within another one."""
    from peft.tuners.tuners_utils import BaseTunerLayer
    from peft.utils.other import AuxiliaryTrainingWrapper

    layers: dict[str, Any] = {}
    for name, module in inner.named_modules():
        if isinstance(module, BaseTunerLayer | AuxiliaryTrainingWrapper) and not _outer(name, layers):
            layers[name] = module
    return layers


def _outer(name: str, layers: Mapping[str, Any]) -> str:
    """The one of these layers that a part lies in; empty if it lies in none."""
    while name:
        name = name.rpartition(".")[0]
        if name in layers:
            return name
    return ""


def bare(layer: Any) -> torch.nn.Module:
    """What is left of a layer after merging: the module whose parameters it changes, or puts in their place."""
    from peft.utils.other import ModulesToSaveWrapper, TrainableTokensWrapper

    if isinstance(layer, TrainableTokensWrapper):
        return layer.token_adapter.get_base_layer()
    if isinstance(layer, ModulesToSaveWrapper):
        saved = layer.modules_to_save[layer.active_adapters[0]] if layer.active_adapters else layer.original_module
        return bare(saved) if hasattr(saved, "base_layer") else saved
    return layer.get_base_layer()


class Slot(NamedTuple):
    """A tensor of the merged model.

    Attributes:
        name: Its name there.
        tensor: What stands there before merging; of a skeleton without values.
        layer: The layer that PEFT has wrapped, empty if none.
        replaced: It is put in the place of the base's tensor, rather than changed.
        tokens: Rows of some tokens alone are.
    """

    name: str
    tensor: torch.Tensor
    layer: str
    replaced: bool = False
    tokens: bool = False


def slots(inner: torch.nn.Module) -> list[Slot]:
    """The tensors of a model after merging, in the order of the model."""
    from peft.utils.other import ModulesToSaveWrapper, TrainableTokensWrapper

    layers = wrapped(inner)
    after: dict[str, list[Slot]] = {
        layer: [
            Slot(
                f"{layer}.{leaf.replace('base_layer.', '')}",
                tensor,
                layer,
                replaced=isinstance(module, ModulesToSaveWrapper),
                tokens=isinstance(module, TrainableTokensWrapper),
            )
            for leaf, tensor in bare(module).state_dict(keep_vars=True).items()
        ]
        for layer, module in layers.items()
    }
    merged: list[Slot] = []
    for name, tensor in inner.state_dict(keep_vars=True).items():
        layer = _outer(name, layers)
        merged += after.pop(layer, []) if layer else [Slot(name, tensor, "")]
    return merged + [slot for rest in after.values() for slot in rest]


def unadapted(inner: torch.nn.Module) -> dict[str, torch.Tensor]:
    """The tensors of a live model as they were before its adapters. Raises `PairingError` if they are merged."""
    layers = wrapped(inner)
    for name, layer in layers.items():
        if getattr(layer, "merged", False):
            raise PairingError(
                f"{name}: the adapter is merged into the live model already, which has no base weights any more; give "
                "the pretrained model"
            )
    tensors = {slot.name: slot.tensor.detach() for slot in slots(inner) if not slot.replaced}
    for name, layer in layers.items():
        original = getattr(layer, "original_module", None)
        if original is not None:
            tensors |= {f"{name}.{leaf}": tensor.detach() for leaf, tensor in original.state_dict().items()}
    return tensors


def tied(merged: Sequence[Slot], identities: Mapping[str, int]) -> dict[str, str]:
    """Which tensors are one after merging: aliases, and the name under which each counts.

    Args:
        merged: The tensors.
        identities: By name, what is the same of tensors that were tied before.

    Raises:
        PairingError: Two names of one tensor have adapters of their own, which PEFT would merge one after the other.
    """
    groups: dict[int, list[Slot]] = {}
    for slot in merged:
        groups.setdefault(id(slot.tensor) if slot.replaced else identities[slot.name], []).append(slot)
    aliases: dict[str, str] = {}
    for group in groups.values():
        adapted = [slot for slot in group if slot.layer and not slot.replaced]
        # Tokens that are trained are so under both names, with the same values.
        if len({slot.layer for slot in adapted}) > 1 and not all(slot.tokens for slot in adapted):
            raise PairingError(
                f"{adapted[0].name} and {adapted[1].name} are tied, and both have adapters; merge them first"
            )
        leader = (adapted or group)[0].name
        aliases |= {slot.name: leader for slot in group if slot.name != leader}
    return aliases


class Merging(Store):
    """The tensors that adapters change. One layer at a time is merged, and kept until another one is asked for.

    Args:
        inner: The model that PEFT has put its layers into.
        merged: Its tensors after merging.
        base: Where the weights of the base are.
    """

    def __init__(self, inner: torch.nn.Module, merged: Sequence[Slot], base: Base) -> None:
        self._layers, self._base = wrapped(inner), base
        self._owners = {slot.name: slot.layer for slot in merged if slot.layer}
        self._outlines = {slot.name: slot.tensor.detach().to("meta") for slot in merged if slot.layer}
        self._lock = threading.Lock()
        self._latest: tuple[str, dict[str, torch.Tensor]] = "", {}

    def tensor(self, name: str) -> torch.Tensor:
        """Shape and dtype of a tensor, on the meta device: values are read by `entries`."""
        return self._outlines[name]

    def entries(self, name: str) -> Entries:
        """The entries of a tensor; its layer is merged when they are read."""
        outline = self._outlines[name]

        def read(start: int, stop: int) -> torch.Tensor:
            return self._merged(name).reshape(-1)[start:stop].cpu()

        return Entries(tuple(outline.shape), outline.dtype, read)

    def _merged(self, name: str) -> torch.Tensor:
        layer = self._owners[name]
        with self._lock:
            if self._latest[0] != layer:
                self._latest = "", {}  # two are never held
                tensors = merge(self._layers[layer], self._base, layer)
                self._latest = layer, {f"{layer}.{leaf}": tensor for leaf, tensor in tensors.items()}
            return self._latest[1][name]


def merge(layer: Any, base: Base, name: str) -> dict[str, torch.Tensor]:
    """The tensors of one layer after its adapters have been merged, by their names in it. The layer stays as it is.

    Raises `PairingError` with PEFT's own words if it cannot be merged.
    """
    import torch

    memo: dict[int, Any] = {}
    original = getattr(layer, "original_module", None)
    if original is not None and bare(layer) is not original:
        memo[id(original)] = original  # which is replaced: nothing of it is read
    for parameter in bare(layer).parameters():
        if (weight := base(parameter)) is not None:
            memo[id(parameter)] = torch.nn.Parameter(weight.detach().clone(), requires_grad=False)
    try:
        # What a SHiRA adapter says of its places is checked: torch would write wherever they point.
        with torch.no_grad(), torch.sparse.check_sparse_tensor_invariants():
            own = copy.deepcopy(layer, memo)
            if hasattr(own, "unload_and_optionally_merge_module"):
                module = own.unload_and_optionally_merge_module(merge=True, safe_merge=True, adapter_names=None)
            else:
                own.merge(safe_merge=True)
                module = own.get_base_layer()
    except (ValueError, RuntimeError, NotImplementedError, TypeError) as error:
        raise PairingError(f"{name}: PEFT cannot merge the adapter: {' '.join(str(error).split())[:300]}") from error
    return {leaf: tensor.detach().contiguous() for leaf, tensor in module.state_dict().items()}
