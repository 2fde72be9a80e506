// All answers as CSV, with the columns that `planespotter classify` writes. People open this file in a spreadsheet,
// which takes some texts for formulas, and would work out those that somebody put into the name of a photo.

const COLUMNS = [
  "file", "level", "constructor", "constructor_probability", "family", "family_probability", "model",
  "model_probability", "alternatives", "error",
];

/** Return the CSV of the photos that were answered or failed, as a list of its parts. */
export function csv(photos) {
  const rows = [COLUMNS, ...photos.filter((photo) => photo.answer || photo.error).map(row)];
  return rows.map((cells) => `${cells.map(quoted).join(",")}\n`);
}

function row({ name, answer, error }) {
  if (!answer) return [name, "", "", "", "", "", "", "", "", error];
  const path = answer.path.flatMap(([label, probability]) => [label, label && probability.toFixed(6)]);
  const leaves = answer.alternatives.map((leaf) => `${leaf.name} ${leaf.probability.toFixed(6)}`);
  return [name, answer.level, ...path, leaves.join("; "), ""];
}

function quoted(text) {
  const cell = /^[=+\-@\t\r]/.test(text) ? `'${text}` : text; // a spreadsheet then shows it as it is
  return /[",\r\n]/.test(cell) ? `"${cell.replaceAll('"', '""')}"` : cell;
}
