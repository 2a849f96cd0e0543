"""Models behind URLs: the same as from the disk, by ranges alone, and nothing that a bad server sends is taken."""

import copy
import json
import pickle
import re

import fsspec
import pytest
import torch
from checkpoints import llama, llama_folders, shifted
from range_server import serving
from safetensors.torch import save_file
from test_container import written

import ken
from ken.errors import FormatError, PairingError, RemoteError
from ken.models.checkpoints.checkpoint import read
from ken.models.checkpoints.hub import locate, locate_whole
from ken.models.checkpoints.location import Location, place_of
from ken.models.checkpoints.remote import remote_file
from ken.models.checkpoints.remote.remote_reader import RemoteReader, open_reader
from ken.models.checkpoints.safetensors_file import Reader


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch):
    monkeypatch.setattr(remote_file, "FIRST_WAIT", 0.0)


@pytest.fixture
def memory():
    fs = fsspec.filesystem("memory")
    yield fs
    fs.store.clear()
    fs.pseudo_dirs[:] = [""]


@pytest.fixture
def site():
    with serving() as site:
        yield site


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    return llama_folders(tmp_path_factory.mktemp("models"))


def put(fs, folder, place):
    for file in folder.rglob("*"):
        if file.is_file():
            fs.pipe_file(f"{place}/{file.relative_to(folder).as_posix()}", file.read_bytes())


def files_of(folder, front):
    return {f"{front}/{file.relative_to(folder).as_posix()}": file.read_bytes() for file in folder.rglob("*")}


def equal(one, other):
    assert list(one) == list(other)
    for name in one:
        assert (one[name].pretrained, one[name].dtype) == (other[name].pretrained, other[name].dtype)
        if isinstance(one[name], ken.RetainedTensor):
            assert (one[name].bits == other[name].bits).all()
            assert (one[name].ulps == other[name].ulps).all()
    assert dict(one.files) == dict(other.files)
    return True


def without_source(path):
    """The bytes of a subnetwork file, but for the words for its models."""
    data = path.read_bytes()
    length = int.from_bytes(data[:8], "little")
    text = re.sub(r'"ken.checksum":"\w+"', "", data[8 : 8 + length].decode())  # which is of the words as well
    for place in ("folder memory://b/", "folder s3://models/", "folder "):
        for name in ("fine_tuned", "pretrained"):
            text = text.replace(f'\\"source\\":\\"{place}{name}\\"', f'\\"source\\":\\"{name}\\"')
    return text.rstrip(), data[8 + length :]


def test_a_model_from_a_url_gives_the_file_that_the_disk_gives(folders, memory, tmp_path):
    fine_tuned, pretrained = folders
    put(memory, fine_tuned, "/b/fine_tuned")
    put(memory, pretrained, "/b/pretrained")
    here, there = tmp_path / "here.ken.safetensors", tmp_path / "there.ken.safetensors"
    ken.prune(fine_tuned, pretrained, 3, out=here, progress=False)
    net = ken.prune("memory://b/fine_tuned", "memory://b/pretrained", 3, out=there, progress=False)
    assert net.fine_tuned.source == "folder memory://b/fine_tuned"
    assert without_source(here) == without_source(there)
    assert ken.verify(net, "memory://b/pretrained", progress=False) is net


@pytest.fixture
def bucket(monkeypatch):
    """A bucket of a server that speaks S3, on this machine; who it is comes from the environment."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    for name, value in {
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "not-to-be-told",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
    }.items():
        monkeypatch.setenv(name, value)
    fs = fsspec.filesystem("s3", skip_instance_cache=True)
    fs.mkdir("models")
    yield fs
    fsspec.filesystem("s3").clear_instance_cache()
    server.stop()


def test_from_s3_and_back_it_is_what_the_disk_gives(folders, bucket, tmp_path):
    for folder in folders:
        put(bucket, folder, f"models/{folder.name}")
    tuned, base = (f"s3://models/{folder.name}" for folder in folders)
    net = ken.prune(tuned, base, 0.5, out="s3://models/net.ken.safetensors", progress=False)
    disk = ken.prune(*folders, 0.5, out=tmp_path / "net.ken.safetensors", progress=False)
    bucket.get_file("models/net.ken.safetensors", str(tmp_path / "back.ken.safetensors"))
    assert without_source(tmp_path / "back.ken.safetensors") == without_source(tmp_path / "net.ken.safetensors")
    assert equal(net, disk)
    assert ken.verify("s3://models/net.ken.safetensors", base, progress=False) == net
    ken.export(net, base, "s3://models/pruned", progress=False)
    assert read("s3://models/pruned").tensors.keys() == disk.keys()
    with pytest.raises(ken.KenError, match="s3://models"):
        ken.prune(tuned, base, 0.5, out=f"{tuned}/model.safetensors", overwrite=True, progress=False)
    with pytest.raises(RemoteError, match="s3://models/nothing") as error:
        read("s3://models/nothing")
    assert "not-to-be-told" not in str(error.value) + repr(net)


def test_shards_and_their_index_are_found_behind_a_url(memory, tmp_path):
    model = llama()
    model.save_pretrained(tmp_path / "sharded", max_shard_size="20KB")
    put(memory, tmp_path / "sharded", "/b/sharded")
    disk, remote = read(tmp_path / "sharded"), read("memory://b/sharded")
    assert len(set(disk.shards.values())) > 2
    assert (disk.shards, disk.tied, list(disk.tensors)) == (remote.shards, remote.tied, list(remote.tensors))
    by_index = read("memory://b/sharded/model.safetensors.index.json")
    for name in disk.tensors:
        assert remote.tensors[name].is_meta
        assert torch.equal(remote.whole(name), disk.tensors[name])
        assert torch.equal(by_index.whole(name), disk.tensors[name])


def test_of_a_server_only_ranges_are_asked_for(site, tmp_path):
    big, small = torch.randn(300, 300), torch.randn(4, 4)
    save_file({"big": big, "small": small}, tmp_path / "a.safetensors")
    site.files["a.safetensors"] = (tmp_path / "a.safetensors").read_bytes()
    checkpoint = read(f"{site.url}/a.safetensors")
    assert list(checkpoint.tensors) == ["big", "small"]
    assert torch.equal(checkpoint.whole("small"), small)
    assert site.bytes_of("a.safetensors") < 2000
    assert torch.equal(checkpoint.entries("big").read(100, 200), big.reshape(-1)[100:200])
    assert site.bytes_of("a.safetensors") < 3000
    assert torch.equal(checkpoint.whole("big"), big)


def test_a_folder_of_a_server_that_lists_its_files(site, folders):
    for folder in folders:
        site.files |= files_of_disk(folder)
    net = ken.prune(f"{site.url}/fine_tuned", f"{site.url}/pretrained/", 3, progress=False)
    assert equal(net, ken.prune(*folders, 3, progress=False))
    assert net.architecture is not None


def files_of_disk(folder):
    return {f"{folder.name}/{file.name}": file.read_bytes() for file in folder.iterdir()}


@pytest.fixture
def one(site, tmp_path):
    save_file({"w": torch.arange(100.0)}, tmp_path / "a.safetensors")
    site.files["a.safetensors"] = (tmp_path / "a.safetensors").read_bytes()
    return site


def test_what_fails_for_a_moment_is_asked_for_again(one):
    entries = read(f"{one.url}/a.safetensors").entries("w")
    one.refusals, one.short = 2, 0
    assert entries.read(1, 3).tolist() == [1.0, 2.0]
    assert one.refused == 2
    one.short = 2
    assert entries.read(0, 100).tolist() == list(range(100))


def test_what_fails_always_is_told_with_its_place_and_how_often(one):
    entries = read(f"{one.url}/a.safetensors").entries("w")
    one.refusals = 100
    with pytest.raises(RemoteError, match=r"a\.safetensors: to read bytes \d+ to \d+ failed 4 times: .*503"):
        entries.read(0, 100)
    assert one.refused == remote_file.TRIES
    one.refusals, one.short = 0, 100
    with pytest.raises(RemoteError, match="failed 4 times: .*397 bytes came in place of 400"):
        entries.read(0, 100)


def test_a_server_that_sends_files_whole_is_refused(one):
    one.ranges = False
    with pytest.raises(RemoteError, match="sends files whole, and no ranges of them; download it"):
        read(f"{one.url}/a.safetensors")


def test_what_is_not_there_is_told_at_once(one):
    before = len(one.asked)
    with pytest.raises(RemoteError, match=r"/none\.safetensors: to look at it failed: FileNotFoundError"):
        read(f"{one.url}/none.safetensors")
    assert len(one.asked) - before <= 2
    with pytest.raises(RemoteError, match=r"no file or folder memory://nothing"):
        read("memory://nothing")


def test_what_a_store_says_is_not_there_is_not_asked_for_again(memory, monkeypatch):
    """Object stores say so with a reason of their own behind it."""
    asked = []

    class ClientError(Exception):
        __module__ = "botocore.exceptions"

    def info(self, path, **_):
        asked.append(path)
        raise FileNotFoundError(path) from ClientError("NoSuchKey")

    monkeypatch.setattr(type(memory), "info", info)
    with pytest.raises(RemoteError, match="to look at it failed: FileNotFoundError"):
        locate("memory://b/a.safetensors")
    assert len(asked) == 1


def test_a_file_that_has_become_another_one_is_refused(one, tmp_path):
    entries = read(f"{one.url}/a.safetensors").entries("w")
    assert entries.read(0, 2).tolist() == [0.0, 1.0]
    save_file({"w": torch.ones(100)}, tmp_path / "a.safetensors")
    one.files["a.safetensors"] = (tmp_path / "a.safetensors").read_bytes()
    with pytest.raises(FormatError, match=r"a\.safetensors has become another file since it was opened"):
        entries.read(0, 2)
    assert read(f"{one.url}/a.safetensors").whole("w").tolist() == [1.0] * 100


def w(dtype="F32", shape=(2,), begin=0, end=8):
    return {"dtype": dtype, "shape": [*shape], "data_offsets": [begin, end]}


HOSTILE = [
    {"w": w(dtype="C128", shape=(1,))},
    {"w": w(dtype="F99")},
    {"w": w(shape=(3,))},
    {"w": w(shape=(2**40, 2**40))},
    {"w": w(shape=(-2,))},
    {"w": w(shape=(2.0,))},
    {"w": w(shape=(True, 2))},
    {"w": w(end=12)},
    {"w": w(begin=-4)},
    {"w": w(begin=4, end=12)},
    {"w": w(), "v": w()},
    {"w": {"dtype": "F32"}},
    {"w": w(), "__metadata__": {"key": 1}},
    {"w": w("F4", (3,), 0, 2)},
    ["w"],
    {},
]


@pytest.mark.parametrize("header", HOSTILE)
def test_a_header_that_the_disk_would_refuse_is_refused(memory, tmp_path, header):
    path = written(tmp_path / "a.safetensors", header, bytes(8))
    memory.pipe_file("/b/a.safetensors", path.read_bytes())
    for source in (path, "memory://b/a.safetensors"):
        with pytest.raises(FormatError, match="not a whole safetensors file"):
            read(source)


@pytest.mark.parametrize("cut", [0, 1, 7, 8, 9, 60, -1])
def test_a_file_that_is_cut_is_refused(memory, tmp_path, cut):
    save_file({"w": torch.ones(50)}, tmp_path / "a.safetensors")
    memory.pipe_file("/b/a.safetensors", (tmp_path / "a.safetensors").read_bytes()[:cut])
    with pytest.raises(FormatError, match="not a whole safetensors file"):
        read("memory://b/a.safetensors")


@pytest.mark.parametrize("length", [10**8, 10**8 + 1, 2**63, 2**64 - 1])
def test_a_header_that_claims_to_be_long_is_not_asked_for(memory, length):
    memory.pipe_file("/b/a.safetensors", length.to_bytes(8, "little") + bytes(100))
    with pytest.raises(FormatError, match="not a whole safetensors file"):
        read("memory://b/a.safetensors")


def test_a_name_that_is_there_twice_is_refused(memory):
    blob = '"w":{"dtype":"U8","shape":[2],"data_offsets":[0,2]}'
    text = f"{{{blob},{blob}}}".encode()
    memory.pipe_file("/b/a.safetensors", len(text).to_bytes(8, "little") + text + b"ab")
    with pytest.raises(FormatError, match="a name is there twice"):
        read("memory://b/a.safetensors")


def test_names_layouts_and_bytes_are_those_of_the_reader_of_the_disk(memory, tmp_path):
    tensors = {
        "z": torch.randn(3, 5).bfloat16(),
        "ünï": torch.tensor(3),
        "none": torch.zeros(0, 4),
        "b": torch.tensor([True, False]),
        "f8": torch.ones(4).to(torch.float8_e4m3fn),
    }
    path = tmp_path / "a.safetensors"
    save_file(tensors, path, {"key": "ä"})
    memory.pipe_file("/b/a.safetensors", path.read_bytes())
    disk, remote = Reader(path), open_reader(locate("memory://b/a.safetensors"))
    assert isinstance(remote, RemoteReader)
    assert (remote.names, remote.metadata, remote.fingerprint) == (disk.names, disk.metadata, disk.fingerprint)
    for name in disk.names:
        assert remote.layout(name) == disk.layout(name)
        assert remote.entries(name).fingerprint() == disk.entries(name).fingerprint()
        assert remote.whole(name).dtype == tensors[name].dtype
    with pytest.raises(FormatError, match="v cannot be read"):
        remote.tensor("v")


def test_a_stub_is_no_file_that_another_library_would_take(memory, folders):
    put(memory, folders[0], "/b/model")
    from safetensors import SafetensorError, safe_open
    from transformers import LlamaForCausalLM

    folder = locate("memory://b/model")
    with pytest.raises(SafetensorError):
        safe_open(str(folder / "model.safetensors"), "pt").__enter__()
    model = LlamaForCausalLM.from_pretrained(locate_whole("memory://b/model"))
    expected = read(folders[0])
    assert all(torch.equal(tensor, expected.whole(name)) for name, tensor in model.state_dict().items())


def test_files_of_torch_are_got_whole_with_a_note(memory, tmp_path):
    torch.save({"w": torch.arange(4.0)}, tmp_path / "pytorch_model.bin")
    memory.pipe_file("/b/m/pytorch_model.bin", (tmp_path / "pytorch_model.bin").read_bytes())
    for source in ("memory://b/m", "memory://b/m/pytorch_model.bin"):
        checkpoint = read(source)
        assert checkpoint.whole("w").tolist() == [0.0, 1.0, 2.0, 3.0]
        assert any("pytorch_model.bin was got whole" in note for note in checkpoint.notes)


def test_a_file_that_is_gone_from_a_folder_is_gone_from_its_mirror(memory, folders):
    put(memory, folders[0], "/b/model")
    assert "generation_config.json" in read("memory://b/model").files
    memory.rm("/b/model/generation_config.json")
    assert "generation_config.json" not in read("memory://b/model").files


@pytest.mark.filterwarnings("ignore::FutureWarning")  # PEFT's own
def test_an_adapter_behind_a_url(memory, tmp_path):
    import peft

    base = llama()
    base.save_pretrained(tmp_path / "base")
    model = peft.get_peft_model(base, peft.LoraConfig(r=2, target_modules=["q_proj"], init_lora_weights=False))
    shifted(model.base_model.model.model.layers[0].self_attn.q_proj.lora_B)
    model.save_pretrained(tmp_path / "adapter")
    put(memory, tmp_path / "base", "/b/base")
    put(memory, tmp_path / "adapter", "/b/adapter")
    disk = ken.prune(tmp_path / "adapter", tmp_path / "base", 3, progress=False)
    assert equal(ken.prune("memory://b/adapter", "memory://b/base", 3, progress=False), disk)


def test_no_credential_is_in_a_text_a_copy_or_an_error():
    url = "https://me:topsecret@127.0.0.1:1/a.safetensors?X-Amz-Signature=topsecret"
    options = {"secret": "topsecret"}
    location = Location(url, storage_options=options)
    assert place_of(location).options == options
    for text in (str(location), repr(place_of(location)), place_of(url).text):
        assert "topsecret" not in text
    assert b"topsecret" not in pickle.dumps(location)
    assert copy.deepcopy(location).storage_options == options
    with pytest.raises(RemoteError) as caught:
        read(url)
    assert "topsecret" not in str(caught.value)


def test_a_location_says_what_does_not_go_with_a_url():
    with pytest.raises(PairingError, match="storage_options are for the file system of a URL"):
        Location("user/name", storage_options={"a": 1})
    with pytest.raises(PairingError, match="behind a URL, and has no revision"):
        place_of(Location("s3://bucket/model", revision="v1"))
    assert place_of(Location("s3://bucket/model", subfolder="unet")).text == "s3://bucket/model/unet"


def test_a_url_of_the_disk_is_a_path(tmp_path):
    save_file({"w": torch.ones(2)}, tmp_path / "a b.safetensors")
    assert place_of((tmp_path / "a b.safetensors").as_uri()).path == tmp_path / "a b.safetensors"
    assert read((tmp_path / "a b.safetensors").as_uri()).whole("w").tolist() == [1.0, 1.0]


def test_what_no_library_opens_is_told():
    with pytest.raises(RemoteError, match="nosuch://a/b is no place that fsspec can open: ValueError"):
        read("nosuch://a/b")
    with pytest.raises(RemoteError, match=r"chain of file systems"):
        locate("memory://a::memory://b")


def test_an_extra_that_is_missing_is_named(monkeypatch):
    def missing(*_, **__):
        raise ImportError("Install s3fs to access S3")

    monkeypatch.setattr("fsspec.core.url_to_fs", missing)
    with pytest.raises(RemoteError, match=r"Install s3fs to access S3\): pip install 'kenviz\[s3\]'"):
        read("s3://bucket/model")


def test_a_folder_without_weights_or_with_names_that_lead_out_is_refused(memory):
    memory.pipe_file("/b/m/config.json", b"{}")
    with pytest.raises(RemoteError, match="no weights"):
        read("memory://b/m")
    index = {"weight_map": {"w": "../../a.safetensors"}}
    memory.pipe_file("/b/m/model.safetensors.index.json", json.dumps(index).encode())
    with pytest.raises(PairingError, match="which is not the name of a file in its folder"):
        read("memory://b/m")


def test_the_mirror_is_taken_again_and_other_credentials_have_another(memory, folders):
    put(memory, folders[0], "/b/model")
    assert locate("memory://b/model") == locate("memory://b/model")
    other = Location("memory://b/model", storage_options={"skip_instance_cache": True})
    assert locate(other) != locate("memory://b/model")
