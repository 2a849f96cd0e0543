"""What docs/evidence.md and docs/audit.md say of the tables of `evidence_scopes.py`, and the writing of both pages."""

from __future__ import annotations

from pathlib import Path

import audit_pages
import evidence_page
import pandas as pd
from equivalence import LEVEL, equivalence
from evidence_statistics import COMPARISONS as FIRST_COMPARISONS
from evidence_statistics import MARGIN, Estimate, holm
from evidence_statistics import from_csv as first_from_csv
from marked_pages import head, row, signed, with_part
from scope_statistics import ARMS, COMPARISONS, PRETRAINED, UNPRUNED, from_csv, one

from ken.storage.atomic_files import write_text

LEGEND = (
    "Bold: not 0 even when all {} comparisons here are judged together (Holm, 5 %). ≈: surely within {:g} point, by "
    "two one-sided tests, judged together likewise. Both: a difference that is there, and is smaller than that. "
    "Neither: open."
)


def parts(folder: Path) -> dict[str, dict[str, str]]:
    """By page and name, the parts whose tables are in a folder."""
    made: dict[str, dict[str, str]] = {"evidence.md": {}, "audit.md": {}}
    first, scopes, fidelity, overlap = (
        folder / name
        for name in ("evidence-table.csv", "evidence-scopes.csv", "evidence-fidelity.csv", "audit-overlap.csv")
    )
    first_table = with_equivalence(first_from_csv(first.read_text(encoding="utf-8"))) if first.exists() else None
    if first_table is not None:
        made["evidence.md"]["equivalence"] = equivalence_table(first_table)
    if scopes.exists():
        table = from_csv(scopes.read_text(encoding="utf-8"))
        made["evidence.md"]["scopes"] = markdown(table)
        if first_table is not None:
            made["audit.md"]["chance"] = audit_pages.against_chance(first_table, table)
    if fidelity.exists():
        made["evidence.md"]["fidelity"] = audit_pages.fidelity_table(
            pd.read_csv(fidelity, dtype={"on": str, "scope": str})
        )
    if overlap.exists():
        made["audit.md"]["overlap"] = audit_pages.overlap_table(pd.read_csv(overlap))
    return made


def write(docs: Path, out: Path) -> None:
    """Both pages of docs with the parts whose tables are in out, written to out."""
    for name, found in parts(out).items():
        source = out / name if (out / name).exists() else docs / name
        page = source.read_text(encoding="utf-8")
        for part, text in found.items():
            page = with_part(page, part, text)
        write_text(out / name, page)


def markdown(table: pd.DataFrame) -> str:
    """Accuracy of every arm, and the comparisons, task by task."""
    comparisons = int((table["quantity"] == "comparison").sum())
    lines: list[str] = [LEGEND.format(comparisons, 100 * MARGIN)]
    for task in dict.fromkeys(table["task"]):
        of_task = table[table["task"] == task]
        ks = sorted({k for k in of_task["k"] if 0 < k < 1}, reverse=True)
        heads = [f"{k:.2f}" for k in ks]
        bounds = {arm: one(table, task, "accuracy", arm, k=k) for arm, k in ((UNPRUNED, 1.0), (PRETRAINED, 0.0))}
        most = of_task[["fine_tunings", "seeds", "texts"]].max()
        least = of_task.loc[of_task["quantity"] == "accuracy", "fine_tunings"].min()
        tunings = f"{most.fine_tunings}" if least == most.fine_tunings else f"{least} to {most.fine_tunings}"
        lines += [
            "",
            f"### {task[0].upper()}{task[1:]}",
            "",
            f"Fine-tunings: {tunings}. Seeds of `random`: {most.seeds}. Texts: {most.texts:,}. "
            f"Unpruned: {_accuracy(bounds[UNPRUNED])} %. "
            f"Pretrained body with the fine-tuned head: {_accuracy(bounds[PRETRAINED])} %.",
            "",
            "**Accuracy in percent**, mean and 95 % interval, by the share that is retained:",
            "",
            *head("rule", heads),
        ]
        for arm in ARMS:
            found = [one(table, task, "accuracy", arm, k=k) for k in ks]
            if any(line is not None for line in found):
                lines.append(row(arm.label, [_accuracy(line) for line in found]))
        lines += ["", "**Differences in points**, paired, with 95 % intervals:", "", *head("", heads)]
        for (arm, against), question in COMPARISONS.items():
            found = [one(table, task, "comparison", arm, k=k, against=against) for k in ks]
            if any(line is not None for line in found):
                lines.append(row(f"{arm.label} − {against.label}: {question}", [points(line) for line in found]))
    return "\n".join(lines) + "\n"


def with_equivalence(table: pd.DataFrame) -> pd.DataFrame:
    """The table of `evidence.py` with the p-values of equivalence of its comparisons, computed from its numbers."""
    chosen = table["quantity"] == "comparison"
    made = table[chosen].copy()
    made["p_equivalent"] = [
        equivalence(
            Estimate(
                line.estimate,
                line.low,
                line.high,
                (line.error_fine_tunings, line.error_seeds, line.error_texts),
                line.df,
                line.p,
            ),
            (line.fine_tunings, line.seeds, line.texts),
        )
        for line in made.itertuples()
    ]
    made["p_equivalent_holm"] = holm(made["p_equivalent"].to_numpy())
    return made


def equivalence_table(table: pd.DataFrame) -> str:
    """The comparisons of the first table, asked the other way round."""
    ks = sorted(set(table["k"]), reverse=True)
    lines = [LEGEND.format(len(table), 100 * MARGIN), "", *head("", [f"{k:.2f}" for k in ks])]
    for rule, against in FIRST_COMPARISONS:
        cells = [points(evidence_page.line_of(table, "comparison", rule, k, against)) for k in ks]
        lines.append(row(f"`{rule.label}` − `{against.label}`", cells))
    return "\n".join(lines) + "\n"


def points(line: pd.Series | None) -> str:
    """A difference with its interval, and both verdicts."""
    if line is None:
        return "not run"
    text = f"{signed(100 * line['estimate'])} ± {50 * (line['high'] - line['low']):.1f}"
    text = f"**{text}**" if line["p_holm"] < LEVEL else text
    return f"{text} ≈" if line["p_equivalent_holm"] < LEVEL else text


def _accuracy(line: pd.Series | None) -> str:
    return "not run" if line is None else f"{100 * line['estimate']:.1f} ± {50 * (line['high'] - line['low']):.1f}"
