"""Models from a hub that answers as the real one does: what is asked for, what is got, and what is said."""

import copy
import json
import pickle
from pathlib import Path

import pytest
import torch
from hub_server import GOOD_TOKEN, OTHER_TOKEN, serving
from huggingface_hub import constants
from huggingface_hub.utils import parse_hf_uri
from safetensors.torch import save

import ken
from ken.errors import HubError, PairingError
from ken.models.adapters import sources
from ken.models.checkpoints.checkpoint import read
from ken.models.checkpoints.hub import locate
from ken.models.checkpoints.hub_files import further, wanted
from ken.models.checkpoints.location import place_of

CARD = b"---\nlicense: apache-2.0\nbase_model: org/base\n---\n\n# A model\n"
CONFIG = b'{"vocab_size": 90}'


@pytest.fixture
def hub(tmp_path, monkeypatch):
    with serving(monkeypatch, tmp_path) as running:
        yield running


def weights(value, name="w", size=4):
    return save({name: torch.full((size, 8), float(value))})


def index(**shards):
    return json.dumps({"metadata": {}, "weight_map": shards}).encode()


def value_of(source):
    return read(source).tensors["w"][0, 0].item()


def test_each_spelling_of_a_revision_is_read(hub):
    hashes = [hub.add("org/m", {"model.safetensors": weights(n)}, name) for n, name in enumerate(["v1", "a/b", "main"])]
    assert value_of("org/m@v1") == value_of("hf://org/m@v1") == value_of(ken.Location("org/m", revision="v1")) == 0
    assert value_of("hf://org/m@a%2Fb") == value_of("org/m@a%2Fb") == value_of(ken.Location("org/m", "a/b")) == 1
    assert value_of("org/m") == value_of("hf://org/m") == value_of("hf://models/org/m") == 2
    assert value_of(f"org/m@{hashes[0]}") == value_of(f"hf://org/m@{hashes[0]}") == 0


def test_folders_files_and_variants_are_read_and_nothing_else_is_got(hub):
    files = {
        "README.md": CARD,
        "config.json": CONFIG,
        "model.safetensors": weights(1),
        "model.fp16.safetensors": weights(2),
        "pytorch_model.bin": b"never read",
        "onnx/model.onnx": b"never read",
        "unet/config.json": b"{}",
        "unet/model.safetensors": weights(3),
        "vae/model.safetensors": weights(4),
        "code.py": b"never run",
    }
    hub.add("org/m", files)
    assert value_of("hf://org/m@main/unet") == 3
    assert hub.got() == ["README.md", "unet/config.json", "unet/model.safetensors"]
    hub.log.clear()
    assert value_of("hf://org/m/vae/model.safetensors") == 4
    assert hub.got() == ["vae/model.safetensors"]
    hub.log.clear()
    assert value_of("org/m") == 1
    assert hub.got() == ["config.json", "model.safetensors"]  # and what is in the cache
    hub.log.clear()
    assert locate(ken.Location("org/m", variant="fp16")).joinpath("model.fp16.safetensors").is_file()
    assert hub.got() == ["model.fp16.safetensors"]
    hub.log.clear()
    assert value_of(ken.Location("org/m", subfolder="unet")) == value_of("hf://org/m/unet/model.safetensors") == 3
    assert hub.log == []


def test_an_index_comes_before_the_shards_that_it_names(hub):
    shards = {f"model-0000{n}-of-00002.safetensors": weights(n, "wv"[n - 1]) for n in (1, 2)}
    files = {"model.safetensors.index.json": index(w=min(shards), v=max(shards)), "config.json": CONFIG, **shards}
    files |= {"pytorch_model.bin.index.json": index(w="x.bin"), "x.bin": b"", "model-00001-of-00001.safetensors": b""}
    hub.add("org/m", files)
    assert sorted(read("org/m").tensors) == ["v", "w"]
    assert hub.got() == sorted({"config.json", "model.safetensors.index.json", *shards})
    asked = [path.rpartition("/")[2] for method, path in hub.log if method == "GET"]
    assert asked.index("model.safetensors.index.json") < min(asked.index(shard) for shard in shards)


def test_one_format_of_weights_is_got_and_pickles_only_where_there_is_no_other(hub, tmp_path):
    torch.save({"w": torch.ones(2, 8)}, tmp_path / "old.bin")
    hub.add(
        "org/old", {"pytorch_model.bin": (tmp_path / "old.bin").read_bytes(), "tf_model.h5": b"", "flax.msgpack": b""}
    )
    assert value_of("org/old") == 1
    assert hub.got() == ["pytorch_model.bin"]


def test_weights_of_further_modules_come_along(hub):
    modules = json.dumps([{"path": ""}, {"path": "1_Pooling"}, {"path": "2_Dense"}]).encode()
    files = {"modules.json": modules, "model.safetensors": weights(1), "2_Dense/model.safetensors": weights(2)}
    hub.add("org/m", {**files, "2_Dense/config.json": b"{}", "1_Pooling/config.json": b"{}", "2_Dense/a.bin": b""})
    assert list(read("org/m").tensors) == ["w", "2_Dense.w"]
    assert "2_Dense/a.bin" not in hub.got()


def test_what_is_ambiguous_or_not_there_is_named(hub):
    hub.add("org/m", {"unet/model.safetensors": weights(1), "vae/model.safetensors": weights(2), "a.txt": b""})
    hub.add("org/n", {"one.safetensors": weights(1), "two.safetensors": weights(2)})
    hub.add("org/none", {"a.txt": b""})
    for source, message in (
        ("org/m", r"weights in several folders, unet, vae; name one: hf://org/m/FOLDER"),
        (
            "org/n",
            r"several files of weights .* one.safetensors, two.safetensors; name one: hf://org/n/one.safetensors",
        ),
        ("org/none", r"org/none has no weights that could be read; it has a.txt"),
        ("hf://org/m/text", r"org/m has no file or folder 'text'; it has a.txt, unet, vae"),
        (ken.Location("org/n", variant="fp16"), r"no weights of the variant 'fp16'"),
    ):
        with pytest.raises(HubError, match=message):
            locate(source)
    assert hub.got() == []


def test_private_repositories_open_with_a_token_and_only_with_it(hub, monkeypatch):
    hub.add("org/secret", {"model.safetensors": weights(7)}, private=True)
    for source, message in (
        ("org/secret", rf"nor a repository org/secret .*{hub.endpoint}/org/secret.*if it is private, give a token"),
        (ken.Location("org/secret", token=OTHER_TOKEN), "the token in use does not see it"),
        (ken.Location("org/secret", token="hf_wrong"), "the hub does not accept the token in use"),
    ):
        with pytest.raises(HubError, match=message) as raised:
            locate(source)
        assert "hf_" not in str(raised.value)
    assert value_of(ken.Location("org/secret", token=GOOD_TOKEN)) == 7
    hub.add("org/second", {"model.safetensors": weights(8)}, private=True)
    monkeypatch.setenv("HF_TOKEN", GOOD_TOKEN)
    assert value_of("org/second") == 8


def test_a_stored_login_is_used(hub):
    hub.add("org/secret", {"model.safetensors": weights(7)}, private=True)
    Path(constants.HF_TOKEN_PATH).write_text(GOOD_TOKEN)
    assert value_of("hf://org/secret") == 7


def test_gated_repositories_say_where_to_ask(hub):
    hub.add("org/gated", {"model.safetensors": weights(7)}, gated=True)
    page = f"{hub.endpoint}/org/gated"
    with pytest.raises(
        HubError, match=rf"org/gated is gated: ask for access at {page}; and give a token then .set HF_TOKEN"
    ):
        locate("org/gated")
    with pytest.raises(HubError, match=rf"ask for access at {page}; the token in use has no access yet"):
        locate(ken.Location("org/gated", token=OTHER_TOKEN))
    assert value_of(ken.Location("org/gated", token=GOOD_TOKEN)) == 7


def test_each_failure_has_its_own_message(hub, monkeypatch):
    hub.add("org/m", {"model.safetensors": weights(7)})
    with pytest.raises(HubError, match=r"org/m has no revision 'v9'; .*/org/m/commits"):
        locate("org/m@v9")
    with pytest.raises(HubError, match="no file or folder org/none, nor a repository org/none on the hub"):
        locate("org/none")
    with pytest.raises(HubError, match="^there is no a?|no repository org/none"):
        locate("hf://org/none")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(HubError, match=r"hf://org/m: the hub's cache has no model .* HF_HUB_OFFLINE is set"):
        locate("hf://org/m")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:1")
    with pytest.raises(HubError, match=r"the hub at http://127.0.0.1:1 cannot be reached"):
        locate("org/m")


def test_what_is_in_the_cache_is_not_asked_for_again(hub, monkeypatch):
    hub.add("org/m", {"model.safetensors": weights(7), "README.md": CARD})
    first = locate("org/m")
    hub.log.clear()
    assert locate("org/m") == first
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert locate("org/m@main") == first
    assert hub.log == []


def test_an_interrupted_download_goes_on_where_it_was(hub):
    data = weights(7, size=400_000)
    hub.add("org/m", {"model.safetensors": data, "config.json": CONFIG})
    hub.cut_after = 11_000_000  # once
    assert torch.equal(read("org/m").tensors["w"], torch.full((400_000, 8), 7.0))
    ((path, start),) = hub.ranges
    assert path == "model.safetensors"
    assert 0 < start < len(data)


def test_what_was_got_before_an_error_is_not_got_again(hub):
    shards = {f"model-0000{n}-of-00002.safetensors": weights(n, "wv"[n - 1]) for n in (1, 2)}
    hub.add("org/m", {"model.safetensors.index.json": index(w=min(shards), v=max(shards)), "vocab.txt": b"a", **shards})
    hub.withheld = {max(shards)}
    with pytest.raises(HubError, match=f"{hub.endpoint}/org/m: a file is not there any more"):
        locate("org/m")
    hub.withheld = set()
    first = hub.got()
    hub.log.clear()
    assert sorted(read("org/m").tensors) == ["v", "w"]
    assert "vocab.txt" in first
    assert max(shards) in hub.got()
    assert not set(first) & set(hub.got())


def test_a_part_of_a_download_is_not_taken_for_the_whole(hub, monkeypatch):
    """Of shards, and of what belongs to a model, as far as the library has taken down what there is."""
    shards = {f"model-0000{n}-of-00002.safetensors": weights(n, "wv"[n - 1]) for n in (1, 2)}
    hub.add("org/m", {"model.safetensors.index.json": index(w=min(shards), v=max(shards)), "vocab.txt": b"a", **shards})
    folder = locate("org/m")
    (folder / max(shards)).unlink()
    (folder / "vocab.txt").unlink()
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(HubError, match="the hub's cache has no model of that name"):
        locate("org/m")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    assert sorted(read("org/m").tensors) == ["v", "w"]
    (folder / "vocab.txt").unlink()
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert read("org/m").notes == ("org/m: not in the hub's cache, and left out: vocab.txt",)


@pytest.mark.parametrize(
    "text",
    [
        "hf://user/name",
        "hf://user/name@v1.0",
        "hf://user/name@feature%2Fx/sub/file.safetensors",
        "hf://user/name@refs/pr/10/sub",
        "hf://user/name@refs/convert/parquet",
        "hf://models/user/name@main/a b",
        "hf://user/name/a@b/c",
    ],
)
def test_places_are_read_as_the_library_reads_them(text):
    theirs, address = parse_hf_uri(text), place_of(text).address
    assert (address.hub_id, address.revision or None, address.path) == (theirs.id, theirs.revision, theirs.path_in_repo)
    assert place_of(f"hf://{str(address).removeprefix('hf://')}").address == address


@pytest.mark.parametrize(
    "text",
    ["hf://", "hf://gpt2", "hf://user/name@", "hf://user/name@/a", "hf://datasets/a/b", "hf://user/..", "hf://a b/c"],
)
def test_what_is_no_place_of_a_model_is_refused(text):
    with pytest.raises(HubError, match="it is hf://user/name"):
        place_of(text)


@pytest.mark.parametrize("path", ["..", "../x", "/x", "a//b", "a\\b", "./a"])
def test_no_subfolder_leads_out(path):
    with pytest.raises(PairingError, match="must be the path of a folder or a file below"):
        ken.Location("org/m", subfolder=path)


def test_a_real_folder_comes_first_and_has_no_revision(hub, tmp_path):
    for name in ("org/m", "org/m@v1"):
        folder = tmp_path / name
        (folder / "sub").mkdir(parents=True)
        (folder / "model.safetensors").write_bytes(weights(5))
        (folder / "sub" / "model.safetensors").write_bytes(weights(6))
    hub.add("org/m", {"model.safetensors": weights(1)})
    assert value_of("org/m") == value_of("org/m@v1") == 5
    assert value_of(ken.Location("org/m", subfolder="sub")) == 6
    assert value_of("hf://org/m") == 1
    with pytest.raises(PairingError, match="is a place on the disk, and has no revision 'v1'"):
        read(ken.Location("org/m", revision="v1"))
    with pytest.raises(HubError, match="names the revision 'v2'"):
        read(ken.Location("hf://org/m@v2", revision="v1"))


def test_a_token_stays_where_it_was_given():
    location = ken.Location("org/m", token=GOOD_TOKEN)
    assert GOOD_TOKEN not in f"{location!r} {location} {place_of(location)!r} {ken.Adapters({'a': location})!r}"
    assert GOOD_TOKEN.encode() not in pickle.dumps(location)
    assert pickle.loads(pickle.dumps(location)) == location  # noqa: S301
    assert copy.deepcopy(location).token == copy.copy(location).token == GOOD_TOKEN


def test_where_both_models_came_from_is_kept(hub, tmp_path):
    commit = hub.add("org/tuned", {"model.safetensors": weights(2), "README.md": CARD}, "v1")
    base = hub.add(
        "org/base", {"model.safetensors": weights(1), "README.md": b"---\nlicense: other\nlicense_name: own\n---\n"}
    )
    net = ken.prune(ken.Location("org/tuned", "v1", token=GOOD_TOKEN), "org/base", 4, out="net.ken.safetensors")
    for kept in (net, ken.load("net.ken.safetensors"), net.in_memory):
        one, other = kept.fine_tuned, kept.pretrained
        assert (one.hub_id, one.revision, one.commit, one.licence) == ("org/tuned", "v1", commit, "apache-2.0")
        assert (other.hub_id, other.revision, other.commit, other.licence) == ("org/base", "", base, "other (own)")
    assert f"org/tuned on the hub, revision v1, commit {commit}, licence apache-2.0" in repr(net)
    assert GOOD_TOKEN.encode() not in Path("net.ken.safetensors").read_bytes()
    # A folder in a cache tells the same, but the revision.
    again = ken.prune(locate("org/tuned@v1"), "org/base", 4)
    assert (again.fine_tuned.hub_id, again.fine_tuned.commit, again.fine_tuned.revision) == ("org/tuned", commit, "")


def test_the_base_that_a_model_card_names_is_taken(hub):
    hub.add("org/tuned", {"model.safetensors": weights(2), "README.md": CARD})
    hub.add("org/base", {"model.safetensors": weights(1)})
    for source in ("org/tuned", "hf://org/tuned/model.safetensors", ken.Location("org/tuned")):
        net = ken.prune(source, None, 4)
        assert net.pretrained.hub_id == "org/base"
        assert "the pretrained model is the base_model that the model card names: org/base" in net.notes
    folder = Path("tuned")
    folder.mkdir()
    (folder / "model.safetensors").write_bytes(weights(2))
    with pytest.raises(PairingError, match="that of tuned names none, or is not there"):
        ken.prune("tuned", None, 4)
    (folder / "README.md").write_text("---\nbase_model: [org/base, org/other]\n---\n")
    with pytest.raises(PairingError, match="the model card of tuned names 2 base models, org/base, org/other"):
        ken.prune(folder, None, 4)
    (folder / "README.md").write_text("---\nbase_model: [org/base]\n---\n")
    assert ken.prune(folder, None, 4) == ken.prune(folder, "org/base", 4)
    table = ken.sweep(ken.Pair(folder), [4], ["ken"], evaluate=lambda state: state["w"].mean(), progress=False)
    assert table["metric"].between(1, 2).all()
    with pytest.raises(PairingError, match="may be left out only where the fine-tuned one is an adapter"):
        ken.prune({"w": torch.ones(2, 2)}, None, 1)


def test_a_base_is_got_with_the_token_of_the_model(hub):
    hub.add("org/tuned", {"model.safetensors": weights(2), "README.md": CARD}, private=True)
    hub.add("org/base", {"model.safetensors": weights(1)}, private=True)
    net = ken.prune(ken.Location("org/tuned", token=GOOD_TOKEN), None, 4)
    assert net.pretrained.hub_id == "org/base"
    assert GOOD_TOKEN not in f"{net!r} {net!s} {net.notes}"


def test_adapters_are_read_from_the_hub_and_so_is_their_base(hub):
    def adapter(base, **more):
        settings = {"peft_type": "LORA", "base_model_name_or_path": base, **more}
        return {
            "adapter_config.json": json.dumps(settings).encode(),
            "adapter_model.safetensors": weights(1),
            "x.bin": b"",
        }

    commit = hub.add("org/lora", adapter("org/base", revision="v2"), "v1")
    hub.add("org/second", {f"low/{name}": data for name, data in adapter("org/base").items()}, private=True)
    second = ken.Location("org/second", subfolder="low", token=GOOD_TOKEN)
    assert sources.is_adapter("org/lora@v1")
    assert sources.is_adapter(second)
    assert not sources.is_adapter({})
    assert hub.got() == [
        f"{folder}adapter_{name}" for folder in ("", "low/") for name in ("config.json", "model.safetensors")
    ]
    assert sources.base_of("hf://org/lora@v1") == sources.base_named("org/lora@v1") == "org/base@v2"
    assert sources.base_of(second) == ken.Location("org/base")
    assert sources.base_of(second).token == GOOD_TOKEN
    both = ken.Adapters({"one": "org/lora@v1", "two": second})
    folders = sources.folders_of(both)
    assert [folder.name for folder in folders.values()] == [commit, "low"]
    with pytest.raises(PairingError, match="of different bases, org/base and org/base@v2"):
        sources.base_of(both)
    one = ken.Adapters({"one": "org/lora@v1"})
    assert sources.origin_of_adapters(one, sources.folders_of(one)).commit == commit
    assert sources.origin_of_adapters(both, folders).commit == ""


def test_a_plan_gets_the_configuration_alone(hub):
    config = {"model_type": "bert", "architectures": ["BertModel"], "hidden_size": 16, "num_hidden_layers": 1}
    config |= {"num_attention_heads": 2, "intermediate_size": 24, "vocab_size": 90}
    hub.add("org/m", {"config.json": json.dumps(config).encode(), "model.safetensors": weights(1)}, "v1")
    assert ken.plan("org/m@v1", 4).retained > 0
    assert hub.got() == ["config.json"]
    with pytest.raises(PairingError, match="has no sub/config.json"):
        ken.plan("hf://org/m@v1/sub", 4)


def test_a_live_model_tells_its_commit(hub):
    from transformers import BertConfig, BertModel

    settings = BertConfig(
        hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=24, vocab_size=90
    )
    BertModel(settings).save_pretrained("made")
    files = {path.name: path.read_bytes() for path in Path("made").iterdir()}
    commit = hub.add("org/m", {**files, "README.md": CARD})
    known = "org/m", commit, "apache-2.0"
    origin = read(BertModel.from_pretrained(locate("org/m"))).origin
    assert (origin.hub_id, origin.commit, origin.licence) == known
    model = BertModel.from_pretrained("org/m")
    assert read(model).origin.hub_id == "org/m"
    model.config._commit_hash = commit  # as some versions of transformers take it down
    origin = read(model).origin
    assert (origin.hub_id, origin.commit, origin.licence) == known
    assert read(BertModel(settings)).origin.commit == ""


def test_of_a_pipeline_all_parts_are_wanted_and_of_each_one_set_of_weights():
    names = [
        *("model_index.json", "README.md", "unet/config.json", "unet/diffusion_pytorch_model.safetensors"),
        *("unet/diffusion_pytorch_model.fp16.safetensors", "unet/diffusion_pytorch_model.bin"),
        *("text_encoder/config.json", "text_encoder/model.safetensors", "tokenizer/vocab.json"),
        *("vae/config.json", "vae/model.safetensors.index.json", "vae/model-00001-of-00001.safetensors"),
        "safety.ckpt",
    ]
    plain = wanted(names)
    assert {name for name in plain.files if name.endswith((".safetensors", ".bin"))} == {
        "unet/diffusion_pytorch_model.safetensors",
        "text_encoder/model.safetensors",
    }
    assert plain.indices == ("vae/model.safetensors.index.json",)
    half = wanted(names, variant="fp16")
    assert "unet/diffusion_pytorch_model.fp16.safetensors" in half.files
    assert "unet/diffusion_pytorch_model.safetensors" not in half.files
    assert "text_encoder/model.safetensors" in half.files


def test_an_older_folder_of_sentence_transformers_is_got_by_its_modules(tmp_path):
    names = [
        *("modules.json", "0_Transformer/config.json", "0_Transformer/pytorch_model.bin", "1_Pooling/config.json"),
        *("2_Dense/config.json", "2_Dense/model.safetensors", "2_Dense/pytorch_model.bin"),
    ]
    first = wanted(names)
    assert not [name for name in first.files if name.endswith((".bin", ".safetensors"))]
    modules = [{"path": path} for path in ("0_Transformer", "1_Pooling", "2_Dense")]
    (tmp_path / "modules.json").write_text(json.dumps(modules), encoding="utf-8")
    assert further(tmp_path, first, names) == ["0_Transformer/pytorch_model.bin", "2_Dense/model.safetensors"]
