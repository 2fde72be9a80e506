"""Photos in hand: record what a worker is about to classify, to find the photo that kills workers.

A worker writes a record before it starts a block, and deletes it after the commit. A record that is still there belongs
to a worker that died. The next one then classifies the suspects in smaller groups, each recorded first: all photos of
the block, after one death 32, after two a single photo. A photo that was in hand when three workers died is a poison
photo. So a block without trouble costs two small writes, and a bad one is narrowed down in four attempts.
"""

import json
import uuid
from collections import Counter
from collections.abc import Iterator, Sequence

from planespotter_bulk.manifest import Block, Photo
from planespotter_bulk.storage import Folder

MAX_DEATHS = 3
SUSPECTS = 32


class InHand:
    """The records of one block.

    Args:
        answers: Folder of the answers.
        block: The block.
        photos: Its photos.
    """

    def __init__(self, answers: Folder, block: Block, photos: Sequence[Photo]) -> None:
        self._answers, self._photos = answers, photos
        self._folder = f"_job/in_hand/{block.name}"
        self._record = f"{self._folder}/{uuid.uuid4().hex}.json"
        self._earlier = [f"{self._folder}/{entry.name}" for entry in answers.entries(self._folder)]
        self.deaths = self._count_deaths()

    def _count_deaths(self) -> Counter[int]:
        """Return how many workers died with each photo in hand, by id."""
        deaths: Counter[int] = Counter()
        for name in self._earlier:
            content = self._answers.read(name)
            if content is not None:
                ids = json.loads(content)
                deaths.update([photo.id for photo in self._photos] if ids is None else ids)
        return deaths

    @property
    def attempts(self) -> int:
        """Number of workers that died with this block."""
        return len(self._earlier)

    def is_poison(self, photo: Photo) -> bool:
        """Return whether three workers died with this photo in hand."""
        return self.deaths[photo.id] >= MAX_DEATHS

    def groups(self) -> Iterator[Sequence[Photo]]:
        """Yield the photos that are not poison in groups that may be classified together; record each group first."""
        by_deaths: dict[int, list[Photo]] = {}
        for photo in self._photos:
            if not self.is_poison(photo):
                by_deaths.setdefault(self.deaths[photo.id], []).append(photo)
        for deaths, photos in sorted(by_deaths.items()):
            size = (len(photos), SUSPECTS)[deaths] if deaths < MAX_DEATHS - 1 else 1
            for start in range(0, len(photos), size):
                group = photos[start : start + size]
                ids = None if len(group) == len(self._photos) else [photo.id for photo in group]
                self._answers.write(self._record, json.dumps(ids).encode())
                yield group

    def release(self) -> None:
        """Delete the record of this worker, which is alive."""
        self._answers.delete(self._record)

    def clear(self) -> None:
        """Delete all records, after the commit."""
        for name in (*self._earlier, self._record):
            self._answers.delete(name)
