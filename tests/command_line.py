"""Commands of the command line as calls, so that tests say what they give and not in which order."""

import contextlib
import io
import sys
from typing import NamedTuple

from ken.cli import main


class Ended(NamedTuple):
    """How a command ended, and what it said."""

    status: int
    said: str


def ken(*words):
    """Run ``ken`` with these words."""
    out, before = io.StringIO(), sys.argv
    sys.argv = ["ken", *map(str, words)]
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
            main()
        return Ended(0, out.getvalue())
    except SystemExit as end:
        return Ended(int(end.code or 0), out.getvalue())
    finally:
        sys.argv = before


def prune(fine_tuned, pretrained, out, *options):
    """``ken prune`` with half of every row."""
    return ken("prune", pretrained, fine_tuned, "-k", "0.5", "-o", out, *options)


def inject(net, pretrained, out):
    """``ken inject``."""
    return ken("inject", pretrained, net, "-o", out)
