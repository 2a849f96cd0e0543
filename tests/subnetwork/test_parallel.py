import os
import threading
from concurrent.futures import FIRST_COMPLETED, CancelledError, ThreadPoolExecutor, wait

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ken.subnetwork import threads as module
from ken.subnetwork.threads import each, threads, workers

# Nothing here waits for a time to pass; a test that would wait for ever ends with an error instead.
LONGEST = 60


@given(st.lists(st.integers(), max_size=50))
def test_results_are_in_the_order_of_the_items(items):
    assert each(lambda item: (item, item + 1), items) == [(item, item + 1) for item in items]
    assert each(lambda item: -item, iter(items)) == [-item for item in items]


@pytest.mark.parametrize("count", [1, 2, 5])
def test_the_order_is_kept_whoever_is_done_first(monkeypatch, count):
    monkeypatch.setattr(module, "threads", lambda: count)
    done = [threading.Event() for _ in range(count)]

    def work(item):
        """The last of the first items ends first."""
        if item < count - 1:
            assert done[item + 1].wait(LONGEST)
        if item < count:
            done[item].set()
        return item

    assert each(work, range(40)) == [*range(40)]


def test_every_item_is_worked_on_once(monkeypatch):
    monkeypatch.setattr(module, "threads", lambda: 8)
    seen = []
    each(seen.append, range(2000))
    assert sorted(seen) == [*range(2000)]


def test_nothing_to_do_is_done():
    assert each(len, []) == []
    assert each(len, iter(())) == []


def test_none_is_a_result_like_any_other():
    assert each(lambda item: None, range(3)) == [None] * 3


@pytest.mark.parametrize("error", [ValueError("bad"), SystemExit(3), KeyboardInterrupt()])
def test_the_first_error_comes_out_and_the_rest_is_dropped(monkeypatch, error):
    monkeypatch.setattr(module, "threads", lambda: 1)
    seen = []

    def work(item):
        seen.append(item)
        if item == 3:
            raise error

    with pytest.raises(type(error)) as caught:
        each(work, range(10))
    assert caught.value is error
    assert seen == [0, 1, 2, 3]


def test_when_all_threads_fail_none_takes_another_item(monkeypatch):
    monkeypatch.setattr(module, "threads", lambda: 4)
    together, seen = threading.Barrier(4), []

    def work(item):
        seen.append(item)
        together.wait(LONGEST)
        raise ValueError(item)

    with pytest.raises(ValueError, match="^[0-3]$"):
        each(work, range(100))
    assert sorted(seen) == [0, 1, 2, 3]


def test_an_error_in_one_thread_ends_the_others(monkeypatch):
    monkeypatch.setattr(module, "threads", lambda: 2)
    futures, submitted, seen = [], threading.Event(), []

    class Pool(ThreadPoolExecutor):
        def submit(self, *args, **options):
            futures.append(super().submit(*args, **options))
            if len(futures) == 2:
                submitted.set()
            return futures[-1]

    monkeypatch.setattr(module, "ThreadPoolExecutor", Pool)

    def work(item):
        seen.append(item)
        if item == 1:
            raise ValueError("bad")
        assert submitted.wait(LONGEST)
        assert wait(futures, LONGEST, FIRST_COMPLETED).done

    with pytest.raises(ValueError, match="bad"):
        each(work, range(1000))
    assert sorted(seen) == [0, 1]


def test_an_error_waits_for_items_that_were_begun(monkeypatch):
    monkeypatch.setattr(module, "threads", lambda: 2)
    failing, ended = threading.Event(), []

    def work(item):
        if item == 1:
            failing.set()
            raise ValueError("bad")
        if item == 0:
            assert failing.wait(LONGEST)
            ended.append(item)

    with pytest.raises(ValueError, match="bad"):
        each(work, range(2))
    assert ended == [0]


def test_an_error_of_the_items_themselves_comes_out():
    def items():
        yield 1
        raise ValueError("no more")

    with pytest.raises(ValueError, match="no more"):
        each(lambda item: item, items())


def test_after_an_error_the_next_call_works():
    with pytest.raises(ZeroDivisionError):
        each(lambda item: 1 // item, [1, 0, 1])
    assert each(lambda item: 1 // item, [1, 1]) == [1, 1]


def test_work_that_has_not_begun_is_dropped_when_the_block_fails(monkeypatch):
    monkeypatch.setattr(module, "threads", lambda: 1)
    begun, dropped, futures = threading.Event(), threading.Event(), []

    def first():
        begun.set()
        return dropped.wait(LONGEST)

    def fail():
        with workers() as pool:
            futures.append(pool.submit(first))
            futures.extend(pool.submit(pytest.fail) for _ in range(3))
            futures[-1].add_done_callback(lambda future: dropped.set())
            assert begun.wait(LONGEST)
            raise ValueError("bad")

    with pytest.raises(ValueError, match="bad"):
        fail()
    assert futures[0].result(0) is True
    for future in futures[1:]:
        with pytest.raises(CancelledError):
            future.result(0)


def test_workers_are_as_many_as_threads(monkeypatch):
    monkeypatch.setattr(module, "threads", lambda: 3)
    together = threading.Barrier(3)
    with workers() as pool:
        places = [future.result() for future in [pool.submit(together.wait, LONGEST) for _ in range(3)]]
    assert sorted(places) == [0, 1, 2]


def test_threads_are_the_processors_of_this_process(monkeypatch):
    assert threads() >= 1
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {3, 5}, raising=False)
    assert threads() == 2
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert threads() == 1
    monkeypatch.delenv("OMP_NUM_THREADS")
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: 7)
    assert threads() == 7
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert threads() == 1
