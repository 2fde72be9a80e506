"""Drift detection: a field whose fill rate drops is detected, natural gaps are not."""

import linecache
import random
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planespotter_scraping.crawling import drift_detection
from planespotter_scraping.crawling.drift_detection import (
    DriftDetector,
    FieldCounts,
    count_fields,
    has_drifted,
    load_history,
    p_value,
    save_history,
    suspect_probes,
)
from planespotter_scraping.sites import NOT_ON_CARD, ONLY_IN_URL, Listing, Site, planespotters, sample

EXPECTED = {"photo_id": 1.0, "constructor": 0.98, "aircraft_type": 0.95, "airline": 0.8}
SITE = Site("test", "/", "", "", lambda html, url: Listing([], None), 1, expected_fill_rates=EXPECTED)


def page(cards: int = 48, *, markup: str = "", reason: str = NOT_ON_CARD, **present: int) -> Listing:
    """A page whose cards have all fields, except that only `present[field]` of them have those fields."""
    names = ["photo_id", "constructor", "aircraft_type", "airline", *present]
    photos = [{name: "x" if number < present.get(name, cards) else "" for name in names} for number in range(cards)]
    missing = {name: Counter({reason: cards - count}) for name, count in present.items() if count < cards}
    return Listing(photos, None, missing, cards=cards, markup=markup)


def drifted_fields(detector: DriftDetector, *pages: Listing) -> list[list[str]]:
    return [[drift.field for drift in detector.check(listing)] for listing in pages]


def test_page_without_any_constructor_raises_an_alarm_at_once() -> None:
    assert drifted_fields(DriftDetector(SITE), page(), page(constructor=0)) == [[], ["constructor"]]
    assert drifted_fields(DriftDetector(SITE), page(16, constructor=0)) == [["constructor"]]


def test_page_without_any_type_raises_an_alarm_and_a_few_gaps_do_not() -> None:
    typical = page(aircraft_type=46)
    assert drifted_fields(DriftDetector(SITE), typical, typical, page(aircraft_type=0)) == [[], [], ["aircraft_type"]]
    assert drifted_fields(DriftDetector(SITE), *[typical, page(aircraft_type=36)] * 6) == [[]] * 12


def test_one_page_of_freighters_without_airlines_raises_no_alarm_but_three_do() -> None:
    gaps = [page(airline=0)] * 3
    assert drifted_fields(DriftDetector(SITE), *gaps) == [[], [], ["airline"]]
    assert (
        drifted_fields(DriftDetector(SITE), page(airline=38), page(airline=0), page(airline=38), page(airline=0))
        == [[]] * 4
    )


def test_one_page_is_enough_if_the_urls_have_what_the_cards_lack() -> None:
    (drift,) = DriftDetector(SITE).check(page(airline=0, reason=ONLY_IN_URL))
    assert (drift.field, drift.present, drift.cards) == ("airline", 0, 48)
    assert drift.reference == "url"
    assert not DriftDetector(SITE).check(page(airline=30, reason=ONLY_IN_URL))


def test_label_that_only_the_url_still_has_is_missed_if_earlier_cards_had_it() -> None:
    def from_url() -> Listing:
        listing = page(constructor=0, reason=f"{NOT_ON_CARD}; taken from the URL")
        return Listing([{**photo, "constructor": "x"} for photo in listing.photos], None, listing.missing, cards=48)

    assert drifted_fields(DriftDetector(SITE), from_url(), from_url()) == [[], []]
    assert drifted_fields(DriftDetector(SITE), page(), from_url()) == [[], ["constructor"]]


def test_field_outside_the_profile_is_missed_after_it_was_present() -> None:
    full, empty = page(taken_on=48), page(taken_on=0)
    assert drifted_fields(DriftDetector(SITE), empty, empty, empty, empty) == [[]] * 4
    assert drifted_fields(DriftDetector(SITE), full, full, empty, empty)[-1] == ["taken_on"]


def test_markup_generations_have_separate_histories() -> None:
    today = [page(markup="today", taken_on=48)] * 3
    old = [page(markup="old", taken_on=0)] * 4
    assert drifted_fields(DriftDetector(SITE), *today, *old) == [[]] * 7


def test_small_pages_are_tested_together() -> None:
    assert drifted_fields(DriftDetector(SITE), *[page(3, constructor=0)] * 6)[-1] == ["constructor"]
    assert drifted_fields(DriftDetector(SITE), page(3, constructor=0)) == [[]]


def test_history_of_earlier_runs_is_a_reference(tmp_path: Path) -> None:
    first = DriftDetector(SITE)
    drifted_fields(first, *[page(taken_on=48)] * 12)
    save_history(tmp_path, "test", first.history())
    save_history(tmp_path, "another", {})
    second = DriftDetector(SITE, load_history(tmp_path, "test"))
    assert second.reference("").on_card["taken_on"] == second.reference("").cards == drift_detection.MAX_HISTORY_CARDS
    assert drifted_fields(second, page(taken_on=0), page(taken_on=0))[-1] == ["taken_on"]


@pytest.mark.parametrize("text", ["", "{", "[]", '{"test": 1}', '{"test": {"": {"cards": "x"}}}', '{"test": {"": 1}}'])
def test_damaged_history_is_ignored(tmp_path: Path, text: str) -> None:
    (tmp_path / drift_detection.HISTORY_FILE).write_text(text)
    assert load_history(tmp_path, "test") == {}
    save_history(tmp_path, "test", DriftDetector(SITE).history())
    assert load_history(tmp_path, "test") == {}


def test_old_pages_fade_from_the_history() -> None:
    detector = DriftDetector(SITE)
    drifted_fields(detector, *[page(48, taken_on=0)] * 30, *[page(48, taken_on=48)] * 60)
    reference = detector.reference("")
    assert reference.on_card["taken_on"] / reference.cards > 0.95


@given(st.integers(1, 300), st.floats(0, 1), st.sampled_from([1, 4, 12]), st.data())
def test_p_value_grows_with_the_present_cards_up_to_one(
    cards: int, share: float, run_length: int, data: st.DataObject
) -> None:
    present = data.draw(st.integers(0, cards))
    low = p_value(max(0, present - 1), cards, share, run_length)
    high = p_value(present, cards, share, run_length)
    assert 0 <= low <= high <= 1 + 1e-9
    assert p_value(cards, cards, share, run_length) == pytest.approx(1)


@given(st.integers(0, 200), st.floats(0.3, 1))
def test_field_at_its_expected_share_has_not_drifted(cards: int, share: float) -> None:
    assert not has_drifted(round(cards * share), cards, share)


@given(st.lists(st.integers(1, 60), min_size=1, max_size=12), st.integers(0, 60))
def test_counts_of_pages_add_up(sizes: list[int], present: int) -> None:
    total = sum((count_fields(page(size, airline=min(size, present))) for size in sizes), FieldCounts())
    assert total.cards == total.photos == total.on_card["constructor"] == sum(sizes)
    assert total.known["airline"] == total.on_card["airline"] == sum(min(size, present) for size in sizes)


def test_gaps_in_runs_raise_no_alarm() -> None:
    rng = random.Random(5)
    detector = DriftDetector(SITE)
    alarms = 0
    for _ in range(1500):
        runs = [rng.random() < 0.8 for _ in range(4)]
        photos = [
            {"photo_id": "1", "constructor": "x", "aircraft_type": "x", "airline": "x" * runs[card // 12]}
            for card in range(48)
        ]
        missing = {"airline": Counter({NOT_ON_CARD: 12 * runs.count(False)})}
        alarms += bool(detector.check(Listing(photos, None, missing, cards=48)))
    assert alarms == 0


@pytest.mark.parametrize("site", [planespotters.SITE, sample.SITE], ids=lambda site: site.name)
def test_each_probe_names_its_line(site: Site) -> None:
    assert len({(probe.name, probe.fields) for probe in site.probes}) == len(site.probes)
    for probe in site.probes:
        line = linecache.getline(probe.file, probe.line)
        if probe.name.startswith("links to "):
            assert probe.name.removeprefix("links to ") in line or "constructors.add" in line
        else:
            words = ("def ", "PHOTO = ", '["page_url"] =', '["image_url"] =', "in classes(node)")
            assert any(word in line for word in words), line
    matches = site.parse("", "http://site.test/").probe_matches
    assert {probe.name for probe in site.probes} == set(matches)
    assert set(site.expected_fill_rates) <= {name for probe in site.probes for name in probe.fields}


def test_suspect_probe_is_the_one_whose_links_disappeared() -> None:
    reference = FieldCounts(48, probe_matches=Counter({"links to /airline/": 40, "links to /photos/airline/": 0}))
    now = Listing([], None, cards=48, probe_matches={"links to /airline/": 0, "links to /photos/airline/": 0})
    (probe,) = suspect_probes(planespotters.SITE, now, reference, "airline")
    assert '"/airline/": ' in linecache.getline(probe.file, probe.line)
