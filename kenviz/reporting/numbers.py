"""What was measured for a report as its data (`schema`), from which page and JSON are both made."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import ken
from ken.models import index_as_column
from kenviz.reporting import collect, effect_lines, provenance, sentences, tables
from kenviz.reporting.documentation import documentation
from kenviz.reporting.fields import Part, parts_of, plain
from kenviz.reporting.schema import SCHEMA, VERSION, LeftOut, Missing, ReportData, meanings
from kenviz.reporting.summary import summarise
from kenviz.reporting.table_lines import Tensor

if TYPE_CHECKING:
    import pandas as pd


def build(
    contents: collect.Contents, title: str, *, facts: Mapping[str, Any], arguments: Mapping[str, Any]
) -> ReportData:
    """The data. facts are the provider's, arguments those of `kenviz.report` that are not the usual ones."""
    net, results, both = contents.net, contents.results, contents.comparison
    retained = contents.retained
    summary = summarise(net, retained, results=results, both=both, turned=contents.turned)
    written = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"
    about, metric = sentences.the_rule(net), "" if results is None else results.metric
    given = {
        "schema_id": SCHEMA,
        "schema_version": VERSION,
        "title": title,
        "written_at": written,
        "written_with": {"kenviz": ken.__version__},
        "about": about,
        "summary": summary,
        "statements": _texts(sentences.statements(net, summary, results, both=both)),
        "caveats": _texts(sentences.caveats(net, summary)),
        "notes": net.notes,
        "models": {
            "fine_tuned": plain(asdict(net.fine_tuned)),
            "pretrained": plain(asdict(net.pretrained)),
            "model_class": None if net.architecture is None else net.architecture.class_name,
        },
        "recipe": plain(asdict(net.recipe)),
        "reproduce": {
            name: lines
            for name, lines in (
                ("python", provenance.python(net, arguments)),
                ("shell", provenance.command(net, arguments)),
            )
            if lines
        },
        "relation": None if net.relation is None else asdict(net.relation) | {"size": net.relation.size},
        "evaluation": None if results is None else _evaluation(contents),
        "effects": None if contents.effects is None else effect_lines.record(contents.effects),
        "comparison": None if both is None else _comparison(contents),
        "details": [detail.record() for detail in contents.details],
        "decision_card": contents.card,
        "layers": [] if retained is None else _lines(ken.retention.by_place(retained, ["layer"])),
        "places": [] if retained is None else _lines(ken.retention.by_place(retained)),
        "tensors": [dict.fromkeys(Tensor.model_fields) | line for line in _lines(contents.tensors)],
        "left_out": list(_left_out(contents)),
        "model_documentation": documentation(net, summary, facts, metric=metric, method=about, written=written),
        "missing": [],
        "meanings": {name: f"{says} ({unit})" if unit else says for name, (says, unit, _) in meanings().items()},
    }
    data = ReportData.model_validate(given)
    return data.model_copy(update={"missing": list(_missing(data))})


def _texts(lines: list[Any]) -> list[str]:
    return [line.striptags() for line in lines]


def _lines(table: pd.DataFrame) -> list[dict[str, Any]]:
    """A table, with its index, line by line; what is missing is None."""
    table = index_as_column(table)
    columns = [[None if _is_missing(value) else value for value in table[name].tolist()] for name in table]
    return [dict(zip(map(str, table), line, strict=True)) for line in zip(*columns, strict=True)]


def _is_missing(value: Any) -> bool:
    return value is None or type(value).__name__ == "NAType" or (isinstance(value, float) and value != value)


def _evaluation(contents: collect.Contents) -> dict[str, Any]:
    results = contents.results
    assert results is not None
    levels = {"fine_tuned": results.fine_tuned, "pretrained": results.pretrained}
    return {
        "metric_name": results.metric,
        "metric_is_share": results.shares,
        "own": results.own(contents.net),
        "random": results.drawn(contents.net),
        **{
            name: None if level is None else {"metric": level.value, "standard_error": level.error}
            for name, level in levels.items()
        },
        "lines": results.lines,
        "table": tables.data(results.table) | {"rows_left_out": results.cut},
    }


def _comparison(contents: collect.Contents) -> dict[str, Any]:
    both = contents.comparison
    assert both is not None
    return {
        "other": both.other,
        "other_fine_tuned": plain(asdict(both.net.fine_tuned)),
        "elsewhere": both.elsewhere,
        "same_draw": both.same_draw,
        "alike": both.alike,
        "total": _lines(both.total.to_frame().T)[0],
        "by_role": _lines(both.by_role),
        "by_tensor": _lines(both.by_tensor),
    }


def _left_out(contents: collect.Contents) -> Iterator[LeftOut]:
    """What is downsampled, what only the page has, and what nobody asked for."""
    if contents.matrices is not None and "map" in contents.sections and contents.left_out:
        yield LeftOut(
            what="matrices in the map without tiles and rows",
            count=contents.left_out,
            why="the page stays small; those with the least energy of the update or of the rarest kinds",
        )
    coarse = [detail for detail in contents.details if not detail.tiles.place.exact]
    if coarse:
        why = "a tile of the picture is the share of many entries: details says of how many"
        yield LeftOut(what="matrices in detail that are downsampled", count=len(coarse), why=why)
    names: Any = () if contents.matrices is None else contents.matrices.index
    drawn = {name for name, held in zip(names, contents.held, strict=True) if held is not None}
    drawn |= {detail.name for detail in contents.details}
    if drawn:
        why = "they are pictures: the page has them, and their data as downloads"
        yield LeftOut(what="matrices with tiles and density curves", count=len(drawn), why=why)
    if contents.results is not None and contents.results.cut:
        yield LeftOut(
            what="lines of the results", count=contents.results.cut, why="the report has the first ones alone"
        )
    absent = [name for name in ("details", "map", "card", "comparison") if name not in contents.sections]
    if absent:
        why = f"not asked for, or there is nothing for them: {', '.join(absent)}"
        yield LeftOut(what="sections of the page", count=len(absent), why=why)


def _missing(data: ReportData) -> Iterator[Missing]:
    """Every null, once for all lines of a list, with the reason that its field gives."""
    counts: dict[tuple[str, str], int] = {}

    def look(value: Any, kind: type[Part], at: str) -> None:
        for name, part in value.items():
            here = f"{at}.{name}".lstrip(".")
            field = kind.model_fields.get(name)
            extra = field.json_schema_extra if field else {"null": "not recorded"}
            reason = (
                str(extra.get("null", "it is no finite number"))
                if isinstance(extra, dict)
                else "it is no finite number"
            )
            inside = next(parts_of(field.annotation), None) if field else None
            if inside is None or part is None:
                for where in _nulls(part, here):
                    counts[where, reason] = counts.get((where, reason), 0) + 1
            elif isinstance(part, list):
                for line in part:
                    look(line, inside, f"{here}[]")
            elif inside.model_fields.keys() & part.keys():
                look(part, inside, here)
            else:
                for one in part.values():
                    look(one, inside, f"{here}.*")

    look(data.model_dump(mode="json"), ReportData, "")
    for (where, reason), count in counts.items():
        yield Missing(field=where, count=count, reason=reason)


def _nulls(value: Any, at: str) -> Iterator[str]:
    if value is None:
        yield at
    elif isinstance(value, dict):
        for part in value.values():
            yield from _nulls(part, f"{at}.*")
    elif isinstance(value, list):
        for part in value:
            yield from _nulls(part, f"{at}[]")
