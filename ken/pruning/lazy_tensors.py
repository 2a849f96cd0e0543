"""Tensors of a subnetwork that are decided when they are looked at: rows when rows are asked for, else as a whole.

LazyTensors    all of them by name; what has been decided of the latest ones is kept
LazyTensor     a pruned one: its shape and how many of it are retained is known, its rows are decided one by one
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ken.models.tensors.tensor_bytes import Reference, dtype_name
from ken.pruning.decided_rows import DecidedRows
from ken.pruning.lazy_carried import LazyCarried
from ken.pruning.lazy_decider import LazyDecider
from ken.pruning.paired_rows import PairedRows
from ken.rules.thresholds import Threshold
from ken.subnetwork.carried_tensor import CarriedTensor
from ken.subnetwork.outline import Outline
from ken.subnetwork.retained_tensor import RetainedTensor

if TYPE_CHECKING:
    import torch

    from ken.models.pairing.pairing import Pairing

#: What has been decided is kept while together it takes no more bytes than this; that of the latest tensor always is.
MOST_KEPT = 1 << 29


class LazyTensors(Mapping[str, "RetainedTensor | CarriedTensor"]):
    """The tensors of a pair by name, decided when they are looked at. Any thread may ask."""

    def __init__(self, decider: LazyDecider) -> None:
        self.decider = decider
        self._keeping = threading.Lock()
        self._reasons = decider.prepared.reasons
        self._tensors = {name: LazyTensor(self, tensor) for name, tensor in decider.prepared.tensors.items()}
        self._latest: OrderedDict[str, LazyTensor] = OrderedDict()
        self._outlines: dict[str, Outline] | None = None
        self._made: Mapping[str, Any] = {}

    def __getitem__(self, name: str) -> RetainedTensor | CarriedTensor:
        if reason := self._reasons[name]:
            return LazyCarried(self.decider.prepared.pairing, name, reason)
        return self._tensors[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._reasons)

    def __len__(self) -> int:
        return len(self._reasons)

    @property
    def outlines(self) -> Mapping[str, Outline]:
        """What is known of each. Where k does not tell how many entries are retained, that is counted first.

        Whether fine-tuning left a tensor as it was, and what decided about it, is known once it was decided whole.
        """
        return self._known()

    def _known(self) -> dict[str, Outline]:
        from tqdm.auto import tqdm

        with self.decider.lock:
            if self._outlines is None:
                hidden = self.decider.counts or not self.decider.progress
                names = tqdm(list(self), desc="count", unit="tensor", disable=hidden, delay=1.0, leave=False)
                self._outlines = {name: self._outline(name) for name in names}
            return self._outlines

    def _outline(self, name: str) -> Outline:
        prepared = self.decider.prepared
        tensor = prepared.pairing.fine_tuned.tensors[name]
        whole = Outline(tuple(tensor.shape), dtype_name(tensor.dtype), retained=tensor.numel(), reason=None)
        if reason := self._reasons[name]:
            return whole._replace(reason=reason)
        return whole._replace(retained=self._tensors[name].retained, cut=prepared.selection.cut_of(name))

    def adopt(self, made: Mapping[str, Any]) -> None:
        """All tensors have been decided, elsewhere: they are looked at there from now on."""
        with self.decider.lock:
            self._known().update({name: Outline.from_tensor(tensor) for name, tensor in made.items()})
            self._made = made

    # ---- for the tensors

    def made(self, name: str) -> RetainedTensor | None:
        """A tensor, if all have been decided elsewhere."""
        tensor: RetainedTensor | None = self._made.get(name)
        return tensor

    def settle(self, name: str, whole: RetainedTensor) -> None:
        """A tensor has been decided as a whole."""
        self._known()[name] = Outline.from_tensor(whole)

    def keep(self, tensor: LazyTensor) -> None:
        """A tensor has been looked at: others make room for it."""
        with self._keeping:
            self._latest[tensor.name] = tensor
            self._latest.move_to_end(tensor.name)
            while len(self._latest) > 1 and sum(one.nbytes for one in self._latest.values()) > MOST_KEPT:
                self._latest.popitem(last=False)[1].forget()


class LazyTensor(RetainedTensor):
    """A `ken.RetainedTensor` that is decided when it is looked at.

    `row_mask` decides the rows that are asked for, as far as they were not yet; `shape`, `dtype`, `cut` and `retained`
    decide nothing (but see `LazyTensors.outlines`); all else decides the whole tensor.
    """

    def __init__(self, owner: LazyTensors, paired: PairedRows) -> None:
        prepared = owner.decider.prepared
        self._owner, self._decider, self._paired, self.name = owner, owner.decider, paired, paired.name
        self.shape, self.dtype = paired.fine_tuned.shape, paired.fine_tuned.dtype
        self.raw, self.cut = prepared.raw, prepared.selection.cut_of(paired.name)
        self._rows = DecidedRows(paired.rows)
        self._own: RetainedTensor | None = None
        self._count: int | None = None

    @property
    def _whole(self) -> RetainedTensor | None:
        return self._own or self._owner.made(self.name)

    @property
    def nbytes(self) -> int:
        """Memory of what has been decided."""
        own = self._own
        return self._rows.nbytes + (0 if own is None else own.bits.nbytes + own.ulps.nbytes)

    def forget(self) -> None:
        """Give that memory back; what is asked for again is decided again, to the same."""
        self._rows, self._own = DecidedRows(self._paired.rows), None

    @property
    def retained(self) -> int:
        """Entries that stay fine-tuned: what k says, or counted when first asked for."""
        if self._count is None:
            self._count = self._decider.retained(self._paired)
        return self._count

    def decided_from(self, pairing: Pairing) -> bool:
        """Whether it is these very models that it is decided from."""
        own = self._decider.prepared.pairing
        return pairing.fine_tuned is own.fine_tuned and pairing.pretrained is own.pretrained

    # ---- rows

    def row_mask(self, wanted: slice | None = None) -> NDArray[np.bool_]:
        """The mask of some rows, which alone are read and decided; see `ken.RetainedTensor.row_mask`.

        Args:
            wanted: A slice of rows; by default all of them.

        Returns:
            Bool, (rows, row length).

        Raises:
            ValuesError: A value in these rows is NaN or infinite.
        """
        whole = self._whole
        return self._decided(wanted).masks(wanted) if whole is None else whole.row_mask(wanted)

    def decide(self, wanted: slice | None = None) -> None:
        """Decide rows, so that their mask is there when it is asked for; a bar appears if it takes over a second.

        Args:
            wanted: A slice of rows; by default all of them.

        Raises:
            ValuesError: A value in these rows is NaN or infinite.
        """
        if self._whole is None:
            self._decided(wanted)

    def undecided(self, wanted: slice | None = None) -> int:
        """How many of these rows have not been decided yet."""
        return 0 if self._whole is not None else self._rows.missing(wanted).size

    def _decided(self, wanted: slice | None) -> DecidedRows:
        rows = self._rows
        if rows.missing(wanted).size:
            self._decider.fill(self._paired, rows, wanted)
        self._owner.keep(self)
        return rows

    def retained_rows(self, wanted: slice) -> tuple[NDArray[np.bool_], NDArray[Any]]:
        """Mask and distances of some rows, which alone are decided; see `ken.RetainedTensor.retained_rows`.

        Args:
            wanted: A slice of rows, without step.

        Returns:
            Bool, (rows, row length); and a distance for each True.
        """
        whole = self._whole
        if whole is not None:
            return whole.retained_rows(wanted)
        mask = self.row_mask(wanted)
        return mask, self._decider.distances(self._paired, wanted.indices(self._paired.rows[0])[0], mask)

    # ---- the whole

    def decoded(self) -> RetainedTensor:
        """The same tensor in memory, all of it decided.

        Returns:
            An ordinary tensor.
        """
        with self._decider.lock:
            whole = self._whole
            if whole is None:
                whole = self._own = self._decider.whole(self._paired, self._rows, self.retained)
                self._owner.settle(self.name, whole)
                self._rows = DecidedRows(self._paired.rows)  # the whole has them
            self._owner.keep(self)
            return whole

    @property
    def bits(self) -> NDArray[np.uint8]:  # type: ignore[override]
        """The mask, packed."""
        return self.decoded().bits

    @property
    def ulps(self) -> NDArray[Any]:  # type: ignore[override]
        """The distances of the retained entries."""
        return self.decoded().ulps

    @property
    def pretrained(self) -> Reference:  # type: ignore[override]
        """The tensor that reset entries and distances rely on."""
        return self.decoded().pretrained

    @property
    def fine_tuned(self) -> str:  # type: ignore[override]
        """The fingerprint of the tensor that is pruned."""
        return self.decoded().fine_tuned

    @property
    def result(self) -> str:  # type: ignore[override]
        """The fingerprint of the tensor that injection gives."""
        return self.decoded().result

    @property
    def threshold(self) -> Threshold | None:  # type: ignore[override]
        """What decides about each entry where rows share a budget; it is found without deciding about any."""
        return self._decider.threshold(self._paired)

    @property
    def pretrained_dtype(self) -> torch.dtype:
        """The dtype of the pretrained tensor; nothing is decided for it."""
        return self._paired.pretrained.dtype
