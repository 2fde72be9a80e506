// All results as CSV, with the columns of `planespotter classify`. People open this file in a spreadsheet, which takes
// some texts for formulas and would evaluate those that somebody put into the name of a photo.

const COLUMNS = [
  "file", "level", "constructor", "constructor_probability", "family", "family_probability", "model",
  "model_probability", "candidates", "error",
];

/** Return the CSV of the photos that have a result, as a list of its parts. */
export function toCsv(photos) {
  const rows = [COLUMNS, ...photos.filter((photo) => photo.prediction || photo.error).map(toRow)];
  return rows.map((cells) => `${cells.map(escape).join(",")}\n`);
}

function toRow({ name, prediction, error }) {
  if (!prediction) return [name, "", "", "", "", "", "", "", "", error];
  const path = prediction.path.flatMap((label) => [label.name, label.name && label.probability.toFixed(6)]);
  const candidates = prediction.candidates.map((leaf) => `${leaf.name} ${leaf.probability.toFixed(6)}`);
  return [name, prediction.level, ...path, candidates.join("; "), ""];
}

function escape(text) {
  const cell = /^[=+\-@\t\r]/.test(text) ? `'${text}` : text; // a spreadsheet then shows it as text
  return /[",\r\n]/.test(cell) ? `"${cell.replaceAll('"', '""')}"` : cell;
}
