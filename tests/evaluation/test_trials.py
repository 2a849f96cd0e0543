"""One model goes from subnetwork to subnetwork, and each is evaluated once, whatever happens meanwhile."""

import signal
import subprocess
import sys
import time

import numpy as np
import pandas as pd
import pytest
import torch
from test_pruning import fingerprint
from transformers import BertConfig, BertForSequenceClassification, BertModel

import ken
from ken.errors import SubnetworkError
from ken.evaluation.runner import nothing_retained

CONFIG = {
    "vocab_size": 40,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 24,
}


@pytest.fixture
def berts():
    """A base model, and a classifier with a grown vocabulary and a new head."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        base = BertModel(BertConfig(**CONFIG)).eval()
        fine_tuned = BertForSequenceClassification(BertConfig(**{**CONFIG, "vocab_size": 43}, num_labels=3)).eval()
    return ken.Pair(fine_tuned, base)


def with_statistics(seed):
    """A convolution and a batch norm, whose running statistics are carried; two modules share their weights."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = torch.nn.Sequential(torch.nn.Conv1d(3, 5, 3), torch.nn.BatchNorm1d(5), torch.nn.Conv1d(5, 5, 3))
        model.append(model[2])
        model[1].running_mean.normal_()
        return model.half().eval() if seed else model.eval()


@pytest.mark.parametrize(
    ("kind", "exclude", "patterns"),
    [
        (kind, exclude, patterns)
        for kind, carried, patterns in (
            ("berts", ("*embeddings*",), {"*attention*": 3, "*bias": 0.5}),
            ("statistics", ("0.*",), {"2.weight": 3, "*bias": 0.5}),
        )
        for exclude in ((), carried)
    ],
)
def test_one_model_holds_what_inject_gives_and_goes_back(request, kind, exclude, patterns):
    pair = request.getfixturevalue("berts") if kind == "berts" else ken.Pair(with_statistics(1), with_statistics(0))
    before = [fingerprint(model.state_dict()) for model in pair]
    seen = []

    def evaluate(model):
        seen.append((model, fingerprint(model.state_dict())))
        return 0.0

    ks = [0.5, patterns, 1, 1.0, patterns, {"*": 2}]
    table = ken.sweep(pair, ks, ["ken", "random"], evaluate=evaluate, exclude=exclude, progress=False)
    models, prints = zip(*seen, strict=True)
    assert len(set(map(id, models))) == 1
    assert type(models[0]) is type(pair.fine_tuned)
    assert [fingerprint(model.state_dict()) for model in pair] == before
    for line, digest in zip(table.iloc[2:].itertuples(), prints[2:], strict=True):
        net = ken.prune(*pair, line.k, line.rule, seed=max(line.seed, 0), exclude=exclude, progress=False)
        assert digest == fingerprint(ken.inject(net, pair.pretrained).state_dict()), line
        assert line.retained == net.retained
    assert prints[0] == fingerprint(ken.inject(ken.prune(*pair, 1.0, exclude=exclude), pair.pretrained).state_dict())
    assert len({repr(digest) for digest in prints}) == 10  # 1.0 is the fine-tuned model, for both rules
    assert fingerprint(models[0].state_dict()) == prints[1]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_after_an_error_the_one_model_is_back_too_and_what_was_done_is_kept(berts, tmp_path, error):
    before = [fingerprint(model.state_dict()) for model in berts]
    seen = []

    def evaluate(model):
        seen.append(model)
        if len(seen) == 4:
            raise error("in the evaluation")
        return float(len(seen))

    with pytest.raises(error, match="in the evaluation"):
        ken.sweep(berts, [0.5, 0.25], evaluate=evaluate, results=tmp_path / "r", progress=False)
    reset = ken.inject(nothing_retained(ken.prune(*berts, 1.0), berts), berts.pretrained)
    assert fingerprint(seen[0].state_dict()) == fingerprint(reset.state_dict())
    assert [fingerprint(model.state_dict()) for model in berts] == before
    table = ken.sweep(berts, [0.5, 0.25], evaluate=evaluate, results=tmp_path / "r", progress=False)
    assert table["metric"].tolist() == [1, 2, 3, 5, 6, 7]


def test_an_evaluation_that_changes_the_model_is_found_out(berts):
    def evaluate(model):
        model.bert.pooler.dense.weight.data += 1
        return 0.0

    with pytest.raises(SubnetworkError, match="does not hold the subnetwork") as raised:
        ken.sweep(berts, [0.5], evaluate=evaluate, progress=False)
    assert "an evaluation must leave the model's parameters and buffers as they are" in raised.value.__notes__

    def and_fails(model):
        evaluate(model)
        raise ValueError("its own")

    with pytest.raises(ValueError, match="its own"):
        ken.sweep(berts, [0.5], evaluate=and_fails, progress=False)


def test_state_dicts_and_files_give_a_new_state_dict_each_time(berts, tmp_path):
    berts.fine_tuned.save_pretrained(tmp_path / "ours")
    berts.pretrained.save_pretrained(tmp_path / "theirs")

    def evaluate(model):
        state = model if isinstance(model, dict) else model.state_dict()
        seen.append(model)
        return sum(float(tensor.double().sum()) for name, tensor in sorted(state.items()))

    seen = []
    # A state dict does not say that rows were added to a vocabulary.
    words = berts.pretrained.get_input_embeddings().weight
    same_words = BertForSequenceClassification(BertConfig(**CONFIG, num_labels=3)).eval()
    same_words.load_state_dict(
        {name: w[: len(words)] if "word_embeddings" in name else w for name, w in berts.fine_tuned.state_dict().items()}
    )
    states = ken.Pair(same_words.state_dict(), {f"bert.{name}": w for name, w in berts.pretrained.state_dict().items()})
    for modules, pair in (
        (berts, ken.Pair(tmp_path / "ours", tmp_path / "theirs")),
        (ken.Pair(same_words, berts.pretrained), states),
    ):
        live = ken.sweep(modules, [0.5], evaluate=evaluate, progress=False)
        seen.clear()
        swept = ken.sweep(pair, [0.5], evaluate=evaluate, progress=False)
        assert len({id(state) for state in seen}) == 4
        pd.testing.assert_frame_equal(swept, live, check_exact=True)


def test_nothing_retained_is_the_pretrained_model_with_what_is_carried():
    theirs = {"w": torch.randn(20, 30, generator=torch.Generator().manual_seed(0))}
    pair = ken.Pair({"w": theirs["w"] + 1, "head": torch.ones(2)}, theirs)
    net = nothing_retained(ken.prune(*pair, 5), pair)
    merged = ken.inject(net, pair.pretrained)
    assert torch.equal(merged["w"], pair.pretrained["w"])
    assert torch.equal(merged["head"], pair.fine_tuned["head"])
    assert net.retained == 2


SWEEPING = """
import math, sys, time
import numpy as np, torch, ken

class Result(float):
    pass

def pair():
    generator = torch.Generator().manual_seed(0)
    theirs = torch.nn.Linear(40, 30)
    ours = torch.nn.Linear(40, 30)
    for model in (theirs, ours):
        for parameter in model.parameters():
            parameter.data = torch.randn(parameter.shape, generator=generator)
    return ken.Pair(ours, theirs)

def swept(log, results, seconds):
    models = pair()
    wanted = models.fine_tuned.weight.detach().double().numpy().copy()

    def evaluate(model):
        with open(log, "a") as file:
            file.write("evaluated\\n")
        time.sleep(seconds)
        off = np.abs(model.weight.detach().double().numpy() - wanted)
        outcomes = (off < 0.5).reshape(-1)
        result = Result(outcomes.mean())
        result.outcomes, result.metrics = outcomes, {"off": math.fsum(off.reshape(-1))}
        result.standard_error = float(outcomes.std()) / 40
        return result

    return ken.sweep(models, [0.75, 0.5, 0.25, 3], ["ken", "random", "update"], evaluate=evaluate,
                     on=["weights", "update"], seeds=[0, 1], results=results, progress=False)
"""


def start(folder, seconds, limit=0):
    """The sweep in a process of its own; with a limit it is killed by the first write beyond so many bytes."""
    code = (
        SWEEPING
        + f"""
if {limit}:
    import resource, signal
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, resource.RLIM_INFINITY))
swept({str(folder / "log")!r}, {str(folder / "results.jsonl")!r}, {seconds})
"""
    )
    return subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE, text=True)


def lines(path):
    return path.read_text().count("\n") if path.exists() else 0


def test_a_sweep_that_is_killed_again_and_again_ends_with_the_same_table(tmp_path):
    names = {}
    exec(compile(SWEEPING, "sweeping", "exec"), names)
    (tmp_path / "whole").mkdir()
    whole = names["swept"](tmp_path / "whole" / "log", tmp_path / "whole" / "results.jsonl", 0)
    jobs = len(whole)
    assert jobs == lines(tmp_path / "whole" / "log") == 2 + 4 * 5
    sizes = np.cumsum([len(line) + 1 for line in (tmp_path / "whole" / "results.jsonl").read_bytes().split(b"\n")])

    log, path, unkept = tmp_path / "log", tmp_path / "results.jsonl", 0
    # Killed in the middle of an evaluation …
    for upto in (1, 2, 7):
        running = start(tmp_path, 0.2)
        while lines(log) < upto + unkept:
            assert running.poll() is None, running.communicate()
            time.sleep(0.01)
        running.send_signal(signal.SIGKILL)
        running.communicate()
        assert running.returncode == -signal.SIGKILL
        unkept = lines(log) - (lines(path) - 1)
        assert unkept <= 3
    # … and in the middle of writing a record: of the first line, too, which is then begun again.
    for limit in (int(sizes[9]) + 1, int(sizes[9]) + 200, int(sizes[12]) - 1):
        running = start(tmp_path, 0, limit)
        running.communicate()
        assert running.returncode == -signal.SIGXFSZ
        content = path.read_bytes()
        assert len(content) == limit
        assert not content.endswith(b"\n")
    kept = lines(path) - 1
    assert kept == 11

    before = lines(log)
    table = names["swept"](log, path, 0)
    assert lines(log) - before == jobs - kept
    pd.testing.assert_frame_equal(table, whole, check_exact=True)
    assert path.read_bytes() == (tmp_path / "whole" / "results.jsonl").read_bytes()

    before = lines(log)
    pd.testing.assert_frame_equal(names["swept"](log, path, 0), whole, check_exact=True)
    assert lines(log) == before


def test_the_table_is_in_the_order_that_is_asked_for_whatever_the_file_has(tmp_path):
    generator = torch.Generator().manual_seed(0)
    pair = ken.Pair(*({"w": torch.randn(6, 50, generator=generator)} for _ in "ab"))
    calls = []

    def evaluate(state):
        calls.append(state)
        return float(state["w"].double().sum())

    def swept(ks, rules, **more):
        return ken.sweep(pair, ks, rules, evaluate=evaluate, progress=False, **more)

    path = tmp_path / "r"
    swept([0.25, 0.5], ["random"], seeds=[1, 0], results=path)
    swept([7], ["ken"], results=path)
    assert len(calls) == 2 + 4 + 1
    table = swept([0.5, 7], ["ken", "random"], seeds=[0, 1, 2], results=path)
    assert len(calls) == 7 + 1 + 4
    pd.testing.assert_frame_equal(table, swept([0.5, 7], ["ken", "random"], seeds=[0, 1, 2]), check_exact=True)
    assert len(ken.results.read(path)) == 7 + 1 + 4
