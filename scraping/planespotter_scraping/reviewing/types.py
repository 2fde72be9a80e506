"""Types that a correction can name, and the short forms by which a page finds them: "738", "B738", "73H", "a20n"."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from planespotter_scraping.labels.iata import IATA_CODES, constructor_of_family
from planespotter_scraping.labels.icao import DESIGNATORS
from planespotter_scraping.reviewing.photos import ReviewPhoto, full_name


@dataclass(frozen=True)
class TypeName:
    """A type.

    Attributes:
        name: Constructor and type, such as "Boeing 737-800".
        keys: Its letters and digits, and its ICAO and IATA codes, in upper case.
        photos: How many of the photos to review are proposed to show it.
    """

    name: str
    keys: tuple[str, ...]
    photos: int


def known_types(photos: Iterable[ReviewPhoto]) -> list[TypeName]:
    """Return the types of the label rules and of the photos, the most frequent first."""
    counts = Counter(full_name(photo.proposal) for photo in photos if photo.proposal)
    keys: defaultdict[str, list[str]] = defaultdict(list)
    for code, (family, models) in DESIGNATORS.items():
        constructor = constructor_of_family(family)
        keys[f"{constructor} {family}"] += []
        for model in models:
            keys[f"{constructor} {model}"].append(code)
    for code, (code_family, code_model) in IATA_CODES.items():
        keys[f"{constructor_of_family(code_family)} {code_model or code_family}"].append(code)
    for name in counts:
        keys[name] += []
    names = sorted(keys, key=lambda name: (-counts[name], name))
    return [
        TypeName(name, tuple(dict.fromkeys((_squash(name), *_tail(name), *keys[name]))), counts[name]) for name in names
    ]


def _squash(name: str) -> str:
    return re.sub(r"[^A-Z0-9]", "", name.upper())


def _tail(name: str) -> tuple[str, ...]:
    """Return the type without its constructor, squashed; nothing if there is only a constructor."""
    match = re.search(r"\S*\d.*", name)
    return (_squash(match[0]),) if match else ()
