"""The stored notebooks: executed whole, in order, and fit to be read."""

import re
from pathlib import Path

import nbformat
import pytest

NOTEBOOKS = sorted((Path(__file__).parent.parent / "notebooks").glob("*.ipynb"))


@pytest.fixture(params=NOTEBOOKS, ids=lambda path: path.stem)
def path(request):
    return request.param


def test_the_chapters_are_numbered_without_a_gap():
    assert [int(path.name[:2]) for path in NOTEBOOKS] == [*range(1, 12)]


def test_it_begins_with_a_title_and_a_learning_goal(path):
    first = nbformat.read(path, as_version=4).cells[0]
    assert first.cell_type == "markdown"
    assert first.source.startswith("# ")
    assert "\n**Goal.** At the end of this chapter you " in first.source


def test_its_cells_are_short_and_introduced(path):
    cells = nbformat.read(path, as_version=4).cells
    for cell in cells:
        if cell.cell_type == "code":
            assert len(cell.source.splitlines()) <= 20, cell.source
    assert sum(cell.cell_type == "markdown" for cell in cells) >= 0.4 * len(cells)


@pytest.mark.parametrize(
    "chapter", ["02_how_ken_decides", "05_choosing_k", "10_beyond_one_machine", "11_did_it_keep_what_matters"]
)
def test_every_exercise_has_a_hidden_solution_that_is_checked(chapter):
    (path,) = [path for path in NOTEBOOKS if path.stem == chapter]
    cells = nbformat.read(path, as_version=4).cells
    exercises = [i for i, cell in enumerate(cells) if cell.source.startswith("**Exercise ")]
    assert [cells[i].source[:13] for i in exercises] == [f"**Exercise {n}." for n in range(1, len(exercises) + 1)]
    assert len(exercises) >= 3
    for start, end in zip(exercises, [*exercises[1:], len(cells)], strict=True):
        (solution,) = [cell for cell in cells[start:end] if "solution" in cell.metadata.get("tags", [])]
        assert solution.metadata["jupyter"] == {"source_hidden": True, "outputs_hidden": True}
        assert "assert " in solution.source
        assert solution.source.startswith("# Solution of exercise "), "the first line shows while it is folded"
        assert solution.outputs == [], "JupyterLab unfolds an output when the cell is run"


def test_every_code_cell_was_executed_in_order_without_error(path):
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    for cell in code:
        assert all(output.output_type in {"stream", "execute_result", "display_data"} for output in cell.outputs)
        assert all(output.get("name") != "stderr" for output in cell.outputs), cell.source
        last = cell.source.strip().splitlines()[-1]
        if re.match(r"[\w.\[\]\"'(), ]+$", last) and not re.match(r"(import|from|assert)\b", last):
            assert cell.outputs, f"no output is stored for: {cell.source}"


def test_a_cell_whose_output_may_differ_asserts_something_instead(path):
    for cell in nbformat.read(path, as_version=4).cells:
        if "nbval-ignore-output" in cell.metadata.get("tags", []):
            assert "assert " in cell.source or "View(" in cell.source, cell.source


def test_it_is_small_and_says_nothing_of_a_machine_or_a_clock(path):
    text = path.read_text(encoding="utf-8")
    assert len(text) < 400_000  # a picture of each view among it
    for pattern in (
        r"(?<![\w.>/])/(?:tmp|usr|opt|var|home)/\w",
        r"it/s",
        r"\d\d:\d\d<",
        r"widget-state",
        r"iopub",
        r"\bat 0x",
        r"Wall time",
    ):
        assert re.search(pattern, text) is None, pattern
