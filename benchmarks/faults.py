"""Each fault several times: does the same call end in the file of one machine, and what does it take?

Usage: python benchmarks/faults.py [--times N] [--only NAME] [--page docs/parts.md]

Workers are killed, run out of memory, hang, raise; storage fails and disks are full; client and scheduler are killed.
Where a call ends with an error it is made again, at most ten times. The table goes into the page, between its marks.
"""

import argparse
import contextlib
import logging
import os
import signal
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path

import dask
import faulty
import psutil
from distributed import Client, LocalCluster

import ken
from ken.errors import KenError, KenWarning
from ken.subnetwork.executors.own_workers import RenewingPool

BEGIN, END = "<!-- faults: begin (made by `make faults`, not by hand) -->", "<!-- faults: end -->"
HERE = Path(__file__).parent
CLIENT = f"""
import sys
sys.path.insert(0, {str(HERE)!r})
import faulty
from ken.subnetwork.executors.own_workers import own_workers
if __name__ == "__main__":
    with own_workers(2) as (executor, _):
        faulty.prune(sys.argv[1], executor, parts=6)
"""


@contextlib.contextmanager
def cluster(**options):
    words = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": ":0", "silence_logs": logging.CRITICAL}
    with (
        # As docs/parts.md advises: 15 s after one kill Dask gives up a worker that another one has just killed again.
        dask.config.set({"distributed.deploy.lost-worker-timeout": "10 minutes"}),
        LocalCluster(**(words | options), processes=True) as local,
        Client(local, set_as_default=False) as client,
    ):
        yield client


@contextlib.contextmanager
def small_memory():
    """Workers that are killed beyond 900 MB, as Dask does; they do not stop taking work before that."""
    shares = {f"distributed.worker.memory.{name}": False for name in ("target", "spill", "pause")}
    with dask.config.set(shares), cluster(memory_limit="900MB") as client:
        yield client


@contextlib.contextmanager
def pool():
    processes = RenewingPool(2)
    try:
        yield processes
    finally:
        processes.close()


def until_whole(folder, executor, **options):
    """The same call, until it gives the file of one machine. Gives the errors on the way."""
    errors = []
    while True:
        try:
            same = faulty.prune(folder, executor, parts=6, **options) == (folder / "one.ken.safetensors").read_bytes()
        except (KenError, OSError, RuntimeError) as error:
            if not any("the same call goes on from there" in note for note in error.__notes__):
                raise
            errors.append(f"{type(error).__name__}: {error}".splitlines()[0])
            faulty.heal(folder)
            assert len(errors) < 10, errors
        else:
            assert same, "another file"
            return errors


def planned(faults, restart=False, **options):
    """A scenario: these faults, and the same call until there is the file."""

    def run(folder, executor):
        if isinstance(executor, Client):
            executor.wait_for_workers(2, timeout=120)
        faulty.plant(folder, faults)
        errors = until_whole(folder, executor, **options)
        if restart:
            executor.restart() if isinstance(executor, Client) else executor.renew()
        return errors

    return run


def client_killed(folder, _):
    """SIGKILL for the client when two parts are there; then the same again."""
    command = [sys.executable, "-c", CLIENT, str(folder)]
    faulty.plant(folder, {6: ("hang", 1)})  # so that it is not done before it is killed
    running = subprocess.Popen(command, cwd=folder, start_new_session=True, stderr=subprocess.DEVNULL)
    parts = folder / "net.ken.safetensors.parts"
    while len(list(parts.glob("*.kenpart"))) < 2:
        assert running.poll() is None, "the client has ended"
        time.sleep(0.05)
    workers = psutil.Process(running.pid).children(recursive=True)
    running.send_signal(signal.SIGKILL)
    running.wait()
    _, alive = psutil.wait_procs(workers, timeout=60)
    assert not alive, "workers outlive their client"
    faulty.heal(folder)
    subprocess.run(command, cwd=folder, check=True, stderr=subprocess.DEVNULL)
    assert (folder / "net.ken.safetensors").read_bytes() == (folder / "one.ken.safetensors").read_bytes()
    return ["killed"]


def scheduler_killed(folder, _):
    """SIGKILL for the scheduler in the middle; then another one."""
    errors = []
    for kill in (True, False):
        with tempfile.TemporaryDirectory() as place:
            file = Path(place) / "scheduler.json"
            command = ["-m", "distributed.cli.dask_scheduler", "--scheduler-file", str(file), "--no-dashboard"]
            environment = os.environ | {"PYTHONPATH": f"{HERE}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"}
            words = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "start_new_session": True}
            words["env"] = environment
            running = [subprocess.Popen([sys.executable, *command, "--port", "0"], **words)]
            while not file.exists():
                time.sleep(0.05)
            command = ["-m", "distributed.cli.dask_worker", "--scheduler-file", str(file), "--nthreads", "1"]
            running.append(subprocess.Popen([sys.executable, *command, "--no-dashboard"], **words))
            try:
                with (
                    dask.config.set({"distributed.comm.timeouts.connect": "5s"}),
                    Client(scheduler_file=str(file), set_as_default=False) as client,
                ):
                    if kill:
                        faulty.plant(folder, {4: ("scheduler", 1)})
                        (folder / "scheduler").write_text(str(running[0].pid))
                    errors += [told(folder, client)] if kill else until_whole(folder, client)
            finally:
                for process in running:
                    with contextlib.suppress(ProcessLookupError):
                        os.killpg(process.pid, signal.SIGKILL)
                    process.wait()
    return errors


def told(folder, client):
    try:
        faulty.prune(folder, client, parts=6)
    except KenError as error:
        return f"{type(error).__name__}: {error}"
    raise AssertionError("the scheduler was not killed")


SCENARIOS = {
    "a worker is killed (SIGKILL), Dask": (cluster, planned({2: ("kill", 1)})),
    "a worker is killed (SIGKILL), process pool": (pool, planned({2: ("kill", 1)})),
    "a worker is killed (SIGKILL) while it joins, Dask": (cluster, planned({"join": ("kill", 1)})),
    "a worker exceeds its memory limit, once, Dask": (small_memory, planned({2: ("memory", 1)})),
    "a part exceeds it on every worker, Dask": (small_memory, planned({2: ("memory", 4)})),
    "a worker hangs, Dask": (cluster, planned({2: ("hang", 1)}, restart=True, timeout=10)),
    "a worker hangs while it joins, Dask": (cluster, planned({"join": ("hang", 1)}, restart=True, timeout=10)),
    "a worker hangs, process pool": (pool, planned({2: ("hang", 1)}, restart=True, timeout=30)),
    "a part raises": (cluster, planned({2: ("raise", 1)})),
    "storage fails at 5 % of reads and writes": (cluster, planned(dict.fromkeys(range(1, 7), ("storage", 99)))),
    "the disk is full on a worker": (cluster, planned({2: ("full", 99)})),
    "the client is killed (SIGKILL), and run again": (contextlib.nullcontext, client_killed),
    "the scheduler is killed (SIGKILL), then another": (contextlib.nullcontext, scheduler_killed),
}


def row(name, times):
    """A line of the table: how often the file was the same, after how many errors, and what was left over."""
    kind, scenario = SCENARIOS[name]
    same, errors, retried, left, cleaned = 0, [], 0, 0, 0
    with kind() as executor:
        for _ in range(times):
            with tempfile.TemporaryDirectory() as temporary, warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always", KenWarning)
                folder = faulty.folder(temporary)
                errors += scenario(folder, executor)
                same += 1
                retried += sum(issubclass(warning.category, KenWarning) for warning in caught)
                parts = folder / "net.ken.safetensors.parts"
                for place, every in ((parts, True), (folder, False)):
                    if not place.exists():
                        continue
                    left += sum(1 for path in place.iterdir() if every or path.name.startswith("."))
                    for leftover in ken.leftovers(place, every_part=every, minutes=0):
                        leftover.remove()
                        cleaned += 1
    brief = (error.split(" (")[0].split(": Attempted")[0][:110].replace("|", "/") for error in errors)
    shown = "; ".join(dict.fromkeys(brief)) or "none"
    again = f"{len(errors)} of {times}: {shown}" if errors else "none"
    return f"| {name} | {same} of {times} | {retried} | {again} | {left} files, {cleaned} cleaned |"


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--times", type=int, default=10)
    parser.add_argument("--only", default="")
    parser.add_argument("--page", type=Path)
    options = parser.parse_args()
    lines = [
        "| fault | the file of one machine | warnings | errors, after which the same call went on | left over |",
        "|---|---|---|---|---|",
    ]
    for name in SCENARIOS:
        if options.only in name:
            lines.append(row(name, options.times))
            print(lines[-1], flush=True)
            if options.page:
                text = options.page.read_text(encoding="utf-8")
                before, rest = text.split(BEGIN)
                text = "".join([before, BEGIN, "\n", "\n".join(lines), "\n", END, rest.split(END)[1]])
                options.page.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
