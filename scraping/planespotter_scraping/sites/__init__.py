"""The photo sites that can be scraped: one module each, which describes the site and reads its pages."""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Listing:
    """What one page of a site's list of photos says.

    Each of `photos` has columns of the catalog, "" for what the page does not say; `image_url` and `page_url` are
    whole addresses, and `photo_id` is the site's own. `next_url` is the following page, None on the last one.
    `missing` says for each field how many cards lack it, by the reason.
    """

    photos: list[dict[str, str]]
    next_url: str | None
    missing: Mapping[str, Counter[str]] = field(default_factory=dict)


@dataclass(frozen=True)
class Site:
    """How to walk through a site in a browser.

    `first_page` is the path of the first list. `ready` and `consent` are CSS selectors: of what is there once a
    page is complete, and of the button that takes away a consent banner ("" if there is none). If `ready` finds the
    cards themselves, the page is complete when there have been no more of them for `settle_seconds`. `parse` turns
    the HTML of a complete page and its address into a Listing. At most `pages_per_minute` are opened.

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
