"""The report: one HTML file that opens on any computer, without a kernel or a network.

net, pair ──► contents (all that is measured) ──► numbers (as data: schema) ──► JSON
                        └─► drawings, interactive map ──────► page ◄──┘ sentences, tables

schema          of `fields`: the main numbers (`summary`), lines of tables (`table_lines`, `effect_lines`), and the rest
documentation   questions of model cards and of the AI Act, with what is known
thresholds      what a pipeline refuses
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ken
from ken.errors import ThresholdError
from ken.retention import PairOfModels
from ken.storage import PAGE, REPORT_DATA, check_outputs, models_of, target, write_texts
from kenviz.reporting.collect import SECTIONS as SECTIONS
from kenviz.reporting.collect import Contents, choose, gather, steps
from kenviz.reporting.documentation import read_facts
from kenviz.reporting.numbers import build
from kenviz.reporting.render import render
from kenviz.reporting.results import read as read_results
from kenviz.reporting.sampling import QUANTILES
from kenviz.reporting.schema import ReportData
from kenviz.reporting.thresholds import check_early
from kenviz.reporting.thresholds import check_thresholds as check_thresholds
from kenviz.study.effects import By, Effects
from kenviz.study.pins import Pin
from kenviz.study.study import Study

if TYPE_CHECKING:
    import pandas as pd

TITLE = "What pruning kept"
#: Which colours a report begins with; "auto" follows the reader's system.
THEMES = ("auto", "light", "dark")


def report(
    net: ken.Subnetwork,
    pair: PairOfModels,
    path: str | Path,
    *,
    json: str | Path | None = None,
    title: str = TITLE,
    results: pd.DataFrame | str | Path | None = None,
    metric: str = "metric",
    compare: ken.Subnetwork | None = None,
    ablation: pd.DataFrame | str | Path | None = None,
    attribution: ken.Attribution | str | Path | None = None,
    by: By = "place",
    tensors: Sequence[str] | None = None,
    quantiles: Sequence[float] = QUANTILES,
    sections: Sequence[str] | None = None,
    pins: Sequence[Pin] = (),
    theme: str = "auto",
    facts: str | Path | None = None,
    fail_if: Sequence[str] = (),
    overwrite: bool = False,
    progress: bool = True,
) -> Path | str:
    """Write a report about a subnetwork as one HTML file, which needs neither a network nor a kernel.

    It says in plain language what was retained and what that cost, where all of it came from, and which caveats hold;
    it has the table of all tensors, a map of matrices that can be brushed, some matrices and rows in detail, a decision
    card, a glossary, and the data behind every figure as downloads. It prints. Names and texts are escaped.

    Both models are read once, a few rows at a time, and a second time for compare; masks are unpacked a few rows at a
    time. At most 400 matrices are in the map with tiles and rows, and a million tiles; the report says so if some were
    left out. Beside that a file grows by less than a kilobyte for every tensor of the models.

    Args:
        net: The subnetwork.
        pair: The two models that it was made of: modules, state dicts, paths or names on the hub; or a study of them.
        path: Where to. The file is written whole or not at all; interrupted, nothing is left. It takes the place of
            another page, of any other file only with overwrite, and of nothing that is read.
        json: Where to write the same numbers for programs, as JSON (docs/report_json.md): both files, or none. By
            default nowhere.
        title: The title of the page.
        results: What an evaluation measured: the table of `ken.sweep`, the path of its CSV or of a file that
            `ken.results` keeps; any other table is shown as it is. By default there is none.
        metric: What was measured, in words.
        compare: A second subnetwork of the same pretrained model.
        ablation: What parts of the update do to the model: the table of `ken.ablate`, or the path of one as CSV.
        attribution: What `ken.attribute` gives of the same models, or the path of its file; only with ablation.
        by: The groups of both, as `ken.ablate` was given them.
        tensors: Names of pruned tensors that are shown in detail; by default the largest matrix, and of those inside
            layers the two that keep the smallest and the largest share of their update.
        quantiles: Each from 0 to 1: of the rows of a matrix in the order of the root mean square of their update, which
            ones are shown.
        sections: Some of `SECTIONS`; by default all that there is something for.
        pins: What was pinned in an Explorer, ``explorer.pins``: each is printed after the summary, with its sentence.
            They are what was seen then, and are not measured again; the JSON does not have them.
        theme: The colours, "auto" (as the reader's system), "light" or "dark"; the reader may switch.
        facts: A file, TOML or JSON, with what only the provider can know, for the documentation in the JSON.
        fail_if: Thresholds, each "NAME OP NUMBER", as `kenviz.check_thresholds` takes them.
        overwrite: Replace a file that is no page (or no data of a report), too.
        progress: Show a progress bar if it takes longer than a second.

    Returns:
        The path.

    Raises:
        TypeError: A pin is none.
        ValueError: The models (as the fingerprints of their tensors tell) or the results are not those of the
            subnetwork, a tensor is not a pruned one, or there is no such section or theme.
        ReportError: A fact or a threshold has no known name, or another form; or, after the report was written, what a
            threshold is about is missing.
        ThresholdError: A threshold was crossed; the report was written.
        OutputError: The path is one that is read, or holds something else than a page.
        OSError: The file cannot be written.

    Example:
        >>> import tempfile, torch
        >>> pair = ken.Pair({"w": torch.arange(8.0).reshape(2, 4)}, {"w": torch.zeros(2, 4)})
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = report(ken.prune(*pair, k=2), pair, f"{folder}/r.html", sections=["summary"], progress=False)
        ...     "The retained ones" in path.read_text(encoding="utf-8")
        True
    """
    models = models_of(pair.pair if isinstance(pair, Study) else pair)
    read = {
        "the subnetwork": net,
        "the second subnetwork": compare,
        "the results": results,
        "the effects": ablation,
        "the attribution": attribution if isinstance(attribution, str | Path) else None,
        "the facts": facts,
        **models,
    }
    check_outputs([(path, PAGE), (json, REPORT_DATA)], read, overwrite=overwrite)
    if theme not in THEMES:
        raise ValueError(f"theme must be one of {', '.join(THEMES)}; got {theme!r}")
    for pin in pins:
        if not isinstance(pin, Pin):
            raise TypeError(f"pins must be those of an Explorer (explorer.pins), got {type(pin).__name__}")
    if facts is not None and json is None:
        raise ValueError("facts are written into the JSON: name its path, too (json)")
    unusual = _unusual(title=title, metric=metric, tensors=tensors, quantiles=quantiles, sections=sections, theme=theme)
    contents, data = _measured(
        Study.open(net, pair),
        fail_if,
        title=title,
        results=results,
        metric=metric,
        compare=compare,
        effects=_effects(net, ablation, attribution, by=by),
        tensors=tensors,
        quantiles=quantiles,
        sections=sections,
        facts=facts,
        arguments=unusual,
        progress=progress,
    )
    texts = {target(path): render(contents, data, theme, pins=pins)} | (
        {} if json is None else {target(json): data.text()}
    )
    write_texts(texts)
    crossed = check_thresholds(data, fail_if)
    if crossed:
        raise ThresholdError(crossed)
    return target(path)


def report_data(
    net: ken.Subnetwork,
    pair: PairOfModels | None = None,
    *,
    title: str = TITLE,
    results: pd.DataFrame | str | Path | None = None,
    metric: str = "metric",
    compare: ken.Subnetwork | None = None,
    ablation: pd.DataFrame | str | Path | None = None,
    attribution: ken.Attribution | str | Path | None = None,
    by: By = "place",
    tensors: Sequence[str] | None = None,
    quantiles: Sequence[float] = QUANTILES,
    facts: str | Path | None = None,
    progress: bool = True,
) -> ReportData:
    """Measure what `report` shows, and write nothing: every number, with what it means, as an object and as JSON.

    Args:
        net: The subnetwork.
        pair: The two models that it was made of; without them only what the subnetwork itself tells is known.
        title: As in `report`, and so all that follows.
        results: What an evaluation measured.
        metric: What was measured, in words.
        compare: A second subnetwork of the same pretrained model.
        ablation: What parts of the update do to the model.
        attribution: What `ken.attribute` gives of the same models.
        by: The groups of both.
        tensors: Names of pruned tensors that are shown in detail.
        quantiles: Which rows of a matrix are shown.
        facts: A file with what only the provider can know.
        progress: Show a progress bar if it takes longer than a second.

    Returns:
        The data. Its fields are described in docs/report_json.md; a missing number is NaN; `text()` is the JSON.

    Raises:
        ValueError: As in `report`; or something is asked for that needs the models.

    Example:
        >>> import torch
        >>> pair = ken.Pair({"w": torch.arange(8.0).reshape(2, 4)}, {"w": torch.zeros(2, 4)})
        >>> data = report_data(ken.prune(*pair, k=2), pair, progress=False)
        >>> data.summary.share_retained, data.tensors[0].retained, data.model_documentation.fields["licence"].status
        (0.5, 4, 'to be filled in')
    """
    if (pair is None and (compare is not None or tensors)) or (compare is not None and not net.pruned()):
        what = "tensors" if compare is None else "compare"
        raise ValueError(f"{what} needs {'the models' if pair is None else 'pruned tensors'}, and there are none")
    _, data = _measured(
        Study.open(net, pair),
        title=title,
        results=results,
        metric=metric,
        compare=compare,
        effects=_effects(net, ablation, attribution, by=by),
        tensors=tensors,
        quantiles=quantiles,
        sections=[name for name in ("summary", "details", "comparison", "card") if compare or name != "comparison"],
        facts=facts,
        arguments=_unusual(title=title, metric=metric, tensors=tensors, quantiles=quantiles),
        progress=progress,
        page=False,
    )
    return data


def _measured(
    study: Study,
    fail_if: Sequence[str] = (),
    *,
    title: str,
    results: pd.DataFrame | str | Path | None,
    metric: str,
    compare: ken.Subnetwork | None,
    effects: Effects | None,
    tensors: Sequence[str] | None,
    quantiles: Sequence[float],
    sections: Sequence[str] | None,
    facts: str | Path | None,
    arguments: dict[str, Any],
    progress: bool,
    page: bool = True,
) -> tuple[Contents, ReportData]:
    """All that is measured, and the data made of it. What is wrong with the arguments is told before the work."""
    from tqdm.auto import tqdm

    chosen = choose(sections, results, compare, ablation=effects)
    for quantile in quantiles:
        if not 0 <= quantile <= 1:
            raise ValueError(f"quantiles must be from 0 to 1, got {quantile!r}")
    if not len(quantiles):
        raise ValueError("quantiles must name at least one, got none")
    for name in tensors or ():
        if name not in study.net.pruned():
            raise ValueError(f"tensors must be pruned ones, got {name!r}")
    if page and not study.tensors:
        raise ValueError("the subnetwork has no pruned tensor to report on")
    measured = None if results is None else read_results(results, study.net, metric)
    check_early(fail_if, measured)
    stated = read_facts(facts, study.net, measured)
    total = steps(study, chosen, tensors)
    with tqdm(total=total, desc="report", unit="part", disable=not progress, delay=1.0, leave=False) as bar:

        def step(word: str) -> None:
            bar.set_postfix_str(word, refresh=False)
            bar.update()

        contents = gather(
            study,
            chosen,
            measured,
            compare=compare,
            effects=effects,
            tensors=tensors,
            quantiles=quantiles,
            step=step,
        )
    return contents, build(contents, title, facts=stated, arguments=arguments)


def _effects(net: ken.Subnetwork, ablation: Any, attribution: Any, *, by: By) -> Effects | None:
    """What interventions and attribution say, read and checked; None where neither was given."""
    if ablation is None:
        if attribution is not None:
            raise ValueError("an attribution stands beside interventions: give the table of ken.ablate, too (ablation)")
        return None
    if isinstance(attribution, str | Path):
        attribution = ken.Attribution.load(attribution)
    return Effects(ablation, attribution, net, by=by)


def _unusual(**arguments: Any) -> dict[str, Any]:
    """The arguments that are not the usual ones, for the line that makes the report again."""
    usual = {"title": TITLE, "metric": "metric", "quantiles": QUANTILES, "theme": "auto"}
    unusual = {name: value for name, value in arguments.items() if value is not None and usual.get(name) != value}
    return {name: value if isinstance(value, str) else list(value) for name, value in unusual.items()}
