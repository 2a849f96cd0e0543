"""The page: what was measured, as sentences, tables and drawings in one HTML text. Everything is escaped here."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from bokeh.embed import json_item
from bokeh.resources import Resources
from markupsafe import Markup

from ken.models import index_as_column
from kenviz import theme as themes
from kenviz.figures import effect_panels
from kenviz.reporting import interactive_map, provenance, sentences, static_figures, tables
from kenviz.reporting.collect import Contents, Detail
from kenviz.reporting.results import Results
from kenviz.reporting.sampling import SampledRow
from kenviz.reporting.schema import ReportData
from kenviz.reporting.templating import asset, filled
from kenviz.study.pins import Pin
from kenviz.text.glossary import GLOSSARY
from kenviz.text.labels import label, recipe_in_words, visible
from kenviz.text.numbers import in_digits, in_percent

_TITLES = {
    "summary": "Summary",
    "pins": "What was pinned",
    "provenance": "Where it comes from",
    "results": "What was measured",
    "effects": "What it does to the model",
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


def render(contents: Contents, report: ReportData, theme: str, *, pins: Sequence[Pin] = ()) -> str:
    """The whole page as text: the numbers of report, and drawings of contents. theme: "auto", "light" or "dark".

    pins, what the user has kept, come after the summary, or first.
    """
    data: dict[str, Any] = {}
    context: dict[str, Any] = {
        "title": visible(report.title),
        "theme": theme,
        "titles": {name: _TITLES[name] for name in _in_order(contents.sections, pins)},
        "pins": [_pinned(pin) for pin in pins],
        "rule": report.about,
        "style": asset("report.css"),
        "script": asset("report.js"),
        "legend": [colour[:7] for colour in themes.SEQUENTIAL[::32]],
        "glossary": GLOSSARY,
        "provenance_lines": [report.reproduce.get(name, "") for name in ("python", "shell")],
    }
    for name in contents.sections:
        if name in _PARTS:
            context[name] = _PARTS[name](contents, report, data)
    context["data"] = json_in_html(data)
    context["themes"] = json_in_html(themes.THEMES)
    context["bokehjs"] = _library() if context.get("map") else ""
    return filled("report.html", **context)


def _in_order(sections: Sequence[str], pins: Sequence[Pin]) -> list[str]:
    return sorted({*sections, *(["pins"] if pins else [])}, key=list(_TITLES).index)


def _pinned(pin: Pin) -> dict[str, Any]:
    """A pin whose text is as it can be read, line by line: names in it come from files of strangers."""
    numbers = [(visible(name), visible(value)) for name, value in pin.numbers]
    texts = {name: provenance.visible_lines(getattr(pin, name)) for name in ("subject", "sentence", "text", "code")}
    return {**texts, "numbers": numbers}


def json_in_html(value: Any) -> Markup:
    """JSON that may stand inside a script element, whatever the strings in it say. NaN is null.

    >>> json_in_html({"a": ["</script>", float("nan")]})
    Markup('{"a":["\\\\u003c/script\\\\u003e",null]}')
    """
    text = json.dumps(_finite(value), separators=(",", ":"), allow_nan=False)
    return Markup(text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026"))


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(part) for part in value]
    if isinstance(value, float | np.floating):
        return float(value) if np.isfinite(value) else None
    return value.item() if isinstance(value, np.generic) else value


def _library() -> Markup:
    """BokehJS without its tables, widgets and formulas, which no figure here has."""
    return Markup("\n".join(Resources(mode="inline", components=["bokeh"]).js_raw))


def _summary(contents: Contents, report: ReportData, _: dict[str, Any]) -> dict[str, Any]:
    net, both = contents.net, contents.comparison
    return {
        "said": sentences.statements(net, report.summary, contents.results, both=both),
        "caveats": sentences.caveats(net, report.summary),
    }


def _provenance(contents: Contents, report: ReportData, _: dict[str, Any]) -> dict[str, Any]:
    return {"facts": provenance.facts(contents.net, report), "models": provenance.models(report)}


def _results(contents: Contents, __: ReportData, data: dict[str, Any]) -> dict[str, Any]:
    results = contents.results
    assert results is not None
    data["results"] = tables.data(results.table)
    table = tables.results(results.table, visible(results.metric), results.shares)
    return {"table": table, "figure": _sweep(results) if results.lines else None}


def _sweep(results: Results) -> Figure:
    unpruned = results.fine_tuned
    said = "; ".join(
        f"{visible(name)}: " + ", ".join(f"{_text(line.metric, results)} at {in_percent(line.share)}" for line in lines)
        for name, lines in results.series.items()
    )
    bound = "" if unpruned is None else f" The fine-tuned model, unpruned, has {_text(unpruned.value, results)}."
    caption = (
        f"The {visible(results.metric)} at each share of all entries retained, a line a rule: {said}.{bound} "
        "Vertical bars are one standard error each way. Of rules that draw at random it is the mean over their seeds."
    )
    drawing = static_figures.sweep(results, visible(results.metric), caption)
    return Figure(drawing, caption, "results")


def _effects(contents: Contents, report: ReportData, data: dict[str, Any]) -> dict[str, Any]:
    effects, record = contents.effects, report.effects
    assert effects is not None
    assert record is not None
    table = effects.ordered(record.measured, effects.sorts[0])
    data["effects"] = tables.data(index_as_column(table, "group"))
    shown = table.head(record.groups_shown)
    names = [effects.names[str(name)] for name in shown.index]
    drawings = []
    for panel in effect_panels.panels(effects, shown, record.measured):
        words = panel.title
        for mark in ("●", "bar", "upright"):
            words = words.replace(f"\n{mark}", f"; {mark}")
        words = words.replace("\n", " ")
        caption = (
            f"{words[0].upper()}{words[1:]}." if panel.whole else f"{words[0].upper()}{words[1:]}; in {panel.unit}."
        )
        drawings.append(Figure(static_figures.effects(panel, names, caption), caption, "effects"))
    return {
        "said": record.statements,
        "figures": drawings,
        "table": tables.effects(shown, record.measured),
        "left_out": record.groups_left_out,
    }


def _text(value: float, results: Results) -> str:
    return in_percent(value) if results.shares else in_digits(value)


def _map(contents: Contents, __: ReportData, data: dict[str, Any]) -> dict[str, Any] | None:
    if contents.matrices is None or contents.matrices.empty:
        return None
    columns = ["layer", "kind", "rows", "row_length", "entries", "retained", "share", "update_rms", "update_share"]
    data["map"] = tables.data(index_as_column(contents.matrices[columns]))
    caption = (
        "Every matrix by layer and kind. The value is the share of the update’s energy that lies at retained entries; "
        f"a rule that is blind to the update keeps about the share of entries it retains. Colours run from "
        f"{static_figures.scale(contents.matrices)}. Vectors are left out here and are in the table of all tensors."
    )
    left_out = contents.left_out
    if left_out:
        caption += (
            f" {left_out:,} matrices, those with the least energy of the update or of the rarest kinds, have no tiles "
            "and rows in this report, so that it stays small."
        )
    options = [
        (index, label(str(name), 90) + ("" if held else " (not in this report)"))
        for index, (name, held) in enumerate(zip(contents.matrices.index, contents.held, strict=True))
    ]
    first = next((index for index, held in enumerate(contents.held) if held), 0)
    return {
        "caption": caption,
        "drawing": static_figures.layers(contents.matrices, caption),
        "options": options,
        "first": first,
        "quantiles": [f"{100 * quantile:g} %" for quantile in contents.quantiles],
        "middle": len(contents.quantiles) // 2,
        "item": json_in_html(json_item(interactive_map.layout(contents.matrices, contents.net.recipe.on))),
        "held": json_in_html({"tensors": list(contents.held)}),
    }


def _details(contents: Contents, __: ReportData, data: dict[str, Any]) -> list[Matrix]:
    return [_matrix(detail, f"matrix-{i}", data) for i, detail in enumerate(contents.details)]


def _matrix(detail: Detail, key: str, data: dict[str, Any]) -> Matrix:
    tiles, name = detail.tiles, label(detail.name)
    low, high = tiles.limits
    place = tiles.place
    data[key] = {"grid": tiles.counts.tolist(), "tile": list(place.tile), "shape": list(place.shape)}
    rows = []
    for j, row in enumerate(detail.rows):
        data[f"{key}-row-{j}"] = row.embedded()
        caption = _row_caption(row, place.shape[0])
        rows.append(Figure(static_figures.row(row.density, f"{name}, {caption}"), caption, f"{key}-row-{j}"))
    caption = f"{name} ({detail.reason}). {tiles.note()}"
    ends = (f"{100 * low:.1f} %", f"{100 * high:.1f} %")
    address = static_figures.picture(tiles.values, low, high)
    return Matrix(name=name, address=address, caption=caption, scale=ends, download=key, rows=rows)


def _row_caption(row: SampledRow, rows: int) -> str:
    where = "the only row"
    if rows > 1:
        where = "a row without a pretrained value"
        if np.isfinite(row.quantile):
            where = f"at the {100 * row.quantile:g} % quantile of the RMS of the update by row, {in_digits(row.rms)}"
    return f"Row {row.row}, {where}: {static_figures.words_of_row(row.density, row.count_in_words)}."


def _comparison(contents: Contents, report: ReportData, data: dict[str, Any]) -> dict[str, Any]:
    both = contents.comparison
    assert both is not None
    data["comparison"] = tables.data(index_as_column(both.by_tensor))
    bar = (
        "both are the same draw, so that it is no finding and chance has no say in it"
        if both.same_draw
        else f"the upright bar is what chance would give if each had drawn as many entries at random, {both.drawn}"
    )
    caption = (
        "Of the entries that either subnetwork retains, the share that both retain, by role of the tensor; "
        f"{bar}. The download has a line for every tensor."
    )
    return {
        "own": recipe_in_words(contents.net.recipe),
        "summary": sentences.in_common(report.summary, both),
        "figure": Figure(static_figures.overlap(both.by_role, caption), caption, "comparison"),
        "table": tables.overlap(both.by_role),
    }


def _card(contents: Contents, __: ReportData, _: dict[str, Any]) -> dict[str, Any] | None:
    card = contents.card
    if card is None:
        return None
    which = "of those that were reset, the one" if card.reset else "the entry"
    where = f"at the {100 * card.quantile:g} % quantile of the RMS of the update by row"
    how = f"In the row {where}, {which} that fine-tuning changed most."
    return {"how": how, "tensor": label(card.tensor), "text": provenance.visible_lines(card.text)}


def _tensors(contents: Contents, __: ReportData, _: dict[str, Any]) -> dict[str, Any]:
    names: Any = [] if contents.matrices is None else contents.matrices.index
    places = {visible(str(name)): i for i, name in enumerate(names) if contents.held[i]}
    return {"table": tables.all_tensors(contents.tensors), "places": places}


_PARTS: Mapping[str, Any] = {
    "summary": _summary,
    "provenance": _provenance,
    "results": _results,
    "effects": _effects,
    "map": _map,
    "details": _details,
    "comparison": _comparison,
    "card": _card,
    "tensors": _tensors,
}
