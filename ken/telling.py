"""Warnings: where they point, and how the command line tells them."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

from ken.errors import KenWarning
from ken.terminal import printable


def warn(text: str) -> None:
    """Warn at the line of the user's that called, however deep in ours that was.

    Args:
        text: What is probably not what was meant.

    Example:
        >>> with warnings.catch_warnings(record=True) as caught:
        ...     warnings.simplefilter("always")
        ...     warn("the two models may be the wrong way round")
        >>> caught[0].category.__name__
        'KenWarning'
    """
    level, frame = 1, sys._getframe()
    while frame is not None and str(frame.f_globals.get("__name__", "")).partition(".")[0] in ("ken", "kenviz"):
        level, frame = level + 1, frame.f_back  # type: ignore[assignment]
    warnings.warn(text, KenWarning, stacklevel=level)


@contextmanager
def in_a_line(name: str) -> Iterator[None]:
    """A block in which our warnings are a line on the error stream, without a place in the code; others are as ever."""
    before = warnings.showwarning

    def show(
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,
        line: str | None = None,
    ) -> None:
        if issubclass(category, KenWarning):
            print(f"{name}: warning: {printable(str(message))}", file=file or sys.stderr)
        else:
            before(message, category, filename, lineno, file, line)

    warnings.showwarning = show
    try:
        yield
    finally:
        warnings.showwarning = before
