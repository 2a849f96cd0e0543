"""A host of anywidgets as a plain page, for tests: what Colab and VS Code do with a widget, as far as that is offline.

The widgets live in the process of the test. Their messages go through one binding, which the page calls to say a thing
and, every few milliseconds, to hear what there is. No extension is loaded and no address is asked: code and style of a
widget are in its state, as the anywidget front-end module (AFM) has it.
"""

import base64
import json
from collections import deque
from typing import Any

from comm.base_comm import BaseComm
from page import Page

ADDRESS = "http://127.0.0.1:1/host.html"  # of no server: the page is given by the test

# What VS Code puts into the page of a notebook's outputs if "notebook.experimental.enableCsp" is on; without, nothing.
# The sources of its own webview are those of the page here.
VSCODE = (
    "default-src 'none'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' https: http: data:; font-src 'self' https:; connect-src https:; child-src https: data:;"
)

# The model of a widget, as AFM says: get, set, save_changes, send, on, off. `window.tell` is the binding.
MANAGER = r"""
class Model {
  constructor(id, state, channel) {
    Object.assign(this, {id, state, channel, listeners: [], unsaved: {}});
  }
  get(key) { return this.state[key]; }
  set(key, value) { this.unsaved[key] = value; this.take({[key]: value}); }
  save_changes() { this.channel.send({method: "update", state: this.unsaved, buffer_paths: []}); this.unsaved = {}; }
  send(content, callbacks, buffers) { this.channel.send({method: "custom", content}, buffers); }
  on(name, listener) { this.listeners.push([name, listener]); }
  off(name, listener) {
    this.listeners = this.listeners.filter(([a, b]) => !(a === name && (!listener || b === listener)));
  }
  emit(name, ...news) { for (const [one, listener] of [...this.listeners]) if (one === name) listener(...news); }
  take(state) {
    Object.assign(this.state, state);
    for (const key of Object.keys(state)) this.emit(`change:${key}`, this, state[key]);
  }
  hear({data, buffers}) {
    if (data.method === "custom") this.emit("msg:custom", data.content, buffers);
    else if (data.method === "update") this.take(data.state);
  }
}
const bytesOf = (text) => new DataView(Uint8Array.from(atob(text), (one) => one.charCodeAt(0)).buffer);
// Colab has `google.colab.kernel`, whose comms give messages one after another; the others call back.
globalThis.google = {colab: {kernel: {comms: {
  open: async (id) => {
    const waiting = [];
    const exchange = async (message) => waiting.push(...await window.tell(id, message ?? null));
    setInterval(() => exchange().catch(() => null), 15);
    return {
      send: (data) => exchange(JSON.parse(JSON.stringify(data))),
      messages: (async function* () {
        for (;;) {
          while (waiting.length === 0) await new Promise((done) => setTimeout(done, 5));
          const {data, buffers} = waiting.shift();
          yield {data, buffers: buffers.map(bytesOf)};
        }
      })(),
    };
  },
}}}};
globalThis.moduleOf = async (text, inline) => {
  if (!inline) return (await import(URL.createObjectURL(new Blob([text], {type: "text/javascript"})))).default;
  const script = document.createElement("script"); // as VS Code could, where it forbids code from a blob
  script.type = "module";
  script.textContent = text.replace(/^export default /m, "globalThis.exported = ");
  document.head.append(script);
  while (!globalThis.exported) await new Promise((done) => setTimeout(done, 5));
  return globalThis.exported;
};
globalThis.show = async (id, state, inline = false) => {
  const channel = await google.colab.kernel.comms.open(id);
  const model = new Model(id, state, channel);
  (async () => { for await (const message of channel.messages) model.hear(message); })();
  const style = document.createElement("style");
  style.textContent = state._css;
  const el = document.createElement("div");
  document.head.append(style);
  document.body.append(el);
  const exported = await moduleOf(state._esm, inline);
  const widget = typeof exported === "function" ? await exported() : exported;
  await widget.initialize?.({model});
  globalThis.unshow = await widget.render({model, el});
};
"""

# Figures of the page, or of one of its frames, that are drawn and have no work left.
DRAWN = """count => {
  const hosts = [...document.querySelectorAll("[role=figure]")].filter((host) => host.clientWidth > 0);
  return hosts.length >= count && hosts.every((host) => host.firstElementChild?.shadowRoot)
    && (window.Bokeh?.documents ?? []).length >= count && Bokeh.documents.every((doc) => doc.is_idle);
}"""


class _Wire(BaseComm):
    """The comm of a widget, whose messages wait here until the page asks for them."""

    def __init__(self, **kwargs: Any) -> None:
        self.waiting: deque[dict[str, Any]] = deque()
        super().__init__(target_name="jupyter.widget", **kwargs)

    def publish_msg(self, msg_type: str, data: Any = None, metadata: Any = None, buffers: Any = None, **_: Any) -> None:
        if msg_type == "comm_msg":
            texts = [base64.b64encode(bytes(buffer)).decode() for buffer in buffers or []]
            self.waiting.append({"data": json.loads(json.dumps(data)), "buffers": texts})


class Host(Page):
    """A plain page, with widgets in it: in frames of their own, as Colab has them, or under a policy, as VS Code."""

    def __init__(self, page: Any, *, policy: str = "") -> None:
        super().__init__(page)
        self._policy = policy
        self._wires: dict[str, _Wire] = {}
        meta = f'<meta http-equiv="Content-Security-Policy" content="{policy}">' if policy else ""
        head = f"<head><meta charset=utf-8>{meta}<script>{MANAGER}</script></head>"
        body = f"<!doctype html><html>{head}<body></body></html>"
        page.route(f"{ADDRESS}*", lambda route: route.fulfill(body=body, content_type="text/html"))
        page.expose_function("tell", self._tell)
        page.goto(ADDRESS)

    def _tell(self, id: str, message: Any) -> list[dict[str, Any]]:
        wire = self._wires[id]
        if message is not None:
            wire.handle_msg({"content": {"data": message}, "buffers": []})
        told = [*wire.waiting]
        wire.waiting.clear()
        return told

    def show(self, widget: Any, frame: str = "") -> Any:
        """Show a widget, in the page or in a frame of that name; returns that page or frame."""
        wire = _Wire()
        widget.comm = wire
        self._wires[wire.comm_id] = wire
        where = self.page
        if frame:
            self.page.evaluate(
                "([name, src]) => new Promise((done) => document.body.append(Object.assign("
                "document.createElement('iframe'), {name, src, onload: done, width: 900, height: 750})))",
                [frame, f"{ADDRESS}?{frame}"],
            )
            where = self.page.frame(frame)
        state = {key: value for key, value in widget.get_state().items() if isinstance(value, str)}
        where.evaluate("([id, state, inline]) => show(id, state, inline)", [wire.comm_id, state, bool(self._policy)])
        return where
