// Small pictures of the photos in the page, made here one after another: first those in view, then the others, which
// would be empty on paper. Only some hundred are kept.

const WIDTH = 560, KEPT = 240, AT_A_TIME = 2;

const made = new Map(); // photo → address of its picture, the last used at the end
const waiting = new Set(); // pictures in the page that have none yet
const inView = new Set(); // those of them that can be seen, or nearly
let working = 0;

const watcher = new IntersectionObserver((seen) => {
  for (const { target, isIntersecting } of seen) {
    if (isIntersecting) inView.add(target);
    else inView.delete(target);
  }
  work();
}, { rootMargin: "300px" });

const photoOf = new WeakMap();

/** Show a small picture of `photo` in `image` as soon as it is made. */
export function show(image, photo) {
  photoOf.set(image, photo);
  image.addEventListener("load", () => {
    const shape = image.naturalWidth / image.naturalHeight; // a photo of nearly 3:2 fills its place, without a rim
    image.classList.toggle("fills", shape > 1.4 && shape < 1.6);
  });
  waiting.add(image);
  watcher.observe(image); // which calls `work` soon
}

/** Let go of `image`, which leaves the page. */
export function leave(image) {
  watcher.unobserve(image);
  waiting.delete(image);
  inView.delete(image);
}

/** Let go of all pictures. */
export function forget() {
  for (const address of made.values()) if (address) URL.revokeObjectURL(address);
  made.clear();
}

async function work() {
  while (working < AT_A_TIME && waiting.size) {
    const [image] = inView.size ? inView : waiting;
    leave(image);
    working += 1;
    one(image).finally(() => {
      working -= 1;
      work();
    });
  }
}

async function one(image) {
  const photo = photoOf.get(image);
  let address = made.get(photo);
  if (address === undefined) address = await make(photo.file);
  made.delete(photo);
  made.set(photo, address);
  if (address) image.src = address;
  image.parentElement?.classList.add(address ? "ready" : "none");
  for (const [old, its] of made) {
    if (made.size <= KEPT) break;
    if (its) URL.revokeObjectURL(its);
    made.delete(old);
  }
}

/** Return the address of a small picture; "" where the browser cannot read the photo. */
async function make(file) {
  try {
    const picture = await createImageBitmap(file, { resizeWidth: WIDTH, resizeQuality: "medium" });
    const canvas = new OffscreenCanvas(picture.width, picture.height);
    canvas.getContext("2d").drawImage(picture, 0, 0);
    picture.close();
    return URL.createObjectURL(await canvas.convertToBlob({ type: "image/jpeg", quality: 0.85 }));
  } catch {
    return "";
  }
}
