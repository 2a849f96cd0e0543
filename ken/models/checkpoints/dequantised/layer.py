"""A tensor of codes, and what it is read as."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ken.errors import PairingError
from ken.models.checkpoints.checkpoint_files import entries_of

if TYPE_CHECKING:
    import torch

AGAIN = "get the checkpoint again, or give the one from before it was quantised"


@dataclass(frozen=True, slots=True)
class Layer:
    """A plain tensor that stands for codes.

    Attributes:
        name: Its name in the model.
        shape: Its shape, known without its values.
        dtype: Its dtype, likewise.
        compute: Gives the values.
        used: Names of the tensors that it is made of, which are none of the model any more.
        scheme: In a few words how they were stored.
    """

    name: str
    shape: tuple[int, ...]
    dtype: torch.dtype
    compute: Callable[[], torch.Tensor]
    used: frozenset[str]
    scheme: str


@dataclass(frozen=True, slots=True)
class Coded:
    """What the reader of a scheme sees of a model.

    Attributes:
        tensors: All tensors by name, as they are stored.
        settings: What the configuration says of the quantisation, empty if nothing.
        stated: The dtype that the configuration states for the model, which `from_pretrained` gives its tensors.
        turned: Whether the class keeps the weight of a module with inputs first (GPT-2), by the name of the module.
        where: What is read, to begin messages with.
    """

    tensors: Mapping[str, torch.Tensor]
    settings: Mapping[str, Any] = field(default_factory=dict)
    stated: torch.dtype | None = None
    turned: Callable[[str], bool] = lambda _: False
    where: str = ""

    def whole(self, name: str) -> torch.Tensor:
        """A stored tensor with its values."""
        entries = entries_of(self.tensors, name)
        return entries.read(0, entries.count).reshape(entries.shape)

    def shape(self, name: str) -> tuple[int, ...]:
        """The shape of a stored tensor."""
        return tuple(self.tensors[name].shape)

    def need(self, name: str, beside: str) -> str:
        """The name, if there is a tensor of it; raises `PairingError` if not."""
        if name not in self.tensors:
            raise self.damage(beside, f"has no {name} beside it, without which its codes say nothing")
        return name

    def need_shape(self, name: str, *shapes: Sequence[int]) -> None:
        """Raise `PairingError` if a tensor has none of some shapes."""
        if self.shape(name) not in {tuple(shape) for shape in shapes}:
            wanted = " or ".join(str(tuple(shape)) for shape in dict.fromkeys(map(tuple, shapes)))
            raise self.damage(name, f"has the shape {self.shape(name)}, and the codes beside it need {wanted}")

    def damage(self, name: str, what: str, remedy: str = AGAIN) -> PairingError:
        """An error about a tensor."""
        begin = f"{self.where}: " if self.where else ""
        return PairingError(f"{begin}the codes of a quantised model cannot be read: {name} {what}; {remedy}")

    def beside(self, stem: str, leaves: Sequence[str]) -> frozenset[str]:
        """Those names of a module that there are."""
        return frozenset(name for leaf in leaves if (name := f"{stem}.{leaf}".lstrip(".")) in self.tensors)


def library(module: str, extra: str) -> Any:
    """A module of an optional library. Raises `PairingError` that says what to install."""
    try:
        return importlib.import_module(module)
    except ImportError:
        raise PairingError(
            f"to read this quantised model takes {extra}, which is not installed: pip install 'kenviz[{extra}]'"
        ) from None
