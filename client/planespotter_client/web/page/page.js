// The page: takes photos, has them sent, and shows the answers that the filter lets through, a page at a time.

import * as cards from "./cards.js";
import { bringsFiles, fromDrop, fromList } from "./collect.js";
import { Sender } from "./send.js";
import { csv } from "./table.js";
import * as thumbs from "./thumbs.js";

const PER_PAGE = 48;
const REDRAW = 150; // milliseconds
const SPEAK = 10_000; // how often a screen reader hears of progress
const RATE_OVER = 10_000; // the rate is that of the last so many milliseconds

const LEVELS = { "": "All", model: "Model", family: "Family", constructor: "Constructor", unknown: "Unknown", failed: "Failed" };

const at = (id) => document.getElementById(id);
const number = (count) => count.toLocaleString("en");
const counted = (count) => `${number(count)} ${count === 1 ? "photo" : "photos"}`;

let photos = [];
const counts = new Map(); // level → photos
let done = 0;
let shownPage = 0;
let finished = []; // when the last photos were finished, oldest first
let spokenAt = -Infinity;
let ended = true; // and that was said

const sender = new Sender({
  answered: take,
  troubled: tell,
  described: describe,
  changed: () => redraw(),
});

// ---- taking photos in

function add(found) {
  if (!photos.length) document.body.classList.remove("empty");
  const added = found.map(({ file, name }, index) => ({ id: photos.length + index, file, name, state: "waiting", level: "waiting", version: 0 }));
  photos = photos.concat(added);
  ended = false;
  sender.add(added);
  redraw();
}

/** Show or hide where the network looked in a photo; ask for it the first time. */
async function look(photo) {
  photo.looking = !photo.looking;
  changedLook(photo);
  if (!photo.looking || photo.heat) return;
  photo.heatError = undefined;
  try {
    photo.heat = (await sender.explain(photo)).heat;
  } catch (error) {
    photo.heatError = error.message;
  }
  changedLook(photo);
}

function changedLook(photo) {
  photo.version += 1;
  draw();
}

function leftOut(others) {
  at("note").textContent = others
    ? `${number(others)} ${others === 1 ? "file that is no photo was" : "files that are no photos were"} left out.`
    : "";
}

addEventListener("dragover", (event) => {
  if (!bringsFiles(event.dataTransfer)) return;
  event.preventDefault();
  event.dataTransfer.dropEffect = "copy";
  document.body.classList.add("dragging");
});
addEventListener("dragleave", (event) => {
  if (!event.relatedTarget) document.body.classList.remove("dragging");
});
addEventListener("drop", async (event) => {
  document.body.classList.remove("dragging");
  if (!bringsFiles(event.dataTransfer)) return;
  event.preventDefault();
  leftOut(await fromDrop(event.dataTransfer, add));
});
addEventListener("paste", async (event) => {
  if (event.clipboardData.files.length) leftOut(await fromList(event.clipboardData.files, false, add));
});
for (const [button, input] of [["choose", "files"], ["choose-folder", "folder"]]) {
  at(button).addEventListener("click", () => at(input).click());
  at(input).addEventListener("change", async () => {
    const chosen = [...at(input).files];
    at(input).value = ""; // so that the same can be chosen again
    leftOut(await fromList(chosen, input === "folder", add));
  });
}
at("smaller").addEventListener("change", () => {
  sender.smaller = at("smaller").checked;
});

// ---- what comes back

function take(photo) {
  const before = photo.level;
  photo.level = photo.state === "done" ? photo.answer.level : photo.state === "failed" ? "failed" : "waiting";
  photo.version += 1;
  const [was, is] = [before !== "waiting", photo.level !== "waiting"];
  if (was) counts.set(before, counts.get(before) - 1);
  if (is) counts.set(photo.level, (counts.get(photo.level) ?? 0) + 1);
  done += is - was;
  if (is && !was) finished.push(performance.now());
  redraw();
}

function tell(sentence) {
  at("trouble").hidden = sentence === null;
  at("trouble-text").textContent = sentence ?? "";
  if (sentence !== null && sender.left) {
    const kept = sender.left;
    at("trouble-text").textContent += ` ${counted(kept)} ${kept === 1 ? "waits and is" : "wait and are"} sent again.`;
  }
  redraw();
}

function describe(model) {
  at("who").replaceChildren(
    cards.element("strong", {}, `${model.name} ${model.version}`), ` answers, at ${model.address}`,
  );
  cards.canLook(model.explains ? model.input : null, look);
  at("figures").textContent = [model.knows, ...model.accuracy].join(" ");
  const chosen = at("maker").value;
  const makers = Object.keys(model.tree);
  if (makers.join() === [...at("maker").options].slice(1).map((option) => option.value).join()) return;
  at("maker").replaceChildren(at("maker").options[0], ...makers.map((name) => new Option(name, name, false, name === chosen)));
}

// ---- the filter

for (const [level, words] of Object.entries(LEVELS)) {
  const input = cards.element("input", { type: "radio", name: "level", value: level, id: `level-${level || "all"}`, checked: !level });
  const label = cards.element("label", {}, input, words, " ", cards.element("span", { className: "count" }, "0"));
  label.dataset.level = level;
  at("levels").append(label);
}

function chosen() {
  const level = at("levels").querySelector("input:checked").value;
  const maker = at("maker").value;
  const text = at("text").value.trim().toLowerCase();
  if (!level && !maker && !text) return photos;
  return photos.filter((photo) => {
    if (level && photo.level !== level) return false;
    if (maker && (photo.answer?.path[0][0] !== maker || photo.level === "unknown")) return false;
    if (!text) return true;
    const words = photo.answer ? [photo.answer.name, ...photo.answer.path.map(([name]) => name)] : [photo.error ?? ""];
    return [photo.name, ...words].some((one) => one.toLowerCase().includes(text));
  });
}

at("filter").addEventListener("input", () => {
  shownPage = 0;
  redraw();
});
at("filter").addEventListener("submit", (event) => event.preventDefault());

function turn(by) {
  shownPage += by;
  draw();
  at("answers").focus({ preventScroll: true });
  at("answers").scrollIntoView();
}
at("before").addEventListener("click", () => turn(-1));
at("after").addEventListener("click", () => turn(1));

// ---- drawing

let due = 0;

function redraw() {
  due ||= setTimeout(draw, REDRAW);
}

function draw() {
  clearTimeout(due);
  due = 0;
  at("work").hidden = at("answers").hidden = !photos.length;
  document.body.classList.toggle("empty", !photos.length);
  if (!photos.length) {
    cards.show(at("cards"), []);
    return;
  }
  progress();
  for (const label of at("levels").querySelectorAll("label")) {
    const count = label.dataset.level ? counts.get(label.dataset.level) ?? 0 : photos.length;
    label.querySelector(".count").textContent = number(count);
  }
  const matching = chosen();
  const pages = Math.max(1, Math.ceil(matching.length / PER_PAGE));
  shownPage = Math.min(shownPage, pages - 1);
  cards.show(at("cards"), matching.slice(shownPage * PER_PAGE, (shownPage + 1) * PER_PAGE));
  const shown = matching === photos ? "" : matching.length
    ? `${number(matching.length)} of ${counted(photos.length)}.`
    : `None of the ${counted(photos.length)} matches. Choose “All”, or another name.`;
  if (at("shown").textContent !== shown) at("shown").textContent = shown;
  at("pages").hidden = pages === 1;
  at("where").textContent = `Page ${number(shownPage + 1)} of ${number(pages)}`;
  at("before").disabled = shownPage === 0;
  at("after").disabled = shownPage === pages - 1;
  at("csv").disabled = !done;
}

function progress() {
  const now = performance.now();
  finished = finished.filter((when) => now - when < RATE_OVER);
  const busy = done < photos.length && !sender.stopped;
  const span = finished.length > 1 ? now - finished[0] : 0;
  const rate = span > 500 ? (1000 * finished.length) / span : 0;
  at("bar").max = photos.length;
  at("bar").value = done;
  const words = [`${number(done)} of ${counted(photos.length)}`];
  if (busy && sender.trouble === null && rate) {
    words.push(`${rate >= 10 ? number(Math.round(rate)) : rate.toFixed(1)} a second`);
    words.push(`${duration((photos.length - done) / rate)} left`);
  } else if (sender.stopped && done < photos.length) words.push("stopped");
  at("numbers").textContent = words.join(", ");
  at("stop").hidden = done === photos.length;
  at("stop").textContent = sender.stopped ? "Go on" : "Stop";
  at("again").hidden = !counts.get("failed") || busy;
  speak(busy, now);
}

/** Say how far it is: at the start, every now and then, and at the end. */
function speak(busy, now) {
  if (busy) {
    if (now - spokenAt > SPEAK) {
      spokenAt = now;
      at("spoken").textContent = `${number(done)} of ${counted(photos.length)} have an answer.`;
    }
    ended = false;
    due ||= setTimeout(draw, 1000); // the rate goes down while nothing comes
  } else if (!ended) {
    const failed = counts.get("failed") ? `, ${number(counts.get("failed"))} of them failed` : "";
    at("spoken").textContent = sender.stopped
      ? `Stopped: ${number(done)} of ${counted(photos.length)} have an answer.`
      : `Done: ${counted(done)}${failed}.`;
    ended = true;
    spokenAt = -Infinity;
  }
}

function duration(seconds) {
  if (seconds < 60) return `${Math.max(1, Math.round(seconds))} s`;
  if (seconds < 3600) return `${Math.round(seconds / 60)} min`;
  return `${Math.floor(seconds / 3600)} h ${Math.round((seconds % 3600) / 60)} min`;
}

// ---- the other buttons

at("stop").addEventListener("click", () => (sender.stopped ? sender.go() : sender.stop()));
at("try").addEventListener("click", () => sender.ask());
at("again").addEventListener("click", () => {
  const failed = photos.filter((photo) => photo.state === "failed");
  for (const photo of failed) {
    Object.assign(photo, { state: "waiting", attempts: 0, error: undefined });
    take(photo);
  }
  sender.add(failed);
});
at("csv").addEventListener("click", () => {
  const address = URL.createObjectURL(new Blob(csv(photos), { type: "text/csv" }));
  cards.element("a", { href: address, download: "planespotter.csv" }).click();
  setTimeout(() => URL.revokeObjectURL(address), 60_000);
});
at("clear").addEventListener("click", () => {
  sender.forget();
  [photos, done, finished, shownPage, ended] = [[], 0, [], 0, true];
  at("spoken").textContent = "";
  counts.clear();
  thumbs.forget();
  leftOut(0);
  draw();
  at("choose").focus();
});
addEventListener("beforeunload", (event) => {
  if (done < photos.length) event.preventDefault(); // they would be forgotten
});

sender.ask();
