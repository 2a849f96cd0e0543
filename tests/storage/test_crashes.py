"""What is left on the disk when a process that saves is killed, or the disk is full."""

import signal
import subprocess
import sys
import textwrap
import time

import pytest
import torch
from processes import heeding
from safetensors.torch import save_file

import ken

SAVING = """
    import sys, torch, ken
    generator = torch.Generator().manual_seed(0)
    models = [
        {"w": torch.randn(400, 500, generator=generator), "v": torch.randn(900, generator=generator)} for _ in "abc"
    ]
    nets = [ken.prune(model, models[2], 0.5, "random", progress=False) for model in models[:2]]
"""


def python(code, *args, **options):
    code = textwrap.dedent(SAVING) + textwrap.dedent(code)
    return subprocess.Popen([sys.executable, "-c", code, *map(str, args)], text=True, **options)


@pytest.fixture
def models():
    names = {}
    exec(textwrap.dedent(SAVING), names)
    return names


def test_of_fifty_killed_savings_each_leaves_the_old_file_or_the_new_one(tmp_path, models):
    """One process prepares, and makes fifty children that save over and over until they are killed."""
    path = tmp_path / "net.ken.safetensors"
    code = """
        import os, random, signal, threading, time
        from tqdm.auto import tqdm
        tqdm.set_lock(threading.RLock())  # its own is shared with the children, who are killed with it in their hands
        random.seed(0)
        path = sys.argv[1]
        nets[0].save(path, progress=False)
        for number in range(50):
            child = os.fork()
            if child == 0:
                while True:
                    for net in nets[::-1]:
                        net.save(path, progress=False)
            time.sleep(random.uniform(0.0, 0.06))
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            found = ken.verify(path, models[2], progress=False)
            print(found.fine_tuned.fingerprint, flush=True)
    """
    done = python(code, path, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    out, errors = done.communicate(timeout=300)
    assert done.returncode == 0, errors
    known = {net.fine_tuned.fingerprint for net in models["nets"]}
    lines = out.split()
    assert len(lines) == 50
    assert set(lines) <= known
    assert len(set(lines)) == 2, "no child got as far as replacing the file"
    parts = [part for part in tmp_path.iterdir() if part != path]
    assert parts, "no child was killed while it was writing"
    assert all(part.name.startswith(".net.ken.safetensors.") and part.suffix == ".part" for part in parts)


def test_a_full_disk_is_told_and_leaves_the_old_file(tmp_path, models):
    path = models["nets"][0].save(tmp_path / "net.ken.safetensors")
    old = path.read_bytes()
    code = """
        import resource, signal
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), resource.RLIM_INFINITY))
        for save in (
            lambda: nets[1].save(sys.argv[1]),
            lambda: ken.prune(models[1], models[2], 0.5, out=sys.argv[1]),
            lambda: ken.export(nets[1], models[2], sys.argv[1] + "-folder"),
        ):
            try:
                save()
            except OSError as error:
                print(type(error).__name__, error.errno)
    """
    for limit in (1000, len(old) - 5000):
        done = python(code, path, limit, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        out, errors = done.communicate(timeout=120)
        assert done.returncode == 0, errors
        assert out.splitlines() == ["OSError 27"] * 3
        assert path.read_bytes() == old
        assert [part.name for part in tmp_path.iterdir()] == [path.name]


def test_a_real_full_disk_too_where_one_may_be_mounted(tmp_path, models):
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=200k", "tmpfs", disk], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("only root may mount a small disk; the test before this one has the same end")
    try:
        path = disk / "net.ken.safetensors"
        small = ken.prune({"w": torch.ones(9, 9)}, {"w": torch.zeros(9, 9)}, 3)
        small.save(path)
        old = path.read_bytes()
        with pytest.raises(OSError, match="No space left"):
            models["nets"][0].save(path)
        assert path.read_bytes() == old
        assert [part.name for part in disk.iterdir()] == [path.name]
    finally:
        subprocess.run(["umount", disk], check=True)


@pytest.mark.parametrize("command", ["prune", "inject"])
def test_ctrl_c_in_the_middle_leaves_no_half_file(tmp_path, command):
    """The command is interrupted as soon as it has begun to write, with seconds of work before it."""
    generator = torch.Generator().manual_seed(0)
    theirs = {f"{number}": torch.randn(4096, 2048, generator=generator) for number in range(4)}
    save_file(theirs, tmp_path / "theirs.safetensors")
    save_file({name: tensor * 1.01 for name, tensor in theirs.items()}, tmp_path / "ours.safetensors")
    net = tmp_path / "net.ken.safetensors"
    if command == "inject":
        ken.prune(tmp_path / "ours.safetensors", tmp_path / "theirs.safetensors", 0.5, rule="grid", out=net)
        arguments = ["inject", net.name, "theirs.safetensors", "-o", "model"]
    else:
        ken.prune({"w": torch.ones(2, 4)}, {"w": torch.zeros(2, 4)}, 1).save(net)
        arguments = ["prune", "ours.safetensors", "theirs.safetensors", "-k", "0.5", "-o", net.name]
    before = {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    code = "import sys; from ken.cli import main; main()"
    running = heeding(
        [sys.executable, "-c", code, *arguments],
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    while not list(tmp_path.glob(".*.part")):
        assert running.poll() is None, running.communicate()
        time.sleep(0.005)
    running.send_signal(signal.SIGINT)
    _, errors = running.communicate(timeout=60)
    assert running.returncode == 130, errors
    assert "ken: interrupted; nothing was left half done" in errors
    assert {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir()} == before
