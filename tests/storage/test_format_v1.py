"""Frozen files of format version 1, read by `ken.load` and by a second reader that was written from FORMAT.md alone."""

import json
from pathlib import Path

import numpy as np
import pytest
import second_reader
import torch
from golden.make_format_v1 import bits, models
from test_format import reseal

import ken

GOLDEN = Path(__file__).parents[1] / "golden"
FILES = ["format_v1.ken.safetensors", "format_v1_raw.ken.safetensors"]
ARRAYS = np.load(GOLDEN / "format_v1.npz")


def arrays(side):
    return {name.removeprefix(f"{side}/"): ARRAYS[name] for name in ARRAYS.files if name.startswith(f"{side}/")}


def same(actual, wanted):
    assert actual.keys() == wanted.keys()
    for name, array in wanted.items():
        assert actual[name].shape == array.shape, name
        np.testing.assert_array_equal(actual[name], array, err_msg=name)


@pytest.fixture
def pretrained():
    """The pretrained model of the frozen files, made from their bits."""
    _, like = models()
    return {
        name: torch.from_numpy(array.reshape(-1).view(np.uint8).copy()).view(like[name].dtype).reshape(array.shape)
        if array.size
        else like[name]
        for name, array in arrays("pretrained").items()
    }


@pytest.mark.parametrize("file", FILES)
def test_frozen_files_are_read_by_ken(file, pretrained):
    net = ken.verify(GOLDEN / file, pretrained)
    same({name: bits(tensor) for name, tensor in ken.inject(net, pretrained).items()}, arrays("injected"))
    assert net.recipe.k == {"sparse": 4, "double": 1.0, "mostly": 0.95, "*": 0.5}
    assert net.tied == {"tied": "single"}
    assert net.files["config.json"] == b'{"model_type": "none"}\n'


@pytest.mark.parametrize("file", FILES)
def test_frozen_files_are_read_by_the_second_reader(file):
    same(second_reader.inject(GOLDEN / file, arrays("pretrained")), arrays("injected"))


def test_the_frozen_files_have_every_coding():
    records = [second_reader.read(GOLDEN / file)["record"]["tensors"] for file in FILES]
    masks = {tensor["mask"]["coding"] for tensors in records for tensor in tensors if tensor["status"] == "pruned"}
    assert masks == {"none", "all", "bits", "bits+zstd", "gaps+zstd"}
    assert [{t["values"]["coding"] for t in tensors if t["status"] == "pruned"} for tensors in records] == [
        {"ulps"},
        {"raw"},
    ]


def test_the_second_reader_reads_what_is_written_today(tmp_path, pretrained):
    fine_tuned, _ = models()
    for raw in (False, True):
        path = ken.prune(fine_tuned, pretrained, {"sparse": 1, "*": 0.3}, raw=raw).save(tmp_path / "net")
        wanted = {name: bits(tensor) for name, tensor in ken.inject(ken.load(path), pretrained).items()}
        same(second_reader.inject(path, arrays("pretrained")), wanted)


def test_both_readers_refuse_the_same_damage(tmp_path, pretrained):
    data = (GOLDEN / FILES[0]).read_bytes()
    path = tmp_path / "net"
    for damaged in (data[:-1] + bytes([data[-1] ^ 1]), reseal(data, "2.0"), data.replace(b"weights", b"weight$")):
        path.write_bytes(damaged)
        with pytest.raises(ken.KenError):
            ken.verify(path, pretrained)
        with pytest.raises(ValueError, match=r"damaged|version"):
            second_reader.inject(path, arrays("pretrained"))
    wrong = arrays("pretrained")
    wrong["half"] = wrong["half"] ^ 1
    with pytest.raises(ValueError, match="half: not the pretrained tensor"):
        second_reader.inject(GOLDEN / FILES[0], wrong)


def test_the_second_reader_is_as_short_as_a_document_should_allow():
    lines = Path(second_reader.__file__).read_text(encoding="utf-8").split('"""', 2)[2].splitlines()
    assert sum(1 for line in lines if line.strip()) <= 67
    assert "import ken" not in "\n".join(lines)


def test_the_example_of_a_whole_models_fingerprint_in_the_document_is_how_it_is_computed(pretrained):
    from xxhash import xxh3_128_hexdigest

    record = json.loads(json.dumps(second_reader.read(GOLDEN / FILES[0])["record"]))
    dtype = {name: str(tensor.dtype).removeprefix("torch.") for name, tensor in pretrained.items()}
    lines = sorted(
        f"{name} {dtype[name]} {list(array.shape)} {xxh3_128_hexdigest(array.tobytes())}\n"
        for name, array in arrays("pretrained").items()
    )
    assert record["pretrained"]["fingerprint"] == xxh3_128_hexdigest("".join(lines).encode())
