"""Models whose weights are in parts that have not been put together.

Adapters that are not merged, masks of torch's own pruning that are not applied, tensors that ZeRO-3 has not gathered:
read name by name, the parts are no weights of the model.
"""

from __future__ import annotations

import re
from collections.abc import Collection

from ken.errors import PairingError

# What PEFT, and those who write files like it, call the parts of an adapter: a whole part of a name, between points.
_ADAPTERS = re.compile(
    r"(^|\.)("
    r"lora_(A|B|E|ranknum|embedding_A|embedding_B|magnitude_vector|bias_[AB])|lora_(up|down)|magnitude_vector"
    r"|modules_to_save|original_module"
    r"|ia3_l|hada_[wt]\d(_[ab])?|lokr_[wt]\d(_[ab])?|oft_(r|R|diag|blocks)|boft_[RsP]|vera_(A|B|lambda_[bd])"
    r"|vblora_(logits_[AB]|vector_bank)|randlora_(A|B|lambda|gamma)|fourierft_spectrum|hra_u|bone_block|miss_block"
    r"|shira_weight|c3a_kernel|poly_lora_[AB]|trainable_tokens_(delta|original)|ln_tuning_layers|adaption_(prompt|gate)"
    r")(\.|$)"
)
# The weight that an adapter wraps. Other models have a layer of that name, too: it counts beside parts of an adapter.
_WRAPPED = re.compile(r"(?<=\.)base_layer\.(?=\w+$)")
_MERGE = (
    "merge it into the model first (model = model.merge_and_unload(), then give model, or what model.save_pretrained "
    "writes)"
)


def check(names: Collection[str], where: str = "") -> None:
    """Raise `PairingError` if names of tensors are those of parts of weights; it says which, and what to call.

    Those are of an adapter that is not merged, or of a mask of `torch.nn.utils.prune` that is not applied. where says
    what was read, to begin the message with.

    >>> check(["encoder.weight", "encoder.weight_mask"])
    >>> check(["encoder.base_layer.0.weight"])
    """
    begin = f"{where}: " if where else ""
    names = [name for name in names if isinstance(name, str)]
    parts = [name for name in names if _ADAPTERS.search(name)]
    if parts:
        among = f" ({len(parts):,} such tensors)" if len(parts) > 1 else ""
        raise PairingError(f"{begin}{parts[0]} belongs to an adapter that is not merged{among}; {_MERGE}")
    known = set(names)
    for name in names:
        whole = name.removesuffix("_orig")
        if whole != name and f"{whole}_mask" in known and whole not in known:
            raise PairingError(
                f"{begin}{name} and {whole}_mask are a weight and its mask, as torch.nn.utils.prune keeps them apart; "
                f'call torch.nn.utils.prune.remove(module, "{whole.rpartition(".")[2]}") on every such module first, '
                "which applies the mask"
            )


def check_pair(unpaired: Collection[str], others: Collection[str]) -> None:
    """Refuse what is left of an adapted model whose adapter has been dropped: weights that it wraps, under its names.

    Raises `PairingError` if an unpaired name is that of a wrapped weight which the other model has unwrapped.
    """
    for name in unpaired:
        plain = _WRAPPED.sub("", name)
        if plain != name and any(
            other == plain or other.endswith(f".{plain}") or plain.endswith(f".{other}") for other in others
        ):
            raise PairingError(f"{name} is the weight that an adapter wraps, and the other model has {plain}; {_MERGE}")


def check_gathered(name: str, fine_tuned: tuple[int, ...], pretrained: tuple[int, ...]) -> None:
    """Raise `PairingError` for a tensor that ZeRO-3 has left empty, by its shape and that of its counterpart."""
    if fine_tuned != pretrained and (0,) in (fine_tuned, pretrained):
        raise PairingError(
            f"{name}: fine-tuned is {fine_tuned}, pretrained is {pretrained}; ZeRO-3 leaves tensors empty so where a "
            "model is saved without being gathered: set stage3_gather_16bit_weights_on_model_save and save it again, "
            "run zero_to_fp32.py in the checkpoint's folder, or gather the parameters of a live model with "
            "deepspeed.zero.GatheredParameters"
        )
