"""Backoff: honour Retry-After, and back off exponentially where a site sends 429 without it."""

import asyncio
import math
import time
from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from planespotter_scraping.crawling.result import WaitTooLongError

MAX_WAIT_SECONDS = 600.0  # a longer wait ends the crawl
INITIAL_SECONDS = 5.0  # the first wait after a 429 without Retry-After; doubles each time


def should_back_off(status: int, retry_after: str | None) -> bool:
    """Return whether a response asks to retry later. A 503 without Retry-After is an ordinary server error."""
    return status == 429 or (status == 503 and retry_after is not None)


def parse_retry_after(retry_after: str | None, now: datetime | None = None) -> float | None:
    """Parse a Retry-After header.

    Args:
        retry_after: The header's value, seconds or an HTTP date; None if the header is absent.
        now: Time from which a date is counted. Default: the current time.

    Returns:
        Seconds to wait, at least 0; None if the value is absent or malformed.
    """
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
    """Hold back all requests of a crawl while the site asks for a pause.

    Args:
        notify: Called with a sentence when a wait begins, and with "" when it ends.
    """

    def __init__(self, notify: Callable[[str], None] = lambda text: None) -> None:
        self.notify = notify
        self.until = 0.0  # on the monotonic clock
        self.waited = 0.0  # seconds since the last successful response
        self.attempts = 0

    def postpone(self, url: str, status: int, retry_after: str | None) -> None:
        """Schedule a wait because `url` asked to retry later.

        Args:
            url: URL of the request, for the error.
            status: HTTP status of its response.
            retry_after: The response's Retry-After header, None if absent.

        Raises:
            WaitTooLongError: The waits since the last successful response exceed the longest wait.
        """
        now = time.monotonic()
        # A date in the past, or 0, must not turn into requests without a pause: the own backoff is the minimum. Of
        # several requests in flight, the first one has scheduled it.
        minimum = INITIAL_SECONDS * 2**self.attempts if now >= self.until else 0.0
        delay = max(minimum, parse_retry_after(retry_after) or 0.0)
        if now + delay <= self.until:
            return  # one of several requests in flight: the scheduled wait covers it
        self.waited += now + delay - max(now, self.until)
        if self.waited > MAX_WAIT_SECONDS:
            raise WaitTooLongError(
                f"{url} responded with {status}, and the site asks to wait {format_wait(self.waited)}; the limit is "
                f"{format_wait(MAX_WAIT_SECONDS)}. Stored photos are safe. Run the same command again later."
            )
        self.attempts += 1
        self.until = now + delay

    async def wait(self) -> None:
        """Sleep until the scheduled wait is over."""
        while (left := self.until - time.monotonic()) > 0:
            self.notify(f"the site asks to wait {format_wait(left)}")
            await asyncio.sleep(left)
            self.notify("")

    def reset(self) -> None:
        """Start again from the initial delay, after a successful response."""
        if time.monotonic() >= self.until:
            self.waited, self.attempts = 0.0, 0


def format_wait(seconds: float) -> str:
    """Return a duration in a unit that suits it."""
    if seconds < 120:
        return f"{math.ceil(seconds)} s"
    return f"{seconds / 60:.0f} minutes" if seconds < 5400 else f"{seconds / 3600:.0f} hours"
