"""Parts of a page that are made of tables, between two marks that name them."""

from __future__ import annotations

import re
from collections.abc import Iterable

NOT_YET = "Not measured yet: `make evidence` does it.\n"


def marks(name: str, *, command: str = "make evidence") -> tuple[str, str]:
    """The lines before and after a part."""
    return f"<!-- {name}: begin (made by `{command}`, not by hand) -->", f"<!-- {name}: end -->"


def part_of(page: str, name: str, *, command: str = "make evidence") -> str:
    """The part between its marks.

    >>> part_of(with_part("\\n".join(marks("overlap")), "overlap", "new\\n"), "overlap")
    'new\\n'
    """
    begin, end = marks(name, command=command)
    match = re.search(f"(?<={re.escape(begin)}\n).*?(?={re.escape(end)})", page, re.S)
    if match is None:
        raise ValueError(f"the page must have the lines {begin!r} and {end!r}")
    return match[0]


def with_part(page: str, name: str, part: str, *, command: str = "make evidence") -> str:
    """The page with another part between the marks."""
    begin, end = marks(name, command=command)
    return page.replace(f"{begin}\n{part_of(page, name, command=command)}{end}", f"{begin}\n{part}{end}")


def head(first: str, others: Iterable[str]) -> list[str]:
    """The two lines with which a table begins.

    >>> head("rule", ["0.50"])
    ['| rule | 0.50 |', '|---|---|']
    """
    others = list(others)
    return [row(first, others), "|" + "---|" * (len(others) + 1)]


def row(first: str, cells: Iterable[str]) -> str:
    """A line of a table."""
    return "| " + " | ".join([first, *cells]) + " |"


def signed(value: float, digits: int = 1) -> str:
    """A number with its sign, and a true minus.

    >>> signed(-0.25, 2)
    '−0.25'
    """
    return f"{value:+.{digits}f}".replace("-", "−")
