"""Supported sites: one module each, which describes how to crawl the site and parses its pages or API responses."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from planespotter_scraping.sites.probes import Probe

# Reasons why a field is missing. The second one suggests that the parser no longer understands the card.
NOT_ON_CARD = "not on the card"
ONLY_IN_URL = "not on the card, though in its URL"


@dataclass(frozen=True)
class Listing:
    """The content of one page of a site's photo list.

    Attributes:
        photos: One dictionary per photo with columns of the catalog, "" for missing values. `image_url` and `page_url`
            are absolute; `photo_id` is the site's id.
        next_url: URL of the next page, None on the last one.
        missing: Number of cards without a field, by field and reason. ONLY_IN_URL counts cards whose URL has the value
            in a spelling that does not serve as a label.
        cards: Number of cards, including those without an id. This and the rest serve drift detection.
        markup: Markup generation of the page, for sites with several.
        probe_matches: Matches of each of the site's probes, by name.
        unread_links: Links in cards that the parser ignores, by kind.
        last_page: Number of the last page, None if the page does not show it.
    """

    photos: list[dict[str, str]]
    next_url: str | None
    missing: Mapping[str, Counter[str]] = field(default_factory=dict)
    cards: int = 0
    markup: str = ""
    probe_matches: Mapping[str, int] = field(default_factory=dict)
    unread_links: Mapping[str, int] = field(default_factory=dict)
    last_page: int | None = None


@dataclass(frozen=True)
class Site:
    """A site that is crawled in a browser.

    Attributes:
        name: Name for `--site` and for photo ids.
        first_path: Path of the first list page.
        ready_selector: CSS selector of an element that exists once the page is complete.
        consent_selector: CSS selector of the button that closes a consent banner, "" if there is none.
        parse: Parser of a complete page, from its HTML and URL.
        pages_per_minute: Rate limit.
        settle_seconds: If `ready_selector` matches cards, how long their number must be stable; 0 otherwise.
        url: URL of a live site. Live sites require a contact.
        needs_permission: Why the site may be scraped only with permission, "" if anyone may.
        pagination: How the list continues: with linked pages, by scrolling, or either (then the first page shows it).
        card_selector: CSS selector of the cards, to find those that scrolling has loaded.
        more_selector: CSS selector of the button that loads more cards; "" to find it by its text.
        expected_fill_rates: Expected share of cards with a field, from 0 to 1.
        probes: What the parser looks for, and at which line.
    """

    name: str
    first_path: str
    ready_selector: str
    consent_selector: str
    parse: Callable[[str, str], Listing]
    pages_per_minute: float
    settle_seconds: float = 0
    url: str = ""
    needs_permission: str = ""
    pagination: Literal["links", "scrolling", "both"] = "links"
    card_selector: str = ""
    more_selector: str = ""
    expected_fill_rates: Mapping[str, float] = field(default_factory=dict)
    probes: tuple[Probe, ...] = ()


@dataclass(frozen=True)
class ApiResponse:
    """The status of an API response, regardless of its content.

    Attributes:
        error: What went wrong, as a sentence; "" if nothing did.
        busy: Whether the error is temporary.
        retry_seconds: When to retry if so.
        warnings: Warnings of the API.
        continuation: Parameters to add to the same query for the next response; None after the last one.
        batch_complete: Whether the batch is complete. Otherwise, later responses add to the same pages.
    """

    error: str = ""
    busy: bool = False
    retry_seconds: float = 0
    warnings: tuple[str, ...] = ()
    continuation: Mapping[str, str] | None = None
    batch_complete: bool = True


@dataclass(frozen=True)
class CategoryMembers:
    """The members of a category in one batch of API responses.

    Attributes:
        photos: As in a Listing.
        categories: Names of the subcategories.
        missing: As in a Listing.
        excluded: Files that do not qualify as photos, by reason.
        skipped_categories: Subcategories that are not searched, by what they show.
    """

    photos: list[dict[str, str]]
    categories: list[str]
    missing: Mapping[str, Counter[str]] = field(default_factory=dict)
    excluded: Counter[str] = field(default_factory=Counter)
    skipped_categories: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True)
class ApiSite:
    """A site whose API lists photos by category.

    Attributes:
        name: Name for `--site` and for photo ids.
        url: URL of the site.
        api_path: Path of the API.
        build_query: Query for a category, from its name, the image width in pixels and the previous continuation.
        read_response: Status of a response, from its JSON.
        parse: Members of a category, from all responses of a batch, the site's URL and the category path.
        widths: Image widths in pixels that the site offers.
        requests_per_minute: Rate limit, images included.
        categories: Default categories.
        needs_permission: As for a Site.
    """

    name: str
    url: str
    api_path: str
    build_query: Callable[[str, int, Mapping[str, str]], dict[str, str]]
    read_response: Callable[[object], ApiResponse]
    parse: Callable[[Sequence[object], str, Sequence[str]], CategoryMembers]
    widths: tuple[int, ...]
    requests_per_minute: float
    categories: tuple[str, ...]
    needs_permission: str = ""
