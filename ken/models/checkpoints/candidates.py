"""A folder that has no weights under the names that are looked for: what is there, and what could be given instead."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

from ken.models.checkpoints.mistaken_files import pointer

_WEIGHTS = re.compile(r".*\.(safetensors|bin)")
_TRAINING = re.compile(r"(training_args|optimizer|scheduler|rng_state|random_states|scaler).*")
_ADAPTER = re.compile(r"(adapter_model|adapter_config|pytorch_lora_weights).*")
_MERGE = (
    "merge it into its model (PeftModel.from_pretrained(model, folder).merge_and_unload(), then save_pretrained) and "
    "give that folder"
)
_TORCH = "; load it in Python, if it is yours, and give its state dict, or save that as safetensors"

#: Endings of weights in other forms, whose they are, and what to do.
_FORMS = {
    "gguf": "GGUF: codes of a quantised model, for llama.cpp; give the checkpoint that they were made from",
    "ggml": "GGML: codes of a quantised model, for llama.cpp; give the checkpoint that they were made from",
    "h5": "weights of TensorFlow; load them with from_pretrained(…, from_tf=True) and save the model with PyTorch",
    "msgpack": "weights of Flax; load them with from_pretrained(…, from_flax=True) and save the model with PyTorch",
    "index": "a checkpoint of TensorFlow; load it with from_pretrained(…, from_tf=True) and save it with PyTorch",
    "onnx": "ONNX: a graph to run, not a checkpoint; give the checkpoint that it was made from",
    "xml": "OpenVINO: a graph to run, not a checkpoint; give the checkpoint that it was made from",
    "tflite": "TensorFlow Lite: a graph to run, not a checkpoint; give the checkpoint that it was made from",
    "distcp": "shards of torch.distributed; put them together with accelerate merge-weights FOLDER OUT",
    "nemo": "an archive of NeMo; save the model as a checkpoint of transformers",
    "tar": "an archive; unpack it, and give the folder",
    "zip": "an archive; unpack it, and give the folder",
    "gz": "an archive; unpack it, and give the folder",
    "npz": "arrays of NumPy; give them as a state dict of tensors in Python",
}
_FORMS |= dict.fromkeys(("pt", "pth", "ckpt", "pkl"), f"a file of torch.save or the like{_TORCH}")
_SHOWN = 8
_DEPTH = 3


def advice_for(file: Path) -> str:
    """What a file is that is neither of the two kinds of weights that are read, and what to do; to end a message with.

    >>> advice_for(Path("model-q4.gguf"))[:6]
    ' (GGUF'
    """
    word = _FORMS.get(file.suffix.removeprefix("."))
    if file.suffix == ".json" and file.name.endswith(".index.json"):
        word = "an index; give the folder that it lies in"
    elif file.suffix == ".json":
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
            found = [name for name in names if name.endswith(f".{ending}") and not _TRAINING.match(name)]
            if found:
                yield f"{', '.join(found[:3])}: {_FORMS[ending]}"


def _base(folder: Path) -> str:
    """Whose adapter it is, as far as it says."""
    try:
        found = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))
        return f" (of {str(found['base_model_name_or_path'])[:100]!r})"
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return ""


def _below(folder: Path) -> Iterator[str]:
    """Folders below that could be given instead."""
    found = list(_holding(folder, _DEPTH))
    if found:
        listed = ", ".join(str(path.relative_to(folder)) for path in found[:_SHOWN])
        yield f"there are weights below, in {listed}; to take them, give that folder: {found[0]}"


def _holding(folder: Path, depth: int) -> Iterator[Path]:
    for entry in sorted(folder.iterdir()):
        if entry.name.startswith(".") or not entry.is_dir() or entry.is_symlink():
            continue
        if any(_WEIGHTS.fullmatch(file.name) and not _TRAINING.match(file.name) for file in entry.iterdir()):
            yield entry
        elif depth > 1:
            yield from _holding(entry, depth - 1)
