"""A report as a reader's program finds it: numbers, tables, data and text, parsed from the HTML."""

import base64
import json
import math
from html.parser import HTMLParser
from typing import NamedTuple

import numpy as np


class Cell(NamedTuple):
    text: str
    value: float | None  # NaN for a missing number, None for text


class ReportPage(HTMLParser):
    """numbers: {what it is of: [(exact value, text)]}; tables and prose by the id of their section; scripts by id."""

    def __init__(self, html):
        super().__init__(convert_charrefs=True)
        self.html, self.numbers, self.scripts, self.tables, self.said, self.text = html, {}, {}, {}, [], {}
        self.elements, self.captions, self.images, self.pre = [], [], [], []
        self._open, self._section = [], ""
        self.feed(html)

    def handle_starttag(self, tag, attributes):
        of = dict(attributes)
        self.elements.append((tag, of))
        if tag == "h2":
            self._section = of["id"]
        if tag == "img":
            self.images.append(of)
        if tag == "table":
            self.tables.setdefault(self._section, []).append([])
        if tag == "tr":
            self.tables[self._section][-1].append([])
        if tag in {"data", "td", "th", "li", "figcaption", "pre", "title", "h1", "h3", "script", "p", "style"}:
            self._open.append((tag, of, []))

    def handle_data(self, text):
        for *_, parts in self._open:
            parts.append(text)
        if not any(tag in {"script", "style"} for tag, *_ in self._open):
            self.text[self._section] = self.text.get(self._section, "") + text

    def handle_endtag(self, tag):
        if not self._open or self._open[-1][0] != tag:
            return
        _, of, parts = self._open.pop()
        text = "".join(parts)
        if tag == "data":
            self.numbers.setdefault(of["data-of"], []).append((float(of["value"]), text))
            for *_, outer in self._open:  # so that what is left over are digits without a source
                outer[:] = ["".join(outer).removesuffix(text) + "#"]
        elif tag in {"td", "th"}:
            value = of.get("data-v")
            self.tables[self._section][-1][-1].append(Cell(text, None if value is None else float(value or math.nan)))
        elif tag == "li" and self._section:
            self.said.append(text)
        elif tag in {"figcaption", "h3"} or (tag == "p" and of.get("class") == "caption"):
            self.captions.append(text)
        elif tag == "pre":
            self.pre.append(text)
        elif tag == "script" and of.get("type") == "application/json":
            self.scripts[of["id"]] = json.loads(text)


def bokeh_models(value):
    """Every Bokeh model in a json_item, as {type, attributes}."""
    if isinstance(value, dict):
        if "attributes" in value:
            yield value
        for child in value.values():
            yield from bokeh_models(child)
    elif isinstance(value, list):
        for child in value:
            yield from bokeh_models(child)


def curve(row):
    """The points and the density of a row as the page holds it."""
    density = np.frombuffer(base64.b64decode(row["density"]), "<u2") * (row["peak"] / 65535)
    return np.linspace(*row["points"], len(density)), density


def read(path):
    return ReportPage(path.read_text(encoding="utf-8"))
