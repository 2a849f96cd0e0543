"""join: all parts of a plan into the subnetwork file that one machine would have written."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ken.api import Subnetwork, load
from ken.errors import FormatError, PartsError, at_tensor
from ken.models.checkpoints.as_data import source_of
from ken.models.pairing.pairs import Pair
from ken.models.tensors.tensor_bytes import Reference
from ken.pruning.head import Seen, head
from ken.pruning.making import Making
from ken.pruning.parts import description as descriptions
from ken.pruning.parts.folder import NamedFile, description_in, named_files
from ken.pruning.parts.planned_parts import PlannedParts, only_read, part_name, plan_name, plan_of
from ken.pruning.parts.split_tensors import MadePiece, join_pieces
from ken.storage.file_kinds import SUBNETWORK
from ken.storage.lazy_tensors import blob_name, to_reference
from ken.storage.outputs import check_outputs, models_of
from ken.storage.part_files import PartReader, item_blob
from ken.storage.schema import PrunedRecord
from ken.storage.writer import SubnetworkWriter

# Of what is missing or damaged, so many parts are named with what makes them.
_NAMED = 20


def join(
    folder: str | Path,
    out: str | Path,
    *,
    fine_tuned: Any = None,
    pretrained: Any = None,
    plan: str = "",
    overwrite: bool = False,
    copies: bool = False,
    progress: bool = True,
) -> Subnetwork:
    """Join the parts of a plan into a subnetwork file: byte for byte the one that `ken.prune(out=…)` writes.

    Of both models headers are read, and the files that come along with the fine-tuned one; and once more the tensors
    that are in several parts (`PartPlan.read_again`). Everything else is copied. The mask of one tensor at a time is in
    memory. The parts stay where they are.

    Args:
        folder: Where the parts lie.
        out: The file to write: a path, or a URL.
        fine_tuned: The fine-tuned model, if it lies elsewhere by now than when the parts were made.
        pretrained: The pretrained model, likewise.
        plan: The first digits of the digest of the plan that is meant, if the folder has parts of several.
        overwrite: Let out take the place of a file of another kind.
        copies: The parts were made of copies of the models with dates of their own: dates are not compared.
        progress: Whether to show a progress bar.

    Returns:
        The subnetwork, opened from its file.

    Raises:
        PartsError: Parts are missing or damaged (it names them, with what makes them), belong to several plans, or were
            made of models that have changed in between.
        OutputError: out may not be written to.

    Warns:
        KenWarning: As `ken.prune` does.

    Example:
        ```python
        net = ken.join("PARTS", "net.ken.safetensors")
        ```
    """
    from tqdm.auto import tqdm

    files = _of_one_plan(folder, plan)
    description = description_in(Path(folder) / plan_name(files[0].plan))
    parts = _whole_parts(folder, files, description, copies=copies)
    sources = (source_of(description.get(name)) for name in ("fine_tuned", "pretrained"))
    sources = (given or described for given, described in zip((fine_tuned, pretrained), sources, strict=True))
    read = {**models_of(Pair(*sources)), "the folder of parts": folder}
    check_outputs([(out, SUBNETWORK)], read, overwrite=overwrite)
    planned = plan_of(description, fine_tuned, pretrained)
    with tqdm(
        total=sum(part.path.stat().st_size for part in parts) + planned.read_again,
        desc="join",
        unit="B",
        unit_scale=True,
        disable=not progress,
        delay=1.0,
        leave=False,
    ) as bar:
        joining = _Joining(planned, parts, bar)
        with planned.pruning.writing(out) as writer, _damage_told(folder, description):
            joining.fill(writer)
            writer.finish(head(planned.pruning.prepared.pairing, planned.pruning.prepared.recipe, planned.pruning.seen))
    net = load(out)
    planned.pruning.warn_about(net)
    return net


def _of_one_plan(folder: str | Path, wanted: str) -> list[NamedFile]:
    """The parts of the plan that is meant, by their names."""
    by_plan: dict[str, list[NamedFile]] = defaultdict(list)
    for file in named_files(folder):
        if file.kind == "part" and file.plan.startswith(wanted[:12]):
            by_plan[file.plan].append(file)
    if not by_plan:
        raise PartsError(f"the folder {folder} has no part{f' of a plan {wanted}' if wanted else ''}")
    if len(by_plan) > 1:
        numbers = "; ".join(f"{plan}: {len(files)} of {files[0].parts}" for plan, files in by_plan.items())
        raise PartsError(
            f"the folder {folder} has parts of {len(by_plan)} plans ({numbers}): say which is meant (--plan, in Python "
            "plan=), or remove the others with ken clean"
        )
    (files,) = by_plan.values()
    return files


def _whole_parts(
    folder: str | Path, files: Sequence[NamedFile], description: Mapping[str, Any], *, copies: bool
) -> list[PartReader]:
    """All parts, opened: their records have been checked, and that each is there."""
    readers: dict[int, PartReader] = {}
    damaged: dict[int, str] = {}
    for file in files:
        try:
            reader = PartReader(file.path)
        except FormatError as error:
            damaged[file.index] = str(error)
            continue
        if reader.record.digest == description["digest"] and reader.record.index == file.index:
            readers[file.index] = reader
        else:
            damaged[file.index] = f"{file.path} is of another plan than its name says"
    missing = [index for index in range(1, description["parts"] + 1) if index not in readers]
    if missing:
        gone = [index for index in missing if index not in damaged]
        words = [f"{len(gone)} of {description['parts']} parts are missing"] if gone else []
        words += [f"{len(damaged)} of {description['parts']} parts are damaged"] if damaged else []
        incomplete = PartsError(f"{folder}: {' and '.join(words)}")
        for reason in list(damaged.values())[:_NAMED]:
            incomplete.add_note(reason)
        _add_commands(incomplete, missing, description, folder=folder)
        raise incomplete
    if not copies:
        _check_stamps(list(readers.values()), description, folder)
    return [readers[index] for index in sorted(readers)]


def _check_stamps(readers: Sequence[PartReader], description: Mapping[str, Any], folder: str | Path) -> None:
    for what in ("the fine-tuned model", "the pretrained model"):
        by_stamp: dict[str, list[int]] = defaultdict(list)
        for reader in readers:
            if what in reader.record.stamps:
                by_stamp[reader.record.stamps[what]].append(reader.record.index)
        if len(by_stamp) > 1:
            *_, fewest = sorted(by_stamp.values(), key=lambda indices: (-len(indices), indices))
            error = PartsError(
                f"{folder}: the files of {what} were others when part {fewest[0]} was made than for other parts, by "
                "their sizes and dates: make the parts anew; or, if each machine has a copy of the same files, say so "
                "(--copies, in Python copies=True)"
            )
            _add_commands(error, fewest, description, folder=folder)
            raise error


def _add_commands(
    error: PartsError, indices: Sequence[int], description: Mapping[str, Any], *, folder: str | Path
) -> None:
    for index in indices[:_NAMED]:
        error.add_note(descriptions.command(description, index, folder))
    if len(indices) > _NAMED:
        error.add_note(f"and {len(indices) - _NAMED:,} more: {', '.join(map(str, indices[_NAMED : 50 * _NAMED]))}")


@contextmanager
def _damage_told(folder: str | Path, description: Mapping[str, Any]) -> Iterator[None]:
    """Whatever is found to be damaged in the middle: what makes the part again."""
    try:
        yield
    except FormatError as error:
        for index in range(1, description["parts"] + 1):
            if part_name(index, description["parts"], description["digest"]) in str(error):
                error.add_note(descriptions.command(description, index, folder))
        raise


class _Joining:
    """The parts by what they have, and what has been seen of both models."""

    def __init__(self, plan: PlannedParts, parts: Iterable[PartReader], bar: Any) -> None:
        self._plan, self._bar = plan, bar
        self._pieces: dict[str, list[MadePiece]] = defaultdict(list)
        self._read: dict[str, Reference] = {}
        for part in parts:
            for number, item in enumerate(part.record.items):
                if item.reference is not None:
                    self._read[item.name] = to_reference(item.reference)
                else:
                    self._pieces[item.name].append(MadePiece(part, number))
        plan.pruning.seen = Seen(plan.pruning.seen.notes)

    def fill(self, writer: SubnetworkWriter) -> None:
        """Bring all tensors into the file, in the order of the model."""
        pruning = self._plan.pruning
        for name in pruning.prepared.reasons:
            self._bar.set_postfix_str(name, refresh=False)
            with at_tensor(name):
                pieces = sorted(self._pieces.pop(name, []), key=lambda piece: piece.item.start)
                if len(pieces) == 1 and pieces[0].item.whole:
                    self._copy(pieces[0], writer)
                else:
                    join_pieces(pruning, name, pieces, writer=writer, done=self._bar.update)
                for piece in pieces:
                    _include(pruning, piece)
        for name in only_read(pruning):
            if name not in self._read:
                raise PartsError(f"no part has read the pretrained tensor {name!r}")
            pruning.seen.pretrained[name] = self._read[name]

    def _copy(self, piece: MadePiece, writer: SubnetworkWriter) -> None:
        pruning, record = self._plan.pruning, piece.record

        def blob(kind: str) -> tuple[int, Iterable[bytes]]:
            stored = item_blob(piece.number, blob_name(kind, record.name))
            return piece.part.length(stored), self._counted(piece.part.parts(stored))

        writer.add_stored(record, blob)
        fingerprint = record.fine_tuned if isinstance(record, PrunedRecord) else record.checksum
        counterpart = None if record.pretrained is None else to_reference(record.pretrained)
        entries = pruning.prepared.pairing.fine_tuned.entries(record.name)
        pruning.seen.add(record.name, entries, fingerprint, counterpart=counterpart)

    def _counted(self, parts: Iterable[bytes]) -> Iterator[bytes]:
        for part in parts:
            self._bar.update(len(part))
            yield part


def _include(pruning: Making, piece: MadePiece) -> None:
    """The sums and the notes of a piece."""
    item = piece.item
    if item.sums is not None:
        pruning.seen.sums.include(item.name, item.sums.matrix, item.sums.numbers)
    if item.stood_in:
        pruning.seen.stood_in[item.name] = pruning.seen.stood_in.get(item.name, 0) + item.stood_in
