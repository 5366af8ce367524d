// Puts the page together: the bar, the tiles in their order, the large view, the address.

const at = id => document.getElementById(id);
const reduced = matchMedia("(prefers-reduced-motion: reduce)");
const tiles = data.latents.map((_, latent) => makeTile(latent));
const visible = new Set();
let order = [];
let playing = null;
let waiting = null;

// Tiles near the screen have pictures; the others give theirs back. A thousand would not fit into memory.
const watcher = new IntersectionObserver(entries => {
  for (const { target, isIntersecting } of entries) {
    const tile = tiles[target.dataset.latent];
    tile.near = isIntersecting;
    if (isIntersecting) visible.add(tile);
    else visible.delete(tile), (tile.picture.style.backgroundImage = "");
    if (isIntersecting) drawTile(tile);
  }
}, { rootMargin: "100% 0px" });

// Those that are seen at once, the others when nothing has moved for a moment: screen readers read them all.
function drawTiles() {
  visible.forEach(drawTile);
  clearTimeout(waiting);
  waiting = playing ? null : setTimeout(() => order.forEach(latent => drawTile(tiles[latent])), 200);
}

// Order and filter anew.
function arrange() {
  order = listed();
  const kept = new Set(order);
  tiles.forEach(tile => (tile.element.hidden = !kept.has(tile.latent)));
  at("tiles").append(...order.map(latent => tiles[latent].element));
  const all = tiles.length;
  const nothing = order.length ? "" : " No picture fits: choose other filters.";
  at("count").textContent = (order.length === all ? `${all} pictures` : `${order.length} of ${all} pictures`) + nothing;
  drawTiles();
}

function drawBar() {
  const run = currentRun();
  const alpha = nearest(run, view.alpha);
  Object.assign(at("alpha"), { min: 0, max: run.alphas.length - 1, value: alpha });
  at("alpha").ariaValueText = alphaText(run.alphas[alpha]);
  at("alpha-value").textContent = alphaText(run.alphas[alpha]);
  for (const radio of at("runs").querySelectorAll("input")) radio.checked = radio.value === run.label;
  for (const name of ["order", "name", "class", "measure", "least", "most"]) {
    if (at(name).value !== String(view[name])) at(name).value = view[name];
  }
  at("failures").checked = view.failures;
  at("reverse").ariaPressed = view.reverse;
  const used = filtersInUse();
  at("filter").textContent = used ? `Filter (${used})` : "Filter";
  const noise = run.seeds.length > 1 ? " Up or down: another noise." : "";
  at("hint").textContent = `Drag a picture sideways: less … more.${noise} Click it to see it large.`;
}

function remember() {
  const address = asAddress();
  history.replaceState(null, "", address ? `#${address}` : location.pathname + location.search);
}

// After any choice in the bar.
function show() {
  drawBar();
  arrange();
  remember();
}

// All tiles go to one alpha.
function moveAll(alpha) {
  view.alpha = currentRun().alphas[alpha];
  dragged.alpha.clear();
  drawBar();
  drawTiles();
}

function play() {
  if (playing) {
    clearTimeout(playing);
    playing = null;
    remember();
    drawTiles();
  } else {
    let step = 1;
    const next = () => {
      const last = currentRun().alphas.length - 1;
      const alpha = nearest(currentRun(), view.alpha);
      if (alpha + step > last || alpha + step < 0) step = -step;
      moveAll(between(0, alpha + step, last));
      playing = setTimeout(next, reduced.matches ? 900 : 140);
    };
    next();
  }
  at("play").textContent = playing ? "❚❚" : "▶";
  at("play").ariaPressed = Boolean(playing);
}

function openTile(latent) {
  if (playing) play();
  view.open = data.latents[latent].name;
  remember();
  openLarge(latent, order.indexOf(latent), order.length);
}

function turnOver(step) {
  const place = order.indexOf(large.latent) + step;
  if (order[place] !== undefined) openTile(order[place]);
}

function moved(latent) {
  drawTile(tiles[latent]);
  if (isLarge()) drawLarge();
}

// Tiles in rows as they are on the screen: which one is a step away.
function neighbour(latent, key) {
  const columns = getComputedStyle(at("tiles")).gridTemplateColumns.split(" ").length;
  const step = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -columns, ArrowDown: columns }[key];
  return order[order.indexOf(latent) + step];
}

function onTileKey(event) {
  const tile = event.target.closest(".tile");
  if (!tile) return;
  const latent = +tile.dataset.latent;
  if (event.key === "Enter" || event.key === " ") {
    event.preventDefault();
    openTile(latent);
  } else if (event.shiftKey && event.key.startsWith("Arrow")) {
    event.preventDefault();
    tiles[neighbour(latent, event.key)]?.element.focus();
  } else if (slideByKey(event, latent)) moved(latent);
}

function fillChoices() {
  const option = (value, textContent) => make("option", { value, textContent });
  const { measures } = data.runs[0];
  const orders = [["given", "as evaluated"], ["score", "change of score"], ["failures", "failures first"],
    ["start", "score of the original"], ["name", "name"], ["class", "class"]];
  const others = measures.filter(name => name !== "score").map(name => option(name, `change of ${name}`));
  at("order").append(...orders.map(pair => option(...pair)), ...others);
  at("measure").append(...measures.map(name => option(name, name)));
  const counts = new Map();
  for (const { class: label } of data.latents) if (label !== null) counts.set(label, (counts.get(label) ?? 0) + 1);
  const classes = [...counts].sort((a, b) => a[0] - b[0]);
  at("class").append(option("", "all"), ...classes.map(([label, count]) => option(label, `${label} (${count})`)));
  at("class-label").hidden = classes.length < 2;
  at("runs").hidden = data.runs.length < 2;
  at("runs").append(...data.runs.map(({ label }) =>
    make("label", {}, make("input", { type: "radio", name: "run", value: label }), make("span", { textContent: label }))));
}

function listenBar() {
  const choose = (id, kind, read) => at(id).addEventListener(kind, event => {
    Object.assign(view, read(event.target));
    show();
  });
  at("alpha").addEventListener("input", event => {
    if (playing) play();
    moveAll(+event.target.value);
  });
  at("alpha").addEventListener("change", remember);
  at("play").addEventListener("click", play);
  choose("runs", "change", radio => ({ run: radio.value }));
  choose("reverse", "click", () => ({ reverse: !view.reverse }));
  for (const id of ["order", "class", "measure"]) choose(id, "change", ({ value }) => ({ [id]: value }));
  for (const id of ["name", "least", "most"]) choose(id, "input", ({ value }) => ({ [id]: value }));
  choose("failures", "change", ({ checked }) => ({ failures: checked }));
  choose("filters", "reset", () => ({ name: "", class: "", least: "", most: "", failures: false }));
  at("filters").addEventListener("submit", event => event.preventDefault());
  at("filter").addEventListener("click", () => {
    at("filters").hidden = !at("filters").hidden;
    at("filter").ariaExpanded = !at("filters").hidden;
  });
  at("help-button").addEventListener("click", () => at("help").showModal());
  at("help").addEventListener("click", event => {
    if (besides(at("help"), event) || event.target.closest("[data-close]")) at("help").close();
  });
}

function listenPage() {
  at("tiles").addEventListener("keydown", onTileKey);
  at("tiles").addEventListener("click", event => {
    const tile = event.target.closest(".tile");
    if (tile && !at("tiles").dataset.justDragged) openTile(+tile.dataset.latent);
  });
  draggable(at("tiles"), picture => +picture.closest(".tile").dataset.latent, moved);
  listenLarge(turnOver, moved, () => {
    show();
    openTile(large.latent);
  });
  large.dialog.addEventListener("close", () => {
    view.open = "";
    remember();
    tiles[large.latent].element.focus();
  });
  document.addEventListener("keydown", event => {
    if (event.key === "?" && !event.target.matches("input, select") && !isLarge() && !at("help").open) at("help").showModal();
  });
  addEventListener("hashchange", follow);
  // what is printed is there before it is asked for
  addEventListener("beforeprint", () => order.forEach(latent => drawTile(Object.assign(tiles[latent], { near: true }))));
}

// Takes the view from the page's address.
function follow() {
  fromAddress(location.hash.slice(1));
  dragged.alpha.clear();
  show();
  const latent = data.latents.findIndex(({ name }) => name === view.open);
  if (latent >= 0 && currentRun().strips[latent].some(Boolean)) openTile(latent);
  else if (isLarge()) large.dialog.close();
}

fillChoices();
listenBar();
listenPage();
at("tiles").append(...tiles.map(tile => tile.element));
tiles.forEach(tile => watcher.observe(tile.element));
at("app").classList.remove("script");
if (filtersInUse()) at("filters").hidden = false;
follow();
