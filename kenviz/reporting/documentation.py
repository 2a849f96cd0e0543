"""What documentation of a modified model asks for: answers that are known, and questions for the provider alone.

Points are those of Regulation (EU) 2024/1689; fields of model cards, those of the template of the Hugging Face hub.
"""

from __future__ import annotations

import difflib
import json
import tomllib
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import ken
from ken.errors import ReportError
from ken.storage import file_of
from kenviz.reporting.fields import plain
from kenviz.reporting.results import Results
from kenviz.reporting.schema import DocumentedField, ModelDocumentation
from kenviz.reporting.summary import Summary

SCOPE = (
    "The modification alone: which entries of the fine-tuned model were reset to values of the pretrained one. Recital "
    "109 of Regulation (EU) 2024/1689 limits the duties of who modifies a general-purpose model to the modification, "
    "for example to adding it to the documentation that there is. This is no legal advice: it does not say whether any "
    "of it is asked of you, nor whether it is enough."
)


class Question(NamedTuple):
    """What is asked, and where: points of annexes XI and XII (for short "XI 1(a)"), and the field of model cards."""

    text: str
    points: tuple[str, ...] = ()
    card: str = ""

    @property
    def answers(self) -> list[str]:
        """Where it is asked, spelled out."""
        long = {"XI": "Annex XI, Section 1, point", "XI-2": "Annex XI, Section 2 (systemic risk only), point"}
        spelled = [point.partition(" ") for point in self.points]
        cited = [
            f"Regulation (EU) 2024/1689, {long.get(at, f'Annex {at}, point')} {number}" for at, _, number in spelled
        ]
        return cited + ([f"model card: {self.card}"] if self.card else [])


#: What the tool knows.
KNOWN = {
    "modified_model": Question("Which fine-tuned model was modified, and in which state?", card="base_model"),
    "pretrained_model": Question(
        "Which pretrained model had it been fine-tuned from, whose values reset entries have again?",
        card="Finetuned from model",
    ),
    "modification": Question("What was changed?", card="Training Procedure"),
    "method": Question(
        "By which method and with which settings, and what is it designed to keep?",
        ("XI 2(b)",),
        "Training Hyperparameters",
    ),
    "architecture": Question(
        "What is the architecture?", ("XI 1(d)", "XII 1(f)"), "Model type, Model Architecture and Objective"
    ),
    "number_of_parameters": Question("How many parameters (and buffers) has it?", ("XI 1(d)", "XII 1(f)")),
    "means_of_integration": Question(
        "What is needed to use the modification?", ("XI 2(a)", "XII 2(a)"), "How to Get Started with the Model"
    ),
    "software_versions": Question("Which versions of software made it?", ("XII 1(e)",), "Software"),
    "file_size_bytes": Question("How large is the file of the modification, in bytes?", card="Speeds, Sizes, Times"),
    "evaluation": Question("What was measured of the modified model?", ("XI-2 1",), "Results"),
    "documented_on": Question("When was this written (UTC)?"),
}
#: What only the provider can know: the keys of a file of facts.
ASKED = {
    "provider": Question("Who is responsible for the modified model?", card="Developed by, Model Card Contact"),
    "intended_tasks": Question(
        "For which tasks is it intended?", ("XI 1(a)", "XII 1(a)"), "Direct Use, Downstream Use"
    ),
    "suitable_systems": Question("In which kinds of AI systems can it be integrated?", ("XI 1(a)", "XII 1(a)")),
    "acceptable_use_policy": Question(
        "Which policies of acceptable use apply?", ("XI 1(b)", "XII 1(b)"), "Out-of-Scope Use"
    ),
    "release_date": Question("When is it, or was it, released?", ("XI 1(c)", "XII 1(c)")),
    "distribution": Question("How is it distributed?", ("XI 1(c)", "XII 1(c)"), "Model Sources"),
    "interaction_with_other_systems": Question(
        "How does it interact with hardware or software that is no part of it, where it does?", ("XII 1(d)",)
    ),
    "modality_and_format": Question(
        "Which modality and format have inputs and outputs?", ("XI 1(e)", "XII 1(g)", "XII 2(b)"), "pipeline_tag"
    ),
    "maximum_size_of_input": Question("How large may inputs and outputs be?", ("XII 2(b)",)),
    "languages": Question("Which languages does it know?", card="Language(s) (NLP)"),
    "licence": Question("Under which licence is it given away?", ("XI 1(f)", "XII 1(h)"), "License"),
    "infrastructure_required": Question(
        "Which further instructions, infrastructure and tools does integration need?", ("XI 2(a)", "XII 2(a)")
    ),
    "rationale": Question("Why this method and this k: key choices of the design, and what was assumed?", ("XI 2(b)",)),
    "training_process": Question(
        "How was the fine-tuned model trained, if that was done by the same provider?",
        ("XI 2(b)",),
        "Training Procedure",
    ),
    "training_data": Question(
        "On which data: type, origin, curation, number and scope of the data points, how they were obtained and "
        "selected, what was done about unsuitable sources and biases?",
        ("XI 2(c)", "XII 2(c)"),
        "Training Data",
    ),
    "testing_and_validation_data": Question(
        "On which data was it tested and validated?", ("XI 2(c)", "XII 2(c)"), "Testing Data"
    ),
    "training_compute": Question(
        "Which computing resources (such as floating point operations) and how much time did training take?",
        ("XI 2(d)",),
        "Compute Infrastructure",
    ),
    "energy": Question("How much energy did it take, known or estimated?", ("XI 2(e)",), "Environmental Impact"),
    "limitations": Question("Which risks, biases and limits are known?", card="Bias, Risks, and Limitations"),
}


def documentation(
    net: ken.Subnetwork, summary: Summary, facts: Mapping[str, Any], *, metric: str, method: str, written: str
) -> ModelDocumentation:
    """Every question with its answer. metric and method in words; facts are those of `read_facts`."""
    file = file_of(net)
    numbers = summary.model_dump(mode="json")
    known: dict[str, Any] = {
        "modified_model": asdict(net.fine_tuned),
        "pretrained_model": asdict(net.pretrained),
        "modification": {
            name: numbers[name]
            for name in ("entries", "entries_retained", "share_retained", "entries_reset", "entries_changed")
        }
        | {"update_retained": numbers["update_retained"]},
        "method": {"description": method, **asdict(net.recipe)},
        "architecture": None if net.architecture is None else net.architecture.class_name,
        "number_of_parameters": net.entries,
        "means_of_integration": "The subnetwork, its pretrained model (known by its fingerprint) and the package "
        "ken-pruning: `ken inject NET PRETRAINED -o FOLDER` writes an ordinary checkpoint folder.",
        "software_versions": dict(net.recipe.versions),
        "file_size_bytes": None if file is None else file.stat().st_size,
        "evaluation": None
        if numbers["metric"] is None
        else {"measured": metric}
        | {name: value for name, value in numbers.items() if name.startswith("metric") and value is not None},
        "documented_on": written,
    }
    fields = {}
    for name, question in (KNOWN | ASKED).items():
        value, status = plain(known.get(name)), "known to the tool"
        if value is None:
            value, status = (
                plain(facts.get(name)),
                "to be filled in" if facts.get(name) is None else "stated by the provider",
            )
        answer = {"status": status, "value": value, "question": question.text, "answers": question.answers}
        fields[name] = DocumentedField.model_validate(answer)
    return ModelDocumentation(scope=SCOPE, fields=fields)


def read_facts(path: str | Path | None, net: ken.Subnetwork, results: Results | None) -> dict[str, Any]:
    """What a provider states: a file in TOML or JSON with keys of `ASKED`. Empty values stay to be filled in.

    Of `KNOWN` it may state what is not known after all. Raises `ReportError` for a file that cannot be read as that, or
    has other keys.
    """
    if path is None:
        return {}
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
        facts = tomllib.loads(text) if path.suffix.lower() == ".toml" else json.loads(text, object_pairs_hook=_once)
    except (ValueError, RecursionError) as error:
        raise ReportError(f"{path} cannot be read as facts, in TOML if it ends in .toml, else JSON: {error}") from error
    if not isinstance(facts, dict):
        raise ReportError(f"{path} must hold names and values, got {type(facts).__name__}")
    unknown = {"architecture": net.architecture is None, "file_size_bytes": file_of(net) is None}
    unknown["evaluation"] = results is None or results.own(net) is None
    allowed = [*ASKED, *(name for name in unknown if unknown[name])]
    for name in facts:
        if name in KNOWN and name not in allowed:
            raise ReportError(f"{path}: {name} is known to the tool, and cannot be stated")
        if name not in allowed:
            near = difflib.get_close_matches(name, allowed, 1)
            hint = f"did you mean {near[0]}? " if near else ""
            raise ReportError(f"{path}: there is no fact {name!r}; {hint}There are {', '.join(allowed)}")
    return {name: value for name, value in facts.items() if value not in ("", [], {}, None)}


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    names = [name for name, _ in pairs]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"{name!r} is given twice")
    return dict(pairs)
