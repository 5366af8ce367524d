"use strict";
// What the page knows, what of it is looked at, and in which order. Nothing here touches the page.

const data = JSON.parse(document.getElementById("data").textContent);
const DEFAULTS = {
  run: data.runs[0].label, alpha: 0, order: "given", reverse: false, name: "", class: "", measure: "score",
  least: "", most: "", failures: false, open: "",
};
const view = { ...DEFAULTS };
// latent -> what it was dragged to: an alpha of its own, a noise seed's place in the list
const dragged = { alpha: new Map(), seed: new Map() };
const collator = new Intl.Collator("en", { numeric: true });
const changes = new Map();

const between = (low, value, high) => Math.max(low, Math.min(high, value));

function currentRun() {
  return data.runs.find(run => run.label === view.run) ?? data.runs[0];
}

// The place of the alpha nearest to this one, among the run's ascending alphas.
function nearest(run, alpha) {
  return run.alphas.reduce((best, at, i) => (Math.abs(at - alpha) < Math.abs(run.alphas[best] - alpha) ? i : best), 0);
}

// What is shown of a latent: its strip in this run, which alpha and which noise seed.
function shownOf(latent, run = currentRun()) {
  const strips = run.strips[latent];
  const seed = between(0, dragged.seed.get(latent) ?? 0, strips.length - 1);
  const alpha = nearest(run, dragged.alpha.get(latent) ?? view.alpha);
  return { run, strip: strips[seed], seed, alpha };
}

function valueOf(run, strip, measure, alpha) {
  return strip.values[run.measures.indexOf(measure)]?.[alpha] ?? null;
}

// From the lowest to the highest alpha, of each noise seed; a value that is missing at either end gives none.
function changesBySeed(run, latent, measure) {
  const last = run.alphas.length - 1;
  const found = run.strips[latent].filter(Boolean).map(strip => {
    const ends = [valueOf(run, strip, measure, 0), valueOf(run, strip, measure, last)];
    return ends.includes(null) ? null : ends[1] - ends[0];
  });
  return found.filter(change => change !== null);
}

// The mean over the noise seeds of a latent's change; null where it is not known.
function change(run, latent, measure) {
  const key = `${run.label}\n${measure}`;
  if (!changes.has(key)) {
    changes.set(key, data.latents.map((_, i) => {
      const found = changesBySeed(run, i, measure);
      return found.length ? found.reduce((sum, value) => sum + value, 0) / found.length : null;
    }));
  }
  return changes.get(key)[latent];
}

// The change of the score by the noise seed that does worst: a failure where it does not rise.
function worst(run, latent) {
  return Math.min(...changesBySeed(run, latent, "score"));
}

function compare(first, second) {
  if (first === null || second === null) return (first === null) - (second === null);
  return typeof first === "string" ? collator.compare(first, second) : first - second;
}

// What each order goes by, the first first; changes begin with the largest.
function ranking(run) {
  const sign = view.reverse ? -1 : 1;
  const keys = {
    given: latent => sign * latent,
    name: latent => data.latents[latent].name,
    class: latent => data.latents[latent].class ?? null,
    failures: latent => sign * worst(run, latent),
    start: latent => {
      const { strip } = shownOf(latent, run);
      return strip ? -sign * valueOf(run, strip, "score", nearest(run, 0)) : null;
    },
  };
  if (view.order === "name" || view.order === "class") {
    return (a, b) => sign * compare(keys[view.order](a), keys[view.order](b)) || a - b;
  }
  const ofChange = latent => {
    const value = change(run, latent, view.order);
    return value === null ? null : -sign * value;
  };
  const key = keys[view.order] ?? ofChange;
  return (a, b) => compare(key(a), key(b)) || a - b;
}

function fits(run, latent) {
  const { name, class: label } = data.latents[latent];
  if (!run.strips[latent].some(Boolean)) return false;
  if (!name.toLowerCase().includes(view.name.toLowerCase())) return false;
  if (view.class !== "" && String(label) !== view.class) return false;
  if (view.failures && worst(run, latent) > 0) return false;
  if (view.least === "" && view.most === "") return true;
  const found = change(run, latent, view.measure);
  return found !== null && (view.least === "" || found >= +view.least) && (view.most === "" || found <= +view.most);
}

// The latents that the filter lets through, in order.
function listed() {
  const run = currentRun();
  return data.latents.map((_, i) => i).filter(i => fits(run, i)).sort(ranking(run));
}

function filtersInUse() {
  return ["name", "class", "failures"].filter(name => view[name] !== DEFAULTS[name]).length +
    (view.least !== "" || view.most !== "");
}

// The view as the end of the page's address; what is as at first is left out.
function asAddress() {
  const changed = Object.keys(DEFAULTS).filter(name => view[name] !== DEFAULTS[name]);
  return new URLSearchParams(changed.map(name => [name, String(view[name])])).toString();
}

// Takes the view from an address, as far as it makes sense.
function fromAddress(address) {
  const given = new URLSearchParams(address);
  for (const [name, start] of Object.entries(DEFAULTS)) {
    const text = given.get(name);
    view[name] = text === null ? start : typeof start === "boolean" ? text === "true" : text;
  }
  view.alpha = Number.isFinite(+view.alpha) ? +view.alpha : 0;
  for (const name of ["least", "most"]) if (!Number.isFinite(+view[name])) view[name] = "";
  view.run = currentRun().label;
  const { measures } = currentRun();
  if (!["given", "name", "class", "failures", "start", ...measures].includes(view.order)) view.order = DEFAULTS.order;
  if (!measures.includes(view.measure)) view.measure = DEFAULTS.measure;
}
