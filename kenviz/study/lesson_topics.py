"""What a lesson asks: for each topic a function that makes a question of a decision about a row."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from ken.explanation import RowExplanation

# So many free entries on either side of a grid point are listed with it, and so many claimed ones are named at most.
_NEAR, MOST_NAMED = 3, 12
_DENSEST = 3  # ranks by density that count as the densest entries

Mask = NDArray[np.bool_]


class Asked(NamedTuple):
    """What a question asks; see `kenviz.study.lesson.Question`."""

    k: int
    rule: str
    step: int
    entry: int
    text: str
    near: tuple[int, ...] = ()


class Deciding(NamedTuple):
    """explain(k, rule) is the decision about the row that is asked about; k is the usual number of grid points."""

    explain: Callable[[int, str], RowExplanation]
    k: int


class Topic(NamedTuple):
    """A topic: what it is called, and ask(deciding, chance, earlier), which makes its question.

    earlier: how many questions about this row had the topic before, with the same chance: they are not repeated while
    there are others.
    """

    name: str
    ask: Callable[[Deciding, np.random.Generator, int], Asked]


def _apart(deciding: Deciding, chance: np.random.Generator, earlier: int) -> Asked:
    few = max(2, min(4, deciding.k - 1))
    why = deciding.explain(few, "ken")
    return _claim(why, _nth(chance, np.flatnonzero([not why.claim(s).taken for s in _steps(why)]) + 1, earlier))


def _taken(deciding: Deciding, chance: np.random.Generator, earlier: int) -> Asked:
    """A claim of which the nearest entry is taken; with more grid points, where these find all entries free."""
    why = deciding.explain(deciding.k, "ken")
    for k in range(deciding.k, min(4 * deciding.k, why.n - why.added)):
        why = deciding.explain(k, "ken")
        crowded = np.flatnonzero([bool(why.claim(step).taken) for step in _steps(why)]) + 1
        if len(crowded):
            return _claim(why, _nth(chance, crowded, earlier))
    why = deciding.explain(deciding.k, "ken")
    return _claim(why, _nth(chance, np.array(_steps(why)), earlier))


def _budget(deciding: Deciding, chance: np.random.Generator, earlier: int) -> Asked:
    usual = deciding.explain(deciding.k, "ken")
    common = usual.n - usual.added
    fewer, more = max(2, deciding.k // 2), min(common - 1, deciding.k + max(1, deciding.k // 2))
    k = [fewer, more][(earlier + int(chance.integers(2))) % 2]
    why = deciding.explain(k if k != deciding.k else fewer + more - k, "ken")
    entry = _one_of_both(chance, why.mask[:common])
    text = (
        f"With k = {deciding.k}, entry {entry} ({why.values[entry]:.6g}) is {became(usual.mask[entry])}. "
        f"Now k is {why.k}: will it be retained? {_grid(why)}"
    )
    return Asked(why.k, "ken", 0, entry=entry, text=text)


def _densest(deciding: Deciding, chance: np.random.Generator, earlier: int) -> Asked:
    why = deciding.explain(deciding.k, "ken")
    rank = int(chance.integers(1, 1 + min(_DENSEST, why.n - why.added)))
    entry = int(np.flatnonzero(why.ranks == rank)[0])
    text = (
        f"Entry {entry} ({why.values[entry]:.6g}) has rank {rank} of {why.n} by density: values crowd around it. "
        f"Will it be retained at k = {why.k}? {_grid(why)}"
    )
    return Asked(why.k, "ken", 0, entry=entry, text=text)


def _order(deciding: Deciding, chance: np.random.Generator, earlier: int) -> Asked:
    why, by_density = (deciding.explain(deciding.k, rule) for rule in ("grid", "ken"))
    entry = _one_of_both(chance, why.mask[: why.n - why.added])
    text = (
        f"Visited by density, the highest level first, the {why.k} grid points leave entry {entry} "
        f"({why.values[entry]:.6g}) {became(by_density.mask[entry])}. Now they are visited from left to right, "
        f"whatever the density: will it be retained? {_grid(why)}"
    )
    return Asked(why.k, "grid", 0, entry=entry, text=text)


def _claim(why: RowExplanation, step: int) -> Asked:
    """The question which entry is claimed in a step, and the entries that are near enough to be it."""
    point = int(why.order[step - 1])
    at, level = float(why.grid[point]), float(why.level[point])
    claimed = [int(entry) for entry in why.claimed[why.order[: step - 1]]]
    names = ", ".join(map(str, claimed[-MOST_NAMED:]))
    past = (
        f"Claimed so far: {'…, ' if len(claimed) > MOST_NAMED else ''}{names}." if claimed else "None is claimed yet."
    )
    text = (
        f"Step {step} of {why.k}: grid point {point} at {at:.6g} is visited: its level, {level:.0f}, is the "
        f"highest that is left. Which entry will it claim? {past}"
    )
    near = _around(why.values[: why.n - why.added], at, claimed)
    return Asked(why.k, "ken", step, entry=-1, text=text, near=near)


def _around(values: NDArray[np.float64], at: float, claimed: list[int]) -> tuple[int, ...]:
    """Entries around a place by value: the nearest free ones on either side, and claimed ones no farther than these."""
    far = np.abs(values - at)
    nearest = np.argsort(far, kind="stable")  # of equally near ones the first, as the rule has it
    free = ~np.isin(nearest, claimed)
    left = nearest[free & (values[nearest] < at)][:_NEAR]
    right = nearest[free & (values[nearest] >= at)][:_NEAR]
    shown = np.concatenate([left, right])
    taken = nearest[~free & (far[nearest] <= far[shown].max())][:MOST_NAMED]
    shown = np.sort(np.concatenate([shown, taken]))
    return tuple(map(int, shown[np.argsort(values[shown], kind="stable")]))


def _steps(why: RowExplanation) -> range:
    return range(1, len(why.order) + 1)


def _nth(chance: np.random.Generator, steps: NDArray[np.intp], earlier: int) -> int:
    """Another one of the steps for each question that came earlier, while there are others."""
    return int(chance.permutation(steps)[earlier % len(steps)])


def _one_of_both(chance: np.random.Generator, mask: Mask) -> int:
    """An entry that is retained or one that is not, the one as probable as the other."""
    wanted = bool(chance.integers(2))
    return int(chance.choice(np.flatnonzero(mask == wanted)))


def _grid(why: RowExplanation) -> str:
    low, high = float(why.grid[0]), float(why.grid[-1])
    return f"The {why.k} grid points lie from {low:.6g} to {high:.6g}, {(high - low) / (why.k - 1):.3g} apart."


def became(retained: bool) -> str:
    """What became of an entry, in a word."""
    return "retained" if retained else "reset"


#: Topic -> its name and its questions. The order is that of difficulty.
TOPICS = {
    "apart": Topic("few grid points, far apart", _apart),
    "taken": Topic("the nearest entry is taken", _taken),
    "budget": Topic("another k", _budget),
    "densest": Topic("the densest entries", _densest),
    "order": Topic("another order of visits", _order),
}
