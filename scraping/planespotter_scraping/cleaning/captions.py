"""Caption filter: find captions of photos without an aircraft from outside (cockpits, cabins, details, models).

The phrases are data, and few on purpose: "engine", "tail", "wing", "logo" and "model" occur in captions of good photos
more often than not ("tail number", "new logo", "the -900 model"). So they match only as part of a phrase, or as the
subject of the caption ("CFM56 engine of a 737", "Winglet"; see SUBJECTS). Phrases in HARMLESS are removed first.
"""

import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

# Phrases by what the photo shows. A space matches anything between two words; a plural "s" is optional.
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
# Phrases that match only as the subject of a caption: at its start, and alone or before a comma or "of".
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
# Words that may precede a subject: articles, positions, and engine manufacturers.
BEFORE_SUBJECT = (
    r"(?:(?:an?|the|its|left|right|port|starboard|front|rear|upper|main|nose|jet|inboard|outboard|new|number|no"
    r"|rolls|royce|trent|pratt|whitney|general|electric|cfm|leap|genx|iae|[a-z]*\d\w*)[\s&/-]+)*"
)
COLUMNS = ("caption", "title", "notes", "description", "page_url", "image_url")  # columns with captions


class CaptionMatch(NamedTuple):
    """A phrase in a caption, its column, and what the photo shows according to it."""

    phrase: str
    column: str
    shows: str


def find_caption_match(row: Mapping[str, str], extra_phrases: Iterable[str] = ()) -> CaptionMatch | None:
    """Find a phrase that excludes a photo in its captions.

    Args:
        row: Values by column; COLUMNS may have captions.
        extra_phrases: Phrases of the user, in addition to those of this module.

    Returns:
        The first match, or None.
    """
    for column in COLUMNS:
        text = row.get(column, "")
        if column.endswith("_url"):
            text = words_of_url(text)
        text = _pattern(HARMLESS).sub(" · ", text)
        for shows, phrases in (*WORDS.items(), ("what the phrase describes", tuple(extra_phrases))):
            if phrases and (match := _pattern(phrases).search(text)):
                return CaptionMatch(match.group(), column, shows)
        for shows, phrases in SUBJECTS.items():
            if (match := _subject(phrases).match(text)) is not None:
                return CaptionMatch(match[1], column, shows)
    return None


def words_of_url(url: str) -> str:
    """Return the last segment of a URL as words: "File:Cockpit view A320" of ".../File:Cockpit_view_A320.jpg"."""
    try:
        last = unquote(urlsplit(url).path.rstrip("/").rpartition("/")[2])
    except ValueError:
        return ""
    return re.sub(r"[\s_\-+]+", " ", re.sub(r"\.(jpe?g|png|webp|html?|php)$", "", last, flags=re.IGNORECASE))


@lru_cache(maxsize=32)
def _pattern(phrases: tuple[str, ...]) -> re.Pattern[str]:
    """Return a pattern that finds any of these phrases as whole words, ignoring case, longest first."""
    return re.compile(rf"(?<![^\W_])(?:{_any_of(phrases)})(?![^\W_])", re.IGNORECASE)


@lru_cache(maxsize=32)
def _subject(phrases: tuple[str, ...]) -> re.Pattern[str]:
    """Return a pattern that matches a text whose subject is one of these phrases (group 1)."""
    after = r"(?=\s*(?:$|[,;:.!(]|[-\u2013\u2014]\s|of\b))"
    return re.compile(rf"[\W_]*{BEFORE_SUBJECT}({_any_of(phrases)}){after}", re.IGNORECASE)


def _any_of(phrases: tuple[str, ...]) -> str:
    """Return the pattern of any of these phrases, with any punctuation between their words."""
    words = (re.findall(r"[^\W_]+", phrase) for phrase in sorted(phrases, key=len, reverse=True))
    return "|".join(r"[\W_]+".join(map(re.escape, parts)) + "s?" for parts in words if parts) or "(?!)"
