"""What is stored of a pruned tensor: the entries that stay fine-tuned."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ken.errors import SubnetworkError
from ken.models.tensors.tensor_bytes import Reference, bits_of, bytes_of, dtype_name, fingerprint, new_digest
from ken.models.tensors.tensor_reader import STRETCH, Entries, in_turn
from ken.rules.thresholds import Threshold
from ken.subnetwork.row_access import RowAccess

if TYPE_CHECKING:
    import torch


@dataclass(eq=False)
class RetainedTensor(RowAccess):
    """The entries of one tensor that stay fine-tuned.

    Args:
        shape: The shape of the fine-tuned tensor.
        dtype: Its dtype, floating-point.
        bits: The mask, packed in C order, eight entries a byte, the first in the highest bit: uint8 of
            ceil(entries / 8), as `numpy.packbits` writes it. Spare bits are 0.
        ulps: The retained entries in C order, each as its distance from the pretrained value in units in the last place
            (`ken.subnetwork.ulp_distances`): one-dimensional, unsigned, as wide as dtype. If raw is set, its distance
            from 0.0, which is the value itself.
        pretrained: The tensor that reset entries and distances rely on.
        fine_tuned: The fingerprint of the tensor that was pruned.
        result: The fingerprint of the tensor that injection gives.
        raw: Whether ulps are distances from 0.0.
        cut: How the tensor was cut into rows (`ken.models.pairing.rows.CUTS`); empty: by its shape.
        threshold: The score that decided about each entry, where rows shared a budget and the rule has a score.

    Raises:
        SubnetworkError: The parts contradict each other.

    Example:
        >>> import torch
        >>> zeros, mask = torch.zeros(2, 2), np.array([[True, False], [False, True]])
        >>> tensor = RetainedTensor.of(torch.tensor([[1.0, 2.0], [3.0, 4.0]]), mask, zeros)
        >>> tensor.check(zeros)
        >>> tensor.onto(zeros).tolist(), tensor.mask().tolist() == mask.tolist(), tensor.decoded() is tensor
        ([[1.0, 0.0], [0.0, 4.0]], True, True)
        >>> next(tensor.stretches(Entries.from_tensor(zeros))).view(np.float32)
        array([1., 0., 0., 4.], dtype=float32)
        >>> np.array_equal(tensor.relative_to(np.zeros(4, np.uint32)), tensor.ulps)
        True
        >>> tensor.prove("another fingerprint")
        Traceback (most recent call last):
        ken.errors.SubnetworkError: injected, the tensor is not what the subnetwork promises: its file is damaged
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
    threshold: Threshold | None = None
    proven: bool = field(default=False, init=False, repr=False)

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
        """Take the masked entries out of a fine-tuned tensor.

        Args:
            fine_tuned: The tensor, floating-point.
            mask: True where it is retained; bool, of its shape or of its rows.
            pretrained: Its counterpart, of the same shape or with fewer leading rows.
            name: The name of the pretrained tensor.
            raw: Whether the values themselves are stored, not their distances.

        Returns:
            The retained entries.

        Raises:
            SubnetworkError: Mask and tensors do not fit.
            ValuesError: The fine-tuned dtype cannot hold a pretrained value.
        """
        from ken.subnetwork.extract import InMemory, take

        marks = np.ascontiguousarray(mask).reshape(-1)
        if marks.size != fine_tuned.numel():
            raise SubnetworkError(f"the mask has {marks.size} entries, the tensor {fine_tuned.numel()}")
        shape, base_shape = tuple(fine_tuned.shape), tuple(pretrained.shape)
        check_grown(shape, base_shape)
        sink = InMemory(marks.size, fine_tuned.element_size(), int(marks.sum()))
        fingerprints = take(
            Entries.from_tensor(fine_tuned),
            Entries.from_tensor(pretrained),
            rows=(marks.size, 1),
            decide=lambda start, entries, _: marks[start : start + len(entries)],
            sink=sink,
            raw=raw,
        )
        return cls(
            shape=shape,
            dtype=fine_tuned.dtype,
            bits=sink.bits,
            ulps=sink.ulps,
            pretrained=Reference(name, base_shape, dtype=pretrained.dtype, fingerprint=fingerprints.pretrained),
            fine_tuned=fingerprints.fine_tuned,
            result=fingerprints.result,
            raw=raw,
        )

    def decoded(self) -> RetainedTensor:
        """The same tensor in memory, without any file.

        Returns:
            The tensor itself if it is in memory already.
        """
        return self

    @property
    def retained(self) -> int:
        """Entries that stay fine-tuned."""
        return len(self.ulps)

    @property
    def unchanged(self) -> bool:
        """Whether fine-tuning left the whole tensor as it was."""
        base = self.pretrained
        return (self.shape, self.dtype, self.fine_tuned) == (base.shape, base.dtype, base.fingerprint)

    def check(self, pretrained: torch.Tensor) -> None:
        """See that this is, bit for bit, the pretrained tensor that the subnetwork relies on.

        Args:
            pretrained: The tensor.

        Raises:
            SubnetworkError: It is another one.
        """
        self._check_kind(tuple(pretrained.shape), pretrained.dtype)
        self._check_pretrained(fingerprint(pretrained))

    def _check_kind(self, shape: tuple[int, ...], dtype: torch.dtype) -> None:
        base = self.pretrained
        if shape != base.shape or dtype != base.dtype:
            raise SubnetworkError(
                f"the subnetwork was made with a pretrained tensor of {dtype_name(base.dtype)} {base.shape}, "
                f"this one is {dtype_name(dtype)} {shape}"
            )

    def _check_pretrained(self, actual: str) -> None:
        expected = self.pretrained.fingerprint
        if actual != expected:
            held = "it holds this subnetwork already" if actual == self.result else "its values are others"
            raise SubnetworkError(
                f"this is not the pretrained tensor that the subnetwork was made with: {held} "
                f"(fingerprint {actual}, expected {expected})"
            )

    def onto(self, pretrained: torch.Tensor) -> torch.Tensor:
        """A new tensor: retained entries from here, all others from the pretrained tensor, bit for bit.

        A pretrained value of another dtype is cast. Extra leading rows of the fine-tuned tensor are retained whole.

        Args:
            pretrained: The pretrained tensor; it is not changed.

        Returns:
            A tensor of the fine-tuned shape and dtype, on the pretrained tensor's device.

        Raises:
            SubnetworkError: It is another pretrained tensor, or the result is not what the subnetwork promises.
        """
        import torch

        from ken.subnetwork import ulp_torch

        self.check(pretrained)
        self._check_reset_rows()
        merged = torch.zeros(self.shape, dtype=self.dtype, device=ulp_torch.workplace(pretrained, self.dtype))
        (merged[: len(pretrained)] if self.shape else merged).copy_(pretrained.detach())
        distances = self.relative_to(bits_of(merged)) if self.raw else self.ulps
        ulp_torch.move(merged, None, (self.bits, distances))
        self.prove(fingerprint(merged))
        return merged.to(pretrained.device)

    def stretches(self, pretrained: Entries) -> Iterator[NDArray[Any]]:
        """What `onto` gives, a stretch at a time; with the last of them, all has been checked.

        Args:
            pretrained: The entries of the pretrained tensor.

        Yields:
            Flat unsigned arrays, as wide as the dtype. It raises `SubnetworkError` as `onto` does, but maybe
            late: whoever uses the arrays must be able to undo that.
        """
        from ken.subnetwork import ulp_distances
        from ken.subnetwork.extract import base_bits

        self._check_kind(pretrained.shape, pretrained.dtype)
        self._check_reset_rows()
        distances = self._distances()
        before, after = new_digest(), new_digest()
        for start in range(0, self.entries, STRETCH):
            stop = min(start + STRETCH, self.entries)
            base = pretrained.read(*(min(at, pretrained.count) for at in (start, stop)))
            before.update(bytes_of(base))
            values = base_bits(base, self.dtype, stop - start)
            bits = self.bits[start // 8 : -(-stop // 8)]
            up = distances(ulp_distances.marked_in(bits))
            if self.raw:
                up = up - ulp_distances.take(values, np.zeros_like(values), bits, retained=up.size)
            ulp_distances.exchange(values, None, (bits, up))
            after.update(values.data)
            yield values
        self._check_pretrained(before.hexdigest())
        self.prove(after.hexdigest())

    def _distances(self) -> Callable[[int], NDArray[Any]]:
        """A function that gives the distances one after the other, as many as it is asked for."""
        return in_turn(lambda start, stop: self.ulps[start:stop])

    def prove(self, injected: str) -> None:
        """See that injection gives what the subnetwork promises, and note that it does: `proven`.

        Args:
            injected: The fingerprint of the injected tensor.

        Raises:
            SubnetworkError: It gives something else.
        """
        if injected != self.result:
            raise SubnetworkError("injected, the tensor is not what the subnetwork promises: its file is damaged")
        self.proven = True

    def relative_to(self, base: NDArray[np.unsignedinteger]) -> NDArray[np.unsignedinteger]:
        """The distances from pretrained bits, whether they are stored like that or not.

        Args:
            base: The bits of the pretrained entries, flat, in the fine-tuned dtype.

        Returns:
            A distance for each retained entry.
        """
        if not self.raw:
            return self.ulps
        from ken.subnetwork import ulp_distances

        return self.ulps - ulp_distances.take(base, np.zeros_like(base), self.bits, retained=self.retained)

    def _check_reset_rows(self) -> None:
        start = math.prod(self.pretrained.shape)
        added = np.unpackbits(self.bits[start // 8 :])[start % 8 : start % 8 + self.entries - start]
        if not added.all():
            raise SubnetworkError(
                f"rows from {self.pretrained.shape[0]} on are reset, but the pretrained tensor ends there"
            )


def check_grown(shape: tuple[int, ...], pretrained: tuple[int, ...]) -> None:
    """Raise `SubnetworkError` unless the shapes are equal, or differ in extra leading rows of the first alone."""
    grown = len(pretrained) == len(shape) > 0 and pretrained[1:] == shape[1:] and pretrained[0] < shape[0]
    if pretrained != shape and not grown:
        raise SubnetworkError(f"the subnetwork has shape {shape}, the pretrained tensor {pretrained}")
