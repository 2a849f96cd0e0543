"""Rules and scopes on three tasks: the second table of docs/evidence.md, docs/evidence-scopes.csv.

Usage: python benchmarks/evidence_scopes.py [--data FOLDER] [--results DIR] [--out DIR] [--pages] [--quick]

Every arm (`scope_statistics.ARMS`) at every share, on the demo task and, where `--data` names the folder that has their
texts (`standard_tasks`), on Reuters R8 and 20 Newsgroups. Every result is on the disk at once; the same command again
goes on where it was. The table is made of what is there, so that an interrupted run has one too: `--pages` evaluates
nothing, and writes tables and pages anew. `--quick` tries everything out on 200 texts.
"""

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import scope_pages
import standard_tasks
from arm_sweeps import by_arm, sweep_arms
from scope_statistics import ARMS, from_csv, table, to_csv

import ken
from ken.evaluation.docstring_task import TASK_VERSION
from ken.storage.atomic_files import write_text

DOCS = Path(__file__).resolve().parent.parent / "docs"
KS, SEEDS, TEXTS = (0.25, 0.1, 0.5, 0.05), (0,), 2000  # shares in the order in which they are measured
DEMO = "demo task"
TASKS = {"demo": DEMO, "r8": "R8", "20-newsgroups": "20 Newsgroups"}


class Run(NamedTuple):
    """One fine-tuning of a task, what it is measured on, and the file of its results."""

    pair: Any
    evaluation: str
    file: Path


def run(name: str, tuning: int, data: Path | None, results: Path, texts: int | None) -> Run:
    """A fine-tuning, which is made, or taken from the cache. texts are how many are measured at most."""
    task = TASKS[name]
    if task == DEMO:
        pair, number, told = ken.demo.pair(seed=tuning), texts or TEXTS, f"docstring task {TASK_VERSION}"
        key = pair.fine_tuned_path.parent.name
    else:
        pair, number, told = standard_tasks.pair(task, data, seed=tuning), texts, f"{task}, test split"
        key = pair.path.parent.name
    pair = replace(pair, texts=pair.texts[:number], labels=pair.labels[:number])
    end = "" if texts is None else "-quick"
    return Run(pair, f"{told}, {len(pair.texts)} texts", results / f"scopes-{name}-{tuning}-{key[:12]}{end}.jsonl")


def files_there(results: Path, *, quick: bool) -> dict[tuple[str, int], Path]:
    """The files of results by task and fine-tuning. Raises `ValueError` if there are two of one."""
    files: dict[tuple[str, int], Path] = {}
    for name, task in TASKS.items():
        for file in sorted(results.glob(f"scopes-{name}-[0-9]-*.jsonl")):
            if file.stem.endswith("-quick") != quick:
                continue
            tuning = int(file.name.removeprefix(f"scopes-{name}-")[0])
            if (task, tuning) in files:
                both = f"{files[task, tuning].name} and {file.name}"
                raise ValueError(f"{results} has two files of one fine-tuning: {both}; remove the older one")
            files[task, tuning] = file
    return files


def collected(files: dict[tuple[str, int], Path]) -> dict[Any, dict[int, np.ndarray]]:
    """Outcomes of the files that are there, by task and fine-tuning: what `scope_statistics.table` takes.

    A share at which an arm that draws has fewer seeds than at others was interrupted, and is left out.
    """
    outcomes: dict[Any, dict[int, np.ndarray]] = {}
    for (task, tuning), file in files.items():
        lines = by_arm(file) if file.exists() else {}
        most = {arm: max(len(found) for (other, _), found in lines.items() if other == arm) for arm, _ in lines}
        for (arm, k), found in lines.items():
            if len(found) == most[arm]:
                outcomes.setdefault((task, arm, k), {})[tuning] = np.array([line.outcomes for line in found], bool)
    return outcomes


def measure(options: argparse.Namespace) -> None:
    """Share by share, task by task: whenever this is interrupted, all tasks have come about as far."""
    texts = 200 if options.quick else None
    names = [name for name in TASKS if options.data is not None or name == "demo"]
    if len(names) < len(TASKS):
        print(
            "R8 and 20 Newsgroups are left out: --data names no folder with their texts (standard_tasks.py says more)"
        )
    passes = [[(name, 0) for name in names], [] if options.quick else [("demo", 1), ("demo", 2)]]
    for tunings in passes:
        for k in KS[:2] if options.quick else KS:
            for name, tuning in tunings:
                one = run(name, tuning, options.data, options.results, texts)
                print(f"{TASKS[name]}, fine-tuning {tuning}, share {k}: unpruned {one.pair.evaluation}", flush=True)
                sweep_arms(
                    one.pair,
                    ARMS,
                    (k,),
                    evaluate=one.pair.evaluate,
                    seeds=SEEDS,
                    evaluation=one.evaluation,
                    results=one.file,
                )


def main(options: argparse.Namespace) -> None:
    for folder in (options.results, options.out):
        folder.mkdir(parents=True, exist_ok=True)
    if not options.pages:
        measure(options)
    csv = to_csv(table(collected(files_there(options.results, quick=options.quick))))
    write_text(options.out / "evidence-scopes.csv", csv)
    scope_pages.write(DOCS, options.out)
    print(
        f"{scope_pages.markdown(from_csv(csv))}\nwritten: evidence-scopes.csv and what is made of it, in {options.out}"
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, help="folder with the texts of R8 and 20 Newsgroups (standard_tasks.py)")
    parser.add_argument("--results", type=Path, default=ken.demo.cache_directory() / "evidence", help="result files")
    parser.add_argument("--out", type=Path, help="where tables and pages go; docs/ unless --quick")
    parser.add_argument("--pages", action="store_true", help="evaluate nothing; write tables and pages anew")
    parser.add_argument("--quick", action="store_true", help="try it out on 200 texts")
    options = parser.parse_args()
    options.out = options.out or (options.results / "quick" if options.quick else DOCS)
    main(options)
