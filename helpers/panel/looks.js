// Show HTML. Elements with data-pick can be chosen: by a click, or with the
// arrow keys and Enter. Python is told which; Escape tells it "stop".

const KEYS = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 };

function render({ model, el }) {
  const listOf = (part) => part.closest("[data-list]");
  const pickOf = (event) => event.target.closest("[data-pick]");

  function show() {
    const old = el.contains(document.activeElement) && document.activeElement;
    el.innerHTML = model.get("value");
    if (!old || !old.dataset.pick) return;
    const same = el.querySelector(`[data-pick="${old.dataset.pick}"]`);
    const list = `[data-list="${listOf(old).dataset.list}"]`;
    (same ?? el.querySelector(`${list} [tabindex="0"]`))?.focus();
  }

  function choose(event) {
    const pick = pickOf(event);
    if (pick) model.send({ pick: pick.dataset.pick });
  }

  function press(event) {
    const pick = pickOf(event);
    if (!pick) return;
    if (event.key in KEYS) {
      const picks = [...listOf(pick).querySelectorAll("[data-pick]")];
      picks[picks.indexOf(pick) + KEYS[event.key]]?.focus();
    } else if (event.key === "Enter" || event.key === " ") choose(event);
    else return;
    event.preventDefault();
  }

  function escape(event) {
    const inside = el.closest(".story-panel")?.contains(event.target);
    if (event.key === "Escape" && inside) model.send({ pick: "stop" });
  }

  el.classList.add("panel-view");
  el.dataset.lmSuppressShortcuts = "true"; // arrows are ours, not JupyterLab's
  el.addEventListener("click", choose);
  el.addEventListener("keydown", press);
  document.addEventListener("keydown", escape, true);
  model.on("change:value", show);
  show();
  return () => document.removeEventListener("keydown", escape, true);
}

export default { render };
