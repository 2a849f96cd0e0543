"""How far a pruned model's answers are from the unpruned one's, where there are no labels: the models of rxnfp.

Usage: python benchmarks/fidelity.py [--results DIR] [--out DIR]

A published model that names 50 classes of reactions is pruned with every arm, and asked for 276 reactions of eleven
schemes (`reactions`): how many are named as before, and the Kullback-Leibler divergence of its probabilities from the
unpruned model's. Reactions of a scheme resemble each other: the sample is the eleven schemes, not the reactions.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
from arm_sweeps import by_arm, sweep_arms
from evidence_statistics import estimate
from reactions import reactions, tokenizer
from scope_statistics import ARMS, PRETRAINED, RANDOM, Arm

import ken
from ken.storage.atomic_files import write_text

DOCS = Path(__file__).resolve().parent.parent / "docs"
KS, SEEDS = (0.5, 0.25, 0.1), (0, 1)
NAMES = ("rule", "on", "scope", "k", "reactions", "alike", "kl", "low", "high", "less_random", "less_low", "less_high")
_ARCHITECTURE = (
    *("hidden_size", "intermediate_size", "num_attention_heads", "num_hidden_layers", "hidden_act"),
    *("vocab_size", "max_position_embeddings", "type_vocab_size", "layer_norm_eps"),
)


class Fidelity:
    """How far a model's answers are from those of another: the evaluation of a sweep.

    Attributes:
        outcomes: (texts,) bool, whether the likeliest label is the same. As a number, the share of them.
        metrics: The Kullback-Leibler divergence from the other's probabilities in nats, a mean for each scheme.
    """

    def __init__(self, logits: Any, reference: Any, schemes: Sequence[str]) -> None:
        logs, base = (values.double().log_softmax(dim=1) for values in (logits, reference))
        losses = (base.exp() * (base - logs)).sum(dim=1).numpy()
        self.outcomes = (logits.argmax(dim=1) == reference.argmax(dim=1)).numpy()
        chosen = {scheme: np.array(schemes) == scheme for scheme in dict.fromkeys(schemes)}
        self.metrics = {f"kl of {scheme}": float(losses[lines].mean()) for scheme, lines in chosen.items()}

    def __float__(self) -> float:
        return float(self.outcomes.mean())


def answers(model: Any, tokenizer: Any, texts: Sequence[str]) -> Any:
    """The logits (texts, labels) of a classifier, which goes into evaluation mode, in the order of the texts."""
    import torch

    model.eval()
    order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
    parts = []
    with torch.no_grad():
        for start in range(0, len(order), 32):
            batch = tokenizer([texts[i] for i in order[start : start + 32]], padding=True, return_tensors="pt")
            parts.append(model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits)
    return torch.cat(parts)[torch.tensor(order).argsort()]


def models() -> Any:
    """The pretrained body, the classifier, and its tokenizer, as published, in evaluation mode."""
    from transformers import BertForSequenceClassification

    place = ken.demo.published()["bert_ft_10k_25s"]
    classifier = BertForSequenceClassification(_config()).eval()
    classifier.load_state_dict(_weights(place))
    vocabulary = (place / "vocab.txt").read_text(encoding="utf-8")
    return SimpleNamespace(fine_tuned=classifier, pretrained=_body("bert_pretrained"), tokenizer=tokenizer(vocabulary))


def other_models() -> Any:
    """The other fine-tuned model, which is a body alone, with the pretrained one."""
    return SimpleNamespace(fine_tuned=_body("bert_ft"), pretrained=_body("bert_pretrained"))


def _body(name: str) -> Any:
    from transformers import BertModel

    body = BertModel(_config()).eval()
    parts = {part.removeprefix("bert."): value for part, value in _weights(ken.demo.published()[name]).items()}
    body.load_state_dict({part: value for part, value in parts.items() if not part.startswith("cls.")})
    return body


def _config() -> Any:
    from transformers import BertConfig

    config = json.loads((ken.demo.published()["bert_ft_10k_25s"] / "config.json").read_text(encoding="utf-8"))
    return BertConfig(**{name: config[name] for name in _ARCHITECTURE}, num_labels=config["num_labels"])


def _weights(place: Path) -> Any:
    import torch

    return torch.load(place / "pytorch_model.bin", map_location="cpu", weights_only=True)


def table(file: Path) -> pd.DataFrame:
    """A line an arm and share: reactions named alike (mean over seeds), divergence with its interval over schemes.

    less_random is the divergence less that of `random` at the same share, scheme by scheme, with its interval.
    """
    lines, made = by_arm(file), []
    names = [name for name in ken.results.read(file).columns if name.startswith("kl of ")]
    at = {name: index for index, name in enumerate(ken.results.read(file).columns)}

    def divergence(arm: Arm, k: float) -> np.ndarray:
        return np.array([[[line[at[name] + 1] for name in names] for line in lines[arm, k]]], float)

    ks = sorted({k for _, k in lines if 0 < k < 1}, reverse=True)
    for arm, k in ((PRETRAINED, 0.0), *((arm, k) for arm in ARMS for k in ks)):
        if (arm, k) not in lines:
            continue
        outcomes = np.array([line.outcomes for line in lines[arm, k]])
        numbers = estimate(divergence(arm, k))[:3]
        less = (np.nan,) * 3
        if arm != RANDOM and (RANDOM, k) in lines:
            less = estimate(divergence(arm, k) - divergence(RANDOM, k))[:3]
        made.append((*arm, k, outcomes.shape[1], outcomes.sum(axis=1).mean(), *numbers, *less))
    return pd.DataFrame(made, columns=NAMES)


def main(results: Path, out: Path) -> None:
    results.mkdir(parents=True, exist_ok=True)
    out.mkdir(parents=True, exist_ok=True)
    file, trio = results / "rxnfp.jsonl", models()
    schemes, texts = zip(*reactions(), strict=True)
    reference = answers(trio.fine_tuned, trio.tokenizer, texts)
    sweep_arms(
        trio,
        ARMS,
        KS,
        evaluate=lambda model: Fidelity(answers(model, trio.tokenizer, texts), reference, schemes),
        seeds=SEEDS,
        evaluation=f"fidelity on {len(texts)} reactions",
        results=file,
    )
    write_text(out / "evidence-fidelity.csv", table(file).to_csv(index=False, float_format="%.6g", lineterminator="\n"))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--results", type=Path, default=ken.demo.cache_directory() / "evidence", help="results")
    parser.add_argument("--out", type=Path, default=DOCS, help="where the table goes")
    options = parser.parse_args()
    main(options.results, options.out)
