"""The sample site: how to walk through it, and how to read its cards."""

from collections import Counter, defaultdict
from urllib.parse import parse_qs

from selectolax.lexbor import LexborNode

from planespotter_scraping.sites import NOT_ON_CARD, ONLY_IN_URL, Listing, Site, html_tree
from planespotter_scraping.sites.html_tree import absolute_url, attribute, classes, elements, split_url, text
from planespotter_scraping.sites.probes import link_kinds, probe_of_function, probe_of_line
from planespotter_scraping.sites.slugs import CONSTRUCTORS, read_slug

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
    root = html_tree.parse(html)
    cards = _cards(root)
    photos = [_read(card, url) for card in cards]
    missing: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for photo in photos:
        for name in (name for name in FIELDS if not photo[name]):
            slug = photo["page_url"].rpartition("/")[2]
            said = name == "airline" and read_slug(slug, CONSTRUCTORS, photo["registration"])[name]
            missing[name][ONLY_IN_URL if said else NOT_ON_CARD] += 1
    inner = [node for card in cards for node in elements(card)]
    paths = [split_url(attribute(node, "href")).path for node in inner if node.tag == "a"]
    turns = _turns(root, url)
    last = turns.get("last", "")
    number = (parse_qs(split_url(last).query).get("page") or [""])[0]
    return Listing(
        photos,
        turns.get("next"),
        dict(missing),
        cards=len(cards),
        matched={"cards": len(cards), "images": sum(node.tag == "img" for node in inner)}
        | {f"links to {start}": sum(path.startswith(start) for path in paths) for start in LINKS}
        | {"class credit": sum("credit" in classes(node) for node in inner)},
        unread=link_kinds(inner, (*LINKS, "/photo/")),
        last_page=int(number) if number.isascii() and number.isdecimal() and len(number) < 10 else None,
    )


def _cards(root: LexborNode) -> list[LexborNode]:
    """Return the cards of a page."""
    return [
        node
        for node in root.css("[id][data-photo-url]")
        if attribute(node, "data-photo-url") and attribute(node, "id").isdecimal()
    ]


def _turns(root: LexborNode, url: str) -> dict[str, str]:
    """Return the addresses of other pages of the list, by what each is to this page: next, prev or last."""
    links = (link for link in root.css("a[rel]") if attribute(link, "rel"))
    return {attribute(link, "rel"): absolute_url(url, attribute(link, "href")) for link in links}


def _read(card: LexborNode, url: str) -> dict[str, str]:
    """Return what one card says, "" for what it does not."""
    photo = dict.fromkeys(FIELDS, "")
    photo["photo_id"] = attribute(card, "id")
    photo["page_url"] = absolute_url(url, attribute(card, "data-photo-url"))
    for node in elements(card):
        if node.tag == "img":
            photo["image_url"] = absolute_url(url, html_tree.image_url(node))
        elif node.tag == "a":
            path = split_url(attribute(node, "href")).path
            field = next((name for start, name in LINKS.items() if path.startswith(start)), None)
            if field is not None:
                photo[field] = text(node)
        elif "credit" in classes(node):
            photo["photographer"] = text(node).replace("©", "").strip()
    return photo


SITE = Site(
    name="sample",
    first_page="/photos/latest",
    ready="main[aria-busy=false]",
    consent="[data-consent=accept]",
    parse=parse,
    pages_per_minute=float("inf"),
    continues="both",
    cards="[data-photo-url]",
    expected=dict.fromkeys(FIELDS, 1.0) | {"airline": 0.8, "aircraft_type": 0.95},
    probes=(
        probe_of_function("cards", (), _cards),
        probe_of_line("cards", ("photo_id", "page_url"), __file__, '"page_url"] ='),
        probe_of_line("images", ("image_url",), __file__, '"image_url"] ='),
        *(probe_of_line(f"links to {start}", (name,), __file__, f'"{start}": ') for start, name in LINKS.items()),
        probe_of_line("class credit", ("photographer",), __file__, 'elif "credit" in'),
    ),
)
