// A card for each visible photo: the photo, its prediction, the confidence, and the other candidates.

import * as heatMap from "./heat_map.js";
import * as thumbnails from "./thumbnails.js";

const LEVELS = ["constructor", "family", "model"];
const STATES = { waiting: "Waiting", sent: "Classifying" };
const cards = new Map(); // photo → its element
let inputSize = null; // of the model, if it supports heat maps
let toggleHeatMap = () => {};

/** Let cards call `toggle(photo)` for the heat map. `size` is the model's input (height, width); null if unsupported. */
export function enableHeatMaps(size, toggle) {
  inputSize = size;
  toggleHeatMap = toggle;
}

/** Show `photos` in `list`, in their order. Cards that stay are not touched, so that they keep the focus. */
export function show(list, photos) {
  const visible = new Set(photos);
  for (const [photo, card] of cards) {
    if (visible.has(photo)) continue;
    thumbnails.remove(card.querySelector("img"));
    card.remove();
    cards.delete(photo);
  }
  photos.forEach((photo, index) => {
    const card = cards.get(photo) ?? createCard(photo);
    if (list.children[index] !== card) list.insertBefore(card, list.children[index] ?? null);
    if (card.dataset.version !== String(photo.version)) fill(card, photo);
  });
}

export function element(tag, properties = {}, ...children) {
  const created = Object.assign(document.createElement(tag), properties);
  created.append(...children);
  return created;
}

function createCard(photo) {
  const image = element("img", { alt: `The photo ${photo.name}`, width: 3, height: 2 });
  const card = element(
    "li",
    {},
    element("div", { className: "picture" }, image, element("canvas", { ariaHidden: "true" })),
    element("p", { className: "file", title: photo.name }, photo.name),
    element("div", { className: "result" }),
    element(
      "button",
      {
        type: "button",
        className: "heat-map",
        ariaLabel: `Heat map of ${photo.name}`,
        onclick: () => toggleHeatMap(photo),
      },
      "Heat map",
    ),
    element("p", { className: "heat-map-text", role: "status" }),
  );
  cards.set(photo, card);
  thumbnails.show(image, photo);
  image.addEventListener("load", () => showHeatMap(card, photo));
  return card;
}

function fill(card, photo) {
  card.dataset.version = photo.version;
  card.dataset.level = photo.level;
  card.querySelector(".result").replaceChildren(...result(photo));
  card.querySelector(".heat-map").hidden = !inputSize || !photo.prediction;
  card.querySelector(".heat-map").ariaPressed = String(Boolean(photo.heatMapShown));
  showHeatMap(card, photo);
}

/** Show the heat map, that it is loading, or why there is none. */
function showHeatMap(card, photo) {
  const [canvas, image] = [card.querySelector("canvas"), card.querySelector("img")];
  const cells = photo.heatMapShown && photo.heatMap;
  canvas.hidden = !cells || !image.naturalWidth;
  canvas.className = image.className;
  if (!canvas.hidden) heatMap.drawOverlay(canvas, image, cells, inputSize);
  const position = cells ? heatMap.describePosition(cells) : "";
  const text = !photo.heatMapShown ? "" : photo.heatMapError ? photo.heatMapError
    : !cells ? "Loading"
    : position ? `Highlighted: evidence for ${deepestLabel(photo.prediction)}, mostly ${position}.`
    : `No part of the photo is evidence for ${deepestLabel(photo.prediction)}.`;
  const status = card.querySelector(".heat-map-text");
  if (status.textContent !== text) status.textContent = text;
}

function deepestLabel(prediction) {
  return prediction.path.map(({ name }) => name).filter(Boolean).at(-1);
}

function result(photo) {
  const { prediction } = photo;
  if (photo.state === "failed")
    return [
      element("h3", {}, element("strong", {}, "Failed")),
      element("p", { className: "error" }, photo.error),
    ];
  if (!prediction) return [element("h3", { className: "muted" }, STATES[photo.state] ?? photo.state)];
  return [
    element("h3", {}, element("strong", {}, prediction.name), prediction.detail),
    element("p", { className: "confidence" }, prediction.confidence),
    path(prediction),
    ...(prediction.candidates.length ? [candidates(prediction)] : []),
  ];
}

/** The path from the constructor to the model: a solid line under confident labels, a dotted one under guesses. */
function path(prediction) {
  const deepest = LEVELS.indexOf(prediction.level); // -1: no label is confident
  const labels = prediction.path.flatMap(({ name, percent }, depth) => {
    if (!name) return [];
    const confident = depth <= deepest;
    return [
      element(
        "li",
        { className: confident ? "confident" : "guess" },
        element("span", { className: "sr" }, `${LEVELS[depth]}, ${confident ? "confident" : "a guess"}: `),
        element("span", { className: "name" }, name),
        element("span", { className: "sr" }, ", "),
        element("span", { className: "percent" }, percent),
      ),
    ];
  });
  return element("ol", { className: "path", ariaLabel: "From the constructor to the model" }, ...labels);
}

function candidates(prediction) {
  const rows = prediction.candidates.map((leaf) => {
    const bar = element("i", { ariaHidden: "true" });
    bar.style.setProperty("--probability", leaf.probability);
    return element(
      "li", {}, element("span", {}, leaf.name), bar, element("span", { className: "percent" }, leaf.percent),
    );
  });
  return element("ol", { className: "candidates", ariaLabel: "Most probable types" }, ...rows);
}
