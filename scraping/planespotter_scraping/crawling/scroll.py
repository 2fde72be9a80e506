"""Read a list that goes on as one scrolls: the photos of each batch of cards, as the page brings it.

In each round only the cards that are new are taken out of the page, each within bare copies of the elements around it,
so that the site's reader finds it as it would on the whole page. A page may miss that it was scrolled, when its end
comes back into view before it has noticed that it had left it. So a round without new photos goes up to the top, lets
the page draw, and comes down again. The list is at its end when several such rounds have brought no new photo; its
height says nothing.
"""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

from playwright.async_api import JSHandle, Page

from planespotter_scraping.sites import Listing, Site

# How long to wait for new cards in one round after another that brings none, in seconds. The first is short, since a
# page that did not notice will not notice later either, and the last one is for a server that is slow.
PATIENCE = (0.7, 2.0, 5.0)
LOOK_EVERY = 0.05
GROWTH = 200  # pixels: more than a closing remark

# Which cards were taken, each with what makes it a new one if the page uses the element for another photo.
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
    """Scrolls down one page and reads what comes; `listing` is what the page showed at first.

    `brought` counts the batches, and `stalls` those that came only after the page was scrolled up and down again.
    `grew` says whether the page became higher in the last round, though that brought nothing.
    """

    def __init__(self, page: Page, site: Site, listing: Listing) -> None:
        self.page, self.site = page, site
        self.ids = {photo["photo_id"] for photo in listing.photos}
        self.brought = self.stalls = 0
        self.grew = False

    async def batches(self, pause: float = 0) -> AsyncIterator[Listing]:
        """Yield the photos of each batch that scrolling brings, none twice.

        `pause` is how many seconds to leave between batches at least. A batch of cards that hold no photo with an id
        is yielded as well, so that its reader can be found wanting; one of photos that came before is not.
        """
        taken = await self.page.evaluate_handle(TAKEN)
        listing = await self._take(taken)  # nothing, unless more has come since the page was read
        if listing is not None:
            yield listing
        while True:
            await asyncio.sleep(pause)
            height = await self._height()
            listing = await self._next(taken)
            if listing is None:
                self.grew = await self._height() > height + GROWTH
                break
            yield listing

    async def _next(self, taken: JSHandle) -> Listing | None:
        """Return the next batch, None if the list is at its end."""
        # Where nothing says that the list goes on, the longest wait would only be wasted.
        rounds = PATIENCE if self.site.continues == "scrolling" or self.brought else PATIENCE[:-1]
        for attempt, patience in enumerate(rounds):
            if attempt:
                await self.page.evaluate(UP)
            await self.page.evaluate(DOWN)
            if not await self._wait(taken, patience):
                continue
            listing = await self._take(taken)
            if listing is not None:
                self.stalls += attempt > 0
                self.brought += 1
                return listing
        return None

    async def _wait(self, taken: JSHandle, patience: float) -> bool:
        """Wait until there are new cards and no more are coming; return False if none come."""
        loop = asyncio.get_running_loop()
        end = loop.time() + patience
        while (count := await self._new(taken)) == 0:
            if loop.time() > end:
                return False
            await asyncio.sleep(LOOK_EVERY)
        before = 0
        while count != before:
            await asyncio.sleep(self.site.settle_seconds or LOOK_EVERY)
            before, count = count, await self._new(taken)
        return True

    async def _new(self, taken: JSHandle) -> int:
        """Return how many cards the page has that were not taken."""
        return int(await self.page.evaluate(COUNT, [taken, self.site.cards]))

    async def _take(self, taken: JSHandle) -> Listing | None:
        """Return what the cards say that are new in the page; None if all of them show photos that came before."""
        html = await self.page.evaluate(TAKE, [taken, self.site.cards])
        listing = self.site.parse(str(html), self.page.url)
        photos = [photo for photo in listing.photos if photo["photo_id"] not in self.ids]
        if not photos and listing.photos:
            return None
        self.ids.update(photo["photo_id"] for photo in photos)
        return replace(listing, photos=photos, next_url=None) if html else None

    async def _height(self) -> int:
        """Return the height of the page in pixels."""
        return int(await self.page.evaluate("document.documentElement.scrollHeight"))
