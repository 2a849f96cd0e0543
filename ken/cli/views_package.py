"""What some commands need besides: the views, which are a distribution of their own."""

from __future__ import annotations

import importlib.util

from ken.errors import KenError


def require_kenviz(command: str) -> None:
    """Check that the views are installed, before a command that shows something has done anything.

    Args:
        command: Its name, for the error.

    Raises:
        KenError: Only ken-pruning is installed.
    """
    if importlib.util.find_spec("kenviz") is None:
        raise KenError(f"ken {command} needs the views, which are not installed: pip install kenviz")
