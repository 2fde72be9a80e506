"""Label parser: from a site's text to a path in the label tree (constructor, family, model).

Sites print the certified type, which encodes the engine or the customer ("A320-214", "737-8AS"); the tree uses the
names of the series ("A320-200", "737-800"). `parse_label` is a pure function of constructor and type text. It descends
only as far as the text is unambiguous: "A321" is a family, and the model is not guessed. `label_path` returns only the
path, which is what training needs.
"""

import difflib
import re
from functools import lru_cache
from typing import NamedTuple

from planespotter_scraping.labels.constructors import (
    NO_AIRCRAFT,
    canonical_name,
    closest_constructor,
    constructor_of_other_type,
    is_known_constructor,
    means_no_aircraft,
    stated_constructors,
)
from planespotter_scraping.labels.iata import parse_iata_code
from planespotter_scraping.labels.icao import designator_of
from planespotter_scraping.labels.mentions import TYPE_ANYWHERE, TYPE_AT_START, combine, find_mentions, plain
from planespotter_scraping.labels.named_types import NamedType, find_named_type
from planespotter_scraping.labels.normalization import normalize
from planespotter_scraping.labels.type_rules import RULES, ParsedType, is_c_series

__all__ = [
    "Label",
    "LabelPath",
    "closest_constructor",
    "infer_constructor",
    "is_known_constructor",
    "label_path",
    "parse_label",
]


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
# Constructors whose types sites file under the company that owns their designer or shares its name.
UNDER_ONE_ROOF = {
    "Airbus": ("Airbus Helicopters",),
    "Boeing": ("McDonnell Douglas", "Douglas", "De Havilland Canada"),
}
# The A320 family is the A318, A319, A320 and A321, each a family in the label tree.
A320_FAMILY = re.compile(r"A[ -]?320(?:[ -]?(?:NEO|CEO))?[ -](?:FAMILY|SERIES)(?![A-Z])")
# A constructor's name with a slip of the pen: it counts only before a type.
MISSPELLED = re.compile(r"([A-Z]{4,9})[ -]+(?=[AB]?[ -]?[37]\d\d(?!\d))")


def label_path(constructor: str, aircraft_type: str) -> LabelPath:
    """Return the path of a photo in the label tree; see `parse_label`."""
    return parse_label(constructor, aircraft_type).path


@lru_cache(maxsize=4096)  # catalogs and folders repeat few labels
def parse_label(constructor: str, aircraft_type: str) -> Label:
    """Parse the label of a photo.

    Args:
        constructor: Constructor in any spelling. A constructor without rules is kept as it is, without a family. If
            it is empty, one that `aircraft_type` names is used ("Boeing 737-800"). NO_AIRCRAFT, in any spelling,
            stands for a picture without an aircraft: such a label has no family, no model and no roles.
        aircraft_type: Any text.

    Returns:
        Path, designator, roles and explanation.
    """
    constructor, text = _split_constructor(constructor, aircraft_type)
    explanation = []
    if constructor == "Bombardier" and is_c_series(plain(text)):
        constructor = "Airbus"
        explanation.append("Bombardier's C Series became the Airbus A220.")
    if (reason := _no_rules(constructor)) is not None:
        return Label(aircraft_type, LabelPath(constructor), "", (), (reason,))
    parsed = _parse(constructor, text, is_stated=True)
    if parsed.family is None and (other := constructor_of_other_type(text, UNDER_ONE_ROOF.get(constructor, ()))):
        reason = f"It is a type of {other}, which is a separate constructor."
        return Label(aircraft_type, LabelPath(other), "", (), (reason,))
    roles: set[str] = set()
    named = _named_type(constructor, text, parsed)
    if named is not None:
        if named.family is not None:
            parsed = parsed._replace(family=named.family, model=named.model or parsed.model, explanation="")
        parsed = parsed._replace(icao=named.icao)
        roles.update(named.roles)
        explanation.append(f"{named.explanation[0].upper()}{named.explanation[1:]}.")
    if parsed.explanation:
        explanation.append(parsed.explanation)
    if (freighter := _freighter_suffix(parsed)) is not None:
        roles.add("freighter")
        explanation.append(f"{freighter} marks a freighter.")
    if constructor in BIZJET and (private := BIZJET[constructor].search(plain(text))) is not None:
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


@lru_cache(maxsize=4096)
def infer_constructor(aircraft_type: str) -> str:
    """Return the only constructor that builds this type, "" if there is none or several.

    Only Boeing builds a 737, and only Airbus an A320. Use it for labels by a person who gives no constructor.
    `label_path` does not use it: a web page without a constructor may mean anything.
    """
    constructor, text = _split_constructor("", aircraft_type)
    if constructor or stated_constructors(text):
        return parse_label(constructor, aircraft_type).path.constructor
    matching = {name for name in RULES if _is_type_of(name, text)}
    if not matching:
        return constructor_of_other_type(text, anywhere=False)
    return matching.pop() if len(matching) == 1 else ""


def _split_constructor(constructor: str, aircraft_type: str) -> tuple[str, str]:
    """Return the constructor in its usual spelling, and the normalized type text without the constructor's name."""
    constructor = canonical_name(constructor)
    # A type "none" may also be an unknown type.
    if not constructor and means_no_aircraft(aircraft_type) and aircraft_type.strip().lower() != "none":
        return NO_AIRCRAFT, ""
    text = normalize(aircraft_type)
    if not constructor or constructor in RULES or constructor == "Bombardier":
        return _split_stated(constructor, text)
    closest = closest_constructor(constructor)  # the type decides whether it is a misspelling
    if closest in RULES and find_mentions(closest, _split_stated(closest, text)[1], is_stated=True):
        return _split_stated(closest, text)
    return constructor, text


def _split_stated(constructor: str, text: str) -> tuple[str, str]:
    """Return the constructor that a text names, or the given one, and the text behind the name."""
    stated = stated_constructors(text)
    if not stated and (slip := MISSPELLED.match(text)) is not None:
        close = difflib.get_close_matches(slip[1], ("AIRBUS", "BOEING"), 1, 0.8)
        name, rest = close[0].capitalize() if close else "", text[slip.end() :]
        if constructor in ("", name) and find_mentions(name, rest, is_stated=True):
            return name, rest
        return constructor, text
    own = [name for name in stated if _belongs(name.name, constructor)]
    before_type = [name for name in own if _starts_with_type(name.name, text[name.end :])]
    names = {name.name for name in before_type or own}
    if len(names) != 1:
        return constructor, text
    chosen = (before_type or own)[0]
    while (again := next((name for name in own if name.start == chosen.end), None)) is not None:
        chosen = again
    if not before_type and chosen.start > 0:
        text = f"{text[: chosen.start]} {text[chosen.end :]}".strip()  # 737-800 by Boeing
    else:
        text = text[chosen.end :]
    return names.pop(), text


def _belongs(name: str, constructor: str) -> bool:
    """Return whether a text with `name` can be a type of the given constructor, "" if none is given."""
    if constructor in ("", name):
        return True
    return name in UNDER_ONE_ROOF.get(constructor, ())


def _starts_with_type(constructor: str, text: str) -> bool:
    """Return whether a text starts with a type of a constructor."""
    if constructor == "Bombardier":
        return is_c_series(text)
    if constructor not in RULES:
        return False
    head = TYPE_AT_START[constructor].match(text) or TYPE_ANYWHERE[constructor].match(text)
    named = find_named_type(constructor, text)
    return head is not None or (named is not None and named.pattern.match(text) is not None)


def _no_rules(constructor: str) -> str | None:
    """Return why a label stops at the constructor, None if there are rules for its types."""
    if constructor in RULES:
        return None
    if constructor == NO_AIRCRAFT:
        return "The picture shows no aircraft."
    if constructor:
        return f"There are no rules for the constructor {constructor}."
    return "No constructor is given, and the text is not a known type of Airbus, Boeing or ATR."


def _parse(constructor: str, text: str, *, is_stated: bool) -> ParsedType:
    """Return what all types of a constructor in a text share."""
    if constructor == "Airbus" and A320_FAMILY.match(text):
        return ParsedType(explanation="The A320 family is the A318, A319, A320 and A321.", is_list=True)
    if (coded := parse_iata_code(constructor, text, is_stated=is_stated)) is not None:
        return coded
    mentions = find_mentions(constructor, text, is_stated=is_stated)
    for other in {"Airbus", "Boeing"} - {constructor}:
        if mentions and find_mentions(other, text, is_stated=False):
            return ParsedType(explanation=f"It also names a type of {other}.", is_list=True)
    return combine(mentions) if mentions else ParsedType(suffix=plain(text) if is_stated else "")


def _named_type(constructor: str, text: str, parsed: ParsedType) -> NamedType | None:
    """Return the named type in a text, None if there is none or if it contradicts the parsed number."""
    named = None if parsed.is_list else find_named_type(constructor, plain(text))
    if named is None or named.family is None or parsed.family is None:
        return named
    if parsed.family != named.family:
        return None
    deepens = named.model is None or parsed.model is None or named.model.startswith(parsed.model)
    return named if deepens else None


def _is_type_of(constructor: str, text: str) -> bool:
    """Return whether a text without a constructor names a type that only this one builds."""
    if parse_iata_code(constructor, text, is_stated=False) or find_mentions(constructor, text, is_stated=False):
        return True
    named = find_named_type(constructor, plain(text))
    return named is not None and not named.is_word


def _freighter_suffix(parsed: ParsedType) -> str | None:
    """Return the suffix that marks a freighter, None if there is none."""
    if parsed.model == "777F":
        return "F"
    words = re.findall(r"[A-Z0-9]++(?!-[A-Z]{4})", parsed.suffix)  # not the F of F-GKXA
    matches = (FREIGHTER.fullmatch(word) for word in words)
    return next((match[1] for match in matches if match), None)
