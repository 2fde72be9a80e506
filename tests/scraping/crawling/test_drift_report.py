"""Drift report: the crawl of a site whose markup changes stops and names the line to fix, in a real browser."""

import asyncio
import io
import json
import linecache
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from email.message import Message
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from PIL import Image
from playwright.async_api import Browser, async_playwright
from tests.scraping import web_server
from typer.testing import CliRunner

from planespotter_scraping import catalog
from planespotter_scraping.cli import app
from planespotter_scraping.crawling import browser, crawl, scroll
from planespotter_scraping.crawling.crawl import scrape
from planespotter_scraping.crawling.drift_detection import DriftError
from planespotter_scraping.crawling.drift_report import likely_cards
from planespotter_scraping.crawling.result import CrawlResult
from planespotter_scraping.crawling.scroll import Scroller
from planespotter_scraping.sample_site.server import SampleSite, serve
from planespotter_scraping.sites import Listing, Site, html_tree, planespotters

pytestmark = [pytest.mark.slow, pytest.mark.browser]

PERMISSION, CONTACT = "Tenzin W., 30 June 2026", "spotter@photos.test"
AIRLINES = ("Druk Air", "Bhutan Airlines", "Drukair Cargo")


def airframe(number: int, airline: bool) -> tuple[str, str, str]:
    """Registration, airline and slug of photo `number`."""
    registration, name = f"A5-{number:03d}", AIRLINES[number % 3] if airline else ""
    parts = f"{registration} {name} Boeing 737-8AS".lower().split()
    return registration, name, "-".join(parts)


def card_of_today(number: int, airline: bool) -> str:
    registration, name, slug = airframe(number, airline)
    airline_link = f'<a href="/airline/{name.replace(" ", "-")}">{name}</a>' if name else ""
    return (
        f'<div class="flex photo-card-clickable" id="{number}" data-photo-url="/photo/{number}/{slug}">'
        f'<img src="/images/{number}_280.jpg" width="300" height="200"><div class="drop-shadow-lg">© Tenzin W.</div>'
        f'<a href="/photos/reg/{registration}">{registration}</a>{airline_link}'
        '<a href="/photos/manufacturer/Boeing">Boeing</a><a href="/photos/aircraft/Boeing/737">737-8AS</a></div>'
    )


def card_of_2023(number: int, airline: bool) -> str:
    _, name, slug = airframe(number, airline)
    return (
        f'<a href="/photo/{number}/{slug}"><div class="photo_card"><div class="photo_card__header">'
        f'<img class="photo_card__photo" src="/images/{number}_280.jpg" width="300" height="200"></div>'
        f'<div class="photo_card__data"><span class="photo_card__data_photographer">© Tenzin W.</span><br>{name}<br>'
        "Boeing 737-8AS<br>Paro (PBH / VQPR)</div></div></a>"
    )


def card_in_a_grid(number: int, airline: bool) -> str:
    _, name, slug = airframe(number, airline)
    return (
        f'<a href="/photo/{number}/{slug}"><img class="photo_card__photo" src="/images/{number}_280.jpg" height="200">'
        f'<div class="photo_card__data"><span class="photo_card__data_photographer">Tenzin W.</span><br>{name}<br>'
        "Boeing 737-8AS<br>Paro (PBH / VQPR)</div></a>"
    )


def card_of_2020(number: int, airline: bool) -> str:
    registration, name, slug = airframe(number, airline)
    airline_link = f'<a href="/airline/{name.replace(" ", "-")}">{name}</a>' if name else ""
    return (
        f'<div id="{number}"><a href="/photo/{number}/{slug}"><img class="photo__intrinsic_item" height="200" '
        f'src="/images/x_y_{number}_ab.jpg"></a><p>© Tenzin W.</p>{airline_link}'
        f'<a href="/photos/reg/{registration}">{registration}</a>'
        '<a href="/photos/manufacturer/Boeing">Boeing</a><a href="/photos/aircraft/Boeing/737">737-8AS</a></div>'
    )


GENERATIONS = {
    "today": card_of_today,
    "2023": card_of_2023,
    "2023, in a grid": card_in_a_grid,
    "2020": card_of_2020,
}

# Builds the cards in the browser, and more of them on scrolling.
SCRIPT = """<script>
let page = 0;
const list = document.querySelector("#list");
async function more() {
  const response = await fetch(`/cards?page=${++page}`);
  if (response.ok) list.insertAdjacentHTML("beforeend", await response.text());
  return response.ok;
}
const sight = new IntersectionObserver(async ([entry]) => {
  if (!entry.isIntersecting) return;
  sight.disconnect();
  if (await more()) sight.observe(document.querySelector("#end"));
});
more().then(() => sight.observe(document.querySelector("#end")));
</script>"""


@dataclass
class Replica:
    """A site with a markup generation of planespotters.net.

    Attributes:
        card: Renders a card, from its number and whether it has an airline.
        pages: Number of pages.
        per_page: Cards on each page.
        endless: Whether the list is one page with infinite scroll.
        change: Changes the cards of a page, from its number and HTML.
        airline: Whether a card has an airline, from its page and position.
        requests: Paths of all requests.
    """

    card: Callable[[int, bool], str] = card_of_today
    pages: int = 3
    per_page: int = 32
    endless: bool = False
    change: Callable[[int, str], str] = lambda page, html: html
    airline: Callable[[int, int], bool] = lambda page, position: True
    requests: list[str] = field(default_factory=list)

    def cards(self, page: int) -> str:
        first = 10_000 - page * self.per_page
        positions = range(self.per_page)
        html = "".join(self.card(first + position, self.airline(page, position)) for position in positions)
        return self.change(page, html)

    def respond(self, path: str) -> tuple[str, str] | None:
        self.requests.append(path)
        url = urlsplit(path)
        page = int(parse_qs(url.query).get("page", ["1"])[0])
        if url.path == "/cards":
            return ("text/html", self.cards(page)) if page <= self.pages else None
        if url.path != "/photos/latest":
            return None
        shell = "<!doctype html><html><title>Latest</title><main><div id='list' class='photo_card__grid'>{}</div>"
        if self.endless:
            return "text/html", shell.format("") + "<div id='end'>.</div></main>" + SCRIPT
        next_link = f'<a href="?page={page + 1}">{page + 1}</a>' if page < self.pages else ""
        return "text/html", shell.format(self.cards(page)) + f'</main><nav>{next_link}<a href="?page=1">1</a></nav>'


@contextmanager
def serving(replica: Replica) -> Iterator[str]:
    file = io.BytesIO()
    Image.new("RGB", (420, 280), "navy").save(file, "JPEG")

    def respond(path: str, _: Message) -> web_server.Response:
        kind, body, status = "text/plain", b"", 404
        if path.startswith("/images/"):
            kind, body, status = "image/jpeg", file.getvalue(), 200
        elif (content := replica.respond(path)) is not None:
            kind, body, status = f"{content[0]}; charset=utf-8", content[1].encode(), 200
        return status, {"Content-Type": kind, "Set-Cookie": "visit=a1b2c3d4e5f6; path=/"}, body

    with web_server.serving(respond) as base:
        yield base


@pytest.fixture(autouse=True)
def no_rate_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Remove the rate limit for live sites."""
    site = replace(planespotters.SITE, pages_per_minute=float("inf"), settle_seconds=0.1)
    monkeypatch.setitem(crawl.SITES, "planespotters", site)


def crawl_all(base: str, out: Path, **options: int) -> CrawlResult:
    return scrape("planespotters", out, url=base, permission=PERMISSION, contact=CONTACT, **options)  # type: ignore[arg-type]


def crawl_until_drift(base: str, out: Path) -> tuple[DriftError, dict[str, object], str]:
    """Crawl a replica, and return the error and the drift report as JSON and as text."""
    with pytest.raises(DriftError) as caught:
        crawl_all(base, out)
    (folder,) = (out / "snapshots").iterdir()
    assert str(folder) in str(caught.value)
    assert (folder / "screenshot.png").read_bytes().startswith(b"\x89PNG")
    assert "<main>" in (folder / "page.html").read_text()
    text = (folder / "report.txt").read_text()
    assert "a1b2c3d4e5f6" not in text + (folder / "page.html").read_text()
    report = json.loads((folder / "report.json").read_text())
    assert (report["status"], report["title"]) == (200, "Latest")
    assert report["user_agent"] == f"planespotter/0.1 (+{CONTACT})"
    return caught.value, report, text


def named_line(error: DriftError) -> str:
    """Return the line of source code that an error names."""
    match = re.search(r"See (\S+):(\d+)", str(error))
    assert match is not None
    return linecache.getline(str(Path(match[1]).resolve()), int(match[2]))


def test_changed_airline_links_stop_the_crawl_and_the_fixed_site_resumes(tmp_path: Path) -> None:
    def change(page: int, html: str) -> str:
        return html.replace("/airline/", "/operator/") if page > 2 else html

    replica = Replica(change=change, pages=4)
    with serving(replica) as base:
        error, report, text = crawl_until_drift(base, tmp_path)
        assert len(catalog.read(tmp_path)) == 64  # nothing of the page without airlines

        # Once the parser knows the new links (here, the site reverts them), the crawl resumes at the third page.
        replica.change = lambda page, html: html
        replica.requests.clear()
        result = crawl_all(base, tmp_path)
    assert replica.requests[:3] == ["/robots.txt", "/.well-known/tdmrep.json", "/photos/latest?page=3"]
    assert result.stored == 64
    assert "no longer show the airline" in str(error)
    assert '"/airline/": "airline"' in named_line(error)
    assert report["url"].endswith("?page=3")  # type: ignore[attr-defined]
    assert report["unread_links"] == {"/operator/": 32}
    assert "     32  /operator/" in text


def test_changed_card_elements_stop_the_crawl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("planespotter_scraping.crawling.browser_crawl.READY_TIMEOUT_SECONDS", 5.0)

    def change(page: int, html: str) -> str:
        return re.sub(r'id="(\d+)" data-photo-url="\S+"', r'class="tile-\1"', html) if page > 1 else html

    with serving(Replica(change=change)) as base:
        error, report, text = crawl_until_drift(base, tmp_path)
    assert "No photo was found at" in str(error)
    assert "def cards_of_today(" in named_line(error)
    assert report["cards"] == 0
    assert "cards_of_today" in text
    assert len(catalog.read(tmp_path)) == 32


def test_constructor_is_missed_on_cards_although_the_url_still_has_it(tmp_path: Path) -> None:
    def change(page: int, html: str) -> str:
        moved = re.sub(r'<a href="/photos/manufacturer/Boeing">Boeing</a>', "<b>Boeing</b>", html)
        return moved.replace("/photos/aircraft/Boeing/737", "/photos/type/737") if page > 1 else html

    with serving(Replica(change=change)) as base:
        error, report, _ = crawl_until_drift(base, tmp_path)
    assert "no longer show the constructor" in str(error)
    assert "manufacturer" in named_line(error)
    fields = report["fields"]
    assert isinstance(fields, dict)
    assert (fields["constructor"]["on_card"], fields["constructor"]["known"]) == (0, 32)
    assert len(catalog.read(tmp_path)) == 32


def test_natural_gaps_do_not_stop_the_crawl(tmp_path: Path) -> None:
    def airline(page: int, position: int) -> bool:
        return position % 5 > 0 and page != 2  # the second page has only freighters of unknown operators

    with serving(Replica(airline=airline)) as base:
        result = crawl_all(base, tmp_path)
    assert (result.pages, result.stored) == (3, 96)
    assert not (tmp_path / "snapshots").exists()


async def check_scrolling(chromium: Browser, site: Site, card: Callable[[int, bool], str]) -> None:
    page = await chromium.new_page()
    with serving(Replica(card, pages=4, per_page=12, endless=True)) as base:
        await page.goto(f"{base}/photos/latest")
        await page.locator(site.ready_selector).first.wait_for()
        scroller = await Scroller.open(page, site)
        photos: list[dict[str, str]] = []
        async for batch in scroller.batches(Listing([], None)):
            photos += batch.photos
            if len(photos) == 48:  # other tests cover the end of the list, with shorter timeouts
                break
        await page.close()
    numbers = [str(10_000 - batch * 12 + card) for batch in range(1, 5) for card in range(12)]
    assert [photo["photo_id"] for photo in photos] == numbers
    for photo in photos:
        assert (photo["constructor"], photo["aircraft_type"]) == ("Boeing", "737-8AS")
        assert photo["airline"] in AIRLINES
        assert photo["registration"] == f"A5-{int(photo['photo_id']):03d}"
        assert photo["photographer"] == "Tenzin W."
        assert photo["image_url"].startswith(base)


async def test_each_markup_generation_is_parsed_while_scrolling(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scroll, "ROUND_TIMEOUT_SECONDS", (0.7, 10.0, 60.0))
    site = crawl.SITES["planespotters"]
    assert isinstance(site, Site)
    async with async_playwright() as playwright:
        chromium = await playwright.chromium.launch(
            executable_path=browser.ensure_chromium(), args=list(browser.LAUNCH_ARGUMENTS), chromium_sandbox=False
        )
        async with asyncio.TaskGroup() as group:
            for name, card in GENERATIONS.items():
                group.create_task(check_scrolling(chromium, site, card), name=name)
        await chromium.close()


def test_endless_list_is_crawled_in_batches_and_known_photos_are_not_downloaded_again(tmp_path: Path) -> None:
    site = SampleSite(photos=64, per_page=8, endless=True, missed_scrolls=(3,))
    with serve(site) as base:
        first = scrape("sample", tmp_path, url=base, pages=2, constructors=None)
        assert (first.pages, first.stored) == (2, 16)
        rest = scrape("sample", tmp_path, url=base, constructors=None)
    assert (rest.pages, rest.stored, rest.known) == (8, 48, 16)
    assert set(catalog.read(tmp_path)["photo_id"]) == {f"sample-{photo.photo_id}" for photo in site.collection}


def test_endless_list_with_changed_cards_is_drift_and_not_the_end(tmp_path: Path) -> None:
    words = "continues after 3 batches, but without cards"
    site = SampleSite(photos=64, per_page=8, endless=True, drift=((4, "cards"),))
    with serve(site) as base, pytest.raises(DriftError, match=words):
        scrape("sample", tmp_path, url=base, constructors=None)
    assert len(catalog.read(tmp_path)) == 24


def test_likely_cards_are_the_repeated_elements_with_a_picture() -> None:
    card = '<li class="tile"><div><a href="/photo/1"><img src="1.jpg"></a></div><p>Druk Air</p></li>'
    html = f'<img src="logo.png"><ul>{card * 5}</ul><aside class="ad"><img src="a.png"> Buy!</aside>'
    likely = likely_cards(html_tree.parse(html))
    assert likely is not None
    assert (likely.count, likely.element) == (5, 'li class="tile"')
    assert "Druk Air" in likely.example
    assert likely_cards(html_tree.parse("<p>Nothing")) is None


def dry_run(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["scrape", "--dry-run", *arguments])
    return result.exit_code, result.stdout


def test_dry_run_reports_the_fill_rates_and_stores_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with serving(Replica()) as base:
        code, text = dry_run("--site", "planespotters", "--url", base, "--permission", PERMISSION, "--contact", CONTACT)
    assert code == 0
    assert "32 photos on 32 cards" in text
    assert re.search(r"airline +32 +32 +80%", text)
    assert "9968 | A5-9968 | Drukair Cargo | Boeing | 737-8AS" in text
    assert max(map(len, text.splitlines())) <= 100
    assert not list(tmp_path.iterdir())


def test_dry_run_detects_drift_and_accepts_a_saved_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    replica = Replica(change=lambda page, html: html.replace("/airline/", "/operator/"))
    with serving(replica) as base:
        code, text = dry_run("--site", "planespotters", "--url", base, "--permission", PERMISSION, "--contact", CONTACT)
    assert code == 1
    assert "SUSPECT LINES" in text
    (page,) = tmp_path.glob("snapshots/*/page.html")
    code, text = dry_run("--site", "planespotters", "--url", str(page))
    assert code == 1
    assert "/operator/" in text
    page.write_text(page.read_text().replace("/operator/", "/airline/"))
    assert dry_run("--site", "planespotters", "--url", str(page))[0] == 0


def test_dry_run_requires_the_same_permissions_as_a_crawl() -> None:
    result = CliRunner().invoke(app, ["scrape", "--dry-run", "--site", "planespotters"])
    assert "--permission" in str(result.exception)
    for arguments, words in ((["--url", "nosuch.html"], "cannot be read"), (["--site", "commons"], "has no pages")):
        assert words in str(CliRunner().invoke(app, ["scrape", "--dry-run", *arguments]).exception)
