// Frames of a video as photos: one per second, decoded by the browser.

const MAX_FRAMES = 300; // a longer video gets them at equal distances
const TIMEOUT = 15_000; // milliseconds, for one frame
const USE_COMMAND = "Or run: planespotter classify --video";

/**
 * Yield {file, name} for the frames of a video. Throws an Error with a message for the user if the browser cannot decode
 * the video.
 */
export async function* framesOf(video) {
  const player = Object.assign(document.createElement("video"), { muted: true, preload: "auto", playsInline: true });
  const url = URL.createObjectURL(video);
  try {
    await event(player, "loadeddata", () => { player.src = url; });
    if (!Number.isFinite(player.duration)) throw new Error(`Its length is unknown. ${USE_COMMAND}.`);
    const step = Math.max(1, player.duration / MAX_FRAMES);
    const canvas = new OffscreenCanvas(player.videoWidth, player.videoHeight);
    const context = canvas.getContext("2d");
    for (let second = 0; second === 0 || second < player.duration; second += step) {
      if (second) await event(player, "seeked", () => { player.currentTime = second; });
      context.drawImage(player, 0, 0);
      const frame = await canvas.convertToBlob({ type: "image/jpeg", quality: 0.92 });
      const name = `${video.name} ${clock(second)}`;
      yield { file: new File([frame], `${name.replaceAll(":", ".")}.jpg`, { lastModified: video.lastModified }), name };
    }
  } finally {
    player.removeAttribute("src");
    player.load();
    URL.revokeObjectURL(url);
  }
}

/** Start something, and wait for the event that ends it. */
function event(player, name, start) {
  const unreadable = new Error(`This browser cannot decode it. Convert it to MP4 (H.264) or WebM. ${USE_COMMAND}.`);
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(unreadable), TIMEOUT);
    const finish = (settle, value) => () => {
      clearTimeout(timer);
      settle(value);
    };
    player.addEventListener(name, finish(resolve), { once: true });
    player.addEventListener("error", finish(reject, unreadable), { once: true });
    start();
  });
}

/** Return a position in a video as minutes and seconds, such as 1:05. */
function clock(second) {
  return `${Math.floor(second / 60)}:${String(Math.floor(second % 60)).padStart(2, "0")}`;
}
