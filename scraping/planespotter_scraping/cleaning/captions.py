"""Tell from a photo's caption that it does not show an aircraft from outside: cockpits, cabins, details, models.

The words are data. They are few on purpose: "engine", "tail", "wing", "logo" and "model" stand in the captions of
good photos more often than not ("tail number", "new logo", "the -900 model"), so they count only as part of phrases,
or where they are what the whole caption is about ("CFM56 engine of a 737", "Winglet"; see SUBJECTS).
Phrases in HARMLESS are taken out of a caption before anything is looked for.
"""

import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

# What the words of each kind say about the picture. A space stands for anything between two words; "s" at the end
# of a phrase and without counts the same.
WORDS: dict[str, tuple[str, ...]] = {
    "the cockpit": (
        "cockpit",
        "flight deck",
        "flightdeck",
        "instrument panel",
        "overhead panel",
        "throttle quadrant",
        "glareshield",
        "poste de pilotage",
        "jump seat",
        "jumpseat",
    ),
    "the cabin": (
        "cabin",
        "interior",
        "galley",
        "legroom",
        "seat pitch",
        "seat row",
        "seat map",
        "class seat",
        "economy seat",
        "overhead bin",
        "safety card",
        "inflight entertainment",
        "in flight meal",
        "lavatory",
        "on board view",
        "kabine",
        "innenraum",
        "cabine",
        "cabina",
    ),
    "the view from a window": (
        "wing view",
        "wingview",
        "window view",
        "view over the wing",
        "view from my seat",
        "from the window seat",
        "view from window",
        "view from a window",
        "view from the window",
        "view out of the window",
    ),
    "a detail": (
        "close up of",
        "close up view",
        "close up shot",
        "gear close up",
        "closeup",
        "detail of",
        "detail view",
        "detail shot",
        "detail photo",
        "engine close up",
        "engine detail",
        "winglet close up",
        "winglet detail",
        "nose close up",
        "tail close up",
        "tail detail",
        "landing gear detail",
        "landing gear close up",
    ),
    "a model or a drawing": (
        "scale model",
        "model aircraft",
        "model airplane",
        "model aeroplane",
        "model plane",
        "model kit",
        "model of a",
        "paper model",
        "plastic model",
        "lego model",
        "diecast",
        "die cast",
        "gemini jets",
        "herpa wings",
        "mock up",
        "mockup",
        "artist s impression",
        "artist impression",
        "computer generated",
        "3d render",
        "3d rendering",
        "line drawing",
        "seating chart",
    ),
    "a simulator": (
        "flight simulator",
        "full flight sim",
        "simulator",
        "fs2020",
        "msfs 2020",
        "x plane 11",
        "x plane 12",
    ),
}
HARMLESS: tuple[str, ...] = (
    "cockpit window",
    "cockpit windscreen",
    "cockpit window frame",
    "cockpit crew",
    "cockpit mask",
    "waving from the cockpit",
    "wave from the cockpit",
    "flight deck crew",
    "flight deck window",
    "cabin crew",
    "cabin door",
    "cabin window",
    "cabin pressure",
    "cabin pressurisation",
    "cabin pressurization",
    "cabin altitude",
    "cabin smoke",
    "smoke in the cabin",
    "fumes in the cabin",
    "cabin light",
    "with new cabin",
    "with the new cabin",
    "ministry of the interior",
    "ministry of interior",
    "interior ministry",
    "department of the interior",
    "air interior",
    "interior airways",
    "interior of alaska",
)
# What a photo shows that has one of these words as its subject: at the beginning, alone or before a comma or "of".
SUBJECTS: dict[str, tuple[str, ...]] = {
    "a detail": (
        "engine",
        "turbofan",
        "engine nacelle",
        "engine cowling",
        "fan blade",
        "winglet",
        "sharklet",
        "wing tip",
        "wingtip",
        "landing gear",
        "nose gear",
        "main gear",
        "undercarriage",
        "wheel well",
        "tail cone",
        "tail logo",
        "door",
        "detail",
        "close up",
        "closeup",
    ),
    "the cabin": ("seat", "business class", "first class", "economy class", "premium economy", "cargo hold"),
    "the view from a window": ("view out of window", "out of the window", "out of my window"),
    "a model or a drawing": ("drawing", "lego"),
}
# Words that may stand before a subject: articles, where it is, and whose engine it is.
BEFORE_SUBJECT = (
    r"(?:(?:an?|the|its|left|right|port|starboard|front|rear|upper|main|nose|jet|inboard|outboard|new|number|no"
    r"|rolls|royce|trent|pratt|whitney|general|electric|cfm|leap|genx|iae|[a-z]*\d\w*)[\s&/-]+)*"
)
COLUMNS = ("caption", "title", "notes", "description", "page_url", "image_url")  # where captions may stand


class Said(NamedTuple):
    """What a caption says against a photo: the words, the column that they stand in, and what the photo shows."""

    words: str
    column: str
    shows: str


def against(row: Mapping[str, str], further: Iterable[str] = ()) -> Said | None:
    """Return what the captions of `row` say against it; None if nothing. `further` are words of the user's own."""
    for column in COLUMNS:
        text = row.get(column, "")
        if column.endswith("_url"):
            text = words_of(text)
        text = _pattern(HARMLESS).sub(" · ", text)
        for shows, phrases in (*WORDS.items(), ("what such words say", tuple(further))):
            if phrases and (match := _pattern(phrases).search(text)):
                return Said(match.group(), column, shows)
        for shows, phrases in SUBJECTS.items():
            if (match := _subject(phrases).match(text)) is not None:
                return Said(match[1], column, shows)
    return None


def words_of(address: str) -> str:
    """Return the last part of an address as words: "cockpit view A320" for ".../File:Cockpit_view_A320.jpg"."""
    try:
        last = unquote(urlsplit(address).path.rstrip("/").rpartition("/")[2])
    except ValueError:
        return ""
    return re.sub(r"[\s_\-+]+", " ", re.sub(r"\.(jpe?g|png|webp|html?|php)$", "", last, flags=re.IGNORECASE))


@lru_cache(maxsize=32)
def _pattern(phrases: tuple[str, ...]) -> re.Pattern[str]:
    """Return what finds any of these phrases as whole words, in capitals or not, the longest first."""
    return re.compile(rf"(?<![^\W_])(?:{_any_of(phrases)})(?![^\W_])", re.IGNORECASE)


@lru_cache(maxsize=32)
def _subject(phrases: tuple[str, ...]) -> re.Pattern[str]:
    """Return what matches a text that has one of these phrases, its group 1, as its subject."""
    behind = r"(?=\s*(?:$|[,;:.!(]|[-\u2013\u2014]\s|of\b))"
    return re.compile(rf"[\W_]*{BEFORE_SUBJECT}({_any_of(phrases)}){behind}", re.IGNORECASE)


def _any_of(phrases: tuple[str, ...]) -> str:
    """Return the pattern of any of these phrases, whatever stands between their words."""
    words = (re.findall(r"[^\W_]+", phrase) for phrase in sorted(phrases, key=len, reverse=True))
    return "|".join(r"[\W_]+".join(map(re.escape, some)) + "s?" for some in words if some) or "(?!)"
