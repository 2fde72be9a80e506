"""Path labels: what the names of folders and files say about a photo, by convention or by a pattern of the user."""

import re
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from planespotter_photos import formats
from planespotter_scraping.catalog.store import CatalogError
from planespotter_scraping.labels.airframes import AIRLINE_WORD, REGISTRATION, is_airline_name, registrations_in
from planespotter_scraping.labels.constructors import NO_AIRCRAFT, means_no_aircraft
from planespotter_scraping.labels.parser import LabelPath, infer_constructor, is_known_constructor, parse_label

# Names of folders that say nothing about the photos in them, in lower case.
SPLIT_NAMES = (
    "train training trainset trainval valid validation val valset dev test testing testset eval evaluation holdout"
)
STORAGE_NAMES = (
    "data dataset datasets raw all images image imgs img photos photo pictures picture pics jpg jpeg jpegs png"
)
OTHER_NAMES = (
    "jpegimages files downloads download input labels annotations crops cropped resized original originals export"
)
GENERIC_NAMES = (
    "split splits fold unlabeled unlabelled unknown archive plane planes airplane airplanes aircraft aircrafts"
)
NEUTRAL_NAMES = frozenset(f"{SPLIT_NAMES} {STORAGE_NAMES} {OTHER_NAMES} {GENERIC_NAMES}".split())

# Columns that a pattern can name.
FIELDS = ("airline", "registration", "constructor", "aircraft_type", "photographer", "taken_on", "caption")


def labels_from_path(folder: Path, file: str) -> dict[str, str]:
    """Derive constructor and aircraft type of an image from the names of its folders.

    "Boeing/737-800/1.jpg", "737-800/1.jpg" and "Boeing 737-800/1.jpg" are equivalent. Of several names below the
    constructor, the one with the deepest label wins: "Airbus/A320/A320-214/Lufthansa/1.jpg" is an A320-214. If no known
    constructor is among them, the first of several folders is the constructor. An image directly in `folder` is
    labelled by the name of `folder`, if that is a type. A folder named "No aircraft", at any depth, holds pictures
    without an aircraft. Names such as train, test and images are ignored.

    Args:
        folder: Imported folder.
        file: Image, relative to `folder`.

    Returns:
        `constructor` and `aircraft_type`, "" if unknown.
    """
    names = _folders(file)
    if not names:
        root = folder.resolve().name
        names = [root] if infer_constructor(root) or is_known_constructor(root) else []
    if any(map(means_no_aircraft, names)):
        return {"constructor": NO_AIRCRAFT, "aircraft_type": ""}
    if names and is_known_constructor(names[0]):
        constructor, names = names[0], names[1:]
    else:
        constructors = [name for name in map(infer_constructor, names) if name]
        constructor = constructors[0] if constructors else names.pop(0) if len(names) > 1 else ""
        names = [name for name in names if name.casefold() != constructor.casefold()]
    # The first of equally deep labels.
    best = max(names, key=lambda name: depth(parse_label(constructor, name).path), default="")
    return {"constructor": constructor, "aircraft_type": best}


def airframe_from_path(file: str, labels: Mapping[str, str]) -> dict[str, str]:
    """Derive registration and airline of an image from the names of its folders and of the file.

    The registration is the only one in the name of a folder, the deepest that has one, or of the file. The airline is a
    folder named like one ("Air France"), or the folder right above one that is named after a registration
    ("Lufthansa/D-AIPA/1.jpg").

    Args:
        file: Image, relative to the imported folder.
        labels: Its `constructor` and `aircraft_type`, from `labels_from_path`.

    Returns:
        `registration` and `airline`, as far as the names have them.
    """
    if labels["constructor"] == NO_AIRCRAFT:
        return {}
    names = _folders(file)
    texts = [PurePosixPath(file).stem, *names]  # the last one that has a registration counts
    unambiguous = [registrations for registrations in map(registrations_in, texts) if len(registrations) == 1]
    above = {names[index - 1] for index, name in enumerate(names) if index and REGISTRATION.fullmatch(name)}
    airlines = [
        name
        for name in names
        if name not in labels.values()
        and is_airline_name(name)
        and not registrations_in(name)
        and not is_known_constructor(name)
        and parse_label(labels["constructor"], name).path.family is None
        and (name in above or AIRLINE_WORD.search(name))
    ]
    return {
        **({"registration": next(iter(unambiguous[-1]))} if unambiguous else {}),
        **({"airline": airlines[0]} if len(airlines) == 1 else {}),
    }


def compile_pattern(text: str) -> re.Pattern[str]:
    """Compile a pattern such as "{airline}_{registration}_*" for the end of a path, without the suffix of the file.

    A field in braces is one of FIELDS, and stands for one character or more within a name; so does an asterisk for any
    number. A slash separates folders. A registration has a digit or a dash.

    Raises:
        CatalogError: The pattern is invalid.
    """
    if Path(text).suffix.lower() in formats.readable_suffixes():
        text = text[: -len(Path(text).suffix)]
    names = re.findall(r"\{([^{}]*)\}", text)
    unknown = [name for name in names if name not in FIELDS]
    if not names or unknown or len(set(names)) < len(names):
        problem = f"{{{unknown[0]}}} is unknown" if unknown else "a field is there twice" if names else "no field"
        raise CatalogError(
            f"The pattern {text!r} is invalid: {problem}. Give each field once, of "
            f"{', '.join(f'{{{name}}}' for name in FIELDS)}, such as '{{airline}}_{{registration}}_*'."
        )
    body = ""
    for part in re.split(r"(\{[^{}]*\}|\*)", text.strip("/")):
        if part == "*":
            body += "[^/]*"
        elif part.startswith("{"):
            value = r"(?=[^/_]*[-\d])[A-Za-z0-9-]+" if part == "{registration}" else "[^/]+?"
            body += f"(?P<{part[1:-1]}>{value})"
        else:
            body += re.escape(part)
    return re.compile(rf"(?:.*/)?{body}")


def match_pattern(pattern: re.Pattern[str], file: str) -> dict[str, str]:
    """Return the fields of a pattern in the path of an image; {} if it does not match."""
    path = PurePosixPath(file)
    match = pattern.fullmatch(path.with_suffix("").as_posix())
    if match is None:
        return {}
    values = {name: " ".join(value.replace("_", " ").split()) for name, value in match.groupdict().items()}
    if "registration" in values:
        values["registration"] = values["registration"].upper()
    return values


def depth(path: LabelPath) -> int:
    """Return the depth of a label path, 0 to 3."""
    return (path.constructor != "") + (path.family is not None) + (path.model is not None)


def _folders(file: str) -> list[str]:
    """Return the names of the folders of an image that may say something about it."""
    return [name for name in PurePosixPath(file).parent.parts if name.lower() not in NEUTRAL_NAMES]
