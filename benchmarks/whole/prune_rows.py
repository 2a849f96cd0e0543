"""`ken prune` from disk to a file, as a whole process and again in the same one, beside the plain way."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

from whole import models
from whole.lines import Line, Setting, line
from whole.measuring import Sample, inside, ken, process, turns

GROUP = "From disk to a file, k = 0.5"
PEERS = str(Path(__file__).with_name("peers.py"))


def minilm(setting: Setting) -> Iterator[Line]:
    yield from _pair(setting, models.minilm(setting.folder), "MiniLM's size, 23 M float32", aim="4 s")


def bert(setting: Setting) -> Iterator[Line]:
    yield from _pair(setting, models.bert(setting.folder), "BERT-base's size, 109 M float32", aim="10 s")


def _pair(setting: Setting, pair: models.Models, name: str, *, aim: str) -> Iterator[Line]:
    runs: dict[str, list[Sample]] = {"ken": [], "update": [], "peer": []}
    with tempfile.TemporaryDirectory(dir=setting.folder) as folder:
        net, dense = Path(folder) / "net.ken.safetensors", Path(folder) / "dense.safetensors"
        for turn in turns(setting.rounds):
            for rule in ("ken", "update"):
                sample = ken("prune", *pair, "-k", 0.5, "--rule", rule, "-o", net, "--force")
                runs[rule] += [sample] if turn else []
                size = net.stat().st_size
            sample, _ = process(PEERS, "prune", *pair, 0.5, dense)
            runs["peer"] += [sample] if turn else []
    floor = setting.floor(pair.bytes, size)
    for rule, target in (("ken", aim), ("update", "")):
        yield line(
            GROUP,
            f"`ken prune`, rule `{rule}`, {name}",
            "prune",
            own=runs[rule],
            peer=runs["peer"],
            floor=floor,
            aim=target,
        )
    again = inside("prune", setting.rounds, fine_tuned=str(pair.fine_tuned), pretrained=str(pair.pretrained))
    yield line(GROUP, f"the second `ken.prune` of a process, {name}", "prune again", own=again["prune"], floor=floor)


def bloom(setting: Setting) -> Iterator[Line]:
    yield from _large(setting, models.shards(setting.folder, "bloom", 24), "BLOOM-1b7's shapes, 1,722 M bfloat16")


def _large(setting: Setting, pair: models.Models, name: str) -> Iterator[Line]:
    net, samples = pair.fine_tuned.parent / "net.ken.safetensors", []
    for _ in range(setting.rounds):
        samples.append(ken("prune", *pair, "-k", 0.5, "-o", net, "--force"))
    floor = setting.floor(pair.bytes, net.stat().st_size)
    aim = "60 s, 1 GB" if "BLOOM" in name else ""
    yield line(GROUP, f"`ken prune`, {name}", "prune large", own=samples, floor=floor, aim=aim)


def llama(setting: Setting) -> Iterator[Line]:
    """Once, and deleted after; half of the layers where the disk does not hold all."""
    import shutil
    from dataclasses import replace

    layers = 32 if shutil.disk_usage(setting.folder).free > 48e9 else 16
    once = replace(setting, rounds=1)
    pair = models.shards(setting.folder, "llama", layers)
    name = f"Llama-3-8B's shapes, {layers} layers, {pair.bytes / 4e9:.1f} G bfloat16"
    try:
        yield from _large(once, pair, name)
        net, page = pair.fine_tuned.parent / "net.ken.safetensors", pair.fine_tuned.parent / "report.html"
        report = ken("report", net, *pair, "-o", page, "--force")
        yield line(GROUP, f"`ken report`, {name}", "report", own=[report])
        opening = inside("explore", 1, net=str(net), fine_tuned=str(pair.fine_tuned), pretrained=str(pair.pretrained))
        yield line(GROUP, f"`kenviz.explore(net, pair)`, {name}", "explore", own=opening["net"])
        yield line(GROUP, f"`kenviz.explore(pair, k=0.5)`, {name}", "explore", own=opening["pair"])
    finally:
        shutil.rmtree(pair.fine_tuned.parent)
