"""Airframes and their airlines in free text: registrations of all countries, and what an airline's name looks like."""

import re

LETTERS = "[A-Z]{3}"
# Nationality marks and what follows them, unless that is a dash and three letters.
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
AIRLINE_WORD = re.compile(
    r"\b(?:air|airlines?|airways|aero\w*|aviation|avia|lines|líneas|jet|cargo|express|fly|wings)\b|(?:air|jet|avia)\b",
    re.IGNORECASE,
)


def registrations_in(text: str) -> set[str]:
    """Return the registrations in `text`."""
    return set(REGISTRATION.findall(normalize_dashes(text)))


def is_airline_name(text: str) -> bool:
    """Return whether `text` can be the name of an airline: one to five words, not a number, without a place."""
    words = text.split()
    places = re.compile(
        r"air ?port|flughafen|aeropuerto|aeroporto|a[eé]roport|runway|museum|air ?shows?", re.IGNORECASE
    )
    return 0 < len(words) <= 5 and words[0][0].isalnum() and not text.isdecimal() and not places.search(text)


def normalize_dashes(text: str) -> str:
    """Return `text` with ASCII dashes and single spaces."""
    return " ".join(re.sub(r"[\u2010-\u2012\u2212]", "-", text).replace("_", " ").split())
