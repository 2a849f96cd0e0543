"""Reactions as texts, and how far answers to them are from another model's."""

import doctest
import re

import audit_pages
import effects_models
import fidelity
import numpy as np
import pytest
import reactions
import torch

import ken


def test_reactions_are_well_formed_and_made_of_the_vocabulary():
    made = list(reactions.reactions())
    assert len({text for _, text in made}) == len(made) == 276
    assert len({scheme for scheme, _ in made}) == 11
    for _, text in made:
        for molecule in text.replace(">>", ".").split("."):
            assert molecule.count("(") == molecule.count(")")
            digits = [c for c in re.sub(r"\[[^]]*]", "", molecule) if c.isdigit()]
            assert all(digits.count(digit) % 2 == 0 for digit in digits)
    tokens = reactions.tokenizer((ken.demo.published()["bert_ft_10k_25s"] / "vocab.txt").read_text(encoding="utf-8"))
    encoded = tokens([text for _, text in made])["input_ids"]
    assert not any(tokens.unk_token_id in numbers for numbers in encoded)
    assert {numbers[0] for numbers in encoded} == {tokens.cls_token_id}
    assert tokens.tokenize("C[Si](Cl)=O>>CBr") == ["C", "[Si]", "(", "Cl", ")", "=", "O", ">>", "C", "Br"]


def test_divergence_and_agreement_are_those_of_the_tool_itself():
    model, reference = effects_models.bert(1), effects_models.bert(0)
    for classifier in (model.classifier, reference.classifier):  # or all divergences would be rounding
        classifier.weight.data.mul_(50)
    tokenizer, texts = effects_models.word_tokenizer(), [f"w{i} w{i % 7} w{i % 3}" for i in range(12)]
    schemes = ["a"] * 8 + ["b"] * 4
    found = fidelity.Fidelity(*(fidelity.answers(m, tokenizer, texts) for m in (model, reference)), schemes)
    expected = ken.Task.fidelity(reference, tokenizer, texts).evaluate(model)
    assert found.outcomes.tolist() == expected.outcomes.tolist()
    assert float(found) == pytest.approx(float(expected))
    assert found.metrics == pytest.approx(
        {"kl of a": expected.losses[:8].mean(), "kl of b": expected.losses[8:].mean()}, rel=1e-3
    )


def test_the_table_has_intervals_over_schemes(tmp_path):
    class Changed:
        """Divergence by scheme grows with what is reset; answers stay."""

        def __init__(self, state):
            share = float((state["w"] == 1).double().mean())
            self.outcomes = np.arange(6) < 6 * share
            self.metrics = {f"kl of {name}": (1 - share) * size for name, size in (("a", 1.0), ("b", 2.0), ("c", 3.0))}

        def __float__(self):
            return float(self.outcomes.mean())

    pair = ken.Pair({"w": torch.ones(2, 8)}, {"w": torch.zeros(2, 8)})
    file = tmp_path / "results.jsonl"
    ken.sweep(pair, [0.5], ["update", "random"], evaluate=Changed, seeds=(0, 1), results=file, progress=False)
    made = fidelity.table(file).set_index("rule")
    assert made.index.tolist() == ["pretrained", "random", "update"]
    assert made.loc["pretrained", ["k", "alike", "kl"]].tolist() == [0, 0, 2]
    assert made.loc["update", ["reactions", "alike", "kl"]].tolist() == [6, 3, 1]
    half = 4.302653 * np.std([0.5, 1, 1.5], ddof=1) / np.sqrt(3)  # Student's quantile at 2 degrees of freedom
    assert made.loc["update", ["low", "high"]].tolist() == pytest.approx([1 - half, 1 + half])
    assert made.loc["update", "less_random"] == 0
    assert np.isnan(made.loc["random", "less_random"])
    text = audit_pages.fidelity_table(made.reset_index())
    assert "0 of 6 reactions named as before, divergence 2 (" in text
    assert re.search(r"^\| `update` \| 3; 1 \(0 to 2\.24\) \|$", text, re.M)


def test_examples_in_the_docstrings_run():
    assert doctest.testmod(reactions).failed == 0
