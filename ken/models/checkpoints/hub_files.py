"""Which files of a repository make up a model: one format of weights, and what belongs to it; nothing else.

names of all files ──► `wanted` ──► what to get at once, and an index or modules.json, which name the rest (`further`)
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath

from ken.errors import HubError
from ken.models.checkpoints.other_files import plain

# Configuration, tokenizer, licence and card, in folders below as well; never code.
_SMALL = [
    *("*.json", "*.txt", "*.model", "*.jinja", "*.tiktoken", "*.bpe", "*.spm", "*.vocab", "*.codes", "*.tokenizer"),
    *("*tokenizer.model.v*", "*vocab", "LICENSE*", "NOTICE*", "README.md"),
]
_OF_ALL = ["LICENSE*", "NOTICE*", "README.md"]  # at the top, for everything below
# The same weights in another form, and what training has left.
_UNWANTED = ["onnx/*", "openvino/*", "original/*", "checkpoint-*/*", "runs/*"]
_INDEX = re.compile(r".*\.index(\.[\w-]+)?\.json")
_MODULES = "modules.json"
_PIPELINE = "model_index.json"
# In the order in which a folder is read; safetensors come first.
_KNOWN = (
    ("model", "safetensors"),
    ("diffusion_pytorch_model", "safetensors"),
    ("pytorch_model", "bin"),
    ("diffusion_pytorch_model", "bin"),
    ("consolidated", "safetensors"),
)
_ADAPTERS = (("adapter_model", "safetensors"), ("adapter_model", "bin"))
_ENDINGS = ("safetensors", "bin", "pth", "pt", "ckpt", "npz")
_LISTED = 8


@dataclass(frozen=True, slots=True)
class Wanted:
    """Paths in a repository: files to get at once; indices and modules, if any, name further ones."""

    files: tuple[str, ...]
    indices: tuple[str, ...] = ()
    modules: str = ""


def wanted(names: Collection[str], path: str = "", variant: str = "", *, where: str = "the repository") -> Wanted:
    """What to get for a model, or for one file of weights.

    Args:
        names: The paths of all files of the repository, with slashes.
        path: The folder, or the file, that is meant; empty: the top.
        variant: A word in the names of the weights, such as "fp16"; empty: the weights without one.
        where: What the repository is called in errors.

    Returns:
        The files. With an index its shards are not among them.

    Raises:
        HubError: There are no such weights, or more than one could be meant.

    >>> wanted(["model.safetensors", "pytorch_model.bin", "onnx/model.onnx", "config.json", "README.md"]).files
    ('config.json', 'README.md', 'model.safetensors')
    >>> wanted(["unet/a.safetensors", "unet/config.json", "vae/a.safetensors"], "unet/a.safetensors").files
    ('unet/config.json', 'unet/a.safetensors')
    """
    if path in names:
        beside = str(PurePosixPath(path).with_name("config.json"))
        return Wanted((beside, path) if beside in names and beside != path else (path,))
    front = f"{path}/" if path else ""
    inside = [name.removeprefix(front) for name in names if name.startswith(front)]
    if not inside:
        raise HubError(f"{where} has no file or folder {path!r}; it has {_some(_tops(names))}")
    place = f"{where}{f'/{path}' if path else ''}"
    find = _of_a_pipeline if _PIPELINE in inside else _weights_or_folder
    weights, indices, below = find(inside, variant, where=place)
    small = [name for name in inside if _is_small(name)]
    files = [f"{front}{name}" for name in (*small, *indices, *weights)]
    above = [] if not path else [name for name in names if any(fnmatchcase(name, one) for one in _OF_ALL)]
    above = [name for name in above if "/" not in name]
    modules = f"{front}{_MODULES}" if _MODULES in small and not below else ""
    return Wanted(tuple(dict.fromkeys([*above, *files])), tuple(f"{front}{index}" for index in indices), modules)


def shards_of(folder: Path, wanted: Wanted) -> list[str]:
    """The shards that the indices name, once they have been got into a folder; none if there is no index."""
    named = []
    for index in wanted.indices:
        shards = _json(folder / index).get("weight_map")
        files = dict.fromkeys(shards.values()) if isinstance(shards, dict) else {}
        named += [_beside(index, file) for file in files if isinstance(file, str) and plain(file)]
    return named


def further(folder: Path, wanted: Wanted, names: Collection[str]) -> list[str]:
    """The further files that an index and modules.json name, once these have been got into a folder.

    What they name and the repository does not have is passed over: whoever reads the folder says that it is missing.
    """
    files = shards_of(folder, wanted)
    if wanted.modules:
        listed = _json(folder / wanted.modules).get("modules", ())
        modules = listed if isinstance(listed, list) else []
        paths = [module.get("path") for module in modules if isinstance(module, dict)]
        below = [_beside(wanted.modules, path.strip("/")) for path in paths if isinstance(path, str) and path]
        for module in below:
            weights, _ = _weights(_directly(names, f"{module}/"), "", where=module)
            files += [f"{module}/{name}" for name in weights]
    known = set(names)
    return [name for name in dict.fromkeys(files) if name in known]


def _of_a_pipeline(names: Collection[str], variant: str, where: str) -> tuple[list[str], list[str], str]:
    """The weights of all parts of a pipeline of diffusers; a part that has none of the variant has those without."""
    files: list[str] = []
    indices: list[str] = []
    for folder in sorted({name.partition("/")[0] for name in names if "/" in name}):
        part = _directly(names, f"{folder}/")
        for word in dict.fromkeys((variant, "")):
            weights, index = _weights(part, word, where=f"{where}/{folder}")
            if weights or index:
                files += [f"{folder}/{name}" for name in weights]
                indices += [f"{folder}/{index}"] if index else []
                break
    return files, indices, ""


def _weights_or_folder(names: Collection[str], variant: str, where: str) -> tuple[list[str], list[str], str]:
    """The weights of a folder, or the index of them; else those of the only folder below that has some."""
    weights, index = _weights(_directly(names, ""), variant, where=where)
    if weights or index or _MODULES in names:  # which names the folders, once it is there
        return weights, [index] if index else [], ""
    kind = f" of the variant {variant!r}" if variant else ""
    below = {}
    for folder in sorted({name.rpartition("/")[0] for name in names if "/" in name}):
        if any(fnmatchcase(f"{folder}/", pattern) for pattern in _UNWANTED):
            continue
        weights, index = _weights(_directly(names, f"{folder}/"), variant, where=f"{where}/{folder}")
        if weights or index:
            below[folder] = weights, index
    if len(below) == 1:
        ((folder, (weights, index)),) = below.items()
        return [f"{folder}/{name}" for name in weights], [f"{folder}/{index}"] if index else [], folder
    if below:
        raise HubError(
            f"{where} has weights{kind} in several folders, {_some(below)}; name one: {_spelled(where)}/FOLDER"
        )
    raise HubError(f"{where} has no weights{kind} that could be read; it has {_some(names)}")


def _weights(names: Collection[str], variant: str, where: str) -> tuple[list[str], str]:
    """The files of weights among the names of one folder, or the name of their index."""
    known = set(names)
    infix = f".{variant}" if variant else ""
    for stem, ending in _KNOWN:
        if (single := f"{stem}{infix}.{ending}") in known:
            return [single], ""
        if (index := f"{stem}.{ending}.index{infix}.json") in known:
            return [], index
    for stem, ending in _KNOWN:
        if shards := _shards(names, stem, ending=ending, infix=infix):
            return shards, ""
    for stem, ending in _ADAPTERS:
        if (single := f"{stem}{infix}.{ending}") in known:
            return [single], ""
    for ending in _ENDINGS:
        others = [name for name in names if name.endswith(f"{infix}.{ending}") and _is_of_a_model(name)]
        if len(others) > 1:
            raise HubError(
                f"{where} has several files of weights and none of a known name, {_some(others)}; name one: "
                f"{_spelled(where)}/{others[0]}"
            )
        if others:
            return others, ""
    return [], ""


def _is_of_a_model(name: str) -> bool:
    """Whether a file of that ending may be weights: no state of training, and no subnetwork."""
    return not name.endswith(".ken.safetensors") and not re.match(
        r"(training_args|optimizer|scheduler|rng_state|scaler|adapter_model)\b", name
    )


def _shards(names: Iterable[str], stem: str, *, ending: str, infix: str) -> list[str]:
    """The shards of one set that has no index: of several sets that of the most, as the reader has it."""
    number = r"-\d{5}-of-(\d{5})"
    either = rf"{re.escape(infix)}{number}|{number}{re.escape(infix)}" if infix else number
    pattern = re.compile(rf"{re.escape(stem)}(?:{either})\.{ending}")
    sets: dict[str, list[str]] = {}
    for name in sorted(names):
        if match := pattern.fullmatch(name):
            sets.setdefault(next(filter(None, match.groups())), []).append(name)
    return sets[max(sets)] if sets else []


def _is_small(name: str) -> bool:
    """Whether a file is configuration, tokenizer, licence or card. An index is got only with its weights."""
    if any(fnmatchcase(name, pattern) for pattern in _UNWANTED) or _INDEX.fullmatch(name):
        return False
    return any(fnmatchcase(name, pattern) for pattern in _SMALL)


def _directly(names: Iterable[str], front: str) -> list[str]:
    """The names of the files in a folder, without those in folders below."""
    return [name[len(front) :] for name in names if name.startswith(front) and "/" not in name[len(front) :]]


def _beside(file: str, name: str) -> str:
    folder = file.rpartition("/")[0]
    return f"{folder}/{name}" if folder else name


def _spelled(where: str) -> str:
    """A repository as it may be given; a URL as it is."""
    return where if "://" in where else f"hf://{where}"


def _tops(names: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(name.partition("/")[0] for name in names))


def _some(names: Iterable[str]) -> str:
    names = sorted(names)
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return f"{', '.join(names[:_LISTED])}{more}" if names else "no files"


def _json(path: Path) -> dict[str, object]:
    """What a file says; nothing if it is no JSON, which whoever reads it says. A list goes by the file's own word."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {"modules": content}


def files_below(folder: Path) -> Iterator[str]:
    """The paths of all files in a folder and below, with slashes; links that lead nowhere are left out."""
    for file in sorted(folder.rglob("*")):
        if file.is_file():
            yield file.relative_to(folder).as_posix()
