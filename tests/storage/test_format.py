import json
import weakref
from dataclasses import replace

import numpy as np
import pytest
import torch
from fuzz import join, split
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import budgets, models
from test_pruning import bits, fingerprint

import ken
from ken.errors import FormatError, SubnetworkError
from ken.storage.reader import SubnetworkWriter
from ken.storage.schema import CHECKSUM, FORMAT, RECORD


def reseal(data, version=None, change=None):
    """A file with another version, or a changed record, and the checksum that belongs to it."""
    header, blobs = split(data)
    metadata = header["__metadata__"]
    metadata[FORMAT] = version or metadata[FORMAT]
    record = json.loads(metadata[RECORD])
    if change:
        change(record)
        metadata[RECORD] = json.dumps(record)
    metadata[CHECKSUM] = ken.storage.schema._checksum(metadata[FORMAT], metadata[RECORD])
    return join(header, blobs)


def names_in(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture
def path(tmp_path):
    return tmp_path / "net.ken.safetensors"


@settings(max_examples=150)
@given(data=st.data(), models=models(), k=budgets(), raw=st.booleans(), rule=st.sampled_from(["ken", "random"]))
def test_a_saved_subnetwork_is_the_one_in_memory_bit_for_bit(data, models, k, raw, rule, tmp_path_factory):
    fine_tuned, pretrained, exclude = models
    before = fingerprint(fine_tuned), fingerprint(pretrained)
    path = tmp_path_factory.mktemp("net") / "net.ken.safetensors"
    streamed = path.with_name("streamed")
    options = {"exclude": exclude, "raw": raw, "progress": False}
    net = ken.prune(fine_tuned, pretrained, k, rule=rule, **options)
    loaded = ken.load(net.save(path))

    want = fingerprint(ken.inject(net, pretrained))
    assert fingerprint(ken.inject(loaded, pretrained)) == want
    assert fingerprint(ken.inject(loaded.in_memory, pretrained)) == want
    assert fingerprint(ken.reset(loaded, fine_tuned, pretrained)) == want  # KEN's two directions meet
    for name, tensor in loaded.items():
        if isinstance(tensor, ken.RetainedTensor):
            np.testing.assert_array_equal(tensor.bits, net[name].bits)
            np.testing.assert_array_equal(tensor.ulps, net[name].ulps)
            assert (tensor.pretrained, tensor.result) == (net[name].pretrained, net[name].result)
        else:
            assert (bits(tensor.value), tensor.reason) == (bits(net[name].value), net[name].reason)
    assert loaded.table().equals(net.table())
    for part in ("recipe", "tied", "only_pretrained", "prefix", "fine_tuned", "pretrained", "outlines"):
        assert getattr(loaded, part) == getattr(net, part), part
    assert repr(loaded) == repr(net)
    assert fingerprint(fine_tuned), fingerprint(pretrained) == before

    assert loaded.save(path.with_name("again")).read_bytes() == path.read_bytes()
    ken.prune(fine_tuned, pretrained, k, rule=rule, out=streamed, **options)
    assert streamed.read_bytes() == path.read_bytes()
    assert names_in(path.parent) == ["again", "net.ken.safetensors", "streamed"]


def test_opening_reads_the_header_alone(pair, path):
    net = ken.prune(*pair, 0.5)
    header, blobs = split(net.save(path).read_bytes())
    path.write_bytes(join(header, bytes(len(blobs))))
    loaded = ken.load(path)
    assert loaded.table().equals(net.table())
    assert repr(loaded) == repr(net)
    assert loaded.share == net.share
    assert list(loaded.pruned()) == list(net.pruned())
    with pytest.raises(FormatError, match=r"mask:embed\.weight is damaged") as error:
        loaded["embed.weight"].mask()
    assert error.value.__notes__ == ["in tensor 'embed.weight'"]
    with pytest.raises(FormatError, match=r"carried:head\.weight is damaged"):
        loaded["head.weight"].value  # noqa: B018


def test_no_more_than_one_tensor_is_held_while_a_file_is_written(pair, path, monkeypatch):
    alive, most = weakref.WeakSet(), []
    add = SubnetworkWriter.add

    def watched(self, name, tensor):
        alive.add(tensor)
        most.append(len(alive))
        add(self, name, tensor)

    monkeypatch.setattr(SubnetworkWriter, "add", watched)
    net = ken.prune(*pair, 0.5, out=path)
    net.save(path.with_name("other"))
    assert set(most) == {1}
    assert len(most) == len(net)


@pytest.mark.parametrize("raw", [False, True])
def test_pruning_into_a_file_gives_the_file_that_saving_gives(pair, path, raw):
    net = ken.prune(*pair, 0.5, raw=raw, out=path)
    assert path.read_bytes() == ken.prune(*pair, 0.5, raw=raw).save(path.with_name("other")).read_bytes()
    assert path.read_bytes() == net.save(path.with_name("again")).read_bytes()


def test_a_tensor_is_decoded_when_asked_for_and_not_kept(net, path):
    loaded = ken.load(net.save(path))
    assert loaded["embed.weight"] is not loaded["embed.weight"]
    assert loaded.in_memory is loaded.in_memory
    assert net.in_memory is net
    path.unlink()
    assert loaded.in_memory["embed.weight"].mask().shape == (300, 24)


def test_names_seeds_and_files_that_json_finds_hard_survive(path):
    names = ['"\\', "\u2028\u202e", "x" * 5000, "é/σ", "nan", "__metadata__"]
    fine_tuned = {name: torch.full((2, 2), float(i)) for i, name in enumerate(names)}
    theirs = {name: torch.zeros(2, 2) for name in names}
    net = ken.prune(fine_tuned, theirs, {"x*": 1.0, "*": 1}, rule="random", seed=2**63, include=["*"])
    net = replace(net, files={"config.json": b"\x00\xff" * 50}, shards={names[0]: "model-1.safetensors"})
    loaded = ken.load(net.save(path))
    assert list(loaded) == names
    assert loaded.recipe == net.recipe
    assert type(loaded.recipe.k["x*"]) is float
    assert type(loaded.recipe.k["*"]) is int
    assert loaded.files["config.json"] == b"\x00\xff" * 50
    assert loaded.shards == net.shards


def test_what_cannot_be_stored_is_refused_before_anything_is_written(path, net):
    old = net.save(path).read_bytes()
    for name, tensor, message in (
        ("c", torch.zeros(2, dtype=torch.complex128), "cannot hold tensors of dtype complex128"),
        ("\ud800", torch.zeros(2), "unicode"),
    ):
        odd = ken.prune({"w": torch.ones(2), name: tensor}, {"w": torch.zeros(2)}, 1)
        with pytest.raises(FormatError, match=message):
            odd.save(path)
    for name in ("../config.json", "run.py", "con/fig.json", ".json"):
        with pytest.raises(FormatError, match="is not the name of a configuration or tokenizer file"):
            replace(net, files={name: b""}).save(path)
    assert names_in(path.parent) == [path.name]
    assert path.read_bytes() == old


def test_an_unfinished_file_is_no_file(path, net):
    plan = {name: (outline, net[name].pretrained) for name, outline in net.outlines.items()}
    with pytest.raises(FormatError, match="nothing has been written"), SubnetworkWriter(path, net, plan) as writer:
        writer.add("embed.weight", net["embed.weight"])
    with pytest.raises(KeyboardInterrupt), SubnetworkWriter(path, net, plan):
        raise KeyboardInterrupt
    assert names_in(path.parent) == []


def test_a_pruning_that_fails_leaves_the_old_file(pair, net, path):
    old = net.save(path).read_bytes()
    pair.fine_tuned["layer.1.out.weight"][3, 5] = torch.nan
    with pytest.raises(ken.KenError, match="got nan in row 3, column 5"):
        ken.prune(*pair, 0.5, out=path)
    assert names_in(path.parent) == [path.name]
    assert path.read_bytes() == old


def test_a_newer_major_version_is_told_and_a_newer_minor_one_read(net, path):
    data = net.save(path).read_bytes()
    path.write_bytes(reseal(data, "2.0"))
    with pytest.raises(FormatError, match=r"the file has version 2\.0 .* reader of version 1; get a newer kenviz"):
        ken.load(path)
    path.write_bytes(reseal(data, "1.7", lambda record: record.update(colour="blue")))
    assert repr(ken.load(path)) == repr(net)
    for version in ("", "1", "one", "1.0.0", "1.-1", "9" * 5000):
        path.write_bytes(reseal(data, version or " "))
        with pytest.raises(FormatError, match="must be two numbers"):
            ken.load(path)


def test_other_files_are_no_subnetworks(path):
    from safetensors.torch import save_file

    save_file({"w": torch.ones(2)}, path)
    with pytest.raises(FormatError, match=r"not a subnetwork file: its header has no 'ken\.format'") as error:
        ken.load(path)
    assert error.value.__notes__ == [f"in the file {path}"]
    path.write_bytes(b"")
    with pytest.raises(FormatError, match="not a whole safetensors file"):
        ken.load(path)
    with pytest.raises(FileNotFoundError, match="there is no file"):
        ken.load(path.with_name("none"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda r: r["tensors"].pop(), "is not in the record"),
        (lambda r: r["tensors"].append({**r["tensors"][0], "name": "new"}), "'mask:new' is not in the file"),
        (lambda r: r["tensors"].append(r["tensors"][0]), "a tensor is described twice"),
        (lambda r: r["tensors"][0].update(dtype="float99"), "torch has no dtype 'float99'"),
        (lambda r: r["tensors"][0].update(dtype="int32"), "must be floating-point, got int32"),
        (
            lambda r: r["tensors"][0].update(shape=[300, 25]),
            r"has shape \(300, 25\), the pretrained tensor \(300, 24\)",
        ),
        (lambda r: r["tensors"][0].update(retained=10**9), "entries of a tensor of shape .* cannot be retained"),
        (lambda r: r["tensors"][0]["mask"].update(coding="none"), "a mask of coding 'none' cannot retain"),
        (lambda r: r["tensors"][0]["mask"].update(coding="all"), "a mask of coding 'all' cannot retain"),
        (lambda r: r["tensors"][0]["mask"].update(length=3), "must be U8"),
        (lambda r: r["tensors"][0]["pretrained"].update(fingerprint="x"), "fingerprint"),
        (lambda r: r["tensors"][-1].update(shape=[3, 25]), r"carried:head\.weight must be F32 \(3, 25\)"),
        (lambda r: r.update(tied={"a": "nothing"}), "'a' cannot be an alias of 'nothing'"),
        (lambda r: r.update(shards={"a": "../../x.safetensors"}), "is not the name of a safetensors file"),
        (lambda r: r.update(recipe=3), "the first at recipe"),
        (lambda r: r.pop("tensors"), "the first at tensors: Field required"),
    ],
)
def test_a_record_that_contradicts_itself_or_the_file_is_refused(net, path, change, message):
    path.write_bytes(reseal(net.save(path).read_bytes(), change=change))
    with pytest.raises(SubnetworkError, match=message):
        ken.load(path)


def test_a_record_with_another_checksum_is_refused(net, path):
    header, blobs = split(net.save(path).read_bytes())
    header["__metadata__"][RECORD] = header["__metadata__"][RECORD].replace('"seed":0', '"seed":1')
    path.write_bytes(join(header, blobs))
    with pytest.raises(FormatError, match="the record of the subnetwork file is damaged"):
        ken.load(path)


def test_rows_that_a_tensor_adds_cannot_come_from_next_to_nothing(path):
    fine_tuned, theirs = {"w": torch.zeros(9000, 256)}, {"w": torch.zeros(2, 256)}
    net = ken.prune(fine_tuned, theirs, 1.0, rows={"w": "grown"})
    loaded = ken.load(net.save(path))  # so many zeros are honest, and stored as they are
    assert path.stat().st_size > 9000 * 256 * 4
    assert torch.equal(ken.inject(loaded, theirs)["w"], fine_tuned["w"])

    def smaller(record):
        record["tensors"][0]["shape"] = [2**40, 256]
        record["tensors"][0]["retained"] = 2**48

    path.write_bytes(reseal(path.read_bytes(), change=smaller))
    with pytest.raises(FormatError, match="too few for all the rows that the tensor adds"):
        ken.load(path)
