"""EffectView and TextView in JupyterLab: each control changes the right column, and what the page holds is true."""

import pytest
from test_views_browser import SETUP, in_step, reached_by_tab

pytestmark = pytest.mark.browser

EFFECTS = (
    SETUP
    + """
from effect_tables import attributed, made_up as effects
from ken.evaluation import members

places = members({name: tensor.shape for name, tensor in pair.pretrained.items()}, "place")
worth = {name: -0.2 * (i + 1) / len(names) for i, names in enumerate(places.values()) for name in names}
table = effects(tuple(places))
explorer = kenviz.explore(net, pair)
view = kenviz.EffectView(table, attributed(pair, worth), net, explorer=explorer)
"""
)
TEXTS = (
    SETUP
    + """
torch.manual_seed(0)
models = ken.Pair(*[torch.nn.Sequential(torch.nn.Linear(6, 5), torch.nn.Tanh(), torch.nn.Linear(5, 3)) for _ in "ab"])
x = torch.randn(12, 6)
labels = models.fine_tuned(x).argmax(dim=1)

def ask(model, batch):
    logits = model(batch[0])
    losses = torch.nn.functional.cross_entropy(logits, batch[1], reduction="none")
    return losses, logits.argmax(dim=1) == batch[1], logits.detach().softmax(dim=1)

names = [HOSTILE, *[f"text {i}" for i in range(1, 12)]]
task = ken.Task([(x, labels)], ask, names=names, classes=["red", HOSTILE, "blue"], labels=labels.numpy())
view = kenviz.TextView(models, ken.prune(*models, 0.4, progress=False), task, by="tensor")
"""
)


def test_groups_are_sorted_searched_and_chosen_in_the_page(quiet_notebook):
    one = quiet_notebook([EFFECTS + "\nview", "view"])
    one.run()
    in_step(one, 2)
    one.page.get_by_label("sorted by", exact=True).first.select_option("entries")
    one.wait_in_kernel("view.sort == 'entries'")
    in_step(one, 2)
    one.page.get_by_placeholder("part of a name, or *query*").first.fill("query")
    one.wait_in_kernel("view.pattern == 'query'")
    in_step(one, 2)
    one.page.get_by_role("button", name="show all").first.click()
    one.wait_in_kernel("(view.pattern, view.top) == ('', 0)")
    in_step(one, 2)
    at = one.value("view.numbers().index.tolist().index('layer 1 query')")
    one.click("panel_only", one.column("marks_only", "value")[at], at)
    one.wait_in_kernel("view.group == 'layer 1 query' and explorer.tensor == 'layer.1.query.weight'")
    one.wait_for_property("chosen_without", "visible", True)
    assert "judged together" in one.page.evaluate("lab.panel().node.querySelector('.kenviz-card-box').innerText")
    controls, lost = reached_by_tab(one)
    assert controls > 4
    assert lost == []
    one.use_theme("Dark")
    one.wait("lab.papers(true)")
    one.use_theme("Light")
    one.reload()
    in_step(one, 2)


def test_a_group_tapped_in_the_page_opens_in_the_matrix_of_its_explorer(quiet_notebook):
    make = "view = kenviz.explore(net, pair, attribution=attributed(pair, worth), ablation=table)"
    one = quiet_notebook([EFFECTS + f"\n{make}\nview"])
    one.run()
    in_step(one, 1)
    one.page.get_by_role("tab", name="effects", exact=True).click()
    one.wait_in_kernel("view.stage == 'effects'")
    in_step(one, 1)
    at = one.value("view.effects.numbers().index.tolist().index('layer 1 query')")
    one.click("panel_only", one.column("marks_only", "value")[at], at)
    one.wait_in_kernel("view.effects.group == 'layer 1 query' and view.matrix.tensor == 'layer.1.query.weight'")
    in_step(one, 1)
    one.page.get_by_role("tab", name="matrix", exact=True).click()
    one.wait_in_kernel("view.stage == 'matrix'")
    in_step(one, 1)
    titles = one.page.evaluate(
        "Bokeh.documents.flatMap((doc) => [...doc.all_models]).filter((m) => m.name === 'name').map((m) => m.text)"
    )
    assert "layer.1.query.weight" in titles


def test_a_text_is_chosen_and_what_flips_it_is_found_in_the_page(quiet_notebook):
    one = quiet_notebook([TEXTS + "\nview", "view"])
    one.run()
    in_step(one, 2)
    one.page.locator("select[size]").first.select_option(index=3)
    one.wait_in_kernel("view.text == 3")
    assert one.model_property("panel_flips", "visible") is False
    invitation = one.page.get_by_text("Press “what flips it”", exact=False).first
    assert invitation.is_visible()
    one.page.get_by_role("button", name="what flips it").first.click()
    one.wait_in_kernel("3 in view._flips")
    in_step(one, 2)
    assert len(one.column("marks_flips", "y")) == 4
    one.wait_for_property("panel_flips", "visible", True)
    assert not invitation.is_visible()
    drawn = "Bokeh.index.find_one(lab.model('panel_flips')).bbox"
    one.wait(f"() => {drawn}.width > 200 && {drawn}.height > 100")
    one.page.get_by_label("listed", exact=True).first.select_option("that pruning flips")
    one.wait_in_kernel("view.only == 'flipped'")
    controls, lost = reached_by_tab(one)
    assert controls > 4
    assert lost == []
    assert one.dialogs == []
