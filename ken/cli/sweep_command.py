"""``ken sweep``: how good a model is, pruned with several k and rules."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Annotated, Any

import typer

from ken.cli import options
from ken.cli.arguments import bandwidth_of, budget, budget_text, tolerance_of
from ken.cli.questions import Question, opened
from ken.errors import KenError


def sweep(
    fine_tuned: options.LiveTuned,
    pretrained: options.Pretrained,
    texts: options.Texts = None,
    task: options.Task = "classification",
    k: Annotated[
        list[str] | None,
        typer.Option("-k", help=f"{options.K_HELP}; may be repeated."),
    ] = None,
    rule: Annotated[list[str] | None, typer.Option(help="How entries are chosen; may be repeated.")] = None,
    on: Annotated[list[str] | None, typer.Option(help="weights, update or pretrained; may be repeated.")] = None,
    scope: Annotated[
        list[str] | None, typer.Option(help="Over what k is counted: row, tensor or model; may be repeated.")
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Draws of each rule that draws at random.")] = 1,
    text_column: options.TextColumn = "text",
    label_column: options.LabelColumn = "label",
    harness_task: options.HarnessTask = None,
    include_path: options.IncludePath = None,
    metric: options.HarnessMetric = None,
    limit: options.Limit = None,
    tokenizer: options.Tokenizer = None,
    batch_size: options.BatchSize = 64,
    max_length: options.MaxLength = None,
    exclude: options.Exclude = None,
    bandwidth: options.Bandwidth = "normal reference",
    kernel: options.Kernel = "gaussian",
    results: options.Results = None,
    out: Annotated[Path | None, typer.Option("-o", "--out", help="The table to write, as CSV.")] = None,
    tolerance: Annotated[
        str | None,
        typer.Option(help="Find the smallest share of each rule that loses no more of the texts than this (0.01, 1%)."),
    ] = None,
    force: options.Force = False,
) -> None:
    """Prune FINE_TUNED against PRETRAINED with several k and rules, and evaluate it: on labelled texts, or --task."""
    from ken import rules as registry
    from ken.cli.sweep_summary import summary
    from ken.evaluation.runner import jobs
    from ken.evaluation.smallest_k import smallest_k
    from ken.evaluation.sweep import sweep
    from ken.pruning.selection import Selection
    from ken.storage.atomic_files import write_text
    from ken.storage.file_kinds import RESULTS, TABLE
    from ken.storage.outputs import check_outputs

    question = Question(
        task,
        texts,
        text_column=text_column,
        label_column=label_column,
        tokenizer=tokenizer,
        batch_size=batch_size,
        max_length=max_length,
        harness_task=tuple(harness_task or ()),
        include_path=tuple(include_path or ()),
        metric=metric,
        limit=limit,
    )
    # Told now, not after hours.
    check_outputs([(out, TABLE), (results, RESULTS)], question.inputs(fine_tuned, pretrained), overwrite=force)
    ks = [budget(text) for text in k or ("0.75", "0.5", "0.25")]
    most_lost = None if tolerance is None else tolerance_of(tolerance)
    rules, values, scopes = rule or ["ken", "random"], on or ["weights"], scope or ["row"]
    for key in jobs(rules, values, ks, seeds=range(seeds), scope=scopes):
        assert key.k is not None
        Selection(key.k)
    print(f"k was taken for {', '.join(budget_text(number) for number in ks)}.")
    asking = opened(question, fine_tuned, pretrained)
    if most_lost is not None and not asking.rises:
        raise KenError(f"--tolerance needs a metric of which more is better, and of {asking.metric} less is")
    with tempfile.TemporaryDirectory(prefix="ken-") as folder:
        settings: dict[str, Any] = {
            "evaluate": asking.evaluate,
            "seeds": range(seeds),
            "exclude": [*(exclude or ()), *asking.carried],
            "bandwidth": bandwidth_of(bandwidth),
            "kernel": kernel,
            "evaluation": asking.name,
            # In any case a file: what the sweep has measured is not measured again for the tolerance.
            "results": results or Path(folder) / "results.jsonl",
        }
        table = sweep(asking.pair, ks, rules, on=values, scope=scopes, **settings)
        if out is not None:
            write_text(out, table.to_csv(index=False))
        draws = f" Of random rules the mean of {seeds} draws." if seeds > 1 else ""
        print(f"{summary(table, percent=asking.percent)}\n\n{asking.metric}, ± one standard error.{draws}")
        if "loss" in table and asking.loss:
            print(f"\n{summary(table, 'loss', percent=False)}\n\nLoss: {asking.loss}, in nats.{draws}")
        if most_lost is not None:
            print()
            for name in dict.fromkeys(rules):
                for value in dict.fromkeys(["weights"] if registry.get(name).fixed else values):
                    for range_of_k in dict.fromkeys(scopes):
                        print(smallest_k(asking.pair, most_lost, rule=name, on=value, scope=range_of_k, **settings))
