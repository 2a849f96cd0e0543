"""Two models that belong together, for everything that takes a pair."""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol

from ken.errors import PairingError
from ken.models.adapters.merging import unadapted
from ken.models.adapters.sources import WITHOUT_BASE, base_named, live
from ken.models.checkpoints.checkpoint import Source, TunedSource


class PairOfModels(Protocol):
    """Anything with the two models as attributes, such as `ken.demo.pair()` or `Pair`."""

    @property
    def fine_tuned(self) -> TunedSource:
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

    fine_tuned: TunedSource
    pretrained: Source | None = None


class WholePair(NamedTuple):
    """Two models, each of which can be read for itself."""

    fine_tuned: TunedSource
    pretrained: Source


def with_base(pair: PairOfModels) -> WholePair:
    """The same pair with its pretrained model, where that was left to an adapter to name.

    Raises `PairingError` if it was left out, and there is no adapter.

    Example:
        >>> with_base(Pair({}, {}))
        WholePair(fine_tuned={}, pretrained={})
    """
    if pair.pretrained is not None:
        return WholePair(pair.fine_tuned, pair.pretrained)
    model: Any = live(pair.fine_tuned)
    if model is not None:
        return WholePair(pair.fine_tuned, unadapted(model.get_base_model()))
    base = base_named(pair.fine_tuned)
    if base is None:
        raise PairingError(WITHOUT_BASE)
    return WholePair(pair.fine_tuned, base)
