"""What a report says in plain language: sentences made of measured numbers, each of which says where it is from."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from markupsafe import Markup

import ken
from kenviz.reporting.results import Line, Results
from kenviz.study.sweep_data import Level
from kenviz.text.labels import visible
from kenviz.text.numbers import count, measure, percent, points, unsigned_points

if TYPE_CHECKING:
    import pandas as pd

RULES = {
    "ken": "In every row of every pruned tensor, k evenly spaced grid points from the smallest to the largest "
    "fine-tuned value each claim the nearest entry that is still unclaimed, grid points of high density first. "
    "In effect this retains nearly all of the tails of a row and thins out its dense centre evenly.",
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
    "changed": "Of every pruned tensor the entries are retained that differ from the pretrained ones by so much as a "
    "bit, as many of each row as there are. What is reset was equal before: injection gives the fine-tuned "
    "model itself.",
}
# Rules that never look at the update, unless on="update".
_BLIND = ("ken", "grid", "density", "random", "magnitude")
# The share of the update's energy is called about the share of entries if no further away than this.
_ABOUT = 0.05
# A difference of more standard errors than this counts as one.
_SURE = 2.0


def the_rule(net: ken.Subnetwork) -> str:
    """How the retained entries were chosen, in words."""
    recipe = net.recipe
    words = RULES.get(recipe.rule, f"The rule “{visible(recipe.rule)}”, registered by the user, chose the entries.")
    on = " The values it looks at are not the fine-tuned ones but what fine-tuning changed."
    return words + (on if recipe.on == "update" else "")


def what_was_pruned(net: ken.Subnetwork) -> Markup:
    """How many entries and tensors are retained, reset, pruned, carried."""
    pruned = len(net.pruned())
    tied = Markup("; {} names are aliases of tied tensors").format(count("net.tied", len(net.tied)))
    return Markup(
        "Of the {} entries of the fine-tuned model, {} ({}) keep their fine-tuned value and {} are reset to their "
        "pretrained value. {} tensors were pruned, {} carried whole{}."
    ).format(
        count("net.entries", net.entries),
        count("net.retained", net.retained),
        percent("net.share", net.share),
        count("net.reset", net.entries - net.retained),
        count("net.pruned", pruned),
        count("net.carried", len(net) - pruned),
        tied if net.tied else "",
    )


def what_it_kept_of_the_update(net: ken.Subnetwork, retained: pd.DataFrame) -> Markup:
    """The share of the update's energy at retained entries, beside the share of entries."""
    energy, paired = float(retained["energy"].sum()), int(retained["paired"].sum())
    if not energy > 0:
        return Markup("Fine-tuning changed none of the pruned entries, so there is no update to keep.")
    share = float(retained["energy_retained"].sum()) / energy
    entries = int(retained["paired_retained"].sum()) / paired
    kept = Markup(
        "Fine-tuning changed {} of the {} pruned entries that have a pretrained value. The retained ones, {} of these "
        "entries, hold {} of the update’s energy, the sum of the squares of what fine-tuning changed."
    ).format(
        count("retention.changed", int(retained["changed"].sum())),
        count("retention.paired", paired),
        percent("retention.paired_share", entries),
        percent("retention.update_share", share),
    )
    return kept + _about(net, share - entries)


def _about(net: ken.Subnetwork, beyond: float) -> str:
    blind = net.recipe.rule in _BLIND and net.recipe.on != "update"
    near = abs(beyond) <= _ABOUT
    if blind and near:
        return (
            " That is about their share of the entries: the rule does not look at the update, and keeps about as much "
            "of it as chance would."
        )
    if near:
        return " That is about their share of the entries."
    where = "more" if beyond > 0 else "less"
    how = ", although the rule does not look at the update." if blind else "."
    return f" That is {where} than their share of the entries{how}"


def what_it_kept_of_the_tails(retained: pd.DataFrame) -> Markup | None:
    """How much of the tails of the rows is retained; None if there are none."""
    tails = int(retained["tails"].sum())
    if not tails:
        return None
    return Markup("Of the {} entries in the tails of their rows, {} are retained.").format(
        count("retention.tails", tails),
        percent("retention.tails_share", int(retained["tails_retained"].sum()) / tails),
    )


def how_good_it_is(net: ken.Subnetwork, results: Results | None) -> list[Markup]:
    """What an evaluation says of this subnetwork, and how the rule random does."""
    own = None if results is None else results.own(net)
    if results is None or own is None:
        why = "was given to this report" if results is None else "of this rule and k is among the results given"
        return [Markup("No evaluation {}: how good the pruned model is cannot be said here.").format(why)]
    lines = []
    if results.fine_tuned is not None:
        lines.append(
            Markup("Measured by {}, the pruned model reaches {}; the fine-tuned model reaches {}. {}").format(
                visible(results.metric),
                _value(results, "results.own", own),
                _value(results, "results.fine_tuned", results.fine_tuned),
                _difference("results.loss", own, results.fine_tuned, results=results),
            )
        )
    drawn = results.drawn(net)
    if drawn is not None:
        lines.append(
            Markup("As many entries drawn at random reach {}{}. {}").format(
                _value(results, "results.random", drawn),
                _draws(drawn),
                _difference("results.gain", own, drawn, results=results),
            )
        )
    elif net.recipe.rule != "random":
        lines.append(
            Markup(
                "The results do not have the rule “random” at this k: whether the rule is better than chance is open."
            )
        )
    return lines


def _draws(line: Line) -> Markup:
    draws = count("results.draws", line.seeds)
    return Markup(" (the mean of {} draws)").format(draws) if line.seeds > 1 else Markup("")


def _value(results: Results, name: str, measured: Line | Level) -> Markup:
    form = percent if results.shares else measure
    value = form(f"{name}.metric", measured.value)
    if math.isnan(measured.error):
        return value
    return Markup("{} (standard error {})").format(value, form(f"{name}.error", measured.error))


def _difference(name: str, one: Line, other: Line | Level, results: Results) -> Markup:
    """How much higher one metric is than another, and whether that is larger than chance explains.

    The error was measured item by item if the table has such a one, which it has for differences from the fine-tuned
    model. Else both measurements count as separate, which is usually too much: two models that were evaluated on the
    same items agree on many of them.
    """
    value, paired = one.value - other.value, isinstance(other, Level) and not math.isnan(one.loss_error)
    error = one.loss_error if paired else math.hypot(one.error, other.error)
    size = (points if results.shares else measure)(name, value)
    if math.isnan(error):
        return Markup("The difference is {}; how sure it is is not known.").format(size)
    width = (unsigned_points if results.shares else measure)(f"{name}.error", error)
    how = "" if paired else ", taken as two separate measurements"
    verdict = (
        "is within two standard errors: the two cannot be told apart."
        if abs(value) <= _SURE * error
        else "is more than two standard errors."
    )
    return Markup("The difference, {} (standard error {}{}), {}").format(size, width, how, verdict)


def caveats(net: ken.Subnetwork, turned: Sequence[float]) -> list[Markup]:
    """What holds of the method, after what was noted of the models.

    turned: shares of rows that flip if grid points are visited in reverse order.
    """
    lines = [Markup("Of the models it was noted: {}.").format(visible(note)) for note in net.notes]
    if turned:
        lines.append(
            Markup(
                "The visiting order of the grid points is nearly immaterial: visited in reverse, {} of the entries of "
                "the {} rows that were tried would be decided otherwise. What retains an entry is the even grid, not "
                "the density."
                if sum(turned) / len(turned) <= _ABOUT
                else "Visited in reverse order, the grid points would decide otherwise about {} of the entries of the "
                "{} rows that were tried."
            ).format(percent("turned.mean", sum(turned) / len(turned)), count("turned.rows", len(turned)))
        )
    if net.recipe.rule == "ken":
        lines.append(
            Markup("The rule does not retain the densest entries: those in the middle of a row are thinned out most.")
        )
    if net.recipe.rule in ("random", "della"):
        lines.append(Markup("Another seed would draw other entries: judge the rule by several."))
    lines.append(
        Markup("Shares of energy and of entries say what was kept, not how well the model works: only evaluation does.")
    )
    return lines
