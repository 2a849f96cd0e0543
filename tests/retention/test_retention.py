import json
import math

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from kenviz_models import small_pair
from strategies import models

import ken
from ken.errors import KenError
from ken.retention import by_place, measure


def of_tensor(fine_tuned, pretrained, mask):
    """What the table says of a matrix, from whole arrays and the definitions in docs/statistics.md."""
    rows, n = mask.shape
    update = fine_tuned - pretrained
    retained = mask.sum()
    mean, deviation = fine_tuned.mean(axis=1, keepdims=True), fine_tuned.std(axis=1, keepdims=True)
    tails = np.abs(fine_tuned - mean) > 2 * deviation
    padded = np.pad(mask, 1)
    around = padded[:-2, 1:-1].astype(int) + padded[2:, 1:-1] + padded[1:-1, :-2] + padded[1:-1, 2:]
    a = mask.sum(axis=1).astype(float)
    # A neighbour in the row is retained with probability (a - 1) / (n - 1), one in the next row with b / n.
    sides = (a * (a - 1) / (n - 1) * 2 * (n - 1) / n).sum() + 2 * (a[1:] * a[:-1] / n).sum()
    per_column = np.sort(mask.sum(axis=0))
    p = per_column[per_column > 0] / retained
    return {
        "entries": rows * n,
        "retained": retained,
        "share": mask.mean(),
        "changed": (update != 0).sum(),
        "retained_changed": ((update != 0) & mask).sum(),
        "update_rms": np.sqrt((update**2).mean()),
        "energy": (update**2).sum(),
        "energy_retained": (update[mask] ** 2).sum(),
        "energy_reset": (update[~mask] ** 2).sum(),
        "update_share": (update[mask] ** 2).sum() / (update**2).sum(),
        "update_share_reset": (update[~mask] ** 2).sum() / (update**2).sum(),
        "tails": tails.sum(),
        "tails_retained": (tails & mask).sum(),
        "tails_share": (tails & mask).sum() / tails.sum(),
        "column_gini": np.abs(per_column[:, None] - per_column).mean() / (2 * per_column.mean()),
        "column_entropy": -(p * np.log(p)).sum() / math.log(n),
        "neighbours": around[mask].mean(),
        "neighbours_expected": sides / retained,
        "bandwidth": (1.06 * deviation * n**-0.2).mean(),
        "kurtosis": (((fine_tuned - mean) ** 4).mean(axis=1) / deviation[:, 0] ** 4 - 3).mean(),
    }


def expect(line, want):
    np.testing.assert_allclose(
        line[list(want)].to_numpy(float), list(want.values()), rtol=1e-9, err_msg=str(list(want))
    )


def test_the_table_agrees_with_numpy_on_whole_arrays():
    generator = torch.Generator().manual_seed(0)
    pretrained = {f"l.{i}.w": torch.randn(3000, 400, generator=generator) for i in range(2)}
    fine_tuned = {
        name: tensor + torch.randn(tensor.shape, generator=generator) * 0.1 for name, tensor in pretrained.items()
    }
    fine_tuned["l.1.w"][:, :7] = pretrained["l.1.w"][:, :7]
    pair = ken.Pair(fine_tuned, pretrained)
    net = ken.prune(*pair, 0.25)
    table = ken.retention.table(net, pair)
    assert table["layer"].tolist() == [0, 1]
    for name, line in table.iterrows():
        expect(line, of_tensor(fine_tuned[name].double().numpy(), pretrained[name].double().numpy(), net[name].mask()))


@pytest.fixture(scope="module")
def demo():
    """The demonstration pair, and half of every row by each rule."""
    pair = ken.demo.pair(progress=False)
    nets = {rule: ken.prune(*_models(pair), 0.5, rule, progress=False) for rule in ("ken", "grid", "random")}
    return pair, nets


def _models(pair):
    return pair.fine_tuned, pair.pretrained


def test_a_layer_of_the_demonstration_pair_recomputed(demo):
    """Tables, places and heads of one layer, with plain pandas and numpy from the state dicts."""
    pair, nets = demo
    fine_tuned, pretrained, net = pair.fine_tuned.state_dict(), pair.pretrained.state_dict(), nets["ken"]
    retention = measure(net, pair)
    table = retention.table()
    names = [name for name in fine_tuned if name.startswith("bert.encoder.layer.3.")]
    assert names == list(table.index[table["layer"] == 3])
    lines, heads = {}, []
    for name in names:
        x, y = fine_tuned[name].double().numpy(), pretrained[name.removeprefix("bert.")].double().numpy()
        mask = net[name].mask()
        lines[name] = of_tensor(np.atleast_2d(x), np.atleast_2d(y), np.atleast_2d(mask))
        expect(table.loc[name], lines[name])
        update = pd.DataFrame(np.atleast_2d(x - y))
        kept = update.where(np.atleast_2d(mask), 0.0)
        rows, columns = retention.rows(name), retention.columns(name)
        for frame, axis in ((rows, 1), (columns, 0)):
            np.testing.assert_allclose(frame["energy"], (update**2).sum(axis=axis), rtol=1e-9)
            np.testing.assert_allclose(frame["energy_retained"], (kept**2).sum(axis=axis), rtol=1e-9)
            np.testing.assert_array_equal(frame["retained"], np.atleast_2d(mask).sum(axis=axis))
        np.testing.assert_allclose(rows["kurtosis"], pd.DataFrame(np.atleast_2d(x)).T.pipe(_kurtosis), rtol=1e-9)
        last = name.split(".")[-2]
        if ".attention.self." in name:
            heads += [(name, last, h, part) for h, part in enumerate(np.split(kept.to_numpy().reshape(384, -1), 12))]
        elif name.endswith("attention.output.dense.weight"):
            parts = np.split(kept.to_numpy(), 12, axis=1)
            heads += [(name, "attention output", h, part) for h, part in enumerate(parts)]
    by_head = retention.heads().query("layer == 3").reset_index(drop=True)
    assert len(by_head) == len(heads) == 7 * 12
    for (name, role, head, part), (_, line) in zip(heads, by_head.iterrows(), strict=True):
        assert (line["tensor"], line["head"]) == (name, head)
        assert line["role"].removesuffix(" bias") == role
        np.testing.assert_allclose(line["energy_retained"], (part**2).sum(), rtol=1e-9)
    together = pd.DataFrame(lines).T.groupby(table.loc[names, "role"], sort=False)
    places = by_place(table).xs(3, level="layer").droplevel("stack")
    for column in ("entries", "retained", "energy", "energy_reset", "tails_retained", "retained_changed"):
        np.testing.assert_allclose(places[column], together[column].sum(), rtol=1e-9)
    assert by_place(table, ["layer", "kind"]).xs(3)["tensors"].eq(1).all()


def _kurtosis(frame):
    """Excess, population, of every column."""
    centred = frame - frame.mean()
    return (centred**4).mean() / (centred**2).mean() ** 2 - 3


def test_neighbours_of_random_masks_are_as_many_as_chance_gives(demo, record_property):
    """|z| < 4 for each of 103 tensors, and their spread is that of z-scores. Those of other rules are reported."""
    pair, nets = demo
    scores = {rule: ken.retention.table(net, pair)["neighbours_z"] for rule, net in nets.items()}
    for rule, z in scores.items():
        print(f"{rule}: z of neighbours from {z.min():.1f} to {z.max():.1f}, mean {z.mean():.2f}")
        record_property(f"neighbours_z of {rule}", [float(z.min()), float(z.mean()), float(z.max())])
    z = scores["random"]
    assert len(z) == 103
    assert z.abs().max() < 4
    assert abs(z.mean()) < 4 / math.sqrt(len(z))
    assert 0.8 < z.std() < 1.25
    assert scores["ken"].max() > 4


@settings(max_examples=15)
@given(models(), st.floats(0.01, 1), st.sampled_from(["random", "grid"]))
def test_shares_add_up_and_tables_agree_with_each_other(model, k, rule):
    fine_tuned, pretrained, excluded = model
    pair = ken.Pair(fine_tuned, pretrained)
    net = ken.prune(*pair, k, rule, exclude=excluded, progress=False)
    retention = measure(net, pair)
    table = retention.table()
    np.testing.assert_allclose(table["energy_retained"] + table["energy_reset"], table["energy"])
    shares = table["update_share"] + table["update_share_reset"]
    assert np.allclose(shares[table["energy"] > 0], 1)
    for column in ("share", "update_share", "tails_share", "column_gini", "column_entropy"):
        assert table[column].dropna().between(0, 1).all(), column
    assert (table["neighbours"].dropna() <= 4).all()
    for part, whole in (("retained_changed", "changed"), ("tails_retained", "tails"), ("paired", "entries")):
        assert (table[part] <= table[whole]).all()
    for name, line in table.iterrows():
        for frame in (retention.rows(name), retention.columns(name)):
            assert frame["retained"].sum() == line["retained"] == net[name].retained
            assert frame["changed"].sum() == line["changed"]
            assert frame["entries"].sum() == line["entries"]
            np.testing.assert_allclose(frame["energy_retained"].sum(), line["energy_retained"])
    whole = by_place(table.assign(all=0), ["all"])
    if len(table):
        assert whole["entries"].item() == table["entries"].sum()
        np.testing.assert_allclose(whole["pairs_variance"].item(), table["pairs_variance"].sum())


def test_grown_and_unchanged_tensors():
    pair = ken.Pair({"w": torch.ones(3, 4), "v": torch.ones(2, 2)}, {"w": torch.zeros(2, 4), "v": torch.ones(2, 2)})
    table = ken.retention.table(ken.prune(*pair, 2, rows={"w": "grown"}), pair)
    assert table.loc["w", ["changed", "update_rms", "update_share"]].tolist() == [8, 1.0, 0.5]
    assert table.loc["w", ["entries", "retained", "paired", "paired_retained"]].tolist() == [12, 8, 8, 4]
    # Constant rows: the first two of each row are retained.
    assert table.loc["w", ["pairs", "pairs_expected"]].tolist() == [4, 2.0]
    assert table.loc["v", "changed"] == 0
    assert np.isnan(table.loc["v", "update_share"])
    assert table["layer"].isna().all()


def test_a_grown_vector_is_looked_at_as_far_as_it_was_pruned():
    pair = ken.Pair({"b": torch.tensor([1.0, 2.0, 3.0, 4.0, torch.nan])}, {"b": torch.zeros(4)})
    line = ken.retention.table(ken.prune(*pair, 2, "random", rows={"b": "grown"}), pair).loc["b"]
    assert line[["entries", "retained", "paired", "paired_retained"]].tolist() == [5, 3, 4, 2]
    assert line["pairs_expected"] == 0.5  # 3 of 6 masks have one pair
    np.testing.assert_allclose(line["bandwidth"], 1.06 * np.std([1, 2, 3, 4]) * 4**-0.2)


def test_no_pruned_tensor_gives_empty_tables_with_all_columns():
    pair = ken.Pair({"w": torch.ones(2, 2)}, {"w": torch.ones(2, 2)})
    net = ken.prune(*pair, 1, exclude=["*"])
    table = ken.retention.table(net, pair)
    assert table.empty
    assert {"update_share", "modes"} <= set(table.columns)
    assert ken.retention.heads(net, pair).empty
    assert by_place(table).empty


def test_heads_need_a_configuration(net, pair):
    assert ken.retention.heads(net, pair).empty
    assert ken.retention.table(net, pair)[["head_gini", "head_entropy"]].isna().all(axis=None)


def test_concentration_over_heads(demo):
    pair, nets = demo
    retention = measure(nets["ken"], pair)
    table, heads = retention.table(), retention.heads()
    name = "bert.encoder.layer.0.attention.self.value.weight"
    x = heads.loc[heads["tensor"] == name, "energy_retained"].to_numpy()
    want = np.abs(x[:, None] - x).mean() / (2 * x.mean())
    np.testing.assert_allclose(table.loc[name, "head_gini"], want, rtol=1e-9)
    p = x / x.sum()
    np.testing.assert_allclose(table.loc[name, "head_entropy"], -(p * np.log(p)).sum() / np.log(12), rtol=1e-9)
    assert table["head_gini"].notna().sum() == heads["tensor"].nunique() == 6 * 7


def test_only_pruned_tensors_have_rows_and_columns(net, pair):
    for make in (ken.retention.rows, ken.retention.columns):
        with pytest.raises(ValueError, match=r"tensor must be a pruned one, got 'head\.weight'"):
            make(net, pair, "head.weight")
    assert list(ken.retention.rows(net, pair, "layer.0.query.bias")["retained"]) == [12]
    assert ken.retention.columns(net, pair, "embed.weight").shape == (24, 9)


def test_the_page_defines_every_column(net, pair):
    from test_project import ROOT

    page = (ROOT / "docs" / "statistics.md").read_text(encoding="utf-8")
    retention = measure(net, pair)
    tables = [retention.table(), retention.heads(), retention.rows("embed.weight"), retention.columns("embed.weight")]
    tables += [by_place(retention.table()), ken.retention.compare(net, net, pair)]
    missing = {column for table in tables for column in table.columns if f"`{column}`" not in page}
    assert missing == set()


def test_tables_can_be_written_as_json(net, pair):
    assert json.loads(ken.retention.table(net, pair).to_json())["share"]["embed.weight"] == 0.5


def test_an_error_names_the_tensor():
    pair = small_pair()
    net = ken.prune(*pair, 0.5)
    with pytest.raises(KenError, match="none of that name"):
        measure(net, ken.Pair({"layer.0.query.bias": torch.ones(24)}, {"layer.0.query.bias": torch.ones(24)}))
