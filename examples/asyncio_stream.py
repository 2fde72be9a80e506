"""Classify photos while other coroutines run, from a source that makes them one by one.

python asyncio_stream.py HOST:PORT photo.jpg another.jpg
"""

import asyncio
import sys
from collections.abc import AsyncIterator, Iterable
from pathlib import Path

from planespotter_client import AsyncPlaneSpotter


async def camera(photos: Iterable[str]) -> AsyncIterator[bytes]:
    """Yield photos as bytes, as a camera or a queue would."""
    for photo in photos:
        yield await asyncio.to_thread(Path(photo).read_bytes)


async def main(address: str, *photos: str) -> None:
    """Print each answer as it comes; `index` counts the photos in the order in which the source gave them."""
    async with AsyncPlaneSpotter(address) as spotter:
        async for answer in spotter.stream(camera(photos)):
            print(photos[answer.index], answer.classification or answer.error)


if __name__ == "__main__":
    if len(sys.argv) < 3:
        print("usage: python asyncio_stream.py HOST:PORT photo.jpg another.jpg", file=sys.stderr)
        sys.exit(2)
    asyncio.run(main(*sys.argv[1:]))
