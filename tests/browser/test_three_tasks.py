"""Three tasks of an analyst, done in JupyterLab by mouse and by keyboard alone, with every action counted.

An action is a click, a choice in a list, a line that is typed, or a key that does something; keys that only carry the
focus from one control to the next count as none.
"""

import re
from xml.etree import ElementTree

import pytest

pytestmark = pytest.mark.browser

QUERY = "bert.encoder.layer.2.attention.self.query.weight"
SETUP = """
import torch, ken, kenviz
torch.manual_seed(7)
names = [f"bert.encoder.layer.{i}.attention.self.{part}.weight" for i in range(3) for part in ("query", "key", "value")]
before = {name: torch.randn(128, 96) * 0.05 for name in names}
# What is changed, and how much, differs from layer to layer and from row to row.
after = {name: values + torch.randn_like(values) ** 3 * 0.002 * torch.rand(128, 1) for name, values in before.items()}
pair = ken.Pair(after, before)
"""
EXPLORE = "explorer = kenviz.explore(pair, k=0.5)\nexplorer"


class Actions:
    """What a user does in a page, counted."""

    def __init__(self, one):
        self.one, self.count = one, 0
        self.press = one.page.keyboard.press

    def __call__(self, act):
        """One action, and what is drawn after it."""
        self.count += 1
        done = act()
        self.one.wait_until_idle()
        return done

    def focus(self, js):
        """Carry the focus on by Tab until a condition on `document.activeElement`, called `at`, is true."""
        for _ in range(150):
            if self.one.page.evaluate(f"(() => {{ const at = document.activeElement; return Boolean({js}); }})()"):
                return
            self.press("Tab")
        raise AssertionError(f"Tab does not lead to {js}")


@pytest.fixture(params=["mouse", "keyboard"])
def by(request):
    return request.param


def opened(quiet_notebook):
    one = quiet_notebook([SETUP, EXPLORE], fresh=True)
    one.page.evaluate("jupyterapp.shell.collapseLeft()")
    one.run_cell(0)
    return one


def run_explorer(one, actions, by):
    """Open the Explorer: one action."""
    if by == "mouse":
        actions(lambda: one.run_cell(1))
        return
    one.page.evaluate("lab.panel().content.activeCellIndex = 1; lab.panel().content.activate()")
    actions(lambda: (actions.press("Control+Enter"), one.wait("document.querySelector('.kenviz-explorer') !== null")))


def test_why_was_this_entry_kept(quiet_notebook, by):
    one = opened(quiet_notebook)
    actions = Actions(one)
    run_explorer(one, actions, by)
    find = one.page.get_by_label("find", exact=True)
    if by == "mouse":
        find.click()
    else:
        actions.focus("at.closest('.kenviz-find')")
    actions(lambda: one.page.keyboard.type("layer.2 query [112, 86]"))
    actions(lambda: actions.press("Enter"))
    one.wait_in_kernel(f"(explorer.tensor, explorer.row, explorer.column) == ({QUERY!r}, 112, 86)")
    card = "document.querySelector('.kenviz-aside .kenviz-card')"
    one.wait(f"{card}?.innerText.startsWith('Entry 86 in row 112 of ')")
    verdict = one.value(f"ken.explain(ken.prune(*pair, k=0.5, progress=False), pair, {QUERY!r}, 112).entry(86).text")
    assert one.page.evaluate(f"{card}.innerText").splitlines()[0] == verdict.splitlines()[0]
    assert actions.count <= 4


def choose(one, actions, label, option, by):
    """Choose a line of a list."""
    select = one.page.get_by_label(label, exact=True)
    if by == "mouse":
        actions(lambda: select.select_option(label=option))
        return
    actions.focus(f"at.tagName === 'SELECT' && at.labels[0]?.textContent === {label!r}")
    # What is typed in a list chooses the first line that begins so; a space would open it.
    actions(lambda: one.page.keyboard.type(option.partition(" ")[0]))
    chosen = one.page.evaluate("document.activeElement.selectedOptions[0].label")
    assert chosen.replace("\xa0", " ") == option  # ipywidgets writes spaces that do not break


def push(one, actions, name, by):
    """Push a button."""
    button = one.page.locator(".kenviz-explorer").get_by_role("button", name=name, exact=True).first
    if by == "mouse":
        actions(button.click)
        return
    actions.focus(f"at.tagName === 'BUTTON' && (at.ariaLabel ?? at.innerText) === {name!r}")
    actions(lambda: actions.press("Enter"))


def test_the_layer_that_kept_least_and_its_worst_row(quiet_notebook, by):
    one = opened(quiet_notebook)
    actions = Actions(one)
    run_explorer(one, actions, by)
    actions.count = 0  # the Explorer is open
    if by == "mouse":
        push(one, actions, "go", by)  # "layer with least of its update retained" is the first line
    else:
        actions.focus("at.tagName === 'SELECT' && at.labels[0]?.textContent === 'jump to'")
        push(one, actions, "go", by)
    one.wait("document.querySelector('.kenviz-remark')?.innerText.startsWith('Layer ')")
    choose(one, actions, "jump to", "row, here, with least of its update", by)
    if by == "keyboard":
        actions.press("Tab")
    push(one, actions, "go", by)
    one.wait("document.querySelector('.kenviz-remark')?.innerText.startsWith('Row ')")
    words = one.page.locator(".kenviz-remark").inner_text()
    tensor, row = one.value("(explorer.tensor, explorer.row)")
    one.execute(
        "table = ken.retention.table(explorer.net, pair)\n"
        "sums = table.groupby('layer')[['energy_retained', 'energy']].sum()\n"
        "layer = (sums['energy_retained'] / sums['energy']).idxmin()\n"
        "tensor = table[table['layer'] == layer]['update_share'].idxmin()\n"
        "row = ken.retention.rows(explorer.net, pair, tensor)['update_share'].idxmin()"
    )
    assert (tensor, row) == one.value("(tensor, int(row))")
    assert f"Row {row} of {tensor} retained least" in words
    assert one.page.locator(".kenviz-stage [role=tab][aria-selected=true]").inner_text() == "row"
    assert actions.count <= 4


def test_another_rule_side_by_side_as_a_picture(quiet_notebook, by, tmp_path):
    one = opened(quiet_notebook)
    actions = Actions(one)
    run_explorer(one, actions, by)
    actions.count = 0  # the Explorer is open
    if by == "mouse":
        actions(one.page.get_by_role("tab", name="comparison").click)
    else:
        actions.focus("at.closest('.kenviz-tabs')")
        actions(lambda: actions.press("End"))
    one.wait_in_kernel("explorer.stage == 'comparison'")
    choose(one, actions, "beside", "update", by)
    one.wait_in_kernel("explorer.stage_box.made['comparison'].rule == 'update'")
    one.wait(
        "Bokeh.documents.some((doc) => [...doc.all_models].some(({text}) => `${text}`.includes('update, k = 0.5')))"
    )
    with one.page.expect_download() as download:
        button = one.page.locator(".kenviz-stage").get_by_role("button", name=re.compile("SVG")).first
        if by == "mouse":
            actions(button.click)
        else:
            actions.focus("at.closest('.kenviz-stage') && /SVG/.test(at.ariaLabel ?? at.innerText)")
            actions(lambda: actions.press("Enter"))
    download.value.save_as(tmp_path / "picture.svg")
    text = " ".join(ElementTree.parse(tmp_path / "picture.svg").getroot().itertext())
    assert "this one" in text
    assert "update, k = 0.5" in text
    assert actions.count <= 5
