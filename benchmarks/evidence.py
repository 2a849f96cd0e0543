"""What each rule costs, at each share, on the demo task: the table and the figure of docs/evidence.md.

Usage: python benchmarks/evidence.py [--results DIR] [--out DIR] [--quick]

Fine-tunes MiniLM with three seeds (the demo pair is the first), prunes each with every rule at nine shares, the rules
that draw at random with five seeds, and counts which of 2,000 held-out texts are labelled correctly: 492 models. Every
result is on the disk at once, in one file for each fine-tuning; the same command again goes on where it was.
`--quick` tries everything out: one fine-tuning, two shares, two seeds, 200 texts, and nothing under docs/ is changed.
"""

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
from evidence_page import figure, markdown, with_generated, write_png
from evidence_statistics import PRETRAINED, RULES, UNPRUNED, Outcomes, from_csv, table, to_csv

import ken
from ken.evaluation.docstring_task import TASK_VERSION
from ken.storage.atomic_files import write_text

DOCS = Path(__file__).resolve().parent.parent / "docs"
SHARES = (0.9, 0.75, 0.5, 0.35, 0.25, 0.15, 0.1, 0.05, 0.02)


def collected(files: Sequence[Path], ks: Sequence[float], seeds: Sequence[int]) -> Outcomes:
    """The outcomes of files of results, one for each fine-tuning: (fine-tunings, seeds, texts) by rule and k.

    A rule that does not draw has one seed. Raises `ValueError` if anything is missing.
    """
    by_file = []
    for path in files:
        table = ken.results.read(path)
        by_file.append(
            {
                (line.model, line.rule, line.on, None if pd.isna(line.k) else line.k, line.seed): line.outcomes
                for line in table[table["repeat"] == 0].itertuples()
            }
        )

    def stacked(model: str, rule: str, on: str, k: float | None) -> np.ndarray:
        lines = []
        for path, lookup in zip(files, by_file, strict=True):
            key = (model, rule, on, k)
            drawn = [-1] if (*key, -1) in lookup else seeds
            try:
                lines.append([lookup[*key, seed] for seed in drawn])
            except KeyError as error:
                raise ValueError(f"{path} has no result of {error.args[0]}") from error
        return np.array(lines, bool)

    outcomes = {(rule, k): stacked("pruned", rule.name, rule.on, k) for rule in RULES for k in ks}
    outcomes[UNPRUNED, 1.0] = stacked("fine-tuned", "", "", None)
    outcomes[PRETRAINED, 0.0] = stacked("pretrained", "", "", None)
    return outcomes


def main(results: Path, out: Path, quick: bool) -> None:
    tunings, ks, seeds, texts = ((0,), (0.5, 0.1), (0, 1), 200) if quick else ((0, 1, 2), SHARES, range(5), 2000)
    results.mkdir(parents=True, exist_ok=True)
    out.mkdir(parents=True, exist_ok=True)
    files = []
    for tuning in tunings:
        print(f"fine-tuning {tuning + 1} of {len(tunings)}", flush=True)
        pair = ken.demo.pair(seed=tuning)
        name = f"seed-{tuning}-{pair.fine_tuned_path.parent.name[:12]}"
        files.append(results / f"{name}{'-quick' if quick else ''}.jsonl")
        ken.sweep(
            pair,
            ks,
            list(dict.fromkeys(rule.name for rule in RULES)),
            evaluate=replace(pair, texts=pair.texts[:texts], labels=pair.labels[:texts]).evaluate,
            on=("weights", "update"),
            seeds=seeds,
            evaluation=f"docstring task {TASK_VERSION}, {texts} held-out texts",
            results=files[-1],
        )
    csv = to_csv(table(collected(files, ks, seeds), ks))
    measured = from_csv(csv)
    page = with_generated((DOCS / "evidence.md").read_text(encoding="utf-8"), markdown(measured))
    write_text(out / "evidence-table.csv", csv)
    write_text(out / "evidence.md", page)
    write_png(figure(measured), out / "evidence.png")
    files = ", ".join(f"evidence{end}" for end in ("-table.csv", ".md", ".png"))
    print(f"{markdown(measured)}\nwritten: {files} in {out}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--results", type=Path, default=ken.demo.cache_directory() / "evidence", help="files of results"
    )
    parser.add_argument("--out", type=Path, help="where the table, the page and the figure go; docs/ unless --quick")
    parser.add_argument("--quick", action="store_true", help="try it out; writes beside the results")
    options = parser.parse_args()
    main(options.results, options.out or (options.results / "quick" if options.quick else DOCS), options.quick)
