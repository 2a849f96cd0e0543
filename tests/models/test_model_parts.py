"""Pipelines of diffusers, models of sentence-transformers: parts are read, and the libraries open what is exported."""

import json
import shutil
import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file, save_file

import ken
from ken.errors import FormatError, PairingError
from ken.models.checkpoints.checkpoint_files import open_path
from ken.storage.model_files import shard_name, shard_path

# In a process of its own: the library warns as it likes.
PIPELINES = """
import json, sys, torch
from pathlib import Path
from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

place = Path(sys.argv[1])
(place / "vocab.json").write_text(json.dumps({"<|startoftext|>": 0, "<|endoftext|>": 1, "a</w>": 2}))
(place / "merges.txt").write_text("#version: 0.2\\n")
torch.manual_seed(0)
blocks = {"block_out_channels": (8, 16), "layers_per_block": 1, "norm_num_groups": 4, "sample_size": 8}
pipe = StableDiffusionPipeline(
    unet=UNet2DConditionModel(
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"), up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=16, attention_head_dim=4, **blocks,
    ),
    vae=AutoencoderKL(**{**blocks, "block_out_channels": (8,)}),
    text_encoder=CLIPTextModel(CLIPTextConfig(
        vocab_size=9, hidden_size=16, intermediate_size=20, num_hidden_layers=1, num_attention_heads=2,
        max_position_embeddings=8, bos_token_id=0, eos_token_id=1,
    )),
    tokenizer=CLIPTokenizer(str(place / "vocab.json"), str(place / "merges.txt")),
    scheduler=DDIMScheduler(), safety_checker=None, feature_extractor=None, requires_safety_checker=False,
)
pipe.save_pretrained(place / "pretrained")
for part in (pipe.unet, pipe.vae, pipe.text_encoder):
    for parameter in part.parameters():
        parameter.data += 0.01 * torch.randn(parameter.shape)
pipe.save_pretrained(place / "fine_tuned")
pipe.save_pretrained(place / "shards", variant="fp16", max_shard_size="40KB")
"""
OPENED = """
import sys, torch
from safetensors.torch import save_file
from diffusers import StableDiffusionPipeline, UNet2DConditionModel

for folder in sys.argv[1:]:
    if folder.endswith("unet"):
        state = UNet2DConditionModel.from_pretrained(folder).state_dict()
    else:
        pipe = StableDiffusionPipeline.from_pretrained(folder)
        parts = {"unet": pipe.unet, "vae": pipe.vae, "text_encoder": pipe.text_encoder}
        state = {f"{name}.{key}": value for name, part in parts.items() for key, value in part.state_dict().items()}
    save_file({name: value.contiguous() for name, value in state.items()}, f"{folder}.safetensors")
"""


def run(program, *words):
    command = [sys.executable, "-W", "ignore", "-c", program, *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


@pytest.fixture(scope="module")
def pipelines(tmp_path_factory):
    place = tmp_path_factory.mktemp("pipelines")
    run(PIPELINES, place)
    return place


def test_what_is_exported_of_a_pipeline_or_of_a_part_opens_in_diffusers(pipelines, tmp_path):
    pretrained = pipelines / "pretrained"
    nets = {
        "whole": ken.prune(pipelines / "fine_tuned", pretrained, 0.5),
        "shards": ken.prune(pipelines / "shards", pretrained, 0.5, out=tmp_path / "net.ken.safetensors"),
        "unet": ken.prune(pipelines / "fine_tuned" / "unet", pretrained / "unet", 0.5),
    }
    injected = {}
    for name, net in nets.items():
        theirs = pretrained / "unet" if name == "unet" else pretrained
        ken.export(net, theirs, tmp_path / name)
        injected[name] = ken.inject(net, theirs)
    run(OPENED, *(tmp_path / name for name in nets))
    for name, state in injected.items():
        opened = load_file(tmp_path / f"{name}.safetensors")
        assert len(opened) > 100
        assert opened.keys() == state.keys()
        assert all(torch.equal(opened[key], value.float()) for key, value in state.items())


def test_a_pipeline_is_its_parts_by_their_names_with_what_else_belongs_to_it(pipelines):
    opened = open_path(pipelines / "fine_tuned")
    stored = {
        f"{part}.{name}"
        for part, file in (
            ("unet", "diffusion_pytorch_model"),
            ("vae", "diffusion_pytorch_model"),
            ("text_encoder", "model"),
        )
        for name in load_file(pipelines / "fine_tuned" / part / f"{file}.safetensors")
    }
    assert set(opened.tensors) == stored
    assert {name.partition("/")[0] for name in opened.shards.values()} == {"unet", "vae", "text_encoder"}
    assert {"model_index.json", "scheduler/scheduler_config.json", "unet/config.json"} <= set(opened.files)
    assert any(path.startswith("tokenizer/") for path in opened.files)
    assert opened.config["text_encoder"]["vocab_size"] == 9
    assert (opened.notes, opened.left) == ((), {})


def test_a_part_alone_pairs_with_the_pipeline_that_it_came_from(pipelines):
    net = ken.prune(pipelines / "fine_tuned" / "unet", pipelines / "pretrained", 0.5)
    assert net.lacking == {}
    assert all(name.startswith(("vae.", "text_encoder.")) for name in net.only_pretrained)
    assert any("prefix 'unet'" in note for note in net.notes)


def test_parts_without_the_variant_are_taken_as_they_are_and_named(pipelines, tmp_path):
    folder = shutil.copytree(pipelines / "shards", tmp_path / "mixed")
    (folder / "text_encoder" / "model.fp16.safetensors").rename(folder / "text_encoder" / "model.safetensors")
    opened = open_path(folder, variant="fp16")
    assert opened.notes == ("text_encoder: no weights of the variant 'fp16', those without one were taken",)
    with pytest.raises(PairingError, match="no weights of the variant 'bf16'; it has"):
        open_path(folder, variant="bf16")
    with pytest.raises(PairingError, match="no weights of the variant 'fp16'; it has none of any variant"):
        open_path(pipelines / "fine_tuned", variant="fp16")


def test_a_part_that_is_not_there_is_named_and_a_pipeline_without_any_is_refused(pipelines, tmp_path):
    folder = shutil.copytree(pipelines / "fine_tuned", tmp_path / "less")
    shutil.rmtree(folder / "vae")
    opened = open_path(folder)
    assert opened.notes == ("model_index.json names vae, which is not there",)
    shutil.rmtree(folder / "unet")
    shutil.rmtree(folder / "text_encoder")
    with pytest.raises(PairingError, match="and none of them has weights; get the whole pipeline again"):
        open_path(folder)


@pytest.mark.parametrize("name", ["../outside", "a/b", ".hidden"])
def test_a_pipeline_leads_to_no_folder_outside(tmp_path, name):
    (tmp_path / "model_index.json").write_text(json.dumps({name: ["diffusers", "UNet2DConditionModel"]}))
    with pytest.raises(PairingError, match="is not the name of a folder in its folder"):
        open_path(tmp_path)


def test_a_part_that_is_a_link_to_elsewhere_is_refused(pipelines, tmp_path):
    folder = shutil.copytree(pipelines / "fine_tuned", tmp_path / "linked")
    shutil.rmtree(folder / "unet")
    (folder / "unet").symlink_to(pipelines / "pretrained" / "unet")
    with pytest.raises(PairingError, match="is a link that leads out of its folder"):
        open_path(folder)


@pytest.mark.parametrize(
    "path", ["model.safetensors", "unet/a.safetensors", "100%/a.safetensors", "a%2F/b%.safetensors"]
)
def test_the_path_of_a_file_of_weights_is_kept_as_one_name(path):
    assert "/" not in shard_name(path)
    assert shard_path(shard_name(path)) == path


@pytest.mark.parametrize("name", ["..%2Fa.safetensors", "%2Fa.safetensors", "a/b.safetensors", "a%2Fb.bin", "a%2F"])
def test_a_path_that_leads_elsewhere_is_refused(name):
    with pytest.raises(FormatError, match="is not the name of a safetensors file"):
        shard_path(name)


SENTENCES = """
import sys, torch
from pathlib import Path
from sentence_transformers import SentenceTransformer, models
from transformers import BertConfig, BertModel, BertTokenizer

place = Path(sys.argv[1])
(place / "vocab.txt").write_text("\\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "b"]))
torch.manual_seed(0)
size = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 20}
BertModel(BertConfig(vocab_size=7, max_position_embeddings=16, **size)).save_pretrained(place / "base")
BertTokenizer(str(place / "vocab.txt")).save_pretrained(place / "base")
parts = [models.Transformer(str(place / "base")), models.Pooling(16), models.Dense(16, 4)]
model = SentenceTransformer(modules=parts, device="cpu")
for parameter in model.parameters():
    parameter.data += 0.01 * torch.randn(parameter.shape)
model.save(str(place / "newer"))
torch.save(torch.tensor(model.encode(["a b"])), place / "encoded.pt")
"""
ENCODED = """
import sys, torch
from sentence_transformers import SentenceTransformer

place = sys.argv[1]
torch.save(torch.tensor(SentenceTransformer(place, device="cpu").encode(["a b"])), f"{place}.pt")
"""


@pytest.fixture(scope="module")
def sentences(tmp_path_factory):
    """A model in the newer layout, and again as it was written years ago: the transformer below, pickles."""
    place = tmp_path_factory.mktemp("sentences")
    run(SENTENCES, place)
    older = shutil.copytree(place / "newer", place / "older")
    modules = json.loads((older / "modules.json").read_text())
    modules[0]["path"] = "0_Transformer"
    (older / "modules.json").write_text(json.dumps(modules))
    (older / "0_Transformer").mkdir()
    for path in [*older.glob("token*"), older / "config.json", older / "sentence_bert_config.json"]:
        path.rename(older / "0_Transformer" / path.name)
    for file, place_in in (("model.safetensors", "0_Transformer"), ("2_Dense/model.safetensors", "2_Dense")):
        torch.save(load_file(older / file), older / place_in / "pytorch_model.bin")
        (older / file).unlink()
    return place


@pytest.mark.parametrize("layout", ["newer", "older"])
def test_a_sentence_transformer_pairs_with_its_base_and_works_again(sentences, tmp_path, layout):
    net = ken.prune(sentences / layout, sentences / "base", 1.0, out=tmp_path / "net.ken.safetensors")
    new = {name: tensor.reason for name, tensor in net.outlines.items() if tensor.reason}
    assert set(new) == {"2_Dense.linear.weight", "2_Dense.linear.bias"}
    assert net.only_pretrained == {}
    assert net.architecture.class_name == "BertModel"
    out = ken.export(net, sentences / "base", tmp_path / "out")
    run(ENCODED, out)
    assert torch.equal(torch.load(tmp_path / "out.pt"), torch.load(sentences / "encoded.pt"))


def test_modules_that_are_listed_lead_to_no_folder_outside(tmp_path):
    (tmp_path / "model").mkdir()
    save_file({"w": torch.ones(2)}, tmp_path / "model" / "model.safetensors")
    save_file({"w": torch.ones(2)}, tmp_path / "model.safetensors")
    (tmp_path / "model" / "modules.json").write_text('[{"path": ""}, {"path": ".."}]')
    assert list(open_path(tmp_path / "model").tensors) == ["w"]
