"""Sites that require permission: rejection without it, and a crawl of replica pages on localhost."""

import io
from collections.abc import Iterator
from dataclasses import replace
from email.message import Message
from pathlib import Path

import pytest
from PIL import Image
from tests.scraping.web_server import Response, serving
from typer.testing import CliRunner

from planespotter_scraping import catalog
from planespotter_scraping.cli import app
from planespotter_scraping.crawling import crawl
from planespotter_scraping.crawling.crawl import scrape
from planespotter_scraping.crawling.result import ScrapeError
from planespotter_scraping.sites import planespotters

PERMISSION, CONTACT = "Tenzin W., 30 June 2026", "spotter@photos.test"


def card(photo_id: int, slug: str, aircraft_type: str) -> str:
    return (
        f'<div id="{photo_id}" data-photo-url="/photo/{photo_id}/{slug}"><img src="/images/{photo_id}_t.jpg" '
        f'srcset="/images/{photo_id}_280.jpg 2x"><a href="/photos/aircraft/Boeing/737">{aircraft_type}</a>'
        '<a href="/photos/manufacturer/Boeing">Boeing</a><a href="/airline/Druk">Druk</a></div>'
    )


# The server renders the first page; the browser builds the second one incrementally.
PAGES = {
    "/photos/latest": card(11, "a5-abc-druk-boeing-737-8as", "737-8AS")
    + card(7, "a5-abd-druk-boeing-737-7bd", "737-8AS")
    + '<a href="?page=2">2</a>',
    "/photos/latest?page=2": "<main></main><script>const add = (html) => "
    "document.querySelector('main').insertAdjacentHTML('beforeend', html);"
    f"setTimeout(() => add(`{card(5, 'a5-abe-druk-boeing-737-8as', '737-8AS')}`), 50);"
    f"setTimeout(() => add(`{card(4, 'a5-abf-druk-boeing-737-8as', '737-8AS')}`), 350);</script>",
}
Requests = list[tuple[str, str]]


@pytest.fixture
def replica() -> Iterator[tuple[str, Requests]]:
    """URL of a site with two pages, and its requests: path and user agent."""
    requests: Requests = []
    photo = io.BytesIO()
    Image.new("RGB", (420, 280), "navy").save(photo, "JPEG")

    def respond(path: str, headers: Message) -> Response:
        requests.append((path, headers["User-Agent"]))
        kind, body = "text/plain", b"User-agent: *\nAllow: /\n"
        if path in PAGES:
            kind, body = "text/html; charset=utf-8", f"<!doctype html><body>{PAGES[path]}".encode()
        elif path.startswith("/images/"):
            kind, body = "image/jpeg", photo.getvalue()
        return 200, {"Content-Type": kind}, body

    with serving(respond) as base:
        yield base, requests


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, 'not scraped without permission: .* --permission "who allowed it, and when"'),
        ({"permission": " "}, "not scraped without permission"),
        ({"permission": PERMISSION}, "is live.*--contact"),
        ({"permission": PERMISSION, "contact": "me"}, "--contact 'me' is invalid"),
        ({"permission": PERMISSION, "contact": "a@b.test\r\nX: y"}, "is invalid"),
    ],
)
def test_crawl_without_permission_or_contact_sends_no_request(
    tmp_path: Path, replica: tuple[str, Requests], options: dict[str, str], words: str
) -> None:
    url, requests = replica
    with pytest.raises(ScrapeError, match=words):
        scrape("planespotters", tmp_path / "photos", url=url, **options)  # type: ignore[arg-type]
    assert not requests
    assert not (tmp_path / "photos").exists()


def test_command_requires_permission(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["scrape", "--site", "planespotters", "--out", str(tmp_path)])
    assert isinstance(result.exception, ScrapeError)
    assert "--permission" in str(result.exception)


@pytest.mark.slow
@pytest.mark.browser
def test_crawl_records_the_permission_with_each_photo(
    tmp_path: Path, replica: tuple[str, Requests], monkeypatch: pytest.MonkeyPatch
) -> None:
    url, requests = replica
    unlimited = replace(planespotters.SITE, pages_per_minute=float("inf"))
    monkeypatch.setitem(crawl.SITES, "planespotters", unlimited)
    for number in range(3):  # photos of another site, in a catalog that gets two more columns
        catalog.append(tmp_path, {"photo_id": f"sample-{number}", "source": "sample", "airline": "Borealis"}, b"a")
    existing = catalog.read(tmp_path)
    result = scrape("planespotters", tmp_path, url=url, permission=PERMISSION, contact=CONTACT)
    assert (result.pages, result.stored) == (2, 4)
    assert result.missing["photographer"] == {"not on the card": 4}

    frame = catalog.read(tmp_path)
    catalog.check(tmp_path, frame, hashes=True)
    assert frame.iloc[: len(existing)][existing.columns].equals(existing)
    new = frame[frame["source"] == "planespotters"].set_index("photo_id")
    assert set(new.index) == {f"planespotters-{number}" for number in (11, 7, 5, 4)}
    assert set(new["permission"]) == {PERMISSION}
    assert set(new["airline"]) == {"Druk"}
    assert set(frame["permission"].iloc[: len(existing)]) == {""}
    assert "card 737-8AS, URL 737-7BD" in new["review"].to_dict()["planespotters-7"]
    assert {path for path, _ in requests if path.startswith("/images/")} == {
        f"/images/{n}_280.jpg" for n in (11, 7, 5, 4)
    }
    assert {agent for _, agent in requests} == {f"planespotter/0.1 (+{CONTACT})"}
