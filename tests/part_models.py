"""Pairs of models on the disk with all that a pruning in parts may meet, and both ways to prune them."""

import contextlib
import fnmatch
from pathlib import Path
from unittest import mock

import torch
from hypothesis import strategies as st
from safetensors.torch import save_file

import ken
from ken.storage import value_codec
from ken.subnetwork import extract

DTYPES = (torch.float32, torch.bfloat16, torch.float16, torch.float64)


@contextlib.contextmanager
def small_stretches(entries=32, short=16):
    """Tensors of a few rows have several stretches, and are long enough for planes that are written as a stream."""
    with mock.patch.object(extract, "_STRETCH", entries), mock.patch.object(value_codec, "_SHORT", short):
        yield


@st.composite
def pairs(draw):
    """Two state dicts: tensors of any shape and dtype, integers, a new head, a grown vocabulary, a spare tensor."""
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**20)))
    fine_tuned, pretrained = {}, {}
    for number in range(draw(st.integers(1, 4))):
        shape = draw(st.lists(st.integers(1, 13), min_size=1, max_size=3).map(tuple))
        dtype, base_dtype = draw(st.sampled_from(DTYPES)), draw(st.sampled_from(DTYPES[:3]))
        base = torch.randn(shape, generator=generator)
        moved = draw(st.floats(0, 1))
        update = torch.randn(shape, generator=generator) * (torch.rand(shape, generator=generator) < moved)
        pretrained[f"layer.{number}.weight"] = base.to(base_dtype)
        fine_tuned[f"layer.{number}.weight"] = (base + 0.1 * update).to(dtype)
    if draw(st.booleans()):
        rows, added = draw(st.integers(1, 20)), draw(st.integers(1, 20))
        pretrained["words.weight"] = torch.randn(rows, 6, generator=generator)
        fine_tuned["words.weight"] = torch.cat([pretrained["words.weight"] * 1.1, torch.ones(added, 6)])
    if draw(st.booleans()):
        fine_tuned["head.weight"] = torch.randn(2, 5, generator=generator)
    if draw(st.booleans()):
        fine_tuned["positions"] = pretrained["positions"] = torch.arange(9)
    if draw(st.booleans()):
        pretrained["unused.weight"] = torch.randn(7, 3, generator=generator)
    return fine_tuned, pretrained


def fitting(recipe, names):
    """The recipe without the patterns that match no tensor, which would be an error."""
    matched = {
        pattern for pattern in ("words.*", "layer.0.*", "layer.1.*", "layer.2.*") if fnmatch.filter(names, pattern)
    }
    rows = {pattern: cut for pattern, cut in recipe["rows"].items() if pattern in matched}
    if isinstance(recipe.get("k"), dict) and set(names) <= {"layer.0.weight"}:
        recipe = recipe | {"k": {"*": 2}}
    return recipe | {"rows": rows, "exclude": [pattern for pattern in recipe["exclude"] if pattern in matched]}


@st.composite
def recipes(draw):
    """What is asked for, in the words of `ken.prune`."""
    rule = draw(st.sampled_from(["ken", "random", "update", "magnitude", "della", "changed"]))
    recipe = {"rule": rule, "rows": {"words.*": "grown"} | draw(st.sampled_from([{}, {"layer.1.*": "whole"}]))}
    if rule != "changed":
        recipe["k"] = draw(st.sampled_from([1, 3, 0.5, 1.0, {"layer.0.*": 2, "*": 0.3}]))
        recipe["rescale"] = draw(st.sampled_from([None, "share"]))
    if rule == "ken":
        recipe["bandwidth"] = draw(st.sampled_from(["normal reference", "isj", 0.2]))
    recipe["exclude"] = draw(st.sampled_from([(), ("layer.2.*",)]))
    recipe["raw"] = draw(st.booleans())
    recipe["seed"] = draw(st.integers(0, 3))
    return recipe


def saved(folder, fine_tuned, pretrained):
    """The paths of both, in folders of their own, with a file that comes along."""
    paths = []
    for name, model in (("fine_tuned", fine_tuned), ("pretrained", pretrained)):
        path = Path(folder) / name
        path.mkdir()
        save_file({key: tensor.contiguous() for key, tensor in model.items()}, path / "model.safetensors")
        paths.append(path)
    (paths[0] / "config.json").write_text('{"hidden_size": 13}')
    return paths


def whole(folder, paths, recipe):
    """The bytes that one machine writes."""
    out = Path(folder) / "whole.ken.safetensors"
    ken.prune(*paths, **recipe, out=out, progress=False)
    return out.read_bytes()


def joined(folder, out="joined.ken.safetensors", **options):
    """The bytes that come of a folder of parts."""
    path = Path(folder).parent / out
    ken.join(folder, path, progress=False, **options)
    return path.read_bytes()
