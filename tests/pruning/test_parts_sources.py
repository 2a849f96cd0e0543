"""Parts of whatever may be given as a model: behind a URL, an adapter, a class that ties its tensors."""

import json

import fsspec
import pytest
import torch
from effects_models import bert, llama, moved
from part_models import joined, saved, small_stretches, whole

import ken
from ken.models.checkpoints.as_data import source_as_data, source_of
from ken.models.checkpoints.remote import remote_file


def in_parts(folder, models, recipe, parts=3):
    """The bytes of a pruning in parts, each planned anew from a description that went through JSON."""
    description = json.loads(json.dumps(ken.parts(*models, **recipe, parts=parts).description))
    for index in range(parts, 0, -1):
        ken.run_part(description, index, folder / "PARTS")
    return joined(folder / "PARTS")


def test_models_behind_urls(tmp_path, monkeypatch):
    monkeypatch.setattr(remote_file, "FIRST_WAIT", 0.0)
    generator = torch.Generator().manual_seed(0)
    base = {"large": torch.randn(90, 16, generator=generator), "small": torch.randn(4, 16, generator=generator)}
    paths = saved(tmp_path, {name: tensor * 1.1 for name, tensor in base.items()}, base)
    fs = fsspec.filesystem("memory")
    for path in paths:
        for file in path.iterdir():
            fs.pipe_file(f"/parts/{path.name}/{file.name}", file.read_bytes())
    urls = [f"memory://parts/{path.name}" for path in paths]
    try:
        with small_stretches():
            want = whole(tmp_path, urls, {"k": 3})
            assert in_parts(tmp_path, urls, {"k": 3}) == want
    finally:
        fs.store.clear()
        fs.pseudo_dirs[:] = [""]


@pytest.mark.filterwarnings("ignore::FutureWarning")  # of peft, about transformers
@pytest.mark.parametrize("make", [bert, llama])
def test_models_of_transformers_with_ties_and_adapters(tmp_path, make):
    peft = pytest.importorskip("peft")
    base = make()
    base.save_pretrained(tmp_path / "base")
    moved(base).save_pretrained(tmp_path / "tuned")
    layer = "query" if make is bert else "q_proj"
    adapted = peft.get_peft_model(base, peft.LoraConfig(r=2, target_modules=[layer], init_lora_weights=False))
    adapted.save_pretrained(tmp_path / "adapter")
    with small_stretches(256):
        for tuned in ("tuned", "adapter"):
            models = tmp_path / tuned, tmp_path / "base"
            (tmp_path / f"of-{tuned}").mkdir()
            assert in_parts(tmp_path / f"of-{tuned}", models, {"k": 0.3}) == whole(tmp_path, models, {"k": 0.3})
        several = ken.Adapters({"one": tmp_path / "adapter"}, weights={"one": 0.5})
        (tmp_path / "weighted").mkdir()
        models = several, tmp_path / "base"
        want = whole(tmp_path, models, {"k": {"*": 0.3}})
        assert in_parts(tmp_path / "weighted", models, {"k": {"*": 0.3}}) == want


def test_places_go_through_json_and_nothing_secret_does():
    location = ken.Location("org/model", revision="v1", subfolder="unet", variant="fp16", token="hf_secret")
    data = json.loads(json.dumps(source_as_data(location, "the model")))
    assert "secret" not in json.dumps(data)
    assert source_of(data) == location
    url = source_as_data("s3://key:secret@bucket/model", "the model")
    assert "secret" not in url
    adapters = ken.Adapters({"a": location, "b": "org/lora"}, weights={"a": 0.5})
    assert source_of(json.loads(json.dumps(source_as_data(adapters, "the model")))) == adapters


def test_a_missing_part_of_what_no_command_can_say_is_made_in_python(tmp_path):
    base = {"w": torch.arange(160.0).reshape(10, 16)}
    paths = saved(tmp_path, {"w": base["w"] * 2}, base)
    plan = ken.parts(*paths, {"w": 3}, parts=2)
    plan.run(1, tmp_path / "PARTS")
    with pytest.raises(ken.KenError) as error:
        joined(tmp_path / "PARTS")
    assert error.value.__notes__ == [
        f"ken.run_part(plan.description, 2, {str(tmp_path / 'PARTS')!r})  # in Python, plan being that of ken.parts"
    ]
