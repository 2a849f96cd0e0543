// Each of ipywidgets' controls in plain HTML: a function of (its mirror, its scope, the world) to an element.
//
// Element and class names are those of ipywidgets, so that one style sheet serves both. portable.py puts this text before
// that of portable.js, which has the mirrors and the wire.

const unique = () => `kenviz-${Math.random().toString(36).slice(2)}`; // crypto.randomUUID is missing on plain http
const make = (tag, className = "", properties = {}) => Object.assign(document.createElement(tag), { className }, properties);

// What one drawn widget listens to, until its end.
class Scope {
  ends = [];
  ended = false;
  on(mirror, names, listener) {
    mirror.on(names, listener);
    this.ends.push(() => mirror.off(names, listener));
    listener();
  }
  end() {
    this.ended = true;
    for (const end of this.ends.splice(0)) end();
  }
}

const commit = (mirror, key, value) => {
  mirror.set(key, value);
  mirror.save_changes();
};

// A label before its controls, which has its name from it, or where it has none from the tooltip.
function labelled(mirror, scope, world, { kind, controls, more = [] }) {
  const node = make("div", `widget-inline-hbox ${kind}`);
  const label = make("label", "widget-label");
  controls[0].id ||= unique();
  label.htmlFor = controls[0].id;
  node.append(label, ...controls, ...more);
  scope.on(mirror, "change:description change:tooltip", () => {
    const [words, tooltip] = [mirror.get("description") ?? "", mirror.get("tooltip") ?? ""];
    label.textContent = words;
    label.style.display = words ? "" : "none";
    label.title = tooltip;
    for (const control of controls) {
      control.title = tooltip;
      if (words || !tooltip) control.removeAttribute("aria-label");
      else control.setAttribute("aria-label", tooltip);
    }
  });
  scope.on(mirror, "change:disabled", () => controls.forEach((one) => (one.disabled = Boolean(mirror.get("disabled")))));
  const style = world.at(mirror.get("style"));
  if (style) scope.on(style, "change:description_width", () => (label.style.width = style.get("description_width") ?? ""));
  return node;
}

const formatted = (value, format = "") => {
  const digits = Number(/\.(\d+)/.exec(format)?.[1] ?? 2);
  if (format.endsWith("g")) return String(Number(value.toPrecision(digits)));
  return format.endsWith("f") ? value.toFixed(digits) : String(value);
};

const PLAIN = { from: (value) => value, to: (at) => at };
const POWER = { from: (value, base) => Math.log(value) / Math.log(base), to: (at, base) => base ** at };

function slider({ from, to }) {
  return (mirror, scope, world) => {
    const range = make("input", "", { type: "range" });
    const readout = make("div", "widget-readout");
    const node = labelled(mirror, scope, world, { kind: "widget-slider widget-hslider", controls: [range], more: [readout] });
    const base = () => mirror.get("base");
    scope.on(mirror, "change:min change:max change:step change:value change:readout_format change:readout", () => {
      for (const key of ["min", "max", "step"]) range[key] = mirror.get(key) ?? "any"; // bounds first: they cut a value
      range.value = from(mirror.get("value"), base());
      readout.textContent = formatted(mirror.get("value"), mirror.get("readout_format"));
      readout.style.display = mirror.get("readout") ? "" : "none";
      range.setAttribute("aria-valuetext", readout.textContent);
    });
    const take = () => commit(mirror, "value", to(Number(range.value), base()));
    range.oninput = () => mirror.get("continuous_update") && take();
    range.onchange = () => from(mirror.get("value"), base()) !== Number(range.value) && take();
    return node;
  };
}

function rangeSlider(mirror, scope, world) {
  const controls = ["from", "to"].map((words) => make("input", "", { type: "range", ariaLabel: words }));
  const readout = make("div", "widget-readout");
  const node = labelled(mirror, scope, world, { kind: "widget-slider widget-hslider", controls, more: [readout] });
  const name = () => controls.forEach((one, at) => (one.ariaLabel = `${mirror.get("description")} ${["from", "to"][at]}`));
  scope.on(mirror, "change:description change:tooltip", name);
  scope.on(mirror, "change:min change:max change:step change:value", () => {
    controls.forEach((one, at) => {
      for (const key of ["min", "max", "step"]) one[key] = mirror.get(key) ?? "any";
      one.value = mirror.get("value")[at];
    });
    readout.textContent = mirror.get("value").join(" – ");
  });
  const take = () => commit(mirror, "value", controls.map((one) => Number(one.value)).sort((a, b) => a - b));
  for (const one of controls) {
    one.oninput = () => mirror.get("continuous_update") && take();
    one.onchange = () => mirror.get("continuous_update") || take();
  }
  return node;
}

function typed(kind, { tag = "input", type = "text", read = (text) => text }) {
  return (mirror, scope, world) => {
    const field = make(tag, "", tag === "input" ? { type } : {});
    const node = labelled(mirror, scope, world, { kind, controls: [field] });
    scope.on(mirror, "change:placeholder", () => (field.placeholder = mirror.get("placeholder") ?? ""));
    scope.on(mirror, "change:min change:max change:step change:rows", () => {
      for (const key of ["min", "max", "step", "rows"]) if (mirror.get(key) != null) field[key] = mirror.get(key);
    });
    if (mirror.get("options")) {
      const list = make("datalist", "", { id: unique() });
      node.append(list);
      field.setAttribute("list", list.id);
      scope.on(mirror, "change:options", () =>
        list.replaceChildren(...mirror.get("options").map((value) => make("option", "", { value }))));
    }
    scope.on(mirror, "change:value", () => {
      if (field.value !== String(mirror.get("value"))) field.value = mirror.get("value");
    });
    const take = () => {
      const value = field.value === "" && type === "number" ? NaN : read(field.value);
      if (Number.isNaN(value)) field.value = mirror.get("value"); // no number: it is as it was
      else if (value !== mirror.get("value")) commit(mirror, "value", value);
    };
    field.oninput = () => mirror.get("continuous_update") && field.value !== "" + mirror.get("value") && take();
    field.onchange = take;
    field.onkeydown = (event) => {
      event.stopPropagation(); // hosts have commands on keys
      if (event.key === "Enter" && tag === "input") mirror.send({ event: "submit" });
    };
    return node;
  };
}

function select(kind, { multiple = false } = {}) {
  return (mirror, scope, world) => {
    const list = make("select", "", { multiple });
    const node = labelled(mirror, scope, world, { kind, controls: [list] });
    scope.on(mirror, "change:rows", () => kind !== "widget-dropdown" && (list.size = mirror.get("rows") ?? 5));
    const choose = () => {
      const chosen = [mirror.get("index") ?? []].flat();
      [...list.options].forEach((option, at) => (option.selected = chosen.includes(at)));
      if (chosen.length === 0) list.selectedIndex = -1;
    };
    scope.on(mirror, "change:_options_labels", () => {
      list.replaceChildren(...mirror.get("_options_labels").map((words) => make("option", "", { textContent: words })));
      choose();
    });
    scope.on(mirror, "change:index", choose);
    list.onchange = () => commit(mirror, "index", multiple ? [...list.selectedOptions].map((one) => one.index) : list.selectedIndex);
    return node;
  };
}

function button(kind, press) {
  return (mirror, scope) => {
    const node = make("button", `jupyter-button ${kind}`, { type: "button" });
    scope.on(mirror, "change:description change:tooltip change:disabled", () => {
      node.textContent = mirror.get("description");
      node.title = mirror.get("tooltip") ?? "";
      node.disabled = Boolean(mirror.get("disabled"));
    });
    if (kind === "widget-toggle-button") scope.on(mirror, "change:value", () => (node.ariaPressed = Boolean(mirror.get("value"))));
    node.onclick = () => press(mirror);
    return node;
  };
}

function checkbox(mirror, scope) {
  const node = make("div", "widget-inline-hbox widget-checkbox");
  const [label, box, words] = [make("label"), make("input", "", { type: "checkbox" }), make("span")];
  label.append(box, words);
  node.append(label);
  scope.on(mirror, "change:description change:tooltip change:value change:disabled", () => {
    words.textContent = mirror.get("description");
    label.title = mirror.get("tooltip") ?? "";
    box.checked = Boolean(mirror.get("value"));
    box.disabled = Boolean(mirror.get("disabled"));
  });
  box.onchange = () => commit(mirror, "value", box.checked);
  return node;
}

function play(mirror, scope) {
  const node = make("div", "widget-play");
  const [start, stop] = ["jupyter-button", "jupyter-button"].map((name) => make("button", name, { type: "button" }));
  stop.textContent = "■";
  stop.ariaLabel = "stop";
  node.append(start, stop);
  let timer = null;
  const say = () => {
    start.textContent = timer === null ? "▶" : "⏸";
    start.ariaLabel = timer === null ? "play the steps" : "pause";
    start.disabled = stop.disabled = Boolean(mirror.get("disabled"));
  };
  const pause = () => {
    clearInterval(timer);
    timer = null;
    say();
  };
  const step = () => {
    const next = mirror.get("value") + (mirror.get("step") ?? 1);
    if (next <= mirror.get("max")) commit(mirror, "value", next);
    else if (mirror.get("repeat")) commit(mirror, "value", mirror.get("min"));
    else pause();
  };
  start.onclick = () => {
    if (timer !== null) return pause();
    if (mirror.get("value") >= mirror.get("max")) commit(mirror, "value", mirror.get("min"));
    timer = setInterval(step, mirror.get("interval"));
    say();
  };
  stop.onclick = () => {
    pause();
    commit(mirror, "value", mirror.get("min"));
  };
  scope.on(mirror, "change:disabled", say);
  scope.ends.push(() => clearInterval(timer));
  return node;
}

function html(mirror, scope, world) {
  const content = make("div", "widget-html-content");
  const node = labelled(mirror, scope, world, { kind: "widget-html", controls: [content] });
  node.classList.remove("widget-inline-hbox"); // as wide as there is room
  scope.on(mirror, "change:value", () => (content.innerHTML = mirror.get("value"))); // Python escapes what is not ours
  return node;
}

function words(mirror, scope) {
  const node = make("div", "widget-label");
  scope.on(mirror, "change:value", () => (node.textContent = mirror.get("value")));
  return node;
}

function progress(mirror, scope, world) {
  const bar = make("progress");
  const node = labelled(mirror, scope, world, { kind: "widget-hprogress", controls: [bar] });
  scope.on(mirror, "change:min change:max change:value", () => {
    bar.max = Math.max(1, mirror.get("max") - mirror.get("min"));
    bar.value = mirror.get("value") - mirror.get("min");
  });
  return node;
}

function box(kind) {
  return (mirror, scope, world) => {
    const node = make("div", `widget-container widget-box ${kind}`);
    const drawn = new Map();
    scope.on(mirror, "change:children", () => {
      const children = mirror.get("children").map((reference) => world.at(reference)).filter(Boolean);
      for (const [child, one] of drawn) {
        if (children.includes(child)) continue;
        one.end();
        drawn.delete(child);
      }
      children.forEach((child, at) => {
        if (!drawn.has(child)) drawn.set(child, draw(child, world));
        const { node: wanted } = drawn.get(child);
        if (node.children[at] !== wanted) node.insertBefore(wanted, node.children[at] ?? null); // else it keeps its focus
      });
    });
    scope.ends.push(() => drawn.forEach((one) => one.end()));
    return node;
  };
}

const NUMBER = { type: "number", read: Number };
const CONTROLS = {
  BoxView: box(""),
  HBoxView: box("widget-hbox"),
  VBoxView: box("widget-vbox"),
  ButtonView: button("widget-button", (mirror) => mirror.send({ event: "click" })),
  CheckboxView: checkbox,
  ComboboxView: typed("widget-text", {}),
  DropdownView: select("widget-dropdown"),
  FloatLogSliderView: slider(POWER),
  FloatSliderView: slider(PLAIN),
  FloatTextView: typed("widget-text", NUMBER),
  HTMLView: html,
  IntRangeSliderView: rangeSlider,
  IntSliderView: slider(PLAIN),
  IntTextView: typed("widget-text", NUMBER),
  LabelView: words,
  PlayView: play,
  ProgressView: progress,
  SelectMultipleView: select("widget-select-multiple", { multiple: true }),
  SelectView: select("widget-select"),
  TextView: typed("widget-text", {}),
  TextareaView: typed("widget-textarea", { tag: "textarea" }),
  ToggleButtonView: button("widget-toggle-button", (mirror) => commit(mirror, "value", !mirror.get("value"))),
};
