"""Flow control of a stream: a bounded window of photos in flight, and reordering of results."""

from planespotter_client._types import PhotoResult

MAX_IN_FLIGHT_BYTES = 64 * 1024 * 1024
"""Default size of the photos in flight on a stream; a server reads as much ahead."""


class Window:
    """Bounds the photos that are read from the source while their results are not yet consumed.

    One photo of any size always fits. Not thread-safe.

    Args:
        max_photos: Maximum number of photos.
        max_bytes: Maximum size of them in bytes.
    """

    def __init__(self, max_photos: int, max_bytes: int) -> None:
        self._max_photos = max_photos
        self._max_bytes = max_bytes
        self._sizes: dict[int, int] = {}
        self._bytes = 0

    def try_acquire(self, index: int, size: int = 0) -> bool:
        """Acquire a slot for the photo number `index`; once it has one, `size` bytes for it.

        Returns:
            Whether the window has capacity for it.
        """
        if index in self._sizes:
            fits = not self._bytes or self._bytes + size <= self._max_bytes
        else:
            fits = len(self._sizes) < self._max_photos
        if fits:
            self._sizes[index] = size
            self._bytes += size
        return fits

    def release(self, index: int) -> None:
        """Release the slot and the bytes of the photo number `index`."""
        self._bytes -= self._sizes.pop(index)


class InOrder:
    """Reorder buffer: holds results until those of all earlier photos have arrived."""

    def __init__(self) -> None:
        self._next = 0
        self._held: dict[int, PhotoResult] = {}

    def add(self, result: PhotoResult) -> list[PhotoResult]:
        """Return the results that are due now that `result` has arrived."""
        self._held[result.index] = result
        due = []
        while (following := self._held.pop(self._next, None)) is not None:
            due.append(following)
            self._next += 1
        return due

    def drain(self) -> list[PhotoResult]:
        """Return all held results, for a stream that ends without the others."""
        return [self._held[index] for index in sorted(self._held)]
