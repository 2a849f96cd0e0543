"""Variants, indices and single files among several: which files of a folder are taken, and what is said of that."""

import json
from itertools import permutations

import pytest
import torch
from checkpoints import llama, llama_folders, shifted, weights
from safetensors.torch import save_file
from transformers import LlamaForCausalLM

import ken
from ken.errors import OutputError, PairingError
from ken.models.checkpoints.checkpoint_files import CONFIG, open_path
from ken.models.checkpoints.file_names import parse

ONE, TWO = torch.ones(2), torch.full((2,), 2.0)


def write(folder, values):
    """A file of each name, whose only tensor tells it apart from the others."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, tensor in values.items():
        save(folder / name, {"w": tensor})


def save(path, tensors):
    save_file(tensors, path) if path.suffix == ".safetensors" else torch.save(tensors, path)


def indexed(folder, index, files):
    """Shards of one tensor each, called by the first letters of the alphabet, and their index."""
    names = dict(zip("abc", files, strict=False))
    for name, file in names.items():
        save(folder / file, {name: torch.full((2,), float(ord(name)))})
    (folder / index).write_text(json.dumps({"weight_map": names}))
    return folder


@pytest.mark.parametrize("stem", ["model", "diffusion_pytorch_model", "pytorch_model", "consolidated"])
@pytest.mark.parametrize("variant", ["", "fp16", "non_ema"])
@pytest.mark.parametrize("ending", ["safetensors", "bin"])
def test_names_of_files_are_read_as_the_libraries_write_them(stem, variant, ending):
    point = f".{variant}" if variant else ""
    whole = parse(f"{stem}{point}.{ending}")
    shards = [f"{stem}{point}-00001-of-00002.{ending}", f"{stem}-00001-of-00002{point}.{ending}"]
    indices = [f"{stem}.{ending}.index{point}.json", f"{stem}{point}.{ending}.index.json"]
    assert (whole.stem, whole.variant, whole.ending, whole.count, whole.index) == (stem, variant, ending, 0, False)
    for shard in map(parse, shards):
        assert (shard.stem, shard.variant, shard.ending, shard.number, shard.count) == (stem, variant, ending, 1, 2)
    for index in map(parse, indices):
        assert (index.stem, index.variant, index.ending, index.index) == (stem, variant, ending, True)
    written = "model" if stem == "pytorch_model" else stem
    assert whole.written == f"{written}.safetensors"
    assert {parse(shard).written for shard in shards} == {f"{written}-00001-of-00002.safetensors"}


@pytest.mark.parametrize("name", ["optimizer.bin", "model.pt", "adapter_model.safetensors", "model.a.b.safetensors"])
def test_other_names_are_none_of_weights(name):
    assert parse(name) is None


@pytest.mark.parametrize("safe", [True, False])
@pytest.mark.parametrize("size", ["10GB", "8KB"])
def test_a_variant_that_transformers_has_written_is_read_and_what_is_exported_has_none(tmp_path, safe, size):
    model = llama()
    model.save_pretrained(tmp_path / "pretrained")
    shifted(model).half().save_pretrained(tmp_path / "fp16", variant="fp16", max_shard_size=size)
    if not safe:
        as_bin(tmp_path / "fp16")
    opened = open_path(tmp_path / "fp16", variant="fp16")
    wanted = {name: tensor for name, tensor in model.state_dict().items() if name in opened.tensors}
    assert len(wanted) > 15
    assert all(torch.equal(opened.tensors[name], tensor) for name, tensor in wanted.items())
    alone = open_path(tmp_path / "fp16")
    assert alone.tensors.keys() == opened.tensors.keys()
    assert "has weights in the variant 'fp16' alone, which was taken" in alone.notes[0]
    net = ken.prune(tmp_path / "fp16", tmp_path / "pretrained", 1.0)
    assert net.only_pretrained == {}
    ken.export(net, tmp_path / "pretrained", tmp_path / "out")
    again = LlamaForCausalLM.from_pretrained(tmp_path / "out", dtype=torch.float16).state_dict()
    assert all(torch.equal(again[name], tensor) for name, tensor in model.state_dict().items())
    assert not [path.name for path in (tmp_path / "out").iterdir() if "fp16" in path.name]


def as_bin(folder):
    """The same folder as older versions of transformers wrote it."""
    for path in sorted(folder.glob("*.safetensors")):
        torch.save(weights_of(path), path.with_name(path.name.replace("model", "pytorch_model", 1)).with_suffix(".bin"))
        path.unlink()
    for path in folder.glob("*.index.*"):
        text = path.read_text().replace(".safetensors", ".bin").replace('"model.fp16', '"pytorch_model.fp16')
        path.with_name(path.name.replace("model.safetensors", "pytorch_model.bin")).write_text(text)
        path.unlink()


def weights_of(path):
    from safetensors.torch import load_file

    return load_file(path)


def test_files_without_a_variant_come_first_and_a_variant_is_taken_if_it_is_asked_for(tmp_path):
    write(tmp_path, {"model.safetensors": ONE, "model.fp16.safetensors": TWO})
    assert open_path(tmp_path).tensors["w"].tolist() == [1.0, 1.0]
    assert open_path(tmp_path).notes == ()
    assert open_path(tmp_path, "fp16").tensors["w"].tolist() == [2.0, 2.0]
    assert open_path(tmp_path, "fp16").left == {"model.safetensors": "weights that were not read"}
    with pytest.raises(
        PairingError, match=r"no weights of the variant 'x'; it has 'fp16' and files without a variant$"
    ):
        open_path(tmp_path, variant="x")
    with pytest.raises(PairingError, match="a variant chooses among the files of a folder, and .* is a file"):
        open_path(tmp_path / "model.safetensors", variant="fp16")


def test_of_several_variants_one_must_be_named_and_of_none_there_is_none(tmp_path):
    write(tmp_path, {"model.bf16.safetensors": ONE, "model.fp16.safetensors": TWO})
    message = (
        r"in the variants 'bf16', 'fp16', and none without; say which, with variant='bf16', or give the path of a "
    )
    with pytest.raises(PairingError, match=message + r"file, such as .*/model\.bf16\.safetensors"):
        open_path(tmp_path)
    write(tmp_path / "plain", {"model.safetensors": ONE})
    with pytest.raises(
        PairingError, match="no weights of the variant 'fp16'; it has none of any variant and files with"
    ):
        open_path(tmp_path / "plain", variant="fp16")
    (tmp_path / "empty").mkdir()
    with pytest.raises(PairingError, match="no weights of any variant, and so none of 'fp16'"):
        open_path(tmp_path / "empty", variant="fp16")


def test_shards_of_a_variant_without_their_index_are_read_or_missed(tmp_path):
    for number, name in ((1, "a"), (2, "b")):
        save(tmp_path / f"model.fp16-{number:05d}-of-00002.safetensors", {name: ONE})
    opened = open_path(tmp_path, "fp16")
    assert list(opened.tensors) == ["a", "b"]
    assert opened.shards == {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}
    (tmp_path / "model.fp16-00001-of-00002.safetensors").unlink()
    with pytest.raises(PairingError, match=r"1 of 2 shards and no index of them: model\.fp16-00001-of-00002\.safetens"):
        open_path(tmp_path, "fp16")


ORDER = ["model.safetensors", "pytorch_model.bin", "diffusion_pytorch_model.safetensors", "consolidated.safetensors"]


@pytest.mark.parametrize("names", list(permutations(ORDER, 2)))
def test_of_files_of_several_kinds_the_first_is_taken_as_in_transformers(tmp_path, names):
    for name in names:
        save(tmp_path / name, {"w": torch.tensor([float(ORDER.index(name))])})
    assert open_path(tmp_path).tensors["w"].item() == min(map(ORDER.index, names))


@pytest.mark.parametrize("index", ["model.fp16.safetensors.index.json", "x.safetensors.index.json"])
def test_the_path_of_an_index_is_that_of_its_model(tmp_path, index):
    indexed(tmp_path, index, ["a.safetensors", "b.safetensors"])
    opened = open_path(tmp_path / index)
    assert {name: tensor.tolist() for name, tensor in opened.tensors.items()} == {"a": [97.0] * 2, "b": [98.0] * 2}
    assert (opened.config, opened.files) == (None, {})
    (tmp_path / CONFIG).write_text('{"vocab_size": 3}')
    (tmp_path / "vocab.txt").write_text("a")
    opened = open_path(tmp_path / index)
    assert opened.config == {"vocab_size": 3}
    assert set(opened.files) == {CONFIG, "vocab.txt"}
    assert opened.notes == (
        f"{index} was given by its path: config.json and the files beside it were taken as those of its model",
    )


def test_one_file_of_several_is_chosen_by_its_path_with_the_configuration_beside_it(tmp_path):
    fine_tuned, pretrained = llama_folders(tmp_path)
    other = {name: tensor + 1 for name, tensor in weights(fine_tuned).items()}
    save_file(other, fine_tuned / "step-20.safetensors", {"format": "pt"})
    net = ken.prune(fine_tuned / "step-20.safetensors", pretrained, 1.0)
    assert net.architecture.class_name == "LlamaForCausalLM"
    assert any("step-20.safetensors was given by its path: config.json" in note for note in net.notes)
    assert any("model.safetensors (weights that were not read)" in note for note in net.notes)
    ken.export(net, pretrained, tmp_path / "out")
    state = LlamaForCausalLM.from_pretrained(tmp_path / "out").state_dict()
    assert all(torch.equal(state[name], tensor) for name, tensor in other.items())


def test_a_shard_that_is_given_alone_is_said_to_be_one(tmp_path):
    indexed(tmp_path, "model.safetensors.index.json", [f"model-0000{n}-of-00002.safetensors" for n in (1, 2)])
    opened = open_path(tmp_path / "model-00001-of-00002.safetensors")
    assert list(opened.tensors) == ["a"]
    assert opened.notes == ("model-00001-of-00002.safetensors is one of 2 shards; no other was read",)


def test_what_is_read_beside_a_file_is_never_written_over(tmp_path):
    index = "model.safetensors.index.json"
    files = [f"model-0000{n}-of-00002.safetensors" for n in (1, 2)]
    source = indexed(tmp_path, index, files) / index
    (tmp_path / CONFIG).write_text("{}")
    for name in (*files, CONFIG, index):
        before = (tmp_path / name).read_bytes()
        with pytest.raises(OutputError, match="cannot be written: it is the fine-tuned model"):
            ken.prune(source, {"a": ONE, "b": ONE}, 1, out=tmp_path / name, overwrite=True)
        assert (tmp_path / name).read_bytes() == before
    ken.prune(source, {"a": 97 * ONE, "b": 98.5 * ONE}, 1, out=tmp_path / "net.ken.safetensors")
    ken.prune(source, {"a": 97 * ONE, "b": 98.5 * ONE}, 1, out=tmp_path / "net.ken.safetensors")


def test_a_configuration_that_is_a_link_to_elsewhere_is_not_read(tmp_path):
    write(tmp_path / "model", {"weights.safetensors": ONE})
    (tmp_path / "secret.json").write_text('{"secret": 1}')
    (tmp_path / "model" / CONFIG).symlink_to(tmp_path / "secret.json")
    opened = open_path(tmp_path / "model" / "weights.safetensors")
    note = "the config.json beside weights.safetensors is a link that leads out of the folder: it was not used"
    assert (opened.config, opened.files, opened.notes) == (None, {}, (note,))
    (tmp_path / "model" / CONFIG).unlink()
    (tmp_path / "model" / CONFIG).write_text("no JSON")
    opened = open_path(tmp_path / "model" / "weights.safetensors")
    assert opened.notes == ("the config.json beside weights.safetensors is no configuration: it was not used",)


def test_consolidated_weights_are_read_by_their_own_names_and_written_under_their_own(tmp_path):
    tensors = {"layers.0.wq.weight": torch.ones(4, 4), "output.weight": torch.ones(4, 4)}
    for place, factor in (("pretrained", 1.0), ("fine_tuned", 1.1)):
        (tmp_path / place).mkdir()
        save_file({n: factor * t for n, t in tensors.items()}, tmp_path / place / "consolidated.safetensors")
        (tmp_path / place / "params.json").write_text("{}")
        (tmp_path / place / CONFIG).write_text('{"architectures": ["LlamaForCausalLM"]}')
    net = ken.prune(tmp_path / "fine_tuned", tmp_path / "pretrained", 1.0)
    assert net.architecture is None
    assert net.notes == ("config.json was not used: it has other names for the tensors than consolidated.safetensors",)
    out = ken.export(net, tmp_path / "pretrained", tmp_path / "out")
    assert {path.name for path in out.iterdir()} == {"consolidated.safetensors", "params.json", CONFIG}
    assert weights_of(out / "consolidated.safetensors").keys() == tensors.keys()


def test_pieces_of_a_model_for_several_gpus_are_refused_and_one_alone_is_read(tmp_path):
    torch.save({"w": ONE}, tmp_path / "consolidated.00.pth")
    assert open_path(tmp_path).tensors["w"].tolist() == [1.0, 1.0]
    for number in (1, 2):
        torch.save({"w": ONE}, tmp_path / f"consolidated.0{number}.pth")
    for path in (tmp_path, tmp_path / "consolidated.01.pth"):
        with pytest.raises(PairingError, match="is one of 3 pieces of a model .*convert_llama_weights_to_hf"):
            open_path(path)
