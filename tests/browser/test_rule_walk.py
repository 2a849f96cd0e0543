"""The rule in JavaScript of docs/rule.md: it decides as ken does, and can be walked through by keyboard."""

import re
from pathlib import Path

import numpy as np
import pytest
from axe_playwright_python.sync_playwright import Axe

import ken

pytestmark = pytest.mark.browser

DOCS = Path(__file__).parents[2] / "docs"
WALK = re.search(r'<div class="rule-walk" data-row="(.*?)".*?></div>', (DOCS / "rule.md").read_text(encoding="utf-8"))
EXAMPLE = [float(value) for value in WALK[1].split(",")]
RANDOM = np.random.default_rng(19)
ROWS = {
    "the example": EXAMPLE,
    "backwards": EXAMPLE[::-1],
    "a hundred times as large": [100 * value for value in EXAMPLE],
    "a million times smaller": [value / 1e6 for value in EXAMPLE],
    "a billion times smaller": [value / 1e9 for value in EXAMPLE],
    "equal values": [0.0] * 5 + [1.0] * 5 + [0.5] * 3 + [0.25, 0.25, 3.0],
    "all equal": [0.125] * 7,
    "even steps": list(np.arange(16.0)),
    "symmetric": [*range(-8, 0), *range(1, 9)],
    "halfway": [0.0, 0.25, 0.5, 0.75, 1.0, 0.125, 0.375, 0.625, 0.875],
    "signed zeros": [0.0, -0.0, 1e-3, -1e-3, 0.0],
    "two": [2.0, -1.0],
    "one": [3.5],
    "two hills": [*RANDOM.normal(-1, 0.1, 12), *RANDOM.normal(1, 0.1, 12)],
    "heavy tails": RANDOM.standard_cauchy(24).tolist(),
    **{f"normal {i}": RANDOM.normal(0, 0.03, 20).tolist() for i in range(5)},
    **{f"with few digits {i}": RANDOM.normal(0, 0.03, 20).round(2).tolist() for i in range(5)},
}


@pytest.fixture
def page(browser):
    """A page with the walk of docs/rule.md, its script and its style, and nothing else."""
    page = browser.new_page()
    errors = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    style = (DOCS / "assets" / "rule-walk.css").read_text(encoding="utf-8")
    page.set_content(f'<!doctype html><html lang="en"><title>t</title><style>{style}</style><main>{WALK[0]}</main>')
    assert page.locator(".rule-walk").bounding_box()["height"] == 0  # without the script it takes no room
    page.add_script_tag(path=DOCS / "assets" / "rule-walk.js")
    yield page
    assert errors == []
    page.close()


def test_the_script_decides_as_ken_does(page):
    """Every claim, in its order, with what was taken before, and the mask: exactly."""
    asked = [(name, row, k) for name, row in ROWS.items() for k in range(1, len(row) + 1)]
    made = page.evaluate("asked => asked.map(([name, row, k]) => kenRule.decide(row, k))", asked)
    collisions = 0
    for (name, row, k), script in zip(asked, made, strict=True):
        why = ken.explain_row(np.array(row, dtype=float), k)
        place = f"{name}, k = {k}"
        assert script["mask"] == why.mask.tolist(), place
        assert script["grid"] == why.grid.tolist(), place
        assert script["level"] == why.level.tolist(), place
        assert script["order"] == why.order.tolist(), place
        claims = [why.claim(step) for step in range(1, len(why.order) + 1)]
        said = [(claim["point"], claim["at"], claim["entry"], claim["distance"]) for claim in script["claims"]]
        assert said == [(claim.point, claim.at, claim.entry, claim.distance) for claim in claims], place
        assert [tuple(claim["taken"]) for claim in script["claims"]] == [claim.taken for claim in claims], place
        assert script["h"] == pytest.approx(why.bandwidth if claims else 0, rel=1e-12), place
        assert script["density"] == pytest.approx(why.density.tolist(), rel=1e-9), place
        collisions += sum(bool(claim.taken) for claim in claims)
    assert collisions > 100
    assert (
        page.evaluate("[0.5, 1.5, 2.5, 2 ** 33 + 2, 2 ** 33 + 6].map(kenRule.level)")
        == ken.density.levels(np.array([0.5, 1.5, 2.5, 2.0**33 + 2, 2.0**33 + 6])).tolist()
    )
    assert page.evaluate("(() => { try { kenRule.decide([1, 2], 0) } catch (error) { return error.message } })()") == (
        "k must be at least 1, got 0"
    )


def test_the_walk_goes_from_the_bandwidth_to_the_mask_by_keyboard(page):
    why = ken.explain_row(np.array(EXAMPLE), 8)
    words = page.locator(".rw-words")
    page.get_by_role("button", name="next").focus()
    seen = [words.inner_text()]
    for _ in range(20):  # more than there are: the last one stays
        page.keyboard.press("Enter")
        seen.append(words.inner_text())
    assert len(set(seen)) == 5 + 8 + 1
    assert [text.partition(".")[0] for text in seen[:5]] == ["Bandwidth", "Grid", "Density", "Levels", "Visits"]
    assert f"h = 1.06 σ n^(−1/5) = {why.bandwidth:.4f}" in seen[0]
    for step, text in enumerate(seen[5:13], 1):
        claim = why.claim(step)
        assert text.startswith(f"Claim {step} of 8. Point {claim.point} at ")
        assert f"claims entry {claim.entry} (" in text
        assert ("but taken" in text) == bool(claim.taken)
    assert seen[13].startswith(f"Mask. Retained: entries {', '.join(map(str, np.flatnonzero(why.mask)))}.")
    page.keyboard.press("ArrowLeft")
    assert words.inner_text().startswith("Claim 8 of 8.")

    page.get_by_label("k", exact=True).focus()
    page.keyboard.press("End")
    assert words.inner_text().startswith("Mask. k = 16 retains the whole row")
    page.keyboard.press("Home")
    page.get_by_label("step", exact=True).focus()
    page.keyboard.press("End")
    assert words.inner_text().startswith("Mask. Retained: entry 0.")
    assert page.locator(".rw-kept").count() == 1


@pytest.mark.parametrize("scheme", ["default", "slate"])
def test_axe_has_nothing_to_say_about_the_walk(page, scheme):
    page.evaluate("scheme => document.body.dataset.mdColorScheme = scheme", scheme)
    if scheme == "slate":
        page.add_style_tag(content="body { background: #1e2129; --md-default-fg-color: #e2e4e9 }")
    for _ in range(6):
        page.get_by_role("button", name="next").click()
    found = Axe().run(page).response["violations"]
    assert [(one["id"], one["nodes"][0]["html"][:200]) for one in found if one["id"] != "page-has-heading-one"] == []
