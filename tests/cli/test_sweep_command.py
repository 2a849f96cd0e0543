"""`ken sweep` on a tiny classifier in folders, with a tokenizer of its own."""

import json
import os
import re
import signal
import subprocess
import sys
import time

import pandas as pd
import pytest
import torch
from processes import heeding
from test_training import WORDS
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from transformers import BertConfig, BertForMaskedLM, BertForSequenceClassification, PreTrainedTokenizerFast
from typer.testing import CliRunner

import ken
from ken.cli import commands as cli
from ken.training import evaluate, fine_tune

NAMES = ["red", "green", "blue"]
TEXTS = [f"{filler} {colour}" for colour in NAMES for filler in ("one", "two two", "three four", "NA", "five, one")]
LABELS = [label for label in range(3) for _ in range(5)]


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """pretrained (as a masked language model, so without a pooler), fine_tuned, and texts.csv."""
    folder = tmp_path_factory.mktemp("sweep")
    config = {
        "vocab_size": len(WORDS),
        "hidden_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": 32,
        "max_position_embeddings": 16,
        "initializer_range": 0.5,
    }
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        base = BertForMaskedLM(BertConfig(**config))
        names = {"id2label": dict(enumerate(NAMES)), "label2id": {name: i for i, name in enumerate(NAMES)}}
        tuned = BertForSequenceClassification(BertConfig(**config, num_labels=3, **names))
        state = base.bert.state_dict()
        tuned.bert.load_state_dict(state, strict=False)
    words = Tokenizer(WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="[UNK]"))
    words.pre_tokenizer = Whitespace()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=words, pad_token="[PAD]", unk_token="[UNK]")
    training = {"epochs": 6, "batch_size": 5, "learning_rate": 1e-2, "progress": False}
    tuned = fine_tune(tuned, tokenizer, TEXTS, labels=LABELS, **training).model
    base.save_pretrained(folder / "pretrained")
    tuned.save_pretrained(folder / "fine_tuned")
    tokenizer.save_pretrained(folder / "fine_tuned")
    table = pd.DataFrame({"text": TEXTS, "label": [NAMES[label] for label in LABELS], "number": LABELS})
    table.to_csv(folder / "texts.csv", index=False)
    return folder, tuned.eval(), tokenizer


def run(folder, *args):
    command = ["sweep", folder / "fine_tuned", folder / "pretrained", "--texts", folder / "texts.csv", *args]
    return CliRunner().invoke(cli.app, [*map(str, command)])


def test_the_table_is_what_prune_inject_and_evaluate_give(folders, tmp_path):
    folder, tuned, tokenizer = folders
    rules = ["--rule", "ken", "--rule", "random"]
    done = run(
        *(folder, "-k", "0.5", "-k", "3", *rules, "--on", "weights", "--on", "update", "--seeds", "2"),
        *("--max-length", "8", "--batch-size", "4", "--out", tmp_path / "table.csv"),
    )
    assert done.exit_code == 0, done.output
    table = pd.read_csv(tmp_path / "table.csv", keep_default_na=False)
    assert list(table.columns[: len(ken.evaluation.sweep.COLUMNS)]) == ken.evaluation.sweep.COLUMNS
    assert len(table) == 2 + 2 * (2 + 2)

    fine_tuned, pretrained = folder / "fine_tuned", folder / "pretrained"
    model = BertForSequenceClassification.from_pretrained(fine_tuned)
    assert table["metric"][0] == float(evaluate(tuned, tokenizer, TEXTS, labels=LABELS, max_length=8))
    for line in table.iloc[2:].itertuples():
        k = int(line.k) if line.k == "3" else float(line.k)
        net = ken.prune(fine_tuned, pretrained, k, rule=line.rule, on=line.on or "weights", seed=max(int(line.seed), 0))
        assert (line.retained, line.entries) == (net.retained, net.entries)
        assert net["bert.pooler.dense.weight"].reason == "no pretrained counterpart"
        model.load_state_dict(ken.inject(net, pretrained))
        assert line.metric == float(evaluate(model, tokenizer, TEXTS, labels=LABELS, max_length=8))
    assert table["metric"].nunique() > 2

    lines = [line for line in done.stdout.splitlines() if line.strip()]
    head = next(i for i, line in enumerate(lines) if "retained" in line)
    assert re.split(r"\s{2,}", lines[head].strip())[-3:] == ["ken", "ken on update", "random"]
    assert [line.split()[0] for line in lines[head + 1 : head + 3]] == ["0.50", "3"]
    assert lines[head + 5] == (
        "Share of 15 texts labelled correctly, ± one standard error. Of random rules the mean of 2 draws."
    )


def test_scopes_are_columns_of_their_own_and_have_a_smallest_share_each(folders, tmp_path):
    folder, _, tokenizer = folders
    words = ("-k", "0.1", "--rule", "update", "--scope", "row", "--scope", "model", "--tolerance", "0.4")
    done = run(folder, *words, "--max-length", "8", "--out", tmp_path / "table.csv")
    assert done.exit_code == 0, done.output
    head = next(line for line in done.stdout.splitlines() if "retained" in line)
    assert re.split(r"\s{2,}", head.strip()) == ["share", "retained", "update", "update, per model"]
    table = pd.read_csv(tmp_path / "table.csv", keep_default_na=False)
    assert table["scope"].tolist() == ["", "", "row", "model"]
    fine_tuned, pretrained = folder / "fine_tuned", folder / "pretrained"
    net = ken.prune(fine_tuned, pretrained, 0.1, "update", scope="model")
    model = BertForSequenceClassification.from_pretrained(fine_tuned)
    model.load_state_dict(ken.inject(net, pretrained))
    assert table["retained"].tolist()[2:] == [net.retained] * 2
    assert table["metric"][3] == float(evaluate(model, tokenizer, TEXTS, labels=LABELS, max_length=8))
    assert done.stdout.count(" of every row is the smallest share") == 1
    assert done.stdout.count(" of all pruned tensors together is the smallest share") == 1


def test_a_second_call_goes_on_with_the_file_and_other_texts_are_refused(folders, tmp_path):
    folder, _, _ = folders
    results = tmp_path / "results.jsonl"
    args = ["--results", results, "--max-length", "8", "--rule", "grid", "--label-column", "number"]
    assert run(folder, *args, "-k", "0.5").exit_code == 0
    first = results.read_bytes()
    assert first.count(b"\n") == 4
    done = run(folder, *args, "-k", "0.5", "-k", "0.9")
    assert done.exit_code == 0, done.output
    assert results.read_bytes().startswith(first)
    assert results.read_bytes().count(b"\n") == 5
    done = run(
        folder, "--results", results, "--rule", "grid", "-k", "0.5"
    )  # the default of --max-length cuts off nothing
    assert done.exit_code == 0, done.output
    done = run(folder, *args[:2], "--max-length", "2", "--rule", "grid")
    assert "has results of another evaluation" in str(done.exception)
    assert results.read_bytes().count(b"\n") == 5


def test_with_a_tolerance_it_finds_the_smallest_share_of_each_rule(folders, tmp_path):
    folder, _, _ = folders
    done = run(
        *(folder, "-k", "0.5", "--rule", "ken", "--rule", "magnitude", "--on", "weights", "--on", "update"),
        *("--tolerance", "0.2", "--max-length", "8", "--results", tmp_path / "r.jsonl"),
    )
    assert done.exit_code == 0, done.output
    said = done.stdout.splitlines()[-3:]
    assert [line.split(":")[0] for line in said] == ["ken", "ken on update", "magnitude"]
    assert all("with 95 % confidence it is between" in line for line in said)
    results = ken.results.read(tmp_path / "r.jsonl")
    assert len(results) == len(results.drop_duplicates(["model", "rule", "on", "k"])) > 12


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (["--text-column", "texts"], "texts.csv has no column 'texts'; it has 'text', 'label', 'number'"),
        (["--label-column", "text"], "label 1 is 'one red'; the model knows '0', 'red', '1', 'green', '2', 'blue'"),
        (["--texts", "{}/fine_tuned/model.safetensors"], "cannot be read as CSV in UTF-8"),
        (["--texts", "{}/empty.csv"], "cannot be read as CSV in UTF-8: No columns"),
        (["--texts", "{}/head.csv"], "head.csv has no texts"),
        (["--texts", "{}/none.csv"], "there is no file of texts"),
        (["--tokenizer", "{}/pretrained"], "name one with --tokenizer"),
        (["--rule", "kenn"], "got 'kenn'"),
        (["-k", "half"], "got 'half'"),
        (["--tolerance", "5"], "from 0 to below 1, got 5; 5% would be 0.05"),
        (["--tolerance", "-0.1"], "from 0 to below 1, got -0.1"),
        (["--tolerance", "some"], "a share of the texts such as 0.01 or 1%, got 'some'"),
        (["--out", "{}/none/table.csv"], "there is no folder"),
        (["--results", "{}/texts.csv"], "texts.csv cannot be written: it is the file of texts"),
        (["--results", "{}/head.csv"], "head.csv is there already and holds text, not a file of results"),
    ],
)
def test_what_goes_wrong_is_told_in_a_line(folders, change, message, monkeypatch, capsys):
    folder, _, _ = folders
    (folder / "empty.csv").touch()
    (folder / "head.csv").write_text("text,label\n")
    before = sorted(path.name for path in folder.iterdir())
    command = ["{}/fine_tuned", "{}/pretrained", "--texts", "{}/texts.csv", *change]
    monkeypatch.setattr(sys, "argv", ["ken", "sweep", *(arg.format(folder) for arg in command)])
    with pytest.raises(SystemExit) as left:
        cli.main()
    error = capsys.readouterr().err
    assert left.value.code == 1
    assert message in error
    assert sorted(path.name for path in folder.iterdir()) == before


def test_a_model_without_a_classifier_is_refused(folders, tmp_path):
    folder, _, _ = folders
    done = CliRunner().invoke(
        cli.app, ["sweep", *[str(folder / "pretrained")] * 2, "--texts", str(folder / "texts.csv")]
    )
    assert "is no fine-tuned text classifier: it has no bert.pooler.dense.bias" in str(done.exception)


def test_after_ctrl_c_it_goes_on_where_it_was(folders, tmp_path):
    folder, _, _ = folders
    results = tmp_path / "results.jsonl"
    args = ["sweep", folder / "fine_tuned", folder / "pretrained", "--texts", folder / "texts.csv", "--max-length", "8"]
    args += ["--results", results, "--rule", "random", "--seeds", "3000", "-k", "0.5"]
    code = "import sys; from ken.cli import main; main()"
    running = heeding(
        [sys.executable, "-c", code, *map(str, args)],
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
    count = kept.count(b"\n")
    done = CliRunner().invoke(cli.app, [*map(str, args[:-3]), str(count), *args[-2:]])
    assert done.exit_code == 0, done.output
    assert results.read_bytes().startswith(kept)
    seeds = [json.loads(line)["seed"] for line in results.read_bytes().splitlines()[3:]]
    assert seeds == list(range(count))
