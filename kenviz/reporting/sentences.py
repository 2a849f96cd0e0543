"""What a report says in plain language: sentences made of measured numbers, each of which says where it is from."""

from __future__ import annotations

import math

from markupsafe import Markup

import ken
from kenviz.reporting.results import Results
from kenviz.reporting.role_overlap import RoleOverlap
from kenviz.reporting.summary import Summary
from kenviz.text.labels import visible
from kenviz.text.numbers import count, measure, percent, points, unsigned_points

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
    "dare": "In every row of every pruned tensor, k entries are drawn uniformly at random, as DARE drops all others.",
    "della": "In every row of every pruned tensor, k entries are drawn at random, those that fine-tuning changed more "
    "with a higher probability.",
    "smallest_magnitude": "In every row of every pruned tensor, the k smallest absolute fine-tuned values are "
    "retained. This is a negative control: a rule that works should be far better.",
    "smallest_update": "In every row of every pruned tensor, the k entries that fine-tuning changed least are "
    "retained. This is a negative control: a rule that works should be far better.",
    "pretrained_magnitude": "In every row of every pruned tensor, the k largest absolute pretrained values are "
    "retained, whatever fine-tuning made of them.",
    "relative": "In every row of every pruned tensor, the k entries are retained that fine-tuning changed most in "
    "units in the last place of their pretrained value, that is, relative to its size.",
    "breadcrumbs": "In every row of every pruned tensor, both tails are dropped: the 1 % of entries that fine-tuning "
    "changed most, as outliers, and of the others all but the k that it changed most.",
    "cabs": "In every row of every pruned tensor, every 32 neighbours keep their share of the k entries, those that "
    "fine-tuning changed most.",
    "arcee_fusion": "In every row of every pruned tensor, the k entries of highest importance as Arcee Fusion has it "
    "are retained: the absolute update times the divergence of the row, which in a row is the order of the update.",
    "changed": "Of every pruned tensor the entries are retained that differ from the pretrained ones by so much as a "
    "bit, as many of each row as there are. What is reset was equal before: injection gives the fine-tuned "
    "model itself.",
}
# What is said of a rule that looks at other values than the fine-tuned ones.
_ON = {
    "update": " The values it looks at are not the fine-tuned ones but what fine-tuning changed.",
    "pretrained": " The values it looks at are not the fine-tuned ones but the pretrained ones: every model that was "
    "fine-tuned from the same pretrained one gets the same mask.",
}
_RESCALED = (
    " Retained entries do not have their fine-tuned value: their update was divided by the share that is retained of "
    "{}, so that what was dropped is made up for in expectation."
)
_EVERY_ROW = "In every row of every pruned tensor, "
# Rules that never look at the update, unless on="update".
_BLIND = ("ken", "grid", "density", "random", "magnitude", "smallest_magnitude", "pretrained_magnitude")
# The share of the update's energy is called about the share of entries if no further away than this.
_ABOUT = 0.05
# A difference of more standard errors than this counts as one.
_SURE = 2.0


def the_rule(net: ken.Subnetwork) -> str:
    """How the retained entries were chosen, in words."""
    recipe = net.recipe
    words = RULES.get(recipe.rule, f"The rule “{visible(recipe.rule)}”, registered by the user, chose the entries.")
    words = _over(recipe.scope, words) + _ON.get(recipe.on, "")
    return words + (_RESCALED.format(ken.rules.SHARED[recipe.scope]) if recipe.rescale == "share" else "")


def _over(scope: str, words: str) -> str:
    """What is said of a rule, where rows share their budget."""
    if scope == "row":
        return words
    ranges = {
        "tensor": "In every pruned tensor as a whole, with k the sum of what its rows would retain, ",
        "model": "In all pruned tensors together, with k the sum of what all their rows would retain, ",
    }
    if not words.startswith(_EVERY_ROW):
        return f"{ranges[scope]}this holds: {words}"
    words = ranges[scope] + words.removeprefix(_EVERY_ROW)
    return words.replace("of a row", "of these values").replace("of the row", "of these values")


def what_was_pruned(net: ken.Subnetwork, summary: Summary) -> Markup:
    """How many entries and tensors are retained, reset, pruned, carried."""
    tied = Markup("; {} names are aliases of tied tensors").format(_count(summary, "names_tied"))
    return Markup(
        "Of the {} entries of the fine-tuned model, {} ({}) {} and {} are reset to their "
        "pretrained value. {} tensors were pruned, {} carried whole{}."
    ).format(
        _count(summary, "entries"),
        _count(summary, "entries_retained"),
        _percent(summary, "share_retained"),
        "keep their fine-tuned value" if net.recipe.rescale == "none" else "are retained, with their update rescaled,",
        _count(summary, "entries_reset"),
        _count(summary, "tensors_pruned"),
        _count(summary, "tensors_carried"),
        tied if summary.names_tied else "",
    )


def what_it_kept_of_the_update(net: ken.Subnetwork, summary: Summary) -> Markup | None:
    """The share of the update's energy at retained entries, beside the share of entries; None without models."""
    if summary.entries_paired is None:
        return None
    if math.isnan(summary.update_retained):
        return Markup("Fine-tuning changed none of the pruned entries, so there is no update to keep.")
    kept = Markup(
        "Fine-tuning changed {} of the {} pruned entries that have a pretrained value. The retained ones, {} of these "
        "entries, hold {} of the update’s energy, the sum of the squares of what fine-tuning changed."
    ).format(
        _count(summary, "entries_changed"),
        _count(summary, "entries_paired"),
        _percent(summary, "share_retained_of_paired"),
        _percent(summary, "update_retained"),
    )
    return kept + _about(net, summary.update_retained - summary.share_retained_of_paired)


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


def what_it_kept_of_the_tails(summary: Summary) -> Markup | None:
    """How much of the tails of the rows is retained; None if there are none."""
    if not summary.tail_entries:
        return None
    return Markup("Of the {} entries in the tails of their rows, {} are retained.").format(
        _count(summary, "tail_entries"), _percent(summary, "tails_retained")
    )


def how_good_it_is(net: ken.Subnetwork, summary: Summary, results: Results | None) -> list[Markup]:
    """What an evaluation says of this subnetwork, and how the rule random does."""
    if results is None or results.own(net) is None:
        why = "was given to this report" if results is None else "of this rule and k is among the results given"
        return [Markup("No evaluation {}: how good the pruned model is cannot be said here.").format(why)]
    lines: list[Markup] = []
    shares = results.shares
    if summary.metric_difference_paired is not None:
        lines.append(
            Markup("Measured by {}, the pruned model reaches {}; the fine-tuned model reaches {}. {}").format(
                visible(results.metric),
                _value(summary, "metric", shares),
                _value(summary, "metric_fine_tuned", shares),
                _difference(summary, "metric_difference", shares, paired=summary.metric_difference_paired),
            )
        )
    if summary.random_draws is not None:
        lines.append(
            Markup("As many entries drawn at random reach {}{}. {}").format(
                _value(summary, "metric_random", shares),
                Markup(" (the mean of {} draws)").format(_count(summary, "random_draws"))
                if summary.random_draws > 1
                else "",
                _difference(summary, "metric_gain", shares, paired=False),
            )
        )
    elif net.recipe.rule != "random":
        lines.append(
            Markup(
                "The results do not have the rule “random” at this k: whether the rule is better than chance is open."
            )
        )
    return lines


def _count(summary: Summary, name: str) -> Markup:
    return count(f"summary.{name}", getattr(summary, name))


def _percent(summary: Summary, name: str) -> Markup:
    return percent(f"summary.{name}", getattr(summary, name))


def _value(summary: Summary, name: str, shares: bool) -> Markup:
    form, error = (percent if shares else measure), f"{name}_standard_error"
    value = form(f"summary.{name}", getattr(summary, name))
    if math.isnan(getattr(summary, error)):
        return value
    return Markup("{} (standard error {})").format(value, form(f"summary.{error}", getattr(summary, error)))


def _difference(summary: Summary, name: str, shares: bool, *, paired: bool) -> Markup:
    """How much higher one metric is than another, and whether that is larger than chance explains.

    The error was measured item by item if the table has such a one, which it has for differences from the fine-tuned
    model. Else both measurements count as separate, which is usually too much: two models that were evaluated on the
    same items agree on many of them.
    """
    value, error = getattr(summary, name), getattr(summary, f"{name}_standard_error")
    size = (points if shares else measure)(f"summary.{name}", value)
    if math.isnan(error):
        return Markup("The difference is {}; how sure it is is not known.").format(size)
    width = (unsigned_points if shares else measure)(f"summary.{name}_standard_error", error)
    how = "" if paired else ", taken as two separate measurements"
    verdict = (
        "is within two standard errors: the two cannot be told apart."
        if abs(value) <= _SURE * error
        else "is more than two standard errors."
    )
    return Markup("The difference, {} (standard error {}{}), {}").format(size, width, how, verdict)


def in_common(summary: Summary, both: RoleOverlap) -> Markup:
    """What two subnetworks have in common."""
    alike = Markup("This is no finding, as {}.").format(visible(both.alike)) if both.alike else Markup("")
    if not both.same_draw:
        chance = Markup(f"If each had drawn its entries at random, {both.drawn}, it would be {{}}.")
        alike += " " * bool(alike) + chance.format(_percent(summary, "compared_jaccard_expected"))
    elsewhere = " It was made of another fine-tuned model; the update here is that of the first one."
    return Markup(
        "The other subnetwork was made with {}. Of the {} entries that either retains, both retain {} ({}). {} The "
        "first holds {} of the update’s energy, the second {}.{}"
    ).format(
        both.other,
        _count(summary, "compared_either"),
        _count(summary, "compared_both"),
        _percent(summary, "compared_jaccard"),
        alike,
        _percent(summary, "compared_update_share_a"),
        _percent(summary, "compared_update_share_b"),
        elsewhere if both.elsewhere else "",
    )


def statements(
    net: ken.Subnetwork, summary: Summary, results: Results | None, *, both: RoleOverlap | None
) -> list[Markup]:
    """All that is said in the summary."""
    lines = [
        what_was_pruned(net, summary),
        what_it_kept_of_the_update(net, summary),
        what_it_kept_of_the_tails(summary),
        *how_good_it_is(net, summary, results),
        None if both is None else in_common(summary, both),
    ]
    return [line for line in lines if line is not None]


def caveats(net: ken.Subnetwork, summary: Summary) -> list[Markup]:
    """What holds of the method, after what was noted of the models."""
    lines = [Markup("Of the models it was noted: {}.").format(visible(note)) for note in net.notes]
    if summary.reversed_rows:
        lines.append(
            Markup(
                "The visiting order of the grid points is nearly immaterial: visited in reverse, {} of the entries of "
                "the {} rows that were tried would be decided otherwise. What retains an entry is the even grid, not "
                "the density."
                if summary.reversed_share <= _ABOUT
                else "Visited in reverse order, the grid points would decide otherwise about {} of the entries of the "
                "{} rows that were tried."
            ).format(_percent(summary, "reversed_share"), _count(summary, "reversed_rows"))
        )
    if net.recipe.rule == "ken":
        lines.append(
            Markup("The rule does not retain the densest entries: those in the middle of a row are thinned out most.")
        )
    if net.recipe.rule in ken.rules.names() and ken.rules.get(net.recipe.rule).seeded:
        lines.append(Markup("Another seed would draw other entries: judge the rule by several."))
    lines.append(
        Markup("Shares of energy and of entries say what was kept, not how well the model works: only evaluation does.")
    )
    return lines
