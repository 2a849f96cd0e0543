"""State dicts in files of training programs, and arrays of NumPy."""

import io
import zipfile

import ml_dtypes
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import ken
from ken.errors import FormatError, PairingError
from ken.models.checkpoints.checkpoint_files import open_path
from ken.models.checkpoints.state_dicts import from_array

STATE = {"a.weight": torch.arange(6.0).reshape(2, 3), "a.bias": torch.ones(2)}


def opened(tmp_path, content, name="x.pt"):
    torch.save(content, tmp_path / name)
    return open_path(tmp_path / name)


def same(tensors, wanted):
    assert list(tensors) == list(wanted)
    assert all(torch.equal(tensors[name], tensor) for name, tensor in wanted.items())


@pytest.mark.parametrize("name", ["x.pt", "x.pth", "x.ckpt", "x.bin"])
def test_a_state_dict_is_read_whatever_its_file_is_called(tmp_path, name):
    folder = opened(tmp_path, STATE, name)
    same(folder.tensors, STATE)
    assert folder.notes == ()


@pytest.mark.parametrize("key", ["state_dict", "model", "model_state_dict", "module"])
def test_a_state_dict_is_read_from_its_key_and_what_is_beside_it_is_named(tmp_path, key):
    optimizer = {"state": {0: {"exp_avg": torch.ones(2)}}, "param_groups": [{"lr": 0.1}]}
    folder = opened(tmp_path, {"epoch": 3, "step": torch.tensor(7), key: STATE, "optimizer": optimizer})
    same(folder.tensors, STATE)
    assert folder.notes == (f"x.pt: the weights were read from {key!r}; passed over beside it: epoch, step, optimizer",)


def test_keys_in_keys_are_followed(tmp_path):
    folder = opened(tmp_path, {"model": {"state_dict": STATE, "step": 1}})
    same(folder.tensors, STATE)
    assert folder.notes[1] == "x.pt: the weights were read from 'model'.'state_dict'; passed over beside it: step"


def test_numbers_and_texts_beside_tensors_are_passed_over(tmp_path):
    folder = opened(tmp_path, {**STATE, "epoch": 3, "name": "x", "best": None})
    same(folder.tensors, STATE)
    assert folder.notes == ("x.pt: passed over beside the tensors: epoch, name, best",)


def test_lightnings_attribute_is_no_part_of_the_names(tmp_path):
    content = {"state_dict": {f"model.{name}": tensor for name, tensor in STATE.items()}, "epoch": 1}
    same(opened(tmp_path, content).tensors, content["state_dict"])
    folder = opened(tmp_path, {**content, "pytorch-lightning_version": "2.5.0"})
    same(folder.tensors, STATE)
    assert "names were read without 'model.'" in folder.notes[1]
    content["state_dict"]["loss.weight"] = torch.ones(1)
    folder = opened(tmp_path, {**content, "pytorch-lightning_version": "2.5.0"})
    same(folder.tensors, content["state_dict"])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            {"model": STATE, "module": STATE},
            "has tensors under 'model' and 'module'; load it in Python and give the one",
        ),
        (
            {"net": STATE, "epoch": 1},
            r"no state dict under one of 'state_dict', .*; there are tensors under 'net'; load",
        ),
        ({"model": STATE, "w": torch.ones(2)}, r"has tensors at the top \(w, …\) and under 'model'; load it in Python"),
        ({"epoch": 1, "step": 2}, "holds no tensors, only epoch, step"),
        ({**STATE, "rest": [1, 2]}, "rest: a state dict must hold tensors, got list"),
        ([torch.ones(2)], "must hold tensors by name, got list"),
        ({"w": torch.ones(2).to_sparse()}, "w: tensors must be dense"),
    ],
)
def test_what_is_not_clear_is_refused_with_the_keys_that_there_are(tmp_path, content, message):
    with pytest.raises(PairingError, match=message):
        opened(tmp_path, content)


def test_no_code_in_a_file_is_run(tmp_path):
    class Harm:
        def __reduce__(self):
            return open, (str(tmp_path / "harm"), "w")

    torch.save({"state_dict": STATE, "hyper_parameters": Harm()}, tmp_path / "x.ckpt")
    with pytest.raises(FormatError, match=r"x\.ckpt cannot be read as weights alone: there is more in it than tensors"):
        open_path(tmp_path / "x.ckpt")
    assert not (tmp_path / "harm").exists()


ARRAYS = {
    "matrix": np.linspace(-1, 1, 120, dtype=np.float32).reshape(8, 15),
    "vector": np.linspace(0, 1, 33),
    "columns": np.asfortranarray(np.linspace(0, 5, 72, dtype=np.float32).reshape(8, 9)),
    "swapped": np.linspace(0, 5, 60).astype(">f4").reshape(3, 20),
    "scalar": np.array(2.5, dtype=np.float16),
    "empty": np.zeros((0, 3), dtype=np.float32),
    "numbers": np.arange(5),
}


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_arrays_are_pruned_alike_in_memory_and_in_files(tmp_path, save):
    tuned = {name: np.asarray(array * 1.01).astype(array.dtype) for name, array in ARRAYS.items()}
    save(tmp_path / "tuned.npz", **tuned)
    save(tmp_path / "base.npz", **ARRAYS)
    as_tensors = {
        name: {key: torch.tensor(array.astype(array.dtype.newbyteorder("="))) for key, array in arrays.items()}
        for name, arrays in (("tuned", tuned), ("base", ARRAYS))
    }
    wanted = ken.inject(ken.prune(as_tensors["tuned"], as_tensors["base"], 0.5), as_tensors["base"])
    for one, other in ((tuned, ARRAYS), (tmp_path / "tuned.npz", tmp_path / "base.npz")):
        net = ken.prune(one, other, 0.5)
        same(dict(sorted(ken.inject(net, other).items())), dict(sorted(wanted.items())))
    assert sum("are compressed" in note for note in net.notes) == (2 if save is np.savez_compressed else 0)
    out = ken.export(net, tmp_path / "base.npz", tmp_path / "out")
    assert [path.name for path in out.iterdir()] == ["model.safetensors"]


@given(st.data())
def test_an_array_becomes_a_tensor_of_its_values_whatever_its_layout(data):
    dtype = data.draw(st.sampled_from(["f2", "f4", "f8", "i1", "u2", "i8", "?", ">f4", ">i8"]))
    array = np.arange(24).reshape(2, 3, 4).astype(dtype).transpose(data.draw(st.permutations(range(3))))
    array = array[tuple(slice(None, None, data.draw(st.sampled_from([1, 2, -1, -2]))) for _ in range(3))]
    array.flags.writeable = data.draw(st.booleans())
    assert from_array("w", array).tolist() == array.tolist()


def test_memory_is_shared_and_may_be_read_only():
    array = np.arange(6.0, dtype=np.float32).reshape(2, 3)
    tensor = from_array("w", array)
    array[0, 0] = 9
    assert tensor[0, 0] == 9
    array.flags.writeable = False
    assert from_array("w", array).data_ptr() == array.ctypes.data
    kept = from_array("w", np.frombuffer(bytes(range(1, 9)), dtype=np.uint8))
    assert kept.tolist() == [*range(1, 9)]


@pytest.mark.parametrize("name", ["bfloat16", "float8_e4m3fn", "float8_e5m2"])
def test_dtypes_of_ml_dtypes_are_what_their_names_say(name):
    values = np.array([[1.5, -0.25], [0.0, 2.0]], dtype=getattr(ml_dtypes, name))
    tensor = from_array("w", values)
    assert tensor.dtype == getattr(torch, name)
    assert tensor.float().tolist() == values.astype(np.float32).tolist()


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.array([1, None], dtype=object), "w: torch has no dtype object .Python objects"),
        (np.array(["a"]), "w: torch has no dtype <U1; give arrays of numbers"),
        (np.zeros(2, dtype="V2"), r"w: torch has no dtype \|V2 .*array\.view\(ml_dtypes\.bfloat16\)"),
        (np.zeros(2, dtype=[("a", "f4")]), "w: torch has no dtype"),
        (np.zeros(2, dtype=ml_dtypes.int4), "w: torch has no dtype int4"),
        (np.ma.masked_array([1.0, 2.0], [True, False]), "w: a masked array has entries without a value"),
    ],
)
def test_arrays_that_are_no_numbers_of_torch_are_refused(array, message):
    with pytest.raises(PairingError, match=message):
        ken.prune({"w": array}, {"w": torch.ones(2)}, 1)


def test_files_of_arrays_that_are_damaged_or_more_than_arrays_are_refused(tmp_path):
    path = tmp_path / "x.npz"
    np.savez(path, w=np.array([{}], dtype=object))
    with pytest.raises(
        PairingError, match=r"w\.npy holds Python objects, which only a pickle could give; none is read"
    ):
        open_path(path)
    np.savez(path, w=np.ones(99))
    whole = path.read_bytes()
    for data in (b"", b"PK", whole[:100], whole[:-40]):
        path.write_bytes(data)
        with pytest.raises(FormatError, match="cannot be read as arrays alone"):
            open_path(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme.txt", "x")
    with pytest.raises(PairingError, match=r"holds 'readme\.txt', which is no array of NumPy"):
        open_path(path)
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"shape": (10**6,), "fortran_order": False, "descr": "<f8"})
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("w.npy", header.getvalue() + bytes(8))
    with pytest.raises(FormatError, match="has been cut short, or is no array"):
        open_path(path)
    np.save(tmp_path / "x.npy", np.ones(3))
    with pytest.raises(PairingError, match=r"\(one array, which has no name; give a state dict of arrays in Python"):
        open_path(tmp_path / "x.npy")
