"""Lists that continue in other ways than by a link: a crawl reads all of them, or reports that photos are missing."""

import io
import json
import random
import re
import threading
from collections.abc import Callable
from email.message import Message
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from PIL import Image
from tests.scraping.web_server import Response, serving
from typer.testing import CliRunner

from planespotter_scraping import catalog
from planespotter_scraping.cli import app
from planespotter_scraping.crawling import completeness, continuation, scroll
from planespotter_scraping.crawling.completeness import ListWalk
from planespotter_scraping.crawling.crawl import scrape
from planespotter_scraping.crawling.result import CrawlAbortedError, CrawlResult, ScrapeError
from planespotter_scraping.sites import Listing
from planespotter_scraping.sites.sample import SITE as SAMPLE

PHOTOS, BATCH = 18, 6
TYPES = (("Boeing", "737-8AS"), ("Airbus", "A320-214"), ("Boeing", "777-31HER"))
CARDS = """
const add = (photos, into = list) => { for (const html of photos) into.insertAdjacentHTML("beforeend", html) };
const list = document.querySelector("main");
let batch = 1;
const load = async () => { batch++; return (await fetch("/batch?n=" + batch)).json() };
const whenSeen = (sensor, root, then) => {
  const observer = new IntersectionObserver(async ([entry]) => {
    if (!entry.isIntersecting || batch >= 3) return;
    observer.unobserve(sensor);
    await then();
    observer.observe(sensor);
  }, { root });
  observer.observe(sensor);
};
const sensor = document.createElement("hr");
"""
# How each page continues its list, as a script.
SCRIPTS = {
    "button": """
      const button = document.createElement("button");
      button.textContent = "Weitere Fotos laden …";
      button.onclick = async () => { add(await load()); if (batch === 3) button.remove() };
      document.body.append(button)""",
    "replace": """
      const button = document.createElement("a");
      button.textContent = "Next \u203a";
      button.href = "#";
      button.onclick = async () => {
        if (batch >= 3) return;
        const photos = await load();
        list.replaceChildren();
        add(photos);
      };
      document.body.append(button)""",
    "slow": """
      document.body.append(sensor);
      whenSeen(sensor, null, async () => { await new Promise((done) => setTimeout(done, 4000)); add(await load()) })""",
    "box": """
      const box = document.createElement("div");
      box.style = "height: 400px; overflow-y: scroll";
      document.body.append(box);
      box.append(list, sensor);
      whenSeen(sensor, box, async () => add(await load()))""",
    "footer": """
      document.body.append(sensor);
      sensor.insertAdjacentHTML("afterend", "<footer style='height: 2500px'>About us</footer>");
      whenSeen(sensor, null, async () => add(await load()))""",
    "recycle": """
      document.body.append(sensor);
      whenSeen(sensor, null, async () => {
        const photos = await load();
        [...list.children].forEach((card, position) => {
          const template = document.createElement("template");
          template.innerHTML = photos[position];
          const fresh = template.content.firstChild;
          card.id = fresh.id;
          card.dataset.photoUrl = fresh.dataset.photoUrl;
          card.innerHTML = fresh.innerHTML;
        });
      })""",
    "covered": """
      document.body.style = "position: fixed; overflow: hidden; height: 100vh";
      const style = "position: fixed; inset: 0; background: black";
      document.body.insertAdjacentHTML("beforeend",
        `<aside class=cover style="${style}"><button>Einverstanden</button></aside>`);
      document.body.append(sensor);
      whenSeen(sensor, null, async () => add(await load()))""",
    "total": "document.body.insertAdjacentHTML('beforeend', '<p>6 von 18 Fotos</p>')",
}


def jpeg(number: int, size: tuple[int, int] = (320, 210)) -> bytes:
    file = io.BytesIO()
    pixels = random.Random(number).randbytes(6 * 4 * 3)
    Image.frombytes("RGB", (6, 4), pixels).resize(size).save(file, "JPEG")
    return file.getvalue()


def card(number: int, *, tag: str = "article") -> str:
    constructor, aircraft_type = TYPES[number % 3]
    data = f'id="{number}" data-photo-url="/photo/{number}/x"' if tag == "article" else 'class="tile"'
    return (
        f'<{tag} {data} style="display: block; height: 250px"><a href="/photo/{number}/x">'
        f'<img src="/img/{number}.jpg"></a><a href="/airline/x">Drukair</a>'
        f'<a href="/photos/manufacturer/x">{constructor}</a><a href="/photos/aircraft/x">{aircraft_type}</a>'
        f'<a href="/photos/reg/x">A5-{number}</a><a href="/photos/date/x">2026-06-01</a>'
        f'<span class="credit">© Tenzin</span></{tag}>'
    )


def page(cards: str, script: str = "", rest: str = "") -> Response:
    html = f"<!doctype html><title>Latest</title><main aria-busy=false>{cards}</main>{rest}<script>{script}</script>"
    return 200, {"Content-Type": "text/html; charset=utf-8"}, html.encode()


def batch(number: int) -> range:
    return range(100 + BATCH * (number - 1), 100 + BATCH * number)


def cards(number: int) -> str:
    return "".join(map(card, batch(number)))


def image_or_nothing(path: str) -> Response:
    if path.startswith("/img/"):
        return 200, {"Content-Type": "image/jpeg"}, jpeg(int(Path(path).stem))
    return 404, {}, b""


def site(
    latest: Callable[[int], Response], other: Callable[[str], Response] = image_or_nothing
) -> Callable[[str, Message], Response]:
    """A site with the page `latest(number)` of its list, from 1, and `other(path)` at all other paths."""

    def respond(path: str, headers: Message) -> Response:
        url = urlsplit(path)
        if url.path == "/photos/latest":
            return latest(int(parse_qs(url.query).get("page", ["1"])[0]))
        return other(path)

    return respond


def site_that_continues(way: str) -> Callable[[str, Message], Response]:
    def other(path: str) -> Response:
        url = urlsplit(path)
        if url.path == "/batch":
            photos = [card(number) for number in batch(int(parse_qs(url.query)["n"][0]))]
            return 200, {"Content-Type": "application/json"}, json.dumps(photos).encode()
        return image_or_nothing(path)

    return site(lambda _: page(cards(1), f"{CARDS}\n{{{SCRIPTS[way]}}}"), other)


def crawl(base: str, out: Path) -> CrawlResult:
    return scrape("sample", out, url=base, constructors=None)


def stored(out: Path) -> set[int]:
    return {int(photo_id.removeprefix("sample-")) for photo_id in catalog.read(out)["photo_id"]}


@pytest.mark.slow
@pytest.mark.browser
@pytest.mark.parametrize("way", ["button", "replace", "slow", "box", "footer", "recycle"])
def test_list_that_continues_without_a_link_is_read_to_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    monkeypatch.setattr(scroll, "BUTTON_TIMEOUT_SECONDS", 3.0)
    with serving(site_that_continues(way)) as base:
        result = crawl(base, tmp_path)
    assert stored(tmp_path) == set(range(100, 100 + PHOTOS))
    assert result.incomplete == []


@pytest.mark.slow
@pytest.mark.browser
@pytest.mark.parametrize(
    ("way", "words"),
    [
        ("covered", 'cannot be scrolled, .*: aside.cover with the button "Einverstanden" covers it'),
        ("total", "states 18 photos, but 6 appeared"),
    ],
)
def test_list_that_cannot_be_read_to_its_end_exits_with_1_and_says_why(tmp_path: Path, way: str, words: str) -> None:
    with serving(site_that_continues(way)) as base:
        command = ["scrape", "--url", base, "--out", str(tmp_path), "--constructors", "all"]
        invocation = CliRunner().invoke(app, command)
    assert invocation.exit_code == 1
    text = " ".join(invocation.output.split())
    assert "6 photos stored" in text
    assert re.search(f"INCOMPLETE: .*{words}", text), text
    assert list((tmp_path / "snapshots").iterdir())


@pytest.mark.slow
@pytest.mark.browser
def test_request_that_never_ends_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scroll, "ROUND_TIMEOUT_SECONDS", (0.2, 0.2))
    monkeypatch.setattr(scroll, "REQUEST_TIMEOUT_SECONDS", 1.0)
    ended = threading.Event()
    continues = site_that_continues("footer")

    def respond(path: str, headers: Message) -> Response:
        if path.startswith("/batch"):
            ended.wait(60)
        return continues(path, headers)

    with serving(respond) as base:
        result = crawl(base, tmp_path)
        ended.set()
    assert any("was still in flight" in problem for problem in result.incomplete), result.incomplete


@pytest.mark.slow
@pytest.mark.browser
def test_next_link_is_found_by_its_text(tmp_path: Path) -> None:
    def latest(number: int) -> Response:
        link = f"<a href='?page={number + 1}'>Nächste Seite »</a>" if number < 3 else "<a href='?page=2'>Zurück</a>"
        return page(cards(number), rest=link)

    with serving(site(latest)) as base:
        result = crawl(base, tmp_path)
    assert (result.pages, result.incomplete) == (3, [])
    assert stored(tmp_path) == set(range(100, 100 + PHOTOS))


@pytest.mark.slow
@pytest.mark.browser
def test_half_of_the_cards_in_another_markup_is_noticed(tmp_path: Path) -> None:
    kinds = ("article", "section")
    mixed = "".join(card(number, tag=kinds[number % 2]) for number in range(100, 112))
    with serving(site(lambda _: page(mixed))) as base:
        result = crawl(base, tmp_path)
    assert result.stored == 6
    assert (
        'shows 6 photos outside of the 6 cards that the parser of sample finds, in <section class="tile">'
        in (result.incomplete[0])
    )


def test_page_with_far_fewer_cards_than_the_earlier_ones_is_noticed() -> None:
    walk = ListWalk()

    def missed(cards: int, next_url: str | None = "http://photos.test/?page=9") -> str:
        return walk.missed("<main></main>", "http://photos.test/", Listing([], next_url, cards=cards), SAMPLE)

    assert missed(48) == missed(47) == missed(30) == missed(20, next_url=None) == ""
    assert "shows 20 cards, although earlier pages had 47" in missed(20)


@pytest.mark.slow
@pytest.mark.browser
def test_last_page_that_repeats_itself_ends_the_list(tmp_path: Path) -> None:
    requests: list[int] = []

    def latest(number: int) -> Response:
        requests.append(number)
        return page(cards(min(number, 3)), rest=f"<a rel=next href='?page={number + 1}'>Next</a>")

    with serving(site(latest)) as base:
        result = crawl(base, tmp_path)
    assert requests == [1, 2, 3, 4]
    assert (result.stored, result.incomplete) == (PHOTOS, [])
    assert any("only repeats photos of earlier pages" in note for note in result.notes)


@pytest.mark.slow
@pytest.mark.browser
def test_page_whose_images_nearly_all_fail_stops_the_crawl(tmp_path: Path) -> None:
    def other(path: str) -> Response:
        if path.startswith("/img/") and path != "/img/100.jpg":
            return 200, {"Content-Type": "text/html"}, b"<!doctype html><p>Gone</p>"
        return image_or_nothing(path)

    latest = site(lambda _: page(cards(1), rest="<a rel=next href='?page=2'>Next</a>"), other)
    words = r"5 of 6 images of .*/photos/latest are unusable, such as that of sample-\d+: it is not an image"
    with serving(latest) as base, pytest.raises(CrawlAbortedError, match=words):
        crawl(base, tmp_path)
    assert stored(tmp_path) == {100}


@pytest.mark.slow
@pytest.mark.browser
def test_crawl_without_one_usable_image_fails(tmp_path: Path) -> None:
    without_images = site(lambda _: page(card(100) + card(101)), lambda _: (404, {}, b""))
    with serving(without_images) as base, pytest.raises(ScrapeError, match="2 unusable images, such as that of"):
        crawl(base, tmp_path)


@pytest.mark.slow
@pytest.mark.browser
def test_images_behind_a_referer_and_a_cookie_check_are_stored(tmp_path: Path) -> None:
    def respond(path: str, headers: Message) -> Response:
        if path.startswith("/photos/latest"):
            status, sent, body = page(cards(1), "document.cookie = 'seen=yes; path=/'")
            return status, {**sent, "Set-Cookie": "visit=1; path=/; HttpOnly"}, body
        cookies = headers["Cookie"] or ""
        wanted = (
            (headers["Referer"] or "").endswith("/photos/latest") and "visit=1" in cookies and "seen=yes" in cookies
        )
        return image_or_nothing(path) if wanted or not path.startswith("/img/") else (403, {}, b"hotlinked")

    with serving(respond) as base:
        assert crawl(base, tmp_path).stored == BATCH


@pytest.mark.slow
@pytest.mark.browser
@pytest.mark.parametrize(
    ("markup", "words"),
    [
        (
            "<div id=host></div><script>host.attachShadow({mode: 'open'}).innerHTML = CARDS</script>",
            "shadow root in <div#host>",
        ),
        ("<iframe srcdoc='CARDS'></iframe>", r"An iframe \(about:srcdoc\) has 6 pictures"),
    ],
)
def test_drift_report_names_pictures_in_shadow_roots_and_frames(tmp_path: Path, markup: str, words: str) -> None:
    hidden = cards(1).replace("'", "")
    inner = markup.replace("CARDS", json.dumps(hidden) if "script" in markup else hidden)
    with serving(site(lambda _: page("", rest=inner))) as base, pytest.raises(CrawlAbortedError, match=words):
        crawl(base, tmp_path)


@pytest.mark.slow
@pytest.mark.browser
def test_base_element_is_honored(tmp_path: Path) -> None:
    def other(path: str) -> Response:
        return image_or_nothing(path.removeprefix("/media")) if path.startswith("/media/") else (404, {}, b"")

    relative = page(cards(1).replace('src="/img/', 'src="img/'), rest="<base href='/media/'>")
    with serving(site(lambda _: relative, other)) as base:
        assert crawl(base, tmp_path).stored == BATCH


@pytest.mark.parametrize(
    "text",
    [
        "Load more",
        "LOAD MORE PHOTOS",
        "Show 24 more",
        "More",
        "Next \u203a",
        "next page »",
        "Older",
        "Older posts",
        "Weitere Fotos laden …",
        "Mehr anzeigen",
        "weiter",
        "Nächste Seite",
        "Afficher plus",
        "Suivant",
        "Ver más",
        "Mostra altri",
        "Volgende",
        "Показать ещё",
        "加载更多",
        "もっと見る",
        "더 보기",
        "→",
        "»",
    ],
)
def test_button_that_promises_more_is_recognized(text: str) -> None:
    assert continuation.promises_more(text)


@pytest.mark.parametrize(
    "text", ["", "More about us", "Read more", "Login", "Newer", "Previous", "Moreover", "Zurück", "Home"]
)
def test_other_buttons_are_not_pressed(text: str) -> None:
    assert not continuation.promises_more(text)


@pytest.mark.parametrize(
    ("text", "total"),
    [
        ("8 of 24", 24),
        ("Showing 1-8 of 1,024 photos", 1024),
        ("8 / 24", 24),
        ("8 von 24 Fotos", 24),
        ("24 of 24", None),
        ("Page 8 of 24", None),
        ("Seite 8 von 24", None),
        ("3 of 24", None),
        ("2026/8/24", None),
        ("8 photos", None),
    ],
)
def test_total_on_the_page_is_compared_with_the_photos_read(text: str, total: int | None) -> None:
    assert completeness.stated_total(text, 8) == total


@pytest.mark.parametrize(
    ("text", "total"),
    [
        ("Gallery\n24 photos\nNewest first", 24),
        ("Results: 1,234", 1234),
        ("1.234 Treffer gefunden", 1234),
        ("Total: 24", 24),
        ("24 photos\n24 photos", 24),
        ("8 photos", None),
        ("24 photos\n312 photos", None),  # of albums
        ("We have 24 photos of him.", None),
        ("Boeing 737\n2024", None),
    ],
)
def test_bare_total_is_a_separate_line(text: str, total: int | None) -> None:
    assert completeness.bare_total(text, 8) == total
