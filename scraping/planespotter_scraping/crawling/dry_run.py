"""Look at one page of a site as a crawl would, and say what its reader finds there. Nothing is stored.

For a user who wants to know before a crawl, and for a program that asks every day whether a site is still the same.
"""

import asyncio
import tempfile
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urljoin

from planespotter_scraping.crawling import browser, crawl, drift_detection, drift_report
from planespotter_scraping.crawling.photo_sink import PhotoSink
from planespotter_scraping.crawling.result import ScrapeError
from planespotter_scraping.crawling.robots import Robots
from planespotter_scraping.crawling.storage_state import read as read_login
from planespotter_scraping.sample_site.server import serve
from planespotter_scraping.sites import Listing, Site

# One page proves less than a crawl, and costs less to look at again: one alarm in a hundred may be false.
MISTAKE = 0.01
SHOWN = 3
SHOWN_FIELDS = ("photo_id", "registration", "airline", "constructor", "aircraft_type", "taken_on", "photographer")


@dataclass
class Looker(PhotoSink):
    """Remembers what a page says, in the place of one who stores it."""

    seen: list[Listing] = field(default_factory=list)

    async def store_page(self, listing: Listing) -> None:
        """Remember the page."""
        self.seen.append(listing)
        self.outcome.pages += 1


def check(
    site_name: str,
    *,
    url: str | None = None,
    out: Path | None = None,
    permission: str = "",
    contact: str = "",
    storage_state: Path | None = None,
) -> list[str]:
    """Open the first page of a site and return what its reader finds there, line by line.

    `url` is where the site is, or a file with the HTML of one of its pages, such as an evidence folder has: then
    nothing is opened. `out` is a catalog whose earlier crawls say what is usual, and where evidence goes; without it,
    evidence goes into the current folder. The other arguments, and what may be raised before the page is
    there, are those of `crawl.scrape`. Raises DriftError if the page is not as expected; its `report` has the lines.
    """
    site = crawl.site_named(site_name)
    if not isinstance(site, Site):
        raise ScrapeError(f"The site {site.name} is read through its API and has no pages. Leave --check out.")
    memory = drift_detection.load(out, site.name) if out else {}
    lookout = drift_detection.DriftDetector(site, memory, MISTAKE)
    if url is not None and "://" not in url:
        return _check_file(site, Path(url), lookout, memory)
    crawl.check_leave(site, permission, contact)
    crawl.check_address(url)
    login = None if storage_state is None else read_login(storage_state)
    chromium = browser.ensure_chromium()
    user_agent = crawl.user_agent(contact)

    async def look(base: str, queues: Path) -> Listing:
        async with crawl.visitor(user_agent, login) as client:
            robots = Robots(client)
            looker = Looker(site.name, out or Path(), client, None, robots=robots)
            # Crawlee takes seconds to import, and a kept page needs none of it.
            from planespotter_scraping.crawling import browser_crawl

            await browser_crawl.walk(
                site,
                base,
                looker,
                robots,
                chromium=chromium,
                user_agent=user_agent,
                pages=1,
                login=login,
                lookout=lookout,
                queues=queues,
            )
        crawl.check_end(base, looker.outcome, looker.outcome.pages)
        return looker.seen[0]

    url = url or site.address
    # The queue of a crawl that was cut short stays as it is.
    with tempfile.TemporaryDirectory(prefix="planespotter-") as queues, nullcontext(url) if url else serve() as base:
        listing = asyncio.run(look(base, Path(queues)))
        return _told(site, listing, memory, urljoin(base, site.first_page))


def _check_file(
    site: Site, file: Path, lookout: drift_detection.DriftDetector, memory: Mapping[str, drift_detection.Tally]
) -> list[str]:
    """Return what the reader finds in a page that was kept. Raises DriftError if it is not as expected."""
    try:
        html = file.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise ScrapeError(
            f"{file} cannot be read: {error.strerror}. Give --url the address of a site, or the page.html of evidence."
        ) from None
    listing = site.parse(html, urljoin(site.address or "http://127.0.0.1/", site.first_page))
    usual = memory.get(listing.markup, drift_detection.Tally())
    collapses = lookout.look(listing)
    if listing.photos and not collapses:
        return _told(site, listing, memory, str(file))
    name = collapses[0].field if listing.cards else ""
    reason = (
        drift_report.what_is_gone(site, collapses) if name else f"The reader of {site.name} finds no card in {file}."
    )
    probes = drift_report.suspects(site, listing, usual, name)
    where = f" Look at {drift_report.where_is(probes[0])} ({probes[0].name})." if probes else ""
    report = [*drift_report.look_at_lines(probes, listing, usual), "", *drift_report.lines(site, listing, usual, html)]
    raise drift_detection.DriftError(reason + where, report)


def _told(site: Site, listing: Listing, memory: Mapping[str, drift_detection.Tally], address: str) -> list[str]:
    """Return what was found on a page that is as expected."""
    told = [f"{address}: {len(listing.photos)} photos on {listing.cards} cards."]
    if listing.next_url:
        of = f" of {listing.last_page} pages" if listing.last_page else ""
        told.append(f"The next page{of} is {listing.next_url}.")
    elif site.continues != "links":
        told.append("No next page is linked: a crawl would try to scroll.")
    told += [
        "",
        *drift_report.lines(site, listing, memory.get(listing.markup, drift_detection.Tally()), ""),
        "",
        f"THE FIRST {SHOWN} PHOTOS",
    ]
    for photo in listing.photos[:SHOWN]:
        told.append("  " + " | ".join(photo.get(name, "") or "-" for name in SHOWN_FIELDS))
        told += [f"      {photo[name]}" for name in ("page_url", "image_url", "review") if photo.get(name)]
    return [*told, "", "As expected. No picture was fetched and nothing was stored."]
