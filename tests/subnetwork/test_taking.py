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
    tuned = torch.from_numpy(rng.normal(size=(rows + added, n))).to(dtype)
    theirs = torch.from_numpy(rng.normal(size=(rows, n))).to(other)
    mask = rng.random((rows + added, n)) < draw(st.floats(0, 1))
    mask[rows:] = True
    return tuned, theirs, mask


@given(cases(), st.integers(1, 300), st.booleans())
def test_however_it_is_cut_it_is_what_the_definition_says(case, stretch, raw):
    tuned, theirs, mask = case
    base = torch.cat([theirs.to(tuned.dtype), torch.zeros(len(tuned) - len(theirs), tuned.shape[1], dtype=tuned.dtype)])
    sink = InMemory(mask.size, tuned.element_size(), int(mask.sum()))
    seen = []

    def decide(start, fine_tuned, pretrained):
        assert start % tuned.shape[1] == len(fine_tuned) % tuned.shape[1] == len(pretrained) % tuned.shape[1] == 0
        return mask.reshape(-1)[start : start + len(fine_tuned)]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ken.subnetwork.extract._STRETCH", stretch)
        fingerprints = take(
            Entries.from_tensor(tuned),
            Entries.from_tensor(theirs),
            tuple(tuned.shape),
            decide=decide,
            sink=sink,
            raw=raw,
            done=seen.append,
        )
    assert sum(seen) == tuned.numel()
    assert np.array_equal(sink.bits, np.packbits(mask))
    width = 8 * tuned.element_size()
    origin = [0] * tuned.numel() if raw else keys(base)
    distances = [(a - b) % 2**width for a, b in zip(keys(tuned), origin, strict=True)]
    assert sink.ulps.tolist() == [d for d, keep in zip(distances, mask.reshape(-1), strict=True) if keep]
    retained = torch.from_numpy(mask)
    result = torch.where(retained, tuned.to(torch.float64), base.to(torch.float64)).to(tuned.dtype)
    assert fingerprints == (fingerprint(theirs), fingerprint(tuned), fingerprint(result))


def test_rows_are_never_cut_and_masks_only_between_bytes(monkeypatch):
    monkeypatch.setattr("ken.subnetwork.extract._STRETCH", 100)
    starts = []

    def decide(start, fine_tuned, pretrained):
        starts.append(start)
        return np.ones(len(fine_tuned), bool)

    tensor = Entries.from_tensor(torch.zeros(50, 9))
    take(tensor, tensor, (50, 9), decide=decide, sink=InMemory(450, 4, 450))
    assert sorted(starts) == [144 * i for i in range(4)]  # 100 entries are 11 rows; of 16 rows the bits fill bytes


def test_a_reset_entry_without_a_pretrained_value_is_an_error():
    with pytest.raises(SubnetworkError, match="rows from 2 on are reset, but the pretrained tensor ends there"):
        take(
            Entries.from_tensor(torch.ones(3, 2)),
            Entries.from_tensor(torch.ones(2, 2)),
            (3, 2),
            decide=lambda *_: np.arange(6) < 5,
            sink=InMemory(6, 4, 5),
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
            decide=lambda start, tuned, _: np.ones(len(tuned), bool),
            sink=InMemory(80, 2, 80),
        )
