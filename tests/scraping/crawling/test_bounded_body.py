"""Bounded bodies: decompression bombs, slow responses and robots.txt in all encodings."""

import asyncio
import contextlib
import gzip
import io
import time
from pathlib import Path

import httpx
import pytest
from PIL import Image
from tests.scraping.web_server import serving

from planespotter_scraping.crawling import robots
from planespotter_scraping.crawling.backoff import Backoff
from planespotter_scraping.crawling.bounded_body import BodyError, get_body
from planespotter_scraping.crawling.photo_sink import PhotoSink
from planespotter_scraping.crawling.result import CrawlAbortedError
from planespotter_scraping.crawling.robots import Robots, decode_robots
from planespotter_scraping.sites import html_tree

RULES = "User-agent: *\nDisallow: /photos/\n"


@pytest.mark.parametrize(
    "body",
    [
        b"\xef\xbb\xbf" + RULES.encode(),
        b"\xef\xbb\xbf\xef\xbb\xbf" + RULES.replace("\n", "\r\n").encode(),
        b"# made by two tools\n\xef\xbb\xbf" + RULES.encode(),
        RULES.encode("utf-16"),
        RULES.encode("utf-16-be"),
        RULES.encode("utf-16-le"),
        RULES.encode("utf-32"),
        b"# caf\xe9\n" + RULES.encode(),
    ],
    ids=["utf-8 mark", "two marks", "mark inside", "utf-16", "utf-16-be", "utf-16-le", "utf-32", "latin-1"],
)
async def test_robots_txt_is_obeyed_in_every_encoding(body: bytes) -> None:
    assert "User-agent: *" in decode_robots(body).splitlines()
    with serving(lambda path, headers: (200, {"Content-Type": "text/plain"}, body)) as base:
        async with httpx.AsyncClient() as client:
            with pytest.raises(CrawlAbortedError, match=r"disallows it \(Disallow: /photos/\)"):
                await Robots(client).check_page(base + "/photos/latest")


async def test_rules_beyond_500_kib_of_robots_txt_are_obeyed() -> None:
    body = b"# filler\n" * 100_000 + RULES.encode()
    with serving(lambda path, headers: (200, {"Content-Type": "text/plain"}, body)) as base:
        async with httpx.AsyncClient() as client:
            with pytest.raises(CrawlAbortedError, match="disallows it"):
                await Robots(client).check_page(base + "/photos/latest")


async def test_robots_txt_that_is_a_decompression_bomb_opens_no_page() -> None:
    body = gzip.compress(b"#" * (robots.MAX_BYTES * 4), mtime=0)
    with serving(lambda path, headers: (200, {"Content-Encoding": "gzip"}, body)) as base:
        async with httpx.AsyncClient() as client:
            with pytest.raises(CrawlAbortedError, match=r"is too large: more than 4194304 bytes.*no page was opened"):
                await Robots(client).check_page(base + "/photos/latest")


async def test_slow_robots_txt_opens_no_page(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(robots, "TIMEOUT_SECONDS", 0.2)

    def respond(path: str, headers: object) -> tuple[int, dict[str, str], bytes]:
        time.sleep(0.6)
        return 200, {}, b""

    with serving(respond) as base:
        async with httpx.AsyncClient() as client:
            with pytest.raises(CrawlAbortedError, match=r"did not arrive within 0\.2 seconds"):
                await Robots(client).check_page(base + "/photos/latest")


@pytest.mark.parametrize(
    ("encoding", "body", "words"),
    [
        ("gzip, gzip", gzip.compress(b"x", mtime=0), "unsupported Content-Encoding: 'gzip, gzip'"),
        ("gzip", b"not gzip", "its compression is invalid"),
        ("gzip", gzip.compress(b"x" * 2000, mtime=0), "too large: more than 1000 bytes"),
        ("identity", b"x" * 2000, "too large"),
    ],
)
async def test_body_that_cannot_be_decoded_within_its_limit_is_rejected(encoding: str, body: bytes, words: str) -> None:
    with serving(lambda path, headers: (200, {"Content-Encoding": encoding}, body)) as base:
        async with httpx.AsyncClient() as client:
            with pytest.raises(BodyError, match=words):
                await get_body(client, base, max_bytes=1000, seconds=10, idle_seconds=10)


async def test_compressed_body_is_decoded() -> None:
    with serving(lambda path, headers: (200, {"Content-Encoding": "gzip"}, gzip.compress(b"rules", mtime=0))) as base:
        async with httpx.AsyncClient() as client:
            response, data = await get_body(client, base, max_bytes=5, seconds=10, idle_seconds=10)
    assert (response.status_code, data) == (200, b"rules")


@pytest.mark.parametrize("retry_after", ["0", "1", "Mon, 01 Jan 2024 00:00:00 GMT", "soon"])
def test_retry_after_never_shortens_the_backoff(monkeypatch: pytest.MonkeyPatch, retry_after: str) -> None:
    now = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    backoff = Backoff()
    waits = []
    for _ in range(3):
        backoff.postpone("http://photos.test/", 429, retry_after)
        waits.append(backoff.until - now)
        now = backoff.until
    assert waits == [5, 10, 20]


async def test_blur_up_placeholder_is_reported_and_not_stored(tmp_path: Path) -> None:
    image = io.BytesIO()
    Image.new("RGB", (20, 13)).save(image, "JPEG")
    with serving(lambda path, headers: (200, {"Content-Type": "image/jpeg"}, image.getvalue())) as base:
        async with httpx.AsyncClient() as client:
            sink = PhotoSink("sample", tmp_path, client, None)
            fields = dict.fromkeys(("constructor", "aircraft_type"), "")
            await sink.store({**fields, "photo_id": "1", "image_url": f"{base}/tiny.jpg"})
    assert sink.result.stored == 0
    assert "20 x 13 pixels: a placeholder" in sink.result.bad_images["sample-1"]
    assert not (tmp_path / "catalog.csv").exists()


@pytest.mark.parametrize("name", ["data-original", "data-lazy", "data-hi-res-src", "data-full", "data-large"])
def test_lazily_loaded_picture_is_taken_instead_of_its_placeholder(name: str) -> None:
    root = html_tree.parse(f'<img src="/tiny/1.jpg" {name}="/1.jpg">')
    (image,) = root.css("img")
    assert html_tree.image_url(image) == "/1.jpg"


async def test_body_that_drips_byte_by_byte_is_given_up_after_the_total_time() -> None:
    closed = asyncio.Event()

    async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
            while True:
                writer.write(b"#")
                await writer.drain()
                await asyncio.sleep(0.02)
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()
        closed.set()

    async with await asyncio.start_server(drip, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        async with httpx.AsyncClient() as client:
            with pytest.raises(BodyError, match=r"did not arrive within 0\.5 seconds"):
                await get_body(client, f"http://127.0.0.1:{port}/", max_bytes=10**7, seconds=0.5, idle_seconds=30)
        await asyncio.wait_for(closed.wait(), 30)  # the client has hung up
