"""Where tensors come from: one reader per kind of source."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from numpy.typing import NDArray

from ken.errors import PairingError
from ken.models.checkpoints import quantised, unmerged
from ken.models.checkpoints.adapter_names import Adapters
from ken.models.checkpoints.architecture import Architecture, prefix_named
from ken.models.checkpoints.checkpoint_files import entries_of, open_path, renamed
from ken.models.checkpoints.dequantised import gguf_file, table
from ken.models.checkpoints.hub import locate, note_of
from ken.models.checkpoints.location import Location, Place, place_of
from ken.models.checkpoints.origins import Origin, origin_of, origin_of_module
from ken.models.checkpoints.remote.mirror import notes_of as remote_notes
from ken.models.checkpoints.state_dicts import arrays_as_tensors, tensors_of
from ken.models.checkpoints.ties import tie
from ken.models.checkpoints.vocabularies import vocabularies
from ken.models.checkpoints.wrappers import looked_through, plain_names, unwrapped
from ken.models.tensors.storages import aliases
from ken.models.tensors.tensor_reader import Entries

if TYPE_CHECKING:
    import torch
    import transformers

#: What stands for a model: a live module, its state dict (also of arrays), weights, a folder, a place on the hub.
Source: TypeAlias = "torch.nn.Module | Mapping[str, torch.Tensor | NDArray[Any]] | str | Path | Location"
#: What stands for the fine-tuned model of a pair: an adapter's folder or hub id is a path, too.
TunedSource: TypeAlias = "Source | Adapters"

# In a state dict nothing tells a buffer from a parameter; these are the floating-point buffers of torch itself.
_RUNNING_STATISTICS = ("running_mean", "running_var")


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The tensors of one model by name, in model order, aliases of tied tensors included.

    tied maps each alias to the name under which the tensor counts; of a checkpoint on disk also aliases that its files
    lack and its class ties. buffers are names of tensors that no optimiser trains. prefix is transformers' base-model
    prefix ("bert"), empty if unknown. source says in a word what was read. A checkpoint folder also has files
    (configuration, tokenizer) and shards: which file a tensor is in. module is the live module itself, if transformers
    knows its class: it may be written in another layout than this. notes are sentences about what was guessed, looked
    through or passed over when the source was read. live: it is a module in memory, which has all its tensors; any
    other checkpoint may lack some. vocabularies are names of tensors with a row for every word, as far as a live module
    tells them. config is the configuration, empty if unknown. origin says which repository and commit it came from.
    """

    tensors: Mapping[str, torch.Tensor]
    tied: Mapping[str, str] = field(default_factory=dict)
    buffers: frozenset[str] = frozenset()
    prefix: str = ""
    architecture: Architecture | None = None
    source: str = ""
    files: Mapping[str, Path] = field(default_factory=dict)
    shards: Mapping[str, str] = field(default_factory=dict)
    on_disk: bool = False
    module: transformers.PreTrainedModel | None = field(default=None, repr=False)
    notes: tuple[str, ...] = ()
    left: Mapping[str, str] = field(default_factory=dict)
    live: bool = False
    vocabularies: frozenset[str] = frozenset()
    config: Mapping[str, Any] = field(default_factory=dict)
    origin: Origin = field(default_factory=Origin)

    def renamed(self, names: Mapping[str, str]) -> Checkpoint:
        """The same with other names, given as a mapping from those here; it says so in its notes."""
        return replace(
            self,
            tensors=renamed(self.tensors, _inverse(names)),
            tied={names.get(alias, alias): names[name] for alias, name in self.tied.items()},
            buffers=frozenset(names[name] for name in self.buffers),
            shards={names[name]: shard for name, shard in self.shards.items() if name in names},
            vocabularies=frozenset(names.get(name, name) for name in self.vocabularies),
            notes=(*self.notes, looked_through(names, names)),
        )

    def entries(self, name: str) -> Entries:
        """The entries of a tensor, to be read a stretch at a time; no more of it comes into memory."""
        return entries_of(self.tensors, name)

    def whole(self, name: str) -> torch.Tensor:
        """A tensor with its values, all of them in memory."""
        tensor = self.tensors[name]
        if not tensor.is_meta:
            return tensor
        entries = self.entries(name)
        return entries.read(0, entries.count).reshape(entries.shape)


def read(source: Source) -> Checkpoint:
    """Open a module, a state dict, a file or a folder. No value is copied; of files only headers are read.

    Codes of a quantised model are read from files as plain values, where a library can give them
    (`ken.models.checkpoints.dequantised`).

    Raises `PairingError` for anything else, for tensors without values (on the meta device, or emptied by ZeRO-3), and
    for what is no weight: codes of a quantised model (`ken.models.checkpoints.quantised`), adapters that are not merged
    (`ken.models.checkpoints.unmerged`).

    >>> import torch
    >>> layer = torch.nn.BatchNorm1d(2)
    >>> checkpoint = read(layer)
    >>> list(checkpoint.tensors), sorted(checkpoint.buffers)
    (['weight', 'bias', 'running_mean', 'running_var', 'num_batches_tracked'],
     ['num_batches_tracked', 'running_mean', 'running_var'])
    """
    import torch

    if isinstance(source, torch.nn.Module):
        return _read_module(source)
    if isinstance(source, str | Path | Location):
        return _read_path(source)
    if isinstance(source, Mapping):
        return _read_state_dict(source)
    if isinstance(source, Adapters):
        raise PairingError("adapters may stand for the fine-tuned model of a pair, and for no other")
    raise PairingError(f"a model must be a torch module, a state dict or a path, got {type(source).__name__}")


def _weights(tensors: Mapping[str, Any], config: Mapping[str, Any] | None, where: str) -> tuple[str, ...]:
    """Refuse what is no weight. Returns what there is to note."""
    unmerged.check(tensors, where)
    return quantised.check(tensors, config, where)


def _read_state_dict(state: Mapping[str, Any]) -> Checkpoint:
    state = arrays_as_tensors(state)
    _weights(state, None, "the state dict")
    state = tensors_of(state)
    plain = plain_names(state)
    tensors = renamed(state, _inverse(plain))
    notes = tuple(filter(None, [looked_through(plain, state)]))
    return Checkpoint(tensors, aliases(tensors), _running_statistics(tensors), source="a state dict", notes=notes)


def _read_module(module: torch.nn.Module) -> Checkpoint:
    module = unwrapped(module)
    raw, where = module.state_dict(), f"the module {type(module).__name__}"
    config = quantised.settings(getattr(module, "config", None))
    quantised.check_module(module, where)
    notes = _weights(raw, config, where)
    state = tensors_of(raw)
    plain = plain_names(state)
    tensors = renamed(state, _inverse(plain))
    trained = {plain.get(name, name) for name, _ in module.named_parameters(remove_duplicate=False)}
    return Checkpoint(
        tensors,
        tied=aliases(tensors),
        buffers=frozenset(tensors) - trained,
        prefix=str(getattr(module, "base_model_prefix", "") or ""),
        architecture=architecture_of(module),
        source=_origin(module),
        module=_of_transformers(module),
        notes=tuple(filter(None, [*notes, looked_through(plain, state)])),
        live=True,
        vocabularies=frozenset(plain.get(name, name) for name in vocabularies(module)),
        config=dict(config),
        origin=origin_of_module(module),
    )


def _of_transformers(module: torch.nn.Module) -> transformers.PreTrainedModel | None:
    """The module, if it is a model of transformers. If it is, the library has been imported already."""
    library = sys.modules.get("transformers")
    return module if library is not None and isinstance(module, library.PreTrainedModel) else None


def _origin(module: torch.nn.Module) -> str:
    """Class and hub id of a module. Of a local folder only the last part: the rest is nobody's business."""
    came_from = str(getattr(getattr(module, "config", None), "_name_or_path", "") or "")
    if came_from.count("/") > 1 or Path(came_from).is_absolute() or "\\" in came_from:
        came_from = came_from.replace("\\", "/").rstrip("/").rpartition("/")[2]
    return f"{type(module).__name__} {came_from}".rstrip()


def _read_path(source: str | Path | Location) -> Checkpoint:
    path, place = locate(source), place_of(source)
    kind = "model" if place.address is not None else "folder" if path.is_dir() else "file"
    where = f"{kind} {_name(place, path)}"
    folder = gguf_file.opened(path) if gguf_file.is_gguf(path) else table.opened(open_path(path, place.variant), where)
    notes = (*folder.notes, note_of(place), *remote_notes(path), *_weights(folder.tensors, folder.config, where))
    architecture, prefix = None, ""
    classes = (folder.config or {}).get("architectures") or ()
    if folder.config is not None and classes and isinstance(classes[0], str):
        architecture = Architecture(classes[0], dict(folder.config))
        prefix = prefix_named(classes[0], folder.config)
    plain = plain_names(folder.tensors)
    class_name = "" if architecture is None else architecture.class_name
    tensors, tied, ties = tie(renamed(folder.tensors, _inverse(plain)), class_name, folder.config)
    return Checkpoint(
        tensors,
        tied=tied,
        buffers=_running_statistics(tensors),
        prefix=prefix,
        architecture=architecture,
        source=where,
        files=folder.files,
        shards={plain[name]: shard for name, shard in folder.shards.items() if name in plain},
        on_disk=True,
        notes=tuple(filter(None, [*notes, looked_through(plain, folder.tensors), *ties])),
        left=folder.left,
        config=folder.config or {},
        origin=origin_of(place, path),
    )


def _name(place: Place, path: Path) -> str:
    """What a model is called in what is written: of a path its last part, as the rest is nobody's business."""
    if place.url:
        return place.text
    return path.resolve().name if place.address is None else place.address.name


def _running_statistics(names: Mapping[str, Any]) -> frozenset[str]:
    return frozenset(name for name in names if name.rpartition(".")[2] in _RUNNING_STATISTICS)


def architecture_of(module: torch.nn.Module) -> Architecture | None:
    """Class and configuration of a module of transformers; None of any other."""
    config = getattr(module, "config", None)
    if config is None or not type(module).__module__.startswith("transformers."):
        return None
    # As the library writes it into config.json: numbers that JSON does not have are spelled out.
    return Architecture(type(module).__name__, json.loads(config.to_json_string()))


def _inverse(names: Mapping[str, str]) -> dict[str, str]:
    return {new: old for old, new in names.items()}
