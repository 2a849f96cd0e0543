"""Contenders: several subnetworks of one pair, by what they are called, and what two of them share of a tensor."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

import ken
from kenviz.study.study import Study
from kenviz.text.labels import apart, recipe_in_words
from kenviz.tiles.pyramid import stretches


class Shared(NamedTuple):
    """Entries of a tensor, or of some rows of it, that two subnetworks retain: one, the other, both, both by chance."""

    a: int
    b: int
    both: int
    by_chance: float

    @property
    def jaccard(self) -> float:
        """The part that both retain of what either does; 1 if neither retains anything."""
        either = self.a + self.b - self.both
        return self.both / either if either else 1.0


def shared_entries(a: Study, b: Study, tensor: str, every: int = 1) -> Shared:
    """What two subnetworks share of every n-th row of a tensor; by chance: random masks of as many entries in each row.

    >>> import torch
    >>> pair = ken.Pair({"w": torch.arange(8.0).reshape(2, 4)}, {"w": torch.zeros(2, 4)})
    >>> shared_entries(Study(ken.prune(*pair, k=1)), Study(ken.prune(*pair, k=2)), "w")
    Shared(a=2, b=4, both=2, by_chance=1.0)
    """
    shape = a.shape(tensor)
    counts, by_chance = np.zeros(3, np.int64), 0.0
    for rows in stretches(shape, slice(0, shape[0]), every):
        masks = [study.mask(tensor, slice(rows.start, rows.stop, every)) for study in (a, b)]
        retained = [np.count_nonzero(mask, axis=1) for mask in masks]
        counts += [*map(np.sum, retained), np.count_nonzero(masks[0] & masks[1])]
        by_chance += float(np.dot(*(count.astype(np.float64) for count in retained))) / shape[1]
    of_a, of_b, both = counts.tolist()
    return Shared(of_a, of_b, both, by_chance=by_chance)


def named(nets: Mapping[str, ken.Subnetwork] | Sequence[ken.Subnetwork]) -> dict[str, ken.Subnetwork]:
    """Subnetworks by name; those without one are called by rule and k.

    >>> import torch
    >>> pair = ken.Pair({"w": torch.arange(8.0).reshape(2, 4)}, {"w": torch.zeros(2, 4)})
    >>> list(named([ken.prune(*pair, k=1), ken.prune(*pair, k=2)]))
    ['ken, k = 1', 'ken, k = 2']
    """
    if isinstance(nets, Mapping):
        return dict(nets)
    return dict(zip(apart([called(net) for net in nets]), nets, strict=True))


def called(net: ken.Subnetwork) -> str:
    """What a subnetwork without a name is called: its rule and its k."""
    return f"{recipe_in_words(net.recipe)}, {net.recipe.k_text}"


def other_rules(study: Study) -> list[str]:
    """The rules that could be shown beside a subnetwork: all but its own; of one without a k, those without one."""
    own, k = study.net.recipe.rule, study.net.recipe.k
    return [rule for rule in ken.rules.names() if rule != own and (k is not None or ken.rules.counts(rule))]


def check_rule(study: Study, rule: str) -> str:
    """The name of a rule that can be shown beside the subnetwork, or none; raises `ValueError` for any other."""
    if rule and study.pair is None:
        raise ValueError("another rule is decided from the values: give the pair of models, too")
    if rule and rule not in ken.rules.names():
        raise ValueError(f"rule must be one of {', '.join(ken.rules.names())}, or empty; got {rule!r}")
    if rule and study.net.recipe.k is None and not ken.rules.counts(rule):
        raise ValueError(f"rule {rule!r} needs a k, and the subnetwork's rule {study.net.recipe.rule!r} has none")
    return rule


def ruled(study: Study, rule: str) -> Study:
    """What another rule would retain with the same settings, decided as it is looked at.

    A rule that looks at no density does not look at the values that `on` names, either.
    """
    recipe = study.net.recipe
    net = ken.prune(
        study.fine_tuned,
        study.pretrained,
        k=None if ken.rules.counts(rule) else recipe.k,
        rule=rule,
        seed=recipe.seed,
        scope=recipe.scope,
        include=recipe.include,
        exclude=recipe.exclude,
        layers_only=recipe.layers_only,
        rows=recipe.rows,
        on="weights" if ken.rules.get(rule).fixed else recipe.on,
        bandwidth=recipe.bandwidth,
        kernel=recipe.kernel,
        lazy=True,
    )
    made = Study(net, study.pair)
    made.lock = study.lock
    return made


def studies(nets: Mapping[str, ken.Subnetwork], first: Study) -> dict[str, Study]:
    """A study of each, all with the lock of the first; raises `ValueError` where one is of other tensors or cuts."""
    made: dict[str, Study] = {}
    for name, net in nets.items():
        study = first if net is first.net else Study(net, first.pair)
        study.lock = first.lock  # of the views of all: with several, two threads could wait for each other
        for tensor in set(study.tensors) & set(first.tensors):
            if study.shape(tensor) != first.shape(tensor):
                raise ValueError(
                    f"{tensor}: rows and row length are {first.shape(tensor)} in the first subnetwork and "
                    f"{study.shape(tensor)} in {name}: their masks cannot stand side by side"
                )
        made[name] = study
    return made
