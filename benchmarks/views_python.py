"""What the views take in Python, without a browser: a change of a RowView, and opening the Explorer of a large model.

    python benchmarks/views_python.py [--rounds 15]

A RowView of random normal rows of 384, 1,536 and 4,096 entries, share 0.5: the time from setting a trait to columns
that are ready to be sent, for each trait a slider or a list moves, stability told and not. The Explorer of a pair of
the size of BERT-base, 109 million random entries: from the call to the widget, right after pruning. Limits are
those the project has set itself.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import torch

import ken
import kenviz

LENGTHS = (384, 1536, 4096)
LIMIT_MS, OPEN_LIMIT_S = 50, 2


def median(act: Callable[[int], object], rounds: int) -> tuple[float, float]:
    """Milliseconds of one act: the median of some, and the slowest."""
    act(-1)
    times = []
    for i in range(rounds):
        begun = time.perf_counter()
        act(i)
        times.append(1000 * (time.perf_counter() - begun))
    return statistics.median(times), max(times)


def rows(rounds: int) -> None:
    changes = {
        "row": lambda view, i: setattr(view, "row", 1 + i % 30),
        "k": lambda view, i: setattr(view, "k", view.own_k() - 2 - i % 30),
        "bandwidth": lambda view, i: setattr(view, "bandwidth", 1.25 + (i % 30) / 16),
        "kernel": lambda view, i: setattr(view, "kernel", ["epanechnikov", "gaussian"][i % 2]),
        "rule": lambda view, i: setattr(view, "rule", ["grid", "ken"][i % 2]),
        "on": lambda view, i: setattr(view, "on", ["update", "weights"][i % 2]),
        "step": lambda view, i: setattr(view, "step", 2 + i % 30),
        "entry": lambda view, i: setattr(view, "entry", 1 + i % 30),
    }
    print(f"RowView, ms from a change to its columns, median (slowest) of {rounds}; limit {LIMIT_MS}")
    print("| n | stability | " + " | ".join(changes) + " |")
    print("|---|---|" + "---|" * len(changes))
    generator = torch.Generator().manual_seed(0)
    for n in LENGTHS:
        pretrained = {"w": torch.randn(64, n, generator=generator) * 0.05}
        pair = ken.Pair({"w": pretrained["w"] + torch.randn(64, n, generator=generator) * 0.005}, pretrained)
        net = ken.prune(*pair, 0.5, progress=False)
        for stability in (False, True):
            view = kenviz.RowView(net, pair, stability=stability)
            cells = []
            for change in changes.values():
                middle, slowest = median(lambda i, change=change, view=view: change(view, i), rounds)
                cells.append(f"{'**' if middle >= LIMIT_MS else ''}{middle:.1f} ({slowest:.0f})")
            print(f"| {n:,} | {'told' if stability else 'not'} | " + " | ".join(cells) + " |", flush=True)


def explorer(rounds: int) -> None:
    from transformers import BertConfig, BertModel

    torch.manual_seed(0)
    pretrained = BertModel(BertConfig())
    torch.manual_seed(1)
    fine_tuned = BertModel(BertConfig())
    net = ken.prune(fine_tuned, pretrained, 0.5, progress=False)
    pair = ken.Pair(fine_tuned, pretrained)
    begun = time.perf_counter()
    kenviz.explore(net, pair)
    first = time.perf_counter() - begun
    middle, _ = median(lambda _: kenviz.explore(net, pair), min(rounds, 5))
    ok = "ok" if first < OPEN_LIMIT_S else "TOO SLOW"
    print(
        f"\nExplorer, {net.entries:,} entries, after prune: {first:.2f} s the first time (limit {OPEN_LIMIT_S}, {ok}), "
        f"{middle / 1000:.2f} s again"
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15)
    options = parser.parse_args()
    rows(options.rounds)
    explorer(options.rounds)
