"""What a report's data has of interventions and attribution, as classes; and made of what was measured."""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import ken
from ken.models import index_as_column
from kenviz.reporting.fields import Number, Part, Text, columns, said
from kenviz.study import effect_words
from kenviz.study.effects import Effects

#: So many groups are shown in the page; the data has all of them.
MOST_SHOWN = 20
_NOT_MADE = "it was not measured, or not item by item"
_NO_CONTROL = "no control was made"
_NO_MAP = "no attribution was given, or there is nothing to divide by"
_EITHER = "nats, or units of the metric"


class Column(NamedTuple):
    """A column of the groups: its type, meaning, unit and why it is null in the data; its title and form in the page.

    What has no title is in the data alone. In a title {measured} and {unit} stand for what is compared.
    """

    kind: Any
    says: str
    unit: str = ""
    null: str = ""
    title: str = ""
    form: str = ""


def _way(name: str, words: str, title: str) -> dict[str, Column]:
    low, high = "low end of its interval; those of all groups hold at once", "high end of its interval"
    p, change = "its p-value, judged together with all groups (Holm)", f"{{measured}} {title}, change in {{unit}}"
    return {
        name: Column(Number, words, _EITHER, null=_NOT_MADE, title=change, form="digits"),
        f"{name}_low": Column(Number, low, _EITHER, null=_NOT_MADE, title="from", form="digits"),
        f"{name}_high": Column(Number, high, _EITHER, null=_NOT_MADE, title="to", form="digits"),
        f"{name}_p_holm": Column(Number, p, null=_NOT_MADE, title="p, judged together", form="digits"),
    }


def _shared(says: str, unit: str = "nats", title: str = "", form: str = "") -> Column:
    return Column(Number, says, unit, null=_NO_MAP, title=title, form=form)


#: All that is told of a group, in the data and in the page.
COLUMNS = {
    "group": Column(Text, "name of the group", title="group"),
    "entries": Column(int, "entries in it", "entries", title="entries", form="count"),
    "share": Column(Number, "entries / entries of all that is pruned", "share"),
    **_way(
        "without", "change from the fine-tuned model if the group is reset and the rest stays fine-tuned", "without it"
    ),
    "control": Column(
        Number,
        "change if as many entries drawn elsewhere are reset, mean over the draws",
        _EITHER,
        null=_NO_CONTROL,
        title="control, as many entries elsewhere",
        form="digits",
    ),
    "control_low": Column(Number, "the smallest of these", _EITHER, null=_NO_CONTROL),
    "control_high": Column(Number, "the largest of these", _EITHER, null=_NO_CONTROL),
    "controls": Column(int, "how many draws", "draws"),
    **_way("only", "change from the pretrained model if the group alone is fine-tuned", "with it alone"),
    "attribution": _shared(
        "sum of its entries' shares of the change of the loss", title="attribution, nats", form="digits"
    ),
    "attribution_share": _shared("attribution / attribution_change", "share"),
    "absolute": _shared("sum of the absolute values of the shares"),
    "lowering": _shared("sum of the negative shares"),
    "raising": _shared("sum of the positive shares"),
    "retained": _shared("sum of the shares of retained entries"),
    "retained_share": _shared("retained / attribution", "ratio"),
    "retained_absolute": _shared(
        "share of absolute that lies at retained entries",
        "share",
        title="attribution retained (absolute)",
        form="percent",
    ),
    "chance": _shared("share of its entries that are retained", "share", title="by chance", form="percent"),
}

if TYPE_CHECKING:
    GroupEffect: TypeAlias = Any
else:
    GroupEffect = columns(
        "GroupEffect",
        "What a group of entries does to the model, and what attribution says of it.",
        {name: (column.kind, said(column.says, column.unit, column.null)) for name, column in COLUMNS.items()},
    )


class MapAgreement(Part):
    """Whether attribution ranks the groups as interventions do (Spearman's rank correlation)."""

    way: Text = said("which intervention: without the groups, or with only one of them")
    rho: Number = said("the correlation, -1 to 1", "", "fewer than three groups, or no losses")
    low: Number = said("low end of its 95 % interval", "", "fewer than three groups, or no losses")
    high: Number = said("high end of it", "", "fewer than three groups, or no losses")
    groups: int = said("how many groups", "groups")
    poor: bool = said("whether attribution is a poor map here")
    text: Text = said("that, in words")


class ModelEffects(Part):
    """What the groups do to the model: interventions, and attribution beside them."""

    by: Text = said("how the groups were made")
    measured: Text = said("what is compared: the loss, in nats, or the metric")
    fine_tuned: Number = said("what the fine-tuned model reaches", _EITHER, "the table does not tell it")
    pretrained: Number = said("what all of it reset reaches", _EITHER, "the table does not tell it")
    items: int | None = said("how many items the attribution is over", "items", "no attribution was given")
    attribution_change: Number = said("change of the loss that attribution shares out", "nats", _NO_MAP)
    attribution_error: Number = said("how far its sum is off, as a share of the change", "share", _NO_MAP)
    agreements: list[MapAgreement] = said("whether attribution is true; empty without one")
    statements: list[Text] = said("what is said of it in the page: whether attribution is true comes first")
    groups_shown: int = said("how many groups the page shows, those that do most", "groups")
    groups_left_out: int = said("how many it does not show", "groups")
    groups: list[GroupEffect] = said("a line for every group, those that do most first")


def record(effects: Effects) -> dict[str, Any]:
    """The fields of `ModelEffects`."""
    quantity, one = effects.quantities[0], effects.attribution
    table = effects.ordered(quantity, effects.sorts[0])
    shown = min(len(table), MOST_SHOWN)
    lines = [
        {name: None if name not in line or _missing(line[name]) else line[name] for name in GroupEffect.model_fields}
        for line in index_as_column(table, "group").to_dict("records")
    ]
    return {
        "by": effect_words.by_words(effects),
        "measured": quantity,
        "fine_tuned": effects.model("fine-tuned", quantity),
        "pretrained": effects.model("pretrained", quantity),
        "items": None if one is None else one.item_count,
        "attribution_change": None if one is None else one.change,
        "attribution_error": None if one is None else one.error,
        "agreements": [_agreement(way, answer) for way, answer in effects.agreements.items()],
        "statements": effect_words.sentences(effects, table.head(shown), quantity, sort=effects.sorts[0]),
        "groups_shown": shown,
        "groups_left_out": len(table) - shown,
        "groups": lines,
    }


def _missing(value: Any) -> bool:
    return isinstance(value, float) and not math.isfinite(value)


def _agreement(way: str, answer: ken.Agreement | str) -> dict[str, Any]:
    if isinstance(answer, ken.Agreement):
        return asdict(answer) | {"poor": answer.poor, "text": str(answer)}
    nothing = dict.fromkeys(("rho", "low", "high"))
    return {"way": way, **nothing, "groups": 0, "poor": True, "text": f"cannot be told: {answer}"}
