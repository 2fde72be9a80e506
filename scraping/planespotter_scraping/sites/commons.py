"""Wikimedia Commons: what to ask its API about a category, and how to read the answers.

Each file is of an author under a licence that lets anyone use it who names both, so both are read for each photo, and
a photo without them is left out. Labels are read twice, and as text only, since nothing is marked up: from the names
of the categories that a file is in, and from its title. Where the two do not contradict each other the deeper one
counts; where they do, what they share is kept, and the photo's `review` says what each says.

What the site asks of programs, as far as its pages say (API:Etiquette and Wikimedia APIs/Rate limits on mediawiki.org,
the user agent policy, and the robot policy on wikitech.wikimedia.org): one request after the other, several things in
one request, `maxlag=5` for work that nobody waits for, and the Retry-After of an answer honoured; a user agent with a
contact of whoever runs the program, who may then ask 200 times a minute; two images at a time and 25 Mbit/s at most;
thumbnails in the standard widths only. robots.txt is for crawlers of pages: the API has these rules instead.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import date

from selectolax.lexbor import LexborNode

from planespotter_scraping.sites import Answer, ApiSite, Members, html_tree
from planespotter_scraping.sites.free_text import (
    Aircraft,
    ahead_of_type,
    aircraft_in,
    deepest,
    operator_in,
    operator_of,
    registrations_in,
    shared,
)
from planespotter_scraping.sites.html_tree import absolute_url, attribute, children, split_url, text_of
from planespotter_scraping.sites.slugs import squash

# Common thumbnail sizes on mediawiki.org; other widths are refused or made slowly.
WIDTHS = (250, 330, 500, 960, 1280, 1920, 3840)
BATCH = 50  # as many scaled images as the API returns at a time
METADATA = (
    *("Artist", "Attribution", "Credit", "DateTimeOriginal", "ImageDescription", "LicenseShortName", "LicenseUrl"),
    "UsageTerms",
)
FORMATS = ("image/jpeg", "image/png", "image/webp")
LICENCES = re.compile(
    r"CC[ -]BY(?:[ -]SA)?(?:[ -]\d.*)?|CC0.*|CC-?Zero.*|Public domain.*|PD\b.*|No restrictions|FAL.*|"
    r"Free Art License.*|GFDL.*|OGL.*|Open Government Licen[cs]e.*|GODL.*|KOGL Type 1|dl-de/.*|Attribution|"
    r"Copyrighted free use|MIT|BSD|WTFPL",
    re.IGNORECASE,
)
NOT_FREE = re.compile(r"(?<![A-Za-z])(?:NC|ND)(?![A-Za-z])|non-?commercial|no-?deriv|fair use|non-?free", re.IGNORECASE)

# What is no photo of a whole aircraft from outside, by the words that its title or category has.
NO_EXTERIOR = {
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
# An aircraft "with winglets" or "with two engines" is a whole one, and "by model" is an order.
BESIDES = re.compile(
    r"\bwith (?:\w+[ -]){0,2}(?:engines?|winglets?|sharklets?|doors?|landing gears?|logos?)\b|\bby \w+", re.IGNORECASE
)
# Words that name a place or an event in a title, but in a category's name what its files are about.
ODD_CATEGORIES = {
    "accidents": r"accidents?|incidents?|crash(?:es)?|wrecks?|hijackings?|scrapp(?:ed|ing)|fires?",
    "parts and production": r"parts|components|production|assembly|under construction|fuselages?|nose sections?",
    "models and simulators": r"models?",
    "people": r"people|crews?|passengers|pilots|flight attendants",
}
FIELDS = (
    *("photo_id", "page_url", "image_url", "constructor", "aircraft_type", "airline", "registration", "photographer"),
    *("taken_on", "licence", "licence_url", "credit", "title", "caption", "original_size", "original_sha1", "review"),
)
CAPTION_LETTERS = 1000

MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
ISO_DATE = re.compile(r"(?<!\d)((?:19|20)\d\d)(?:[-:](\d\d)(?:[-:](\d\d))?)?(?!\d)")
WORD_DATE = re.compile(rf"(?:(\d{{1,2}})\.? )?({'|'.join(MONTHS)})[a-z]*\.?,? ((?:19|20)\d\d)(?!\d)", re.IGNORECASE)


def query(category: str, width: int, following: Mapping[str, str]) -> dict[str, str]:
    """Return what to ask about the files and categories in `category`, images scaled to `width` pixels.

    `following` is {} for the first question, and then that of the answer before.
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
        "gcmlimit": str(BATCH),
        "prop": "imageinfo|categories",
        "iiprop": "url|size|mime|sha1|extmetadata",
        "iiurlwidth": str(width),
        "iiextmetadatafilter": "|".join(METADATA),
        "iiextmetadatalanguage": "en",
        "clshow": "!hidden",
        "cllimit": "max",
        **following,
    }


def read(answer: object) -> Answer:
    """Return how an answer of the API is to be taken: as an error, as a part, or as a whole. Any JSON is accepted."""
    if not isinstance(answer, dict):
        return Answer(error="It answers with JSON, but not with that of a MediaWiki API.")
    errors = [_dict(error) for error in (answer.get("error"), *_list(answer.get("errors"))) if error]
    if errors:
        code = _text(errors[0].get("code")) or "unknown"
        said = _text(errors[0].get("info")) or _text(errors[0].get("text")) or "it does not say why"
        lag = errors[0].get("lag")
        seconds = float(lag) if isinstance(lag, (int, float)) and 0 <= lag <= 3600 else 5.0
        busy = code in ("maxlag", "ratelimited", "readonly") or code.startswith("internal_api_error")
        return Answer(error=f"{said.rstrip('.')} ({code}).", busy=busy, seconds=seconds)
    notes = []
    for module, warning in _dict(answer.get("warnings")).items():
        text = _text(_dict(warning).get("warnings")) or _text(_dict(warning).get("*"))
        notes += [f"{_text(module)}: {line}" for line in text.split("\n") if line]
    notes += [_text(_dict(warning).get("text")) for warning in _list(answer.get("warnings"))]
    following = {_text(key): _text(value) for key, value in _dict(answer.get("continue")).items()}
    complete = bool(answer.get("batchcomplete")) or "batchcomplete" in answer or not following
    return Answer(notes=tuple(note for note in notes if note), following=following or None, complete=complete)


def parse(answers: Sequence[object], url: str, chain: Sequence[str]) -> Members:
    """Return what the `answers` that make up a batch say of the last category of `chain`.

    `chain` are the names of the categories that led there, from the first one. `url` is where the site is. Files that
    are no photos of an aircraft from outside, or that lack an author or a free licence, are counted by the reason
    why they are left out, as are the categories. Any JSON is accepted.
    """
    photos: dict[str, dict[str, str]] = {}
    categories: dict[str, None] = {}
    missing: defaultdict[str, Counter[str]] = defaultdict(Counter)
    excluded: Counter[str] = Counter()
    skipped: Counter[str] = Counter()
    for page in _merged(answers):
        if page.get("ns") == 14:
            name = _behind_colon(_text(page.get("title")))
            reason = _unfit(name, NO_EXTERIOR) or _unfit(name, ODD_CATEGORIES)
            if reason:
                skipped[reason] += 1
            elif name:
                categories[name] = None
        elif page.get("ns") == 6 and not page.get("missing"):
            photo, reasons, reason = _read_file(page, url, chain)
            if reason:
                excluded[reason] += 1
                continue
            photos[photo["photo_id"]] = photo
            for name, why in reasons.items():
                missing[name][why] += 1
    return Members(list(photos.values()), list(categories), dict(missing), excluded, skipped)


def _merged(answers: Sequence[object]) -> list[dict[str, object]]:
    """Return the pages of all answers, each once: a batch that is too long comes in parts, which name pages again."""
    pages: dict[object, dict[str, object]] = {}
    for answer in answers:
        listed = _dict(_dict(answer).get("query")).get("pages")
        for page in _list(listed) or list(_dict(listed).values()):
            page = _dict(page)
            whole = pages.setdefault((_text(page.get("pageid")), _text(page.get("title"))), {})
            categories = [*_list(whole.get("categories")), *_list(page.get("categories"))]
            whole.update(page)
            whole["categories"] = categories
    return list(pages.values())


def _read_file(
    page: Mapping[str, object], url: str, chain: Sequence[str]
) -> tuple[dict[str, str], dict[str, str], str]:
    """Return the photo of a page, the reasons for its empty fields, and why it is left out, "" if it is not."""
    photo = dict.fromkeys(FIELDS, "")
    info = _dict(next(iter(_list(page.get("imageinfo"))), None))
    metadata = {name: _dict(value).get("value") for name, value in _dict(info.get("extmetadata")).items()}
    said = {name: _words(_text(metadata.get(name))) for name in METADATA}
    categories = [_behind_colon(_text(_dict(entry).get("title"))) for entry in _list(page.get("categories"))]

    photo["photo_id"] = _number(page.get("pageid"))
    photo["title"] = re.sub(r"\.[A-Za-z]{3,4}$", "", _behind_colon(_text(page.get("title"))))
    photo["page_url"] = _address(url, info.get("descriptionurl"))
    photo["image_url"] = _address(url, info.get("thumburl")) or _address(url, info.get("url"))
    photo["photographer"] = said["Artist"]
    photo["licence"] = said["LicenseShortName"] or said["UsageTerms"]
    photo["licence_url"] = _address(url, metadata.get("LicenseUrl"))
    photo["credit"] = said["Attribution"] or said["Credit"]
    photo["caption"] = said["ImageDescription"][:CAPTION_LETTERS]
    photo["taken_on"] = taken_on(_text(metadata.get("DateTimeOriginal")))
    size = [_number(info.get(side)) for side in ("width", "height")]
    photo["original_size"] = "x".join(size) if all(size) else ""
    photo["original_sha1"] = re.sub(r"[^0-9a-f]", "", _text(info.get("sha1")))[:40]

    reason = _why_not(photo, _text(info.get("mime")), categories)
    if reason:
        return photo, {}, reason
    readings = _read_labels(photo["title"], categories, chain)
    reasons = {name: why for name, (value, why, _) in readings.items() if not value}
    photo |= {name: value for name, (value, _, _) in readings.items()}
    photo["review"] = "; ".join(note for _, _, note in readings.values() if note)
    for name in ("page_url", "taken_on", "caption", "licence_url"):
        if not photo[name]:
            reasons[name] = "the file's page does not say"
    return photo, reasons, ""


def _why_not(photo: Mapping[str, str], mime: str, categories: Iterable[str]) -> str:
    """Return why a file is not to be a photo of the catalog, "" if it is."""
    if not photo["photo_id"] or not photo["image_url"]:
        return "no file behind the page"
    if mime not in FORMATS:
        return f"no JPEG, PNG or WebP, but {mime[:40] or 'of no known kind'}"
    if not photo["photographer"]:
        return "no author"
    if not photo["licence"]:
        return "no licence"
    if NOT_FREE.search(photo["licence"]) or LICENCES.fullmatch(photo["licence"]) is None:
        return f"the licence {photo['licence'][:60]}, which is none of those known as free"
    for text in (photo["title"], *categories):
        if reason := _unfit(text, NO_EXTERIOR):
            return f"no whole aircraft from outside, but {reason}"
    return ""


def _unfit(text: str, words: Mapping[str, str]) -> str:
    """Return what `text` says it shows instead of an aircraft from outside, "" if nothing of the kind."""
    text = BESIDES.sub("", text.replace("_", " "))
    return next((what for what, some in words.items() if re.search(rf"\b(?:{some})\b", text, re.IGNORECASE)), "")


Reading = tuple[str, str, str]  # the value, why it is empty, and what is to be reviewed


def _read_labels(title: str, categories: Sequence[str], chain: Sequence[str]) -> dict[str, Reading]:
    """Return constructor, aircraft_type, registration and airline of a file."""
    own = [*categories, *chain[-1:]]
    by_categories = deepest(one for name in own for one in aircraft_in(name))
    for name in reversed(chain[:-1]):  # the nearest category that names a type, if the file's own do not
        by_categories = by_categories or aircraft_in(name)
    aircraft, why, note = _agreed(by_categories, aircraft_in(title, naked=True))
    return {
        "constructor": (aircraft.constructor, why, ""),
        "aircraft_type": (aircraft.aircraft_type, why, note),
        "registration": _registration(title, own),
        "airline": _airline(title, categories, chain),
    }


def _agreed(by_categories: Sequence[Aircraft], by_title: Sequence[Aircraft]) -> tuple[Aircraft, str, str]:
    """Return the aircraft that both readings allow, as deep as one of them goes; why it is not deeper; and a note."""
    several = len(by_categories) > 1 or len(by_title) > 1
    said = []
    for whose, some in (("its categories say", by_categories), ("its title says", by_title)):
        if some:
            said.append(f"{whose} {' and '.join(f'{one.constructor} {one.aircraft_type}'.strip() for one in some)}")
    note = f"aircraft_type: {', '.join(said)}"
    if by_categories and by_title:
        both = [one for one in by_categories if any(other.holds(one) for other in by_title)]
        both += [other for other in by_title if any(one.holds(other) for one in by_categories)]
        found = deepest(both)
    else:
        found = deepest((*by_categories, *by_title))
    if len(found) == 1:
        return found[0], "neither its categories nor its title say", note if several else ""
    every = [*by_categories, *by_title]
    if not every:
        return shared(()), "neither its categories nor its title say", ""
    return shared(every), "its categories and its title name several", note


def _registration(title: str, categories: Iterable[str]) -> Reading:
    """Return the registration that categories and title agree on."""
    by_categories = {one for name in categories for one in registrations_in(name)}
    by_title = registrations_in(title)
    found = by_categories & by_title or (by_categories | by_title if not (by_categories and by_title) else set())
    if len(found) == 1:
        return found.pop(), "", ""
    every = sorted(by_categories | by_title)
    if not every:
        return "", "neither its categories nor its title say", ""
    return "", "its categories and its title name several", f"registration: {' or '.join(every)}"


def _airline(title: str, categories: Sequence[str], chain: Sequence[str]) -> Reading:
    """Return the airline: of the categories "<type> of <airline>", else one that title and categories agree on."""
    by_title = operator_in(title)
    named = [operator_of(name) for name in (*categories, *chain[-1:])]
    sure = {name for name, is_sure in named if is_sure}
    for name in reversed(chain[:-1]):
        sure = sure or {found for found, is_sure in [operator_of(name)] if is_sure}
    ahead = squash(ahead_of_type(title))
    in_title = {name for name, _ in named if len(squash(name)) > 2 and squash(name) in ahead}
    found = sure
    if len(sure) > 1:
        found = (sure & in_title) or {name for name in sure if squash(name) == squash(by_title)} or sure
    elif not sure:
        found = {by_title} if by_title else {name for name in in_title if not registrations_in(name)}
    if len(found) > 1:  # Lufthansa and Lufthansa Cargo: the longer one is the more exact
        longest = max(found, key=lambda name: (len(squash(name)), name))
        found = {longest} if all(squash(name) in squash(longest) for name in found) else found
    if len(found) != 1:
        why = "its categories name several" if found else "neither its categories nor its title say"
        return "", why, f"airline: {' or '.join(sorted(found))}" if found else ""
    (airline,) = found
    differ = by_title and squash(by_title) not in squash(airline) and squash(airline) not in squash(by_title)
    return airline, "", f"airline: its categories say {airline}, its title {by_title}" if differ else ""


def taken_on(text: str) -> str:
    """Return the day, else the month or year, that a date on a file's page names, as ISO 8601; "" if none."""
    times = [attribute(node, "datetime") for node in html_tree.parse(text).css("time")]
    for candidate in (*times, _words(text)):
        found = [
            (words.start(), words[3], str(MONTHS.index(words[2].lower()) + 1), words[1] or "")
            for words in WORD_DATE.finditer(candidate)
        ]
        found += [
            (numbers.start(), numbers[1], numbers[2] or "", numbers[3] or "")
            for numbers in ISO_DATE.finditer(candidate)
        ]
        for _, year, month, day in sorted(found):
            try:
                whole = date(int(year), int(month or 1), int(day or 1))
            except ValueError:
                continue
            return whole.isoformat()[: 10 if day else 7 if month else 4]
    return ""


def _words(html: str) -> str:
    """Return the visible text of a piece of HTML."""
    pieces: list[str] = []
    waiting: list[LexborNode | str] = [html_tree.parse(html)]
    while waiting:
        child = waiting.pop()
        if isinstance(child, str):
            pieces.append(child)
        elif not child.is_element_node:
            pieces.append(text_of(child))
        elif not re.search(r"display:\s*none", attribute(child, "style"), re.IGNORECASE):
            space = [" "] if child.tag in ("br", "dd", "div", "dt", "li", "p", "td", "th", "tr") else []
            waiting.extend([*space, *reversed(children(child)), *space])
    return " ".join("".join(pieces).split())


def _address(url: str, value: object) -> str:
    """Return `value` as a whole address of the web, "" if it is none."""
    address = absolute_url(url, "".join(_text(value).split()))
    return address if split_url(address).scheme in ("http", "https") and split_url(address).netloc else ""


def _behind_colon(title: str) -> str:
    """Return the title of a page without its namespace, which each wiki names in its own language."""
    return " ".join(title.partition(":")[2].replace("_", " ").split())


def _number(value: object) -> str:
    """Return a whole number above zero as text, "" for anything else."""
    fits = isinstance(value, int) and not isinstance(value, bool) and 0 < value < 10**15
    return str(value) if fits else ""


def _text(value: object) -> str:
    """Return a text or a number as text that can be stored, "" for anything else."""
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        return ""
    if isinstance(value, int) and abs(value) >= 10**15:
        return ""
    stored = str(value).encode(errors="replace").decode()
    return re.sub(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]", "", stored)  # a terminal would obey them


def _dict(value: object) -> dict[str, object]:
    """Return `value` if it is a JSON object, else an empty one."""
    return value if isinstance(value, dict) else {}


def _list(value: object) -> list[object]:
    """Return `value` if it is a JSON array, else an empty one."""
    return value if isinstance(value, list) else []


SITE = ApiSite(
    name="commons",
    address="https://commons.wikimedia.org",
    path="/w/api.php",
    query=query,
    read=read,
    parse=parse,
    widths=WIDTHS,
    requests_per_minute=100,
    # The models that airports see most, as Commons names them.
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
