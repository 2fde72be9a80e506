"""planespotters.net: how to crawl its lists, and the parser of its cards in all markup generations.

Three generations of the markup are known, the latest first in GENERATIONS. They differ in what a card is and where its
parts are; each is a function that finds the cards of a page, and the first one that finds any applies. A new generation
is one more function, and a selector for its cards in CARDS. Links, URLs and images are parsed in the same way in
all of them: a link by its URL, never by its position.

Most labels can be read twice, from the card and from the slug in the photo's URL. Where they differ, the card counts
and the photo's `review` records both. Where the card lacks a label, the slug gives those whose spelling survives in it,
and `review` records that.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from urllib.parse import parse_qs, unquote

from selectolax.lexbor import LexborNode

from planespotter_scraping.labels.constructors import CONSTRUCTORS
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
from planespotter_scraping.sites.slugs import parse_slug, squash

# The field of a link, by the prefix of its path.
LINKS = {
    "/airline/": "airline",
    "/photos/airline/": "airline",
    "/photos/manufacturer/": "constructor",
    "/photos/aircraft/": "aircraft_type",
    "/photos/reg/": "registration",
    "/photos/date/": "taken_on",
    "/photographer/": "photographer",
}
LABELS = ("registration", "airline", "constructor", "aircraft_type")  # repeated in the URL
FROM_URL = ("registration", "constructor", "aircraft_type")  # an airline's spelling is lost in a URL
FIELDS = ("photo_id", "page_url", "image_url", "photographer", *LABELS, "taken_on", "review")

PHOTO = re.compile(r"/photo/([0-9]{1,18})(?:/([^/]*))?/?")
PHOTO_ID = re.compile(r"[0-9]{1,18}")
DATE = re.compile(r"/photos/date/([0-9]{4})(?:[-/]([0-9]{1,2}))?(?:[-/]([0-9]{1,2}))?/?")
AIRPORT = re.compile(r"\(\s*[A-Z]{3}\s*(?:/\s*[A-Z0-9]{4}\s*)?\)")  # IATA code, ICAO code


@dataclass
class Card:
    """A photo on a list page before it is parsed.

    Attributes:
        node: Element of the card.
        url: URL of the photo's page, as the page writes it.
        texts: Texts outside of links.
    """

    node: LexborNode
    url: str
    texts: list[str] = field(default_factory=list)


def parse(html: str, url: str) -> Listing:
    """Parse a list page of any markup generation.

    Args:
        html: The page. Any text is accepted.
        url: Its URL.

    Returns:
        The photos, each once. Cards without an id are skipped, and count as missing their `photo_id`.
    """
    root = html_tree.parse(html)
    base = html_tree.base_url(root, url)
    cards_by_generation = {generation: generation(root) for generation in GENERATIONS}
    matching = ((generation.__name__, cards) for generation, cards in cards_by_generation.items() if cards)
    markup, cards = next(matching, ("", []))
    missing: defaultdict[str, Counter[str]] = defaultdict(Counter)
    photos: dict[str, dict[str, str]] = {}
    for card in cards:
        photo, reasons = parse_card(card, base)
        for name, reason in reasons.items():
            missing[name][reason] += 1
        if photo["photo_id"]:
            photos.setdefault(photo["photo_id"], photo)
    next_url, last_page = _page_links(root, url, base)
    card_counts = {generation.__name__: len(nodes) for generation, nodes in cards_by_generation.items()}
    return Listing(
        list(photos.values()),
        next_url,
        dict(missing),
        cards=len(cards),
        markup=markup,
        probe_matches=card_counts | _count_matches(cards),
        unread_links=link_kinds((node for card in cards for node in elements(card.node)), (*LINKS, "/photo/")),
        last_page=last_page,
    )


def cards_of_today(root: LexborNode) -> list[Card]:
    """Find cards that have the photo's id in `id` and the URL of its page in `data-photo-url`."""
    return [Card(node, attribute(node, "data-photo-url")) for node in root.css("[data-photo-url]")]


def cards_of_2023(root: LexborNode) -> list[Card]:
    """Find cards that are `.photo_card`, or links in a `.photo_card__grid`; texts outside of links have the labels."""
    # A card is inside the link to its photo, or contains it.
    links = {inner.mem_id: attribute(link, "href") for link in root.css("a") for inner in (link, *elements(link))}
    nodes = root.css(".photo_card") or root.css(".photo_card__grid > a")
    return [Card(node, _photo_url(node) or links.get(node.mem_id, ""), _card_texts(node)) for node in nodes]


def cards_of_2020(root: LexborNode) -> list[Card]:
    """Find cards with a number as `id` around an `img.photo__intrinsic_item`; all labels are links."""
    numbered = [node for node in root.css("[id]") if PHOTO_ID.fullmatch(attribute(node, "id"))]
    nodes = [node for node in numbered if any("photo__intrinsic_item" in classes(inner) for inner in elements(node))]
    return [Card(node, _photo_url(node)) for node in nodes]


GENERATIONS = (cards_of_today, cards_of_2023, cards_of_2020)


def parse_card(card: Card, url: str) -> tuple[dict[str, str], dict[str, str]]:
    """Parse a card.

    Args:
        card: The card.
        url: URL of its page.

    Returns:
        Its fields, and the reasons for those that are empty or come from the URL alone.
    """
    photo = dict.fromkeys(FIELDS, "")
    reasons: dict[str, str] = {}
    review: list[str] = []
    path = PHOTO.fullmatch(split_url(card.url).path)
    card_id = attribute(card.node, "id") if PHOTO_ID.fullmatch(attribute(card.node, "id")) else ""
    photo["photo_id"] = card_id or (path[1] if path else "")
    if card_id and path and card_id != path[1]:
        review.append(f"photo_id: card {card_id}, URL {path[1]}")
    photo["page_url"] = absolute_url(url, card.url) if path else ""
    photo["image_url"] = absolute_url(url, _image(card.node, photo["photo_id"]))

    values = _parse_links(card.node)
    for name, from_texts in _parse_texts(card.texts).items():
        values[name] = values[name] or from_texts
    slug = unquote(path[2] or "") if path else ""
    names = [*CONSTRUCTORS, *values["constructor"]]
    values["airline"] = values["airline"] or _confirmed_airline(card.texts, slug, names)
    known = {name: next(iter(values[name])) if len(values[name]) == 1 else "" for name in ("registration", "airline")}
    in_url = parse_slug(slug, names, **known)
    for name in LABELS:
        value, reason = _single_value(values[name], in_url[name])
        if value and in_url[name] and squash(value) != squash(in_url[name]):
            review.append(f"{name}: card {value}, URL {in_url[name]}")
        if not value and in_url[name]:
            review.append(f"{name}: only in the URL: {in_url[name]}")
            if name in FROM_URL:
                value, reason = in_url[name], f"{reason}; taken from the URL"
            elif not values[name]:
                reason = ONLY_IN_URL
        elif value:
            reason = ""
        photo[name] = value
        if reason:
            reasons[name] = reason
    for name in ("photographer", "taken_on"):
        photo[name], reason = _single_value(values[name], "")
        if reason:
            reasons[name] = reason
    absent = {
        "photo_id": "neither an id nor a URL with one",
        "page_url": "no URL of a photo's page",
        "image_url": "no image",
    }
    reasons |= {name: reason for name, reason in absent.items() if not photo[name]}
    photo["review"] = "; ".join(review)
    return {name: " ".join(value.split()) for name, value in photo.items()}, reasons


def _single_value(values: Iterable[str], in_url: str) -> tuple[str, str]:
    """Return the value of a field, or "" and the reason why it is missing.

    Of several values, the one that the URL confirms is taken, since their order means nothing.
    """
    values = set(values)
    if not values:
        return "", NOT_ON_CARD
    confirmed = sorted(value for value in values if squash(value) == squash(in_url))
    if len(values) == 1 or confirmed:
        return (confirmed or list(values))[0], ""
    return "", "several values on the card"


def _parse_links(card: LexborNode) -> dict[str, set[str]]:
    """Return the values of the links and credits in a card, by field: usually one or none."""
    values: dict[str, set[str]] = {name: set() for name in (*LABELS, "photographer", "taken_on")}
    constructors: set[str] = set()  # from the URLs of types: /photos/aircraft/<constructor>/<type>
    dates: set[tuple[str, ...]] = set()
    for node in elements(card):
        path = split_url(attribute(node, "href")).path if node.tag == "a" else ""
        prefix, name = next(((prefix, name) for prefix, name in LINKS.items() if path.startswith(prefix)), ("", ""))
        if name == "taken_on":
            if (date := DATE.fullmatch(path)) is not None:
                dates.add(tuple(part.zfill(2) for part in date.groups() if part))
        elif name:
            parts = [" ".join(unquote(part).split()) for part in path.removeprefix(prefix).split("/") if part]
            value = _link_label(node) or (parts[-1] if parts else "")
            if name == "aircraft_type" and len(parts) > 1:
                constructors.add(parts[0])
                value = _without_constructor(value, parts[0])
            if value:
                values[name].add(value)
    values["constructor"] = values["constructor"] or {name for name in constructors if name}
    if dates:
        # Day, month and year of a date may each have a link: the most precise one has all of it.
        precision = max(len(date) for date in dates)
        values["taken_on"] = {"-".join(date) for date in dates if len(date) == precision}
    names = {" ".join(text.replace("©", " ").split()) for text in _credits(card)}
    values["photographer"] = values["photographer"] or {name for name in names if name}
    return values


def _credits(card: LexborNode) -> set[str]:
    """Return the texts of a card that name the photographer."""
    credited = {_link_label(node) for node in elements(card) if "photo_card__data_photographer" in classes(node)}
    return credited | {text for text in html_tree.texts(card) if text.startswith("©")}


def _link_label(node: LexborNode) -> str:
    """Return the label of a link: its text, else what follows "Search for ...:" in its title."""
    return html_tree.text(node) or " ".join(attribute(node, "title").rpartition(": ")[2].split())


def _without_constructor(text: str, constructor: str) -> str:
    """Remove the constructor's name from the start of a type, unless nothing would remain."""
    prefix = re.match(rf"{re.escape(constructor)}[\s-]+(?=\S)", text, re.IGNORECASE)
    return text[prefix.end() :] if prefix else text


def _card_texts(card: LexborNode) -> list[str]:
    """Return the texts of a card's `.photo_card__data` outside of links, without credits and airports."""
    texts: list[str] = []
    pending = card.css(".photo_card__data")
    while pending:
        for child in children(pending.pop()):
            if not child.is_element_node:
                texts.append(" ".join(text_of(child).split()))
            elif child.tag != "a" and "photo_card__data_photographer" not in classes(child):
                pending.append(child)
    return [text for text in texts if text and not text.startswith("©") and not AIRPORT.search(text)]


def _parse_texts(texts: list[str]) -> dict[str, set[str]]:
    """Return constructor and type from texts that start with a constructor's name and contain a digit after it."""
    values: dict[str, set[str]] = {"constructor": set(), "aircraft_type": set()}
    for text in texts:
        for name in sorted(CONSTRUCTORS, key=len, reverse=True):  # the longest first
            rest = _without_constructor(text, name)
            if rest != text and re.search(r"\d", rest):
                values["constructor"].add(name)
                values["aircraft_type"].add(rest)
                break
    return values


def _confirmed_airline(texts: list[str], slug: str, names: list[str]) -> set[str]:
    """Return the text that is the airline. It looks like any other text, so the slug must confirm it."""
    candidates = {text for text in texts if squash(text)}
    confirmed = {
        text for text in candidates if squash(parse_slug(slug, names, airline=text)["airline"]) == squash(text)
    }
    return {max(confirmed, key=lambda text: (len(text), text))} if confirmed else set()


def _photo_url(card: LexborNode) -> str:
    """Return the URL of the photo's page that a card, itself a link or around one, links to; "" without one."""
    urls = [attribute(node, "href") for node in (card, *elements(card)) if node.tag == "a"]
    photo_urls = [url for url in urls if PHOTO.fullmatch(split_url(url).path)]
    card_id = attribute(card, "id")
    confirmed = [url for url in photo_urls if card_id and f"/photo/{card_id}" in url]
    return max(confirmed or photo_urls, key=lambda url: (len(split_url(url).path), url), default="")


def _image(card: LexborNode, photo_id: str) -> str:
    """Return the URL of the photo in a card: of all images, the one that has the photo's id in its name."""
    images = [node for node in elements(card) if node.tag in ("img", "source")]
    urls = [url for url in map(html_tree.image_url, images) if url]
    named = [url for url in urls if photo_id and re.search(rf"(?<!\d){photo_id}(?!\d)", url)]
    return next(iter(named or urls), "")


def _page_links(root: LexborNode, url: str, base: str) -> tuple[str | None, int | None]:
    """Return the URL of the next page and the number of the last one, each None if the page does not show it.

    The next page is the one linked with rel=next, or as the page with the next number.
    """
    here = split_url(url)
    number = _page_number(here.query)
    named, numbered, highest = None, None, 0
    for node in root.css("a, link"):
        target = absolute_url(base, attribute(node, "href"))
        there = split_url(target)
        if target and "next" in attribute(node, "rel").lower().split():
            named = named or target
        if node.tag == "a" and target and (there.netloc, there.path) == (here.netloc, here.path):
            highest = max(highest, _page_number(there.query))
            if _page_number(there.query) == number + 1:
                numbered = numbered or target
    # A link to the next page alone does not show how many there are.
    return named or numbered, highest if highest > number + 1 else None


def _count_matches(cards: list[Card]) -> dict[str, int]:
    """Count the matches of all probes inside cards."""
    matches = dict.fromkeys((*(f"links to {prefix}" for prefix in LINKS), PAGES, IMAGES, CREDITS, TEXTS), 0)
    for card in cards:
        for node in elements(card.node):
            path = split_url(attribute(node, "href")).path if node.tag == "a" else ""
            prefix = next((prefix for prefix in LINKS if path.startswith(prefix)), None)
            if prefix is not None:
                matches[f"links to {prefix}"] += 1
        matches[PAGES] += PHOTO.fullmatch(split_url(card.url).path) is not None
        matches[IMAGES] += _image(card.node, "") != ""
        matches[CREDITS] += len(_credits(card.node)) > 0
        matches[TEXTS] += any(_parse_texts(card.texts).values())
    return matches


def _page_number(query: str) -> int:
    """Return the page number in a query string, 1 without one."""
    try:
        page = parse_qs(query).get("page", ["1"])[-1]
    except ValueError:  # too many parameters
        return 1
    return int(page) if re.fullmatch(r"[0-9]{1,9}", page) else 1


PAGES, IMAGES, CREDITS = "URLs of photos' pages", "images", "names behind a ©"
TEXTS = "texts that start with a constructor"
PROBES = (
    *(probe_of_function(generation.__name__, (), generation) for generation in GENERATIONS),
    *(probe_of_line(f"links to {prefix}", (name,), __file__, f'"{prefix}": ') for prefix, name in LINKS.items()),
    probe_of_line("links to /photos/aircraft/", ("constructor",), __file__, "constructors.add("),
    probe_of_line(PAGES, ("photo_id", "page_url", "registration"), __file__, "PHOTO = "),
    probe_of_function(IMAGES, ("image_url",), _image),
    probe_of_function(CREDITS, ("photographer",), _credits),
    probe_of_function(TEXTS, ("constructor", "aircraft_type"), _parse_texts),
)
# In all generations. A label that only the URL has counts as present.
EXPECTED_FILL_RATES = {
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
    first_path="/photos/latest",
    ready_selector=CARDS,
    consent_selector="",
    parse=parse,
    pages_per_minute=6,
    settle_seconds=1,
    url="https://www.planespotters.net",
    needs_permission="its terms rule out machine learning with its photos, and the photographers own the rights",
    pagination="both",
    card_selector=CARDS,
    expected_fill_rates=EXPECTED_FILL_RATES,
    probes=PROBES,
)
