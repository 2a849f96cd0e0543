"""Tiny pairs of models, with a task for each."""

import pytest
import torch
from effects_models import asked, bert, continued, llama, moved, word_tokenizer

import ken
from ken.evaluation.effects.tasks import Task


@pytest.fixture(scope="module")
def pair():
    """A classifier, and a body without its head."""
    base = bert()
    tuned = moved(base)
    return ken.Pair(tuned, base.bert)


@pytest.fixture(scope="module")
def task():
    torch.manual_seed(2)
    ids, labels = torch.randint(1, 50, (24, 7)), torch.randint(0, 3, (24,))
    return Task([(ids[i : i + 8], labels[i : i + 8]) for i in range(0, 24, 8)], asked)


@pytest.fixture(scope="module")
def causal():
    base = llama()
    torch.manual_seed(3)
    return ken.Pair(moved(base), base), Task([torch.randint(1, 60, (5, 9)) for _ in range(2)], continued)


@pytest.fixture(scope="module")
def tokenizer():
    return word_tokenizer()
