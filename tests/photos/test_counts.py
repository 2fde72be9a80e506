"""Counts in messages are in the singular or the plural, in every package."""

import re
from pathlib import Path

import pytest

from planespotter_photos.counts import count_noun

REPOSITORY = Path(__file__).resolve().parents[2]
PACKAGES = ("photos", "scraping", "training", "models", "server", "bulk", "client")
NOUNS = "photos|images|pictures|types|cards|airframes|airlines|categories|columns|sources|models|results|streams|steps"
# A count in an f-string that is followed by a noun in the plural. "photos/s" is a unit.
COUNT = re.compile(rf"\{{([^{{}}]+)\}} (?:[a-z-]+ )?(?:{NOUNS})\b(?!/)")
NO_COUNTS = {
    "min_photos": "a limit above 1 in every sensible use",
    "rate": "a rate per second, with decimals",
    "count": "at least 2 where a word follows directly: one photo shares no file, and is above no cap",
    "where": "text",
    "now": "text such as '3 of 8'",
}


@pytest.mark.parametrize("package", PACKAGES)
def test_no_message_counts_one_thing_in_the_plural(package: str) -> None:
    files = list((REPOSITORY / package).rglob("*.py"))
    assert files
    plurals = [
        f"{file.relative_to(REPOSITORY)}: {match[0]}"
        for file in files
        for line in file.read_text(encoding="utf-8").splitlines()
        if 'f"' in line
        for match in COUNT.finditer(line)
        if re.match(r"len\(|[a-z_.\[\]']+(:,)?$", match[1]) and match[1].removesuffix(":,") not in NO_COUNTS
    ]
    assert not plurals, plurals


def test_one_thing_is_in_the_singular() -> None:
    assert count_noun(1, "photo") == "1 photo"
    assert count_noun(0, "photo") == "0 photos"
    assert count_noun(12_345, "category", "categories") == "12,345 categories"
    assert count_noun(1, "photo is", "photos are") == "1 photo is"
