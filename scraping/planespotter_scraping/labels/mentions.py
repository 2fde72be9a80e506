"""Mentions: split a text that names several types ("737-700/700LR/MAX 7", "A320 or A321") into one text per type.

A list leaves open which of its types a photo shows, so its label is what all of them share. Types that stand next to
each other without a separator of a list ("BD-500-1A11 (A220-300)") describe the same aircraft twice.
"""

import re
from collections.abc import Collection
from typing import NamedTuple

from planespotter_scraping.labels.icao import DESIGNATORS
from planespotter_scraping.labels.type_rules import AIRBUS_NEO, AIRBUS_SERIES, BOEING_SERIES, RULES, ParsedType


class Mention(NamedTuple):
    """One of the types in a text.

    Attributes:
        text: Text of the type with what follows it.
        is_listed: Whether a separator of a list stands before it.
        parsed: Its family and model.
    """

    text: str
    is_listed: bool
    parsed: ParsedType


_AIRBUS_FAMILIES = "|".join(name.removeprefix("A") for name in AIRBUS_SERIES)
_BOEING_FAMILIES = "|".join(BOEING_SERIES)


def _codes(families: Collection[str]) -> str:
    """Return a pattern of the ICAO designators of families."""
    codes = "|".join(code for code, (family, _) in DESIGNATORS.items() if family in families)
    return rf"(?<![A-Z0-9-])(?:{codes})(?![A-Z0-9-])"


# Types that are recognized anywhere in a text, not only at its start.
TYPE_ANYWHERE = {
    "Airbus": re.compile(
        rf"(?<![A-Z0-9])(?:ACJ[ -]?|A[ .-]?)(?:{_AIRBUS_FAMILIES})(?!\d)|"
        rf"(?<![A-Z0-9])(?:BD-?500|CS-?[13]00|C[ -]?SERIES)(?!\d)|{_codes({*AIRBUS_SERIES, 'A400M'})}"
    ),
    "Boeing": re.compile(
        rf"(?<![A-Z0-9])B[ .-]?(?:{_BOEING_FAMILIES})(?!\d)|(?<![A-Z0-9-])(?:{_BOEING_FAMILIES})"
        rf"(?=-(?!\d{{3}}-\d{{4}})[0-9A-Z]|-?(?:SP|SR|NG|F|ER|LCF|MAX|X)(?![A-Z])|"
        rf"[ ](?:(?:MAX|NG)(?![A-Z])|\d00(?!\d)))|"
        rf"(?<![A-Z0-9-])(?<!7 )MAX[ -]?(?:10|[789])(?!\d)|{_codes(BOEING_SERIES)}"
    ),
    "ATR": re.compile(rf"(?<![A-Z0-9-])(?:42|72)-?\d{{3}}(?!\d)|{_codes({'42', '72'})}"),
}
# Types that are recognized only at the start of a text, or after the name of their constructor.
TYPE_AT_START = {
    "Airbus": re.compile(rf"(?:{_AIRBUS_FAMILIES})(?!\d)"),
    "Boeing": re.compile(rf"(?:{_BOEING_FAMILIES})(?!\d|-\d{{3}}-\d{{4}})|BBJ|MAX[ -]?(?:10|[789])(?!\d)"),
    "ATR": re.compile(r"(?:42|72)(?!\d)"),
}
_SEPARATOR = r"\s*(?:[/&+,;]|(?<![A-Z])(?:OR|AND|VS|VERSUS|UND|ODER|ET|OU|Y|E|O|TO|BIS)(?![A-Z])\.?)\s*"
_LIST_END = re.compile(r"(?:\s*[/&+]|\s(?:OR|AND|VS|VERSUS|UND|ODER|ET|OU|Y|E|O|TO|BIS)\.?)\s*$|-$")


def find_mentions(constructor: str, text: str, *, is_stated: bool) -> list[Mention]:
    """Return the types of a constructor in a text.

    Args:
        constructor: One of RULES.
        text: Normalized text without the constructor's name.
        is_stated: Whether the constructor is known. Otherwise a number alone ("320", "72") is not a type, apart from
            Boeing's.

    Returns:
        The types in their order; [] if the text names none.
    """
    if constructor not in RULES:
        return []
    text = re.sub(r"^BBJ[ -]?(?=B?7\d7|MAX)", "", text)  # a role, not the BBJ of the first series
    starts = [match.start() for match in TYPE_ANYWHERE[constructor].finditer(text)]
    if 0 not in starts and (is_stated or constructor == "Boeing"):
        start = len(text) - len(text.lstrip("( "))
        if TYPE_AT_START[constructor].match(text, start):
            starts = [start, *(other for other in starts if other != start)]
    mentions: list[Mention] = []
    is_listed = False
    for start, end in zip(starts, [*starts[1:], len(text)], strict=False):
        segment = text[start:end]
        ends_list = _LIST_END.search(segment)
        for number, part in enumerate(_expand(constructor, segment[: ends_list.start()] if ends_list else segment)):
            parsed = RULES[constructor](plain(part))
            mentions.append(Mention(part, is_listed or number > 0, parsed))
        is_listed = ends_list is not None
    return [mention for mention in mentions if mention.parsed.family is not None]


def combine(mentions: list[Mention]) -> ParsedType:
    """Return the family and model that all mentions share.

    Args:
        mentions: At least one.
    """
    result = mentions[0].parsed
    suffix = " ".join(mention.parsed.suffix for mention in mentions)
    for mention in mentions[1:]:
        result = _common(result, mention.parsed, is_listed=mention.is_listed)
        if result.family is None:
            break
    return result._replace(suffix=suffix)


def plain(text: str) -> str:
    """Return `text` with spaces instead of brackets, commas and slashes: "767-36N(ER)" is "767-36N ER"."""
    return " ".join(re.sub(r"[(),;/]", " ", text).split())


def _common(first: ParsedType, second: ParsedType, *, is_listed: bool) -> ParsedType:
    """Return what two types share; without a list, a type and its family are the same aircraft."""
    if first.family != second.family:
        explanation = f"It names two families, {first.family} and {second.family}."
        return ParsedType(explanation=explanation, is_list=True)
    if first.model == second.model:
        return first
    if not is_listed and None in (first.model, second.model):
        return first if first.model else second
    if first.model and second.model:
        explanation = f"It names two models, {first.model} and {second.model}."
        return ParsedType(first.family, None, "", explanation, is_list=True)
    return (first if first.model is None else second)._replace(is_list=True)


def _expand(constructor: str, segment: str) -> list[str]:
    """Return one text per type of a list such as "737-700/700LR/MAX 7"."""
    segment = re.sub(rf"^(B?[ -]?(?:{_BOEING_FAMILIES}))/(?=[1-9]00(?!\d))", r"\1-", segment)  # 737/800
    pieces = re.split(f"({_SEPARATOR})", segment)
    parts, is_open = [pieces[0]], _can_continue(pieces[0])
    for separator, piece in zip(pieces[1::2], pieces[2::2], strict=True):
        complete = _completed(constructor, parts, piece, is_comma=separator.strip() in (",", ";")) if is_open else None
        if complete is not None:
            parts.append(complete)
        else:
            parts[-1] += f"{separator}{piece}"
        is_open = is_open and _can_continue(piece)
    return parts


def _can_continue(piece: str) -> bool:
    """Return whether a list can continue after an item: not after other text, as in "737-800 (cn 33972/1234)"."""
    words = re.sub(r"\([^()]*\)", " ", piece).split()
    return len(words) <= 3 and not any("(" in word or re.search(r"\d{4}$", word) for word in words[1:])


def _completed(constructor: str, parts: list[str], piece: str, *, is_comma: bool) -> str | None:
    """Return an item of a list with the family that the first item names; None if it is only a suffix of the last one.

    Args:
        constructor: One of RULES.
        parts: Complete items so far.
        piece: Text of the item.
        is_comma: Whether a comma stands before it: a number may then be anything, such as the number of seats.
    """
    if constructor == "ATR":
        other = re.match(r"(?:ATR[ -]?)?((?:42|72)(?!\d).*)|-?([3-6]00)(?!\d)", piece)
        return None if other is None else other[1] or f"{parts[0][:2]}-{other[2]}"
    if constructor == "Airbus" and re.match(r"BD|CS|C[ -]?SERIES", parts[0]):
        other = re.match(r"(?:BD-?500-)?(1A1[01])|(?:CS)?-?([13]00)(?!\d)", piece)
        return None if other is None else f"BD-500-{other[1]}" if other[1] else f"CS{other[2]}"
    head = re.match(r"(?:ACJ|A|B)?[ .-]?(\d{3})", parts[0])
    if head is None:
        return None
    prefix, families = ("A", AIRBUS_SERIES) if constructor == "Airbus" else ("", BOEING_SERIES)
    family, rest = f"{prefix}{head[1]}", parts[0][head.end() :]
    has_series = re.match(r"[ -]?[BCF]?\d?[ -]?\d", rest) is not None
    if (other := re.match(r"(\d{3})(?!\d)(-)?", piece)) and f"{prefix}{other[1]}" in families:
        is_series = constructor == "Airbus" and has_series and other[1][0] in AIRBUS_SERIES.get(family, "")
        if other[2] or not (is_comma or is_series):
            return f"{prefix}{piece}"
    if piece.startswith("-") or not is_comma:
        return _completed_number(family, rest, piece, has_series=has_series) or _completed_word(
            family, rest, piece, has_series=has_series
        )
    return None


def _completed_number(family: str, rest: str, piece: str, *, has_series: bool) -> str | None:
    """Return an item that is a number (-800, 700LR, 9) with its family, None for other text."""
    bare = piece.removeprefix("-")
    number = re.match(r"(\d)[0-9A-Z]\d(?!\d)|(\d)\d[A-Z]|1\d{3}(?!\d)", bare)
    is_max = re.match(r"[ -]?MAX", rest) is not None
    if number is None and not (re.match(r"(?:10|[789])(?![0-9A-Z])", bare) and (has_series or is_max)):
        return None
    if family in AIRBUS_NEO and _is_certified(rest) and re.fullmatch(r"\d{3}", bare.strip()):
        return f"{family}-{bare[0]}00"  # the N of a neo is not repeated: A320-214/251
    return f"{family}{' MAX ' if is_max else '-'}{bare}"


def _completed_word(family: str, rest: str, piece: str, *, has_series: bool) -> str | None:
    """Return an item that is a word (NEO, ER, MAX 7) with its family, None for a suffix of the last item."""
    if family == "737" and re.match(r"MAX(?![A-Z])", piece):
        return f"737 {piece}"
    if family in AIRBUS_NEO and re.match(r"(?:NEO|CEO)(?![A-Z])", piece):
        return f"{family} {piece}"
    if family == "A300" and not has_series and re.match(r"[BCF]\d?(?![A-Z0-9])", piece):
        return f"A300{piece}"
    if re.match(r"(?:ER|LR|XLR|F|ERF|LRF)(?![A-Z0-9])", piece) and not _is_certified(rest):
        series = re.match(r"[ -]?\d00", rest)
        return f"{family}{series[0] if series else ''}{piece}"
    return None


def _is_certified(rest: str) -> bool:
    """Return whether a certified number follows a family (767-3P6), not a plain series (767-300).

    A plain series is followed by a list of its variants, a certified number by suffixes.
    """
    return re.match(r"[ -]?(?:NG ?)?\d(?!00(?!\d))[0-9A-Z]{2}(?!\d)", rest) is not None
