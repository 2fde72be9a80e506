"""Serve the sample site over HTTP from this machine."""

import json
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.message import Message
from functools import cached_property
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

from planespotter_scraping.sample_site import drawing
from planespotter_scraping.sample_site.photos import Photo, collection

LATEST = "/photos/latest"
STATIC = Path(__file__).parent / "static"
NOTHING: Mapping[str, str] = {}
KINDS = {".html": "text/html; charset=utf-8", ".css": "text/css", ".js": "text/javascript"}


@dataclass(frozen=True)
class Reply:
    """An answer other than the site's own. `headers` come on top, or instead of those that follow from the body.

    The `status` 0 is none: the connection is cut.
    """

    body: bytes = b""
    kind: str = KINDS[".html"]
    status: int = HTTPStatus.OK
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class SampleSite:
    """What the site holds, and how it misbehaves where a test wants it to.

    `photos` is how many there are and `per_page` how many of them a page lists. The images of `broken_images` are
    answered with a web page instead, and those of `missing_images` not at all; both count from the latest photo,
    which is 0. The pages of `broken_pages` (the first is 1) answer with a server error.

    An `endless` site has one page, which goes on as one scrolls; it misses that it was scrolled at the end of the
    batches `stalls` (the first is 1). `redesigns` says by page, or batch, from where on something about the cards is
    different: "airline" or "maker" (no longer linked as they were) or "cards" (made of other elements).

    `interfere` is given the path and query of each request, and its headers, before it is answered, in any thread. It
    may return a Reply to give instead.
    """

    photos: int = 600
    per_page: int = 48
    broken_images: tuple[int, ...] = ()
    missing_images: tuple[int, ...] = ()
    broken_pages: tuple[int, ...] = ()
    endless: bool = False
    stalls: tuple[int, ...] = ()
    redesigns: tuple[tuple[int, str], ...] = ()
    interfere: Callable[[str, Message], Reply | None] = lambda path, headers: None

    @cached_property
    def collection(self) -> list[Photo]:
        """The photos, the latest first."""
        return collection(self.photos)

    @property
    def shown(self) -> list[Photo]:
        """Those of the photos that are in lists now."""
        return self.collection

    @cached_property
    def index(self) -> dict[str, int]:
        """The place of each photo in the collection, by its id."""
        return {str(photo.photo_id): place for place, photo in enumerate(self.collection)}


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing of visitors who hang up, such as a crawl that was killed."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)  # type: ignore[arg-type]


class PortError(Exception):
    """The port cannot be used. The text says which one, why, and what to do."""


@contextmanager
def serve(site: SampleSite | None = None, port: int = 0) -> Iterator[str]:
    """Serve `site` on 127.0.0.1 while the context lasts; the value is its address. Port 0 takes a free one."""
    try:
        server = _Server(("127.0.0.1", port), _handler(site or SampleSite()))
    except OSError as error:
        raise PortError(f"Port {port} cannot be used: {error.strerror}. Choose another one, or 0 for any.") from None
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def listing(site: SampleSite, of: str, page: int) -> dict[str, object] | None:
    """Return what page `page` of the list at the path `of` shows, as its JSON; None if there is no such page."""
    photos = site.shown if of == LATEST else [photo for photo in site.shown if _belongs(photo, of)]
    pages = -(-len(photos) // site.per_page)
    if not 1 <= page <= pages:
        return None
    shown = photos[(page - 1) * site.per_page : page * site.per_page]
    return {
        "page": page,
        "pages": pages,
        "photos": [_as_json(photo) for photo in shown],
        "endless": site.endless,
        "stalls": page in site.stalls,
        "redesigned": [what for since, what in site.redesigns if page >= since],
    }


def _belongs(photo: Photo, of: str) -> bool:
    """Return whether `photo` is in the list that has the path `of`, such as /airline/Kestrel, if that is not LATEST."""
    lists = {
        f"/photos/manufacturer/{photo.constructor}",
        f"/photos/aircraft/{photo.constructor}/{photo.aircraft_type}",
        f"/photos/reg/{photo.registration}",
        f"/photos/date/{photo.taken_on}",
        f"/airline/{photo.airline}",
        f"/photo/{photo.photo_id}/{photo.slug}",
    }
    return of in lists


def _as_json(photo: Photo) -> dict[str, object]:
    """Return a photo as the site's own script reads it."""
    return {
        "id": photo.photo_id,
        "slug": photo.slug,
        "constructor": photo.constructor,
        "aircraft_type": photo.aircraft_type,
        "airline": photo.airline,
        "registration": photo.registration,
        "photographer": photo.photographer,
        "taken_on": photo.taken_on,
        "image": f"/images/{photo.photo_id}.jpg",
    }


def _handler(site: SampleSite) -> type[BaseHTTPRequestHandler]:
    """Return a request handler for `site`."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"  # keeps the connection, which halves the time that a crawl takes
        disable_nagle_algorithm = True  # else the second part of an answer waits for word that the first has come

        def do_GET(self) -> None:
            if (reply := site.interfere(self.path, self.headers)) is not None:
                if reply.status:
                    self._answer(reply.body, reply.kind, reply.status, reply.headers)
                self.close_connection = not reply.status
                return
            url = urlsplit(self.path)
            path, query = unquote(url.path), parse_qs(url.query)
            page = query.get("page", ["1"])[0]
            number = int(page) if page.isdecimal() else 0
            if path == "/":
                self._answer(b"", "text/plain", HTTPStatus.FOUND, {"Location": LATEST})
            elif path == "/robots.txt":
                self._answer(b"User-agent: *\nAllow: /\n", "text/plain")
            elif path.startswith("/static/") and (file := STATIC / Path(path).name).is_file():
                self._answer(file.read_bytes(), KINDS[file.suffix])
            elif path.startswith("/images/"):
                self._image(Path(path).stem)
            elif path == "/api/photos":
                shown = listing(site, query.get("of", [LATEST])[0], number)
                status = HTTPStatus.OK if shown else HTTPStatus.NOT_FOUND
                self._answer(json.dumps(shown).encode(), "application/json", status)
            elif path.startswith(("/photos/", "/photo/", "/airline/")):
                broken = number in site.broken_pages
                status = HTTPStatus.INTERNAL_SERVER_ERROR if broken else HTTPStatus.OK
                self._answer((STATIC / "index.html").read_bytes(), KINDS[".html"], status)
            else:
                self._missing()

        def _image(self, name: str) -> None:
            place = site.index.get(name)
            if place is None or place in site.missing_images:
                self._missing()
            elif place in site.broken_images:
                self._answer(b"<!doctype html><p>Come back later.</p>", KINDS[".html"])
            else:
                photo = site.collection[place]
                self._answer(drawing.draw(photo.airliner, photo.livery, photo.photo_id), "image/jpeg")

        def _missing(self) -> None:
            self._answer(b"There is no such page.", "text/plain", HTTPStatus.NOT_FOUND)

        def _answer(
            self, body: bytes, kind: str, status: int = HTTPStatus.OK, headers: Mapping[str, str] = NOTHING
        ) -> None:
            self.send_response(status)
            for name, value in {"Content-Type": kind, "Content-Length": str(len(body)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            """Stay silent: the crawl has the terminal."""

    return Handler
