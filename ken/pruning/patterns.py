"""Patterns for tensor names: each must match something; else the error names patterns that would."""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from itertools import islice
from typing import TypeVar

from ken.errors import BudgetError
from ken.pruning.selection import Selection

V = TypeVar("V")

# At most so many suggestions in a message; more names than this are not compared with a pattern.
_SHOWN, _COMPARED = 3, 20_000


def check_patterns(
    selection: Selection,
    names: Collection[str],
    *,
    tied: Mapping[str, str] | None = None,
    elsewhere: Collection[str] = (),
    model: str = "the fine-tuned model",
) -> None:
    """See that every pattern of a selection decides about some tensor.

    Args:
        selection: The patterns: of include and exclude, and the keys of k and of rows.
        names: Names of the model's tensors; aliases of tied ones are left out if they are there.
        tied: Aliases, and the names that they count under.
        elsewhere: Names of tensors that the other model has, for the message alone.
        model: What the names are of, in words.

    Raises:
        BudgetError: A pattern matches no tensor, or only an alias; or in a mapping it never decides, since another
            one before it matches all that it does. The message names the argument, the pattern and the nearest names.

    Example:
        >>> check_patterns(Selection(0.5, include=["query"]), ["layer.0.query.weight", "layer.0.key.weight"])
        Traceback (most recent call last):
        ken.errors.BudgetError: include: 'query' matches none of the 2 tensors of the fine-tuned model; a pattern is for
        the whole name: near are '*.query.*', 'layer.0.query.weight'
    """
    tied = tied or {}
    counted = [name for name in names if name not in tied]
    mappings = {"k": selection.k if isinstance(selection.k, Mapping) else {}, "rows": selection.rows}
    sequences = {"include": selection.include, "exclude": selection.exclude}
    for argument, patterns in {**sequences, **mappings}.items():
        for pattern in patterns:
            if not any(fnmatchcase(name, pattern) for name in counted):
                problem = _unmatched(pattern, counted, tied=tied, elsewhere=elsewhere, model=model)
                raise BudgetError(f"{argument}: {pattern!r} {problem}")
    for argument, mapping in mappings.items():
        _check_order(argument, mapping, counted)


def _unmatched(
    pattern: str, names: Sequence[str], tied: Mapping[str, str], elsewhere: Collection[str], model: str
) -> str:
    """What is wrong with a pattern that matches none of the names, and what would not be."""
    alias = next((alias for alias in tied if fnmatchcase(alias, pattern)), None)
    if alias is not None:
        return (
            f"matches only {alias!r}, which is tied to {tied[alias]!r} and counts under that name: give that name, "
            "and what is said of it holds for both"
        )
    other = next((name for name in elsewhere if fnmatchcase(name, pattern)), None)
    matches = "matches none" if other is None else f"matches only {other!r} of the other model and none"
    near = suggestions(pattern, names)
    if not near:
        first = ", ".join(map(repr, islice(names, _SHOWN)))
        names_are = f"; names are {first}" if first else ""
        return f"{matches} of the {len(names)} tensors of {model}, and nothing near{names_are}"
    part = any(pattern in name for name in names)
    hint = "; a pattern is for the whole name" if part else ""
    return f"{matches} of the {len(names)} tensors of {model}{hint}: near are {', '.join(map(repr, near))}"


def _check_order(argument: str, mapping: Mapping[str, V], names: Sequence[str]) -> None:
    """Raise `BudgetError` for a pattern that an earlier one leaves nothing to, though it says otherwise.

    One that is wider than the earlier one is a default for the rest, and may come to nothing.
    """
    matched = {pattern: {name for name in names if fnmatchcase(name, pattern)} for pattern in mapping}
    for i, (later, value) in enumerate(mapping.items()):
        for earlier in islice(mapping, i):
            default = fnmatchcase(earlier, later)
            if matched[later] <= matched[earlier] and mapping[earlier] != value and not default:
                raise BudgetError(
                    f"{argument}: {later!r} never decides, since {earlier!r} before it matches all its tensors and the "
                    f"first that matches counts: put {later!r} first"
                )


def suggestions(pattern: str, names: Sequence[str]) -> list[str]:
    """What may have been meant by a pattern that matches none of the names: patterns that do, then names.

    Args:
        pattern: The pattern as it was given.
        names: Names of tensors.

    Returns:
        At most three, the likeliest first; none if nothing is near.

    Example:
        >>> suggestions("q_porj", ["model.layers.0.self_attn.q_proj.weight", "model.norm.weight"])
        ['*.q_proj.*']
    """
    names = names[:_COMPARED]
    patterns = dict.fromkeys(islice(_patterns(pattern, names), _SHOWN - 1))
    near = difflib.get_close_matches(pattern, names, _SHOWN)
    part = pattern.strip("*.").lower()
    near += [name for name in names if part and part in name.lower()][:_SHOWN]
    return list(dict.fromkeys([*patterns, *near]))[: min(_SHOWN, len(patterns) + 2)]


def _patterns(pattern: str, names: Sequence[str]) -> Iterator[str]:
    """Patterns near a given one that match some name."""
    globs = pattern, _as_glob(pattern)
    for spelling in dict.fromkeys([*globs, *(_corrected(glob, names) for glob in globs)]):
        core = spelling.strip("*.")
        if not core:
            continue
        for form in (core, f"{core}.*", f"*.{core}", f"*.{core}.*", f"*{core}*"):
            match = next((name for name in names if fnmatchcase(name.lower(), form.lower())), None)
            if match is None:
                continue
            at = match.lower().find(core.lower())  # in the letters of the name; wildcards stay as they are
            yield form if at < 0 else form.replace(core, match[at : at + len(core)])
            break


def _as_glob(pattern: str) -> str:
    """A regular expression of the simplest kind as a glob."""
    text = pattern.removeprefix("^").removesuffix("$").replace("\\.", ".")
    return re.sub(r"(\\d|\[0-9\]|\.)[*+]", "*", text)


def _corrected(pattern: str, names: Sequence[str]) -> str:
    """A pattern with every part between dots that occurs in no name replaced by the one most like it."""
    parts = {part.lower(): part for name in names for part in name.split(".")}

    def corrected(part: str) -> str:
        if not part or part.lower() in parts or re.search(r"[*?\[]", part):
            return part
        near = difflib.get_close_matches(part.lower(), parts, 1)
        return parts[near[0]] if near else part

    return ".".join(map(corrected, pattern.split(".")))
