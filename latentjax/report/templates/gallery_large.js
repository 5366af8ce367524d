// The large view of one latent: its picture, its numbers, every alpha, noise seed and run, and the command.

const large = Object.fromEntries(
  ["", "-name", "-place", "-picture", "-now", "-curve", "-values", "-command", "-strip", "-rows", "-said"]
    .map(part => [part.slice(1) || "dialog", document.getElementById(`large${part}`)]));
large.latent = null;

function isLarge() {
  return large.dialog.open;
}

// Brings the large view up to date with where its latent is.
function drawLarge() {
  const shown = shownOf(large.latent);
  const { run, strip, seed, alpha } = shown;
  const { name, class: label } = data.latents[large.latent];
  // the strip has more pixels, where it has not it only adds the score in a corner; the sprite is there at once
  const finer = run.grid?.tile > run.tile ? [gridRegion(run, strip, alpha)] : [];
  large.name.textContent = name;
  announce(large.picture, name, shown);
  large.picture.classList.toggle("deep", run.seeds.length > 1);
  fill(large.picture, [...finer, spriteRegion(run, strip, alpha)]);
  const facts = [`alpha ${alphaText(run.alphas[alpha])}`];
  if (run.seeds.length > 1) facts.push(`noise seed ${run.seeds[seed]}`);
  if (label !== null) facts.push(`class ${label}`);
  if (data.runs.length > 1) facts.push(run.label);
  large.now.textContent = facts.join(" · ");
  large.command.textContent = run.command.replaceAll("{line}", String(strip.first + run.columns[alpha]));
  large.strip.href = `${run.path}grids/${strip.grid}`;
  drawValues(shown);
  drawCurve(shown);
  drawChosen(shown);
}

// Each measure here and at the original, and what the judges say where they looked.
function drawValues({ run, strip, alpha }) {
  const said = { class: "class as judged", identity: "identity (cosine of features)" };
  const start = nearest(run, 0);
  const row = (name, values) => {
    const [here, original] = [values[alpha], values[start]];
    const change = [here, original].includes(null) ? "–" : signed(here - original);
    const cells = name === "class" ? [here ?? "–", original ?? "–", ""] : [number(here), number(original), change];
    return make("tr", {}, make("th", { scope: "row", textContent: said[name] ?? name }),
      ...cells.map(textContent => make("td", { textContent })));
  };
  const head = make("tr", {}, ...["", "here", "original", "change"].map(text => make("th", { scope: "col", textContent: text })));
  const judged = run.judges.map((name, i) => row(name, strip.judged[i]));
  large.values.replaceChildren(head, ...run.measures.map((name, i) => row(name, strip.values[i])), ...judged);
}

// The score along alpha: a line for each noise seed, a dot where the picture is.
function drawCurve({ run, seed, alpha }) {
  const strips = run.strips[large.latent];
  const scores = strips.map(strip => (strip ? strip.values[run.measures.indexOf("score")] : []));
  const all = scores.flat().filter(score => score !== null);
  // scores within 0 to 1 fill the whole height, so that curves of two pictures compare
  const [low, high] = [Math.min(0, ...all), Math.max(1, ...all)];
  const x = i => 8 + 2.84 * along(run, i);
  const y = score => 82 - (74 * (score - low)) / (high - low);
  const element = (name, attributes) => {
    const made = document.createElementNS("http://www.w3.org/2000/svg", name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    return made;
  };
  const line = (values, chosen) => element("polyline", {
    points: values.flatMap((value, i) => (value === null ? [] : [`${x(i)},${y(value)}`])).join(" "),
    class: chosen ? "chosen" : "other",
  });
  const zero = element("line", { x1: x(nearest(run, 0)), x2: x(nearest(run, 0)), y1: 4, y2: 86, class: "zero" });
  const others = scores.filter((_, i) => i !== seed).map(values => line(values, false));
  const here = scores[seed][alpha];
  const dot = here === null ? [] : [element("circle", { cx: x(alpha), cy: y(here), r: 4.5 })];
  const ends = [0, run.alphas.length - 1].map(i => number(scores[seed][i]));
  large.curve.setAttribute("aria-label", `Score from ${ends[0]} at the lowest alpha to ${ends[1]} at the highest`);
  large.curve.replaceChildren(zero, ...others, line(scores[seed], true), ...dot);
}

// A row of small pictures for each noise seed of each run; the current run first.
function drawRows() {
  const current = currentRun();
  const runs = [current, ...data.runs.filter(run => run !== current && run.strips[large.latent].some(Boolean))];
  const rows = runs.flatMap(run => run.strips[large.latent].map((strip, seed) => strip && makeRow(run, strip, seed)));
  const marks = make("div", { className: "row marks", ariaHidden: "true" }, make("span"),
    ...current.alphas.map(alpha => make("span", { textContent: Math.abs(alpha) < 5e-4 ? "0" : alphaText(alpha) })));
  large.rows.replaceChildren(marks, ...rows.filter(Boolean));
  large.rows.style.setProperty("--alphas", current.alphas.length);
}

function makeRow(run, strip, seed) {
  const noise = run.seeds.length > 1 ? `noise ${run.seeds[seed]}` : "";
  const names = [data.runs.length > 1 ? run.label : "", noise].filter(Boolean);
  const button = make("button", { type: "button", title: names.join(", ") },
    ...(names.length ? names : ["strip"]).map(textContent => make("span", { textContent })));
  const cells = run.alphas.map((alpha, i) => {
    const cell = make("button", { type: "button", className: "cell", tabIndex: -1, ariaLabel: `alpha ${alphaText(alpha)}` });
    cell.dataset.alpha = i;
    fill(cell, [spriteRegion(run, strip, i)]);
    return cell;
  });
  const row = make("div", { className: "row" }, button, ...cells);
  Object.assign(row.dataset, { run: run.label, seed });
  return row;
}

// Marks the small picture that is the large one; on a narrow screen it comes to the middle of its row.
function drawChosen({ run, seed, alpha }) {
  for (const row of large.rows.querySelectorAll(".row:not(.marks)")) {
    const here = row.dataset.run === run.label && +row.dataset.seed === seed;
    row.firstChild.ariaPressed = here;
    row.querySelectorAll(".cell").forEach((cell, i) => cell.classList.toggle("on", here && i === alpha));
  }
  const cell = large.rows.querySelector(".on");
  if (cell) large.rows.scrollLeft = cell.offsetLeft - (large.rows.clientWidth - cell.clientWidth) / 2;
}

// Shows a latent large; `place` of `count` in the order of the tiles.
function openLarge(latent, place, count) {
  large.latent = latent;
  large.place.textContent = place < 0 ? "" : `${place + 1} of ${count}`;
  if (!isLarge()) large.dialog.showModal();
  drawRows();
  drawLarge();
  fetchSeeds(latent);
  large.picture.focus({ preventScroll: true });
}

async function copyCommand() {
  try {
    await navigator.clipboard.writeText(large.command.textContent);
    large.said.textContent = "The command is copied.";
    document.getElementById("copy").textContent = "Copied";
  } catch {
    // the browser does not allow it: the reader copies what is selected
    getSelection().selectAllChildren(large.command);
    large.said.textContent = "The command is selected: copy it with the keyboard.";
    document.getElementById("copy").textContent = "Selected";
  }
  setTimeout(() => (document.getElementById("copy").textContent = "Copy"), 2000);
}

// Buttons of the large view; `go(step)` turns over, `moved()` tells that the picture moved, `changed()` the run.
function listenLarge(go, moved, changed) {
  large.dialog.addEventListener("click", event => {
    const button = event.target.closest("button");
    if (besides(large.dialog, event) || button?.hasAttribute("data-close")) large.dialog.close();
    else if (button?.dataset.go) go(+button.dataset.go);
    else if (button?.id === "copy") copyCommand();
    else if (button?.closest(".row")) choose(button, moved, changed);
  });
  large.dialog.addEventListener("keydown", event => {
    const turned = { PageUp: -1, PageDown: 1 }[event.key];
    if (turned) event.preventDefault(), go(turned);
    else if (event.target === large.picture && slideByKey(event, large.latent)) moved(large.latent);
  });
  draggable(large.dialog, () => large.latent, moved);
}

function choose(button, moved, changed) {
  const { run, seed } = button.parentElement.dataset;
  const switched = run !== view.run;
  view.run = run;
  const alpha = button.dataset.alpha ?? shownOf(large.latent).alpha;
  moveTo(large.latent, +alpha, +seed);
  if (switched) changed();
  moved(large.latent);
}
