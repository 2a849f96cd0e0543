// The field that narrows the list of tensors. What Enter goes to is sent with it: a change of the value may be on its
// way still, behind others.

function render({ model, el }) {
  const box = document.createElement("div");
  box.className = "kenviz-find";
  const label = document.createElement("label");
  label.className = "widget-label";
  label.textContent = "find";
  const input = document.createElement("input");
  input.type = "text";
  input.id = `kenviz-${Math.random().toString(36).slice(2)}`;
  input.placeholder = model.get("placeholder");
  input.title = model.get("hint");
  input.spellcheck = false;
  label.htmlFor = input.id;
  box.append(label, input);
  el.append(box);
  el.classList.add("kenviz-wide");

  const draw = () => {
    // Not while it is being typed in: what comes back is older than what stands there.
    if (document.activeElement !== input) input.value = model.get("value");
  };
  input.oninput = () => {
    model.set("value", input.value);
    model.save_changes();
  };
  input.onblur = draw;
  input.onkeydown = (event) => {
    if (event.key !== "Enter") return;
    event.preventDefault();
    model.send({ go: input.value });
  };
  model.on("change:value", draw);
  draw();
  return () => {
    model.off("change:value", draw);
    box.remove();
  };
}

export default { render };
