"""The data behind a figure, as the page makes a CSV file of it: columns by name, and rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd


def table(of: pd.DataFrame) -> dict[str, Any]:
    """A table, cell by cell; what JSON has no word for is null.

    >>> import pandas as pd
    >>> table(pd.DataFrame({"a": [1, 2], "b": [0.5, float("nan")]}))
    {'columns': ['a', 'b'], 'rows': [[1, 0.5], [2, None]]}
    """
    columns = [of[name].tolist() for name in of.columns]
    rows = [[_plain(value) for value in line] for line in zip(*columns, strict=True)]
    return {"columns": [str(name) for name in of.columns], "rows": rows}


def _plain(value: Any) -> Any:
    if isinstance(value, bool | int | str):
        return value
    try:
        return None if value is None or value != value else float(value)
    except (TypeError, ValueError):  # a shape, a mapping of k, what pandas has for missing
        return None if type(value).__name__ == "NAType" else str(value)
