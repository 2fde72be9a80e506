"""A wiki of photos on this machine, which answers in the form of the MediaWiki API, and misbehaves if told to."""

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
from tests.scraping.web_server import Answer, serving

Json = dict[str, Any]


@dataclass
class File:
    """A file of the wiki. `metadata` takes the place of some of what its page says; None leaves it out."""

    pageid: int
    title: str
    categories: list[str]
    metadata: dict[str, str | None] = field(default_factory=dict)
    mime: str = "image/jpeg"
    width: int = 3000
    height: int = 2000


@dataclass
class Wiki:
    """The categories, each with those in it and by way of `files` with files, and how the server is to behave.

    `trouble` are answers that come first, before things go well: (status, headers, JSON or text) for the API, and
    `image_trouble` the same for a file, by its page id. `part_size`: answers name the categories of so many files
    at a time, and the rest in further parts. `most`: of images it gives so many, and the others once `more` is set.
    """

    categories: dict[str, list[str]]
    files: list[File]
    batch: int = 50
    part_size: int = 1000
    trouble: list[tuple[int, dict[str, str], object]] = field(default_factory=list)
    image_trouble: dict[int, list[tuple[int, dict[str, str], object]]] = field(default_factory=dict)
    warnings: Json | None = None
    robots: str | None = None
    most: int = 1_000_000
    more: threading.Event = field(default_factory=threading.Event)
    asked: list[dict[str, str]] = field(default_factory=list)  # of the API
    fetched: list[str] = field(default_factory=list)  # paths of images
    agents: set[str] = field(default_factory=set)
    at_once: int = 0
    most_at_once: int = 0


def metadata_of(file: File) -> Json:
    said: dict[str, str | None] = {
        "Artist": f'<a href="//wiki.test/User:Tenzin{file.pageid}">Tenzin &amp; W. {file.pageid}</a>',
        "Credit": '<span class="int-own-work" lang="en">Own work</span>',
        "DateTimeOriginal": "2019-06-15 12:34:56",
        "ImageDescription": f"<p>{file.title} at <b>Paro</b></p>",
        "LicenseShortName": "CC BY-SA 4.0",
        "LicenseUrl": "https://creativecommons.org/licenses/by-sa/4.0",
        **file.metadata,
    }
    return {name: {"value": value, "source": "commons-desc-page"} for name, value in said.items() if value is not None}


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


def answer(wiki: Wiki, asked: dict[str, str], base: str) -> Json:
    """Return what the API says to the question `asked`."""
    name = asked["gcmtitle"].removeprefix("Category:")
    if "[" in name:
        return {"error": {"code": "invalidtitle", "info": f'Bad title "{name}".', "docref": "See the documentation."}}
    members: list[File | str] = [*wiki.categories.get(name, []), *(f for f in wiki.files if name in f.categories)]
    start = int(asked.get("gcmcontinue", "file|0").rpartition("|")[2])
    part = int(asked.get("clcontinue", "0|0").partition("|")[0])
    batch = members[start : start + min(wiki.batch, int(asked["gcmlimit"]))]
    pages: list[Json] = []
    for place, member in enumerate(batch):
        shown = part <= place < part + wiki.part_size
        if isinstance(member, File):
            pages.append(page_of(wiki, member, base, int(asked["iiurlwidth"]), with_categories=shown))
        else:
            pages.append({"pageid": 900_000 + hash(member) % 1000, "ns": 14, "title": f"Category:{member}"})
    said: Json = {"query": {"pages": pages}} if pages else {}
    if part + wiki.part_size < len(batch):
        said["continue"] = {"clcontinue": f"{part + wiki.part_size}|x", "continue": "||imageinfo"}
        if start:
            said["continue"]["gcmcontinue"] = asked["gcmcontinue"]
    else:
        said["batchcomplete"] = True
        if start + len(batch) < len(members):
            said["continue"] = {"gcmcontinue": f"file|{start + len(batch)}", "continue": "gcmcontinue||"}
    if wiki.warnings:
        said["warnings"] = wiki.warnings
    return said


def picture(pageid: int, width: int) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (width, width * 2 // 3), (pageid % 256, pageid // 256 % 256, 90)).save(file, "JPEG")
    return file.getvalue()


@contextmanager
def serve(wiki: Wiki) -> Iterator[str]:
    """Serve the wiki; the value is its address."""
    lock = threading.Lock()

    def answer_to(path: str, headers: Message) -> Answer:
        with lock:
            wiki.at_once += 1
            wiki.most_at_once = max(wiki.most_at_once, wiki.at_once)
        try:
            status, further, content = respond(path, headers)
            content = content if isinstance(content, bytes | str) else json.dumps(content)
        finally:
            with lock:
                wiki.at_once -= 1
        return status, further, content if isinstance(content, bytes) else content.encode(errors="surrogatepass")

    def respond(path: str, headers: Message) -> tuple[int, dict[str, str], object]:
        parts = urlsplit(path)
        wiki.agents.add(headers["User-Agent"])
        if parts.path == "/w/api.php":
            asked = {name: values[0] for name, values in parse_qs(parts.query, keep_blank_values=True).items()}
            wiki.asked.append(asked)
            base = f"http://{headers['Host']}"
            return wiki.trouble.pop(0) if wiki.trouble else (200, {}, answer(wiki, asked, base))
        if parts.path == "/robots.txt":
            return (404, {}, "none") if wiki.robots is None else (200, {}, wiki.robots)
        _, kind, pageid = [*unquote(parts.path).split("/"), "", ""][:3]
        if kind in ("thumb", "original") and pageid.isdecimal():
            wiki.fetched.append(parts.path)
            if len(wiki.fetched) > wiki.most:
                wiki.more.wait(300)
            if wiki.image_trouble.get(int(pageid)):
                return wiki.image_trouble[int(pageid)].pop(0)
            return 200, {"Content-Type": "image/jpeg"}, picture(int(pageid), 300)
        return 404, {}, "nothing here"

    with serving(answer_to) as base:
        yield base


def fleet(count: int, category: str, first: int = 1, maker_and_type: str = "Airbus A320-214") -> list[File]:
    """Return `count` photos of different airframes in one category, titled as spotters do."""
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
    return [
        File(
            first + place,
            f"Lufthansa, {maker_and_type}, D-AI{letters[place // 26 % 26]}{letters[place % 26]} ({first + place}).jpg",
            [category],
        )
        for place in range(count)
    ]
