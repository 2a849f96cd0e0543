"""Many calls of one function by an executor: in whatever order, tried again if it may help, within a time limit."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from ken.errors import ExecutorError, KenError, in_brief, warn
from ken.subnetwork.executors.engines import Engine, Job

#: How often a call is made at most whose storage fails.
TRIES = 5
#: How often the processes of a pool are made anew at most.
RENEWALS = 5
#: Seconds between two looks at what has ended: at first, and at most.
_SOON, _LATE = 0.005, 0.25


class Asked(NamedTuple):
    """What is done: a function that other processes can import, and what each of its calls is called.

    Attributes:
        function: Of a module. Its arguments, and what it gives, are what JSON can hold.
        what: What one call makes, such as "part".
        total: How many there are in all, as the name of a call says it.
    """

    function: Callable[..., Any]
    what: str
    total: int

    def name(self, number: int) -> str:
        """What a call is called."""
        return f"{self.what} {number} of {self.total}"


@dataclass
class _Call:
    """A call, and all jobs that are to make it."""

    number: int
    arguments: Sequence[Any]
    jobs: list[Job] = field(default_factory=list)
    tries: int = 0
    since: float | None = None


def outcomes(
    engine: Engine, asked: Asked, calls: Mapping[int, Sequence[Any]], *, timeout: float | None = None
) -> Iterator[tuple[int, Any]]:
    """What comes of each call, with its number, in the order in which they end.

    After an error of the storage (`OSError`, what cannot be read behind a URL) a call is made again, and so is one that
    takes longer than the time limit, by another worker; a few times, and it is warned of. The first other error ends
    it: what has not begun is dropped.

    Args:
        engine: Who makes them.
        asked: What is done.
        calls: The arguments of each call by its number.
        timeout: Seconds that a call may take; with it no more are given away than there are workers.

    Raises:
        ExecutorError: Workers are gone, or hang.
        Exception: What a call has raised.
    """
    if timeout is not None and not timeout > 0:
        raise ExecutorError(f"timeout must be more than 0 seconds, got {timeout!r}")
    yield from _Calls(engine, asked, calls, timeout=timeout).outcomes()


class _Calls:
    def __init__(
        self, engine: Engine, asked: Asked, calls: Mapping[int, Sequence[Any]], *, timeout: float | None
    ) -> None:
        self._engine, self._asked, self._timeout = engine, asked, timeout
        self._waiting = [_Call(number, arguments) for number, arguments in calls.items()][::-1]
        self._given: dict[int, _Call] = {}
        self._hanging: list[Job] = []
        self._renewals = 0

    def outcomes(self) -> Iterator[tuple[int, Any]]:
        pause = _SOON
        try:
            while self._waiting or self._given:
                self._give()
                ended = [call for call in self._given.values() if any(job.done() for job in call.jobs)]
                for call in ended:
                    yield from self._outcome(call)
                if ended:
                    pause = _SOON
                    continue
                self._heed_time()
                if reason := self._engine.trouble():
                    raise ExecutorError(reason)
                time.sleep(pause)
                pause = min(2 * pause, _LATE)
        finally:
            for call in self._given.values():
                for job in call.jobs:
                    with suppress(Exception):  # of a scheduler that is gone, or a job that has ended
                        job.cancel()

    def _give(self) -> None:
        """Give away what may be; with a time limit no more than is begun at once."""
        room = len(self._waiting)
        if self._timeout is not None and self._engine.workers is not None:
            self._hanging = [job for job in self._hanging if not job.done()]
            room = self._engine.workers - len(self._given) - len(self._hanging)
        for _ in range(min(room, len(self._waiting))):
            call = self._waiting.pop()
            self._given[call.number] = call
            self._submit(call)

    def _submit(self, call: _Call, elsewhere: Job | None = None) -> None:
        call.tries += 1
        call.since = None
        name = self._asked.name(call.number)
        try:
            job = self._engine.submit(self._asked.function, *call.arguments, name=name, elsewhere=elsewhere)
        except Exception as error:
            if (reason := self._engine.reason(error)) and not self._again():
                raise ExecutorError(reason) from error
            if not reason:
                raise
            return
        call.jobs.append(job)

    def _outcome(self, call: _Call) -> Iterator[tuple[int, Any]]:
        job = next((job for job in call.jobs if job.done()), None)
        if job is None:
            return  # all of them were given to new workers, for the sake of another call
        try:
            result = job.result()
        except Exception as error:
            self._failed(call, job, error)
            return
        except BaseException as error:  # that of concurrent.futures is one; Ctrl-C here is none of the job's
            if not self._engine.reason(error):
                raise
            self._failed(call, job, error)
            return
        del self._given[call.number]
        for other in call.jobs:
            if not other.done():
                other.cancel()
                self._hanging += [other] if other not in self._hanging else []
        yield call.number, result

    def _failed(self, call: _Call, job: Job, error: BaseException) -> None:
        name = self._asked.name(call.number)
        if reason := self._engine.reason(error):
            if not self._again():
                raise ExecutorError(f"{name}: {reason}") from error
            return
        call.jobs.remove(job)
        passing = isinstance(error, OSError) or isinstance(error.__cause__, OSError)
        if passing and (call.jobs or call.tries < TRIES):
            warn(f"{name}: {in_brief(error)}; it is tried again")  # type: ignore[arg-type]
            if not call.jobs:
                self._submit(call)
            return
        if not isinstance(error, KenError | OSError):
            error.add_note(f"in {name}, on a worker")
        else:
            error.add_note(f"in {name}")
        raise error

    def _again(self) -> bool:
        """Whether all that was given away could be given to new workers."""
        if self._renewals == RENEWALS or not self._engine.renewed():
            return False
        self._renewals += 1
        warn(f"a worker is gone, killed or for want of memory; new ones go on ({self._renewals} of {RENEWALS} times)")
        self._hanging = []
        for call in self._given.values():
            call.jobs, call.tries = [], 0
        for call in list(self._given.values()):
            if not call.jobs:
                self._submit(call)
        return True

    def _heed_time(self) -> None:
        if self._timeout is None:
            return
        for call in self._given.values():
            if call.since is None:
                call.since = time.monotonic() if self._engine.begun(call.jobs[-1]) else None
            elif time.monotonic() - call.since > self._timeout:
                self._overdue(call)

    def _overdue(self, call: _Call) -> None:
        job, name, workers = call.jobs[-1], self._asked.name(call.number), self._engine.workers
        late = f"{name} has taken more than {self._timeout:g} s at {self._engine.place(job)}"
        if job not in self._hanging:
            self._hanging.append(job)
        if len(call.jobs) > 1 or (workers is not None and len(self._hanging) >= workers):
            second = len(call.jobs) > 1
            all_hang = ", the second that was given it" if second else f", and no other worker is left of {workers}"
            raise ExecutorError(f"{late}{all_hang}: a worker hangs, or the limit is too short (timeout, --timeout)")
        warn(f"{late}: it is given to another; that worker may have to be ended")
        self._submit(call, elsewhere=job)
