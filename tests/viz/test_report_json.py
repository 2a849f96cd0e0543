"""The data of a report: the page has no figure that it lacks, its schema is true, and every null says why."""

import json
import math
import os
import re
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import jsonschema
import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from kenviz_models import HOSTILE, small_pair
from report_page import read

import ken
import kenviz
from ken.errors import OutputError, ReportError, ThresholdError
from kenviz.reporting.documentation import ASKED, KNOWN
from kenviz.reporting.schema import ReportData, json_schema, meanings
from kenviz.reporting.summary import Summary
from kenviz.reporting.thresholds import Threshold, units
from kenviz.text.numbers import in_digits, in_percent

DOCS = Path(__file__).parent.parent.parent / "docs"
QUIET = {"progress": False}


@pytest.fixture(scope="module")
def models():
    return small_pair()


@pytest.fixture(scope="module")
def net(models):
    return ken.prune(*models, 0.5)


@pytest.fixture(scope="module")
def results(models):
    class Score(float):
        standard_error = 0.0125

        @property
        def metrics(self):
            return {"macro_f1": 0.4321, "loss": 1.75}

    def evaluate(state):
        return Score(np.mean([float((state[name] == of).double().mean()) for name, of in models.fine_tuned.items()]))

    return ken.sweep(models, [0.25, 0.5], ["ken", "random"], evaluate=evaluate, seeds=(0, 1), **QUIET)


@pytest.fixture(scope="module")
def both(models, net, results, tmp_path_factory):
    """Page and JSON of one call, parsed."""
    folder = tmp_path_factory.mktemp("report")
    told = {"results": results, "metric": "accuracy", "compare": ken.prune(*models, 0.5, "random", seed=3)}
    kenviz.report(net, models, folder / "r.html", json=folder / "r.json", **told, **QUIET)
    return read(folder / "r.html"), checked((folder / "r.json").read_text(encoding="utf-8"))


def checked(text):
    """The JSON, if it is strict, follows the schema, is read back as it was, and says of every null why."""
    report = json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    jsonschema.Draft202012Validator(json_schema()).validate(report)
    assert json.loads(ReportData.model_validate(report).text()) == report
    told = {line["field"]: line["count"] for line in report["missing"]}
    seen = {}
    for path, value in leaves({name: part for name, part in report.items() if name != "missing"}):
        if value is None:
            known = [name for name in told if re.fullmatch(re.escape(name).replace(r"\*", r"[^.]*"), path)]
            assert known, path
            seen[known[0]] = seen.get(known[0], 0) + 1
    assert seen == told
    assert all(line["reason"] for line in report["missing"])
    assert "it is no finite number" not in {line["reason"] for line in report["missing"]}
    return report


def leaves(value, at=""):
    if isinstance(value, dict):
        for name, part in value.items():
            yield from leaves(part, f"{at}.{name}" if at else name)
    elif isinstance(value, list):
        for part in value:
            yield from leaves(part, f"{at}[]")
    else:
        yield at, value


def within(part, whole):
    if isinstance(part, dict):
        return all(within(value, whole[name]) for name, value in part.items())
    return all(value in whole for value in part) if isinstance(part, list) else part == whole


def test_every_figure_of_the_page_is_in_the_json(both):
    page, report = both
    values = [value for _, value in leaves(report)]
    numbers = {float(value) for value in values if isinstance(value, int | float) and not isinstance(value, bool)}
    words = set(re.findall(r"[\d.]+", " ".join(value for value in values if isinstance(value, str))))
    written = {
        text
        for value in numbers
        for text in (in_digits(value), in_digits(value, 4), f"{100 * value:g}", f"{100 * value:.3g}")
    }
    written |= {in_percent(abs(value)).strip("<>%\N{NO-BREAK SPACE}") for value in numbers}
    written |= {f"{value:.0f}" for value in numbers if value.is_integer()} | words
    # marked figures have the exact value of the field that they name
    for name, said in page.numbers.items():
        part, field = name.split(".")
        assert {value for value, _ in said} == {report[part][field]}, name
    # exact values in tables
    for rows in (rows for tables in page.tables.values() for rows in tables):
        for cell in (cell for cells in rows for cell in cells):
            if cell.value is not None and not math.isnan(cell.value):
                assert cell.value in numbers
    # every other run of digits, but for the titles of columns and the words of the glossary
    html = re.sub("<(script|style|svg|pre|dl|thead).*?</\\1>", " ", page.html, flags=re.DOTALL)
    text = re.sub("<[^>]*>", " ", html.replace(",", "")).replace("&#34;", "")
    text = re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d", " ", text)  # written_at, in other words
    found = re.findall(r"(?<![\w.])\d+(?:\.\d+)?(?:e-?\d+)?(?![\w.]*\w)", text)
    assert len(found) > 200
    assert [number for number in found if number not in written] == []


def test_the_json_says_what_the_tables_say(both, models, net, results):
    _, report = both
    retained = ken.retention.table(net, models)
    wanted = net.table().join(retained[["update_share", "neighbours_z", "energy", "modes"]])
    assert [line["tensor"] for line in report["tensors"]] == list(wanted.index)
    for name in ("entries", "retained", "share", "update_share", "neighbours_z", "energy", "modes"):
        got = [math.nan if line[name] is None else line[name] for line in report["tensors"]]
        assert got == pytest.approx(wanted[name].to_list(), rel=0, abs=0, nan_ok=True), name
    for key, by in (("places", ["stack", "layer", "role"]), ("layers", ["layer"])):
        places = ken.retention.by_place(retained, by)
        assert [line["update_share"] for line in report[key]] == places["update_share"].to_list()
        assert [line["tensors"] for line in report[key]] == places["tensors"].to_list()
    own = results[(results["rule"] == "ken") & (results["k"] == 0.5)].iloc[0]
    assert report["summary"]["metric"] == own["metric"]
    assert report["summary"]["metric_loss_points"] == pytest.approx(-100 * own["difference"])
    assert report["evaluation"]["own"]["further_metrics"] == {"macro_f1": 0.4321, "loss": 1.75}
    drawn = results[(results["rule"] == "random") & (results["k"] == 0.5)]["metric"]
    assert (report["evaluation"]["random"]["metric"], report["summary"]["random_draws"]) == (drawn.mean(), 2)
    assert len(report["evaluation"]["table"]["rows"]) == len(results)
    assert report["relation"]["size"] == net.relation.size
    common = ken.retention.compare(net, ken.prune(*models, 0.5, "random", seed=3), models)
    assert [line["both_z"] for line in report["comparison"]["by_tensor"]] == common["both_z"].to_list()


def test_schema_and_page_of_the_documentation_are_those_of_the_classes(monkeypatch):
    monkeypatch.syspath_prepend(str(DOCS))
    import report_schema

    assert report_schema.SCHEMA.read_text(encoding="utf-8") == report_schema.schema_text()
    page = report_schema.PAGE.read_text(encoding="utf-8")
    assert report_schema.page_text(page) == page
    space = {"ken": ken, "kenviz": kenviz}
    exec(next(block for block in re.findall(r"```python\n(.*?)```", page, re.DOTALL) if "whole" in block), space)
    excerpt = json.loads(re.search(r"```json\n(.*?)```", page, re.DOTALL)[1])
    assert within(excerpt, space["whole"])
    assert all(says and "|" not in f"{says}{unit}{null}" for says, unit, null in meanings().values())
    assert json_schema()["$id"] == "urn:kenviz:report:1.1"
    jsonschema.Draft202012Validator.check_schema(json_schema())


def unusual():
    """Subnetworks and pairs that are not as most are."""
    flat = ken.Pair({"b": torch.arange(9.0)}, {"b": torch.zeros(9)})
    same = ken.Pair({"w": torch.ones(2, 4)}, {"w": torch.ones(2, 4)})
    grown = ken.Pair({"w": torch.arange(40.0).reshape(5, 8)}, {"w": torch.zeros(3, 8)})
    tied = torch.arange(40.0).reshape(5, 8)
    named = ken.Pair({HOSTILE: tied, "alias": tied, "\udc80x": tied}, dict.fromkeys([HOSTILE, "\udc80x"], tied * 0))
    yield "flat", ken.prune(*flat, 4), flat
    yield "same", ken.prune(*same, 2), same
    yield "grown", ken.prune(*grown, {"*": 0.25}, "random", seed=3, rows={"w": "grown"}), grown
    yield "carried", ken.prune(*same, 2, exclude=["w"]), same
    yield "named", ken.prune(*named, 2), named
    yield "update", ken.prune(*flat, 2, "density", on="update", bandwidth=0.5), flat


@pytest.mark.parametrize(("net", "pair"), [case[1:] for case in unusual()], ids=[case[0] for case in unusual()])
def test_unusual_models_have_data_with_and_without_them(net, pair):
    for given_pair in (pair, None):
        report = checked(kenviz.report_data(net, given_pair, **QUIET).text())
        assert report["summary"]["entries_retained"] == net.retained
        assert len(report["tensors"]) == len(net.table())
        assert (report["summary"]["entries_changed"] is None) == (given_pair is None or not net.pruned())
    names = [line["tensor"] for line in report["tensors"]]
    assert names == [name.replace("\udc80", "\\udc80") for name in net.table().index]


def test_comparisons_are_told_whatever_they_are(models, net):
    task = {name: of * 1.5 for name, of in models.fine_tuned.items()}
    draws = [ken.prune(*models, k, "random") for k in (0.5, 0.25)]
    for one, other in ((net, ken.prune(task, models.pretrained, 0.5)), draws, (net, net)):
        report = checked(kenviz.report_data(one, models, compare=other, **QUIET).text())
        assert report["comparison"]["elsewhere"] == (one.fine_tuned != other.fine_tuned)
        assert report["comparison"]["same_draw"] == (one is draws[0])
        assert (report["summary"]["compared_jaccard_expected"] is None) == (one is draws[0])
    with pytest.raises(ValueError, match="compare needs the models, and there are none"):
        kenviz.report_data(net, compare=net)


def test_whatever_is_known_of_where_a_model_came_from_is_told(net):
    @dataclass(frozen=True)
    class Located(type(net.fine_tuned)):
        mirror: str | None = None

    at_hub = Located(**asdict(net.fine_tuned) | {"source": "someone/a-model", "revision": "main"})
    report = checked(kenviz.report_data(replace(net, fine_tuned=at_hub)).text())
    told = asdict(net.fine_tuned) | {"source": "someone/a-model", "revision": "main", "mirror": None}
    assert report["models"]["fine_tuned"] == told
    assert report["model_documentation"]["fields"]["modified_model"]["value"] == told
    assert {line["field"]: line["reason"] for line in report["missing"]}["models.fine_tuned.mirror"] == "not recorded"


def test_any_table_of_results_and_numbers_that_json_lacks(models, net, results):
    frame = pd.DataFrame({HOSTILE: [math.inf, math.nan, 0.1 + 0.2], "when": pd.to_datetime(["2024-01-01"] * 3)})
    report = checked(kenviz.report_data(net, models, results=frame, **QUIET).text())
    assert report["evaluation"]["table"]["rows"][1:] == [
        [None, "2024-01-01 00:00:00"],
        [0.1 + 0.2, "2024-01-01 00:00:00"],
    ]
    assert (report["evaluation"]["own"], report["summary"]["metric"]) == (None, None)
    many = pd.DataFrame({"a": range(2010)})
    report = checked(kenviz.report_data(net, models, results=many, **QUIET).text())
    assert {line["what"]: line["count"] for line in report["left_out"]}["lines of the results"] == 10
    report = checked(kenviz.report_data(net, models, results=results.assign(standard_error=math.nan), **QUIET).text())
    assert report["summary"]["metric_standard_error"] is None


def test_three_thousand_tensors_take_a_bounded_room():
    """500 that are pruned, and as many lines as that needs of what is carried."""
    tensors = {f"model.layers.{i}.mlp.up_proj.weight": torch.arange(6.0).reshape(2, 3) + i for i in range(500)}
    counts = {f"model.layers.{i}.mlp.steps": torch.arange(3) for i in range(2500)}
    pair = ken.Pair(tensors | counts, {name: of * 0 for name, of in (tensors | counts).items()})
    text = kenviz.report_data(ken.prune(*pair, 1, "magnitude"), pair, **QUIET).text()
    lines = [len(line) for line in text.splitlines() if line.startswith('  {"tensor": "model.layers.')]
    assert len(lines) >= 3000
    assert max(lines) < 3000
    assert len(text) - sum(lines) < 500 * 3000


def test_both_files_are_written_or_none_and_no_input_is_one(models, net, tmp_path, monkeypatch):
    page, path = tmp_path / "r.html", tmp_path / "r.json"
    for _ in range(2):  # the second time over those of the first
        kenviz.report(net, models, page, json=path, sections=["summary"], **QUIET)
    before = page.read_bytes(), path.read_bytes()
    count = iter(range(9))
    real = os.fsync
    with monkeypatch.context() as patch:
        patch.setattr(
            os, "fsync", lambda file: real(file) if next(count) < 1 else (_ for _ in ()).throw(OSError("full"))
        )
        with pytest.raises(OSError, match="full"):
            kenviz.report(net, models, page, json=path, title="New", sections=["summary"], **QUIET)
    assert (page.read_bytes(), path.read_bytes()) == before
    assert {file.name for file in tmp_path.iterdir()} == {"r.html", "r.json"}
    facts = tmp_path / "facts.json"
    facts.write_text("{}")
    other = tmp_path / "package.json"
    other.write_text('{"name": "mine"}')
    for where, why in (
        (page, "are one file"),
        (facts, "it is the facts"),
        (other, "holds text, not the data of a rep"),
    ):
        with pytest.raises(OutputError, match=why):
            kenviz.report(net, models, page, json=where, facts=facts, **QUIET)
    with pytest.raises(ValueError, match="facts are written into the JSON"):
        kenviz.report(net, models, page, facts=facts, **QUIET)
    assert (facts.read_text(), other.read_text()) == ("{}", '{"name": "mine"}')


def test_the_documentation_tells_what_is_known_from_what_is_stated_and_what_is_open(models, net, results, tmp_path):
    net.save(tmp_path / "net.ken.safetensors")
    stored = ken.load(tmp_path / "net.ken.safetensors")
    (tmp_path / "facts.toml").write_text(
        'licence = "mit"\nenergy = {value = 0.5}\nrelease_date = 2026-01-02\nrationale = ""'
    )
    told = {"results": results, "metric": "accuracy", "facts": tmp_path / "facts.toml"}
    fields = checked(kenviz.report_data(stored, models, **told, **QUIET).text())["model_documentation"]["fields"]
    assert list(fields) == [*KNOWN, *ASKED]
    stated = {"licence": "mit", "energy": {"value": 0.5}, "release_date": "2026-01-02"}
    for name, field in fields.items():
        open_ = name in {*ASKED} - {*stated} or name == "architecture"
        status = "to be filled in" if open_ else "stated by the provider" if name in stated else "known to the tool"
        assert (field["status"], field["value"] is None) == (status, open_), name
    assert {name: fields[name]["value"] for name in stated} == stated
    assert fields["file_size_bytes"]["value"] == (tmp_path / "net.ken.safetensors").stat().st_size
    assert fields["pretrained_model"]["value"]["fingerprint"] == net.pretrained.fingerprint
    assert fields["evaluation"]["value"]["metric"] == fields["evaluation"]["value"]["metric_loss_points"] * -0.01 + 1


def test_points_of_the_annexes_are_all_asked_and_none_that_there_is_not():
    asked = {point for question in (KNOWN | ASKED).values() for point in question.points}
    wanted = {f"XI 1({letter})" for letter in "abcdef"} | {f"XI 2({letter})" for letter in "abcde"}
    wanted |= {f"XII 1({letter})" for letter in "abcdefgh"} | {f"XII 2({letter})" for letter in "abc"} | {"XI-2 1"}
    assert asked == wanted
    assert "Regulation (EU) 2024/1689, Annex XI, Section 1, point 1(f)" in ASKED["licence"].answers


@pytest.mark.parametrize(
    ("name", "text", "why"),
    [
        ("f.json", '{"license": "mit"}', "no fact 'license'; did you mean licence?"),
        ("f.json", '{"method": "mine"}', "method is known to the tool"),
        ("f.json", '{"licence": "a", "licence": "b"}', "'licence' is given twice"),
        ("f.json", "[1]", "must hold names and values, got list"),
        ("f.json", "{", "cannot be read as facts"),
        ("f.toml", "licence = ", "cannot be read as facts"),
        ("f.toml", "\x00", "cannot be read as facts"),
    ],
)
def test_facts_that_cannot_be_taken_are_refused(net, name, text, why, tmp_path):
    (tmp_path / name).write_text(text)
    with pytest.raises(ReportError, match=re.escape(why)):
        kenviz.report_data(net, facts=tmp_path / name)


@given(st.sampled_from([*units()]), st.sampled_from(["<", "<=", ">", ">=", "==", "!="]), st.floats(0, 1), st.booleans())
def test_thresholds_are_read_as_they_are_written(name, sign, limit, percent):
    text = f" {name}{sign}{100 * limit!r}%" if percent else f"{name} {sign} {limit!r} "
    read_as = Threshold.parse(text)
    assert (read_as.name, read_as.operator, read_as.percent) == (name, sign, percent)
    assert read_as.limit == (pytest.approx(limit) if percent else limit)
    for value in (0.0, limit, 1.0):
        assert read_as.crossed_by(value) == eval(f"{value!r} {sign} {read_as.limit!r}")


@given(st.text(max_size=40))
def test_any_other_text_is_no_threshold(text):
    try:
        read_as = Threshold.parse(text)
    except ReportError:
        return
    assert read_as.name.isidentifier()
    assert math.isfinite(read_as.limit)


def test_thresholds_are_checked_against_the_summary_and_metrics(models, net, results, tmp_path):
    data = kenviz.report_data(net, models, results=results, metric="accuracy", **QUIET)
    loss = data.summary.metric_loss_points
    crossed = kenviz.check_thresholds(
        data, ["metric_loss_points > 1", "accuracy < 99.5%", "macro_f1 < 40%", "loss > 1", "share_retained > 0.9"]
    )
    assert [of.threshold.name for of in crossed] == ["metric_loss_points", "accuracy", "loss"]
    assert [of.value for of in crossed] == [loss, data.summary.metric, 1.75]
    assert str(crossed[0]) == f"metric_loss_points is {loss!r}, and metric_loss_points > 1.0 was to fail"
    for text, why in (
        ("nothing < 1", "no number 'nothing'; there are accuracy, macro_f1, loss, entries, "),
        ("metric_difference_paired < 1", "no number 'metric_difference_paired'"),
        ("share_retained < 20", "is a share, from 0 to 1; percent need their sign (20%)"),
        ("loss > 1%", "loss is no share"),
        ("metric_loss_points > 1%", "metric_loss_points is no share"),
        ("__import__('os') < 1", "NAME OP NUMBER"),
        ("accuracy < 1e400", "NAME OP NUMBER"),
    ):
        with pytest.raises(ReportError, match=re.escape(why)):
            kenviz.check_thresholds(data, [text])
        with pytest.raises(ReportError, match=re.escape(why)):
            kenviz.report(net, models, tmp_path / "r.html", results=results, metric="accuracy", fail_if=[text], **QUIET)
        assert list(tmp_path.iterdir()) == []
    bare = kenviz.report_data(net, models, **QUIET)
    with pytest.raises(ReportError, match=r"metric is missing \(no results of this rule and k were given\)"):
        kenviz.check_thresholds(bare, ["metric < 0.5"])
    assert kenviz.check_thresholds(bare, []) == []
    with pytest.raises(ThresholdError, match="tensors_pruned is 7") as raised:
        kenviz.report(net, models, tmp_path / "r.html", sections=["summary"], fail_if=["tensors_pruned > 3"], **QUIET)
    assert len(raised.value.crossed) == 1
    assert "Of the" in (tmp_path / "r.html").read_text(encoding="utf-8")


def test_every_number_of_the_summary_has_a_unit_that_thresholds_know():
    known = {"share", "entries", "tensors", "names", "neighbours", "standard deviations", "ratio", "", "metric"}
    assert set(units().values()) - known == {"percentage points", "draws", "rows"}
    assert set(units()) == {*Summary.model_fields} - {"metric_difference_paired"}
