"""What is done with a subnetwork: inject, verify, report, and opening the views."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from whole import models
from whole.lines import Line, Setting, line
from whole.measuring import Sample, inside, ken, process, turns
from whole.prune_rows import PEERS

GROUP = "With a subnetwork"


def minilm(setting: Setting) -> Iterator[Line]:
    yield from _pair(setting, models.minilm(setting.folder), "MiniLM's size")


def small(setting: Setting) -> Iterator[Line]:
    yield from _pair(setting, models.small(setting.folder)[0], f"{models.SMALL:,} tensors of 95 × 96")


def _pair(setting: Setting, pair: models.Models, name: str) -> Iterator[Line]:
    net, one = models.net(pair), pair.bytes // 2
    stored = net.stat().st_size
    runs: dict[str, list[Sample]] = {key: [] for key in ("inject", "verify", "report", "copy", "hash")}
    with tempfile.TemporaryDirectory(dir=setting.folder) as folder:
        out, page, copy = (Path(folder) / part for part in ("model", "report.html", "copy.safetensors"))
        for turn in turns(setting.rounds):
            samples = {
                "inject": ken("inject", net, pair.pretrained, "-o", out),
                "verify": ken("verify", net, pair.pretrained),
                "report": ken("report", net, *pair, "-o", page, "--force"),
                "copy": process(PEERS, "inject", pair.fine_tuned, copy)[0],
                "hash": process(PEERS, "verify", pair.pretrained)[0],
            }
            shutil.rmtree(out)
            if turn:
                for key, sample in samples.items():
                    runs[key].append(sample)
    for verb, peer, floor in (
        ("inject", "copy", setting.floor(one + stored, one)),
        ("verify", "hash", setting.floor(one + stored)),
        ("report", "", setting.floor(2 * one + stored)),
    ):
        own, plain = runs[verb], runs[peer] if peer else ()
        yield line(GROUP, f"`ken {verb}`, {name}", verb, own=own, peer=plain, floor=floor)
    opening = inside(
        "explore",
        setting.rounds,
        net=str(net),
        fine_tuned=str(pair.fine_tuned),
        pretrained=str(pair.pretrained),
    )
    for call, key in (("net, pair", "net"), ("pair, k=0.5", "pair")):
        yield line(GROUP, f"opening `kenviz.explore({call})`, {name}", "explore", own=opening[key])


def llama(setting: Setting) -> Iterator[Line]:
    pair = models.sparse(setting.folder, "llama", 32)
    opening = inside("explore_pair", setting.rounds, fine_tuned=str(pair.fine_tuned), pretrained=str(pair.pretrained))
    name = "Llama-3-8B's shapes without values"
    yield line(GROUP, f"opening `kenviz.explore(pair, k=0.5)`, {name}", "explore", own=opening["pair"])
    shutil.rmtree(pair.fine_tuned.parent)
