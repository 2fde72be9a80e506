"""Site init: open a page of a photo site as a crawl would, and suggest a profile for it. Nothing is stored."""

import asyncio
import tempfile
from pathlib import Path
from urllib.parse import urlsplit

from planespotter_scraping.crawling import browser, crawl
from planespotter_scraping.crawling.ai_opt_out import AiOptOuts
from planespotter_scraping.crawling.drift_detection import DriftDetector
from planespotter_scraping.crawling.dry_run import DryRunSink
from planespotter_scraping.crawling.result import ScrapeError
from planespotter_scraping.crawling.robots import Robots
from planespotter_scraping.sites import Listing, Site
from planespotter_scraping.sites.profile import POLITE_PAGES_PER_MINUTE, ProfileError, is_loopback
from planespotter_scraping.sites.suggest import Suggestion, find_consent, suggest_profile

SETTLE_SECONDS = 1.0


def init_site(url: str, *, name: str = "", permission: str = "", contact: str = "") -> Suggestion:
    """Open a list page and suggest a profile.

    robots.txt, opt-outs of AI training and denied access are handled as in a crawl. A page that asks for consent is
    opened a second time, with the click on its button.

    Args:
        url: URL of a list page, or an HTML file.
        name: Name of the site; "" to derive it.
        permission: As for `crawl.scrape`.
        contact: As for `crawl.scrape`; required unless the site is on this machine.

    Raises:
        ScrapeError: The page cannot be read, or has no cards.
        BrowserError: Chromium is missing.
    """
    if "://" not in url:
        return _suggest(_read(Path(url)), "http://127.0.0.1/", name)
    crawl.check_url(url)
    html = _open(url, "img, button", "", permission, contact)
    if consent := find_consent(html):
        html = _open(url, "img", consent, permission, contact)
    return _suggest(html, url, name, consent)


def _open(url: str, ready: str, consent: str, permission: str, contact: str) -> str:
    """Return the HTML of a page, once it has an element that `ready` selects."""
    parts = urlsplit(url)
    pages: list[str] = []

    def parse(html: str, page_url: str) -> Listing:
        pages.append(html)
        return Listing([{"photo_id": "1", "page_url": page_url, "image_url": page_url}], None, cards=1)

    site = Site(
        name="init",
        first_path=parts.path + (f"?{parts.query}" if parts.query else ""),
        ready_selector=ready,
        consent_selector=consent,
        parse=parse,
        pages_per_minute=float("inf") if is_loopback(parts.hostname) else POLITE_PAGES_PER_MINUTE,
        settle_seconds=SETTLE_SECONDS,
        url=f"{parts.scheme}://{parts.netloc}",
    )
    crawl.check_permission(site, permission, contact)
    chromium, agent = browser.ensure_chromium(), crawl.user_agent(contact)

    async def read_page(folder: Path) -> DryRunSink:
        async with crawl.http_client(agent, None) as client:
            robots = Robots(client)
            sink = DryRunSink("init", folder, client, None, robots=robots, opt_outs=AiOptOuts(permission))
            # Crawlee takes seconds to import, and a saved page does not need it.
            from planespotter_scraping.crawling import browser_crawl

            await browser_crawl.crawl_pages(
                site,
                site.url,
                sink,
                robots,
                chromium=chromium,
                user_agent=agent,
                pages=1,
                detector=DriftDetector(site, {}),
                queues=folder / "queues",
            )
            return sink

    with tempfile.TemporaryDirectory(prefix="planespotter-") as folder:
        sink = asyncio.run(read_page(Path(folder)))
    crawl.check_finished(site.url, sink.result, sink.result.pages)
    return pages[-1]


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise ScrapeError(
            f"{file} cannot be read: {error.strerror}. Pass the URL of a list of photos, or a saved page."
        ) from None


def _suggest(html: str, url: str, name: str, consent: str = "") -> Suggestion:
    try:
        return suggest_profile(html, url, name, consent)
    except ProfileError as error:
        raise ScrapeError(str(error)) from None
