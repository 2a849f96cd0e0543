"""The report, opened from a file in a browser that has no network."""

import csv
import re
import zlib

import numpy as np
import pandas as pd
import pytest
from axe_playwright_python.sync_playwright import Axe
from kenviz_models import HOSTILE, small_pair

import ken
import kenviz
from kenviz.text.labels import visible

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def models():
    return small_pair(extra=[HOSTILE])


@pytest.fixture(scope="module")
def net(models):
    return ken.prune(*models, 0.5)


@pytest.fixture(scope="module")
def report(models, net, tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    results = ken.sweep(models, [0.25, 0.5], evaluate=lambda _: 0.5, seeds=(0, 1), progress=False)
    told = {"title": HOSTILE, "results": results, "compare": ken.prune(*models, 0.5, "random"), "metric": "=accuracy"}
    return kenviz.report(net, models, folder / "r.html", **told)


BOTH = pytest.mark.parametrize("page", ["light", "dark"], indirect=True)


@pytest.fixture
def page(request, browser, report):
    """The report in the browser; of a system with dark colours, if a test asks for that."""
    page = browser.new_page()
    asked, errors = [], []
    page.on("request", lambda r: asked.append(r.url) if not r.url.startswith(("file:", "data:", "blob:")) else None)
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda m: errors.append(m.text) if m.type in {"error", "warning"} else None)
    page.on("dialog", lambda dialog: (errors.append(dialog.message), dialog.dismiss()))
    # This page alone: JupyterLab, in pages that other tests have left, would say that it has lost its server.
    offline = {"offline": True, "latency": 0, "downloadThroughput": -1, "uploadThroughput": -1}
    page.context.new_cdp_session(page).send("Network.emulateNetworkConditions", offline)
    page.emulate_media(color_scheme=getattr(request, "param", "light"))
    page.goto(report.as_uri())
    page.wait_for_selector("#figure[data-ready]")
    page.wait_for_function("Bokeh.documents.length === 1 && Bokeh.documents.every(d => d.is_idle)")
    yield page
    page.close()
    assert asked == []
    assert errors == []


def model(page, name, prop):
    return page.evaluate(
        "([name, prop]) => { const of = Bokeh.documents[0].get_model_by_name(name)[prop];"
        " return of instanceof Map ? Object.fromEntries(of) : of }",
        [name, prop],
    )


def tiles(page):
    """The picture of the matrix that is shown, as shares in percent."""
    values, shape = page.evaluate(
        "() => { const [image] = Bokeh.documents[0].get_model_by_name('tiles').data.image;"
        " return [[...image], image.shape] }"
    )
    return np.reshape(values, shape)


def papers(page):
    return page.evaluate(
        "[...new Set([...Bokeh.documents[0].all_models].filter(m => 'min_border_left' in m)"
        ".map(m => m.background_fill_color).concat(getComputedStyle(document.body).backgroundColor))]"
    )


def download(page, selector):
    with page.expect_download() as found:
        page.click(selector)
    text = found.value.path().read_text(encoding="utf-8-sig")
    return found.value.suggested_filename, list(csv.reader(text.splitlines()))


@BOTH
def test_figures_and_page_follow_the_system_and_the_switch(page):
    dark, light = ["#181a1b", "rgb(24, 26, 27)"], ["#ffffff", "rgb(255, 255, 255)"]
    assert papers(page) == (dark if page.evaluate("matchMedia('(prefers-color-scheme: dark)').matches") else light)
    for name, paper in (("dark", dark), ("light", light)):
        page.select_option("#colours", name)
        assert papers(page) == paper


def test_a_cell_brings_its_matrix_and_rows_by_mouse_list_keyboard_and_table(page, net):
    matrices = model(page, "cells", "data")["tensor"]

    def shown(name):
        index = matrices.index(name)
        page.wait_for_function(
            "index => document.getElementById('matrix').value === String(index)"
            " && Bokeh.documents[0].get_model_by_name('cells').selected.indices[0] === index",
            arg=index,
        )
        assert (
            page.locator("#shown").text_content().startswith(page.locator("#matrix option").nth(index).text_content())
        )

    def exact(name):
        assert tiles(page).tolist() == (100 * net[name].row_mask()).tolist()

    shown("embed.weight")
    mask = net["embed.weight"].row_mask()
    down = -(-300 // 128)
    wanted = [[100 * mask[i : i + down, [j]].mean() for j in range(24)] for i in range(0, 300, down)]
    assert tiles(page) == pytest.approx(np.array(wanted))
    assert "each tile is the share of retained entries of 3 rows × 1 columns" in page.locator("#shown").text_content()

    page.select_option("#matrix", label="layer.1.query.weight")
    shown("layer.1.query.weight")
    exact("layer.1.query.weight")
    page.focus("#matrix")
    page.keyboard.press("ArrowDown")
    shown("layer.1.out.weight")
    exact("layer.1.out.weight")
    before = model(page, "row_title", "text")
    page.focus("[name=row]:checked")
    page.keyboard.press("ArrowRight")
    page.wait_for_function("before => Bokeh.documents[0].get_model_by_name('row_title').text !== before", arg=before)
    row = int(re.match(r"row (\d+):", model(page, "row_title", "text"))[1])
    bins = model(page, "bins", "data")
    width = bins["right"][0] - bins["left"][0]
    assert sum(bins["retained"]) * width == pytest.approx(net["layer.1.out.weight"].row_mask()[row].mean())
    assert sum(bins["all"]) * width == pytest.approx(1)

    at = page.evaluate(
        """() => {
          const view = Bokeh.index.find_one(Bokeh.documents[0].get_model_by_name("map"));
          view.el.scrollIntoView({block: "center"});
          const {left, top} = view.canvas_view.el.getBoundingClientRect();
          const {data} = Bokeh.documents[0].get_model_by_name("cells");
          const i = data.tensor.indexOf("layer.0.query.weight");
          return [left + view.frame.x_scale.compute(data.layer[i]), top + view.frame.y_scale.compute(data.kind[i])];
        }"""
    )
    page.mouse.click(*at)
    shown("layer.0.query.weight")
    exact("layer.0.query.weight")
    page.fill("#search", "<script>")
    page.click("#all button.name:visible")
    shown(HOSTILE)


def test_the_table_is_sorted_by_mouse_and_keyboard_and_searched(page, models, net):
    names = "#all tbody tr:visible td:first-child"
    table = net.table().join(ken.retention.table(net, models)[["update_share"]])
    page.click("#all thead button >> text=share of the update")
    wanted = table["update_share"].sort_values(kind="stable").index
    assert page.locator(names).all_text_contents() == [visible(name) for name in wanted]
    page.locator("#all thead button >> text=share of the update").press("Enter")
    known = table["update_share"].dropna().sort_values(ascending=False).index
    assert page.locator(names).all_text_contents()[: len(known)] == [visible(name) for name in known]
    assert page.locator("#all th[aria-sort]").get_attribute("aria-sort") == "descending"
    page.fill("#search", "no pretrained")
    assert page.locator(names).all_text_contents() == ["head.weight"]
    assert page.locator("#found").text_content() == f"1 of {len(table)} tensors"


def test_the_data_behind_the_figures_comes_as_files(page, models, net):
    name, lines = download(page, "button[data-download=tensors]")
    assert name == "tensors.csv"
    assert [line[0] for line in lines[1:]] == [visible(of) for of in net.table().index]
    assert [float(line[6]) for line in lines[1:]] == net.table()["retained"].to_list()
    _, lines = download(page, "button[data-download=map]")
    table = ken.retention.table(net, models).query("rows > 1")
    kept = pd.DataFrame(lines[1:], columns=lines[0])
    assert kept["update_share"].astype(float).to_list() == pytest.approx(table["update_share"].to_list())
    page.select_option("#matrix", label="layer.1.query.weight")
    mask = net["layer.1.query.weight"].row_mask()
    _, lines = download(page, "button[data-what=matrix]")
    assert [int(line[4]) for line in lines[1:]] == mask.ravel().astype(int).tolist()
    _, lines = download(page, "button[data-what=row]")
    assert sum(int(line[4]) for line in lines[1:] if line[0] == "bar") == 24
    _, lines = download(page, "button[data-download=matrix-0]")
    assert sum(int(line[4]) for line in lines[1:]) == net["embed.weight"].retained
    # What a spreadsheet would take for a formula is text.
    assert page.evaluate("[cell('=1+1'), cell('a\"b,c'), cell(-1), cell(null)].join('|')") == '\'=1+1|"a""b,c"|-1|'


def test_names_are_text_and_nothing_sticks_out_of_a_narrow_window(page):
    assert page.locator("h1").text_content() == visible(HOSTILE)
    page.set_viewport_size({"width": 420, "height": 800})
    # Figures follow the window a moment later, one by one.
    page.wait_for_function("document.documentElement.scrollWidth <= 420")


@BOTH
def test_it_breaks_no_rule_of_accessibility(page):
    found = Axe().run(page, options={"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "best-practice"]})
    serious = [of for of in found.response["violations"] if of["impact"] in {"serious", "critical"}]
    assert [(of["id"], [node["html"][:200] for node in of["nodes"]]) for of in serious] == []


def test_on_paper_it_is_a_document(page, report):
    wide = page.evaluate("document.documentElement.scrollWidth")
    pdf = page.pdf(prefer_css_page_size=True)
    assert wide <= page.viewport_size["width"]
    streams = b"".join(_inflated(of) for of in re.findall(rb"stream\r?\n(.*?)endstream", pdf, re.DOTALL))
    pages = len(re.findall(rb"/Type\s*/Page\b", pdf + streams))
    assert 4 <= pages <= 12
    page.emulate_media(media="print")
    hidden = ["#colours", "#search", "#figure", "nav", "[data-download]", "#all thead button"]
    assert [name for name in hidden if page.locator(name).first.is_visible()] == []
    assert page.locator(".paper svg").is_visible()
    assert page.evaluate("getComputedStyle(document.querySelector('#all thead')).display") == "table-header-group"
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    # A4 less its margins is 695 px wide, 1009 px high: nothing is wider, and no figure higher than a page.
    page.set_viewport_size({"width": 695, "height": 1009})
    assert page.evaluate("document.documentElement.scrollWidth") <= 695
    heights = page.evaluate("[...document.querySelectorAll('figure')].map(of => of.offsetHeight)")
    assert max(heights) < 1009
    page.emulate_media(media="screen")


def _inflated(stream):
    try:
        return zlib.decompress(stream.strip(b"\r\n"))
    except zlib.error:
        return b""
