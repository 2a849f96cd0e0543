"""The plan itself: parts by number, made from headers, and made again from its description in other processes."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any

from ken.errors import PartsError, RuleError
from ken.models.checkpoints.as_data import source_as_data, source_of
from ken.models.checkpoints.checkpoint import Checkpoint
from ken.models.named_tables import named_table
from ken.models.tensors.tensor_bytes import dtype_name, new_digest
from ken.pruning.making import Making
from ken.pruning.opening import opened
from ken.pruning.parts import description as descriptions
from ken.pruning.parts.packing import Packing, Piece, Work, usual_parts
from ken.subnetwork.extract import stretch_of

if TYPE_CHECKING:
    import pandas as pd


#: What a digest of a plan begins with: raised when the same headers give other parts.
_VERSION = 1


class PlannedParts:
    """A pruning in parts, by number from 1 on. What a part has to do is worked out when it is asked for.

    pruning is the opened pair; description is the plan as plain data, and digest stands for it.
    """

    def __init__(self, pruning: Making, description: Mapping[str, Any]) -> None:
        self.pruning = pruning
        self._packing = Packing(list(_works(pruning)), description["parts"])
        self.digest = _digest(pruning, self._packing.works, description)
        self.description: dict[str, Any] = {**description, "digest": self.digest}

    def __len__(self) -> int:
        """How many parts there are."""
        return len(self._packing)

    def works(self, index: int) -> list[tuple[Work, Piece]]:
        """What a part reads: tensors, and the span of entries of each."""
        self.check(index)
        return [(self._packing.works[piece.place], piece) for piece in self._packing.pieces(index)]

    def check(self, index: int) -> None:
        """Raise `PartsError` if there is no such part."""
        if isinstance(index, bool) or not isinstance(index, int) or not 1 <= index <= len(self):
            raise PartsError(f"parts are counted from 1 to {len(self)}, got {index!r}")

    def name(self, index: int) -> str:
        """The name of the file of a part."""
        return part_name(index, len(self), self.digest)

    def table(self) -> pd.DataFrame:
        """The parts as a table.

        Returns:
            A row for every part, by its number: tensors, how many of them are split (the join reads those once more),
            entries that are decided about or carried, and bytes that are read of both models.
        """
        split = {work.name for work in self._packing.split()}
        lines = []
        for index in range(1, len(self) + 1):
            works = self.works(index)
            lines.append(
                (
                    index,
                    len(works),
                    len({work.name for work, _ in works} & split),
                    sum(min(piece.stop, work.entries) - min(piece.start, work.entries) for work, piece in works),
                    sum(work.bytes_in(piece.start, piece.stop) for work, piece in works),
                )
            )
        return named_table(lines, ["part", "tensors", "split", "entries", "bytes"]).set_index("part")

    @property
    def read_again(self) -> int:
        """Bytes of both models that the join reads: those of tensors in several parts."""
        return sum(work.bytes for work in self._packing.split())

    def __repr__(self) -> str:
        total = sum(work.bytes for work in self._packing.works)
        return f"PartPlan({len(self)} parts, {total:,} bytes to read, digest {self.digest[:12]})"


def prepared(
    fine_tuned: Any, pretrained: Any, settings: Mapping[str, Any], *, parts: int, models: Mapping[str, Any]
) -> tuple[Making, dict[str, Any]]:
    """What a plan is made of, for two models, which `models` has as plain data."""
    if settings["scope"] != "row":
        raise RuleError(
            f"parts are decided about by themselves, and with scope={settings['scope']!r} rows share their budget: "
            "take scope='row', or prune on one machine (ken.prune, ken prune without --part)"
        )
    pruning = Making(opened(fine_tuned, pretrained, **settings), progress=False)
    recipe = descriptions.recipe_as_data(pruning.prepared.recipe)
    return pruning, {**models, "recipe": recipe, "raw": bool(settings["raw"]), "parts": parts}


def usual_number(pruning: Making) -> int:
    """How many parts there are if nobody says."""
    return usual_parts(list(_works(pruning)))


def plan_of(description: Mapping[str, Any], fine_tuned: Any = None, pretrained: Any = None) -> PlannedParts:
    """The plan that was described, made again. Raises `PartsError` if the headers or versions here are others.

    The models may lie elsewhere by now: then they are given.
    """
    settings = descriptions.settings_of(description)
    models = {"fine_tuned": fine_tuned, "pretrained": pretrained}
    models = {
        name: description.get(name) if source is None else source_as_data(source, f"the model {name}")
        for name, source in models.items()
    }
    fine_tuned = source_of(models["fine_tuned"]) if fine_tuned is None else fine_tuned
    pretrained = source_of(models["pretrained"]) if pretrained is None else pretrained
    plan = PlannedParts(*prepared(fine_tuned, pretrained, settings, parts=description["parts"], models=models))
    if plan.digest != description["digest"]:
        before, here = description["recipe"]["versions"], plan.pruning.prepared.recipe.versions
        others = [f"{name} {before.get(name)} (here {here[name]})" for name in here if before.get(name) != here[name]]
        because = f"it was made with {', '.join(others)}" if others else "the models here have other tensors"
        raise PartsError(f"the plan {description['digest'][:12]} cannot be gone on with here: {because}")
    return plan


def part_name(index: int, parts: int, digest: str) -> str:
    """The name of the file of a part.

    >>> part_name(7, 64, "0123456789abcdef0123456789abcdef")
    'part-00007-of-00064-0123456789ab.kenpart'
    """
    return f"part-{index:05}-of-{parts:05}-{digest[:12]}.kenpart"


def plan_name(digest: str) -> str:
    """The name of the file in which a plan is described, beside its parts.

    >>> plan_name("0123456789abcdef0123456789abcdef")
    'plan-0123456789ab.json'
    """
    return f"plan-{digest[:12]}.json"


def _works(pruning: Making) -> Iterator[Work]:
    """All that is to be read: fine-tuned tensors with their counterparts, then pretrained ones for fingerprints."""
    pairing = pruning.prepared.pairing
    fine_tuned, pretrained, names = pairing.fine_tuned, pairing.pretrained, pairing.names
    for name, reason in pruning.prepared.reasons.items():
        tensor, other = fine_tuned.tensors[name], names[name]
        base = (0, 0)
        if other is not None:
            base = pretrained.tensors[other].numel(), pretrained.tensors[other].dtype.itemsize
        step = 0 if reason else stretch_of(pruning.prepared.tensors[name].rows[1])
        yield Work(name, tensor.numel(), tensor.dtype.itemsize, *base, step=step)
    for name in only_read(pruning):
        tensor = pretrained.tensors[name]
        yield Work(name, 0, 0, base_entries=tensor.numel(), base_width=tensor.dtype.itemsize)


def only_read(pruning: Making) -> list[str]:
    """Pretrained tensors that nothing is paired with: the fingerprint of the whole model covers them."""
    pairing = pruning.prepared.pairing
    paired = {*pairing.names.values()}
    alone = [name for name in pairing.pretrained.tensors if name not in pairing.pretrained.tied and name not in paired]
    return list(dict.fromkeys([*alone, *(name for name in pairing.lacking.values() if name not in paired)]))


def _digest(pruning: Making, works: Sequence[Work], description: Mapping[str, Any]) -> str:
    running = new_digest()
    about = [_VERSION, description["recipe"], description["raw"], description["parts"]]
    pairing = pruning.prepared.pairing
    outlines = (
        [
            name,
            reason,
            pruning.prepared.pairing.cuts.get(name, ""),
            pairing.names[name],
            *_outline(pairing.fine_tuned, name),
        ]
        for name, reason in pruning.prepared.reasons.items()
    )
    others = ([name, *_outline(pairing.pretrained, name)] for name in pairing.pretrained.tensors)
    for line in chain([about], outlines, others, ([*work] for work in works)):
        running.update(json.dumps(line).encode() + b"\n")
    return running.hexdigest()


def _outline(model: Checkpoint, name: str) -> tuple[list[int], str]:
    tensor = model.tensors[name]
    return list(tensor.shape), dtype_name(tensor.dtype)
