"""Pins: what was found and is to be kept, each with a sentence of the user's own."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Pin:
    """A view or a card as it was when it was pinned.

    Attributes:
        subject: What was pinned, such as "matrix" or "decision".
        sentence: What the user says of it; may be empty.
        text: What it showed, in words.
        numbers: Its numbers, as (name, value) in text; may be empty.
        code: The Python that leads there again.

    Example:
        >>> Pin("decision", "The tails stay.", "Entry 3 is retained.").sentence
        'The tails stay.'
    """

    subject: str
    sentence: str
    text: str
    numbers: tuple[tuple[str, str], ...] = ()
    code: str = ""
