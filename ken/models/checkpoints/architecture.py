"""Models of a transformers class, made from what a checkpoint or a subnetwork says of its architecture."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from ken.errors import SubnetworkError
from ken.models.checkpoints.checkpoint import Architecture

if TYPE_CHECKING:
    import torch
    import transformers


def build_class(name: str) -> type[transformers.PreTrainedModel]:
    """The transformers model class of that name; raises `SubnetworkError` if there is none."""
    import transformers

    cls = getattr(transformers, name, None)
    if not (isinstance(cls, type) and issubclass(cls, transformers.PreTrainedModel)):
        raise SubnetworkError(f"transformers {transformers.__version__} has no model class {name!r}")
    return cls


def build(architecture: Architecture) -> tuple[str, torch.nn.Module]:
    """The class name, and a transformers model of that class and configuration. Its weights are not initialised."""
    import torch
    from transformers.initialization import no_init_weights

    cls = build_class(architecture.class_name)
    assert cls.config_class is not None  # only the abstract base class has none
    with tempfile.TemporaryDirectory() as folder:  # only the file reader knows how numbers that JSON lacks are spelled
        path = Path(folder) / "config.json"
        path.write_text(json.dumps(architecture.config), encoding="utf-8")
        config = cls.config_class.from_json_file(path)
    with torch.random.fork_rng(devices=[]), no_init_weights():  # not from the caller's stream of random numbers
        model = cls(config)
    model.tie_weights()  # which is a part of the initialisation
    return architecture.class_name, model
