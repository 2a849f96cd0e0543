"""Dask's workers: two processes for all of these tests, which are killed, hang, and fail in other ways."""

import faulty
import pandas as pd
import pytest

import ken
from ken.errors import ExecutorError, KenWarning


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


def test_a_part_that_kills_all_its_workers_is_named(folder, dask_client):
    faulty.plant(folder, {2: ("kill", 2)})
    with pytest.raises(ExecutorError, match="part 2 of 3: its workers were killed, again and again") as error:
        faulty.prune(folder, dask_client, parts=3)
    assert any("parts are in" in note for note in error.value.__notes__)
    assert faulty.prune(folder, dask_client, parts=3) == one(folder)


def test_a_worker_of_dask_hangs_and_another_makes_its_part(folder, dask_client):
    faulty.plant(folder, {1: ("hang", 1)})
    try:
        with pytest.warns(KenWarning, match="part 1 of 3 has taken more than 4 s at tcp://.*given to another"):
            assert faulty.prune(folder, dask_client, parts=3, timeout=4) == one(folder)
    finally:
        dask_client.restart()


def test_workers_of_dask_verify_and_sweep(folder, dask_client):
    paths = [folder / f"{name}.safetensors" for name in ("fine_tuned", "pretrained")]
    ken.verify(folder / "one.ken.safetensors", paths[1], executor=dask_client, progress=False)
    asked = {"ks": [0.5], "rules": ["ken"], "evaluate": faulty.mean, "progress": False}
    table = ken.sweep(ken.Pair(*paths), **asked, executor=dask_client.get_executor())
    pd.testing.assert_frame_equal(table, ken.sweep(ken.Pair(*paths), **asked))
