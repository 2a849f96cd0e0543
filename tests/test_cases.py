"""Checkpoints as people report them, by Python and by the command line: each ends as its user would expect."""

import shutil

import pytest
import torch
from checkpoints import bert_config, llama_folders, shifted, weights, with_weights, without_settings
from transformers import BertForSequenceClassification, BertModel, LlamaForCausalLM
from typer.testing import CliRunner

import ken


@pytest.fixture
def folders(tmp_path):
    """fine_tuned, pretrained."""
    return llama_folders(tmp_path)


def python(fine_tuned, pretrained, folder, **more):
    """Prune into a file and inject into a folder, as a user of Python does. Returns the folder and what was said."""
    net = ken.prune(fine_tuned, pretrained, 0.5, out=folder / "net", **more)
    ken.verify(folder / "net", pretrained)
    return ken.export(ken.load(folder / "net"), pretrained, folder / "out"), repr(net)


def shell(fine_tuned, pretrained, folder, **more):
    """The same with `ken prune`, `ken verify` and `ken inject`."""
    net, out = str(folder / "net"), str(folder / "out")
    options = [word for name, values in more.items() for value in values for word in (f"--{name}", value)]
    said = run(["prune", str(fine_tuned), str(pretrained), "-k", "0.5", "-o", net, *options])
    run(["verify", net, str(pretrained)])
    run(["inject", net, str(pretrained), "-o", out])
    return folder / "out", said


def run(words):
    """What a command prints, in a process of its own way out: an error of ours becomes a `KenError` again."""
    from ken.cli import app

    done = CliRunner().invoke(app, words)
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert done.exit_code == 0, done.output
    return done.output


@pytest.fixture(params=[python, shell], ids=["python", "shell"])
def way(request):
    """A way from two models to a folder with the injected one."""
    return request.param


def complete(folder, cls=LlamaForCausalLM):
    """The model of a folder; nothing of it may be missing, or left over."""
    model, loading = cls.from_pretrained(folder, output_loading_info=True)
    assert not any(loading.values()), loading
    return model


@pytest.mark.parametrize("prefix", ["_orig_mod.", "module.", "module._orig_mod."])
def test_wrapped_names(folders, way, prefix, tmp_path):
    fine_tuned, pretrained = folders
    wrapped = with_weights(fine_tuned, {prefix + n: w for n, w in weights(fine_tuned).items()}, tmp_path / "wrapped")
    out, said = way(wrapped, pretrained, tmp_path)
    complete(out)
    assert "names were read without what wraps the model" in said
    assert list(ken.load(tmp_path / "net")) == list(ken.prune(fine_tuned, pretrained, 0.5))


# A task head on the pretrained side alone also looks like models that were mixed up.
@pytest.mark.filterwarnings("ignore:the two models may be the wrong way round:ken.errors.KenWarning")
def test_a_body_against_a_model_with_a_head_with_configurations_of_2020(way, tmp_path):
    torch.manual_seed(0)
    model = BertForSequenceClassification(bert_config())
    model.save_pretrained(tmp_path / "pretrained")
    body = BertModel(bert_config())
    body.load_state_dict(model.bert.state_dict())
    shifted(body).save_pretrained(tmp_path / "fine_tuned")
    for place in ("pretrained", "fine_tuned"):
        without_settings(tmp_path / place, "architectures", "model_type")
    out, said = way(tmp_path / "fine_tuned", tmp_path / "pretrained", tmp_path)
    assert "with the prefix 'bert'" in said
    assert weights(out).keys() == weights(tmp_path / "fine_tuned").keys()
    assert not any(status == "carried" for status in ken.load(tmp_path / "net").table()["status"])


def test_trained_tensors_only(folders, way, tmp_path):
    fine_tuned, pretrained = folders
    trained = {name: tensor for name, tensor in weights(fine_tuned).items() if ".0." in name}
    out, said = way(with_weights(fine_tuned, trained, tmp_path / "part"), pretrained, tmp_path)
    model = complete(out)
    assert "12 tensors" in said.splitlines()[0]
    assert torch.equal(model.lm_head.weight, weights(pretrained)["lm_head.weight"])
    assert "lacking" in run(["info", str(tmp_path / "net")])


@pytest.mark.parametrize("labels", [5, 2])
def test_another_number_of_labels(way, labels, tmp_path):
    for count in (3, labels):
        torch.manual_seed(count)
        BertForSequenceClassification(bert_config(num_labels=count)).save_pretrained(tmp_path / str(count))
    out, _ = way(tmp_path / str(labels), tmp_path / "3", tmp_path)
    model = complete(out, BertForSequenceClassification)
    assert torch.equal(model.classifier.weight, weights(tmp_path / str(labels))["classifier.weight"])
    shutil.rmtree(out)
    (tmp_path / "net").unlink()
    out, _ = way(tmp_path / str(labels), tmp_path / "3", tmp_path, exclude=["classifier.*"])
    complete(out, BertForSequenceClassification)
    reasons = ken.load(tmp_path / "net").table()["reason"]
    assert reasons["classifier.weight"].startswith(("excluded by", "new: its shape"))
