"""A pretend device in this process: memory that torch reaches by operations alone, and a list of what went to and fro.

Import it in a process of its own: from then on torch has an accelerator "far", and cannot forget it. Its tensors hide
one on the CPU, which only `Far` knows. Whoever takes their values without an operation that brings them home gets an
error.
"""

from typing import ClassVar

import torch
from torch.utils._pytree import tree_map
from torch.utils.backend_registration import _setup_privateuseone_for_python_backend


class Journal:
    """What was asked of the device: operations by name, the bytes that went there and came home, and errors to raise.

    Operations and waits are in order in `calls`. The operation called failing fails once, when fail_at more of it have
    been done, or always if that is None.
    """

    def __init__(self):
        self.clear()

    def clear(self):
        self.calls, self.sent, self.fetched, self.failing, self.fail_at = [], 0, 0, "", 0

    def note(self, name):
        self.calls.append(name)
        if name == self.failing:
            if self.fail_at is not None:
                self.fail_at -= 1
            if self.fail_at in (None, -1):
                raise RuntimeError(f"the device has no {name}")


JOURNAL = Journal()


class Far(torch.Tensor):
    """A tensor of the device."""

    __torch_function__ = torch._C._disabled_torch_function_impl
    hidden: ClassVar[torch.Tensor]

    @staticmethod
    def __new__(cls, hidden):
        tensor = torch.Tensor._make_wrapper_subclass(
            cls, hidden.shape, strides=hidden.stride(), dtype=hidden.dtype, device="far:0"
        )
        tensor.hidden = hidden
        return tensor

    def data_ptr(self):
        return self.hidden.data_ptr()

    @classmethod
    def __torch_dispatch__(cls, operation, types, args=(), kwargs=None):
        return perform(operation, args, kwargs or {})


def shown(value):
    return value.hidden if isinstance(value, Far) else value


def perform(operation, args, kwargs):
    """Do on what is hidden what was asked, and hide the outcome, unless it goes home."""
    name = operation.overloadpacket.__name__
    JOURNAL.note(name)
    kwargs = tree_map(shown, dict(kwargs))
    target = kwargs.pop("device", None)
    home = target is not None and torch.device(target).type == "cpu"
    if name == "copy_":
        if isinstance(args[0], Far) and not isinstance(args[1], Far):
            JOURNAL.sent += args[1].nbytes
        if not isinstance(args[0], Far):
            JOURNAL.fetched += args[0].nbytes
    result = operation(*tree_map(shown, args), **kwargs)
    if operation._schema.is_mutable:
        return args[0]
    if home:
        JOURNAL.fetched += result.nbytes
        return result.clone() if result is shown(args[0]) else result
    return tree_map(lambda value: Far(value) if isinstance(value, torch.Tensor) else value, result)


_setup_privateuseone_for_python_backend("far")
torch.accelerator.synchronize = lambda device: JOURNAL.calls.append(f"wait for {device}")
_LIBRARY = torch.library.Library("_", "IMPL")
_LIBRARY.fallback(lambda operation, *args, **kwargs: perform(operation, args, kwargs), "PrivateUse1")
