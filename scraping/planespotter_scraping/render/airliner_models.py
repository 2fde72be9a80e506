"""Table of airliner models: the FlightGear model file of each variant, its labels in the catalog, and its liveries.

In FlightGear's collection of AI aircraft, the main file of a variant holds the geometry, and a small file per livery
includes it and names a folder of textures.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from planespotter_scraping.render.errors import ModelError
from planespotter_scraping.render.flightgear_xml import read_property_list


@dataclass(frozen=True)
class Variant:
    """A row of VARIANTS.

    Attributes:
        name: Name of the model in photo ids and in --model.
        file: Main file, relative to the folder of AI aircraft.
        constructor: Label of the catalog.
        aircraft_type: Label of the catalog.
        liveries_of: Main file whose liveries fit too, "" for none.
        wingspan: True wingspan in metres, where that of the model is wrong.
        properties: Simulation properties that select this variant of the file.
    """

    name: str
    file: str
    constructor: str
    aircraft_type: str
    liveries_of: str = ""
    wingspan: float | None = None
    properties: tuple[tuple[str, float], ...] = ()


WINGLETS_OFF = (("sim/signals/fdm-initialized", 0.0),)
VARIANTS = (
    Variant("717", "717/717-main.xml", "Boeing", "717-200"),
    Variant("727", "727/Models/727-200.xml", "Boeing", "727-200"),
    Variant("733", "733/733-main.xml", "Boeing", "737-300"),
    Variant("73c", "733/73C-main.xml", "Boeing", "737-300"),
    Variant("73f", "733/73F-main.xml", "Boeing", "737-300F"),
    Variant("73p", "734/73P-main.xml", "Boeing", "737-400F"),
    Variant("735", "735/735-main.xml", "Boeing", "737-500"),
    Variant("735-winglets", "735/735-main-winglets.xml", "Boeing", "737-500", liveries_of="735-main.xml"),
    Variant("736", "736/736-main.xml", "Boeing", "737-600"),
    Variant("738", "738/738-main.xml", "Boeing", "737-800"),
    Variant("738-no-winglets", "738/738-main-nowinglets.xml", "Boeing", "737-800", liveries_of="738-main.xml"),
    Variant("739", "739/73J-main.xml", "Boeing", "737-900ER"),
    Variant("744", "747/744-main.xml", "Boeing", "747-400"),
    Variant("74f", "747/74F-main.xml", "Boeing", "747-400F"),
    Variant("74y", "747/74Y-main.xml", "Boeing", "747-400F"),
    Variant("74n", "747/74N-main.xml", "Boeing", "747-8F"),
    Variant("752", "757/757-200-default.xml", "Boeing", "757-200"),
    Variant("752-no-winglets", "757/757-200-default.xml", "Boeing", "757-200", properties=WINGLETS_OFF),
    Variant("753", "757/757-300-default.xml", "Boeing", "757-300"),
    Variant("753-no-winglets", "757/757-300-default.xml", "Boeing", "757-300", properties=WINGLETS_OFF),
    Variant("763", "767/763-main.xml", "Boeing", "767-300ER"),
    Variant("76w", "767/76W-main.xml", "Boeing", "767-300ER"),
    Variant("76y", "767/76Y-main.xml", "Boeing", "767-300F"),
    Variant("77l", "777/77L-main.xml", "Boeing", "777-200LR"),
    Variant("77w", "777/77W-main.xml", "Boeing", "777-300ER"),
    Variant("77f", "777/77F-main.xml", "Boeing", "777F"),
    Variant("788", "787/788-main.xml", "Boeing", "787-8"),
    Variant("789", "787/789-main.xml", "Boeing", "787-9"),
    Variant("223", "220/223-main.xml", "Airbus", "A220-300"),
    Variant("a300", "A300/A300-main.xml", "Airbus", "A300-600"),
    Variant("ab6", "A300/AB6-main.xml", "Airbus", "A300-600"),
    Variant("aby", "A300/ABY-main.xml", "Airbus", "A300-600F"),
    Variant("a310", "A310/A310-default.xml", "Airbus", "A310-300"),
    Variant("a319", "A319/A319-main.xml", "Airbus", "A319-100"),
    Variant("a320", "A320/A320-main.xml", "Airbus", "A320-200"),
    Variant("a321", "A321/A321-main.xml", "Airbus", "A321-200"),
    Variant("a330-mrtt", "A330-MRTT/A330-MRTT.xml", "Airbus", "A330 MRTT"),
    Variant("a332", "A332/A332-main.xml", "Airbus", "A330-200"),
    Variant("a33x", "A332/A33X-main.xml", "Airbus", "A330-200F"),
    Variant("a333", "A333/A333-main.xml", "Airbus", "A330-300"),
    Variant("339", "339/339-main.xml", "Airbus", "A330-900neo"),
    Variant("a342", "A342/A342-main.xml", "Airbus", "A340-200"),
    Variant("a343", "A343/A343-main.xml", "Airbus", "A340-300"),
    Variant("a345", "A345/A345-main.xml", "Airbus", "A340-500", wingspan=63.45),
    Variant("a346", "A346/A346-main.xml", "Airbus", "A340-600", wingspan=63.45),
    Variant("359", "A350/359-main.xml", "Airbus", "A350-900"),
    Variant("388", "A380/388-main.xml", "Airbus", "A380-800"),
    Variant("at4", "AT4/AT4-main.xml", "ATR", "ATR 42"),
    Variant("at7", "AT7/AT7-main.xml", "ATR", "ATR 72"),
    Variant("b462", "Bae146-200/Bae146-200-AirFrance.xml", "British Aerospace", "BAe 146-200"),
    Variant("b463", "BAE146-300/BAE146-300-AsianExpress.xml", "British Aerospace", "BAe 146-300"),
    Variant("js41", "JS41/JS41-main.xml", "British Aerospace", "Jetstream 41"),
    Variant("cl60", "Bombardier-Challenger/Bombardier-Challenger-set.xml", "Bombardier", "Challenger 604"),
    Variant("gl5t", "CCX/GL5T-main.xml", "Bombardier", "Global 5000"),
    Variant("cr2", "CR2/CR2-main.xml", "Bombardier", "CRJ200"),
    Variant("cr7", "CR7/CR7-main.xml", "Bombardier", "CRJ700"),
    Variant("cr9", "CR9/CR9-main.xml", "Bombardier", "CRJ900"),
    Variant("dh3", "DH3/DH3-main.xml", "De Havilland Canada", "Dash 8-300"),
    Variant("dh4", "DH4/DH4-main.xml", "De Havilland Canada", "Dash 8-400"),
    Variant("e170", "E70/ERJ170-main.xml", "Embraer", "E170"),
    Variant("e175", "E70/ERJ175-main.xml", "Embraer", "E175"),
    Variant("e190", "E90/E90-main.xml", "Embraer", "E190"),
    Variant("e195", "E95/E95-main.xml", "Embraer", "E195"),
    Variant("e145", "ERJ145/ERJ145-main.xml", "Embraer", "ERJ145"),
    Variant("legacy", "Embraer-Legacy/Embraer-Legacy-AirFrance.xml", "Embraer", "Legacy 600"),
    Variant("f50", "Fokker-50/Models/fokker50-ai.xml", "Fokker", "50"),
    Variant("f70", "Fokker-70/F70-main.xml", "Fokker", "70"),
    Variant("f100", "Fokker-100/100-main.xml", "Fokker", "100"),
    Variant("m11", "M11/M1F-main.xml", "McDonnell Douglas", "MD-11F"),
    Variant("md80", "MD80/MD80-main.xml", "McDonnell Douglas", "MD-80"),
    Variant("md90", "MD90/MD90-Delta.xml", "McDonnell Douglas", "MD-90"),
    Variant("sf3", "SF3/SF3-main.xml", "Saab", "340"),
    Variant("sb20", "Saab-2000/Saab-2000-main.xml", "Saab", "2000"),
    Variant("t154", "tu154b/Model/tu154b-model.xml", "Tupolev", "Tu-154B"),
)

NO_AIRLINE = {"blank", "default", "fallback", "generic", "house", "main", "white"}
AIRLINES = {  # names that do not split at their capitals
    "ELAL": "El Al",
    "EasyJet": "easyJet",
    "FedEx": "FedEx",
    "FlyBe": "Flybe",
    "IcelandAir": "Icelandair",
    "LoganAir": "Loganair",
    "SilkAir": "SilkAir",
    "SunExpress": "SunExpress",
    "UTair": "UTair",
    "Westjet": "WestJet",
    "WestJet": "WestJet",
    "airHongkong": "Air Hong Kong",
    "flyDubai": "flydubai",
    "FlyDubai": "flydubai",
}


@dataclass(frozen=True)
class Livery:
    """Textures of one airline.

    Attributes:
        airline: Its name, "" if the livery has none.
        folder: Folder of the textures, None for those of the model.
    """

    airline: str
    folder: Path | None


@dataclass(frozen=True)
class AirlinerModel:
    """A model that the user has.

    Attributes:
        variant: What it shows.
        path: Its main file.
        author: Who made it, as the file states; "" if it does not.
        liveries: At least one.
    """

    variant: Variant
    path: Path
    author: str
    liveries: tuple[Livery, ...]


def find_models(folder: Path) -> Iterator[AirlinerModel | ModelError]:
    """Find the models of VARIANTS below a folder.

    Args:
        folder: Folder of FlightGear's AI aircraft, or any folder above it.

    Yields:
        Each model, or why it cannot be used. Variants that the folder lacks are not mentioned.
    """
    files: dict[str, Path] = {}
    for path in sorted(folder.rglob("*.xml")):
        for depth in (2, 3):
            files.setdefault("/".join(path.parts[-depth:]), path)
    for variant in VARIANTS:
        main = files.get(variant.file)
        if main is not None:
            try:
                element = read_property_list(main)
                author = " ".join((element.findtext("author") or "").split())
                yield AirlinerModel(variant, main, author, _liveries(variant, main))
            except ModelError as error:
                yield error


def _liveries(variant: Variant, path: Path) -> tuple[Livery, ...]:
    """Return the liveries of a model: its sibling files that include it, or that name the same geometry."""
    mains = {path.name, variant.liveries_of}
    geometry = read_property_list(path).findtext("path")
    liveries: dict[Path, Livery] = {}
    for file in sorted(path.parent.glob("*.xml")):
        text = file.read_text(encoding="utf-8", errors="replace")
        include = re.search(r'<PropertyList[^>]*\sinclude="([^"]+)"', text)
        textures = re.search(r"<texture-path>\s*([^<]+?)\s*</texture-path>", text)
        own = re.search(r"<path>\s*([^<]+?)\s*</path>", text)
        fits = include[1] in mains if include else bool(own and geometry and own[1] == geometry.strip())
        if fits and textures and (folder := path.parent / textures[1]).is_dir():
            liveries.setdefault(folder, Livery(airline_name(file.stem, path.parent.name), folder))
    return tuple(liveries.values()) or (Livery("", None),)


def airline_name(stem: str, folder: str) -> str:
    """Return the airline in the name of a livery file.

    Args:
        stem: Name of the file without suffix, such as "738-AirBerlin" or "757-200-IcelandAir-cargo".
        folder: Name of its folder, whose words do not name the airline, such as "Embraer-Legacy".

    Returns:
        The name in words, such as "Air Berlin"; "" if the livery is not an airline's.
    """
    if re.search(r"-[A-Z0-9]{1,2}-[A-Z0-9]{3,4}$", stem):  # a registration: the livery of one airframe
        return ""
    known = re.split(r"[-_]", folder.casefold())
    words = [word for word in re.split(r"[-_]", stem)[1:] if word.casefold() not in known and not word[:1].isdigit()]
    if not words or words[0].casefold() in NO_AIRLINE:
        return ""
    split = re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", " ", words[0])
    return AIRLINES.get(words[0], split)
