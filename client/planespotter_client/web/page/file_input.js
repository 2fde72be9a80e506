// Photos from files that were dropped, chosen or pasted: a few hundred at a time, so that the page stays responsive.
// Zip files are unpacked here, and videos become frames.

import { photoCount } from "./dom.js";
import { framesOf } from "./frames.js";
import { photosInZip } from "./unzip.js";

// Every format that the program behind the page may read; it says so where it cannot.
const PHOTO = new RegExp("\\.(jpg|jpeg|jpe|jfif|jfi|jif|png|apng|webp|avif|bmp|dib|gif|heic|heif|hif|tif|tiff|3fr|arw|cr2|cr3"
  + "|crw|dng|erf|iiq|kdc|mef|mos|mrw|nef|nrw|orf|pef|raf|raw|rw2|rwl|sr2|srf|srw|x3f)$", "i");
// As in planespotter_photos.housekeeping: hidden files, and folders in which systems keep copies and thumbnails.
const HOUSEKEEPING = /^(\.|(#recycle|#snapshot|\$recycle\.bin|@eadir|@recently-snapshot|@recycle|@tmp|__macosx|found\.000|lost\+found|system volume information)$)|(\.lrdata|\.photoslibrary)$/i;
const VIDEO = /\.(3gp|avi|m2ts|m4v|mkv|mov|mp4|mpe?g|mts|ogv|webm|wmv)$/i;
const ZIP = /\.zip$/i;
const CHUNK_SIZE = 200, CHUNK_TIME = 500; // photos, milliseconds
const { compare } = new Intl.Collator("en", { numeric: true }); // "day 9" before "day 10"

/** Return whether a drag has files. */
export function hasFiles(transfer) {
  return [...(transfer?.types ?? [])].includes("Files");
}

/**
 * Call `add` with lists of {file, name} from what was dropped; `report(text)` shows the progress. Return how many files in
 * folders and zip files are not photos, and why files could not be read, as sentences.
 * A single dropped file is always added: the user expects a result for it.
 */
export async function fromDrop(transfer, add, report) {
  // The browser clears the transfer as soon as this function awaits anything.
  const folders = [], single = [];
  for (const item of transfer.items) {
    if (item.kind !== "file") continue;
    const entry = item.webkitGetAsEntry?.();
    if (entry?.isDirectory) folders.push(entry);
    else {
      const file = item.getAsFile();
      if (file) single.push({ file, name: file.name });
    }
  }
  const added = await addFiles(single, add, report);
  for (const folder of folders) added.skipped += await addAll(inFolder(folder), add);
  return added;
}

/** The same for files from a file picker or the clipboard. */
export async function fromList(list, isFolder, add, report) {
  const files = [...list];
  const photos = isFolder ? files.filter(isPhotoInFolder) : files;
  if (isFolder) photos.sort((a, b) => compare(a.webkitRelativePath, b.webkitRelativePath));
  const named = photos.map((file) => ({ file, name: file.webkitRelativePath || file.name }));
  const added = await addFiles(named, add, report);
  return { ...added, skipped: added.skipped + files.length - photos.length };
}

/** Add files: photos first, then those in zip files, and frames of videos. */
async function addFiles(files, add, report) {
  const problems = [];
  const containers = files.filter(({ name }) => ZIP.test(name) || VIDEO.test(name));
  const photos = files.filter((file) => !containers.includes(file));
  for (let start = 0; start < photos.length; start += CHUNK_SIZE) {
    add(photos.slice(start, start + CHUNK_SIZE));
    await new Promise((resume) => setTimeout(resume));
  }
  let skipped = 0;
  for (const { file } of containers) {
    const read = ZIP.test(file.name) ? photosInZip(file, isPhotoPath) : framesOf(file);
    try {
      skipped += await addAll(read, add, (count) => report(`Reading ${file.name}: ${photoCount(count)}.`));
    } catch (error) {
      const reason = error.name === "Error" ? error.message : "It was moved, changed or deleted. Drop it again.";
      problems.push(`${file.name} could not be read completely. ${reason}`);
    }
  }
  return { skipped, problems };
}

/** Add {file, name} of an async iterable in chunks, `onChunk(count so far)` each; return how many items were null. */
async function addAll(found, add, onChunk = () => {}) {
  let skipped = 0, count = 0, chunk = [], flushedAt = 0;
  const flush = () => {
    if (chunk.length) add(chunk);
    [chunk, flushedAt] = [[], performance.now()];
    onChunk(count);
  };
  try {
    for await (const photo of found) {
      if (photo === null) {
        skipped += 1;
        continue;
      }
      count += 1;
      chunk.push(photo);
      if (chunk.length >= CHUNK_SIZE || performance.now() - flushedAt > CHUNK_TIME) flush();
    }
  } finally {
    flush();
  }
  return skipped;
}

/** Whether a path in a zip file is that of a photo, and not in a housekeeping folder. */
function isPhotoPath(path) {
  const parts = path.split("/");
  return PHOTO.test(path) && !parts.some((part) => HOUSEKEEPING.test(part));
}

/** Whether a file of a chosen folder is a photo, and neither hidden nor in a housekeeping folder below that folder. */
function isPhotoInFolder(file) {
  const below = file.webkitRelativePath.split("/").slice(1);
  return PHOTO.test(file.name) && !below.some((part) => HOUSEKEEPING.test(part));
}

/** Yield {file, name} for each photo in a folder and its subfolders, null for any other file. */
async function* inFolder(folder) {
  const children = [];
  const reader = folder.createReader();
  for (;;) {
    // It returns at most 100 at a time, and an empty list at the end.
    const entries = await new Promise((resolve) => reader.readEntries(resolve, () => resolve([])));
    if (!entries.length) break;
    children.push(...entries);
  }
  children.sort((a, b) => compare(a.name, b.name));
  for (const child of children) {
    if (HOUSEKEEPING.test(child.name)) {
      yield null;
    } else if (child.isDirectory) {
      yield* inFolder(child);
    } else if (PHOTO.test(child.name)) {
      const file = await new Promise((resolve) => child.file(resolve, () => resolve(null)));
      yield file && { file, name: child.fullPath.replace(/^\//, "") };
    } else yield null;
  }
}
