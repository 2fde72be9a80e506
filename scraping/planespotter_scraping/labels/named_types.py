"""Named types: aircraft known by a name or a military designation, and the airliner that each derives from.

The first matching row of `NAMED_TYPES` wins. A military variant of an airliner gets the label of that model. A military
type that was designed as a separate aircraft (a KC-135 is not a 707) keeps the constructor only.
"""

import re
from typing import NamedTuple


class NamedType(NamedTuple):
    """One row of the table.

    Attributes:
        pattern: Matches the name in upper case, as whole words.
        constructor: Constructor of the aircraft.
        family: Family in the label tree; None if the aircraft has none.
        model: Model in the label tree; None if the aircraft has none.
        icao: ICAO type designator; "" for that of the label path.
        roles: Any of "freighter", "bizjet", "military" and "special".
        explanation: Clause that justifies the row, without a capital and a full stop.
        is_word: Whether the name is also a word or the name of a place, so that it needs the constructor's name.
    """

    pattern: re.Pattern[str]
    constructor: str
    family: str | None
    model: str | None
    icao: str
    roles: tuple[str, ...]
    explanation: str
    is_word: bool = False


def _row(
    pattern: str, constructor: str, path: str, icao: str, roles: str, explanation: str, *, is_word: bool = False
) -> NamedType:
    """Build a row; `path` is "family", "family > model" or ""."""
    family, _, model = path.partition(" > ")
    compiled = re.compile(rf"(?<![A-Z0-9])(?:{pattern})(?![A-Z0-9])")
    return NamedType(
        compiled, constructor, family or None, model or None, icao, tuple(roles.split()), explanation, is_word
    )


# fmt: off
NAMED_TYPES = (
    _row(r"BELUGA ?-?XL|A330-743L|A330-700L?", "Airbus", "A330 > A330-700", "A337", "freighter special",
         "the BelugaXL is derived from the A330"),
    _row(r"BELUGA(?: ?ST)?|A300(?:B4)?-60[08]ST|SUPER TRANSPORTER", "Airbus", "A300 > A300-600ST", "A3ST",
         "freighter special", "the Beluga is derived from the A300-600 and has a unique fuselage"),
    _row(r"KC-?30[A-Z]?|CC-330", "Airbus", "A330 > A330-200", "", "military",
         "the KC-30 is a tanker based on the A330-200"),
    _row(r"VOYAGER(?: KC\d)?", "Airbus", "A330 > A330-200", "", "military",
         "the Voyager is a tanker based on the A330-200", is_word=True),
    _row(r"CC-150T?", "Airbus", "A310 > A310-300", "", "military", "the CC-150 is an A310-300"),
    _row(r"A-?400M(?:-180)?|ATLAS C\.?1", "Airbus", "A400M", "A400", "military",
         "the A400M is a military design with its own family"),
    _row(r"ACJ ?TWO ?TWENTY|ACJ ?220", "Airbus", "A220 > A220-100", "", "bizjet", "the ACJ TwoTwenty is an A220-100"),
    _row(r"747(?:-4[0-9A-Z]{2})?[ -]?LCF|(?<!-)LCF|(?:747(?:-400)? )?LARGE CARGO FREIGHTER|DREAMLIFTER",
         "Boeing", "747 > 747-400LCF", "BLCF", "freighter special",
         "the Dreamlifter is derived from the 747-400 and has a unique fuselage"),
    _row(r"747SP\S* SOFIA|NASA SOFIA|SOFIA (?:OBSERVATORY|TELESCOPE)|(?<!.)SOFIA$", "Boeing",
         "747 > 747SP", "", "special", "the SOFIA observatory is a 747SP", is_word=True),
    _row(r"SHUTTLE CARRIER AIRCRAFT|(?<!-)SCA", "Boeing", "747 > 747-100", "", "special",
         "the Shuttle Carrier Aircraft is a 747-100", is_word=True),
    _row(r"YAL-1A?", "Boeing", "747 > 747-400", "", "military special", "the YAL-1 laser testbed is a 747-400"),
    _row(r"E-7[A-Z]?|WEDGETAIL(?: AEW\d)?|PEACE EAGLE", "Boeing", "737 > 737-700 Wedgetail", "E737", "military",
         "the E-7 is a 737-700 with a dorsal radar"),
    _row(r"P-?8[AI]|P-8|POSEIDON(?: MRA\d)?|737-8FV", "Boeing", "737 > 737-800", "P8", "military",
         "the P-8 is derived from the 737-800"),
    _row(r"C-40[A-Z]?", "Boeing", "737 > 737-700", "", "military", "the C-40 is a 737-700"),
    _row(r"C?T-43[A-Z]?", "Boeing", "737 > 737-200", "", "military", "the T-43 is a 737-200"),
    _row(r"C-22[A-C]", "Boeing", "727 > 727-100", "", "military", "the C-22 is a 727-100"),
    _row(r"VC-25A?", "Boeing", "747 > 747-200", "", "military", "the VC-25A is a 747-200"),
    _row(r"VC-25B", "Boeing", "747 > 747-8", "", "military", "the VC-25B is a 747-8"),
    _row(r"E-4[A-Z]?", "Boeing", "747 > 747-200", "", "military", "the E-4 is a 747-200"),
    _row(r"C-32[A-Z]?", "Boeing", "757 > 757-200", "", "military", "the C-32 is a 757-200"),
    _row(r"KC-?767[A-Z]?", "Boeing", "767 > 767-200ER", "", "military", "the KC-767 is a 767-200ER"),
    _row(r"E-767[A-Z]?", "Boeing", "767 > 767-200ER", "E767", "military", "the E-767 is a 767-200ER with a radar"),
    _row(r"KC-?46[A-Z]?", "Boeing", "", "B762", "military",
         "the KC-46 combines parts of several 767 models and matches none of them"),
    _row(r"E-3[BCG]", "Boeing", "", "E3TF", "military", "the E-3 with the original engines is a separate type"),
    _row(r"E-3[DF]", "Boeing", "", "E3CF", "military", "the E-3 with CFM56 engines is a separate type"),
    _row(r"E-3A?|SENTRY", "Boeing", "", "", "military", "the designator of an E-3 depends on its engines"),
    _row(r"E-6[AB]?", "Boeing", "", "E6", "military", "the E-6 is a separate type"),
    _row(r"E-8[A-Z]?|JOINT STARS|JSTARS", "Boeing", "", "", "military", "the E-8 is a separate type"),
    _row(r"KC-?135[RT]", "Boeing", "", "K35R", "military", "the KC-135 is a separate type, older than the 707"),
    _row(r"KC-?135E", "Boeing", "", "K35E", "military", "the KC-135 is a separate type, older than the 707"),
    _row(r"KC-?135A", "Boeing", "", "K35A", "military", "the KC-135 is a separate type, older than the 707"),
    _row(r"RC-135[A-Z]?", "Boeing", "", "R135", "military", "the C-135 is a separate type, older than the 707"),
    _row(r"[A-Z]{0,2}C-?135[A-Z]*|STRATOTANKER|717-1[0-9A-Z]{2}[A-Z]?", "Boeing", "", "", "military",
         "the C-135, which Boeing numbered 717-100, is a separate type, older than the 707"),
    _row(r"V?C-137B", "Boeing", "707 > 707-100", "", "military", "the C-137B is a 707-100"),
    _row(r"V?C-137C|CC-137|KC-137", "Boeing", "707 > 707-300", "", "military", "the C-137C is a 707-300"),
    _row(r"C-?17[A-Z]?|GLOBEMASTER III", "Boeing", "", "C17", "military", "the C-17 is a separate type"),
    _row(r"B-52[A-H]?|STRATOFORTRESS", "Boeing", "", "B52", "military", "the B-52 is a bomber"),
    _row(r"B-29[A-Z]?|SUPERFORTRESS", "Boeing", "", "B29", "military", "the B-29 is a bomber"),
    _row(r"B-17[A-Z]?|FLYING FORTRESS", "Boeing", "", "B17", "military", "the B-17 is a bomber"),
    _row(r"PHENIX", "Airbus", "A330 > A330-200", "", "military", "the Phenix is a tanker based on the A330-200",
         is_word=True),
    _row(r"VC-96|SURVEILLER", "Boeing", "737 > 737-200", "", "military", "the VC-96 and the Surveiller are 737-200s"),
    _row(r"C-19[A-Z]?", "Boeing", "747 > 747-100", "", "military", "the C-19 is a 747-100"),
    _row(r"AL-1[A-Z]?", "Boeing", "747 > 747-400", "", "military special", "the AL-1 laser testbed is a 747-400"),
    _row(r"MD-?95(?:-\d\d)?", "Boeing", "717 > 717-200", "", "", "the MD-95 became the 717-200"),
    _row(r"WORLDLINER", "Boeing", "777 > 777-200LR", "", "", "the Worldliner is the 777-200LR"),
    _row(r"DREAM ?LINER", "Boeing", "787", "", "", "the Dreamliner is the 787"),
    _row(r"TRIPLE[ -]SEVEN", "Boeing", "777", "", "", "the Triple Seven is the 777"),
    _row(r"(?<!SUPER[ -])JUMBO(?:[ -]?JET)?|QUEEN OF THE SKIES", "Boeing", "747", "", "", "the Jumbo Jet is the 747"),
    _row(r"SUPER[ -]?JUMBO", "Airbus", "A380", "", "", "the Superjumbo is the A380"),
    _row(r"(?<!-)XWB", "Airbus", "A350", "", "", "the XWB is the A350"),
)
# fmt: on


def find_named_type(constructor: str, text: str) -> NamedType | None:
    """Return the first row of `constructor` whose name is in `text` (upper case), or None."""
    return next((row for row in NAMED_TYPES if row.constructor == constructor and row.pattern.search(text)), None)
