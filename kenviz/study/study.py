"""Study: a subnetwork and its pair, opened once, and what several views need of them, computed when it is needed."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from functools import cached_property, partial
from typing import Any, Generic, TypeVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray

import ken
from ken.retention import PairOfModels
from ken.storage import models_of
from ken.subnetwork import check_tensor, injected_rows, open_for
from kenviz.study.entry_effects import EntryEffects
from kenviz.tiles.mask_tiles import Pyramid
from kenviz.tiles.neighbour_tiles import Neighbours
from kenviz.tiles.sampled import SampledPyramid
from kenviz.tiles.value_tiles import Values

# Decoded tensors, and pyramids, are kept while together they take no more bytes than this; the latest always is.
_MOST_KEPT = 1 << 28

#: Of a larger tensor that is decided as it is looked at, evenly spaced rows of so many entries are decided at first: by
#: the slower rules that takes less than a second on two processors.
FIRST_LOOK = 1 << 23

T = TypeVar("T")


class Study:
    """What is looked at: net, and pair, None if there is only a subnetwork. Views of one study share what it holds.

    Of a net that is decided as it is looked at (`ken.prune` with lazy=True) no more is decided than what is asked for.

    effects: what is known of what entries do to the model, for their cards; None if nothing.

    Raises `ValueError` (`ken.KenError`) if the models are not those of the subnetwork: as far as a quick look at its
    smallest tensors tells at once, of any other tensor when its values are first looked at.

    >>> import torch
    >>> pair = ken.Pair({"w": torch.arange(8.0).reshape(2, 4)}, {"w": torch.zeros(2, 4)})
    >>> study = Study(ken.prune(*pair, k=2), pair)
    >>> study.mask("w").sum(axis=1).tolist()
    [2, 2]
    >>> Study.open(study.net, study) is study
    True
    """

    def __init__(
        self, net: ken.Subnetwork, pair: PairOfModels | None = None, effects: EntryEffects | None = None
    ) -> None:
        self.net, self.pair, self.effects = net, pair, effects
        self.lock = threading.RLock()  # of the views of this study: with several, two threads could wait for each other
        self._outlines = {name: outline for name, outline in net.outlines.items() if outline.reason is None}
        self.models: Any = None if pair is None else open_for(net, pair)
        self._recognised: set[str] = set()
        self._tensors: _Recent[ken.RetainedTensor] = _Recent(lambda tensor: tensor.bits.nbytes + tensor.ulps.nbytes)
        self._looks: _Recent[SampledPyramid] = _Recent(lambda pyramid: pyramid.nbytes)
        self._pyramids: _Recent[Pyramid] = _Recent(lambda pyramid: pyramid.nbytes)
        self._values: _Recent[Values] = _Recent(lambda values: values.nbytes)
        self._neighbours: _Recent[Neighbours] = _Recent(lambda neighbours: neighbours.nbytes)

    @classmethod
    def open(cls, net: ken.Subnetwork, pair: PairOfModels | Study | None) -> Study:
        """The study of a subnetwork and a pair; a study itself stays what it is."""
        if not isinstance(pair, Study):
            return cls(net, pair)
        if pair.net is not net:
            raise ValueError("the study is of another subnetwork")
        return pair

    # A study stands wherever a pair does.
    @property
    def fine_tuned(self) -> Any:
        """The fine-tuned model."""
        return self._pair().fine_tuned

    @property
    def pretrained(self) -> Any:
        """The pretrained model."""
        return self._pair().pretrained

    def _pair(self) -> PairOfModels:
        if self.pair is None:
            raise ValueError("this needs the pair of models, and only a subnetwork was given")
        return self.pair

    def reads(self) -> dict[str, Any]:
        """What is looked at, by what it is called: no page may take its place."""
        effects = {} if self.effects is None else self.effects.reads
        return {"the subnetwork": self.net, **effects, **models_of(self.pair)}

    @property
    def tensors(self) -> list[str]:
        """Names of the pruned tensors, in model order."""
        return list(self._outlines)

    def check(self, tensor: str) -> str:
        """The name of a pruned tensor, as it is; raises `ValueError` for any other."""
        if not self._outlines:
            raise ValueError("the subnetwork has no pruned tensor to show")
        if tensor not in self._outlines:
            choice = f"one of {len(self._outlines)}, such as {next(iter(self._outlines))!r}"
            raise ValueError(f"tensor must be a pruned one, {choice}; got {tensor!r}")
        return tensor

    def largest(self) -> str:
        """The matrix with the most entries, or the vector: what is looked at first.

        Of a net that is decided as it is looked at, the largest that is decided at once.
        """
        if not self.tensors:
            self.check("")
        table = self.shares
        matrices = table[table["rows"] > 1]
        entries = (table if matrices.empty else matrices)["entries"]
        if self.net.lazy:
            at_once = entries[entries <= FIRST_LOOK]
            return str(entries.idxmin() if at_once.empty else at_once.idxmax())
        return str(entries.idxmax())

    def shape(self, tensor: str) -> tuple[int, int]:
        """(rows, row length) of a pruned tensor."""
        return self._shapes[self.check(tensor)]

    def stack(self, tensor: str) -> tuple[int, int] | None:
        """(experts, rows of each) of a pruned tensor that stacks matrices along its first axis; else None."""
        shape = self._outlines[self.check(tensor)].shape
        stacked = len(shape) == 3 and self.shape(tensor) == (shape[0] * shape[1], shape[2])
        return (shape[0], shape[1]) if stacked else None

    def place_in_stack(self, tensor: str, row: int) -> str:
        """Which expert of a stack that row is in, in words; empty if the tensor is no stack."""
        stack = self.stack(tensor)
        if stack is None:
            return ""
        expert, inside = divmod(row, stack[1])
        return f"expert {expert} of {stack[0]:,} (from 0), row {inside:,} of its {stack[1]:,}"

    def tensor(self, tensor: str) -> ken.RetainedTensor:
        """What was retained of a tensor. Those asked for last stay decoded."""
        if self.net.lazy:  # which keeps what has been decided of the latest ones itself
            return self.net.pruned()[self.check(tensor)]
        return self._tensors.get(self.check(tensor), lambda: self.net.pruned()[tensor])

    def decide(self, tensor: str) -> None:
        """Decide every row of a tensor, if that is left to do: what is shown of it is exact from then on."""
        if self.net.lazy:
            stored: Any = self.tensor(tensor)
            stored.decide()

    def sampled(self, tensor: str) -> int:
        """n, where every n-th row of a tensor is decided for a first look at all of it; 1 if every row is."""
        rows, n = self.shape(tensor)
        if not self.net.lazy or rows * n <= FIRST_LOOK:
            return 1
        stored: Any = self.tensor(tensor)
        return 1 << (-(-rows * n // FIRST_LOOK) - 1).bit_length() if stored.undecided() else 1

    def look(self, tensor: str) -> Pyramid:
        """Counts for a first look into a tensor's mask, from rows that are `sampled`."""
        every = self.sampled(tensor)
        if every == 1:
            return self.pyramid(tensor)

        def make() -> SampledPyramid:
            stored: Any = self.tensor(tensor)
            stored.decide(slice(None, None, every))
            return SampledPyramid(self.shape(tensor), partial(self.mask, tensor), every)

        return self._looks.get(tensor, make)

    def mask(self, tensor: str, rows: slice | None = None) -> NDArray[np.bool_]:
        """Mask of a tensor, or of some of its rows: (rows, n) bool."""
        return self.tensor(tensor).row_mask(rows)

    def pyramid(self, tensor: str) -> Pyramid:
        """Counts for any zoom into a tensor's mask. Those asked for last are kept."""

        def make() -> Pyramid:
            self.decide(tensor)
            return Pyramid(self.shape(tensor), partial(self.mask, tensor))

        return self._pyramids.get(self.check(tensor), make)

    def values(self, tensor: str, show: str) -> Values:
        """Means for any zoom into a quantity (`kenviz.study.quantities`) of a tensor. Those asked for last are kept."""
        self._pair()

        def make() -> Values:
            if show == "retained":
                self.decide(tensor)
            return Values(self.shape(tensor), partial(self._quantity, tensor, show))

        return self._values.get(f"{show} {self.check(tensor)}", make)

    def _quantity(self, tensor: str, show: str, rows: slice) -> NDArray[Any]:
        """A quantity of some rows, (rows, n) float64, NaN where an entry has none."""
        fine_tuned, pretrained = self.rows(tensor, rows)
        if show == "fine_tuned":
            return fine_tuned
        if show == "pretrained":
            return pretrained
        if show == "retained":
            stored = self.stored(tensor, rows)
            return np.where(self.mask(tensor, rows), fine_tuned if stored is None else stored, np.nan)
        with np.errstate(over="ignore"):
            update = fine_tuned - pretrained
        return np.sign(update) if show == "sign" else update

    def neighbours(self, tensor: str) -> Neighbours:
        """Counts of retained neighbours in a tensor's mask, for any zoom. Those asked for last are kept."""

        def make() -> Neighbours:
            self.decide(tensor)
            return Neighbours(self.shape(tensor), partial(self.mask, tensor))

        return self._neighbours.get(self.check(tensor), make)

    def rows(self, tensor: str, wanted: slice) -> tuple[NDArray[Any], NDArray[Any]]:
        """Fine-tuned and pretrained rows, each (rows, n) float64; NaN where there is no pretrained value."""
        self.recognise(tensor)
        return self.models.rows(self.check(tensor), wanted)

    def stored(self, tensor: str, wanted: slice) -> NDArray[Any] | None:
        """Rows as injection gives them, (rows, n) float64; None if retained entries have their fine-tuned values."""
        if self.net.recipe.rescale == "none":
            return None
        return injected_rows(self.tensor(tensor), self.rows(tensor, wanted)[1], wanted)

    def recognise(self, tensor: str) -> None:
        """Raise `ValueError` if a tensor of the pair is not, bit for bit, the one that was pruned. It is read once."""
        self._pair()
        if self.check(tensor) not in self._recognised:
            check_tensor(tensor, self.net.pruned()[tensor], self.models)
            self._recognised.add(tensor)

    @cached_property
    def shares(self) -> pd.DataFrame:
        """What the subnetwork alone tells: layer, kind, rows, row_length, entries, retained, share by tensor."""
        table = self.net.table()
        lines = {name: line for line, name in enumerate(table.index)}  # `loc` takes no lone surrogate with pyarrow
        table = table.iloc[[lines[name] for name in self._outlines]]
        table = table[["rows", "row_length", "entries", "retained", "share"]]
        places = [ken.retention.place(str(name)) for name in table.index]
        table.insert(0, "layer", pd.Series([place.layer for place in places], table.index, dtype="Int64"))
        table.insert(1, "kind", [place.kind for place in places])
        return table

    @cached_property
    def _shapes(self) -> dict[str, tuple[int, int]]:
        rows, lengths = self.shares["rows"].tolist(), self.shares["row_length"].tolist()
        return dict(zip(self.shares.index, zip(rows, lengths, strict=True), strict=True))

    @cached_property
    def retention(self) -> ken.retention.Retention:
        """All retention statistics: reads both models once, when first asked for."""
        return ken.retention.measure(self.net, self, progress=False)

    def table(self, columns: Sequence[str] = ()) -> pd.DataFrame:
        """The retention table. If only columns of `shares` are named, nothing is read from the models."""
        if self.pair is None or (set(columns) <= set(self.shares.columns) and columns):
            return self.shares
        return self._table

    @cached_property
    def _table(self) -> pd.DataFrame:
        return self.retention.table()


class _Recent(Generic[T]):
    """Values by name, the latest asked for, as long as together they are not too large. Any thread may ask."""

    def __init__(self, size: Callable[[T], int]) -> None:
        self._size = size
        self._lock = threading.RLock()
        self._values: OrderedDict[str, T] = OrderedDict()

    def get(self, name: str, make: Callable[[], T]) -> T:
        """The value of that name, made if it is not there."""
        with self._lock:
            if name not in self._values:
                self._values[name] = make()
            self._values.move_to_end(name)
            while len(self._values) > 1 and sum(map(self._size, self._values.values())) > _MOST_KEPT:
                self._values.popitem(last=False)
            return self._values[name]
