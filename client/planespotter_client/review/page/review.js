// The review page: shows one photo at a time, and sends each decision before the next photo appears.

import { byId, element, format, photoCount, setText } from "./dom.js";
import { matches } from "./types.js";

const LEVELS = ["constructor", "family", "model"];
const KEYS = { a: "accept", Enter: "accept", c: "correct", u: "unknown", n: "no-aircraft", s: "skip" };
const AHEAD = 3; // photos that are loaded in advance
const RETRY_DELAY = 1000; // milliseconds
const POLL_DELAY = 3000; // milliseconds, while other people have the remaining photos
const NAME = "planespotter-reviewer";
const PAGE = "planespotter-review-page";

const page = sessionStorage.getItem(PAGE) ?? Array.from(crypto.getRandomValues(new Uint8Array(8)), (byte) => byte.toString(16)).join("");
sessionStorage.setItem(PAGE, page);

let types = [];
let photos = []; // the first one is on the page
const images = new Map(); // of the photos, by id
const decided = new Set(); // ids, as a response that was sent earlier may still list them
let progress = { decided: 0, total: 0, by: {} };
let busy = true;
let selected = 0; // of the matching types
let matching = [];
let pollTimer = 0;

// ---- the server

function post(body) {
  const headers = { "content-type": "application/json", "x-requested-with": "planespotter" };
  return { method: "POST", body: JSON.stringify({ page, ...body }), headers };
}

/** Send a request until there is a response; show that nothing is lost meanwhile. Throws the error in a response. */
async function send(path, body) {
  const options = body && post(body);
  for (;;) {
    let response;
    try {
      response = await fetch(path, options);
    } catch {
      showError("The review command does not respond. It may have ended: start it again. This page sends the decision again, and has lost nothing.");
      await new Promise((resolve) => setTimeout(resolve, RETRY_DELAY));
      continue;
    }
    const text = await response.text();
    if (response.ok) {
      showError("");
      return JSON.parse(text);
    }
    throw new Error(text.startsWith("{") ? JSON.parse(text).error : text);
  }
}

function showError(text) {
  byId("error").hidden = !text;
  setText(byId("error-text"), text);
}

/** Run an action unless another one is running: a key counts only for the photo that is on the page. */
async function exclusively(action) {
  if (busy) return;
  setBusy(true);
  try {
    await action();
  } catch (error) {
    showError(error.message);
  }
  setBusy(false);
}

function setBusy(value) {
  busy = value;
  document.body.ariaBusy = String(value);
}

// ---- photos

async function fill() {
  if (photos.length > AHEAD) return;
  const response = await send("next", {});
  const known = new Set(photos.map(({ id }) => id));
  photos = photos.concat(response.photos.filter(({ id }) => !known.has(id) && !decided.has(id)));
  for (const { id } of photos) {
    if (images.has(id)) continue;
    const image = new Image();
    image.src = `photos/${id}`;
    images.set(id, image);
  }
  showProgress(response);
}

async function showNext() {
  await fill();
  draw();
}

async function decide(decision, text = "") {
  const [photo] = photos;
  const by = byId("reviewer").value.trim();
  if (!by) {
    byId("reviewer").focus();
    throw new Error("Write your name first: each decision is stored with who and when.");
  }
  let response;
  try {
    response = await send("decisions", { photo: photo.id, decision, text, by });
  } catch (error) {
    if (!error.message.includes("has decided")) throw error;
    response = null; // somebody else was faster, or the response to this very decision was lost
  }
  decided.add(photo.id);
  images.delete(photo.id);
  photos.shift();
  closeCorrection();
  setText(byId("note"), `${decision}: ${response?.label.join(" ") || photo.file}`);
  if (response) showProgress(response);
  await showNext();
}

async function undo() {
  const response = await send("undo", { by: byId("reviewer").value });
  showProgress(response);
  if (!response.photo) {
    setText(byId("note"), "There is nothing to undo.");
    return;
  }
  decided.delete(response.photo.id);
  photos = [response.photo, ...photos.filter(({ id }) => id !== response.photo.id)];
  closeCorrection();
  setText(byId("note"), `Undone: ${response.photo.file}`);
  await showNext();
}

// ---- drawing

function draw() {
  clearTimeout(pollTimer);
  const [photo] = photos;
  byId("photo").hidden = !photo;
  byId("end").hidden = Boolean(photo);
  if (!photo) {
    drawEnd();
    return;
  }
  const constructorName = photo.proposal[0] ?? "";
  const name = photo.proposal.length > 1 ? `${constructorName} ${photo.proposal.at(-1)}` : constructorName;
  setText(byId("kind"), photo.is_label ? "The label says" : photo.proposal.length ? `The network predicts (${photo.percent})` : "");
  setText(byId("name"), name || "No label");
  byId("path").replaceChildren(...photo.proposal.map((part, depth) => {
    const guess = !photo.is_label && depth >= (photo.confident ?? LEVELS.length);
    return element("li", { className: guess ? "guess" : "", title: `${LEVELS[depth]}${guess ? ", not confident" : ""}` }, part);
  }));
  byId("notes").replaceChildren(...photo.notes.map((note) => element("li", {}, note)));
  drawCandidates(photo);
  setText(byId("file"), photo.file);
  byId("decisions").querySelector("[data-decision=accept]").disabled = !photo.proposal.length;
  drawImage(photo, name);
}

function drawCandidates({ candidates }) {
  byId("guesses").hidden = !candidates.length;
  byId("candidates").replaceChildren(...candidates.map(({ name, probability, percent }, index) => {
    const bar = element("i");
    bar.style.setProperty("--probability", probability);
    const button = element(
      "button", { type: "button", title: `Correct to ${name}` }, element("kbd", {}, String(index + 1)), element("span", {}, name), bar,
      element("span", { className: "percent" }, percent),
    );
    button.addEventListener("click", () => exclusively(() => decide("correct", name)));
    return element("li", {}, button);
  }));
}

function drawImage(photo, name) {
  const stage = byId("stage");
  const image = byId("image");
  stage.className = "loading";
  image.onload = () => (stage.className = "");
  image.onerror = () => (stage.className = "none");
  image.alt = name ? `Photo that may show ${name}` : "Photo without a label";
  image.src = `photos/${photo.id}`;
}

function drawEnd() {
  const remaining = progress.total - progress.decided;
  setText(byId("end-title"), remaining > 0 ? "Other reviewers have the remaining photos" : "All photos are reviewed");
  setText(
    byId("end-text"), remaining > 0 ? `${photoCount(remaining)} left; this page looks again every few seconds.`
      : "Every decision is saved. End the command with Ctrl-C: it writes the catalog and prints what the review shows.",
  );
  if (remaining > 0) pollTimer = setTimeout(() => exclusively(showNext), POLL_DELAY);
}

function showProgress(response) {
  progress = response.progress;
  byId("bar").max = Math.max(1, progress.total);
  byId("bar").value = progress.decided;
  const people = Object.keys(progress.by).length;
  const own = progress.by[byId("reviewer").value.trim()] ?? 0;
  const shared = people > 1 ? `, ${format(own)} by you, ${people} people` : "";
  setText(byId("progress-text"), `${format(progress.decided)} of ${photoCount(progress.total)}${shared}`);
  byId("summary").replaceChildren(...response.summary.map((line) => element("li", {}, line)));
}

// ---- the correction

function openCorrection() {
  byId("correction-form").hidden = false;
  byId("correction").value = "";
  showMatches();
  byId("correction").focus();
}

function closeCorrection() {
  byId("correction-form").hidden = true;
  byId("correction").blur();
}

function showMatches() {
  const text = byId("correction").value.trim();
  matching = matches(types, text).map(({ name }) => name);
  if (text && !matching.length) matching = [text]; // another type, which the command parses
  selected = 0;
  drawMatches();
}

function drawMatches() {
  byId("matches").replaceChildren(...matching.map((name, index) => {
    const item = element("li", { role: "option", id: `match-${index}`, ariaSelected: String(index === selected) }, name);
    item.addEventListener("click", () => {
      selected = index;
      save();
    });
    return item;
  }));
  if (matching.length) byId("correction").setAttribute("aria-activedescendant", `match-${selected}`);
  else byId("correction").removeAttribute("aria-activedescendant");
}

function save() {
  if (matching.length) exclusively(() => decide("correct", matching[selected]));
}

byId("correction").addEventListener("input", showMatches);
byId("correction").addEventListener("keydown", (event) => {
  const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  if (event.key === "Escape") closeCorrection();
  if (!step || !matching.length) return;
  event.preventDefault();
  selected = (selected + step + matching.length) % matching.length;
  drawMatches();
});
byId("correction-form").addEventListener("submit", (event) => {
  event.preventDefault();
  save();
});
byId("cancel").addEventListener("click", closeCorrection);

// ---- keys and buttons

function act(decision) {
  if (busy || !photos.length) return;
  if (decision === "correct") openCorrection();
  else if (decision !== "accept" || photos[0].proposal.length) exclusively(() => decide(decision));
}

addEventListener("keydown", (event) => {
  if (event.target instanceof HTMLInputElement || event.altKey || event.metaKey || event.repeat) return;
  const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  if (key === "z" || key === "Backspace") {
    event.preventDefault();
    exclusively(undo);
    return;
  }
  // Enter on a button or a link is a click on it; a photo that is still loading cannot be decided by accident.
  if (event.ctrlKey || byId("stage").className === "loading" || (key === "Enter" && event.target.closest("button, a, summary"))) return;
  const candidate = photos[0]?.candidates[Number(key) - 1];
  if (candidate) {
    event.preventDefault();
    exclusively(() => decide("correct", candidate.name));
  } else if (KEYS[key]) {
    event.preventDefault();
    act(KEYS[key]);
  }
});
for (const button of byId("decisions").querySelectorAll("[data-decision]")) {
  button.addEventListener("click", () => act(button.dataset.decision));
}
for (const id of ["undo", "end-undo"]) byId(id).addEventListener("click", () => exclusively(undo));
byId("reviewer").addEventListener("change", () => {
  localStorage.setItem(NAME, byId("reviewer").value.trim());
  showError("");
});
byId("reviewer").addEventListener("keydown", (event) => {
  if (event.key === "Enter") byId("reviewer").blur();
});

// A closed page returns its photos to the other reviewers.
addEventListener("pagehide", () => fetch("release", { ...post({}), keepalive: true }).catch(() => {}));
addEventListener("pageshow", (event) => event.persisted && location.reload());

busy = false;
exclusively(async () => {
  const review = await send("review");
  types = review.types;
  setText(byId("title"), `Review of ${review.title}`);
  document.title = `${review.title} - planespotter review`;
  byId("reviewer").value = localStorage.getItem(NAME) ?? review.reviewer;
  await showNext();
});
