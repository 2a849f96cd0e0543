"""The lesson in JupyterLab: questions by keyboard and by tap, and nothing for axe to say."""

import pytest
from axe_playwright_python.sync_playwright import Axe

pytestmark = pytest.mark.browser

LESSON = """
import numpy as np, torch
import ken, kenviz
row = np.array([-82, -11, 3, 41, -5, 8, 95, -21, 1, 14, -36, 6, 22, -2, -9, 57]) / 1000
pair = ken.Pair({"w": torch.tensor(row)}, {"w": torch.zeros(16, dtype=torch.float64)})
lesson = kenviz.Lesson(ken.prune(*pair, k=8, progress=False), pair, number=3)
"""


def says(one, words):
    """The live region of the lesson has these words."""
    boxes = "[...document.querySelectorAll('.kenviz-view [role=status]')]"
    one.wait(f"words => {boxes}.some(box => box.innerText.includes(words))", words)


def tab_to(one, name):
    """Go on by Tab to the control of that name."""
    for _ in range(40):
        one.page.keyboard.press("Tab")
        if one.page.evaluate("document.activeElement.innerText || document.activeElement.ariaLabel") == name:
            return
    raise AssertionError(f"{name} is not reached by Tab")


def axe_is_silent(one):
    one.wait_until_idle()
    # What BokehJS puts into its own shadow roots is not ours.
    found = Axe().run(one.page, context={"include": [".kenviz-view"], "exclude": [[".bk-Column"], [".bk-Row"]]})
    said = [f"{rule['id']}: {node['html'][:200]}" for rule in found.response["violations"] for node in rule["nodes"]]
    assert said == []


def test_questions_are_answered_by_keyboard_and_by_tap(quiet_notebook):
    one = quiet_notebook([LESSON, "lesson"])
    one.run()
    before = one.column("retained", "column")
    assert len(before) == 6
    says(one, "The rule answers here.")
    axe_is_silent(one)

    one.page.get_by_label("entry", exact=True).focus()
    one.page.keyboard.type("10")
    one.page.keyboard.press("Enter")
    one.wait_for_column("chosen", "column", [10])
    assert one.value("lesson.answered") is None
    tab_to(one, "answer")
    one.page.keyboard.press("Enter")
    says(one, "No: the rule says entry 7.")
    axe_is_silent(one)
    says(one, "entries 0, 10 are nearer, but taken. Entry 10 (-0.036) had been claimed in step 3.")
    one.wait_for_column("claim", "column", [7])
    tab_to(one, "next question")
    one.page.keyboard.press("Enter")
    one.wait_in_kernel("lesson.number == 4")
    one.wait_for_column("chosen", "column", [])

    one.click("strip", -0.082, 0)  # the entry is free, in the lower lane
    one.wait_for_column("chosen", "column", [0])
    assert one.page.get_by_label("entry", exact=True).input_value() == "0"
    one.page.get_by_role("button", name="answer", exact=True).click()
    says(one, "Right.")
    one.wait("document.body.innerText.includes('1 of 2 right, 1 in a row')")

    one.page.get_by_role("button", name="next question").click()
    one.wait_in_kernel("lesson.number == 5")
    tab_to(one, "retained")
    one.page.keyboard.press("Enter")
    one.wait_in_kernel("lesson.score.asked == 3")
    says(one, "Another k lays another grid")
    one.use_theme("Dark")
    axe_is_silent(one)
