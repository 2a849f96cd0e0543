"""What all views owe, each in a real JupyterLab: twice, in step, by keyboard, with any name (more: test_all_views.py).

What the page holds is compared with what Python holds, column by column, for every named source of a view. That what
Python holds is right is tested without a browser.
"""

import json
import time
from pathlib import Path

import numpy as np
import pytest

pytestmark = pytest.mark.browser

TESTS = Path(__file__).parents[1]
SETUP = f"""
import sys
sys.path.insert(0, {str(TESTS)!r})
import json
import numpy as np, torch
import ken, kenviz
from bokeh.models import ColumnDataSource
from kenviz_models import HOSTILE, small_pair
from effect_tables import made_up as effects
from sweep_tables import made_up

def texts():
    torch.manual_seed(0)
    pair = ken.Pair(torch.nn.Linear(6, 3), torch.nn.Linear(6, 3))
    x = torch.randn(12, 6)
    labels = pair.fine_tuned(x).argmax(dim=1)

    def ask(model, batch):
        logits = model(batch[0])
        losses = torch.nn.functional.cross_entropy(logits, batch[1], reduction="none")
        return losses, logits.argmax(dim=1) == batch[1], logits.detach().softmax(dim=1)

    names, classes = [HOSTILE, *(f"text {{at}}" for at in range(1, 12))], ["red", HOSTILE, "blue"]
    task = ken.Task([(x, labels)], ask, names=names, classes=classes, labels=labels.numpy())
    return pair, ken.prune(*pair, 0.4, progress=False), task

def models(extra=()):
    pair = small_pair(extra=extra)
    return ken.prune(*pair, 0.5, progress=False), pair

def panes(view):
    return [one.pane for one in getattr(view, "in_sight", [view])]

def plain(value):
    value = value.tolist() if hasattr(value, "tolist") else value
    return [plain(one) for one in value] if isinstance(value, list | tuple) else value

def held(view):
    for one in [view, *getattr(view, "views", [])]:
        with one._lock:  # a change that has begun, in the thread that answers the page, has ended
            pass
    return {{
        source.name: {{name: plain(list(column)) for name, column in dict(source.data).items()}}
        for pane in panes(view) for source in pane.root.references()
        if isinstance(source, ColumnDataSource) and source.name
    }}

net, pair = models()
"""

#: name -> how the view is made of (net, pair), and what changes its state
VIEWS = {
    "RowView": ("kenviz.RowView(net, pair)", "view.row, view.k = 7, 5"),
    "MatrixView": ("kenviz.MatrixView(net, pair)", "view.rows, view.columns = (10, 40), (2, 20)"),
    "LayersView": (
        "kenviz.LayersView(net, pair, show='update')",
        "view.kind, view.rows = list(view._kinds)[0], (3, 9)",
    ),
    "NeighbourView": ("kenviz.NeighbourView(net, pair)", "view.rows, view.columns = (10, 40), (2, 20)"),
    "RetentionView": (
        "kenviz.RetentionView(net, pair)",
        "view.measure, view.tensor, view.strip = 'update_rms', 'layer.1.query.weight', 'rows'",
    ),
    "CompareView": (
        "kenviz.CompareView(net, ken.prune(*pair, 0.25, 'random', progress=False), pair)",
        "view.measure, view.tensor, view.rows = 'update_share_both', 'layer.1.query.weight', (3, 12)",
    ),
    "SideBySideView": (
        "kenviz.SideBySideView({HOSTILE: net}, pair, rule='update')",
        "view.tensor, view.rows, view.rule = 'layer.1.query.weight', (3, 12), 'random'",
    ),
    "SweepView": (
        "kenviz.SweepView(made_up(rule=HOSTILE), point=(HOSTILE, 'weights', 0.5, -1))",
        "view.quantity, view.scale, view.shown = 'difference', 'log', ('random',)",
    ),
    "EffectView": (
        "kenviz.EffectView(effects((HOSTILE, 'layer 0 query', 'layer 0 out', 'layer 1 query')), net=net)",
        "view.sort, view.top, view.group = 'entries', 3, 'layer 1 query'",
    ),
    "TextView": (
        "kenviz.TextView(*texts(), by='tensor')",
        "view.text = 3; view.find_flips(); view.pattern = 'text'",
    ),
    "Explorer": ("kenviz.explore(net, pair)", "view.tensor = 'layer.1.query.weight'; view.row = 3; view.column = 5"),
}


def held(one):
    """What Python holds: columns by source."""
    return json.loads(one.execute("print(json.dumps(held(view)))"))


def in_step(one, copies):
    """Wait until the page holds, in each copy of the view, what Python holds."""
    script = """([wanted, copies]) => Object.entries(wanted).every(([source, columns]) => {
        const found = lab.models(source).filter((model) => "data" in model);
        return found.length >= copies && found.every((model) => Object.entries(columns).every(
            ([name, values]) => JSON.stringify(lab.plain(model.data[name])) === JSON.stringify(values)));
    })"""
    deadline = time.monotonic() + 30
    while True:
        wanted = held(one)  # anew: what the page reports may still change it
        assert wanted
        if one.page.evaluate(script, [wanted, copies]):
            return
        if time.monotonic() > deadline:
            break
        one.page.wait_for_timeout(100)
    for source, columns in wanted.items():
        for index in range(copies):
            for name, values in columns.items():
                np.testing.assert_equal(one.column(source, name, index), values, f"{source}.{name}, copy {index}")
    raise AssertionError(f"there are not {copies} copies of the view in the page")


def reached_by_tab(one):
    """How many controls of the first copy can be seen, and which of them Tab does not reach."""
    return one.page.evaluate(
        """() => {
            const output = lab.panel().node.querySelector(".jp-OutputArea-output .lm-Widget");
            const controls = [...output.querySelectorAll("input, select, textarea, button, [role=slider]")]
                .filter((control) => control.offsetParent !== null && !control.disabled)
                // Of tabs, Tab reaches the chosen one, and arrows the others.
                .filter((control) => control.getAttribute("aria-selected") !== "false");
            const lost = controls.filter((control) => {
                if (control.tabIndex < 0) return true;
                control.focus();
                return document.activeElement !== control;
            });
            return [controls.length, lost.map((control) => control.outerHTML.slice(0, 200))];
        }"""
    )


@pytest.mark.parametrize("name", VIEWS)
def test_view(quiet_notebook, name):
    make, change = VIEWS[name]
    one = quiet_notebook([SETUP, f"view = {make}\nview", "view"])
    one.run()
    in_step(one, 2)

    one.execute(change)
    in_step(one, 2)

    controls, lost = reached_by_tab(one)
    assert controls > 0
    assert lost == []
    nameless = one.page.evaluate(
        """() => [...lab.panel().node.querySelectorAll(".jp-OutputArea-output input, .jp-OutputArea-output select")]
            .filter(({labels, ariaLabel, title, placeholder}) => !(labels?.length || ariaLabel || title || placeholder))
            .map((control) => control.outerHTML.slice(0, 200))"""
    )
    assert nameless == []
    figures = one.page.evaluate(
        "[...lab.panel().node.querySelectorAll('[role=figure]')].map((figure) => figure.ariaLabel)"
    )
    assert set(figures) == set(one.value("[pane.text for pane in panes(view)]"))

    one.execute("net, pair = models([HOSTILE, HOSTILE + '.0.w'])")
    one.run_cell(1)
    one.run_cell(2)
    one.execute(
        "if hasattr(view, 'kind'): view.kind = HOSTILE + '.*.w'\nelif hasattr(view, 'tensor'): view.tensor = HOSTILE"
    )
    in_step(one, 2)
    said = one.page.evaluate("lab.panel().node.innerText")
    assert "alert(1)</script>" in said
    assert one.dialogs == []
    assert one.page.evaluate("[...document.scripts].some((script) => script.text.includes('alert(1)'))") is False
