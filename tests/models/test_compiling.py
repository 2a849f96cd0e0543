"""The cache of compiled loops, filled by two processes at once."""

import importlib.util
import sys

import numpy as np
import pytest
from numba.core.caching import IndexDataCacheFile

from ken.models.compiling import NamedCacheFile

LOOP = """
from ken.models.compiling import njit

@njit(cache=True)
def total(x):
    s = x[0]
    for v in x[1:]:
        s += v
    return s
"""


@pytest.fixture
def loaded(tmp_path, monkeypatch):
    """Load the module anew, as another process would."""
    path = tmp_path / "loop.py"
    path.write_text(LOOP)

    def load():
        spec = importlib.util.spec_from_file_location("loop", path)
        module = importlib.util.module_from_spec(spec)
        monkeypatch.setitem(sys.modules, "loop", module)
        spec.loader.exec_module(module)
        return module.total

    return load


def test_two_that_begin_with_an_empty_cache_do_not_get_each_others_code(loaded, monkeypatch):
    one, other = loaded(), loaded()
    # Both have looked into the index before either has written it; the first is slow to write its code.
    late = []
    write = IndexDataCacheFile._save_data
    monkeypatch.setattr(IndexDataCacheFile, "_load_index", lambda self: {})
    monkeypatch.setattr(IndexDataCacheFile, "_save_data", lambda self, name, data: late.append((self, name, data)))
    assert one(np.array([1, 2], np.uint64)) == 3
    assert other(np.array([1.5, 2.0])) == 3.5
    monkeypatch.undo()
    for call in reversed(late):
        write(*call)
    third = loaded()
    assert third(np.array([1.5, 2.0])) == 3.5
    assert third(np.array([1, 2], np.uint64)) == 3
    assert third(np.array([3, 4], np.uint8)) == 7


def test_what_was_compiled_is_loaded_again(loaded):
    assert loaded()(np.array([1.5, 2.0])) == 3.5
    again = loaded()
    assert again(np.array([1.5, 2.0])) == 3.5
    assert sum(again.stats.cache_hits.values()) == 1
    assert isinstance(again._cache._cache_file, NamedCacheFile)


def test_every_loop_of_ours_has_such_a_cache():
    from ken.retention import tally_loop
    from ken.rules import fast_density, nearest_unclaimed, prefix_sums, top_density
    from ken.storage import mask_codec, value_codec
    from ken.subnetwork import ulp_distances

    modules = (
        tally_loop,
        fast_density,
        nearest_unclaimed,
        prefix_sums,
        top_density,
        mask_codec,
        value_codec,
        ulp_distances,
    )
    loops = [loop for module in modules for loop in vars(module).values() if hasattr(loop, "py_func")]
    assert len(loops) > 20
    for loop in loops:
        assert isinstance(loop._cache._cache_file, NamedCacheFile), loop
