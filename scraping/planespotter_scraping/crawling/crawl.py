"""Scrape a site: who may, in which way its pages are walked, and whether that came to a good end.

How photos get into the catalog is the business of keep.py, how a site's pages are walked that of walk_pages.py, and
how its API is, that of walk_api.py. A crawl that was cut short goes on where it was, and a photo that the catalog
holds is not fetched again.
"""

import asyncio
import re
from collections.abc import Callable, Collection
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import httpx

from planespotter_scraping.catalog import attribution
from planespotter_scraping.catalog.lock import exclusive_lock
from planespotter_scraping.crawling import api_crawl, browser
from planespotter_scraping.crawling.photo_sink import PhotoSink
from planespotter_scraping.crawling.result import CrawlResult, ScrapeError
from planespotter_scraping.crawling.robots import Robots
from planespotter_scraping.crawling.storage_state import cookie_jar
from planespotter_scraping.crawling.storage_state import read as read_login
from planespotter_scraping.labels import parser
from planespotter_scraping.sample_site.server import serve
from planespotter_scraping.sites import ApiSite, Site
from planespotter_scraping.sites.commons import SITE as COMMONS
from planespotter_scraping.sites.planespotters import SITE as PLANESPOTTERS
from planespotter_scraping.sites.sample import SITE as SAMPLE

if TYPE_CHECKING:
    from playwright.async_api import StorageState

SITES: dict[str, Site | ApiSite] = {site.name: site for site in (SAMPLE, PLANESPOTTERS, COMMONS)}
DEFAULT_CONSTRUCTORS = ("Airbus", "Boeing")
USER_AGENT = "planespotter/0.1 (an aircraft photo classifier; see its README for the contact)"
CONTACT = re.compile(r"[!-~]+@[!-~]+\.[!-~]+|https?://[!-~]+")


def scrape(
    site_name: str,
    out: Path,
    *,
    url: str | None = None,
    pages: int | None = None,
    constructors: Collection[str] | None = DEFAULT_CONSTRUCTORS,
    permission: str = "",
    contact: str = "",
    storage_state: Path | None = None,
    plan: api_crawl.Plan | None = None,
    progress: Callable[[CrawlResult], None] = lambda outcome: None,
) -> CrawlResult:
    """Store the photos of a site in the catalog in `out`, and return what was done.

    `url` is where the site is (by default its own address; the built-in sample site is served meanwhile), `pages`
    how many pages of its list to read (None: all), and `constructors` whose aircraft to store (None: all).
    `permission` says who allowed the scrape, and when, for sites that need it, and goes into the catalog; `contact`
    is an e-mail address or a web page, which a live site is told with each request. `storage_state` is a file with
    the login that the user has made by hand. `plan` says what to take from a site with categories, which has no
    pages and needs no browser. `progress` is called after each photo and page.

    Raises ScrapeError if the site is not known or may not be scraped so, if it does not want us, if no page could be
    read, or if some could not, or if none of the photos is by one of `constructors`; BrowserError and CatalogError as
    their modules say. Ctrl-C ends with KeyboardInterrupt. In all these cases what was stored is safe, and the same call
    goes on from there.
    """
    site = site_named(site_name)
    check_leave(site, permission, contact)
    check_address(url)
    check_constructors(constructors)
    if out.exists() and not out.is_dir():
        raise ScrapeError(f"{out} is a file. Choose a folder for the catalog; it is made if it does not exist.")
    _check_way(site, pages, storage_state, plan)
    login = None if storage_state is None else read_login(storage_state)
    chromium = Path() if isinstance(site, ApiSite) else browser.ensure_chromium()  # an API needs none
    agent = user_agent(contact)
    columns = {"permission": " ".join(permission.split())} if site.needs_permission else {}

    async def run(base: str) -> CrawlResult:
        paced = api_crawl.Paced(site.requests_per_minute) if isinstance(site, ApiSite) else None
        async with visitor(agent, login, paced) as client:
            robots = Robots(client)
            sink = PhotoSink(site.name, out, client, constructors, columns, progress, robots)
            if isinstance(site, ApiSite):
                done = await api_crawl.walk(site, base, sink, plan or api_crawl.Plan())
            else:
                # Crawlee takes seconds to import, and an API needs none of it.
                from planespotter_scraping.crawling import browser_crawl

                done = await browser_crawl.walk(
                    site, base, sink, robots, chromium=chromium, user_agent=agent, pages=pages, login=login
                )
        check_end(base, sink.outcome, done)
        check_kept(sink)
        return sink.outcome

    url = url or site.address
    with exclusive_lock(out), nullcontext(url) if url else serve() as base:
        _name_authors(site, out)  # also of what a kill has kept from being named
        try:
            return asyncio.run(run(base))
        finally:
            _name_authors(site, out)  # also after Ctrl-C: photos and the names of their authors stay together


def _name_authors(site: Site | ApiSite, out: Path) -> None:
    """Write the page of authors for what the catalog holds, if the site is one whose licences ask for it."""
    if isinstance(site, ApiSite) and (out / "catalog.csv").exists():
        attribution.write(out)


def _check_way(site: Site | ApiSite, pages: int | None, login: Path | None, plan: api_crawl.Plan | None) -> None:
    """Raise ScrapeError if what is given is for sites that are walked in another way."""
    if isinstance(site, ApiSite):
        wrong = [name for name, value in (("--pages", pages), ("--storage-state", login)) if value is not None]
        if wrong:
            raise ScrapeError(
                f"The site {site.name} is read through its API, without a browser, so {' and '.join(wrong)} cannot "
                "apply. Limit it by --photos and --per-category, and leave the option out."
            )
    elif plan is not None:
        raise ScrapeError(
            f"The site {site.name} has no categories. --category, --depth, --per-category, --photos and --width are "
            "for sites such as commons; leave them out, and limit this one by --pages."
        )


def site_named(name: str) -> Site | ApiSite:
    """Return the site called `name`. Raises ScrapeError if there is none."""
    if name not in SITES:
        raise ScrapeError(f"There is no site {name!r}. Choose one of: {', '.join(SITES)}.")
    return SITES[name]


def user_agent(contact: str) -> str:
    """Return the name that each request carries."""
    return f"planespotter/0.1 (+{contact})" if contact else USER_AGENT


def visitor(
    agent: str, login: "StorageState | None", transport: httpx.AsyncBaseTransport | None = None
) -> httpx.AsyncClient:
    """Return what asks for all that needs no browser, by the name `agent` and with the cookies of a login."""
    cookies = None if login is None else cookie_jar(login)
    headers = {"User-Agent": agent}
    return httpx.AsyncClient(headers=headers, cookies=cookies, timeout=30, follow_redirects=True, transport=transport)


def check_address(url: str | None) -> None:
    """Raise ScrapeError unless `url` is the address of a site, or None."""
    if url is None:
        return
    try:
        parts = urlsplit(url)
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # a port that is no number or over 65535, brackets without an address
        good = False
    if not good:
        raise ScrapeError(f"{url!r} is not the address of a site. Give one such as http://127.0.0.1:8000.")


def check_leave(site: Site | ApiSite, permission: str, contact: str) -> None:
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


def check_constructors(constructors: Collection[str] | None) -> None:
    """Raise ScrapeError if one of `constructors` looks like a slip of the pen."""
    for name in constructors or ():
        if meant := parser.closest_constructor(name):
            raise ScrapeError(
                f"The constructor {name!r} is not known. Did you mean {meant}? --constructors takes names divided by "
                "commas, or all."
            )


def check_kept(sink: PhotoSink) -> None:
    """Raise ScrapeError if photos were read, and the catalog has none of them, as all are by other constructors."""
    others = sink.outcome.other_constructors
    if others and not any(photo_id.startswith(f"{sink.source}-") for photo_id in sink.known):
        wanted = ", ".join(sorted(sink.wanted or ()))
        shown = ", ".join(f"{name} ({count})" for name, count in others.most_common())
        raise ScrapeError(
            f"Nothing was stored: of {others.total()} photos, none shows an aircraft by {wanted}. They are by {shown}. "
            "Name some of these with --constructors, or all."
        )


def check_end(base: str, outcome: CrawlResult, done: int) -> None:
    """Raise ScrapeError if the crawl came to its end, but not as it should; `done` pages are, earlier ones too."""
    if outcome.bad_pages:
        address, reason = next(iter(outcome.bad_pages.items()))
        raise ScrapeError(
            f"The page {address} could not be read: {reason.rstrip('.')}. {outcome.stored} photos were stored before. "
            "Run the same command again to go on from this page."
        )
    if outcome.pages == 0 and done == 0:
        raise ScrapeError(f"No page of {base} was read, and nothing says why. The address may be wrong.")
