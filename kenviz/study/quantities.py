"""What a matrix can be coloured by: the mask, or a quantity that the pair of models gives each entry."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from kenviz.study.study import Study
from kenviz.tiles.pyramid import Lattice, lattice
from kenviz.tiles.tiles import Tiles
from kenviz.tiles.value_tiles import limit, signed


class Quantity(NamedTuple):
    """title: of the control and the scale. words: in a sentence. missing: why an entry has none."""

    title: str
    words: str
    missing: str = "no pretrained value"


#: By the value of `show`. The mask is known to the subnetwork; all else needs both models.
QUANTITIES = {
    "mask": Quantity("mask", "Mask"),
    "retained": Quantity("retained values", "Retained values", "reset"),
    "update": Quantity("update", "Update (fine-tuned less pretrained value)"),
    "sign": Quantity("sign of the update", "Sign of the update"),
    "pretrained": Quantity("pretrained values", "Pretrained values"),
    "fine_tuned": Quantity("fine-tuned values", "Fine-tuned values"),
}

#: Quantities whose scale is the same everywhere, so that nothing is clipped.
FIXED = {"mask", "sign"}


def check(show: str, study: Study, among: Sequence[str] = tuple(QUANTITIES)) -> str:
    """The quantity, as it is; raises `ValueError` if it is not among these, or cannot be known without the models.

    A subnetwork stores retained values relative to the pretrained ones: they are not known without them either.
    """
    if show not in among:
        raise ValueError(f"show must be one of {', '.join(among)}, got {show!r}")
    if show != "mask" and study.pair is None:
        raise ValueError(
            f"show={show!r} needs the pair of models: a subnetwork alone knows the mask, and its retained values only "
            "in relation to the pretrained ones"
        )
    return show


def offered(study: Study) -> list[tuple[str, str]]:
    """What can be shown, as (title, value of show)."""
    return [(quantity.title, show) for show, quantity in QUANTITIES.items() if show == "mask" or study.pair is not None]


def place(
    study: Study, tensor: str, rows: tuple[float, float], columns: tuple[float, float], most: int = 400
) -> Lattice:
    """The tiles of a part of a tensor, at most about so many a side: the same ones for every quantity."""
    return lattice(study.shape(tensor), rows, columns, height=most, width=most)


def tiles(matrices: Sequence[tuple[Study, str]], show: str, at: Lattice, clip: float) -> list[Tiles]:
    """The tiles of a part of each matrix, (study, tensor), all of one shape, on one scale.

    The scale of a signed quantity ends at the quantile `clip` of the absolute tile values that are not 0.
    """
    if show == "mask":
        return [study.look(tensor).over(at) for study, tensor in matrices]
    means = [study.values(tensor, show).means(at) for study, tensor in matrices]
    end = 1.0 if show in FIXED else limit(means, clip)
    return [signed(at, values, end) for values in means]
