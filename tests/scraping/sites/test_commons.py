"""Wikimedia Commons: what its answers say, and a walk through a wiki on this machine that answers as it does."""

import re
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.scraping.sites.commons_api import File, Wiki, answer, fleet, serve
from typer.testing import CliRunner

from planespotter_scraping import catalog
from planespotter_scraping.cli import app
from planespotter_scraping.console.progress import crawl_status
from planespotter_scraping.crawling import crawl
from planespotter_scraping.crawling.api_crawl import Plan
from planespotter_scraping.crawling.crawl import scrape
from planespotter_scraping.crawling.result import CrawlResult, ScrapeError
from planespotter_scraping.sites import Members, commons
from planespotter_scraping.sites.commons import FIELDS, parse, query, read, taken_on
from planespotter_scraping.sites.free_text import operator_in, operator_of, registrations_in

URL, CONTACT = "https://wiki.test", "spotter@photos.test"


def parsed(*files: File, chain: tuple[str, ...] = ("Airbus A320-200",), categories: tuple[str, ...] = ()) -> Members:
    """What is read of these files, all of which are in the last category of `chain`."""
    for file in files:
        file.categories.append(chain[-1])
    wiki = Wiki({chain[-1]: list(categories)}, list(files))
    return parse([answer(wiki, query(chain[-1], 1280, {}), URL)], URL, chain)


def test_a_file_becomes_a_photo_with_its_author_and_licence() -> None:
    file = File(77, "Lufthansa, Airbus A320-214, D-AIQT (12345).jpg", ["Airbus A320-214 of Lufthansa"])
    members = parsed(file)
    (photo,) = members.photos
    assert set(photo) == set(FIELDS)
    assert not members.missing
    expected = {
        "photo_id": "77",
        "constructor": "Airbus",
        "aircraft_type": "A320-214",
        "airline": "Lufthansa",
        "registration": "D-AIQT",
        "photographer": "Tenzin & W. 77",
        "taken_on": "2019-06-15",
        "licence": "CC BY-SA 4.0",
        "licence_url": "https://creativecommons.org/licenses/by-sa/4.0",
        "credit": "Own work",
        "title": "Lufthansa, Airbus A320-214, D-AIQT (12345)",
        "caption": "Lufthansa, Airbus A320-214, D-AIQT (12345).jpg at Paro",
        "original_size": "3000x2000",
        "review": "",
    }
    assert {name: photo[name] for name in expected} == expected
    assert photo["image_url"].startswith("https://wiki.test/thumb/77/")
    assert photo["page_url"].startswith("https://wiki.test/wiki/File:77/")


@pytest.mark.parametrize(
    ("title", "categories", "chain", "labels"),
    [
        # Both readings say it, and the deeper one counts, whichever it is.
        ("Lufthansa Airbus A320 D-AIQT", ["Airbus A320-214 of Lufthansa"], ["Airbus A320"],
         "Airbus|A320-214|D-AIQT|Lufthansa"),
        ("Ryanair Boeing 737-8AS EI-DCL", ["Boeing 737 of Ryanair"], ["Boeing 737"], "Boeing|737-8AS|EI-DCL|Ryanair"),
        ("Boeing 737-8 MAX N8710M", [], ["Boeing 737 MAX 8"], "Boeing|737-8 MAX|N8710M|"),
        ("9V-SWA - 777-312(ER) - SIA", [], ["Boeing 777-300ER of Singapore Airlines"],
         "Boeing|777-312(ER)|9V-SWA|Singapore Airlines"),
        # One of them is silent.
        ("Delta Air Lines B767-332 (N143DA)", ["Delta Air Lines aircraft"], ["LAX"],
         "Boeing|B767-332|N143DA|Delta Air Lines"),
        ("IMG 1234", ["D-AIQT (aircraft)"], ["Airbus A320-200 of Lufthansa"], "Airbus|A320-200|D-AIQT|Lufthansa"),
        ("Ryanair B738 EI-DCL", ["Ryanair aircraft"], ["Aircraft at Dublin Airport"], "Boeing|B738|EI-DCL|Ryanair"),
        # The file's own categories name no type: the nearest one that led there does.
        ("Evening", ["Aircraft D-AIQT"], ["Airbus A320", "Airbus A320-214 of Lufthansa", "D-AIQT (aircraft)"],
         "Airbus|A320-214|D-AIQT|Lufthansa"),
        # The A320 family is the A318 to the A321, so it says no more than its constructor.
        ("Lufthansa A321-131 D-AIRB", ["Airbus A320 family of Lufthansa"], ["Lufthansa"],
         "Airbus|A321-131|D-AIRB|Lufthansa"),
        # A constructor's name alone may be that of an airfield.
        ("Airbus A320-232 at Boeing Field", ["Boeing Field in 2013"], ["Airbus A320-200"], "Airbus|A320-232||"),
        # Aircraft of others are read too: who keeps them is decided elsewhere.
        ("Embraer 190 D-AECA", ["Embraer E-190 of Lufthansa"], ["D-AECA (aircraft)"], "Embraer|E-190|D-AECA|Lufthansa"),
        # What happens to be in the title as well is no airline for that.
        ("Landing Airbus A320 in Ireland", ["Landing aircraft", "Aircraft of Ireland"], ["Ireland"], "Airbus|A320||"),
        ("Sunset", ["Sunsets in Bhutan"], ["Paro Airport"], "|||"),
    ],
)  # fmt: skip
def test_labels_come_from_categories_and_titles(
    title: str, categories: list[str], chain: list[str], labels: str
) -> None:
    (photo,) = parsed(File(1, f"{title}.jpg", categories), chain=tuple(chain)).photos
    assert "|".join(photo[name] for name in ("constructor", "aircraft_type", "registration", "airline")) == labels
    assert photo["review"] == ""


@pytest.mark.parametrize(
    ("title", "categories", "kept", "review"),
    [
        ("Boeing 737-700", ["Boeing 737-800 of Ryanair"], "Boeing 737",
         "aircraft_type: its categories say Boeing 737-800, its title says Boeing 737-700"),
        ("Airbus A340-300", ["Boeing 737-800 of Ryanair"], " ", "its title says Airbus A340-300"),
        # Two aircraft in one photo: the one that the title names, but somebody should look.
        ("Airbus A321-131", ["Airbus A321 of Lufthansa", "Boeing 737-800 of Ryanair"], "Airbus A321-131",
         "its categories say Airbus A321 and Boeing 737-800"),
        ("Two of a kind", ["Boeing 747-400", "Boeing 747-8"], "Boeing 747", "Boeing 747-400 and Boeing 747-8"),
        ("D-AIQT and D-AIQU", ["Airbus A320-200"], "Airbus A320-200", "registration: D-AIQT or D-AIQU"),
        ("Vueling, Airbus A320-200, EC-HHA", ["Airbus A320-200 of Iberia"], "Airbus A320-200",
         "airline: its categories say Iberia, its title Vueling"),
    ],
)  # fmt: skip
def test_where_readings_differ_what_they_share_is_kept_and_reviewed(
    title: str, categories: list[str], kept: str, review: str
) -> None:
    (photo,) = parsed(File(1, f"{title}.jpg", categories), chain=("Photos of the day",)).photos
    assert f"{photo['constructor']} {photo['aircraft_type']}" == kept
    assert review in photo["review"]


def test_what_is_missing_is_empty_and_has_a_reason() -> None:
    bare: dict[str, str | None] = {"DateTimeOriginal": None, "ImageDescription": None, "LicenseUrl": None}
    members = parsed(File(1, "Evening.jpg", [], bare), chain=("Paro",))
    assert members.missing["airline"] == {"neither its categories nor its title say": 1}
    assert set(members.missing) == {
        *("constructor", "aircraft_type", "airline", "registration"),
        *("taken_on", "caption", "licence_url"),
    }


def test_what_is_no_photo_to_keep_is_left_out_and_counted() -> None:
    free = "which is none of those known as free"
    left = {
        "no JPEG, PNG or WebP, but image/svg+xml": File(1, "a.svg", [], mime="image/svg+xml"),
        "no author": File(2, "b.jpg", [], {"Artist": "<span> </span>"}),
        "no licence": File(3, "c.jpg", [], {"LicenseShortName": None}),
        f"the licence CC BY-NC 4.0, {free}": File(4, "d.jpg", [], {"LicenseShortName": "CC BY-NC 4.0"}),
        f"the licence CC BY-ND 4.0, {free}": File(5, "e.jpg", [], {"LicenseShortName": "CC BY-ND 4.0"}),
        f"the licence Fair use, {free}": File(6, "f.jpg", [], {"LicenseShortName": "Fair use"}),
        "no whole aircraft from outside, but cockpits": File(7, "Airbus A320 cockpit.jpg", []),
        "no whole aircraft from outside, but cabins": File(8, "g.jpg", ["Airbus A320 cabins"]),
    }
    members = parsed(*left.values(), File(9, "Airbus A320 with sharklets.jpg", []))
    assert members.excluded == dict.fromkeys(left, 1)
    assert [photo["photo_id"] for photo in members.photos] == ["9"]


@pytest.mark.parametrize(
    "licence", ["CC BY 2.0", "CC BY-SA 3.0 de", "CC0", "Public domain", "PD-USGov", "GFDL 1.2", "OGL v1.0", "FAL"]
)
def test_free_licences_are_kept_as_they_are_written(licence: str) -> None:
    (photo,) = parsed(File(1, "Airbus A320-214.jpg", [], {"LicenseShortName": licence})).photos
    assert photo["licence"] == licence


def test_categories_that_show_no_aircraft_from_outside_are_skipped() -> None:
    inside = (
        "Airbus A320 cockpits",
        "Airbus A320 seats",
        "Accidents of the Airbus A320",
        "Scale models of Airbus A320",
    )
    members = parsed(categories=(*inside, "Airbus A320 by model", "Airbus A320 with winglets"))
    assert members.categories == ["Airbus A320 by model", "Airbus A320 with winglets"]
    assert members.skipped == {"cockpits": 1, "cabins": 1, "accidents": 1, "models and simulators": 1}


@pytest.mark.parametrize(
    ("html", "name"),
    [
        ("Tenzin", "Tenzin"),
        ('<a href="//wiki.test">Tenzin</a> from Paro, Bhutan', "Tenzin from Paro, Bhutan"),
        ('Tenzin<span style="display: none;">creator QS:P170</span>', "Tenzin"),
        ("<p>Tenzin<br>Wangmo</p><script>x</script>", "Tenzin Wangmo"),
        ("<div><bdi>Tenzin &lt;W&gt;</bdi>\n</div>", "Tenzin <W>"),
    ],
)
def test_an_author_in_html_is_read_as_a_reader_sees_it(html: str, name: str) -> None:
    assert parsed(File(1, "x.jpg", [], {"Artist": html})).photos[0]["photographer"] == name


@pytest.mark.parametrize(
    ("text", "day"),
    [
        ("2019-06-15 12:34:56", "2019-06-15"),
        ("2019:06:15 12:34:56", "2019-06-15"),
        ('<time class="dtstart" datetime="2019-06-15">Saturday</time>', "2019-06-15"),
        ("Taken on 15 June 2019, 10:00", "2019-06-15"),
        ("June 2006", "2006-06"),
        ("circa 1990", "1990"),
        ("31 June 2019", "2019"),
        ("0000-00-00 00:00:00", ""),
        ("some day", ""),
    ],
)
def test_dates_are_read_as_far_as_they_go(text: str, day: str) -> None:
    assert taken_on(text) == day


def test_registrations_are_told_from_types_and_flight_numbers() -> None:
    real = "D-AIQT EI-DCL N12345 N747PA N1KE JA801A HL7530 9V-SKA VT-ANB B-2447 B-18006 B-LRA A6-EDF A4O-BA RA-89001"
    real += " CU-T1250 VN-A321 HP-1730CMP EK-32009 UK32018 HK-4549 C-GITU F-GKXS G-EUUU HB-JHA 4K-AZ01 RP-C8765"
    assert registrations_in(real.replace(" ", ", ")) == set(real.split())
    none = "A320-214 737-8AS B-52H C-130 F-16 EK-202 MD-11 A21N N737-800 N5 E-190 D-AIQTX CC-BY SA-3 LH-400 SU-27 7T"
    assert registrations_in(none) == set()


def test_airlines_are_read_where_the_form_shows_them() -> None:
    assert operator_of("Boeing 737-800 of Ryanair by registration") == ("Ryanair", True)
    assert operator_of("Airbus A220-300 of airBaltic") == ("airBaltic", True)
    assert operator_of("Airbus A320 of Air Berlin in old livery") == ("Air Berlin", True)
    assert operator_of("Aircraft of Ireland") == ("Ireland", False)
    assert operator_of("Ryanair aircraft") == ("Ryanair", False)
    for category in ("Landing aircraft", "Airbus aircraft", "Sunsets", "Frankfurt Airport", "Boeing 737 of 1998"):
        assert operator_of(category) == ("", False)
    assert operator_in("Lufthansa, Airbus A320-214, D-AIQT (12345)") == "Lufthansa"
    assert operator_in("Airbus A320-214, Vueling Airlines AN1824341") == "Vueling Airlines"
    for title in ("Landing Airbus A320", "Airbus A320, Frankfurt", "Frankfurt Airport, Airbus A320, D-AIQT", "IMG 12"):
        assert operator_in(title) == ""


ERRORS = [
    ({"error": {"code": "maxlag", "info": "Waiting for db1: 7.2 seconds lagged.", "lag": 7.2}}, True, 7.2),
    ({"error": {"code": "ratelimited", "info": "Too fast."}}, True, 5),
    ({"errors": [{"code": "ratelimited", "text": "Too fast."}]}, True, 5),
    ({"error": {"code": "badvalue", "info": "Unrecognized value."}}, False, 5),
    ([], False, 0),
]


@pytest.mark.parametrize(("content", "busy", "seconds"), ERRORS)
def test_errors_in_answers_are_sentences_and_some_pass(content: object, busy: bool, seconds: float) -> None:
    said = read(content)
    assert said.error.endswith(".")
    assert (said.busy, said.seconds) == (busy, seconds)


def test_warnings_are_passed_on() -> None:
    content = {"batchcomplete": True, "warnings": {"main": {"warnings": "Unrecognized parameter: foo.\nAnd bar."}}}
    assert read(content).notes == ("main: Unrecognized parameter: foo.", "main: And bar.")
    assert read({"warnings": [{"code": "x", "text": "Old."}]}).notes == ("Old.",)


SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.just("\ud800\x00 A320-214")
JSON = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3))


def odd(**parts: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Objects with some of these parts, each of which may be anything else as well."""
    return JSON | st.fixed_dictionaries({}, optional={name: JSON | part for name, part in parts.items()})


TEXTS = st.text() | st.sampled_from(
    ["File:Lufthansa, Airbus A320-214, D-AIQT.jpg", "Category:Boeing 737-800 of Ryanair", "//[", "https://x.test/\ud800",
     "CC BY 2.0", "<a href='[", "<![foo[", "<p" * 50, "2019-02-31", "Category:", "A320/A321", "image/jpeg", ":"]
)  # fmt: skip
METADATA = odd(**{name: odd(value=TEXTS) for name in commons.METADATA})
INFO = odd(
    url=TEXTS, thumburl=TEXTS, descriptionurl=TEXTS, mime=TEXTS, sha1=TEXTS, width=st.integers(), extmetadata=METADATA
)
PAGE = odd(
    pageid=st.integers(),
    ns=st.sampled_from([6, 14]),
    title=TEXTS,
    imageinfo=st.lists(INFO, max_size=2),
    categories=st.lists(odd(title=TEXTS), max_size=3),
)
CONTENT = odd(
    query=odd(pages=st.lists(PAGE, max_size=3) | st.dictionaries(st.text(), PAGE, max_size=2)),
    error=odd(code=TEXTS, info=TEXTS, lag=st.floats()),
    warnings=odd(main=odd(warnings=TEXTS)),
    batchcomplete=st.booleans(),
) | st.fixed_dictionaries({"continue": odd(gcmcontinue=TEXTS)})


@given(st.lists(CONTENT, max_size=2), st.lists(TEXTS, max_size=3))
def test_any_json_is_read_without_an_error(contents: list[object], chain: list[str]) -> None:
    for content in contents:
        read(content)
    members = parse(contents, URL, chain)
    for photo in members.photos:
        assert set(photo) == set(FIELDS)
        assert catalog.PHOTO_ID.fullmatch(photo["photo_id"])
        assert photo["licence"]
        assert photo["photographer"]
        "".join(photo.values()).encode()  # can be stored


@given(st.permutations(["Airbus A320-214 of Lufthansa", "D-AIQT (aircraft)", "Lufthansa aircraft", "Airbus A320"]))
def test_the_order_of_categories_means_nothing(categories: list[str]) -> None:
    title = "Airbus A320 Lufthansa.jpg"
    expected = parsed(File(1, title, sorted(categories)), chain=("Frankfurt",)).photos
    assert parsed(File(1, title, categories), chain=("Frankfurt",)).photos == expected


# The walk.


@pytest.fixture(autouse=True)
def _in_a_hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(crawl.SITES, "commons", replace(commons.SITE, requests_per_minute=float("inf")))


def walked(base: str, out: Path, *categories: str, **limits: int) -> CrawlResult:
    plan = Plan(categories, **limits)
    return scrape("commons", out, url=base, contact=CONTACT, plan=plan)


A320 = "Airbus A320-200"
TREE = {A320: [f"{A320} by airline", "Airbus A320 cockpits"], f"{A320} by airline": [f"{A320} of Lufthansa", A320]}


@pytest.mark.slow
def test_a_walk_stores_what_is_in_a_category_and_below_it_once(tmp_path: Path) -> None:
    wiki = Wiki(
        {**TREE, f"{A320} of Lufthansa": [A320]},  # round in circles, twice
        [*fleet(5, A320), *fleet(30, f"{A320} of Lufthansa", first=100), File(7, "Seat.jpg", ["Airbus A320 cockpits"])],
    )
    wiki.files[0].categories.append(f"{A320} by airline")
    with serve(wiki) as base:
        outcome = walked(base, tmp_path, f"Category:{A320.replace(' ', '_')}")
        frame = catalog.read(tmp_path)
        catalog.check(tmp_path, frame, hashes=True)
        assert outcome.stored == len(frame) == 35
        assert set(frame["photo_id"]) == {f"commons-{n}" for n in (*range(1, 6), *range(100, 130))}
        assert set(frame["model"]) == {A320.removeprefix("Airbus ")}
        assert outcome.skipped_categories == {"cockpits": 1}
        assert "Tenzin \\& W. 129" in (tmp_path / "ATTRIBUTION.md").read_text(encoding="utf-8")

        again = walked(base, tmp_path, A320)
        assert (again.stored, again.known, len(wiki.fetched)) == (0, 35, 35)
        assert catalog.read(tmp_path).equals(frame)
    assert wiki.most_at_once == 1
    assert wiki.agents == {f"planespotter/0.1 (+{CONTACT})"}
    first = wiki.asked[0]
    assert (first["maxlag"], first["formatversion"], first["iiurlwidth"]) == ("5", "2", "1280")
    assert all("/1280px.jpg" in path for path in wiki.fetched)


@pytest.mark.slow
def test_answers_in_parts_are_put_together(tmp_path: Path) -> None:
    wiki = Wiki({}, fleet(20, A320), batch=8, part_size=3)
    for file in wiki.files:
        file.title = f"{file.pageid}.jpg"  # so that only the categories tell what it is
        file.categories += [f"D-AI{chr(65 + file.pageid // 26)}{chr(65 + file.pageid % 26)} (aircraft)"]
    with serve(wiki) as base:
        outcome = walked(base, tmp_path, A320)
    frame = catalog.read(tmp_path)
    assert (len(frame), outcome.pages) == (20, 3)
    assert frame["registration"].nunique() == 20


@pytest.mark.slow
def test_the_site_is_asked_again_when_it_is_ready(tmp_path: Path) -> None:
    wiki = Wiki({}, fleet(3, A320))
    lagged = {"error": {"code": "maxlag", "info": "Waiting for db1: 6 seconds lagged.", "lag": 6}}
    wiki.trouble = [
        (200, {"Retry-After": "0"}, lagged),
        (429, {"Retry-After": "1"}, "Too many requests"),
        (503, {"Retry-After": "0"}, "Later"),
        (500, {}, "Oh"),
    ]
    wiki.image_trouble = {2: [(429, {"Retry-After": "0"}, "Too many requests")]}
    told: list[str] = []
    with serve(wiki) as base:
        plan = Plan((A320,))
        outcome = scrape(
            "commons", tmp_path, url=base, contact=CONTACT, plan=plan, progress=lambda now: told.append(now.wait_notice)
        )
    assert (outcome.stored, len(wiki.asked)) == (3, 5)
    assert any("wait" in text for text in told)
    assert (outcome.max_photos, outcome.category) == (200, A320)
    outcome.stored, outcome.known = 40, 60
    assert crawl_status(outcome, None, 20) == f"40 photos (120 per minute), at most 50 s left, {A320}"


STOPS: list[tuple[list[tuple[int, dict[str, str], object]], str, int]] = [
    ([(403, {}, "Please set a user agent")], "answered 403: 'Please set a user agent'", 1),
    ([(404, {}, "<h1>Not found</h1>")], "answered 404", 1),
    ([(200, {}, "<html>A page</html>")], "something else than JSON: '<html>A page", 1),
    ([(200, {}, "[" * 100_000)], "something else than JSON", 1),
    ([(429, {"Retry-After": "86400"}, "")], "run the same command again later", 1),
    ([(500, {}, "")] * 3, "answered 500.*Run the same command again later", 3),
    ([(200, {}, {"error": {"code": "invalidtitle", "info": "Bad title."}})], r"Bad title \(invalidtitle\)", 1),
]


@pytest.mark.slow
@pytest.mark.parametrize(("trouble", "words", "asked"), STOPS)
def test_a_site_that_says_no_is_left_alone(
    tmp_path: Path, trouble: list[tuple[int, dict[str, str], object]], words: str, asked: int
) -> None:
    wiki = Wiki({}, fleet(3, A320), trouble=list(trouble))
    with serve(wiki) as base, pytest.raises(ScrapeError, match=words):
        walked(base, tmp_path, A320)
    assert len(wiki.asked) == asked
    assert not wiki.fetched


@pytest.mark.slow
def test_a_site_that_is_not_there_is_told_of(tmp_path: Path) -> None:
    with serve(Wiki({}, [])) as base:
        pass
    with pytest.raises(ScrapeError, match=r"did not answer \(ConnectError\)"):
        walked(base, tmp_path, A320)


def test_images_that_are_none_are_counted_and_redirects_followed(tmp_path: Path) -> None:
    wiki = Wiki({}, fleet(4, A320))
    wiki.image_trouble = {
        1: [(200, {"Content-Type": "text/html"}, "<html>Thumbnail not ready")],
        2: [(302, {"Location": "/original/2/moved.jpg"}, "")],
        3: [(404, {}, "gone")],
    }
    with serve(wiki) as base:
        outcome = walked(base, tmp_path, A320)
        assert outcome.stored == 2
        assert "not an image" in outcome.bad_images["commons-1"]
        assert "404" in outcome.bad_images["commons-3"]
        assert walked(base, tmp_path, A320).stored == 2  # a later time, they come


def test_when_no_image_comes_the_walk_ends(tmp_path: Path) -> None:
    wiki = Wiki({}, fleet(30, A320))
    wiki.image_trouble = {file.pageid: [(404, {}, "gone")] for file in wiki.files}
    with serve(wiki) as base, pytest.raises(ScrapeError, match="5 images in a row could not be had"):
        walked(base, tmp_path, A320)
    assert len(wiki.fetched) == 5


def test_images_are_fetched_only_where_robots_txt_allows_it(tmp_path: Path) -> None:
    wiki = Wiki({}, fleet(9, A320), robots="User-agent: *\nDisallow: /thumb/\n")
    with serve(wiki) as base, pytest.raises(ScrapeError, match="keeps programs away"):
        walked(base, tmp_path, A320)
    assert not wiki.fetched


@pytest.mark.slow
def test_limits_are_shared_out_among_categories_and_count_what_is_there(tmp_path: Path) -> None:
    names = [f"{A320} of Airline {letter}" for letter in "ABC"]
    files = [file for place, name in enumerate(names) for file in fleet(20, name, first=1000 * (place + 1))]
    wiki = Wiki({A320: names}, [*files, *fleet(30, "Boeing 737-800", 9000, "Boeing 737-8AS")])
    with serve(wiki) as base:
        outcome = walked(base, tmp_path, A320, "Boeing 737-800", per_category=13)
        frame = catalog.read(tmp_path)
        assert Counter(frame["model"]) == {"A320-200": 13, "737-800": 13}
        assert sorted(Counter(frame[frame["model"] == "A320-200"]["airline"]).values()) == [3, 10]
        assert outcome.notes == {"2 categories have more photos: --per-category says how many of each to take.": 1}
        assert walked(base, tmp_path, A320, "Boeing 737-800", per_category=13).stored == 0
        assert walked(base, tmp_path, A320, "Boeing 737-800", per_category=15, photos=28).stored == 2


def test_what_the_site_warns_of_is_shown_as_it_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    warned = Wiki({}, fleet(1, A320), warnings={"main": {"warnings": "Unrecognized parameter: [/foo].\x1b[2J"}})
    with serve(warned) as base:
        options = ["--site", "commons", "--contact", CONTACT, "--category", A320]
        app(["scrape", "--url", base, "--out", str(tmp_path), *options], standalone_mode=False)
    assert "main: Unrecognized parameter: [/foo].[2J\n" in capsys.readouterr().out


def test_depth_says_how_far_down_to_look(tmp_path: Path) -> None:
    wiki = Wiki(TREE, [*fleet(2, A320), *fleet(2, f"{A320} by airline", 10), *fleet(2, f"{A320} of Lufthansa", 20)])
    with serve(wiki) as base:
        for depth, count in ((0, 2), (1, 4), (2, 6)):
            walked(base, tmp_path, A320, depth=depth)
            assert len(catalog.photo_ids(tmp_path)) == count


def test_a_category_that_does_not_exist_is_named(tmp_path: Path) -> None:
    with serve(Wiki({}, fleet(2, A320))) as base:
        with pytest.raises(ScrapeError, match=r"There is nothing in the category of http.*: Airbus a320"):
            walked(base, tmp_path, "Airbus a320")
        outcome = walked(base, tmp_path, A320, "Airbus a320")
    assert outcome.stored == 2
    assert list(outcome.notes) == ["The category Airbus a320 is empty or does not exist."]


@pytest.mark.slow
def test_without_categories_the_usual_ones_are_walked(tmp_path: Path) -> None:
    with serve(wiki := Wiki({}, fleet(2, A320))) as base:
        assert walked(base, tmp_path).stored == 2
    assert {asked["gcmtitle"].removeprefix("Category:") for asked in wiki.asked} == set(commons.SITE.categories)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--site", "commons"], "is a live one.*--contact"),
        (["--site", "commons", "--contact", "a@b.test", "--pages", "3"], "--pages cannot apply"),
        (["--site", "commons", "--contact", "a@b.test", "--width", "800"], "no images 800 pixels wide.*960, 1280"),
        (["--site", "commons", "--contact", "a@b.test", "--category", " "], "A category has no name"),
        (["--site", "sample", "--category", "Airbus A320"], "has no categories"),
    ],
)
def test_what_does_not_fit_is_refused_before_anything_is_asked(
    tmp_path: Path, arguments: list[str], words: str
) -> None:
    with serve(wiki := Wiki({}, [])) as base:
        result = CliRunner().invoke(app, ["scrape", "--url", base, "--out", str(tmp_path), *arguments])
    assert isinstance(result.exception, ScrapeError)
    assert re.search(words, str(result.exception))
    assert not wiki.asked


def start(base: str, out: Path) -> subprocess.Popen[bytes]:
    hurried = (
        "from dataclasses import replace; from planespotter_scraping.crawling import crawl; "
        "crawl.SITES['commons'] = replace(crawl.SITES['commons'], requests_per_minute=1500); "
        "from planespotter_scraping.cli import app; app()"
    )
    options = [
        "scrape",
        "--site",
        "commons",
        "--url",
        base,
        "--out",
        str(out),
        "--contact",
        CONTACT,
        "--category",
        A320,
    ]
    return subprocess.Popen(
        [sys.executable, "-c", hurried, *options], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )


def wait_for_photos(out: Path, count: int, process: subprocess.Popen[bytes]) -> None:
    deadline, file = time.monotonic() + 300, out / "catalog.csv"
    while (
        (not file.exists() or file.read_bytes().count(b"\n") <= count)
        and process.poll() is None
        and time.monotonic() < deadline
    ):
        time.sleep(0.02)


def test_authors_whom_a_kill_has_kept_from_being_named_are_named_when_the_walk_begins(tmp_path: Path) -> None:
    catalog.append(tmp_path, {"photo_id": "commons-9", "photographer": "Tenzin", "licence": "CC0"}, b"an image")
    page = tmp_path / "ATTRIBUTION.md"
    named: list[bool] = []
    with serve(Wiki({}, fleet(1, A320))) as base:
        told = lambda outcome: named.append("Tenzin, CC0" in page.read_text(encoding="utf-8"))  # noqa: E731
        scrape("commons", tmp_path, url=base, contact=CONTACT, plan=Plan((A320,)), progress=told)
    assert named[0]


@pytest.mark.slow
def test_ctrl_c_and_kills_lose_nothing_and_fetch_nothing_twice(tmp_path: Path) -> None:
    wiki = Wiki(TREE, [*fleet(30, A320), *fleet(30, f"{A320} of Lufthansa", 100)], batch=20, most=12)
    page = tmp_path / "ATTRIBUTION.md"
    with serve(wiki) as base:
        process = start(base, tmp_path)
        wait_for_photos(tmp_path, 8, process)
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=300) == 130
        assert 8 <= len(catalog.photo_ids(tmp_path)) < 60
        assert page.read_text(encoding="utf-8").count("\n- ") == len(catalog.photo_ids(tmp_path))

        wiki.most = 45
        process = start(base, tmp_path)
        wait_for_photos(tmp_path, 29, process)
        process.kill()
        process.wait()
        wiki.more.set()
        assert 29 <= len(catalog.photo_ids(tmp_path)) < 60
        walked(base, tmp_path, A320)
    frame = catalog.read(tmp_path)
    catalog.check(tmp_path, frame, hashes=True)
    assert len(frame) == frame["photo_id"].nunique() == 60
    assert len(wiki.fetched) <= 60 + 2  # the one in flight, each time
    files = {path.relative_to(tmp_path).as_posix() for path in (tmp_path / "images").rglob("*") if path.is_file()}
    assert files == set(frame["file"])
    assert page.read_text(encoding="utf-8").count("\n- ") == 60
