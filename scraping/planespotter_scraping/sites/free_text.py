"""Free-text parser: aircraft, registrations and airlines in titles of files and names of categories.

Such a text has no markup. So each function here recognizes a form that hardly anything else has: a constructor's name
before a type, a nationality mark with the right number of letters, "<type> of <airline>". All other text is ignored.
"""

import re
from collections.abc import Iterable
from typing import NamedTuple

from planespotter_scraping.labels.airframes import AIRLINE_WORD, REGISTRATION, is_airline_name, normalize_dashes
from planespotter_scraping.labels.constructors import CONSTRUCTORS
from planespotter_scraping.labels.parser import LabelPath, infer_constructor, is_known_constructor, parse_label
from planespotter_scraping.sites.slugs import squash


class Aircraft(NamedTuple):
    """A type in a text: in its spelling there, and its path in the label tree."""

    constructor: str
    aircraft_type: str
    path: LabelPath

    @property
    def depth(self) -> int:
        """Number of known levels of the path."""
        return sum(map(bool, self.path))

    def contains(self, other: "Aircraft") -> bool:
        """Return whether `other` has the same path or one below it."""
        return self.path[: self.depth] == other.path[: self.depth]


CONSTRUCTOR_NAMES = "|".join(
    r"[\s-]+".join(map(re.escape, name.split())) for name in sorted(CONSTRUCTORS, key=len, reverse=True)
)
CONSTRUCTOR = re.compile(rf"(?<![\w-])({CONSTRUCTOR_NAMES})(?:[\s-]+|(?=[A-Z]*\d))", re.IGNORECASE)
# A type contains a number, or is one of a few names. The separate words that may follow it are listed.
MARK = r"(?:\([A-Z][A-Z0-9]{0,4}\))*"
NUMBER = rf"(?:[A-Za-z]{{1,4}}-?)?\d[\w/+-]*{MARK}"
SUFFIX = (
    r"(?:[ -](?:(?:MAX|Max)(?:[ -]?(?:10|[789]))?(?:-?200)?|[Nn]eo|NEO|[Cc]eo|CEO|ER|LR|XLR|ULR|SP|SR|ST|XL|ERF|F|NG|"
    r"Freighter|BCF|BDSF|SF|P2F|MRTT|XWB|Combi|BBJ\d?|Dreamliner|Dreamlifter|Wedgetail|Advanced|Prestige|"
    r"[1-9]00(?:ER|LR|F)?)(?![\w-]))*"
)
TYPE = re.compile(rf"(?:{NUMBER}|Beluga|BelugaXL|Dreamlifter)(?!\w){SUFFIX}")
# Without a constructor's name: only numbers that can hardly be anything else.
BARE_TYPE = re.compile(
    rf"(?<![\w(#-])(?:A(?:220|3[0-8]\d)|B?7[0-8]7)(?:-\w+{MARK})?(?![\w)]){SUFFIX}|(?<![\w-])[AB][1-9]\w\w(?!\w)"
)

TYPE_OF_AIRLINE = re.compile(r"(.+?) of (?:the )?((?:[A-Z0-9]|[a-z]+[A-Z]).*?)(?: (?:by|in|at|on|with|over) .*)?")
AIRCRAFT_WORDS = ("aircraft", "airliners", "airplanes", "aeroplanes", "fleet")
AIRCRAFT_KIND = re.compile(
    r".*(?:ing|ed|body|craft)|(?:.* )?(?:civil|military|jet|cargo|passenger|commercial|government|presidential|"
    r"transport|vip|freight|regional|private|low-cost|turboprop|old|new|historic|airbus|boeing|atr)",
    re.IGNORECASE,
)
PHOTO_CODE = re.compile(r"\s+[A-Z]{2,3}\d{4,}$")  # of a photo library, after the name


def aircraft_in(text: str, *, bare: bool = False) -> list[Aircraft]:
    """Return the types in a text that follow a constructor's name.

    Of "Airbus A320" and "Airbus A320-214", only the latter is returned.

    Args:
        text: The text.
        bare: Whether to return types without a constructor's name if there are no others.
    """
    text = normalize_dashes(text)
    aircraft: list[Aircraft] = []
    for named in CONSTRUCTOR.finditer(text):
        written = TYPE.match(text, named.end())
        if written is not None and not REGISTRATION.fullmatch(written[0]):
            name = next(name for name in CONSTRUCTORS if squash(name) == squash(named[1]))
            is_family = written[0] == "A320" and re.match(r"[ -](?:family|Family|series)", text[written.end() :])
            aircraft += _aircraft(name, written[0], only_constructor=bool(is_family))
    if bare and not aircraft:
        for written in BARE_TYPE.finditer(text):
            aircraft += _aircraft(infer_constructor(written[0]), written[0])
    return deepest(aircraft)


def _aircraft(constructor: str, written: str, *, only_constructor: bool = False) -> list[Aircraft]:
    """Return the aircraft of a constructor's type as a list, an empty one if the constructor has no such type."""
    written = written.rstrip("-/+")
    label = parse_label(constructor, written)
    if not constructor or (is_known_constructor(constructor) and not (label.path.family or label.icao or label.roles)):
        return []
    if only_constructor:  # the A320 family is the A318 to the A321
        return [Aircraft(constructor, "", LabelPath(label.path.constructor))]
    return [Aircraft(constructor, written, label.path)]


def deepest(aircraft: Iterable[Aircraft]) -> list[Aircraft]:
    """Return the aircraft that contain no other one, one per path, sorted."""
    by_path: dict[LabelPath, Aircraft] = {}
    for item in sorted(set(aircraft), key=lambda item: (len(item.aircraft_type), item)):
        by_path[item.path] = item  # the longer spelling has the certified number
    unique = sorted(by_path.values(), key=lambda item: (item.constructor, item.aircraft_type))
    return [item for item in unique if not any(item.contains(other) for other in unique if other is not item)]


def common_ancestor(aircraft: Iterable[Aircraft]) -> Aircraft:
    """Return the common family or constructor of all `aircraft`; empty without one."""
    levels: list[str] = []
    for names in zip(*(item.path for item in aircraft), strict=True):
        if len(set(names)) > 1 or not names[0]:
            break
        levels.append(names[0])
    constructor, family = (*levels, "", "")[:2]
    return Aircraft(constructor, family, LabelPath(constructor, family or None))


def airline_of_category(category: str) -> tuple[str, bool]:
    """Return the airline in the name of a category, and whether it is certain.

    It is certain in "Boeing 737-800 of Ryanair". It is not in "Aircraft of Ryanair" and "Ryanair aircraft", which have
    the form of "Aircraft of Ireland" and "Rusty aircraft". The airline is "" without a match.
    """
    category = normalize_dashes(category)
    named = TYPE_OF_AIRLINE.fullmatch(category)
    if named is not None and not named[2].isdecimal():
        if aircraft_in(named[1]) or named[1].endswith(" family"):
            return named[2].strip(), True
        if named[1].lower().endswith(AIRCRAFT_WORDS):
            return named[2].strip(), False
    name, _, last = category.rpartition(" ")
    if last in AIRCRAFT_WORDS:
        return ("", False) if AIRCRAFT_KIND.fullmatch(name) or aircraft_in(category) else (name, False)
    return (category, False) if AIRLINE_WORD.search(category) and is_airline_name(category) else ("", False)


def text_before_type(title: str) -> str:
    """Return the part of a title before the type, where the airline often is; all of it without a type."""
    title = normalize_dashes(title)
    types = [named for named in CONSTRUCTOR.finditer(title) if TYPE.match(title, named.end())] or [
        *BARE_TYPE.finditer(title)
    ]
    return title[: types[0].start()] if types else title


def airline_of_title(title: str) -> str:
    """Return the airline in a title with separate parts, such as "Lufthansa, Airbus A320-214, D-AIQT".

    The part before the type counts if a registration shows that the title has this form, or if it sounds like an
    airline. The part after the type counts if it sounds like an airline or ends with the code of a photo library. ""
    without one.
    """
    pieces = [
        piece.strip() for piece in re.split(r"[,;]|\s[-\u2013]\s", re.sub(r"\([^)]*\)", " ", normalize_dashes(title)))
    ]
    types = [position for position, piece in enumerate(pieces) if aircraft_in(piece, bare=True)]
    if len(types) != 1:
        return ""
    position = types[0]
    has_registration = any(REGISTRATION.fullmatch(piece) for piece in pieces)
    names = [piece for piece in pieces[:position] if not REGISTRATION.fullmatch(piece)]
    if len(names) == 1 and is_airline_name(names[0]) and (has_registration or AIRLINE_WORD.search(names[0])):
        return names[0]
    if not names and position + 1 < len(pieces):
        name = PHOTO_CODE.sub("", pieces[position + 1])
        if is_airline_name(name) and (name != pieces[position + 1] or AIRLINE_WORD.search(name)):
            return name
    return ""
