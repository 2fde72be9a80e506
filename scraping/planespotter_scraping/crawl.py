"""Walk through a photo site in a headless Chromium and store its photos in a catalog.

Crawlee keeps the queue of pages on the disk, opens them in the browser and retries; what a page says is the
business of the site's own module, and the catalog's how a photo is stored. The images are fetched directly, since a
browser would only make them slower. A crawl that was cut short goes on where it was: pages that were done are not
opened again, and a photo that the catalog holds is not fetched again. A crawl that has ended leaves no queue, so the
next one looks at all pages for photos that are new.
"""

import asyncio
import logging
import re
import shutil
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urljoin, urlsplit

import httpx
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

from planespotter_scraping import browser, catalog
from planespotter_scraping.images import SUFFIXES, examine
from planespotter_scraping.labels import place
from planespotter_scraping.sample_site.server import serve
from planespotter_scraping.sites import Site
from planespotter_scraping.sites.planespotters import SITE as PLANESPOTTERS
from planespotter_scraping.sites.sample import SITE as SAMPLE

SITES = {site.name: site for site in (SAMPLE, PLANESPOTTERS)}
DEFAULT_CONSTRUCTORS = ("Airbus", "Boeing")
USER_AGENT = "planespotter/0.1 (an aircraft photo classifier; see its README for the contact)"
CONTACT = re.compile(r"[!-~]+@[!-~]+\.[!-~]+|https?://[!-~]+")
RETRIES = 2
IMAGES_AT_ONCE = 4


class ScrapeError(Exception):
    """A crawl that cannot start or did not reach its end. The text says why, and what to do."""


@dataclass
class Outcome:
    """What a crawl did: counts of photos, and what went wrong with pages by their address."""

    pages: int = 0
    stored: int = 0
    known: int = 0  # in the catalog already
    other_constructors: Counter[str] = field(default_factory=Counter)
    missing: dict[str, Counter[str]] = field(default_factory=dict)  # how many cards lack a field, by the reason
    bad_images: dict[str, str] = field(default_factory=dict)  # by photo id: what was wrong
    bad_pages: dict[str, str] = field(default_factory=dict)


def scrape(
    site_name: str,
    out: Path,
    *,
    url: str | None = None,
    pages: int | None = None,
    constructors: Collection[str] | None = DEFAULT_CONSTRUCTORS,
    permission: str = "",
    contact: str = "",
    progress: Callable[[Outcome], None] = lambda outcome: None,
) -> Outcome:
    """Store the photos of a site in the catalog in `out`, and return what was done.

    `url` is where the site is (by default its own address; the built-in sample site is served meanwhile), `pages`
    how many pages of its list to read (None: all), and `constructors` whose aircraft to store (None: all).
    `permission` says who allowed the scrape, and when, for sites that need it, and goes into the catalog; `contact`
    is an e-mail address or a web page, which a live site is told with each request. `progress` is called after
    each photo and page. Raises ScrapeError if the site is not known or may not be scraped so, if no page could be
    read, or if some could not; BrowserError and CatalogError as their modules say. Ctrl-C ends with
    KeyboardInterrupt, and nothing that was stored is lost.
    """
    if site_name not in SITES:
        raise ScrapeError(f"There is no site {site_name!r}. Choose one of: {', '.join(SITES)}.")
    site = SITES[site_name]
    _check_leave(site, permission, contact)
    if url is not None and (urlsplit(url).scheme not in ("http", "https") or not urlsplit(url).netloc):
        raise ScrapeError(f"{url!r} is not the address of a site. Give one such as http://127.0.0.1:8000.")
    if out.exists() and not out.is_dir():
        raise ScrapeError(f"{out} is a file. Choose a folder for the catalog; it is made if it does not exist.")
    chromium = browser.ensure_chromium()
    known = catalog.photo_ids(out)
    url = url or site.address
    with nullcontext(url) if url else serve() as base:
        crawl = _Crawl(site, out, base, pages, constructors, known, progress)
        crawl.permission = " ".join(permission.split())
        crawl.user_agent = f"planespotter/0.1 (+{contact})" if contact else USER_AGENT
        return asyncio.run(crawl.run(chromium))


def _check_leave(site: Site, permission: str, contact: str) -> None:
    """Raise ScrapeError unless what is given suffices to visit `site`."""
    if site.needs_permission and not permission.strip():
        raise ScrapeError(
            f"The site {site.name} is not scraped without permission: {site.needs_permission}. If you were allowed to, "
            'say so with --permission "who allowed it, and when"; the catalog keeps that beside each photo.'
        )
    if contact and CONTACT.fullmatch(contact) is None:
        raise ScrapeError(
            f"{contact!r} is no way to reach you. Give --contact an e-mail address, or a web page that begins with https://."
        )
    if site.address and not contact:
        raise ScrapeError(
            f"The site {site.name} is a live one, and those who run it must be able to reach whoever visits it. "
            "Give --contact with your e-mail address or a web page of yours; each request carries it."
        )


class _Crawl:
    """One run over a site."""

    def __init__(
        self,
        site: Site,
        out: Path,
        base: str,
        pages: int | None,
        constructors: Collection[str] | None,
        known: set[str],
        progress: Callable[[Outcome], None],
    ) -> None:
        self.site, self.out, self.base, self.pages = site, out, base, pages
        self.wanted = None if constructors is None else {place(name, "").constructor for name in constructors}
        self.known, self.progress = known, progress
        self.outcome = Outcome()
        self.permission, self.user_agent = "", USER_AGENT
        # One queue for each address: the built-in site has a new port each time, and old addresses lead nowhere.
        self.queue_folder = out / ".crawl" / urlsplit(base).netloc.replace(":", "-")

    async def run(self, chromium: Path) -> Outcome:
        """Read all pages and return what was done."""
        logging.getLogger("crawlee").setLevel(logging.CRITICAL)  # what matters is told in sentences
        storage = FileSystemStorageClient()
        configuration = Configuration(storage_dir=str(self.queue_folder), purge_on_start=False)
        queue = await RequestQueue.open(configuration=configuration, storage_client=storage)
        try:
            crawler = self.crawler(chromium, configuration, storage, queue)
            headers = {"User-Agent": self.user_agent}
            async with httpx.AsyncClient(headers=headers, timeout=30, follow_redirects=True) as self.client:
                await crawler.run([self.request(urljoin(self.base, self.site.first_page), number=1)])
            if not await queue.is_finished():
                raise KeyboardInterrupt  # Crawlee has taken the signal and ended in order
            handled = (await queue.get_metadata()).handled_request_count
        finally:
            # Crawlee would hand the same open queue to the next crawl of this process.
            service_locator.storage_instance_manager.remove_from_cache(queue)
        # The queue has served its time. Pages that failed are to be tried again, and new photos come to old pages.
        shutil.rmtree(self.out / ".crawl", ignore_errors=True)
        self.check(handled)
        return self.outcome

    def crawler(
        self, chromium: Path, configuration: Configuration, storage: FileSystemStorageClient, queue: RequestQueue
    ) -> PlaywrightCrawler:
        """Return Crawlee's crawler for this run: one page at a time, open about who it is, and easily told off."""
        crawler = PlaywrightCrawler(
            browser_type="chromium",
            headless=True,
            browser_launch_options={
                "executable_path": str(chromium),
                "args": list(browser.LAUNCH_ARGUMENTS),
                "chromium_sandbox": False,  # it cannot start as root, nor in most containers
            },
            # Without these headers, Crawlee makes up those of another browser.
            browser_new_context_options={"user_agent": self.user_agent, "extra_http_headers": {}},
            fingerprint_generator=None,  # be who we are
            http_client=ImpitHttpClient(browser=None, headers={"User-Agent": self.user_agent}),  # asks for robots.txt
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
                max_tasks_per_minute=self.site.pages_per_minute,
            ),
            configure_logging=False,
        )
        crawler.pre_navigation_hook(_block_images)
        crawler.router.default_handler(self.read_page)
        crawler.failed_request_handler(self.note_failure)
        return crawler

    def request(self, url: str, number: int) -> Request:
        """Return the request for page `number` of the list."""
        return Request.from_url(url, user_data={"number": number})

    def check(self, handled: int) -> None:
        """Raise ScrapeError if the crawl came to its end, but not as it should."""
        bad = self.outcome.bad_pages
        if bad:
            address, reason = next(iter(bad.items()))
            raise ScrapeError(
                f"Pages that could not be read: {len(bad)}, the first being {address} ({reason.rstrip('.')}). "
                f"{self.outcome.stored} photos were stored. Run the same command again to try the rest."
            )
        if self.outcome.pages == 0 and handled == 0:
            raise ScrapeError(
                f"No page of {self.base} was read. Its robots.txt may forbid it, or the address may be wrong."
            )

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
        for name, reasons in listing.missing.items():
            self.outcome.missing.setdefault(name, Counter()).update(reasons)
        slots = asyncio.Semaphore(IMAGES_AT_ONCE)

        async def store(photo: Mapping[str, str]) -> None:
            async with slots:
                await self.store(photo)

        await asyncio.gather(*(store(photo) for photo in listing.photos))
        number = int(str(context.request.user_data["number"]))
        if listing.next_url is not None and (self.pages is None or number < self.pages):
            await context.add_requests([self.request(listing.next_url, number + 1)])
        self.outcome.pages += 1
        self.progress(self.outcome)

    async def store(self, photo: Mapping[str, str]) -> None:
        """Fetch the image of one photo and add it to the catalog, unless it is there or not wanted."""
        photo_id = f"{self.site.name}-{photo['photo_id']}"  # several sites may share a catalog
        constructor = place(photo["constructor"], photo["aircraft_type"]).constructor
        if photo_id in self.known:
            self.outcome.known += 1
        elif self.wanted is not None and constructor not in self.wanted:
            self.outcome.other_constructors[constructor or "not said"] += 1
        else:
            self.known.add(photo_id)
            try:
                data = await fetch(self.client, photo["image_url"])
                kind, width, height = examine(data)
            except ValueError as error:
                self.outcome.bad_images[photo_id] = str(error)
            else:
                row = {
                    **photo,
                    "photo_id": photo_id,
                    "source": self.site.name,
                    "width": str(width),
                    "height": str(height),
                    "scraped_at": datetime.now(UTC).isoformat(timespec="seconds"),
                }
                if self.site.needs_permission:
                    row["permission"] = self.permission
                catalog.append(self.out, row, data, SUFFIXES[kind])
                self.outcome.stored += 1
        self.progress(self.outcome)

    async def note_failure(self, context: BasicCrawlingContext, error: Exception) -> None:
        """Remember a page that all retries could not read."""
        text = str(error).partition("\n")[0] or type(error).__name__
        self.outcome.bad_pages[context.request.url] = text


async def _settle(cards: Locator, seconds: float) -> None:
    """Wait until the number of cards has stayed the same for so long: some pages are built bit by bit."""
    before, now = -1, await cards.count()
    while now != before:
        await asyncio.sleep(seconds)
        before, now = now, await cards.count()


async def _block_images(context: PlaywrightPreNavCrawlingContext) -> None:
    """Keep the browser from loading pictures and fonts: the addresses are enough."""
    await context.block_requests()


async def fetch(client: httpx.AsyncClient, url: str) -> bytes:
    """Return the image at `url`. Raises ValueError with a reason if it cannot be had, after a few tries."""
    for attempt in range(RETRIES + 1):
        await asyncio.sleep(0.5 * attempt)
        try:
            answer = await client.get(url)
        except httpx.HTTPError as error:
            reason = f"{url} did not answer ({type(error).__name__})"
        except httpx.InvalidURL:
            raise ValueError(f"{url!r} is not an address") from None
        else:
            if answer.is_success:
                return answer.content
            reason = f"{url} answered {answer.status_code}"
            if answer.status_code < 500:
                break  # asking again would bring the same answer
    raise ValueError(reason)
