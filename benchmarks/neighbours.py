"""What the NeighbourView takes in Python: counting a whole mask once, chance, and the tiles of some zooms.

    python benchmarks/neighbours.py [--rounds 15]

Random masks of the two sizes that the views are measured at, half of the entries retained, read from packed bits as
a subnetwork holds them. Memory is what is kept, beside what the mask would take at a byte an entry.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import numpy as np

from ken.retention.statistics import chance, expected_neighbours
from kenviz.tiles.neighbour_tiles import Neighbours

SHAPES = ((30_522, 384), (250_880, 2_048))


def milliseconds(act: Callable[[], object], rounds: int) -> float:
    """The median of some rounds."""
    times = []
    for _ in range(rounds):
        begun = time.perf_counter()
        act()
        times.append(1000 * (time.perf_counter() - begun))
    return statistics.median(times)


def main(rounds: int) -> None:
    print(
        "| mask | counted once, ms | chance, ms | whole | 4,000 rows | 400 × 400 | all rows of 10 columns | kept, MB |"
    )
    print("|---|---|---|---|---|---|---|---|")
    for shape in SHAPES:
        size, n = shape
        bits = np.random.default_rng(0).integers(0, 256, size * n // 8, dtype=np.uint8)  # n is a multiple of 8 here

        def read(rows: slice, bits: np.ndarray = bits, n: int = n) -> np.ndarray:
            return np.unpackbits(bits[rows.start * n // 8 : rows.stop * n // 8]).view(np.bool_).reshape(-1, n)

        begun = time.perf_counter()
        neighbours = Neighbours(shape, read)
        counted = 1000 * (time.perf_counter() - begun)
        by_chance = milliseconds(
            lambda neighbours=neighbours, n=n: (
                expected_neighbours(neighbours.retained, n),
                chance(neighbours.retained, n),
            ),
            3,
        )
        parts = [((0, size), (0, n)), ((9000, 13_000), (0, n)), ((9000, 9400), (0, 400)), ((0, size), (5, 15))]
        zooms = [
            milliseconds(lambda neighbours=neighbours, part=part: neighbours.tiles(*part), rounds) for part in parts
        ]
        kept = f"{neighbours.nbytes / 1e6:.0f} of {size * n / 1e6:.0f}"
        cells = [f"{size:,} × {n:,}", *(f"{value:.1f}" for value in (counted, by_chance, *zooms)), kept]
        print(f"| {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15)
    main(parser.parse_args().rounds)
