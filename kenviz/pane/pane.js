// One view of a BokehPane. bokeh_pane.py beside this file is the other half, and lists the messages; it puts
// opening.js, page_colours.js, controls.js and saving.js before this file, as one module.
//
// Python holds the truth: a view asks for the figure as it is now whenever it is drawn (first or second display, page
// reload), applies what Python sends from then on, and reports what the user does. The first view after a display draws
// what has come with the widget at once, and asks whether that is still so.

const QUIET_MS = 80; // a report waits for the user to pause that long: one turn of the wheel is dozens of changes
const HURRY_MS = 250; // without an answer for that long, the figure that came with the widget is drawn: the kernel is busy
const PATIENCE_MS = 3000; // without an answer for that long, words are shown in place of the figure
const BUSY_MS = 10000; // without a word that the last report was heard, the next one is sent all the same

// BokehJS of that version, if the page has it. Python writes a pre-release as 3.10.0.dev5, BokehJS as 3.10.0-dev.5.
const libraryIn = (version) => globalThis.Bokeh?.[version.replace(/\.?(dev|rc)(\d+)$/, "-$1.$2")];

// What came with a widget and has been drawn: the figure may have been changed since. Each display sends it anew.
const drawn = new WeakSet();

// Where BokehJS of that version is, or will be. Global, since every module instance has its own copy of this file.
function slotOf(version) {
  const slots = (globalThis.__kenviz_bokeh ??= {});
  if (slots[version]) return slots[version];
  const slot = (slots[version] = { asked: false });
  slot.loaded = new Promise((resolve, reject) => {
    slot.provide = (bytes) => {
      slot.provide = () => {}; // later answers: every view of a pane hears each, and an impatient one asks again
      const script = document.createElement("script");
      // As text it runs at once, and in a page that forbids code from a blob; one that forbids text may let a blob through.
      script.textContent = new TextDecoder().decode(bytes);
      document.head.append(script);
      script.remove();
      if (libraryIn(version)) resolve(libraryIn(version));
      else fromBlob(bytes);
    };
    const fromBlob = (bytes) => {
      const script = document.createElement("script");
      script.src = URL.createObjectURL(new Blob([bytes], { type: "text/javascript;charset=utf-8" }));
      script.onload = () => {
        URL.revokeObjectURL(script.src);
        script.remove();
        resolve(libraryIn(version)); // a window.Bokeh of another version stays, and gets this one as a member
      };
      script.onerror = () => reject(new Error(`BokehJS ${version} could not be loaded`));
      document.head.append(script);
    };
  });
  return slot;
}

// Ask the kernel for something. It may be gone by now, and the view with it: then there is nobody to answer.
function ask(model, wanted) {
  try {
    model.send(wanted);
  } catch (error) {
    console.debug("kenviz: nobody to ask", wanted.need, error);
  }
}

// BokehJS of that version: what the page has, what has come with the widgets, or what the kernel is asked for.
async function bokehOf(version, model) {
  const present = libraryIn(version);
  if (present) return present;
  const slot = slotOf(version);
  let asking;
  const late = new Promise((resolve) => setTimeout(resolve, PATIENCE_MS, null));
  Promise.race([libraryOf(model, version), late]).then((bytes) => {
    if (bytes) return slot.provide(bytes);
    // If another pane has asked, its kernel may be busy for minutes, or dead, while ours is not.
    asking = setTimeout(() => ask(model, { need: "bokehjs" }), slot.asked ? PATIENCE_MS : 0);
    slot.asked = true;
  });
  return slot.loaded.finally(() => clearTimeout(asking));
}

// Of what BokehJS listens to, the page's viewport alone outlives a figure, and 3.9 never takes that back: every figure
// would stay in memory as long as the page (bokeh#15290). Lists of what is heard while a figure is drawn, one for each
// that is being drawn; global, since every module instance has its own copy of this file.
function listsOfHeard() {
  if (globalThis.__kenviz_heard) return globalThis.__kenviz_heard;
  const lists = (globalThis.__kenviz_heard = new Set());
  const viewport = globalThis.visualViewport;
  if (!viewport) return lists;
  const listen = viewport.addEventListener;
  viewport.addEventListener = function (type, listener, ...options) {
    if (type === "resize" && /canvas\.resize/.test(String(listener))) {
      const heard = { listener, of: new Set(lists) }; // two figures that are drawn at a time cannot be told apart
      for (const list of lists) list.push(heard);
    }
    return listen.call(this, type, listener, ...options);
  };
  return lists;
}

function unhear(list) {
  for (const { listener, of } of list) {
    of.delete(list);
    if (of.size === 0) globalThis.visualViewport.removeEventListener("resize", listener);
  }
}

// The inverse of `encode` in encoding.py.
function decode(value, buffers, ndarray) {
  if (Array.isArray(value)) return value.map((item) => decode(item, buffers, ndarray));
  if (value === null || typeof value !== "object") return value;
  if (value.kind === "number") return Number(value.text);
  if (value.kind === "array") {
    // A copy: the bytes of a message may start anywhere, those of a typed array may not.
    const { buffer, byteOffset, byteLength } = buffers[value.buffer];
    return ndarray(buffer.slice(byteOffset, byteOffset + byteLength), { dtype: value.dtype, shape: value.shape });
  }
  const entries = value.entries.map(([key, item]) => [key, decode(item, buffers, ndarray)]);
  return entries.every(([key]) => typeof key === "string") ? Object.fromEntries(entries) : new Map(entries);
}

function render({ model, el }) {
  copyOnClick();
  el.classList.add("kenviz-pane");
  const unname = nameControls(el);
  const view = Math.random().toString(36).slice(2); // crypto.randomUUID is missing on plain http
  const host = document.createElement("div");
  host.style.width = "100%"; // what sizing_mode="stretch_width" stretches to
  host.setAttribute("role", "figure");
  const saves = saveButtons(model, () => live?.root ?? null, () => model.send({ need: "table", view }));
  el.append(host, saves.row);

  let live = null; // { Bokeh, views, root, doc, themes } once the figure is drawn
  let gone = false; // the element was removed, perhaps while something was awaited
  let noted = false; // words are shown in place of the figure
  let seen = 0; // the generation this view shows
  let applying = false; // what Python asked for is no news to Python
  let missed = false; // Python has changed something that this view was not told of
  let answered = false; // the kernel has sent the figure
  let drawing = Promise.resolve(); // one after another: what came with the widget, and the kernel's answer
  let waiting = 0; // how many of these are not drawn yet
  let backlog = []; // what changed while the figure was on its way
  let hurry, patience, quiet, busy; // timers
  let unheard = 0; // reports that Python has not dealt with yet
  const pending = new Map(); // what to report, by model id: only the latest counts

  const note = () => {
    noted = true;
    const words = document.createElement("p");
    // Names in the text come from files of strangers: never as HTML.
    words.textContent = `${model.get("text")} [The figure is drawn once the kernel answers.]`.trim();
    host.replaceChildren(words);
  };
  const describe = () => {
    host.setAttribute("aria-label", model.get("text"));
    if (noted) note();
  };

  // Each view wears the colours of its own page; that is no news to Python.
  const repaint = () => {
    const wanted = model.get("theme");
    if (!live || wanted === null) return;
    const ours = live.themes[wanted === "auto" ? (pageIsDark() ? "dark" : "light") : wanted];
    const colours = wanted === "auto" ? coloursOfPage(host, ours) : ours;
    const worn = JSON.stringify(colours);
    if (worn === live.worn) return;
    live.worn = worn;
    applying = true;
    try {
      paint(live.Bokeh, live.doc, colours);
    } finally {
      applying = false;
    }
    // A legend that is coloured has no size for a moment; if its axes are laid out then, it keeps no room beside them.
    requestAnimationFrame(() => live?.root.invalidate_layout());
  };
  const page = new MutationObserver(repaint);

  const apply = ({ apply, generation, origin }, buffers) => {
    missed ||= generation !== seen + 1;
    seen = generation;
    if (origin === view) return; // it is on the screen already
    const { ndarray } = live.Bokeh.require("core/util/ndarray");
    applying = true;
    try {
      for (const { id, columns, properties } of apply) {
        const target = live.doc.get_model_by_id(id);
        if (target === null) continue;
        pending.delete(id); // the user moved what Python had changed already
        if (columns.entries.length > 0) target.data = { ...target.data, ...decode(columns, buffers, ndarray) };
        target.setv(decode(properties, buffers, ndarray));
      }
    } finally {
      applying = false;
    }
  };

  const report = () => {
    clearTimeout(quiet);
    if (pending.size === 0) return;
    model.send({ events: [...pending.values()], view, seen, answer: true });
    pending.clear();
    unheard += 1;
    clearTimeout(busy);
    busy = setTimeout(heard, BUSY_MS);
  };
  // While Python is at work on a report no other is sent, or those of a long zoom would queue up there. What changes
  // meanwhile is pending, and only the latest counts.
  const reportUnlessBusy = () => {
    if (unheard === 0) report();
  };
  const heard = () => {
    unheard = Math.max(0, unheard - 1);
    if (unheard > 0) return;
    clearTimeout(busy);
    if (pending.size > 0) reportSoon();
  };
  const reportSoon = (event) => {
    if (event) pending.set(event.id, event);
    clearTimeout(quiet);
    quiet = setTimeout(reportUnlessBusy, QUIET_MS);
  };
  const listen = (doc, watch) => {
    doc.on_change(({ model: changed, attr }) => {
      const kind = applying ? undefined : watch[changed?.id];
      if (kind === "range" && (attr === "start" || attr === "end")) {
        reportSoon({ id: changed.id, start: changed.start, end: changed.end });
      } else if (kind === "select" && attr === "indices") {
        reportSoon({ id: changed.id, indices: [...changed.indices] });
      }
    });
    for (const [id, kind] of Object.entries(watch)) {
      const figure = kind === "tap" ? doc.get_model_by_id(id) : null;
      // Without a subscriber, a figure does not tell its document of a tap.
      if (figure) figure.subscribed_events = new Set([...figure.subscribed_events, "tap"]);
    }
    doc.on_event("tap", (_doc, { origin, x, y }) => {
      pending.set("tap", { id: origin.id, x, y });
      report(); // at once, behind the zoom or selection it follows
    });
  };

  // BokehJS keeps every document it has made: re-running a cell would add one each time.
  const forget = (Bokeh, doc) => {
    doc.clear();
    const index = Bokeh.documents.indexOf(doc);
    if (index >= 0) Bokeh.documents.splice(index, 1);
  };
  const close = () => {
    const { Bokeh, views, doc, heard } = live;
    live = null;
    views.clear();
    unhear(heard);
    forget(Bokeh, doc);
  };

  const draw = async ({ figure, watch, themes, generation }) => {
    const Bokeh = await bokehOf(figure.version, model);
    if (gone) return;
    clearTimeout(patience);
    if (live && seen === generation && !missed) return; // it has come with the widget, and is on the screen
    if (live) close();
    missed = false;
    // Out of the page for now, as a cell that was scrolled away: the figure is asked for anew when it is back.
    if (!host.isConnected) return appeared.observe(host);
    noted = false;
    host.replaceChildren();
    // Not by embed_item: that lets a moment pass, in which the element may go, and loses a document that has no place.
    const doc = Bokeh.require("document").Document.from_json(figure.doc);
    const heard = [];
    listsOfHeard().add(heard);
    try {
      const views = await Bokeh.embed.add_document_standalone(doc, host, [host]);
      live = { Bokeh, views, root: views.get_by_id(figure.root_id), doc, themes, heard };
    } catch (error) {
      unhear(heard);
      forget(Bokeh, doc);
      throw error;
    } finally {
      listsOfHeard().delete(heard);
    }
    if (gone) return close();
    repaint();
    seen = generation;
    listen(live.doc, watch);
    for (const [message, buffers] of backlog) if (message.generation > generation) apply(message, buffers);
  };
  const show = (answer) => {
    waiting += 1;
    drawing = drawing
      .then(() => (gone ? null : draw(answer)))
      .catch(fail)
      .then(() => {
        waiting -= 1;
        if (live && waiting === 0) backlog = [];
      });
  };
  const drawOpening = async () => {
    const opening = await openingOf(model).catch(() => null);
    if (opening && !answered && !live) show(opening);
  };

  const receive = (message, buffers) => {
    if (message.bokehjs) slotOf(message.bokehjs).provide(buffers[0]);
    else if (message.heard) message.heard === view && heard();
    else if (message.figure) message.view === view && answer(message);
    else if (message.current) answered ||= message.current === view;
    else if (message.table !== undefined) message.view === view && saves.take(message.table);
    else if (message.apply) {
      if (live) apply(message, buffers);
      if (!live || waiting > 0) backlog.push([message, buffers]);
    }
  };
  const answer = (message) => {
    answered = true;
    clearTimeout(hurry);
    show(message);
  };
  const fail = (error) => {
    model.off("msg:custom", receive);
    if (!gone) note();
    console.error("kenviz:", error);
  };

  // A figure can be laid out once it has a width, not in a tab that was never opened: that is when it is asked for.
  const appeared = new ResizeObserver(() => {
    if (host.clientWidth === 0) return;
    appeared.disconnect();
    model.off("msg:custom", receive); // it may have appeared before
    model.on("msg:custom", receive);
    answered = false;
    patience = setTimeout(note, PATIENCE_MS);
    begin();
  });
  const begin = async () => {
    const packed = model.get("opening");
    const opening = packed && !drawn.has(packed) ? await openingOf(model).catch(() => null) : null;
    if (gone) return;
    if (opening) {
      drawn.add(packed);
      show(opening);
    } else {
      hurry = setTimeout(drawOpening, HURRY_MS);
    }
    ask(model, { need: "figure", view, has: opening?.generation ?? null });
  };
  describe();
  model.on("change:text", describe);
  model.on("change:theme", repaint);
  for (const element of [document.documentElement, document.body])
    page.observe(element, { attributes: true, attributeFilter: ["class", "style", "data-jp-theme-light", "data-theme"] });
  appeared.observe(host);

  return () => {
    gone = true;
    appeared.disconnect();
    model.off("msg:custom", receive);
    model.off("change:text", describe);
    model.off("change:theme", repaint);
    page.disconnect();
    unname();
    saves.forget();
    clearTimeout(hurry);
    clearTimeout(patience);
    clearTimeout(quiet);
    clearTimeout(busy);
    if (live) close();
    host.remove();
  };
}

export default { render };
