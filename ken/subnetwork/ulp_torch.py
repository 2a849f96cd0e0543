"""Distances between floats, applied by torch on the device that a tensor is on, to the same bits as on the CPU.

What `ken.subnetwork.ulp_distances` does with a compiled loop is done here with operations on whole stretches of a
tensor: its floats, seen as signed integers, become keys; the distances are spread over the entries of the mask, taken
away and added; and the keys are turned back. Integers wrap around, so any bits do. Only masks, eight entries a byte,
and distances are sent. Every entry is written once, at its own place, and nothing is added up by several threads, so
the outcome does not depend on the order in which a device works.

On the CPU the compiled loop takes a quarter to a twentieth of the time (measured with 2^21 float32 entries, on one
thread), so `serves` says no there. To send the places of few entries instead of the mask of all does not pay: finding
them takes longer than to send the bytes that it saves (docs/storing.md).
"""

from __future__ import annotations

import threading
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from ken.errors import in_brief, warn

if TYPE_CHECKING:
    import torch

    from ken.subnetwork.ulp_distances import Distances

#: Entries that are worked on at a time: a multiple of 8, so that masks are cut between bytes. What is needed on the
#: device beside the tensor is for each of them three times its width and some 6 bytes: 36 MiB for float32.
PIECE = 1 << 21
#: Several threads may have tensors of one device; none but one of them takes memory of it for its work.
_ONE_AT_A_TIME = threading.RLock()


def serves(tensor: torch.Tensor) -> bool:
    """Whether this is how the tensor's values are moved: it is on another device than the CPU, which can do it.

    What a device can do is tried once, and compared bit for bit with the CPU. One that fails is warned of.

    >>> import torch
    >>> serves(torch.zeros(2))
    False
    """
    if tensor.device.type in ("cpu", "meta"):
        return False
    with _ONE_AT_A_TIME:  # asked by several threads at once, it is tried once
        return _able(tensor.device, tensor.dtype)


@cache
def _able(device: torch.device, dtype: torch.dtype) -> bool:
    import torch

    try:
        wrong = "" if _trial(device, dtype) else "its results are others"
    except torch.OutOfMemoryError:
        raise
    except (RuntimeError, TypeError) as error:  # what backends raise for operations and dtypes that they lack
        wrong = in_brief(error)
    if wrong:
        warn(
            f"the device {device} cannot move {str(dtype).removeprefix('torch.')} values by integer distances "
            f"({wrong}); they are changed by way of the CPU, with the same result"
        )
    return not wrong


def _trial(device: torch.device, dtype: torch.dtype) -> bool:
    """Whether bits of all kinds, moved down and up on a device, are what they are on the CPU."""
    import torch

    from ken.models.tensors.tensor_bytes import bits_of
    from ken.subnetwork import ulp_distances

    rng = np.random.default_rng(0)
    size, kind = 65_536 + 5, f"u{dtype.itemsize}"
    bits = np.frombuffer(rng.bytes(size * dtype.itemsize), kind).copy()
    if dtype.itemsize <= 2:
        bits[: 2 ** (8 * dtype.itemsize)] = np.arange(2 ** (8 * dtype.itemsize))

    def step() -> Distances:
        mask = rng.random(size) < 0.5
        return np.packbits(mask), np.frombuffer(rng.bytes(int(mask.sum()) * dtype.itemsize), kind)

    down, up = step(), step()
    tensor = torch.from_numpy(bits.view(f"i{dtype.itemsize}").copy()).view(dtype).to(device)
    exchange(tensor, down, up)
    ulp_distances.exchange(bits, down, up)
    return bool(np.array_equal(bits_of(tensor), bits))


def exchange(tensor: torch.Tensor, down: Distances | None, up: Distances | None) -> None:
    """Move a tensor's values down by the distances at one mask, and up by those at another, in place.

    Goes around autograd, and takes tensors that were made in inference mode, of any strides. When it returns, the
    device is done. If it raises, a tensor of at most `PIECE` entries is as it was.

    >>> import torch
    >>> tensor = torch.tensor([1.5, -2.5, 0.0], dtype=torch.float64)
    >>> step = np.array([0b11000000], np.uint8), np.array([3, 2**64 - 9], np.uint64)
    >>> exchange(tensor, None, step)
    >>> exchange(tensor, step, None)
    >>> tensor.tolist()
    [1.5, -2.5, 0.0]
    """
    import torch

    from ken.models.tensors.storages import write
    from ken.subnetwork.ulp_distances import cut

    with _ONE_AT_A_TIME, torch.inference_mode(tensor.is_inference()):
        _wait_for(tensor.device)  # for what another stream still does to the tensor
        plain = tensor.data
        if not plain.is_contiguous() or plain.is_neg():
            plain = plain.resolve_neg().clone(memory_format=torch.contiguous_format)
        bits = plain.view(_integer(tensor.dtype)).view(-1)
        entries = bits.numel()
        starts = range(0, entries, PIECE)
        for start, *moves in zip(starts, cut(down, entries, PIECE), cut(up, entries, PIECE), strict=True):
            _exchange(bits[start : start + PIECE], *moves)
        if not tensor.is_contiguous() or tensor.is_neg():
            write(tensor, plain)
        _wait_for(tensor.device)


def move(tensor: torch.Tensor, down: Distances | None, up: Distances | None) -> None:
    """The same for a tensor in C order, by torch where that serves, and on the CPU by the compiled loop."""
    from ken.models.tensors.tensor_bytes import bits_of
    from ken.subnetwork import ulp_distances

    if serves(tensor):
        exchange(tensor, down, up)
    else:
        ulp_distances.exchange(bits_of(tensor), down, up)


def workplace(tensor: torch.Tensor, dtype: torch.dtype) -> torch.device:
    """Where a tensor of some dtype that begins as a copy of this one is to be made, so that `move` can move it.

    >>> import torch
    >>> workplace(torch.zeros(2), torch.float32)
    device(type='cpu')
    """
    import torch

    # Devices do not agree on the bits of a NaN that is cast.
    return tensor.device if tensor.dtype == dtype and serves(tensor) else torch.device("cpu")


def _exchange(bits: torch.Tensor, down: Distances | None, up: Distances | None) -> None:
    keys = _keys(bits)
    if down is not None and down[1].size:
        keys -= _spread(down, bits)
    if up is not None and up[1].size:
        keys += _spread(up, bits)
    bits.copy_(_keys(keys))


def _keys(bits: torch.Tensor) -> torch.Tensor:
    """Sign and magnitude to two's complement; its own inverse, since the sign bit stays."""
    top = 8 * bits.element_size() - 1
    flipped = bits >> top  # all ones below zero
    flipped &= (1 << top) - 1
    flipped ^= bits
    return flipped


def _spread(step: Distances, bits: torch.Tensor) -> torch.Tensor:
    """For every entry of some bits its distance; 0 where the mask has none."""
    import torch

    mask, distances = step
    # A zero before them is what entries that are not in the mask take.
    padded = np.empty(distances.size + 1, f"i{bits.element_size()}")
    padded[0] = 0
    padded[1:] = distances.view(padded.dtype)
    each_bit = torch.tensor([128, 64, 32, 16, 8, 4, 2, 1], dtype=torch.uint8).to(bits.device)
    packed = torch.from_numpy(mask.copy()).to(bits.device)
    marked = packed.unsqueeze(1).bitwise_and(each_bit).view(-1)[: bits.numel()].ne(0)
    places = marked.cumsum(0, dtype=torch.int32).mul_(marked)
    return torch.from_numpy(padded).to(bits.device).index_select(0, places)


def _integer(dtype: torch.dtype) -> torch.dtype:
    """The signed integers as wide as a float."""
    import torch

    return {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}[dtype.itemsize]


def _wait_for(device: torch.device) -> None:
    """Until all that was asked of a device is done, on all its streams; other threads have streams of their own."""
    import torch

    here = torch.accelerator.current_accelerator()
    if here is not None and here.type == device.type:
        torch.accelerator.synchronize(device)
