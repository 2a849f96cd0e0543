"""`ken ablate`, `ken attribute` and `ken sweep --task` on tiny language models and classifiers in folders."""

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pandas as pd
import pytest
from effects_models import TEXTS, bert, llama, moved
from harness_tasks import beginning_tokenizer, write_tasks
from processes import heeding
from typer.testing import CliRunner

import ken
from ken.cli import commands as cli
from ken.cli.texts import alone
from ken.evaluation.effects.tasks import Task

LONG = [text for text in TEXTS if " " in text]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Language models in lm and lm_base, classifiers in cls and cls_base, texts in two files, and harness tasks."""
    folder = tmp_path_factory.mktemp("effects")
    for name, base in (("lm", llama()), ("cls", bert())):
        moved(base, 0.3).save_pretrained(folder / name)
        base.save_pretrained(folder / f"{name}_base")
        beginning_tokenizer().save_pretrained(folder / name)
    (folder / "texts.txt").write_text("\n\n".join(LONG) + "\n")
    labels = [number % 3 for number in range(len(LONG))]
    pd.DataFrame({"text": LONG, "label": labels}).to_csv(folder / "texts.csv", index=False)
    (folder / "tasks").mkdir()
    write_tasks(folder / "tasks")
    return folder


def run(folder, command, kind, *args):
    done = CliRunner().invoke(cli.app, [command, *map(str, (folder / kind, folder / f"{kind}_base", *args))])
    return done


def told(done):
    assert done.exit_code == 0, (done.output, done.exception)
    return done.stdout


def opened(folder, kind):
    base = (llama if kind == "lm" else bert)()
    return ken.Pair(moved(base, 0.3), base)


def test_the_table_of_an_ablation_is_that_of_python(folder, tmp_path):
    args = ["--texts", folder / "texts.txt", "--task", "causal", "--by", "layer", "--controls", "2", "--top", "2"]
    said = told(run(folder, "ablate", "lm", *args, "-o", tmp_path / "t.csv", "--results", tmp_path / "r.jsonl"))
    pair = opened(folder, "lm")
    task = Task.causal(pair.fine_tuned, beginning_tokenizer(), LONG, batch_size=64)
    table = ken.ablate(pair, evaluate=task.evaluate, by="layer", seeds=range(2), progress=False)
    written = pd.read_csv(tmp_path / "t.csv", keep_default_na=False, na_values=["nan", ""])
    assert written["way"].tolist() == table["way"].tolist()
    for column in ("loss", "loss_difference", "loss_low", "metric", "share"):
        assert np.allclose(written[column], table[column], rtol=1e-5, atol=1e-6, equal_nan=True), column

    lines = said.splitlines()
    of_tuned, of_base = table["loss"][0], table["loss"][1]
    assert lines[0].startswith("Share of next tokens that were held likeliest, mean of 4 texts: fine-tuned ")
    assert lines[1] == (
        f"Loss (cross entropy of the next token) in nats: fine-tuned {of_tuned:.4g}, pretrained {of_base:.4g}."
    )
    assert lines[3].split("   ")[0] == "change of the loss"
    without = table[table["way"] == "without"].set_index("group")
    order = without["loss_difference"].abs().sort_values(ascending=False).index
    assert [line.startswith(group) for line, group in zip(lines[4:6], order, strict=False)] == [True, True]
    assert f"{without.loc[order[0], 'loss_difference']:+.3g} (" in lines[4]
    drawn = table[(table["way"] == "control") & (table["group"] == order[0])]["loss_difference"].mean()
    assert lines[4].endswith(f"{drawn:+.3g}")
    assert "The 2 of 3 groups with the largest effect are shown" in said


def test_it_goes_on_with_its_file_and_refuses_other_texts(folder, tmp_path):
    args = ["--texts", folder / "texts.txt", "--by", "layer", "--results", tmp_path / "r.jsonl"]
    told(run(folder, "ablate", "lm", *args, "--task", "fidelity", "--way", "only"))
    first = (tmp_path / "r.jsonl").read_bytes()
    told(run(folder, "ablate", "lm", *args, "--task", "fidelity"))
    both = (tmp_path / "r.jsonl").read_bytes()
    assert both.startswith(first)
    assert (first.count(b"\n"), both.count(b"\n")) == (6, 9)
    done = run(folder, "ablate", "lm", *args, "--task", "fidelity", "--max-length", "2")
    assert "effects of another evaluation" in str(done.exception)
    done = run(folder, "ablate", "lm", *args, "--task", "causal")
    assert "effects of another evaluation" in str(done.exception)
    assert (tmp_path / "r.jsonl").read_bytes() == both


def test_a_subnetwork_is_taken_apart(folder, tmp_path):
    net = ken.prune(folder / "lm", folder / "lm_base", 0.5, out=tmp_path / "net.ken.safetensors")
    args = ["--texts", folder / "texts.txt", "--task", "causal", "--by", "kind", "-o", tmp_path / "t.csv"]
    said = told(run(folder, "ablate", "lm", *args, "--net", tmp_path / "net.ken.safetensors"))
    pair = opened(folder, "lm")
    task = Task.causal(pair.fine_tuned, beginning_tokenizer(), LONG, batch_size=64)
    pruned = task.evaluate(ken.inject(net, pair.pretrained))
    assert pd.read_csv(tmp_path / "t.csv")["loss"][0] == pytest.approx(pruned.loss, rel=1e-5)
    assert f"in nats: subnetwork {pruned.loss:.4g}, pretrained" in said
    done = run(folder, "ablate", "cls", "--texts", folder / "texts.csv", "--net", tmp_path / "net.ken.safetensors")
    assert "it is not one of this pair" in str(done.exception)


def test_a_classifier_is_asked_for_labels_or_for_none(folder, tmp_path):
    tuned, base = opened(folder, "cls")
    labels = [number % 3 for number in range(len(LONG))]
    for task, made in (
        ("classification", Task.classification(tuned, beginning_tokenizer(), LONG, labels)),
        ("fidelity", Task.fidelity(tuned, beginning_tokenizer(), LONG)),
    ):
        args = ["--texts", folder / "texts.csv", "--task", task, "--by", "layer", "-o", tmp_path / "t.csv"]
        said = told(run(folder, "ablate", "cls", *args))
        # The classifier itself is no part of the pretrained body: fine-tuned throughout.
        wanted = ken.ablate(ken.Pair(tuned, base.bert), evaluate=made.evaluate, by="layer", progress=False)
        table = pd.read_csv(tmp_path / "t.csv")
        for column in ("loss", "metric"):
            assert np.allclose(table[column], wanted[column], atol=1e-5), column
        assert wanted["loss"].nunique() > 4
        assert "Share of 4 texts labelled" in said


def test_the_harness_is_asked(folder, tmp_path):
    args = ["--task", "harness", "--harness-task", "colours", "--include-path", folder / "tasks", "--limit", "6"]
    said = told(run(folder, "ablate", "lm", *args, "--by", "layer", "-o", tmp_path / "t.csv"))
    pair = opened(folder, "lm")
    harness = ken.Harness(beginning_tokenizer(), "colours", include_path=folder / "tasks", limit=6, batch_size=64)
    answers = harness.evaluate(pair.fine_tuned)
    table = pd.read_csv(tmp_path / "t.csv")
    assert table["metric"][0] == float(answers)
    assert table["loss"][0] == pytest.approx(answers.losses.mean(), rel=1e-5)
    assert said.startswith(f"acc of colours on 6 items: fine-tuned {float(answers):.4g} ± ")

    said = told(run(folder, "sweep", "lm", *args, "-k", "0.5", "--rule", "ken", "--metric", "acc_norm"))
    assert "acc_norm of colours on 6 items, ± one standard error." in said
    norm = answers.metrics["colours acc_norm"]
    line = next(line for line in said.splitlines() if line.startswith("fine-tuned model"))
    assert float(line.split()[4]) == pytest.approx(norm, abs=1e-4)
    assert "Loss: minus the log-likelihood of what was wanted, in nats." in said


def test_a_sweep_tells_of_fidelity_and_its_loss(folder, tmp_path):
    args = [
        "--task",
        "fidelity",
        "--texts",
        folder / "texts.txt",
        "-k",
        "0.5",
        "--rule",
        "ken",
        "-o",
        tmp_path / "t.csv",
    ]
    said = told(run(folder, "sweep", "lm", *args, "--tolerance", "0.5"))
    pair = opened(folder, "lm")
    task = Task.fidelity(pair.fine_tuned, beginning_tokenizer(), LONG, batch_size=64)
    pruned = task.evaluate(ken.inject(ken.prune(*pair, 0.5), pair.pretrained))
    table = pd.read_csv(tmp_path / "t.csv")
    assert table["metric"][2] == pytest.approx(float(pruned))
    assert table["loss"][2] == pytest.approx(pruned.loss, rel=1e-5)
    assert f"{pruned.loss:.4g}" in said
    assert "Share of tokens whose likeliest next one is the unpruned model's, mean of 4 texts" in said
    assert "is the smallest share" in said.splitlines()[-1]


def test_an_attribution_is_what_the_report_takes(folder, tmp_path):
    out = tmp_path / "a.safetensors"
    args = ["--texts", folder / "texts.txt", "--task", "causal", "--top", "3"]
    said = told(run(folder, "attribute", "lm", "-o", out, *args))
    pair = opened(folder, "lm")
    task = Task.causal(pair.fine_tuned, beginning_tokenizer(), LONG, batch_size=64)
    wanted, written = ken.attribute(pair, task, progress=False), ken.Attribution.load(out)
    assert written.keys() == wanted.keys()
    assert written.change == pytest.approx(wanted.change, rel=1e-4)
    assert all(np.allclose(written[name], wanted[name], rtol=1e-3, atol=1e-5) for name in wanted)
    largest = wanted.table("place")["attribution"].abs().idxmax()
    assert said.splitlines()[4].startswith(largest)
    assert "The 3 of 19 groups with the largest share are shown" in said

    told(run(folder, "attribute", "lm", "-o", out, *args))  # another attribution may take its place
    net = tmp_path / "net.ken.safetensors"
    ken.prune(folder / "lm", folder / "lm_base", 0.5, out=net)
    args = ["--texts", folder / "texts.txt", "--task", "causal", "--by", "layer", "-o", tmp_path / "t.csv"]
    told(run(folder, "ablate", "lm", *args))
    page = ["-o", tmp_path / "r.html", "--effects", tmp_path / "t.csv", "--attribution", out, "--by", "layer"]
    sections = ["--sections", "summary", "--sections", "effects"]
    told(CliRunner().invoke(cli.app, [*map(str, ["report", net, folder / "lm", folder / "lm_base", *page, *sections])]))
    assert "layer 1" in (tmp_path / "r.html").read_text()


@pytest.mark.parametrize(
    ("command", "kind", "args", "message"),
    [
        ("ablate", "lm", ["--task", "causal"], "--task causal needs --texts"),
        (
            "ablate",
            "lm",
            ["--task", "some"],
            "--task must be one of classification, fidelity, causal, harness, got 'some'",
        ),
        ("ablate", "lm", ["--task", "harness"], "--task harness needs --harness-task"),
        (
            "ablate",
            "lm",
            ["--task", "harness", "--harness-task", "{}/texts.csv", "-o", "{}/texts.csv", "--force"],
            "it is the task",
        ),
        ("ablate", "none", ["--texts", "{}/none.csv"], "there is no file of texts"),
        ("sweep", "none", ["--texts", "{}/texts.csv", "--rule", "some"], "rule must be one of"),
        ("sweep", "none", ["--texts", "{}/texts.csv", "--scope", "some"], "scope must be row, tensor or model"),
        ("sweep", "none", ["--texts", "{}/texts.csv", "-k", "0"], "k must be at least 1"),
        ("ablate", "lm", ["--texts", "{}/texts.txt", "--limit", "3"], "--limit is for --task harness"),
        ("ablate", "lm", ["--texts", "{}/texts.csv"], "is no fine-tuned text classifier: it has no score.weight"),
        (
            "ablate",
            "cls",
            ["--texts", "{}/texts.csv", "--task", "causal"],
            "causal language model: it is a text classif",
        ),
        (
            "ablate",
            "cls",
            ["--texts", "{}/texts.csv", "--by", "half"],
            "--by must be one of tensor, place, layer, kind, h",
        ),
        (
            "ablate",
            "cls",
            ["--texts", "{}/texts.csv", "--way", "with"],
            "--way must be one of without, only, got 'with'",
        ),
        ("ablate", "cls", ["--texts", "{}/texts.csv", "-o", "{}/texts.csv"], "it is the file of texts"),
        (
            "ablate",
            "cls",
            ["--texts", "{}/texts.csv", "-o", "{}/texts.txt"],
            "holds text, not the table of an ablation",
        ),
        ("ablate", "cls", ["--texts", "{}/empty.txt", "--task", "fidelity"], "empty.txt has no texts"),
        (
            "ablate",
            "cls",
            ["--texts", "{}/lm/model.safetensors", "--task", "fidelity"],
            "cannot be read as text in UTF-8",
        ),
        ("ablate", "lm", ["--texts", "{}/short.txt", "--task", "causal"], "at least 2 tokens, but text 0 is 'w4'"),
        ("attribute", "lm", ["-o", "{}/a", "--task", "harness"], "--task harness has no loss with a gradient"),
        ("attribute", "lm", ["-o", "{}/texts.csv", "--texts", "{}/texts.txt"], "holds text, not an attribution"),
        ("sweep", "lm", ["--task", "harness", "--harness-task", "x", "--texts", "y"], "has texts of its own"),
        (
            "sweep",
            "lm",
            ["--task", "harness", "--harness-task", "prose", "--include-path", "{}/tasks", "--tolerance", "1%"],
            "--tolerance needs a metric of which more is better",
        ),
    ],
)
@pytest.mark.filterwarnings("ignore:less of:ken.KenWarning")
def test_what_goes_wrong_is_told_in_a_line(folder, command, kind, args, message, monkeypatch, capsys):
    (folder / "empty.txt").write_text("\n \n")
    (folder / "short.txt").write_text("w4\n")
    before = sorted(path.name for path in folder.iterdir())
    models = [str(folder / kind), str(folder / f"{kind}_base")]
    monkeypatch.setattr(sys, "argv", ["ken", command, *models, *(arg.format(folder) for arg in args)])
    with pytest.raises(SystemExit) as left:
        cli.main()
    assert left.value.code == 1
    assert message in capsys.readouterr().err
    assert sorted(path.name for path in folder.iterdir()) == before


def test_a_text_goes_up_to_the_end_of_its_line(tmp_path):
    """Other separators, which Python's `splitlines` heeds, occur within texts of the web."""
    path = tmp_path / "texts.txt"
    path.write_bytes("a\u2028b\x0cc\r\n\nd\x85".encode())
    assert alone(path, "text") == ["a\u2028b\x0cc", "d\x85"]


def test_after_ctrl_c_it_goes_on_where_it_was(folder, tmp_path):
    results = tmp_path / "r.jsonl"
    args = ["ablate", folder / "lm", folder / "lm_base", "--texts", folder / "texts.txt", "--task", "fidelity"]
    args += ["--by", "tensor", "--results", results, "--controls"]
    code = "import sys; from ken.cli import main; main()"
    running = heeding(
        [sys.executable, "-c", code, *map(str, [*args, 1000])],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "HF_HUB_OFFLINE": "1"},
    )
    while not results.exists() or results.read_bytes().count(b"\n") < 5:
        assert running.poll() is None, running.communicate()
        time.sleep(0.01)
    running.send_signal(signal.SIGINT)
    _, errors = running.communicate(timeout=60)
    assert running.returncode == 130, errors
    assert "ken: interrupted" in errors
    kept = results.read_bytes()
    assert kept.endswith(b"\n")
    told(CliRunner().invoke(cli.app, [*map(str, [*args, 0])]))
    assert results.read_bytes().startswith(kept)


def test_without_intervals_the_summary_says_so(folder, tmp_path):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ken.Harness, "evaluate", lambda harness, model: 0.5)
        said = told(
            run(
                *(folder, "ablate", "lm", "--task", "harness", "--harness-task", "colours"),
                *("--include-path", folder / "tasks", "--by", "layer"),
            )
        )
    assert said.startswith("acc of colours on 8 items: fine-tuned 0.5, pretrained 0.5.\n\nchange of the metric")
    assert "There are no intervals" in said
