"""Browser crawl: read the list pages of a photo site in a headless Chromium, and resume where a crawl was interrupted.

Crawlee keeps the request queue on disk, opens the pages and retries; the site's module parses them.

An interrupted crawl does not open finished pages again. But the list moves meanwhile: new photos at its front push the
others back, so the front is read again up to where the interrupted crawl started. Deleted photos let others move
forward, perhaps from a pending page to a finished one, so the last finished page is read again, too. A finished crawl
leaves no queue: the next one reads all pages.

The photos of a page are stored while the browser loads the next page. A kill at any moment loses none of them: a marker
on disk names the last page of the list that is stored, and the crawl resumes after it, in the order of the list.
"""

import asyncio
import logging
import shutil
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
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
from playwright.async_api import BrowserContext, Locator, Page, Response
from playwright.async_api import Error as PlaywrightError
from playwright.async_api import TimeoutError as PlaywrightTimeoutError

from planespotter_scraping.crawling import browser, continuation, crawlee_setup, drift_report, page_snapshot
from planespotter_scraping.crawling.access_checks import AccessChecker
from planespotter_scraping.crawling.backoff import should_back_off
from planespotter_scraping.crawling.completeness import ListWalk
from planespotter_scraping.crawling.drift_detection import DriftDetector, load_history, save_history
from planespotter_scraping.crawling.page_pipeline import PagePipeline
from planespotter_scraping.crawling.photo_sink import PhotoSink
from planespotter_scraping.crawling.queue_storage import empty_profile_folder, open_queue
from planespotter_scraping.crawling.result import CrawlAbortedError, ScrapeError, WaitTooLongError
from planespotter_scraping.crawling.robots import Robots
from planespotter_scraping.crawling.scroll import Scroller
from planespotter_scraping.crawling.throttle import Throttle
from planespotter_scraping.sites import Listing, Site

if TYPE_CHECKING:
    from playwright.async_api import StorageState

MAX_RETRIES = 2  # of a page that does not load
MAX_WAITS = 5  # of a page, after responses that ask to retry later
NAVIGATION_TIMEOUT_SECONDS = 45.0
READY_TIMEOUT_SECONDS = 15.0
PAGE_SECONDS = 2400.0  # for a page without its images, but with the waits for Retry-After
STORED_MARKER = "stored_page"
BLOCKED_SUFFIXES = ("jpg", "jpeg", "png", "gif", "webp", "avif", "bmp", "svg", "woff", "ttf", "otf", "mp4", "webm")

Role = Literal["list", "again", "front"]


async def crawl_pages(
    site: Site,
    base: str,
    sink: PhotoSink,
    robots: Robots,
    *,
    chromium: Path,
    user_agent: str,
    pages: int | None = None,
    storage_state: "StorageState | None" = None,
    detector: DriftDetector | None = None,
    queues: Path | None = None,
) -> int:
    """Store the photos of a site's list pages.

    Args:
        site: The site.
        base: Its URL.
        sink: Where the photos go. A page that cannot be read ends the crawl and is in the sink's result.
        robots: Rules of the site.
        chromium: Path of the browser.
        user_agent: User agent of all requests.
        pages: Maximum number of pages; None for all.
        storage_state: Login of the user, None without one.
        detector: Drift detector. If given, the history of the catalog is neither read nor written.
        queues: Folder of the request queue. Default: a folder in the catalog.

    Returns:
        Number of finished pages, those of interrupted runs included.

    Raises:
        CrawlAbortedError: The site denies access, opts out of AI training or asks to wait for too long, or its markup
            has drifted.
        CatalogError: The catalog cannot be written.
        KeyboardInterrupt: After Ctrl-C.
    """
    logging.getLogger("crawlee").setLevel(logging.CRITICAL)  # we report errors ourselves
    first = urljoin(base, site.first_path)
    await robots.check_page(first)
    rules = await robots.rules(first)
    await sink.opt_outs.check_site(rules, first, robots.client)
    throttle = Throttle(rules, 60 / site.pages_per_minute, sink.backoff, several_pages=pages != 1)
    # One queue per host: the built-in site has another port each time, and old URLs lead nowhere.
    queues = queues or sink.out / ".crawl"
    configuration = Configuration(
        storage_dir=str(queues / urlsplit(base).netloc.replace(":", "-")), purge_on_start=False
    )
    storage = FileSystemStorageClient()
    queue = await open_queue(configuration, storage)
    previous_tempdir, tempfile.tempdir = tempfile.tempdir, empty_profile_folder(queues)
    try:
        tab = crawlee_setup.Tab()
        pool = crawlee_setup.browser_pool(chromium, user_agent, tab)
        crawler = crawlee_setup.playwright_crawler(
            pool, configuration, storage, queue, navigation_seconds=NAVIGATION_TIMEOUT_SECONDS, retries=MAX_RETRIES
        )
        state = _CrawlState(throttle, tab, Path(configuration.storage_dir, STORED_MARKER))
        handler = _PageHandler(site, first, sink, robots, crawler, pages, storage_state, detector, state)
        pool.pre_page_create_hook(handler.wait_for_turn)
        with browser.driver_in_new_session():
            start = [handler.request(first, 1, "list")] if await queue.is_empty() else []
            interrupted = await crawlee_setup.run(crawler, start)
        await handler.finish(interrupted)
        if handler.failure is not None:
            raise handler.failure
        metadata = await queue.get_metadata()
        if handler.stopped:
            return metadata.handled_request_count
        if not await queue.is_finished():
            raise KeyboardInterrupt  # Crawlee has handled the signal and shut down
    finally:
        tempfile.tempdir = previous_tempdir
        # Otherwise Crawlee would pass the same open queue to the next crawl of this process.
        service_locator.storage_instance_manager.remove_from_cache(queue)
    shutil.rmtree(queues, ignore_errors=True)
    return metadata.handled_request_count


@dataclass(frozen=True)
class _CrawlState:
    """What the pages of a crawl share.

    Attributes:
        throttle: Waits between pages.
        tab: The tab that they are loaded in.
        stored_marker: File with the URL of the last page of the list that is stored.
    """

    throttle: Throttle
    tab: crawlee_setup.Tab
    stored_marker: Path


class _PageHandler:
    """Handle each page that the browser opens: check access, parse, store, enqueue the next one."""

    def __init__(
        self,
        site: Site,
        first: str,
        sink: PhotoSink,
        robots: Robots,
        crawler: PlaywrightCrawler,
        pages: int | None,
        storage_state: "StorageState | None",
        detector: DriftDetector | None,
        state: _CrawlState,
    ) -> None:
        self.site, self.first, self.pages, self.storage_state = site, first, pages, storage_state
        self.throttle, self.tab, self.stored_marker = state.throttle, state.tab, state.stored_marker
        self.detector = detector or DriftDetector(site, load_history(sink.out, site.name))
        self.saves_history = detector is None
        self.pipeline = PagePipeline(sink.result)
        self.access = AccessChecker(sink.out, storage_state is not None)
        self.walk = ListWalk()
        self.scroller: Scroller | None = None
        self.status = 200  # HTTP status of the page
        self.sink, self.robots, self.crawler = sink, robots, crawler
        self.run_id = uuid4().hex[:8]  # distinguishes requests of this run from those of an interrupted one
        self.leading = self.looked_back = False
        self.denied: Response | None = None  # the response that denied the page its data, if any
        self.failure: Exception | None = None
        self.stopped = False
        self.logged_in: WeakSet[BrowserContext] = WeakSet()
        self.prepared: WeakSet[Page] = WeakSet()  # tabs
        crawler.pre_navigation_hook(self.prepare)
        crawler.router.default_handler(self.handle_page)
        crawler.failed_request_handler(self.handle_failure)

    def request(
        self, url: str, number: int, role: Role, *, previous: Sequence[str] = (), start: Sequence[str] = ()
    ) -> Request:
        """Return the request for a page of the list.

        Args:
            url: URL of the page.
            number: Its number, from 1.
            role: What follows from it. Pages of the "list" enqueue the next page, pages read "again" do not, pages at
                the "front" do until one shows a photo of `start`.
            previous: URLs of the two pages before it, the nearest first.
            start: Photo ids on the first page when the interrupted crawl started.
        """
        data = {
            "number": number,
            "role": role,
            "run": self.run_id,
            "previous": list(previous),
            "start": list(start),
        }
        return Request.from_url(url, unique_key=f"{self.run_id} {role} {url}", user_data=data)

    async def wait_for_turn(self, *_: object) -> None:
        """Wait until the next page may be opened. Raises what ended the crawl meanwhile."""
        await self.throttle.wait()
        self.pipeline.raise_failure()

    async def finish(self, interrupted: bool) -> None:
        """Wait until the last page is stored, or cancel it after Ctrl-C, and record why that failed."""
        try:
            await (self.pipeline.cancel() if interrupted else self.pipeline.join())
        except Exception as error:
            self.failure = self.failure or error

    async def prepare(self, context: PlaywrightPreNavCrawlingContext) -> None:
        """Block images and fonts, and apply the storage state.

        The favicon is blocked as well: it would be a second request to a site that denied the first. Style sheets are
        loaded: scrolling and screenshots depend on them.
        """
        if context.page not in self.prepared:
            await context.block_requests(url_patterns=[*(f".{suffix}" for suffix in BLOCKED_SUFFIXES), "/favicon.ico"])
            context.page.on("response", self.record_denied_data)
            self.prepared.add(context.page)
        if self.storage_state is not None and context.page.context not in self.logged_in:
            await context.page.context.set_storage_state(self.storage_state)
            self.logged_in.add(context.page.context)
        self.denied = None
        self.throttle.page_opened()

    def record_denied_data(self, response: Response) -> None:
        """Record that the site denied a page its data, in case no photos appear."""
        denied = response.status in (401, 403, 429) or response.status >= 500
        same_site = urlsplit(response.url).netloc == urlsplit(self.first).netloc  # advertisers do not matter
        if denied and same_site and response.request.resource_type in ("fetch", "xhr"):
            self.denied = response

    async def handle_page(self, context: PlaywrightCrawlingContext) -> None:
        """Start to store the photos of one page, enqueue the next requests, and classify errors."""
        try:
            async with asyncio.timeout(PAGE_SECONDS):
                await self.check_response(context)
                if (unstored := self.unstored_page(context.request)) is not None:
                    await context.add_requests([unstored])
                    return
                listing = await self.parse_when_ready(context.page, context.request)
            is_list = context.request.user_data["role"] == "list"
            number = int(str(context.request.user_data["number"]))
            await self.store(context.page, listing, number, context.request.url if is_list else "")
            if self.is_endless(context.request, listing):
                await self.scroll(context.page, listing)
            requests = await self.next_requests(context.request, listing)
            if not any(request.user_data["role"] == "list" for request in requests):
                await self.pipeline.join()  # no later page leads back to this one after a kill
            await context.add_requests(requests)
            self.tab.reusable = True
        except CrawlAbortedError as error:
            self.abort(context, error)
            if isinstance(error, WaitTooLongError):
                await self.pipeline.cancel()  # otherwise the page before is stored completely: see `finish`
            raise
        except ScrapeError:
            # Data that the page lacks hardly appears a moment later: retry once.
            context.request.no_retry = context.request.retry_count >= 1
            raise
        except (PlaywrightError, TimeoutError):
            raise
        except Exception as error:  # a full disk, or a bug: other pages would fail as well
            self.abort(context, error)
            raise

    def abort(self, context: PlaywrightCrawlingContext, error: Exception) -> None:
        """End the crawl with an error and without further requests."""
        self.failure = error
        context.request.no_retry = True

    async def handle_failure(self, context: BasicCrawlingContext, error: Exception) -> None:
        """Record a page that failed after all retries, and stop: it is the only way to the next page."""
        self.stopped = True
        self.crawler.stop()
        if self.failure is None:
            self.sink.result.bad_pages[context.request.url] = error_reason(error, NAVIGATION_TIMEOUT_SECONDS)
        # Crawlee marks this request as handled, so enqueue an equal one for the next run.
        data = {name: context.request.user_data[name] for name in ("number", "role", "run", "previous", "start")}
        await context.add_requests([Request.from_url(context.request.url, always_enqueue=True, user_data=data)])

    async def check_response(self, context: PlaywrightCrawlingContext) -> None:
        """Check the response's status, and honour Retry-After.

        Raises:
            CrawlAbortedError: The site denies access.
            ScrapeError: Another HTTP error.
        """
        page, response, url = context.page, context.response, context.request.url
        self.throttle.page_opened()  # a slow page does not shorten the delay before the next one
        await self.access.check_response(page, response.status, response.headers)
        for _ in range(MAX_WAITS):
            retry_after = response.headers.get("retry-after")
            if not should_back_off(response.status, retry_after):
                break
            self.sink.backoff.postpone(url, response.status, retry_after)
            await self.sink.backoff.wait()
            response = await page.goto(url, timeout=NAVIGATION_TIMEOUT_SECONDS * 1000) or response
            await self.access.check_response(page, response.status, response.headers)
        self.status = response.status
        if response.status >= 400:
            context.request.no_retry = response.status < 500
            raise ScrapeError(f"the site responded with {response.status}")
        self.sink.backoff.reset()
        await self.sink.opt_outs.check_page(page, response.headers)

    async def raise_denied_data(self, page: Page, response: Response) -> NoReturn:
        """Raise ScrapeError for a page that did not get its data, or CrawlAbortedError if access was denied."""
        cause = f"the request for their data, {response.url}, responded with {response.status}"
        retry_after = await response.header_value("retry-after")
        if should_back_off(response.status, retry_after):
            self.sink.backoff.postpone(response.url, response.status, retry_after)
        elif response.status < 500:
            problem = f"shows no photos: {cause}: access denied"
            await self.access.abort(page, problem, response.status)
        raise ScrapeError(f"its photos did not appear: {cause}")

    def unstored_page(self, request: Request) -> Request | None:
        """Return a request for the page before the one at which a crawl resumes, if its photos are not all stored.

        The list may move meanwhile, so the pages from there on are read in their order.
        """
        data = request.user_data
        previous, start = data["previous"], data["start"]
        assert isinstance(previous, list)
        assert isinstance(start, list)
        if data["run"] == self.run_id or data["role"] != "list" or not previous or self.leading:
            return None
        with suppress(OSError, UnicodeDecodeError):  # a marker that cannot be read names no page
            if self.stored_marker.read_text(encoding="utf-8") == previous[0]:
                return None
        url, *earlier_urls = map(str, previous)
        earlier = self.request(url, int(str(data["number"])) - 1, "list", previous=earlier_urls, start=start)
        earlier.user_data["run"] = data["run"]  # it is a page of the interrupted crawl, too
        return earlier

    async def store(self, page: Page, listing: Listing, number: int, list_url: str = "") -> None:
        """Start to store the photos of a page or batch, unless its markup has drifted.

        The photos of the page or batch before it are stored first.

        Args:
            page: The page in the browser.
            listing: Its photos.
            number: Number of the page or batch.
            list_url: Its URL if a crawl may resume after it; "" for pages that are read again, and for batches.
        """
        await self.pipeline.join()
        self.sink.result.page_number = number
        await drift_report.check_drift(self.detector, page, listing, self.sink.out)
        url, cookies = page.url, await page.context.cookies()

        async def store_page() -> None:
            await self.sink.store_page(listing, referer=url, cookies=cookies)
            if list_url:
                self.stored_marker.write_text(list_url, encoding="utf-8")
            if self.saves_history:
                await asyncio.to_thread(save_history, self.sink.out, self.site.name, self.detector.history())

        await self.pipeline.submit(url, store_page)

    async def report_incomplete(self, page: Page, problem: str) -> None:
        """Record that photos of the list may be missing, with a snapshot of the first page with this problem."""
        result = self.sink.result
        if not result.incomplete:
            folder = await page_snapshot.save(page, self.sink.out, problem, what="incomplete")
            problem = f"{problem} A snapshot of the page is in {folder}."
        result.incomplete.append(problem)

    def is_endless(self, request: Request, listing: Listing) -> bool:
        """Return whether the list continues on the page itself, by scrolling."""
        if listing.last_page is not None or not self.may_scroll(request):
            return False
        return self.site.pagination == "scrolling" or not listing.next_url

    def may_scroll(self, request: Request) -> bool:
        """Return whether the list may continue on a page itself, by scrolling."""
        if self.pages == 1:
            return False
        if self.site.pagination == "both":  # only the first page shows it: the last of several pages has no link either
            return request.user_data["number"] == 1 and request.user_data["role"] == "list"
        return self.site.pagination == "scrolling"

    async def scroll(self, page: Page, listing: Listing) -> None:
        """Store the batches that scrolling loads, up to the end of the list or the maximum number of pages."""
        scroller = self.scroller
        assert scroller is not None  # is_endless implies that cards were recorded
        batches = 1
        async for batch in scroller.batches(listing, delay=self.throttle.delay):
            await self.store(page, batch, batches + 1)
            batches += 1
            self.denied = None  # the page has retried successfully
            if batches == self.pages:
                break
        else:
            if self.denied is not None:
                await self.raise_denied_data(page, self.denied)
            for problem in scroller.problems:
                await self.report_incomplete(page, problem)
            self.sink.result.notes.update(scroller.notes)
            missed = self.walk.missed(await page.content(), page.url, listing, self.site, scroller.ids)
            if missed and not self.sink.result.incomplete:
                await self.report_incomplete(page, missed)
            if scroller.page_grew:
                reason = f"{page.url} continues after {batches} batches, but without cards."
                await drift_report.raise_no_cards(self.detector, page, Listing([], None), self.sink.out, reason=reason)

    async def parse_when_ready(self, page: Page, request: Request) -> Listing:
        """Wait until the page is ready, and parse it.

        Args:
            page: The page in the browser.
            request: The request for it.

        Raises:
            CrawlAbortedError: The page is a challenge or a login wall.
            ScrapeError: The page has no cards; as a DriftError with a snapshot after the last try.
        """
        ready = page.locator(self.site.ready_selector)
        timeout, reason = READY_TIMEOUT_SECONDS * 1000, ""
        try:
            if self.site.consent_selector:
                button = page.locator(self.site.consent_selector)
                await button.or_(ready).first.wait_for(timeout=timeout)
                if await button.is_visible():
                    await button.click()
            await ready.first.wait_for(timeout=timeout)
            if self.site.settle_seconds:
                await wait_until_settled(ready, self.site.settle_seconds)
        except PlaywrightTimeoutError:
            await self.access.check_response(page, 200, {})
            reason = f"its photos did not appear within {READY_TIMEOUT_SECONDS:g} seconds"
        if self.scroller is not None:
            self.scroller.close()
        self.scroller = await Scroller.open(page, self.site) if self.may_scroll(request) else None
        html = await page.content()
        listing = self.site.parse(html, request.loaded_url or request.url)
        if not reason and (listing.photos or listing.cards):
            if listing.next_url is None and self.site.pagination != "scrolling" and listing.last_page is None:
                listing = replace(listing, next_url=await continuation.next_link(page, self.site))
            if missed := self.walk.missed(html, page.url, listing, self.site):
                await self.report_incomplete(page, missed)
            return listing
        if self.denied is not None:
            await self.raise_denied_data(page, self.denied)
        await self.access.check_empty(page, request.url, self.status)
        if request.retry_count >= 1:
            await drift_report.raise_no_cards(self.detector, page, listing, self.sink.out)
        raise ScrapeError(reason or "it shows no photos")

    async def next_requests(self, request: Request, listing: Listing) -> list[Request]:
        """Return the requests that follow from a finished page."""
        data = request.user_data
        number, role = int(str(data["number"])), data["role"]
        ids = [photo["photo_id"] for photo in listing.photos]
        start = ids if role == "list" and number == 1 else data["start"]
        earlier = data["previous"]
        assert isinstance(start, list)
        assert isinstance(earlier, list)
        requests: list[Request] = []
        from_earlier_run = data["run"] != self.run_id
        # A kill may leave two pages of the list in the queue. Only one of them leads to further pages.
        leads = role == "list" and not (from_earlier_run and self.leading)
        has_more = leads or (role == "front" and not set(ids).intersection(start))
        if has_more and listing.next_url is not None and self.walk.is_repetition(str(role), ids):
            self.sink.result.notes[f"{request.url} only repeats photos of earlier pages, so the list ends there."] += 1
            has_more = False
        if has_more and listing.next_url is not None and (self.pages is None or number < self.pages):
            await self.robots.check_page(listing.next_url)
            previous = [request.url, *map(str, earlier)][:2] if leads else []
            requests.append(
                self.request(listing.next_url, number + 1, "list" if leads else "front", previous=previous, start=start)
            )
        if leads:
            self.leading = True
        if from_earlier_run and role == "list" and number > 1:
            requests.extend(self.request(str(url), number - 1, "again", start=start) for url in earlier[:1])
        if from_earlier_run and not self.looked_back:
            self.looked_back = True
            if number > 1 or role == "again":  # otherwise this page is the front
                requests.append(self.request(self.first, 1, "front", start=start))
        return requests


def error_reason(error: Exception, timeout_seconds: float) -> str:
    """Return why a page could not be read, as the end of a sentence; `timeout_seconds` is the navigation timeout."""
    if isinstance(error, TimeoutError | PlaywrightTimeoutError):
        return f"it did not load within {timeout_seconds:g} seconds"
    text = str(error).partition("\n")[0].strip()
    if "net::" in text:
        return f"the site did not respond: {text.partition('net::')[2].partition(' at ')[0]}"
    if "has been closed" in text or "crashed" in text:
        return "the browser exited, perhaps for lack of memory"
    return text or type(error).__name__


async def wait_until_settled(cards: Locator, seconds: float) -> None:
    """Wait until the number of cards has not changed for `seconds`: some pages are built incrementally."""
    previous, count = -1, await cards.count()
    while count != previous:
        await asyncio.sleep(seconds)
        previous, count = count, await cards.count()
