"""Layers that an intervention leaves alone are not run again: for the same input they give again what they gave.

    layer 0 ──► layer 1 ──► layer 2, changed ──► layer 3
    given again             run                  run

Nothing is approximated. A layer is one of those that transformers recomputes at will (for gradient checkpointing), so
that it keeps nothing from call to call. It is skipped only where its parameters and buffers are untouched, every tensor
that it is given has the same bits in the same layout as before and is no view of a weight, all else that it is given is
plain and equal, and nobody looks into it (hooks, gradients, training mode). Else it is run, as if this were not here;
so is everything on a machine with several GPUs, where replicas of a model may share its layers.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import MethodType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

#: Bytes of inputs and outputs that are kept at the most; what is beyond is run each time.
_MOST = 256 << 20
#: What a layer may be given besides tensors.
_PLAIN = (type(None), bool, int, float, str)


class Reuse:
    """What the layers of one model have given, for every call of an evaluation.

    Layers are those that can be recomputed, the outermost where one is in another. Entries are kept as long as the
    weights that a model comes back to between interventions are the same; then `forget`.

    >>> import torch
    >>> from transformers.modeling_layers import GradientCheckpointingLayer
    >>> class Layer(GradientCheckpointingLayer):
    ...     def __init__(self):
    ...         super().__init__()
    ...         self.linear = torch.nn.Linear(2, 2)
    ...     def forward(self, x):
    ...         return self.linear(x)
    >>> model, x = torch.nn.Sequential(Layer(), Layer(), Layer()).eval(), torch.ones(1, 2)
    >>> reuse = Reuse(model)
    >>> with torch.no_grad():
    ...     for _ in range(2):
    ...         with reuse.changing(model[2].parameters()):
    ...             y = model(x)
    >>> reuse.given_again, torch.equal(y, model(x))
    (2, True)
    """

    def __init__(self, module: torch.nn.Module, most: int = _MOST) -> None:
        self._module, self._memory = module, _Memory(most)
        self._layers = [_Layer(layer, self._memory) for layer in _layers(module)]

    @property
    def bytes(self) -> int:
        """What all that is kept takes."""
        return self._memory.bytes

    @property
    def given_again(self) -> int:
        """How often a layer was not run."""
        return self._memory.given_again

    @contextmanager
    def changing(self, tensors: Iterable[torch.Tensor]) -> Iterator[None]:
        """A block that evaluates the model once, while no other of its parameters differ from what they were.

        Args:
            tensors: Those of the model that may differ.
        """
        storages = {_storage(tensor) for tensor in tensors}
        self._memory.changed_calls.clear()
        self._memory.weights = {_storage(tensor) for tensor in _weights(self._module)}
        patched = []
        try:
            for layer in self._layers:
                if layer.begin(storages):
                    patched.append(layer)
            yield
        finally:
            for layer in patched:
                layer.end()

    def forget(self) -> None:
        """Let go of all that was given: the model has other weights now."""
        for layer in self._layers:
            layer.kept.clear()
        self._memory.clear()


class _Memory:
    """How much is kept of all layers, and what they know of each other. It does not know them: no circle holds a model.

    changed_calls: the calls of this evaluation in which a changed layer has run: what comes after has other inputs.
    weights: where the parameters and buffers of the model lie. Interventions write there, and no counter tells.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._held: Counter[tuple[int, int]] = Counter()  # memory by address and size, and how often it is kept
        self.bytes = 0
        self.given_again = 0
        self.changed_calls: set[int] = set()
        self.weights: set[int] = set()

    def clear(self) -> None:
        """Nothing is kept any more."""
        self._held.clear()
        self.bytes = 0

    def keep(self, kept: dict[int, _Entry], call: int, entry: _Entry) -> None:
        """Keep what a layer has given, in place of what it gave in that call before, if there is room."""
        before = kept.pop(call, None)
        if before is not None:
            self._count(before, -1)
        self._count(entry, 1)
        if self.bytes > self._most:
            self._count(entry, -1)
        else:
            kept[call] = entry

    def _count(self, entry: _Entry, step: int) -> None:
        for tensor in (*entry.inputs, *_tensors(entry.output)):
            storage = tensor.untyped_storage()
            memory = storage.data_ptr(), storage.nbytes()
            before = self._held[memory]
            self._held[memory] += step
            if before == 0 or before + step == 0:
                self.bytes += step * memory[1]
            if before + step == 0:
                del self._held[memory]


@dataclass(frozen=True, slots=True, eq=False)
class _Entry:
    """What a layer was given and gave.

    form: what it was given besides tensors, and how they lie in it.
    versions: torch's counters of all those tensors, which go up if somebody writes into one: then this is void.
    """

    form: object
    inputs: Sequence[torch.Tensor]
    output: Any
    versions: Sequence[int]

    def answers(self, form: object, inputs: Sequence[torch.Tensor]) -> bool:
        """Whether the same was given, bit for bit, and both are still what they were."""
        return (
            self.form == form
            and all(map(_same, self.inputs, inputs))
            and _versions(self.inputs, self.output) == self.versions
        )


class _Layer:
    """A layer's forward that gives again what it gave."""

    def __init__(self, layer: Any, memory: _Memory) -> None:
        self.layer, self._memory = layer, memory
        self.kept: dict[int, _Entry] = {}
        self._changed, self._calls = False, 0

    def begin(self, storages: set[int]) -> bool:
        """Take the place of the layer's forward; not where that of its class was replaced already."""
        if "forward" in self.layer.__dict__:
            return False
        own = {_storage(tensor) for tensor in _weights(self.layer)}
        self._changed, self._calls = not storages.isdisjoint(own), 0
        self.layer.forward = self
        return True

    def end(self) -> None:
        """Give the layer its own forward back."""
        del self.layer.forward

    def __call__(self, *args: Any, **options: Any) -> Any:
        call, memory = self._calls, self._memory
        self._calls += 1
        if self._changed:
            memory.changed_calls.add(call)
        if call in memory.changed_calls or _looked_into(self.layer):
            return self._run(*args, **options)
        inputs: list[Any] = []
        form = _taken_apart((args, options), inputs)
        if form is None or self._among_weights(inputs):
            return self._run(*args, **options)
        entry = self.kept.get(call)
        if entry is not None and entry.answers(form, inputs):
            memory.given_again += 1
            return entry.output
        versions, held = [tensor._version for tensor in inputs], _held(self.layer)
        output = self._run(*args, **options)
        after = _versions(inputs, output)
        if (
            after[: len(inputs)] == versions
            and after
            and _held(self.layer) == held
            and _unmoved((args, options), form, inputs)
            and not self._among_weights(_tensors(output))
        ):
            memory.keep(self.kept, call, _Entry(form=form, inputs=inputs, output=output, versions=after))
        return output

    def _among_weights(self, tensors: Iterable[torch.Tensor]) -> bool:
        return any(_storage(tensor) in self._memory.weights for tensor in tensors)

    def _run(self, *args: Any, **options: Any) -> Any:
        return _own_forward(self.layer)(*args, **options)

    def __reduce__(self) -> Any:
        """A copy of the layer, deep or pickled, has its class's own forward: it is another layer."""
        return _own_forward, (self.layer,)


def _own_forward(layer: Any) -> MethodType:
    return MethodType(type(layer).forward, layer)


def _layers(module: torch.nn.Module) -> list[Any]:
    import torch

    library = sys.modules.get("transformers.modeling_layers")  # none of its layers is anywhere before it is imported
    if library is None or torch.cuda.device_count() > 1:
        return []
    layers: list[Any] = []
    inner: set[int] = set()
    for part in module.modules():  # the outermost come first
        if isinstance(part, library.GradientCheckpointingLayer) and id(part) not in inner:
            layers.append(part)
            inner.update(map(id, part.modules()))
    return layers


def _weights(module: torch.nn.Module) -> Iterator[torch.Tensor]:
    """Parameters and buffers that have a memory of their own."""
    import torch

    for tensor in (*module.parameters(), *module.buffers()):
        if tensor.layout is torch.strided:
            yield tensor


def _held(layer: torch.nn.Module) -> list[tuple[str, int, int]]:
    """Tensors that a layer or a part of it holds, and that are no parameters or buffers: state of its own."""
    import torch

    return [
        (name, id(value), value._version)
        for part in layer.modules()
        for name, value in part.__dict__.items()
        if isinstance(value, torch.Tensor) and not value.is_inference()
    ]


def _looked_into(layer: Any) -> bool:
    """Whether more than the output of a layer is of interest, or it may be another the next time."""
    import torch

    if torch.is_grad_enabled() or torch.compiler.is_compiling():
        return True
    everywhere = torch.nn.modules.module
    if everywhere._global_forward_hooks or everywhere._global_forward_pre_hooks:
        return True
    return any(
        part.training
        or (part is not layer and (part._forward_hooks or part._forward_pre_hooks or "forward" in part.__dict__))
        for part in layer.modules()
    )


def _taken_apart(given: Any, tensors: list[Any]) -> object:
    """What was given without its tensors, which go into the list; None if there is anything else in it."""
    import torch

    if type(given) is torch.Tensor and _plain(given):
        tensors.append(given)
        return torch.Tensor
    if isinstance(given, _PLAIN):
        return type(given), given
    if type(given) is dict:
        parts = [_taken_apart(value, tensors) for value in given.values()]
        return None if None in parts else (dict, tuple(given), tuple(parts))
    if type(given) in (tuple, list):
        parts = [_taken_apart(value, tensors) for value in given]
        return None if None in parts else (type(given), tuple(parts))
    return None


def _plain(tensor: torch.Tensor) -> bool:
    """Whether the bits of a tensor can be compared, and what is written into it is counted."""
    import torch

    return not tensor.is_inference() and tensor.layout is torch.strided and not tensor.is_conj() and not tensor.is_neg()


def _unmoved(given: Any, form: object, tensors: Sequence[torch.Tensor]) -> bool:
    """Whether lists and dictionaries that a layer was given are as they were: it may have written into them."""
    now: list[Any] = []
    return _taken_apart(given, now) == form and list(map(id, now)) == list(map(id, tensors))


def _tensors(output: Any) -> list[torch.Tensor]:
    """The tensors of what a layer gave: one, or a tuple with some."""
    return [part for part in (output if isinstance(output, tuple) else (output,)) if part is not None]


def _versions(inputs: Sequence[torch.Tensor], output: Any) -> list[int]:
    """Counters of all of them; none where the output is anything but a tensor or a tuple of some."""
    import torch

    given = _tensors(output)
    if not all(type(tensor) is torch.Tensor and _plain(tensor) for tensor in given):
        return []
    return [tensor._version for tensor in (*inputs, *given)]


def _same(a: torch.Tensor, b: torch.Tensor) -> bool:
    """Whether two tensors have the same bits, in the same layout: 0 and -0 are equal, and yet not the same."""
    import torch

    if a is b:
        return True
    if (a.dtype, a.shape, a.stride(), a.device) != (b.dtype, b.shape, b.stride(), b.device):
        return False
    bits = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}.get(a.dtype.itemsize)
    return bits is not None and torch.equal(a.view(bits), b.view(bits))


def _storage(tensor: torch.Tensor) -> int:
    return int(tensor.untyped_storage().data_ptr())
