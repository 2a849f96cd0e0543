"""What of a checkpoint folder belongs to the model and is no weight of it, folders below included; what stays behind.

belongs     whether a path may be that of such a file: what a subnetwork file says is checked by this, too
gather      the files of a folder that come along, and all others with the reason why they do not
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from ken.errors import PairingError
from ken.models.checkpoints.links import leads_out
from ken.models.checkpoints.mistaken_files import pointer

# Endings of configuration and tokenizer files. No Python among them, and nothing that is unpickled: a subnetwork may
# come from a stranger, and transformers can be told to run such files.
_SUFFIXES = {
    *(".json", ".txt", ".model", ".jinja", ".tiktoken", ".bpe", ".spm", ".vocab"),
    *(".codes", ".tokenizer", ".dict", ".arpa"),
}
# Files that have no such ending, and are known by their names: of a tokenizer, licences, and the model card.
_BY_NAME = re.compile(
    r"(vocab|vocabulary|merges|bpe|codes|dict|tokens|tokenizer)|tokenizer\.model\.v\w{1,8}"
    r"|(licen[sc]e|notice|copying|copyright|use_policy|attribution|readme|model_?card)([-._]\w{1,20})?(\.(md|txt))?",
    re.IGNORECASE,
)
# What a tokenizer or a configuration is called, whatever its size, and wherever it lies.
_OF_A_MODEL = re.compile(
    r".*config(uration)?\.json|(.*_)?(tokenizer|processor|preprocessor|feature_extractor).*|(.*_)?vocab.*|merges.*"
    r"|bpe\.codes|dict(\..*)?|special_tokens_map\.json|added_tokens\.json|modules\.json|tekken\.json|encoder\.json"
    r"|(spiece|sentencepiece|spm).*|chat_template.*|.*\.(model|spm|tiktoken|jinja|codes|bpe|vocab|tokenizer)"
    r"|unigrams?\.(json|txt)|attrs\.json|alphabet\.json|emoji\.json|normalizer\.json|prompts?\.json",
    re.IGNORECASE,
)
_INDEX = re.compile(r".*\.index(\.\w+)?\.json")
_TRAINING = re.compile(
    r"(trainer_state|(all|train|eval|test|predict)_results|generated_predictions|optimizer|rng_state|training_args"
    r"|events\.out|zero_pp_rank|random_states|zero_to_fp32).*|(scheduler|scaler)(_\d+)?\.(pt|pth|bin)|latest"
)
_ADAPTER = re.compile(r"adapter_(config|model).*")
_OTHER_FORMS = re.compile(
    r".*\.(onnx|onnx_data|h5|msgpack|gguf|ggml|tflite|pb|xml|mlmodel|ot|tar|nemo|ckpt\.\w+|engine|plan)"
)
_PICKLES = re.compile(r".*\.(bin|pt|pth|pkl|pickle|ckpt|joblib|dill|npy|npz|distcp)")
_CODE = re.compile(r".*\.(py|pyc|so|dll|dylib|exe|sh|bat|ps1|ipynb|js|jar|whl|cu|cpp|c|h|rb|pl)")
_PICKLE = "a pickle, which may run code when it is read"
_DEVICES = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)

# Folders below that are something else as a whole.
_FOLDERS = {
    re.compile(
        r"checkpoint-\d+|global_step\d+|runs?|logs?|wandb|mlruns|tensorboard|pytorch_model_fsdp.*"
    ): "of training",
    re.compile(r"onnx|openvino|coreml|tf|flax|gguf|ggml|mlx|original|tensorrt"): "weights in another form",
    re.compile(r"__pycache__|node_modules"): "code",
}
#: Folders whose files belong to a model by the folder's name.
_KNOWN_FOLDERS = {"additional_chat_templates", "language_model", "sentencepiece"}

_LONGEST = 1 << 26
DEEPEST = 6  # names in a path
_MOST = 10_000
_LISTED = 12


@dataclass(frozen=True, slots=True)
class Belongings:
    """files by their path below the folder, with slashes; left, what stays behind, and in a few words why."""

    files: Mapping[str, Path] = field(default_factory=dict)
    left: Mapping[str, str] = field(default_factory=dict)


def belongs(path: str) -> bool:
    """Whether a path, with slashes, may be that of a configuration or tokenizer file, and is safe to write.

    Weights are no such files, with one exception: below, safetensors are the weights of another module.

    >>> belongs("tokenizer.json"), belongs("1_Pooling/config.json"), belongs("2_Dense/model.safetensors")
    (True, True, True)
    >>> belongs("modeling.py"), belongs("../config.json"), belongs("trainer_state.json"), belongs("model.safetensors")
    (False, False, False, False)
    """
    parts = path.split("/")
    if len(parts) > DEEPEST or not all(plain(part) and _anywhere(part) for part in parts):
        return False
    name = parts[-1]
    if _INDEX.fullmatch(name) or name in ("trainer_state.json", "all_results.json"):
        return False
    suffix = PurePosixPath(name).suffix
    return suffix in _SUFFIXES or bool(_BY_NAME.fullmatch(name)) or (suffix == ".safetensors" and len(parts) > 1)


def plain(name: str) -> bool:
    """Whether a name is that of a file in a folder and nothing else: no path, not hidden, printable.

    >>> plain("model-00001-of-00002.safetensors"), plain("a/b"), plain("..")
    (True, False, False)
    """
    return (
        0 < len(name.encode("utf-8", "replace")) <= 255
        and not name.startswith(".")
        and name.isprintable()
        and not set(name) & set('/\\:*?"<>|')
    )


def _anywhere(name: str) -> bool:
    """Whether Windows can have a file of that name as well."""
    return not _DEVICES.fullmatch(name) and not name.endswith((" ", "."))


def gather(folder: Path, weights: Collection[str] = ()) -> Belongings:
    """The files of a checkpoint folder that belong to its model, and what stays behind, in the order of their paths.

    weights are the files that its weights were read from. Hidden files are passed over, and nothing but the beginning
    of files is read.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as name:
    ...     for file in ("config.json", "model.safetensors", "optimizer.pt"):
    ...         _ = Path(name, file).write_text("{}")
    ...     belongings = gather(Path(name), {"model.safetensors"})
    >>> list(belongings.files), belongings.left
    (['config.json'], {'optimizer.pt': 'of training'})
    """
    modules = module_paths(folder)
    files, left = {}, {}
    for number, (path, why) in enumerate(_walk(folder, "", modules)):
        if number >= _MOST:
            left[f"{path} and what follows"] = f"more than {_MOST:,} files"
            break
        if path in weights:
            continue
        why = why or _reason(folder, path, modules)
        if why:
            left[path] = why
        else:
            files[path] = folder / path
    for module in modules:
        if module and not (folder / module).is_dir():
            left[f"{module}/"] = "named by modules.json, and not there"
    return Belongings(files, left)


def left_behind(left: Mapping[str, str]) -> str:
    """What stays behind in one sentence, or nothing.

    >>> left_behind({"a.py": "code", "b.py": "code", "optimizer.pt": "of training"})
    'left behind: a.py, b.py (code); optimizer.pt (of training)'
    """
    paths_by_reason: dict[str, list[str]] = {}
    for path, why in left.items():
        paths_by_reason.setdefault(why, []).append(path)
    parts = []
    for why, paths in paths_by_reason.items():
        more = f" and {len(paths) - _LISTED} more" if len(paths) > _LISTED else ""
        parts.append(f"{', '.join(paths[:_LISTED])}{more} ({why})")
    return f"left behind: {'; '.join(parts)}" if parts else ""


def check(files: Mapping[str, Path]) -> None:
    """Raise `PairingError` for a pointer of git-lfs or the like: a model without its tokenizer is of no use."""
    for path, file in files.items():
        if word := pointer(file, path):
            raise PairingError(f"{file} {word}")


def _walk(folder: Path, below: str, modules: Collection[str]) -> Iterator[tuple[str, str]]:
    """Paths of all files below, and of folders that are not looked into, with the reason why."""
    for entry in sorted(os.scandir(folder / below), key=lambda entry: entry.name):
        path = f"{below}{entry.name}"
        if entry.name.startswith("."):
            continue
        if not entry.is_dir():
            yield path, ""
            continue
        why = next((why for names, why in _FOLDERS.items() if names.fullmatch(entry.name)), "")
        if path not in modules and why:
            yield f"{path}/", why
        elif entry.is_symlink():
            yield f"{path}/", "a link to a folder"
        elif path.count("/") >= DEEPEST - 1:
            yield f"{path}/", "too deep"
        else:
            yield from _walk(folder, f"{path}/", modules)


def _reason(folder: Path, path: str, modules: Collection[str]) -> str:
    """Why a file stays behind, or nothing."""
    name = path.rpartition("/")[2]
    file = folder / path
    if not file.is_file():
        return "a link that leads nowhere" if file.is_symlink() else "no file"
    if leads_out(folder, path):
        return "a link out of the folder, not followed"
    module = any(path.startswith(f"{module}/") for module in modules if module)
    for names, why in (
        (_ADAPTER, "an adapter, which was not read"),
        (_TRAINING, "of training"),
        (_INDEX, "an index of weights that were not read"),
        (_CODE, "code"),
        (_OTHER_FORMS, "weights in another form"),
    ):
        if names.fullmatch(name):
            return why
    if _PICKLES.fullmatch(name):
        if not module:
            return _PICKLE
        return "weights of another module as a pickle; save the model anew, which gives safetensors, or copy the file"
    if name.endswith(".safetensors") and not module:
        return "weights that were not read"
    if not belongs(path):
        return "not known to belong to a model"
    known = bool(_OF_A_MODEL.fullmatch(name)) or module
    if "/" in path and not (known or path.split("/")[-2] in _KNOWN_FOLDERS or _BY_NAME.fullmatch(name)):
        return "in a folder that is not known to belong to a model"
    if not known and file.stat().st_size > _LONGEST:
        return f"larger than {_LONGEST >> 20} MiB, and not known to belong to a model"
    return _PICKLE if _pickled(file) else ""


def _pickled(file: Path) -> bool:
    """Whether a file is a pickle, whatever it is called: no text begins so."""
    with file.open("rb") as opened:
        start = opened.read(2)
    return len(start) == 2 and start[0] == 0x80 and 2 <= start[1] <= 5


def module_paths(folder: Path) -> list[str]:
    """The folders of the modules that a sentence-transformers model consists of, in order; "" is the folder itself.

    >>> module_paths(Path("no such folder"))
    []
    """
    listed = folder / "modules.json"
    if not listed.is_file() or leads_out(folder, listed.name):
        return []
    try:
        modules = json.loads(listed.read_text(encoding="utf-8"))
    except (ValueError, RecursionError):
        return []
    paths = [module.get("path") for module in modules if isinstance(module, dict)] if isinstance(modules, list) else []
    names = [path.strip("/") for path in paths if isinstance(path, str)]
    return list(dict.fromkeys(name for name in names if not name or _below(name)))


def _below(path: str) -> bool:
    names = path.split("/")
    return len(names) < DEEPEST and all(plain(name) for name in names)
