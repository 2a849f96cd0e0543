"""KEN: keep the k entries of every weight row that a rule chooses, reset the rest, store what was kept.

The data flow, a room a step::

    module, state dict,       ┌► rules ─┐                      ┌► storage      a file, and back
    file, folder, hub id      │ (masks) │                      │
           │                  │         ▼                      ├► injection    a new model, a live one, a folder
           └──► models ───► pruning ─────────► subnetwork ─────┤
           (tensors, paired,                   (data)          ├► explanation  why, entry by entry
            cut into rows)                                     ├► retention    tables
                                                               └► evaluation   metrics, kept by results

What a room holds says its ``__init__``. A room imports only from those before it in this list: errors, density, models,
rules, subnetwork, storage, injection, api, pruning, explanation, retention, results, evaluation, training, demo, cli.

Nothing heavy is imported until it is used: ``import ken`` alone loads neither torch nor numba.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ken import demo as demo
    from ken import density as density
    from ken import results as results
    from ken import retention as retention
    from ken import rules as rules
    from ken import training as training
    from ken.api import Subnetwork as Subnetwork
    from ken.api import load as load
    from ken.api import verify as verify
    from ken.errors import KenError as KenError
    from ken.errors import KenWarning as KenWarning
    from ken.evaluation.effects.ablation import ablate as ablate
    from ken.evaluation.effects.agreement import Agreement as Agreement
    from ken.evaluation.effects.agreement import agreement as agreement
    from ken.evaluation.effects.attribute import attribute as attribute
    from ken.evaluation.effects.attribute import attribute_items as attribute_items
    from ken.evaluation.effects.attribution import Attribution as Attribution
    from ken.evaluation.effects.gradient_scores import GradientScores as GradientScores
    from ken.evaluation.effects.gradient_scores import gradient_scores as gradient_scores
    from ken.evaluation.effects.items import answers as answers
    from ken.evaluation.effects.items import flips as flips
    from ken.evaluation.effects.tasks import Task as Task
    from ken.evaluation.harness import Harness as Harness
    from ken.evaluation.smallest_k import SmallestK as SmallestK
    from ken.evaluation.smallest_k import smallest_k as smallest_k
    from ken.evaluation.sweep import sweep as sweep
    from ken.explanation.explain import explain as explain
    from ken.explanation.explain import explain_row as explain_row
    from ken.explanation.stability import stability as stability
    from ken.injection.export import export as export
    from ken.injection.inject import inject as inject
    from ken.injection.inject import reset as reset
    from ken.injection.patches import Patch as Patch
    from ken.injection.patches import patches as patches
    from ken.injection.shira import export_adapter as export_adapter
    from ken.injection.swap import swap as swap
    from ken.models.checkpoints.adapter_names import Adapters as Adapters
    from ken.models.checkpoints.location import Location as Location
    from ken.models.pairing.pairing import open_pair as open_pair
    from ken.models.pairing.pairs import Pair as Pair
    from ken.pruning.parts.cleaning import leftovers as leftovers
    from ken.pruning.parts.joining import join as join
    from ken.pruning.parts.part_plan import PartPlan as PartPlan
    from ken.pruning.parts.part_plan import parts as parts
    from ken.pruning.parts.running import run_part as run_part
    from ken.pruning.plan import plan as plan
    from ken.pruning.prune import prune as prune
    from ken.retention.difference import Difference as Difference
    from ken.retention.differing import diff as diff
    from ken.subnetwork.carried_tensor import CarriedTensor as CarriedTensor
    from ken.subnetwork.retained_tensor import RetainedTensor as RetainedTensor

__version__ = "0.1.0"

# Public name -> the module that defines it; None: the name is a module itself.
_PUBLIC = {
    "ablate": "evaluation.effects.ablation",
    "Adapters": "models.checkpoints.adapter_names",
    "agreement": "evaluation.effects.agreement",
    "Agreement": "evaluation.effects.agreement",
    "answers": "evaluation.effects.items",
    "attribute": "evaluation.effects.attribute",
    "attribute_items": "evaluation.effects.attribute",
    "Attribution": "evaluation.effects.attribution",
    "CarriedTensor": "subnetwork.carried_tensor",
    "demo": None,
    "density": None,
    "diff": "retention.differing",
    "Difference": "retention.difference",
    "explain": "explanation.explain",
    "explain_row": "explanation.explain",
    "export": "injection.export",
    "export_adapter": "injection.shira",
    "flips": "evaluation.effects.items",
    "Harness": "evaluation.harness",
    "gradient_scores": "evaluation.effects.gradient_scores",
    "GradientScores": "evaluation.effects.gradient_scores",
    "inject": "injection.inject",
    "join": "pruning.parts.joining",
    "KenError": "errors",
    "KenWarning": "errors",
    "leftovers": "pruning.parts.cleaning",
    "load": "api",
    "Location": "models.checkpoints.location",
    "open_pair": "models.pairing.pairing",
    "Pair": "models.pairing.pairs",
    "PartPlan": "pruning.parts.part_plan",
    "parts": "pruning.parts.part_plan",
    "Patch": "injection.patches",
    "patches": "injection.patches",
    "plan": "pruning.plan",
    "prune": "pruning.prune",
    "reset": "injection.inject",
    "results": None,
    "RetainedTensor": "subnetwork.retained_tensor",
    "retention": None,
    "rules": None,
    "run_part": "pruning.parts.running",
    "smallest_k": "evaluation.smallest_k",
    "SmallestK": "evaluation.smallest_k",
    "stability": "explanation.stability",
    "Subnetwork": "api",
    "swap": "injection.swap",
    "sweep": "evaluation.sweep",
    "Task": "evaluation.effects.tasks",
    "training": None,
    "verify": "api",
}

__all__ = ["__version__", *_PUBLIC]


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'ken' has no attribute {name!r}")
    module = _PUBLIC[name]
    value = importlib.import_module(f"ken.{module or name}")
    if module is not None:
        value = getattr(value, name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
