"""Completeness: notice that a crawl misses photos of a list, or reads the same ones without end."""

import statistics
from collections.abc import Collection

from planespotter_scraping.crawling import continuation
from planespotter_scraping.sites import Listing, Site

MIN_USUAL_CARDS = 8  # pages with fewer cards are not compared


class ListWalk:
    """What one run has seen of a list."""

    def __init__(self) -> None:
        self._ids: dict[str, set[str]] = {}  # by the role of the pages
        self._card_counts: list[int] = []

    def is_repetition(self, role: str, ids: Collection[str]) -> bool:
        """Record the photos of a page, and return whether earlier pages of the same role showed all of them."""
        seen = self._ids.setdefault(role, set())
        repeats = bool(ids) and seen.issuperset(ids)
        seen.update(ids)
        return repeats

    def missed(self, html: str, url: str, listing: Listing, site: Site, ids: Collection[str] = ()) -> str:
        """Return why photos of a page may be missing, as a sentence; "" if nothing suggests it.

        Args:
            html: The page.
            url: Its URL.
            listing: What the parser found on it.
            site: The site.
            ids: Ids of photos that the page showed before.
        """
        count, around = continuation.missed_photos(html, url, listing, site, ids)
        if count:
            return (
                f"{url} shows {count} photos outside of the {listing.cards} cards that the parser of {site.name} "
                f"finds, in <{around}>: these were not read."
            )
        if listing.next_url is None:
            return ""  # the last page has fewer cards
        earlier, cards = self._card_counts, listing.cards
        usual = statistics.median(earlier) if earlier else 0
        if usual >= MIN_USUAL_CARDS and cards < usual / 2:
            return f"{url} shows {cards} cards, although earlier pages had {usual:.0f}."
        earlier.append(cards)
        return ""
