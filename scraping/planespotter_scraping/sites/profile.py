"""Site profile: describe a photo site in a TOML file instead of a Python module.

A profile names the first page of the list, the cards, and where in a card each field is. docs/collecting.md
explains it, and examples/site.toml is an example. Its parser takes part in drift detection like that of any site.
"""

import re
import tomllib
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from selectolax.lexbor import LexborHTMLParser, LexborNode

from planespotter_scraping.catalog import STATED_COLUMNS
from planespotter_scraping.labels.parser import infer_constructor
from planespotter_scraping.sites import NOT_ON_CARD, Listing, Site, html_tree
from planespotter_scraping.sites.html_tree import absolute_url, attribute, elements, split_url, text
from planespotter_scraping.sites.probes import Probe, link_kinds

NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,30}")
REQUIRED = ("name", "first_page", "card", "fields")
OPTIONAL = ("next", "more", "consent", "ready", "pagination", "pages_per_minute", "needs_permission", "expected")
FIELDS = ("photo_id", *STATED_COLUMNS, "caption")
FIELD_KEYS = ("selector", "attribute", "link", "pattern")
PAGINATION = ("both", "links", "scrolling")
POLITE_PAGES_PER_MINUTE = 6.0
SETTLE_SECONDS = 0.5


class ProfileError(ValueError):
    """A profile that cannot be used. The text is for users."""


@dataclass(frozen=True)
class FieldRule:
    """Where a card has a field.

    Attributes:
        selector: CSS selector inside the card; "" for the card itself.
        attribute: Attribute with the value; "" for the text, or for the URL of an image or of a URL field.
        link: Start of the path of a link that has the value; replaces the selector.
        pattern: Regular expression whose first group is the value; None for all of it.
    """

    selector: str = ""
    attribute: str = ""
    link: str = ""
    pattern: re.Pattern[str] | None = None

    def read(self, name: str, card: LexborNode) -> str:
        """Return the value of the field `name` in a card, "" if it is missing."""
        for node in self._nodes(card):
            if self.attribute:
                value = attribute(node, self.attribute)
            elif node.tag in ("img", "source"):
                value = html_tree.image_url(node)
            elif name.endswith("_url"):
                value = attribute(node, "href")
            else:
                value = text(node)
            if self.pattern is not None:
                match = self.pattern.search(value)
                value = (match[1] if self.pattern.groups else match[0]) if match else ""
            if value:
                return " ".join(value.split())
        return ""

    def _nodes(self, card: LexborNode) -> Sequence[LexborNode]:
        """Return the elements that may have the value."""
        if self.link:
            links = [node for node in (card, *elements(card)) if node.tag == "a"]
            return [node for node in links if split_url(attribute(node, "href")).path.startswith(self.link)]
        return card.css(self.selector) if self.selector else [card]


def load_profile(path: Path) -> Site:
    """Load a site from its profile.

    Raises:
        ProfileError: The file cannot be read or is invalid.
    """
    try:
        content = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise ProfileError(f"The profile {path} cannot be read: {error.strerror}. Check the path.") from None
    except UnicodeDecodeError as error:
        raise ProfileError(f"The profile {path} is not valid TOML: {error}. Fix it.") from None
    return parse_profile(path, content)


def parse_profile(path: Path, content: str) -> Site:
    """Return the site that a profile describes.

    Args:
        path: Its path, for messages and drift reports.
        content: The profile, as TOML.

    Raises:
        ProfileError: It is invalid.
    """
    try:
        profile = tomllib.loads(content)
    except tomllib.TOMLDecodeError as error:
        raise ProfileError(f"The profile {path} is not valid TOML: {error}. Fix it.") from None
    _check_keys(path, profile)
    rules = {name: _field_rule(path, name, value) for name, value in profile["fields"].items()}
    first = split_url(profile["first_page"])
    if first.scheme not in ("http", "https") or not first.hostname:
        raise ProfileError(f"first_page in {path} is not a URL: {profile['first_page']!r}. Start it with https://.")
    for name in ("card", "next", "more", "consent", "ready"):
        _check_selector(path, name, profile.get(name, ""))
    card, next_selector = profile["card"], profile.get("next", "")
    limit = float("inf") if is_loopback(first.hostname) else POLITE_PAGES_PER_MINUTE

    def parse(html: str, url: str) -> Listing:
        return _parse(html, url, card, rules, next_selector)

    lines = content.splitlines()
    expected = {"photo_id": 1.0, "image_url": 1.0, **profile.get("expected", {})}
    return Site(
        name=profile["name"],
        first_path=first.path + (f"?{first.query}" if first.query else ""),
        ready_selector=profile.get("ready", card),
        consent_selector=profile.get("consent", ""),
        parse=parse,
        pages_per_minute=float(profile.get("pages_per_minute", limit)),
        settle_seconds=SETTLE_SECONDS,
        url=f"{first.scheme}://{first.netloc}",
        needs_permission=profile.get("needs_permission", ""),
        pagination=profile.get("pagination", "both"),
        card_selector=card,
        more_selector=profile.get("more", ""),
        expected_fill_rates=expected,
        probes=(
            Probe("card", (), str(path), _line(lines, "card")),
            *(Probe(f"field {name}", (name,), str(path), _line(lines, name)) for name in rules),
        ),
    )


def is_loopback(host: str | None) -> bool:
    """Return whether a host is this machine."""
    try:
        return host == "localhost" or ip_address(host or "").is_loopback
    except ValueError:
        return False


def _check_keys(path: Path, profile: Mapping[str, Any]) -> None:
    """Raise ProfileError if keys are missing or unknown, or have values of other types."""
    for key in REQUIRED:
        if key not in profile:
            raise ProfileError(f"The profile {path} lacks {key}. Required are {', '.join(REQUIRED)}.")
    for key, value in profile.items():
        if key not in (*REQUIRED, *OPTIONAL):
            raise ProfileError(f"{key} in {path} is unknown. Known are {', '.join((*REQUIRED, *OPTIONAL))}.")
        kinds: tuple[type, ...] = (str,)
        wanted = "text"
        if key in ("fields", "expected"):
            kinds, wanted = (dict,), "a table"
        elif key == "pages_per_minute":
            kinds, wanted = (int, float), "a number above 0"
        if not isinstance(value, kinds) or (isinstance(value, int | float) and value <= 0):
            raise ProfileError(f"{key} in {path} is invalid: {value!r}. Give {wanted}.")
    if NAME.fullmatch(profile["name"]) is None:
        raise ProfileError(f"name in {path} is invalid: {profile['name']!r}. Use letters, digits, dashes, underscores.")
    if profile.get("pagination", "both") not in PAGINATION:
        raise ProfileError(f"pagination in {path} is invalid. Give one of {', '.join(PAGINATION)}.")
    for name, value in profile.get("expected", {}).items():
        if name not in profile["fields"] or not isinstance(value, int | float) or not 0 <= value <= 1:
            raise ProfileError(f"expected.{name} in {path} is invalid: {value!r}. Give the share of a field, 0 to 1.")
    for name in profile["fields"]:
        if name not in FIELDS:
            raise ProfileError(f"The field {name} in {path} is unknown. Known are {', '.join(FIELDS)}.")
    if "image_url" not in profile["fields"]:
        raise ProfileError(
            f"The profile {path} lacks the field image_url. Give its selector, such as image_url = 'img'."
        )


def _field_rule(path: Path, name: str, value: object) -> FieldRule:
    """Return the rule of a field: a table, or text such as "a.title@href". Raises ProfileError if it is invalid."""
    if isinstance(value, str):
        selector, _, attribute_name = value.partition("@")
        rule: Mapping[str, Any] = {"selector": selector.strip(), "attribute": attribute_name.strip()}
    elif isinstance(value, dict) and all(isinstance(item, str) for item in value.values()):
        rule = value
    else:
        raise ProfileError(f"The field {name} in {path} is invalid: {value!r}. Give a selector or a table of texts.")
    if unknown := [key for key in rule if key not in FIELD_KEYS]:
        raise ProfileError(f"{name}.{unknown[0]} in {path} is unknown. Known are {', '.join(FIELD_KEYS)}.")
    _check_selector(path, name, rule.get("selector", ""))
    try:
        pattern = re.compile(rule["pattern"]) if rule.get("pattern") else None
    except re.error as error:
        raise ProfileError(f"{name}.pattern in {path} is not a regular expression: {error}. Fix it.") from None
    return FieldRule(rule.get("selector", ""), rule.get("attribute", ""), rule.get("link", ""), pattern)


def _check_selector(path: Path, name: str, selector: str) -> None:
    """Raise ProfileError if a CSS selector is invalid."""
    try:
        LexborHTMLParser("<p></p>").css(selector or "p")
    except Exception as error:  # selectolax has several classes for it
        raise ProfileError(f"{name} in {path} is not a CSS selector: {selector!r} ({error}). Fix it.") from None


def _line(lines: Sequence[str], key: str) -> int:
    """Return the number of the line that defines a key, 1 if it is not at the start of a line."""
    numbers = (number for number, line in enumerate(lines, start=1) if re.match(rf'\s*"?{key}"?\s*=', line))
    return next(numbers, 1)


def _parse(html: str, url: str, card_selector: str, rules: Mapping[str, FieldRule], next_selector: str) -> Listing:
    """Parse a list page."""
    root = html_tree.parse(html)
    base = html_tree.base_url(root, url)
    nodes = root.css(card_selector)
    inner = {node.mem_id for card in nodes for node in elements(card)}
    cards = [card for card in nodes if card.mem_id not in inner]
    missing: defaultdict[str, Counter[str]] = defaultdict(Counter)
    photos: dict[str, dict[str, str]] = {}
    for card in cards:
        photo = _parse_card(card, base, rules)
        for name in ("photo_id", *rules):
            if not photo[name]:
                missing[name][NOT_ON_CARD] += 1
        if photo["photo_id"]:
            photos.setdefault(photo["photo_id"], photo)
    links = root.css(next_selector) if next_selector else []
    targets = [absolute_url(base, attribute(link, "href")) for link in links]
    read = {f"field {name}": len(cards) - missing[name].total() for name in rules}
    return Listing(
        list(photos.values()),
        next((target for target in targets if target), None),
        {name: reasons for name, reasons in missing.items() if reasons},
        cards=len(cards),
        probe_matches={"card": len(cards), **read},
        unread_links=link_kinds(
            (node for card in cards for node in elements(card)),
            tuple(rule.link for rule in rules.values() if rule.link),
        ),
    )


def _parse_card(card: LexborNode, base: str, rules: Mapping[str, FieldRule]) -> dict[str, str]:
    """Return the fields of a card, "" for missing ones.

    A missing id is the last number in the URL of the photo's page or image; a missing constructor is inferred.
    """
    photo = dict.fromkeys(FIELDS, "") | {name: rule.read(name, card) for name, rule in rules.items()}
    for name in ("page_url", "image_url"):
        photo[name] = absolute_url(base, photo[name])
    photo["photographer"] = photo["photographer"].replace("©", "").strip()
    photo["constructor"] = photo["constructor"] or infer_constructor(photo["aircraft_type"])
    if not photo["photo_id"] and "photo_id" not in rules:
        numbers = re.findall(r"\d+", split_url(photo["page_url"]).path or split_url(photo["image_url"]).path)
        photo["photo_id"] = numbers[-1] if numbers else ""
    photo["photo_id"] = re.sub(r"[^A-Za-z0-9._-]+", "-", photo["photo_id"]).strip("-._")
    return photo
