"""One table of what everything takes, beside the plain way to do it and beside its floor: `make benchmark`.

Usage: python benchmarks/benchmark.py [--rounds N] [--only BATCH ...] [--large] [--fresh] [--write] [--folder DIR]

Medians of at least five rounds, wall time and processor time, the most memory, the date and the machine. Lines are kept
as they are measured, in the folder (default: build/benchmark, with the models that are made for it), so that an
interrupted run goes on where it was; another commit or number of rounds begins anew. --write puts the table into
docs/performance-table.csv and docs/performance.md. --large adds models of 3.4 GB and 16 GB each (45 GB of disk).
"""

import argparse
import os
import subprocess
import sys
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", str(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1))

from marked_pages import with_part
from whole import page, prune_rows, rule_rows, stage_rows, start_rows, use_rows
from whole.lines import Kept, Setting, from_csv, to_csv
from whole.machine import machine

from ken.storage.atomic_files import write_text

ROOT = Path(__file__).resolve().parent.parent
TABLE, PAGE = ROOT / "docs" / "performance-table.csv", ROOT / "docs" / "performance.md"
BATCHES = {
    "rules": rule_rows.measure,
    "prune": prune_rows.minilm,
    "prune-bert": prune_rows.bert,
    "stages": stage_rows.measure,
    "help": start_rows.help_text,
    "first": start_rows.first_call,
    "tensors": start_rows.tensors,
    "use": use_rows.minilm,
    "use-small": use_rows.small,
}
LARGE = {"prune-bloom": prune_rows.bloom, "explore-llama": use_rows.llama, "prune-llama": prune_rows.llama}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5, help="samples of every median (default 5; 1 for a quick look)")
    parser.add_argument("--only", nargs="+", choices=[*BATCHES, *LARGE], metavar="BATCH", help=", ".join(BATCHES))
    parser.add_argument("--large", action="store_true")
    parser.add_argument("--fresh", action="store_true", help="measure again what is there already")
    parser.add_argument("--write", action="store_true", help="put the table into the documentation")
    parser.add_argument("--folder", type=Path, default=ROOT / "build" / "benchmark")
    options = parser.parse_args()
    folder = options.folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    kept = Kept(folder / "lines.jsonl", {"rounds": options.rounds, "commit": commit()})
    if options.fresh:
        kept.path.unlink(missing_ok=True)
    computer = kept.begin(machine(folder))
    setting = Setting(options.rounds, folder, machine=computer, large=options.large)
    batches = BATCHES | (LARGE if options.large else {})
    for name in options.only or batches:
        if name in kept.batches():
            continue
        for line in kept.measure(name, (BATCHES | LARGE)[name], setting):
            print(f"{line.group}: {line.name}: {line.wall:.3g} {line.unit}", file=sys.stderr, flush=True)
    measured = kept.batches()
    lines = by_group(line for name in BATCHES | LARGE for line in measured.get(name, []))
    print(page.text(computer, lines))
    if options.write:
        table = to_csv(computer, lines)
        write_text(TABLE, table)
        write_page(*from_csv(table))  # of the digits that are in the file


def by_group(lines):
    """Groups in the order in which they begin, each whole."""
    lines = list(lines)
    return [line for group in dict.fromkeys(one.group for one in lines) for line in lines if line.group == group]


def write_page(computer, lines) -> None:
    text = PAGE.read_text(encoding="utf-8")
    write_text(PAGE, with_part(text, "performance", page.markdown(computer, lines), command="make benchmark"))


def commit() -> str:
    """What is measured: the last commit that changed the packages; "+" stands for what is not committed."""

    def git(*words: str) -> str:
        command = ["git", "-C", str(ROOT), *words, "--", "ken", "kenviz"]
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()

    return git("log", "-1", "--format=%h") + ("+" if git("status", "--porcelain") else "")


if __name__ == "__main__":
    main()
