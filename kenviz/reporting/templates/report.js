"use strict";
const $ = (id) => document.getElementById(id);
const read = (id) => JSON.parse($(id).textContent);

// ---- colours: the reader's choice, or what the system says; figures of Bokeh are drawn where no style sheet reaches
const system = matchMedia("(prefers-color-scheme: dark)");
const colours = () => {
  const wanted = $("colours").value;
  return wanted === "auto" ? (system.matches ? "dark" : "light") : wanted;
};
function shade() {
  document.documentElement.dataset.theme = colours();
  const theme = read("themes")[colours()];
  for (const doc of window.Bokeh?.documents ?? [])
    for (const model of doc.all_models)
      for (const [kind, properties] of Object.entries(theme)) {
        const base = Bokeh.Models.get(kind);
        if (base && model instanceof base) model.setv(properties);
      }
}
$("colours").addEventListener("change", shade);
system.addEventListener("change", shade);
shade();

// ---- data as files, made in the page
// Text that a spreadsheet would take for a formula begins with an apostrophe.
const cell = (value) => {
  if (value === null || value === undefined) return "";
  const text = typeof value === "string" && /^[=+\-@\t\r]/.test(value) ? `'${value}` : String(value);
  return /[",\n\r]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
};
const csv = ({columns, rows}) => [columns, ...rows].map((line) => line.map(cell).join(",")).join("\r\n") + "\r\n";
// A matrix of counts by tile: where each tile begins, how large it is, how many of its entries are retained.
function tiles({grid, tile, shape}) {
  const rows = grid.flatMap((line, i) => line.map((count, j) => {
    const [row, column] = [i * tile[0], j * tile[1]];
    return [row, column, Math.min(tile[0], shape[0] - row), Math.min(tile[1], shape[1] - column), count];
  }));
  return {columns: ["first_row", "first_column", "rows", "columns", "retained"], rows};
}
// A row as it is embedded (`SampledRow.embedded`): bars in the units of the density, and the curve.
function spread(row) {
  const even = ([start, end], count) => Array.from({length: count + 1}, (_, i) => start + i * (end - start) / count);
  const edges = even(row.edges, row.all.length), step = (row.edges[1] - row.edges[0]) / row.all.length;
  const scaled = (counts) => counts.map((count) => count / (row.n * step));
  const bytes = new DataView(Uint8Array.from(atob(row.density), (letter) => letter.charCodeAt(0)).buffer);
  const y = Array.from({length: bytes.byteLength / 2}, (_, i) => row.peak * bytes.getUint16(2 * i, true) / 65535);
  return {
    bars: {left: edges.slice(0, -1), right: edges.slice(1), retained: scaled(row.retained), all: scaled(row.all)},
    line: {x: y.length ? even(row.points, y.length - 1) : [], y},
  };
}
function rowTable(row) {
  const {bars: {left, right}, line: {x, y}} = spread(row);
  const bars = left.map((from, i) => ["bar", from, right[i], row.retained[i], row.all[i], null]);
  const curve = x.map((at, i) => ["curve", at, at, null, null, Number(y[i].toPrecision(5))]);
  return {columns: ["what", "from", "to", "retained", "all", "density"], rows: [...bars, ...curve]};
}
function cells(table) {
  const columns = [...table.tHead.rows[0].cells].map((head) => head.textContent.trim());
  const value = (of) => of.dataset.v === undefined ? of.textContent.trim() : of.dataset.v === "" ? null : Number(of.dataset.v);
  return {columns, rows: [...table.tBodies[0].rows].map((row) => [...row.cells].map(value))};
}
function save(name, data) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob(["\ufeff", csv(data)], {type: "text/csv;charset=utf-8"}));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}
document.addEventListener("click", (event) => {
  const button = event.target.closest("button[data-download]");
  if (!button) return;
  const key = button.dataset.download;
  if (key === "tensors") return save("tensors.csv", cells($("all").querySelector("table")));
  if (key === "shown") return save(...shownData(button.dataset.what));
  const data = read("data")[key];
  save(`${key}.csv`, data.grid ? tiles(data) : data.edges ? rowTable(data) : data);
});

// ---- the table of all tensors: sorted by any column, searched
const order = new Intl.Collator(undefined, {numeric: true});
function sort(table, column) {
  const heads = [...table.tHead.rows[0].cells], head = heads[column];
  const rising = head.getAttribute("aria-sort") !== "ascending";
  heads.forEach((one) => one.removeAttribute("aria-sort"));
  head.setAttribute("aria-sort", rising ? "ascending" : "descending");
  const key = (row) => {
    const of = row.cells[column];
    return of.dataset.v === undefined ? of.textContent : of.dataset.v === "" ? null : Number(of.dataset.v);
  };
  const rows = [...table.tBodies[0].rows].map((row) => [key(row), row]);
  rows.sort(([a], [b]) => {
    if (a === null || b === null) return (a === null) - (b === null);  // what is missing is last either way
    const difference = typeof a === "number" ? a - b : order.compare(a, b);
    return rising ? difference : -difference;
  });
  table.tBodies[0].append(...rows.map(([, row]) => row));
}
for (const table of document.querySelectorAll("table.sortable"))
  [...table.tHead.rows[0].cells].forEach((head, i) => head.firstElementChild.addEventListener("click", () => sort(table, i)));

$("search")?.addEventListener("input", (event) => {
  const wanted = event.target.value.toLowerCase();
  let found = 0;
  const rows = [...$("all").querySelectorAll("tbody tr")];
  for (const row of rows) {
    row.hidden = ![0, 1, 2].some((i) => row.cells[i].textContent.toLowerCase().includes(wanted));
    found += !row.hidden;
  }
  $("found").textContent = `${found} of ${rows.length} tensors`;
});

// ---- the map: controls that the keyboard reaches, beside the figure; choose.js does what follows from a choice
let shown = null;
function shownData(what) {
  if (what === "matrix") return ["matrix.csv", tiles({grid: shown.counts, tile: shown.of.tile, shape: shown.of.shape})];
  return ["row.csv", rowTable(shown.row)];
}
document.addEventListener("ken:shown", ({detail}) => {
  const {index, of, shares, row} = detail;
  $("matrix").value = String(index);
  const name = $("matrix").selectedOptions[0].textContent;
  for (const button of document.querySelectorAll("[data-download=shown]")) button.disabled = of === null;
  if (of === null) {
    $("shown").textContent = `${name}: its tiles and rows are not in this report.`;
    return;
  }
  const [down, across] = of.tile, [rows, columns] = of.shape;
  const size = (i, j) => Math.min(down, rows - i * down) * Math.min(across, columns - j * across);
  const counts = shares.map((line, i) => line.map((share, j) => Math.round(share * size(i, j) / 100)));
  shown = {index, of, row, counts};
  const digits = (value) => String(Number(Number(value).toPrecision(3))).replace("-", "−");
  const place = row.quantile === null ? "which has no pretrained value"
    : `at the ${+(100 * row.quantile).toPrecision(6)} % quantile of the RMS of the update by row, ${digits(row.rms)}`;
  const width = row.bandwidth > 0 ? `bandwidth ${digits(row.bandwidth)}` : "no density, as all its values are equal";
  $("shown").textContent = `${name}. ${of.note} Below it row ${row.row}, ${place}: ${row.count} entries `
    + `are retained; ${width}.`;
});

if ($("figure")) {
  const figure = $("figure");
  const model = (name) => Bokeh.documents[0].get_model_by_name(name);
  const chooseCell = (index) => model("cells").selected.setv({indices: [index]});
  Bokeh.embed.embed_item(read("item"), figure).then(() => {
    shade();
    model("chosen").setv({data: {row: [Number(document.querySelector("[name=row]:checked").value)]}});
    chooseCell(Number(figure.dataset.first));
    figure.dataset.ready = "yes";
  });
  $("matrix").addEventListener("change", (event) => chooseCell(Number(event.target.value)));
  for (const radio of document.querySelectorAll("[name=row]"))
    radio.addEventListener("change", () => model("chosen").setv({data: {row: [Number(radio.value)]}}));
  document.addEventListener("click", (event) => {
    const button = event.target.closest("button[data-cell]");
    if (!button) return;
    chooseCell(Number(button.dataset.cell));
    $("map").scrollIntoView();
    $("matrix").focus({preventScroll: true});
  });
}
