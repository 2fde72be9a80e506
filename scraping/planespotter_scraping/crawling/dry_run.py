"""Dry run: open one page of a site as a crawl would, and report what its parser finds. Nothing is stored.

For users before a crawl, and for scheduled jobs that detect markup drift.
"""

import asyncio
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urljoin

from planespotter_photos.counts import count_noun
from planespotter_scraping.crawling import browser, crawl, drift_report
from planespotter_scraping.crawling.ai_opt_out import AiOptOuts
from planespotter_scraping.crawling.drift_detection import DriftDetector, DriftError, FieldCounts, load_history
from planespotter_scraping.crawling.photo_sink import PhotoSink
from planespotter_scraping.crawling.result import ScrapeError
from planespotter_scraping.crawling.robots import Robots
from planespotter_scraping.crawling.storage_state import read_storage_state
from planespotter_scraping.sample_site.server import serve
from planespotter_scraping.sites import Listing, Site

# One page proves less than a crawl, and a false alarm costs less: one in a hundred is acceptable.
SIGNIFICANCE = 0.01
EXAMPLES = 3
EXAMPLE_FIELDS = ("photo_id", "registration", "airline", "constructor", "aircraft_type", "taken_on", "photographer")


@dataclass
class DryRunSink(PhotoSink):
    """A photo sink that remembers the listings instead of storing their photos."""

    listings: list[Listing] = field(default_factory=list)

    async def store_page(
        self, listing: Listing, *, referer: str = "", cookies: Sequence[Mapping[str, object]] = ()
    ) -> None:
        """Remember a listing."""
        self.listings.append(listing)
        self.result.pages += 1


def dry_run(
    site_name: str | Path,
    *,
    url: str | None = None,
    out: Path | None = None,
    permission: str = "",
    contact: str = "",
    storage_state: Path | None = None,
) -> list[str]:
    """Open the first page of a site and report what its parser finds.

    Args:
        site_name: Name of the site, or path of its profile.
        url: URL of the site, or an HTML file such as the page.html of a snapshot: then nothing is opened.
        out: Folder of a catalog. Its history is a reference, and snapshots are saved there; without it, in the current
            folder.
        permission: As for `crawl.scrape`.
        contact: As for `crawl.scrape`.
        storage_state: As for `crawl.scrape`.

    Returns:
        The lines of the report.

    Raises:
        DriftError: The page is not as expected; its `report` has the lines.
        ScrapeError: As for `crawl.scrape`.
        BrowserError: As for `crawl.scrape`.
    """
    site = crawl.get_site(site_name)
    if not isinstance(site, Site):
        raise ScrapeError(f"The site {site.name} is read through its API and has no pages. Remove --dry-run.")
    history = load_history(out, site.name) if out else {}
    detector = DriftDetector(site, history, SIGNIFICANCE)
    if url is not None and "://" not in url:
        return _check_file(site, Path(url), detector, history)
    crawl.check_permission(site, permission, contact)
    crawl.check_url(url)
    state = None if storage_state is None else read_storage_state(storage_state)
    chromium = browser.ensure_chromium()
    user_agent = crawl.user_agent(contact)

    async def read_page(base: str, queues: Path) -> Listing:
        async with crawl.http_client(user_agent, state) as client:
            robots = Robots(client)
            opt_outs = AiOptOuts(" ".join(permission.split()))
            sink = DryRunSink(site.name, out or Path(), client, None, robots=robots, opt_outs=opt_outs)
            # Crawlee takes seconds to import, and a saved page does not need it.
            from planespotter_scraping.crawling import browser_crawl

            await browser_crawl.crawl_pages(
                site,
                base,
                sink,
                robots,
                chromium=chromium,
                user_agent=user_agent,
                pages=1,
                storage_state=state,
                detector=detector,
                queues=queues,
            )
        crawl.check_finished(base, sink.result, sink.result.pages)
        if sink.result.incomplete:
            raise DriftError(sink.result.incomplete[0])
        return sink.listings[0]

    url = url or site.url
    # A temporary queue: that of an interrupted crawl must stay as it is.
    with tempfile.TemporaryDirectory(prefix="planespotter-") as queues, nullcontext(url) if url else serve() as base:
        listing = asyncio.run(read_page(base, Path(queues)))
        return _report(site, listing, history, urljoin(base, site.first_path))


def _check_file(site: Site, file: Path, detector: DriftDetector, history: Mapping[str, FieldCounts]) -> list[str]:
    """Report what the parser finds in a saved page. Raises DriftError if it is not as expected."""
    try:
        html = file.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise ScrapeError(
            f"{file} cannot be read: {error.strerror}. Pass the URL of a site to --url, or the page.html of a snapshot."
        ) from None
    listing = site.parse(html, urljoin(site.url or "http://127.0.0.1/", site.first_path))
    reference = history.get(listing.markup, FieldCounts())
    drifts = detector.check(listing)
    if listing.photos and not drifts:
        return _report(site, listing, history, str(file))
    name = drifts[0].field if listing.cards else ""
    reason = (
        drift_report.describe_drift(site, drifts) if name else f"The parser of {site.name} finds no card in {file}."
    )
    probes = drift_report.suspects(site, listing, reference, name)
    where = f" See {drift_report.location(probes[0])} ({probes[0].name})." if probes else ""
    suspects = drift_report.suspect_lines(probes, listing, reference)
    raise DriftError(reason + where, [*suspects, "", *drift_report.report_lines(site, listing, reference, html)])


def _report(site: Site, listing: Listing, history: Mapping[str, FieldCounts], source: str) -> list[str]:
    """Return the report of a page that is as expected; `source` is its URL or file."""
    lines = [f"{source}: {count_noun(len(listing.photos), 'photo')} on {count_noun(listing.cards, 'card')}."]
    if listing.next_url:
        total = f" of {listing.last_page} pages" if listing.last_page else ""
        lines.append(f"The next page{total} is {listing.next_url}.")
    elif site.pagination != "links":
        lines.append("The page links to no next page: a crawl would try to scroll.")
    lines += [
        "",
        *drift_report.report_lines(site, listing, history.get(listing.markup, FieldCounts()), ""),
        "",
        f"THE FIRST {EXAMPLES} PHOTOS",
    ]
    for photo in listing.photos[:EXAMPLES]:
        lines.append("  " + " | ".join(photo.get(name, "") or "-" for name in EXAMPLE_FIELDS))
        lines += [f"      {photo[name]}" for name in ("page_url", "image_url", "review") if photo.get(name)]
    return [*lines, "", "As expected. No image was downloaded and nothing was stored."]
