"""The photo sites that can be scraped: one module each, which describes the site and reads its pages."""

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
    """What one page of a site's list of photos says.

    Each of `photos` has columns of the catalog, "" for what the page does not say; `image_url` and `page_url` are
    whole addresses, and `photo_id` is the site's own. `next_url` is the following page, None on the last one.
    `missing` says for each field how many cards lack it, by the reason: those that the card lacks and its address has
    are among them, as ONLY_IN_URL if that could not be made good.

    The rest is for noticing a redesign. `cards` is how many cards there are, those without an id too; `markup` which
    kind of page it is, where a site has several. `matched` counts what each of the site's probes has found, `unread`
    the links in cards that nothing reads, by their kind. `last_page` is the number of the last page, if it is told.
    """

    photos: list[dict[str, str]]
    next_url: str | None
    missing: Mapping[str, Counter[str]] = field(default_factory=dict)
    cards: int = 0
    markup: str = ""
    matched: Mapping[str, int] = field(default_factory=dict)
    unread: Mapping[str, int] = field(default_factory=dict)
    last_page: int | None = None


@dataclass(frozen=True)
class Site:
    """How to walk through a site in a browser.

    `first_page` is the path of the first list. `ready` and `consent` are CSS selectors: of what is there once a
    page is complete, and of the button that takes away a consent banner ("" if there is none). If `ready` finds the
    cards themselves, the page is complete when there have been no more of them for `settle_seconds`. `parse` turns
    the HTML of a complete page and its address into a Listing. At most `pages_per_minute` are opened.

    A list `continues` on pages that are linked, or on the same page as one scrolls, or either: then the first page
    shows which. `cards` is the CSS selector of the cards, with which those that scrolling has brought are found.

    `expected` says on which share of the cards a field is known, from 0 to 1. `probes` are what the reader looks for.

    A live site has an `address`, and is visited only by someone who says how to be reached. `needs_permission` is why
    it may not be scraped unless someone has allowed it, "" if anyone may.
    """

    name: str
    first_page: str
    ready: str
    consent: str
    parse: Callable[[str, str], Listing]
    pages_per_minute: float
    settle_seconds: float = 0
    address: str = ""
    needs_permission: str = ""
    continues: Literal["links", "scrolling", "both"] = "links"
    cards: str = ""
    expected: Mapping[str, float] = field(default_factory=dict)
    probes: tuple[Probe, ...] = ()


@dataclass(frozen=True)
class Answer:
    """How one answer of an API is to be taken, whatever it is about.

    `error` is a sentence that says what went wrong, "" if nothing did; it passes if `busy`, after about `seconds`.
    `notes` are what else the API has to say. `following` is what to add to the same question to get what follows,
    None at the end. Until an answer is `complete`, those that follow it add to what it says.
    """

    error: str = ""
    busy: bool = False
    seconds: float = 0
    notes: tuple[str, ...] = ()
    following: Mapping[str, str] | None = None
    complete: bool = True


@dataclass(frozen=True)
class Members:
    """What an API says is in a category: `photos` and what they are `missing`, as in a Listing, and `categories`.

    `excluded` counts the files that are no photos to keep, and `skipped` the categories not to look into, by the
    reason.
    """

    photos: list[dict[str, str]]
    categories: list[str]
    missing: Mapping[str, Counter[str]] = field(default_factory=dict)
    excluded: Counter[str] = field(default_factory=Counter)
    skipped: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True)
class ApiSite:
    """How to walk through a site whose API lists photos by category.

    `path` is that of the API. `query` makes the question about a category, from its name, the width of the images
    (one of `widths`, in pixels) and what the answer before says is `following`. `read` takes the JSON of an
    answer, and `parse` that of all answers which make a complete one, with the site's address and the categories
    that led there. `categories` are looked into if none are named. At most `requests_per_minute` are made, images
    included. The others are those of a Site.
    """

    name: str
    address: str
    path: str
    query: Callable[[str, int, Mapping[str, str]], dict[str, str]]
    read: Callable[[object], Answer]
    parse: Callable[[Sequence[object], str, Sequence[str]], Members]
    widths: tuple[int, ...]
    requests_per_minute: float
    categories: tuple[str, ...]
    needs_permission: str = ""
