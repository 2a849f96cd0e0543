"""What views of one tensor share: the study, the tensor that is shown, and the list to choose it from."""

from __future__ import annotations

from typing import Any

import ipywidgets
import traitlets

import ken
from ken.retention import PairOfModels
from kenviz.study.study import Study
from kenviz.text.labels import apart, label
from kenviz.views.base import View


class TensorView(View):
    """A view of one pruned tensor at a time. The names in the list are cut where they are long; the values are not."""

    tensor = traitlets.Unicode(help="Name of the tensor.")

    def __init__(
        self, net: ken.Subnetwork, pair: PairOfModels | Study | None, tensor: str | None, theme: str = "auto"
    ) -> None:
        self._study = Study.open(net, pair)
        chosen = self._study.check(next(iter(self._study.tensors), "") if tensor is None else tensor)
        self._picker = ipywidgets.Dropdown(
            options=options(self._study.tensors),
            value=chosen,
            description="tensor",
            layout={"width": "min(560px, 100%)"},
        )
        super().__init__(theme=theme)

    @traitlets.validate("tensor")
    def _valid_tensor(self, proposal: dict[str, Any]) -> str:
        try:
            return self._study.check(proposal["value"])
        except ValueError as error:
            raise traitlets.TraitError(str(error)) from None


def options(names: list[str]) -> list[tuple[str, str]]:
    """Names as they can be read, and apart: what is cut from a label may have been the difference."""
    return list(zip(apart([label(name, 90) for name in names]), names, strict=True))
