"""Child processes that Ctrl-C reaches, wherever the tests run, and of which nothing is left."""

import contextlib
import os
import signal
import subprocess


def heeding(command, **options):
    """A process that heeds SIGINT even if this one does not, as under `nohup make test &`: that would be inherited."""
    return subprocess.Popen(command, preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL), **options)


def ignoring(command, **options):
    """A process that ignores SIGINT, as a shell without job control starts those in the background."""
    return subprocess.Popen(command, preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN), **options)


def end(process):
    """Kill what is left of a process that was started in a session of its own, and of what it has started."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
