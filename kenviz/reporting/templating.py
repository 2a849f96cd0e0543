"""The templates of a report and of what is shown of a subnetwork: all that goes into one is escaped."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup


@cache
def _environment() -> Environment:
    return Environment(
        loader=PackageLoader("kenviz.reporting"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def filled(name: str, **values: Any) -> Markup:
    """A template with these values in it."""
    return Markup(_environment().get_template(name).render(**values))


def filled_line(name: str, **values: Any) -> Markup:
    """The same in one line, without the line breaks and the indentation of the template."""
    return Markup("".join(line.strip() for line in filled(name, **values).split("\n")))


def asset(name: str) -> Markup:
    """A style sheet or a script as it is."""
    return Markup((files("kenviz.reporting") / "templates" / name).read_text(encoding="utf-8"))
