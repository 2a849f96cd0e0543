"""Dask's workers: two processes for all of these tests, which are killed, and fail in other ways."""

import re

import faulty
import pandas as pd
import pytest

import ken
from ken.errors import KenWarning, PartsError
from ken.pruning import executors
from ken.subnetwork.executors import groups


@pytest.fixture
def folder(tmp_path):
    """A pair that faults are planted beside, and the bytes of one machine."""
    return faulty.folder(tmp_path)


def one(folder):
    return (folder / "one.ken.safetensors").read_bytes()


def test_the_workers_of_dask_make_the_same_file(folder, dask_client):
    assert faulty.prune(folder, dask_client.get_executor()) == one(folder)
    assert faulty.prune(folder, dask_client, parts=3, timeout=600) == one(folder)


@pytest.mark.filterwarnings("ignore:part .* of 12:ken.errors.KenWarning")
def test_a_worker_of_dask_is_killed_another_raises_storage_fails(folder, dask_client):
    faulty.plant(folder, {2: ("kill", 1), 5: ("storage", 1), 6: ("full", 2), 7: ("storage", 9)})
    assert faulty.prune(folder, dask_client, parts=12) == one(folder)
    faulty.plant(folder, {4: ("raise", 1)})
    with pytest.raises(RuntimeError, match="a mistake in the code of a part") as error:
        faulty.prune(folder, dask_client, parts=12)
    assert any("the same call goes on from there" in note for note in error.value.__notes__)
    assert faulty.prune(folder, dask_client, parts=12) == one(folder)


@pytest.mark.parametrize("linked", [False, True])
def test_the_worker_that_joins_is_killed(folder, dask_client, linked):
    written = folder
    if linked:
        written = folder / "elsewhere"
        written.mkdir()
        (written / "net.ken.safetensors").write_bytes(one(folder))
        (folder / "net.ken.safetensors").symlink_to(written / "net.ken.safetensors")
    faulty.plant(folder, {"join": ("kill", 1)})
    with pytest.warns(KenWarning, match="a worker that was killed, or hangs, while it joined: `ken clean") as said:
        assert faulty.prune(folder, dask_client, parts=3) == one(folder)
    assert not (folder / "faults" / "join").exists()
    (leftover,) = ken.leftovers(written, minutes=0)
    assert str(leftover.path) in str(said[0].message)
    assert leftover.reason.startswith("was being written")
    leftover.remove()
    assert one(folder) == (folder / "net.ken.safetensors").read_bytes()
    assert ken.leftovers(folder, minutes=0) == []


@pytest.mark.parametrize("hangs", [{1: ("hang", 1)}, {"join": ("hang", 1)}], ids=["at a part", "at the join"])
def test_a_worker_that_hangs_is_given_nothing_more(folder, dask_client, hangs):
    assert faulty.prune(folder, dask_client, parts=4) == one(folder)  # workers that begin take longer than the limit
    faulty.plant(folder, hangs)
    with pytest.warns(KenWarning) as said:
        assert faulty.prune(folder, dask_client, parts=3, timeout=4) == one(folder)
    late, *left = [str(warning.message) for warning in said]
    assert re.search("has taken more than .* it is given to another", late)
    assert [".net.ken.safetensors." in text for text in left] == [True] * ("join" in hangs)
    dask_client.restart()


@pytest.mark.parametrize("parts_folder", ["", "PARTS"])
def test_one_of_the_workers_joins_where_all_of_them_write(folder, dask_client, parts_folder, monkeypatch):
    joined, join = [], executors.join
    monkeypatch.setattr(executors, "join", lambda *words, **named: joined.append(words) or join(*words, **named))
    settings = {"parts_folder": folder / parts_folder} if parts_folder else {}
    net = ken.prune(
        *(folder / f"{name}.safetensors" for name in ("fine_tuned", "pretrained")),
        **faulty.RECIPE,
        out=folder / "net.ken.safetensors",
        executor=dask_client,
        progress=False,
        **settings,
    )
    assert net.retained > 0
    assert (folder / "net.ken.safetensors").read_bytes() == one(folder)
    assert len(joined) == bool(parts_folder)


def test_what_the_worker_that_joins_says_comes_here(folder, tmp_path):
    paths = [folder / f"{name}.safetensors" for name in ("fine_tuned", "pretrained")]
    plan = ken.parts(*paths, **faulty.RECIPE, parts=2)
    plan.run(1, tmp_path / "PARTS", progress=False)
    with pytest.raises(PartsError, match="1 of 2 parts are missing"):
        executors.worker_join(str(tmp_path / "PARTS"), str(tmp_path / "net"), plan.digest, False, False)
    plan.run(2, tmp_path / "PARTS", progress=False)
    assert executors.worker_join(str(tmp_path / "PARTS"), str(tmp_path / "net"), plan.digest, False, False) == "[]"
    assert (tmp_path / "net").read_bytes() == one(folder)
    with pytest.warns(KenWarning, match="the models look unrelated"):
        executors._repeat(["the models look unrelated"])


def test_workers_of_dask_verify_and_sweep(folder, dask_client):
    paths = [folder / f"{name}.safetensors" for name in ("fine_tuned", "pretrained")]
    ken.verify(folder / "one.ken.safetensors", paths[1], executor=dask_client, progress=False)
    asked = {"ks": [0.5], "rules": ["ken"], "evaluate": faulty.mean, "progress": False}
    table = ken.sweep(ken.Pair(*paths), **asked, executor=dask_client.get_executor())
    pd.testing.assert_frame_equal(table, ken.sweep(ken.Pair(*paths), **asked))


def test_workers_of_dask_make_tables_and_write_a_model(folder, dask_client, monkeypatch):
    monkeypatch.setattr(groups, "ENTRIES", 60_000)
    pair = ken.Pair(*(folder / f"{name}.safetensors" for name in ("fine_tuned", "pretrained")))
    net = folder / "one.ken.safetensors"
    for make in (ken.retention.table, lambda net, *rest, **words: ken.retention.compare(net, net, *rest, **words)):
        table = make(net, pair, executor=dask_client, timeout=600, progress=False)
        pd.testing.assert_frame_equal(table, make(net, pair, progress=False), check_exact=True)
    ken.export(net, pair.pretrained, folder / "alone", progress=False)
    ken.export(net, pair.pretrained, folder / "together", executor=dask_client.get_executor(), progress=False)
    files = [{path.name: path.read_bytes() for path in (folder / name).iterdir()} for name in ("alone", "together")]
    assert files[0] == files[1]
