"""What stands for an adapter: a folder that PEFT has written, its hub id, a live model of PEFT, or several of them."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ken.errors import PairingError
from ken.models.checkpoints.adapter_names import Adapters
from ken.models.checkpoints.hub import an_id, locate

if TYPE_CHECKING:
    import torch

SETTINGS = "adapter_config.json"
ADAPTER_WEIGHTS = ("adapter_model.safetensors", "adapter_model.bin")
WITHOUT_BASE = "the pretrained model may be left out only where the fine-tuned one is an adapter"
#: What is merged here. Of others PEFT's own merge is to be called first.
KINDS = ("LORA", "SHIRA", "TRAINABLE_TOKENS")
#: Ways to begin that leave the base as it is; others (PiSSA, OLoRA, CorDA, LoftQ, …) change it when they are loaded.
_BEGINNINGS = (True, False, "gaussian", "eva", "orthogonal")
_WEIGHTS = ("model.safetensors", "model.safetensors.index.json", "pytorch_model.bin", "pytorch_model.bin.index.json")


def is_adapter(source: Any) -> bool:
    """Whether a source is an adapter, or several, rather than a whole model.

    A folder that has weights of a model besides is a model.

    Example:
        >>> is_adapter({}), is_adapter(Adapters({"default": "folder"}))
        (False, True)
    """
    if isinstance(source, Adapters) or live(source) is not None:
        return True
    if not isinstance(source, str | Path):
        return False
    path = Path(source)
    if not path.exists() and an_id(source):
        path = locate(source)
    return (path / SETTINGS).is_file() and not any((path / name).is_file() for name in _WEIGHTS)


def live(source: Any) -> torch.nn.Module | None:
    """The source, if it is a live model of PEFT; then the library has been imported already."""
    library = sys.modules.get("peft")
    return source if library is not None and isinstance(source, library.PeftModel) else None


def folders_of(source: str | Path | Adapters) -> dict[str, Path]:
    """Where each adapter lies, by its name; PEFT calls the only one "default"."""
    named = source.folders if isinstance(source, Adapters) else {"default": source}
    folders = {name: locate(folder) for name, folder in named.items()}
    for folder in folders.values():
        if not (folder / SETTINGS).is_file():
            raise PairingError(f"the folder {folder} has no {SETTINGS}: it is not an adapter that PEFT has written")
        if not any((folder / weights).is_file() for weights in ADAPTER_WEIGHTS):
            raise PairingError(f"the folder {folder} has {SETTINGS} and none of {', '.join(ADAPTER_WEIGHTS)}")
    return folders


def settings_of(folder: Path) -> dict[str, Any]:
    """The settings of an adapter. Raises `PairingError` if they cannot be read, or the kind is not merged here."""
    path = folder / SETTINGS
    try:
        settings = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise PairingError(f"{path} is not JSON: {error}") from None
    if not isinstance(settings, dict):
        raise PairingError(f"{path} must hold a JSON object, got {type(settings).__name__}")
    check_kind(settings, str(path))
    return settings


def check_kind(settings: Mapping[str, Any], where: str) -> None:
    """Refuse a kind of adapter that is not merged here.

    Example:
        >>> check_kind({"peft_type": "LORA", "init_lora_weights": True}, "adapter_config.json")
    """
    kind = str(getattr(settings.get("peft_type"), "value", settings.get("peft_type")))
    remedy = "merge it into its base first (model.merge_and_unload(safe_merge=True)), and give that model"
    if kind not in KINDS:
        raise PairingError(
            f"{where}: adapters of the kind {kind} are not merged here, only {', '.join(KINDS)}; {remedy}"
        )
    beginning = settings.get("init_lora_weights", True)
    if beginning not in _BEGINNINGS:
        raise PairingError(f"{where}: init_lora_weights = {beginning!r} changes the base when it is loaded; {remedy}")


def base_named(source: Any) -> str | None:
    """The base that an adapter in a folder names; None for anything else, a live model among them."""
    return base_of(source) if is_adapter(source) and live(source) is None else None


def base_of(source: str | Path | Adapters) -> str:
    """The base that an adapter names. Raises `PairingError` if it names none, or several name different ones."""
    bases = {str(settings_of(folder).get("base_model_name_or_path") or "") for folder in folders_of(source).values()}
    if len(bases) > 1:
        raise PairingError(f"the adapters are of different bases, {' and '.join(sorted(bases)[:2])}; give the base")
    base = bases.pop()
    if not base:
        raise PairingError("the adapter does not say what its base is; give the pretrained model")
    return base
