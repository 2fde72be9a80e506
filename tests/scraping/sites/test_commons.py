"""Wikimedia Commons: parser of its API responses, and crawls of a test wiki on localhost."""

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
from tests.scraping.sites.commons_api import File, Wiki, fleet, picture, respond, serve
from typer.testing import CliRunner

from planespotter_scraping import catalog
from planespotter_scraping.cli import app
from planespotter_scraping.console.progress import crawl_status
from planespotter_scraping.crawling import backoff, crawl
from planespotter_scraping.crawling.api_crawl import CategoryPlan
from planespotter_scraping.crawling.crawl import scrape
from planespotter_scraping.crawling.result import CrawlResult, ScrapeError
from planespotter_scraping.labels.airframes import registrations_in
from planespotter_scraping.sites import CategoryMembers, commons
from planespotter_scraping.sites.commons import FIELDS, build_query, parse, read_response, taken_on
from planespotter_scraping.sites.free_text import airline_of_category, airline_of_title

URL, CONTACT = "https://wiki.test", "spotter@photos.test"


def parsed(
    *files: File, path: tuple[str, ...] = ("Airbus A320-200",), categories: tuple[str, ...] = ()
) -> CategoryMembers:
    """Parse files, all of which are in the last category of `path`."""
    for file in files:
        file.categories.append(path[-1])
    wiki = Wiki({path[-1]: list(categories)}, list(files))
    return parse([respond(wiki, build_query(path[-1], 1280, {}), URL)], URL, path)


def test_file_becomes_a_photo_with_author_and_licence() -> None:
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
    ("title", "categories", "path", "labels"),
    [
        # Categories and title both have it: the deeper one counts.
        ("Lufthansa Airbus A320 D-AIQT", ["Airbus A320-214 of Lufthansa"], ["Airbus A320"],
         "Airbus|A320-214|D-AIQT|Lufthansa"),
        ("Ryanair Boeing 737-8AS EI-DCL", ["Boeing 737 of Ryanair"], ["Boeing 737"], "Boeing|737-8AS|EI-DCL|Ryanair"),
        ("Boeing 737-8 MAX N8710M", [], ["Boeing 737 MAX 8"], "Boeing|737-8 MAX|N8710M|"),
        ("9V-SWA - 777-312(ER) - SIA", [], ["Boeing 777-300ER of Singapore Airlines"],
         "Boeing|777-312(ER)|9V-SWA|Singapore Airlines"),
        # Only one of them has it.
        ("Delta Air Lines B767-332 (N143DA)", ["Delta Air Lines aircraft"], ["LAX"],
         "Boeing|B767-332|N143DA|Delta Air Lines"),
        ("IMG 1234", ["D-AIQT (aircraft)"], ["Airbus A320-200 of Lufthansa"], "Airbus|A320-200|D-AIQT|Lufthansa"),
        ("Ryanair B738 EI-DCL", ["Ryanair aircraft"], ["Aircraft at Dublin Airport"], "Boeing|B738|EI-DCL|Ryanair"),
        # The file's categories name no type: the nearest ancestor that does counts.
        ("Evening", ["Aircraft D-AIQT"], ["Airbus A320", "Airbus A320-214 of Lufthansa", "D-AIQT (aircraft)"],
         "Airbus|A320-214|D-AIQT|Lufthansa"),
        # The A320 family is the A318 to the A321, so it only gives the constructor.
        ("Lufthansa A321-131 D-AIRB", ["Airbus A320 family of Lufthansa"], ["Lufthansa"],
         "Airbus|A321-131|D-AIRB|Lufthansa"),
        # A constructor's name alone may be that of an airfield.
        ("Airbus A320-232 at Boeing Field", ["Boeing Field in 2013"], ["Airbus A320-200"], "Airbus|A320-232||"),
        # Other constructors are parsed as well: the photo sink filters them.
        ("Embraer 190 D-AECA", ["Embraer E-190 of Lufthansa"], ["D-AECA (aircraft)"], "Embraer|E-190|D-AECA|Lufthansa"),
        # A word of the title is not an airline just because it is in a category as well.
        ("Landing Airbus A320 in Ireland", ["Landing aircraft", "Aircraft of Ireland"], ["Ireland"], "Airbus|A320||"),
        ("Sunset", ["Sunsets in Bhutan"], ["Paro Airport"], "|||"),
    ],
)  # fmt: skip
def test_labels_come_from_categories_and_titles(
    title: str, categories: list[str], path: list[str], labels: str
) -> None:
    (photo,) = parsed(File(1, f"{title}.jpg", categories), path=tuple(path)).photos
    assert "|".join(photo[name] for name in ("constructor", "aircraft_type", "registration", "airline")) == labels
    assert photo["review"] == ""


@pytest.mark.parametrize(
    ("title", "categories", "common", "review"),
    [
        ("Boeing 737-700", ["Boeing 737-800 of Ryanair"], "Boeing 737",
         "aircraft_type: categories Boeing 737-800, title Boeing 737-700"),
        ("Airbus A340-300", ["Boeing 737-800 of Ryanair"], " ", "title Airbus A340-300"),
        # Two aircraft in one photo: the one in the title counts, with a note for review.
        ("Airbus A321-131", ["Airbus A321 of Lufthansa", "Boeing 737-800 of Ryanair"], "Airbus A321-131",
         "categories Airbus A321 and Boeing 737-800"),
        ("Two of a kind", ["Boeing 747-400", "Boeing 747-8"], "Boeing 747", "Boeing 747-400 and Boeing 747-8"),
        ("D-AIQT and D-AIQU", ["Airbus A320-200"], "Airbus A320-200", "registration: D-AIQT or D-AIQU"),
        ("Vueling, Airbus A320-200, EC-HHA", ["Airbus A320-200 of Iberia"], "Airbus A320-200",
         "airline: categories Iberia, title Vueling"),
    ],
)  # fmt: skip
def test_contradictory_labels_are_reduced_to_their_common_part_and_reviewed(
    title: str, categories: list[str], common: str, review: str
) -> None:
    (photo,) = parsed(File(1, f"{title}.jpg", categories), path=("Photos of the day",)).photos
    assert f"{photo['constructor']} {photo['aircraft_type']}" == common
    assert review in photo["review"]


def test_missing_fields_have_a_reason() -> None:
    bare: dict[str, str | None] = {"DateTimeOriginal": None, "ImageDescription": None, "LicenseUrl": None}
    members = parsed(File(1, "Evening.jpg", [], bare), path=("Paro",))
    assert members.missing["airline"] == {commons.NOT_IN_TEXT: 1}
    assert set(members.missing) == {
        *("constructor", "aircraft_type", "airline", "registration"),
        *("taken_on", "caption", "licence_url"),
    }


def test_unsuitable_files_are_excluded_and_counted() -> None:
    excluded = {
        "not a JPEG, PNG or WebP: image/svg+xml": File(1, "a.svg", [], mime="image/svg+xml"),
        "author unknown": File(2, "b.jpg", [], {"Artist": "<span> </span>"}),
        "licence unknown": File(3, "c.jpg", [], {"LicenseShortName": None}),
        "not a known free licence: CC BY-NC 4.0": File(4, "d.jpg", [], {"LicenseShortName": "CC BY-NC 4.0"}),
        "not a known free licence: CC BY-ND 4.0": File(5, "e.jpg", [], {"LicenseShortName": "CC BY-ND 4.0"}),
        "not a known free licence: Fair use": File(6, "f.jpg", [], {"LicenseShortName": "Fair use"}),
        "not a complete aircraft from outside: cockpits": File(7, "Airbus A320 cockpit.jpg", []),
        "not a complete aircraft from outside: cabins": File(8, "g.jpg", ["Airbus A320 cabins"]),
    }
    members = parsed(*excluded.values(), File(9, "Airbus A320 with sharklets.jpg", []))
    assert members.excluded == dict.fromkeys(excluded, 1)
    assert [photo["photo_id"] for photo in members.photos] == ["9"]


@pytest.mark.parametrize(
    "licence", ["CC BY 2.0", "CC BY-SA 3.0 de", "CC0", "Public domain", "PD-USGov", "GFDL 1.2", "OGL v1.0", "FAL"]
)
def test_free_licences_keep_their_spelling(licence: str) -> None:
    (photo,) = parsed(File(1, "Airbus A320-214.jpg", [], {"LicenseShortName": licence})).photos
    assert photo["licence"] == licence


def test_categories_without_exterior_photos_are_skipped() -> None:
    inside = (
        "Airbus A320 cockpits",
        "Airbus A320 seats",
        "Accidents of the Airbus A320",
        "Scale models of Airbus A320",
    )
    members = parsed(categories=(*inside, "Airbus A320 by model", "Airbus A320 with winglets"))
    assert members.categories == ["Airbus A320 by model", "Airbus A320 with winglets"]
    assert members.skipped_categories == {"cockpits": 1, "cabins": 1, "accidents": 1, "models and simulators": 1}


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
def test_author_in_html_becomes_its_visible_text(html: str, name: str) -> None:
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
def test_dates_are_parsed_to_their_precision(text: str, day: str) -> None:
    assert taken_on(text) == day


def test_registrations_are_distinguished_from_types_and_flight_numbers() -> None:
    real = "D-AIQT EI-DCL N12345 N747PA N1KE JA801A HL7530 9V-SKA VT-ANB B-2447 B-18006 B-LRA A6-EDF A4O-BA RA-89001"
    real += " CU-T1250 VN-A321 HP-1730CMP EK-32009 UK32018 HK-4549 C-GITU F-GKXS G-EUUU HB-JHA 4K-AZ01 RP-C8765"
    assert registrations_in(real.replace(" ", ", ")) == set(real.split())
    other = "A320-214 737-8AS B-52H C-130 F-16 EK-202 MD-11 A21N N737-800 N5 E-190 D-AIQTX CC-BY SA-3 LH-400 SU-27 7T"
    assert registrations_in(other) == set()


def test_airlines_are_recognized_by_the_form_of_the_text() -> None:
    assert airline_of_category("Boeing 737-800 of Ryanair by registration") == ("Ryanair", True)
    assert airline_of_category("Airbus A220-300 of airBaltic") == ("airBaltic", True)
    assert airline_of_category("Airbus A320 of Air Berlin in old livery") == ("Air Berlin", True)
    assert airline_of_category("Aircraft of Ireland") == ("Ireland", False)
    assert airline_of_category("Ryanair aircraft") == ("Ryanair", False)
    for category in ("Landing aircraft", "Airbus aircraft", "Sunsets", "Frankfurt Airport", "Boeing 737 of 1998"):
        assert airline_of_category(category) == ("", False)
    assert airline_of_title("Lufthansa, Airbus A320-214, D-AIQT (12345)") == "Lufthansa"
    assert airline_of_title("Airbus A320-214, Vueling Airlines AN1824341") == "Vueling Airlines"
    for title in ("Landing Airbus A320", "Airbus A320, Frankfurt", "Frankfurt Airport, Airbus A320, D-AIQT", "IMG 12"):
        assert airline_of_title(title) == ""


ERRORS = [
    ({"error": {"code": "maxlag", "info": "Waiting for db1: 7.2 seconds lagged.", "lag": 7.2}}, True, 7.2),
    ({"error": {"code": "ratelimited", "info": "Too fast."}}, True, 5),
    ({"errors": [{"code": "ratelimited", "text": "Too fast."}]}, True, 5),
    ({"error": {"code": "badvalue", "info": "Unrecognized value."}}, False, 5),
    ([], False, 0),
]


@pytest.mark.parametrize(("content", "busy", "seconds"), ERRORS)
def test_api_errors_are_sentences_and_some_are_temporary(content: object, busy: bool, seconds: float) -> None:
    response = read_response(content)
    assert response.error.endswith(".")
    assert (response.busy, response.retry_seconds) == (busy, seconds)


def test_api_warnings_are_returned() -> None:
    content = {"batchcomplete": True, "warnings": {"main": {"warnings": "Unrecognized parameter: foo.\nAnd bar."}}}
    assert read_response(content).warnings == ("main: Unrecognized parameter: foo.", "main: And bar.")
    assert read_response({"warnings": [{"code": "x", "text": "Old."}]}).warnings == ("Old.",)


SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.just("\ud800\x00 A320-214")
JSON = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3))


def fuzzed(**parts: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Return JSON objects with some of these parts, each of which may be any other JSON as well."""
    return JSON | st.fixed_dictionaries({}, optional={name: JSON | part for name, part in parts.items()})


TEXTS = st.text() | st.sampled_from(
    ["File:Lufthansa, Airbus A320-214, D-AIQT.jpg", "Category:Boeing 737-800 of Ryanair", "//[", "https://x.test/\ud800",
     "CC BY 2.0", "<a href='[", "<![foo[", "<p" * 50, "2019-02-31", "Category:", "A320/A321", "image/jpeg", ":"]
)  # fmt: skip
METADATA = fuzzed(**{name: fuzzed(value=TEXTS) for name in commons.METADATA})
INFO = fuzzed(
    url=TEXTS, thumburl=TEXTS, descriptionurl=TEXTS, mime=TEXTS, sha1=TEXTS, width=st.integers(), extmetadata=METADATA
)
PAGE = fuzzed(
    pageid=st.integers(),
    ns=st.sampled_from([6, 14]),
    title=TEXTS,
    imageinfo=st.lists(INFO, max_size=2),
    categories=st.lists(fuzzed(title=TEXTS), max_size=3),
)
CONTENT = fuzzed(
    query=fuzzed(pages=st.lists(PAGE, max_size=3) | st.dictionaries(st.text(), PAGE, max_size=2)),
    error=fuzzed(code=TEXTS, info=TEXTS, lag=st.floats()),
    warnings=fuzzed(main=fuzzed(warnings=TEXTS)),
    batchcomplete=st.booleans(),
) | st.fixed_dictionaries({"continue": fuzzed(gcmcontinue=TEXTS)})


@given(st.lists(CONTENT, max_size=2), st.lists(TEXTS, max_size=3))
def test_any_json_is_parsed_without_an_error(contents: list[object], path: list[str]) -> None:
    for content in contents:
        read_response(content)
    members = parse(contents, URL, path)
    for photo in members.photos:
        assert set(photo) == set(FIELDS)
        assert catalog.PHOTO_ID.fullmatch(photo["photo_id"])
        assert photo["licence"]
        assert photo["photographer"]
        "".join(photo.values()).encode()  # can be stored


@given(st.permutations(["Airbus A320-214 of Lufthansa", "D-AIQT (aircraft)", "Lufthansa aircraft", "Airbus A320"]))
def test_order_of_categories_does_not_matter(categories: list[str]) -> None:
    title = "Airbus A320 Lufthansa.jpg"
    expected = parsed(File(1, title, sorted(categories)), path=("Frankfurt",)).photos
    assert parsed(File(1, title, categories), path=("Frankfurt",)).photos == expected


# Crawls of the test wiki.


@pytest.fixture(autouse=True)
def _no_rate_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(crawl.SITES, "commons", replace(commons.SITE, requests_per_minute=float("inf")))


def crawled(base: str, out: Path, *categories: str, **limits: int) -> CrawlResult:
    plan = CategoryPlan(categories, **limits)
    return scrape("commons", out, url=base, contact=CONTACT, plan=plan)


A320 = "Airbus A320-200"
TREE = {A320: [f"{A320} by airline", "Airbus A320 cockpits"], f"{A320} by airline": [f"{A320} of Lufthansa", A320]}


@pytest.mark.slow
def test_crawl_stores_each_photo_of_a_category_tree_once(tmp_path: Path) -> None:
    wiki = Wiki(
        {**TREE, f"{A320} of Lufthansa": [A320]},  # two cycles
        [*fleet(5, A320), *fleet(30, f"{A320} of Lufthansa", first=100), File(7, "Seat.jpg", ["Airbus A320 cockpits"])],
    )
    wiki.files[0].categories.append(f"{A320} by airline")
    with serve(wiki) as base:
        result = crawled(base, tmp_path, f"Category:{A320.replace(' ', '_')}")
        frame = catalog.read(tmp_path)
        catalog.check(tmp_path, frame, hashes=True)
        assert result.stored == len(frame) == 35
        assert set(frame["photo_id"]) == {f"commons-{n}" for n in (*range(1, 6), *range(100, 130))}
        assert set(frame["model"]) == {A320.removeprefix("Airbus ")}
        assert result.skipped_categories == {"cockpits": 1}
        assert "Tenzin \\& W. 129" in (tmp_path / "ATTRIBUTION.md").read_text(encoding="utf-8")

        again = crawled(base, tmp_path, A320)
        assert (again.stored, again.known, len(wiki.image_paths)) == (0, 35, 35)
        assert catalog.read(tmp_path).equals(frame)
    assert wiki.max_active == 1
    assert wiki.agents == {f"planespotter/0.1 (+{CONTACT})"}
    first = wiki.queries[0]
    assert (first["maxlag"], first["formatversion"], first["iiurlwidth"]) == ("5", "2", "1280")
    assert all("/1280px.jpg" in path for path in wiki.image_paths)


@pytest.mark.slow
def test_batch_in_several_parts_is_merged(tmp_path: Path) -> None:
    wiki = Wiki({}, fleet(20, A320), batch=8, part_size=3)
    for file in wiki.files:
        file.title = f"{file.pageid}.jpg"  # so that only the categories have labels
        file.categories += [f"D-AI{chr(65 + file.pageid // 26)}{chr(65 + file.pageid % 26)} (aircraft)"]
    with serve(wiki) as base:
        result = crawled(base, tmp_path, A320)
    frame = catalog.read(tmp_path)
    assert (len(frame), result.pages) == (20, 3)
    assert frame["registration"].nunique() == 20


@pytest.mark.slow
def test_busy_api_and_images_are_retried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backoff, "INITIAL_SECONDS", 0.2)
    wiki = Wiki({}, fleet(3, A320))
    lagged = {"error": {"code": "maxlag", "info": "Waiting for db1: 6 seconds lagged.", "lag": 6}}
    wiki.api_faults = [
        (200, {"Retry-After": "0"}, lagged),
        (429, {"Retry-After": "1"}, "Too many requests"),
        (503, {"Retry-After": "0"}, "Later"),
        (500, {}, "Oh"),
    ]
    wiki.image_faults = {2: [(429, {"Retry-After": "0"}, "Too many requests")]}
    notices: list[str] = []
    with serve(wiki) as base:
        plan = CategoryPlan((A320,))
        result = scrape(
            "commons",
            tmp_path,
            url=base,
            contact=CONTACT,
            plan=plan,
            progress=lambda now: notices.append(now.wait_notice),
        )
    assert (result.stored, len(wiki.queries)) == (3, 5)
    assert any("wait" in text for text in notices)
    assert (result.max_photos, result.category) == (200, A320)
    result.stored, result.known = 40, 60
    assert crawl_status(result, None, 20) == f"40 photos (120 per minute), at most 50 s left, {A320}"


FATAL_RESPONSES: list[tuple[list[tuple[int, dict[str, str], object]], str, int]] = [
    ([(403, {}, "Please set a user agent")], "responded with 403: 'Please set a user agent'", 1),
    ([(404, {}, "<h1>Not found</h1>")], "responded with 404", 1),
    ([(200, {}, "<html>A page</html>")], "is not JSON: '<html>A page", 1),
    ([(200, {}, "[" * 100_000)], "is not JSON", 1),
    ([(429, {"Retry-After": "86400"}, "")], "Run the same command again later", 1),
    ([(500, {}, "")] * 3, "responded with 500.*Run the same command again later", 3),
    ([(200, {}, {"error": {"code": "invalidtitle", "info": "Bad title."}})], r"Bad title \(invalidtitle\)", 1),
]


@pytest.mark.slow
@pytest.mark.parametrize(("faults", "words", "queries"), FATAL_RESPONSES)
def test_fatal_api_response_stops_the_crawl(
    tmp_path: Path, faults: list[tuple[int, dict[str, str], object]], words: str, queries: int
) -> None:
    wiki = Wiki({}, fleet(3, A320), api_faults=list(faults))
    with serve(wiki) as base, pytest.raises(ScrapeError, match=words):
        crawled(base, tmp_path, A320)
    assert len(wiki.queries) == queries
    assert not wiki.image_paths


@pytest.mark.slow
def test_unreachable_site_is_reported(tmp_path: Path) -> None:
    with serve(Wiki({}, [])) as base:
        pass
    with pytest.raises(ScrapeError, match=r"did not respond \(ConnectError\)"):
        crawled(base, tmp_path, A320)


def test_invalid_images_are_counted_and_redirects_followed(tmp_path: Path) -> None:
    wiki = Wiki({}, fleet(4, A320))
    wiki.image_faults = {
        1: [(200, {"Content-Type": "text/html"}, "<html>Thumbnail not ready")],
        2: [(302, {"Location": "/original/2/moved.jpg"}, "")],
        3: [(404, {}, "not found")],
    }
    with serve(wiki) as base:
        result = crawled(base, tmp_path, A320)
        assert result.stored == 2
        assert "not an image" in result.bad_images["commons-1"]
        assert "404" in result.bad_images["commons-3"]
        assert crawled(base, tmp_path, A320).stored == 2  # the next crawl gets them


def test_image_of_an_api_that_opts_out_of_ai_training_is_not_stored(tmp_path: Path) -> None:
    wiki = Wiki({}, fleet(3, A320))
    wiki.image_faults = {2: [(200, {"X-Robots-Tag": "noimageai"}, picture(2, 300))]}
    with serve(wiki) as base:
        result = crawled(base, tmp_path, A320)
    assert result.stored == 2
    assert "X-Robots-Tag: noimageai" in result.bad_images["commons-2"]


def test_failed_images_in_a_row_stop_the_crawl(tmp_path: Path) -> None:
    wiki = Wiki({}, fleet(30, A320))
    wiki.image_faults = {file.pageid: [(404, {}, "not found")] for file in wiki.files}
    with serve(wiki) as base, pytest.raises(ScrapeError, match="5 images in a row failed"):
        crawled(base, tmp_path, A320)
    assert len(wiki.image_paths) == 5


def test_disallowed_images_are_not_downloaded(tmp_path: Path) -> None:
    wiki = Wiki({}, fleet(9, A320), robots="User-agent: *\nDisallow: /thumb/\n")
    with serve(wiki) as base, pytest.raises(ScrapeError, match=r"robots\.txt disallows"):
        crawled(base, tmp_path, A320)
    assert not wiki.image_paths


@pytest.mark.slow
def test_limits_are_shared_among_categories_and_include_known_photos(tmp_path: Path) -> None:
    names = [f"{A320} of Airline {letter}" for letter in "ABC"]
    files = [file for number, name in enumerate(names, 1) for file in fleet(20, name, first=1000 * number)]
    wiki = Wiki({A320: names}, [*files, *fleet(30, "Boeing 737-800", 9000, "Boeing 737-8AS")])
    with serve(wiki) as base:
        result = crawled(base, tmp_path, A320, "Boeing 737-800", per_category=13)
        frame = catalog.read(tmp_path)
        assert Counter(frame["model"]) == {"A320-200": 13, "737-800": 13}
        assert sorted(Counter(frame[frame["model"] == "A320-200"]["airline"]).values()) == [3, 10]
        assert result.notes == {"2 categories have more photos. Raise --per-category to get them.": 1}
        assert crawled(base, tmp_path, A320, "Boeing 737-800", per_category=13).stored == 0
        assert crawled(base, tmp_path, A320, "Boeing 737-800", per_category=15, photos=28).stored == 2


def test_api_warnings_are_printed_without_control_characters(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wiki = Wiki({}, fleet(1, A320), warnings={"main": {"warnings": "Unrecognized parameter: [/foo].\x1b[2J"}})
    with serve(wiki) as base:
        options = ["--site", "commons", "--contact", CONTACT, "--category", A320]
        app(["scrape", "--url", base, "--out", str(tmp_path), *options], standalone_mode=False)
    assert "main: Unrecognized parameter: [/foo].[2J\n" in capsys.readouterr().out


def test_depth_limits_the_levels_of_subcategories(tmp_path: Path) -> None:
    wiki = Wiki(TREE, [*fleet(2, A320), *fleet(2, f"{A320} by airline", 10), *fleet(2, f"{A320} of Lufthansa", 20)])
    with serve(wiki) as base:
        for depth, count in ((0, 2), (1, 4), (2, 6)):
            crawled(base, tmp_path, A320, depth=depth)
            assert len(catalog.photo_ids(tmp_path)) == count


def test_missing_category_is_named(tmp_path: Path) -> None:
    with serve(Wiki({}, fleet(2, A320))) as base:
        with pytest.raises(ScrapeError, match=r"The category is empty or missing at http.*: Airbus a320"):
            crawled(base, tmp_path, "Airbus a320")
        result = crawled(base, tmp_path, A320, "Airbus a320")
    assert result.stored == 2
    assert list(result.notes) == ["The category Airbus a320 is empty or does not exist."]


@pytest.mark.slow
def test_default_categories_are_crawled(tmp_path: Path) -> None:
    with serve(wiki := Wiki({}, fleet(2, A320))) as base:
        assert crawled(base, tmp_path).stored == 2
    assert {query["gcmtitle"].removeprefix("Category:") for query in wiki.queries} == set(commons.SITE.categories)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--site", "commons"], "is live.*--contact"),
        (["--site", "commons", "--contact", "a@b.test", "--pages", "3"], "--pages cannot apply"),
        (["--site", "commons", "--contact", "a@b.test", "--width", "800"], "no images 800 pixels wide.*960, 1280"),
        (["--site", "commons", "--contact", "a@b.test", "--category", " "], "--category is empty"),
        (["--site", "sample", "--category", "Airbus A320"], "has no categories"),
    ],
)
def test_unsuitable_options_are_rejected_before_any_request(tmp_path: Path, arguments: list[str], words: str) -> None:
    with serve(wiki := Wiki({}, [])) as base:
        result = CliRunner().invoke(app, ["scrape", "--url", base, "--out", str(tmp_path), *arguments])
    assert isinstance(result.exception, ScrapeError)
    assert re.search(words, str(result.exception))
    assert not wiki.queries


def start(base: str, out: Path) -> subprocess.Popen[bytes]:
    script = (
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
        [sys.executable, "-c", script, *options], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )


def wait_for_photos(out: Path, count: int, process: subprocess.Popen[bytes]) -> None:
    deadline, file = time.monotonic() + 300, out / "catalog.csv"
    while (
        (not file.exists() or file.read_bytes().count(b"\n") <= count)
        and process.poll() is None
        and time.monotonic() < deadline
    ):
        time.sleep(0.02)


def test_attribution_that_a_kill_left_incomplete_is_written_at_the_start(tmp_path: Path) -> None:
    catalog.append(tmp_path, {"photo_id": "commons-9", "photographer": "Tenzin", "licence": "CC0"}, b"an image")
    page = tmp_path / "ATTRIBUTION.md"
    attributed: list[bool] = []
    with serve(Wiki({}, fleet(1, A320))) as base:
        record = lambda result: attributed.append("Tenzin, CC0" in page.read_text(encoding="utf-8"))  # noqa: E731
        scrape("commons", tmp_path, url=base, contact=CONTACT, plan=CategoryPlan((A320,)), progress=record)
    assert attributed[0]


@pytest.mark.slow
def test_ctrl_c_and_kills_lose_no_photo_and_download_none_twice(tmp_path: Path) -> None:
    wiki = Wiki(TREE, [*fleet(30, A320), *fleet(30, f"{A320} of Lufthansa", 100)], batch=20, max_images=12)
    page = tmp_path / "ATTRIBUTION.md"
    with serve(wiki) as base:
        process = start(base, tmp_path)
        wait_for_photos(tmp_path, 8, process)
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=300) == 130
        assert 8 <= len(catalog.photo_ids(tmp_path)) < 60
        assert page.read_text(encoding="utf-8").count("\n- ") == len(catalog.photo_ids(tmp_path))

        wiki.max_images = 45
        process = start(base, tmp_path)
        wait_for_photos(tmp_path, 29, process)
        process.kill()
        process.wait()
        wiki.more.set()
        assert 29 <= len(catalog.photo_ids(tmp_path)) < 60
        crawled(base, tmp_path, A320)
    frame = catalog.read(tmp_path)
    catalog.check(tmp_path, frame, hashes=True)
    assert len(frame) == frame["photo_id"].nunique() == 60
    assert len(wiki.image_paths) <= 60 + 2  # the one in flight, each time
    files = {path.relative_to(tmp_path).as_posix() for path in (tmp_path / "images").rglob("*") if path.is_file()}
    assert files == set(frame["file"])
    assert page.read_text(encoding="utf-8").count("\n- ") == 60
