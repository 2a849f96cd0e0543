"""The parts of the trainer; what they do together is in test_training.py."""

import logging
from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers.utils import logging as transformers_logging

from ken.evaluation.trainer import batches, quiet_transformers


@given(lengths=st.lists(st.integers(1, 9), min_size=1, max_size=60), size=st.integers(1, 20), seed=st.integers(0, 99))
def test_batches_hold_every_index_once_and_similar_lengths(lengths: list[int], size: int, seed: int) -> None:
    cut = batches(lengths, size, torch.Generator().manual_seed(seed))
    assert sorted(i for batch in cut for i in batch) == list(range(len(lengths)))
    assert all(len(batch) <= size for batch in cut)
    assert len(cut) == -(-len(lengths) // size)
    spans = sorted((min(lengths[i] for i in batch), max(lengths[i] for i in batch)) for batch in cut)
    assert all(left[1] <= right[0] for left, right in pairwise(spans))


def test_batches_differ_from_epoch_to_epoch() -> None:
    generator = torch.Generator().manual_seed(0)
    assert batches([1] * 20, 4, generator) != batches([1] * 20, 4, generator)


@pytest.mark.parametrize("bars", [True, False])
def test_quiet_transformers_puts_the_settings_back(bars: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    before = transformers_logging.get_verbosity(), transformers_logging.is_progress_bar_enabled()
    try:
        transformers_logging.set_verbosity_info()
        (transformers_logging.enable_progress_bar if bars else transformers_logging.disable_progress_bar)()
        with quiet_transformers():
            assert transformers_logging.get_verbosity() == logging.ERROR
            assert not transformers_logging.is_progress_bar_enabled()
        assert transformers_logging.get_verbosity() == logging.INFO
        assert transformers_logging.is_progress_bar_enabled() is bars
    finally:
        transformers_logging.set_verbosity(before[0])
        (transformers_logging.enable_progress_bar if before[1] else transformers_logging.disable_progress_bar)()
