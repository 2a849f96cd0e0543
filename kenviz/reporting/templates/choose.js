// CustomJS of the map: show the matrix of the chosen cell, and one of its sampled rows, from the data in the page.
// Names are those of `kenviz/reporting/interactive_map.py`: cells, chosen, tiles, mapper, across, down, bins, curve,
// values, densities, matrixTitle, rowTitle; and `spread` of report.js.
const index = cells.selected.indices[0];
if (index === undefined) return;
const name = cells.data.tensor[index];
const script = document.getElementById("held");
const held = script.held ??= JSON.parse(script.textContent);
const of = held.tensors[index];
const tell = (detail) => document.dispatchEvent(new CustomEvent("ken:shown", {detail: {index, name, of, ...detail}}));

// BokehJS draws arrays of its own kind; there is always one to tell which.
const NDArray = tiles.data.image[0].constructor;

if (of === null) {
  tiles.data = {...tiles.data, image: [new NDArray([NaN], [1, 1])]};
  bins.data = {left: [], right: [], retained: [], all: []};
  curve.data = {x: [], y: []};
  matrixTitle.text = "not in this report";
  rowTitle.text = "";
  tell({shares: null, row: null});
  return;
}

// Counts of retained entries by tile, to shares in percent. The last tiles of a side may be smaller.
const [rows, columns] = of.shape, [down_by, across_by] = of.tile, [height, width] = of.tiles;
const bytes = Uint8Array.from(atob(of.counts), (letter) => letter.charCodeAt(0));
const view = new DataView(bytes.buffer);
const shares = [];
for (let i = 0; i < height; i++) {
  const line = [];
  for (let j = 0; j < width; j++) {
    const at = (i * width + j) * of.bytes;
    const count = of.bytes === 2 ? view.getUint16(at, true) : view.getUint32(at, true);
    const size = Math.min(down_by, rows - i * down_by) * Math.min(across_by, columns - j * across_by);
    line.push(100 * count / size);
  }
  shares.push(line);
}
mapper.setv({low: of.limits[0], high: of.limits[1]});
across.setv({start: 0, end: columns});
down.setv({start: rows, end: 0});
tiles.data = {image: [new NDArray(shares.flat(), [height, width])], x: [0], y: [0], dw: [width * across_by], dh: [height * down_by]};
matrixTitle.text = of.tile[0] * of.tile[1] === 1
  ? `${height} × ${width} entries` : `${height} × ${width} tiles of ${down_by} × ${across_by} entries`;

// One of the sampled rows, as the figure of a RowView draws it.
const row = of.rows[Math.min(chosen.data.row[0], of.rows.length - 1)];
const {bars, line} = spread(row);
bins.data = bars;
curve.data = line;
values.setv({start: row.points[0], end: row.points[1]});
densities.setv({start: 0, end: 1.08 * Math.max(...bars.all, ...line.y) || 1});
rowTitle.text = `row ${row.row}: ${row.count}`;
tell({shares, row});
