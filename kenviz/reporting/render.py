"""The page: what was measured, as sentences, tables and drawings in one HTML text. Everything is escaped here."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import Any, NamedTuple

import numpy as np
from bokeh.embed import json_item
from bokeh.resources import Resources
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from kenviz import theme as themes
from kenviz.reporting import downloads, interactive_map, provenance, sentences, static_figures, tables
from kenviz.reporting.collect import Contents, Detail
from kenviz.reporting.png import picture
from kenviz.reporting.results import Results, series
from kenviz.reporting.sampling import SampledRow
from kenviz.text.glossary import GLOSSARY
from kenviz.text.labels import label, rule_in_words, visible
from kenviz.text.numbers import in_digits, in_percent

_TITLES = {
    "summary": "Summary",
    "provenance": "Where it comes from",
    "results": "What was measured",
    "map": "All matrices",
    "details": "Some matrices and rows in detail",
    "comparison": "Beside another subnetwork",
    "card": "One decision",
    "tensors": "All tensors",
    "glossary": "Words",
}


class Figure(NamedTuple):
    """A drawing with its caption, and the name of the data behind it."""

    drawing: Markup
    caption: str
    download: str


class Matrix(NamedTuple):
    """A tensor in detail: its mask as a picture, what that shows, and drawings of rows."""

    name: str
    address: str
    caption: str
    scale: tuple[str, str]
    download: str
    rows: Sequence[Figure]


def render(of: Contents, title: str, theme: str, told: Mapping[str, Any]) -> str:
    """The whole page as text. theme: "auto", "light" or "dark"; told: arguments of the call, for the provenance."""
    data: dict[str, Any] = {}
    context: dict[str, Any] = {
        "title": visible(title),
        "theme": theme,
        "titles": {name: _TITLES[name] for name in of.sections},
        "rule": sentences.the_rule(of.net),
        "style": _asset("report.css"),
        "script": _asset("report.js"),
        "legend": [colour[:7] for colour in themes.SEQUENTIAL[::32]],
        "glossary": GLOSSARY,
    }
    for name in of.sections:
        if name in _PARTS:
            context[name] = _PARTS[name](of, data)
    context["provenance_lines"] = (provenance.python(of.net, told), provenance.command(of.net, told))
    context["data"] = json_in_html(data)
    context["themes"] = json_in_html(themes.THEMES)
    context["bokehjs"] = _library() if context.get("map") else ""
    environment = Environment(
        loader=PackageLoader("kenviz.reporting"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("report.html").render(**context)


def json_in_html(value: Any) -> Markup:
    """JSON that may stand inside a script element, whatever the strings in it say. NaN is null.

    >>> json_in_html({"a": ["</script>", float("nan")]})
    Markup('{"a":["\\\\u003c/script\\\\u003e",null]}')
    """
    text = json.dumps(_finite(value), separators=(",", ":"), allow_nan=False)
    return Markup(text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026"))


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(of) for key, of in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(of) for of in value]
    if isinstance(value, float | np.floating):
        return float(value) if np.isfinite(value) else None
    return value.item() if isinstance(value, np.generic) else value


def _library() -> Markup:
    """BokehJS without its tables, widgets and formulas, which no figure here has."""
    return Markup("\n".join(Resources(mode="inline", components=["bokeh"]).js_raw))


def _asset(name: str) -> Markup:
    return Markup((files("kenviz.reporting") / "templates" / name).read_text(encoding="utf-8"))


def _summary(of: Contents, _: dict[str, Any]) -> dict[str, Any]:
    said = [
        sentences.what_was_pruned(of.net),
        sentences.what_it_kept_of_the_update(of.net, of.retained),
        sentences.what_it_kept_of_the_tails(of.retained),
        *sentences.how_good_it_is(of.net, of.results),
        None if of.comparison is None else of.comparison.summary(),
    ]
    return {"said": [line for line in said if line is not None], "caveats": sentences.caveats(of.net, of.turned)}


def _provenance(of: Contents, _: dict[str, Any]) -> dict[str, Any]:
    return {"facts": provenance.facts(of.net), "models": provenance.models(of.net)}


def _results(of: Contents, data: dict[str, Any]) -> dict[str, Any]:
    results = of.results
    assert results is not None
    data["results"] = downloads.table(results.table)
    table = tables.results(results.table, visible(results.metric), results.shares)
    return {"table": table, "figure": _sweep(results) if results.lines else None}


def _sweep(results: Results) -> Figure:
    lines = series(results.lines)
    bound = results.fine_tuned
    said = "; ".join(
        f"{visible(name)}: " + ", ".join(f"{_text(line.metric, results)} at {in_percent(line.share)}" for line in of)
        for name, of in lines.items()
    )
    unpruned = "" if bound is None else f" The fine-tuned model, unpruned, has {_text(bound.metric, results)}."
    caption = (
        f"The {visible(results.metric)} at each share of all entries retained, a line a rule: {said}.{unpruned} "
        "Vertical bars are one standard error each way. Of rules that draw at random it is the mean over their seeds."
    )
    drawing = static_figures.sweep(lines, bound, visible(results.metric), results.shares, caption)
    return Figure(drawing, caption, "results")


def _text(value: float, results: Results) -> str:
    return in_percent(value) if results.shares else in_digits(value)


def _map(of: Contents, data: dict[str, Any]) -> dict[str, Any] | None:
    if of.matrices.empty:
        return None
    columns = ["layer", "kind", "rows", "row_length", "entries", "retained", "share", "update_rms", "update_share"]
    data["map"] = downloads.table(of.matrices[columns].reset_index())
    caption = (
        "Every matrix by layer and kind. The value is the share of the update’s energy that lies at retained entries; "
        f"a rule that is blind to the update keeps about the share of entries it retains. Colours run from "
        f"{static_figures.scale(of.matrices)}. Vectors are left out here and are in the table of all tensors."
    )
    left_out = of.left_out
    if left_out:
        caption += (
            f" {left_out:,} matrices, those with the least energy of the update or of the rarest kinds, have no tiles "
            "and rows in this report, so that it stays small."
        )
    options = [
        (index, label(str(name), 90) + ("" if held else " (not in this report)"))
        for index, (name, held) in enumerate(zip(of.matrices.index, of.held, strict=True))
    ]
    first = next((index for index, held in enumerate(of.held) if held), 0)
    return {
        "caption": caption,
        "drawing": static_figures.layers(of.matrices, caption),
        "options": options,
        "first": first,
        "quantiles": [f"{100 * quantile:g} %" for quantile in of.quantiles],
        "middle": len(of.quantiles) // 2,
        "item": json_in_html(json_item(interactive_map.layout(of.matrices, of.net.recipe.on))),
        "held": json_in_html({"tensors": list(of.held)}),
    }


def _details(of: Contents, data: dict[str, Any]) -> list[Matrix]:
    return [_matrix(of, i, detail, data) for i, detail in enumerate(of.details)]


def _matrix(of: Contents, i: int, detail: Detail, data: dict[str, Any]) -> Matrix:
    tiles, name = detail.tiles, label(detail.name)
    low, high = tiles.limits
    key = f"matrix-{i}"
    place = tiles.place
    data[key] = {"grid": tiles.counts.tolist(), "tile": list(place.tile), "shape": list(place.shape)}
    rows = []
    for j, row in enumerate(detail.rows):
        data[f"{key}-row-{j}"] = downloads.fit(row.fit)
        caption = _row_caption(row, place.shape[0])
        rows.append(
            Figure(static_figures.fit(row.fit, of.net.recipe.on, f"{name}, {caption}"), caption, f"{key}-row-{j}")
        )
    caption = f"{name} ({detail.reason}). {tiles.note()}"
    ends = (f"{100 * low:.1f} %", f"{100 * high:.1f} %")
    return Matrix(name, picture(tiles.values, low, high), caption, ends, key, rows)


def _row_caption(row: SampledRow, rows: int) -> str:
    where = "the only row"
    if rows > 1:
        where = "a row without a pretrained value"
        if np.isfinite(row.quantile):
            where = f"at the {100 * row.quantile:g} % quantile of the RMS of the update by row, {in_digits(row.rms)}"
    return f"Row {row.row}, {where}: {static_figures.words_of_fit(row.fit)}."


def _comparison(of: Contents, data: dict[str, Any]) -> dict[str, Any]:
    found = of.comparison
    assert found is not None
    data["comparison"] = downloads.table(found.by_tensor.reset_index())
    bar = (
        "both are the same draw, so that it is no finding and chance has no say in it"
        if found.same_draw
        else "the upright bar is what chance would give if each had drawn as many entries of every row at random"
    )
    caption = (
        "Of the entries that either subnetwork retains, the share that both retain, by role of the tensor; "
        f"{bar}. The download has a line for every tensor."
    )
    recipe = of.net.recipe
    return {
        "own": rule_in_words(recipe.rule, recipe.on, recipe.bandwidth, recipe.kernel),
        "summary": found.summary(),
        "figure": Figure(static_figures.overlap(found.by_role, caption), caption, "comparison"),
        "table": tables.overlap(found.by_role),
    }


def _card(of: Contents, _: dict[str, Any]) -> dict[str, Any] | None:
    card = of.card
    if card is None:
        return None
    which = "of those that were reset, the one" if card.reset else "the entry"
    where = f"at the {100 * card.quantile:g} % quantile of the RMS of the update by row"
    how = f"In the row {where}, {which} that fine-tuning changed most."
    return {"how": how, "tensor": label(card.tensor), "text": provenance.visible_lines(card.text)}


def _tensors(of: Contents, _: dict[str, Any]) -> dict[str, Any]:
    places = {visible(str(name)): i for i, name in enumerate(of.matrices.index) if of.held[i]}
    return {"table": tables.all_tensors(of.net, of.retained), "places": places}


_PARTS: Mapping[str, Any] = {
    "summary": _summary,
    "provenance": _provenance,
    "results": _results,
    "map": _map,
    "details": _details,
    "comparison": _comparison,
    "card": _card,
    "tensors": _tensors,
}
