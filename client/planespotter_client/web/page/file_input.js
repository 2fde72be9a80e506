// Photos from files that were dropped, chosen or pasted: a few hundred at a time, so that the page stays responsive.

// Every format that the program behind the page may read; it says so where it cannot.
const PHOTO = new RegExp("\\.(jpg|jpeg|jpe|jfif|jfi|jif|png|apng|webp|avif|bmp|dib|gif|heic|heif|hif|tif|tiff|3fr|arw|cr2|cr3"
  + "|crw|dng|erf|iiq|kdc|mef|mos|mrw|nef|nrw|orf|pef|raf|raw|rw2|rwl|sr2|srf|srw|x3f)$", "i");
// As in planespotter_photos.housekeeping: hidden files, and folders in which systems keep copies and thumbnails.
const HOUSEKEEPING = /^(\.|(#recycle|#snapshot|\$recycle\.bin|@eadir|@recently-snapshot|@recycle|@tmp|__macosx|found\.000|lost\+found|system volume information)$)|(\.lrdata|\.photoslibrary)$/i;
const CHUNK_SIZE = 200;
const { compare } = new Intl.Collator("en", { numeric: true }); // "day 9" before "day 10"

/** Return whether a drag has files. */
export function hasFiles(transfer) {
  return [...(transfer?.types ?? [])].includes("Files");
}

/**
 * Call `add` with lists of {file, name} from what was dropped; return how many files in folders are not photos.
 * A single dropped file is always added: the user expects a result for it.
 */
export async function fromDrop(transfer, add) {
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
  if (single.length) add(single);
  let skipped = 0, chunk = [];
  for (const folder of folders) {
    for await (const photo of inFolder(folder)) {
      if (photo === null) skipped += 1;
      else chunk.push(photo);
      if (chunk.length >= CHUNK_SIZE) {
        add(chunk);
        chunk = [];
      }
    }
  }
  if (chunk.length) add(chunk);
  return skipped;
}

/** Call `add` with lists of {file, name} from a file picker or the clipboard; return how many are not photos. */
export async function fromList(list, isFolder, add) {
  const files = [...list];
  const photos = isFolder ? files.filter(isPhotoInFolder) : files;
  if (isFolder) photos.sort((a, b) => compare(a.webkitRelativePath, b.webkitRelativePath));
  for (let start = 0; start < photos.length; start += CHUNK_SIZE) {
    const chunk = photos.slice(start, start + CHUNK_SIZE);
    add(chunk.map((file) => ({ file, name: file.webkitRelativePath || file.name })));
    await new Promise((resume) => setTimeout(resume));
  }
  return files.length - photos.length;
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
