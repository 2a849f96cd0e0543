"""What a row costs, what a tensor costs, and whether the masks are those of the plain rule, in one run.

Usage: python benchmarks/rows.py [--rows N] [--repeats N]

Processor time on one thread, side by side, medians: the whole of `ken.prune` beside `torch.topk` of the same rows; the
order of rows as `ken` finds it beside numpy's sort; 2,867 small tensors beside the same entries as one matrix, and a
second process that prunes two folders. Then the masks of random rows of every dtype and of rows of the demo's models
are compared with the definition of the rule, entry by entry.
"""

import argparse
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

import ken
from ken.rules import RowBlock
from ken.rules.registry import mask_block
from ken.rules.sorted_order import first_lowest, sorted_order

TENSORS, SHAPE = 2867, (95, 96)
ENTRIES = 1 << 21  # of the rows of a length, about
DTYPES = (torch.float32, torch.float16, torch.bfloat16, torch.float64)


def medians(repeats: int, **runs) -> dict[str, float]:
    """Median processor seconds of each, taken in turns, so that what disturbs one disturbs all."""
    times = {name: [] for name in runs}
    for turn in range(repeats + 1):
        for name, run in runs.items():
            start = time.process_time()
            run()
            if turn:  # the first is for what is compiled, imported or read once
                times[name].append(time.process_time() - start)
    return {name: statistics.median(taken) for name, taken in times.items()}


def random_rows(n: int, dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor]:
    """Fine-tuned and pretrained rows of that length."""
    rng = np.random.default_rng(0)
    tensor = torch.from_numpy(rng.normal(0, 0.04, (ENTRIES // n, n))).to(dtype)
    return (tensor + torch.from_numpy(rng.normal(0, 1e-3, tensor.shape))).to(dtype), tensor


def rows_table(repeats: int) -> None:
    print("µs a row, k = n/2; sort: numpy's argsort of float64; stable: its stable sort, which equal scores need")
    print(
        f"{'n':>6} {'dtype':10}{'ken':>8}{'update':>8}{'topk':>8}{'ken/topk':>10}{'order/sort':>12}{'first/stable':>14}"
    )
    for n in (384, 1024, 4096):
        for dtype in DTYPES[:3]:
            many = ENTRIES // n
            tuned, tensor = random_rows(n, dtype)
            rows = tuned[: (1 << 17) // n].double().numpy()
            scores = -np.abs(rows - tensor[: len(rows)].double().numpy())

            def prune(rule, tuned=tuned, tensor=tensor, n=n):
                return ken.prune({"w": tuned}, {"w": tensor}, n // 2, rule=rule, progress=False)

            took = medians(
                repeats,
                ken=lambda prune=prune: prune("ken"),
                update=lambda prune=prune: prune("update"),
                topk=lambda tuned=tuned, n=n: torch.topk(tuned, n // 2, dim=1),
            )
            small = medians(
                4 * repeats,
                order=lambda rows=rows: sorted_order(rows),
                sort=lambda rows=rows: np.argsort(rows, axis=1),
                first=lambda scores=scores, n=n: first_lowest(scores, n // 2),
                stable=lambda scores=scores: np.argsort(scores, axis=1, kind="stable"),
            )
            own, update, topk = (1e6 * took[name] / many for name in ("ken", "update", "topk"))
            print(
                f"{n:>6} {str(dtype).removeprefix('torch.'):10}{own:>8.1f}{update:>8.1f}{topk:>8.1f}{own / topk:>10.2f}"
                f"{small['order'] / small['sort']:>12.2f}{small['first'] / small['stable']:>14.2f}"
            )


def tensors_table(repeats: int, folder: Path) -> None:
    rng = np.random.default_rng(1)
    base = {f"layer.{i}.weight": torch.from_numpy(rng.normal(0, 0.04, SHAPE)).float() for i in range(TENSORS)}
    tuned = {name: tensor + 1e-3 * torch.from_numpy(rng.normal(0, 1, SHAPE)).float() for name, tensor in base.items()}
    paths = {name: folder / f"{name}.safetensors" for name in ("base", "tuned", "base-one", "tuned-one", "net")}
    for name, tensors in (("base", base), ("tuned", tuned)):
        save_file(tensors, paths[name])
        save_file({"weight": torch.cat(list(tensors.values()))}, paths[f"{name}-one"])

    def prune(suffix: str) -> None:
        ken.prune(paths["tuned" + suffix], paths["base" + suffix], 0.5, out=paths["net"], progress=False)

    took = medians(repeats, many=lambda: prune(""), one=lambda: prune("-one"))
    beyond = 1e3 * (took["many"] - took["one"]) / TENSORS
    print(
        f"\n{TENSORS:,} tensors of {SHAPE}, disk to disk: {took['many']:.2f} s; as one matrix {took['one']:.2f} s; "
        f"{took['many'] / took['one']:.2f} times, {beyond:.2f} ms a tensor beyond its entries"
    )


def process_table(repeats: int, folder: Path) -> None:
    from transformers import BertConfig, BertForSequenceClassification

    model = BertForSequenceClassification(BertConfig(hidden_size=384, num_hidden_layers=6, intermediate_size=1536))
    model.save_pretrained(folder / "pretrained")
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(1e-3 * torch.randn_like(parameter))
    model.save_pretrained(folder / "fine_tuned")
    command = (
        f"import ken; ken.prune({str(folder / 'fine_tuned')!r}, {str(folder / 'pretrained')!r}, 0.5, progress=False)"
    )

    def run(cache: Path) -> float:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, "-c", command], check=True, env={**os.environ, "KEN_CACHE": str(cache)})
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    run(folder / "cache")
    asked, kept = [], []
    for turn in range(repeats):
        asked.append(run(folder / f"cache-{turn}"))
        kept.append(run(folder / "cache"))
    first, later = statistics.median(asked), statistics.median(kept)
    print(
        f"a BERT of MiniLM's size, whole process: {first:.2f} s where transformers has to be asked about the class, "
        f"{later:.2f} s afterwards ({later / first:.2f} times)"
    )


def plain_rule(rows: np.ndarray, k: int) -> np.ndarray:
    """The definition of the published rule, for many rows side by side; every claim looks at every entry."""
    many, n = rows.shape
    low, high = rows.min(axis=1, keepdims=True), rows.max(axis=1, keepdims=True)
    h = 1.06 * rows.std(axis=1, keepdims=True) * n**-0.2
    points = np.linspace(low[:, 0], high[:, 0], k, axis=1)
    density = np.empty((many, k))
    for j in range(k):
        density[:, j] = np.exp(-0.5 * ((points[:, j : j + 1] - rows) / h) ** 2).sum(axis=1)
    density /= n * h * np.sqrt(2 * np.pi)
    order = np.argsort(-np.round(density), axis=1, kind="stable")
    free, mask = rows.copy(), np.zeros(rows.shape, bool)
    each = np.arange(many)
    for j in range(k):
        point = points[each, order[:, j]][:, None]
        nearest = np.abs(free - point).argmin(axis=1)
        mask[each, nearest], free[each, nearest] = True, np.inf
    return mask


def masks_table(wanted: int) -> None:
    rng, seen, different = np.random.default_rng(2), 0, 0
    pair = ken.demo.pair()
    weights = np.concatenate(
        [
            p.detach().numpy().reshape(-1)
            for model in (pair.fine_tuned, pair.pretrained)
            for p in model.parameters()
            if p.ndim == 2
        ]
    )
    per_source: dict[str, int] = {}
    while seen < wanted:
        for dtype in DTYPES:
            for source in ("demo", "normal", "Student's t"):
                n = int(rng.choice((16, 32, 48, 64, 96, 384), p=(0.3, 0.3, 0.2, 0.15, 0.045, 0.005)))
                k, shape = int(rng.integers(1, n)), (4096 if n < 384 else 256, n)
                if source == "demo":
                    starts = rng.integers(0, weights.size - n, shape[0])
                    values = weights[starts[:, None] + np.arange(n)]
                else:
                    values = 0.04 * (rng.normal(size=shape) if source == "normal" else rng.standard_t(3, shape))
                rows = torch.from_numpy(values).to(dtype).double().numpy()
                rows = rows[rows.min(axis=1) < rows.max(axis=1)]
                mask = mask_block("ken", RowBlock(rows, rows), k)
                different += int((mask != plain_rule(rows, k)).any(axis=1).sum())
                seen += len(rows)
                per_source[f"{str(dtype).removeprefix('torch.')}, {source}"] = per_source.get(
                    f"{str(dtype).removeprefix('torch.')}, {source}", 0
                ) + len(rows)
    print(f"\n{seen:,} rows of 16 to 384 entries against the definition: {different} differ")
    print("  " + "; ".join(f"{name}: {count:,}" for name, count in per_source.items()))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=1_000_000, help="rows that are compared with the definition")
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines() if Path("/proc/cpuinfo").exists() else []
    processor = next((line.split(":")[1].strip() for line in lines if "model name" in line), "")
    print(f"{time.strftime('%d %B %Y')}; {processor or platform.processor()}; numpy {np.__version__}; one thread")
    rows_table(arguments.repeats)
    with tempfile.TemporaryDirectory() as folder:
        tensors_table(arguments.repeats, Path(folder))
        process_table(arguments.repeats, Path(folder))
    masks_table(arguments.rows)
    print(f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.2f} GB resident at most")
