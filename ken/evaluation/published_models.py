"""Models that others have published, in a package: read from where pip has put them, without any of its code."""

from __future__ import annotations

from pathlib import Path

from ken.errors import DemoError
from ken.evaluation.docstring_task import library_root

_REMEDY = "pip install --no-deps rxnfp==0.1.0 (75 MB, the models are in it)"


def published() -> dict[str, Path]:
    """Folders of models that others have published: one pretrained model, and two that were fine-tuned from it.

    They are those of `rxnfp` 0.1.0 (MIT licence, https://github.com/rxn4chemistry/rxnfp), which reads chemical
    reactions as texts: BERT of 12 layers, 6.9 million entries.

    Returns:
        "bert_pretrained", "bert_ft" (a body alone) and "bert_ft_10k_25s" (with a head of 50 labels), each a checkpoint
        folder.

    Raises:
        DemoError: The package `rxnfp` is not installed. `make` installs it, since no extra can: what it asks for
            besides is old, and not needed for its models.

    Example:
        >>> sorted(published())
        ['bert_ft', 'bert_ft_10k_25s', 'bert_pretrained']
    """
    try:
        folder = library_root("rxnfp") / "models" / "transformers"
    except DemoError:
        raise DemoError(f"the published models are in the package rxnfp, which is not installed: {_REMEDY}") from None
    places = {name: folder / name for name in ("bert_pretrained", "bert_ft", "bert_ft_10k_25s")}
    for place in places.values():
        if not (place / "pytorch_model.bin").is_file():
            raise DemoError(f"the package rxnfp has no {place.name}/pytorch_model.bin: {_REMEDY}")
    return places
