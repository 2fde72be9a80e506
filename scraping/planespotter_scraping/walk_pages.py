"""Walk through a photo site in a headless Chromium.

Crawlee keeps the queue of pages on the disk, opens them in the browser and retries; what a page says is the
business of the site's own module. A walk that was cut short goes on where it was: pages that were done are not
opened again. One that has ended leaves no queue, so the next one looks at all pages for photos that are new.
"""

import asyncio
import logging
import shutil
from datetime import timedelta
from pathlib import Path
from urllib.parse import urljoin, urlsplit

from crawlee import ConcurrencySettings, Request, service_locator
from crawlee.configuration import Configuration
from crawlee.crawlers import (
    BasicCrawlingContext,
    PlaywrightCrawler,
    PlaywrightCrawlingContext,
    PlaywrightPreNavCrawlingContext,
)
from crawlee.http_clients import ImpitHttpClient
from crawlee.statistics import Statistics
from crawlee.storage_clients import FileSystemStorageClient
from crawlee.storages import RequestQueue
from playwright.async_api import Locator
from playwright.async_api import TimeoutError as PlaywrightTimeoutError

from planespotter_scraping import browser
from planespotter_scraping.keep import Keeper
from planespotter_scraping.outcome import ScrapeError
from planespotter_scraping.sites import Site

RETRIES = 2


async def walk(
    site: Site, base: str, keeper: Keeper, *, chromium: Path, user_agent: str, pages: int | None = None
) -> int:
    """Keep the photos of all pages, or the first `pages`, of the site at `base`.

    Returns how many pages are done, with those of earlier runs that were cut short. Pages that could not be read
    are in the keeper's outcome. Ctrl-C ends with KeyboardInterrupt.
    """
    logging.getLogger("crawlee").setLevel(logging.CRITICAL)  # what matters is told in sentences
    # One queue for each address: the built-in site has a new port each time, and old addresses lead nowhere.
    queues = keeper.out / ".crawl"
    configuration = Configuration(
        storage_dir=str(queues / urlsplit(base).netloc.replace(":", "-")), purge_on_start=False
    )
    storage = FileSystemStorageClient()
    queue = await RequestQueue.open(configuration=configuration, storage_client=storage)
    try:
        crawler = _crawler(site, chromium, user_agent, configuration, storage, queue)
        reader = _PageReader(site, keeper, pages)
        crawler.pre_navigation_hook(_block_images)
        crawler.router.default_handler(reader.read_page)
        crawler.failed_request_handler(reader.note_failure)
        await crawler.run([_request(urljoin(base, site.first_page), number=1)])
        if not await queue.is_finished():
            raise KeyboardInterrupt  # Crawlee has taken the signal and ended in order
        handled = (await queue.get_metadata()).handled_request_count
    finally:
        # Crawlee would hand the same open queue to the next crawl of this process.
        service_locator.storage_instance_manager.remove_from_cache(queue)
    # The queue has served its time. Pages that failed are to be tried again, and new photos come to old pages.
    shutil.rmtree(queues, ignore_errors=True)
    return handled


def _crawler(
    site: Site,
    chromium: Path,
    user_agent: str,
    configuration: Configuration,
    storage: FileSystemStorageClient,
    queue: RequestQueue,
) -> PlaywrightCrawler:
    """Return Crawlee's crawler for this walk: one page at a time, open about who it is, and easily told off."""
    return PlaywrightCrawler(
        browser_type="chromium",
        headless=True,
        browser_launch_options={
            "executable_path": str(chromium),
            "args": list(browser.LAUNCH_ARGUMENTS),
            "chromium_sandbox": False,  # it cannot start as root, nor in most containers
        },
        # Without these headers, Crawlee makes up those of another browser.
        browser_new_context_options={"user_agent": user_agent, "extra_http_headers": {}},
        fingerprint_generator=None,  # be who we are
        http_client=ImpitHttpClient(browser=None, headers={"User-Agent": user_agent}),  # asks for robots.txt
        configuration=configuration,
        storage_client=storage,
        event_manager=service_locator.get_event_manager(),
        request_manager=queue,
        statistics=Statistics.with_default_state(persistence_enabled=False),
        respect_robots_txt_file=True,
        retry_on_blocked=False,  # a site that says no is left alone
        use_session_pool=False,
        max_session_rotations=0,
        max_request_retries=RETRIES,
        request_handler_timeout=timedelta(minutes=10),  # a page of images on a slow line
        concurrency_settings=ConcurrencySettings(
            min_concurrency=1,
            max_concurrency=1,
            desired_concurrency=1,
            max_tasks_per_minute=site.pages_per_minute,
        ),
        configure_logging=False,
    )


def _request(url: str, number: int) -> Request:
    """Return the request for page `number` of the list."""
    return Request.from_url(url, user_data={"number": number})


class _PageReader:
    """What happens to each page that the browser has opened."""

    def __init__(self, site: Site, keeper: Keeper, pages: int | None) -> None:
        self.site, self.keeper, self.pages = site, keeper, pages

    async def read_page(self, context: PlaywrightCrawlingContext) -> None:
        """Store the photos of one page and queue the next one."""
        page = context.page
        complete = page.locator(self.site.ready)
        try:
            if self.site.consent:
                button = page.locator(self.site.consent)
                await button.or_(complete).first.wait_for(timeout=15_000)
                if await button.is_visible():
                    await button.click()
            await complete.first.wait_for(timeout=15_000)
            if self.site.settle_seconds:
                await _settle(complete, self.site.settle_seconds)
        except PlaywrightTimeoutError:
            raise ScrapeError("its photos did not appear within 15 seconds.") from None
        listing = self.site.parse(await page.content(), context.request.loaded_url or context.request.url)
        if not listing.photos:
            raise ScrapeError("it shows no photos.")
        await self.keeper.keep_all(listing)
        number = int(str(context.request.user_data["number"]))
        if listing.next_url is not None and (self.pages is None or number < self.pages):
            await context.add_requests([_request(listing.next_url, number + 1)])

    async def note_failure(self, context: BasicCrawlingContext, error: Exception) -> None:
        """Remember a page that all retries could not read."""
        text = str(error).partition("\n")[0] or type(error).__name__
        self.keeper.outcome.bad_pages[context.request.url] = text


async def _settle(cards: Locator, seconds: float) -> None:
    """Wait until the number of cards has stayed the same for so long: some pages are built bit by bit."""
    before, now = -1, await cards.count()
    while now != before:
        await asyncio.sleep(seconds)
        before, now = now, await cards.count()


async def _block_images(context: PlaywrightPreNavCrawlingContext) -> None:
    """Keep the browser from loading pictures and fonts: the addresses are enough."""
    await context.block_requests()
