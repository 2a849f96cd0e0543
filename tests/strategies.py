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


_BITS = {
    torch.float64: torch.int64,
    torch.float32: torch.int32,
    torch.float16: torch.int16,
    torch.bfloat16: torch.int16,
}


@st.composite
def any_bits(draw, shape=None):
    """A tensor of any floating dtype and any bits at all: NaN with payloads, infinities, subnormals, -0.0."""
    dtype = draw(st.sampled_from(DTYPES))
    shape = draw(shapes()) if shape is None else shape
    bits = _BITS[dtype]
    rng = np.random.default_rng(draw(_seeds()))
    count = int(np.prod(shape))
    raw = rng.integers(0, 256, (count, bits.itemsize), dtype=np.uint8).reshape(-1).view(f"i{bits.itemsize}")
    return torch.from_numpy(raw).view(dtype).reshape(shape)


@st.composite
def finite_bits(draw, shape, dtype):
    """A tensor of any finite bits, many of them zeros of either sign or subnormal."""
    tensor = draw(any_bits(shape)).to(torch.float64).reshape(shape)
    tensor = torch.nan_to_num(tensor, nan=0.0, posinf=1.0, neginf=-1.0).clamp(-1e4, 1e4).to(dtype)
    tiny = torch.finfo(dtype).smallest_normal
    kind = torch.from_numpy(np.random.default_rng(draw(_seeds())).integers(0, 4, shape))
    tensor = torch.where(kind == 1, -torch.zeros((), dtype=dtype), tensor)
    return torch.where(kind == 2, (tensor * 1e-4).to(torch.float64).mul(tiny).to(dtype), tensor)


@st.composite
def models(draw):
    """(fine-tuned, pretrained, excluded): state dicts of several tensors, pruned and carried, of any kind."""
    fine_tuned, pretrained = {}, {}
    for i in range(draw(st.integers(0, 3))):
        name = draw(st.sampled_from(["layer.{}.weight", "σ/{}", "a b{}", "{}"])).format(i)
        if draw(st.booleans()):
            ours, theirs = draw(tensor_pairs())
        else:
            shape, dtype = draw(shapes()), draw(st.sampled_from(DTYPES))
            ours, theirs = draw(finite_bits(shape, dtype)), draw(finite_bits(shape, dtype))
        fine_tuned[name], pretrained[name] = ours, theirs
    grown, _ = draw(tensor_pairs((6, 5)))
    fine_tuned["grown"], pretrained["grown"] = grown, grown[:4].flip(0).contiguous()
    wide, _ = draw(tensor_pairs((3, 7)))
    fine_tuned["wide"], pretrained["wide"] = wide.float(), wide.to(torch.bfloat16)
    fine_tuned["kept"] = draw(any_bits())
    pretrained["kept"] = torch.zeros_like(fine_tuned["kept"])
    fine_tuned["head"] = draw(any_bits())
    fine_tuned["steps"], pretrained["steps"] = torch.tensor(7), torch.tensor(5)
    fine_tuned["flags"], pretrained["flags"] = torch.tensor([True, False]), torch.tensor([True, True])
    return fine_tuned, pretrained, ["kept"]
