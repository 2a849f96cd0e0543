"""KEN: keep the k entries of every weight row that a rule chooses, reset the rest, store what was kept.

The data flow, a module a step::

    checkpoint, pairing ──► pairs of tensors ──► rows ──► rules ──► mask ──► RetainedTensor ──► Subnetwork ◄──► format
    (module, state dict, file, folder)                     ▲                 (retained)             │           (a file)
                                              density, kernels                                      │
             new model, live model, checkpoint folder ◄── injection, live, exporting ◄──────────────┤
             tidy tables ◄── retention ◄────────────────────────────────────────────────────────────┤
             metrics ◄── sweeping, smallest ◄── results (a file) ◄── trials ◄───────────────────────┘

Nothing heavy is imported until it is used: ``import ken`` alone loads neither torch nor numba.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from ken._version import __version__ as __version__

if TYPE_CHECKING:
    from ken import demo as demo
    from ken import density as density
    from ken import results as results
    from ken import retention as retention
    from ken import rules as rules
    from ken import training as training
    from ken.errors import KenError as KenError
    from ken.errors import KenWarning as KenWarning
    from ken.explaining import explain as explain
    from ken.explaining import explain_row as explain_row
    from ken.exporting import export as export
    from ken.flipping import stability as stability
    from ken.format import load as load
    from ken.injection import inject as inject
    from ken.injection import reset as reset
    from ken.live import swap as swap
    from ken.pairing import open_pair as open_pair
    from ken.planning import plan as plan
    from ken.pruning import prune as prune
    from ken.retained import CarriedTensor as CarriedTensor
    from ken.retained import RetainedTensor as RetainedTensor
    from ken.retention import Pair as Pair
    from ken.smallest import SmallestK as SmallestK
    from ken.smallest import smallest_k as smallest_k
    from ken.subnetwork import Subnetwork as Subnetwork
    from ken.sweeping import sweep as sweep
    from ken.verification import verify as verify

# Public name -> the module that defines it; None: the name is a module itself.
_PUBLIC = {
    "CarriedTensor": "retained",
    "KenError": "errors",
    "KenWarning": "errors",
    "Pair": "retention",
    "RetainedTensor": "retained",
    "SmallestK": "smallest",
    "Subnetwork": "subnetwork",
    "demo": None,
    "density": None,
    "explain": "explaining",
    "explain_row": "explaining",
    "export": "exporting",
    "inject": "injection",
    "load": "format",
    "open_pair": "pairing",
    "plan": "planning",
    "prune": "pruning",
    "results": None,
    "retention": None,
    "rules": None,
    "reset": "injection",
    "smallest_k": "smallest",
    "stability": "flipping",
    "swap": "live",
    "sweep": "sweeping",
    "training": None,
    "verify": "verification",
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
