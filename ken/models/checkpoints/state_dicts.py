"""What may be a tensor of a state dict: dense tensors that have values, and arrays of NumPy.

An array is not copied, wherever torch can use its memory as it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ken.errors import PairingError

if TYPE_CHECKING:
    import torch


def tensors_of(state: Mapping[str, Any]) -> dict[str, torch.Tensor]:
    """The tensors of a state dict, without gradients. Raises `PairingError` for all that is no tensor with values.

    >>> tensors_of({"w": np.ones(2, dtype=">f4")})
    {'w': tensor([1., 1.])}
    """
    import torch

    tensors = {}
    for name, tensor in state.items():
        if not isinstance(name, str):
            raise PairingError(f"tensor names must be strings, got {name!r}")
        if isinstance(tensor, np.ndarray | np.generic):
            tensor = from_array(name, tensor)
        if not isinstance(tensor, torch.Tensor):
            # A module may keep extra state that is no tensor: not ours to prune, nor to carry unseen.
            raise PairingError(f"{name}: a state dict must hold tensors, got {type(tensor).__name__}")
        if tensor.is_meta:
            raise PairingError(f"{name}: the tensor has no values (it is on the meta device)")
        if tensor.layout is not torch.strided or tensor.is_quantized:
            raise PairingError(f"{name}: tensors must be dense, got {tensor.layout} {tensor.dtype}")
        tensors[name] = tensor.detach()
    return tensors


def arrays_as_tensors(state: Mapping[str, Any]) -> Mapping[str, Any]:
    """The same with tensors in place of arrays; what is neither stays as it is."""
    if not any(isinstance(value, np.ndarray | np.generic) for value in state.values()):
        return state
    return {
        name: from_array(str(name), value) if isinstance(value, np.ndarray | np.generic) else value
        for name, value in state.items()
    }


def from_array(name: str, array: NDArray[Any] | np.generic) -> torch.Tensor:
    """An array as a tensor that shares its memory; a copy if its order of bytes or its strides are not torch's.

    It may be read-only: the tensor is not to be written to. The dtypes of ml_dtypes (bfloat16, float8) count as what
    their names say. name begins the message of the `PairingError` for dtypes that torch does not have.

    >>> array = np.arange(3.0)
    >>> from_array("w", array).data_ptr() == array.ctypes.data
    True
    """
    import torch

    if isinstance(array, np.ma.MaskedArray):
        raise PairingError(f"{name}: a masked array has entries without a value; fill them in, or give array.data")
    array = np.asarray(array)
    if not array.dtype.isnative:
        array = array.astype(array.dtype.newbyteorder("="))
    if any(stride < 0 or stride % max(array.itemsize, 1) for stride in array.strides):
        array = array.copy()
    torch_dtype = getattr(torch, array.dtype.name, None)
    codes = array.dtype.isbuiltin == 2  # a dtype that NumPy has been told of, as by ml_dtypes: its bits are read
    if not isinstance(torch_dtype, torch.dtype) or (codes and not torch_dtype.is_floating_point):
        raise PairingError(f"{name}: torch has no dtype {_called(array.dtype)}")
    if codes:
        width = {1: np.uint8, 2: np.uint16}[array.itemsize]
        return torch.from_numpy(_writable(array.view(width))).view(torch_dtype)
    return torch.from_numpy(_writable(array))


def _called(dtype: np.dtype[Any]) -> str:
    """A dtype by its name, with what to do about it."""
    if dtype.hasobject:
        return f"{dtype} (Python objects, which are no numbers); give arrays of numbers"
    if dtype.kind == "V" and not dtype.names:
        return (
            f"{dtype} (bytes without a meaning, as NumPy keeps bfloat16 and float8); say what they are, with "
            "array.view(ml_dtypes.bfloat16), or give the model as safetensors"
        )
    return f"{dtype}; give arrays of numbers"


class _Memory:
    """The memory of an array, as if it were writable: torch warns of any other, even if nobody writes."""

    def __init__(self, array: NDArray[Any]) -> None:
        self._array = array  # which must live as long as its memory is used
        address, _ = array.__array_interface__["data"]
        self.__array_interface__ = {**array.__array_interface__, "data": (address, False)}


def _writable(array: NDArray[Any]) -> NDArray[Any]:
    return array if array.flags.writeable else np.asarray(_Memory(array))
