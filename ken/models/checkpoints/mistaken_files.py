"""Files that are no weights, or not what their names say: called by what they are, with what could be given instead."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

_SHORT = 512
_LFS = b"version https://git-lfs.github.com/spec/"
_PAGE = (b"<!doctype html", b"<html", b"<?xml", b"<error")

# What a file of another kind begins with.
_KINDS = {
    b"GGUF": "is a GGUF file; name it so: with the ending .gguf",
    b"\x89HDF": "is an HDF5 file, as TensorFlow and Keras write it; save the model with PyTorch, as safetensors",
    b"\x1f\x8b": "is compressed with gzip; unpack it",
    b"7z\xbc\xaf": "is a 7z archive; unpack it",
    b"\x28\xb5\x2f\xfd": "is compressed with zstd; unpack it",
}

_WEIGHTS = re.compile(r".*\.(safetensors|bin|pt|pth|ckpt|npz)")
_TRAINING = re.compile(r"(training_args|optimizer|scheduler|rng_state|random_states|scaler).*")
_ADAPTER = re.compile(r"(adapter_model|adapter_config|pytorch_lora_weights).*")
_MERGE = (
    "merge it into its model (PeftModel.from_pretrained(model, folder).merge_and_unload(), then save_pretrained) and "
    "give that folder"
)
_OLDER = "transformers before version 5 loads them with from_pretrained(…, {}=True); give what it saves then"
_LOAD = "load it in Python, if it is yours, and give its state dict, or save that as safetensors"
_GRAPH = "a graph to run, not a checkpoint; give the checkpoint that it was made from"
_CODES = "codes of a quantised model, for llama.cpp; give the checkpoint that they were made from"

#: Endings of weights in other forms, whose they are, and what to do.
_FORMS = {
    "gguf": "GGUF: to take the weights from such a file, give that file",
    "ggml": f"GGML: {_CODES}",
    "h5": f"weights of TensorFlow; {_OLDER.format('from_tf')}",
    "msgpack": f"weights of Flax; {_OLDER.format('from_flax')}",
    "index": f"a checkpoint of TensorFlow; {_OLDER.format('from_tf')}",
    "onnx": f"ONNX: {_GRAPH}",
    "xml": f"OpenVINO: {_GRAPH}",
    "tflite": f"TensorFlow Lite: {_GRAPH}",
    "distcp": "shards of torch.distributed; put them together with accelerate merge-weights FOLDER OUT",
    "nemo": "an archive of NeMo; save the model as a checkpoint of transformers",
    **dict.fromkeys(("tar", "zip", "gz"), "an archive; unpack it, and give the folder"),
    "npy": "one array, which has no name; give a state dict of arrays in Python, or an .npz file",
    **dict.fromkeys(("pkl", "pickle", "joblib"), f"a pickle, which may run code when it is read; {_LOAD}"),
}
_SHOWN = 8
_DEPTH = 3


def pointer(file: Path, name: str = "") -> str:
    """What a file is that stands in for another one: a git-lfs pointer, a page; in words, or nothing.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder) / "tokenizer.json"
    ...     _ = path.write_text("version https://git-lfs.github.com/spec/v1\\noid sha256:12\\nsize 466062\\n")
    ...     pointer(path)
    'is a git-lfs pointer (to 466062 bytes), not the file itself; run git lfs pull in its folder, or download it again'
    """
    start = _start(file)
    if start.startswith(_LFS):
        size = next((line[5:] for line in start.split(b"\n") if line.startswith(b"size ")), b"")
        wanted = f" (to {size.decode()} bytes)" if size.isdigit() else ""
        return (
            f"is a git-lfs pointer{wanted}, not the file itself; run git lfs pull in its folder, or download it again"
        )
    text = (name or file.name).endswith((".txt", ".jinja", ".md"))  # which may well begin so
    if not text and start.lstrip(b"\xef\xbb\xbf \t\r\n").lower().startswith(_PAGE):
        return "is an HTML page, saved under the name of the file (of an error, or to log in?); download it again"
    return ""


def weights(file: Path) -> str:
    """What a file is that cannot be read as weights: in words, or nothing if that is not known."""
    start = _start(file)
    if not start:
        return "is empty: it was broken off while it was written or downloaded; get it again"
    if word := pointer(file):
        return word
    if not any(start):
        return "begins with zeros: it was broken off while it was written or downloaded; get it again"
    for begin, word in _KINDS.items():
        if start.startswith(begin):
            return word
    if file.suffix == ".safetensors":
        if start.startswith(b"PK") or (start[0] == 0x80 and start[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05")):
            return "is a file of torch.save, not of safetensors; name it pytorch_model.bin, or convert it"
        if start.lstrip()[:1] in (b"{", b"[") and start.isascii():
            return "is JSON text, not weights (a message of the server?); download it again"
    elif start[8:9] == b"{" and int.from_bytes(start[:8], "little") < 100_000_000:
        return "is a safetensors file; name it so: with the ending .safetensors"
    if start.isascii() and all(byte >= 32 or byte in b"\t\r\n" for byte in start):
        return "is text, not weights; download it again"
    return ""


def _start(file: Path) -> bytes:
    with file.open("rb") as opened:
        return opened.read(_SHORT)


def advice_for(file: Path) -> str:
    """What a file is that is neither of the two kinds of weights that are read, and what to do; to end a message with.

    >>> advice_for(Path("model-q4.gguf"))[:6]
    ' (GGUF'
    """
    word = _FORMS.get(file.suffix.removeprefix("."))
    if file.suffix == ".json":
        word = "a configuration or the like; give the folder that it lies in"
    return f" ({word})" if word else ""


def advice(folder: Path) -> str:
    """What a folder without weights has, and which argument would take it; to end a message with."""
    names = sorted(entry.name + ("/" if entry.is_dir() else "") for entry in folder.iterdir() if entry.name[0] != ".")
    if not names:
        return "it is empty"
    parts = [*_instead(folder, [name for name in names if not name.endswith("/")]), *_below(folder)]
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return "; ".join([f"it has {', '.join(names[:_SHOWN])}{more}", *parts])


def _instead(folder: Path, names: list[str]) -> Iterator[str]:
    """What files of the folder are, and which of them to give."""
    adapter = [name for name in names if _ADAPTER.fullmatch(name)]
    if adapter:
        yield f"{adapter[0]}: an adapter{_base(folder)}, not a model; {_MERGE}"
    zero = [entry.name for entry in folder.iterdir() if re.fullmatch(r"global_step\d+|zero_pp_rank_.*", entry.name)]
    if zero or "zero_to_fp32.py" in names:
        yield (
            f"{(zero or ['zero_to_fp32.py'])[0]}: a checkpoint of DeepSpeed ZeRO, parts of tensors; put them together "
            "with python zero_to_fp32.py FOLDER OUT --safe_serialization, and give OUT"
        )
    files = [name for name in names if _WEIGHTS.fullmatch(name) and not _TRAINING.match(name) and name not in adapter]
    files = [name for name in files if not name.startswith("zero_pp_rank")]
    pointers = [name for name in files if pointer(folder / name)]
    if len(files) == 1:
        yield f"to take the weights from {files[0]}, give that file: {folder / files[0]}"
    elif files:
        yield f"to take the weights from one of {', '.join(files[:_SHOWN])}, give that file: {folder / files[0]}"
    if pointers:
        yield f"{pointers[0]} {pointer(folder / pointers[0])}"
    for ending in dict.fromkeys(name.rpartition(".")[2] for name in names if name not in adapter and name not in files):
        if ending in _FORMS:
            others = [name for name in names if name.endswith(f".{ending}") and not _TRAINING.match(name)]
            if others:
                yield f"{', '.join(others[:3])}: {_FORMS[ending]}"


def _base(folder: Path) -> str:
    """Whose adapter it is, as far as it says."""
    try:
        settings = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))
        return f" (of {str(settings['base_model_name_or_path'])[:100]!r})"
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return ""


def _below(folder: Path) -> Iterator[str]:
    """Folders below that could be given instead."""
    folders = list(_holding(folder, _DEPTH))
    if folders:
        listed = ", ".join(str(path.relative_to(folder)) for path in folders[:_SHOWN])
        yield f"there are weights below, in {listed}; to take them, give that folder: {folders[0]}"


def _holding(folder: Path, depth: int) -> Iterator[Path]:
    for entry in sorted(folder.iterdir()):
        if entry.name.startswith(".") or not entry.is_dir() or entry.is_symlink():
            continue
        if any(_WEIGHTS.fullmatch(file.name) and not _TRAINING.match(file.name) for file in entry.iterdir()):
            yield entry
        elif depth > 1:
            yield from _holding(entry, depth - 1)
