"""ICAO type designators (Doc 8643) of the models in the label tree.

Several models may share one designator: the 737-900 and the 737-900ER are both B739. Such a designator identifies the
family only.
"""

# Designator: family, and its models with this designator.
DESIGNATORS: dict[str, tuple[str, tuple[str, ...]]] = {
    "BCS1": ("A220", ("A220-100",)),
    "BCS3": ("A220", ("A220-300",)),
    "A30B": ("A300", ()),  # B2 and B4, which are one family without models in the tree
    "A306": ("A300", ("A300-600",)),
    "A3ST": ("A300", ("A300-600ST",)),
    "A310": ("A310", ("A310-200", "A310-300")),
    "A318": ("A318", ("A318-100",)),
    "A319": ("A319", ("A319-100",)),
    "A19N": ("A319", ("A319neo",)),
    "A320": ("A320", ("A320-100", "A320-200")),
    "A20N": ("A320", ("A320neo",)),
    "A321": ("A321", ("A321-100", "A321-200")),
    "A21N": ("A321", ("A321neo",)),
    "A332": ("A330", ("A330-200",)),
    "A333": ("A330", ("A330-300",)),
    "A337": ("A330", ("A330-700",)),
    "A338": ("A330", ("A330-800",)),
    "A339": ("A330", ("A330-900",)),
    "A342": ("A340", ("A340-200",)),
    "A343": ("A340", ("A340-300",)),
    "A345": ("A340", ("A340-500",)),
    "A346": ("A340", ("A340-600",)),
    "A359": ("A350", ("A350-900",)),
    "A35K": ("A350", ("A350-1000",)),
    "A388": ("A380", ("A380-800",)),
    "A400": ("A400M", ()),
    "B701": ("707", ("707-100",)),
    "B703": ("707", ("707-300",)),
    "B712": ("717", ("717-200",)),
    "B720": ("720", ()),
    "B721": ("727", ("727-100",)),
    "B722": ("727", ("727-200",)),
    "B732": ("737", ("737-200",)),
    "B733": ("737", ("737-300",)),
    "B734": ("737", ("737-400",)),
    "B735": ("737", ("737-500",)),
    "B736": ("737", ("737-600",)),
    "B737": ("737", ("737-700",)),
    "B738": ("737", ("737-800",)),
    "B739": ("737", ("737-900", "737-900ER")),
    "E737": ("737", ("737-700 Wedgetail",)),
    "B37M": ("737", ("737 MAX 7",)),
    "B38M": ("737", ("737 MAX 8",)),
    "B39M": ("737", ("737 MAX 9",)),
    "B3XM": ("737", ("737 MAX 10",)),
    "B741": ("747", ("747-100",)),
    "B742": ("747", ("747-200",)),
    "B743": ("747", ("747-300",)),
    "B744": ("747", ("747-400",)),
    "B748": ("747", ("747-8",)),
    "B74S": ("747", ("747SP",)),
    "B74R": ("747", ("747SR",)),
    "BLCF": ("747", ("747-400LCF",)),
    "B752": ("757", ("757-200",)),
    "B753": ("757", ("757-300",)),
    "B762": ("767", ("767-200", "767-200ER")),
    "B763": ("767", ("767-300", "767-300ER")),
    "B764": ("767", ("767-400ER",)),
    "B772": ("777", ("777-200", "777-200ER")),
    "B77L": ("777", ("777-200LR", "777F")),
    "B773": ("777", ("777-300",)),
    "B77W": ("777", ("777-300ER",)),
    "B778": ("777", ("777-8",)),
    "B779": ("777", ("777-9",)),
    "B788": ("787", ("787-8",)),
    "B789": ("787", ("787-9",)),
    "B78X": ("787", ("787-10",)),
    "AT43": ("42", ("42-300", "42-320")),
    "AT44": ("42", ("42-400",)),
    "AT45": ("42", ("42-500",)),
    "AT46": ("42", ("42-600",)),
    "AT75": ("72", ("72-500",)),
    "AT76": ("72", ("72-600",)),
}
_BY_MODEL = {model: designator for designator, (_, models) in DESIGNATORS.items() for model in models}
# Families whose models all have the same designator.
_BY_FAMILY = {"A310": "A310", "A318": "A318", "A380": "A388", "A400M": "A400", "717": "B712", "720": "B720"}


def designator_of(family: str | None, model: str | None) -> str:
    """Return the ICAO type designator of a family or model, "" if it has none or several."""
    return _BY_MODEL.get(model, "") if model else _BY_FAMILY.get(family or "", "")


def parse_designator(text: str) -> tuple[str, str | None] | None:
    """Look up a designator.

    Args:
        text: A type designator in upper case, such as "B738".

    Returns:
        Family and model; the model is None if several share the designator. None if `text` is not a designator.
    """
    if text not in DESIGNATORS:
        return None
    family, models = DESIGNATORS[text]
    return family, models[0] if len(models) == 1 else None
