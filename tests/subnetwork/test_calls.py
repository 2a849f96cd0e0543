"""Calls by an executor whose workers do what a test says: nothing here waits for a clock."""

import itertools
import warnings
from concurrent.futures import BrokenExecutor, CancelledError, ThreadPoolExecutor
from types import SimpleNamespace

import pytest

from ken.errors import ExecutorError, KenWarning, ValuesError
from ken.subnetwork.executors import calls
from ken.subnetwork.executors.calls import Asked, outcomes
from ken.subnetwork.executors.engines import Engine, engine_of

DOUBLE = Asked(lambda number: 2 * number, "part", 5)


class Scripted(Engine):
    """For every call of a number what its jobs do, one after the other: a result, an error, or "hangs"."""

    def __init__(self, script, workers=None, renewals=0):
        super().__init__(None)
        self.script = {number: iter(does) for number, does in script.items()}
        self.workers, self.renewals = workers, renewals
        self.submitted, self.at_once, self.jobs = [], 0, []

    def submit(self, function, *arguments, name, elsewhere=None):
        job = ScriptedJob(next(self.script[arguments[0]], None) or function(*arguments))
        self.submitted.append((name, elsewhere is not None))
        self.jobs.append(job)
        self.at_once = max(self.at_once, sum(not job.taken for job in self.jobs))
        return job

    def place(self, job):
        return "worker A"

    def renewed(self):
        self.renewals -= 1
        return self.renewals >= 0

    def reason(self, error):
        return "the pool broke" if isinstance(error, BrokenExecutor) else super().reason(error)


class ScriptedJob:
    def __init__(self, does):
        self.does, self.taken, self.cancelled = does, False, False

    def done(self):
        return self.does != "hangs"

    def result(self):
        self.taken = True
        if isinstance(self.does, BaseException):
            raise self.does
        return self.does

    def cancel(self):
        self.cancelled = True


@pytest.fixture
def clock(monkeypatch):
    """A clock that goes on by a second whenever calls look at it, and sleep that takes no time."""
    seconds = itertools.count()
    monkeypatch.setattr(calls, "time", SimpleNamespace(monotonic=lambda: next(seconds), sleep=lambda _: None))


def made(engine, numbers=range(1, 6), **options):
    return dict(outcomes(engine, DOUBLE, {number: (number,) for number in numbers}, **options))


def test_all_calls_are_made_and_named():
    engine = Scripted({number: [] for number in range(1, 6)})
    assert made(engine) == {number: 2 * number for number in range(1, 6)}
    assert engine.submitted[0] == ("part 1 of 5", False)
    assert len(engine.submitted) == 5


def test_of_an_error_of_the_storage_a_call_is_made_again_and_that_is_said():
    engine = Scripted({1: [OSError(5, "Input/output error")] * 4, 2: []})
    with pytest.warns(KenWarning, match="part 1 of 5: .*Input/output error; it is tried again"):
        assert made(engine, (1, 2)) == {1: 2, 2: 4}
    engine = Scripted({1: [OSError(28, "No space left on device")] * 9})
    with pytest.warns(KenWarning), pytest.raises(OSError, match="No space") as error:
        made(engine, (1,))
    assert len(engine.submitted) == calls.TRIES
    assert error.value.__notes__ == ["in part 1 of 5"]


def test_any_other_error_ends_it_with_its_place_and_what_has_not_begun_is_dropped():
    engine = Scripted({1: ["hangs"], 2: [ValuesError("row 3 is nan")], 3: ["hangs"]})
    with pytest.raises(ValuesError, match="row 3 is nan") as error:
        made(engine, (1, 2, 3))
    assert error.value.__notes__ == ["in part 2 of 5"]
    assert [job.cancelled for job in engine.jobs] == [True, False, True]


def test_a_call_that_hangs_is_given_to_another_worker(clock):
    engine = Scripted({1: ["hangs"], 2: [], 3: [], 4: [], 5: []}, workers=2)
    with pytest.warns(KenWarning, match="part 1 of 5 has taken more than 3 s at worker A: it is given to another"):
        assert made(engine, timeout=3) == {number: 2 * number for number in range(1, 6)}
    assert ("part 1 of 5", True) in engine.submitted
    assert engine.at_once <= 2
    assert engine.jobs[0].cancelled


def test_a_call_that_hangs_twice_is_named(clock):
    engine = Scripted({1: ["hangs", "hangs"], 2: []}, workers=3)
    with pytest.warns(KenWarning), pytest.raises(ExecutorError, match="part 1 of 5 .* the second that was given it"):
        made(engine, (1, 2), timeout=3)


def test_when_all_workers_hang_nothing_is_waited_for(clock):
    engine = Scripted({1: ["hangs"], 2: ["hangs"], 3: []}, workers=2)
    with pytest.warns(KenWarning), pytest.raises(ExecutorError, match="no other worker is left of 2"):
        made(engine, (1, 2, 3), timeout=3)
    assert len(engine.submitted) <= 3


def test_a_pool_that_broke_goes_on_with_new_processes_as_often_as_it_may():
    broke = BrokenExecutor("a child process terminated abruptly")
    engine = Scripted({1: [], 2: [broke], 3: [broke, broke], 4: []}, renewals=9)
    with pytest.warns(KenWarning, match="new ones go on"):
        assert made(engine, (1, 2, 3, 4)) == {1: 2, 2: 4, 3: 6, 4: 8}
    with pytest.warns(KenWarning), pytest.raises(ExecutorError, match="part 2 of 5: the pool broke"):
        made(Scripted({2: [broke] * 99}, renewals=99), (2,))
    with pytest.raises(ExecutorError, match="the pool broke"):
        made(Scripted({2: [broke]}), (2,))


def test_what_the_executor_has_dropped_is_told():
    with pytest.raises(ExecutorError, match="was shut down"):
        made(Scripted({1: [CancelledError()]}), (1,))


def test_nobody_waits_for_workers_that_are_gone(monkeypatch):
    engine = Scripted({1: ["hangs"]})
    monkeypatch.setattr(engine, "trouble", lambda: "the scheduler is gone")
    with pytest.raises(ExecutorError, match="the scheduler is gone"):
        made(engine, (1,))


@pytest.mark.parametrize("timeout", [0, -1, float("nan")])
def test_a_time_limit_is_more_than_nothing(timeout):
    with pytest.raises(ExecutorError, match="timeout must be more than 0"):
        made(Scripted({}), (), timeout=timeout)


def test_threads_are_an_executor_too():
    with ThreadPoolExecutor(2) as pool, warnings.catch_warnings():
        warnings.simplefilter("error")
        assert made(engine_of(pool)) == {number: 2 * number for number in range(1, 6)}


@pytest.mark.parametrize("executor", [3, "tcp://host:8786", ThreadPoolExecutor, object()])
def test_what_is_no_executor_is_refused(executor):
    with pytest.raises(ExecutorError, match="executor must be"):
        engine_of(executor)
