"""Tables with names in them that come from files: any text, also such as UTF-8 cannot say."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd


def named_table(lines: Iterable[Any], columns: Sequence[str] | None = None) -> pd.DataFrame:
    """A data frame of lines, whatever names of tensors are in them.

    Where pyarrow is installed, pandas keeps texts with it, and it takes no lone surrogate (a byte of a file's name that
    is no UTF-8, as Python has it). Such a table keeps its texts as Python's own.

    >>> named_table([("\\udc80", 1)], ["tensor", "entries"])["entries"].tolist()
    [1]
    """
    import pandas as pd

    lines = list(lines)
    try:
        return pd.DataFrame(lines, columns=columns)
    except UnicodeEncodeError:
        with pd.option_context("mode.string_storage", "python"):
            return pd.DataFrame(lines, columns=columns)
