"""Ties, renames, and the two layouts of a model: on disk and in memory."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

import pytest
import torch
import transformers
from architectures import build, quiet, tiny_config, tiny_models
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from test_architectures import check_net, expect_same, fine_tune, same
from transformers import core_model_loading

import ken
from ken.checkpoint import Checkpoint, read
from ken.errors import PairingError, SubnetworkError
from ken.layouts import IN_MEMORY, align, clash, complete
from ken.pairing import match, open_pair

#: Types whose names on disk are not those in memory.
OTHER_ON_DISK = 177
#: Among them those that have other tensors on disk: only in the layout of the file can the two be paired.
OTHER_TENSORS_ON_DISK = 81
#: All of these are paired in both ways; on every so many the laws are checked as well, to keep within a minute.
EVERY = 12
#: Types whose tiny configuration transformers itself refuses when it is read again, so that nothing is known of a
#: folder alone, and two classes that are no names of the library. Their modules are paired with folders all the same.
NOT_RELOADED = {
    *("beit", "chmv2", "cosmos3_edge", "depth_anything", "depth_pro", "dinov2", "dinov2_with_registers", "dinov3_vit"),
    *("dots3_note", "dots3_note_text", "dots3_note_vision_encoder", "glm5_next", "glm5_next_text", "granitemoehybrid"),
    *("lw_detr", "pixio", "prompt_depth_anything", "rf_detr", "sapiens2", "tipsv2", "tipsv2_dpt"),
    *("tipsv2_vision_model", "unlimited_ocr_sam_vision_model", "unlimited_ocr_vision_encoder", "zoedepth"),
}
#: Types of which a module cannot be paired with a folder, and why. Checked in both directions.
NOT_PAIRED: dict[str, str] = {}


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def save(model: torch.nn.Module, folder: Path, rename: Mapping[str, str] | None = None) -> Path:
    """A folder as `save_pretrained` writes it, which refuses some of the tiny configurations; with some words changed.

    Aliases go as they do there.
    """
    with quiet():
        kept = transformers.modeling_utils.remove_tied_weights_from_state_dict(dict(model.state_dict()), model)
        tensors = core_model_loading.revert_weight_conversion(model, kept)
    for old, new in (rename or {}).items():
        tensors = {name.replace(old, new): tensor for name, tensor in tensors.items()}
    folder.mkdir()
    save_file({name: tensor.contiguous().clone() for name, tensor in tensors.items()}, folder / "model.safetensors")
    config = {**json.loads(model.config.to_json_string()), "architectures": [type(model).__name__]}
    (folder / "config.json").write_text(json.dumps(config))
    return folder


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


def on_disk(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "model.safetensors")


# --- a module and a file in two layouts


@pytest.mark.parametrize("rule", ["ken", "random"])
def test_fused_experts_of_a_module_are_pruned_as_those_apart_in_files(folders, rule):
    fine_tuned, pretrained = mixtral()
    want = ken.prune(folders[0], folders[1], 0.5, rule, progress=False)
    assert any("experts.1.w2.weight" in name for name in want)
    for ours, theirs in ((fine_tuned, folders[1]), (folders[0], pretrained)):
        net = ken.prune(ours, theirs, 0.5, rule, progress=False)
        assert set(net) == set(want)
        whole = check_net(net, {n: t for n, t in on_disk(folders[0]).items() if n in net}, on_disk(folders[1]))
        expect_same(ken.inject(net, folders[1]), whole, "inject")
        expect_same(ken.reset(net, ours, theirs), whole, "reset")
        assert net.fine_tuned.fingerprint == want.fine_tuned.fingerprint
        assert net.pretrained.fingerprint == want.pretrained.fingerprint


@settings(max_examples=20)
@given(k=st.integers(1, 20), seed=st.integers(0, 5))
def test_module_against_folder_keeps_min_of_k_and_n_of_every_row(folders, k, seed):
    fine_tuned, _ = mixtral()
    net = ken.prune(fine_tuned, folders[1], k, "random", seed=seed, progress=False)
    ours, theirs = on_disk(folders[0]), on_disk(folders[1])
    injected = ken.inject(net, folders[1])
    for name, stored in net.items():
        rows = stored.row_mask()
        assert (rows.sum(axis=1) == min(k, rows.shape[1])).all()
        want = torch.where(torch.from_numpy(stored.mask()), ours[name], theirs[stored.pretrained.name])
        assert same(injected[name], want)


def test_what_is_exported_opens_as_the_module_that_was_pruned(folders, tmp_path):
    fine_tuned, _ = mixtral()
    net = ken.prune(fine_tuned, folders[1], 1.0, "random", progress=False)
    ken.export(net, folders[1], tmp_path / "model", progress=False)
    with quiet():
        opened = transformers.MixtralForCausalLM.from_pretrained(tmp_path / "model")
    expect_same(opened.state_dict(), fine_tuned.state_dict(), "exported with everything retained")


def test_a_subnetwork_of_one_layout_is_not_injected_into_the_other(folders):
    fine_tuned, pretrained = mixtral()
    before = {name: tensor.clone() for name, tensor in pretrained.state_dict().items()}
    as_on_disk = ken.prune(fine_tuned, folders[1], 3, "random", progress=False)
    for inject in (lambda: ken.inject(as_on_disk, pretrained), lambda: as_on_disk.inject_(pretrained)):
        with pytest.raises(SubnetworkError, match=r"different layouts; inject into the checkpoint folder with ken\."):
            inject()
    expect_same(pretrained.state_dict(), before, "the model was changed")
    in_memory = ken.prune(fine_tuned, pretrained, 3, "random", progress=False)
    with pytest.raises(SubnetworkError, match="different layouts; open it with from_pretrained and inject into that"):
        ken.inject(in_memory, folders[1])


def test_a_state_dict_in_the_other_layout_is_refused(folders):
    fine_tuned, pretrained = mixtral()
    for ours, theirs in (
        (fine_tuned.state_dict(), folders[1]),
        (folders[0], pretrained.state_dict()),
        (fine_tuned, on_disk(folders[1])),
    ):
        with pytest.raises(PairingError, match=r"are one tensor in different layouts; open both with from_pretrained"):
            open_pair(ours, theirs)


def test_a_folder_that_was_saved_as_in_memory_is_paired_as_it_is(tmp_path):
    fine_tuned, pretrained = mixtral()
    with quiet():
        pretrained.save_pretrained(tmp_path, save_original_format=False)
    net = ken.prune(fine_tuned, tmp_path, 3, "random", progress=False)
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
    for ours, theirs in ((fine_tuned, folders[1]), (folders[0], pretrained)):
        with pytest.raises(PairingError, match=message):
            open_pair(ours, theirs)


def test_buffers_stay_buffers_in_the_layout_of_the_file(tmp_path):
    pretrained = made("rt_detr_resnet", "RTDetrResNetBackbone")
    ours, _ = align(read(fine_tune(pretrained)), read(save(pretrained, tmp_path / "p")))
    assert ours.buffers
    assert {name.rpartition(".")[2] for name in ours.buffers} == {"running_mean", "running_var", "num_batches_tracked"}


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
    for ours in (tuned, new_tuned, old_tuned):
        for kind, theirs in sources.items():
            net = ken.prune(ours, theirs, 0.5, "random", progress=False)
            check_net(net, read(ours).tensors, read(theirs).tensors)
            new = {name for name, outline in net.outlines.items() if outline.reason == "no pretrained counterpart"}
            assert all(name.startswith(("classifier", "lm_head")) for name in new)
            assert len(new) == 2
            if kind != "module":
                want = ken.inject(net, theirs)
                expect_same(ken.inject(net, old), want, "inject into the old folder")
                expect_same(ken.inject(net, tmp_path / "new"), want, "inject into the new folder")
    net = ken.prune(fine_tune(pretrained), old, 0.5, "random", progress=False)
    expect_same(ken.inject(net, pretrained).state_dict(), ken.inject(net, old), "inject into a module")
    net = ken.prune(old, fine_tune(pretrained), 1.0, "random", progress=False)
    live = fine_tune(pretrained)
    net.inject_(live)
    expect_same(live.state_dict(), pretrained.state_dict(), "inject_ into a live model")


def test_a_counterpart_that_is_taken_is_not_given_to_an_old_name():
    ours = dict.fromkeys(["LayerNorm.gamma", "LayerNorm.weight", "head"], torch.ones(1))
    theirs = dict.fromkeys(["LayerNorm.weight", "pooler"], torch.zeros(1))
    assert complete(match(ours, theirs), Checkpoint(ours), Checkpoint(theirs)) == match(ours, theirs)


def test_names_that_would_share_a_counterpart_or_could_have_two_are_refused():
    with pytest.raises(PairingError, match="a and b would both be paired with c"):
        complete({"a": None, "b": None}, Checkpoint({"a": 0, "b": 0}), Checkpoint({"c": 0}, {"a": "c", "b": "c"}))
    with pytest.raises(PairingError, match="a could be paired with b and with c"):
        complete({"a": None}, Checkpoint({"a": 0}, {"b": "a", "c": "a"}), Checkpoint({"b": 0, "c": 0}))


NAMES = st.lists(st.sampled_from([f"{a}.{b}" for a in "abc" for b in ("weight", "bias", "gamma")]), unique=True)


@given(ours=NAMES, theirs=NAMES)
def test_completing_keeps_what_was_paired_and_gives_no_counterpart_to_two(ours, theirs):
    a = Checkpoint({name.replace(".", ".LayerNorm."): torch.ones(1) for name in ours})
    b = Checkpoint({name.replace(".", ".LayerNorm."): torch.ones(1) for name in theirs})
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
    for theirs in (pretrained, folder, pretrained.state_dict()):
        pairing = open_pair(tuned, theirs)
        assert name not in pairing.fine_tuned.tied
        assert pairing.names[name] == other
        assert same(initial.state_dict()[name], pairing.pretrained.tensors[other])
        net = ken.prune(tuned, theirs, 0.5, "random", progress=False)
        mine = {name: pairing.fine_tuned.tensors[name] for name in [*net, *net.tied]}
        want = check_net(net, mine, pairing.pretrained.tensors)
        if theirs is not pretrained:
            expect_same(ken.inject(net, theirs), want, "inject")
            continue
        expect_same(ken.inject(net, theirs).state_dict(), want, "inject")


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
    ours = {name: tensor.clone() for name, tensor in tied.state_dict().items()}
    theirs = {name: tensor.clone() for name, tensor in ours.items() if name != "lm_head.weight"}
    names = open_pair(ours, theirs | {"pooler": torch.ones(1)}).names
    assert names["lm_head.weight"] is None
    assert names["transformer.wte.weight"] == "transformer.wte.weight"


# --- every type


def test_a_module_is_paired_with_a_folder_whatever_its_names_on_disk_are(tmp_path):
    other_names, other_tensors, failures, not_reloaded = 0, 0, {}, set()
    for model_type, model, _ in tiny_models():
        if not isinstance(model, transformers.PreTrainedModel):
            continue
        with quiet():
            written = core_model_loading.revert_weight_conversion(model, dict(model.state_dict()))
        if set(written) == set(model.state_dict()):
            continue
        other_names += 1
        fine_tuned = fine_tune(model)
        ours, theirs = save(fine_tuned, tmp_path / "fine_tuned"), save(model, tmp_path / "pretrained")
        try:
            check_pairs(fine_tuned, model, ours, theirs)
            differ = has_other_tensors(model, theirs)
            other_tensors += differ
            if reloads(model, theirs):
                assert not differ or is_refused(model.state_dict(), theirs), "a state dict in another layout was taken"
                if other_names % EVERY == 0:
                    check_laws(fine_tuned, model, ours, theirs)
            else:
                not_reloaded.add(model_type)
        except (AssertionError, ken.KenError) as error:
            failures[model_type] = f"{type(error).__name__}: {error}"
        shutil.rmtree(ours)
        shutil.rmtree(theirs)
    assert {name: failure for name, failure in failures.items() if name not in NOT_PAIRED} == {}
    assert sorted(set(NOT_PAIRED) - set(failures)) == [], "listed as not paired, but passes"
    assert not_reloaded == NOT_RELOADED
    assert (other_names, other_tensors) == (OTHER_ON_DISK, OTHER_TENSORS_ON_DISK)


def reloads(model: torch.nn.Module, folder: Path) -> bool:
    """Whether the library makes a model of the configuration of a folder."""
    try:
        with quiet(), torch.device("meta"):
            type(model)(type(model.config).from_json_file(folder / "config.json"))
    except Exception:  # whatever transformers raises
        return False
    return hasattr(transformers, type(model).__name__)


def check_pairs(fine_tuned: torch.nn.Module, pretrained: torch.nn.Module, ours: Path, theirs: Path) -> None:
    """Whatever the layout, a module is paired with a folder as a folder is, and every tensor has its counterpart."""
    files = on_disk(ours), on_disk(theirs)
    assert set(files[0]) == set(files[1])
    for here, there in ((fine_tuned, theirs), (ours, pretrained)):
        pairing = open_pair(here, there)
        counted = [name for name in pairing.names if name not in pairing.fine_tuned.tied]
        assert len(counted) >= len(files[0]) or here is fine_tuned
        for name in counted:
            other = pairing.names[name]
            assert other is not None, f"{name} has no counterpart"
            on_file = other if here is fine_tuned else name
            for side, tensor in zip(
                files, (pairing.fine_tuned.tensors[name], pairing.pretrained.tensors[other]), strict=True
            ):
                assert same(tensor.contiguous(), side[on_file]), f"{name} and {other} are not {on_file}"


def has_other_tensors(model: torch.nn.Module, folder: Path) -> bool:
    """Whether a folder has other tensors than the module, and not just other names."""
    return not set(align(read(model), read(folder))[0].tensors) <= set(model.state_dict())


def is_refused(state: Mapping[str, torch.Tensor], folder: Path) -> bool:
    """Whether a pair is refused since its layouts differ; with a state dict, nobody can bring them together."""
    try:
        open_pair(state, folder)
    except PairingError as error:
        return IN_MEMORY in "".join([str(error), *getattr(error, "__notes__", ())])
    return False


def check_laws(fine_tuned: torch.nn.Module, pretrained: torch.nn.Module, ours: Path, theirs: Path) -> None:
    files = on_disk(ours), on_disk(theirs)
    for here, there in ((fine_tuned, theirs), (ours, pretrained)):
        net = ken.prune(here, there, 0.5, "random", progress=False)
        pairing = open_pair(here, there)
        mine = {name: pairing.fine_tuned.tensors[name] for name in [*net, *net.tied]}
        want = check_net(net, mine, pairing.pretrained.tensors)
        for name, stored in net.items():
            if isinstance(stored, ken.RetainedTensor):
                on_file = stored.pretrained.name if here is fine_tuned else name
                mask = torch.from_numpy(stored.mask())
                assert same(torch.where(mask, files[0][on_file], files[1][on_file]), want[name]), name
        expect_same(ken.inject(net, theirs), want, "inject")
        if not has_other_tensors(pretrained, theirs):
            injected = ken.inject(net, pretrained).state_dict()
            if here is fine_tuned:
                expect_same(injected, want, "inject into the module")
            else:
                expect_same({n: injected[pairing.names[n]] for n in net}, {n: want[n] for n in net}, "into the module")
        else:
            with pytest.raises(SubnetworkError, match="different layouts; inject into the checkpoint folder"):
                ken.inject(net, pretrained)
