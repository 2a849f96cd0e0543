"""What a decision card says of an entry's effect: its attribution, and what its group does to the model."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ken
from kenviz.study import effect_words
from kenviz.study.effects import By, Effects
from kenviz.text.labels import visible

if TYPE_CHECKING:
    import pandas as pd


class EntryEffects:
    """An attribution, a table of `ken.ablate`, or both, for the cards of a subnetwork's entries.

    Raises what `Effects` raises; `ValueError` if the attribution is known to be of another fine-tuned model.

    >>> import torch, numpy as np
    >>> net = ken.prune({"w": torch.ones(1, 2)}, {"w": torch.zeros(1, 2)}, 1)
    >>> attribution = ken.Attribution({"w": np.array([[-0.5, 0.1]], np.float32)}, 1.0, 0.6, item_count=9)
    >>> print(EntryEffects(net, attribution).text("w", (0, 0), (1, 2)))
    attribution of this entry: −0.5 nats of a change of −0.4 over 9 items (a map, no intervention)
    """

    def __init__(
        self,
        net: ken.Subnetwork,
        attribution: ken.Attribution | None = None,
        ablation: pd.DataFrame | str | Path | None = None,
        *,
        by: By = "place",
    ) -> None:
        self._net, self._attribution, self._by = net, attribution, by
        self._effects = None if ablation is None else Effects(ablation, attribution, net, by=by)
        prints = {one for one in (net.fine_tuned.fingerprint, attribution and attribution.fingerprint) if one}
        if len(prints) > 1:
            raise ValueError("the attribution is of another fine-tuned model than the subnetwork")

    @property
    def arguments(self) -> str:
        """What was given, as further arguments of a call."""
        words = ", attribution=attribution" if self._attribution is not None else ""
        words += ", ablation=ablation" if self._effects is not None else ""
        return words + (f", by={self._by!r}" if self._by != "place" else "")

    @property
    def reads(self) -> dict[str, str | Path | None]:
        """The files that are looked at, by what they are called."""
        return {"the table of effects": None if self._effects is None else self._effects.source}

    def text(self, tensor: str, entry: tuple[int, int], shape: tuple[int, int]) -> str:
        """Lines of the card of an entry, (row, column) of a tensor that has so many rows and columns."""
        return "\n".join([*self._poor(), *self._share(tensor, entry, shape), *self._group(tensor)])

    def _poor(self) -> list[str]:
        """That attribution is not to be trusted here comes first."""
        answers = {} if self._effects is None else self._effects.agreements
        return [str(one) for one in answers.values() if isinstance(one, ken.Agreement) and one.poor]

    def _share(self, tensor: str, entry: tuple[int, int], shape: tuple[int, int]) -> list[str]:
        one = self._attribution
        if one is None:
            return []
        if tensor not in one or one[tensor].size != shape[0] * shape[1]:
            return ["attribution of this entry: none was made of this tensor"]
        if self._net.outlines[tensor].cut:
            return ["attribution of this entry: not told, as the tensor was cut into rows in another way"]
        value = float(one[tensor].reshape(shape)[entry])
        return [
            f"attribution of this entry: {effect_words.signed(value)} nats of a change of "
            f"{effect_words.signed(one.change)} over {one.item_count:,} items (a map, no intervention)"
        ]

    def _group(self, tensor: str) -> list[str]:
        if self._effects is None:
            return []
        groups = [name for name in self._owners.get(tensor, []) if name in self._effects.groups]
        if len(groups) != 1:
            return [
                f"its tensor has a part in {len(groups)} groups of the interventions" if groups else "no group has it"
            ]
        quantity = self._effects.quantities[0]
        line: Any = self._effects.table(quantity).loc[groups[0]]
        ways = [
            f"{'without it' if way == 'without' else 'with it alone'} {effect_words.with_interval(line, way, quantity)}"
            for way in self._effects.ways
        ]
        return [f"its group, {visible(groups[0])}: the {quantity} changes {'; '.join(ways)}"]

    @cached_property
    def _owners(self) -> dict[str, list[str]]:
        """The groups that have a part of each tensor."""
        owners: dict[str, list[str]] = {}
        for group, tensors in (self._effects.tensors() if self._effects is not None else {}).items():
            for tensor in tensors:
                owners.setdefault(tensor, []).append(group)
        return owners
