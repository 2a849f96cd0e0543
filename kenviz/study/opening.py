"""What `kenviz.explore` was given, as Python writes it: a subnetwork and its pair, or models and what is asked for."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import ken

#: What `kenviz.explore` takes of a recipe; versions say what computed it.
_ASKED = ("rule", "seed", "on", "bandwidth", "kernel", "scope", "rescale", "include", "exclude", "layers_only", "rows")


def arguments(net: ken.Subnetwork) -> str:
    """The arguments that open the same thing.

    >>> import torch
    >>> pair = ken.Pair({"w": torch.ones(2, 4)}, {"w": torch.zeros(2, 4)})
    >>> arguments(ken.prune(*pair, k=2)), arguments(ken.prune(*pair, k=2, rule="update", lazy=True))
    ('net, pair', "pair, k=2, rule='update'")
    """
    if net.pair is None:
        return "net, pair"
    models = [model for model in net.pair if model is not None]
    places = all(isinstance(model, str | Path) for model in models)
    words = [repr(str(model)) for model in models] if places else ["pair"]
    recipe = net.recipe
    usual = {field.name: field.default for field in fields(recipe)} | {
        "rows": {},
        "rescale": ken.rules.usual_rescale(recipe.rule),
        "rule": "ken" if recipe.k is not None else None,
    }
    words += [] if recipe.k is None else [f"k={recipe.k!r}"]
    asked = {name: getattr(recipe, name) for name in _ASKED}
    words += [f"{name}={value!r}" for name, value in asked.items() if value != usual[name]]
    if any(tensor.raw for tensor in net.pruned().values()):
        words.append("raw=True")
    return ", ".join(words)
