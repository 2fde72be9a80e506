"""Infinite scroll: read the photos of each batch of cards as scrolling, or a "load more" button, loads it.

A recorder in the page copies each card as soon as it appears, inside bare copies of its ancestors, so that the site's
parser finds it as it would on the full page. It sees every change of the document, so cards that the page removes again
or reuses for other photos (virtual scrolling) are read as well.

The page is scrolled in steps of a screen, in the box that holds the cards, so that a sensor above a tall footer comes
into view. A page may miss a scroll event when its end is visible again before its observer has noticed that it was out
of view; so a round without new photos moves up and comes down again. The list has ended when several such rounds, and
the buttons that promise more, load no new photo. The height of the page proves nothing.
"""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from urllib.parse import urlsplit

from playwright.async_api import Error as PlaywrightError
from playwright.async_api import JSHandle, Page, Request

from planespotter_photos.counts import count_noun
from planespotter_scraping.crawling import completeness, continuation
from planespotter_scraping.sites import Listing, Site

# Seconds to wait for new cards, in each further round that loads none. The first wait is short, since a page that
# missed the scroll will not react later either; the last one is for slow servers.
ROUND_TIMEOUT_SECONDS = (0.7, 2.0, 8.0)
BUTTON_TIMEOUT_SECONDS = 10.0
REQUEST_TIMEOUT_SECONDS = 45.0  # for a request of the page that is in flight at the end of a round
POLL_SECONDS = 0.05
MIN_GROWTH = 200  # pixels: more than a closing remark

# Records new cards. A card's key changes if the page reuses the element for another photo; without a key, the card is
# still being built.
RECORDER = """(selector) => {
  const records = new Map(), keys = new WeakMap(), taken = new Set();
  let anonymous = 0;
  const outermost = (element) => {
    let card = null;
    for (let next = element?.closest(selector); next; next = next.parentElement?.closest(selector)) card = next;
    return card;
  };
  const key = (card) => {
    const inner = card.querySelector("a[href]")?.getAttribute("href");
    return [card.id, card.dataset.photoUrl ?? card.getAttribute("href") ?? inner ?? ""].join(" ").trim();
  };
  const capture = (card) => {
    const previous = keys.get(card);
    let current = key(card);
    if (!current) current = previous?.startsWith("\\0") ? previous : "\\0" + ++anonymous;
    else if (previous?.startsWith("\\0")) records.delete(previous);
    keys.set(card, current);
    if (taken.has(current)) return;
    let copy = card.cloneNode(true);
    for (let around = card.parentElement; around && around !== document.body; around = around.parentElement) {
      const bare = around.cloneNode(false);
      bare.append(copy);
      copy = bare;
    }
    records.set(current, copy);
  };
  const cards = (element) =>
    element.matches?.(selector) ? [element] : [...(element.querySelectorAll?.(selector) ?? [])];
  const observer = new MutationObserver((mutations) => {
    const changed = new Set();
    for (const { target, addedNodes } of mutations) {
      changed.add(outermost(target.nodeType === 1 ? target : target.parentElement));
      for (const node of addedNodes) for (const card of cards(node)) changed.add(outermost(card));
    }
    for (const card of changed) if (card?.isConnected) capture(card);
  });
  observer.observe(document, { subtree: true, childList: true, attributes: true, characterData: true });
  for (const card of document.querySelectorAll(selector)) if (outermost(card) === card) capture(card);
  return {
    count: () => records.size,
    take: () => {
      const html = [...records.values()].map((copy) => copy.outerHTML).join("\\n");
      for (const current of records.keys()) taken.add(current);
      records.clear();
      return html;
    },
  };
}"""
COUNT = "(recorder) => recorder.count()"
TAKE = "(recorder) => recorder.take()"
# The boxes that scroll around the last card, from the inside to the window.
BOXES = """
  const last = [...document.querySelectorAll(selector)].at(-1), boxes = [];
  for (let box = last?.parentElement; box; box = box.parentElement) {
    const scrolls = ["auto", "scroll", "overlay"].includes(getComputedStyle(box).overflowY);
    if (scrolls && box.scrollHeight > box.clientHeight + 1) boxes.push(box);
  }
  boxes.push(document.scrollingElement ?? document.documentElement);
"""
FRAMES = "await new Promise((resolve) => requestAnimationFrame(() => requestAnimationFrame(resolve)));"
STEP = f"""async (selector) => {{ {BOXES}
  for (const box of boxes) {{
    const top = box.scrollTop;
    box.scrollBy({{ top: Math.max(100, 0.8 * box.clientHeight), behavior: "instant" }});
    if (box.scrollTop > top) {{ {FRAMES} return true; }}
  }}
  return false;
}}"""
# Moves up to some screens above the last card, or to the top.
UP = f"""async ([selector, screens]) => {{ {BOXES}
  for (const box of boxes) box.scrollTo({{ top: 0, behavior: "instant" }});
  {FRAMES}
  if (screens) {{
    last?.scrollIntoView({{ block: "end", behavior: "instant" }});
    for (const box of boxes) box.scrollBy({{ top: -screens * box.clientHeight, behavior: "instant" }});
    {FRAMES}
  }}
}}"""


class Scroller:
    """Scroll down one page and read the batches that it loads.

    Create it with `open`, before the page is parsed, so that no card is missed.

    Attributes:
        batch_count: Batches read so far.
        page_grew: Whether the page became higher in the last round, which loaded no batch.
        problems: Why the list may continue although no more photos appeared, as sentences.
        notes: Weaker signs of that.
    """

    def __init__(self, page: Page, site: Site) -> None:
        self.page, self.site = page, site
        self.ids: set[str] = set()
        self.batch_count = 0
        self.page_grew = False
        self.problems: list[str] = []
        self.notes: list[str] = []
        self._recorder: JSHandle | None = None
        self._moved = False
        self._useless_buttons: set[str] = set()
        self._in_flight: set[Request] = set()
        self._polled: set[str] = set()  # requests that run regardless of scrolling, by URL without the query
        page.on("request", self._request_started)
        page.on("requestfinished", self._request_ended)
        page.on("requestfailed", self._request_ended)

    @classmethod
    async def open(cls, page: Page, site: Site) -> "Scroller":
        """Start to record the cards of a page."""
        scroller = cls(page, site)
        await scroller._record()
        return scroller

    def close(self) -> None:
        """Stop watching the requests of the page, whose tab may open another one."""
        self.page.remove_listener("request", self._request_started)
        self.page.remove_listener("requestfinished", self._request_ended)
        self.page.remove_listener("requestfailed", self._request_ended)

    async def batches(self, listing: Listing, delay: float = 0) -> AsyncIterator[Listing]:
        """Yield the photos of each batch, none twice.

        A batch of cards without any photo id is yielded as well, so that drift detection sees it.

        Args:
            listing: What the page showed at first; its photos are not yielded.
            delay: Minimum seconds between batches.
        """
        self.ids.update(photo["photo_id"] for photo in listing.photos)
        self._polled = {_without_query(request.url) for request in self._in_flight}
        self._in_flight.clear()
        first = await self._take()  # None, unless the page has loaded more since it was parsed
        if first is not None:
            yield first
        while True:
            await asyncio.sleep(delay)
            height = await self._height()
            batch = await self._next()
            if batch is None:
                self.page_grew = await self._height() > height + MIN_GROWTH
                break
            yield batch
        await self._find_problems()

    async def _next(self) -> Listing | None:
        """Return the next batch, None at the end of the list."""
        for attempt, seconds in enumerate(ROUND_TIMEOUT_SECONDS):
            if attempt:
                await self.page.evaluate(UP, [self.site.card_selector, 3 if attempt == 1 else 0])
            if await self._appear_on_the_way_down() or await self._appear_within(seconds):
                batch = await self._take()
                if batch is not None:
                    self.batch_count += 1
                    return batch
            if attempt == 0 and (batch := await self._press_buttons()) is not None:
                self.batch_count += 1
                return batch
        return None

    async def _appear_on_the_way_down(self) -> bool:
        """Scroll down in steps until new cards appear; return False at the end of the page."""
        while await self.page.evaluate(STEP, self.site.card_selector):
            self._moved = True
            await asyncio.sleep(POLL_SECONDS)
            if await self._count():
                return await self._appear_within(0)
        return False

    async def _press_buttons(self) -> Listing | None:
        """Press the buttons that promise more photos, and return the first new batch; None without one."""
        for button in await continuation.more_buttons(self.page, self.site):
            if button.name in self._useless_buttons:
                continue
            url = self.page.url
            try:
                await button.element.click(timeout=BUTTON_TIMEOUT_SECONDS * 1000)
                appeared = await self._appear_within(BUTTON_TIMEOUT_SECONDS)
            except PlaywrightError as error:
                if self.page.url == url:
                    covered = "intercepts pointer events" in str(error)
                    reason = "another element covers it" if covered else "it does not respond"
                    self.problems.append(f"The button {button.name!r} could not be pressed: {reason}.")
                    self._useless_buttons.add(button.name)
                    continue
                await self.page.wait_for_load_state()  # the button has opened another page
                await self._record()
                appeared = await self._appear_within(BUTTON_TIMEOUT_SECONDS)
            batch = await self._take() if appeared else None
            if batch is not None:
                return batch
            self._useless_buttons.add(button.name)
        return None

    async def _appear_within(self, seconds: float) -> bool:
        """Wait until new cards have appeared and their number is stable.

        Args:
            seconds: How long to wait; longer while a request of the page is in flight.

        Returns:
            Whether new cards have appeared.
        """
        loop = asyncio.get_running_loop()
        start = loop.time()
        while (count := await self._count()) == 0:
            waited = loop.time() - start
            if waited > REQUEST_TIMEOUT_SECONDS or (waited > seconds and not self._in_flight):
                return False
            await asyncio.sleep(POLL_SECONDS)
        previous = 0
        while count != previous:
            await asyncio.sleep(self.site.settle_seconds or POLL_SECONDS)
            previous, count = count, await self._count()
        return True

    async def _record(self) -> None:
        """Start to record the cards of the document that the page shows."""
        self._recorder = await self.page.evaluate_handle(RECORDER, self.site.card_selector)

    async def _count(self) -> int:
        """Return the number of cards that were not taken yet."""
        return int(await self.page.evaluate(COUNT, self._recorder))

    async def _take(self) -> Listing | None:
        """Take and parse the new cards; return None if all their photos are known."""
        html = str(await self.page.evaluate(TAKE, self._recorder))
        listing = self.site.parse(html, await base_url(self.page))
        photos = [photo for photo in listing.photos if photo["photo_id"] not in self.ids]
        if not photos and listing.photos:
            return None
        self.ids.update(photo["photo_id"] for photo in photos)
        return replace(listing, photos=photos, next_url=None) if html else None

    async def _find_problems(self) -> None:
        """Record why the list may continue although no more photos appeared."""
        if self._in_flight:
            url = next(iter(self._in_flight)).url
            self.problems.append(f"The request {url} was still in flight after {REQUEST_TIMEOUT_SECONDS:g} seconds.")
        if not self._moved and (cover := await completeness.cover(self.page, self.site)) is not None:
            self.problems.append(
                f"{self.page.url} cannot be scrolled, although its photos reach below the window{cover}."
            )
        text, count = await self.page.inner_text("body"), len(self.ids)
        if (total := completeness.stated_total(text, count)) is not None:
            self.problems.append(f"The page states {count_noun(total, 'photo')}, but {count} appeared.")
        elif (total := completeness.bare_total(text, count)) is not None:
            self.notes.append(
                f"{self.page.url} mentions a total of {total:,}, but {count_noun(count, 'photo')} appeared."
            )

    def _request_started(self, request: Request) -> None:
        """Remember a request for data of the same site, which may bring further cards."""
        if request.resource_type not in ("fetch", "xhr") or _without_query(request.url) in self._polled:
            return
        if _site(request.url) == _site(self.page.url):
            self._in_flight.add(request)

    def _request_ended(self, request: Request) -> None:
        """Forget a request."""
        self._in_flight.discard(request)

    async def _height(self) -> int:
        """Return the height of the page in pixels."""
        return int(await self.page.evaluate("document.documentElement.scrollHeight"))


async def base_url(page: Page) -> str:
    """Return the URL to which the page's relative URLs refer: that of its base element, or its own."""
    return str(await page.evaluate("document.baseURI"))


def _without_query(url: str) -> str:
    """Return a URL without query and fragment."""
    return url.partition("?")[0].partition("#")[0]


def _site(url: str) -> str:
    """Return the last two labels of a URL's host, such as example.org for api.example.org."""
    return ".".join((urlsplit(url).hostname or "").split(".")[-2:])
