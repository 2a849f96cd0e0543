"""Splits: nothing twice, nothing lost, each class in its share."""

from collections import Counter
from fractions import Fraction
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from ken.errors import TrainingError
from ken.evaluation.datasets import split, stratified

LABELS = st.lists(st.sampled_from("abcde"), min_size=2, max_size=80)
SHARES = st.floats(0.01, 0.99)


@given(labels=LABELS, share=SHARES, seed=st.integers(0, 2**32))
def test_a_split_is_disjoint_whole_and_stratified_within_one(labels: list[str], share: float, seed: int) -> None:
    try:
        train, held_out = stratified(labels, share, seed)
    except TrainingError:
        # it may refuse only what leaves nothing to hold out
        assert round(share * len(labels)) == 0 or max(Counter(labels).values()) == 1
        return
    assert sorted([*train, *held_out]) == list(range(len(labels)))
    assert train.tolist() == sorted(train)
    assert held_out.tolist() == sorted(held_out)
    sizes, held = Counter(labels), Counter(labels[i] for i in held_out)
    for label, size in sizes.items():
        assert abs(held[label] - Fraction(share) * size) <= 1  # a share like 0.1 is not exact
        assert held[label] < size
    assert len(held_out) <= round(share * len(labels))
    if min(sizes.values()) * (1 - share) > 1:  # no class is short of texts to train on
        assert len(held_out) == round(share * len(labels))
    again = stratified(labels, share, seed)
    assert np.array_equal(train, again[0])
    assert np.array_equal(held_out, again[1])


def test_seeds_differ_and_every_text_has_the_same_chance() -> None:
    labels = ["a"] * 6 + ["b"] * 4
    drawn = np.zeros(10)
    for seed in range(2000):
        drawn[stratified(labels, 0.5, seed)[1]] += 1
    # 3 of 6 and 2 of 4: each is held out half of the time, here within five standard deviations
    assert np.abs(drawn / 2000 - 0.5).max() < 5 * np.sqrt(0.25 / 2000)


def test_a_class_of_one_is_trained_on() -> None:
    train, held_out = stratified(["a"] * 9 + ["rare"], 0.9, 0)
    assert 9 in train
    assert len(held_out) == 8  # of the nine, one is left to train on, too


@given(labels=LABELS, share=SHARES, seed=st.integers(0, 99))
def test_lists_and_frames_are_split_alike(labels: list[str], share: float, seed: int) -> None:
    texts = [f"text {i}" for i in range(len(labels))]
    frame = pd.DataFrame({"said": texts, "by": labels}, index=range(5, 5 + len(labels)))
    try:
        parts = stratified(labels, share, seed)
    except TrainingError:
        assume(False)
    of_lists = split(texts, labels, share, seed=seed)
    of_series = split(frame["said"], frame["by"], share, seed=seed)
    of_frame = split(frame, share=share, seed=seed, text="said", label="by")
    for part, lists, series, cut in zip(parts, of_lists, of_series, of_frame, strict=True):
        assert lists == series == ([texts[i] for i in part], [labels[i] for i in part])
        pd.testing.assert_frame_equal(cut, frame.iloc[part])


@pytest.mark.parametrize(
    ("labels", "share", "message"),
    [
        (["a", "b"], 0.0, r"share must be between 0 and 1, got 0\.0"),
        (["a", "b"], 1, "share must be between 0 and 1, got 1"),
        (["a", "b"], float("nan"), "share must be between 0 and 1, got nan"),
        (["a"] * 10, 0.01, r"hold out one text, got 0\.01 of 10 texts in 1 classes"),
        (["a", "b"], 0.5, "hold out one text, got 0.5 of 2 texts in 2 classes"),
        ([["a"], ["b"]], 0.5, r"labels must be hashable, but label 0 is \['a'\]"),
    ],
)
def test_a_split_that_cannot_be_is_an_error(labels: Any, share: float, message: str) -> None:
    with pytest.raises(TrainingError, match=message):
        split([f"text {i}" for i in range(len(labels))], labels, share)
