"""``ken diff``: what differs between two models."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from ken.cli import options
from ken.errors import KenError


def diff(
    fine_tuned: options.Tuned,
    pretrained: options.Base = None,
    by: Annotated[str, typer.Option(help="A line for each tensor, place, layer or head.")] = "tensor",
    every: Annotated[bool, typer.Option("--all", help="Lines for what is equal, too.")] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Plain data, for programs: all of it, whatever --by.")
    ] = False,
    exit_code: Annotated[bool, typer.Option("--exit-code", help="End with 1 if anything differs.")] = False,
) -> None:
    """Say which tensors and entries of FINE_TUNED differ from PRETRAINED, and by how much. Nothing is written."""
    from ken.retention.difference import BY
    from ken.retention.differing import diff as difference_of

    if by not in BY:
        raise KenError(f"--by must be one of {', '.join(BY)}, got {by!r}")
    difference = difference_of(fine_tuned, pretrained)
    print(json.dumps(difference.as_dict(), indent=2) if as_json else difference.text(by, equal=every))
    if exit_code and not difference.identical:
        raise typer.Exit(1)
