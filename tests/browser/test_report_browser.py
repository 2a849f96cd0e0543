"""The report, opened from a file in a browser that has no network."""

import pytest
from kenviz_models import HOSTILE, small_pair

import ken
import kenviz
from kenviz.figures.labels import visible

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    pair = small_pair(extra=[HOSTILE])
    return kenviz.report(ken.prune(*pair, 0.5), pair, tmp_path_factory.mktemp("report") / "r.html", title=HOSTILE)


@pytest.fixture(params=["light", "dark"])
def page(request, browser, report):
    page = browser.new_page()
    asked, errors = [], []
    page.on("request", lambda r: asked.append(r.url) if not r.url.startswith(("file:", "data:", "blob:")) else None)
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda m: errors.append(m.text) if m.type in {"error", "warning"} else None)
    page.on("dialog", lambda dialog: (errors.append(dialog.message), dialog.dismiss()))
    page.context.set_offline(True)
    page.emulate_media(color_scheme=request.param)
    page.goto(report.as_uri())
    page.wait_for_function("Bokeh.documents.length === 7 && Bokeh.documents.every(d => d.is_idle)")
    yield page
    page.context.set_offline(False)
    page.close()
    assert asked == []
    assert errors == []


def papers(page):
    return set(
        page.evaluate(
            "Bokeh.documents.flatMap(d => [...d.all_models].filter(m => 'min_border_left' in m)"
            ".map(m => m.background_fill_color))"
        )
    )


def test_figures_are_drawn_in_the_theme_of_the_reader_and_on_white_in_print(page):
    dark = page.evaluate("matchMedia('(prefers-color-scheme: dark)').matches")
    paper = "#181a1b" if dark else "#ffffff"
    page.wait_for_function(
        "paper => Bokeh.documents.every(d => [...d.all_models].every(m => !('min_border_left' in m)"
        " || m.background_fill_color === paper))",
        arg=paper,
    )
    assert papers(page) == {paper}
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert papers(page) == {"#ffffff"}
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert papers(page) == {paper}


def test_the_table_can_be_searched_and_names_are_text(page):
    assert page.locator("h1").text_content() == visible(HOSTILE)
    page.fill("#search", "no pretrained")
    assert page.locator("#all tbody tr:visible td:first-child").all_text_contents() == ["head.weight"]
    page.fill("#search", "<script>")
    (shown,) = page.locator("#all tbody tr:visible td:first-child").all_text_contents()
    assert shown == visible(HOSTILE)


def test_nothing_sticks_out_of_a_narrow_window(page):
    page.set_viewport_size({"width": 420, "height": 800})
    # Figures follow the window a moment later, one by one.
    page.wait_for_function("document.documentElement.scrollWidth <= 420")
