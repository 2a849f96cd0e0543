"""Two models that look as if they had been mixed up: the wrong way round, or strangers to one another."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ken.models.pairing.relation import WIDEST, Relation

if TYPE_CHECKING:
    from ken.models.checkpoints.checkpoint import Checkpoint

# Modules that turn a model to a task: what a fine-tuned model has, and a pretrained one seldom.
_TASK_HEADS = {
    *("classifier", "classification_head", "score", "qa_outputs", "qa_classifier", "logits_proj", "pre_classifier"),
    *("cls_classifier", "token_classifier", "class_labels_classifier", "bbox_predictor", "projector_head"),
}
_TASK_CLASSES = re.compile(r"For(\w*Classification|QuestionAnswering|MultipleChoice|\w*Detection|\w*Segmentation)$")
# As long as what `unrelated` says can be.
_WIDEST_NOTE = "x" * 240
# Tensors with a row for each token.
_VOCABULARIES = re.compile(r"(embed|wte|shared|lm_head)")


def signs_of_turning(fine_tuned: Checkpoint, pretrained: Checkpoint, names: Mapping[str, str | None]) -> list[str]:
    """What says that the two models were given the wrong way round, each sign in words; mostly there is none.

    names has the pretrained counterpart of each fine-tuned tensor. The signs are clauses about the pretrained model.

    >>> import torch
    >>> from ken.models.checkpoints.checkpoint import Checkpoint
    >>> body, head = {"w": torch.ones(1)}, {"classifier.weight": torch.ones(1)}
    >>> signs_of_turning(Checkpoint(body), Checkpoint(body | head), {"w": "w"})
    ["has a task head ('classifier.weight') that the fine-tuned one lacks"]
    """
    signs = []
    used = set(names.values())
    head = next((name for name in pretrained.tensors if name not in used and _is_task_head(name)), None)
    if head is not None and not any(map(_is_task_head, fine_tuned.tensors)):
        signs.append(f"has a task head ({head!r}) that the fine-tuned one lacks")
    longer = next(
        (name for name, other in names.items() if _has_fewer_tokens(name, fine_tuned, pretrained, named=other or name)),
        None,
    )
    if longer is not None:
        signs.append(f"has more rows in {longer!r}, which a fine-tuned model may add and does not lose")
    new, old = (model.architecture.class_name if model.architecture else "" for model in (fine_tuned, pretrained))
    if new and _TASK_CLASSES.search(old) and not _TASK_CLASSES.search(new):
        signs.append(f"is a {old}, the fine-tuned one a {new}")
    own, base = _folder(fine_tuned), _made_from(pretrained)
    if own and own == base and base != _folder(pretrained):
        signs.append(f"says that it was made from {base!r}, which is the fine-tuned one")
    return signs


def turned(signs: list[str]) -> str:
    """The signs as a sentence; empty if there is none."""
    if not signs:
        return ""
    return (
        f"the two models may be the wrong way round: the pretrained one {' and '.join(signs)}; the fine-tuned model is "
        "given first, then the pretrained one"
    )


def unrelated(relation: Relation) -> str:
    """A sentence about two models that have nothing in common; empty if they have."""
    if not relation.unrelated:
        return ""
    assert relation.correlation is not None
    return (
        f"the two models look unrelated: the values of their {relation.matrices} matrices correlate at "
        f"{relation.correlation:.3f}, those of a fine-tuned model and its pretrained one at 0.9 and more; was the one "
        "really fine-tuned from the other?"
    )


def widest(notes: Sequence[str], relation: Relation | None) -> tuple[tuple[str, ...], Relation | None]:
    """Notes and a relation as wide as they can become once all values have been read: to reserve room for them.

    >>> widest(["a"], None)
    (('a',), None)
    """
    if relation is None:
        return tuple(notes), None
    last = unrelated(relation)
    return (*(note for note in notes if note != last), _WIDEST_NOTE), WIDEST


def _is_task_head(name: str) -> bool:
    """Whether a name begins with such a module, or does after the model's prefix."""
    return not _TASK_HEADS.isdisjoint(name.split(".")[:2])


def _has_fewer_tokens(name: str, fine_tuned: Checkpoint, pretrained: Checkpoint, named: str) -> bool:
    if named not in pretrained.tensors or not _VOCABULARIES.search(name):
        return False
    new, old = fine_tuned.tensors[name].shape, pretrained.tensors[named].shape
    return len(new) == len(old) == 2 and new[1] == old[1] and new[0] < old[0]


def _folder(model: Checkpoint) -> str:
    """The last part of where a model was read from, if that was a folder or a hub id."""
    kind, _, name = model.source.partition(" ")
    return name.rpartition("/")[2] if kind in ("folder", "model") else ""


def _made_from(model: Checkpoint) -> str:
    """The last part of the name of the model that a configuration says this one began as."""
    config: Any = {} if model.architecture is None else model.architecture.config
    name = config.get("_name_or_path")
    return name.replace("\\", "/").rstrip("/").rpartition("/")[2] if isinstance(name, str) else ""
