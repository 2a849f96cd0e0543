"""The decision card of one entry, beside a figure: why it was retained or reset, or what can be said of that."""

from __future__ import annotations

import html

import ipywidgets

from ken.explanation import reason
from kenviz.study.row_decision import Decision, decide, own_k
from kenviz.study.study import Study
from kenviz.text.labels import visible

INVITATION = "Tap an entry to read why it was retained or reset."
# A card ranks all entries by their density, which takes the square of their number.
_MOST_RANKED = 16_384


class CardBox(ipywidgets.HTML):
    """The text of a decision card, as text whatever the names in it say; an invitation before there is one.

    >>> box = CardBox()
    >>> box.show("Entry 3 is reset.")
    >>> "Entry 3 is reset." in box.value
    True
    """

    def __init__(self, invitation: str = INVITATION) -> None:
        self._invitation = invitation
        super().__init__(layout={"width": "auto"})
        self.show(None)

    def show(self, card: str | None) -> None:
        """Show the text of a card, or with None the invitation."""
        lines = (self._invitation if card is None else card).splitlines()
        text = html.escape("\n".join(visible(line) for line in lines))
        # A live region: a screen reader says what a tap has found.
        self.value = (
            f'<pre class="kenviz-card" role="status" style="white-space: pre-wrap; word-break: normal; '
            f'overflow-wrap: anywhere; line-height: 1.4; margin: 0">{text}</pre>'
        )


def row_card(decision: Decision, entry: int) -> str:
    """The decision card of an entry, in lines; in few words where there is none to be had."""
    why = decision.explanation
    if why is not None and why.n <= _MOST_RANKED:
        return why.entry(entry).text
    lines = [f"Entry {entry} of row {decision.row} is {'retained' if decision.mask[entry] else 'reset'}."]
    if why is None:
        return "\n".join([*lines, f"Why is not known: {decision.unexplained}."])
    if why.rule != "density":
        clause = reason(why, entry)
        lines.append(f"{clause[0].upper()}{clause[1:]}.")
    lines.append(f"fine-tuned {decision.fine_tuned[entry]:.6g}; pretrained {decision.pretrained[entry]:.6g}")
    lines.append(f"The row has {why.n:,} entries, too many to rank them by their density here. In minutes, this does:")
    return "\n".join([*lines, f"{why.python}.entry({entry})"])


def with_effects(card: str, study: Study, tensor: str, *, entry: tuple[int, int]) -> str:
    """A card, and what is known of what its entry does to the model."""
    more = "" if study.effects is None else study.effects.text(tensor, entry, study.shape(tensor))
    return f"{card}\n{more}" if more else card


def entry_card(study: Study, tensor: str, entry: tuple[int, int]) -> str:
    """The card of that entry, (row, column), in lines.

    >>> import ken, torch
    >>> net = ken.prune({"w": torch.arange(8.0).reshape(2, 4)}, {"w": torch.zeros(2, 4)}, k=2)
    >>> print(entry_card(Study(net), "w", (1, 0)))
    Entry 0 in row 1 of w is retained.
    Retained are 2 of 4 entries of its row, and 2 of 2 of its column.
    rule ken, k = 2, on weights
    Its values, and why it was retained, can be read with the pair of models: kenviz.MatrixView(net, pair)
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
    card = (
        f"Entry {column} in row {row} of {tensor} is {became}.\n"
        f"Retained are {pyramid.row_counts[row]:,} of {n:,} entries of its row, and "
        f"{pyramid.column_counts[column]:,} of {rows:,} of its column.\n"
        f"rule {recipe.rule}, {recipe.k_text}, on {recipe.on}\n"
        f"Its values, and why it was {became}, can be read with the pair of models: kenviz.MatrixView(net, pair)"
    )
    return with_effects(card, study, tensor, entry=entry)
