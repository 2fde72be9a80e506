// The upload queue: send photos in small batches, at most three at a time, and receive the results as they arrive.
//
// A photo is waiting, sent, done or failed. If an upload is cut off, its photos without a result wait again.

const HEADERS = { "x-requested-with": "planespotter" }; // no form of another site can send it
const MAX_UPLOADS = 3;
const FIRST_BATCH = 4, MAX_BATCH = 32, MAX_BYTES = 8 << 20;
const MAX_ATTEMPTS = 3;
const POLL_INTERVAL = 2000; // milliseconds
const STATUS_INTERVAL = 200, STATUS_TIMEOUT = 5000; // milliseconds: a lost server is reported within a second
const DESCRIBE_INTERVAL = 10_000; // milliseconds after which the model is loaded again: the server may have another

const PAGE_SERVER_ENDED = "The program behind this page has ended. Start “planespotter web” again at the same port: "
  + "the photos are kept here, and are sent then.";

const PAGE_SERVER_SLOW = "The program behind this page does not respond. The photos are kept here.";

export class UploadQueue {
  /**
   * `onChange(photo)` is called for each photo whose state changes; `onError(message or null)` when the server is lost or
   * back; `onModel(model)` with its description; `onIdle()` after each upload.
   */
  constructor({ onChange, onError, onModel, onIdle }) {
    Object.assign(this, { onChange, onError, onModel, onIdle });
    this.downscale = false;
    this.stopped = false;
    this.error = null;
    this.model = null; // its description
    this.modelName = ""; // that the user has chosen; empty for the default of the server
    this.waiting = [];
    this.head = 0; // index of the first photo of `waiting`: shift() would copy thousands
    this.retries = []; // sent before `waiting`
    this.active = new Map(); // uploads in flight: batch → AbortController
    this.batchSize = FIRST_BATCH;
    this.lastResult = this.lastDescribed = 0;
    this.checking = false;
  }

  /** Connect, and check from now on that the server responds. */
  start() {
    this.connect();
    this.#checkStatus();
    setInterval(() => this.#checkStatus(), STATUS_INTERVAL);
  }

  get length() {
    return this.retries.length + this.waiting.length - this.head;
  }

  add(photos) {
    for (const photo of photos) this.waiting.push(photo);
    this.#pump();
  }

  stop() {
    this.stopped = true;
    for (const controller of this.active.values()) controller.abort();
    this.onIdle();
  }

  resume() {
    this.stopped = false;
    this.#pump();
    this.onIdle();
  }

  clear() {
    this.waiting = [];
    this.head = 0;
    this.retries = [];
    for (const [batch, controller] of this.active) {
      for (const photo of batch) photo.state = "removed";
      controller.abort();
    }
    this.stopped = false;
  }

  /** Use another model of the server for all photos that have no result yet. */
  useModel(name) {
    this.modelName = name;
    this.model = null;
    for (const controller of this.active.values()) controller.abort();
    this.connect();
  }

  /** Load the description of the model; return whether the server is available. An error is reported. */
  async connect() {
    let message = PAGE_SERVER_ENDED, retryable = true;
    const chosen = this.modelName;
    try {
      const response = await fetch(withQuery("model", { name: chosen }), { cache: "no-store" });
      const body = await response.json();
      if (chosen !== this.modelName) return false; // another model was chosen meanwhile
      if (response.ok) {
        if (body.name !== chosen) this.modelName = ""; // the server no longer has it
        this.model = body;
        this.lastDescribed = performance.now();
        this.onModel(body);
        this.#recover();
        this.#pump(); // photos may have been added before the model was known
        return true;
      }
      [message, retryable] = [body.error, body.retryable];
    } catch {} // unreachable, or another program
    this.#lose(message, retryable);
    return false;
  }

  /** Return the prediction for a photo with its heat map. Throws an Error with a message for the user. */
  async fetchHeatMap(photo) {
    let result = { error: "The program behind this page does not respond." };
    try {
      const response = await post([["0", await this.#downscaled(photo)]], { model: this.modelName, heatMap: true });
      if (!response.ok) result = await response.json();
      else
        for await (const line of jsonLines(response.body))
          if (line.prediction || line.error || line.end) result = line.end ?? line;
    } catch {} // the default message
    if (!result.prediction) throw new Error(result.error);
    return result.prediction;
  }

  #lose(message, retryable) {
    this.error = message;
    this.onError(message);
    clearTimeout(this.poll);
    if (retryable) this.poll = setTimeout(() => this.connect(), POLL_INTERVAL);
  }

  #recover() {
    clearTimeout(this.poll);
    if (this.error === null) return;
    this.error = null;
    this.onError(null);
    this.#pump();
  }

  /** Check that the server responds while no results arrive. */
  async #checkStatus() {
    const now = performance.now();
    if (this.checking || this.error !== null || document.hidden || now - this.lastResult < STATUS_INTERVAL) return;
    this.checking = true;
    let failure = { error: PAGE_SERVER_ENDED, retryable: true };
    try {
      const response = await fetch("status", { cache: "no-store", signal: AbortSignal.timeout(STATUS_TIMEOUT) });
      failure = response.ok ? null : await response.json();
    } catch (error) { // unreachable, or another program
      if (error.name === "TimeoutError") failure.error = PAGE_SERVER_SLOW;
    }
    this.checking = false;
    if (failure && this.error === null && this.lastResult <= now) this.#lose(failure.error, failure.retryable);
    else if (!failure && now - this.lastDescribed > DESCRIBE_INTERVAL && this.model) this.connect();
  }

  #pump() {
    while (!this.stopped && this.error === null && this.model && this.active.size < MAX_UPLOADS && this.length) {
      const batch = this.#takeBatch();
      const controller = new AbortController();
      this.active.set(batch, controller);
      this.#upload(batch, controller.signal).finally(() => {
        this.active.delete(batch);
        this.#pump();
        this.onIdle();
      });
    }
  }

  #takeBatch() {
    const batch = [];
    const maxBytes = Math.min(MAX_BYTES, this.model.limits.max_upload_bytes);
    const maxPhotos = Math.min(this.batchSize, MAX_BATCH, this.model.limits.max_upload_photos);
    for (let bytes = 0; batch.length < maxPhotos && this.length; ) {
      const photo = this.retries[0] ?? this.waiting[this.head];
      const alone = photo.attempts > 1; // after two failures each photo is sent separately
      if (batch.length && (bytes + photo.file.size > maxBytes || alone)) break;
      if (this.retries.length) this.retries.shift();
      else this.waiting[this.head++] = undefined;
      bytes += photo.file.size;
      batch.push(photo);
      if (alone) break;
    }
    if (this.head > 1000 && this.head * 2 > this.waiting.length) {
      this.waiting = this.waiting.slice(this.head);
      this.head = 0;
    }
    return batch;
  }

  async #upload(batch, signal) {
    const inFlight = new Map();
    let outcome;
    try {
      const parts = [];
      for (const photo of batch) {
        const blob = await this.#content(photo);
        if (!blob) continue;
        inFlight.set(String(photo.id), photo);
        parts.push([String(photo.id), blob]);
        this.#setState(photo, "sent");
      }
      if (!parts.length) return;
      signal.throwIfAborted();
      const response = await post(parts, { model: this.modelName, signal });
      if (!response.ok) {
        outcome = await response.json();
        if (response.status === 400) outcome.isUploadError = true;
      } else {
        for await (const line of jsonLines(response.body)) {
          if ("end" in line) outcome = line;
          else this.#receive(inFlight, line);
        }
        if (outcome && outcome.end) outcome = outcome.end;
        else if (outcome) this.batchSize = Math.min(MAX_BATCH, this.batchSize * 2);
      }
    } catch {} // the connection was cut off, or the upload was stopped
    const left = [...inFlight.values()].filter((photo) => photo.state === "sent");
    if (!left.length) return;
    for (const photo of left) this.#setState(photo, "waiting");
    const isServerError = outcome?.error && !outcome.isUploadError;
    if (!signal.aborted && !isServerError && (await this.connect())) await this.#failOrRetry(left, outcome?.error);
    this.retries = left.filter((photo) => photo.state === "waiting").concat(this.retries);
    if (isServerError && !signal.aborted) this.#lose(outcome.error, outcome.retryable);
  }

  #receive(inFlight, line) {
    const photo = inFlight.get(line.id);
    if (!photo || photo.state !== "sent") return;
    this.lastResult = performance.now();
    photo.prediction = line.prediction;
    photo.error = line.error;
    photo.retryable = line.retryable;
    this.#setState(photo, line.prediction ? "done" : "failed");
    this.#recover();
  }

  #setState(photo, state) {
    if (photo.state === "removed") return;
    photo.state = state;
    this.onChange(photo);
  }

  #fail(photo, message) {
    photo.error = message;
    photo.retryable = true;
    this.#setState(photo, "failed");
  }

  /** The server is available, but the upload of these photos failed: fail the unreadable ones, and limit the attempts. */
  async #failOrRetry(photos, message) {
    for (const photo of photos) {
      photo.attempts = (photo.attempts ?? 0) + 1;
      const readable = await photo.file.slice(0, 1).arrayBuffer().then(() => true, () => false);
      if (!readable) this.#fail(photo, "The photo can no longer be read: it was moved, changed or deleted. Drop it again.");
      else if (photo.attempts >= MAX_ATTEMPTS) this.#fail(photo, message ?? "The connection was cut off at each attempt.");
    }
  }

  /** Return the content to send for a photo; null if the server would reject it. */
  async #content(photo) {
    const limit = this.model.limits.max_photo_bytes;
    const blob = await this.#downscaled(photo);
    if (blob.size <= limit) return blob;
    this.#fail(photo, `The photo is too large: ${megabytes(blob.size)}, limit ${megabytes(limit)}. `
      + (this.downscale ? "Scale it down first." : "Tick “Scale large photos down” above, and send it again."));
    return null;
  }

  async #downscaled(photo) {
    const { input_size: inputSize, limits } = this.model;
    return (this.downscale && await downscale(photo.file, inputSize, limits.max_photo_bytes)) || photo.file;
  }
}

/** Send photos, a list of [id, blob], and return the response. */
async function post(parts, { model, heatMap = false, signal = undefined }) {
  const body = new FormData();
  for (const [id, blob] of parts) body.append(id, new Blob([blob]), "photo");
  const url = withQuery("photos", { model, heat_map: heatMap ? "true" : "" });
  return fetch(url, { method: "POST", headers: HEADERS, body, signal });
}

/** Return a relative URL with those parameters that are not empty. */
function withQuery(path, parameters) {
  const query = new URLSearchParams(Object.entries(parameters).filter(([, value]) => value));
  return query.size ? `${path}?${query}` : path;
}

/**
 * Return a smaller JPEG of a photo, of at most `maxBytes` but larger than the model's input; null if the photo is to be
 * sent as it is.
 */
async function downscale(file, [height, width], maxBytes) {
  if (file.size < Math.min(200_000, maxBytes)) return null;
  let bitmap;
  try {
    bitmap = await createImageBitmap(file);
    const longSide = Math.max(bitmap.width, bitmap.height);
    const minSide = Math.max(height, width);
    for (let side = Math.max(1024, 3 * minSide); side >= minSide; side /= 1.5) {
      const scale = Math.min(1, side / longSide);
      const canvas = new OffscreenCanvas(Math.round(bitmap.width * scale), Math.round(bitmap.height * scale));
      const context = canvas.getContext("2d");
      context.imageSmoothingQuality = "high";
      context.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
      const blob = await canvas.convertToBlob({ type: "image/jpeg", quality: 0.92 });
      if (blob.size <= maxBytes) return blob.size < file.size ? blob : null;
    }
    return null;
  } catch {
    return null; // the server reports what is wrong with it
  } finally {
    bitmap?.close();
  }
}

function megabytes(bytes) {
  return `${(bytes / 1e6).toLocaleString("en", { maximumFractionDigits: 1 })} MB`;
}

/** Yield the JSON lines of a response body as they arrive. */
async function* jsonLines(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let buffer = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    buffer += value;
    const lines = buffer.split("\n");
    buffer = lines.pop();
    for (const line of lines) if (line) yield JSON.parse(line);
  }
}
