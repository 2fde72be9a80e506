"""Sample site server: serve the photo collection over HTTP on localhost, with faults that tests inject."""

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
NO_HEADERS: Mapping[str, str] = {}
CONTENT_TYPES = {".html": "text/html; charset=utf-8", ".css": "text/css", ".js": "text/javascript"}


@dataclass(frozen=True)
class Reply:
    """A response that replaces the site's.

    Attributes:
        body: Body of the response.
        content_type: Its Content-Type.
        status: HTTP status; 0 closes the connection without a response.
        headers: Additional headers; they override Content-Type and Content-Length.
    """

    body: bytes = b""
    content_type: str = CONTENT_TYPES[".html"]
    status: int = HTTPStatus.OK
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class SampleSite:
    """Content of the site, and the faults to inject.

    Attributes:
        photos: Number of photos.
        per_page: Photos on each page.
        broken_images: Photos whose image is a web page instead, by position; 0 is the latest photo.
        missing_images: Photos without an image, by position.
        broken_pages: Pages with a server error; the first page is 1.
        endless: Whether the list is one page with infinite scroll.
        missed_scrolls: Batches at whose end the page misses the first scroll; the first batch is 1.
        drift: Changes of the markup, each with the page or batch from which on it applies: "airline" or "maker" (linked
            in another way), or "cards" (made of other elements).
        intercept: Called with the path, including the query, and the headers of each request, in any thread. A Reply
            that it returns replaces the response.
    """

    photos: int = 600
    per_page: int = 48
    broken_images: tuple[int, ...] = ()
    missing_images: tuple[int, ...] = ()
    broken_pages: tuple[int, ...] = ()
    endless: bool = False
    missed_scrolls: tuple[int, ...] = ()
    drift: tuple[tuple[int, str], ...] = ()
    intercept: Callable[[str, Message], Reply | None] = lambda path, headers: None

    @cached_property
    def collection(self) -> list[Photo]:
        """All photos, the latest first."""
        return collection(self.photos)

    @property
    def listed(self) -> list[Photo]:
        """Photos that are in lists now."""
        return self.collection

    @cached_property
    def index(self) -> dict[str, int]:
        """Position of each photo in the collection, by its id."""
        return {str(photo.photo_id): position for position, photo in enumerate(self.collection)}


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """Ignore clients that disconnect, such as a killed crawl."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)  # type: ignore[arg-type]


class PortError(Exception):
    """The port cannot be used. The text is for users."""


@contextmanager
def serve(site: SampleSite | None = None, port: int = 0) -> Iterator[str]:
    """Serve a site on 127.0.0.1 while the context lasts.

    Args:
        site: The site. Default: one without faults.
        port: Port; 0 for a free one.

    Yields:
        URL of the site.

    Raises:
        PortError: The port cannot be used.
    """
    try:
        server = _Server(("127.0.0.1", port), _handler(site or SampleSite()))
    except OSError as error:
        raise PortError(
            f"Port {port} cannot be used: {error.strerror}. Choose another one, or 0 for a free one."
        ) from None
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def page_json(site: SampleSite, path: str, page: int) -> dict[str, object] | None:
    """Return the JSON of a list page.

    Args:
        site: The site.
        path: Path of the list.
        page: Number of the page, from 1.

    Returns:
        The JSON, None if the page does not exist.
    """
    photos = site.listed if path == LATEST else [photo for photo in site.listed if _is_in_list(photo, path)]
    pages = -(-len(photos) // site.per_page)
    if not 1 <= page <= pages:
        return None
    page_photos = photos[(page - 1) * site.per_page : page * site.per_page]
    return {
        "page": page,
        "pages": pages,
        "photos": [_as_json(photo) for photo in page_photos],
        "endless": site.endless,
        "misses_scroll": page in site.missed_scrolls,
        "drift": [change for since, change in site.drift if page >= since],
    }


def _is_in_list(photo: Photo, path: str) -> bool:
    """Return whether a photo is in the list at a path such as /airline/Kestrel (not LATEST)."""
    lists = {
        f"/photos/manufacturer/{photo.constructor}",
        f"/photos/aircraft/{photo.constructor}/{photo.aircraft_type}",
        f"/photos/reg/{photo.registration}",
        f"/photos/date/{photo.taken_on}",
        f"/airline/{photo.airline}",
        f"/photo/{photo.photo_id}/{photo.slug}",
    }
    return path in lists


def _as_json(photo: Photo) -> dict[str, object]:
    """Return the JSON of a photo for the site's script."""
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
        protocol_version = "HTTP/1.1"  # persistent connections halve the duration of a crawl
        disable_nagle_algorithm = True  # otherwise the body waits for the ACK of the headers

        def do_GET(self) -> None:
            if (reply := site.intercept(self.path, self.headers)) is not None:
                if reply.status:
                    self._send(reply.body, reply.content_type, reply.status, reply.headers)
                self.close_connection = not reply.status
                return
            url = urlsplit(self.path)
            path, query = unquote(url.path), parse_qs(url.query)
            page = query.get("page", ["1"])[0]
            number = int(page) if page.isdecimal() else 0
            if path == "/":
                self._send(b"", "text/plain", HTTPStatus.FOUND, {"Location": LATEST})
            elif path == "/robots.txt":
                self._send(b"User-agent: *\nAllow: /\n", "text/plain")
            elif path.startswith("/static/") and (file := STATIC / Path(path).name).is_file():
                self._send(file.read_bytes(), CONTENT_TYPES[file.suffix])
            elif path.startswith("/images/"):
                self._send_image(Path(path).stem)
            elif path == "/api/photos":
                content = page_json(site, query.get("of", [LATEST])[0], number)
                status = HTTPStatus.OK if content else HTTPStatus.NOT_FOUND
                self._send(json.dumps(content).encode(), "application/json", status)
            elif path.startswith(("/photos/", "/photo/", "/airline/")):
                broken = number in site.broken_pages
                status = HTTPStatus.INTERNAL_SERVER_ERROR if broken else HTTPStatus.OK
                self._send((STATIC / "index.html").read_bytes(), CONTENT_TYPES[".html"], status)
            else:
                self._send_not_found()

        def _send_image(self, name: str) -> None:
            position = site.index.get(name)
            if position is None or position in site.missing_images:
                self._send_not_found()
            elif position in site.broken_images:
                self._send(b"<!doctype html><p>Come back later.</p>", CONTENT_TYPES[".html"])
            else:
                photo = site.collection[position]
                self._send(drawing.draw(photo.airliner, photo.livery, photo.photo_id), "image/jpeg")

        def _send_not_found(self) -> None:
            self._send(b"Page not found.", "text/plain", HTTPStatus.NOT_FOUND)

        def _send(
            self, body: bytes, content_type: str, status: int = HTTPStatus.OK, headers: Mapping[str, str] = NO_HEADERS
        ) -> None:
            self.send_response(status)
            for name, value in {"Content-Type": content_type, "Content-Length": str(len(body)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            """Log nothing: the terminal belongs to the crawl."""

    return Handler
