"""How time and memory grow with entries, the length of rows, k and threads; writes docs/scaling.csv, .png and the page.

Usage: python benchmarks/scaling.py [--rounds N] [--large] [--write] [--folder DIR]

Against entries, a pair in bfloat16 goes from disk to a file: 1 to 64 million entries, with --large to 2,048 million (17
GB of disk, made here and deleted after). Against the rest, 4 million entries in float32 are pruned in memory. Medians
(beyond 64 million entries one run), each in a process of its own, its start not counted. Points are kept in the folder
(default: build/scaling) until they are measured with another commit or number of rounds.
"""

import argparse
import json
import os
import shutil
import sys
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import large
import torch
from benchmark import PAGE, commit
from marked_pages import with_part
from scaling_page import FIGURE, TABLE, figure, from_csv, markdown, to_csv
from whole.machine import machine
from whole.measuring import Watch, inside, median

from ken.models.checkpoints.safetensors_file import Writer, stored_dtype
from ken.storage.atomic_files import replacing, write_text

MILLION = 1 << 20
ENTRIES, MORE = (1, 2, 4, 8, 16, 32, 64), (128, 256, 512, 1024, 2048)
LENGTHS = (128, 256, 512, 1024, 2048, 4096, 8192, 16384)
SHARES = (0.01, 0.1, 0.25, 0.5, 0.75, 0.9, 0.99)
TENSOR = (4096, 1024)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--large", action="store_true")
    parser.add_argument("--write", action="store_true", help="put all into the documentation")
    parser.add_argument("--folder", type=Path, default=PAGE.parent.parent / "build" / "scaling")
    options = parser.parse_args()
    folder = options.folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    kept = folder / f"points-{commit()}-{options.rounds}.jsonl"
    points = [json.loads(line) for line in kept.read_text().splitlines()] if kept.exists() else []
    known = {(point["series"], point["x"]) for point in points}
    for series, x, act in everything(folder, options.rounds, options.large):
        if (series, x) in known:
            continue
        points.append(measured(series, x, act))
        with kept.open("a", encoding="utf-8") as file:
            file.write(json.dumps(points[-1]) + "\n")
        print(points[-1], file=sys.stderr, flush=True)
    computer = machine(folder)
    points.sort(key=lambda point: (point["series"], point["x"]))
    table = to_csv(computer, points)
    text = markdown(*from_csv(table))  # of the digits that are in the file
    print(text)
    if options.write:
        write_text(TABLE, table)
        with replacing(FIGURE) as file:
            figure(points).savefig(file, format="png", dpi=150)
        page = PAGE.read_text(encoding="utf-8")
        write_text(PAGE, with_part(page, "scaling", text, command="make scaling"))


def everything(folder: Path, rounds: int, more: bool):
    """(series, place on its axis, what measures it)."""
    for millions in ENTRIES:
        yield "entries", millions * MILLION, lambda m=millions: from_disk(folder, m * MILLION, rounds)
    for millions in MORE if more else ():
        yield "entries", millions * MILLION, lambda m=millions: from_disk(folder, m * MILLION, 1)
    for n in LENGTHS:
        yield "n", n, lambda n=n: in_memory(rounds, n=n)
    for share in SHARES:
        yield "k", round(share * 1024), lambda share=share: in_memory(rounds, share=share)
    for threads in range(1, len(os.sched_getaffinity(0)) + 1):
        yield "threads", threads, lambda threads=threads: in_memory(rounds, cores=threads)


def measured(series: str, x: int, act) -> dict:
    watch = Watch()
    sample = act()
    return {
        "series": series,
        "x": x,
        "wall": sample.wall,
        "cpu": sample.cpu,
        "peak": sample.peak,
        "others": watch.others(),
    }


def in_memory(rounds: int, *, n: int = 1024, share: float = 0.5, cores: int = 1):
    return median(
        inside("scaling", rounds, cores=cores, entries=4 * MILLION, n=n, share=share, dtype="float32")["prune"]
    )


def from_disk(folder: Path, entries: int, rounds: int):
    place = folder / "pair"
    shutil.rmtree(place, ignore_errors=True)
    try:
        paths = {name: str(pair_file(place, name, entries)) for name in ("fine_tuned", "pretrained")}
        return median(inside("prune", rounds, cores=1, **paths)["prune"])
    finally:
        shutil.rmtree(place, ignore_errors=True)


def pair_file(folder: Path, name: str, entries: int) -> Path:
    """A file of one model, in tensors of 4 million entries, the last maybe smaller."""
    rows, n = TENSOR
    shapes = {
        f"layer.{number}.weight": (min(rows, (entries - start) // n), n)
        for number, start in enumerate(range(0, entries, rows * n))
    }
    path = folder / name / "model.safetensors"
    path.parent.mkdir(parents=True)
    with path.open("wb") as file:
        writer = Writer(file, shapes, {"format": "pt"})
        for number, (tensor, shape) in enumerate(shapes.items()):
            stretches = large.values(0, number, shape[0] * n, fine_tuned=name == "fine_tuned")
            parts = (stretch.view(torch.uint8).numpy().data for stretch in stretches)
            writer.add(tensor, stored_dtype(torch.bfloat16), shape, parts=parts)
        writer.finish({"format": "pt"})
    return path


if __name__ == "__main__":
    main()
