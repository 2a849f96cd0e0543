"""What stands for an adapter: a folder that PEFT has written, its hub id, a live model of PEFT, or several of them."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ken.errors import PairingError
from ken.models.checkpoints.adapter_names import Adapters
from ken.models.checkpoints.hub import an_id, locate, locate_whole
from ken.models.checkpoints.location import Location, Named, place_of
from ken.models.checkpoints.origins import Origin, bases_named, origin_of, with_token

if TYPE_CHECKING:
    import torch

SETTINGS = "adapter_config.json"
ADAPTER_WEIGHTS = ("adapter_model.safetensors", "adapter_model.bin")
WITHOUT_BASE = (
    "the pretrained model may be left out only where the fine-tuned one is an adapter, or a folder or repository whose "
    "model card (README.md) names one base_model"
)
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
    if not isinstance(source, str | Path | Location):
        return False
    place = place_of(source)
    path = place.path if place.on_disk else locate(source)
    return (path / SETTINGS).is_file() and not any((path / name).is_file() for name in _WEIGHTS)


def live(source: Any) -> torch.nn.Module | None:
    """The source, if it is a live model of PEFT; then the library has been imported already."""
    library = sys.modules.get("peft")
    return source if library is not None and isinstance(source, library.PeftModel) else None


def folders_of(source: Named | Adapters) -> dict[str, Path]:
    """Where each adapter lies, by its name; PEFT calls the only one "default"."""
    named = source.folders if isinstance(source, Adapters) else {"default": source}
    folders = {name: locate_whole(folder) for name, folder in named.items()}
    for folder in folders.values():
        if not (folder / SETTINGS).is_file():
            raise PairingError(f"the folder {folder} has no {SETTINGS}: it is not an adapter that PEFT has written")
        if not any((folder / weights).is_file() for weights in ADAPTER_WEIGHTS):
            raise PairingError(f"the folder {folder} has {SETTINGS} and none of {', '.join(ADAPTER_WEIGHTS)}")
    return folders


def origin_of_adapters(source: Named | Adapters, folders: Mapping[str, Path]) -> Origin:
    """Where an adapter came from, which lies in these folders; of several, nothing."""
    if isinstance(source, Adapters):
        if len(source.folders) > 1:
            return Origin()
        source = next(iter(source.folders.values()))
    return origin_of(place_of(source), next(iter(folders.values())))


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


def base_named(source: Any) -> Named | None:
    """The base that an adapter in a folder names, or a model card; None for anything else, a live model among them.

    Raises `PairingError` if it should name one, and names none, or several.
    """
    if is_adapter(source):
        return base_of(source) if live(source) is None else None
    return base_by_card(source) if isinstance(source, str | Path | Location) else None


def base_by_card(source: Named) -> Named:
    """The base that the card of a model names. Raises `PairingError` unless it is exactly one."""
    bases = bases_named(source)
    if not bases:
        raise PairingError(f"{WITHOUT_BASE}; that of {place_of(source).text} names none, or is not there")
    if len(bases) > 1:
        raise PairingError(
            f"the model card of {place_of(source).text} names {len(bases)} base models, {', '.join(bases)[:300]}: give "
            "the pretrained model"
        )
    return with_token(bases[0], source)


def base_of(source: Named | Adapters) -> Named:
    """The base that an adapter names. Raises `PairingError` if it names none, or several name different ones."""
    named = [settings_of(folder) for folder in folders_of(source).values()]
    bases = {_with_revision(settings) for settings in named}
    if len(bases) > 1:
        raise PairingError(f"the adapters are of different bases, {' and '.join(sorted(bases)[:2])}; give the base")
    base = bases.pop()
    if not base:
        raise PairingError("the adapter does not say what its base is; give the pretrained model")
    first = next(iter(source.folders.values())) if isinstance(source, Adapters) else source
    return with_token(base, first)


def _with_revision(settings: Mapping[str, Any]) -> str:
    """The base that the settings of an adapter name, at the revision that it was trained on if they say it."""
    base, revision = str(settings.get("base_model_name_or_path") or ""), settings.get("revision")
    if isinstance(revision, str) and an_id(f"{base}@{revision}") and not Path(base).exists():
        return f"{base}@{revision}"
    return base
