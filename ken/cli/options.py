"""Arguments and options that several commands have, each declared once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, TypeAlias

import typer

_MODEL = "Checkpoint folder, file of weights, or place on the hub (user/name@revision, hf://user/name@revision/path)."
_TUNED = f"{_MODEL} Or an adapter (LoRA)."
#: As `ken.rules` has them, which is not asked: it needs numpy, and to load that is a sixth of `ken --help`.
RULES = (
    *("ken", "grid", "density", "random", "magnitude", "update", "dare", "della", "changed", "smallest_magnitude"),
    *("smallest_update", "pretrained_magnitude", "relative", "breadcrumbs", "cabs", "arcee_fusion"),
)
VALUES = ("weights", "update", "pretrained")
#: What k is; a command that takes several says so behind it.
K_HELP = "Entries of every row (100), or share of the row (0.5 or 50%)"

Net: TypeAlias = Annotated[str, typer.Argument(help="The subnetwork file, or its place on the hub.")]
Model: TypeAlias = Annotated[str, typer.Argument(help=_MODEL)]
AnyModel: TypeAlias = Annotated[str | None, typer.Argument(help=_MODEL)]
Tuned: TypeAlias = Annotated[str, typer.Argument(help=_TUNED)]
LiveTuned: TypeAlias = Annotated[
    str,
    typer.Argument(
        help="Checkpoint folder, or place on the hub, of a text classifier; for --task causal and harness of a causal "
        "language model, for fidelity of either."
    ),
]
Base: TypeAlias = Annotated[
    str | None,
    typer.Argument(
        help="The model that it came from, likewise; may be left out if FINE_TUNED names it (adapter, model card)."
    ),
]
Pretrained: TypeAlias = Annotated[str, typer.Argument(help="The model that it came from, likewise.")]
Rule: TypeAlias = Annotated[str, typer.Option(help=f"How entries are chosen: {', '.join(RULES)}.")]
On: TypeAlias = Annotated[str, typer.Option(help=f"What a density is estimated of: {', '.join(VALUES)}.")]
Bandwidth: TypeAlias = Annotated[str, typer.Option(help="normal reference, scott, silverman, isj, or a number.")]
Scope: TypeAlias = Annotated[
    str, typer.Option(help="Over what k is counted: row, or as many entries over each tensor, or the model.")
]
Kernel: TypeAlias = Annotated[str, typer.Option(help="gaussian, tophat, epanechnikov, exponential, linear or cosine.")]
Rescale: TypeAlias = Annotated[
    str | None,
    typer.Option(
        help="share: divide retained updates by the share retained; none: do not. By default share for rule dare alone."
    ),
]
Include: TypeAlias = Annotated[list[str] | None, typer.Option(help="Only tensors that match; may be repeated.")]
Exclude: TypeAlias = Annotated[list[str] | None, typer.Option(help="Tensors to carry whole; may be repeated.")]
LayersOnly: TypeAlias = Annotated[
    bool, typer.Option("--layers-only", help="Carry tensors without a layer number in their name.")
]
Rows: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        help="PATTERN=last, first or whole: cut these tensors into rows so; grown: rows were added. May be repeated."
    ),
]
Force: TypeAlias = Annotated[
    bool,
    typer.Option(
        "--force", help="Replace a file that is there and holds something of another kind; never one that is read."
    ),
]

Copies: TypeAlias = Annotated[
    bool, typer.Option("--copies", help="Each machine has a copy of the same models: their dates are not compared.")
]

# Who does it; see `ken.cli.part_commands.at_work`.
Workers: TypeAlias = Annotated[
    int | None,
    typer.Option(min=1, help="So many processes of this machine, a thread each: of Dask if installed, else of a pool."),
]
Scheduler: TypeAlias = Annotated[
    str | None, typer.Option(help="The workers of this scheduler of Dask, such as tcp://HOST:8786.")
]
Timeout: TypeAlias = Annotated[
    float | None, typer.Option(help="Seconds that a worker may take for one part; then another is given it, once.")
]
GroupTimeout: TypeAlias = Annotated[
    float | None,
    typer.Option(help="Seconds that a worker may take for some tensors; then another is given them, once."),
]
PartsFolder: TypeAlias = Annotated[
    Path | None,
    typer.Option(help="Where the workers' parts are kept; by default beside OUT until they are joined."),
]

# What models are asked; see `ken.cli.questions`.
Task: TypeAlias = Annotated[
    str,
    typer.Option(
        help="classification: texts with labels. fidelity: texts alone; answers beside those of the unpruned model. "
        "causal: texts that a language model continues. harness: tasks of lm-evaluation-harness."
    ),
]
Texts: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        help="CSV file of held-out texts, with labels for classification; for fidelity and causal also a text file "
        "with a text in each line."
    ),
]
TextColumn: TypeAlias = Annotated[str, typer.Option(help="The column of the texts.")]
LabelColumn: TypeAlias = Annotated[str, typer.Option(help="The column of the labels: numbers, or the model's names.")]
Tokenizer: TypeAlias = Annotated[
    str | None, typer.Option(help="Folder or place on the hub, if not that of FINE_TUNED.")
]
BatchSize: TypeAlias = Annotated[int, typer.Option(min=1, help="Texts, or requests of the harness, at a time.")]
MaxLength: TypeAlias = Annotated[
    int | None,
    typer.Option(
        min=1, help="Longer texts are cut off after so many tokens: 128, in the harness what the model takes."
    ),
]
HarnessTask: TypeAlias = Annotated[
    list[str] | None, typer.Option(help="Task, group or YAML file of lm-evaluation-harness; may be repeated.")
]
IncludePath: TypeAlias = Annotated[
    list[Path] | None, typer.Option(help="Folder with YAML files of your own harness tasks; may be repeated.")
]
HarnessMetric: TypeAlias = Annotated[
    str | None, typer.Option("--metric", help="Metric of the harness, such as acc_norm; by default the task's first.")
]
Limit: TypeAlias = Annotated[
    float | None, typer.Option(help="Only so many items of each harness task; below 1, that share of them.")
]
Subnetwork: TypeAlias = Annotated[
    str | None, typer.Option(help="A subnetwork of both, file or place on the hub, in place of the whole update.")
]
By: TypeAlias = Annotated[str, typer.Option(help="The groups: place, tensor, layer, kind or head.")]
Results: TypeAlias = Annotated[
    Path | None, typer.Option(help="File to keep every evaluation in at once; if it is there, it is gone on with.")
]
Top: TypeAlias = Annotated[int, typer.Option(min=1, help="Groups to print, those of the largest effect first.")]
