"""The rules by which photos are cleaned out of a catalog. Each says in words why it drops a photo; none changes files.

A rule gets photos, with what their rows say and what their images look like, and the options, and returns the photos
that it drops. The photos that a rule gets are those that the rules before it have left.
"""

import hashlib
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from planespotter_scraping.cleaning import captions
from planespotter_scraping.images.similarity import FLAT, SAME_BITS, SAME_DETAIL, Alike, Look

LABELS = ("constructor", "family", "model", "airline", "registration", "photographer", "taken_on", "licence")
CONFLICTS = ("constructor", "family", "model", "registration")  # in which copies of one picture must agree


@dataclass(frozen=True)
class Options:
    """What the rules allow; 0 or None switches a limit off, and `without` whole rules."""

    smallest_side: int = 192  # pixels
    largest_aspect: float = 3.0  # the longer side by the shorter
    smallest_file: int = 2000  # bytes
    placeholder_ids: int = 3  # photos of a source that may share one file
    caption_words: tuple[str, ...] = ()
    near_bits: int = SAME_BITS
    near_detail: float = SAME_DETAIL
    crop_bottom: Mapping[str, int] = field(default_factory=dict)  # rows, by source
    per_airframe: int | None = None
    per_airline: int | None = None
    per_model: int | None = None
    without: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Photo:
    """A photo of a catalog: its row, with the label path, the row's number from 1, and its image's bytes and look."""

    row: Mapping[str, str]
    number: int
    size: int
    look: Look

    @property
    def name(self) -> str:
        """Its photo_id."""
        return self.row["photo_id"]

    def says(self, column: str) -> str:
        """Return the value of a column, "" if there is none."""
        return self.row.get(column, "")

    @property
    def labels(self) -> int:
        """How many of LABELS it has."""
        return sum(self.says(column) != "" for column in LABELS)


Dropped = dict[str, str]  # why, by photo_id
Conflict = tuple[Photo, Photo, str]  # two photos of one picture, and the column in which they do not agree


def broken(photos: Sequence[Photo], options: Options) -> Dropped:
    """Drop photos whose image is missing or is no whole image."""
    return {photo.name: f"Its image cannot be used: {photo.look.broken}." for photo in photos if photo.look.broken}


def small(photos: Sequence[Photo], options: Options) -> Dropped:
    """Drop images whose smaller side is too short to show an aircraft well."""
    sides = {photo.name: min(photo.look.width, photo.look.height) for photo in photos if not photo.look.broken}
    return {
        name: f"Its smaller side has {side} pixels, fewer than {options.smallest_side}."
        for name, side in sides.items()
        if side < options.smallest_side
    }


def shape(photos: Sequence[Photo], options: Options) -> Dropped:
    """Drop panoramas, banners and strips."""
    found = {}
    for photo in photos:
        width, height = photo.look.width, photo.look.height
        if options.largest_aspect and max(width, height) > options.largest_aspect * min(width, height):
            found[photo.name] = (
                f"It is {width} x {height} pixels, and one side is over {options.largest_aspect:g} times the other."
            )
    return found


def placeholder(photos: Sequence[Photo], options: Options) -> Dropped:
    """Drop what stands for a photo: tiny files, pictures of one colour, and files that many photos share."""
    shared = Counter((photo.says("source"), photo.look.sha256) for photo in photos)
    found = {}
    for photo in photos:
        sharing = shared[photo.says("source"), photo.look.sha256]
        if photo.look.broken:
            continue
        if photo.size < options.smallest_file:
            found[photo.name] = f"Its file has {photo.size} bytes, fewer than {options.smallest_file}."
        elif photo.look.contrast < FLAT:
            found[photo.name] = "It is a picture of one colour."
        elif options.placeholder_ids and sharing > options.placeholder_ids:
            source = photo.says("source") or "this catalog"
            found[photo.name] = f"One and the same file stands for {sharing} photos of {source}: a placeholder."
    return found


def caption(photos: Sequence[Photo], options: Options) -> Dropped:
    """Drop photos whose captions say that they show no aircraft from outside."""
    found = {}
    for photo in photos:
        said = captions.against(photo.row, options.caption_words)
        if said is not None:
            found[photo.name] = f"Its {said.column} says {said.words!r}, so it may show {said.shows}."
    return found


def exact(photos: Sequence[Photo], options: Options) -> tuple[Dropped, list[Conflict]]:
    """Drop further copies of a file: the one with the most labels stays, then the oldest."""
    same: dict[str, list[Photo]] = defaultdict(list)
    for photo in sorted(photos, key=lambda photo: (-photo.labels, photo.says("scraped_at") or "~", photo.number)):
        if photo.look.sha256:
            same[photo.look.sha256].append(photo)
    dropped: Dropped = {}
    conflicts: list[Conflict] = []
    for copies in same.values():
        kept: list[Photo] = []
        for photo in copies:
            original = next((other for other in kept if _differ(photo, other) is None), None)
            if original is None:
                conflicts += [(other, photo, _differ(photo, other) or "") for other in kept]
                kept.append(photo)
            else:
                better = "says more" if original.labels > photo.labels else "was there first"
                dropped[photo.name] = f"It is the same file as {original.name}, which {better}."
    return dropped, conflicts


def near(photos: Sequence[Photo], alike: Iterable[Alike]) -> tuple[Dropped, list[Conflict]]:
    """Drop further copies of a picture: the largest stays, then the one with the most labels. `alike` has the pairs."""
    neighbours: dict[int, list[tuple[int, Alike]]] = defaultdict(list)
    for pair in alike:
        neighbours[pair.first].append((pair.second, pair))
        neighbours[pair.second].append((pair.first, pair))

    def rank(index: int) -> tuple[int, int, int]:
        photo = photos[index]
        return -photo.look.width * photo.look.height, -photo.labels, photo.number

    kept: set[int] = set()
    dropped: Dropped = {}
    conflicts: list[Conflict] = []
    for index in sorted(neighbours, key=rank):
        photo = photos[index]
        copies = sorted(((other, pair) for other, pair in neighbours[index] if other in kept), key=lambda o: rank(o[0]))
        original = next(((other, pair) for other, pair in copies if _differ(photo, photos[other]) is None), None)
        if original is None:
            conflicts += [(photos[other], photo, _differ(photo, photos[other]) or "") for other, _ in copies]
            kept.add(index)
        else:
            other, pair = original
            dropped[photo.name] = (
                f"It is a near duplicate of {photos[other].name} ({pair.bits} of 64 bits differ, {pair.detail:.1%} of "
                f"the detail agrees), which {_better(photos[other], photo)}."
            )
    return dropped, conflicts


def _better(kept: Photo, photo: Photo) -> str:
    """Return why `kept` is kept rather than `photo`."""
    look = kept.look
    if look.width * look.height > photo.look.width * photo.look.height:
        return f"is larger: {look.width} x {look.height}"
    return "says more" if kept.labels > photo.labels else "was there first"


def _differ(one: Photo, other: Photo) -> str | None:
    """Return the first column in which two photos of one picture say different things; None if they agree."""
    for column in CONFLICTS:
        first, second = (_plain(photo.says(column)) for photo in (one, other))
        if first and second and first != second:
            return column
    if not one.says("model") and not other.says("model"):
        # "737 NG" and "737 MAX" are no models, and yet differ; "A320" and "Airbus A320" do not.
        short, long = sorted((_plain(photo.says("aircraft_type")) for photo in (one, other)), key=len)
        if short not in long:
            return "aircraft_type"
    return None


def _plain(value: str) -> str:
    """Return a value without what spellings differ in."""
    return re.sub(r"[\W_]+", "", value).upper()


def airframe(photos: Sequence[Photo], options: Options) -> Dropped:
    """Keep so many photos of each registration."""
    return _cap(photos, options.per_airframe, lambda photo: _plain(photo.says("registration")), "--per-airframe")


def airline(photos: Sequence[Photo], options: Options) -> Dropped:
    """Keep so many photos of each airline."""
    return _cap(photos, options.per_airline, lambda photo: photo.says("airline"), "--per-airline")


def model(photos: Sequence[Photo], options: Options) -> Dropped:
    """Keep so many photos of each model."""

    def name(photo: Photo) -> str:
        return f"{photo.says('constructor')} {photo.says('model')}" if photo.says("model") else ""

    return _cap(photos, options.per_model, name, "--per-model")


def _cap(photos: Sequence[Photo], most: int | None, name: Callable[[Photo], str], option: str) -> Dropped:
    """Keep at most `most` photos of each name; those without a name stay.

    The sources take turns, and which photos of a source stay is drawn from their ids: always the same ones.
    """
    if most is None:
        return {}
    members: dict[str, dict[str, list[Photo]]] = defaultdict(lambda: defaultdict(list))
    for photo in photos:
        if name(photo):
            members[name(photo)][photo.says("source")].append(photo)
    dropped = {}
    for who, by_source in members.items():
        count = sum(map(len, by_source.values()))
        for photo in list(_in_turns(by_source))[most:]:
            dropped[photo.name] = f"There are {count} photos of {who}, and {option} keeps {most} of them."
    return dropped


def _in_turns(by_source: Mapping[str, Sequence[Photo]]) -> Iterator[Photo]:
    """Yield one photo of each source, then another of each, and so on."""
    drawn = [sorted(some, key=lambda photo: _draw(photo.name)) for some in by_source.values()]
    turns = ((turn, _draw(photo.name), photo) for some in drawn for turn, photo in enumerate(some))
    yield from (photo for _, _, photo in sorted(turns, key=lambda entry: entry[:2]))


def _draw(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()


# What each rule is about, in the order in which they are applied.
RULES = {
    "broken": "image missing or broken",
    "small": "image too small",
    "shape": "image too long or too high",
    "placeholder": "placeholder for a photo",
    "caption": "no aircraft from outside, by its caption",
    "exact": "exact copy",
    "near": "near duplicate",
    "airframe": "over --per-airframe",
    "airline": "over --per-airline",
    "model": "over --per-model",
}
ALONE: dict[str, Callable[[Sequence[Photo], Options], Dropped]] = {
    "broken": broken,
    "small": small,
    "shape": shape,
    "placeholder": placeholder,
    "caption": caption,
}
CAPS: dict[str, Callable[[Sequence[Photo], Options], Dropped]] = {
    "airframe": airframe,
    "airline": airline,
    "model": model,
}
