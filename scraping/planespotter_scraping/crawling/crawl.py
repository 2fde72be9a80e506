"""Crawl a site: check permission and options, read its pages or its API, and check how the crawl ended.

photo_sink.py stores the photos; browser_crawl.py and api_crawl.py read the site. An interrupted crawl resumes, and
photos that the catalog has are not downloaded again.
"""

import asyncio
import re
from collections.abc import Callable, Collection
from contextlib import nullcontext
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import httpx

from planespotter_photos.counts import count_noun
from planespotter_scraping.catalog import attribution
from planespotter_scraping.catalog.lock import exclusive_lock
from planespotter_scraping.crawling import api_crawl, browser
from planespotter_scraping.crawling.ai_opt_out import AiOptOuts
from planespotter_scraping.crawling.photo_sink import PhotoSink
from planespotter_scraping.crawling.result import CrawlResult, ScrapeError
from planespotter_scraping.crawling.robots import Robots
from planespotter_scraping.crawling.storage_state import cookie_jar, read_storage_state
from planespotter_scraping.labels import parser
from planespotter_scraping.sample_site.server import serve
from planespotter_scraping.sites import ApiSite, Site
from planespotter_scraping.sites.commons import SITE as COMMONS
from planespotter_scraping.sites.planespotters import SITE as PLANESPOTTERS
from planespotter_scraping.sites.profile import ProfileError, is_loopback, load_profile
from planespotter_scraping.sites.sample import SITE as SAMPLE

if TYPE_CHECKING:
    from playwright.async_api import StorageState

SITES: dict[str, Site | ApiSite] = {site.name: site for site in (SAMPLE, PLANESPOTTERS, COMMONS)}
ENTRY_POINTS = "planespotter.sites"
"""Entry point group in which packages bring their own sites."""
DEFAULT_CONSTRUCTORS = ("Airbus", "Boeing")
USER_AGENT = "planespotter/0.1 (an aircraft photo classifier; see its README for the contact)"
CONTACT = re.compile(r"[!-~]+@[!-~]+\.[!-~]+|https?://[!-~]+")


def scrape(
    site_name: str | Path,
    out: Path,
    *,
    url: str | None = None,
    pages: int | None = None,
    constructors: Collection[str] | None = DEFAULT_CONSTRUCTORS,
    permission: str = "",
    contact: str = "",
    storage_state: Path | None = None,
    plan: api_crawl.CategoryPlan | None = None,
    progress: Callable[[CrawlResult], None] = lambda result: None,
) -> CrawlResult:
    """Store the photos of a site in a catalog.

    Stored photos are safe however the crawl ends, and the same call resumes it.

    Args:
        site_name: Name of the site, or path of its profile.
        out: Folder of the catalog.
        url: URL of the site. Default: its own; the built-in sample site is served meanwhile.
        pages: Maximum pages of the list to read; None for all.
        constructors: Store only aircraft by these; None for all.
        permission: Who allowed the crawl and when, for sites that require it or opt out of AI training; stored in the
            catalog.
        contact: E-mail address or web page, sent to live sites with each request.
        storage_state: File with a login that the user made by hand.
        plan: What to take from a site with categories, which has no pages and needs no browser.
        progress: Called with the result after each photo and page.

    Returns:
        The counts of the crawl. `incomplete` says why photos of the list may be missing.

    Raises:
        ScrapeError: The options do not fit the site, the site denies access, a page could not be read, or no photo is
            by one of `constructors`.
        BrowserError: Chromium is missing.
        CatalogError: The catalog cannot be written.
        KeyboardInterrupt: After Ctrl-C.
    """
    site = get_site(site_name)
    check_permission(site, permission, contact)
    check_url(url)
    check_constructors(constructors)
    if out.exists() and not out.is_dir():
        raise ScrapeError(f"{out} is a file. Choose a folder for the catalog; it is created if it does not exist.")
    _check_options(site, pages, storage_state, plan)
    state = None if storage_state is None else read_storage_state(storage_state)
    chromium = Path() if isinstance(site, ApiSite) else browser.ensure_chromium()
    agent = user_agent(contact)
    permission = " ".join(permission.split())
    columns = {"permission": permission} if permission else {}

    async def run(base: str) -> CrawlResult:
        limited = api_crawl.RateLimitedTransport(site.requests_per_minute) if isinstance(site, ApiSite) else None
        async with http_client(agent, state, limited) as client:
            robots = Robots(client)
            sink = PhotoSink(site.name, out, client, constructors, columns, progress, robots, AiOptOuts(permission))
            if isinstance(site, ApiSite):
                finished = await api_crawl.crawl_categories(site, base, sink, plan or api_crawl.CategoryPlan())
            else:
                # Crawlee takes seconds to import, and an API crawl does not need it.
                from planespotter_scraping.crawling import browser_crawl

                finished = await browser_crawl.crawl_pages(
                    site, base, sink, robots, chromium=chromium, user_agent=agent, pages=pages, storage_state=state
                )
        sink.result.notes.update(f"Permission overrides: {reason}" for reason in sink.opt_outs.overridden)
        check_finished(base, sink.result, finished)
        check_images(sink.result)
        check_stored(sink)
        return sink.result

    url = url or site.url
    with exclusive_lock(out), nullcontext(url) if url else serve() as base:
        _write_attribution(site, out)  # a killed crawl may have left it incomplete
        try:
            return asyncio.run(run(base))
        finally:
            _write_attribution(site, out)  # also after Ctrl-C: photos never stay without their authors


def _write_attribution(site: Site | ApiSite, out: Path) -> None:
    """Write the attribution page of the catalog, if the site's licences require attribution."""
    if isinstance(site, ApiSite) and (out / "catalog.csv").exists():
        attribution.write(out)


def _check_options(
    site: Site | ApiSite, pages: int | None, storage_state: Path | None, plan: api_crawl.CategoryPlan | None
) -> None:
    """Raise ScrapeError if an option does not apply to this kind of site."""
    if isinstance(site, ApiSite):
        options = (("--pages", pages), ("--storage-state", storage_state))
        wrong = [name for name, value in options if value is not None]
        if wrong:
            raise ScrapeError(
                f"The site {site.name} is read through its API, without a browser, so {' and '.join(wrong)} cannot "
                "apply. Remove the option; limit the crawl with --photos and --per-category."
            )
    elif plan is not None:
        raise ScrapeError(
            f"The site {site.name} has no categories. --category, --depth, --per-category, --photos and --width are "
            "for sites such as commons. Remove them; limit the crawl with --pages."
        )


def get_site(name: str | Path) -> Site | ApiSite:
    """Return a site by its name or profile.

    A name with the suffix .toml is the path of a profile. Installed packages add sites by the entry point group
    `planespotter.sites`: each entry point is a Site, an ApiSite or the path of a profile.

    Raises:
        ScrapeError: It is unknown, or its profile is invalid.
    """
    if isinstance(name, Path) or name.endswith(".toml"):
        site = _site_of_profile(Path(name))
        if site.name in SITES:
            raise ScrapeError(f"The name {site.name!r} of {name} is that of a built-in site. Choose another one.")
        return site
    if name in SITES:
        return SITES[name]
    for entry_point in entry_points(group=ENTRY_POINTS, name=name):
        return _installed_site(entry_point)
    names = [*SITES, *sorted(entry_points(group=ENTRY_POINTS).names)]
    raise ScrapeError(
        f"The site {name!r} is unknown. Choose one of: {', '.join(names)}; or describe it in a file such as "
        f"{name}.toml (planespotter site init URL)."
    )


def _site_of_profile(path: Path) -> Site:
    try:
        return load_profile(path)
    except ProfileError as error:
        raise ScrapeError(str(error)) from None


def _installed_site(entry_point: EntryPoint) -> Site | ApiSite:
    """Return the site of an entry point. Raises ScrapeError if it cannot be loaded or is not a site."""
    try:
        loaded = entry_point.load()
    except Exception as error:  # any error of a package that is not ours
        raise ScrapeError(
            f"The site {entry_point.name!r} of the package {_package(entry_point)} cannot be loaded: {error}. "
            "Update or remove the package."
        ) from error
    if isinstance(loaded, str | Path):
        return _site_of_profile(Path(loaded))
    if not isinstance(loaded, Site | ApiSite):
        raise ScrapeError(
            f"The site {entry_point.name!r} of the package {_package(entry_point)} is a {type(loaded).__name__}, not a "
            "site or the path of a profile. Update or remove the package."
        )
    return loaded


def _package(entry_point: EntryPoint) -> str:
    return entry_point.dist.name if entry_point.dist else entry_point.value


def user_agent(contact: str) -> str:
    """Return the user agent of all requests."""
    return f"planespotter/0.1 (+{contact})" if contact else USER_AGENT


def http_client(
    agent: str, state: "StorageState | None", transport: httpx.AsyncBaseTransport | None = None
) -> httpx.AsyncClient:
    """Return the HTTP client for all requests outside of the browser.

    Args:
        agent: User agent.
        state: Storage state whose cookies to send; None without a login.
        transport: Transport of the client. Default: that of httpx.
    """
    cookies = None if state is None else cookie_jar(state["cookies"])
    headers = {"User-Agent": agent}
    return httpx.AsyncClient(headers=headers, cookies=cookies, timeout=30, follow_redirects=True, transport=transport)


def check_url(url: str | None) -> None:
    """Check the URL of a site.

    Args:
        url: Address to crawl instead of the site's own; None for its own, which is valid.

    Raises:
        ScrapeError: It is not an http or https URL with a host, or its port is not from 1 to 65535.
    """
    if url is None:
        return
    try:
        parts = urlsplit(url)
        valid = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # an invalid port, or brackets without an address
        valid = False
    if not valid:
        raise ScrapeError(f"{url!r} is not the URL of a site. Pass one such as http://127.0.0.1:8000.")


def check_permission(site: Site | ApiSite, permission: str, contact: str) -> None:
    """Check that a crawl of `site` is allowed, and that its operators can reach the user.

    Args:
        site: The site.
        permission: Who allowed the crawl, and when; "" if nobody did. Required if the site needs permission.
        contact: E-mail address or https:// URL of the user; "" for none. Required for a live site.

    Raises:
        ScrapeError: Permission or contact is missing, or the contact is invalid.
    """
    if site.needs_permission and not permission.strip():
        raise ScrapeError(
            f"The site {site.name} is not scraped without permission: {site.needs_permission}. If you have permission, "
            'pass --permission "who allowed it, and when"; the catalog records it with each photo.'
        )
    if contact and CONTACT.fullmatch(contact) is None:
        raise ScrapeError(
            f"--contact {contact!r} is invalid. Pass an e-mail address, or a web page that starts with https://."
        )
    if site.url and not contact and not is_loopback(urlsplit(site.url).hostname):
        raise ScrapeError(
            f"The site {site.name} is live, and its operators must be able to reach you. "
            "Pass --contact with your e-mail address or web page; each request carries it."
        )


def check_constructors(constructors: Collection[str] | None) -> None:
    """Check the spelling of constructors.

    Args:
        constructors: Names to store; None for all. Unknown names are allowed unless they resemble a known one.

    Raises:
        ScrapeError: A name looks like a typo.
    """
    for name in constructors or ():
        if closest := parser.closest_constructor(name):
            raise ScrapeError(
                f"The constructor {name!r} is unknown. Did you mean {closest}? --constructors takes names separated by "
                "commas, or all."
            )


def check_stored(sink: PhotoSink) -> None:
    """Check that the choice of constructors did not exclude every photo.

    Args:
        sink: The sink after the crawl.

    Raises:
        ScrapeError: Photos were skipped because of their constructors, and the catalog has no photo of this source.
    """
    skipped = sink.result.other_constructors
    if skipped and not any(photo_id.startswith(f"{sink.source}-") for photo_id in sink.known_ids):
        wanted = ", ".join(sorted(sink.wanted or ()))
        names = ", ".join(f"{name} ({count})" for name, count in skipped.most_common())
        raise ScrapeError(
            f"Nothing was stored: of {count_noun(skipped.total(), 'photo')}, none shows an aircraft by {wanted}. They "
            f"are by {names}. Pass some of these with --constructors, or all."
        )


def check_images(result: CrawlResult) -> None:
    """Check that at least one image was usable.

    Raises:
        ScrapeError: All images of this run were unusable, and none was known before.
    """
    if result.bad_images and result.stored == result.known == 0:
        photo_id, reason = next(iter(result.bad_images.items()))
        raise ScrapeError(
            f"Nothing was stored: {count_noun(len(result.bad_images), 'unusable image')}, such as that of {photo_id}: "
            f"{reason.rstrip('.')}. Check the image URLs."
        )


def check_finished(base: str, result: CrawlResult, finished: int) -> None:
    """Check that the crawl read every page.

    Args:
        base: URL of the site.
        result: Result of this run.
        finished: Number of pages that this run and the interrupted ones before it have finished, at least 0.

    Raises:
        ScrapeError: A page could not be read, or no page was.
    """
    if result.bad_pages:
        url, reason = next(iter(result.bad_pages.items()))
        raise ScrapeError(
            f"The page {url} could not be read: {reason.rstrip('.')}. {count_noun(result.stored, 'photo')} stored "
            "before. Run the same command again to resume at this page."
        )
    if result.pages == 0 and finished == 0:
        raise ScrapeError(f"No page of {base} was read, for an unknown reason. Check the URL.")
