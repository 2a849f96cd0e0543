"""Commands of the command line as calls, so that tests say what they give and not in which order."""

import contextlib
import inspect
import io
import sys
import warnings
from typing import NamedTuple

from ken.cli import commands as cli
from ken.cli import net_commands
from ken.errors import KenWarning


class Ended(NamedTuple):
    """How a command ended, and what it said."""

    status: int
    out: str
    err: str

    @property
    def said(self):
        """All of it."""
        return self.out + self.err


def ken(*words, encoding="utf-8", cwd=None):
    """Run ``ken`` with these words as a process would, within this one, which has torch in memory already.

    What it prints goes through bytes of the terminal's encoding, and a warning of ours is not an error.
    """
    out, err = (io.TextIOWrapper(io.BytesIO(), encoding, errors="strict", write_through=True) for _ in range(2))
    before, status = sys.argv, 0
    sys.argv = ["ken", *map(str, words)]
    with (
        contextlib.chdir(cwd or "."),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("default", KenWarning)
        try:
            cli.main()
        except SystemExit as end:
            status = int(end.code or 0)
        finally:
            sys.argv = before
    return Ended(status, *(stream.detach().getvalue().decode(encoding) for stream in (out, err)))


def _in_order(command, **arguments):
    """The arguments in the order in which the command takes them."""
    return [arguments[name] for name in inspect.signature(command).parameters if name in arguments]


def prune(fine_tuned, pretrained, out, *options):
    """``ken prune`` with half of every row."""
    models = _in_order(cli.prune, fine_tuned=fine_tuned, pretrained=pretrained)
    return ken("prune", *models, "-k", "0.5", "-o", out, *options)


def inject(net, pretrained, out):
    """``ken inject``."""
    return ken("inject", *_in_order(net_commands.inject, net=net, pretrained=pretrained), "-o", out)
