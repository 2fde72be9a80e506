"""Distribute photos over several servers, round robin, with failover from a server that is down.

python several_servers.py HOST:PORT,HOST:PORT photo.jpg another.jpg
"""

import sys
from concurrent.futures import ThreadPoolExecutor

from planespotter_client import PlaneSpotter, PlaneSpotterError


def main(addresses: str, *photos: str) -> None:
    """Print a prediction or an error for each photo, in order, with up to 32 photos in flight."""

    def classify(photo: str) -> str:
        try:
            return str(spotter.classify(photo))
        except PlaneSpotterError as error:
            return f"failed: {error}"

    with PlaneSpotter(addresses) as spotter, ThreadPoolExecutor(32) as pool:
        for photo, line in zip(photos, pool.map(classify, photos), strict=True):
            print(photo, line)


if __name__ == "__main__":
    if len(sys.argv) < 3:
        print("usage: python several_servers.py HOST:PORT,HOST:PORT photo.jpg another.jpg", file=sys.stderr)
        sys.exit(2)
    main(*sys.argv[1:])
