"""export: a subnetwork and its pretrained model as an ordinary checkpoint folder, written a stretch at a time."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeAlias

from numpy.typing import NDArray

from ken.errors import at_tensor
from ken.injection.inject import find_places, merged_stretches
from ken.injection.stand_ins import find_stand_ins, stretches
from ken.models.checkpoints import other_files, quantised
from ken.models.checkpoints.checkpoint import Checkpoint, Source, read
from ken.models.checkpoints.checkpoint_files import CONFIG, WEIGHTS
from ken.models.checkpoints.file_names import index_beside, is_whole
from ken.models.checkpoints.safetensors_file import Writer, stored_dtype
from ken.models.checkpoints.ties import untold
from ken.models.tensors.tensor_bytes import dtype_named
from ken.storage.atomic_files import replacing_folder
from ken.storage.file_kinds import FOLDER
from ken.storage.model_files import FilesOnDisk, parts_of
from ken.storage.outputs import check_outputs
from ken.storage.uploads import target
from ken.subnetwork.subnetwork import SubnetworkData

if TYPE_CHECKING:
    import torch
    from tqdm import tqdm

#: Dtype and shape.
_Kind: TypeAlias = "tuple[torch.dtype, tuple[int, ...]]"


def export(net: SubnetworkData, pretrained: Source, folder: str | Path, *, progress: bool = True) -> Path | str:
    """Write the injected model into a new checkpoint folder, which `from_pretrained` opens.

    If the fine-tuned model was such a folder, the new one has its sharding, its configuration and its tokenizer, and
    where it was a pipeline of diffusers or a model of sentence-transformers, its parts in their folders. Else
    the configuration is that of the fine-tuned module, and the tokenizer that of the pretrained folder, if it is one.
    A model that is no transformers model gives model.safetensors alone. The folder gets its name when it is complete:
    on any error, and when the export is interrupted, there is none.

    Args:
        net: The subnetwork.
        pretrained: The pretrained model, as `ken.prune` takes it; its tensors are checked as `ken.inject` does.
        folder: The new folder; it must not exist yet, or be empty.
        progress: Show a bar if it takes longer than a second.

    Returns:
        The folder.

    Raises:
        SubnetworkError: The pretrained model is not the one that the subnetwork relies on.
        FormatError: The subnetwork's file is damaged.
        OutputError: The folder lies inside that of the pretrained model.
        FileExistsError: There is something in the folder already.

    Example:
        >>> import tempfile, torch, ken
        >>> pretrained = {"w": torch.zeros(4, 4)}
        >>> net = ken.prune({"w": torch.ones(4, 4)}, pretrained, 2)
        >>> with tempfile.TemporaryDirectory() as parent:
        ...     sorted(path.name for path in export(net, pretrained, Path(parent) / "model").iterdir())
        ['model.safetensors']
    """
    from tqdm.auto import tqdm

    check_outputs([(folder, FOLDER)], {"the subnetwork": net, "the pretrained model": pretrained})
    theirs = read(pretrained)
    places = find_places(net, theirs)
    if not net.files and net.architecture is not None:
        other_files.check(theirs.files)
    lent = find_stand_ins(net, theirs)
    names = [*net, *lent]
    if net.architecture is None:  # nothing else would know that these are the same tensors
        names += list(net.tied)
    else:
        names += untold(net.tied, net.architecture.class_name, net.architecture.config)
    kinds = {name: _kind(net, name) for name in names}
    for name, (dtype, _) in kinds.items():
        with at_tensor(name):
            stored_dtype(dtype)
    with (
        replacing_folder(folder) as part,
        tqdm(total=net.entries, desc="export", unit="entry", unit_scale=True, disable=not progress, delay=1.0) as bar,
    ):
        for path, data in _files(net, theirs):
            (part / path).parent.mkdir(parents=True, exist_ok=True)
            with (part / path).open("wb") as file:
                file.writelines(data)
        shards = _shards(net, kinds, lent=lent, theirs=theirs)
        for shard, members in shards.items():
            (part / shard).parent.mkdir(parents=True, exist_ok=True)
            shapes = {_stored_name(name, shard): kinds[name][1] for name in members}
            with (part / shard).open("wb") as file:
                writer = Writer(file, shapes, {"format": "pt"})
                for name in members:
                    bar.set_postfix_str(name, refresh=False)
                    dtype, shape = kinds[name]
                    source = net.tied.get(name, name)
                    if source in lent:
                        parts = stretches(net, source, theirs, place=lent[source])
                    else:
                        merged = merged_stretches(net, source, theirs, place=places[source])
                        parts = _counted(merged, dtype.itemsize, bar)
                    writer.add(_stored_name(name, shard), dtype=stored_dtype(dtype), shape=shape, parts=parts)
                writer.finish({"format": "pt"})
        for path, index in _indices(shards, kinds).items():
            (part / path).write_text(json.dumps(index, indent=2) + "\n", encoding="utf-8")
    return target(folder)


def _counted(stretches: Iterator[NDArray[Any]], width: int, bar: tqdm[NoReturn]) -> Iterator[memoryview]:
    """Their bytes; the bar is told how many entries have gone by."""
    for part in stretches:
        yield part.view("u1").data
        bar.update(part.nbytes // width)


def _kind(net: SubnetworkData, name: str) -> _Kind:
    """Dtype and shape of a tensor of the injected model."""
    source = net.tied.get(name, name)
    if source in net.lacking:
        return net.lacking[source].dtype, net.lacking[source].shape
    outline = net.outlines[source]
    return dtype_named(outline.dtype), outline.shape


def _shards(
    net: SubnetworkData, kinds: Mapping[str, _Kind], *, lent: Mapping[str, str], theirs: Checkpoint
) -> dict[str, list[str]]:
    """File names, and the tensors of each: wide dtypes first, so that every tensor begins where its dtype needs it."""
    # For what the fine-tuned checkpoint lacks; parts of it are in folders of their own.
    last = max((shard for shard in net.shards.values() if "/" not in shard), default="")
    last = last or max(net.shards.values(), default=WEIGHTS)
    folders = {shard.rpartition("/")[0] for shard in net.shards.values()}
    shards: dict[str, list[str]] = {}
    for name in kinds:
        shard = net.shards.get(net.tied.get(name, name), last)
        shard = net.shards.get(name, shard)
        if name in lent and theirs.shards.get(lent[name], "").rpartition("/")[0] in folders - {""}:
            shard = theirs.shards[lent[name]]
        shards.setdefault(shard, []).append(name)
    for members in shards.values():
        members.sort(key=lambda name: -kinds[name][0].itemsize)
    return shards


def _stored_name(name: str, shard: str) -> str:
    """What a tensor is called in its file: without the folder's name, where its own begins with that."""
    folder = shard.rpartition("/")[0].replace("/", ".")
    return name.removeprefix(f"{folder}.") if folder else name


def _indices(shards: Mapping[str, list[str]], kinds: Mapping[str, _Kind]) -> dict[str, dict[str, Any]]:
    """The indices that are needed, by their path: none for a file that is found by its name alone."""
    by_folder: dict[str, list[str]] = {}
    for shard in shards:
        by_folder.setdefault(shard.rpartition("/")[0], []).append(shard)
    indices: dict[str, dict[str, Any]] = {}
    for files in by_folder.values():
        if len(files) == 1 and is_whole(files[0]):
            continue
        size = sum(math.prod(kinds[name][1]) * kinds[name][0].itemsize for file in files for name in shards[file])
        weight_map = {_stored_name(name, file): file.rpartition("/")[2] for file in files for name in shards[file]}
        indices[index_beside(files[0])] = {"metadata": {"total_size": size}, "weight_map": weight_map}
    return indices


def _files(net: SubnetworkData, theirs: Checkpoint) -> Iterator[tuple[str, Iterable[bytes]]]:
    """Configuration and tokenizer by their path: what the subnetwork brings along, else what can be had."""
    files: Mapping[str, bytes] = net.files
    if not net.files and net.architecture is not None:
        files = FilesOnDisk({path: file for path, file in theirs.files.items() if path != CONFIG})
    for path in files:
        if path == CONFIG:
            yield path, [_plain(b"".join(parts_of(files, path)))]
        # Subnetworks of before may bring it; transformers would look for an adapter that is not there.
        elif path.rpartition("/")[2] != "adapter_config.json":
            yield path, parts_of(files, path)
    if not net.files and net.architecture is not None:
        config: dict[str, Any] = {
            **quantised.without(net.architecture.config),
            "architectures": [net.architecture.class_name],
        }
        yield CONFIG, [(json.dumps(config, indent=2, sort_keys=True) + "\n").encode()]


def _plain(config: bytes) -> bytes:
    """A configuration that speaks of no quantisation: what is written beside it is plain values."""
    try:
        settings = json.loads(config)
    except (ValueError, RecursionError):
        return config
    if not isinstance(settings, dict) or quantised.method(settings) is None:
        return config
    return (json.dumps(quantised.without(settings), indent=2) + "\n").encode()
