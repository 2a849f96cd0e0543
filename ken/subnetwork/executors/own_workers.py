"""Processes of one's own on this machine, or the scheduler that is named: for the command line."""

from __future__ import annotations

import importlib.util
import logging
import multiprocessing.connection
import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from contextlib import contextmanager, suppress
from typing import Any

from ken.errors import ExecutorError, in_brief

INSTALL = "pip install 'ken-pruning[dask]'"
# Dask's 15 s are less than a worker takes to start on a busy machine: one that was killed would never be back. And it
# looks a hundred times a second at what each worker does, for a page of the dashboard: a tenth of the worker's time.
_SETTINGS = {"distributed.deploy.lost-worker-timeout": "10 minutes", "distributed.worker.profile.interval": "100ms"}


def dask_is_here() -> bool:
    """Whether Dask and its scheduler are installed."""
    return importlib.util.find_spec("distributed") is not None


class RenewingPool(Executor):
    """Processes with a thread each, begun anew (spawned) when one of them has died; `close` ends them, hanging or not.

    Args:
        workers: How many.

    Example:
        >>> with RenewingPool(1) as pool:
        ...     pool.submit(max, 2, 3).result()
        3
    """

    def __init__(self, workers: int) -> None:
        self._max_workers = workers
        self._pool = self._new()

    def submit(self, function: Callable[..., Any], /, *arguments: Any, **named: Any) -> Future[Any]:
        """See `concurrent.futures.Executor.submit`."""
        return self._pool.submit(function, *arguments, **named)

    def renew(self) -> None:
        """End all processes, and begin new ones."""
        self.close()
        self._pool = self._new()

    def close(self) -> None:
        """End all processes at once."""
        for process in list((self._pool._processes or {}).values()):
            process.kill()
        self._pool.shutdown(cancel_futures=True)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """See `concurrent.futures.Executor.shutdown`."""
        self._pool.shutdown(wait, cancel_futures=cancel_futures)

    def _new(self) -> ProcessPoolExecutor:
        return ProcessPoolExecutor(self._max_workers, multiprocessing.get_context("spawn"), initializer=_begin)


def _begin() -> None:
    """A worker has one thread, as there are as many workers as shall be at work; it ends when its parent is gone."""
    from tqdm.auto import tqdm

    os.environ["OMP_NUM_THREADS"] = "1"
    tqdm.set_lock(threading.RLock())  # its own is a semaphore of the system, and stays behind a process that is killed
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        multiprocessing.connection.wait([parent.sentinel])
        os._exit(1)  # killed: nobody would tell this process that there is no more work


@contextmanager
def own_workers(number: int) -> Iterator[tuple[Any, str]]:
    """So many processes on this machine with a thread each, of Dask if that is installed, and what to say of them.

    Raises:
        ExecutorError: The number is none.
    """
    if number < 1:
        raise ExecutorError(f"there must be at least 1 worker, got {number}")
    if not dask_is_here():
        pool = RenewingPool(number)
        try:
            yield pool, f"{number} processes of a pool (with Dask there would be a dashboard: {INSTALL})"
        finally:
            pool.close()
        return
    import dask
    from distributed import Client, LocalCluster

    with (
        dask.config.set(_SETTINGS),
        LocalCluster(
            n_workers=number, threads_per_worker=1, processes=True, dashboard_address=":0", silence_logs=logging.ERROR
        ) as cluster,
        Client(cluster) as client,
    ):
        yield client, f"{number} workers of Dask, to be looked at on {client.dashboard_link}"


@contextmanager
def workers_of(scheduler: str) -> Iterator[tuple[Any, str]]:
    """The workers of a scheduler of Dask that is running, and what to say of them.

    Raises:
        ExecutorError: Dask is not installed, or there is no such scheduler.
    """
    if not dask_is_here():
        raise ExecutorError(f"--scheduler takes Dask, which is not installed: {INSTALL}")
    from distributed import Client

    try:
        client = Client(scheduler, timeout=10, set_as_default=False)
    except (OSError, ValueError) as error:
        raise ExecutorError(
            f"there is no scheduler of Dask at {scheduler} ({in_brief(error)}): `dask scheduler` starts one, and says "
            "its address"
        ) from error
    try:
        yield client, f"{len(client.nthreads())} workers of {scheduler}, to be looked at on {client.dashboard_link}"
    finally:
        with suppress(Exception):  # of a scheduler that is gone
            client.close()
