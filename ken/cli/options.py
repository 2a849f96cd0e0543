"""Arguments and options that several commands have, each declared once."""

from __future__ import annotations

from typing import Annotated, TypeAlias

import typer

_MODEL = "Checkpoint folder, file of weights, or place on the hub (user/name@revision, hf://user/name@revision/path)."
_TUNED = f"{_MODEL} Or an adapter (LoRA)."
#: What k is; a command that takes several says so behind it.
K_HELP = "Entries of every row (100), or share of the row (0.5 or 50%)"

Net: TypeAlias = Annotated[str, typer.Argument(help="The subnetwork file, or its place on the hub.")]
Model: TypeAlias = Annotated[str, typer.Argument(help=_MODEL)]
AnyModel: TypeAlias = Annotated[str | None, typer.Argument(help=_MODEL)]
Tuned: TypeAlias = Annotated[str, typer.Argument(help=_TUNED)]
Base: TypeAlias = Annotated[
    str | None,
    typer.Argument(
        help="The model that it came from, likewise; may be left out if FINE_TUNED names it (adapter, model card)."
    ),
]
Pretrained: TypeAlias = Annotated[str, typer.Argument(help="The model that it came from, likewise.")]
Bandwidth: TypeAlias = Annotated[str, typer.Option(help="normal reference, scott, silverman, isj, or a number.")]
Scope: TypeAlias = Annotated[
    str, typer.Option(help="Over what k is counted: row, or as many entries over each tensor, or the model.")
]
Kernel: TypeAlias = Annotated[str, typer.Option(help="gaussian, tophat, epanechnikov, exponential, linear or cosine.")]
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
