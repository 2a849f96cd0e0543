"""The decision card of an entry of a matrix: why it was retained or reset, or what the subnetwork alone knows of it."""

from __future__ import annotations

from typing import Any

from kenviz.study.row_decision import decide, own_k
from kenviz.study.study import Study
from kenviz.views.row_text import Words, card


def entry_card(study: Study, tensor: str, entry: tuple[int, int]) -> Any:
    """What has a `text` about that entry, (row, column).

    >>> import ken, torch
    >>> net = ken.prune({"w": torch.arange(8.0).reshape(2, 4)}, {"w": torch.zeros(2, 4)}, k=2)
    >>> print(entry_card(Study(net), "w", (1, 0)).text)
    Entry 0 in row 1 of w is retained.
    Retained are 2 of 4 entries of its row, and 2 of 2 of its column.
    rule ken, k = 2, on weights
    Its values, and why it was retained, can be read with the pair of models: kenviz.MatrixView(net, pair)
    """
    row, column = entry
    recipe = study.net.recipe
    if study.pair is not None:
        k = own_k(study, tensor, row)
        found = decide(study, tensor, row, k, recipe.rule, recipe.on, recipe.kernel, 1.0)
        return card(found, column)
    rows, n = study.shape(tensor)
    pyramid = study.pyramid(tensor)
    kept = bool(study.mask(tensor, slice(row, row + 1))[0, column])
    became = "retained" if kept else "reset"
    return Words(
        f"Entry {column} in row {row} of {tensor} is {became}.\n"
        f"Retained are {pyramid.row_counts[row]:,} of {n:,} entries of its row, and "
        f"{pyramid.column_counts[column]:,} of {rows:,} of its column.\n"
        f"rule {recipe.rule}, k = {recipe.k}, on {recipe.on}\n"
        f"Its values, and why it was {became}, can be read with the pair of models: kenviz.MatrixView(net, pair)"
    )
