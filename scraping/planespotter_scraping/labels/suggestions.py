"""Suggestions: types that a text may mean if the label rules do not know it ("Dremliner", "A32O")."""

import difflib
import re
from functools import cache

from planespotter_scraping.labels.iata import IATA_CODES
from planespotter_scraping.labels.icao import DESIGNATORS
from planespotter_scraping.labels.normalization import normalize
from planespotter_scraping.labels.parser import infer_constructor, parse_label

NICKNAMES = ("Beluga", "BelugaXL", "Dreamliner", "Dreamlifter", "Jumbo Jet", "Superjumbo", "Triple Seven", "Worldliner")
MAX_SUGGESTIONS = 3
MIN_SIMILARITY = 0.75
# Letters that are typed instead of a digit: A32O, B73B.
_CONFUSED = str.maketrans("OILB", "0118")


def suggest(text: str) -> tuple[str, ...]:
    """Return names that an unknown type text resembles, the closest first.

    Args:
        text: Text whose label has no family.
    """
    key = normalize(text)
    fixed = re.sub(r"(?<=\d)[OILB]+|[OIL]+(?=\d)", lambda letters: letters[0].translate(_CONFUSED), key)
    if key in IATA_CODES:  # a number such as 320, which needs its constructor
        label = parse_label("Airbus", key)
        return (" ".join(("Airbus", label.path.model or label.path.family or "")).strip(),)
    if fixed != key and (path := parse_label(infer_constructor(fixed), fixed).path).family is not None:
        return (path.model or path.family or "",)
    names = _names()
    close = difflib.get_close_matches(_squash(key), names, MAX_SUGGESTIONS, MIN_SIMILARITY)
    return tuple(names[name] for name in close)


@cache
def _names() -> dict[str, str]:
    """Return all models, families, ICAO designators and nicknames by their letters and digits."""
    models = (name for family, models in DESIGNATORS.values() for name in (family, *models))
    return {_squash(name.upper()): name for name in (*DESIGNATORS, *models, *NICKNAMES) if len(name) > 2}


def _squash(text: str) -> str:
    """Return `text` without anything but letters and digits."""
    return re.sub(r"[^A-Z0-9]", "", text)
