"""The web application of a review: photos, decisions and progress as JSON."""

import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict
from hashlib import blake2b
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from planespotter_client._types import percent
from planespotter_client.web import app as web_app
from planespotter_client.web.middleware import SecurityMiddleware
from planespotter_photos import PhotoError, formats
from planespotter_scraping.reviewing import (
    ReviewError,
    ReviewPhoto,
    ReviewSession,
    known_types,
    summary_sentences,
)

PAGE = Path(__file__).parent / "page"
SHARED = ("page.css", "dom.js", "icon.svg")
"""Files of the page of `planespotter web` that this page uses too."""
MEDIA_TYPES = {formats.JPEG: "image/jpeg", formats.PNG: "image/png", formats.WEBP: "image/webp"}
MAX_CANDIDATES = 5
MAX_REQUEST_BYTES = 4096
MAX_PHOTO_BYTES = 64 * 2**20

Handler = Callable[[Request], Awaitable[Response]]


def build_app(session: ReviewSession, host: str, allow_remote: bool, title: str, reviewer: str) -> ASGIApp:
    """Return the application of a review.

    Args:
        session: Hands out photos and takes decisions.
        host: Address that the server listens on.
        allow_remote: Whether other machines can reach it.
        title: What is reviewed.
        reviewer: Name that the page proposes for the reviewer, "" to ask for it.
    """
    api = _Api(session, title, reviewer)
    routes = [
        *web_app.static_routes(sorted(PAGE.iterdir())),
        *web_app.static_routes(web_app.PAGE / name for name in SHARED),
        Route("/review", _checked(api.review)),
        Route("/next", _checked(api.next), methods=["POST"]),
        Route("/decisions", _checked(api.decide), methods=["POST"]),
        Route("/undo", _checked(api.undo), methods=["POST"]),
        Route("/release", _checked(api.release), methods=["POST"]),
        Route("/photos/{photo_id}", _checked(api.photo)),
    ]
    return SecurityMiddleware(Starlette(routes=routes), host, allow_remote)


def _checked(handle: Handler) -> Handler:
    """Return a handler whose errors for users are responses: 409 with the text."""

    async def respond(request: Request) -> Response:
        try:
            return await handle(request)
        except ReviewError as error:
            return JSONResponse({"error": str(error)}, status_code=409)
        except ClientDisconnect:
            return Response(status_code=400)

    return respond


class _Api:
    """The endpoints. The session locks, and writes to the disk, so its methods run in threads."""

    def __init__(self, session: ReviewSession, title: str, reviewer: str) -> None:
        self._session = session
        self._title, self._reviewer = title, reviewer
        self._ids = {photo_id(key): key for key in session.photos}

    async def review(self, _: Request) -> Response:
        """Describe the review: its title, the types that a correction can name, and the proposed reviewer."""
        types = [asdict(each) for each in known_types(self._session.photos.values())]
        return JSONResponse({"title": self._title, "reviewer": self._reviewer, "types": types})

    async def next(self, request: Request) -> Response:
        """Return the next photos of a page, and the progress."""
        body = await _body(request)
        photos = await run_in_threadpool(self._session.next_photos, _text(body, "page"), 4)
        return JSONResponse({"photos": [photo_json(photo) for photo in photos], **await self._progress()})

    async def decide(self, request: Request) -> Response:
        """Take a decision; the response comes after it is on the disk."""
        body = await _body(request)
        key = self._ids.get(_text(body, "photo"), "")
        arguments = (_text(body, "page"), key, _text(body, "decision"), _text(body, "by"), _text(body, "text"))
        decision = await run_in_threadpool(self._session.decide, *arguments)
        return JSONResponse({"label": list(decision.label), **await self._progress()})

    async def undo(self, request: Request) -> Response:
        """Undo the last decision of a page, and return its photo; null if there is none."""
        body = await _body(request)
        photo = await run_in_threadpool(self._session.undo, _text(body, "page"), _text(body, "by"))
        return JSONResponse({"photo": photo and photo_json(photo), **await self._progress()})

    async def release(self, request: Request) -> Response:
        """Return the photos of a page that was closed to the others."""
        await run_in_threadpool(self._session.release, _text(await _body(request), "page"))
        return JSONResponse({})

    async def photo(self, request: Request) -> Response:
        """Return an image in a format that browsers show; 404 with the reason if it cannot be read."""
        key = self._ids.get(request.path_params["photo_id"])
        if key is None:
            return JSONResponse({"error": "The review has no such photo."}, status_code=404)
        try:
            content, media_type = await run_in_threadpool(_read_image, self._session.photos[key].path)
        except (OSError, PhotoError) as error:
            return JSONResponse({"error": getattr(error, "strerror", None) or str(error)}, status_code=404)
        return Response(content, media_type=media_type)

    async def _progress(self) -> dict[str, Any]:
        progress = await run_in_threadpool(self._session.progress)
        summary = await run_in_threadpool(self._session.summary)
        return {"progress": asdict(progress), "summary": list(summary_sentences(summary))}


def photo_id(key: str) -> str:
    """Return the id of a photo in URLs: its key may be a path of this machine."""
    return blake2b(key.encode("utf-8", "backslashreplace"), digest_size=12).hexdigest()


def photo_json(photo: ReviewPhoto) -> dict[str, Any]:
    """Return a photo as the page shows it."""
    return {
        "id": photo_id(photo.key),
        "file": photo.path.name,
        "proposal": list(photo.proposal),
        "is_label": photo.is_label,
        "confident": photo.confident,
        "percent": percent(photo.confidence) if photo.confidence is not None and not photo.is_label else "",
        "candidates": [
            {"name": name, "probability": probability, "percent": percent(probability)}
            for name, probability in photo.candidates[:MAX_CANDIDATES]
        ],
        "notes": list(photo.notes),
    }


async def _body(request: Request) -> Mapping[str, Any]:
    """Return the JSON object in the body of a request. Raises ReviewError."""
    content = bytearray()
    async for chunk in request.stream():
        content += chunk
        if len(content) > MAX_REQUEST_BYTES:
            raise ReviewError(f"The request has more than {MAX_REQUEST_BYTES:,} bytes.")
    try:
        body = json.loads(content)
    except ValueError:
        body = None
    if not isinstance(body, dict):
        raise ReviewError("The body of the request is not a JSON object.")
    return body


def _text(body: Mapping[str, Any], name: str) -> str:
    value = body.get(name, "")
    if not isinstance(value, str):
        raise ReviewError(f"{name} is invalid: it must be text.")
    return value


def _read_image(path: Path) -> tuple[bytes, str]:
    """Return an image and its media type. Raises OSError or PhotoError."""
    if path.stat().st_size > MAX_PHOTO_BYTES:
        raise OSError(0, f"The photo has more than {MAX_PHOTO_BYTES:,} bytes.")
    data = path.read_bytes()
    photo_format = formats.sniff(data, path.name)
    if photo_format in formats.CONVERTIBLE:
        from planespotter_photos.conversion import convert_photo

        return convert_photo(data, path.name), "image/jpeg"
    if photo_format not in MEDIA_TYPES:
        raise OSError(0, f"The file is {formats.describe(data, path.name)}, which a browser does not show.")
    return data, MEDIA_TYPES[photo_format]
