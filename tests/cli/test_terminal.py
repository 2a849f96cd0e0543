"""Every command on a terminal that shows but ASCII, with names that it cannot show."""

import os
import shutil
import subprocess
import sys

import command_line
import pandas as pd
import pytest
import torch
from safetensors.torch import save_file
from test_sweep_command import LABELS, NAMES, TEXTS, folders

import ken
from ken.cli.terminal import plainly
from ken.errors import printable

__all__ = ["folders"]  # a fixture

#: How people have it: a redirection in a script, a container without a locale.
TERMINALS = {
    "io": {"PYTHONIOENCODING": "ascii"},
    "C": {"LC_ALL": "C", "LANG": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"},
}


def run(*arguments, cwd):
    """The command in this process, on a terminal of ASCII."""
    return command_line.ken(*arguments, encoding="ascii", cwd=cwd)


def run_apart(terminal, *arguments, cwd):
    """The command in a process of its own, since Python itself looks at the environment when it starts."""
    env = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("LC_", "LANG", "PYTHONIO", "PYTHONUTF8"))
    }
    command = [sys.executable, "-m", "ken.cli", *map(str, arguments)]
    done = subprocess.run(command, cwd=cwd, capture_output=True, env={**env, **TERMINALS[terminal]}, check=False)
    assert b"Traceback" not in done.stderr, done.stderr.decode(errors="replace")
    return done


@pytest.fixture
def place(tmp_path):
    """A folder of a name beyond ASCII, with a pair whose tensors have such names, too."""
    place = tmp_path / "caf\u00e9 \u2192 \u6f22"
    place.mkdir()
    generator = torch.Generator().manual_seed(0)
    for file in ("ours", "theirs"):
        state = {name: torch.randn(4, 8, generator=generator) for name in ("poids_\u00e9", "\u6f22\u5b57", "w")}
        save_file(state, place / f"{file}.safetensors")
    return place


def test_every_command_ends_as_it_should(place):
    fine_tuned, pretrained, net = (place / f"{name}.safetensors" for name in ("ours", "theirs", "n\u00e9t.ken"))
    commands = (
        ["prune", fine_tuned, pretrained, "-k", "0.5", "-o", net],
        ["info", net],
        ["info", net, "--json"],
        ["verify", net, pretrained],
        ["plan", fine_tuned, "-k", "0.5", "--tensors"],
        ["report", net, fine_tuned, pretrained, "-o", place / "\u00e9.html"],
        ["--help"],
    )
    for arguments in commands:
        done = run(*arguments, cwd=place)
        assert done.status == 0, done.err
    assert "poids_\\xe9" in run("info", net, cwd=place).out


@pytest.mark.parametrize("terminal", TERMINALS)
def test_so_it_does_in_a_process_of_its_own(place, terminal):
    fine_tuned, pretrained = (place / f"{name}.safetensors" for name in ("ours", "theirs"))
    net = ken.prune(fine_tuned, pretrained, 0.5).save(place / "n\u00e9t.ken")
    done = run_apart(terminal, "info", net, cwd=place)
    assert done.returncode == 0, done.stderr.decode(errors="replace")
    assert b"poids_\\xe9" in done.stdout


def test_errors_are_told_in_a_line(place):
    for arguments in (
        ["info", place / "nix \u00e9"],
        ["prune", place / "ours.safetensors", place / "\u6f22", "-k", "0.5", "-o", "x"],
    ):
        done = run(*arguments, cwd=place)
        assert done.status == 1
        assert done.err.startswith("ken: ")


def test_bytes_that_are_no_text_in_the_name_of_a_file_are_told_in_a_line(place):
    name = os.fsencode(place) + b"/\xff\xfe.ken.safetensors"
    for exists in (False, True):  # safetensors does not open it
        if exists:
            shutil.copy(place / "ours.safetensors", name)
        done = run_apart("io", "info", os.fsdecode(name), cwd=place)
        assert done.returncode == 1
        assert done.stderr.startswith(b"ken: ")


def test_the_table_of_a_sweep_has_its_errors(folders, tmp_path):
    folder, _, _ = folders
    texts, out = tmp_path / "t\u00e9.csv", tmp_path / "\u00e9.csv"
    table = {"text": [f"{text} \u6f22" for text in TEXTS], "label": [NAMES[label] for label in LABELS]}
    pd.DataFrame(table).to_csv(texts, index=False)
    options = ["--texts", texts, "-k", "0.5", "--rule", "ken", "--max-length", "8", "-o", out]
    done = run("sweep", folder / "fine_tuned", folder / "pretrained", *options, cwd=tmp_path)
    assert done.status == 0, done.err
    assert " +/- " in done.out
    assert len(pd.read_csv(out)) == 3


def test_signs_of_ours_have_a_plain_form_and_others_are_spelled_out():
    import codecs

    codecs.register_error("ken", plainly)
    assert "\u00b1\u2212\u2026\u00d7\u201ca\u201d".encode("ascii", "ken") == b'+/--...x"a"'
    assert "\udcff\u6f22".encode("ascii", "ken") == b"\\udcff\\u6f22"
    assert "\udcff\u6f22".encode("utf-8", "ken") == b"\\udcff" + "\u6f22".encode()
    assert printable("\udcff") == "\\udcff"
