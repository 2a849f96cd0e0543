"""Kernels that begin with everything imported: one process has imported it, and is forked for each kernel.

As a program it is what Jupyter starts as a kernel (`python -S forked_kernel.py ADDRESS -f FILE`): it asks the process
behind the socket ADDRESS for a fork, passes its signals on, and ends with it. What a kernel does is ipykernel's, as
ever; only what libraries load when they are imported and first used, five seconds of a processor, is loaded once.
"""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

#: What makes the libraries load all that they load on first use, and leaves no widget behind.
LOADING = """
import ipykernel.kernelapp, ipywidgets, pandas, pytest, torch
import bokeh.models, bokeh.plotting
import tqdm
import ken, kenviz

tqdm.tqdm.monitor_interval = 0  # else it starts a thread, and a fork is without threads
pretrained = {f"layer.{i}.weight": torch.arange(32.0).reshape(2, 16).sin() for i in range(2)}
fine_tuned = {name: tensor + tensor.cos() / 10 for name, tensor in pretrained.items()}
net = ken.prune(fine_tuned, pretrained, 0.5, progress=False)
explorer = kenviz.explore(net, ken.Pair(fine_tuned, pretrained))
kenviz.views.files.with_still({}, [view.pane for view in explorer.in_sight])  # matplotlib draws that
explorer.close()
assert not ipywidgets.widgets.widget._instances
tqdm.tqdm.monitor_interval = 10
"""

#: Nor may these start theirs.
ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}


@contextlib.contextmanager
def forked_kernels(folder: Path) -> Iterator[None]:
    """Have the kernel `python3` forked in a Jupyter whose JUPYTER_PATH is that folder; in the end, all of them end."""
    address = str(folder / "forks")
    kernel = folder / "kernels" / "python3"
    kernel.mkdir(parents=True)
    argv = [sys.executable, "-S", __file__, address, "-f", "{connection_file}"]
    spec = {"argv": argv, "display_name": "Python 3 (ipykernel)", "language": "python"}
    (kernel / "kernel.json").write_text(json.dumps(spec))
    command, env = [sys.executable, __file__, address], os.environ | ONE_THREAD
    with subprocess.Popen(command, env=env, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            assert server.stdout.readline() == "ready\n"
            yield
        finally:
            server.kill()


def _serve(address: str) -> None:
    """Load, then fork a kernel for whoever asks, for ever."""
    del sys.path[0]  # this file's folder, which is on no kernel's path
    exec(LOADING, {})
    assert threading.active_count() == 1, threading.enumerate()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for those that have ended
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(address)
        server.listen()
        print("ready", flush=True)
        while True:
            asking, _ = server.accept()
            if os.fork() == 0:
                server.close()
                _be_kernel(asking)
            asking.close()


def _be_kernel(asking: socket.socket) -> None:
    """Be the kernel that the other end of the socket asks for."""
    from ipykernel.kernelapp import IPKernelApp

    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.setsid()
    heard = asking.makefile("rw")
    asked = json.loads(heard.readline())
    os.environ.clear()
    os.environ.update(asked["environ"])
    os.chdir(asked["folder"])
    sys.path[:0] = [path for path in asked["environ"].get("PYTHONPATH", "").split(os.pathsep) if path]
    # These ask, when they are imported, whether there is a shell; without, a page that is loaded again finds no widget.
    again = "__import__('ipywidgets').register_comm_target(); __import__('importlib').reload(__import__('kenviz'))"
    sys.argv = ["ipykernel_launcher", *asked["argv"], f"--IPKernelApp.exec_lines={again}"]

    def obey() -> None:
        """Each further line is a signal; the end of them is the end."""
        for line in heard:
            os.kill(os.getpid(), int(line))
        os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=obey, daemon=True).start()
    try:
        IPKernelApp.launch_instance()
    finally:
        os._exit(0)


def _ask(address: str, argv: list[str]) -> None:
    """Be, for Jupyter, the kernel: what signals it sends are passed on, and the one ends with the other."""
    with socket.socket(socket.AF_UNIX) as asking:
        asking.connect(address)
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda number, _: asking.sendall(f"{int(number)}\n".encode()))
        asked = {"environ": dict(os.environ), "folder": str(Path.cwd()), "argv": argv}
        asking.sendall(json.dumps(asked).encode() + b"\n")
        with contextlib.suppress(ConnectionResetError):  # the kernel was killed
            while asking.recv(1):
                pass


if __name__ == "__main__":
    address, *argv = sys.argv[1:]
    _ask(address, argv) if argv else _serve(address)
