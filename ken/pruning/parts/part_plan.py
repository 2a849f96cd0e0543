"""parts: the plan of a pruning in parts, made from the headers of both models alone."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ken.density import NORMAL_REFERENCE
from ken.errors import PartsError, RuleError
from ken.models.checkpoints.checkpoint import Checkpoint
from ken.models.checkpoints.location import Location
from ken.models.named_tables import named_table
from ken.models.pairing.rows import K
from ken.models.tensors.tensor_bytes import dtype_name, new_digest
from ken.pruning.parts import description as descriptions
from ken.pruning.parts.packing import Packing, Piece, Work
from ken.pruning.pruning import Pruning, opened
from ken.subnetwork.extract import stretch_of

if TYPE_CHECKING:
    import pandas as pd

    from ken.models.checkpoints.adapter_names import Adapters
    from ken.pruning.parts.running import PartDone

#: What a digest of a plan begins with: raised when the same headers give other parts.
_VERSION = 1


class PartPlan:
    """A pruning in parts. What a part does is worked out when it is asked for; parts are numbered from 1 on.

    The parts follow from the headers of both models, the recipe (with the versions of what computes it) and the number
    of parts alone, wherever that is worked out; `digest` stands for all of it.

    Attributes:
        description: The plan as plain data, for `ken.run_part` in other processes.
        digest: 32 hexadecimal digits, by which a part is known to be one of this plan.

    Example:
        >>> import tempfile, torch, ken
        >>> from safetensors.torch import save_file
        >>> folder = tempfile.TemporaryDirectory()
        >>> fine_tuned, pretrained = Path(folder.name) / "tuned.safetensors", Path(folder.name) / "base.safetensors"
        >>> save_file({"w": torch.arange(12.0).reshape(3, 4)}, fine_tuned)
        >>> save_file({"w": torch.zeros(3, 4)}, pretrained)
        >>> plan = ken.parts(fine_tuned, pretrained, 2, parts=2)
        >>> len(plan), plan.table()["bytes"].tolist()
        (2, [96, 0])
        >>> for index in (2, 1):
        ...     _ = plan.run(index, Path(folder.name) / "PARTS")
        >>> ken.join(Path(folder.name) / "PARTS", Path(folder.name) / "net.ken.safetensors")
        Subnetwork(rule='ken', k=2: 6 of 12 entries retained; 1 tensors pruned, 0 carried)
        >>> plan.run(1, Path(folder.name) / "PARTS").made
        False
        >>> folder.cleanup()
    """

    def __init__(self, pruning: Pruning, description: Mapping[str, Any]) -> None:
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

    def run(self, index: int, folder: str | Path, *, copies: bool = False, progress: bool = True) -> PartDone:
        """Make a part, unless it is there and whole.

        Args:
            index: Which, from 1 to the number of parts.
            folder: Where the parts lie; it is made if it is not there.
            copies: The models may be copies with dates of their own: a part is not made again because of another date.
            progress: Whether to show a progress bar.

        Returns:
            The number, name and checksum of the part, and whether it was made now.

        Raises:
            PartsError: There is no such part.
            OutputError: The folder lies in one of the models.
            ValuesError: A value is NaN or infinite.
        """
        from ken.pruning.parts.running import run

        return run(self, index, folder, copies=copies, progress=progress)

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


def parts(
    fine_tuned: str | Path | Location | Adapters,
    pretrained: str | Path | Location | None,
    k: K | None = None,
    rule: str = "ken",
    *,
    parts: int,
    seed: int = 0,
    on: str = "weights",
    bandwidth: str | float = NORMAL_REFERENCE,
    kernel: str = "gaussian",
    scope: str = "row",
    rescale: str | None = None,
    include: Sequence[str] = (),
    exclude: Sequence[str] = (),
    layers_only: bool = False,
    rows: Mapping[str, str] | None = None,
    raw: bool = False,
) -> PartPlan:
    """Plan a pruning in parts, to be made by any number of processes on any machines, and joined with `ken.join`.

    The joined file is the one that `ken.prune(out=…)` writes on one machine, byte for byte, whatever the number of
    parts and the order in which they were made.

    Args:
        fine_tuned: A path, a URL or a place on the hub, or an adapter there, as `ken.prune` takes it. Nothing live.
        pretrained: Likewise. None: the base that an adapter or a model card names.
        k: As in `ken.prune`.
        rule: As in `ken.prune`. A rule of one's own must be registered in the processes that make parts, too.
        parts: How many; more than there are rows is no error, some are empty then.
        seed: As in `ken.prune`.
        on: As in `ken.prune`.
        bandwidth: As in `ken.prune`.
        kernel: As in `ken.prune`.
        scope: "row": with another one the parts could not be decided about by themselves.
        rescale: As in `ken.prune`.
        include: As in `ken.prune`.
        exclude: As in `ken.prune`.
        layers_only: As in `ken.prune`.
        rows: As in `ken.prune`.
        raw: As in `ken.prune`.

    Returns:
        The plan; of both models headers have been read.

    Raises:
        PartsError: The number of parts is none.
        RuleError: Rows share their budget, or there is no such rule or setting.
        BudgetError: As in `ken.prune`.
        PairingError: A model is live, or the two do not fit.

    Example:
        ```python
        plan = ken.parts("FINE_TUNED", "PRETRAINED", k=0.5, parts=64)
        plan.run(7, "PARTS")  # and the others, wherever
        net = ken.join("PARTS", "net.ken.safetensors")
        ```
    """
    if isinstance(parts, bool) or not isinstance(parts, int) or parts < 1:
        raise PartsError(f"there must be at least 1 part, got {parts!r}")
    models = {
        "fine_tuned": descriptions.source_as_data(fine_tuned, "the fine-tuned model"),
        "pretrained": descriptions.source_as_data(pretrained, "the pretrained model"),
    }
    settings: dict[str, Any] = {
        "k": k,
        "rule": rule,
        "seed": seed,
        "on": on,
        "bandwidth": bandwidth,
        "kernel": kernel,
        "scope": scope,
        "rescale": rescale,
        "include": include,
        "exclude": exclude,
        "layers_only": layers_only,
        "rows": rows,
        "raw": raw,
    }
    return planned_parts(fine_tuned, pretrained, settings, parts=parts, models=models)


def planned_parts(
    fine_tuned: Any, pretrained: Any, settings: Mapping[str, Any], *, parts: int, models: Mapping[str, Any]
) -> PartPlan:
    """The plan for two models, which `models` has as plain data."""
    if settings["scope"] != "row":
        raise RuleError(
            f"parts are decided about by themselves, and with scope={settings['scope']!r} rows share their budget: "
            "take scope='row', or prune on one machine (ken.prune, ken prune without --part)"
        )
    pruning = opened(fine_tuned, pretrained, progress=False, **settings)
    recipe = descriptions.recipe_as_data(pruning.recipe)
    return PartPlan(pruning, {**models, "recipe": recipe, "raw": bool(settings["raw"]), "parts": parts})


def plan_of(description: Mapping[str, Any], fine_tuned: Any = None, pretrained: Any = None) -> PartPlan:
    """The plan that was described, made again. Raises `PartsError` if the headers or versions here are others.

    The models may lie elsewhere by now: then they are given.
    """
    settings = descriptions.settings_of(description)
    models = {"fine_tuned": fine_tuned, "pretrained": pretrained}
    models = {
        name: description.get(name) if source is None else descriptions.source_as_data(source, f"the model {name}")
        for name, source in models.items()
    }
    fine_tuned = descriptions.source_of(models["fine_tuned"]) if fine_tuned is None else fine_tuned
    pretrained = descriptions.source_of(models["pretrained"]) if pretrained is None else pretrained
    plan = planned_parts(fine_tuned, pretrained, settings, parts=description["parts"], models=models)
    if plan.digest != description["digest"]:
        before, here = description["recipe"]["versions"], plan.pruning.recipe.versions
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


def _works(pruning: Pruning) -> Iterator[Work]:
    """All that is to be read: fine-tuned tensors with their counterparts, then pretrained ones for fingerprints."""
    fine_tuned, pretrained, names = pruning.pairing.fine_tuned, pruning.pairing.pretrained, pruning.pairing.names
    for name, reason in pruning.reasons.items():
        tensor, other = fine_tuned.tensors[name], names[name]
        base = (0, 0)
        if other is not None:
            base = pretrained.tensors[other].numel(), pretrained.tensors[other].dtype.itemsize
        step = 0 if reason else stretch_of(pruning.tensors[name].rows[1])
        yield Work(name, tensor.numel(), tensor.dtype.itemsize, *base, step=step)
    for name in only_read(pruning):
        tensor = pretrained.tensors[name]
        yield Work(name, 0, 0, tensor.numel(), tensor.dtype.itemsize)


def only_read(pruning: Pruning) -> list[str]:
    """Pretrained tensors that nothing is paired with: the fingerprint of the whole model covers them."""
    pairing = pruning.pairing
    paired = {*pairing.names.values()}
    alone = [name for name in pairing.pretrained.tensors if name not in pairing.pretrained.tied and name not in paired]
    return list(dict.fromkeys([*alone, *(name for name in pairing.lacking.values() if name not in paired)]))


def _digest(pruning: Pruning, works: Sequence[Work], description: Mapping[str, Any]) -> str:
    running = new_digest()
    about = [_VERSION, description["recipe"], description["raw"], description["parts"]]
    pairing = pruning.pairing
    outlines = (
        [name, reason, pruning.pairing.cuts.get(name, ""), pairing.names[name], *_outline(pairing.fine_tuned, name)]
        for name, reason in pruning.reasons.items()
    )
    others = ([name, *_outline(pairing.pretrained, name)] for name in pairing.pretrained.tensors)
    for line in chain([about], outlines, others, ([*work] for work in works)):
        running.update(json.dumps(line).encode() + b"\n")
    return running.hexdigest()


def _outline(model: Checkpoint, name: str) -> tuple[list[int], str]:
    tensor = model.tensors[name]
    return list(tensor.shape), dtype_name(tensor.dtype)
