"""What is said while a crawl runs."""

from collections import Counter

import pytest

from planespotter_scraping.console import progress
from planespotter_scraping.console.progress import crawl_bar, how_it_goes, spoken
from planespotter_scraping.crawling.result import CrawlResult


def half_way() -> CrawlResult:
    filled = Counter({"photo_id": 288, "constructor": 288, "airline": 245, "registration": 288, "review": 3})
    return CrawlResult(pages=6, stored=280, known=8, page_number=7, last_page=125, photos_read=288, field_counts=filled)


def test_pages_photos_fields_and_the_time_left_fit_on_a_line() -> None:
    text = how_it_goes(half_way(), None, 60)
    assert text == "page 7 of 125 (20 min left), 280 photos (280 a minute), fields 95% full (airline 85%)"
    assert len(text.rpartition(" (")[0]) < 77  # what 80 columns may cut off is the field that is the least full


def test_the_pages_that_were_asked_for_are_the_end() -> None:
    assert "page 7 of 10 (30 s left)," in how_it_goes(half_way(), 10, 60)
    assert how_it_goes(half_way(), 7, 60).startswith("page 7 of 7 (last),")


def test_where_nobody_knows_the_number_of_pages_no_end_is_promised() -> None:
    outcome = half_way()
    outcome.last_page = None
    assert "left" not in how_it_goes(outcome, None, 60)
    assert how_it_goes(CrawlResult(), None, 0) == "0 photos"


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0 s"), (89, "89 s"), (100, "2 min"), (5460, "1 h 31 min"), (7260, "2 h 01 min")]
)
def test_times_are_said_as_people_say_them(seconds: float, text: str) -> None:
    assert spoken(seconds) == text


def test_a_log_gets_a_line_now_and_then_and_one_for_each_wait(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = iter([0.0, 1.0, 31.0, 40.0, 41.0, 42.0, 75.0])
    monkeypatch.setattr(progress, "monotonic", lambda: next(clock))
    outcome = half_way()
    with crawl_bar(None) as move:
        move(outcome)
        move(outcome)
        outcome.wait_notice = "the site asks to wait 30 s"
        move(outcome)
        move(outcome)
        outcome.wait_notice = ""
        move(outcome)
        move(outcome)
    lines = capsys.readouterr().err.splitlines()
    assert [line.partition(" (")[0] for line in lines] == [
        "page 7 of 125",
        "the site asks to wait 30 s",
        "page 7 of 125",
    ]
