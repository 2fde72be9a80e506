// Builds the page in the browser: asks for consent, fetches the photos as JSON, makes a card of each.

const here = new URL(location.href);

function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

// The visitor decides once; until then the page stays covered, and empty below the cover.
function consent() {
  if (document.cookie.includes("consent=given")) return Promise.resolve();
  return new Promise((resolve) => {
    const button = element("button", { type: "button", "data-consent": "accept" }, "Agree");
    const text = "This site would like to set one cookie, to remember that it asked.";
    const cover = element("div", { class: "consent", role: "dialog" }, element("div", {}, element("p", {}, text), button));
    button.addEventListener("click", () => {
      document.cookie = "consent=given; path=/; max-age=86400; samesite=lax";
      cover.remove();
      resolve();
    });
    document.body.append(cover);
  });
}

const link = (href, title, text) => element("a", { href: encodeURI(href), title }, text);

// What is named in `redesigned` is made in another way: sites are, some day.
function card(photo, redesigned = []) {
  const facts = element("dl");
  const fact = (name, value) => value && facts.append(element("dt", {}, name), element("dd", {}, value));
  const operator = redesigned.includes("airline") ? "/operator/" : "/airline/";
  fact("Airline", photo.airline && link(operator + photo.airline, `More of ${photo.airline}`, photo.airline));
  fact("Maker", redesigned.includes("maker") ? photo.constructor
    : link(`/photos/manufacturer/${photo.constructor}`, `Photos by maker: ${photo.constructor}`, photo.constructor));
  fact("Type", photo.aircraft_type && link(`/photos/aircraft/${photo.constructor}/${photo.aircraft_type}`,
    `Photos by type: ${photo.aircraft_type}`, photo.aircraft_type));
  fact("Registration", link(`/photos/reg/${photo.registration}`, "The same airframe", photo.registration));
  const picture = element("img", { "data-src": photo.image, loading: "lazy", alt: "", width: 320, height: 213 });
  const address = `/photo/${photo.id}/${photo.slug}`;
  const day = link(`/photos/date/${photo.taken_on}`, "Photos of this day", photo.taken_on);
  const credit = element("span", { class: "credit" }, `© ${photo.photographer}`);
  const parts = [element("a", { href: address }, picture), facts, element("footer", {}, credit, " · ", day)];
  return redesigned.includes("cards") ? element("section", { class: "tile", "data-ref": photo.id }, ...parts)
    : element("article", { class: "plate", id: photo.id, "data-photo-url": address }, ...parts);
}

// A picture is asked for when its card comes near the window.
const watch = new IntersectionObserver((entries) => {
  for (const { isIntersecting, target } of entries) {
    if (!isIntersecting) continue;
    target.src = target.dataset.src;
    watch.unobserve(target);
  }
}, { rootMargin: "200px" });

const content = document.querySelector("#content");

// Fetches one page of the list and shows its cards; undefined if there is no such page.
async function load(page) {
  const query = new URLSearchParams({ page, of: decodeURI(here.pathname) });
  const answer = await fetch(`/api/photos?${query}`);
  if (!answer.ok) return undefined;
  const batch = await answer.json();
  const cards = batch.photos.map((photo) => card(photo, batch.redesigned));
  content.append(...cards);
  for (const made of cards) watch.observe(made.querySelector("img[data-src]"));
  return batch;
}

// Loads the following pages whenever the end of the list comes near the window.
function endless(batch) {
  const end = element("div", { class: "end" });
  let deaf = batch.stalls, busy = false;
  const sight = new IntersectionObserver(async (entries) => {
    if (!entries.at(-1).isIntersecting || busy) return;
    if (deaf) return (deaf = false); // as if the end had come back into view before anyone saw that it had left
    busy = true;
    sight.unobserve(end);
    batch = await load(batch.page + 1);
    deaf = batch.stalls;
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
    content.append(element("p", { class: "notice" }, "There is no such page."));
  } else if (batch.endless) {
    endless(batch);
  } else {
    const turn = (to, rel, text) => {
      here.searchParams.set("page", to);
      document.querySelector("#pages").append(element("a", { href: here.pathname + here.search, rel }, text));
    };
    if (page > 1) turn(page - 1, "prev", "Newer");
    if (page < batch.pages) turn(page + 1, "next", "Older");
    turn(batch.pages, "last", `Page ${page} of ${batch.pages}`);
  }
  content.setAttribute("aria-busy", "false");
}

show();
