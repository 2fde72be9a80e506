"""Test wiki: a photo wiki on localhost with the MediaWiki API, and faults that tests inject."""

import io
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.message import Message
from hashlib import sha1
from typing import Any
from urllib.parse import parse_qs, quote, unquote, urlsplit

from PIL import Image
from tests.scraping.web_server import Response, serving

Json = dict[str, Any]


@dataclass
class File:
    """A file of the wiki. `metadata` overrides values of its page; None removes one."""

    pageid: int
    title: str
    categories: list[str]
    metadata: dict[str, str | None] = field(default_factory=dict)
    mime: str = "image/jpeg"
    width: int = 3000
    height: int = 2000


@dataclass
class Wiki:
    """Content of the wiki, the faults to inject, and a record of the requests.

    Attributes:
        categories: Subcategories, by category.
        files: Files.
        batch: Maximum members in a batch.
        part_size: Files in a response with their categories; the rest comes in further parts of the batch.
        api_faults: First responses of the API: status, headers, and JSON or text.
        image_faults: First responses for an image, by page id of the file.
        warnings: Warnings of the API.
        robots: Content of robots.txt, None without one.
        max_images: Images to serve before `more` is set.
        more: Lets the wiki serve more images.
        queries: Parameters of all API requests.
        image_paths: Paths of all image requests.
        agents: User agents of all requests.
        active: Requests in progress.
        max_active: Maximum of `active`.
    """

    categories: dict[str, list[str]]
    files: list[File]
    batch: int = 50
    part_size: int = 1000
    api_faults: list[tuple[int, dict[str, str], object]] = field(default_factory=list)
    image_faults: dict[int, list[tuple[int, dict[str, str], object]]] = field(default_factory=dict)
    warnings: Json | None = None
    robots: str | None = None
    max_images: int = 1_000_000
    more: threading.Event = field(default_factory=threading.Event)
    queries: list[dict[str, str]] = field(default_factory=list)
    image_paths: list[str] = field(default_factory=list)
    agents: set[str] = field(default_factory=set)
    active: int = 0
    max_active: int = 0


def metadata_of(file: File) -> Json:
    values: dict[str, str | None] = {
        "Artist": f'<a href="//wiki.test/User:Tenzin{file.pageid}">Tenzin &amp; W. {file.pageid}</a>',
        "Credit": '<span class="int-own-work" lang="en">Own work</span>',
        "DateTimeOriginal": "2019-06-15 12:34:56",
        "ImageDescription": f"<p>{file.title} at <b>Paro</b></p>",
        "LicenseShortName": "CC BY-SA 4.0",
        "LicenseUrl": "https://creativecommons.org/licenses/by-sa/4.0",
        **file.metadata,
    }
    return {
        name: {"value": value, "source": "commons-desc-page"} for name, value in values.items() if value is not None
    }


def page_of(wiki: Wiki, file: File, base: str, width: int, *, with_categories: bool) -> Json:
    path = quote(f"{file.pageid}/{file.title.replace(' ', '_')}")
    scaled = min(width, file.width)
    page: Json = {
        "pageid": file.pageid,
        "ns": 6,
        "title": f"File:{file.title}",
        "imagerepository": "local",
        "imageinfo": [
            {
                "size": 9_000_000,
                "width": file.width,
                "height": file.height,
                "thumburl": f"{base}/thumb/{path}/{scaled}px.jpg",
                "thumbwidth": scaled,
                "thumbheight": round(scaled * file.height / file.width),
                "url": f"{base}/original/{path}",
                "descriptionurl": f"{base}/wiki/File:{path}",
                "sha1": sha1(file.title.encode()).hexdigest(),
                "mime": file.mime,
                "extmetadata": metadata_of(file),
            }
        ],
    }
    if with_categories:
        page["categories"] = [{"ns": 14, "title": f"Category:{name}"} for name in file.categories]
    return page


def respond(wiki: Wiki, query: dict[str, str], base: str) -> Json:
    """Return the response of the API to a query."""
    name = query["gcmtitle"].removeprefix("Category:")
    if "[" in name:
        return {"error": {"code": "invalidtitle", "info": f'Bad title "{name}".', "docref": "See the documentation."}}
    members: list[File | str] = [*wiki.categories.get(name, []), *(f for f in wiki.files if name in f.categories)]
    start = int(query.get("gcmcontinue", "file|0").rpartition("|")[2])
    part = int(query.get("clcontinue", "0|0").partition("|")[0])
    batch = members[start : start + min(wiki.batch, int(query["gcmlimit"]))]
    pages: list[Json] = []
    for position, member in enumerate(batch):
        in_part = part <= position < part + wiki.part_size
        if isinstance(member, File):
            pages.append(page_of(wiki, member, base, int(query["iiurlwidth"]), with_categories=in_part))
        else:
            pages.append({"pageid": 900_000 + hash(member) % 1000, "ns": 14, "title": f"Category:{member}"})
    content: Json = {"query": {"pages": pages}} if pages else {}
    if part + wiki.part_size < len(batch):
        content["continue"] = {"clcontinue": f"{part + wiki.part_size}|x", "continue": "||imageinfo"}
        if start:
            content["continue"]["gcmcontinue"] = query["gcmcontinue"]
    else:
        content["batchcomplete"] = True
        if start + len(batch) < len(members):
            content["continue"] = {"gcmcontinue": f"file|{start + len(batch)}", "continue": "gcmcontinue||"}
    if wiki.warnings:
        content["warnings"] = wiki.warnings
    return content


def picture(pageid: int, width: int) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (width, width * 2 // 3), (pageid % 256, pageid // 256 % 256, 90)).save(file, "JPEG")
    return file.getvalue()


@contextmanager
def serve(wiki: Wiki) -> Iterator[str]:
    """Serve the wiki while the context lasts, and yield its URL."""
    lock = threading.Lock()

    def handle(path: str, headers: Message) -> Response:
        with lock:
            wiki.active += 1
            wiki.max_active = max(wiki.max_active, wiki.active)
        try:
            status, response_headers, content = route(path, headers)
            content = content if isinstance(content, bytes | str) else json.dumps(content)
        finally:
            with lock:
                wiki.active -= 1
        return (
            status,
            response_headers,
            content if isinstance(content, bytes) else content.encode(errors="surrogatepass"),
        )

    def route(path: str, headers: Message) -> tuple[int, dict[str, str], object]:
        parts = urlsplit(path)
        wiki.agents.add(headers["User-Agent"])
        if parts.path == "/w/api.php":
            query = {name: values[0] for name, values in parse_qs(parts.query, keep_blank_values=True).items()}
            wiki.queries.append(query)
            base = f"http://{headers['Host']}"
            return wiki.api_faults.pop(0) if wiki.api_faults else (200, {}, respond(wiki, query, base))
        if parts.path == "/robots.txt":
            return (404, {}, "none") if wiki.robots is None else (200, {}, wiki.robots)
        _, kind, pageid = [*unquote(parts.path).split("/"), "", ""][:3]
        if kind in ("thumb", "original") and pageid.isdecimal():
            wiki.image_paths.append(parts.path)
            if len(wiki.image_paths) > wiki.max_images:
                wiki.more.wait(300)
            if wiki.image_faults.get(int(pageid)):
                return wiki.image_faults[int(pageid)].pop(0)
            return 200, {"Content-Type": "image/jpeg"}, picture(int(pageid), 300)
        return 404, {}, "not found"

    with serving(handle) as base:
        yield base


def fleet(count: int, category: str, first: int = 1, aircraft: str = "Airbus A320-214") -> list[File]:
    """Return `count` photos of different airframes in one category, with titles in a common form."""
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
    return [
        File(
            first + i,
            f"Lufthansa, {aircraft}, D-AI{letters[i // 26 % 26]}{letters[i % 26]} ({first + i}).jpg",
            [category],
        )
        for i in range(count)
    ]
