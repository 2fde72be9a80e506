"""Classify photos one by one; tell what is the photo's fault from what a later attempt may mend.

python errors_and_retries.py HOST:PORT photo.jpg another.jpg
"""

import sys

from planespotter_client import (
    BadRequestError,
    DeadlineError,
    OverloadedError,
    PlaneSpotter,
    UnavailableError,
    UnreadablePhotoError,
)


def main(address: str, *photos: str) -> None:
    """Print an answer or a reason for each photo. Whatever else goes wrong (a wrong token, say) ends the program."""
    later = []
    with PlaneSpotter(address, timeout=10, retries=5) as spotter:  # it tries again by itself, for 10 seconds
        spotter.wait_until_ready(timeout=60)
        for photo in photos:
            try:
                print(photo, spotter.classify(photo))
            except (BadRequestError, UnreadablePhotoError) as error:  # this photo; the next one may be good
                print(photo, error.reason, error)
            except (OverloadedError, UnavailableError, DeadlineError) as error:  # the server; photos are good
                print(error, file=sys.stderr)
                later.append(photo)
    if later:
        sys.exit(f"Try again later: {' '.join(later)}")


if __name__ == "__main__":
    if len(sys.argv) < 3:
        print("usage: python errors_and_retries.py HOST:PORT photo.jpg another.jpg", file=sys.stderr)
        sys.exit(2)
    main(*sys.argv[1:])
