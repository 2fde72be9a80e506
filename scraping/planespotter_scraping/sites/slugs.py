"""Read the last part of a photo's address, which often says once more what the photo's card says.

Such a slug has everything in small letters and one dash for every kind of gap:
<registration>-<airline>-<constructor>-<type>, any of which may be missing. Where one ends and the next begins is
told by the names of the constructors, and by how registrations are made.
"""

import re
import unicodedata
from collections.abc import Iterable

# As they are written in labels. A name within a longer one (Douglas in McDonnell Douglas) does no harm.
CONSTRUCTORS = (
    "Aerospatiale",
    "Aerospatiale-BAC",
    "Airbus",
    "Airbus Helicopters",
    "Airbus Industrie",
    "Airspeed",
    "Antonov",
    "ATR",
    "Avro",
    "BAC",
    "Beechcraft",
    "Beriev",
    "Boeing",
    "Bombardier",
    "British Aerospace",
    "Britten-Norman",
    "CASA",
    "Canadair",
    "Cessna",
    "Cirrus",
    "COMAC",
    "Convair",
    "Dassault",
    "De Havilland",
    "De Havilland Canada",
    "Dornier",
    "Douglas",
    "Eclipse",
    "Embraer",
    "Eurocopter",
    "Fairchild",
    "Fairchild Dornier",
    "Fokker",
    "Gulfstream",
    "Hawker Beechcraft",
    "Hawker Siddeley",
    "Honda",
    "Ilyushin",
    "Irkut",
    "Learjet",
    "Let",
    "Lockheed",
    "Lockheed Martin",
    "McDonnell Douglas",
    "Mitsubishi",
    "NAMC",
    "Northrop Grumman",
    "Pilatus",
    "Piper",
    "Raytheon",
    "Saab",
    "Saab-Scania",
    "Shorts",
    "Sud Aviation",
    "Sukhoi",
    "Tupolev",
    "Vickers",
    "Xian",
    "Yakovlev",
)

# Registrations that are written without a dash, as in the United States, Japan, Korea, Uzbekistan and Venezuela.
WITHOUT_DASH = re.compile(r"n[1-9]\d{0,4}[a-z]{0,2}|(?=.*\d)[a-z0-9]{4,8}")
# The nationality mark of the others: letters and at most one digit, or the year of a military serial number.
MARK = re.compile(r"[a-z]{1,2}|\d[a-z]|[a-z]\d|a\d?[a-z]|\d\d")
BEHIND_MARK = re.compile(r"[a-z0-9]{2,5}")


def squash(text: str) -> str:
    """Return the letters and digits of `text` alone, small and without accents: what a label and a slug share."""
    plain = unicodedata.normalize("NFKD", text).casefold()
    return "".join(letter for letter in plain if letter.isalnum())


def read_slug(slug: str, constructors: Iterable[str], registration: str = "", airline: str = "") -> dict[str, str]:
    """Return registration, airline, constructor and aircraft_type as `slug` says them, "" for what it does not tell.

    The constructor comes in its spelling in `constructors`; the others, whose spelling the slug has lost, in
    capitals (an airline with capital initials). `registration` and `airline` are what is known from elsewhere:
    they only decide where the one ends and the other begins, and only if the slug has them. Any text is accepted.
    """
    parts = [part for part in slug.casefold().split("-") if squash(part)]
    names = {tuple(squash(word) for word in re.split(r"[\s-]+", name) if squash(word)): name for name in constructors}
    begin, end, constructor = _find_constructor([squash(part) for part in parts], names)
    if not constructor:
        return {"registration": "", "airline": "", "constructor": "", "aircraft_type": ""}
    head = parts[:begin]
    cut = _end_of_registration(head, squash(registration), squash(airline))
    return {
        "registration": "-".join(head[:cut]).upper(),
        "airline": " ".join(word.capitalize() for word in head[cut:]),
        "constructor": constructor,
        "aircraft_type": "-".join(parts[end:]).upper(),
    }


def _find_constructor(parts: list[str], names: dict[tuple[str, ...], str]) -> tuple[int, int, str]:
    """Return where the constructor's name begins and ends, and the name; "" if there is none.

    An airline may be called after a constructor, so the last name that has a type behind it counts.
    """
    found = (0, 0, "")
    longest = max(map(len, names), default=0)
    place = 0
    while place < len(parts):
        for length in range(min(longest, len(parts) - place), 0, -1):
            name = names.get(tuple(parts[place : place + length]))
            if name is not None:
                if place + length < len(parts) or not found[2]:
                    found = (place, place + length, name)
                place += length - 1
                break
        place += 1
    return found


def _end_of_registration(head: list[str], registration: str, airline: str) -> int:
    """Return how many parts of `head` are the registration; the rest is the airline."""
    cuts = range(len(head) + 1)
    if registration:
        for cut in cuts[1:]:
            if "".join(map(squash, head[:cut])) == registration:
                return cut
    if airline:
        for cut in cuts[:-1]:
            if "".join(map(squash, head[cut:])) == airline:
                return cut
    if head and WITHOUT_DASH.fullmatch(head[0]):
        return 1
    if len(head) > 1 and MARK.fullmatch(head[0]) and BEHIND_MARK.fullmatch(head[1]):
        return 2
    return 0
