"""Models by their hub id: where the hub's cache has them, or after a download."""

from __future__ import annotations

import re
from contextlib import suppress
from pathlib import Path

from ken.errors import PairingError

# Weights, configuration, tokenizer, licence and card, in folders below as well; never code.
_WANTED = [
    *("*.json", "*.txt", "*.model", "*.jinja", "*.tiktoken", "*.bpe", "*.spm", "*.vocab", "*.codes", "*.tokenizer"),
    *("*tokenizer.model.v*", "*vocab", "LICENSE*", "NOTICE*", "README.md"),
]
# The same weights in another form, and what training has left.
_UNWANTED = ["onnx/*", "openvino/*", "original/*", "checkpoint-*/*", "runs/*"]
_WEIGHTS = ("*.safetensors", "*.bin")
_ID = re.compile(r"[\w.-]+(/[\w.-]+)?", re.ASCII)


def locate(source: str | Path) -> Path:
    """The file or folder that a source names: as a path, else as the hub id of a model.

    A `Path` is never a hub id, nor is a text that looks like one (with a leading dot, ~ or slash, or several slashes).
    What the cache has is taken from there, without a look at the network.

    Raises `PairingError` if there is neither, with the hub's own words.

    >>> locate(".").name
    ''
    """
    path = Path(source)
    if path.exists():
        return path
    if not an_id(source):
        raise PairingError(f"there is no file or folder {source}")
    import huggingface_hub
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    with suppress(LocalEntryNotFoundError, HFValidationError, OSError):
        folder = Path(huggingface_hub.snapshot_download(str(source), local_files_only=True))
        if any(next(folder.glob(pattern), None) for pattern in _WEIGHTS):
            return folder
    if huggingface_hub.constants.HF_HUB_OFFLINE:
        raise PairingError(
            f"there is no file or folder {source}, and the hub's cache has no model of that name; "
            "the hub itself is not asked, because HF_HUB_OFFLINE is set"
        )
    try:
        for pattern in _WEIGHTS:
            downloaded = huggingface_hub.snapshot_download(
                str(source), allow_patterns=[*_WANTED, pattern], ignore_patterns=_UNWANTED
            )
            folder = Path(downloaded)
            if next(folder.glob(pattern), None):
                break
    except (HfHubHTTPError, LocalEntryNotFoundError, HFValidationError, OSError) as error:
        raise PairingError(
            f"there is no file or folder {source}, nor a model of that name on the hub: {error}"
        ) from None
    return folder


def in_cache(source: str) -> Path | None:
    """The folder of all that the hub's cache has of a model by its id; None if nothing. The hub is not asked.

    >>> in_cache("../no/id") is None
    True
    """
    if not an_id(source):
        return None
    import huggingface_hub
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    try:
        snapshot = Path(huggingface_hub.snapshot_download(source, local_files_only=True))
    except (LocalEntryNotFoundError, HFValidationError, OSError):
        return None
    return snapshot.parents[1] if snapshot.parent.name == "snapshots" else snapshot


def an_id(source: str | Path) -> bool:
    """Whether a text may be the hub id of a model, if there is no file or folder of that name.

    >>> an_id("org/model"), an_id("./model"), an_id("model.safetensors"), an_id(Path("org/model"))
    (True, False, False, False)
    """
    if not isinstance(source, str) or not _ID.fullmatch(source) or source[0] == ".":
        return False
    return Path(source).suffix not in (".safetensors", ".bin", ".gguf", ".json")
