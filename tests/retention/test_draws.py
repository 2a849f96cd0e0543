"""Two subnetworks of one draw share entries for no reason of the models': wherever they are compared, it is said."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from typer.testing import CliRunner

import ken
import kenviz
from ken.cli import commands as cli
from ken.errors import KenWarning
from ken.retention.comparison import alike, same_draw
from kenviz.figures.compare import ONE_DRAW

QUERY = "layer.1.query.weight"
BY_CHANCE = ["both_expected", "both_z", "jaccard_expected", "overlap_expected"]


@pytest.fixture
def second(pair):
    """Another fine-tuning of the same pretrained model."""
    generator = torch.Generator().manual_seed(9)
    changed = {
        name: tensor + 0.01 * torch.randn(tensor.shape, generator=generator) for name, tensor in pair.pretrained.items()
    }
    return ken.Pair(changed | {"head.weight": torch.zeros(3, 24)}, pair.pretrained)


@pytest.mark.parametrize("rule", ["random", "della"])
@pytest.mark.parametrize("k", [0.25, 0.5])
def test_two_fine_tunings_drawn_with_one_seed_are_said_to_be_one_draw(rule, k, pair, second):
    a, b = ken.prune(*pair, 0.5, rule, seed=3), ken.prune(*second, k, rule, seed=3)
    assert same_draw(a, b)
    with pytest.warns(KenWarning, match=f"the same draw: rule {rule} with seed 3") as caught:
        table = ken.retention.compare(a, b, pair)
    assert caught[0].filename == __file__
    assert table["same_draw"].all()
    assert table[BY_CHANCE].isna().all(axis=None)
    if rule == "random":  # the smaller k is wholly within the larger
        assert (table["overlap"] == 1.0).all()


@pytest.mark.parametrize(
    ("of_a", "of_b"),
    [
        ({"rule": "random", "seed": 3}, {"rule": "random", "seed": 4}),
        ({"rule": "random", "seed": 3}, {"rule": "della", "seed": 3}),
        ({"rule": "random", "seed": 0}, {"rule": "ken", "seed": 0}),
        ({"rule": "ken"}, {"rule": "ken"}),
    ],
)
def test_what_is_not_one_draw_is_compared_with_chance(of_a, of_b, pair, second):
    a, b = ken.prune(*pair, 0.5, **of_a), ken.prune(*second, 0.5, **of_b)
    table = ken.retention.compare(a, b, pair)
    assert not table["same_draw"].any()
    assert table["jaccard_expected"].notna().all()
    assert alike(a, b) == ""


def test_one_recipe_twice_is_said_to_be_one_subnetwork(pair):
    for rule in ("ken", "update"):
        a, b = (ken.prune(*pair, 0.5, rule) for _ in "ab")
        assert "the same subnetwork twice" in alike(a, b)
        assert "the same subnetwork twice" in kenviz.CompareView(a, b, pair).caption
        assert not alike(a, ken.prune(*pair, 0.25, rule))
        assert "the same subnetwork twice" in alike(a, ken.prune(*pair, 0.5, rule, seed=1))  # which does not draw


@pytest.mark.parametrize("rule", [name for name in ken.rules.names() if ken.rules.get(name).seeded])
def test_two_draws_of_one_pair_are_two_subnetworks(pair, rule):
    a, b = (ken.prune(*pair, 0.5, rule, seed=seed) for seed in (3, 4))
    assert alike(a, b) == ""
    assert "the same" not in kenviz.CompareView(a, b, pair).caption


def test_a_rule_that_is_not_known_here_may_draw(pair):
    a = ken.prune(*pair, 0.5)
    a = replace(a, recipe=replace(a.recipe, rule="mine"))
    assert same_draw(a, a)


@pytest.mark.parametrize("rule", ["random", "della"])
def test_no_picture_shows_one_draw_beside_chance(rule, pair, second, tmp_path):
    a, b = ken.prune(*pair, 0.5, rule), ken.prune(*second, 0.5, rule)
    view = kenviz.CompareView(a, b, pair, pair_b=second)
    assert "Both are the same draw: rule" in view.caption
    assert "chance (two random masks" not in view.caption
    for measure in ("jaccard", "overlap", "both_z"):
        view.measure = measure
        assert view.figure.select_one({"name": "title"}).text.endswith(
            "both are the same draw:\nwhat they share is no finding"
        )
        assert np.isnan(view.pane.column("dots", "chance")).all()
    view.measure = "update_share_a"
    assert "no finding" not in view.figure.select_one({"name": "title"}).text
    assert np.isfinite(view.pane.column("dots", "chance")).all()
    assert view.figure.select_one({"name": "note"}).text.endswith(ONE_DRAW)
    view.tensor = QUERY
    assert view.figure.select_one({"name": "note"}).text.endswith(ONE_DRAW)
    assert "no finding" in view.to_html(tmp_path / "view.html").read_text(encoding="utf-8")
    other = kenviz.CompareView(a, ken.prune(*second, 0.5, rule, seed=1), pair, pair_b=second)
    assert "same draw" not in other.caption
    assert "no finding" not in other.figure.select_one({"name": "title"}).text
    assert "chance (two random masks" in other.caption


def test_the_report_says_it_in_summary_and_figure(pair, second, tmp_path):
    a, b = ken.prune(*pair, 0.5, "random"), ken.prune(*second, 0.5, "random")
    page = kenviz.report(a, pair, tmp_path / "r.html", compare=b, sections=["summary", "comparison"], progress=False)
    said = page.read_text(encoding="utf-8")
    assert said.count("This is no finding, as both are the same draw: rule random with seed 0") == 2
    assert "chance has no say in it" in said
    assert "If each had drawn its entries at random" not in said
    assert "compare.jaccard_expected" not in said
    other = ken.prune(*second, 0.5, "random", seed=1)
    page = kenviz.report(a, pair, tmp_path / "r.html", compare=other, sections=["comparison"], progress=False)
    assert "If each had drawn its entries at random" in page.read_text(encoding="utf-8")


def test_a_draw_is_not_warned_of_for_being_compared_with_itself(pair):
    net = ken.prune(*pair, 0.5, "random")
    assert (ken.retention.compare(net, net, pair)["jaccard"] == 1).all()


def test_the_command_line_reports_it(pair, second, tmp_path):
    files = {}
    for name, state in {"a": pair.fine_tuned, "b": second.fine_tuned, "pretrained": pair.pretrained}.items():
        save_file(state, tmp_path / f"{name}.safetensors")
        files[name] = tmp_path / f"{name}.safetensors"
    nets = [tmp_path / "a.ken.safetensors", tmp_path / "b.ken.safetensors"]
    for net, name in zip(nets, "ab", strict=True):
        ken.prune(files[name], files["pretrained"], 0.5, rule="random", out=net)
    words = ["ken", "report", str(nets[0]), "--compare", str(nets[1]), "--sections", "comparison"]
    pages = []
    for models in ([files["a"], files["pretrained"]], [files["pretrained"], files["a"]]):  # one is the right order
        out = tmp_path / f"report{len(pages)}.html"
        ran = CliRunner().invoke(cli.app, [*words[1:], *map(str, models), "-o", str(out)])
        pages += [out.read_text(encoding="utf-8")] if ran.exit_code == 0 else []
    (page,) = pages
    assert "This is no finding, as both are the same draw" in page
