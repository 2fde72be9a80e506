"""Order of a review: photos that teach most first, mixed with photos drawn at random for an honest estimate.

Photos that were picked because the network is unsure, or contradicts a label, have more errors than the others: their
accuracy is not that of the whole. So a part of the photos is drawn at random, from all of them. The draw is a fixed
permutation by a hash of each key, and the photos at its start are the random sample, regardless of whether a reviewer
saw them because they were drawn or because they teach: without the latter, the sample would lack the difficult ones.
"""

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from hashlib import blake2b

from planespotter_scraping.reviewing.photos import ReviewPhoto

BINS = 10
"""Ranges of probability that the order `balanced` serves round robin."""


def random_rank(key: str) -> bytes:
    """Return the position of a photo in the random permutation, as bytes to sort by."""
    return blake2b(key.encode("utf-8", "backslashreplace"), digest_size=12, person=b"review").digest()


def random_order(photos: Iterable[ReviewPhoto]) -> list[ReviewPhoto]:
    """Return photos in the order of the random permutation."""
    return sorted(photos, key=lambda photo: random_rank(photo.key))


def least_confident(photos: Iterable[ReviewPhoto]) -> list[ReviewPhoto]:
    """Return photos by the probability of their prediction, the least confident first, those without one last."""
    return sorted(random_order(photos), key=lambda photo: 2.0 if photo.confidence is None else photo.confidence)


def balanced(photos: Iterable[ReviewPhoto]) -> list[ReviewPhoto]:
    """Return photos round robin over ranges of probability, so that each range has as many as the others."""
    bins: list[deque[ReviewPhoto]] = [deque() for _ in range(BINS)]
    for photo in random_order(photos):
        bins[min(BINS - 1, int(BINS * (photo.confidence or 0.0)))].append(photo)
    ordered = []
    while any(bins):
        ordered += [each.popleft() for each in bins if each]
    return ordered


def disagreements(photos: Iterable[ReviewPhoto]) -> list[ReviewPhoto]:
    """Return photos on which two networks contradict each other first, the most confident of them at the start."""
    return sorted(least_confident(photos), key=lambda photo: -photo.conflict)


def label_errors(photos: Iterable[ReviewPhoto]) -> list[ReviewPhoto]:
    """Return photos whose label a prediction contradicts first, the most confident contradiction at the start."""
    return sorted(least_confident(photos), key=lambda photo: -photo.suspicion)


ORDERS: dict[str, Callable[[Iterable[ReviewPhoto]], list[ReviewPhoto]]] = {
    "least-confident": least_confident,
    "balanced": balanced,
    "disagreements": disagreements,
    "label-errors": label_errors,
    "random": random_order,
}


def default_order(photos: Sequence[ReviewPhoto]) -> str:
    """Return the order that teaches most of what is known about photos."""
    if any(photo.suspicion for photo in photos):
        return "label-errors"
    if any(photo.conflict for photo in photos):
        return "disagreements"
    return "least-confident" if any(photo.confidence is not None for photo in photos) else "random"
