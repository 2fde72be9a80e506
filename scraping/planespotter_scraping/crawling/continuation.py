"""Continuation of a list: buttons and links that promise more photos, and signs that photos of a list were missed.

The site's parser knows the usual link to the next page. What is here works on any site: buttons and links by their
text, totals such as "48 of 312", and pictures on the page that lie in none of the cards that the parser found.
"""

import re
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from urllib.parse import urljoin, urlsplit

from playwright.async_api import ElementHandle, Page
from selectolax.lexbor import LexborNode

from planespotter_scraping.sites import Listing, Site, html_tree
from planespotter_scraping.sites.html_tree import absolute_url, attribute, elements, split_url

MAX_BUTTONS = 3  # to press on one page
MIN_MISSED = 4  # pictures outside of all cards; fewer may be a photo of the day
MISSED_SHARE = 0.2  # of the cards
# Whole texts of buttons and links, in lower case and without arrows and numbers at the end.
THINGS = r"(?: [\w-]+){0,3}"
MORE = re.compile(
    rf"(?:load|show|view|see|get|display|fetch|reveal) (?:\d+ )?(?:more|next|older|further|additional){THINGS}"
    r"|more(?: (?:photos?|pictures|images|results|items|posts|entries|aircraft|please))?"
    r"|next(?: page| photos| results| \d+)?|older(?: (?:photos|posts|entries|pictures|items))?|continue|further"
    r"|(?:mehr|weitere|noch mehr)(?: [\w-]+){0,2}|weiter|vor|nächste(?: [\w-]+)?|ältere(?: [\w-]+)?"
    rf"|(?:afficher|voir|charger|plus de) ?(?:plus|davantage|la suite)?{THINGS}|suivante?s?|page suivante|plus"
    rf"|(?:ver|mostrar|cargar|carregar) (?:más|mais){THINGS}|más|mais|siguientes?|próxim[ao]s?(?: página)?"
    rf"|(?:mostra|carica|vedi) (?:altr[oie]|di più){THINGS}|altr[oie](?: foto)?|avanti|successiv[aoie]"
    rf"|(?:meer|toon meer|laad meer){THINGS}|volgende(?: pagina)?|visa fler|ladda fler|nästa|vis flere|neste|næste"
    r"|(?:pokaż|załaduj|wczytaj) więcej|więcej|następna?|další|načíst další|daha fazla(?: göster| yükle)?|sonraki"
    r"|(?:показать|загрузить) (?:ещ[её]|больше)|ещ[её]|далее|следующая|(?:показати|завантажити) (?:ще|більше)|ще|далі"
    r"|(?:加载|载入|查看|显示|載入|顯示)?更多(?:照片|图片)?|下一[页頁]|もっと(?:見る|読み込む)|さらに(?:表示|読み込む)"
    r"|次(?:へ|のページ)|더 ?보기|다음|المزيد|التالي"
)
ARROWS = re.compile(r"^[\s\u203a»→>⟩▼▾↓+]+(?=\w)|(?<=\w)[\s\u203a»→>⟩▼▾↓+….:()\d]+$")
NEXT_ARROW = re.compile(r"[\u203a»→⟩]|>{1,2}")
# "8 of 24", "1-8 of 24", "8 / 24", in several languages; not "page 1 of 3".
TOTAL = re.compile(
    r"(?<![\w.,/])(\d{1,3}(?:[., ]\d{3})+|\d+)\s*(?:of|out of|von|de|di|da|sur|van|av|af|z|из|з|/)\s*"
    r"(?:about |ca\. )?(\d{1,3}(?:[., ]\d{3})+|\d+)(?![\w/])",
    re.IGNORECASE,
)
PAGE_WORD = re.compile(r"(?:page|pages|seite|página|pagina|strana|sida|side|стр\w*|p\.)\s*$", re.IGNORECASE)

# Visible elements to press that lie in no card and in no form, each with its text and whether it is a link.
CLICKABLE = """(selector) => [...document.querySelectorAll("button, [role=button], input[type=button], a")].filter(
  (node) => node.checkVisibility?.({ checkOpacity: true, checkVisibilityCSS: true }) !== false
    && node.getClientRects().length && !node.disabled && node.getAttribute("aria-disabled") !== "true"
    && !(selector && node.closest(selector)) && !node.closest("form")
)"""
TEXT = """(node) => (node.innerText || node.value || node.getAttribute("aria-label") || node.title || "").trim()"""
DESCRIBE = f"""(nodes) => nodes.map((node) => ({{
  text: ({TEXT})(node),
  href: node.localName === "a" ? node.getAttribute("href") ?? "" : "",
}}))"""
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


@dataclass(frozen=True)
class MoreButton:
    """A button that promises more photos; `name` is its text."""

    name: str
    element: ElementHandle


def promises_more(text: str) -> bool:
    """Return whether a button or link with this text promises more photos."""
    text = " ".join(text.lower().split())
    return NEXT_ARROW.fullmatch(text) is not None or MORE.fullmatch(ARROWS.sub("", text)) is not None


async def more_buttons(page: Page, site: Site) -> list[MoreButton]:
    """Return the visible buttons that promise more photos, at most MAX_BUTTONS: those of the site, or by their text."""
    if site.more_selector:
        nodes = [node for node in await page.query_selector_all(site.more_selector) if await node.is_visible()]
        return [MoreButton(" ".join((await node.inner_text()).split()), node) for node in nodes[:MAX_BUTTONS]]
    handle = await page.evaluate_handle(CLICKABLE, site.card_selector)
    buttons = []
    for number, item in enumerate(await handle.evaluate(DESCRIBE)):
        leads_elsewhere = item["href"] and not item["href"].lower().startswith(("#", "javascript:"))
        if promises_more(item["text"]) and not leads_elsewhere:
            element = (await handle.evaluate_handle("(nodes, number) => nodes[number]", number)).as_element()
            if element is not None:
                buttons.append(MoreButton(" ".join(item["text"].split()), element))
    return buttons[:MAX_BUTTONS]


async def next_link(page: Page, site: Site) -> str | None:
    """Return the URL of the list's next page, by the text of the link to it; None without such a link.

    Only a link to the same list counts: the same path with another query, or with another number in it.
    """
    handle = await page.evaluate_handle(CLICKABLE, site.card_selector)
    here = urlsplit(page.url)
    for item in await handle.evaluate(DESCRIBE):
        target = absolute_url(page.url, item["href"])
        there = split_url(target)
        same_list = _without_page(there.path) == _without_page(here.path)
        different = (there.path, there.query) != (here.path, here.query)
        if there.netloc == here.netloc and same_list and different and promises_more(item["text"]):
            return urljoin(target, there._replace(fragment="").geturl())
    return None


def _without_page(path: str) -> str:
    """Return a path without a page number at its end."""
    return re.sub(r"(?:/page|/p|/seite)?/?[-_]?\d*/?$", "", path)


async def cover(page: Page, site: Site) -> str | None:
    """Return what covers a page whose cards reach below the window, as the end of a sentence; None if they do not."""
    name = await page.evaluate(COVER, site.card_selector)
    if name is None:
        return None
    return f": {name} covers it" if name else ""


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


def missed_photos(html: str, url: str, listing: Listing, site: Site, ids: Collection[str] = ()) -> tuple[int, str]:
    """Count the photos on a page that lie in none of its cards, for example because half of the cards changed.

    Such a photo has a link like those to the pages of the photos in cards, or an image URL like theirs.

    Args:
        html: The page.
        url: Its URL.
        listing: What the parser found on it.
        site: The site.
        ids: Ids of photos that the page showed before.

    Returns:
        The number of photos, 0 if they may be coincidence, and the tag and classes of most elements around them.
    """
    root = html_tree.parse(html)
    base = html_tree.base_url(root, url)
    in_cards = {node.mem_id for card in _cards(root, site) for node in (card, *elements(card))}
    page_shapes = {_shape(photo.get("page_url", "")) for photo in listing.photos} - {""}
    image_shapes = {_shape(photo.get("image_url", "")) for photo in listing.photos} - {""}
    known_paths = {
        split_url(photo.get(name, "")).path for photo in listing.photos for name in ("page_url", "image_url")
    }
    known_ids = {photo["photo_id"] for photo in listing.photos}.union(ids) - {""}
    missed: dict[str, str] = {}
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
        missed[f"{outer.mem_id}"] = _around(outer)
    count = len(missed)
    if not listing.photos or count < max(MIN_MISSED, MISSED_SHARE * listing.cards):
        return 0, ""
    return count, Counter(missed.values()).most_common(1)[0][0]


def _cards(root: LexborNode, site: Site) -> list[LexborNode]:
    """Return the elements of a page that the site describes as cards."""
    return root.css(site.card_selector) if site.card_selector else []


def _shape(url: str) -> str:
    """Return what the URLs of photos have in common: the host, the first segment, and the number of segments."""
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
