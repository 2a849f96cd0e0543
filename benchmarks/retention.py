"""How long all statistics of what was retained take, beside pruning, in one run; and the z-scores of neighbours.

Usage: python benchmarks/retention.py [--repeats N]

The MiniLM pair of the demo is pruned by each rule, and measured: every table of `ken.retention` is made, those of rows
and columns for all tensors. Pruning and measuring take turns; the shortest times count. Aim: at most 5 times pruning.
"""

import argparse
import time

import ken
from ken.retention import by_place, compare, measure


def everything(net, pair):
    """Every table there is."""
    retention = measure(net, pair)
    table = retention.table()
    by_place(table), by_place(table, ["layer", "kind"]), retention.heads()
    for name in table.index:
        retention.rows(name), retention.columns(name)
    return table


def timed(run):
    start = time.perf_counter()
    result = run()
    return time.perf_counter() - start, result


def main(repeats: int) -> None:
    pair = ken.demo.pair()
    print(f"the MiniLM pair of the demo, k = 0.5 of each row, in memory; shortest of {repeats}, in seconds")
    print(f"{'rule':8}{'prune':>8}{'pass':>8}{'all tables':>12}{'ratio':>8}   z of neighbours: smallest, mean, largest")
    nets = {}
    for rule in ("ken", "grid", "random"):
        times = []
        for _ in range(repeats + 1):  # the first compiles
            prune, net = timed(lambda rule=rule: ken.prune(*models(pair), 0.5, rule, progress=False))
            once, _ = timed(lambda net=net: measure(net, pair))
            whole, table = timed(lambda net=net: everything(net, pair))
            times.append((prune, once, whole))
        nets[rule] = net
        prune, once, whole = (min(column) for column in zip(*times[1:], strict=True))
        z = table["neighbours_z"]
        print(
            f"{rule:8}{prune:>8.2f}{once:>8.2f}{whole:>12.2f}{whole / prune:>8.2f}"
            f"   {z.min():.1f}, {z.mean():.2f}, {z.max():.1f}"
        )
    seconds, table = timed(lambda: compare(nets["ken"], nets["random"], pair))
    print(f"ken and random compared: {seconds:.2f} s, Jaccard {table['jaccard'].mean():.3f}")


def models(pair):
    return pair.fine_tuned, pair.pretrained


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=3)
    main(parser.parse_args().repeats)
