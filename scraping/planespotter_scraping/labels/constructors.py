"""Constructors: their names in any spelling, and the reserved value for a picture that shows no aircraft.

Several constructors under one roof stay separate: Airbus Helicopters is not Airbus, and a McDonnell Douglas MD-83 is
not a Boeing, although Boeing owns its designer.
"""

import difflib
import re
from collections.abc import Collection
from typing import NamedTuple

from planespotter_scraping.labels.normalization import normalize

# Value of the column `constructor` of a picture without an aircraft; such a label has no family and no model.
NO_AIRCRAFT = "No aircraft"
_NO_AIRCRAFT = re.compile(
    r"(?:no|without|not an?)[\s_-]*(?:air[\s_-]?crafts?|(?:air|aero)?-?planes?|airliners?)|none", re.IGNORECASE
)

# In the spelling of the labels. A name inside a longer one (Douglas in McDonnell Douglas) does no harm.
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
# Constructors with rules for their types, or whose types another one took over.
WITH_RULES = ("Airbus", "Boeing", "ATR", "Bombardier")

# Words that registers and registries of aircraft append to a name: "Boeing Commercial Airplane Group".
_COMPANY = (
    r"(?:[ ,]+\(?(?:THE|COMPANY|CO|CORP|CORPORATION|INC|INCORPORATED|LTD|LIMITED|LLC|LP|L\.P|PARTNERSHIP|PTNRS\w*|"
    r"S\.?A\.?S|G\.?I\.?E|GMBH|AG|S\.?A|INDUSTRIES?|GROUP|AIRCRAFT|AIRPLANES?|AEROPLANES?|COMMERCIAL|OPERATIONS|AEROSPACE|"
    r"AVIATION|DEFEN[CS]E|SPACE|MILITARY|CANADA|AND|&)(?![A-Z0-9])\.?\)?)*"
)
# Separate constructors whose name includes that of another one.
_SEPARATE = (
    (r"AIRBUS[ -]HELICOPTERS?", "Airbus Helicopters"),
    (r"BOEING[ -]VERTOL", "Boeing Vertol"),
    (r"BELL[ /-]+BOEING", "Bell Boeing"),
    (r"BOEING[ -]SIKORSKY", "Boeing-Sikorsky"),
    (r"(?:THE )?BOEING (?:OF )?CANADA\W+DE ?HAV[A-Z]*(?: DIV[A-Z]*)?", "De Havilland Canada"),
)
_MAIN = (
    r"(?:THE )?(?:(?P<Airbus>AIR[ -]?BUS|C[ -]SERIES AIRCRAFT)|(?P<Boeing>BOEING)|(?P<ATR>ATR)|"
    r"(?P<Bombardier>BOMBARDIER))"
)
_SEPARATE_NAMES = "|".join(f"(?:{pattern})" for pattern, _ in _SEPARATE)
_STATED = re.compile(rf"(?<![A-Z0-9])(?:(?P<separate>{_SEPARATE_NAMES})|{_MAIN})(?![A-Z]){_COMPANY}[ ,:()-]*")
_OTHER = {
    " ".join(re.split(r"[ -]", name.upper())): name
    for name in CONSTRUCTORS
    if name not in (*WITH_RULES, "Airbus Industrie", "Airbus Helicopters")
}
_WORDS = r"(?:LET|SHORTS|ECLIPSE)(?!\W+[A-Z]{0,3}-?\d)"  # names that are words, unless a type follows
_OTHER_NAMES = "|".join(name.replace(" ", "[ -]") for name in sorted(_OTHER, key=len, reverse=True))
_OTHER_STATED = re.compile(rf"(?!{_WORDS})({_OTHER_NAMES})(?![A-Z])(?! *[/&])[ ,:()-]*")
# Types of other constructors, which sites also file under the name of the company that took them over.
_OTHER_TYPES = tuple(
    (re.compile(rf"(?<![A-Z0-9-])(?:{pattern})(?![A-Z0-9])"), name)
    for pattern, name in (
        (
            r"MD[ -]?(?:10|11(?:F|CF|C|ER|BCF)?|8[0-378](?:SF)?|90(?:-?30(?:ER)?)?)|DC[ -]?(?:9|10)(?:-[0-9A-Z]+|F)?",
            "McDonnell Douglas",
        ),
        (r"DC[ -]?[1-8][A-Z]{0,2}(?:-[0-9A-Z]+)?", "Douglas"),
        (
            r"H-?1(?:20|25|30|35|45|55|60|75)M?|H-?2(?:15|25)M?|EC-?(?:120|130|135|145|155|175|225|635|645|725)[A-Z]*\d*|"
            r"AS-?(?:332|350|355|365|532|550|555|565)[A-Z]*\d*|BK-?117|SA-?3[134][0-9][A-Z]?|UH-72[A-Z]?|NH-?90",
            "Airbus Helicopters",
        ),
        (r"DHC-?[1-8](?:-[0-9A-Z]+)?|DASH 8", "De Havilland Canada"),
        (
            r"EMB[ -]?1\d\d[A-Z]*|ERJ[ -]?1[34679]\d[A-Z]*|E-?(?:170|175|190|195)(?:-?E2)?(?:LR|AR|STD)?|E-JETS?",
            "Embraer",
        ),
        (r"IL[ -]?(?:14|18|62|76|78|86|96|114)[A-Z]*", "Ilyushin"),
        (r"TU[ -]?(?:104|114|124|134|144|154|160|204|214|95)[A-Z]*", "Tupolev"),
        (r"AN-?(?:2|10|12|22|24|26|28|30|32|38|70|72|74|124|140|148|158|178|225)", "Antonov"),
        (r"YAK[ -]?(?:40|42)[A-Z]*", "Yakovlev"),
        (r"SSJ-?100|SUPERJET(?: 100)?", "Sukhoi"),
        (r"C-?919[A-Z]*|ARJ-?21[A-Z]*", "COMAC"),
    )
)
_LISTED = frozenset(name.casefold() for name in (*CONSTRUCTORS, *(name for _, name in _SEPARATE)))


class Stated(NamedTuple):
    """A constructor's name in a normalized text, from `start` to `end` with the punctuation that follows it."""

    name: str
    start: int
    end: int


def means_no_aircraft(text: str) -> bool:
    """Return whether `text`, a constructor or the name of a folder, states that a picture shows no aircraft."""
    return _NO_AIRCRAFT.fullmatch(text.strip()) is not None


def canonical_name(constructor: str) -> str:
    """Return the usual spelling of a constructor, or the text with single spaces if it has no rules."""
    text = " ".join(constructor.replace("_", " ").split())
    if means_no_aircraft(text):
        return NO_AIRCRAFT
    name = _STATED.fullmatch(normalize(text))
    return _name(name) if name is not None else text


def is_known_constructor(constructor: str) -> bool:
    """Return whether `constructor` is a spelling of a constructor with rules, or of NO_AIRCRAFT."""
    return canonical_name(constructor) in (*WITH_RULES, NO_AIRCRAFT)


def is_listed_constructor(name: str) -> bool:
    """Return whether `name` is that of a constructor in this module: "Cessna" is, "Military" is not."""
    return name.casefold() in _LISTED


def closest_constructor(constructor: str) -> str:
    """Return the known constructor that a misspelled name resembles, "" if it is known or resembles none."""
    spellings = {name.lower(): name for name in WITH_RULES} | {
        "the boeing company": "Boeing",
        "airbus industrie": "Airbus",
    }
    name = " ".join(constructor.split()).lower()
    close = [] if is_known_constructor(constructor) else difflib.get_close_matches(name, spellings, 1, 0.75)
    return spellings[close[0]] if close else ""


def stated_constructors(text: str) -> list[Stated]:
    """Return the constructors that a normalized text names.

    Those with rules, and separate ones such as Airbus Helicopters, are found anywhere in the text; others only at its
    start, because their names are also words.
    """
    if (other := _OTHER_STATED.match(text)) is not None:
        return [Stated(_OTHER[other[1].replace("-", " ")], 0, other.end())]
    return [Stated(_name(name), name.start(), name.end()) for name in _STATED.finditer(text)]


def constructor_of_other_type(text: str, names: Collection[str] | None = None, *, anywhere: bool = True) -> str:
    """Return the constructor without rules that builds a type in a normalized text, "" if there is none.

    Args:
        text: Normalized text.
        names: Constructors to consider; None for all.
        anywhere: Whether the type can be anywhere in the text, not only at its start.
    """
    for pattern, name in _OTHER_TYPES:
        if (names is None or name in names) and (pattern.search(text) if anywhere else pattern.match(text)):
            return name
    return ""


def _name(stated: re.Match[str]) -> str:
    """Return the canonical name of a match of _STATED."""
    if stated["separate"] is not None:
        return next(name for pattern, name in _SEPARATE if re.fullmatch(pattern, stated["separate"]))
    return next(name for name in WITH_RULES if stated[name] is not None)
