"""Walk through a photo site in a headless Chromium.

Crawlee keeps the queue of pages on the disk, opens them in the browser and retries; what a page says is the
business of the site's own module.

A walk that was cut short goes on where it was: pages that were done are not opened again. But the list has moved
meanwhile. New photos at its front push the others back, which at most shows some of them twice; so the front is read
again, up to where this walk began. Photos that were deleted let the others move forward, perhaps from a page that is
still to be read to one that is done; so the last page that was done is read again too. A walk that has ended leaves
no queue, so the next one looks at all pages.
"""

import asyncio
import logging
import shutil
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NoReturn
from urllib.parse import urljoin, urlsplit
from uuid import uuid4
from weakref import WeakSet

from crawlee import Request, service_locator
from crawlee.configuration import Configuration
from crawlee.crawlers import (
    BasicCrawlingContext,
    PlaywrightCrawler,
    PlaywrightCrawlingContext,
    PlaywrightPreNavCrawlingContext,
)
from crawlee.storage_clients import FileSystemStorageClient
from playwright.async_api import BrowserContext, Page, Response
from playwright.async_api import Error as PlaywrightError
from playwright.async_api import TimeoutError as PlaywrightTimeoutError

from planespotter_scraping.crawling import access_checks, browser, drift_detection, drift_report
from planespotter_scraping.crawling import crawlee_setup as set_up
from planespotter_scraping.crawling.backoff import asks_to_wait
from planespotter_scraping.crawling.loading import reason_of, settle
from planespotter_scraping.crawling.photo_sink import PhotoSink
from planespotter_scraping.crawling.queue_storage import open_queue, scratch
from planespotter_scraping.crawling.result import CrawlAbortedError, ScrapeError
from planespotter_scraping.crawling.robots import Robots
from planespotter_scraping.crawling.scroll import Scroller
from planespotter_scraping.sites import Listing, Site

if TYPE_CHECKING:
    from playwright.async_api import StorageState

RETRIES = 2  # of a page that does not load
WAITS = 5  # for a page that is to come later
NAVIGATION_SECONDS = 45.0
READY_SECONDS = 15.0
PAGE_SECONDS = 2400.0  # for a page of images on a slow line, and waits that a site wants
KINDS_NOT_LOADED = ("jpg", "jpeg", "png", "gif", "webp", "avif", "bmp", "svg", "woff", "ttf", "otf", "mp4", "webm")

Role = Literal["list", "again", "front"]


async def walk(
    site: Site,
    base: str,
    sink: PhotoSink,
    robots: Robots,
    *,
    chromium: Path,
    user_agent: str,
    pages: int | None = None,
    login: "StorageState | None" = None,
    lookout: drift_detection.DriftDetector | None = None,
    queues: Path | None = None,
) -> int:
    """Keep the photos of all pages, or the first `pages`, of the site at `base`.

    With a `lookout` of its own, a walk does not remember for later ones how full the pages were. `queues` is the folder
    for the queue of pages, by default one in the catalog.

    Returns how many pages are done, with those of earlier runs that were cut short. A page that could not be read
    ends the walk and is in the sink's outcome. Raises CrawlAbortedError if the site must not be asked further, and what
    else the sink raises. Ctrl-C ends with KeyboardInterrupt. In all these cases the next walk goes on from there.
    """
    logging.getLogger("crawlee").setLevel(logging.CRITICAL)  # what matters is told in sentences
    first = urljoin(base, site.first_page)
    await robots.check(first)
    delay = max((await robots.rules(first)).delay, 60 / site.pages_per_minute)
    # One queue for each address: the built-in site has a new port each time, and old addresses lead nowhere.
    queues = queues or sink.out / ".crawl"
    configuration = Configuration(
        storage_dir=str(queues / urlsplit(base).netloc.replace(":", "-")), purge_on_start=False
    )
    storage = FileSystemStorageClient()
    queue = await open_queue(configuration, storage)
    elsewhere, tempfile.tempdir = tempfile.tempdir, scratch(queues)
    try:
        pool = set_up.browsers(chromium, user_agent)
        crawler = set_up.crawler(
            pool, configuration, storage, queue, navigation_seconds=NAVIGATION_SECONDS, retries=RETRIES
        )
        reader = _PageReader(site, first, sink, robots, crawler, pages, login, delay, lookout)
        pool.pre_page_create_hook(reader.keep_pace)
        with browser.out_of_reach_of_ctrl_c():
            await crawler.run([reader.request(first, 1, "list")] if await queue.is_empty() else [])
        if reader.failure is not None:
            raise reader.failure
        metadata = await queue.get_metadata()
        if reader.stopped:
            return metadata.handled_request_count
        if not await queue.is_finished():
            raise KeyboardInterrupt  # Crawlee has taken the signal and ended in order
    finally:
        tempfile.tempdir = elsewhere
        # Crawlee would hand the same open queue to the next crawl of this process.
        service_locator.storage_instance_manager.remove_from_cache(queue)
    shutil.rmtree(queues, ignore_errors=True)
    return metadata.handled_request_count


class _PageReader:
    """What happens to each page that the browser has opened."""

    def __init__(
        self,
        site: Site,
        first: str,
        sink: PhotoSink,
        robots: Robots,
        crawler: PlaywrightCrawler,
        pages: int | None,
        login: "StorageState | None",
        delay: float,
        lookout: drift_detection.DriftDetector | None,
    ) -> None:
        self.site, self.first, self.pages, self.login, self.delay = site, first, pages, login, delay
        self.watch = lookout or drift_detection.DriftDetector(site, drift_detection.load(sink.out, site.name))
        self.remembers = lookout is None
        self.here = sink.out, login is not None  # what the evidence of an unfriendly welcome needs
        self.sink, self.robots, self.crawler = sink, robots, crawler
        self.run = uuid4().hex[:8]  # tells the requests of this run from those that an earlier one has left
        self.leading = self.looked_back = False
        self.opened = 0.0  # when the last page was asked for or came, on the monotonic clock
        self.denied: Response | None = None  # how the site answered the page's own question, if it did not like to
        self.failure: Exception | None = None
        self.stopped = False
        self.logged_in: WeakSet[BrowserContext] = WeakSet()
        crawler.pre_navigation_hook(self.prepare)
        crawler.router.default_handler(self.read_page)
        crawler.failed_request_handler(self.note_failure)

    def request(self, url: str, number: int, role: Role, *, previous: str = "", start: Sequence[str] = ()) -> Request:
        """Return the request for page `number` of the list.

        Pages of the `list` lead to the next one, pages read `again` do not, and those at the `front` do until one shows
        a photo of `start`: these are the ids on the first page when this walk began.
        """
        data = {"number": number, "role": role, "run": self.run, "previous": previous, "start": list(start)}
        return Request.from_url(url, unique_key=f"{self.run} {role} {url}", user_data=data)

    async def keep_pace(self, *_: object) -> None:
        """Wait until it is time for the next page."""
        await self.sink.patience.rest()
        await asyncio.sleep(max(0.0, self.opened + self.delay - time.monotonic()))

    async def prepare(self, context: PlaywrightPreNavCrawlingContext) -> None:
        """Keep the browser from loading pictures and fonts: the addresses are enough. Log in, if the user has.

        Nor does it ask for the icon of a tab, which would be a second request to a site that has refused the first.
        Styles are loaded, once: how far a page can be scrolled depends on them, and what a screenshot tells.
        """
        await context.block_requests(url_patterns=[*(f".{kind}" for kind in KINDS_NOT_LOADED), "/favicon.ico"])
        if self.login is not None and context.page.context not in self.logged_in:
            await context.page.context.set_storage_state(self.login)
            self.logged_in.add(context.page.context)
        self.denied = None
        context.page.on("response", self.note_denied)
        self.opened = time.monotonic()

    def note_denied(self, answer: Response) -> None:
        """Remember that the site did not give a page the data that it is made of, in case no photos appear."""
        refused = answer.status in (401, 403, 429) or answer.status >= 500
        own = urlsplit(answer.url).netloc == urlsplit(self.first).netloc  # advertisers may refuse what they like
        if refused and own and answer.request.resource_type in ("fetch", "xhr"):
            self.denied = answer

    async def read_page(self, context: PlaywrightCrawlingContext) -> None:
        """Store the photos of one page and queue what follows; sort what goes wrong."""
        try:
            async with asyncio.timeout(PAGE_SECONDS):
                await self.arrive(context)
                url = context.request.loaded_url or context.request.url
                listing = await self.list_photos(context.page, url, last_look=context.request.retry_count >= 1)
                await self.keep(context.page, listing, int(str(context.request.user_data["number"])))
            if self.scrolls(context.request, listing):
                await self.scroll(context.page, listing)
            await context.add_requests(await self.follow(context.request, listing))
        except CrawlAbortedError as error:
            self.end(context, error)
            raise
        except ScrapeError:
            # What the page lacks is hardly there a moment later; one more look is enough.
            context.request.no_retry = context.request.retry_count >= 1
            raise
        except (PlaywrightError, TimeoutError):
            raise
        except Exception as error:  # a full disk, or a bug: no other page would fare better
            self.end(context, error)
            raise

    def end(self, context: PlaywrightCrawlingContext, error: Exception) -> None:
        """End the walk with `error`, and ask for nothing more."""
        self.failure = error
        context.request.no_retry = True

    async def note_failure(self, context: BasicCrawlingContext, error: Exception) -> None:
        """Remember a page that all retries could not read, and stop: the way to the next one leads through it."""
        self.stopped = True
        self.crawler.stop()
        if self.failure is None:
            self.sink.outcome.bad_pages[context.request.url] = reason_of(error, NAVIGATION_SECONDS)
        # Crawlee is done with this request. The next run begins with one like it.
        data = {name: context.request.user_data[name] for name in ("number", "role", "run", "previous", "start")}
        await context.add_requests([Request.from_url(context.request.url, always_enqueue=True, user_data=data)])

    async def arrive(self, context: PlaywrightCrawlingContext) -> None:
        """Return when the site has answered with a page. Raises CrawlAbortedError if it wants no visitor."""
        page, answer, url = context.page, context.response, context.request.url
        self.opened = time.monotonic()  # a page that was slow to come makes no haste for the next one
        await access_checks.check(page, answer.status, *self.here)
        for _ in range(WAITS):
            retry_after = answer.headers.get("retry-after")
            if not asks_to_wait(answer.status, retry_after):
                break
            self.sink.patience.postpone(url, answer.status, retry_after)
            await self.sink.patience.rest()
            answer = await page.goto(url, timeout=NAVIGATION_SECONDS * 1000) or answer
            await access_checks.check(page, answer.status, *self.here)
        if answer.status >= 400:
            context.request.no_retry = answer.status < 500
            raise ScrapeError(f"the site answered {answer.status}")
        self.sink.patience.welcome()

    async def say_what_was_denied(self, page: Page, answer: Response) -> NoReturn:
        """Raise ScrapeError for a page that did not get its data, as a CrawlAbortedError if it was refused."""
        said = f"{answer.url}, where its photos should come from, answered {answer.status}"
        retry_after = await answer.header_value("retry-after")
        if asks_to_wait(answer.status, retry_after):
            self.sink.patience.postpone(answer.url, answer.status, retry_after)
        elif answer.status < 500:
            found = f"shows no photos: {said}, which is a refusal"
            await access_checks.turn_away(page, found, *self.here, answer.status)
        raise ScrapeError(f"its photos did not appear: {said}")

    async def keep(self, page: Page, listing: Listing, number: int) -> None:
        """Store the photos of a page or a batch, the one of this number, unless the site was redesigned."""
        self.sink.outcome.page_number = number
        await drift_report.refuse_collapsed(self.watch, page, listing, self.sink.out)
        await self.sink.store_page(listing)
        if self.remembers:
            drift_detection.save(self.sink.out, self.site.name, self.watch.remembered())

    def scrolls(self, request: Request, listing: Listing) -> bool:
        """Return whether the list goes on on the page itself."""
        if self.pages == 1 or listing.last_page is not None:
            return False
        if self.site.continues == "both":  # only the first page can tell: the last one of several links to none either
            return request.user_data["number"] == 1 and request.user_data["role"] == "list" and not listing.next_url
        return self.site.continues == "scrolling"

    async def scroll(self, page: Page, listing: Listing) -> None:
        """Store what comes as the page is scrolled, up to its end, or as many batches as pages are asked for."""
        scroller = Scroller(page, self.site, listing)
        read = 1
        async for batch in scroller.batches(pause=self.delay):
            async with asyncio.timeout(PAGE_SECONDS):
                await self.keep(page, batch, read + 1)
            read += 1
            self.denied = None  # if there was something, the page has tried again
            if read == self.pages:
                break
        else:
            if self.denied is not None:
                await self.say_what_was_denied(page, self.denied)
            if scroller.grew:
                reason = f"{page.url} goes on as it is scrolled, but what comes after {read} batches are no cards."
                await drift_report.refuse_empty(self.watch, page, Listing([], None), self.sink.out, reason=reason)

    async def list_photos(self, page: Page, url: str, *, last_look: bool) -> Listing:
        """Return what the page says once it is complete.

        Raises ScrapeError if it has no cards; if this was the `last_look` at it, as a DriftError with evidence.
        """
        complete = page.locator(self.site.ready)
        limit, reason = READY_SECONDS * 1000, ""
        try:
            if self.site.consent:
                button = page.locator(self.site.consent)
                await button.or_(complete).first.wait_for(timeout=limit)
                if await button.is_visible():
                    await button.click()
            await complete.first.wait_for(timeout=limit)
            if self.site.settle_seconds:
                await settle(complete, self.site.settle_seconds)
        except PlaywrightTimeoutError:
            await access_checks.check(page, 200, *self.here)
            if await page.locator("input[type=password]").first.is_visible():
                await access_checks.turn_away(page, "asks for a login where its photos should be", *self.here)
            reason = f"its photos did not appear within {READY_SECONDS:g} seconds"
        listing = self.site.parse(await page.content(), url)
        if not reason and (listing.photos or listing.cards):
            return listing
        if self.denied is not None:
            await self.say_what_was_denied(page, self.denied)
        if last_look:
            await drift_report.refuse_empty(self.watch, page, listing, self.sink.out)
        raise ScrapeError(reason or "it shows no photos")

    async def follow(self, request: Request, listing: Listing) -> list[Request]:
        """Return which pages are to be read because of this one."""
        data = request.user_data
        number, role = int(str(data["number"])), data["role"]
        shown = [photo["photo_id"] for photo in listing.photos]
        start = shown if role == "list" and number == 1 else data["start"]
        assert isinstance(start, list)
        following: list[Request] = []
        left_over = data["run"] != self.run
        # A kill may leave two pages of the list in the queue. One of them leads on; the other is only read.
        leads = role == "list" and not (left_over and self.leading)
        more = leads or (role == "front" and not set(shown).intersection(start))
        if more and listing.next_url is not None and (self.pages is None or number < self.pages):
            await self.robots.check(listing.next_url)
            previous = request.url if leads else ""
            following.append(
                self.request(listing.next_url, number + 1, "list" if leads else "front", previous=previous, start=start)
            )
        if leads:
            self.leading = True
        if left_over and role == "list" and number > 1:
            following.append(self.request(str(data["previous"]), number - 1, "again", start=start))
        if left_over and not self.looked_back:
            self.looked_back = True
            if number > 1 or role == "again":  # else this is the front
                following.append(self.request(self.first, 1, "front", start=start))
        return following
