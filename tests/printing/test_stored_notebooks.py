"""What a notebook keeps of a view, and what nbconvert makes of it."""

import base64
import html
import re

import nbformat
import pytest
from IPython.core.formatters import DisplayFormatter
from kenviz_models import small_pair
from nbconvert import HTMLExporter

import ken
import kenviz


@pytest.fixture
def view():
    pair = small_pair()
    return kenviz.RowView(ken.prune(*pair, 0.5, progress=False), pair, "layer.1.query.weight")


def notebook_of(view):
    """A notebook with a cell that was executed, as the kernel and the front end make it."""
    data, metadata = view._repr_mimebundle_()
    output = nbformat.v4.new_output("execute_result", data, metadata=metadata, execution_count=1)
    cell = nbformat.v4.new_code_cell("view", outputs=[output], execution_count=1)
    notebook = nbformat.v4.new_notebook(cells=[cell])
    nbformat.validate(notebook)
    return notebook


@pytest.mark.filterwarnings("ignore")  # of nbconvert itself
@pytest.mark.parametrize("template", ["lab", "classic"])
def test_nbconvert_shows_the_picture_with_its_caption_as_alternative_text(view, template):
    notebook = notebook_of(view)
    page, _ = HTMLExporter(template_name=template).from_notebook_node(notebook)
    [picture] = re.findall(r"<img[^>]*>", page.partition("<body")[2])
    assert notebook.cells[0].outputs[0].data["image/png"][:80] in picture.replace("\n", "")
    if template == "classic":  # that of JupyterLab has no alternative texts; the caption is in the picture, too
        assert view.caption in html.unescape(picture)


def test_a_kernel_sends_the_picture_as_notebooks_have_it(view):
    data, metadata = DisplayFormatter().format(view)
    assert base64.b64decode(data["image/png"], validate=True).startswith(b"\x89PNG")
    assert metadata["image/png"]["alt"] == view.caption
