"""A pruning in parts ends in the bytes that one machine writes, whatever the parts, their order and their number."""

import json
import os
import tempfile
import warnings
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from part_models import fitting, joined, pairs, recipes, saved, small_stretches, whole
from safetensors.torch import load_file, save_file

import ken
from ken.errors import FormatError, KenWarning, OutputError, PairingError, PartsError, RuleError
from ken.models.checkpoints.checkpoint import Checkpoint
from ken.models.tensors.tensor_reader import Entries
from ken.storage.part_files import PartReader


@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(pair=pairs(), recipe=recipes(), parts=st.sampled_from([1, 2, 3, 7, 200]), data=st.data())
def test_any_pair_in_any_parts_in_any_order_gives_the_bytes_of_one_machine(pair, recipe, parts, data):
    with tempfile.TemporaryDirectory() as folder, small_stretches(), warnings.catch_warnings():
        warnings.simplefilter("ignore", KenWarning)
        paths, recipe = saved(folder, *pair), fitting(recipe, pair[0])
        want = whole(folder, paths, recipe)
        plan = ken.parts(*paths, **recipe, parts=parts)
        order = data.draw(st.permutations(range(1, parts + 1)))
        done = [plan.run(index, Path(folder) / "PARTS", progress=False) for index in order]
        assert all(part.made for part in done)
        assert joined(Path(folder) / "PARTS") == want


@pytest.fixture
def paths(tmp_path):
    """A pair with a tensor that is split, a few that are not, and one that the fine-tuned model lacks."""
    generator = torch.Generator().manual_seed(0)
    base = {"large.weight": torch.randn(400, 16, generator=generator), "unused": torch.ones(40, 3)}
    base |= {f"layer.{number}.weight": torch.randn(10, 16, generator=generator) for number in range(5)}
    tuned = {name: tensor + 0.1 * torch.randn(tensor.shape, generator=generator) for name, tensor in base.items()}
    del tuned["unused"]
    with small_stretches():
        yield saved(tmp_path, tuned | {"head.weight": torch.ones(2, 16)}, base)


def run_all(paths, folder, parts=4, **recipe):
    plan = ken.parts(*paths, **({"k": 5} | recipe), parts=parts)
    for index in range(1, parts + 1):
        plan.run(index, folder, progress=False)
    return plan


def test_a_plan_reads_no_value(paths, monkeypatch):
    def refuse(*_):
        raise AssertionError("a value was read")

    monkeypatch.setattr(Entries, "stretches", refuse)
    monkeypatch.setattr(Checkpoint, "whole", refuse)
    plan = ken.parts(*paths, 5, parts=4)
    table = plan.table()
    entries = 400 * 16 + 5 * 160 + 32
    assert table["entries"].sum() == entries
    assert table["bytes"].sum() == 4 * (2 * (entries - 32) + 32 + 120)
    assert table["bytes"].max() <= 1.1 * table["bytes"].mean()
    assert plan.read_again == 2 * 4 * 400 * 16
    assert plan.digest == ken.parts(*paths, 5, parts=4).digest
    others = [ken.parts(*paths, 6, parts=4), ken.parts(*paths, 5, parts=5), ken.parts(*paths, 5, parts=4, raw=True)]
    assert len({plan.digest, *(other.digest for other in others)}) == 4


def test_the_join_reads_of_the_models_what_was_split_and_nothing_else(paths, tmp_path, monkeypatch):
    run_all(paths, tmp_path / "PARTS")
    read = []
    entries = Checkpoint.entries

    def watched(self, name):
        whole = entries(self, name)
        return Entries(whole.shape, whole.dtype, lambda a, b: read.append((name, b - a)) or whole.read(a, b))

    monkeypatch.setattr(Checkpoint, "entries", watched)
    got = joined(tmp_path / "PARTS")
    assert {name for name, _ in read} == {"large.weight"}
    assert sum(count for _, count in read) == 2 * 6400
    monkeypatch.undo()
    with small_stretches():
        assert got == whole(tmp_path, paths, {"k": 5})


def test_a_part_has_the_same_bytes_again_and_is_not_made_twice(paths, tmp_path):
    plan = run_all(paths, tmp_path / "one")
    again = run_all(paths, tmp_path / "two")
    names = [plan.name(index) for index in range(1, 5)]
    assert sorted(path.name for path in (tmp_path / "one").iterdir() if path.suffix == ".kenpart") == names
    for name in names:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
    times = [(tmp_path / "one" / name).stat().st_mtime_ns for name in names]
    done = [again.run(index, tmp_path / "one") for index in range(1, 5)]
    assert [part.made for part in done] == [False] * 4
    assert [(tmp_path / "one" / name).stat().st_mtime_ns for name in names] == times


def test_a_plan_goes_through_json_to_another_process(paths, tmp_path):
    plan = ken.parts(*paths, 5, parts=2)
    described = json.loads(json.dumps(plan.description))
    done = [ken.run_part(described, index, str(tmp_path / "PARTS")) for index in (2, 1)]
    assert [(part.part, part.name) for part in done] == [(2, plan.name(2)), (1, plan.name(1))]
    assert joined(tmp_path / "PARTS") == whole(tmp_path, paths, {"k": 5})


def test_missing_and_damaged_parts_are_named_with_what_makes_them(paths, tmp_path):
    plan = run_all(paths, tmp_path / "PARTS", exclude=["layer.1.*"])
    (tmp_path / "PARTS" / plan.name(3)).unlink()
    short = tmp_path / "PARTS" / plan.name(2)
    short.write_bytes(short.read_bytes()[:-1])
    with pytest.raises(PartsError, match="1 of 4 parts are missing and 1 of 4 parts are damaged") as error:
        joined(tmp_path / "PARTS")
    commands = [note for note in error.value.__notes__ if note.startswith("ken prune")]
    models = f"ken prune {paths[0]} {paths[1]} -k 5 --exclude 'layer.1.*' --part"
    assert commands == [f"{models} {index}/4 -o {tmp_path / 'PARTS'}" for index in (2, 3)]
    assert not (tmp_path / "joined.ken.safetensors").exists()
    with pytest.warns(KenWarning, match="damaged.*made again"):
        assert plan.run(2, tmp_path / "PARTS").made
    plan.run(3, tmp_path / "PARTS")
    assert joined(tmp_path / "PARTS") == whole(tmp_path, paths, {"k": 5, "exclude": ["layer.1.*"]})


@pytest.mark.parametrize("where", ["large.weight", "layer.1.weight"])
def test_a_flipped_bit_is_found_by_the_join_and_by_the_next_run(paths, tmp_path, where):
    plan = run_all(paths, tmp_path / "PARTS")
    index = next(index for index in range(1, 5) if where in [work.name for work, _ in plan.works(index)])
    path = tmp_path / "PARTS" / plan.name(index)
    data = bytearray(path.read_bytes())
    blob = next(blob for name, blob in PartReader(path).record.blobs.items() if name.endswith(f"values:{where}"))
    data[blob.start] ^= 1
    path.write_bytes(data)
    with pytest.raises(FormatError, match="checksum") as error:
        joined(tmp_path / "PARTS")
    assert any(f"--part {index}/4" in note for note in error.value.__notes__)
    assert not (tmp_path / "joined.ken.safetensors").exists()
    with pytest.warns(KenWarning, match="made again"):
        plan.run(index, tmp_path / "PARTS")
    assert joined(tmp_path / "PARTS") == whole(tmp_path, paths, {"k": 5})


def test_parts_of_two_plans_are_told_apart(paths, tmp_path):
    first = run_all(paths, tmp_path / "PARTS")
    second = run_all(paths, tmp_path / "PARTS", parts=2)
    with pytest.raises(PartsError, match="parts of 2 plans") as error:
        joined(tmp_path / "PARTS")
    assert first.digest[:12] in str(error.value)
    want = whole(tmp_path, paths, {"k": 5})
    assert joined(tmp_path / "PARTS", plan=first.digest) == joined(tmp_path / "PARTS", plan=second.digest[:6]) == want
    renamed = tmp_path / "PARTS" / first.name(2)
    (tmp_path / "PARTS" / first.name(1)).replace(renamed)
    with pytest.raises(PartsError, match="1 of 4 parts are missing and 1 of 4 parts are damaged"):
        joined(tmp_path / "PARTS", plan=first.digest)
    with pytest.raises(PartsError, match="has no part of a plan ffff"):
        joined(tmp_path / "PARTS", plan="ffff")


def test_a_model_that_was_trained_on_meanwhile_is_seen(paths, tmp_path):
    plan = run_all(paths, tmp_path / "PARTS")
    weights = paths[0] / "model.safetensors"
    changed = {name: tensor * 1.5 for name, tensor in load_file(weights).items()}
    save_file(changed, weights)
    plan = ken.parts(*paths, 5, parts=4)
    with pytest.warns(KenWarning, match="when the files of the fine-tuned model were others"):
        assert plan.run(1, tmp_path / "PARTS").made
    with pytest.raises(PartsError, match="files of the fine-tuned model were others when part 1 was made"):
        joined(tmp_path / "PARTS")
    # Dates apart, values that are read again give it away.
    with pytest.raises(PartsError, match="values of the models are not those that part"):
        joined(tmp_path / "PARTS", copies=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", KenWarning)
        for index in (2, 3, 4):
            plan.run(index, tmp_path / "PARTS")
    assert joined(tmp_path / "PARTS") == whole(tmp_path, paths, {"k": 5})


def test_copies_of_the_models_with_dates_of_their_own_may_be_used_if_one_says_so(paths, tmp_path):
    copies = []
    for path in paths:
        copy = tmp_path / "node" / path.name
        copy.mkdir(parents=True)
        for file in path.iterdir():
            (copy / file.name).write_bytes(file.read_bytes())
        copies.append(copy)
    here, elsewhere = ken.parts(*paths, 5, parts=2), ken.parts(*copies, 5, parts=2)
    assert here.digest == elsewhere.digest
    here.run(1, tmp_path / "PARTS", copies=True)
    elsewhere.run(2, tmp_path / "PARTS", copies=True)
    want = whole(tmp_path, paths, {"k": 5})
    assert joined(tmp_path / "PARTS", fine_tuned=paths[0], pretrained=paths[1]) == want
    assert not elsewhere.run(1, tmp_path / "PARTS", copies=True).made


def test_what_cannot_be_done_in_parts_is_said_at_once(paths, tmp_path):
    with pytest.raises(RuleError, match="take scope='row', or prune on one machine"):
        ken.parts(*paths, 5, "update", scope="tensor", parts=2)
    with pytest.raises(PairingError, match=r"the fine-tuned model must be a path.*got dict; save it"):
        ken.parts({"w": torch.ones(2)}, paths[1], 5, parts=2)
    for parts in (0, True, 1.5):
        with pytest.raises(PartsError, match="at least 1 part"):
            ken.parts(*paths, 5, parts=parts)
    plan = ken.parts(*paths, 5, parts=2)
    for index in (0, 3, True):
        with pytest.raises(PartsError, match="counted from 1 to 2"):
            plan.run(index, tmp_path / "PARTS")
    with pytest.raises(OutputError, match="lies inside the pretrained model"):
        plan.run(1, paths[1] / "PARTS")
    with pytest.raises(PartsError, match="no folder of parts"):
        joined(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(PartsError, match="has no part"):
        joined(tmp_path / "empty")
    run_all(paths, tmp_path / "PARTS")
    with pytest.raises(OutputError, match="lies inside the folder of parts"):
        ken.join(tmp_path / "PARTS", tmp_path / "PARTS" / "net")
    other = {**plan.description, "recipe": {**plan.description["recipe"], "versions": {"numpy": "0"}}}
    with pytest.raises(PartsError, match=r"made with .*numpy 0 \(here"):
        ken.run_part({**other, "digest": "0" * 32}, 1, tmp_path / "PARTS")


def test_an_error_in_a_value_names_the_place_and_leaves_no_part(paths, tmp_path):
    weights = paths[0] / "model.safetensors"
    tensors = load_file(weights)
    tensors["large.weight"][399, 3] = torch.nan
    save_file(tensors, weights)
    plan = ken.parts(*paths, 5, parts=4)
    failed = []
    for index in range(1, 5):
        try:
            plan.run(index, tmp_path / "PARTS")
        except ken.KenError as error:
            failed.append((str(error), error.__notes__))
    ((text, notes),) = failed
    assert "row 399, column 3" in text
    assert "in tensor 'large.weight'" in notes
    assert len(list((tmp_path / "PARTS").glob("*.kenpart"))) == 3
    assert not list((tmp_path / "PARTS").glob(".*"))


def test_what_a_folder_of_parts_lists_as_left_over(paths, tmp_path):
    folder = tmp_path / "PARTS"
    assert run_all(paths, folder, parts=2).run(1, folder).made is False
    assert ken.leftovers(folder) == []
    old = run_all(paths, folder, parts=3, raw=True)
    plan = run_all(paths, folder, parts=4)
    for index in range(1, 4):
        os.utime(folder / old.name(index), (1, 1))
    (folder / ".part-00001-of-00004-0123.0123456789abcdef.part").write_bytes(b"half")
    (folder / "notes.txt").write_text("mine")
    damaged = folder / plan.name(4)
    damaged.write_bytes(damaged.read_bytes()[:50])
    found = {leftover.path.name: leftover for leftover in ken.leftovers(folder, keep=plan.digest)}
    assert found.pop(".part-00001-of-00004-0123.0123456789abcdef.part").removable is False
    assert found.pop(plan.name(4)).reason == "damaged"
    assert {leftover.reason.split(" of ")[1].split(",")[0] for leftover in found.values()} == {"another plan"}
    assert len(found) == 2 + 3 + 2
    for leftover in ken.leftovers(folder, keep=plan.digest, minutes=0):
        leftover.remove()
    left = sorted(path.name for path in folder.iterdir())
    assert left == ["notes.txt", *(plan.name(index) for index in (1, 2, 3)), f"plan-{plan.digest[:12]}.json"]
    plan.run(4, folder)
    assert joined(folder) == whole(tmp_path, paths, {"k": 5})
    for leftover in ken.leftovers(folder, every_part=True):
        leftover.remove()
    assert [path.name for path in folder.iterdir()] == ["notes.txt"]
    with pytest.raises(PartsError, match="nothing of a plan 12"):
        ken.leftovers(folder, keep="12")
