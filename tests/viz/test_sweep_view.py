import math
import re
import threading

import numpy as np
import pandas as pd
import pytest
import traitlets
from hypothesis import given
from hypothesis import strategies as st
from kenviz_models import HOSTILE, small_pair
from sweep_tables import made_up

import ken
import kenviz
from kenviz import SweepView
from kenviz.figures import sweep as figures
from kenviz.figures.budget_axis import SCALES, position, ticks
from kenviz.study.sweep_data import Sweep

SERIES = (("ken", "weights"), ("ken", "update"), ("random", ""))


@pytest.fixture
def table():
    return made_up()


@pytest.fixture
def view(table):
    return SweepView(table)


def shown(view, source):
    """A source as a table, less what is only looks."""
    columns = set(view.pane._names.find(source, object).data)
    return pd.DataFrame({name: view.pane.column(source, name) for name in sorted(columns)})


class TestWhatIsShown:
    @pytest.mark.parametrize("quantity", ["metric", "difference"])
    def test_marks_are_means_with_their_errors_and_seeds_are_all_there(self, table, quantity):
        view = SweepView(table, quantity=quantity)
        errors = "standard_error" if quantity == "metric" else "difference_error"
        pruned = table[table["model"] == "pruned"].assign(text=table["k"].map(repr))
        groups = pruned.groupby(["rule", "on", "text"])
        want = groups.agg(
            y=(quantity, "mean"), share=("share", "first"), error=(errors, "mean"), seeds=("seed", "size")
        )
        marks = shown(view, "means").sort_values(["y", "share"], ignore_index=True)
        want = want.sort_values(["y", "share"], ignore_index=True)
        for column in want:
            np.testing.assert_allclose(marks[column].astype(float), want[column])
        np.testing.assert_allclose(marks["high"].astype(float) - marks["y"].astype(float), want["error"])
        np.testing.assert_allclose(marks["y"].astype(float) - marks["low"].astype(float), want["error"])
        drawn = pruned[pruned["rule"] == "random"]
        assert sorted(view.pane.column("seeds", "y")) == pytest.approx(sorted(drawn[quantity]))
        assert sorted(view.pane.column("seeds", "seed")) == sorted(drawn["seed"])

    def test_lines_run_by_share_and_bands_span_the_seeds(self, view):
        for xs in view.pane.column("curves", "xs"):
            np.testing.assert_allclose(xs, [0.02, 0.25, 0.5, 1])
        (xs,), (ys,) = view.pane.column("bands", "xs"), view.pane.column("bands", "ys")
        np.testing.assert_allclose(xs, [0.02, 0.25, 0.5, 1, 1, 0.5, 0.25, 0.02])
        np.testing.assert_allclose(ys[:4] - ys[:3:-1], 0.02)

    def test_unpruned_and_pretrained_are_levels_with_their_errors(self, view):
        def level(name):
            found = view.figure.select_one({"name": name})
            edges = view.figure.select_one({"name": f"{name}_band"})
            return [found.location, edges.bottom, edges.top, found.visible, edges.visible]

        assert level("fine_tuned") == [0.7, 0.69, 0.71, True, True]
        assert level("pretrained") == pytest.approx([0.2, 0.18, 0.22, True, True])
        view.quantity = "difference"
        assert level("pretrained") == pytest.approx([-0.5, -0.518, -0.482, True, True])
        alone = SweepView(made_up().iloc[2:])
        assert not alone.figure.select_one({"name": "fine_tuned"}).visible
        assert not alone.figure.select_one({"name": "level_fine_tuned"}).visible
        assert "unpruned" not in alone.caption

    def test_one_entry_is_not_the_share_of_all(self, view):
        numbers = view.numbers()
        ks = numbers.loc[numbers["rule"] == "random", "k"].tolist()
        assert list(map(repr, ks)) == ["1", "0.25", "0.5", "1.0"]

    def test_log_shares_stand_at_their_logarithm_and_are_written_as_percentages(self, view):
        view.scale = "log"
        np.testing.assert_allclose(view.pane.column("means", "x"), np.log10(view.pane.column("means", "share")))
        ticks = view.figure.select_one({"name": "share_ticks"}).ticks
        words = view.figure.select_one({"name": "share_axis"}).major_label_overrides
        assert [round(100 * 10**at, 9) for at in ticks] == [2, 5, 10, 20, 50, 100]
        assert [words[at] for at in ticks] == ["2 %", "5 %", "10 %", "20 %", "50 %", "100 %"]
        ends = view.figure.x_range
        assert all(ends.start < x < ends.end for x in view.pane.column("means", "x"))

    def test_series_can_be_hidden_and_the_axis_follows(self, view):
        view.shown = ("random",)
        assert view.shown == (("random", ""),)
        assert set(view.pane.column("means", "name")) == {"random"}
        assert [view.figure.select_one({"name": f"series_{i}"}).visible for i in range(3)] == [False, False, True]
        assert "2 of 3 series are hidden" in view.caption
        view._rules.value = SERIES[:2]
        assert view.shown == SERIES[:2]
        assert set(view.numbers()["rule"]) == {"ken"}
        for view.scale in SCALES:
            view.shown = ()
            assert len(view.pane.column("means", "y")) == 0
            assert "No rule is shown." in view.caption
            view.shown = SERIES

    def test_further_columns_are_metrics_and_may_have_errors(self, table):
        view = SweepView(table.assign(loss=1 - table["metric"], loss_error=0.5, note="text"), metric="loss")
        assert [value for _, value in view._metrics.options] == ["metric", "macro_f1", "loss"]
        np.testing.assert_allclose(view.numbers()["error"], 0.5)
        view.quantity = "difference"
        np.testing.assert_allclose(view.numbers()["mean"], 0.7 - SweepView(table).numbers()["mean"])
        np.testing.assert_allclose(view.numbers()["error"], math.sqrt(0.5))
        view.metric = "macro_f1"
        assert np.isnan(view.numbers()["error"]).all()
        assert view.figure.yaxis[0].axis_label == "macro_f1 less that of the unpruned model"
        assert np.isnan(view.pane.column("means", "low")).all()

    def test_styles_differ_in_more_than_colour(self):
        rules = [(f"rule {at}", "weights") for at in range(24)]
        drawn = list(figures.styles(rules).values())
        assert len(set(drawn)) == 24
        assert len({look[1:] for look in drawn[:8]}) == 8
        scoped = [(*rule, *scope) for rule in rules for scope in ((), ("tensor",), ("model",))]
        looks = figures.styles(scoped)
        assert len(set(looks.values())) == 72
        for rule in rules:
            of_rule = [looks[rule], looks[*rule, "tensor"], looks[*rule, "model"]]
            assert len({look[:2] for look in of_rule}) == 1
            assert [look.dash for look in of_rule] == ["solid", "12 5", "dotted"]
            assert [look.fill for look in of_rule] == [1, 0.45, 0]

    def test_names_that_are_cut_to_the_same_stay_apart(self):
        long = [f"{'y' * 60}{i}{'y' * 60}" for i in range(2)]
        view = SweepView(made_up(*long))
        assert len(set(view.pane.column("means", "name"))) == 3


class TestScope:
    """Lines of one rule that count k over other ranges."""

    @pytest.fixture
    def scoped(self):
        table = made_up(seeds=2)
        over = [table[table["model"] == "pruned"].assign(scope=scope) for scope in ("tensor", "model")]
        for i, lines in enumerate(over, 1):
            lines["metric"] += 0.02 * i
        return pd.concat([table.assign(scope=""), *over], ignore_index=True)

    def test_scopes_are_series_of_their_own_and_none_is_row(self, scoped, table):
        view = SweepView(scoped)
        assert view.shown == (*SERIES, *((*one, scope) for scope in ("tensor", "model") for one in SERIES))
        means = shown(view, "means")
        alone = shown(SweepView(made_up(seeds=2)), "means")
        of_rows = means[means["k"].str.endswith("per row")].reset_index(drop=True)
        np.testing.assert_array_equal(of_rows["y"], alone["y"])
        for i, scope in enumerate(("tensor", "model"), 1):
            lines = means[means["k"].str.endswith(f"per {scope}")]
            np.testing.assert_allclose(lines["y"], alone["y"] + 0.02 * i)
            assert lines["name"].str.endswith(f", per {scope}").all()
            assert set(lines["colour"]) == set(alone["colour"])
        assert "hollow" in view.figure.title.text
        assert "hollow" not in SweepView(table).figure.title.text
        assert "anywhere in the model" in view.caption
        assert "anywhere" not in SweepView(table).caption
        assert view.numbers()["scope"].value_counts().to_dict() == {"row": 12, "tensor": 12, "model": 12}

    def test_a_scope_is_shown_chosen_and_reproduced(self, scoped):
        view = SweepView(scoped, shown=("random", ("ken", "weights", "model"), ("ken", "update", "row")))
        series = (("ken", "update"), ("random", ""), ("random", "", "tensor"), ("ken", "weights", "model"))
        assert view.shown == (*series, ("random", "", "model"))
        at = 0.3 + 0.4 * 0.5 + 0.04
        view._heard({"kind": "tap", "figure": "sweep", "x": 0.5, "y": at})
        assert view.point == ("ken", "weights", 0.5, -1, "model")
        assert view.python == "ken.prune(pair.fine_tuned, pair.pretrained, 0.5, 'ken', scope='model')"
        assert "Rule ken, per model, k = 0.5: retains 50.00%" in view._card.value
        assert view.pane.column("ring", "y") == pytest.approx(at)
        again = eval(view.code(), {"kenviz": kenviz, "table": scoped})
        assert again.state == view.state
        view.point = ("ken", "update", 0.5, -1, "row")
        assert view.point == ("ken", "update", 0.5, -1)

    def test_a_file_keeps_scopes(self, scoped, tmp_path):
        scoped.to_csv(tmp_path / "sweep.csv", index=False)
        pd.testing.assert_frame_equal(SweepView(tmp_path / "sweep.csv").numbers(), SweepView(scoped).numbers())

    def test_what_is_retained_is_a_share_or_a_number_of_entries(self, table):
        for scale in SCALES:
            view = SweepView(table, scale=scale)
            shares, ends = view.pane.column("means", "share"), view.figure.x_range
            view._budgets.value = "entries"
            assert view.budget == "entries"
            np.testing.assert_allclose(view.pane.column("means", "x"), position(1000 * shares, scale))
            for xs in view.pane.column("curves", "xs"):
                np.testing.assert_allclose(xs, position([20, 250, 500, 1000], scale))
            assert all(ends.start < x < ends.end for x in view.pane.column("means", "x"))
            axis = view.figure.select_one({"name": "share_axis"})
            assert axis.axis_label == "entries retained (the budget)"
            marks = {"linear": ["0", "500", "1 k"], "log": ["20", "50", "100", "200", "500", "1 k"]}[scale]
            assert list(axis.major_label_overrides.values()) == marks
            view.point = ("ken", "weights", 0.25, -1)
            assert view.pane.column("ring", "x") == position(250, scale)
            assert "at 20 entries to 0.7 at 1,000 entries" in view.caption
            assert set(view.pane.column("means", "retained")) == {"20", "250", "500", "1,000"}

    def test_without_numbers_of_entries_there_are_shares_alone(self, table):
        for change in (table.drop(columns="retained"), table.assign(retained=np.nan)):
            view = SweepView(change)
            assert view._budgets.layout.display == "none"
            assert set(view.pane.column("means", "retained")) == {"not told"}
            with pytest.raises(traitlets.TraitError, match="does not say how many entries"):
                view.budget = "entries"


class TestPoint:
    def test_a_tap_chooses_the_nearest_evaluation_and_says_how_to_make_it(self, view):
        view._heard({"kind": "tap", "figure": "sweep", "x": 0.251, "y": 0.3 + 0.3 * 0.25 + 0.0195})
        assert view.point == view._points.value == ("random", "", 0.25, 2)
        assert view.python == "ken.prune(pair.fine_tuned, pair.pretrained, 0.25, 'random', seed=2)"
        assert "retains 25.00% (250 of 1,000 entries)" in view._card.value
        assert "metric: 0.395 ± 0.015" in view._card.value
        assert "-0.305 ± 0.013" in view._card.value
        assert (view.pane.column("ring", "x"), view.pane.column("ring", "y")) == (0.25, pytest.approx(0.395))
        view.scale = "log"
        assert view.pane.column("ring", "x") == np.log10(0.25)
        view._heard({"kind": "tap", "figure": "sweep", "x": math.log10(0.1), "y": 0.69})
        assert view.point == ()
        assert "Tap a mark" in view._card.value
        assert len(view.pane.column("ring", "x")) == 0

    def test_its_line_of_python_makes_that_subnetwork(self, pair, tmp_path):
        def evaluate(state):
            return sum(value.double().abs().sum() for value in state.values())

        rules, on = ["ken", "random"], ["weights", "update"]
        path = tmp_path / "r.jsonl"
        table = ken.sweep(pair, [3, 0.5], rules, evaluate=evaluate, on=on, seeds=[0, 1], results=path, progress=False)
        view = SweepView(table)
        for line in table[table["model"] == "pruned"].itertuples():
            view.point = (line.rule, line.on, line.k, line.seed)
            net = eval(view.python, {"ken": ken, "pair": pair})
            assert net.retained == line.retained
            assert float(evaluate(ken.inject(net, pair.pretrained))) == line.metric
        pd.testing.assert_frame_equal(SweepView(path).numbers(), view.numbers())
        pd.testing.assert_frame_equal(
            SweepView(path, quantity="difference").numbers(), SweepView(table, quantity="difference").numbers()
        )

    def test_a_k_by_patterns_is_reproduced(self, table):
        k = {"*.query.*": 3, "*": 0.5}
        line = table.iloc[2].to_dict() | {"k": k, "share": 0.4}
        view = SweepView(pd.concat([table, pd.DataFrame([line])], ignore_index=True))
        assert view._points.options[-1][0] == f"ken, k = {k}"
        view.point = ("ken", "weights", k, -1)
        assert view.python == f"ken.prune(pair.fine_tuned, pair.pretrained, {k!r}, 'ken')"
        again = eval(view.code(), {"kenviz": kenviz, "table": view._sweep._table})
        assert again.state == view.state

    def test_a_hidden_point_is_described_but_not_marked(self, view):
        view.point = ("ken", "weights", 1, -1)
        assert len(view.pane.column("ring", "x")) == 1
        view.shown = ("random",)
        assert len(view.pane.column("ring", "x")) == 0
        assert "k = 1:" in view._card.value


def test_differences_of_a_results_file_are_told_item_by_item(pair, tmp_path):
    class Result(float):
        def __new__(cls, outcomes):
            self = super().__new__(cls, np.mean(outcomes))
            self.outcomes, self.standard_error = np.asarray(outcomes), 0.1
            return self

    rng = np.random.default_rng(0)
    drawn = iter(rng.random((6, 50)) < 0.6)
    path = tmp_path / "r.jsonl"
    table = ken.sweep(pair, [3, 0.5], ["ken", "grid"], evaluate=lambda _: Result(next(drawn)), results=path)
    view = SweepView(path, quantity="difference")
    want = table[table["model"] == "pruned"].sort_values(["rule", "share"], ascending=[False, True])
    np.testing.assert_allclose(view.numbers()["error"], want["difference_error"])
    np.testing.assert_allclose(view.numbers()["mean"], want["difference"])


def test_a_table_that_was_written_as_csv_shows_the_same(table, tmp_path):
    path = tmp_path / "sweep.csv"
    table.to_csv(path, index=False)
    for quantity in ("metric", "difference"):
        wanted = SweepView(table, quantity=quantity).numbers()
        pd.testing.assert_frame_equal(SweepView(path, quantity=quantity).numbers(), wanted)
    # pandas reads empty text as missing
    again = SweepView(pd.read_csv(path))
    assert again.shown == SERIES
    assert set(again.numbers()["rule"]) == {"ken", "random"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda t: t.drop(columns=["share", "on"]),
            "the table has no columns 'on', 'share': it is no table of ken.sweep",
        ),
        (lambda t: t.drop(columns="rule"), "the table has no column 'rule'"),
        (lambda t: t[:2], "no pruned model"),
        (lambda t: t[:0], "no pruned model"),
        (lambda t: t.assign(model="ken"), "model must be fine-tuned, pretrained or pruned, got 'ken' in line 0"),
        (lambda t: t.assign(share=0.0), "share must be above 0 and at most 1, got 0.0 in line 2"),
        (lambda t: t.assign(share=np.nan), "share must be above 0 and at most 1, got nan in line 2"),
        (lambda t: t.assign(metric="good"), "column 'metric' must be of numbers"),
        (lambda t: t.assign(scope="layer"), "scope must be row, tensor, model or empty, got 'layer' in line 2"),
        (lambda t: t.assign(rule=3), "rule must be text, got 3 in line 0"),
        (lambda t: pd.concat([t, t["share"]], axis=1), "more than one column 'share'"),
    ],
)
def test_a_table_that_is_no_sweep_is_refused(table, change, message):
    with pytest.raises(ValueError, match=message):
        SweepView(change(table))


def test_what_is_no_table_is_refused(tmp_path):
    with pytest.raises(TypeError, match=r"a table of ken.sweep or the path of a results file is needed, got list"):
        SweepView([1])
    path = tmp_path / "r.jsonl"
    path.write_text("{}")
    with pytest.raises(ken.KenError, match="no file of results"):
        SweepView(path)


def test_what_is_not_there_is_refused_and_changes_nothing(table, view):
    before = view.state
    with pytest.raises(traitlets.TraitError, match=r"shown must be of the table's 3 series, \('ken', 'weights'\).*'x'"):
        view.shown = ("ken", "x")
    with pytest.raises(traitlets.TraitError, match="metric must be one of 'metric', 'macro_f1', got 'f1'"):
        view.metric = "f1"
    with pytest.raises(traitlets.TraitError, match=r"point must be .* in the table, got \('ken', 'weights', 1, 0\)"):
        view.point = ("ken", "weights", 1, 0)
    assert view.state == before
    with pytest.raises(traitlets.TraitError, match="no line of the fine-tuned model"):
        SweepView(table[1:], quantity="difference")


def test_the_table_that_was_given_stays_as_it_is(table):
    before = table.copy()
    view = SweepView(table)
    view.quantity = "difference"
    numbers = view.numbers()
    numbers["mean"] = 0.0
    pd.testing.assert_frame_equal(table, before)
    assert (view.numbers()["mean"] != 0).any()


def test_code_makes_the_same_view_again(table, view):
    view.quantity, view.scale, view.shown, view.point = "difference", "log", ("random",), ("random", "", 0.5, 1)
    again = eval(view.code(), {"kenviz": kenviz, "table": table})
    assert again.state == view.state
    assert repr(again) == repr(view)
    assert "\n" not in repr(view)
    pd.testing.assert_frame_equal(again.numbers(), view.numbers())


def test_names_of_strangers_are_text_and_the_page_asks_for_nothing(tmp_path):
    view = SweepView(made_up(rule=HOSTILE).assign(**{HOSTILE: 0.5}), metric=HOSTILE, theme="dark")
    view.point = (HOSTILE, "weights", 0.5, -1)
    assert "<script" not in view._note.value + view._card.value
    assert "\u202e" not in view.caption + view._card.value
    page = view.to_html(tmp_path / "view.html").read_text(encoding="utf-8")
    assert "<script>alert" not in page
    assert re.findall(r"<(?:script|link|img)[^>]*(?:src|href)=", page) == []
    assert "#181a1b" in page


def test_two_threads_leave_a_whole_state(view):
    changes = (
        [("quantity", of) for of in ("difference", "metric") * 6],
        [("shown", of) for of in (SERIES[:1], SERIES[1:], SERIES) * 4],
    )
    threads = [threading.Thread(target=lambda of=of: [setattr(view, *one) for one in of]) for of in changes]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    np.testing.assert_array_equal(view.pane.column("means", "y"), view.numbers()["mean"])
    assert (view.quantity, view.shown) == ("metric", SERIES)
    assert len(view.numbers()) == 12


def test_a_sweep_of_a_real_pair_opens():
    pair = small_pair()
    table = ken.sweep(pair, [0.5], ["ken"], evaluate=lambda state: state["embed.weight"].mean(), progress=False)
    found = Sweep(table)
    assert found.series == [("ken", "weights")]
    assert np.isnan(SweepView(table).numbers()["error"]).all()


def test_the_card_says_whether_a_difference_was_measured_item_by_item():
    table = made_up()
    for told, words in ((None, ""), (True, ", measured item by item"), (False, ", as of two separate measurements")):
        frame = table if told is None else table.assign(paired=told)
        view = kenviz.SweepView(frame, point=("ken", "weights", 0.5, -1))
        assert f"-0.2 ± 0.011{words}\n" in view._card.value.replace("<br>", "\n")
        assert "paired" not in kenviz.study.sweep_data.Sweep(frame).metrics


@pytest.mark.parametrize(
    ("shares", "marks"),
    [
        ([0.3], ["29 %", "30 %", "31 %"]),
        ([0.3, 0.1 + 0.2], ["29 %", "30 %", "31 %"]),
        ([0.31, 0.39], ["32 %", "34 %", "36 %", "38 %"]),
        ([3e-8, 4e-8], ["3e-06 %", "3.5e-06 %", "4e-06 %"]),
        ([1e-9, 1.0], ["1e-07 %", "1e-05 %", "0.001 %", "0.1 %", "10 %"]),
    ],
)
def test_shares_on_a_logarithmic_axis_always_have_numbers(shares, marks):
    line = {"model": "pruned", "rule": "ken", "on": "weights", "seed": -1, "metric": 1}
    view = SweepView(pd.DataFrame([line | {"k": share, "share": share} for share in shares]), scale="log")
    axis = view.figure.select_one({"name": "share_axis"})
    assert [axis.major_label_overrides[at] for at in axis.ticker.ticks] == marks


@given(low=st.integers(1, 10**12), width=st.integers(0, 10**6), entries=st.booleans())
def test_marks_are_round_tell_where_they_stand_and_are_not_many(low, width, entries):
    amounts = np.array([low, low + width], dtype=float) / (1 if entries else 10**12 + 10**6)
    budget = "entries" if entries else "share"
    ends = figures.limits(position(amounts, "log"))
    marks = ticks(ends, scale="log", budget=budget)
    assert (min(width + 1, 2) if entries else 2) <= len(marks) <= 7
    assert len(set(marks.values())) == len(marks)
    for at, words in marks.items():
        assert ends[0] - 1e-6 <= at <= ends[1] + 1e-6
        number, unit = words.partition(" ")[::2]
        size = {"": 1, "k": 1e3, "M": 1e6, "G": 1e9, "%": 0.01}[unit]
        assert float(number) * size == pytest.approx(10**at, rel=1e-9)
