"""What is freed stays with a worker while it is at work, and goes back then."""

import os
import subprocess
import sys

import pytest

from ken.subnetwork.executors import freed_memory

# A page that is touched for the first time costs a fault: those of an array that is made again and again are counted.
FAULTS = """
import resource, sys
from ken.subnetwork.executors.freed_memory import freed_memory_kept

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(50):
        bytearray(1 << 20)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

before = faults()
with freed_memory_kept():
    with freed_memory_kept():
        faults()
    kept = faults()
print(before, kept, faults())
"""


@pytest.mark.skipif(not sys.platform.startswith("linux") or freed_memory._allocator() is None, reason="glibc's")
def test_blocks_are_used_again_until_the_work_is_done():
    environment = os.environ | {"MALLOC_TRIM_THRESHOLD_": "65536"}
    run = subprocess.run([sys.executable, "-c", FAULTS], env=environment, capture_output=True, text=True, check=True)
    before, kept, after = map(int, run.stdout.split())
    assert before > 50 * 200 < after
    assert kept < 50 * 20


class Allocator:
    def __init__(self):
        self.calls = []

    def mallopt(self, *words):
        self.calls.append(words)

    def malloc_trim(self, _):
        self.calls.append("trim")


def test_the_last_that_is_done_sets_the_limits_of_the_environment_again(monkeypatch):
    allocator = Allocator()
    monkeypatch.setattr(freed_memory, "_allocator", lambda: allocator)
    monkeypatch.setenv("MALLOC_TRIM_THRESHOLD_", "65536")
    with freed_memory.freed_memory_kept():
        with freed_memory.freed_memory_kept():
            pass
        assert "trim" not in allocator.calls
    assert allocator.calls[-3:] == [(-3, 128 << 10), (-1, 65536), "trim"]


@pytest.mark.parametrize("limit", ["", "as usual"])
def test_without_a_limit_nothing_is_done(monkeypatch, limit):
    allocator = Allocator()
    monkeypatch.setattr(freed_memory, "_allocator", lambda: allocator)
    monkeypatch.setenv("MALLOC_TRIM_THRESHOLD_", limit)
    with freed_memory.freed_memory_kept():
        pass
    monkeypatch.setattr(freed_memory, "_allocator", lambda: None)
    monkeypatch.setenv("MALLOC_TRIM_THRESHOLD_", "1")
    with freed_memory.freed_memory_kept():
        pass
    assert not allocator.calls
