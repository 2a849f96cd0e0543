"""From disk to a file: each part alone on one core, all of them on one core and on two."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence

from whole import models
from whole.lines import Line, Setting, line
from whole.measuring import Sample, inside

GROUP = "From disk to a file, part by part (MiniLM's size, k = 0.5)"
PARTS = ("reading", "deciding", "encoding", "hashing", "writing")
IN_ORDER = ("encoding", "hashing", "writing")  # distances alone are taken out by several threads
TOGETHER = "all together, {} of two cores"


def measure(setting: Setting) -> Iterator[Line]:
    pair = models.minilm(setting.folder)
    net = models.net(pair)
    paths = {"fine_tuned": str(pair.fine_tuned), "pretrained": str(pair.pretrained)}
    samples = inside("stages", setting.rounds, cores=1, net=str(net), **paths)
    floors = {"reading": (pair.bytes, 0), "hashing": (3 * pair.bytes // 2, 0), "writing": (0, net.stat().st_size)}
    for name in PARTS:
        floor = setting.floor(*floors[name]) if name in floors else 0.0
        alone = [sample._replace(peak=0) for sample in samples[name]]
        yield line(GROUP, f"{name}, alone", name, own=alone, floor=floor)
    floor = setting.floor(pair.bytes, net.stat().st_size)
    whole = [sample._replace(peak=0) for sample in samples["all"]]
    yield line(
        GROUP, TOGETHER.format("one"), "together", own=whole, peer=_sums([samples[p] for p in PARTS]), floor=floor
    )
    if len(os.sched_getaffinity(0)) > 1:
        both = inside("prune", setting.rounds, cores=2, **paths)["prune"]
        yield line(GROUP, TOGETHER.format("two"), "together", own=both, peer=whole, floor=floor)


def _sums(parts: Sequence[Sequence[Sample]]) -> list[Sample]:
    return [Sample(sum(s.wall for s in turn), sum(s.cpu for s in turn)) for turn in zip(*parts, strict=True)]
