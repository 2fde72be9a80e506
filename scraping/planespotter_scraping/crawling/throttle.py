"""Throttle: wait between pages, for the crawl delay of robots.txt, the site's rate limit, and the backoff."""

import asyncio
import time

from planespotter_scraping.crawling.backoff import MAX_WAIT_SECONDS, Backoff, format_wait
from planespotter_scraping.crawling.result import CrawlAbortedError
from planespotter_scraping.crawling.robots import RobotsRules

MIN_NOTICE_SECONDS = 5.0  # shorter waits are not reported


class Throttle:
    """Wait before each page but the first one.

    Args:
        rules: Rules of the site, with its crawl delay.
        site_delay: Seconds between pages that the site's module sets.
        backoff: Backoff of the crawl, which also reports waits.
        several_pages: Whether more than one page will be opened.

    Attributes:
        delay: Minimum seconds between two pages.

    Raises:
        CrawlAbortedError: The crawl delay exceeds MAX_WAIT_SECONDS.
    """

    def __init__(self, rules: RobotsRules, site_delay: float, backoff: Backoff, *, several_pages: bool) -> None:
        self.backoff = backoff
        self.delay = max(rules.crawl_delay, site_delay)
        self._asked_by = (
            f"{rules.url} asks for it" if rules.crawl_delay >= self.delay else "the rate limit for this site"
        )
        self._last_opened: float | None = None  # when the last page was requested or arrived, on the monotonic clock
        if several_pages and rules.crawl_delay > MAX_WAIT_SECONDS:
            raise CrawlAbortedError(
                f"{rules.url} asks for {format_wait(rules.crawl_delay)} between two pages (Crawl-delay); the limit is "
                f"{format_wait(MAX_WAIT_SECONDS)}. Pass --pages 1 to read the first page only, or ask the operators "
                "for another rate."
            )

    def page_opened(self) -> None:
        """Start the delay before the next page."""
        self._last_opened = time.monotonic()

    async def wait(self, *_: object) -> None:
        """Wait for the backoff, and for the delay since the last page."""
        await self.backoff.wait()
        if self._last_opened is None:
            return
        seconds = self._last_opened + self.delay - time.monotonic()
        if seconds > 0:
            if self.delay >= MIN_NOTICE_SECONDS:
                self.backoff.notify(f"waits {format_wait(self.delay)} between pages: {self._asked_by}")
            await asyncio.sleep(seconds)
            self.backoff.notify("")
