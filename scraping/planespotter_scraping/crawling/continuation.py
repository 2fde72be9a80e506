"""Continuation of a list: buttons and links that promise more photos.

The site's parser knows the usual link to the next page. These are found by their text, on any site.
"""

import re
from dataclasses import dataclass
from urllib.parse import urlsplit

from playwright.async_api import ElementHandle, Page

from planespotter_scraping.sites import Site
from planespotter_scraping.sites.html_tree import absolute_url, split_url

MAX_BUTTONS = 3  # to press on one page
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
            return there._replace(fragment="").geturl()
    return None


def _without_page(path: str) -> str:
    """Return a path without a page number at its end."""
    return re.sub(r"(?:/page|/p|/seite)?/?[-_]?\d*/?$", "", path)
