"""What a process takes, or an action within one: wall time, user and system time, the most memory it had."""

from __future__ import annotations

import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

_HERE = Path(__file__).parent
KEN = "from ken.cli import main; main()"


class Sample(NamedTuple):
    """Seconds, seconds of processors, and bytes resident at most."""

    wall: float
    cpu: float
    peak: int = 0


def median(samples: Iterable[Sample]) -> Sample:
    """Of each number by itself."""
    wall, cpu, peak = zip(*samples, strict=True)
    return Sample(statistics.median(wall), statistics.median(cpu), int(statistics.median(peak)))


def process(code: str, *arguments: object, cores: int = 0, **environment: str) -> tuple[Sample, str]:
    """One run of Python code, or of a file of it, and what it prints. cores: how many it may use; 0 for all."""
    with tempfile.TemporaryDirectory() as folder:
        peak = Path(folder) / "peak"
        begun = time.perf_counter()
        with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
            child = subprocess.Popen(
                [sys.executable, str(_HERE / "launch.py"), str(peak), code, *map(str, arguments)],
                stdout=output,
                stderr=errors,
                env={**os.environ, **environment},
                preexec_fn=(lambda: os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:cores]))
                if cores
                else None,
            )
            _, status, usage = os.wait4(child.pid, 0)
            wall = time.perf_counter() - begun
            child.returncode = os.waitstatus_to_exitcode(status)
            output.seek(0)
            text = output.read().decode()
            if child.returncode:
                errors.seek(0)
                raise RuntimeError(
                    f"{[code, *map(str, arguments)]} ended with {child.returncode}: {errors.read().decode()}"
                )
        return Sample(wall, usage.ru_utime + usage.ru_stime, int(peak.read_text())), text


def turns(rounds: int) -> range:
    """Turns of processes: turn 0 fills caches and does not count; for a quick look at one round there is none."""
    return range(1 if rounds == 1 else 0, rounds + 1)


def ken(*arguments: object, cores: int = 0, **environment: str) -> Sample:
    """One run of the command `ken`."""
    return process(KEN, *arguments, cores=cores, **environment)[0]


def inside(action: str, rounds: int, *, cores: int = 0, **arguments: Any) -> dict[str, list[Sample]]:
    """Samples of the actions that a function of `whole.actions` gives, in a process of their own, by name."""
    code = "from whole.measuring import report; report()"
    where = os.pathsep.join(filter(None, [str(_HERE.parent), os.environ.get("PYTHONPATH", "")]))
    threads = {"OMP_NUM_THREADS": str(cores)} if cores else {}
    _, text = process(code, action, rounds, json.dumps(arguments), cores=cores, PYTHONPATH=where, **threads)
    return {name: [Sample(*one) for one in samples] for name, samples in json.loads(text.splitlines()[-1]).items()}


def report() -> None:
    """What `inside` runs."""
    from whole import actions

    _, action, rounds, arguments = sys.argv
    print(json.dumps(in_turns(getattr(actions, action)(**json.loads(arguments)), int(rounds))))


def in_turns(actions: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, list[Sample]]:
    """Samples of each, taken in turns, so that what disturbs one disturbs all; the first turn does not count.

    The most memory is that of the process so far, so it belongs to what took most.

    >>> {name: len(samples) for name, samples in in_turns({"a": lambda: 1, "b": lambda: 2}, 3).items()}
    {'a': 3, 'b': 3}
    """
    samples: dict[str, list[Sample]] = {name: [] for name in actions}
    for turn in range(rounds + 1):
        for name, act in actions.items():
            cpu, begun = time.process_time(), time.perf_counter()
            act()
            wall, cpu = time.perf_counter() - begun, time.process_time() - cpu
            if turn:
                samples[name].append(Sample(wall, cpu, _peak()))
    return samples


def _peak() -> int:
    try:
        text = Path("/proc/self/status").read_text(encoding="utf-8")
    except OSError:
        return 0
    return int(text.partition("VmHWM:")[2].split()[0]) << 10


class Watch:
    """What others do with the processors from now on."""

    def __init__(self) -> None:
        self._begun, self._busy, self._own = time.perf_counter(), _busy(), _own()

    def others(self) -> float:
        """The share of the processors that was used neither by this process nor by its children that have ended."""
        spent = (time.perf_counter() - self._begun) * (os.cpu_count() or 1)
        return min(1.0, max(0.0, (_busy() - self._busy - (_own() - self._own)) / max(spent, 1e-9)))


def _own() -> float:
    usages = map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def _busy() -> float:
    """Seconds that all processors together have worked so far, for whomever."""
    try:
        fields = Path("/proc/stat").read_text(encoding="utf-8").split("\n", 1)[0].split()[1:]
    except OSError:
        return 0.0
    user, nice, system, _, _, interrupt, soft, steal = map(int, fields[:8])
    return (user + nice + system + interrupt + soft + steal) / os.sysconf("SC_CLK_TCK")
