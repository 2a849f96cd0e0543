"""Hypothesis strategies: rows that are hard on the rule, and pairs of tensors."""

import numpy as np
import torch
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

DTYPES = [torch.float64, torch.float32, torch.float16, torch.bfloat16]


def _seeds():
    return st.integers(0, 2**32 - 1)


@st.composite
def rows(draw, max_length=120):
    """One float64 row: smooth, tied, heavy-tailed, nearly constant, tiny, huge, or anything finite."""
    n = draw(st.integers(1, max_length))
    rng = np.random.default_rng(draw(_seeds()))
    kind = draw(st.sampled_from(["normal", "ties", "tails", "half", "narrow", "outlier", "two", "any"]))
    if kind == "normal":
        return rng.normal(size=n) * 10.0 ** draw(st.integers(-8, 6))
    if kind == "ties":
        return rng.integers(-3, 4, n) * 0.25
    if kind == "tails":
        return rng.standard_cauchy(n)
    if kind == "half":
        return rng.normal(0, 0.04, n).astype(np.float16).astype(np.float64)
    if kind == "narrow":
        return 1.0 + rng.normal(0, 1e-15, n)
    if kind == "outlier":
        return np.append(rng.normal(0, 1e-9, n - 1), 1.0)
    if kind == "two":
        return rng.choice([-0.0, 0.0, 1.0], n)
    return draw(hnp.arrays(np.float64, n, elements=st.floats(-1e6, 1e6, width=32)))


@st.composite
def shapes(draw):
    """Tensor shapes of 0 to 4 dimensions, empty ones among them."""
    return tuple(draw(st.lists(st.integers(0, 20), max_size=4).filter(lambda s: np.prod(s) <= 3000)))


@st.composite
def tensor_pairs(draw, shape=None):
    """(fine-tuned, pretrained): torch tensors of one shape and floating dtype, with ties, zeros and -0.0."""
    dtype = draw(st.sampled_from(DTYPES))
    shape = draw(shapes()) if shape is None else shape
    generator = torch.Generator().manual_seed(draw(_seeds()))
    pretrained = torch.randn(shape, generator=generator, dtype=torch.float64) * 0.05
    update = torch.randn(shape, generator=generator, dtype=torch.float64) * draw(st.sampled_from([0.0, 1e-3, 1.0]))
    fine_tuned = pretrained + update
    if draw(st.booleans()):
        fine_tuned = torch.where(torch.rand(shape, generator=generator) < 0.3, -0.0, fine_tuned)
    return fine_tuned.to(dtype), pretrained.to(dtype)


def budgets():
    """k as a number of entries or as a share."""
    return st.one_of(st.integers(1, 40), st.floats(0.01, 1.0))
