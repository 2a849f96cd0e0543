"""The decision card of one entry, beside a figure: why it was retained or reset, or what can be said of that."""

from __future__ import annotations

import html
from typing import Any, NamedTuple

import ipywidgets

from ken.explanation import reason
from ken.rules import SCOPES
from kenviz.study.row_decision import Decision, decide, own_k
from kenviz.study.study import Study
from kenviz.text.labels import row_count, visible

INVITATION = "Tap an entry to read why it was retained or reset."
# A card ranks all entries by their density, which takes the square of their number.
_MOST_RANKED = 16_384


class DecisionCard(NamedTuple):
    """What became of an entry (verdict), why (reason), in numbers, what else is known, and the Python that tells it.

    >>> card = DecisionCard("Entry 3 is reset.", "It was not drawn.", (("update", "0.5"),), python="card.entry(3)")
    >>> print(card.text)
    Entry 3 is reset.
    It was not drawn.
    update 0.5
    card.entry(3)
    """

    verdict: str
    reason: str
    numbers: tuple[tuple[str, str], ...] = ()
    notes: tuple[str, ...] = ()
    python: str = ""

    @property
    def text(self) -> str:
        """The card in lines."""
        lines = [self.verdict, self.reason, *(" ".join(number) for number in self.numbers), *self.notes, self.python]
        return "\n".join(filter(None, lines))


class CardBox(ipywidgets.HTML):
    """A decision card, or some lines, as text whatever the names in it say; an invitation before there is one.

    >>> box = CardBox()
    >>> box.show("Entry 3 is reset.")
    >>> "Entry 3 is reset." in box.value
    True
    """

    def __init__(self, invitation: str = INVITATION) -> None:
        self._invitation = invitation
        self.card: DecisionCard | None = None
        super().__init__(layout={"width": "auto"})
        self.add_class("kenviz-card-box")
        self.show(None)

    def show(self, card: DecisionCard | str | None) -> None:
        """Show a card, or some lines, or with None the invitation."""
        self.card = card if isinstance(card, DecisionCard) else None
        if self.card is not None:
            self.value = _in_html(self.card)
            return
        # A live region: a screen reader says what a tap has found.
        style = "white-space: pre-wrap; word-break: normal; overflow-wrap: anywhere; font: inherit; line-height: 1.4"
        lines = _safe(str(card or self._invitation))
        self.value = f'<pre class="kenviz-lines" role="status" style="{style}; margin: 0">{lines}</pre>'


def _in_html(card: DecisionCard) -> str:
    lines = "".join(
        f'<tr><th scope="row">{_safe(name)}</th><td>{_safe(value)}</td></tr>' for name, value in card.numbers
    )
    parts = [
        f'<p class="kenviz-verdict">{_safe(card.verdict)}</p>',
        f"<p>{_safe(card.reason)}</p>" if card.reason else "",
        f"<table>{lines}</table>" if lines else "",
        *(f"<p>{_safe(note)}</p>" for note in card.notes),
        # The button beside the line copies it: pane/pane.js.
        '<div class="kenviz-python"><code>'
        f'{_safe(card.python)}</code><button type="button" class="kenviz-copy">copy</button></div>'
        if card.python
        else "",
    ]
    return f'<div class="kenviz-card" role="status">{"".join(parts)}</div>'


def _safe(text: str) -> str:
    """Text, whatever it says, as HTML; its lines stay apart."""
    return html.escape("\n".join(visible(line) for line in text.splitlines()))


def row_card(decision: Decision, entry: int) -> DecisionCard:
    """The decision card of an entry; in few words where there is none to be had."""
    why = decision.explanation
    place = f"Entry {entry} of row {decision.row}"
    became = "retained" if decision.mask[entry] else "reset"
    if why is None:
        return DecisionCard(f"{place} is {became}.", f"Why is not known: {decision.unexplained}.")
    if why.n <= _MOST_RANKED:
        card = why.entry(entry)
        verdict, because = card.text.splitlines()[:2]
        numbers = _numbers(card.as_dict())
        return DecisionCard(verdict, because, numbers, notes=_stood_in(why), python=card.python)
    clause = "" if why.rule == "density" else reason(why, entry)
    return DecisionCard(
        f"{place} is {became}.",
        f"{clause[0].upper()}{clause[1:]}." if clause else "",
        (
            ("fine-tuned value", f"{decision.fine_tuned[entry]:.6g}"),
            ("pretrained value", f"{decision.pretrained[entry]:.6g}"),
        ),
        notes=(f"The row has {why.n:,} entries, too many to rank them by their density here. In minutes, this does:",),
        python=f"{why.python}.entry({entry})",
    )


def _numbers(card: dict[str, Any]) -> tuple[tuple[str, str], ...]:
    """The numbers of a card, as (name, value with its unit)."""
    values = {"fine-tuned value": "fine_tuned", "pretrained value": "pretrained", "update": "update"}
    lines = [(name, f"{card[key]:.6g}") for name, key in values.items() if card[key] is not None]
    if card["after"] is not None:
        lines.append(("value after pruning", f"{card['after']:.6g}{', rescaled' if card['rescaled'] else ''}"))
    if card["density"] is not None:
        lines.append(("density", f"{card['density']:.6g} per unit of weight"))
        lines.append(("rank by density", f"{card['density_rank']:,} of {card['n']:,} in its row"))
    if card["claim"] is not None:
        lines.append(("claimed in step", f"{card['claim']['step']:,}"))
        lines.append(("grid point", f"{card['claim']['point']:,} at {card['claim']['at']:.6g}"))
        lines.append(("distance to it", f"{card['claim']['distance']:.3g}"))
    count = row_count(card["k"], card["n"], card["rule"], scope=card["scope"])
    retained = count if count.startswith("k =") else f"{count} retained"
    retained += "" if card["scope"] == "row" else f", k counted over {SCOPES[card['scope']]}"
    return (*lines, ("rule", f"{card['rule']}, {retained}, on {card['on']}"))


def _stood_in(why: Any) -> tuple[str, ...]:
    if not why.stood_in:
        return ()
    rule = why.settings.bandwidth
    return (f"the bandwidth rule {rule} found none for this row: it has that of the normal reference",)


def with_effects(card: DecisionCard, study: Study, tensor: str, *, entry: tuple[int, int]) -> DecisionCard:
    """A card, and what is known of what its entry does to the model; in a stack, which expert it is in."""
    notes = [study.place_in_stack(tensor, entry[0])]
    if study.effects is not None:
        notes += study.effects.text(tensor, entry, study.shape(tensor)).splitlines()
    return card._replace(notes=(*card.notes, *filter(None, notes)))


def entry_card(study: Study, tensor: str, entry: tuple[int, int]) -> DecisionCard:
    """The card of that entry, (row, column).

    >>> import ken, torch
    >>> net = ken.prune({"w": torch.arange(8.0).reshape(2, 4)}, {"w": torch.zeros(2, 4)}, k=2)
    >>> print(entry_card(Study(net), "w", (1, 0)).text)
    Entry 0 in row 1 of w is retained.
    Its values, and why it was retained, can be read with the pair of models: kenviz.MatrixView(net, pair)
    retained in its row 2 of 4 entries
    retained in its column 2 of 2 entries
    rule ken, k = 2, on weights
    """
    row, column = entry
    recipe = study.net.recipe
    if study.pair is not None:
        decision = decide(
            study,
            tensor=tensor,
            row=row,
            k=own_k(study, tensor, row),
            rule=recipe.rule,
            on=recipe.on,
            kernel=recipe.kernel,
            factor=1.0,
        )
        return with_effects(row_card(decision, column), study, tensor, entry=entry)
    rows, n = study.shape(tensor)
    pyramid = study.pyramid(tensor)
    kept = bool(study.mask(tensor, slice(row, row + 1))[0, column])
    became = "retained" if kept else "reset"
    card = DecisionCard(
        f"Entry {column} in row {row} of {tensor} is {became}.",
        f"Its values, and why it was {became}, can be read with the pair of models: kenviz.MatrixView(net, pair)",
        (
            ("retained in its row", f"{pyramid.row_counts[row]:,} of {n:,} entries"),
            ("retained in its column", f"{pyramid.column_counts[column]:,} of {rows:,} entries"),
            ("rule", f"{recipe.rule}, {recipe.k_text}, on {recipe.on}"),
        ),
    )
    return with_effects(card, study, tensor, entry=entry)
