"""What transformers says of a class, kept from one process to the next."""

import json
import os
import subprocess
import sys

import pytest
import torch
from transformers import BertConfig, BertForMaskedLM

from ken.models.checkpoints import architecture, class_cache

CONFIG = BertConfig(
    vocab_size=20, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8
).to_dict() | {"architectures": ["BertForMaskedLM"]}


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """An empty cache, and nothing remembered from before."""
    monkeypatch.setenv("KEN_CACHE", str(tmp_path / "cache"))
    for function in (architecture._made, architecture._transforms):
        function.cache_clear()
    yield tmp_path / "cache" / "classes"
    for function in (architecture._made, architecture._transforms):
        function.cache_clear()


def asked_and_kept(name="BertForMaskedLM", config=CONFIG):
    """The answer of the library, and the one that was kept."""
    asked = architecture.class_named(name, config)
    architecture._made.cache_clear()
    return asked, architecture.class_named(name, config)


def test_what_was_kept_is_what_the_library_says(cache):
    asked, kept = asked_and_kept()
    assert len(list(cache.iterdir())) == 1
    for field in ("names", "prefix", "tied", "vocabularies"):
        assert getattr(kept, field) == getattr(asked, field) != type(getattr(kept, field))()
    assert tuple(kept.made_up) == tuple(asked.made_up)
    assert [type(t) for t in kept.transforms] == [type(t) for t in asked.transforms] != []
    names = [*asked.names, "bert.embeddings.LayerNorm.gamma", "elsewhere"]
    assert kept.places(names) == asked.places(names)


def test_the_library_is_not_asked_again(monkeypatch):
    asked_and_kept()
    architecture._made.cache_clear()
    monkeypatch.setattr(architecture, "unweighted", None)
    assert architecture.prefix_named("BertForMaskedLM", CONFIG) == "bert"


def test_another_configuration_is_another_class(cache):
    untied = CONFIG | {"tie_word_embeddings": False}
    assert architecture.class_named("BertForMaskedLM", CONFIG).tied
    assert not architecture.class_named("BertForMaskedLM", untied).tied
    assert len(list(cache.iterdir())) == 2


@pytest.mark.parametrize("damaged", ["", "{", "[]", "{}", "null", "\x00", '{"names": 3}'])
def test_a_damaged_file_is_made_anew(cache, damaged):
    asked, _ = asked_and_kept()
    (path,) = cache.iterdir()
    whole = path.read_text()
    path.write_text(damaged)
    architecture._made.cache_clear()
    assert architecture.class_named("BertForMaskedLM", CONFIG).names == asked.names
    assert path.read_text() == whole


@pytest.mark.parametrize("part", ["names", "prefix", "tied", "vocabularies", "made_up"])
def test_a_part_that_is_no_text_counts_as_damage(cache, part):
    asked, _ = asked_and_kept()
    (path,) = cache.iterdir()
    path.write_text(json.dumps(json.loads(path.read_text()) | {part: [1]}))
    architecture._made.cache_clear()
    kept = architecture.class_named("BertForMaskedLM", CONFIG)
    assert (kept.names, kept.prefix, kept.tied) == (asked.names, asked.prefix, asked.tied)


def test_a_cache_that_cannot_be_written_is_done_without(cache):
    cache.parent.parent.mkdir(exist_ok=True)
    cache.parent.write_text("a file where the folder would be")
    asked, again = asked_and_kept()
    assert asked.names == again.names


def test_classes_that_the_library_does_not_know_are_not_kept(cache):
    assert asked_and_kept("NoSuchModel", {}) == (None, None)
    assert not cache.exists()


def test_nothing_is_kept_of_a_library_that_is_edited_where_it_lies(cache, monkeypatch):
    monkeypatch.setattr(class_cache, "_installed", lambda: "")
    asked_and_kept()
    assert not cache.exists()


def test_nothing_is_kept_of_a_library_that_is_found_before_the_installed_one(tmp_path):
    """As with PYTHONPATH, the notes of the installed one say nothing of it."""
    command = "from ken.models.checkpoints import class_cache; print(bool(class_cache._installed()))"
    (tmp_path / "transformers").mkdir()
    (tmp_path / "transformers" / "__init__.py").write_text("")

    def known(*first):
        paths = os.pathsep.join([*map(str, first), os.environ.get("PYTHONPATH", "")])
        environment = {**os.environ, "PYTHONPATH": paths}
        return subprocess.run(
            [sys.executable, "-c", command], check=True, capture_output=True, text=True, env=environment
        ).stdout.strip()

    assert (known(), known(tmp_path)) == ("True", "False")


def test_what_was_kept_by_other_code_of_ones_own_does_not_count(cache, monkeypatch):
    class_cache.keep("A", "{}", {"number": 1})
    assert class_cache.recall("A", "{}") == {"number": 1}
    monkeypatch.setattr(class_cache, "_asked", lambda: "other code")
    assert class_cache.recall("A", "{}") is None


def test_a_class_with_a_part_from_elsewhere_is_not_kept(cache, monkeypatch):
    class Elsewhere(torch.nn.LayerNorm):
        pass

    monkeypatch.setattr("transformers.models.bert.modeling_bert.nn.LayerNorm", Elsewhere)
    asked_and_kept()
    assert not cache.exists()


def test_the_oldest_files_go(cache, monkeypatch):
    monkeypatch.setattr(class_cache, "_MOST", 2)
    for number in range(4):
        class_cache.keep("A", str(number), {"number": number})
        for path in cache.iterdir():
            os.utime(path, (path.stat().st_mtime - 10,) * 2)
    assert [class_cache.recall("A", str(number)) for number in range(4)] == [None, None, {"number": 2}, {"number": 3}]


def test_a_second_process_prunes_folders_without_the_modelling_code(tmp_path):
    """Ties included: the decoder of the masked language model is not in the files."""
    for name in ("fine_tuned", "pretrained"):
        BertForMaskedLM(BertConfig(**CONFIG)).save_pretrained(tmp_path / name)
    command = (
        "import sys, ken, pathlib; "
        f"net = ken.prune({str(tmp_path / 'fine_tuned')!r}, {str(tmp_path / 'pretrained')!r}, 0.5, progress=False); "
        "print(sorted(net.tied.items()), net.prefix, 'transformers' in sys.modules)"
    )
    lines = [
        subprocess.run([sys.executable, "-c", command], check=True, capture_output=True, text=True).stdout
        for _ in range(2)
    ]
    assert "('cls.predictions.decoder.weight', 'bert.embeddings.word_embeddings.weight')" in lines[0]
    assert lines[0].split("bert ")[-1].strip() == "True"
    assert lines[1] == lines[0].replace("True\n", "False\n")
