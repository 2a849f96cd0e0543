"""Models and tokenizers that the command line names, opened live."""

from __future__ import annotations

import glob
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from ken.errors import KenError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from ken.models.pairing.pairs import Pair

Kind = Literal["text classifier", "causal language model"]


class OpenedPair(NamedTuple):
    """Both models as modules, so that one of them is pruned in place; and patterns of tensors to carry."""

    pair: Pair
    carried: list[str]


def open_pair(fine_tuned: str, pretrained: str, kind: Kind) -> OpenedPair:
    """Both models, and what is to be carried.

    A tensor that the pretrained checkpoint does not have, and the library would make up, is set to 0 and carried.

    Raises:
        KenError: The fine-tuned model is not of this kind, or one cannot be opened.
    """
    from transformers import AutoModel, AutoModelForCausalLM, AutoModelForSequenceClassification

    from ken.injection.copies import slots_of
    from ken.models.pairing.pairs import Pair

    causal = kind == "causal language model"
    if causal and kind_of(fine_tuned) not in {kind, None}:
        raise KenError(f"{fine_tuned} is no fine-tuned {kind}: it is a {kind_of(fine_tuned)}")
    tuned, missing = _load(AutoModelForCausalLM if causal else AutoModelForSequenceClassification, fine_tuned)
    if missing:
        raise KenError(f"{fine_tuned} is no fine-tuned {kind}: it has no {missing[0]}")
    body, missing = _load(AutoModelForCausalLM if causal else AutoModel, pretrained)
    tensors = slots_of(body)
    for name in missing:
        tensors[name].data.zero_()
    names = {spelled for name in missing for spelled in (name, f"{tuned.base_model_prefix}.{name}")}
    return OpenedPair(Pair(tuned, body), [glob.escape(name) for name in slots_of(tuned) if name in names])


def kind_of(source: str) -> str | None:
    """What a checkpoint is of, by its configuration: one of the two kinds, else its class; None if it names none."""
    from transformers import AutoConfig
    from transformers.models.auto import modeling_auto

    from ken.models.checkpoints.hub import locate_whole
    from ken.training import quiet_transformers

    try:
        with quiet_transformers():
            config = AutoConfig.from_pretrained(locate_whole(source), local_files_only=True)
    except ValueError as error:
        raise KenError(f"{source} cannot be opened as a model: {error}") from error
    name = next(iter(getattr(config, "architectures", None) or ()), None)
    if name in modeling_auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES.values():
        return "causal language model"
    if name in modeling_auto.MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES.values():
        return "text classifier"
    return name


def _load(auto: Any, source: str) -> tuple[Any, list[str]]:
    """A model in evaluation mode, and the names of those of its tensors that the checkpoint does not have."""
    from ken.models.checkpoints.hub import locate_whole
    from ken.training import quiet_transformers

    try:
        with quiet_transformers():
            model, loading = auto.from_pretrained(locate_whole(source), output_loading_info=True, local_files_only=True)
    except ValueError as error:
        raise KenError(f"{source} cannot be opened as a model: {error}") from error
    return model.eval(), sorted(loading["missing_keys"])


def open_tokenizer(source: str) -> PreTrainedTokenizerBase:
    """The tokenizer of a checkpoint.

    Raises:
        KenError: It has none.
    """
    from transformers import AutoTokenizer

    from ken.models.checkpoints.hub import locate
    from ken.training import quiet_transformers

    folder = locate(source)
    try:
        with quiet_transformers():
            tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    except (ValueError, OSError) as error:
        raise KenError(f"{source} has no tokenizer that can be opened ({error}); name one with --tokenizer") from error
    # Without any of its files the library makes one that knows no word.
    files = {"tokenizer.json", *tokenizer.vocab_files_names.values()}
    if not any((folder / file).is_file() for file in files):
        raise KenError(f"{source} has no tokenizer ({' or '.join(sorted(files))}); name one with --tokenizer")
    return tokenizer
