"""From the text that a site prints to a place in the label tree: constructor, family, model.

Sites write the certified type, with the engine or the first customer in it ("A320-214", "737-8AS");
spotters say "A320-200" and "737-800", and so does the tree. `explain` is a pure function of the two texts on a
card: it returns the place, what else the text tells, and why. It goes only as deep as it is sure of: "A321" is a
family, and a model is not guessed. `place` is the part of its answer that training needs.
"""

import difflib
import re
import unicodedata
from collections.abc import Collection
from typing import NamedTuple

from planespotter_scraping.labels.icao import designator, named_by
from planespotter_scraping.labels.named_types import special


class LabelPath(NamedTuple):
    """A path from the root of the label tree, as deep as the label allows.

    `constructor` is "" where it is not known. `family` is the type number as spoken ("737", "A321") and `model`
    begins with it ("737-800", "737 MAX 8", "A321neo"); either is None below the level that the label reaches.
    """

    constructor: str
    family: str | None = None
    model: str | None = None


class Label(NamedTuple):
    """All that the text of a label tells.

    `text` is the type as it came. `icao` is the ICAO designator, "" where the text leaves it open. `roles` has any of
    "freighter", "bizjet", "military" and "special" (outsize transports and flying laboratories), in this order.
    `why` has a sentence for each step of the reading.
    """

    text: str
    path: LabelPath
    icao: str
    roles: tuple[str, ...]
    why: tuple[str, ...]


class _Reading(NamedTuple):
    """What the rules of one constructor read: the place, the marks behind the number, and why."""

    family: str | None = None
    model: str | None = None
    marks: str = ""
    why: str = ""
    icao: str = ""  # only where it is another one than that of the place


# Other spellings of a constructor, in lower case.
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
# Re-engined under the old series number: a model of its own. The A321LR and XLR are neos; an A319LR is not.
AIRBUS_NEO = {
    "A319": re.compile(r"NEO|^N(?![A-Z0-9])"),
    "A320": re.compile(r"NEO|^N(?![A-Z0-9])"),
    "A321": re.compile(r"NEO|^N[XY]?(?![A-Z0-9])|XLR|\dLR|^[ -]?LR"),
}
# The second digit of the certified number. The A220 has another numbering.
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
# These were sold without a customer code, so a number with nothing behind it is the whole name.
BOEING_PLAIN = {"747": ("8",), "777": ("8", "9"), "787": ("8", "9", "10")}
# Longer range made a type of its own here, and an option of the same type elsewhere (747-400ER).
BOEING_RANGES = {"737-900ER", "767-200ER", "767-300ER", "767-400ER", "777-200ER", "777-200LR", "777-300ER"}
BUSINESS_JETS = {"1": "737-700", "2": "737-800", "3": "737-900ER"}  # BBJ1 to BBJ3

# Letters that may stand between the number and a freighter mark: 767-300ERF, 777-300ERSF, 747-243B(SF). 767-34AFER has
# them behind it.
FREIGHTER = re.compile(
    r"(?:ER|LR|R|[ABDEM]|N[XY]?|ADV)?(F|SF|BCF|BDSF|BDQF|PCF|PTF|P2F|PF|MF|QF|SDF|FSCD|FREIGHTER|CONVERTED FREIGHTER)"
    r"(?:ER)?"
)
BIZJET = {
    "Airbus": re.compile(r"(?<![A-Z])X?A?CJ(?![A-Z])|PRESTIGE|ELITE"),
    "Boeing": re.compile(r"BBJ"),
}
DASHES = re.compile(r"\s*[-\u2010-\u2015\u2043\u2212]+\s*")
# Soft hyphens and joiners, which come along when text is copied.
UNSEEN = re.compile("[\u00ad\u200b-\u200d\u2060\ufeff]")


def place(constructor: str, aircraft_type: str) -> LabelPath:
    """Return where a photo belongs, from the constructor and the aircraft type that its page names.

    Any text is accepted. A constructor that this module has no rules for is returned as it is written, without
    a family; where only the type names a known constructor ("Boeing 737-800"), that one is taken.
    """
    return explain(constructor, aircraft_type).path


def explain(constructor: str, aircraft_type: str) -> Label:
    """Return the place of a photo as `place` does, with the designator, the roles, and why."""
    constructor, text = _whose(constructor, aircraft_type)
    plain = " ".join(re.sub(r"[(),/]", " ", text).split())  # "767-36N(ER)" is "767-36NER", mostly
    why = []
    if constructor == "Bombardier" and _a220(plain) is not None:
        constructor = "Airbus"
        why.append("Bombardier's C Series became the Airbus A220.")
    rules = {"Airbus": _airbus, "Boeing": _boeing, "ATR": _atr}.get(constructor)
    if rules is None:
        reason = (
            f"There are no rules for the constructor {constructor}."
            if constructor
            else "No constructor is named, and it is no type that the rules know of Airbus, Boeing or ATR."
        )
        return Label(aircraft_type, LabelPath(constructor), "", (), (reason,))
    read = _without_alternatives(rules(plain), text)
    roles: set[str] = set()
    known_as = special(constructor, plain)
    if known_as is not None and read.family in (None, known_as.family, *([] if known_as.family else [read.family])):
        if known_as.family is not None:
            read = read._replace(family=known_as.family, model=known_as.model, why="")
        read = read._replace(icao=known_as.icao)
        roles.update(known_as.roles)
        why.append(f"{known_as.why[0].upper()}{known_as.why[1:]}.")
    if read.why:
        why.append(read.why)
    if (freight := _freight(read)) is not None:
        roles.add("freighter")
        why.append(f"{freight} marks a freighter.")
    if constructor in BIZJET and (private := BIZJET[constructor].search(plain)) is not None:
        roles.add("bizjet")
        why.append(f"{private[0]} marks a business jet, which keeps the model that it was made from.")
    if re.search(r"MRTT|AEW", read.marks):
        roles.add("military")
        why.append("MRTT and AEW mark a military version.")
    if not why:
        why.append(f"It is no type of {constructor} that the rules know, so only the constructor is sure.")
    path = LabelPath(constructor, read.family, read.model)
    ordered = tuple(role for role in ("freighter", "bizjet", "military", "special") if role in roles)
    return Label(aircraft_type, path, read.icao or designator(read.family, read.model), ordered, tuple(why))


def maker(aircraft_type: str) -> str:
    """Return whose type this is, where the text alone tells it, else "".

    Only Boeing makes a 737, and only Airbus an A320: for labels that come without a constructor, from a person who
    knows what they are. `place` does not use it, since a page that names no constructor may mean anything.
    """
    named, _ = _whose("", aircraft_type)
    if named:
        return explain("", aircraft_type).path.constructor
    first = re.split(r"[/&+,]", aircraft_type)[0]  # of A319/A320/A321
    found = {name: explain(name, first) for name in ("Airbus", "Boeing", "ATR", "Bombardier")}
    sure = {label.path.constructor for label in found.values() if label.path.family or label.icao or label.roles}
    return sure.pop() if len(sure) == 1 else ""


def knows(constructor: str) -> bool:
    """Return whether `constructor` is a name, in any spelling, of one that this module knows."""
    return _whose(constructor, "")[0] in CONSTRUCTORS.values()


def nearest(constructor: str) -> str:
    """Return the constructor that a name which this module does not know is most like, "" if it is like none."""
    name = " ".join(constructor.split()).lower()
    close = [] if knows(constructor) else difflib.get_close_matches(name, CONSTRUCTORS, 1, 0.75)
    return CONSTRUCTORS[close[0]] if close else ""


def _whose(constructor: str, aircraft_type: str) -> tuple[str, str]:
    """Return the constructor in its usual spelling, and the type in capitals without the constructor's name."""
    constructor = " ".join(constructor.replace("_", " ").split())
    constructor = CONSTRUCTORS.get(constructor.lower(), constructor)
    text = UNSEEN.sub("", unicodedata.normalize("NFKC", aircraft_type))
    text = DASHES.sub("-", " ".join(text.replace("_", " ").split())).upper()
    for spelling in sorted(CONSTRUCTORS, key=len, reverse=True):  # the longest first
        if (named := re.match(rf"{re.escape(spelling.upper())}(?![A-Z])[ -]*", text)) is not None:
            if constructor in ("", CONSTRUCTORS[spelling]):
                constructor, text = CONSTRUCTORS[spelling], text[named.end() :]
            break
    return constructor, text


def _without_alternatives(read: _Reading, text: str) -> _Reading:
    """Go back up to the level that holds where `text` names two families (A320/A321) or series (737-700/800)."""
    and_then = r"(?:\s*[/&+,]\s*|-[0-9A-Z]+\s*[/&+,]\s*(?=[AB]\d|\d{3}-))"
    two = re.match(rf"[AB]?(\d{{3}}){and_then}[AB]?(\d{{3}})(?!\d)", text)
    known = {name.removeprefix("A") for name in (*AIRBUS_SERIES, *BOEING_SERIES)}
    if two is not None and two[1] != two[2] and {two[1], two[2]} <= known:
        return _Reading(why=f"It names two families, {two[1]} and {two[2]}.")
    # Behind a comma a number without a dash may be anything, such as how many seats there are.
    and_then = r"\s*(?:[/&+]\s*(?:[AB]?\d{3}-|-?)|,\s*(?:[AB]?\d{3})?-)"
    both = re.search(rf"-(\d{{1,4}}){and_then}(\d{{1,4}})(?![0-9A-Z])", text)
    if both is not None and (len(both[1]), both[1][0]) != (len(both[2]), both[2][0]):
        return read._replace(model=None, icao="", why=f"It names two series, {both[1]} and {both[2]}.")
    return read


def _freight(read: _Reading) -> str | None:
    """Return the mark that makes it a freighter, None if there is none."""
    if read.model == "777F":
        return "F"
    words = re.findall(r"[A-Z0-9]++(?!-[A-Z]{4})", read.marks)  # not the F of F-GKXA
    marks = (FREIGHTER.fullmatch(word) for word in words)
    return next((mark[1] for mark in marks if mark), None)


def _airbus(text: str) -> _Reading:
    """Read A3xx-SEV: series, engine, version of the engine, and N for the re-engined ones."""
    text = re.sub(r"^ACJ ?(?=\d{3})", "A", text)
    head = re.match(r"A[ .-]?(\d{3})(?!\d)", text)
    if head is None or (family := f"A{head[1]}") not in AIRBUS_SERIES:
        return _a220(text) or _designator(text, {*AIRBUS_SERIES, "A400M"})
    rest = text[head.end() :]
    if family == "A220" and (bombardier := _a220(rest)) is not None:
        return bombardier
    if family not in AIRBUS_NEO:
        rest = re.sub(r"^[ -]?(?:NEO|XWB)[ -](?=\d{3})", "-", rest)  # A330neo-900
    # Only the A300 has letters before the dash or the number: A300B4-605R. A space instead of the dash is
    # trusted before a whole series number only.
    number = re.match(r"(?:[ -]?([BCF])\d-|-?| (?=\d00(?!\d)|10\d\d))(?:(10)\d\d|(\d)(\d)(\d))(?!\d)(N?)", rest)
    old = family == "A300" and (re.match(r"[ -]?([BCF])[24]", rest) or (number and number[3] in "12"))
    if number is None:
        why = f"It names the family {family}, and no model."
        if family in AIRBUS_NEO and (mark := AIRBUS_NEO[family].search(rest)):
            return _Reading(family, f"{family}neo", rest, f"{mark[0]} is said of the neo only.")
        return _Reading(family, None, rest, why, icao="A30B" if old else "")
    marks = rest[number.end() :] + (" F" if number[1] == "F" else "")
    if number[2]:
        model = "A350-1000" if family == "A350" else None
        return _Reading(family, model, marks, f"{family}-{number[2]}xx is of the series 1000." if model else "")
    series, engine, version = number[3], number[4], number[5]
    why = f"It is of the series {series}00"
    if engine + version != "00" and family != "A220" and engine in AIRBUS_ENGINES:
        why += f", with engines by {AIRBUS_ENGINES[engine]} ({engine}) in version {version}"
    if family in AIRBUS_NEO:
        if number[6] or AIRBUS_NEO[family].search(rest):
            return _Reading(family, f"{family}neo", marks, f"{why}; the N, or what follows, says that it is a neo.")
        if engine in "57" and version != "0" and series in AIRBUS_SERIES[family]:
            return _Reading(family, f"{family}neo", marks, f"{why}, which only the neo has.")
    if series not in AIRBUS_SERIES[family]:
        why = f"It is an {family}, but the tree has no series {series}00 of it."
        return _Reading(family, None, marks, why, icao="A30B" if old else "")
    return _Reading(family, f"{family}-{series}00", marks, f"{why}.")


def _a220(text: str) -> _Reading | None:
    """Read the names that the A220 had when it was Bombardier's; None for any other text."""
    name = re.search(r"(?<![A-Z0-9])(?:BD-?500(?:-1A1([01])(?![0-9]))?|CS-?([13])00|C[ -]?SERIES)(?![0-9])", text)
    if name is None:
        return None
    deeper = re.search(r"1A1([01])(?![0-9])|(?:CS-?|SERIES[ -])([13])00(?![0-9])", text)
    if deeper is None:
        return _Reading("A220", None, "", f"{name[0]} is what the A220 was called before.")
    series = deeper[2] or {"0": "1", "1": "3"}[deeper[1]]
    return _Reading("A220", f"A220-{series}00", "", f"{name[0]} is what the A220-{series}00 was called before.")


def _boeing(text: str) -> _Reading:
    """Read 7x7-SCC: series, then two letters or digits for the customer, and then what kind it is."""
    text = re.sub(r"^(?=MAX[ -]?(?:10|[789])(?!\d))", "737 ", text)  # MAX 8
    if text.startswith("BBJ"):
        text = re.sub(r"^BBJ ?(?=(?:B?7\d7|MAX))", "", text)
        text = f"737 {text} BBJ" if not re.match(r"B?7\d7", text) else f"{text} BBJ"
    head = re.match(r"(?:B[ .-]?)?(7\d7|720(?!P))(?!\d)", text)
    if head is None or (family := head[1]) not in BOEING_SERIES:
        return _designator(text, BOEING_SERIES)
    rest = text[head.end() :]
    if family == "737" and (max_or_bbj := _special_737(rest)) is not None:
        return max_or_bbj
    if family == "747" and (letters := re.match(r"[ -]?(S[PR])(?![A-Z])", rest)):
        return _Reading(family, f"747{letters[1]}", rest[letters.end() :], f"{letters[1]} is a 747 of its own.")
    if family == "777" and re.match(
        r"(?:-200(?:LR)?)?[ -]?F(?:REIGHTER)?(?![A-Z]|-[A-Z]{4})|-F[0-9A-Z]{2}(?![0-9A-Z])", rest
    ):
        return _Reading(family, "777F", rest, "F in the place of the series is the freighter that Boeing builds.")
    # "747-8F" is a number with nothing behind it too: one letter is no customer.
    # With a space in front it must be the end: "787 9", but not "787 10 years".
    plain = re.match(r"(?:-| (?=\d+[FI]?(?: DREAMLINER| BBJ)?$))(10|[789])([A-Z]?)(?![0-9A-Z])", rest)
    if plain and plain[1] in BOEING_PLAIN.get(family, ()):
        marks = f"{plain[2]} {rest[plain.end() :]}"
        return _Reading(family, f"{family}-{plain[1]}", marks, f"It is named {family}-{plain[1]}, without a customer.")
    if family == "727" and (old := re.match(r"-(\d\d)(?!\d)", rest)):
        why = f"Two digits are a customer ({old[1]}) of the first series, 100, which has no digit of its own."
        return _Reading(family, "727-100", rest[old.end() :], why, _re_engined("1", rest))
    coded = re.match(r"(?:-| (?=\d00))(\d)([0-9A-Z]{2})(.*)", rest)
    if family == "717" and coded and coded[1] == "1":
        return _Reading()  # no 717 as airlines know it: see specials
    if coded is None or coded[1] not in BOEING_SERIES[family]:
        why = f"It is a {family}, and names no series of it that the tree has."
        return _Reading(family, None, rest, why if coded else f"It names the family {family}, and no model.")
    series, kind = f"{family}-{coded[1]}00", coded[3]
    why = f"It is of the series {coded[1]}00" + (
        f", and {coded[2]} is its first customer." if coded[2] != "00" else "."
    )
    if series == "747-800":
        return _Reading(family, "747-8", kind, f"747-8 and {coded[2]}, its first customer.")
    if series == "747-400" and re.search(r"LCF|DREAMLIFTER", kind):
        return _Reading(family, "747-400LCF", kind, why)  # the outsize fuselage looks like no other
    if series == "737-900" and "BBJ3" in kind:
        return _Reading(family, "737-900ER", kind, f"{why} The BBJ3 was made from the 900ER only.")
    reach = re.match(r"[ -]?(?:(ER|LR)(?![A-Z])|(ER|LR)(?=(?:F|SF|MF|BCF|BDSF)(?![A-Z])))", kind)
    if reach and (longer := series + (reach[1] or reach[2])) in BOEING_RANGES:
        return _Reading(family, longer, kind, f"{why} {reach[1] or reach[2]} makes it a type of its own.")
    return _Reading(family, series, kind, why, _own_designator(series, kind))


def _own_designator(series: str, kind: str) -> str:
    """Return the designator of versions that the tree does not tell apart, but air traffic control does."""
    if series == "747-400" and re.match(r"D(?![A-Z])", kind):
        return "B74D"
    if series == "747-100" and re.match(r"B? ?SR(?![A-Z])", kind):
        return "B74R"
    return _re_engined(series[4], kind) if series.startswith("727") else ""


def _re_engined(series: str, kind: str) -> str:
    """Return the designator of a 727 with new engines, "" for the others."""
    return f"R72{series}" if re.search(r"SUPER ?27|(?<![A-Z])RE(?![A-Z])", kind) else ""


def _special_737(rest: str) -> _Reading | None:
    """Return what a 737 is whose name is not of the form 737-SCC, else None.

    The dash counts: a 737-8 is a MAX 8, which carries no customer code, and a 737-800 is its predecessor.
    """
    if "WEDGETAIL" in rest or "AEW" in rest:
        return _Reading("737", "737-700 Wedgetail", rest, "The Wedgetail is a 737-700 with a radar on its back.")
    if high_density := re.match(r"-8-?200(?!\d)", rest):
        why = "The 737-8-200 is a MAX 8 with more seats."
        return _Reading("737", "737 MAX 8", rest[high_density.end() :], why)
    named = re.match(r"[- ]?(10|[789])[- ]?MAX|[- ]?MAX[- ]?(10|[789])(?!\d)|[- ]?MAX[- ]?(8)200(?!\d)", rest)
    if named is not None:
        number = named[1] or named[2] or named[3]
        return _Reading("737", f"737 MAX {number}", rest[named.end() :], f"It is named the MAX {number}.")
    if series := re.match(r"-(\d00) ?MAX", rest):
        return _Reading("737", None, rest, f"No MAX is of the series {series[1]}, so one of the two is wrong.")
    if plain := re.match(r"-(10|[789])(?![0-9A-Z])", rest):
        why = f"737-{plain[1]} without a customer is the MAX {plain[1]}; its predecessor is written 737-{plain[1]}00."
        return _Reading("737", f"737 MAX {plain[1]}", rest[plain.end() :], why)
    if jet := re.match(r"[- ]?BBJ[ -]?([123])(?!\d)", rest):
        model = BUSINESS_JETS[jet[1]]
        return _Reading("737", model, rest, f"BBJ{jet[1]} was made from the {model}.")
    return None


def _atr(text: str) -> _Reading:
    """Read 42-S00 and 72-S00. The certified numbers (72-212A) are shared by several models."""
    head = re.match(r"(42|72)(?!\d)(?:-([3-6])00(?!\d))?", text)
    if head is None:
        return _designator(text, {"42", "72"})
    marks = re.sub(r"^-\d{3}A?", "", text[head.end() :])
    if head[2] is None:
        return _Reading(head[1], None, marks, f"It names the family {head[1]}, and no model that is sure.")
    return _Reading(head[1], f"{head[1]}-{head[2]}00", marks, f"It is of the series {head[2]}00.")


def _designator(text: str, families: Collection[str]) -> _Reading:
    """Read a text that is an ICAO designator of one of `families`."""
    found = named_by(text)
    if found is None or found[0] not in families:
        return _Reading()
    family, model = found
    which = model or f"more than one model of the {family}"
    return _Reading(family, model, "", f"{text} is the designator of {which}.", icao=text)
