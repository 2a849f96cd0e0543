"""``ken prune --part``, ``ken join``, ``ken clean``: pruning in parts, by any number of processes."""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from ken.cli import options
from ken.errors import ExecutorError, PartsError, printable


def part_of(text: str) -> tuple[int, int]:
    """The number of a part, and how many there are.

    Raises:
        PartsError: It is no such text.

    Example:
        >>> part_of("7/64")
        (7, 64)
    """
    numbers = re.fullmatch(r"\s*(\d{1,9})\s*/\s*(\d{1,9})\s*", text, re.ASCII)
    if not numbers:
        raise PartsError(f"a part is given by its number and how many there are, such as 7/64, got {text!r}")
    index, parts = int(numbers[1]), int(numbers[2])
    if not 1 <= index <= parts:
        raise PartsError(f"parts are counted from 1 to {parts}, got {index}")
    return index, parts


def prune_part(text: str, out: str, settings: dict[str, Any], *, copies: bool) -> None:
    """Make a part in the folder out, unless it is there and whole."""
    import ken

    index, parts = part_of(text)
    done = ken.parts(**settings, parts=parts).run(index, out, copies=copies)
    path = Path(out) / done.name
    how = "made" if done.made else "was there, and whole"
    print(f"part {index} of {parts} {how}: {path}, {path.stat().st_size:,} bytes, {done.checksum}")


@contextmanager
def at_work(workers: int | None, scheduler: str | None, timeout: float | None = None) -> Iterator[Any]:
    """The executor whose workers do it, and who they are on stderr; None if this process does it alone.

    Raises:
        ExecutorError: There are no such workers, both are asked for, or a time limit without either.
    """
    from ken.subnetwork.executors.own_workers import own_workers, workers_of

    if workers is not None and scheduler is not None:
        raise ExecutorError("--workers are processes of this machine, --scheduler has its own: give one of them")
    if workers is None and scheduler is None:
        if timeout is not None:
            raise ExecutorError("--timeout is only for workers: --workers, --scheduler")
        yield None
        return
    with own_workers(workers) if workers is not None else workers_of(str(scheduler)) as (executor, description):
        print(printable(description), file=sys.stderr)
        yield executor


def print_plan(parts: int, settings: dict[str, Any]) -> None:
    """Print what each part reads."""
    import ken

    plan = ken.parts(**settings, parts=parts)
    table = plan.table()
    print(table.to_string())
    largest, mean = table["bytes"].max(), table["bytes"].mean()
    print(
        f"\n{plan}\nThe largest part reads {largest:,} bytes, {largest / mean if mean else 1:.2f} of the mean. "
        f"The join reads {plan.read_again:,} bytes of both models once more."
    )


def join(
    folder: Annotated[Path, typer.Argument(metavar="PARTS", help="The folder of the parts.")],
    out: Annotated[str, typer.Option("-o", "--out", help="The subnetwork file to write: a path, or a URL.")],
    fine_tuned: Annotated[
        str | None, typer.Option(help="The fine-tuned model, if it lies elsewhere than for the parts.")
    ] = None,
    pretrained: Annotated[str | None, typer.Option(help="The pretrained model, likewise.")] = None,
    plan: Annotated[str, typer.Option(help="Digits of the plan that is meant, if PARTS has several.")] = "",
    copies: options.Copies = False,
    force: options.Force = False,
) -> None:
    """Join all PARTS into the subnetwork file that one machine would have written."""
    import ken
    from ken.models.checkpoints.remote.urls import shown
    from ken.storage.uploads import size_of, target

    net = ken.join(folder, out, fine_tuned=fine_tuned, pretrained=pretrained, plan=plan, overwrite=force, copies=copies)
    print(f"{net}\n{shown(out)}: {size_of(target(out)):,} bytes")


def clean(
    folder: Annotated[Path, typer.Argument(metavar="PARTS", help="The folder of the parts.")],
    yes: Annotated[bool, typer.Option("--yes", help="Remove what is listed; without it nothing is changed.")] = False,
    keep: Annotated[
        str, typer.Option(help="Digits of the plan whose parts are kept; by default that of the latest part.")
    ] = "",
    every_part: Annotated[
        bool, typer.Option("--all", help="The parts of that plan, too: they have been joined.")
    ] = False,
    minutes: Annotated[
        float, typer.Option(min=0, help="A file being written is left alone for so long after its last change.")
    ] = 60.0,
) -> None:
    """List what is of no use in PARTS: files cut off, damaged parts, parts of other plans; --yes removes it."""
    import ken

    leftovers = ken.leftovers(folder, keep=keep, every_part=every_part, minutes=minutes)
    for leftover in leftovers:
        print(f"{leftover.bytes:>15,}  {printable(leftover.path.name)}  {leftover.reason}")
    removable = [leftover for leftover in leftovers if leftover.removable]
    total = f"{len(removable)} of {len(leftovers)} files, {sum(leftover.bytes for leftover in removable):,} bytes"
    if not leftovers:
        print(f"{folder}: nothing is left over")
    elif yes:
        for leftover in removable:
            leftover.remove()
        print(f"removed: {total}")
    else:
        again = shlex.join(["ken", "clean", str(folder), *(["--keep", keep] if keep else []), "--yes"])
        print(f"may be removed: {total}; with the same options and --yes they are ({again})")
