"""What an exported model has in which file, and the bytes of each tensor, a stretch at a time."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, BinaryIO, TypeAlias

from ken.errors import at_tensor
from ken.injection.inject import find_places, merged_stretches
from ken.injection.stand_ins import find_stand_ins, stretches
from ken.models.checkpoints.checkpoint import Checkpoint
from ken.models.checkpoints.checkpoint_files import WEIGHTS
from ken.models.checkpoints.file_names import index_beside, is_whole
from ken.models.checkpoints.safetensors_file import Writer, stored_dtype
from ken.models.checkpoints.ties import untold
from ken.models.tensors.tensor_bytes import dtype_named
from ken.subnetwork.subnetwork import SubnetworkData

if TYPE_CHECKING:
    import torch

#: What every file says of itself, as transformers has it.
METADATA = {"format": "pt"}

#: Dtype and shape.
_Kind: TypeAlias = "tuple[torch.dtype, tuple[int, ...]]"


class ExportLayout:
    """A subnetwork and its pretrained model, laid out as files.

    The same comes of the same two models in any process.

    Attributes:
        shards: The path of every file of weights in its folder, and the tensors of each, in their order.
    """

    def __init__(self, net: SubnetworkData, theirs: Checkpoint) -> None:
        self._net, self._theirs = net, theirs
        self._places, self._lent = find_places(net, theirs), find_stand_ins(net, theirs)
        names = [*net, *self._lent]
        if net.architecture is None:  # nothing else would know that these are the same tensors
            names += list(net.tied)
        else:
            names += untold(net.tied, net.architecture.class_name, net.architecture.config)
        self._kinds = {name: _kind(net, name) for name in names}
        for name, (dtype, _) in self._kinds.items():
            with at_tensor(name):
                stored_dtype(dtype)
        self.shards = _shards(net, self._kinds, lent=self._lent, theirs=theirs)

    def entries(self, name: str) -> int:
        """How many a tensor has."""
        return math.prod(self._kinds[name][1])

    def size(self, name: str) -> int:
        """How many bytes a tensor takes."""
        return self.entries(name) * self._kinds[name][0].itemsize

    def parts(self, name: str) -> Iterator[memoryview]:
        """The bytes of a tensor of the injected model; with the last of them, it has been checked."""
        source = self._net.tied.get(name, name)
        if source in self._lent:
            yield from stretches(self._net, source, self._theirs, place=self._lent[source])
            return
        for part in merged_stretches(self._net, source, self._theirs, place=self._places[source]):
            yield part.view("u1").data

    def writer(self, file: BinaryIO, shard: str) -> Writer:
        """A writer of one of the files, which is new."""
        return Writer(file, {_stored_name(name, shard): self._kinds[name][1] for name in self.shards[shard]}, METADATA)

    def blob(self, name: str, shard: str) -> tuple[str, str, tuple[int, ...]]:
        """What a tensor is called in its file, with dtype and shape."""
        dtype, shape = self._kinds[name]
        return _stored_name(name, shard), stored_dtype(dtype), shape

    def indices(self) -> dict[str, dict[str, Any]]:
        """The indices that are needed, by their path: none for a file that is found by its name alone."""
        by_folder: dict[str, list[str]] = {}
        for shard in self.shards:
            by_folder.setdefault(shard.rpartition("/")[0], []).append(shard)
        indices: dict[str, dict[str, Any]] = {}
        for files in by_folder.values():
            if len(files) == 1 and is_whole(files[0]):
                continue
            size = sum(self.size(name) for file in files for name in self.shards[file])
            names = [(file, name) for file in files for name in self.shards[file]]
            weight_map = {_stored_name(name, file): file.rpartition("/")[2] for file, name in names}
            indices[index_beside(files[0])] = {"metadata": {"total_size": size}, "weight_map": weight_map}
        return indices


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
