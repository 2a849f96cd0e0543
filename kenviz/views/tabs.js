// Tabs of the Explorer's stage: one is chosen; arrows go from one to the next, Home and End to the first and last.

function render({ model, el }) {
  const row = document.createElement("div");
  row.className = "kenviz-tabs";
  row.setAttribute("role", "tablist");
  row.setAttribute("aria-label", "what the stage shows");
  el.append(row);

  const choose = (value) => {
    model.set("value", value);
    model.save_changes();
  };
  const draw = () => {
    const had = row.contains(document.activeElement);
    const names = model.get("options");
    row.replaceChildren(
      ...names.map(([value, words], at) => {
        const tab = document.createElement("button");
        const chosen = value === model.get("value");
        tab.type = "button";
        tab.textContent = words;
        tab.setAttribute("role", "tab");
        tab.dataset.lmSuppressShortcuts = "true"; // JupyterLab and Notebook hear keys before the tab does
        tab.setAttribute("aria-selected", chosen);
        tab.tabIndex = chosen ? 0 : -1;
        tab.onclick = () => choose(value);
        tab.onkeydown = (event) => {
          const to = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: -1 }[event.key];
          if (to === undefined) return;
          event.preventDefault();
          event.stopPropagation();
          choose(names[(to + names.length) % names.length][0]);
        };
        return tab;
      }),
    );
    if (had) row.querySelector("[aria-selected=true]")?.focus();
  };
  model.on("change:options change:value", draw);
  draw();
  return () => {
    model.off("change:options change:value", draw);
    row.remove();
  };
}

export default { render };
