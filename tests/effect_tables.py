"""A table as `ken.ablate` gives it, and an attribution, made up: with numbers that are easy to check."""

import numpy as np
import pandas as pd

import ken

COLUMNS = ["metric", "loss"]


def made_up(groups=("embedding", "layer 0 query", "layer 1 query", "layer 0 out"), seeds=(0, 1), losses=True):
    """Group i lowers the loss by 0.1 i alone; it rises by 0.2 i without it. The metric moves the other way."""
    entries = [100 * (i + 1) for i in range(len(groups))]
    lines = [_line("fine-tuned", "", sum(entries), 0.5, np.nan), _line("pretrained", "", sum(entries), 1.5, np.nan)]
    for way, sign in (("without", 0.2), ("only", -0.1)):
        lines += [
            _line(way, name, count, 1.0, sign * i, p=0.2 if i == 0 else 0.01)
            for i, (name, count) in enumerate(zip(groups, entries, strict=True))
        ]
    lines += [
        _line("control", name, count, 0.5, 0.01 + 0.02 * seed, seed=seed)
        for seed in seeds
        for name, count in zip(groups, entries, strict=True)
    ]
    table = pd.DataFrame(lines)
    table["share"] = table["entries"] / sum(entries)
    if not losses:
        table.loc[:, [name for name in table if name.startswith("loss")]] = np.nan
    return table


def _line(way, group, entries, loss, difference, p=np.nan, seed=-1):
    line = {"way": way, "group": group, "seed": seed, "entries": entries, "metric": loss / 2, "loss": loss}
    for kind, factor in (("metric", -0.5), ("loss", 1)):
        value = factor * difference
        line |= {f"{kind}_difference": value, f"{kind}_low": value - 0.05, f"{kind}_high": value + 0.05}
        line[f"{kind}_p_holm"] = p
    return line


def attributed(pair, worth=None):
    """Each entry of a tensor has an equal share of what the tensor is worth; by default the i-th is worth -0.1 i."""
    names = list(pair.pretrained)
    worth = worth or {name: -0.1 * i for i, name in enumerate(names)}
    arrays = {
        name: np.full(tuple(pair.pretrained[name].shape), value / pair.pretrained[name].numel(), np.float32)
        for name, value in worth.items()
    }
    total = float(sum(array.sum(dtype=np.float64) for array in arrays.values()))
    return ken.Attribution(arrays, 1.5, 1.5 + total, steps=8, item_count=12)
