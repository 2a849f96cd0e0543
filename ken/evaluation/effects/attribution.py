"""Each entry's share of the change of the loss, and tables of it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ken.errors import EffectsError
from ken.evaluation.effects.groups import By, Group, groups
from ken.models.named_tables import named_table
from ken.models.pairing.rows import row_shape
from ken.subnetwork.retained_tensor import RetainedTensor

if TYPE_CHECKING:
    import pandas as pd

    from ken.api import Subnetwork

#: Rows that are looked at together, so that no copy of a large tensor is made.
_ROWS = 4096


@dataclass(frozen=True, eq=False)
class Attribution(Mapping[str, "NDArray[np.float32]"]):
    """Each entry's share of the change of a loss: a mapping from tensor name to an array of the tensor's shape.

    Negative: moving this entry from its pretrained to its fine-tuned value lowers the loss, as far as a share can be
    told. All entries add up to the change, but for the error of the integral. It is a map, made by `ken.attribute`, and
    no intervention: `ken.agreement` says how far it can be trusted.

    Attributes:
        arrays: (shape of the tensor) float32, in nats, by name.
        pretrained_loss: The mean loss with the pretrained weights (and all that is carried).
        fine_tuned_loss: That with the fine-tuned ones.
        steps: Points on the line at which the gradient was taken.
        item_count: How many items the loss is the mean of.
        fingerprint: That of the fine-tuned model.
        config: The model's configuration, which heads are read from; None if it has none.
        notes: What there is to be said of how it was made.

    Example:
        >>> attribution = Attribution({"w": np.array([[-0.5, 0.1]], np.float32)}, 1.0, 0.6)
        >>> attribution
        Attribution(loss 1 -> 0.6: shares add up to -0.4, which is -0.4 within 0.0 %; 1 tensors, 0 points)
    """

    arrays: Mapping[str, NDArray[np.float32]]
    pretrained_loss: float
    fine_tuned_loss: float
    steps: int = 0
    item_count: int = 0
    fingerprint: str = ""
    config: Mapping[str, Any] | None = None
    notes: tuple[str, ...] = ()
    _kept: list[Any] = field(default_factory=list, repr=False)  # what the arrays lie in must outlive them

    def __getitem__(self, name: str) -> NDArray[np.float32]:
        return self.arrays[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.arrays)

    def __len__(self) -> int:
        return len(self.arrays)

    @property
    def change(self) -> float:
        """The change of the loss that is shared out: fine-tuned less pretrained, in nats."""
        return self.fine_tuned_loss - self.pretrained_loss

    @property
    def total(self) -> float:
        """What all shares add up to."""
        return float(sum(array.sum(dtype=np.float64) for array in self.arrays.values()))

    @property
    def error(self) -> float:
        """How far the sum is from the change, as a share of the change; infinite if there is no change."""
        missed = abs(self.total - self.change)
        return missed / abs(self.change) if self.change else (math.inf if missed else 0.0)

    def __repr__(self) -> str:
        return (
            f"Attribution(loss {self.pretrained_loss:.4g} -> {self.fine_tuned_loss:.4g}: shares add up to "
            f"{self.total:.4g}, which is {self.change:.4g} within {self.error:.1%}; "
            f"{len(self):,} tensors, {self.steps} points)".replace("%", " %")
        )

    def table(self, by: By = "place", net: Subnetwork | None = None) -> pd.DataFrame:
        """Shares added up by group.

        Args:
            by: The groups, as `ken.ablate` takes them.
            net: A subnetwork of the same pair: what of each share it retains.

        Returns:
            One line a group: group (index), entries, attribution (the sum, in nats), share (of the change), absolute
            (the sum of absolute values), lowering and raising (the sums of negative and of positive shares). With net
            also retained (the sum at retained entries), retained_share (of the group's), chance (the share of its
            entries that is retained) and retained_absolute (of the absolute sum, a share).

        Raises:
            BudgetError: The groups cannot be made.
            EffectsError: net has no such tensor.

        Example:
            >>> import torch, ken
            >>> net = ken.prune({"w": torch.ones(1, 2)}, {"w": torch.zeros(1, 2)}, 1)
            >>> attribution = Attribution({"w": np.array([[-0.5, 0.1]], np.float32)}, 1.0, 0.6)
            >>> attribution.table("tensor", net)[["share", "retained_share", "chance"]].round(2).values.tolist()
            [[1.0, 1.25, 0.5]]
        """
        shapes = {name: array.shape for name, array in self.arrays.items()}
        lines = [self._line(group, net) for group in groups(shapes, by, self.config)]
        table = named_table(lines).set_index("group")
        table.insert(2, "share", table["attribution"] / (self.change or math.nan))
        if net is not None:
            table["retained_share"] = table["retained"] / table["attribution"]
        return table

    def _line(self, group: Group, net: Subnetwork | None) -> dict[str, Any]:
        sums = np.zeros(4)  # all, absolute, retained, retained and absolute
        kept = 0
        for part in group.parts:
            values = self.arrays[part.tensor][part.where].astype(np.float64)
            sums[:2] += values.sum(), np.abs(values).sum()
            if net is not None:
                mask = self._mask(part.tensor, net)[part.where]
                sums[2:] += values[mask].sum(), np.abs(values[mask]).sum()
                kept += int(mask.sum())
        total, absolute, retained, retained_absolute = sums.tolist()
        line = {"group": group.name, "entries": group.entries, "attribution": total, "absolute": absolute}
        line |= {"lowering": (total - absolute) / 2, "raising": (total + absolute) / 2}
        if net is not None:
            line |= {"retained": retained, "chance": kept / group.entries if group.entries else math.nan}
            line["retained_absolute"] = retained_absolute / absolute if absolute else math.nan
        return line

    def _mask(self, name: str, net: Subnetwork) -> NDArray[np.bool_]:
        if name not in net:
            raise EffectsError(f"the subnetwork has no {name}: it is of another pair")
        tensor = net[name]
        if tensor.shape != self.arrays[name].shape:
            raise EffectsError(f"{name} is {tensor.shape} in the subnetwork and {self.arrays[name].shape} here")
        return tensor.mask() if isinstance(tensor, RetainedTensor) else np.ones(tensor.shape, bool)

    def rows(self, tensor: str) -> pd.DataFrame:
        """Shares of the rows of a tensor, cut as KEN cuts them by their shape.

        Args:
            tensor: Its name.

        Returns:
            One line a row: attribution and absolute, in nats.

        Raises:
            EffectsError: There is no such tensor.

        Example:
            >>> Attribution({"w": np.array([[-0.5, 0.5], [1.0, 1.0]], np.float32)}, 1.0, 0.6).rows("w")
                 attribution  absolute
            row
            0            0.0       1.0
            1            2.0       2.0
        """
        return self._along(tensor, 1, "row")

    def columns(self, tensor: str) -> pd.DataFrame:
        """Shares of the columns of a tensor's rows.

        Args:
            tensor: Its name.

        Returns:
            One line a column: attribution and absolute, in nats.

        Raises:
            EffectsError: There is no such tensor.

        Example:
            >>> attribution = Attribution({"w": np.array([[-0.5, 0.5], [1.0, 1.0]], np.float32)}, 1.0, 0.6)
            >>> attribution.columns("w")["absolute"].tolist()
            [1.5, 1.5]
        """
        return self._along(tensor, 0, "column")

    def _along(self, tensor: str, axis: int, name: str) -> pd.DataFrame:
        import pandas as pd

        if tensor not in self.arrays:
            raise EffectsError(f"tensor must be one that was pruned, got {tensor!r}")
        array = self.arrays[tensor]
        rows = array.reshape(row_shape(array.shape))
        sums = {"attribution": rows.sum(axis=axis, dtype=np.float64), "absolute": _absolute(rows, axis)}
        return pd.DataFrame(sums).rename_axis(name)

    def save(self, path: str | Path, *, overwrite: bool = False) -> Path:
        """Write it into a safetensors file, whole or not at all.

        Args:
            path: The file; one that is there is replaced if it is an attribution itself.
            overwrite: It is replaced whatever it is.

        Returns:
            The path.

        Raises:
            EffectsError: Something else is there.
            OSError: The disk refuses.

        Example:
            >>> import tempfile
            >>> attribution = Attribution({"w": np.zeros((1, 2), np.float32)}, 1.0, 0.6)
            >>> with tempfile.TemporaryDirectory() as folder:
            ...     Attribution.load(attribution.save(Path(folder) / "a.safetensors")).fine_tuned_loss
            0.6
        """
        from ken.evaluation.effects import attribution_file

        about = {name: getattr(self, name) for name in attribution_file.FIELDS}
        return attribution_file.save(self.arrays, about, path, overwrite=overwrite)

    @classmethod
    def load(cls, path: str | Path) -> Attribution:
        """Open a file that `save` has written; arrays are mapped into memory.

        Args:
            path: The file.

        Returns:
            The attribution.

        Raises:
            FormatError: It is none.

        Example:
            >>> import tempfile
            >>> attribution = Attribution({"w": np.ones((1, 2), np.float32)}, 1.0, 0.6)
            >>> with tempfile.TemporaryDirectory() as folder:
            ...     Attribution.load(attribution.save(Path(folder) / "a.safetensors"))["w"].tolist()
            [[1.0, 1.0]]
        """
        from ken.evaluation.effects import attribution_file

        return cls(**attribution_file.load(path))


def _absolute(rows: NDArray[np.float32], axis: int) -> NDArray[np.float64]:
    """Sums of absolute values along an axis, some rows at a time."""
    starts = range(0, len(rows), _ROWS)
    parts = [np.abs(rows[start : start + _ROWS]).sum(axis=axis, dtype=np.float64) for start in starts]
    if not parts:
        return np.zeros(rows.shape[1 - axis])
    return np.concatenate(parts) if axis else np.sum(parts, axis=0)
