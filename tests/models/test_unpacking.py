"""GPTQ, AWQ and float8 against quantisers written from the definitions of their formats; and codes that are damaged."""

import json
import shutil

import pytest
import torch
import transformers
from checkpoints import weights
from quantised_models import (
    bitsandbytes,
    compressed,
    fp8,
    gguf_llama,
    gpt_oss,
    linear,
    plain_folder,
    silent,
    stored,
)
from safetensors.torch import save_file

import ken
from ken.errors import FormatError, KenError, PairingError
from ken.models.checkpoints.checkpoint import read
from ken.models.checkpoints.dequantised import layer

pytestmark = pytest.mark.filterwarnings("ignore")  # those of the libraries
UP = "model.layers.0.mlp.up_proj"


def in_words(rows, bits):
    """Rows of small numbers as rows of signed words of 32 bits: each row a long number, begun at its lowest bit."""
    packed = []
    for row in rows:
        number = sum(int(value) << (bits * place) for place, value in enumerate(row))
        words = [(number >> (32 * place)) & 0xFFFFFFFF for place in range(len(row) * bits // 32)]
        packed.append([word - (1 << 32) if word >> 31 else word for word in words])
    return torch.tensor(packed, dtype=torch.int32)


class Quantiser:
    """Codes, zeros and scales for groups of the inputs of every output, and the values that they mean."""

    def __init__(self, bits=4, groups=4, ordered=False):
        self.bits, self.groups, self.ordered = bits, groups, ordered
        self.values = {}

    def parts(self, weight, stem):
        outputs, inputs = weight.shape
        generator = torch.Generator().manual_seed(len(self.values))
        group = torch.arange(inputs) // (inputs // self.groups)
        if self.ordered:
            group = group[torch.randperm(inputs, generator=generator)]
        top = (1 << self.bits) - 1
        codes = torch.randint(0, top + 1, (outputs, inputs), generator=generator)
        zeros = torch.randint(1, top + 1, (self.groups, outputs), generator=generator)
        scales = (torch.rand(self.groups, outputs, generator=generator) / 50 + 0.001).half()
        values = torch.empty(outputs, inputs, dtype=torch.float16)
        for column in range(inputs):  # each on its own, as the format defines it
            own = int(group[column])
            values[:, column] = (codes[:, column] - zeros[own]).half() * scales[own]
        self.values[f"{stem}.weight"] = values
        return codes, zeros, scales, group


class Gptq(Quantiser):
    def __init__(self, layout="gptq", **more):
        super().__init__(**more)
        self.less = int(layout == "gptq")

    def __call__(self, weight, stem):
        codes, zeros, scales, group = self.parts(weight, stem)
        return {
            "qweight": in_words(codes.tolist(), self.bits).T,
            "qzeros": in_words((zeros - self.less).tolist(), self.bits),
            "scales": scales,
            "g_idx": group.int(),
        }


class Awq(Quantiser):
    def __call__(self, weight, stem):
        codes, zeros, scales, _ = self.parts(weight, stem)
        order = [0, 2, 4, 6, 1, 3, 5, 7]

        def mixed(rows):
            return [[row[start + place] for start in range(0, len(row), 8) for place in order] for row in rows.tolist()]

        return {"qweight": in_words(mixed(codes.T), 4), "qzeros": in_words(mixed(zeros), 4), "scales": scales}


def without_dtype(folder):
    config = json.loads((folder / "config.json").read_text())
    config.pop("dtype", None)
    (folder / "config.json").write_text(json.dumps(config))


@pytest.mark.parametrize("layout", ["gptq", "gptq_v2"])
@pytest.mark.parametrize(("bits", "ordered"), [(2, False), (3, True), (4, False), (4, True), (8, True)])
def test_gptq_is_unpacked_as_its_format_says(tmp_path, bits, ordered, layout):
    quantiser = Gptq(layout, bits=bits, ordered=ordered)
    plain = plain_folder(tmp_path / "plain")
    settings = {"quant_method": "gptq", "bits": bits, "group_size": 16, "desc_act": ordered}
    folder = stored(plain, tmp_path / "gptq", quantiser, **settings, checkpoint_format=layout)
    compare(folder, quantiser, plain)
    assert f"GPTQ, {bits} bits, layout {layout}" in read(folder).notes[0]


def test_awq_is_unpacked_as_its_format_says(tmp_path):
    quantiser, plain = Awq(), plain_folder(tmp_path / "plain")
    settings = {"quant_method": "awq", "bits": 4, "group_size": 16, "zero_point": True, "version": "gemm"}
    compare(stored(plain, tmp_path / "awq", quantiser, **settings), quantiser, plain)


def compare(folder, quantiser, plain):
    """Values in the dtype of the model, or in that of the scales if none is stated; and the rest of the model."""
    for dtype in (torch.bfloat16, torch.float16):
        checkpoint = read(folder)
        for name, tensor in weights(plain).items():
            wanted = quantiser.values[name].to(dtype) if linear(name) else tensor
            assert torch.equal(checkpoint.whole(name), wanted), name
        assert set(checkpoint.tensors) == set(weights(plain))
        without_dtype(folder)


def test_gptq_is_pruned_against_awq(tmp_path):
    plain = plain_folder(tmp_path / "plain")
    tuned, base = gptq(plain, tmp_path / "gptq"), awq(plain, tmp_path / "awq")
    net = ken.prune(tuned, base, 0.5, progress=False)
    assert any("(GPTQ, 4 bits, layout gptq)" in note for note in net.notes)
    assert any("(AWQ, 4 bits, layout gemm)" in note for note in net.notes)
    merged, ours, theirs = ken.inject(net, base), read(tuned), read(base)
    for name, tensor in net.pruned().items():
        mask = torch.from_numpy(tensor.mask())
        assert torch.equal(merged[name], torch.where(mask, ours.whole(name), theirs.whole(name)))
    ken.export(net, base, tmp_path / "out", progress=False)
    with silent():
        reloaded = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "out").state_dict()
    assert all(torch.equal(reloaded[name], tensor) for name, tensor in merged.items())


def test_a_file_alone_says_enough_of_gptq_and_awq(tmp_path):
    for kind, quantiser in (("gptq", Gptq(ordered=True)), ("awq", Awq())):
        folder = stored(plain_folder(tmp_path / f"plain {kind}"), tmp_path / kind, quantiser)
        checkpoint = read(
            (folder / "model.safetensors").rename(tmp_path / f"{kind}.safetensors")
        )  # no config.json beside
        assert torch.equal(checkpoint.whole(f"{UP}.weight"), quantiser.values[f"{UP}.weight"])


F8 = torch.float8_e4m3fn


@pytest.mark.parametrize("scale_dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(
    ("shape", "scale_shape", "block"),
    [
        ((18, 13), (3, 2), [8, 8]),  # cut off at the edge
        ((16, 24), (2, 3), [8, 8]),
        ((10, 16), (1, 2), [32, 8]),
        ((16, 24), (16, 1), None),
        ((16, 24), (16,), None),
        ((16, 24), (1, 24), None),
        ((16, 24), (), None),
        ((16, 24), (1,), None),
        ((3, 16, 8), (3, 2, 1), [8, 8]),
        ((3, 16, 8), (3, 1, 1), None),
        ((3, 16, 8), (3,), None),
        ((3, 18, 8), (3, 3, 1), [8, 8]),
    ],
)
@pytest.mark.parametrize("float8", [F8, torch.float8_e5m2])
def test_float8_is_the_product_with_its_scale(tmp_path, shape, scale_shape, *, block, scale_dtype, float8):
    generator = torch.Generator().manual_seed(0)
    codes = torch.randn(shape, generator=generator).to(float8)
    scale = (torch.rand(scale_shape, generator=generator) + 0.1).to(scale_dtype)
    save_file({"a.weight": codes, "a.weight_scale_inv": scale}, tmp_path / "model.safetensors")
    settings = {"quantization_config": {"quant_method": "fp8", "weight_block_size": block}}
    (tmp_path / "config.json").write_text(json.dumps(settings))
    checkpoint = read(tmp_path)
    whole = checkpoint.whole("a.weight")
    assert list(checkpoint.tensors) == ["a.weight"]
    assert whole.dtype == scale_dtype
    wanted = torch.empty(shape)
    rows, columns = block or [-(-n // own) for n, own in zip(shape[-2:], (1, 1, *scale_shape)[-2:], strict=True)]
    for place in torch.cartesian_prod(*map(torch.arange, shape)).tolist():
        if scale.numel() == 1:
            factor = scale.reshape(())
        elif len(scale_shape) == 1:
            factor = scale[place[0]]
        else:
            sizes = [1, rows, columns][-len(shape) :]
            factor = scale[tuple(min(at // size, n - 1) for at, size, n in zip(place, sizes, scale_shape, strict=True))]
        wanted[tuple(place)] = codes[tuple(place)].float() * factor.float()
    assert torch.equal(whole, wanted.to(scale_dtype))


def edited(folder, change):
    """The folder, after its tensors have been changed; those that are None are gone."""
    tensors = weights(folder)
    change(tensors)
    save_file({name: part.contiguous().clone() for name, part in tensors.items()}, folder / "model.safetensors")


def replaced(leaf, change):
    """One tensor of the first module changed, or without a change left out."""

    def edit(tensors):
        name = next(name for name in tensors if name.endswith(leaf))
        tensor = tensors.pop(name)
        if change is not None:
            tensors[name] = change(tensor)

    return edit


def gptq(plain, place):
    return stored(plain, place, Gptq(), quant_method="gptq", bits=4, group_size=16, checkpoint_format="gptq")


def awq(plain, place):
    return stored(plain, place, Awq(), quant_method="awq", bits=4, version="gemm")


def nf4(plain, place):
    return bitsandbytes(plain, place, load_in_4bit=True, bnb_4bit_quant_type="nf4")


def int8(plain, place):
    return bitsandbytes(plain, place, load_in_8bit=True)


def packed(plain, place):
    return compressed(plain, place, "pack-quantized asymmetric")


DAMAGES = [
    (fp8, "weight_scale_inv", lambda scale: scale[:1, :1].repeat(3, 1), "has the shape (3, 1)"),
    (fp8, "weight_scale_inv", lambda scale: scale.to(torch.int32), "is int32, and a scale of float8 is one of"),
    (fp8, "weight_scale_inv", None, "has no scale beside it"),
    (gptq, "g_idx", lambda order: order[:-1], "g_idx has the shape"),
    (gptq, "g_idx", lambda order: order + 100, "names groups that there are none of"),
    (gptq, "scales", None, ".scales beside it"),
    (gptq, "qzeros", None, ".qzeros beside it"),
    (gptq, "qzeros", lambda zeros: zeros[:, :-1], "which for"),
    (gptq, "qweight", lambda codes: codes[:, :-1], "qweight has the shape"),
    (awq, "scales", lambda scales: scales[:, :-1], "scales has the shape"),
    (awq, "qzeros", lambda zeros: zeros[:-1], "qzeros has the shape"),
    (awq, "qweight", lambda codes: codes[:-1], "4 groups for"),
    (nf4, "absmax", None, "absmax beside it"),
    (nf4, "absmax", lambda absmax: absmax[:-1], "one for each block"),
    (nf4, "bitsandbytes__nf4", None, "bitsandbytes__nf4 or fp4 beside it"),
    (nf4, "bitsandbytes__nf4", lambda state: state[:-4], "does not say quant_type"),
    (nf4, "proj.weight", lambda codes: codes[:-1], "bytes, and"),
    (int8, "SCB", None, "SCB beside it"),
    (int8, "SCB", lambda scales: scales[:-1], "SCB has the shape"),
    (packed, "weight_scale", None, "weight_scale beside it"),
    (packed, "weight_scale", lambda scale: scale[:, :-1], "in groups of 16 need another"),
    (packed, "weight_zero_point", None, "weight_zero_point beside it"),
    (packed, "weight_shape", None, "weight_shape beside it"),
    (packed, "weight_shape", lambda shape: shape + 1, "says ("),
    (lambda _, place: gpt_oss(place), "_scales", lambda scales: scales[:, :-1], "_scales has the shape"),
]


@pytest.mark.parametrize(("make", "leaf", "change", "said"), DAMAGES)
def test_damaged_codes_are_told_with_the_tensor_and_a_remedy(tmp_path, *, make, leaf, change, said):
    plain = plain_folder(tmp_path / "plain")
    folder = make(plain, tmp_path / "codes")
    edited(folder, replaced(leaf, change))
    with pytest.raises(KenError) as error:
        ken.prune(folder, plain, 0.5, progress=False)
    assert said in str(error.value)
    assert ".layers.0." in str(error.value)
    assert "from before it was quantised" in str(error.value)


def test_blocks_of_a_size_that_is_not_said_are_refused(tmp_path):
    plain = plain_folder(tmp_path / "plain")
    folder = fp8(plain, tmp_path / "fp8")
    with pytest.raises(PairingError, match="nothing says how large a block is; give the folder with the config.json"):
        read(shutil.copy(folder / "model.safetensors", tmp_path / "alone.safetensors"))
    assert read(folder / "model.safetensors").config  # which says it
    config = json.loads((folder / "config.json").read_text())
    config["quantization_config"]["weight_block_size"] = [16, 32]
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(PairingError, match=r"blocks of \(16, 32\) in .*weight"):
        read(folder)


@pytest.mark.parametrize(
    ("make", "settings", "said"),
    [
        (gptq, {"bits": 8}, "means 4 bits"),
        (gptq, {"checkpoint_format": "marlin"}, "only gptq and gptq_v2 are read"),
        (awq, {"version": "gemv"}, "only gemm with 4 is read"),
        (packed, {"config_groups": {}}, "in none of the config_groups"),
        (packed, {"config_groups": {"group_0": {"targets": 3}}}, "none of compressed-tensors"),
        (packed, {"format": "marlin-24"}, "codes of a quantised model (compressed-tensors)"),
        (packed, {"transform_config": {"config_groups": {"R1": {}}}}, "transforms as it runs"),
    ],
)
def test_kinds_that_are_not_read_are_refused(tmp_path, *, make, settings, said):
    plain = plain_folder(tmp_path / "plain")
    folder = make(plain, tmp_path / "codes")
    config = json.loads((folder / "config.json").read_text())
    config["quantization_config"] |= settings
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(PairingError) as error:
        read(folder)
    assert said in str(error.value)
    assert "from before it was quantised" in str(error.value)


@pytest.mark.parametrize(("make", "extra"), [(nf4, "bitsandbytes"), (packed, "compressed-tensors")])
def test_without_the_library_the_error_says_what_to_install(tmp_path, monkeypatch, make, extra):
    folder = make(plain_folder(tmp_path / "plain"), tmp_path / "codes")

    def missing(name):
        raise ImportError(name)

    monkeypatch.setattr(layer.importlib, "import_module", missing)
    with pytest.raises(PairingError, match=rf"takes {extra}, which is not installed: pip install 'kenviz\[{extra}\]'"):
        read(folder)
    (tmp_path / "model.gguf").write_bytes(b"GGUF")
    with pytest.raises(PairingError, match=r"pip install 'kenviz\[gguf\]'"):
        read(tmp_path / "model.gguf")


def test_damaged_gguf_files_are_told(tmp_path):
    whole = gguf_llama(plain_folder(tmp_path / "plain"), tmp_path / "whole.gguf").read_bytes()
    path = tmp_path / "model.gguf"
    for data, said in (
        (b"", "is empty"),
        (b"GGUF", "is not a whole GGUF file"),
        (whole[: len(whole) // 2], "is not a whole GGUF file"),
        (b"<!doctype html>", "HTML page"),
    ):
        path.write_bytes(data)
        with pytest.raises(FormatError, match=said):
            read(path)
    path.write_bytes(whole.replace(b"llama", b"lorem"))
    with (
        silent(),
        pytest.raises(PairingError, match="transformers makes no configuration of it: .* give the checkpoint"),
    ):
        read(path)
    path.write_bytes(whole.replace(b"llama", b"qwen35"[:5]))
    with silent(), pytest.raises(KenError):
        read(path)


def test_a_folder_with_a_gguf_file_says_to_give_the_file(tmp_path):
    (tmp_path / "folder").mkdir()
    gguf_llama(plain_folder(tmp_path / "plain"), tmp_path / "folder/model.gguf")
    with pytest.raises(PairingError, match="model.gguf: GGUF: to take the weights from such a file, give that file"):
        read(tmp_path / "folder")
