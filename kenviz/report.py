"""The report: one HTML file that opens on any computer, without a kernel or a network.

Everything is summarised to plain data first; one template then turns the data into HTML and escapes it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from bokeh.embed import json_item
from bokeh.models import LayoutDOM
from bokeh.resources import INLINE
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

import ken
from ken.explaining import CLAIMING
from ken.files import write_text
from kenviz import theme as themes
from kenviz.figures import matrix as matrix_figure
from kenviz.figures import retention as retention_figure
from kenviz.figures import row as row_figure
from kenviz.figures.labels import label, rule_in_words, visible
from kenviz.rasters import Pyramid
from kenviz.study import Study

if TYPE_CHECKING:
    import pandas as pd

    from ken.explaining import CLAIMING
from ken.retention import PairOfModels

_RULES = {
    "ken": "In every row of every pruned tensor, k evenly spaced grid points from the smallest to the largest "
    "fine-tuned value each claim the nearest entry that is still unclaimed, grid points of high density first. "
    "In effect this keeps nearly all of the tails of a row and thins out its dense centre evenly; the order in "
    "which the grid points are visited hardly matters.",
    "grid": "In every row of every pruned tensor, k evenly spaced grid points from the smallest to the largest "
    "fine-tuned value each claim the nearest unclaimed entry, from left to right. This is the control for the "
    "rule “ken”, without its density estimate.",
    "random": "In every row of every pruned tensor, k entries are drawn uniformly at random. This is the baseline "
    "that any other rule should be compared with.",
    "density": "In every row of every pruned tensor, the k entries at which the kernel density estimate of the row is "
    "highest are retained. This is how the prose of the paper reads, and not what the published code does.",
    "magnitude": "In every row of every pruned tensor, the k largest absolute fine-tuned values are retained.",
    "update": "In every row of every pruned tensor, the k entries that fine-tuning changed most are retained.",
    "della": "In every row of every pruned tensor, k entries are drawn at random, those that fine-tuning changed more "
    "with a higher probability.",
}
_ON_UPDATE = " The values it looks at are not the fine-tuned ones but what fine-tuning changed."


@dataclass(frozen=True, slots=True)
class Figure:
    """A figure of the report: its heading, what it shows in words, and the Bokeh model."""

    heading: str
    caption: str
    item: Any

    @classmethod
    def of(cls, heading: str, caption: str, model: LayoutDOM) -> Figure:
        """Serialise a Bokeh model; it may be thrown away afterwards."""
        return cls(heading, caption, json_item(model))


def report(
    net: ken.Subnetwork,
    pair: PairOfModels,
    path: str | Path,
    *,
    title: str = "What pruning kept",
    results: pd.DataFrame | None = None,
    tensors: Sequence[str] | None = None,
) -> Path:
    """Write a report about a subnetwork; returns its path.

    Summary, the table of all tensors, the layer × kind map, and for each of `tensors` its mask and one of its rows:
    the row whose update has the median root mean square. `tensors` are by default the largest matrix, and of those
    inside layers the two that keep the smallest and the largest share of their update. `results` is any table worth
    showing at the top, such as that of ``ken demo``. Names are escaped. The file is written whole or not at all.

    Raises `ValueError` if the models are not those of the subnetwork, or a tensor is not a pruned one.
    """
    models = Study(net, pair)
    retained = ken.retention.table(net, pair)
    chosen = _choose(retained) if tensors is None else dict.fromkeys(tensors, "chosen for this report")
    for name in chosen:
        if name not in net.pruned():
            raise ValueError(f"tensors must be pruned ones, got {name!r}")

    figures = []
    matrices = retained[retained["rows"] > 1]
    if not matrices.empty:
        figures.append(
            Figure.of(
                "Where the update was retained",
                "Every matrix by layer and kind. The value is the share of the update's energy (the sum of the squares "
                "of fine-tuned − pretrained) that lies at retained entries; a rule that is blind to the update keeps "
                "about the share of entries it retains. Vectors are left out here and are in the table below.",
                retention_figure.build(matrices, "update_share"),
            )
        )
    for name, reason in chosen.items():
        figures += _tensor_figures(net, models, name, reason)

    template = Environment(
        loader=PackageLoader("kenviz"), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    ).get_template("report.html")
    page = template.render(
        title=visible(title),
        facts=_facts(net),
        rule=_RULES.get(net.recipe.rule, f"The rule “{visible(net.recipe.rule)}”, registered by the user.")
        + (_ON_UPDATE if net.recipe.on == "update" else ""),
        results=None if results is None else _cells(results),
        figures=figures,
        items=Markup(_json([figure.item for figure in figures])),
        themes=Markup(_json(themes.THEMES)),
        table=_cells(net.table().reset_index()),
        bokehjs=Markup("\n".join(INLINE.js_raw)),
    )
    return write_text(Path(path), page)


def _choose(retained: pd.DataFrame) -> dict[str, str]:
    """Tensors to look at, and why: by stated criteria, not by eye."""
    matrices = retained[retained["rows"] > 1]
    if matrices.empty:
        return dict.fromkeys(retained.nlargest(1, "entries").index, "the largest tensor")
    chosen = {str(matrices["entries"].idxmax()): "the largest matrix"}
    inside = matrices[matrices["layer"].notna()].dropna(subset="update_share")
    if not inside.empty:
        chosen.setdefault(str(inside["update_share"].idxmin()), "keeps the smallest share of its update")
        chosen.setdefault(str(inside["update_share"].idxmax()), "keeps the largest share of its update")
    return chosen


def _tensor_figures(net: ken.Subnetwork, models: Any, name: str, reason: str) -> list[Figure]:
    mask = net.pruned()[name].row_mask()
    tiles = Pyramid(mask).tiles((0, mask.shape[0]), (0, mask.shape[1]))
    row, energy = _median_row(models, name)
    fine_tuned, pretrained = models.rows(name, slice(row, row + 1))
    recipe = net.recipe
    settings = ken.rules.Settings(recipe.on, recipe.bandwidth, recipe.kernel)
    shown = row_figure.picture(fine_tuned[0], mask[row], pretrained[0], settings, recipe.rule in CLAIMING)
    return [
        Figure.of(
            f"Mask of {label(name)}",
            f"{reason.capitalize()}. {matrix_figure.note(tiles, mask.shape).capitalize().split(': zoom')[0]}.",
            matrix_figure.build(tiles, mask.shape, name),
        ),
        Figure.of(
            f"Row {row} of {label(name)}",
            f"The row whose update has the median root mean square of its matrix ({energy:.3g}). "
            f"{'; '.join(shown.lines())}. The upper plot compares the histogram of the fine-tuned values with their "
            "kernel density estimate; the lower one has a mark for every grid point and every entry.",
            row_figure.build(shown, f"row {row} of {name}"),
        ),
    ]


def _median_row(models: Any, name: str) -> tuple[int, float]:
    rows, n = models.shape(name)
    step = max(1, (1 << 20) // n)
    energy = np.empty(rows)
    for start in range(0, rows, step):
        fine_tuned, pretrained = models.rows(name, slice(start, start + step))
        update = np.nan_to_num(fine_tuned - pretrained)
        energy[start : start + step] = np.sqrt(np.mean(update**2, axis=1))
    row = int(np.argsort(energy, kind="stable")[(rows - 1) // 2])
    return row, float(energy[row])


def _facts(net: ken.Subnetwork) -> list[tuple[str, str]]:
    recipe = net.recipe
    carried = len(net) - len(net.pruned())
    k = f"{recipe.k:.0%} of each row" if isinstance(recipe.k, float) else str(recipe.k)
    if isinstance(recipe.k, int):
        k = f"{recipe.k:,} entries of each row"
    facts = [
        ("retained", f"{net.retained:,} of {net.entries:,} entries ({net.share:.1%})"),
        ("tensors", f"{len(net.pruned())} pruned, {carried} carried whole, {len(net.tied)} tied"),
        ("rule", rule_in_words(recipe.rule, recipe.on, recipe.bandwidth, recipe.kernel)),
        ("k", k),
        ("seed", str(recipe.seed)),
        ("excluded", visible(", ".join(recipe.exclude)) or "nothing"),
        ("model", net.architecture.class_name if net.architecture else "not recorded"),
        ("made with", ", ".join(f"{name} {version}" for name, version in recipe.versions.items())),
        ("report written", f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC"),
    ]
    return facts


def _cells(table: pd.DataFrame) -> dict[str, Any]:
    """A table as plain text, cell by cell, with its columns and which of them are numbers."""
    numeric = [table[column].dtype.kind in "if" for column in table.columns]
    rows = [
        [_cell(str(column), value) for column, value in zip(table.columns, line, strict=True)]
        for line in table.itertuples(index=False, name=None)
    ]
    columns = [visible(str(column)).replace("_", " ") for column in table.columns]
    return {"columns": list(zip(columns, numeric, strict=True)), "rows": rows, "numeric": numeric}


def _cell(column: str, value: Any) -> str:
    if isinstance(value, float):
        if np.isnan(value):
            return "–"
        return f"{value:.1%}" if column == "share" or "accuracy" in column or "error" in column else f"{value:.4g}"
    if isinstance(value, int | np.integer) and not isinstance(value, bool):
        return f"{value:,}"
    if isinstance(value, tuple):
        return " × ".join(f"{side:,}" for side in value) or "scalar"
    return visible(str(value))


def _json(value: Any) -> str:
    """JSON that may stand inside a script element, whatever the strings in it say."""
    text = json.dumps(value, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
