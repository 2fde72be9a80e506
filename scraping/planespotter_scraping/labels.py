"""From the text that a site prints to a place in the label tree: constructor, family, model.

Sites write the certified type, with the engine or the first customer in it ("A320-214", "737-8AS");
spotters say "A320-200" and "737-800", and so does the tree. `place` is a pure function of the two texts on a
card. It goes only as deep as it is sure of: "A321" is a family, and a model is not guessed.
"""

import re
from typing import NamedTuple


class LabelPath(NamedTuple):
    """A path from the root of the label tree, as deep as the label allows.

    `constructor` is "" where it is not known. `family` is the type number as spoken ("737", "A321") and `model`
    begins with it ("737-800", "737 MAX 8", "A321neo"); either is None below the level that the label reaches.
    """

    constructor: str
    family: str | None = None
    model: str | None = None


# Other spellings of a constructor, in lower case.
CONSTRUCTORS = {"airbus": "Airbus", "airbus industrie": "Airbus", "boeing": "Boeing", "atr": "ATR"}

# The series of each family that were built. The first digit of the certified number tells them apart: an
# A320-214 is of series 2, and so is an A320-232.
AIRBUS_SERIES = {
    "A220": "13",
    "A300": "6",
    "A310": "23",
    "A318": "1",
    "A319": "1",
    "A320": "12",
    "A321": "12",
    "A330": "23789",
    "A340": "2356",
    "A350": "9",  # and the four-digit A350-1000
    "A380": "8",
}
AIRBUS_NEO = {"A319", "A320", "A321"}  # re-engined under the old series number: a model of its own

BOEING_SERIES = {
    "707": "1234",
    "717": "2",
    "727": "12",
    "737": "123456789",
    "747": "12348",
    "757": "23",
    "767": "234",
    "777": "23",
    "787": "",
}
# These were sold without a customer code, so a number with nothing behind it is the whole name.
BOEING_PLAIN = {"747": ("8",), "777": ("8", "9"), "787": ("8", "9", "10")}
# Longer range made a type of its own here, and an option of the same type elsewhere (747-400ER).
BOEING_RANGES = {"737-900ER", "767-200ER", "767-300ER", "767-400ER", "777-200ER", "777-200LR", "777-300ER"}

DASHES = re.compile(r"\s*[-\u2010-\u2015\u2212]\s*")


def place(constructor: str, aircraft_type: str) -> LabelPath:
    """Return where a photo belongs, from the constructor and the aircraft type that its page names.

    Any text is accepted. A constructor that this module has no rules for is returned as it is written, without
    a family; where only the type names a known constructor ("Boeing 737-800"), that one is taken.
    """
    constructor = " ".join(constructor.replace("_", " ").split())
    constructor = CONSTRUCTORS.get(constructor.lower(), constructor)
    text = DASHES.sub("-", " ".join(aircraft_type.replace("_", " ").split())).upper()
    for spelling in sorted(CONSTRUCTORS, key=len, reverse=True):  # the longest first
        if (named := re.match(rf"{spelling.upper()}(?![A-Z])[ -]*", text)) is not None:
            if constructor in ("", CONSTRUCTORS[spelling]):
                constructor, text = CONSTRUCTORS[spelling], text[named.end() :]
            break
    # A mark in brackets is written with and without them: "767-36N(ER)", "767-36NER".
    text = " ".join(re.sub(r"[(),/]", " ", text).split())
    rules = {"Airbus": _airbus, "Boeing": _boeing, "ATR": _atr}.get(constructor)
    return LabelPath(constructor, *(rules(text) if rules else (None, None)))


def _airbus(text: str) -> tuple[str | None, str | None]:
    """Read A3xx-SEV: series, engine, version of the engine, and N for the re-engined ones."""
    head = re.match(r"A[ -]?(\d{3})(?!\d)", text)
    if head is None or (family := f"A{head[1]}") not in AIRBUS_SERIES:
        return None, None
    rest = text[head.end() :]
    # Only the A300 has letters before the dash or the number: A300B4-605R.
    number = re.match(r"-?(?:[BCF]\d-)?(?:(10)\d\d|(\d)\d\d)(?!\d)(N?)", rest)
    if family in AIRBUS_NEO and ((number and number[3]) or re.search(r"NEO|XLR|\dLR|^LR", rest)):
        return family, f"{family}neo"
    if number is None:
        return family, None
    if number[1]:
        return family, "A350-1000" if family == "A350" else None
    return family, f"{family}-{number[2]}00" if number[2] in AIRBUS_SERIES[family] else None


def _boeing(text: str) -> tuple[str | None, str | None]:
    """Read 7x7-SCC: series, then two letters or digits for the customer, and then what kind it is."""
    head = re.match(r"B?(7\d7)(?!\d)", text)
    if head is None or (family := head[1]) not in BOEING_SERIES:
        return None, None
    rest = text[head.end() :]
    if family == "737" and (special := _special_737(rest)) is not None:
        return family, special
    if family == "747" and (letters := re.match(r" ?(S[PR])(?![A-Z])", rest)):
        return family, f"747{letters[1]}"
    if family == "777" and re.match(r"-?F(?![A-Z])|-F[0-9A-Z]{2}$| FREIGHTER", rest):
        return family, "777F"
    # "747-8F" is a number with nothing behind it too: one letter is no customer.
    plain = re.match(r"-(10|[789])(?:[A-Z]?(?![0-9A-Z]))", rest)
    if plain and plain[1] in BOEING_PLAIN.get(family, ()):
        return family, f"{family}-{plain[1]}"
    coded = re.match(r"-(\d)[0-9A-Z]{2}(.*)", rest)
    if coded is None or coded[1] not in BOEING_SERIES[family]:
        return family, None
    series, kind = f"{family}-{coded[1]}00", coded[2]
    if series == "747-800":
        return family, "747-8"
    if series == "747-400" and re.search(r"LCF|DREAMLIFTER", kind):
        return family, "747-400LCF"  # the outsize fuselage looks like no other
    if series == "737-900" and "BBJ3" in kind:
        return family, "737-900ER"  # the only one that this private jet was made from
    reach = re.match(r" ?(ER|LR)(?![A-Z])", kind)
    if reach and series + reach[1] in BOEING_RANGES:
        return family, series + reach[1]
    return family, series


def _special_737(rest: str) -> str | None:
    """Return the model of a 737 whose name is not of the form 737-SCC, else None.

    The dash counts: a 737-8 is a MAX 8, which carries no customer code, and a 737-800 is its predecessor.
    """
    if "WEDGETAIL" in rest:
        return "737-700 Wedgetail"
    if high_density := re.match(r"-8-?200(?!\d)", rest):
        return f"737 MAX {high_density[0][1]}"
    named = re.match(r"[- ]?(10|[789])[- ]?MAX|[- ]?MAX[- ]?(10|[789])(?!\d)", rest)
    plain = re.match(r"-(10|[789])(?![0-9A-Z])", rest)
    number = (named and (named[1] or named[2])) or (plain and plain[1])
    return f"737 MAX {number}" if number else None


def _atr(text: str) -> tuple[str | None, str | None]:
    """Read 42-S00 and 72-S00. The certified numbers (72-212A) are shared by several models."""
    head = re.match(r"(42|72)(?!\d)(?:-([3-6])00(?!\d))?", text)
    if head is None:
        return None, None
    return head[1], f"{head[1]}-{head[2]}00" if head[2] else None
