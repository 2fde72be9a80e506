// Totals: how many photos of each type, as one bar and a button for each type, which filters the photos.

import { element, format } from "./dom.js";
import * as corrections from "./corrections.js";

const MAX_TYPES = 8; // as many as colors; the others are one segment
const UNKNOWN = "Unknown";
let shown = "";

/** Return what a photo counts as: its correction, or the confident part of its prediction; null if it has neither. */
export function labelOf({ prediction, correction }) {
  return correction ? corrections.nameOf(correction) : prediction?.name ?? null;
}

/** Show the totals of `photos` in `bar` and `list`; `onSelect(label)` is called when a type is chosen. */
export function show({ bar, list }, photos, selected, onSelect) {
  const totals = count(photos);
  const signature = JSON.stringify([totals, selected]);
  if (signature === shown) return;
  shown = signature;
  const focused = list.contains(document.activeElement) ? document.activeElement.dataset.label : null;
  bar.replaceChildren(...segments(totals).map(([label, photoCount], index) => {
    const segment = element("i", { className: colorOf(label, index), title: `${label}: ${format(photoCount)}` });
    segment.style.setProperty("--count", photoCount);
    return segment;
  }));
  list.replaceChildren(...totals.map(([label, photoCount], index) => element("li", {}, chip(label, photoCount, index, selected, onSelect))));
  if (focused !== null) [...list.querySelectorAll("button")].find(({ dataset }) => dataset.label === focused)?.focus();
}

/** Return [label, photos] of each segment: the most frequent types, the others together, and unknown aircraft. */
function segments(totals) {
  const types = totals.filter(([label]) => label !== UNKNOWN);
  const rest = types.slice(MAX_TYPES).reduce((sum, [, photoCount]) => sum + photoCount, 0);
  return [
    ...types.slice(0, MAX_TYPES), ...(rest ? [["Other types", rest]] : []), ...totals.filter(([label]) => label === UNKNOWN),
  ];
}

function chip(label, photoCount, index, selected, onSelect) {
  const button = element(
    "button",
    { type: "button", ariaPressed: String(label === selected), onclick: () => onSelect(label === selected ? null : label) },
    element("i", { className: colorOf(label, index), ariaHidden: "true" }), label, " ",
    element("span", { className: "count" }, format(photoCount)),
  );
  button.dataset.label = label;
  return button;
}

function colorOf(label, index) {
  return label === UNKNOWN ? "unknown" : index < MAX_TYPES ? `type-${index}` : "other";
}

/** Return [label, photos] of each type, the most frequent first, "Unknown" last. */
function count(photos) {
  const counts = new Map();
  for (const photo of photos) {
    const label = labelOf(photo);
    if (label !== null) counts.set(label, (counts.get(label) ?? 0) + 1);
  }
  return [...counts].sort((a, b) => (a[0] === UNKNOWN) - (b[0] === UNKNOWN) || b[1] - a[1] || a[0].localeCompare(b[0]));
}
