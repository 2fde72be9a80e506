"""Share photos among several servers, by turns; what one that has ended could not answer goes to another.

python several_servers.py HOST:PORT,HOST:PORT photo.jpg another.jpg
"""

import sys
from concurrent.futures import ThreadPoolExecutor

from planespotter_client import PlaneSpotter, PlaneSpotterError


def main(addresses: str, *photos: str) -> None:
    """Print an answer or an error for each photo, in their order, with up to 32 photos on their way at a time."""

    def answer(photo: str) -> str:
        try:
            return str(spotter.classify(photo))
        except PlaneSpotterError as error:
            return f"failed: {error}"

    with PlaneSpotter(addresses) as spotter, ThreadPoolExecutor(32) as pool:
        for photo, said in zip(photos, pool.map(answer, photos), strict=True):
            print(photo, said)


if __name__ == "__main__":
    if len(sys.argv) < 3:
        print("usage: python several_servers.py HOST:PORT,HOST:PORT photo.jpg another.jpg", file=sys.stderr)
        sys.exit(2)
    main(*sys.argv[1:])
