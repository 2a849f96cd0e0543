// A tree of ipywidgets in plain HTML. portable.py beside this file is the other half, and lists the messages.
//
// Python holds the truth: a view asks for the tree whenever it is drawn, takes what Python sends from then on, and says
// what the user does. controls.js, whose text comes before this one, draws the controls.

const PATIENCE_MS = 3000; // without an answer for that long, words are shown in place of the tree
const BUSY_MS = 10000; // without a word that the last change was heard, the next one is sent all the same

// One widget as Python has it. To the front end of an anywidget this is its model.
class Mirror {
  constructor(world, id, { name, class: kind, state }) {
    Object.assign(this, { world, id, name, kind, state, listeners: new Map(), unsaved: {} });
  }
  get(key) {
    return this.state[key];
  }
  set(key, value) {
    this.unsaved[key] = value;
    this.take({ [key]: value });
  }
  save_changes() {
    const state = this.unsaved;
    this.unsaved = {};
    if (Object.keys(state).length > 0) this.world.save(this.id, state);
  }
  send(content, _callbacks, buffers) {
    this.world.send({ custom: content, id: this.id }, buffers);
  }
  on(names, listener) {
    for (const name of names.split(/\s+/)) this.listeners.set(name, [...(this.listeners.get(name) ?? []), listener]);
  }
  off(names, listener) {
    for (const name of names?.split(/\s+/) ?? [...this.listeners.keys()])
      this.listeners.set(name, (this.listeners.get(name) ?? []).filter((one) => listener && one !== listener));
  }
  tell(name, ...news) {
    for (const listener of this.listeners.get(name) ?? []) listener(...news);
  }
  take(state) {
    Object.assign(this.state, state);
    for (const key of Object.keys(state)) this.tell(`change:${key}`, this, state[key]);
    this.tell("change", this);
  }
}

// All widgets of one view of the tree, and the wire.
class World {
  constructor(model, view) {
    Object.assign(this, { model, view, models: new Map(), pending: new Map(), unheard: 0, root: null, styles: new Set() });
  }
  at(reference) {
    return this.models.get(String(reference).replace("IPY_MODEL_", ""));
  }
  add(models) {
    for (const [id, one] of Object.entries(models)) if (!this.models.has(id)) this.models.set(id, new Mirror(this, id, one));
  }
  // While Python is at work on a change no other is sent, or those of a slider would queue up there.
  save(id, state) {
    this.pending.set(id, { ...this.pending.get(id), ...state });
    if (this.unheard === 0) this.flush();
  }
  flush() {
    if (this.pending.size === 0) return;
    this.unheard += 1;
    clearTimeout(this.busy);
    this.busy = setTimeout(() => this.heard(), BUSY_MS);
    this.model.send({ sets: Object.fromEntries(this.pending), view: this.view });
    this.pending.clear();
  }
  heard() {
    this.unheard = Math.max(0, this.unheard - 1);
    if (this.unheard > 0) return;
    clearTimeout(this.busy);
    this.flush();
  }
  send(content, buffers) {
    this.flush(); // a button is pressed after what was typed before
    this.model.send(content, undefined, buffers);
  }
  update({ update: { id, state }, models, gone, origin }) {
    this.add(models);
    const unsent = this.pending.get(id) ?? {}; // what the user has set since is newer
    const news = Object.fromEntries(Object.entries(state).filter(([key]) => !(key in unsent)));
    if (origin !== this.view) this.models.get(id)?.take(news);
    for (const one of gone) this.models.delete(one);
  }
}

// ---- anywidgets, which bring their own front end

const modules = new Map(); // text -> module: many widgets have the same

function moduleOf(text) {
  if (!modules.has(text)) modules.set(text, imported(text));
  return modules.get(text);
}

async function imported(text) {
  const url = URL.createObjectURL(new Blob([text], { type: "text/javascript" }));
  try {
    return (await import(/* webpackIgnore: true */ url)).default;
  } catch (error) {
    // A page may forbid code from a blob, and allow what stands in it.
    const [before, exported, more] = text.split(/^export default /m);
    if (exported === undefined || more !== undefined) throw error;
    const slot = unique();
    const script = make("script", "", { type: "module", textContent: `${before}\nglobalThis["${slot}"] = ${exported}` });
    await new Promise((resolve, reject) => {
      script.addEventListener("load", resolve);
      script.addEventListener("error", reject);
      document.head.append(script);
      setTimeout(resolve, PATIENCE_MS); // where it is refused, nothing is said
    });
    script.remove();
    const value = globalThis[slot];
    delete globalThis[slot];
    if (value === undefined) throw error;
    return value;
  } finally {
    URL.revokeObjectURL(url);
  }
}

function any(mirror, scope, world) {
  const node = make("div");
  world.wear(mirror.get("_css"));
  const start = async () => {
    const exported = await moduleOf(mirror.get("_esm"));
    const widget = typeof exported === "function" ? await exported() : exported;
    await (mirror.begun ??= Promise.resolve(widget.initialize?.({ model: mirror })));
    if (scope.ended) return;
    const end = await widget.render?.({ model: mirror, el: node });
    if (typeof end !== "function") return;
    if (scope.ended) end();
    else scope.ends.push(end);
  };
  start().catch((error) => {
    node.textContent = `This part could not be loaded: ${error}`;
    console.error("kenviz:", error);
  });
  return node;
}

function unknown(mirror) {
  return make("div", "kenviz-unknown", { textContent: `kenviz cannot draw a ${mirror.kind} (${mirror.name}) here.` });
}

// One widget in one place: the same may stand in two.
function draw(mirror, world) {
  const scope = new Scope();
  const node = (CONTROLS[mirror.name] ?? (mirror.name === "AnyView" ? any : unknown))(mirror, scope, world);
  node.classList.add("jupyter-widgets");
  let worn = [];
  scope.on(mirror, "change:_dom_classes", () => {
    node.classList.remove(...worn);
    worn = [...(mirror.get("_dom_classes") ?? [])];
    node.classList.add(...worn);
  });
  const layout = world.at(mirror.get("layout"));
  if (layout)
    scope.on(layout, "change", () => {
      for (const [key, value] of Object.entries(layout.state)) node.style.setProperty(key.replaceAll("_", "-"), value ?? "");
    });
  return {
    node,
    end: () => {
      scope.end();
      node.remove();
    },
  };
}

function render({ model, el }) {
  const world = new World(model, unique());
  const host = make("div", "kenviz-portable");
  el.append(host);
  let drawn = null;
  const note = (words) => host.replaceChildren(make("p", "", { textContent: words })); // names are never HTML
  const patience = setTimeout(() => note(`${model.get("text")} [The view is drawn once the kernel answers.]`), PATIENCE_MS);
  // Within the view: what is put into a shadow root is not reached by a style sheet of the page.
  world.wear = (css) => {
    if (!css || world.styles.has(css)) return;
    world.styles.add(css);
    host.before(make("style", "", { textContent: css }));
  };
  const placed = (message, buffers) => {
    message.paths?.forEach((path, at) => {
      const holder = path.slice(0, -1).reduce((value, key) => value[key], message);
      holder[path.at(-1)] = buffers[at];
    });
    return message;
  };
  const end = () => {
    clearTimeout(patience);
    clearTimeout(world.busy);
    model.off("msg:custom", receive);
    drawn?.end();
    drawn = null;
  };
  const receive = (message, buffers) => {
    if (message.tree && message.view === world.view && !drawn) {
      clearTimeout(patience);
      const { root, models } = placed(message, buffers).tree;
      world.add(models);
      drawn = draw(world.models.get(root), world);
      host.replaceChildren(drawn.node);
    } else if (message.heard) message.heard === world.view && world.heard();
    else if (message.closed) end();
    else if (!drawn) return; // the tree will have it
    else if (message.update) world.update(placed(message, buffers));
    else if (message.id) world.models.get(message.id)?.tell("msg:custom", message.custom, buffers ?? []);
  };
  model.on("msg:custom", receive);
  model.send({ need: "tree", view: world.view });
  return () => {
    end();
    for (const style of el.querySelectorAll(":scope > style")) style.remove();
    host.remove();
  };
}

export default { render };
