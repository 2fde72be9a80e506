"""The sample site: how to walk through it, and how to read its cards."""

from html.parser import HTMLParser
from urllib.parse import urljoin, urlsplit

from planespotter_scraping.sites import Listing, Site

# What a link says about the photo, by the beginning of its path. A card may lack any of them, so that its third
# link is now the airline and now the maker: only the address tells.
LINKS = {
    "/airline/": "airline",
    "/photos/manufacturer/": "constructor",
    "/photos/aircraft/": "aircraft_type",
    "/photos/reg/": "registration",
    "/photos/date/": "taken_on",
}
FIELDS = ("photo_id", "page_url", "image_url", "photographer", *LINKS.values())


def parse(html: str, url: str) -> Listing:
    """Return the photos of the list page `html`, which was found at `url`. Cards without an id are left out."""
    reader = _Reader(url)
    reader.feed(html)
    reader.close()
    photos = [{name: " ".join(card[name].split()) for name in FIELDS} for card in reader.cards]
    return Listing([photo for photo in photos if photo["photo_id"].isdecimal()], reader.next_url)


class _Reader(HTMLParser):
    """Collects the cards: the elements that carry the address of a photo, with what is inside them."""

    def __init__(self, url: str) -> None:
        super().__init__()
        self.url = url
        self.cards: list[dict[str, str]] = []
        self.next_url: str | None = None
        self.card_tag, self.depth = "", 0  # how many elements of the card's tag are open, itself included
        self.field: str | None = None  # what the text that comes now belongs to
        self.field_tag = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        if self.depth == 0 and "data-photo-url" in values:
            self.card_tag = tag
            card = dict.fromkeys(FIELDS, "")
            card["photo_id"] = values.get("id", "")
            card["page_url"] = urljoin(self.url, values["data-photo-url"])
            self.cards.append(card)
        if tag == self.card_tag:
            self.depth += 1
        if self.depth == 0:
            if tag == "a" and values.get("rel") == "next":
                self.next_url = urljoin(self.url, values.get("href", ""))
        elif tag == "img":
            # A lazy image has its address in data-src until the card is near the window.
            self.cards[-1]["image_url"] = urljoin(self.url, values.get("data-src") or values.get("src", ""))
        elif tag == "a":
            path = urlsplit(values.get("href", "")).path
            self._read_text(next((name for start, name in LINKS.items() if path.startswith(start)), None), tag)
        elif "credit" in values.get("class", "").split():
            self._read_text("photographer", tag)

    def _read_text(self, field: str | None, tag: str) -> None:
        self.field, self.field_tag = field, tag

    def handle_endtag(self, tag: str) -> None:
        if self.depth and tag == self.card_tag:
            self.depth -= 1
            if self.depth == 0:
                self.card_tag = ""
        if tag == self.field_tag:
            self.field = None

    def handle_data(self, data: str) -> None:
        if self.field is not None and self.depth:
            self.cards[-1][self.field] += data.replace("©", " ")


SITE = Site(
    name="sample",
    first_page="/photos/latest",
    ready="main[aria-busy=false]",
    consent="[data-consent=accept]",
    parse=parse,
    pages_per_minute=float("inf"),
)
