"""Classify photos one by one: wait and try again where that helps, say why where it does not.

python errors_and_retries.py HOST:PORT photo.jpg another.jpg
"""

import sys
import time

from planespotter_client import (
    BadRequestError,
    DeadlineError,
    OverloadedError,
    PlaneSpotter,
    UnavailableError,
    UnreadablePhotoError,
)


def patiently(spotter: PlaneSpotter, photo: str, attempts: int = 5) -> str:
    """Return the answer, in words, for `photo`; a busy or restarting server is asked again, as late as it wishes."""
    for attempt in range(attempts - 1):
        try:
            return str(spotter.classify(photo, timeout=10))
        except (OverloadedError, UnavailableError, DeadlineError) as error:
            time.sleep(error.retry_after or 0.2 * 2**attempt)
    return str(spotter.classify(photo, timeout=10))


def main(address: str, *photos: str) -> None:
    """Print an answer or a reason for each photo. What is no photo's fault (a wrong token, say) ends the program."""
    with PlaneSpotter(address) as spotter:
        for photo in photos:
            try:
                print(photo, patiently(spotter, photo))
            except (BadRequestError, UnreadablePhotoError) as error:  # this photo; the next one may be good
                print(photo, error.reason, error)


if __name__ == "__main__":
    main(*sys.argv[1:])
