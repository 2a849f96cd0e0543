"""The folder for what can be made again: demonstration models, and what has been asked of other libraries."""

from __future__ import annotations

import os
from pathlib import Path


def user_cache(cache_dir: str | os.PathLike[str] | None = None) -> Path:
    """The given folder, else KEN_CACHE (if set), else the user's cache directory. It need not exist.

    >>> user_cache("somewhere").as_posix()
    'somewhere'
    """
    import platformdirs

    chosen = cache_dir or os.environ.get("KEN_CACHE") or platformdirs.user_cache_dir("kenviz", appauthor=False)
    return Path(chosen).expanduser()
