// All answers as CSV, with the columns that `planespotter classify` writes.

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
  const path = answer.path.flatMap(([label, probability]) => [label, probability.toFixed(6)]);
  const leaves = answer.alternatives.map((leaf) => `${leaf.name} ${leaf.probability.toFixed(6)}`);
  return [name, answer.level, ...path, leaves.join("; "), ""];
}

function quoted(cell) {
  return /[",\r\n]/.test(cell) ? `"${cell.replaceAll('"', '""')}"` : cell;
}
