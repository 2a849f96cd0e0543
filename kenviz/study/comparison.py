"""Comparison: two subnetworks that can be compared, and what a view needs of them, computed when it is needed."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

import ken
from ken.retention import PairOfModels, alike, counterparts, in_common, same_draw
from ken.storage import models_of
from kenviz.study.study import Study
from kenviz.text.labels import label, recipe_in_words, visible
from kenviz.tiles.overlap_tiles import Overlap

_EVEN = 5e-4  # shares of tensors that read as the same percentage


class Comparison:
    """Subnetworks a and b of one pretrained model, and the pair of each; pair_b only if b is of another fine-tuning.

    What is retained can be compared whatever the models were fine-tuned for. How much of the update that is depends
    on the update: that of b is only known if b is of the same pair, or has one of its own. `update_b` says which.

    Raises `ValueError` if there is nothing to compare: no tensor that both have pruned, other shapes, other cuts into
    rows, another pretrained model, models that are not those of the subnetwork.

    >>> import torch
    >>> pair = ken.Pair({"w": torch.arange(8.0).reshape(2, 4)}, {"w": torch.zeros(2, 4)})
    >>> both = Comparison(ken.prune(*pair, k=1), ken.prune(*pair, k=2), pair)
    >>> both.table[["jaccard", "jaccard_expected", "update_share_a"]].round(2).values.tolist()
    [[0.5, 0.2, 0.11]]
    """

    def __init__(
        self,
        a: ken.Subnetwork,
        b: ken.Subnetwork,
        pair: PairOfModels | Study,
        pair_b: PairOfModels | None = None,
        *,
        vectors: bool = False,
    ) -> None:
        self.a, self.b = a, b
        #: The name in b of each tensor of a that has a counterpart there.
        self.in_b = counterparts(a.pruned(), b.pruned())
        names = list(self.in_b)
        if not names:
            raise ValueError("the two subnetworks have no pruned tensor in common: there is nothing to compare")
        for name in names:
            _check(name, a, b, other=self.in_b[name])
        self._study_a = Study.open(a, pair)
        self._study_b = Study(b, pair_b)
        self._pair, self._pair_b = pair, pair_b
        self.one_task = a.fine_tuned.fingerprint == b.fine_tuned.fingerprint
        self.tensors = [name for name in names if vectors or self._study_a.shape(name)[0] > 1] or names
        #: How many pruned tensors of either are not compared: vectors, and what only one has pruned.
        self.vectors_left_out = len(names) - len(self.tensors)
        self.in_one_only = len(a.pruned()) + len(b.pruned()) - 2 * len(names)
        self._overlap: tuple[str, Overlap] | None = None

    def reads(self) -> dict[str, Any]:
        """What is compared, by what it is called: no page may take its place."""
        second = {f"{model} of the second task": source for model, source in models_of(self._pair_b).items()}
        return {**self._study_a.reads(), "the second subnetwork": self.b, **second}

    @property
    def update_b(self) -> bool:
        """Whether the update of b's own model is known."""
        return self.one_task or self._pair_b is not None

    def check(self, tensor: str) -> str:
        """The name of a tensor that is compared, as it is; raises `ValueError` for any other."""
        if tensor not in self.tensors:
            choice = f"one of {len(self.tensors)}, such as {self.tensors[0]!r}"
            raise ValueError(f"tensor must be one that is compared, {choice}; got {tensor!r}")
        return tensor

    def shape(self, tensor: str) -> tuple[int, int]:
        """(rows, row length) of a tensor that is compared."""
        return self._study_a.shape(tensor)

    @cached_property
    def table(self) -> pd.DataFrame:
        """`ken.retention.compare` of the tensors that are compared; reads both masks, and the models, once.

        Besides: share_a and share_b, the shares of the compared entries that each retains, and
        update_share_difference, that of a less that of b. The update that a share is of is the subnetwork's
        own: of another fine-tuned model, update_share_b is that of its own pair, or NaN without; what both retain of
        the update, and so update_share_both, has no meaning then and is NaN.
        """
        table = in_common(self.a, self.b, self._pair, progress=False)
        if not self.one_task:
            table["update_share_both"] = np.nan
            table["update_share_b"] = np.nan
            if self._pair_b is not None:
                table["update_share_b"] = in_common(self.a, self.b, self._pair_b, progress=False)["update_share_b"]
        table["update_share_difference"] = table["update_share_a"] - table["update_share_b"]
        for which in "ab":
            table[f"share_{which}"] = table[f"retained_{which}"] / table["paired"]
        return table.loc[self.tensors]

    @cached_property
    def flat(self) -> bool:
        """Whether both retain the same share of every tensor, up to whole entries: there is no spread to show."""
        by_share = [isinstance(net.recipe.k, float) and net.recipe.scope != "model" for net in (self.a, self.b)]
        shares = self.table[["share_a", "share_b"]]
        return bool(np.all(by_share | (shares.max() - shares.min() < _EVEN).to_numpy()))

    @property
    def budgets(self) -> str:
        """How the budget of each is spread over the tensors, in a sentence."""
        table = self.table
        said = []
        for which in "ab":
            shares, whole = table[f"share_{which}"], table[f"retained_{which}"].sum() / table["paired"].sum()
            even = self.flat or shares.max() - shares.min() < _EVEN
            spread = " of each" if even else f" in all, {shares.min():.1%} to {shares.max():.1%} of a tensor"
            said.append(f"{which} retains {whole:.1%}{spread}")
        if self.flat:
            return f"The budgets are spread evenly over the tensors, up to whole entries: {'; '.join(said)}."
        return f"The budgets over the tensors: {'; '.join(said)}."

    @cached_property
    def alike(self) -> str:
        """Why the two are alike whatever their models, in a sentence; empty if nothing says so (`same_draw`)."""
        reason = alike(self.a, self.b)
        return f"{reason[0].upper()}{reason[1:]}." if reason else ""

    @property
    def same_draw(self) -> bool:
        """Whether chance has no say in what the two share, as both were drawn with the same random numbers."""
        return same_draw(self.a, self.b)

    @property
    def by_tensor(self) -> bool:
        """Whether chance keeps to the entries of each tensor, not of each row: in both, rows share their budgets."""
        return "row" not in (self.a.recipe.scope, self.b.recipe.scope)

    def overlap(self, tensor: str) -> Overlap:
        """Counts of a tensor's masks for any zoom. Those asked for last are kept."""
        if self._overlap is None or self._overlap[0] != tensor:
            other = self.in_b[tensor]
            both = self._study_a.mask(tensor) & self._study_b.mask(other)
            overlap = Overlap(self._study_a.pyramid(tensor), self._study_b.pyramid(other), both)
            self._overlap = (tensor, overlap)
        return self._overlap[1]

    @cached_property
    def names(self) -> tuple[str, str]:
        """What tells a from b, in words, each of at most 80 characters."""
        words = [net_in_words(net) for net in (self.a, self.b)]
        if not self.one_task:
            words = [
                f"{word}, of {label(net.fine_tuned.source, 40)}" if net.fine_tuned.source else word
                for word, net in zip(words, (self.a, self.b), strict=True)
            ]
        return label(words[0], 80), label(words[1], 80)


def net_in_words(net: ken.Subnetwork) -> str:
    """How a subnetwork was made: rule, k, over what k is counted if not by row, and the seed if the rule draws.

    >>> import torch
    >>> net_in_words(ken.prune({"w": torch.eye(2)}, {"w": torch.zeros(2, 2)}, k=1, rule="random", seed=3))
    'rule random, k = 1, seed 3'
    """
    recipe = net.recipe
    words = f"rule {recipe_in_words(recipe)}, {visible(replace(recipe, scope='row').k_text)}"  # which the rule says
    return words + (f", seed {recipe.seed}" if _seeded(recipe.rule) else "")


def _seeded(rule: str) -> bool:
    try:
        return ken.rules.get(rule).seeded
    except ken.KenError:  # a rule of the user's, who has not registered it here
        return True


def _check(name: str, a: ken.Subnetwork, b: ken.Subnetwork, *, other: str) -> None:
    first, second = a.outlines[name], b.outlines[other]
    if first.shape != second.shape:
        raise ValueError(f"{name}: shape {first.shape} in a, {second.shape} in b; only masks of one shape compare")
    if first.cut != second.cut:
        raise ValueError(
            f"{name}: cut into rows as {first.cut!r} in a, as {second.cut!r} in b; the rows do not compare"
        )
    if a.pretrained.fingerprint != b.pretrained.fingerprint:
        # Heads may differ, and be drawn anew each time a model is opened.
        prints = [a.pruned()[name].pretrained.fingerprint, b.pruned()[other].pretrained.fingerprint]
        if prints[0] != prints[1]:
            raise ValueError(f"{name}: the pretrained tensor of a is another than that of b; they do not compare")
