"""Caption filter: captions of cockpits, cabins, details and models match, harmless ones do not."""

import pytest

from planespotter_scraping.cleaning.captions import find_caption_match, words_of_url

MATCHING = [
    ("Cockpit of a Lufthansa A320-200", "the cockpit"),
    ("Boeing 747-400 COCKPIT at night", "the cockpit"),
    ("View from the cockpit on approach to Innsbruck", "the cockpit"),
    ("A380 flight deck", "the cockpit"),
    ("Flight-deck of N104UA", "the cockpit"),
    ("737 overhead panel, lights on", "the cockpit"),
    ("Poste de pilotage A350", "the cockpit"),
    ("Sitting on the jump-seat into Samedan", "the cockpit"),
    ("Economy class cabin of the 787-9", "the cabin"),
    ("Cabin view, row 23", "the cabin"),
    ("Interior of a 777-300ER", "the cabin"),
    ("Upper deck galley", "the cabin"),
    ("A320 Kabine nach hinten", "the cabin"),
    ("Plenty of legroom in seat 12A", "the cabin"),
    ("Wing view over Greenland", "the view from a window"),
    ("Wingview A321", "the view from a window"),
    ("From the window seat over the Alps", "the view from a window"),
    ("Close-up of the CFM56 on this 737-800", "a detail"),
    ("Closeup: nose of D-AIMA", "a detail"),
    ("Winglet detail of an A320neo", "a detail"),
    ("Detail of the landing gear", "a detail"),
    ("Scale model at the airport museum, 1:200", "a model or a drawing"),
    ("Model aircraft in the travel agency's window", "a model or a drawing"),
    ("Gemini Jets 777-200LR, die-cast", "a model or a drawing"),
    ("Artist's impression of the 777X", "a model or a drawing"),
    ("Winglet", "a detail"),
    ("Close-up, Manchester", "a detail"),
    ("Engine of a Boeing 777", "a detail"),
    ("GE90-115B engine", "a detail"),
    ("Pratt & Whitney PW4000 engines of a 747-400", "a detail"),
    ("The main landing gear - A380", "a detail"),
    ("Nose gear close-up", "a detail"),
    ("Business class seats in a 787", "the cabin"),
    ("Business class", "the cabin"),
    ("View from the window over the Alps", "the view from a window"),
    ("Model of a 747 at the museum", "a model or a drawing"),
    ("Full flight simulator A320, Zurich", "a simulator"),
    ("Screenshot of MSFS 2020", "a simulator"),
]

HARMLESS = [
    "",
    "Lufthansa Airbus A320-214 D-AIZC landing on 07L",
    "Tail number N123UA, engine run-up in front of the hangar",
    "New logo livery on the tail, seen close to the fence",
    "The model 737-800 has blended winglets, this one has split scimitars",
    "First model of the A350 family, first flight 2013",
    "Smoke from engine number two after a fan blade failure",
    "Note the black mask around the cockpit windows",
    "Cockpit-window frames still unpainted",
    "The cockpit crew waves after the last flight",
    "Captain waving from the cockpit at the spotters' hill",
    "Cabin crew boarding N104UA for Frankfurt",
    "Returned after a loss of cabin pressure, seen with cabin lights on",
    "Fumes in the cabin made this 767 divert to Shannon",
    "Delivered with the new cabin, now painted in the new colours",
    "Operated for the Ministry of the Interior",
    "Photographed through the glass of terminal 2 and its windows",
    "Wing flex on rotation; winglets covered in de-icing fluid",
    "Retro livery, tail of the sister ship behind it",
    "Simulated engine failure during training at Châteauroux",
    "Modelled after the original colours; a supermodel of a plane",
    "Parked next to the boneyard, engines removed",
    "Engine start at gate 5",
    "Engine failure of a 777 after take-off",
    "737-800, new engines",
    "737-800 model of Ryanair",
    "Model: 737-800",
    "Door 1 open, waiting for the stairs",
    "Logo of the 50th anniversary on the fuselage",
    "A320 with new winglets",
    "A320 seen close up on short final",
    "Close up on short final",
    "Painting of the new colours is finished",
    "Seattle",
    "Cabinet visit: the president's 737 BBJ",
    "VP-CGI, G-MSFS and C-GFSX on the apron",
]


@pytest.mark.parametrize(("caption", "shows"), MATCHING)
def test_a_caption_of_something_else_matches(caption: str, shows: str) -> None:
    match = find_caption_match({"caption": caption})
    assert match is not None
    assert (match.shows, match.column) == (shows, "caption")
    assert match.phrase in caption


@pytest.mark.parametrize("caption", HARMLESS)
def test_a_harmless_caption_does_not_match(caption: str) -> None:
    assert find_caption_match({"caption": caption, "title": caption, "notes": caption}) is None


def test_the_last_segment_of_a_url_is_read_as_words() -> None:
    assert (
        words_of_url("https://x.org/wiki/File:Air_France_A380%20Cockpit.jpg?a=cabin") == "File:Air France A380 Cockpit"
    )
    assert words_of_url("https://[broken") == ""
    match = find_caption_match({"page_url": "https://x.org/cabin/airbus-a320-flight-deck.html"})
    assert match is not None
    assert (match.phrase, match.column) == ("flight deck", "page_url")
    assert (
        find_caption_match(
            {"page_url": "https://www.planespotters.net/photo/1910899/n935at-delta-air-lines-boeing-717-231"}
        )
        is None
    )


def test_extra_phrases_match_as_whole_words() -> None:
    row = {"notes": "Seen at the old bone-yard (again)"}
    assert find_caption_match(row) is None
    assert find_caption_match(row, ["yard sale"]) is None
    assert find_caption_match(row, ["bon"]) is None
    match = find_caption_match(row, ["graveyard", "Bone Yard"])
    assert match is not None
    assert match.phrase == "bone-yard"
    assert find_caption_match({"notes": "c++ (sic)"}, ["+"]) is None
