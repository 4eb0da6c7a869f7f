// The review page. Texts of the data are only ever set as text. Nothing is kept in the browser: the program holds all.
"use strict";

const POLL_MS = 3000, NUM_KEYS = 9;
const at = id => document.getElementById(id);
const percent = share => `${(100 * share).toFixed(share > 0.9995 || share < 0.1 ? 1 : 0)} %`;

let labels = [], numbers = [], place = 0;
let row = null;          // the one at this place, as last seen; null at the end of the list
const undoable = [];     // {number, label}: the decision before each of this window's own
let isBusy = false;

async function ask(path, body) {
  const options = body && { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) };
  let answer;
  try {
    answer = await fetch(path, { ...options, signal: AbortSignal.timeout(20000) });
  } catch {
    throw new Error("No answer: \u201cicm review\u201d has ended, or is busy. All decisions up to the last message \u201cSaved\u201d "
      + "are saved. Start it again, and open the address that it prints.");
  }
  const content = await answer.json().catch(() => ({}));
  if (!answer.ok && answer.status !== 409) throw new Error(content.error || `The program answers ${answer.status}.`);
  showCounts(content.counts);
  return { ...content, isSaved: answer.ok };
}

// Runs one action at a time. A key that is pressed meanwhile is dropped: it would be for a row that was not seen yet.
// What an action cannot do is shown, until another one succeeds.
async function attempt(action) {
  if (isBusy) return;
  isBusy = true;
  try {
    await action();
    showProblem("");
  } catch (error) {
    showProblem(error.message);
  } finally {
    isBusy = false;
  }
}

function showProblem(text) {
  if (at("problem").textContent !== text) at("problem").textContent = text;  // said again only if it is another
  at("problem").hidden = !text;
}

function showCounts(counts) {
  const decided = counts.accepted + counts.changed;
  const parts = [`${decided} of ${counts.rows} reviewed`, `${counts.changed} changed`];
  if (counts.known) parts.push(`${counts.known} known before`);
  if (counts.superseded) parts.push(`${counts.superseded} in conflict`);
  at("counts").textContent = parts.join(" · ");
  at("progress").max = Math.max(1, counts.rows - counts.known);
  at("progress").value = decided;
  at("agreement").textContent = counts.share === null
    ? "No estimate yet: review some rows in random order. Rows in another order are no random sample, and are not counted "
      + "before it reaches them."
    : `${percent(counts.share[0])} of the labels found (95 % interval ${percent(counts.share[1])} to `
      + `${percent(counts.share[2])}): you kept ${counts.kept} of the first ${counts.sampled} rows in random order, all `
      + "of which were reviewed.";
}

async function loadNumbers() {
  const asked = new URLSearchParams(new FormData(at("filters")));
  ({ numbers } = await ask(`numbers?${asked}`));
  place = 0;
  await show();
}

async function fetchRow(number) {
  return (await ask(`rows?numbers=${number}`)).rows[0];
}

async function show() {
  row = place < numbers.length ? await fetchRow(numbers[place]) : null;
  render();
  if (!at("filters").contains(document.activeElement)) at("place").focus({ preventScroll: true });
  at("text").scrollTop = 0;
  window.scrollTo({ top: 0 });
}

function render() {
  const isBlind = at("blind").checked && row && !row.is_accepted && !row.is_changed;
  at("previous").disabled = !numbers.length || place === 0;
  at("next").disabled = place >= numbers.length;
  at("accept").disabled = !row || isBlind;
  at("undo").disabled = !undoable.length;
  renderLabels(isBlind);
  at("conflict").hidden = !row || !row.is_superseded;
  if (!row) {
    at("place").textContent = numbers.length ? "End of the list" : "No such row";
    at("facts").textContent = "";
    at("text").textContent = numbers.length
      ? "You have been through all rows of this list. Choose other rows above."
      : "No row fits. Choose other rows above.";
    return;
  }
  at("place").textContent = `Row ${place + 1} of ${numbers.length}`;
  const facts = [`id ${row.id}`];
  if (row.group !== null) facts.push(`group ${row.group}`);
  if (!isBlind) facts.push(`found: ${row.found}, certainty ${row.certainty.toFixed(2)}`);
  if (row.is_known) facts.push("known before the search");
  if (row.is_accepted) facts.push("reviewed: accepted");
  if (row.is_changed) facts.push(`reviewed: changed to ${row.label}`);
  at("facts").textContent = facts.join(" · ");
  at("text").textContent = row.text + (row.is_cut ? " … (cut here; the whole text is in examples.jsonl)" : "");
  if (row.is_superseded) {
    at("conflict").textContent = `Conflict: a review decided \u201c${row.decided}\u201d, then labels.jsonl was edited to `
      + `\u201c${row.in_file}\u201d, which is used. Choose a label to settle it.`;
  }
}

// In the task's order; of more than can have keys, the likeliest first.
function renderLabels(isBlind) {
  const searched = at("finder").querySelector("input").value.toLowerCase();
  const shown = labels.map((name, number) => ({ name, number, prob: row && !isBlind ? row.probs[number] : null }));
  if (labels.length > NUM_KEYS && row && !isBlind) shown.sort((one, other) => other.prob - one.prob);
  at("labels").replaceChildren(...shown.filter(({ name }) => name.toLowerCase().includes(searched)).map(labelButton));
}

function labelButton({ name, number, prob }, place) {
  const button = document.createElement("button");
  button.type = "button";
  button.disabled = !row;
  button.dataset.label = number;
  button.setAttribute("aria-pressed", String(prob !== null && row.label === name));
  if (place < NUM_KEYS) part(button, "kbd", "", String(place + 1));
  const text = part(button, "span", "name", "");
  for (const piece of name.split(/(?<=[_/.-])/)) text.append(piece, document.createElement("wbr"));
  if (prob !== null) {
    part(button, "span", "prob", prob.toFixed(2)).title = "the probability by which labels were chosen";
    part(button, "span", "share", "").style.width = `${100 * prob}%`;
  }
  return button;
}

function part(parent, kind, name, text) {
  const made = document.createElement(kind);
  made.className = name;
  made.textContent = text;
  parent.append(made);
  return made;
}

async function decide(label) {
  if (!row) return;
  const before = { number: row.number, label: row.is_superseded ? null : row.decided }, name = row.id;
  if (!await save(row, label)) return;
  undoable.push(before);
  place += 1;
  await show();
  at("said").textContent = `Saved: ${name} is ${label}.`;
}

// Whether the program saved it. If another window or an edit came first, shows what the row is now.
async function save(seen, label) {
  const answer = await ask("decisions", { number: seen.number, label, revision: seen.revision });
  row = answer.row;
  if (!answer.isSaved) {
    render();
    at("said").textContent = `Not saved: ${row.id} was decided elsewhere meanwhile, and is ${row.label} now. `
      + "Choose again to change it.";
  }
  return answer.isSaved;
}

async function undo() {
  const last = undoable.at(-1);
  if (!last || !await save(await fetchRow(last.number), last.label)) return;
  undoable.pop();
  if (numbers.includes(last.number)) place = numbers.indexOf(last.number);
  const undone = row;
  await show();
  at("said").textContent = `Undone: ${undone.id} is ${undone.label} again.`;
}

async function move(step) {
  place = Math.min(numbers.length, Math.max(0, place + step));
  at("said").textContent = "\u00a0";
  await show();
}

// What another window, another program or an edit of labels.jsonl changed of the row that is shown.
async function poll() {
  if (document.hidden || isBusy) return;
  const before = row;
  let problem = "";
  try {
    const now = before ? await fetchRow(before.number) : (await ask("run"), null);
    if (isBusy || row !== before) return;
    if (now && now.revision !== before.revision) {
      row = now;
      render();
      at("said").textContent = `${row.id} was decided elsewhere: it is ${row.label} now.`;
    }
  } catch (error) {
    problem = error.message;
  }
  showProblem(problem);
}

function onKey(event) {
  if (event.ctrlKey || event.altKey || event.metaKey) return;
  const target = event.target, isTyping = target.matches("input[type=search], select");
  if (event.key === "Escape" && isTyping) { at("place").focus(); return; }
  if (event.key === "Enter" && target.closest("#finder")) {
    event.preventDefault();
    const chosen = at("labels").querySelector("button");
    target.value = "";
    at("place").focus();
    chosen?.click();
    return;
  }
  if (isTyping || !at("keys").checked) return;
  if (event.key === "Enter" && target.matches("button, summary, a, input")) return;
  const action = actionOf(event.key);
  if (!action) return;
  event.preventDefault();
  if (!event.repeat || event.key.startsWith("Arrow")) action();
}

function actionOf(key) {
  if (/^[1-9]$/.test(key)) return () => at("labels").children[key - 1]?.click();
  return {
    Enter: () => at("accept").click(),
    ArrowRight: () => attempt(() => move(1)),
    ArrowLeft: () => attempt(() => move(-1)),
    u: () => attempt(undo),
    l: () => at("finder").querySelector("input").focus(),
    "/": () => { at("chooser").open = true; at("filters").elements.text.focus(); },
  }[key];
}

function start() {
  const filters = at("filters");
  let typing;
  at("chooser").open = innerWidth > 560;
  const load = () => isBusy ? setTimeout(load, 50) : attempt(loadNumbers);
  filters.addEventListener("submit", event => { event.preventDefault(); at("place").focus(); });
  filters.addEventListener("input", event => {
    clearTimeout(typing);
    typing = setTimeout(load, event.target.type === "search" ? 250 : 0);
  });
  at("labels").addEventListener("click", event => {
    const button = event.target.closest("button");
    if (button) attempt(() => decide(labels[button.dataset.label]));
  });
  at("accept").addEventListener("click", () => attempt(() => decide(row?.label)));
  at("undo").addEventListener("click", () => attempt(undo));
  at("next").addEventListener("click", () => attempt(() => move(1)));
  at("previous").addEventListener("click", () => attempt(() => move(-1)));
  at("blind").addEventListener("change", render);
  at("finder").querySelector("input").addEventListener("input", render);
  document.addEventListener("keydown", onKey);
  attempt(async () => {
    const run = await ask("run");
    labels = run.labels;
    document.title = `Review: ${run.name}`;
    at("title").textContent = `Review: ${run.name}`;
    at("finder").hidden = labels.length <= NUM_KEYS;
    for (const name of labels) filters.elements.label.add(new Option(name));
    await loadNumbers();
    setInterval(poll, POLL_MS);
  });
}

start();
