"""explore: the linked views, of what is in memory or in files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import ken
from ken.retention import PairOfModels

if TYPE_CHECKING:
    from kenviz.study.study import Study
    from kenviz.views.explorer import Explorer


def explore(
    net: ken.Subnetwork | str | Path | ken.Location,
    pair: PairOfModels | Study | str | Path | ken.Location | None = None,
    pretrained: str | Path | ken.Location | None = None,
    *,
    theme: str = "auto",
) -> Explorer:
    """Open the linked views of a subnetwork.

    Args:
        net: A subnetwork, or its file, or its place on the hub.
        pair: The two models; or the fine-tuned model, as a path or hub id, with `pretrained` as another; or the
            pretrained model's path or hub id alone. Without the fine-tuned model only masks and what the subnetwork
            itself tells can be shown: the fine-tuned value of a reset entry is nowhere else.
        pretrained: The pretrained model, as a path or hub id; only where `pair` is the fine-tuned one's.
        theme: "light", "dark", or "auto", which follows the page.

    Returns:
        The `Explorer`, a widget: at the end of a cell it is shown.

    Raises:
        KenError: A file or a folder cannot be read.
        ValueError: The models are not those of the subnetwork.

    Example:
        >>> import torch
        >>> pair = ken.Pair({"w": torch.arange(8.0).reshape(2, 4)}, {"w": torch.zeros(2, 4)})
        >>> explore(ken.prune(*pair, k=2), pair)
        Explorer('w': 1 pruned tensors)
    """
    from kenviz.views.explorer import Explorer

    if isinstance(net, str | Path | ken.Location):
        net = ken.load(net)
    if isinstance(pair, str | Path | ken.Location):
        if pretrained is None:
            ken.verify(net, pair)
            return Explorer(net, None, theme=theme)
        pair = ken.Pair(pair, pretrained)
    elif pretrained is not None:
        raise ValueError("pretrained goes with the fine-tuned model's path, not with a pair")
    return Explorer(net, pair, theme=theme)
