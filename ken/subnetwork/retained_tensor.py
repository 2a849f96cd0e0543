"""What is stored of a pruned tensor: the entries that stay fine-tuned."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ken.errors import SubnetworkError
from ken.models.pairing.rows import row_shape
from ken.models.tensors.tensor_bytes import Reference, bits_of, bytes_of, digest, dtype_name, fingerprint, new_digest
from ken.models.tensors.tensor_reader import STRETCH, Entries

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, eq=False)
class RetainedTensor:
    """The entries of one tensor that stay fine-tuned.

    shape and dtype are those of the fine-tuned tensor. bits is the mask, packed in C order, eight entries a byte, the
    first in the highest bit (uint8, as `numpy.packbits` writes it; spare bits are 0). ulps are the retained entries in
    C order, each as its distance from the pretrained value in units in the last place (unsigned, as wide as the dtype,
    see `ken.subnetwork.ulp_distances`), or if raw its distance from 0.0, which is the value itself. pretrained is the
    tensor that reset entries (and distances) rely on; fine_tuned and result are fingerprints, of the tensor that was
    pruned and of the one that injection gives. cut says how the tensor was cut into rows
    (`ken.models.pairing.rows.CUTS`, empty: by its shape).

    >>> import torch
    >>> zeros = torch.zeros(2, 2)
    >>> mask = np.array([[True, False], [False, True]])
    >>> RetainedTensor.of(torch.tensor([[1.0, 2.0], [3.0, 4.0]]), mask, zeros).onto(zeros).tolist()
    [[1.0, 0.0], [0.0, 4.0]]
    """

    shape: tuple[int, ...]
    dtype: torch.dtype
    bits: NDArray[np.uint8]
    ulps: NDArray[np.unsignedinteger]
    pretrained: Reference
    fine_tuned: str
    result: str
    raw: bool = False
    cut: str = ""

    def __post_init__(self) -> None:
        if self.bits.dtype != np.uint8 or self.bits.shape != (-(-self.entries // 8),):
            raise SubnetworkError(
                f"the mask of {self.entries} entries must be uint8 of ({-(-self.entries // 8)},), "
                f"got {self.bits.dtype} of {self.bits.shape}"
            )
        spare = -self.entries % 8
        if spare and self.bits[-1] & ((1 << spare) - 1):
            raise SubnetworkError(f"the {spare} spare bits behind the mask must be 0")
        marked = int(np.bitwise_count(self.bits).sum())
        if self.ulps.shape != (marked,) or self.ulps.dtype != f"u{self.dtype.itemsize}":
            raise SubnetworkError(
                f"the mask retains {marked} entries of {dtype_name(self.dtype)}, "
                f"but distances of shape {self.ulps.shape} and dtype {self.ulps.dtype} were given"
            )
        check_grown(self.shape, self.pretrained.shape)

    def __eq__(self, other: object) -> bool:
        """Whether the same entries of the same tensor are retained, at the same values; however they are stored."""
        if not isinstance(other, RetainedTensor):
            return NotImplemented
        if self._about != other._about:
            return False
        return np.array_equal(self.bits, other.bits) and (
            self.raw != other.raw or np.array_equal(self.ulps, other.ulps)
        )

    def __hash__(self) -> int:
        return hash(self._about)

    @property
    def _about(self) -> tuple[Any, ...]:
        return self.shape, self.dtype, self.cut, self.retained, self.pretrained, self.fine_tuned, self.result

    @classmethod
    def of(
        cls,
        fine_tuned: torch.Tensor,
        mask: NDArray[np.bool_],
        pretrained: torch.Tensor,
        name: str = "",
        raw: bool = False,
    ) -> RetainedTensor:
        """Take the masked entries out of a fine-tuned tensor; mask is bool, of its shape or of its rows.

        name is that of the pretrained tensor.
        """
        from ken.subnetwork.extract import InMemory, take

        marks = np.ascontiguousarray(mask).reshape(-1)
        if marks.size != fine_tuned.numel():
            raise SubnetworkError(f"the mask has {marks.size} entries, the tensor {fine_tuned.numel()}")
        check_grown(tuple(fine_tuned.shape), tuple(pretrained.shape))
        sink = InMemory(marks.size, fine_tuned.element_size(), int(marks.sum()))
        found = take(
            Entries.from_tensor(fine_tuned),
            Entries.from_tensor(pretrained),
            (marks.size, 1),
            lambda start, ours, _: marks[start : start + len(ours)],
            sink,
            raw=raw,
        )
        there = Reference(name, tuple(pretrained.shape), pretrained.dtype, found.pretrained)
        shape, dtype = tuple(fine_tuned.shape), fine_tuned.dtype
        return cls(shape, dtype, sink.bits, sink.ulps, there, found.fine_tuned, found.result, raw)

    def decoded(self) -> RetainedTensor:
        """The same in memory, without any file."""
        return self

    @property
    def entries(self) -> int:
        """Entries of the whole tensor, retained or reset."""
        return math.prod(self.shape)

    @property
    def retained(self) -> int:
        """Entries that stay fine-tuned."""
        return len(self.ulps)

    @property
    def unchanged(self) -> bool:
        """Whether fine-tuning left the whole tensor as it was."""
        there = self.pretrained
        return (self.shape, self.dtype, self.fine_tuned) == (there.shape, there.dtype, there.fingerprint)

    def mask(self) -> NDArray[np.bool_]:
        """The mask, bool, in the tensor's shape: True where retained."""
        return np.unpackbits(self.bits, count=self.entries).view(np.bool_).reshape(self.shape)

    @property
    def row_shape(self) -> tuple[int, int]:
        """(rows, row length)."""
        return row_shape(self.shape, self.cut)

    def row_mask(self, wanted: slice | None = None) -> NDArray[np.bool_]:
        """The mask as (rows, row length), cut as the tensor was; only some rows if a slice is given.

        Nothing but the bits of the wanted rows is unpacked. The slice has no step.
        """
        rows, n = self.row_shape
        first, last, _ = (wanted or slice(None)).indices(rows)
        start, stop = first * n, max(first, last) * n
        bits = np.unpackbits(self.bits[start // 8 : -(-stop // 8)])[start % 8 : start % 8 + stop - start]
        return bits.view(np.bool_).reshape(max(0, last - first), n)

    def check(self, pretrained: torch.Tensor) -> None:
        """Raise `SubnetworkError` unless this is, bit for bit, the pretrained tensor that the subnetwork relies on."""
        self._check_kind(tuple(pretrained.shape), pretrained.dtype)
        self._check_pretrained(fingerprint(pretrained))

    def _check_kind(self, shape: tuple[int, ...], dtype: torch.dtype) -> None:
        there = self.pretrained
        if shape != there.shape or dtype != there.dtype:
            raise SubnetworkError(
                f"the subnetwork was made with a pretrained tensor of {dtype_name(there.dtype)} {there.shape}, "
                f"this one is {dtype_name(dtype)} {shape}"
            )

    def _check_pretrained(self, found: str) -> None:
        expected = self.pretrained.fingerprint
        if found != expected:
            held = "it holds this subnetwork already" if found == self.result else "its values are others"
            raise SubnetworkError(
                f"this is not the pretrained tensor that the subnetwork was made with: {held} "
                f"(fingerprint {found}, expected {expected})"
            )

    def onto(self, pretrained: torch.Tensor) -> torch.Tensor:
        """A new tensor: retained entries from here, all others from the pretrained tensor, bit for bit.

        It has the fine-tuned shape and dtype and the pretrained tensor's device. A pretrained value of another
        dtype is cast. Where the fine-tuned tensor has extra leading rows, those are retained whole. The pretrained
        tensor is checked first, as `check` says.
        """
        self.check(pretrained)
        return self.merged(pretrained)

    def merged(self, pretrained: torch.Tensor) -> torch.Tensor:
        """`onto` for a tensor that has been checked."""
        from ken.subnetwork import ulp_distances

        self._check_reset_rows()
        merged = _base(pretrained, self.shape, self.dtype, copy=True)
        bits = bits_of(merged)
        ulp_distances.exchange(bits, None, (self.bits, self.relative_to(bits)))
        self.prove(bits)
        return merged.to(pretrained.device)

    def stretches(self, pretrained: Entries) -> Iterator[NDArray[Any]]:
        """What `onto` gives, as flat bits, a stretch at a time; with the last of them, all has been checked.

        Whoever uses them must be able to take that back: an error may come late.
        """
        from ken.subnetwork import ulp_distances
        from ken.subnetwork.extract import base_bits

        self._check_kind(pretrained.shape, pretrained.dtype)
        self._check_reset_rows()
        distances = self.distances()
        before, after = new_digest(), new_digest()
        for start in range(0, self.entries, STRETCH):
            stop = min(start + STRETCH, self.entries)
            theirs = pretrained.read(*(min(at, pretrained.count) for at in (start, stop)))
            before.update(bytes_of(theirs))
            values = base_bits(theirs, self.dtype, stop - start)
            bits = self.bits[start // 8 : -(-stop // 8)]
            up = distances(ulp_distances.marked_in(bits))
            if self.raw:
                up = up - ulp_distances.take(values, np.zeros_like(values), bits, up.size)
            ulp_distances.exchange(values, None, (bits, up))
            after.update(values.data)
            yield values
        self._check_pretrained(before.hexdigest())
        self._prove(after.hexdigest())

    def distances(self) -> Callable[[int], NDArray[Any]]:
        """A function that gives the distances one after the other, as many as it is asked for."""
        return in_turn(lambda start, stop: self.ulps[start:stop])

    @property
    def proven(self) -> bool:
        """Whether injection has once given what the subnetwork promises."""
        return bool(self.__dict__.get("_proven"))

    def prove(self, injected: NDArray[np.unsignedinteger]) -> None:
        """Raise `SubnetworkError` unless these bits (flat) are what injection must give."""
        self._prove(digest(injected.data))

    def _prove(self, found: str) -> None:
        if found != self.result:
            raise SubnetworkError("injected, the tensor is not what the subnetwork promises: its file is damaged")
        self.__dict__["_proven"] = True

    def relative_to(self, base: NDArray[np.unsignedinteger]) -> NDArray[np.unsignedinteger]:
        """The distances from the given pretrained bits (flat), whether they are stored like that or not."""
        if not self.raw:
            return self.ulps
        from ken.subnetwork import ulp_distances

        return self.ulps - ulp_distances.take(base, np.zeros_like(base), self.bits, self.retained)

    def _check_reset_rows(self) -> None:
        if self.pretrained.shape == self.shape:
            return
        start = math.prod(self.pretrained.shape)
        added = np.unpackbits(self.bits[start // 8 :])[start % 8 : start % 8 + self.entries - start]
        if not added.all():
            rows = self.pretrained.shape[0]
            raise SubnetworkError(f"rows from {rows} on are reset, but the pretrained tensor ends there")


def in_turn(get: Callable[[int, int], NDArray[Any]]) -> Callable[[int], NDArray[Any]]:
    """From a function of (start, stop) to one of how many more."""
    at = 0

    def take(count: int) -> NDArray[Any]:
        nonlocal at
        at += count
        return get(at - count, at)

    return take


def check_grown(shape: tuple[int, ...], pretrained: tuple[int, ...]) -> None:
    """Raise `SubnetworkError` unless the shapes are equal, or differ in extra leading rows of the first alone."""
    grown = len(pretrained) == len(shape) > 0 and pretrained[1:] == shape[1:] and pretrained[0] < shape[0]
    if pretrained != shape and not grown:
        raise SubnetworkError(f"the subnetwork has shape {shape}, the pretrained tensor {pretrained}")


def _base(pretrained: torch.Tensor, shape: tuple[int, ...], dtype: torch.dtype, copy: bool = False) -> torch.Tensor:
    """The pretrained tensor on the CPU in the fine-tuned dtype and shape, in C order; rows it does not have are 0."""
    import torch

    if tuple(pretrained.shape) == shape:
        found = pretrained.detach().to("cpu", dtype)
        if not copy:
            return found
        return torch.empty(shape, dtype=dtype).copy_(found)
    base = torch.zeros(shape, dtype=dtype)
    base[: pretrained.shape[0]].copy_(pretrained.detach())
    return base
