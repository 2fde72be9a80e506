"""Classify each photo that appears in a folder, until Ctrl-C.

python watch_folder.py incoming/ [HOST:PORT]
"""

import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from planespotter_client import DEFAULT_ADDRESS, PlaneSpotter


def new_photos(folder: Path, interval: float = 0.5) -> Iterator[Path]:
    """Poll `folder` every `interval` seconds; yield each photo once, as soon as its size is stable."""
    sizes: dict[Path, int] = {}
    done: set[Path] = set()
    while True:
        for path in sorted(set(folder.glob("*.jpg")) - done):
            size = path.stat().st_size
            if size and sizes.get(path) == size:
                done.add(path)
                yield path
            sizes[path] = size
        time.sleep(interval)


def main(folder: str, address: str = DEFAULT_ADDRESS) -> None:
    """Print each result as it arrives. The stream stays open while the folder has no new photos."""
    with suppress(KeyboardInterrupt), PlaneSpotter(address) as spotter:
        for result in spotter.stream(new_photos(Path(folder))):
            print(result, flush=True)


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3):
        print("usage: python watch_folder.py incoming/ [HOST:PORT]", file=sys.stderr)
        sys.exit(2)
    main(*sys.argv[1:])
