// The large view: one photo at a time, with arrow keys to the next one, and a field to correct its type.

import * as corrections from "./corrections.js";
import { byId, element, format, setText } from "./dom.js";
import * as view from "./prediction_view.js";

const dialog = byId("viewer");
let photos = [];
let index = 0;
let inputSize = null; // of the model, if it supports heat maps
let showHeatMaps = false; // stays on from photo to photo
let actions = {};
let url = "";

/** Let the view call `save(photo, correction)`, `loadHeatMap(photo)` and, when it closes, `close(photo)`. */
export function setActions(functions) {
  actions = functions;
}

/** Use a model: its input size, or null if it does not support heat maps. */
export function setModel(size) {
  inputSize = size;
  byId("types").replaceChildren(...corrections.suggestions().map((name) => new Option(name)));
}

/** Open the view at `photo`, one of `list`. */
export function open(photo, list, { correct = false } = {}) {
  photos = list;
  if (!dialog.open) dialog.showModal();
  show(Math.max(0, photos.indexOf(photo)));
  byId(correct ? "correction" : "viewer-next").focus();
}

/** Show again what changed of `photo`. */
export function refresh(photo) {
  if (dialog.open && photos[index] === photo) fill(photo);
}

function show(position) {
  index = (position + photos.length) % photos.length;
  const photo = photos[index];
  URL.revokeObjectURL(url);
  url = URL.createObjectURL(photo.file);
  byId("viewer-stage").classList.remove("none");
  Object.assign(byId("viewer-image"), { src: url, alt: `The photo ${photo.name}` });
  setText(byId("viewer-position"), `${format(index + 1)} of ${format(photos.length)}`);
  byId("correction").value = photo.correction ? corrections.nameOf(photo.correction) : "";
  setText(byId("viewer-file"), photo.name);
  if (showHeatMaps) actions.loadHeatMap(photo);
  fill(photo);
}

function fill(photo) {
  const { prediction } = photo;
  byId("viewer-name").replaceChildren(...view.headline(photo));
  byId("viewer-result").replaceChildren(...(prediction
    ? [view.path(prediction), element("p", { className: "confidence" }, prediction.confidence), view.candidates(prediction)]
    : photo.error ? [element("p", { className: "error" }, photo.error)] : []));
  byId("viewer-heat-map").hidden = !inputSize || !prediction;
  byId("viewer-heat-map").ariaPressed = String(showHeatMaps);
  byId("correct-form").hidden = !prediction;
  byId("uncorrect").hidden = !photo.correction;
  showHeatMap(photo);
}

function showHeatMap(photo) {
  view.showHeatMap({ ...photo, heatMapShown: showHeatMaps && Boolean(photo.prediction) }, {
    canvas: byId("viewer-canvas"), image: byId("viewer-image"), status: byId("viewer-heat-map-text"), inputSize,
  });
}

function saveCorrection(correction) {
  const photo = photos[index];
  actions.save(photo, correction);
  setText(byId("correction-note"), correction ? `Saved: ${corrections.nameOf(correction)}.` : "The correction is removed.");
}

byId("viewer-image").addEventListener("load", () => showHeatMap(photos[index]));
byId("viewer-image").addEventListener("error", () => byId("viewer-stage").classList.add("none"));
byId("viewer-previous").addEventListener("click", () => show(index - 1));
byId("viewer-next").addEventListener("click", () => show(index + 1));
byId("viewer-close").addEventListener("click", () => dialog.close());
byId("viewer-heat-map").addEventListener("click", () => {
  showHeatMaps = !showHeatMaps;
  if (showHeatMaps) actions.loadHeatMap(photos[index]);
  fill(photos[index]);
});
byId("correct-form").addEventListener("submit", (event) => {
  event.preventDefault();
  saveCorrection(byId("correction").value.trim());
});
byId("uncorrect").addEventListener("click", () => {
  byId("correction").value = "";
  saveCorrection("");
  byId("correction").focus();
});
dialog.addEventListener("keydown", (event) => {
  if (event.target.matches("input") || event.altKey || event.ctrlKey || event.metaKey) return;
  const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
  if (!step) return;
  event.preventDefault();
  show(index + step);
});
dialog.addEventListener("click", (event) => {
  if (event.target === dialog) dialog.close(); // the backdrop
});
dialog.addEventListener("close", () => {
  setText(byId("correction-note"), "");
  byId("viewer-image").removeAttribute("src");
  URL.revokeObjectURL(url);
  actions.close(photos[index]);
});
