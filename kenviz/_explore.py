"""explore: the linked views, of what is in memory or in files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import ken
from ken.retention import PairOfModels

if TYPE_CHECKING:
    import pandas as pd

    from kenviz.study.effects import By
    from kenviz.study.study import Study
    from kenviz.views.explorer import Explorer


def explore(
    net: ken.Subnetwork | str | Path | ken.Location,
    pair: PairOfModels | Study | str | Path | ken.Location | None = None,
    pretrained: str | Path | ken.Location | None = None,
    *,
    attribution: ken.Attribution | None = None,
    ablation: pd.DataFrame | str | Path | None = None,
    by: By = "place",
    theme: str = "auto",
) -> Explorer:
    """Open the linked views of a subnetwork.

    Args:
        net: A subnetwork, or its file, or its place on the hub.
        pair: The two models; or the fine-tuned model, as a path or hub id, with `pretrained` as another; or the
            pretrained model's path or hub id alone. Without the fine-tuned model only masks and what the subnetwork
            itself tells can be shown: the fine-tuned value of a reset entry is nowhere else.
        pretrained: The pretrained model, as a path or hub id; only where `pair` is the fine-tuned one's.
        attribution: What `ken.attribute` gives of the same models: the decision cards then tell of each entry's share.
        ablation: The table of `ken.ablate`, or the path of one as CSV: they tell what the entry's group does, and an
            `EffectView` has a tab, as `explorer.effects`: a group that is tapped there opens its largest tensor.
        by: The groups of the ablation.
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
    if isinstance(net, str | Path | ken.Location):
        net = ken.load(net)
    if isinstance(pair, str | Path | ken.Location):
        if pretrained is None:
            ken.verify(net, pair)
            return _explorer(net, None, attribution, ablation=ablation, by=by, theme=theme)
        pair = ken.Pair(pair, pretrained)
    elif pretrained is not None:
        raise ValueError("pretrained goes with the fine-tuned model's path, not with a pair")
    return _explorer(net, pair, attribution, ablation=ablation, by=by, theme=theme)


def _explorer(
    net: ken.Subnetwork,
    pair: PairOfModels | Study | None,
    attribution: ken.Attribution | None,
    *,
    ablation: pd.DataFrame | str | Path | None,
    by: By,
    theme: str,
) -> Explorer:
    from kenviz.study.entry_effects import EntryEffects
    from kenviz.study.study import Study
    from kenviz.views.effects import EffectView
    from kenviz.views.explorer import Explorer

    if attribution is None and ablation is None:
        return Explorer(net, pair, theme=theme)
    effects = EntryEffects(net, attribution, ablation, by=by)
    explorer = Explorer(net, Study(net, pair.pair if isinstance(pair, Study) else pair, effects), theme=theme)
    if ablation is not None:
        effect_view = EffectView(ablation, attribution, net, by=by, explorer=explorer, theme=theme)
        explorer.attach(effect_view, opened=True)
    return explorer
