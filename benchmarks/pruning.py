"""How long pruning takes, beside the plain way to do it and beside what magnitude pruners use, in one run.

Usage: python benchmarks/pruning.py [--rows N]

For rows of several lengths the same rows are decided by `ken.prune`'s rule, by a plain loop over rows with
sklearn.neighbors.KernelDensity (the density estimator that the published code calls), by the ten-line definition in
tests/oracles.py, and the k largest are found by torch.topk. Then the MiniLM pair of the demo is pruned whole.
"""

import argparse
import sys
import time
from pathlib import Path

import numpy as np
import torch
from sklearn.neighbors import KernelDensity

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))
import oracles

import ken
from ken.density import bandwidth


def with_sklearn(row: np.ndarray, k: int) -> np.ndarray:
    """The rule for one row with sklearn's density and numpy's argmin: plain, and as exact as sklearn's defaults."""
    h = float(bandwidth(row[None])[0, 0])
    points = np.linspace(row.min(), row.max(), k)
    density = np.exp(KernelDensity(bandwidth=h).fit(row[:, None]).score_samples(points[:, None]))
    free = row.copy()
    mask = np.zeros(len(row), dtype=bool)
    for j in np.argsort(-np.rint(density), kind="stable"):
        nearest = np.abs(free - points[j]).argmin()
        mask[nearest], free[nearest] = True, np.inf
    return mask


def clock(run, repeats=3):
    """Shortest of several runs, in seconds, and the last result."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        result = run()
        times.append(time.perf_counter() - start)
    return min(times), result


def rows_table(few: int) -> None:
    print(f"{torch.get_num_threads()} threads; µs a row at k = n/2; ken and topk on many rows, the slow ones on {few}")
    print(
        f"{'n':>6}{'ken':>10}{'topk':>10}{'sklearn':>12}{'definition':>12}{'ken/topk':>10}{'sklearn/ken':>13}{'agree':>8}"
    )
    rng = np.random.default_rng(0)
    for n, many in ((384, 20_000), (768, 10_000), (1536, 5_000), (3072, 2_000), (4096, 1_500)):
        k = n // 2
        rows = rng.normal(0, 0.04, (many, n)).astype(np.float32)
        tensor = torch.from_numpy(rows)
        pair = ken.Pair({"w": tensor}, {"w": tensor})
        ken.prune({"w": tensor[:8]}, {"w": tensor[:8]}, k)
        by_ken, net = clock(lambda pair=pair, k=k: ken.prune(*pair, k, progress=False))
        topk, _ = clock(lambda tensor=tensor, k=k: torch.topk(tensor, k, dim=1))
        some = rows[:few].astype(np.float64)
        sklearn, masks = clock(lambda some=some, k=k: [with_sklearn(row, k) for row in some], 1)
        plain, wanted = clock(lambda some=some, k=k: [oracles.published_rule(row, k) for row in some], 1)
        mask = net["w"].row_mask(slice(0, few))
        assert np.array_equal(mask, np.array(wanted))
        agree = np.mean([(a & b).sum() / k for a, b in zip(mask, masks, strict=True)])
        by_ken, topk, sklearn, plain = 1e6 * by_ken / many, 1e6 * topk / many, 1e6 * sklearn / few, 1e6 * plain / few
        print(
            f"{n:>6}{by_ken:>10.1f}{topk:>10.1f}{sklearn:>12.0f}{plain:>12.0f}{by_ken / topk:>10.1f}"
            f"{sklearn / by_ken:>13.0f}{agree:>8.2%}"
        )


def model_table(few: int) -> None:
    pair = ken.demo.pair()
    print("\nthe MiniLM pair of the demo, k = 0.5 of each row, in memory")
    for rule in ("ken", "grid", "random"):
        seconds, net = clock(
            lambda rule=rule: ken.prune(pair.fine_tuned, pair.pretrained, 0.5, rule=rule, progress=False)
        )
        print(f"  {rule:8}{seconds:8.2f} s   {net}")
        if rule == "ken":
            by_ken = seconds
    # The plain way is timed on some rows of every tensor, and counted for all of them.
    models, rng, slow = ken.open_pair(pair.fine_tuned, pair.pretrained), np.random.default_rng(0), 0.0
    by_length: dict[int, list[tuple[str, int]]] = {}
    for name in net.pruned():
        rows, n = models.row_shape(name)
        by_length.setdefault(n, []).append((name, rows))
    for n, tensors in by_length.items():
        total = sum(rows for _, rows in tensors)
        sample = []
        for _ in range(few):
            at = int(rng.integers(total))
            for name, rows in tensors:
                if at < rows:
                    sample.append(models.rows(name, slice(at, at + 1))[0][0])
                    break
                at -= rows
        varied = [row for row in sample if row.max() > row.min()]
        seconds, _ = clock(lambda varied=varied, n=n: [with_sklearn(row, n // 2) for row in varied], 1)
        slow += seconds / len(varied) * total
    print(
        f"  plain loop with sklearn, from {few} rows of each length: {slow:.0f} s, "
        f"{slow / by_ken:.0f} times as long as ken"
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=30, help="rows that the slow implementations decide")
    few = parser.parse_args().rows
    rows_table(few)
    model_table(few)
