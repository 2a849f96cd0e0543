import html
import os
import re
import subprocess
import sys
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest
from kenviz_models import HOSTILE, small_pair
from sweep_tables import made_up

import ken
import kenviz
from kenviz.reporting.inline_html import html_of


class Text(HTMLParser):
    """What a page says, cell by cell, and which tags it has; an error where they do not match."""

    def __init__(self, page):
        super().__init__()
        self.rows, self.tags, self._open = [], [], []
        self.feed(page)
        assert self._open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        if tag not in ("br", "path"):
            self._open.append(tag)
        if tag == "tr":
            self.rows.append([])

    def handle_endtag(self, tag):
        if tag not in ("br", "path"):
            assert self._open.pop() == tag

    def handle_data(self, data):
        if self.rows and {"td", "th"} & set(self._open):
            self.rows[-1].append(data)


class TestSummary:
    def test_shares_are_those_of_the_masks(self, pair):
        net = ken.prune(*pair, {"layer.0.query.weight": 0.25, "*": 0.5})
        page = html_of(net)
        rows = {row[0]: row[1:] for row in Text(page).rows}
        low, high = (100 * net[f"layer.{i}.query.weight"].mask().mean() for i in range(2))
        assert rows["query"] == [f"{low:.1f} – {high:.1f} %", f"{2 * 24 * 24:,}"]
        assert rows["embed"] == ["50.0 %", "7,200"]
        assert f"{net.retained:,} of {net.entries:,} entries ({100 * net.share:.1f} %) are retained" in page
        assert "Tensors: 7 pruned, 1 carried." in page
        assert "2 vectors are left out of the map." in page
        assert "kenviz.explore(net, pair)" in page

    def test_a_cell_a_layer_in_the_step_of_its_share(self, pair):
        net = ken.prune(*pair, {"layer.0.query.weight": 2, "*": 24})
        line = re.search(r"<tr><th[^>]*>query</th>.*?</tr>", html_of(net))[0]
        colours = re.findall(r'fill="(#\w+)"[^>]*d="(M\d+) 0', line)
        assert colours == [("#d6e6f2", "M0"), ("#004a75", "M12")]

    def test_it_is_small_the_same_each_time_and_knows_nothing_of_the_machine(self, tmp_path):
        shapes = {f"model.{'block' * 5}.{i}.part{j}.weight": (2, 3) for i in range(50) for j in range(10)}
        shapes |= {f"{'other' * 20}{i}.weight": (2, 3) for i in range(500)}
        import torch

        pair = ken.Pair(*({name: torch.rand(shape) + shift for name, shape in shapes.items()} for shift in (0, 1)))
        net = ken.prune(*pair, 1, progress=False)
        page = html_of(net)
        assert len(page.encode()) < 30_000
        assert html_of(ken.load(net.save(tmp_path / "net.safetensors"))) == page
        assert str(tmp_path) not in page
        assert "more kinds are not shown" in page
        Text(page)

    def test_names_are_text_and_everything_is_in_it(self):
        pair = small_pair(extra=[HOSTILE, f"layer.0.{HOSTILE}", f"layer.0.{HOSTILE}2"])
        page = html_of(ken.prune(*pair, {HOSTILE: 2, "*": 5}))
        assert set(Text(page).tags) == {
            *("div", "p", "strong", "br", "code", "table", "caption", "thead", "tbody", "tr", "th", "td", "svg", "path")
        }
        assert "\u202e" not in page
        assert "http" not in page
        assert "href" not in page

    def test_nothing_pruned_and_nothing_changed_are_said(self, pair):
        assert "<table" not in html_of(ken.prune(*pair, 1, exclude=["*"]))
        same = ken.Pair(pair.pretrained, pair.pretrained)
        assert "The two models do not differ" in html_of(ken.prune(*same, 2))


class TestShow:
    def test_subnetworks_and_pairs(self, net, pair):
        assert kenviz.show(net)._repr_html_() == html_of(net)
        for explorer in (kenviz.show(net, pair), kenviz.show((net, pair)), kenviz.show(net, pair=pair)):
            assert isinstance(explorer, kenviz.Explorer)
        other = ken.prune(*pair, 0.25, "random", progress=False)
        view = kenviz.show((net, other, pair), measure="overlap")
        assert isinstance(view, kenviz.CompareView)
        assert view.measure == "overlap"

    def test_the_explanation_of_a_row(self, net, pair):
        name = "layer.1.query.weight"
        pane = kenviz.show(ken.explain(net, pair, name, 5))
        mask = net[name].mask()[5]
        assert pane.column("retained", "column").tolist() == np.flatnonzero(mask).tolist()
        assert pane.text == f"Row 5 of {name}: rule ken retains 12 of 24 entries."
        alone = kenviz.show(ken.explain_row(np.array([0.0, 0.4, 0.5, 1.0]), k=2, rule="magnitude"))
        assert alone.text == "A row: rule magnitude retains 2 of 4 entries."

    def test_tables(self, net, pair):
        assert isinstance(kenviz.show(made_up(), scale="log"), kenviz.SweepView)
        with pytest.raises(ValueError, match="no column 'share'"):
            kenviz.show(made_up().drop(columns="share"))
        table = ken.retention.table(net, pair)
        pane = kenviz.show(table, measure="share")
        np.testing.assert_array_equal(pane.column("cells", "value"), table["share"])
        with pytest.raises(ValueError, match="measure must be one of .*share.*, got 'size'"):
            kenviz.show(table, measure="size")
        with pytest.raises(ValueError, match="no tensor to show"):
            kenviz.show(table[:0])

    @pytest.mark.parametrize(
        ("thing", "words"),
        [
            (3, "got int"),
            ((), "got a tuple of nothing"),
            ((1, "x"), "got a tuple of int, str"),
            (pd.DataFrame({"x": [1]}), "got one with the columns 'x'"),
        ],
    )
    def test_anything_else_is_refused(self, thing, words):
        with pytest.raises(TypeError, match=words):
            kenviz.show(thing)

    def test_two_subnetworks_need_their_pair(self, net):
        with pytest.raises(TypeError, match="got a tuple of Subnetwork, Subnetwork"):
            kenviz.show((net, net))


IN_IPYTHON = """
import sys, warnings
warnings.simplefilter("ignore")
from IPython.core.interactiveshell import InteractiveShell
shell = InteractiveShell.instance()
import ken, torch
net = ken.prune({"w": torch.ones(4, 4)}, {"w": torch.zeros(4, 4)}, k=1, progress=False)
assert not {"kenviz", "bokeh"} & set(sys.modules)

def shown():
    return shell.display_formatter.format(net)[0]

plain = shown()
assert set(plain) == {"text/plain"}
import kenviz
assert "bokeh" not in sys.modules
from kenviz.reporting.inline_html import html_of
assert shown() == plain | {"text/html": html_of(net)}
for _ in range(2):
    kenviz.unload_ipython_extension(shell)
    assert shown() == plain
shell.run_line_magic("load_ext", "kenviz")
assert "text/html" in shown()
shell.run_line_magic("unload_ext", "kenviz")
assert shown() == plain
print("done")
"""


def test_ipython_shows_a_subnetwork_as_html_while_kenviz_is_loaded(tmp_path):
    env = os.environ | {"IPYTHONDIR": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", IN_IPYTHON], capture_output=True, text=True, env=env)
    assert done.stdout.strip() == "done", done.stderr


def test_outside_of_ipython_nothing_is_registered_or_imported():
    code = "import sys, kenviz; print('IPython' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_caption_is_the_name_of_the_group(net):
    page = html_of(net)
    name = re.search(r'role="group" aria-label="([^"]*)"', page)[1]
    assert f"<strong>{name}</strong>" in page
    assert html.unescape(name).startswith("Subnetwork: rule ken, k = 0.5: ")
