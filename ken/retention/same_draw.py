"""Two subnetworks that are alike for a reason that is no finding: one draw of random numbers, or one recipe twice."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ken import rules
from ken.errors import RuleError

if TYPE_CHECKING:
    from ken.api import Subnetwork


def same_draw(a: Subnetwork, b: Subnetwork) -> bool:
    """Whether both were drawn with the same random numbers: by one rule that draws, with one seed.

    The numbers depend on the seed, on the tensor's name and on the row alone. So the entries that `random` retains
    are the same whatever the models are or, with another k, those of the one are among those of the other.

    Args:
        a: One subnetwork.
        b: The other.

    Returns:
        True if what they share says nothing; also of a rule that is not known here.

    Example:
        >>> import torch
        >>> from ken import prune
        >>> pair = {"w": torch.eye(4)}, {"w": torch.zeros(4, 4)}
        >>> a, b, c = (prune(*pair, 2, "random", seed=seed) for seed in (1, 1, 2))
        >>> same_draw(a, b), same_draw(a, c)
        (True, False)
    """
    return a.recipe.rule == b.recipe.rule and a.recipe.seed == b.recipe.seed and _draws(a.recipe.rule)


def alike(a: Subnetwork, b: Subnetwork) -> str:
    """Why two subnetworks are alike whatever their models, in a sentence without its point; empty if nothing says so.

    Args:
        a: One subnetwork.
        b: The other.

    Returns:
        That they are one draw, or one recipe of the same models twice.
    """
    rule, seed = a.recipe.rule, a.recipe.seed
    if same_draw(a, b):
        return (
            f"both are the same draw: rule {rule} with seed {seed} takes the same random numbers for both, so that "
            "what they share is no finding and no matter of chance; prune one of them with another seed"
        )
    if a.fine_tuned.fingerprint and _made(a) == _made(b):
        return "both were made by one recipe of the same models: they are the same subnetwork twice"
    return ""


def _made(net: Subnetwork) -> tuple[object, ...]:
    of = net.recipe
    told = of.rule, of.k, of.on, of.bandwidth, of.kernel, of.include, of.exclude, of.layers_only, dict(of.rows)
    return *told, net.fine_tuned.fingerprint, net.pretrained.fingerprint


def _draws(rule: str) -> bool:
    try:
        return rules.get(rule).seeded
    except RuleError:  # one of the user's, who has not registered it here
        return True
