"""Cleaning rules: which photos to drop from a catalog, each with its reason. Rules never change files.

A rule gets the photos that the rules before it left, with their rows and image scans, and returns the reasons by
photo_id of the photos that it drops.
"""

import hashlib
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from planespotter_scraping.cleaning import captions
from planespotter_scraping.images.similarity import (
    MAX_HAMMING,
    MIN_CONTRAST,
    MIN_CORRELATION,
    ImageScan,
    NearDuplicate,
)

LABELS = ("constructor", "family", "model", "airline", "registration", "photographer", "taken_on", "licence")
CONFLICTS = ("constructor", "family", "model", "registration")  # columns in which duplicates must agree


@dataclass(frozen=True)
class Options:
    """Limits of the rules; 0 or None disables a limit.

    Attributes:
        min_side: Minimum shorter side in pixels.
        max_aspect_ratio: Maximum ratio of the longer side to the shorter.
        min_bytes: Minimum size of an image file.
        placeholder_ids: Maximum photos of one source that may share one file.
        caption_words: Words and phrases of captions whose photos to drop, in addition to those of `captions.py`.
        max_hamming: Maximum Hamming distance of near duplicates, of 64 bits.
        min_correlation: Minimum correlation of the detail of near duplicates, 0 to 1.
        crop_bottom: Rows to crop from the bottom, by source.
        stretch: Factor to widen the images by, by source: that of a data set that squashed its photos to squares.
        per_airframe: Maximum photos of each registration.
        per_airline: Maximum photos of each airline.
        per_model: Maximum photos of each model.
        skip_rules: Names of rules to skip.
    """

    min_side: int = 192
    max_aspect_ratio: float = 3.0
    min_bytes: int = 2000
    placeholder_ids: int = 3
    caption_words: tuple[str, ...] = ()
    max_hamming: int = MAX_HAMMING
    min_correlation: float = MIN_CORRELATION
    crop_bottom: Mapping[str, int] = field(default_factory=dict)
    stretch: Mapping[str, float] = field(default_factory=dict)
    per_airframe: int | None = None
    per_airline: int | None = None
    per_model: int | None = None
    skip_rules: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Photo:
    """A photo of a catalog.

    Attributes:
        row: Values by column, with the label path.
        number: Number of the row, from 1.
        size: Size of the image file in bytes.
        scan: Scan of the image.
    """

    row: Mapping[str, str]
    number: int
    size: int
    scan: ImageScan

    @property
    def name(self) -> str:
        """Its photo_id."""
        return self.row["photo_id"]

    def value(self, column: str) -> str:
        """Return the value of a column, "" if there is none."""
        return self.row.get(column, "")

    @property
    def label_count(self) -> int:
        """Number of LABELS with a value."""
        return sum(self.value(column) != "" for column in LABELS)


Reasons = dict[str, str]  # by photo_id
Conflict = tuple[Photo, Photo, str]  # two photos of one picture, and the column in which they disagree


def broken(photos: Sequence[Photo], options: Options) -> Reasons:
    """Drop photos whose image is missing or incomplete."""
    return {photo.name: f"Its image cannot be used: {photo.scan.broken}." for photo in photos if photo.scan.broken}


def small(photos: Sequence[Photo], options: Options) -> Reasons:
    """Drop images whose shorter side is below the limit."""
    sides = {photo.name: min(photo.scan.width, photo.scan.height) for photo in photos if not photo.scan.broken}
    return {
        name: f"Its shorter side is {side} pixels, below {options.min_side}."
        for name, side in sides.items()
        if side < options.min_side
    }


def aspect_ratio(photos: Sequence[Photo], options: Options) -> Reasons:
    """Drop panoramas, banners and strips."""
    reasons = {}
    for photo in photos:
        width, height = photo.scan.width, photo.scan.height
        if options.max_aspect_ratio and max(width, height) > options.max_aspect_ratio * min(width, height):
            reasons[photo.name] = f"It is {width} x {height} pixels, above the ratio {options.max_aspect_ratio:g}."
    return reasons


def placeholder(photos: Sequence[Photo], options: Options) -> Reasons:
    """Drop placeholders: tiny files, uniform images, and files that many photos share."""
    sharing = Counter((photo.value("source"), photo.scan.sha256) for photo in photos)
    reasons = {}
    for photo in photos:
        count = sharing[photo.value("source"), photo.scan.sha256]
        if photo.scan.broken:
            continue
        if photo.size < options.min_bytes:
            reasons[photo.name] = f"Its file has {photo.size} bytes, below {options.min_bytes}."
        elif photo.scan.contrast < MIN_CONTRAST:
            reasons[photo.name] = "It is a uniform color."
        elif options.placeholder_ids and count > options.placeholder_ids:
            source = photo.value("source") or "this catalog"
            reasons[photo.name] = f"{count} photos of {source} share its file: it is a placeholder."
    return reasons


def caption(photos: Sequence[Photo], options: Options) -> Reasons:
    """Drop photos whose captions indicate a cockpit, a cabin, a detail or a model."""
    reasons = {}
    for photo in photos:
        match = captions.find_caption_match(photo.row, options.caption_words)
        if match is not None:
            reasons[photo.name] = f"Its {match.column} has {match.phrase!r}, so it may show {match.shows}."
    return reasons


def exact_duplicate(photos: Sequence[Photo], options: Options) -> tuple[Reasons, list[Conflict]]:
    """Drop further copies of a file: the copy with the most labels is kept, then the oldest.

    Returns:
        Reasons, and the conflicts of copies that are kept because their labels contradict each other.
    """
    copies_of: dict[str, list[Photo]] = defaultdict(list)
    for photo in sorted(photos, key=lambda photo: (-photo.label_count, photo.value("scraped_at") or "~", photo.number)):
        if photo.scan.sha256:
            copies_of[photo.scan.sha256].append(photo)
    reasons: Reasons = {}
    conflicts: list[Conflict] = []
    for copies in copies_of.values():
        originals: list[Photo] = []
        for photo in copies:
            original = next((other for other in originals if _conflict(photo, other) is None), None)
            if original is None:
                conflicts += [(other, photo, _conflict(photo, other) or "") for other in originals]
                originals.append(photo)
            else:
                advantage = "has more labels" if original.label_count > photo.label_count else "is older"
                reasons[photo.name] = f"It is the same file as {original.name}, which {advantage}."
    return reasons, conflicts


def near_duplicate(photos: Sequence[Photo], pairs: Iterable[NearDuplicate]) -> tuple[Reasons, list[Conflict]]:
    """Drop further copies of a picture: the largest copy is kept, then the one with the most labels.

    Args:
        photos: Photos to clean.
        pairs: Near duplicates, as indices into `photos`.

    Returns:
        Reasons, and the conflicts of copies that are kept because their labels contradict each other.
    """
    neighbours: dict[int, list[tuple[int, NearDuplicate]]] = defaultdict(list)
    for pair in pairs:
        neighbours[pair.first].append((pair.second, pair))
        neighbours[pair.second].append((pair.first, pair))

    def rank(index: int) -> tuple[int, int, int]:
        photo = photos[index]
        return -photo.scan.width * photo.scan.height, -photo.label_count, photo.number

    originals: set[int] = set()
    reasons: Reasons = {}
    conflicts: list[Conflict] = []
    for index in sorted(neighbours, key=rank):
        photo = photos[index]
        copies = sorted(
            ((other, pair) for other, pair in neighbours[index] if other in originals), key=lambda copy: rank(copy[0])
        )
        original = next(((other, pair) for other, pair in copies if _conflict(photo, photos[other]) is None), None)
        if original is None:
            conflicts += [(photos[other], photo, _conflict(photo, photos[other]) or "") for other, _ in copies]
            originals.add(index)
        else:
            other, pair = original
            reasons[photo.name] = (
                f"It is a near duplicate of {photos[other].name} (Hamming distance {pair.hamming} of 64 bits, "
                f"correlation {pair.correlation:.3f}), which {_advantage(photos[other], photo)}."
            )
    return reasons, conflicts


def _advantage(original: Photo, photo: Photo) -> str:
    """Return why `original` is kept rather than `photo`."""
    scan = original.scan
    if scan.width * scan.height > photo.scan.width * photo.scan.height:
        return f"is larger: {scan.width} x {scan.height}"
    return "has more labels" if original.label_count > photo.label_count else "is older"


def _conflict(photo: Photo, other: Photo) -> str | None:
    """Return the first column in which two photos of one picture contradict each other; None if they agree."""
    for column in CONFLICTS:
        first, second = (_normalized(row.value(column)) for row in (photo, other))
        if first and second and first != second:
            return column
    if not photo.value("model") and not other.value("model"):
        # "737 NG" and "737 MAX" are not models, but contradict each other; "A320" and "Airbus A320" do not.
        short, long = sorted((_normalized(row.value("aircraft_type")) for row in (photo, other)), key=len)
        if short not in long:
            return "aircraft_type"
    return None


def _normalized(value: str) -> str:
    """Return a value in upper case, without punctuation and spaces."""
    return re.sub(r"[\W_]+", "", value).upper()


def airframe(photos: Sequence[Photo], options: Options) -> Reasons:
    """Cap the photos of each registration."""
    return _cap(photos, options.per_airframe, lambda photo: _normalized(photo.value("registration")), "--per-airframe")


def airline(photos: Sequence[Photo], options: Options) -> Reasons:
    """Cap the photos of each airline."""
    return _cap(photos, options.per_airline, lambda photo: photo.value("airline"), "--per-airline")


def model(photos: Sequence[Photo], options: Options) -> Reasons:
    """Cap the photos of each model."""

    def name(photo: Photo) -> str:
        return f"{photo.value('constructor')} {photo.value('model')}" if photo.value("model") else ""

    return _cap(photos, options.per_model, name, "--per-model")


def _cap(photos: Sequence[Photo], cap: int | None, name: Callable[[Photo], str], option: str) -> Reasons:
    """Drop photos above `cap` of each name; photos without a name are kept.

    Sources are served round robin. Which photos of a source are kept follows from a hash of their ids, so it is the
    same in every run.
    """
    if cap is None:
        return {}
    members: dict[str, dict[str, list[Photo]]] = defaultdict(lambda: defaultdict(list))
    for photo in photos:
        if name(photo):
            members[name(photo)][photo.value("source")].append(photo)
    reasons = {}
    for group, by_source in members.items():
        count = sum(map(len, by_source.values()))
        for photo in list(_round_robin(by_source))[cap:]:
            reasons[photo.name] = f"There are {count} photos of {group}, above {option} {cap}."
    return reasons


def _round_robin(by_source: Mapping[str, Sequence[Photo]]) -> Iterator[Photo]:
    """Yield one photo of each source, then a second one of each, and so on."""
    shuffled = [sorted(photos, key=lambda photo: _hash(photo.name)) for photos in by_source.values()]
    ranks = ((rank, _hash(photo.name), photo) for photos in shuffled for rank, photo in enumerate(photos))
    yield from (photo for _, _, photo in sorted(ranks, key=lambda entry: entry[:2]))


def _hash(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()


# Name and meaning of each rule, in the order in which they are applied.
RULES = {
    "broken": "image missing or incomplete",
    "small": "shorter side below --min-side",
    "aspect-ratio": "above --max-aspect-ratio",
    "placeholder": "placeholder instead of a photo",
    "caption": "cockpit, cabin, detail or model, by its caption",
    "exact-duplicate": "exact copy of a file",
    "near-duplicate": "copy of a picture",
    "airframe": "above --per-airframe",
    "airline": "above --per-airline",
    "model": "above --per-model",
}
Rule = Callable[[Sequence[Photo], Options], Reasons]
SINGLE_PHOTO_RULES: dict[str, Rule] = {
    "broken": broken,
    "small": small,
    "aspect-ratio": aspect_ratio,
    "placeholder": placeholder,
    "caption": caption,
}
CAPS: dict[str, Rule] = {
    "airframe": airframe,
    "airline": airline,
    "model": model,
}
