"""The model card of a subnetwork: metadata that the hub reads, and text for people.

The relation to the base model is "adapter". The hub knows four: finetune, quantized and merge are of models that are
whole, and adapter of one that is nothing without its base. A subnetwork is a set of changes to weights: it is put into
the base, as an adapter is.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ken.errors import HubError
from ken.models.checkpoints.location import an_id
from ken.rules import SCOPES
from ken.storage.card_results import budget_text, evaluations, own_results, table_of, task_of
from ken.storage.card_text import block, code, plain_text
from ken.subnetwork.subnetwork import Provenance, SubnetworkData

if TYPE_CHECKING:
    import pandas as pd

#: Stands in every card that is made here, and shows in none: only such a card is replaced without a question.
MARK = "<!-- This card was written by ken; text that is added to it is lost when ken writes it again. -->"
LIBRARY = "ken-pruning"
RELATION = "adapter"
_OURS = ("base_model", "base_model_relation", "license", "library_name", "tags", "model-index", "eval_results")

# What is said of retained values that are not the fine-tuned ones.
_RESCALED = "not the fine-tuned ones: updates are divided by the share that is retained"


def model_card(
    net: SubnetworkData,
    repository: str,
    *,
    file: str,
    results: pd.DataFrame | None = None,
    metric: str = "metric",
    task: str = "",
    dataset: str = "",
    licence: str = "",
    base_model: str = "",
    facts: Mapping[str, Any] | None = None,
) -> str:
    """The text of a model card; see `ken.Subnetwork.model_card`."""
    from huggingface_hub import ModelCard, ModelCardData, constants

    own = None if results is None else own_results(results, net.recipe)
    task = task or task_of(net)
    base = base_model or _base(net)
    if base and (not an_id(base) or "@" in base):
        raise HubError(f"base_model must be the id of a model on the hub such as user/name, got {base!r}")
    further = dict(facts or {})
    taken = [name for name in _OURS if name in further and name != "tags"]
    if taken:
        raise HubError(f"facts must not have {taken[0]!r}: it follows from the other arguments")
    tags = list(dict.fromkeys(["ken", "pruning", "subnetwork", *_texts(further.pop("tags", ()))]))
    if task:
        further.setdefault("pipeline_tag", task)
    licence = licence or net.fine_tuned.licence
    # A licence in several words is none of the hub's identifiers: it has a place of its own.
    named: dict[str, Any] = {"license": licence or None}
    if " " in licence:
        named = {"license": "other", "license_name": licence}
    if base:
        named["base_model_relation"] = RELATION
    try:
        data = ModelCardData(
            base_model=base or None,
            library_name=LIBRARY,
            tags=tags,
            model_name=repository.rpartition("/")[2],
            eval_results=None if own is None else evaluations(own, metric=metric, task=task, dataset=dataset),
            **named,
            **further,
        )
        if own is None:
            data.pop("model_name")
        table = "" if results is None or own is None else table_of(results, own, metric=metric)
        text = _text(net, repository, file=file, base=base, page=constants.ENDPOINT, table=table)
        card = ModelCard(f"---\n{data.to_yaml()}\n---\n\n{text}")
    except (ValueError, TypeError, AttributeError) as error:
        raise HubError(f"there can be no model card of these facts: {error}") from None
    return str(card)


def _base(net: SubnetworkData) -> str:
    """The pretrained model's id on the hub, if it came from there."""
    return net.pretrained.hub_id if "/" in net.pretrained.hub_id else ""


def _texts(tags: Any) -> list[str]:
    return [tags] if isinstance(tags, str) else [str(tag) for tag in tags]


def _text(net: SubnetworkData, repository: str, *, file: str, base: str, page: str, table: str) -> str:
    """All of the card below its metadata."""
    recipe = net.recipe
    share = f", {100 * net.share:.1f} %" if net.entries else ""
    pretrained = f"[{base}]({page}/{base})" if base else "its pretrained model"
    facts = [
        ("rule", code(recipe.rule)),
        ("k", plain_text(budget_text(recipe.k))),
        ("k is counted over", SCOPES[recipe.scope]),
        ("retained", f"{net.retained:,} of {net.entries:,} entries{share}"),
        ("tensors", f"{len(net.pruned())} pruned, {len(net) - len(net.pruned())} carried whole"),
        ("rule looks at", code(recipe.on)),
        ("bandwidth, kernel", f"{code(str(recipe.bandwidth))}, {code(recipe.kernel)}"),
        *([("retained values", _RESCALED)] if recipe.rescale == "share" else []),
        ("seed", str(recipe.seed)),
        ("included", ", ".join(map(code, recipe.include)) or "everything"),
        ("carried by pattern", ", ".join(map(code, recipe.exclude)) or "nothing"),
        ("fine-tuned model", _model(net.fine_tuned)),
        ("pretrained model", _model(net.pretrained)),
        ("made with", plain_text(", ".join(f"{name} {version}" for name, version in recipe.versions.items()))),
    ]
    place, model = f"hf://{repository}/{file}", base or "PRETRAINED"
    python = (
        "import ken\n\n"
        f"net = ken.load({json.dumps(place)})\n"
        f"state = ken.inject(net, {json.dumps(model)})           # a state dict, every tensor verified\n"
        f'ken.export(net, {json.dumps(model)}, "injected")       # or a folder, for from_pretrained'
    )
    words = [["ken", "info", place], ["ken", "inject", place, model, "-o", "injected"]]
    parts = [
        MARK,
        f"# {plain_text(repository.rpartition('/')[2])}",
        f"A subnetwork of a fine-tuned model: the entries of its weights that [KEN](https://arxiv.org/abs/2402.03142) "
        f"retained. It is no model by itself. Injected into {pretrained}, it gives the fine-tuned model with all other "
        "entries set back to their pretrained values.",
        "\n".join(["| | |", "|---|---|", *(f"| {name} | {value} |" for name, value in facts)]),
        "## Inject it",
        f"`pip install {LIBRARY}`, then in Python",
        block(python, "python"),
        "or in a shell",
        block("\n".join(shlex.join(line) for line in words), "sh"),
        "Injection refuses any other pretrained model: the fingerprint of every tensor is checked.",
    ]
    if table:
        parts += ["## Results", "± is one standard error; this subnetwork is in bold.", table]
    if net.notes:
        parts += ["## Notes", "\n".join(f"- {plain_text(note)}" for note in net.notes)]
    return "\n\n".join(parts) + "\n"


def _model(model: Provenance) -> str:
    """One of the two models, in a cell."""
    parts = [plain_text(model.source)] if model.source and not model.hub_id else []
    parts += [plain_text(model.origin)] if model.origin else []
    parts += [f"fingerprint {code(model.fingerprint)}"] if model.fingerprint else []
    return ", ".join(parts) or "not recorded"
