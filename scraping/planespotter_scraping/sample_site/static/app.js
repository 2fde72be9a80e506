// Renders the page in the browser: asks for consent, fetches the photos as JSON, creates a card for each.

const here = new URL(location.href);

function element(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}

// The visitor decides once; until then a cover hides the empty page.
function consent() {
  if (document.cookie.includes("consent=accepted")) return Promise.resolve();
  return new Promise((resolve) => {
    const button = element("button", { type: "button", "data-consent": "accept" }, "Agree");
    const text = "This site would like to set one cookie, to remember that it asked.";
    const cover = element("div", { class: "consent", role: "dialog" }, element("div", {}, element("p", {}, text), button));
    button.addEventListener("click", () => {
      document.cookie = "consent=accepted; path=/; max-age=86400; samesite=lax";
      cover.remove();
      resolve();
    });
    document.body.append(cover);
  });
}

const link = (href, title, text) => element("a", { href: encodeURI(href), title }, text);

// `drift` lists changes of the markup, to test drift detection.
function card(photo, drift = []) {
  const facts = element("dl");
  const fact = (name, value) => value && facts.append(element("dt", {}, name), element("dd", {}, value));
  const operator = drift.includes("airline") ? "/operator/" : "/airline/";
  fact("Airline", photo.airline && link(operator + photo.airline, `More of ${photo.airline}`, photo.airline));
  fact("Maker", drift.includes("maker") ? photo.constructor
    : link(`/photos/manufacturer/${photo.constructor}`, `Photos by maker: ${photo.constructor}`, photo.constructor));
  fact("Type", photo.aircraft_type && link(`/photos/aircraft/${photo.constructor}/${photo.aircraft_type}`,
    `Photos by type: ${photo.aircraft_type}`, photo.aircraft_type));
  fact("Registration", link(`/photos/reg/${photo.registration}`, "The same airframe", photo.registration));
  const picture = element("img", { "data-src": photo.image, loading: "lazy", alt: "", width: 320, height: 213 });
  const address = `/photo/${photo.id}/${photo.slug}`;
  const day = link(`/photos/date/${photo.taken_on}`, "Photos of this day", photo.taken_on);
  const credit = element("span", { class: "credit" }, `© ${photo.photographer}`);
  const parts = [element("a", { href: address }, picture), facts, element("footer", {}, credit, " · ", day)];
  return drift.includes("cards") ? element("section", { class: "tile", "data-ref": photo.id }, ...parts)
    : element("article", { class: "plate", id: photo.id, "data-photo-url": address }, ...parts);
}

// A picture is loaded when its card comes close to the viewport.
const watch = new IntersectionObserver((entries) => {
  for (const { isIntersecting, target } of entries) {
    if (!isIntersecting) continue;
    target.src = target.dataset.src;
    watch.unobserve(target);
  }
}, { rootMargin: "200px" });

const content = document.querySelector("#content");

// Fetches one page of the list and shows its cards; undefined if the page does not exist.
async function load(page) {
  const query = new URLSearchParams({ page, of: decodeURI(here.pathname) });
  const response = await fetch(`/api/photos?${query}`);
  if (!response.ok) return undefined;
  const batch = await response.json();
  const cards = batch.photos.map((photo) => card(photo, batch.drift));
  content.append(...cards);
  for (const node of cards) watch.observe(node.querySelector("img[data-src]"));
  return batch;
}

// Loads the next page when the end of the list comes close to the viewport.
function endless(batch) {
  const end = element("div", { class: "end" });
  let missesScroll = batch.misses_scroll, busy = false;
  const sight = new IntersectionObserver(async (entries) => {
    if (!entries.at(-1).isIntersecting || busy) return;
    if (missesScroll) return (missesScroll = false); // as if the end had been in view again before the observer ran
    busy = true;
    sight.unobserve(end);
    batch = await load(batch.page + 1);
    missesScroll = batch.misses_scroll;
    busy = false;
    if (batch.page < batch.pages) sight.observe(end);
  }, { rootMargin: "100px" });
  content.after(end);
  if (batch.page < batch.pages) sight.observe(end);
}

async function show() {
  await consent();
  const page = Number(here.searchParams.get("page") ?? 1);
  const batch = await load(page);
  if (batch === undefined) {
    content.append(element("p", { class: "notice" }, "Page not found."));
  } else if (batch.endless) {
    endless(batch);
  } else {
    const pageLink = (to, rel, text) => {
      here.searchParams.set("page", to);
      document.querySelector("#pages").append(element("a", { href: here.pathname + here.search, rel }, text));
    };
    if (page > 1) pageLink(page - 1, "prev", "Newer");
    if (page < batch.pages) pageLink(page + 1, "next", "Older");
    pageLink(batch.pages, "last", `Page ${page} of ${batch.pages}`);
  }
  content.setAttribute("aria-busy", "false");
}

show();
