// Show a story in parts. Elements with data-pick can be chosen: by a click, or
// with the arrow keys and Enter. Python is told which; Escape tells it "stop".

const KEYS = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 };
const FORM = `
  <p class="status" role="status"></p>
  <div class="left"><div data-part="story"></div><p data-part="note"></p></div>
  <div class="right"><div data-part="bars"></div>
    <div data-part="heads"></div></div>`;
const WAITING = "waiting: Python is still running other cells";

// Scroll a list, and not the page, to an item that is out of sight.
function reveal(item, list) {
  const below = item.offsetTop + item.offsetHeight - list.clientHeight;
  if (item.offsetTop < list.scrollTop || below > list.scrollTop)
    list.scrollTop = Math.max(0, below + list.clientHeight / 2);
}

function render({ model, el }) {
  const listOf = (part) => part.closest("[data-list]");
  const pickOf = (event) => event.target.closest("[data-pick]");
  const inside = (part) => el.closest(".story-panel")?.contains(part);
  let wait;

  function show(part) {
    const place = el.querySelector(`[data-part="${part}"]`);
    const focused = document.activeElement;
    const old = place.contains(focused) && focused.dataset.pick;
    place.innerHTML = model.get(part);
    const chosen = place.querySelector('[aria-selected="true"]');
    if (chosen) reveal(chosen, listOf(chosen));
    if (!old) return;
    const same = place.querySelector(`[data-pick="${old}"]`);
    (same ?? place.querySelector('[tabindex="0"]'))?.focus();
  }

  function say() {
    clearTimeout(wait);
    const status = el.querySelector(".status");
    const alarm = model.get("alarm");
    status.ariaLive = model.get("busy") ? "off" : "polite";
    status.classList.toggle("alarm", alarm);
    const text = (alarm ? "Error: " : "") + model.get("status");
    if (status.textContent !== text) status.textContent = text;
  }

  function expect() {
    clearTimeout(wait);
    const status = el.querySelector(".status");
    wait = setTimeout(() => (status.textContent = WAITING), 1000);
  }

  function send(pick) {
    model.send({ pick });
    expect();
  }

  function choose(event) {
    const pick = pickOf(event);
    if (pick) send(pick.dataset.pick);
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
    if (event.key === "Escape" && inside(event.target))
      model.send({ pick: "stop" });
  }

  function pressed(event) {
    const button = event.target.closest("button");
    if (button && inside(button)) expect();
  }

  el.classList.add("panel-view");
  el.dataset.lmSuppressShortcuts = "true"; // arrows are ours, not JupyterLab's
  el.innerHTML = FORM;
  el.addEventListener("click", choose);
  el.addEventListener("keydown", press);
  document.addEventListener("keydown", escape, true);
  document.addEventListener("click", pressed, true);
  for (const part of ["story", "note", "bars", "heads"]) {
    model.on(`change:${part}`, () => show(part));
    show(part);
  }
  model.on("change:beat", say);
  say();
  return () => {
    clearTimeout(wait);
    document.removeEventListener("keydown", escape, true);
    document.removeEventListener("click", pressed, true);
  };
}

export default { render };
