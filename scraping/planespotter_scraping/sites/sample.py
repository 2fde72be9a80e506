"""The sample site: how to crawl it, and the parser of its cards."""

from collections import Counter, defaultdict
from urllib.parse import parse_qs

from selectolax.lexbor import LexborNode

from planespotter_scraping.labels.constructors import CONSTRUCTORS
from planespotter_scraping.sites import NOT_ON_CARD, ONLY_IN_URL, Listing, Site, html_tree
from planespotter_scraping.sites.html_tree import absolute_url, attribute, classes, elements, split_url, text
from planespotter_scraping.sites.probes import link_kinds, probe_of_function, probe_of_line
from planespotter_scraping.sites.slugs import parse_slug

# The field of a link, by the prefix of its path. A card may lack any of these links, so their order proves nothing.
LINKS = {
    "/airline/": "airline",
    "/photos/manufacturer/": "constructor",
    "/photos/aircraft/": "aircraft_type",
    "/photos/reg/": "registration",
    "/photos/date/": "taken_on",
}
FIELDS = ("photo_id", "page_url", "image_url", "photographer", *LINKS.values())


def parse(html: str, url: str) -> Listing:
    """Parse a list page.

    Args:
        html: The page. Any text is accepted.
        url: Its URL.

    Returns:
        The photos of all cards with an id.
    """
    root = html_tree.parse(html)
    url = html_tree.base_url(root, url)
    cards = _cards(root)
    photos = [_parse_card(card, url) for card in cards]
    missing: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for photo in photos:
        for name in (name for name in FIELDS if not photo[name]):
            slug = photo["page_url"].rpartition("/")[2]
            in_url = name == "airline" and parse_slug(slug, CONSTRUCTORS, photo["registration"])[name]
            missing[name][ONLY_IN_URL if in_url else NOT_ON_CARD] += 1
    inner = [node for card in cards for node in elements(card)]
    paths = [split_url(attribute(node, "href")).path for node in inner if node.tag == "a"]
    pages = _page_links(root, url)
    number = (parse_qs(split_url(pages.get("last", "")).query).get("page") or [""])[0]
    return Listing(
        photos,
        pages.get("next"),
        dict(missing),
        cards=len(cards),
        probe_matches={"cards": len(cards), "images": sum(node.tag == "img" for node in inner)}
        | {f"links to {prefix}": sum(path.startswith(prefix) for path in paths) for prefix in LINKS}
        | {"class credit": sum("credit" in classes(node) for node in inner)},
        unread_links=link_kinds(inner, (*LINKS, "/photo/")),
        last_page=int(number) if number.isascii() and number.isdecimal() and len(number) < 10 else None,
    )


def _cards(root: LexborNode) -> list[LexborNode]:
    """Return the cards of a page."""
    nodes = root.css("[id][data-photo-url]")
    return [node for node in nodes if attribute(node, "data-photo-url") and attribute(node, "id").isdecimal()]


def _page_links(root: LexborNode, url: str) -> dict[str, str]:
    """Return the URLs of other pages of the list, by their relation to this one: next, prev or last."""
    links = (link for link in root.css("a[rel]") if attribute(link, "rel"))
    return {attribute(link, "rel"): absolute_url(url, attribute(link, "href")) for link in links}


def _parse_card(card: LexborNode, url: str) -> dict[str, str]:
    """Return the fields of a card, "" for missing ones."""
    photo = dict.fromkeys(FIELDS, "")
    photo["photo_id"] = attribute(card, "id")
    photo["page_url"] = absolute_url(url, attribute(card, "data-photo-url"))
    for node in elements(card):
        if node.tag == "img":
            photo["image_url"] = absolute_url(url, html_tree.image_url(node))
        elif node.tag == "a":
            path = split_url(attribute(node, "href")).path
            field = next((name for prefix, name in LINKS.items() if path.startswith(prefix)), None)
            if field is not None:
                photo[field] = text(node)
        elif "credit" in classes(node):
            photo["photographer"] = text(node).replace("©", "").strip()
    return photo


SITE = Site(
    name="sample",
    first_path="/photos/latest",
    ready_selector="main[aria-busy=false]",
    consent_selector="[data-consent=accept]",
    parse=parse,
    pages_per_minute=float("inf"),
    pagination="both",
    card_selector="[data-photo-url]",
    expected_fill_rates=dict.fromkeys(FIELDS, 1.0) | {"airline": 0.8, "aircraft_type": 0.95},
    probes=(
        probe_of_function("cards", (), _cards),
        probe_of_line("cards", ("photo_id", "page_url"), __file__, '"page_url"] ='),
        probe_of_line("images", ("image_url",), __file__, '"image_url"] ='),
        *(probe_of_line(f"links to {prefix}", (name,), __file__, f'"{prefix}": ') for prefix, name in LINKS.items()),
        probe_of_line("class credit", ("photographer",), __file__, 'elif "credit" in'),
    ),
)
