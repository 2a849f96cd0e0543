"""export: a subnetwork and its pretrained model as an ordinary checkpoint folder, written a stretch at a time."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from numpy.typing import NDArray

from ken.errors import at_tensor
from ken.injection.inject import find_places, merged_stretches
from ken.injection.stand_ins import find_stand_ins, stretches
from ken.models.checkpoints import other_files, quantised
from ken.models.checkpoints.checkpoint import Checkpoint, Source, read
from ken.models.checkpoints.checkpoint_files import CONFIG, INDEX, WEIGHTS
from ken.models.checkpoints.safetensors_file import Writer, stored_dtype
from ken.models.checkpoints.ties import untold
from ken.models.tensors.tensor_bytes import dtype_named
from ken.storage.atomic_files import replacing_folder
from ken.storage.file_kinds import FOLDER
from ken.storage.model_files import FilesOnDisk, parts_of
from ken.storage.outputs import check_outputs
from ken.subnetwork.subnetwork import SubnetworkData

if TYPE_CHECKING:
    import torch
    from tqdm import tqdm


def export(net: SubnetworkData, pretrained: Source, folder: str | Path, *, progress: bool = True) -> Path:
    """Write the injected model into a new checkpoint folder, which `from_pretrained` opens.

    If the fine-tuned model was such a folder, the new one has its sharding, its configuration and its tokenizer. Else
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
        size, weight_map = 0, {}
        for shard, members in _shards(net, kinds).items():
            shapes = {name: kinds[name][1] for name in members}
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
                    writer.add(name, dtype=stored_dtype(dtype), shape=shape, parts=parts)
                    weight_map[name] = shard
                    size += math.prod(shape) * dtype.itemsize
                writer.finish({"format": "pt"})
        if set(weight_map.values()) - {WEIGHTS}:
            index = {"metadata": {"total_size": size}, "weight_map": weight_map}
            (part / INDEX).write_text(json.dumps(index, indent=2) + "\n", encoding="utf-8")
    return Path(folder)


def _counted(stretches: Iterator[NDArray[Any]], width: int, bar: tqdm[NoReturn]) -> Iterator[memoryview]:
    """Their bytes; the bar is told how many entries have gone by."""
    for part in stretches:
        yield part.view("u1").data
        bar.update(part.nbytes // width)


def _kind(net: SubnetworkData, name: str) -> tuple[torch.dtype, tuple[int, ...]]:
    """Dtype and shape of a tensor of the injected model."""
    source = net.tied.get(name, name)
    if source in net.lacking:
        return net.lacking[source].dtype, net.lacking[source].shape
    outline = net.outlines[source]
    return dtype_named(outline.dtype), outline.shape


def _shards(net: SubnetworkData, kinds: Mapping[str, tuple[torch.dtype, tuple[int, ...]]]) -> dict[str, list[str]]:
    """File names, and the tensors of each: wide dtypes first, so that every tensor begins where its dtype needs it."""
    last = max(net.shards.values(), default=WEIGHTS)  # for what the fine-tuned checkpoint lacks
    shards: dict[str, list[str]] = {}
    for name in kinds:
        shards.setdefault(net.shards.get(name, last), []).append(name)
    for members in shards.values():
        members.sort(key=lambda name: -kinds[name][0].itemsize)
    return shards


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
