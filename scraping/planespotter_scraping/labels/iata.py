"""IATA aircraft type codes, which timetables and booking systems print: "77W", "32N", "73H"."""

from planespotter_scraping.labels.icao import designator_of
from planespotter_scraping.labels.type_rules import ParsedType

# Code: family, and the model if the code has only one. Codes of winglets, freighters and combis keep the model.
_CODES = """
221 A220 A220-100 | 223 A220 A220-300 | 22X A220
310 A310 | 312 A310 A310-200 | 313 A310 A310-300 | 31F A310 | 31X A310 A310-200 | 31Y A310 A310-300
AB3 A300 | AB4 A300 | AB6 A300 A300-600 | ABB A300 A300-600ST | ABF A300 | ABX A300 | ABY A300 A300-600
318 A318 | 31A A318 | 319 A319 | 31B A319 | 31N A319 A319neo
320 A320 | 32A A320 | 32F A320 | 32N A320 A320neo | 321 A321 | 32B A321 | 32X A321 | 32Q A321 A321neo
330 A330 | 332 A330 A330-200 | 333 A330 A330-300 | 338 A330 A330-800 | 339 A330 A330-900
33F A330 | 33X A330 A330-200 | 33Y A330 A330-300
340 A340 | 342 A340 A340-200 | 343 A340 A340-300 | 345 A340 A340-500 | 346 A340 A340-600
350 A350 | 359 A350 A350-900 | 351 A350 A350-1000 | 35K A350 A350-1000 | 380 A380 | 388 A380 A380-800
703 707 707-300 | 707 707 | 70F 707 | 70M 707 | 717 717 | 721 727 727-100 | 722 727 727-200 | 727 727
72A 727 727-200 | 72B 727 727-100 | 72C 727 727-200 | 72F 727 | 72M 727 | 72S 727 727-200 | 72X 727 727-100
72Y 727 727-200
731 737 737-100 | 732 737 737-200 | 733 737 737-300 | 734 737 737-400 | 735 737 737-500 | 736 737 737-600
737 737 | 738 737 737-800 | 739 737 | 73A 737 737-200 | 73C 737 737-300 | 73E 737 737-500 | 73F 737
73G 737 737-700 | 73H 737 737-800 | 73J 737 | 73L 737 737-200 | 73M 737 737-200 | 73N 737 737-300
73P 737 737-400 | 73Q 737 737-400 | 73R 737 737-700 | 73S 737 737-200 | 73W 737 737-700 | 73X 737 737-200
73Y 737 737-300 | 7M7 737 737_MAX_7 | 7M8 737 737_MAX_8 | 7M9 737 737_MAX_9 | 7MJ 737 737_MAX_10
741 747 747-100 | 742 747 747-200 | 743 747 747-300 | 744 747 747-400 | 747 747 | 74C 747 747-200
74D 747 747-300 | 74E 747 747-400 | 74F 747 | 74H 747 747-8 | 74J 747 747-400 | 74L 747 747SP | 74M 747
74N 747 747-8 | 74R 747 747SR | 74T 747 747-100 | 74U 747 747-300 | 74V 747 747SR | 74X 747 747-200
74Y 747 747-400 | 752 757 757-200 | 753 757 757-300 | 757 757 | 75F 757 | 75M 757 757-200 | 75T 757 757-300
75W 757 757-200 | 762 767 | 763 767 | 764 767 767-400ER | 767 767 | 76F 767 | 76V 767 767-300 | 76W 767
76X 767 767-200 | 76Y 767 767-300 | 772 777 | 773 777 777-300 | 777 777 | 77F 777 777F | 77L 777 777-200LR
77W 777 777-300ER | 77X 777 777F | 778 777 777-8 | 779 777 777-9 | 781 787 787-10 | 787 787 | 788 787 787-8
789 787 787-9 | AT4 42 | AT5 42 42-500 | AT7 72 | ATF 72
"""
IATA_CODES: dict[str, tuple[str, str | None]] = {
    code: (family, model[0].replace("_", " ") if model else None)
    for code, family, *model in (entry.split() for entry in _CODES.replace("\n", "|").split("|") if entry.strip())
}


def constructor_of_family(family: str) -> str:
    """Return the constructor of a family of IATA_CODES."""
    return "Airbus" if family.startswith("A") else "ATR" if family in ("42", "72") else "Boeing"


def parse_iata_code(constructor: str, text: str, *, is_stated: bool) -> ParsedType | None:
    """Look up an IATA code.

    Args:
        constructor: Constructor whose codes to consider.
        text: Normalized text; it is a code only as a whole.
        is_stated: Whether the constructor is known. Otherwise a number such as "320" may mean anything, apart from
            Boeing's, which all start with a 7.

    Returns:
        Family and model, None if `text` is not a code of the constructor.
    """
    if text not in IATA_CODES or constructor_of_family(IATA_CODES[text][0]) != constructor:
        return None
    if text.isdecimal() and not is_stated and constructor != "Boeing":
        return None
    family, model = IATA_CODES[text]
    if text == family:  # 737 is a family as well
        return None
    meaning = model or f"several models of the {family}"
    return ParsedType(family, model, "", f"{text} is the IATA code of {meaning}.", designator_of(family, model))
