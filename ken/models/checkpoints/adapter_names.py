"""Several adapters by name, where one folder would not say it all."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ken.errors import PairingError
from ken.models.checkpoints.location import Location


@dataclass(frozen=True)
class Adapters:
    """Several adapters of one base, merged together; or one, with a weight.

    Attributes:
        folders: Folder, hub id or `ken.Location` of each adapter, by a name of your own.
        weights: What the change of an adapter is multiplied by, by that name; 1.0 where none is given.

    Example:
        >>> Adapters({"style": "style-lora", "facts": "facts-lora"}, weights={"style": 0.5}).weights
        {'style': 0.5}
    """

    folders: Mapping[str, str | Path | Location]
    weights: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.folders:
            raise PairingError("at least one adapter must be named")
        unknown = sorted(self.weights.keys() - self.folders.keys())
        if unknown:
            raise PairingError(f"there is a weight for {unknown[0]!r}, which is none of the adapters {[*self.folders]}")
