"""Label parser: strings of each kind that sites, registers, timetables and people write, and lists of types."""

import csv
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planespotter_scraping.labels.iata import IATA_CODES, constructor_of_family
from planespotter_scraping.labels.icao import DESIGNATORS
from planespotter_scraping.labels.parser import LabelPath, infer_constructor, is_known_constructor, label_path

with (Path(__file__).parent / "labels.csv").open(encoding="utf-8", newline="") as file:
    ROWS = [
        (row["kind"], row["text"], LabelPath(row["constructor"], row["family"] or None, row["model"] or None))
        for row in csv.DictReader(file)
    ]
MODELS = sorted(
    (constructor_of_family(family), family, model)
    for family, models in DESIGNATORS.values()
    for model in models
    if model != "42-320"  # certified separately, but the same model as the 42-300
)
TYPES = st.sampled_from(MODELS)
# Words around a type that say nothing about it.
WORDS = ["of", "Lufthansa", "D-AIPA", "N461UP", "9H-QAA", "(cn 4712)", "at Sofia", "JET", "all models", "by airline"]
SEPARATORS = ["/", " / ", " & ", " or ", " and ", " vs ", " + ", ", "]


@pytest.mark.parametrize(("kind", "text", "path"), ROWS)
def test_each_kind_of_text_has_its_path(kind: str, text: str, path: LabelPath) -> None:
    assert label_path(infer_constructor(text), text) == path, kind


def test_the_table_has_no_duplicates() -> None:
    assert len({text for _, text, _ in ROWS}) == len(ROWS) >= 300


@given(TYPES, TYPES, st.sampled_from(SEPARATORS))
def test_a_list_of_two_types_names_what_they_share(
    first: tuple[str, str, str], second: tuple[str, str, str], separator: str
) -> None:
    text = f"{first[2]}{separator}{second[2]}"
    shared = [a for a, b in zip(first, second, strict=True) if a == b and first[0] == second[0]]
    if "ATR" not in (first[0], second[0]):  # a number such as 72-600 is not a type next to those of others
        path = label_path(infer_constructor(text), text)
        assert [name for name in path if name] == shared


@given(TYPES, st.lists(st.sampled_from(WORDS), max_size=3))
def test_words_around_a_model_do_not_change_its_path(aircraft: tuple[str, str, str], words: list[str]) -> None:
    constructor, family, model = aircraft
    text = " ".join([f"{constructor} {model}", *words])
    assert label_path(infer_constructor(text), text) == LabelPath(constructor, family, model)
    caption = f"OH-LZC, {text}, Finnair"
    assert label_path(infer_constructor(caption), caption) == LabelPath(constructor, family, model)


@given(TYPES, st.lists(st.sampled_from(WORDS), max_size=3))
def test_words_around_a_family_do_not_name_a_model(aircraft: tuple[str, str, str], words: list[str]) -> None:
    constructor, family, _ = aircraft
    text = " ".join([f"{constructor} {family}", *words])
    assert label_path(infer_constructor(text), text) == LabelPath(constructor, family)


@given(
    st.text()
    | st.lists(st.sampled_from([*WORDS, *SEPARATORS, "A320", "737", "-800", "NEO", "(", "&nbsp;"])).map("".join)
)
def test_no_text_raises_and_an_inferred_constructor_is_the_same_for_its_own_label(text: str) -> None:
    constructor = infer_constructor(text)
    assert label_path(constructor, text).constructor == constructor


@pytest.mark.parametrize("piece", ["BOEING ", "A320/", "737-800 or ", "((", "&amp;", "MAX 8 ", "-", "CO ", "\ufdfa"])
def test_a_text_of_a_million_characters_is_read_at_once(piece: str) -> None:
    started = time.process_time()
    infer_constructor(f"Boeing {piece * (1_000_000 // len(piece))}")
    assert time.process_time() - started < 1


@pytest.mark.parametrize("code", sorted(IATA_CODES))
def test_an_iata_code_is_the_type_of_its_constructor(code: str) -> None:
    family, model = IATA_CODES[code]
    constructor = constructor_of_family(family)
    assert label_path(constructor, code) == LabelPath(constructor, family, model)
    if model:
        assert label_path(constructor, model) == LabelPath(constructor, family, model)


@pytest.mark.parametrize(
    ("constructor", "text", "path"),
    [
        ("Boing", "737-800", LabelPath("Boeing", "737", "737-800")),
        ("Boing", "Spitfire", LabelPath("Boing")),
        ("Boing", "", LabelPath("Boing")),
        ("Airbus Helicopters", "H145", LabelPath("Airbus Helicopters")),
        ("AIRBUS HELICOPTERS", "Airbus Helicopters H145", LabelPath("Airbus Helicopters")),
        ("Airbus", "H145", LabelPath("Airbus Helicopters")),
        ("Airbus", "Airbus Helicopters EC-645 T2", LabelPath("Airbus Helicopters")),
        ("Boeing", "MD-83", LabelPath("McDonnell Douglas")),
        ("Boeing", "EC-135C", LabelPath("Boeing")),
        ("Boeing Commercial Airplane Group", "777-236", LabelPath("Boeing", "777", "777-200")),
        ("波音", "787-9", LabelPath("Boeing", "787", "787-9")),
        ("Боинг", "737-800", LabelPath("Boeing", "737", "737-800")),
        ("Boeing", "737-800 vs A320", LabelPath("Boeing")),
        ("Airbus", "320", LabelPath("Airbus", "A320")),
        ("ATR", "72", LabelPath("ATR", "72")),
        ("Military", "Boeing B-17", LabelPath("Military")),
    ],
)
def test_a_constructor_column_is_read_with_the_type(constructor: str, text: str, path: LabelPath) -> None:
    assert label_path(constructor, text) == path


@pytest.mark.parametrize(
    "text", ["TC-LCF", "OY-SCA", "let each photo", "Sofia", "Voyager", "Eclipse", "Shorts", "N777UA"]
)
def test_registrations_and_words_are_not_types(text: str) -> None:
    assert infer_constructor(text) == ""
    assert label_path("Boeing", f"Boeing 747-400 {text}") == LabelPath("Boeing", "747", "747-400")
    assert label_path("Boeing", f"Boeing 747 {text}") == LabelPath("Boeing", "747")


def test_a_misspelled_constructor_is_not_a_known_one() -> None:
    assert not is_known_constructor("Boing")
    assert infer_constructor("Boing") == ""
