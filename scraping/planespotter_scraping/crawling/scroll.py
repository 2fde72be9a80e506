"""Infinite scroll: read the photos of each batch of cards as scrolling loads it.

Each round takes only the new cards out of the page, each inside bare copies of its ancestors, so that the site's parser
finds it as it would on the full page. A page may miss a scroll event when its end is visible again before its observer
has noticed that it was out of view. So a round without new photos scrolls to the top, waits for two frames and comes
down again. The list has ended when several such rounds load no new photo; the height of the page proves nothing.
"""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

from playwright.async_api import JSHandle, Page

from planespotter_scraping.sites import Listing, Site

# Seconds to wait for new cards, in each further round that loads none. The first wait is short, since a page that
# missed the scroll will not react later either; the last one is for slow servers.
ROUND_TIMEOUT_SECONDS = (0.7, 2.0, 5.0)
POLL_SECONDS = 0.05
MIN_GROWTH = 200  # pixels: more than a closing remark

# Taken cards, each with a key that changes if the page reuses the element for another photo.
TAKEN = "() => new WeakMap()"
NEW = """([taken, selector]) => {
  const key = (card) => card.id + " " + (card.dataset.photoUrl ?? card.getAttribute("href") ?? "");
  const cards = [...document.querySelectorAll(selector)].filter((card) => !card.parentElement?.closest(selector));
  const fresh = cards.filter((card) => taken.get(card) !== key(card));
"""
COUNT = NEW + "return fresh.length; }"
TAKE = (
    NEW
    + """return fresh.map((card) => {
    taken.set(card, key(card));
    let copy = card.cloneNode(true);
    for (let around = card.parentElement; around && around !== document.body; around = around.parentElement) {
      const bare = around.cloneNode(false);
      bare.append(copy);
      copy = bare;
    }
    return copy.outerHTML;
  }).join("\\n");
}"""
)
DOWN = "() => window.scrollTo(0, document.documentElement.scrollHeight)"
UP = """() => new Promise((resolve) => {
  window.scrollTo(0, 0);
  requestAnimationFrame(() => requestAnimationFrame(resolve));
})"""


class Scroller:
    """Scroll down one page and read the batches that it loads.

    Attributes:
        batch_count: Batches read so far.
        page_grew: Whether the page became higher in the last round, which loaded no batch.
    """

    def __init__(self, page: Page, site: Site, listing: Listing) -> None:
        self.page, self.site = page, site
        self._ids = {photo["photo_id"] for photo in listing.photos}
        self.batch_count = 0
        self.page_grew = False

    async def batches(self, delay: float = 0) -> AsyncIterator[Listing]:
        """Yield the photos of each batch, none twice.

        A batch of cards without any photo id is yielded as well, so that drift detection sees it.

        Args:
            delay: Minimum seconds between batches.
        """
        taken = await self.page.evaluate_handle(TAKEN)
        listing = await self._take(taken)  # None, unless the page has loaded more since it was parsed
        if listing is not None:
            yield listing
        while True:
            await asyncio.sleep(delay)
            height = await self._height()
            listing = await self._next(taken)
            if listing is None:
                self.page_grew = await self._height() > height + MIN_GROWTH
                break
            yield listing

    async def _next(self, taken: JSHandle) -> Listing | None:
        """Return the next batch, None at the end of the list."""
        # Without evidence that the list is endless, skip the longest wait.
        endless = self.site.pagination == "scrolling" or self.batch_count
        timeouts = ROUND_TIMEOUT_SECONDS if endless else ROUND_TIMEOUT_SECONDS[:-1]
        for attempt, seconds in enumerate(timeouts):
            if attempt:
                await self.page.evaluate(UP)
            await self.page.evaluate(DOWN)
            if not await self._wait(taken, seconds):
                continue
            listing = await self._take(taken)
            if listing is not None:
                self.batch_count += 1
                return listing
        return None

    async def _wait(self, taken: JSHandle, seconds: float) -> bool:
        """Wait until new cards have appeared and their number is stable; return False after `seconds`."""
        loop = asyncio.get_running_loop()
        end = loop.time() + seconds
        while (count := await self._count_new(taken)) == 0:
            if loop.time() > end:
                return False
            await asyncio.sleep(POLL_SECONDS)
        previous = 0
        while count != previous:
            await asyncio.sleep(self.site.settle_seconds or POLL_SECONDS)
            previous, count = count, await self._count_new(taken)
        return True

    async def _count_new(self, taken: JSHandle) -> int:
        """Return the number of cards that were not taken yet."""
        return int(await self.page.evaluate(COUNT, [taken, self.site.card_selector]))

    async def _take(self, taken: JSHandle) -> Listing | None:
        """Take and parse the new cards; return None if all their photos are known."""
        html = await self.page.evaluate(TAKE, [taken, self.site.card_selector])
        listing = self.site.parse(str(html), self.page.url)
        photos = [photo for photo in listing.photos if photo["photo_id"] not in self._ids]
        if not photos and listing.photos:
            return None
        self._ids.update(photo["photo_id"] for photo in photos)
        return replace(listing, photos=photos, next_url=None) if html else None

    async def _height(self) -> int:
        """Return the height of the page in pixels."""
        return int(await self.page.evaluate("document.documentElement.scrollHeight"))
