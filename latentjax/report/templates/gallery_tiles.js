// Pictures that move under a finger: what every tile shows, drags, keys.

const signed = value => (value < 0 ? "−" : "+") + Math.abs(value).toFixed(2);
const number = value => (value === null ? "–" : value.toFixed(2).replace("-", "−"));
const alphaText = alpha => (Math.abs(alpha) < 5e-4 ? "original" : (alpha < 0 ? "−" : "+") + +Math.abs(alpha).toFixed(3));

function make(name, properties = {}, ...children) {
  const element = Object.assign(document.createElement(name), properties);
  element.append(...children);
  return element;
}

// Whether a click is on the darkened page around a dialog; its own padding is the dialog's too.
function besides(dialog, { target, clientX, clientY }) {
  const { left, right, top, bottom } = dialog.getBoundingClientRect();
  return target === dialog && (clientX < left || clientX > right || clientY < top || clientY > bottom);
}

// CSS that fills an element with one box of a larger picture. Half a pixel at the rim is left out: there browsers
// blend in what is beside the box.
function region(url, [left, top, width, height], [fullWidth, fullHeight]) {
  const rim = Math.min(width, height) > 8 ? 0.5 : 0;
  const [shownWidth, shownHeight] = [width - 2 * rim, height - 2 * rim];
  const place = (start, full, shown) => (full === shown ? 0 : (100 * (start + rim)) / (full - shown));
  return {
    image: `url("${url}")`,
    size: `${(100 * fullWidth) / shownWidth}% ${(100 * fullHeight) / shownHeight}%`,
    position: `${place(left, fullWidth, shownWidth)}% ${place(top, fullHeight, shownHeight)}%`,
  };
}

function fill(element, layers) {
  element.style.backgroundImage = layers.map(layer => layer.image).join(",");
  element.style.backgroundSize = layers.map(layer => layer.size).join(",");
  element.style.backgroundPosition = layers.map(layer => layer.position).join(",");
}

function spriteRegion(run, strip, alpha) {
  const { tile, columns, path } = run;
  return region(`${path}sprites/${strip.sprite}`, [columns[alpha] * tile, 0, tile, tile], [columns.length * tile, tile]);
}

// The tile in the strip at full size.
function gridRegion(run, strip, alpha) {
  const { grid, columns, path } = run;
  return region(`${path}grids/${strip.grid}`, [grid.left[columns[alpha]], grid.top, grid.tile, grid.tile], grid.size);
}

// What a slider says of itself to a screen reader.
function announce(slider, name, { run, strip, seed, alpha }) {
  const score = valueOf(run, strip, "score", alpha);
  const noise = run.seeds.length > 1 ? `, noise seed ${run.seeds[seed]}` : "";
  const at = Math.abs(run.alphas[alpha]) < 5e-4 ? "original" : `alpha ${alphaText(run.alphas[alpha])}`;
  slider.ariaLabel = name;
  slider.ariaValueMin = run.alphas[0];
  slider.ariaValueMax = run.alphas.at(-1);
  slider.ariaValueNow = run.alphas[alpha];
  slider.ariaValueText = `${at}, score ${number(score)}${noise}`;
}

// Where along the bar an alpha is, in percent.
const along = (run, alpha) => (run.alphas.length > 1 ? (100 * alpha) / (run.alphas.length - 1) : 50);

// The bar from the original to where the picture is, and a dot for each noise seed.
function drawCues(tile, { run, seed, alpha }) {
  const [start, end] = [along(run, nearest(run, 0)), along(run, alpha)];
  tile.moved.style.left = `${Math.min(start, end)}%`;
  tile.moved.style.width = `${Math.abs(end - start)}%`;
  tile.knob.style.left = `${end}%`;
  const dots = run.seeds.length > 1 ? run.seeds.length : 0;
  if (tile.dots.childElementCount !== dots) tile.dots.replaceChildren(...run.seeds.slice(0, dots).map(() => make("i")));
  [...tile.dots.children].forEach((dot, i) => dot.classList.toggle("on", i === seed));
}

// Brings one tile up to date; its picture only where it is near the screen.
function drawTile(tile) {
  const shown = shownOf(tile.latent);
  const { run, strip, alpha } = shown;
  if (!strip) return;
  announce(tile.element, data.latents[tile.latent].name, shown);
  const score = valueOf(run, strip, "score", alpha);
  const start = valueOf(run, strip, "score", nearest(run, 0));
  tile.score.textContent = number(score);
  tile.change.textContent = alpha === nearest(run, 0) || score === null ? "" : signed(score - start);
  tile.change.className = score < start ? "falls" : "rises";
  tile.picture.classList.toggle("deep", run.seeds.length > 1);
  drawCues(tile, shown);
  if (tile.near) fill(tile.picture, [spriteRegion(run, strip, alpha)]);
}

function makeTile(latent) {
  const { name } = data.latents[latent];
  const tile = {
    latent, near: false, picture: make("div", { className: "picture" }), dots: make("span", { className: "dots" }),
    moved: make("i", { className: "moved" }), knob: make("i", { className: "knob" }),
    score: make("span", { className: "score" }), change: make("span"),
  };
  tile.picture.append(tile.dots);
  const bar = make("div", { className: "along" }, tile.moved, tile.knob);
  const numbers = make("div", { className: "values" }, tile.score, tile.change);
  const caption = make("div", { className: "caption" }, make("span", { className: "name", textContent: name, title: name }));
  caption.append(numbers);
  tile.element = make("div", { className: "tile", tabIndex: 0, role: "slider" }, tile.picture, bar, caption);
  tile.element.dataset.latent = latent;
  return tile;
}

function moveTo(latent, alpha, seed) {
  const run = currentRun();
  dragged.alpha.set(latent, run.alphas[between(0, alpha, run.alphas.length - 1)]);
  dragged.seed.set(latent, between(0, seed, run.seeds.length - 1));
}

// Loads the other noise seeds of a latent before a finger gets there.
function fetchSeeds(latent) {
  const run = currentRun();
  for (const strip of run.strips[latent].filter(Boolean)) new Image().src = `${run.path}sprites/${strip.sprite}`;
}

// Lets every .picture in a container be dragged; `latentOf` tells whose it is, `moved` is called after each step.
// A sweep over four fifths of a picture goes through all alphas, one over its height through all noise seeds.
function draggable(container, latentOf, moved) {
  let drag = null;
  const stop = () => {
    drag?.picture.classList.remove("held");
    drag = null;
    // the click that ends a drag comes before this; a later one, which a screen reader makes without a finger, counts
    setTimeout(() => (container.dataset.justDragged = ""));
  };
  container.addEventListener("pointerdown", event => {
    const picture = event.target.closest(".picture");
    container.dataset.justDragged = "";
    if (!picture || event.button || drag) return;
    const latent = latentOf(picture);
    const { alpha, seed } = shownOf(latent);
    drag = { picture, latent, id: event.pointerId, x: event.clientX, y: event.clientY, alpha, seed };
    picture.setPointerCapture(event.pointerId);
    fetchSeeds(latent);
  });
  container.addEventListener("pointermove", event => {
    if (!drag || event.pointerId !== drag.id) return;
    const [right, down] = [event.clientX - drag.x, event.clientY - drag.y];
    if (!container.dataset.justDragged && Math.hypot(right, down) < 6) return;
    container.dataset.justDragged = "yes";
    drag.picture.classList.add("held");
    const { alphas, seeds } = currentRun();
    const { clientWidth, clientHeight } = drag.picture;
    const wide = (0.8 * clientWidth) / Math.max(1, alphas.length - 1);
    const high = Math.max(40, clientHeight / seeds.length);
    moveTo(drag.latent, drag.alpha + Math.round(right / wide), drag.seed + Math.round(down / high));
    moved(drag.latent);
  });
  for (const end of ["pointerup", "pointercancel"]) container.addEventListener(end, stop);
}

// Moves a latent by the keys of a slider; whether the key was one of them.
function slideByKey(event, latent) {
  const { run, alpha, seed } = shownOf(latent);
  const last = run.alphas.length - 1;
  const places = {
    ArrowLeft: [alpha - 1, seed], ArrowRight: [alpha + 1, seed], Home: [0, seed], End: [last, seed],
    ...(run.seeds.length > 1 && { ArrowUp: [alpha, seed - 1], ArrowDown: [alpha, seed + 1] }),
  };
  const place = event.shiftKey || event.ctrlKey || event.metaKey || event.altKey ? null : places[event.key];
  if (!place) return false;
  event.preventDefault();
  moveTo(latent, ...place);
  return true;
}
