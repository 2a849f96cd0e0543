import numpy as np
import pandas as pd
import pytest

import ken
from kenviz.study import study as studies
from kenviz.study.study import Study

QUERY = "layer.1.query.weight"


def test_shares_are_the_part_of_the_retention_table_that_needs_no_model(net, pair):
    study = Study(net)
    whole = ken.retention.table(net, pair)
    pd.testing.assert_frame_equal(study.shares, whole[study.shares.columns], check_dtype=False)
    assert study.table() is study.shares
    with pytest.raises(ValueError, match="this needs the pair of models"):
        study.rows(QUERY, slice(0, 1))


def test_the_models_are_read_only_for_columns_that_need_them(net, pair, monkeypatch):
    study = Study(net, pair)
    assert study.table(["share", "kind"]) is study.shares
    assert "retention" not in vars(study)
    pd.testing.assert_frame_equal(study.table(["update_share"]), ken.retention.table(net, pair))
    assert study.table() is study.table(["update_share", "share"])


def test_masks_rows_and_pyramids_are_those_of_the_subnetwork_and_the_pair(net, pair, tmp_path):
    loaded = ken.load(net.save(tmp_path / "net.safetensors"))
    for one in (net, loaded):
        study = Study(one, pair)
        mask = net[QUERY].mask()
        np.testing.assert_array_equal(study.mask(QUERY), mask)
        np.testing.assert_array_equal(study.mask(QUERY, slice(3, 5)), mask[3:5])
        assert study.shape(QUERY) == (24, 24)
        assert study.pyramid(QUERY) is study.pyramid(QUERY)
        np.testing.assert_array_equal(study.pyramid(QUERY).tiles((0, 24), (0, 24)).values, mask * 100)
        np.testing.assert_array_equal(study.rows(QUERY, slice(2, 3))[0], pair.fine_tuned[QUERY][2:3].double().numpy())


def test_what_was_looked_at_long_ago_is_forgotten_and_made_again(net, pair, monkeypatch):
    monkeypatch.setattr(studies, "_MOST_KEPT", 1)
    study = Study(net, pair)
    first = study.pyramid(QUERY)
    study.pyramid("embed.weight")
    assert study.pyramid(QUERY) is not first


def test_what_is_not_of_the_study_is_refused(net, pair):
    study = Study(net, pair)
    with pytest.raises(ValueError, match="tensor must be a pruned one, one of 7, such as 'embed.weight'; got 'head.w"):
        study.mask("head.weight")
    with pytest.raises(ValueError, match="the study is of another subnetwork"):
        Study.open(ken.prune(*pair, 3), study)
    other = ken.Pair({**pair.fine_tuned, QUERY: pair.fine_tuned[QUERY][:, :4]}, {})
    with pytest.raises(ken.KenError):
        Study(net, other)
    nothing = ken.prune(*pair, 3, exclude=["*"])
    with pytest.raises(ValueError, match="no pruned tensor"):
        Study(nothing, pair).mask("x")
