"""Parts that were killed, interrupted, refused by the disk, or made by several processes: the same file in the end."""

import signal
import subprocess
import sys
import textwrap
import time

import pytest
import torch
from part_models import joined, saved, whole
from processes import heeding
from safetensors.torch import save_file

import ken

MAKING = """
    import sys, torch, ken
    plan = ken.parts("fine_tuned", "pretrained", 0.5, "random", parts=3)
"""
RECIPE = {"k": 0.5, "rule": "random"}


def python(code, *args, cwd):
    code = textwrap.dedent(MAKING) + textwrap.dedent(code)
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, args)], cwd=cwd, capture_output=True, text=True, timeout=300
    )


@pytest.fixture
def paths(tmp_path):
    """A tensor that three parts share, and some for each of them."""
    generator = torch.Generator().manual_seed(0)
    base = {f"layer.{number}.weight": torch.randn(60, 500, generator=generator) for number in range(6)}
    base["large.weight"] = torch.randn(2000, 500, generator=generator)
    tuned = {name: tensor + torch.randn(tensor.shape, generator=generator) / 9 for name, tensor in base.items()}
    return saved(tmp_path, tuned, base)


def test_of_thirty_killed_runs_each_leaves_whole_parts_and_the_file_is_the_same(paths, tmp_path):
    """One process opens the models, and makes children that make the parts until they are killed."""
    code = """
        import os, random, signal, threading, time, warnings
        from tqdm.auto import tqdm
        tqdm.set_lock(threading.RLock())  # its own is shared with the children, who are killed with it in their hands
        random.seed(0)
        warnings.simplefilter("error")  # that a part is damaged would be a warning
        plan.run(2, "WARM", progress=False)
        made = 0
        for number in range(30):
            child = os.fork()
            if child == 0:
                for index in random.Random(number).sample((1, 2, 3), 3):
                    plan.run(index, "PARTS", progress=False)
                os._exit(0)
            time.sleep(random.uniform(0.0, 0.12))
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
        for index in (3, 1, 2):
            made += plan.run(index, "PARTS", progress=False).made
        print(made)
    """
    done = python(code, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    folder = tmp_path / "PARTS"
    cut_off = ken.leftovers(folder, minutes=0)
    assert cut_off, "no child was killed while it was writing"
    assert all(leftover.reason.startswith("was being written") for leftover in cut_off)
    assert joined(folder) == whole(tmp_path, paths, RECIPE)
    for leftover in cut_off:
        leftover.remove()
    assert len(list(folder.iterdir())) == 1 + 3


def test_a_full_disk_is_told_leaves_no_part_and_work_goes_on(paths, tmp_path):
    code = """
        import resource, signal
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        for limit in (100, 5000, 200_000):
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
            try:
                plan.run(2, "PARTS", progress=False)
            except OSError as error:
                print(type(error).__name__, error.errno)
    """
    done = python(code, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["OSError 27"] * 3
    assert [path.suffix for path in (tmp_path / "PARTS").iterdir()] == [".json"]
    plan = ken.parts(*paths, **RECIPE, parts=3)
    for index in (3, 2, 1):
        plan.run(index, tmp_path / "PARTS", progress=False)
    assert joined(tmp_path / "PARTS") == whole(tmp_path, paths, RECIPE)


def test_a_join_that_the_disk_refuses_leaves_no_file_and_all_parts(paths, tmp_path):
    code = """
        import resource, signal
        for index in (1, 2, 3):
            plan.run(index, "PARTS", progress=False)
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, resource.RLIM_INFINITY))
        try:
            ken.join("PARTS", "net.ken.safetensors", progress=False)
        except OSError as error:
            print(type(error).__name__, error.errno)
    """
    done = python(code, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, "OSError 27\n"), done.stderr
    assert not list(tmp_path.glob("*net.ken*"))
    assert joined(tmp_path / "PARTS") == whole(tmp_path, paths, RECIPE)


def test_commands_of_several_processes_at_once_make_the_same_file(paths, tmp_path):
    """Two of them make the same part."""
    code = "from ken.cli import main; main()"
    command = [sys.executable, "-c", code, "prune", "fine_tuned", "pretrained", "-k", "0.5", "--rule", "random"]
    running = [
        subprocess.Popen(
            [*command, "--part", f"{index}/2", "-o", "PARTS"], cwd=tmp_path, stdout=subprocess.PIPE, text=True
        )
        for index in (2, 1, 2)
    ]
    said = [process.communicate(timeout=300)[0] for process in running]
    assert [process.returncode for process in running] == [0, 0, 0]
    assert [text.split(":")[0].split(" made")[0].split(" was")[0] for text in said] == [
        f"part {index} of 2" for index in (2, 1, 2)
    ]
    assert joined(tmp_path / "PARTS") == whole(tmp_path, paths, RECIPE)


def test_ctrl_c_in_the_middle_of_a_part_leaves_none_of_it(tmp_path):
    generator = torch.Generator().manual_seed(0)
    base = {f"{number}": torch.randn(4096, 1024, generator=generator) for number in range(4)}
    save_file(base, tmp_path / "base.safetensors")
    save_file({name: tensor * 1.01 for name, tensor in base.items()}, tmp_path / "tuned.safetensors")
    words = ["prune", "tuned.safetensors", "base.safetensors", "-k", "0.5", "--part", "1/1", "-o", "PARTS"]
    running = heeding(
        [sys.executable, "-c", "from ken.cli import main; main()", *words],
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    while not list(tmp_path.glob("PARTS/.part-*.part")):
        assert running.poll() is None, running.communicate()
        time.sleep(0.005)
    running.send_signal(signal.SIGINT)
    _, errors = running.communicate(timeout=60)
    assert running.returncode == 130, errors
    assert "ken: interrupted; nothing was left half done" in errors
    assert [path.suffix for path in (tmp_path / "PARTS").iterdir()] == [".json"]
