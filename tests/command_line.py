"""Commands of the command line as calls, so that tests say what they give and not in which order."""

import contextlib
import inspect
import io
import sys
from typing import NamedTuple

from ken import cli


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
            cli.main()
        return Ended(0, out.getvalue())
    except SystemExit as end:
        return Ended(int(end.code or 0), out.getvalue())
    finally:
        sys.argv = before


def _in_order(command, **arguments):
    """The arguments in the order in which the command takes them."""
    return [arguments[name] for name in inspect.signature(command).parameters if name in arguments]


def prune(fine_tuned, pretrained, out, *options):
    """``ken prune`` with half of every row."""
    models = _in_order(cli.prune, fine_tuned=fine_tuned, pretrained=pretrained)
    return ken("prune", *models, "-k", "0.5", "-o", out, *options)


def inject(net, pretrained, out):
    """``ken inject``."""
    return ken("inject", *_in_order(cli.inject, net=net, pretrained=pretrained), "-o", out)
