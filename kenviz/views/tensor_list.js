// The list of tensors. Python (tensor_list.py) says which lines there are; only those in sight are in the page.

const ROW = 40; // pixels, as in look.css
const SPARE = 5; // lines above and below what is seen, so that scrolling shows no gap

function render({ model, el }) {
  const name = `kenviz-${Math.random().toString(36).slice(2)}`;
  const list = document.createElement("div");
  list.className = "kenviz-list";
  list.tabIndex = 0;
  list.dataset.lmSuppressShortcuts = "true"; // JupyterLab and Notebook hear keys before the list does
  const rows = document.createElement("div");
  rows.className = "kenviz-rows";
  rows.setAttribute("role", "presentation");
  list.append(rows);
  el.append(list);
  el.classList.add("kenviz-fill");
  let active = 0; // the line that keys act on

  const lines = () => model.get("lines");
  const piece = (tag, className, text) => {
    const one = document.createElement(tag);
    one.className = className;
    if (text !== undefined) one.textContent = text; // names come from files of strangers: never as HTML
    return one;
  };

  const draw = () => {
    const all = lines();
    active = Math.max(0, Math.min(active, all.length - 1));
    rows.style.height = `${all.length * ROW}px`;
    const first = Math.max(0, Math.floor(list.scrollTop / ROW) - SPARE);
    const last = Math.min(all.length, Math.ceil((list.scrollTop + (list.clientHeight || 400)) / ROW) + SPARE);
    const wanted = [];
    for (let at = first; at < last; at++) wanted.push(at);
    if (all.length > 0 && !wanted.includes(active)) wanted.push(active); // what keys act on must be in the page
    rows.replaceChildren(...wanted.map((at) => line(all[at], at, all.length)));
    if (all.length > 0) {
      list.setAttribute("role", "tree");
      list.setAttribute("aria-label", "tensors");
      list.setAttribute("aria-activedescendant", `${name}-${active}`);
    } else {
      list.removeAttribute("aria-activedescendant");
      list.setAttribute("role", "group");
      rows.replaceChildren(piece("p", "kenviz-none", "No tensor fits."));
    }
  };

  const line = ([id, depth, open, count], at, total) => {
    const one = piece("div", `kenviz-line${at === active ? " kenviz-active" : ""}`);
    one.id = `${name}-${at}`;
    one.style.top = `${at * ROW}px`;
    one.style.paddingLeft = `${8 + 14 * depth}px`;
    one.setAttribute("role", "treeitem");
    one.setAttribute("aria-level", depth + 1);
    one.setAttribute("aria-posinset", at + 1);
    one.setAttribute("aria-setsize", total);
    one.onclick = () => {
      active = at;
      act([id]);
      draw();
    };
    if (id < 0) {
      const words = `${open ? "▾" : "▸"} ${model.get("groups")[-id - 1]} · ${count.toLocaleString("en")} tensors`;
      one.setAttribute("aria-expanded", Boolean(open));
      one.setAttribute("aria-selected", false);
      one.append(piece("div", "kenviz-name kenviz-group", words));
      return one;
    }
    one.setAttribute("aria-selected", id === model.get("chosen"));
    one.title = model.get("labels")[id];
    one.append(piece("div", "kenviz-name", (depth > 0 ? model.get("tails") : model.get("heads"))[id]));
    const under = piece("div", "kenviz-share");
    const length = model.get("bars")[id];
    if (length !== null) {
      const track = piece("span", "kenviz-track");
      const bar = piece("span", `kenviz-bar-of${length < 0 ? " kenviz-below" : ""}`);
      bar.style.width = `${100 * Math.abs(length)}%`;
      track.append(bar);
      under.append(track);
    }
    under.append(piece("span", "", model.get("words")[id]));
    one.append(under);
    return one;
  };

  const act = ([id]) => model.send(id < 0 ? { toggle: -id - 1 } : { choose: id });
  const see = (at) => {
    if (at < 0) return;
    const top = at * ROW;
    if (top < list.scrollTop) list.scrollTop = top;
    else if (top + ROW > list.scrollTop + list.clientHeight) list.scrollTop = top + ROW - list.clientHeight;
  };
  const move = (to) => {
    active = Math.max(0, Math.min(to, lines().length - 1));
    see(active);
    draw();
  };
  // From a line, the group above it; from a group, its first line.
  const parent = () => {
    const depth = lines()[active][1];
    for (let at = active - 1; at >= 0; at--) if (lines()[at][1] < depth) return at;
    return active;
  };
  const pageful = () => Math.max(1, Math.floor(list.clientHeight / ROW) - 1);
  const keys = {
    ArrowDown: () => move(active + 1),
    ArrowUp: () => move(active - 1),
    Home: () => move(0),
    End: () => move(lines().length - 1),
    PageDown: () => move(active + pageful()),
    PageUp: () => move(active - pageful()),
    ArrowRight: () => (lines()[active][0] < 0 && !lines()[active][2] ? act(lines()[active]) : move(active + 1)),
    ArrowLeft: () => (lines()[active][0] < 0 && lines()[active][2] ? act(lines()[active]) : move(parent())),
    Enter: () => act(lines()[active]),
    " ": () => act(lines()[active]),
  };
  list.addEventListener("keydown", (event) => {
    if (!(event.key in keys) || lines().length === 0 || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    event.stopPropagation(); // JupyterLab has commands on the same keys
    keys[event.key]();
  });
  list.addEventListener("scroll", draw, { passive: true });

  const point = () => {
    const at = lines().findIndex(([id]) => id >= 0 && id === model.get("chosen"));
    if (at >= 0) {
      active = at;
      see(at);
    }
    draw();
  };
  const seen = new ResizeObserver(point); // also when it first has a size
  seen.observe(list);
  model.on("change:lines change:chosen", point);
  model.on("change:bars change:words", draw);
  draw();
  return () => {
    seen.disconnect();
    model.off("change:lines change:chosen", point);
    model.off("change:bars change:words", draw);
    el.replaceChildren();
  };
}

export default { render };
