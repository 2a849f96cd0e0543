"""One model of our own that goes to and fro between the pretrained and the fine-tuned weights, a group at a time."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ken.api import Subnetwork
from ken.errors import SubnetworkError, at_tensor, in_brief
from ken.evaluation.effects.groups import Part
from ken.injection.copies import slots_of
from ken.models.checkpoints.architecture import build_class
from ken.models.checkpoints.checkpoint import read
from ken.models.checkpoints.wrappers import unwrapped
from ken.models.pairing.pairing import open_pair
from ken.models.pairing.pairs import PairOfModels, WholePair, with_base
from ken.models.tensors.storages import write
from ken.models.tensors.tensor_bytes import fingerprint
from ken.pruning.prune import prune
from ken.subnetwork.retained_tensor import RetainedTensor

if TYPE_CHECKING:
    import torch

_CHANGED = "an evaluation must leave the model's parameters and buffers as they are"


class LiveModel:
    """A model that holds, of every pruned tensor, the fine-tuned or the pretrained values, or some of either.

    What is carried (a new head, buffers) is fine-tuned at all times.

    Args:
        pair: Both models. The fine-tuned one is a module or the path of a checkpoint that transformers opens.
        net: A subnetwork of the pair that takes the place of the fine-tuned weights.
        exclude: Name patterns of tensors that are carried, as in `ken.prune`.

    Attributes:
        module: The model. It is our own, and holds the fine-tuned weights at first.
        sparse: A subnetwork of one entry a row, which says which tensors are pruned, and which carried.

    Raises:
        SubnetworkError: There is no live model, or it has another layout than the pretrained one.

    Example:
        >>> import torch
        >>> from ken import Pair
        >>> tuned, base = torch.nn.Linear(2, 1), torch.nn.Linear(2, 1)
        >>> live = LiveModel(Pair(tuned, base))
        >>> live.hold_pretrained()
        >>> torch.equal(live.module.weight, base.weight)
        True
    """

    def __init__(self, pair: PairOfModels, *, net: Subnetwork | None = None, exclude: Sequence[str] = ()) -> None:
        pair = _live(with_base(pair))
        # Of one that retained all, the entries would take as much room as a model.
        self.sparse: Subnetwork = prune(
            pair.fine_tuned, pair.pretrained, 1, rule="update", exclude=exclude, progress=False
        )
        self._pairing = open_pair(pair.fine_tuned, pair.pretrained)
        module: Any = unwrapped(pair.fine_tuned)  # type: ignore[arg-type]
        try:
            self.module: torch.nn.Module = copy.deepcopy(module)
        except Exception as error:  # whatever the module's own code, or torch, raises
            raise SubnetworkError(f"the model {type(module).__name__} cannot be copied ({in_brief(error)})") from error
        slots = slots_of(self.module)
        self.slots: dict[str, torch.Tensor] = {}
        for name, tensor in self.sparse.pruned().items():
            slot = slots.get(name)
            if slot is None or tuple(slot.shape) != tensor.shape:
                raise SubnetworkError(
                    f"{name} is no parameter of the live model: it has another layout than the files of the other; "
                    "give both models live"
                )
            self.slots[name] = slot
        self._retained = {} if net is None else self._of(net)
        self.hold_tuned()

    def _of(self, net: Subnetwork) -> dict[str, torch.Tensor]:
        """What a subnetwork makes of the tensors. Raises `SubnetworkError` if it is not one of this pair."""
        values = {}
        for name in self.slots:
            if name not in net:
                raise SubnetworkError(f"the subnetwork has no {name}: it is not one of this pair")
            tensor = net[name]
            if not isinstance(tensor, RetainedTensor):
                continue  # carried there: fine-tuned
            with at_tensor(name):
                if tensor.fine_tuned != self.sparse[name].fine_tuned:  # type: ignore[union-attr]
                    raise SubnetworkError("the subnetwork was made of another fine-tuned tensor")
                values[name] = tensor.onto(self._pretrained(name))
        return values

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The pruned tensors, in model order."""
        return {name: tuple(slot.shape) for name, slot in self.slots.items()}

    @property
    def config(self) -> Mapping[str, Any] | None:
        """The configuration of the model; None if it has none."""
        return None if self.sparse.architecture is None else self.sparse.architecture.config

    def tuned(self, name: str) -> torch.Tensor:
        """The fine-tuned values of a tensor, or those of the subnetwork."""
        value = self._retained.get(name)
        return self._pairing.fine_tuned.whole(name) if value is None else value

    def base(self, name: str) -> torch.Tensor:
        """Its pretrained values in the fine-tuned shape; rows that only the fine-tuned model has stay as they are."""
        import torch

        pretrained, tuned = self._pretrained(name), self._pairing.fine_tuned.whole(name)
        pretrained = pretrained.to(tuned.device, tuned.dtype)
        return pretrained if pretrained.shape == tuned.shape else torch.cat([pretrained, tuned[len(pretrained) :]])

    def _pretrained(self, name: str) -> torch.Tensor:
        return self._pairing.pretrained.whole(str(self._pairing.names[name]))

    def hold_tuned(self) -> None:
        """Bring all pruned tensors to the fine-tuned values."""
        for name, slot in self.slots.items():
            write(slot, self.tuned(name).detach())

    def hold_pretrained(self) -> None:
        """Bring all pruned tensors to the pretrained values."""
        for name, slot in self.slots.items():
            write(slot, self.base(name).detach())

    def reset(self, parts: Iterable[Part]) -> None:
        """Bring some parts to the pretrained values."""
        for part in parts:
            self._put(part, self.base(part.tensor))

    def retain(self, parts: Iterable[Part]) -> None:
        """Bring some parts to the fine-tuned values."""
        for part in parts:
            self._put(part, self.tuned(part.tensor))

    def _put(self, part: Part, values: torch.Tensor) -> None:
        import torch

        slot, values = self.slots[part.tensor], values.detach()
        where = tuple(one if isinstance(one, slice) else torch.from_numpy(one) for one in part.where)
        if not where:
            write(slot, values)
            return
        with torch.inference_mode(slot.is_inference()):
            slot.data[where] = values[where].to(slot.device)

    def versions(self) -> list[int]:
        """Counters that go up whenever a parameter or buffer of the model is written to."""
        tensors = (*self.module.parameters(), *self.module.buffers())
        return [tensor._version for tensor in tensors if not tensor.is_inference()]  # which has no counter

    def check_unchanged(self, versions: list[int]) -> None:
        """Raise `SubnetworkError` if the model was written to since its counters were these."""
        if self.versions() != versions:
            raise SubnetworkError(_CHANGED)

    def check(self, *, tuned: bool) -> None:
        """Raise `SubnetworkError` unless the model holds the fine-tuned (else the pretrained) values, bit for bit."""
        for name, slot in self.slots.items():
            with at_tensor(name):
                if fingerprint(slot) != fingerprint(self.tuned(name) if tuned else self.base(name)):
                    raise SubnetworkError(_CHANGED)

    @property
    def entries(self) -> int:
        """Entries of all pruned tensors."""
        return sum(slot.numel() for slot in self.slots.values())


def _live(pair: WholePair) -> WholePair:
    """The pair with a live fine-tuned model, which transformers opens if it is on disk."""
    import torch

    if isinstance(pair.fine_tuned, torch.nn.Module):
        return pair
    if not isinstance(pair.fine_tuned, str | Path):
        raise SubnetworkError("the fine-tuned model must be a module, or a checkpoint that transformers opens")
    architecture = read(pair.fine_tuned).architecture
    if architecture is None:
        raise SubnetworkError(f"the config.json of {pair.fine_tuned} names no class of transformers; give a live model")
    module = build_class(architecture.class_name).from_pretrained(str(pair.fine_tuned), dtype="auto")
    return WholePair(module, pair.pretrained)
