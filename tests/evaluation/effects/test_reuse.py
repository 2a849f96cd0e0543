"""Layers that are not run again: the same bits as if they had been, and only where nothing could tell."""

import contextlib
import copy
import itertools
import pickle

import pandas as pd
import pytest
import torch
from effects_models import TEXTS, bert, llama, moved, word_tokenizer
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers.modeling_layers import GradientCheckpointingLayer

import ken
from ken.evaluation.effects import ablation, items
from ken.evaluation.effects.live_model import LiveModel
from ken.evaluation.effects.reuse import Reuse


class Step(GradientCheckpointingLayer):
    """A layer that counts how often it runs."""

    def __init__(self):
        super().__init__()
        self.inner = torch.nn.Linear(3, 3)
        self.runs = 0

    def forward(self, x, shift=None, scale=1.0):
        self.runs += 1
        y = torch.tanh(self.inner(x)) * scale
        return y if shift is None else y + shift


class Stack(torch.nn.Module):
    """Layers between what comes before and what comes after."""

    def __init__(self, depth=4):
        super().__init__()
        self.before = torch.nn.Linear(3, 3)
        self.layers = torch.nn.ModuleList(Step() for _ in range(depth))
        self.after = torch.nn.Linear(3, 1)

    def forward(self, x, **options):
        x = self.before(x)
        for layer in self.layers:
            x = layer(x, **options)
        return self.after(x)

    @property
    def runs(self):
        return [layer.runs for layer in self.layers]


@pytest.fixture
def stack():
    torch.manual_seed(0)
    return Stack().eval()


@pytest.fixture
def x():
    return torch.randn(2, 3, generator=torch.Generator().manual_seed(1))


def asked(reuse, model, *inputs, changing=(), **options):
    with torch.no_grad(), reuse.changing(changing):
        return [model(x, **options) for x in inputs]


class Never:
    """What `Reuse` is in place of: every layer runs."""

    def __init__(self, module):
        pass

    def changing(self, tensors):
        return contextlib.nullcontext()

    def forget(self):
        pass


# ---- the same bits


@pytest.mark.parametrize(("make", "held"), [(bert, False), (llama, True)])
def test_an_ablation_has_the_bits_that_running_every_layer_gives(make, held, monkeypatch):
    base = make()
    pair = ken.Pair(moved(base), base)
    classifies = make is bert
    kind = ken.Task.classification if classifies else ken.Task.causal
    texts = [text for text in TEXTS if classifies or " " in text]
    labels = ([0, 1, 2, 1, 0],) if classifies else ()
    task = kind(pair.fine_tuned, word_tokenizer(), texts, *labels, batch_size=2)
    net = ken.prune(*pair, 0.5, progress=False) if held else None
    options = {"evaluate": task.evaluate, "net": net, "by": "layer", "seeds": [0], "progress": False}
    table = ken.ablate(pair, **options)
    monkeypatch.setattr(ablation, "Reuse", Never)
    pd.testing.assert_frame_equal(table, ken.ablate(pair, **options), check_exact=True)


def test_so_have_flips(monkeypatch):
    base = bert()
    pair = ken.Pair(moved(base), base)
    task = ken.Task.classification(pair.fine_tuned, word_tokenizer(), TEXTS, [0, 1, 2, 1, 0], batch_size=2)
    table = ken.flips(pair, task, 1, by="layer", progress=False)
    monkeypatch.setattr(items, "Reuse", Never)
    pd.testing.assert_frame_equal(table, ken.flips(pair, task, 1, by="layer", progress=False), check_exact=True)


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_whatever_is_changed_and_asked_in_whatever_order_the_bits_are_those_of_the_model(data):
    torch.manual_seed(0)
    model, other = Stack().eval(), Stack().eval()
    names, inputs = [name for name, _ in model.named_parameters()], torch.randn(3, 2, 3)
    most = data.draw(st.sampled_from([0, 200, 1 << 20]), "most")
    reuse = Reuse(model, most)
    for _ in range(data.draw(st.integers(1, 6), "evaluations")):
        changed = data.draw(st.lists(st.sampled_from(names), max_size=2, unique=True), "changed")
        order = data.draw(st.lists(st.integers(0, 2), min_size=1, max_size=3), "order")
        scale = data.draw(st.sampled_from([1.0, 0.5]), "scale")
        slots, kept = dict(model.named_parameters()), copy.deepcopy(model.state_dict())
        for name in changed:
            slots[name].data.copy_(other.state_dict()[name])
        plain = [copy.deepcopy(model)(inputs[i], scale=scale).detach() for i in order]
        answers = asked(reuse, model, *(inputs[i] for i in order), changing=[slots[n] for n in changed], scale=scale)
        assert all(map(torch.equal, answers, plain))
        assert reuse.bytes <= most
        for name in changed:
            slots[name].data.copy_(kept[name])


# ---- what is run, and what not


def test_layers_below_the_first_change_run_once_and_those_above_each_time(stack, x):
    reuse = Reuse(stack)
    for changed in (None, 3, 2, 2):
        asked(reuse, stack, x, changing=[] if changed is None else [stack.layers[changed].inner.bias])
    assert stack.runs == [1, 1, 3, 4]
    asked(reuse, stack, x, changing=[stack.after.weight])
    assert stack.runs == [1, 1, 3, 4]
    assert reuse.given_again == 3 + 2 + 2 + 4


def test_without_a_first_evaluation_of_the_whole_model_it_begins_at_the_first_that_there_is(stack, x):
    """As in a file of results that is gone on with."""
    reuse = Reuse(stack)
    for _ in range(3):
        asked(reuse, stack, x, changing=[stack.layers[2].inner.weight])
    assert stack.runs == [1, 1, 3, 3]


def test_inputs_from_a_change_before_the_layers_do_not_stay(stack, x):
    reuse = Reuse(stack)
    weight = stack.before.weight.data.clone()
    asked(reuse, stack, x)
    stack.before.weight.data += 1
    asked(reuse, stack, x, changing=[stack.before.weight])
    stack.before.weight.data.copy_(weight)
    for _ in range(2):
        asked(reuse, stack, x, changing=[stack.layers[3].inner.weight])
    assert stack.runs == [3, 3, 3, 4]


def test_forgotten_it_is_run(stack, x):
    reuse = Reuse(stack)
    asked(reuse, stack, x)
    reuse.forget()
    assert reuse.bytes == 0
    asked(reuse, stack, x)
    assert stack.runs == [2] * 4


def test_there_is_a_bound_to_what_is_kept(stack, x):
    reuse = Reuse(stack)
    asked(reuse, stack, x, x + 1)
    # What the first layer is given and what each gives, in both calls: ten arrays of six numbers.
    assert reuse.bytes == 10 * x.nbytes
    few = Reuse(stack, most=reuse.bytes // 2)
    asked(few, stack, x, x + 1)
    assert 0 < few.bytes <= reuse.bytes // 2
    before = sum(stack.runs)
    asked(few, stack, x, x + 1)
    assert sum(stack.runs) - before == 8 - few.given_again


@pytest.mark.parametrize(
    "other",
    [
        torch.zeros(2, 3) + 1,
        torch.zeros(2, 3, dtype=torch.float64),
        torch.zeros(1, 3),
        -torch.zeros(2, 3),  # equal, and yet another number
        torch.full((2, 3), torch.nan),
        torch.zeros(3, 2).t(),  # another layout
    ],
)
def test_another_input_is_run_and_the_same_one_is_not(other):
    layer = Step()
    layer.inner = torch.nn.Identity()
    reuse = Reuse(torch.nn.ModuleList([layer.eval()]))
    for one in (torch.zeros(2, 3), torch.zeros(2, 3), other, other.clone()):
        with torch.no_grad(), reuse.changing([]):
            layer(one)
    assert layer.runs == 2


@pytest.mark.parametrize("options", [{"scale": 0.5}, {"shift": torch.ones(3)}, {"shift": None}])
def test_so_is_another_option(stack, x, options):
    reuse = Reuse(stack)
    asked(reuse, stack, x)
    asked(reuse, stack, x, **options)
    asked(reuse, stack, x, **options)
    assert stack.runs == [2] * 4


def test_what_is_no_tensor_and_not_plain_is_run(stack, x):
    reuse = Reuse(stack)
    for _ in range(2):
        asked(reuse, stack, x, scale=torch.nn.Parameter(torch.ones(3)))
    assert stack.runs == [2] * 4


@contextlib.contextmanager
def hooked(stack):
    handle = stack.layers[1].inner.register_forward_hook(lambda *_: None)
    yield
    handle.remove()


@contextlib.contextmanager
def training(stack):
    stack.layers[1].inner.train()
    yield
    stack.eval()


@pytest.mark.parametrize("looking", [hooked, training])
def test_a_layer_that_is_looked_into_is_run(stack, x, looking):
    reuse = Reuse(stack)
    with looking(stack):
        for _ in range(2):
            asked(reuse, stack, x)
    assert stack.runs == [1, 2, 1, 1]


def test_with_gradients_or_without_counters_all_are_run(stack, x):
    reuse = Reuse(stack)
    for mode in (torch.enable_grad, torch.inference_mode):
        for _ in range(2):
            with mode(), reuse.changing([]):
                stack(x)
    assert stack.runs == [4] * 4
    assert reuse.bytes == 0


def test_what_somebody_has_written_into_is_not_given_again(stack, x):
    reuse = Reuse(stack)
    with torch.no_grad(), reuse.changing([]):
        before = stack.before(x)
        stack.layers[0](before).add_(1)
    with torch.no_grad(), reuse.changing([]):
        again = stack.layers[0](before.clone())
    assert stack.layers[0].runs == 2
    assert torch.equal(again, stack.layers[0](before))


# ---- layers that are not what they look like


class Learnt(torch.nn.Module):
    """What the layers are given is a view of a parameter."""

    def __init__(self):
        super().__init__()
        self.latents = torch.nn.Parameter(torch.randn(1, 3))
        self.layers = torch.nn.ModuleList(Step() for _ in range(2))

    def forward(self, x):
        y = self.latents.expand(2, 3)
        for layer in self.layers:
            y = layer(y)
        return (x * y).sum(dim=1)


class Writing(Step):
    """Writes into a list that it is given."""

    def forward(self, x, seen):
        y = super().forward(x)
        seen.append(y.mean())
        return y


class Keeping(Step):
    """Holds what it gave last, for the model to look at."""

    aux = None

    def forward(self, x, seen):
        y = super().forward(x)
        self.aux = y.square().mean()
        return y


class Looking(torch.nn.Module):
    """Looks at more than what its layers give."""

    def __init__(self, kind):
        super().__init__()
        self.layers = torch.nn.ModuleList(kind() for _ in range(3))

    def forward(self, x):
        seen = []
        for layer in self.layers:
            x = layer(x, seen)
        kept = [layer.aux for layer in self.layers if getattr(layer, "aux", None) is not None]
        return x.sum(dim=1) + sum(seen) + sum(kept)


class Plain(torch.nn.Module):
    """Layers of a class that nobody says can be recomputed, and a gap among them."""

    def __init__(self):
        super().__init__()
        self.layers = torch.nn.ModuleList([torch.nn.Linear(3, 3), None])

    def forward(self, x):
        return self.layers[0](x).sum(dim=1)


@pytest.mark.parametrize("make", [Learnt, lambda: Looking(Writing), lambda: Looking(Keeping), Plain])
def test_what_a_layer_shares_or_holds_makes_no_difference(make, monkeypatch):
    torch.manual_seed(0)
    pair = ken.Pair(make(), make())
    task = ken.Task([torch.randn(2, 3), torch.randn(2, 3)], lambda model, batch: model(batch).square())

    def table():
        return ken.ablate(pair, evaluate=task.evaluate, by="tensor", seeds=[0, 1], progress=False)

    reused = table()
    monkeypatch.setattr(ablation, "Reuse", Never)
    pd.testing.assert_frame_equal(reused, table())


class Handed(Step):
    """Is given a tensor of any kind, and does not look at it."""

    def forward(self, x, other):
        return super().forward(x)


@pytest.mark.parametrize("odd", [torch.eye(3).to_sparse(), torch.ones(3, dtype=torch.complex64).conj()])
def test_tensors_whose_bits_cannot_be_compared_are_handed_on(odd, x):
    layer = Handed().eval()
    reuse = Reuse(torch.nn.ModuleList([layer]))
    for _ in range(2):
        with torch.no_grad(), reuse.changing([]):
            layer(x, odd)
    assert layer.runs == 2


def test_hooks_on_all_modules_see_every_layer(stack, x):
    reuse = Reuse(stack)
    asked(reuse, stack, x)
    seen = []
    handle = torch.nn.modules.module.register_module_forward_hook(lambda module, *_: seen.append(module))
    try:
        asked(reuse, stack, x)
    finally:
        handle.remove()
    assert stack.layers[0].inner in seen
    assert stack.runs == [2] * 4


# ---- the model is what it was


def test_the_model_has_its_own_forward_afterwards_even_after_an_error(stack, x):
    reuse = Reuse(stack)
    with pytest.raises(RuntimeError, match="shapes"):
        asked(reuse, stack, x.T)
    assert all("forward" not in layer.__dict__ for layer in stack.layers)


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))])  # noqa: S301
def test_a_copy_that_an_evaluation_makes_is_another_model(stack, x, copied):
    reuse = Reuse(stack)
    asked(reuse, stack, x)
    with torch.no_grad(), reuse.changing([]):
        other = copied(stack)
        other.layers[0].inner.weight.zero_()
        other.layers[0].inner.bias.zero_()
        output = other(x)
    assert other.layers[0].runs == 2
    assert not torch.equal(output, stack(x))
    assert torch.equal(output, other(x))


def test_a_forward_that_somebody_has_replaced_stays(stack, x):
    layer = stack.layers[1]
    layer.forward = lambda x: x * 3
    reuse = Reuse(stack)
    answers = list(itertools.chain(*(asked(reuse, stack, x) for _ in range(2))))
    assert torch.equal(*answers)
    assert stack.runs == [1, 0, 1, 1]
    assert layer.forward(1) == 3


# ---- memory


def test_a_live_model_takes_no_second_copy_of_all_entries():
    base = bert()
    live = LiveModel(ken.Pair(moved(base), base))
    rows = sum(slot.shape[0] if slot.ndim > 1 else 1 for slot in live.slots.values())
    assert live.sparse.retained == rows
