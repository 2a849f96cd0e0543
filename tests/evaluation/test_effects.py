"""Interventions and attribution: laws, closed forms, and the same numbers from plain torch."""

import copy
import math

import numpy as np
import pandas as pd
import pytest
import torch
from effects_models import TEXTS, bert, llama, moved, word_tokenizer
from hypothesis import given, settings
from hypothesis import strategies as st

import ken
from ken.errors import BudgetError, EffectsError, FormatError, KenWarning, ResultsError, SubnetworkError, TrainingError
from ken.evaluation.effects.control import drawn_elsewhere
from ken.evaluation.effects.groups import Group, Part, groups
from ken.evaluation.effects.paired import difference, holm, sign_test
from ken.evaluation.effects.tasks import Task


def asked(model, batch):
    ids, labels = batch
    logits = model(input_ids=ids).logits
    return torch.nn.functional.cross_entropy(logits, labels, reduction="none"), logits.argmax(dim=1) == labels


def continued(model, ids):
    logits = model(input_ids=ids, use_cache=False).logits[:, :-1]
    return torch.nn.functional.cross_entropy(logits.transpose(1, 2), ids[:, 1:], reduction="none").mean(dim=1)


@pytest.fixture(scope="module")
def pair():
    """A classifier, and a body without its head."""
    base = bert()
    tuned = moved(base)
    return ken.Pair(tuned, base.bert)


@pytest.fixture(scope="module")
def task():
    torch.manual_seed(2)
    ids, labels = torch.randint(1, 50, (24, 7)), torch.randint(0, 3, (24,))
    return Task([(ids[i : i + 8], labels[i : i + 8]) for i in range(0, 24, 8)], asked)


@pytest.fixture(scope="module")
def causal():
    base = llama()
    torch.manual_seed(3)
    return ken.Pair(moved(base), base), Task([torch.randint(1, 60, (5, 9)) for _ in range(2)], continued)


def states(pair):
    return [{name: tensor.clone() for name, tensor in model.state_dict().items()} for model in pair]


def same(before, pair):
    return all(
        all(torch.equal(tensor, model.state_dict()[name]) for name, tensor in state.items())
        for state, model in zip(before, pair, strict=True)
    )


# ---- interventions


def test_everything_reset_is_the_pretrained_model_and_everything_retained_the_fine_tuned(pair, task):
    before = states(pair)
    table = ken.ablate(pair, evaluate=task.evaluate, by={"everything": "*"}, progress=False).set_index("way")
    for column in ("metric", "loss"):
        assert table.loc["without", column] == table.loc["pretrained", column]
        assert table.loc["only", column] == table.loc["fine-tuned", column]
    assert table.loc["without", "share"] == 1.0
    assert same(before, pair)


def test_a_group_that_was_not_changed_makes_no_difference(pair, task):
    tuned = copy.deepcopy(pair.fine_tuned)
    name = "bert.encoder.layer.0.attention.self.query.weight"
    with torch.no_grad():
        tuned.get_parameter(name).copy_(pair.pretrained.get_parameter(name.removeprefix("bert.")))
    table = ken.ablate(ken.Pair(tuned, pair.pretrained), evaluate=task.evaluate, by={"same": name}, progress=False)
    groups_of_it = table[table["group"] == "same"]
    assert (groups_of_it[["loss_difference", "metric_difference", "loss_error"]] == 0).all(axis=None)
    assert (groups_of_it[["loss_p", "metric_p", "loss_p_holm"]] == 1).all(axis=None)


def test_three_groups_have_the_numbers_that_plain_torch_gives(pair, task):
    table = ken.ablate(pair, evaluate=task.evaluate, by="place", progress=False).set_index(["way", "group"])
    tuned, base = pair.fine_tuned.eval(), dict(pair.pretrained.named_parameters())
    chosen = {
        "layer 0 query": ["encoder.layer.0.attention.self.query.weight", "encoder.layer.0.attention.self.query.bias"],
        "layer 1 mlp up": ["encoder.layer.1.intermediate.dense.weight", "encoder.layer.1.intermediate.dense.bias"],
        "pooler": ["pooler.dense.weight", "pooler.dense.bias"],
    }
    with torch.no_grad():
        whole = torch.cat([asked(tuned, batch)[0] for batch in task.batches]).double()
        empty = copy.deepcopy(tuned)
        for name, value in base.items():
            empty.get_parameter(f"bert.{name}").copy_(value)
        bare = torch.cat([asked(empty, batch)[0] for batch in task.batches]).double()
        for group, names in chosen.items():
            for way, start, other in (("without", tuned, base), ("only", empty, dict(tuned.bert.named_parameters()))):
                model = copy.deepcopy(start)
                for name in names:
                    model.get_parameter(f"bert.{name}").copy_(other[name])
                losses = torch.cat([asked(model, batch)[0] for batch in task.batches]).double()
                changes = (losses - (whole if way == "without" else bare)).numpy()
                line = table.loc[(way, group)]
                assert line["loss"] == pytest.approx(losses.mean().item(), abs=1e-12)
                assert line["loss_difference"] == pytest.approx(changes.mean(), abs=1e-12)
                assert line["loss_error"] == pytest.approx(changes.std(ddof=1) / math.sqrt(24), abs=1e-12)


def test_every_pruned_entry_is_in_one_group_and_the_head_in_none(pair, task):
    for by in ("tensor", "place", "layer", "kind"):
        table = ken.ablate(pair, evaluate=lambda model: 0.0, by=by, ways="without", progress=False)
        parts = table[table["way"] == "without"]
        body = sum(parameter.numel() for parameter in pair.pretrained.parameters())
        assert parts["entries"].sum() == body
        assert parts["share"].sum() == pytest.approx(1)
        assert parts["group"].is_unique
        assert not parts["group"].str.contains("classifier").any()


def test_heads_share_nothing_and_have_query_key_value_and_output(causal):
    live, _ = causal
    shapes = {name: tuple(parameter.shape) for name, parameter in live.fine_tuned.named_parameters()}
    parts = groups(shapes, "head", live.fine_tuned.config.to_dict())
    assert [group.name for group in parts if "layer 0" in group.name and "key" not in group.name] == [
        f"layer 0 head {head}" for head in range(4)
    ]
    counted = {name: np.zeros(shape, int) for name, shape in shapes.items()}
    for group in parts:
        for part in group.parts:
            counted[part.tensor][part.where] += 1
    for name, counts in counted.items():
        assert (counts == (1 if "self_attn" in name else 0)).all(), name


def test_the_seeds_draw_as_many_entries_elsewhere(pair, task):
    shapes = {"a": (30, 20), "b": (50,), "c": ()}
    group = Group("part", (Part("a", (30, 20), 0, np.arange(5)),))
    drawn = drawn_elsewhere(shapes, group, seed=0)
    assert sum(len(part.entries_at) for part in drawn) == group.entries == 100
    for part in drawn:
        assert len(set(part.entries_at.tolist())) == len(part.entries_at)
        if part.tensor == "a":
            assert part.entries_at.min() >= 5 * 20
    again, other = drawn_elsewhere(shapes, group, seed=0), drawn_elsewhere(shapes, group, seed=1)
    assert [part.entries_at.tolist() for part in drawn] == [part.entries_at.tolist() for part in again]
    assert [part.entries_at.tolist() for part in drawn] != [part.entries_at.tolist() for part in other]
    assert drawn_elsewhere({"a": (2, 2), "b": (3,)}, Group("a", (Part("a", (2, 2)),)), 0) is None


def test_a_control_resets_what_it_drew_and_nothing_else(pair):
    seen = {}

    def evaluate(model):
        seen[len(seen)] = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
        return 0.0

    table = ken.ablate(pair, evaluate=evaluate, by={"pooler": "*pooler*"}, ways=(), seeds=[0], progress=False)
    tuned, base = dict(pair.fine_tuned.named_parameters()), dict(pair.pretrained.named_parameters())
    reset = 0
    for name, value in seen[1].items():
        changed = value != tuned[name]
        assert not changed.any() or "pooler" not in name
        if changed.any():
            assert torch.equal(value[changed], base[name.removeprefix("bert.")][changed])
        reset += int(changed.sum())
    control = table[table["way"] == "control"].iloc[0]
    assert reset <= control["entries"]  # where the update is 0 nothing shows
    assert reset > 0.9 * control["entries"]


def test_a_subnetwork_is_taken_apart_in_place_of_the_update(pair, task):
    net = ken.prune(*pair, 0.25)
    table = ken.ablate(pair, net=net, evaluate=task.evaluate, by="layer", progress=False).set_index("way")
    injected = task.evaluate(ken.inject(net, pair.pretrained))
    assert table.loc["fine-tuned", "loss"] == injected.loss
    with pytest.raises(SubnetworkError, match="another fine-tuned tensor"):
        ken.ablate(pair, net=ken.prune(moved(bert(), seed=9), pair.pretrained, 0.25), evaluate=task.evaluate)


def test_a_file_of_effects_goes_on_where_it_was(pair, task, tmp_path):
    path, calls = tmp_path / "effects.jsonl", []

    def evaluate(model):
        calls.append(1)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return task.evaluate(model)

    options = {"by": "layer", "seeds": [0], "results": path, "progress": False}
    with pytest.raises(KeyboardInterrupt):
        ken.ablate(pair, evaluate=evaluate, **options)
    first = ken.ablate(pair, evaluate=evaluate, **options)
    evaluations = len(calls)
    with path.open("ab") as file:
        file.write(b'{"way": "without", "gro')  # killed within a line
    again = ken.ablate(pair, evaluate=evaluate, **options)
    assert len(calls) == evaluations
    plain = ken.ablate(pair, evaluate=task.evaluate, by="layer", seeds=[0], progress=False)
    pd.testing.assert_frame_equal(first, plain)
    pd.testing.assert_frame_equal(again, plain)
    with pytest.raises(ResultsError, match="another fine-tuned"):
        ken.ablate(ken.Pair(moved(bert(), seed=5), pair.pretrained), evaluate=evaluate, **options)
    with pytest.raises(ResultsError, match="another subnetwork"):
        ken.ablate(pair, net=ken.prune(*pair, 0.5), evaluate=evaluate, **options)
    content = path.read_bytes().splitlines()
    path.write_bytes(b"\n".join([content[0], content[1].replace(b'"metric": ', b'"metric": "x')]) + b"\n")
    with pytest.raises(ResultsError, match="damaged in line 2"):
        ken.ablate(pair, evaluate=evaluate, **options)
    sweep = tmp_path / "results.jsonl"
    ken.sweep(pair, [0.5], ["ken"], evaluate=lambda model: 0.0, results=sweep, progress=False)
    with pytest.raises(ken.KenError, match="a file of results"):
        ken.ablate(pair, evaluate=evaluate, by="layer", results=sweep, progress=False)


def test_an_evaluation_that_changes_the_model_or_miscounts_is_refused(pair, task):
    def trains(model):
        with torch.no_grad():
            next(model.parameters()).add_(1)
        return 0.0

    def hides_it(model):
        next(model.parameters()).data.add_(1)
        return 0.0

    for evaluate in (trains, hides_it):
        with pytest.raises(SubnetworkError, match="must leave the model"):
            ken.ablate(pair, evaluate=evaluate, by={"pooler": "*pooler*"}, ways="without", progress=False)
    counts = iter([5, 6])
    with pytest.raises(ResultsError, match="same items each time, told of 5 at first and of 6"):
        ken.ablate(
            pair, evaluate=lambda model: Losses(next(counts)), by={"a": "*pooler*"}, ways="without", progress=False
        )
    with pytest.raises(ResultsError, match="finite"):
        ken.ablate(pair, evaluate=lambda model: Losses(2, math.nan), by="layer", progress=False)


class Losses(float):
    """A number with losses."""

    def __new__(cls, count, value=1.0):
        number = super().__new__(cls, 0.5)
        number.losses = np.full(count, value)
        return number


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"by": "rows"}, "by must be one of tensor, place"),
        ({"by": {}}, "at least one group"),
        ({"by": {"a": "*query*", "b": ["*nothing*"]}}, "'\\*nothing\\*' of group 'b' matches none"),
        ({"by": {"a": "*query*", "b": "*query.weight"}}, "is in two groups, 'a' and 'b'"),
        ({"ways": ["within"]}, "ways must be of without, only, got 'within'"),
        ({"confidence": 95}, "confidence must be between 0 and 1, got 95"),
    ],
)
def test_what_cannot_be_asked_is_said_before_anything_is_evaluated(pair, options, message):
    with pytest.raises(BudgetError, match=message):
        ken.ablate(pair, evaluate=None, progress=False, **options)


def test_models_on_disk_are_opened_by_transformers(pair, task, tmp_path):
    pair.fine_tuned.save_pretrained(tmp_path / "tuned")
    pair.pretrained.save_pretrained(tmp_path / "base")
    from_disk = ken.Pair(tmp_path / "tuned", tmp_path / "base")
    table = ken.ablate(from_disk, evaluate=task.evaluate, by="layer", progress=False)
    live = ken.ablate(pair, evaluate=task.evaluate, by="layer", progress=False)
    pd.testing.assert_frame_equal(table, live)
    with pytest.raises(SubnetworkError, match="must be a module"):
        ken.ablate(ken.Pair({"w": torch.ones(2)}, {"w": torch.zeros(2)}), evaluate=task.evaluate)


def test_rows_that_were_added_stay(task):
    base = bert()
    tuned = moved(base)
    tuned.resize_token_embeddings(55)
    table = ken.ablate(ken.Pair(tuned, base), evaluate=task.evaluate, by={"everything": "*"}, progress=False)
    assert table.set_index("way").loc["pretrained", "loss"] == pytest.approx(task.evaluate(base).loss, abs=1e-9)


# ---- statistics


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12), st.floats(0.001, 0.999))
def test_holm_rejects_what_the_procedure_rejects(ps, level):
    rejected, ranked = set(), sorted(range(len(ps)), key=ps.__getitem__)
    for rank, place in enumerate(ranked):
        if ps[place] * (len(ps) - rank) > level:
            break
        rejected.add(place)
    adjusted = holm(ps)
    assert {place for place, p in enumerate(adjusted) if p <= level} == rejected
    assert all(p <= q <= 1 for p, q in zip(ps, adjusted, strict=True))


def test_intervals_hold_as_often_as_they_say():
    random = np.random.default_rng(0)
    family, trials = 10, 400
    missed = sum(
        any(
            not one.low <= 0 <= one.high
            for one in (difference(random.normal(size=30), 0.9, family) for _ in range(family))
        )
        for _ in range(trials)
    )
    assert missed / trials < 0.1 + 3 * math.sqrt(0.09 / trials)
    single = difference(np.array([1.0]))
    assert math.isnan(single.error)
    assert single.mean == 1.0


def test_the_sign_test_counts_changes_alone():
    assert sign_test(0, 10) == pytest.approx(2 * 0.5**10)
    assert sign_test(5, 5) == 1.0


# ---- attribution


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 5), st.integers(0, 2**32 - 1), st.integers(1, 4))
def test_of_a_quadratic_loss_shares_are_its_closed_form(size, seed, steps):
    random = torch.Generator().manual_seed(seed)
    curvature = torch.randn(size, size, generator=random)
    curvature, centre = curvature @ curvature.T, torch.randn(size, generator=random)
    ends = [torch.nn.Linear(size, 1, bias=False) for _ in "ab"]
    with torch.no_grad():
        for layer in ends:
            layer.weight.copy_(torch.randn(1, size, generator=random))

    def loss(model, _):
        away = model.weight[0] - centre
        return away @ curvature @ away / 2

    shares = ken.attribute(ken.Pair(*ends), Task([None], loss), steps=steps, tolerance=math.inf, progress=False)
    tuned, base = (layer.weight[0].detach().double() for layer in ends)
    expected = (tuned - base) * (curvature.double() @ ((tuned + base) / 2 - centre.double()))
    assert np.allclose(shares["weight"][0], expected.numpy(), rtol=1e-4, atol=1e-4 * float(expected.abs().max() + 1e-6))


def test_shares_add_up_to_the_change_of_the_loss(pair, task, causal):
    for models, question in ((pair, task), causal):
        before = states(models)
        shares = ken.attribute(models, question, progress=False)
        assert shares.error < 0.005
        tuned = question.evaluate(models.fine_tuned)
        assert shares.fine_tuned_loss == pytest.approx(tuned.loss, abs=1e-5)
        assert shares.item_count == len(tuned.losses)
        for by in ("tensor", "place", "layer", "kind"):
            assert shares.table(by)["attribution"].sum() == pytest.approx(shares.total, abs=1e-6)
        assert same(before, models)


def test_more_points_are_taken_until_it_is_exact(pair, task):
    far = ken.Pair(moved(pair.fine_tuned, 0.5), pair.pretrained)
    coarse = ken.attribute(far, task, steps=1, tolerance=math.inf, progress=False)
    fine = ken.attribute(far, task, steps=1, most_steps=128, tolerance=1e-3, progress=False)
    assert coarse.error > 1e-3 > fine.error
    assert fine.steps > 1
    with pytest.warns(KenWarning, match="give more most_steps"):
        ken.attribute(far, task, steps=1, most_steps=1, tolerance=1e-9, progress=False)


def test_single_items_have_shares_that_average_to_those_of_all(pair, task):
    single = Task([(ids[i : i + 1], labels[i : i + 1]) for ids, labels in task.batches for i in range(8)], asked)
    lines = ken.attribute_items(pair, single, by="place", progress=False)
    whole = ken.attribute(pair, task, steps=8, tolerance=math.inf, progress=False)
    assert len(lines) == 24
    means = lines.drop(columns=["pretrained_loss", "fine_tuned_loss", "error"]).mean()
    assert means.to_numpy() == pytest.approx(whole.table("place")["attribution"].to_numpy(), abs=1e-6)
    assert lines["error"].abs().max() < 1e-3


def test_retained_shares_stand_beside_chance(pair, task):
    shares = ken.attribute(pair, task, progress=False)
    everything, half = (ken.prune(*pair, k) for k in (1.0, 0.5))
    table = shares.table("layer", everything)
    assert table["retained_share"].tolist() == pytest.approx([1.0] * len(table))
    assert (table["chance"] == 1).all()
    table = shares.table("tensor", half)
    name = "bert.encoder.layer.1.output.dense.weight"
    mask = half[name].mask()
    assert table.loc[name, "retained"] == pytest.approx(float(shares[name][mask].sum(dtype=float)))
    assert table.loc[name, "chance"] == mask.mean()
    assert table.loc[name, "retained_absolute"] == pytest.approx(
        np.abs(shares[name][mask]).sum() / np.abs(shares[name]).sum()
    )
    rows, columns = shares.rows(name), shares.columns(name)
    assert rows["attribution"].sum() == pytest.approx(columns["attribution"].sum())
    assert np.allclose(rows["absolute"], np.abs(shares[name]).sum(axis=1))
    with pytest.raises(EffectsError, match="must be one that was pruned"):
        shares.rows("nothing")


def test_a_subnetwork_may_be_the_end_of_the_line(pair, task):
    net = ken.prune(*pair, 0.5)
    shares = ken.attribute(pair, task, net=net, progress=False)
    assert shares.fine_tuned_loss == pytest.approx(task.evaluate(ken.inject(net, pair.pretrained)).loss, abs=1e-6)
    for name, tensor in net.pruned().items():
        assert not shares[name][~tensor.mask()].any()


def test_half_precision_is_widened_and_says_so(causal):
    pair, task = causal
    half = ken.Pair(*(copy.deepcopy(model).bfloat16() for model in pair))
    shares = ken.attribute(half, task, progress=False)
    assert shares.notes == ("the model was brought from bfloat16 to float32",)
    assert shares.error < 0.005
    assert half.fine_tuned.dtype == torch.bfloat16


def test_shares_of_a_large_model_lie_on_disk(pair, task, tmp_path):
    in_memory = ken.attribute(pair, task, progress=False)
    on_disk = ken.attribute(pair, task, scratch=tmp_path, progress=False)
    assert isinstance(on_disk["bert.pooler.dense.weight"], np.memmap)
    assert all(np.array_equal(in_memory[name], on_disk[name]) for name in in_memory)
    del on_disk
    import gc

    gc.collect()
    assert not list(tmp_path.iterdir())


def test_a_file_gives_the_attribution_back(pair, task, tmp_path):
    shares = ken.attribute(pair, task, progress=False)
    path = shares.save(tmp_path / "shares.safetensors")
    opened = ken.Attribution.load(path)
    assert repr(opened) == repr(shares)
    assert all(np.array_equal(opened[name], shares[name]) for name in shares)
    pd.testing.assert_frame_equal(opened.table("head"), shares.table("head"))
    opened.save(path)  # onto itself
    assert all(np.array_equal(ken.Attribution.load(path)[name], shares[name]) for name in shares)
    other = ken.prune(*pair, 0.5).save(tmp_path / "net.ken.safetensors")
    with pytest.raises(EffectsError, match="something else"):
        shares.save(other)
    with pytest.raises(FormatError, match="no attribution"):
        ken.Attribution.load(other)
    path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(FormatError):
        ken.Attribution.load(path)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"steps": 0}, "steps must be at least 1"),
        ({"steps": 9, "most_steps": 8}, "at most most_steps"),
        ({"tolerance": 0}, "tolerance must be above 0"),
    ],
)
def test_settings_that_make_no_sense_are_refused(pair, task, options, message):
    with pytest.raises(EffectsError, match=message):
        ken.attribute(pair, task, progress=False, **options)


def test_tasks_that_say_nothing_are_refused(pair):
    with pytest.raises(EffectsError, match="no batches"):
        ken.attribute(pair, Task([], asked), progress=False)
    with pytest.raises(EffectsError, match="the loss is nan where the weights are 0% of the way"):
        ken.attribute(
            pair, Task([None], lambda model, _: model.bert.pooler.dense.weight.sum() * math.nan), progress=False
        )
    with pytest.raises(TrainingError, match="one loss"):
        ken.attribute(pair, Task([None], lambda model, _: model.bert.pooler.dense.weight), progress=False)
    with pytest.raises(TrainingError, match="the loss at item 1 is inf"):
        Task([None], lambda model, _: torch.tensor([0.0, math.inf])).evaluate(pair.fine_tuned)


# ---- tasks


@pytest.fixture(scope="module")
def tokenizer():
    return word_tokenizer()


def test_a_classification_answers_as_the_evaluation_of_training_does(pair, tokenizer):
    model, labels = pair.fine_tuned, [0, 1, 2, 0, 1]
    model.train()
    task = Task.classification(model, tokenizer, TEXTS, labels, batch_size=2)
    answers = task.evaluate(model)
    assert model.training
    evaluation = ken.training.evaluate(model, tokenizer, TEXTS, labels)
    assert answers.outcomes.tolist() == evaluation.outcomes.tolist()
    assert float(answers) == float(evaluation)
    single = Task.classification(model, tokenizer, TEXTS, labels, batch_size=1)
    assert single.evaluate(model).losses == pytest.approx(answers.losses, abs=1e-6)
    for text, label, loss in zip(TEXTS, labels, answers.losses, strict=True):
        alone = Task.classification(model, tokenizer, [text], [label]).evaluate(model)
        assert alone.losses[0] == pytest.approx(loss, abs=1e-6)
    lines = ken.attribute_items(pair, single, by="layer", progress=False)
    assert lines.index.tolist() == TEXTS
    assert lines["fine_tuned_loss"].to_numpy() == pytest.approx(answers.losses, abs=1e-6)
    with pytest.raises(TrainingError, match="batch_size must be at least 1"):
        Task.classification(model, tokenizer, TEXTS, labels, batch_size=0)


def test_a_causal_task_counts_each_next_token_of_a_text_and_no_padding(causal, tokenizer):
    model = causal[0].fine_tuned
    texts = [text for text in TEXTS if " " in text]
    answers = Task.causal(model, tokenizer, texts, batch_size=4).evaluate(model)
    assert answers.outcomes is None
    for text, loss, score in zip(texts, answers.losses, answers.scores, strict=True):
        ids = torch.tensor([tokenizer(text)["input_ids"]])
        with torch.no_grad():
            logits = model(ids).logits[0, :-1]
        assert loss == pytest.approx(torch.nn.functional.cross_entropy(logits, ids[0, 1:]).item(), abs=1e-5)
        assert score == pytest.approx((logits.argmax(dim=1) == ids[0, 1:]).float().mean().item())
    with pytest.raises(TrainingError, match="text 1 is 'w4'"):
        Task.causal(model, tokenizer, TEXTS)


def test_fidelity_is_the_divergence_from_the_unpruned_model(pair, causal, tokenizer):
    texts = [text for text in TEXTS if " " in text]
    for models in (pair, causal[0]):
        reference = models.fine_tuned
        task = Task.fidelity(reference, tokenizer, texts, batch_size=3)
        answers = task.evaluate(reference)
        assert float(answers) == 1.0
        assert answers.losses == pytest.approx(0, abs=1e-6)
        other = moved(reference, 0.3, seed=7).eval()
        answers = task.evaluate(other)
        for text, loss in zip(texts, answers.losses, strict=True):
            ids = torch.tensor([tokenizer(text)["input_ids"]])
            with torch.no_grad():
                mine, theirs = (model.eval()(ids).logits.softmax(dim=-1) for model in (other, reference))
            assert loss == pytest.approx((theirs * (theirs / mine).log()).sum(dim=-1).mean().item(), abs=1e-5)
        assert (answers.outcomes is None) == (reference is causal[0].fine_tuned)


def test_a_language_model_goes_through_everything(causal):
    pair, task = causal
    shares = ken.attribute(pair, task, progress=False)
    for by in ("place", "head"):
        table = ken.ablate(pair, evaluate=task.evaluate, by=by, progress=False)
        for way in ("without", "only"):
            told = ken.agreement(shares, table, by, way)
            assert -1 <= told.low <= told.rho <= told.high <= 1
            assert told.groups == (table["way"] == way).sum()


# ---- agreement


def test_a_loss_without_interaction_is_mapped_exactly():
    """A loss that is linear in the weights: what each does together with the others it does alone."""
    ends = [torch.nn.ModuleList([torch.nn.Linear(2, 1, bias=False) for _ in range(6)]) for _ in "ab"]
    task = Task([None], lambda model, _: sum((layer.weight.sum() for layer in model), torch.zeros(())))
    pair = ken.Pair(*ends)
    shares = ken.attribute(pair, task, progress=False)
    table = ken.ablate(pair, evaluate=task.evaluate, by="tensor", progress=False)
    for way in ("without", "only"):
        told = ken.agreement(shares, table, "tensor", way)
        assert told.rho == pytest.approx(1.0)
        assert "attribution" in str(told)
    with pytest.raises(EffectsError, match="give by= as for the ablation"):
        ken.agreement(shares, table, "layer")


# ---- item by item


def test_answers_are_those_of_each_model(pair, task):
    before = states(pair)
    net = ken.prune(*pair, 0.25, progress=False)
    table = ken.answers(pair, task, net=net, progress=False)
    tuned, pruned = (task.evaluate(model) for model in (pair.fine_tuned, ken.inject(net, pair.pretrained)))
    empty = copy.deepcopy(pair.fine_tuned)
    empty.bert.load_state_dict(pair.pretrained.state_dict())
    for model, wanted in (("fine_tuned", tuned), ("pruned", pruned), ("pretrained", task.evaluate(empty))):
        np.testing.assert_array_equal(table[f"{model}_loss"], wanted.losses)
        assert table[f"{model}_correct"].tolist() == wanted.outcomes.tolist()
    assert table.index.tolist() == list(range(24))
    assert table["name"].tolist() == [str(item) for item in range(24)]
    assert same(before, pair)


def test_flips_are_what_an_ablation_of_that_item_gives(pair, task):
    before = states(pair)
    batches = [(ids[[at]], labels[[at]]) for ids, labels in task.batches for at in range(len(ids))]
    steps = []
    for item in (0, 13, 23):
        table = ken.flips(pair, task, item, step=lambda *at: steps.append(at), progress=False)
        alone = Task([batches[item]], asked)
        measured = ken.ablate(pair, evaluate=alone.evaluate, ways="without", progress=False)
        parts = measured[measured["way"] == "without"].set_index("group")
        assert table.index.tolist() == parts.index.tolist()
        np.testing.assert_allclose(table["loss"], parts["loss"], atol=1e-6)
        np.testing.assert_allclose(table["loss_difference"], parts["loss_difference"], atol=1e-6)
        assert table["correct"].tolist() == (parts["metric"] == 1).tolist()
        was = measured.set_index("way").loc["fine-tuned", "metric"] == 1
        assert table["flips"].tolist() == [right != was for right in table["correct"]]
    assert steps[-1] == (len(table), len(table))
    assert same(before, pair)


def test_an_item_is_found_in_the_order_in_which_it_was_given(pair, task):
    order = np.random.default_rng(0).permutation(24)
    shuffled = Task(task.batches, task.ask, order=order)
    placed = int(np.flatnonzero(order == 5)[0])
    wanted = ken.flips(pair, task, placed, by="layer", progress=False)
    pd.testing.assert_frame_equal(ken.flips(pair, shuffled, 5, by="layer", progress=False), wanted)
    for item in (-1, 24):
        for one in (task, shuffled):
            with pytest.raises(EffectsError, match=f"the task has no item {item}"):
                ken.flips(pair, one, item, by="layer", progress=False)
    with pytest.raises(EffectsError, match="2 names for 24 items"):
        ken.answers(pair, Task(task.batches, asked, names=["a", "b"]), progress=False)


def test_where_nothing_is_right_or_wrong_nothing_flips(causal):
    pair, task = causal
    table = ken.flips(pair, task, 7, by="layer", progress=False)
    assert set(table["flips"]) == set(table["correct"]) == {None}
    assert set(ken.answers(pair, task, progress=False)["fine_tuned_correct"]) == {None}
