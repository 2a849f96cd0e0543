"""Chemical reactions as texts, for the published models of rxnfp, which has one example reaction and no labels.

Eleven textbook schemes with fragments put in, all combinations: 276 reaction SMILES, reagents before, product after the
">>". They are well formed, not canonical, and no one has carried them out: they ask what a model answers, not whether
that is right. The fragments are written so that ring numbers never meet: 1 and 3 in aryls, 2 in what is put into them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

ARYLS = (
    *("c1ccc({})cc1", "COc1ccc({})cc1", "Clc1cccc({})c1", "FC(F)(F)c1ccc({})cc1", "c1ccc3cc({})ccc3c1", "c1cncc({})c1"),
)
AMINES = ("NCCC", "NC2CCCCC2", "N2CCOCC2", "N2CCCC2", "NCc2ccccc2", "N(C)C", "NCCO", "NC(C)C")
SECOND_ARYLS = ("c2ccccc2", "c2ccc(C)cc2", "c2ccc(OC)cc2", "c2ccncc2", "c2cccc(F)c2")
ALKYLS = ("C", "CC", "CC(C)C", "Cc2ccccc2")

# What the aryl carries before, what is added, what it carries after; {} is the fragment.
WITH_AMINE = {
    "amide coupling": ("C(=O)O", "{}", "C(=O){}"),
    "sulfonamide formation": ("S(=O)(=O)Cl", "{}", "S(=O)(=O){}"),
    "reductive amination": ("C=O", "{}.[BH4-].[Na+]", "C{}"),
    "amination of a bromide": ("Br", "{}", "{}"),
}
WITH_ARYL = {"Suzuki coupling": ("Br", "OB(O){}", "{}")}
WITH_ALKYL = {"ether formation": ("O", "Br{}", "O{}")}
ALONE = {
    "ester hydrolysis": ("C(=O)OC", "[Na+].[OH-]", "C(=O)O"),
    "esterification": ("C(=O)O", "CO", "C(=O)OC"),
    "nitro reduction": ("[N+](=O)[O-]", "Cl.[Fe]", "N"),
    "Boc removal": ("NC(=O)OC(C)(C)C", "Cl", "N"),
    "aldehyde reduction": ("C=O", "[BH4-].[Na+]", "CO"),
}
_KINDS = ((WITH_AMINE, AMINES), (WITH_ARYL, SECOND_ARYLS), (WITH_ALKYL, ALKYLS), (ALONE, ("",)))


def reactions() -> Iterator[tuple[str, str]]:
    """Scheme and reaction SMILES, always the same in the same order.

    >>> next(reactions())
    ('amide coupling', 'NCCC.c1ccc(C(=O)O)cc1>>c1ccc(C(=O)NCCC)cc1')
    """
    for schemes, fragments in _KINDS:
        for scheme, (before, added, after) in schemes.items():
            for fragment in fragments:
                for aryl in ARYLS:
                    reagents = sorted([aryl.format(before), *added.format(fragment).split(".")])
                    yield scheme, f"{'.'.join(reagents)}>>{aryl.format(after.format(fragment))}"


def tokenizer(vocabulary: str, positions: int = 512) -> Any:
    """A tokenizer of the vocabulary file's text: atoms, brackets, bonds and ring numbers, a token each."""
    from tokenizers import Regex, Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    numbers = {token: number for number, token in enumerate(vocabulary.splitlines())}
    made = Tokenizer(models.WordLevel(numbers, unk_token="[UNK]"))
    made.pre_tokenizer = pre_tokenizers.Split(Regex(r"\[[^\]]+\]|Br|Cl|>>|%\d\d|."), "isolated")
    made.post_processor = processors.BertProcessing(("[SEP]", numbers["[SEP]"]), ("[CLS]", numbers["[CLS]"]))
    special = {name: f"[{name[:3].upper()}]" for name in ("pad_token", "unk_token", "cls_token", "sep_token")}
    return PreTrainedTokenizerFast(tokenizer_object=made, model_max_length=positions, **special)
