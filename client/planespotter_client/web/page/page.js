// The page: takes photos, queues them for upload, and shows the results that match the filter, a page at a time.

import * as cards from "./cards.js";
import { toCsv } from "./csv.js";
import { fromDrop, fromList, hasFiles } from "./file_input.js";
import * as thumbnails from "./thumbnails.js";
import { UploadQueue } from "./upload_queue.js";

const CARDS_PER_PAGE = 48;
const REDRAW_DELAY = 150; // milliseconds
const ANNOUNCE_INTERVAL = 10_000; // how often a screen reader announces the progress, in milliseconds
const RATE_WINDOW = 10_000; // milliseconds over which the rate is measured

const LEVELS = { "": "All", model: "Model", family: "Family", constructor: "Constructor", unknown: "Unknown", failed: "Failed" };

const byId = (id) => document.getElementById(id);
const format = (count) => count.toLocaleString("en");
const photoCount = (count) => `${format(count)} ${count === 1 ? "photo" : "photos"}`;

let photos = [];
const counts = new Map(); // level → photos
let done = 0;
let pageIndex = 0;
let finishTimes = []; // of the last photos, oldest first
let announcedAt = -Infinity;
let endAnnounced = true;

const queue = new UploadQueue({
  onChange: update,
  onError: showError,
  onModel: describe,
  onIdle: () => redraw(),
});

// ---- adding photos

function add(files) {
  if (!photos.length) document.body.classList.remove("empty");
  const added = files.map(({ file, name }, index) => ({ id: photos.length + index, file, name, state: "waiting", level: "waiting", version: 0 }));
  photos = photos.concat(added);
  endAnnounced = false;
  queue.add(added);
  redraw();
}

/** Show or hide the heat map of a photo; fetch it the first time. */
async function toggleHeatMap(photo) {
  photo.heatMapShown = !photo.heatMapShown;
  drawAgain(photo);
  if (!photo.heatMapShown || photo.heatMap) return;
  photo.heatMapError = undefined;
  try {
    photo.heatMap = (await queue.fetchHeatMap(photo)).heat_map;
  } catch (error) {
    photo.heatMapError = error.message;
  }
  drawAgain(photo);
}

function drawAgain(photo) {
  photo.version += 1;
  draw();
}

function reportSkipped(count) {
  byId("note").textContent = count
    ? `${format(count)} ${count === 1 ? "file was skipped, as it is not a photo" : "files were skipped, as they are not photos"}.`
    : "";
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
addEventListener("drop", async (event) => {
  document.body.classList.remove("dragging");
  if (!hasFiles(event.dataTransfer)) return;
  event.preventDefault();
  reportSkipped(await fromDrop(event.dataTransfer, add));
});
addEventListener("paste", async (event) => {
  if (event.clipboardData.files.length) reportSkipped(await fromList(event.clipboardData.files, false, add));
});
for (const [button, input] of [["choose", "files"], ["choose-folder", "folder"]]) {
  byId(button).addEventListener("click", () => byId(input).click());
  byId(input).addEventListener("change", async () => {
    const chosen = [...byId(input).files];
    byId(input).value = ""; // so that the same files can be chosen again
    reportSkipped(await fromList(chosen, input === "folder", add));
  });
}
byId("downscale").addEventListener("change", () => {
  queue.downscale = byId("downscale").checked;
});

// ---- results

function update(photo) {
  const previous = photo.level;
  photo.level = photo.state === "done" ? photo.prediction.level : photo.state === "failed" ? "failed" : "waiting";
  photo.version += 1;
  const [wasDone, isDone] = [previous !== "waiting", photo.level !== "waiting"];
  if (wasDone) counts.set(previous, counts.get(previous) - 1);
  if (isDone) counts.set(photo.level, (counts.get(photo.level) ?? 0) + 1);
  done += isDone - wasDone;
  if (isDone && !wasDone) finishTimes.push(performance.now());
  redraw();
}

function showError(message) {
  byId("error").hidden = message === null;
  byId("error-text").textContent = message ?? "";
  if (message !== null && queue.length) {
    const count = queue.length;
    byId("error-text").textContent += ` ${photoCount(count)} will be sent again.`;
  }
  redraw();
}

function describe(model) {
  byId("model-name").replaceChildren(
    "Model ", cards.element("strong", {}, `${model.name} ${model.version}`), ` at ${model.address}`,
  );
  cards.enableHeatMaps(model.heat_map_supported ? model.input_size : null, toggleHeatMap);
  byId("accuracy").textContent = [model.taxonomy, ...model.accuracy].join(" ");
  const select = byId("constructor");
  const selected = select.value;
  const constructors = Object.keys(model.tree);
  if (constructors.join() === [...select.options].slice(1).map((option) => option.value).join()) return;
  select.replaceChildren(
    select.options[0], ...constructors.map((name) => new Option(name, name, false, name === selected)),
  );
}

// ---- the filter

for (const [level, text] of Object.entries(LEVELS)) {
  const input = cards.element("input", { type: "radio", name: "level", value: level, id: `level-${level || "all"}`, checked: !level });
  const label = cards.element("label", {}, input, text, " ", cards.element("span", { className: "count" }, "0"));
  label.dataset.level = level;
  byId("levels").append(label);
}

function matchingPhotos() {
  const level = byId("levels").querySelector("input:checked").value;
  const constructorName = byId("constructor").value;
  const text = byId("text").value.trim().toLowerCase();
  if (!level && !constructorName && !text) return photos;
  return photos.filter((photo) => {
    const { prediction } = photo;
    if (level && photo.level !== level) return false;
    if (constructorName && (prediction?.path[0].name !== constructorName || photo.level === "unknown")) return false;
    if (!text) return true;
    const texts = prediction ? [prediction.name, ...prediction.path.map(({ name }) => name)] : [photo.error ?? ""];
    return [photo.name, ...texts].some((each) => each.toLowerCase().includes(text));
  });
}

byId("filter").addEventListener("input", () => {
  pageIndex = 0;
  redraw();
});
byId("filter").addEventListener("submit", (event) => event.preventDefault());

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
    label.querySelector(".count").textContent = format(count);
  }
  const matching = matchingPhotos();
  const pageCount = Math.max(1, Math.ceil(matching.length / CARDS_PER_PAGE));
  pageIndex = Math.min(pageIndex, pageCount - 1);
  cards.show(byId("cards"), matching.slice(pageIndex * CARDS_PER_PAGE, (pageIndex + 1) * CARDS_PER_PAGE));
  const summary = matching === photos ? "" : matching.length
    ? `${format(matching.length)} of ${photoCount(photos.length)}.`
    : `None of the ${photoCount(photos.length)} matches. Choose “All”, or change the filter.`;
  if (byId("match-count").textContent !== summary) byId("match-count").textContent = summary;
  byId("pages").hidden = pageCount === 1;
  byId("page-number").textContent = `Page ${format(pageIndex + 1)} of ${format(pageCount)}`;
  byId("previous").disabled = pageIndex === 0;
  byId("next").disabled = pageIndex === pageCount - 1;
  byId("csv").disabled = !done;
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
  if (busy && queue.error === null && rate) {
    texts.push(`${rate >= 10 ? format(Math.round(rate)) : rate.toFixed(1)} per second`);
    texts.push(`${duration((photos.length - done) / rate)} left`);
  } else if (queue.stopped && done < photos.length) texts.push("stopped");
  byId("progress-text").textContent = texts.join(", ");
  byId("stop").hidden = done === photos.length;
  byId("stop").textContent = queue.stopped ? "Resume" : "Stop";
  byId("retry").hidden = !counts.get("failed") || busy;
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
  const failed = photos.filter((photo) => photo.state === "failed");
  for (const photo of failed) {
    Object.assign(photo, { state: "waiting", attempts: 0, error: undefined });
    update(photo);
  }
  queue.add(failed);
});
byId("csv").addEventListener("click", () => {
  const url = URL.createObjectURL(new Blob(toCsv(photos), { type: "text/csv" }));
  cards.element("a", { href: url, download: "planespotter.csv" }).click();
  setTimeout(() => URL.revokeObjectURL(url), 60_000);
});
byId("clear").addEventListener("click", () => {
  queue.clear();
  [photos, done, finishTimes, pageIndex, endAnnounced] = [[], 0, [], 0, true];
  byId("announcements").textContent = "";
  counts.clear();
  thumbnails.clear();
  reportSkipped(0);
  draw();
  byId("choose").focus();
});
addEventListener("beforeunload", (event) => {
  if (done < photos.length) event.preventDefault(); // they would be lost
});

queue.connect();
