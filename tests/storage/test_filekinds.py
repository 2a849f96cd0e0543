"""What a file holds is told by how it begins, and what this project writes is known again."""

import pickle

import pytest
import torch
from kenviz_models import small_pair
from safetensors.torch import save_file

import ken
import kenviz
from ken import results
from ken.evaluation import sweep
from ken.storage.file_kinds import PAGE, PNG, RESULTS, SUBNETWORK, TABLE, kind_of


def test_what_is_written_here_is_known_again(tmp_path):
    pair = small_pair()
    net = ken.prune(*pair, 0.5)
    options = {"evaluate": lambda _: 0.5, "progress": False, "results": tmp_path / "kept"}
    table = ken.sweep(pair, [0.5], ["ken"], **options)
    assert kind_of(tmp_path / "kept") == RESULTS
    assert kind_of(net.save(tmp_path / "net")) == SUBNETWORK
    assert kind_of(kenviz.MatrixView(net, pair).to_html(tmp_path / "view")) == PAGE
    assert kind_of(kenviz.report(net, pair, tmp_path / "report", progress=False)) == PAGE
    for name, options in (("plain", {"index": False}), ("numbered", {})):
        table.to_csv(tmp_path / name, **options)
        assert kind_of(tmp_path / name) == TABLE
    assert list(table.columns) == sweep.COLUMNS


def test_a_file_of_results_whose_maker_was_killed_in_its_first_line_is_one(tmp_path):
    line = results.About(fine_tuned="a", pretrained="b").line()
    for length in (1, 10, 23, 24, 60, len(line)):
        (tmp_path / "kept").write_bytes(line[:length])
        assert kind_of(tmp_path / "kept") == RESULTS, length


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"", ""),
        (b"# Read me\n", "text"),
        (b"text,label\na,1\n", "text"),
        (b"\xef\xbb\xbf\r\n<!DOCTYPE HTML><html>", PAGE),
        (b"<html lang='en'>", PAGE),
        (b'{"format": "something else"}', "text"),
        (b"\x89PNG\r\n\x1a\n\0", PNG),
        (b"GIF89a\0\xff\0", "bytes of some other kind"),
        (b"\x10\0\0\0\0\0\0\0{not JSON at all}", "bytes of some other kind"),
        (b"\xff\xff\xff\xff\xff\xff\xff\xff{", "bytes of some other kind"),
        (b"\x09\0\0\0\0\0\0\0[1,2,3,4]", "bytes of some other kind"),
    ],
)
def test_anything_else_is_told_in_words(tmp_path, content, kind):
    (tmp_path / "file").write_bytes(content)
    held = kind_of(tmp_path / "file")
    assert held == kind or (kind.startswith("bytes") and held in (kind, "text"))


def test_weights_are_weights_with_and_without_metadata(tmp_path):
    for number, metadata in enumerate((None, {"format": "pt"})):
        save_file({"w": torch.ones(2)}, tmp_path / f"{number}", metadata=metadata)
        assert kind_of(tmp_path / f"{number}") == "weights"
    torch.save({"w": torch.ones(2)}, tmp_path / "zip")
    (tmp_path / "old").write_bytes(pickle.dumps({"w": 1}, protocol=2))
    for name in ("zip", "old"):
        assert kind_of(tmp_path / name).startswith("weights")
