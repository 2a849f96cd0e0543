"""The data of a report: every number in it, as classes. They are the schema, from which `report.schema.json` is made.

`fields` has what they are made of, `summary` the main numbers, `table_lines` and `effect_lines` those of tables.
docs/report_json.md shows all of it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Literal, get_origin

from pydantic import ConfigDict

from kenviz.reporting.effect_lines import ModelEffects
from kenviz.reporting.fields import Json, Number, Part, Text, parts_of, said
from kenviz.reporting.summary import NO_RANDOM, NO_RESULTS, Summary
from kenviz.reporting.table_lines import (
    Compared,
    ComparedRole,
    ComparedTensor,
    EvaluationLevel,
    EvaluationLine,
    Layer,
    Place,
    Tensor,
)

#: Major version: fields were removed, renamed or mean something else. Minor version: fields were added.
VERSION = "1.1"
#: What the schema is called, in itself and in every file that follows it.
SCHEMA = f"urn:kenviz:report:{VERSION}"


class Model(Part):
    """One of the two models. Fields beyond these are what else is known of where it came from."""

    model_config = ConfigDict(extra="allow")
    source: Text = said("the path, file or hub id that it was read from; empty if it was in memory")
    tensors: int = said("how many tensors it has", "tensors")
    entries: int = said("how many numbers (parameters and buffers) are in them", "entries")
    fingerprint: Text = said("one checksum for all of its tensors; empty if it was not taken")


class Models(Part):
    """Both models."""

    fine_tuned: Model = said("the model that was pruned")
    pretrained: Model = said("the model that it came from, whose values reset entries get back")
    model_class: Text | None = said("its class in the library transformers", "", "the model has none that is known")


class Recipe(Part):
    """How the subnetwork was made."""

    model_config = ConfigDict(extra="allow")
    rule: Text = said("name of the rule that chose the retained entries")
    k: Json = said(
        "how many entries of every row are retained: a whole number; a share of the row; or by name pattern",
        null="the rule itself says how many",
    )
    scope: Text = said("over what k is counted: every row, or as many entries over each tensor, or over the model")
    seed: int = said("seed of rules that draw at random")
    rescale: Text = said("share: retained updates were divided by the share that is retained; none: they were not")
    include: list[Text] = said("name patterns of the tensors that were pruned; empty: all")
    exclude: list[Text] = said("name patterns of those that were carried")
    versions: dict[str, Text] = said("versions of the packages that computed it")


class Relation(Part):
    """How the models are related, over pruned entries that have a pretrained value."""

    entries: int = said("how many those are", "entries")
    update: Number = said("norm (root of the sum of squares) of the update", "units of the weights", "beyond float64")
    fine_tuned: Number = said("norm of the fine-tuned values", "units of the weights", "beyond float64")
    pretrained: Number = said("norm of the pretrained values", "units of the weights", "beyond float64")
    size: Number = said("update / pretrained", "ratio", "the pretrained values are 0, or beyond float64")
    matrices: int = said("how many pruned tensors are matrices", "tensors")
    matrix_entries: int = said("entries of those", "entries")
    correlation: Number = said("correlation of the values of both models, in matrices", "", "all values are equal")


class Table(Part):
    """A table as it was given."""

    columns: list[Text] = said("names of the columns")
    rows: list[list[Json]] = said("a list a line", "", "no value, or one that is not finite")
    rows_left_out: int = said("lines at the end that are not in the report", "lines")


class Evaluation(Part):
    """What was measured of the models; the results of a sweep, or any table."""

    metric_name: Text = said("what was measured, in words")
    metric_is_share: bool = said("whether all of its values lie between 0 and 1, and read as percentages")
    own: EvaluationLine | None = said("the line of this subnetwork: of its rule and k", "", NO_RESULTS)
    random: EvaluationLine | None = said("that of the rule random at the same k", "", NO_RANDOM)
    fine_tuned: EvaluationLevel | None = said("the fine-tuned model, unpruned", "", "the results do not have it")
    pretrained: EvaluationLevel | None = said(
        "the pretrained model with all that is carried", "", "the results do not have it"
    )
    lines: list[EvaluationLine] = said("all lines of the sweep; empty for any other table")
    table: Table = said("the results as they were given")


class Comparison(Part):
    """The subnetwork (a) beside a second one (b)."""

    other: Text = said("how the second one was made, in words")
    other_fine_tuned: Model = said("the model that it was made of")
    elsewhere: bool = said("whether that is another fine-tuned model than the first one's")
    same_draw: bool = said("whether both used the same random numbers, so that what they share is no finding")
    alike: Text = said("why the two are alike whatever their models; empty if nothing says so")
    total: Compared = said("all tensors together")
    by_role: list[ComparedRole] = said("a line for every role")
    by_tensor: list[ComparedTensor] = said("a line for every tensor")


class Row(Part):
    """A row of a matrix that is shown in detail."""

    row: int = said("its number, from 0")
    quantile: Number = said(
        "which quantile of the rows, by update_rms, it stands at", "share", "it has no pretrained value"
    )
    update_rms: Number = said("root mean square of its update", "units of the weights", "it has no pretrained value")
    k: int = said("entries that are retained", "entries")
    entries: int = said("entries of the row", "entries")
    bandwidth: Number = said(
        "how far its density estimate is smoothed; 0: all values equal",
        *("units of the weights", "no density is estimated"),
    )
    lowest: Number = said("left end of its histogram", "units of the weights")
    highest: Number = said("right end; the bars between are of equal width", "units of the weights")
    bars_all: list[int] = said("entries in each bar", "entries")
    bars_retained: list[int] = said("retained entries in each bar", "entries")


class Detail(Part):
    """A tensor that is shown in detail."""

    tensor: Text = said("its name")
    reason: Text = said("why this one")
    shape: list[int] = said("its rows and columns", "entries")
    tile: list[int] = said("rows and columns of a tile of its picture; 1, 1: not downsampled", "entries")
    share_lowest: Number = said("share of retained entries that the darkest colour stands for", "share")
    share_highest: Number = said("that of the brightest colour", "share")
    chance_deviation: Number = said("standard deviation of a tile's share if entries were drawn at random", "share")
    note: Text = said("what a tile stands for, in words")
    rows: list[Row] = said("rows at stated quantiles of the root mean square of their update")


class Card(Part):
    """The decision about one entry."""

    tensor: Text = said("the tensor")
    row: int = said("the row in it, from 0")
    entry: int = said("the entry in that row, from 0")
    quantile: Number = said("at which quantile of the rows, by their update, the row stands", "share")
    reset: bool = said("whether the entry was reset")
    text: Text = said("the decision, step by step")


class LeftOut(Part):
    """Something that is measured, or in the page, and not here."""

    what: Text = said("what it is")
    count: int = said("how many of them")
    why: Text = said("why they are not here, and where they are")


class Missing(Part):
    """A value that is null."""

    field: Text = said("which one: names from the outside in; [] stands for any line of a list, * for any name")
    count: int = said("how many lines", "lines")
    reason: Text = said("why")


class DocumentedField(Part):
    """An answer to a question that model cards, or the annexes of the AI Act, ask."""

    status: Literal["known to the tool", "stated by the provider", "to be filled in"] = said(
        "where the value is from: measured or recorded; from the file of facts; or still to be given by the provider"
    )
    value: Json = said("the answer", "", "only the provider can know it: to be filled in")
    question: Text = said("what is asked")
    answers: list[Text] = said("where it is asked")


class ModelDocumentation(Part):
    """What documentation of a modified model asks for. It helps to write one; it is none, and no legal advice."""

    scope: Text = said("what it covers")
    fields: dict[str, DocumentedField] = said("the questions by name, each with its answer")


class ReportData(Part):
    """The data of a report about a subnetwork: every number in the page, with what it means.

    In Python a missing number is NaN; in JSON it is null, and `missing` says why.
    """

    schema_id: Literal["urn:kenviz:report:1.1"] = said("name of the schema that this follows")
    schema_version: Literal["1.1"] = said(
        "its version: another major one means something else, a minor one adds fields"
    )
    title: Text = said("title of the report")
    written_at: Text = said("date and time, UTC (ISO 8601)")
    written_with: dict[str, Text] = said("versions of the packages that wrote it")
    about: Text = said("how the retained entries were chosen, in words")
    summary: Summary = said("the main numbers")
    statements: list[Text] = said("what is said in the summary of the page")
    caveats: list[Text] = said("what to keep in mind")
    notes: list[Text] = said("what was noted of the models: guessed, dropped, or passed over")
    models: Models = said("both models")
    recipe: Recipe = said("how the subnetwork was made")
    reproduce: dict[str, Text] = said(
        "lines that make it, and the report, again: in python, and in a shell where it can be said"
    )
    relation: Relation | None = said("how the two models are related", "", "not recorded")
    evaluation: Evaluation | None = said("what was measured of the models", "", "no results were given")
    effects: ModelEffects | None = said(
        "what parts of the update do to the model", "", "no interventions (ken.ablate) were given"
    )
    comparison: Comparison | None = said("the subnetwork beside a second one", "", "no second subnetwork was given")
    details: list[Detail] = said("tensors that are shown in detail")
    decision_card: Card | None = said(
        "one decision", "", "the section card was left out, or no entry was decided about"
    )
    layers: list[Layer] = said("a line for every layer")
    places: list[Place] = said("a line for every stack, layer and role")
    tensors: list[Tensor] = said("a line for every tensor of either model")
    left_out: list[LeftOut] = said("what is downsampled, or left out of the report")
    model_documentation: ModelDocumentation = said("for a model card or technical documentation")
    missing: list[Missing] = said("every value that is null, and why")
    meanings: dict[str, Text] = said(
        "what each field means, and its unit; [] stands for a line of a list, * for a name"
    )

    def text(self) -> str:
        """The data as JSON, a line of a table in a line of the file.

        Returns:
            The text, in ASCII.
        """
        return f"{_lines(self.model_dump(mode='json'), '')}\n"


def json_schema() -> dict[str, Any]:
    """The JSON Schema of the data (2020-12), as `report.schema.json` has it.

    Returns:
        The schema.

    >>> json_schema()["$id"]
    'urn:kenviz:report:1.1'
    """
    made = ReportData.model_json_schema(mode="serialization")
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "$id": SCHEMA, **made}


def meanings() -> dict[str, tuple[str, str, str]]:
    """What each field means, its unit, and why it is null where it is.

    Returns:
        Three texts by name; the last two may be empty. [] stands for any line of a list, * for any name.

    >>> meanings()["summary.share_retained"]
    ('entries_retained / entries', 'share', 'the model has no entries')
    """
    return dict(_meanings(ReportData, ""))


def _meanings(kind: type[Part], at: str) -> Iterator[tuple[str, tuple[str, str, str]]]:
    for name, field in kind.model_fields.items():
        notes = field.json_schema_extra if isinstance(field.json_schema_extra, dict) else {}
        yield f"{at}{name}", (field.description or "", str(notes.get("unit", "")), str(notes.get("null", "")))
        for inside in parts_of(field.annotation):
            origin: Any = get_origin(field.annotation)
            many = "[]" if origin is list else ".*" if origin is dict else ""
            yield from _meanings(inside, f"{at}{name}{many}.")


def _lines(value: Any, indent: str) -> str:
    inside = f"{indent} "
    if isinstance(value, dict) and value and len(indent) < 4:
        parts = [f"{inside}{json.dumps(name)}: {_lines(part, inside)}" for name, part in value.items()]
        return "{\n" + ",\n".join(parts) + f"\n{indent}}}"
    if isinstance(value, list) and value and isinstance(value[0], dict | list):
        return "[\n" + ",\n".join(f"{inside}{json.dumps(part, allow_nan=False)}" for part in value) + f"\n{indent}]"
    return json.dumps(value, allow_nan=False)
