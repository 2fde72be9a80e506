"""Type rules of each constructor: from one type in a normalized text to family and model.

The first digit of a certified number is the series: A320-214 and A320-232 are both of the series 200, and 737-8AS is a
737-800 for the customer with the code AS. Texts with several types are split before: see `mentions.py`.
"""

import re
from collections.abc import Collection
from typing import NamedTuple

from planespotter_scraping.labels.icao import parse_designator


class ParsedType(NamedTuple):
    """Family and model of one type, the text behind its number, and how it was parsed.

    Attributes:
        family: Family; None if the text names none, or several.
        model: Model; None if the text names none, or several.
        suffix: Text behind the number.
        explanation: Sentences.
        icao: Designator, only if it differs from that of the path.
        is_list: Whether the text names several types, so that nothing else in it can make the path deeper.
    """

    family: str | None = None
    model: str | None = None
    suffix: str = ""
    explanation: str = ""
    icao: str = ""
    is_list: bool = False


# Series of each family, by the first digit of the certified number.
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
# Re-engined models keep the old series number. The A321LR and XLR are neos; the A319LR is not. Neos is an airline.
_NEO = r"(?<![A-Z])(?<!NOT )(?<!NON[ -])NEO(?!S)|NEW ENGINE OPTION"
AIRBUS_NEO = {
    "A319": re.compile(rf"{_NEO}|^N(?![A-Z0-9])"),
    "A320": re.compile(rf"{_NEO}|^N(?![A-Z0-9])"),
    "A321": re.compile(rf"{_NEO}|^N(?:[XY]|X?LR)?(?![A-Z0-9])|XLR|\dLR|^[ -]?LR"),
}
# Models that were sold as ceo, next to the neo; the A320-100 and A321-100 were out of production by then.
AIRBUS_CEO = {"A318": "A318-100", "A319": "A319-100", "A320": "A320-200", "A321": "A321-200"}
# Engine manufacturer, by the second digit of the certified number. The A220 is numbered differently.
AIRBUS_ENGINES = {
    "0": "General Electric",
    "1": "CFM",
    "2": "Pratt & Whitney",
    "3": "IAE",
    "4": "Rolls-Royce",
    "5": "CFM LEAP",
    "6": "Engine Alliance",
    "7": "Pratt & Whitney GTF",
}

BOEING_SERIES = {
    "707": "1234",
    "717": "2",
    "720": "",
    "727": "12",
    "737": "123456789",
    "747": "12348",
    "757": "23",
    "767": "234",
    "777": "23",
    "787": "",
}
# Sold without a customer code: the series number alone is the full name.
BOEING_PLAIN = {"747": ("8",), "777": ("8", "9"), "787": ("8", "9", "10")}
# ER or LR makes a separate model here; elsewhere it is an option of the same model (747-400ER).
BOEING_RANGES = {"737-900ER", "767-200ER", "767-300ER", "767-400ER", "777-200ER", "777-200LR", "777-300ER"}
BUSINESS_JETS = {"1": "737-700", "2": "737-800", "3": "737-900ER"}  # BBJ1 to BBJ3

# The 777F, also with a customer code: 777-F1H. After a space, a code of letters may be a word or an airport.
_FACTORY_FREIGHTER = re.compile(
    r"(?:-200(?:LR)?)?[ -]?F(?:REIGHTER)?(?![A-Z0-9]|-[A-Z]{4})|-F[0-9A-Z]{2}(?![0-9A-Z])|"
    r" F(?:\d[0-9A-Z]|[A-Z]\d|BT|ZN|ZB|DZ|HT|FX)(?![0-9A-Z-])"
)
# A number after a space may count something else: "787 10 years", "737 2nd prototype".
_COUNTED = (
    r"(?! (?:YEARS?|SEATS?|SEATERS?|PASSENGERS|HOURS|DAYS|MILES|KM|FEET|FT|PHOTOS|AIRCRAFT|ORDERS|PLANES)(?![A-Z]))"
)
_SPACE_BEFORE_AIRBUS_NUMBER = rf" (?=(?:10\d\d|\d{{3}})[A-Z]{{0,4}}(?![0-9A-Z-]){_COUNTED})"
_SPACE_BEFORE_BOEING_NUMBER = (
    rf" (?!\d(?:ST|ND|RD|TH))(?=\d(?:\d\d|\d[A-Z]|[A-Z][0-9A-Z])[A-Z]{{0,4}}(?<!TH)(?![0-9A-Z-]){_COUNTED})"
)


def parse_airbus(text: str) -> ParsedType:
    """Parse A3xx-SEV: series, engine, engine version, and N for the re-engined models."""
    text = re.sub(r"^ACJ[ -]?(?=\d{3})", "A", text)
    head = re.match(r"A?[ .-]?(\d{3})(?!\d)", text)
    if head is None or (family := f"A{head[1]}") not in AIRBUS_SERIES:
        return _a220(text) or _designator(text, {*AIRBUS_SERIES, "A400M"})
    rest = text[head.end() :]
    if family == "A220" and (bombardier := _a220(rest)) is not None:
        return bombardier
    if family not in AIRBUS_NEO:
        rest = re.sub(r"^[ -]?(?:NEO|XWB)[ -](?=\d{3})", "-", rest)  # A330neo-900
    # Only the A300 has letters before the dash or the number: A300B4-605R.
    number = re.match(
        rf"(?:[ -]?([BCF])\d[ -]|-?|{_SPACE_BEFORE_AIRBUS_NUMBER})(?:(10)\d\d|(\d)(\d)(\d))(?!\d)(N(?!EO))?", rest
    )
    old = family == "A300" and (re.match(r"[ -]?([BCF])[24]", rest) or (number and number[3] in "12"))
    if number is None:
        explanation = f"It names the family {family}, but not a model."
        if family in AIRBUS_NEO and (mark := AIRBUS_NEO[family].search(rest)):
            return ParsedType(family, f"{family}neo", rest, f"Only the neo has {mark[0]}.")
        if family in AIRBUS_CEO and re.match(r"[ -]?CEO(?![A-Z])", rest):
            explanation = f"The {family}ceo, sold next to the neo, is the {AIRBUS_CEO[family]}."
            return ParsedType(family, AIRBUS_CEO[family], rest, explanation)
        return ParsedType(family, None, rest, explanation, icao="A30B" if old else "")
    suffix = rest[number.end() :] + (" F" if number[1] == "F" else "")
    if number[2]:
        model = "A350-1000" if family == "A350" else None
        return ParsedType(family, model, suffix, f"{family}-{number[2]}xx is of the series 1000." if model else "")
    return _airbus_series(family, number, rest, suffix, old=bool(old))


def _airbus_series(family: str, number: re.Match[str], rest: str, suffix: str, *, old: bool) -> ParsedType:
    """Return the model of a certified number; `rest` starts with it, and `suffix` follows it."""
    series, engine, version = number[3], number[4], number[5]
    explanation = f"It is of the series {series}00"
    if engine + version != "00" and family != "A220" and engine in AIRBUS_ENGINES:
        explanation += f", with engines by {AIRBUS_ENGINES[engine]} ({engine}) in version {version}"
    if family in AIRBUS_NEO:
        if number[6] or AIRBUS_NEO[family].search(rest):
            return ParsedType(family, f"{family}neo", suffix, f"{explanation}; the N, or the suffix, marks a neo.")
        if engine in "57" and version != "0" and series in AIRBUS_SERIES[family]:
            return ParsedType(family, f"{family}neo", suffix, f"{explanation}, which only the neo has.")
    if series not in AIRBUS_SERIES[family]:
        explanation = f"It is an {family}, but the label tree has no series {series}00."
        return ParsedType(family, None, suffix, explanation, icao="A30B" if old else "")
    if family == "A330" and series in "23" and re.match(r"[ -]?NEO(?!S)", suffix):
        return ParsedType(family, None, suffix, f"The neo and series {series}00 contradict each other.")
    return ParsedType(family, f"{family}-{series}00", suffix, f"{explanation}.")


def _a220(text: str) -> ParsedType | None:
    """Parse the names of the A220 when Bombardier built it; None for any other text."""
    name = re.search(r"(?<![A-Z0-9])(?:BD-?500(?:-1A1([01])(?![0-9]))?|CS-?([13])00|C[ -]?SERIES)(?![0-9])", text)
    if name is None:
        return None
    deeper = re.search(r"1A1([01])(?![0-9])|(?:CS-?|SERIES[ -])([13])00(?![0-9])", text)
    if deeper is None:
        return ParsedType("A220", None, "", f"{name[0]} is the former name of the A220.")
    series = deeper[2] or {"0": "1", "1": "3"}[deeper[1]]
    return ParsedType("A220", f"A220-{series}00", "", f"{name[0]} is the former name of the A220-{series}00.")


def is_c_series(text: str) -> bool:
    """Return whether a normalized text names a type of the C Series, which became the A220."""
    return _a220(text) is not None


def parse_boeing(text: str) -> ParsedType:
    """Parse 7x7-SCC: series, a customer code of two letters or digits, and a suffix."""
    text = re.sub(r"^(?=MAX[ -]?(?:10|[789])(?!\d))", "737 ", text)  # MAX 8
    if text.startswith("BBJ"):
        coded = re.match(r"BBJ[ -]?[123]? (\d[0-9A-Z]{2}(?![0-9]).*)", text)
        text = f"737-{coded[1]} BBJ" if coded else f"737 {text}"
    text = re.sub(r"^(B?777)X[ -](?=[89](?!\d))", r"\1-", text)
    head = re.match(r"(?:B[ .-]?)?(7\d7|720(?!P))(?!\d)", text)
    if head is None or (family := head[1]) not in BOEING_SERIES:
        return _designator(text, BOEING_SERIES)
    rest = text[head.end() :]
    if family == "737":
        rest = re.sub(
            r"^[ -]?(?:NG|NEXT GENERATION|CL|CLASSIC)[ -]?(?=BBJ|\d[0-9A-Z]{2}[A-Z]{0,4}(?![0-9A-Z]))", "-", rest
        )  # 737NG 8AS
        if (irregular := _irregular_737(rest)) is not None:
            return irregular
    if family == "747" and (letters := re.match(r"[ -]?(S[PR])(?![A-Z])", rest)):
        return ParsedType(
            family, f"747{letters[1]}", rest[letters.end() :], f"{letters[1]} is a separate model of the 747."
        )
    if family == "777" and _FACTORY_FREIGHTER.match(rest):
        return ParsedType(family, "777F", rest, "F instead of a series is the factory-built freighter.")
    if (plain := _plain_number(family, rest)) is not None:
        return plain
    if family == "727" and (old := re.match(r"[- ](\d\d)(?!\d)", rest)):
        explanation = f"Two digits are a customer code ({old[1]}) of the first series, 100, which has no series digit."
        return ParsedType(family, "727-100", rest[old.end() :], explanation, _re_engined("1", rest))
    coded = re.match(rf"(?:-|{_SPACE_BEFORE_BOEING_NUMBER})(\d)([0-9A-Z]{{2}})(?!\d)(.*)", rest)
    if family == "717" and coded and coded[1] == "1":
        return ParsedType()  # a C-135, not the airliner: see named_types.py
    if coded is None or coded[1] not in BOEING_SERIES[family]:
        explanation = f"It is a {family}, but without a series that the label tree has."
        if not coded:
            explanation = f"It names the family {family}, but not a model."
        return ParsedType(family, None, rest, explanation)
    return _boeing_series(family, coded[1], coded[2], coded[3])


def _boeing_series(family: str, digit: str, code: str, suffix: str) -> ParsedType:
    """Return the model of a series digit with a customer code; `suffix` follows them."""
    series = f"{family}-{digit}00"
    explanation = f"It is of the series {digit}00" + (
        f", and {code} is the code of its first customer." if code != "00" else "."
    )
    if series == "747-800":
        return ParsedType(family, "747-8", suffix, f"It is a 747-8, and {code} is the code of its first customer.")
    if series == "747-400" and re.search(r"(?<![A-Z]-)LCF|DREAMLIFTER", suffix):
        return ParsedType(family, "747-400LCF", suffix, explanation)  # has a unique fuselage
    if series == "737-900" and "BBJ3" in suffix:
        return ParsedType(family, "737-900ER", suffix, f"{explanation} The BBJ3 is based on the 737-900ER.")
    if series == "767-400":
        return ParsedType(family, "767-400ER", suffix, f"{explanation} Every 767-400 is a 767-400ER.")
    reach = re.match(
        r"(?! (?:ER|LR)-[A-Z]{3})[ -]?(?:(ER|LR)(?![A-Z])|(ER|LR)(?=(?:F|SF|MF|BCF|BDSF)(?![A-Z])))", suffix
    )
    if reach and (longer := series + (reach[1] or reach[2])) in BOEING_RANGES:
        return ParsedType(family, longer, suffix, f"{explanation} {reach[1] or reach[2]} makes it a separate model.")
    return ParsedType(family, series, suffix, explanation, _variant_designator(series, suffix))


def _plain_number(family: str, rest: str) -> ParsedType | None:
    """Parse the number of a model that has no customer code: 787-9, also written 787-900; None for the others."""
    if family == "787":
        rest = re.sub(r"^([ -])(10|[89])00(?![0-9A-Z])", r"\1\2", rest)
    # "747-8F" has no customer code either: a code has two characters.
    # After a space, the number must end the text: "787 9", but not "787 10 years".
    plain = re.match(r"(?:-| (?=\d+[FI]?(?: (?:DREAMLINER|BBJ|OF|W)\b.*)?$))(10|[789])([A-Z]?)(?![0-9A-Z])", rest)
    if plain is None or plain[1] not in BOEING_PLAIN.get(family, ()):
        return None
    suffix = f"{plain[2]} {rest[plain.end() :]}"
    return ParsedType(family, f"{family}-{plain[1]}", suffix, f"{family}-{plain[1]} has no customer code.")


def _variant_designator(series: str, suffix: str) -> str:
    """Return the designator of a variant that ICAO distinguishes and the label tree does not, "" for the others."""
    if series == "747-400" and re.match(r"D(?![A-Z])", suffix):
        return "B74D"
    if series == "747-100" and re.match(r"B? ?SR(?![A-Z])", suffix):
        return "B74R"
    return _re_engined(series[4], suffix) if series.startswith("727") else ""


def _re_engined(series: str, suffix: str) -> str:
    """Return the designator of a 727 with new engines, "" for the others."""
    return f"R72{series}" if re.search(r"SUPER ?27|(?<![A-Z])RE(?![A-Z])", suffix) else ""


def _irregular_737(rest: str) -> ParsedType | None:
    """Parse names of 737 models that are not of the form 737-SCC; None for the others.

    The customer code decides: a 737-8 is a MAX 8, which has none, and a 737-800 is its predecessor.
    """
    if "WEDGETAIL" in rest or "AEW" in rest:
        return ParsedType("737", "737-700 Wedgetail", rest, "The Wedgetail is a 737-700 with a dorsal radar.")
    if high_density := re.match(r"-8-?200(?!\d)", rest):
        explanation = "The 737-8-200 is a MAX 8 with more seats."
        return ParsedType("737", "737 MAX 8", rest[high_density.end() :], explanation)
    named = re.match(r"[- ]?(10|[789])[- ]?MAX|[- ]?MAX[- ]?(?:(10|[789])(?:00)?(?!\d)|(8)-?200(?!\d)|200(?!\d))", rest)
    if named is not None:
        number = named[1] or named[2] or named[3] or "8"  # the MAX 200 is an 8-200
        return ParsedType("737", f"737 MAX {number}", rest[named.end() :], f"It names the MAX {number}.")
    if series := re.match(r"-(\d00) ?MAX", rest):
        return ParsedType("737", None, rest, f"MAX and series {series[1]} contradict each other.")
    if plain := re.match(r"-(10|[789])(?![0-9A-Z])", rest):
        explanation = (
            f"737-{plain[1]} without a customer code is the MAX {plain[1]}; its predecessor is the 737-{plain[1]}00."
        )
        return ParsedType("737", f"737 MAX {plain[1]}", rest[plain.end() :], explanation)
    if jet := re.match(r"[- ]?BBJ[ -]?([123])(?!\d)", rest):
        model = BUSINESS_JETS[jet[1]]
        return ParsedType("737", model, rest, f"The BBJ{jet[1]} is based on the {model}.")
    return None


def parse_atr(text: str) -> ParsedType:
    """Parse 42-S00 and 72-S00. Several models share a certified number (72-212A)."""
    head = re.match(r"(42|72)(?!\d)(?:[ -]([3-6])00(?!\d))?", text)
    if head is None:
        return _designator(text, {"42", "72"})
    suffix = re.sub(r"^[ -]\d{3}A?", "", text[head.end() :])
    if head[2] is None:
        return ParsedType(head[1], None, suffix, f"It names the family {head[1]}, but not a single model.")
    return ParsedType(head[1], f"{head[1]}-{head[2]}00", suffix, f"It is of the series {head[2]}00.")


def _designator(text: str, families: Collection[str]) -> ParsedType:
    """Parse a text that starts with an ICAO designator of one of `families`."""
    code = re.match(r"[A-Z][A-Z0-9]{3}(?![A-Z0-9-])", text)
    entry = parse_designator(code[0]) if code is not None else None
    if code is None or entry is None or entry[0] not in families:
        return ParsedType()
    family, model = entry
    meaning = model or f"several models of the {family}"
    explanation = f"{code[0]} is the ICAO designator of {meaning}."
    return ParsedType(family, model, text[code.end() :], explanation, icao=code[0])


RULES = {"Airbus": parse_airbus, "Boeing": parse_boeing, "ATR": parse_atr}
