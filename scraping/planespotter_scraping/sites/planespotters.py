"""planespotters.net: how to walk through its lists, and how to read its cards, those of earlier markup included.

Three generations of the markup are known, the latest first in GENERATIONS. They differ in what a card is and where its
parts are; each is a function that finds the cards of a page, and the first that finds any is the page's. A further
one is one more function, and what finds its cards in a browser in CARDS. What links, addresses and images say is read
in the same way in all of them: a link by the address that it leads to, never by its place among the others.

Most of the labels can be read twice: from the card, and from the last part of the photo's address. Where the two differ
the card counts, and the photo's `review` says what differs. Where the card is silent, the address gives the labels
whose spelling survives in it, and `review` says so.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from urllib.parse import parse_qs, unquote

from selectolax.lexbor import LexborNode

from planespotter_scraping.sites import NOT_ON_CARD, ONLY_IN_URL, Listing, Site, html_tree
from planespotter_scraping.sites.html_tree import (
    absolute_url,
    attribute,
    children,
    classes,
    elements,
    split_url,
    text_of,
)
from planespotter_scraping.sites.probes import link_kinds, probe_of_function, probe_of_line
from planespotter_scraping.sites.slugs import CONSTRUCTORS, read_slug, squash

# What a link says, by the beginning of the path that it leads to.
LINKS = {
    "/airline/": "airline",
    "/photos/airline/": "airline",
    "/photos/manufacturer/": "constructor",
    "/photos/aircraft/": "aircraft_type",
    "/photos/reg/": "registration",
    "/photos/date/": "taken_on",
    "/photographer/": "photographer",
}
LABELS = ("registration", "airline", "constructor", "aircraft_type")  # that the address says again
FROM_ADDRESS = ("registration", "constructor", "aircraft_type")  # an airline's spelling is lost in it
FIELDS = ("photo_id", "page_url", "image_url", "photographer", *LABELS, "taken_on", "review")

PHOTO = re.compile(r"/photo/([0-9]{1,18})(?:/([^/]*))?/?")
PHOTO_ID = re.compile(r"[0-9]{1,18}")
DATE = re.compile(r"/photos/date/([0-9]{4})(?:[-/]([0-9]{1,2}))?(?:[-/]([0-9]{1,2}))?/?")
AIRPORT = re.compile(r"\(\s*[A-Z]{3}\s*(?:/\s*[A-Z0-9]{4}\s*)?\)")  # IATA code, ICAO code


@dataclass
class Card:
    """A photo on a list page, before it is read: its element, and where to look for the parts that vary.

    `address` is that of the photo's own page, as the page writes it. `texts` are texts that no link explains.
    """

    node: LexborNode
    address: str
    texts: list[str] = field(default_factory=list)


def parse(html: str, url: str) -> Listing:
    """Return the photos of the list page `html`, which was found at `url`, whichever generation it is of.

    Cards without an id are left out, and counted as missing their `photo_id`. Any text is accepted.
    """
    root = html_tree.parse(html)
    found = {cards_of: cards_of(root) for cards_of in GENERATIONS}
    markup, cards = next(((cards_of.__name__, some) for cards_of, some in found.items() if some), ("", []))
    missing: defaultdict[str, Counter[str]] = defaultdict(Counter)
    photos: dict[str, dict[str, str]] = {}
    for card in cards:
        photo, reasons = read_card(card, url)
        for name, reason in reasons.items():
            missing[name][reason] += 1
        if photo["photo_id"]:
            photos.setdefault(photo["photo_id"], photo)
    next_url, last_page = _further_pages(root, url)
    return Listing(
        list(photos.values()),
        next_url,
        dict(missing),
        cards=len(cards),
        markup=markup,
        matched={cards_of.__name__: len(some) for cards_of, some in found.items()} | _matches(cards),
        unread=link_kinds((node for card in cards for node in elements(card.node)), (*LINKS, "/photo/")),
        last_page=last_page,
    )


def cards_of_today(root: LexborNode) -> list[Card]:
    """Cards carry the photo's id in `id` and the address of its page in `data-photo-url`."""
    return [Card(node, attribute(node, "data-photo-url")) for node in root.css("[data-photo-url]")]


def cards_of_2023(root: LexborNode) -> list[Card]:
    """Cards are `.photo_card`, or links in a `.photo_card__grid`, and name the aircraft in texts without links."""
    # A card lies in the link to its photo, or has it inside.
    links = {inner.mem_id: attribute(link, "href") for link in root.css("a") for inner in (link, *elements(link))}
    found = root.css(".photo_card") or root.css(".photo_card__grid > a")
    return [Card(node, _address_in(node) or links.get(node.mem_id, ""), _card_texts(node)) for node in found]


def cards_of_2020(root: LexborNode) -> list[Card]:
    """Cards are elements with a number as `id` around an `img.photo__intrinsic_item`; all labels are links."""
    numbered = [node for node in root.css("[id]") if PHOTO_ID.fullmatch(attribute(node, "id"))]
    found = [node for node in numbered if any("photo__intrinsic_item" in classes(inner) for inner in elements(node))]
    return [Card(node, _address_in(node)) for node in found]


GENERATIONS = (cards_of_today, cards_of_2023, cards_of_2020)


def read_card(card: Card, url: str) -> tuple[dict[str, str], dict[str, str]]:
    """Return what a card says, and for each field that is empty or comes from the address alone, why."""
    photo = dict.fromkeys(FIELDS, "")
    reasons: dict[str, str] = {}
    review: list[str] = []
    path = PHOTO.fullmatch(split_url(card.address).path)
    own_id = attribute(card.node, "id") if PHOTO_ID.fullmatch(attribute(card.node, "id")) else ""
    photo["photo_id"] = own_id or (path[1] if path else "")
    if own_id and path and own_id != path[1]:
        review.append(f"photo_id: the card says {own_id}, its address {path[1]}")
    photo["page_url"] = absolute_url(url, card.address) if path else ""
    photo["image_url"] = absolute_url(url, _image(card.node, photo["photo_id"]))

    said = _read_links(card.node)
    for name, values in _read_texts(card.texts).items():
        said[name] = said[name] or values
    slug = unquote(path[2] or "") if path else ""
    names = [*CONSTRUCTORS, *said["constructor"]]
    said["airline"] = said["airline"] or _confirmed_airline(card.texts, slug, names)
    known = {name: next(iter(said[name])) if len(said[name]) == 1 else "" for name in ("registration", "airline")}
    address = read_slug(slug, names, **known)
    for name in LABELS:
        value, reason = _one(said[name], address[name])
        if value and address[name] and squash(value) != squash(address[name]):
            review.append(f"{name}: the card says {value}, the address {address[name]}")
        if not value and address[name]:
            review.append(f"{name}: only the address says {address[name]}")
            if name in FROM_ADDRESS:
                value, reason = address[name], f"{reason}; taken from the URL"
            elif not said[name]:
                reason = ONLY_IN_URL
        elif value:
            reason = ""
        photo[name] = value
        if reason:
            reasons[name] = reason
    for name in ("photographer", "taken_on"):
        photo[name], reason = _one(said[name], "")
        if reason:
            reasons[name] = reason
    absent = {
        "photo_id": "neither an id nor an address with one",
        "page_url": "no address of a photo's page",
        "image_url": "no image",
    }
    reasons |= {name: reason for name, reason in absent.items() if not photo[name]}
    photo["review"] = "; ".join(review)
    return {name: " ".join(value.split()) for name, value in photo.items()}, reasons


def _one(values: Iterable[str], address: str) -> tuple[str, str]:
    """Return the one value that a card says of something, or "" and why there is none.

    Of several, the one that the address confirms is taken, as their order means nothing.
    """
    values = set(values)
    if not values:
        return "", NOT_ON_CARD
    confirmed = sorted(value for value in values if squash(value) == squash(address))
    if len(values) == 1 or confirmed:
        return (confirmed or list(values))[0], ""
    return "", "the card says several things"


def _read_links(card: LexborNode) -> dict[str, set[str]]:
    """Return what the links and the signs of authorship in a card say, by field: usually one value, or none."""
    said: dict[str, set[str]] = {name: set() for name in (*LABELS, "photographer", "taken_on")}
    makers: set[str] = set()  # that the addresses of types name: /photos/aircraft/<constructor>/<type>
    dates: set[tuple[str, ...]] = set()
    for node in elements(card):
        path = split_url(attribute(node, "href")).path if node.tag == "a" else ""
        start, name = next(((start, name) for start, name in LINKS.items() if path.startswith(start)), ("", ""))
        if name == "taken_on":
            if (date := DATE.fullmatch(path)) is not None:
                dates.add(tuple(part.zfill(2) for part in date.groups() if part))
        elif name:
            parts = [" ".join(unquote(part).split()) for part in path.removeprefix(start).split("/") if part]
            value = _words(node) or (parts[-1] if parts else "")
            if name == "aircraft_type" and len(parts) > 1:
                makers.add(parts[0])
                value = _without_maker(value, parts[0])
            if value:
                said[name].add(value)
    said["constructor"] = said["constructor"] or {maker for maker in makers if maker}
    if dates:
        # The day, the month and the year of one date may each have a link: the one that is most exact says it all.
        exact = max(len(date) for date in dates)
        said["taken_on"] = {"-".join(date) for date in dates if len(date) == exact}
    names = {" ".join(text.replace("©", " ").split()) for text in _signatures(card)}
    said["photographer"] = said["photographer"] or {name for name in names if name}
    return said


def _signatures(card: LexborNode) -> set[str]:
    """Return the texts of a card that say who took the photo."""
    signed = {_words(node) for node in elements(card) if "photo_card__data_photographer" in classes(node)}
    return signed | {text for text in html_tree.texts(card) if text.startswith("©")}


def _words(node: LexborNode) -> str:
    """Return what a link is called: its text, else what its title says behind "Search for ...:"."""
    return html_tree.text(node) or " ".join(attribute(node, "title").rpartition(": ")[2].split())


def _without_maker(text: str, maker: str) -> str:
    """Return a type without the name of its constructor in front, unless it is nothing else."""
    named = re.match(rf"{re.escape(maker)}[\s-]+(?=\S)", text, re.IGNORECASE)
    return text[named.end() :] if named else text


def _card_texts(card: LexborNode) -> list[str]:
    """Return the texts of a card's `.photo_card__data` that are no credit, no airport and in no link."""
    texts: list[str] = []
    waiting = card.css(".photo_card__data")
    while waiting:
        for child in children(waiting.pop()):
            if not child.is_element_node:
                texts.append(" ".join(text_of(child).split()))
            elif child.tag != "a" and "photo_card__data_photographer" not in classes(child):
                waiting.append(child)
    return [text for text in texts if text and not text.startswith("©") and not AIRPORT.search(text)]


def _read_texts(texts: list[str]) -> dict[str, set[str]]:
    """Return constructor and type from the texts that begin with a constructor's name and have a number behind it."""
    said: dict[str, set[str]] = {"constructor": set(), "aircraft_type": set()}
    for text in texts:
        for name in sorted(CONSTRUCTORS, key=len, reverse=True):  # the longest first
            rest = _without_maker(text, name)
            if rest != text and re.search(r"\d", rest):
                said["constructor"].add(name)
                said["aircraft_type"].add(rest)
                break
    return said


def _confirmed_airline(texts: list[str], slug: str, names: list[str]) -> set[str]:
    """Return the text that is the airline. It looks like any other, so only what the address says too is taken."""
    found = {text for text in texts if squash(text)}
    found = {text for text in found if squash(read_slug(slug, names, airline=text)["airline"]) == squash(text)}
    return {max(found, key=lambda text: (len(text), text))} if found else set()


def _address_in(card: LexborNode) -> str:
    """Return the address of the photo's page that a card, itself a link or around one, leads to; "" if none."""
    links = [attribute(node, "href") for node in (card, *elements(card)) if node.tag == "a"]
    found = [link for link in links if PHOTO.fullmatch(split_url(link).path)]
    own = [link for link in found if attribute(card, "id") and f"/photo/{attribute(card, 'id')}" in link]
    return max(own or found, key=lambda link: (len(split_url(link).path), link), default="")


def _image(card: LexborNode, photo_id: str) -> str:
    """Return the address of the photo in a card: of all its images the one that is named after the photo."""
    images = [node for node in elements(card) if node.tag in ("img", "source")]
    addresses = [address for address in map(html_tree.image_url, images) if address]
    named = [address for address in addresses if photo_id and re.search(rf"(?<!\d){photo_id}(?!\d)", address)]
    return next(iter(named or addresses), "")


def _further_pages(root: LexborNode, url: str) -> tuple[str | None, int | None]:
    """Return the following page and the number of the last one, each None if the page does not tell.

    The following page is what is linked as the next one, or as the page with the next number.
    """
    here = split_url(url)
    number = _page(here.query)
    named, numbered, highest = None, None, 0
    for node in elements(root):
        if node.tag not in ("a", "link"):
            continue
        address = absolute_url(url, attribute(node, "href"))
        there = split_url(address)
        if address and "next" in attribute(node, "rel").lower().split():
            named = named or address
        if node.tag == "a" and address and (there.netloc, there.path) == (here.netloc, here.path):
            highest = max(highest, _page(there.query))
            if _page(there.query) == number + 1:
                numbered = numbered or address
    # A link to the next page alone does not tell how many there are.
    return named or numbered, highest if highest > number + 1 else None


def _matches(cards: list[Card]) -> dict[str, int]:
    """Count what the probes other than those for cards find in `cards`."""
    found = dict.fromkeys((*(f"links to {start}" for start in LINKS), PAGES, IMAGES, SIGNATURES, TEXTS), 0)
    for card in cards:
        for node in elements(card.node):
            path = split_url(attribute(node, "href")).path if node.tag == "a" else ""
            start = next((start for start in LINKS if path.startswith(start)), None)
            if start is not None:
                found[f"links to {start}"] += 1
        found[PAGES] += PHOTO.fullmatch(split_url(card.address).path) is not None
        found[IMAGES] += _image(card.node, "") != ""
        found[SIGNATURES] += len(_signatures(card.node)) > 0
        found[TEXTS] += any(_read_texts(card.texts).values())
    return found


def _page(query: str) -> int:
    """Return the number of a page from the query of its address, 1 if there is none."""
    try:
        page = parse_qs(query).get("page", ["1"])[-1]
    except ValueError:  # more parts than anyone means
        return 1
    return int(page) if re.fullmatch(r"[0-9]{1,9}", page) else 1


PAGES, IMAGES, SIGNATURES = "addresses of photos' pages", "images", "names behind a ©"
TEXTS = "texts that begin with a constructor"
PROBES = (
    *(probe_of_function(cards_of.__name__, (), cards_of) for cards_of in GENERATIONS),
    *(probe_of_line(f"links to {start}", (name,), __file__, f'"{start}": ') for start, name in LINKS.items()),
    probe_of_line("links to /photos/aircraft/", ("constructor",), __file__, "makers.add("),
    probe_of_line(PAGES, ("photo_id", "page_url", "registration"), __file__, "PHOTO = "),
    probe_of_function(IMAGES, ("image_url",), _image),
    probe_of_function(SIGNATURES, ("photographer",), _signatures),
    probe_of_function(TEXTS, ("constructor", "aircraft_type"), _read_texts),
)
# How full the fields are, whichever generation a page is of: what the card lacks and its address says counts too.
EXPECTED = {
    "photo_id": 1.0,
    "page_url": 1.0,
    "image_url": 1.0,
    "constructor": 0.98,
    "aircraft_type": 0.95,
    "registration": 0.9,
    "airline": 0.8,
    "photographer": 0.9,
}
CARDS = (
    "[data-photo-url], .photo_card, .photo_card__grid > a, "
    "[id]:has(.photo__intrinsic_item):not(:has([id] .photo__intrinsic_item))"  # the innermost element with an id
)

SITE = Site(
    name="planespotters",
    first_page="/photos/latest",
    ready=CARDS,
    consent="",
    parse=parse,
    pages_per_minute=6,
    settle_seconds=1,
    address="https://www.planespotters.net",
    needs_permission="its terms rule out collecting its photos for machine learning, and each belongs to who took it",
    continues="both",
    cards=CARDS,
    expected=EXPECTED,
    probes=PROBES,
)
