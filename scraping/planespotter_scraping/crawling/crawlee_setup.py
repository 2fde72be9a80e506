"""Set up Crawlee and its browsers: one page at a time, and open about who we are."""

from datetime import timedelta
from pathlib import Path

from crawlee import ConcurrencySettings, service_locator
from crawlee.browsers import BrowserPool
from crawlee.configuration import Configuration
from crawlee.crawlers import PlaywrightCrawler
from crawlee.statistics import Statistics
from crawlee.storage_clients import FileSystemStorageClient
from crawlee.storages import RequestQueue

from planespotter_scraping.crawling import browser

PAGES_PER_BROWSER = 50  # a browser that has seen more pages than that takes ever more memory


def browsers(chromium: Path, user_agent: str) -> BrowserPool:
    """Return the browsers of this walk, one after the other: open about who they are, and none for long."""
    return BrowserPool.with_default_plugin(
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
        retire_browser_after_page_count=PAGES_PER_BROWSER,
        close_inactive_browsers_interval=timedelta(seconds=1),
        browser_inactive_threshold=timedelta(days=1),  # a slow pace is no reason for a new browser at each page
    )


def crawler(
    pool: BrowserPool,
    configuration: Configuration,
    storage: FileSystemStorageClient,
    queue: RequestQueue,
    *,
    navigation_seconds: float,
    retries: int,
) -> PlaywrightCrawler:
    """Return Crawlee's crawler for this walk: one page at a time.

    What the answers mean is for our own handler to say, so Crawlee is told to take no offence at any. Nor does it keep
    the pace: it would count from when it has begun with a page, and starting a browser takes a while.
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
        retry_on_blocked=False,  # a site that says no is left alone
        use_session_pool=False,
        max_session_rotations=0,
        max_request_retries=retries,
        request_handler_timeout=timedelta(days=30),  # for a list without an end; see PAGE_SECONDS of walk_pages.py
        concurrency_settings=ConcurrencySettings(min_concurrency=1, max_concurrency=1, desired_concurrency=1),
        configure_logging=False,
    )
