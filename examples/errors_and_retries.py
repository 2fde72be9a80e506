"""Classify photos one by one; separate the errors of a photo from those that a retry may fix.

python errors_and_retries.py HOST:PORT photo.jpg another.jpg
"""

import sys

from planespotter_client import (
    DeadlineExceededError,
    InvalidRequestError,
    OverloadedError,
    PhotoReadError,
    PlaneSpotter,
    UnavailableError,
)


def main(address: str, *photos: str) -> None:
    """Print a prediction or a reason for each photo. Any other error, such as an invalid token, ends the program."""
    retry_later = []
    with PlaneSpotter(address, timeout=10, retries=5) as spotter:  # the client retries for up to 10 seconds
        spotter.wait_until_ready(timeout=60)
        for photo in photos:
            try:
                print(photo, spotter.classify(photo))
            except (InvalidRequestError, PhotoReadError) as error:  # this photo is bad; the next one may be good
                print(photo, error.reason, error)
            except (OverloadedError, UnavailableError, DeadlineExceededError) as error:  # the photo may be good
                print(error, file=sys.stderr)
                retry_later.append(photo)
    if retry_later:
        sys.exit(f"Try again later: {' '.join(retry_later)}")


if __name__ == "__main__":
    if len(sys.argv) < 3:
        print("usage: python errors_and_retries.py HOST:PORT photo.jpg another.jpg", file=sys.stderr)
        sys.exit(2)
    main(*sys.argv[1:])
