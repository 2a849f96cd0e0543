"""Torch tensors as bits: their bytes, their fingerprints, the names of their dtypes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from ken.errors import SubnetworkError

if TYPE_CHECKING:
    import torch
    import xxhash


def dtype_name(dtype: torch.dtype) -> str:
    """The name of a dtype without the module: "float32"."""
    return str(dtype).removeprefix("torch.")


def dtype_named(name: str) -> torch.dtype:
    """The dtype of that name; raises `SubnetworkError` if torch has none.

    >>> dtype_named("bfloat16")
    torch.bfloat16
    """
    import torch

    dtype = getattr(torch, name, None)
    if not isinstance(dtype, torch.dtype):
        raise SubnetworkError(f"torch has no dtype {name!r}")
    return dtype


def bits_of(tensor: torch.Tensor) -> NDArray[Any]:
    """The entries of a floating-point tensor in C order, as flat unsigned integers of the same width.

    A view of the tensor's own memory where that is on the CPU and contiguous, else of a copy.

    >>> import torch
    >>> bits_of(torch.tensor([[1.0, -0.0]], dtype=torch.float16))
    array([15360, 32768], dtype=uint16)
    """
    import torch

    return _flat(tensor).view(torch.uint8).numpy().view(f"u{tensor.element_size()}")


def bytes_of(tensor: torch.Tensor) -> memoryview:
    """The bytes of any tensor in C order, without a copy where that can be."""
    import torch

    return _flat(tensor).view(torch.uint8).numpy().data


def _flat(tensor: torch.Tensor) -> torch.Tensor:
    flat = tensor.detach().resolve_conj().resolve_neg().cpu().contiguous().reshape(-1)
    # What has no second entry counts as contiguous whatever its stride is, but cannot be seen as bytes.
    return flat if flat.numel() > 1 else flat.as_strided(flat.shape, (1,))


def fingerprint(tensor: torch.Tensor) -> str:
    """XXH3-128 of the tensor's bytes in C order, 32 hexadecimal digits. Shape and dtype are not part of it.

    It tells apart any two tensors that were not made to deceive, to within 2^-128, at the speed of memory. It is no
    signature: who wants to can construct another tensor with the same fingerprint.

    >>> import torch
    >>> fingerprint(torch.zeros(2)) == fingerprint(-torch.zeros(2))
    False
    """
    return digest(bytes_of(tensor))


def digest(*parts: Any) -> str:
    """XXH3-128 of bytes, given in one or several parts, 32 hexadecimal digits.

    >>> digest(b"ab", b"c") == digest(b"abc")
    True
    """
    running = new_digest()
    for part in parts:
        running.update(part)
    return running.hexdigest()


def new_digest() -> xxhash.xxh3_128:
    """One that is fed with `update` and read with `hexdigest`."""
    import xxhash

    return xxhash.xxh3_128()


@dataclass(frozen=True, slots=True)
class Reference:
    """A pretrained tensor that something relies on: its name, shape and dtype, and the fingerprint of its bytes."""

    name: str
    shape: tuple[int, ...]
    dtype: torch.dtype
    fingerprint: str

    @classmethod
    def to(cls, name: str, tensor: torch.Tensor) -> Reference:
        """Take down a tensor."""
        return cls(name, tuple(tensor.shape), tensor.dtype, fingerprint=fingerprint(tensor))


def of_model(tensors: Iterable[Reference]) -> str:
    """One fingerprint for a whole model: of the list of its tensors, sorted by name.

    >>> import torch
    >>> a, b = Reference.to("a", torch.ones(2)), Reference.to("b", torch.zeros(3))
    >>> of_model([a, b]) == of_model([b, a])
    True
    """
    lines = sorted(f"{t.name} {dtype_name(t.dtype)} {list(t.shape)} {t.fingerprint}\n" for t in tensors)
    return digest("".join(lines).encode("utf-8", "surrogatepass"))
