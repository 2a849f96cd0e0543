"""The report's section on effects: the page has no number that its data lacks, and what is not true is told first."""

import json
import re

import pandas as pd
import pytest
import torch
from effect_tables import attributed, made_up
from kenviz_models import HOSTILE, small_pair
from report_page import read
from test_report_json import checked, leaves
from typer.testing import CliRunner

import ken
import kenviz
from ken.cli.commands import app
from ken.errors import OutputError
from ken.evaluation import members
from kenviz.text.numbers import in_digits

QUIET = {"progress": False}


@pytest.fixture(scope="module")
def models():
    return small_pair()


@pytest.fixture(scope="module")
def net(models):
    return ken.prune(*models, 0.5, progress=False)


@pytest.fixture(scope="module")
def measured(models):
    """A table of the pair's places, and its attribution."""
    places = members({name: tensor.shape for name, tensor in models.pretrained.items()}, "place")
    worth = {name: -0.2 * (i + 1) / len(names) for i, names in enumerate(places.values()) for name in names}
    return made_up(tuple(places)), attributed(models, worth)


@pytest.fixture(scope="module")
def both(models, net, measured, tmp_path_factory):
    """Page and JSON of one call."""
    folder = tmp_path_factory.mktemp("report")
    table, attribution = measured
    told = {"ablation": table, "attribution": attribution, "sections": ["summary", "effects"]}
    kenviz.report(net, models, folder / "r.html", json=folder / "r.json", **told, **QUIET)
    return read(folder / "r.html"), checked((folder / "r.json").read_text(encoding="utf-8"))


def test_the_data_is_the_table_and_the_attribution(both, measured, net):
    table, attribution = measured
    effects = both[1]["effects"]
    shares = attribution.table("place", net)
    lines = {line["group"]: line for line in effects["groups"]}
    assert set(lines) == set(shares.index)
    for way in ("without", "only"):
        wanted = table[table["way"] == way].set_index("group")
        for name, line in lines.items():
            assert line[way] == wanted.loc[name, "loss_difference"]
            assert line[f"{way}_low"] == wanted.loc[name, "loss_low"]
            assert line[f"{way}_p_holm"] == wanted.loc[name, "loss_p_holm"]
    for name, line in lines.items():
        assert line["attribution"] == shares.loc[name, "attribution"]
        assert line["retained_absolute"] == shares.loc[name, "retained_absolute"]
        assert (line["control_low"], line["control_high"], line["controls"]) == (0.01, 0.03, 2)
    agreement = ken.agreement(attribution, table)
    assert effects["agreements"][0]["rho"] == agreement.rho
    assert effects["agreements"][0]["poor"] == agreement.poor
    assert (effects["items"], effects["fine_tuned"], effects["pretrained"]) == (12, 0.5, 1.5)


def test_every_number_of_the_section_is_in_the_data(both):
    page, report = both
    section = re.search(r'<h2 id="effects">.*?</section>', page.html, re.DOTALL)[0]
    for figure in re.findall(r"<svg.*?</svg>", section, re.DOTALL):
        assert 'class="line zero"' in figure
    assert section.count("<svg") == 4
    assert 'class="line chance"' in section
    assert 'class="mark hollow"' in section
    text = re.sub("<[^>]*>", " ", re.sub(r"<(svg|thead|figcaption).*?</\1>", " ", section, flags=re.DOTALL))
    numbers = [value for _, value in leaves(report) if isinstance(value, int | float)]
    words = " ".join(value for _, value in leaves(report) if isinstance(value, str))
    written = {in_digits(float(value)) for value in numbers} | {f"{value:,}" for value in numbers}
    written |= {f"{100 * value:.1f}" for value in numbers} | set(re.findall(r"[\d.]+", words))
    found = re.findall(r"(?<![\w.*])−?\d[\d,.]*(?:e−?\d+)?(?![\w.]*\w)", text)
    assert len(found) > 50
    assert [one for one in found if one.rstrip(".,") not in written | {f"−{w}" for w in written}] == []


def test_whether_the_map_is_true_is_told_first(both, models, net, measured):
    statements = both[1]["effects"]["statements"]
    assert statements[0].startswith("Attribution ranks 5 groups as resetting them does")
    table, _ = measured
    scrambled = dict(zip(models.pretrained, [0.3, -0.1, 0.0, 0.2, -0.4, 0.0, 0.1], strict=True))
    poor = attributed(models, scrambled)
    data = kenviz.report_data(net, models, ablation=table, attribution=poor, **QUIET)
    assert data.effects.statements[0].startswith("Attribution is a poor map here")
    assert data.effects.agreements[0].poor


def test_without_an_attribution_only_what_was_measured_is_told(models, net, measured):
    data = kenviz.report_data(net, ablation=measured[0], **QUIET)
    effects = checked(data.text())["effects"]
    assert effects["agreements"] == []
    assert effects["items"] is None
    assert {line["attribution"] for line in effects["groups"]} == {None}
    assert checked(kenviz.report_data(net, **QUIET).text())["effects"] is None
    metric = kenviz.report_data(net, ablation=made_up(losses=False), **QUIET).effects
    assert metric.measured == "metric"


def test_more_groups_than_are_shown_are_counted_and_in_the_data(models, net, tmp_path):
    table = made_up([f"group {i}" for i in range(30)], seeds=())
    path = kenviz.report(net, models, tmp_path / "r.html", ablation=table, sections=["effects"], **QUIET)
    page = read(path)
    assert "10 more groups are in the data." in page.html
    assert "Of 30 groups, 10 are not shown" in page.html
    assert page.html.count("group 29") > page.html.count("group 0</td>") == 0
    data = kenviz.report_data(net, ablation=table, **QUIET).effects
    assert (len(data.groups), data.groups_shown, data.groups_left_out) == (30, 20, 10)


def test_names_of_strangers_are_text(models, net, tmp_path):
    table = made_up([HOSTILE, "other", "third"])
    path = kenviz.report(net, models, tmp_path / "r.html", ablation=table, sections=["effects"], **QUIET)
    text = path.read_text(encoding="utf-8")
    assert "<script>alert" not in text
    assert "\u202e" not in text


def test_what_cannot_be_told_is_refused_before_the_work(models, net, measured, tmp_path):
    table, attribution = measured
    page = tmp_path / "r.html"
    for given, why in (
        ({"attribution": attribution}, "an attribution stands beside interventions"),
        ({"ablation": table[:2]}, "the table has no group"),
        ({"ablation": table, "attribution": attribution, "by": "tensor"}, "give by= as for the ablation"),
        ({"sections": ["effects"]}, "section 'effects' needs ablation, which was not given"),
    ):
        with pytest.raises(ValueError, match=why):
            kenviz.report(net, models, page, **given, **QUIET)
    other = ken.Attribution(attribution.arrays, 1.0, 0.5, fingerprint="another")
    with pytest.raises(ValueError, match="of another fine-tuned model than the subnetwork"):
        kenviz.report(net, models, page, ablation=table, attribution=other, **QUIET)
    assert list(tmp_path.iterdir()) == []


def test_no_output_is_an_input_and_the_command_does_the_same(models, net, measured, tmp_path):
    table, attribution = measured
    csv, shares = tmp_path / "effects.csv", tmp_path / "attribution.safetensors"
    table.to_csv(csv, index=False)
    attribution.save(shares)
    before = csv.read_bytes(), shares.read_bytes()
    for where, why in ((csv, "it is the effects"), (shares, "it is the attribution")):
        with pytest.raises(OutputError, match=why):
            kenviz.report(net, models, where, ablation=csv, attribution=shares, overwrite=True, **QUIET)
    assert (csv.read_bytes(), shares.read_bytes()) == before
    for name, state in models._asdict().items():
        torch.save(state, tmp_path / f"{name}.bin")
    net.save(tmp_path / "net.ken.safetensors")
    words = ["report", "net.ken.safetensors", "fine_tuned.bin", "pretrained.bin"]
    words = [words[0], *(str(tmp_path / word) for word in words[1:])]
    options = ["--effects", csv, "--attribution", shares, "--by", "place", "--sections", "effects"]
    page, data = tmp_path / "page.html", tmp_path / "page.json"
    result = CliRunner().invoke(app, [*words, *map(str, options), "-o", str(page), "--json", str(data)])
    assert result.exit_code == 0, result.output
    told = json.loads(data.read_text(encoding="utf-8"))["effects"]
    here = kenviz.report_data(net, ablation=pd.read_csv(csv), attribution=attribution, **QUIET).effects
    assert [line["group"] for line in told["groups"]] == [line.group for line in here.groups]
    assert told["statements"] == here.statements
