"""Sites that may only be scraped with permission: the gate, and a crawl through replica pages on this machine."""

import io
from collections.abc import Iterator
from dataclasses import replace
from email.message import Message
from pathlib import Path

import pytest
from PIL import Image
from tests.scraping.web_server import Answer, serving
from typer.testing import CliRunner

from planespotter_scraping import catalog
from planespotter_scraping.cli import app
from planespotter_scraping.crawling import crawl
from planespotter_scraping.crawling.crawl import scrape
from planespotter_scraping.crawling.result import ScrapeError
from planespotter_scraping.sites import planespotters

LEAVE, CONTACT = "Tenzin W., 30 June 2026", "spotter@photos.test"


def card(photo_id: int, slug: str, aircraft_type: str) -> str:
    return (
        f'<div id="{photo_id}" data-photo-url="/photo/{photo_id}/{slug}"><img src="/images/{photo_id}_t.jpg" '
        f'srcset="/images/{photo_id}_280.jpg 2x"><a href="/photos/aircraft/Boeing/737">{aircraft_type}</a>'
        '<a href="/photos/manufacturer/Boeing">Boeing</a><a href="/airline/Druk">Druk</a></div>'
    )


# The first page is built by the server, the second in the browser, and bit by bit.
PAGES = {
    "/photos/latest": card(11, "a5-abc-druk-boeing-737-8as", "737-8AS")
    + card(7, "a5-abd-druk-boeing-737-7bd", "737-8AS")
    + '<a href="?page=2">2</a>',
    "/photos/latest?page=2": "<main></main><script>const add = (html) => "
    "document.querySelector('main').insertAdjacentHTML('beforeend', html);"
    f"setTimeout(() => add(`{card(5, 'a5-abe-druk-boeing-737-8as', '737-8AS')}`), 50);"
    f"setTimeout(() => add(`{card(4, 'a5-abf-druk-boeing-737-8as', '737-8AS')}`), 350);</script>",
}
Asked = list[tuple[str, str]]


@pytest.fixture
def replica() -> Iterator[tuple[str, Asked]]:
    """The address of a site of two pages, and what is asked of it: paths, and who asks."""
    asked: Asked = []
    photo = io.BytesIO()
    Image.new("RGB", (420, 280), "navy").save(photo, "JPEG")

    def answer(path: str, headers: Message) -> Answer:
        asked.append((path, headers["User-Agent"]))
        kind, body = "text/plain", b"User-agent: *\nAllow: /\n"
        if path in PAGES:
            kind, body = "text/html; charset=utf-8", f"<!doctype html><body>{PAGES[path]}".encode()
        elif path.startswith("/images/"):
            kind, body = "image/jpeg", photo.getvalue()
        return 200, {"Content-Type": kind}, body

    with serving(answer) as base:
        yield base, asked


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({}, 'not scraped without permission: .* --permission "who allowed it, and when"'),
        ({"permission": " "}, "not scraped without permission"),
        ({"permission": LEAVE}, "is a live one.*--contact"),
        ({"permission": LEAVE, "contact": "me"}, "'me' is no way to reach you"),
        ({"permission": LEAVE, "contact": "a@b.test\r\nX: y"}, "is no way to reach you"),
    ],
)
def test_without_permission_and_a_contact_nothing_is_asked(
    tmp_path: Path, replica: tuple[str, Asked], given: dict[str, str], words: str
) -> None:
    address, asked = replica
    with pytest.raises(ScrapeError, match=words):
        scrape("planespotters", tmp_path / "photos", url=address, **given)  # type: ignore[arg-type]
    assert not asked
    assert not (tmp_path / "photos").exists()


def test_the_command_refuses_as_well(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["scrape", "--site", "planespotters", "--out", str(tmp_path)])
    assert isinstance(result.exception, ScrapeError)
    assert "--permission" in str(result.exception)


@pytest.mark.slow
@pytest.mark.browser
def test_a_crawl_with_permission_keeps_it_beside_each_photo(
    tmp_path: Path, replica: tuple[str, Asked], monkeypatch: pytest.MonkeyPatch
) -> None:
    address, asked = replica
    hurried = replace(planespotters.SITE, pages_per_minute=float("inf"))
    monkeypatch.setitem(crawl.SITES, "planespotters", hurried)
    for number in range(3):  # the catalog has photos of another site, and gets two columns more
        catalog.append(tmp_path, {"photo_id": f"sample-{number}", "source": "sample", "airline": "Borealis"}, b"a")
    before = catalog.read(tmp_path)
    outcome = scrape("planespotters", tmp_path, url=address, permission=LEAVE, contact=CONTACT)
    assert (outcome.pages, outcome.stored) == (2, 4)
    assert outcome.missing["photographer"] == {"not on the card": 4}

    frame = catalog.read(tmp_path)
    catalog.check(tmp_path, frame, hashes=True)
    assert frame.iloc[: len(before)][before.columns].equals(before)
    new = frame[frame["source"] == "planespotters"].set_index("photo_id")
    assert set(new.index) == {f"planespotters-{number}" for number in (11, 7, 5, 4)}
    assert set(new["permission"]) == {LEAVE}
    assert set(new["airline"]) == {"Druk"}
    assert set(frame["permission"].iloc[: len(before)]) == {""}
    assert "the card says 737-8AS, the address 737-7BD" in new["review"].to_dict()["planespotters-7"]
    assert {path for path, _ in asked if path.startswith("/images/")} == {f"/images/{n}_280.jpg" for n in (11, 7, 5, 4)}
    assert {agent for _, agent in asked} == {f"planespotter/0.1 (+{CONTACT})"}
