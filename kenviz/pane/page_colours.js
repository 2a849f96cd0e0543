// The colours of the page that a figure is in: light or dark, and the paper and ink that a theme gives its notebook.

// Whether the page is dark: as JupyterLab, Notebook and Voilà, or VS Code and marimo, say; elsewhere by its background.
const PAGES = Object.entries({
  ...{ "vscode-light": false, "vscode-dark": true },
  ...{ "theme-dark": true, "theme-light": false, "dark-theme": true, "light-theme": false },
});
function pageIsDark() {
  const { body } = document;
  if (body.dataset.jpThemeLight) return body.dataset.jpThemeLight === "false";
  for (const [name, dark] of PAGES)
    if (body.classList.contains(name)) return dark;
  const colour = getComputedStyle(body).backgroundColor;
  const [red, green, blue, alpha = 1] = (colour.match(/(?<![\w-])[\d.]+/g) ?? []).map(Number);
  return alpha > 0 && 0.299 * red + 0.587 * green + 0.114 * blue < (colour.startsWith("color(") ? 0.5 : 128);
}

// A colour as rgb(…): what is mixed, as where a host has no colours of its own, is computed to color(srgb …), which BokehJS
// has no word for.
function asRgb(colour) {
  if (!colour.startsWith("color(srgb ")) return colour;
  const [red, green, blue, alpha = 1] = colour.match(/(?<![\w-])[\d.]+/g).map(Number);
  return `rgba(${[red, green, blue].map((part) => Math.round(255 * part))}, ${alpha})`;
}

// Our own colours, by the kind of model, with the page's paper, ink and lines in place of ours: those of look.css, which
// are a theme's where it names them. Outside of our views the figure keeps ours.
function coloursOfPage(host, ours) {
  if (!host.closest(".kenviz-view")) return ours;
  const probe = document.createElement("span");
  probe.style.cssText = "background: var(--kenviz-paper); color: var(--kenviz-ink); outline: 1px solid var(--kenviz-line)";
  host.append(probe);
  const worn = getComputedStyle(probe);
  const [backgroundColor, color, outlineColor] = [worn.backgroundColor, worn.color, worn.outlineColor].map(asRgb);
  const page = new Map([
    [ours.Plot.background_fill_color, backgroundColor],
    [ours.Axis.axis_label_text_color, color],
    [ours.Plot.outline_line_color, outlineColor],
  ]);
  probe.remove();
  const put = (properties) =>
    Object.fromEntries(Object.entries(properties).map(([name, value]) => [name, page.get(value) ?? value]));
  return Object.fromEntries(Object.entries(ours).map(([kind, properties]) => [kind, put(properties)]));
}

// Figures are drawn on canvases, which no style sheet reaches: the colours are set on their models.
function paint(Bokeh, doc, colours) {
  for (const [kind, properties] of Object.entries(colours)) {
    const base = Bokeh.Models.get(kind);
    for (const target of doc.all_models) if (target instanceof base) target.setv(properties);
  }
}
