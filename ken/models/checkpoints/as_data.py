"""Where a model is, as plain data, and back: for other processes, which open it themselves."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ken.errors import PairingError
from ken.models.checkpoints.adapter_names import Adapters
from ken.models.checkpoints.location import Location, place_of
from ken.models.checkpoints.remote.urls import protocol_of, shown


def source_as_data(source: Any, what: str) -> Any:
    """A model as text or, of what has more to say, as a mapping; without tokens, as those are nobody else's.

    Raises `PairingError` for what is in the memory of this process.

    >>> source_as_data("hf://user/name@v1/unet", "the fine-tuned model")
    'hf://user/name@v1/unet'
    """
    if source is None:
        return None
    if isinstance(source, Adapters):
        folders = {name: source_as_data(folder, f"the adapter {name}") for name, folder in source.folders.items()}
        return {"adapters": folders, "weights": dict(source.weights)}
    if isinstance(source, Location):
        place, *rest = source.__reduce__()[1]
        words = dict(zip(("revision", "subfolder", "variant"), rest, strict=True))
        return {"place": source_as_data(place, what), **words}
    if not isinstance(source, str | Path):
        raise PairingError(
            f"other processes do that, and open it themselves: {what} must be a path, a URL or a place on the hub, got "
            f"{type(source).__name__}; save it (save_pretrained, safetensors.torch.save_file) and give where it lies"
        )
    if protocol_of(source):
        return shown(str(source))
    return str(Path(source).absolute()) if place_of(source).on_disk else str(source)


def source_of(data: Any) -> Any:
    """The model that `source_as_data` has described."""
    if not isinstance(data, Mapping):
        return data
    if "adapters" in data:
        return Adapters({name: source_of(folder) for name, folder in data["adapters"].items()}, data["weights"])
    return Location(data["place"], **{name: data[name] for name in ("revision", "subfolder", "variant")})
