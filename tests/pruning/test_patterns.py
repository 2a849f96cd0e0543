"""Patterns that match no tensor are errors with the nearest names, in Python and on the command line."""

import re
from fnmatch import fnmatchcase
from functools import partial

import command_line
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import LlamaConfig, LlamaForCausalLM

import ken
from ken.errors import BudgetError
from ken.pruning.patterns import check_patterns, suggestions
from ken.pruning.selection import Selection

LLAMA = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "intermediate_size": 64,
    "vocab_size": 100,
}
NAMES = [
    "model.embed_tokens.weight",
    *(
        f"model.layers.{layer}.{kind}.weight"
        for layer in range(2)
        for kind in ("self_attn.q_proj", "self_attn.k_proj", "mlp.up_proj", "input_layernorm")
    ),
    "model.norm.weight",
    "lm_head.weight",
]


def llama_pair(**more):
    torch.manual_seed(0)
    pretrained = LlamaForCausalLM(LlamaConfig(**LLAMA, **more))
    fine_tuned = LlamaForCausalLM(LlamaConfig(**LLAMA, **more))
    fine_tuned.load_state_dict(pretrained.state_dict())
    with torch.no_grad():
        for parameter in fine_tuned.parameters():
            parameter.add_(0.01 * torch.randn_like(parameter))
    return ken.Pair(fine_tuned, pretrained)


@pytest.fixture(scope="module")
def models():
    return llama_pair()


@pytest.fixture(scope="module")
def folders(models, tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    models.fine_tuned.save_pretrained(folder / "fine_tuned")
    models.pretrained.save_pretrained(folder / "pretrained")
    return folder


# What is asked for, what the error begins with, and what it must name.
CASES = [
    ({"include": ["q_proj"]}, "include: 'q_proj'", "'*.q_proj.*'"),
    ({"exclude": ["q_proj"]}, "exclude: 'q_proj'", "'*.q_proj.*'"),
    ({"include": ["*.q_proj.*", "*.query.*"]}, "include: '*.query.*'", ""),
    ({"exclude": ["lm_head"]}, "exclude: 'lm_head'", "'lm_head.*'"),
    ({"exclude": ["*.Q_proj.*"]}, "exclude: '*.Q_proj.*'", "'*.q_proj.*'"),
    ({"exclude": ["embeddings.*"]}, "exclude: 'embeddings.*'", "'*.embed_tokens.*'"),
    ({"include": ["model.layer.0.*"]}, "include: 'model.layer.0.*'", "'model.layers.0.*'"),
    ({"include": [r"model\.layers\.\d+\..*"]}, "include: ", "'model.layers.*"),
    ({"include": [""]}, "include: ''", "names are 'model.embed_tokens.weight'"),
    ({"k": {"q_proj": 0.5}}, "k: 'q_proj'", "'*.q_proj.*'"),
    ({"k": {"*.v_proj.*": 0.5, "*.w_proj.*": 3}}, "k: '*.w_proj.*'", "_proj.*'"),
    ({"rows": {"nothing*": "whole"}}, "rows: 'nothing*'", "nothing near"),
    ({"rows": {"norm": "whole"}}, "rows: 'norm'", "'*.norm.*'"),
]


@pytest.mark.parametrize(("asked", "begins", "names"), CASES)
def test_a_pattern_that_matches_no_tensor_is_an_error_that_names_the_nearest(asked, begins, names, models):
    asked = {"k": 0.5} | asked
    with pytest.raises(BudgetError) as caught:
        ken.prune(*models, **asked)
    assert str(caught.value).startswith(begins)
    assert names in str(caught.value)
    with pytest.raises(BudgetError) as planned:
        ken.plan(models.fine_tuned, **asked)
    assert str(planned.value) == str(caught.value).replace("the fine-tuned model", "the model")


def test_it_is_refused_before_anything_is_written(folders, tmp_path):
    out = tmp_path / "net.ken.safetensors"
    with pytest.raises(BudgetError, match="include: 'q_proj'"):
        ken.prune(folders / "fine_tuned", folders / "pretrained", 0.5, include=["q_proj"], out=out)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("argument", ["include", "exclude", "rows"])
@pytest.mark.parametrize("command", ["prune", "plan"])
def test_the_command_line_says_so_too(argument, command, folders, tmp_path):
    models = [str(folders / "fine_tuned"), str(folders / "pretrained")]
    given = models if command == "prune" else models[:1]
    out = ["-o", str(tmp_path / "net")] if command == "prune" else []
    pattern = "q_proj=whole" if argument == "rows" else "q_proj"
    words = [command, *given, "-k", "0.5", *out, f"--{argument}", pattern]
    ran = command_line.ken(*words)
    assert ran.status == 1
    assert ran.err.startswith(f"ken: {argument}: 'q_proj' matches none of the 21 tensors")
    assert "'*.q_proj.*'" in ran.err
    assert not list(tmp_path.iterdir())


def test_sweeps_check_patterns_before_anything_is_evaluated(models):
    def never(_):
        raise AssertionError("evaluated")

    with pytest.raises(BudgetError, match="exclude: 'q_proj'"):
        ken.sweep(models, [0.5], evaluate=never, exclude=["q_proj"])
    with pytest.raises(BudgetError, match="exclude: 'q_proj'"):
        ken.smallest_k(models, 0.1, evaluate=never, exclude=["q_proj"])
    with pytest.raises(BudgetError, match="k: 'q_proj'"):
        ken.sweep(models, [0.5, {"q_proj": 0.5}], evaluate=never)


def test_a_pattern_that_matches_an_alias_alone_is_told_under_which_name_the_tensor_counts():
    models = llama_pair(tie_word_embeddings=True)
    for call in (partial(ken.prune, *models, 0.5), partial(ken.plan, models.fine_tuned, 0.5)):
        with pytest.raises(BudgetError, match="'lm_head.weight', which is tied to 'model.embed_tokens.weight'"):
            call(exclude=["lm_head.*"])
        call(exclude=["*e*"])


def test_a_pattern_for_a_tensor_that_only_the_pretrained_model_has_is_told_so(models):
    pretrained = models.pretrained.state_dict() | {"score.weight": torch.ones(2, 32)}
    with pytest.raises(BudgetError, match="exclude: 'score.*' matches only 'score.weight' of the other model"):
        ken.prune(models.fine_tuned, pretrained, 0.5, exclude=["score.*"])


def test_patterns_that_match_something_are_obeyed(models):
    asked = {"include": ["*.q_proj.*", "*norm*"], "exclude": ["model.norm.*"], "rows": {"*norm*": "whole"}}
    net = ken.prune(*models, {"*.q_proj.*": 4, "*": 0.5}, **asked)
    assert sorted(net.pruned()) == sorted(
        f"model.layers.{layer}.{kind}.weight"
        for layer in range(2)
        for kind in ("self_attn.q_proj", "input_layernorm", "post_attention_layernorm")
    )


@pytest.mark.parametrize("argument", ["k", "rows"])
def test_a_pattern_that_an_earlier_one_leaves_nothing_to_is_an_error(argument, models):
    values = (0.5, 3) if argument == "k" else ("first", "whole")
    asked = {"k": 0.5} | {argument: {"*": values[0], "*.q_proj.*": values[1]}}
    with pytest.raises(BudgetError, match=rf"{argument}: '\*.q_proj.\*' never decides, since '\*' before it"):
        ken.prune(*models, **asked)
    asked[argument] = {"*.q_proj.*": values[1], "*": values[0]}
    ken.prune(*models, **asked)


def test_a_default_behind_the_others_may_come_to_nothing():
    check_patterns(Selection({"*.weight": 3, "*": 0.5}), NAMES)
    check_patterns(Selection({"*": 3, "*.q_proj.*": 3}), NAMES)


@pytest.mark.parametrize(
    ("pattern", "first"),
    [
        ("q_porj", "*.q_proj.*"),
        ("*.q_porj.*", "*.q_proj.*"),
        ("Q_PROJ", "*.q_proj.*"),
        ("layers.0", "*.layers.0.*"),
        ("head", "*head*"),
        (".*q_proj.*", "*.q_proj.*"),
        ("*.q_proj", "*.q_proj.*"),
        ("q_proj.weight", "*.q_proj.weight"),
        ("self_attn.qproj.weight", "*.self_attn.q_proj.weight"),
        ("model.layers.0.self_attn.q_proj", "model.layers.0.self_attn.q_proj.*"),
        ("_orig_mod.lm_head.weight", "lm_head.weight"),
        ("layernorm", "*layernorm*"),
    ],
)
def test_suggestions(pattern, first):
    assert suggestions(pattern, NAMES)[0] == first


@pytest.mark.parametrize("pattern", ["", "zzz", "*bias", "[q", "[!", "\0", "(" * 50])
def test_nothing_near_is_nothing(pattern):
    assert suggestions(pattern, NAMES) == []


@given(st.text(max_size=12), st.lists(st.text(max_size=12), max_size=6))
def test_any_text_is_a_pattern(pattern, names):
    selection = Selection(0.5, include=[pattern])
    if any(fnmatchcase(name, pattern) for name in names):
        check_patterns(selection, names)
    else:
        with pytest.raises(BudgetError, match=re.escape(f"include: {pattern!r}")):
            check_patterns(selection, names)
