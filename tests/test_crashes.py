"""What is left on the disk when a process that saves is killed, or the disk is full."""

import subprocess
import sys
import textwrap

import pytest
import torch

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
        import os, random, signal, time
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
