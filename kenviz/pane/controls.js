// What pane.js does for the controls beside a figure, which are ipywidgets and HTML.

// The button beside a line of Python copies it, in any view; one listener serves the page.
function copyOnClick() {
  if (globalThis.__kenviz_copies) return;
  globalThis.__kenviz_copies = true;
  document.addEventListener("click", async (event) => {
    const button = event.composedPath()[0].closest?.(".kenviz-copy"); // the target itself, also within a shadow root
    const code = button?.parentElement.querySelector("code");
    if (!code) return;
    try {
      await navigator.clipboard.writeText(code.textContent);
    } catch {
      // Plain http, or a page that may not: what is selected can be copied all the same.
      getSelection().selectAllChildren(code);
      if (!document.execCommand("copy")) return void (button.textContent = "selected");
    }
    button.textContent = "copied";
    setTimeout(() => (button.textContent = "copy"), 2000);
  });
}

// What takes keys of its own: letters choose in a list, arrows move a handle. JupyterLab would take them for commands on
// the cell (two d delete it) wherever the focus is not in a field to write in.
const KEYED = "select, button, [tabindex], input";

// Handles of sliders and buttons that show a sign alone have no name of their own in ipywidgets: that of the control
// is theirs, too. Controls may be drawn later than the figure beside them, so the view is watched.
function nameControls(el) {
  const name = (view) => {
    for (const control of view.querySelectorAll(KEYED)) control.setAttribute("data-lm-suppress-shortcuts", "true");
    for (const handle of view.querySelectorAll(".widget-slider .noUi-handle:not([aria-label])")) {
      const words = handle.closest(".widget-slider").querySelector(".widget-label")?.textContent;
      handle.dataset.lmSuppressShortcuts = "true"; // or arrows go from heading to heading in Notebook 7
      if (words) handle.setAttribute("aria-label", words);
    }
    for (const button of view.querySelectorAll(".widget-play button:not([aria-label])")) {
      const sign = /fa-(\w+)/.exec(button.querySelector("i")?.className ?? "")?.[1];
      button.setAttribute("aria-label", sign === "play" ? "play the steps" : (sign ?? "play"));
    }
  };
  const watch = new MutationObserver(() => watch.view && name(watch.view));
  const start = requestAnimationFrame(() => {
    watch.view = el.closest(".kenviz-explorer") ?? el.closest(".kenviz-view");
    if (!watch.view) return;
    name(watch.view);
    watch.observe(watch.view, { childList: true, subtree: true });
  });
  return () => {
    cancelAnimationFrame(start);
    watch.disconnect();
    watch.view = null;
  };
}
