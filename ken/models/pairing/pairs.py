"""Two models that belong together, for everything that takes a pair."""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol

from ken.models.adapters.merging import before
from ken.models.adapters.sources import base_named, is_adapter, live
from ken.models.checkpoints.checkpoint import Source


class PairOfModels(Protocol):
    """Anything with the two models as attributes, such as `ken.demo.pair()` or `Pair`."""

    @property
    def fine_tuned(self) -> Source:
        """The fine-tuned model."""

    @property
    def pretrained(self) -> Source | None:
        """The pretrained model it came from; None: the base of the adapter that is the fine-tuned one."""


class Pair(NamedTuple):
    """Two models that belong together, for everything that takes a pair.

    Args:
        fine_tuned: A module, a state dict, a path or a hub id.
        pretrained: The model it came from, likewise. None, which only an adapter may have: its own base.

    Example:
        >>> import torch
        >>> pair = Pair(fine_tuned={"w": torch.ones(2)}, pretrained={"w": torch.zeros(2)})
        >>> pair.pretrained["w"].tolist()
        [0.0, 0.0]
    """

    fine_tuned: Source
    pretrained: Source | None = None


def with_base(pair: PairOfModels) -> PairOfModels:
    """The same pair with a pretrained model that can be read for itself, where it was left to the adapter to name.

    Example:
        >>> pair = Pair({}, {})
        >>> with_base(pair) is pair
        True
    """
    if pair.pretrained is not None or not is_adapter(pair.fine_tuned):
        return pair
    model: Any = live(pair.fine_tuned)
    if model is not None:
        return Pair(pair.fine_tuned, before(model.get_base_model()))
    return Pair(pair.fine_tuned, base_named(pair.fine_tuned))
