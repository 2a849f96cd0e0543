"""Tables of sweeps that were never made, for tests of what shows them."""

import math

import pandas as pd

ABOUT = ["model", "rule", "on", "k", "seed", "retained", "entries", "share", "metric", "standard_error"]


def made_up(rule="ken", drawn="random", seeds=3):
    """A rule on both values and one that draws, at 1 entry and three shares; macro_f1 is a further metric."""
    lines = [
        ("fine-tuned", "", "", math.nan, -1, 1000, 1000, 1.0, 0.7, 0.01, 0.6),
        ("pretrained", "", "", math.nan, -1, 10, 1000, 0.01, 0.2, 0.02, 0.1),
    ]
    for k, share in ((0.5, 0.5), (0.25, 0.25), (1, 0.02), (1.0, 1.0)):
        about = (k, -1, int(1000 * share), 1000, share)
        lines += [("pruned", rule, "weights", *about, 0.3 + 0.4 * share, 0.012, 0.2 + 0.4 * share)]
        lines += [("pruned", rule, "update", *about, 0.51 + 0.2 * share, 0.011, 0.4 + 0.2 * share)]
        about = about[2:]
        for seed in range(seeds):
            value = 0.3 + 0.3 * share + 0.01 * seed
            lines += [("pruned", drawn, "", k, seed, *about, value, 0.013 + 0.001 * seed, value - 0.1)]
    table = pd.DataFrame(lines, columns=[*ABOUT, "macro_f1"])
    table["k"] = pd.Series([line[3] for line in lines], dtype=object)
    table.insert(10, "difference", table["metric"] - 0.7)
    table.insert(11, "difference_error", 0.9 * table["standard_error"])
    return table
