"""Share a folder among several servers: each takes photos as fast as it answers; if one ends, the others take its.

python several_servers.py photos/ HOST:PORT HOST:PORT
"""

import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from planespotter_client import PlaneSpotter, UnavailableError


def work(todo: Iterator[Path], waiting: set[Path], address: str) -> bool:
    """Let one server classify what it can take of `todo`; return whether it lived to the end."""
    try:
        with PlaneSpotter(address) as spotter:
            for answer in spotter.stream(todo):
                waiting.discard(Path(answer.photo_id))
                print(address, answer.photo_id, answer.classification or answer.error)
    except UnavailableError as error:
        print(error, file=sys.stderr)
        return False
    return True


def main(folder: str, *addresses: str) -> None:
    """Go on until each photo has an answer or no server is left."""
    waiting, servers = set(Path(folder).glob("*.jpg")), addresses
    while waiting and servers:
        todo = map(Path, tuple(waiting))  # one iterator for all: its next() is atomic
        with ThreadPoolExecutor(len(servers)) as pool:
            lived = zip(servers, pool.map(partial(work, todo, waiting), servers), strict=True)
            servers = tuple(address for address, well in lived if well)
    sys.exit(f"{len(waiting)} photos have no answer." if waiting else 0)


if __name__ == "__main__":
    main(*sys.argv[1:])
