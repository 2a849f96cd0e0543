"""Ties, renames, and the two layouts of a model: on disk and in memory."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
import torch
import transformers
from architectures import build, quiet, tiny_config
from hypothesis import given, settings
from hypothesis import strategies as st
from laws import check_net, expect_same, fine_tune, on_disk, same, save
from transformers import core_model_loading

import ken
from ken.errors import PairingError, SubnetworkError
from ken.models.checkpoints.checkpoint import Checkpoint, read
from ken.models.pairing.pairing import match, open_pair
from ken.models.pairing.weight_names import align, clash, complete


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def made(model_type: str, class_name: str, **changes: object) -> torch.nn.Module:
    config = tiny_config(model_type)
    for name, value in changes.items():
        setattr(config, name, value)
    return build(getattr(transformers, class_name), config)


@cache
def mixtral() -> tuple[torch.nn.Module, torch.nn.Module]:
    """Two models, fine-tuned and pretrained, with experts apart on disk and fused in memory."""
    pretrained = made("mixtral", "MixtralForCausalLM")
    return fine_tune(pretrained), pretrained


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    root = tmp_path_factory.mktemp("mixtral")
    fine_tuned, pretrained = mixtral()
    return save(fine_tuned, root / "fine_tuned"), save(pretrained, root / "pretrained")


# --- a module and a file in two layouts


@pytest.mark.parametrize("rule", ["ken", "random"])
def test_fused_experts_of_a_module_are_pruned_as_those_apart_in_files(folders, rule):
    fine_tuned, pretrained = mixtral()
    want = ken.prune(folders[0], folders[1], 0.5, rule=rule, progress=False)
    assert any("experts.1.w2.weight" in name for name in want)
    for tuned_model, base_model in ((fine_tuned, folders[1]), (folders[0], pretrained)):
        net = ken.prune(tuned_model, base_model, 0.5, rule=rule, progress=False)
        assert set(net) == set(want)
        whole = check_net(net, {n: t for n, t in on_disk(folders[0]).items() if n in net}, on_disk(folders[1]))
        expect_same(ken.inject(net, folders[1]), whole, "inject")
        expect_same(ken.reset(net, tuned_model, base_model), whole, "reset")
        assert net.fine_tuned.fingerprint == want.fine_tuned.fingerprint
        assert net.pretrained.fingerprint == want.pretrained.fingerprint


@settings(max_examples=20)
@given(k=st.integers(1, 20), seed=st.integers(0, 5))
def test_module_against_folder_keeps_min_of_k_and_n_of_every_row(folders, k, seed):
    fine_tuned, _ = mixtral()
    net = ken.prune(fine_tuned, folders[1], k, rule="random", seed=seed, progress=False)
    tuned_model, base_model = on_disk(folders[0]), on_disk(folders[1])
    injected = ken.inject(net, folders[1])
    for name, stored in net.items():
        rows = stored.row_mask()
        assert (rows.sum(axis=1) == min(k, rows.shape[1])).all()
        want = torch.where(torch.from_numpy(stored.mask()), tuned_model[name], base_model[stored.pretrained.name])
        assert same(injected[name], want)


def test_what_is_exported_opens_as_the_module_that_was_pruned(folders, tmp_path):
    fine_tuned, _ = mixtral()
    net = ken.prune(fine_tuned, folders[1], 1.0, rule="random", progress=False)
    ken.export(net, folders[1], tmp_path / "model", progress=False)
    with quiet():
        opened = transformers.MixtralForCausalLM.from_pretrained(tmp_path / "model")
    expect_same(opened.state_dict(), fine_tuned.state_dict(), "exported with everything retained")


def test_a_subnetwork_of_one_layout_is_not_injected_into_the_other(folders):
    fine_tuned, pretrained = mixtral()
    before = {name: tensor.clone() for name, tensor in pretrained.state_dict().items()}
    as_on_disk = ken.prune(fine_tuned, folders[1], 3, rule="random", progress=False)
    for inject in (lambda: ken.inject(as_on_disk, pretrained), lambda: as_on_disk.inject_(pretrained)):
        with pytest.raises(SubnetworkError, match=r"different layouts; inject into the checkpoint folder with ken\."):
            inject()
    expect_same(pretrained.state_dict(), before, "the model was changed")
    in_memory = ken.prune(fine_tuned, pretrained, 3, rule="random", progress=False)
    with pytest.raises(SubnetworkError, match="different layouts; open it with from_pretrained and inject into that"):
        ken.inject(in_memory, folders[1])


def test_a_state_dict_in_the_other_layout_is_refused(folders):
    fine_tuned, pretrained = mixtral()
    for tuned_model, base_model in (
        (fine_tuned.state_dict(), folders[1]),
        (folders[0], pretrained.state_dict()),
        (fine_tuned, on_disk(folders[1])),
    ):
        with pytest.raises(PairingError, match=r"are one tensor in different layouts; open both with from_pretrained"):
            open_pair(tuned_model, base_model)


def test_a_folder_that_was_saved_as_in_memory_is_paired_as_it_is(tmp_path):
    fine_tuned, pretrained = mixtral()
    with quiet():
        pretrained.save_pretrained(tmp_path, save_original_format=False)
    net = ken.prune(fine_tuned, tmp_path, 3, rule="random", progress=False)
    assert set(net) == set(fine_tuned.state_dict())
    assert {stored.reason for stored in net.outlines.values()} == {None}


def test_a_module_from_a_folder_as_in_memory_meets_one_as_on_disk(folders, tmp_path):
    fine_tuned, _ = mixtral()
    with quiet():
        fine_tuned.save_pretrained(tmp_path, save_original_format=False)
        opened = transformers.MixtralForCausalLM.from_pretrained(tmp_path)
    pairing = open_pair(opened, folders[1])
    assert pairing.names == {name: name for name in on_disk(folders[0])}
    with pytest.raises(PairingError, match=r"are one tensor in different layouts; open both with from_pretrained"):
        open_pair(tmp_path, folders[1])


def test_what_transformers_cannot_bring_into_the_layout_of_the_file_is_refused(folders, monkeypatch):
    def irreversible(*_: object) -> None:
        raise ValueError("Cannot reverse the transform\nwith quantization")

    monkeypatch.setattr(core_model_loading, "revert_weight_conversion", irreversible)
    fine_tuned, pretrained = mixtral()
    message = (
        r"the module MixtralForCausalLM and the folder \w+ are in different layouts, and transformers cannot bring the "
        r"module there \(Cannot reverse the transform with quantization\); open both with from_pretrained and prune "
        "module against module"
    )
    for tuned_model, base_model in ((fine_tuned, folders[1]), (folders[0], pretrained)):
        with pytest.raises(PairingError, match=message):
            open_pair(tuned_model, base_model)


def test_buffers_stay_buffers_in_the_layout_of_the_file(tmp_path):
    pretrained = made("rt_detr_resnet", "RTDetrResNetBackbone")
    tuned_model, _ = align(read(fine_tune(pretrained)), read(save(pretrained, tmp_path / "p")))
    assert tuned_model.buffers
    assert {name.rpartition(".")[2] for name in tuned_model.buffers} == {
        *("running_mean", "running_var", "num_batches_tracked")
    }


def test_layouts_are_mentioned_where_shapes_or_names_do_not_fit_at_all(folders):
    fine_tuned, _ = mixtral()
    wrong = {name: tensor[..., :-1] for name, tensor in on_disk(folders[1]).items()}
    with pytest.raises(PairingError, match="only extra leading rows can be paired") as error:
        ken.prune(folders[0], wrong, 1)
    assert error.value.__notes__ == [
        "if their layouts differ, open both with from_pretrained and prune module against module"
    ]
    with pytest.raises(PairingError, match="no tensor .* 'nothing'; if their layouts differ, save both"):
        open_pair(fine_tuned, {})
    other = made("bert", "BertModel")
    with pytest.raises(PairingError, match="no tensor .*; if their layouts differ, save both with save_pretrained"):
        open_pair(made("mixtral", "MixtralModel"), other)


# --- renames

OLD_NORM = {"LayerNorm.weight": "LayerNorm.gamma", "LayerNorm.bias": "LayerNorm.beta"}
OLD_WEIGHT_NORM = {
    "parametrizations.weight.original0": "weight_g",
    "parametrizations.weight.original1": "weight_v",
}


@pytest.mark.parametrize(
    ("model_type", "base", "head", "renames"),
    [
        ("bert", "BertModel", "BertForSequenceClassification", OLD_NORM),
        ("wav2vec2", "Wav2Vec2Model", "Wav2Vec2ForCTC", OLD_WEIGHT_NORM),
    ],
)
def test_files_of_old_names_meet_new_ones_and_modules(tmp_path, model_type, base, head, renames):
    pretrained = made(model_type, base)
    with quiet():
        pretrained.save_pretrained(tmp_path / "new")
        tuned = fine_tune(getattr(transformers, head).from_pretrained(tmp_path / "new").eval())
    old = save(pretrained, tmp_path / "old", renames)
    new_tuned, old_tuned = save(tuned, tmp_path / "new_tuned"), save(tuned, tmp_path / "old_tuned", renames)
    assert set(on_disk(old)) != set(on_disk(tmp_path / "new"))
    sources = {"new": tmp_path / "new", "old": old, "module": pretrained, "tensors": on_disk(old)}
    for tuned_model in (tuned, new_tuned, old_tuned):
        for kind, base_model in sources.items():
            net = ken.prune(tuned_model, base_model, 0.5, rule="random", progress=False)
            check_net(net, read(tuned_model).tensors, read(base_model).tensors)
            new = {name for name, outline in net.outlines.items() if outline.reason == "no pretrained counterpart"}
            assert all(name.startswith(("classifier", "lm_head")) for name in new)
            assert len(new) == 2
            if kind != "module":
                want = ken.inject(net, base_model)
                expect_same(ken.inject(net, old), want, "inject into the old folder")
                expect_same(ken.inject(net, tmp_path / "new"), want, "inject into the new folder")
    net = ken.prune(fine_tune(pretrained), old, 0.5, rule="random", progress=False)
    expect_same(ken.inject(net, pretrained).state_dict(), ken.inject(net, old), "inject into a module")
    net = ken.prune(old, fine_tune(pretrained), 1.0, rule="random", progress=False)
    live = fine_tune(pretrained)
    net.inject_(live)
    expect_same(live.state_dict(), pretrained.state_dict(), "inject_ into a live model")


def test_a_counterpart_that_is_taken_is_not_given_to_an_old_name():
    tuned_model = dict.fromkeys(["LayerNorm.gamma", "LayerNorm.weight", "head"], torch.ones(1))
    base_model = dict.fromkeys(["LayerNorm.weight", "pooler"], torch.zeros(1))
    assert complete(match(tuned_model, base_model), Checkpoint(tuned_model), Checkpoint(base_model)) == match(
        tuned_model, base_model
    )


def test_names_that_would_share_a_counterpart_or_could_have_two_are_refused():
    with pytest.raises(PairingError, match="a and b would both be paired with c"):
        complete({"a": None, "b": None}, Checkpoint({"a": 0, "b": 0}), Checkpoint({"c": 0}, {"a": "c", "b": "c"}))
    with pytest.raises(PairingError, match="a could be paired with b and with c"):
        complete({"a": None}, Checkpoint({"a": 0}, {"b": "a", "c": "a"}), Checkpoint({"b": 0, "c": 0}))


NAMES = st.lists(st.sampled_from([f"{a}.{b}" for a in "abc" for b in ("weight", "bias", "gamma")]), unique=True)


@given(tuned_model=NAMES, base_model=NAMES)
def test_completing_keeps_what_was_paired_and_gives_no_counterpart_to_two(tuned_model, base_model):
    a = Checkpoint({name.replace(".", ".LayerNorm."): torch.ones(1) for name in tuned_model})
    b = Checkpoint({name.replace(".", ".LayerNorm."): torch.ones(1) for name in base_model})
    pairs = match(a.tensors, b.tensors)
    done = complete(pairs, a, b)
    assert list(done) == list(pairs)
    assert all(done[name] == other for name, other in pairs.items() if other is not None)
    used = [other for other in done.values() if other is not None]
    assert len(used) == len(set(used))
    assert clash(done, a, b) is None
    for name, other in done.items():
        assert other is None or other.replace("gamma", "weight") == name.replace("gamma", "weight")


# --- ties

TIES = [
    # The head's name counts, and the base model has the tensor under the alias.
    (
        "camembert",
        "CamembertModel",
        "CamembertForMaskedLM",
        "lm_head.decoder.weight",
        "embeddings.word_embeddings.weight",
    ),
    (
        "camembert",
        "CamembertModel",
        "CamembertForCausalLM",
        "lm_head.decoder.weight",
        "embeddings.word_embeddings.weight",
    ),
    (
        *("jina_embeddings_v3", "JinaEmbeddingsV3Model", "JinaEmbeddingsV3ForMaskedLM"),
        *("lm_head.decoder.weight", "embeddings.word_embeddings.weight"),
    ),
    (
        "xlm-roberta",
        "XLMRobertaModel",
        "XLMRobertaForMaskedLM",
        "lm_head.decoder.weight",
        "embeddings.word_embeddings.weight",
    ),
    (
        "xlm-roberta",
        "XLMRobertaModel",
        "XLMRobertaForCausalLM",
        "lm_head.decoder.weight",
        "embeddings.word_embeddings.weight",
    ),
]


@pytest.mark.parametrize(("model_type", "base", "head", "name", "other"), TIES)
def test_a_tied_tensor_is_found_under_its_other_name(tmp_path, model_type, base, head, name, other):
    pretrained = made(model_type, base)
    folder = save(pretrained, tmp_path / "p")
    with quiet():
        initial = getattr(transformers, head).from_pretrained(folder).eval()
    tuned = fine_tune(initial)
    for base_model in (pretrained, folder, pretrained.state_dict()):
        pairing = open_pair(tuned, base_model)
        assert name not in pairing.fine_tuned.tied
        assert pairing.names[name] == other
        assert same(initial.state_dict()[name], pairing.pretrained.tensors[other])
        net = ken.prune(tuned, base_model, 0.5, rule="random", progress=False)
        mine = {name: pairing.fine_tuned.tensors[name] for name in [*net, *net.tied]}
        want = check_net(net, mine, pairing.pretrained.tensors)
        if base_model is not pretrained:
            expect_same(ken.inject(net, base_model), want, "inject")
            continue
        expect_same(ken.inject(net, base_model).state_dict(), want, "inject")


def test_a_file_may_have_dropped_the_alias_under_which_the_other_has_the_tensor(tmp_path):
    whole, decoder = made("bart", "BartModel"), made("bart", "BartForCausalLM")
    a, b = save(whole, tmp_path / "whole"), save(decoder, tmp_path / "decoder")
    assert "decoder.embed_tokens.weight" not in on_disk(a)
    assert "model.decoder.embed_tokens.weight" in on_disk(b)
    assert open_pair(b, a).names["model.decoder.embed_tokens.weight"] == "shared.weight"
    assert open_pair(decoder, a).names["model.decoder.embed_tokens.weight"] == "shared.weight"
    assert open_pair(whole, b).names["shared.weight"] == "model.decoder.embed_tokens.weight"


def test_an_untied_head_has_no_counterpart_in_the_embedding_that_is_that_of_another():
    tied = made("gpt2", "GPT2LMHeadModel")
    tuned_model = {name: tensor.clone() for name, tensor in tied.state_dict().items()}
    base_model = {name: tensor.clone() for name, tensor in tuned_model.items() if name != "lm_head.weight"}
    names = open_pair(tuned_model, base_model | {"pooler": torch.ones(1)}).names
    assert names["lm_head.weight"] is None
    assert names["transformer.wte.weight"] == "transformer.wte.weight"
