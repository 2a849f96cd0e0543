"""explore: the linked views, of what is in memory or in files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ken
from ken.retention import PairOfModels

if TYPE_CHECKING:
    import pandas as pd

    from kenviz.study.effects import By
    from kenviz.study.study import Study
    from kenviz.views.explorer import Explorer


def explore(
    net: ken.Subnetwork | PairOfModels | str | Path | ken.Location,
    pair: PairOfModels | Study | str | Path | ken.Location | None = None,
    pretrained: str | Path | ken.Location | None = None,
    *,
    k: Any = None,
    rule: str | None = None,
    attribution: ken.Attribution | None = None,
    ablation: pd.DataFrame | str | Path | None = None,
    by: By = "place",
    beside: Mapping[str, ken.Subnetwork] | Sequence[ken.Subnetwork] = (),
    theme: str = "auto",
    **asked: Any,
) -> Explorer:
    """Open the linked views of a subnetwork; or, with k or rule, of two models: `kenviz.explore(pair, k=0.5)`.

    The models are opened without pruning them: what is looked at is decided when it is looked at, and is what
    `ken.prune` would make of it. A row is there at once. Of a matrix of more than 8 million entries evenly spaced rows
    are decided first, and its caption says which; its button "decide every row" does the rest. `explorer.prune` makes
    the whole, `explorer.net` is the subnetwork meanwhile, and `explorer.net.pair` the models.

    Args:
        net: A subnetwork, or its file, or its place on the hub. With k or rule: the pair of models; or the fine-tuned
            model's path or hub id, with the pretrained one's as the second argument.
        pair: The two models; or the fine-tuned model, as a path or hub id, with `pretrained` as another; or the
            pretrained model's path or hub id alone. Without the fine-tuned model only masks and what the subnetwork
            itself tells can be shown: the fine-tuned value of a reset entry is nowhere else.
        pretrained: The pretrained model, as a path or hub id; only where `pair` is the fine-tuned one's.
        k: How many entries of every row are retained, as for `ken.prune`.
        rule: One of `ken.rules.names()`; with k it is "ken" by default.
        attribution: What `ken.attribute` gives of the same models: the decision cards then tell of each entry's share.
        ablation: The table of `ken.ablate`, or the path of one as CSV: they tell what the entry's group does, and an
            `EffectView` has a tab, as `explorer.effects`: a group that is tapped there opens its largest tensor.
        by: The groups of the ablation.
        beside: Other subnetworks of the same models, by name or in a list: the tab "comparison" shows them beside it.
        theme: "light", "dark", or "auto", which follows the page.
        **asked: What else `ken.prune` takes, with k or rule: seed, on, bandwidth, kernel, scope, rescale, include,
            exclude, layers_only, rows, raw, progress.

    Returns:
        The `Explorer`, a widget: at the end of a cell it is shown.

    Raises:
        KenError: A file or a folder cannot be read.
        ValueError: The models are not those of the subnetwork, or cannot be pruned as it is asked for.

    Example:
        >>> import torch
        >>> pair = ken.Pair({"w": torch.arange(8.0).reshape(2, 4)}, {"w": torch.zeros(2, 4)})
        >>> explore(ken.prune(*pair, k=2), pair)
        Explorer('w': 1 pruned tensors)
        >>> print(explore(pair, k=2, rule="update").code())
        explorer = kenviz.explore(pair, k=2, rule='update')
    """
    from kenviz.views.unhindered import uncollected

    with uncollected():
        opened, models = _opened(net, pair, pretrained, k=k, rule=rule, asked=asked)
        return _explorer(opened, models, attribution, ablation=ablation, by=by, beside=beside, theme=theme)


def _opened(
    net: Any, pair: Any, pretrained: Any, *, k: Any, rule: str | None, asked: Mapping[str, Any]
) -> tuple[ken.Subnetwork, PairOfModels | Study | None]:
    """The subnetwork, and its models if they are all there; see `explore`."""
    if k is not None or rule is not None:
        lazy = _lazy(net, pair, pretrained, k=k, rule=rule, asked=asked)
        return lazy, lazy.pair
    if asked:
        raise TypeError(f"{', '.join(asked)}: what is asked of two models goes with k= or rule=; a subnetwork has it")
    if not isinstance(net, ken.Subnetwork | str | Path | ken.Location):
        raise ValueError(f"of two models say how to prune them: k=0.5, or a rule; got {type(net).__name__} alone")
    if isinstance(net, str | Path | ken.Location):
        net = ken.load(net)
    if isinstance(pair, str | Path | ken.Location):
        if pretrained is None:
            ken.verify(net, pair)
            return net, None
        return net, ken.Pair(pair, pretrained)
    if pretrained is not None:
        raise ValueError("pretrained goes with the fine-tuned model's path, not with a pair")
    return net, pair


def _lazy(first: Any, second: Any, third: Any, *, k: Any, rule: str | None, asked: Mapping[str, Any]) -> Any:
    """Two models, opened to be decided as they are looked at; they are one argument, or two."""
    if isinstance(first, ken.Subnetwork):
        raise ValueError("k and rule go with two models: a subnetwork has been decided, by its own")
    if third is not None:
        raise ValueError("k and rule go with two models, not with three arguments: a subnetwork has its own")
    if refused := {"out", "overwrite", "lazy"} & asked.keys():
        raise TypeError(f"{', '.join(sorted(refused))}: nothing is written here; explorer.prune(out=…) writes it")
    both = hasattr(first, "fine_tuned") and hasattr(first, "pretrained")
    if both and second is not None:
        raise ValueError("a pair holds the pretrained model: it goes alone")
    models = (first.fine_tuned, first.pretrained) if both else (first, second)
    return ken.prune(*models, k, rule or "ken", lazy=True, **asked)


def _explorer(
    net: ken.Subnetwork,
    pair: PairOfModels | Study | None,
    attribution: ken.Attribution | None,
    *,
    ablation: pd.DataFrame | str | Path | None,
    by: By,
    beside: Mapping[str, ken.Subnetwork] | Sequence[ken.Subnetwork],
    theme: str,
) -> Explorer:
    from kenviz.study.entry_effects import EntryEffects
    from kenviz.study.study import Study
    from kenviz.views.effects import EffectView
    from kenviz.views.explorer import Explorer

    if attribution is None and ablation is None:
        return Explorer(net, pair, beside=beside, theme=theme)
    effects = EntryEffects(net, attribution, ablation, by=by)
    study = Study(net, pair.pair if isinstance(pair, Study) else pair, effects)
    explorer = Explorer(net, study, beside=beside, theme=theme)
    if ablation is not None:
        effect_view = EffectView(ablation, attribution, net, by=by, explorer=explorer, theme=theme)
        explorer.attach(effect_view, opened=True)
    return explorer
