"""Crawl of the sample site on localhost, in a real headless Chromium."""

import asyncio
from contextlib import suppress
from pathlib import Path

import httpx
import pytest
from typer.testing import CliRunner

from planespotter_scraping import catalog
from planespotter_scraping.crawling.crawl import scrape
from planespotter_scraping.crawling.photo_sink import download_image
from planespotter_scraping.crawling.result import ScrapeError
from planespotter_scraping.images import validation
from planespotter_scraping.sample_site.photos import collection
from planespotter_scraping.sample_site.server import SampleSite, serve


@pytest.mark.slow
@pytest.mark.browser
def test_crawl_stores_each_photo_of_the_site(tmp_path: Path) -> None:
    site = SampleSite(photos=24, per_page=16, broken_images=(3,), missing_images=(20,))
    with serve(site) as base:
        result = scrape("sample", tmp_path, url=base, constructors=None)
        assert (result.pages, result.stored) == (2, 22)
        frame = catalog.read(tmp_path)
        catalog.check(tmp_path, frame, hashes=True)
        expected = {
            f"sample-{photo.photo_id}": photo
            for position, photo in enumerate(site.collection)
            if position not in (3, 20)
        }
        assert set(frame["photo_id"]) == set(expected)
        for _, row in frame.iterrows():
            photo = expected[row["photo_id"]]
            assert row["constructor"] == photo.constructor
            assert row["aircraft_type"] == photo.aircraft_type
            assert row["airline"] == photo.airline
            assert row["registration"] == photo.registration
            assert (row["source"], row["width"], row["height"]) == ("sample", "320", "213")
        reasons = [result.bad_images[f"sample-{site.collection[position].photo_id}"] for position in (3, 20)]
        assert "not an image, but a web page" in reasons[0]
        assert "404" in reasons[1]

        again = scrape("sample", tmp_path, url=base, constructors=None)
        assert (again.pages, again.stored, again.known) == (2, 0, 22)
        assert catalog.read(tmp_path).equals(frame)


@pytest.mark.slow
@pytest.mark.browser
def test_only_requested_constructors_and_pages_are_stored(tmp_path: Path) -> None:
    with serve(SampleSite(photos=36, per_page=12)) as base:
        result = scrape("sample", tmp_path, url=base, pages=2, constructors=["boeing", "ATR"])
    wanted = [photo for photo in collection(36)[:24] if photo.constructor in ("Boeing", "ATR")]
    assert result.pages == 2
    assert len(catalog.read(tmp_path)) == result.stored == len(wanted)
    assert result.other_constructors == {"Airbus": 24 - len(wanted)}


def test_misspelled_constructor_is_rejected_before_any_request(tmp_path: Path) -> None:
    words = r"The constructor 'Boing' is unknown\. Did you mean Boeing\?"
    with pytest.raises(ScrapeError, match=words):
        scrape("sample", tmp_path / "photos", url="http://127.0.0.1:9", constructors=["Airbus", "Boing"])
    assert not (tmp_path / "photos").exists()


@pytest.mark.slow
@pytest.mark.browser
def test_constructors_without_photos_raise_an_error_with_the_available_ones(tmp_path: Path) -> None:
    words = r"of 12 photos, none shows an aircraft by Sukhoi\. They are by (\w+ \(\d+\)(, )?)+\. Pass some of these"
    with serve(SampleSite(photos=12)) as base, pytest.raises(ScrapeError, match=words):
        scrape("sample", tmp_path / "photos", url=base, constructors=["Sukhoi"])


@pytest.mark.slow
@pytest.mark.browser
def test_unreadable_page_is_named(tmp_path: Path) -> None:
    words = r"page .*page=2 could not be read: the site responded with 500"
    site = SampleSite(photos=40, per_page=20, broken_pages=(2,))
    with serve(site) as base, pytest.raises(ScrapeError, match=words):
        scrape("sample", tmp_path, url=base, constructors=None)
    assert len(catalog.read(tmp_path)) == 20


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"site_name": "nosuch"}, "site 'nosuch' is unknown. Choose one of: sample"),
        ({"url": "photos"}, "'photos' is not the URL of a site"),
        ({"url": "http://127.0.0.1:99999"}, "is not the URL of a site"),
        ({"url": "http://[::1"}, "is not the URL of a site"),
        ({"out": Path(__file__)}, "is a file. Choose a folder"),
    ],
)
def test_crawl_that_cannot_start_explains_why(tmp_path: Path, arguments: dict[str, object], words: str) -> None:
    with pytest.raises(ScrapeError, match=words):
        scrape(**{"site_name": "sample", "out": tmp_path, **arguments})  # type: ignore[arg-type]


@pytest.mark.slow
async def test_unreachable_image_raises_a_reason() -> None:
    async with httpx.AsyncClient() as client:
        with pytest.raises(ValueError, match="did not respond"):
            await download_image(client, "http://127.0.0.1:9/1.jpg")
        with pytest.raises(ValueError, match="did not respond"):
            await download_image(client, "")


async def test_endless_image_download_is_aborted() -> None:
    async def send_forever(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        with suppress(ConnectionError):
            while True:
                writer.write(bytes(1 << 16))
                await writer.drain()

    async with await asyncio.start_server(send_forever, "127.0.0.1") as server, httpx.AsyncClient() as client:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(ValueError, match=f"more than {validation.IMAGE_BYTES} bytes"):
            await download_image(client, f"http://127.0.0.1:{port}/1.jpg")


def test_install_browser_command_finds_an_installed_browser() -> None:
    from planespotter_scraping.cli import app

    invocation = CliRunner().invoke(app, ["install-browser"])
    assert invocation.exit_code == 0
    assert invocation.stdout.startswith("Chromium: ")
