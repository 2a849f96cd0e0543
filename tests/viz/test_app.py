"""The app as a process: what it says, whom it lets in, and how it ends. What it shows is tested in the browser."""

import contextlib
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import nbformat
import pytest
import torch
from processes import end, heeding, ignoring

import ken
from ken.cli.commands import view
from kenviz.app import serve


@pytest.fixture
def files(tmp_path):
    """A subnetwork's file and the files of its models, in a folder whose name wants to be code."""
    from safetensors.torch import save_file

    folder = tmp_path / 'it\'s "here"'
    folder.mkdir()
    pretrained = {"w": torch.arange(16.0).reshape(4, 4)}
    fine_tuned = {"w": pretrained["w"] + torch.randn(4, 4)}
    for name, state in (("pt", pretrained), ("ft", fine_tuned)):
        save_file(state, folder / f"{name}.safetensors")
    net = ken.prune(fine_tuned, pretrained, 2, progress=False).save(folder / "net.ken.safetensors")
    return net, folder / "ft.safetensors", folder / "pt.safetensors"


def status(url):
    """The status of an address, redirections followed; and where it ended."""
    with urllib.request.urlopen(url, timeout=60) as answer:
        return answer.status, answer.geturl(), answer.read().decode()


_OTHER = """
import sys
from pathlib import Path
from ken.cli.commands import view
from kenviz.app import serve
port = serve._free("127.0.0.1", 0)
print(f"http://127.0.0.1:{port}/?token=t", flush=True)
serve._run(Path(sys.argv[1]), "127.0.0.1", port, "t", False)
"""


@contextlib.contextmanager
def served(*arguments, notebook=None, start=heeding, ending=signal.SIGINT):
    """The running app and its address; at the end it is interrupted, as by Ctrl-C, and nothing of it is left.

    With notebook, that notebook is served in place of the Explorer.
    """
    command = [sys.executable, "-m", "ken.cli", "view", *map(str, arguments), "--no-browser"]
    if notebook is not None:
        command = [sys.executable, "-c", _OTHER, str(notebook)]
    process = start(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, start_new_session=True)
    children = []
    try:
        yield process, _address(process)
        children = _children(process)
    finally:
        process.stdout.close()
        process.send_signal(ending)
        try:
            assert process.wait(60) is not None
        finally:
            end(process)
    assert not any(Path(f"/proc/{child}").exists() for child in children)


def _children(process):
    """Process ids of what it has started: kernels."""
    return subprocess.run(["pgrep", "-P", str(process.pid)], capture_output=True, text=True).stdout.split()


def _address(process):
    process.told = line = process.stdout.readline()
    url = re.search(r"http://127\.0\.0\.1:\d+/\S*", line).group()
    deadline = time.monotonic() + 60
    while True:
        try:
            with urllib.request.urlopen(url.split("?")[0] + "voila/static/none", timeout=60):
                pass
        except urllib.error.HTTPError as error:
            error.close()
            return url
        except urllib.error.URLError:
            assert process.poll() is None, "the app has ended"
            assert time.monotonic() < deadline
            time.sleep(0.1)


def test_it_asks_for_its_token_and_ends_with_its_kernels(files):
    with served(*files) as (process, url):
        token = re.search(r"token=(\S+)", url).group(1)
        assert len(token) >= 32
        for wrong in (url.split("?")[0], url + "x"):
            _, end, page = status(wrong)
            assert "/login" in end
            assert "explorer" not in page.lower()
        code, _, page = status(url)
        assert code == 200
        assert "Explorer" in page  # the cell ran: its text form is in the page
        assert not re.findall(r"<(?:link|script)[^>]*(?:href|src)=\"https?:", page)
        assert len(_children(process)) == 1  # a kernel


def test_in_the_background_it_ends_with_its_kernels_when_it_is_told_to(files, tmp_path, monkeypatch):
    """As under nohup: Ctrl-C is ignored, and SIGTERM is what ends it."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    with served(*files, start=ignoring, ending=signal.SIGTERM) as (process, url):
        assert status(url)[0] == 200
        assert len(_children(process)) == 1
        assert list(tmp_path.glob("ken-view-*"))
        process.send_signal(signal.SIGINT)
        assert status(url)[0] == 200
        assert process.told.endswith(f"(kill {process.pid} ends it).\n")
    assert process.returncode == 0
    assert not list(tmp_path.glob("ken-view-*"))


def test_told_to_end_before_it_serves_it_leaves_nothing(files, tmp_path):
    code = """
import os, signal, sys, tempfile
from ken.cli.commands import view
from kenviz.app import serve
tempfile.tempdir = sys.argv[2]
serve._run = lambda *_, **__: os.kill(os.getpid(), signal.SIGTERM)
serve.serve(sys.argv[1], browser=False)
"""
    process = ignoring([sys.executable, "-c", code, str(files[0]), str(tmp_path)], start_new_session=True)
    try:
        assert process.wait(60) == 0
    finally:
        end(process)
    assert not list(tmp_path.glob("ken-view-*"))


def test_no_token_if_told_so(files):
    with served(files[0], "--token", "") as (_, url):
        assert "token" not in url
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(url + "api/kernels/00000000-0000-0000-0000-000000000000", timeout=60)
        refused.value.close()
        assert refused.value.code == 404  # not there; with a token it would be 403, forbidden


def test_what_is_wrong_is_said_before_anything_is_served(files, tmp_path, monkeypatch):
    monkeypatch.setattr(serve, "_run", lambda *_, **__: pytest.fail("served"))
    with pytest.raises(FileNotFoundError, match="no\\.ken"):
        serve.serve(tmp_path / "no.ken.safetensors")
    with pytest.raises(serve.AppError, match=r"cannot listen at 203\.0\.113\.1, port 0"):
        serve.serve(files[0], ip="203.0.113.1")
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(serve.AppError, match=r"pip install \"kenviz\[app\]\""):
        serve.serve(files[0])


def test_the_notebook_says_what_was_given_and_nothing_else(files, monkeypatch):
    seen = {}

    def run(notebook, ip, **arguments):
        seen["code"] = nbformat.read(notebook, as_version=4).cells[0].source
        seen["arguments"] = {"ip": ip, **arguments}

    monkeypatch.setattr(serve, "_run", run)
    serve.serve(files[0], "owner/model", files[2], token="t", browser=False)
    calls = []
    explore = type("kenviz", (), {"explore": staticmethod(lambda *given: calls.append(given))})
    code = seen["code"].replace("import kenviz\n", "")
    exec(code, {"kenviz": explore})
    assert calls == [(str(files[0].resolve()), "owner/model", str(files[2].resolve()))]
    assert seen["arguments"].pop("port") > 0
    assert seen["arguments"] == {"ip": "127.0.0.1", "token": "t", "browser": False}


def test_two_models_are_served_without_pruning_them(files, monkeypatch):
    seen = []
    monkeypatch.setattr(
        serve, "_run", lambda notebook, *_, **__: seen.append(nbformat.read(notebook, as_version=4).cells[0].source)
    )
    view(str(files[1]), [str(files[2])], k="50%", rule="update", token="t", browser=False)
    calls = []
    explore = type("kenviz", (), {"explore": staticmethod(lambda *given, **asked: calls.append((given, asked)))})
    exec(seen[0].replace("import kenviz\n", ""), {"kenviz": explore})
    asked = {"k": 0.5, "rule": "update", "on": "weights", "scope": "row", "seed": 0}
    assert calls == [(tuple(str(path.resolve()) for path in files[1:3]), asked)]
    for arguments, words in (
        ({"k": "0"}, "k must be"),
        ({"rule": "no"}, "rule"),
        ({"on": "update"}, "go with -k or --rule"),
    ):
        with pytest.raises(ken.KenError, match=words):
            view(str(files[1]), [str(files[2])], **arguments)
    with pytest.raises(ken.KenError, match="got 3 places"):
        view(*map(str, files[:1]), [str(files[1]), str(files[2])], k="1")
    assert len(seen) == 1
