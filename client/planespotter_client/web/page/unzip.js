// Photos in a zip file: read its directory, then unpack one photo after another with the decompressor of the browser.

const MAX_PHOTOS = 20_000, MAX_BYTES = 2 * 1024 ** 3; // of the unpacked photos, which the browser keeps
const END = 0x06054b50, ENTRY = 0x02014b50;
const END_SIZE = 22, ENTRY_SIZE = 46, LOCAL_SIZE = 30, MAX_COMMENT = 0xffff;
const ENCRYPTED = 1, UTF8_NAMES = 1 << 11;
const STORED = 0, DEFLATED = 8;
const INVALID = "It is damaged or not a zip file. Unpack it, and drop the folder.";

/**
 * Yield {file, name} for each photo in a zip file, null for any other file. `isPhoto(path)` tells them apart.
 * Throws an Error with a message for the user.
 */
export async function* photosInZip(zip, isPhoto) {
  const entries = (await directory(zip)).filter(({ path }) => !path.endsWith("/"));
  const photos = entries.filter(({ path }) => isPhoto(path));
  const bytes = photos.reduce((sum, { size }) => sum + size, 0);
  if (photos.length > MAX_PHOTOS || bytes > MAX_BYTES)
    throw new Error(`It has ${photos.length.toLocaleString("en")} photos with ${(bytes / 1e9).toFixed(1)} GB; the limit is `
      + `${MAX_PHOTOS.toLocaleString("en")} photos and 2 GB. Unpack it, and drop the folder.`);
  for (let skipped = entries.length - photos.length; skipped > 0; skipped -= 1) yield null;
  for (const entry of photos) {
    const content = await unpack(zip, entry);
    const name = entry.path.split("/").at(-1);
    yield { file: new File([content], name, { lastModified: entry.modified }), name: `${zip.name}/${entry.path}` };
  }
}

/** Return the entries of the zip file's central directory. */
async function directory(zip) {
  const tail = await view(zip, Math.max(0, zip.size - END_SIZE - MAX_COMMENT), zip.size);
  let at = tail.byteLength - END_SIZE;
  while (at >= 0 && tail.getUint32(at, true) !== END) at -= 1;
  if (at < 0) throw new Error(INVALID);
  const count = tail.getUint16(at + 10, true), size = tail.getUint32(at + 12, true), start = tail.getUint32(at + 16, true);
  if (count === 0xffff || size === 0xffff_ffff || start === 0xffff_ffff)
    throw new Error("It has more than 65,534 files or 4 GB (ZIP64). Unpack it, and drop the folder.");
  const data = await view(zip, start, start + size);
  const entries = [];
  let offset = 0;
  for (let index = 0; index < count; index += 1) {
    if (offset + ENTRY_SIZE > data.byteLength || data.getUint32(offset, true) !== ENTRY) throw new Error(INVALID);
    const [nameSize, extraSize, commentSize] = [28, 30, 32].map((field) => data.getUint16(offset + field, true));
    const next = offset + ENTRY_SIZE + nameSize + extraSize + commentSize;
    if (next > data.byteLength) throw new Error(INVALID);
    const flags = data.getUint16(offset + 8, true);
    entries.push({
      path: text(data, offset + ENTRY_SIZE, nameSize, flags & UTF8_NAMES).replaceAll("\\", "/"),
      encrypted: Boolean(flags & ENCRYPTED),
      method: data.getUint16(offset + 10, true),
      modified: time(data.getUint16(offset + 12, true), data.getUint16(offset + 14, true)),
      packedSize: data.getUint32(offset + 20, true),
      size: data.getUint32(offset + 24, true),
      start: data.getUint32(offset + 42, true),
    });
    offset = next;
  }
  return entries;
}

/** Return the content of an entry as a Blob of its declared size. */
async function unpack(zip, { path, encrypted, method, packedSize, size, start }) {
  if (encrypted) throw new Error(`${path} is encrypted. Unpack the zip file with its password, and drop the folder.`);
  if (method !== STORED && method !== DEFLATED)
    throw new Error(`${path} is compressed in a way that browsers cannot read. Unpack the zip file, and drop the folder.`);
  const header = await view(zip, start, start + LOCAL_SIZE);
  if (header.byteLength < LOCAL_SIZE) throw new Error(INVALID);
  const from = start + LOCAL_SIZE + header.getUint16(26, true) + header.getUint16(28, true);
  const packed = zip.slice(from, from + packedSize);
  if (method === STORED) return packed;
  const parts = [];
  let left = size;
  try {
    const reader = packed.stream().pipeThrough(new DecompressionStream("deflate-raw")).getReader();
    for (;;) {
      const { done, value } = await reader.read();
      if (done) break;
      left -= value.length;
      if (left < 0) break; // more than it declares: a decompression bomb
      parts.push(value);
    }
    if (left < 0) await reader.cancel();
  } catch {
    left = -1;
  }
  if (left !== 0) throw new Error(`${path} is damaged. Unpack the zip file with another program, and drop the folder.`);
  return new Blob(parts);
}

async function view(blob, start, end) {
  return new DataView(await blob.slice(start, end).arrayBuffer());
}

function text(data, start, size, isUtf8) {
  const bytes = new Uint8Array(data.buffer, data.byteOffset + start, size);
  return new TextDecoder(isUtf8 ? "utf-8" : "latin1").decode(bytes);
}

/** Return a DOS time and date as milliseconds. */
function time(clock, day) {
  return +new Date(1980 + (day >> 9), ((day >> 5) & 15) - 1, day & 31, clock >> 11, (clock >> 5) & 63, (clock & 31) * 2);
}
