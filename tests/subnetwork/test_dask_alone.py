"""A client of Dask whose workers are gone: a stand-in for it, and a clock that is set forward."""

import itertools
import warnings
from types import SimpleNamespace

import pytest

from ken.errors import ExecutorError, KenWarning
from ken.subnetwork.executors import calls, engines


class LocalCluster:
    """It has the name of Dask's."""


class Job:
    def done(self):
        return False

    def cancel(self):
        pass


class Client:
    status, dashboard_link = "running", ""

    def __init__(self, cluster, threads):
        self.cluster, self._threads = cluster, threads

    def nthreads(self):
        return self._threads.pop(0) if self._threads else {}

    def submit(self, *arguments, **words):
        return Job()


@pytest.fixture
def clock(monkeypatch):
    """Each look at it is 11 s later than the one before; threads of others have the real one."""
    seconds = itertools.count(11, 11)
    monkeypatch.setattr(engines, "time", SimpleNamespace(monotonic=lambda: next(seconds)))


def said(engine, looks):
    """What it says look by look, warnings included."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", KenWarning)
        return [(engine.trouble()[:42], len(caught)) for _ in range(looks)]


def test_a_local_cluster_without_workers_gets_none_again(clock):
    engine = engines.DaskEngine(Client(LocalCluster(), [{"a": 1}]))
    heard = said(engine, 13)
    assert [number for _, number in heard] == [0] * 5 + [1] * 8
    assert {text for text, _ in heard[:12]} == {""}
    assert heard[12][0] == "Dask's scheduler has had no worker for 121"


def test_workers_that_come_back_are_waited_for(clock):
    engine = engines.DaskEngine(Client(LocalCluster(), [{}] * 8 + [{"a": 1}] + [{}] * 8 + [{"a": 1}] * 9))
    assert {text for text, _ in said(engine, 20)} == {""}


def test_those_of_a_queue_are_waited_for_however_long_it_takes(clock):
    assert said(engines.DaskEngine(Client(None, [])), 500)[-1] == ("", 1)


def test_the_call_ends_with_that_error(clock):
    engine = engines.DaskEngine(Client(LocalCluster(), []))
    asked = calls.Asked(max, "part", 2)
    with (
        pytest.warns(KenWarning, match="no worker"),
        pytest.raises(ExecutorError, match=r"cluster\.scale\(N\) starts new ones"),
    ):
        list(calls.outcomes(engine, asked, {1: (1, 2), 2: (3, 4)}))


def test_the_limit_that_dask_has_itself_is_told():
    class NoValidWorkerError(Exception):
        pass

    reason = engines.DaskEngine(Client(None, [])).reason(NoValidWorkerError("part 1 waited 5 s"))
    assert "no-workers-timeout says: part 1 waited 5 s" in reason
