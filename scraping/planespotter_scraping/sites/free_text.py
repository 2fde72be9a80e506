"""Read what free text, such as the title of a file or the name of a category, says of an aircraft.

Nothing in such a text is marked, so each reader here knows a form that hardly anything else has: a constructor's name
with a type behind it, a nationality mark with the right number of letters, "<type> of <airline>". What has no such
form is not read.
"""

import re
from collections.abc import Iterable
from typing import NamedTuple

from planespotter_scraping.labels.parser import LabelPath, infer_constructor, is_known_constructor, parse_label
from planespotter_scraping.sites.slugs import CONSTRUCTORS, squash


class Aircraft(NamedTuple):
    """A type that a text names: as it is written there, and its place in the label tree."""

    constructor: str
    aircraft_type: str
    path: LabelPath

    @property
    def depth(self) -> int:
        """How many levels of the tree are known."""
        return sum(map(bool, self.path))

    def holds(self, other: "Aircraft") -> bool:
        """Return whether `other` is in the same place of the tree or in a place below it."""
        return self.path[: self.depth] == other.path[: self.depth]


NAMES = "|".join(r"[\s-]+".join(map(re.escape, name.split())) for name in sorted(CONSTRUCTORS, key=len, reverse=True))
MAKER = re.compile(rf"(?<![\w-])({NAMES})(?:[\s-]+|(?=[A-Z]*\d))", re.IGNORECASE)
# A type has a number in it, or is one of a few names. What may stand behind, apart, is listed.
MARK = r"(?:\([A-Z][A-Z0-9]{0,4}\))*"
NUMBER = rf"(?:[A-Za-z]{{1,4}}-?)?\d[\w/+-]*{MARK}"
BEHIND = (
    r"(?:[ -](?:(?:MAX|Max)(?:[ -]?(?:10|[789]))?(?:-?200)?|[Nn]eo|NEO|[Cc]eo|CEO|ER|LR|XLR|ULR|SP|SR|ST|XL|ERF|F|NG|"
    r"Freighter|BCF|BDSF|SF|P2F|MRTT|XWB|Combi|BBJ\d?|Dreamliner|Dreamlifter|Wedgetail|Advanced|Prestige|"
    r"[1-9]00(?:ER|LR|F)?)(?![\w-]))*"
)
TYPE = re.compile(rf"(?:{NUMBER}|Beluga|BelugaXL|Dreamlifter)(?!\w){BEHIND}")
# Without a constructor's name only numbers that can hardly be anything else.
NAKED = re.compile(
    rf"(?<![\w(#-])(?:A(?:220|3[0-8]\d)|B?7[0-8]7)(?:-\w+{MARK})?(?![\w)]){BEHIND}|(?<![\w-])[AB][1-9]\w\w(?!\w)"
)

LETTERS = "[A-Z]{3}"
# Nationality marks and what follows them, where that is not three letters behind a dash.
MARKS = {
    "2": "[A-Z]{4}",
    "4K": r"[A-Z]{3}|AZ\d{2,3}|\d{5}",
    "A4O": "[A-Z]{2}",
    "A9C": "[A-Z]{2}",
    "B": r"\d{4,5}|\d{3}[A-Z]|\d{2}[A-Z]{2}|[A-Z]{3}",
    "C": "[FGI][A-Z]{3}",
    "CU": r"[A-Z]\d{3,4}",
    "D": "[A-Z]{4}",
    "EK": r"\d{5}",
    "EW": r"\d{3}[A-Z]{2}|\d{5}",
    "EX": r"\d{3}|\d{5}",
    "EY": r"\d{3}|\d{5}",
    "EZ": r"[A-Z]\d{3}",
    "F": "[A-Z]{4}",
    "G": "[A-Z]{4}",
    "HK": r"\d{4}[A-Z]?",
    "HP": r"\d{4}[A-Z]{3}",
    "I": "[A-Z]{4}",
    "M": "[A-Z]{4}",
    "OB": r"\d{4}",
    "P": r"\d{3}",
    "RA": r"\d{5}",
    "RDPL": r"\d{5}",
    "RP": r"C\d{3,4}",
    "UP": r"[A-Z]{1,2}\d{3,4}",
    "VN": r"[A-C]\d{3}",
    "XU": r"[A-Z]{3}|\d{3}",
    "Z": LETTERS,
}
THREE_LETTERS = (
    "3A 3B 3C 3D 3X 4L 4O 4R 4W 4X 5A 5B 5H 5N 5R 5T 5U 5V 5W 5X 5Y 6O 6V 6Y 7O 7P 7Q 7T 8P 8Q 8R 9A 9G 9H 9J 9K 9L "
    "9M 9N 9Q 9S 9U 9V 9XR 9Y A2 A3 A5 A6 A7 A8 AP C2 C3 C5 C6 C9 CC CN CP CS CX D2 D4 D6 DQ E3 E5 E7 EC EI EJ EL "
    "EP ER ES ET H4 HA HB HC HH HR HS HZ J2 J3 J5 J6 J7 J8 JU JY LN LV LX LY LZ OD OE OH OK OM OO OY P2 P4 PH PJ PK "
    "PP PR PS PT PU PZ S2 S5 S7 S9 SE SP ST SU SX T7 TC TF TG TI TJ TL TN TR TS TT TU TY TZ UR V2 V3 V4 V5 V6 V7 V8 "
    "VH VP VQ VT XA XB XC XT XW XY YA YI YJ YK YL YN YR YS YU Z3 ZA ZK ZP ZS ZT ZU"
)
WITHOUT_DASH = (
    r"N[1-9]\d{2,4}|N[1-9]\d{1,3}[A-HJ-NP-Z]|N[1-9]\d{0,2}[A-HJ-NP-Z]{2}|JA\d{3,4}[A-Z]?|JA\d{2}[A-Z]{2}|HL\d{4}|"
    r"UK\d{5}|YV\d{3,4}T?|HI\d{3,4}"
)
REGISTRATION = re.compile(
    r"(?<![A-Za-z0-9-])(?:"
    + "|".join(f"{mark}-(?:{rest})" for mark, rest in MARKS.items())
    + f"|(?:{'|'.join(THREE_LETTERS.split())})-{LETTERS}|{WITHOUT_DASH})(?![A-Za-z0-9-])"
)

OPERATED = re.compile(r"(.+?) of (?:the )?((?:[A-Z0-9]|[a-z]+[A-Z]).*?)(?: (?:by|in|at|on|with|over) .*)?")
AIRCRAFT_WORDS = ("aircraft", "airliners", "airplanes", "aeroplanes", "fleet")
AIRLINE_WORD = re.compile(
    r"\b(?:air|airlines?|airways|aero\w*|aviation|avia|lines|líneas|jet|cargo|express|fly|wings)\b|(?:air|jet|avia)\b",
    re.IGNORECASE,
)
KIND_OF_AIRCRAFT = re.compile(
    r".*(?:ing|ed|body|craft)|(?:.* )?(?:civil|military|jet|cargo|passenger|commercial|government|presidential|"
    r"transport|vip|freight|regional|private|low-cost|turboprop|old|new|historic|airbus|boeing|atr)",
    re.IGNORECASE,
)
PHOTO_CODE = re.compile(r"\s+[A-Z]{2,3}\d{4,}$")  # of a photo library, behind the name


def aircraft_in(text: str, *, naked: bool = False) -> list[Aircraft]:
    """Return the types that `text` names behind a constructor; `naked`: else those that it names without one.

    The longer ones stand for the shorter ones: of "Airbus A320" and "Airbus A320-214" the latter is returned.
    """
    text = _plain(text)
    found = []
    for named in MAKER.finditer(text):
        written = TYPE.match(text, named.end())
        if written is not None and not REGISTRATION.fullmatch(written[0]):
            name = next(name for name in CONSTRUCTORS if squash(name) == squash(named[1]))
            family_of_four = written[0] == "A320" and re.match(r"[ -](?:family|Family|series)", text[written.end() :])
            found += _aircraft(name, written[0], only_constructor=bool(family_of_four))
    if naked and not found:
        for written in NAKED.finditer(text):
            found += _aircraft(infer_constructor(written[0]), written[0])
    return deepest(found)


def _aircraft(constructor: str, written: str, *, only_constructor: bool = False) -> list[Aircraft]:
    """Return the aircraft of a constructor that is written so, in a list; an empty one if it is no type of theirs."""
    written = written.rstrip("-/+")
    read = parse_label(constructor, written)
    if not constructor or (is_known_constructor(constructor) and not (read.path.family or read.icao or read.roles)):
        return []
    if only_constructor:  # the A320 family is the A318 to the A321
        return [Aircraft(constructor, "", LabelPath(read.path.constructor))]
    return [Aircraft(constructor, written, read.path)]


def deepest(aircraft: Iterable[Aircraft]) -> list[Aircraft]:
    """Return those that are not said more exactly by another one, each place in the tree once, in a fixed order."""
    by_path: dict[LabelPath, Aircraft] = {}
    for one in sorted(set(aircraft), key=lambda one: (len(one.aircraft_type), one)):
        by_path[one.path] = one  # the longer spelling has the certified number
    found = sorted(by_path.values(), key=lambda one: (one.constructor, one.aircraft_type))
    return [one for one in found if not any(one.holds(other) for other in found if other is not one)]


def shared(aircraft: Iterable[Aircraft]) -> Aircraft:
    """Return what is true of all of `aircraft`: their common family, constructor, or nothing."""
    levels: list[str] = []
    for names in zip(*(one.path for one in aircraft), strict=True):
        if len(set(names)) > 1 or not names[0]:
            break
        levels.append(names[0])
    constructor, family = (*levels, "", "")[:2]
    return Aircraft(constructor, family, LabelPath(constructor, family or None))


def registrations_in(text: str) -> set[str]:
    """Return the registrations in `text`."""
    return set(REGISTRATION.findall(_plain(text)))


def operator_of(category: str) -> tuple[str, bool]:
    """Return the airline that a category such as "Boeing 737-800 of Ryanair" is about, and whether that is sure.

    It is not in "Aircraft of Ireland" and "Rusty aircraft", whose form is that of "Aircraft of Ryanair" and "Ryanair
    aircraft". "" if there is none.
    """
    category = _plain(category)
    named = OPERATED.fullmatch(category)
    if named is not None and not named[2].isdecimal():
        if aircraft_in(named[1]) or named[1].endswith(" family"):
            return named[2].strip(), True
        if named[1].lower().endswith(AIRCRAFT_WORDS):
            return named[2].strip(), False
    name, _, last = category.rpartition(" ")
    if last in AIRCRAFT_WORDS:
        return ("", False) if KIND_OF_AIRCRAFT.fullmatch(name) or aircraft_in(category) else (name, False)
    return (category, False) if AIRLINE_WORD.search(category) and _is_name(category) else ("", False)


def ahead_of_type(title: str) -> str:
    """Return what stands in a title in front of the type, where the airline often is; all of it if it has no type."""
    title = _plain(title)
    found = [named for named in MAKER.finditer(title) if TYPE.match(title, named.end())] or [*NAKED.finditer(title)]
    return title[: found[0].start()] if found else title


def operator_in(title: str) -> str:
    """Return the airline in a title such as "Lufthansa, Airbus A320-214, D-AIQT" in which it has a part of its own.

    What stands before the type is taken where a registration shows that the title has this form, and what stands
    around it where it sounds like an airline or is followed by the code of a photo library. "" if there is none.
    """
    pieces = [piece.strip() for piece in re.split(r"[,;]|\s[-\u2013]\s", re.sub(r"\([^)]*\)", " ", _plain(title)))]
    types = [place for place, piece in enumerate(pieces) if aircraft_in(piece, naked=True)]
    if len(types) != 1:
        return ""
    place = types[0]
    spotters_form = any(REGISTRATION.fullmatch(piece) for piece in pieces)
    names = [piece for piece in pieces[:place] if not REGISTRATION.fullmatch(piece)]
    if len(names) == 1 and _is_name(names[0]) and (spotters_form or AIRLINE_WORD.search(names[0])):
        return names[0]
    if not names and place + 1 < len(pieces):
        behind = PHOTO_CODE.sub("", pieces[place + 1])
        if _is_name(behind) and (behind != pieces[place + 1] or AIRLINE_WORD.search(behind)):
            return behind
    return ""


def _is_name(text: str) -> bool:
    """Return whether `text` can be the name of an airline: a few words, none of them a number or a place."""
    words = text.split()
    places = re.compile(
        r"air ?port|flughafen|aeropuerto|aeroporto|a[eé]roport|runway|museum|air ?shows?", re.IGNORECASE
    )
    return 0 < len(words) <= 5 and words[0][0].isalnum() and not text.isdecimal() and not places.search(text)


def _plain(text: str) -> str:
    """Return `text` with plain dashes and single spaces."""
    return " ".join(re.sub(r"[\u2010-\u2012\u2212]", "-", text).replace("_", " ").split())
