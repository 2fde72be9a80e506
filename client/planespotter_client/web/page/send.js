// Send photos in parcels of a few, at most three at a time, and take the answers as they come.
//
// A photo is waiting, sent, done or failed. Whatever breaks off, a photo that was sent and has no answer waits again.

const MEDIA_TYPE = "application/x-planespotter-photos";
const PARALLEL = 3;
const FIRST_PARCEL = 4, MOST_PHOTOS = 32, MOST_BYTES = 8 << 20;
const ATTEMPTS = 3;
const POLL = 2000, HEARTBEAT = 5000;

const NO_PAGE = "The program behind this page has ended. Start “planespotter web” again at the same port: "
  + "the photos are kept here, and go on then.";

export class Sender {
  /** `answered(photo)` is called for each photo whose state changes; `troubled(sentence or null)`; `described(model)`. */
  constructor({ answered, troubled, described, changed }) {
    Object.assign(this, { answered, troubled, described, changed });
    this.smaller = false;
    this.stopped = false;
    this.trouble = null;
    this.model = null;
    this.waiting = [];
    this.head = 0; // where `waiting` begins: shift() would copy thousands
    this.first = []; // these go before it
    this.active = new Map(); // what is under way: parcel → AbortController
    this.parcel = FIRST_PARCEL;
    this.lastAnswer = 0;
    setInterval(() => this.#listen(), HEARTBEAT);
  }

  get busy() {
    return this.active.size > 0;
  }

  get left() {
    return this.first.length + this.waiting.length - this.head;
  }

  add(photos) {
    for (const photo of photos) this.waiting.push(photo);
    this.#pump();
  }

  stop() {
    this.stopped = true;
    for (const controller of this.active.values()) controller.abort();
    this.changed();
  }

  go() {
    this.stopped = false;
    this.#pump();
    this.changed();
  }

  forget() {
    this.waiting = [];
    this.head = 0;
    this.first = [];
    for (const [parcel, controller] of this.active) {
      for (const photo of parcel) photo.state = "forgotten";
      controller.abort();
    }
    this.stopped = false;
  }

  /** Ask who answers; return whether somebody does. What is wrong, if anything, is told. */
  async ask() {
    let sentence = NO_PAGE, again = true;
    try {
      const response = await fetch("model", { cache: "no-store" });
      const said = await response.json();
      if (response.ok) {
        this.model = said;
        this.described(said);
        this.#recover();
        this.#pump(); // photos may have come before the first answer to this question
        return true;
      }
      [sentence, again] = [said.error, said.again];
    } catch {} // nobody there, or somebody else
    this.#away(sentence, again);
    return false;
  }

  /** Return the answer to a photo once more, with where the network looked. Throws an Error with a sentence. */
  async explain(photo) {
    const blob = (this.smaller && await smaller(photo.file, this.model.input, this.model.limits.photo_bytes)) || photo.file;
    const line = JSON.stringify({ photos: [["0", blob.size]], explain: true });
    let said = { error: "The program behind this page does not answer." };
    try {
      const response = await fetch("photos", { method: "POST", headers: { "content-type": MEDIA_TYPE }, body: new Blob([line, "\n", blob]) });
      if (!response.ok) said = await response.json();
      else for await (const one of lines(response.body)) if (one.answer || one.error || one.end) said = one.end ?? one;
    } catch {} // that sentence will do
    if (!said.answer) throw new Error(said.error);
    return said.answer;
  }

  #away(sentence, again) {
    this.trouble = sentence;
    this.troubled(sentence);
    clearTimeout(this.poll);
    if (again) this.poll = setTimeout(() => this.ask(), POLL);
  }

  #recover() {
    clearTimeout(this.poll);
    if (this.trouble === null) return;
    this.trouble = null;
    this.troubled(null);
    this.#pump();
  }

  /** Look whether the server is still there while nothing is heard of it. */
  #listen() {
    if (this.trouble !== null || document.hidden || performance.now() - this.lastAnswer < HEARTBEAT) return;
    this.ask();
  }

  #pump() {
    while (!this.stopped && this.trouble === null && this.model && this.active.size < PARALLEL && this.left) {
      const parcel = this.#take();
      const controller = new AbortController();
      this.active.set(parcel, controller);
      this.#send(parcel, controller.signal).finally(() => {
        this.active.delete(parcel);
        this.#pump();
        this.changed();
      });
    }
  }

  #take() {
    const parcel = [];
    const room = Math.min(MOST_BYTES, this.model.limits.parcel_bytes);
    const most = Math.min(this.parcel, MOST_PHOTOS, this.model.limits.parcel_photos);
    for (let bytes = 0; parcel.length < most && this.left; ) {
      const photo = this.first[0] ?? this.waiting[this.head];
      const alone = photo.attempts > 1; // after two failures each is tried by itself
      if (parcel.length && (bytes + photo.file.size > room || alone)) break;
      if (this.first.length) this.first.shift();
      else this.waiting[this.head++] = undefined;
      bytes += photo.file.size;
      parcel.push(photo);
      if (alone) break;
    }
    if (this.head > 1000 && this.head * 2 > this.waiting.length) {
      this.waiting = this.waiting.slice(this.head);
      this.head = 0;
    }
    return parcel;
  }

  async #send(parcel, signal) {
    const open = new Map();
    let ended;
    try {
      const [contents, blobs] = [[], []];
      for (const photo of parcel) {
        const blob = await this.#content(photo);
        if (!blob) continue;
        open.set(String(photo.id), photo);
        contents.push([String(photo.id), blob.size]);
        blobs.push(blob);
        this.#set(photo, "sent");
      }
      if (!blobs.length) return;
      signal.throwIfAborted();
      const body = new Blob([JSON.stringify({ photos: contents }), "\n", ...blobs]);
      const response = await fetch("photos", { method: "POST", headers: { "content-type": MEDIA_TYPE }, body, signal });
      if (!response.ok) {
        ended = await response.json();
        if (response.status === 400) ended.parcel = true;
      } else {
        for await (const line of lines(response.body)) {
          if ("end" in line) ended = line;
          else this.#take_answer(open, line);
        }
        if (ended && ended.end) ended = ended.end;
        else if (ended) this.parcel = Math.min(MOST_PHOTOS, this.parcel * 2);
      }
    } catch {} // it broke off, or was stopped
    const left = [...open.values()].filter((photo) => photo.state === "sent");
    if (!left.length) return;
    for (const photo of left) this.#set(photo, "waiting");
    const known = signal.aborted || (ended?.error && !ended.parcel);
    if (!known && (await this.ask())) await this.#blame(left, ended?.error); // before they are sent again
    this.first = left.filter((photo) => photo.state === "waiting").concat(this.first);
    if (known && !signal.aborted) this.#away(ended.error, ended.again);
  }

  #take_answer(open, line) {
    const photo = open.get(line.id);
    if (!photo || photo.state !== "sent") return;
    this.lastAnswer = performance.now();
    photo.answer = line.answer;
    photo.error = line.error;
    this.#set(photo, line.answer ? "done" : "failed");
    this.#recover();
  }

  #set(photo, state) {
    if (photo.state === "forgotten") return;
    photo.state = state;
    this.answered(photo);
  }

  #fail(photo, sentence) {
    photo.error = sentence;
    this.#set(photo, "failed");
  }

  /** The server is there, and yet these photos did not go through: find those that cannot be read, and give up in time. */
  async #blame(photos, sentence) {
    for (const photo of photos) {
      photo.attempts = (photo.attempts ?? 0) + 1;
      const readable = await photo.file.slice(0, 1).arrayBuffer().then(() => true, () => false);
      if (!readable) this.#fail(photo, "The photo can no longer be read: it was moved, changed or deleted. Drop it again.");
      else if (photo.attempts >= ATTEMPTS) this.#fail(photo, sentence ?? "The connection broke off each time it was sent.");
    }
  }

  /** Return what to send of a photo; null if that is already known to be refused. */
  async #content(photo) {
    const limit = this.model.limits.photo_bytes;
    const blob = (this.smaller && await smaller(photo.file, this.model.input, limit)) || photo.file;
    if (blob.size <= limit) return blob;
    this.#fail(photo, `The photo has ${megabytes(blob.size)}; the server takes ${megabytes(limit)}. `
      + (this.smaller ? "Scale it down yourself." : "Have large photos made smaller (above), and send it again."));
    return null;
  }
}

/**
 * Return a smaller JPEG of a photo, of `limit` bytes at most but still larger than what the network looks at; null where
 * it stays as it is.
 */
async function smaller(file, [height, width], limit) {
  if (file.size < Math.min(200_000, limit)) return null;
  let picture;
  try {
    picture = await createImageBitmap(file);
    const long = Math.max(picture.width, picture.height);
    const least = Math.max(height, width);
    for (let side = Math.max(1024, 3 * least); side >= least; side /= 1.5) {
      const scale = Math.min(1, side / long);
      const canvas = new OffscreenCanvas(Math.round(picture.width * scale), Math.round(picture.height * scale));
      const pen = canvas.getContext("2d");
      pen.imageSmoothingQuality = "high";
      pen.drawImage(picture, 0, 0, canvas.width, canvas.height);
      const blob = await canvas.convertToBlob({ type: "image/jpeg", quality: 0.92 });
      if (blob.size <= limit) return blob.size < file.size ? blob : null;
    }
    return null;
  } catch {
    return null; // the server says what is wrong with it
  } finally {
    picture?.close();
  }
}

function megabytes(bytes) {
  return `${(bytes / 1e6).toLocaleString("en", { maximumFractionDigits: 1 })} MB`;
}

/** Yield the lines of JSON in a body, as they come. */
async function* lines(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let held = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    held += value;
    const whole = held.split("\n");
    held = whole.pop();
    for (const line of whole) if (line) yield JSON.parse(line);
  }
}
