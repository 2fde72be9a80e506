// Corrections of predictions by the user: kept in this browser, and saved as labels for `planespotter catalog import`.

const STORE = "planespotter-corrections";
const MAX_KEPT = 20_000; // of photos, the latest
const NO_AIRCRAFT = "No aircraft";

let paths = new Map(); // names in lower case → path in the label tree
const stored = read(); // by file, the latest at the end

/** Use the labels of a model: constructor → family → models. */
export function setTree(tree) {
  paths = new Map([[NO_AIRCRAFT.toLowerCase(), [NO_AIRCRAFT]]]);
  for (const [constructorName, families] of Object.entries(tree)) {
    add([constructorName]);
    for (const [family, models] of Object.entries(families)) {
      add([constructorName, family]);
      for (const model of models) add([constructorName, family, model]);
    }
  }
}

function add(path) {
  for (const text of [fullName(path), path.at(-1)]) if (!paths.has(text.toLowerCase())) paths.set(text.toLowerCase(), path);
}

/** Return the names that a correction can have, for suggestions; other types can be typed. */
export function suggestions() {
  return [...new Set([...paths.values()].map(fullName))];
}

/** Return the path of a correction in the label tree; null if it is another type. */
export function pathOf(correction) {
  return paths.get(correction.toLowerCase()) ?? null;
}

/** Return a correction as the label tree spells it. */
export function nameOf(correction) {
  const path = pathOf(correction);
  return path ? fullName(path) : correction;
}

function fullName(path) {
  return path.length === 1 ? path[0] : `${path[0]} ${path.at(-1)}`;
}

/** Return what identifies a file: the same file counts once, from any folder of the drop. */
export function fileKey(file) {
  return `${file.name}|${file.size}|${file.lastModified}`;
}

/** Return the kept correction of a file; "" if there is none. */
export function load(file) {
  return stored.get(fileKey(file)) ?? "";
}

/** Keep the correction of a file for the next visit; "" removes it. */
export function keep(file, correction) {
  stored.delete(fileKey(file));
  if (correction) stored.set(fileKey(file), correction);
  try {
    localStorage.setItem(STORE, JSON.stringify([...stored].slice(-MAX_KEPT)));
  } catch {} // without storage, the page has it until it is closed
}

function read() {
  try {
    return new Map(JSON.parse(localStorage.getItem(STORE)) ?? []);
  } catch {
    return new Map();
  }
}

/** Return the corrected photos as rows of labels: file, constructor, aircraft type. */
export function toLabels(photos) {
  return photos.filter((photo) => photo.correction).map(({ name, correction }) => {
    const path = pathOf(correction);
    return path ? [name, path[0], path.length > 1 ? path.at(-1) : ""] : [name, "", correction];
  });
}
