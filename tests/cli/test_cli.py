import json
import re
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from kenviz_models import small_pair
from processes import heeding
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

import ken.demo
from ken.cli import commands as cli
from ken.cli import options
from ken.errors import DemoError
from ken.training import Evaluation


@pytest.fixture
def demo(monkeypatch):
    """A tiny pair in place of MiniLM; the fine-tuned model is right about 90 of 100 texts, others about fewer."""
    models = small_pair()

    def evaluate(state):
        same = torch.cat([(state[n] == models.fine_tuned[n]).flatten() for n in models.pretrained])
        right = np.arange(100) < round(90 * same.double().mean().item())
        return Evaluation.of(np.zeros(100, int), (~right).astype(int), classes=2)

    pair = SimpleNamespace(
        fine_tuned=models.fine_tuned,
        pretrained=models.pretrained,
        evaluate=evaluate,
        texts=["a"] * 100,
        labels=[0] * 100,
        label_names=["torch", "scipy"],
    )
    monkeypatch.setattr(ken.demo, "pair", lambda **_: pair)
    monkeypatch.setattr(ken.demo, "cached", lambda: True)
    return pair


def test_demo_prints_the_table_and_leaves_table_and_report(demo, tmp_path):
    done = CliRunner().invoke(cli.app, ["demo", "--out", str(tmp_path / "out"), "--seeds", "3"])
    assert done.exit_code == 0, done.output
    assert "Taking the fine-tuned model from the cache." in done.output
    lines = done.output.splitlines()
    head = next(i for i, line in enumerate(lines) if "retained" in line and "random" in line)
    assert lines[head].split() == ["share", "retained", "ken", "random"]
    assert [line.split()[0] for line in lines[head + 1 : head + 4]] == ["0.75", "0.50", "0.25"]
    assert lines[head + 2].split() == ["0.50", "5,424", "45.0", "±", "5.0", "%", "45.0", "±", "5.0", "%"]
    assert lines[head + 4].startswith("fine-tuned model")
    assert "90.0 ± 3.0 %" in lines[head + 4]
    assert "pretrained body" in lines[head + 5]
    table = pd.read_csv(tmp_path / "out" / "results.csv")
    assert len(table) == 2 + 3 * (1 + 3)
    assert table["metric"].between(0, 0.9).all()
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert "45.0\N{NO-BREAK SPACE}%" in page
    assert "Measured by accuracy, the pruned model reaches" in page
    assert "report.html" in done.output
    assert "'random' is the mean of 3 draws" in done.output


def test_demo_says_when_it_is_going_to_take_a_while(demo, tmp_path, monkeypatch):
    monkeypatch.setattr(ken.demo, "cached", lambda: False)
    done = CliRunner().invoke(cli.app, ["demo", "--out", str(tmp_path)])
    assert "'random' is one draw" in done.output
    assert "a few minutes, once" in done.output


def test_an_error_of_ours_is_told_in_a_line_with_its_place(monkeypatch, capsys):
    def fail():
        error = DemoError("the cache cannot be written")
        error.add_note("in tensor 'w'")
        raise error

    monkeypatch.setattr(cli, "app", fail)
    with pytest.raises(SystemExit) as left:
        cli.main()
    assert left.value.code == 1
    assert capsys.readouterr().err == "ken: the cache cannot be written\nin tensor 'w'\n"


def test_a_folder_that_cannot_be_made_is_told_in_a_line(demo, tmp_path, monkeypatch, capsys):
    (tmp_path / "file").touch()
    monkeypatch.setattr(sys, "argv", ["ken", "demo", "--out", str(tmp_path / "file")])
    with pytest.raises(SystemExit) as left:
        cli.main()
    assert left.value.code == 1
    assert capsys.readouterr().err.startswith("ken: [Errno 17] File exists")


def test_an_interrupt_is_told_in_a_line(monkeypatch, capsys):
    monkeypatch.setattr(cli, "app", lambda: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(SystemExit) as left:
        cli.main()
    assert left.value.code == 130
    assert "interrupted" in capsys.readouterr().err


def test_help_names_what_the_registry_has_without_loading_it():
    script = "import sys; from ken.cli import commands; print(sorted({'numpy', 'torch', 'pandas'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout == "[]\n"
    assert list(options.RULES) == ken.rules.names()
    assert options.VALUES == ken.rules.VALUES
    shown = " ".join(CliRunner().invoke(cli.app, ["prune", "--help"], env={"COLUMNS": "400"}).output.split())
    assert ", ".join(options.RULES[:8]) in shown


def test_the_installed_command_knows_its_version_and_its_commands():
    run = [sys.executable, "-m", "ken.cli"]
    version = subprocess.run([*run, "--version"], capture_output=True, text=True, check=True).stdout
    assert version.strip() == ken.__version__
    usage = subprocess.run([*run, "demo", "--help"], capture_output=True, text=True, check=True).stdout
    assert "--out" in usage
    wrong = subprocess.run([*run, "dmo"], capture_output=True, text=True, check=False)
    assert wrong.returncode == 2
    assert "No such command" in wrong.stderr


@pytest.fixture
def files(tmp_path):
    """The small pair as files, and a subnetwork of them."""
    pair = small_pair()
    for name, state in (("pretrained", pair.pretrained), ("fine_tuned", pair.fine_tuned)):
        save_file(state, tmp_path / f"{name}.safetensors")
    return tmp_path, pair


def run(*args):
    return CliRunner().invoke(cli.app, [*map(str, args)])


def test_prune_info_verify_and_inject_work_on_files(files):
    folder, pair = files
    net = folder / "net.ken.safetensors"
    models = folder / "fine_tuned.safetensors", folder / "pretrained.safetensors"
    done = run("prune", *models, "-k", "0.5", "-o", net, "--exclude", "embed.*", "--rule", "random", "--seed", "3")
    assert done.exit_code == 0, done.output
    assert "6 tensors pruned, 2 carried" in done.output
    assert f"{net.stat().st_size:,} bytes" in done.output

    lines = run("info", net).output.splitlines()
    facts = dict(re.split(r"\s{2,}|(?<=fine-tuned)\s|(?<=pretrained)\s", line, maxsplit=1) for line in lines[:11])
    assert facts["rule"] == "random, k = 0.5, on weights, bandwidth normal reference, seed 3, exclude embed.*"
    assert facts["tensors"] == "6 pruned, 2 carried, 0 tied"
    assert facts["pretrained"].startswith("file pretrained.safetensors: 7 tensors, 10,704 entries, fingerprint ")
    assert facts["update"].endswith(" % of the pretrained values (norms), matrices correlate at 0.9952")
    assert lines[12].split() == ["status", "retained", "entries", "bytes", "tensor"]
    assert lines[13].split(maxsplit=4)[-1] == "embed.weight float32 [300, 24] (excluded by 'embed.*')"
    data = json.loads(run("info", "--json", net).output)
    loaded = ken.load(net)
    assert (data["retained"], data["entries"]) == (loaded.retained, loaded.entries)
    assert data["size"] == net.stat().st_size
    assert [tensor["name"] for tensor in data["tensors"]] == list(loaded)
    by_name = {tensor["name"]: tensor for tensor in data["tensors"]}
    assert by_name["layer.0.query.weight"]["result_fingerprint"] == loaded["layer.0.query.weight"].result

    assert run("verify", net).output == f"{net}: all 8 tensors are whole.\n"
    assert "and it injects into pretrained.safetensors as promised" in run("verify", net, models[1]).output
    done = run("inject", net, models[1], "-o", folder / "model")
    assert "model: model.safetensors" in done.output
    merged, wanted = load_file(folder / "model" / "model.safetensors"), ken.inject(loaded, pair.pretrained)
    assert all(torch.equal(merged[name], tensor) for name, tensor in wanted.items())


def test_k_is_a_count_without_a_point_and_a_share_with_one(files):
    folder, _ = files
    models = folder / "fine_tuned.safetensors", folder / "pretrained.safetensors"
    for k, kept, words in (
        ("1", 1, "1 entry of every row"),
        ("3", 3, "3 entries of every row"),
        ("1.0", 1.0, "every entry of every row"),
        ("25%", 0.25, "25 % of every row"),
        ("0.25", 0.25, "25 % of every row"),
    ):
        done = run("prune", *models, "-k", k, "-o", folder / "net", "--raw")
        assert done.exit_code == 0
        assert f"k = {k} was taken for {words}." in done.output
        loaded = ken.load(folder / "net")
        assert loaded.recipe.k == kept
        assert loaded["layer.0.out.weight"].raw


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (
            ["prune", "{}/fine_tuned.safetensors", "{}/pretrained.safetensors", "-k", "half", "-o", "{}/net"],
            "got 'half'",
        ),
        (
            ["prune", "{}/fine_tuned.safetensors", "{}/pretrained.safetensors", "-k", "x%", "-o", "{}/net"],
            "k must be a number such as 100, 0.5 or 50%, got 'x%'",
        ),
        (
            ["prune", "{}/fine_tuned.safetensors", "{}/pretrained.safetensors", "-k", "150%", "-o", "{}/net"],
            "must be above 0 and at most 1, got 1.5",
        ),
        (["plan", "{}/net.ken", "-k", "0.5"], "is a subnetwork, and what it retains is decided already: ken info"),
        (["view", "{}/net.ken", "a", "b", "c"], "two models, FINE_TUNED and PRETRAINED, got 3"),
        (["prune", "{}/none", "{}/fine_tuned.safetensors", "-k", "2", "-o", "{}/net"], "there is no file or folder"),
        (
            ["prune", "{}/fine_tuned.safetensors", "{}/pretrained.safetensors", "-k", "2", "-o", "{}/x/y"],
            "there is no folder",
        ),
        (["info", "{}/pretrained.safetensors"], "not a subnetwork file"),
        (["verify", "{}/none"], "there is no file"),
        (["inject", "{}/net.ken", "{}/fine_tuned.safetensors", "-o", "{}/out"], "not the pretrained tensor"),
        (["inject", "{}/net.ken", "{}/pretrained.safetensors", "-o", "{}"], "is there already"),
    ],
)
def test_what_goes_wrong_on_the_command_line_is_told_in_a_line(files, args, message, monkeypatch, capsys):
    folder, pair = files
    ken.prune(*pair, 2).save(folder / "net.ken")
    before = sorted(path.name for path in folder.iterdir())
    monkeypatch.setattr(sys, "argv", ["ken", *(arg.format(folder) for arg in args)])
    with pytest.raises(SystemExit) as left:
        cli.main()
    error = capsys.readouterr().err
    assert left.value.code == 1
    assert error.startswith("ken: ")
    assert message in error
    assert sorted(path.name for path in folder.iterdir()) == before


def test_names_from_a_file_cannot_steer_the_terminal(tmp_path):
    name = "w\x1b[2J\n\u202e"
    net = ken.prune({name: torch.ones(2, 8)}, {name: torch.zeros(2, 8)}, 2)
    shown = run("info", net.save(tmp_path / "net")).output
    assert "w\\x1b[2J\\n\\u202e float32 [2, 8]" in shown
    assert not set("\x1b\u202e") & set(shown)


SWALLOWED = """
import os, signal
from ken.cli import commands
from ken.errors import FormatError

def app():
    try:
        os.kill(os.getpid(), signal.SIGINT)
    except KeyboardInterrupt:  # as compiled code does
        pass
    raise {error}

commands.app = app
commands.main()
"""


@pytest.mark.parametrize("error", ["FormatError('a cannot be read')", "ValueError('no shape')", "OSError('no')"])
def test_an_interrupt_that_a_library_turns_into_an_error_is_one(error):
    running = heeding(
        [sys.executable, "-c", SWALLOWED.format(error=error)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    _, said = running.communicate(timeout=60)
    assert (running.returncode, said) == (130, "ken: interrupted; nothing was left half done\n")
