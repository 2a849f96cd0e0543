"""What the masks of the rules have in common with that of rule `ken`, and how they look: the tables of docs/rule.md.

    python benchmarks/masks.py

The demo pair, all pruned tensors together. Overlap: the share of the entries that `ken` retains which another rule
retains too; by chance it is the share of the row. At share 0.5, of the matrices: the share of the tails (beyond 2σ of
their row) and of the update's energy that is retained, and the z-score of retained neighbours (docs/statistics.md).
"""

from __future__ import annotations

import ken

SHARES = (0.25, 0.5, 0.75)
RULES = [rule for rule in ken.rules.names() if not ken.rules.counts(rule)]


def main() -> None:
    pair = ken.demo.pair()
    nets = {
        (rule, k): ken.prune(pair.fine_tuned, pair.pretrained, k, rule=rule, progress=False)
        for rule in RULES
        for k in SHARES
    }
    print("| rule | " + " | ".join(f"at {k:.2f}" for k in SHARES) + " |\n|---|" + "---|" * len(SHARES))
    for rule in RULES[1:]:
        cells = []
        for k in SHARES:
            common = ken.retention.compare(nets["ken", k], nets[rule, k], pair)
            cells.append(f"{common['both'].sum() / common['retained_a'].sum():.3%}".replace("%", " %"))
        print(f"| `{rule}` | " + " | ".join(cells) + " |")
    print("\n| rule | tails retained | update's energy retained | z of neighbours: median | smallest | largest |")
    print("|---|---|---|---|---|---|")
    for rule in RULES:
        table = ken.retention.table(nets[rule, 0.5], pair)
        table = table[table["rows"] > 1]
        tails, energy = (
            f"{100 * table[part].sum() / table[whole].sum():.1f} %"
            for part, whole in (("tails_retained", "tails"), ("energy_retained", "energy"))
        )
        z = table["neighbours_z"]
        numbers = " | ".join(f"{value:.1f}".replace("-", "−") for value in (z.median(), z.min(), z.max()))
        print(f"| `{rule}` | {tails} | {energy} | {numbers} |")


if __name__ == "__main__":
    main()
