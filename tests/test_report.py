import json
import re

import pandas as pd
import pytest
from kenviz_models import HOSTILE, small_pair

import ken
import kenviz
from kenviz.figures.labels import label


def page(path):
    return path.read_text(encoding="utf-8")


def items(html):
    return json.loads(re.search(r'id="items">(.*?)</script>', html, re.S)[1])


def models_in(value):
    """Every Bokeh model in a json_item."""
    if isinstance(value, dict):
        if "attributes" in value:
            yield value
        for child in value.values():
            yield from models_in(child)
    elif isinstance(value, list):
        for child in value:
            yield from models_in(child)


def visible(html):
    """The page without what is in script elements."""
    return re.sub(r"<script.*?</script>", "", html, flags=re.S)


def test_report_has_the_table_and_the_three_kinds_of_figure(net, pair, tmp_path):
    html = page(kenviz.report(net, pair, tmp_path / "r.html", title="A title"))
    assert "<title>A title</title>" in html
    assert visible(html).count("<figure>") == len(items(html)) == 1 + 2 * 3
    for name in [*net, "head.weight"]:
        assert f"<td>{name}</td>" in html
    assert f"{net.retained:,} of {net.entries:,} entries ({net.share:.1%})" in html
    assert "no pretrained counterpart" in html
    titles = json.dumps(items(html))
    assert "share of the update" in titles
    assert "matrix of 300 rows" in titles
    assert "k = 12 of 24 (50.0%)" in titles


def test_every_number_of_the_table_is_that_of_the_subnetwork(net, pair, tmp_path):
    html = page(kenviz.report(net, pair, tmp_path / "r.html"))
    rows = re.findall(r"<tr>(.*?)</tr>", visible(html).split('id="all"')[1], re.S)[1:]
    cells = [re.findall(r"<td[^>]*>(.*?)</td>", row, re.S) for row in rows]
    table = net.table().reset_index()
    assert len(cells) == len(table)
    for line, want in zip(cells, table.itertuples(), strict=True):
        assert line[0] == want.tensor
        assert int(line[7].replace(",", "")) == want.entries
        assert int(line[8].replace(",", "")) == want.retained
        assert line[9] == f"{want.share:.1%}"


def test_it_asks_the_network_for_nothing(net, pair, tmp_path):
    html = visible(page(kenviz.report(net, pair, tmp_path / "r.html")))
    assert re.findall(r'(?:src|href)="(?!#|data:)[^"]*"', html) == []
    assert "@import" not in html
    assert "url(" not in html


def test_results_are_shown_when_given(net, pair, tmp_path):
    results = pd.DataFrame({"model": ["pruned"], "accuracy": [0.7125], "retained": [12345], "seed": ["–"]})
    html = page(kenviz.report(net, pair, tmp_path / "r.html", results=results))
    assert '<td class="number">71.2%</td>' in html
    assert '<td class="number">12,345</td>' in html
    assert 'id="results"' not in page(kenviz.report(net, pair, tmp_path / "r.html"))


def test_hostile_names_titles_and_cells_are_inert(tmp_path):
    pair = small_pair(extra=[HOSTILE])
    net = ken.prune(*pair, 3)
    html = page(
        kenviz.report(
            net, pair, tmp_path / "r.html", title=HOSTILE, tensors=[HOSTILE], results=pd.DataFrame({HOSTILE: [HOSTILE]})
        )
    )
    assert "<script>alert" not in html
    plain = page(kenviz.report(net, pair, tmp_path / "plain.html"))
    assert html.lower().count("<script") == plain.lower().count("<script")
    assert html.lower().count("</script") == plain.lower().count("</script")
    # inert, and still there as text
    texts = [m["attributes"].get("text") for item in items(html) for m in models_in(item)]
    assert label(HOSTILE) in texts


def test_tensors_are_chosen_by_stated_criteria_or_by_the_caller(net, pair, tmp_path):
    html = page(kenviz.report(net, pair, tmp_path / "r.html"))
    table = ken.retention.table(net, pair)
    inside = table[(table["rows"] > 1) & table["layer"].notna()]
    for name in ("embed.weight", inside["update_share"].idxmin(), inside["update_share"].idxmax()):
        assert f"Mask of {name}</h2>" in html
    html = page(kenviz.report(net, pair, tmp_path / "r.html", tensors=["layer.0.query.bias"]))
    assert visible(html).count("<figure>") == 3
    with pytest.raises(ValueError, match="tensors must be pruned ones, got 'head.weight'"):
        kenviz.report(net, pair, tmp_path / "r.html", tensors=["head.weight"])


def test_a_failed_report_leaves_the_old_one_and_no_other_file(net, pair, tmp_path, monkeypatch):
    path = kenviz.report(net, pair, tmp_path / "r.html")
    before = path.read_bytes()
    import os

    monkeypatch.setattr(os, "fsync", lambda _: (_ for _ in ()).throw(OSError("no space left")))
    with pytest.raises(OSError, match="no space left"):
        kenviz.report(net, pair, path)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["r.html"]


def test_a_path_that_cannot_be_written_is_named(net, pair, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"r\.html cannot be written: there is no folder .*missing"):
        kenviz.report(net, pair, tmp_path / "missing" / "r.html")
    with pytest.raises(IsADirectoryError, match="cannot be written: it is a folder"):
        kenviz.report(net, pair, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_only_vectors_can_be_reported_too(tmp_path):
    import torch

    pair = ken.Pair({"b": torch.arange(9.0)}, {"b": torch.zeros(9)})
    html = page(kenviz.report(ken.prune(*pair, 4), pair, tmp_path / "r.html"))
    assert visible(html).count("<figure>") == 2
