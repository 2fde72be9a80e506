// Results and corrections as CSV. People open these files in a spreadsheet, which takes some texts for formulas and would
// evaluate those that somebody put into the name of a photo; the mark at the start makes it read UTF-8.

import * as corrections from "./corrections.js";
import { LEVELS, confidentDepth } from "./levels.js";

const withProbability = (names) => names.flatMap((name) => [name, `${name}_probability`]);
// As `planespotter classify` writes them, and the correction.
const COLUMNS = [
  "file", "level", "name", "probability", ...withProbability(LEVELS),
  ...withProbability(LEVELS.map((level) => `best_guess_${level}`)), "candidates", "error", "correction",
];
const LABEL_COLUMNS = ["file", "constructor", "aircraft_type"];
const MARK = "\ufeff";

/** Return the CSV of the photos that have a result. */
export function toCsv(photos) {
  return write([COLUMNS, ...photos.filter((photo) => photo.prediction || photo.error).map(toRow)], escapeFormula);
}

/** Return the CSV of the corrected photos for `planespotter catalog import --labels`, with every file name as it is. */
export function labelsToCsv(photos) {
  return write([LABEL_COLUMNS, ...corrections.toLabels(photos)], (text) => text);
}

function write(rows, escape) {
  const lines = rows.map((cells) => `${cells.map((cell) => quote(escape(cell))).join(",")}\n`);
  return new Blob([MARK, ...lines], { type: "text/csv" });
}

function toRow({ name, prediction, error, correction }) {
  const corrected = correction ? corrections.nameOf(correction) : "";
  if (!prediction) return [name, ...Array(COLUMNS.length - 3).fill(""), error, corrected];
  const depth = confidentDepth(prediction);
  const path = prediction.path.map((label) => [label.name, label.name && label.probability.toFixed(6)]);
  const confident = path.map((cells, index) => (index < depth ? cells : ["", ""]));
  const candidates = prediction.candidates.map((leaf) => `${leaf.name} ${leaf.probability.toFixed(6)}`);
  const label = depth ? prediction.name : "unknown";
  return [
    name, prediction.level, label, prediction.probability.toFixed(6), ...confident.flat(), ...path.flat(),
    candidates.join("; "), "", corrected,
  ];
}

function escapeFormula(text) {
  return /^[=+\-@\t\r]/.test(text) ? `'${text}` : text; // a spreadsheet then shows it as text
}

function quote(cell) {
  return /[",\r\n]/.test(cell) ? `"${cell.replaceAll('"', '""')}"` : cell;
}
