"""How long a model of 8 billion, 70 billion or a trillion entries takes: the real plan, with durations measured here.

Usage: python benchmarks/plan_simulation.py [--workers 16 64 256] [--megabytes N] [--measured A B C D E]

A pair of random bfloat16 is pruned in parts here by one thread, in processor seconds: for each entry that is decided
about, for each tensor that is opened, for each entry that is joined, and each entry of a split tensor that is read
again. Then the plans of large models are made from shapes alone, by the code that makes real ones, and their parts are
given to workers one after the other, each to the one that is free first.
"""

import argparse
import heapq
import os
import resource
import tempfile
import time
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"

import torch
from safetensors.torch import save_file

import ken
from ken.pruning.parts.packing import Packing, Work, usual_parts
from ken.subnetwork.extract import stretch_of

WIDTH = 2  # bytes of an entry: bfloat16


def dense(layers, hidden, inner, keys, words):
    """Shapes of a Llama, by name."""
    layer = {"q": (hidden, hidden), "k": (keys, hidden), "v": (keys, hidden), "o": (hidden, hidden)}
    layer |= {"gate": (inner, hidden), "up": (inner, hidden), "down": (hidden, inner), "norm": (hidden,)}
    yield from (("embed", (words, hidden)), ("head", (words, hidden)))
    yield from ((f"{number}.{name}", shape) for number in range(layers) for name, shape in layer.items())


def experts(layers, hidden, inner, number_of_experts, words):
    """Shapes of a mixture of experts, each of which has three matrices."""
    yield from (("embed", (words, hidden)), ("head", (words, hidden)))
    for number in range(layers):
        yield from ((f"{number}.{name}", (hidden, hidden)) for name in "qo")
        for expert in range(number_of_experts):
            yield f"{number}.{expert}.gate", (inner, hidden)
            yield f"{number}.{expert}.up", (inner, hidden)
            yield f"{number}.{expert}.down", (hidden, inner)


MODELS = {
    "8 B (Llama 3)": lambda: dense(layers=32, hidden=4096, inner=14336, keys=1024, words=128256),
    "70 B (Llama 3)": lambda: dense(layers=80, hidden=8192, inner=28672, keys=1024, words=128256),
    "1 T (384 experts)": lambda: experts(layers=60, hidden=7168, inner=2048, number_of_experts=384, words=163840),
}


def works(shapes):
    """What there is to read of both models."""
    for name, shape in shapes:
        entries = torch.Size(shape).numel()
        step = stretch_of(shape[-1])
        yield Work(name, entries, WIDTH, base_entries=entries, base_width=WIDTH, step=step)


def makespan(durations, workers):
    """When the last part is done, if each goes to the worker that is free first; the longest are not sorted ahead.

    >>> makespan([2.0, 2.0, 3.0], 2)
    5.0
    """
    free = [0.0] * workers
    for duration in durations:
        heapq.heapreplace(free, free[0] + duration)
    return max(free)


def measured(megabytes):
    """Processor seconds for an entry, a tensor, an entry joined, one read again; and bytes written for an entry."""
    with tempfile.TemporaryDirectory() as place:
        folder, rows = Path(place), megabytes * 500_000 // 4096 // 2
        generator = torch.Generator().manual_seed(0)
        values = [0.02 * torch.randn(rows, 4096, generator=generator) for _ in range(2)]
        for name in ("base", "tuned"):
            size = 0.0 if name == "base" else 0.0005
            moved = [base + size * torch.randn(base.shape, generator=generator) for base in values]
            tensors = {f"{number}": tensor.bfloat16() for number, tensor in enumerate(moved)}
            tensors |= {f"few.{number}": torch.ones(1, 8, dtype=torch.bfloat16) for number in range(3000)}
            save_file(tensors, folder / f"{name}.safetensors")
        pair = folder / "tuned.safetensors", folder / "base.safetensors"
        ken.parts(*pair, 0.5, parts=3)  # imports what it takes
        began = time.process_time()
        plan = ken.parts(*pair, 0.5, parts=3)
        a_tensor = (time.process_time() - began) / 3002
        plan.run(1, folder / "PARTS", progress=False)  # compiles, and brings the file into memory
        began = time.process_time()
        plan.run(2, folder / "PARTS", progress=False)
        entries = sum(piece.stop - piece.start for _, piece in plan.works(2))
        an_entry = (time.process_time() - began) / entries
        written = (folder / "PARTS" / plan.name(2)).stat().st_size / entries
        plan.run(3, folder / "PARTS", progress=False)
        began = time.process_time()
        ken.join(folder / "PARTS", folder / "net", progress=False)
        again = (time.process_time() - began - a_tensor * 3002) / (plan.read_again / WIDTH / 2)
        whole = ken.parts(*pair, 0.5, parts=1)
        whole.run(1, folder / "ONE", progress=False)
        began = time.process_time()
        ken.join(folder / "ONE", folder / "net", progress=False)
        a_copy = max(time.process_time() - began - a_tensor * 3002, 0) / (rows * 4096 * 2)
    return an_entry, a_tensor, a_copy, again, written


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--workers", type=int, nargs="+", default=[16, 64, 256])
    parser.add_argument("--megabytes", type=int, default=400)
    parser.add_argument("--measured", type=float, nargs=5)
    options = parser.parse_args()
    an_entry, a_tensor, a_copy, again, written = options.measured or measured(options.megabytes)
    print(f"measured with {options.megabytes} MB of each model, one thread, processor seconds: ", end="")
    print(
        f"{1 / an_entry / 1e6:.1f} million entries a second; {a_tensor * 1e3:.2f} ms a tensor that is opened; ", end=""
    )
    print(f"joined {1 / a_copy / 1e6:.0f} million entries a second, of split tensors {1 / again / 1e6:.1f} million; ")
    print(f"{written:.2f} bytes written for an entry\n")
    columns = ["model", "entries", "tensors", "parts", "plan", "read by parts", "written", "read again", "core hours"]
    columns += [f"{workers} workers" for workers in options.workers] + ["join"]
    print(f"| {' | '.join(columns)} |\n|{'---|' * len(columns)}")
    for name, shapes in MODELS.items():
        began, before = time.process_time(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        listed = list(works(shapes()))
        total = sum(work.bytes for work in listed)
        packing = Packing(listed, usual_parts(listed))
        took = time.process_time() - began
        grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
        entries = sum(work.entries for work in listed)
        sizes = [packing.bytes_in(index) / WIDTH / 2 for index in range(1, len(packing) + 1)]
        assert sum(sizes) == entries
        durations = [size * an_entry for size in sizes]
        opening = a_tensor * len(listed)
        split = sum(work.entries for work in packing.split())
        join = opening + (entries - split) * a_copy + split * again
        cells = [name, f"{entries / 1e9:,.1f} B", f"{len(listed):,}", f"{len(packing):,}"]
        cells += [f"{took:.1f} s, {grown:.0f} MB", f"{total / 1e9:,.0f} GB", f"{entries * written / 1e9:,.0f} GB"]
        cells += [f"{split * 2 * WIDTH / 1e9:,.0f} GB", f"{(sum(durations) + join) / 3600:,.1f}"]
        times = [opening + makespan(durations, workers) for workers in options.workers]
        cells += [f"{seconds / 60:,.1f} min" for seconds in [*times, join]]
        print(f"| {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
