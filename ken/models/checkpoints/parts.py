"""Folders of several models that belong together: pipelines of diffusers, and models of sentence-transformers.

model_index.json  ──►  unet/, vae/, text_encoder/ …        names begin with the part: unet.conv_in.weight
modules.json      ──►  the transformer, plain names; 2_Dense/ …     2_Dense.linear.weight

What has no weights, a tokenizer or a scheduler, belongs to the files that come along.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from ken.errors import PairingError
from ken.models.checkpoints.other_files import module_paths, plain
from ken.models.checkpoints.weight_sets import has_weights, read_json

PIPELINE = "model_index.json"


class Part(NamedTuple):
    """The weights in a folder below, or (no path) in the folder itself, and what their names begin with."""

    path: str = ""
    prefix: str = ""


def parts_of(folder: Path) -> tuple[list[Part], tuple[str, ...]]:
    """The parts of a model that have weights, and sentences about those that are not there.

    A folder that is of no such kind is one part, whether there are weights in it or not.

    >>> parts_of(Path("no such folder"))
    ([Part(path='', prefix='')], ())
    """
    if (folder / PIPELINE).is_file():
        return _pipeline(folder)
    modules = [path for path in module_paths(folder) if has_weights(folder, path)]
    if not modules:
        return [Part()], ()
    # The transformer is the first of them; its plain names are those of the model that it came from.
    main, *others = modules
    return [Part(main), *(Part(path, f"{path.replace('/', '.')}.") for path in others)], ()


def _pipeline(folder: Path) -> tuple[list[Part], tuple[str, ...]]:
    """The parts that a pipeline names; those without weights (tokenizer, scheduler) are files that come along."""
    named = pipeline_parts(folder)
    absent = [name for name in named if not (folder / name).is_dir()]
    parts = [Part(name, f"{name}.") for name in named if has_weights(folder, name)]
    if not parts:
        raise PairingError(
            f"{folder / PIPELINE} names {', '.join(named) or 'no parts'}, and none of them has weights; get the whole "
            "pipeline again"
        )
    notes = [f"{PIPELINE} names {', '.join(absent)}, which is not there"] if absent else []
    return parts, tuple(notes)


def pipeline_parts(folder: Path) -> list[str]:
    """The parts that a pipeline of diffusers names; none if the folder is of another kind."""
    return list(_named(folder)) if (folder / PIPELINE).is_file() else []


def _named(folder: Path) -> Iterator[str]:
    for name, part in read_json(folder, PIPELINE).items():
        # Settings beside are no lists of two; a part that was left out has no library and no class.
        if name.startswith("_") or not isinstance(part, list) or len(part) != 2 or None in part:
            continue
        if not plain(name):
            raise PairingError(f"{folder / PIPELINE} names {name!r}, which is not the name of a folder in its folder")
        yield name
