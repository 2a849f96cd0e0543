"""What a rule is given: rows, and settings of how it looks at them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ken.density import NORMAL_REFERENCE, check_bandwidth, check_kernel
from ken.errors import RuleError, ValuesError
from ken.models.scalars import plain

Mask = NDArray[np.bool_]

#: What `Settings.on` may be: the values whose density is estimated.
VALUES = ("weights", "update", "pretrained")


def values_on(on: str, fine_tuned: NDArray[np.float64], pretrained: NDArray[np.float64]) -> NDArray[np.float64]:
    """The values that a rule with a density looks at.

    Args:
        on: One of `VALUES`.
        fine_tuned: The fine-tuned values, of any shape, float64.
        pretrained: The pretrained values, likewise.

    Returns:
        The fine-tuned values ("weights"), the update, or the pretrained values, in the same shape.

    Example:
        >>> values_on("update", np.array([1.0, 2.0]), np.array([0.5, 2.5])).tolist()
        [0.5, -0.5]
    """
    if on == "weights":
        return fine_tuned
    return pretrained if on == "pretrained" else fine_tuned - pretrained


@dataclass(frozen=True, slots=True)
class Settings:
    """The settings of rules that estimate a density; the defaults are those of "Less is KEN" (arXiv 2402.03142).

    Args:
        on: The values that such a rule looks at: "weights" (fine-tuned), "update" (fine-tuned minus pretrained), or
            "pretrained", by which every model of one pretrained model gets the same mask, whatever its task.
        bandwidth: One of `ken.density.BANDWIDTHS`, or a number above 0 in units of the values.
        kernel: One of `ken.density.KERNELS`.

    Raises:
        RuleError: Another value, or a bandwidth rule whose package is not installed.

    Example:
        >>> Settings(kernel="linear")
        Settings(on='weights', bandwidth='normal reference', kernel='linear')
    """

    on: str = "weights"
    bandwidth: str | float = NORMAL_REFERENCE
    kernel: str = "gaussian"

    def __post_init__(self) -> None:
        if self.on not in VALUES:
            raise RuleError(f"on must be one of {', '.join(VALUES)}, got {self.on!r}")
        object.__setattr__(self, "bandwidth", plain(self.bandwidth))
        check_bandwidth(self.bandwidth)
        check_kernel(self.kernel)


@dataclass(frozen=True, slots=True, eq=False)
class RowBlock:
    """Consecutive rows of one tensor, as a rule sees them.

    Rules that draw at random are seeded by tensor, number of the row and seed, and by nothing else.

    Args:
        fine_tuned: The fine-tuned values, (rows, n) float64, finite.
        pretrained: The pretrained values, likewise.
        tensor: Name of the tensor.
        first_row: Number of the first of these rows in the tensor, from 0.
        seed: Seed of random rules.
        settings: Settings of rules that estimate a density.
        stood_in: Takes in the number of each row for which the bandwidth rule found none, so that the normal reference
            stands in (`ken.density.widths`).
        dtype: Name of the dtype in which the fine-tuned tensor is stored, whose values these are: "bfloat16".

    Example:
        >>> block = RowBlock(np.array([[1.0, 2.0]]), np.array([[0.5, 2.5]]), settings=Settings(on="update"))
        >>> block.values.tolist()
        [[0.5, -0.5]]
    """

    fine_tuned: NDArray[np.float64]
    pretrained: NDArray[np.float64]
    tensor: str = ""
    first_row: int = 0
    seed: int = 0
    settings: Settings = Settings()
    stood_in: list[int] = field(default_factory=list)
    dtype: str = "float64"

    @property
    def values(self) -> NDArray[np.float64]:
        """The values whose density is estimated, (rows, n): fine-tuned, updates or pretrained, by `Settings.on`."""
        return values_on(self.settings.on, self.fine_tuned, self.pretrained)


Rule = Callable[[RowBlock, int], Mask]


def check_finite(rows: NDArray[np.float64], side: str = "", first_row: int = 0) -> None:
    """Raise `ValuesError` for a value that is NaN or infinite, which no rule can rank."""
    if not np.isfinite(rows).all():
        row, column = np.argwhere(~np.isfinite(rows))[0]
        raise ValuesError(
            f"{side}values must be finite, got {rows[row, column]} in row {first_row + row}, column {column}"
        )
