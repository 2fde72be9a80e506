// Take photos out of what was dropped, chosen or pasted: a few hundred at a time, so that the page stays quick.

const PHOTO = /\.(jpe?g|png|webp)$/i;
const AT_A_TIME = 200;
const { compare } = new Intl.Collator("en", { numeric: true }); // "day 9" before "day 10"

/** Whether a drag brings files. */
export function bringsFiles(transfer) {
  return [...(transfer?.types ?? [])].includes("Files");
}

/**
 * Call `add` with lists of {file, name} from what was dropped; return how many files in folders are no photos.
 * A file dropped by itself is always taken: whoever dropped it wants to hear about it.
 */
export async function fromDrop(transfer, add) {
  // The browser forgets what was dropped as soon as this function waits for anything.
  const entries = [], loose = [];
  for (const item of transfer.items) {
    if (item.kind !== "file") continue;
    const entry = item.webkitGetAsEntry?.();
    if (entry?.isDirectory) entries.push(entry);
    else {
      const file = item.getAsFile();
      if (file) loose.push({ file, name: file.name });
    }
  }
  if (loose.length) add(loose);
  let others = 0, found = [];
  for (const entry of entries) {
    for await (const one of inFolder(entry)) {
      if (one === null) others += 1;
      else found.push(one);
      if (found.length >= AT_A_TIME) {
        add(found);
        found = [];
      }
    }
  }
  if (found.length) add(found);
  return others;
}

/** Call `add` with lists of {file, name} from a file picker or the clipboard; return how many are no photos. */
export async function fromList(list, folder, add) {
  const files = [...list];
  const photos = folder ? files.filter((file) => PHOTO.test(file.name)) : files;
  if (folder) photos.sort((one, other) => compare(one.webkitRelativePath, other.webkitRelativePath));
  for (let start = 0; start < photos.length; start += AT_A_TIME) {
    const some = photos.slice(start, start + AT_A_TIME);
    add(some.map((file) => ({ file, name: file.webkitRelativePath || file.name })));
    await new Promise((resume) => setTimeout(resume));
  }
  return files.length - photos.length;
}

/** Yield {file, name} for each photo in a folder and those below it, null for any other file. */
async function* inFolder(folder) {
  const children = [];
  const reader = folder.createReader();
  for (;;) {
    // It gives at most 100 at a time, and none at the end.
    const some = await new Promise((resolve) => reader.readEntries(resolve, () => resolve([])));
    if (!some.length) break;
    children.push(...some);
  }
  children.sort((one, other) => compare(one.name, other.name));
  for (const child of children) {
    if (child.isDirectory) {
      yield* inFolder(child);
    } else if (PHOTO.test(child.name)) {
      const file = await new Promise((resolve) => child.file(resolve, () => resolve(null)));
      yield file && { file, name: child.fullPath.replace(/^\//, "") };
    } else yield null;
  }
}
