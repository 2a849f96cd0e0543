"""MatrixView and LayersView in JupyterLab and Voilà: controls, wheel, tap; the page against the models' numbers."""

import numpy as np
import pytest
from test_views_browser import SETUP, in_step

pytestmark = pytest.mark.browser

# Numbers of the models, by hand, for the test to compare with; and a count of how often tiles were computed.
BY_HAND = """
QUERY = "layer.1.query.weight"
def models_say(tensor):
    fine_tuned, pretrained = (model[tensor].double().numpy() for model in pair)
    return {"update": (fine_tuned - pretrained).tolist(), "mask": net[tensor].mask().tolist(),
            "fine_tuned": fine_tuned.tolist()}
"""


def decoded(one, source="tiles", index=0):
    """The image of the page in what it stands for, NaN where there is none; and the end of the scale."""
    codes = np.array(one.column(source, "image", index)[0], dtype=float)
    low, high = one.model_property("scale", "low", index), one.model_property("scale", "high", index)
    most = len(one.model_property("scale", "palette", index)) - 1
    return np.where(codes > most, np.nan, low + codes * (high - low) / most), high


def show(one, label, option):
    one.page.get_by_label(label, exact=True).first.select_option(label=option)


def test_controls_change_the_page_to_what_the_models_say(quiet_notebook):
    one = quiet_notebook([SETUP + BY_HAND + "view = kenviz.MatrixView(net, pair, QUERY)", "view"])
    one.run()
    say = {name: np.array(values) for name, values in one.value("models_say(QUERY)").items()}
    np.testing.assert_array_equal(decoded(one)[0], 100 * say["mask"])
    np.testing.assert_allclose(one.column("column_shares", "percent"), 100 * say["mask"].mean(axis=0))
    np.testing.assert_allclose(one.column("row_shares", "percent"), 100 * say["mask"].mean(axis=1))

    show(one, "show", "update")
    one.wait_in_kernel("view.show == 'update'")
    in_step(one, 1)
    shown, end = decoded(one)
    assert end == pytest.approx(np.quantile(np.abs(say["update"]), 0.99, method="inverted_cdf"))
    np.testing.assert_allclose(shown, say["update"].clip(-end, end), rtol=0, atol=end / 254 * 1.001)
    above = np.argwhere(say["update"] > end * (1 + 1e-9)) + 0.5
    np.testing.assert_array_equal(one.column("above", "y"), above[:, 0])
    np.testing.assert_array_equal(one.column("above", "x"), above[:, 1])
    assert one.model_property("legend_above", "visible") == (len(above) > 0)

    clip = one.page.get_by_label("clip", exact=True)
    clip.fill("0.5")
    clip.press("Enter")
    one.wait_in_kernel("view.clip == 0.5")
    in_step(one, 1)
    assert decoded(one)[1] == pytest.approx(np.quantile(np.abs(say["update"]), 0.5, method="inverted_cdf"))

    show(one, "show", "retained values")
    one.wait_in_kernel("view.show == 'retained'")
    in_step(one, 1)
    shown, end = decoded(one)
    np.testing.assert_array_equal(np.isnan(shown), ~say["mask"])
    assert one.model_property("legend_missing", "label")["value"] == f"{(~say['mask']).sum()} reset"

    show(one, "tensor", "embed.weight")
    one.wait_in_kernel("view.tensor == 'embed.weight'")
    in_step(one, 1)
    assert one.model_property("rows", "bounds") == [0, 300]

    for label, value in (("to row", "250"), ("to column", "3")):
        one.page.get_by_label(label, exact=True).fill(value)
        one.page.get_by_label(label, exact=True).press("Enter")
    one.page.get_by_role("button", name="go to").click()
    one.wait_in_kernel("view.entry == (250, 3)")
    in_step(one, 1)
    assert (one.model_property("rows", "start"), one.model_property("rows", "end")) == (280.5, 220.5)
    assert (one.column("entry", "x"), one.column("entry", "y")) == ([3.5], [250.5])
    card = one.value("ken.explain(net, pair, 'embed.weight', 250).entry(3).text").splitlines()[0]
    one.wait("text => lab.panel().node.innerText.includes(text)", card)
    one.page.get_by_role("button", name="show all").click()
    one.wait_for_property("rows", "start", 300)


def test_wheel_and_tap_reach_python_and_the_answer_comes_back(front):
    cells = [SETUP + BY_HAND + "view = kenviz.MatrixView(net, pair, QUERY, show='fine_tuned')", "view", "view"]
    one = front(cells)
    one.run()
    say = np.array(one.value("models_say(QUERY)")["fine_tuned"])
    one.wheel("matrix", 12, 12, -400)
    one.wait_in_kernel("max(view.rows) - min(view.rows) < 24 and max(view.columns) - min(view.columns) < 24")
    in_step(one, 2)
    rows, columns = one.value("(view.rows, view.columns)")
    part = say[int(rows[0]) : int(np.ceil(rows[1])), int(columns[0]) : int(np.ceil(columns[1]))]
    for copy in range(2):
        shown, end = decoded(one, index=copy)
        np.testing.assert_allclose(shown, part.clip(-end, end), rtol=0, atol=end / 254 * 1.001)

    one.click("matrix", 12.5, 10.5)
    one.wait_in_kernel("view.entry == (10, 12)")
    in_step(one, 2)
    card = one.value("ken.explain(net, pair, QUERY, 10).entry(12).text").splitlines()[0]
    one.wait("text => lab.panel().node.innerText.split(text).length === 3", card)


BLOCKED = """
import threading
view = kenviz.MatrixView(net, pair, "embed.weight")
may, computed = threading.Event(), []
read = view._read
def slow():
    computed.append((view.rows, view.columns))
    may.wait(60)
    read()
view._read = slow
"""


def test_no_queue_builds_up_while_python_is_at_work(quiet_notebook):
    """Of ten zooms that Python has no time for, it hears the first and the last."""
    one = quiet_notebook([SETUP + BLOCKED, "view"])
    one.run()
    sent = """() => {
        window.sent = 0;
        const socket = WebSocket.prototype.send;
        WebSocket.prototype.send = function (...data) {
            const text = typeof data[0] === "string" ? data[0] : new TextDecoder().decode(data[0]);
            if (text.includes('"events"')) sent += 1;
            return socket.apply(this, data);
        };
    }"""
    one.spoilt = True
    one.page.evaluate(sent)
    one.wheel("matrix", 12, 150, -200)
    one.wait_in_kernel("len(computed) == 1")
    for _ in range(9):
        before = one.model_property("rows", "start")
        one.page.mouse.wheel(0, -100)
        one.wait("start => lab.model('rows', 0, 'start').start !== start", before)
        # past the time after which a report goes out
        one.page.evaluate("() => new Promise((done) => setTimeout(done, 120))")
    assert one.page.evaluate("sent") == 1
    last = one.model_property("rows", "start")
    one.execute("may.set()")
    one.wait_in_kernel(f"abs(max(view.rows) - {last}) < 1e-9")
    one.wait_in_kernel("len(computed) == 2 and view._read_for[2] == view.rows")
    in_step(one, 1)
    assert one.page.evaluate("sent") == 2


def test_layers_are_zoomed_and_tapped_in_the_page(front):
    one = front(
        [SETUP + BY_HAND + "view = kenviz.LayersView(net, pair, 'layer.*.query.weight', show='update')", "view"]
    )
    one.run()
    one.wheel("layer_0", 12, 12, -400)
    one.wait_in_kernel("max(view.rows) - min(view.rows) < 24")
    in_step(one, 1)
    rows, columns = one.value("(view.rows, view.columns)")
    parts = [
        np.array(one.value(f"models_say('layer.{i}.query.weight')")["update"])[
            int(rows[0]) : int(np.ceil(rows[1])), int(columns[0]) : int(np.ceil(columns[1]))
        ]
        for i in range(2)
    ]
    end = one.model_property("scale", "high")
    assert end == pytest.approx(np.quantile(np.abs(np.concatenate(parts)), 0.99, method="inverted_cdf"))
    for i, part in enumerate(parts):
        codes = np.array(one.column(f"tiles_{i}", "image")[0], dtype=float)
        np.testing.assert_allclose((codes - 127) * end / 127, part.clip(-end, end), rtol=0, atol=end / 254 * 1.001)

    one.click("layer_1", 12.5, 10.5)
    one.wait_in_kernel("(view.tensor, view.entry) == ('layer.1.query.weight', (10, 12))")
    in_step(one, 1)
    card = one.value("ken.explain(net, pair, view.tensor, 10).entry(12).text").splitlines()[0]
    one.wait("text => lab.panel().node.innerText.includes(text)", card)

    show(one, "kind", "layer.*.out.weight")
    one.wait_in_kernel("view.kind == 'layer.*.out.weight'")
    in_step(one, 1)
    assert one.column("tiles_1", "dw") == [48]


MANY = """
shapes = {f"layer.{i}.w": (20, 30) for i in range(14)} | {f"layer.{i}.v": (8, 8) for i in range(14)}
generator = torch.Generator().manual_seed(1)
base = {name: torch.randn(shape, generator=generator) for name, shape in shapes.items()}
pair = ken.Pair({name: one + 0.1 * torch.randn(one.shape, generator=generator) for name, one in base.items()}, base)
net = ken.prune(*pair, 0.4, "random", progress=False)
view = kenviz.LayersView(net, pair, "layer.*.w")

def masks(*layers):
    return [(100 * net[f"layer.{i}.w"].mask()).tolist() for i in layers]

def updates(*layers):
    return np.stack([(pair.fine_tuned[f"layer.{i}.w"] - base[f"layer.{i}.w"]).double().numpy() for i in layers])
"""


def test_sheets_scale_and_place_of_many_layers_are_changed_in_the_page(quiet_notebook):
    one = quiet_notebook([SETUP + MANY, "view"])
    one.run()

    def images():
        return [one.column(f"tiles_{i}", "image")[0] for i in range(12) if one.model_property(f"layer_{i}", "visible")]

    assert images() == one.value("masks(*range(12))")

    def fill(label, value):
        one.page.get_by_label(label, exact=True).first.fill(value)
        one.page.get_by_label(label, exact=True).first.press("Enter")

    fill("sheet", "2")
    one.wait_in_kernel("view.sheet == 2")
    in_step(one, 1)
    assert images() == one.value("masks(12, 13)")
    assert one.model_property("title_0", "text").startswith("layer 12: 40.0% retained")

    show(one, "show", "update")
    fill("clip", "0.8")
    one.wait_in_kernel("(view.show, view.clip) == ('update', 0.8)")
    in_step(one, 1)
    end = one.model_property("scale", "high")
    say = np.array(one.value("updates(12, 13).tolist()"))
    assert end == pytest.approx(np.quantile(np.abs(say), 0.8, method="inverted_cdf"))
    for image, update in zip(images(), say, strict=True):
        np.testing.assert_allclose((np.array(image) - 127) * end / 127, update.clip(-end, end), rtol=0, atol=end / 254)

    for label, value in (("to row", "17"), ("to column", "4")):
        fill(label, value)
    one.page.get_by_role("button", name="go to").click()
    one.wait_in_kernel("view.entry == (17, 4)")
    in_step(one, 1)
    assert (one.column("entry", "x"), one.column("entry", "y")) == ([4.5], [17.5])

    show(one, "kind", "layer.*.v")
    one.wait_in_kernel("(view.kind, view.sheet) == ('layer.*.v', 1)")
    in_step(one, 1)
    assert [one.column(f"tiles_{i}", "dw") for i in range(12)] == [[8]] * 12
    assert one.column("entry", "x") == []
