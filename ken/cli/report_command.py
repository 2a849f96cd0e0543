"""``ken report``: the HTML report about a subnetwork."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from ken.cli import options
from ken.cli.views_package import require_kenviz
from ken.errors import KenError, ThresholdError, printable

#: The exit status if a threshold was crossed: 1 is an error, 2 a command that cannot be read.
CROSSED = 3


def report(
    net: options.Net,
    fine_tuned: options.Model,
    pretrained: options.Pretrained,
    out: Annotated[str, typer.Option("-o", "--out", help="The HTML file to write: a path, or a URL.")] = "report.html",
    json: Annotated[
        str | None, typer.Option(help="Where to write the same numbers for programs, as JSON; by default nowhere.")
    ] = None,
    title: Annotated[str | None, typer.Option(help="What stands at the top.")] = None,
    results: Annotated[
        Path | None, typer.Option(help="What was measured: the CSV of ken sweep, or its file of results.")
    ] = None,
    metric: Annotated[str | None, typer.Option(help="What the results measure, such as accuracy.")] = None,
    compare: Annotated[str | None, typer.Option(help="A second subnetwork of the same models.")] = None,
    effects: Annotated[
        Path | None, typer.Option(help="What parts of the update do to the model: the table of ken.ablate as CSV.")
    ] = None,
    attribution: Annotated[
        Path | None, typer.Option(help="The file of ken.attribute, of the same models; only with --effects.")
    ] = None,
    by: Annotated[str | None, typer.Option(help="Groups of the effects: place, tensor, layer, kind or head.")] = None,
    tensors: Annotated[list[str] | None, typer.Option(help="A tensor to show in detail; may be repeated.")] = None,
    quantiles: Annotated[
        list[float] | None,
        typer.Option(help="Rows of a matrix to show, in the order of their update, from 0 to 1; may be repeated."),
    ] = None,
    sections: Annotated[
        list[str] | None,
        typer.Option(
            help="summary, provenance, results, effects, map, details, comparison, card, tensors or glossary; may be "
            "repeated."
        ),
    ] = None,
    theme: Annotated[str | None, typer.Option(help="auto, light or dark.")] = None,
    facts: Annotated[
        Path | None,
        typer.Option(help="File (TOML or JSON) of what only the provider can know, for the documentation in the JSON."),
    ] = None,
    fail_if: Annotated[
        list[str] | None,
        typer.Option(
            help='What must not be, such as "metric_loss_points > 1": the report is written, and the exit status is 3; '
            "may be repeated."
        ),
    ] = None,
    force: options.Force = False,
) -> None:
    """Write a report about the subnetwork NET: one HTML file, which needs neither a network nor a kernel."""
    require_kenviz("report")
    from ken.api import load
    from ken.models.checkpoints.remote.urls import shown
    from ken.models.pairing.pairs import Pair
    from ken.storage.uploads import size_of, target

    subnetwork = load(net)
    choices: dict[str, Any] = {"title": title, "metric": metric, "quantiles": quantiles, "theme": theme, "by": by}

    import kenviz

    crossed: ThresholdError | None = None
    try:
        kenviz.report(
            subnetwork,
            Pair(fine_tuned, pretrained),
            out,
            results=results,
            compare=None if compare is None else load(compare),
            ablation=effects,
            attribution=attribution,
            tensors=tensors or None,
            sections=sections or None,
            json=json,
            facts=facts,
            fail_if=fail_if or (),
            overwrite=force,
            **{name: value for name, value in choices.items() if value},
        )
    except ThresholdError as error:
        crossed = error
    except KenError:
        raise
    except ValueError as error:  # what was asked for, not a bug
        raise KenError(str(error)) from error
    print(f"{shown(out)}: {size_of(target(out)):,} bytes. Open it in a browser.")
    if json is not None:
        print(f"{shown(json)}: {size_of(target(json)):,} bytes, for programs.")
    if crossed is not None:
        for one in crossed.crossed:
            print(f"ken: {printable(str(one))}", file=sys.stderr)
        raise typer.Exit(CROSSED)
