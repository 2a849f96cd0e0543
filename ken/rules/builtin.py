"""The rules that come with ken, by name. Each is a function of a block of rows and k, or the k highest of a score."""

from __future__ import annotations

from dataclasses import replace

from ken.rules import density_rules, draws, magnitudes, merging_rules
from ken.rules.registered import Registered, by_highest
from ken.rules.registry import enter

for _name, _rule in {
    "ken": Registered(density_rules.ken),
    "grid": Registered(density_rules.grid),
    "density": Registered(density_rules.density),
    "random": Registered(draws.uniform, seeded=True, fixed=True, score=draws.uniform_scores),
    "magnitude": by_highest(magnitudes.magnitude, words="largest absolute value", fixed=True),
    "update": by_highest(magnitudes.update, words="largest absolute update", fixed=True, paired=True),
    "dare": Registered(draws.dare, seeded=True, fixed=True, score=draws.dare_scores, rescale="share"),
    "della": Registered(draws.della, seeded=True, fixed=True, paired=True, probability=draws.della_probability),
    "changed": Registered(magnitudes.changed, fixed=True, counts=True, paired=True),
    "smallest_magnitude": by_highest(magnitudes.smallest_magnitude, words="smallest absolute value", fixed=True),
    "smallest_update": by_highest(
        magnitudes.smallest_update, words="smallest absolute update", fixed=True, paired=True
    ),
    "pretrained_magnitude": by_highest(
        magnitudes.pretrained_magnitude, words="largest absolute pretrained value", fixed=True, paired=True
    ),
    "relative": by_highest(
        magnitudes.relative, words="largest update in ulps of the pretrained value", fixed=True, paired=True
    ),
    "breadcrumbs": by_highest(
        merging_rules.breadcrumbs(),
        words=f"largest absolute update below the top {merging_rules.TOP:.0%} of the row",
        fixed=True,
        paired=True,
    ),
    "cabs": Registered(
        merging_rules.cabs(),
        words=f"largest absolute update of their {merging_rules.GROUP} neighbours",
        fixed=True,
        paired=True,
    ),
    # By row it is `update`, and so exactly: products with the row's one number are rounded, and may be 0.
    "arcee_fusion": replace(
        by_highest(
            magnitudes.update,
            words="largest absolute update times the divergence of the row",
            fixed=True,
            paired=True,
        ),
        score=merging_rules.arcee_fusion,
    ),
}.items():
    enter(_name, _rule)
