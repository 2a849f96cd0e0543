"""A lesson about rows of a tensor: questions in an order that a seed fixes, and the rule's answers to them."""

from __future__ import annotations

from functools import lru_cache, partial
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ken.errors import BudgetError, RuleError
from ken.explanation import CLAIMING, reason
from kenviz.study.lesson_topics import MOST_NAMED, TOPICS, Deciding, became
from kenviz.study.row_decision import decide, own_k
from kenviz.study.study import Study
from kenviz.text.labels import label

if TYPE_CHECKING:
    from ken.explanation import RowExplanation

#: The topics of one round of questions. The first is about the chosen row, the others about rows by chance.
ROUND = ("apart", "apart", "taken", "taken", "budget", "budget", "densest", "order")
# By default no more grid points than can be looked through, and of rows that show nothing only so many are tried.
_MOST_POINTS, _MOST_ROWS = 10, 20
_FEWEST_ENTRIES = 4  # of fewer there is but one k that leaves a choice

Mask = NDArray[np.bool_]


class Question(NamedTuple):
    """One question; what is right is not in it.

    Attributes:
        number: From 1.
        topic: One of `TOPICS`.
        row: Of the tensor, from 0.
        k: Grid points, which is how many entries are retained.
        rule: "ken", or "grid" for the same points from left to right.
        step: The claim that is asked for, from 1; 0 where it is asked whether an entry is retained.
        entry: That entry; -1 where a claim is asked for.
        text: The question in words.
        near: Entries around the grid point by value, of which one is claimed.
    """

    number: int
    topic: str
    row: int
    k: int
    rule: str
    step: int
    entry: int
    text: str
    near: tuple[int, ...] = ()


class Answer(NamedTuple):
    """What was answered, and what the rule does.

    Attributes:
        right: Whether both agree.
        given: The learner's: an entry, or whether the entry is retained.
        truth: The rule's.
        reason: Why, in a sentence or two.
        note: What is to be learned from it.
        python: The line of Python that finds it out again.
    """

    right: bool
    given: int | bool
    truth: int | bool
    reason: str
    note: str
    python: str


class Score(NamedTuple):
    """right of the asked questions were answered as the rule does; streak of them in a row, up to the last one."""

    right: int
    asked: int
    streak: int


def before(why: RowExplanation, question: Question) -> Mask:
    """What has been claimed when a question is asked, (n,) bool: nothing, if it is about a whole mask."""
    claimed = np.zeros(why.n, bool)
    claimed[why.claimed[why.order[: max(question.step - 1, 0)]]] = True
    return claimed


class Course:
    """The questions about a row of a tensor, and then about others, and the answers of the rule.

    Which question has which number depends on the seed, and on nothing that was answered.

    >>> import torch, ken
    >>> pair = ken.Pair({"w": torch.tensor([[0.0, 0.4, 0.5, 0.6, 1.0]])}, {"w": torch.zeros(1, 5)})
    >>> course = Course(Study(ken.prune(*pair, k=3), pair), "w")
    >>> question = course.question(1)
    >>> question.step, question.k
    (1, 2)
    >>> course.answer(question, 0).right
    True
    """

    def __init__(self, study: Study, tensor: str, row: int = 0, *, k: int | None = None, seed: int = 0) -> None:
        self._study, self.tensor, self.row, self.seed = study, study.check(tensor), row, seed
        rows, n = study.shape(tensor)
        if not 0 <= row < rows:
            raise BudgetError(f"row must be from 0 to {rows - 1} in {label(tensor)}, got {row}")
        n -= int(np.isnan(study.rows(tensor, slice(row, row + 1))[1]).sum())  # no rule decides about what was added
        if n < _FEWEST_ENTRIES:
            place = f"row {row} of {label(tensor)} has {n}"
            raise BudgetError(f"a lesson needs {_FEWEST_ENTRIES} entries with a pretrained value, {place}")
        usual = min(max(own_k(study, tensor, row), 2), _MOST_POINTS, n - 1)
        self.k = usual if k is None else k
        if not 2 <= self.k < n:
            raise BudgetError(f"k must be from 2 to {n - 1} in a lesson about row {row} of {label(tensor)}, got {k}")
        self._explain = lru_cache(maxsize=64)(self._explained)
        self._question = lru_cache(maxsize=256)(self._asked)
        self._explain(row, self.k, "ken")  # raises, if there is nothing to ask

    @property
    def settings(self) -> tuple[str, str]:
        """The values that are looked at ("weights", …), and the kernel: the subnetwork's, where it has claims."""
        recipe = self._study.net.recipe
        return (recipe.on if recipe.rule in CLAIMING else "weights"), recipe.kernel

    def why(self, question: Question) -> RowExplanation:
        """The decision that a question is about."""
        return self._explain(question.row, question.k, question.rule)

    def question(self, number: int) -> Question:
        """The question of that number, from 1."""
        if number < 1:
            raise BudgetError(f"questions are numbered from 1, got {number}")
        return self._question(number)

    def answer(self, question: Question, given: int | bool) -> Answer:
        """Compare an answer with the rule's; raises `ValueError` for one that is not to the question."""
        why = self.why(question)
        if question.step:
            return self._claim_answered(why, question, given)
        if not isinstance(given, bool | np.bool_):
            raise ValueError(f"the answer must be True (retained) or False (reset), got {given!r}")
        truth = bool(why.mask[question.entry])
        because = reason(why, question.entry)
        return Answer(
            right=bool(given) == truth,
            given=bool(given),
            truth=truth,
            reason=f"Entry {question.entry} is {became(truth)}: {because}.",
            note=self._lesson(why, question),
            python=f"{why.python}.entry({question.entry})",
        )

    # ---- answers

    def _claim_answered(self, why: RowExplanation, question: Question, given: int | bool) -> Answer:
        last = why.n - why.added - 1
        if isinstance(given, bool) or not isinstance(given, int | np.integer) or not 0 <= given <= last:
            raise ValueError(f"the answer must be an entry from 0 to {last}, got {given!r}")
        claim, given = why.claim(question.step), int(given)
        far, steps = np.abs(why.values - claim.at), why.steps
        because = [
            f"Grid point {claim.point} at {claim.at:.6g} claims entry {claim.entry} ({why.values[claim.entry]:.6g}), "
            f"{claim.distance:.3g} away; {_nearer(claim.taken)}."
        ]
        if given != claim.entry:
            other = f"Entry {given} ({why.values[given]:.6g})"
            if 0 < steps[given] < question.step:
                because.append(f"{other} had been claimed in step {steps[given]}.")
            elif far[given] == far[claim.entry]:
                because.append(f"{other} is equally near: of equals the first is claimed.")
            else:
                because.append(f"{other} is farther, {far[given]:.3g} away.")
        return Answer(
            right=given == claim.entry,
            given=given,
            truth=claim.entry,
            reason=" ".join(because),
            note=self._lesson(why, question),
            python=f"{why.python}.claim({question.step})",
        )

    def _lesson(self, why: RowExplanation, question: Question) -> str:
        """What is to be learned from a question, true for this row."""
        if question.step:
            if why.claim(question.step).taken:
                return "What is claimed stays claimed: a point that comes later looks farther out."
            return "A grid point whose nearest entry is free claims that one."
        if question.topic == "densest":
            densest = (why.ranks > 0) & (why.ranks <= why.k)
            kept = int((densest & why.mask).sum())
            return (
                f"Being dense does not help: of the {why.k} densest entries the rule retains {kept}. "
                "An even grid thins out where values crowd, and takes nearly all of the tails."
            )
        if question.topic == "order":
            other = self._explain(question.row, question.k, "ken").mask
            differ = int((other != why.mask).sum())
            return (
                f"Visited by density, the same points give a mask that differs in {differ} of {why.n} entries: "
                "every point claims an entry in any order, which matters only where two compete for one."
            )
        return "Another k lays another grid: an entry that is retained at a small k may be reset at a larger one."

    # ---- questions

    def _explained(self, row: int, k: int, rule: str) -> RowExplanation:
        on, kernel = self.settings
        decision = decide(self._study, tensor=self.tensor, row=row, k=k, rule=rule, on=on, kernel=kernel, alone=True)
        if decision.explanation is None or not decision.steps:
            raise RuleError(f"row {row} of {label(self.tensor)} has no claims to ask about: {decision.unclaimed}")
        return decision.explanation

    def _asked(self, number: int) -> Question:
        turn, place = divmod(number - 1, len(ROUND))
        rng = np.random.default_rng([self.seed, number])
        rows = [self.row]
        if turn:  # later rounds go to other rows, those that have something to show
            rows = [*map(int, rng.integers(self._study.shape(self.tensor)[0], size=_MOST_ROWS)), self.row]
        # The questions of one topic in a round are not the same one.
        earlier = ROUND[:place].count(ROUND[place])
        chance = np.random.default_rng([self.seed, turn, list(TOPICS).index(ROUND[place])])
        for row in rows:
            try:
                self._explain(row, self.k, "ken")
            except RuleError:
                continue
            deciding = Deciding(partial(self._explain, row), self.k)
            return Question(number, ROUND[place], row, *TOPICS[ROUND[place]].ask(deciding, chance, earlier))
        raise RuleError(f"{label(self.tensor)} has no row to ask about")  # pragma: no cover - the first row has claims


def _nearer(taken: tuple[int, ...]) -> str:
    if not taken:
        return "no entry is nearer"
    names = ", ".join(map(str, taken[:MOST_NAMED])) + (", …" if len(taken) > MOST_NAMED else "")
    return f"{'entry' if len(taken) == 1 else 'entries'} {names} {'is' if len(taken) == 1 else 'are'} nearer, but taken"
