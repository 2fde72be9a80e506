"""Wait until a page is complete, and say why one could not be read."""

import asyncio

from playwright.async_api import Locator
from playwright.async_api import TimeoutError as PlaywrightTimeoutError


def reason_of(error: Exception, seconds: float) -> str:
    """Return why a page could not be read, as the end of a sentence; `seconds` were given it to load."""
    if isinstance(error, TimeoutError | PlaywrightTimeoutError):
        return f"it did not load within {seconds:g} seconds"
    text = str(error).partition("\n")[0].strip()
    if "net::" in text:
        return f"the site did not answer: {text.partition('net::')[2].partition(' at ')[0]}"
    if "has been closed" in text or "crashed" in text:
        return "the browser has ended, perhaps for lack of memory"
    return text or type(error).__name__


async def settle(cards: Locator, seconds: float) -> None:
    """Wait until the number of cards has stayed the same for so long: some pages are built bit by bit."""
    before, now = -1, await cards.count()
    while now != before:
        await asyncio.sleep(seconds)
        before, now = now, await cards.count()
