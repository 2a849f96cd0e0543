"""parts: the plan of a pruning in parts, made from the headers of both models alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ken.density import NORMAL_REFERENCE
from ken.errors import PartsError
from ken.models.checkpoints.as_data import source_as_data
from ken.models.checkpoints.location import Location
from ken.models.pairing.rows import K
from ken.pruning.parts.planned_parts import PlannedParts, prepared, usual_number
from ken.pruning.parts.running import PartDone, run

if TYPE_CHECKING:
    from ken.models.checkpoints.adapter_names import Adapters


class PartPlan(PlannedParts):
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
        return run(self, index, folder, copies=copies, progress=progress)


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
    return planned(
        fine_tuned,
        pretrained,
        {
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
        },
        parts=parts,
    )


def planned(fine_tuned: Any, pretrained: Any, settings: dict[str, Any], *, parts: int | None) -> PartPlan:
    """See `parts`. Without a number there are as many as suit the models: of one pair always the same."""
    if parts is not None and (isinstance(parts, bool) or not isinstance(parts, int) or parts < 1):
        raise PartsError(f"there must be at least 1 part, got {parts!r}")
    models = {
        "fine_tuned": source_as_data(fine_tuned, "the fine-tuned model"),
        "pretrained": source_as_data(pretrained, "the pretrained model"),
    }
    pruning, description = prepared(fine_tuned, pretrained, settings, parts=parts or 1, models=models)
    if parts is None:
        description |= {"parts": usual_number(pruning)}
    return PartPlan(pruning, description)
