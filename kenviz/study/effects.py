"""What groups of entries do to the loss: a table of `ken.ablate`, beside the attribution of the same groups."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import ken
from ken.evaluation import members
from kenviz.text.labels import apart, last

#: How the groups were made: as `ken.ablate` takes it.
By = Any
WAYS = ("without", "only")
QUANTITIES = ("loss", "metric")
#: What the groups can be sorted by, and how that is told.
SORTS = {
    "without": "what the {quantity} does without them",
    "only": "what the {quantity} does with them alone",
    "attribution": "their attribution",
    "retained_absolute": "the share of their attribution that is retained",
    "entries": "how many entries they have",
    "model order": "their order in the model",
}
#: Differences of which less is likely by chance are told as such.
LEVEL = 0.05
#: More groups than this are not drawn: browsers draw no canvas of more than 32,767 pixels a side.
MOST_DRAWN = 400
_NEEDED = ("way", "group", "entries", "share", "metric", "metric_difference", "loss", "loss_difference")
_TEXT = ("way", "group")
_PARTS = ("difference", "low", "high", "p_holm")
_LONGEST = 26


class Effects:
    """A table of `ken.ablate`, or the path of one as CSV, checked; and an attribution of the same groups, or None.

    Raises `ValueError` if the table is none of `ken.ablate`, or the attribution has other groups.

    Attributes:
        source: The path that was read, None for a table.
        attribution: That attribution.
        net: The subnetwork of which the share of each attribution is told, or None.
        by: How the groups were made.

    >>> line = dict.fromkeys(_NEEDED, 1.0)
    >>> table = pd.DataFrame([line | {"way": "fine-tuned", "group": ""}, line | {"way": "without", "group": "query"}])
    >>> Effects(table).table("loss")["without"].tolist()
    [1.0]
    """

    def __init__(
        self,
        ablation: pd.DataFrame | str | Path,
        attribution: ken.Attribution | None = None,
        net: ken.Subnetwork | None = None,
        by: By = "place",
    ) -> None:
        self.source = ablation if isinstance(ablation, str | Path) else None
        self.ablation = _checked(_read(ablation))
        self.attribution, self.net, self.by = attribution, net, by
        lines = self.ablation[self.ablation["way"].isin(WAYS)]
        self.groups: list[str] = list(dict.fromkeys(lines["group"]))
        if not self.groups:
            raise ValueError("the table has no group: no line in which way is 'without' or 'only'")
        self.ways = [way for way in WAYS if (lines["way"] == way).any()]
        self.quantities = [name for name in QUANTITIES if self.ablation[f"{name}_difference"].notna().any()]
        if not self.quantities:
            raise ValueError("the table has no difference to show: its evaluation gave neither losses nor a metric")
        self._check_models()
        self._shares = self._attributed()

    def _check_models(self) -> None:
        """Raise `ValueError` if attribution and subnetwork are known to be of two fine-tuned models."""
        prints = {one for one in (self.attribution and self.attribution.fingerprint, self._print_of_net()) if one}
        if len(prints) > 1:
            raise ValueError("the attribution is of another fine-tuned model than the subnetwork")

    def _print_of_net(self) -> str:
        return "" if self.net is None else self.net.fine_tuned.fingerprint

    def _attributed(self) -> pd.DataFrame | None:
        if self.attribution is None:
            return None
        shares = self.attribution.table(self.by, self.net)
        if set(shares.index) != set(self.groups):
            both = len(set(shares.index) & set(self.groups))
            raise ValueError(
                f"the ablation has {len(self.groups)} groups, the attribution by {self.by!r} has {len(shares)}, and "
                f"{both} are in both: give by= as for the ablation"
            )
        return shares

    @cached_property
    def names(self) -> dict[str, str]:
        """What each group is called in a figure; no two are the same."""
        return dict(zip(self.groups, apart([last(name, _LONGEST) for name in self.groups]), strict=True))

    @cached_property
    def agreements(self) -> dict[str, ken.Agreement | str]:
        """How far attribution and interventions agree, by way; or in words why that cannot be said."""
        if self.attribution is None:
            return {}
        answers: dict[str, ken.Agreement | str] = {}
        for way in self.ways:
            try:
                answers[way] = ken.agreement(self.attribution, self.ablation, self.by, way=way)
            except ken.KenError as error:
                answers[way] = str(error)
        return answers

    @property
    def sorts(self) -> list[str]:
        """What there is to sort by."""
        absent = set(WAYS) - set(self.ways)
        absent |= {"attribution", "retained_absolute"} if self._shares is None else set()
        absent |= {"retained_absolute"} if self.net is None else set()
        return [name for name in SORTS if name not in absent]

    def model(self, way: str, quantity: str) -> float:
        """What the fine-tuned or the pretrained model reaches; NaN where the table does not say."""
        lines = self.ablation[self.ablation["way"] == way]
        return float(lines[quantity].iloc[0]) if len(lines) else math.nan

    def table(self, quantity: str) -> pd.DataFrame:
        """One line a group (index), in the order of the ablation.

        Columns: entries, share; for each way its difference of the quantity under the name of the way, with _low,
        _high and _p_holm; control (the mean over seeds), control_low, control_high (the ends over them), controls
        (how many); with an attribution those of `ken.Attribution.table`.
        """
        lines = self.ablation
        first = lines[lines["way"].isin(WAYS)].drop_duplicates("group").set_index("group")
        table = first[["entries", "share"]].astype({"entries": int, "share": float})
        for way in self.ways:
            of_way = lines[lines["way"] == way].set_index("group").reindex(table.index)
            for part in _PARTS:
                column = f"{quantity}_{part}"
                values = of_way.get(column, np.nan)
                table[way if part == "difference" else f"{way}_{part}"] = values
        drawn = lines[lines["way"] == "control"].groupby("group")[f"{quantity}_difference"]
        for name, values in (("control", drawn.mean()), ("control_low", drawn.min()), ("control_high", drawn.max())):
            table[name] = values.reindex(table.index).astype(float)
        table["controls"] = drawn.count().reindex(table.index).fillna(0).astype(int)
        if self._shares is not None:
            shares = self._shares.drop(columns="entries").rename(columns={"share": "attribution_share"})
            table = table.join(shares)
        return table

    def ordered(self, quantity: str, sort: str) -> pd.DataFrame:
        """`table`, what does most first: a rise of the loss (a fall of the metric) without it, the contrary alone."""
        table = self.table(quantity)
        if sort == "model order":
            return table
        keys = table[sort]
        if sort in WAYS:  # a loss rises where something is missing, a metric falls
            keys = keys * (1 if (sort == "without") == (quantity == "loss") else -1)
        if sort == "attribution":
            keys = keys.abs()
        return table.loc[keys.sort_values(ascending=False, kind="stable", na_position="last").index]

    def tensors(self, net: ken.Subnetwork | None = None) -> Mapping[str, list[str]]:
        """Names of the tensors of each group, as far as something given here says which tensors there are."""
        net = net or self.net
        if net is not None:
            shapes = {name: outline.shape for name, outline in net.outlines.items() if outline.reason is None}
            config: Mapping[str, Any] | None = None if net.architecture is None else net.architecture.config
        elif self.attribution is not None:
            shapes = {name: array.shape for name, array in self.attribution.items()}
            config = self.attribution.config
        else:
            return {}
        try:
            return members(shapes, self.by, config)
        except ken.KenError:  # heads of a model whose configuration is not there
            return {}


def _read(ablation: Any) -> pd.DataFrame:
    if isinstance(ablation, pd.DataFrame):
        return ablation
    if not isinstance(ablation, str | Path):
        raise TypeError(f"a table of ken.ablate or the path of its CSV is needed, got {type(ablation).__name__}")
    try:
        return pd.read_csv(ablation, encoding="utf-8", converters=dict.fromkeys(_TEXT, str))
    except ValueError as error:  # also of a file that is no text, or is empty
        raise ValueError(f"{ablation} cannot be read as CSV in UTF-8: {error}") from error


def _checked(table: pd.DataFrame) -> pd.DataFrame:
    missing = [name for name in _NEEDED if name not in table.columns]
    if missing:
        raise ValueError(f"the table has no column {', '.join(map(repr, missing))}: it is no table of ken.ablate")
    table = table.reset_index(drop=True)
    for name in _TEXT:
        table[name] = table[name].astype(object).where(table[name].notna(), "").map(str)
    for name in _NEEDED:
        if name not in _TEXT and not pd.api.types.is_numeric_dtype(table[name]):
            raise ValueError(f"column {name!r} must be of numbers, got {table[name].dtype}")
    for way in WAYS:
        groups = table.loc[table["way"] == way, "group"]
        if groups.duplicated().any():
            raise ValueError(f"group {groups[groups.duplicated()].iloc[0]!r} is there twice {way}")
    return table
