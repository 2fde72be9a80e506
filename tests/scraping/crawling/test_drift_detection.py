"""Noticing that a field has collapsed, and that natural gaps are none."""

import linecache
import random
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planespotter_scraping.crawling import drift_detection
from planespotter_scraping.crawling.drift_detection import DriftDetector, chance, collapsed, tally
from planespotter_scraping.sites import ONLY_IN_URL, Listing, Site, planespotters, sample

EXPECTED = {"photo_id": 1.0, "constructor": 0.98, "aircraft_type": 0.95, "airline": 0.8}
SITE = Site("test", "/", "", "", lambda html, url: Listing([], None), 1, expected=EXPECTED)


def page(cards: int = 48, *, markup: str = "", reason: str = "not on the card", **there: int) -> Listing:
    """A page of cards of which so many have a field that is named, and all have the others."""
    names = ["photo_id", "constructor", "aircraft_type", "airline", *there]
    photos = [{name: "x" if number < there.get(name, cards) else "" for name in names} for number in range(cards)]
    missing = {name: Counter({reason: cards - count}) for name, count in there.items() if count < cards}
    return Listing(photos, None, missing, cards=cards, markup=markup)


def fields(watching: DriftDetector, *pages: Listing) -> list[list[str]]:
    return [[collapse.field for collapse in watching.look(one)] for one in pages]


def test_a_page_without_a_single_constructor_is_an_alarm_at_once() -> None:
    assert fields(DriftDetector(SITE), page(), page(constructor=0)) == [[], ["constructor"]]
    assert fields(DriftDetector(SITE), page(16, constructor=0)) == [["constructor"]]


def test_a_page_without_a_single_type_is_an_alarm_at_once_and_a_few_gaps_are_none() -> None:
    usual = page(aircraft_type=46)
    assert fields(DriftDetector(SITE), usual, usual, page(aircraft_type=0)) == [[], [], ["aircraft_type"]]
    assert fields(DriftDetector(SITE), *[usual, page(aircraft_type=36)] * 6) == [[]] * 12


def test_a_page_of_freighters_without_an_airline_is_none_and_three_are_one() -> None:
    gaps = [page(airline=0)] * 3
    assert fields(DriftDetector(SITE), *gaps) == [[], [], ["airline"]]
    assert fields(DriftDetector(SITE), page(airline=38), page(airline=0), page(airline=38), page(airline=0)) == [[]] * 4


def test_where_the_address_says_what_the_card_does_not_one_page_is_enough() -> None:
    (collapse,) = DriftDetector(SITE).look(page(airline=0, reason=ONLY_IN_URL))
    assert (collapse.field, collapse.there, collapse.cards) == ("airline", 0, 48)
    assert "addresses" in collapse.known_from
    assert not DriftDetector(SITE).look(page(airline=30, reason=ONLY_IN_URL))


def test_what_the_address_makes_good_is_missed_once_the_cards_used_to_say_it() -> None:
    def silent() -> Listing:
        listing = page(constructor=0, reason="not on the card; taken from the URL")
        return Listing([{**photo, "constructor": "x"} for photo in listing.photos], None, listing.missing, cards=48)

    assert fields(DriftDetector(SITE), silent(), silent()) == [[], []]
    assert fields(DriftDetector(SITE), page(), silent()) == [[], ["constructor"]]


def test_a_field_that_the_profile_does_not_name_is_missed_after_it_was_there() -> None:
    full, empty = page(taken_on=48), page(taken_on=0)
    assert fields(DriftDetector(SITE), empty, empty, empty, empty) == [[]] * 4
    assert fields(DriftDetector(SITE), full, full, empty, empty)[-1] == ["taken_on"]


def test_another_markup_need_not_say_the_same() -> None:
    today = [page(markup="today", taken_on=48)] * 3
    old = [page(markup="old", taken_on=0)] * 4
    assert fields(DriftDetector(SITE), *today, *old) == [[]] * 7


def test_small_pages_are_judged_together() -> None:
    assert fields(DriftDetector(SITE), *[page(3, constructor=0)] * 6)[-1] == ["constructor"]
    assert fields(DriftDetector(SITE), page(3, constructor=0)) == [[]]


def test_earlier_runs_are_remembered(tmp_path: Path) -> None:
    first = DriftDetector(SITE)
    fields(first, *[page(taken_on=48)] * 12)
    drift_detection.save(tmp_path, "test", first.remembered())
    drift_detection.save(tmp_path, "another", {})
    second = DriftDetector(SITE, drift_detection.load(tmp_path, "test"))
    assert second.usual("").said["taken_on"] == second.usual("").cards == drift_detection.REMEMBERED
    assert fields(second, page(taken_on=0), page(taken_on=0))[-1] == ["taken_on"]


@pytest.mark.parametrize("text", ["", "{", "[]", '{"test": 1}', '{"test": {"": {"cards": "x"}}}', '{"test": {"": 1}}'])
def test_a_memory_that_is_damaged_is_none(tmp_path: Path, text: str) -> None:
    (tmp_path / drift_detection.FILE).write_text(text)
    assert drift_detection.load(tmp_path, "test") == {}
    drift_detection.save(tmp_path, "test", DriftDetector(SITE).remembered())
    assert drift_detection.load(tmp_path, "test") == {}


def test_a_memory_of_a_thousand_pages_forgets_the_first() -> None:
    watching = DriftDetector(SITE)
    fields(watching, *[page(48, taken_on=0)] * 30, *[page(48, taken_on=48)] * 60)
    usual = watching.usual("")
    assert usual.said["taken_on"] / usual.cards > 0.95


@given(st.integers(1, 300), st.floats(0, 1), st.sampled_from([1, 4, 12]), st.data())
def test_the_probability_is_one_and_grows_with_what_is_there(
    cards: int, share: float, series: int, data: st.DataObject
) -> None:
    there = data.draw(st.integers(0, cards))
    low, high = chance(max(0, there - 1), cards, share, series), chance(there, cards, share, series)
    assert 0 <= low <= high <= 1 + 1e-9
    assert chance(cards, cards, share, series) == pytest.approx(1)


@given(st.integers(0, 200), st.floats(0.3, 1))
def test_what_is_as_full_as_it_should_be_has_not_collapsed(cards: int, share: float) -> None:
    assert not collapsed(round(cards * share), cards, share)


@given(st.lists(st.integers(1, 60), min_size=1, max_size=12), st.integers(0, 60))
def test_counts_of_pages_add_up(sizes: list[int], there: int) -> None:
    total = sum((tally(page(size, airline=min(size, there))) for size in sizes), drift_detection.Tally())
    assert total.cards == total.photos == total.said["constructor"] == sum(sizes)
    assert total.filled["airline"] == total.said["airline"] == sum(min(size, there) for size in sizes)


def test_gaps_that_come_in_series_are_no_alarm() -> None:
    chances = random.Random(5)
    watching = DriftDetector(SITE)
    alarms = 0
    for _ in range(1500):
        series = [chances.random() < 0.8 for _ in range(4)]
        photos = [
            {"photo_id": "1", "constructor": "x", "aircraft_type": "x", "airline": "x" * series[card // 12]}
            for card in range(48)
        ]
        lacking = Counter({"not on the card": 12 * series.count(False)})
        alarms += bool(watching.look(Listing(photos, None, {"airline": lacking}, cards=48)))
    assert alarms == 0


@pytest.mark.parametrize("site", [planespotters.SITE, sample.SITE], ids=lambda site: site.name)
def test_each_probe_stands_at_the_line_that_it_names(site: Site) -> None:
    assert len({(probe.name, probe.fields) for probe in site.probes}) == len(site.probes)
    for probe in site.probes:
        line = linecache.getline(probe.file, probe.line)
        if probe.name.startswith("links to "):
            assert probe.name.removeprefix("links to ") in line or "makers.add" in line
        else:
            words = ("def ", "PHOTO = ", '["page_url"] =', '["image_url"] =', "in classes(node)")
            assert any(word in line for word in words), line
    told = site.parse("", "http://site.test/").matched
    assert {probe.name for probe in site.probes} == set(told)
    assert set(site.expected) <= {name for probe in site.probes for name in probe.fields}


def test_the_line_to_look_at_is_the_one_whose_links_are_gone() -> None:
    usual = drift_detection.Tally(48, matched=Counter({"links to /airline/": 40, "links to /photos/airline/": 0}))
    now = Listing([], None, cards=48, matched={"links to /airline/": 0, "links to /photos/airline/": 0})
    (probe,) = drift_detection.lines_to_look_at(planespotters.SITE, now, usual, "airline")
    assert '"/airline/": ' in linecache.getline(probe.file, probe.line)
