"""Tables with names in them that come from files: any text, also such as UTF-8 cannot say."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd


def named_table(lines: Iterable[Any], columns: Sequence[str] | None = None) -> pd.DataFrame:
    """A data frame of lines, whatever names of tensors are in them.

    Where pyarrow is installed, pandas keeps texts with it, and it takes no lone surrogate (a byte of a file's name that
    is no UTF-8, as Python has it). The texts of such a table are objects.

    >>> named_table([("\\udc80", 1)], ["tensor", "entries"])["entries"].tolist()
    [1]
    """
    import pandas as pd

    lines, columns = list(lines), None if columns is None else list(columns)
    try:
        return pd.DataFrame(lines, columns=columns)
    except UnicodeEncodeError:
        table = pd.DataFrame(lines, columns=columns, dtype=object)
    for name in table:
        if not any(isinstance(value, str) for value in table[name]):
            table[name] = table[name].infer_objects()
    return table


def index_as_column(table: pd.DataFrame, name: str | None = None) -> pd.DataFrame:
    """The table with its index as the first column, as `reset_index` has it, whatever names are in it.

    >>> import pandas as pd
    >>> index_as_column(pd.DataFrame({"entries": [1]}, pd.Index(["\\udc80"], dtype=object)), "tensor").shape
    (1, 2)
    """
    import pandas as pd

    try:
        return table.reset_index(names=name)
    except UnicodeEncodeError:
        lines = table.reset_index(drop=True)
        lines.insert(0, name or str(table.index.name), pd.Series(table.index, dtype=table.index.dtype))
        return lines
