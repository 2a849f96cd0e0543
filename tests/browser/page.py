"""A page in Chromium with figures of Bokeh and ipywidgets in it, for tests: in JupyterLab (lab.py) or Voilà (voila.py).

Tests assert on the Bokeh models in the page (`Page.column`, `Page.model_property`) and wait for a state; they never
compare pixels and never sleep.
"""

import ast
import shutil
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from playwright.sync_api import TimeoutError as PlaywrightTimeout

TIMEOUT = 60.0  # seconds; a busy machine is no failure
INSTALL = "apt-get install -y --no-install-recommends chromium fonts-dejavu-core"
CHROMIUM = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
VIEWPORT = {"width": 1400, "height": 1600}

# In every page, also after a reload: how `Notebook` finds things. Names may repeat: every displayed view of a pane is
# a Bokeh document of its own, in the order in which they were drawn.
HELPERS = r"""
window.lab = {
  panel: () => jupyterapp.shell.currentWidget,
  kernel: () => lab.panel().sessionContext.session.kernel,
  models: (name) => (window.Bokeh?.documents ?? [])
    .flatMap((doc) => [...doc.all_models]).filter((model) => model.name === name),
  model: (name, index, has) => {
    const found = lab.models(name).filter((model) => has === undefined || has in model);
    if (found.length === 0) throw new Error(`no Bokeh model in the page is named ${name}`);
    const model = found.at(index);
    if (model === undefined) throw new Error(`${name}: no index ${index}, there are ${found.length}`);
    return model;
  },
  plain: (value) => {
    if (value instanceof Map) return Object.fromEntries([...value].map(([k, v]) => [k, lab.plain(v)]));
    if (ArrayBuffer.isView(value) && value.shape?.length === 2) {
      const [rows, columns] = value.shape;
      return Array.from({length: rows}, (_, i) => Array.from({length: columns}, (_, j) => value[i * columns + j]));
    }
    if (ArrayBuffer.isView(value)) return Array.from(value);
    if (Array.isArray(value)) return value.map(lab.plain);
    if (value !== null && typeof value === "object" && "id" in value && "type" in value) return `${value}`;
    return value;
  },
  ready: async (path) => {
    await jupyterapp.restored;
    const deadline = Date.now() + 60000;
    while (lab.panel()?.context?.path !== path) {
      if (Date.now() > deadline) {
        const said = [...document.querySelectorAll(".jp-Dialog")].map((dialog) => dialog.innerText).join(" ");
        const inFront = `${jupyterapp.shell.currentWidget?.title.label}; ${document.visibilityState}; ${said}`;
        throw new Error(`${path} is not in front, but ${inFront}; focus: ${document.hasFocus()}`);
      }
      await new Promise((done) => setTimeout(done, 50));
    }
    const panel = lab.panel();
    await panel.context.ready;
    await panel.revealed;
    await panel.sessionContext.ready;
    await lab.kernel().info;
    // What a kernel sends to a widget manager that has not registered yet is lost.
    while (!("jupyter.widget" in lab.kernel()._targetRegistry)) {
      if (Date.now() > deadline) throw new Error(`no widget manager listens to ${path}`);
      await new Promise((done) => setTimeout(done, 20));
    }
  },
  errors: () => lab.panel().content.widgets.flatMap((cell, index) => cell.model.type !== "code" ? [] :
    cell.model.outputs.toJSON().filter((output) => output.output_type === "error")
      .map((output) => `cell ${index}: ${output.ename}: ${output.evalue}`)),
  // What is still to come: a widget that a cell has put out, a figure that has room, or work that BokehJS has left.
  missing: () => {
    const put_out = lab.panel().content.widgets.filter((cell) => cell.model.type === "code")
      .flatMap((cell) => cell.model.outputs.toJSON())
      .filter((output) => "application/vnd.jupyter.widget-view+json" in (output.data ?? {}))
      // A progress bar that has ended is gone from the page, but not from the outputs.
      .filter((output) => !/\d+%\|/.test(output.data["text/plain"] ?? ""));
    const all = (selector) => [...lab.panel().node.querySelectorAll(selector)];
    const there = all(".jp-OutputArea-output > .lm-Widget").length;
    const say = (what, count) => count > 0 ? [`${what}: ${count}`] : [];
    return [
      ...say("widgets that are not on the page", put_out.length - there),
      // An anywidget that has not rendered yet is an empty element without a class of its own.
      ...say("widgets that are not rendered", all(".jp-OutputArea-output .lm-Widget:empty")
        .filter((element) => [...element.classList].every((name) => name.startsWith("lm-"))).length),
      ...say("figures that are not drawn", all("[role=figure]")
        .filter((host) => host.clientWidth > 0 && !host.firstElementChild?.shadowRoot).length),
      ...say("documents of BokehJS with work left",
        (window.Bokeh?.documents ?? []).filter((doc) => !doc.is_idle).length),
    ];
  },
  idle: () => lab.missing().length === 0,
  execute: async (code) => {
    const future = lab.kernel().requestExecute({code, store_history: false});
    let text = "";
    future.onIOPub = ({header, content}) => {
      if (header.msg_type === "stream" && content.name === "stdout") text += content.text;
    };
    const {content} = await future.done;
    if (content.status !== "ok") throw new Error(`${content.ename}: ${content.evalue}`);
    return text;
  },
  becomes: async (code, milliseconds) => {
    const deadline = Date.now() + milliseconds;
    while ((await lab.execute(code)).trim() !== "True") {
      if (Date.now() > deadline) return false;
      await new Promise((done) => setTimeout(done, 100));
    }
    return true;
  },
  // Whether every figure has the paper of JupyterLab's theme, which is dark, or is not.
  papers: (dark) => {
    const probe = document.createElement("span");
    probe.style.background = "var(--jp-layout-color1)";
    document.body.append(probe);
    const paper = getComputedStyle(probe).backgroundColor;
    probe.remove();
    const plots = Bokeh.documents.flatMap((doc) => [...doc.all_models]).filter((model) => "border_fill_color" in model);
    return (document.body.dataset.jpThemeLight === "false") === dark && plots.length > 0
      && plots.every((plot) => plot.border_fill_color === paper);
  },
  plot: (name, index) => {
    const view = Bokeh.index.find_one(lab.model(name, index, "x_range"));
    view.el.scrollIntoView({block: "center"});
    return view;
  },
  // In page coordinates; the frame's own box is relative to the canvas.
  frame: (name, index) => {
    const view = lab.plot(name, index);
    const {left, top} = view.canvas_view.el.getBoundingClientRect();
    const {bbox} = view.frame;
    return {x: left + bbox.left, y: top + bbox.top, width: bbox.width, height: bbox.height};
  },
  point: (name, index, x, y) => {
    const view = lab.plot(name, index);
    const {left, top} = view.canvas_view.el.getBoundingClientRect();
    return {x: left + view.frame.x_scale.compute(x), y: top + view.frame.y_scale.compute(y)};
  },
};
"""


def chromium() -> str:
    """Path of Chromium; an error with the line that installs it, where there is none."""
    path = shutil.which("chromium") or shutil.which("chromium-browser")
    if path is None:
        raise FileNotFoundError(f"the browser tests need Chromium; install it with: {INSTALL}")
    return path


class Page:
    """A page, from before it goes anywhere.

    Attributes
    ----------
    page
        Playwright's page, for what has no method here.
    outside
        Addresses that the page asked for and that are not on this machine.
    errors
        Messages of errors on the console, and of exceptions that nothing caught.
    dialogs
        What dialogs of the browser have said, as `alert` has them; they are dismissed.
    """

    def __init__(self, page: Any) -> None:
        self.page = page
        self.outside: list[str] = []
        self.errors: list[str] = []
        self.dialogs: list[str] = []
        page.set_default_timeout(TIMEOUT * 1000)
        page.on("request", lambda request: self._visit(request.url))
        page.on("websocket", lambda socket: self._visit(socket.url))
        page.on("pageerror", lambda error: self.errors.append(f"{error}\n{error.stack}"))
        page.on("console", self._console)
        page.on("dialog", self._dialog)
        page.add_init_script(HELPERS)

    def _visit(self, url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("data", "blob", "about") and parts.hostname not in ("127.0.0.1", "localhost"):
            self.outside.append(url)

    def _console(self, message: Any) -> None:
        if message.type == "error":
            self.errors.append(f"{message.text} ({message.location.get('url', '')})")

    def _dialog(self, dialog: Any) -> None:
        if dialog.type != "beforeunload":
            self.dialogs.append(dialog.message)
        dialog.dismiss() if dialog.type != "beforeunload" else dialog.accept()

    def wait_until_idle(self, timeout: float = TIMEOUT) -> None:
        """Wait until every figure that has room on the page is drawn; a TimeoutError says what was missing."""
        try:
            self.wait("lab.idle()", timeout=timeout)
        except PlaywrightTimeout as error:
            missing = self.page.evaluate("window.jupyterapp ? lab.missing() : 'not JupyterLab'")
            shown = self.page.evaluate("document.body.innerText")
            raise TimeoutError(
                f"after {timeout:.0f} s: {missing}; errors: {self.errors}; the page says: {shown}"
            ) from error

    # ---- the kernel

    def execute(self, code: str) -> str:
        """Run code in the kernel, outside the notebook's cells. Returns what it printed; raises on an error."""
        return self.page.evaluate("code => lab.execute(code)", code)

    def value(self, expression: str) -> Any:
        """What a Python expression in the kernel is: numbers, strings, lists, dictionaries, None."""
        return ast.literal_eval(self.execute(f"print(repr({expression}))"))

    def wait_in_kernel(self, condition: str, timeout: float = TIMEOUT) -> None:
        """Wait until a Python expression in the kernel is true: what the page reports arrives after a while."""
        came = self.page.evaluate(
            "([code, ms]) => lab.becomes(code, ms)", [f"print(bool({condition}))", timeout * 1000]
        )
        assert came, f"not true in the kernel after {timeout:.0f} s: {condition}"

    # ---- figures

    def wait(self, js: str, arg: Any = None, timeout: float = TIMEOUT) -> None:
        """Wait until a JavaScript expression, or function of `arg`, is true. `lab` has helpers (see HELPERS)."""
        self.page.wait_for_function(js, arg=arg, timeout=timeout * 1000)

    def documents(self) -> int:
        """How many Bokeh documents the page holds."""
        return self.page.evaluate("window.Bokeh?.documents.length ?? 0")

    def column(self, source: str, column: str, index: int = 0) -> list[Any]:
        """A column of a source, by the source's name, as the page has it.

        `index` chooses among views that have such a source, in the order in which they were drawn; -1 is the
        latest. Images are lists of rows.
        """
        return self.page.evaluate(
            "([name, column, index]) => lab.plain(lab.model(name, index, 'data').data[column])",
            [source, column, index],
        )

    def model_property(self, name: str, prop: str, index: int = 0) -> Any:
        """A property of a model, by the model's name, as the page has it; `index` as for `column`."""
        return self.page.evaluate(
            "([name, prop, index]) => lab.plain(lab.model(name, index, prop)[prop])", [name, prop, index]
        )

    def wait_for_property(self, name: str, prop: str, value: Any, index: int = 0) -> None:
        """Wait until a property of a model in the page has this value."""
        self.wait(
            "([name, prop, value, index]) => "
            "JSON.stringify(lab.plain(lab.model(name, index, prop)[prop])) === JSON.stringify(value)",
            [name, prop, value, index],
        )

    def wait_for_column(self, source: str, column: str, values: list[Any], index: int = 0) -> None:
        """Wait until a column in the page has these values."""
        self.wait(
            "([name, column, values, index]) => JSON.stringify(lab.plain(lab.model(name, index, 'data').data[column]))"
            " === JSON.stringify(values)",
            [source, column, values, index],
        )

    def figure_box(self, name: str, index: int = 0) -> dict[str, float]:
        """Where the frame of a figure is, without axes and title: x, y, width, height for `page.mouse`."""
        return self.page.evaluate("([name, index]) => lab.frame(name, index)", [name, index])

    def point(self, name: str, x: float, y: float, index: int = 0) -> tuple[float, float]:
        """Where a point in data coordinates of a figure is on the page, for `page.mouse`."""
        at = self.page.evaluate("([name, index, x, y]) => lab.point(name, index, x, y)", [name, index, x, y])
        return at["x"], at["y"]

    def wheel(self, name: str, x: float, y: float, delta: float, index: int = 0) -> None:
        """Turn the wheel over a point in data coordinates; a negative delta zooms in."""
        self.page.mouse.move(*self.point(name, x, y, index))
        self.page.mouse.wheel(0, delta)

    def click(self, name: str, x: float, y: float, index: int = 0) -> None:
        """Click on a point in data coordinates of a figure."""
        self.page.mouse.click(*self.point(name, x, y, index))

    # ---- widgets

    def slider(self, label: str) -> Any:
        """The handle of the ipywidgets slider with that description, as a Playwright locator."""
        slider = self.page.locator(".widget-slider").filter(has=self.page.get_by_text(label, exact=True))
        return slider.locator(".noUi-handle").first

    def slide(self, label: str, steps: int) -> None:
        """Move a slider by the keyboard: arrow right, or left if `steps` is negative."""
        handle = self.slider(label)
        handle.focus()
        for _ in range(abs(steps)):
            self.page.keyboard.press("ArrowRight" if steps > 0 else "ArrowLeft")

    def screenshot(self, path: Path | str) -> None:
        """Write what the page shows as a PNG."""
        self.page.screenshot(path=path)
