// A card for each visible photo: the photo, its headline and path, and more on demand.

import { element } from "./dom.js";
import * as thumbnails from "./thumbnails.js";
import * as view from "./prediction_view.js";

const cards = new Map(); // photo → its element
let inputSize = null; // of the model, if it supports heat maps
let actions = {};

/** Let cards call `open(photo)`, `correct(photo)` and `toggleHeatMap(photo)`. */
export function setActions(functions) {
  actions = functions;
}

/** `size` is the model's input (height, width); null if it does not support heat maps. */
export function enableHeatMaps(size) {
  inputSize = size;
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

/** Focus the card of a photo, if it is visible. */
export function focus(photo) {
  cards.get(photo)?.querySelector(".picture").focus();
}

function createCard(photo) {
  const image = element("img", { alt: `The photo ${photo.name}`, width: 3, height: 2 });
  const picture = element(
    "button",
    { type: "button", className: "picture", ariaLabel: `Large view of ${photo.name}`, onclick: () => actions.open(photo) },
    image, element("canvas", { ariaHidden: "true" }),
  );
  const card = element(
    "li",
    {},
    picture,
    element("h3"),
    element("div", { className: "result" }),
    element("p", { className: "file", title: photo.name }, photo.name),
    more(photo),
  );
  cards.set(photo, card);
  thumbnails.show(image, photo);
  image.addEventListener("load", () => showHeatMap(card, photo));
  return card;
}

function more(photo) {
  const button = (className, text, label, onclick) =>
    element("button", { type: "button", className, ariaLabel: `${label} ${photo.name}`, onclick }, text);
  return element(
    "details",
    { className: "more" },
    element("summary", { ariaLabel: `More about ${photo.name}` }, "More"),
    element("p", { className: "confidence" }),
    element("div", { className: "bars" }),
    element(
      "p",
      { className: "buttons" },
      button("heat-map", "Heat map", "Heat map of", () => actions.toggleHeatMap(photo)),
      button("correct", "Correct", "Correct the type of", () => actions.correct(photo)),
    ),
    element("p", { className: "heat-map-text", role: "status" }),
  );
}

function fill(card, photo) {
  const { prediction } = photo;
  card.dataset.version = photo.version;
  card.dataset.level = photo.level;
  card.querySelector("h3").replaceChildren(...view.headline(photo));
  card.querySelector(".result").replaceChildren(...result(photo));
  card.querySelector(".more").hidden = !prediction;
  if (prediction) {
    card.querySelector(".confidence").textContent = prediction.confidence;
    card.querySelector(".bars").replaceChildren(view.candidates(prediction));
  }
  card.querySelector(".heat-map").hidden = !inputSize || !prediction;
  card.querySelector(".heat-map").ariaPressed = String(Boolean(photo.heatMapShown));
  showHeatMap(card, photo);
}

function result(photo) {
  if (photo.state === "failed") return [element("p", { className: "error" }, photo.error)];
  return photo.prediction ? [view.path(photo.prediction)] : [];
}

function showHeatMap(card, photo) {
  const [canvas, image, status] = ["canvas", "img", ".heat-map-text"].map((selector) => card.querySelector(selector));
  canvas.className = image.className;
  view.showHeatMap(photo, { canvas, image, status, inputSize });
}
