"""Notice a site that does not want us: it refuses, tests for browsers, or asks for a login. Then ask nothing more."""

import re
from pathlib import Path
from typing import NoReturn
from urllib.parse import urlsplit

from playwright.async_api import Page

from planespotter_scraping.crawling import page_snapshot
from planespotter_scraping.crawling.result import CrawlAbortedError

LOGIN = re.compile(r"/(log|sign)[-_]?in(/|\.|$)", re.IGNORECASE)  # in the path of an address
CHALLENGE = "iframe[src*='challenges.cloudflare.com'], script[src*='challenges.cloudflare.com']"
CHALLENGE_TITLES = ("just a moment", "attention required")


async def check(page: Page, status: int, out: Path, login: bool) -> None:
    """Raise CrawlAbortedError if the site refuses us, tests us or asks for a login.

    `status` is that of its answer, `out` the folder of the catalog, where the evidence is kept, and `login` says
    whether the user has given a login.
    """
    title, challenge = await page.evaluate(
        "(selector) => [document.title, document.querySelector(selector) !== null]", CHALLENGE
    )
    if challenge or title.lower().startswith(CHALLENGE_TITLES):
        found = f"shows a test for browsers instead of photos ({title!r})"
    elif status in (401, 403):
        found = f"answered {status}, which is a refusal"
    elif LOGIN.search(urlsplit(page.url).path):
        found = "is where the site asks for a login"
    else:
        return
    await turn_away(page, found, out, login, status)


async def turn_away(page: Page, found: str, out: Path, login: bool, status: int | None = None) -> NoReturn:
    """Raise CrawlAbortedError with what was found, and keep the evidence. The parameters are those of `check`."""
    remedy = "What was stored is safe. Ask those who run the site whether they allow a crawl; nothing gets round this."
    if "login" in found:
        remedy = (
            "If the site allows a crawl with your login, log in by hand with `playwright open --save-storage "
            f"state.json {page.url}`, close the window, and add --storage-state state.json."
        )
    elif login:
        remedy += " The login in the storage state may have ended: make it anew."
    text = f"{page.url} {found}. Nothing more was asked. {remedy}"
    folder = await page_snapshot.save(page, out, text, what="turned away", status=status)
    raise CrawlAbortedError(f"{text} What the page showed is kept in {folder}.")
