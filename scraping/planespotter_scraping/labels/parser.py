"""Label parser: from a site's text to a path in the label tree (constructor, family, model).

Sites print the certified type, which encodes the engine or the customer ("A320-214", "737-8AS"); the tree uses the
names of the series ("A320-200", "737-800"). `parse_label` is a pure function of constructor and type text. It descends
only as far as the text is unambiguous: "A321" is a family, and the model is not guessed. `label_path` returns only the
path, which is what training needs.
"""

import difflib
import re
import unicodedata
from collections.abc import Collection
from typing import NamedTuple

from planespotter_scraping.labels.constructors import NO_AIRCRAFT, means_no_aircraft
from planespotter_scraping.labels.icao import designator_of, parse_designator
from planespotter_scraping.labels.named_types import find_named_type


class LabelPath(NamedTuple):
    """A path from the root of the label tree, as deep as the label allows.

    Attributes:
        constructor: Name of the constructor, "" if unknown.
        family: Type number ("737", "A321"); None if the label stops at the constructor.
        model: Model, which starts with the family ("737-800", "737 MAX 8", "A321neo"); None if the label stops above.
    """

    constructor: str
    family: str | None = None
    model: str | None = None


class Label(NamedTuple):
    """A parsed label.

    Attributes:
        text: The type text, unchanged.
        path: Path in the label tree.
        icao: ICAO type designator, "" if the text does not determine it.
        roles: Any of "freighter", "bizjet", "military" and "special" (outsize transports, flying laboratories), in
            this order.
        explanation: A sentence for each parsing step.
    """

    text: str
    path: LabelPath
    icao: str
    roles: tuple[str, ...]
    explanation: tuple[str, ...]


class _Parsed(NamedTuple):
    """Result of the rules of one constructor: the path below it, and the text behind the type number."""

    family: str | None = None
    model: str | None = None
    suffix: str = ""
    explanation: str = ""
    icao: str = ""  # only if it differs from the designator of the path


# Spellings of the constructors, in lower case.
CONSTRUCTORS = {
    "airbus": "Airbus",
    "airbus industrie": "Airbus",
    "airbus industries": "Airbus",
    "airbus sas": "Airbus",
    "airbus s.a.s.": "Airbus",
    "airbus canada": "Airbus",
    "airbus canada limited partnership": "Airbus",
    "boeing": "Boeing",
    "boeing company": "Boeing",
    "the boeing company": "Boeing",
    "atr": "ATR",
    "bombardier": "Bombardier",
    "bombardier aerospace": "Bombardier",
}

# Series of each family, by the first digit of the certified number: A320-214 and A320-232 are both of series 200.
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
# Re-engined models keep the old series number. The A321LR and XLR are neos; the A319LR is not.
AIRBUS_NEO = {
    "A319": re.compile(r"NEO|^N(?![A-Z0-9])"),
    "A320": re.compile(r"NEO|^N(?![A-Z0-9])"),
    "A321": re.compile(r"NEO|^N[XY]?(?![A-Z0-9])|XLR|\dLR|^[ -]?LR"),
}
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

# Freighter suffixes, with the letters that may stand before them (767-300ERF, 777-300ERSF, 747-243B(SF)) or after them
# (767-34AFER).
FREIGHTER = re.compile(
    r"(?:ER|LR|R|[ABDEM]|N[XY]?|ADV)?(F|SF|BCF|BDSF|BDQF|PCF|PTF|P2F|PF|MF|QF|SDF|FSCD|FREIGHTER|CONVERTED FREIGHTER)"
    r"(?:ER)?"
)
BIZJET = {
    "Airbus": re.compile(r"(?<![A-Z])X?A?CJ(?![A-Z])|PRESTIGE|ELITE"),
    "Boeing": re.compile(r"BBJ"),
}
DASHES = re.compile(r"\s*[-\u2010-\u2015\u2043\u2212]+\s*")
# Soft hyphens and joiners, which copied text contains.
INVISIBLE = re.compile("[\u00ad\u200b-\u200d\u2060\ufeff]")


def label_path(constructor: str, aircraft_type: str) -> LabelPath:
    """Return the path of a photo in the label tree; see `parse_label`."""
    return parse_label(constructor, aircraft_type).path


def parse_label(constructor: str, aircraft_type: str) -> Label:
    """Parse the label of a photo.

    Args:
        constructor: Constructor in any spelling. A constructor without rules is kept as it is, without a family. If
            it is empty, one that `aircraft_type` starts with is used ("Boeing 737-800"). NO_AIRCRAFT, in any spelling,
            stands for a picture without an aircraft: such a label has no family, no model and no roles.
        aircraft_type: Any text.

    Returns:
        Path, designator, roles and explanation.
    """
    constructor, text = _normalize(constructor, aircraft_type)
    if constructor == NO_AIRCRAFT:
        return Label(aircraft_type, LabelPath(NO_AIRCRAFT), "", (), ("The picture shows no aircraft.",))
    plain = " ".join(re.sub(r"[(),/]", " ", text).split())  # "767-36N(ER)" is "767-36NER", mostly
    explanation = []
    if constructor == "Bombardier" and _a220(plain) is not None:
        constructor = "Airbus"
        explanation.append("Bombardier's C Series became the Airbus A220.")
    rules = {"Airbus": _airbus, "Boeing": _boeing, "ATR": _atr}.get(constructor)
    if rules is None:
        reason = (
            f"There are no rules for the constructor {constructor}."
            if constructor
            else "No constructor is given, and the text is not a known type of Airbus, Boeing or ATR."
        )
        return Label(aircraft_type, LabelPath(constructor), "", (), (reason,))
    parsed = _resolve_ambiguity(rules(plain), text)
    roles: set[str] = set()
    named = find_named_type(constructor, plain)
    if named is not None and parsed.family in (None, named.family, *([] if named.family else [parsed.family])):
        if named.family is not None:
            parsed = parsed._replace(family=named.family, model=named.model, explanation="")
        parsed = parsed._replace(icao=named.icao)
        roles.update(named.roles)
        explanation.append(f"{named.explanation[0].upper()}{named.explanation[1:]}.")
    if parsed.explanation:
        explanation.append(parsed.explanation)
    if (freighter := _freighter_suffix(parsed)) is not None:
        roles.add("freighter")
        explanation.append(f"{freighter} marks a freighter.")
    if constructor in BIZJET and (private := BIZJET[constructor].search(plain)) is not None:
        roles.add("bizjet")
        explanation.append(f"{private[0]} marks a business jet, which keeps the model that it is based on.")
    if re.search(r"MRTT|AEW", parsed.suffix):
        roles.add("military")
        explanation.append("MRTT and AEW mark a military version.")
    if not explanation:
        explanation.append(f"It is not a known type of {constructor}, so the label stops at the constructor.")
    path = LabelPath(constructor, parsed.family, parsed.model)
    ordered = tuple(role for role in ("freighter", "bizjet", "military", "special") if role in roles)
    icao = parsed.icao or designator_of(parsed.family, parsed.model)
    return Label(aircraft_type, path, icao, ordered, tuple(explanation))


def infer_constructor(aircraft_type: str) -> str:
    """Return the only constructor that builds this type, "" if there is none or several.

    Only Boeing builds a 737, and only Airbus an A320. Use it for labels by a person who gives no constructor.
    `label_path` does not use it: a web page without a constructor may mean anything.
    """
    named, _ = _normalize("", aircraft_type)
    if named:
        return parse_label("", aircraft_type).path.constructor
    first = re.split(r"[/&+,]", aircraft_type)[0]  # of A319/A320/A321
    labels = [parse_label(name, first) for name in ("Airbus", "Boeing", "ATR", "Bombardier")]
    matching = {label.path.constructor for label in labels if label.path.family or label.icao or label.roles}
    return matching.pop() if len(matching) == 1 else ""


def is_known_constructor(constructor: str) -> bool:
    """Return whether `constructor` is a spelling of a constructor in the table, or of NO_AIRCRAFT."""
    return _normalize(constructor, "")[0] in (*CONSTRUCTORS.values(), NO_AIRCRAFT)


def closest_constructor(constructor: str) -> str:
    """Return the known constructor that a misspelled name resembles, "" if it is known or resembles none."""
    name = " ".join(constructor.split()).lower()
    close = [] if is_known_constructor(constructor) else difflib.get_close_matches(name, CONSTRUCTORS, 1, 0.75)
    return CONSTRUCTORS[close[0]] if close else ""


def _normalize(constructor: str, aircraft_type: str) -> tuple[str, str]:
    """Return the constructor in its usual spelling, and the type in upper case without the constructor's name."""
    constructor = " ".join(constructor.replace("_", " ").split())
    constructor = CONSTRUCTORS.get(constructor.lower(), constructor)
    # A type "none" may also be an unknown type.
    if means_no_aircraft(constructor) or (
        not constructor and means_no_aircraft(aircraft_type) and aircraft_type.strip().lower() != "none"
    ):
        return NO_AIRCRAFT, ""
    text = INVISIBLE.sub("", unicodedata.normalize("NFKC", aircraft_type))
    text = DASHES.sub("-", " ".join(text.replace("_", " ").split())).upper()
    for spelling in sorted(CONSTRUCTORS, key=len, reverse=True):  # the longest first
        if (named := re.match(rf"{re.escape(spelling.upper())}(?![A-Z])[ -]*", text)) is not None:
            if constructor in ("", CONSTRUCTORS[spelling]):
                constructor, text = CONSTRUCTORS[spelling], text[named.end() :]
            break
    return constructor, text


def _resolve_ambiguity(parsed: _Parsed, text: str) -> _Parsed:
    """Go up to the level that two families (A320/A321) or two series (737-700/800) in `text` share."""
    and_then = r"(?:\s*[/&+,]\s*|-[0-9A-Z]+\s*[/&+,]\s*(?=[AB]\d|\d{3}-))"
    two = re.match(rf"[AB]?(\d{{3}}){and_then}[AB]?(\d{{3}})(?!\d)", text)
    known = {name.removeprefix("A") for name in (*AIRBUS_SERIES, *BOEING_SERIES)}
    if two is not None and two[1] != two[2] and {two[1], two[2]} <= known:
        return _Parsed(explanation=f"It names two families, {two[1]} and {two[2]}.")
    # After a comma, a number without a dash may be anything, such as the number of seats.
    and_then = r"\s*(?:[/&+]\s*(?:[AB]?\d{3}-|-?)|,\s*(?:[AB]?\d{3})?-)"
    both = re.search(rf"-(\d{{1,4}}){and_then}(\d{{1,4}})(?![0-9A-Z])", text)
    if both is not None and (len(both[1]), both[1][0]) != (len(both[2]), both[2][0]):
        return parsed._replace(model=None, icao="", explanation=f"It names two series, {both[1]} and {both[2]}.")
    return parsed


def _freighter_suffix(parsed: _Parsed) -> str | None:
    """Return the suffix that marks a freighter, None if there is none."""
    if parsed.model == "777F":
        return "F"
    words = re.findall(r"[A-Z0-9]++(?!-[A-Z]{4})", parsed.suffix)  # not the F of F-GKXA
    matches = (FREIGHTER.fullmatch(word) for word in words)
    return next((match[1] for match in matches if match), None)


def _airbus(text: str) -> _Parsed:
    """Parse A3xx-SEV: series, engine, engine version, and N for the re-engined models."""
    text = re.sub(r"^ACJ ?(?=\d{3})", "A", text)
    head = re.match(r"A[ .-]?(\d{3})(?!\d)", text)
    if head is None or (family := f"A{head[1]}") not in AIRBUS_SERIES:
        return _a220(text) or _designator(text, {*AIRBUS_SERIES, "A400M"})
    rest = text[head.end() :]
    if family == "A220" and (bombardier := _a220(rest)) is not None:
        return bombardier
    if family not in AIRBUS_NEO:
        rest = re.sub(r"^[ -]?(?:NEO|XWB)[ -](?=\d{3})", "-", rest)  # A330neo-900
    # Only the A300 has letters before the dash or the number: A300B4-605R. A space replaces the dash only before a full
    # series number.
    number = re.match(r"(?:[ -]?([BCF])\d-|-?| (?=\d00(?!\d)|10\d\d))(?:(10)\d\d|(\d)(\d)(\d))(?!\d)(N?)", rest)
    old = family == "A300" and (re.match(r"[ -]?([BCF])[24]", rest) or (number and number[3] in "12"))
    if number is None:
        explanation = f"It names the family {family}, but not a model."
        if family in AIRBUS_NEO and (mark := AIRBUS_NEO[family].search(rest)):
            return _Parsed(family, f"{family}neo", rest, f"Only the neo has {mark[0]}.")
        return _Parsed(family, None, rest, explanation, icao="A30B" if old else "")
    suffix = rest[number.end() :] + (" F" if number[1] == "F" else "")
    if number[2]:
        model = "A350-1000" if family == "A350" else None
        return _Parsed(family, model, suffix, f"{family}-{number[2]}xx is of the series 1000." if model else "")
    series, engine, version = number[3], number[4], number[5]
    explanation = f"It is of the series {series}00"
    if engine + version != "00" and family != "A220" and engine in AIRBUS_ENGINES:
        explanation += f", with engines by {AIRBUS_ENGINES[engine]} ({engine}) in version {version}"
    if family in AIRBUS_NEO:
        if number[6] or AIRBUS_NEO[family].search(rest):
            return _Parsed(family, f"{family}neo", suffix, f"{explanation}; the N, or the suffix, marks a neo.")
        if engine in "57" and version != "0" and series in AIRBUS_SERIES[family]:
            return _Parsed(family, f"{family}neo", suffix, f"{explanation}, which only the neo has.")
    if series not in AIRBUS_SERIES[family]:
        explanation = f"It is an {family}, but the label tree has no series {series}00."
        return _Parsed(family, None, suffix, explanation, icao="A30B" if old else "")
    return _Parsed(family, f"{family}-{series}00", suffix, f"{explanation}.")


def _a220(text: str) -> _Parsed | None:
    """Parse the names of the A220 when Bombardier built it; None for any other text."""
    name = re.search(r"(?<![A-Z0-9])(?:BD-?500(?:-1A1([01])(?![0-9]))?|CS-?([13])00|C[ -]?SERIES)(?![0-9])", text)
    if name is None:
        return None
    deeper = re.search(r"1A1([01])(?![0-9])|(?:CS-?|SERIES[ -])([13])00(?![0-9])", text)
    if deeper is None:
        return _Parsed("A220", None, "", f"{name[0]} is the former name of the A220.")
    series = deeper[2] or {"0": "1", "1": "3"}[deeper[1]]
    return _Parsed("A220", f"A220-{series}00", "", f"{name[0]} is the former name of the A220-{series}00.")


def _boeing(text: str) -> _Parsed:
    """Parse 7x7-SCC: series, a customer code of two letters or digits, and a suffix."""
    text = re.sub(r"^(?=MAX[ -]?(?:10|[789])(?!\d))", "737 ", text)  # MAX 8
    if text.startswith("BBJ"):
        text = re.sub(r"^BBJ ?(?=(?:B?7\d7|MAX))", "", text)
        text = f"737 {text} BBJ" if not re.match(r"B?7\d7", text) else f"{text} BBJ"
    head = re.match(r"(?:B[ .-]?)?(7\d7|720(?!P))(?!\d)", text)
    if head is None or (family := head[1]) not in BOEING_SERIES:
        return _designator(text, BOEING_SERIES)
    rest = text[head.end() :]
    if family == "737" and (max_or_bbj := _irregular_737(rest)) is not None:
        return max_or_bbj
    if family == "747" and (letters := re.match(r"[ -]?(S[PR])(?![A-Z])", rest)):
        return _Parsed(
            family, f"747{letters[1]}", rest[letters.end() :], f"{letters[1]} is a separate model of the 747."
        )
    if family == "777" and re.match(
        r"(?:-200(?:LR)?)?[ -]?F(?:REIGHTER)?(?![A-Z]|-[A-Z]{4})|-F[0-9A-Z]{2}(?![0-9A-Z])", rest
    ):
        return _Parsed(family, "777F", rest, "F instead of a series is the factory-built freighter.")
    # "747-8F" has no customer code either: a code has two characters.
    # After a space, the number must end the text: "787 9", but not "787 10 years".
    plain = re.match(r"(?:-| (?=\d+[FI]?(?: DREAMLINER| BBJ)?$))(10|[789])([A-Z]?)(?![0-9A-Z])", rest)
    if plain and plain[1] in BOEING_PLAIN.get(family, ()):
        suffix = f"{plain[2]} {rest[plain.end() :]}"
        return _Parsed(family, f"{family}-{plain[1]}", suffix, f"{family}-{plain[1]} has no customer code.")
    if family == "727" and (old := re.match(r"-(\d\d)(?!\d)", rest)):
        explanation = f"Two digits are a customer code ({old[1]}) of the first series, 100, which has no series digit."
        return _Parsed(family, "727-100", rest[old.end() :], explanation, _re_engined("1", rest))
    coded = re.match(r"(?:-| (?=\d00))(\d)([0-9A-Z]{2})(.*)", rest)
    if family == "717" and coded and coded[1] == "1":
        return _Parsed()  # a C-135, not the airliner: see named_types.py
    if coded is None or coded[1] not in BOEING_SERIES[family]:
        explanation = f"It is a {family}, but without a series that the label tree has."
        if not coded:
            explanation = f"It names the family {family}, but not a model."
        return _Parsed(family, None, rest, explanation)
    series, suffix = f"{family}-{coded[1]}00", coded[3]
    explanation = f"It is of the series {coded[1]}00" + (
        f", and {coded[2]} is the code of its first customer." if coded[2] != "00" else "."
    )
    if series == "747-800":
        return _Parsed(family, "747-8", suffix, f"It is a 747-8, and {coded[2]} is the code of its first customer.")
    if series == "747-400" and re.search(r"LCF|DREAMLIFTER", suffix):
        return _Parsed(family, "747-400LCF", suffix, explanation)  # has a unique fuselage
    if series == "737-900" and "BBJ3" in suffix:
        return _Parsed(family, "737-900ER", suffix, f"{explanation} The BBJ3 is based on the 737-900ER.")
    reach = re.match(r"[ -]?(?:(ER|LR)(?![A-Z])|(ER|LR)(?=(?:F|SF|MF|BCF|BDSF)(?![A-Z])))", suffix)
    if reach and (longer := series + (reach[1] or reach[2])) in BOEING_RANGES:
        return _Parsed(family, longer, suffix, f"{explanation} {reach[1] or reach[2]} makes it a separate model.")
    return _Parsed(family, series, suffix, explanation, _variant_designator(series, suffix))


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


def _irregular_737(rest: str) -> _Parsed | None:
    """Parse names of 737 models that are not of the form 737-SCC; None for the others.

    The customer code decides: a 737-8 is a MAX 8, which has none, and a 737-800 is its predecessor.
    """
    if "WEDGETAIL" in rest or "AEW" in rest:
        return _Parsed("737", "737-700 Wedgetail", rest, "The Wedgetail is a 737-700 with a dorsal radar.")
    if high_density := re.match(r"-8-?200(?!\d)", rest):
        explanation = "The 737-8-200 is a MAX 8 with more seats."
        return _Parsed("737", "737 MAX 8", rest[high_density.end() :], explanation)
    named = re.match(r"[- ]?(10|[789])[- ]?MAX|[- ]?MAX[- ]?(10|[789])(?!\d)|[- ]?MAX[- ]?(8)200(?!\d)", rest)
    if named is not None:
        number = named[1] or named[2] or named[3]
        return _Parsed("737", f"737 MAX {number}", rest[named.end() :], f"It names the MAX {number}.")
    if series := re.match(r"-(\d00) ?MAX", rest):
        return _Parsed("737", None, rest, f"MAX and series {series[1]} contradict each other.")
    if plain := re.match(r"-(10|[789])(?![0-9A-Z])", rest):
        explanation = (
            f"737-{plain[1]} without a customer code is the MAX {plain[1]}; its predecessor is the 737-{plain[1]}00."
        )
        return _Parsed("737", f"737 MAX {plain[1]}", rest[plain.end() :], explanation)
    if jet := re.match(r"[- ]?BBJ[ -]?([123])(?!\d)", rest):
        model = BUSINESS_JETS[jet[1]]
        return _Parsed("737", model, rest, f"The BBJ{jet[1]} is based on the {model}.")
    return None


def _atr(text: str) -> _Parsed:
    """Parse 42-S00 and 72-S00. Several models share a certified number (72-212A)."""
    head = re.match(r"(42|72)(?!\d)(?:-([3-6])00(?!\d))?", text)
    if head is None:
        return _designator(text, {"42", "72"})
    suffix = re.sub(r"^-\d{3}A?", "", text[head.end() :])
    if head[2] is None:
        return _Parsed(head[1], None, suffix, f"It names the family {head[1]}, but not a single model.")
    return _Parsed(head[1], f"{head[1]}-{head[2]}00", suffix, f"It is of the series {head[2]}00.")


def _designator(text: str, families: Collection[str]) -> _Parsed:
    """Parse a text that is an ICAO designator of one of `families`."""
    entry = parse_designator(text)
    if entry is None or entry[0] not in families:
        return _Parsed()
    family, model = entry
    meaning = model or f"several models of the {family}"
    return _Parsed(family, model, "", f"{text} is the ICAO designator of {meaning}.", icao=text)
