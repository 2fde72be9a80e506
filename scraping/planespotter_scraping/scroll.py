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
    """Scrolls down one page and reads what comes.

    `stalls` counts the rounds that brought something only after the page was scrolled up and down again. `grew` says
    whether the page has become higher since the last new photo came.
    """

    def __init__(self, page: Page, site: Site) -> None:
        self.page, self.site = page, site
        self.ids: set[str] = set()
        self.stalls = 0
        self.grew = False

    async def batches(self, pause: float = 0) -> AsyncIterator[Listing]:
        """Yield the photos that the page shows, then those of each batch that scrolling brings, none twice.

        `pause` is how many seconds to leave between batches at least. A batch of cards that hold no photo with an id
        is yielded as well, so that its reader can be found wanting; one of photos that came before is not.
        """
        taken = await self.page.evaluate_handle(TAKEN)
        listing = await self._take(taken)
        if listing is not None:
            yield listing
        while True:
            height = await self._height()
            if pause:
                await asyncio.sleep(pause)
            listing = await self._next(taken)
            self.grew = await self._height() > height + 200
            if listing is None:
                break
            yield listing
        await taken.dispose()

    async def _next(self, taken: JSHandle) -> Listing | None:
        """Return the next batch, None if the list is at its end."""
        for attempt, patience in enumerate(PATIENCE):
            if attempt:
                await self.page.evaluate(UP)
            await self.page.evaluate(DOWN)
            if not await self._wait(taken, patience):
                continue
            listing = await self._take(taken)
            if listing is not None:
                self.stalls += attempt > 0
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
