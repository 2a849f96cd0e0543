import pytest
import torch
from fuzz import join, split

import ken
from ken.errors import FormatError, SubnetworkError


def test_a_whole_file_passes_and_says_what_it_is(pair, net, tmp_path):
    path = net.save(tmp_path / "net")
    assert repr(ken.verify(path)) == repr(net)
    assert repr(ken.verify(path, pair.pretrained)) == repr(net)
    assert ken.verify(net, pair.pretrained) is net


def test_every_damaged_tensor_is_named_and_no_more_than_ten(tmp_path):
    fine_tuned = {f"w{i}": torch.ones(3, 8) for i in range(12)} | {"head": torch.ones(5)}
    net = ken.prune(fine_tuned, {f"w{i}": torch.zeros(3, 8) for i in range(12)}, 2, rule="random")
    path = net.save(tmp_path / "net")
    header, blobs = split(path.read_bytes())
    blobs = bytearray(blobs)
    for name in ("values:w3", "carried:head"):
        blobs[header[name]["data_offsets"][0]] ^= 4
    path.write_bytes(join(header, bytes(blobs)))
    with pytest.raises(FormatError) as error:
        ken.verify(path)
    first, *lines = str(error.value).splitlines()
    assert first == "2 of 13 tensors fail:"
    assert [line.split(":")[0].strip() for line in lines] == ["'w3'", "'head'"]
    path.write_bytes(join(header, bytes(len(blobs))))
    with pytest.raises(FormatError, match=r"13 of 13 tensors fail \(the first 10 are shown\)") as error:
        ken.verify(path)
    assert len(str(error.value).splitlines()) == 11


def test_a_file_of_another_model_is_refused(pair, net, tmp_path):
    path = net.save(tmp_path / "net")
    with pytest.raises(SubnetworkError, match=r"has no tensor embed\.weight"):
        ken.verify(path, {"other": torch.ones(3)})
    pair.pretrained["layer.0.query.bias"][3] += 1
    with pytest.raises(
        FormatError, match=r"1 of 8 tensors fail:\n  'layer\.0\.query\.bias': this is not the pretrained"
    ):
        ken.verify(path, pair.pretrained)
