"""``ken ablate`` and ``ken attribute``: what parts of the update do to a model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ken.cli import options
from ken.cli.questions import Question, opened
from ken.errors import KenError

if TYPE_CHECKING:
    from ken.api import Subnetwork

_DRAWN = "as many entries drawn at random elsewhere"


def ablate(
    fine_tuned: options.LiveTuned,
    pretrained: options.Pretrained,
    texts: options.Texts = None,
    task: options.Task = "classification",
    by: options.By = "place",
    way: Annotated[
        list[str] | None,
        typer.Option(help="without: a group is reset, the rest stays. only: it alone stays. By default both."),
    ] = None,
    controls: Annotated[int, typer.Option(min=0, help=f"Controls for each group: {_DRAWN}, reset.")] = 0,
    net: options.Subnetwork = None,
    exclude: options.Exclude = None,
    text_column: options.TextColumn = "text",
    label_column: options.LabelColumn = "label",
    harness_task: options.HarnessTask = None,
    include_path: options.IncludePath = None,
    metric: options.HarnessMetric = None,
    limit: options.Limit = None,
    tokenizer: options.Tokenizer = None,
    batch_size: options.BatchSize = 64,
    max_length: options.MaxLength = None,
    results: options.Results = None,
    out: Annotated[
        Path | None, typer.Option("-o", "--out", help="The table to write, as CSV, which ken report --effects takes.")
    ] = None,
    top: options.Top = 10,
    force: options.Force = False,
) -> None:
    """Reset one part of the update after the other, retain each alone, and evaluate: what does the work, and where."""
    from ken.cli.effects_summary import of_ablation
    from ken.evaluation.effects.ablation import WAYS, ablate
    from ken.storage.atomic_files import write_text
    from ken.storage.file_kinds import ABLATION, EFFECTS
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
    ways = list(dict.fromkeys(way or WAYS))
    _check_by(by)
    for name in ways:
        if name not in WAYS:
            raise KenError(f"--way must be one of {', '.join(WAYS)}, got {name!r}")
    read = {**question.inputs(fine_tuned, pretrained), "the subnetwork": net}
    check_outputs([(out, ABLATION), (results, EFFECTS)], read, overwrite=force)
    subnetwork = _loaded(net)
    asking = opened(question, fine_tuned, pretrained)
    table = ablate(
        asking.pair,
        evaluate=asking.evaluate if asking.task is None else asking.task().evaluate,
        net=subnetwork,
        by=by,
        ways=ways,
        seeds=range(controls),
        exclude=[*(exclude or ()), *asking.carried],
        evaluation=asking.name,
        results=results,
    )
    if out is not None:
        write_text(out, table.to_csv(index=False))
    print(of_ablation(table, asking, top=top, of_net=net is not None))


def attribute(
    fine_tuned: options.LiveTuned,
    pretrained: options.Pretrained,
    out: Annotated[Path, typer.Option("-o", "--out", help="The file to write, which ken report --attribution takes.")],
    texts: options.Texts = None,
    task: options.Task = "classification",
    steps: Annotated[int, typer.Option(min=1, help="Points on the line at first.")] = 8,
    most_steps: Annotated[int, typer.Option(min=1, help="Points at the most.")] = 64,
    by: options.By = "place",
    net: options.Subnetwork = None,
    exclude: options.Exclude = None,
    text_column: options.TextColumn = "text",
    label_column: options.LabelColumn = "label",
    tokenizer: options.Tokenizer = None,
    batch_size: options.BatchSize = 64,
    max_length: options.MaxLength = None,
    top: options.Top = 10,
    force: options.Force = False,
) -> None:
    """Share the change of the loss from PRETRAINED to FINE_TUNED out among all entries: a map for ken ablate."""
    from ken.cli.effects_summary import of_attribution
    from ken.evaluation.effects.attribute import attribute
    from ken.storage.file_kinds import ATTRIBUTION
    from ken.storage.outputs import check_outputs

    if task == "harness":
        raise KenError("--task harness has no loss with a gradient; take classification, fidelity or causal")
    question = Question(
        task,
        texts,
        text_column=text_column,
        label_column=label_column,
        tokenizer=tokenizer,
        batch_size=batch_size,
        max_length=max_length,
    )
    _check_by(by)
    read = {**question.inputs(fine_tuned, pretrained), "the subnetwork": net}
    check_outputs([(out, ATTRIBUTION)], read, overwrite=force)
    subnetwork = _loaded(net)
    asking = opened(question, fine_tuned, pretrained)
    assert asking.task is not None
    attribution = attribute(
        asking.pair,
        asking.task(),
        net=subnetwork,
        steps=steps,
        most_steps=max(steps, most_steps),
        exclude=[*(exclude or ()), *asking.carried],
    )
    attribution.save(out, overwrite=force)
    print(f"{of_attribution(attribution, by, loss=asking.loss, top=top)}\n\n{out}: {out.stat().st_size:,} bytes.")


def _check_by(by: str) -> None:
    from ken.evaluation.effects.groups import WAYS

    if by not in WAYS:
        raise KenError(f"--by must be one of {', '.join(WAYS)}, got {by!r}")


def _loaded(net: str | None) -> Subnetwork | None:
    from ken.api import load

    return None if net is None else load(net)
