"use strict";
(() => {
  const study = JSON.parse(document.getElementById("told").textContent);
  const COLUMNS = ["study", "voter", "pair", "repeat", "left", "right", "chosen", "milliseconds", "time"];
  const PLACE = `latentjax study ${study.study}`;
  const PAUSE = 200; // milliseconds that a choice stays marked, in which a second click counts nothing
  const element = (id) => document.getElementById(id);
  const sides = { left: element("left"), right: element("right") };
  let kept = load();
  let sequence = [];
  let since = null; // when the pair was shown; null while no vote is taken
  let turn = 0; // tells a pair that is still loading from the one shown now

  // A generator of numbers in [0, 1) that the text decides: FNV-1a, then mulberry32.
  function random(text) {
    let state = 0x811c9dc5;
    for (const byte of new TextEncoder().encode(text)) state = Math.imul(state ^ byte, 0x01000193);
    return () => {
      state = (state + 0x6d2b79f5) | 0;
      let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
      mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
      return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
    };
  }

  function shuffled(items, next) {
    const order = [...items];
    for (let i = order.length - 1; i > 0; i--) {
      const j = Math.floor(next() * (i + 1));
      [order[i], order[j]] = [order[j], order[i]];
    }
    return order;
  }

  // Every pair once, then some of the first half again with the sides swapped; the voter's name decides.
  function sequenceOf(voter) {
    const next = random(`${study.study}:${voter}`);
    const turned = (pictures) => [...pictures].reverse();
    const once = shuffled(study.pairs, next).map(({ pair, pictures }) => ({
      pair, repeat: 0, pictures: next() < 0.5 ? pictures : turned(pictures),
    }));
    const again = shuffled(once.slice(0, Math.ceil(once.length / 2)), next).slice(0, study.repeats);
    return [...once, ...again.map(({ pair, pictures }) => ({ pair, repeat: 1, pictures: turned(pictures) }))];
  }

  function load() {
    try {
      const found = JSON.parse(localStorage.getItem(PLACE));
      if (found && typeof found.votes === "object") return found;
    } catch {
      // no storage, or not ours: begin anew
    }
    return { voter: null, votes: {} };
  }

  function save() {
    try {
      localStorage.setItem(PLACE, JSON.stringify(kept));
    } catch {
      tell("This browser keeps nothing: download your votes before you close the page.");
    }
  }

  const votes = () => kept.votes[kept.voter];

  function tell(text) {
    element("problem").textContent = text;
    element("problem").hidden = !text;
  }

  function enter(name) {
    const clean = [...name.normalize("NFC").replace(/\p{C}/gu, " ").trim()].slice(0, 40).join("");
    // spreadsheets would read a name such as "=1+1" as a formula
    const voter = clean.replace(/^[=+\-@\s]+/, "") || `anonymous-${crypto.getRandomValues(new Uint32Array(1))[0].toString(36)}`;
    kept.voter = voter;
    if (!Object.hasOwn(kept.votes, voter)) kept.votes[voter] = [];
    save();
    show();
    document.querySelector("section:not([hidden]) h1").focus();
  }

  // Shows what the votes kept so far lead to: the first page, the next pair, or the last page.
  function show() {
    const voter = kept.voter;
    sequence = voter === null ? [] : sequenceOf(voter);
    const given = voter === null ? 0 : votes().length;
    const place = voter === null ? "start" : given < sequence.length ? "voting" : "done";
    for (const id of ["start", "voting", "done"]) element(id).hidden = id !== place;
    for (const button of document.querySelectorAll(".undo")) button.disabled = given === 0;
    for (const button of document.querySelectorAll(".download")) button.disabled = given === 0;
    element("given").textContent = `${given} votes of ${voter}.`;
    element("progress").value = given;
    element("progress").max = sequence.length || 1;
    listKnown();
    since = null;
    turn += 1;
    if (place === "voting") present(sequence[given], given, turn);
  }

  async function present(trial, given, mine) {
    element("pair").classList.add("loading");
    const shown = Object.values(sides).map((button, i) => {
      button.classList.remove("chosen");
      const image = button.querySelector("img");
      image.src = `pictures/${trial.pictures[i]}`;
      return image.decode();
    });
    try {
      await Promise.all(shown);
    } catch {
      if (mine === turn) tell("A picture is missing: keep the folder “pictures” beside this page, then reload.");
      return;
    }
    if (mine !== turn) return;
    element("pair").classList.remove("loading");
    element("count").textContent = `Pair ${given + 1} of ${sequence.length}`;
    since = performance.now();
    for (const name of sequence[given + 1]?.pictures ?? []) new Image().src = `pictures/${name}`;
  }

  function vote(side) {
    if (since === null) return;
    const { pair, repeat, pictures } = sequence[votes().length];
    const [left, right] = pictures;
    const milliseconds = Math.round(performance.now() - since);
    const chosen = side === "left" ? left : right;
    votes().push({ pair, repeat, left, right, chosen, milliseconds, time: new Date().toISOString() });
    since = null;
    save();
    sides[side].classList.add("chosen");
    const mine = turn;
    setTimeout(() => mine === turn && show(), PAUSE);
  }

  function undo() {
    if (kept.voter === null || !votes().length) return;
    votes().pop();
    save();
    show();
  }

  function download() {
    const cell = (value) => (/[",\r\n]/.test(value) ? `"${String(value).replaceAll('"', '""')}"` : String(value));
    const rows = votes().map((given) => ({ study: study.study, voter: kept.voter, ...given }));
    const lines = [COLUMNS, ...rows.map((row) => COLUMNS.map((column) => row[column]))];
    const text = lines.map((line) => line.map(cell).join(",") + "\n").join("");
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([text], { type: "text/csv;charset=utf-8" }));
    link.download = `votes-${study.study}-${kept.voter.replace(/[^\p{L}\p{N}_-]+/gu, "_")}.csv`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
  }

  // A button for each voter who has voted in this browser, so that no votes are out of reach.
  function listKnown() {
    const known = Object.entries(kept.votes).filter(([, given]) => given.length);
    element("known").hidden = !known.length;
    element("known").querySelector(".row").replaceChildren(...known.map(([voter, given]) => {
      const button = document.createElement("button");
      button.textContent = `${voter} (${given.length})`;
      button.addEventListener("click", () => enter(voter));
      return button;
    }));
  }

  function leave() {
    kept.voter = null;
    save();
    element("name").value = "";
    show();
    element("name").focus();
  }

  document.querySelector("form").addEventListener("submit", (event) => {
    event.preventDefault();
    enter(element("name").value);
  });
  for (const [side, button] of Object.entries(sides)) button.addEventListener("click", () => vote(side));
  for (const [name, action] of Object.entries({ undo, download, leave })) {
    for (const button of document.querySelectorAll(`.${name}`)) button.addEventListener("click", action);
  }
  document.addEventListener("keydown", (event) => {
    if (event.repeat || event.ctrlKey || event.metaKey || event.altKey || event.target.tagName === "INPUT") return;
    if (event.key === "ArrowLeft") vote("left");
    if (event.key === "ArrowRight") vote("right");
    if (event.key.toLowerCase() === "u") undo();
  });
  // the same study in another window
  window.addEventListener("storage", (event) => {
    if (event.key !== PLACE) return;
    kept = load();
    show();
  });
  show();
})();
