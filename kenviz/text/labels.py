"""Names as labels in a figure: names come from files of strangers, and may be long, or made to mislead."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from typing import Any

from ken import rules

#: Characters of a title that has room in a window of 420 px.
NARROW = 40


def visible(text: str) -> str:
    """Text in which everything can be seen.

    Line breaks, marks that change the direction of writing and the like, which would move or reverse what stands around
    them, are spelled out.

    >>> visible("a\\nb\\u202ec")
    'a\\\\nb\\\\u202ec'
    """
    if text.isprintable():  # as nearly all are; there are thousands of them
        return text
    return "".join(
        char.encode("unicode_escape").decode() if unicodedata.category(char).startswith("C") else char for char in text
    )


def rule_in_words(rule: str, on: str, bandwidth: object, kernel: str, *, scope: str = "row") -> str:
    """A rule, and those of its settings that are not the usual ones.

    >>> rule_in_words("ken", "weights", bandwidth="normal reference", kernel="gaussian")
    'ken'
    >>> rule_in_words("ken", "update", bandwidth=0.01, kernel="linear")
    'ken on the update, bandwidth 0.01, kernel linear'
    >>> rule_in_words("update", "weights", bandwidth="normal reference", kernel="gaussian", scope="model")
    'update over all pruned tensors'
    """
    words = rule + {"update": " on the update", "pretrained": " on the pretrained weights"}.get(on, "")
    words += "" if scope == "row" else f" over {rules.SCOPES.get(scope, scope)}"
    words += f", bandwidth {bandwidth}" if bandwidth != "normal reference" else ""
    return visible(words + (f", kernel {kernel}" if kernel != "gaussian" else ""))


def recipe_in_words(recipe: Any) -> str:
    """The rule of a subnetwork's recipe, as `rule_in_words` says it."""
    settings = {"bandwidth": recipe.bandwidth, "kernel": recipe.kernel, "scope": recipe.scope}
    words = rule_in_words(recipe.rule, recipe.on, **settings)
    return words + (", rescaled" if recipe.rescale == "share" else "")


def row_count(k: int, n: int, rule: str, *, scope: str = "row") -> str:
    """How many of the n entries of a row are retained: as the k of a rule, or as what came of it where it has none.

    >>> row_count(3, 1000, "ken"), row_count(3, 1000, "changed")
    ('k = 3 of 1,000', '3 of 1,000')
    """
    return f"{'' if rules.counts(rule) or scope != 'row' else 'k = '}{k:,} of {n:,}"


def last(name: str, most: int) -> str:
    """The end of a dotted name, which says more of a matrix than its beginning; `label` if even that is too long.

    >>> last("bert.embeddings.token_type_embeddings", 30), last("query", 30)
    ('…token_type_embeddings', 'query')
    """
    parts = seen = visible(name)
    while len(seen) > most and "." in parts:
        parts = parts.partition(".")[2]
        seen = f"…{parts}"
    return label(seen, most)


def label(name: str, most: int = 110) -> str:
    """A name fit for a title or an axis: `visible`, and the middle of a long one left out.

    >>> label("encoder.layer.0.weight", most=11)
    'encod…eight'
    """
    seen = visible(name)
    if len(seen) <= most:
        return seen
    half = (most - 1) // 2
    return f"{seen[: most - 1 - half]}…{seen[-half:]}"


def apart(names: Sequence[str]) -> list[str]:
    """The names, numbered if two of them are the same: what was cut from a label may have been the difference.

    >>> apart(["a", "b"]), apart(["a", "a"])
    (['a', 'b'], ['1 a', '2 a'])
    """
    return list(names) if len(set(names)) == len(names) else [f"{i} {name}" for i, name in enumerate(names, 1)]
