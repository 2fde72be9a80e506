"""Crawlee setup: one page at a time, with an honest user agent and without evasion of bot detection."""

import asyncio
import signal
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from crawlee import ConcurrencySettings, Request, service_locator
from crawlee.browsers import (
    BrowserPool,
    PlaywrightBrowserController,
    PlaywrightBrowserPlugin,
    PlaywrightPersistentBrowser,
)
from crawlee.configuration import Configuration
from crawlee.crawlers import PlaywrightCrawler
from crawlee.proxy_configuration import ProxyInfo
from crawlee.statistics import Statistics
from crawlee.storage_clients import FileSystemStorageClient
from crawlee.storages import RequestQueue
from playwright.async_api import Error as PlaywrightError
from playwright.async_api import Page

from planespotter_scraping.crawling import browser

PAGES_PER_BROWSER = 50  # a browser's memory grows with each page
RUN_TASK, WORKER_TASK = "run_crawler_task", "autoscaled pool worker task"  # names of Crawlee's tasks


@dataclass
class Tab:
    """The tab that loads one page after another: a new tab for each page would take a third of the time.

    Attributes:
        reusable: Whether the page in it was read without an error. Otherwise the next page gets a new tab.
    """

    reusable: bool = False


class _TabController(PlaywrightBrowserController):
    """Opens pages in the same tab as long as it is reusable."""

    def __init__(self, browser: PlaywrightPersistentBrowser, tab: Tab) -> None:
        super().__init__(browser)
        self._tab = tab
        self._page: Page | None = None
        self._loaded_pages = 0

    @property
    def total_opened_pages(self) -> int:
        """Number of pages that were loaded; the pool closes the browser after PAGES_PER_BROWSER."""
        return self._loaded_pages

    async def new_page(
        self, browser_new_context_options: Mapping[str, Any] | None = None, proxy_info: ProxyInfo | None = None
    ) -> Page:
        """Return the tab for the next page."""
        if self._page is not None and not self._tab.reusable:
            await Page.close(self._page)
        if self._page is None or self._page.is_closed():
            self._page = await super().new_page(browser_new_context_options, proxy_info)
            crawlees_view: Any = self._page  # Crawlee closes each page after it was handled
            crawlees_view.close = self._close_unless_reused
        self._tab.reusable = False
        self._loaded_pages += 1
        return self._page

    async def _close_unless_reused(self, **options: Any) -> None:
        """Close the tab, unless this browser opens another page in it."""
        if self._page is not None and not (self._tab.reusable and self._loaded_pages < PAGES_PER_BROWSER):
            await Page.close(self._page, **options)


class _BrowserPlugin(PlaywrightBrowserPlugin):
    """Launches browsers that use one tab."""

    def __init__(self, tab: Tab, **options: Any) -> None:
        super().__init__(**options)
        self._tab = tab

    async def new_browser(self) -> PlaywrightBrowserController:
        """Launch a browser when its first page is opened."""
        assert self._playwright is not None  # the pool has entered the plugin
        options = dict(self.browser_launch_options)
        return _TabController(PlaywrightPersistentBrowser(self._playwright.chromium, None, options), self._tab)


def browser_pool(chromium: Path, user_agent: str, tab: Tab) -> BrowserPool:
    """Return a pool of headless browsers, used one after the other.

    Args:
        chromium: Path of the browser.
        user_agent: User agent of all requests.
        tab: The tab in which they open pages.
    """
    plugin = _BrowserPlugin(
        tab,
        browser_type="chromium",
        browser_launch_options={
            "headless": True,
            "executable_path": str(chromium),
            "args": list(browser.LAUNCH_ARGUMENTS),
            "chromium_sandbox": False,  # it cannot start as root, nor in most containers
        },
        # Without these, Crawlee invents the headers of another browser.
        browser_new_context_options={"user_agent": user_agent, "extra_http_headers": {}},
    )
    return BrowserPool(
        [plugin],
        retire_browser_after_page_count=PAGES_PER_BROWSER,
        close_inactive_browsers_interval=timedelta(seconds=1),
        browser_inactive_threshold=timedelta(days=1),  # a long crawl delay must not restart the browser for each page
    )


def playwright_crawler(
    pool: BrowserPool,
    configuration: Configuration,
    storage: FileSystemStorageClient,
    queue: RequestQueue,
    *,
    navigation_seconds: float,
    retries: int,
) -> PlaywrightCrawler:
    """Return Crawlee's crawler for one page at a time.

    HTTP errors and blocks are left to our own handler. So is the rate limit: Crawlee would count from the moment at
    which it takes a request, before the browser has started.

    Args:
        pool: Browsers.
        configuration: Where Crawlee stores its files.
        storage: Storage client.
        queue: Request queue.
        navigation_seconds: Navigation timeout.
        retries: Maximum retries of a page.
    """
    return PlaywrightCrawler(
        browser_pool=pool,
        fingerprint_generator=None,
        navigation_timeout=timedelta(seconds=navigation_seconds),
        configuration=configuration,
        storage_client=storage,
        event_manager=service_locator.get_event_manager(),
        request_manager=queue,
        statistics=Statistics.with_default_state(persistence_enabled=False),
        ignore_http_error_status_codes=range(400, 600),
        retry_on_blocked=False,  # a block ends the crawl
        use_session_pool=False,
        max_session_rotations=0,
        max_request_retries=retries,
        request_handler_timeout=timedelta(days=30),  # for endless lists; see PAGE_SECONDS of browser_crawl.py
        concurrency_settings=ConcurrencySettings(min_concurrency=1, max_concurrency=1, desired_concurrency=1),
        configure_logging=False,
    )


async def run(crawler: PlaywrightCrawler, requests: Sequence[Request]) -> bool:
    """Run a crawler until its queue is empty or the user presses Ctrl-C.

    On Ctrl-C, Crawlee would wait for the page in progress, and so for a crawl delay or a slow image, and then close the
    browser in order. Here the page is cancelled and the browser killed; the page's request stays in the queue.

    Args:
        crawler: The crawler.
        requests: Requests to add to the queue first.

    Returns:
        Whether the user pressed Ctrl-C.
    """
    interrupted = False

    def interrupt() -> None:
        nonlocal interrupted
        interrupted = True
        for task in asyncio.all_tasks():
            if task.get_name() in (RUN_TASK, WORKER_TASK):
                task.cancel()
        browser.kill_browsers()

    running = asyncio.create_task(crawler.run(requests))
    # Crawlee sets its signal handler right before it creates the task, and has no event for it.
    while not running.done() and RUN_TASK not in {task.get_name() for task in asyncio.all_tasks()}:  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    if threading.current_thread() is threading.main_thread() and not running.done():
        asyncio.get_running_loop().add_signal_handler(signal.SIGINT, interrupt)  # Crawlee removes it
    try:
        await running
    except PlaywrightError:  # the browser was killed while it closed a page
        if not interrupted:
            raise
    return interrupted
