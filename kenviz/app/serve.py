"""serve: the Explorer as an app of its own, by Voilà, for one person at one machine."""

from __future__ import annotations

import importlib.util
import os
import secrets
import signal
import socket
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import ken
from ken.errors import KenError

_NEEDED = 'the app needs Voilà: pip install "kenviz[app]"'


class AppError(KenError):
    """The app cannot be started."""


def serve(
    net: str | Path,
    fine_tuned: str | Path | None = None,
    pretrained: str | Path | None = None,
    *,
    ip: str = "127.0.0.1",
    port: int = 0,
    token: str | None = None,
    browser: bool = True,
    asked: Mapping[str, Any] | None = None,
) -> None:
    """Open the Explorer of a subnetwork's file in the browser, and serve it until interrupted, or ended by SIGTERM.

    asked has what `kenviz.explore` is asked of two models, with k or rule: net is the fine-tuned model then, and the
    next argument the pretrained one.

    Without the fine-tuned model, with pretrained= alone or with neither, only masks can be shown.

    By default it listens at the loopback address, and asks for a token that nobody can guess; token="" asks for none.
    Every page that is opened has a kernel of its own, which ends with it.

    Raises `KenError` if the file or a model cannot be read, and `AppError` if Voilà is missing or the port is taken;
    nothing is served then.
    """
    if importlib.util.find_spec("voila") is None:
        raise AppError(_NEEDED)
    # What is wrong with it is said here, not in a page.
    if asked:
        ken.prune(str(net), fine_tuned and str(fine_tuned), **{"rule": "ken", **asked}, lazy=True)
    else:
        ken.load(net)
    sources = [_absolute(net), *(_absolute(one) for one in (fine_tuned, pretrained) if one is not None)]
    port = _free(ip, port)
    with _ended_by_sigterm(), tempfile.TemporaryDirectory(prefix="ken-view-") as folder:
        notebook = Path(folder) / "explorer.ipynb"
        _write(notebook, sources, asked or {})
        token = secrets.token_urlsafe(24) if token is None else token
        host = f"[{ip}]" if ":" in ip else ip
        ignored = signal.getsignal(signal.SIGINT) is signal.SIG_IGN  # in the background of a script, or under nohup
        how = f"kill {os.getpid()}" if ignored else "Ctrl-C"
        print(
            f"The Explorer is at http://{host}:{port}/{f'?token={token}' if token else ''} ({how} ends it).",
            flush=True,
        )
        _run(notebook, ip, port=port, token=token, browser=browser)


@contextmanager
def _ended_by_sigterm() -> Iterator[None]:
    """A block that SIGTERM ends in order: nothing is left of it. Under nohup that is the only way to end it."""
    if threading.current_thread() is not threading.main_thread():  # signals are not for others
        yield
        return
    before = signal.signal(signal.SIGTERM, _end)
    try:
        yield
    except _EndedError:
        pass
    finally:
        signal.signal(signal.SIGTERM, before or signal.SIG_DFL)


class _EndedError(BaseException):
    """Raised where the process is when it is told to end; no handler of errors is to stop it."""


def _end(signum: int, frame: FrameType | None) -> None:
    raise _EndedError


def _absolute(source: str | Path) -> str:
    """A path as the kernel, which runs in another folder, finds it; a hub id as it is."""
    return str(Path(source).resolve()) if Path(source).exists() else str(source)


def _free(ip: str, port: int) -> int:
    family = socket.AF_INET6 if ":" in ip else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((ip, port))
        except OSError as error:
            raise AppError(f"cannot listen at {ip}, port {port}: {error.strerror}") from error
        return int(probe.getsockname()[1])


def _write(path: Path, sources: list[Any], asked: Mapping[str, Any]) -> None:
    """A notebook with one cell; paths are written as Python writes strings, so that nothing in them is code."""
    import nbformat

    named = (f"{name}={value!r}" for name, value in asked.items())
    arguments = ", ".join([*(repr(str(source)) for source in sources), *named])
    code = f"import kenviz\nkenviz.explore({arguments})"
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(code)])
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    notebook.metadata["title"] = "KEN_viz"
    nbformat.write(notebook, path)


def _run(notebook: Path, ip: str, port: int, token: str, browser: bool) -> None:
    # Where Voilà looks for templates; the kernel inherits it, to no effect.
    share = str(Path(__file__).parent / "share")
    os.environ["JUPYTER_PATH"] = os.pathsep.join(filter(None, [share, os.environ.get("JUPYTER_PATH")]))
    from voila.app import Voila

    Voila.launch_instance(
        [
            str(notebook),
            f"--Voila.ip={ip}",
            f"--port={port}",
            f"--Voila.token={token}",
            "--Voila.port_retries=0",
            "--Voila.log_level=ERROR",
            "--VoilaConfiguration.template=kenviz",
            "--VoilaConfiguration.show_tracebacks=True",
            # Where Notebook 7 is installed, too: what it adds to JupyterLab cannot be loaded there.
            "--VoilaConfiguration.extension_denylist=@jupyter-notebook/lab-extension",
            *(() if browser else ("--no-browser",)),
        ]
    )
