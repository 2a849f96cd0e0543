"""The Explorer in the browser: how long it takes to open, to search, to decide a matrix, and to do three tasks.

    python benchmarks/explorer.py [--rounds 5]

JupyterLab in Chromium. Two pairs, in files of their own that are deleted after: Llama-3-8B's shapes in bfloat16, of
which only what is looked at has values (the rest of the files is a hole), and a mixture of experts with 3,025 tensors.
Neither is pruned first. The tasks are those of tests/browser/test_three_tasks.py, which counts their actions. Limits
are those the project has set itself; times are from the act to the picture, medians of the rounds.
"""

from __future__ import annotations

import argparse
import json
import struct
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "browser"))

import test_three_tasks as tasks
from views import opened, said

# What is looked at; all else is zero.
LOOKED_AT = "model.layers.0."


def llama() -> dict[str, tuple[int, ...]]:
    """The shapes of Llama-3-8B."""
    shapes: dict[str, tuple[int, ...]] = {"model.embed_tokens.weight": (128_256, 4096)}
    for layer in range(32):
        name = f"model.layers.{layer}."
        shapes |= {f"{name}self_attn.{part}_proj.weight": (4096, 4096) for part in "qo"}
        shapes |= {f"{name}self_attn.{part}_proj.weight": (1024, 4096) for part in "kv"}
        shapes |= {f"{name}mlp.{part}_proj.weight": (14_336, 4096) for part in ("gate", "up")}
        shapes |= {f"{name}mlp.down_proj.weight": (4096, 14_336)}
        shapes |= {f"{name}{part}_layernorm.weight": (4096,) for part in ("input", "post_attention")}
    return {**shapes, "model.norm.weight": (4096,), "lm_head.weight": (128_256, 4096)}


def mixture() -> dict[str, tuple[int, ...]]:
    """A mixture of experts with 3,025 tensors, each expert's apart."""
    shapes: dict[str, tuple[int, ...]] = {}
    for layer in range(25):
        name = f"model.layers.{layer}."
        shapes[f"{name}self_attn.q_proj.weight"] = (256, 256)
        for expert in range(40):
            shapes |= {f"{name}mlp.experts.{expert}.{part}_proj.weight": (96, 256) for part in ("gate", "up", "down")}
    return shapes


def write(path: Path, shapes: Mapping[str, tuple[int, ...]], seed: int, looked_at: str) -> None:
    """A safetensors file in bfloat16 that has values where they are looked at, and a hole elsewhere."""
    header, end = {}, 0
    for name, shape in shapes.items():
        size = 2 * int(np.prod(shape))
        header[name] = {"dtype": "BF16", "shape": list(shape), "data_offsets": [end, end + size]}
        end += size
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    rng = np.random.default_rng(seed)
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        file.truncate(8 + len(text) + end)
        for name, place in header.items():
            if name.startswith(looked_at):
                values = rng.standard_normal(int(np.prod(place["shape"])), dtype=np.float32) * 0.02
                file.seek(8 + len(text) + place["data_offsets"][0])
                file.write((values.view(np.uint32) >> 16).astype(np.uint16).tobytes())


class Clock:
    """Times from an act to when the page says so."""

    def __init__(self, one: object) -> None:
        self.one = one

    def __call__(self, act: object, done: str) -> float:
        start = time.perf_counter()
        act()
        self.one.page.wait_for_function(done, polling="raf")
        return 1000 * (time.perf_counter() - start)


DRAWN = "lab.idle() && document.querySelectorAll('.kenviz-explorer [role=figure]').length >= 2"


def opening(notebook: object, folder: Path, what: str, rounds: int) -> object:
    """An Explorer of the pair in a folder, in a kernel that has opened another one before."""
    one = notebook(["import torch, ken, kenviz", "explorer"], run=False)
    one.run_cell(0)
    small = "kenviz.explore(ken.Pair({'w': torch.rand(9, 9)}, {'w': torch.rand(9, 9)}), k=3)"
    one.execute(f"explorer = {small}")
    one.run_cell(1)
    times, sides = [], f"{str(folder / 'a')!r}, {str(folder / 'b')!r}"
    for _ in range(rounds):
        one.page.evaluate("jupyterapp.commands.execute('notebook:clear-all-cell-outputs')")
        one.execute("explorer.close()")
        clock = Clock(one)

        def act() -> None:
            one.execute(f"explorer = kenviz.explore({sides}, k=0.5)")
            one.run_cell(1, wait=False)

        times.append(clock(act, DRAWN))
    said(f"Explorer of {what}, to its figures", times, 2000)
    return one


def searching(one: object, words: list[str], what: str) -> None:
    """From the key to the list, in the page's own time."""
    one.page.evaluate(
        """() => {
            window.searched = [];
            const list = document.querySelector(".kenviz-rows"), input = document.querySelector(".kenviz-find input");
            let begun = 0;
            input.addEventListener("input", () => (begun = performance.now()), {capture: true});
            new MutationObserver(() => {
                if (begun) searched.push(performance.now() - begun);
                begun = 0;
            }).observe(list, {childList: true, subtree: true, attributes: true});
        }"""
    )
    field = one.page.get_by_label("find", exact=True)
    for count, word in enumerate(words, 1):
        field.fill(word)
        one.page.wait_for_function("count => searched.length >= count", arg=count)
    said(f"search among {what}, to the list", one.page.evaluate("searched"), 100)
    field.fill("")


def deciding(one: object, rounds: int) -> None:
    """A matrix that nobody has looked at, from choosing it to its first picture."""
    times = []
    for _ in range(rounds):
        one.execute("explorer.close(); explorer = kenviz.explore(*explorer.net.pair, k=0.5)")
        one.run_cell(1)
        one.page.evaluate(
            """() => {
                window.drawn = false;
                for (const model of lab.models("tiles")) model.properties.data?.change.connect(
                    () => requestAnimationFrame(() => requestAnimationFrame(() => (window.drawn = true))));
            }"""
        )
        name = "model.layers.0.mlp.down_proj.weight"
        times.append(Clock(one)(lambda name=name: one.execute(f"explorer.tensor = {name!r}"), "window.drawn"))
    said("a matrix of 4,096 × 14,336, to its first picture", times, 1500)


def three_tasks(notebook: object, rounds: int) -> None:
    """The three tasks by mouse, as the test does them, each from its first action on."""
    for what, task in (
        ("why was this entry kept", tasks.test_why_was_this_entry_kept),
        ("the layer that kept least, and its worst row", tasks.test_the_layer_that_kept_least_and_its_worst_row),
    ):
        times = []
        for _ in range(rounds):
            one = notebook([tasks.SETUP, tasks.EXPLORE], run=False)
            one.page.evaluate("jupyterapp.shell.collapseLeft()")
            start = time.perf_counter()
            task(lambda *_, one=one, **__: one, "mouse")
            times.append(1000 * (time.perf_counter() - start))
        said(f"task, kernel's start included: {what}", times, None)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory() as folder, opened() as notebook:
        for name, shapes, looked_at in (("llama", llama(), LOOKED_AT), ("mixture", mixture(), "")):
            for seed, side in enumerate("ab"):
                path = Path(folder, name, side)
                path.mkdir(parents=True)
                write(path / "model.safetensors", shapes, seed, looked_at)
        one = opening(notebook, Path(folder, "llama"), "Llama-3-8B's shapes", rounds)
        searching(one, [f"layers.{layer} down" for layer in range(rounds)], "291 tensors")
        deciding(one, rounds)
        one = opening(notebook, Path(folder, "mixture"), "3,025 tensors", rounds)
        searching(one, [f"experts.{expert}.up" for expert in range(rounds)], "3,025 tensors")
        three_tasks(notebook, rounds)


if __name__ == "__main__":
    main()
