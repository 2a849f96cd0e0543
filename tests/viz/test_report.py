"""The report: every number in it is found again in tables, or in the models themselves, computed here on its own."""

import base64
import re

import numpy as np
import pandas as pd
import pytest
import torch
from kenviz_models import HOSTILE, small_pair
from oracles import published_rule
from report_page import bokeh_models, curve, read
from scipy.stats import gaussian_kde

import ken
import kenviz
from ken.evaluation.classification import Evaluation
from kenviz.reporting import collect
from kenviz.text.labels import label, visible


@pytest.fixture(scope="module")
def models():
    return small_pair()


@pytest.fixture(scope="module")
def nets(models):
    return ken.prune(*models, 0.5), ken.prune(*models, 0.5, "random", seed=3)


@pytest.fixture(scope="module")
def results(models):
    """A sweep whose metric is the share of entries that are fine-tuned, and which errs by a tenth of that."""

    class Score(float):
        @property
        def standard_error(self):
            return float(self) / 10

    def evaluate(state):
        same = [(state[name] == models.fine_tuned[name]).flatten() for name in models.pretrained]
        return Score(torch.cat(same).double().mean())

    told = {"evaluate": evaluate, "seeds": (0, 1, 2), "progress": False}
    return ken.sweep(models, [0.25, 0.5], ["ken", "random"], **told)


@pytest.fixture(scope="module")
def page(models, nets, results, tmp_path_factory):
    path = tmp_path_factory.mktemp("report") / "r.html"
    return read(kenviz.report(nets[0], models, path, results=results, compare=nets[1], title="A title"))


def update(models, name):
    return (models.fine_tuned[name].double() - models.pretrained[name].double()).numpy()


def details(models, net):
    """The tensors in detail by the rule that the report states, from the models themselves."""
    kept = {}
    for name in net.pruned():
        if name.startswith("layer") and name.endswith("weight"):
            squares = update(models, name) ** 2
            kept[name] = squares[net[name].row_mask()].sum() / squares.sum()
    return ["embed.weight", min(kept, key=kept.get), max(kept, key=kept.get)]


def quantile_rows(models, name, quantiles=(0.05, 0.5, 0.95)):
    rms = np.sqrt((update(models, name) ** 2).mean(axis=1))
    order = np.argsort(rms, kind="stable")
    return [(int(order[round(q * (len(rms) - 1))]), rms[order[round(q * (len(rms) - 1))]]) for q in quantiles]


def turned(models, net):
    """Shares of the rows in detail that flip if the grid is visited in reverse."""
    for name in details(models, net):
        for row, _ in quantile_rows(models, name):
            values, mask = models.fine_tuned[name][row].double().numpy(), net[name].row_mask()[row]
            yield (published_rule(values, mask.sum(), backwards=True) != mask).mean()


def test_every_number_in_the_prose_is_found_in_the_tables(page, models, nets, results):
    net, other = nets
    table, retained = net.table(), ken.retention.table(net, models)
    common = ken.retention.compare(net, other, models)
    sums = common[["retained_a", "retained_b", "both", "both_expected", "energy"]].sum()
    shares = {of: (common[f"update_share_{of}"] * common["energy"]).sum() / sums["energy"] for of in "ab"}
    lines = {(of.rule, of.k): of for of in results[results["model"] == "pruned"].itertuples() if of.rule == "ken"}
    own, fine = lines["ken", 0.5], results[results["model"] == "fine-tuned"].iloc[0]
    drawn = results[(results["rule"] == "random") & (results["k"] == 0.5)]
    flips = list(turned(models, net))
    wanted = {
        "summary.entries": table["entries"].sum(),
        "summary.entries_retained": table["retained"].sum(),
        "summary.share_retained": table["retained"].sum() / table["entries"].sum(),
        "summary.entries_reset": (table["entries"] - table["retained"]).sum(),
        "summary.tensors_pruned": (table["status"] == "pruned").sum(),
        "summary.tensors_carried": (table["status"] == "carried").sum(),
        "summary.entries_changed": retained["changed"].sum(),
        "summary.entries_paired": retained["paired"].sum(),
        "summary.share_retained_of_paired": retained["paired_retained"].sum() / retained["paired"].sum(),
        "summary.update_retained": retained["energy_retained"].sum() / retained["energy"].sum(),
        "summary.tail_entries": retained["tails"].sum(),
        "summary.tails_retained": retained["tails_retained"].sum() / retained["tails"].sum(),
        "summary.metric": own.metric,
        "summary.metric_standard_error": own.standard_error,
        "summary.metric_fine_tuned": fine["metric"],
        "summary.metric_fine_tuned_standard_error": fine["standard_error"],
        "summary.metric_difference": own.metric - fine["metric"],
        "summary.metric_difference_standard_error": own.difference_error,
        "summary.metric_random": drawn["metric"].mean(),
        "summary.metric_random_standard_error": drawn["standard_error"].mean(),
        "summary.random_draws": 3,
        "summary.metric_gain": own.metric - drawn["metric"].mean(),
        "summary.metric_gain_standard_error": np.hypot(own.standard_error, drawn["standard_error"].mean()),
        "summary.compared_either": sums["retained_a"] + sums["retained_b"] - sums["both"],
        "summary.compared_both": sums["both"],
        "summary.compared_jaccard": sums["both"] / (sums["retained_a"] + sums["retained_b"] - sums["both"]),
        "summary.compared_jaccard_expected": sums["both_expected"]
        / (sums["retained_a"] + sums["retained_b"] - sums["both_expected"]),
        "summary.compared_update_share_a": shares["a"],
        "summary.compared_update_share_b": shares["b"],
        "summary.reversed_share": np.mean(flips),
        "summary.reversed_rows": len(flips),
    }
    assert page.numbers.keys() == wanted.keys()
    for name, said in page.numbers.items():
        for value, text in said:
            assert value == pytest.approx(wanted[name], rel=1e-9, abs=1e-12), name
            digits = float(re.sub("[<>,%\N{NO-BREAK SPACE}points]", "", text.replace("−", "-")))
            factor = 100 if re.search("%|points", text) else 1
            assert digits == pytest.approx(factor * value, abs=0.051 if factor == 100 else 0), name
    # and no other number stands in the prose
    for line in page.said:
        assert not re.search(r"\d", line.replace("rule random, k = 0.5, seed 3", "")), line


def test_the_error_of_a_sweep_with_outcomes_is_that_of_its_differences(models, nets, tmp_path):
    """Models that are wrong independently of each other: that error is nearly the one of two separate measurements."""
    draws = iter(np.random.default_rng(0).random((9, 200)) < 0.5)

    class Scored(float):
        pass

    def evaluate(_):
        outcomes = next(draws)
        found = Scored(outcomes.mean())
        found.outcomes, found.standard_error = outcomes, float(outcomes.std() / np.sqrt(200))
        return found

    path = tmp_path / "sweep.jsonl"
    table = ken.sweep(models, [0.5], ["ken"], evaluate=evaluate, results=path, progress=False)
    separate = np.hypot(table["standard_error"].iloc[-1], table["standard_error"].iloc[0])
    exact = table.assign(difference_error=separate)
    table.to_csv(tmp_path / "sweep.csv", index=False)
    exact.assign(paired="TRUE").to_csv(tmp_path / "spreadsheet.csv", index=False)
    for source in (table, exact, ken.results.read(path), path, tmp_path / "sweep.csv", tmp_path / "spreadsheet.csv"):
        told = kenviz.report(nets[0], models, tmp_path / "r.html", results=source, sections=["summary"])
        said = " ".join(read(told).said)
        assert "Measured by metric" in said
        assert "taken as two separate measurements" not in said
    told = kenviz.report(nets[0], models, tmp_path / "r.html", results=exact.assign(paired=False), sections=["summary"])
    assert "taken as two separate measurements" in " ".join(read(told).said)


def test_what_is_said_of_a_difference_follows_from_its_standard_error(models, nets, results, tmp_path):
    def said(frame, net=nets[0]):
        path = kenviz.report(net, models, tmp_path / "r.html", results=frame, sections=["summary"], metric="accuracy")
        return " ".join(read(path).said)

    both, apart = "is within two standard errors: the two cannot be told apart", "is more than two standard errors"
    separate = "taken as two separate measurements"
    assert "Measured by accuracy" in said(results)
    # These evaluations have no outcomes: the error of a difference in the table is but that of two measurements.
    assert [said(results).count(words) for words in (both, apart, separate)] == [1, 1, 2]
    # One that was measured item by item counts, and no other; it may be just that of two separate measurements.
    assert [said(results.assign(paired=True)).count(words) for words in (both, apart, separate)] == [1, 1, 1]
    assert [said(results.assign(difference_error=0.3)).count(words) for words in (both, apart)] == [1, 1]
    # Tables older than the column that says so are read by their numbers.
    vague = results.assign(difference_error=0.3).drop(columns="paired")
    assert [said(vague).count(words) for words in (both, apart, separate)] == [2, 0, 1]
    assert f"(standard error #), {both}" in said(vague)
    unpaired = results.drop(columns=["difference", "difference_error", "paired"])
    assert [said(unpaired).count(words) for words in (both, apart, separate)] == [1, 1, 2]
    assert said(unpaired) == said(results)
    assert [said(unpaired.assign(standard_error=0.5)).count(words) for words in (both, apart)] == [2, 0]
    assert "how sure it is is not known" in said(unpaired.assign(standard_error=np.nan))
    assert "do not have the rule “random”" in said(results[results["rule"] != "random"])
    assert "No evaluation of this rule and k" in said(results[results["k"] != 0.5])
    by_update = ken.prune(*models, 0.5, "update", progress=False)
    assert "That is more than their share of the entries." in said(None, by_update)
    assert "That is about their share of the entries: the rule does not look at the update" in said(None)


def test_every_cell_of_the_table_of_all_tensors_is_that_of_net_table_and_retention(page, models, nets):
    (rows,) = page.tables["tensors"]
    wanted = nets[0].table().join(ken.retention.table(nets[0], models)[["update_rms", "update_share"]])
    assert [cells[0].text for cells in rows[1:]] == list(wanted.index)
    for cells, (_, line) in zip(rows[1:], wanted.iterrows(), strict=True):
        assert [cell.text for cell in cells[1:3]] == [line["status"], line["reason"]]
        assert cells[4].text == line["dtype"]
        numbers = [cell.value for cell in cells[5:]]
        names = ["entries", "retained", "share", "update_rms", "update_share"]
        assert numbers == pytest.approx(line[names].to_list(), rel=1e-12, nan_ok=True)
        assert int(cells[5].text.replace(",", "")) == line["entries"]
        assert cells[7].text == f"{100 * line['share']:.1f}\N{NO-BREAK SPACE}%"


def test_the_map_holds_what_the_models_say(page, models, nets):
    net, table = nets[0], ken.retention.table(*(nets[0], models))
    matrices = table[table["rows"] > 1]
    (cells,) = (
        model["attributes"]["data"]
        for model in bokeh_models(page.scripts["item"])
        if model["attributes"].get("name") == "cells"
    )
    data = dict(cells["entries"])
    assert data["tensor"] == list(matrices.index)
    shares = 100 * matrices["update_share"]
    assert f"Colours run from {shares.min():.1f} % to {shares.max():.1f} %." in page.text["map"]
    drawing = re.search('<div class="paper"><svg.*?</svg>', page.html, re.DOTALL)[0]
    written = re.findall(r'<text class="on-(?:dark|light)"[^>]*text-anchor="middle">([\d.]+)\xa0%</text>', drawing)
    assert list(map(float, written)) == pytest.approx(shares.to_list(), abs=0.051)
    held = page.scripts["held"]["tensors"]
    assert len(held) == len(matrices)
    for name, of in zip(matrices.index, held, strict=True):
        squares, mask = update(models, name) ** 2, net[name].row_mask()
        assert table.loc[name, "update_share"] == pytest.approx(squares[mask].sum() / squares.sum())
        down, across = of["tile"]
        counts = np.frombuffer(base64.b64decode(of["counts"]), f"<u{of['bytes']}").reshape(of["tiles"])
        for i, j in np.ndindex(*counts.shape):
            part = mask[i * down : (i + 1) * down, j * across : (j + 1) * across]
            assert counts[i, j] == part.sum()
        assert f"{mask.shape[0]:,} rows and {mask.shape[1]:,} columns" in of["note"]
        for (row, rms), said in zip(quantile_rows(models, name), of["rows"], strict=True):
            values = models.fine_tuned[name][row].double().numpy()
            h = 1.06 * values.std() * len(values) ** -0.2
            assert (said["row"], said["k"], said["n"]) == (row, mask[row].sum(), len(values))
            assert (said["rms"], said["bandwidth"]) == pytest.approx((rms, h))
            edges = np.linspace(*said["edges"], len(said["all"]) + 1)
            assert said["edges"] == [values.min(), values.max()]
            assert said["all"] == np.histogram(values, edges)[0].tolist()
            assert said["retained"] == np.histogram(values[mask[row]], edges)[0].tolist()
            points, density = curve(said)
            kde = gaussian_kde(values, bw_method=h / values.std(ddof=1))
            assert density == pytest.approx(kde(points), rel=1e-4, abs=1e-4)


def test_the_notebook_and_the_report_draw_the_same_bars_and_the_same_curve(page, models, nets):
    """In the map of the page, in the drawings in it and in the data of these."""
    matrices = [name for name in nets[0].pruned() if name.endswith("weight")]
    held = dict(zip(matrices, page.scripts["held"]["tensors"], strict=True))
    drawings = re.findall(r'<svg [^>]*aria-label="[^"]*, Row .*?</svg>', page.html, re.DOTALL)
    assert len(drawings) == 9
    for i, name in enumerate(details(models, nets[0])):
        for j, said in enumerate(held[name]["rows"]):
            shown = kenviz.RowView(nets[0], models, name, said["row"]).pane
            assert said == page.scripts["data"][f"matrix-{i}-row-{j}"]
            edges = np.linspace(*said["edges"], len(said["all"]) + 1)
            scale = said["n"] * np.diff(edges)
            assert shown.column("bins", "left") == pytest.approx(edges[:-1])
            assert shown.column("bins", "right") == pytest.approx(edges[1:])
            for part in ("retained", "all"):
                assert shown.column("bins", part) == pytest.approx(said[part] / scale)
            points, density = curve(said)
            assert shown.column("curve", "x") == pytest.approx(points)
            assert shown.column("curve", "y") == pytest.approx(density, abs=1e-5 * max(density))
            assert [shown.root.select_one({"name": "values"}).start, said["points"][0]] == [said["points"][0]] * 2
            # a line of the drawing has a point for each of the curve, and one bar or two for each of the histogram
            drawing = drawings[3 * i + j]
            assert drawing.count("<rect") == 2 * np.count_nonzero(said["all"])
            assert re.search('<path class="line density" d="M([^"]*)"', drawing)[1].count("L") == len(points) - 1


def test_tensors_and_rows_in_detail_are_chosen_by_what_is_stated(page, models, nets):
    captions = [text for text in page.captions if "downsampled" in text]
    rows = [text for text in page.captions if text.startswith("Row ")]
    for i, name in enumerate(details(models, nets[0])):
        assert name in captions[i]
        mask = nets[0][name].row_mask()
        grid = page.scripts["data"][f"matrix-{i}"]
        assert sum(map(sum, grid["grid"])) == mask.sum()
        for j, (row, rms) in enumerate(quantile_rows(models, name)):
            n = mask.shape[1]
            assert f"Row {row}, at the {(5, 50, 95)[j]} % quantile" in rows[3 * i + j]
            assert f"by row, {rms:.3g}: k = {n // 2} of {n} entries" in rows[3 * i + j]
    assert len(page.images) == 3
    assert all(image["src"].startswith("data:image/png;base64,") for image in page.images)


def test_the_card_is_that_of_the_entry_that_is_stated(page, models, nets):
    ((row, _),) = quantile_rows(models, "embed.weight", (0.95,))
    change = np.abs(update(models, "embed.weight")[row])
    entry = int(np.where(nets[0]["embed.weight"].row_mask()[row], -1, change).argmax())
    assert ken.explain(nets[0], models, "embed.weight", row).entry(entry).text in page.pre
    assert "In the row at the 95 % quantile" in page.text["card"]


def test_results_and_comparison_are_tables_and_downloads(page, models, nets, results):
    (rows,) = page.tables["results"]
    columns = [cell.text for cell in rows[0]]
    for name in ("metric", "standard error", "share"):
        got = [cells[columns.index(name)].value for cells in rows[1:]]
        assert got == pytest.approx(results[name.replace(" ", "_")].to_list(), nan_ok=True)
    data = page.scripts["data"]
    frames = {
        "results": results,
        "comparison": ken.retention.compare(*nets, models).reset_index(),
        "map": ken.retention.table(nets[0], models).query("rows > 1").reset_index(),
    }
    for key, frame in frames.items():
        held = pd.DataFrame(data[key]["rows"], columns=data[key]["columns"])
        assert len(held) == len(frame)
        for name in held.columns:
            if frame[name].dtype.kind in "if":
                wanted = frame[name].to_numpy(dtype=float, na_value=np.nan)
                assert held[name].astype(float).to_numpy() == pytest.approx(wanted, nan_ok=True), name
    caption = next(text for text in page.captions if "a line a rule" in text)
    for line in results[results["rule"] == "ken"].itertuples():
        assert f"{100 * line.metric:.1f}\N{NO-BREAK SPACE}% at {100 * line.share:.1f}\N{NO-BREAK SPACE}%" in caption
    (by_role,) = page.tables["comparison"]
    common = ken.retention.compare(*nets, models).groupby("role", sort=False)["both"].sum()
    assert [(cells[0].text, cells[1].value) for cells in by_role[1:]] == list(common.items())


def test_provenance_names_both_models_and_what_makes_it_again(page, models, nets):
    net = nets[0]
    facts = {cells[0].text: cells[1].text for cells in page.tables["provenance"][0]}
    assert (facts["rule"], facts["k"], facts["seed"]) == ("ken", "0.5 of each row", "0")
    for name, state in models._asdict().items():
        provenance = getattr(net, name)
        entries = sum(tensor.numel() for tensor in state.values())
        told = f"{len(state)} tensors, {entries:,} entries, fingerprint {provenance.fingerprint}"
        assert facts[f"{name.replace('_', '-')} model"].endswith(told)
    for name, version in net.recipe.versions.items():
        assert f"{name} {version}" in facts["subnetwork made with"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d UTC", facts["report written"])


def test_the_lines_of_python_make_the_same_subnetwork_and_report(models, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    told = {"exclude": ["*.bias"], "on": "update", "rows": {"embed.*": "whole"}, "kernel": "linear"}
    net = ken.prune(*models, {"embed*": 50, "*": 0.25}, "density", **told)
    first = read(kenviz.report(net, models, "first.html", title="A \"'title", quantiles=[0.5], sections=["provenance"]))
    space = {"ken": ken, "kenviz": kenviz, **models._asdict()}
    exec(first.pre[0], space)
    assert {name: of.bits.tobytes() for name, of in space["net"].pruned().items()} == {
        name: of.bits.tobytes() for name, of in net.pruned().items()
    }
    again = read(tmp_path / "report.html")
    assert again.pre == first.pre
    assert "<title>A &#34;&#39;title</title>" in again.html
    assert again.text["provenance"].split("report written")[0] == first.text["provenance"].split("report written")[0]


def test_it_asks_the_network_for_nothing(page):
    asked = [of[name] for _, of in page.elements for name in ("src", "href") if name in of]
    assert [address for address in asked if not address.startswith(("#", "data:"))] == []
    style = re.search("<style>(.*?)</style>", page.html, re.DOTALL)[1]
    assert "@import" not in style
    # Whatever is in the page, the browser is told to fetch nothing.
    (policy,) = (of["content"] for tag, of in page.elements if tag == "meta" and "http-equiv" in of)
    assert policy.startswith("default-src 'none';")
    assert "http" not in policy
    assert set(re.findall(r"url\((.)", style)) == {"#"}


def test_hostile_names_titles_cells_and_metrics_are_inert_and_still_there_as_text(tmp_path):
    pair = small_pair(extra=[HOSTILE])
    net = ken.prune(*pair, 3)
    told = {"tensors": [HOSTILE], "compare": ken.prune(*pair, 4)}
    frame = pd.DataFrame({HOSTILE: [HOSTILE]})
    bad = read(kenviz.report(net, pair, tmp_path / "r.html", title=HOSTILE, results=frame, metric=HOSTILE, **told))
    plain = read(kenviz.report(net, pair, tmp_path / "plain.html", title="A", results=frame, metric="B", **told))
    elements = [[(tag, sorted(of)) for tag, of in page.elements] for page in (bad, plain)]
    assert elements[0] == elements[1]
    assert "alert" not in {tag for tag, _ in bad.elements}
    assert sum(tag == "script" for tag, _ in bad.elements) == 6
    assert visible(HOSTILE) in [cells[0].text for cells in bad.tables["tensors"][0]]
    assert label(HOSTILE) in bad.captions
    assert not re.search("[\u202a-\u202e\u2066-\u2069]", re.sub("<script.*?</script>", "", bad.html, flags=re.DOTALL))


def test_sections_are_those_asked_for(models, nets, results, tmp_path):
    page = read(kenviz.report(nets[0], models, tmp_path / "r.html", sections=["tensors", "summary"]))
    assert [of["id"] for tag, of in page.elements if tag == "h2"] == ["summary", "tensors"]
    assert "held" not in page.scripts
    assert len(page.html) < 100_000
    page = read(kenviz.report(nets[0], models, tmp_path / "r.html", theme="dark"))
    assert [of["id"] for tag, of in page.elements if tag == "h2"] == [
        *("summary", "provenance", "map", "details", "card", "tensors", "glossary")
    ]
    assert [of["value"] for tag, of in page.elements if tag == "option" and "selected" in of] == ["dark"]


@pytest.mark.parametrize(
    ("told", "message"),
    [
        ({"sections": ["sumary"]}, "got 'sumary'"),
        ({"sections": []}, "at least one section"),
        ({"sections": "map"}, "a sequence of names, got the text 'map'"),
        ({"sections": ["results"]}, "section 'results' needs results, which was not given"),
        ({"sections": ["comparison"]}, "section 'comparison' needs compare, which was not given"),
        ({"theme": "blue"}, "theme must be one of auto, light, dark; got 'blue'"),
        ({"quantiles": [1.5]}, "quantiles must be from 0 to 1, got 1.5"),
        ({"quantiles": []}, "quantiles must name at least one"),
        ({"tensors": ["head.weight"]}, "tensors must be pruned ones, got 'head.weight'"),
    ],
)
def test_bad_arguments_are_refused_before_anything_is_written(models, nets, told, message, tmp_path):
    with pytest.raises(ValueError, match=re.escape(message)):
        kenviz.report(nets[0], models, tmp_path / "r.html", **told)
    assert list(tmp_path.iterdir()) == []


def test_results_of_another_model_and_other_models_are_refused(models, nets, results, tmp_path):
    with pytest.raises(ValueError, match="the results are of another model: of one with 7 entries"):
        kenviz.report(nets[0], models, tmp_path / "r.html", results=results.assign(entries=7))
    for which in models._fields:
        changed = {name: of + 1 for name, of in getattr(models, which).items()}
        with pytest.raises(ValueError, match=f"the {which.replace('_', '-')} model is not the one"):
            kenviz.report(nets[0], models._replace(**{which: changed}), tmp_path / "r.html")
    assert list(tmp_path.iterdir()) == []
    other = ken.Pair(*({name: of[:-1] for name, of in side.items()} for side in models))
    with pytest.raises(ValueError, match="the subnetwork has shape"):
        kenviz.report(nets[0], other, tmp_path / "r.html")


def test_a_subnetwork_of_another_task_is_said_to_be_one(models, nets, tmp_path):
    task = {name: of * 1.5 for name, of in models.fine_tuned.items()}
    told = {"sections": ["comparison"], "progress": False}
    for other, said in ((ken.prune(task, models.pretrained, 0.5), True), (nets[1], False)):
        page = read(kenviz.report(nets[0], models, tmp_path / "r.html", compare=other, **told))
        assert ("It was made of another fine-tuned model" in page.text["comparison"]) == said


def test_results_may_be_files(models, nets, results, page, tmp_path):
    results.to_csv(tmp_path / "table.csv", index=False)
    told = {"compare": nets[1], "title": "A title"}
    again = read(kenviz.report(nets[0], models, tmp_path / "r.html", results=tmp_path / "table.csv", **told))
    assert again.numbers == page.numbers
    told = {"evaluate": lambda _: 0.25, "results": tmp_path / "kept.jsonl", "progress": False}
    ken.sweep(models, [0.5], ["ken"], **told)
    again = read(kenviz.report(nets[0], models, tmp_path / "r.html", results=tmp_path / "kept.jsonl"))
    assert [value for value, _ in again.numbers["summary.metric"]] == [0.25]

    # Items tell how sure a difference is, in a file as in a table.
    right = iter([90, 10, 81])

    def evaluate(_):
        return Evaluation.of(np.ones(100, int), (np.arange(100) < next(right)).astype(int), 2)

    swept = ken.sweep(models, [0.5], ["ken"], evaluate=evaluate, results=tmp_path / "items.jsonl", progress=False)
    again = read(kenviz.report(nets[0], models, tmp_path / "r.html", results=tmp_path / "items.jsonl"))
    assert [value for value, _ in again.numbers["summary.metric_difference_standard_error"]] == [
        swept["difference_error"].iloc[-1]
    ]
    assert swept["difference_error"].iloc[-1] == pytest.approx(np.sqrt(0.09 * 0.91 / 100))

    (tmp_path / "no.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ValueError, match=r"no\.csv cannot be read as CSV"):
        kenviz.report(nets[0], models, tmp_path / "r.html", results=tmp_path / "no.csv")


def test_a_budget_bounds_what_is_embedded_and_the_report_says_so(models, nets, tmp_path, monkeypatch):
    from kenviz.reporting import sampling

    monkeypatch.setattr(sampling, "MOST_TENSORS", 2)
    page = read(kenviz.report(nets[0], models, tmp_path / "r.html", tensors=["layer.1.query.weight"]))
    names = [name for name in nets[0].pruned() if name.endswith("weight")]
    held = page.scripts["held"]["tensors"]
    energy = {name: (update(models, name) ** 2).sum() for name in names}
    wanted = {"layer.1.query.weight", max(energy, key=energy.get)}
    assert {name for name, of in zip(names, held, strict=True) if of} == wanted
    assert f"{len(names) - 2} matrices, those with the least energy" in page.text["map"]


def test_a_failed_or_interrupted_report_leaves_the_old_one_and_no_other_file(models, nets, tmp_path, monkeypatch):
    import os

    path = kenviz.report(nets[0], models, tmp_path / "r.html")
    before = path.read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", lambda _: (_ for _ in ()).throw(OSError("no space left")))
        with pytest.raises(OSError, match="no space left"):
            kenviz.report(nets[0], models, path)
    monkeypatch.setattr(collect, "pooled", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        kenviz.report(nets[0], models, path)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["r.html"]


def test_a_path_that_cannot_be_written_is_named(models, nets, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"r\.html cannot be written: there is no folder .*missing"):
        kenviz.report(nets[0], models, tmp_path / "missing" / "r.html")
    with pytest.raises(IsADirectoryError, match="cannot be written: it is a folder"):
        kenviz.report(nets[0], models, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_unusual_models_can_be_reported_too(tmp_path):
    more = {"tall.weight": torch.arange(40.0).reshape(5, 8), "same.weight": torch.ones(3, 8), "b": torch.arange(9.0)}
    base = {"tall.weight": torch.zeros(3, 8), "same.weight": torch.ones(3, 8), "b": torch.zeros(9)}
    pair = ken.Pair(more, base)
    for k, told in ((4, {}), (0.5, {"rule": "random"}), (100, {}), (2, {"rule": "density", "on": "update"})):
        net = ken.prune(*pair, k, **told)
        page = read(kenviz.report(net, pair, tmp_path / "r.html", tensors=list(net.pruned())))
        assert page.numbers["summary.entries_retained"][0][0] == net.retained
    only = ken.Pair({"b": torch.arange(9.0)}, {"b": torch.zeros(9)})
    page = read(kenviz.report(ken.prune(*only, 4), only, tmp_path / "r.html"))
    assert "so there is no map" in page.text["map"]
    assert "Row 0, the only row" in page.captions[-1]
    same = ken.Pair({"w": torch.ones(2, 4)}, {"w": torch.ones(2, 4)})
    page = read(kenviz.report(ken.prune(*same, 2), same, tmp_path / "r.html"))
    assert "Fine-tuning changed none of the pruned entries" in " ".join(page.said)
    with pytest.raises(ValueError, match="no pruned tensor to report on"):
        kenviz.report(ken.prune(*same, 2, exclude=["w"]), same, tmp_path / "r.html")
