"""Aircraft that are known by a name or a military number of their own, and what they were made from.

A table, read from above: the first row whose pattern is in the text counts. A military aircraft that is a model of
airliner in another service is placed with that model; one that was built as a type of its own (a KC-135 is no 707)
stays with its constructor.
"""

import re
from typing import NamedTuple


class Special(NamedTuple):
    """One row: how it is written, whose it is, its place, its ICAO designator ("" = that of its place), its roles."""

    pattern: re.Pattern[str]
    constructor: str
    family: str | None
    model: str | None
    icao: str
    roles: tuple[str, ...]
    why: str


def _row(pattern: str, constructor: str, place: str, icao: str, roles: str, why: str) -> Special:
    """Return a row; `place` is "family" or "family > model" or "", and `pattern` does not match within a word."""
    family, _, model = place.partition(" > ")
    compiled = re.compile(rf"(?<![A-Z0-9])(?:{pattern})(?![A-Z0-9])")
    return Special(compiled, constructor, family or None, model or None, icao, tuple(roles.split()), why)


# fmt: off
SPECIALS = (
    _row(r"BELUGA ?-?XL|A330-743L|A330-700L?", "Airbus", "A330 > A330-700", "A337", "freighter special",
         "the BelugaXL was made from the A330"),
    _row(r"BELUGA(?: ?ST)?|A300(?:B4)?-60[08]ST|SUPER TRANSPORTER", "Airbus", "A300 > A300-600ST", "A3ST",
         "freighter special", "the Beluga was made from the A300-600, with a body like no other"),
    _row(r"KC-?30[A-Z]?|CC-330", "Airbus", "A330 > A330-200", "", "military", "a tanker made from the A330-200"),
    _row(r"VOYAGER(?: KC\d)?", "Airbus", "A330 > A330-200", "", "military", "a tanker made from the A330-200"),
    _row(r"CC-150T?", "Airbus", "A310 > A310-300", "", "military", "the CC-150 is an A310-300"),
    _row(r"A-?400M(?:-180)?|ATLAS C\.?1", "Airbus", "A400M", "A400", "military", "the A400M is a type of its own"),
    _row(r"ACJ ?TWO ?TWENTY|ACJ ?220", "Airbus", "A220 > A220-100", "", "bizjet", "made from the A220-100"),
    _row(r"(?:747(?:-4[0-9A-Z]{2})?[ -]?)?LCF|(?:747(?:-400)? )?LARGE CARGO FREIGHTER|DREAMLIFTER",
         "Boeing", "747 > 747-400LCF", "BLCF", "freighter special",
         "the Dreamlifter was made from the 747-400, with a body like no other"),
    _row(r"SOFIA", "Boeing", "747 > 747SP", "", "special", "the flying telescope is a 747SP"),
    _row(r"SHUTTLE CARRIER AIRCRAFT|SCA", "Boeing", "747 > 747-100", "", "special", "it carried the Space Shuttle"),
    _row(r"YAL-1A?", "Boeing", "747 > 747-400", "", "military special", "the flying laser was a 747-400"),
    _row(r"E-7[A-Z]?|WEDGETAIL(?: AEW\d)?|PEACE EAGLE", "Boeing", "737 > 737-700 Wedgetail", "E737", "military",
         "the E-7 is a 737-700 with a radar on its back"),
    _row(r"P-?8[AI]|P-8|POSEIDON(?: MRA\d)?|737-8FV", "Boeing", "737 > 737-800", "P8", "military",
         "the P-8 was made from the 737-800"),
    _row(r"C-40[A-Z]?", "Boeing", "737 > 737-700", "", "military", "the C-40 is a 737-700"),
    _row(r"C?T-43[A-Z]?", "Boeing", "737 > 737-200", "", "military", "the T-43 is a 737-200"),
    _row(r"C-22[A-C]", "Boeing", "727 > 727-100", "", "military", "the C-22 is a 727-100"),
    _row(r"VC-25A", "Boeing", "747 > 747-200", "", "military", "the VC-25A is a 747-200"),
    _row(r"VC-25B", "Boeing", "747 > 747-8", "", "military", "the VC-25B is a 747-8"),
    _row(r"E-4[A-Z]?", "Boeing", "747 > 747-200", "", "military", "the E-4 is a 747-200"),
    _row(r"C-32[A-Z]?", "Boeing", "757 > 757-200", "", "military", "the C-32 is a 757-200"),
    _row(r"KC-?767[A-Z]?", "Boeing", "767 > 767-200ER", "", "military", "the KC-767 is a 767-200ER"),
    _row(r"E-767[A-Z]?", "Boeing", "767 > 767-200ER", "E767", "military", "the E-767 is a 767-200ER with a radar"),
    _row(r"KC-?46[A-Z]?", "Boeing", "", "B762", "military",
         "the KC-46 has parts of several 767s, and was sold as none of them"),
    _row(r"E-3[BCG]", "Boeing", "", "E3TF", "military", "an E-3 with the old engines, a type of its own"),
    _row(r"E-3[DF]", "Boeing", "", "E3CF", "military", "an E-3 with CFM56 engines, a type of its own"),
    _row(r"E-3A?|SENTRY", "Boeing", "", "", "military", "an E-3, whose designator depends on its engines"),
    _row(r"E-6[AB]?", "Boeing", "", "E6", "military", "the E-6 is a type of its own"),
    _row(r"E-8[A-Z]?|JOINT STARS|JSTARS", "Boeing", "", "", "military", "the E-8 is a type of its own"),
    _row(r"KC-?135[RT]", "Boeing", "", "K35R", "military", "the KC-135 is a type of its own, older than the 707"),
    _row(r"KC-?135E", "Boeing", "", "K35E", "military", "the KC-135 is a type of its own, older than the 707"),
    _row(r"KC-?135A", "Boeing", "", "K35A", "military", "the KC-135 is a type of its own, older than the 707"),
    _row(r"RC-135[A-Z]?", "Boeing", "", "R135", "military", "the C-135s are a type of their own, older than the 707"),
    _row(r"[A-Z]{0,2}C-?135[A-Z]*|STRATOTANKER|717-1[0-9A-Z]{2}[A-Z]?", "Boeing", "", "", "military",
         "the C-135s are a type of their own, older than the 707, which Boeing numbered 717-100"),
    _row(r"V?C-137B", "Boeing", "707 > 707-100", "", "military", "the C-137B is a 707-100"),
    _row(r"V?C-137C|CC-137|KC-137", "Boeing", "707 > 707-300", "", "military", "the C-137C is a 707-300"),
    _row(r"C-?17[A-Z]?|GLOBEMASTER III", "Boeing", "", "C17", "military", "the C-17 is a type of its own"),
    _row(r"B-52[A-H]?|STRATOFORTRESS", "Boeing", "", "B52", "military", "a bomber, a type of its own"),
    _row(r"B-29[A-Z]?|SUPERFORTRESS", "Boeing", "", "B29", "military", "a bomber, a type of its own"),
    _row(r"B-17[A-Z]?|FLYING FORTRESS", "Boeing", "", "B17", "military", "a bomber, a type of its own"),
)
# fmt: on


def special(constructor: str, text: str) -> Special | None:
    """Return the row for an aircraft of `constructor` whose type is written `text` (upper case); None for others."""
    return next((row for row in SPECIALS if row.constructor == constructor and row.pattern.search(text)), None)
