"""What it takes to begin: a process, the first call, and each tensor whatever its size."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path

from whole import models
from whole.lines import Line, Setting, line
from whole.measuring import Sample, inside, ken, process

GROUP = "To begin"
_TWICE = """
import json, sys, time
import torch
import ken
times = []
for _ in range(2):
    cpu, begun = time.process_time(), time.perf_counter()
    ken.prune(*sys.argv[1:3], 0.5, progress=False)
    times.append((time.perf_counter() - begun, time.process_time() - cpu))
print(json.dumps(times))
"""
_ONCE = "import sys, ken; ken.prune(*sys.argv[1:3], 0.5, progress=False)"


def help_text(setting: Setting) -> Iterator[Line]:
    own = [ken("--help") for _ in range(setting.rounds + 1)][1:]
    peer = [process("pass")[0] for _ in range(setting.rounds + 1)][1:]
    yield line(GROUP, "`ken --help`", "help", own=own, peer=peer, aim="0.4 s")


def first_call(setting: Setting) -> Iterator[Line]:
    pair = models.minilm(setting.folder)
    process(_ONCE, *pair)
    empty, warm, first, second = [], [], [], []
    for _ in range(setting.rounds):
        with tempfile.TemporaryDirectory() as folder:
            caches = {name: str(Path(folder) / name) for name in ("KEN_CACHE", "NUMBA_CACHE_DIR")}
            empty.append(process(_ONCE, *pair, **caches)[0])
        warm.append(process(_ONCE, *pair)[0])
        sample, text = process(_TWICE, *pair)
        for times, samples in zip(json.loads(text.splitlines()[-1]), (first, second), strict=True):
            samples.append(Sample(*times, sample.peak))
    name = "MiniLM's size, in memory"
    yield line(GROUP, f"a process that prunes, no cache filled, {name}", "empty", own=empty, peer=warm, aim="8 s")
    yield line(
        GROUP, f"the first `ken.prune` of a process, {name}", "first", own=first, peer=second, aim="the second + 0.5 s"
    )


def tensors(setting: Setting) -> Iterator[Line]:
    many, one = models.small(setting.folder)
    samples = inside("tensors", setting.rounds, many=[str(path) for path in many], one=[str(path) for path in one])
    name = f"{models.SMALL:,} tensors of 95 × 96"
    net = models.net(many)
    floor = setting.floor(many.bytes, net.stat().st_size)
    yield line(GROUP, f"{name} from disk to a file", "tensors", own=samples["many"], peer=samples["one"], floor=floor)
    beyond = [Sample(a.wall - b.wall, a.cpu - b.cpu) for a, b in zip(samples["many"], samples["one"], strict=True)]
    yield line(
        GROUP,
        "one of these tensors beyond its entries",
        "tensor",
        own=beyond,
        scale=1e3 / models.SMALL,
        unit="ms",
        aim="0.3 ms",
    )
