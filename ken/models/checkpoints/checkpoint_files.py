"""Checkpoints on disk: a file of weights, or a folder as the libraries write it. Read lazily."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from ken.errors import PairingError
from ken.models.checkpoints import weight_sets
from ken.models.checkpoints.file_names import is_index, parse
from ken.models.checkpoints.links import leads_out
from ken.models.checkpoints.other_files import gather, module_paths
from ken.models.checkpoints.parts import Part, parts_of, pipeline_parts
from ken.models.checkpoints.safetensors_file import Reader
from ken.models.checkpoints.weight_files import ENDINGS, OpenedFile
from ken.models.checkpoints.weight_sets import Weights, read_json
from ken.models.tensors.storages import aliases
from ken.models.tensors.tensor_reader import Entries, Store

if TYPE_CHECKING:
    import torch

WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"
CONFIG = "config.json"
#: Weights whose names are not those of the class that a config.json beside them names.
_OWN_NAMES = "consolidated"


@dataclass(frozen=True, slots=True)
class Folder:
    """What lies on disk: tensors by name, the file each is in, config, other files.

    shards has the path of each tensor's file below the folder, as it is written again; it is empty if there is one file
    alone, of the usual name. A file in a folder below has its tensors by names without the folder's, if they have it.
    files and left are what comes along with the model and what stays behind (`ken.models.checkpoints.other_files`).
    notes are sentences about what was guessed or passed over.
    """

    tensors: Mapping[str, torch.Tensor]
    shards: Mapping[str, str] = field(default_factory=dict)
    config: Mapping[str, Any] | None = None
    files: Mapping[str, Path] = field(default_factory=dict)
    left: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


class OnDisk(Mapping[str, "torch.Tensor"]):
    """Tensors of some files; a tensor is a view of its file, read as it is used.

    Made of the file of each tensor, opened, and the name that it has there.
    """

    def __init__(self, places: Mapping[str, tuple[Store | Mapping[str, torch.Tensor], str]]) -> None:
        self._places = places

    def __getitem__(self, name: str) -> torch.Tensor:
        file, stored_name = self._places[name]
        return file.tensor(stored_name) if isinstance(file, Store) else file[stored_name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)

    def entries(self, name: str) -> Entries:
        """The entries of a tensor, to be read a stretch at a time (of a .bin file they stay mapped into memory)."""
        file, stored_name = self._places[name]
        return entries_of(file, stored_name)

    def place(self, name: str) -> tuple[Store | Mapping[str, torch.Tensor], str]:
        """The file of a tensor, and its name there."""
        return self._places[name]

    def renamed(self, names: Mapping[str, str]) -> OnDisk:
        """The same tensors by other names, as `renamed` gives them."""
        return OnDisk({new: self._places[old] for new, old in names.items()})

    @classmethod
    def together(cls, groups: Mapping[str, Mapping[str, tuple[OpenedFile, str]]]) -> OnDisk:
        """The tensors of several groups of files, mapped from what their names begin with."""
        return cls({f"{prefix}{name}": place for prefix, group in groups.items() for name, place in group.items()})

    def loaded(self) -> dict[str, torch.Tensor]:
        """The tensors of .bin files, which are there without being read, and may share memory."""
        return {name: self[name] for name, (file, _) in self._places.items() if not isinstance(file, Store | OnDisk)}


def entries_of(tensors: Store | Mapping[str, torch.Tensor], name: str) -> Entries:
    """The entries of one of some tensors, to be read a stretch at a time; no more of a safetensors file is read."""
    if isinstance(tensors, Store | OnDisk):
        return tensors.entries(name)
    return Entries.from_tensor(tensors[name])


Place: TypeAlias = "tuple[Store | Mapping[str, torch.Tensor], str]"


def same_place(one: Place, other: Place) -> bool:
    """Whether two tensors, each among others by its name, are one blob of one file or one view of one memory.

    Then they are equal, and need not be read. That of others it cannot be told says nothing about their values.

    >>> import torch
    >>> tensors = {"a": torch.ones(2), "b": torch.ones(2)}
    >>> same_place((tensors, "a"), (tensors, "a")), same_place((tensors, "a"), (tensors, "b"))
    (True, False)
    """
    (file, name), (other_file, other_name) = _stored(one), _stored(other)
    if isinstance(file, Reader) and isinstance(other_file, Reader):
        return (file.identity, name) == (other_file.identity, other_name)
    if isinstance(file, Store) or isinstance(other_file, Store):
        return False
    return bool(aliases({"one": file[name], "other": other_file[other_name]}))


def _stored(place: Place) -> Place:
    """The file itself, or the mapping, and the name there."""
    tensors, name = place
    return _stored(tensors.place(name)) if isinstance(tensors, OnDisk) else place


def renamed(tensors: Mapping[str, torch.Tensor], names: Mapping[str, str]) -> Mapping[str, torch.Tensor]:
    """Tensors by new names, mapped to the old ones. What is not named is left out, what is named twice has aliases."""
    if isinstance(tensors, OnDisk):
        return tensors.renamed(names)
    return {new: tensors[old] for new, old in names.items()}


def open_path(path: str | Path, variant: str = "") -> Folder:
    """Open a file of weights, an index of shards, or a folder that has either; a folder of several models as one.

    Of safetensors only headers are read. Files of torch.save are pickles: torch reads them with `weights_only`, which
    runs no code, and maps them into memory. Beside a file that is given by its path lie the configuration and the
    tokenizer of its model, if there is a config.json. Pipelines of diffusers and models of sentence-transformers are
    their parts (`ken.models.checkpoints.parts`).

    variant chooses among the files of a folder, as in `from_pretrained`: "fp16" those that are called so.

    Raises `PairingError` if there is nothing of the kind, or less than an index names, and `FormatError` for damaged
    files.

    >>> import tempfile, torch
    >>> from safetensors.torch import save_file
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save_file({"w": torch.ones(2)}, Path(folder) / "model.fp16.safetensors")
    ...     dict(open_path(folder, variant="fp16").tensors)
    {'w': tensor([1., 1.])}
    """
    path = Path(path)
    if path.is_file():
        if variant:
            raise PairingError(f"a variant chooses among the files of a folder, and {path} is a file; give one of them")
        return _given(path)
    if not path.is_dir():
        raise PairingError(f"there is no file or folder {path}")
    parts, notes = parts_of(path)
    weights = _of_parts(path, parts, variant)
    read = {f"{part.path}/{name}" if part.path else name for part, lying in weights for name in lying.read}
    return _folder(path, weights, read=read, notes=notes)


def has_weights(path: Path) -> bool:
    """Whether a path is that of a file of weights, or of a folder that looks as if there were weights in it.

    >>> has_weights(Path("config.json"))
    False
    """
    if path.is_dir():
        return any(weight_sets.has_weights(path, part) for part in ("", *module_paths(path), *pipeline_parts(path)))
    return path.is_file() and (path.suffix in ENDINGS or is_index(path.name))


def companions(path: Path) -> list[Path]:
    """The files that are read along with a file of weights that is given by its path."""
    if not path.is_file() or not (is_index(path.name) or (path.parent / CONFIG).is_file()):
        return []
    named = weight_sets.shards_named(path.parent, path.name) if is_index(path.name) else []
    beside = gather(path.parent).files.values() if (path.parent / CONFIG).is_file() else ()
    return [*(path.parent / name for name in named), *beside]


def _given(path: Path) -> Folder:
    """What lies in a file, with what lies beside it if it is clearly that of its model."""
    weights = weight_sets.chosen(path)
    folder = path.parent
    alone = Folder(OnDisk(weights.places), _shards([(Part(), weights)]), notes=weights.notes)
    if not (folder / CONFIG).is_file() or weights.stem == _OWN_NAMES:
        return alone
    try:
        read_json(folder, CONFIG)
    except PairingError:  # who gives a file need not mean what is beside it
        word = "is a link that leads out of the folder" if leads_out(folder, CONFIG) else "is no configuration"
        return replace(alone, notes=(*alone.notes, f"the {CONFIG} beside {path.name} {word}: it was not used"))
    note = f"{path.name} was given by its path: {CONFIG} and the files beside it were taken as those of its model"
    return _folder(folder, [(Part(), weights)], read=set(weights.read), notes=(note,))


def _of_parts(path: Path, parts: list[Part], variant: str) -> list[tuple[Part, Weights]]:
    """The weights of all parts. A part that has none of a variant has those without, as in diffusers."""
    if len(parts) == 1:
        return [(parts[0], weight_sets.find(path, parts[0].path, variant))]
    weights, plain_ones = [], []
    error: PairingError | None = None
    for part in parts:
        try:
            weights.append((part, weight_sets.find(path, part.path, variant)))
        except PairingError as reason:
            without = weight_sets.find(path, part.path) if variant else None
            if without is None or without.variant:
                raise
            error = error or reason
            plain_ones.append(part.path or "the folder itself")
            weights.append((part, without))
    if error is not None and len(plain_ones) == len(parts):
        raise error
    if plain_ones:
        first, lying = weights[0]
        note = f"{', '.join(plain_ones)}: no weights of the variant {variant!r}, those without one were taken"
        weights[0] = first, replace(lying, notes=(*lying.notes, note))
    return weights


def _folder(path: Path, weights: list[tuple[Part, Weights]], *, read: set[str], notes: tuple[str, ...]) -> Folder:
    notes = (*notes, *(note for _, lying in weights for note in lying.notes))
    config, note = _config(path, weights)
    around = gather(path, read)
    return Folder(
        OnDisk.together({part.prefix: lying.places for part, lying in weights}),
        _shards(weights),
        config,
        files=around.files,
        left=around.left,
        notes=(*notes, *filter(None, [note])),
    )


def _config(path: Path, weights: list[tuple[Part, Weights]]) -> tuple[dict[str, Any] | None, str]:
    """The configuration: of the part whose names are plain, else that of each part by its name; and a note."""
    configs = {}
    for part, lying in weights:
        file = f"{part.path}/{CONFIG}" if part.path else CONFIG
        if not (path / file).is_file():
            continue
        if lying.stem == _OWN_NAMES:
            return None, f"{file} was not used: it has other names for the tensors than {_OWN_NAMES}.safetensors"
        config = read_json(path, file)
        if not part.prefix:
            return config, ""
        configs[part.path] = config
    return configs or None, ""


def _shards(weights: list[tuple[Part, Weights]]) -> dict[str, str]:
    """The file of each tensor as it is written again: as safetensors, and without a variant."""
    shards = {}
    for part, lying in weights:
        single = len(set(lying.stored.values())) == 1
        for name, file in lying.stored.items():
            named = parse(file)
            written = named.written if named else WEIGHTS if single else str(Path(file).with_suffix(".safetensors"))
            shards[f"{part.prefix}{name}"] = f"{part.path}/{written}" if part.path else written
    return {} if set(shards.values()) == {WEIGHTS} else shards
