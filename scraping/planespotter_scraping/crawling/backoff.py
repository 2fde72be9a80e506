"""Come back when a site asks for it: what its Retry-After says, and a wait that the whole crawl keeps."""

import asyncio
import math
import time
from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from planespotter_scraping.crawling.result import CrawlAbortedError

LONGEST = 600.0  # seconds that are waited before the user is asked to come back instead
FIRST = 5.0  # seconds to wait where a site says "too many" but not how long; twice as long each further time


def asks_to_wait(status: int, retry_after: str | None) -> bool:
    """Return whether an answer says "not now". A 503 that does not say when to come back is a failure like others."""
    return status == 429 or (status == 503 and retry_after is not None)


def seconds(retry_after: str | None, now: datetime | None = None) -> float | None:
    """Return how many seconds a Retry-After header asks for, whichever of its two forms it has; None if neither."""
    text = (retry_after or "").strip()
    if text.isascii() and text.isdecimal():
        return float(text)
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, TypeError, IndexError):
        return None
    moment = moment.replace(tzinfo=moment.tzinfo or UTC)
    return max(0.0, (moment - (now or datetime.now(UTC))).total_seconds())


class Backoff:
    """Holds back all requests of a crawl while the site wants to be left alone.

    `tell` gets a sentence when a wait begins, and "" when it is over.
    """

    def __init__(self, tell: Callable[[str], None] = lambda text: None) -> None:
        self.tell = tell
        self.until = 0.0  # on the monotonic clock
        self.waited = 0.0  # seconds, since the site last answered
        self.refusals = 0

    def postpone(self, url: str, status: int, retry_after: str | None) -> None:
        """Note that `url` answered "not now". Raises CrawlAbortedError if that comes to more than LONGEST seconds."""
        delay = seconds(retry_after)
        if delay is None:
            delay = FIRST * 2**self.refusals
        now = time.monotonic()
        if now + delay <= self.until:
            return  # one of several requests on their way: the wait is agreed already
        self.waited += now + delay - max(now, self.until)
        if self.waited > LONGEST:
            raise CrawlAbortedError(
                f"{url} answered {status}, and waiting for the site would take {_spoken(self.waited)}, where this "
                f"command waits {_spoken(LONGEST)}. What was stored is safe: run the same command again later."
            )
        self.refusals += 1
        self.until = now + delay

    async def rest(self) -> None:
        """Wait for as long as the site has asked for."""
        while (left := self.until - time.monotonic()) > 0:
            self.tell(f"the site asks to wait {_spoken(left)}")
            await asyncio.sleep(left)
            self.tell("")

    def welcome(self) -> None:
        """Note that the site answers again."""
        if time.monotonic() >= self.until:
            self.waited, self.refusals = 0.0, 0


def _spoken(amount: float) -> str:
    """Return a number of seconds as people say it."""
    if amount < 120:
        return f"{math.ceil(amount)} s"
    return f"{amount / 60:.0f} minutes" if amount < 5400 else f"{amount / 3600:.0f} hours"
