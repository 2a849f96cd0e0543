import copy
import threading

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import DTYPES, budgets, finite_bits, shapes
from test_pruning import fingerprint
from transformers import BertConfig, BertForSequenceClassification, BertModel

import ken
from ken.errors import SubnetworkError


class Holder(torch.nn.Module):
    """A module with the given tensors as parameters, and a buffer."""

    def __init__(self, tensors):
        super().__init__()
        for i, tensor in enumerate(tensors):
            self.register_parameter(f"p{i}", torch.nn.Parameter(tensor.clone()))
        self.register_buffer("steps", torch.tensor(3))


@st.composite
def three_models(draw):
    """Pretrained, and two fine-tuned ones, of the same shapes and dtypes."""
    kinds = draw(st.lists(st.tuples(shapes(), st.sampled_from(DTYPES)), max_size=3))
    models = [Holder([draw(finite_bits(*kind)) for kind in kinds]) for _ in range(3)]
    for i, model in enumerate(models):
        model.steps += i
    return models


@settings(max_examples=60)
@given(three_models(), budgets(), budgets(), st.booleans())
def test_in_place_is_what_inject_gives_and_everything_leads_back(models, k, other_k, raw):
    pretrained, one, two = models
    live, before = copy.deepcopy(pretrained), fingerprint(pretrained.state_dict())
    a, b = (
        ken.prune(one, pretrained, k, rule="random", progress=False),
        ken.prune(two, pretrained, other_k, rule="grid", raw=raw),
    )
    want_a, want_b = (fingerprint(ken.inject(net, pretrained).state_dict()) for net in (a, b))

    a.inject_(live)
    assert fingerprint(live.state_dict()) == want_a
    ken.swap(live, current=a, to=b)
    assert fingerprint(live.state_dict()) == want_b
    if not raw:
        ken.swap(live, current=b, to=a)
        assert fingerprint(live.state_dict()) == want_a
        ken.swap(live, current=a, to=b)
    live.load_state_dict(pretrained.state_dict())
    with b.injected(live) as same:
        assert same is live
        assert fingerprint(live.state_dict()) == want_b
    assert fingerprint(live.state_dict()) == before


@pytest.fixture
def berts():
    """A base model's classifier on pretrained weights, and two fine-tuned classifiers with heads of their own sizes."""
    config = {
        "vocab_size": 40,
        "hidden_size": 16,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 24,
    }
    torch.manual_seed(0)
    base = BertModel(BertConfig(**config)).eval()
    heads = [BertForSequenceClassification(BertConfig(**config, num_labels=labels)).eval() for labels in (3, 5)]
    live = BertForSequenceClassification(BertConfig(**config, num_labels=3)).eval()
    live.bert.load_state_dict(base.state_dict())
    return base, live, *heads


def test_a_live_classifier_goes_from_task_to_task_though_their_heads_differ_in_size(berts, tmp_path):
    base, live, three, five = berts
    a, b = (ken.load(ken.prune(m, base, 0.5).save(tmp_path / str(i))) for i, m in enumerate((three, five)))
    ids = torch.tensor([[1, 2, 3]])
    body = fingerprint(live.bert.state_dict())
    with torch.no_grad():
        want_a, want_b = (ken.inject(net, base)(ids).logits for net in (a, b))
        a.inject_(live)
        assert torch.equal(live(ids).logits, want_a)
        ken.swap(live, current=a, to=b)
        assert torch.equal(live(ids).logits, want_b)
        assert live.classifier.out_features == 5
        ken.swap(live, current=b, to=a)
        assert torch.equal(live(ids).logits, want_a)
        ken.swap(live, current=a, to=None)
    assert fingerprint(live.bert.state_dict()) == body


def test_injected_gives_the_old_head_back_too(berts):
    base, live, _, five = berts
    before = fingerprint(live.state_dict())
    with ken.prune(five, base, 0.5).injected(live):
        assert live.classifier.weight.shape == (5, 16)
    assert fingerprint(live.state_dict()) == before
    assert live.classifier.out_features == 3


def test_a_parameter_that_is_not_contiguous_is_written_too():
    pretrained, fine_tuned = torch.nn.Linear(8, 6), torch.nn.Linear(8, 6)
    live = torch.nn.Linear(8, 6)
    live.weight.data = pretrained.weight.data.t().contiguous().t()
    live.bias.data.copy_(pretrained.bias.data)
    assert not live.weight.is_contiguous()
    place = live.weight.data_ptr()
    net = ken.prune(fine_tuned, pretrained, 3)
    with net.injected(live):
        assert torch.equal(live.weight, ken.inject(net, pretrained).weight)
        assert live.weight.data_ptr() == place
    assert torch.equal(live.weight, pretrained.weight)


def test_a_model_whose_pretrained_weights_differ_in_one_entry_is_refused_by_name_and_not_changed(berts, tmp_path):
    base, live, three, _ = berts
    net = ken.load(ken.prune(three, base, 0.5).save(tmp_path / "net"))
    name = "encoder.layer.1.output.dense.weight"
    with torch.no_grad():
        entry = live.bert.get_parameter(name).view(-1)[7:8]
        entry.copy_(torch.nextafter(entry, torch.tensor(9.0)))
    wrong = ken.inject(ken.prune(live.bert, live.bert, 1), live.bert)
    before = fingerprint(live.state_dict()), fingerprint(wrong.state_dict())
    for attempt in (
        lambda: net.inject_(live),
        lambda: net.injected(live).__enter__(),
        lambda: ken.inject(net, wrong),
        lambda: ken.inject(net, wrong.state_dict()),
        lambda: ken.export(net, wrong, tmp_path / "model"),
    ):
        with pytest.raises(SubnetworkError, match="this is not the pretrained tensor") as error:
            attempt()
        assert error.value.__notes__ == [f"in tensor 'bert.{name}'"]
        assert (fingerprint(live.state_dict()), fingerprint(wrong.state_dict())) == before
    with pytest.raises(ken.KenError, match=rf"1 of \d+ tensors fail:\n  'bert\.{name}': this is not the pretrained"):
        ken.verify(net, wrong)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["net"]


def test_swap_refuses_what_it_could_not_do_exactly():
    model = Holder([torch.zeros(4, 8), torch.zeros(8)])
    pretrained = copy.deepcopy(model.state_dict())
    one, two = ({k: v + i if v.is_floating_point() else v for k, v in pretrained.items()} for i in (1, 2))
    a, b = ken.prune(one, pretrained, 3), ken.prune(two, pretrained, 3)
    with pytest.raises(SubnetworkError, match="the model does not hold the subnetwork that was given as the current"):
        ken.swap(model, current=a, to=b)
    a.inject_(model)
    before = fingerprint(model.state_dict())
    with pytest.raises(SubnetworkError, match="it holds this subnetwork already"):
        a.inject_(model)
    other = {k: v - 1 if v.is_floating_point() else v for k, v in pretrained.items()}
    with pytest.raises(SubnetworkError, match="made with different pretrained tensors"):
        ken.swap(model, current=a, to=ken.prune(two, other, 3))
    with pytest.raises(SubnetworkError, match="raw values, which do not tell the pretrained ones"):
        ken.swap(model, current=ken.prune(one, pretrained, 3, raw=True), to=b)
    assert fingerprint(model.state_dict()) == before
    whole = ken.prune(one, pretrained, 3, exclude=["p0"])
    ken.swap(model, current=a, to=whole)
    assert torch.equal(model.p0, one["p0"])
    with pytest.raises(SubnetworkError, match="carries the tensor whole, so its pretrained values are lost"):
        ken.swap(model, current=whole, to=a)


def test_what_does_not_fit_the_model_is_refused_before_anything_is_decoded(tmp_path):
    fine_tuned, pretrained = torch.nn.Linear(8, 4), torch.nn.Linear(8, 4)
    net = ken.load(ken.prune(fine_tuned, pretrained, 3).save(tmp_path / "net"))
    for model, message in (
        (torch.nn.Linear(9, 4), r"the subnetwork has float32 \(4, 8\), the model's tensor is float32 \(4, 9\)"),
        (torch.nn.Linear(8, 4).double(), r"float32 \(4, 8\), the model's tensor is float64 \(4, 8\)"),
        (torch.nn.Linear(8, 4, bias=False), "the model has no place for the tensor\nin tensor 'bias'"),
    ):
        with pytest.raises(SubnetworkError, match=message):
            net.inject_(model)
    assert "in_memory" not in net.__dict__


def test_a_model_that_was_changed_inside_the_block_is_left_as_it_is():
    pretrained, fine_tuned = torch.nn.Linear(8, 4), torch.nn.Linear(8, 4)
    net = ken.prune(fine_tuned, pretrained, 3)
    live = torch.nn.Linear(8, 4)
    live.load_state_dict(pretrained.state_dict())

    def train():
        with net.injected(live):
            live.weight.data += 1.0

    with pytest.raises(SubnetworkError, match="was changed while the subnetwork was in it, and is left as it is"):
        train()
    assert torch.equal(live.weight, ken.inject(net, pretrained).weight + 1.0)


def test_an_error_inside_the_block_passes_and_the_model_is_set_back():
    pretrained, fine_tuned = torch.nn.Linear(8, 4), torch.nn.Linear(8, 4)
    before = fingerprint(pretrained.state_dict())
    with pytest.raises(KeyError, match="mine"), ken.prune(fine_tuned, pretrained, 3).injected(pretrained):
        raise KeyError("mine")
    assert fingerprint(pretrained.state_dict()) == before


@pytest.mark.parametrize("after", [0, 1, 2, 3])
def test_an_interrupted_change_is_undone(monkeypatch, after):
    pretrained = Holder([torch.randn(40, 8, generator=torch.Generator().manual_seed(i)) for i in range(4)])
    fine_tuned = Holder([torch.randn(40, 8, generator=torch.Generator().manual_seed(9 + i)) for i in range(4)])
    fine_tuned.steps += 1
    net = ken.prune(fine_tuned, pretrained, 3)
    net.inject_(copy.deepcopy(pretrained))  # proven, so that what follows is the change alone
    before, exchange, count, lock = (
        fingerprint(pretrained.state_dict()),
        ken.subnetwork.ulp_distances.exchange,
        [0],
        threading.Lock(),
    )

    def interrupted(values, down, up, vector=None):
        with lock:
            count[0] += 1
            if count[0] == after + 1:
                raise KeyboardInterrupt
        exchange(values, down, up, vector=vector)

    monkeypatch.setattr(ken.subnetwork.ulp_distances, "exchange", interrupted)
    with pytest.raises(KeyboardInterrupt):
        net.inject_(pretrained)
    assert fingerprint(pretrained.state_dict()) == before


def test_a_damaged_file_is_noticed_before_the_model_is_changed(tmp_path):
    pretrained, fine_tuned = torch.nn.Linear(64, 32), torch.nn.Linear(64, 32)
    path = ken.prune(fine_tuned, pretrained, 20).save(tmp_path / "net")
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    before = fingerprint(pretrained.state_dict())
    with pytest.raises(SubnetworkError, match="values:bias is damaged"):
        ken.load(path).inject_(pretrained)
    assert fingerprint(pretrained.state_dict()) == before


def test_gradients_and_parameter_objects_stay(berts):
    base, live, three, _ = berts
    parameters = dict(live.named_parameters())
    ken.prune(three, base, 0.5).inject_(live)
    assert all(live.get_parameter(name) is parameter for name, parameter in parameters.items())
    assert all(parameter.requires_grad for parameter in live.parameters())
    live(torch.tensor([[1, 2]])).logits.sum().backward()
    assert live.classifier.weight.grad.abs().sum() > 0
