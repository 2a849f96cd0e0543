"""Which files of a folder are the weights of a model: a file, or shards; one variant of several. Opened together."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ken.errors import PairingError
from ken.models.checkpoints import mistaken_files
from ken.models.checkpoints.file_names import KINDS, FileName, is_index, parse
from ken.models.checkpoints.links import inside
from ken.models.checkpoints.other_files import plain
from ken.models.checkpoints.torch_files import pieces
from ken.models.checkpoints.weight_files import Opened, OpenedFile, open_file

if TYPE_CHECKING:
    import torch

_WANTED = "model.safetensors, model.safetensors.index.json, pytorch_model.bin, pytorch_model.bin.index.json"


@dataclass(frozen=True, slots=True)
class Weights:
    """The weights of one model: for each tensor its file, opened, and its name there.

    stored says for each tensor what its file is called, read is what was read, notes what was guessed.
    """

    places: Mapping[str, tuple[OpenedFile, str]]
    stored: Mapping[str, str]
    read: frozenset[str]
    notes: tuple[str, ...] = ()
    variant: str = ""

    @property
    def stem(self) -> str:
        """What the files are called in front of shard, variant and ending, if that is a name that is known."""
        names = {named.stem for file in self.stored.values() if (named := parse(file))}
        return names.pop() if len(names) == 1 else ""


@dataclass(slots=True)
class _Folder:
    """A folder of a model, or of one of its parts: root is what was given, below the part's path, with a slash."""

    root: Path
    below: str
    notes: list[str] = field(default_factory=list)

    @property
    def path(self) -> Path:
        return self.root / self.below

    def open(self, name: str) -> Opened:
        opened = open_file(inside(self.root, f"{self.below}{name}"))
        self.notes += opened.notes
        return opened


def find(root: Path, part: str = "", variant: str = "") -> Weights:
    """The weights in a folder, or in the part of a model that lies below it.

    Without a variant, files without one are taken; if there are none, those of the only variant. What an index leaves
    out, and shards without an index if all are there, are read with a note.

    Raises `PairingError` if there are no weights, not those of the variant, or those of several and none is asked for.
    """
    folder = _Folder(root, f"{part}/" if part else "")
    named = [name for entry in sorted(folder.path.iterdir()) if (name := parse(entry.name)) and entry.is_file()]
    by_variant = {name.variant: _first([other for other in named if other.variant == name.variant]) for name in named}
    variants = {name: files for name, files in sorted(by_variant.items()) if files}
    if variants and variant not in variants:
        variant = _only(folder, variants, variant)
    if variants:
        return _opened(folder, variants[variant])
    if variant:
        raise PairingError(f"the folder {folder.path} has no weights of any variant, and so none of {variant!r}")
    alone = pieces([entry.name for entry in folder.path.iterdir()])
    if alone:
        return _one(folder, alone[0])
    raise PairingError(f"the folder {folder.path} has none of {_WANTED}; {mistaken_files.advice(folder.path)}")


def _only(folder: _Folder, variants: Mapping[str, Sequence[FileName]], wanted: str) -> str:
    """The variant to take where there is none of the one that is wanted. Raises `PairingError` if that is not clear."""
    those = ", ".join(repr(name) for name in variants if name)
    if wanted:
        also = " and files without a variant" if "" in variants else ""
        raise PairingError(
            f"the folder {folder.path} has no weights of the variant {wanted!r}; it has "
            f"{those or 'none of any variant'}{also}"
        )
    first = next(iter(variants))
    if len(variants) > 1:
        raise PairingError(
            f"the folder {folder.path} has weights in the variants {those}, and none without; say which, with "
            f"variant={first!r}, or give the path of a file, such as {folder.path / variants[first][0].name}"
        )
    folder.notes.append(
        f"the folder {folder.path.resolve().name} has weights in the variant {first!r} alone, which was taken"
    )
    return first


def has_weights(root: Path, part: str) -> bool:
    """Whether there is anything in a part of a model that is called like weights."""
    folder = root / part
    return folder.is_dir() and any(parse(entry.name) is not None for entry in folder.iterdir())


def chosen(path: Path) -> Weights:
    """The weights in a file that was given by its own path: all shards, if it is an index of them."""
    if is_index(path.name):
        return _sharded(_Folder(path.parent, ""), path.name)
    opened = open_file(path)
    notes = list(opened.notes)
    named = parse(path.name)
    if named is not None and named.count > 1:
        notes.append(f"{path.name} is one of {named.count} shards; no other was read")
    places = {name: (opened.file, name) for name in opened.names}
    return Weights(places, dict.fromkeys(places, path.name), frozenset({path.name}), notes=tuple(notes))


def shards_named(folder: Path, index: str) -> list[str]:
    """The files that an index names; none if it cannot be read."""
    try:
        names = json.loads((folder / index).read_text(encoding="utf-8"))["weight_map"].values()
        return sorted({name for name in names if isinstance(name, str) and plain(name)})
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return []


def _first(named: Sequence[FileName]) -> list[FileName]:
    """Of files of one variant those that are read: a whole file, an index, or shards; empty if there are none."""
    for kind in KINDS:
        mine = [name for name in named if (name.stem, name.ending) == kind and not name.count]
        if mine:
            return [min(mine, key=lambda name: (name.index, name.name))]
    sets: dict[tuple[bool, str, str, int], list[FileName]] = {}
    for name in named:
        if name.count:
            sets.setdefault((name.ending == "safetensors", name.stem, name.ending, name.count), []).append(name)
    return max(sets.items())[1] if sets else []


def _opened(folder: _Folder, files: Sequence[FileName]) -> Weights:
    if files[0].index:
        return _sharded(folder, files[0].name, files[0].variant)
    if files[0].count:
        return _without_index(folder, files)
    return _one(folder, files[0].name, files[0].variant)


def _one(folder: _Folder, name: str, variant: str = "") -> Weights:
    opened = folder.open(name)
    named = parse(name)
    indices = {entry.name for entry in folder.path.iterdir() if (other := parse(entry.name)) and other.index}
    mine = {index for index in indices if named and (other := parse(index)) and _same_kind(named, other)}
    places = {stored: (opened.file, stored) for stored in opened.names}
    return Weights(
        places, dict.fromkeys(places, name), frozenset({name, *mine}), notes=tuple(folder.notes), variant=variant
    )


def _same_kind(one: FileName, other: FileName) -> bool:
    return (one.stem, one.ending, one.variant) == (other.stem, other.ending, other.variant)


def _sharded(folder: _Folder, index: str, variant: str = "") -> Weights:
    where = folder.path / index
    listed = read_json(folder.root, f"{folder.below}{index}").get("weight_map")
    if not isinstance(listed, dict) or not all(isinstance(file, str) for file in listed.values()):
        raise PairingError(f"{where} has no weight_map from tensor names to file names")
    files: dict[str, Opened] = {}
    for file in dict.fromkeys(listed.values()):
        if not plain(file):
            raise PairingError(f"{where} names {file!r}, which is not the name of a file in its folder")
        if not (folder.path / file).is_file():
            raise PairingError(f"{where} names {file}, which is not there")
        files[file] = folder.open(file)
    names = {file: set(opened.names) for file, opened in files.items()}
    for name, file in listed.items():
        if name not in names[file]:
            raise PairingError(f"{where} says that {name} is in {file}, which has no such tensor")
    # transformers reads its files whole, whatever the index says of them.
    omitted = _whole(files, folder.path, listed)
    if omitted:
        folder.notes.append(
            f"{index} leaves out {len(omitted):,} of the tensors in its files ({next(iter(omitted))}, …); "
            "they were read as well"
        )
    return _spread(folder, files, {**listed, **omitted}, read={index, *files}, variant=variant)


def _without_index(folder: _Folder, shards: Sequence[FileName]) -> Weights:
    """Shards that have lost their index: their names say whether all are there."""
    first = shards[0]
    by_number = {shard.number: shard.name for shard in shards}
    missing = [
        first.name.replace(f"-{first.number:05d}-of-", f"-{number:05d}-of-")
        for number in range(1, first.count + 1)
        if number not in by_number
    ]
    if missing:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise PairingError(
            f"the folder {folder.path} has {len(by_number)} of {first.count} shards and no index of them: "
            f"{missing[0]}{more} missing; get the whole checkpoint again"
        )
    files = {by_number[number]: folder.open(by_number[number]) for number in sorted(by_number) if number <= first.count}
    folder.notes.append(
        f"the {len(files)} shards have no index beside them; they were read in the order of their names"
    )
    return _spread(folder, files, _whole(files, folder.path, {}), read=set(files), variant=first.variant)


def _spread(
    folder: _Folder, files: Mapping[str, Opened], stored: Mapping[str, str], *, read: set[str], variant: str
) -> Weights:
    places = {name: (files[file].file, name) for name, file in stored.items()}
    return Weights(places, stored, frozenset(read), notes=tuple(folder.notes), variant=variant)


def _whole(files: Mapping[str, Opened], path: Path, listed: Mapping[str, str]) -> dict[str, str]:
    """The tensors of all files that are not listed yet, and the file of each. Of two, the values must be the same."""
    shards: dict[str, str] = {}
    for file, opened in files.items():
        for name in opened.names:
            if name in listed:
                continue
            first = shards.setdefault(name, file)
            if first != file and not _equal(_tensor(files[first].file, name), _tensor(opened.file, name)):
                raise PairingError(f"{path / first} and {file} have different tensors {name}, and no index says which")
    return shards


def _tensor(file: OpenedFile, name: str) -> torch.Tensor:
    return file[name] if isinstance(file, Mapping) else file.whole(name)


def _equal(one: torch.Tensor, other: torch.Tensor) -> bool:
    import torch

    return one.dtype == other.dtype and torch.equal(one, other)


def read_json(folder: Path, name: str) -> dict[str, Any]:
    """The object in a JSON file of a folder. Raises `PairingError` if there is none in it."""
    path = inside(folder, name)
    if word := mistaken_files.pointer(path):
        raise PairingError(f"{path} {word}")
    try:
        settings = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        empty = "it is empty; " if not path.stat().st_size else ""
        raise PairingError(f"{path} is not JSON: {empty}{error}") from None
    if not isinstance(settings, dict):
        raise PairingError(f"{path} must hold a JSON object, got {type(settings).__name__}")
    return settings
