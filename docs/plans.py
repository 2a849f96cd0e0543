"""Prints the table in docs/plan.md: what a k retains of published models, from their configurations alone.

Usage: python docs/plans.py     (a test holds the page to it)

The configurations are those of the published checkpoints, as far as they decide shapes; each has a classification head
with two labels. Nothing is downloaded.
"""

import transformers

import ken
from ken.pruning.plan import Plan

_DEBERTA = {
    "relative_attention": True,
    "pos_att_type": "p2c|c2p",
    "type_vocab_size": 0,
    "position_biased_input": False,
    "max_relative_positions": -1,
}
_BASE = {"hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12, "intermediate_size": 3072}
_LARGE = {"hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16, "intermediate_size": 4096}
_V3 = {"vocab_size": 128100, "position_buckets": 256, "norm_rel_ebd": "layer_norm", "share_att_key": True}

#: Name -> transformers' name of the architecture, and what its configuration says other than by default.
MODELS = {
    "BERT base": ("Bert", {}),
    "BERT large": ("Bert", _LARGE),
    "DistilBERT": ("DistilBert", {}),
    "DeBERTa base": ("Deberta", _DEBERTA),
    "DeBERTa v3 base": ("DebertaV2", {**_BASE, **_DEBERTA, **_V3}),
    "ELECTRA small": ("Electra", {}),
    "ELECTRA base": ("Electra", {**_BASE, "embedding_size": 768}),
    "ERNIE 2.0": ("Ernie", {**_BASE, "vocab_size": 30522, "type_vocab_size": 4}),
    "BLOOM-560m": ("Bloom", {"hidden_size": 1024, "n_layer": 24, "n_head": 16}),
    "BLOOM-1b7": ("Bloom", {"hidden_size": 2048, "n_layer": 24, "n_head": 16}),
}


def plan(name: str, **wanted: object) -> Plan:
    """The plan for one of the models."""
    architecture, settings = MODELS[name]
    config = getattr(transformers, f"{architecture}Config")(num_labels=2, **settings)
    return ken.plan(config, model_class=f"{architecture}ForSequenceClassification", **wanted)


def table() -> str:
    """The table, in Markdown: millions of entries."""
    lines = [
        "| model | entries, M | k = 100 | k = 500 | k = 697 | half of every row | k for half of all |",
        "|---" * 7 + "|",
    ]
    for name in MODELS:
        plans = [plan(name, k=k) for k in (100, 500, 697, 0.5)]
        half = plan(name, total=plans[0].entries / 2)
        cells = [f"{plans[0].entries / 1e6:.1f}"]
        cells += [f"{found.retained / 1e6:.1f} ({100 * found.retained / found.entries:.0f} %)" for found in plans]
        lines.append(f"| {name} | {' | '.join(cells)} | {half.k} |")
    return "\n".join(lines)


if __name__ == "__main__":
    print(table())
