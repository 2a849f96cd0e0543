"""plan: what a k would retain of a model, from its shapes alone; and which k retains a wanted total."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from numpy.typing import NDArray

from ken.errors import BudgetError, FormatError, PairingError
from ken.models.checkpoints import quantised, unmerged
from ken.models.checkpoints.architecture import build_class
from ken.models.checkpoints.checkpoint import read
from ken.models.checkpoints.checkpoint_files import CONFIG, has_weights
from ken.models.checkpoints.dequantised.gguf_file import is_gguf
from ken.models.checkpoints.hub import config_of, locate
from ken.models.checkpoints.location import Location, place_of
from ken.models.checkpoints.remote.remote_reader import open_reader
from ken.models.checkpoints.state_dicts import arrays_as_tensors
from ken.models.named_tables import named_table
from ken.models.pairing.rows import K, row_budget, row_shape
from ken.models.tensors.tensor_bytes import dtype_name
from ken.pruning.patterns import check_patterns
from ken.pruning.selection import Selection
from ken.rules import SCOPES, check_scope

if TYPE_CHECKING:
    import pandas as pd
    import torch
    from transformers import PreTrainedConfig

#: What a plan can be made for: a configuration, a module (on any device, meta included), a state dict, a folder or
#: file, a config.json, or a place on the hub, of which the configuration alone is got.
Planned: TypeAlias = (
    "PreTrainedConfig | torch.nn.Module | Mapping[str, torch.Tensor | NDArray[Any]] | str | Path | Location"
)


@dataclass(frozen=True, slots=True)
class PlannedTensor:
    """A tensor by its shape, and what a plan retains of it.

    Attributes:
        name: Its name.
        shape: Its shape.
        dtype: Name of its dtype.
        retained: How many of its entries are retained.
        reason: Why it is carried whole; empty if it is pruned.
        cut: How it is cut into rows, if not by its shape.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    retained: int
    reason: str
    cut: str = ""

    @property
    def entries(self) -> int:
        """Entries of the whole tensor."""
        return math.prod(self.shape)


@dataclass(frozen=True, slots=True)
class Plan:
    """What k retains of each tensor. Tied tensors count once.

    Attributes:
        k: Entries of every row, a share of the row, or a mapping from name pattern to either.
        tensors: The tensors in model order.
        scope: Over what k is counted. With "model" it is known how many entries are retained of all tensors, and not
            how many of each: those of a pruned tensor are what its rows bring into the shared budget.
    """

    k: K
    tensors: tuple[PlannedTensor, ...]
    scope: str = "row"

    @property
    def entries(self) -> int:
        """Entries of the model."""
        return sum(tensor.entries for tensor in self.tensors)

    @property
    def retained(self) -> int:
        """Entries that k retains, those of carried tensors included."""
        return sum(tensor.retained for tensor in self.tensors)

    def table(self) -> pd.DataFrame:
        """The plan as a table.

        Returns:
            One row for every tensor: status, reason, shape, dtype, rows, row_length, entries, retained, share. With
            scope "model" retained and share of pruned tensors are NaN, as the values decide.
        """
        lines = [
            (
                tensor.name,
                "carried" if tensor.reason else "pruned",
                tensor.reason,
                tensor.shape,
                tensor.dtype,
                *row_shape(tensor.shape, tensor.cut),
                tensor.entries,
                retained := float("nan") if self.scope == "model" and not tensor.reason else tensor.retained,
                retained / tensor.entries if tensor.entries else float("nan"),
            )
            for tensor in self.tensors
        ]
        columns = ["tensor", "status", "reason", "shape", "dtype", "rows", "row_length", "entries", "retained", "share"]
        return named_table(lines, columns).set_index("tensor")

    def __str__(self) -> str:
        share = f" ({100 * self.retained / self.entries:.1f} %)" if self.entries else ""
        over = "" if self.scope == "row" else f", counted over {SCOPES[self.scope]},"
        unknown = "; how many of each tensor, the values decide" if self.scope == "model" else ""
        return f"k = {self.k}{over} retains {self.retained:,} of {self.entries:,} entries{share}{unknown}"


def plan(
    model: Planned,
    k: K | None = None,
    *,
    total: float | None = None,
    include: Sequence[str] = (),
    exclude: Sequence[str] = (),
    layers_only: bool = False,
    rows: Mapping[str, str] | None = None,
    scope: str = "row",
    model_class: str | None = None,
) -> Plan:
    """What `ken.prune` with that k would retain; or which k per row comes closest to retaining a total.

    Nothing is read but shapes: a model of any size takes seconds. Every floating-point parameter is counted as pruned
    unless include, exclude or layers_only say otherwise: whether it has a pretrained counterpart is not known here.

    Args:
        model: A configuration, a module (on any device, meta included), a state dict, a checkpoint folder or file, a
            config.json, or a place on the hub (as `ken.prune` takes it), of which the configuration alone is got. A
            configuration is built without memory, on torch's meta device.
        k: As in `ken.prune`.
        total: Instead of k, about how many entries to retain of the whole model.
        include: As in `ken.prune`.
        exclude: As in `ken.prune`.
        layers_only: As in `ken.prune`.
        rows: As in `ken.prune`.
        scope: As in `ken.prune`. It makes no difference to the total, nor with "tensor" to any tensor.
        model_class: Name of the transformers class to build a configuration as; by default the one that it names, or
            the bare model.

    Returns:
        The plan: `table()` has a line for every tensor.

    Raises:
        BudgetError: k or total is out of range, both or neither are given, or a pattern matches no tensor.
        RuleError: There is no such scope.
        PairingError: That is no model.

    Example:
        >>> import torch
        >>> layer = torch.nn.Linear(100, 10, device="meta")
        >>> print(plan(layer, k=30))
        k = 30 retains 310 of 1,010 entries (30.7 %)
        >>> plan(layer, total=508).k
        50
    """
    check_scope("ken", scope)
    if (k is None) == (total is None):
        raise BudgetError("a plan needs either k or total")
    selection = Selection(
        k=1 if k is None else k, include=include, exclude=exclude, layers_only=layers_only, rows=rows or {}
    )
    shapes = list(_shapes(model, model_class))
    tied = {shape.name: shape.tied for shape in shapes if shape.tied}
    check_patterns(selection, [shape.name for shape in shapes], tied=tied, model="the model")
    tensors = [shape for shape in shapes if not shape.tied]
    if total is not None:
        selection = replace(selection, k=_k_for(total, tensors, selection))
    assert selection.k is not None  # it was 1 at least
    return Plan(selection.k, tuple(_planned(tensors, selection)), scope)


@dataclass(frozen=True, slots=True)
class _Shape:
    name: str
    shape: tuple[int, ...]
    dtype: str
    floating: bool
    buffer: bool
    tied: str = ""  # the name under which it counts, if that is another


def _planned(tensors: Sequence[_Shape], selection: Selection) -> Iterator[PlannedTensor]:
    for tensor in tensors:
        rows, n = row_shape(tensor.shape, cut := selection.cut_of(tensor.name))
        reason = "buffer" if tensor.buffer else "" if tensor.floating else f"{tensor.dtype}, not floating-point"
        reason = reason or ("empty" if rows * n == 0 else selection.reason_to_carry(tensor.name))
        k = selection.k_of(tensor.name)
        retained = rows * n if reason or k is None else rows * row_budget(k, n)
        yield PlannedTensor(tensor.name, tensor.shape, tensor.dtype, retained=retained, reason=reason, cut=cut)


def _k_for(total: float, tensors: Sequence[_Shape], selection: Selection) -> int:
    """The k per row that retains closest to total; of two equally close, the smaller."""
    shapes = {tensor.name: row_shape(tensor.shape, selection.cut_of(tensor.name)) for tensor in tensors}
    first = list(_planned(tensors, selection))
    carried = sum(tensor.entries for tensor in first if tensor.reason)
    pruned = [shapes[tensor.name] for tensor in first if not tensor.reason]

    def retained(k: int) -> int:
        return carried + sum(rows * min(k, n) for rows, n in pruned)

    longest = max((n for _, n in pruned), default=0)
    if not longest or not retained(1) <= total <= retained(longest):
        least, most = (retained(1), retained(longest)) if longest else (carried, carried)
        raise BudgetError(f"total must be between {least:,} (k = 1) and {most:,} (everything), got {total:,.0f}")
    k = bisect_left(range(1, longest + 1), total, key=retained) + 1
    return k - 1 if k > 1 and total - retained(k - 1) <= retained(k) - total else k


def _shapes(model: Planned, model_class: str | None) -> Iterator[_Shape]:
    import torch

    if isinstance(model, str | Path | Location):
        place = place_of(model)
        path = config_of(model) or (place.path if place.on_disk else locate(model))
        _refuse_subnetwork(path)
        if model_class is None and (is_gguf(path) or has_weights(path)):
            checkpoint = read(path)
            model = {name: tensor for name, tensor in checkpoint.tensors.items() if name not in checkpoint.tied}
        else:
            model = _built(_config(str(path)), model_class)
    elif not isinstance(model, torch.nn.Module | Mapping):
        model = _built(model, model_class)
    if isinstance(model, torch.nn.Module):
        trained = {id(parameter) for parameter in model.parameters()}
        state: Mapping[str, Any] = model.state_dict(keep_vars=True)
    else:
        trained, state = set(), arrays_as_tensors(model)
    unmerged.check(state)
    quantised.check(state)
    seen: dict[int, tuple[str, torch.Tensor]] = {}  # kept, so that no other tensor can get the same identity
    for name, tensor in state.items():
        if not isinstance(tensor, torch.Tensor):
            raise PairingError(f"{name}: a state dict must hold tensors, got {type(tensor).__name__}")
        first, _ = seen.setdefault(id(tensor), (name, tensor))
        buffer = bool(trained) and id(tensor) not in trained
        kind = dtype_name(tensor.dtype), tensor.is_floating_point(), buffer
        yield _Shape(name, tuple(tensor.shape), *kind, tied="" if first == name else first)


def _refuse_subnetwork(path: Path) -> None:
    from ken.storage.schema import RECORD

    try:
        is_subnetwork = path.is_file() and RECORD in open_reader(path).metadata
    except FormatError:  # whatever else it is
        return
    if is_subnetwork:
        raise PairingError(
            f"{path} is a subnetwork, and what it retains is decided already: ken info says it; a plan needs the model "
            "that is to be pruned"
        )


def _config(source: str) -> PreTrainedConfig:
    """The configuration in a folder or a file."""
    import transformers

    path = Path(source)
    if path.is_dir() and not (path / CONFIG).is_file():
        raise PairingError(f"the folder {path} has neither weights nor {CONFIG}")
    try:
        config: PreTrainedConfig = transformers.AutoConfig.from_pretrained(source)
    except (OSError, ValueError, KeyError) as error:
        raise PairingError(f"there is no configuration to be had for {source!r}: {error}") from None
    return config


def _built(config: Any, model_class: str | None) -> torch.nn.Module:
    """The model of a configuration, without memory for its weights."""
    import torch
    import transformers

    if not isinstance(config, transformers.PreTrainedConfig):
        raise PairingError(f"a plan needs a configuration, a model or a path, got {type(config).__name__}")
    name = model_class or next(iter(config.architectures or ()), None)
    with torch.device("meta"), torch.random.fork_rng(devices=[]):
        if name is not None:
            return build_class(name)(config)
        model: torch.nn.Module = transformers.AutoModel.from_config(config)
        return model
