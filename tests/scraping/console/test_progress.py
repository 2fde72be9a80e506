"""Progress of a crawl, on a terminal and in a log."""

from collections import Counter

import pytest

from planespotter_scraping.console import progress
from planespotter_scraping.console.progress import crawl_bar, crawl_status, format_duration
from planespotter_scraping.crawling.result import CrawlResult


def half_way() -> CrawlResult:
    filled = Counter({"photo_id": 288, "constructor": 288, "airline": 245, "registration": 288, "review": 3})
    return CrawlResult(pages=6, stored=280, known=8, page_number=7, last_page=125, photos_read=288, field_counts=filled)


def test_page_photos_fields_and_remaining_time_fit_on_a_line() -> None:
    text = crawl_status(half_way(), None, 60)
    assert text == "page 7 of 125 (20 min left), 280 photos (280 per minute), fields 95% full (airline 85%)"
    assert len(text.rpartition(" (")[0]) < 77  # 80 columns may truncate the emptiest field only


def test_the_page_limit_is_the_last_page() -> None:
    assert "page 7 of 10 (30 s left)," in crawl_status(half_way(), 10, 60)
    assert crawl_status(half_way(), 7, 60).startswith("page 7 of 7 (last),")


def test_without_a_known_last_page_there_is_no_remaining_time() -> None:
    outcome = half_way()
    outcome.last_page = None
    assert "left" not in crawl_status(outcome, None, 60)
    assert crawl_status(CrawlResult(), None, 0) == "0 photos"


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0 s"), (89, "89 s"), (100, "2 min"), (5460, "1 h 31 min"), (7260, "2 h 01 min")]
)
def test_durations_are_formatted(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text


def test_a_log_gets_a_line_per_interval_and_one_per_wait(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = iter([0.0, 1.0, 31.0, 40.0, 41.0, 42.0, 75.0])
    monkeypatch.setattr(progress, "monotonic", lambda: next(clock))
    outcome = half_way()
    with crawl_bar(None) as update:
        update(outcome)
        update(outcome)
        outcome.wait_notice = "the site asks to wait 30 s"
        update(outcome)
        update(outcome)
        outcome.wait_notice = ""
        update(outcome)
        update(outcome)
    lines = capsys.readouterr().err.splitlines()
    assert [line.partition(" (")[0] for line in lines] == [
        "page 7 of 125",
        "the site asks to wait 30 s",
        "page 7 of 125",
    ]
