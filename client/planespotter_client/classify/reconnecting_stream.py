"""A stream that survives its server: reconnect, and send again the photos that have no result."""

import itertools
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from planespotter_client._errors import DeadlineError, PlaneSpotterError, UnavailableError

if TYPE_CHECKING:
    from planespotter_client import PhotoAnswer, PlaneSpotter


def lasting(
    spotter: "PlaneSpotter",
    photos: Iterator[str | bytes],
    gone: Callable[[PlaneSpotterError], None],
    **options: Any,
) -> "Iterator[PhotoAnswer]":
    """Stream `photos`, and begin anew with what has no answer whenever the server was away for too long.

    `gone` is called with the error each time, before the wait for the server, which has no end.
    """
    line: deque[str | bytes] = deque()  # taken from `photos`, and not given to a stream that lives
    taking, handing = threading.Lock(), threading.Lock()  # the one for `photos`, which may block; the other for `line`

    def stand_in_line(given: dict[int, str | bytes], over: threading.Event) -> Iterator[str | bytes]:
        for index in itertools.count():
            while True:
                with handing:
                    if over.is_set():
                        return
                    if line:
                        photo = given[index] = line.popleft()
                        break
                with taking:  # a stream that is over may still wait here: what it gets is for the next
                    if not line:
                        taken = next(photos, None)
                        if taken is None:
                            return
                        with handing:
                            line.append(taken)
            yield photo

    while True:
        given: dict[int, str | bytes] = {}
        over = threading.Event()
        try:
            for answer in spotter.stream(stand_in_line(given, over), **options):
                del given[answer.index]
                yield answer
            return
        except (UnavailableError, DeadlineError) as error:
            with handing:
                over.set()
                line.extendleft(reversed(given.values()))
            gone(error)
            _wait(spotter)
        finally:
            over.set()


def _wait(spotter: "PlaneSpotter") -> None:
    while True:
        with suppress(UnavailableError, DeadlineError):
            return spotter.wait_until_ready()
