"""How long a view takes to answer, measured in the browser, from the key or the wheel to the new picture.

    python benchmarks/views.py [--rounds 20] [--large]

JupyterLab in Chromium. For the demo pair: a slider of the RowView to its new curve, and a wheel zoom of the MatrixView
to its new tiles, on the 30,522 × 384 word embedding; with --large, also on a random mask of 250,880 × 2,048. A burst of
40 turns of the wheel shows whether a queue builds up: how often Python answered, and when the last answer came. Limits
are those the project has set itself.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "browser"))

from lab import CHROMIUM, Lab, Notebook, chromium

PAIR = """
import ken, ken.demo, kenviz
pair = ken.demo.pair()
net = ken.prune(pair.fine_tuned, pair.pretrained, 0.5, progress=False)
name = "bert.embeddings.word_embeddings.weight"
"""
LARGE = """
import numpy as np, torch, ken, kenviz
rows, n = 250_880, 2_048
generator = torch.Generator().manual_seed(0)
pretrained = torch.randn(rows, n, generator=generator, dtype=torch.float32).to(torch.bfloat16)
fine_tuned = pretrained + 0.01
name = "embed.weight"
pair = ken.Pair({name: fine_tuned}, {name: pretrained})
net = ken.prune(*pair, 0.5, "random", progress=False)
"""

# From the event to the frame after the data came: what a person sees.
WATCH = """([event, source]) => {
    window.times = {begun: [], ended: []};
    const drawn = () => requestAnimationFrame(() => requestAnimationFrame(() => times.ended.push(performance.now())));
    document.addEventListener(event, () => times.begun.push(performance.now()), {capture: true});
    for (const model of lab.models(source)) if ("data" in model) model.properties.data.change.connect(drawn);
}"""


def answers(one: Notebook, act, rounds: int) -> list[float]:
    """Milliseconds from each act to its picture, one after another."""
    times = []
    for i in range(rounds):
        one.page.evaluate("() => { times.begun = []; times.ended = []; }")
        act(i)
        one.wait("times.ended.length > 0")
        begun, ended = one.page.evaluate("[times.begun[0], times.ended[0]]")
        times.append(ended - begun)
        one.wait_until_idle()
    return times


def said(what: str, times: list[float], limit: float | None) -> None:
    ordered = sorted(times)
    median, worst = ordered[len(ordered) // 2], ordered[-1]
    verdict = "" if limit is None else f"  limit {limit:.0f}  {'ok' if median < limit else 'TOO SLOW'}"
    print(f"{what:58} median {median:6.0f} ms  slowest {worst:6.0f} ms{verdict}", flush=True)


def zoom(one: Notebook, figure: str, what: str, limit: float, rounds: int) -> None:
    """Zooms in and out over the middle of a matrix; then a burst."""
    one.page.evaluate(WATCH, ["wheel", "tiles"])
    box = one.figure_box(figure)
    one.page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    said(what, answers(one, lambda i: one.page.mouse.wheel(0, -300 if i % 6 < 3 else 300), rounds), limit)

    one.page.evaluate("() => { times.begun = []; times.ended = []; }")
    for i in range(40):
        one.page.mouse.wheel(0, -60 if i < 20 else 60)
    one.wait("times.begun.length >= 40 && times.ended.length > 0 && performance.now() - times.ended.at(-1) > 1500")
    count, last = one.page.evaluate("[times.ended.length, times.ended.at(-1) - times.begun.at(-1)]")
    print(f"{'  a burst of 40 turns':58} {count} answers, the last {last:.0f} ms after the last turn", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--large", action="store_true", help="also a matrix of 250,880 × 2,048, which takes 6 GB")
    arguments = parser.parse_args()
    with opened() as notebook:
        one = notebook([PAIR, "row = kenviz.RowView(net, pair, 'bert.encoder.layer.0.intermediate.dense.weight')\nrow"])
        one.page.evaluate(WATCH, ["keydown", "curve"])
        said(
            "RowView, slider of rows to new curve, n = 384",
            answers(one, lambda i: one.slide("row", 1), arguments.rounds),
            150,
        )
        one = notebook([PAIR, "matrix = kenviz.MatrixView(net, pair, name)\nmatrix"])
        zoom(one, "matrix", "MatrixView, wheel to new tiles, 30,522 × 384", 350, arguments.rounds)
        if arguments.large:
            one = notebook([LARGE, "matrix = kenviz.MatrixView(net, pair, name)\nmatrix"])
            zoom(one, "matrix", "MatrixView, wheel to new tiles, 250,880 × 2,048", 500, arguments.rounds)


@contextmanager
def opened():
    """A function that opens notebooks of given cells, and runs them."""
    from playwright.sync_api import sync_playwright

    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        lab_folder = Path(folder) / "lab"
        lab_folder.mkdir()
        with Lab.running(lab_folder) as lab:
            context = playwright.chromium.launch_persistent_context(
                Path(folder) / "profile",
                executable_path=chromium(),
                args=list(CHROMIUM),
                viewport={"width": 1400, "height": 1600},
            )
            last: list[Notebook] = []

            def notebook(cells: list[str], run: bool = True) -> Notebook:
                for one in last:
                    one.close()  # one kernel at a time: the machine is for what is measured
                last[:] = [Notebook(context.new_page(), lab, lab.add(cells))]
                last[0].page.set_default_timeout(600_000)
                if run:
                    last[0].run()
                return last[0]

            yield notebook
            context.close()


if __name__ == "__main__":
    main()
