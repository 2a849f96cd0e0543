"""What views of a subnetwork share: the study, the tensor that is shown, and the list to choose it from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import ipywidgets
import traitlets

import ken
from ken.retention import PairOfModels
from kenviz.study.study import Study
from kenviz.text.labels import apart, label
from kenviz.views.base import View, refusal
from kenviz.views.controls import choice


class StudyView(View):
    """A view of a subnetwork and its pair. Those of one study share its lock."""

    def __init__(self, net: ken.Subnetwork, pair: PairOfModels | Study | None, *, theme: str) -> None:
        self._study = Study.open(net, pair)
        super().__init__(self._study.lock, theme=theme)

    def _reads(self) -> Mapping[str, Any]:
        return self._study.reads()


class TensorView(StudyView):
    """A view of one pruned tensor at a time."""

    tensor = traitlets.Unicode(help="Name of the tensor.")

    def __init__(
        self, net: ken.Subnetwork, pair: PairOfModels | Study | None, tensor: str | None, *, theme: str
    ) -> None:
        super().__init__(net, pair, theme=theme)
        names = self._study.tensors
        self.set_trait("tensor", self._study.check(next(iter(names), "") if tensor is None else tensor))
        self._picker = picker("tensor", names)
        self._picker.add_class("kenviz-picker-beside")  # the Explorer has a list of tensors of its own

    @traitlets.validate("tensor")
    def _valid_tensor(self, proposal: dict[str, Any]) -> str:
        with refusal():
            return self._study.check(proposal["value"])


def picker(description: str, names: list[str]) -> ipywidgets.Dropdown:
    """A list of names to choose from. They are cut where they are long; the values are not."""
    control = choice(description, options(names), pixels=560)
    control.add_class("kenviz-picker")
    return control


def options(names: list[str]) -> list[tuple[str, str]]:
    """Names as they can be read, and apart: what is cut from a label may have been the difference."""
    return list(zip(apart([label(name, 90) for name in names]), names, strict=True))
