"""Take the pictures of the documentation again: every view of the demo pair, in a real JupyterLab in a real Chromium.

Usage: make screenshots
"""

import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "docs" / "pictures"
sys.path.insert(0, str(ROOT / "tests" / "browser"))

from lab import CHROMIUM, Lab, Notebook, chromium  # noqa: E402

_SETUP = """
import numpy as np
import pandas as pd, torch
import ken, kenviz
pair = ken.demo.pair()
net = ken.prune(pair.fine_tuned, pair.pretrained, 0.5, progress=False)
control = ken.prune(pair.fine_tuned, pair.pretrained, 0.5, "random", progress=False)
query = "bert.encoder.layer.2.attention.self.query.weight"
words = "bert.embeddings.word_embeddings.weight"
evidence = pd.read_csv({evidence!r}, keep_default_na=False)
# A budget that is not the same for all tensors, as one that is counted over the model gives.
shares = {{"*embeddings*": 0.2, "*attention*": 0.5, "*": 0.75}}
spread = ken.prune(pair.fine_tuned, pair.pretrained, shares, "update", progress=False)
if {effects!r}:
    ablation, attribution = pd.read_csv({effects!r} + ".csv"), ken.Attribution.load({effects!r} + ".safetensors")
"""
# What is shown of effects is measured first: in a cell of the notebook it would take longer than a page is waited for.
_TEXTS_MEASURED = 100
# A table as ken.sweep gives it, of what was measured for docs/evidence.md: means over fine-tunings and seeds.
_SWEEP = """
rows = evidence[evidence["quantity"] == "accuracy"].rename(columns={"estimate": "metric"})
kind = rows["rule"].map({"unpruned": "fine-tuned", "pretrained": "pretrained"}).fillna("pruned")
sweep = pd.DataFrame({
    "model": kind, "rule": rows["rule"].where(kind == "pruned", ""), "on": rows["on"].where(kind == "pruned", ""),
    "k": rows["k"].where(kind == "pruned"), "seed": -1, "share": rows["k"], "metric": rows["metric"],
    "standard_error": pd.to_numeric(rows["error_texts"]),
})
kenviz.SweepView(sweep, shown=("ken", "random", "magnitude", "update"))
"""
# The first text that pruning makes wrong, with what flips it.
_TEXTS = """
task = ken.Task.classification(pair.fine_tuned, pair.tokenizer, pair.texts[:100], pair.labels[:100])
view = kenviz.TextView(pair, net, task, only="flipped", top=8)
right = view.answers()["fine_tuned_correct"]
view.text = next(text for text in view.texts if right[text])
view.find_flips()
view
"""
# A row of sixteen entries, as in chapter 2.
_LESSON = """
row = np.array([-82, -11, 3, 41, -5, 8, 95, -21, 1, 14, -36, 6, 22, -2, -9, 57]) / 1000
sixteen = ken.Pair({"sixteen": torch.tensor(row)}, {"sixteen": torch.zeros(16, dtype=torch.float64)})
kenviz.Lesson(ken.prune(*sixteen, k=8, progress=False), sixteen, number=3)
"""
#: Picture -> the cell whose output it is of.
PICTURES = {
    "row": "kenviz.RowView(net, pair, query, row=7)",
    "row-step": "kenviz.RowView(net, pair, query, row=7, k=24, step=9, entry=29)",
    "lesson": _LESSON,
    "matrix": "kenviz.MatrixView(net, pair, words)",
    "matrix-entry": "kenviz.MatrixView(net, pair, query, (100, 140), (60, 130), show='update', entry=(112, 86))",
    "layers": "kenviz.LayersView(net, pair, 'bert.encoder.layer.*.attention.self.query.weight', show='update')",
    "retention": "kenviz.RetentionView(net, pair, 'update_share', query, 'heads')",
    "neighbours": "kenviz.NeighbourView(net, tensor=query)",
    "compare": "kenviz.CompareView(net, control, pair, tensor=query, rows=(0, 40), columns=(0, 40))",
    "compare-budget": "kenviz.CompareView(spread, net, pair, None, 'budget', query, (0, 40), (0, 40))",
    "effects": "kenviz.EffectView(ablation, attribution, net, top=12, group='pooler')",
    "texts": _TEXTS,
    "sweep": _SWEEP,
    "side-by-side": "kenviz.SideBySideView([net], pair, query, rule='update', rows=(0, 64), columns=(0, 64))",
    "summary": "net",
}
# The Explorer as it is opened in a window of each size, by the name of the picture; what is looked at is one entry.
_EXPLORER = """
explorer = kenviz.explore(pair, k=0.5)
explorer.search.go("layer.2 query [112, 86]")
explorer.search.pattern = ""
explorer
"""
SIZES = {"1400": (1400, 900), "1100": (1100, 800), "600": (600, 900)}


def measured(folder: Path) -> str:
    """Interventions and attribution by place, on a few texts: the files that the cells read, less their ends."""
    import ken

    pair = ken.demo.pair()
    models = ken.Pair(pair.fine_tuned, pair.pretrained)
    texts, labels = pair.texts[:_TEXTS_MEASURED], pair.labels[:_TEXTS_MEASURED]
    task = ken.Task.classification(pair.fine_tuned, pair.tokenizer, texts, labels)
    ken.ablate(models, evaluate=task.evaluate, seeds=[0]).to_csv(folder / "effects.csv", index=False)
    ken.attribute(models, task).save(folder / "effects.safetensors")
    return str(folder / "effects")


def main() -> None:
    """Write docs/pictures/<picture>.png."""
    FOLDER.mkdir(exist_ok=True)
    wanted = {name: PICTURES[name] for name in sys.argv[1:] or PICTURES if name != "explorer"}
    with tempfile.TemporaryDirectory() as folder:
        effects = measured(Path(folder)) if "effects" in wanted else ""
        setup = _SETUP.format(evidence=str(ROOT / "docs" / "evidence-table.csv"), effects=effects)
        if wanted:
            take(wanted, setup)
        if "explorer" in (sys.argv[1:] or ["explorer"]):
            take_explorer(setup)


def take(wanted: Mapping[str, str], setup: str) -> None:
    """Run the cells after the setup, and take a picture of what each shows."""
    with opened([setup, *wanted.values()], width=1100, height=2600) as notebook:
        outputs = notebook.page.locator(".jp-CodeCell .jp-Cell-outputArea")
        for index, name in enumerate(wanted, 1):
            area = outputs.nth(index).locator(".jp-OutputArea-output").first
            area.scroll_into_view_if_needed()
            notebook.wait_until_idle()
            notebook.page.wait_for_timeout(700)  # scrolling and drawing end
            area.screenshot(path=FOLDER / f"{name}.png")


def take_explorer(setup: str) -> None:
    """The Explorer in windows of all sizes, light and dark: explorer-1400.png … explorer-600-dark.png."""
    with opened([setup, _EXPLORER], width=1400, height=900) as notebook:
        for theme in ("Light", "Dark"):
            notebook.use_theme(theme)
            for name, (width, height) in SIZES.items():
                notebook.page.set_viewport_size({"width": width, "height": height})
                notebook.page.evaluate("document.querySelector('.kenviz-explorer').scrollIntoView({block: 'start'})")
                notebook.wait_until_idle()
                notebook.page.wait_for_timeout(1000)  # scrolling and drawing end
                ending = "" if theme == "Light" else "-dark"
                picture = FOLDER / f"explorer-{name}{ending}.png"
                notebook.page.screenshot(path=picture)
                Image.open(picture).convert("RGB").quantize(256).save(picture, optimize=True)


@contextmanager
def opened(cells: list[str], width: int, height: int) -> Iterator[Notebook]:
    """A notebook of these cells, which were run, in a window of that size."""
    with tempfile.TemporaryDirectory() as folder, Lab.running(Path(folder)) as lab, sync_playwright() as playwright:
        context = playwright.chromium.launch_persistent_context(
            f"{folder}-profile",
            executable_path=chromium(),
            args=list(CHROMIUM),
            viewport={"width": width, "height": height},
        )
        notebook = Notebook(context.new_page(), lab, lab.add(cells))
        notebook.page.evaluate("jupyterapp.shell.collapseLeft()")
        notebook.run()
        yield notebook
        notebook.close()
        context.close()


if __name__ == "__main__":
    main()
