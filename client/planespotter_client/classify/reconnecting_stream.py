"""Reconnecting stream: survive a lost server by streaming again the photos that have no result."""

import itertools
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from planespotter_client._errors import DeadlineExceededError, PlaneSpotterError, UnavailableError

if TYPE_CHECKING:
    from planespotter_client import PhotoResult, PlaneSpotter


def reconnecting_stream(
    spotter: "PlaneSpotter",
    photos: Iterator[str | bytes],
    on_lost: Callable[[PlaneSpotterError], None],
    **options: Any,
) -> "Iterator[PhotoResult]":
    """Stream `photos`; whenever the server is lost, wait for it and resend the photos without a result.

    Args:
        spotter: The client.
        photos: Photos to classify; the iterator may block.
        on_lost: Called with the error each time, before the wait for the server, which has no timeout.
        options: Parameters of `PlaneSpotter.stream`.
    """
    queue: deque[str | bytes] = deque()  # taken from `photos`, and in no live stream
    photos_lock, queue_lock = threading.Lock(), threading.Lock()  # separate, as `photos` may block

    def feed(in_flight: dict[int, str | bytes], closed: threading.Event) -> Iterator[str | bytes]:
        for index in itertools.count():
            while True:
                with queue_lock:
                    if closed.is_set():
                        return
                    if queue:
                        photo = in_flight[index] = queue.popleft()
                        break
                with photos_lock:  # a closed stream may still wait here: its photo goes to the next one
                    if not queue:
                        following = next(photos, None)
                        if following is None:
                            return
                        with queue_lock:
                            queue.append(following)
            yield photo

    while True:
        in_flight: dict[int, str | bytes] = {}
        closed = threading.Event()
        try:
            for result in spotter.stream(feed(in_flight, closed), **options):
                del in_flight[result.index]
                yield result
            return
        except (UnavailableError, DeadlineExceededError) as error:
            with queue_lock:
                closed.set()
                queue.extendleft(reversed(in_flight.values()))
            on_lost(error)
            _wait_until_ready(spotter)
        finally:
            closed.set()


def _wait_until_ready(spotter: "PlaneSpotter") -> None:
    while True:
        with suppress(UnavailableError, DeadlineExceededError):
            return spotter.wait_until_ready()
