// The rule of docs/rule.md for one short row, and a figure that walks through it step by step.
// What it computes is compared with ken.explain_row in tests/browser/test_rule_walk.py.
"use strict";

(() => {
  // ---- the rule: numbers in, numbers out

  /** Rounded to a whole number, half to even; above 2 ** 31 to 31 significant bits. */
  function level(density) {
    let scale = 1;
    while (density / scale >= 2 ** 31) scale *= 2;
    const scaled = density / scale;
    const low = Math.floor(scaled);
    const rest = scaled - low;
    const up = rest > 0.5 || (rest === 0.5 && low % 2 === 1);
    return (low + (up ? 1 : 0)) * scale;
  }

  function bandwidth(row) {
    const mean = row.reduce((sum, x) => sum + x, 0) / row.length;
    const variance = row.reduce((sum, x) => sum + (x - mean) ** 2, 0) / row.length;
    return 1.06 * Math.sqrt(variance) * row.length ** -0.2;
  }

  function density(row, at, h) {
    const sum = row.reduce((total, x) => total + Math.exp(-0.5 * ((at - x) / h) ** 2), 0);
    return sum / (row.length * Math.sqrt(2 * Math.PI)) / h;
  }

  function gridOf(row, k) {
    const low = Math.min(...row);
    const high = Math.max(...row);
    if (k === 1) return [low];
    const step = (high - low) / (k - 1);
    return Array.from({ length: k }, (_, place) => (place === k - 1 ? high : place * step + low));
  }

  /** What one grid point takes: of equally near free entries the first; and which nearer ones were taken. */
  function claim(row, at, free) {
    const far = row.map((x) => Math.abs(x - at));
    let entry = -1;
    row.forEach((_, i) => {
      if (free[i] && (entry < 0 || far[i] < far[entry])) entry = i;
    });
    const nearer = (i) => far[i] < far[entry] || (far[i] === far[entry] && i < entry);
    const taken = row.map((_, i) => i).filter(nearer).sort((a, b) => far[a] - far[b] || a - b);
    return { entry, distance: far[entry], taken };
  }

  /** Everything that is decided about a row of which k entries are retained, in the order of the rule's steps. */
  function decide(row, k) {
    const n = row.length;
    const nothing = { h: 0, grid: [], density: [], level: [], order: [], claims: [] };
    if (!(k >= 1)) throw new RangeError(`k must be at least 1, got ${k}`);
    if (k >= n) return { ...nothing, mask: row.map(() => true) };
    if (row.every((x) => x === row[0])) return { ...nothing, mask: row.map((_, i) => i < k) };
    const h = bandwidth(row);
    const grid = gridOf(row, k);
    const heights = grid.map((at) => density(row, at, h));
    const levels = heights.map(level);
    const order = grid.map((_, i) => i).sort((a, b) => levels[b] - levels[a] || a - b);
    const free = row.map(() => true);
    const claims = order.map((point) => {
      const made = { point, at: grid[point], ...claim(row, grid[point], free) };
      free[made.entry] = false;
      return made;
    });
    return { h, grid, density: heights, level: levels, order, claims, mask: free.map((isFree) => !isFree) };
  }

  // ---- the walk: what is said and drawn at each step

  const [NARROWEST, WIDEST] = [280, 760]; // pixels, and units of the drawing: its letters keep their size
  const HEIGHT = 300;
  const [TOP, BASE, GRID, CLAIMED, REST] = [24, 150, 190, 230, 270]; // where the curve and the lanes are
  const LEFT = 64;
  const RIGHT = 14;
  const POINTS = 200; // of the curve

  const number = (x, digits = 4) => x.toFixed(digits).replace("-", "−");
  const names = (entries) => (entries.length === 1 ? `entry ${entries[0]}` : `entries ${entries.join(", ")}`);

  /** The steps of a decision: a name, a sentence, and what is seen (claims: how many have been made). */
  function stepsOf(row, k, made) {
    const n = row.length;
    if (!made.order.length) {
      const sentence = `k = ${k} retains the whole row of ${n} entries: there is nothing to decide.`;
      return [{ name: "Mask", text: sentence, claims: 0, whole: true }];
    }
    const { h, grid, order, claims } = made;
    const spacing = k > 1 ? `, ${number((grid[k - 1] - grid[0]) / (k - 1))} apart` : "";
    const points = k > 1 ? `${k} points from the smallest to the largest value` : "one point, at the smallest value";
    const listed = (tell) => grid.map((at, i) => `${number(at)}: ${tell(i)}`).join("; ");
    const turns = order.map((point, turn) => `${turn + 1}. ${number(grid[point])}`).join("; ");
    const steps = [
      { name: "Bandwidth", text: `σ = ${number(h / 1.06 / n ** -0.2)}, so h = 1.06 σ n^(−1/5) = ${number(h)}.` },
      { name: "Grid", text: `k = ${k}: ${points}${spacing}.`, grid: true },
      { name: "Density", text: `At each point: ${listed((i) => number(made.density[i]))}.`, grid: true, curve: true },
      { name: "Levels", text: `Rounded, half to even: ${listed((i) => made.level[i])}.`, grid: true, curve: true, levels: true },
      { name: "Visits", text: `By level, the highest first, then from left to right: ${turns}.`, grid: true, curve: true, turns: true },
    ];
    claims.forEach((one, at) => {
      const before = one.taken.length ? `${names(one.taken)} ${one.taken.length === 1 ? "was" : "were"} nearer, but taken` : "no entry was nearer";
      const text = `Point ${one.point} at ${number(one.at)} claims entry ${one.entry} (${number(row[one.entry], 3)}), ${number(one.distance)} away; ${before}.`;
      steps.push({ name: `Claim ${at + 1} of ${k}`, text, grid: true, curve: true, turns: true, claims: at + 1 });
    });
    const kept = row.map((_, i) => i).filter((i) => made.mask[i]);
    const left = row.map((_, i) => i).filter((i) => !made.mask[i]);
    const text = `Retained: ${names(kept)}. Reset: ${names(left)}.`;
    steps.push({ name: "Mask", text, grid: true, curve: true, claims: k, whole: true });
    return steps;
  }

  function draw(row, made, step, width) {
    const low = Math.min(...row);
    const high = Math.max(...row);
    const room = 0.08 * (high - low);
    const x = (value) => LEFT + ((value - low + room) / (high - low + 2 * room)) * (width - LEFT - RIGHT);
    const parts = [];
    const tag = (name, kind, attributes, text = "") => {
      const written = Object.entries(attributes).map(([key, value]) => `${key}="${value}"`).join(" ");
      parts.push(`<${name} class="rw-${kind}" ${written}>${text}</${name}>`);
    };
    const lane = (y, text) => tag("text", "lane", { x: LEFT - 10, y: y + 4, "text-anchor": "end" }, text);
    const tick = (kind, at, y) => tag("line", kind, { x1: x(at), x2: x(at), y1: y - 10, y2: y + 10 });
    tag("line", "axis", { x1: LEFT, x2: width - RIGHT, y1: BASE, y2: BASE });
    if (step.curve) {
      const at = Array.from({ length: POINTS }, (_, i) => low - room + ((high - low + 2 * room) * i) / (POINTS - 1));
      const heights = at.map((value) => density(row, value, made.h));
      const most = Math.max(...heights);
      const y = (height) => BASE - (height / most) * (BASE - TOP);
      tag("polyline", "curve", { points: at.map((value, i) => `${x(value).toFixed(1)},${y(heights[i]).toFixed(1)}`).join(" ") });
      made.grid.forEach((point, i) => {
        tag("line", "stem", { x1: x(point), x2: x(point), y1: BASE, y2: y(made.density[i]) });
        tag("circle", "dot", { cx: x(point), cy: y(made.density[i]), r: 3.5 });
        if (step.levels) tag("text", "number", { x: x(point), y: y(made.density[i]) - 8, "text-anchor": "middle" }, made.level[i]);
      });
    }
    if (step.grid) {
      lane(GRID, "grid");
      made.grid.forEach((point) => tick("grid", point, GRID));
      if (step.turns) {
        made.order.forEach((point, turn) => tag("text", "number", { x: x(made.grid[point]), y: GRID - 14, "text-anchor": "middle" }, turn + 1));
      }
    }
    const claimed = new Set(made.claims.slice(0, step.claims).map((one) => one.entry));
    const kept = step.whole ? made.mask : row.map((_, i) => claimed.has(i));
    if (step.whole || step.claims) lane(CLAIMED, step.whole ? "retained" : "claimed");
    lane(REST, step.whole ? "reset" : step.claims ? "not yet" : "entries");
    row.forEach((value, i) => tick(kept[i] ? "kept" : "rest", value, kept[i] ? CLAIMED : REST));
    if (step.claims && !step.whole) {
      const one = made.claims[step.claims - 1];
      one.taken.forEach((i) => tag("text", "taken", { x: x(row[i]), y: CLAIMED + 5, "text-anchor": "middle" }, "×"));
      tag("line", "claim", { x1: x(one.at), y1: GRID + 10, x2: x(row[one.entry]), y2: CLAIMED - 10 });
      tag("text", "now", { x: x(one.at), y: GRID + 6, "text-anchor": "middle" }, "▼");
      tag("text", "now", { x: x(row[one.entry]), y: CLAIMED + 6, "text-anchor": "middle" }, "◆");
    }
    return `<svg width="${width}" height="${HEIGHT}" viewBox="0 0 ${width} ${HEIGHT}" aria-hidden="true">${parts.join("")}</svg>`;
  }

  /** Fill an element that has data-row and data-k with the walk. Without this script it is empty and takes no room. */
  function walk(host, index) {
    const row = host.dataset.row.split(",").map(Number);
    let k = Number(host.dataset.k);
    let at = 0;
    const id = (name) => `rule-walk-${index}-${name}`;
    host.innerHTML = `
      <p class="rw-controls">
        <span><label for="${id("k")}">k</label> <input type="range" id="${id("k")}" min="1" max="${row.length}" step="1" value="${k}"> <output for="${id("k")}"></output></span>
        <span><label for="${id("step")}">step</label> <input type="range" id="${id("step")}" min="1" step="1" value="1"> <output for="${id("step")}"></output></span>
        <span><button type="button" class="rw-back">previous</button> <button type="button" class="rw-forth">next</button></span>
      </p>
      <div class="rw-figure"></div>
      <p class="rw-words" role="status"></p>`;
    const find = (selector) => host.querySelector(selector);
    const [kSlider, stepSlider] = host.querySelectorAll("input");
    const [kOutput, stepOutput] = host.querySelectorAll("output");

    function show() {
      const made = decide(row, k);
      const steps = stepsOf(row, k, made);
      at = Math.min(Math.max(at, 0), steps.length - 1);
      const step = { claims: 0, ...steps[at] };
      stepSlider.max = steps.length;
      stepSlider.value = at + 1;
      kOutput.textContent = `${k} of ${row.length}`;
      stepOutput.textContent = `${at + 1} of ${steps.length}`;
      stepSlider.setAttribute("aria-valuetext", `${at + 1} of ${steps.length}: ${step.name}`);
      const figure = find(".rw-figure");
      figure.innerHTML = draw(row, made, step, Math.min(Math.max(figure.clientWidth, NARROWEST), WIDEST));
      const words = find(".rw-words");
      const name = document.createElement("strong");
      name.textContent = `${step.name}.`;
      words.replaceChildren(name, ` ${step.text}`);
      // Not disabled, which would take the focus from whoever has come to an end by keyboard.
      find(".rw-back").setAttribute("aria-disabled", at === 0);
      find(".rw-forth").setAttribute("aria-disabled", at === steps.length - 1);
    }
    const go = (to) => {
      at = to;
      show();
    };
    kSlider.addEventListener("input", () => {
      k = Number(kSlider.value);
      show();
    });
    stepSlider.addEventListener("input", () => go(Number(stepSlider.value) - 1));
    find(".rw-back").addEventListener("click", () => go(at - 1));
    find(".rw-forth").addEventListener("click", () => go(at + 1));
    host.addEventListener("keydown", (event) => {
      const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
      if (by === undefined || event.target.tagName === "INPUT" || event.altKey || event.ctrlKey || event.metaKey) return;
      event.preventDefault();
      go(at + by);
    });
    window.addEventListener("resize", show);
    show();
  }

  window.kenRule = { decide, level };
  const start = () => document.querySelectorAll(".rule-walk[data-row]").forEach(walk);
  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", start);
  else start();
})();
