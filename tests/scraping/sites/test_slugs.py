"""Slug parser: labels from the last segment of a photo's URL."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planespotter_scraping.labels.constructors import CONSTRUCTORS
from planespotter_scraping.sites.slugs import parse_slug, squash


@pytest.mark.parametrize(
    ("slug", "labels"),
    [
        ("n935at-delta-air-lines-boeing-717-231", ("N935AT", "Delta Air Lines", "Boeing", "717-231")),
        ("ja339j-japan-airlines-boeing-737-846-wl", ("JA339J", "Japan Airlines", "Boeing", "737-846-WL")),
        ("oe-lax-swiftair-airbus-a321-211-p2f", ("OE-LAX", "Swiftair", "Airbus", "A321-211-P2F")),
        ("n2534u-united-airlines-boeing-777-322er", ("N2534U", "United Airlines", "Boeing", "777-322ER")),
        ("9v-ska-singapore-airlines-airbus-a380-841", ("9V-SKA", "Singapore Airlines", "Airbus", "A380-841")),
        ("a9c-fa-gulf-air-boeing-787-9", ("A9C-FA", "Gulf Air", "Boeing", "787-9")),
        ("b-18901-china-airlines-airbus-a350-941", ("B-18901", "China Airlines", "Airbus", "A350-941")),
        ("hl7783-korean-air-boeing-777-3b5er", ("HL7783", "Korean Air", "Boeing", "777-3B5ER")),
        ("ei-abc-boeing-737-8as", ("EI-ABC", "", "Boeing", "737-8AS")),
        ("delta-air-lines-boeing-717-231", ("", "Delta Air Lines", "Boeing", "717-231")),
        ("boeing-737-800", ("", "", "Boeing", "737-800")),
        ("pk-paa-pelita-de-havilland-canada-dash-7-103", ("PK-PAA", "Pelita", "De Havilland Canada", "DASH-7-103")),
        ("n1-faa-mcdonnell-douglas-dc-9-15", ("N1", "Faa", "McDonnell Douglas", "DC-9-15")),
    ],
)
def test_slug_gives_all_four_labels(slug: str, labels: tuple[str, ...]) -> None:
    assert tuple(parse_slug(slug, CONSTRUCTORS).values()) == labels


def test_airline_may_be_named_after_a_constructor() -> None:
    labels = parse_slug("f-wwba-airbus-transport-international-airbus-a300b4-608st", CONSTRUCTORS)
    assert (labels["airline"], labels["aircraft_type"]) == ("Airbus Transport International", "A300B4-608ST")


def test_known_registration_or_airline_locates_the_boundary() -> None:
    slug = "tc-99-x-red-sea-boeing-737-8as"
    assert parse_slug(slug, CONSTRUCTORS, registration="TC-99-X")["airline"] == "Red Sea"
    assert parse_slug(slug, CONSTRUCTORS, airline="Red Sea")["registration"] == "TC-99-X"
    assert parse_slug(slug, CONSTRUCTORS, registration="D-AIQT") == parse_slug(slug, CONSTRUCTORS)


def test_slug_without_a_constructor_gives_no_labels() -> None:
    assert set(parse_slug("n935at-delta-air-lines", CONSTRUCTORS).values()) == {""}
    assert set(parse_slug("n935at-delta-boeing-717", ()).values()) == {""}


@given(st.text() | st.lists(st.sampled_from(["boeing", "airbus", "n1", "oe", "lax", "737", "", "ß"])).map("-".join))
def test_any_slug_is_parsed_without_adding_characters(slug: str) -> None:
    labels = parse_slug(slug, CONSTRUCTORS)
    assert set(labels) == {"registration", "airline", "constructor", "aircraft_type"}
    characters = "".join(map(squash, labels.values()))
    assert characters in ("", squash("".join(part for part in slug.split("-"))))


@given(st.sampled_from(CONSTRUCTORS), st.sampled_from(["Air Test", "Été", "Q"]))
def test_each_constructor_keeps_its_spelling(constructor: str, airline: str) -> None:
    words = squash(airline), *map(squash, constructor.replace("-", " ").split())
    labels = parse_slug("-".join(["d-aiqt", *words, "x99"]), CONSTRUCTORS)
    assert (labels["constructor"], squash(labels["airline"])) == (constructor, squash(airline))
