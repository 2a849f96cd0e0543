"""Where a subnetwork came from, and what makes it, and its report, again."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

import ken
from ken.rules import usual_rescale
from kenviz.reporting.sentences import RULES
from kenviz.text.labels import recipe_in_words, visible

if TYPE_CHECKING:
    from kenviz.reporting.schema import ReportData

_USUAL = {
    "seed": 0,
    "on": "weights",
    "bandwidth": "normal reference",
    "kernel": "gaussian",
    "scope": "row",
    "layers_only": False,
}


def facts(net: ken.Subnetwork, data: ReportData) -> list[tuple[str, str]]:
    """What was done, as names and values, all of it text."""
    recipe = net.recipe
    return [
        ("rule", recipe_in_words(recipe)),
        ("k", visible(_k(recipe.k))),
        ("k is counted over", ken.rules.SCOPES.get(recipe.scope, recipe.scope)),
        ("seed", str(recipe.seed)),
        ("included", visible(", ".join(recipe.include)) or "everything"),
        ("carried by pattern", visible(", ".join(recipe.exclude)) or "nothing"),
        ("model class", visible(data.models.model_class or "not recorded")),
        ("size of the update", "not recorded" if net.relation is None else str(net.relation)),
        *((f"origin of the {side} model", visible(model.origin)) for side, model in _sides(net) if model.origin),
        *(("note", visible(note)) for note in data.notes),
        ("subnetwork made with", _versions(recipe.versions)),
        ("report made with", _versions(data.written_with)),
        ("report written", f"{datetime.fromisoformat(data.written_at):%Y-%m-%d %H:%M} UTC"),
    ]


def models(data: ReportData) -> list[tuple[str, str, int, int, str]]:
    """Both models: which, what it was read from, how many tensors and entries, and its fingerprint."""
    unknown = "not recorded"
    return [
        (name, visible(model.source) or unknown, model.tensors, model.entries, model.fingerprint or unknown)
        for name, model in (("fine-tuned", data.models.fine_tuned), ("pretrained", data.models.pretrained))
    ]


def _sides(net: ken.Subnetwork) -> tuple[tuple[str, Any], ...]:
    return ("fine-tuned", net.fine_tuned), ("pretrained", net.pretrained)


def python(net: ken.Subnetwork, arguments: Mapping[str, Any]) -> str:
    """The lines that make the subnetwork and this report; arguments are further ones of `kenviz.report`.

    >>> import torch
    >>> print(python(ken.prune({"w": torch.ones(1, 4)}, {"w": torch.zeros(1, 4)}, 2), {}))
    net = ken.prune(fine_tuned, pretrained, 2)
    kenviz.report(net, ken.Pair(fine_tuned, pretrained), "report.html")
    """
    recipe = net.recipe
    rule = "" if recipe.rule == "ken" else f", {recipe.rule!r}"
    more = "".join(f", {name}={getattr(recipe, name)!r}" for name in _USUAL if getattr(recipe, name) != _USUAL[name])
    more += f", rescale={recipe.rescale!r}" if recipe.rescale != usual_rescale(recipe.rule) else ""
    more += "".join(
        f", {name}={list(getattr(recipe, name))!r}" for name in ("include", "exclude") if getattr(recipe, name)
    )
    more += f", rows={dict(recipe.rows)!r}" if recipe.rows else ""
    k = dict(recipe.k) if isinstance(recipe.k, Mapping) else recipe.k
    report = "".join(f", {name}={value!r}" for name, value in arguments.items())
    return visible_lines(
        f"net = ken.prune(fine_tuned, pretrained, {k!r}{rule}{more})\n"
        f'kenviz.report(net, ken.Pair(fine_tuned, pretrained), "report.html"{report})'
    )


def command(net: ken.Subnetwork, arguments: Mapping[str, Any]) -> str:
    """The same for a shell; empty if it cannot be said there: for a mapping of k, and for a rule of the user's.

    >>> import torch
    >>> print(command(ken.prune({"w": torch.ones(1, 4)}, {"w": torch.zeros(1, 4)}, 2), {"title": "A b"}))
    ken prune FINE_TUNED PRETRAINED -k 2 -o net.ken.safetensors
    ken report net.ken.safetensors FINE_TUNED PRETRAINED -o report.html --title 'A b'
    """
    recipe = net.recipe
    if isinstance(recipe.k, Mapping) or recipe.rule not in RULES:
        return ""
    words = ["ken", "prune", "FINE_TUNED", "PRETRAINED", *([] if recipe.k is None else ["-k", str(recipe.k)])]
    words += [] if recipe.rule == "ken" else ["--rule", recipe.rule]
    for name in ("seed", "on", "bandwidth", "kernel", "scope"):
        words += [] if getattr(recipe, name) == _USUAL[name] else [f"--{name}", str(getattr(recipe, name))]
    words += ["--rescale", recipe.rescale] if recipe.rescale != usual_rescale(recipe.rule) else []
    for name in ("include", "exclude"):
        words += [word for pattern in getattr(recipe, name) for word in (f"--{name}", pattern)]
    words += ["--layers-only"] if recipe.layers_only else []
    words += [word for pattern, cut in recipe.rows.items() for word in ("--rows", f"{pattern}={cut}")]
    again = ["ken", "report", "net.ken.safetensors", "FINE_TUNED", "PRETRAINED", "-o", "report.html"]
    for name, value in arguments.items():
        values = value if isinstance(value, Sequence) and not isinstance(value, str) else [value]
        again += [word for one in values for word in (f"--{name}", str(one))]
    return visible_lines(f"{shlex.join([*words, '-o', 'net.ken.safetensors'])}\n{shlex.join(again)}")


def visible_lines(text: str) -> str:
    """Every line made `visible`."""
    return "\n".join(visible(line) for line in text.split("\n"))


def _k(k: Any) -> str:
    if k is None:
        return "by row as it comes: the rule itself says how many entries"
    if isinstance(k, Mapping):
        return ", ".join(f"{pattern}: {_k(part)}" for pattern, part in k.items())
    return f"{k:g} of each row" if isinstance(k, float) else f"{k:,} entries of each row"


def _versions(versions: Mapping[str, str]) -> str:
    return visible(", ".join(f"{name} {version}" for name, version in versions.items())) or "not recorded"
