"""Two models that belong together, for everything that takes a pair."""

from __future__ import annotations

from typing import NamedTuple, Protocol

from ken.models.checkpoints.checkpoint import Source


class PairOfModels(Protocol):
    """Anything with the two models as attributes, such as `ken.demo.pair()` or `Pair`."""

    @property
    def fine_tuned(self) -> Source:
        """The fine-tuned model."""

    @property
    def pretrained(self) -> Source:
        """The pretrained model it came from."""


class Pair(NamedTuple):
    """Two models that belong together, for everything that takes a pair.

    Args:
        fine_tuned: A module, a state dict, a path or a hub id.
        pretrained: The model it came from, likewise.

    Example:
        >>> import torch
        >>> pair = Pair(fine_tuned={"w": torch.ones(2)}, pretrained={"w": torch.zeros(2)})
        >>> pair.pretrained["w"].tolist()
        [0.0, 0.0]
    """

    fine_tuned: Source
    pretrained: Source
