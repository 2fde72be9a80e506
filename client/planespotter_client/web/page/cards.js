// A card for each photo on view: the photo, what it shows, how sure that is, and what else it may be.

import * as heat from "./heat.js";
import * as thumbs from "./thumbs.js";

const LEVELS = ["constructor", "family", "model"];
const STATES = { waiting: "Waiting", sent: "Being looked at" };
const cards = new Map(); // photo → its element
let seen = null; // the size that the network looks at, if it can tell where it looks
let look = () => {};

/** Let cards ask `ask(photo)` where the network looked, whose `input` is (height, width); null if it cannot tell. */
export function canLook(input, ask) {
  seen = input;
  look = ask;
}

/** Show `photos` in `list`, in their order. Cards that stay are not touched, so that focus stays too. */
export function show(list, photos) {
  const wanted = new Set(photos);
  for (const [photo, card] of cards) {
    if (wanted.has(photo)) continue;
    thumbs.leave(card.querySelector("img"));
    card.remove();
    cards.delete(photo);
  }
  photos.forEach((photo, place) => {
    const card = cards.get(photo) ?? make(photo);
    if (list.children[place] !== card) list.insertBefore(card, list.children[place] ?? null);
    if (card.dataset.drawn !== String(photo.version)) fill(card, photo);
  });
}

export function element(tag, properties = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

function make(photo) {
  const image = element("img", { alt: `The photo ${photo.name}`, width: 3, height: 2 });
  const card = element(
    "li",
    {},
    element("div", { className: "picture" }, image, element("canvas", { ariaHidden: "true" })),
    element("p", { className: "file", title: photo.name }, photo.name),
    element("div", { className: "said" }),
    element(
      "button",
      { type: "button", className: "look", ariaLabel: `Where it looked in ${photo.name}`, onclick: () => look(photo) },
      "Where it looked",
    ),
    element("p", { className: "looked", role: "status" }),
  );
  cards.set(photo, card);
  thumbs.show(image, photo);
  image.addEventListener("load", () => shine(card, photo));
  return card;
}

function fill(card, photo) {
  card.dataset.drawn = photo.version;
  card.dataset.level = photo.level;
  card.querySelector(".said").replaceChildren(...said(photo));
  card.querySelector(".look").hidden = !seen || !photo.answer;
  card.querySelector(".look").ariaPressed = String(Boolean(photo.looking));
  shine(card, photo);
}

/** Show where the network looked, or that this is not known yet, or why it cannot be known. */
function shine(card, photo) {
  const [canvas, image] = [card.querySelector("canvas"), card.querySelector("img")];
  const cells = photo.looking && photo.heat;
  canvas.hidden = !cells || !image.naturalWidth;
  canvas.className = image.className;
  if (!canvas.hidden) heat.glow(canvas, image, cells, seen);
  const place = cells ? heat.where(cells) : "";
  const words = !photo.looking ? "" : photo.heatError ? photo.heatError
    : !cells ? "Asking the server"
    : place ? `The glow is what spoke for ${deepest(photo.answer)}: most of it ${place}.`
    : `Nothing in the photo speaks for ${deepest(photo.answer)}.`;
  const told = card.querySelector(".looked");
  if (told.textContent !== words) told.textContent = words;
}

function deepest(answer) {
  return answer.path.map(([name]) => name).filter(Boolean).at(-1);
}

function said(photo) {
  const { answer } = photo;
  if (photo.state === "failed")
    return [
      element("h3", {}, element("strong", {}, "No answer")),
      element("p", { className: "why" }, photo.error),
    ];
  if (!answer) return [element("h3", { className: "quiet" }, STATES[photo.state] ?? photo.state)];
  return [
    element("h3", {}, element("strong", {}, answer.name), answer.rest),
    element("p", { className: "certainty" }, answer.certainty),
    path(answer),
    ...(answer.alternatives.length ? [bars(answer)] : []),
  ];
}

/** The way from the constructor to the model: a firm line under what is sure, a broken one under what is a guess. */
function path(answer) {
  const sure = LEVELS.indexOf(answer.level); // -1: nothing
  const steps = answer.path.flatMap(([name, , words], depth) => {
    if (!name) return [];
    const firm = depth <= sure;
    return [
      element(
        "li",
        { className: firm ? "sure" : "guess" },
        element("span", { className: "sr" }, `${LEVELS[depth]}, ${firm ? "sure" : "a guess"}: `),
        element("span", { className: "name" }, name),
        element("span", { className: "sr" }, ", "),
        element("span", { className: "percent" }, words),
      ),
    ];
  });
  return element("ol", { className: "path", ariaLabel: "From the constructor to the model" }, ...steps);
}

function bars(answer) {
  const rows = answer.alternatives.map((leaf) => {
    const bar = element("i", { ariaHidden: "true" });
    bar.style.setProperty("--v", leaf.probability);
    return element("li", {}, element("span", {}, leaf.name), bar, element("span", { className: "percent" }, leaf.words));
  });
  return element("ol", { className: "bars", ariaLabel: "Most probable types" }, ...rows);
}
