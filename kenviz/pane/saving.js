// Buttons below a figure: it as SVG or PNG, drawn by BokehJS itself, and its table as CSV, which Python writes.

function download(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000); // the browser reads it after the click
}

// The buttons; `root` gives the view of the figure, null before it is drawn, `ask` makes Python send the table.
function saveButtons(model, root, ask) {
  const row = document.createElement("div");
  row.className = "kenviz-saves";
  row.setAttribute("role", "group");
  row.setAttribute("aria-label", "save this figure");
  const button = (words, name, act) => {
    const made = document.createElement("button");
    made.type = "button";
    made.className = "kenviz-save";
    made.textContent = words;
    made.setAttribute("aria-label", name);
    made.title = name;
    made.onclick = act;
    row.append(made);
    return made;
  };
  const save = (type) => async () => {
    const figure = root();
    if (figure === null) return;
    // Of an SVG pixels are the unit; those of a PNG are as fine as the screen's.
    download(await figure.export(type, type === "png").to_blob(), `${model.get("stem")}.${type}`);
  };
  button("SVG", "save the figure as SVG", save("svg"));
  button("PNG", "save the figure as PNG", save("png"));
  const copy = button("copy table", "copy the table of the figure as CSV", ask);
  const follow = () => (row.hidden = model.get("stem") === "");
  follow();
  model.on("change:stem", follow);

  return {
    row,
    // What Python answers goes to the clipboard; into a file where a page may not write there.
    take: async (text) => {
      try {
        await navigator.clipboard.writeText(text);
      } catch {
        download(new Blob([text], { type: "text/csv;charset=utf-8" }), `${model.get("stem")}.csv`);
        return;
      }
      copy.textContent = "copied";
      setTimeout(() => (copy.textContent = "copy table"), 2000);
    },
    forget: () => {
      model.off("change:stem", follow);
      row.remove();
    },
  };
}
