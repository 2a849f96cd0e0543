"""Names as labels in a figure: names come from files of strangers, and may be long, or made to mislead."""

from __future__ import annotations

import unicodedata


def label(name: str, most: int = 110) -> str:
    """A name fit for a title or an axis: what cannot be seen is spelled out, the middle of a long one left out.

    Line breaks, and marks that change the direction of writing, would otherwise move or reverse what stands around.

    >>> label("a\\nb\\u202ec"), label("encoder.layer.0.weight", most=11)
    ('a\\\\nb\\\\u202ec', 'encod…eight')
    """
    seen = "".join(
        char.encode("unicode_escape").decode() if unicodedata.category(char).startswith("C") else char for char in name
    )
    if len(seen) <= most:
        return seen
    half = (most - 1) // 2
    return f"{seen[: most - 1 - half]}…{seen[-half:]}"
