// The page: takes photos, queues them for upload, and shows the results that match the filter, a page at a time.

import * as cards from "./cards.js";
import * as corrections from "./corrections.js";
import { labelsToCsv, toCsv } from "./csv.js";
import { byId, download, element, format, photoCount, setText } from "./dom.js";
import { fromDrop, fromList, hasFiles } from "./file_input.js";
import { decide } from "./levels.js";
import * as thumbnails from "./thumbnails.js";
import * as totals from "./totals.js";
import { UploadQueue } from "./upload_queue.js";
import * as viewer from "./viewer.js";
import { zipByType } from "./zip.js";

const CARDS_PER_PAGE = 48;
const REDRAW_DELAY = 150; // milliseconds
const ANNOUNCE_INTERVAL = 10_000; // how often a screen reader announces the progress, in milliseconds
const RATE_WINDOW = 10_000; // milliseconds over which the rate is measured

// What a photo is confident down to; a type is a leaf of the label tree.
const GROUPS = { "": "All", type: "Type", family: "Family", constructor: "Constructor", unknown: "Unknown", failed: "Failed" };
const PHONE = matchMedia("(max-width: 720px)");
const CALM = matchMedia("(prefers-reduced-motion: reduce)");

let photos = [];
let removed = []; // by "Remove all", until photos are added
let removals = 0; // how often "Remove all" was used
let nextId = 0;
const counts = new Map(); // group → photos
let done = 0;
let pageIndex = 0;
let selectedType = null; // of the totals
let finishTimes = []; // of the last photos, oldest first
let announcedAt = -Infinity;
let endAnnounced = true;
let described = ""; // the model that the page shows, as JSON

const queue = new UploadQueue({
  onChange: update,
  onError: showError,
  onModel: describe,
  onIdle: () => redraw(),
});

// ---- adding photos

/** Add files, except those that are here already; return how many those are. */
function add(files) {
  const known = new Set(photos.map(({ file }) => corrections.fileKey(file)));
  const added = [];
  for (const { file, name } of files) {
    const key = corrections.fileKey(file);
    if (known.has(key)) continue;
    known.add(key);
    const correction = corrections.load(file);
    added.push({ id: nextId++, file, name, correction, state: "waiting", level: "waiting", version: 0 });
  }
  enqueue(added);
  return files.length - added.length;
}

function enqueue(added) {
  const wasEmpty = !photos.length;
  if (added.length) showUndo([]);
  photos = photos.concat(added);
  endAnnounced = false;
  queue.add(added.filter(({ state }) => state === "waiting"));
  draw();
  if (wasEmpty && photos.length && PHONE.matches)
    byId("progress").scrollIntoView({ behavior: CALM.matches ? "auto" : "smooth" });
}

/** Add what `read(add, report)` finds, and report the files that were not added. */
async function addFrom(read) {
  let repeated = 0;
  const since = removals;
  const { skipped, problems } = await read(
    (files) => {
      if (since === removals) repeated += add(files); // otherwise the user has removed all meanwhile
    },
    (progress) => setText(byId("note"), progress),
  );
  const texts = problems;
  if (repeated) texts.push(`${photoCount(repeated)} ${repeated === 1 ? "is" : "are"} here already.`);
  if (skipped)
    texts.push(`${format(skipped)} ${skipped === 1 ? "file was skipped, as it is not a photo" : "files were skipped, as they are not photos"}.`);
  setText(byId("note"), texts.join(" "));
}

addEventListener("dragover", (event) => {
  if (!hasFiles(event.dataTransfer)) return;
  event.preventDefault();
  event.dataTransfer.dropEffect = "copy";
  document.body.classList.add("dragging");
});
addEventListener("dragleave", (event) => {
  if (!event.relatedTarget) document.body.classList.remove("dragging");
});
addEventListener("drop", (event) => {
  document.body.classList.remove("dragging");
  if (!hasFiles(event.dataTransfer)) return;
  event.preventDefault();
  addFrom((...callbacks) => fromDrop(event.dataTransfer, ...callbacks));
});
addEventListener("paste", (event) => {
  const { files } = event.clipboardData;
  if (files.length) addFrom((...callbacks) => fromList(files, false, ...callbacks));
});
for (const [button, input] of [["choose", "files"], ["choose-folder", "folder"], ["take", "camera"]]) {
  byId(button).addEventListener("click", () => byId(input).click());
  byId(input).addEventListener("change", () => {
    const chosen = [...byId(input).files];
    byId(input).value = ""; // so that the same files can be chosen again
    addFrom((...callbacks) => fromList(chosen, input === "folder", ...callbacks));
  });
}
byId("downscale").addEventListener("change", () => {
  queue.downscale = byId("downscale").checked;
});

// ---- results

/** Return the minimum probability of a confident name that is chosen; null for the thresholds of the model. */
function minimumProbability() {
  const { value } = byId("minimum");
  return value === "" ? null : Number(value);
}

byId("minimum").addEventListener("input", () => {
  for (const photo of photos) if (photo.state === "done") update(photo);
});

function update(photo) {
  if (photo.state === "done") decide(photo.prediction, minimumProbability());
  photo.level = photo.state === "done" ? photo.prediction.group : photo.state === "failed" ? "failed" : "waiting";
  const wasDone = photo.counted !== undefined;
  const isDone = photo.level !== "waiting";
  if (wasDone) counts.set(photo.counted, counts.get(photo.counted) - 1);
  if (isDone) counts.set(photo.level, (counts.get(photo.level) ?? 0) + 1);
  photo.counted = isDone ? photo.level : undefined;
  photo.version += 1;
  done += isDone - wasDone;
  if (isDone && !wasDone) finishTimes.push(performance.now());
  redraw();
}

function showError(message) {
  byId("error").hidden = message === null;
  const promise = message !== null && done < photos.length ? ` ${photoCount(photos.length - done)} will be sent again.` : "";
  setText(byId("error-text"), (message ?? "") + promise);
  redraw();
}

/** Show the description of the model, which comes again and again, unless it is the same. */
function describe(model) {
  const description = JSON.stringify(model);
  if (description === described) return;
  described = description;
  setText(byId("model-name"), model.taxonomy);
  byId("about").hidden = false;
  byId("accuracy").replaceChildren(...model.accuracy.map((sentence) => element("li", {}, sentence)));
  byId("model-version").replaceChildren("Model ", element("strong", {}, `${model.name} ${model.version}`), ` at ${model.address}`);
  const choice = byId("model-choice");
  choice.hidden = model.models.length < 2;
  choice.replaceChildren(...model.models.map((name) => new Option(name, name, false, name === model.name)));
  corrections.setTree(model.tree);
  const inputSize = model.heat_map_supported ? model.input_size : null;
  cards.enableHeatMaps(inputSize);
  viewer.setModel(inputSize);
  const select = byId("constructor");
  const selected = select.value;
  select.replaceChildren(
    select.options[0], ...Object.keys(model.tree).map((name) => new Option(name, name, false, name === selected)),
  );
}

/** Classify all photos again with another model of the server. */
byId("model-choice").addEventListener("change", () => {
  queue.useModel(byId("model-choice").value);
  const classified = photos.filter(({ state }) => state === "done" || state === "failed");
  for (const photo of classified) restart(photo);
  finishTimes = [];
  endAnnounced = false;
  queue.add(classified);
});

function restart(photo) {
  Object.assign(photo, {
    state: "waiting", attempts: 0, error: undefined, prediction: undefined, heatMap: undefined, heatMapShown: false,
  });
  update(photo);
}

function drawAgain(photo) {
  photo.version += 1;
  draw();
  viewer.refresh(photo);
}

// ---- heat maps, the large view and corrections

/** Show or hide the heat map of a photo; fetch it the first time. */
function toggleHeatMap(photo) {
  photo.heatMapShown = !photo.heatMapShown;
  drawAgain(photo);
  if (photo.heatMapShown) loadHeatMap(photo);
}

async function loadHeatMap(photo) {
  if (photo.heatMap || photo.heatMapLoading || !photo.prediction) return;
  photo.heatMapError = undefined;
  photo.heatMapLoading = true;
  try {
    photo.heatMap = (await queue.fetchHeatMap(photo)).heat_map;
  } catch (error) {
    photo.heatMapError = error.message;
  }
  photo.heatMapLoading = false;
  drawAgain(photo);
}

function correct(photo, correction) {
  photo.correction = correction;
  corrections.keep(photo.file, correction);
  drawAgain(photo);
}

cards.setActions({
  open: (photo) => viewer.open(photo, matchingPhotos()),
  correct: (photo) => viewer.open(photo, matchingPhotos(), { correct: true }),
  toggleHeatMap,
});
viewer.setActions({ save: correct, loadHeatMap, close: cards.focus });

// ---- the filter

for (const [group, text] of Object.entries(GROUPS)) {
  const input = element("input", { type: "radio", name: "level", value: group, id: `level-${group || "all"}`, checked: !group });
  const label = element("label", {}, input, text, " ", element("span", { className: "count" }, "0"));
  label.dataset.level = group;
  byId("levels").append(label);
}

const ORDERS = {
  added: null,
  most: (a, b) => confidence(b) - confidence(a),
  least: (a, b) => confidence(a) - confidence(b),
  type: (a, b) => (totals.labelOf(a) ?? "\uffff").localeCompare(totals.labelOf(b) ?? "\uffff", "en", { numeric: true }),
};

/** How confident a prediction is, as its card shows it; unknown aircraft come below, then photos without a prediction. */
function confidence({ prediction }) {
  if (!prediction) return -2;
  return prediction.probability - (prediction.group === "unknown" ? 1 : 0);
}

function matchingPhotos() {
  const group = byId("levels").querySelector("input:checked").value;
  const constructorName = byId("constructor").value;
  const text = byId("text").value.trim().toLowerCase();
  const order = ORDERS[byId("sort").value];
  const matching = group || constructorName || text || selectedType !== null
    ? photos.filter((photo) => matches(photo, group, constructorName, text)) : photos;
  return order ? matching.toSorted(order) : matching;
}

function matches(photo, group, constructorName, text) {
  const { prediction, correction } = photo;
  if (group && photo.level !== group) return false;
  if (selectedType !== null && totals.labelOf(photo) !== selectedType) return false;
  const predicted = photo.level === "unknown" ? undefined : prediction?.path[0].name;
  const builtBy = correction ? corrections.pathOf(correction)?.[0] : predicted;
  if (constructorName && builtBy !== constructorName) return false;
  if (!text) return true;
  const texts = prediction ? [prediction.name, ...prediction.path.map(({ name }) => name)] : [photo.error ?? ""];
  return [photo.name, correction, ...texts].some((each) => each.toLowerCase().includes(text));
}

byId("filter").addEventListener("input", () => {
  pageIndex = 0;
  redraw();
});
byId("filter").addEventListener("submit", (event) => event.preventDefault());
byId("tools-toggle").addEventListener("click", () => {
  const open = document.body.classList.toggle("tools-open");
  byId("tools-toggle").ariaExpanded = String(open);
});

function selectType(label) {
  selectedType = label;
  pageIndex = 0;
  draw();
}

function turnPage(step) {
  pageIndex += step;
  draw();
  byId("results").focus({ preventScroll: true });
  byId("results").scrollIntoView();
}
byId("previous").addEventListener("click", () => turnPage(-1));
byId("next").addEventListener("click", () => turnPage(1));

// ---- drawing

let redrawTimer = 0;

function redraw() {
  redrawTimer ||= setTimeout(draw, REDRAW_DELAY);
}

function draw() {
  clearTimeout(redrawTimer);
  redrawTimer = 0;
  byId("progress").hidden = byId("results").hidden = !photos.length;
  document.body.classList.toggle("empty", !photos.length);
  if (!photos.length) {
    cards.show(byId("cards"), []);
    return;
  }
  drawProgress();
  for (const label of byId("levels").querySelectorAll("label")) {
    const count = label.dataset.level ? counts.get(label.dataset.level) ?? 0 : photos.length;
    setText(label.querySelector(".count"), format(count));
  }
  totals.show({ bar: byId("totals-bar"), list: byId("totals-list") }, photos, selectedType, selectType);
  drawCards();
  byId("csv").disabled = byId("zip").disabled = !done;
  byId("labels").hidden = !photos.some(({ correction }) => correction);
}

function drawCards() {
  const matching = matchingPhotos();
  const pageCount = Math.max(1, Math.ceil(matching.length / CARDS_PER_PAGE));
  pageIndex = Math.min(pageIndex, pageCount - 1);
  cards.show(byId("cards"), matching.slice(pageIndex * CARDS_PER_PAGE, (pageIndex + 1) * CARDS_PER_PAGE));
  const summary = matching.length === photos.length ? "" : matching.length
    ? `${format(matching.length)} of ${photoCount(photos.length)}.`
    : `None of the ${photoCount(photos.length)} matches. Choose “All”, or change the filter.`;
  setText(byId("match-count"), summary);
  byId("pages").hidden = pageCount === 1;
  setText(byId("page-number"), `Page ${format(pageIndex + 1)} of ${format(pageCount)}`);
  byId("previous").disabled = pageIndex === 0;
  byId("next").disabled = pageIndex === pageCount - 1;
}

function drawProgress() {
  const now = performance.now();
  finishTimes = finishTimes.filter((time) => now - time < RATE_WINDOW);
  const busy = done < photos.length && !queue.stopped;
  const span = finishTimes.length > 1 ? now - finishTimes[0] : 0;
  const rate = span > 500 ? (1000 * finishTimes.length) / span : 0;
  byId("bar").max = photos.length;
  byId("bar").value = done;
  const texts = [`${format(done)} of ${photoCount(photos.length)}`];
  if (busy && queue.error !== null) texts.push("waiting for the server");
  else if (busy && rate) {
    texts.push(`${rate >= 10 ? format(Math.round(rate)) : rate.toFixed(1)} per second`);
    texts.push(`${duration((photos.length - done) / rate)} left`);
  } else if (queue.stopped && done < photos.length) texts.push("stopped");
  setText(byId("progress-text"), texts.join(", "));
  byId("progress").classList.toggle("done", done === photos.length);
  byId("stop").hidden = done === photos.length;
  setText(byId("stop"), queue.stopped ? "Resume" : "Stop");
  byId("retry").hidden = busy || !photos.some(({ state, retryable }) => state === "failed" && retryable);
  announce(busy, now);
}

/** Announce the progress to screen readers: at the start, periodically, and at the end. */
function announce(busy, now) {
  const progress = `${format(done)} of ${photoCount(photos.length)} classified.`;
  if (busy) {
    if (now - announcedAt > ANNOUNCE_INTERVAL) {
      announcedAt = now;
      byId("announcements").textContent = progress;
    }
    endAnnounced = false;
    redrawTimer ||= setTimeout(draw, 1000); // the rate falls while no results arrive
  } else if (!endAnnounced) {
    const failed = counts.get("failed") ? `, ${format(counts.get("failed"))} of them failed` : "";
    byId("announcements").textContent = queue.stopped ? `Stopped: ${progress}` : `Done: ${photoCount(done)}${failed}.`;
    endAnnounced = true;
    announcedAt = -Infinity;
  }
}

function duration(seconds) {
  if (seconds < 60) return `${Math.max(1, Math.round(seconds))} s`;
  if (seconds < 3600) return `${Math.round(seconds / 60)} min`;
  return `${Math.floor(seconds / 3600)} h ${Math.round((seconds % 3600) / 60)} min`;
}

// ---- the other buttons

byId("stop").addEventListener("click", () => (queue.stopped ? queue.resume() : queue.stop()));
byId("try").addEventListener("click", () => queue.connect());
byId("retry").addEventListener("click", () => {
  const failed = photos.filter((photo) => photo.state === "failed" && photo.retryable);
  for (const photo of failed) restart(photo);
  queue.add(failed);
});
byId("csv").addEventListener("click", () => download(toCsv(photos), "planespotter.csv"));
byId("labels").addEventListener("click", () => download(labelsToCsv(photos), "labels.csv"));
byId("zip").addEventListener("click", async () => {
  const sorted = photos.filter(({ prediction, correction }) => prediction || correction);
  byId("zip").disabled = true;
  try {
    const zip = await zipByType(sorted, (count) => setText(byId("note"), `Packing ${format(count)} of ${photoCount(sorted.length)}.`));
    setText(byId("note"), "");
    download(zip, "planespotter.zip");
  } catch (error) {
    setText(byId("note"), error.name === "Error" ? error.message
      : "A photo can no longer be read: it was moved, changed or deleted. Remove all, and drop the photos again.");
  }
  byId("zip").disabled = false;
});

/** Offer to restore `list`; an empty list withdraws the offer. */
function showUndo(list) {
  removed = list;
  byId("undo").hidden = !removed.length;
  setText(byId("undo-text"), removed.length ? `${photoCount(removed.length)} removed.` : "");
}

byId("clear").addEventListener("click", () => {
  showUndo(photos);
  removals += 1;
  queue.clear();
  [photos, done, finishTimes, pageIndex, selectedType, endAnnounced] = [[], 0, [], 0, null, true];
  byId("announcements").textContent = "";
  counts.clear();
  thumbnails.clear();
  setText(byId("note"), "");
  draw();
  byId("undo").focus();
});
byId("undo").addEventListener("click", () => {
  const restored = removed;
  for (const photo of restored) {
    photo.counted = undefined;
    if (photo.state !== "done" && photo.state !== "failed") photo.state = "waiting";
    update(photo);
  }
  enqueue(restored);
  byId("results").focus();
});
addEventListener("beforeunload", (event) => {
  if (done < photos.length) event.preventDefault(); // they would be lost
});

queue.start();
