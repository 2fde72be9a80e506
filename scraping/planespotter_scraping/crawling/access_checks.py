"""Access checks: stop at a block (401, 403), a CAPTCHA or other browser challenge, or a login wall."""

import re
from pathlib import Path
from typing import NoReturn
from urllib.parse import urlsplit

from playwright.async_api import Page

from planespotter_scraping.crawling import page_snapshot
from planespotter_scraping.crawling.result import CrawlAbortedError

LOGIN_PATH = re.compile(r"/(log|sign)[-_]?in(/|\.|$)", re.IGNORECASE)
CHALLENGE = "iframe[src*='challenges.cloudflare.com'], script[src*='challenges.cloudflare.com']"
CHALLENGE_TITLES = ("just a moment", "attention required")


async def check_access(page: Page, status: int, out: Path, logged_in: bool) -> None:
    """Check that the site serves its content to us.

    Args:
        page: The page as it was loaded.
        status: HTTP status of the response.
        out: Folder of the catalog, where a snapshot is saved.
        logged_in: Whether the user passed a storage state.

    Raises:
        CrawlAbortedError: The site blocks us, shows a challenge or asks for a login.
    """
    title, challenge = await page.evaluate(
        "(selector) => [document.title, document.querySelector(selector) !== null]", CHALLENGE
    )
    if challenge or title.lower().startswith(CHALLENGE_TITLES):
        problem = f"shows a CAPTCHA or browser challenge instead of photos ({title!r})"
    elif status in (401, 403):
        problem = f"responded with {status}: access denied"
    elif LOGIN_PATH.search(urlsplit(page.url).path):
        problem = "is a login page"
    else:
        return
    await abort(page, problem, out, logged_in, status)


async def abort(page: Page, problem: str, out: Path, logged_in: bool, status: int | None = None) -> NoReturn:
    """Save a snapshot and raise CrawlAbortedError.

    Args:
        page: The page that shows the problem.
        problem: The rest of a sentence that starts with the page's URL.
        out: Folder of the catalog.
        logged_in: Whether the user passed a storage state.
        status: HTTP status of the response, if it matters.
    """
    remedy = "Stored photos are safe. Ask the site's operators whether they allow a crawl; a block is never bypassed."
    if "login" in problem:
        remedy = (
            "If the site allows a crawl with your login, log in with `playwright open --save-storage "
            f"state.json {page.url}`, close the window, and add --storage-state state.json."
        )
    elif logged_in:
        remedy += " The login in the storage state may have expired: create a new one."
    text = f"{page.url} {problem}. The crawl stopped. {remedy}"
    folder = await page_snapshot.save(page, out, text, what="access denied", status=status)
    raise CrawlAbortedError(f"{text} A snapshot of the page is in {folder}.")
