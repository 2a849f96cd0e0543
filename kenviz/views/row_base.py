"""The state of a row view: what may be set, and what is refused."""

from __future__ import annotations

from typing import Any

import traitlets

import ken
from ken.density import KERNELS
from kenviz.study.row_decision import Decision, attempt, own_k
from kenviz.study.study import Study
from kenviz.views.tensors import TensorView


class RowState(TensorView):
    """A row of a tensor, and the settings at which a rule decides about it; a step of its claims, and an entry.

    Subclasses keep `_decision` current: how many steps there are depends on it.
    """

    STATE = ("tensor", "row", "k", "rule", "on", "kernel", "bandwidth", "step", "entry", "stability")

    #: Whether the row has a budget of its own, whatever the subnetwork's is counted over.
    ALONE = False

    row = traitlets.Int(0, help="Row of the tensor, from 0.")
    k = traitlets.Int(1, help="Entries that the rule retains.")
    rule = traitlets.Unicode("ken", help="Name of a registered rule.")
    on = traitlets.Enum(list(ken.rules.VALUES), "weights", help="The values that rules with a density look at.")
    kernel = traitlets.Enum(list(KERNELS), "gaussian", help="Kernel of the density estimate.")
    bandwidth = traitlets.Float(1.0, help="Factor on the bandwidth of the subnetwork's own setting.")
    step = traitlets.Int(0, help="Claim that is shown, from 1; 0 for all.")
    entry = traitlets.Int(-1, help="Column of the entry that is chosen; -1 for none.")
    stability = traitlets.Bool(True, help="Whether the flips at other bandwidths and in reverse order are counted.")

    _decision: Decision

    @traitlets.validate("row", "k", "step", "entry")
    def _valid_number(self, proposal: dict[str, Any]) -> int:
        name, value = proposal["trait"].name, int(proposal["value"])
        rows, n = self._study.shape(self.tensor)
        where = f"{self.tensor}"
        if name == "step":
            steps, reason = self._decision.steps, self._decision.unclaimed
            where = f"row {self.row} of {self.tensor}" + (f": {reason}" if reason else "")
        low, high = {
            "row": lambda: (0, rows - 1),
            "k": lambda: (self._least_k(), n),
            "step": lambda: (0, steps),
            "entry": lambda: (-1, n - 1),
        }[name]()
        if not low <= value <= high:
            raise traitlets.TraitError(f"{name} must be from {low} to {high} in {where}, got {value}")
        return value

    @traitlets.validate("bandwidth")
    def _valid_bandwidth(self, proposal: dict[str, Any]) -> float:
        if not 1 / 8 <= proposal["value"] <= 8:
            raise traitlets.TraitError(
                f"bandwidth is a factor from 1/8 to 8 on the subnetwork's own, got {proposal['value']}"
            )
        return float(proposal["value"])

    @traitlets.validate("rule")
    def _valid_rule(self, proposal: dict[str, Any]) -> str:
        if proposal["value"] not in self._rule_names():
            names = ", ".join(self._rule_names())
            raise traitlets.TraitError(f"rule must be one of {names}; got {proposal['value']!r}")
        return str(proposal["value"])

    @traitlets.validate("on")
    def _valid_on(self, proposal: dict[str, Any]) -> str:
        if proposal["value"] != "weights" and not self._heeds_on():
            raise traitlets.TraitError(f"on must be weights for rule {self.rule}, which looks at no density")
        return str(proposal["value"])

    def _rule_names(self) -> list[str]:
        """Those registered, and the subnetwork's own, of which there is a mask even where it is not."""
        return list(dict.fromkeys([*ken.rules.names(), self._study.net.recipe.rule]))

    def _least_k(self) -> int:
        """A row of which nothing was changed, or that got nothing of a shared budget, has a mask without entries.

        No rule can be asked for such a mask.
        """
        recipe = self._study.net.recipe
        shared = recipe.scope != "row" and recipe.rule == self.rule
        return 0 if ken.rules.counts(self.rule) or shared else 1

    def _heeds_on(self) -> bool:
        return _heeds_on(self.rule)


def _heeds_on(rule: str) -> bool:
    if rule not in ken.rules.names():
        return True
    return attempt(lambda: ken.rules.check_settings(rule, ken.rules.Settings("update")))[1] == ""


def usual_on(recipe: ken.Recipe, rule: str) -> str:
    """The values that a rule looks at where nothing else is said: those of the subnetwork's own, if it heeds any."""
    return recipe.on if _heeds_on(rule) else "weights"


def usual_state(study: Study, tensor: str, row: int, *, entry: int) -> dict[str, Any]:
    """The state of the view of a row at the subnetwork's own settings, as a view that is made so would have it.

    >>> import torch
    >>> net = ken.prune({"w": torch.arange(8.0).reshape(2, 4)}, {"w": torch.zeros(2, 4)}, k=2, lazy=True)
    >>> state = usual_state(Study(net, net.pair), "w", 1, entry=-1)
    >>> state["row"], state["k"], list(state) == list(RowState.STATE)
    (1, 2, True)
    """
    recipe = study.net.recipe
    return {
        "tensor": tensor,
        "row": row,
        "k": own_k(study, tensor, row),
        "rule": recipe.rule,
        "on": usual_on(recipe, recipe.rule),
        "kernel": recipe.kernel,
        "bandwidth": 1.0,
        "step": 0,
        "entry": entry,
        "stability": True,
    }
