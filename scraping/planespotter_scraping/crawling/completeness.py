"""Completeness: notice that a crawl misses photos of a list, or reads the same ones without end.

The signs work on any site: far fewer cards than on earlier pages, pictures that lie in none of the cards that the
parser found, totals such as "48 of 312", and a cover that keeps the page from scrolling.
"""

import re
import statistics
from collections import Counter
from collections.abc import Collection

from playwright.async_api import Page
from selectolax.lexbor import LexborNode

from planespotter_photos.counts import count_noun
from planespotter_scraping.sites import Listing, Site, html_tree
from planespotter_scraping.sites.html_tree import absolute_url, attribute, elements, split_url

MIN_USUAL_CARDS = 8  # pages with fewer cards are not compared
MIN_MISSED = 4  # pictures outside of all cards; fewer may be a photo of the day
MISSED_SHARE = 0.2  # of the cards
# "8 of 24", "1-8 of 24", "8 / 24", in several languages; not "page 1 of 3".
TOTAL = re.compile(
    r"(?<![\w.,/])(\d{1,3}(?:[., ]\d{3})+|\d+)\s*(?:of|out of|von|de|di|da|sur|van|av|af|z|из|з|/)\s*"
    r"(?:about |ca\. )?(\d{1,3}(?:[., ]\d{3})+|\d+)(?![\w/])",
    re.IGNORECASE,
)
# A line that is nothing but a total: "24 photos", "Results: 24", "24 Treffer".
THINGS = (
    r"photos?|pictures?|images?|results?|items|entries|fotos?|bilder|treffer|ergebnisse|résultats?|resultados?|imágenes"
    r"|risultati|immagini|foto's|afbeeldingen|resultaten|zdjęcia|zdjęć|фото(?:графий)?|результатов|枚|件|张|张照片"
)
NUMBER = r"\d{1,3}(?:[., ]\d{3})+|\d+"
BARE_TOTAL = re.compile(
    rf"(?:total:? )?({NUMBER}) ?(?:{THINGS})(?: (?:found|in total|total|gefunden))?|(?:total|{THINGS}): ?({NUMBER})",
    re.IGNORECASE,
)
PAGE_WORD = re.compile(r"(?:page|pages|seite|página|pagina|strana|sida|side|стр\w*|p\.)\s*$", re.IGNORECASE)

# What covers the middle of the window, if the last card is below it and the page did not move.
COVER = """(selector) => {
  const last = [...document.querySelectorAll(selector)].at(-1);
  if (!last || last.getBoundingClientRect().bottom <= innerHeight + 50) return null;
  let node = document.elementFromPoint(innerWidth / 2, innerHeight / 2);
  while (node && !["fixed", "sticky", "absolute"].includes(getComputedStyle(node).position)) node = node.parentElement;
  if (!node || node === document.body) return "";
  const button = node.querySelector("button, [role=button], input[type=button]");
  const name = node.localName + (node.id ? "#" + node.id : "") + [...node.classList].map((name) => "." + name).join("");
  return name + (button ? ` with the button "${(button.innerText || button.value || "").trim()}"` : "");
}"""


class ListWalk:
    """What one run has seen of a list."""

    def __init__(self) -> None:
        self._ids: dict[str, set[str]] = {}  # by the role of the pages
        self._card_counts: list[int] = []

    def is_repetition(self, role: str, ids: Collection[str]) -> bool:
        """Record the photos of a page, and return whether earlier pages of the same role showed all of them."""
        seen = self._ids.setdefault(role, set())
        repeats = bool(ids) and seen.issuperset(ids)
        seen.update(ids)
        return repeats

    def missed(self, html: str, url: str, listing: Listing, site: Site, ids: Collection[str] = ()) -> str:
        """Return why photos of a page may be missing, as a sentence; "" if nothing suggests it.

        Args:
            html: The page.
            url: Its URL.
            listing: What the parser found on it.
            site: The site.
            ids: Ids of photos that the page showed before.
        """
        count, around = _photos_outside_of_cards(html, url, listing, site, ids)
        if count:
            return (
                f"{url} shows {count_noun(count, 'photo')} outside of the {count_noun(listing.cards, 'card')} that "
                f"the parser of {site.name} finds, in <{around}>: these were not read."
            )
        if listing.next_url is None:
            return ""  # the last page has fewer cards
        earlier, cards = self._card_counts, listing.cards
        usual = statistics.median(earlier) if earlier else 0
        if usual >= MIN_USUAL_CARDS and cards < usual / 2:
            return f"{url} shows {count_noun(cards, 'card')}, although earlier pages had {usual:.0f}."
        earlier.append(cards)
        return ""


def _photos_outside_of_cards(
    html: str, url: str, listing: Listing, site: Site, ids: Collection[str]
) -> tuple[int, str]:
    """Count the photos on a page that lie in none of its cards, for example because half of the cards changed.

    Such a photo has a link like those to the pages of the photos in cards, or an image URL like theirs.

    Returns:
        The number of photos, 0 if they may be coincidence, and the tag and classes of most elements around them.
    """
    root = html_tree.parse(html)
    base = html_tree.base_url(root, url)
    cards = root.css(site.card_selector) if site.card_selector else []
    in_cards = {node.mem_id for card in cards for node in (card, *elements(card))}
    page_shapes = {_shape(photo.get("page_url", "")) for photo in listing.photos} - {""}
    image_shapes = {_shape(photo.get("image_url", "")) for photo in listing.photos} - {""}
    known_paths = {
        split_url(photo.get(name, "")).path for photo in listing.photos for name in ("page_url", "image_url")
    }
    known_ids = {photo["photo_id"] for photo in listing.photos}.union(ids) - {""}
    missed: dict[int, str] = {}
    for node in elements(root):
        if node.tag not in ("a", "img") or node.mem_id in in_cards:
            continue
        target = absolute_url(base, attribute(node, "href") if node.tag == "a" else html_tree.image_url(node))
        is_photo = _shape(target) in (page_shapes if node.tag == "a" else image_shapes)
        path = split_url(target).path
        is_known = path in known_paths or not known_ids.isdisjoint(re.split(r"[/._-]", path))
        if not is_photo or is_known or (node.tag == "a" and not node.css_first("img")):
            continue
        # A photo in a link counts once.
        outer = node.parent if node.tag == "img" and node.parent and node.parent.tag == "a" else node
        missed[outer.mem_id] = _around(outer)
    count = len(missed)
    if not listing.photos or count < max(MIN_MISSED, MISSED_SHARE * listing.cards):
        return 0, ""
    return count, Counter(missed.values()).most_common(1)[0][0]


def _shape(url: str) -> str:
    """Return what the URLs of photos have in common: the host and a first segment without digits; "" for others."""
    parts = split_url(url)
    segments = [segment for segment in parts.path.split("/") if segment]
    if not segments or not re.search(r"\d", parts.path + parts.query):
        return ""
    first = segments[0] if len(segments) > 1 and not re.search(r"\d", segments[0]) else ""
    return f"{parts.netloc} {first}"


def _around(node: LexborNode) -> str:
    """Return the tag and classes of the element around a link or picture."""
    parent = node.parent
    while parent is not None and parent.tag in ("a", "picture", "span") and parent.parent is not None:
        parent = parent.parent
    if parent is None:
        return node.tag or ""
    classes = attribute(parent, "class")
    return f'{parent.tag} class="{classes}"' if classes else str(parent.tag)


def stated_total(text: str, count: int) -> int | None:
    """Return the number of photos that a page states, if it is more than it showed.

    Args:
        text: Text of the page, such as "8 of 24 photos".
        count: Photos that the page showed. Only statements about that many photos count.
    """
    for match in TOTAL.finditer(text):
        shown, total = (int(re.sub(r"\D", "", number)) for number in match.groups())
        if shown == count < total and not PAGE_WORD.search(text[: match.start()]):
            return total
    return None


def bare_total(text: str, count: int) -> int | None:
    """Return the number of photos that a page states on a separate line, if it is more than it showed.

    Args:
        text: Text of the page, with a line such as "24 photos".
        count: Photos that the page showed. Several such lines may state anything, such as the sizes of albums.
    """
    matches = (BARE_TOTAL.fullmatch(" ".join(line.split())) for line in text.splitlines())
    totals = {int(re.sub(r"\D", "", match[1] or match[2])) for match in matches if match}
    total = totals.pop() if len(totals) == 1 else 0
    return total if total > count else None


async def cover(page: Page, site: Site) -> str | None:
    """Return what covers a page whose cards reach below the window, as the end of a sentence; None if they do not."""
    name = await page.evaluate(COVER, site.card_selector)
    if name is None:
        return None
    return f": {name} covers it" if name else ""
