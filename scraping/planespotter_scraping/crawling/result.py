"""What a crawl did, and the errors that end one. Imports nothing heavy, so that any module may use it."""

from collections import Counter
from dataclasses import dataclass, field


class ScrapeError(Exception):
    """A crawl that cannot start or did not reach its end. The text says why, and what to do."""


class CrawlAbortedError(ScrapeError):
    """A reason to ask the site for nothing more. What was stored is safe, and the queue of pages is kept."""


@dataclass
class CrawlResult:
    """What a crawl did: counts of photos, and what went wrong with pages by their address."""

    pages: int = 0
    stored: int = 0
    known: int = 0  # in the catalog already
    other_constructors: Counter[str] = field(default_factory=Counter)
    missing: dict[str, Counter[str]] = field(default_factory=dict)  # how many cards lack a field, by the reason
    bad_images: dict[str, str] = field(default_factory=dict)  # by photo id: what was wrong
    bad_pages: dict[str, str] = field(default_factory=dict)
    excluded: Counter[str] = field(default_factory=Counter)  # files that are no photos to keep, by the reason
    skipped_categories: Counter[str] = field(default_factory=Counter)  # by what they show
    category: str = ""  # that is read just now
    max_photos: int = 0  # photos to have at the most, with the known ones; 0 if there is no limit
    notes: Counter[str] = field(default_factory=Counter)  # sentences for the user
    wait_notice: str = ""  # why nothing happens just now
    page_number: int = 0  # which page of the list, or batch, is being read; pages of earlier runs count
    last_page: int | None = None  # the number of the last one, if the site tells
    photos_read: int = 0  # photos on the pages of this run, whether stored or not
    field_counts: Counter[str] = field(default_factory=Counter)  # by field, of how many of them it is known
