"""Take out of executed notebooks what changes from run to run: times, versions of the kernel, identifiers of widgets.

Usage: python notebooks/tidy.py NOTEBOOK...
"""

import sys
from pathlib import Path

import nbformat


def tidy(path: Path) -> None:
    """Rewrite one notebook in place."""
    notebook = nbformat.read(path, as_version=4)
    notebook.metadata = {
        "kernelspec": {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    for number, cell in enumerate(notebook.cells):
        cell["id"] = f"cell-{number:02d}"
        cell.metadata.pop("execution", None)
        for output in cell.get("outputs", []):
            # Without its kernel the identifier of a widget leads nowhere: the text form is what can be kept.
            output.get("data", {}).pop("application/vnd.jupyter.widget-view+json", None)
    nbformat.write(notebook, path)


if __name__ == "__main__":
    for name in sys.argv[1:]:
        tidy(Path(name))
