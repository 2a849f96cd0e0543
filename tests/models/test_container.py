import io
import json

import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from safetensors.torch import load, load_file

from ken.errors import FormatError
from ken.models.checkpoints import safetensors_file
from ken.models.checkpoints.safetensors_file import DTYPES, Reader, Writer, stored_dtype
from ken.models.tensors.tensor_bytes import bytes_of

DTYPES_HERE = [name for name in DTYPES if hasattr(torch, name)]


def patterns(shape, name):
    """Every bit pattern can come, NaN among them."""
    dtype, high = getattr(torch, name), 2 if name == "bool" else 256
    data = np.random.default_rng(0).integers(0, high, int(np.prod(shape)) * dtype.itemsize, np.uint8)
    return torch.from_numpy(data).view(dtype).reshape(shape) if data.size else torch.zeros(shape, dtype=dtype)


def raw(tensor):
    """dtype, shape and bytes, as NaN equals nothing."""
    return tensor.dtype, tuple(tensor.shape), bytes(tensor.contiguous().reshape(-1).view(torch.uint8).numpy())


def add_tensor(writer, name, tensor):
    writer.add(name, stored_dtype(tensor.dtype), tensor.shape, parts=[bytes_of(tensor)])


def write(path, tensors, metadata, names=None):
    with path.open("wb") as file:
        writer = Writer(file, names or {name: tensor.shape for name, tensor in tensors.items()}, metadata)
        for name, tensor in tensors.items():
            add_tensor(writer, name, tensor)
        writer.finish(metadata)
    return path


def written(path, header, body=b""):
    """A safetensors file by hand."""
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + body)
    return path


@pytest.mark.parametrize("name", DTYPES_HERE)
def test_what_is_written_is_read_by_safetensors_and_here(tmp_path, name):
    tensors = {
        "matrix": patterns((3, 5), name),
        "scalar": patterns((), name),
        "empty": patterns((0, 4), name),
        "transposed": patterns((3, 5), name).T,
        'ünï.çode " \\ \n': patterns((1,), name),
    }
    path = write(tmp_path / "a.safetensors", tensors, {"key": "ä value"})
    pretrained, fine_tuned = load_file(path), Reader(path)
    assert set(pretrained) == set(fine_tuned.names) == set(tensors)
    assert fine_tuned.metadata == {"key": "ä value"}
    for key, tensor in tensors.items():
        assert raw(pretrained[key]) == raw(fine_tuned.tensor(key)) == raw(tensor)
        assert fine_tuned.layout(key) == (DTYPES[name], tuple(tensor.shape))
        entries = fine_tuned.entries(key)
        assert (entries.shape, entries.dtype) == (tuple(tensor.shape), tensor.dtype)
        assert raw(entries.read(0, entries.count).reshape(entries.shape)) == raw(tensor)
        if entries.count > 3:
            assert raw(entries.read(1, 3)) == raw(tensor.reshape(-1)[1:3])


def test_a_file_without_blobs_or_texts_is_one_too(tmp_path):
    path = write(tmp_path / "a", {}, {})
    assert load_file(path) == {}
    assert (Reader(path).names, Reader(path).metadata) == ((), {})


def test_bytes_are_appended_in_the_parts_that_come():
    file = io.BytesIO()
    writer = Writer(file, {"blob": [6], "none": [0]}, {})
    writer.add(
        "blob", safetensors_file.BYTES, [6], parts=(part for part in (b"ab", bytearray(b"c"), memoryview(b"def"), b""))
    )
    writer.add("none", safetensors_file.BYTES, [0], parts=[])
    writer.finish({})
    tensors = load(file.getvalue())
    assert bytes(tensors["blob"].tolist()) == b"abcdef"
    assert tensors["none"].shape == (0,)


TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
SIZES = st.integers(0, 3)
NAMES = TEXTS.filter(lambda name: name != "__metadata__")


# safetensors reads F8_E8M0 from files, as tested above, but not from bytes.
BLOBS = st.tuples(st.sampled_from([n for n in DTYPES_HERE if n != "float8_e8m0fnu"]), st.lists(SIZES, max_size=4))


@given(st.dictionaries(NAMES, BLOBS, max_size=6), st.dictionaries(TEXTS, st.tuples(TEXTS, TEXTS), max_size=4))
def test_any_names_shapes_and_texts_are_read_back_and_the_header_is_a_multiple_of_8(blobs, texts):
    tensors = {name: patterns(tuple(shape), dtype) for name, (dtype, shape) in blobs.items()}
    longer = {key: text + more for key, (text, more) in texts.items()}
    metadata = {key: text for key, (text, _) in texts.items()}
    file = io.BytesIO()
    writer = Writer(file, {name: shape for name, (_, shape) in blobs.items()}, longer)
    room = file.tell() - 8
    assert room % 8 == 0
    for name, tensor in tensors.items():
        add_tensor(writer, name, tensor)
    writer.finish(metadata)
    data = file.getvalue()
    assert int.from_bytes(data[:8], "little") == room
    header = json.loads(data[8 : 8 + room])
    assert header.pop("__metadata__") == metadata
    assert [*header] == [*tensors]
    assert len(data) == 8 + room + sum(len(raw(tensor)[2]) for tensor in tensors.values())
    assert {name: raw(tensor) for name, tensor in load(data).items()} == {n: raw(t) for n, t in tensors.items()}


class Sink:
    """A file that keeps what is written at its beginning, and of the rest nothing."""

    def __init__(self):
        self.beginning, self.at = b"", 0

    def write(self, data):
        if self.at == 0:
            self.beginning = data
        self.at += len(data)

    def seek(self, place):
        self.at = place


LARGE = st.sampled_from([0, 7, 10**15, 2**62])


@given(st.lists(st.lists(LARGE, max_size=12), min_size=1, max_size=5), st.text(max_size=30))
@example([[10**15] * 12] * 4, "")
def test_the_header_never_outgrows_its_room_however_large_the_blobs(shapes, text):
    sink = Sink()
    # up to 10^15 a length need not be known before
    before = {str(i): [length if length > 10**15 else 0 for length in shape] for i, shape in enumerate(shapes)}
    writer = Writer(sink, before, {"text": text})
    room = len(sink.beginning) - 8
    for i, shape in enumerate(shapes):
        writer.add(str(i), max(DTYPES.values(), key=len), shape, parts=[] if i else [range(10**15)])
    writer.finish({"text": text})
    assert len(sink.beginning) == 8 + room
    header = json.loads(sink.beginning[8:])
    assert [header[str(i)]["shape"] for i in range(len(shapes))] == shapes


def test_the_limit_of_the_header_is_that_of_safetensors(tmp_path):
    limit = safetensors_file._LONGEST_HEADER
    for length, message in ((limit, "(?i)invalid"), (limit + 1, "(?i)header ?too ?large")):
        path = tmp_path / str(length)
        with path.open("wb") as file:
            file.write(length.to_bytes(8, "little"))
            file.truncate(8 + length)
        with pytest.raises(FormatError, match=message):
            Reader(path)


def test_a_header_over_the_limit_is_refused_before_anything_is_written(monkeypatch):
    file = io.BytesIO()
    Writer(file, {"w": [2]}, {})
    needed = len(file.getvalue()) - 8
    monkeypatch.setattr(safetensors_file, "_LONGEST_HEADER", needed)
    Writer(io.BytesIO(), {"w": [2]}, {})
    file = io.BytesIO()
    monkeypatch.setattr(safetensors_file, "_LONGEST_HEADER", needed - 1)
    with pytest.raises(FormatError, match=f"header would take {needed} bytes; safetensors allows {needed - 1}"):
        Writer(file, {"w": [2]}, {})
    assert file.getvalue() == b""


def test_dtypes_that_safetensors_does_not_have_are_refused():
    for dtype in (torch.complex128, torch.qint8):
        with pytest.raises(FormatError, match=f"safetensors cannot hold tensors of dtype {str(dtype)[6:]}"):
            stored_dtype(dtype)
    writer = Writer(io.BytesIO(), {"w": [2]}, {})
    with pytest.raises(FormatError, match="complex128"):
        add_tensor(writer, "w", torch.zeros(2, dtype=torch.complex128))


def test_every_dtype_has_its_own_name():
    assert len(set(DTYPES.values())) == len(DTYPES)
    assert {stored_dtype(getattr(torch, name)) for name in DTYPES_HERE} == {DTYPES[name] for name in DTYPES_HERE}


@pytest.mark.parametrize("cut", [0, 1, 7, 8, 9, 100, -1])
def test_a_file_that_is_cut_is_refused(tmp_path, cut):
    whole = write(tmp_path / "a", {"w": torch.ones(50)}, {"key": "value"}).read_bytes()
    path = tmp_path / "b"
    path.write_bytes(whole[:cut])
    with pytest.raises(FormatError, match=r"/b is not a whole safetensors file: "):
        Reader(path)


def test_bytes_behind_the_last_blob_are_refused(tmp_path):
    path = write(tmp_path / "a", {"w": torch.ones(50)}, {})
    path.write_bytes(path.read_bytes() + b"\0")
    with pytest.raises(FormatError, match="not a whole safetensors file"):
        Reader(path)


@pytest.mark.parametrize("content", [b"not a container at all", bytes(100), b"PK\3\4" + bytes(60), b"\xff" * 64])
def test_a_file_of_another_kind_is_refused(tmp_path, content):
    path = tmp_path / "a"
    path.write_bytes(content)
    with pytest.raises(FormatError, match="not a whole safetensors file"):
        Reader(path)


def w(dtype="F32", shape=(2,), begin=0, end=8):
    return {"dtype": dtype, "shape": [*shape], "data_offsets": [begin, end]}


@pytest.mark.parametrize(
    "header",
    [
        {"w": w(dtype="C128", shape=(1,))},
        {"w": w(dtype="F99")},
        {"w": w(shape=(3,))},
        {"w": w(shape=(2**40, 2**40))},
        {"w": w(end=12)},
        {"w": w(begin=-4)},
        {"w": w(), "v": w()},
        {"w": {"dtype": "F32"}},
        {"w": w(), "__metadata__": {"key": 1}},
        ["w"],
    ],
)
def test_a_header_that_does_not_fit_its_blobs_is_refused(tmp_path, header):
    with pytest.raises(FormatError, match="not a whole safetensors file"):
        Reader(written(tmp_path / "a", header, bytes(8)))


def test_a_blob_that_torch_cannot_hold_or_that_is_not_there_is_refused(tmp_path):
    reader = Reader(written(tmp_path / "a", {"w": w("F6_E2M3", (4,), 0, 3)}, bytes(3)))
    for name in ("w", "v"):
        with pytest.raises(FormatError, match=f"/a: {name} cannot be read: "):
            reader.tensor(name)


def test_only_a_file_can_be_opened(tmp_path):
    for path in (tmp_path / "none", tmp_path, str(tmp_path / "none")):
        with pytest.raises(FileNotFoundError, match="there is no file"):
            Reader(path)


def test_a_tensor_of_the_one_name_that_is_taken_is_refused():
    with pytest.raises(FormatError, match="a tensor of the name '__metadata__'"):
        Writer(io.BytesIO(), {"__metadata__": (1,)}, {})


def test_a_file_that_is_cut_short_after_it_was_opened_is_refused(tmp_path):
    path = write(tmp_path / "a", {"w": torch.ones(100)}, {})
    entries = Reader(path).entries("w")
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size - 40)
    assert entries.read(0, 90).tolist() == [1.0] * 90
    with pytest.raises(FormatError, match="has been cut short: it ends before byte"):
        entries.read(80, 91)
