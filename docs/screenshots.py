"""Take the pictures of the README again: the quickstart notebook in a real JupyterLab in a real Chromium.

Usage: make screenshots
"""

import sys
import tempfile
from pathlib import Path

from playwright.sync_api import sync_playwright

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests" / "browser"))

from lab import CHROMIUM, Lab, Notebook, chromium  # noqa: E402

# A cell to bring to the top of the window -> the picture it is on.
PICTURES = {"row = kenviz.RowView": "row", "matrix = kenviz.MatrixView": "matrix", "layers = ": "layers"}


def main() -> None:
    """Run the notebook and write docs/<picture>.png."""
    with tempfile.TemporaryDirectory() as folder, Lab.running(Path(folder)) as lab, sync_playwright() as playwright:
        context = playwright.chromium.launch_persistent_context(
            f"{folder}-profile",
            executable_path=chromium(),
            args=list(CHROMIUM),
            viewport={"width": 1180, "height": 760},
        )
        notebook = Notebook(context.new_page(), lab, lab.add(ROOT / "notebooks" / "01_quickstart.ipynb"))
        notebook.page.evaluate("jupyterapp.shell.collapseLeft()")
        notebook.run()
        for start, name in PICTURES.items():
            notebook.page.evaluate(
                """async start => {
                    const cells = lab.panel().content.widgets;
                    const cell = cells.find(c => c.model.sharedModel.source.startsWith(start));
                    cell.node.scrollIntoView({block: 'start'});
                }""",
                start,
            )
            notebook.wait_until_idle()
            notebook.page.wait_for_timeout(500)  # scrolling and drawing end
            notebook.screenshot(ROOT / "docs" / f"{name}.png")
        notebook.close()
        context.close()


if __name__ == "__main__":
    main()
