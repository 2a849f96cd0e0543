// A button that gives the Explorer the whole screen, and gives it back.

function render({ el }) {
  const button = document.createElement("button");
  button.type = "button";
  button.className = "kenviz-button";
  el.append(button);
  const whole = () => el.closest(".kenviz-explorer");
  // Within a shadow root, the document names the root's host in place of the element.
  const isFull = () => el.getRootNode().fullscreenElement === whole() || whole()?.classList.contains("kenviz-full");

  const say = () => {
    const full = whole() !== null && isFull();
    button.textContent = full ? "leave full screen" : "full screen";
    button.setAttribute("aria-pressed", Boolean(full));
  };
  const leave = async () => {
    whole().classList.remove("kenviz-full");
    if (document.fullscreenElement) await document.exitFullscreen();
  };
  button.onclick = async () => {
    if (isFull()) await leave();
    // Where the page may not have the screen, as in a frame, it takes all of the page.
    else await whole().requestFullscreen().catch(() => whole().classList.add("kenviz-full"));
    say();
  };
  const escape = (event) => {
    if (event.key === "Escape" && whole()?.classList.contains("kenviz-full")) leave().then(say);
  };
  document.addEventListener("fullscreenchange", say);
  document.addEventListener("keydown", escape);
  say();
  return () => {
    document.removeEventListener("fullscreenchange", say);
    document.removeEventListener("keydown", escape);
    button.remove();
  };
}

export default { render };
