"""Review session: hand out photos to several reviewers at a time, and take their decisions.

A photo that a page has is reserved for it, so that two people do not decide the same one. A reservation ends after
RESERVED_SECONDS without a request of that page. All methods are thread-safe.
"""

import math
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from planespotter_scraping.labels.parser import infer_constructor, parse_label
from planespotter_scraping.reviewing import log as decision_log
from planespotter_scraping.reviewing.accuracy import Summary, ranked, summarize
from planespotter_scraping.reviewing.log import Decision, DecisionLog
from planespotter_scraping.reviewing.order import ORDERS, random_order
from planespotter_scraping.reviewing.photos import ReviewError, ReviewPhoto

RESERVED_SECONDS = 600.0
MAX_TEXT = 80
MAX_PHOTOS = 8
"""Maximum photos that a page has at a time, so that it can load the next ones in advance."""


@dataclass(frozen=True)
class Progress:
    """How far a review is.

    Attributes:
        decided: Decided photos, skipped ones included.
        total: Photos to review.
        by: Decisions of each reviewer.
    """

    decided: int
    total: int
    by: dict[str, int]


class ReviewSession:
    """Hands out photos and takes decisions.

    Args:
        photos: The photos.
        log: The open log.
        order: A key of ORDERS.
        random_share: Share of the photos, 0 to 1, that are drawn at random instead.
        limit: Maximum photos to review, with those in the log; None for all.
        clock: Monotonic time in seconds.
    """

    def __init__(
        self,
        photos: Sequence[ReviewPhoto],
        log: DecisionLog,
        order: str,
        random_share: float,
        limit: int | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.photos = {photo.key: photo for photo in photos}
        self._log = log
        self._clock = clock
        self._lock = threading.Lock()
        self._taught = iter(ORDERS[order](photos))
        self._drawn = iter(random_order(photos))
        self._random_share = 1.0 if order == "random" else random_share
        self._handed_out = 0
        self._reserved: dict[str, str] = {}  # photo → page
        self._last_request: dict[str, float] = {}  # of each page
        self._returned: list[str] = []  # photos of pages that are gone
        self._history: dict[str, list[str]] = {}  # decided photos of each page, in this session
        self._ranked = ranked(self.photos.keys() | log.decisions.keys())
        decided = sum(key in self.photos for key in log.decisions)
        wanted = len(self._ranked) if limit is None else min(len(self._ranked), limit)
        self._total = max(wanted, len(log.decisions))
        self._open = min(len(self.photos) - decided, self._total - len(log.decisions))

    def next_photos(self, page: str, count: int) -> list[ReviewPhoto]:
        """Return the photos that a page has reserved, filled up with new ones to `count`, at most MAX_PHOTOS."""
        with self._lock:
            self._expire(page)
            reserved = [key for key, holder in self._reserved.items() if holder == page]
            while len(reserved) < min(count, MAX_PHOTOS) and len(self._reserved) < self._open:
                key = next(self._candidates(), None)
                if key is None:
                    break
                self._reserved[key] = page
                reserved.append(key)
            return [self.photos[key] for key in reserved]

    def release(self, page: str) -> None:
        """Return the photos of a page that was closed."""
        with self._lock:
            self._last_request[page] = -math.inf
            self._return_photos()

    def decide(self, page: str, key: str, decision: str, by: str, text: str = "") -> Decision:
        """Take a decision and write it to the disk.

        Args:
            page: The page that decides.
            key: Key of the photo.
            decision: One of DECISIONS.
            by: Name of the reviewer.
            text: Type of a correction, as a person writes it.

        Raises:
            ReviewError: The decision is invalid or cannot be written, or somebody else has decided the photo.
        """
        name = " ".join(by.split())
        if not 0 < len(name) <= MAX_TEXT:
            raise ReviewError(f"The name of the reviewer is invalid. Give 1 to {MAX_TEXT} characters.")
        photo = self.photos.get(key)
        if photo is None or decision not in decision_log.DECISIONS:
            raise ReviewError("The decision is invalid. Reload the page.")
        if decision == decision_log.ACCEPT and not photo.proposal:
            raise ReviewError("There is nothing to accept: the photo has no label and no prediction. Correct it.")
        constructor, aircraft_type = parse_correction(text) if decision == decision_log.CORRECT else ("", "")
        with self._lock:
            self._expire(page)
            if (earlier := self._log.decisions.get(key)) is not None:
                raise ReviewError(f"{earlier.by} has decided this photo in the meantime.")
            taken = Decision(
                photo=key,
                decision=decision,
                by=name,
                at=decision_log.now(),
                shown=photo.proposal,
                is_label=photo.is_label,
                confident=photo.confident,
                constructor=constructor,
                aircraft_type=aircraft_type,
            )
            self._log.append(taken)
            self._reserved.pop(key, None)
            self._open -= 1
            self._history.setdefault(page, []).append(key)
        return taken

    def undo(self, page: str, by: str) -> ReviewPhoto | None:
        """Undo the last decision of a page in this session; return its photo, None if there is nothing to undo.

        Raises:
            ReviewError: The undo cannot be written.
        """
        with self._lock:
            self._expire(page)
            history = self._history.get(page, [])
            if not history:
                return None
            self._log.append(
                Decision(history[-1], decision_log.UNDO, " ".join(by.split())[:MAX_TEXT], decision_log.now())
            )
            key = history.pop()
            self._open += 1
            self._reserved = {key: page, **self._reserved}
            return self.photos[key]

    def progress(self) -> Progress:
        """Return how far the review is."""
        with self._lock:
            decisions = list(self._log.decisions.values())
            return Progress(len(decisions), self._total, dict(Counter(each.by for each in decisions)))

    def summary(self) -> Summary:
        """Return what the review has shown so far."""
        with self._lock:
            decisions = dict(self._log.decisions)
        return summarize(self._ranked, decisions)

    def _candidates(self) -> Iterator[str]:
        """Yield photos that nobody has: of pages that are gone, then the next ones, drawn at random or by order."""
        while self._returned:
            if self._is_free(key := self._returned.pop()):
                yield key
        while True:
            self._handed_out += 1
            is_random = int(self._handed_out * self._random_share) > int((self._handed_out - 1) * self._random_share)
            queue, other = (self._drawn, self._taught) if is_random else (self._taught, self._drawn)
            photo = next((photo for each in (queue, other) for photo in each if self._is_free(photo.key)), None)
            if photo is None:
                return
            yield photo.key

    def _is_free(self, key: str) -> bool:
        return key not in self._log.decisions and key not in self._reserved

    def _expire(self, page: str) -> None:
        """Count the request of a page, and return the photos of pages without one for RESERVED_SECONDS."""
        self._last_request[page] = self._clock()
        self._return_photos()

    def _return_photos(self) -> None:
        now = self._clock()
        gone = {name for name, at in self._last_request.items() if now - at > RESERVED_SECONDS}
        for key in [key for key, holder in self._reserved.items() if holder in gone]:
            del self._reserved[key]
            self._returned.append(key)
        for name in gone:
            del self._last_request[name]


def parse_correction(text: str) -> tuple[str, str]:
    """Return constructor and type of a correction, such as ("Boeing", "737-800").

    Args:
        text: Type as a person writes it: "737-800", "B738", "Embraer E190".

    Raises:
        ReviewError: It names no constructor, and not a type that only one of them builds.
    """
    text = " ".join(text.split())
    if not 0 < len(text) <= MAX_TEXT:
        raise ReviewError(f"The type has {len(text)} characters. Give 1 to {MAX_TEXT}.")
    constructor = infer_constructor(text)
    if not constructor:
        raise ReviewError(f"{text!r} does not name its constructor. Write it first, such as Embraer E190.")
    path = parse_label(constructor, text).path
    rest = text.removeprefix(constructor).strip()
    return path.constructor, path.model or path.family or rest
