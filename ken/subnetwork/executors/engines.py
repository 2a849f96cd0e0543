"""What is asked of an executor, in one form: `concurrent.futures`, Dask (executor or client), submitit."""

from __future__ import annotations

import sys
import time
import uuid
from collections.abc import Callable
from concurrent.futures import BrokenExecutor, CancelledError, Executor, Future
from typing import Any, Protocol

from ken.errors import ExecutorError, warn

#: Seconds between two looks whether Dask has workers at all, and after how many seconds without one that is said.
_LOOK, _ALONE = 10.0, 40.0
#: Seconds without a worker after which a cluster on this machine has given them up.
_LOST = 120.0


class Job(Protocol):
    """A call that was given away: a future of `concurrent.futures` or of Dask, a job of submitit."""

    def done(self) -> bool:
        """Whether it has ended, in whatever way."""

    def result(self) -> Any:
        """What came of it, or the error."""

    def cancel(self) -> Any:
        """Give it up, if it has not begun."""


class Engine:
    """An executor that has `submit` and gives what has `done` and `result`; that of submitit, and others alike.

    Attributes:
        workers: How many calls it makes at a time, None if that is not known.
        link: A page on which its work can be looked on at; empty if there is none.
        joins: Whether one of its workers, which have all libraries in memory, takes what all of them have made and
            makes one file of it; else that is for whoever asks. Jobs that wait in a queue do not.
    """

    workers: int | None = None
    link = ""
    joins = False

    def __init__(self, executor: Any) -> None:
        self._executor = executor

    def submit(self, function: Callable[..., Any], *arguments: Any, name: str, elsewhere: Job | None = None) -> Job:
        """Give a call away. elsewhere is one of the same that hangs: another worker shall make this one."""
        return self._executor.submit(function, *arguments)

    def begun(self, job: Any) -> bool:
        """Whether a worker is at it, as far as that is known."""
        return str(getattr(job, "state", "RUNNING")).upper().startswith("RUNNING")

    def place(self, job: Any) -> str:
        """Which worker is at it."""
        return "a worker"

    def renewed(self) -> bool:
        """Whether it can go on after it broke."""
        return False

    def trouble(self) -> str:
        """Why nothing more will come of it; empty if something may."""
        return ""

    def reason(self, error: BaseException) -> str:
        """What an error means that says nothing of the work, but that the worker is gone; empty for any other."""
        if isinstance(error, CancelledError):
            return "the executor was shut down, or has dropped the work"
        # submitit has a class of its own for a job whose process has died.
        return f"a worker is gone: {error}" if type(error).__name__ == "UncompletedJobError" else ""


class PoolEngine(Engine):
    """An executor of `concurrent.futures`. What it says of its number of workers has no public name."""

    def __init__(self, executor: Executor) -> None:
        super().__init__(executor)
        number = getattr(executor, "_max_workers", None)
        self.workers = number if isinstance(number, int) and number > 0 else None
        self.joins = callable(getattr(executor, "renew", None))

    def begun(self, job: Future[Any]) -> bool:
        """See `Engine.begun`."""
        return job.running() or job.done()

    def place(self, job: Future[Any]) -> str:
        """See `Engine.place`."""
        return "a process of the pool"

    def renewed(self) -> bool:
        """A pool that knows how makes new processes."""
        renew = getattr(self._executor, "renew", None)
        if renew is None:
            return False
        renew()
        return True

    def reason(self, error: BaseException) -> str:
        """See `Engine.reason`."""
        if isinstance(error, BrokenExecutor):
            return (
                "a process of the pool has died, killed from without or for want of memory, and the pool with it; "
                "give a new pool, or more parts, of which each takes less memory"
            )
        return super().reason(error)


class DaskEngine(Engine):
    """A client of Dask: of tasks a part each, named so that the dashboard shows which."""

    joins = True

    def __init__(self, client: Any) -> None:
        super().__init__(client)
        self.link = str(client.dashboard_link or "")
        self._look_again, self._warned = 0.0, False
        self._alone_since: float | None = None
        #: By worker, the jobs that hang there. The scheduler forgets a job that is given up, the thread goes on.
        self._hanging: dict[str, set[str]] = {}

    @property
    def workers(self) -> int | None:  # type: ignore[override]
        """Threads of all workers now; workers come and go."""
        return sum(self._threads().values()) or None

    def submit(self, function: Callable[..., Any], *arguments: Any, name: str, elsewhere: Job | None = None) -> Job:
        """See `Engine.submit`."""
        options: dict[str, Any] = {}
        if elsewhere is not None or self._hanging:
            others = self._others(elsewhere)
            # Should these be gone by then, any may take it.
            options = {"workers": others, "allow_other_workers": True} if others else {}
        key = f"ken-{name.replace(' ', '-')}-{uuid.uuid4().hex[:12]}"
        return self._executor.submit(function, *arguments, key=key, pure=False, **options)

    def _others(self, elsewhere: Any) -> list[str]:
        """Workers that have a thread which does not hang, without those that a job hangs at (or None)."""
        threads = self._threads()
        hanging = [] if elsewhere is None else self._at(elsewhere)
        for worker in hanging:
            self._hanging.setdefault(worker, set()).add(elsewhere.key)
        busy = {worker for worker, jobs in self._hanging.items() if len(jobs) >= threads.get(worker, 0)}
        return [worker for worker in threads if worker not in busy and worker not in hanging]

    def begun(self, job: Any) -> bool:
        """No more are given away than there are threads."""
        return True

    def place(self, job: Any) -> str:
        """See `Engine.place`."""
        return ", ".join(self._at(job)) or "a worker"

    def trouble(self) -> str:
        """See `Engine.trouble`. A client that has lost its scheduler looks for it for a while, and closes itself."""
        if self._executor.status in ("closed", "closing"):
            return "the client has lost Dask's scheduler, or was closed"
        if (now := time.monotonic()) <= self._look_again:
            return ""
        self._look_again = now + _LOOK
        if self._threads():
            self._alone_since, self._warned = None, False
            return ""
        self._alone_since = now if self._alone_since is None else self._alone_since
        alone = now - self._alone_since
        if alone >= _LOST and self._is_local():
            # Those that are not back in time it closes, which on a busy machine is soon: starting one takes as long.
            return (
                f"Dask's scheduler has had no worker for {alone:.0f} s: a LocalCluster gives up those that have died "
                "and are not back within 15 s (distributed.deploy.lost-worker-timeout); cluster.scale(N) starts new "
                "ones"
            )
        if alone >= _ALONE and not self._warned:
            self._warned = True
            warn("no worker is at Dask's scheduler: one is waited for; after Ctrl-C the same call goes on")
        return ""

    def reason(self, error: BaseException) -> str:
        """See `Engine.reason`."""
        if type(error).__name__ == "KilledWorker":
            return (
                f"its workers were killed, again and again: {error}. Beyond their memory limit they are killed, "
                "too: more parts, of which each takes less memory, or workers with more of it"
            )
        if type(error).__name__ == "NoValidWorkerError":
            return f"Dask has had no worker for it as long as distributed.scheduler.no-workers-timeout says: {error}"
        if isinstance(error, CancelledError) or type(error).__name__ == "FutureCancelledError":
            return self.trouble() or "Dask's scheduler has dropped the work, was restarted, or is gone"
        return ""

    def _is_local(self) -> bool:
        """Whether this process has started the workers; others may come from a queue, hours later."""
        return type(getattr(self._executor, "cluster", None)).__name__ == "LocalCluster"

    def _threads(self) -> dict[str, int]:
        try:
            return dict(self._executor.nthreads())
        except (OSError, RuntimeError):  # of a scheduler that is gone: `trouble` says so when the client is sure
            return {}

    def _at(self, job: Any) -> list[str]:
        try:
            return [worker for worker, keys in self._executor.processing().items() if job.key in keys]
        except (OSError, RuntimeError):
            return []


def engine_of(executor: Any) -> Engine:
    """The engine for an executor, or for a client of Dask.

    Raises:
        ExecutorError: It is nothing that work can be given to.

    Example:
        >>> from concurrent.futures import ThreadPoolExecutor
        >>> with ThreadPoolExecutor(3) as pool:
        ...     engine_of(pool).workers
        3
    """
    distributed = sys.modules.get("distributed")  # whoever has a client has imported it
    if distributed is not None:
        if isinstance(executor, distributed.Client):
            return DaskEngine(executor)
        if isinstance(executor, distributed.cfexecutor.ClientExecutor):
            return DaskEngine(executor._client)
    if isinstance(executor, Executor):
        return PoolEngine(executor)
    if not isinstance(executor, type) and callable(getattr(executor, "submit", None)):
        return Engine(executor)
    raise ExecutorError(
        "executor must be an executor of concurrent.futures, Client.get_executor() of Dask or one of submitit, got "
        f"{type(executor).__name__}"
    )
