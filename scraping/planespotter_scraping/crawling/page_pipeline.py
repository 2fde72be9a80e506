"""Page pipeline: store the photos of one page in the background while the browser loads the next page.

At most one page is stored at a time, so pages are committed in order, and the limits on image downloads hold.
"""

import asyncio
from collections.abc import Awaitable, Callable

from planespotter_photos.counts import count_noun
from planespotter_scraping.crawling.result import CrawlAbortedError, CrawlResult

STORE_SECONDS = 2400.0  # for all images of a page on a slow connection, and for Retry-After


class PagePipeline:
    """The photos of a page that are being stored.

    Args:
        result: Result of the crawl, for messages.
    """

    def __init__(self, result: CrawlResult) -> None:
        self._result = result
        self._task: asyncio.Task[None] | None = None

    async def submit(self, url: str, store: Callable[[], Awaitable[None]]) -> None:
        """Start to store the photos of a page, once those of the page before it are stored.

        Args:
            url: URL of the page.
            store: Stores its photos.

        Raises:
            Exception: What `store` raised for the page before.
        """
        await self.join()
        self._task = asyncio.create_task(self._store(url, store))

    async def join(self) -> None:
        """Wait until the submitted page is stored. Raises what `store` raised."""
        if self._task is not None:
            await self._task

    def raise_failure(self) -> None:
        """Raise what `store` raised, if it has already failed."""
        if self._task is not None and self._task.done() and not self._task.cancelled():
            self._task.result()

    async def cancel(self) -> None:
        """Send no further request. Photos that have been downloaded are still stored."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
            self._task = None

    async def _store(self, url: str, store: Callable[[], Awaitable[None]]) -> None:
        """Store the photos of a page within the time limit."""
        try:
            async with asyncio.timeout(STORE_SECONDS):
                await store()
        except TimeoutError:
            raise CrawlAbortedError(
                f"The images of {url} did not arrive within {STORE_SECONDS / 60:.0f} minutes, so the crawl stopped. "
                f"{count_noun(self._result.stored, 'photo')} stored. Run the same command again to resume."
            ) from None
