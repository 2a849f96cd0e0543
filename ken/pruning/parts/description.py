"""A plan as plain data: where both models are, the recipe, how many parts; for other processes, and as a command."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ken.density import NORMAL_REFERENCE
from ken.errors import PartsError
from ken.subnetwork.subnetwork import Recipe

#: The fields of a recipe that `ken.prune` takes.
_SETTINGS = (
    *("k", "rule", "seed", "on", "bandwidth", "kernel", "scope", "rescale"),
    *("include", "exclude", "layers_only", "rows"),
)


def recipe_as_data(recipe: Recipe) -> dict[str, Any]:
    """A recipe as JSON has it, mappings in their order: the first pattern that matches decides."""
    data = asdict(recipe)
    return {
        name: dict(value) if isinstance(value, Mapping) else list(value) if isinstance(value, tuple) else value
        for name, value in data.items()
    }


def settings_of(description: Mapping[str, Any]) -> dict[str, Any]:
    """What a description says of the recipe, as `ken.pruning.opening.opened` takes it."""
    try:
        recipe = description["recipe"]
        return {name: recipe[name] for name in _SETTINGS} | {"raw": description["raw"]}
    except (KeyError, TypeError) as error:
        raise PartsError(f"that is no description of a plan of parts: it has no {error}") from None


def command(description: Mapping[str, Any], index: int, folder: str | Path) -> str:
    """What makes a part: a line of the shell, or of Python where the command line has no words for it."""
    recipe, parts = description["recipe"], description["parts"]
    fine_tuned, pretrained = description["fine_tuned"], description["pretrained"]
    if any(isinstance(value, Mapping) for value in (fine_tuned, pretrained, recipe["k"])):
        return f"ken.run_part(plan.description, {index}, {str(folder)!r})  # in Python, plan being that of ken.parts"
    words = ["ken", "prune", fine_tuned, *([] if pretrained is None else [pretrained])]
    if recipe["k"] is not None:
        words += ["-k", repr(recipe["k"])]
    usual = {"rule": "ken", "seed": 0, "on": "weights", "bandwidth": NORMAL_REFERENCE, "kernel": "gaussian"}
    for name, value in usual.items():
        if recipe[name] != value:
            words += [f"--{name}", str(recipe[name])]
    if recipe["rescale"] != ("share" if recipe["rule"] == "dare" else "none"):
        words += ["--rescale", recipe["rescale"]]
    for name in ("include", "exclude"):
        words += [word for pattern in recipe[name] for word in (f"--{name}", pattern)]
    words += [word for pattern, cut in recipe["rows"].items() for word in ("--rows", f"{pattern}={cut}")]
    words += ["--layers-only"] if recipe["layers_only"] else []
    words += ["--raw"] if description["raw"] else []
    return shlex.join([*words, "--part", f"{index}/{parts}", "-o", str(folder)])
