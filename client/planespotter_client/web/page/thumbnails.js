// Thumbnails of the photos in the page, made here a few at a time: first those in view, then the others, which would be
// empty on paper. A few hundred are cached.

const WIDTH = 560, CACHE_SIZE = 240, CONCURRENCY = 2;

const urls = new Map(); // photo → URL of its thumbnail, the most recently used at the end
const pending = new Set(); // <img> elements that have no thumbnail yet
const inView = new Set(); // those of them that are visible, or nearly
let active = 0;

const observer = new IntersectionObserver((entries) => {
  for (const { target, isIntersecting } of entries) {
    if (isIntersecting) inView.add(target);
    else inView.delete(target);
  }
  pump();
}, { rootMargin: "300px" });

const photoOf = new WeakMap();

/** Show a thumbnail of `photo` in `image` as soon as it is made. */
export function show(image, photo) {
  photoOf.set(image, photo);
  image.addEventListener("load", () => {
    const ratio = image.naturalWidth / image.naturalHeight; // a photo of nearly 3:2 fills its frame, without a margin
    image.classList.toggle("fills", ratio > 1.4 && ratio < 1.6);
  });
  pending.add(image);
  observer.observe(image); // which calls `pump` soon
}

/** Stop observing `image`, which leaves the page. */
export function remove(image) {
  observer.unobserve(image);
  pending.delete(image);
  inView.delete(image);
}

/** Release all thumbnails. */
export function clear() {
  for (const url of urls.values()) if (url) URL.revokeObjectURL(url);
  urls.clear();
}

async function pump() {
  while (active < CONCURRENCY && pending.size) {
    const [image] = inView.size ? inView : pending;
    remove(image);
    active += 1;
    load(image).finally(() => {
      active -= 1;
      pump();
    });
  }
}

async function load(image) {
  const photo = photoOf.get(image);
  let url = urls.get(photo);
  if (url === undefined) url = await makeThumbnail(photo.file);
  urls.delete(photo);
  urls.set(photo, url);
  if (url) image.src = url;
  image.parentElement?.classList.add(url ? "ready" : "none");
  for (const [oldPhoto, oldUrl] of urls) {
    if (urls.size <= CACHE_SIZE) break;
    if (oldUrl) URL.revokeObjectURL(oldUrl);
    urls.delete(oldPhoto);
  }
}

/** Return the URL of a thumbnail; "" if the browser cannot decode the photo. */
async function makeThumbnail(file) {
  try {
    const bitmap = await createImageBitmap(file, { resizeWidth: WIDTH, resizeQuality: "medium" });
    const canvas = new OffscreenCanvas(bitmap.width, bitmap.height);
    canvas.getContext("2d").drawImage(bitmap, 0, 0);
    bitmap.close();
    return URL.createObjectURL(await canvas.convertToBlob({ type: "image/jpeg", quality: 0.85 }));
  } catch {
    return "";
  }
}
