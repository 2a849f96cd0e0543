"""A published pair, made by others: old files, without a class and with other names, as people have them."""

import json
import shutil
import sys
from pathlib import Path

import pytest
from transformers import AutoModelForSequenceClassification

import ken
from ken.errors import DemoError

ROOT = Path(__file__).parent.parent
TUNED = {"bert_ft": 0.592, "bert_ft_10k_25s": 0.600}


@pytest.fixture(scope="module")
def nets():
    places = ken.demo.published()
    return {name: ken.prune(places[name], places["bert_pretrained"], 0.5, progress=False) for name in TUNED}


def test_both_pairs_are_pruned_and_retain_what_was_measured(nets):
    places = ken.demo.published()
    for name, net in nets.items():
        table = ken.retention.table(net, ken.Pair(places[name], places["bert_pretrained"]))
        energy = table["entries"] * table["update_rms"] ** 2
        assert (energy * table["update_share"]).sum() / energy.sum() == pytest.approx(TUNED[name], abs=0.0006)
        assert len(net.pruned()) == 199
    assert any("prefix 'bert'" in note for note in nets["bert_ft"].notes)
    assert [n for n, o in nets["bert_ft_10k_25s"].outlines.items() if o.reason] == [
        "classifier.weight",
        "classifier.bias",
    ]


@pytest.mark.parametrize("turned", [False, True])
def test_two_tasks_are_compared_though_one_has_a_prefix_and_the_other_none(nets, turned):
    places = ken.demo.published()
    first, second = (nets[name] for name in (reversed(TUNED) if turned else TUNED))
    for name in TUNED:  # the pair may be that of either
        table = ken.retention.compare(first, second, ken.Pair(places[name], places["bert_pretrained"]))
        assert list(table.index) == list(first.pruned())
        assert table["both"].sum() / table["retained_a"].sum() == pytest.approx(0.711, abs=0.0006)
    by_hand = sum(
        int((tensor.mask() & nets["bert_ft_10k_25s"].pruned()[f"bert.{name}"].mask()).sum())
        for name, tensor in nets["bert_ft"].pruned().items()
    )
    assert table["both"].sum() == by_hand


def test_the_classifier_is_a_checkpoint_again(nets, tmp_path):
    out = ken.export(nets["bert_ft_10k_25s"], ken.demo.published()["bert_pretrained"], tmp_path / "out", progress=False)
    model = AutoModelForSequenceClassification.from_pretrained(out)
    assert model.config.num_labels == 50
    body = ken.export(nets["bert_ft"], ken.demo.published()["bert_pretrained"], tmp_path / "body", progress=False)
    assert json.loads((body / "config.json").read_text())["hidden_size"] == 256


def test_a_missing_package_is_said_with_what_installs_it(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "rxnfp", None)
    with pytest.raises(DemoError, match=r"not installed: pip install --no-deps rxnfp==0\.1\.0"):
        ken.demo.published()


def test_a_package_without_its_models_is_said_to_be_so(tmp_path, monkeypatch):
    (tmp_path / "rxnfp").mkdir()
    (tmp_path / "rxnfp" / "__init__.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "rxnfp", raising=False)
    with pytest.raises(DemoError, match=r"has no bert_pretrained/pytorch_model\.bin"):
        ken.demo.published()
    shutil.rmtree(tmp_path / "rxnfp")


def test_make_installs_what_the_chapter_names_by_its_hash_and_without_what_it_asks_for():
    lines = [line for line in (ROOT / "notebooks/models.txt").read_text().splitlines() if not line.startswith("#")]
    (line,) = lines
    assert line.startswith("rxnfp==0.1.0 --hash=sha256:")
    assert "--no-deps --require-hashes -r notebooks/models.txt" in (ROOT / "Makefile").read_text()
    assert "pip install --no-deps rxnfp==0.1.0" in (ROOT / "notebooks/08_your_own_model.ipynb").read_text()
