"""Profile suggestion: derive a first profile of a photo site from one of its list pages.

The cards are the elements that repeat with a picture each. Their fields are found by what the page says about them
(schema.org microdata, JSON-LD, class names, the paths of links) and by their values: a registration, a date and a type
look like one. A person checks and completes the result; nothing of it is certain.
"""

import json
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from selectolax.lexbor import LexborNode

from planespotter_photos.counts import count_noun
from planespotter_scraping.labels.constructors import CONSTRUCTORS, canonical_name
from planespotter_scraping.labels.parser import infer_constructor, parse_label
from planespotter_scraping.sites import Listing, html_tree
from planespotter_scraping.sites.html_tree import attribute, classes, elements, split_url, text
from planespotter_scraping.sites.profile import NAME, ProfileError, parse_profile

MIN_CARDS = 3
MAX_CLIMB = 8
"""Levels from a picture up to its card, at most."""
MIN_SHARE = 0.3
"""Share of the cards that must have a field."""
IDENTIFIER = re.compile(r"[A-Za-z_][\w-]*")
CONSENT = re.compile(
    r"(?:i )?(?:accept|agree|allow|consent)(?: (?:all|to all|cookies|all cookies|and close|and continue))?|got it|"
    r"(?:alle(?:s)? )?(?:akzeptieren|annehmen|zulassen)|tout accepter|accepter",
    re.IGNORECASE,
)
ID_ATTRIBUTES = ("id", "data-id", "data-photo-id", "data-photo", "data-photoid")

# What a class name, an itemprop or the path of a link says about its value.
HINTS: dict[str, re.Pattern[str]] = {
    name: re.compile(words, re.IGNORECASE)
    for name, words in {
        "constructor": r"manufacturer|maker|constructor|brand",
        "aircraft_type": r"aircraft|(?<!con)type|model|variant",
        "airline": r"airline|operator|carrier|company",
        "registration": r"(?<![a-z])reg(?:istration|s)?(?![a-z])|tail|immat",
        "photographer": r"photographer|author|credit|creator|copyright|user|member",
        "taken_on": r"date|taken|time|when",
        "licence": r"licen[cs]e",
        "caption": r"caption|title|headline|description|name",
    }.items()
}
REGISTRATION = re.compile(
    r"[A-Z]{1,2}-[A-Z0-9]{3,5}|[A-Z0-9]{2}-[A-Z]{3}|N[1-9]\d{0,4}[A-Z]{0,2}|JA\d{2,4}[A-Z]{0,2}|HL\d{4}"
)
DATE = re.compile(
    r"\b\d{4}-\d{2}-\d{2}\b|\b\d{1,2}[./]\d{1,2}[./]\d{4}\b|\b\d{1,2}(?:st|nd|rd|th)? [A-Z][a-z]{2,8}\.? \d{4}\b|"
    r"\b[A-Z][a-z]{2,8}\.? \d{1,2}, \d{4}\b"
)
PROPERTIES = {
    **dict.fromkeys(("author", "creator", "copyrightHolder", "creditText"), "photographer"),
    **dict.fromkeys(("dateCreated", "datePublished", "uploadDate"), "taken_on"),
    **dict.fromkeys(("name", "caption", "description", "headline"), "caption"),
    "license": "licence",
}
"""Columns of schema.org's properties of an ImageObject."""


@dataclass(frozen=True)
class Suggestion:
    """A suggested profile.

    Attributes:
        name: Name of the site.
        text: The profile, as TOML.
        listing: What it reads from the page.
    """

    name: str
    text: str
    listing: Listing


@dataclass(frozen=True)
class _Source:
    """A place in the cards that has values: its rule in the profile, a hint, and the value in each card, "" if none."""

    rule: str
    hint: str
    values: tuple[str, ...]

    @property
    def present(self) -> list[str]:
        return [value for value in self.values if value]

    @property
    def share(self) -> float:
        return len(self.present) / len(self.values)


def suggest_profile(html: str, url: str, name: str = "", consent: str = "") -> Suggestion:
    """Suggest the profile of a site.

    Args:
        html: A list page, complete.
        url: Its URL.
        name: Name of the site; "" for the one that the page states, or that of its host.
        consent: Selector of the button that closes a cover, "" if there is none.

    Raises:
        ProfileError: Fewer than three elements of the page repeat with a picture each, or the name is invalid.
    """
    root = html_tree.parse(html)
    name = name or _site_name(root, url)
    if NAME.fullmatch(name) is None:
        raise ProfileError(f"The name {name!r} is invalid. Use letters, digits, dashes and underscores, with --name.")
    selector, cards = _find_cards(root)
    fields = _fields(root, cards)
    text = _toml(name, url, selector, fields, _next_selector(root), consent, len(cards))
    listing = parse_profile(Path(f"{name}.toml"), text).parse(html, url)
    if not listing.photos:
        raise ProfileError(
            f"{url} has {len(cards)} elements with a picture, but none with a number for the id of its photo. Give the "
            "URL of a list of photos."
        )
    return Suggestion(name, text, listing)


def find_consent(html: str) -> str:
    """Return the selector of the button of a page that gives consent, "" if it has none."""
    for node in html_tree.parse(html).css("button, [role=button]"):
        if CONSENT.fullmatch(text(node)) is None:
            continue
        if node.id and IDENTIFIER.fullmatch(node.id):
            return f"#{node.id}"
        for key, value in node.attributes.items():
            if key.startswith("data-") and IDENTIFIER.fullmatch(key) and IDENTIFIER.fullmatch(value or ""):
                return f"[{key}={value}]"
        for each in classes(node):
            if IDENTIFIER.fullmatch(each):
                return f"{node.tag}.{each}"
    return ""


# ---- cards


def _find_cards(root: LexborNode) -> tuple[str, list[LexborNode]]:
    """Return the selector of the cards, and the cards: repeated elements with one picture each, as large as possible.

    Raises:
        ProfileError: There are fewer than MIN_CARDS of them.
    """
    by_selector: dict[str, list[LexborNode]] = {}
    for image in root.css("img"):
        if not html_tree.image_url(image):
            continue
        node = image.parent
        for _ in range(MAX_CLIMB):
            if node is None or node.tag in ("body", "html", "nav", "header", "footer"):
                break
            for selector in _selectors(node):
                if selector not in by_selector:
                    by_selector[selector] = root.css(selector)
            node = node.parent
    candidates = []
    for order, (selector, nodes) in enumerate(by_selector.items()):
        pictures = [len({html_tree.image_url(image) for image in node.css("img")} - {""}) for node in nodes]
        if len(nodes) >= MIN_CARDS and sum(count == 1 for count in pictures) > len(nodes) / 2:
            size = sum(len(list(elements(node))) for node in nodes)
            candidates.append((sum(count == 1 for count in pictures), size, -order, selector))
    if not candidates:
        raise ProfileError(
            f"The page has no {MIN_CARDS} elements that repeat with one picture each. Give the URL of a list of "
            "photos, or write the profile by hand."
        )
    *_, selector = max(candidates)
    return selector, by_selector[selector]


def _selectors(node: LexborNode) -> Iterator[str]:
    """Yield selectors that an element and its siblings may share, those that are least likely to change first."""
    if (kind := attribute(node, "itemtype")).endswith(("/ImageObject", "/Photograph")):
        yield f'[itemtype$="/{kind.rpartition("/")[2]}"]'
    for key in node.attributes:
        if key.startswith("data-") and IDENTIFIER.fullmatch(key):
            yield f"[{key}]"
    names = [each for each in classes(node) if IDENTIFIER.fullmatch(each)]
    if names:
        yield f"{node.tag}.{names[0]}"
        yield f"{node.tag}{''.join(f'.{each}' for each in names[:3])}"
    parent = node.parent
    if parent is not None and node.tag in ("li", "article", "figure", "tr", "div", "a"):
        anchor = f"#{parent.id}" if parent.id and IDENTIFIER.fullmatch(parent.id) else ""
        named = [each for each in classes(parent) if IDENTIFIER.fullmatch(each)]
        anchor = anchor or (f"{parent.tag}.{named[0]}" if named else "")
        if anchor:
            yield f"{anchor} > {node.tag}"
    if node.tag in ("article", "figure"):
        yield node.tag


# ---- fields


def _fields(root: LexborNode, cards: Sequence[LexborNode]) -> dict[str, str]:
    """Return the rules of the fields, as TOML values."""
    fields: dict[str, str] = {}
    if rule := _id_rule(cards):
        fields["photo_id"] = rule
    if rule := _page_rule(cards):
        fields["page_url"] = rule
    fields["image_url"] = '"img"'
    sources = [*_link_sources(cards), *_text_sources(cards)]
    stated = _json_ld(root)
    scored = []
    for order, source in enumerate(sources):
        for column in (*HINTS,):
            score = _score(column, source, stated)
            if source.share >= MIN_SHARE and score > 0:
                scored.append((score, source.share, -order, column, source))
    used: set[str] = set()
    for _, _, _, column, source in sorted(scored, key=lambda item: item[:3], reverse=True):
        if column not in fields and source.rule not in used:
            fields[column] = source.rule
            used.add(source.rule)
    if "registration" not in fields:
        fields |= _registration_in_text(sources)
    return fields


def _registration_in_text(sources: Iterable[_Source]) -> dict[str, str]:
    """Return the rule of a registration within longer texts, such as captions; none if they have none."""
    pattern = re.compile(rf"(?<![A-Z0-9-])({REGISTRATION.pattern})(?![A-Z0-9-])")
    for source in sources:
        hits = sum(pattern.search(value) is not None for value in source.present)
        if source.rule[0] != "{" and source.share >= MIN_SHARE and hits >= 0.6 * len(source.present):
            return {"registration": f"{{ selector = {source.rule}, pattern = {_quote(pattern.pattern)} }}"}
    return {}


def _score(column: str, source: _Source, stated: Mapping[str, set[str]]) -> float:
    """Return how likely a source has the values of a column; 0 if it does not."""
    values = source.present
    looks = sum(map(LOOKS[column], values)) / len(values) if column in LOOKS and values else None
    hinted = 1.0 if HINTS[column].search(source.hint) else 0.0
    known = stated.get(column)
    same = sum(value.strip("© ") in known for value in values) / len(values) if known and values else 0.0
    if looks is None:
        return max(hinted, same) * (0.5 if column == "caption" else 1.0)
    return looks + 0.5 * hinted + same if looks >= 0.5 or same >= 0.6 else 0.0


def _is_type(value: str) -> bool:
    return parse_label(infer_constructor(value), value).path.family is not None


def _is_constructor(value: str) -> bool:
    return canonical_name(value) in CONSTRUCTORS


LOOKS: dict[str, Callable[[str], bool]] = {
    "constructor": _is_constructor,
    "aircraft_type": _is_type,
    "registration": lambda value: REGISTRATION.fullmatch(value) is not None,
    "taken_on": lambda value: DATE.search(value) is not None,
}
"""How the values of columns look; the others can have any value."""


def _id_rule(cards: Sequence[LexborNode]) -> str:
    """Return the rule of the attribute of the cards that identifies a photo, "" if there is none."""
    names = dict.fromkeys((*ID_ATTRIBUTES, *(key for card in cards for key in card.attributes)))
    for name in names:
        values = [attribute(card, name) for card in cards]
        if len(set(values)) == len(values) and all(re.fullmatch(r"[A-Za-z]*[-_]?\d{1,12}", value) for value in values):
            return f'"@{name}"'
    return ""


def _page_rule(cards: Sequence[LexborNode]) -> str:
    """Return the rule of the URL of a photo's page, "" if there is none."""
    for name in dict.fromkeys(key for card in cards for key in card.attributes if key.startswith("data-")):
        values = [attribute(card, name) for card in cards]
        if len(set(values)) == len(values) and all(value.startswith(("/", "http")) for value in values):
            return f'"@{name}"'
    if all(card.tag == "a" for card in cards):
        return '"@href"'
    first = [next((attribute(link, "href") for link in card.css("a")), "") for card in cards]
    return '"a@href"' if len(set(first) - {""}) >= 0.9 * len(cards) else ""


def _link_sources(cards: Sequence[LexborNode]) -> Iterator[_Source]:
    """Yield the texts of links in the cards by the start of their paths."""
    values: defaultdict[str, dict[int, str]] = defaultdict(dict)
    for number, card in enumerate(cards):
        for link in card.css("a"):
            path = split_url(attribute(link, "href")).path
            parts = [part for part in path.split("/") if part][:-1]
            if parts and path.startswith("/") and text(link):
                for end in range(1, min(len(parts), 3) + 1):
                    values["/" + "".join(f"{part}/" for part in parts[:end])].setdefault(number, text(link))
    for prefix in sorted(values, key=lambda prefix: -prefix.count("/")):
        of_cards = tuple(values[prefix].get(number, "") for number in range(len(cards)))
        yield _Source(f"{{ link = {_quote(prefix)} }}", prefix.replace("/photos/", "/"), of_cards)


def _text_sources(cards: Sequence[LexborNode]) -> Iterator[_Source]:
    """Yield the texts of elements in the cards by what identifies them."""
    values: defaultdict[tuple[str, str], dict[int, str]] = defaultdict(dict)
    for number, card in enumerate(cards):
        for node in elements(card):
            content = text(node)
            if not content or len(content) > 200 or node.tag in ("script", "style"):
                continue
            for selector, hint in _own_selectors(node):
                values[selector, hint].setdefault(number, content)
    for (selector, hint), of_card in values.items():
        yield _Source(_quote(selector), hint, tuple(of_card.get(number, "") for number in range(len(cards))))


def _own_selectors(node: LexborNode) -> Iterator[tuple[str, str]]:
    """Yield selectors of an element within its card, each with what it says about the value."""
    if name := attribute(node, "itemprop"):
        yield f'[itemprop="{name}"]', PROPERTIES.get(name, name)
    for each in classes(node)[:3]:
        if IDENTIFIER.fullmatch(each):
            yield f".{each}", each
    if node.tag in ("h2", "h3", "h4", "figcaption", "time", "strong"):
        yield node.tag, {"time": "date"}.get(node.tag, "title" if node.tag != "strong" else "")


def _json_ld(root: LexborNode) -> dict[str, set[str]]:
    """Return the values of columns that the page states in JSON-LD."""
    stated: defaultdict[str, set[str]] = defaultdict(set)
    for script in root.css('script[type="application/ld+json"]'):
        try:
            pending: list[Any] = [json.loads(script.text() or "null")]
        except ValueError:
            continue
        while pending:
            item = pending.pop()
            if isinstance(item, list):
                pending += item
            elif isinstance(item, dict):
                pending += item.values()
                for key, column in PROPERTIES.items():
                    value = item.get(key)
                    value = value.get("name") if isinstance(value, dict) else value
                    if isinstance(value, str) and value:
                        stated[column].add(" ".join(value.split()))
    return dict(stated)


# ---- the profile


def _site_name(root: LexborNode, url: str) -> str:
    """Return a name for the site: what the page states (Open Graph), or its host."""
    stated = next((attribute(node, "content") for node in root.css('meta[property="og:site_name"]')), "")
    host = (split_url(url).hostname or "site").removeprefix("www.").rpartition(".")[0]
    name = re.sub(r"[^A-Za-z0-9]+", "-", stated or host).strip("-").lower()[:30].strip("-")
    return name if NAME.fullmatch(name) else "my-site"


def _next_selector(root: LexborNode) -> str:
    return next((selector for selector in ("a[rel~=next]", "link[rel~=next]") if root.css(selector)), "")


def _toml(
    name: str, url: str, card: str, fields: Mapping[str, str], next_selector: str, consent: str, cards: int
) -> str:
    following = f"next = {_quote(next_selector)}" if next_selector else '# next = "a.next"    # link to the next page'
    lines = [
        f"# Suggested from {url.splitlines()[0]}: check it with planespotter scrape --site FILE --dry-run.",
        f"name = {_quote(name)}",
        f"first_page = {_quote(url)}",
        f"card = {_quote(card)}                # {cards} on the page",
        following,
        f"consent = {_quote(consent)}" if consent else '# consent = "button.accept"     # button that closes a cover',
        '# pagination = "both"           # or "links", "scrolling"',
        "# pages_per_minute = 6",
        '# needs_permission = "the terms forbid it"    # then a crawl needs --permission',
        "",
        "[fields]",
        *(f"{column} = {rule}" for column, rule in fields.items()),
    ]
    return "\n".join(lines) + "\n"


def _quote(text: str) -> str:
    """Return a TOML string, literal where that is easier to read."""
    is_literal = ('"' in text or "\\" in text) and "'" not in text and text.isprintable()
    return f"'{text}'" if is_literal else json.dumps(text, ensure_ascii=False)


def describe(suggestion: Suggestion) -> list[str]:
    """Return what a suggested profile reads, as lines of text: the share of each field, and its first values."""
    listing = suggestion.listing
    lines = [f"{count_noun(len(listing.photos), 'photo')} on {count_noun(listing.cards, 'card')}."]
    filled = Counter(name for photo in listing.photos for name, value in photo.items() if value)
    for column in [name for name in listing.photos[0] if filled[name]]:
        values = _examples(photo[column] for photo in listing.photos)
        lines.append(f"  {column:<14} {filled[column] / len(listing.photos):>4.0%}  {values}")
    missing = [name for name in ("aircraft_type", "constructor", "registration", "photographer") if not filled[name]]
    if missing:
        lines.append(f"Not by_selector: {', '.join(missing)}. Add them to the profile by hand if the site has them.")
    return lines


def _examples(values: Iterable[str]) -> str:
    return " | ".join([value if len(value) <= 40 else f"{value[:39]}…" for value in dict.fromkeys(values) if value][:3])
