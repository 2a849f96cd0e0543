import subprocess
import sys
from types import SimpleNamespace

import pandas as pd
import pytest
import torch
from kenviz_models import small_pair
from typer.testing import CliRunner

import ken.demo
from ken import cli
from ken.errors import DemoError
from ken.training import Evaluation


@pytest.fixture
def demo(monkeypatch):
    """A tiny pair in place of MiniLM; the fine-tuned model is right about 90 of 100 texts, others about fewer."""
    models = small_pair()

    def evaluate(state):
        same = torch.cat([(state[n] == models.fine_tuned[n]).flatten() for n in models.pretrained])
        return Evaluation(correct=round(90 * same.double().mean().item()), n=100)

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
    assert "45.0%" in page
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


def test_the_installed_command_knows_its_version_and_its_commands():
    run = [sys.executable, "-m", "ken.cli"]
    version = subprocess.run([*run, "--version"], capture_output=True, text=True, check=True).stdout
    assert version.strip() == ken.__version__
    usage = subprocess.run([*run, "demo", "--help"], capture_output=True, text=True, check=True).stdout
    assert "--out" in usage
    wrong = subprocess.run([*run, "dmo"], capture_output=True, text=True, check=False)
    assert wrong.returncode == 2
    assert "No such command" in wrong.stderr
