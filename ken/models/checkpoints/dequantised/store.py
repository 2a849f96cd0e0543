"""Plain tensors in the place of codes; one of them at a time has its values."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from typing import TYPE_CHECKING

from ken.errors import FormatError, KenError, in_brief
from ken.models.checkpoints.dequantised.layer import Layer
from ken.models.tensors.tensor_reader import Entries, Store

if TYPE_CHECKING:
    import torch


class DequantisedStore(Store):
    """Tensors whose values are computed from codes when they are read. The last one is kept until another is asked for.

    >>> import torch
    >>> ones = Layer("w", (2,), torch.float32, compute=lambda: torch.ones(2), used=frozenset(), scheme="none")
    >>> store = DequantisedStore([ones])
    >>> store.tensor("w").is_meta, store.entries("w").read(0, 1)
    (True, tensor([1.]))
    """

    def __init__(self, layers: Iterable[Layer]) -> None:
        self._layers = {layer.name: layer for layer in layers}
        self._lock = threading.Lock()
        self._latest: tuple[str, torch.Tensor | None] = "", None

    def tensor(self, name: str) -> torch.Tensor:
        """Shape and dtype of a tensor, on the meta device: values are read by `entries`."""
        import torch

        layer = self._layers[name]
        return torch.empty(layer.shape, dtype=layer.dtype, device="meta")

    def entries(self, name: str) -> Entries:
        """The entries of a tensor; all of it is computed when some of them are read."""
        layer = self._layers[name]
        return Entries(layer.shape, layer.dtype, lambda start, stop: self._flat(layer)[start:stop])

    def _flat(self, layer: Layer) -> torch.Tensor:
        with self._lock:
            name, values = self._latest
            if name != layer.name or values is None:
                self._latest = "", None  # two are never held
                values = _computed(layer)
                self._latest = layer.name, values
            return values


def _computed(layer: Layer) -> torch.Tensor:
    """The values, flat. Raises `FormatError` with the library's own words if it cannot give them."""
    import torch

    try:
        with torch.no_grad():
            values = layer.compute()
    except KenError:
        raise
    except Exception as error:  # whatever a library raises for codes that are damaged
        raise FormatError(
            f"{layer.name}: its codes ({layer.scheme}) cannot be dequantised: {in_brief(error)}"
        ) from error
    if tuple(values.shape) != layer.shape or values.dtype != layer.dtype:
        raise FormatError(
            f"{layer.name}: its codes ({layer.scheme}) gave {values.dtype} {tuple(values.shape)}, where "
            f"{layer.dtype} {layer.shape} was expected"
        )
    return values.detach().contiguous().reshape(-1)
