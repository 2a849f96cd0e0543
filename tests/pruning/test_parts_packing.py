"""What is in which part: everything once, balanced, quickly, from shapes alone."""

import json
import subprocess
import sys
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from ken.pruning.parts.packing import Packing, Work

sizes = st.builds(
    lambda step, count, width, base_share, splittable: Work(
        "w", step * count, width, step * count * base_share // 4, 2, step=step if splittable else 0
    ),
    st.integers(1, 50),
    st.integers(0, 40),
    st.sampled_from([1, 2, 4]),
    st.integers(0, 4),
    st.booleans(),
)


@given(works=st.lists(sizes, max_size=12), parts=st.integers(1, 30))
def test_every_entry_is_in_exactly_one_part_and_pieces_are_whole_stretches(works, parts):
    packing = Packing(works, parts)
    pieces = [piece for index in range(1, parts + 1) for piece in packing.pieces(index)]
    for place, work in enumerate(works):
        spans = sorted((piece.start, piece.stop) for piece in pieces if piece.place == place)
        assert spans[0][0] == 0
        assert spans[-1][1] == work.end
        assert all(stop == start for (_, stop), (start, _) in pairwise(spans))
        assert all(not work.step or start % work.step == 0 for start, _ in spans)
        assert work.step or len(spans) == 1
    total = sum(work.bytes for work in works)
    assert sum(packing.bytes_in(index) for index in range(1, parts + 1)) == total
    again = Packing(works, parts)
    assert [again.pieces(index) for index in range(1, parts + 1)] == [
        packing.pieces(index) for index in range(1, parts + 1)
    ]


@given(rows=st.integers(200, 3000), small=st.integers(0, 300), parts=st.integers(1, 16))
def test_parts_are_within_a_quarter_of_the_mean_where_there_is_enough_to_share_out(rows, small, parts):
    works = [Work("large", rows * 64, 2, rows * 64, 2, step=64)]
    works += [Work(f"{number}", 640, 2, 640, 2, step=64) for number in range(small)]
    packing = Packing(works, parts)
    loads = [packing.bytes_in(index) for index in range(1, parts + 1)]
    assert max(loads) <= 1.25 * sum(loads) / parts + 64 * 4


def test_small_tensors_share_a_part_and_are_never_split():
    packing = Packing([Work(f"{number}", 1000, 4, 1000, 4, step=100) for number in range(100)], 10)
    assert list(packing.split()) == []
    assert {packing.bytes_in(index) for index in range(1, 11)} == {10 * 8000}


PLAN = """
import json, resource
from ken.pruning.parts.packing import Packing, Work
from ken.subnetwork.extract import stretch_of

def works():
    # 61 layers of 384 experts with three matrices each, some attention, two embeddings: a trillion entries.
    for layer in range(61):
        for expert in range(384):
            for kind in ("gate", "up", "down"):
                yield f"layers.{layer}.experts.{expert}.{kind}", (2048, 7168)
        for kind in range(5):
            yield f"layers.{layer}.attention.{kind}", (7168, 7168)
    # And the experts of one layer fused into a tensor.
    yield "fused", (384 * 2048, 7168)
    for name in ("embed", "head"):
        yield name, (163840, 7168)

before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
tensors = [
    Work(name, rows * n, 2, rows * n, 2, step=stretch_of(n)) for name, (rows, n) in works()
]
entries = sum(work.entries for work in tensors)
packing = Packing(tensors, 4096)
loads = [packing.bytes_in(index) for index in range(1, 4097)]
peak = resource.getrusage(resource.RUSAGE_SELF)
print(json.dumps({
    "entries": entries, "largest": max(loads) * 4096 / sum(loads), "split": len(list(packing.split())),
    "grown": (peak.ru_maxrss - before) >> 10, "cpu": peak.ru_utime,
}))
"""


def test_a_plan_of_a_trillion_entries_takes_little_memory():
    done = subprocess.run([sys.executable, "-c", PLAN], capture_output=True, text=True, check=True)
    told = json.loads(done.stdout)
    assert told["entries"] > 10**12
    assert told["largest"] < 1.1
    assert told["grown"] < 500
