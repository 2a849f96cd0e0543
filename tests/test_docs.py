"""What the pages under docs say, done."""

import doctest
import importlib
import re
import shlex
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from effects_models import TEXTS, bert, llama, moved
from harness_tasks import beginning_tokenizer
from safetensors.torch import save_file
from typer.testing import CliRunner

import ken
import kenviz
from ken import rules
from ken.cli import app
from ken.rules import registry
from ken.training import Evaluation, quiet_transformers

DOCS = Path(__file__).parent.parent / "docs"
PINNED = (DOCS.parent / "constraints.txt").read_text(encoding="utf-8")


def test_the_row_by_hand_of_the_page_on_the_rule(capsys):
    text = (DOCS / "rule.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"```python\n(.*?)```", text, re.S)
    names = {}
    exec(compile(example, "rule.md", "exec"), names)
    assert "10.8934" in capsys.readouterr().out
    why, row = names["why"], names["row"]
    written = re.findall(r"^\| (\d) \| ([−.\d]+) \| ([.\d]+) \| (\d+) \| (\d+) \| ([.\d]+) \|$", text, re.M)
    written = np.array([[float(cell.replace("−", "-")) for cell in line] for line in written])
    claims = why.claims()[["at", "density", "level", "entry", "distance"]]
    np.testing.assert_array_equal(written[:, 1:], claims.round(4))
    facts = re.search(r"deviation is ([.\d]+), so the bandwidth is ([.\d]+); the grid points are ([.\d]+) apart", text)
    numbers = [row.std(), why.bandwidth, np.ptp(row) / 7]
    assert [float(fact) for fact in facts.groups()] == [round(number, 4) for number in numbers]
    walk = re.search(r'data-row="(.*?)" data-k="(\d+)"', text)
    assert [float(value) for value in walk[1].split(",")] == row.tolist()
    assert int(walk[2]) == why.k
    assert [why.claim(step).taken for step in (5, 7)] == [(10,), (0, 10)]
    middle = (row >= -0.011) & (row <= 0.022)
    assert (middle.sum(), (middle & why.mask).sum()) == (10, 2)
    densest = ken.rules.retain(row, 8, "density")
    assert np.flatnonzero(densest).tolist() == [1, 2, 4, 5, 8, 11, 13, 14]
    assert np.flatnonzero(densest & why.mask).tolist() == [4]
    assert why.entry(8).as_dict()["density_rank"] == 1


def test_the_rule_of_the_page_on_rules_works(monkeypatch):
    monkeypatch.setattr(registry, "_RULES", dict(registry._RULES))
    text = (DOCS / "rules.md").read_text(encoding="utf-8")
    settings, of_ones_own, scores, why = re.findall(r"```python\n(.*?)```", text, re.S)
    exec(compile(of_ones_own, "rules.md", "exec"), {})
    exec(compile(settings, "rules.md", "exec"), {"ken": ken})
    assert rules.get("breadcrumbs_5").score is not None
    assert rules.retain(np.arange(300.0), 2, "cabs_256", pretrained=np.zeros(300)).nonzero()[0].tolist() == [255, 299]
    live = ken.Pair(torch.nn.Linear(6, 2), torch.nn.Linear(6, 2))
    task = ken.Task([torch.eye(6)], lambda model, batch: model(batch).square().mean(dim=1))
    names = {"ken": ken, "pair": live, "task": task}
    exec(compile(scores, "rules.md", "exec"), names)
    assert names["net"]["weight"].row_mask().sum(1).tolist() == [2, 2]
    assert rules.retain(np.array([3.0, -1.0, 2.0]), 2, "smallest").tolist() == [False, True, True]
    name = "encoder.layer.0.attention.self.query.weight"
    pair = ken.Pair({name: torch.arange(400.0).reshape(10, 40) ** 1.5}, {name: torch.zeros(10, 40)})
    names = {"ken": ken, "pair": pair, "net": ken.prune(*pair, 9)}
    exec(compile(why, "rules.md", "exec"), names)
    assert names["why"].mask.sum() == 9
    retained, sources = text.split("Of equal values")
    tables = [re.findall(r"^\| `(\w+)` \| ", part, re.M) for part in (retained, sources.partition("All of them:")[0])]
    built_in = rules.names()[: rules.names().index("smallest")]
    assert tables[0] == built_in
    assert set(tables[1]) == {*built_in, "first_order"}


def test_the_page_on_training_works():
    text = (DOCS / "training.md").read_text(encoding="utf-8")
    names = {}
    with quiet_transformers():
        for block in re.findall(r"```python\n(.*?)```", text, re.S):
            exec(compile(block, "training.md", "exec"), names)
    assert names["tuned"].history.columns.tolist() == re.findall(
        r"`(\w+)`", text.split("The columns of the history:")[1].split("NaN")[0]
    )
    assert names["pruned"].num_labels == 2
    assert names["before"].n == names["after"].n == 4
    assert set(names["held_out"].index) <= set(names["table"].index)


def test_the_examples_of_the_page_on_sweeping_work(tmp_path, monkeypatch, capsys):
    """The names that the page takes for granted, and an evaluation that counts the entries that are fine-tuned."""
    text = (DOCS / "sweeping.md").read_text(encoding="utf-8")
    examples = re.findall(r"```python\n(.*?)```", text, re.S)
    assert len(examples) == 2
    pair = ken.Pair(torch.nn.Linear(40, 30), torch.nn.Linear(40, 30))

    def count(model, *_):
        right = (model.weight == pair.fine_tuned.weight).flatten().int().numpy()
        return Evaluation.of(np.ones(1200, int), right, 2)

    monkeypatch.setattr(ken.training, "evaluate", count)
    monkeypatch.chdir(tmp_path)
    names = {"pair": pair, **dict.fromkeys(["tokenizer", "texts", "labels"])}
    for example in examples:
        exec(compile(example, "sweeping.md", "exec"), names)
    assert len(names["table"]) == 2 + 3 * (2 + 1 + 3)
    assert abs(names["found"].k - 0.99) < 0.011
    assert "random: 0.9" in capsys.readouterr().out
    assert len(ken.results.read("sweep.jsonl")) > 20


@pytest.mark.parametrize("page", ["statistics", "plan", "report", "report_json", "views", "hosts"])
def test_the_examples_of_a_page_run(page, net, pair, tmp_path, monkeypatch):
    """With the names that the page takes for granted."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(ken.demo, "pair", lambda: pair)
    control = ken.prune(*pair, 0.5, "random", progress=False)
    names = {"ken": ken, "kenviz": kenviz, "pair": pair, "net": net, "control": control, "other": control}
    names |= {"tensor": "layer.1.query.weight", "table": pd.DataFrame({"accuracy": [0.5]})}
    examples = re.findall(r"```python\n(.*?)```", (DOCS / f"{page}.md").read_text(encoding="utf-8"), re.S)
    assert examples
    for example in examples:
        exec(compile(example, f"{page}.md", "exec"), names)


def test_the_page_on_parts_does_what_it_says(pair, tmp_path, monkeypatch):
    """Its Python, its commands, and the command that the array, the job and xargs give to each process."""
    monkeypatch.chdir(tmp_path)
    for model, folder in ((pair.fine_tuned, "FINE_TUNED"), (pair.pretrained, "PRETRAINED")):
        Path(folder).mkdir()
        save_file({name: tensor.contiguous() for name, tensor in model.items()}, f"{folder}/model.safetensors")
    text = (DOCS / "parts.md").read_text(encoding="utf-8")
    example, *others = re.findall(r"```python\n(.*?)```", text, re.S)
    exec(compile(example, "parts.md", "exec"), {"ken": ken})
    for other in others:
        compile(other, "parts.md", "exec")
    assert Path("net.ken.safetensors").read_bytes()
    part = "ken prune FINE_TUNED PRETRAINED -k 0.5 --part"
    for number in ("7", "$SLURM_ARRAY_TASK_ID", "$((JOB_COMPLETION_INDEX + 1))", "{}"):
        assert f"{part} {number}/64 -o PARTS" in text
    for command in re.findall(r"```sh\n(.*?)```", text, re.S)[0].splitlines():
        words = [word.replace("64", "2") for word in shlex.split(command, comments=True)[1:]]
        for index in ("1/2", "2/2") if "--part" in words else ("",):
            done = CliRunner().invoke(app, [index if word == "7/2" else word for word in words])
            assert done.exit_code == (1 if words[0] == "join" else 0), done.output
        if words[0] == "join":  # the parts of the Python example are there, too
            assert "parts of 2 plans" in str(done.exception)


def test_the_calls_of_explore_within_the_text_run(net, pair, tmp_path, monkeypatch):
    """The fine-tuned model comes before the pretrained one."""
    monkeypatch.chdir(tmp_path)
    net.save("net.ken.safetensors")
    for model, folder in ((pair.fine_tuned, "FINE_TUNED"), (pair.pretrained, "PRETRAINED")):
        Path(folder).mkdir()
        save_file({name: tensor.contiguous() for name, tensor in model.items()}, f"{folder}/model.safetensors")
    names = {"kenviz": kenviz, "net": net, "other": net, "pair": pair}
    names |= {"FINE_TUNED": "FINE_TUNED", "PRETRAINED": "PRETRAINED"}
    pages = [page.read_text(encoding="utf-8") for page in (*DOCS.glob("*.md"), DOCS.parent / "README.md")]
    calls = {call for page in pages for call in re.findall(r"`(kenviz\.explore\([^`\n]+\))`", page) if "…" not in call}
    assert any("FINE_TUNED" in call for call in calls)
    for call in sorted(calls):
        assert repr(eval(call, names)).startswith("Explorer(")


def write_capitals():
    """The task of the page on effects, as it has it."""
    text = (DOCS / "effects.md").read_text(encoding="utf-8")
    Path("tasks").mkdir()
    for language, name in (("yaml", "capitals.yaml"), ("json", "capitals.jsonl")):
        (content,) = re.findall(rf"```{language}\n(.*?)```", text, re.S)
        Path("tasks", name).write_text(content.replace("test_split:", "  cache_dir: cache\ntest_split:"))


@pytest.mark.parametrize("page", ["effects", "sweeping"])
def test_the_commands_of_a_page_run(page, tmp_path, monkeypatch):
    """On tiny models, and texts of a few words."""
    monkeypatch.chdir(tmp_path)
    for base, names in ((bert(), ("FINE_TUNED", "PRETRAINED")), (llama(), ("TUNED_LM", "BASE_LM"))):
        for model, name in ((moved(base), names[0]), (base, names[1])):
            model.save_pretrained(name)
        beginning_tokenizer().save_pretrained(names[0])
    texts = [text for text in TEXTS if " " in text]
    Path("texts.txt").write_text("\n".join(texts))
    pd.DataFrame({"text": texts, "label": [0, 1, 2, 0]}).to_csv("held_out.csv", index=False)
    write_capitals()
    blocks = re.findall(r"```sh\n(.*?)```", (DOCS / f"{page}.md").read_text(encoding="utf-8"), re.S)
    lines = "".join(blocks).replace("\\\n", " ").splitlines()
    assert len(lines) >= 4
    for line in lines:
        program, *arguments = shlex.split(line)
        assert program == "ken"
        done = CliRunner().invoke(app, arguments)
        assert done.exit_code == 0, (line, done.output, done.exception)


def test_the_page_on_effects_works(tmp_path, monkeypatch, capsys):
    """With a tiny classifier, a tokenizer of a few words, and a pretrained body."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(registry, "_RULES", dict(registry._RULES))
    base = bert()
    names = {"ken": ken, "fine_tuned": moved(base), "pretrained": base.bert, "tokenizer": beginning_tokenizer()}
    names |= {"texts": TEXTS, "labels": [0, 1, 2, 0, 1], "batches": [torch.tensor([[2, 3], [4, 5]])]}
    names["loss"] = lambda model, batch: model(input_ids=batch).logits.square().sum(dim=1)
    names["language_models"] = ken.Pair(moved(llama()), llama())
    write_capitals()
    for example in re.findall(r"```python\n(.*?)```", (DOCS / "effects.md").read_text(encoding="utf-8"), re.S):
        exec(compile(example, "effects.md", "exec"), names)
    assert names["harness"].items == 2
    assert names["net"].recipe.rule == "first_order"
    assert names["own"].evaluate(names["fine_tuned"]).losses.shape == (2,)
    assert "rank correlation" in capsys.readouterr().out


def test_every_public_name_is_in_the_reference():
    for package in (ken, kenviz):
        page = (DOCS / "api" / f"{package.__name__}.md").read_text(encoding="utf-8")
        named = set(re.findall(rf"^::: {package.__name__}\.(\w+)$", page, re.M))
        assert set(package.__all__) - {"__version__"} <= named


def test_links_between_pages_lead_somewhere():
    """As the files lie; how the site changes them is an example in docs/repository_pages.py, and mkdocs checks it."""
    for page in [*DOCS.rglob("*.md"), *DOCS.parent.glob("*.md"), DOCS.parent / "ken" / "FORMAT.md"]:
        for target in re.findall(r"\]\((?![a-z]+:|#)([^)#\s]+)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


@pytest.mark.parametrize("module", ["repository_pages", "doctests"])
def test_what_the_site_is_built_with_does_what_it_says(module, monkeypatch):
    monkeypatch.syspath_prepend(str(DOCS))
    found = importlib.import_module(module)
    assert doctest.testmod(found).attempted > 0
    assert doctest.testmod(found).failed == 0


def test_the_page_on_hosts_has_the_versions_that_are_tested():
    text = (DOCS / "hosts.md").read_text(encoding="utf-8")
    told = dict(re.findall(r"^\| (JupyterLab|Notebook|Voilà|marimo)(?: \d)? \| ([\d.]+) \|", text, re.M))
    pins = dict(re.findall(r"^(jupyterlab|notebook|voila|marimo)==(.+)$", PINNED, re.M))
    assert told == {
        "JupyterLab": pins["jupyterlab"],
        "Notebook": pins["notebook"],
        "Voilà": pins["voila"],
        "marimo": pins["marimo"],
    }
