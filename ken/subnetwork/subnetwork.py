"""The subnetwork: all retained entries and carried tensors of a model, and where they came from."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from ken.errors import printable
from ken.models.named_tables import named_table
from ken.models.pairing.rows import row_shape
from ken.models.tensors.tensor_bytes import Reference, dtype_name
from ken.rules import SCOPES, Settings
from ken.subnetwork.carried_tensor import CarriedTensor
from ken.subnetwork.outline import Outline
from ken.subnetwork.provenance import Provenance as Provenance
from ken.subnetwork.retained_tensor import RetainedTensor

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd

    from ken.models.checkpoints.architecture import Architecture
    from ken.models.pairing.pairing import Pairing
    from ken.models.pairing.pairs import Pair, PairOfModels
    from ken.models.pairing.relation import Relation


#: What is not pruned is said where a subnetwork is shown if it is more than this share of a model.
_MUCH = 0.05


# The reason in a table of a pruned tensor whose retained entries do not have their fine-tuned value.
_RESCALED = "retained values are rescaled"


def k_text(k: Any, scope: str = "row") -> str:
    """A k in words, and over what it is counted; None, where the rule itself says how many entries, included."""
    shared = "" if scope == "row" else f" of every row, shared over {SCOPES.get(scope, scope)}"
    return "k by row as it comes" if k is None else f"k = {k}{shared}"


@dataclass(frozen=True, slots=True)
class Recipe:
    """How a subnetwork was made.

    Attributes:
        rule: The name of the rule.
        k: How many entries of a row are retained: a number, a fraction, or either by name pattern. None: the rule
            `changed`, which has no k.
        seed: That of random rules.
        include: Name patterns of the tensors that are pruned; empty: all.
        exclude: Name patterns of those that are carried.
        layers_only: Whether all outside the layers is carried.
        rows: Name patterns of tensors that were cut into rows in another way than by their shape, and how.
        versions: Those of what computed it, by package.
        on: Which values the rule looked at: "weights" (fine-tuned), "update" or "pretrained".
        bandwidth: How its density was smoothed: a name, or a number.
        kernel: The kernel of its density.
        scope: Over what k is counted: "row", "tensor" or "model".
        rescale: "none", or "share": the updates of retained entries were divided by the share that was retained.
    """

    rule: str
    k: Any
    seed: int = 0
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    layers_only: bool = False
    rows: Mapping[str, str] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    on: str = "weights"
    bandwidth: str | float = "normal reference"
    kernel: str = "gaussian"
    scope: str = "row"
    rescale: str = "none"

    @property
    def k_text(self) -> str:
        """The k in words: "k = 0.5", or that there is none.

        >>> Recipe("ken", 100).k_text, Recipe("changed", None).k_text
        ('k = 100', 'k by row as it comes')
        >>> Recipe("update", 0.5, scope="model").k_text
        'k = 0.5 of every row, shared over all pruned tensors'
        """
        return k_text(self.k, self.scope)

    @property
    def settings(self) -> Settings:
        """The settings of its rule. Raises `RuleError` if this installation does not have them all."""
        return Settings(on=self.on, bandwidth=self.bandwidth, kernel=self.kernel)


@dataclass(frozen=True, eq=False, repr=False)
class SubnetworkData(Mapping[str, "RetainedTensor | CarriedTensor"]):
    """A mapping from tensor name (of the fine-tuned model) to what is stored of that tensor.

    This is the data alone; `ken.Subnetwork`, which can also be saved and injected, explains the fields.
    """

    tensors: Mapping[str, RetainedTensor | CarriedTensor]
    recipe: Recipe
    tied: Mapping[str, str] = field(default_factory=dict)
    only_pretrained: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    architecture: Architecture | None = None
    prefix: str = ""
    fine_tuned: Provenance = field(default_factory=Provenance)
    pretrained: Provenance = field(default_factory=Provenance)
    files: Mapping[str, bytes] = field(default_factory=dict)
    shards: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    lacking: Mapping[str, Reference] = field(default_factory=dict)
    relation: Relation | None = None

    def __getitem__(self, name: str) -> RetainedTensor | CarriedTensor:
        """What is stored of a tensor; an alias of a tied tensor finds the tensor itself."""
        return self.tensors[self.tied.get(name, name)]

    def __iter__(self) -> Iterator[str]:
        return iter(self.tensors)

    def __len__(self) -> int:
        return len(self.tensors)

    def __eq__(self, other: object) -> bool:
        """Whether both were made alike, of the same models, and hold the same; in memory or in a file.

        Notes, and versions of what computed it, are no part of that.
        """
        if not isinstance(other, SubnetworkData):
            return NotImplemented
        if self is other:
            return True
        return self._about == other._about and all(self.tensors[name] == other.tensors[name] for name in self.tensors)

    def __hash__(self) -> int:
        sides = [(model.source, model.tensors, model.entries) for model in (self.fine_tuned, self.pretrained)]
        return hash((*sides, self.recipe.rule, self.recipe.seed, len(self.tensors)))

    @property
    def _about(self) -> tuple[Any, ...]:
        """All but the tensors, whose outlines stand for them."""
        return (
            *(replace(self.recipe, versions={}), self.fine_tuned, self.pretrained, self.prefix),
            self.architecture and self.architecture.class_name,
            *map(dict, (self.outlines, self.tied, self.only_pretrained, self.lacking, self.shards, self.files)),
        )

    def __getstate__(self) -> dict[str, Any]:
        """The fields alone: what has been decoded of a file is not sent along with it."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @property
    def lazy(self) -> bool:
        """Whether it is decided as it is looked at (`ken.prune` with lazy=True)."""
        return False

    @property
    def pair(self) -> Pair | None:
        """The models that it is decided from as it is looked at, as they were given; None if it was before."""
        return None

    def opened(self, pair: PairOfModels) -> Pairing | None:
        """The pair, opened, if it is the very one that this is decided from as it is looked at; else None.

        Args:
            pair: Two models.

        Returns:
            None, if it was decided before.
        """
        return None

    def written(self, path: str | Path, *, progress: bool) -> bool:
        """Write what has not been decided yet into a file, in its own way.

        Args:
            path: The file, which may be written to.
            progress: Show a bar if it takes longer than a second.

        Returns:
            False if it was decided before, and nothing has been written.
        """
        return False

    @cached_property
    def outlines(self) -> Mapping[str, Outline]:
        """What is known of every tensor without decoding any."""
        stored: Mapping[str, Outline] | None = getattr(self.tensors, "outlines", None)
        if stored is not None:
            return stored
        return {name: Outline.from_tensor(tensor) for name, tensor in self.tensors.items()}

    @cached_property
    def _reasons(self) -> Mapping[str, str | None]:
        """Why each tensor is carried; None if it is pruned."""
        return {name: outline.reason for name, outline in self.outlines.items()}

    @property
    def cuts(self) -> dict[str, str]:
        """The tensors that were cut into rows in another way than by their shape, and how (`rows.CUTS`)."""
        return {name: outline.cut for name, outline in self.outlines.items() if outline.cut}

    def pruned(self) -> Mapping[str, RetainedTensor]:
        """The pruned tensors alone, in model order."""
        return _Pruned(self)

    @cached_property
    def in_memory(self) -> Self:
        """The same subnetwork with every tensor decoded; itself if it is in memory. Decoded once, then kept."""
        if isinstance(self.tensors, dict):
            return self
        from ken.subnetwork.threads import each

        names = list(self.tensors)
        decoded = dict(zip(names, each(lambda name: self.tensors[name].decoded(), names), strict=True))
        return replace(self, tensors=decoded, files=dict(self.files))

    @property
    def entries(self) -> int:
        """Entries of the fine-tuned model, tied tensors counted once."""
        return sum(outline.entries for outline in self.outlines.values())

    @property
    def retained(self) -> int:
        """Entries that stay fine-tuned: the retained ones of pruned tensors and all of carried ones."""
        return sum(outline.retained for outline in self.outlines.values())

    @property
    def share(self) -> float:
        """retained / entries; NaN for a model without entries."""
        return self.retained / self.entries if self.entries else math.nan

    def table(self) -> pd.DataFrame:
        """One row for every tensor of either model.

        Returns:
            Columns: tensor (index), status, reason, shape, dtype, rows, row_length, entries, retained, share. The
            status is pruned, unchanged (pruned, too, but fine-tuning left every entry as it was), carried, tied, from
            pretrained (the fine-tuned checkpoint lacks it), or only in pretrained. Of pruned ones the reason is empty,
            or says that retained values are rescaled. Entries of the last three count as
            0, so that the column adds up to the fine-tuned checkpoint; their share is NaN.
        """
        lines: list[tuple[object, ...]] = []
        for name, outline in self.outlines.items():
            why = outline.reason or ("" if outline.reason is not None or self.recipe.rescale == "none" else _RESCALED)
            head = name, outline.status, why, outline.shape, outline.dtype
            lines.append((*head, outline.entries, outline.retained))
        for alias, name in self.tied.items():
            outline = self.outlines[name]
            lines.append((alias, "tied", f"the same tensor as {name}", outline.shape, outline.dtype, 0, 0))
        for name, shape in self.only_pretrained.items():
            lines.append((name, "only in pretrained", "no fine-tuned counterpart", shape, "", 0, 0))
        for name, lent in self.lacking.items():
            why = f"not in the fine-tuned checkpoint: {lent.name} stands in"
            lines.append((name, "from pretrained", why, lent.shape, dtype_name(lent.dtype), 0, 0))
        columns = ["tensor", "status", "reason", "shape", "dtype", "entries", "retained"]
        table = named_table(lines, columns).set_index("tensor")
        cuts = self.cuts
        cut = [row_shape(shape, cuts.get(name, "")) for name, shape in zip(table.index, table["shape"], strict=True)]
        table.insert(4, "rows", [rows for rows, _ in cut])
        table.insert(5, "row_length", [length for _, length in cut])
        entries = table["entries"].to_numpy(dtype=float)
        table["share"] = table["retained"].to_numpy(dtype=float) / np.where(entries > 0, entries, np.nan)
        return table

    @property
    def unchanged(self) -> bool:
        """Whether there is nothing to see: tensors were pruned, and fine-tuning changed none of them."""
        pruned = [outline for outline in self.outlines.values() if outline.reason is None]
        return bool(pruned) and all(outline.unchanged for outline in pruned)

    def __repr__(self) -> str:
        pruned = len(self.pruned())
        rescaled = "" if self.recipe.rescale == "none" else f", rescale={self.recipe.rescale!r}"
        how_many = "" if self.recipe.k is None else f", k={self.recipe.k!r}"
        how_many += "" if self.recipe.scope == "row" else f", scope={self.recipe.scope!r}"
        return (
            f"Subnetwork(rule={self.recipe.rule!r}{how_many}{rescaled}: {self._how_much()}; "
            f"{pruned} tensors pruned, {len(self) - pruned} carried{self._further()})"
            + "".join(
                f"\n  {side}: {printable(model.origin)}"
                for side, model in (("fine-tuned", self.fine_tuned), ("pretrained", self.pretrained))
                if model.origin
            )
            + "".join(f"\n  note: {printable(note)}" for note in self.notes)
        )

    def _how_much(self) -> str:
        return f"{self.retained:,} of {self.entries:,} entries retained"

    def _further(self) -> str:
        return f"{'; the models do not differ in what was pruned' if self.unchanged else ''}{self._much()}"

    def _much(self) -> str:
        """What is not pruned, if it is much of a model, and why."""
        said = ""
        reasons: Counter[str] = Counter()
        for name, reason in self._reasons.items():
            if reason is not None:
                reasons[reason] += self.tensors[name].entries
        if reasons.total() > _MUCH * self.entries:
            why, _ = reasons.most_common(1)[0]
            said += f"; {_percent(reasons.total(), self.entries)} of the entries are carried, most of them: {why}"
        if self.lacking:
            count = sum(math.prod(lent.shape) for lent in self.lacking.values())
            said += (
                f"; {len(self.lacking)} tensors of {count:,} entries are the pretrained model's, as the fine-tuned "
                "checkpoint lacks them"
            )
        unused = sum(math.prod(shape) for shape in self.only_pretrained.values())
        if unused > _MUCH * self.pretrained.entries:
            said += (
                f"; {_percent(unused, self.pretrained.entries)} of the pretrained model's entries have no fine-tuned "
                "counterpart"
            )
        return printable(said)


def _percent(part: int, whole: int) -> str:
    return f"{100 * part / max(whole, 1):.0f} %"


class _Pruned(Mapping[str, RetainedTensor]):
    """The pruned part of a subnetwork; nothing is decoded before it is asked for."""

    def __init__(self, net: SubnetworkData) -> None:
        self._net = net

    def __getitem__(self, name: str) -> RetainedTensor:
        if self._net._reasons[name] is not None:
            raise KeyError(name)
        tensor = self._net.tensors[name]
        assert isinstance(tensor, RetainedTensor)
        return tensor

    def __iter__(self) -> Iterator[str]:
        return (name for name, reason in self._net._reasons.items() if reason is None)

    def __len__(self) -> int:
        return sum(1 for _ in self)
