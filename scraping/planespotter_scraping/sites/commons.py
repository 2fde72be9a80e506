"""Wikimedia Commons: queries for the MediaWiki API about a category, and the parser of the responses.

Each file has an author and a licence that allows reuse with attribution. Both are read for each photo; a file without
them is excluded. Labels are read twice, as free text: from the names of the file's categories and from its title. Where
the two agree, the deeper one counts; where they contradict each other, what they have in common is kept, and the
photo's `review` records both.

Rules of the site for programs (API:Etiquette and Wikimedia APIs/Rate limits on mediawiki.org, the user agent policy,
and the robot policy on wikitech.wikimedia.org): requests one after the other, several items per request, `maxlag=5` for
batch jobs, Retry-After honoured; a user agent with a contact, which then may send 200 requests a minute; at most two
images at a time and 25 Mbit/s; thumbnails in the standard widths only. robots.txt is for crawlers of pages; the API has
these rules instead.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from typing import NamedTuple

from selectolax.lexbor import LexborNode

from planespotter_scraping.labels.airframes import registrations_in
from planespotter_scraping.sites import ApiResponse, ApiSite, CategoryMembers, html_tree
from planespotter_scraping.sites.free_text import (
    Aircraft,
    aircraft_in,
    airline_of_category,
    airline_of_title,
    common_ancestor,
    deepest,
    text_before_type,
)
from planespotter_scraping.sites.html_tree import absolute_url, attribute, children, split_url, text_of
from planespotter_scraping.sites.slugs import squash

# Common thumbnail sizes on mediawiki.org; other widths are rejected or rendered slowly.
WIDTHS = (250, 330, 500, 960, 1280, 1920, 3840)
BATCH_SIZE = 50  # maximum number of scaled images in a response
METADATA = (
    *("Artist", "Attribution", "Credit", "DateTimeOriginal", "ImageDescription", "LicenseShortName", "LicenseUrl"),
    "UsageTerms",
)
MIME_TYPES = ("image/jpeg", "image/png", "image/webp")
LICENCES = re.compile(
    r"CC[ -]BY(?:[ -]SA)?(?:[ -]\d.*)?|CC0.*|CC-?Zero.*|Public domain.*|PD\b.*|No restrictions|FAL.*|"
    r"Free Art License.*|GFDL.*|OGL.*|Open Government Licen[cs]e.*|GODL.*|KOGL Type 1|dl-de/.*|Attribution|"
    r"Copyrighted free use|MIT|BSD|WTFPL",
    re.IGNORECASE,
)
NOT_FREE = re.compile(r"(?<![A-Za-z])(?:NC|ND)(?![A-Za-z])|non-?commercial|no-?deriv|fair use|non-?free", re.IGNORECASE)

# What a file shows instead of an aircraft from outside, by words in its title or categories.
NOT_EXTERIOR = {
    "cockpits": r"cockpits?|flight ?decks?|flight controls",
    "cabins": r"cabins?|interiors?|seats?|seating|galleys?|lavator(?:y|ies)|in-?flight (?:entertainment|meals?|service)"
    r"|cargo holds?",
    "views out of the window": r"window|(?:wing )?views? from|wing ?views?|(?:seen|taken) from (?:a|an|the|inside)",
    "engines and other details": r"(?<!-)engines?|winglets?|sharklets?|turbofans?|landing gears?|undercarriage"
    r"|details?|close-?ups?|doors?|antennas?",
    "drawings and diagrams": r"diagrams?|drawings?|three-?views?|line ?art|silhouettes?|logos?|icons?|maps?|charts?|svg"
    r"|illustrations?|renderings?|paintings?|posters?|stamps?",
    "models and simulators": r"(?:scale|paper|plastic|lego|toy) (?:models?|aircraft)|models of|mock-?ups?|simulat\w+",
    "films and documents": r"videos?|films?|audio|pdf|documents?|safety cards?|screenshots?",
}
# An aircraft "with winglets" or "with two engines" is complete, and "by model" is a sort order.
HARMLESS = re.compile(
    r"\bwith (?:\w+[ -]){0,2}(?:engines?|winglets?|sharklets?|doors?|landing gears?|logos?)\b|\bby \w+", re.IGNORECASE
)
# Words that mean a place or an event in a title, but the subject of the files in a category's name.
SKIPPED_CATEGORIES = {
    "accidents": r"accidents?|incidents?|crash(?:es)?|wrecks?|hijackings?|scrapp(?:ed|ing)|fires?",
    "parts and production": r"parts|components|production|assembly|under construction|fuselages?|nose sections?",
    "models and simulators": r"models?",
    "people": r"people|crews?|passengers|pilots|flight attendants",
}
FIELDS = (
    *("photo_id", "page_url", "image_url", "constructor", "aircraft_type", "airline", "registration", "photographer"),
    *("taken_on", "licence", "licence_url", "credit", "title", "caption", "original_size", "original_sha1", "review"),
)
MAX_CAPTION_LENGTH = 1000

MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
ISO_DATE = re.compile(r"(?<!\d)((?:19|20)\d\d)(?:[-:](\d\d)(?:[-:](\d\d))?)?(?!\d)")
WORD_DATE = re.compile(rf"(?:(\d{{1,2}})\.? )?({'|'.join(MONTHS)})[a-z]*\.?,? ((?:19|20)\d\d)(?!\d)", re.IGNORECASE)


def build_query(category: str, width: int, continuation: Mapping[str, str]) -> dict[str, str]:
    """Return the API parameters to query the files and subcategories of a category.

    Args:
        category: Name of the category.
        width: Width of the scaled images in pixels.
        continuation: {} for the first query, then the continuation of the previous response.
    """
    return {
        "action": "query",
        "format": "json",
        "formatversion": "2",
        "maxlag": "5",
        "redirects": "1",
        "generator": "categorymembers",
        "gcmtitle": f"Category:{category}",
        "gcmtype": "subcat|file",
        "gcmlimit": str(BATCH_SIZE),
        "prop": "imageinfo|categories",
        "iiprop": "url|size|mime|sha1|extmetadata",
        "iiurlwidth": str(width),
        "iiextmetadatafilter": "|".join(METADATA),
        "iiextmetadatalanguage": "en",
        "clshow": "!hidden",
        "cllimit": "max",
        **continuation,
    }


def read_response(content: object) -> ApiResponse:
    """Return the status of a response from its JSON. Any JSON is accepted."""
    if not isinstance(content, dict):
        return ApiResponse(error="The response is JSON, but not of a MediaWiki API.")
    errors = [_dict(error) for error in (content.get("error"), *_list(content.get("errors"))) if error]
    if errors:
        code = _text(errors[0].get("code")) or "unknown"
        info = _text(errors[0].get("info")) or _text(errors[0].get("text")) or "unknown error"
        lag = errors[0].get("lag")
        seconds = float(lag) if isinstance(lag, (int, float)) and 0 <= lag <= 3600 else 5.0
        busy = code in ("maxlag", "ratelimited", "readonly") or code.startswith("internal_api_error")
        return ApiResponse(error=f"{info.rstrip('.')} ({code}).", busy=busy, retry_seconds=seconds)
    warnings = []
    for module, warning in _dict(content.get("warnings")).items():
        text = _text(_dict(warning).get("warnings")) or _text(_dict(warning).get("*"))
        warnings += [f"{_text(module)}: {line}" for line in text.split("\n") if line]
    warnings += [_text(_dict(warning).get("text")) for warning in _list(content.get("warnings"))]
    continuation = {_text(key): _text(value) for key, value in _dict(content.get("continue")).items()}
    complete = bool(content.get("batchcomplete")) or "batchcomplete" in content or not continuation
    return ApiResponse(
        warnings=tuple(warning for warning in warnings if warning),
        continuation=continuation or None,
        batch_complete=complete,
    )


def parse(contents: Sequence[object], url: str, category_path: Sequence[str]) -> CategoryMembers:
    """Parse the members of a category.

    Args:
        contents: JSON of all responses of a batch. Any JSON is accepted.
        url: URL of the site.
        category_path: Names of the categories from a requested one down to this one.

    Returns:
        The members. Files that do not show an aircraft from outside, or lack an author or a free licence, are excluded
        and counted; so are categories.
    """
    photos: dict[str, dict[str, str]] = {}
    categories: dict[str, None] = {}
    missing: defaultdict[str, Counter[str]] = defaultdict(Counter)
    excluded: Counter[str] = Counter()
    skipped: Counter[str] = Counter()
    for page in _merge_pages(contents):
        if page.get("ns") == 14:
            name = _without_namespace(_text(page.get("title")))
            reason = _unsuitable(name, NOT_EXTERIOR) or _unsuitable(name, SKIPPED_CATEGORIES)
            if reason:
                skipped[reason] += 1
            elif name:
                categories[name] = None
        elif page.get("ns") == 6 and not page.get("missing"):
            photo, reasons, exclusion = _parse_file(page, url, category_path)
            if exclusion:
                excluded[exclusion] += 1
                continue
            photos[photo["photo_id"]] = photo
            for name, reason in reasons.items():
                missing[name][reason] += 1
    return CategoryMembers(list(photos.values()), list(categories), dict(missing), excluded, skipped)


def _merge_pages(contents: Sequence[object]) -> list[dict[str, object]]:
    """Return the pages of all responses, each once: a large batch comes in parts that repeat pages."""
    pages: dict[object, dict[str, object]] = {}
    for content in contents:
        listed = _dict(_dict(content).get("query")).get("pages")
        for page in _list(listed) or list(_dict(listed).values()):
            page = _dict(page)
            merged = pages.setdefault((_text(page.get("pageid")), _text(page.get("title"))), {})
            categories = [*_list(merged.get("categories")), *_list(page.get("categories"))]
            merged.update(page)
            merged["categories"] = categories
    return list(pages.values())


def _parse_file(
    page: Mapping[str, object], url: str, category_path: Sequence[str]
) -> tuple[dict[str, str], dict[str, str], str]:
    """Return a file's photo, the reasons for its empty fields, and why it is excluded, "" if it is not."""
    photo = dict.fromkeys(FIELDS, "")
    info = _dict(next(iter(_list(page.get("imageinfo"))), None))
    metadata = {name: _dict(value).get("value") for name, value in _dict(info.get("extmetadata")).items()}
    texts = {name: _visible_text(_text(metadata.get(name))) for name in METADATA}
    categories = [_without_namespace(_text(_dict(entry).get("title"))) for entry in _list(page.get("categories"))]

    photo["photo_id"] = _number(page.get("pageid"))
    photo["title"] = re.sub(r"\.[A-Za-z]{3,4}$", "", _without_namespace(_text(page.get("title"))))
    photo["page_url"] = _web_url(url, info.get("descriptionurl"))
    photo["image_url"] = _web_url(url, info.get("thumburl")) or _web_url(url, info.get("url"))
    photo["photographer"] = texts["Artist"]
    photo["licence"] = texts["LicenseShortName"] or texts["UsageTerms"]
    photo["licence_url"] = _web_url(url, metadata.get("LicenseUrl"))
    photo["credit"] = texts["Attribution"] or texts["Credit"]
    photo["caption"] = texts["ImageDescription"][:MAX_CAPTION_LENGTH]
    photo["taken_on"] = taken_on(_text(metadata.get("DateTimeOriginal")))
    size = [_number(info.get(side)) for side in ("width", "height")]
    photo["original_size"] = "x".join(size) if all(size) else ""
    photo["original_sha1"] = re.sub(r"[^0-9a-f]", "", _text(info.get("sha1")))[:40]

    exclusion = _exclusion_reason(photo, _text(info.get("mime")), categories)
    if exclusion:
        return photo, {}, exclusion
    labels = _read_labels(photo["title"], categories, category_path)
    reasons = {name: label.missing for name, label in labels.items() if not label.value}
    photo |= {name: label.value for name, label in labels.items()}
    photo["review"] = "; ".join(label.review for label in labels.values() if label.review)
    for name in ("page_url", "taken_on", "caption", "licence_url"):
        if not photo[name]:
            reasons[name] = "not on the file's page"
    return photo, reasons, ""


def _exclusion_reason(photo: Mapping[str, str], mime: str, categories: Iterable[str]) -> str:
    """Return why a file is excluded from the catalog, "" if it is not."""
    if not photo["photo_id"] or not photo["image_url"]:
        return "the page has no file"
    if mime not in MIME_TYPES:
        return f"not a JPEG, PNG or WebP: {mime[:40] or 'unknown type'}"
    if not photo["photographer"]:
        return "author unknown"
    if not photo["licence"]:
        return "licence unknown"
    if NOT_FREE.search(photo["licence"]) or LICENCES.fullmatch(photo["licence"]) is None:
        return f"not a known free licence: {photo['licence'][:60]}"
    for text in (photo["title"], *categories):
        if reason := _unsuitable(text, NOT_EXTERIOR):
            return f"not a complete aircraft from outside: {reason}"
    return ""


def _unsuitable(text: str, words: Mapping[str, str]) -> str:
    """Return the key of `words` whose expression matches `text`, "" if none does."""
    text = HARMLESS.sub("", text.replace("_", " "))
    return next((key for key, some in words.items() if re.search(rf"\b(?:{some})\b", text, re.IGNORECASE)), "")


class Reading(NamedTuple):
    """One label of a file: its value, the reason if it is missing, and a note for review."""

    value: str
    missing: str = ""
    review: str = ""


NOT_IN_TEXT = "neither in its categories nor in its title"
SEVERAL_IN_TEXT = "several in its categories and title"


def _read_labels(title: str, categories: Sequence[str], category_path: Sequence[str]) -> dict[str, Reading]:
    """Return constructor, aircraft_type, registration and airline of a file."""
    own = [*categories, *category_path[-1:]]
    in_categories = deepest(aircraft for name in own for aircraft in aircraft_in(name))
    for name in reversed(category_path[:-1]):  # if the file's categories name no type, the nearest ancestor that does
        in_categories = in_categories or aircraft_in(name)
    aircraft, missing, review = _agreed_aircraft(in_categories, aircraft_in(title, bare=True))
    return {
        "constructor": Reading(aircraft.constructor, missing),
        "aircraft_type": Reading(aircraft.aircraft_type, missing, review),
        "registration": _registration(title, own),
        "airline": _airline(title, categories, category_path),
    }


def _agreed_aircraft(in_categories: Sequence[Aircraft], in_title: Sequence[Aircraft]) -> tuple[Aircraft, str, str]:
    """Return the deepest aircraft that categories and title agree on, why it is not deeper, and a note for review."""
    several = len(in_categories) > 1 or len(in_title) > 1
    readings = []
    for origin, aircraft in (("categories", in_categories), ("title", in_title)):
        if aircraft:
            names = " and ".join(f"{item.constructor} {item.aircraft_type}".strip() for item in aircraft)
            readings.append(f"{origin} {names}")
    note = f"aircraft_type: {', '.join(readings)}"
    if in_categories and in_title:
        both = [item for item in in_categories if any(other.contains(item) for other in in_title)]
        both += [other for other in in_title if any(item.contains(other) for item in in_categories)]
        agreed = deepest(both)
    else:
        agreed = deepest((*in_categories, *in_title))
    if len(agreed) == 1:
        return agreed[0], NOT_IN_TEXT, note if several else ""
    candidates = [*in_categories, *in_title]
    if not candidates:
        return common_ancestor(()), NOT_IN_TEXT, ""
    return common_ancestor(candidates), SEVERAL_IN_TEXT, note


def _registration(title: str, categories: Iterable[str]) -> Reading:
    """Return the registration that categories and title agree on."""
    in_categories = {registration for name in categories for registration in registrations_in(name)}
    in_title = registrations_in(title)
    either = set() if in_categories and in_title else in_categories | in_title
    agreed = in_categories & in_title or either
    if len(agreed) == 1:
        return Reading(agreed.pop())
    candidates = sorted(in_categories | in_title)
    if not candidates:
        return Reading("", NOT_IN_TEXT)
    return Reading("", SEVERAL_IN_TEXT, f"registration: {' or '.join(candidates)}")


def _airline(title: str, categories: Sequence[str], category_path: Sequence[str]) -> Reading:
    """Return the airline of categories such as "<type> of <airline>", else one that title and categories agree on."""
    from_title = airline_of_title(title)
    named = [airline_of_category(name) for name in (*categories, *category_path[-1:])]
    certain = {name for name, is_certain in named if is_certain}
    for name in reversed(category_path[:-1]):
        certain = certain or {airline for airline, is_certain in [airline_of_category(name)] if is_certain}
    prefix = squash(text_before_type(title))
    in_title = {name for name, _ in named if len(squash(name)) > 2 and squash(name) in prefix}
    airlines = certain
    if len(certain) > 1:
        airlines = (certain & in_title) or {name for name in certain if squash(name) == squash(from_title)} or certain
    elif not certain:
        airlines = {from_title} if from_title else {name for name in in_title if not registrations_in(name)}
    if len(airlines) > 1:  # Lufthansa and Lufthansa Cargo: the longer name is more precise
        longest = max(airlines, key=lambda name: (len(squash(name)), name))
        airlines = {longest} if all(squash(name) in squash(longest) for name in airlines) else airlines
    if len(airlines) != 1:
        missing = "several in its categories" if airlines else NOT_IN_TEXT
        return Reading("", missing, f"airline: {' or '.join(sorted(airlines))}" if airlines else "")
    (airline,) = airlines
    differ = from_title and squash(from_title) not in squash(airline) and squash(airline) not in squash(from_title)
    return Reading(airline, "", f"airline: categories {airline}, title {from_title}" if differ else "")


def taken_on(text: str) -> str:
    """Return the date in a text as ISO 8601: the day, else the month or the year; "" without one.

    Args:
        text: HTML of the date on a file's page.
    """
    times = [attribute(node, "datetime") for node in html_tree.parse(text).css("time")]
    for candidate in (*times, _visible_text(text)):
        dates = [
            (match.start(), match[3], str(MONTHS.index(match[2].lower()) + 1), match[1] or "")
            for match in WORD_DATE.finditer(candidate)
        ]
        dates += [(match.start(), match[1], match[2] or "", match[3] or "") for match in ISO_DATE.finditer(candidate)]
        for _, year, month, day in sorted(dates):
            try:
                first_day = date(int(year), int(month or 1), int(day or 1))
            except ValueError:
                continue
            return first_day.isoformat()[: 10 if day else 7 if month else 4]
    return ""


def _visible_text(html: str) -> str:
    """Return the visible text of an HTML fragment."""
    pieces: list[str] = []
    pending: list[LexborNode | str] = [html_tree.parse(html)]
    while pending:
        item = pending.pop()
        if isinstance(item, str):
            pieces.append(item)
        elif not item.is_element_node:
            pieces.append(text_of(item))
        elif not re.search(r"display:\s*none", attribute(item, "style"), re.IGNORECASE):
            space = [" "] if item.tag in ("br", "dd", "div", "dt", "li", "p", "td", "th", "tr") else []
            pending.extend([*space, *reversed(children(item)), *space])
    return " ".join("".join(pieces).split())


def _web_url(url: str, value: object) -> str:
    """Return `value` as an absolute HTTP URL, "" if it is something else."""
    absolute = absolute_url(url, "".join(_text(value).split()))
    parts = split_url(absolute)
    return absolute if parts.scheme in ("http", "https") and parts.netloc else ""


def _without_namespace(title: str) -> str:
    """Return the title of a page without its namespace, whose name depends on the wiki's language."""
    return " ".join(title.partition(":")[2].replace("_", " ").split())


def _number(value: object) -> str:
    """Return a positive integer as text, "" for anything else."""
    fits = isinstance(value, int) and not isinstance(value, bool) and 0 < value < 10**15
    return str(value) if fits else ""


def _text(value: object) -> str:
    """Return a string or number as text that can be stored, "" for anything else."""
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        return ""
    if isinstance(value, int) and abs(value) >= 10**15:
        return ""
    encodable = str(value).encode(errors="replace").decode()
    return re.sub(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]", "", encodable)  # a terminal would interpret control characters


def _dict(value: object) -> dict[str, object]:
    """Return `value` if it is a JSON object, otherwise an empty one."""
    return value if isinstance(value, dict) else {}


def _list(value: object) -> list[object]:
    """Return `value` if it is a JSON array, otherwise an empty one."""
    return value if isinstance(value, list) else []


SITE = ApiSite(
    name="commons",
    url="https://commons.wikimedia.org",
    api_path="/w/api.php",
    build_query=build_query,
    read_response=read_response,
    parse=parse,
    widths=WIDTHS,
    requests_per_minute=100,
    # The most common models, in the spelling of Commons.
    categories=(
        "Airbus A220-100",
        "Airbus A220-300",
        "Airbus A300-600",
        "Airbus A310",
        "Airbus A318",
        "Airbus A319-100",
        "Airbus A319neo",
        "Airbus A320-200",
        "Airbus A320neo",
        "Airbus A321-200",
        "Airbus A321neo",
        "Airbus A330-200",
        "Airbus A330-300",
        "Airbus A330-900",
        "Airbus A340-300",
        "Airbus A340-600",
        "Airbus A350-900",
        "Airbus A350-1000",
        "Airbus A380",
        "Boeing 717",
        "Boeing 737-300",
        "Boeing 737-400",
        "Boeing 737-500",
        "Boeing 737-700",
        "Boeing 737-800",
        "Boeing 737-900",
        "Boeing 737 MAX 8",
        "Boeing 737 MAX 9",
        "Boeing 747-400",
        "Boeing 747-8",
        "Boeing 757-200",
        "Boeing 757-300",
        "Boeing 767-300",
        "Boeing 767-400ER",
        "Boeing 777-200",
        "Boeing 777-300ER",
        "Boeing 777F",
        "Boeing 787-8",
        "Boeing 787-9",
        "Boeing 787-10",
    ),
)
