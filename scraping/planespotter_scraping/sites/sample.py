"""The sample site: how to walk through it, and how to read its cards."""

from planespotter_scraping.sites import Listing, Site, markup
from planespotter_scraping.sites.markup import Node

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
    root = markup.parse(html)
    photos = [_read(card, url) for card in root.nodes() if card.get("data-photo-url") and card.get("id").isdecimal()]
    following = (node.get("href") for node in root.nodes() if node.tag == "a" and node.get("rel") == "next")
    return Listing(photos, next((markup.join(url, address) for address in following), None))


def _read(card: Node, url: str) -> dict[str, str]:
    """Return what one card says, "" for what it does not."""
    photo = dict.fromkeys(FIELDS, "")
    photo["photo_id"] = card.get("id")
    photo["page_url"] = markup.join(url, card.get("data-photo-url"))
    for node in card.nodes():
        if node.tag == "img":
            photo["image_url"] = markup.join(url, markup.image_address(node))
        elif node.tag == "a":
            path = markup.split(node.get("href")).path
            field = next((name for start, name in LINKS.items() if path.startswith(start)), None)
            if field is not None:
                photo[field] = node.text()
        elif "credit" in node.classes:
            photo["photographer"] = node.text().replace("©", "").strip()
    return photo


SITE = Site(
    name="sample",
    first_page="/photos/latest",
    ready="main[aria-busy=false]",
    consent="[data-consent=accept]",
    parse=parse,
    pages_per_minute=float("inf"),
)
