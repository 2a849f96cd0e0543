"""ken prune --part, ken join, ken clean: what they print, how they end."""

import shlex
from unittest import mock

import pytest
from command_line import ken
from kenviz_models import small_pair
from part_models import saved

from ken.subnetwork.executors import own_workers


@pytest.fixture
def folder(tmp_path):
    """FINE_TUNED and PRETRAINED, and the folder that they are in."""
    saved(tmp_path, *small_pair())
    return tmp_path


PAIR = ("fine_tuned", "pretrained", "-k", "0.5")


def test_parts_are_planned_made_joined_and_cleaned_away(folder):
    planned = ken("prune", *PAIR, "--parts", "3", "--plan", cwd=folder)
    assert planned.status == 0, planned.said
    head, *lines = planned.out.splitlines()
    assert head.split() == ["tensors", "split", "entries", "bytes"]
    assert [line.split()[0] for line in lines[1:4]] == ["1", "2", "3"]
    assert "PartPlan(3 parts" in planned.out
    assert "The join reads 0 bytes of both models once more." in planned.out
    assert {path.name for path in folder.iterdir()} == {"fine_tuned", "pretrained"}

    made = [ken("prune", *PAIR, "--part", f"{index}/3", "-o", "PARTS", cwd=folder) for index in (3, 1)]
    assert [done.status for done in made] == [0, 0]
    assert made[0].out.startswith("part 3 of 3 made: PARTS/part-00003-of-00003-")
    again = ken("prune", *PAIR, "--part", "3/3", "-o", "PARTS", cwd=folder)
    assert (again.status, again.out) == (0, made[0].out.replace("made", "was there, and whole"))

    missing = ken("join", "PARTS", "-o", "net.ken.safetensors", cwd=folder)
    assert missing.status == 1
    assert missing.err.splitlines() == [
        "ken: PARTS: 1 of 3 parts are missing",
        f"ken prune {folder / 'fine_tuned'} {folder / 'pretrained'} -k 0.5 --part 2/3 -o PARTS",
    ]
    assert ken(*missing.err.splitlines()[1].split()[1:], cwd=folder).status == 0
    done = ken("join", "PARTS", "-o", "net.ken.safetensors", cwd=folder)
    assert done.status == 0, done.said
    one = ken("prune", *PAIR, "-o", "one.ken.safetensors", cwd=folder)
    assert (folder / "net.ken.safetensors").read_bytes() == (folder / "one.ken.safetensors").read_bytes()
    assert done.out.splitlines()[0] == one.out.splitlines()[0]

    nothing = ken("clean", "PARTS", cwd=folder)
    assert (nothing.status, nothing.out) == (0, "PARTS: nothing is left over\n")
    (folder / "PARTS" / ".part-00001-of-00003-01234.0123456789abcdef.part").write_bytes(b"half")
    listed = ken("clean", "PARTS", "--minutes", "0", cwd=folder)
    assert "may be removed: 1 of 1 files, 4 bytes; with the same options and --yes they are" in listed.out
    kept = ken("clean", "PARTS", "--yes", cwd=folder)
    assert "a process may still be at it" in kept.out
    assert "removed: 0 of 1 files" in kept.out
    assert "removed: 5 of 5 files" in ken("clean", "PARTS", "--minutes", "0", "--all", "--yes", cwd=folder).out
    assert list((folder / "PARTS").iterdir()) == []


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["prune", *PAIR, "--part", "4/3", "-o", "PARTS"], "parts are counted from 1 to 3, got 4"),
        (["prune", *PAIR, "--part", "0/3", "-o", "PARTS"], "parts are counted from 1 to 3, got 0"),
        (["prune", *PAIR, "--part", "one", "-o", "PARTS"], "such as 7/64, got 'one'"),
        (["prune", *PAIR, "--parts", "3", "-o", "PARTS"], "--parts and --plan go together"),
        (["prune", *PAIR, "--plan"], "--parts and --plan go together"),
        (["prune", *PAIR, "--part", "1/3", "--scope", "model", "-o", "PARTS"], "take scope='row'"),
        (["prune", *PAIR, "--part", "1/3", "-o", "fine_tuned"], "lies inside the fine-tuned model"),
        (["join", "PARTS", "-o", "net"], "there is no folder of parts PARTS"),
        (["clean", "PARTS"], "there is no folder of parts PARTS"),
        (["join", "fine_tuned", "-o", "net"], "the folder fine_tuned has no part"),
    ],
)
def test_what_goes_wrong_is_told_in_a_line(folder, words, message):
    done = ken(*words, cwd=folder)
    assert done.status == 1
    assert done.err.startswith("ken: ")
    assert message in done.err
    assert {path.name for path in folder.iterdir()} == {"fine_tuned", "pretrained"}


def test_the_file_to_write_must_be_named(folder):
    done = ken("prune", *PAIR, cwd=folder)
    assert done.status == 2
    assert "-o / --out" in done.err
    assert "must be given" in done.err


def test_the_help_shows_the_commands_of_parts():
    text = ken("--help").out
    assert "join" in text
    assert "clean" in text


def test_every_setting_is_in_the_command_that_makes_a_missing_part(folder):
    settings = ["--rule", "update", "--rescale", "share", "--raw", "--layers-only", "--exclude", "layer.0.*"]
    settings += ["--rows", "layer.1.*=whole", "--seed", "3"]
    assert ken("prune", *PAIR, *settings, "--part", "1/2", "-o", "PARTS", cwd=folder).status == 0
    told = ken("join", "PARTS", "-o", "net", cwd=folder).err.splitlines()[1]
    assert ken(*shlex.split(told)[1:], cwd=folder).status == 0
    assert ken("join", "PARTS", "-o", "net", cwd=folder).status == 0
    assert ken("prune", *PAIR, *settings, "-o", "one", cwd=folder).status == 0
    assert (folder / "net").read_bytes() == (folder / "one").read_bytes()


def test_workers_make_the_file_of_one_process(folder):
    one = ken("prune", *PAIR, "-o", "one.ken.safetensors", cwd=folder)
    assert one.status == 0, one.said
    with mock.patch.object(own_workers, "dask_is_here", return_value=False):
        done = ken("prune", *PAIR, "-o", "net.ken.safetensors", "--workers", "1", "--parts", "2", cwd=folder)
    assert done.status == 0, done.said
    assert "1 processes of a pool (with Dask there would be a dashboard: pip install 'ken-pruning[dask]')" in done.err
    assert (folder / "net.ken.safetensors").read_bytes() == (folder / "one.ken.safetensors").read_bytes()
    assert not (folder / "net.ken.safetensors.parts").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--scheduler", "tcp://127.0.0.1:1", "--workers", "2"], "give one of them"),
        (["--scheduler", "tcp://127.0.0.1:1"], "takes Dask, which is not installed: pip install 'ken-pruning[dask]'"),
        (["--timeout", "3"], "only with executor (--workers, --scheduler): timeout"),
    ],
)
def test_workers_that_there_are_not_are_told_in_a_line(folder, words, message):
    with mock.patch.object(own_workers, "dask_is_here", return_value=False):
        done = ken("prune", *PAIR, "-o", "net.ken.safetensors", *words, cwd=folder)
    assert done.status == 1
    assert message in done.err
    assert {path.name for path in folder.iterdir()} == {"fine_tuned", "pretrained"}


def test_workers_inject_and_verify(folder):
    assert ken("prune", *PAIR, "-o", "net", cwd=folder).status == 0
    assert ken("inject", "net", "pretrained", "-o", "alone", cwd=folder).status == 0
    with mock.patch.object(own_workers, "dask_is_here", return_value=False):
        done = ken("inject", "net", "pretrained", "-o", "out", "--workers", "1", cwd=folder)
        assert done.status == 0, done.said
        assert "1 processes of a pool" in done.err
        assert done.out == "out: config.json, model.safetensors\n"
        checked = ken("verify", "net", "pretrained", "--workers", "1", "--timeout", "600", cwd=folder)
    assert checked.out.endswith("and it injects into pretrained as promised.\n"), checked.said
    for name in ("config.json", "model.safetensors"):
        assert (folder / "out" / name).read_bytes() == (folder / "alone" / name).read_bytes()
    for words in (["inject", "net", "pretrained", "-o", "none"], ["verify", "net"]):
        told = ken(*words, "--timeout", "3", cwd=folder)
        assert (told.status, told.err) == (1, "ken: --timeout is only for workers: --workers, --scheduler\n")
    assert not (folder / "none").exists()
