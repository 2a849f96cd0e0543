"""The page and the figure of `evidence.py`, made of its table alone."""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd
from evidence_statistics import (
    COMPARISONS,
    DELLA,
    DENSITY,
    DENSITY_ON_UPDATE,
    GRID,
    GRID_ON_UPDATE,
    KEN,
    KEN_ON_UPDATE,
    MAGNITUDE,
    MARGIN,
    PRETRAINED,
    RANDOM,
    RULES,
    UNPRUNED,
    UPDATE,
    Rule,
    smallest_match,
)

BEGIN, END = "<!-- evidence: begin (made by `make evidence`, not by hand) -->", "<!-- evidence: end -->"
NOT_YET = "Not measured yet: `make evidence` does it."
_PART = re.compile(f"(?<={re.escape(BEGIN)}\n).*?(?={re.escape(END)})", re.S)

# Okabe & Ito's colours, and a second cue: the dash.
_STYLES = {
    KEN: ("#222222", "solid"),
    GRID: ("#009e73", "dashed"),
    DENSITY: ("#cc79a7", "dotdash"),
    RANDOM: ("#8c8c8c", "dotted"),
    MAGNITUDE: ("#d55e00", "dashdot"),
    KEN_ON_UPDATE: ("#0072b2", "solid"),
    GRID_ON_UPDATE: ("#009e73", "dashed"),
    DENSITY_ON_UPDATE: ("#cc79a7", "dotdash"),
    UPDATE: ("#d55e00", "dashed"),
    DELLA: ("#e69f00", "dotted"),
}
PANELS = {
    "Rules that look at the weights, and chance": (KEN, GRID, DENSITY, MAGNITUDE, RANDOM),
    "Rules that look at the update; ken and chance beside them": (
        *(KEN_ON_UPDATE, GRID_ON_UPDATE, DENSITY_ON_UPDATE, UPDATE, DELLA, KEN, RANDOM),
    ),
}


def generated(page: str) -> str:
    """The part of a page between the marks."""
    match = _PART.search(page)
    if match is None:
        raise ValueError(f"the page must have the lines {BEGIN!r} and {END!r}")
    return match[0]


def with_generated(page: str, part: str) -> str:
    """The page with another part between the marks."""
    return page.replace(f"{BEGIN}\n{generated(page)}{END}", f"{BEGIN}\n{part}{END}")


def markdown(table: pd.DataFrame) -> str:
    """The tables of the page, in percent and points."""
    ks = sorted({k for k in table["k"] if 0 < k < 1}, reverse=True)
    heads = [f"{k:.2f}" for k in ks]
    largest = table[["fine_tunings", "seeds", "texts"]].max()
    comparisons = int((table["quantity"] == "comparison").sum())
    bounds = {rule: line_of(table, "accuracy", rule, k) for rule, k in ((UNPRUNED, 1.0), (PRETRAINED, 0.0))}

    lines = [
        "![Accuracy by the share retained, one line a rule, with 95 % bands](evidence.png)",
        "",
        f"Fine-tunings: {largest.fine_tunings}. Seeds of the rules that draw at random: {largest.seeds}. "
        f"Held-out texts: {largest.texts:,}. Unpruned: {_accuracy(bounds[UNPRUNED])} %. "
        f"Pretrained body with the fine-tuned head: {_accuracy(bounds[PRETRAINED])} %.",
        "",
        "**Accuracy in percent**, mean and 95 % interval, by the share of every row that is retained:",
        "",
        *_head("rule", heads),
    ]
    for rule in RULES:
        lines.append(_row(f"`{rule.label}`", [_accuracy(line_of(table, "accuracy", rule, k)) for k in ks]))
    lines += [
        "",
        f"**Differences in points**, paired, with 95 % intervals. Bold: not 0 even when all {comparisons} of them are "
        "judged together (Holm, 5 %).",
        "",
        *_head("", heads),
    ]
    for (rule, against), question in COMPARISONS.items():
        cells = [_points(line_of(table, "comparison", rule, k, against)) for k in ks]
        lines.append(_row(f"`{rule.label}` − `{against.label}`: {question}", cells))
    lines += [
        "",
        f"**The smallest share that costs less than {100 * MARGIN:g} point**, by the lower end of the interval, and "
        "what the next smaller one costs:",
        "",
        *_head("rule", ["smallest share", "difference from the unpruned model", "next smaller", "difference"]),
    ]
    for rule in RULES:
        smallest = smallest_match(table, rule)
        below = [k for k in ks if smallest is None or k < smallest]
        at = "none" if smallest is None else f"{smallest:.2f}"
        cells = [at, "" if smallest is None else _range(line_of(table, "loss", rule, smallest))]
        cells += [f"{below[0]:.2f}", _range(line_of(table, "loss", rule, below[0]))] if below else ["", ""]
        lines.append(_row(f"`{rule.label}`", cells))
    return "\n".join(lines) + "\n"


def figure(table: pd.DataFrame):
    """Accuracy against share, two panels: rules that look at the weights, and those that look at the update."""
    from bokeh.layouts import row
    from bokeh.models import FixedTicker, Legend, LegendItem, Span
    from bokeh.plotting import figure as new

    from kenviz import theme

    ks = sorted({k for k in table["k"] if 0 < k < 1})
    of_accuracy = table[table["quantity"] == "accuracy"]
    plots = []
    for title, rules in PANELS.items():
        plot = new(
            width=560,
            height=520,
            x_axis_type="log",
            x_range=(min(ks) / 1.12, 1.05),
            y_range=(100 * of_accuracy["low"].min() - 3, 100 * of_accuracy["high"].max() + 3),
            title=title,
            x_axis_label="share of every row retained",
            y_axis_label="accuracy on held-out texts, %",
            toolbar_location=None,
        )
        plot.xaxis.ticker = FixedTicker(ticks=ks)
        plot.xaxis.major_label_overrides = {k: f"{k:g}" for k in ks}
        plot.xgrid.visible = False
        items = []
        for rule in rules:
            lines = [line_of(table, "accuracy", rule, k) for k in ks]
            low, mean, high = ([100 * line[name] for line in lines] for name in ("low", "estimate", "high"))
            colour, dash = _STYLES[rule]
            plot.varea(ks, low, high, fill_color=colour, fill_alpha=0.12)
            drawn = plot.line(ks, mean, line_color=colour, line_width=2, line_dash=dash)
            points = plot.scatter(ks, mean, size=5, fill_color=colour, line_color=None)
            items.append(LegendItem(label=rule.label, renderers=[drawn, points]))
        for bound, k in ((UNPRUNED, 1.0), (PRETRAINED, 0.0)):
            height = 100 * line_of(table, "accuracy", bound, k)["estimate"]
            plot.add_layout(Span(location=height, dimension="width", line_width=1, line_dash="4 4"))
            plot.text([min(ks) / 1.1], [height], [bound.name], y_offset=-3, text_font_size="11px", text_color="#222222")
        plot.add_layout(
            Legend(
                items=items, orientation="horizontal", ncols=4, label_text_font_size="11px", glyph_width=40, margin=4
            ),
            "below",  # inside it would hide a line
        )
        plots.append(plot)
    layout = row(*plots)
    theme.apply(layout, "light")
    return layout


def write_png(layout, path: Path) -> None:
    """The layout as a picture, drawn by Chromium at twice the size."""
    import sys

    from bokeh.embed import file_html
    from bokeh.resources import INLINE
    from playwright.sync_api import sync_playwright

    from ken.storage.atomic_files import replacing

    sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests" / "browser"))
    from lab import CHROMIUM, chromium

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=list(CHROMIUM))
        page = browser.new_page(device_scale_factor=2, viewport={"width": 1160, "height": 480})
        page.set_content(file_html(layout, INLINE))
        page.wait_for_function("Bokeh.documents.length === 1 && Bokeh.documents[0].is_idle")
        picture = page.locator(".bk-Row").screenshot()
        browser.close()
    with replacing(path) as file:
        file.write(picture)


def line_of(table: pd.DataFrame, quantity: str, rule: Rule, k: float, against: Rule | None = None) -> pd.Series:
    chosen = (table["quantity"] == quantity) & (table["rule"] == rule.name) & (table["on"] == rule.on)
    chosen &= table["k"] == k
    if against is not None:
        chosen &= (table["against"] == against.name) & (table["against_on"] == against.on)
    (line,) = (table.loc[index] for index in table.index[chosen])
    return line


def _accuracy(line: pd.Series) -> str:
    return f"{100 * line['estimate']:.1f} ± {50 * (line['high'] - line['low']):.1f}"


def _points(line: pd.Series) -> str:
    text = f"{100 * line['estimate']:+.1f} ± {50 * (line['high'] - line['low']):.1f}".replace("-", "−")
    return f"**{text}**" if line["p_holm"] < 0.05 else text


def _range(line: pd.Series) -> str:
    estimate, low, high = (f"{100 * line[name]:+.1f}".replace("-", "−") for name in ("estimate", "low", "high"))
    return f"{estimate} ({low} to {high})"


def _head(first: str, others: list[str]) -> list[str]:
    return [_row(first, others), "|" + "---|" * (len(others) + 1)]


def _row(first: str, cells: list[str]) -> str:
    return "| " + " | ".join([first, *cells]) + " |"
