"""`ken report` on checkpoints and subnetwork files."""

import json
import shlex
import sys

import pandas as pd
import pytest
from kenviz_models import small_pair
from report_page import read
from safetensors.torch import save_file
from typer.testing import CliRunner

import ken
import kenviz
from ken.cli import commands as cli


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """pretrained, fine_tuned, two subnetworks, and the table of a sweep."""
    folder, pair = tmp_path_factory.mktemp("report"), small_pair()
    for name, state in pair._asdict().items():
        save_file(state, folder / f"{name}.safetensors")
    ken.prune(*pair, 0.5, out=folder / "net.ken.safetensors")
    ken.prune(*pair, 0.5, "random", out=folder / "other.ken.safetensors")
    arguments = {"evaluate": lambda _: 0.5, "progress": False, "results": folder / "kept.jsonl"}
    ken.sweep(pair, [0.5], ["ken"], **arguments).to_csv(folder / "table.csv", index=False)
    return folder


def run(folder, *args):
    paths = (folder / name for name in ("net.ken.safetensors", "fine_tuned.safetensors", "pretrained.safetensors"))
    return CliRunner().invoke(cli.app, ["report", *map(str, paths), *map(str, args)])


def test_it_writes_what_kenviz_report_writes(folder, tmp_path):
    out = tmp_path / "r.html"
    files = {"results": folder / "table.csv", "compare": folder / "other.ken.safetensors"}
    arguments = {"title": "A 'title'", "metric": "accuracy", "theme": "dark"}
    options = [word for name, value in (files | arguments).items() for word in (f"--{name}", value)]
    done = run(folder, "-o", out, *options, "--tensors", "layer.0.query.weight", "--quantiles", 0.5)
    assert done.exit_code == 0, done.output
    assert f"{out}: {out.stat().st_size:,} bytes" in done.stdout
    pair = ken.Pair(folder / "fine_tuned.safetensors", folder / "pretrained.safetensors")
    net, other = (ken.load(folder / f"{name}.ken.safetensors") for name in ("net", "other"))
    arguments |= {"tensors": ["layer.0.query.weight"], "quantiles": [0.5]}
    results = pd.read_csv(folder / "table.csv")
    page = read(out)
    expected = read(kenviz.report(net, pair, tmp_path / "o.html", results=results, compare=other, **arguments))
    assert page.numbers == expected.numbers
    assert page.scripts["held"] == expected.scripts["held"]
    assert page.captions == expected.captions
    assert page.tables["tensors"] == expected.tables["tensors"]


def test_the_command_in_the_report_makes_it_again(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    pair = ken.Pair(folder / "fine_tuned.safetensors", folder / "pretrained.safetensors")
    options = {"exclude": ["embed*", "layer.[0 ].out*"], "seed": 3}
    net = ken.prune(*pair, 5, "random", **options)
    arguments = {"title": "It's <this>", "sections": ["summary", "provenance"], "quantiles": [0.25, 0.5]}
    first = read(kenviz.report(net, pair, tmp_path / "first.html", **arguments))
    for line in first.pre[1].splitlines():
        words = [str(getattr(pair, word.lower(), word)) for word in shlex.split(line)]
        assert words[0] == "ken"
        done = CliRunner().invoke(cli.app, words[1:])
        assert done.exit_code == 0, done.output
    again = read(tmp_path / "report.html")
    assert again.numbers == first.numbers
    assert again.pre == first.pre
    assert again.text["summary"] == first.text["summary"]


def test_sections_and_files_of_results(folder, tmp_path):
    args = ["-o", tmp_path / "r.html", "--sections", "tensors", "--sections", "results"]
    assert run(folder, *args, "--results", folder / "kept.jsonl").exit_code == 0
    page = read(tmp_path / "r.html")
    assert [attributes["id"] for tag, attributes in page.elements if tag == "h2"] == ["results", "tensors"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (["-o", "{}/none/r.html"], "there is no folder"),
        (["--sections", "nothing"], "got 'nothing'"),
        (["--theme", "blue"], "got 'blue'"),
        (["--tensors", "head.weight"], "got 'head.weight'"),
        (["--results", "{}/net.ken.safetensors"], "is no file of results"),
        (["--results", "{}/none.csv"], "No such file"),
        (["--compare", "{}/table.csv"], "table.csv"),
    ],
)
def test_what_goes_wrong_is_told_in_a_line(folder, change, message, tmp_path, monkeypatch, capsys):
    paths = [str(folder / f"{name}.safetensors") for name in ("net.ken", "fine_tuned", "pretrained")]
    arguments = [*paths, "-o", str(tmp_path / "r.html"), *(word.format(folder) for word in change)]
    monkeypatch.setattr(sys, "argv", ["ken", "report", *arguments])
    with pytest.raises(SystemExit) as left:
        cli.main()
    assert left.value.code == 1
    error = capsys.readouterr().err
    assert message in error
    assert "Traceback" not in error
    assert list(tmp_path.iterdir()) == []


def test_numbers_for_programs_and_thresholds_for_pipelines(folder, tmp_path):
    page, path = tmp_path / "r.html", tmp_path / "r.json"
    (tmp_path / "facts.toml").write_text('licence = "mit"')
    args = ["-o", page, "--json", path, "--facts", tmp_path / "facts.toml", "--sections", "summary"]
    args += ["--results", folder / "table.csv", "--metric", "accuracy"]
    done = run(folder, *args, "--fail-if", "accuracy < 40%", "--fail-if", "metric_loss_points > 1")
    assert (done.exit_code, done.stderr) == (0, "")
    assert f"{path}: {path.stat().st_size:,} bytes, for programs." in done.stdout
    report = json.loads(path.read_text(encoding="utf-8"))
    assert (report["summary"]["metric"], report["schema_version"]) == (0.5, "1.1")
    assert report["model_documentation"]["fields"]["licence"]["value"] == "mit"
    title = ["--title", "Written all the same"]
    done = run(folder, *args, *title, "--fail-if", "accuracy < 60%", "--fail-if", "share_retained > 0.2")
    assert done.exit_code == 3
    assert done.stderr.splitlines() == [
        "ken: accuracy is 0.5, and accuracy < 0.6 was to fail",
        f"ken: share_retained is {report['summary']['share_retained']!r}, and share_retained > 0.2 was to fail",
    ]
    assert json.loads(path.read_text(encoding="utf-8"))["title"] in page.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("change", "message", "written"),
    [
        (["--fail-if", "los > 1"], "there is no number 'los'; there are metric, entries,", []),
        (["--fail-if", "metric < 0.5"], "cannot be checked: metric is missing", ["r.html"]),
        (["--facts", "{}/none.toml", "--json", "r.json"], "No such file", []),
        (["--json", "{}/table.csv"], "holds the table of a sweep, not the data of a report", []),
        (["--json", "{}/net.ken.safetensors", "--force"], "it is the subnetwork", []),
    ],
)
def test_a_threshold_that_cannot_be_checked_is_an_error(
    folder, change, message, written, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    paths = [str(folder / f"{name}.safetensors") for name in ("net.ken", "fine_tuned", "pretrained")]
    options = ["-o", "r.html", "--sections", "summary", *(word.format(folder) for word in change)]
    monkeypatch.setattr(sys, "argv", ["ken", "report", *paths, *options])
    with pytest.raises(SystemExit) as left:
        cli.main()
    assert left.value.code == 1
    assert message in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == written
