"""Slug parser: labels from the last segment of a photo's URL, which often repeats those of its card.

A slug is lower case, with one dash for any separator: <registration>-<airline>-<constructor>-<type>. Any part may be
missing. The names of constructors and the formats of registrations show where one part ends and the next one starts.
"""

import re
import unicodedata
from collections.abc import Iterable

# Registrations without a dash, as in the United States, Japan, Korea, Uzbekistan and Venezuela.
WITHOUT_DASH = re.compile(r"n[1-9]\d{0,4}[a-z]{0,2}|(?=.*\d)[a-z0-9]{4,8}")
# Nationality marks of other countries: letters and at most one digit, or the year of a military serial number.
MARK = re.compile(r"[a-z]{1,2}|\d[a-z]|[a-z]\d|a\d?[a-z]|\d\d")
AFTER_MARK = re.compile(r"[a-z0-9]{2,5}")


def squash(text: str) -> str:
    """Reduce `text` to lower-case letters and digits without accents: what a label and its slug have in common."""
    plain = unicodedata.normalize("NFKD", text).casefold()
    return "".join(letter for letter in plain if letter.isalnum())


def parse_slug(slug: str, constructors: Iterable[str], registration: str = "", airline: str = "") -> dict[str, str]:
    """Parse a slug.

    Args:
        slug: The slug. Any text is accepted.
        constructors: Names of constructors, in the spelling of the labels.
        registration: Registration of the photo if known, to locate the boundary between registration and airline.
        airline: Airline of the photo if known, for the same purpose.

    Returns:
        `registration`, `airline`, `constructor` and `aircraft_type`, "" for missing ones. The constructor has its
        spelling in `constructors`; the others, whose spelling is lost in the slug, are upper case, airlines title case.
    """
    parts = [part for part in slug.casefold().split("-") if squash(part)]
    names = {tuple(squash(word) for word in re.split(r"[\s-]+", name) if squash(word)): name for name in constructors}
    start, end, constructor = _find_constructor([squash(part) for part in parts], names)
    if not constructor:
        return {"registration": "", "airline": "", "constructor": "", "aircraft_type": ""}
    head = parts[:start]
    cut = _registration_length(head, squash(registration), squash(airline))
    return {
        "registration": "-".join(head[:cut]).upper(),
        "airline": " ".join(word.capitalize() for word in head[cut:]),
        "constructor": constructor,
        "aircraft_type": "-".join(parts[end:]).upper(),
    }


def _find_constructor(parts: list[str], names: dict[tuple[str, ...], str]) -> tuple[int, int, str]:
    """Return the start and end of the constructor's name, and the name; "" without one.

    An airline may be named after a constructor, so the last name that precedes a type counts.
    """
    match = (0, 0, "")
    longest = max(map(len, names), default=0)
    position = 0
    while position < len(parts):
        for length in range(min(longest, len(parts) - position), 0, -1):
            name = names.get(tuple(parts[position : position + length]))
            if name is not None:
                if position + length < len(parts) or not match[2]:
                    match = (position, position + length, name)
                position += length - 1
                break
        position += 1
    return match


def _registration_length(head: list[str], registration: str, airline: str) -> int:
    """Return the number of parts of `head` that are the registration; the rest is the airline."""
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
    if len(head) > 1 and MARK.fullmatch(head[0]) and AFTER_MARK.fullmatch(head[1]):
        return 2
    return 0
