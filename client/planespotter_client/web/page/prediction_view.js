// The parts of a prediction that cards and the large view share: headline, path, candidates, heat map.

import * as corrections from "./corrections.js";
import { element } from "./dom.js";
import * as heatMap from "./heat_map.js";
import { LEVELS, confidentDepth } from "./levels.js";

const STATES = { waiting: "Waiting", sent: "Classifying", failed: "Failed" };

/** The headline: what the photo shows as far as it is confident, and the probability; or the correction. */
export function headline(photo) {
  const { prediction, correction } = photo;
  if (correction)
    return [element("strong", {}, corrections.nameOf(correction)), " ", element("span", { className: "tag" }, "corrected")];
  if (!prediction) return [element("strong", {}, STATES[photo.state] ?? photo.state)];
  return [element("strong", {}, prediction.name), " ", element("span", { className: "percent" }, prediction.percent)];
}

/** The path from the constructor to the model as chips: filled if confident, with a dashed edge if a guess. */
export function path(prediction) {
  const confidentLabels = confidentDepth(prediction);
  const labels = prediction.path.flatMap(({ name, percent }, depth) => {
    if (!name) return [];
    const confident = depth < confidentLabels;
    return [
      element(
        "li",
        { className: confident ? "confident" : "guess", title: `${LEVELS[depth]}, ${percent}` },
        element("span", { className: "sr" }, `${LEVELS[depth]}, ${confident ? "confident" : "a guess"}: `),
        element("span", { className: "name" }, name),
        element("span", { className: "sr" }, ", "),
        element("span", { className: confident ? "sr" : "percent" }, percent),
      ),
    ];
  });
  return element("ol", { className: "path", ariaLabel: "From the constructor to the model" }, ...labels);
}

/** The most probable types, each with a bar. */
export function candidates(prediction) {
  const rows = prediction.candidates.map((leaf) => {
    const bar = element("i", { ariaHidden: "true" });
    bar.style.setProperty("--probability", leaf.probability);
    return element(
      "li", {}, element("span", {}, leaf.name), bar, element("span", { className: "percent" }, leaf.percent),
    );
  });
  return element("ol", { className: "candidates", ariaLabel: "Most probable types" }, ...rows);
}

/** Draw the heat map of `photo` over `image` on `canvas`, and describe it in `status`. */
export function showHeatMap(photo, { canvas, image, status, inputSize }) {
  const cells = photo.heatMapShown && photo.heatMap;
  canvas.hidden = !cells || !image.naturalWidth;
  if (!canvas.hidden) heatMap.drawOverlay(canvas, image, cells, inputSize);
  const text = heatMapText(photo, cells);
  if (status.dataset.text === text) return;
  status.dataset.text = text;
  status.replaceChildren(text, ...(cells ? [heatMapScale()] : []));
}

function heatMapText(photo, cells) {
  if (!photo.heatMapShown) return "";
  if (photo.heatMapError) return photo.heatMapError;
  if (!cells) return "Loading";
  const label = photo.prediction.path.map(({ name }) => name).filter(Boolean).at(-1);
  const position = heatMap.describePosition(cells);
  return position ? `Highlighted: evidence for ${label}, mostly ${position}.` : `No part of the photo is evidence for ${label}.`;
}

function heatMapScale() {
  return element("span", { className: "scale" }, "weak ", element("i", { ariaHidden: "true" }), " strong");
}
