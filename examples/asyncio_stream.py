"""Classify photos from an asynchronous source while other coroutines run.

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
    """Print each result as it arrives; `index` counts the photos in the order of the source."""
    async with AsyncPlaneSpotter(address) as spotter:
        async for result in spotter.stream(camera(photos)):
            print(photos[result.index], result.prediction or result.error)


if __name__ == "__main__":
    if len(sys.argv) < 3:
        print("usage: python asyncio_stream.py HOST:PORT photo.jpg another.jpg", file=sys.stderr)
        sys.exit(2)
    asyncio.run(main(*sys.argv[1:]))
