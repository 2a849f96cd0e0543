"""prune: two models, what is asked for → a subnetwork, made whole or decided as it is looked at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ken.api import Subnetwork
from ken.density import NORMAL_REFERENCE
from ken.errors import ExecutorError, OutputError
from ken.models.checkpoints.checkpoint import Source, TunedSource
from ken.models.pairing.pairs import Pair
from ken.models.pairing.rows import K
from ken.pruning.executors import prune_by_executor
from ken.pruning.lazy_subnetwork import LazySubnetwork
from ken.pruning.making import make
from ken.pruning.opening import opened
from ken.storage.file_kinds import SUBNETWORK
from ken.storage.outputs import check_outputs, models_of


def prune(
    fine_tuned: TunedSource,
    pretrained: Source | None,
    k: K | None = None,
    rule: str = "ken",
    *,
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
    out: str | Path | None = None,
    overwrite: bool = False,
    lazy: bool = False,
    executor: Any = None,
    parts: int | None = None,
    parts_folder: str | Path | None = None,
    timeout: float | None = None,
    copies: bool = False,
    progress: bool = True,
) -> Subnetwork:
    """Retain k entries of every row of the fine-tuned model; reset the rest to the pretrained values.

    Names are paired exactly, else by adding or stripping transformers' base-model prefix or the one that the names
    themselves show, else by ties and transformers' own renames; what wraps a model or its parts (`_orig_mod.`,
    `module.`) is looked through. A module and a folder are paired in the layout of the folder. Tensors that a
    fine-tuned checkpoint lacks are the pretrained model's (`Subnetwork.lacking`). Buffers, integers, and tensors
    without a pretrained counterpart are carried whole. Rows count as added, and are retained whole, behind the
    pretrained ones of a vocabulary (by the kind of its module, by a configuration, or with rows "grown"); else a tensor
    of another length is new. A progress bar appears if it takes longer than a second.

    The published rule and its words: Mastromattei & Zanzotto, "Less is KEN", arXiv 2402.03142, sec. 3.

    Args:
        fine_tuned: A torch module or a state dict, on any device, or the path of a safetensors file or of a checkpoint
            folder, or a hub id; or an adapter of the pretrained model: a folder that PEFT has written, its hub id, a
            live `PeftModel`, or several as `ken.Adapters`, merged as they are read. It is not changed.
        pretrained: The model that it came from, likewise. None, for an adapter: the base that it names or, live, holds.
        k: Entries of every row (int), a share of the row (float in (0, 1]), or a mapping from name pattern to either,
            of which the first that matches decides. None for the rule `changed` alone, which retains of each row
            what fine-tuning changed, however much that is.
        rule: One of `ken.rules.names()`.
        seed: Seed of random rules.
        on: The values that rules look at which estimate a density: "weights" (fine-tuned), "update" or "pretrained".
        bandwidth: One of `ken.density.BANDWIDTHS`, or a number above 0 in units of the values. Where a bandwidth rule
            finds none for a row, the normal reference stands in; the notes of the subnetwork say for how many.
        kernel: One of `ken.density.KERNELS`.
        scope: Over what k is counted. "row": every row has a budget of its own. "tensor" and "model": as many entries
            as these budgets add up to are retained wherever they lie in the tensor, or in all pruned tensors. A rule
            that ranks entries by a score (`random`, `magnitude`, `update`) retains those of highest score, of equal
            ones the first by name and place, and models are read a few times more, some rows at a time. To the others
            the whole range is one row, which is in memory as float64.
        rescale: "share" divides the update of every retained entry by the share of its row that is retained (k / n; for
            `della` by the entry's own probability; with another scope of the tensor, or of all pruned tensors), so that
            the update is kept in expectation: the stored value is no longer the fine-tuned one. "none" does not. By
            default what the rule's source does: "share" for `dare` alone.
        include: Name patterns; tensors that match none are carried whole. By default all are pruned.
        exclude: Name patterns; tensors that match one are carried whole.
        layers_only: Carry tensors whose name has no layer number.
        rows: A mapping from name pattern to "last", "first" or "whole": how to cut those tensors into rows, if not by
            their shape (`ken.models.pairing.rows.row_shape`); or to "grown": rows were added to them.
        raw: Keep retained values as they are, and not as their distance from the pretrained ones, which takes far less
            space in a file.
        out: A file to write the subnetwork to as it is made, and to open it from: of models on disk, no more than some
            rows and the mask of one tensor are in memory at a time. It may not be either model, nor lie in its folder;
            it takes the place of another subnetwork.
        overwrite: Let out take the place of any other file, too.
        lazy: Open and check both models, and read no value: what is looked at is decided when it is looked at, rows as
            rows (`RetainedTensor.row_mask`), anything else of a tensor with the whole tensor, of which the latest ones
            are kept. What comes is the same, bit for bit, to the file that `save` writes; the models must stay as they
            are until then. Rule `changed` and scope "model" tell how many entries are retained after a pass over both
            models, at the first look; fingerprints and relation take a pass, too. What is `unchanged` is known of
            tensors that were decided whole. `in_memory` decides everything.
        executor: Who makes it, in parts (`ken.parts`), which are joined here: a `concurrent.futures.Executor`, such as
            Dask's `Client.get_executor()` (or the client itself) or a `ProcessPoolExecutor`; or one of submitit. The
            workers read both models, which are paths or URLs, and write where out is, so all share a disk; through the
            executor go names and checksums alone. The file is the same, byte for byte, whatever the workers. Parts
            that are there and whole are not made again, so the same call goes on with what was interrupted.
        parts: How many parts for the workers; by default so many as suit the models, 8 at least.
        parts_folder: Where the parts are kept. By default in a folder beside out, which is removed in the end.
        timeout: Seconds that a part may take; then another worker is given it, once. The join may take as long as all
            parts together.
        copies: Each worker's machine has a copy of the same models: their dates are not compared.
        progress: Whether to show the progress bar.

    Returns:
        The subnetwork. Its `notes` keep what was warned of, its `relation` the size of the update and the like.

    Raises:
        BudgetError: k is out of range, or missing, or the rule has none; or a pattern matches no tensor.
        RuleError: There is no such rule or setting, or the seed is none.
        PairingError: Shapes do not fit.
        OutputError: out may not be written to, or was given with lazy.
        PartsError: An executor was given models in memory, or its workers write elsewhere.
        ExecutorError: Workers are gone, or hang; the error says how to go on.
        ValuesError: A value is NaN or infinite, or the fine-tuned dtype cannot hold a rescaled one; the message names
            the place. All other errors come before work begins. With lazy it comes when the place is looked at.

    Warns:
        KenWarning: The two models look as if they were the wrong way round, or unrelated; or a bandwidth rule found
            none for some rows.

    Example:
        >>> import torch
        >>> _ = torch.manual_seed(0)
        >>> pretrained, fine_tuned = torch.nn.Linear(8, 4), torch.nn.Linear(8, 4)
        >>> prune(fine_tuned, pretrained, k=2)
        Subnetwork(rule='ken', k=2: 10 of 36 entries retained; 2 tensors pruned, 0 carried)
        >>> net = prune(fine_tuned, pretrained, k=2, lazy=True)
        >>> net
        Subnetwork(rule='ken', k=2: 10 of 36 entries retained; 2 tensors pruned, 0 carried; decided as it is looked at)
        >>> int(net["weight"].row_mask(slice(1, 2)).sum()), net == prune(fine_tuned, pretrained, k=2)
        (2, True)
    """
    if lazy and out is not None:
        raise OutputError(
            f"out={str(out)!r} is written when everything is decided, and lazy=True decides what is looked at: give "
            "one of them; save(path) of a lazy subnetwork decides and writes everything"
        )
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
    pair, shared = Pair(fine_tuned, pretrained), {"parts": parts, "parts_folder": parts_folder, "timeout": timeout}
    if executor is not None:
        if lazy:
            raise ExecutorError("lazy=True decides here what is looked at, and executor elsewhere: give one of them")
        words: dict[str, Any] = {**shared, "executor": executor, "overwrite": overwrite, "copies": copies}
        return prune_by_executor(pair, settings, out, **words, progress=progress)
    if alone := [name for name, value in {**shared, "copies": copies or None}.items() if value is not None]:
        raise ExecutorError(f"only with executor (--workers, --scheduler): {', '.join(alone)}; else see ken.parts")
    check_outputs([(out, SUBNETWORK)], models_of(pair), overwrite=overwrite)
    prepared = opened(fine_tuned, pretrained, **settings)
    return LazySubnetwork(prepared, progress=progress) if lazy else make(prepared, out, progress=progress)
