"""Label parser: the path of each type text, and properties that hold for any text."""

import csv
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planespotter_scraping.labels.icao import DESIGNATORS
from planespotter_scraping.labels.parser import (
    LabelPath,
    infer_constructor,
    is_known_constructor,
    label_path,
    parse_label,
)
from planespotter_scraping.labels.type_rules import AIRBUS_SERIES, BOEING_SERIES

PHOTOS = Path(__file__).parents[3] / ".." / "shared" / "photos" / "catalog.csv"

# Labels of a large photo catalog, all of Airbus, Boeing, ATR and Bombardier among them: constructor, type as the source
# printed it, family, model.
REAL_LABELS = """
ATR    | 42                       | 42   |
ATR    | 72                       | 72   |
ATR    | ATR 42                   | 42   |
ATR    | ATR 72                   | 72   |
ATR    | ATR 72-600               | 72   | 72-600
Airbus |                          |      |
Airbus | A220                     | A220 |
Airbus | A220-100                 | A220 | A220-100
Airbus | A220-300                 | A220 | A220-300
Airbus | A300                     | A300 |
Airbus | A300-600                 | A300 | A300-600
Airbus | A310                     | A310 |
Airbus | A310-300                 | A310 | A310-300
Airbus | A318                     | A318 |
Airbus | A318-100                 | A318 | A318-100
Airbus | A319                     | A319 |
Airbus | A319-100                 | A319 | A319-100
Airbus | A319neo                  | A319 | A319neo
Airbus | A320                     | A320 |
Airbus | A320-200                 | A320 | A320-200
Airbus | A320ceo                  | A320 | A320-200
Airbus | A320neo                  | A320 | A320neo
Airbus | A321                     | A321 |
Airbus | A321 p2f                 | A321 |
Airbus | A321-200                 | A321 | A321-200
Airbus | A321neo                  | A321 | A321neo
Airbus | A330                     | A330 |
Airbus | A330-200                 | A330 | A330-200
Airbus | A330-200F                | A330 | A330-200
Airbus | A330-300                 | A330 | A330-300
Airbus | A330-800                 | A330 | A330-800
Airbus | A330-800neo              | A330 | A330-800
Airbus | A330-900                 | A330 | A330-900
Airbus | A330-900neo              | A330 | A330-900
Airbus | A340                     | A340 |
Airbus | A340-200                 | A340 | A340-200
Airbus | A340-300                 | A340 | A340-300
Airbus | A340-500                 | A340 | A340-500
Airbus | A340-600                 | A340 | A340-600
Airbus | A350                     | A350 |
Airbus | A350-1000                | A350 | A350-1000
Airbus | A350-900                 | A350 | A350-900
Airbus | A380                     | A380 |
Airbus | A380-800                 | A380 | A380-800
Boeing |                          |      |
No aircraft |                     |      |
Boeing | 707                      | 707  |
Boeing | 707-320                  | 707  | 707-300
Boeing | 717                      | 717  |
Boeing | 717-200                  | 717  | 717-200
Boeing | 720                      | 720  |
Boeing | 727                      | 727  |
Boeing | 727-200                  | 727  | 727-200
Boeing | 737                      | 737  |
Boeing | 737 Classic              | 737  |
Boeing | 737 MAX                  | 737  |
Boeing | 737 MAX 7                | 737  | 737 MAX 7
Boeing | 737 NG                   | 737  |
Boeing | 737 Original             | 737  |
Boeing | 737 max                  | 737  |
Boeing | 737-100                  | 737  | 737-100
Boeing | 737-200                  | 737  | 737-200
Boeing | 737-200 (Combi)          | 737  | 737-200
Boeing | 737-300                  | 737  | 737-300
Boeing | 737-300F                 | 737  | 737-300
Boeing | 737-300QC                | 737  | 737-300
Boeing | 737-300SF                | 737  | 737-300
Boeing | 737-400                  | 737  | 737-400
Boeing | 737-400F                 | 737  | 737-400
Boeing | 737-400SF                | 737  | 737-400
Boeing | 737-4H6                  | 737  | 737-400
Boeing | 737-4Q8                  | 737  | 737-400
Boeing | 737-500                  | 737  | 737-500
Boeing | 737-600                  | 737  | 737-600
Boeing | 737-700                  | 737  | 737-700
Boeing | 737-700 BBJ              | 737  | 737-700
Boeing | 737-700 Wedgetail        | 737  | 737-700 Wedgetail
Boeing | 737-8 MAX                | 737  | 737 MAX 8
Boeing | 737-800                  | 737  | 737-800
Boeing | 737-800 BBJ              | 737  | 737-800
Boeing | 737-800(BCF)             | 737  | 737-800
Boeing | 737-86J                  | 737  | 737-800
Boeing | 737-86X(WL)              | 737  | 737-800
Boeing | 737-8AL(WL)              | 737  | 737-800
Boeing | 737-8AS                  | 737  | 737-800
Boeing | 737-8D6                  | 737  | 737-800
Boeing | 737-8GP                  | 737  | 737-800
Boeing | 737-8H6                  | 737  | 737-800
Boeing | 737-8K2                  | 737  | 737-800
Boeing | 737-8LJ                  | 737  | 737-800
Boeing | 737-8MG                  | 737  | 737-800
Boeing | 737-9 MAX                | 737  | 737 MAX 9
Boeing | 737-900                  | 737  | 737-900
Boeing | 737-900 BBJ3             | 737  | 737-900ER
Boeing | 737-900ER                | 737  | 737-900ER
Boeing | 747                      | 747  |
Boeing | 747-100                  | 747  | 747-100
Boeing | 747-100F                 | 747  | 747-100
Boeing | 747-200                  | 747  | 747-200
Boeing | 747-200F                 | 747  | 747-200
Boeing | 747-200SF                | 747  | 747-200
Boeing | 747-300                  | 747  | 747-300
Boeing | 747-300F                 | 747  | 747-300
Boeing | 747-300SF                | 747  | 747-300
Boeing | 747-400                  | 747  | 747-400
Boeing | 747-400BCF, SF, BDSF     | 747  | 747-400
Boeing | 747-400D                 | 747  | 747-400
Boeing | 747-400ER                | 747  | 747-400
Boeing | 747-400F                 | 747  | 747-400
Boeing | 747-400F, ERF            | 747  | 747-400
Boeing | 747-400LCF Dreamlifter   | 747  | 747-400LCF
Boeing | 747-8                    | 747  | 747-8
Boeing | 747-8 BBJ                | 747  | 747-8
Boeing | 747-8F                   | 747  | 747-8
Boeing | 747SP                    | 747  | 747SP
Boeing | 757                      | 757  |
Boeing | 757-200                  | 757  | 757-200
Boeing | 757-300                  | 757  | 757-300
Boeing | 767                      | 767  |
Boeing | 767-200                  | 767  | 767-200
Boeing | 767-200ER                | 767  | 767-200ER
Boeing | 767-300                  | 767  | 767-300
Boeing | 767-300ER                | 767  | 767-300ER
Boeing | 767-300F                 | 767  | 767-300
Boeing | 767-400                  | 767  | 767-400ER
Boeing | 777                      | 777  |
Boeing | 777-200                  | 777  | 777-200
Boeing | 777-200ER                | 777  | 777-200ER
Boeing | 777-200LR                | 777  | 777-200LR
Boeing | 777-300                  | 777  | 777-300
Boeing | 777-300ER                | 777  | 777-300ER
Boeing | 777F                     | 777  | 777F
Boeing | 777X                     | 777  |
Boeing | 787                      | 787  |
Boeing | 787-10                   | 787  | 787-10
Boeing | 787-8                    | 787  | 787-8
Boeing | 787-9                    | 787  | 787-9
Boeing | C-17A Globemaster III    |      |
Bombardier | CRJ                      |      |
Bombardier | CRJ100                   |      |
Bombardier | CRJ1000                  |      |
Bombardier | CRJ200                   |      |
Bombardier | CRJ550                   |      |
Bombardier | CRJ700                   |      |
Bombardier | CRJ900                   |      |
Military | Avro Lancaster             | |
Military | Bell P-63 Kingcobra        | |
Military | Boeing B-17 Flying Fortress| |
Military | Boeing B-29 Superfortress  | |
Military | Boeing P-26 Peashooter     | |
Military | Brewster F2A Buffalo       | |
Military | Consolidated PBY Catalina  | |
Military | Curtiss P-40 Warhawk       | |
Military | Douglas A-20 Havoc         | |
Military | Douglas C-47 Skytrain      | |
Military | Douglas SBD Dauntless      | |
Military | Douglas TBD Devastator     | |
Military | Focke-Wulf Fw 190          | |
Military | Grumman F6F Hellcat        | |
Military | Grumman F7F Tigercat       | |
Military | Grumman TBF Avenger        | |
Military | Hawker Hurricane           | |
Military | Junkers Ju 87              | |
Military | Lockheed P-38 Lightning    | |
Military | Messerschmitt Bf 109       | |
Military | Mitsubishi A6M Zero        | |
Military | North American P51 Mustang | |
Military | Northrop P-61 Black Widow  | |
Military | Republic P-43 Lancer       | |
Military | Republic P-47 Thunderbolt  | |
Military | Seversky P-35              | |
Military | Supermarine Spitfire       | |
Military | Vought F4U Corsair         | |
Military | Waco CG-4                  | |
Military | de Havilland Mosquito      | |
"""

# Further labels, each for one rule.
OTHER_LABELS = """
Airbus | A320-214               | A320 | A320-200
Airbus | A320-232(SL)           | A320 | A320-200
Airbus | A320-251N              | A320 | A320neo
Airbus | A320-271N              | A320 | A320neo
Airbus | A320neo                | A320 | A320neo
Airbus | a320 NEO               | A320 | A320neo
Airbus | A319-111               | A319 | A319-100
Airbus | A319-151N              | A319 | A319neo
Airbus | A321-271NX             | A321 | A321neo
Airbus | A321-271NY             | A321 | A321neo
Airbus | A321-253NX(LR)         | A321 | A321neo
Airbus | A321XLR                | A321 | A321neo
Airbus | A321-211(P2F)          | A321 | A321-200
Airbus | A330-343               | A330 | A330-300
Airbus | A330-941               | A330 | A330-900
Airbus | A330neo                | A330 |
Airbus | A330-743L              | A330 | A330-700
Airbus | A340-313               | A340 | A340-300
Airbus | A350-941               | A350 | A350-900
Airbus | A350-1041              | A350 | A350-1000
Airbus | A380-861               | A380 | A380-800
Airbus | A300B4-605R            | A300 | A300-600
Airbus | A300B4-203             | A300 |
Airbus | A320-914               | A320 |
Airbus | A220-300               | A220 | A220-300
Airbus | A399-100               |      |
Airbus | A3200                  |      |
Boeing | 737-8                  | 737  | 737 MAX 8
Boeing | 737-8-200              | 737  | 737 MAX 8
Boeing | 737-8200               | 737  | 737 MAX 8
Boeing | 737 MAX 10             | 737  | 737 MAX 10
Boeing | 737-846(WL)            | 737  | 737-800
Boeing | 737-924ER              | 737  | 737-900ER
Boeing | 737 -800               | 737  | 737-800
Boeing | 737 - 800              | 737  | 737-800
Boeing | B737-800               | 737  | 737-800
Boeing | 747-830                | 747  | 747-8
Boeing | 747-8B5                | 747  | 747-8
Boeing | 747-8HTF               | 747  | 747-8
Boeing | 747-409(LCF)           | 747  | 747-400LCF
Boeing | 747SP-21               | 747  | 747SP
Boeing | 747SR-81               | 747  | 747SR
Boeing | 767-36N(ER)            | 767  | 767-300ER
Boeing | 767-300F               | 767  | 767-300
Boeing | 777-31HER              | 777  | 777-300ER
Boeing | 777-3B5ER              | 777  | 777-300ER
Boeing | 777-346                | 777  | 777-300
Boeing | 777-F1H                | 777  | 777F
Boeing | 777F                   | 777  | 777F
Boeing | 777-9                  | 777  | 777-9
Boeing | 787-9 Dreamliner       | 787  | 787-9
Boeing | 787-10                 | 787  | 787-10
Boeing | 757-2Q8                | 757  | 757-200
Boeing | 717-231                | 717  | 717-200
Boeing | 737-000                | 737  |
Boeing | KC-46A Pegasus         |      |
ATR    | 72-600                 | 72   | 72-600
ATR    | ATR 42-500             | 42   | 42-500
ATR    | 72-212A                | 72   |
"""


def rows(table: str) -> list[tuple[str, str, LabelPath]]:
    split = [[cell.strip() for cell in line.split("|")] for line in table.strip().splitlines()]
    return [(maker, text, LabelPath(maker, family or None, model or None)) for maker, text, family, model in split]


@pytest.mark.parametrize(("constructor", "aircraft_type", "path"), rows(REAL_LABELS) + rows(OTHER_LABELS))
def test_each_label_has_its_path(constructor: str, aircraft_type: str, path: LabelPath) -> None:
    assert label_path(constructor, aircraft_type) == path


def test_the_table_covers_every_label_of_a_constructor_with_rules_in_the_photo_catalog() -> None:
    if not PHOTOS.exists():
        pytest.skip("the photo catalog is not on this machine")
    with PHOTOS.open(encoding="utf-8", newline="") as file:
        labels = {(row["constructor"], row["aircraft_type"]) for row in csv.DictReader(file)}
    with_rules = {(constructor, text) for constructor, text in labels if is_known_constructor(constructor)}
    assert with_rules
    assert with_rules <= {(constructor, text) for constructor, text, _ in rows(REAL_LABELS)}
    for constructor, text in labels - with_rules:
        assert label_path(constructor, text) == LabelPath(constructor)


@pytest.mark.parametrize(
    ("constructor", "aircraft_type", "path"),
    [
        ("Airbus Industrie", "A320-214", LabelPath("Airbus", "A320", "A320-200")),
        ("BOEING", "Boeing 737-8AS", LabelPath("Boeing", "737", "737-800")),
        ("Boeing", "737\u2011800", LabelPath("Boeing", "737", "737-800")),
        ("", "Boeing 737-8AS", LabelPath("Boeing", "737", "737-800")),
        ("", "Airbus Industrie A300B4-605R", LabelPath("Airbus", "A300", "A300-600")),
        ("", "737-8AS", LabelPath("")),
        ("", "", LabelPath("")),
        ("McDonnell_Douglas", "MD-83", LabelPath("McDonnell Douglas")),
    ],
)
def test_constructors_are_recognized_in_any_spelling(constructor: str, aircraft_type: str, path: LabelPath) -> None:
    assert label_path(constructor, aircraft_type) == path


# Texts that resemble types: numbers, customer codes, suffixes and punctuation in any order.
PIECES = [*AIRBUS_SERIES, *BOEING_SERIES, "42", "72", "10", "8", "9", "00", "214", "800", "8AS"]
PIECES += ["MAX", "neo", "N", "NX", "ER", "LR", "F", "SP", "BBJ3", "LCF", "Wedgetail", "Boeing", "Airbus"]
PIECES += ["-", " ", "(", ")", "\u2011"]
type_like = st.lists(st.sampled_from(PIECES), max_size=6).map("".join)
constructors = st.sampled_from(["Airbus", "Boeing", "ATR", "", "Military"])


@pytest.mark.slow
@given(constructors | st.text(), type_like | st.text())
def test_a_path_has_no_gaps_and_a_model_starts_with_its_family(constructor: str, text: str) -> None:
    path = label_path(constructor, text)
    if path.model is not None:
        assert path.family is not None
        assert path.model.startswith(path.family)
    if path.family is not None:
        assert path.constructor in ("Airbus", "Boeing", "ATR")


@given(constructors, type_like)
def test_the_name_of_a_path_parses_to_the_same_path(constructor: str, text: str) -> None:
    path = label_path(constructor, text)
    name = path.model or path.family
    if name is not None:
        assert label_path(path.constructor, name) == path
        assert label_path(path.constructor, f"{path.constructor} {name.lower()}") == path


@given(constructors, type_like)
def test_case_and_outer_spaces_are_ignored(constructor: str, text: str) -> None:
    assert label_path(constructor.lower(), f"  {text.lower()} ")[1:] == label_path(constructor, text)[1:]


@given(constructors | st.text(), type_like | st.text())
def test_label_path_is_the_path_of_parse_label_and_the_text_is_unchanged(constructor: str, text: str) -> None:
    label = parse_label(constructor, text)
    assert label.path == label_path(constructor, text)
    assert label.text == text
    assert label.explanation
    assert all(sentence.endswith(".") for sentence in label.explanation)


@given(constructors, type_like)
def test_the_icao_designator_parses_to_the_same_family(constructor: str, text: str) -> None:
    label = parse_label(constructor, text)
    if label.icao in DESIGNATORS:
        assert DESIGNATORS[label.icao][0] == label.path.family
        assert parse_label(constructor, label.icao).path.family in (None, label.path.family)


@pytest.mark.parametrize("winglets", ["(WL)", "(SL)", "(SSWL)", " (SS)"])
@pytest.mark.parametrize("text", ["737-8AS", "A320-214", "757-2Q8", "767-36N(ER)", "A321-211(P2F)", "737-4Q8(SF)"])
def test_winglets_are_ignored(text: str, winglets: str) -> None:
    assert parse_label(infer_constructor(text), text + winglets)[1:4] == parse_label(infer_constructor(text), text)[1:4]


@pytest.mark.parametrize("model", sorted(model for _, models in DESIGNATORS.values() for model in models))
def test_each_model_with_a_designator_is_in_the_label_tree(model: str) -> None:
    path = label_path(infer_constructor(model), model)
    assert path.model == model or model == "42-320"  # certified separately, but the same model as the 42-300


@pytest.mark.parametrize("designator", sorted(set(DESIGNATORS) - {"A318", "A319", "A320", "A321", "B737"}))
def test_a_designator_is_parsed_as_a_type(designator: str) -> None:
    label = parse_label(infer_constructor(designator), designator)
    family, models = DESIGNATORS[designator]
    assert label.path.family == family
    assert label.path.model == (models[0] if len(models) == 1 else None)
    assert label.icao == designator


@pytest.mark.parametrize(
    ("text", "constructor"),
    [
        ("737-8AS", "Boeing"),
        ("A321-271NX", "Airbus"),
        ("BD-500-1A10", "Airbus"),
        ("CS300", "Airbus"),
        ("72-600", "ATR"),
        ("KC-46A", "Boeing"),
        ("Boeing 314 Clipper", "Boeing"),
        ("BBJ2", "Boeing"),
        ("A319/A320/A321", "Airbus"),
        ("A320-214, A321-211", "Airbus"),
        ("DHC-8-402", "De Havilland Canada"),
        ("MD-83", "McDonnell Douglas"),
        ("Cessna Citation CJ3", "Cessna"),
        ("Citation CJ3", ""),
        ("42", ""),
        ("72", ""),
        ("320", ""),
        ("Sofia airport", ""),
        ("holiday", ""),
        ("", ""),
    ],
)
def test_the_constructor_is_inferred_where_only_one_builds_the_type(text: str, constructor: str) -> None:
    assert infer_constructor(text) == constructor


@pytest.mark.parametrize(
    "dash",
    ["-", "--", " - ", *"\u2010\u2011\u2012\u2013\u2014\u2015\u2043\u2212\ufe58\ufe63\uff0d", "\u00ad-", "\u200b-"],
)
def test_any_dash_is_accepted_and_invisible_characters_are_ignored(dash: str) -> None:
    assert parse_label("Boeing", f"737{dash}8AS").path.model == "737-800"
    assert parse_label("Airbus", f"A321{dash}271NX").path.model == "A321neo"
