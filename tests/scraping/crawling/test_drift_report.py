"""Sites that are redesigned while they are crawled, in a real browser: the crawl stops, and says where to look."""

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

LEAVE, CONTACT = "Tenzin W., 30 June 2026", "spotter@photos.test"
AIRLINES = ("Druk Air", "Bhutan Airlines", "Drukair Cargo")


def bird(number: int, airline: bool) -> tuple[str, str, str]:
    """The registration, airline and slug of photo `number`."""
    registration, name = f"A5-{number:03d}", AIRLINES[number % 3] if airline else ""
    words = f"{registration} {name} Boeing 737-8AS".lower().split()
    return registration, name, "-".join(words)


def card_of_today(number: int, airline: bool) -> str:
    registration, name, slug = bird(number, airline)
    flown = f'<a href="/airline/{name.replace(" ", "-")}">{name}</a>' if name else ""
    return (
        f'<div class="flex photo-card-clickable" id="{number}" data-photo-url="/photo/{number}/{slug}">'
        f'<img src="/images/{number}_280.jpg" width="300" height="200"><div class="drop-shadow-lg">© Tenzin W.</div>'
        f'<a href="/photos/reg/{registration}">{registration}</a>{flown}'
        '<a href="/photos/manufacturer/Boeing">Boeing</a><a href="/photos/aircraft/Boeing/737">737-8AS</a></div>'
    )


def card_of_2023(number: int, airline: bool) -> str:
    _, name, slug = bird(number, airline)
    return (
        f'<a href="/photo/{number}/{slug}"><div class="photo_card"><div class="photo_card__header">'
        f'<img class="photo_card__photo" src="/images/{number}_280.jpg" width="300" height="200"></div>'
        f'<div class="photo_card__data"><span class="photo_card__data_photographer">© Tenzin W.</span><br>{name}<br>'
        "Boeing 737-8AS<br>Paro (PBH / VQPR)</div></div></a>"
    )


def card_in_a_grid(number: int, airline: bool) -> str:
    _, name, slug = bird(number, airline)
    return (
        f'<a href="/photo/{number}/{slug}"><img class="photo_card__photo" src="/images/{number}_280.jpg" height="200">'
        f'<div class="photo_card__data"><span class="photo_card__data_photographer">Tenzin W.</span><br>{name}<br>'
        "Boeing 737-8AS<br>Paro (PBH / VQPR)</div></a>"
    )


def card_of_2020(number: int, airline: bool) -> str:
    registration, name, slug = bird(number, airline)
    flown = f'<a href="/airline/{name.replace(" ", "-")}">{name}</a>' if name else ""
    return (
        f'<div id="{number}"><a href="/photo/{number}/{slug}"><img class="photo__intrinsic_item" height="200" '
        f'src="/images/x_y_{number}_ab.jpg"></a><p>© Tenzin W.</p>{flown}'
        f'<a href="/photos/reg/{registration}">{registration}</a>'
        '<a href="/photos/manufacturer/Boeing">Boeing</a><a href="/photos/aircraft/Boeing/737">737-8AS</a></div>'
    )


GENERATIONS = {
    "today": card_of_today,
    "2023": card_of_2023,
    "2023, in a grid": card_in_a_grid,
    "2020": card_of_2020,
}

# Builds its cards in the browser, and more of them as one scrolls.
SCRIPT = """<script>
let page = 0;
const list = document.querySelector("#list");
async function more() {
  const answer = await fetch(`/cards?page=${++page}`);
  if (answer.ok) list.insertAdjacentHTML("beforeend", await answer.text());
  return answer.ok;
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
    """A site with the markup of planespotters.net, of some generation; `change` is what becomes of a page's cards."""

    card: Callable[[int, bool], str] = card_of_today
    pages: int = 3
    per_page: int = 32
    endless: bool = False
    change: Callable[[int, str], str] = lambda page, html: html
    airline: Callable[[int, int], bool] = lambda page, place: True
    asked: list[str] = field(default_factory=list)

    def cards(self, page: int) -> str:
        first = 10_000 - page * self.per_page
        places = range(self.per_page)
        html = "".join(self.card(first + place, self.airline(page, place)) for place in places)
        return self.change(page, html)

    def answer(self, path: str) -> tuple[str, str] | None:
        self.asked.append(path)
        url = urlsplit(path)
        page = int(parse_qs(url.query).get("page", ["1"])[0])
        if url.path == "/cards":
            return ("text/html", self.cards(page)) if page <= self.pages else None
        if url.path != "/photos/latest":
            return None
        shell = "<!doctype html><html><title>Latest</title><main><div id='list' class='photo_card__grid'>{}</div>"
        if self.endless:
            return "text/html", shell.format("") + "<div id='end'>.</div></main>" + SCRIPT
        turn = f'<a href="?page={page + 1}">{page + 1}</a>' if page < self.pages else ""
        return "text/html", shell.format(self.cards(page)) + f'</main><nav>{turn}<a href="?page=1">1</a></nav>'


@contextmanager
def serving(replica: Replica) -> Iterator[str]:
    file = io.BytesIO()
    Image.new("RGB", (420, 280), "navy").save(file, "JPEG")

    def answer(path: str, _: Message) -> web_server.Answer:
        kind, body, status = "text/plain", b"", 404
        if path.startswith("/images/"):
            kind, body, status = "image/jpeg", file.getvalue(), 200
        elif (found := replica.answer(path)) is not None:
            kind, body, status = f"{found[0]}; charset=utf-8", found[1].encode(), 200
        return status, {"Content-Type": kind, "Set-Cookie": "visit=a1b2c3d4e5f6; path=/"}, body

    with web_server.serving(answer) as base:
        yield base


@pytest.fixture(autouse=True)
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out the pauses that a live site gets."""
    site = replace(planespotters.SITE, pages_per_minute=float("inf"), settle_seconds=0.1)
    monkeypatch.setitem(crawl.SITES, "planespotters", site)


def crawl_all(base: str, out: Path, **more: int) -> CrawlResult:
    return scrape("planespotters", out, url=base, permission=LEAVE, contact=CONTACT, **more)  # type: ignore[arg-type]


def stopped(base: str, out: Path) -> tuple[DriftError, dict[str, object], str]:
    """How a crawl of a replica at `base` ends: with which error, and what the report says, as JSON and as text."""
    with pytest.raises(DriftError) as caught:
        crawl_all(base, out)
    (folder,) = (out / "evidence").iterdir()
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
    """The line of a module that an error tells to look at."""
    found = re.search(r"Look at (\S+):(\d+)", str(error))
    assert found is not None
    return linecache.getline(str(Path(found[1]).resolve()), int(found[2]))


def test_links_to_airlines_that_lead_elsewhere_from_the_third_page_on(tmp_path: Path) -> None:
    def change(page: int, html: str) -> str:
        return html.replace("/airline/", "/operator/") if page > 2 else html

    replica = Replica(change=change, pages=4)
    with serving(replica) as base:
        error, report, text = stopped(base, tmp_path)
        assert len(catalog.read(tmp_path)) == 64  # of the page without airlines, nothing

        # Once the reader knows the new links, which here the site gives up again, the crawl goes on at the third page.
        replica.change = lambda page, html: html
        replica.asked.clear()
        outcome = crawl_all(base, tmp_path)
    assert replica.asked[:2] == ["/robots.txt", "/photos/latest?page=3"]
    assert outcome.stored == 64
    assert "no longer say the airline" in str(error)
    assert '"/airline/": "airline"' in named_line(error)
    assert report["address"].endswith("?page=3")  # type: ignore[attr-defined]
    assert report["links_that_nothing_reads"] == {"/operator/": 32}
    assert "     32  /operator/" in text


def test_cards_that_are_made_of_other_elements_from_the_second_page_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("planespotter_scraping.crawling.browser_crawl.READY_SECONDS", 5.0)  # for what does not come

    def change(page: int, html: str) -> str:
        return re.sub(r'id="(\d+)" data-photo-url="\S+"', r'class="tile-\1"', html) if page > 1 else html

    with serving(Replica(change=change)) as base:
        error, report, text = stopped(base, tmp_path)
    assert "No photo was found at" in str(error)
    assert "def cards_of_today(" in named_line(error)
    assert report["cards"] == 0
    assert "cards_of_today" in text
    assert len(catalog.read(tmp_path)) == 32


def test_a_constructor_that_moved_is_missed_though_the_address_still_says_it(tmp_path: Path) -> None:
    def change(page: int, html: str) -> str:
        moved = re.sub(r'<a href="/photos/manufacturer/Boeing">Boeing</a>', "<b>Boeing</b>", html)
        return moved.replace("/photos/aircraft/Boeing/737", "/photos/type/737") if page > 1 else html

    with serving(Replica(change=change)) as base:
        error, report, _ = stopped(base, tmp_path)
    assert "no longer say the constructor" in str(error)
    assert "manufacturer" in named_line(error)
    fields = report["fields"]
    assert isinstance(fields, dict)
    assert (fields["constructor"]["on_the_card"], fields["constructor"]["known"]) == (0, 32)
    assert len(catalog.read(tmp_path)) == 32


def test_natural_gaps_stop_nothing(tmp_path: Path) -> None:
    def airline(page: int, place: int) -> bool:
        return place % 5 > 0 and page != 2  # on the second page there are only freighters whose operator is unknown

    with serving(Replica(airline=airline)) as base:
        outcome = crawl_all(base, tmp_path)
    assert (outcome.pages, outcome.stored) == (3, 96)
    assert not (tmp_path / "evidence").exists()


async def scrolled(chromium: Browser, site: Site, card: Callable[[int, bool], str]) -> None:
    page = await chromium.new_page()
    with serving(Replica(card, pages=4, per_page=12, endless=True)) as base:
        await page.goto(f"{base}/photos/latest")
        await page.locator(site.ready).first.wait_for()
        scroller = Scroller(page, site, Listing([], None))
        photos: list[dict[str, str]] = []
        async for batch in scroller.batches():
            photos += batch.photos
            if len(photos) == 48:  # its end is for other tests, which need not wait so long for what may come
                break
        await page.close()
    numbers = [str(10_000 - batch * 12 + place) for batch in range(1, 5) for place in range(12)]
    assert [photo["photo_id"] for photo in photos] == numbers
    for photo in photos:
        assert (photo["constructor"], photo["aircraft_type"]) == ("Boeing", "737-8AS")
        assert photo["airline"] in AIRLINES
        assert photo["registration"] == f"A5-{int(photo['photo_id']):03d}"
        assert photo["photographer"] == "Tenzin W."
        assert photo["image_url"].startswith(base)


async def test_each_generation_is_read_as_one_scrolls(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scroll, "PATIENCE", (0.7, 10.0, 60.0))
    site = crawl.SITES["planespotters"]
    assert isinstance(site, Site)
    async with async_playwright() as playwright:
        chromium = await playwright.chromium.launch(
            executable_path=browser.ensure_chromium(), args=list(browser.LAUNCH_ARGUMENTS), chromium_sandbox=False
        )
        async with asyncio.TaskGroup() as group:
            for name, card in GENERATIONS.items():
                group.create_task(scrolled(chromium, site, card), name=name)
        await chromium.close()


def test_an_endless_list_is_crawled_in_batches_and_again_without_fetching_what_is_known(tmp_path: Path) -> None:
    site = SampleSite(photos=64, per_page=8, endless=True, stalls=(3,))
    with serve(site) as base:
        first = scrape("sample", tmp_path, url=base, pages=2, constructors=None)
        assert (first.pages, first.stored) == (2, 16)
        rest = scrape("sample", tmp_path, url=base, constructors=None)
    assert (rest.pages, rest.stored, rest.known) == (8, 48, 16)
    assert set(catalog.read(tmp_path)["photo_id"]) == {f"sample-{photo.photo_id}" for photo in site.collection}


def test_an_endless_list_whose_cards_change_on_the_way_is_not_taken_for_one_that_ends(tmp_path: Path) -> None:
    words = "goes on as it is scrolled, but what comes after 3 batches are no cards"
    site = SampleSite(photos=64, per_page=8, endless=True, redesigns=((4, "cards"),))
    with serve(site) as base, pytest.raises(DriftError, match=words):
        scrape("sample", tmp_path, url=base, constructors=None)
    assert len(catalog.read(tmp_path)) == 24


def test_what_may_be_the_cards_is_told() -> None:
    card = '<li class="tile"><div><a href="/photo/1"><img src="1.jpg"></a></div><p>Druk Air</p></li>'
    html = f'<img src="logo.png"><ul>{card * 5}</ul><aside class="ad"><img src="a.png"> Buy!</aside>'
    found = likely_cards(html_tree.parse(html))
    assert found is not None
    assert found[:2] == (5, 'li class="tile"')
    assert "Druk Air" in found[2]
    assert likely_cards(html_tree.parse("<p>Nothing")) is None


def checked(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["scrape", "--check", *arguments])
    return result.exit_code, result.stdout


def test_check_says_what_is_there_and_stores_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with serving(Replica()) as base:
        code, text = checked("--site", "planespotters", "--url", base, "--permission", LEAVE, "--contact", CONTACT)
    assert code == 0
    assert "32 photos on 32 cards" in text
    assert re.search(r"airline +32 +32 +80%", text)
    assert "9968 | A5-9968 | Drukair Cargo | Boeing | 737-8AS" in text
    assert max(map(len, text.splitlines())) <= 100
    assert not list(tmp_path.iterdir())


def test_check_finds_a_redesign_and_a_kept_page_can_be_checked_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    replica = Replica(change=lambda page, html: html.replace("/airline/", "/operator/"))
    with serving(replica) as base:
        code, text = checked("--site", "planespotters", "--url", base, "--permission", LEAVE, "--contact", CONTACT)
    assert code == 1
    assert "LOOK AT" in text
    (kept,) = tmp_path.glob("evidence/*/page.html")
    code, text = checked("--site", "planespotters", "--url", str(kept))
    assert code == 1
    assert "/operator/" in text
    kept.write_text(kept.read_text().replace("/operator/", "/airline/"))
    assert checked("--site", "planespotters", "--url", str(kept))[0] == 0


def test_check_obeys_the_same_gates() -> None:
    result = CliRunner().invoke(app, ["scrape", "--check", "--site", "planespotters"])
    assert "--permission" in str(result.exception)
    for arguments, words in ((["--url", "nosuch.html"], "cannot be read"), (["--site", "commons"], "has no pages")):
        assert words in str(CliRunner().invoke(app, ["scrape", "--check", *arguments]).exception)
