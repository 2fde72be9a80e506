"""Constructors: their names, and the reserved value for a picture that shows no aircraft."""

import re

# Value of the column `constructor` of a picture without an aircraft; such a label has no family and no model.
NO_AIRCRAFT = "No aircraft"
_NO_AIRCRAFT = re.compile(
    r"(?:no|without|not an?)[\s_-]*(?:air[\s_-]?crafts?|(?:air|aero)?-?planes?|airliners?)|none", re.IGNORECASE
)


def means_no_aircraft(text: str) -> bool:
    """Return whether `text`, a constructor or the name of a folder, states that a picture shows no aircraft."""
    return _NO_AIRCRAFT.fullmatch(text.strip()) is not None
