"""Crawl result: the counts that a crawl reports, and the errors that end one. Imports nothing heavy."""

from collections import Counter
from dataclasses import dataclass, field


class ScrapeError(Exception):
    """A crawl that cannot start or did not finish. The text is for users."""


class CrawlAbortedError(ScrapeError):
    """A reason to send the site no further request. Stored photos and the request queue stay."""


class WaitTooLongError(CrawlAbortedError):
    """The site asks for a longer pause than the crawl waits."""


@dataclass
class CrawlResult:
    """What a crawl did so far, for progress and for the summary.

    Attributes:
        pages: List pages, batches or API responses read in this run.
        stored: Photos added to the catalog.
        known: Photos that the catalog already had.
        other_constructors: Photos of constructors that were not requested, by constructor.
        missing: Number of cards without a field, by field and reason.
        bad_images: Why an image was not stored, by photo id.
        bad_pages: Why a page could not be read, by URL.
        excluded: Files that do not qualify as photos, by reason.
        skipped_categories: Categories that were not searched, by what they show.
        category: The category being read.
        max_photos: Upper limit of photos including known ones; 0 if there is none.
        notes: Sentences for the user.
        wait_notice: Why the crawl is waiting, "" if it is not.
        page_number: Page of the list, or batch, being read, counting those of interrupted runs.
        last_page: Number of the last page, None if the site does not show it.
        photos_read: Photos on the pages of this run, stored or not.
        field_counts: How many of these photos have a field.
        incomplete: Why photos of the list may be missing, as sentences; empty after a crawl that read all of it.
    """

    pages: int = 0
    stored: int = 0
    known: int = 0
    other_constructors: Counter[str] = field(default_factory=Counter)
    missing: dict[str, Counter[str]] = field(default_factory=dict)
    bad_images: dict[str, str] = field(default_factory=dict)
    bad_pages: dict[str, str] = field(default_factory=dict)
    excluded: Counter[str] = field(default_factory=Counter)
    skipped_categories: Counter[str] = field(default_factory=Counter)
    category: str = ""
    max_photos: int = 0
    notes: Counter[str] = field(default_factory=Counter)
    wait_notice: str = ""
    page_number: int = 0
    last_page: int | None = None
    photos_read: int = 0
    field_counts: Counter[str] = field(default_factory=Counter)
    incomplete: list[str] = field(default_factory=list)
