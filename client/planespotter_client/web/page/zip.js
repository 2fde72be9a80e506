// A zip file of photos in folders, without compression: photos are compressed already. The files are read one at a time
// and never copied, as the Blob refers to them.

import * as corrections from "./corrections.js";
import { confidentDepth } from "./levels.js";

const MAX_FILES = 65_535, MAX_BYTES = 0xffff_ffff; // beyond them a zip file needs the ZIP64 format
const UTF8_NAMES = 1 << 11;
const encoder = new TextEncoder();

const TABLE = Uint32Array.from({ length: 256 }, (_, byte) => {
  let value = byte;
  for (let bit = 0; bit < 8; bit += 1) value = value & 1 ? (value >>> 1) ^ 0xedb88320 : value >>> 1;
  return value;
});

/** Return the folder of a photo: Boeing/737/737-800, down to where it is confident; unknown; or what it was corrected to. */
function folderOf({ prediction, correction }) {
  const confident = prediction?.path.slice(0, confidentDepth(prediction)).map(({ name }) => name);
  const path = correction ? corrections.pathOf(correction) ?? [correction] : confident;
  return path.length ? path.map(safe).join("/") : "unknown";
}

/** Remove what a file system does not allow in the name of a folder or file. */
function safe(name) {
  return name.replace(/[\\/:*?"<>|\u0000-\u001f]/g, "_").replace(/^\.+|[. ]+$/g, "_") || "_";
}

/**
 * Return photos as the Blob of a zip file, in folders by what they show. `onProgress(count)` is called after each.
 * Throws an Error with a message for the user.
 */
export async function zipByType(photos, onProgress) {
  const bytes = photos.reduce((sum, { file }) => sum + file.size + 1000, 0);
  if (photos.length > MAX_FILES || bytes > MAX_BYTES)
    throw new Error("A zip file can have at most 65,535 photos and 4 GB. Use planespotter classify --sort-into instead.");
  const parts = [], directory = [], taken = new Set();
  let offset = 0;
  for (const [index, photo] of photos.entries()) {
    const name = encoder.encode(uniqueName(`${folderOf(photo)}/${safe(photo.file.name)}`, taken));
    const fields = entryFields(await crc32(photo.file), photo.file, name);
    const header = record("PK\u0003\u0004", fields, []);
    parts.push(header, name, photo.file);
    directory.push(record("PK\u0001\u0002", [[20, 2], ...fields], [[0, 2], [0, 2], [0, 2], [0, 4], [offset, 4]]), name);
    offset += header.length + name.length + photo.file.size;
    onProgress(index + 1);
  }
  const directorySize = directory.reduce((sum, part) => sum + part.length, 0);
  const end = record("PK\u0005\u0006", [
    [0, 2], [0, 2], [photos.length, 2], [photos.length, 2], [directorySize, 4], [offset, 4], [0, 2],
  ], []);
  return new Blob([...parts, ...directory, end], { type: "application/zip" });
}

function uniqueName(path, taken) {
  const dot = path.lastIndexOf(".");
  const [stem, suffix] = dot > path.lastIndexOf("/") ? [path.slice(0, dot), path.slice(dot)] : [path, ""];
  let name = path;
  for (let number = 2; taken.has(name.toLowerCase()); number += 1) name = `${stem} (${number})${suffix}`;
  taken.add(name.toLowerCase());
  return name;
}

/** The fields that the header of a file and its entry in the directory share, each with its size in bytes. */
function entryFields(crc, file, name) {
  const date = new Date(file.lastModified);
  const time = (date.getHours() << 11) | (date.getMinutes() << 5) | (date.getSeconds() >> 1);
  const day = (Math.max(0, date.getFullYear() - 1980) << 9) | ((date.getMonth() + 1) << 5) | date.getDate();
  return [[20, 2], [UTF8_NAMES, 2], [0, 2], [time, 2], [day, 2], [crc, 4], [file.size, 4], [file.size, 4], [name.length, 2], [0, 2]];
}

function record(signature, fields, moreFields) {
  const all = [...fields, ...moreFields];
  const bytes = new Uint8Array(4 + all.reduce((sum, [, size]) => sum + size, 0));
  const view = new DataView(bytes.buffer);
  bytes.set(encoder.encode(signature));
  let at = 4;
  for (const [value, size] of all) {
    if (size === 2) view.setUint16(at, value, true);
    else view.setUint32(at, value, true);
    at += size;
  }
  return bytes;
}

async function crc32(file) {
  let crc = 0xffffffff;
  const reader = file.stream().getReader();
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return (crc ^ 0xffffffff) >>> 0;
    for (const byte of value) crc = TABLE[(crc ^ byte) & 255] ^ (crc >>> 8);
  }
}
