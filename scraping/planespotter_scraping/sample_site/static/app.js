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

function card(photo) {
  const facts = element("dl");
  const fact = (name, value) => value && facts.append(element("dt", {}, name), element("dd", {}, value));
  fact("Airline", photo.airline && link(`/airline/${photo.airline}`, `More of ${photo.airline}`, photo.airline));
  fact("Maker", link(`/photos/manufacturer/${photo.constructor}`, `Photos by maker: ${photo.constructor}`, photo.constructor));
  fact("Type", photo.aircraft_type && link(`/photos/aircraft/${photo.constructor}/${photo.aircraft_type}`,
    `Photos by type: ${photo.aircraft_type}`, photo.aircraft_type));
  fact("Registration", link(`/photos/reg/${photo.registration}`, "The same airframe", photo.registration));
  const picture = element("img", { "data-src": photo.image, loading: "lazy", alt: "", width: 320, height: 213 });
  const address = `/photo/${photo.id}/${photo.slug}`;
  const day = link(`/photos/date/${photo.taken_on}`, "Photos of this day", photo.taken_on);
  const credit = element("span", { class: "credit" }, `© ${photo.photographer}`);
  return element("article", { class: "plate", id: photo.id, "data-photo-url": address },
    element("a", { href: address }, picture), facts, element("footer", {}, credit, " · ", day));
}

// A picture is asked for when its card comes near the window.
const watch = new IntersectionObserver((entries) => {
  for (const { isIntersecting, target } of entries) {
    if (!isIntersecting) continue;
    target.src = target.dataset.src;
    watch.unobserve(target);
  }
}, { rootMargin: "200px" });

async function show() {
  await consent();
  const page = Number(here.searchParams.get("page") ?? 1);
  const query = new URLSearchParams({ page, of: decodeURI(here.pathname) });
  const answer = await fetch(`/api/photos?${query}`);
  const content = document.querySelector("#content");
  if (!answer.ok) {
    content.append(element("p", { class: "notice" }, "There is no such page."));
  } else {
    const { photos, pages } = await answer.json();
    content.append(...photos.map(card));
    for (const picture of content.querySelectorAll("img[data-src]")) watch.observe(picture);
    const turn = (to, rel, text) => {
      here.searchParams.set("page", to);
      document.querySelector("#pages").append(element("a", { href: here.pathname + here.search, rel }, text));
    };
    if (page > 1) turn(page - 1, "prev", "Newer");
    if (page < pages) turn(page + 1, "next", "Older");
  }
  content.setAttribute("aria-busy", "false");
}

show();
