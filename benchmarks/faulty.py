"""What may go wrong with a worker, done on purpose: a part that is made by `faulty.part` finds its fault in a folder.

Beside the folder of parts lies `faults/NUMBER`, a file with the kind of the fault and how often it is to happen; that
of `faults/join` happens to the worker that joins, before its file has its name.
"""

import errno
import json
import os
import random
import signal
import time
from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path
from unittest import mock

import torch
from safetensors.torch import save_file

import ken
from ken.models.checkpoints.checkpoint import Checkpoint
from ken.models.tensors.tensor_reader import Entries
from ken.pruning import executors
from ken.storage.part_files import PartWriter
from ken.storage.writer import SubnetworkWriter

_PART, _JOIN = executors.worker_part, executors.worker_join
RECIPE = {"k": 0.5, "rule": "random"}


def pair(folder):
    """The paths of two models, fine-tuned and pretrained, of 1,180,000 entries; half of them in one tensor."""
    generator = torch.Generator().manual_seed(0)
    base = {f"layer.{number}.weight": torch.randn(60, 500, generator=generator) for number in range(6)}
    base["large.weight"] = torch.randn(2000, 500, generator=generator)
    tuned = {name: tensor + torch.randn(tensor.shape, generator=generator) / 9 for name, tensor in base.items()}
    paths = [Path(folder) / "fine_tuned.safetensors", Path(folder) / "pretrained.safetensors"]
    for path, model in zip(paths, (tuned, base), strict=True):
        save_file(model, path)
    return paths


def folder(place):
    """A folder with the pair, and the file of one machine. Gives the folder."""
    ken.prune(*pair(place), **RECIPE, out=Path(place) / "one.ken.safetensors", progress=False)
    return Path(place)


def plant(folder, faults):
    """Write down what is to go wrong: (kind, how often) by the number of a part, or "join"."""
    place = Path(folder) / "faults"
    place.mkdir(exist_ok=True)
    for number, fault in faults.items():
        (place / str(number)).write_text(json.dumps(fault))


def heal(folder):
    """Nothing goes wrong any more."""
    for path in (Path(folder) / "faults").glob("*"):
        path.unlink(missing_ok=True)


def part(description, index, folder, copies):
    """`ken.pruning.executors.worker_part`, with the fault that is planned for it."""
    kind = _taken(Path(folder).parent / "faults" / str(index))
    with FAULTS[kind](Path(folder).parent) if kind else nullcontext():
        return _PART(description, index, folder, copies)


def join(folder, *words):
    """`ken.pruning.executors.worker_join`, killed or hanging if that is planned."""
    kind = _taken(Path(folder).parent / "faults" / "join")
    does = {"kill": _kill, "hang": _hang}.get(kind)
    with mock.patch.object(SubnetworkWriter, "finish", side_effect=lambda _: does()) if does else nullcontext():
        return _JOIN(folder, *words)


def faulty():
    """A block in which `ken.prune` gives workers such parts, and such a join."""
    return mock.patch.multiple(executors, worker_part=part, worker_join=join)


def _taken(path):
    try:
        kind, times = json.loads(path.read_text())
    except FileNotFoundError:
        return ""
    if times > 1:
        path.write_text(json.dumps([kind, times - 1]))
    else:
        path.unlink()
    return kind


def _while_writing(does):
    """Something happens when the first bytes of a part are in its file."""
    add = PartWriter.add

    def first(self, name, parts):
        add(self, name, parts)
        self._file.flush()
        does()

    return mock.patch.object(PartWriter, "add", first)


def _hang():
    time.sleep(1e6)


def _kill():
    os.kill(os.getpid(), signal.SIGKILL)


def _kill_other(path):
    """The process whose number is in a file; then what it does not survive is waited for."""
    os.kill(int(path.read_text()), signal.SIGKILL)
    time.sleep(1)


def _eat():
    """More and more memory, until somebody ends it."""
    eaten = []
    while True:
        eaten.append(b"x" * (16 << 20))
        time.sleep(0.01)


def _fail():
    raise RuntimeError("a mistake in the code of a part")


def _full():
    raise OSError(errno.ENOSPC, "No space left on device")


@contextmanager
def _unreliable(_):
    """One in twenty reads and writes fails."""
    chance = random.Random(time.time_ns())
    entries, add = Checkpoint.entries, PartWriter.add

    def fail_now_and_then(what):
        if chance.random() < 0.05:
            raise OSError(errno.EIO, f"Input/output error while {what}")

    def reading(self, name):
        whole = entries(self, name)

        def read(start, stop):
            fail_now_and_then("reading")
            return whole.read(start, stop)

        return Entries(whole.shape, whole.dtype, read)

    def writing(self, name, parts):
        fail_now_and_then("writing")
        add(self, name, parts)

    with mock.patch.object(Checkpoint, "entries", reading), mock.patch.object(PartWriter, "add", writing):
        yield


FAULTS = {
    "kill": lambda _: _while_writing(_kill),
    "memory": lambda _: _while_writing(_eat),
    "hang": lambda _: _while_writing(_hang),
    "raise": lambda _: _while_writing(_fail),
    "full": lambda _: _while_writing(_full),
    "scheduler": lambda folder: _while_writing(partial(_kill_other, folder / "scheduler")),
    "storage": _unreliable,
}


def prune(folder, executor, **options):
    """The bytes that come of the pair in that folder, by the workers of an executor."""
    out = Path(folder) / "net.ken.safetensors"
    paths = [Path(folder) / f"{name}.safetensors" for name in ("fine_tuned", "pretrained")]
    with faulty():
        ken.prune(*paths, **RECIPE, out=out, executor=executor, progress=False, **options)
    return out.read_bytes()


def mean(state):
    """An evaluation that any process can import."""
    return sum(float(tensor.float().mean()) for tensor in state.values())
