"""The module that an adapter belongs to, with room for its weights and none in it.

Memory that nobody writes into is promised by the system and never given: a model of any size takes next to none.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ken.errors import PairingError
from ken.models.checkpoints.architecture import unweighted

if TYPE_CHECKING:
    import torch

_TASKS = {
    "SEQ_CLS": "MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES",
    "TOKEN_CLS": "MODEL_FOR_TOKEN_CLASSIFICATION_MAPPING_NAMES",
    "QUESTION_ANS": "MODEL_FOR_QUESTION_ANSWERING_MAPPING_NAMES",
    "CAUSAL_LM": "MODEL_FOR_CAUSAL_LM_MAPPING_NAMES",
    "SEQ_2_SEQ_LM": "MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES",
    "FEATURE_EXTRACTION": "MODEL_MAPPING_NAMES",
}


def class_of(settings: Mapping[str, Any], config: Mapping[str, Any], own: str) -> str:
    """The transformers class that an adapter was trained on.

    Args:
        settings: The settings of the adapter.
        config: The configuration of its base.
        own: The class that the base was stored as, empty if unknown.

    Returns:
        Its name: the one that the settings name, else that of their task, else the base's own.

    Example:
        >>> class_of({"task_type": "SEQ_CLS"}, {"model_type": "bert"}, "BertForMaskedLM")
        'BertForSequenceClassification'
    """
    named = (settings.get("auto_mapping") or {}).get("base_model_class")
    if named:
        return str(named)
    task = _TASKS.get(str(getattr(settings.get("task_type"), "value", settings.get("task_type"))))
    if task:
        from transformers.models.auto import modeling_auto

        by_type = getattr(modeling_auto, task).get(str(config.get("model_type")))
        names = [by_type] if isinstance(by_type, str) else [*(by_type or ())]
        if names and own not in names:
            return str(names[0])
    return own


def skeleton(class_name: str, config: Mapping[str, Any]) -> torch.nn.Module:
    """A module of a transformers class, without weights. Raises `PairingError` if transformers cannot make one."""
    module = unweighted(class_name, json.dumps(config))
    if module is None:
        raise PairingError(
            f"the base is of the class {class_name or 'unknown'}, which transformers cannot make from its "
            "configuration; merge the adapter into it first, and give that model"
        )
    module.tie_weights()
    return module


def like(module: torch.nn.Module) -> torch.nn.Module:
    """A copy of a live module without its weights, which stay where they are."""
    import torch

    memo: dict[int, Any] = {
        id(p): torch.nn.Parameter(p.detach().to("meta"), p.requires_grad) for p in module.parameters()
    }
    return copy.deepcopy(module, memo)


def furnish(module: torch.nn.Module, dtypes: Mapping[str, torch.dtype], shapes: Mapping[str, tuple[int, ...]]) -> None:
    """Give every parameter memory on the CPU that nobody has written into. What is tied stays tied.

    Args:
        module: A module on the meta device.
        dtypes: Of parameters by name; others keep their own.
        shapes: Likewise.
    """
    import torch

    roomy: dict[int, torch.nn.Parameter] = {}
    for name, parameter in module.named_parameters():
        shape, dtype = shapes.get(name, tuple(parameter.shape)), dtypes.get(name, parameter.dtype)
        roomy[id(parameter)] = torch.nn.Parameter(torch.empty(shape, dtype=dtype), requires_grad=False)
    for part in module.modules():
        for leaf, empty in part._parameters.items():
            if empty is not None:
                part._parameters[leaf] = roomy[id(empty)]
