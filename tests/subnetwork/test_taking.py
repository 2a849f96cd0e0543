import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ken.errors import SubnetworkError, ValuesError
from ken.models.tensors.tensor_bytes import fingerprint
from ken.models.tensors.tensor_reader import Entries
from ken.subnetwork.extract import InMemory, take

FLOATS = [torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.float8_e4m3fn]


def keys(tensor):
    """Places on the line of floats, as Python's integers: the definition of FORMAT.md."""
    width = tensor.element_size()
    bits = tensor.reshape(-1).view(torch.uint8).numpy().view(f"i{width}").tolist()
    return [b if b >= 0 else b ^ (2 ** (8 * width - 1) - 1) for b in bits]


@st.composite
def cases(draw):
    rows, n, added = draw(st.integers(1, 40)), draw(st.integers(1, 20)), draw(st.integers(0, 3))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    dtype, other = draw(st.sampled_from(FLOATS)), draw(st.sampled_from(FLOATS))
    ours = torch.from_numpy(rng.normal(size=(rows + added, n))).to(dtype)
    theirs = torch.from_numpy(rng.normal(size=(rows, n))).to(other)
    mask = rng.random((rows + added, n)) < draw(st.floats(0, 1))
    mask[rows:] = True
    return ours, theirs, mask


@given(cases(), st.integers(1, 300), st.booleans())
def test_however_it_is_cut_it_is_what_the_definition_says(case, stretch, raw):
    ours, theirs, mask = case
    base = torch.cat([theirs.to(ours.dtype), torch.zeros(len(ours) - len(theirs), ours.shape[1], dtype=ours.dtype)])
    sink = InMemory(mask.size, ours.element_size(), int(mask.sum()))
    seen = []

    def decide(start, fine_tuned, pretrained):
        assert start % ours.shape[1] == len(fine_tuned) % ours.shape[1] == len(pretrained) % ours.shape[1] == 0
        return mask.reshape(-1)[start : start + len(fine_tuned)]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ken.subnetwork.extract._STRETCH", stretch)
        found = take(
            Entries.from_tensor(ours),
            Entries.from_tensor(theirs),
            tuple(ours.shape),
            decide,
            sink,
            raw=raw,
            done=seen.append,
        )
    assert sum(seen) == ours.numel()
    assert np.array_equal(sink.bits, np.packbits(mask))
    width = 8 * ours.element_size()
    origin = [0] * ours.numel() if raw else keys(base)
    distances = [(a - b) % 2**width for a, b in zip(keys(ours), origin, strict=True)]
    assert sink.ulps.tolist() == [d for d, keep in zip(distances, mask.reshape(-1), strict=True) if keep]
    retained = torch.from_numpy(mask)
    result = torch.where(retained, ours.to(torch.float64), base.to(torch.float64)).to(ours.dtype)
    assert found == (fingerprint(theirs), fingerprint(ours), fingerprint(result))


def test_rows_are_never_cut_and_masks_only_between_bytes(monkeypatch):
    monkeypatch.setattr("ken.subnetwork.extract._STRETCH", 100)
    starts = []

    def decide(start, fine_tuned, pretrained):
        starts.append(start)
        return np.ones(len(fine_tuned), bool)

    tensor = Entries.from_tensor(torch.zeros(50, 9))
    take(tensor, tensor, (50, 9), decide, InMemory(450, 4, 450))
    assert sorted(starts) == [144 * i for i in range(4)]  # 100 entries are 11 rows; of 16 rows the bits fill bytes


def test_a_reset_entry_without_a_pretrained_value_is_an_error():
    with pytest.raises(SubnetworkError, match="rows from 2 on are reset, but the pretrained tensor ends there"):
        take(
            Entries.from_tensor(torch.ones(3, 2)),
            Entries.from_tensor(torch.ones(2, 2)),
            (3, 2),
            lambda *_: np.arange(6) < 5,
            InMemory(6, 4, 5),
        )


def test_a_pretrained_value_that_does_not_fit_is_told_with_its_place(monkeypatch):
    monkeypatch.setattr("ken.subnetwork.extract._STRETCH", 8)
    theirs = torch.zeros(10, 2, 4)
    theirs[7, 1, 2] = 1e6
    with pytest.raises(ValuesError, match=r"the pretrained value 1e\+06 at \[7, 1, 2\] does not fit into float16"):
        take(
            Entries.from_tensor(torch.zeros(10, 2, 4, dtype=torch.float16)),
            Entries.from_tensor(theirs),
            (20, 4),
            lambda start, ours, _: np.ones(len(ours), bool),
            InMemory(80, 2, 80),
        )
