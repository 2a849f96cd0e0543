"""``ken sweep``: how good a text classifier is, pruned with several k and rules."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ken.cli import options
from ken.cli.arguments import bandwidth_of, budget, budget_text, tolerance_of
from ken.errors import KenError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from ken.models.pairing.pairs import Pair


def sweep(
    fine_tuned: Annotated[str, typer.Argument(help="Checkpoint folder, or place on the hub, of a text classifier.")],
    pretrained: options.Pretrained,
    texts: Annotated[Path, typer.Option(help="CSV file of held-out texts with their labels.")],
    k: Annotated[
        list[str] | None,
        typer.Option("-k", help=f"{options.K_HELP}; may be repeated."),
    ] = None,
    rule: Annotated[list[str] | None, typer.Option(help="How entries are chosen; may be repeated.")] = None,
    on: Annotated[list[str] | None, typer.Option(help="weights, update, or both in two options.")] = None,
    scope: Annotated[
        list[str] | None, typer.Option(help="Over what k is counted: row, tensor or model; may be repeated.")
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Draws of each rule that draws at random.")] = 1,
    text_column: Annotated[str, typer.Option(help="The column of the texts.")] = "text",
    label_column: Annotated[
        str, typer.Option(help="The column of the labels: numbers, or the model's names.")
    ] = "label",
    tokenizer: Annotated[
        str | None, typer.Option(help="Folder or place on the hub, if not that of FINE_TUNED.")
    ] = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Texts at a time.")] = 64,
    max_length: Annotated[int, typer.Option(min=1, help="Longer texts are cut off after so many tokens.")] = 128,
    exclude: options.Exclude = None,
    bandwidth: options.Bandwidth = "normal reference",
    kernel: options.Kernel = "gaussian",
    results: Annotated[
        Path | None, typer.Option(help="File to keep every evaluation in at once; if it is there, it is gone on with.")
    ] = None,
    out: Annotated[Path | None, typer.Option("-o", "--out", help="The table to write, as CSV.")] = None,
    tolerance: Annotated[
        str | None,
        typer.Option(help="Find the smallest share of each rule that loses no more of the texts than this (0.01, 1%)."),
    ] = None,
    force: options.Force = False,
) -> None:
    """Prune FINE_TUNED against PRETRAINED with several k and rules, and count the texts that are labelled correctly."""
    from ken import rules as registry
    from ken.cli.sweep_summary import summary
    from ken.evaluation.smallest_k import smallest_k
    from ken.evaluation.sweep import sweep
    from ken.storage.atomic_files import write_text
    from ken.storage.file_kinds import RESULTS, TABLE
    from ken.storage.outputs import check_outputs
    from ken.training import evaluate

    read = {
        "the fine-tuned model": fine_tuned,
        "the pretrained model": pretrained,
        "the tokenizer": tokenizer,
        "the file of texts": texts,
    }
    check_outputs([(out, TABLE), (results, RESULTS)], read, overwrite=force)  # told now, not after hours
    ks = [budget(text) for text in k or ("0.75", "0.5", "0.25")]
    most_lost = None if tolerance is None else tolerance_of(tolerance)
    rules, values, scopes = rule or ["ken", "random"], on or ["weights"], scope or ["row"]
    print(f"k was taken for {', '.join(budget_text(number) for number in ks)}.")
    pair, absent = _open(fine_tuned, pretrained)
    encoder = _tokenizer(tokenizer or fine_tuned)
    held_out, labels = _texts(texts, text_column, label_column, model=pair.fine_tuned)
    with tempfile.TemporaryDirectory(prefix="ken-") as folder:
        task: dict[str, Any] = {
            "evaluate": lambda model: evaluate(
                model, encoder, held_out, labels=labels, batch_size=batch_size, max_length=max_length
            ),
            "seeds": range(seeds),
            "exclude": [*(exclude or ()), *absent],
            "bandwidth": bandwidth_of(bandwidth),
            "kernel": kernel,
            "evaluation": _name(encoder, held_out, labels, max_length=max_length),
            # In any case a file: what the sweep has measured is not measured again for the tolerance.
            "results": results or Path(folder) / "results.jsonl",
        }
        table = sweep(pair, ks, rules, on=values, scope=scopes, **task)
        if out is not None:
            write_text(out, table.to_csv(index=False))
        draws = f" Of random rules the mean of {seeds} draws." if seeds > 1 else ""
        print(f"{summary(table)}\n\nShare of {len(held_out):,} texts labelled correctly, ± one standard error.{draws}")
        if most_lost is not None:
            print()
            for name in dict.fromkeys(rules):
                for value in dict.fromkeys(["weights"] if registry.get(name).fixed else values):
                    for range_of_k in dict.fromkeys(scopes):
                        print(smallest_k(pair, most_lost, rule=name, on=value, scope=range_of_k, **task))


def _open(fine_tuned: str, pretrained: str) -> tuple[Pair, list[str]]:
    """Both models as modules, so that one of them is pruned in place; and patterns of tensors to carry.

    A tensor that the pretrained checkpoint does not have, and the library would make up, is set to 0 and carried.
    """
    import glob

    from transformers import AutoModel, AutoModelForSequenceClassification

    from ken.injection.copies import slots_of
    from ken.models.pairing.pairs import Pair

    classifier, missing = _load(AutoModelForSequenceClassification, fine_tuned)
    if missing:
        raise KenError(f"{fine_tuned} is no fine-tuned text classifier: it has no {missing[0]}")
    body, missing = _load(AutoModel, pretrained)
    tensors = slots_of(body)
    for name in missing:
        tensors[name].data.zero_()
    names = {spelled for name in missing for spelled in (name, f"{classifier.base_model_prefix}.{name}")}
    return Pair(classifier, body), [glob.escape(name) for name in slots_of(classifier) if name in names]


def _load(kind: Any, source: str) -> tuple[Any, list[str]]:
    """A model in evaluation mode, and the names of those of its tensors that the checkpoint does not have."""
    from ken.models.checkpoints.hub import locate_whole
    from ken.training import quiet_transformers

    try:
        with quiet_transformers():
            model, loading = kind.from_pretrained(locate_whole(source), output_loading_info=True, local_files_only=True)
    except ValueError as error:
        raise KenError(f"{source} cannot be opened as a model: {error}") from error
    return model.eval(), sorted(loading["missing_keys"])


def _tokenizer(source: str) -> PreTrainedTokenizerBase:
    from transformers import AutoTokenizer

    from ken.models.checkpoints.hub import locate
    from ken.training import quiet_transformers

    folder = locate(source)
    try:
        with quiet_transformers():
            tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    except (ValueError, OSError) as error:
        raise KenError(f"{source} has no tokenizer that can be opened ({error}); name one with --tokenizer") from error
    # Without any of its files the library makes one that knows no word.
    files = {"tokenizer.json", *tokenizer.vocab_files_names.values()}
    if not any((folder / file).is_file() for file in files):
        raise KenError(f"{source} has no tokenizer ({' or '.join(sorted(files))}); name one with --tokenizer")
    return tokenizer


def _texts(path: Path, text_column: str, label_column: str, model: Any) -> tuple[list[str], list[int]]:
    """The texts of a CSV file and their labels as the model numbers them."""
    import pandas as pd

    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8")
    except ValueError as error:  # also of a file that is no text, or is empty
        raise KenError(f"{path} cannot be read as CSV in UTF-8: {error}") from error
    for column in (text_column, label_column):
        if column not in table:
            raise KenError(f"{path} has no column {column!r}; it has {', '.join(map(repr, table.columns))}")
    if not len(table):
        raise KenError(f"{path} has no texts")
    numbers = {str(number): number for number in range(model.config.num_labels)}
    numbers |= {str(name): int(number) for name, number in (model.config.label2id or {}).items()}
    labels = []
    for line, label in enumerate(table[label_column]):
        if label not in numbers:
            known = sorted(numbers, key=numbers.__getitem__)[:50]
            raise KenError(f"{path}: label {line + 1} is {label!r}; the model knows {', '.join(map(repr, known))}")
        labels.append(numbers[label])
    return table[text_column].tolist(), labels


def _name(tokenizer: PreTrainedTokenizerBase, texts: list[str], labels: list[int], max_length: int) -> str:
    """What tells this evaluation from others: all that the models are given, and what they should answer."""
    from ken.models.tensors.tensor_bytes import digest

    tokens = [list(ids) for ids in tokenizer(texts, truncation=True, max_length=max_length)["input_ids"]]
    return f"accuracy on {len(texts)} texts {digest(json.dumps([tokens, labels]).encode())}"
