"""A pair of 1.3 GB each, pruned by one process and by workers: files, time, processor time, memory of every process.

Usage: python benchmarks/executors.py [--folder DIR] [--megabytes N] [--workers N] [--engines dask,pool,parts]

Both models are made here of random numbers, in shards of 400 MB of float32, and removed in the end. The plain run has
as many threads as there are workers. Memory is what was resident at one time, the largest of looks ten times a second.
"""

import argparse
import hashlib
import json
import os
import random
import shutil
import subprocess
import sys
import time
from pathlib import Path

import psutil
import torch
from safetensors.torch import save_file

RUN = "from ken.cli import main; main()"
WITHOUT_DASK = "import ken.subnetwork.executors.own_workers as own; own.dask_is_here = lambda: False; "
SHARD = 400 << 20


def make(folder, megabytes, seed):
    """A folder of shards: layers of 1024 × 1024 and 4096 × 1024, and words of 30,522 × 1024."""
    folder.mkdir(parents=True)
    generators = [torch.Generator().manual_seed(0), torch.Generator().manual_seed(seed)]
    shapes = {"words.weight": (30_522, 1024)}
    layer = {"query": (1024, 1024), "key": (1024, 1024), "up": (4096, 1024), "down": (1024, 4096), "norm": (1024,)}
    number = 0
    while 4 * sum(torch.Size(shape).numel() for shape in shapes.values()) < megabytes * 1e6:
        shapes |= {f"layer.{number}.{name}.weight": shape for name, shape in layer.items()}
        number += 1
    shards, size = [{}], 0
    for name, shape in shapes.items():
        if size + 4 * torch.Size(shape).numel() > SHARD and shards[-1]:
            shards.append({})
            size = 0
        shards[-1][name] = shape
        size += 4 * torch.Size(shape).numel()
    places = {}
    for index, shard in enumerate(shards):
        file = f"model-{index + 1:05}-of-{len(shards):05}.safetensors"
        base = {name: torch.randn(shape, generator=generators[0]) * 0.02 for name, shape in shard.items()}
        if seed:
            for tensor in base.values():
                tensor += torch.randn(tensor.shape, generator=generators[1]) * 0.0005
        save_file(base, folder / file)
        places |= dict.fromkeys(shard, file)
    index = {"metadata": {}, "weight_map": places}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


def watched(command, cwd, environment=None):
    """Seconds, processor seconds with all children, and the most memory of the process and of its largest child."""
    before, began = os.times(), time.perf_counter()
    running = subprocess.Popen(command, cwd=cwd, env={**os.environ, **(environment or {})}, stderr=subprocess.DEVNULL)
    client, peak, worker = psutil.Process(running.pid), 0, 0
    spent = {}
    while running.poll() is None:
        try:
            peak = max(peak, client.memory_info().rss)
            for child in client.children(recursive=True):
                worker = max(worker, child.memory_info().rss)
                times = child.cpu_times()
                spent[child.pid] = times.user + times.system
        except psutil.Error:
            pass
        time.sleep(0.1)
    assert running.returncode == 0, command
    after = os.times()
    of_children = after.children_user + after.children_system - before.children_user - before.children_system
    return time.perf_counter() - began, of_children, peak, worker


def checksum(path):
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def parts_at_random(folder, number):
    """A process for each part, two at a time, in random order; then the join."""
    order = random.Random(0).sample(range(1, number + 1), number)
    text = "\n".join(map(str, order))
    words = "prune tuned base -k 0.5 --part {}/" + f"{number} -o PARTS"
    command = f"xargs -P 2 -I{{}} {sys.executable} -c '{RUN}' {words} && {sys.executable} -c '{RUN}' join PARTS -o out"
    return ["bash", "-c", f"set -e; printf '{text}\n' | {command}"]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--folder", type=Path, default=Path("ken-executors"))
    parser.add_argument("--megabytes", type=int, default=1300)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--engines", default="dask,pool,parts")
    options = parser.parse_args()
    folder, threads = options.folder, {"OMP_NUM_THREADS": str(options.workers)}
    for name, seed in (("base", 0), ("tuned", 1)):
        if not (folder / name).exists():
            make(folder / name, options.megabytes, seed)
    prune = [sys.executable, "-c", RUN, "prune", "tuned", "base", "-k", "0.5", "-o"]
    workers = ["out", "--workers", str(options.workers)]
    runs = {
        "plain": ([*prune, "plain"], threads),
        "dask": ([*prune, *workers], None),
        "pool": ([sys.executable, "-c", WITHOUT_DASK + RUN, *prune[3:], *workers], None),
        "parts": (parts_at_random(folder, 12), {"OMP_NUM_THREADS": "1"}),
    }
    print("| run | seconds | processor seconds | most memory, client | most memory, a worker | file |")
    print("|---|---|---|---|---|---|")
    same = {}
    for name in ["plain", *options.engines.split(",")]:
        seconds, spent, client, worker = watched(*[runs[name][0], folder, runs[name][1]])
        out = folder / ("plain" if name == "plain" else "out")
        same[name] = checksum(out)
        verdict = "the one of plain" if same[name] == same["plain"] else "ANOTHER"
        print(
            f"| {name} | {seconds:.1f} | {spent:.1f} | {client / 1e6:.0f} MB | {worker / 1e6:.0f} MB | {verdict} |",
            flush=True,
        )
        if name != "plain":
            out.unlink()
    shutil.rmtree(folder)
    assert len({*same.values()}) == 1


if __name__ == "__main__":
    main()
